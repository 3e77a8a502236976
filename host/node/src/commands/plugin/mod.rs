//! `fondaco plugin`. Here: install, verify and the question for consent; the rest is in the files beside.

mod change;
mod show;
mod tool;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use fondaco_schemas::{BlobHash, LockedPlugin, Manifest, PluginId};
use semver::VersionReq;

use crate::cli::Plugin;
use crate::fail::{Done, Fail};
use crate::folder::Folder;
use crate::node::Node;
use crate::out::Out;
use crate::{outbound, plugins};

/// Carries out a command on the node's data.
pub async fn run(node: &Node, command: Plugin, json: bool, out: &Out) -> Done {
    match command {
        Plugin::Install { bundle, grant, allow_rollback, expect, .. } => {
            let grant = grant.unwrap_or_default();
            for path in chosen(&node.folder, &bundle, out)? {
                let manifest = plugins::install(node, &path, &grant, allow_rollback, &expect).await?;
                let (id, version) = (&manifest.id, &manifest.version);
                out.result(
                    json,
                    || serde_json::json!({ "installed": id, "version": version }),
                    || format!("installed {id} {version}"),
                );
            }
            node.market.feed().await?;
            Ok(())
        }
        Plugin::Update { id, from, grant, expect, .. } => {
            change::update(node, id.as_ref(), from.as_deref(), grant.as_deref(), expect, json, out).await
        }
        Plugin::Rollback { id } => change::roll_back(node, &id, json, out).await,
        Plugin::Pin { id, off } => change::pin(node, &id, !off, json, out).await,
        Plugin::Logs { id, follow, lines } => show::logs(node, &id, follow, lines, json, out).await,
        Plugin::Audit { id, limit } => super::audit::audit(node, id.as_ref(), limit, json, out).await,
        // Whoever was started has asked the registries, and needs no node for it.
        Plugin::Search { .. } | Plugin::Outdated { .. } => Ok(()),
        Plugin::List => show::list(node, json, out),
        Plugin::Info { id } => show::info(node, &id, json, out).await,
        Plugin::Verify { bundle } => verify_offline(&node.folder, &bundle, false, json, out).map(|_| ()),
        Plugin::Grant { id, capabilities, revoke } => change::grant(node, &id, &capabilities, revoke, json, out).await,
        Plugin::Enable { id } => change::switch(node, &id, true, json, out).await,
        Plugin::Disable { id } => change::switch(node, &id, false, json, out).await,
        Plugin::Remove { id } => change::remove(node, &id, json, out).await,
        Plugin::Run { id, tool, input, out: file } => {
            tool::run_tool(node, &id, tool, &input, file.as_deref(), json, out).await
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
        Plugin::Update { id, from, registry, grant, expect } => {
            Plugin::Update { id, from: from.map(full), registry, grant, expect }
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

fn installed(node: &Node, id: &PluginId) -> Done<LockedPlugin> {
    let lock = node.folder.lock()?;
    let found = lock.plugins.get(id.as_str()).cloned();
    found.ok_or_else(|| Fail::not_found(format!("{id} is not installed; `fondaco plugin list` shows what is")))
}

fn asks(manifest: &Manifest) -> String {
    let lines = manifest.capabilities.0.iter().map(|(capability, ask)| {
        let quota = ask.quota.map_or_else(String::new, |q| format!(", up to {q}"));
        let hosts: Vec<String> = ask.hosts.iter().map(outbound::shown).collect();
        let hosts = if hosts.is_empty() { String::new() } else { format!(": {}", hosts.join(", ")) };
        let optional = if ask.optional { " (it does without)" } else { "" };
        let reason = ask.reason.as_ref().map_or_else(String::new, |r| format!("\n      \"{r}\""));
        format!("  {:<10} {}{quota}{hosts}{optional}{reason}", capability.as_str(), capability.meaning())
    });
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() { "  nothing".into() } else { lines.join("\n") }
}

/// The bundle itself, or those of a folder.
fn chosen(folder: &Folder, bundle: &Path, out: &Out) -> Done<Vec<PathBuf>> {
    if !bundle.is_dir() {
        return Ok(vec![bundle.to_owned()]);
    }
    let deployment = folder.deployment()?;
    let wanted = |id: &PluginId| deployment.plugins.get(id.as_str()).map_or(VersionReq::STAR, |p| p.version.clone());
    let mut remarks = Vec::new();
    let found = plugins::choose(bundle, None, &folder.trust()?, wanted, &mut remarks);
    for remark in remarks {
        out.note(remark);
    }
    Ok(found?.into_iter().map(|(_, path)| path).collect())
}

/// Shows what bundles ask for and asks the person at the terminal. Without one, `--grant` must say it.
pub fn consent(folder: &Folder, bundle: &Path, allow_rollback: bool, out: &Out) -> Done<(Vec<String>, Vec<BlobHash>)> {
    let mut digests = Vec::new();
    let mut names = std::collections::BTreeSet::new();
    for path in chosen(folder, bundle, out)? {
        let (manifest, digest) = verify_offline(folder, &path, allow_rollback, false, out)?;
        names.extend(manifest.capabilities.0.keys().copied());
        digests.push(digest);
    }
    if names.is_empty() {
        return Ok((Vec::new(), digests));
    }
    if !std::io::stdin().is_terminal() {
        let names: Vec<&str> = names.iter().map(|c| c.as_str()).collect();
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
        return Ok((vec!["all".into()], digests));
    }
    Err(Fail::refused("not installed: nothing was granted"))
}
