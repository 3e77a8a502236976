//! What is wrong with a deployment, and how a node is.

use fondaco_market::Theme;
use fondaco_schemas::Lock;
use fondaco_store::Problem;

use crate::cli::NodeCommand;
use crate::control;
use crate::fail::{Done, Fail, chain};
use crate::folder::{Folder, read_text};
use crate::node::{Node, load_key};
use crate::out::Out;
use crate::plugins;

/// Says everything that is wrong, file by file; a healthy deployment gets one line.
pub async fn check(folder: &Folder, deep: bool, json: bool, out: &Out) -> Done {
    let mut wrong: Vec<String> = Vec::new();
    let deployment = match fondaco_schemas::Deployment::parse(&read_text(&folder.deployment_file())?) {
        Ok(deployment) => Some(deployment),
        Err(problems) => {
            wrong.extend(problems.to_string().lines().map(str::to_owned));
            None
        }
    };
    let trust = folder.trust().map_err(|e| wrong.extend(e.text.lines().map(str::to_owned))).ok();
    let lock = folder.lock().map_err(|e| wrong.extend(e.text.lines().map(str::to_owned))).unwrap_or_default();
    if let Some(deployment) = &deployment {
        for key in [folder.node_key(deployment), folder.publisher_key(deployment)] {
            if let Err(fail) = load_key(&key) {
                wrong.push(fail.text);
            }
        }
        wrong.extend(Theme::read(folder.path(), &deployment.brand).1);
        wrong.extend(crate::swarm::config(deployment, &folder.data(deployment)).err().map(|fail| fail.text));
        if deployment.network.enabled {
            wrong.extend(crate::membership::own(folder, deployment).err().map(|fail| fail.text));
        }
        if deployment.shop.storefront.is_none() && lock.plugins.is_empty() {
            out.note("no plugin is installed yet: `fondaco plugin install <bundle>`");
        }
        let installed = |id: &fondaco_schemas::PluginId| lock.plugins.contains_key(id.as_str());
        for id in deployment.plugins.keys().filter(|id| !installed(id)) {
            wrong.push(format!(
                "[plugins.\"{id}\"] is configured and not installed: `fondaco plugin install <its bundle>`"
            ));
        }
    }
    if let (Some(trust), Some(deployment)) = (&trust, &deployment) {
        check_plugins(folder, trust, &lock, deployment, &mut wrong);
    }
    if deep && let Some(deployment) = &deployment {
        let command = NodeCommand::DeepCheck;
        let done = match control::ask(&folder.socket(deployment), &command, json, out).await {
            Some(done) => done,
            None => match Node::open(folder.clone(), None).await {
                Ok(node) => {
                    let done = super::run(&node, command, json, out).await;
                    node.close().await;
                    done
                }
                Err(fail) => Err(fail),
            },
        };
        if let Err(fail) = done {
            wrong.extend(fail.text.lines().map(str::to_owned));
        }
    }
    wrong.sort();
    wrong.dedup();
    if wrong.is_empty() {
        out.result(json, || serde_json::json!({ "ok": true, "problems": [] }), || "all is well".into());
        return Ok(());
    }
    if json {
        out.result(json, || serde_json::json!({ "ok": false, "problems": wrong }), String::new);
    }
    Err(Fail::failed(wrong.join("\n")))
}

fn check_plugins(
    folder: &Folder,
    trust: &fondaco_trust::TrustStore,
    lock: &Lock,
    deployment: &fondaco_schemas::Deployment,
    wrong: &mut Vec<String>,
) {
    for (id, locked) in &lock.plugins {
        let verified = match plugins::verify_locked(folder, trust, id, locked) {
            Ok(verified) => verified,
            Err(fail) => {
                wrong.push(fail.text);
                continue;
            }
        };
        let config = deployment.plugins.get(id.as_str()).cloned().unwrap_or_default();
        for missing in verified.manifest.capabilities.missing(&config.grant) {
            wrong.push(format!("[plugins.\"{id}\"]: {missing}"));
        }
        if !config.version.matches(&locked.version) {
            wrong.push(format!(
                "[plugins.\"{id}\"]: version {} is installed, and {} is wanted",
                locked.version, config.version
            ));
        }
    }
}

