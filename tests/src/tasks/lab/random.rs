//! Numbers that look random and are the same each time (SplitMix64, by Sebastiano Vigna, in the public domain).

/// A stream of numbers.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A stream of its own for each seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// One of `0..end`; 0 where there is none.
    #[expect(clippy::cast_possible_truncation, reason = "it is below the end, which is a usize")]
    pub fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.number()) * end as u128) >> 64) as usize
    }

    /// From 0 to 1, without 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are what there is")]
    pub fn part(&mut self) -> f64 {
        (self.number() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Around a middle value, log-normally: two thirds lie within a factor of e^`spread`.
    pub fn around(&mut self, middle: f64, spread: f64) -> f64 {
        // The sum of twelve has a variance of one.
        let normal: f64 = (0..12).map(|_| self.part()).sum::<f64>() - 6.0;
        middle * (normal * spread).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_repeat_and_are_spread() {
        let mut one = Random::new(7);
        let first: Vec<u64> = (0..4).map(|_| one.number()).collect();
        let mut two = Random::new(7);
        assert_eq!(first, (0..4).map(|_| two.number()).collect::<Vec<_>>());
        let mut counts = [0_u32; 10];
        (0..10_000).for_each(|_| counts[one.below(10)] += 1);
        assert!(counts.iter().all(|n| (850..1150).contains(n)), "{counts:?}");
        let mut values: Vec<f64> = (0..1001).map(|_| one.around(80.0, 0.5)).collect();
        values.sort_by(f64::total_cmp);
        assert!((72.0..88.0).contains(&values[500]), "{}", values[500]);
    }
}
