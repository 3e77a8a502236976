//! Bundles spoiled without a look at what is in them.

use fondaco_schemas::manifest::SIGNATURE_FILE;
use fondaco_trust::Bundle;

use crate::Tally;
use crate::scene::{BLOCK, Dice, Scene, files};

pub fn flipped_bits(scene: &Scene, tally: &mut Tally) {
    let good = &scene.bundles[0];
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            tally.count(scene.judge(bad), || format!("bit {bit} of byte {at}"));
        }
    }
}

/// Do both hold the same, and is nothing but white space between the tokens of the signature file in another place? That
/// file is not signed itself, and such a bundle is a good one.
fn says_the_same(good: &[u8], bad: &[u8]) -> bool {
    let Ok(bundle) = Bundle::parse(bad.to_vec()) else { return false };
    let value = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).ok();
    files(good).iter().all(|(path, bytes)| match bundle.get(path.as_str()) {
        Some(other) if path.as_str() == SIGNATURE_FILE => value(bytes).is_some_and(|v| Some(v) == value(other)),
        other => other == Some(bytes.as_slice()),
    })
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n')
}

/// Swaps two bytes that differ, and says whether that spoils anything.
fn swap(good: &[u8], a: usize, b: usize) -> Option<Vec<u8>> {
    let mut bad = good.to_vec();
    bad.swap(a, b);
    let same = bad == good || ((is_blank(good[a]) || is_blank(good[b])) && says_the_same(good, &bad));
    (!same).then_some(bad)
}

pub fn other_bytes(scene: &Scene, tally: &mut Tally) {
    for good in &scene.bundles {
        for at in 0..good.len() {
            for to in [0, b'0', 0xff] {
                let mut bad = good.clone();
                bad[at] = to;
                if bad != *good {
                    tally.count(scene.judge(bad), || format!("byte {at} set to {to}"));
                }
            }
        }
    }
}

pub fn swapped(scene: &Scene, tally: &mut Tally) {
    let mut dice = Dice(1);
    for good in &scene.bundles {
        for _ in 0..5_500 {
            let (a, b) = (dice.roll(good.len()), dice.roll(good.len()));
            if let Some(bad) = swap(good, a, b) {
                tally.count(scene.judge(bad), || format!("bytes {a} and {b}"));
            }
        }
        // Neighbours, as a slip of the hand has them.
        for a in 1..good.len() {
            if let Some(bad) = swap(good, a - 1, a) {
                tally.count(scene.judge(bad), || format!("bytes {} and {a}", a - 1));
            }
        }
    }
}

pub fn moved_blocks(scene: &Scene, tally: &mut Tally) {
    for good in &scene.bundles {
        let blocks: Vec<&[u8]> = good.chunks(BLOCK).collect();
        let mut judge = |order: Vec<&[u8]>, what: String| {
            let bad = order.concat();
            if bad != *good {
                tally.count(scene.judge(bad), || what);
            }
        };
        for a in 0..blocks.len() {
            let mut without = blocks.clone();
            without.remove(a);
            judge(without, format!("without block {a}"));
            let mut twice = blocks.clone();
            twice.insert(a, blocks[a]);
            judge(twice, format!("block {a} twice"));
            for b in 0..a {
                let mut order = blocks.clone();
                order.swap(a, b);
                judge(order, format!("blocks {a} and {b}"));
            }
        }
    }
}

pub fn cut(scene: &Scene, tally: &mut Tally) {
    for good in &scene.bundles {
        for len in 0..good.len() {
            tally.count(scene.judge(good[..len].to_vec()), || format!("cut to {len}"));
        }
        for from in 1..good.len() {
            // What is lost at the front.
            tally.count(scene.judge(good[from..].to_vec()), || format!("from {from}"));
        }
    }
}

pub fn shifted(scene: &Scene, tally: &mut Tally) {
    let good = &scene.bundles[0];
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad.remove(at);
        tally.count(scene.judge(bad), || format!("without byte {at}"));
        let mut bad = good.clone();
        bad.insert(at, good[at]);
        tally.count(scene.judge(bad), || format!("byte {at} twice"));
    }
}

pub fn noise(scene: &Scene, tally: &mut Tally) {
    let mut dice = Dice(2);
    for n in 0..4_000 {
        let len = dice.roll(4 * BLOCK);
        let mut bad = dice.bytes(len);
        if n % 2 == 0 {
            // A good beginning, and then noise.
            let keep = dice.roll(scene.bundles[0].len());
            bad = [&scene.bundles[0][..keep], &bad].concat();
        }
        tally.count(scene.judge(bad), || format!("noise {n}"));
    }
    for n in 0..1_500 {
        // Noise over a part of it.
        let mut bad = scene.bundles[n % 2].clone();
        let (at, len) = (dice.roll(BLOCK), 8 + dice.roll(64));
        for (to, from) in bad.iter_mut().skip(at).zip(dice.bytes(len)) {
            *to = from;
        }
        tally.count(scene.judge(bad), || format!("{len} bytes of noise at {at}"));
    }
}
