//! `fondaco plugin`: install, show, grant, switch, remove, and run a plugin's tools.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use fondaco_ledger::PluginAct;
use fondaco_schemas::{BlobHash, Capability, Manifest, PluginId};

use crate::cli::Plugin;
use crate::fail::{Done, Fail};
use crate::folder::{Folder, replace};
use crate::node::Node;
use crate::out::{Out, Said};
use crate::plugins;

/// Carries out a command on the node's data.
pub async fn run(node: &Node, command: Plugin, json: bool, out: &Out) -> Done {
    match command {
        Plugin::Install { bundle, grant, allow_rollback, expect, .. } => {
            let manifest = plugins::install(node, &bundle, &grant.unwrap_or_default(), allow_rollback, expect).await?;
            let (id, version) = (&manifest.id, &manifest.version);
            out.result(
                json,
                || serde_json::json!({ "installed": id, "version": version }),
                || format!("installed {id} {version}"),
            );
            node.market.feed().await?;
            Ok(())
        }
        // Whoever was started has asked the registries, and needs no node for it.
        Plugin::Search { .. } | Plugin::Outdated { .. } => Ok(()),
        Plugin::List => list(node, json, out),
        Plugin::Info { id } => info(node, &id, json, out),
        Plugin::Audit { id, limit } => super::audit::audit(node, id.as_ref(), limit, json, out).await,
        Plugin::Verify { bundle } => verify_offline(&node.folder, &bundle, false, json, out).map(|_| ()),
        Plugin::Grant { id, capabilities, revoke } => grant(node, &id, &capabilities, revoke, json, out).await,
        Plugin::Enable { id } => switch(node, &id, true, json, out).await,
        Plugin::Disable { id } => switch(node, &id, false, json, out).await,
        Plugin::Remove { id } => remove(node, &id, json, out).await,
        Plugin::Run { id, tool, input, out: file } => {
            run_tool(node, &id, tool, &input, file.as_deref(), json, out).await
        }
    }
}

/// The same command with absolute paths, since the running node has another working folder.
pub fn absolute(command: Plugin) -> Plugin {
    let full = |p: PathBuf| std::path::absolute(&p).unwrap_or(p);
    match command {
        Plugin::Install { bundle, registry, grant, allow_rollback, expect } => {
            Plugin::Install { bundle: full(bundle), registry, grant, allow_rollback, expect }
        }

        Plugin::Verify { bundle } => Plugin::Verify { bundle: full(bundle) },
        Plugin::Run { id, tool, input, out } => Plugin::Run { id, tool, input, out: out.map(full) },
        other => other,
    }
}

/// Verifies a bundle and says what it asks for. Needs no data, so it works beside a running node.
pub fn verify_offline(
    folder: &Folder,
    bundle: &Path,
    allow_rollback: bool,
    json: bool,
    out: &Out,
) -> Done<(Manifest, BlobHash)> {
    let lock = folder.lock()?;
    let locked = |id: &PluginId| lock.plugins.get(id.as_str()).map(|p| p.highest.clone());
    let highest = |id: &PluginId| if allow_rollback { None } else { locked(id) };
    let verified = plugins::verify(bundle, &folder.trust()?, highest)?;
    let manifest = verified.manifest.clone();
    out.result(
        json,
        || {
            serde_json::json!({
                "id": manifest.id, "version": manifest.version, "kind": manifest.kind.as_str(),
                "publisher": verified.publisher, "signers": verified.signers, "bundle": verified.bundle_hash,
                "capabilities": manifest.capabilities,
            })
        },
        || {
            let text = manifest.text_in("en");
            format!(
                "{} {} ({}), signed by {}\n{}\nasks to:\n{}",
                manifest.id,
                manifest.version,
                manifest.kind.as_str(),
                verified.publisher,
                text.map_or_else(String::new, |t| format!("{}: {}", t.name, t.summary)),
                asks(&manifest)
            )
        },
    );
    Ok((manifest, verified.bundle_hash))
}

fn asks(manifest: &Manifest) -> String {
    let lines = manifest.capabilities.0.iter().map(|(capability, ask)| {
        let quota = ask.quota.map_or_else(String::new, |q| format!(", up to {q}"));
        let hosts: Vec<String> = ask.hosts.iter().map(ToString::to_string).collect();
        let hosts = if hosts.is_empty() { String::new() } else { format!(": {}", hosts.join(", ")) };
        let optional = if ask.optional { " (it does without)" } else { "" };
        let reason = ask.reason.as_ref().map_or_else(String::new, |r| format!("\n      \"{r}\""));
        format!("  {:<10} {}{quota}{hosts}{optional}{reason}", capability.as_str(), capability.meaning())
    });
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() { "  nothing".into() } else { lines.join("\n") }
}

