//! Capabilities: what a plugin may ask of the host. A manifest requests, the operator grants, and what holds is what
//! both say. An interface whose capability does not hold is never linked.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ByteSize;
use crate::origin::Hosts;
use crate::problem::{Table, hint};

/// What a plugin's storage may hold where its manifest names no quota.
pub const DEFAULT_QUOTA: ByteSize = ByteSize::mib(16);
/// What a plugin may send to web services and get from them in a day, together, where nobody says otherwise.
pub const DEFAULT_HTTP_QUOTA: ByteSize = ByteSize::mib(256);

/// What a plugin may be allowed to do. Settings are always there and need none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Capability {
    /// To read the plugin's own bundle and the operator's assets for it.
    Assets,
    /// To read stored files.
    Blobs,
    /// To show and join campaigns.
    Campaigns,
    /// To read the catalogue of works.
    Catalogue,
    /// To sell: orders, payments, libraries.
    Commerce,
    /// To search through the installed providers.
    Discovery,
    /// To call web services, on named hosts.
    Http,
    /// To have the host use keys and secrets for it.
    Keys,
    /// To send mail through the deployment's relay.
    Mail,
    /// To search at other nodes too.
    Peers,
    /// To keep data of its own, up to a quota.
    Storage,
}

impl Capability {
    /// All of them, by name.
    pub const ALL: [Self; 11] = [
        Self::Assets,
        Self::Blobs,
        Self::Campaigns,
        Self::Catalogue,
        Self::Commerce,
        Self::Discovery,
        Self::Http,
        Self::Keys,
        Self::Mail,
        Self::Peers,
        Self::Storage,
    ];

    /// Its name in manifests and deployment files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Assets => "assets",
            Self::Blobs => "blobs",
            Self::Campaigns => "campaigns",
            Self::Catalogue => "catalogue",
            Self::Commerce => "commerce",
            Self::Discovery => "discovery",
            Self::Http => "http",
            Self::Keys => "keys",
            Self::Mail => "mail",
            Self::Peers => "peers",
            Self::Storage => "storage",
        }
    }

    /// What it allows, for the person who grants it.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Assets => "read its own files and the assets that you give it",
            Self::Blobs => "read the bytes of stored works",
            Self::Campaigns => "show campaigns and pass on people's actions",
            Self::Catalogue => "read the catalogue of works",
            Self::Commerce => "take orders, start payments and open libraries",
            Self::Discovery => "search through other plugins",
            Self::Http => "call the web services named",
            Self::Keys => "sign and seal with keys that stay with the node",
            Self::Mail => "send mail through your relay",
            Self::Peers => "search at other nodes, which learn the words and that they come from this node",
            Self::Storage => "keep data of its own",
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// No such capability.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown capability {name:?}{hint}")]
pub struct UnknownCapability {
    name: String,
    hint: String,
}

impl FromStr for Capability {
    type Err = UnknownCapability;
    fn from_str(name: &str) -> Result<Self, UnknownCapability> {
        let unknown =
            || UnknownCapability { name: name.to_owned(), hint: hint(name, Self::ALL.iter().map(|c| c.as_str())) };
        Self::ALL.into_iter().find(|c| c.as_str() == name).ok_or_else(unknown)
    }
}

/// What a component's import needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Nothing: types, and the settings that every plugin may read.
    Open,
    /// This capability.
    Needs(Capability),
}

/// What the import `fondaco:plugin/storage@0.1.0` or `wasi:http/outgoing-handler@0.2.0` needs. `None` for what this
/// contract does not know, such as the inert rest of WASI; whoever links decides about that.
pub fn gate(import: &str) -> Option<Gate> {
    let name = import.split_once('@').map_or(import, |(name, _)| name);
    if name == "wasi:http/outgoing-handler" {
        return Some(Gate::Needs(Capability::Http));
    }
    let interface = name.strip_prefix("fondaco:plugin/")?;
    if interface == "settings" || interface == "types" || interface.ends_with("-types") {
        return Some(Gate::Open);
    }
    let capability: Capability = interface.parse().ok()?;
    // `http` is no interface of ours: it is WASI's.
    (capability != Capability::Http).then_some(Gate::Needs(capability))
}

