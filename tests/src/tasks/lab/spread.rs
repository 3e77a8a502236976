//! How a release of 1 GiB comes to a public, simulated in rounds: each node takes what it lacks from those it knows, as fast
//! as their lines allow, and gives what it has.

#![expect(clippy::indexing_slicing, reason = "every index is one of the public, of which all lists are")]
#![expect(clippy::cast_precision_loss, reason = "numbers of nodes, rounds and bits, far below 2^52")]

use super::random::Random;

/// Parts of a release. A node's parts are the bits of a word.
const PARTS: u32 = 64;
/// How large a release is, in bits.
pub const RELEASE_BITS: f64 = (1_u64 << 33) as f64;
/// Sources that a node tries in a round: some of the 24 that a fetch works with at once.
const KNOWN: usize = 8;
/// After so many rounds nobody waits any longer.
const MOST_ROUNDS: usize = 20_000;

/// Lines of the public, in bits a second: part of the public, up, down.
pub const LINES: [(f64, f64, f64); 4] =
    [(0.25, 0.0, 25e6), (0.35, 10e6, 50e6), (0.30, 40e6, 100e6), (0.10, 100e6, 500e6)];
/// The publisher's line, up.
pub const PUBLISHER_UP: f64 = 100e6;

/// How it went.
#[derive(Clone, Debug, PartialEq)]
pub struct Spread {
    /// Seconds until half of the public has all of it.
    pub half: f64,
    /// Seconds until 99 of 100 have.
    pub most: f64,
    /// Which part had all of it after so many seconds.
    pub curve: Vec<(f64, f64)>,
    /// Bits that the publisher sent, as multiples of the release.
    pub publisher: f64,
}

/// The shortest time in which anybody could do it (Kumar and Ross, 2006): the publisher must send all once, the slowest
/// line must take all, and all lines up together must carry all copies.
pub fn shortest(public: usize) -> f64 {
    let slowest = LINES.iter().map(|(_, _, down)| *down).fold(f64::INFINITY, f64::min);
    RELEASE_BITS / PUBLISHER_UP.min(slowest).min(all_up(public))
}

fn all_up(public: usize) -> f64 {
    let mean: f64 = LINES.iter().map(|(part, up, _)| part * up).sum();
    (public as f64).mul_add(mean, PUBLISHER_UP) / public as f64
}

/// Brings a release to so many nodes, who learn of it within `learning` seconds.
pub fn spread(public: usize, learning: f64, seed: u64) -> Spread {
    let mut random = Random::new(seed);
    let part_bits = RELEASE_BITS / f64::from(PARTS);
    // A round is what the middle line needs for half of a part.
    let round = part_bits / 40e6 / 2.0;
    let kinds: Vec<u8> = (0..public).map(|_| kind(&mut random)).collect();
    let begins: Vec<f64> = (0..public).map(|_| random.part() * learning).collect();
    let mut has = vec![0_u64; public];
    // What a node may still give and take in this round, in parts, saved up to one part.
    let mut up = vec![0_f32; public];
    let mut down = vec![0_f32; public];
    let mut rests = vec![0_usize; public];
    let mut order: Vec<u32> = (0..u32::try_from(public).unwrap_or(u32::MAX)).collect();
    let (mut publisher, mut sent) = (0.0_f64, 0_u64);
    let mut curve = Vec::new();
    let (mut half, mut most) = (f64::INFINITY, f64::INFINITY);
    let mut done = 0_usize;
    for number in 1..=MOST_ROUNDS {
        let now = number as f64 * round;
        publisher = (publisher + PUBLISHER_UP * round / part_bits).min(8.0);
        for (node, kind) in kinds.iter().enumerate() {
            let (_, line_up, line_down) = LINES.get(usize::from(*kind)).copied().unwrap_or(LINES[0]);
            #[expect(clippy::cast_possible_truncation, reason = "parts, a few")]
            {
                up[node] = (up[node] + (line_up * round / part_bits) as f32).min(4.0);
                down[node] = (down[node] + (line_down * round / part_bits) as f32).min(8.0);
            }
        }
        // Nobody is always first.
        let turn = random.below(order.len());
        order.rotate_left(turn);
        for node in &order {
            let node = *node as usize;
            if has[node] == u64::MAX || rests[node] > number {
                continue;
            }
            while has[node] != u64::MAX && begins[node] <= now && down[node] >= 1.0 {
                let Some(part) = take(node, &mut has, &mut up, &mut publisher, &mut sent, &mut random) else {
                    // Whoever finds nothing asks again a little later.
                    rests[node] = number + 1 + random.below(2);
                    break;
                };
                has[node] |= 1 << part;
                down[node] -= 1.0;
                done += usize::from(has[node] == u64::MAX);
            }
        }
        let part = done as f64 / public as f64;
        if number % 4 == 0 {
            curve.push((now, part));
        }
        if part >= 0.5 && half.is_infinite() {
            half = now;
        }
        if part >= 0.99 {
            most = now;
            curve.push((now, part));
            break;
        }
    }
    Spread { half, most, curve, publisher: sent as f64 / f64::from(PARTS) }
}

