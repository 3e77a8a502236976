//! Keeps a store sound and small: the deep check, and garbage collection.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fondaco_schemas::BlobHash;

use crate::error::{Error, Part, Result};
use crate::layout::{Kind, Layout, sync_dir};
use crate::partial;
use crate::reader;
use crate::state::Shared;

/// How long a part of a blob is kept that nobody goes on fetching.
const PARTIAL_LASTS: Duration = Duration::from_hours(7 * 24);

/// What is wrong with a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// It did not verify just now, and is in quarantine.
    Corrupt {
        /// Where the part that does not verify begins, in bytes of the blob.
        offset: u64,
        /// What does not verify.
        part: Part,
    },
    /// It was found corrupt before and has not been replaced.
    Quarantined,
    /// It is pinned, or was there when the store was opened, and is not there.
    Missing,
    /// The file that it is kept in was changed or is gone.
    ReferenceChanged {
        /// The file outside the store.
        path: PathBuf,
        /// What happened to it.
        what: &'static str,
    },
    /// It could not be read; whether it is whole is not known.
    Unreadable {
        /// What the system said.
        why: String,
    },
}

/// A blob that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which one.
    pub hash: BlobHash,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What a deep check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Blobs that are whole.
    pub whole: u64,
    /// Bytes that were read and verified.
    pub bytes: u64,
    /// All others, by id.
    pub faults: Vec<Fault>,
}

/// What garbage collection did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcReport {
    /// What was deleted, by id, quarantined blobs included.
    pub deleted: Vec<BlobHash>,
    /// Bytes that no longer count towards the quota.
    pub bytes: u64,
    /// Blobs that nobody pins but that are too young, or are being read or imported.
    pub spared: u64,
}

/// Reads a whole blob; see [`crate::Store::verify`].
pub(crate) fn verify(shared: &Arc<Shared>, hash: BlobHash, progress: &dyn Fn(u64)) -> Result<u64> {
    let blob = reader::open(shared, hash)?;
    let mut done = 0;
    for piece in blob.reader() {
        done += piece?.len() as u64;
        progress(done);
    }
    Ok(blob.size())
}

/// Reads every blob; see [`crate::Store::verify_all`].
pub(crate) fn verify_all(shared: &Arc<Shared>, progress: &dyn Fn(u64)) -> VerifyReport {
    let hashes: BTreeSet<BlobHash> = {
        let state = shared.state();
        state.entries.keys().chain(state.quarantine.keys()).chain(state.owners.keys()).copied().collect()
    };
    let mut report = VerifyReport::default();
    for hash in hashes {
        let before = report.bytes;
        let problem = match verify(shared, hash, &|done| progress(before + done)) {
            Ok(size) => {
                report.whole += 1;
                report.bytes += size;
                continue;
            }
            Err(Error::Corrupt { offset, part, .. }) => Problem::Corrupt { offset, part },
            Err(Error::Quarantined { .. }) => Problem::Quarantined,
            // It may have been collected since the list was made; then nobody misses it.
            Err(Error::NotFound { .. }) if is_missed(shared, hash) => Problem::Missing,
            Err(Error::NotFound { .. }) => continue,
            Err(Error::ReferenceChanged { path, what, .. }) => Problem::ReferenceChanged { path, what },
            Err(other) => Problem::Unreadable { why: with_causes(&other) },
        };
        report.faults.push(Fault { hash, problem });
    }
    report
}

fn is_missed(shared: &Shared, hash: BlobHash) -> bool {
    let state = shared.state();
    state.owners.contains_key(&hash) || state.entries.contains_key(&hash)
}

fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// Deletes what nobody keeps; see [`crate::Store::gc`].
pub(crate) fn gc(shared: &Arc<Shared>, grace: Duration) -> Result<GcReport> {
    shared.writable()?;
    let now = SystemTime::now();
    // A clock that went back makes nothing older than it is.
    let old = |since: SystemTime| now.duration_since(since).is_ok_and(|age| age >= grace);
    let mut report = GcReport::default();
    let (blobs, condemned): (Vec<BlobHash>, Vec<BlobHash>) = {
        let state = shared.state();
        let unpinned = |hash: &&BlobHash| !state.owners.contains_key(*hash);
        (
            state.entries.keys().filter(unpinned).copied().collect(),
            state.quarantine.keys().filter(unpinned).copied().collect(),
        )
    };
    for hash in blobs {
        delete_unpinned(shared, hash, old, &mut report)?;
    }
    for hash in condemned {
        let _shard = shared.shard(hash);
        let bytes = {
            let mut state = shared.state();
            match state.quarantine.get(&hash).copied() {
                Some((bytes, since)) if old(since) && !state.owners.contains_key(&hash) => {
                    state.quarantine.remove(&hash);
                    bytes
                }
                _ => continue,
            }
        };
        delete(shared, hash, Layout::quarantined)?;
        release(shared, &mut report, hash, bytes);
    }
    for (hash, bytes) in partial::give_up_old(shared, grace.max(PARTIAL_LASTS)) {
        report.bytes += bytes;
        report.deleted.push(hash);
    }
    report.deleted.sort_unstable();
    Ok(report)
}

/// Deletes a blob, or what came of it, if nobody keeps or uses it; see [`crate::Store::discard`].
pub(crate) fn discard(shared: &Arc<Shared>, hash: BlobHash) -> Result<bool> {
    shared.writable()?;
    delete_unpinned(shared, hash, |_| true, &mut GcReport::default())?;
    if shared.state().entries.contains_key(&hash) {
        return Ok(false);
    }
    match partial::give_up(shared, hash) {
        Ok(()) => Ok(true),
        Err(Error::Fetching { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Deletes a blob, if nobody keeps or uses it and it is old enough.
fn delete_unpinned(
    shared: &Arc<Shared>,
    hash: BlobHash,
    old: impl Fn(SystemTime) -> bool,
    report: &mut GcReport,
) -> Result<()> {
    let _shard = shared.shard(hash);
    // The look and the removal from the index are one act, so that nobody can take a lease between them. From here on
    // `get` does not find the blob, and an import of the same bytes waits for the shard's lock.
    let entry = {
        let mut state = shared.state();
        let Some(entry) = state.entries.get(&hash).filter(|_| !state.owners.contains_key(&hash)) else { return Ok(()) };
        if state.is_leased(hash) || !old(entry.since) {
            report.spared += 1;
            return Ok(());
        }
        state.entries.remove(&hash)
    };
    let Some(entry) = entry else { return Ok(()) };
    if let Err(error) = delete(shared, hash, Layout::path) {
        let main = if entry.reference { Kind::Reference } else { Kind::Data };
        if shared.layout.path(hash, main).exists() {
            shared.state().entries.insert(hash, entry);
        }
        return Err(error);
    }
    release(shared, report, hash, entry.stored);
    Ok(())
}

fn delete(shared: &Shared, hash: BlobHash, path: fn(&Layout, BlobHash, Kind) -> PathBuf) -> Result<()> {
    shared.unlink(hash, path)?;
    match path(&shared.layout, hash, Kind::Data).parent() {
        Some(dir) => shared.watch(sync_dir(dir)),
        None => Ok(()),
    }
}

fn release(shared: &Shared, report: &mut GcReport, hash: BlobHash, bytes: u64) {
    let mut state = shared.state();
    state.used = state.used.saturating_sub(bytes);
    report.bytes += bytes;
    report.deleted.push(hash);
}
