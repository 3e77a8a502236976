//! Back to the version before, by the operator or because the new one's first calls fail; and pins. The way back changes
//! `fondaco.lock` alone, which is written once: whatever kills the node, the one or the other version is there.

use fondaco_ledger::PluginAct;
use fondaco_schemas::{Lock, LockedPlugin, PluginId};
use semver::Version;

use super::bundle::{bundle_path, verify_named};
use super::install::{audit, pinned};
use super::{config_of, place, start};
use crate::fail::{Done, Fail};
use crate::node::Node;

/// The installed plugin of an id.
fn installed(lock: &Lock, id: &PluginId) -> Done<LockedPlugin> {
    let found = lock.plugins.get(id.as_str()).cloned();
    found.ok_or_else(|| Fail::not_found(format!("{id} is not installed; `fondaco plugin list` shows what is")))
}

/// Goes back to the version before, since the operator says so; gives the version that was left and the one that runs.
pub async fn roll_back(node: &Node, id: &PluginId) -> Done<(Version, Version)> {
    let _one = node.installing.lock().await;
    let mut lock = node.folder.lock()?;
    let locked = installed(&lock, id)?;
    if locked.pinned {
        return Err(pinned(id, &locked.version));
    }
    go_back(node, &mut lock, id, "by the operator".into()).await
}

/// Goes back to the version before. The highest version that was accepted stays what it was: nothing between the two can
/// be slipped in afterwards.
pub async fn go_back(node: &Node, lock: &mut Lock, id: &PluginId, why: String) -> Done<(Version, Version)> {
    let locked = installed(lock, id)?;
    let Some(before) = locked.previous.clone() else {
        return Err(Fail::not_found(format!("{id} has no version before {}: nothing to go back to", locked.version)));
    };
    if let Some(left) = &before.left {
        let path = bundle_path(&node.folder, id, &before.version, &before.bundle);
        return Err(Fail::refused(format!(
            "{id} went back already, from {} ({left}); `fondaco plugin update {id} --from {}` takes that version again",
            before.version,
            path.display()
        )));
    }
    let trust = node.trust().await?;
    let verified = verify_named(&node.folder, &trust, id, &before.version, &before.bundle)?;
    let config = config_of(&node.folder, id)?;
    let ready = start::start(node, verified, &config).await?;
    let (from, to) = (locked.version.clone(), before.version.clone());
    let act = PluginAct::RolledBack { from: from.clone(), to: to.clone(), reason: why.clone() };
    audit(node, id.as_str(), act).await?;
    let back = LockedPlugin {
        version: before.version,
        highest: locked.highest.clone(),
        bundle: before.bundle,
        consent: before.consent,
        signers: before.signers,
        pinned: locked.pinned,
        trial: false,
        granted: before.granted,
        previous: Some(locked.into_previous(Some(why))),
    };
    lock.plugins.insert(id.clone(), back);
    node.folder.write_lock(lock)?;
    if config.enabled {
        place::put(node, id, ready, false);
    }
    Ok((from, to))
}

/// Keeps the version that runs, or lets others in again; gives it.
pub async fn pin(node: &Node, id: &PluginId, on: bool) -> Done<Version> {
    let _one = node.installing.lock().await;
    let mut lock = node.folder.lock()?;
    let mut locked = installed(&lock, id)?;
    let version = locked.version.clone();
    if locked.pinned != on {
        let act = if on { PluginAct::Pinned { version: version.clone() } } else { PluginAct::Unpinned };
        audit(node, id.as_str(), act).await?;
        locked.pinned = on;
        lock.plugins.insert(id.clone(), locked);
        node.folder.write_lock(&lock)?;
    }
    Ok(version)
}
