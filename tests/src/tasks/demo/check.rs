//! Is the shop what it says? A visitor without scripts looks at every page, gets every work, pays for what costs something,
//! and ends with the very bytes that were published.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::Made;
use crate::node::{Deployment, Running};
use crate::program;
use crate::visitor::Visitor;

/// What was seen, in one line.
pub fn check(deployment: &Deployment, works: &[Made], node: &Running) -> Result<String> {
    let mut visitor = Visitor::new(&node.url);
    ensure!(visitor.get("/healthz")?.status == 200, "/healthz says that the node is not well");
    let home = visitor.page("/")?;
    let (mut files, mut bytes) = (0, 0);
    for published in deployment.json(&["works"])? {
        let id = published.get("work").and_then(Value::as_str).context("a work without an id")?;
        let slug = id.rsplit('/').next().unwrap_or_default();
        let Some(made) = works.iter().find(|w| w.slug == slug) else { continue };
        ensure!(home.contains(&format!("/works/{id}")), "the front page does not show {slug}");
        let (got, size) = get(deployment, &node.url, id, &published, made)?;
        (files, bytes) = (files + got, bytes + size);
    }
    ensure!(files > 0, "nothing could be got");
    Ok(format!("{files} files, {bytes} bytes, all as published"))
}

/// One work, by a buyer of its own.
fn get(deployment: &Deployment, url: &str, id: &str, published: &Value, made: &Made) -> Result<(usize, usize)> {
    let folder = tempfile::tempdir()?;
    let mut buyer = Visitor::new(url);
    let page = buyer.page(&format!("/works/{id}"))?;
    let license = published.get("license").and_then(Value::as_str).unwrap_or_default();
    ensure!(!license.is_empty() && page.contains(license), "the page of {id} does not state its licence");

    let costs = published.pointer("/offers/0/price").is_some_and(|price| !is_nothing(price));
    let codes = if costs { deployment.vouchers("10.00 EUR", 1)? } else { Vec::new() };
    buyer.buy(id, codes.first().map(String::as_str))?;

    let downloads = buyer.library()?;
    ensure!(!downloads.is_empty(), "{id} was bought, and the library shows no file of it");
    let key = folder.path().join("library.key");
    buyer.save_key(&key)?;
    let mut bytes = 0;
    for download in &downloads {
        let got = folder.path().join(&download.name);
        fs::write(&got, buyer.download(&download.address)?)?;
        let opened = match &download.licence {
            Some(licence) => open(deployment, &mut buyer, &got, licence, &key)?,
            None => got,
        };
        let name = download.name.trim_end_matches(".sealed");
        let (opened, original) = (fs::read(opened)?, fs::read(made.folder.join(name))?);
        ensure!(opened == original, "{name} of {id} is not what was published");
        bytes += opened.len();
    }
    Ok((downloads.len(), bytes))
}

fn is_nothing(price: &Value) -> bool {
    let minor =
        price.as_str().map_or_else(|| price.pointer("/minor").map(Value::to_string), |text| Some(text.to_owned()));
    minor.is_none_or(|text| !text.chars().any(|c| ('1'..='9').contains(&c)))
}

/// `fondaco open`, from a sealed file and its licence to a clear one.
fn open(
    deployment: &Deployment,
    buyer: &mut Visitor,
    sealed: &Path,
    licence: &str,
    key: &Path,
) -> Result<std::path::PathBuf> {
    let (document, clear) = (sealed.with_extension("licence"), sealed.with_extension("clear"));
    fs::write(&document, buyer.download(licence)?)?;
    let mut command = deployment.command()?;
    command.arg("open").arg(sealed).arg("--licence").arg(&document).arg("--key").arg(key).arg("--out").arg(&clear);
    program::answer(&mut command)?;
    Ok(clear)
}
