//! Reads blobs, and hands out nothing that was not verified up to the id.
//!
//! A group of 16 KiB is compared with its chaining value, that value comes from a node which was compared with the one
//! above it, and so on up to the blob's id. The outboard is therefore no more trusted than the data. A range reader goes
//! through the tree from left to right and keeps the verified subtrees that still lie ahead, so that each node on its way
//! is checked once.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use fondaco_schemas::BlobHash;
use rustix::buffer::spare_capacity;
use rustix::io::{Errno, pread, preadv};

use crate::error::{Error, Part, Result};
use crate::import::{ALIGN, padding};
use crate::layout::{Kind, Reference, open_plain, open_source};
use crate::quarantine::condemn;
use crate::state::{Entry, Lease, Shared};
use crate::tree::{GROUP_BYTES, NODE_BYTES, Node, Subtree, outboard_bytes};

/// The most bytes of one piece that a range reader hands out. A multiple of the group's size.
const PIECE_BYTES: u64 = 512 * 1024;
/// Subtrees with at most this many nodes (16 KiB of outboard, 4 MiB of data) are read from the outboard at once.
const NODES_AT_ONCE: u64 = 256;

/// A blob that was opened. It can be read until it is dropped, whatever garbage collection does.
#[derive(Clone, Debug)]
pub struct Blob {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    hash: BlobHash,
    generation: u64,
    size: u64,
    data: File,
    path: PathBuf,
    /// None for a blob of one group.
    outboard: Option<File>,
    _lease: Lease,
}

/// Opens a blob; see [`crate::Store::get`].
pub(crate) fn open(shared: &Arc<Shared>, hash: BlobHash) -> Result<Blob> {
    let (entry, lease) = {
        let mut state = shared.state();
        match state.entries.get(&hash).cloned() {
            Some(entry) => (entry, Lease::take(shared, &mut state, hash)),
            None if state.quarantine.contains_key(&hash) => return Err(Error::Quarantined { hash }),
            None => return Err(Error::NotFound { hash }),
        }
    };
    let corrupt = |part, offset| {
        condemn(shared, hash, entry.generation);
        Err(Error::Corrupt { hash, offset, part })
    };
    let (data, path) = if entry.reference {
        match shared.layout.reference(hash)? {
            Some(reference) => open_reference(hash, &reference)?,
            None => return corrupt(Part::Data, 0),
        }
    } else {
        let path = shared.layout.path(hash, Kind::Data);
        let file = open_plain(&path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Error::NotFound { hash },
            _ => Error::io("open", &path, e),
        })?;
        let bytes = file.metadata().map_err(|e| Error::io("read", &path, e))?.len();
        if bytes != entry.size {
            return corrupt(Part::Length, bytes.min(entry.size));
        }
        (file, path)
    };
    let outboard = if outboard_bytes(entry.size) == 0 {
        None
    } else {
        let path = shared.layout.path(hash, Kind::Outboard);
        let bytes = match open_plain(&path) {
            Ok(file) => file.metadata().map(|meta| (meta.len(), file)),
            Err(e) => Err(e),
        };
        match bytes {
            Ok((bytes, file)) if bytes == outboard_bytes(entry.size) => Some(file),
            Ok(_) => return corrupt(Part::Outboard, 0),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return corrupt(Part::Outboard, 0),
            Err(e) => return Err(Error::io("open", &path, e)),
        }
    };
    let inner = Inner {
        shared: Arc::clone(shared),
        hash,
        generation: entry.generation,
        size: entry.size,
        data,
        path,
        outboard,
        _lease: lease,
    };
    let blob = Blob { inner: Arc::new(inner) };
    if !entry.length_verified {
        blob.verify_length(&entry)?;
    }
    Ok(blob)
}

/// A blob over the files of one that is still being fetched. Only what was verified may be read: the rest would not verify.
pub(crate) fn over_partial(
    shared: &Arc<Shared>,
    lease: Lease,
    hash: BlobHash,
    size: u64,
    (data, path): (File, PathBuf),
    outboard: Option<File>,
) -> Blob {
    // No copy of a blob has generation 0, so nothing is condemned when a partial does not verify.
    let inner = Inner { shared: Arc::clone(shared), hash, generation: 0, size, data, path, outboard, _lease: lease };
    Blob { inner: Arc::new(inner) }
}

/// Opens a file that is kept in place, if it still is what was imported by its size and time.
fn open_reference(hash: BlobHash, reference: &Reference) -> Result<(File, PathBuf)> {
    let path = reference.path.clone();
    match open_source(&path) {
        Ok((file, meta)) if Reference::of(&path, &meta) == *reference => Ok((file, path)),
        Ok(_) | Err(Error::NotAFile { .. }) => Err(Error::ReferenceChanged { hash, path, what: "was changed" }),
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Err(Error::ReferenceChanged { hash, path, what: "is gone" })
        }
        Err(other) => Err(other),
    }
}

