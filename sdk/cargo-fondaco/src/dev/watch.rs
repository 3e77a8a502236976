//! Which saves matter: those of the plugin's own files, and not what a build writes.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use notify::event::{EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

/// Folders below the plugin's that are no sources of it.
const LEFT_OUT: [&str; 5] = ["target", ".git", "node_modules", "__pycache__", ".venv"];
/// Folders that a build makes right in the plugin's; deeper down their names are a source's.
const BUILT: [&str; 2] = ["dist", "types"];
/// Endings of what is made of the sources.
const MADE: [&str; 3] = ["fondaco", "wasm", "key"];

/// The saves of one folder.
pub struct Changes {
    saved: Receiver<()>,
    _watcher: RecommendedWatcher,
}

impl Changes {
    /// Begins to watch.
    pub fn of(folder: &Path) -> notify::Result<Self> {
        let folder = folder.canonicalize().map_err(notify::Error::io)?;
        // One place is enough: that something was saved is all that is told, and a full queue says so already.
        let (tell, saved) = sync_channel(1);
        let root = folder.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            let read = matches!(event.kind, EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_)));
            if !read && event.paths.iter().any(|path| matters(&root, path)) {
                let _ = tell.try_send(());
            }
        })?;
        // Folder by folder, so that a target folder with a hundred thousand files is not watched at all.
        watcher.watch(&folder, RecursiveMode::NonRecursive)?;
        for below in std::fs::read_dir(&folder).map_err(notify::Error::io)?.flatten() {
            if below.path().is_dir() && matters(&folder, &below.path()) {
                watcher.watch(&below.path(), RecursiveMode::Recursive)?;
            }
        }
        Ok(Self { saved, _watcher: watcher })
    }

    /// Waits for a save, and then until nothing has been saved for `settle`. False: nothing more will come.
    pub fn wait(&self, settle: Duration) -> bool {
        if self.saved.recv().is_err() {
            return false;
        }
        loop {
            match self.saved.recv_timeout(settle) {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }
}

fn matters(folder: &Path, path: &Path) -> bool {
    let Ok(inside) = path.strip_prefix(folder) else { return false };
    let inside: PathBuf = inside.into();
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    // Editors write beside the file first, and rename.
    let temporary =
        name.starts_with('.') || name.ends_with('~') || name == "4913" || path.extension().is_some_and(|e| e == "swp");
    let made = path.extension().and_then(|e| e.to_str()).is_some_and(|e| MADE.contains(&e)) || name == "Cargo.lock";
    let left_out = inside.iter().any(|part| LEFT_OUT.iter().any(|l| part == *l));
    let built = inside.iter().next().is_some_and(|part| BUILT.iter().any(|b| part == *b));
    !temporary && !made && !left_out && !built
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_matter_and_what_is_made_of_them_does_not() {
        let of = |path: &str| matters(Path::new("/p"), &Path::new("/p").join(path));
        for yes in ["src/types/mod.rs", "src/lib.rs", "plugin.toml", "Cargo.toml", "assets/style.css", "README.md"] {
            assert!(of(yes), "{yes}");
        }
        for no in [
            "target/debug/x",
            "types/shop.d.ts",
            ".venv/bin/python",
            "Cargo.lock",
            "a-0.1.0.fondaco",
            "src/.lib.rs.swp",
            "src/lib.rs~",
            ".git/index",
            "plugin.wasm",
        ] {
            assert!(!of(no), "{no}");
        }
        assert!(!matters(Path::new("/p"), Path::new("/q/src/lib.rs")));
    }

    #[test]
    fn a_burst_of_saves_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("src")).unwrap();
        let changes = Changes::of(folder.path()).unwrap();
        for i in 0..5 {
            std::fs::write(folder.path().join("src/lib.rs"), format!("// {i}")).unwrap();
        }
        assert!(changes.wait(Duration::from_millis(100)));
        assert!(changes.saved.try_recv().is_err(), "one burst, one build");
    }
}
