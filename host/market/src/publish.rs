//! Publishing: files into the store, content sealed where an offer asks for it, one signed release, and then the log.
//! Blobs are pinned before the release is recorded, so that a crash leaves either the work or nothing of it in the
//! catalogue; pins of a release that was never recorded are taken back by the next tidying.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use fondaco_runtime::wit::{drm_types::Edit, types};
use fondaco_runtime::{Context, Plugin, Script, ScriptOf};
use fondaco_schemas::{BlobHash, FileInfo, FileRole, Offer, Release, ReleaseId, Terms, WorkFile, WorkId};
use fondaco_store::{Blob, ImportMode, Imported, RangeReader};
use lofty::file::{AudioFile, TaggedFileExt};
use lofty::tag::Accessor;

use crate::edit::Editor;
use crate::error::words;
use crate::{Error, Market, convert, media, now};

/// Edits drawn from a DRM plugin at a time.
const PORTION: u32 = 512;
/// Portions of one script: enough for 64 GiB in segments of 64 KiB, thirty-two times over.
const MAX_PORTIONS: u32 = 1 << 16;

/// How far publishing is.
#[derive(Clone, Debug)]
pub enum Progress {
    /// So many files of so many bytes will be read.
    Begin {
        /// How many.
        files: usize,
        /// Their size.
        bytes: u64,
    },
    /// So many bytes more of a file went into the store.
    Bytes(u64),
    /// A file is being sealed.
    Sealing(String),
}

/// How to publish.
#[derive(Clone, Copy, Debug, Default)]
pub struct PublishOptions {
    /// Leave the bytes where they are and keep only their tree: for large works that never change.
    pub in_place: bool,
}

/// A published work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Which work.
    pub work: WorkId,
    /// Which release.
    pub release: ReleaseId,
    /// Its number.
    pub sequence: u64,
    /// False where exactly this was published before.
    pub is_new: bool,
    /// Files of the release.
    pub files: usize,
    /// Their size, as stored.
    pub bytes: u64,
}

struct Source {
    path: String,
    file: PathBuf,
    size: u64,
}

