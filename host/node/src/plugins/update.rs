//! From one version to the next. A version that asks for more than was consented to is held: the one before keeps
//! serving, and what is new is shown in words until the operator grants it.

use std::path::{Path, PathBuf};

use fondaco_ledger::PluginAct;
use fondaco_schemas::lock::{Held, Previous, beyond};
use fondaco_schemas::{BlobHash, Grants, Lock, LockedPlugin, Manifest, PluginId, PluginKind};
use fondaco_trust::{TrustStore, Verified};
use semver::{Version, VersionReq};

use super::bundle::{bundle_path, forget, highest, keep, named, verify, verify_locked};
use super::config::{config_of, granted};
use super::install::{audit, denied, pinned, take_in};
use super::source::choose;
use crate::fail::{Done, Fail};
use crate::node::Node;

/// What became of a bundle that was offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It runs.
    Updated {
        /// In place of this version; none: it is new here.
        from: Option<Version>,
        /// This one.
        to: Version,
    },
    /// It waits for the operator's consent.
    Held {
        /// Which version.
        version: Version,
        /// What it asks for beyond what was consented to.
        asks: Vec<String>,
        /// It was held before.
        again: bool,
    },
    /// It is what runs already.
    Current(Version),
}

/// Who brings a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The operator, by a command.
    Operator,
    /// It lay in `plugins/`.
    Drop,
}

/// What an update is asked to do.
pub struct Wish<'a> {
    /// Of this plugin only; none: of all that are installed.
    pub id: Option<&'a PluginId>,
    /// A file or a folder; none: what is held.
    pub from: Option<&'a Path>,
    /// `all`, or names of capabilities; none: hold what asks for more.
    pub grant: Option<&'a [String]>,
    /// Only this bundle.
    pub expect: Option<BlobHash>,
}

/// Updates plugins; what became of each. A registry's bundles come in the same way once they lie in a file.
pub async fn update(node: &Node, wish: &Wish<'_>, remarks: &mut Vec<String>) -> Done<Vec<(PluginId, Done<Outcome>)>> {
    let _one = node.installing.lock().await;
    let trust = node.trust().await?;
    let mut lock = node.folder.lock()?;
    if let Some(id) = wish.id.filter(|id| named(&lock, id).is_empty()) {
        return Err(Fail::not_found(format!("{id} is not installed: `fondaco plugin install <its bundle>`")));
    }
    let mut done = Vec::new();
    for (id, path) in candidates(node, &lock, &trust, wish, remarks)? {
        let outcome = one(node, &mut lock, &trust, &path, wish).await;
        done.push((id, outcome));
    }
    Ok(done)
}

fn candidates(
    node: &Node,
    lock: &Lock,
    trust: &TrustStore,
    wish: &Wish<'_>,
    remarks: &mut Vec<String>,
) -> Done<Vec<(PluginId, PathBuf)>> {
    let Some(from) = wish.from else {
        let held = lock.held.iter().filter(|(id, _)| wish.id.is_none_or(|only| only == *id));
        let held: Vec<_> = held.map(|(id, _)| (id.clone(), held_bundle(node, lock, id))).collect();
        if held.is_empty() {
            let what = wish.id.map_or_else(String::new, |id| format!(" of {id}"));
            return Err(Fail::not_found(format!(
                "no newer version{what} is held here: name a bundle, or a folder of them, with --from"
            )));
        }
        return Ok(held.into_iter().filter_map(|(id, path)| path.map(|path| (id, path))).collect());
    };
    let deployment = node.folder.deployment()?;
    let wanted = |id: &PluginId| deployment.plugins.get(id.as_str()).map_or(VersionReq::STAR, |p| p.version.clone());
    let mut found = choose(from, wish.id, trust, wanted, remarks)?;
    if from.is_dir() {
        found.retain(|(id, _)| lock.plugins.contains_key(id.as_str()));
    }
    match found.first() {
        None => Err(Fail::not_found(format!("{} holds no bundle of an installed plugin", from.display()))),
        Some((id, _)) if found.len() == 1 && named(lock, id).is_empty() => {
            Err(Fail::not_found(format!("{id} is not installed: `fondaco plugin install {}`", from.display())))
        }
        Some(_) => Ok(found),
    }
}

/// Where the held bundle of a plugin lies.
pub fn held_bundle(node: &Node, lock: &Lock, id: &PluginId) -> Option<PathBuf> {
    lock.held.get(id.as_str()).map(|held| bundle_path(&node.folder, id, &held.version, &held.bundle))
}