impl Blob {
    /// The blob's id.
    pub fn hash(&self) -> BlobHash {
        self.inner.hash
    }

    /// Its size in bytes, verified.
    pub fn size(&self) -> u64 {
        self.inner.size
    }

    /// The tree's shape follows from the size, and only the last group shows that nothing is missing behind it.
    fn verify_length(&self, entry: &Entry) -> Result<()> {
        let last = self.size().saturating_sub(1);
        let mut reader = RangeReader::new(self, last - last % GROUP_BYTES, self.size());
        if self.size() == 0 {
            reader.verify_empty()?;
        } else {
            reader.piece()?;
        }
        let mut state = self.inner.shared.state();
        if let Some(known) = state.entries.get_mut(&self.hash()).filter(|e| e.generation == entry.generation) {
            known.length_verified = true;
        }
        Ok(())
    }

    /// Reads verified bytes from `offset` on into `buffer`; answers how many, which is fewer only at the end of the blob.
    ///
    /// Each call verifies from the id down. For more than a few groups take a [`Blob::range`].
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let end = offset.saturating_add(buffer.len() as u64).min(self.size());
        let mut reader = RangeReader::new(self, offset.min(end), end);
        let mut done = 0;
        while let Some(piece) = reader.piece()? {
            if let Some(slot) = buffer.get_mut(done..done + piece.len()) {
                slot.copy_from_slice(&piece);
            }
            done += piece.len();
        }
        Ok(done)
    }

    /// A reader of the bytes in `range`, which must lie within the blob.
    pub fn range(&self, range: Range<u64>) -> Result<RangeReader> {
        let Range { start, end } = range;
        if start > end || end > self.size() {
            return Err(Error::Range { hash: self.hash(), start, end, size: self.size() });
        }
        Ok(RangeReader::new(self, start, end))
    }

    /// A reader of the whole blob.
    pub fn reader(&self) -> RangeReader {
        RangeReader::new(self, 0, self.size())
    }

    pub(crate) fn corrupt(&self, part: Part, offset: u64) -> Error {
        condemn(&self.inner.shared, self.inner.hash, self.inner.generation);
        Error::Corrupt { hash: self.inner.hash, offset, part }
    }

    /// Fills slices with the data from `offset` on, not verified.
    pub(crate) fn read_to(&self, offset: u64, slices: &mut [IoSliceMut<'_>]) -> Result<()> {
        read_slices(&self.inner.data, offset, slices).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => self.corrupt(Part::Length, offset),
            _ => Error::io("read", &self.inner.path, e),
        })
    }

    /// Nodes of the outboard, not verified; fewer if the file ends.
    pub(crate) fn read_nodes(&self, first: u64, count: u64) -> Result<Bytes> {
        let Some(outboard) = &self.inner.outboard else { return Ok(Bytes::new()) };
        read_exactly(outboard, first * NODE_BYTES, count * NODE_BYTES).map_err(|e| {
            let path = self.inner.shared.layout.path(self.inner.hash, Kind::Outboard);
            Error::io("read", &path, e)
        })
    }

    /// Up to `len` bytes of data; fewer if the file ends.
    pub(crate) fn read_data(&self, offset: u64, len: u64) -> Result<Bytes> {
        read_exactly(&self.inner.data, offset, len).map_err(|e| Error::io("read", &self.inner.path, e))
    }
}

