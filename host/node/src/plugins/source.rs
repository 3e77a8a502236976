//! Where bundles come from: a file, or a folder of them. What is chosen here is only a path; the bundle is verified in full
//! when it comes in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fondaco_schemas::PluginId;
use fondaco_trust::TrustStore;
use semver::{Version, VersionReq};

use super::bundle::verify;
use crate::fail::{Done, Fail};

/// The most bundles that are looked at in a folder.
const MAX_BUNDLES: usize = 1_000;

/// The bundles to take from a file or a folder, by id: of a folder, the highest version of each plugin that fits what
/// fondaco.toml wants. `only`: of this plugin. What was passed over is said in `remarks`.
pub fn choose(
    from: &Path,
    only: Option<&PluginId>,
    trust: &TrustStore,
    wanted: impl Fn(&PluginId) -> VersionReq,
    remarks: &mut Vec<String>,
) -> Done<Vec<(PluginId, PathBuf)>> {
    let is_other = |id: &PluginId| only.is_some_and(|only| only != id);
    if !from.is_dir() {
        let found = verify(from, trust, |_| None)?.manifest;
        if is_other(&found.id) {
            let only = only.map(ToString::to_string).unwrap_or_default();
            return Err(Fail::usage(format!("{} is {} and not {only}", from.display(), found.id)));
        }
        return Ok(vec![(found.id, from.to_owned())]);
    }
    let mut best: BTreeMap<PluginId, (Version, PathBuf)> = BTreeMap::new();
    for path in bundles_in(from)? {
        let found = match verify(&path, trust, |_| None) {
            Ok(verified) => verified.manifest,
            Err(fail) => {
                remarks.push(format!("passed over: {}", fail.text));
                continue;
            }
        };
        let wanted = wanted(&found.id);
        if is_other(&found.id) {
            continue;
        }
        if !wanted.matches(&found.version) {
            remarks.push(format!("passed over: {}: fondaco.toml wants version {wanted}", path.display()));
            continue;
        }
        if best.get(&found.id).is_none_or(|(version, _)| *version < found.version) {
            best.insert(found.id, (found.version, path));
        }
    }
    if best.is_empty() {
        let what = only.map_or_else(String::new, |id| format!(" of {id}"));
        return Err(Fail::not_found(format!("{} holds no bundle{what} that can be taken", from.display())));
    }
    Ok(best.into_iter().map(|(id, (_, path))| (id, path)).collect())
}

/// The `.fondaco` files of a folder, by name.
pub fn bundles_in(folder: &Path) -> Done<Vec<PathBuf>> {
    let fail = |e: std::io::Error| Fail::failed(format!("{}: {e}", folder.display()));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.extension().is_some_and(|e| e == fondaco_trust::bundle::EXTENSION) && path.is_file() {
            found.push(path);
        }
        if found.len() > MAX_BUNDLES {
            return Err(Fail::refused(format!("{} holds more than {MAX_BUNDLES} bundles", folder.display())));
        }
    }
    found.sort();
    Ok(found)
}
