//! The shop's brand: a name, a logo and design tokens, put into a deployment's folder.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::node::Deployment;

const NAME: &str = "Night Owl";
const TAGLINE: &str = "Music, games and books for those who are still awake";
const FILES: [(&str, &str); 2] =
    [("logo.svg", include_str!("theme/logo.svg")), ("tokens.json", include_str!("theme/tokens.json"))];

/// The deployment in a folder, made where there is none, with its theme.
pub fn deployment(folder: &Path) -> Result<Deployment> {
    let settings = folder.join("fondaco.toml");
    let deployment = if settings.exists() { Deployment::at(folder) } else { Deployment::init(folder, NAME, TAGLINE)? };
    for (name, text) in FILES {
        replace(&folder.join("theme").join(name), text)?;
    }
    let text = fs::read_to_string(&settings).with_context(|| format!("{}", settings.display()))?;
    replace(&settings, &text.replacen("# logo = \"logo.svg\"", "logo = \"logo.svg\"", 1))?;
    Ok(deployment)
}

/// Writes a file, unless it says this already; a crash leaves the old or the new one.
pub fn replace(file: &Path, text: &str) -> Result<()> {
    if fs::read_to_string(file).is_ok_and(|old| old == text) {
        return Ok(());
    }
    let part = file.with_extension("part");
    let written = fs::write(&part, text).and_then(|()| fs::rename(&part, file));
    written.with_context(|| format!("{} cannot be written", file.display()))
}
