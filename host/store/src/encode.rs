//! Groups on their way to another node: data with the nodes that prove it, in the order of the tree.
//!
//! The encoding is Bao's with groups of 16 KiB, without the length in front: for each subtree that holds something of what
//! is asked for, its node (64 bytes) and then its left and right half; for a group its bytes. It is what `bao-tree` makes
//! of the same ranges, so other programs can read it. Both sides are free of input and output but for the blob itself.

use bytes::Bytes;
use fondaco_schemas::BlobHash;

use crate::error::{Error, Part, Result};
use crate::ranges::GroupRanges;
use crate::reader::{Blob, RangeReader};
use crate::tree::{GROUP_BYTES, Node, Subtree};

/// The most data that is read and encoded at once. A multiple of the group's size.
const PIECE_BYTES: u64 = 1024 * 1024;

/// Encodes ranges of a blob, piece by piece. Every byte is verified before it is handed out.
#[derive(Debug)]
pub struct Encoder {
    reader: RangeReader,
    wanted: GroupRanges,
    ahead: Vec<Subtree>,
    /// Data that was read ahead, and where it begins in the blob.
    data: (u64, Bytes),
}

impl Encoder {
    /// `wanted` must be ranges of a blob of this size.
    pub(crate) fn new(blob: &Blob, wanted: GroupRanges) -> Self {
        let ahead = vec![Subtree::root(blob.hash(), blob.size())];
        Self { reader: RangeReader::new(blob, 0, 0), wanted, ahead, data: (0, Bytes::new()) }
    }

    /// The next piece, of little more than 1 MiB at most; `None` at the end.
    pub fn piece(&mut self) -> Result<Option<Vec<u8>>> {
        let most = usize::try_from(PIECE_BYTES).unwrap_or(usize::MAX);
        let mut out = Vec::with_capacity(most + most / 128);
        while out.len() < most {
            let Some(subtree) = self.ahead.pop() else { break };
            if !self.wanted.meets(&subtree) {
                continue;
            }
            if subtree.is_group() {
                let data = self.group(&subtree)?;
                out.extend_from_slice(&data);
            } else {
                let node = self.reader.node(&subtree)?;
                let Some((node, (left, right))) = node.and_then(|n| Some((n, subtree.split(&n)?))) else {
                    return Err(self.reader.blob().corrupt(Part::Outboard, subtree.start));
                };
                out.extend_from_slice(&node);
                self.ahead.extend([right, left]);
            }
        }
        Ok((!out.is_empty()).then_some(out))
    }

    fn group(&mut self, group: &Subtree) -> Result<Bytes> {
        let (start, bytes) = &self.data;
        if group.start < *start || group.end() > start + bytes.len() as u64 {
            let run = self.wanted.run_of(group.start / GROUP_BYTES);
            let end = run.map_or(group.end(), |run| run.end.saturating_mul(GROUP_BYTES));
            let end = end.min(self.reader.blob().size()).min(group.start + PIECE_BYTES);
            self.data = (group.start, self.reader.blob().read_data(group.start, end - group.start)?);
        }
        let (start, bytes) = &self.data;
        let from = usize::try_from(group.start - start).unwrap_or(usize::MAX);
        let len = usize::try_from(group.len).unwrap_or(usize::MAX);
        let data = from.checked_add(len).filter(|to| *to <= bytes.len()).map(|to| bytes.slice(from..to));
        match data {
            Some(data) if group.holds(&data) => Ok(data),
            Some(_) => Err(self.reader.blob().corrupt(Part::Data, group.start)),
            None => Err(self.reader.blob().corrupt(Part::Length, group.start)),
        }
    }
}

impl Blob {
    /// Encodes ranges of this blob for another node. Refused: ranges that it does not have.
    pub fn encode(&self, runs: Vec<std::ops::Range<u64>>) -> Result<Encoder> {
        let (start, end) = (runs.first().map_or(0, |r| r.start), runs.last().map_or(0, |r| r.end));
        let Some(wanted) = GroupRanges::new(self.size(), runs) else {
            let bytes = |group: u64| group.saturating_mul(GROUP_BYTES);
            return Err(Error::Range { hash: self.hash(), start: bytes(start), end: bytes(end), size: self.size() });
        };
        Ok(Encoder::new(self, wanted))
    }
}

/// What a decoder found in some bytes: groups and nodes that belong to the blob.
pub(crate) struct Checked<'a> {
    /// Where each group begins in the blob, and its bytes.
    pub groups: Vec<(u64, &'a [u8])>,
    /// Where each node stands in the outboard, counted in nodes.
    pub nodes: Vec<(u64, Node)>,
    /// Bytes that were looked at. What follows is part of an item that is not complete.
    pub used: usize,
    /// Where in the blob the first item begins that does not verify. Nothing behind it was looked at.
    pub fault: Option<u64>,
}

/// Checks an encoding as it arrives. It believes nothing but the id and the size that it was given.
#[derive(Debug)]
pub struct Decoder {
    hash: BlobHash,
    size: u64,
    wanted: GroupRanges,
    ahead: Vec<Subtree>,
}

impl Decoder {
    /// For the encoding of these ranges of the blob. If its size is not `size`, nothing will verify.
    pub fn new(hash: BlobHash, size: u64, wanted: GroupRanges) -> Self {
        Self { hash, size, wanted, ahead: vec![Subtree::root(hash, size)] }
    }

    /// Of which blob.
    pub(crate) fn blob(&self) -> (BlobHash, u64) {
        (self.hash, self.size)
    }

    /// Checks all whole items in `bytes`, which follow those of the last call.
    pub(crate) fn check<'a>(&mut self, bytes: &'a [u8]) -> Checked<'a> {
        let mut found = Checked { groups: Vec::new(), nodes: Vec::new(), used: 0, fault: None };
        while let Some(subtree) = self.ahead.pop() {
            if !self.wanted.meets(&subtree) {
                continue;
            }
            let rest = bytes.get(found.used..).unwrap_or_default();
            if subtree.is_group() {
                let len = usize::try_from(subtree.len).unwrap_or(usize::MAX);
                match rest.get(..len) {
                    Some(data) if subtree.holds(data) => {
                        found.groups.push((subtree.start, data));
                        found.used += len;
                        continue;
                    }
                    Some(_) => found.fault = Some(subtree.start),
                    None => {}
                }
            } else if let Some(node) = rest.first_chunk::<64>() {
                if let Some((left, right)) = subtree.split(node) {
                    found.nodes.push((subtree.index, *node));
                    found.used += 64;
                    self.ahead.extend([right, left]);
                    continue;
                }
                found.fault = Some(subtree.start);
            }
            self.ahead.push(subtree);
            break;
        }
        found
    }
}