/// Verifies every byte and the log's chain.
pub async fn deep(node: &Node, json: bool, out: &Out) -> Done {
    let store = node.market.store().clone();
    let report = tokio::task::spawn_blocking(move || store.verify_all(&|_| {})).await.map_err(Fail::failed)?;
    let mut wrong = Vec::new();
    for fault in &report.faults {
        let uses = node.market.ledger().file_uses(fault.hash).await?;
        let place = uses.first().map_or_else(String::new, |u| format!(" ({} of {})", u.file.path, u.work.slug()));
        let what = match &fault.problem {
            Problem::Corrupt { offset, part } => format!("is corrupt from byte {offset} on ({part:?})"),
            Problem::Quarantined => "was found corrupt before and is in quarantine".into(),
            Problem::Missing => "is missing".into(),
            Problem::ReferenceChanged { path, what } => format!("is kept in place, and {} {what}", path.display()),
            Problem::Unreadable { why } => format!("cannot be read: {why}"),
            other => format!("is not whole ({other:?})"),
        };
        wrong.push(format!("blob {}{place} {what}; publish its work again to restore it", fault.hash));
    }
    match node.market.ledger().verify_chain().await {
        Ok(head) => out.result(
            json,
            || serde_json::json!({ "blobs": report.whole, "bytes": report.bytes, "events": head.seq }),
            || format!("{} blobs ({} bytes) are whole, {} events are chained", report.whole, report.bytes, head.seq),
        ),
        Err(error) => wrong.push(chain(&error)),
    }
    wrong.extend(node.market.ledger().integrity_check().await?.into_iter().filter(|line| line != "ok"));
    if wrong.is_empty() { Ok(()) } else { Err(Fail::failed(wrong.join("\n"))) }
}

/// What the node is made of.
pub async fn status(node: &Node, json: bool, out: &Out) -> Done {
    let (store, ledger) = (node.market.store(), node.market.ledger().stats());
    let works = node.market.ledger().count().await?;
    let health = node.market.health().await;
    out.result(
        json,
        || {
            serde_json::json!({
                "brand": node.deployment.brand.name, "url": node.market.base_url(), "works": works,
                "blobs": store.len(), "bytes": store.used_bytes(), "events": ledger.events,
                "plugins": node.market.plugins().iter().map(|p| p.who().to_string()).collect::<Vec<_>>(),
                "healthy": health.is_ok(), "key": node.market.keys().public(),
            })
        },
        || {
            let plugins: Vec<String> = node.market.plugins().iter().map(|p| format!("  {}", p.who())).collect();
            format!(
                "{} at {}\n{works} works, {} blobs of {} bytes, {} events in the log\nplugins:\n{}\n{}",
                node.deployment.brand.name,
                node.market.base_url(),
                store.len(),
                store.used_bytes(),
                ledger.events,
                plugins.join("\n"),
                health.as_ref().err().map_or("healthy", String::as_str),
            )
        },
    );
    Ok(())
}

/// Deletes what no release needs.
pub async fn gc(node: &Node, grace_hours: u64, json: bool, out: &Out) -> Done {
    node.market.unpin_unrecorded().await?;
    let store = node.market.store().clone();
    let grace = std::time::Duration::from_secs(grace_hours.saturating_mul(3600));
    let report = tokio::task::spawn_blocking(move || store.gc(grace)).await.map_err(Fail::failed)??;
    out.result(
        json,
        || serde_json::json!({ "deleted": report.deleted.len(), "bytes": report.bytes, "spared": report.spared }),
        || format!("deleted {} blobs ({} bytes), spared {}", report.deleted.len(), report.bytes, report.spared),
    );
    Ok(())
}
