//! Blobs that are being fetched: verified groups go to their place in a file of the blob's full length, and a bitmap says
//! which are there.
//!
//! Order of writing, and what a crash leaves: verified data and nodes are written as they come, the two files are made
//! durable, and only then is the bitmap replaced that claims them. So a claim always holds. What was written after the last
//! claim is looked for when the blob is opened again: wherever the nodes on disk chain to the id, the groups below them are
//! read and compared. After a kill nothing is lost that way, after a power cut what the disk had not taken. At the end the
//! files get the names of a whole blob, in the order of an import.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use fondaco_schemas::BlobHash;
use rustix::fs::{FallocateFlags, OFlags, fallocate, fstatvfs};
use rustix::io::{Errno, pwritev};

use crate::encode::{Checked, Decoder, Encoder};
use crate::error::{Error, Result};
use crate::import::{Imported, enter, renew};
use crate::layout::{Kind, Layout, Partials, Temp, sync_dir};
use crate::ranges::{Bitmap, GroupRanges};
use crate::reader::{Blob, RangeReader, over_partial, read_exactly};
use crate::state::{Fetching, Lease, Reservation, Shared, State, stored_bytes};
use crate::tree::{GROUP_BYTES, NODE_BYTES, Subtree, groups, outboard_bytes};

/// Bytes and time after which what was written is claimed.
const CLAIM_BYTES: u64 = 64 << 20;
const CLAIM_TIME: Duration = Duration::from_secs(2);
/// The largest blob that is fetched, since its size is somebody's word until all of it is there: 1 TiB, 8 MiB of bitmap.
const MAX_BYTES: u64 = 1 << 40;
/// How a file of claims begins.
const MAGIC: &[u8; 8] = b"fondaco1";
/// Slices that go into one write. The system takes up to 1024.
const SLICES: usize = 512;

const OUTBOARD: &str = ".obao4";
const HAVE: &str = ".have";
const HAVE_NEW: &str = ".new";

/// A blob that is being fetched. Cheap to clone; writers and readers of different groups do not wait for each other.
#[derive(Clone, Debug)]
pub struct Partial {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    shared: Arc<Shared>,
    hash: BlobHash,
    size: u64,
    data: File,
    /// None for a blob of one group.
    outboard: Option<File>,
    have: Mutex<Have>,
    /// One claim at a time. Never taken while `have` is held.
    claiming: Mutex<()>,
}

#[derive(Debug)]
struct Have {
    map: Bitmap,
    /// Bytes that are there.
    bytes: u64,
    unclaimed: u64,
    claimed: Instant,
}

/// What came of some bytes of an encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absorbed {
    /// Bytes of the encoding that were used; the rest belongs to an item that is not complete.
    pub used: usize,
    /// Bytes of the blob that are there now and were not before.
    pub new_bytes: u64,
    /// Where in the blob the first item begins that does not verify. What came before it is kept.
    pub fault: Option<u64>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(fetching) = self.shared.state().partials.get_mut(&self.hash) {
            fetching.busy = false;
        }
    }
}

/// Opens a blob for fetching; see [`crate::Store::fetch`].
pub(crate) fn open(shared: &Arc<Shared>, hash: BlobHash, size: u64) -> Result<Partial> {
    shared.writable()?;
    if size > MAX_BYTES {
        return Err(Error::TooLarge { hash, size, most: MAX_BYTES });
    }
    let stored = stored_bytes(size, false);
    let known = {
        let mut state = shared.state();
        let fetching = state.partials.entry(hash).or_default();
        if fetching.busy {
            return Err(Error::Fetching { hash });
        }
        fetching.busy = true;
        fetching.stored
    };
    let opened = (|| {
        // What is there of another size is of no use.
        if known != stored {
            delete(shared, hash, false)?;
            let mut reservation = Reservation::none(shared);
            reservation.grow(stored)?;
            shared.state().partials.entry(hash).or_default().stored = reservation.keep();
        }
        let path = shared.layout.partial(hash, "");
        let data = create(&path, size)?;
        let outboard = match outboard_bytes(size) {
            0 => None,
            bytes => Some(create(&shared.layout.partial(hash, OUTBOARD), bytes)?),
        };
        let map = claims(&shared.layout.partial(hash, HAVE), size).unwrap_or_else(|| Bitmap::new(size));
        let mut have = Have { map, bytes: 0, unclaimed: 0, claimed: Instant::now() };
        look_around(&mut have, hash, size, &data, outboard.as_ref()).map_err(|e| Error::io("read", &path, e))?;
        have.bytes = have.map.runs(true, usize::MAX - 1).iter().map(|run| run_bytes(run, size)).sum();
        Ok((data, outboard, have))
    })();
    match opened {
        Ok((data, outboard, have)) => {
            let (have, claiming) = (Mutex::new(have), Mutex::default());
            let inner = Arc::new(Inner { shared: Arc::clone(shared), hash, size, data, outboard, have, claiming });
            if let Some(fetching) = shared.state().partials.get_mut(&hash) {
                fetching.open = Arc::downgrade(&inner);
            }
            Ok(Partial { inner })
        }
        Err(error) => {
            // A full disk must not be held by what cannot be fetched.
            if matches!(error, Error::DiskFull { .. } | Error::Quota { .. })
                && let Err(error) = delete(shared, hash, true)
            {
                tracing::warn!(blob = %hash, %error, "the files of a blob that did not fit stay");
            }
            if let Some(fetching) = shared.state().partials.get_mut(&hash) {
                fetching.busy = false;
            }
            Err(error)
        }
    }
}

