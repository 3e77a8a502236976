//! What a call costs: `cargo bench -p fondaco-runtime`. Each figure is the median of many calls, on one thread.

#![allow(clippy::indexing_slicing, reason = "there are as many times as rounds")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use fondaco_runtime::wit::types::{FileInfo, FileRole, Terms, Work, WorkKind};
use fondaco_runtime::{Caller, Context, Lent, Limits, Plugin, ScriptOf, Services, Spec, Who};
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

/// Gives keys, so that a file can be sealed.
struct Deriving;

#[async_trait]
impl Services for Deriving {
    async fn derive(&self, _: &Caller, _: String) -> Lent<Vec<u8>> {
        Ok(vec![7; 32])
    }
    async fn brand(&self, by: &Caller) -> fondaco_runtime::wit::settings::Brand {
        common::Silent.brand(by).await
    }
    async fn settings(&self, _: &Caller) -> String {
        "{}".into()
    }
}

/// A warm instance: each call draws one edit of a file's script. Its arguments, its work and its result are small.
async fn warm(limits: Limits) -> Duration {
    let spec = Spec {
        who: Who { id: "org.fondaco.drm-sealed".into(), version: "0.1.0".into() },
        kind: PluginKind::Drm,
        component: common::component("drm-sealed"),
        grants: common::grants(&Capability::ALL),
        limits,
        services: std::sync::Arc::new(Deriving),
    };
    let plugin: Plugin = common::runtime().load(spec).await.expect("loads");
    let file = FileInfo {
        path: "film.mp4".into(),
        hash: "00".repeat(32),
        size: 8 << 30,
        media_type: "video/mp4".into(),
        role: FileRole::Content,
        protection: None,
        title: None,
        duration_ms: None,
    };
    let work = Work {
        id: format!("{}/film", "00".repeat(32)),
        release: "00".repeat(32),
        kind: WorkKind::Video,
        title: "Film".into(),
        creators: Vec::new(),
        description: String::new(),
        language: None,
        tags: Vec::new(),
        license: None,
        credits: Vec::new(),
        published: "2026-01-01T00:00:00Z".into(),
        files: vec![file.clone()],
        offers: Vec::new(),
        metadata: "{}".into(),
    };
    let terms = Terms {
        scheme: Some("org.fondaco.drm-sealed".into()),
        lasts: None,
        devices: None,
        territories: Vec::new(),
        available_from: None,
        available_until: None,
    };
    let of = ScriptOf::Protect(Box::new(work), file, terms);
    let mut script = plugin.script(&Context::node(), of).await.expect("answers").expect("a script");
    let mut times = Vec::new();
    for _ in 0..4_000 {
        let started = Instant::now();
        let edits = script.next(1).await.expect("answers").expect("edits");
        times.push(started.elapsed());
        assert!(!edits.is_empty(), "the script is longer");
    }
    times.sort_unstable();
    times[times.len() / 2]
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let limits = Limits { wall: Duration::from_secs(5), ..Limits::default() };
        let all = common::grants(&Capability::ALL);
        let plugin = common::runtime().load(common::spec(common::hostile(), all, limits.clone())).await.expect("loads");
        let context = Context::node();
        println!("a call in a warm instance (one edit of a script)  {:>8.2?}", warm(limits.clone()).await);
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
