//! Works whose files are not here, or not all of them: the release is in the catalogue, and a file comes when somebody
//! asks for it. Where to look is remembered as the release's link, in a file of its own under the release's id; the file
//! goes when everything is here. The node brings the bytes ([`Bringer`]); nothing here knows a network.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use fondaco_schemas::{BlobHash, FileInfo, Link, Release, ReleaseId, Work};

use crate::{Error, Market, now};

/// A future in a box.
pub type Future<'a, T> = Pin<Box<dyn std::future::Future<Output = T> + Send + 'a>>;

/// Bytes that come from elsewhere, in order and verified.
pub trait Incoming: Send {
    /// The next bytes; None at the end. An error is the end too, and says why.
    fn next(&mut self) -> Future<'_, Result<Option<Bytes>, String>>;
}

/// What brings files that are not here.
pub trait Bringer: Send + Sync + 'static {
    /// Bytes of a file of a release in the catalogue. What is asked for here goes before what is fetched anyway.
    fn bring(
        &self,
        release: ReleaseId,
        file: FileInfo,
        range: std::ops::Range<u64>,
    ) -> Future<'_, Result<Box<dyn Incoming>, String>>;
}

/// What is coming, and who brings it.
pub(crate) struct Coming {
    folder: PathBuf,
    releases: Mutex<BTreeSet<ReleaseId>>,
    bringer: RwLock<Option<Arc<dyn Bringer>>>,
}

impl Coming {
    /// Reads which releases are coming. A folder that cannot be read is made when the first one comes.
    pub fn open(folder: PathBuf) -> Self {
        let names = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let releases = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        Self { folder, releases: Mutex::new(releases), bringer: RwLock::default() }
    }

    fn path(&self, release: ReleaseId) -> PathBuf {
        self.folder.join(release.to_string())
    }

    pub(crate) fn remember(&self, link: &Link) -> Result<(), Error> {
        let path = self.path(link.release);
        let write = |path: &Path| -> std::io::Result<()> {
            std::fs::create_dir_all(&self.folder)?;
            let part = path.with_extension("part");
            let mut file = std::fs::File::create(&part)?;
            file.write_all(link.to_string().as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&part, path)?;
            std::fs::File::open(&self.folder)?.sync_all()
        };
        write(&path).map_err(|source| Error::File { path: path.display().to_string(), source })?;
        self.releases.lock().unwrap_or_else(PoisonError::into_inner).insert(link.release);
        Ok(())
    }

    fn forget(&self, release: ReleaseId) {
        if self.releases.lock().unwrap_or_else(PoisonError::into_inner).remove(&release) {
            let path = self.path(release);
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::error!(path = %path.display(), %error, "it stays noted that files of a work are coming");
            }
        }
    }
}

impl Market {
    /// Says who brings files that are not here; nobody: they are unavailable.
    pub fn set_bringer(&self, bringer: Option<Arc<dyn Bringer>>) {
        *self.0.coming.bringer.write().unwrap_or_else(PoisonError::into_inner) = bringer;
    }

    pub(crate) fn bringer(&self) -> Option<Arc<dyn Bringer>> {
        self.0.coming.bringer.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes a signed release into the catalogue whose files are not here: each comes when somebody first asks for it, from
    /// the places that the link names and from those that the swarm knows. Nothing is fetched now.
    ///
    /// # Cancel safety
    /// Dropped half-way, the work is in the catalogue or it is not.
    pub async fn take_in_later(&self, envelope: Vec<u8>, link: &Link) -> Result<Work, Error> {
        let (release_id, release) = fondaco_trust::release::verify_release(&envelope)?;
        if link.release != release_id {
            return Err(Error::Refused(format!("the link is to release {}, and this is {release_id}", link.release)));
        }
        if self.all_here(&release) {
            return self.take_in(envelope).await;
        }
        let one = self.0.recording.lock().await;
        let known = self.ledger().release(release_id).await?.is_some();
        let (market, remembered) = (self.clone(), link.clone());
        tokio::task::spawn_blocking(move || market.0.coming.remember(&remembered)).await??;
        match self.ledger().record_release(&release, release_id, envelope, now()).await {
            Ok(_) => {}
            Err(error) => {
                if matches!(error, fondaco_ledger::Error::OldRelease { .. }) && !known {
                    self.0.coming.forget(release_id);
                }
                return Err(error.into());
            }
        }
        drop(one);
        self.0.changed.notify_one();
        self.feed().await?;
        Ok(Work { release_id, release })
    }

    /// Where a release may be had whose files are not all here; None where they are, or it is none of this node's.
    pub fn coming(&self, release: ReleaseId) -> Option<Link> {
        if !self.is_coming(release) {
            return None;
        }
        let found = std::fs::read_to_string(self.0.coming.path(release)).ok().and_then(|text| text.trim().parse().ok());
        // What was noted is damaged: the swarm itself may know.
        Some(found.filter(|l: &Link| l.release == release).unwrap_or_else(|| Link::to(release)))
    }

    /// Whether files of a release are still to come.
    pub fn is_coming(&self, release: ReleaseId) -> bool {
        self.0.coming.releases.lock().unwrap_or_else(PoisonError::into_inner).contains(&release)
    }

    /// How many releases there are of which files are still to come.
    pub fn coming_count(&self) -> usize {
        self.0.coming.releases.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Files of a release came that are to be kept: those that are here are, from now on.
    pub async fn arrived(&self, release: ReleaseId) -> Result<(), Error> {
        let Some((body, _)) = self.ledger().release(release).await? else { return Ok(()) };
        let here: Vec<BlobHash> = body.files.iter().map(|f| f.hash).filter(|hash| self.store().has(*hash)).collect();
        self.pin(here, release).await?;
        if self.all_here(&body) {
            self.all_came(release).await;
        }
        Ok(())
    }

    /// All files of a release are here.
    pub(crate) async fn all_came(&self, release: ReleaseId) {
        if self.is_coming(release) {
            let market = self.clone();
            let _ = tokio::task::spawn_blocking(move || market.0.coming.forget(release)).await;
        }
    }

    /// Whether all files of a release that this node keeps are here.
    pub fn all_here(&self, release: &Release) -> bool {
        let is_here = |file: &FileInfo| self.store().get(file.hash).is_ok_and(|blob| blob.size() == file.size);
        // Of a work that its publisher alone delivers nothing ever is, and nothing of it is announced.
        self.kept_of(release).next().is_some() && self.kept_of(release).all(is_here)
    }

    /// The files of a release that this node keeps: of its own all, of others' those that are for everybody. The rest their
    /// publisher alone delivers.
    pub(crate) fn kept_of<'a>(&self, release: &'a Release) -> impl Iterator<Item = &'a FileInfo> {
        let own = *release.work.publisher() == self.publisher();
        release.files.iter().filter(move |file| own || release.is_public(file))
    }
}
