//! A registry's folder: its files as they stand, how they are signed and put in place, and what is listed anew at each
//! refresh. What is changed in it is in [`super::author`].

use std::fs;
use std::path::{Path, PathBuf};

use fondaco_schemas::PublicKey;
use fondaco_trust::KeyPair;
use fondaco_trust::tuf::{Draft, Expiry, Hashes, MetaFile, Refused, Root, Targets, TopRole, Why};
use time::{Duration, OffsetDateTime};

use crate::fail::{Done, Fail, chain};
use crate::folder::replace;

/// How long a root and targets are good: their keys are kept offline, and are used seldom.
pub const LONG: Duration = Duration::days(365);
/// How long a snapshot is good.
pub const SNAPSHOT: Duration = Duration::days(30);
/// How long a timestamp is good: so long can somebody hold back what is newer.
pub const TIMESTAMP: Duration = Duration::days(7);

/// A registry's folder, with the keys that there are.
pub struct Home {
    pub(super) folder: PathBuf,
    pub(super) keys: Vec<KeyPair>,
    pub(super) now: OffsetDateTime,
    /// What was written, in the order in which it is to be uploaded.
    pub written: Vec<String>,
    /// What is said beside.
    pub remarks: Vec<String>,
}

/// A file of a role, as it stands.
pub struct Line {
    /// Whose.
    pub role: String,
    /// Its version; none: it has not been published.
    pub version: Option<u64>,
    /// When it expires.
    pub expires: Option<OffsetDateTime>,
    /// So many keys must sign it.
    pub threshold: u64,
    /// The keys.
    pub keys: Vec<PublicKey>,
    /// What is delegated to it.
    pub patterns: Vec<String>,
}

/// Why an edit is refused.
#[expect(clippy::needless_pass_by_value, reason = "what map_err hands over")]
pub(super) fn because(why: Why) -> Fail {
    Fail::refused(chain(&why))
}

/// A refusal, as a failure.
pub(super) fn refused(refused: &Refused) -> Fail {
    Fail::refused(chain(refused))
}

impl Home {
    /// Opens a folder. `keys`: a folder of key files; every key in it signs where its role is asked. More can be given
    /// as files.
    pub fn open(folder: &Path, keys: &Path, more: &[PathBuf]) -> Done<Self> {
        let mut files = more.to_vec();
        if keys.is_dir() {
            let fail = |e: std::io::Error| Fail::failed(format!("{}: {e}", keys.display()));
            for entry in fs::read_dir(keys).map_err(fail)? {
                let path = entry.map_err(fail)?.path();
                if path.extension().is_some_and(|e| e == "pem") {
                    files.push(path);
                }
            }
        }
        files.sort();
        let keys = files.iter().map(|file| Ok(KeyPair::load(file)?)).collect::<Done<_>>()?;
        let folder = std::path::absolute(folder).map_err(|e| Fail::failed(format!("{}: {e}", folder.display())))?;
        let now = OffsetDateTime::now_utc();
        Ok(Self { folder, keys, now, written: Vec::new(), remarks: Vec::new() })
    }

    pub(super) fn until(&self, span: Duration) -> Expiry {
        Expiry(self.now + span)
    }

    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    /// The file of a role with the highest version that was published.
    pub(super) fn newest(&self, role: &str) -> Done<Option<(u64, Vec<u8>)>> {
        let metadata = self.path("metadata");
        let fail = |e: std::io::Error| {
            let text = format!("{}: {e}: make a registry with `fondaco registry init`", metadata.display());
            if e.kind() == std::io::ErrorKind::NotFound { Fail::not_found(text) } else { Fail::failed(text) }
        };
        let mut newest = None;
        for entry in fs::read_dir(&metadata).map_err(fail)? {
            let name = entry.map_err(fail)?.file_name();
            let version =
                name.to_str().and_then(|name| name.strip_suffix(".json")?.strip_suffix(role)?.strip_suffix('.'));
            newest = version.and_then(|version| version.parse::<u64>().ok()).max(newest);
        }
        let Some(version) = newest else { return Ok(None) };
        let path = metadata.join(format!("{version}.{role}.json"));
        let bytes = fs::read(&path).map_err(|e| Fail::failed(format!("{}: {e}", path.display())))?;
        Ok(Some((version, bytes)))
    }

