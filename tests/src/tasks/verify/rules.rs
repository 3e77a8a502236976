//! Rules about dependencies, checked over `cargo metadata`: the arrows between the project's own crates, what must stay out
//! and what stays in one place, one version of each crate that others speak through, and licences.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use serde::Deserialize;

use super::licences;
use crate::{program, workspace};

/// Our crates, and which of ours each may lean on. A crate that is not listed here is a plugin.
const ARROWS: [(&str, &[&str]); 13] = [
    ("fondaco-schemas", &[]),
    ("fondaco-sdk", &["fondaco-schemas"]),
    ("fondaco-store", &["fondaco-schemas"]),
    ("fondaco-trust", &["fondaco-schemas"]),
    ("fondaco-ledger", &["fondaco-schemas"]),
    ("fondaco-kit", &["fondaco-schemas", "fondaco-trust", "fondaco-runtime"]),
    ("cargo-fondaco", &["fondaco-schemas", "fondaco-trust", "fondaco-kit"]),
    ("fondaco-fetch", &["fondaco-schemas"]),
    ("fondaco-runtime", &["fondaco-schemas", "fondaco-fetch"]),
    ("fondaco-net", &["fondaco-schemas", "fondaco-fetch", "fondaco-store", "fondaco-trust"]),
    ("fondaco-market", &["fondaco-schemas", "fondaco-store", "fondaco-trust", "fondaco-ledger", "fondaco-runtime"]),
    ("fondaco-gateway", &["fondaco-schemas", "fondaco-store", "fondaco-runtime", "fondaco-market"]),
    (
        "fondaco",
        &[
            "fondaco-schemas",
            "fondaco-fetch",
            "fondaco-store",
            "fondaco-trust",
            "fondaco-ledger",
            "fondaco-runtime",
            "fondaco-net",
            "fondaco-market",
            "fondaco-gateway",
        ],
    ),
];
/// The crate that may use everything, as nothing leans on it.
const TESTS: &str = "fondaco-tests";
/// What a plugin may lean on.
const PLUGIN: &[&str] = &["fondaco-sdk", "fondaco-schemas"];

/// Crates that only one of ours may name, by how they begin.
const KEPT: [(&str, &str); 4] = [
    ("wasmtime", "fondaco-runtime"),
    ("rusqlite", "fondaco-ledger"),
    ("bao-tree", "fondaco-store"),
    ("libp2p", "fondaco-net"),
];
/// Crates that must not be in the tree at all.
const OUT: [&str; 3] = ["openssl", "openssl-sys", "native-tls"];
/// Vocabulary has neither input nor output.
const NOT_IN_SCHEMAS: [&str; 4] = ["tokio", "hyper", "wasmtime", "rusqlite"];
/// Crates whose types pass between others: two versions would not fit together.
const ONCE: [&str; 9] = ["tokio", "hyper", "http", "http-body", "bytes", "serde", "rusqlite", "wasmtime", "ring"];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: BTreeSet<String>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    license_file: Option<String>,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    dependencies: Vec<String>,
}

/// Checks all rules, and names everything that breaks one.
pub fn check() -> Result<()> {
    let text = program::answer(workspace::cargo().args(["metadata", "--format-version=1", "--locked"]))?;
    let metadata: Metadata = serde_json::from_str(&text)?;
    let broken = broken(&metadata, &built()?);
    if broken.is_empty() {
        println!("{} crates, all within the rules", metadata.packages.len());
        return Ok(());
    }
    bail!("{}", broken.join("\n"))
}

