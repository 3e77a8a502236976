//! The handle: opening a store, and everything one can ask of it.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fondaco_schemas::BlobHash;

use crate::error::{Error, Result};
use crate::import::{self, ImportMode, Imported, Importer};
use crate::layout::{Found, Kind, Layout, sync_dir};
use crate::partial::{self, Partial};
use crate::pins::{Act, PinLog, check_owner};
use crate::reader::{self, Blob};
use crate::state::{Entry, Lease, Shared, State, stored_bytes};
use crate::upkeep::{self, GcReport, VerifyReport};

/// What an operator decides about a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The most bytes that blobs, outboards, quarantine and imports under way may take together. Files kept in place
    /// count with their outboards only.
    pub quota_bytes: Option<u64>,
}

/// A blob in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobInfo {
    /// Its id.
    pub hash: BlobHash,
    /// Its size in bytes, as the file system has it; it is verified when the blob is opened.
    pub size: u64,
    /// Whether the bytes are kept in place outside the store.
    pub reference: bool,
}

/// Content-addressed blobs in a folder. Cheap to clone; all calls block on the disk, so make them from blocking threads.
#[derive(Clone, Debug)]
pub struct Store {
    shared: Arc<Shared>,
}

impl Store {
    /// Opens the store in `dir`, which is made if it is not there, and cleans up after a crash.
    ///
    /// Fails with [`Error::Locked`] while another process, or this one, has it open, and with [`Error::PinsDamaged`] when
    /// it cannot be known what must be kept.
    pub fn open(dir: impl AsRef<Path>, options: Options) -> Result<Self> {
        let (layout, lock) = Layout::open(dir.as_ref())?;
        let (pins, owners) = PinLog::open(&layout)?;
        let mut state = State::with_owners(owners);
        take_stock(&layout, &mut state)?;
        Ok(Self { shared: Arc::new(Shared::new(layout, lock, options.quota_bytes, state, pins)) })
    }

    /// Takes in the file at `path`. `progress` is told the bytes done so far, at least once.
    ///
    /// A copy needs the quota for a moment even if the store has the blob already. After any error nothing is left
    /// behind; [`Error::Quota`] and [`Error::DiskFull`] say that there was no room.
    pub fn import_file(&self, path: impl AsRef<Path>, mode: ImportMode, progress: &dyn Fn(u64)) -> Result<Imported> {
        import::file(&self.shared, path.as_ref(), mode, progress)
    }

    /// Takes in what a reader yields, as [`Store::import_file`] does. If it fails, so does this with [`Error::Source`].
    pub fn import_reader(&self, reader: impl Read, progress: &dyn Fn(u64)) -> Result<Imported> {
        import::reader(&self.shared, reader, progress)
    }

    /// An import that is fed through `std::io::Write`.
    pub fn importer(&self) -> Result<Importer> {
        Importer::new(&self.shared)
    }

    /// Begins to fetch a blob of `size` bytes, or goes on with what is there of it. Disk and quota are taken for all of it
    /// at once. [`Error::Fetching`] while somebody else fetches it.
    pub fn fetch(&self, hash: BlobHash, size: u64) -> Result<Partial> {
        partial::open(&self.shared, hash, size)
    }

    /// A blob that somebody is fetching just now.
    pub fn fetching(&self, hash: BlobHash) -> Option<Partial> {
        partial::find(&self.shared, hash)
    }

    /// Gives up a blob of which a part is there: its files are deleted. [`Error::Fetching`] while somebody fetches it.
    pub fn give_up(&self, hash: BlobHash) -> Result<()> {
        partial::give_up(&self.shared, hash)
    }

    /// Opens a blob for reading. Its length and the shape of its tree are verified; its bytes are as they are read.
    pub fn get(&self, hash: BlobHash) -> Result<Blob> {
        reader::open(&self.shared, hash)
    }

    /// Whether the blob is there. Nothing is read.
    pub fn has(&self, hash: BlobHash) -> bool {
        self.shared.state().entries.contains_key(&hash)
    }

