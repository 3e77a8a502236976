//! Capabilities: what a plugin may ask of the host. A manifest requests, the operator grants, and what holds is what
//! both say. An interface whose capability does not hold is never linked.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ByteSize;
use crate::problem::{Table, hint};

/// What a plugin's storage may hold where its manifest names no quota.
pub const DEFAULT_QUOTA: ByteSize = ByteSize::mib(16);

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
    /// To search through the installed providers and peers.
    Discovery,
    /// To call web services, on named hosts.
    Http,
    /// To have the host use keys and secrets for it.
    Keys,
    /// To send mail through the deployment's relay.
    Mail,
    /// To keep data of its own, up to a quota.
    Storage,
}

impl Capability {
    /// All of them, by name.
    pub const ALL: [Self; 10] = [
        Self::Assets,
        Self::Blobs,
        Self::Campaigns,
        Self::Catalogue,
        Self::Commerce,
        Self::Discovery,
        Self::Http,
        Self::Keys,
        Self::Mail,
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
            Self::Discovery => "search, also through other plugins and peers",
            Self::Http => "call the web services named",
            Self::Keys => "sign and seal with keys that stay with the node",
            Self::Mail => "send mail through your relay",
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

/// Why a text names no host to call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no web origin: write scheme, lower-case host and perhaps port, such as \"https://api.example.org\"")]
pub struct OriginError(String);

/// Scheme, host and port of a web service (RFC 6454): `https://api.example.org`. No path, no wildcard.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Origin(String);

impl Origin {
    /// Its text, without a default port.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// Is what is sent there readable on the way?
    pub fn is_plain(&self) -> bool {
        self.0.starts_with("http://")
    }
}

impl FromStr for Origin {
    type Err = OriginError;
    fn from_str(text: &str) -> Result<Self, OriginError> {
        let refused = || OriginError(text.chars().take(80).collect());
        let (scheme, default, rest) = match text.split_once("://") {
            Some(("https", rest)) => ("https", 443, rest),
            Some(("http", rest)) => ("http", 80, rest),
            _ => return Err(refused()),
        };
        let end = if rest.starts_with('[') { rest.find(']').ok_or_else(refused)? + 1 } else { rest.len() };
        let (host, port) = match rest.get(end..).and_then(|after| after.strip_prefix(':')) {
            Some(port) => (rest.get(..end).unwrap_or_default(), Some(port)),
            None => rest
                .split_once(':')
                .filter(|_| end == rest.len() && !rest.starts_with('['))
                .map_or((rest, None), |(host, port)| (host, Some(port))),
        };
        if !is_host(host) {
            return Err(refused());
        }
        let port = match port {
            None => default,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse::<u16>().ok().filter(|p| *p > 0).ok_or_else(refused)?
            }
            Some(_) => return Err(refused()),
        };
        Ok(Self(if port == default { format!("{scheme}://{host}") } else { format!("{scheme}://{host}:{port}") }))
    }
}

fn is_host(host: &str) -> bool {
    if let Some(v6) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        // One address has one text: the canonical one (RFC 5952), which the standard library writes.
        return v6.parse::<std::net::Ipv6Addr>().is_ok_and(|a| a.to_string() == v6);
    }
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    // A name that ends in a number is an IPv4 address or nothing (WHATWG URL, "ends in a number").
    let numeric = host.rsplit('.').next().is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit()) || l.starts_with("0x"));
    let address = host.parse::<std::net::Ipv4Addr>().is_ok();
    host.len() <= 253 && host.split('.').all(label) && (!numeric || address)
}

impl TryFrom<String> for Origin {
    type Error = OriginError;
    fn try_from(text: String) -> Result<Self, OriginError> {
        text.parse()
    }
}
impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        origin.0
    }
}
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
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
    /// `storage` only: the most that its space may hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<ByteSize>,
    /// `http` only: the hosts to be called.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<Origin>,
}

/// What a manifest requests. A request, never a grant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Requested(pub BTreeMap<Capability, Ask>);

/// A capability that the operator granted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Grant {
    /// `storage` only; absent: as much as was requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<ByteSize>,
    /// `http` only: always named one by one, so that the file shows who is called.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<Origin>,
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
        let grant = |(c, ask): (&Capability, &Ask)| (*c, Grant { quota: ask.quota, hosts: ask.hosts.clone() });
        Grants(self.0.iter().map(grant).collect())
    }

    /// Request ∩ grant: what holds. Its quotas are always set.
    pub fn effective(&self, grants: &Grants) -> Grants {
        let both = |(capability, ask): (&Capability, &Ask)| {
            let grant = grants.0.get(capability)?;
            let asked = ask.quota.or((*capability == Capability::Storage).then_some(DEFAULT_QUOTA));
            let quota = asked.map(|q| grant.quota.map_or(q, |g| g.min(q)));
            let hosts: Vec<_> = ask.hosts.iter().filter(|h| grant.hosts.contains(h)).cloned().collect();
            // To be allowed to call nobody is not to be allowed to call.
            let empty = *capability == Capability::Http && hosts.is_empty();
            (!empty).then_some((*capability, Grant { quota, hosts }))
        };
        Grants(self.0.iter().filter_map(both).collect())
    }

    /// What the plugin cannot do without and was not granted. A smaller quota is not missing: it is a limit.
    pub fn missing(&self, grants: &Grants) -> Vec<Missing> {
        let lacking = |(capability, ask): (&Capability, &Ask)| {
            let granted = grants.0.get(capability);
            let hosts: Vec<_> =
                ask.hosts.iter().filter(|h| granted.is_none_or(|g| !g.hosts.contains(h))).cloned().collect();
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
    pub hosts: Vec<Origin>,
}

impl Missing {
    /// The line that grants it, to be added to the deployment file under `[plugins."<id>"]`.
    pub fn line(&self) -> String {
        let quoted = |hosts: &[Origin]| hosts.iter().map(|h| format!("\"{h}\"")).collect::<Vec<_>>().join(", ");
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
            mine.quota = mine.quota.max(grant.quota);
            mine.hosts = sorted(mine.hosts.iter().chain(&grant.hosts).cloned().collect());
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
            }
            Some(grant)
        }))
    }
}

fn sorted(mut hosts: Vec<Origin>) -> Vec<Origin> {
    hosts.sort();
    hosts.dedup();
    hosts
}

#[cfg(test)]
#[path = "capability_tests.rs"]
mod tests;
