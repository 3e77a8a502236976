//! `cargo fondaco new`: the folder of a new plugin.

use std::fs;
use std::path::{Path, PathBuf};

use fondaco_schemas::PluginId;
use serde_json::json;

use crate::cli::New;
use crate::error::Error;
use crate::files::read_text;
use crate::lang::{self, Lang};
use crate::report::Report;
use crate::template::{self, Sdk};

/// Makes the folder and all that is in it.
pub fn run(options: &New) -> Result<Report, Error> {
    let folder = &options.path;
    let name = folder.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    check_crate_name(name)?;
    let id = match &options.id {
        Some(id) => id.clone(),
        None => default_id(name)?,
    };
    if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) || folder.is_file() {
        return Err(Error::Occupied(folder.clone()));
    }
    let contents = match options.lang {
        Lang::Rust => rust(options, name, &id)?,
        _ if options.member => return Err(Error::RustOnly("member")),
        _ if options.sdk.is_some() => return Err(Error::RustOnly("sdk")),
        other => lang::files(other, options.kind, name, &id)?,
    };
    let mut files = Vec::new();
    for (path, text) in contents {
        let file = folder.join(&path);
        let parent = file.parent().unwrap_or(folder);
        fs::create_dir_all(parent).map_err(|e| Error::Write(parent.to_owned(), e))?;
        fs::write(&file, text).map_err(|e| Error::Write(file.clone(), e))?;
        files.push(path);
    }
    let place = folder.display().to_string();
    let tests = match options.lang {
        Lang::Rust => "cargo test",
        Lang::Js => "npm test",
        Lang::Python => "python3 -m unittest discover src",
    };
    let language = options.lang.name();
    Ok(Report {
        text: format!(
            "{place}: a {} plugin in {language}, {id}\nnext: cd {place} && {tests} && cargo fondaco pack",
            options.kind
        ),
        json: json!({ "path": place, "id": id, "kind": options.kind, "language": language, "files": files }),
    })
}

fn rust(options: &New, name: &str, id: &PluginId) -> Result<Vec<(String, String)>, Error> {
    let sdk = match &options.sdk {
        Some(given) => Sdk::Path(sdk_at(given).ok_or_else(|| Error::NoSdk(given.clone()))?),
        None => find_sdk(&options.path).map_or(Sdk::Published, Sdk::Path),
    };
    let files = template::files(options.kind, name, id, &sdk, options.member);
    Ok(files.into_iter().map(|(path, text)| (path.to_owned(), text)).collect())
}

/// What cargo takes for a name that also makes a Rust identifier.
fn check_crate_name(name: &str) -> Result<(), Error> {
    // Crates that would shadow what the plugin itself needs, and words that name no module.
    let taken = [
        "core",
        "std",
        "alloc",
        "test",
        "proc_macro",
        "fondaco_sdk",
        "serde_json",
        "self",
        "crate",
        "super",
        "fn",
        "mod",
    ];
    let letters = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
    let fits = letters && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.len() <= 64;
    if fits && !taken.contains(&name.replace('-', "_").as_str()) {
        Ok(())
    } else {
        Err(Error::CrateName(name.to_owned()))
    }
}

fn default_id(name: &str) -> Result<PluginId, Error> {
    let label = name.replace('_', "-");
    format!("org.example.{label}").parse().map_err(|cause| Error::Id { name: name.to_owned(), cause })
}

/// The SDK of the Fondaco checkout that the new folder will be in, or that this program is run from by cargo.
fn find_sdk(folder: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(folder).ok()?;
    let around = absolute.ancestors().find_map(|up| sdk_at(&up.join("sdk/rust")));
    let beside = || sdk_at(&PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR")?).join("../rust"));
    around.or_else(beside)
}

/// The absolute path of a folder that holds the SDK.
fn sdk_at(folder: &Path) -> Option<PathBuf> {
    let manifest = read_text(&folder.join("Cargo.toml"), 1 << 20, "").ok()?;
    let is_sdk = manifest.lines().any(|line| line.replace(' ', "") == "name=\"fondaco-sdk\"");
    folder.canonicalize().ok().filter(|_| is_sdk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_names_that_cargo_or_rust_would_trip_over() {
        for good in ["corner-shop", "a", "my_plugin2"] {
            assert!(check_crate_name(good).is_ok(), "{good}");
        }
        for bad in ["", "Shop", "2shop", "-shop", "café", "a b", "std", "fondaco-sdk", "a.b", &"a".repeat(65)] {
            assert!(check_crate_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn makes_an_id_of_the_name() {
        assert_eq!(default_id("my_shop").unwrap().as_str(), "org.example.my-shop");
        assert!(matches!(default_id("shop-"), Err(Error::Id { .. })));
    }

    #[test]
    fn knows_the_sdk_by_its_name() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert!(sdk_at(&here.join("../rust")).is_some());
        assert_eq!(sdk_at(here), None);
        assert_eq!(find_sdk(&here.join("not/yet/there")), sdk_at(&here.join("../rust")));
    }
}