/// See [`crate::Store::fetching`].
pub(crate) fn find(shared: &Arc<Shared>, hash: BlobHash) -> Option<Partial> {
    let inner = shared.state().partials.get(&hash)?.open.upgrade()?;
    Some(Partial { inner })
}

/// See [`crate::Store::give_up`].
pub(crate) fn give_up(shared: &Arc<Shared>, hash: BlobHash) -> Result<()> {
    match shared.state().partials.get_mut(&hash) {
        None => return Ok(()),
        Some(fetching) if fetching.busy => return Err(Error::Fetching { hash }),
        Some(fetching) => fetching.busy = true,
    }
    let deleted = delete(shared, hash, true);
    // What is there now after it was forgotten is another's.
    if deleted.is_err()
        && let Some(fetching) = shared.state().partials.get_mut(&hash)
    {
        fetching.busy = false;
    }
    deleted
}

/// Gives up what nobody fetches and was not written to for `lasts`; answers what it was and the bytes it took.
pub(crate) fn give_up_old(shared: &Arc<Shared>, lasts: Duration) -> Vec<(BlobHash, u64)> {
    let idle: Vec<(BlobHash, u64)> = {
        let state = shared.state();
        state.partials.iter().filter(|(_, f)| !f.busy).map(|(hash, f)| (*hash, f.stored)).collect()
    };
    let mut gone = Vec::new();
    for (hash, stored) in idle {
        let written = fs::metadata(shared.layout.partial(hash, "")).and_then(|meta| meta.modified());
        let is_old = written.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age >= lasts));
        if is_old && give_up(shared, hash).is_ok() {
            gone.push((hash, stored));
        }
    }
    gone
}

/// Finds out at the start which blobs were being fetched, and removes files that belong to none.
pub(crate) fn take_stock(layout: &Layout, state: &mut State) -> Result<()> {
    let Partials { data, others } = layout.scan_partial()?;
    for (hash, bytes) in data {
        let stored = stored_bytes(bytes, false);
        state.used = state.used.saturating_add(stored);
        state.partials.insert(hash, Fetching { stored, ..Fetching::default() });
    }
    for path in others {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let hash = [OUTBOARD, HAVE].into_iter().find_map(|s| name.strip_suffix(s)?.parse::<BlobHash>().ok());
        if !hash.is_some_and(|hash| state.partials.contains_key(&hash)) {
            fs::remove_file(&path).map_err(|e| Error::io("remove", &path, e))?;
        }
    }
    Ok(())
}

/// Deletes a partial's files, and with `forget` its room too. The data goes last, so that what a crash leaves is found.
fn delete(shared: &Arc<Shared>, hash: BlobHash, forget: bool) -> Result<()> {
    for suffix in [HAVE_NEW, HAVE, OUTBOARD, ""] {
        let path = shared.layout.partial(hash, suffix);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Error::io("remove", &path, e)),
            _ => {}
        }
    }
    let mut state = shared.state();
    let stored = state.partials.get_mut(&hash).map_or(0, |f| std::mem::take(&mut f.stored));
    state.used = state.used.saturating_sub(stored);
    if forget {
        state.partials.remove(&hash);
    }
    Ok(())
}

