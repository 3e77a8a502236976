//! Storefronts in JavaScript and Python, as their authors make them: `cargo fondaco new`, their own tests, a build, a
//! bundle; then a node that installs it and shows a published work.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use fondaco_tests::bundles::{self, Bundle, Key, RELEASED};
use fondaco_tests::node::TestNode;
use fondaco_tests::visitor::Visitor;
use fondaco_tests::{program, tools, workspace};

const WORK: &str = "slug = \"night\"\nkind = \"album\"\ntitle = \"Night <Owl> & Friends\"\ncreators = [\"Ada Example\"]\n\
                    license = \"CC0-1.0\"\n[[offers]]\nid = \"buy\"\nprice = \"4.99 EUR\"\n";

/// A new storefront in a folder under `target`. What npm or pip installed there is kept from one run to the next; all
/// else is new.
fn project(lang: &str, installed: &str) -> Result<(PathBuf, File)> {
    let home = workspace::target()?.join("languages");
    fs::create_dir_all(&home)?;
    let lock = File::create(home.join(format!("{lang}.lock")))?;
    lock.lock()?;
    let (folder, aside) = (home.join(format!("shop-{lang}")), home.join(format!("{lang}-installed")));
    if folder.join(installed).exists() {
        program::remove(&aside)?;
        fs::rename(folder.join(installed), &aside)?;
    }
    program::remove(&folder)?;
    let path = folder.to_str().context("no UTF-8")?;
    let id = format!("org.fondaco.shop-{lang}");
    let answer = bundles::ask(&["new", path, "--kind", "storefront", "--lang", lang, "--id", &id])?;
    ensure!(bundles::text(&answer, "id")? == id, "{answer}");
    if aside.exists() {
        fs::rename(&aside, folder.join(installed))?;
    }
    Ok((folder, lock))
}

/// Builds, packs and signs. What was built is what is packed.
fn bundle(folder: &Path, key: &Key) -> Result<Bundle> {
    let mut command = bundles::tool()?;
    command.args(["--json", "pack", "--released", RELEASED, "--path"]).arg(folder).arg("--key").arg(&key.file);
    let answer = serde_json::from_str(&program::answer(&mut command)?)?;
    let text = |key| bundles::text(&answer, key);
    Ok(Bundle { id: text("id")?, file: text("bundle")?.into(), digest: text("blake3")? })
}

/// Installs it into a node and looks at its pages as a visitor.
fn serves_the_catalogue(lang: &str, built: impl FnOnce(&TestNode) -> Result<Bundle>) -> Result<()> {
    let node = TestNode::bare()?;
    let started = Instant::now();
    let bundle = built(&node)?;
    println!("{lang}: built and packed in {:.1} s", started.elapsed().as_secs_f64());
    let public = node.key.public.as_str();
    let file = bundle.file.to_str().context("no UTF-8")?;
    let verified = bundles::ask(&["verify", file, "--public", public])?;
    let toolchain = verified.pointer("/manifest/toolchain").and_then(|t| t.as_str()).unwrap_or_default().to_owned();
    ensure!(toolchain.starts_with("componentize-"), "{verified}");

    node.deployment.install(&node.bundle("search-index")?.file)?;
    let started = Instant::now();
    node.deployment.install(&bundle.file)?;
    println!("{lang}: compiled and installed in {:.1} s", started.elapsed().as_secs_f64());
    let work = node.work("night", WORK, &[("song.txt", b"la la la")])?;
    node.deployment.publish(&work)?;
    let started = Instant::now();
    let running = node.deployment.up()?;
    let opened = started.elapsed();
    println!("{lang}: opened from the cache in {:.1} s", opened.as_secs_f64());
    // Compiling it again would take 10 s and more.
    ensure!(opened.as_secs() < 8, "the compiled plugin was not taken from the cache: {opened:?}");
    let mut visitor = Visitor::new(&running.url);

    let home = visitor.page("/")?;
    for part in
        ["<html lang=\"en\">", "<h1>Test Shop</h1>", "1 work</p>", "Night &lt;Owl&gt; &amp; Friends", "Ada Example"]
    {
        ensure!(home.contains(part), "no {part:?} in {home}");
    }
    let link = fondaco_tests::html::links(&home).into_iter().map(|(href, _)| href).find(|h| h.starts_with("/works/"));
    let page = visitor.page(&link.context("no link to the work")?)?;
    for part in ["<h1>Night &lt;Owl&gt; &amp; Friends</h1>", "4.99 EUR", "CC0-1.0", "<main id=\"content\">"] {
        ensure!(page.contains(part), "no {part:?} in {page}");
    }
    let found = visitor.page("/search?q=owl")?;
    ensure!(found.contains("1 found") && found.contains("Night &lt;Owl&gt;"), "{found}");
    let escaped = visitor.page("/search?q=%22%3E%3Cscript%3E")?;
    ensure!(!escaped.contains("<script"), "{escaped}");
    for gone in ["/works/none", "/elsewhere", "/works/%E0%A4%A"] {
        assert_eq!(visitor.get(gone)?.status, 404, "{gone}");
    }
    assert_eq!(visitor.get("/?after=x")?.status, 400);
    let style = visitor.get("/style.css")?;
    assert_eq!((style.status, style.header("content-type")), (200, Some("text/css")));
    let started = Instant::now();
    for _ in 0..20 {
        visitor.page("/")?;
    }
    println!("{lang}: a page in {:.1} ms", started.elapsed().as_secs_f64() * 50.0);
    assert_eq!(running.stop()?, 0);
    Ok(())
}

#[test]
fn a_storefront_in_javascript_serves_the_catalogue() -> Result<()> {
    tools::npm("storefronts in JavaScript are built with it")?;
    serves_the_catalogue("js", |node| {
        let (folder, _lock) = project("js", "node_modules")?;
        program::answer(Command::new("npm").arg("test").current_dir(&folder))?;
        let bundle = bundle(&folder, &node.key)?;
        // Strict types, those of the node's functions among them.
        program::answer(Command::new("npm").args(["run", "types"]).current_dir(&folder))?;
        Ok(bundle)
    })
}

#[test]
fn a_storefront_in_python_serves_the_catalogue() -> Result<()> {
    tools::venv("storefronts in Python are built in one")?;
    serves_the_catalogue("python", |node| {
        let (folder, _lock) = project("python", ".venv")?;
        program::answer(Command::new("python3").args(["-m", "unittest", "discover", "src"]).current_dir(&folder))?;
        bundle(&folder, &node.key)
    })
}
