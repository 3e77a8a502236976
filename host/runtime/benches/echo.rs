//! What a call costs whose payload goes into a plugin and comes back: `cargo bench -p fondaco-runtime --bench echo`. With
//! `-- --json` a line of JSON for each row. `tests/peers/extism` measures Extism in the same way: medians of single
//! calls, over a second for each row, on one thread. `cargo figures --plugins` sets them side by side.
//!
//! In a fresh instance, which is how all calls but those of edit scripts are run, the payload is the body of a player's
//! request and comes back as a licence. An instance that is kept takes no arguments of that size: its payload is what the
//! node answers when the plugin reads its storage, and comes back as an edit. That is a crossing more than there are in a
//! plain call.

#![allow(clippy::indexing_slicing, reason = "there are as many times as rounds")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use fondaco_runtime::wit::drm_types::Edit;
use fondaco_runtime::wit::settings::Brand;
use fondaco_runtime::wit::types::{
    Entitlement, EntitlementState, FileInfo, FileRole, HttpMessage, Terms, Work, WorkKind,
};
use fondaco_runtime::{Caller, Context, Lent, Limits, Plugin, ScriptOf, Services, Spec, Who};
use fondaco_schemas::{Capability, PluginKind};

/// Payloads, in bytes.
const SIZES: [usize; 3] = [0, 1 << 10, 64 << 10];
const STRETCH: Duration = Duration::from_secs(1);

/// Whatever the key is, the payload is there.
struct Holding(Vec<u8>);

#[async_trait]
impl Services for Holding {
    async fn storage_get(&self, _: &Caller, _: Vec<u8>) -> Lent<Option<Vec<u8>>> {
        Ok(Some(self.0.clone()))
    }
    async fn brand(&self, by: &Caller) -> Brand {
        common::Silent.brand(by).await
    }
    async fn settings(&self, _: &Caller) -> String {
        "{}".into()
    }
}

/// The median of calls that each say how long they took. The first tenth of the time is not counted.
async fn median(mut call: impl AsyncFnMut() -> Duration) -> Duration {
    let (began, mut times) = (Instant::now(), Vec::new());
    while began.elapsed() < STRETCH {
        let took = call().await;
        if began.elapsed() > STRETCH / 10 {
            times.push(took);
        }
    }
    times.sort_unstable();
    times[times.len() / 2]
}

fn check(answer: &[u8], payload: &[u8]) {
    let is_touched = answer.last().map(|byte| !byte) == payload.last().copied();
    assert!(is_touched && black_box(answer).len() == payload.len(), "another answer");
}

async fn plugin(component: Vec<u8>, payload: &[u8]) -> Plugin {
    let limits = Limits {
        // More calls a second than anybody makes who does not measure.
        rates: [(Capability::Storage, u32::MAX)].into(),
        wall: Duration::from_secs(5),
        ..Limits::default()
    };
    let spec = Spec {
        who: Who { id: "org.example.echo".into(), version: "1.0.0".into() },
        kind: PluginKind::Drm,
        component,
        grants: common::grants(&[Capability::Storage]),
        limits,
        services: Arc::new(Holding(payload.to_vec())),
    };
    common::runtime().load(spec).await.expect("loads")
}

fn file() -> FileInfo {
    FileInfo {
        path: "film.mp4".into(),
        hash: "00".repeat(32),
        size: 8 << 30,
        media_type: "video/mp4".into(),
        role: FileRole::Content,
        protection: None,
        title: None,
        duration_ms: None,
    }
}

fn work() -> Work {
    Work {
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
        files: vec![file()],
        offers: Vec::new(),
        metadata: "{}".into(),
    }
}

fn terms() -> Terms {
    Terms {
        scheme: Some("org.example.echo".into()),
        lasts: None,
        devices: None,
        territories: Vec::new(),
        available_from: None,
        available_until: None,
    }
}

fn entitlement() -> Entitlement {
    Entitlement {
        id: "00".repeat(16),
        work: format!("{}/film", "00".repeat(32)),
        release: "00".repeat(32),
        offer: "buy".into(),
        holder: "00".repeat(32),
        state: EntitlementState::Active,
        granted: "2026-01-01T00:00:00Z".into(),
        expires: None,
    }
}

/// One instance for all calls.
async fn kept(plugin: &Plugin, payload: &[u8]) -> Duration {
    let of = ScriptOf::Protect(Box::new(work()), file(), terms());
    let mut script = plugin.script(&Context::node(), of).await.expect("answers").expect("a script");
    median(async || {
        let started = Instant::now();
        let edits = script.next(1).await.expect("answers").expect("edits");
        let took = started.elapsed();
        let [Edit::Insert(answer)] = edits.as_slice() else { unreachable!("one edit") };
        check(answer, payload);
        took
    })
    .await
}

/// An instance for each call.
async fn fresh(plugin: &Plugin, payload: &[u8]) -> Duration {
    let context = Context::node();
    median(async || {
        let (entitlement, file) = (entitlement(), file());
        let message = HttpMessage {
            method: "POST".into(),
            target: "/licences".into(),
            headers: Vec::new(),
            body: payload.to_vec(),
        };
        let started = Instant::now();
        let answer = plugin.issue(&context, entitlement, file, None, Some(message)).await;
        let took = started.elapsed();
        check(&answer.expect("answers").expect("a licence").body, payload);
        took
    })
    .await
}

fn main() {
    let as_json = std::env::args().any(|argument| argument == "--json");
    let show = |instance: &str, bytes: usize, took: Duration| {
        if as_json {
            println!("{{\"instance\":\"{instance}\",\"bytes\":{bytes},\"ns\":{}}}", took.as_nanos());
        } else {
            println!("{bytes:>6} bytes in and out, a {instance} instance  {took:>8.2?}");
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let component = common::component("echo");
        for bytes in SIZES {
            let payload = vec![7; bytes];
            let plugin = plugin(component.clone(), &payload).await;
            show("kept", bytes, kept(&plugin, &payload).await);
            show("fresh", bytes, fresh(&plugin, &payload).await);
        }
    });
}
