//! Storefronts in JavaScript: the files of a new one, and how npm and componentize-js make a component of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::files::read_text;
use crate::lang::{COMPONENT, WORLD};
use crate::outside::{self, Install};

/// The file by which a folder is known.
pub const MARK: &str = "package.json";
/// The version of `wasi:http` that componentize-js 0.23 exports, to the letter.
pub const HTTP: &str = "0.2.10";

const LOCK: &str = "package-lock.json";
const MODULES: &str = "node_modules";
/// The oldest major version of Node.js that componentize-js runs on.
const LEAST_NODE: u32 = 18;
const HINT: &str = "install Node.js 18 or newer with npm, from your distribution or https://nodejs.org";

/// The files that only JavaScript has.
pub fn files(name: &str) -> Vec<(String, String)> {
    let named = |text: &str| text.replace("\"name\": \"storefront\"", &format!("\"name\": \"{name}\""));
    let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    vec![
        (MARK.to_owned(), named(include_str!("templates/js/package.json"))),
        (LOCK.to_owned(), named(include_str!("templates/js/package-lock.json"))),
        file("jsconfig.json", include_str!("templates/js/jsconfig.json")),
        file("src/app.js", include_str!("templates/js/app.js")),
        file("src/shop.js", include_str!("templates/js/shop.js")),
        file("src/node.js", include_str!("../../js/node.js")),
        file("src/fondaco.js", include_str!("../../js/fondaco.js")),
        file("test/shop.test.js", include_str!("templates/js/shop.test.js")),
        file("wit/deps/wasi/http.wit", include_str!("../../js/wit/http.wit")),
        file(".gitignore", "/node_modules\n/dist\n/types\n*.fondaco\n*.key\n"),
    ]
}

/// Builds the component, and the types of what the node lends.
pub fn build(folder: &Path) -> Result<PathBuf, Error> {
    check_node(folder)?;
    outside::install(&Install {
        folder,
        lock: LOCK,
        into: MODULES,
        saying: "npm ci",
        commands: &|| {
            let mut npm = Command::new("npm");
            // Nothing that is installed runs on its own: what the build needs is started by name below.
            npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
            vec![("npm ci", npm)]
        },
        hint: HINT,
    })?;
    let tool = |name: &str| Command::new(folder_path(folder).join(MODULES).join(".bin").join(name));
    let out = outside::empty_out(folder)?;
    let mut types = tool("jco");
    types.args(["guest-types", "wit", "--world-name", WORLD, "--out-dir", "types", "--quiet"]);
    outside::run(types.current_dir(folder), "jco guest-types", HINT)?;
    let mut componentize = tool("componentize-js");
    // Without `fetch`, which would import outbound HTTP, and which no storefront is granted unless it asks.
    componentize.args(["src/app.js", "--wit", "wit", "--world-name", WORLD, "--disable", "http", "--out", COMPONENT]);
    outside::run(componentize.current_dir(folder), "componentize-js", HINT)?;
    Ok(out)
}

/// What it is built with: `componentize-js 0.23.0`.
pub fn toolchain(folder: &Path) -> Result<String, Error> {
    let file = folder.join(MODULES).join("@bytecodealliance/componentize-js/package.json");
    let text = read_text(&file, 1 << 20, "build the plugin first")?;
    let package: serde_json::Value =
        serde_json::from_str(&text).map_err(|e| Error::Answer("componentize-js", Some(e)))?;
    let version = package.get("version").and_then(serde_json::Value::as_str);
    Ok(format!("componentize-js {}", version.ok_or(Error::Answer("componentize-js", None))?))
}

fn check_node(folder: &Path) -> Result<(), Error> {
    let version = outside::answer(Command::new("node").arg("--version").current_dir(folder), "node --version", HINT)?;
    let major: Option<u32> = version.trim().trim_start_matches('v').split('.').next().and_then(|n| n.parse().ok());
    match major {
        Some(major) if major >= LEAST_NODE => Ok(()),
        _ => Err(Error::TooOld { program: "Node.js", found: version.trim().to_owned(), hint: HINT }),
    }
}

/// Programs are found by their path from here, not from the folder that they run in.
fn folder_path(folder: &Path) -> PathBuf {
    std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned())
}
