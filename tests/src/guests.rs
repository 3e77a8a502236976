//! The hostile components of `tests/guests`, built as plugins are built, and packed under whatever manifest a test needs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::bundles::{self, Key, RELEASED};
use crate::{program, workspace};

/// Packages under `tests/guests`.
pub const GUESTS: [&str; 3] = ["hostile", "hostile-shop", "rogue"];

/// Builds them all. Does nothing that has been done.
pub fn build() -> Result<()> {
    workspace::ensure_target()?;
    let mut command = workspace::cargo();
    command.args(["build", "--quiet", "--profile", "plugin", "--target", workspace::TARGET]);
    for guest in GUESTS {
        command.args(["-p", guest]);
    }
    program::pass(&mut command)
}

/// The file of a guest's component; built first where `cargo verify` has not done so.
pub fn file(guest: &str) -> Result<PathBuf> {
    if std::env::var_os(workspace::BUILT).is_none() {
        build()?;
    }
    let name = format!("{}/plugin/{}.wasm", workspace::TARGET, guest.replace('-', "_"));
    Ok(workspace::target()?.join(name))
}

/// The bytes of a guest's component.
pub fn component(guest: &str) -> Result<Vec<u8>> {
    let file = file(guest)?;
    fs::read(&file).with_context(|| file.display().to_string())
}

/// Packs and signs a component under an id, of a kind, with what more its manifest says.
pub fn pack(component: &Path, id: &str, kind: &str, more: &str, into: &Path, key: &Key) -> Result<PathBuf> {
    pack_version(component, (id, "1.0.0"), kind, more, into, key)
}

/// The same, as a version of an id.
pub fn pack_version(
    component: &Path,
    (id, version): (&str, &str),
    kind: &str,
    more: &str,
    into: &Path,
    key: &Key,
) -> Result<PathBuf> {
    let folder = into.join(id);
    program::remove(&folder)?;
    fs::create_dir_all(&folder)?;
    let manifest = format!(
        "schema = 1\nid = \"{id}\"\nversion = \"{version}\"\nkind = \"{kind}\"\napi = \"^0.2\"\ncomponent = \"plugin.wasm\"\n\
         license = \"MIT\"\n[text.en]\nname = \"Attacker\"\nsummary = \"Does harm where it can\"\n{more}"
    );
    fs::write(folder.join("plugin.toml"), manifest)?;
    let mut command = bundles::tool()?;
    command.args(["--json", "pack", "--released", RELEASED, "--path"]).arg(&folder).arg("--out").arg(&folder);
    command.arg("--component").arg(component).arg("--key").arg(&key.file);
    let answer: Value = serde_json::from_str(&program::answer(&mut command)?)?;
    Ok(bundles::text(&answer, "bundle")?.into())
}
