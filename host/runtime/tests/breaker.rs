//! Limits that stay in force from one call to the next: the circuit breaker, rates, what is written to the log, and what
//! the counters say of all that. The attacks are in `tests/guests/hostile`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails where it is wrong")]

mod common;

use std::time::Duration;

use common::{find, grants, hostile, runtime, spec};
use fondaco_runtime::{CallError, Ending, Health, Limits, Plugin};
use fondaco_schemas::Capability;

async fn plugin(limits: Limits) -> Plugin {
    runtime().load(spec(hostile(), grants(&[Capability::Storage]), limits)).await.unwrap()
}

fn quick() -> Limits {
    Limits { deadline: Duration::from_millis(100), wall: Duration::from_secs(5), ..Limits::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_kills_close_the_way_at_once_and_to_this_plugin_only() {
    let (bad, good) = (plugin(quick()).await, plugin(quick()).await);
    for attack in ["panic", "recurse", "spin", "panic"] {
        find(&bad, attack).await.unwrap_err();
    }
    assert_eq!(find(&bad, "honest").await.unwrap().unwrap(), ["honest"], "four are not five");
    assert_eq!(bad.health(), Health::Closed);
    find(&bad, "panic").await.unwrap_err();
    assert!(matches!(bad.health(), Health::Open(_)));
    let started = std::time::Instant::now();
    let error = find(&bad, "honest").await.unwrap_err();
    assert!(matches!(error, CallError::Unavailable { health: Health::Open(_), .. }), "{error:?}");
    let words = error.to_string();
    assert!(words.contains("failed 5 times within a minute; it is tried again in 60 s"), "{words}");
    assert!(started.elapsed() < Duration::from_secs(1), "callers do not wait");
    assert_eq!(find(&good, "honest").await.unwrap().unwrap(), ["honest"], "the same component, another plugin");

    let counted = bad.counters().now();
    assert_eq!((counted.ended(Ending::Trap), counted.ended(Ending::Deadline)), (4, 1));
    assert_eq!((counted.ended(Ending::Unavailable), counted.failures()), (1, 5));
    assert_eq!(counted.functions["find"].ended(Ending::Answered), 1);
    assert!(counted.functions.contains_key("instantiation") && counted.openings == 1 && counted.quarantines == 0);
    assert!(counted.running_ticks >= 50, "{} ticks of 2 ms for 100 ms", counted.running_ticks);
    assert!(counted.peak_memory >= 1 << 20, "{}", counted.peak_memory);
    assert_eq!(counted.waits.count(), counted.calls());
    assert_eq!(counted.functions["find"].took.count(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_leave_are_counted_and_are_nobodys_failure() {
    let plugin = plugin(quick()).await;
    for _ in 0..8 {
        let left = tokio::time::timeout(Duration::from_millis(20), find(&plugin, "sleep")).await;
        assert!(left.is_err(), "it sleeps for a minute");
    }
    assert_eq!(plugin.counters().now().ended(Ending::Abandoned), 8);
    assert_eq!(plugin.health(), Health::Closed);
    assert_eq!(find(&plugin, "honest").await.unwrap().unwrap(), ["honest"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_the_node_over_the_rate_are_refused_with_the_line_to_change() {
    let limits = Limits { rates: [(Capability::Storage, 10)].into(), ..quick() };
    let plugin = plugin(limits).await;
    // It goes on until the node refuses.
    let refused = find(&plugin, "host-calls").await.unwrap().unwrap_err();
    assert!(refused.contains("Exhausted") && refused.contains("limits.rate.storage"), "{refused}");
    let counted = plugin.counters().now();
    assert_eq!(counted.throttled, [(Capability::Storage, 1)].into());
    assert_eq!((counted.failures(), counted.denied.len()), (0, 0), "no call was ended for it");
}

#[tokio::test(flavor = "multi_thread")]
async fn denials_are_counted_by_capability() {
    let mut grants = grants(&[]);
    grants.optional.insert(Capability::Storage);
    let plugin = runtime().load(spec(hostile(), grants, quick())).await.unwrap();
    for _ in 0..3 {
        find(&plugin, "host-calls").await.unwrap().unwrap_err();
    }
    assert_eq!(plugin.counters().now().denied, [(Capability::Storage, 3)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minute_of_printing_has_an_end() {
    let limits =
        Limits { log_bytes: 20_000, log_bytes_per_minute: 50_000, deadline: Duration::from_secs(5), ..quick() };
    let plugin = plugin(limits).await;
    for _ in 0..4 {
        assert_eq!(find(&plugin, "log-flood").await.unwrap().unwrap(), ["flooded"]);
    }
    let counted = plugin.counters().now();
    // Escapes make it somewhat longer than what was printed; the bucket counts what is written.
    assert!((40_000..=51_000).contains(&counted.log_bytes), "{}", counted.log_bytes);
    assert!(counted.log_bytes_dropped > 4 * 3_900_000, "{}", counted.log_bytes_dropped);
}
