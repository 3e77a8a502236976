//! The outboard by itself, without the data: handed out for those who have the bytes from elsewhere, and taken in so that
//! bytes which come without their nodes can be verified. Both go through the tree in the outboard's own order, and believe
//! no node that the one above it does not prove.

use bytes::Bytes;
use fondaco_schemas::BlobHash;

use crate::encode::Checked;
use crate::error::{Error, Part, Result};
use crate::partial::{Absorbed, Partial};
use crate::reader::{Blob, RangeReader};
use crate::tree::{GROUP_BYTES, NODE_BYTES, Node, Subtree, outboard_bytes};

/// Nodes that are handed out at once: 64 KiB.
const PIECE_NODES: u64 = 1024;

/// The inner nodes of a tree that are still to come, in the outboard's order.
#[derive(Debug)]
struct Walk(Vec<Subtree>);

impl Walk {
    fn new(hash: BlobHash, size: u64) -> Self {
        Self(vec![Subtree::root(hash, size)])
    }

    /// The subtree whose node is next; None at the end.
    fn next(&mut self) -> Option<&Subtree> {
        while self.0.last().is_some_and(Subtree::is_group) {
            self.0.pop();
        }
        self.0.last()
    }

    /// Takes the next node, if it is the right one.
    fn take(&mut self, node: &Node) -> bool {
        let Some((left, right)) = self.next().and_then(|subtree| subtree.split(node)) else { return false };
        self.0.pop();
        self.0.extend([right, left]);
        true
    }
}

/// Yields a blob's outboard in pieces of at most 64 KiB, every node verified up to the id.
#[derive(Debug)]
pub struct OutboardReader {
    blob: Blob,
    walk: Walk,
}

impl OutboardReader {
    /// The next piece, `None` at the end.
    pub fn piece(&mut self) -> Result<Option<Bytes>> {
        let Some((index, start)) = self.walk.next().map(|subtree| (subtree.index, subtree.start)) else {
            return Ok(None);
        };
        let left = outboard_bytes(self.blob.size()) / NODE_BYTES - index;
        let bytes = self.blob.read_nodes(index, left.min(PIECE_NODES))?;
        let (nodes, rest) = bytes.as_chunks::<64>();
        if !rest.is_empty() || nodes.is_empty() || !nodes.iter().all(|node| self.walk.take(node)) {
            self.walk.0.clear();
            return Err(self.blob.corrupt(Part::Outboard, start));
        }
        Ok(Some(bytes))
    }
}

impl Blob {
    /// A reader of the outboard; [`crate::outboard_bytes`] says how long it is.
    pub fn outboard(&self) -> OutboardReader {
        OutboardReader { blob: self.clone(), walk: Walk::new(self.hash(), self.size()) }
    }
}

/// Takes in an outboard as it arrives. It believes nothing but the id and the size that it was given.
#[derive(Debug)]
pub struct OutboardDecoder {
    blob: (BlobHash, u64),
    walk: Walk,
    /// The beginning of a node that has not come whole.
    rest: Vec<u8>,
}

impl OutboardDecoder {
    /// For the outboard of a blob.
    pub fn new(hash: BlobHash, size: u64) -> Self {
        Self { blob: (hash, size), walk: Walk::new(hash, size), rest: Vec::new() }
    }

    /// Whether all of it came.
    pub fn is_done(&mut self) -> bool {
        self.walk.next().is_none() && self.rest.is_empty()
    }
}

impl Partial {
    /// Writes the next bytes of an outboard to its place, as far as they verify. False: they do not, and nothing more is to
    /// be given to this decoder.
    pub fn absorb_outboard(&self, decoder: &mut OutboardDecoder, bytes: &[u8]) -> Result<bool> {
        if decoder.blob != (self.hash(), self.size()) {
            return Err(Error::NotFound { hash: decoder.blob.0 });
        }
        decoder.rest.extend_from_slice(bytes);
        let came = std::mem::take(&mut decoder.rest);
        let (nodes, rest) = came.as_chunks::<64>();
        let first = decoder.walk.next().map(|subtree| subtree.index);
        let good = nodes.iter().take_while(|node| decoder.walk.take(node)).count();
        let verified = came.get(..good * 64).unwrap_or_default();
        if let Some(first) = first.filter(|_| good > 0) {
            self.write_outboard(first, verified)?;
        }
        decoder.rest = rest.to_vec();
        Ok(good == nodes.len())
    }

    /// Checks bytes that came without their nodes against those that are there, from a group's beginning on, and writes
    /// what verifies. The last group must be whole. [`Error::Corrupt`] of the outboard where nodes are missing.
    pub fn absorb_plain(&self, first_group: u64, bytes: &[u8]) -> Result<Absorbed> {
        let start = first_group.saturating_mul(GROUP_BYTES);
        let end = start.saturating_add(bytes.len() as u64);
        if end > self.size() || (!end.is_multiple_of(GROUP_BYTES) && end != self.size()) {
            return Err(Error::Range { hash: self.hash(), start, end, size: self.size() });
        }
        let blob = self.over_files()?;
        let mut reader = RangeReader::new(&blob, start, end);
        let mut checked = Checked { groups: Vec::new(), nodes: Vec::new(), used: 0, fault: None };
        while let Some(rest) = bytes.get(checked.used..).filter(|rest| !rest.is_empty()) {
            let at = start + checked.used as u64;
            let group = reader.group_at(at)?;
            match rest.get(..usize::try_from(group.len).unwrap_or(usize::MAX)) {
                Some(data) if group.holds(data) => {
                    checked.groups.push((at, data));
                    checked.used += data.len();
                }
                _ => {
                    checked.fault = Some(at);
                    break;
                }
            }
        }
        self.take(&checked)
    }
}
