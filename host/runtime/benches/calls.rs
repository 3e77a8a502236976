//! What a call costs: `cargo bench -p fondaco-runtime`. Each figure is the median of many calls, on one thread.

#![allow(clippy::indexing_slicing, reason = "there are as many times as rounds")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::{Duration, Instant};

use bytes::Bytes;
use fondaco_runtime::{Context, Limits, Spec, Who};
use fondaco_schemas::{Capability, PluginKind};

async fn median<F: Future<Output = ()>>(rounds: usize, mut f: impl FnMut() -> F) -> Duration {
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let started = Instant::now();
        f().await;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    times[rounds / 2]
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let limits = Limits { wall: Duration::from_secs(5), ..Limits::default() };
        let all = common::grants(&Capability::ALL);
        let plugin = common::runtime().load(common::spec(common::hostile(), all, limits.clone())).await.expect("loads");
        let context = Context::node();
        let call = median(20_000, || async {
            plugin.parameters(&context).await.expect("answers");
        });
        println!("a call in a fresh instance, everything counted    {:>8.2?}", call.await);
        let call = median(20_000, || async {
            common::find(&plugin, "honest").await.expect("answers").expect("finds");
        });
        println!("a query with an answer of one hit                 {:>8.2?}", call.await);
        let spec = Spec {
            who: Who { id: "org.fondaco.storefront-shelf".into(), version: "0.1.0".into() },
            kind: PluginKind::Storefront,
            component: common::component("storefront-shelf"),
            grants: common::grants(&Capability::ALL),
            limits,
            services: std::sync::Arc::new(common::Silent),
        };
        let shelf = common::runtime().load(spec).await.expect("loads");
        let call = median(5_000, || async {
            let request =
                http::Request::get("/about").header("host", "localhost").body(Bytes::new()).expect("a request");
            let answer = shelf.handle(&context, request, 1 << 20).await.expect("answers");
            assert_eq!(answer.status(), 200);
        });
        println!("a page of the default storefront (/about)         {:>8.2?}", call.await);
    });
}
