//! The files of a registry, as whoever runs one makes, changes and signs them. What is not understood in a file that
//! another tool wrote stays in it.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::HEXLOWER;
use fondaco_schemas::PublicKey;
use time::OffsetDateTime;

use super::error::Why;
use super::json::Json;
use super::keys::{key_json, tuf_key_id};
use super::metadata::{Hashes, MetaFile, Root, Signed, Snapshot, TIME, Targets, Timestamp, TopRole};
use super::{MAX_ROOT_BYTES, MAX_SNAPSHOT_BYTES, MAX_TARGETS_BYTES, MAX_TIMESTAMP_BYTES, MAX_VERSION};
use crate::keys::KeyPair;

/// The version of the specification that files are written by.
pub const SPECIFICATION: &str = "1.0.34";

/// When a file expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry(pub OffsetDateTime);

/// A file in the making. It is written by [`Draft::to_bytes`] once it is signed.
#[derive(Clone, Debug)]
pub struct Draft {
    kind: TopRole,
    body: BTreeMap<String, Json>,
    signatures: BTreeMap<String, String>,
}

impl Draft {
    fn new(kind: TopRole, expires: Expiry) -> Self {
        let head = [
            ("_type", kind.as_str().into()),
            ("spec_version", SPECIFICATION.into()),
            ("version", 1.into()),
            ("expires", time_text(expires)),
        ];
        let body = head.into_iter().map(|(field, value)| (field.to_owned(), value)).collect();
        Self { kind, body, signatures: BTreeMap::new() }
    }

    /// A first root, with consistent snapshots. Its roles have no keys yet: [`Draft::set_role`].
    pub fn root(expires: Expiry) -> Self {
        let mut draft = Self::new(TopRole::Root, expires);
        draft.body.insert("consistent_snapshot".into(), Json::Bool(true));
        draft.body.insert("keys".into(), Json::map([]));
        draft.body.insert("roles".into(), Json::map([]));
        draft
    }
    /// A first file of targets, empty.
    pub fn targets(expires: Expiry) -> Self {
        let mut draft = Self::new(TopRole::Targets, expires);
        draft.body.insert("targets".into(), Json::map([]));
        draft
    }
    /// A first snapshot, empty.
    pub fn snapshot(expires: Expiry) -> Self {
        let mut draft = Self::new(TopRole::Snapshot, expires);
        draft.body.insert("meta".into(), Json::map([]));
        draft
    }
    /// A first timestamp, of nothing yet: [`Draft::set_meta`].
    pub fn timestamp(expires: Expiry) -> Self {
        let mut draft = Self::new(TopRole::Timestamp, expires);
        draft.body.insert("meta".into(), Json::map([]));
        draft
    }

    /// A file that was written before, with its signatures. Refused: one that a client would refuse for its form.
    pub fn parse(bytes: &[u8], kind: TopRole) -> Result<Self, Why> {
        let signed = Signed::read(bytes)?;
        match kind {
            TopRole::Root => Root::read(&signed).map(|_| ())?,
            TopRole::Timestamp => Timestamp::read(&signed).map(|_| ())?,
            TopRole::Snapshot => Snapshot::read(&signed).map(|_| ())?,
            TopRole::Targets => Targets::read(&signed).map(|_| ())?,
        }
        let Json::Map(body) = signed.body else { return Err(Why::Form("\"signed\" is no object".into())) };
        Ok(Self { kind, body, signatures: signed.signatures })
    }

    /// Its version.
    pub fn version(&self) -> u64 {
        self.body.get("version").and_then(Json::as_u64).unwrap_or(0)
    }

    /// When it expires.
    pub fn expires(&self) -> Option<OffsetDateTime> {
        let text = self.body.get("expires")?.as_text()?;
        Some(time::PrimitiveDateTime::parse(text, TIME).ok()?.assume_utc())
    }

    /// Makes it the next version: one more, with a new expiry and no signatures.
    pub fn next(&mut self, expires: Expiry) -> Result<(), Why> {
        let version = self.version() + 1;
        if version > MAX_VERSION {
            return Err(Why::Forward);
        }
        self.set_version(version);
        self.set_expiry(expires);
        Ok(())
    }

    /// Gives it another expiry. The signatures go.
    pub fn set_expiry(&mut self, expires: Expiry) {
        self.set("expires", time_text(expires));
    }

    /// Gives it a version. The signatures go.
    pub fn set_version(&mut self, version: u64) {
        self.signatures.clear();
        self.body.insert("version".into(), version.into());
    }

