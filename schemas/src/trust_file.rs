//! The trust file, `trust.toml`: whose plugins may run here, and what is revoked. What follows from it is decided in
//! `host/trust`.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::manifest::{NameError, PluginId, PluginKind, Timestamp};
use crate::problem::{Problems, Table, read};
use crate::{BlobHash, PublicKey};

/// Name of the trust file.
pub const TRUST_FILE: &str = "trust.toml";

/// Whom the operator trusts with what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrustFile {
    /// Counts the changes of this file; a lower one than was seen before is refused.
    pub serial: u64,
    /// Who may sign plugins.
    #[serde(default)]
    pub publishers: Vec<TrustedPublisher>,
    /// What is no longer trusted, whatever is said above.
    #[serde(default)]
    pub revoked: Revoked,
}

/// Somebody whose plugins may run here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrustedPublisher {
    /// Who it is.
    pub name: String,
    /// Which plugin ids it may sign.
    pub prefixes: Vec<IdPrefix>,
    /// Which kinds it may sign.
    pub kinds: Vec<PluginKind>,
    /// So many different keys must have signed; absent: one.
    #[serde(default = "one")]
    pub threshold: u32,
    /// Its keys.
    pub keys: Vec<TrustedKey>,
}

const fn one() -> u32 {
    1
}

/// A publisher's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TrustedKey {
    /// Ed25519, 32 bytes as 64 hexadecimal digits or as base64.
    pub key: PublicKey,
    /// RFC 3339: not trusted after; absent: trusted until revoked.
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[schemars(with = "Option<String>")]
    pub not_after: Option<OffsetDateTime>,
    /// For the operator.
    #[serde(default)]
    pub note: Option<String>,
}

/// What is no longer trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Revoked {
    /// Keys.
    pub keys: Vec<PublicKey>,
    /// BLAKE3 digests of bundles or, to catch every bundle of the same contents, of their `manifest.toml`.
    pub digests: Vec<BlobHash>,
}

/// The first part of plugin ids: `org.nightowl` stands for itself and for all that begin with `org.nightowl.`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct IdPrefix(String);

impl IdPrefix {
    /// Does the id begin with it, at the border of a label?
    pub fn covers(&self, id: &PluginId) -> bool {
        id.as_str().strip_prefix(self.0.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

impl FromStr for IdPrefix {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        // A trailing point is how many write it, and means the same.
        let bare = text.strip_suffix('.').unwrap_or(text);
        bare.parse::<PluginId>().map(|id| Self(id.to_string()))
    }
}
impl TryFrom<String> for IdPrefix {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}
impl From<IdPrefix> for String {
    fn from(prefix: IdPrefix) -> Self {
        prefix.0
    }
}
impl fmt::Display for IdPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A public key as it may be written: hexadecimal, or base64 of the same 32 bytes.
struct KeyText(PublicKey);

impl FromStr for KeyText {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let base64 = || BASE64.decode(text.as_bytes()).ok()?.try_into().ok().map(PublicKey::new);
        let key = text.parse().ok().or_else(base64).map(Self);
        key.ok_or_else(|| {
            format!("{text:?} is no public key: write its 32 bytes as 64 hexadecimal digits or as base64")
        })
    }
}

impl TrustFile {
    /// Reads `trust.toml`. `Problems` names every mistake with its line and column. `refuse` says why a key must not be
    /// pinned, if so.
    pub fn parse(text: &str, refuse: impl Fn(&PublicKey) -> Option<String>) -> Result<Self, Problems> {
        read(TRUST_FILE, text, |t| Self::read(t, &refuse))
    }

    fn read(t: &mut Table<'_>, refuse: &dyn Fn(&PublicKey) -> Option<String>) -> Option<Self> {
        let serial = t.number("serial");
        if serial.is_none() && !t.has("serial") {
            t.problem("serial", "\"serial\" is missing: write serial = 1 and count it up with each change");
        }
        let publishers = t.tables("publishers", |t| TrustedPublisher::read(t, refuse));
        let revoked = t.table("revoked", |t| Revoked {
            keys: t.list::<KeyText>("keys").into_iter().map(|k| k.0).collect(),
            digests: t.list("digests"),
        });
        Some(Self { serial: serial?, publishers, revoked: revoked.unwrap_or_default() })
    }
}

impl TrustedPublisher {
    fn read(t: &mut Table<'_>, refuse: &dyn Fn(&PublicKey) -> Option<String>) -> Option<Self> {
        let name = t.text("name");
        let (prefixes, kinds): (Vec<_>, Vec<_>) = (t.list("prefixes"), t.list("kinds"));
        let keys: Vec<TrustedKey> = t.tables("keys", |t| {
            let key = t.required::<KeyText>("key").map(|k| k.0);
            if let Some(why) = key.as_ref().and_then(refuse) {
                t.problem("key", why);
            }
            let not_after = t.optional::<Timestamp>("not-after").map(|time| time.0);
            let note = t.optional("note");
            Some(TrustedKey { key: key?, not_after, note })
        });
        for (key, empty) in [("prefixes", prefixes.is_empty()), ("kinds", kinds.is_empty()), ("keys", keys.is_empty())]
        {
            // A list whose entries were all refused has been spoken of.
            if empty && !t.has(key) {
                t.problem(key, format!("the publisher has no {key}, and so may sign nothing"));
            }
        }
        let threshold = t.number("threshold").unwrap_or_else(one);
        let mut distinct: Vec<_> = keys.iter().map(|k| k.key).collect();
        distinct.sort();
        distinct.dedup();
        if distinct.len() < keys.len() {
            t.problem("keys", "the publisher has the same key twice");
        }
        if threshold == 0 || threshold as usize > distinct.len().max(1) {
            let text =
                format!("a threshold of {threshold} with {} keys: it must be from 1 to their number", keys.len());
            t.problem("threshold", text);
        }
        Some(Self { name: name?, prefixes, kinds, threshold, keys })
    }
}

#[cfg(test)]
#[path = "trust_file_tests.rs"]
pub(crate) mod tests;