    pub(super) fn draft(&self, role: &str, kind: TopRole) -> Done<Option<Draft>> {
        let Some((version, bytes)) = self.newest(role)? else { return Ok(None) };
        let draft = Draft::parse(&bytes, kind);
        let draft = draft.map_err(|why| refused(&why.about(format!("{version}.{role}.json"), role, Some(version))))?;
        Ok(Some(draft))
    }

    pub(super) fn root_draft(&self) -> Done<Draft> {
        let root = self.draft("root", TopRole::Root)?;
        root.ok_or_else(|| Fail::not_found(format!("{} has no root", self.path("metadata").display())))
    }

    pub(super) fn root(&self) -> Done<Root> {
        self.root_draft()?.as_root().map_err(|why| refused(&why.about("root.json", "root", None)))
    }

    pub(super) fn targets_draft(&self) -> Done<Draft> {
        let targets = self.draft("targets", TopRole::Targets)?;
        targets.ok_or_else(|| Fail::not_found(format!("{} has no targets", self.path("metadata").display())))
    }

    pub(super) fn targets(&self) -> Done<Targets> {
        self.targets_draft()?.as_targets().map_err(|why| refused(&why.about("targets.json", "targets", None)))
    }

    /// Signs with every key that is there and belongs to the role.
    pub(super) fn sign(&self, draft: &mut Draft, of: &[PublicKey]) {
        for key in self.keys.iter().filter(|key| of.contains(&key.public())) {
            draft.sign(key);
        }
    }

    pub(super) fn write(&mut self, file: &str, bytes: &[u8]) -> Done {
        let path = self.path(file);
        let parent = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(parent).map_err(|e| Fail::failed(format!("{}: {e}", parent.display())))?;
        replace(&path, bytes, 0o644)?;
        self.written.retain(|written| written != file);
        self.written.push(file.to_owned());
        Ok(())
    }

    /// Writes a file of metadata where it belongs, or among the drafts if it lacks signatures. `true`: it is published.
    pub(super) fn place(&mut self, role: &str, draft: &Draft, signed: Result<(), Why>) -> Done<bool> {
        let (name, version) = (format!("{}.{role}.json", draft.version()), Some(draft.version()));
        let bytes = draft.to_bytes().map_err(|why| refused(&why.about(&name, role, version)))?;
        let lacking = self.path("drafts").join(&name);
        match signed {
            Ok(()) => {
                self.write(&format!("metadata/{name}"), &bytes)?;
                let _ = fs::remove_file(lacking);
                Ok(true)
            }
            Err(Why::Threshold { signed, threshold, .. }) => {
                let drafts = self.path("drafts");
                fs::create_dir_all(&drafts).map_err(|e| Fail::failed(format!("{}: {e}", drafts.display())))?;
                replace(&lacking, &bytes, 0o644)?;
                self.remarks.push(format!(
                    "drafts/{name} has {signed} of {threshold} signatures: whoever has another key of {role} runs `fondaco registry sign {} {name} --key <file>`",
                    self.folder.display()
                ));
                Ok(false)
            }
            Err(why) => Err(refused(&why.about(name, role, version))),
        }
    }

    /// A root, which the one before and itself must sign.
    pub(super) fn place_root(&mut self, mut root: Draft, before: Option<&Root>) -> Done<bool> {
        let new = root.as_root().map_err(because)?;
        let mut keys = new.keys(TopRole::Root).0;
        keys.extend(before.map(|before| before.keys(TopRole::Root).0).unwrap_or_default());
        self.sign(&mut root, &keys);
        let signed = before.map_or(Ok(()), |before| root.signed_for(before, TopRole::Root));
        let signed = signed.and_then(|()| root.signed_for(&new, TopRole::Root));
        self.place("root", &root, signed)
    }

