//! A node's side: updates, searches, fetches.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fondaco_fetch::Client;
use fondaco_schemas::registry::Registry;
use fondaco_schemas::{BlobHash, Deployment, PluginId, RegistryName, Sha256, api};
use fondaco_trust::bundle::MAX_BUNDLE_BYTES;
use fondaco_trust::tuf::{self, Refused, Request, Update, Why, shelf};
use semver::{Version, VersionReq};
use time::macros::datetime;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::source::Source;
use super::state::{self, State};
use crate::fail::{Done, Fail, chain};
use crate::folder::Folder;
use crate::outbound;

/// No copy of this program is older. A clock that shows less is wrong. Set anew with each release.
const BUILT: OffsetDateTime = datetime!(2026-11-25 00:00 UTC);

/// The registries of a deployment.
pub struct Registries {
    client: Option<Client>,
    dir: PathBuf,
    base: PathBuf,
    known: BTreeMap<RegistryName, Registry>,
}

/// A version that a registry offers.
#[derive(Clone, Debug)]
pub struct Offer {
    /// Which registry.
    pub registry: RegistryName,
    /// Which plugin.
    pub id: PluginId,
    /// In which version.
    pub version: Version,
    /// The role that vouches for it.
    pub role: String,
    /// `storefront` and so on, as far as it is said.
    pub kind: String,
    /// What it is called.
    pub name: String,
    /// One line.
    pub summary: String,
    /// Does this node offer the API that it works with?
    pub fits: bool,
    /// In bytes.
    pub length: u64,
    /// Until when what the registry says is fresh.
    pub fresh_until: OffsetDateTime,
}

/// A registry that was brought up to date.
struct Opened {
    name: RegistryName,
    source: Source,
    state: State,
    update: Update,
}

impl Registries {
    /// Those that `fondaco.toml` names. `only`: this one, which must be among them.
    pub fn of(folder: &Folder, deployment: &Deployment, only: Option<&RegistryName>) -> Done<Self> {
        let mut known = deployment.registries.clone();
        if let Some(only) = only {
            let names: Vec<&str> = deployment.registries.keys().map(RegistryName::as_str).collect();
            known.retain(|name, _| name == only);
            if known.is_empty() {
                let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                return Err(Fail::not_found(format!("fondaco.toml has no [registries.{only}]; it has: {names}")));
            }
        }
        if known.is_empty() {
            return Err(Fail::not_found(
                "fondaco.toml names no registry: add [registries.<name>] with url or folder, and root",
            ));
        }
        let is_remote = known.values().any(|registry| registry.url.is_some());
        let client = is_remote.then(|| outbound::client(folder, deployment)).transpose()?;
        Ok(Self { client, dir: dir(folder, deployment), base: folder.path().to_owned(), known })
    }

    /// What there is, by plugin and version, the highest version last. A registry that cannot be read is left out, and said in `remarks`; when none can be read, that is a failure.
    pub async fn offers(&self, remarks: &mut Vec<String>) -> Done<Vec<Offer>> {
        let mut offers = Vec::new();
        let mut failed = Vec::new();
        for (name, registry) in &self.known {
            match self.open(name, registry, Update::want_all).await {
                Ok(opened) => {
                    remarks
                        .extend(opened.update.failed().map(|refused| format!("registry {name}: {}", chain(refused))));
                    remarks.extend(opened.warning());
                    offers.extend(opened.offers());
                }
                Err(fail) => failed.push(fail),
            }
        }
        if failed.len() == self.known.len()
            && let Some(first) = failed.pop()
        {
            return Err(first);
        }
        remarks.extend(failed.into_iter().map(|fail| fail.text));
        offers.sort_by(|a, b| (&a.id, &a.version, &a.registry).cmp(&(&b.id, &b.version, &b.registry)));
        Ok(offers)
    }

