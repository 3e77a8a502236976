//! What a hostile component can do: nothing but end its own call. The attacks are in `tests/guests/hostile`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails where it is wrong")]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Silent, find, grants, hostile, runtime, spec};
use fondaco_runtime::{CallError, Context, Limits, LoadError, Plugin};

async fn plugin(limits: Limits) -> Plugin {
    let spec = spec(hostile(), grants(&[fondaco_schemas::Capability::Storage]), limits);
    runtime().load(spec).await.unwrap()
}

/// The attack fails in this way, in words that name the plugin, and the plugin answers honestly afterwards.
async fn attack(limits: Limits, text: &str, expect: fn(&CallError) -> bool) -> String {
    let plugin = plugin(limits).await;
    let error = find(&plugin, text).await.expect_err(text);
    assert!(expect(&error), "{text}: {error:?}");
    let words = error.to_string();
    assert!(words.starts_with("org.example.hostile 1.0.0: find "), "{words}");
    assert_eq!(find(&plugin, "honest").await.unwrap().unwrap(), ["honest"], "after {text}");
    words
}

fn quick() -> Limits {
    Limits { deadline: Duration::from_millis(100), wall: Duration::from_secs(2), ..Limits::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_is_stopped_at_its_deadline() {
    attack(quick(), "spin", |e| matches!(e, CallError::Deadline { .. })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recursion_traps() {
    let words = attack(quick(), "recurse", |e| matches!(e, CallError::Trap { .. })).await;
    assert!(words.contains("nested too deep"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_a_trap_of_its_call() {
    attack(quick(), "panic", |e| matches!(e, CallError::Trap { .. })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_ends_at_the_limit() {
    for (limit_mib, least) in [(8, 3), (32, 20)] {
        let plugin =
            plugin(Limits { memory_bytes: limit_mib << 20, deadline: Duration::from_secs(5), ..quick() }).await;
        let got: usize = find(&plugin, "hoard").await.unwrap().unwrap()[0].parse().unwrap();
        assert!((least..limit_mib).contains(&got), "{got} MiB of {limit_mib}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_the_node_are_counted() {
    let limits = Limits { host_calls: 50, deadline: Duration::from_secs(5), ..quick() };
    attack(limits, "host-calls", |e| matches!(e, CallError::HostCalls { limit: 50, .. })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn giant_arguments_and_results_are_not_taken() {
    let limits = Limits { output_bytes: 1 << 20, deadline: Duration::from_secs(5), ..quick() };
    attack(limits.clone(), "huge-argument", |e| matches!(e, CallError::Trap { .. })).await;
    attack(limits, "huge-result", |e| matches!(e, CallError::Trap { .. })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_sleeps_is_left_at_the_end_of_its_wall_time() {
    let limits = Limits { wall: Duration::from_millis(300), ..quick() };
    let started = Instant::now();
    attack(limits, "sleep", |e| matches!(e, CallError::Wall { .. })).await;
    assert!(started.elapsed() < Duration::from_secs(30), "it asked for a minute");
}

#[tokio::test(flavor = "multi_thread")]
async fn printing_never_fails_and_is_cut() {
    let plugin = plugin(Limits { deadline: Duration::from_secs(5), ..quick() }).await;
    assert_eq!(find(&plugin, "log-flood").await.unwrap().unwrap(), ["flooded"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_no_files_no_sockets_and_no_environment() {
    let plugin = plugin(quick()).await;
    let files = find(&plugin, "files").await.unwrap().unwrap();
    assert!(files[0].starts_with("Err("), "{files:?}");
    let socket = find(&plugin, "socket").await.unwrap().unwrap();
    assert!(socket[0].starts_with("Err("), "{socket:?}");
    assert_eq!(find(&plugin, "environment").await.unwrap().unwrap(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_never_state() {
    let plugin = plugin(quick()).await;
    for _ in 0..3 {
        assert_eq!(find(&plugin, "remember").await.unwrap().unwrap(), ["0"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_call_each_other_twice_deep_at_most() {
    let plugin = plugin(quick()).await;
    let deep = Context { depth: fondaco_runtime::MAX_DEPTH, visitor: None };
    let error = plugin.suggest(&deep, "x".into(), 1).await.unwrap_err();
    assert!(matches!(error, CallError::Depth { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn attackers_side_by_side_do_not_keep_an_honest_call_from_its_answer() {
    let (attacker, honest) = (plugin(Limits { concurrency: 8, ..quick() }).await, plugin(quick()).await);
    let attacks: Vec<_> = (0..24)
        .map(|i| {
            let attacker = attacker.clone();
            tokio::spawn(async move { find(&attacker, if i % 2 == 0 { "spin" } else { "sleep" }).await.is_err() })
        })
        .collect();
    for _ in 0..5 {
        assert_eq!(find(&honest, "honest").await.unwrap().unwrap(), ["honest"]);
    }
    for attack in attacks {
        assert!(attack.await.unwrap());
    }
}

#[tokio::test]
async fn a_component_gets_only_what_was_granted() {
    let refused = runtime().load(spec(hostile(), grants(&[]), quick())).await.unwrap_err();
    assert!(matches!(refused, LoadError::NotGranted { .. }), "{refused}");
    let words = refused.to_string();
    assert!(
        words.contains("org.example.hostile 1.0.0")
            && words.contains("storage")
            && words.contains("fondaco plugin grant"),
        "{words}"
    );
}

#[tokio::test]
async fn what_is_optional_and_not_granted_is_denied_on_each_call() {
    let mut grants = grants(&[]);
    grants.optional.insert(fondaco_schemas::Capability::Storage);
    let plugin = runtime().load(spec(hostile(), grants, quick())).await.unwrap();
    let answer = find(&plugin, "host-calls").await.unwrap().unwrap_err();
    assert!(answer.contains("Denied") && answer.contains("storage"), "{answer}");
}

#[tokio::test]
async fn a_component_of_another_kind_is_refused() {
    let mut spec = spec(hostile(), grants(&[fondaco_schemas::Capability::Storage]), quick());
    spec.kind = fondaco_schemas::PluginKind::Payment;
    let refused = runtime().load(spec).await.unwrap_err();
    assert!(matches!(refused, LoadError::Exports { .. }), "{refused}");
}

#[tokio::test]
async fn what_is_no_component_is_refused_by_the_compiler() {
    let cut = hostile()[..hostile().len() / 2].to_vec();
    for bytes in [b"not wasm".to_vec(), Vec::new(), cut, b"\0asm\x01\0\0\0".to_vec()] {
        let refused = runtime().load(spec(bytes, grants(&[]), quick())).await.unwrap_err();
        assert!(matches!(refused, LoadError::Compile { .. }), "{refused}");
    }
}

#[tokio::test]
async fn a_poisoned_cache_is_compiled_again() {
    let folder = tempfile::tempdir().unwrap();
    let load = || async {
        let runtime = common::runtime_with(folder.path().to_owned());
        let spec = spec(hostile(), grants(&[fondaco_schemas::Capability::Storage]), quick());
        find(&runtime.load(spec).await.unwrap(), "honest").await.unwrap().unwrap()
    };
    assert_eq!(load().await, ["honest"]);
    let entry = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let good = std::fs::read(&entry).unwrap();
    for at in [0, 31, 32, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&entry, &bad).unwrap();
        assert_eq!(load().await, ["honest"], "byte {at}");
        assert_eq!(std::fs::read(&entry).unwrap().len(), good.len());
        assert_ne!(std::fs::read(&entry).unwrap(), bad, "byte {at}: the entry was made anew");
    }
}

#[test]
fn services_leave_out_nothing_silently() {
    // `Silent` implements nothing: every call is denied by default, and none is an answer.
    let services: Arc<dyn fondaco_runtime::Services> = Arc::new(Silent);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let caller = fondaco_runtime::Caller {
        plugin: "p".into(),
        storage_bytes: 0,
        storage_keys: 0,
        reaches_peers: false,
        depth: 0,
        visitor: None,
    };
    assert!(runtime.block_on(services.derive(&caller, "k".into())).is_err());
    assert!(runtime.block_on(services.storage_get(&caller, Vec::new())).is_err());
}
