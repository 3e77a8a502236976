//! Commands that only look: list, info, logs.

use std::time::Duration;

use fondaco_runtime::{LogLine, MAX_LOG_LINES};
use fondaco_schemas::lock::Held;
use fondaco_schemas::{Lock, LockedPlugin, PluginId};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{asks, installed};
use crate::fail::{Done, Fail};
use crate::node::Node;
use crate::out::Out;
use crate::plugins;

/// How often a reader of the log is told what is new.
const FOLLOW: Duration = Duration::from_millis(200);

/// `fondaco plugin list`.
pub fn list(node: &Node, json: bool, out: &Out) -> Done {
    let lock = node.folder.lock()?;
    for (id, locked) in &lock.plugins {
        let state = state(node, id)?;
        let running = node.market.plugin(id.as_str());
        let kind = running.as_ref().map_or("", |p| p.kind().as_str());
        let held = lock.held.get(id.as_str());
        out.result(
            json,
            || {
                serde_json::json!({
                    "id": id, "version": locked.version, "kind": kind, "state": state, "bundle": locked.bundle,
                    "pinned": locked.pinned, "trial": locked.trial, "held": held, "left": left(locked),
                })
            },
            || {
                let mut line = format!("{:<36} {:<10} {kind:<10} {state}", id.as_str(), locked.version.to_string());
                for remark in remarks(locked, held) {
                    line = format!("{line}; {remark}");
                }
                line
            },
        );
    }
    for (id, held) in lock.held.iter().filter(|(id, _)| !lock.plugins.contains_key(id.as_str())) {
        out.result(
            json,
            || serde_json::json!({ "id": id, "version": held.version, "state": "held", "bundle": held.bundle, "asks": held.asks }),
            || {
                let version = held.version.to_string();
                format!("{:<36} {version:<10} {:<10} held; `fondaco plugin update {id} --grant all` installs it", id.as_str(), "")
            },
        );
    }
    if lock.plugins.is_empty() && lock.held.is_empty() && !json {
        out.note("no plugin is installed: `fondaco plugin install <bundle>`");
    }
    Ok(())
}

/// One word for how an installed plugin is.
fn state(node: &Node, id: &PluginId) -> Done<&'static str> {
    Ok(match (node.market.plugin(id.as_str()), plugins::config_of(&node.folder, id)?.enabled) {
        (Some(_), _) => "running",
        (None, false) => "disabled",
        (None, true) => "failed",
    })
}

/// The version that was gone back from, and why.
fn left(locked: &LockedPlugin) -> Option<serde_json::Value> {
    let previous = locked.previous.as_ref()?;
    let why = previous.left.as_ref()?;
    Some(serde_json::json!({ "version": previous.version, "why": why }))
}

fn remarks(locked: &LockedPlugin, held: Option<&Held>) -> Vec<String> {
    let mut remarks = Vec::new();
    if locked.pinned {
        remarks.push("pinned".into());
    }
    if locked.trial {
        remarks.push("on trial".into());
    }
    if let Some(previous) = &locked.previous {
        remarks.extend(previous.left.as_ref().map(|why| format!("went back from {}: {why}", previous.version)));
    }
    if let Some(held) = held {
        remarks.push(format!("{} is held, since it asks for more", held.version));
    }
    remarks
}

