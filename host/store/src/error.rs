//! What can go wrong in a store, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use fondaco_schemas::BlobHash;
use rustix::io::Errno;

/// The result of every act of the store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Which part of a blob did not verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// A group of data, or the node above it: the two do not belong together, and which of them rotted is not known.
    Data,
    /// A node of the outboard does not chain to the id, or the outboard has the wrong length.
    Outboard,
    /// The data is shorter or longer than what was imported.
    Length,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Data => "data",
            Self::Outboard => "outboard",
            Self::Length => "length",
        })
    }
}

/// Why the store did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process has this store open.
    #[error("the store {} is in use by another process; stop that one or name another folder", dir.display())]
    Locked {
        /// The store's folder.
        dir: PathBuf,
    },
    /// There is no such blob.
    #[error("the store holds no blob {hash}; publish or fetch it first")]
    NotFound {
        /// What was asked for.
        hash: BlobHash,
    },
    /// The bytes on disk are not the bytes of this id. The blob was moved to `quarantine/` and is no longer served.
    #[error(
        "blob {hash} is corrupt: its {part} does not verify at byte {offset}; it is in quarantine, import the file again \
         or fetch it from another node"
    )]
    Corrupt {
        /// The blob.
        hash: BlobHash,
        /// Where the part that does not verify begins, in bytes of the blob.
        offset: u64,
        /// What does not verify.
        part: Part,
    },
    /// The blob was found corrupt before and has not been replaced since.
    #[error("blob {hash} was found corrupt and is in quarantine; import the file again or fetch it from another node")]
    Quarantined {
        /// The blob.
        hash: BlobHash,
    },
    /// A file that is kept in place is no longer what was imported.
    #[error(
        "blob {hash} is kept in place in {}, and that file {what}; put the file back, or publish what is there now", path.display()
    )]
    ReferenceChanged {
        /// The blob.
        hash: BlobHash,
        /// The file outside the store.
        path: PathBuf,
        /// What happened to it.
        what: &'static str,
    },
    /// A file was written to while it was being imported in place.
    #[error("{} was changed while it was imported; import it again when nothing writes to it", path.display())]
    SourceChanged {
        /// The file.
        path: PathBuf,
    },
    /// What should be imported is a folder, a pipe or a device.
    #[error("{} is not a regular file; name a file", path.display())]
    NotAFile {
        /// What was named.
        path: PathBuf,
    },
    /// The import would take the store over its quota.
    #[error(
        "{needed} more bytes do not fit the store's quota: {used} of {quota} bytes are used; raise the quota or unpin and \
         collect blobs"
    )]
    Quota {
        /// Bytes that were asked for.
        needed: u64,
        /// Bytes in use, imports under way included.
        used: u64,
        /// Bytes allowed.
        quota: u64,
    },
    /// The file system takes no more bytes (full disk, disk quota or file size limit).
    #[error("the disk is full: {} cannot be written; free some space and try again", path.display())]
    DiskFull {
        /// The file that did not fit. It was removed.
        path: PathBuf,
    },
    /// The disk did not confirm a write. What it holds is not known, so nothing more is written until a restart.
    #[error("the disk did not confirm {}: what was written may be lost; check the disk, then restart", path.display())]
    Sync {
        /// What should have been made durable.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The disk failed to confirm a write earlier.
    #[error("the store takes no more writes since the disk failed to confirm one; check the disk, then restart")]
    Degraded,
    /// An owner of pins has a name that cannot be recorded.
    #[error("{owner:?} cannot own a pin: use 1 to 200 bytes without control characters")]
    Owner {
        /// The name, cut to 80 characters.
        owner: String,
    },
    /// The list of pins was damaged, so what must be kept is not known.
    #[error("line {line} of {} is damaged; restore this file from a backup, for it says which blobs to keep", path.display())]
    PinsDamaged {
        /// The file.
        path: PathBuf,
        /// The line, counted from one.
        line: usize,
    },
    /// A range that the blob does not have.
    #[error("blob {hash} has {size} bytes and no range {start}..{end}; ask within its size")]
    Range {
        /// The blob.
        hash: BlobHash,
        /// First byte asked for.
        start: u64,
        /// The byte after the last one asked for.
        end: u64,
        /// The blob's size in bytes.
        size: u64,
    },
    /// Two want to fetch one blob at once.
    #[error("blob {hash} is being fetched already; wait until that is done")]
    Fetching {
        /// The blob.
        hash: BlobHash,
    },
    /// A blob is said to be larger than what is fetched.
    #[error("blob {hash} is said to have {size} bytes, and at most {most} are fetched; ask for another file")]
    TooLarge {
        /// The blob.
        hash: BlobHash,
        /// What it is said to have, in bytes.
        size: u64,
        /// What is fetched at most, in bytes.
        most: u64,
    },
    /// A blob that is being fetched is not whole.
    #[error("blob {hash} is not whole yet: {missing} of its groups of 16 KiB are missing")]
    Incomplete {
        /// The blob.
        hash: BlobHash,
        /// Groups that are missing.
        missing: u64,
    },
    /// What is being imported could not be read.
    #[error("what is being imported could not be read; nothing was stored")]
    Source {
        /// What the reader said.
        source: io::Error,
    },
    /// Any other act on a file.
    #[error("cannot {act} {}", path.display())]
    Io {
        /// The act, such as `open`.
        act: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// An act on a file that failed; a full disk gets its own variant wherever it shows.
    pub(crate) fn io(act: &'static str, path: &Path, source: io::Error) -> Self {
        match Errno::from_io_error(&source) {
            Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => Self::DiskFull { path: path.to_owned() },
            _ => Self::Io { act, path: path.to_owned(), source },
        }
    }

    /// The kind for callers behind `std::io::Write`.
    pub(crate) fn kind(&self) -> io::ErrorKind {
        match self {
            Self::DiskFull { .. } => io::ErrorKind::StorageFull,
            Self::Quota { .. } => io::ErrorKind::QuotaExceeded,
            Self::Io { source, .. } | Self::Source { source } => source.kind(),
            _ => io::ErrorKind::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_one_clause_in_lower_case_that_says_what_to_do() {
        let (hash, path) = (BlobHash::new([7; 32]), PathBuf::from("/data/x"));
        let eio = || io::Error::from_raw_os_error(Errno::IO.raw_os_error());
        let all = [
            Error::Locked { dir: path.clone() },
            Error::NotFound { hash },
            Error::Corrupt { hash, offset: 16_384, part: Part::Data },
            Error::Quarantined { hash },
            Error::ReferenceChanged { hash, path: path.clone(), what: "is gone" },
            Error::SourceChanged { path: path.clone() },
            Error::NotAFile { path: path.clone() },
            Error::Quota { needed: 3, used: 2, quota: 4 },
            Error::DiskFull { path: path.clone() },
            Error::Sync { path: path.clone(), source: eio() },
            Error::Degraded,
            Error::Owner { owner: "a\nb".into() },
            Error::PinsDamaged { path: path.clone(), line: 3 },
            Error::Range { hash, start: 5, end: 4, size: 10 },
            Error::Fetching { hash },
            Error::TooLarge { hash, size: 9, most: 8 },
            Error::Incomplete { hash, missing: 3 },
            Error::Source { source: eio() },
        ];
        for error in &all {
            let text = error.to_string();
            assert!(!text.ends_with('.') && !text.contains("  ") && !text.contains('\n'), "{text}");
            assert!(!text.starts_with(char::is_uppercase), "{text}");
        }
        assert_eq!(Error::io("open", &path, eio()).to_string(), "cannot open /data/x");
        assert_eq!(
            all[2].to_string(),
            format!(
                "blob {hash} is corrupt: its data does not verify at byte 16384; it is in quarantine, import the file \
                 again or fetch it from another node"
            )
        );
    }

    #[test]
    fn a_full_disk_is_one_error_whatever_the_system_calls_it() {
        for errno in [Errno::NOSPC, Errno::DQUOT, Errno::FBIG] {
            let error = Error::io("write", Path::new("x"), errno.into());
            assert!(matches!(error, Error::DiskFull { .. }), "{errno:?}");
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        }
    }
}