    /// What any field says. The signatures go.
    pub fn set(&mut self, field: &str, value: Json) {
        self.signatures.clear();
        self.body.insert(field.to_owned(), value);
    }

    /// Gives a role of the root its keys, and says how many of them must sign. Keys that no role has any more are taken
    /// out.
    pub fn set_role(&mut self, role: TopRole, keys: &[PublicKey], threshold: u64) -> Result<(), Why> {
        let entry = role_json(keys, threshold)?;
        self.signatures.clear();
        let Some(Json::Map(roles)) = self.body.get_mut("roles") else { return Err(no("roles")) };
        roles.insert(role.as_str().to_owned(), entry);
        let used = roles.values().flat_map(keyids).collect();
        let Some(Json::Map(known)) = self.body.get_mut("keys") else { return Err(no("keys")) };
        put_keys(known, keys, &used);
        Ok(())
    }

    /// Delegates the paths that match one of the patterns to a role; a delegation of that name is replaced, a new one is
    /// the last to be asked.
    pub fn delegate(
        &mut self,
        name: &str,
        keys: &[PublicKey],
        threshold: u64,
        patterns: &[String],
        terminating: bool,
    ) -> Result<(), Why> {
        if TopRole::ALL.iter().any(|role| role.as_str() == name) {
            return Err(Why::Edit(format!("a publisher cannot be called {name:?}, for a role of the root is")));
        }
        let mut entry = role_json(keys, threshold)?;
        if let Json::Map(map) = &mut entry {
            map.insert("name".into(), name.into());
            map.insert("terminating".into(), Json::Bool(terminating));
            map.insert("paths".into(), Json::List(patterns.iter().map(|p| p.as_str().into()).collect()));
        }
        self.signatures.clear();
        let empty = || Json::map([("keys", Json::map([])), ("roles", Json::List(Vec::new()))]);
        let delegations = self.body.entry("delegations".into()).or_insert_with(empty);
        let Json::Map(delegations) = delegations else { return Err(no("delegations")) };
        let Some(Json::List(roles)) = delegations.get_mut("roles") else { return Err(no("roles")) };
        match roles.iter_mut().find(|role| role.get("name").and_then(Json::as_text) == Some(name)) {
            Some(old) => *old = entry,
            None => roles.push(entry),
        }
        let used = roles.iter().flat_map(keyids).collect();
        let Some(Json::Map(known)) = delegations.get_mut("keys") else { return Err(no("keys")) };
        put_keys(known, keys, &used);
        Ok(())
    }

    /// Lists a file under a path, or replaces what was listed there.
    pub fn add_target(&mut self, path: &str, bytes: &[u8], custom: Option<Json>) -> Result<(), Why> {
        let Json::Map(mut entry) = meta_json(None, Some(bytes.len() as u64), Some(&Hashes::of(bytes))) else {
            return Err(no("targets"));
        };
        entry.extend(custom.map(|custom| ("custom".to_owned(), custom)));
        self.set_target(path, Json::Map(entry))
    }

    /// As [`Draft::add_target`], with what is to be written about it.
    pub fn set_target(&mut self, path: &str, entry: Json) -> Result<(), Why> {
        self.signatures.clear();
        let Some(Json::Map(targets)) = self.body.get_mut("targets") else { return Err(no("targets")) };
        targets.insert(path.to_owned(), entry);
        Ok(())
    }

    /// Is a file listed under this path?
    pub fn has_target(&self, path: &str) -> bool {
        self.body.get("targets").is_some_and(|targets| targets.get(path).is_some())
    }

    /// What it lists about another file of metadata.
    pub fn meta_of(&self, file: &str) -> Option<MetaFile> {
        MetaFile::read(self.body.get("meta")?.get(file)?).ok()
    }

    /// Lists another file of metadata, in a snapshot or a timestamp.
    pub fn set_meta(&mut self, file: &str, meta: &MetaFile) -> Result<(), Why> {
        self.signatures.clear();
        let Some(Json::Map(list)) = self.body.get_mut("meta") else { return Err(no("meta")) };
        let entry = meta_json(Some(meta.version), meta.length, meta.hashes.as_ref());
        list.insert(file.to_owned(), entry);
        Ok(())
    }

    /// Lists a file of metadata no more.
    pub fn remove_meta(&mut self, file: &str) {
        self.signatures.clear();
        if let Some(Json::Map(list)) = self.body.get_mut("meta") {
            list.remove(file);
        }
    }

