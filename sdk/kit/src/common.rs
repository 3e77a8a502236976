//! What holds for a plugin of any kind: it starts with what it asks for, asks for no more than it uses, and answers every
//! call, with whatever input, while the node refuses, fails, is slow or full, and while others call it, too.

use std::sync::Arc;
use std::time::Duration;

use fondaco_runtime::wit::types;
use fondaco_runtime::{CallError, LoadError, Plugin};
use fondaco_schemas::Capability;

use crate::bench::Bench;
use crate::host::{Host, Mood};
use crate::kinds::{self, Depth};
use crate::report::{Draft, Report};

/// What a slow node takes for each call: a page that asks a thousand things then meets its wall time.
const SLOW: Duration = Duration::from_millis(1);
/// A quota that holds next to nothing, in bytes.
const TINY: u64 = 64;
/// Calls at once.
const AT_ONCE: usize = 8;

/// One call that was made.
pub(crate) struct Done {
    /// Which, with what: `find("x" × 1,048,576)`.
    pub call: String,
    /// Did it answer, if only to say no?
    pub answer: Result<(), CallError>,
}

impl Done {
    /// A call whose own answer, yes or no, is of no interest.
    pub fn of<T>(call: impl Into<String>, answer: Result<T, CallError>) -> Self {
        Self { call: call.into(), answer: answer.map(drop) }
    }
}

/// The calls of a kind, to be repeated under other conditions.
pub(crate) enum Calls {
    Search,
    Payment,
    Drm,
    Advocacy,
    /// The addresses that stand for all of them.
    Storefront(Vec<String>),
}

impl Calls {
    /// Makes them, with right input and with wrong.
    pub async fn make(&self, host: &Arc<Host>, plugin: &Plugin, depth: Depth) -> Vec<Done> {
        match self {
            Self::Search => kinds::search::exercise(host, plugin, depth).await,
            Self::Payment => kinds::payment::exercise(plugin, depth).await,
            Self::Drm => kinds::drm::exercise(host, plugin, depth).await,
            Self::Advocacy => kinds::advocacy::exercise(plugin, depth).await,
            Self::Storefront(targets) => kinds::storefront::exercise(plugin, targets, depth).await,
        }
    }
}

/// A plugin's own no, in words.
pub(crate) fn shown(error: &types::Error) -> String {
    match error {
        types::Error::Invalid(why) => format!("invalid: {why}"),
        types::Error::NotFound => "not-found".into(),
        types::Error::Denied(why) => format!("denied: {why}"),
        types::Error::Exhausted(why) => format!("exhausted: {why}"),
        types::Error::Unavailable(why) => format!("unavailable: {why}"),
        types::Error::Internal(why) => format!("internal: {why}"),
    }
}

/// Why a call gave no answer, and what its author can do.
pub(crate) fn advice(error: &CallError) -> String {
    match error {
        CallError::Trap { reason, .. } if reason.contains("unreachable") => {
            format!("{error}; it panicked: answer with an error instead (with --logs you see what it printed)")
        }
        CallError::HostCalls { .. } => format!("{error}: read more at once, or keep what it looks up in one entry"),
        CallError::NoAnswer { .. } => format!("{error}: set a response before the handler returns"),
        _ => error.to_string(),
    }
}

/// Notes every call that gave no answer.
pub(crate) fn answered(draft: &mut Draft, done: &[Done]) {
    for Done { call, answer } in done {
        match answer {
            Ok(()) => {}
            // After five failures a node does not try for a while; those five say what is wrong.
            Err(CallError::Unavailable { .. }) if !draft.is_clean() => {}
            Err(error) => draft.fail(format!("{call}: {}", advice(error))),
        }
    }
}

/// Does it load, and make an instance?
pub(crate) async fn starts(bench: &Bench, report: &mut Report) -> Option<Plugin> {
    let mut draft = report.begin("start", "it starts with what plugin.toml asks for");
    let loaded = bench.load(&bench.host()).await;
    if let Err(error) = &loaded {
        draft.fail(match error {
            LoadError::NotGranted { capability, .. } => {
                format!("{error}; add to plugin.toml: [capabilities.{capability}]")
            }
            LoadError::Smoke(call) => advice(call),
            _ => error.to_string(),
        });
    }
    report.end(draft);
    loaded.ok()
}

/// The same calls, while something is not as it should be.
pub(crate) async fn conditions(bench: &Bench, calls: &Calls, report: &mut Report) {
    asks_for_what_it_uses(bench, report).await;
    does_without(bench, calls, report).await;
    under(bench, calls, report, Mood::OutOfOrder, "node/out-of-order", "it answers while the node is out of order")
        .await;
    under(
        bench,
        calls,
        report,
        Mood::Slow(SLOW),
        "node/slow",
        "it answers in time while each call of the node takes a millisecond",
    )
    .await;
    full(bench, calls, report).await;
    in_half_the_time(bench, calls, report).await;
    at_once(bench, calls, report).await;
}

