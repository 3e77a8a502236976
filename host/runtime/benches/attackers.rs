//! What attackers cost an honest plugin: `cargo bench -p fondaco-runtime --bench attackers`. The default storefront
//! answers a page again and again, first alone and then beside one attacker of each of twelve kinds in the same runtime;
//! printed are its medians and 99th percentiles, and their ratios. The first stretch beside them is while their breakers
//! are closed, the second when those that fail have been shut out.

#![allow(clippy::indexing_slicing, reason = "there are as many times as calls")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::{Duration, Instant};

use bytes::Bytes;
use fondaco_runtime::{CallError, Context, Ending, Limits, Plugin, Runtime, Spec, Who};
use fondaco_schemas::{Capability, PluginKind};

/// What the search attackers are asked; the storefront attackers have paths.
const SEARCHES: [&str; 9] =
    ["spin", "recurse", "hoard", "panic", "host-calls", "huge-argument", "huge-result", "log-flood", "sleep"];
const PATHS: [&str; 3] = ["/panic", "/spin", "/endless-page"];

async fn load(runtime: &Runtime, id: &str, kind: PluginKind, component: Vec<u8>) -> Plugin {
    let spec = Spec {
        who: Who { id: format!("org.example.{id}"), version: "1.0.0".into() },
        kind,
        component,
        grants: common::grants(&Capability::ALL),
        limits: Limits::default(),
        services: common::spec(Vec::new(), common::grants(&[]), Limits::default()).services,
    };
    runtime.load(spec).await.expect("loads")
}

async fn page(plugin: &Plugin, path: &str) -> Result<(), CallError> {
    let request = http::Request::get(path).header("host", "localhost").body(Bytes::new()).expect("a request");
    plugin.handle(&Context::node(), request, 4 << 20).await.map(|_| ())
}

/// Median and 99th percentile of calls made one after the other, with a pause, as visitors make.
async fn measure(honest: &Plugin, stretch: Duration) -> (Duration, Duration, usize) {
    let (began, mut times) = (Instant::now(), Vec::new());
    while began.elapsed() < stretch {
        let started = Instant::now();
        page(honest, "/about").await.expect("an honest plugin answers, whoever is beside it");
        times.push(started.elapsed());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 99 / 100], times.len())
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        // On a worker, as a request's task is.
        tokio::spawn(run()).await.expect("runs");
    });
}

async fn run() {
    let runtime = common::runtime();
    let honest = load(&runtime, "shelf", PluginKind::Storefront, common::component("storefront-shelf")).await;
    let (search, shop) = (common::hostile(), common::component("hostile-shop"));
    let mut attackers = Vec::new();
    for attack in SEARCHES {
        attackers.push((attack, load(&runtime, attack, PluginKind::Search, search.clone()).await));
    }
    for path in PATHS {
        let id = format!("shop-{}", path.trim_start_matches('/'));
        attackers.push((path, load(&runtime, &id, PluginKind::Storefront, shop.clone()).await));
    }
    let alone = measure(&honest, Duration::from_secs(5)).await;
    let show = |name: &str, (median, p99, n): (Duration, Duration, usize)| {
        let ratio = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
        println!(
            "{name:<48} p50 {median:>9.2?} ({:>5.2} ×)  p99 {p99:>9.2?} ({:>5.2} ×)  {n} pages",
            ratio(median, alone.0),
            ratio(p99, alone.1)
        );
    };
    show("an honest storefront alone", alone);
    let attacking: Vec<_> = attackers
        .iter()
        .cloned()
        .map(|(attack, plugin)| {
            tokio::spawn(async move {
                loop {
                    let ended = if attack.starts_with('/') {
                        page(&plugin, attack).await
                    } else {
                        common::find(&plugin, attack).await.map(|_| ())
                    };
                    // As fast as it is let, and as a client that was told to come back later.
                    if matches!(ended, Err(CallError::Unavailable { .. })) {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
            })
        })
        .collect();
    show("beside 12 attackers, their first 3 s", measure(&honest, Duration::from_secs(3)).await);
    show("beside 12 attackers, 10 s later", measure(&honest, Duration::from_secs(10)).await);
    for task in attacking {
        task.abort();
    }
    for (attack, plugin) in &attackers {
        let counted = plugin.counters().now();
        println!(
            "  {attack:<16} {:>6} calls, {:>5} failures, {:>5} answers, breaker {}",
            counted.calls(),
            counted.failures(),
            counted.ended(Ending::Answered),
            plugin.health().as_str()
        );
    }
}