    /// Fetches the newest version of a plugin that `wanted` and this node allow, or exactly `version`. The file lies in
    /// the node's data and is what the registry vouches for; whether it may run is decided when it is installed. Where
    /// several registries have the plugin, the operator must have said which one.
    pub async fn fetch(
        &self,
        id: &PluginId,
        version: Option<&Version>,
        wanted: &VersionReq,
        remarks: &mut Vec<String>,
    ) -> Done<(Offer, PathBuf)> {
        let mut offers = self.offers(remarks).await?;
        offers.retain(|offer| offer.id == *id);
        let mut names: Vec<&str> = offers.iter().map(|offer| offer.registry.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let names = names.join(" and ");
        let Some(first) = offers.first() else {
            let asked: Vec<&str> = self.known.keys().map(RegistryName::as_str).collect();
            let said = remarks.iter().fold(String::new(), |all, remark| all + "; " + remark);
            return Err(Fail::not_found(format!("there is no plugin {id} in {}{said}", asked.join(", "))));
        };
        if offers.iter().any(|offer| offer.registry != first.registry) {
            return Err(Fail::usage(format!("{id} is in {names}: choose one with --registry")));
        }
        let fits = |offer: &&Offer| match version {
            Some(version) => offer.version == *version,
            None => offer.fits && wanted.matches(&offer.version),
        };
        let Some(offer) = offers.iter().rev().find(fits).cloned() else {
            let unfit = |offer: &Offer| if offer.fits { "" } else { " (for other nodes)" };
            let have: Vec<String> = offers.iter().map(|o| format!("{}{}", o.version, unfit(o))).collect();
            let what = version.map_or_else(|| format!("{id} that fits {wanted}"), |version| format!("{id} {version}"));
            return Err(Fail::not_found(format!("there is no {what} in {names}; there is: {}", have.join(", "))));
        };
        let file = self.take(&offer).await?;
        Ok((offer, file))
    }

    /// Fetches what was offered.
    pub async fn take(&self, offer: &Offer) -> Done<PathBuf> {
        let registry = self.known.get(&offer.registry);
        let registry = registry.ok_or_else(|| Fail::not_found(format!("there is no registry {}", offer.registry)))?;
        let path = shelf::target_path(&offer.id, &offer.version);
        let opened = self.open(&offer.registry, registry, |update| update.want(&path)).await?;
        opened.bundle(&path).await
    }

    /// An empty folder, to gather bundles in that were fetched.
    pub fn gathering(&self) -> Done<PathBuf> {
        // No registry has such a name.
        let dir = self.dir.join(".update");
        let fail = |e: std::io::Error| Fail::failed(format!("{}: {e}", dir.display()));
        if dir.exists() {
            std::fs::remove_dir_all(&dir).map_err(fail)?;
        }
        std::fs::create_dir_all(&dir).map_err(fail)?;
        Ok(dir)
    }

    /// The registry that an installed bundle came from, if it is still one of these.
    pub fn origin(&self, bundle: &BlobHash) -> Option<RegistryName> {
        state::origin(&self.dir, bundle).map(|(name, _)| name).filter(|name| self.known.contains_key(name))
    }

    /// 5.1 to 5.6 of the specification.
    async fn open(&self, name: &RegistryName, registry: &Registry, goal: impl FnOnce(&mut Update)) -> Done<Opened> {
        let source = Source::of(registry, &self.base, self.client.as_ref())?;
        let pin = registry.root.to_string();
        let named = |refused: Refused| Fail::refused(format!("registry {name}: {}", chain(&refused)));
        let (dir, registry_name) = (self.dir.clone(), name.clone());
        let opening = tokio::task::spawn_blocking(move || State::open(&dir, &registry_name, &pin));
        let state = opening.await.map_err(Fail::failed)??;
        let now = tuf::clock(OffsetDateTime::now_utc(), state.seen(), BUILT)
            .map_err(|why| named(why.about("the clock", "timestamp", None)))?;
        let (root, is_new) = match state.metadata("root.json") {
            Some(root) => (root, false),
            None => (first_root(&source, registry, &named).await?, true),
        };
        let mut update = Update::begin(&root, now).map_err(&named)?;
        if is_new {
            state.keep("root.json", &root)?;
        }
        goal(&mut update);
        while let Some(request) = update.next().map_err(&named)? {
            if state.metadata(&request.local).is_some_and(|bytes| update.offer(&bytes)) {
                continue;
            }
            let Request { file, local, max_bytes, .. } = request;
            let bytes = source.get(&format!("metadata/{file}"), max_bytes).await?;
            if update.take(bytes.as_deref()).map_err(&named)?
                && let Some(bytes) = bytes
            {
                state.keep(&local, &bytes)?;
            }
        }
        state.updated(now, update.fresh_until())?;
        Ok(Opened { name: name.clone(), source, state, update })
    }
}

/// The root that the operator pinned: its digest decides, so it does not matter where it comes from.
async fn first_root(source: &Source, registry: &Registry, named: &impl Fn(Refused) -> Fail) -> Done<Vec<u8>> {
    let file = format!("metadata/{}.root.json", registry.root_version);
    let about = |why: Why| named(why.about(&file, "root", Some(registry.root_version)));
    let bytes = source.get(&file, tuf::MAX_ROOT_BYTES).await?.ok_or_else(|| about(Why::Missing))?;
    if bytes.len() as u64 > tuf::MAX_ROOT_BYTES {
        return Err(about(Why::TooLong(tuf::MAX_ROOT_BYTES)));
    }
    let (found, pinned) = (digest(&bytes), registry.root.to_string());
    if found == pinned { Ok(bytes) } else { Err(about(Why::Pin { found, pinned })) }
}

impl Opened {
    fn warning(&self) -> Option<String> {
        let text = "it has shown two different timestamps of one version, so it does not show the same to everybody";
        self.update.forked().then(|| format!("registry {} ({}): {text}", self.name, self.source.place()))
    }