    /// Signs it.
    pub fn sign(&mut self, key: &KeyPair) {
        let message = Json::Map(self.body.clone()).canonical();
        self.signatures.insert(tuf_key_id(&key.public()), HEXLOWER.encode(&key.sign(&message)));
    }

    /// The ids of the keys that signed it.
    pub fn signers(&self) -> impl Iterator<Item = &str> {
        self.signatures.keys().map(String::as_str)
    }

    /// The file. Refused: one that is longer than clients read.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Why> {
        let signature =
            |(id, sig): (&String, &String)| Json::map([("keyid", id.as_str().into()), ("sig", sig.as_str().into())]);
        let signatures = self.signatures.iter().map(signature).collect();
        let file = Json::map([("signatures", Json::List(signatures)), ("signed", Json::Map(self.body.clone()))]);
        let bytes = file.pretty();
        let max = match self.kind {
            TopRole::Root => MAX_ROOT_BYTES,
            TopRole::Timestamp => MAX_TIMESTAMP_BYTES,
            TopRole::Snapshot => MAX_SNAPSHOT_BYTES,
            TopRole::Targets => MAX_TARGETS_BYTES,
        };
        if bytes.len() as u64 > max { Err(Why::TooLong(max)) } else { Ok(bytes) }
    }

    /// What a snapshot or a timestamp lists about it, with length and digest.
    pub fn meta(&self) -> Result<MetaFile, Why> {
        let bytes = self.to_bytes()?;
        let (length, hashes) = (Some(bytes.len() as u64), Some(Hashes::of(&bytes)));
        Ok(MetaFile { version: self.version(), length, hashes })
    }

    /// As a root, to ask for keys.
    pub fn as_root(&self) -> Result<Root, Why> {
        Root::read(&Signed::read(&self.to_bytes()?)?)
    }

    /// As targets, to ask for delegations.
    pub fn as_targets(&self) -> Result<Targets, Why> {
        Targets::read(&Signed::read(&self.to_bytes()?)?)
    }

    /// Is it signed as a root demands of a role?
    pub fn signed_for(&self, root: &Root, role: TopRole) -> Result<(), Why> {
        root.check(role, &Signed::read(&self.to_bytes()?)?)
    }

    /// Is it signed as targets demand of a role that they delegate to?
    pub fn signed_for_delegation(&self, targets: &Targets, role: &str) -> Result<(), Why> {
        targets.check(TopRole::Targets.as_str(), role, &Signed::read(&self.to_bytes()?)?)
    }
}

fn no(field: &str) -> Why {
    Why::Form(format!("it has no {field:?} to change"))
}

fn time_text(expires: Expiry) -> Json {
    // A time of this type has the fields that the format names.
    expires.0.to_offset(time::UtcOffset::UTC).format(TIME).unwrap_or_default().into()
}

fn role_json(keys: &[PublicKey], threshold: u64) -> Result<Json, Why> {
    let mut ids: Vec<String> = keys.iter().map(tuf_key_id).collect();
    ids.sort();
    ids.dedup();
    if threshold == 0 || threshold > ids.len() as u64 {
        return Err(Why::Edit(format!(
            "a threshold of {threshold} with {} different keys: it must be from 1 to their number",
            ids.len()
        )));
    }
    for key in keys {
        crate::check_public_key(key).map_err(Why::Key)?;
    }
    let ids = ids.into_iter().map(Json::Text).collect();
    Ok(Json::map([("keyids", Json::List(ids)), ("threshold", threshold.into())]))
}

fn keyids(role: &Json) -> Vec<String> {
    let Some(Json::List(list)) = role.get("keyids") else { return Vec::new() };
    list.iter().filter_map(|id| id.as_text().map(str::to_owned)).collect()
}

fn put_keys(known: &mut BTreeMap<String, Json>, keys: &[PublicKey], used: &BTreeSet<String>) {
    known.extend(keys.iter().map(|key| (tuf_key_id(key), key_json(key))));
    known.retain(|id, _| used.contains(id));
}

fn meta_json(version: Option<u64>, length: Option<u64>, hashes: Option<&Hashes>) -> Json {
    let hash = |(name, value): (&String, &String)| (name.clone(), Json::Text(value.clone()));
    let fields = [
        version.map(|version| ("version".to_owned(), version.into())),
        length.map(|length| ("length".to_owned(), length.into())),
        hashes.map(|hashes| ("hashes".to_owned(), Json::Map(hashes.0.iter().map(hash).collect()))),
    ];
    Json::Map(fields.into_iter().flatten().collect())
}
