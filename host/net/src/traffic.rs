//! Who gave and took how much of what: counters for `/metrics`, and for the question who shares a work.
//!
//! Transfers add to it from tasks of their own; it is bounded, and forgets those first who moved least.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fondaco_schemas::{BlobHash, ReleaseId};
use libp2p::PeerId;

/// Pairs of peer and thing that are remembered.
const MOST: usize = 8192;

/// What moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum What {
    Sent(BlobHash),
    Received(ReleaseId),
}

/// The counters.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    moved: Mutex<HashMap<(PeerId, What), u64>>,
    received: AtomicU64,
    /// Fetches that began, came to their end, and failed. One that was given up is neither of the last two.
    fetches: [AtomicU64; 3],
}

impl Traffic {
    /// Bytes of a blob went to a peer.
    pub fn sent(&self, peer: PeerId, blob: BlobHash, bytes: u64) {
        self.add(peer, What::Sent(blob), bytes);
    }

    /// Verified bytes came from a peer, for a release where that is known.
    pub fn received(&self, peer: PeerId, release: Option<ReleaseId>, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
        if let Some(release) = release {
            self.add(peer, What::Received(release), bytes);
        }
    }

    /// A fetch began.
    pub fn began(&self) {
        let [began, ..] = &self.fetches;
        began.fetch_add(1, Ordering::Relaxed);
    }

    /// A fetch ended by itself.
    pub fn ended(&self, well: bool) {
        let [_, done, failed] = &self.fetches;
        if well { done } else { failed }.fetch_add(1, Ordering::Relaxed);
    }

    /// Verified bytes that came; fetches that began, ended well, and failed.
    pub fn totals(&self) -> (u64, [u64; 3]) {
        let fetches = self.fetches.each_ref().map(|n| n.load(Ordering::Relaxed));
        (self.received.load(Ordering::Relaxed), fetches)
    }

    /// With whom a release, and the blobs of it, were exchanged: bytes sent and bytes received.
    pub fn of(&self, release: ReleaseId, blobs: &[BlobHash]) -> HashMap<PeerId, (u64, u64)> {
        let mut peers: HashMap<PeerId, (u64, u64)> = HashMap::new();
        for ((peer, what), bytes) in self.moved().iter() {
            match what {
                What::Sent(blob) if blobs.contains(blob) => peers.entry(*peer).or_default().0 += bytes,
                What::Received(id) if *id == release => peers.entry(*peer).or_default().1 += bytes,
                _ => {}
            }
        }
        peers
    }

    fn add(&self, peer: PeerId, what: What, bytes: u64) {
        let mut moved = self.moved();
        if moved.len() >= MOST && !moved.contains_key(&(peer, what)) {
            let mut sums: Vec<u64> = moved.values().copied().collect();
            sums.sort_unstable();
            let least = sums.get(MOST / 2).copied().unwrap_or(0);
            moved.retain(|_, bytes| *bytes > least);
        }
        let sum = moved.entry((peer, what)).or_default();
        *sum = sum.saturating_add(bytes);
    }

    fn moved(&self) -> MutexGuard<'_, HashMap<(PeerId, What), u64>> {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moved_is_told_by_release_and_a_flood_of_peers_is_forgotten_first() {
        let traffic = Traffic::default();
        let (release, blob, friend) = (ReleaseId::new([1; 32]), BlobHash::new([2; 32]), PeerId::random());
        traffic.sent(friend, blob, 700);
        traffic.received(friend, Some(release), 30);
        traffic.received(friend, Some(ReleaseId::new([9; 32])), 5);
        traffic.received(friend, None, 1);
        for _ in 0..3 * MOST {
            traffic.sent(PeerId::random(), BlobHash::new([3; 32]), 1);
        }
        assert!(traffic.moved().len() <= MOST);
        assert_eq!(traffic.of(release, &[blob]), HashMap::from([(friend, (700, 30))]));
        traffic.began();
        traffic.ended(false);
        assert_eq!(traffic.totals(), (36, [1, 0, 1]));
    }
}
