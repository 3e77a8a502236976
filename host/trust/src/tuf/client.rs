//! The workflow of a client (section 5 of the specification), in its numbered steps. The caller fetches and keeps:
//!
//! ```text
//! let mut update = Update::begin(root, now)?;             // 5.1, 5.2
//! while let Some(request) = update.next()? {              // what is needed now
//!     if kept(&request).is_some_and(|b| update.offer(&b)) { continue }
//!     if update.take(fetch(&request)?)? { keep(&request) }
//! }
//! ```
//!
//! Bytes are to be kept only after [`Update::take`] has said so, and before the next request: then whatever fails
//! leaves a state from which the next update goes on. What is kept is not believed: it is verified anew each time.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::HEXLOWER;
use time::OffsetDateTime;

use super::error::{Refused, Why};
use super::metadata::{Head, MetaFile, Root, Signed, Snapshot, TargetFile, Targets, Timestamp, TopRole};
use super::{
    MAX_LOADED_BYTES, MAX_ROLES, MAX_ROOT_BYTES, MAX_ROOTS, MAX_SNAPSHOT_BYTES, MAX_TARGETS_BYTES, MAX_TIMESTAMP_BYTES,
};
use crate::keys::sha256;

/// A file that is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its name in the folder of metadata, in which every character but letters, digits and `_.-~` is `%` and two
    /// hexadecimal digits.
    pub file: String,
    /// The name to keep it under, with the same characters.
    pub local: String,
    /// Longer than this it is refused: do not read further, in bytes.
    pub max_bytes: u64,
    /// Whose file it is.
    pub role: String,
    /// Its version, where it is known before.
    pub version: Option<u64>,
}

/// Where a search ended.
#[derive(Clone, Debug)]
pub struct Found<'u> {
    /// What the file must be.
    pub target: &'u TargetFile,
    /// The role that says so.
    pub role: &'u str,
}

/// How a role is reached: from `targets` on, each delegating to the next. A role that two others delegate to is verified
/// for each of them, since they may name other keys.
type Chain = Vec<String>;

