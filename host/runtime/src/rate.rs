//! Token buckets: so many calls of one capability a second, so many bytes of log a minute. A bucket is one number (the
//! generic cell rate algorithm of ATM Forum TM 4.0, "virtual scheduling"), so that taking from it costs one exchange. It
//! never reads a clock and never waits: what does not fit now is refused.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fondaco_schemas::Capability;

/// One bucket. Times are spans since one fixed moment.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// When it will be full again, in nanoseconds.
    full_at: AtomicU64,
    /// How long one token takes to come back.
    token: u64,
    /// How long a whole bucket takes.
    whole: u64,
}

impl Bucket {
    /// A full bucket of `size` tokens, which come back at `size` for each `time`.
    pub fn new(size: u64, time: Duration) -> Self {
        let whole = nanos(time);
        // No tokens at all: one takes longer than the whole bucket may.
        let token = whole.checked_div(size).unwrap_or(u64::MAX).max(1);
        Self { full_at: AtomicU64::new(0), token, whole }
    }

    /// Takes so many tokens, or none.
    pub fn take(&self, now: Duration, tokens: u64) -> bool {
        let now = nanos(now);
        let cost = self.token.saturating_mul(tokens);
        let taken = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
            let after = full_at.max(now).saturating_add(cost);
            (after - now <= self.whole).then_some(after)
        });
        taken.is_ok()
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// How many calls of the node a second, by capability: the host's own numbers, where the operator sets no other. They
/// are far above what pages and searches need and below what would keep the node from serving anybody else.
pub(crate) const fn usual(capability: Capability) -> u32 {
    match capability {
        Capability::Mail => 1,
        Capability::Http => 10,
        Capability::Peers => 1_000,
        Capability::Keys | Capability::Commerce | Capability::Campaigns | Capability::Blobs => 10_000,
        Capability::Assets | Capability::Discovery => 20_000,
        Capability::Catalogue => 50_000,
        Capability::Storage => 100_000,
    }
}

/// A plugin's buckets, one for each capability. Each saves up two seconds' worth.
#[derive(Debug)]
pub(crate) struct Rates([Bucket; Capability::ALL.len()]);

impl Rates {
    pub fn new(set: &BTreeMap<Capability, u32>) -> Self {
        Self(
            Capability::ALL.map(|capability| Bucket::new(2 * u64::from(rate(set, capability)), Duration::from_secs(2))),
        )
    }

    pub fn take(&self, capability: Capability, now: Duration) -> bool {
        self.0.get(capability as usize).is_some_and(|bucket| bucket.take(now, 1))
    }
}

/// What is in force for one capability.
pub(crate) fn rate(set: &BTreeMap<Capability, u32>, capability: Capability) -> u32 {
    set.get(&capability).copied().unwrap_or(usual(capability))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_full_bucket_empties_and_fills_at_its_rate() {
        let bucket = Bucket::new(10, ms(1_000));
        assert_eq!((0..20).filter(|_| bucket.take(ms(5), 1)).count(), 10, "what was saved up");
        assert!(!bucket.take(ms(104), 1));
        assert!(bucket.take(ms(105), 1), "a tenth of a second later");
        assert!(!bucket.take(ms(105), 1));
        assert!(bucket.take(ms(10_000), 10), "it holds no more than its size");
        assert!(!bucket.take(ms(10_000), 1));
        assert!(!bucket.take(ms(60_000), 11), "more than its size never fits");
        assert!(bucket.take(ms(60_000), 10), "and took nothing");
    }

    #[test]
    fn a_rate_of_nothing_lets_nothing_through() {
        let rates = Rates::new(&[(Capability::Mail, 0)].into());
        assert!(!rates.take(Capability::Mail, ms(1_000_000)));
        assert!(rates.take(Capability::Storage, ms(0)), "the others have theirs");
    }

    #[test]
    fn racing_takers_get_what_is_there_and_no_more() {
        let bucket = Bucket::new(1_000, Duration::from_hours(1));
        let taken: usize = std::thread::scope(|s| {
            let threads: Vec<_> =
                (0..8).map(|_| s.spawn(|| (0..500).filter(|_| bucket.take(Duration::ZERO, 1)).count())).collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(taken, 1_000);
    }

    proptest! {
        /// In any stretch of time no more passes than the size and what came back meanwhile.
        #[test]
        fn no_stretch_of_time_gets_more_than_its_share(takes in prop::collection::vec((0_u64..400, 1_u64..5), 1..200)) {
            let bucket = Bucket::new(10, ms(1_000));
            let (mut now, mut passed) = (0, Vec::new());
            for (wait, tokens) in takes {
                now += wait;
                if bucket.take(ms(now), tokens) {
                    passed.push((now, tokens));
                }
            }
            for (i, (from, _)) in passed.iter().enumerate() {
                let mut sum = 0;
                for (to, tokens) in &passed[i..] {
                    sum += tokens;
                    prop_assert!(sum <= 10 + (to - from) / 100 + 1, "{} in {} ms", sum, to - from);
                }
            }
        }
    }
}
