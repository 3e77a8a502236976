//! A registry in memory that can misbehave, and a client that keeps what it is told to keep.

use std::collections::BTreeMap;

use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use super::author::{Draft, Expiry};
use super::client::Update;
use super::error::Refused;
use super::json::Json;
use super::metadata::{MetaFile, TopRole};
use crate::keys::KeyPair;

/// When tests take place.
pub const NOW: OffsetDateTime = datetime!(2030-01-01 00:00 UTC);

/// A key of its own for each number.
pub fn key(number: u8) -> KeyPair {
    KeyPair::from_seed(&[number; 32]).unwrap()
}

pub const TOP: [&str; 4] = ["root", "targets", "snapshot", "timestamp"];

/// A registry.
pub struct Repo {
    pub drafts: BTreeMap<String, Draft>,
    /// Who signs for a role.
    pub signers: BTreeMap<String, Vec<u8>>,
    /// What is served, by name.
    pub files: BTreeMap<String, Vec<u8>>,
    pub artifacts: BTreeMap<String, Vec<u8>>,
    /// Lengths and digests in the timestamp and the snapshot.
    pub hashes: bool,
    /// What was asked for.
    pub asked: Vec<String>,
    next_key: u8,
}

pub fn kind(role: &str) -> TopRole {
    TopRole::ALL.into_iter().find(|r| r.as_str() == role).unwrap_or(TopRole::Targets)
}

impl Repo {
    /// With version 1 of everything; each role has the key of its place in [`TOP`].
    pub fn new() -> Self {
        let expires = Expiry(NOW + Duration::days(30));
        let mut root = Draft::root(expires);
        let mut signers = BTreeMap::new();
        for (number, role) in (0_u8..).zip(TOP) {
            root.set_role(kind(role), &[key(number).public()], 1).unwrap();
            signers.insert(role.to_owned(), vec![number]);
        }
        let drafts = [
            ("root", root),
            ("targets", Draft::targets(expires)),
            ("snapshot", Draft::snapshot(expires)),
            ("timestamp", Draft::timestamp(expires)),
        ];
        let drafts = drafts.into_iter().map(|(role, draft)| (role.to_owned(), draft)).collect();
        let mut repo = Self {
            drafts,
            signers,
            files: BTreeMap::new(),
            artifacts: BTreeMap::new(),
            hashes: false,
            asked: Vec::new(),
            next_key: 100,
        };
        for role in TOP {
            repo.write(role);
        }
        repo
    }

    pub fn draft(&mut self, role: &str) -> &mut Draft {
        self.drafts.get_mut(role).unwrap()
    }

    pub fn version(&self, role: &str) -> u64 {
        self.drafts[role].version()
    }

    /// The name that a role's file has now.
    pub fn file(&self, role: &str) -> String {
        let role_file = super::client::quote(role);
        if role == "timestamp" { "timestamp.json".into() } else { format!("{}.{role_file}.json", self.version(role)) }
    }

    /// The next version of each, signed and served. What lists it lists the new version, once that is published.
    pub fn publish(&mut self, roles: &[&str]) {
        for role in roles {
            self.publish_until(role, NOW + Duration::days(30));
        }
    }

    /// As [`Repo::publish`], of one role and with an expiry.
    pub fn publish_until(&mut self, role: &str, expires: OffsetDateTime) {
        self.draft(role).next(Expiry(expires)).unwrap();
        self.write(role);
    }

    /// Signs and serves what is there, without another version.
    pub fn write(&mut self, role: &str) {
        let keys = self.signers[role].clone();
        let draft = self.draft(role);
        for number in &keys {
            draft.sign(&key(*number));
        }
        self.serve(role);
    }

    /// Serves what is there, without signing it.
    pub fn serve(&mut self, role: &str) {
        let (name, bytes) = (self.file(role), self.drafts[role].to_bytes().unwrap());
        self.files.insert(name, bytes);
        match kind(role) {
            TopRole::Targets => self.list("snapshot", role),
            TopRole::Snapshot => self.list("timestamp", role),
            _ => {}
        }
    }

    /// Lists the served file of a role in the draft of another.
    pub fn list(&mut self, lister: &str, role: &str) {
        let full = self.drafts[role].meta().unwrap();
        let bare = MetaFile { version: full.version, length: None, hashes: None };
        let meta = if self.hashes { full } else { bare };
        self.draft(lister).set_meta(&format!("{role}.json"), &meta).unwrap();
    }

    /// A key that no role had before, for a role of the root, instead of those it has.
    pub fn rotate(&mut self, role: &str) {
        let number = self.new_key();
        self.set_keys(role, &[number], 1);
        self.signers.insert(role.to_owned(), vec![number]);
    }

