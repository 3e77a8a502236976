//! `cargo fondaco test`: the conformance kit over one plugin. The kit itself is `sdk/kit`; here are the build before it,
//! the author's files, and where compiled components are kept.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fondaco_kit::{Options, Subject};
use fondaco_trust::bundle::MAX_BUNDLE_BYTES;

use crate::cli::Test;
use crate::component;
use crate::contents::Contents;
use crate::error::Error;
use crate::files::{read, read_text, replace};
use crate::lang::Project;
use crate::pack;
use crate::report;

/// The largest settings file, in bytes.
const MAX_SETTINGS: usize = 1 << 20;

/// Builds and tests; prints a line for each check.
pub fn run(options: &Test, as_json: bool) -> ExitCode {
    if options.logs {
        let filter = tracing_subscriber::EnvFilter::new("off,plugin=info");
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        log.without_time().with_level(false).with_target(false).init();
    }
    match tested(options) {
        Err(error) => report::finish(Err(error), as_json),
        Ok(report) => {
            let text = if as_json { report.json().to_string() } else { report.text() };
            let said = writeln!(std::io::stdout().lock(), "{text}");
            if said.is_ok() && report.is_passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}

fn tested(options: &Test) -> Result<fondaco_kit::Report, Error> {
    let folder = &options.path;
    let manifest = pack::request(folder)?;
    let settings = settings(options.settings.as_deref())?;
    let built = match &options.component {
        Some(file) => file.clone(),
        None if options.no_build => Project::find(folder)?.built()?,
        None => Project::find(folder)?.build()?.component,
    };
    let component = read(&built, MAX_BUNDLE_BYTES, "give the .wasm file that the build made")?;
    component::check(&built, &component)?;
    // What would not be packed is not tested either.
    let files = Contents::gather(folder, &manifest, component.clone())?.into_files();
    let assets =
        files.into_iter().filter_map(|(path, bytes)| Some((path.as_str().strip_prefix("assets/")?.to_owned(), bytes)));
    let subject = Subject {
        manifest,
        component,
        assets: assets.collect(),
        settings,
        secrets: options.secret.iter().cloned().collect(),
    };
    let cache = Cache::open()?;
    let program = std::env::current_exe().map_err(|e| Error::Read(PathBuf::from("/proc/self/exe"), e))?;
    let kit = Options {
        compiler: (program, vec!["compile-plugin".to_owned()]),
        cache: cache.folder,
        cache_key: cache.key,
        only: options.only.clone(),
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|e| Error::Kit(Box::new(e)))?;
    runtime.block_on(fondaco_kit::run(subject, &kit)).map_err(|e| Error::Kit(Box::new(e)))
}

fn settings(file: Option<&Path>) -> Result<String, Error> {
    let Some(file) = file else { return Ok("{}".to_owned()) };
    let text = read_text(file, MAX_SETTINGS, "name a file with the settings as a JSON object")?;
    match serde_json::from_str(&text) {
        Ok(serde_json::Value::Object(_)) => Ok(text),
        Ok(_) => Err(Error::Settings(file.to_owned(), None)),
        Err(cause) => Err(Error::Settings(file.to_owned(), Some(cause))),
    }
}

/// The compiling child's whole life.
pub fn compile() -> ExitCode {
    match fondaco_kit::compile_stdin() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            report::progress(&why);
            ExitCode::FAILURE
        }
    }
}

/// Where compiled components are kept, so that a large one is compiled once. What lies there is native code, so it is
/// loaded only under a key that stands beside it, readable by its owner alone.
struct Cache {
    folder: PathBuf,
    key: [u8; 32],
}

impl Cache {
    fn open() -> Result<Self, Error> {
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let home = || absolute("HOME").map(|h| h.join(".cache"));
        let base = absolute("XDG_CACHE_HOME").or_else(home).unwrap_or_else(std::env::temp_dir);
        let folder = base.join("fondaco-kit");
        let failed = |e| Error::Write(folder.clone(), e);
        fs::create_dir_all(&folder).map_err(failed)?;
        private(&folder, 0o700).map_err(failed)?;
        let file = folder.join("key");
        if let Ok(bytes) = fs::read(&file)
            && let Ok(key) = <[u8; 32]>::try_from(bytes)
        {
            return Ok(Self { folder, key });
        }
        let mut key = [0; 32];
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut key)
            .map_err(|_| failed(std::io::Error::other("the system gives no random bytes")))?;
        replace(&file, &key)?;
        private(&file, 0o600).map_err(failed)?;
        Ok(Self { folder, key })
    }
}

fn private(path: &Path, mode: u32) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_a_json_object_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("s.json");
        let of = |text: &str| {
            fs::write(&file, text).unwrap();
            settings(Some(&file))
        };
        assert_eq!(settings(None).unwrap(), "{}");
        assert_eq!(of("{\"a\": 1}").unwrap(), "{\"a\": 1}");
        assert!(matches!(of("[1]"), Err(Error::Settings(_, None))));
        assert!(matches!(of("{"), Err(Error::Settings(_, Some(_)))));
        assert!(matches!(settings(Some(Path::new("/no/such"))), Err(Error::Absent(..))));
    }
}
