//! A hundred memory bombs at once, in a process of their own so that its memory can be measured.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails where it is wrong")]

mod common;

use std::time::Duration;

use common::{find, grants, hostile, runtime, spec};
use fondaco_runtime::{Limits, Plugin};
use fondaco_schemas::Capability;

/// The most memory that this process ever had, in bytes (`VmHWM` of proc_pid_status(5)).
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

async fn plugin() -> Plugin {
    let limits = Limits { deadline: Duration::from_secs(5), wall: Duration::from_secs(20), ..Limits::default() };
    runtime().load(spec(hostile(), grants(&[Capability::Storage]), limits)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_memory_bombs_stay_below_half_a_gibibyte_and_an_honest_plugin_answers() {
    let honest = plugin().await;
    let mut bombs = Vec::new();
    for _ in 0..10 {
        bombs.push(plugin().await);
    }
    let (before, blasts): (u64, Vec<_>) = (
        peak(),
        bombs
            .iter()
            .flat_map(|bomb| std::iter::repeat_n(bomb, 10))
            .map(|bomb| {
                let bomb = bomb.clone();
                tokio::spawn(async move { find(&bomb, "hoard").await })
            })
            .collect(),
    );
    for _ in 0..20 {
        assert_eq!(find(&honest, "honest").await.unwrap().unwrap(), ["honest"], "beside the bombs");
    }
    let mut hoarded = Vec::new();
    for blast in blasts {
        // Some found no place within their second; those that did took what they got.
        if let Ok(Ok(mib)) = blast.await.unwrap() {
            hoarded.push(mib[0].parse::<u64>().unwrap());
        }
    }
    let most = peak();
    // How much each gets depends on how many are at it in the same moment: together they take more than there is at once.
    let together: u64 = hoarded.iter().sum();
    assert!(together > 256, "no bomb went off: {hoarded:?}");
    // By itself a bomb is no dud.
    let alone = find(&bombs[0], "hoard").await.unwrap().unwrap();
    assert!(alone[0].parse::<u64>().unwrap() > 20, "a bomb alone got {alone:?} MiB");
    assert!(most < 512 << 20, "{} MiB at the most, {} before; hoarded {hoarded:?}", most >> 20, before >> 20);
    assert!(most > before, "nothing was measured");
}
