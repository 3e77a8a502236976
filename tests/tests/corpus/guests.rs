//! The deployment in which attackers run beside the five first-party plugins, and what they try with the node's own
//! functions.

use std::fs;
use std::time::UNIX_EPOCH;

use anyhow::{Context as _, Result, ensure};
use fondaco_tests::guests;
use fondaco_tests::node::TestNode;

use crate::Outcome;

pub const SEARCH: &str = "org.example.rogue-search";
pub const PAY: &str = "org.example.rogue-pay";
pub const DRM: &str = "org.example.rogue-drm";
pub const SPEAK: &str = "org.example.rogue-speak";
pub const SHOP: &str = "org.example.hostile-shop";

/// Every capability but the web: whatever they get, it must not be enough.
const ALL: &str = "[capabilities.assets]\n[capabilities.blobs]\n[capabilities.campaigns]\n[capabilities.catalogue]\n\
    [capabilities.commerce]\n[capabilities.discovery]\n[capabilities.keys]\n[capabilities.mail]\n\
    [capabilities.storage]\nquota = \"1MiB\"\n";

/// A deployment with the five, and with the attackers of all five kinds, installed with everything granted.
pub fn node() -> Result<TestNode> {
    let (rogue, shop) = (guests::file("rogue")?, guests::file("hostile-shop")?);
    let built = |file: &std::path::Path| -> Result<u128> {
        Ok(fs::metadata(file)?.modified()?.duration_since(UNIX_EPOCH)?.as_millis())
    };
    let state = format!("-{}-{}", built(&rogue)?, built(&shop)?);
    let node = TestNode::prepared("rogues", &state, |deployment, key| {
        let packed = tempfile::tempdir()?;
        deployment.ok(&["trust", "add", "attackers", "--key", &key.public, "--prefix", "org.example"])?;
        for (id, kind) in [(SEARCH, "search"), (PAY, "payment"), (DRM, "drm"), (SPEAK, "advocacy")] {
            deployment.install(&guests::pack(&rogue, id, kind, ALL, packed.path(), key)?)?;
        }
        deployment.install(&guests::pack(&shop, SHOP, "storefront", "[capabilities.commerce]\n", packed.path(), key)?)
    })?;
    choose(&node, "storefront", "\"org.fondaco.storefront-shelf\"")?;
    Ok(node)
}

/// Sets a key of `[shop]` in fondaco.toml. The table stands at the file's end, or is put there.
pub fn choose(node: &TestNode, key: &str, value: &str) -> Result<()> {
    let file = node.deployment.path().join("fondaco.toml");
    let text = fs::read_to_string(&file)?;
    let mut document: toml::Table = text.parse()?;
    let shop = document.entry("shop").or_insert_with(|| toml::Table::new().into());
    let value: toml::Table = format!("v = {value}").parse()?;
    let value = value.get("v").cloned().context("no value")?;
    shop.as_table_mut().context("[shop] is no table")?.insert(key.to_owned(), value);
    fs::write(&file, toml::to_string(&document)?)?;
    Ok(())
}

/// What a tool of an attacker said.
fn tool(node: &TestNode, id: &str, name: &str, input: &[(&str, &str)]) -> Result<String> {
    let pairs: Vec<String> = input.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let mut arguments = vec!["plugin", "run", id, name];
    arguments.extend(pairs.iter().map(String::as_str));
    Ok(node.deployment.ok(&arguments)?.trim().to_owned())
}

pub fn space_filled() -> Result<Outcome> {
    let node = node()?;
    let said = tool(&node, SEARCH, "fill", &[])?;
    // Another's space is as empty as it was, and the node takes in what is published.
    let other = tool(&node, PAY, "write", &[("name", "a"), ("value", "b")])?;
    ensure!(other == "written", "{other}");
    node.deployment.publish(&node.work("free", crate::market::FREE, &[("a.txt", b"text")])?)?;
    Ok(Outcome::Harmless(said))
}

