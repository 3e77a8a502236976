//! Registries of plugins, as `[registries.<name>]` in `fondaco.toml` names them. What follows from a registry's files is
//! decided in `host/trust`.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::deployment::BaseUrl;
use crate::manifest::Sha256;
use crate::problem::Table;

/// What the operator calls a registry: also the name of its folder in `data/registries`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct RegistryName(String);

/// Why a text names no registry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no registry: write 1 to 40 of a-z, 0-9 and -, beginning with a letter")]
pub struct RegistryNameError(String);

impl RegistryName {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RegistryName {
    type Err = RegistryNameError;
    fn from_str(text: &str) -> Result<Self, RegistryNameError> {
        let ok = (1..=40).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if ok { Ok(Self(text.to_owned())) } else { Err(RegistryNameError(text.chars().take(60).collect())) }
    }
}
impl TryFrom<String> for RegistryName {
    type Error = RegistryNameError;
    fn try_from(text: String) -> Result<Self, RegistryNameError> {
        text.parse()
    }
}
impl From<RegistryName> for String {
    fn from(name: RegistryName) -> Self {
        name.0
    }
}
impl fmt::Display for RegistryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where plugins come from, and the root that says whose signatures count there. One of `url` and `folder` is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Registry {
    /// An address that has `metadata/` and `targets/` below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<BaseUrl>,
    /// A folder that has `metadata/` and `targets/` in it, taken from the deployment's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// SHA-256 of the root that is trusted at first: what `sha256sum 1.root.json` prints.
    pub root: Sha256,
    /// The version of that root.
    #[serde(default = "first")]
    pub root_version: u64,
    /// The address may be one of a private network or of this machine, and may be plain http.
    #[serde(default)]
    pub private: bool,
}

const fn first() -> u64 {
    1
}

impl Registry {
    pub(crate) fn read(t: &mut Table<'_>) -> Option<Self> {
        let (url, folder): (_, Option<String>) = (t.optional::<BaseUrl>("url"), t.optional("folder"));
        let (root, root_version) = (t.required("root"), t.number("root-version").unwrap_or_else(first));
        let private = t.flag("private").unwrap_or(false);
        match (t.has("url"), t.has("folder")) {
            (false, false) => t.problem("url", "a registry needs url or folder"),
            (true, true) => t.problem("folder", "a registry has either url or folder, not both"),
            _ => {}
        }
        if url.as_ref().is_some_and(|url| url.as_str().starts_with("http://")) && !private {
            t.problem("url", "plain http is for private networks: write https, or add private = true");
        }
        Some(Self { url, folder, root: root?, root_version, private })
    }
}
