//! A bundle comes in: verify, consent, try, write, swap. Also the writing half of every update.

use std::path::Path;

use fondaco_ledger::{PluginAct, PluginChange};
use fondaco_schemas::{BlobHash, Grants, Lock, LockedPlugin, Manifest};
use fondaco_trust::Verified;
use time::OffsetDateTime;

use super::bundle::{consent, forget, highest, keep, named};
use super::config::{config_of, grant_item, granted, write_config};
use super::{place, start, verify};
use crate::fail::{Done, Fail};
use crate::node::Node;

/// Installs a bundle.
///
/// `expect`: the digests of the bundles that were consented to, where somebody was asked.
pub async fn install(
    node: &Node,
    path: &Path,
    grant: &[String],
    allow_rollback: bool,
    expect: &[BlobHash],
) -> Done<Manifest> {
    let _one = node.installing.lock().await;
    let (trust, mut lock) = (node.trust().await?, node.folder.lock()?);
    let highest = if allow_rollback { None } else { Some(highest(node, &lock).await?) };
    let verified = match verify(path, &trust, |id| highest.and_then(|h| h.get(id.as_str()).cloned())) {
        Ok(verified) => verified,
        Err(fail) => {
            denied(node, "unknown", &fail).await?;
            return Err(fail);
        }
    };
    if !expect.is_empty() && !expect.contains(&verified.bundle_hash) {
        return Err(Fail::refused(format!("{} was changed after you were asked; install it again", path.display())));
    }
    let config = config_of(&node.folder, &verified.manifest.id)?;
    let grants = granted(&verified.manifest, grant, &config.grant)?;
    take_in(node, &mut lock, verified, grants).await
}

/// Takes a verified bundle in, in place of the version that runs. `grants` is what fondaco.toml will say of it. Whatever
/// is wrong with it shows before anything is written; `fondaco.lock` is written last.
pub async fn take_in(node: &Node, lock: &mut Lock, verified: Verified, grants: Grants) -> Done<Manifest> {
    let manifest = verified.manifest.clone();
    let (id, bundle) = (&manifest.id, verified.bundle_hash);
    let before = lock.plugins.get(id.as_str()).cloned();
    if let Some(before) = before.as_ref().filter(|b| b.pinned && b.bundle != bundle) {
        return Err(pinned(id, &before.version));
    }
    let mut config = config_of(&node.folder, id)?;
    let had = std::mem::replace(&mut config.grant, grants.clone());
    let signers = verified.signers.clone();
    let ready = start::start(node, verified, &config).await?;

    keep(&node.folder, &ready.verified)?;
    if had != grants {
        // More than before, never less: until the lock names the new version, the old one finds its grants as well.
        write_config(&node.folder, id, |table| table["grant"] = grant_item(&grants))?;
    }
    let was_named = named(lock, id);
    let highest = before.as_ref().map_or(&manifest.version, |b| (&b.highest).max(&manifest.version)).clone();
    let (pinned, previous) = match before {
        // The same once more: what was before it stays.
        Some(same) if same.bundle == bundle => (same.pinned, same.previous),
        other => (false, other.map(|b| b.into_previous(None))),
    };
    let on_trial = previous.as_ref().is_some_and(|p| p.left.is_none());
    let effective = manifest.capabilities.effective(&grants);
    let act = PluginAct::Installed { version: manifest.version.clone(), bundle: bundle.to_string() };
    audit(node, id.as_str(), act).await?;
    let capabilities = effective.0.keys().map(ToString::to_string).collect();
    audit(node, id.as_str(), PluginAct::Granted { capabilities }).await?;
    let locked = LockedPlugin {
        version: manifest.version.clone(),
        highest,
        bundle,
        consent: consent(&manifest.capabilities),
        signers,
        pinned,
        trial: on_trial,
        granted: effective,
        previous,
    };
    lock.plugins.insert(id.clone(), locked);
    if lock.held.get(id.as_str()).is_some_and(|held| held.version <= manifest.version) {
        lock.held.remove(id.as_str());
    }
    node.folder.write_lock(lock)?;
    forget(&node.folder, id, &was_named, lock);
    if config.enabled {
        place::put(node, id, ready, on_trial);
    }
    Ok(manifest)
}

/// A plugin that is pinned keeps its version.
pub fn pinned(id: &fondaco_schemas::PluginId, version: &semver::Version) -> Fail {
    Fail::refused(format!("{id} is pinned to {version}: `fondaco plugin pin {id} --off` lets other versions in"))
}

/// Appends to the log that a bundle was refused.
pub async fn denied(node: &Node, plugin: &str, fail: &Fail) -> Done {
    audit(node, plugin, PluginAct::Denied { reason: fail.text.chars().take(2_000).collect() }).await
}

/// Appends to the log what was done with a plugin.
pub async fn audit(node: &Node, plugin: &str, act: PluginAct) -> Done {
    let change = PluginChange { plugin: plugin.to_owned(), act };
    Ok(node.market.ledger().record_plugin(change, OffsetDateTime::now_utc()).await?)
}

/// Removes a plugin from the lock file, from its place and from `plugins/`, with all its versions. Its data stays.
pub fn remove(node: &Node, lock: &mut Lock, id: &fondaco_schemas::PluginId) -> Done {
    let was_named = named(lock, id);
    lock.plugins.remove(id.as_str());
    lock.held.remove(id.as_str());
    node.folder.write_lock(lock)?;
    place::take_out(node, id, place::DRAIN);
    node.places.set_failure(id, None);
    node.runtime.logbook().forget(id.as_str());
    forget(&node.folder, id, &was_named, lock);
    Ok(())
}
