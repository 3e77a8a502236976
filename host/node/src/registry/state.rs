//! What the node keeps about a registry, in `data/registries/<name>/`: the metadata that it trusts, the time that its
//! clock showed, the bundles that it fetched. Metadata is not believed when it is read again, only offered.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use fondaco_schemas::{BlobHash, RegistryName};
use fondaco_trust::tuf;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::fail::{Done, Fail};
use crate::folder::replace;

/// The root that the operator pinned when this state began.
const PIN: &str = "pin";
/// The latest time that an update took place, RFC 3339.
const SEEN: &str = "seen";
/// Until when the metadata is fresh, RFC 3339.
const FRESH: &str = "fresh-until";
const METADATA: &str = "metadata";
const BUNDLES: &str = "bundles";

/// The state of one registry. One process has it at a time.
#[derive(Debug)]
pub struct State {
    dir: PathBuf,
    _lock: File,
}

impl State {
    /// Opens it, and waits for another process that has it. Where the operator has pinned another root than before, the
    /// metadata that followed from that one is forgotten.
    pub fn open(registries: &Path, name: &RegistryName, pin: &str) -> Done<Self> {
        let dir = registries.join(name.as_str());
        let fail = |e: std::io::Error| Fail::failed(format!("{}: {e}", dir.display()));
        fs::create_dir_all(dir.join(METADATA)).and_then(|()| fs::create_dir_all(dir.join(BUNDLES))).map_err(fail)?;
        let lock = File::create(dir.join(".lock")).map_err(fail)?;
        lock.lock().map_err(fail)?;
        let state = Self { dir, _lock: lock };
        if state.text(PIN).as_deref() != Some(pin) {
            for entry in fs::read_dir(state.dir.join(METADATA)).map_err(|e| state.fail(&e))? {
                let removed = entry.and_then(|entry| fs::remove_file(entry.path()));
                removed.map_err(|e| state.fail(&e))?;
            }
            let _ = fs::remove_file(state.dir.join(FRESH));
            replace(&state.dir.join(PIN), pin.as_bytes(), 0o644)?;
        }
        Ok(state)
    }

    fn fail(&self, error: &std::io::Error) -> Fail {
        Fail::failed(format!("{}: {error}", self.dir.display()))
    }

    /// A kept file of metadata. One that is too long to be one is none.
    pub fn metadata(&self, name: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = File::open(self.dir.join(METADATA).join(name)).ok()?;
        file.take(tuf::MAX_TARGETS_BYTES + 1).read_to_end(&mut bytes).ok()?;
        (bytes.len() as u64 <= tuf::MAX_TARGETS_BYTES).then_some(bytes)
    }

    /// Keeps a file of metadata.
    pub fn keep(&self, name: &str, bytes: &[u8]) -> Done {
        replace(&self.dir.join(METADATA).join(name), bytes, 0o644)
    }

    fn text(&self, name: &str) -> Option<String> {
        read(&self.dir, name)
    }

    /// When the latest update took place.
    pub fn seen(&self) -> Option<OffsetDateTime> {
        OffsetDateTime::parse(&self.text(SEEN)?, &Rfc3339).ok()
    }

    /// An update took place, and what it found is fresh for so long.
    pub fn updated(&self, now: OffsetDateTime, fresh_until: OffsetDateTime) -> Done {
        for (name, time) in [(SEEN, now), (FRESH, fresh_until)] {
            replace(&self.dir.join(name), time.format(&Rfc3339).map_err(Fail::failed)?.as_bytes(), 0o644)?;
        }
        Ok(())
    }

    /// Keeps a bundle, and that it came from here; the path of its file.
    pub fn keep_bundle(&self, name: &str, bytes: &[u8]) -> Done<PathBuf> {
        let bundles = self.dir.join(BUNDLES);
        let digest = BlobHash::new(*blake3::hash(bytes).as_bytes());
        let path = bundles.join(name);
        replace(&path, bytes, 0o644)?;
        replace(&bundles.join(format!("{digest}.from")), name.as_bytes(), 0o644)?;
        Ok(path)
    }
}

fn read(dir: &Path, name: &str) -> Option<String> {
    let mut text = String::new();
    File::open(dir.join(name)).ok()?.take(4096).read_to_string(&mut text).ok()?;
    Some(text.trim().to_owned())
}

/// The registry that a bundle was fetched from, and until when what that registry said last is fresh.
pub fn origin(registries: &Path, bundle: &BlobHash) -> Option<(RegistryName, Option<OffsetDateTime>)> {
    let mut names: Vec<RegistryName> =
        fs::read_dir(registries).ok()?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    names.sort();
    let came =
        |name: &RegistryName| registries.join(name.as_str()).join(BUNDLES).join(format!("{bundle}.from")).is_file();
    let name = names.into_iter().find(came)?;
    let fresh = read(&registries.join(name.as_str()), FRESH);
    Some((name, fresh.and_then(|text| OffsetDateTime::parse(&text, &Rfc3339).ok())))
}
