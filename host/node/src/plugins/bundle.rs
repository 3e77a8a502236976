//! Bundles as they lie on the disk: read, verified, and found again.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use fondaco_schemas::{BlobHash, Lock, LockedPlugin, PluginId, Requested, api};
use fondaco_trust::{Host, Refusal, TrustStore, Verified};
use semver::Version;
use time::OffsetDateTime;

use crate::fail::{Done, Fail};
use crate::folder::{Folder, replace};
use crate::node::Node;

/// Reads and verifies a bundle. `highest`: the highest version that was ever accepted; none allows a step back.
pub fn verify(path: &Path, trust: &TrustStore, highest: impl FnOnce(&PluginId) -> Option<Version>) -> Done<Verified> {
    let mut bytes = Vec::new();
    let most = fondaco_trust::bundle::MAX_BUNDLE_BYTES as u64 + 1;
    let read = std::fs::File::open(path).and_then(|f| f.take(most).read_to_end(&mut bytes));
    read.map_err(|e| {
        let text = format!("{}: {e}", path.display());
        if e.kind() == std::io::ErrorKind::NotFound { Fail::not_found(text) } else { Fail::failed(text) }
    })?;
    let named = |refusal: Refusal| {
        let fail = Fail::from(refusal);
        Fail { text: format!("{}: {}", path.display(), fail.text), ..fail }
    };
    verify_bytes(bytes, trust, highest).map_err(named)
}

/// Verifies a bundle that has been read.
pub fn verify_bytes(
    bytes: Vec<u8>,
    trust: &TrustStore,
    highest: impl FnOnce(&PluginId) -> Option<Version>,
) -> Result<Verified, Refusal> {
    let host = Host { api: api::OFFERED.to_vec(), now: OffsetDateTime::now_utc() };
    fondaco_trust::verify(bytes, trust, &host, highest)
}

/// Where a bundle of the deployment lies. Its digest is part of the name, so that no bundle takes another's place.
pub fn bundle_path(folder: &Folder, id: &PluginId, version: &Version, bundle: &BlobHash) -> PathBuf {
    let digest: String = bundle.to_string().chars().take(16).collect();
    folder.plugins().join(format!("{id}-{version}-{digest}.{}", fondaco_trust::bundle::EXTENSION))
}

/// Lays a verified bundle where it is found again; gives its path.
pub fn keep(folder: &Folder, verified: &Verified) -> Done<PathBuf> {
    let manifest = &verified.manifest;
    let path = bundle_path(folder, &manifest.id, &manifest.version, &verified.bundle_hash);
    std::fs::create_dir_all(folder.plugins()).map_err(|e| Fail::failed(format!("{}: {e}", path.display())))?;
    replace(&path, verified.bytes(), 0o644)?;
    Ok(path)
}

/// The bundles of one plugin that a lock file names: the one that runs, the one before, the one that is held.
pub fn named(lock: &Lock, id: &PluginId) -> Vec<(Version, BlobHash)> {
    let mut named = Vec::new();
    if let Some(locked) = lock.plugins.get(id.as_str()) {
        named.push((locked.version.clone(), locked.bundle));
        named.extend(locked.previous.iter().map(|p| (p.version.clone(), p.bundle)));
    }
    named.extend(lock.held.get(id.as_str()).map(|h| (h.version.clone(), h.bundle)));
    named
}

/// Removes the bundles of a plugin that were named before and are not any more. What cannot be removed stays: it is named
/// by nobody, and found as one that was dropped there.
pub fn forget(folder: &Folder, id: &PluginId, before: &[(Version, BlobHash)], lock: &Lock) {
    let kept = named(lock, id);
    for (version, bundle) in before.iter().filter(|b| !kept.contains(b)) {
        let _ = std::fs::remove_file(bundle_path(folder, id, version, bundle));
    }
}

/// BLAKE3 of what a manifest asks for: what the operator consents to.
pub fn consent(requested: &Requested) -> BlobHash {
    BlobHash::new(*blake3::hash(&requested.canonical()).as_bytes())
}

/// The bundle that the lock file names, verified again: keys may have been revoked, files changed.
pub fn verify_locked(folder: &Folder, trust: &TrustStore, id: &PluginId, locked: &LockedPlugin) -> Done<Verified> {
    verify_named(folder, trust, id, &locked.version, &locked.bundle)
}

/// The bundle of this version and digest, verified again.
pub fn verify_named(
    folder: &Folder,
    trust: &TrustStore,
    id: &PluginId,
    version: &Version,
    bundle: &BlobHash,
) -> Done<Verified> {
    let path = bundle_path(folder, id, version, bundle);
    let verified = verify(&path, trust, |_| Some(version.clone()))?;
    if verified.bundle_hash == *bundle && verified.manifest.id == *id {
        return Ok(verified);
    }
    Err(Fail::refused(format!(
        "{} is not the bundle that was installed: fondaco.lock names {bundle}, and this is {}. Install it anew",
        path.display(),
        verified.bundle_hash
    )))
}

/// The highest version of each plugin that was ever accepted, by the lock file or by the log: none below it comes in
/// unless the operator says so.
pub async fn highest(node: &Node, lock: &Lock) -> Done<BTreeMap<String, Version>> {
    let mut highest: BTreeMap<String, Version> =
        lock.plugins.iter().map(|(id, p)| (id.to_string(), p.highest.clone())).collect();
    for record in node.market.ledger().plugins().await? {
        if let Some(logged) = record.highest {
            let known = highest.entry(record.plugin).or_insert_with(|| logged.clone());
            *known = known.clone().max(logged);
        }
    }
    Ok(highest)
}