/// A file of a given length whose room is taken now, so that a full disk shows at once and not half-way.
fn create(path: &Path, bytes: u64) -> Result<File> {
    let flags = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
    let file = options.open(path).map_err(|e| Error::io("create", path, e))?;
    if file.metadata().map_err(|e| Error::io("read", path, e))?.len() == bytes {
        return Ok(file);
    }
    file.set_len(0).map_err(|e| Error::io("empty", path, e))?;
    if bytes > 0 {
        // Asked first: taking room that is not there fills the disk up for a moment, which others would feel.
        let stat = fstatvfs(&file).map_err(|e| Error::io("measure", path, e.into()))?;
        if bytes > stat.f_bavail.saturating_mul(stat.f_frsize) {
            return Err(Error::DiskFull { path: path.to_owned() });
        }
        match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
            // Where the file system cannot take room beforehand, it is taken as the data comes.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                file.set_len(bytes).map_err(|e| Error::io("lengthen", path, e))?;
            }
            other => other.map_err(|e| Error::io("lengthen", path, e.into()))?,
        }
    }
    Ok(file)
}

/// The groups that a file of claims names; `None` if it is not there, damaged or of another size.
fn claims(path: &Path, size: u64) -> Option<Bitmap> {
    let bytes = fs::read(path).ok()?;
    let (body, sum) = bytes.split_last_chunk::<32>()?;
    if blake3::hash(body) != *sum {
        return None;
    }
    let (length, map) = body.strip_prefix(MAGIC)?.split_first_chunk::<8>()?;
    (u64::from_le_bytes(*length) == size).then(|| Bitmap::from_bytes(size, map))?
}

/// Finds groups that were written and not claimed: goes down wherever the nodes on disk chain to the id.
fn look_around(have: &mut Have, hash: BlobHash, size: u64, data: &File, outboard: Option<&File>) -> io::Result<()> {
    let mut open = vec![Subtree::root(hash, size)];
    while let Some(subtree) = open.pop() {
        let first = subtree.start / GROUP_BYTES;
        if have.map.has_all(first, groups(subtree.len)) {
            continue;
        }
        if subtree.is_group() {
            if subtree.holds(&read_exactly(data, subtree.start, subtree.len)?) && have.map.set(first) {
                have.unclaimed += subtree.len;
            }
            continue;
        }
        let Some(outboard) = outboard else { continue };
        let node = read_exactly(outboard, subtree.index * NODE_BYTES, NODE_BYTES)?;
        if let Some((left, right)) = node.first_chunk().and_then(|node| subtree.split(node)) {
            open.extend([right, left]);
        }
    }
    Ok(())
}

/// The bytes of a run of groups.
fn run_bytes(run: &Range<u64>, size: u64) -> u64 {
    run.end.saturating_mul(GROUP_BYTES).min(size).saturating_sub(run.start.saturating_mul(GROUP_BYTES))
}

impl Partial {
    /// The blob's id.
    pub fn hash(&self) -> BlobHash {
        self.inner.hash
    }

    /// Its size in bytes, as it was named to [`crate::Store::fetch`].
    pub fn size(&self) -> u64 {
        self.inner.size
    }

    fn have(&self) -> MutexGuard<'_, Have> {
        self.inner.have.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that are there.
    pub fn bytes(&self) -> u64 {
        self.have().bytes
    }

    /// Whether all of it is there.
    pub fn is_whole(&self) -> bool {
        self.have().map.is_full()
    }

    /// Runs of groups that are there, in order; at most `most`.
    pub fn present(&self, most: usize) -> Vec<Range<u64>> {
        self.have().map.runs(true, most)
    }

    /// Runs of groups that are missing, in order; at most `most`.
    pub fn missing(&self, most: usize) -> Vec<Range<u64>> {
        self.have().map.runs(false, most)
    }

    /// Runs of groups that are missing between two groups, in order.
    pub fn missing_in(&self, within: Range<u64>) -> Vec<Range<u64>> {
        self.have().map.missing_in(within)
    }

    /// Checks the next bytes of an encoding and writes what verifies to its place, and nothing else. Now and then, and then
    /// it takes longer, what was written is made durable and claimed.
    pub fn absorb(&self, decoder: &mut Decoder, bytes: &[u8]) -> Result<Absorbed> {
        let inner = &*self.inner;
        inner.shared.writable()?;
        if decoder.blob() != (inner.hash, inner.size) {
            return Err(Error::NotFound { hash: decoder.blob().0 });
        }
        let checked = decoder.check(bytes);
        self.take(&checked)
    }