/// One update: from the root that was trusted before to targets that can be fetched.
#[derive(Debug)]
pub struct Update {
    now: OffsetDateTime,
    root: Root,
    new_roots: u32,
    /// What was kept: to see that nothing goes back.
    old_timestamp: Option<(Timestamp, [u8; 32])>,
    old_snapshot: Option<Snapshot>,
    timestamp: Option<Timestamp>,
    snapshot: Option<Snapshot>,
    /// Those that are trusted.
    targets: BTreeMap<Chain, Targets>,
    /// Those that were refused while everything was listed.
    failed: BTreeMap<Chain, Refused>,
    /// Bytes of those that are trusted.
    loaded: u64,
    goal: Goal,
    step: Step,
    forked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Root,
    Timestamp,
    Snapshot,
    Targets,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Goal {
    /// The top-level roles only.
    Refresh,
    /// Where this path leads.
    Path(String),
    /// Everything.
    All,
}

enum Walk<'u> {
    Found(Found<'u>),
    /// This must be loaded first.
    Needs(Chain),
    /// This was refused, so nobody knows.
    Failed(&'u Refused),
    Nowhere,
}

impl Update {
    /// 5.1 and 5.2: begins an update at a time ([`super::clock`]) and from a root that is trusted: the one that was kept,
    /// or the one that the operator pinned. It may have expired, and must be signed as it demands itself.
    pub fn begin(root: &[u8], now: OffsetDateTime) -> Result<Self, Refused> {
        let read = || {
            let signed = Signed::read(root)?;
            let root = Root::read(&signed)?;
            root.check(TopRole::Root, &signed)?;
            Ok(root)
        };
        let root = read().map_err(|why: Why| why.about("root.json", "root", None))?;
        Ok(Self {
            now,
            root,
            new_roots: 0,
            old_timestamp: None,
            old_snapshot: None,
            timestamp: None,
            snapshot: None,
            targets: BTreeMap::new(),
            failed: BTreeMap::new(),
            loaded: 0,
            goal: Goal::Refresh,
            step: Step::Root,
            forked: false,
        })
    }

    /// Searches for a target, too.
    pub fn want(&mut self, path: &str) {
        self.goal = Goal::Path(path.to_owned());
    }

    /// Lists everything, too. A role that is refused then is left out and named by [`Update::failed`]: one publisher's
    /// fault hides nobody else's plugins.
    pub fn want_all(&mut self) {
        self.goal = Goal::All;
    }

    /// The file that is needed next; none: the update is done.
    #[expect(clippy::should_implement_trait, reason = "it can fail, and changes with what is taken")]
    pub fn next(&mut self) -> Result<Option<Request>, Refused> {
        match self.step {
            Step::Root => {
                // 5.3.3: the next version, as long as there is one.
                let version = self.root.head.version + 1;
                Ok(Some(request(TopRole::Root.as_str(), Some(version), MAX_ROOT_BYTES, "root.json")))
            }
            Step::Timestamp => {
                // 5.3.10: the last root must not have expired. 5.3.11 is where old files are offered, 5.3.12 in `root`.
                let (head, role) = (self.root.head, TopRole::Root.as_str());
                head.check_expiry(self.now).map_err(|why| why.about("root.json", role, Some(head.version)))?;
                let name = "timestamp.json";
                Ok(Some(request(TopRole::Timestamp.as_str(), None, MAX_TIMESTAMP_BYTES, name)))
            }
            Step::Snapshot => {
                let Some(meta) = self.timestamp.as_ref().map(|t| &t.snapshot) else { return Ok(None) };
                self.listed(TopRole::Snapshot.as_str(), meta, MAX_SNAPSHOT_BYTES).map(Some)
            }
            Step::Targets => loop {
                let Some(chain) = self.needs() else { return Ok(None) };
                match self.targets_request(name(&chain)) {
                    Ok(request) => return Ok(Some(request)),
                    Err(refused) => self.fail(chain, refused)?,
                }
            },
        }
    }

    /// Looks at what was kept under the request's `local` name. `true`: it is still good, and nothing is to be fetched.
    pub fn offer(&mut self, bytes: &[u8]) -> bool {
        self.try_offer(bytes).unwrap_or(false)
    }

    fn try_offer(&mut self, bytes: &[u8]) -> Result<bool, Why> {
        match self.step {
            Step::Root => Ok(false),
            Step::Timestamp => {
                // 5.3.11: one whose keys were rotated does not meet the root's threshold any more, and is forgotten.
                // So a registry recovers whose versions somebody has pushed forward.
                let signed = Signed::read(bytes)?;
                self.root.check(TopRole::Timestamp, &signed)?;
                self.old_timestamp = Some((Timestamp::read(&signed)?, sha256(&signed.message)));
                Ok(false)
            }
            Step::Snapshot => {
                // 5.3.11, again.
                let signed = Signed::read(bytes)?;
                self.root.check(TopRole::Snapshot, &signed)?;
                let old = Snapshot::read(&signed)?;
                // What was trusted once is compared with, even where the timestamp lists other digests now.
                self.old_snapshot = Some(old.clone());
                let Some(meta) = self.timestamp.as_ref().map(|t| &t.snapshot) else { return Ok(false) };
                meta.check(bytes)?;
                same_version(&old.head, meta)?;
                old.head.check_expiry(self.now)?;
                self.snapshot = Some(old);
                self.step = Step::Targets;
                Ok(true)
            }
            Step::Targets => {
                let Some(chain) = self.needs() else { return Ok(false) };
                self.load(chain, bytes)?;
                Ok(true)
            }
        }
    }

    /// Takes what was fetched for the request that [`Update::next`] gave; `None`: the registry does not have it. `true`:
    /// these bytes are trusted now, and are to be kept under the request's `local` name.
    pub fn take(&mut self, bytes: Option<&[u8]>) -> Result<bool, Refused> {
        let Some(request) = self.next()? else { return Ok(false) };
        let taken = match bytes {
            Some(bytes) if bytes.len() as u64 > request.max_bytes => Err(Why::TooLong(request.max_bytes)),
            bytes => self.try_take(bytes),
        };
        taken.or_else(|why| {
            // A file's own version says more than the one that was asked for.
            let version = bytes.and_then(|b| Signed::read(b).ok()).and_then(|s| s.body.get("version")?.as_u64());
            let refused = why.about(&request.file, &request.role, version.or(request.version));
            match (self.step, self.needs()) {
                (Step::Targets, Some(chain)) => self.fail(chain, refused).map(|()| false),
                _ => Err(refused),
            }
        })
    }

    fn try_take(&mut self, bytes: Option<&[u8]>) -> Result<bool, Why> {
        match (self.step, bytes) {
            (Step::Root, None) => {
                self.step = Step::Timestamp;
                Ok(false)
            }
            (Step::Root, Some(bytes)) => self.take_root(bytes),
            (_, None) => Err(Why::Missing),
            (Step::Timestamp, Some(bytes)) => self.take_timestamp(bytes),
            (Step::Snapshot, Some(bytes)) => self.take_snapshot(bytes),
            (Step::Targets, Some(bytes)) => {
                let Some(chain) = self.needs() else { return Ok(false) };
                self.load(chain, bytes)?;
                Ok(true)
            }
        }
    }

    /// 5.3: the next root.
    fn take_root(&mut self, bytes: &[u8]) -> Result<bool, Why> {
        let signed = Signed::read(bytes)?;
        let new = Root::read(&signed)?;
        // 5.3.4: signed by the keys of the one before, and by its own.
        self.root.check(TopRole::Root, &signed)?;
        new.check(TopRole::Root, &signed)?;
        // 5.3.5: exactly one version further.
        let expected = self.root.head.version + 1;
        if new.head.version != expected {
            return Err(Why::Version(expected));
        }
        // 5.3.6: its expiry does not matter yet. 5.3.7, 5.3.8: trusted, and kept by the caller. 5.3.9: again.
        self.root = new;
        self.new_roots += 1;
        // 5.3.3: the next update goes on from here.
        if self.new_roots == MAX_ROOTS {
            self.step = Step::Timestamp;
        }
        Ok(true)
    }

    /// 5.4: the timestamp.
    fn take_timestamp(&mut self, bytes: &[u8]) -> Result<bool, Why> {
        let signed = Signed::read(bytes)?;
        // 5.4.2
        self.root.check(TopRole::Timestamp, &signed)?;
        let mut new = Timestamp::read(&signed)?;
        let mut keep = true;
        if let Some((old, digest)) = &self.old_timestamp {
            // 5.4.3.1: no older one. The same version again: what was trusted holds, whatever this one says.
            if new.head.version < old.head.version {
                return Err(Why::Rollback(old.head.version));
            }
            if new.head.version == old.head.version {
                self.forked = *digest != sha256(&signed.message);
                new = old.clone();
                keep = false;
            }
            // 5.4.3.2: no older snapshot.
            if new.snapshot.version < old.snapshot.version {
                let (listed, seen) = (Some(new.snapshot.version), old.snapshot.version);
                return Err(Why::RoleRollback { role: "snapshot.json".into(), listed, seen });
            }
        }
        // 5.4.4
        new.head.check_expiry(self.now)?;
        self.timestamp = Some(new);
        self.step = Step::Snapshot;
        Ok(keep)
    }

    /// 5.5: the snapshot.
    fn take_snapshot(&mut self, bytes: &[u8]) -> Result<bool, Why> {
        let Some(meta) = self.timestamp.as_ref().map(|t| &t.snapshot) else { return Err(Why::Missing) };
        // 5.5.2
        meta.check(bytes)?;
        // 5.5.3
        let signed = Signed::read(bytes)?;
        self.root.check(TopRole::Snapshot, &signed)?;
        let new = Snapshot::read(&signed)?;
        // 5.5.4
        same_version(&new.head, meta)?;
        // 5.5.5: every role that was listed still is, and none goes back.
        for (role, old) in self.old_snapshot.iter().flat_map(|old| &old.meta) {
            let listed = new.meta.get(role).map(|meta| meta.version);
            if listed.is_none_or(|version| version < old.version) {
                return Err(Why::RoleRollback { role: role.clone(), listed, seen: old.version });
            }
        }
        // 5.5.6
        new.head.check_expiry(self.now)?;
        self.snapshot = Some(new);
        self.step = Step::Targets;
        Ok(true)
    }

    fn load(&mut self, chain: Chain, bytes: &[u8]) -> Result<(), Why> {
        let loaded = self.loaded + bytes.len() as u64;
        if loaded > MAX_LOADED_BYTES {
            return Err(Why::TooMuch);
        }
        let targets = self.read_targets(&chain, bytes)?;
        self.targets.insert(chain, targets);
        self.loaded = loaded;
        Ok(())
    }

    /// 5.6.2 to 5.6.5, for the top-level targets and for those that are delegated to.
    fn read_targets(&self, chain: &[String], bytes: &[u8]) -> Result<Targets, Why> {
        let role = name(chain);
        let meta = self.meta(role)?;
        // 5.6.2
        meta.check(bytes)?;
        // 5.6.3: by the keys that the root names, or the delegator.
        let signed = Signed::read(bytes)?;
        match chain.split_last() {
            Some((_, above)) if !above.is_empty() => {
                self.targets.get(above).ok_or(Why::Missing)?.check(name(above), role, &signed)?;
            }
            _ => self.root.check(TopRole::Targets, &signed)?,
        }
        let targets = Targets::read(&signed)?;
        // 5.6.4
        same_version(&targets.head, meta)?;
        // 5.6.5
        targets.head.check_expiry(self.now)?;
        Ok(targets)
    }

    fn meta(&self, role: &str) -> Result<&MetaFile, Why> {
        let snapshot = self.snapshot.as_ref().ok_or(Why::Missing)?;
        snapshot.meta.get(&format!("{role}.json")).ok_or(Why::NotInSnapshot)
    }

    fn targets_request(&self, role: &str) -> Result<Request, Refused> {
        let meta = self.meta(role).map_err(|why| why.about(format!("{}.json", quote(role)), role, None))?;
        self.listed(role, meta, MAX_TARGETS_BYTES)
    }

    /// A request for a file that another one lists: by its version, and no longer than was signed.
    fn listed(&self, role: &str, meta: &MetaFile, max: u64) -> Result<Request, Refused> {
        let version = self.root.consistent.then_some(meta.version);
        let local = format!("{}.json", quote(role));
        let made =
            Request { version: Some(meta.version), ..request(role, version, meta.length.unwrap_or(max), &local) };
        if made.max_bytes > max {
            return Err(Why::TooLong(max).about(made.file, role, made.version));
        }
        Ok(made)
    }

    fn fail(&mut self, chain: Chain, refused: Refused) -> Result<(), Refused> {
        if self.goal == Goal::All && chain.len() > 1 {
            self.failed.insert(chain, refused);
            return Ok(());
        }
        Err(refused)
    }

    /// The role that has to be loaded next.
    fn needs(&self) -> Option<Chain> {
        let top = vec![TopRole::Targets.as_str().to_owned()];
        if !self.targets.contains_key(&top) {
            return Some(top);
        }
        match &self.goal {
            Goal::Refresh => None,
            Goal::Path(path) => match self.walk(path) {
                Walk::Needs(chain) => Some(chain),
                _ => None,
            },
            Goal::All if self.targets.len() + self.failed.len() >= MAX_ROLES => None,
            Goal::All => {
                let below = |chain: &Chain, role: &str| chain.iter().cloned().chain([role.to_owned()]).collect();
                let chains = self.targets.iter().flat_map(|(chain, targets)| {
                    // Not in circles.
                    let new = targets.delegations.iter().filter(|d| !chain.contains(&d.name));
                    new.map(move |d| -> Chain { below(chain, &d.name) })
                });
                let mut open = chains.filter(|c| !self.targets.contains_key(c) && !self.failed.contains_key(c));
                open.next()
            }
        }
    }

    /// 5.6.7: the pre-order search for a path, over what is loaded.
    fn walk(&self, path: &str) -> Walk<'_> {
        let mut visited = BTreeSet::new();
        let mut open: Vec<Chain> = vec![vec![TopRole::Targets.as_str().to_owned()]];
        while let Some(chain) = open.pop() {
            // 5.6.7.1: no role twice, and not endlessly many.
            if visited.contains(name(&chain)) {
                continue;
            }
            if visited.len() >= MAX_ROLES {
                return Walk::Nowhere;
            }
            let Some((chain, targets)) = self.targets.get_key_value(&chain) else {
                return self.failed.get(&chain).map_or(Walk::Needs(chain), Walk::Failed);
            };
            if let Some(target) = targets.targets.get(path) {
                return Walk::Found(Found { target, role: name(chain) });
            }
            visited.insert(name(chain).to_owned());
            // 5.6.7.2: in their order; behind a terminating one that covers the path nobody is asked.
            let mut children = Vec::new();
            for delegation in targets.delegations.iter().filter(|d| d.covers(path)) {
                children.push(chain.iter().cloned().chain([delegation.name.clone()]).collect());
                if delegation.terminating {
                    open.clear();
                    break;
                }
            }
            open.extend(children.into_iter().rev());
        }
        Walk::Nowhere
    }

    /// What the search found, once [`Update::next`] gives nothing more.
    pub fn found(&self, path: &str) -> Option<Found<'_>> {
        if let Walk::Found(found) = self.walk(path) { Some(found) } else { None }
    }

