//! The browser's step: what it needs, the shop that it walks through, and the walk, `tests/browser/walk.mjs`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::{shop, three};
use crate::tasks::demo;
use crate::{program, workspace};

const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
/// The oldest Node.js that the walk runs on.
const NODE_MAJOR: u32 = 18;

/// Walks through the shop. `save`: keep screenshots for the documentation.
pub fn check(save: bool) -> Result<()> {
    let (browser, folder) = (browser()?, workspace::root().join("tests/browser"));
    node()?;
    modules(&folder)?;
    let shop = shop()?;
    let vouchers = shop.deployment.vouchers("10.00 EUR", 4)?;
    let works: Vec<_> = shop.works.iter().map(|w| serde_json::json!({ "slug": w.slug, "folder": w.folder })).collect();
    let task = serde_json::json!({
        "url": shop.node.url, "vouchers": vouchers, "works": works, "browser": browser, "save": save,
        "fondaco": workspace::fondaco()?, "deployment": shop.deployment.path(),
        "shots": folder.join("shots"), "documentation": workspace::root().join("host/shots"),
    });
    let file = workspace::target()?.join("verify/walk.json");
    fs::write(&file, task.to_string())?;
    let walked = program::pass(Command::new("node").arg(folder.join("walk.mjs")).arg(&file));
    if walked.is_err() {
        println!("the node's log:\n{}", shop.node.log()?);
    }
    shop.node.stop()?;
    walked
}

/// The walk through the shops of a swarm, `tests/browser/swarm.mjs`, in the course of which the publisher is killed.
pub fn swarm() -> Result<()> {
    let (browser, folder) = (browser()?, workspace::root().join("tests/browser"));
    node()?;
    modules(&folder)?;
    let publisher = shop()?;
    let settings = publisher.deployment.path().join("fondaco.toml");
    let before = fs::read(&settings)?;
    let walked = swarm_of(named(publisher)?, &browser, &folder);
    // Other walks are through a shop that is where it listens.
    fs::write(settings, before)?;
    walked
}

fn swarm_of(publisher: demo::Shop, browser: &std::path::Path, folder: &std::path::Path) -> Result<()> {
    let three = three::open(&publisher, &workspace::target()?.join("verify/three"))?;
    let vouchers = publisher.deployment.vouchers("10.00 EUR", 2)?;
    let works: Vec<_> =
        publisher.works.iter().map(|w| serde_json::json!({ "slug": w.slug, "folder": w.folder })).collect();
    let task = serde_json::json!({
        "url": three.shop.url, "publisher": { "url": publisher.node.url, "pid": publisher.node.id() },
        "vouchers": vouchers, "works": works, "browser": browser, "save": false,
        "fondaco": workspace::fondaco()?, "deployment": three.deployment.path(),
        "shots": folder.join("shots/swarm"),
    });
    let file = workspace::target()?.join("verify/swarm.json");
    fs::write(&file, task.to_string())?;
    let walked = program::pass(Command::new("node").arg(folder.join("swarm.mjs")).arg(&file));
    if walked.is_err() {
        for (who, node) in [("publisher", &publisher.node), ("seeder", &three.seeder), ("second shop", &three.shop)] {
            println!("the log of the {who}:\n{}", node.log()?);
        }
    }
    three.shop.stop()?;
    three.seeder.stop()?;
    publisher.node.kill()?;
    walked
}

/// The publisher's shop with its own address in its releases, so that other shops lead to it.
fn named(shop: demo::Shop) -> Result<demo::Shop> {
    let demo::Shop { deployment, works, node } = shop;
    let address = node.url.clone();
    node.stop()?;
    let file = deployment.path().join("fondaco.toml");
    let text = fs::read_to_string(&file)?;
    let without: Vec<&str> = text.lines().filter(|line| !line.starts_with("base-url =")).collect();
    let named = without.join("\n").replacen("[brand]\n", &format!("[brand]\nbase-url = \"{address}\"\n"), 1);
    fs::write(&file, named)?;
    let listen = address.trim_start_matches("http://");
    let node = deployment.up_at(listen)?;
    for work in &works {
        deployment.publish(&work.folder)?;
    }
    Ok(demo::Shop { deployment, works, node })
}

fn browser() -> Result<PathBuf> {
    let find = || BROWSERS.iter().find_map(|name| program::find(name));
    if let Some(found) = std::env::var_os("CHROME").map(PathBuf::from).or_else(find) {
        return Ok(found);
    }
    program::install(&["chromium"], "the browser test needs Chromium, or CHROME set to a browser of its family")?;
    find().context("chromium was installed and is not in PATH")
}

fn node() -> Result<()> {
    let what_for = "the browser test is a Node.js program";
    if program::find("node").is_none() || program::find("npm").is_none() {
        program::install(&["nodejs", "npm"], what_for)?;
    }
    let version = program::answer(Command::new("node").arg("--version"))?;
    let major = version.trim().trim_start_matches('v').split('.').next().and_then(|n| n.parse::<u32>().ok());
    if major.is_none_or(|major| major < NODE_MAJOR) {
        bail!("{what_for}, and needs version {NODE_MAJOR} or newer; this is {}", version.trim());
    }
    Ok(())
}

/// What the lock file names, fetched again only when that has changed.
fn modules(folder: &std::path::Path) -> Result<()> {
    let (wanted, stamp) = (fs::read(folder.join("package-lock.json"))?, folder.join("node_modules/.wanted"));
    if fs::read(&stamp).is_ok_and(|had| had == wanted) {
        return Ok(());
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(folder);
    program::answer(&mut npm).context("npm cannot fetch what the browser test needs; is the network closed?")?;
    fs::write(stamp, wanted).context("node_modules cannot be written")
}