impl Market {
    /// Publishes a file or a folder.
    ///
    /// # Cancel safety
    /// Dropped half-way, nothing is published; blobs that were stored are garbage and collected.
    pub async fn publish(
        &self,
        source: &Path,
        about: &WorkFile,
        options: PublishOptions,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Published, Error> {
        let root = source.to_owned();
        let skip = about.clone();
        let sources = tokio::task::spawn_blocking(move || list(&root, &skip)).await??;
        if sources.is_empty() {
            return Err(Error::Empty(source.display().to_string()));
        }
        progress(Progress::Begin { files: sources.len(), bytes: sources.iter().map(|s| s.size).sum() });
        let offers: Vec<Offer> = about.offers.iter().map(fondaco_schemas::work_file::OfferEntry::to_offer).collect();
        let scheme = self.scheme(&offers)?;
        let publisher = self.0.parts.publisher.public();
        let work = WorkId::new(publisher, &about.slug).map_err(|e| Error::Refused(e.to_string()))?;
        let mut release = Release {
            work: work.clone(),
            sequence: 1,
            kind: about.kind,
            title: about.title.clone(),
            creators: about.creators.clone(),
            description: about.description.clone(),
            language: about.language.as_ref().map(|l| l.as_str().to_owned()),
            tags: about.tags.clone(),
            license: about.license.clone(),
            credits: about.credits.clone(),
            published: convert::timestamp(now()),
            files: Vec::new(),
            offers,
            metadata: serde_json::Value::Object(about.metadata.clone()).to_string(),
            home: Some(self.home()),
        };
        // Held until the blobs are pinned, so that no collection takes them.
        let mut held = Vec::new();
        for source in sources {
            let (imported, info) = self.import(source, about, options, progress).await?;
            let sealed = match &scheme {
                Some((plugin, terms)) if info.role == FileRole::Content => {
                    progress(Progress::Sealing(info.path.clone()));
                    Some(self.seal(plugin, &release, info.clone(), terms).await?)
                }
                _ => None,
            };
            held.push(imported);
            match sealed {
                Some((imported, info)) => {
                    held.push(imported);
                    release.files.push(info);
                }
                None => release.files.push(info),
            }
        }
        release.files.sort_by(|a, b| a.path.cmp(&b.path));
        let published = self.record(release).await?;
        drop(held);
        self.feed().await?;
        Ok(published)
    }

    async fn import(
        &self,
        source: Source,
        about: &WorkFile,
        options: PublishOptions,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<(Imported, FileInfo), Error> {
        let store = self.store().clone();
        let mode = if options.in_place { ImportMode::Reference } else { ImportMode::Copy };
        let file = source.file.clone();
        let (steps, mut read) = tokio::sync::mpsc::channel::<u64>(64);
        let task = tokio::task::spawn_blocking(move || {
            // A progress bar that lags behind is no reason to wait: what does not fit is added to the next step.
            let waiting = std::cell::Cell::new(0);
            let imported = store.import_file(&file, mode, &|bytes| {
                let sum = waiting.get() + bytes;
                waiting.set(if steps.try_send(sum).is_ok() { 0 } else { sum });
            })?;
            let _ = steps.blocking_send(waiting.get());
            Ok::<_, Error>((imported, tags(&file)))
        });
        while let Some(bytes) = read.recv().await {
            progress(Progress::Bytes(bytes));
        }
        let (imported, tags) = task.await??;
        let rule = about.rule(&source.path);
        let role = rule.and_then(|r| r.role).unwrap_or_else(|| media::role_of(&source.path, about.kind));
        let media_type = rule.and_then(|r| r.media_type.clone());
        let info = FileInfo {
            hash: imported.hash,
            size: imported.size,
            media_type: media_type.unwrap_or_else(|| media::of_path(&source.path).to_owned()),
            role,
            protection: None,
            title: rule.and_then(|r| r.title.clone()).or(tags.title),
            duration_ms: tags.duration_ms,
            path: source.path,
        };
        Ok((imported, info))
    }

    /// Seals one file by its plugin's script: the same ciphertext for every buyer.
    async fn seal(
        &self,
        plugin: &Plugin,
        release: &Release,
        file: FileInfo,
        terms: &Terms,
    ) -> Result<(Imported, FileInfo), Error> {
        let blob = self.blob(file.hash).await?;
        let of = ScriptOf::Protect(
            Box::new(convert::release(release, String::new())),
            convert::file(&file),
            convert::terms(terms),
        );
        let script = draw(plugin, of).await?;
        let store = self.store().clone();
        let importer = tokio::task::spawn_blocking(move || store.importer()).await??;
        let size = blob.size();
        let editor = Editor::new(BlobFile::new(blob), size, importer);
        let importer = run(plugin, script, editor).await?;
        let imported = tokio::task::spawn_blocking(move || importer.finish()).await??;
        let info =
            FileInfo { hash: imported.hash, size: imported.size, protection: Some(plugin.who().id.clone()), ..file };
        Ok((imported, info))
    }

    async fn blob(&self, hash: BlobHash) -> Result<Blob, Error> {
        let store = self.store().clone();
        Ok(tokio::task::spawn_blocking(move || store.get(hash)).await??)
    }

    async fn record(&self, mut release: Release) -> Result<Published, Error> {
        let bytes = release.files.iter().map(|f| f.size).sum();
        let files = release.files.len();
        // One at a time: two releases of one work must not take the same number.
        let _one = self.0.recording.lock().await;
        if let Some((current, is_listed)) = self.ledger().newest(&release.work).await? {
            release.sequence = current.release.sequence + 1;
            let same = Release {
                sequence: current.release.sequence,
                published: current.release.published.clone(),
                ..release.clone()
            };
            if is_listed && same == current.release {
                let (work, sequence) = (release.work, current.release.sequence);
                return Ok(Published { work, release: current.release_id, sequence, is_new: false, files, bytes });
            }
        }
        let (id, envelope) = fondaco_trust::release::sign_release(&self.0.parts.publisher, &release)?;
        let hashes: Vec<BlobHash> = release.files.iter().map(|f| f.hash).collect();
        let (store, owner) = (self.store().clone(), format!("release/{id}"));
        tokio::task::spawn_blocking(move || store.pin_all(&hashes, &owner)).await??;
        if let Err(error) = self.ledger().record_release(&release, id, envelope, now()).await {
            // A plain refusal leaves no pins behind; after a failed commit nobody knows what the disk holds.
            if matches!(error, fondaco_ledger::Error::OldRelease { .. }) {
                let (store, owner) = (self.store().clone(), format!("release/{id}"));
                let hashes: Vec<BlobHash> = release.files.iter().map(|f| f.hash).collect();
                tokio::task::spawn_blocking(move || store.unpin_all(&hashes, &owner)).await??;
            }
            return Err(error.into());
        }
        self.0.changed.notify_one();
        Ok(Published { work: release.work, release: id, sequence: release.sequence, is_new: true, files, bytes })
    }

    /// Takes a work out of the catalogue. Whoever bought it keeps it.
    pub async fn unpublish(&self, work: &WorkId) -> Result<(), Error> {
        self.ledger().unpublish(work, now()).await?;
        self.feed().await
    }
}

/// Which plugin protects the content, and under which terms it is asked to.
fn scheme_of(offers: &[Offer]) -> Result<Option<(String, Terms)>, Error> {
    let mut found: Option<(String, Terms)> = None;
    for offer in offers {
        if let Some(scheme) = &offer.terms.scheme {
            match &found {
                Some((first, _)) if first != scheme => return Err(Error::Schemes(first.clone(), scheme.clone())),
                Some(_) => {}
                None => found = Some((scheme.clone(), offer.terms.clone())),
            }
        }
    }
    Ok(found)
}

impl Market {
    fn scheme(&self, offers: &[Offer]) -> Result<Option<(Plugin, Terms)>, Error> {
        scheme_of(offers)?
            .map(|(id, terms)| {
                let plugin = self.plugin(&id).filter(|p| p.kind() == fondaco_schemas::PluginKind::Drm);
                plugin.map(|p| (p, terms)).ok_or(Error::NoPlugin { kind: "drm", id })
            })
            .transpose()
    }
}

/// Starts a script.
pub(crate) async fn draw(plugin: &Plugin, of: ScriptOf) -> Result<Script, Error> {
    let script = plugin.script(&Context::node(), of).await?;
    script.map_err(|e| match e {
        types::Error::Denied(answer) | types::Error::Invalid(answer) => Error::Refused(answer),
        e => Error::Plugin { who: plugin.who().clone(), answer: words(&e) },
    })
}

/// Runs a script to its end: portions are drawn here, and carried out on a blocking thread.
pub(crate) async fn run<R, W>(plugin: &Plugin, mut script: Script, mut editor: Editor<R, W>) -> Result<W, Error>
where
    R: Read + Seek + Send + 'static,
    W: Write + Send + 'static,
{
    for _ in 0..MAX_PORTIONS {
        let edits = script.next(PORTION).await?;
        let edits = edits.map_err(|e| Error::Plugin { who: plugin.who().clone(), answer: words(&e) })?;
        if edits.is_empty() {
            return Ok(editor.finish());
        }
        let apply = move || {
            edits.iter().try_for_each(|edit: &Edit| editor.apply(edit))?;
            Ok(editor)
        };
        editor = tokio::task::spawn_blocking(apply)
            .await?
            .map_err(|source| Error::Edit { who: plugin.who().clone(), source })?;
    }
    Err(Error::Plugin {
        who: plugin.who().clone(),
        answer: "its script does not end; tell its author, or use another scheme".into(),
    })
}

/// The files of a work: a folder's, by path, without hidden ones; or the one file.
fn list(source: &Path, about: &WorkFile) -> Result<Vec<Source>, Error> {
    let fail = |path: &Path| {
        let path = path.display().to_string();
        move |source| Error::File { path, source }
    };
    let meta = std::fs::metadata(source).map_err(fail(source))?;
    let mut found = Vec::new();
    let mut open = Vec::new();
    if meta.is_dir() {
        open.push((source.to_owned(), String::new()));
    } else {
        let path = name(source)?;
        found.push(Source { path, file: source.to_owned(), size: meta.len() });
    }
    while let Some((dir, prefix)) = open.pop() {
        for entry in std::fs::read_dir(&dir).map_err(fail(&dir))? {
            let entry = entry.map_err(fail(&dir))?;
            let file = entry.path();
            let name = name(&file)?;
            let is_description = prefix.is_empty() && name == fondaco_schemas::work_file::WORK_FILE;
            if name.starts_with('.') || is_description {
                continue;
            }
            let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
            let meta = std::fs::metadata(&file).map_err(fail(&file))?;
            if meta.is_dir() {
                open.push((file, path));
            } else if meta.is_file() && !about.rule(&path).is_some_and(|r| r.skip) {
                found.push(Source { path, file, size: meta.len() });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn name(path: &Path) -> Result<String, Error> {
    let name = path.file_name().unwrap_or_default();
    let text = name.to_str().filter(|n| !n.is_empty() && n.len() <= 512 && !n.chars().any(char::is_control));
    text.map(str::to_owned).ok_or_else(|| Error::Name(name.to_string_lossy().into_owned()))
}

#[derive(Default)]
struct Tags {
    title: Option<String>,
    duration_ms: Option<u32>,
}

/// What an audio file says about itself; a file that says nothing, or nonsense, is still a file.
fn tags(file: &Path) -> Tags {
    let is_audio = media::of_path(&file.to_string_lossy()).starts_with("audio/");
    let Some(tagged) = is_audio.then(|| lofty::read_from_path(file).ok()).flatten() else { return Tags::default() };
    let title =
        tagged.primary_tag().or_else(|| tagged.first_tag()).and_then(|t| t.title().map(|t| t.trim().to_owned()));
    let duration_ms = u32::try_from(tagged.properties().duration().as_millis()).ok().filter(|ms| *ms > 0);
    Tags { title: title.filter(|t| !t.is_empty()), duration_ms }
}

/// A blob as a file: reads are verified, and going on from where one was costs nothing.
struct BlobFile {
    blob: Blob,
    reader: Option<RangeReader>,
    piece: bytes::Bytes,
    position: u64,
}

impl BlobFile {
    fn new(blob: Blob) -> Self {
        Self { blob, reader: None, piece: bytes::Bytes::new(), position: 0 }
    }
}

impl Read for BlobFile {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.piece.is_empty() {
            if self.reader.is_none() {
                self.reader = Some(self.blob.range(self.position..self.blob.size()).map_err(std::io::Error::other)?);
            }
            if let Some(reader) = &mut self.reader {
                self.piece = reader.piece().map_err(std::io::Error::other)?.unwrap_or_default();
            }
        }
        let len = self.piece.len().min(buffer.len());
        if let Some(to) = buffer.get_mut(..len) {
            to.copy_from_slice(&self.piece.split_to(len));
        }
        self.position += len as u64;
        Ok(len)
    }
}

impl Seek for BlobFile {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let position = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.blob.size().checked_add_signed(by),
        };
        let position = position.filter(|p| *p <= self.blob.size());
        let position = position.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::InvalidInput))?;
        if position != self.position {
            (self.reader, self.piece, self.position) = (None, bytes::Bytes::new(), position);
        }
        Ok(position)
    }
}