    /// Why a search ended at a role that was refused.
    pub fn hidden_by(&self, path: &str) -> Option<&Refused> {
        if let Walk::Failed(refused) = self.walk(path) { Some(refused) } else { None }
    }

    /// Every target of the roles that are loaded, as a search would find it.
    pub fn all(&self) -> BTreeMap<&str, Found<'_>> {
        let paths = self.targets.values().flat_map(|targets| targets.targets.keys());
        paths.filter_map(|path| Some((path.as_str(), self.found(path)?))).collect()
    }

    /// The roles that were refused while everything was listed.
    pub fn failed(&self) -> impl Iterator<Item = &Refused> {
        self.failed.values()
    }

    /// 5.7.3: where a target lies in the folder of targets, in the characters of [`Request::file`] and slashes. Where
    /// snapshots are consistent its name begins with its digest.
    pub fn target_file(&self, path: &str, target: &TargetFile) -> Result<String, Refused> {
        let about = |why: Why| why.about(path, TopRole::Targets.as_str(), None);
        let parts: Vec<&str> = path.split('/').collect();
        // No folder above, and no file that is hidden.
        if parts.iter().any(|part| part.is_empty() || part.starts_with('.')) {
            return Err(about(Why::Path(path.chars().take(200).collect())));
        }
        let mut parts: Vec<String> = parts.into_iter().map(quote).collect();
        if let Some(last) = parts.last_mut().filter(|_| self.root.consistent) {
            *last = format!("{}.{last}", target.hashes.prefix().map_err(about)?);
        }
        Ok(parts.join("/"))
    }

    /// 5.7.3: are these the bytes of the target?
    pub fn check_target(&self, path: &str, found: &Found<'_>, bytes: &[u8]) -> Result<(), Refused> {
        let target = found.target;
        let meta = MetaFile { version: 1, length: Some(target.length), hashes: Some(target.hashes.clone()) };
        meta.check(bytes).map_err(|why| why.about(path, found.role, None))
    }

    /// Until when what it says is fresh: the earliest expiry of what was loaded.
    pub fn fresh_until(&self) -> OffsetDateTime {
        let heads = self.targets.values().map(|t| t.head);
        let heads = heads.chain(self.timestamp.as_ref().map(|t| t.head)).chain(self.snapshot.as_ref().map(|s| s.head));
        heads.map(|head| head.expires).fold(self.root.head.expires, OffsetDateTime::min)
    }

    /// The registry has shown another timestamp of this version before: it does not show the same to everybody.
    pub const fn forked(&self) -> bool {
        self.forked
    }

    /// Versions of what is trusted now, by role, for people and tests.
    pub fn versions(&self) -> BTreeMap<String, u64> {
        let top = [
            Some((TopRole::Root, self.root.head)),
            self.timestamp.as_ref().map(|t| (TopRole::Timestamp, t.head)),
            self.snapshot.as_ref().map(|s| (TopRole::Snapshot, s.head)),
        ];
        let top = top.into_iter().flatten().map(|(role, head)| (role.as_str().to_owned(), head.version));
        top.chain(self.targets.iter().map(|(chain, t)| (name(chain).to_owned(), t.head.version))).collect()
    }

    /// The root that is trusted now.
    pub const fn root(&self) -> &Root {
        &self.root
    }
}

/// The role at the end of a chain.
fn name(chain: &[String]) -> &str {
    chain.last().map_or("", String::as_str)
}

fn same_version(head: &Head, meta: &MetaFile) -> Result<(), Why> {
    if head.version == meta.version { Ok(()) } else { Err(Why::Version(meta.version)) }
}

fn request(role: &str, version: Option<u64>, max_bytes: u64, local: &str) -> Request {
    let prefix = version.map_or_else(String::new, |version| format!("{version}."));
    let file = format!("{prefix}{}.json", quote(role));
    Request { file, local: local.to_owned(), max_bytes, role: role.to_owned(), version }
}

/// Percent-encoding of everything but the unreserved characters of RFC 3986, so that a name is one part of a path.
pub(super) fn quote(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"_.-~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push_str(&HEXLOWER.encode(&[byte]).to_ascii_uppercase());
        }
    }
    out
}
