//! The hash table, simulated: real buckets over real ids, and the library's way of asking (Kademlia: buckets of 20, three
//! questions at a time). What a node knows is drawn when it is asked, from its own seed, so that a million of them fit.

use super::random::Random;

/// A bucket's size, and how many nodes keep a record.
pub const K: usize = 20;
/// Questions at a time.
const ALPHA: usize = 3;
/// How long an answer is waited for, in milliseconds.
const PATIENCE_MS: f64 = 2_500.0;

/// The world of a look-up.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// A round trip in the middle, in milliseconds.
    pub round_trip_ms: f64,
    /// How far round trips are apart.
    pub spread: f64,
    /// Which part of the nodes that others know is gone.
    pub gone: f64,
}

/// What a look-up took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Took {
    /// Questions that were sent.
    pub questions: usize,
    /// The longest chain of questions, each of which could only be asked after the one before.
    pub hops: usize,
    /// Milliseconds until the nearest node had answered.
    pub ms: f64,
    /// Whether the nearest node that is there was found.
    pub found: bool,
}

/// All nodes, by id.
pub struct Table {
    ids: Vec<u64>,
    seed: u64,
    gone: f64,
}

impl Table {
    /// So many nodes.
    pub fn new(nodes: usize, seed: u64, world: World) -> Self {
        let mut random = Random::new(seed);
        let mut ids: Vec<u64> = (0..nodes).map(|_| random.number()).collect();
        ids.sort_unstable();
        ids.dedup();
        Self { ids, seed, gone: world.gone }
    }

    fn is_gone(&self, id: u64) -> bool {
        Random::new(id ^ self.seed.rotate_left(32)).part() < self.gone
    }

    /// Nodes whose ids begin with the first `bits` bits of a prefix.
    fn range(&self, prefix: u64, bits: u32) -> &[u64] {
        if bits == 0 {
            return &self.ids;
        }
        if bits > 64 {
            return &[];
        }
        let low = prefix & (u64::MAX << (64 - bits));
        let high = low | (u64::MAX >> bits.min(63)) >> u32::from(bits == 64);
        let from = self.ids.partition_point(|id| *id < low);
        let to = self.ids.partition_point(|id| *id <= high);
        self.ids.get(from..to).unwrap_or_default()
    }

    /// What a node has in one of its buckets: of those that share exactly so many bits with it, any twenty.
    fn bucket(&self, node: u64, bits: u32) -> Vec<u64> {
        let flipped = node ^ (1_u64 << (63 - bits.min(63)));
        let all = self.range(flipped, bits + 1);
        if all.len() <= K {
            return all.to_vec();
        }
        let mut random = Random::new(node.rotate_left(bits) ^ self.seed);
        (0..K).filter_map(|_| all.get(random.below(all.len())).copied()).collect()
    }

    /// The nodes nearest to a target that a node can name.
    fn answer(&self, node: u64, target: u64) -> Vec<u64> {
        let common = (node ^ target).leading_zeros().min(63);
        let mut known = self.bucket(node, common);
        // Those nearer to itself than to the target fill up, the nearest first; then those that are farther from both.
        let mut bits = common + 1;
        while known.len() < K && bits < 64 && self.range(node, bits).len() > 1 {
            known.extend(self.bucket(node, bits));
            bits += 1;
        }
        let mut bits = common;
        while known.len() < K && bits > 0 {
            bits -= 1;
            known.extend(self.bucket(node, bits));
        }
        known.sort_by_key(|id| id ^ target);
        known.dedup();
        known.truncate(K);
        known
    }

    /// Looks a key up from a node, until the twenty nearest have been asked.
    pub fn look_up(&self, from: u64, target: u64, world: World, random: &mut Random) -> Took {
        let mut took = Took::default();
        // Id, when it became known, after how many hops, and whether it was asked.
        let mut known: Vec<(u64, f64, usize, bool)> =
            self.answer(from, target).into_iter().map(|id| (id, 0.0, 1, false)).collect();
        let mut free = [0.0_f64; ALPHA];
        let mut nearest = (u64::MAX, 0.0, 0);
        loop {
            known.sort_by_key(|(id, ..)| id ^ target);
            known.dedup_by_key(|(id, ..)| *id);
            let Some(next) = known.iter_mut().take(K).find(|(.., asked)| !asked) else { break };
            let (id, since, hops) = (next.0, next.1, next.2);
            next.3 = true;
            took.questions += 1;
            free.sort_by(f64::total_cmp);
            let begin = free[0].max(since);
            if self.is_gone(id) {
                free[0] = begin + PATIENCE_MS;
                known.retain(|(other, ..)| *other != id);
                continue;
            }
            let end = begin + random.around(world.round_trip_ms, world.spread);
            free[0] = end;
            if id ^ target < nearest.0 {
                nearest = (id ^ target, end, hops);
            }
            known.extend(self.answer(id, target).into_iter().map(|named| (named, end, hops + 1, false)));
        }
        (took.ms, took.hops) = (nearest.1, nearest.2);
        took.found = self.nearest(target) == Some(nearest.0);
        took
    }

    /// How far the nearest node is that is there.
    fn nearest(&self, target: u64) -> Option<u64> {
        // It is among those that share the most bits; one bit fewer at a time.
        (0..=64).rev().find_map(|bits| {
            let all = self.range(target, bits).iter().filter(|id| !self.is_gone(**id));
            all.map(|id| id ^ target).min()
        })
    }

    /// A node that is there.
    pub fn any(&self, random: &mut Random) -> u64 {
        (0..1000)
            .filter_map(|_| self.ids.get(random.below(self.ids.len())).copied())
            .find(|id| !self.is_gone(*id))
            .unwrap_or_default()
    }
}

/// Hops that are expected: the first known node shares about log2(20) bits more than chance, each answer brings that many
/// more, and the last hop leads to the nearest itself.
#[expect(clippy::cast_precision_loss, reason = "a number of nodes")]
pub fn expected_hops(nodes: usize) -> f64 {
    let bits_a_hop = 1.0 + (K as f64).log2();
    ((nodes as f64 / K as f64).log2() / bits_a_hop).max(0.0) + 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORLD: World = World { round_trip_ms: 80.0, spread: 0.5, gone: 0.1 };

    #[test]
    fn look_ups_find_the_nearest_in_logarithmically_many_hops() {
        let mut random = Random::new(1);
        let mut means = Vec::new();
        for nodes in [500, 5_000, 50_000] {
            let table = Table::new(nodes, 3, WORLD);
            let all: Vec<Took> =
                (0..200).map(|_| table.look_up(table.any(&mut random), random.number(), WORLD, &mut random)).collect();
            let found = all.iter().filter(|took| took.found).count();
            assert!(found >= 196, "{found} of 200 at {nodes}");
            let hops = f64::from(u32::try_from(all.iter().map(|took| took.hops).sum::<usize>()).unwrap()) / 200.0;
            let expected = expected_hops(nodes);
            assert!((expected * 0.5..expected * 2.0).contains(&hops), "{hops} hops at {nodes}, {expected} expected");
            means.push(hops);
        }
        assert!(means[2] < means[0] + 4.0, "a hundred times the nodes, a few hops more: {means:?}");
    }

    #[test]
    fn a_bucket_has_those_that_share_so_many_bits() {
        let table = Table::new(4_000, 9, WORLD);
        let node = table.ids[77];
        for bits in 0..12 {
            for id in table.bucket(node, bits) {
                assert_eq!((id ^ node).leading_zeros(), bits);
            }
        }
        assert_eq!(table.range(node, 64), [node]);
        assert_eq!(table.range(node, 0).len(), table.ids.len());
    }
}
