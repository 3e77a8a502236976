//! Which groups of a blob somebody asks for or has: ascending runs of 16 KiB groups, never empty, never touching.

use std::ops::Range;

use crate::tree::{GROUP_BYTES, NODE_BYTES, Subtree, groups};

/// Runs of groups, as a request names them. Made only by [`GroupRanges::new`], so they fit their blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRanges(Vec<Range<u64>>);

impl GroupRanges {
    /// Runs of groups within a blob of `size` bytes: each not empty, each beginning behind the end of the one before.
    /// `None` where they are not.
    pub fn new(size: u64, runs: Vec<Range<u64>>) -> Option<Self> {
        let mut end = None;
        for run in &runs {
            if run.start >= run.end || run.end > groups(size) || end.is_some_and(|e| run.start <= e) {
                return None;
            }
            end = Some(run.end);
        }
        (!runs.is_empty()).then_some(Self(runs))
    }

    /// All groups of a blob.
    pub fn all(size: u64) -> Self {
        Self(std::iter::once(0..groups(size)).collect())
    }

    /// The runs.
    pub fn runs(&self) -> &[Range<u64>] {
        &self.0
    }

    /// How many groups there are in them.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|run| run.end - run.start).sum()
    }

    /// Whether a group of the subtree is among them.
    pub(crate) fn meets(&self, subtree: &Subtree) -> bool {
        let first = subtree.start / GROUP_BYTES;
        let at = self.0.partition_point(|run| run.end <= first);
        self.0.get(at).is_some_and(|run| run.start < first + groups(subtree.len))
    }

    /// The length in bytes of their encoding: every node above them and their data.
    pub fn encoded_bytes(&self, size: u64) -> u64 {
        let mut bytes = 0;
        let mut open = vec![(0, size)];
        while let Some((start, len)) = open.pop() {
            let first = start / GROUP_BYTES;
            let at = self.0.partition_point(|run| run.end <= first);
            let Some(run) = self.0.get(at).filter(|run| run.start < first + groups(len)) else { continue };
            if run.start <= first && run.end >= first + groups(len) {
                bytes += len + (groups(len) - 1) * NODE_BYTES;
            } else {
                bytes += NODE_BYTES;
                let left = blake3::hazmat::left_subtree_len(len);
                open.push((start, left));
                open.push((start + left, len - left));
            }
        }
        bytes
    }
}

/// One bit for each group of a blob.
#[derive(Clone, Debug)]
pub(crate) struct Bitmap {
    bits: Vec<u8>,
    groups: u64,
    set: u64,
}

impl Bitmap {
    pub fn new(size: u64) -> Self {
        let groups = groups(size);
        Self { bits: vec![0; usize::try_from(groups.div_ceil(8)).unwrap_or(usize::MAX)], groups, set: 0 }
    }

    /// As [`Bitmap::bytes`] gave it; `None` if it is not as long as the blob wants.
    pub fn from_bytes(size: u64, bytes: &[u8]) -> Option<Self> {
        let mut map = Self::new(size);
        if bytes.len() != map.bits.len() {
            return None;
        }
        for group in 0..map.groups {
            let byte = bytes.get(usize::try_from(group / 8).ok()?)?;
            if byte >> (group % 8) & 1 == 1 {
                map.set(group);
            }
        }
        Some(map)
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bits
    }

    pub fn has(&self, group: u64) -> bool {
        let byte = usize::try_from(group / 8).ok().and_then(|at| self.bits.get(at));
        byte.is_some_and(|b| b >> (group % 8) & 1 == 1)
    }

    /// Whether the bit was not set before.
    pub fn set(&mut self, group: u64) -> bool {
        if group >= self.groups || self.has(group) {
            return false;
        }
        if let Some(byte) = usize::try_from(group / 8).ok().and_then(|at| self.bits.get_mut(at)) {
            *byte |= 1 << (group % 8);
            self.set += 1;
        }
        true
    }

    pub fn is_full(&self) -> bool {
        self.set == self.groups
    }

    /// Whether all groups from `first` on, so many, are there.
    pub fn has_all(&self, first: u64, count: u64) -> bool {
        (first..first.saturating_add(count)).all(|g| self.has(g))
    }

    /// Runs of groups that are missing within a range, in order.
    pub fn missing_in(&self, within: Range<u64>) -> Vec<Range<u64>> {
        let mut runs: Vec<Range<u64>> = Vec::new();
        for group in (within.start..within.end.min(self.groups)).filter(|g| !self.has(*g)) {
            match runs.last_mut() {
                Some(last) if last.end == group => last.end += 1,
                _ => runs.push(group..group + 1),
            }
        }
        runs
    }

    /// Runs of groups that are there, or are not, in order; at most `most` of them.
    pub fn runs(&self, there: bool, most: usize) -> Vec<Range<u64>> {
        let mut runs: Vec<Range<u64>> = Vec::new();
        let mut at = 0;
        while at < self.groups && runs.len() <= most {
            // Whole bytes of the other kind are stepped over.
            let byte = usize::try_from(at / 8).ok().and_then(|i| self.bits.get(i)).copied().unwrap_or(0);
            if at % 8 == 0 && byte == (if there { 0 } else { 255 }) {
                at += 8;
                continue;
            }
            if self.has(at) == there {
                match runs.last_mut() {
                    Some(last) if last.end == at => last.end += 1,
                    _ => runs.push(at..at + 1),
                }
            }
            at += 1;
        }
        runs.truncate(most);
        runs
    }
}

#[cfg(test)]
#[allow(
    clippy::single_range_in_vec_init,
    clippy::reversed_empty_ranges,
    reason = "lists of one run, and wrong ones, are meant"
)]
mod tests {
    use super::*;

    #[test]
    fn refuses_runs_that_do_not_fit() {
        let size = 10 * GROUP_BYTES + 1;
        for bad in [vec![], vec![3..3], vec![5..4], vec![0..12], vec![0..2, 2..3], vec![4..5, 1..2]] {
            assert_eq!(GroupRanges::new(size, bad.clone()), None, "{bad:?}");
        }
        assert_eq!(GroupRanges::new(size, vec![0..1, 4..11]).unwrap().count(), 8);
    }

    #[test]
    fn a_bitmap_names_its_runs() {
        let mut map = Bitmap::new(40 * GROUP_BYTES);
        for group in [0, 1, 2, 9, 16, 17, 39] {
            assert!(map.set(group));
        }
        assert!(!map.set(9) && !map.set(40));
        assert_eq!(map.runs(true, 10), [0..3, 9..10, 16..18, 39..40]);
        assert_eq!(map.runs(false, 10), [3..9, 10..16, 18..39]);
        assert_eq!(map.runs(true, 2), [0..3, 9..10]);
        assert_eq!(map.missing_in(1..18), [3..9, 10..16]);
        assert_eq!(map.missing_in(38..99), [38..39]);
        let back = Bitmap::from_bytes(40 * GROUP_BYTES, map.bytes()).unwrap();
        assert_eq!((back.set, back.runs(true, 10)), (7, map.runs(true, 10)));
        assert!(Bitmap::from_bytes(90 * GROUP_BYTES, map.bytes()).is_none());
    }
}
