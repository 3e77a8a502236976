//! Opening a protected file on its holder's own machine: with the DRM plugin, the licence and the library's key; without
//! ledger, store or network. What was opened is written beside its place and moved there when it is whole.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use fondaco_runtime::wit::{drm_types, types};
use fondaco_runtime::{Caller, Lent, Plugin, ScriptOf, Services};

use crate::edit::Editor;
use crate::keys::Library;
use crate::publish::{draw, run};
use crate::{Error, media};

const MAX_READ: u32 = 4 << 20;

/// What a DRM plugin is lent while it opens a file: the file's bytes, and the library's key to unseal with.
pub struct Opener {
    file: PathBuf,
    hash: String,
    library: Library,
    settings: String,
}

impl Opener {
    /// `file` is the protected file; it is read once to learn its hash.
    pub fn new(file: &Path, library: Library, settings: String) -> Result<Self, Error> {
        let fail = |source| Error::File { path: file.display().to_string(), source };
        let mut hasher = blake3::Hasher::new();
        let mut input = File::open(file).map_err(fail)?;
        let mut buffer = vec![0; 1 << 20];
        loop {
            let read = input.read(&mut buffer).map_err(fail)?;
            if read == 0 {
                break;
            }
            hasher.update(buffer.get(..read).unwrap_or_default());
        }
        Ok(Self { file: file.to_owned(), hash: hasher.finalize().to_hex().to_string(), library, settings })
    }
}

#[async_trait]
impl Services for Opener {
    async fn read_blob(&self, _: &Caller, hash: String, offset: u64, len: u32) -> Lent<Vec<u8>> {
        if hash != self.hash {
            return Err(types::Error::NotFound);
        }
        let read = || {
            let mut file = File::open(&self.file)?;
            file.seek(SeekFrom::Start(offset))?;
            let mut bytes = Vec::new();
            file.take(u64::from(len.min(MAX_READ))).read_to_end(&mut bytes)?;
            Ok::<_, std::io::Error>(bytes)
        };
        read().map_err(|e| types::Error::Unavailable(e.to_string()))
    }
    async fn unseal(&self, _: &Caller, context: Vec<u8>, sealed: Vec<u8>) -> Lent<Vec<u8>> {
        self.library.unseal(&context, &sealed).map_err(|e| types::Error::Denied(e.to_string()))
    }
    async fn brand(&self, _: &Caller) -> fondaco_runtime::wit::settings::Brand {
        fondaco_runtime::wit::settings::Brand {
            name: String::new(),
            tagline: String::new(),
            locale: "en".into(),
            locales: vec!["en".into()],
            base_url: String::new(),
            colors: Vec::new(),
            logo: None,
            contact: None,
        }
    }
    async fn settings(&self, _: &Caller) -> String {
        self.settings.clone()
    }
}

/// Opens `file` with `licence` into `out`. `load` makes the plugin with the services that it is given.
pub async fn open_file<F>(
    file: &Path,
    licence: Vec<u8>,
    library: Library,
    out: &Path,
    load: impl FnOnce(Arc<dyn Services>) -> F,
) -> Result<u64, Error>
where
    F: Future<Output = Result<Plugin, Error>>,
{
    let path = file.to_owned();
    let opener = tokio::task::spawn_blocking(move || Opener::new(&path, library, "{}".into())).await??;
    let hash = opener.hash.clone();
    let plugin = load(Arc::new(opener)).await?;
    let fail = |path: &Path| {
        let path = path.display().to_string();
        move |source| Error::File { path, source }
    };
    let input = File::open(file).map_err(fail(file))?;
    let size = input.metadata().map_err(fail(file))?.len();
    let info = types::FileInfo {
        path: file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        hash,
        size,
        media_type: media::of_path(&out.to_string_lossy()).to_owned(),
        role: types::FileRole::Content,
        protection: Some(plugin.who().id.clone()),
        title: None,
        duration_ms: None,
    };
    let license = drm_types::License { media_type: String::new(), body: licence, headers: Vec::new(), expires: None };
    let script = draw(&plugin, ScriptOf::Open(license, info)).await?;
    let mut part = out.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let output = BufWriter::new(File::create(&part).map_err(fail(&part))?);
    let opened = run(&plugin, script, Editor::new(input, size, output)).await;
    let finished = opened.and_then(|output| {
        let file = output.into_inner().map_err(|e| fail(&part)(e.into_error()))?;
        file.sync_all().map_err(fail(&part))?;
        std::fs::rename(&part, out).map_err(fail(out))?;
        Ok(file.metadata().map_err(fail(out))?.len())
    });
    if finished.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    finished
}
