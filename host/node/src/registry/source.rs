//! Where a registry's files are read from: a folder.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use fondaco_schemas::registry::Registry;

use crate::fail::{Done, Fail};

/// Where a registry's files are.
#[derive(Debug)]
pub enum Source {
    /// On this machine.
    Folder(PathBuf),
}

impl Source {
    /// That of `[registries.<name>]`. `base`: what a folder's path is taken from.
    pub fn of(registry: &Registry, base: &Path) -> Done<Self> {
        match (&registry.folder, &registry.url) {
            (Some(folder), _) => Ok(Self::Folder(base.join(folder))),
            (None, url) => {
                let url = url.as_ref().map(ToString::to_string).unwrap_or_default();
                Err(Fail::usage(format!("{url}: only folders are read")))
            }
        }
    }

    /// A file, whose parts are percent-encoded; `None`: there is none. At most one byte more than `max_bytes` is read, so
    /// that whoever checks the length sees that it is too long.
    pub async fn get(&self, file: &str, max_bytes: u64) -> Done<Option<Vec<u8>>> {
        match self {
            Self::Folder(folder) => {
                let path = folder.join(file);
                tokio::task::spawn_blocking(move || read(&path, max_bytes)).await.map_err(Fail::failed)?
            }
        }
    }

    /// For people.
    pub fn place(&self) -> String {
        match self {
            Self::Folder(folder) => folder.display().to_string(),
        }
    }
}

fn read(path: &Path, max_bytes: u64) -> Done<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let file = File::open(path).and_then(|file| file.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes));
    match file {
        Ok(_) => Ok(Some(bytes)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Fail::unavailable(format!("{}: {e}", path.display()))),
    }
}
