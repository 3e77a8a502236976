//! Where a registry's files are read from: a folder, or a web server. Neither is believed.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fondaco_fetch::{Client, Error, Reach, Request, Terms, Url};
use fondaco_schemas::registry::Registry;

use crate::fail::{Done, Fail, chain};

/// How long one file may take: 32 MiB at 1 MBit/s take less.
const PATIENCE: Duration = Duration::from_mins(5);

/// Where a registry's files are.
pub enum Source {
    /// On this machine.
    Folder(PathBuf),
    /// Below an address.
    Web {
        /// The address.
        url: Url,
        /// Whether it may lie on the operator's own network.
        reach: Reach,
        /// Fetches.
        client: Client,
    },
}

impl Source {
    /// That of `[registries.<name>]`. `base`: what a folder's path is taken from; `client`: there where one has a url.
    pub fn of(registry: &Registry, base: &Path, client: Option<&Client>) -> Done<Self> {
        match (&registry.folder, &registry.url, client) {
            (Some(folder), ..) => Ok(Self::Folder(base.join(folder))),
            (None, Some(url), Some(client)) => {
                let url: Url = url.as_str().parse().map_err(|e| Fail::usage(format!("{url}: {e}")))?;
                let reach = if registry.private { Reach::Private } else { Reach::Public };
                Ok(Self::Web { url, reach, client: client.clone() })
            }
            _ => Err(Fail::usage("a registry needs url or folder")),
        }
    }

    /// A file, whose parts are percent-encoded; `None`: there is none. Of a folder's file at most one byte more than
    /// `max_bytes` is read, so that whoever checks the length sees that it is too long; a server's that is longer is
    /// refused here.
    pub async fn get(&self, file: &str, max_bytes: u64) -> Done<Option<Vec<u8>>> {
        match self {
            Self::Folder(folder) => {
                let path = folder.join(file);
                tokio::task::spawn_blocking(move || read(&path, max_bytes)).await.map_err(Fail::failed)?
            }
            Self::Web { url, reach, client } => {
                let full = url.below(file).map_err(|e| Fail::failed(format!("{file}: {e}")))?;
                fetch(client, full, *reach, max_bytes)
                    .await
                    .map_err(|fail| Fail { text: format!("{}/{file}: {}", self.place(), fail.text), ..fail })
            }
        }
    }

    /// For people.
    pub fn place(&self) -> String {
        match self {
            Self::Folder(folder) => folder.display().to_string(),
            Self::Web { url, .. } => url.to_string().trim_end_matches('/').to_owned(),
        }
    }
}

async fn fetch(client: &Client, url: Url, reach: Reach, max_bytes: u64) -> Done<Option<Vec<u8>>> {
    let terms = Terms { reach, max_body: max_bytes, total: PATIENCE, ..Terms::default() };
    let failed = |error: Error| {
        let text = chain(&error);
        // What is wrong with the server's answer is a refusal; that it cannot be had is not.
        if matches!(error, Error::BodyTooLarge { .. }) { Fail::refused(text) } else { Fail::unavailable(text) }
    };
    let answer = client.send(Request::get(url), terms).await.map_err(failed)?;
    match answer.status().as_u16() {
        200 => Ok(Some(answer.into_body().bytes().await.map_err(failed)?.to_vec())),
        // Stores of files answer either where there is nothing.
        403 | 404 => Ok(None),
        status => Err(Fail::unavailable(format!("the server answers with status {status}, and 200 was expected"))),
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