    /// Number of blobs.
    pub fn len(&self) -> usize {
        self.shared.state().entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that count towards the quota.
    pub fn used_bytes(&self) -> u64 {
        self.shared.state().used
    }

    /// Bytes that the disk has room for. The quota is no part of it.
    pub fn room(&self) -> Result<u64> {
        self.shared.layout.room()
    }

    /// All blobs, by id.
    pub fn list(&self) -> Vec<BlobInfo> {
        let state = self.shared.state();
        let info = |(hash, e): (&BlobHash, &Entry)| BlobInfo { hash: *hash, size: e.size, reference: e.reference };
        state.entries.iter().map(info).collect()
    }

    /// Reads a whole blob and answers its size. What does not verify goes to quarantine.
    pub fn verify(&self, hash: BlobHash) -> Result<u64> {
        upkeep::verify(&self.shared, hash, &|_| ())
    }

    /// Reads every blob and names all that are corrupt, changed, unreadable, or pinned but missing. `progress` is told
    /// the bytes done so far.
    pub fn verify_all(&self, progress: &dyn Fn(u64)) -> VerifyReport {
        upkeep::verify_all(&self.shared, progress)
    }

    /// Keeps a blob for `owner` until [`Store::unpin`]; durable when this returns. A second pin by one owner is no other.
    pub fn pin(&self, hash: BlobHash, owner: &str) -> Result<()> {
        self.pin_all(&[hash], owner)
    }

    /// Keeps many blobs at the price of one sync for each 64. If one of them is not there, none is pinned; after another
    /// error the first ones may be.
    pub fn pin_all(&self, hashes: &[BlobHash], owner: &str) -> Result<()> {
        check_owner(owner)?;
        // So that none goes away between the look-up and the pin.
        let mut leases = Vec::with_capacity(hashes.len());
        for hash in hashes {
            let mut state = self.shared.state();
            if !state.entries.contains_key(hash) {
                return Err(Error::NotFound { hash: *hash });
            }
            leases.push(Lease::take(&self.shared, &mut state, *hash));
        }
        self.shared.record(Act::Pin, hashes, owner)
    }

    /// Ends a pin; durable when this returns. It is no error if there was none.
    pub fn unpin(&self, hash: BlobHash, owner: &str) -> Result<()> {
        self.unpin_all(&[hash], owner)
    }

    /// Ends many pins of one owner.
    pub fn unpin_all(&self, hashes: &[BlobHash], owner: &str) -> Result<()> {
        check_owner(owner)?;
        self.shared.record(Act::Unpin, hashes, owner)
    }

    /// Who keeps a blob. Their number is its reference count.
    pub fn owners(&self, hash: BlobHash) -> Vec<String> {
        let state = self.shared.state();
        state.owners.get(&hash).map(|names| names.iter().cloned().collect()).unwrap_or_default()
    }

    /// What an owner keeps.
    pub fn pinned_by(&self, owner: &str) -> Vec<BlobHash> {
        let state = self.shared.state();
        state.owners.iter().filter(|(_, names)| names.contains(owner)).map(|(hash, _)| *hash).collect()
    }

    /// Deletes the blobs that nobody pins, nobody is reading or importing, and that were imported longer than `grace` ago.
    pub fn gc(&self, grace: Duration) -> Result<GcReport> {
        upkeep::gc(&self.shared, grace)
    }

    /// Deletes a blob that nobody pins, reads or imports, at whatever age, and what was fetched in part of one that nobody
    /// fetches at the moment. True: nothing of it is here any more.
    pub fn discard(&self, hash: BlobHash) -> Result<bool> {
        upkeep::discard(&self.shared, hash)
    }

    /// Keeps a blob that is here from being collected until the answer is dropped.
    pub fn hold(&self, hash: BlobHash) -> Option<Imported> {
        let mut state = self.shared.state();
        let size = state.entries.get(&hash)?.size;
        Some(Imported::held(hash, size, Lease::take(&self.shared, &mut state, hash)))
    }
}

/// Finds out which blobs are there, and removes outboards and references that a crash left without use.
fn take_stock(layout: &Layout, state: &mut State) -> Result<()> {
    let mut outboards = BTreeSet::new();
    let mut references = Vec::new();
    for found in layout.scan()? {
        match found.kind {
            Kind::Data => add(state, &found, found.bytes, false),
            Kind::Reference => references.push(found),
            Kind::Outboard => {
                outboards.insert(found.hash);
            }
        }
    }
    for found in references {
        if state.entries.contains_key(&found.hash) {
            remove(layout, found.hash, Kind::Reference)?;
        } else if let Some(reference) = layout.reference(found.hash)? {
            add(state, &found, reference.size, true);
        } else {
            tracing::error!(blob = %found.hash, "the record of a file kept in place is damaged: it goes to quarantine");
            layout.quarantine(found.hash)?;
            outboards.remove(&found.hash);
        }
    }
    for hash in outboards.into_iter().filter(|hash| !state.entries.contains_key(hash)) {
        remove(layout, hash, Kind::Outboard)?;
    }
    partial::take_stock(layout, state)?;
    for found in layout.scan_quarantine()? {
        state.used = state.used.saturating_add(found.bytes);
        let slot = state.quarantine.entry(found.hash).or_insert((0, found.written));
        slot.0 = slot.0.saturating_add(found.bytes);
    }
    Ok(())
}

fn add(state: &mut State, found: &Found, size: u64, reference: bool) {
    let stored = stored_bytes(size, reference);
    state.used = state.used.saturating_add(stored);
    let generation = state.generation();
    let since = found.written.min(SystemTime::now());
    let entry = Entry { size, stored, reference, since, generation, length_verified: false };
    state.entries.insert(found.hash, entry);
}

fn remove(layout: &Layout, hash: BlobHash, kind: Kind) -> Result<()> {
    let path = layout.path(hash, kind);
    std::fs::remove_file(&path).map_err(|e| Error::io("remove", &path, e))?;
    sync_dir(&layout.shard(hash))
}
