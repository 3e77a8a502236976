//! What a node can find out about its place in the swarm: whether its clock is right, and how large the hash table is.
//! `fondaco net doctor` asks; whether others reach the node is `reach`'s.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libp2p::kad::U256;

use crate::ask::{Answered, Question};
use crate::error::Result;
use crate::net::Net;

/// Peers that are asked for the time.
const ASKED: usize = 5;
/// How long one may take to say it.
const ANSWERING: Duration = Duration::from_secs(3);

/// How far this node's clock is from those of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skew {
    /// Milliseconds by which this clock is ahead; the middle one of what peers said, half a round trip taken off.
    pub ahead_ms: i64,
    /// How many peers said it.
    pub peers: usize,
}

/// Now, in milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Net {
    /// Asks some peers for the time. None: none said it.
    ///
    /// # Cancel safety
    /// May be dropped.
    pub async fn skew(&self) -> Result<Option<Skew>> {
        let mut peers: Vec<_> = self.status().await?.peers.into_iter().map(|peer| peer.id).collect();
        peers.dedup();
        let mut said = Vec::new();
        for peer in peers.into_iter().take(ASKED) {
            let before = now_ms();
            let asked = tokio::time::timeout(ANSWERING, self.ask(peer, Vec::new(), &Question::Time, 64)).await;
            if let Ok(Ok(Answered::Time(theirs))) = asked {
                said.push(ahead(before, now_ms(), theirs));
            }
        }
        Ok(middle(said))
    }
}

fn ahead(before: u64, after: u64, theirs: u64) -> i64 {
    let ours = before.midpoint(after);
    i64::try_from(ours).unwrap_or(i64::MAX).saturating_sub(i64::try_from(theirs).unwrap_or(i64::MAX))
}

fn middle(mut said: Vec<i64>) -> Option<Skew> {
    said.sort_unstable();
    let ahead_ms = *said.get(said.len() / 2)?;
    Some(Skew { ahead_ms, peers: said.len() })
}

/// How many nodes the hash table has, this one with it: the nearer the nearest ones are, the more there are. Of `n` nodes the
/// i-th nearest is expected at i / (n + 1) of the way round; the line through the known ones is the guess. With fewer than a
/// bucket's worth of peers it is what was counted.
pub(crate) fn nodes(mut distances: Vec<U256>) -> u64 {
    distances.sort_unstable();
    let known = distances.len() as u64 + 1;
    if distances.len() < 20 {
        return known;
    }
    distances.truncate(20);
    let (mut products, mut squares) = (0.0, 0.0);
    for (at, distance) in (1_u32..).zip(&distances) {
        // The upper bits say enough.
        #[expect(clippy::cast_precision_loss, reason = "a guess")]
        let part = (*distance >> 192_u32).low_u64() as f64 / 2_f64.powi(64);
        products += f64::from(at) * part;
        squares += f64::from(at).powi(2);
    }
    let guess = if products > 0.0 { squares / products } else { 0.0 };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, and not negative")]
    let guess = guess as u64;
    guess.max(known)
}

#[cfg(test)]
mod tests {
    use libp2p::PeerId;
    use libp2p::kad::KBucketKey;

    use super::*;

    #[test]
    fn the_middle_clock_is_believed_and_no_single_one() {
        assert_eq!(middle(Vec::new()), None);
        assert_eq!(middle(vec![i64::MAX, -20, 5]), Some(Skew { ahead_ms: 5, peers: 3 }));
        assert_eq!(ahead(1000, 1100, 1050), 0);
        assert_eq!(ahead(1000, 1100, 61_050), -60_000);
        assert!(ahead(0, 0, u64::MAX) < 0);
    }

    #[test]
    fn the_nearest_let_guess_how_many_there_are() {
        let me = KBucketKey::from(PeerId::random());
        let all: Vec<U256> = (0..20_000).map(|_| me.distance(&KBucketKey::from(PeerId::random())).0).collect();
        let guess = nodes(all);
        assert!((8_000..60_000).contains(&guess), "{guess}");
        let few: Vec<U256> = (0..7).map(|_| me.distance(&KBucketKey::from(PeerId::random())).0).collect();
        assert_eq!(nodes(few), 8);
    }
}
