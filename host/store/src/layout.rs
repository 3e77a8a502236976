//! Where things lie in a store's folder, and the few acts on files that must survive a crash.
//!
//! ```text
//! lock                 held while a process has the store open
//! pins                 who keeps which blob (see `pins`)
//! tmp/                 imports under way and files being deleted; emptied when the store is opened
//! ab/<hash>            the bytes of an owned blob
//! ab/<hash>.ref        in its place for a blob kept outside: size, time of last change and path of the file
//! ab/<hash>.obao4      the outboard, where the blob has more than 16 KiB
//! quarantine/          the same three, of blobs that did not verify
//! partial/<hash>       a blob that is being fetched, at its full length; beside it its outboard and `.have`, which says
//!                      which groups are there
//! ```
//! A blob exists when its data or its `.ref` exists. That file is put in place last, by a rename that never replaces, and
//! taken away first, so that a crash between two acts leaves at most an outboard that nobody owns.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use fondaco_schemas::BlobHash;
use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// The largest `.ref` file that is read: a path has at most 4096 bytes on Linux.
const MAX_REFERENCE_BYTES: u64 = 8192;

/// The three files of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Data,
    Reference,
    Outboard,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Data, Self::Reference, Self::Outboard];

    fn suffix(self) -> &'static str {
        match self {
            Self::Data => "",
            Self::Reference => ".ref",
            Self::Outboard => ".obao4",
        }
    }

    fn parse(name: &str) -> Option<(BlobHash, Self)> {
        let (hash, rest) = name.split_at_checked(64)?;
        let kind = Self::ALL.into_iter().find(|kind| kind.suffix() == rest)?;
        Some((hash.parse().ok()?, kind))
    }
}

/// A file that is kept where it is, as it was when it was imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub path: PathBuf,
    /// In bytes.
    pub size: u64,
    /// Time of the last change: seconds and nanoseconds of the file system's clock.
    pub changed: (i64, i64),
}

impl Reference {
    pub fn of(path: &Path, meta: &fs::Metadata) -> Self {
        Self { path: path.to_owned(), size: meta.len(), changed: (meta.mtime(), meta.mtime_nsec()) }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} {}\n", self.size, self.changed.0, self.changed.1).into_bytes();
        bytes.extend_from_slice(self.path.as_os_str().as_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let end = bytes.iter().position(|b| *b == b'\n')?;
        let (line, path) = bytes.split_at_checked(end)?;
        let mut numbers = std::str::from_utf8(line).ok()?.split(' ');
        let size = numbers.next()?.parse().ok()?;
        let changed = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
        let path = PathBuf::from(std::ffi::OsString::from_vec(path.get(1..)?.to_vec()));
        (numbers.next().is_none() && path.is_absolute()).then_some(Self { path, size, changed })
    }
}

/// A file found in a folder of blobs.
pub(crate) struct Found {
    pub hash: BlobHash,
    pub kind: Kind,
    pub bytes: u64,
    pub written: SystemTime,
}

/// The files of blobs that were being fetched.
pub(crate) struct Partials {
    /// Data files, and their lengths in bytes.
    pub data: Vec<(BlobHash, u64)>,
    /// All other files.
    pub others: Vec<PathBuf>,
}

/// Keeps other processes out of the store.
#[derive(Debug)]
pub(crate) struct DirLock(File);

impl Drop for DirLock {
    /// Closing is not enough: a child process that is just being started has the file open too, until its `exec`.
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "the store's lock could not be given back; it ends with the process");
        }
    }
}

#[derive(Debug)]
pub(crate) struct Layout {
    root: PathBuf,
    next_temp: AtomicU64,
}