    pub(super) fn place_targets(&mut self, mut targets: Draft) -> Done<bool> {
        let root = self.root()?;
        self.sign(&mut targets, &root.keys(TopRole::Targets).0);
        let signed = targets.signed_for(&root, TopRole::Targets);
        self.place("targets", &targets, signed)
    }

    pub(super) fn place_delegated(&mut self, role: &str, mut draft: Draft) -> Done<bool> {
        let targets = self.targets()?;
        let delegation = targets.delegations().iter().find(|d| d.name == role);
        let keys = delegation.map(|d| targets.keys(d).0).unwrap_or_default();
        self.sign(&mut draft, &keys);
        let signed = draft.signed_for_delegation(&targets, role);
        self.place(role, &draft, signed)
    }

    pub(super) fn refresh_if_possible(&mut self) -> Done {
        let root = self.root()?;
        let here: Vec<PublicKey> = self.keys.iter().map(KeyPair::public).collect();
        let can = |role| {
            let (keys, threshold) = root.keys(role);
            keys.iter().filter(|key| here.contains(key)).count() as u64 >= threshold
        };
        if can(TopRole::Snapshot) && can(TopRole::Timestamp) {
            return self.refresh(TIMESTAMP);
        }
        self.remarks.push(format!(
            "the keys of snapshot and timestamp are not here: whoever has them runs `fondaco registry refresh {}`, and then clients see it",
            self.folder.display()
        ));
        Ok(())
    }

    /// Lists what there is in a new snapshot, where it differs from the last one or would expire before the timestamp,
    /// and makes a new timestamp.
    pub fn refresh(&mut self, timestamp_for: Duration) -> Done {
        let (root, targets) = (self.root()?, self.targets()?);
        let old = self.draft("snapshot", TopRole::Snapshot)?;
        let mut snapshot = old.clone().unwrap_or_else(|| Draft::snapshot(self.until(SNAPSHOT)));
        let mut roles = vec!["targets".to_owned()];
        roles.extend(targets.delegations().iter().map(|d| d.name.clone()));
        let mut changed = old.is_none();
        for role in roles {
            let Some(draft) = self.draft(&role, TopRole::Targets)? else {
                self.remarks.push(format!("{role} has published nothing yet"));
                continue;
            };
            if role == "targets" {
                let about = |why: Why| refused(&why.about("targets.json", "targets", Some(draft.version())));
                draft.signed_for(&root, TopRole::Targets).map_err(about)?;
            } else if let Err(why) = draft.signed_for_delegation(&targets, &role) {
                // Listed all the same: what a snapshot has listed stays in it. Clients refuse this publisher's file only.
                self.remarks.push(refused(&why.about(format!("{role}.json"), &role, Some(draft.version()))).text);
            }
            if let Some(expires) = draft.expires().filter(|e| *e < self.now + SNAPSHOT) {
                self.remarks
                    .push(format!("{role} expires at {expires}: have it signed anew with `fondaco registry renew`"));
            }
            let Some(entry) = self.listed(&role)? else { continue };
            let file = format!("{role}.json");
            if snapshot.meta_of(&file).as_ref() != Some(&entry) {
                changed = true;
                snapshot.set_meta(&file, &entry).map_err(because)?;
            }
        }
        let until = self.until(timestamp_for);
        let is_short = old.as_ref().is_none_or(|old| {
            old.expires().is_none_or(|e| e < until.0) || old.signed_for(&root, TopRole::Snapshot).is_err()
        });
        if changed || is_short {
            if old.is_some() {
                snapshot.next(self.until(SNAPSHOT.max(timestamp_for))).map_err(because)?;
            }
            self.sign(&mut snapshot, &root.keys(TopRole::Snapshot).0);
            let signed = snapshot.signed_for(&root, TopRole::Snapshot);
            self.online("snapshot", &snapshot, signed)?;
        }
        let path = self.path("metadata/timestamp.json");
        let mut timestamp = match fs::read(&path) {
            Err(_) => Draft::timestamp(until),
            Ok(bytes) => {
                let old = Draft::parse(&bytes, TopRole::Timestamp);
                let mut old = old.map_err(|why| refused(&why.about("timestamp.json", "timestamp", None)))?;
                old.next(until).map_err(because)?;
                old
            }
        };
        let entry = self.listed("snapshot")?.ok_or_else(|| Fail::not_found("there is no snapshot"))?;
        timestamp.set_meta("snapshot.json", &entry).map_err(because)?;
        self.sign(&mut timestamp, &root.keys(TopRole::Timestamp).0);
        let signed = timestamp.signed_for(&root, TopRole::Timestamp);
        self.online("timestamp", &timestamp, signed)
    }

