//! Whoever runs a registry: makes its folder, puts bundles in, signs, refreshes. Every file is written whole, and in the
//! order in which clients need it: `timestamp.json` comes last, so that a folder that is half written or half uploaded
//! shows the state before.
//!
//! ```text
//! registry/
//!   metadata/  1.root.json 1.targets.json 2.<publisher>.json 2.snapshot.json timestamp.json
//!   targets/   <id>/<sha256>.<id>-<version>.fondaco
//!   drafts/    files that lack signatures; not to be uploaded
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use fondaco_schemas::trust_file::{IdPrefix, TrustedKey, TrustedPublisher};
use fondaco_schemas::{Manifest, PluginKind, PublicKey, api};
use fondaco_trust::tuf::{Draft, Hashes, Targets, TopRole, shelf};
use fondaco_trust::{Host, KeyPair, Refusal, TrustStore, trust_store};

use super::home::{Home, LONG, TIMESTAMP, because, refused};
use crate::fail::{Done, Fail, chain};

impl Home {
    /// Makes a registry: four new keys beside it, and the first version of each role.
    pub fn init(folder: &Path, keys: &Path) -> Done<Self> {
        if folder.join("metadata").exists() {
            return Err(Fail::refused(format!(
                "{} is a registry already: `fondaco registry list {}` shows it",
                folder.display(),
                folder.display()
            )));
        }
        let folder_full =
            std::path::absolute(folder).map_err(|e| Fail::failed(format!("{}: {e}", folder.display())))?;
        let keys_full = std::path::absolute(keys).map_err(|e| Fail::failed(format!("{}: {e}", keys.display())))?;
        if keys_full.starts_with(&folder_full) {
            return Err(Fail::usage(format!(
                "{} is inside of {}, which a web server serves: keep the keys elsewhere",
                keys.display(),
                folder.display()
            )));
        }
        make_private(keys)?;
        for role in TopRole::ALL {
            KeyPair::generate().map_err(Fail::failed)?.save(&keys.join(format!("{}.pem", role.as_str())))?;
        }
        let mut home = Self::open(folder, keys, &[])?;
        for sub in ["metadata", "targets"] {
            let sub = home.folder.join(sub);
            fs::create_dir_all(&sub).map_err(|e| Fail::failed(format!("{}: {e}", sub.display())))?;
        }
        let mut root = Draft::root(home.until(LONG));
        for role in TopRole::ALL {
            let key = KeyPair::load(&keys.join(format!("{}.pem", role.as_str())))?;
            root.set_role(role, &[key.public()], 1).map_err(because)?;
        }
        home.place_root(root, None)?;
        let targets = Draft::targets(home.until(LONG));
        home.place_targets(targets)?;
        home.refresh(TIMESTAMP)?;
        Ok(home)
    }

    /// Gives a role of the root other keys, in the next version of the root. The keys of the one before and of the new one
    /// sign it. Files of a role whose keys have changed are signed anew.
    pub fn set_keys(&mut self, role: TopRole, keys: &[PublicKey], threshold: u64) -> Done {
        let mut root = self.root_draft()?;
        let before = root.as_root().map_err(because)?;
        root.next(self.until(LONG)).map_err(because)?;
        root.set_role(role, keys, threshold).map_err(because)?;
        if self.place_root(root, Some(&before))? {
            self.after_root()?;
        }
        Ok(())
    }

    /// What the new root does not accept any more is signed anew.
    fn after_root(&mut self) -> Done {
        let mut targets = self.targets_draft()?;
        if targets.signed_for(&self.root()?, TopRole::Targets).is_err() {
            targets.next(self.until(LONG)).map_err(because)?;
            self.place_targets(targets)?;
        }
        self.refresh_if_possible()
    }

