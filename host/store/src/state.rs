//! What a store knows in memory, and the locks around it.
//!
//! Three locks, taken in this order and never the other way: a *shard's* lock while a blob's files get or lose their
//! names, the *pin list's* while a line is written, and the *state's* for the moment of a look-up or a change. Nothing
//! waits for the disk under the state's lock.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use fondaco_schemas::BlobHash;

use crate::error::{Error, Result};
use crate::layout::{DirLock, Kind, Layout};
use crate::pins::{self, Act, Owners, PinLog};
use crate::tree::outboard_bytes;

/// A blob that is there.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Bytes of the blob.
    pub size: u64,
    /// Bytes it takes from the quota.
    pub stored: u64,
    /// Kept outside the store?
    pub reference: bool,
    /// When it was imported, or imported again.
    pub since: SystemTime,
    /// Tells this copy from one that replaced it.
    pub generation: u64,
    /// Whether `size` was checked against the tree. The length of a file on disk is only somebody's word.
    pub length_verified: bool,
}

/// A blob of which a part is there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fetching {
    /// Bytes it takes from the quota.
    pub stored: u64,
    /// Who is writing it.
    pub open: std::sync::Weak<crate::partial::Inner>,
    /// Whether somebody is about to open it, or is closing it.
    pub busy: bool,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub entries: BTreeMap<BlobHash, Entry>,
    /// What did not verify: the bytes it takes and since when.
    pub quarantine: BTreeMap<BlobHash, (u64, SystemTime)>,
    pub owners: Owners,
    /// Blobs that are being fetched, or were.
    pub partials: BTreeMap<BlobHash, Fetching>,
    /// How many readers and imports hold a blob.
    leases: HashMap<BlobHash, u64>,
    /// Bytes of blobs, outboards, quarantine and imports under way.
    pub used: u64,
    next_generation: u64,
}

impl State {
    /// A store without blobs.
    pub fn with_owners(owners: Owners) -> Self {
        Self { owners, ..Self::default() }
    }

    pub fn generation(&mut self) -> u64 {
        self.next_generation += 1;
        self.next_generation
    }

    pub fn is_leased(&self, hash: BlobHash) -> bool {
        self.leases.contains_key(&hash)
    }
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub layout: Layout,
    pub quota: Option<u64>,
    state: Mutex<State>,
    pins: Mutex<PinLog>,
    shards: Vec<Mutex<()>>,
    degraded: AtomicBool,
    _lock: DirLock,
}

impl Shared {
    pub fn new(layout: Layout, lock: DirLock, quota: Option<u64>, state: State, pins: PinLog) -> Self {
        Self {
            layout,
            quota,
            state: Mutex::new(state),
            pins: Mutex::new(pins),
            shards: (0..256).map(|_| Mutex::new(())).collect(),
            degraded: AtomicBool::new(false),
            _lock: lock,
        }
    }

    /// The state. No change to it can be left half done by a panic, so a poisoned lock is still good.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps others from giving names to, or taking them from, the files of blobs with the same first byte.
    pub fn shard(&self, hash: BlobHash) -> Option<MutexGuard<'_, ()>> {
        let [first, ..] = *hash.as_bytes();
        self.shards.get(usize::from(first)).map(|m| m.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Fails once the disk did not confirm a write.
    pub fn writable(&self) -> Result<()> {
        if self.degraded.load(Ordering::Acquire) { Err(Error::Degraded) } else { Ok(()) }
    }

    /// Passes a result on; after a failed sync nothing more is written, since the kernel may have dropped the pages
    /// that it could not write and would call the next sync a success.
    pub fn watch<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(Error::Sync { path, source }) = &result {
            tracing::error!(path = %path.display(), error = %source, "the disk did not confirm a write: no more writes");
            self.degraded.store(true, Ordering::Release);
        }
        result
    }

    /// Records pins or their end, line by line.
    pub fn record(&self, act: Act, hashes: &[BlobHash], owner: &str) -> Result<()> {
        let mut log = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        for line in pins::lines(hashes) {
            self.writable()?;
            self.watch(log.append(act, line, owner))?;
            pins::apply(&mut self.state().owners, act, line, owner);
        }
        Ok(())
    }

    /// Removes a blob's files for good, wherever they lie. Call it with the shard's lock held and the entry gone.
    pub fn unlink(&self, hash: BlobHash, path: impl Fn(&Layout, BlobHash, Kind) -> std::path::PathBuf) -> Result<()> {
        for kind in Kind::ALL {
            let path = path(&self.layout, hash, kind);
            match std::fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("remove", &path, e)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Keeps garbage collection away from a blob until it is dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    shared: Arc<Shared>,
    hash: BlobHash,
}

impl Lease {
    /// Takes a lease with the state's lock held, so that nothing comes between the look-up and the lease.
    pub fn take(shared: &Arc<Shared>, state: &mut State, hash: BlobHash) -> Self {
        *state.leases.entry(hash).or_default() += 1;
        Self { shared: Arc::clone(shared), hash }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        if let Some(count) = state.leases.get_mut(&self.hash) {
            *count -= 1;
            if *count == 0 {
                state.leases.remove(&self.hash);
            }
        }
    }
}

/// Bytes of the quota that an import holds until it is published or given up.
#[derive(Debug)]
pub(crate) struct Reservation {
    shared: Arc<Shared>,
    bytes: u64,
}

impl Reservation {
    pub fn none(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared), bytes: 0 }
    }

    /// Takes `more` bytes, or says that they do not fit.
    pub fn grow(&mut self, more: u64) -> Result<()> {
        let mut state = self.shared.state();
        let used = state.used.saturating_add(more);
        if let Some(quota) = self.shared.quota
            && used > quota
        {
            return Err(Error::Quota { needed: more, used: state.used, quota });
        }
        state.used = used;
        self.bytes += more;
        Ok(())
    }

    /// Whether `more` bytes would fit now.
    pub fn check(&self, more: u64) -> Result<()> {
        let used = self.shared.state().used;
        match self.shared.quota {
            Some(quota) if used.saturating_add(more) > quota => Err(Error::Quota { needed: more, used, quota }),
            _ => Ok(()),
        }
    }

    /// The bytes now belong to a blob.
    pub fn keep(mut self) -> u64 {
        std::mem::take(&mut self.bytes)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.bytes > 0 {
            let mut state = self.shared.state();
            state.used = state.used.saturating_sub(self.bytes);
        }
    }
}

/// What a blob of `size` bytes takes from the quota.
pub(crate) fn stored_bytes(size: u64, reference: bool) -> u64 {
    let data = if reference { 0 } else { size };
    data.saturating_add(outboard_bytes(size))
}
