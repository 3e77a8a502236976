//! The languages that plugins are written in, and the one that a plugin's folder is in.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use fondaco_schemas::{PluginId, PluginKind, api};

use crate::cargo::{self, Crate, TARGET};
use crate::error::Error;
use crate::{javascript, python, template};

/// A language with a template.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Lang {
    /// Rust, for every kind
    #[default]
    Rust,
    /// JavaScript with StarlingMonkey, for storefronts
    Js,
    /// Python with CPython, for storefronts
    Python,
}

impl Lang {
    /// Its name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::Js => "JavaScript",
            Self::Python => "Python",
        }
    }
}

/// A plugin's folder, by what its language builds it with.
#[derive(Debug)]
pub enum Project {
    /// A crate.
    Rust(Crate),
    /// A folder with `package.json`.
    Js(PathBuf),
    /// A folder with `requirements.txt`.
    Python(PathBuf),
}

/// What a build made.
#[derive(Debug)]
pub struct Built {
    /// The file.
    pub component: PathBuf,
    /// How it was built, for people.
    pub how: String,
    /// The cargo profile, where cargo built it.
    pub profile: Option<&'static str>,
}

impl Project {
    /// What is in the folder. A crate goes first: it may well have a `package.json` for its style sheets.
    pub fn find(folder: &Path) -> Result<Self, Error> {
        let holds = |name: &str| folder.join(name).is_file();
        if !holds("Cargo.toml") && holds(javascript::MARK) {
            return Ok(Self::Js(folder.to_owned()));
        }
        if !holds("Cargo.toml") && holds(python::MARK) {
            return Ok(Self::Python(folder.to_owned()));
        }
        // Its words about a folder that holds nothing name a crate, which is what most plugins are.
        Crate::find(folder).map(Self::Rust)
    }

    /// Its language.
    pub fn lang(&self) -> Lang {
        match self {
            Self::Rust(_) => Lang::Rust,
            Self::Js(_) => Lang::Js,
            Self::Python(_) => Lang::Python,
        }
    }

    /// Builds the component. What the language's own tools lack is installed into the folder, as its lock file says.
    pub fn build(&self) -> Result<Built, Error> {
        match self {
            Self::Rust(plugin) => {
                let (component, profile) = plugin.build()?;
                let how = format!("built for {TARGET} in profile {profile}");
                Ok(Built { component, how, profile: Some(profile) })
            }
            Self::Js(folder) => {
                let component = javascript::build(folder)?;
                Ok(Built { component, how: javascript::toolchain(folder)?, profile: None })
            }
            Self::Python(folder) => {
                let component = python::build(folder)?;
                Ok(Built { component, how: python::toolchain(folder)?, profile: None })
            }
        }
    }

    /// Builds it as quickly as it can be, for trying out. `said` hears every line of the compiler's, where it is Rust's;
    /// the others have no quicker build.
    pub fn build_for_trying(&self, said: impl FnMut(&str) + Send + 'static) -> Result<PathBuf, Error> {
        match self {
            Self::Rust(plugin) => plugin.build_for_trying(said),
            Self::Js(_) | Self::Python(_) => self.build().map(|b| b.component),
        }
    }

    /// The component that the last build left.
    pub fn built(&self) -> Result<PathBuf, Error> {
        match self {
            Self::Rust(plugin) => plugin.built(),
            Self::Js(folder) | Self::Python(folder) => {
                let file = folder.join(COMPONENT);
                if file.is_file() { Ok(file) } else { Err(Error::NotBuilt(folder.display().to_string())) }
            }
        }
    }

    /// What it is built with, for the manifest. `folder` is the plugin's.
    pub fn toolchain(&self, folder: &Path) -> Result<String, Error> {
        match self {
            Self::Rust(_) => cargo::toolchain(folder),
            Self::Js(folder) => javascript::toolchain(folder),
            Self::Python(folder) => python::toolchain(folder),
        }
    }
}

/// Where a language that is not Rust leaves its component.
pub const COMPONENT: &str = "dist/plugin.wasm";
/// The world in `wit/world.wit`.
pub const WORLD: &str = "storefront";