    /// Writes what was checked, and counts it as there.
    pub(crate) fn take(&self, checked: &Checked<'_>) -> Result<Absorbed> {
        self.inner.shared.writable()?;
        self.write(checked)?;
        let (mut new_bytes, due) = (0, {
            let have = self.have();
            have.unclaimed > 0 && (have.unclaimed >= CLAIM_BYTES || have.claimed.elapsed() >= CLAIM_TIME)
        });
        {
            let mut have = self.have();
            for (start, data) in &checked.groups {
                if have.map.set(start / GROUP_BYTES) {
                    new_bytes += data.len() as u64;
                }
            }
            have.bytes += new_bytes;
            have.unclaimed += new_bytes;
        }
        if due {
            self.claim()?;
        }
        Ok(Absorbed { used: checked.used, new_bytes, fault: checked.fault })
    }

    fn write(&self, checked: &Checked<'_>) -> Result<()> {
        let inner = &*self.inner;
        // The nodes first: a group without the nodes above it could not be found again.
        if let Some(outboard) = &inner.outboard {
            let path = || inner.shared.layout.partial(inner.hash, OUTBOARD);
            let mut nodes = checked.nodes.clone();
            nodes.sort_unstable_by_key(|(index, _)| *index);
            let mut run: (u64, Vec<u8>) = (0, Vec::new());
            let put = |(start, bytes): &(u64, Vec<u8>)| {
                outboard.write_all_at(bytes, start * NODE_BYTES).map_err(|e| Error::io("write", &path(), e))
            };
            for (index, node) in nodes {
                if run.0 + run.1.len() as u64 / NODE_BYTES != index {
                    put(&run)?;
                    run = (index, Vec::new());
                }
                run.1.extend_from_slice(&node);
            }
            put(&run)?;
        }
        let mut groups = checked.groups.as_slice();
        while let Some((start, _)) = groups.first() {
            let mut end = *start;
            let touching = |(at, data): &&(u64, &[u8])| {
                let is_next = *at == end;
                end = at + data.len() as u64;
                is_next
            };
            let count = groups.iter().take(SLICES).take_while(touching).count();
            let (run, rest) = groups.split_at(count);
            let data: Vec<&[u8]> = run.iter().map(|(_, data)| *data).collect();
            write_all(&inner.data, *start, &data)
                .map_err(|e| Error::io("write", &inner.shared.layout.partial(inner.hash, ""), e))?;
            groups = rest;
        }
        Ok(())
    }

    /// Makes what was written durable, and claims it.
    pub fn claim(&self) -> Result<()> {
        let inner = &*self.inner;
        let _one = inner.claiming.lock().unwrap_or_else(PoisonError::into_inner);
        // What comes in from here on is left to the next claim.
        let body = {
            let mut have = self.have();
            have.claimed = Instant::now();
            if std::mem::take(&mut have.unclaimed) == 0 {
                return Ok(());
            }
            [MAGIC.as_slice(), &inner.size.to_le_bytes(), have.map.bytes()].concat()
        };
        self.sync()?;
        let (path, new) =
            (inner.shared.layout.partial(inner.hash, HAVE), inner.shared.layout.partial(inner.hash, HAVE_NEW));
        let write = |e| Error::io("write", &new, e);
        let mut file = File::create(&new).map_err(write)?;
        file.write_all(&body).and_then(|()| file.write_all(blake3::hash(&body).as_bytes())).map_err(write)?;
        // Should the name come to the disk before the bytes, the sum does not fit, and nothing is claimed.
        file.sync_data().map_err(|e| Error::io("sync", &new, e))?;
        fs::rename(&new, &path).map_err(|e| Error::io("replace", &path, e))
    }

    fn sync(&self) -> Result<()> {
        let inner = &*self.inner;
        let files = [(Some(&inner.data), ""), (inner.outboard.as_ref(), OUTBOARD)];
        for (file, suffix) in files.into_iter().filter_map(|(file, suffix)| Some((file?, suffix))) {
            let path = inner.shared.layout.partial(inner.hash, suffix);
            let synced = file.sync_data().map_err(|e| match Error::io("sync", &path, e) {
                Error::Io { path, source, .. } => Error::Sync { path, source },
                full => full,
            });
            inner.shared.watch(synced)?;
        }
        Ok(())
    }

    /// Encodes groups for another node; `None` unless all of them are there.
    pub fn encode(&self, runs: Vec<Range<u64>>) -> Option<Encoder> {
        let wanted = GroupRanges::new(self.size(), runs)?;
        Some(Encoder::new(&self.blob(&wanted)?, wanted))
    }