    /// Delegates the ids of a publisher to keys.
    pub fn publisher(&mut self, name: &str, prefixes: &[IdPrefix], keys: &[PublicKey], threshold: u64) -> Done {
        // Also a file's name, and one that no web server reads as something else.
        let ok = (1..=40).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !ok {
            let text = format!("{name:?} names no publisher: write 1 to 40 of a-z, 0-9 and -, beginning with a letter");
            return Err(Fail::usage(text));
        }
        let mut targets = self.targets_draft()?;
        let old = targets.as_targets().map_err(because)?;
        let patterns: Vec<String> = prefixes.iter().flat_map(shelf::patterns).collect();
        // An id belongs to one publisher.
        for other in old.delegations().iter().filter(|d| d.name != name) {
            for prefix in prefixes {
                let probe = |prefix: &str| [format!("{prefix}/x"), format!("{prefix}.x/x")];
                let is_below = probe(&prefix.to_string()).iter().any(|path| other.covers(path));
                let is_above = other
                    .patterns()
                    .iter()
                    .filter_map(|p| p.strip_suffix("/*"))
                    .any(|p| p.strip_suffix(".*").unwrap_or(p).parse().is_ok_and(|id| prefix.covers(&id)));
                if is_below || is_above {
                    return Err(Fail::refused(format!("{prefix} overlaps with what is delegated to {}", other.name)));
                }
            }
        }
        targets.next(self.until(LONG)).map_err(because)?;
        targets.delegate(name, keys, threshold, &patterns, true).map_err(because)?;
        self.place_targets(targets)?;
        // What the publisher has signed is signed anew by the keys that it has now.
        if let Some(mut draft) = self.draft(name, TopRole::Targets)? {
            draft.next(self.until(LONG)).map_err(because)?;
            self.place_delegated(name, draft)?;
        }
        self.refresh_if_possible()
    }

    /// Puts bundles in. Each is verified first, as a node would that trusts the publisher's keys, and those in `signers`.
    pub fn add(&mut self, bundles: &[(PathBuf, Vec<u8>)], signers: &[PublicKey]) -> Done<Vec<Manifest>> {
        let targets = self.targets()?;
        let mut drafts: BTreeMap<String, Draft> = BTreeMap::new();
        let mut added = Vec::new();
        let mut files = Vec::new();
        for (file, bytes) in bundles {
            let named = |text: String| Fail::refused(format!("{}: {text}", file.display()));
            let verified = fondaco_trust::verify(
                bytes.clone(),
                &trusting(&targets, signers)?,
                &Host { api: api::OFFERED.to_vec(), now: self.now },
                |_| None,
            );
            let verified = verified.map_err(|refusal| match refusal {
                Refusal::UnknownSigner => named(
                    "no key of a publisher of this registry has signed it: sign it with one, or name its key with --signer"
                        .into(),
                ),
                other => named(chain(&other)),
            })?;
            let manifest = verified.manifest.clone();
            let path = shelf::target_path(&manifest.id, &manifest.version);
            let Some(delegation) = targets.delegations().iter().find(|d| d.covers(&path)) else {
                return Err(named(format!(
                    "no publisher of this registry has {}: `fondaco registry publisher {} <name> --prefix … --key …`",
                    manifest.id,
                    self.folder.display()
                )));
            };
            let role = delegation.name.clone();
            if !drafts.contains_key(&role) {
                drafts.insert(role.clone(), self.next_delegated(&role)?);
            }
            let Some(draft) = drafts.get_mut(&role) else { continue };
            if draft.has_target(&path) {
                let hash = Hashes::of(bytes);
                let same = draft.as_targets().is_ok_and(|t| t.target(&path).is_some_and(|t| t.hashes == hash));
                if same {
                    self.remarks.push(format!("{path} is there already"));
                    added.push(manifest);
                    continue;
                }
                return Err(named(format!(
                    "{path} is there already with other bytes: a version is never replaced, count it up"
                )));
            }
            draft.add_target(&path, bytes, Some(shelf::custom(&manifest))).map_err(because)?;
            files.push((path, bytes));
            added.push(manifest);
        }
        for (path, bytes) in files {
            let (dir, name) = path.split_once('/').unwrap_or(("", &path));
            self.write(&format!("targets/{dir}/{}.{name}", super::client::digest(bytes)), bytes)?;
        }
        for (role, draft) in drafts {
            self.place_delegated(&role, draft)?;
        }
        self.refresh_if_possible()?;
        Ok(added)
    }

    /// The next version of a publisher's file: of its draft where there is one, so that two additions are one version.
    fn next_delegated(&self, role: &str) -> Done<Draft> {
        let published = self.draft(role, TopRole::Targets)?;
        let next = published.as_ref().map_or(1, |draft| draft.version() + 1);
        let path = self.path("drafts").join(format!("{next}.{role}.json"));
        if let Ok(bytes) = fs::read(&path) {
            return Draft::parse(&bytes, TopRole::Targets)
                .map_err(|why| refused(&why.about(path.display().to_string(), role, Some(next))));
        }
        match published {
            None => Ok(Draft::targets(self.until(LONG))),
            Some(mut draft) => {
                draft.next(self.until(LONG)).map_err(because)?;
                Ok(draft)
            }
        }
    }

