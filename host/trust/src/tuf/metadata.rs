//! The four kinds of files of a registry, as section 4 of the specification has them. Fields that are not known are
//! signed with the rest and otherwise left alone.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use ring::digest::{SHA256, SHA512, digest};
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

use super::MAX_VERSION;
use super::error::Why;
use super::json::Json;
use super::keys::{Keys, RoleKeys};
use super::pattern::matches;

/// `YYYY-MM-DDTHH:MM:SSZ`, and nothing else (4.2.3).
pub const TIME: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");

/// The roles that a root names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TopRole {
    /// Says which keys the others have.
    Root,
    /// Says which snapshot is the newest.
    Timestamp,
    /// Says which versions of targets belong together.
    Snapshot,
    /// Says what there is, and who else may say so.
    Targets,
}

impl TopRole {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Root, Self::Timestamp, Self::Snapshot, Self::Targets];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Timestamp => "timestamp",
            Self::Snapshot => "snapshot",
            Self::Targets => "targets",
        }
    }
}

/// Bytes that claim to be metadata: what is signed, and signatures that nobody has looked at.
#[derive(Clone, Debug)]
pub struct Signed {
    /// By ids of keys, in hexadecimal.
    pub signatures: BTreeMap<String, String>,
    pub body: Json,
    /// The canonical form of the body: the message of the signatures.
    pub message: Vec<u8>,
}

impl Signed {
    /// Reads the envelope (4.2.1). A key that signs twice is refused.
    pub fn read(bytes: &[u8]) -> Result<Self, Why> {
        let json = Json::parse(bytes).map_err(|e| Why::Form(e.to_string()))?;
        let (Some(body), Some(Json::List(list))) = (json.get("signed"), json.get("signatures")) else {
            return Err(Why::Form("it has no \"signed\" with \"signatures\"".into()));
        };
        let mut signatures = BTreeMap::new();
        for entry in list {
            let (id, signature) = (text(entry, "keyid")?, text(entry, "sig")?);
            if signatures.insert(id.to_owned(), signature.to_owned()).is_some() {
                return Err(Why::Form("one key signs twice".into()));
            }
        }
        Ok(Self { signatures, body: body.clone(), message: body.canonical() })
    }

    /// What every role's file has: its type as expected, a version and an expiry.
    pub fn head(&self, kind: TopRole) -> Result<Head, Why> {
        let found = text(&self.body, "_type")?;
        if found != kind.as_str() {
            return Err(Why::Type(found.chars().take(40).collect()));
        }
        let specification = text(&self.body, "spec_version")?;
        if specification.split('.').next() != Some("1") {
            return Err(Why::Specification(specification.chars().take(40).collect()));
        }
        let expires = PrimitiveDateTime::parse(text(&self.body, "expires")?, TIME);
        let expires = expires.map_err(|_| Why::Form("\"expires\" is no time such as 2030-01-01T00:00:00Z".into()))?;
        Ok(Head { version: version(&self.body)?, expires: expires.assume_utc() })
    }
}

/// What every role's file says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// From 1.
    pub version: u64,
    /// It is not trusted from then on.
    pub expires: OffsetDateTime,
}

impl Head {
    /// It must expire after the time of the update.
    pub fn check_expiry(&self, now: OffsetDateTime) -> Result<(), Why> {
        if self.expires > now { Ok(()) } else { Err(Why::Expired(self.expires)) }
    }
}

/// `root.json` (4.3).
#[derive(Clone, Debug)]
pub struct Root {
    pub(super) head: Head,
    /// Files carry their version in their name, targets their digest.
    pub(super) consistent: bool,
    pub(super) keys: Keys,
    pub(super) roles: BTreeMap<TopRole, RoleKeys>,
}

