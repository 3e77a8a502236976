//! Makes the outboard while the data streams by, without knowing the size beforehand.
//!
//! Pre-order puts a node before its subtrees, so the file cannot simply be appended to. But a whole subtree is contiguous
//! in it, and its bytes do not depend on what follows. So complete subtrees of 64 MiB are laid out in memory and appended,
//! and at the end, when the size is known, they are moved apart to let the few nodes above them in. This moves size / 256
//! bytes once and keeps 32 bytes a 64 MiB in memory.

use std::io;
use std::os::unix::fs::FileExt;

use blake3::Hasher;
use blake3::hazmat::HasherExt;
use fondaco_schemas::BlobHash;

use crate::error::{Error, Result};
use crate::layout::{Layout, Temp};
use crate::tree::{Cv, NODE_BYTES, Node, group_cv, node, parent_cv, root_hash};

/// Groups of a block: a subtree of 64 MiB.
const BLOCK_GROUPS: usize = 4096;

pub(crate) struct OutboardBuilder {
    block_groups: usize,
    /// The chaining values of the block that is being filled.
    leaves: Vec<Cv>,
    /// The chaining values of the blocks that were appended to the file.
    blocks: Vec<Cv>,
    /// The blob's hash if no second group comes.
    alone: BlobHash,
    /// The file, from when there is something to write.
    temp: Option<Temp>,
    /// Its length.
    written: u64,
}

/// A node of the upper tree and where it belongs in the file, in bytes.
type Placed = (u64, Node);

impl OutboardBuilder {
    pub fn new() -> Self {
        Self::with_block(BLOCK_GROUPS)
    }

    /// `block_groups` is a power of two.
    fn with_block(block_groups: usize) -> Self {
        let alone = BlobHash::new(*blake3::hash(&[]).as_bytes());
        Self { block_groups, leaves: Vec::new(), blocks: Vec::new(), alone, temp: None, written: 0 }
    }

    /// Takes the group at `offset`. Only the last group may be shorter than 16 KiB, and none is empty.
    pub fn group(&mut self, layout: &Layout, offset: u64, bytes: &[u8]) -> Result<()> {
        if offset == 0 {
            let mut hasher = Hasher::new();
            hasher.update(bytes);
            self.alone = BlobHash::new(*hasher.finalize().as_bytes());
            self.leaves.push(hasher.finalize_non_root());
            return Ok(());
        }
        // A full block is laid out only now, since before it was not known whether anything follows.
        if self.leaves.len() == self.block_groups {
            self.append_block(layout)?;
        }
        self.leaves.push(group_cv(offset, bytes));
        Ok(())
    }

    /// Completes the file and answers it with the blob's hash. A blob of one group has no file.
    pub fn finish(mut self, layout: &Layout) -> Result<(BlobHash, Option<Temp>)> {
        if self.blocks.is_empty() && self.leaves.len() < 2 {
            return Ok((self.alone, None));
        }
        let mut top = self.append_block(layout)?;
        if self.blocks.len() > 1
            && let Some(temp) = &self.temp
        {
            let root = self.make_room(temp).map_err(|e| Error::io("write", temp.path(), e))?;
            top = root.or(top);
        }
        Ok((top.map_or(self.alone, |node| root_hash(&node)), self.temp))
    }

    /// Lays out the block that was filled and answers the node at its top.
    fn append_block(&mut self, layout: &Layout) -> Result<Option<Node>> {
        let mut bytes = Vec::with_capacity(self.leaves.len() * 64);
        self.blocks.push(lay_out(&self.leaves, &mut bytes));
        self.leaves.clear();
        let temp = match &mut self.temp {
            Some(temp) => temp,
            none => none.insert(layout.temp()?),
        };
        temp.file.write_all_at(&bytes, self.written).map_err(|e| Error::io("write", temp.path(), e))?;
        self.written += bytes.len() as u64;
        Ok(bytes.first_chunk().copied())
    }