async fn one(node: &Node, lock: &mut Lock, trust: &TrustStore, path: &Path, wish: &Wish<'_>) -> Done<Outcome> {
    let highest = highest(node, lock).await?;
    let verified = match verify(path, trust, |id| highest.get(id.as_str()).cloned()) {
        Ok(verified) => verified,
        Err(fail) => {
            denied(node, wish.id.map_or("unknown", PluginId::as_str), &fail).await?;
            return Err(fail);
        }
    };
    if let Some(expect) = wish.expect.filter(|e| *e != verified.bundle_hash) {
        let text = format!("{} is {} and not {expect}: nothing was changed", path.display(), verified.bundle_hash);
        return Err(Fail::refused(text));
    }
    offer(node, lock, trust, verified, wish.grant, By::Operator).await
}

/// Takes a verified bundle in where it asks for nothing new, or where what it asks for is granted; else holds it.
pub async fn offer(
    node: &Node,
    lock: &mut Lock,
    trust: &TrustStore,
    verified: Verified,
    grant: Option<&[String]>,
    by: By,
) -> Done<Outcome> {
    let manifest = verified.manifest.clone();
    let (id, version) = (&manifest.id, &manifest.version);
    let locked = lock.plugins.get(id.as_str()).cloned();
    let configured = node.folder.deployment()?.plugins.contains_key(id.as_str());
    let config = config_of(&node.folder, id)?;
    if let Some(locked) = &locked {
        if locked.bundle == verified.bundle_hash {
            return Ok(Outcome::Current(version.clone()));
        }
        if locked.pinned {
            return Err(pinned(id, &locked.version));
        }
        // Packed anew, with other signatures or other contents, it is the same version.
        let is_left = |p: &&Previous| p.bundle == verified.bundle_hash || p.version.cmp_precedence(version).is_eq();
        let was_left = locked.previous.as_ref().filter(is_left);
        if let Some(why) = was_left.and_then(|p| p.left.as_ref()).filter(|_| by == By::Drop) {
            return Err(Fail::refused(format!("{id} {version} was left ({why}) and does not come back by itself")));
        }
    }
    if !config.version.matches(version) {
        return Err(Fail::refused(format!(
            "{id} {version} is not taken: fondaco.toml wants version {}",
            config.version
        )));
    }
    let grants = if let Some(names) = grant {
        granted(&manifest, names, &config.grant)?
    } else {
        let asks = news(node, trust, &manifest, locked.as_ref(), &config.grant);
        // Nobody has consented to a plugin that is new here, unless fondaco.toml names it.
        if !asks.is_empty() || (locked.is_none() && !configured) {
            return hold(node, lock, &verified, asks).await;
        }
        config.grant
    };
    let manifest = take_in(node, lock, verified, grants).await?;
    Ok(Outcome::Updated { from: locked.map(|l| l.version), to: manifest.version })
}

/// What a version asks for beyond what was consented to: by the lock file, by what the version that runs asked for when
/// it was consented to, or by fondaco.toml.
fn news(
    node: &Node,
    trust: &TrustStore,
    manifest: &Manifest,
    locked: Option<&LockedPlugin>,
    granted: &Grants,
) -> Vec<String> {
    let mut had = granted.clone();
    let mut was = node.places.get(&manifest.id).map(|place| place.verified.manifest.kind);
    if let Some(locked) = locked {
        had = had.and(&locked.granted);
        if let Ok(runs) = verify_locked(&node.folder, trust, &manifest.id, locked) {
            had = had.and(&runs.manifest.capabilities.all());
            was = Some(runs.manifest.kind);
        }
    }
    let mut news = beyond(&manifest.capabilities, &had);
    // What sells, or draws the shop's pages, is asked for as well.
    if locked.is_some() && was != Some(manifest.kind) {
        let before = was.map_or("unknown", PluginKind::as_str);
        news.push(format!("kind: be a {} plugin; so far it is {before}", manifest.kind.as_str()));
    }
    if news.is_empty() {
        // Asked for before, and taken away since.
        let missing = manifest.capabilities.missing(granted);
        news.extend(missing.iter().map(|m| format!("{}: {}", m.capability, m.capability.meaning())));
    }
    news
}

async fn hold(node: &Node, lock: &mut Lock, verified: &Verified, asks: Vec<String>) -> Done<Outcome> {
    let manifest = &verified.manifest;
    let (id, version, bundle) = (&manifest.id, manifest.version.clone(), verified.bundle_hash);
    let held = Held { version: version.clone(), bundle, asks: asks.clone() };
    let again = lock.held.get(id.as_str()) == Some(&held);
    if !again {
        keep(&node.folder, verified)?;
        let act = PluginAct::Held { version: version.clone(), bundle: bundle.to_string(), asks: asks.clone() };
        audit(node, id.as_str(), act).await?;
        let before = named(lock, id);
        lock.held.insert(id.clone(), held);
        node.folder.write_lock(lock)?;
        forget(&node.folder, id, &before, lock);
    }
    Ok(Outcome::Held { version, asks, again })
}