    /// Adds signatures to a draft, by the keys that there are, and publishes it once it has enough.
    pub fn sign_draft(&mut self, name: &str) -> Done<bool> {
        let path = self.path("drafts").join(name);
        let role = name.strip_suffix(".json").and_then(|n| n.split_once('.')).map(|(_, role)| role.to_owned());
        let (Some(role), Ok(bytes)) = (role, fs::read(&path)) else {
            let there = fs::read_dir(self.path("drafts")).into_iter().flatten().filter_map(Result::ok);
            let there: Vec<_> = there.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
            return Err(Fail::not_found(format!("there is no draft {name}; there is: {there}")));
        };
        let kind = TopRole::ALL.into_iter().find(|r| r.as_str() == role).unwrap_or(TopRole::Targets);
        let draft = Draft::parse(&bytes, kind).map_err(|why| refused(&why.about(name, &role, None)))?;
        let published = self.newest(&role)?.map_or(0, |(version, _)| version);
        if draft.version() <= published {
            return Err(Fail::refused(format!("{name} is out of date: version {published} of {role} is published")));
        }
        let before: Vec<String> = draft.signers().map(str::to_owned).collect();
        let published = match kind {
            TopRole::Root => {
                let root = self.root()?;
                self.place_root(draft, Some(&root))?
            }
            TopRole::Targets if role == "targets" => self.place_targets(draft)?,
            TopRole::Targets => self.place_delegated(&role, draft)?,
            TopRole::Snapshot | TopRole::Timestamp => {
                return Err(Fail::usage("a snapshot and a timestamp are made anew: `fondaco registry refresh`"));
            }
        };
        if published {
            if kind == TopRole::Root {
                self.after_root()?;
            } else {
                self.refresh_if_possible()?;
            }
        } else {
            let after = Draft::parse(&fs::read(&path).unwrap_or_default(), kind);
            if after.is_ok_and(|after| after.signers().eq(before.iter().map(String::as_str))) {
                return Err(Fail::refused(format!(
                    "none of the keys that are here is one of {role} that has not signed yet"
                )));
            }
        }
        Ok(published)
    }

    /// The next version of a role's file with a new expiry: root, targets or a publisher.
    pub fn renew(&mut self, role: &str) -> Done {
        match role {
            "root" => {
                let mut root = self.root_draft()?;
                let before = root.as_root().map_err(because)?;
                root.next(self.until(LONG)).map_err(because)?;
                self.place_root(root, Some(&before))?;
            }
            "targets" => {
                let mut targets = self.targets_draft()?;
                targets.next(self.until(LONG)).map_err(because)?;
                self.place_targets(targets)?;
            }
            "snapshot" | "timestamp" => return self.refresh(TIMESTAMP),
            publisher => {
                if !self.targets()?.delegations().iter().any(|d| d.name == publisher) {
                    return Err(Fail::not_found(format!("there is no publisher {publisher}")));
                }
                let mut draft = self.next_delegated(publisher)?;
                draft.set_expiry(self.until(LONG));
                self.place_delegated(publisher, draft)?;
            }
        }
        self.refresh_if_possible()
    }
}

/// Whom a node would trust that trusts what the registry delegates: each publisher for its ids, of any kind, with any one
/// of its keys or of those that are given.
fn trusting(targets: &Targets, signers: &[PublicKey]) -> Done<TrustStore> {
    let kinds =
        [PluginKind::Search, PluginKind::Payment, PluginKind::Drm, PluginKind::Advocacy, PluginKind::Storefront];
    let mut text = trust_store::EMPTY.to_owned();
    for delegation in targets.delegations() {
        let prefixes =
            delegation.patterns().iter().filter_map(|p| p.strip_suffix("/*")?.parse().ok()).collect::<Vec<IdPrefix>>();
        let mut keys = targets.keys(delegation).0;
        keys.extend(signers.iter().filter(|key| !keys.contains(key)).collect::<Vec<_>>());
        if prefixes.is_empty() || keys.is_empty() {
            continue;
        }
        let publisher = TrustedPublisher {
            name: delegation.name.clone(),
            prefixes,
            kinds: kinds.to_vec(),
            threshold: 1,
            keys: keys.into_iter().map(|key| TrustedKey { key, not_after: None, note: None }).collect(),
        };
        text = trust_store::add_publisher(&text, &publisher)?;
    }
    Ok(TrustStore::parse(&text, None)?)
}

fn make_private(dir: &Path) -> Done {
    use std::os::unix::fs::PermissionsExt;
    let made = fs::create_dir_all(dir).and_then(|()| fs::set_permissions(dir, fs::Permissions::from_mode(0o700)));
    made.map_err(|e| Fail::failed(format!("{}: {e}", dir.display())))
}