    /// Moves the blocks apart and writes the nodes above them; answers the one at the very top.
    fn make_room(&self, temp: &Temp) -> io::Result<Option<Node>> {
        let block_bytes = (self.block_groups as u64 - 1) * NODE_BYTES;
        let (mut upper, mut places, mut end) = (Vec::new(), Vec::new(), 0);
        place(&self.blocks, block_bytes, &mut end, &mut places, &mut upper);
        // From the last to the first, so that no block lands on one that was not moved yet.
        let mut buffer = Vec::new();
        for (number, place) in (0_u64..).zip(&places).collect::<Vec<_>>().into_iter().rev() {
            let from = number * block_bytes;
            let len = block_bytes.min(self.written - from);
            buffer.resize(usize::try_from(len).map_err(io::Error::other)?, 0);
            temp.file.read_exact_at(&mut buffer, from)?;
            temp.file.write_all_at(&buffer, *place)?;
        }
        for (at, node) in &upper {
            temp.file.write_all_at(node, *at)?;
        }
        Ok(upper.iter().find(|(at, _)| *at == 0).map(|(_, node)| *node))
    }
}

/// Leaves in the left half of a tree over `count` leaves: the largest power of two below it.
fn left_count(count: usize) -> usize {
    count.next_power_of_two() / 2
}

/// Appends the nodes over `leaves` in pre-order; answers the chaining value on top (none for no leaves).
fn lay_out(leaves: &[Cv], out: &mut Vec<u8>) -> Cv {
    match leaves {
        [] => [0; 32],
        [cv] => *cv,
        _ => {
            let at = out.len();
            out.extend_from_slice(&[0; 64]);
            let (left, right) = leaves.split_at(left_count(leaves.len()));
            let top = node(&lay_out(left, out), &lay_out(right, out));
            if let Some(slot) = out.get_mut(at..at + 64) {
                slot.copy_from_slice(&top);
            }
            parent_cv(&top)
        }
    }
}

/// Walks the tree over whole blocks in pre-order: where each block and each node above them goes.
fn place(blocks: &[Cv], block_bytes: u64, end: &mut u64, places: &mut Vec<u64>, upper: &mut Vec<Placed>) -> Cv {
    if let [cv] = blocks {
        places.push(*end);
        *end += block_bytes;
        return *cv;
    }
    let at = *end;
    *end += NODE_BYTES;
    let (left, right) = blocks.split_at(left_count(blocks.len()));
    let left = place(left, block_bytes, end, places, upper);
    let right = place(right, block_bytes, end, places, upper);
    let top = node(&left, &right);
    upper.push((at, top));
    parent_cv(&top)
}

#[cfg(test)]
mod tests {
    use bao_tree::BlockSize;
    use bao_tree::io::outboard::PreOrderMemOutboard;

    use super::*;

    /// Small blocks, so that the upper tree gets all its shapes without gigabytes.
    fn check(layout: &Layout, size: usize, block_groups: usize) {
        let data: Vec<u8> = (0..size).map(|i| u8::try_from(i * 31 % 251).unwrap()).collect();
        let mut builder = OutboardBuilder::with_block(block_groups);
        for (i, group) in data.chunks(16_384).enumerate() {
            builder.group(layout, i as u64 * 16_384, group).unwrap();
        }
        let (hash, temp) = builder.finish(layout).unwrap();
        let ours = temp.map_or(Vec::new(), |temp| std::fs::read(temp.path()).unwrap());
        let theirs = PreOrderMemOutboard::create(&data, BlockSize::from_chunk_log(4));
        assert_eq!(hash.as_bytes(), theirs.root.as_bytes(), "{size} {block_groups}");
        assert_eq!(ours, theirs.data, "{size} {block_groups}");
        assert_eq!(hash.as_bytes(), blake3::hash(&data).as_bytes());
        assert_eq!(ours.len() as u64, crate::tree::outboard_bytes(size as u64));
    }

    #[test]
    fn an_outboard_is_bao_trees_byte_for_byte_whatever_the_size() {
        let dir = tempfile::tempdir().unwrap();
        let (layout, _lock) = Layout::open(dir.path()).unwrap();
        for block_groups in [2, 4, 4096] {
            for groups in 0..=21 {
                for rest in [0, 1, 1_024, 16_383] {
                    check(&layout, groups * 16_384 + rest, block_groups);
                }
            }
        }
    }
}