impl Layout {
    /// Makes the folders (0700), takes the lock and empties `tmp/`.
    pub fn open(root: &Path) -> Result<(Self, DirLock)> {
        make_dir(root)?;
        let root = fs::canonicalize(root).map_err(|e| Error::io("open", root, e))?;
        fs::set_permissions(&root, fs::Permissions::from_mode(0o700)).map_err(|e| Error::io("protect", &root, e))?;
        let path = root.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|e| Error::io("open", &path, e))?;
        lock.try_lock().map_err(|e| match e {
            fs::TryLockError::WouldBlock => Error::Locked { dir: root.clone() },
            fs::TryLockError::Error(e) => Error::io("lock", &path, e),
        })?;
        let lock = DirLock(lock);
        let layout = Self { root, next_temp: AtomicU64::new(0) };
        for dir in [layout.temp_dir(), layout.quarantine_dir(), layout.partial_dir()] {
            make_dir(&dir)?;
        }
        for entry in list(&layout.temp_dir())? {
            fs::remove_file(&entry).map_err(|e| Error::io("remove", &entry, e))?;
        }
        sync_dir(&layout.root)?;
        Ok((layout, lock))
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Bytes that the disk has room for.
    pub fn room(&self) -> Result<u64> {
        let stat = rustix::fs::statvfs(&self.root).map_err(|e| Error::io("measure", &self.root, e.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    pub fn pins(&self) -> PathBuf {
        self.root.join("pins")
    }

    fn temp_dir(&self) -> PathBuf {
        self.root.join("tmp")
    }

    fn quarantine_dir(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    fn partial_dir(&self) -> PathBuf {
        self.root.join("partial")
    }

    /// A file of a blob that is being fetched: its data, its outboard, or with `.have` what is there of it.
    pub fn partial(&self, hash: BlobHash, suffix: &str) -> PathBuf {
        self.partial_dir().join(format!("{hash}{suffix}"))
    }

    /// Every file of blobs that were being fetched.
    pub fn scan_partial(&self) -> Result<Partials> {
        let (mut data, mut others) = (Vec::new(), Vec::new());
        for path in list(&self.partial_dir())? {
            let meta = fs::symlink_metadata(&path).map_err(|e| Error::io("read", &path, e))?;
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            match name.parse() {
                Ok(hash) if meta.is_file() => data.push((hash, meta.len())),
                _ => others.push(path),
            }
        }
        Ok(Partials { data, others })
    }

    /// The folder of a blob's files.
    pub fn shard(&self, hash: BlobHash) -> PathBuf {
        let mut name = hash.to_string();
        name.truncate(2);
        self.root.join(name)
    }

    pub fn path(&self, hash: BlobHash, kind: Kind) -> PathBuf {
        self.shard(hash).join(format!("{hash}{}", kind.suffix()))
    }

    pub fn quarantined(&self, hash: BlobHash, kind: Kind) -> PathBuf {
        self.quarantine_dir().join(format!("{hash}{}", kind.suffix()))
    }

    /// A name in `tmp/` that nothing else uses: the lock keeps other processes out, the number other imports.
    pub fn temp_path(&self) -> PathBuf {
        self.temp_dir().join(self.next_temp.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// A new file in `tmp/`, removed when it is dropped without having been published.
    pub fn temp(&self) -> Result<Temp> {
        let path = self.temp_path();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|e| Error::io("create", &path, e))?;
        Ok(Temp { path, file, published: false })
    }

    /// Makes the folder of a blob, durably.
    pub fn make_shard(&self, hash: BlobHash) -> Result<PathBuf> {
        let dir = self.shard(hash);
        if make_dir(&dir)? {
            sync_dir(&self.root)?;
        }
        Ok(dir)
    }

    /// Every file of every blob, quarantine aside.
    pub fn scan(&self) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        for dir in list(&self.root)? {
            let name = dir.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            if name.len() == 2 && name.bytes().all(|b| b.is_ascii_hexdigit()) {
                scan_dir(&dir, &mut found)?;
            }
        }
        Ok(found)
    }

    pub fn scan_quarantine(&self) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        scan_dir(&self.quarantine_dir(), &mut found)?;
        Ok(found)
    }

    /// What a `.ref` file says; `None` when it is damaged.
    pub fn reference(&self, hash: BlobHash) -> Result<Option<Reference>> {
        use std::io::Read;
        let path = self.path(hash, Kind::Reference);
        let mut bytes = Vec::new();
        let mut file = open_plain(&path).map_err(|e| Error::io("open", &path, e))?.take(MAX_REFERENCE_BYTES);
        file.read_to_end(&mut bytes).map_err(|e| Error::io("read", &path, e))?;
        Ok(Reference::decode(&bytes))
    }

    /// Moves a blob's files to `quarantine/`, over what an earlier copy left there. The data goes first: without it the
    /// blob is no longer there, whatever happens next.
    pub fn quarantine(&self, hash: BlobHash) -> Result<()> {
        for kind in Kind::ALL {
            let (from, to) = (self.path(hash, kind), self.quarantined(hash, kind));
            match fs::rename(&from, &to) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Error::io("quarantine", &from, e)),
                _ => {}
            }
        }
        sync_dir(&self.shard(hash))?;
        sync_dir(&self.quarantine_dir())
    }
}

fn scan_dir(dir: &Path, found: &mut Vec<Found>) -> Result<()> {
    for path in list(dir)? {
        let meta = fs::symlink_metadata(&path).map_err(|e| Error::io("read", &path, e))?;
        let parsed = path.file_name().and_then(|n| n.to_str()).and_then(Kind::parse);
        match parsed {
            Some((hash, kind)) if meta.is_file() => {
                let written = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                found.push(Found { hash, kind, bytes: meta.len(), written });
            }
            _ => tracing::warn!(path = %path.display(), "a file that no store put here is left alone"),
        }
    }
    Ok(())
}

fn list(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).map_err(|e| Error::io("list", dir, e))?;
    entries.map(|entry| entry.map(|e| e.path()).map_err(|e| Error::io("list", dir, e))).collect()
}

