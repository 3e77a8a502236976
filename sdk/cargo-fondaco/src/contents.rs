//! What of a plugin's folder goes into its bundle: the component under the name that plugin.toml gives it, all of
//! `assets/`, the settings' schema, README.md, and the licence files.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use fondaco_schemas::manifest::{MANIFEST_FILE, SIGNATURE_FILE};
use fondaco_schemas::{BundlePath, Manifest};
use fondaco_trust::BundleError;
use fondaco_trust::bundle::{MAX_BUNDLE_BYTES, MAX_ENTRIES};

use crate::error::Error;
use crate::files::read;
use crate::report::progress;

/// The folder whose every file is packed.
const ASSETS: &str = "assets";
const README: &str = "README.md";
/// How the names of files begin that say under which terms a plugin may be used.
const LICENCES: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE"];

/// The files of a bundle, by their path in it. Never more, in number and bytes, than a bundle holds.
#[derive(Debug, Default)]
pub struct Contents {
    files: BTreeMap<BundlePath, Vec<u8>>,
    bytes: usize,
}

impl Contents {
    /// Gathers them.
    pub fn gather(folder: &Path, manifest: &Manifest, component: Vec<u8>) -> Result<Self, Error> {
        let mut contents = Self::default();
        contents.put(manifest.component.clone(), component)?;
        let assets = folder.join(ASSETS);
        if assets.is_dir() {
            contents.add_folder(&assets, ASSETS, 0)?;
        }
        if let Some(settings) = &manifest.settings {
            // It may lie among the assets.
            if !contents.files.contains_key(&settings.schema) {
                contents.add(&folder.join(settings.schema.as_str()), settings.schema.clone())?;
            }
            let path = folder.join(settings.schema.as_str());
            let schema = contents.files.get(&settings.schema).map(Vec::as_slice).unwrap_or_default();
            match serde_json::from_slice(schema) {
                Ok(serde_json::Value::Object(_)) => {}
                Ok(_) => return Err(Error::Schema(path, None)),
                Err(cause) => return Err(Error::Schema(path, Some(cause))),
            }
        }
        for name in names(folder)? {
            let upper = name.to_ascii_uppercase();
            if name == README || LICENCES.iter().any(|l| upper.starts_with(l)) && folder.join(&name).is_file() {
                contents.add(&folder.join(&name), bundle_path(&folder.join(&name), &name)?)?;
            }
        }
        Ok(contents)
    }

    /// The files.
    pub fn into_files(self) -> BTreeMap<BundlePath, Vec<u8>> {
        self.files
    }