/// Shows what a bundle asks for and asks the person at the terminal. Without one, `--grant` must say it.
pub fn consent(folder: &Folder, bundle: &Path, allow_rollback: bool, out: &Out) -> Done<(Vec<String>, BlobHash)> {
    let (manifest, digest) = verify_offline(folder, bundle, allow_rollback, false, out)?;
    if manifest.capabilities.0.is_empty() {
        return Ok((Vec::new(), digest));
    }
    if !std::io::stdin().is_terminal() {
        let names: Vec<&str> = manifest.capabilities.0.keys().map(|c| c.as_str()).collect();
        return Err(Fail::refused(format!(
            "nobody is here to be asked: add --grant all, or --grant {}",
            names.join(",")
        )));
    }
    let mut stderr = std::io::stderr();
    let _ = write!(stderr, "Grant all of this and install it? [y/N] ");
    let _ = stderr.flush();
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(Fail::failed)?;
    if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        return Ok((vec!["all".into()], digest));
    }
    Err(Fail::refused("not installed: nothing was granted"))
}

fn list(node: &Node, json: bool, out: &Out) -> Done {
    let lock = node.folder.lock()?;
    for (id, locked) in &lock.plugins {
        let running = node.market.plugin(id.as_str());
        let state = match (&running, plugins::config_of(&node.folder, id)?.enabled) {
            (Some(_), _) => "running",
            (None, false) => "disabled",
            (None, true) => "failed",
        };
        let kind = running.as_ref().map_or("", |p| p.kind().as_str());
        out.result(
            json,
            || serde_json::json!({ "id": id, "version": locked.version, "kind": kind, "state": state, "bundle": locked.bundle }),
            || format!("{:<36} {:<10} {kind:<10} {state}", id.as_str(), locked.version.to_string()),
        );
    }
    if lock.plugins.is_empty() && !json {
        out.note("no plugin is installed: `fondaco plugin install <bundle>`");
    }
    Ok(())
}

fn installed(node: &Node, id: &PluginId) -> Done<fondaco_schemas::LockedPlugin> {
    let lock = node.folder.lock()?;
    let found = lock.plugins.get(id.as_str()).cloned();
    found.ok_or_else(|| Fail::not_found(format!("{id} is not installed; `fondaco plugin list` shows what is")))
}

fn info(node: &Node, id: &PluginId, json: bool, out: &Out) -> Done {
    let locked = installed(node, id)?;
    let verified = plugins::verify_locked(&node.folder, &node.folder.trust()?, id, &locked)?;
    let (manifest, config) = (&verified.manifest, plugins::config_of(&node.folder, id)?);
    let effective = manifest.capabilities.effective(&config.grant);
    let (fresh, freshness) = crate::registry::freshness(&node.folder, &node.deployment, &locked.bundle);
    let running = node.market.plugin(id.as_str());
    let counted = running.as_ref().map(|p| p.counters().now()).unwrap_or_default();
    let (calls, failures) = (counted.calls(), counted.failures());
    out.result(
        json,
        || {
            let limits = running.as_ref().map(|p| {
                let l = p.limits();
                serde_json::json!({ "memory": l.memory_bytes, "deadline-ms": l.deadline.as_millis(), "wall-ms": l.wall.as_millis(), "storage": l.storage_bytes })
            });
            serde_json::json!({
                "id": id, "version": locked.version, "publisher": verified.publisher, "running": running.is_some(),
                "asks": manifest.capabilities, "granted": effective, "limits": limits, "calls": calls, "failures": failures, "freshness": freshness,
            })
        },
        || {
            let granted: Vec<&str> = effective.0.keys().map(|c| c.as_str()).collect();
            let limits = running.as_ref().map_or_else(String::new, |p| {
                let l = p.limits();
                format!("\nlimits: {} MiB of memory, {:?} running, {:?} in all, {} bytes of storage", l.memory_bytes >> 20, l.deadline, l.wall, l.storage_bytes)
            });
            format!(
                "{id} {} ({}), signed by {}, {}\nasks to:\n{}\ngranted: {}{limits}\n{fresh}\n{calls} calls, {failures} failed",
                locked.version,
                manifest.kind.as_str(),
                verified.publisher,
                if running.is_some() { "running" } else { "not running" },
                asks(manifest),
                granted.join(", "),
            )
        },
    );
    Ok(())
}

async fn grant(node: &Node, id: &PluginId, names: &[String], revoke: bool, json: bool, out: &Out) -> Done {
    let _one = node.installing.lock().await;
    let locked = installed(node, id)?;
    let trust = node.folder.trust()?;
    let verified = plugins::verify_locked(&node.folder, &trust, id, &locked)?;
    let all = verified.manifest.capabilities.all();
    let mut config = plugins::config_of(&node.folder, id)?;
    for name in names {
        let capability: Capability = name.parse().map_err(Fail::usage)?;
        let asked = all.0.get(&capability).ok_or_else(|| Fail::usage(format!("{id} does not ask for {capability}")))?;
        if revoke {
            config.grant.0.remove(&capability);
        } else {
            config.grant.0.insert(capability, asked.clone());
        }
    }
    let granted = config.grant.clone();
    plugins::write_config(&node.folder, id, |table| table["grant"] = plugins::grant_item(&granted))?;
    let capabilities = granted.0.keys().map(ToString::to_string).collect();
    plugins::audit(node, id.as_str(), PluginAct::Granted { capabilities }).await?;
    // What is no longer granted must not run on: without what it needs, the plugin stops.
    node.market.remove(id);
    let started = plugins::load_locked(node, &trust, id, &locked).await;
    let held: Vec<&str> = granted.0.keys().map(|c| c.as_str()).collect();
    out.result(
        json,
        || serde_json::json!({ "id": id, "granted": granted }),
        || format!("{id} is granted: {}", held.join(", ")),
    );
    match started {
        // To stop a plugin by taking away what it needs is what was asked for.
        Err(fail) if revoke => out.note(fail.text),
        started => started?,
    }
    Ok(())
}