/// A grant that is never used is one that an operator worries about for nothing.
async fn asks_for_what_it_uses(bench: &Bench, report: &mut Report) {
    const NAME: &str = "grants/used";
    const ABOUT: &str = "it asks for nothing that it does not use";
    let (asked, optional) = bench.asked();
    if !report.wants(NAME) {
        return;
    }
    if asked.is_empty() {
        return report.skip(NAME, ABOUT, "it asks for nothing");
    }
    let mut draft = report.begin(NAME, ABOUT);
    for capability in &asked {
        // An import shows by being refused, so what is optional is asked for as if it were not.
        let loaded = bench.load_strictly_without(*capability).await;
        match loaded {
            Err(LoadError::NotGranted { capability: missing, .. }) if missing == capability.as_str() => {}
            Err(error) => draft.fail(format!("without {capability} it does not load: {error}")),
            // Secrets of the settings need the grant of the keys, and no import of theirs.
            Ok(_) if *capability == Capability::Keys => {}
            Ok(_) => {
                let also = if optional.contains(capability) { ", optional as it is" } else { "" };
                draft.fail(format!(
                    "plugin.toml asks for {capability}{also}, and the component does not import it: take [capabilities.{capability}] out"
                ));
            }
        }
    }
    report.end(draft);
}

/// What is called optional must be.
async fn does_without(bench: &Bench, calls: &Calls, report: &mut Report) {
    const NAME: &str = "grants/optional";
    const ABOUT: &str = "it answers without each grant that is called optional";
    let (_, optional) = bench.asked();
    if !report.wants(NAME) {
        return;
    }
    if optional.is_empty() {
        return report.skip(NAME, ABOUT, "nothing that it asks for is optional");
    }
    let mut draft = report.begin(NAME, ABOUT);
    for capability in optional {
        let host = bench.host();
        match bench.load_without(&host, Some(capability), bench.limits()).await {
            Err(error) => {
                draft.fail(format!("without {capability}: {error}; take `optional = true` out, or do without"));
            }
            Ok(plugin) => {
                for Done { call, answer } in calls.make(&host, &plugin, Depth::Whole).await {
                    if let Err(error) = answer {
                        draft.fail(format!("without {capability}, {call}: {}", advice(&error)));
                    }
                }
                if let Calls::Storefront(_) = calls
                    && let Some(status) = kinds::storefront::front_page(&plugin).await
                    && status.is_server_error()
                {
                    draft.fail(format!(
                        "without {capability} the front page answers {status}: show it without that part"
                    ));
                }
            }
        }
    }
    report.end(draft);
}

async fn under(bench: &Bench, calls: &Calls, report: &mut Report, mood: Mood, name: &'static str, about: &'static str) {
    if !report.wants(name) {
        return;
    }
    let mut draft = report.begin(name, about);
    let host = bench.host();
    match bench.load(&host).await {
        Err(error) => draft.fail(error.to_string()),
        Ok(plugin) => {
            // A slow node is slow for every call, so a few of them tell as much.
            let depth = if mood == Mood::OutOfOrder { Depth::Whole } else { Depth::Brief };
            if depth == Depth::Whole {
                // Something is there before the node fails.
                calls.make(&host, &plugin, Depth::Brief).await;
            }
            host.set_mood(mood);
            answered(&mut draft, &calls.make(&host, &plugin, depth).await);
        }
    }
    report.end(draft);
}

async fn full(bench: &Bench, calls: &Calls, report: &mut Report) {
    const NAME: &str = "storage/full";
    const ABOUT: &str = "it answers when its storage is full";
    if !report.wants(NAME) {
        return;
    }
    if !bench.asked().0.contains(&Capability::Storage) {
        return report.skip(NAME, ABOUT, "it keeps nothing");
    }
    let mut draft = report.begin(NAME, ABOUT);
    let host = bench.host();
    let limits = fondaco_runtime::Limits { storage_bytes: TINY, ..bench.limits() };
    match bench.load_without(&host, None, limits).await {
        Err(error) => draft.fail(error.to_string()),
        Ok(plugin) => answered(&mut draft, &calls.make(&host, &plugin, Depth::Whole).await),
    }
    report.end(draft);
}

/// Another machine may be half as fast.
async fn in_half_the_time(bench: &Bench, calls: &Calls, report: &mut Report) {
    const NAME: &str = "limits/deadline";
    if !report.wants(NAME) {
        return;
    }
    let mut draft = report.begin(NAME, "every call ends within half of its deadline");
    let host = bench.host();
    let whole = bench.limits();
    let limits = fondaco_runtime::Limits { deadline: whole.deadline / 2, ..whole };
    match bench.load_without(&host, None, limits).await {
        Err(error) => draft.fail(error.to_string()),
        Ok(plugin) => {
            for Done { call, answer } in calls.make(&host, &plugin, Depth::Whole).await {
                match answer {
                    Err(CallError::Deadline { limit, .. }) => draft.fail(format!(
                        "{call} ran for more than {limit:?}, half of its deadline: do less at once, or set limits.deadline in plugin.toml (at most 2s)"
                    )),
                    Err(error) => draft.fail(format!("{call}: {}", advice(&error))),
                    Ok(()) => {}
                }
            }
        }
    }
    report.end(draft);
}

async fn at_once(bench: &Bench, calls: &Calls, report: &mut Report) {
    const NAME: &str = "calls/at-once";
    if !report.wants(NAME) {
        return;
    }
    let mut draft = report.begin(NAME, "eight callers at once are all answered");
    let host = bench.host();
    match bench.load(&host).await {
        Err(error) => draft.fail(error.to_string()),
        Ok(plugin) => {
            let callers = (0..AT_ONCE).map(|_| calls.make(&host, &plugin, Depth::Brief));
            for done in futures_util::future::join_all(callers).await {
                answered(&mut draft, &done);
            }
        }
    }
    report.end(draft);
}
