//! Token buckets for many who are counted each by itself: so much at once, and so much in a second after that.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Instant;

/// The most that are counted. Whoever comes above that is told to wait.
pub(crate) const MOST: usize = 4096;

/// How somebody fared.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fair {
    Yes,
    /// It is too much.
    Busy,
    /// It is too much, and was said to be a whole burst long. Then the count begins anew.
    Flood,
}

#[derive(Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

/// The buckets.
#[derive(Debug)]
pub(crate) struct Rates<K> {
    burst: f64,
    per_second: f64,
    buckets: HashMap<K, Bucket>,
}

impl<K: Eq + Hash> Rates<K> {
    pub fn new(burst: f64, per_second: f64) -> Self {
        Self { burst, per_second, buckets: HashMap::new() }
    }

    fn filled(&self, bucket: &Bucket, now: Instant) -> f64 {
        now.duration_since(bucket.at).as_secs_f64().mul_add(self.per_second, bucket.left).min(self.burst)
    }

    /// Whether nothing is left to take.
    pub fn is_spent(&self, who: &K, now: Instant) -> bool {
        self.buckets.get(who).is_some_and(|bucket| self.filled(bucket, now) < 1.0)
    }

    /// What somebody has left; none: there are too many to count them all.
    fn left(&mut self, who: &K, now: Instant) -> Option<f64> {
        if self.buckets.len() >= MOST && !self.buckets.contains_key(who) {
            // Whose bucket is full is as good as unknown.
            let (burst, per_second) = (self.burst, self.per_second);
            self.buckets.retain(|_, b| now.duration_since(b.at).as_secs_f64().mul_add(per_second, b.left) < burst);
            if self.buckets.len() >= MOST {
                return None;
            }
        }
        Some(self.buckets.get(who).map_or(self.burst, |bucket| self.filled(bucket, now)))
    }

    /// Takes one. What is taken above the rate is counted too, down to a burst below nothing: there it is a flood.
    pub fn take(&mut self, who: K, now: Instant) -> Fair {
        let Some(left) = self.left(&who, now) else { return Fair::Busy };
        let (left, fair) = match left - 1.0 {
            left if left >= 0.0 => (left, Fair::Yes),
            left if left > -self.burst => (left, Fair::Busy),
            _ => (0.0, Fair::Flood),
        };
        self.buckets.insert(who, Bucket { left, at: now });
        fair
    }

    /// Takes `n` if they are there, and nothing if not.
    pub fn take_if_there(&mut self, who: K, n: f64, now: Instant) -> bool {
        let Some(left) = self.left(&who, now) else { return false };
        let may = left >= n;
        self.buckets.insert(who, Bucket { left: if may { left - n } else { left }, at: now });
        may
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.buckets.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn whoever_takes_too_much_is_told_so_and_then_noted_and_others_are_not_touched() {
        let mut rates = Rates::new(32.0, 8.0);
        let now = Instant::now();
        let seen: Vec<Fair> = (0..100).map(|_| rates.take(0, now)).collect();
        assert!(seen[..32].iter().all(|f| *f == Fair::Yes));
        assert!(seen[32..63].iter().all(|f| *f == Fair::Busy), "{seen:?}");
        assert_eq!(seen.iter().filter(|f| **f == Fair::Flood).count(), 2);
        assert!(rates.is_spent(&0, now) && !rates.is_spent(&1, now));
        assert_eq!(rates.take(1, now), Fair::Yes);
        let later = now + Duration::from_mins(1);
        assert_eq!(rates.take(0, later), Fair::Yes, "a flood that ended is forgiven");
        for who in 2..20_000 {
            let _ = rates.take(who, later);
        }
        assert!(rates.len() <= MOST, "{}", rates.len());
        assert_eq!(rates.take(20_000, later + Duration::from_secs(5)), Fair::Yes, "room comes again");
    }
}
