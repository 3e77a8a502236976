//! The plugin manifest. An author writes `plugin.toml`; packing turns it into `manifest.toml`, the same with a list of
//! the bundle's files, and it is that which is signed.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::capability::{Capability, Requested};
use crate::problem::{Problems, Table, hint, read};
use crate::{BlobHash, ByteSize, Span};

/// The only version of this format.
pub const MANIFEST_SCHEMA: u64 = 1;
/// Name of the author's file.
pub const PLUGIN_FILE: &str = "plugin.toml";
/// Name of the packed manifest within a bundle.
pub const MANIFEST_FILE: &str = "manifest.toml";
/// Name of the signatures within a bundle.
pub const SIGNATURE_FILE: &str = "manifest.dsse.json";

/// Why a text is no id, path, kind or digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {what}: {why}")]
pub struct NameError {
    text: String,
    what: &'static str,
    why: String,
}

fn refuse<T>(text: &str, what: &'static str, why: impl Into<String>) -> Result<T, NameError> {
    Err(NameError { text: text.chars().take(140).collect(), what, why: why.into() })
}

macro_rules! text_type {
    ($name:ident) => {
        impl $name {
            /// Its text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

/// A plugin's id: its publisher's domain reversed, and a name: `org.nightowl.shelf`. Bound to its publisher's keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct PluginId(String);

impl FromStr for PluginId {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let label = |l: &str| {
            !l.is_empty()
                && l.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                && !l.starts_with('-')
                && !l.ends_with('-')
        };
        if !(3..=128).contains(&text.len()) || !text.contains('.') || !text.split('.').all(label) {
            return refuse(text, "plugin id", "write 3 to 128 of a-z, 0-9, '-' and '.', such as org.example.shelf");
        }
        Ok(Self(text.to_owned()))
    }
}
text_type!(PluginId);

/// The path of a file in a bundle: relative, `/` between names, ASCII, at most 100 bytes (what a plain tar header holds).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct BundlePath(String);

impl FromStr for BundlePath {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let letters = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-+@ /".contains(&b));
        if !letters || text.len() > 100 {
            return refuse(text, "path in a bundle", "write at most 100 of a-z, A-Z, 0-9, space and ._-+@/");
        }
        if text.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
            return refuse(text, "path in a bundle", "it must be relative, without empty parts, '.' or '..'");
        }
        Ok(Self(text.to_owned()))
    }
}
text_type!(BundlePath);

/// A SHA-256 digest, as lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256(pub [u8; 32]);

impl FromStr for Sha256 {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok().and_then(|b| b.try_into().ok());
        bytes.map_or_else(|| refuse(text, "SHA-256 digest", "it must have 64 hexadecimal digits"), |b| Ok(Self(b)))
    }
}
impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}
impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256({self})")
    }
}
impl Serialize for Sha256 {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}
impl JsonSchema for Sha256 {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Sha256".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[0-9a-f]{64}$" })
    }
}

/// What a plugin is for; each kind has a world of its own in the WIT package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PluginKind {
    /// Finds works.
    Search,
    /// Takes payments.
    Payment,
    /// Protects and licenses files.
    Drm,
    /// Runs campaigns.
    Advocacy,
    /// Draws the pages.
    Storefront,
}

impl PluginKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Search, Self::Payment, Self::Drm, Self::Advocacy, Self::Storefront];
    /// Its name, which is also its world's.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Search => "search",
            Self::Payment => "payment",
            Self::Drm => "drm",
            Self::Advocacy => "advocacy",
            Self::Storefront => "storefront",
        }
    }
}

impl fmt::Display for PluginKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
impl FromStr for PluginKind {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let found = Self::ALL.into_iter().find(|k| k.as_str() == text);
        let why = || hint(text, Self::ALL.iter().map(|k| k.as_str())).trim_start_matches(": ").to_owned();
        found.map_or_else(|| refuse(text, "plugin kind", why()), Ok)
    }
}

/// A plugin's name and one line about it, in one language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PluginText {
    /// What people call it.
    pub name: String,
    /// What it does, in one line.
    pub summary: String,
}

