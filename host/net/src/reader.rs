//! Reads a file while it is being fetched, in order, and has what it reads fetched before everything else.
//!
//! The gateway's streams are made of this. It keeps no bytes but the piece that it hands out, and hands out none that was
//! not verified in the very buffer: it reads from the store, never from the network.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fondaco_schemas::BlobHash;
use fondaco_store::{Blob, GROUP_BYTES, Partial};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::error::{Error, Result};
use crate::fetch::Job;
use crate::plan::HeadId;

/// The most bytes that are handed out at once.
const PIECE_BYTES: u64 = 256 << 10;
/// How long the next bytes are waited for before others are asked for them too.
const LATE: Duration = Duration::from_millis(300);

/// Bytes of a file in order; see [`crate::Fetch::read`].
pub struct Reader {
    job: Arc<Job>,
    file: usize,
    hash: BlobHash,
    range: Range<u64>,
    head: HeadId,
    changes: watch::Receiver<()>,
    /// The blob, once it is whole.
    blob: Option<Blob>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.job.plan().leave(self.head);
    }
}

impl Reader {
    pub(crate) fn new(job: Arc<Job>, hash: BlobHash, range: Range<u64>) -> Option<Self> {
        let file = job.files().iter().position(|want| want.hash == hash)?;
        let size = job.files().get(file)?.size;
        if range.start > range.end || range.end > size {
            return None;
        }
        let changes = job.changes();
        let head = job.plan().read(file, range.start / GROUP_BYTES..range.end.div_ceil(GROUP_BYTES));
        job.changed();
        Some(Self { job, file, hash, range, head, changes, blob: None })
    }

    /// The next bytes; None at the end. [`Error::NoSource`] where nobody brings them.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.range.start >= self.range.end {
            return Ok(None);
        }
        let begin = Instant::now();
        let mut late = begin + LATE;
        loop {
            self.changes.mark_unchanged();
            // Looked at before the bytes are: what came last is there then.
            let end = self.job.end();
            if let Some(bytes) = self.here().await? {
                self.range.start += bytes.len() as u64;
                self.job.plan().advance(self.head, self.range.start / GROUP_BYTES);
                return Ok(Some(bytes));
            }
            if let Some(why) = end {
                return Err(self.nobody(why));
            }
            // As long as a source may bring nothing.
            let patience = self.job.patience();
            if begin.elapsed() >= patience {
                return Err(self.nobody(format!("nothing came for {} s", patience.as_secs())));
            }
            let _ = timeout_at(late, self.changes.changed()).await;
            // Also where others' pieces come all the time.
            if Instant::now() >= late {
                self.job.plan().is_late(self.head);
                self.job.changed();
                late = Instant::now() + LATE;
            }
        }
    }

    fn nobody(&self, why: String) -> Error {
        let what = format!("byte {} of {}", self.range.start, self.job.name(self.file));
        Error::NoSource { what, why: vec![why] }
    }

    /// What is there from the play-head on.
    async fn here(&mut self) -> Result<Option<Bytes>> {
        let range = self.range.start..self.range.end.min(self.range.start.saturating_add(PIECE_BYTES));
        if let Some(partial) = self.job.partial(self.file) {
            let Some(there) = first_there(&partial, &range) else { return Ok(None) };
            return read(move || partial.range(there).map(|mut reader| reader.piece())).await;
        }
        if self.blob.is_none() {
            let (store, hash) = (self.job.store().clone(), self.hash);
            let found = tokio::task::spawn_blocking(move || store.get(hash)).await.map_err(|_| Error::Stopping)?;
            match found {
                Ok(blob) => self.blob = Some(blob),
                // It is being completed just now, or was not opened yet.
                Err(fondaco_store::Error::NotFound { .. }) => {
                    if self.job.end().is_none() {
                        match self.job.open(self.file).await {
                            // Another fetch of this node has it in hand, and completes it or leaves it.
                            Ok(()) | Err(Error::Busy(_)) => {}
                            Err(error) => return Err(error),
                        }
                    }
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            }
        }
        let Some(blob) = self.blob.clone() else { return Ok(None) };
        read(move || Some(blob.range(range).and_then(|mut reader| reader.piece()))).await
    }
}

/// Of a range, what is there from its beginning on.
fn first_there(partial: &Partial, range: &Range<u64>) -> Option<Range<u64>> {
    let groups = range.start / GROUP_BYTES..range.end.div_ceil(GROUP_BYTES);
    let missing = partial.missing_in(groups).first().map_or(u64::MAX, |run| run.start);
    let end = range.end.min(missing.saturating_mul(GROUP_BYTES));
    (range.start < end).then_some(range.start..end)
}

async fn read(
    what: impl FnOnce() -> Option<fondaco_store::Result<Option<Bytes>>> + Send + 'static,
) -> Result<Option<Bytes>> {
    let piece = tokio::task::spawn_blocking(what).await.map_err(|_| Error::Stopping)?;
    Ok(piece.transpose()?.flatten())
}
