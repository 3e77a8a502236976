//! Watches the deployment's files while the node runs. What the operating system says is a hint: it only brings the next
//! look nearer, and every 30 seconds there is one anyway. A look reads everything, so that no hint can be misread.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fondaco_schemas::lock::LOCK_FILE;
use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::reconcile::{Memory, reconcile};
use crate::control::told;
use crate::folder::{DEPLOYMENT_FILE, TRUST_FILE};
use crate::node::Node;

/// Files must have been left alone for so long …
const DEBOUNCE: Duration = Duration::from_millis(300);
/// … but a storm of changes puts a look off for no longer than this.
const STORM: Duration = Duration::from_secs(2);
/// How often there is a look without a hint.
const RESCAN: Duration = Duration::from_secs(30);

/// Brings what runs after the files, until `stop` says true.
pub async fn keep_watching(node: Arc<Node>, mut stop: watch::Receiver<bool>) {
    // One hint says as much as a thousand: where one is waiting, the next is dropped.
    let (hint, mut hints) = mpsc::channel(1);
    let mut eyes = Eyes::new(node.folder.path(), hint);
    let mut memory = Memory::default();
    // The first look finds what was laid down while the node was not running.
    let (mut next, mut storm) = (Instant::now(), None);
    loop {
        tokio::select! {
            biased;
            () = told(&mut stop) => return,
            Some(()) = hints.recv() => {
                let now = Instant::now();
                let since: Instant = *storm.get_or_insert(now);
                next = (now + DEBOUNCE).min(since + STORM);
            }
            () = tokio::time::sleep_until(next) => {
                storm = None;
                eyes.open();
                let restless = reconcile(&node, &mut memory).await;
                next = Instant::now() + if restless { DEBOUNCE } else { RESCAN };
            }
        }
    }
}

/// The operating system's watch on the folder. Without it changes are found by the regular looks alone.
struct Eyes {
    folder: PathBuf,
    watcher: Option<RecommendedWatcher>,
    on: Vec<PathBuf>,
}

impl Eyes {
    fn new(folder: &Path, hint: mpsc::Sender<()>) -> Self {
        let of = folder.to_owned();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let matters = match &event {
                // Events were lost, or cannot be had: a look finds out.
                Err(_) => true,
                Ok(event) if event.need_rescan() => true,
                // Our own reading is an event, too.
                Ok(event) => is_change(event.kind) && event.paths.iter().any(|path| concerns(&of, path)),
            };
            if matters {
                let _ = hint.try_send(());
            }
        });
        let watcher = watcher
            .inspect_err(|error| tracing::warn!(%error, "changes of files are found every {RESCAN:?} only"))
            .ok();
        Self { folder: folder.to_owned(), watcher, on: Vec::new() }
    }

    /// Looks at what is there now; folders come and go.
    fn open(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        let wanted = [
            (self.folder.clone(), RecursiveMode::NonRecursive),
            (self.folder.join("plugins"), RecursiveMode::NonRecursive),
            (self.folder.join("theme"), RecursiveMode::Recursive),
        ];
        for (path, mode) in wanted {
            if !path.is_dir() {
                self.on.retain(|on| *on != path);
            } else if !self.on.contains(&path) {
                match watcher.watch(&path, mode) {
                    Ok(()) => self.on.push(path),
                    Err(error) => {
                        tracing::warn!(path = %path.display(), %error, "changes there are found every {RESCAN:?} only");
                        self.on.push(path);
                    }
                }
            }
        }
    }
}

fn is_change(kind: EventKind) -> bool {
    !kind.is_access() || kind == EventKind::Access(AccessKind::Close(AccessMode::Write))
}

/// Is it one of the files that say what should run? The data folder, logs and half-written copies are not.
fn concerns(folder: &Path, path: &Path) -> bool {
    let Ok(path) = path.strip_prefix(folder) else { return true };
    let bundle = || path.extension().is_some_and(|e| e == fondaco_trust::bundle::EXTENSION);
    [DEPLOYMENT_FILE, LOCK_FILE, TRUST_FILE, "plugins"].iter().any(|name| path == Path::new(name))
        || path.starts_with("theme")
        || (path.starts_with("plugins") && bundle())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_says_what_should_run_is_a_hint() {
        let check = |path: &str| concerns(Path::new("/shop"), &Path::new("/shop").join(path));
        for yes in ["fondaco.toml", "fondaco.lock", "trust.toml", "plugins", "plugins/a.fondaco", "theme/fonts/a.woff2"]
        {
            assert!(check(yes), "{yes}");
        }
        for no in [
            "data/ledger.db",
            "node.log",
            "fondaco.part123",
            "plugins/a.part123",
            "assets/a/b.css",
            ".fondaco.toml.swp",
        ] {
            assert!(!check(no), "{no}");
        }
        assert!(!is_change(EventKind::Access(AccessKind::Open(AccessMode::Read))));
        assert!(is_change(EventKind::Access(AccessKind::Close(AccessMode::Write))));
    }
}
