//! The shape of a blob's hash tree, and the one place where bytes and nodes are checked against it.
//!
//! The tree is BLAKE3's own (BLAKE3 paper, section 2.1), cut off at groups of 16 KiB: a leaf here is the chaining value of
//! sixteen chunks. The outboard lists the inner nodes in pre-order, 64 bytes each (left chaining value, right chaining
//! value), without a length in front. These are the bytes that `bao-tree` makes with `BlockSize::from_chunk_log(4)`.

use blake3::Hasher;
use blake3::hazmat::{self, HasherExt, Mode};
use fondaco_schemas::BlobHash;

/// Bytes under one leaf of the tree.
pub const GROUP_BYTES: u64 = 16 * 1024;
/// Bytes of an inner node: two chaining values.
pub(crate) const NODE_BYTES: u64 = 64;

/// The hash of a subtree.
pub(crate) type Cv = [u8; 32];
/// An inner node as the outboard has it.
pub(crate) type Node = [u8; 64];

/// Leaves of the tree over `size` bytes. No bytes at all are one empty leaf.
pub(crate) fn groups(size: u64) -> u64 {
    size.div_ceil(GROUP_BYTES).max(1)
}

/// The length in bytes of the outboard for a blob of `size` bytes: nothing up to one group, then about size / 256.
pub fn outboard_bytes(size: u64) -> u64 {
    (groups(size) - 1) * NODE_BYTES
}

/// The chaining value of the group at `offset` (a multiple of the group's size). `bytes` is not empty.
pub(crate) fn group_cv(offset: u64, bytes: &[u8]) -> Cv {
    Hasher::new().set_input_offset(offset).update(bytes).finalize_non_root()
}

/// The chaining value of an inner node that is not the root.
pub(crate) fn parent_cv(node: &Node) -> Cv {
    let (left, right) = halves(node);
    hazmat::merge_subtrees_non_root(&left, &right, Mode::Hash)
}

/// The blob's hash from the node at the top.
pub(crate) fn root_hash(node: &Node) -> BlobHash {
    let (left, right) = halves(node);
    BlobHash::new(*hazmat::merge_subtrees_root(&left, &right, Mode::Hash).as_bytes())
}

/// Two chaining values as a node.
pub(crate) fn node(left: &Cv, right: &Cv) -> Node {
    let mut node = [0; 64];
    let (l, r) = node.split_at_mut(32);
    l.copy_from_slice(left);
    r.copy_from_slice(right);
    node
}

fn halves(node: &Node) -> (Cv, Cv) {
    let (mut left, mut right) = ([0; 32], [0; 32]);
    let (l, r) = node.split_at(32);
    left.copy_from_slice(l);
    right.copy_from_slice(r);
    (left, right)
}

/// A part of the tree whose hash is known to be right: the root by its id, the others because their parent verified.
#[derive(Clone, Debug)]
pub(crate) struct Subtree {
    /// First byte of the blob under it, a multiple of the group's size.
    pub start: u64,
    /// Bytes under it.
    pub len: u64,
    /// Where its top node stands in the outboard, counted in nodes.
    pub index: u64,
    cv: Cv,
    root: bool,
}

impl Subtree {
    /// The whole tree.
    pub fn root(hash: BlobHash, size: u64) -> Self {
        Self { start: 0, len: size, index: 0, cv: *hash.as_bytes(), root: true }
    }

    /// The byte after its last one.
    pub fn end(&self) -> u64 {
        self.start + self.len
    }

    /// Whether data lies right below it.
    pub fn is_group(&self) -> bool {
        self.len <= GROUP_BYTES
    }

    /// Inner nodes in it.
    pub fn nodes(&self) -> u64 {
        groups(self.len) - 1
    }

    /// Its two halves, if `node` really is the node at its top.
    pub fn split(&self, node: &Node) -> Option<(Self, Self)> {
        let hash = if self.root { *root_hash(node).as_bytes() } else { parent_cv(node) };
        if self.is_group() || hash != self.cv {
            return None;
        }
        let (left_cv, right_cv) = halves(node);
        let left_len = hazmat::left_subtree_len(self.len);
        let left = Self { start: self.start, len: left_len, index: self.index + 1, cv: left_cv, root: false };
        let right = Self {
            start: self.start + left_len,
            len: self.len - left_len,
            index: left.index + left.nodes(),
            cv: right_cv,
            root: false,
        };
        Some((left, right))
    }

    /// Whether `bytes` are the data below this group.
    pub fn holds(&self, bytes: &[u8]) -> bool {
        if u64::try_from(bytes.len()) != Ok(self.len) || !self.is_group() {
            return false;
        }
        let hash = if self.root { *blake3::hash(bytes).as_bytes() } else { group_cv(self.start, bytes) };
        hash == self.cv
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outboard_costs_a_256th() {
        assert_eq!(outboard_bytes(0), 0);
        assert_eq!(outboard_bytes(GROUP_BYTES), 0);
        assert_eq!(outboard_bytes(GROUP_BYTES + 1), 64);
        assert_eq!(outboard_bytes(1 << 30), (1 << 22) - 64);
    }

    #[test]
    fn a_subtree_believes_only_its_own_node_and_bytes() {
        let data = vec![5; 40_000];
        let root = Subtree::root(BlobHash::new(*blake3::hash(&data).as_bytes()), 40_000);
        let cvs: Vec<Cv> = data.chunks(16_384).zip([0, 16_384, 32_768]).map(|(c, at)| group_cv(at, c)).collect();
        let left_node = node(&cvs[0], &cvs[1]);
        let top = node(&parent_cv(&left_node), &cvs[2]);
        let (left, right) = root.split(&top).unwrap();
        assert!(root.split(&left_node).is_none());
        let (first, second) = left.split(&left_node).unwrap();
        assert!(first.holds(&data[..16_384]) && second.holds(&data[..16_384]));
        assert_ne!(first.cv, second.cv, "the same bytes at another place are not the same group");
        assert!(right.holds(&data[32_768..]));
        assert!(!right.holds(&vec![6; 7_232]));
        assert!(!right.holds(&data[32_768..39_999]));
    }
}