/// A capability that a manifest requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ask {
    /// Does the plugin work without it?
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// What it is for, in the author's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `storage`: the most that its space may hold. `http`: bytes sent and received in a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<ByteSize>,
    /// `http` only: the hosts to be called.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<Hosts>,
}

/// What a manifest requests. A request, never a grant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Requested(pub BTreeMap<Capability, Ask>);

/// A capability that the operator granted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Grant {
    /// `storage`: the most that its space may hold; absent, as much as was requested. `http`: bytes sent and received in
    /// a day, also more than was requested; absent, 256 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<ByteSize>,
    /// `http` only: always named, so that the file shows who is called. An address in place of a name may be a private
    /// one, as the operator wrote it down.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<Hosts>,
    /// `http` only: those of `hosts` whose names may lead to loopback and private addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow_private: Vec<Hosts>,
}

/// What the operator granted; also what holds in the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Grants(pub BTreeMap<Capability, Grant>);

impl Requested {
    /// Reads the table `key` of a manifest.
    pub(crate) fn read(table: &mut Table<'_>, key: &'static str) -> Self {
        let asks = table.map(key, |capability: &Capability, t| {
            let mut ask =
                Ask { optional: t.flag("optional").unwrap_or(false), reason: t.optional("reason"), ..Ask::default() };
            if *capability == Capability::Storage {
                ask.quota = t.optional("quota").or(Some(DEFAULT_QUOTA));
            }
            if *capability == Capability::Http {
                ask.hosts = sorted(t.list("hosts"));
                ask.quota = t.optional("quota");
                if ask.hosts.is_empty() && !t.has("hosts") {
                    t.problem("hosts", "http needs the hosts to be called: hosts = [\"https://api.example.org\"]");
                }
            }
            Some(ask)
        });
        Self(asks)
    }

    /// What is requested, in one encoding only: a line for each right, by name. Reasons and what is optional ask for
    /// nothing and are left out. The digest of these bytes is what the operator consents to.
    pub fn canonical(&self) -> Vec<u8> {
        let mut text = String::from("fondaco capabilities 1\n");
        for (capability, ask) in &self.0 {
            let _ = write!(text, "{capability}");
            if let Some(quota) = ask.quota {
                let _ = write!(text, " {}", quota.get());
            }
            for host in sorted(ask.hosts.clone()) {
                let _ = write!(text, " {host}");
            }
            text.push('\n');
        }
        text.into_bytes()
    }

    /// Everything that is requested, granted as it is requested: what a person consents to who says yes.
    pub fn all(&self) -> Grants {
        let grant = |(c, ask): (&Capability, &Ask)| {
            (*c, Grant { quota: ask.quota, hosts: ask.hosts.clone(), ..Grant::default() })
        };
        Grants(self.0.iter().map(grant).collect())
    }

    /// Request ∩ grant: what holds. Its quotas are always set.
    pub fn effective(&self, grants: &Grants) -> Grants {
        let both = |(capability, ask): (&Capability, &Ask)| {
            let grant = grants.0.get(capability)?;
            if *capability == Capability::Http {
                return Some((*capability, effective_http(ask, grant)?));
            }
            let asked = ask.quota.or((*capability == Capability::Storage).then_some(DEFAULT_QUOTA));
            let quota = asked.map(|q| grant.quota.map_or(q, |g| g.min(q)));
            Some((*capability, Grant { quota, ..Grant::default() }))
        };
        Grants(self.0.iter().filter_map(both).collect())
    }

    /// What the plugin cannot do without and was not granted. A smaller quota is not missing: it is a limit.
    pub fn missing(&self, grants: &Grants) -> Vec<Missing> {
        let lacking = |(capability, ask): (&Capability, &Ask)| {
            let granted = grants.0.get(capability);
            // A wildcard of which the operator grants a part is granted: that is how it is narrowed.
            let grants = |h: &Hosts| granted.is_some_and(|g| g.hosts.iter().any(|g| g.both(h).is_some()));
            let hosts: Vec<_> = ask.hosts.iter().filter(|h| !grants(h)).cloned().collect();
            let lacks = granted.is_none() || !hosts.is_empty();
            (lacks && !ask.optional).then(|| Missing { capability: *capability, ask: ask.clone(), hosts })
        };
        self.0.iter().filter_map(lacking).collect()
    }
}