    /// A reader of bytes that are there; `None` unless all of them are, or where there are none. It goes on if the blob is
    /// completed or given up meanwhile.
    pub fn range(&self, range: Range<u64>) -> Option<RangeReader> {
        let runs = std::iter::once(range.start / GROUP_BYTES..range.end.div_ceil(GROUP_BYTES)).collect();
        let blob = self.blob(&GroupRanges::new(self.size(), runs)?)?;
        blob.range(range).ok()
    }

    /// The blob, if these groups of it are there. No others may be read.
    fn blob(&self, groups: &GroupRanges) -> Option<Blob> {
        {
            let have = self.have();
            if !groups.runs().iter().all(|run| have.map.has_all(run.start, run.end - run.start)) {
                return None;
            }
        }
        self.over_files().ok()
    }

    /// The files as a blob, of which only what is there verifies.
    pub(crate) fn over_files(&self) -> Result<Blob> {
        let inner = &*self.inner;
        let path: PathBuf = inner.shared.layout.partial(inner.hash, "");
        let open = |e| Error::io("open", &path, e);
        let outboard = inner.outboard.as_ref().map(File::try_clone).transpose().map_err(open)?;
        let data = inner.data.try_clone().map_err(open)?;
        let lease = Lease::take(&inner.shared, &mut inner.shared.state(), inner.hash);
        Ok(over_partial(&inner.shared, lease, inner.hash, inner.size, (data, path), outboard))
    }

    /// Writes nodes that were verified, from this one on.
    pub(crate) fn write_outboard(&self, first: u64, nodes: &[u8]) -> Result<()> {
        let inner = &*self.inner;
        inner.shared.writable()?;
        let Some(outboard) = &inner.outboard else { return Ok(()) };
        outboard
            .write_all_at(nodes, first * NODE_BYTES)
            .map_err(|e| Error::io("write", &inner.shared.layout.partial(inner.hash, OUTBOARD), e))
    }

    /// Makes the whole blob durable and gives it its name. [`Error::Incomplete`] while groups are missing.
    pub fn finish(self) -> Result<Imported> {
        let inner = &*self.inner;
        let (shared, hash, size) = (&inner.shared, inner.hash, inner.size);
        if !self.is_whole() {
            let missing = self.missing(usize::MAX - 1).iter().map(|run| run.end - run.start).sum();
            return Err(Error::Incomplete { hash, missing });
        }
        self.sync()?;
        let _shard = shared.shard(hash);
        if let Some(imported) = renew(shared, hash, size) {
            delete(shared, hash, true)?;
            return Ok(imported);
        }
        let known = shared.state().entries.contains_key(&hash);
        let (data, part) = (shared.layout.path(hash, Kind::Data), shared.layout.partial(hash, ""));
        if !known && data.exists() {
            shared.watch(shared.layout.quarantine(hash))?;
        }
        let dir = shared.watch(shared.layout.make_shard(hash))?;
        if inner.outboard.is_some() {
            let to = shared.layout.path(hash, Kind::Outboard);
            fs::rename(shared.layout.partial(hash, OUTBOARD), &to).map_err(|e| Error::io("publish", &to, e))?;
        }
        let file = inner.data.try_clone().map_err(|e| Error::io("open", &part, e))?;
        if !Temp::adopt(part, file).publish(&data)? {
            return Err(Error::io("publish", &data, io::ErrorKind::AlreadyExists.into()));
        }
        if known {
            let record = shared.layout.path(hash, Kind::Reference);
            fs::remove_file(&record).map_err(|e| Error::io("remove", &record, e))?;
        }
        shared.watch(sync_dir(&dir))?;
        // The room that was taken is the blob's now.
        let stored = shared.state().partials.remove(&hash).map_or(0, |f| f.stored);
        let imported = enter(shared, hash, size, stored, false);
        for suffix in [HAVE, HAVE_NEW] {
            // One that stays is removed at the next start.
            let _ = fs::remove_file(shared.layout.partial(hash, suffix));
        }
        Ok(imported)
    }
}

/// Writes slices one behind the other.
fn write_all(file: &File, at: u64, slices: &[&[u8]]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = slices.iter().map(|s| IoSlice::new(s)).collect();
    let (mut rest, mut at) = (slices.as_mut_slice(), at);
    while !rest.is_empty() {
        match pwritev(file, rest, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                at += n as u64;
                IoSlice::advance_slices(&mut rest, n);
            }
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}