async fn switch(node: &Node, id: &PluginId, on: bool, json: bool, out: &Out) -> Done {
    let _one = node.installing.lock().await;
    let locked = installed(node, id)?;
    plugins::write_config(&node.folder, id, |table| table["enabled"] = toml_edit::value(on))?;
    let act = if on { PluginAct::Enabled } else { PluginAct::Disabled { reason: "by the operator".into() } };
    plugins::audit(node, id.as_str(), act).await?;
    if on {
        plugins::load_locked(node, &node.folder.trust()?, id, &locked).await?;
    } else {
        node.market.remove(id);
    }
    let state = if on { "enabled" } else { "disabled" };
    out.result(json, || serde_json::json!({ "id": id, "state": state }), || format!("{id} is {state}"));
    Ok(())
}

async fn remove(node: &Node, id: &PluginId, json: bool, out: &Out) -> Done {
    let _one = node.installing.lock().await;
    let locked = installed(node, id)?;
    let mut lock = node.folder.lock()?;
    lock.plugins.remove(id.as_str());
    plugins::audit(node, id.as_str(), PluginAct::Removed).await?;
    node.folder.write_lock(&lock)?;
    node.market.remove(id);
    let path = plugins::bundle_path(&node.folder, id, &locked.version, &locked.bundle);
    let _ = std::fs::remove_file(&path);
    let path = node.folder.deployment_file();
    let mut document: toml_edit::DocumentMut = crate::folder::read_text(&path)?.parse().map_err(Fail::failed)?;
    if let Some(table) = document.get_mut("plugins").and_then(toml_edit::Item::as_table_mut) {
        table.remove(id.as_str());
    }
    replace(&path, document.to_string().as_bytes(), 0o644)?;
    out.result(
        json,
        || serde_json::json!({ "removed": id }),
        || format!("removed {id} and its part of fondaco.toml; its data stays for when it comes back"),
    );
    Ok(())
}

async fn run_tool(
    node: &Node,
    id: &PluginId,
    tool: Option<String>,
    input: &[String],
    file: Option<&Path>,
    json: bool,
    out: &Out,
) -> Done {
    let plugin = node.market.plugin(id.as_str()).ok_or_else(|| Fail::unavailable(format!("{id} is not running")))?;
    let tools = plugin.tools().await?;
    let Some(name) = tool else {
        for tool in &tools {
            let parameters: Vec<String> = tool
                .parameters
                .iter()
                .map(|p| format!("\n      {}{} {}", p.name, if p.required { "" } else { " (optional)" }, p.summary))
                .collect();
            out.result(
                json,
                || serde_json::json!({ "tool": tool.name, "summary": tool.summary, "parameters": tool.parameters.iter().map(|p| &p.name).collect::<Vec<_>>() }),
                || format!("  {} – {}{}", tool.name, tool.summary, parameters.concat()),
            );
        }
        if tools.is_empty() && !json {
            out.note(format!("{id} has no tools"));
        }
        return Ok(());
    };
    let known: Vec<&str> = tools.iter().map(|t| t.name.as_str()).collect();
    let tool = tools.iter().find(|t| t.name == name);
    let tool =
        tool.ok_or_else(|| Fail::not_found(format!("{id} has no tool {name:?}; it has: {}", known.join(", "))))?;
    let mut pairs = Vec::new();
    for pair in input {
        let (key, value) = pair.split_once('=').ok_or_else(|| Fail::usage(format!("write {pair:?} as name=value")))?;
        if !tool.parameters.iter().any(|p| p.name == key) {
            let names: Vec<&str> = tool.parameters.iter().map(|p| p.name.as_str()).collect();
            return Err(Fail::usage(format!("{name} has no parameter {key:?}; it has: {}", names.join(", "))));
        }
        pairs.push((key.to_owned(), value.to_owned()));
    }
    if let Some(missing) = tool.parameters.iter().find(|p| p.required && !pairs.iter().any(|(k, _)| *k == p.name)) {
        return Err(Fail::usage(format!("{name} needs {}=…: {}", missing.name, missing.summary)));
    }
    let made = plugin.run_tool(name, pairs).await?;
    let document = made.map_err(|e| Fail::failed(format!("{id}: {}", fondaco_market::words(&e))))?;
    match file {
        Some(path) => {
            replace(path, &document.body, 0o600)?;
            out.result(
                json,
                || serde_json::json!({ "file": path, "media-type": document.media_type }),
                || format!("wrote {} ({})", path.display(), document.media_type),
            );
        }
        None => out.say(Said::Bytes(document.body)),
    }
    Ok(())
}