    /// What is listed about a file: as it lies there, whoever wrote it.
    fn listed(&self, role: &str) -> Done<Option<MetaFile>> {
        let newest = self.newest(role)?;
        Ok(newest.map(|(version, bytes)| MetaFile {
            version,
            length: Some(bytes.len() as u64),
            hashes: Some(Hashes::of(&bytes)),
        }))
    }

    /// Writes a snapshot or a timestamp; its keys must be here.
    fn online(&mut self, role: &str, draft: &Draft, signed: Result<(), Why>) -> Done {
        let version = draft.version();
        let name = if role == "timestamp" { "timestamp.json".to_owned() } else { format!("{version}.{role}.json") };
        let about = |why: Why| refused(&why.about(&name, role, Some(version)));
        match signed {
            Err(Why::Threshold { signed, threshold, .. }) => Err(Fail::refused(format!(
                "{signed} of the {threshold} keys of {role} are here: give them with --keys or --key"
            ))),
            Err(why) => Err(about(why)),
            Ok(()) => {
                let bytes = draft.to_bytes().map_err(about)?;
                self.write(&format!("metadata/{name}"), &bytes)
            }
        }
    }

    /// Digest and version of the newest root: what clients pin.
    pub fn pin(&self) -> Done<(u64, String)> {
        let root = self.newest("root")?;
        let (version, bytes) = root.ok_or_else(|| Fail::not_found("there is no root"))?;
        Ok((version, super::client::digest(&bytes)))
    }

    /// Every role, as it stands.
    pub fn lines(&self) -> Done<Vec<Line>> {
        let (root, targets) = (self.root()?, self.targets()?);
        let mut lines = Vec::new();
        for role in TopRole::ALL {
            let draft = if role == TopRole::Timestamp {
                let bytes = fs::read(self.path("metadata/timestamp.json")).unwrap_or_default();
                Draft::parse(&bytes, role).ok()
            } else {
                self.draft(role.as_str(), role)?
            };
            let (keys, threshold) = root.keys(role);
            lines.push(line(role.as_str(), draft.as_ref(), keys, threshold, &[]));
        }
        for delegation in targets.delegations() {
            let draft = self.draft(&delegation.name, TopRole::Targets)?;
            let (keys, threshold) = targets.keys(delegation);
            lines.push(line(&delegation.name, draft.as_ref(), keys, threshold, delegation.patterns()));
        }
        Ok(lines)
    }

    /// Paths of all bundles that publishers list.
    pub fn bundles(&self) -> Done<Vec<(String, String)>> {
        let mut bundles = Vec::new();
        for delegation in self.targets()?.delegations() {
            let Some(draft) = self.draft(&delegation.name, TopRole::Targets)? else { continue };
            let targets = draft.as_targets().map_err(because)?;
            bundles.extend(targets.paths().map(|path| (delegation.name.clone(), path.to_owned())));
        }
        Ok(bundles)
    }
}

fn line(role: &str, draft: Option<&Draft>, keys: Vec<PublicKey>, threshold: u64, patterns: &[String]) -> Line {
    Line {
        role: role.to_owned(),
        version: draft.map(Draft::version),
        expires: draft.and_then(Draft::expires),
        threshold,
        keys,
        patterns: patterns.to_vec(),
    }
}
