//! The store through its public face: against a plain model, with damaged files, without room, and killed.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "here a panic is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};

use fondaco_schemas::BlobHash;
use fondaco_store::{Options, Result, Store};

mod crash;
mod damage;
mod keeping;
mod model;
mod partial;
mod room;

const GROUP: usize = 16_384;

/// Bytes that differ from group to group, so that no two groups can be taken for each other.
fn bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

/// The oracle: BLAKE3 as its authors implement it.
fn hash(bytes: &[u8]) -> BlobHash {
    BlobHash::new(*blake3::hash(bytes).as_bytes())
}

fn open(dir: &Path) -> Store {
    Store::open(dir, Options::default()).unwrap()
}

fn put(store: &Store, bytes: &[u8]) -> BlobHash {
    store.import_reader(bytes, &|_| ()).unwrap().hash
}

fn read(store: &Store, hash: BlobHash) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    for piece in store.get(hash)?.reader() {
        out.extend_from_slice(&piece?);
    }
    Ok(out)
}

/// A file of a blob, where the documentation of the layout says that it is.
fn file(dir: &Path, hash: BlobHash, suffix: &str) -> PathBuf {
    dir.join(&hash.to_string()[..2]).join(format!("{hash}{suffix}"))
}

fn count(dir: &Path) -> usize {
    fs::read_dir(dir).unwrap().count()
}