/// How much a plugin may use: wishes in a manifest, decisions in a deployment file. Absent: the host's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Limits {
    /// Summed over all linear memories.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
    /// How long one call may compute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Span>,
    /// How long one call may take with all its waiting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall: Option<Span>,
    /// How often one call may call the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_calls: Option<u32>,
    /// How many calls may run at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// How many keys its storage may hold; its bytes are the quota of the grant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<u64>,
    /// How much of what it prints reaches the log in a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<ByteSize>,
    /// How often it may call the node in a second, by capability.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rate: BTreeMap<Capability, u32>,
}

impl Limits {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        Self {
            memory: t.optional("memory"),
            deadline: t.optional("deadline"),
            wall: t.optional("wall"),
            host_calls: t.number("host-calls"),
            concurrency: at_least_one(t, "concurrency"),
            keys: t.number("keys"),
            log: t.optional("log"),
            rate: t
                .table("rate", |t| {
                    Capability::ALL.into_iter().filter_map(|c| Some((c, t.number(c.as_str())?))).collect()
                })
                .unwrap_or_default(),
        }
    }
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn at_least_one(t: &mut Table<'_>, key: &'static str) -> Option<u32> {
    let number = t.number(key);
    if number == Some(0) {
        t.problem(key, format!("{key} = 0 would let no call through; to stop a plugin, write enabled = false"));
    }
    number
}

/// For how long an instance lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// One call.
    #[default]
    Fresh,
}

/// How instances are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Instance {
    /// For how long one lives.
    pub policy: Policy,
}

impl Instance {
    fn read(t: &mut Table<'_>) -> Self {
        match t.required::<String>("policy").as_deref() {
            Some("fresh") | None => {}
            // `host/decisions/fresh-instances.md` says why.
            Some("reuse") => {
                t.problem(
                    "policy",
                    "policy = \"reuse\" is not offered: every call gets a fresh instance, which costs some microseconds \
                     and keeps one visitor's data from the next; leave [instance] out, and keep what must last in storage",
                );
                // What belongs to it is not said to be unknown besides.
                let (_, _) = (t.has_known("max-requests"), t.has_known("idle"));
            }
            Some(other) => {
                let hint = hint(other, ["fresh"].into_iter());
                t.problem("policy", format!("unknown instance policy \"{other}\"{hint}"));
            }
        }
        Self::default()
    }
}

/// What a plugin can be set to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SettingsSchema {
    /// Path of a JSON Schema in the bundle.
    pub schema: BundlePath,
}

/// A file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PackedFile {
    /// Where it lies.
    pub path: BundlePath,
    /// In bytes.
    pub size: u64,
    /// For tools that know no BLAKE3.
    pub sha256: Sha256,
    /// Its address.
    pub blake3: BlobHash,
}

/// What a plugin is and asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of this format: 1.
    #[schemars(range(min = 1, max = 1))]
    pub schema: u64,
    /// Who it is.
    pub id: PluginId,
    /// Semantic version; a lower one never replaces a higher one by itself.
    #[schemars(with = "String")]
    pub version: semver::Version,
    /// What it is for.
    pub kind: PluginKind,
    /// Which versions of `fondaco:plugin` it works with.
    #[schemars(with = "String")]
    pub api: semver::VersionReq,
    /// Path of the WASM component.
    pub component: BundlePath,
    /// SPDX expression.
    pub license: String,
    /// RFC 3339, when it was packed. Packed manifests only.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub released: Option<OffsetDateTime>,
    /// What it was built with. Packed manifests only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toolchain: Option<String>,
    /// Its name and summary, by locale (BCP 47).
    pub text: BTreeMap<String, PluginText>,
    /// What it asks for.
    #[serde(default)]
    pub capabilities: Requested,
    /// What it would like to use.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
    /// How its instances are made.
    #[serde(default)]
    pub instance: Instance,
    /// What it can be set to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<SettingsSchema>,
    /// All files of the bundle but the manifest and its signatures, by path. Packed manifests only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<PackedFile>,
}