    fn offers(&self) -> Vec<Offer> {
        let fresh_until = self.update.fresh_until();
        let plugins = shelf::plugins(&self.update);
        let all = plugins
            .into_iter()
            .flat_map(|(id, versions)| versions.into_iter().map(move |(version, entry)| (id.clone(), version, entry)));
        let offer = |(id, version, entry): (PluginId, Version, shelf::Entry<'_>)| Offer {
            registry: self.name.clone(),
            id,
            version,
            role: entry.found.role.to_owned(),
            kind: entry.says("kind").to_owned(),
            name: entry.says("name").to_owned(),
            summary: entry.says("summary").to_owned(),
            fits: entry.fits(&api::OFFERED),
            length: entry.found.target.length,
            fresh_until,
        };
        all.map(offer).collect()
    }

    /// 5.7: fetches a target and keeps it.
    async fn bundle(&self, path: &str) -> Done<PathBuf> {
        let named = |refused: Refused| Fail::refused(format!("registry {}: {}", self.name, chain(&refused)));
        let found = self.update.found(path);
        let found = found.ok_or_else(|| named(Why::Missing.about(path, "targets", None)))?;
        if found.target.length > MAX_BUNDLE_BYTES as u64 {
            return Err(named(Why::TooLong(MAX_BUNDLE_BYTES as u64).about(path, found.role, None)));
        }
        let file = self.update.target_file(path, found.target).map_err(named)?;
        let bytes = self.source.get(&format!("targets/{file}"), found.target.length).await?;
        let bytes = bytes.ok_or_else(|| named(Why::Missing.about(format!("targets/{file}"), found.role, None)))?;
        self.update.check_target(path, &found, &bytes).map_err(named)?;
        self.state.keep_bundle(path.rsplit('/').next().unwrap_or(path), &bytes)
    }
}

/// Where the states of registries lie.
fn dir(folder: &Folder, deployment: &Deployment) -> PathBuf {
    folder.data(deployment).join("registries")
}

/// How fresh a bundle is, in words and as values: it came from a file, or from a registry that was asked at some time.
pub fn freshness(folder: &Folder, deployment: &Deployment, bundle: &BlobHash) -> (String, serde_json::Value) {
    let text = |time: OffsetDateTime| time.format(&Rfc3339).unwrap_or_default();
    match state::origin(&dir(folder, deployment), bundle) {
        None => ("no freshness: it came from a file".into(), serde_json::json!({ "registry": null })),
        Some((name, until)) => {
            let fresh = until.filter(|until| *until > OffsetDateTime::now_utc());
            let words = match (fresh, until) {
                (Some(until), _) => format!("fresh until {}, by registry {name}", text(until)),
                (None, Some(until)) => {
                    format!("not fresh since {}: ask registry {name} with `fondaco plugin outdated`", text(until))
                }
                (None, None) => format!("not fresh: ask registry {name} with `fondaco plugin outdated`"),
            };
            (words, serde_json::json!({ "registry": name, "fresh-until": until.map(text), "fresh": fresh.is_some() }))
        }
    }
}

/// SHA-256 of a file, in hexadecimal, as it is pinned.
pub fn digest(bytes: &[u8]) -> String {
    Sha256(tuf::sha256(bytes)).to_string()
}

/// Is this the name of a plugin rather than a path? `org.owl.shelf`, `org.owl.shelf@1.4.0`.
pub fn named(text: &Path) -> Option<(PluginId, Option<Version>)> {
    let text = text.to_str()?;
    if Path::new(text).exists() || text.contains('/') || text.ends_with(".fondaco") {
        return None;
    }
    let (id, version) = match text.split_once('@') {
        Some((id, version)) => (id, Some(version.parse().ok()?)),
        None => (text, None),
    };
    Some((id.parse().ok()?, version))
}