/// `fondaco plugin info`.
pub async fn info(node: &Node, id: &PluginId, json: bool, out: &Out) -> Done {
    let lock = node.folder.lock()?;
    if !lock.plugins.contains_key(id.as_str())
        && let Some(held) = lock.held.get(id.as_str())
    {
        return new_here(node, &lock, id, held, json, out).await;
    }
    let locked = installed(node, id)?;
    let state = state(node, id)?;
    let verified = plugins::verify_locked(&node.folder, &node.trust().await?, id, &locked)?;
    let (manifest, config) = (&verified.manifest, plugins::config_of(&node.folder, id)?);
    let effective = manifest.capabilities.effective(&config.grant);
    let running = node.market.plugin(id.as_str());
    let counted = running.as_ref().map(|p| p.counters().now()).unwrap_or_default();
    let (calls, failures, peak) = (counted.calls(), counted.failures(), counted.peak_memory);
    let denied: u64 = counted.denied.values().sum();
    let health = running.as_ref().map(|p| p.health().as_str());
    let (fresh, freshness) = crate::registry::freshness(&node.folder, &node.deployment, &locked.bundle);
    let failure = node.places.failure(id).map(|f| f.why);
    let held = lock.held.get(id.as_str());
    out.result(
        json,
        || {
            let limits = running.as_ref().map(|p| {
                let l = p.limits();
                serde_json::json!({ "memory": l.memory_bytes, "deadline-ms": l.deadline.as_millis(), "wall-ms": l.wall.as_millis(), "storage": l.storage_bytes })
            });
            serde_json::json!({
                "id": id, "version": locked.version, "publisher": verified.publisher, "running": running.is_some(),
                "state": state, "failure": failure, "bundle": locked.bundle, "highest": locked.highest,
                "asks": manifest.capabilities, "granted": effective, "limits": limits, "calls": calls, "failures": failures,
                "freshness": freshness, "denied": denied, "peak-memory": peak, "breaker": health,
                "pinned": locked.pinned, "trial": locked.trial, "held": held, "left": left(&locked),
                "previous": locked.previous.as_ref().map(|p| &p.version),
            })
        },
        || {
            let granted: Vec<&str> = effective.0.keys().map(|c| c.as_str()).collect();
            let limits = running.as_ref().map_or_else(String::new, |p| {
                let l = p.limits();
                format!("\nlimits: {} MiB of memory, {:?} running, {:?} in all, {} bytes of storage", l.memory_bytes >> 20, l.deadline, l.wall, l.storage_bytes)
            });
            let breaker = health.filter(|h| *h != "closed").map_or_else(String::new, |h| format!("; its breaker is {h}"));
            let failure = failure.as_ref().map_or_else(String::new, |why| format!("\nwhat was tried last failed: {why}"));
            let remarks = remarks(&locked, held).iter().fold(String::new(), |all, remark| all + "\n" + remark);
            let before = locked.previous.as_ref().filter(|p| p.left.is_none());
            let before = before.map_or_else(String::new, |p| format!("\nthe version before is kept: {}", p.version));
            let more = held.map_or_else(String::new, |held| format!(
                "\n{} asks beyond that to:\n  {}\n`fondaco plugin update {id} --grant all` takes it in", held.version, held.asks.join("\n  ")
            ));
            format!(
                "{id} {} ({}), signed by {}, {state}\nasks to:\n{}\ngranted: {}{limits}\n{fresh}\n{calls} calls, {failures} failed, {denied} denied; at most {} KiB of memory{breaker}{failure}{remarks}{before}{more}",
                locked.version,
                manifest.kind.as_str(),
                verified.publisher,
                asks(manifest),
                granted.join(", "),
                peak.div_ceil(1024),
            )
        },
    );
    Ok(())
}

/// A plugin that is not installed yet.
async fn new_here(node: &Node, lock: &Lock, id: &PluginId, held: &Held, json: bool, out: &Out) -> Done {
    let path = plugins::held_bundle(node, lock, id).unwrap_or_default();
    let verified = plugins::verify(&path, &node.trust().await?, |_| None)?;
    out.result(
        json,
        || {
            serde_json::json!({
                "id": id, "version": held.version, "publisher": verified.publisher, "running": false, "state": "held",
                "bundle": held.bundle, "asks": verified.manifest.capabilities, "held": held,
            })
        },
        || {
            format!(
                "{id} {} ({}), signed by {}, held\nasks to:\n{}\n`fondaco plugin update {id} --grant all` installs it",
                held.version,
                verified.manifest.kind.as_str(),
                verified.publisher,
                asks(&verified.manifest),
            )
        },
    );
    Ok(())
}

/// `fondaco plugin logs`: what a running node remembers.
pub async fn logs(node: &Node, id: &PluginId, follow: bool, lines: usize, json: bool, out: &Out) -> Done {
    let lock = node.folder.lock()?;
    if !lock.held.contains_key(id.as_str()) {
        installed(node, id)?;
    }
    let book = node.runtime.logbook();
    let mut last = 0;
    let mut most = lines;
    let mut stopping = node.stopping.subscribe();
    loop {
        for line in book.lines(id.as_str(), last, most) {
            last = line.number;
            show(&line, json, out);
        }
        most = MAX_LOG_LINES;
        if !follow || out.is_gone() {
            return Ok(());
        }
        if last == 0 {
            last = book.last(id.as_str());
        }
        tokio::select! {
            biased;
            _ = stopping.wait_for(|s| *s) => return Err(Fail::unavailable("the node stops")),
            () = tokio::time::sleep(FOLLOW) => {}
        }
    }
}

fn show(line: &LogLine, json: bool, out: &Out) {
    let at = OffsetDateTime::from(line.at).format(&Rfc3339).unwrap_or_default();
    let (version, call, level, text) = (&line.version, line.call, line.level.as_str(), &line.text);
    out.result(
        json,
        || serde_json::json!({ "at": at, "version": version, "call": call, "level": level, "text": text }),
        || format!("{at} {level:<5} {version} {call}: {text}"),
    );
}