/// The files of a new plugin that is not written in Rust.
pub fn files(lang: Lang, of: PluginKind, name: &str, id: &PluginId) -> Result<Vec<(String, String)>, Error> {
    if of != PluginKind::Storefront {
        return Err(Error::LangKind { lang: lang.name(), kind: of });
    }
    let (own, http) = match lang {
        Lang::Rust => return Err(Error::LangKind { lang: lang.name(), kind: of }),
        Lang::Js => (javascript::files(name), javascript::HTTP),
        Lang::Python => (python::files(), python::HTTP),
    };
    let world = include_str!("templates/world.wit").replace("@API", &format!("@{}", api::LATEST));
    let mut files: Vec<(String, String)> = own;
    files.push(("plugin.toml".to_owned(), template::storefront_toml(id, lang.name())));
    files.push(("README.md".to_owned(), readme(lang, name, id)));
    files.push(("wit/world.wit".to_owned(), world.replace("@HTTP", &format!("@{http}"))));
    for (file, text) in api::WIT {
        files.push((format!("wit/deps/fondaco/{file}"), text.to_owned()));
    }
    Ok(files)
}

fn readme(lang: Lang, name: &str, id: &PluginId) -> String {
    let (own_tests, needs, more) = match lang {
        Lang::Python => (
            "python3 -m unittest discover src",
            "Python 3.10 or newer with venv (on Debian: `python3-venv`)",
            "`types/` has the node's functions for your editor.",
        ),
        _ => (
            "npm test",
            "Node.js 18 or newer with npm",
            "`npm run types` checks the types, those of the node's functions in `types/` among them.",
        ),
    };
    format!(
        "# Plain shop\n\nA list of works, a page for each, and search: a Fondaco storefront in {lang}, `{id}`.\n\n\
         ## Work on it\n\nYou need {needs}. What builds the component is fetched into this folder, in the versions of its\n\
         lock file.\n\n```sh\n{own_tests:<42}# the pages, without a node\n\
         cargo fondaco build                       # the component, with {lang} inside\n\
         cargo fondaco key new --out ~/{name}.key  # once; keep it secret and safe\n\
         cargo fondaco pack --key ~/{name}.key     # {id}-0.1.0.fondaco\n```\n\n\
         {more} The pages are in `src/shop.*`; what they escape with is in `src/fondaco.*`, what the node lends in\n\
         `src/node.*`.\n\n\
         An instance's memory is never state: each request meets the component as it was when it was built. `plugin.toml`\n\
         says what the plugin asks for; an operator sees it before anything is installed.\n",
        lang = lang.name()
    )
}

#[cfg(test)]
mod tests {
    use fondaco_schemas::Manifest;

    use super::*;

    #[test]
    fn every_language_has_a_storefront_that_a_node_reads_and_no_other_kind() {
        let id: PluginId = "org.example.x".parse().unwrap();
        for lang in [Lang::Js, Lang::Python] {
            let files = files(lang, PluginKind::Storefront, "x", &id).unwrap();
            let of = |name: &str| &files.iter().find(|(path, _)| path == name).unwrap().1;
            let manifest = Manifest::parse_request(of("plugin.toml")).unwrap();
            assert_eq!((manifest.kind, &manifest.id), (PluginKind::Storefront, &id));
            assert!(manifest.api.matches(&api::LATEST));
            assert!(of("wit/world.wit").contains("fondaco:plugin/catalogue@0.2.0;"), "{}", of("wit/world.wit"));
            assert!(!of("wit/world.wit").contains("@API") && !of("wit/world.wit").contains("@HTTP"));
            let refused = super::files(lang, PluginKind::Payment, "x", &id).unwrap_err().to_string();
            assert!(refused.contains(lang.name()) && refused.contains("payment"), "{refused}");
        }
    }

    #[test]
    fn a_folder_is_of_the_language_whose_file_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| std::fs::write(folder.path().join(name), "").unwrap();
        write(python::MARK);
        assert_eq!(Project::find(folder.path()).unwrap().lang(), Lang::Python);
        write(javascript::MARK);
        assert_eq!(Project::find(folder.path()).unwrap().lang(), Lang::Js);
        assert!(matches!(Project::find(folder.path()).unwrap().built(), Err(Error::NotBuilt(_))));
        write("Cargo.toml");
        assert!(Project::find(folder.path()).is_err(), "an empty Cargo.toml is cargo's to judge");
    }
}
