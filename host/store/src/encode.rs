//! Groups on their way to another node: data with the nodes that prove it, in the order of the tree.
//!
//! The encoding is Bao's with groups of 16 KiB, without the length in front: for each subtree that holds something of what
//! is asked for, its node (64 bytes) and then its left and right half; for a group its bytes. It is what `bao-tree` makes
//! of the same ranges, so other programs can read it. Both sides are free of input and output but for the blob itself.

use std::io::IoSliceMut;

use fondaco_schemas::BlobHash;

use crate::error::{Error, Part, Result};
use crate::ranges::GroupRanges;
use crate::reader::{Blob, RangeReader};
use crate::tree::{GROUP_BYTES, Node, Subtree};

/// The most data that is read and encoded at once. A multiple of the group's size.
const PIECE_BYTES: usize = 1024 * 1024;

/// Slices that go into one read. The system takes up to 1024.
const SLICES: usize = 512;

/// Encodes ranges of a blob, piece by piece. Every byte is verified before it is handed out.
#[derive(Debug)]
pub struct Encoder {
    reader: RangeReader,
    wanted: GroupRanges,
    ahead: Vec<Subtree>,
    /// The length of the whole encoding in bytes.
    bytes: u64,
}

impl Encoder {
    /// `wanted` must be ranges of a blob of this size.
    pub(crate) fn new(blob: &Blob, wanted: GroupRanges) -> Self {
        let ahead = vec![Subtree::root(blob.hash(), blob.size())];
        let bytes = wanted.encoded_bytes(blob.size());
        Self { reader: RangeReader::new(blob, 0, 0), wanted, ahead, bytes }
    }

    /// The length of the whole encoding in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next piece, of little more than 1 MiB at most; `None` at the end.
    pub fn piece(&mut self) -> Result<Option<Vec<u8>>> {
        let mut out = Vec::new();
        let len = self.fill(&mut out)?;
        out.truncate(len);
        Ok((len > 0).then_some(out))
    }

    /// Writes the next piece, of little more than 1 MiB at most, to the beginning of a buffer that may have been used
    /// before, and answers its length; zero at the end. The buffer is made longer where it is too short. What is in it
    /// after an error is not to be used.
    pub fn fill(&mut self, out: &mut Vec<u8>) -> Result<usize> {
        // Groups, and where they go. They are read to their place, and verified there.
        let mut groups: Vec<(Subtree, usize)> = Vec::new();
        let mut used = 0;
        while used < PIECE_BYTES {
            let Some(subtree) = self.ahead.pop() else { break };
            if !self.wanted.meets(&subtree) {
                continue;
            }
            if subtree.is_group() {
                let len = length(&subtree);
                groups.push((subtree, used));
                used += len;
            } else {
                let node = self.reader.node(&subtree)?;
                let Some((node, (left, right))) = node.and_then(|n| Some((n, subtree.split(&n)?))) else {
                    return Err(self.reader.blob().corrupt(Part::Outboard, subtree.start));
                };
                self.room(out, used + node.len());
                if let Some(place) = out.get_mut(used..used + node.len()) {
                    place.copy_from_slice(&node);
                }
                used += node.len();
                self.ahead.extend([right, left]);
            }
        }
        self.room(out, used);
        self.read(&groups, out)?;
        for (group, at) in &groups {
            if !out.get(*at..at + length(group)).is_some_and(|data| group.holds(data)) {
                return Err(self.reader.blob().corrupt(Part::Data, group.start));
            }
        }
        Ok(used)
    }

    /// Makes a buffer long enough, in a step that is seldom taken again.
    fn room(&self, out: &mut Vec<u8>, len: usize) {
        if out.len() < len {
            let all = usize::try_from(self.bytes).unwrap_or(usize::MAX);
            out.resize(len.max(all.min(PIECE_BYTES + PIECE_BYTES / 64)), 0);
        }
    }

    /// Reads groups to their places, those that follow each other in the blob at once.
    fn read(&self, groups: &[(Subtree, usize)], mut out: &mut [u8]) -> Result<()> {
        let mut at = 0;
        let mut slices: Vec<IoSliceMut<'_>> = Vec::with_capacity(groups.len());
        let (mut start, mut end) = (0, 0);
        for (group, place) in groups {
            if group.start != end || slices.len() == SLICES {
                self.reader.blob().read_to(start, &mut slices)?;
                slices.clear();
                start = group.start;
            }
            end = group.end();
            let (_, rest) = out.split_at_mut_checked(place - at).unwrap_or_default();
            let (data, rest) = rest.split_at_mut_checked(length(group)).unwrap_or_default();
            (at, out) = (place + data.len(), rest);
            slices.push(IoSliceMut::new(data));
        }
        self.reader.blob().read_to(start, &mut slices)
    }
}

/// A group's length.
fn length(group: &Subtree) -> usize {
    usize::try_from(group.len).unwrap_or(usize::MAX)
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
