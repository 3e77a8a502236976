//! The deployment's folder: where its files lie, how they are read, and how they are replaced so that a crash leaves the
//! old or the new one.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use fondaco_schemas::lock::LOCK_FILE;
use fondaco_schemas::{Deployment, Lock};
use fondaco_trust::TrustStore;

use crate::fail::{Done, Fail};

/// Name of the deployment file.
pub const DEPLOYMENT_FILE: &str = "fondaco.toml";
/// Name of the trust file.
pub const TRUST_FILE: &str = "trust.toml";

/// A deployment's folder.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// An existing deployment.
    pub fn open(dir: &Path) -> Done<Self> {
        let folder = Self(std::path::absolute(dir).map_err(|e| Fail::failed(format!("{}: {e}", dir.display())))?);
        if folder.deployment_file().is_file() {
            return Ok(folder);
        }
        Err(Fail::not_found(format!(
            "{} is no deployment: it has no {DEPLOYMENT_FILE}. Make one with `fondaco init`, or name one with -C",
            folder.0.display()
        )))
    }
    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }
    /// `fondaco.toml`.
    pub fn deployment_file(&self) -> PathBuf {
        self.0.join(DEPLOYMENT_FILE)
    }
    /// `trust.toml`.
    pub fn trust_file(&self) -> PathBuf {
        self.0.join(TRUST_FILE)
    }
    /// `fondaco.lock`.
    pub fn lock_file(&self) -> PathBuf {
        self.0.join(LOCK_FILE)
    }
    /// Where bundles lie.
    pub fn plugins(&self) -> PathBuf {
        self.0.join("plugins")
    }
    /// Where data lies.
    pub fn data(&self, deployment: &Deployment) -> PathBuf {
        self.0.join(&deployment.storage.dir)
    }
    /// The node's key.
    pub fn node_key(&self, deployment: &Deployment) -> PathBuf {
        self.data(deployment).join("keys/node.pem")
    }
    /// The publisher's key.
    pub fn publisher_key(&self, deployment: &Deployment) -> PathBuf {
        self.data(deployment).join(&deployment.publisher.key)
    }
    /// The socket of the running node.
    pub fn socket(&self, deployment: &Deployment) -> PathBuf {
        self.data(deployment).join("control.sock")
    }

    /// Reads `fondaco.toml`, with all its mistakes at once.
    pub fn deployment(&self) -> Done<Deployment> {
        Deployment::parse(&read_text(&self.deployment_file())?).map_err(Fail::failed)
    }
    /// Reads `trust.toml`.
    pub fn trust(&self) -> Done<TrustStore> {
        Ok(TrustStore::parse(&self.trust_text()?, None)?)
    }
    /// The text of `trust.toml`; an empty store where there is none.
    pub fn trust_text(&self) -> Done<String> {
        let file = self.trust_file();
        if file.exists() { read_text(&file) } else { Ok(fondaco_trust::trust_store::EMPTY.to_owned()) }
    }
    /// Reads `fondaco.lock`.
    pub fn lock(&self) -> Done<Lock> {
        let file = self.lock_file();
        if !file.exists() {
            return Ok(Lock::default());
        }
        Lock::parse(&read_text(&file)?).map_err(Fail::failed)
    }
    /// Writes `fondaco.lock`.
    pub fn write_lock(&self, lock: &Lock) -> Done {
        replace(&self.lock_file(), lock.to_toml().map_err(Fail::failed)?.as_bytes(), 0o644)
    }
}

/// Reads a text file.
pub fn read_text(path: &Path) -> Done<String> {
    fs::read_to_string(path).map_err(|e| {
        let text = format!("{}: {e}", path.display());
        if e.kind() == std::io::ErrorKind::NotFound { Fail::not_found(text) } else { Fail::failed(text) }
    })
}

/// Puts a file in place of another: written beside it, synced, renamed, and the folder synced.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Done {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let fail = |e: std::io::Error| Fail::failed(format!("{}: {e}", path.display()));
    let part = path.with_extension(format!("part{}", std::process::id()));
    // A file that its owner closed to others stays closed.
    let mode = fs::metadata(path).map_or(mode, |m| m.permissions().mode() & 0o777 & mode);
    let _ = fs::remove_file(&part);
    let written = (|| {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&part, path)?;
        // The parent of a bare name is empty.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        fs::File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
    })();
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written.map_err(fail)
}
