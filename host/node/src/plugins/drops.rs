//! Bundles that somebody lays into `plugins/`. A file is looked at once it lies still; an update that asks for nothing new
//! is taken in, anything else is held or left where it lies, with one sentence in the log.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fondaco_schemas::{Lock, PluginId};
use fondaco_trust::TrustStore;

use super::bundle::{bundle_path, highest, named, verify};
use super::install::denied;
use super::source::bundles_in;
use super::update::{By, Outcome, offer};
use crate::fail::{Done, Fail};
use crate::node::Node;

/// How long a file must not have changed. A writer that rests for longer costs a sentence in the log, and no more: what is
/// torn does not verify.
const STILL: Duration = Duration::from_millis(300);

/// What tells one state of a file from another.
type Stamp = (u64, i64, i64, u64);

/// What was seen of the files in `plugins/`.
#[derive(Default)]
pub struct Seen(BTreeMap<PathBuf, Look>);

struct Look {
    stamp: Stamp,
    since: Instant,
    /// It was offered in this state, and stays where it is.
    settled: bool,
}

/// Looks at what lies there; true: something does not lie still yet, so look again soon.
pub async fn look(node: &Node, lock: &mut Lock, trust: &TrustStore, seen: &mut Seen) -> bool {
    let folder = node.folder.plugins();
    let Ok(found) = bundles_in(&folder) else { return false };
    let ids: Vec<PluginId> = lock.plugins.keys().chain(lock.held.keys()).cloned().collect();
    let path_of = |id: &PluginId| {
        let named = named(lock, id).into_iter();
        named.map(|(v, b)| bundle_path(&node.folder, id, &v, &b)).collect::<Vec<_>>()
    };
    let known: Vec<PathBuf> = ids.iter().flat_map(path_of).collect();
    seen.0.retain(|path, _| found.contains(path));
    let mut restless = false;
    for path in found.into_iter().filter(|path| !known.contains(path)) {
        let Some(stamp) = stamp(&path) else { continue };
        let look = seen.0.entry(path.clone()).or_insert(Look { stamp, since: Instant::now(), settled: false });
        if look.stamp != stamp {
            *look = Look { stamp, since: Instant::now(), settled: false };
        }
        if look.settled {
            continue;
        }
        if look.since.elapsed() < STILL {
            restless = true;
            continue;
        }
        look.settled = true;
        if let Err(fail) = take(node, lock, trust, &path).await {
            tracing::warn!("a bundle in plugins/ is left where it lies: {fail}");
        }
    }
    restless
}

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.len(), meta.mtime(), meta.mtime_nsec(), meta.ino()))
}

async fn take(node: &Node, lock: &mut Lock, trust: &TrustStore, path: &Path) -> Done {
    let highest = highest(node, lock).await?;
    let verified = match verify(path, trust, |id| highest.get(id.as_str()).cloned()) {
        Ok(verified) => verified,
        Err(fail) => {
            denied(node, "unknown", &fail).await?;
            return Err(fail);
        }
    };
    let (id, version, digest) = (verified.manifest.id.clone(), verified.manifest.version.clone(), verified.bundle_hash);
    let named = |fail: Fail| Fail { text: format!("{}: {}", path.display(), fail.text), ..fail };
    match offer(node, lock, trust, verified, None, By::Drop).await.map_err(named)? {
        Outcome::Updated { from: Some(from), to } => tracing::info!(plugin = %id, %from, %to, "updated from plugins/"),
        Outcome::Updated { from: None, to } => tracing::info!(plugin = %id, version = %to, "installed from plugins/"),
        Outcome::Held { asks, .. } => {
            let asks = if asks.is_empty() { "nothing".to_owned() } else { asks.join("; ") };
            tracing::warn!(plugin = %id, %version, "held until you grant what it asks for ({asks}): `fondaco plugin update {id} --grant all`");
        }
        Outcome::Current(_) => {}
    }
    // It was taken in under its own name; what lies there now is one more copy.
    if path != bundle_path(&node.folder, &id, &version, &digest) {
        std::fs::remove_file(path).map_err(|e| Fail::failed(format!("{}: {e}", path.display())))?;
    }
    Ok(())
}