impl Root {
    pub(super) fn read(signed: &Signed) -> Result<Self, Why> {
        let head = signed.head(TopRole::Root)?;
        let keys = Keys::read(field(&signed.body, "keys")?)?;
        let roles = field(&signed.body, "roles")?;
        let role = |role: TopRole| Ok((role, RoleKeys::read(field(roles, role.as_str())?)?));
        let roles = TopRole::ALL.into_iter().map(role).collect::<Result<_, Why>>()?;
        let consistent = match signed.body.get("consistent_snapshot") {
            None => false,
            Some(Json::Bool(value)) => *value,
            Some(_) => return Err(Why::Form("\"consistent_snapshot\" is neither true nor false".into())),
        };
        Ok(Self { head, consistent, keys, roles })
    }

    /// Is it signed by enough keys of this role?
    pub(super) fn check(&self, role: TopRole, signed: &Signed) -> Result<(), Why> {
        let keys = self.roles.get(&role).ok_or_else(|| Why::Form("it names no such role".into()))?;
        self.keys.check(keys, TopRole::Root.as_str(), &signed.message, &signed.signatures)
    }

    /// The keys of a role, and how many of them must sign.
    pub fn keys(&self, role: TopRole) -> (Vec<fondaco_schemas::PublicKey>, u64) {
        self.roles.get(&role).map_or((Vec::new(), 1), |keys| (self.keys.of(keys), keys.threshold))
    }
}

/// Digests by algorithm, in hexadecimal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hashes(pub BTreeMap<String, String>);

impl Hashes {
    fn read(json: &Json) -> Result<Self, Why> {
        let Json::Map(map) = json else { return Err(Why::Form("\"hashes\" is no object".into())) };
        let hash = |(name, value): (&String, &Json)| {
            let value = value.as_text().filter(|v| !v.is_empty() && v.bytes().all(|b| b.is_ascii_hexdigit()));
            let value = value.ok_or_else(|| Why::Form("a digest is not in hexadecimal".into()))?;
            Ok((name.clone(), value.to_ascii_lowercase()))
        };
        map.iter().map(hash).collect::<Result<_, Why>>().map(Self)
    }

    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self([("sha256".to_owned(), HEXLOWER.encode(digest(&SHA256, bytes).as_ref()))].into())
    }

    /// Every digest that can be checked must fit, and one must be there.
    pub(super) fn check(&self, bytes: &[u8]) -> Result<(), Why> {
        let mut checked = false;
        for (name, algorithm, words) in [("sha256", &SHA256, "SHA-256"), ("sha512", &SHA512, "SHA-512")] {
            if let Some(listed) = self.0.get(name) {
                checked = true;
                if *listed != HEXLOWER.encode(digest(algorithm, bytes).as_ref()) {
                    return Err(Why::Digest(words));
                }
            }
        }
        if checked { Ok(()) } else { Err(Why::NoDigest) }
    }

    /// The digest that a file's name begins with, where snapshots are consistent.
    pub(super) fn prefix(&self) -> Result<&str, Why> {
        let found = ["sha256", "sha512"].into_iter().find_map(|name| self.0.get(name));
        found.map(String::as_str).ok_or(Why::NoDigest)
    }
}

/// What a timestamp or a snapshot says about another file (`METAFILES`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaFile {
    /// Its version.
    pub version: u64,
    /// In bytes.
    pub length: Option<u64>,
    /// Its digests.
    pub hashes: Option<Hashes>,
}

impl MetaFile {
    pub(super) fn read(json: &Json) -> Result<Self, Why> {
        let hashes = json.get("hashes").map(Hashes::read).transpose()?;
        Ok(Self { version: version(json)?, length: length(json)?, hashes })
    }

    /// The bytes must have the length and the digests that are listed.
    pub(super) fn check(&self, bytes: &[u8]) -> Result<(), Why> {
        let found = bytes.len() as u64;
        if let Some(listed) = self.length.filter(|listed| *listed != found) {
            return Err(Why::Length { found, listed });
        }
        self.hashes.as_ref().map_or(Ok(()), |hashes| hashes.check(bytes))
    }
}