pub fn another_plugins_space() -> Result<Outcome> {
    let node = node()?;
    tool(&node, SEARCH, "write", &[("name", "mine"), ("value", "private")])?;
    let own = tool(&node, SEARCH, "read", &[("name", "mine")])?;
    ensure!(own.contains("private"), "its own reader got {own}");
    Ok(Outcome::Harmless(tool(&node, PAY, "read", &[("name", "mine")])?))
}

pub fn another_plugins_secret() -> Result<Outcome> {
    let node = node()?;
    fs::write(node.deployment.path().join("token.txt"), "hunter2\n")?;
    let file = node.deployment.path().join("fondaco.toml");
    let mut document: toml::Table = fs::read_to_string(&file)?.parse()?;
    let entry = document.get_mut("plugins").and_then(|p| p.get_mut(SEARCH)).and_then(toml::Value::as_table_mut);
    let secrets: toml::Table = "token = \"file:token.txt\"".parse()?;
    entry.context("not installed")?.insert("secrets".into(), secrets.into());
    fs::write(&file, toml::to_string(&document)?)?;
    let own = tool(&node, SEARCH, "secret", &[("name", "token")])?;
    ensure!(own.contains("hunter2"), "its own reader got {own}");
    let said = tool(&node, PAY, "secret", &[("name", "token")])?;
    ensure!(!said.contains("hunter2"), "{said}");
    Ok(Outcome::Harmless(said))
}

pub fn another_plugins_keys() -> Result<Outcome> {
    let node = node()?;
    let labels = ["a", "", "../org.example.rogue-search/a", "plugin/org.example.rogue-search", "sign/a", "a/", "codes"];
    let mut seen: Vec<(String, &str, &str)> = Vec::new();
    for id in [SEARCH, PAY] {
        for label in labels {
            for what in ["derive", "public"] {
                let key = tool(&node, id, what, &[("name", label)])?;
                ensure!(key.len() == 64, "{key}");
                if let Some((_, other, before)) = seen.iter().find(|(k, ..)| *k == key) {
                    anyhow::bail!("{id} with {label:?} has the key of {other} with {before:?}");
                }
                seen.push((key, id, label));
            }
        }
    }
    Ok(Outcome::Harmless(format!("{} keys, no key in common", seen.len())))
}

pub fn another_visitors_session() -> Result<Outcome> {
    let node = node()?;
    let said = tool(&node, SEARCH, "session", &[("name", "0123456789abcdef")])?;
    // Its library, an order, the state of one, an address, and a letter.
    ensure!(said.matches("this is not the visitor's session").count() == 5, "{said}");
    Ok(Outcome::Harmless(said))
}

/// Files are laid over those of its bundle, so that it has a folder to get out of.
pub fn another_file_as_an_asset() -> Result<Outcome> {
    let node = node()?;
    let folder = node.deployment.path().join("assets").join(SEARCH);
    fs::create_dir_all(folder.join("more"))?;
    fs::write(folder.join("more/own.txt"), "its own")?;
    let own = tool(&node, SEARCH, "asset", &[("name", "more/own.txt")])?;
    ensure!(own == "Ok(7)", "its own file is {own}");
    let token = node.deployment.path().join("fondaco.toml");
    let token = token.to_str().context("no UTF-8")?;
    for path in ["../../fondaco.toml", "more/../../../fondaco.toml", token, "/etc/passwd", "..", "./more/own.txt", ""] {
        let said = tool(&node, SEARCH, "asset", &[("name", path)])?;
        ensure!(said.starts_with("Err(") && said.contains("NotFound"), "{path} is {said}");
    }
    Ok(Outcome::Harmless("nothing but its own".into()))
}

pub fn odd_arguments() -> Result<Outcome> {
    let node = node()?;
    let said = tool(&node, SEARCH, "odd", &[])?;
    node.deployment.ok(&["check", "--deep"])?;
    Ok(Outcome::Harmless(said))
}

pub fn tool_that_never_ends() -> Result<Outcome> {
    let node = node()?;
    let output = node.deployment.run(&["plugin", "run", SEARCH, "spin"])?;
    ensure!(output.code == 1, "{output:?}");
    Ok(Outcome::Stopped(output.stderr.trim().to_owned()))
}