/// Fills slices with what stands at `offset` of a file; refused where it ends before.
fn read_slices(file: &File, mut offset: u64, mut slices: &mut [IoSliceMut<'_>]) -> io::Result<()> {
    // Also an empty blob has a group.
    IoSliceMut::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match preadv(file, slices, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                offset += n as u64;
                IoSliceMut::advance_slices(&mut slices, n);
            }
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// Reads `len` bytes at `offset`, or what there is, without clearing the memory first.
pub(crate) fn read_exactly(file: &File, offset: u64, len: u64) -> io::Result<Bytes> {
    let len = usize::try_from(len).map_err(io::Error::other)?;
    let mut bytes: Vec<u8> = Vec::with_capacity(len.saturating_add(ALIGN));
    let from = padding(&bytes);
    bytes.resize(from, 0);
    while bytes.len() < from + len {
        let at = offset + (bytes.len() - from) as u64;
        match pread(file, spare_capacity(&mut bytes), at) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    // There was room for a little more than was asked for.
    bytes.truncate(from + len);
    Ok(Bytes::from(bytes).slice(from..))
}

/// Yields the verified bytes of a range, in order, in pieces of at most 512 KiB.
///
/// After an error it yields nothing more. A blob that turned out to be corrupt is in quarantine by then.
#[derive(Debug)]
pub struct RangeReader {
    blob: Blob,
    next: u64,
    end: u64,
    /// Verified subtrees ahead, the nearest last.
    ahead: Vec<Subtree>,
    /// Nodes read from the outboard, not verified, and the number of the first.
    nodes: (u64, Bytes),
}

impl RangeReader {
    pub(crate) fn new(blob: &Blob, start: u64, end: u64) -> Self {
        let root = Subtree::root(blob.hash(), blob.size());
        Self { blob: blob.clone(), next: start, end, ahead: vec![root], nodes: (0, Bytes::new()) }
    }

    /// Of which blob.
    pub(crate) fn blob(&self) -> &Blob {
        &self.blob
    }

    /// Bytes that are still to come.
    pub fn remaining(&self) -> u64 {
        self.end - self.next
    }

    /// The next piece, `None` at the end of the range.
    pub fn piece(&mut self) -> Result<Option<Bytes>> {
        if self.next >= self.end {
            return Ok(None);
        }
        let result = self.verified_piece();
        if result.is_err() {
            self.next = self.end;
        }
        result.map(Some)
    }

    fn verified_piece(&mut self) -> Result<Bytes> {
        let first = self.next - self.next % GROUP_BYTES;
        // Whole groups are read, since only whole groups can be verified.
        let last = self.end.next_multiple_of(GROUP_BYTES).min(self.blob.size()).min(first + PIECE_BYTES);
        let bytes = self.blob.read_data(first, last - first)?;
        let mut at = first;
        while at < last {
            let group = self.group_at(at)?;
            let from = usize::try_from(at - first).unwrap_or(usize::MAX);
            let data = bytes.get(from..).unwrap_or_default();
            let data = data.get(..usize::try_from(group.len).unwrap_or(usize::MAX)).unwrap_or(data);
            if !group.holds(data) {
                let short = (data.len() as u64) < group.len;
                return Err(self.blob.corrupt(if short { Part::Length } else { Part::Data }, at));
            }
            at = group.end();
        }
        let skip = usize::try_from(self.next - first).unwrap_or(usize::MAX);
        let until = usize::try_from(self.end.min(last) - first).unwrap_or(usize::MAX);
        self.next = self.end.min(last);
        Ok(bytes.slice(skip..until))
    }

    /// Goes down to the group that begins at `at`, checking every node on the way.
    pub(crate) fn group_at(&mut self, at: u64) -> Result<Subtree> {
        while let Some(subtree) = self.ahead.pop() {
            if subtree.end() <= at {
                continue;
            }
            if subtree.is_group() {
                return Ok(subtree);
            }
            let node = self.node(&subtree)?;
            let Some((left, right)) = node.and_then(|node| subtree.split(&node)) else {
                return Err(self.blob.corrupt(Part::Outboard, subtree.start));
            };
            self.ahead.extend([right, left]);
        }
        // The tree covers the blob, so this is behind its end.
        Err(self.blob.corrupt(Part::Length, at))
    }

    /// What the outboard has for the top of a subtree; `None` if it ends before.
    pub(crate) fn node(&mut self, subtree: &Subtree) -> Result<Option<Node>> {
        if let Some(node) = self.known_node(subtree.index) {
            return Ok(Some(node));
        }
        let Some(outboard) = &self.blob.inner.outboard else { return Ok(None) };
        let count = if subtree.nodes() <= NODES_AT_ONCE { subtree.nodes() } else { 1 };
        let bytes = read_exactly(outboard, subtree.index * NODE_BYTES, count * NODE_BYTES).map_err(|e| {
            let path = self.blob.inner.shared.layout.path(self.blob.hash(), Kind::Outboard);
            Error::io("read", &path, e)
        })?;
        self.nodes = (subtree.index, bytes);
        Ok(self.known_node(subtree.index))
    }

    fn known_node(&self, index: u64) -> Option<Node> {
        let from = usize::try_from(index.checked_sub(self.nodes.0)?.checked_mul(NODE_BYTES)?).ok()?;
        self.nodes.1.get(from..)?.first_chunk().copied()
    }

    /// A blob without bytes has nothing to read, but its id can still be wrong.
    fn verify_empty(&mut self) -> Result<()> {
        match self.ahead.pop() {
            Some(root) if root.holds(&[]) => Ok(()),
            _ => Err(self.blob.corrupt(Part::Length, 0)),
        }
    }
}

impl Iterator for RangeReader {
    type Item = Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        self.piece().transpose()
    }
}