/// Whether the folder had to be made.
fn make_dir(dir: &Path) -> Result<bool> {
    if dir.is_dir() {
        return Ok(false);
    }
    match DirBuilder::new().recursive(true).mode(0o700).create(dir) {
        Ok(()) => Ok(true),
        Err(e) => Err(Error::io("create", dir, e)),
    }
}

/// Opens a file of the store for reading, never through a symbolic link.
pub(crate) fn open_plain(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(OFlags::NOFOLLOW.bits()).map_err(io::Error::other)?;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Opens a file outside the store for reading. Pipes and devices are refused before they could block.
pub(crate) fn open_source(path: &Path) -> Result<(File, fs::Metadata)> {
    let stat = |e| Error::io("open", path, e);
    if !fs::metadata(path).map_err(stat)?.is_file() {
        return Err(Error::NotAFile { path: path.to_owned() });
    }
    let file = File::open(path).map_err(stat)?;
    let meta = file.metadata().map_err(stat)?;
    if meta.is_file() { Ok((file, meta)) } else { Err(Error::NotAFile { path: path.to_owned() }) }
}

/// Makes names in a folder durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(|source| Error::Sync { path: dir.to_owned(), source })
}

/// A file in `tmp/`.
#[derive(Debug)]
pub(crate) struct Temp {
    path: PathBuf,
    pub file: File,
    published: bool,
}

impl Temp {
    /// A file that lies elsewhere in the store.
    pub fn adopt(path: PathBuf, file: File) -> Self {
        Self { path, file, published: false }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until the bytes are on the disk.
    pub fn sync(&self) -> Result<()> {
        match self.file.sync_data() {
            Ok(()) => Ok(()),
            // Writing back late can also find the disk full, and that is no reason to mistrust it.
            Err(e) => match Error::io("sync", &self.path, e) {
                Error::Io { path, source, .. } => Err(Error::Sync { path, source }),
                full => Err(full),
            },
        }
    }

    /// Gives the file its name. Answers false, and changes nothing, if that name is taken.
    pub fn publish(mut self, to: &Path) -> Result<bool> {
        let moved = match renameat_with(CWD, &self.path, CWD, to, RenameFlags::NOREPLACE) {
            // Some file systems cannot refuse to replace. Within the shard's lock nobody else can take the name.
            Err(Errno::INVAL | Errno::NOSYS) if !to.exists() => fs::rename(&self.path, to).map(|()| true),
            Err(Errno::EXIST | Errno::INVAL | Errno::NOSYS) => Ok(false),
            other => other.map(|()| true).map_err(io::Error::from),
        };
        self.published = moved.map_err(|e| Error::io("publish", to, e))?;
        Ok(self.published)
    }

    /// Gives the file its name, over whatever has that name.
    pub fn replace(mut self, to: &Path) -> Result<()> {
        fs::rename(&self.path, to).map_err(|e| Error::io("publish", to, e))?;
        self.published = true;
        Ok(())
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if !self.published
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "a file of an import is left until the next start");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_keeps_any_path_and_refuses_a_damaged_record() {
        let path = PathBuf::from(std::ffi::OsString::from_vec(b"/music/\xff\nodd name".to_vec()));
        let reference = Reference { path, size: 12, changed: (-5, 999_999_999) };
        assert_eq!(Reference::decode(&reference.encode()), Some(reference));
        for bad in [&b""[..], b"12 1", b"12 1\n/x", b"12 1 2 3\n/x", b"12 1 2\n", b"12 1 2\nrelative", b"-1 1 2\n/x"] {
            assert_eq!(Reference::decode(bad), None, "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn a_name_is_taken_once() {
        let dir = tempfile::tempdir().unwrap();
        let (layout, _lock) = Layout::open(dir.path()).unwrap();
        let to = layout.root().join("name");
        assert!(layout.temp().unwrap().publish(&to).unwrap());
        let second = layout.temp().unwrap();
        let left = second.path().to_owned();
        assert!(!second.publish(&to).unwrap());
        assert!(!left.exists(), "the loser leaves nothing behind");
    }
}
