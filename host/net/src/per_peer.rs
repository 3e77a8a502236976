//! How often one peer, or all together, may ask for something that costs: [`Rates`] for those outside this crate, who share
//! them between tasks.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use libp2p::PeerId;

use crate::rate::Rates;

/// Buckets, one for each peer.
#[derive(Debug)]
pub struct PerPeer(Mutex<Rates<PeerId>>);

impl PerPeer {
    /// So many at once, and so many a second after that.
    #[must_use]
    pub fn new(burst: f64, per_second: f64) -> Self {
        Self(Mutex::new(Rates::new(burst.max(1.0), per_second)))
    }

    /// May this peer have `n` now?
    pub fn take(&self, peer: PeerId, n: f64) -> bool {
        self.take_at(peer, n, Instant::now())
    }

    fn take_at(&self, peer: PeerId, n: f64, now: Instant) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take_if_there(peer, n, now)
    }
}

/// One bucket for all.
#[derive(Debug)]
pub struct Rate(Mutex<Rates<()>>);

impl Rate {
    /// So many at once, and so many a second after that.
    #[must_use]
    pub fn new(burst: f64, per_second: f64) -> Self {
        Self(Mutex::new(Rates::new(burst.max(1.0), per_second)))
    }

    /// May somebody have `n` now?
    pub fn take(&self, n: f64) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take_if_there((), n, Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rate::MOST;

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
        assert!(rates.0.lock().unwrap().len() <= MOST);
        assert!((0..2).all(|_| !rates.take_at(one, 1.0, now)), "it is not forgotten");
        assert!(rates.take_at(PeerId::random(), 1.0, now + Duration::from_mins(1)), "there is room again");
    }
}