impl Manifest {
    /// Reads an author's `plugin.toml`.
    pub fn parse_request(text: &str) -> Result<Self, Problems> {
        read(PLUGIN_FILE, text, |t| Self::read(t, false))
    }

    /// Reads a packed `manifest.toml`. Call it on verified bytes only.
    pub fn parse_packed(text: &str) -> Result<Self, Problems> {
        read(MANIFEST_FILE, text, |t| Self::read(t, true))
    }

    fn read(t: &mut Table<'_>, packed: bool) -> Option<Self> {
        let schema = t.number("schema");
        match schema {
            Some(MANIFEST_SCHEMA) => {}
            None if t.has("schema") => {}
            _ => t.problem("schema", "this host reads schema = 1"),
        }
        let (id, version, kind, api) = (t.required("id"), t.required("version"), t.required("kind"), t.required("api"));
        let (component, license) = (t.required::<BundlePath>("component"), t.text("license"));
        let text: BTreeMap<String, PluginText> = t.map("text", |_: &String, t| {
            let (name, summary) = (t.text("name"), t.text("summary"));
            Some(PluginText { name: name?, summary: summary? })
        });
        if text.is_empty() && (!t.has("text") || t.is_empty("text")) {
            t.problem("text", "name the plugin in at least one language: [text.en] with name and summary");
        }
        let capabilities = Requested::read(t, "capabilities");
        let limits = t.table("limits", Limits::read).unwrap_or_default();
        let instance = t.table("instance", Instance::read).unwrap_or_default();
        let settings = t.table("settings", |t| Some(SettingsSchema { schema: t.required("schema")? })).flatten();
        let (mut files, mut released, mut toolchain) = (Vec::new(), None, None);
        if packed {
            files = t.tables("files", |t| {
                let (path, size) = (t.required("path"), t.number("size"));
                let (sha256, blake3) = (t.required("sha256"), t.required("blake3"));
                if !t.has("size") {
                    t.problem("size", "\"files.size\" is missing");
                }
                Some(PackedFile { path: path?, size: size?, sha256: sha256?, blake3: blake3? })
            });
            released = t.required::<Timestamp>("released").map(|t| t.0);
            toolchain = t.optional("toolchain");
            Self::check_files(t, &files, component.as_ref());
        }
        Some(Self {
            schema: schema?,
            id: id?,
            version: version?,
            kind: kind?,
            api: api?,
            component: component?,
            license: license?,
            released,
            toolchain,
            text,
            capabilities,
            limits,
            instance,
            settings,
            files,
        })
    }

    fn check_files(t: &Table<'_>, files: &[PackedFile], component: Option<&BundlePath>) {
        for (before, file) in files.iter().zip(files.iter().skip(1)) {
            if before.path >= file.path {
                t.problem("files", format!("files must be sorted by path and named once: {}", file.path));
            }
        }
        for reserved in [MANIFEST_FILE, SIGNATURE_FILE] {
            if files.iter().any(|f| f.path.as_str() == reserved) {
                t.problem("files", format!("{reserved} cannot list itself"));
            }
        }
        if let Some(component) = component.filter(|c| files.iter().all(|f| f.path != **c)) {
            t.problem("component", format!("the component {component} is not among the files"));
        }
    }

    /// The manifest as TOML, which reads back as the same.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }

    /// Its name and summary in the first of these locales that it speaks, or else in English, or else in any.
    pub fn text_in(&self, locale: &str) -> Option<&PluginText> {
        let language = locale.split('-').next().unwrap_or(locale);
        [locale, language, "en"].iter().find_map(|l| self.text.get(*l)).or_else(|| self.text.values().next())
    }
}

/// RFC 3339, as it stands in a file.
pub(crate) struct Timestamp(pub(crate) OffsetDateTime);

impl FromStr for Timestamp {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let parsed = OffsetDateTime::parse(text, &Rfc3339).map(Self);
        parsed.or_else(|_| refuse(text, "time", "write RFC 3339, such as 2030-01-31T12:00:00Z"))
    }
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
pub(crate) mod tests;