/// A capability that is needed and was not granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Which.
    pub capability: Capability,
    /// As it was requested.
    pub ask: Ask,
    /// `http` only: the hosts that were not granted.
    pub hosts: Vec<Hosts>,
}

impl Missing {
    /// The line that grants it, to be added to the deployment file under `[plugins."<id>"]`.
    pub fn line(&self) -> String {
        let quoted = |hosts: &[Hosts]| hosts.iter().map(|h| format!("\"{h}\"")).collect::<Vec<_>>().join(", ");
        match (self.capability, self.ask.quota) {
            (Capability::Http, _) => format!("grant.http.hosts = [{}]", quoted(&self.ask.hosts)),
            (_, Some(quota)) => format!("grant.storage.quota = \"{quota}\""),
            (capability, None) => format!("grant.{capability} = {{}}"),
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not granted: add `{}`", self.capability, self.line())
    }
}

impl Grants {
    /// The same rights on the terms that the operator had set before: the quota of `http`, and what may be private.
    pub fn on_terms_of(mut self, before: &Self) -> Self {
        if let (Some(now), Some(before)) = (self.0.get_mut(&Capability::Http), before.0.get(&Capability::Http)) {
            now.quota = before.quota.or(now.quota);
            let still = before.allow_private.iter().filter(|p| now.hosts.iter().any(|h| h.cover(p)));
            now.allow_private = still.cloned().collect();
        }
        self
    }
    /// Does it hold?
    pub fn has(&self, capability: Capability) -> bool {
        self.0.contains_key(&capability)
    }

    /// What either holds: the larger quota, all hosts. A quota that is not said is no more than the other's.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let mut both = self.clone();
        for (capability, grant) in &other.0 {
            let mine = both.0.entry(*capability).or_default();
            // Bytes of a day are the operator's to say, who said them here.
            let said = mine.quota.filter(|_| *capability == Capability::Http);
            mine.quota = said.or(mine.quota.max(grant.quota));
            mine.hosts = sorted(mine.hosts.iter().chain(&grant.hosts).cloned().collect());
            mine.allow_private = sorted(mine.allow_private.iter().chain(&grant.allow_private).cloned().collect());
        }
        both
    }

    /// Reads the key `key` of a plugin's table: a list of names, or a table with limits.
    pub(crate) fn read(table: &mut Table<'_>, key: &'static str) -> Self {
        if table.is_list(key) {
            let names: Vec<Capability> = table.list(key);
            if names.contains(&Capability::Http) {
                table.problem(key, "http is granted by host: write grant.http.hosts = [\"https://api.example.org\"]");
            }
            return Self(names.into_iter().map(|c| (c, Grant::default())).collect());
        }
        Self(table.map(key, |capability: &Capability, t| {
            let mut grant = Grant::default();
            if *capability == Capability::Storage {
                grant.quota = t.optional("quota");
            }
            if *capability == Capability::Http {
                grant.hosts = sorted(t.list("hosts"));
                if !t.has("hosts") {
                    t.problem("hosts", "http is granted by host: write hosts = [\"https://api.example.org\"]");
                }
                grant.quota = t.optional("quota");
                grant.allow_private = sorted(t.list("allow-private"));
                for host in &grant.allow_private {
                    if !grant.hosts.iter().any(|h| h.cover(host)) {
                        let text = format!("allow-private names {host}, which is not in hosts: add it there, too");
                        t.problem("allow-private", text);
                    }
                }
            }
            Some(grant)
        }))
    }
}

/// The hosts that both sides name, on the operator's terms; `None` where they share none: to be allowed to call nobody is
/// not to be allowed to call.
fn effective_http(ask: &Ask, grant: &Grant) -> Option<Grant> {
    let shared = ask.hosts.iter().flat_map(|a| grant.hosts.iter().filter_map(|g| a.both(g)));
    let hosts = sorted(shared.cloned().collect());
    // The operator's word on how much holds in both directions: it is no right, and no author can know.
    let quota = grant.quota.or(ask.quota).or(Some(DEFAULT_HTTP_QUOTA));
    (!hosts.is_empty()).then(|| Grant { quota, hosts, allow_private: grant.allow_private.clone() })
}

fn sorted(mut hosts: Vec<Hosts>) -> Vec<Hosts> {
    hosts.sort();
    hosts.dedup();
    hosts
}

#[cfg(test)]
#[path = "capability_tests.rs"]
mod tests;