    fn add_folder(&mut self, folder: &Path, prefix: &str, depth: usize) -> Result<(), Error> {
        for name in names(folder)? {
            let (path, inside) = (folder.join(&name), format!("{prefix}/{name}"));
            if name.starts_with('.') {
                progress(&format!("left out: {inside} (its name begins with a dot)"));
                continue;
            }
            let kind =
                fs::symlink_metadata(&path).map_err(Error::read(&path, "it was there a moment ago"))?.file_type();
            // No path of a bundle can have so many parts.
            if kind.is_dir() && depth < 50 {
                self.add_folder(&path, &inside, depth + 1)?;
            } else {
                self.add(&path, bundle_path(&path, &inside)?)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, from: &Path, path: BundlePath) -> Result<(), Error> {
        let hint = "plugin.toml names it: make it, or take it out there";
        // A link could bring in what its author never meant to publish.
        let kind = fs::symlink_metadata(from).map_err(Error::read(from, hint))?.file_type();
        if !kind.is_file() {
            return Err(Error::Special(from.to_owned()));
        }
        let bytes = read(from, MAX_BUNDLE_BYTES.saturating_sub(self.bytes), hint)?;
        self.put(path, bytes)
    }

    fn put(&mut self, path: BundlePath, bytes: Vec<u8>) -> Result<(), Error> {
        // The manifest and its signatures need two places.
        if self.files.len() + 2 >= MAX_ENTRIES {
            return Err(Error::Pack(BundleError::TooMany));
        }
        self.bytes = self.bytes.saturating_add(bytes.len());
        let reserved = [MANIFEST_FILE, SIGNATURE_FILE].contains(&path.as_str());
        if reserved || self.files.contains_key(&path) {
            return Err(Error::Twice(path.to_string()));
        }
        self.files.insert(path, bytes);
        Ok(())
    }
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> Result<Vec<String>, Error> {
    let failed = Error::read(folder, "name the plugin's folder with --path");
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(&failed)? {
        let entry = entry.map_err(&failed)?;
        names.push(entry.file_name().into_string().map_err(|_| Error::Name(entry.path(), None))?);
    }
    names.sort();
    Ok(names)
}

fn bundle_path(path: &Path, inside: &str) -> Result<BundlePath, Error> {
    inside.parse().map_err(|cause| Error::Name(path.to_owned(), Some(cause)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(more: &str) -> Manifest {
        let text = format!(
            "schema = 1\nid = \"org.example.x\"\nversion = \"1.0.0\"\nkind = \"search\"\napi = \"^0.1\"\n\
             component = \"plugin.wasm\"\nlicense = \"MIT\"\n[text.en]\nname = \"X\"\nsummary = \"x\"\n{more}"
        );
        Manifest::parse_request(&text).unwrap()
    }

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn paths(folder: &Path, manifest: &Manifest) -> Result<Vec<String>, Error> {
        let contents = Contents::gather(folder, manifest, b"component".to_vec())?;
        Ok(contents.into_files().into_keys().map(String::from).collect())
    }

    #[test]
    fn takes_component_assets_schema_readme_and_licences_and_nothing_else() {
        let folder = folder(&[
            ("Cargo.toml", ""),
            ("plugin.toml", ""),
            ("src/lib.rs", ""),
            ("README.md", "hi"),
            ("LICENSE-MIT", "do"),
            ("licence.txt", "do"),
            ("secret.key", "no"),
            ("settings.schema.json", "{}"),
            ("assets/b/c.txt", "c"),
            ("assets/a.txt", "a"),
            ("assets/.DS_Store", "no"),
        ]);
        let found = paths(folder.path(), &manifest("[settings]\nschema = \"settings.schema.json\"")).unwrap();
        let wanted = "LICENSE-MIT README.md assets/a.txt assets/b/c.txt licence.txt plugin.wasm settings.schema.json";
        assert_eq!(found.join(" "), wanted);
    }

    #[test]
    fn refuses_links_so_that_nothing_from_elsewhere_slips_in() {
        let folder = folder(&[("assets/a.txt", "a")]);
        std::os::unix::fs::symlink("/etc/hostname", folder.path().join("assets/host.txt")).unwrap();
        assert!(matches!(paths(folder.path(), &manifest("")), Err(Error::Special(path)) if path.ends_with("host.txt")));
        let folder = self::folder(&[]);
        std::os::unix::fs::symlink("/etc/hostname", folder.path().join("README.md")).unwrap();
        assert!(
            matches!(paths(folder.path(), &manifest("")), Err(Error::Special(path)) if path.ends_with("README.md"))
        );
    }

    #[test]
    fn refuses_a_schema_that_is_missing_or_no_json_object() {
        let manifest = manifest("[settings]\nschema = \"s.json\"");
        assert!(matches!(paths(folder(&[]).path(), &manifest), Err(Error::Absent(..))));
        assert!(matches!(paths(folder(&[("s.json", "[]")]).path(), &manifest), Err(Error::Schema(_, None))));
        assert!(matches!(paths(folder(&[("s.json", "{")]).path(), &manifest), Err(Error::Schema(_, Some(_)))));
    }

    #[test]
    fn refuses_more_files_than_a_bundle_holds() {
        let folder = folder(&[]);
        fs::create_dir(folder.path().join("assets")).unwrap();
        for i in 0..61 {
            fs::write(folder.path().join(format!("assets/{i}")), "x").unwrap();
        }
        assert_eq!(paths(folder.path(), &manifest("")).unwrap().len(), 62, "with manifest and signatures 64");
        fs::write(folder.path().join("assets/one-more"), "x").unwrap();
        assert!(matches!(paths(folder.path(), &manifest("")), Err(Error::Pack(BundleError::TooMany))));
    }

    #[test]
    fn refuses_names_that_a_bundle_cannot_hold_and_names_that_are_taken() {
        let odd = folder(&[("assets/café.txt", "x")]);
        assert!(matches!(paths(odd.path(), &manifest("")), Err(Error::Name(..))));
        let twice = folder(&[("assets/a.wasm", "x")]);
        let manifest = Manifest { component: "assets/a.wasm".parse().unwrap(), ..manifest("") };
        assert!(matches!(paths(twice.path(), &manifest), Err(Error::Twice(_))));
        let manifest = Manifest { component: MANIFEST_FILE.parse().unwrap(), ..manifest };
        assert!(matches!(paths(folder(&[]).path(), &manifest), Err(Error::Twice(_))));
    }
}
