//! How often one peer may ask for something that costs: a bucket for each, of which few are remembered.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use libp2p::PeerId;

/// Peers that are counted. Beyond them, those whose bucket is full again are forgotten, and then strangers wait.
const MOST: usize = 4096;

/// Buckets, one for each peer.
#[derive(Debug)]
pub struct PerPeer {
    burst: f64,
    per_second: f64,
    buckets: Mutex<HashMap<PeerId, (f64, Instant)>>,
}

impl PerPeer {
    /// So many at once, and so many a second after that.
    #[must_use]
    pub fn new(burst: f64, per_second: f64) -> Self {
        Self { burst: burst.max(1.0), per_second, buckets: Mutex::default() }
    }

    /// May this peer have `n` now?
    pub fn take(&self, peer: PeerId, n: f64) -> bool {
        self.take_at(peer, n, Instant::now())
    }

    fn take_at(&self, peer: PeerId, n: f64, now: Instant) -> bool {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let left = |(left, at): (f64, Instant)| {
            let earned = now.saturating_duration_since(at).as_secs_f64() * self.per_second;
            (left + earned).min(self.burst)
        };
        if buckets.len() >= MOST && !buckets.contains_key(&peer) {
            buckets.retain(|_, bucket| left(*bucket) < self.burst);
            if buckets.len() >= MOST {
                return false;
            }
        }
        let bucket = buckets.entry(peer).or_insert((self.burst, now));
        let has = left(*bucket);
        let may = has >= n;
        *bucket = (if may { has - n } else { has }, now);
        may
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_has_so_much_and_strangers_do_not_make_it_forget() {
        let rates = PerPeer::new(3.0, 1.0);
        let (one, now) = (PeerId::random(), Instant::now());
        assert!((0..3).all(|_| rates.take_at(one, 1.0, now)) && !rates.take_at(one, 1.0, now));
        assert!(rates.take_at(PeerId::random(), 3.0, now), "another's is its own");
        assert!(!rates.take_at(one, 1.0, now + Duration::from_millis(900)));
        assert!(rates.take_at(one, 1.0, now + Duration::from_millis(1100)));
        for _ in 0..2 * MOST {
            rates.take_at(PeerId::random(), 1.0, now);
        }
        assert!(rates.buckets.lock().unwrap().len() <= MOST);
        assert!((0..2).all(|_| !rates.take_at(one, 1.0, now)), "it is not forgotten");
        assert!(rates.take_at(PeerId::random(), 1.0, now + Duration::from_mins(1)), "there is room again");
    }
}
