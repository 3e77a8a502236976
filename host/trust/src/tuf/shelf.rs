//! How plugins lie in a registry: the paths of their bundles, and what is said about them beside.

use std::collections::BTreeMap;

use fondaco_schemas::trust_file::IdPrefix;
use fondaco_schemas::{Manifest, PluginId};
use semver::{Version, VersionReq};

use super::client::{Found, Update};
use super::json::Json;
use crate::bundle::EXTENSION;

/// The key in a target's `custom` under which we say something.
const CUSTOM: &str = "fondaco";

/// Where a bundle lies among the targets.
pub fn target_path(id: &PluginId, version: &Version) -> String {
    format!("{id}/{id}-{version}.{EXTENSION}")
}

/// Whose bundle lies there.
pub fn parse_path(path: &str) -> Option<(PluginId, Version)> {
    let (id, file) = path.split_once('/')?;
    let id: PluginId = id.parse().ok()?;
    let version = file.strip_prefix(id.as_str())?.strip_prefix('-')?.strip_suffix(EXTENSION)?.strip_suffix('.')?;
    let version = version.parse().ok()?;
    // One path for one version.
    (target_path(&id, &version) == path).then_some((id, version))
}

/// The patterns of the paths of all ids that a prefix covers.
pub fn patterns(prefix: &IdPrefix) -> Vec<String> {
    vec![format!("{prefix}/*"), format!("{prefix}.*/*")]
}

/// What is said about a bundle beside its digest: for lists only, since the bundle says it again under its signatures.
pub fn custom(manifest: &Manifest) -> Json {
    let text = manifest.text_in("en");
    let words = |text: Option<&str>| Json::from(text.unwrap_or_default());
    Json::map([(
        CUSTOM,
        Json::map([
            ("kind", manifest.kind.as_str().into()),
            ("api", manifest.api.to_string().into()),
            ("name", words(text.map(|t| t.name.as_str()))),
            ("summary", words(text.map(|t| t.summary.as_str()))),
        ]),
    )])
}

/// A version of a plugin in a registry.
#[derive(Clone, Debug)]
pub struct Entry<'u> {
    /// Its path among the targets.
    pub path: String,
    /// The target, and the role that lists it.
    pub found: Found<'u>,
}

impl Entry<'_> {
    /// What was said about it: `kind`, `api`, `name`, `summary`.
    pub fn says(&self, what: &str) -> &str {
        let custom = self.found.target.custom.as_ref().and_then(|custom| custom.get(CUSTOM)?.get(what)?.as_text());
        custom.unwrap_or_default()
    }

    /// Does it work with one of these versions of `fondaco:plugin`? Unknown counts as yes: the bundle is asked again when
    /// it is verified.
    pub fn fits(&self, offered: &[Version]) -> bool {
        let range = self.says("api").parse::<VersionReq>();
        range.map_or(true, |range| offered.iter().any(|version| range.matches(version)))
    }
}

/// All plugins of a registry, once [`Update::want_all`] was followed. Targets with other paths are no plugins.
pub fn plugins(update: &Update) -> BTreeMap<PluginId, BTreeMap<Version, Entry<'_>>> {
    let mut plugins: BTreeMap<PluginId, BTreeMap<Version, Entry<'_>>> = BTreeMap::new();
    for (path, found) in update.all() {
        if let Some((id, version)) = parse_path(path) {
            plugins.entry(id).or_default().insert(version, Entry { path: path.to_owned(), found });
        }
    }
    plugins
}