/// `timestamp.json` (4.6).
#[derive(Clone, Debug)]
pub struct Timestamp {
    pub(super) head: Head,
    pub(super) snapshot: MetaFile,
}

impl Timestamp {
    pub(super) fn read(signed: &Signed) -> Result<Self, Why> {
        let head = signed.head(TopRole::Timestamp)?;
        let meta = field(&signed.body, "meta")?;
        Ok(Self { head, snapshot: MetaFile::read(field(meta, "snapshot.json")?)? })
    }
}

/// `snapshot.json` (4.4).
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(super) head: Head,
    /// By file names without version: `targets.json`.
    pub(super) meta: BTreeMap<String, MetaFile>,
}

impl Snapshot {
    pub(super) fn read(signed: &Signed) -> Result<Self, Why> {
        let head = signed.head(TopRole::Snapshot)?;
        let Json::Map(meta) = field(&signed.body, "meta")? else {
            return Err(Why::Form("\"meta\" is no object".into()));
        };
        let meta = meta.iter().map(|(name, json)| Ok((name.clone(), MetaFile::read(json)?)));
        Ok(Self { head, meta: meta.collect::<Result<_, Why>>()? })
    }
}

/// A file that can be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetFile {
    /// In bytes.
    pub length: u64,
    /// Its digests.
    pub hashes: Hashes,
    /// What else is said about it; signed, and of no meaning to the workflow.
    pub custom: Option<Json>,
}

impl TargetFile {
    fn read(json: &Json) -> Result<Self, Why> {
        let length = length(json)?.ok_or_else(|| Why::Form("a target has no length".into()))?;
        Ok(Self { length, hashes: Hashes::read(field(json, "hashes")?)?, custom: json.get("custom").cloned() })
    }
}

/// Metadata of targets (4.5).
#[derive(Clone, Debug)]
#[expect(clippy::struct_field_names, reason = "the specification's own name for the field")]
pub struct Targets {
    pub(super) head: Head,
    pub(super) targets: BTreeMap<String, TargetFile>,
    pub(super) keys: Keys,
    /// In the order of trust.
    pub(super) delegations: Vec<Delegation>,
}

impl Targets {
    pub(super) fn read(signed: &Signed) -> Result<Self, Why> {
        let head = signed.head(TopRole::Targets)?;
        let Json::Map(targets) = field(&signed.body, "targets")? else {
            return Err(Why::Form("\"targets\" is no object".into()));
        };
        let targets = targets.iter().map(|(path, json)| Ok((path.clone(), TargetFile::read(json)?)));
        let targets = targets.collect::<Result<_, Why>>()?;
        let (mut keys, mut delegations) = (Keys::default(), Vec::<Delegation>::new());
        if let Some(json) = signed.body.get("delegations") {
            keys = Keys::read(field(json, "keys")?)?;
            let Json::List(list) = field(json, "roles")? else {
                return Err(Why::Form("\"roles\" of delegations is no list".into()));
            };
            for json in list {
                let delegation = Delegation::read(json)?;
                if delegations.iter().any(|d| d.name == delegation.name) {
                    return Err(Why::Form("it delegates to one role twice".into()));
                }
                delegations.push(delegation);
            }
        }
        Ok(Self { head, targets, keys, delegations })
    }

    /// Is it signed by enough keys of a role that this one delegates to?
    pub(super) fn check(&self, delegator: &str, role: &str, signed: &Signed) -> Result<(), Why> {
        let delegation = self.delegations.iter().find(|d| d.name == role);
        let delegation = delegation.ok_or_else(|| Why::Form(format!("{delegator} does not delegate to it")))?;
        self.keys.check(&delegation.keys, delegator, &signed.message, &signed.signatures)
    }

    /// What it says about a path itself; not what those say that it delegates to.
    pub fn target(&self, path: &str) -> Option<&TargetFile> {
        self.targets.get(path)
    }