/// A part that a node lacks, from the publisher or one of those whom it knows.
fn take(
    node: usize,
    has: &mut [u64],
    up: &mut [f32],
    publisher: &mut f64,
    sent: &mut u64,
    random: &mut Random,
) -> Option<u32> {
    // Whom a node knows follows from its number, and changes now and then as peers are exchanged.
    let own = u64::from(u32::try_from(node).unwrap_or(u32::MAX));
    let mut known = Random::new(own << 20 | random.number() & 3);
    for _ in 0..KNOWN {
        let source = known.below(has.len());
        let offered = has[source] & !has[node];
        if source != node && up[source] >= 1.0 && offered != 0 {
            up[source] -= 1.0;
            return Some(pick(offered, random));
        }
    }
    // The publisher is everybody's last resort, and hands out what it has sent least: parts in turn.
    if *publisher >= 1.0 {
        let next = u32::try_from(*sent % u64::from(PARTS)).unwrap_or(0);
        let lacks = !has[node];
        let part = if lacks >> next & 1 == 1 { next } else { pick(lacks, random) };
        *publisher -= 1.0;
        *sent += 1;
        return Some(part);
    }
    None
}

/// Any of the bits that are set.
fn pick(bits: u64, random: &mut Random) -> u32 {
    let skip = random.below(bits.count_ones() as usize);
    let mut left = bits;
    for _ in 0..skip {
        left &= left - 1;
    }
    left.trailing_zeros().min(63)
}

fn kind(random: &mut Random) -> u8 {
    let mut at = random.part();
    for (kind, (part, ..)) in (0_u8..).zip(LINES) {
        if at < part {
            return kind;
        }
        at -= part;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_is_served_in_not_much_more_than_the_shortest_time() {
        let small = spread(300, 60.0, 5);
        assert_eq!(small, spread(300, 60.0, 5), "it repeats");
        let large = spread(3_000, 60.0, 5);
        for (public, spread) in [(300, &small), (3_000, &large)] {
            let shortest = shortest(public);
            assert!(spread.most >= shortest * 0.99, "{public}: {} s is less than {shortest}", spread.most);
            assert!(spread.most < shortest * 3.0 + 60.0, "{public}: {} s, {shortest} at best", spread.most);
            assert!(spread.publisher >= 1.0, "all of it must come from somewhere");
        }
        assert!(large.most < small.most * 1.8, "ten times the public: {} s and {} s", small.most, large.most);
        assert!(large.publisher < 3_000.0 * 0.2, "the public carries the load: {}", large.publisher);
    }

    #[test]
    fn any_bit_that_is_set_is_picked() {
        let mut random = Random::new(1);
        let bits = 0b1000_0000_0000_0000_0010_0000_0100_u64 | 1 << 63;
        let mut seen = 0_u64;
        (0..200).for_each(|_| seen |= 1 << pick(bits, &mut random));
        assert_eq!(seen, bits);
    }
}