/// Every crate that is really built, for whatever target, as `name vX.Y.Z`. The lock file and `cargo metadata` also name
/// crates of features that nobody asked for.
fn built() -> Result<BTreeSet<String>> {
    let mut tree = workspace::cargo();
    tree.args(["tree", "--locked", "--workspace", "--target", "all", "--edges", "all"]);
    let text = program::answer(tree.args(["--prefix", "none", "--format", "{p}"]))?;
    Ok(text.lines().map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")).collect())
}

fn broken(metadata: &Metadata, built: &BTreeSet<String>) -> Vec<String> {
    let ours = |p: &&Package| metadata.workspace_members.contains(&p.id);
    let mut broken: Vec<String> = metadata.packages.iter().filter(ours).flat_map(|p| arrows(metadata, p)).collect();
    let is_built = |p: &&Package| built.contains(&format!("{} v{}", p.name, p.version));
    broken.extend(metadata.packages.iter().filter(|p| !ours(p)).filter(is_built).filter_map(licence));
    for package in &metadata.packages {
        if OUT.contains(&package.name.as_str()) {
            broken.push(format!("{} {} is in the tree, and must stay out", package.name, package.version));
        }
    }
    for name in ONCE {
        let versions: Vec<&str> =
            metadata.packages.iter().filter(|p| p.name == name).map(|p| p.version.as_str()).collect();
        if versions.len() > 1 {
            broken.push(format!("{name} is in the tree {} times: {}", versions.len(), versions.join(", ")));
        }
    }
    for name in below(metadata, "fondaco-schemas").iter().filter(|name| NOT_IN_SCHEMAS.contains(name)) {
        broken.push(format!("{name} is below fondaco-schemas, which has neither input nor output"));
    }
    broken
}

fn arrows(metadata: &Metadata, package: &Package) -> Vec<String> {
    let name = package.name.as_str();
    if name == TESTS {
        return Vec::new();
    }
    let allowed = ARROWS.iter().find(|(n, _)| *n == name).map_or(PLUGIN, |(_, allowed)| *allowed);
    let members = |d: &&Dependency| {
        metadata.packages.iter().any(|p| p.name == d.name && metadata.workspace_members.contains(&p.id))
    };
    let named = || package.dependencies.iter().filter(|d| d.kind.is_none());
    let against = named().filter(members).filter(|d| !allowed.contains(&d.name.as_str()));
    let against = against.map(|d| format!("{name} leans on {}, against the arrows of the project", d.name));
    let kept = named().filter_map(|d| {
        let (_, home) = KEPT.iter().find(|(begin, _)| d.name.starts_with(begin))?;
        (*home != name).then(|| format!("{name} names {}, which is kept inside {home}", d.name))
    });
    against.chain(kept).collect()
}

fn licence(package: &Package) -> Option<String> {
    let who = format!("{} {}", package.name, package.version);
    match &package.license {
        Some(expression) if licences::is_allowed(expression) => None,
        Some(expression) => Some(format!("{who} is licensed {expression:?}, which is not on the list of what we take")),
        None if package.license_file.is_some() => {
            Some(format!("{who} has a licence of its own: read it, then list it"))
        }
        None => Some(format!("{who} states no licence")),
    }
}

/// Names of all crates below one, whatever they are needed for.
fn below<'a>(metadata: &'a Metadata, name: &str) -> BTreeSet<&'a str> {
    let names: BTreeMap<&str, &str> = metadata.packages.iter().map(|p| (p.id.as_str(), p.name.as_str())).collect();
    // Dependencies of tests are no part of what is built on a crate.
    let tests: BTreeSet<&str> = metadata
        .packages
        .iter()
        .filter(|p| p.name == name)
        .flat_map(|p| &p.dependencies)
        .filter(|d| d.kind.as_deref() == Some("dev"))
        .map(|d| d.name.as_str())
        .collect();
    let mut open: Vec<&str> = metadata.packages.iter().filter(|p| p.name == name).map(|p| p.id.as_str()).collect();
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        for next in metadata.resolve.nodes.iter().filter(|n| n.id == id).flat_map(|n| &n.dependencies) {
            let Some(next_name) = names.get(next.as_str()) else { continue };
            if !tests.contains(next_name) && seen.insert(*next_name) {
                open.push(next);
            }
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(text: &str) -> Metadata {
        serde_json::from_str(text).unwrap()
    }

    fn package(name: &str, version: &str, license: &str, dependencies: &[(&str, Option<&str>)]) -> serde_json::Value {
        let dependencies: Vec<_> =
            dependencies.iter().map(|(name, kind)| serde_json::json!({ "name": name, "kind": kind })).collect();
        serde_json::json!({
            "id": format!("{name} {version}"), "name": name, "version": version, "license": license,
            "license_file": null, "dependencies": dependencies,
        })
    }

    fn check(packages: &[serde_json::Value], ours: &[&str], edges: &[(&str, &[&str])]) -> Vec<String> {
        let nodes: Vec<_> = edges.iter().map(|(id, to)| serde_json::json!({ "id": id, "dependencies": to })).collect();
        let metadata = metadata(
            &serde_json::json!({ "packages": packages, "workspace_members": ours, "resolve": { "nodes": nodes } })
                .to_string(),
        );
        let built = metadata.packages.iter().filter(|p| p.name != "never-built");
        let built = built.map(|p| format!("{} v{}", p.name, p.version)).collect();
        broken(&metadata, &built)
    }

    #[test]
    fn arrows_point_one_way() {
        let packages = [
            package("fondaco-store", "1.0.0", "MIT", &[("fondaco-schemas", None), ("fondaco-ledger", None)]),
            package("fondaco-ledger", "1.0.0", "MIT", &[("fondaco-store", Some("dev"))]),
            package("fondaco-schemas", "1.0.0", "MIT", &[]),
            package("some-plugin", "1.0.0", "MIT", &[("fondaco-store", None)]),
        ];
        let ours = ["fondaco-store 1.0.0", "fondaco-ledger 1.0.0", "fondaco-schemas 1.0.0", "some-plugin 1.0.0"];
        assert_eq!(
            check(&packages, &ours, &[]),
            [
                "fondaco-store leans on fondaco-ledger, against the arrows of the project",
                "some-plugin leans on fondaco-store, against the arrows of the project",
            ]
        );
    }

    #[test]
    fn what_is_kept_in_one_place_stays_there() {
        let packages = [
            package("fondaco-runtime", "1.0.0", "MIT", &[("wasmtime", None)]),
            package("fondaco", "1.0.0", "MIT", &[("wasmtime-wasi", None)]),
        ];
        let found = check(&packages, &["fondaco-runtime 1.0.0", "fondaco 1.0.0"], &[]);
        assert_eq!(found, ["fondaco names wasmtime-wasi, which is kept inside fondaco-runtime"]);
    }

    #[test]
    fn finds_duplicates_strangers_and_licences() {
        let packages = [
            package("http", "1.0.0", "MIT", &[]),
            package("http", "0.2.0", "MIT", &[]),
            package("openssl", "0.10.0", "Apache-2.0", &[]),
            package("other", "1.0.0", "SSPL-1.0", &[]),
            package("never-built", "1.0.0", "BUSL-1.1", &[]),
        ];
        let found = check(&packages, &[], &[]).join("\n");
        assert!(!found.contains("never-built"), "{found}");
        for words in ["http is in the tree 2 times: 1.0.0, 0.2.0", "openssl 0.10.0 is in the tree", "\"SSPL-1.0\""] {
            assert!(found.contains(words), "{found}");
        }
    }

    #[test]
    fn vocabulary_has_no_input_and_output_below_it() {
        let packages = [
            package("fondaco-schemas", "1.0.0", "MIT", &[("a", None), ("t", Some("dev"))]),
            package("a", "1.0.0", "MIT", &[]),
            package("t", "1.0.0", "MIT", &[]),
            package("tokio", "1.0.0", "MIT", &[]),
        ];
        let edges: [(&str, &[&str]); 3] =
            [("fondaco-schemas 1.0.0", &["a 1.0.0", "t 1.0.0"]), ("t 1.0.0", &["tokio 1.0.0"]), ("a 1.0.0", &[])];
        assert!(check(&packages, &["fondaco-schemas 1.0.0"], &edges).is_empty(), "what tests need does not count");
        let edges: [(&str, &[&str]); 2] = [("fondaco-schemas 1.0.0", &["a 1.0.0"]), ("a 1.0.0", &["tokio 1.0.0"])];
        let found = check(&packages, &["fondaco-schemas 1.0.0"], &edges);
        assert_eq!(found, ["tokio is below fondaco-schemas, which has neither input nor output"]);
    }
}