    /// The paths that it lists itself.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.targets.keys().map(String::as_str)
    }

    /// To whom it delegates, in the order of trust.
    pub fn delegations(&self) -> &[Delegation] {
        &self.delegations
    }

    /// The keys of a role that it delegates to, and how many of them must sign.
    pub fn keys(&self, delegation: &Delegation) -> (Vec<fondaco_schemas::PublicKey>, u64) {
        (self.keys.of(&delegation.keys), delegation.keys.threshold)
    }
}

/// To whom paths are delegated.
#[derive(Clone, Debug)]
pub struct Delegation {
    /// The role.
    pub name: String,
    /// Where it covers a path and does not have it, nobody after it is asked.
    pub terminating: bool,
    pub(super) keys: RoleKeys,
    paths: Paths,
}

#[derive(Clone, Debug)]
enum Paths {
    Patterns(Vec<String>),
    /// Beginnings of the SHA-256 of the path, in hexadecimal.
    HashPrefixes(Vec<String>),
}

impl Delegation {
    fn read(json: &Json) -> Result<Self, Why> {
        let name = text(json, "name")?.to_owned();
        if TopRole::ALL.iter().any(|role| role.as_str() == name) {
            return Err(Why::Form(format!("it delegates to {name:?}, which is a role of the root")));
        }
        let Json::Bool(terminating) = field(json, "terminating")? else {
            return Err(Why::Form("\"terminating\" is neither true nor false".into()));
        };
        let paths = match (json.get("paths"), json.get("path_hash_prefixes")) {
            (Some(list), None) => Paths::Patterns(texts(list)?),
            (None, Some(list)) => Paths::HashPrefixes(texts(list)?),
            _ => return Err(Why::Form("a delegation needs \"paths\" or \"path_hash_prefixes\", and not both".into())),
        };
        Ok(Self { name, terminating: *terminating, keys: RoleKeys::read(json)?, paths })
    }

    /// Is this path delegated?
    pub fn covers(&self, path: &str) -> bool {
        match &self.paths {
            Paths::Patterns(patterns) => patterns.iter().any(|pattern| matches(pattern, path)),
            Paths::HashPrefixes(prefixes) => {
                let hash = HEXLOWER.encode(digest(&SHA256, path.as_bytes()).as_ref());
                prefixes.iter().any(|prefix| hash.starts_with(prefix))
            }
        }
    }

    /// The patterns of the paths that are delegated; none where they are delegated by hash.
    pub fn patterns(&self) -> &[String] {
        if let Paths::Patterns(patterns) = &self.paths { patterns } else { &[] }
    }
}

fn field<'j>(json: &'j Json, name: &str) -> Result<&'j Json, Why> {
    json.get(name).ok_or_else(|| Why::Form(format!("{name:?} is missing")))
}

fn text<'j>(json: &'j Json, name: &str) -> Result<&'j str, Why> {
    field(json, name)?.as_text().ok_or_else(|| Why::Form(format!("{name:?} is no text")))
}

fn texts(json: &Json) -> Result<Vec<String>, Why> {
    let list =
        if let Json::List(list) = json { list.iter().map(|v| v.as_text().map(str::to_owned)).collect() } else { None };
    list.ok_or_else(|| Why::Form("the paths of a delegation are no list of texts".into()))
}

fn version(json: &Json) -> Result<u64, Why> {
    match field(json, "version")?.as_u64() {
        None | Some(0) => Err(Why::Form("a version is no whole number from 1".into())),
        Some(version) if version > MAX_VERSION => Err(Why::Forward),
        Some(version) => Ok(version),
    }
}

fn length(json: &Json) -> Result<Option<u64>, Why> {
    let length = |json: &Json| json.as_u64().ok_or_else(|| Why::Form("a length is no whole number".into()));
    json.get("length").map(length).transpose()
}