    /// Numbers of keys begin anew.
    pub fn start_keys_again(&mut self) {
        self.next_key = 100;
    }

    pub fn new_key(&mut self) -> u8 {
        self.next_key += 1;
        self.next_key
    }

    pub fn set_keys(&mut self, role: &str, numbers: &[u8], threshold: u64) {
        let keys: Vec<_> = numbers.iter().map(|n| key(*n).public()).collect();
        self.draft("root").set_role(kind(role), &keys, threshold).unwrap();
    }

    /// Delegates from one role to another, which gets a key of its own and is made if it is new.
    pub fn delegate(&mut self, from: &str, to: &str, patterns: &[&str], terminating: bool) {
        let number = self.new_key();
        let patterns: Vec<String> = patterns.iter().map(|p| (*p).to_owned()).collect();
        self.draft(from).delegate(to, &[key(number).public()], 1, &patterns, terminating).unwrap();
        self.signers.entry(to.to_owned()).or_default().push(number);
        let expires = Expiry(NOW + Duration::days(30));
        self.drafts.entry(to.to_owned()).or_insert_with(|| Draft::targets(expires));
    }

    /// Lists a file in a role, and serves it.
    pub fn add(&mut self, role: &str, path: &str, bytes: &[u8]) {
        self.draft(role).add_target(path, bytes, None).unwrap();
        self.artifacts.insert(path.to_owned(), bytes.to_vec());
    }

    /// Changes the JSON of a served file, whose signatures stay as they are.
    pub fn tamper(&mut self, name: &str, change: impl FnOnce(&mut BTreeMap<String, Json>)) {
        let Json::Map(mut map) = Json::parse(&self.files[name]).unwrap() else { panic!("{name} is no object") };
        change(&mut map);
        self.files.insert(name.to_owned(), Json::Map(map).pretty());
    }
}

/// A client with what it keeps.
pub struct Client {
    pub kept: BTreeMap<String, Vec<u8>>,
    pub now: OffsetDateTime,
    /// Files that it fetched, in their order.
    pub downloads: Vec<Vec<u8>>,
}

impl Client {
    /// It trusts the first root of the registry.
    pub fn new(repo: &Repo) -> Self {
        Self::with_root(repo.files["1.root.json"].clone())
    }

    pub fn with_root(root: Vec<u8>) -> Self {
        Self { kept: [("root.json".to_owned(), root)].into(), now: NOW, downloads: Vec::new() }
    }

    pub fn begin(&self) -> Result<Update, Refused> {
        Update::begin(&self.kept["root.json"], self.now)
    }

    pub fn drive(&mut self, update: &mut Update, repo: &mut Repo) -> Result<(), Refused> {
        while let Some(request) = update.next()? {
            if self.kept.get(&request.local).is_some_and(|bytes| update.offer(bytes)) {
                continue;
            }
            repo.asked.push(request.file.clone());
            let bytes = repo.files.get(&request.file);
            if update.take(bytes.map(Vec::as_slice))? {
                self.kept.insert(request.local, bytes.unwrap().clone());
            }
        }
        Ok(())
    }

    pub fn refresh(&mut self, repo: &mut Repo) -> Result<Update, Refused> {
        let mut update = self.begin()?;
        self.drive(&mut update, repo)?;
        Ok(update)
    }

    /// Fetches a target; `None`: there is no such target.
    pub fn download(&mut self, repo: &mut Repo, path: &str) -> Result<Option<Vec<u8>>, Refused> {
        let mut update = self.begin()?;
        self.fetch(&mut update, repo, path)
    }

    pub fn fetch(&mut self, update: &mut Update, repo: &mut Repo, path: &str) -> Result<Option<Vec<u8>>, Refused> {
        update.want(path);
        self.drive(update, repo)?;
        let Some(found) = update.found(path) else { return Ok(None) };
        let file = update.target_file(path, found.target)?;
        repo.asked.push(file.clone());
        // A registry that has substituted the file serves it under the name that is asked for.
        let bytes = repo.artifacts[path].clone();
        update.check_target(path, &found, &bytes)?;
        self.downloads.push(bytes.clone());
        Ok(Some(bytes))
    }

    /// The version of a role's file that is kept.
    pub fn version(&self, role: &str) -> Option<u64> {
        let bytes = self.kept.get(&format!("{}.json", super::client::quote(role)))?;
        Json::parse(bytes).ok()?.get("signed")?.get("version")?.as_u64()
    }

    /// Versions of all that is kept, in the order of [`TOP`].
    pub fn versions(&self) -> [Option<u64>; 4] {
        TOP.map(|role| self.version(role))
    }
}
