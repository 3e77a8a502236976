//! Commands that change what runs: update, roll back, pin, grant, enable, disable, remove.

use std::path::Path;

use fondaco_ledger::PluginAct;
use fondaco_schemas::{BlobHash, Capability, PluginId};

use super::installed;
use crate::fail::{Done, Fail};
use crate::folder::{read_text, replace};
use crate::node::Node;
use crate::out::Out;
use crate::plugins::{self, Outcome, Wish};

/// `fondaco plugin update`. Ends with 3 where something was held, so that a script notices.
pub async fn update(
    node: &Node,
    id: Option<&PluginId>,
    from: Option<&Path>,
    grant: Option<&[String]>,
    expect: Option<BlobHash>,
    json: bool,
    out: &Out,
) -> Done {
    let mut remarks = Vec::new();
    let done = plugins::update(node, &Wish { id, from, grant, expect }, &mut remarks).await;
    for remark in remarks {
        out.note(remark);
    }
    let mut failed = None;
    for (id, outcome) in done? {
        match outcome {
            Ok(Outcome::Updated { from, to }) => out.result(
                json,
                || serde_json::json!({ "id": id, "state": "updated", "version": to, "from": from }),
                || {
                    from.as_ref().map_or_else(
                        || format!("installed {id} {to}"),
                        |from| format!("updated {id} from {from} to {to}"),
                    )
                },
            ),
            Ok(Outcome::Current(version)) => out.result(
                json,
                || serde_json::json!({ "id": id, "state": "current", "version": version }),
                || format!("{id} {version} is what runs already"),
            ),
            Ok(Outcome::Held { version, asks, .. }) => {
                out.result(
                    json,
                    || serde_json::json!({ "id": id, "state": "held", "version": version, "asks": asks }),
                    || format!("held {id} {version}; beyond what was granted, it asks to:\n  {}", asks.join("\n  ")),
                );
                let text = format!("{id} {version} is held: `fondaco plugin update {id} --grant all` takes it in");
                failed.get_or_insert(Fail::refused(text));
            }
            Err(fail) => {
                out.note(format!("{id}: {fail}"));
                failed.get_or_insert(fail);
            }
        }
    }
    node.market.feed().await?;
    failed.map_or(Ok(()), Err)
}

/// `fondaco plugin rollback`.
pub async fn roll_back(node: &Node, id: &PluginId, json: bool, out: &Out) -> Done {
    let (from, to) = plugins::roll_back(node, id).await?;
    out.result(
        json,
        || serde_json::json!({ "id": id, "state": "rolled-back", "version": to, "from": from }),
        || format!("{id} went back from {from} to {to}"),
    );
    Ok(())
}

/// `fondaco plugin pin`.
pub async fn pin(node: &Node, id: &PluginId, on: bool, json: bool, out: &Out) -> Done {
    let version = plugins::pin(node, id, on).await?;
    out.result(
        json,
        || serde_json::json!({ "id": id, "version": version, "pinned": on }),
        || {
            let state = if on { "is pinned to" } else { "is not pinned any more; it runs" };
            format!("{id} {state} {version}")
        },
    );
    Ok(())
}

/// `fondaco plugin grant`.
pub async fn grant(node: &Node, id: &PluginId, names: &[String], revoke: bool, json: bool, out: &Out) -> Done {
    let _one = node.installing.lock().await;
    let locked = installed(node, id)?;
    let trust = node.trust().await?;
    let verified = plugins::verify_locked(&node.folder, &trust, id, &locked)?;
    let all = verified.manifest.capabilities.all();
    let mut config = plugins::config_of(&node.folder, id)?;
    let before = config.grant.clone();
    for name in names {
        let capability: Capability = name.parse().map_err(Fail::usage)?;
        let asked = all.0.get(&capability).ok_or_else(|| Fail::usage(format!("{id} does not ask for {capability}")))?;
        if revoke {
            config.grant.0.remove(&capability);
        } else {
            config.grant.0.insert(capability, asked.clone());
        }
    }
    config.grant = config.grant.on_terms_of(&before);
    plugins::write_config(&node.folder, id, |table| table["grant"] = plugins::grant_item(&config.grant))?;
    let capabilities = config.grant.0.keys().map(ToString::to_string).collect();
    plugins::audit(node, id.as_str(), PluginAct::Granted { capabilities }).await?;
    // What is no longer granted must not run on: without what it needs, the plugin stops.
    let started = plugins::apply(node, &trust, id, &locked, &config).await;
    let held: Vec<&str> = config.grant.0.keys().map(|c| c.as_str()).collect();
    out.result(
        json,
        || serde_json::json!({ "id": id, "granted": config.grant }),
        || format!("{id} is granted: {}", held.join(", ")),
    );
    match started {
        // To stop a plugin by taking away what it needs is what was asked for.
        Err(fail) if revoke => out.note(fail.text),
        started => started?,
    }
    Ok(())
}

/// `fondaco plugin enable` and `disable`.
pub async fn switch(node: &Node, id: &PluginId, on: bool, json: bool, out: &Out) -> Done {
    let _one = node.installing.lock().await;
    let locked = installed(node, id)?;
    let trust = node.trust().await?;
    plugins::write_config(&node.folder, id, |table| table["enabled"] = toml_edit::value(on))?;
    let act = if on { PluginAct::Enabled } else { PluginAct::Disabled { reason: "by the operator".into() } };
    plugins::audit(node, id.as_str(), act).await?;
    plugins::apply(node, &trust, id, &locked, &plugins::config_of(&node.folder, id)?).await?;
    let state = if on { "enabled" } else { "disabled" };
    out.result(json, || serde_json::json!({ "id": id, "state": state }), || format!("{id} is {state}"));
    Ok(())
}

/// `fondaco plugin remove`: an installed plugin, or one that is new here and held.
pub async fn remove(node: &Node, id: &PluginId, json: bool, out: &Out) -> Done {
    let _one = node.installing.lock().await;
    let mut lock = node.folder.lock()?;
    if !lock.held.contains_key(id.as_str()) {
        installed(node, id)?;
    }
    plugins::audit(node, id.as_str(), PluginAct::Removed).await?;
    // First what lets it run: a bundle that a crash leaves behind is held then, and not taken in again.
    let path = node.folder.deployment_file();
    let mut document: toml_edit::DocumentMut = read_text(&path)?.parse().map_err(Fail::failed)?;
    let table = document.get_mut("plugins").and_then(toml_edit::Item::as_table_mut);
    if table.is_some_and(|table| table.remove(id.as_str()).is_some()) {
        replace(&path, document.to_string().as_bytes(), 0o644)?;
    }
    plugins::remove(node, &mut lock, id)?;
    out.result(
        json,
        || serde_json::json!({ "removed": id }),
        || format!("removed {id} and its part of fondaco.toml; its data stays for when it comes back"),
    );
    Ok(())
}
