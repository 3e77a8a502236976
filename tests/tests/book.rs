//! Every chapter of the book is carried out as a reader would, and every page of it is linked.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use fondaco_tests::{book, bundles, program, reference, tools, workspace};

fn source() -> PathBuf {
    workspace::root().join("host/book/src")
}

fn follow(chapter: &str) -> Result<()> {
    bundles::all()?;
    let [files, commands, checks] = book::follow(&source().join(chapter))?;
    println!("{chapter}: {files} files, {commands} commands, {checks} checks");
    ensure!(commands > 0 && checks > 0, "{chapter} has nothing that is carried out");
    Ok(())
}

#[test]
fn a_first_shop() -> Result<()> {
    follow("operators/first-shop.md")
}

#[test]
fn plugins_of_a_shop() -> Result<()> {
    follow("operators/plugins.md")
}

#[test]
fn two_nodes_in_a_swarm() -> Result<()> {
    follow("operators/swarm.md")
}

#[test]
fn a_private_network() -> Result<()> {
    follow("operators/private-network.md")
}

#[test]
fn a_storefront_from_empty_to_branded() -> Result<()> {
    follow("authors/storefront.md")
}

#[test]
fn the_other_four_kinds() -> Result<()> {
    ["search", "payment", "drm", "advocacy"].iter().try_for_each(|kind| follow(&format!("authors/{kind}.md")))
}

/// Every Markdown file below a folder.
fn pages(folder: &Path, found: &mut BTreeSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            pages(&path, found)?;
        } else if path.extension().is_some_and(|e| e == "md") {
            found.insert(path);
        }
    }
    Ok(())
}

#[test]
fn every_page_is_in_the_contents_and_every_link_leads_somewhere() -> Result<()> {
    let mut all = BTreeSet::new();
    pages(&source(), &mut all)?;
    let contents = source().join("SUMMARY.md");
    let mut listed = BTreeSet::from([contents.clone()]);
    for page in &all {
        let text = fs::read_to_string(page)?;
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") || path.contains('<') {
                continue;
            }
            let target = page.parent().context("a page lies in a folder")?.join(path);
            ensure!(target.exists(), "{}: {link} leads nowhere", page.display());
            if *page == contents {
                listed.insert(target);
            }
        }
        for include in text.split("{{#include ").skip(1).filter_map(|rest| rest.split("}}").next()) {
            let target = page.parent().context("a page lies in a folder")?.join(include);
            ensure!(target.exists(), "{}: includes {include}, which is not there", page.display());
        }
    }
    let missing: Vec<_> = all.difference(&listed).collect();
    ensure!(missing.is_empty(), "not in SUMMARY.md: {missing:?}");
    Ok(())
}

#[test]
fn the_reference_is_what_programs_and_schemas_say() -> Result<()> {
    bundles::all()?;
    for (page, wanted) in reference::pages()? {
        if std::env::var_os("UPDATE_REFERENCE").is_some() {
            fs::write(&page, wanted)?;
            continue;
        }
        let found = fs::read_to_string(&page).unwrap_or_default();
        ensure!(
            found == wanted,
            "{} is not true any more: run UPDATE_REFERENCE=1 cargo test -p fondaco-tests --test book",
            page.display()
        );
    }
    Ok(())
}

#[test]
fn mdbook_makes_pages_of_it_and_has_nothing_to_say() -> Result<()> {
    let pages = workspace::target()?.join("book-pages");
    let mut mdbook = Command::new(tools::mdbook()?);
    let made =
        program::run(mdbook.arg("build").arg(workspace::root().join("host/book")).arg("--dest-dir").arg(&pages))?;
    let said = made.stdout + &made.stderr;
    ensure!(made.code == 0 && !said.contains("WARN") && !said.contains("ERROR"), "{said}");
    let interface = fs::read_to_string(pages.join("reference/interface.html"))?;
    ensure!(interface.contains("interface payment-gateway"), "the interface is not in the book");
    Ok(())
}
