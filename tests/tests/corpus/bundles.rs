//! Bad bundles, as an operator meets them: on the command line.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use fondaco_schemas::BundlePath;
use fondaco_tests::guests;
use fondaco_tests::node::TestNode;
use fondaco_trust::dsse::MANIFEST_TYPE;
use fondaco_trust::{Bundle, Envelope, KeyPair};

use crate::Outcome;

const ID: &str = "org.example.hostile";
const MANIFEST: &str = "manifest.toml";
const SIGNATURES: &str = "manifest.dsse.json";

type Files = BTreeMap<BundlePath, Vec<u8>>;

/// Spoils a good, signed bundle, and has it refused; the good one is taken.
fn refused(spoil: impl FnOnce(&TestNode, Vec<u8>) -> Result<Vec<u8>>) -> Result<Outcome> {
    let node = TestNode::bare()?;
    node.deployment.ok(&["trust", "add", "attackers", "--key", &node.key.public, "--prefix", "org.example"])?;
    let good = guests::pack(
        &guests::file("hostile")?,
        ID,
        "search",
        "[capabilities.storage]\n",
        &node.path("made"),
        &node.key,
    )?;
    let bad = node.path("bad").join(good.file_name().context("no name")?);
    fs::create_dir_all(node.path("bad"))?;
    fs::write(&bad, spoil(&node, fs::read(&good)?)?)?;
    let output = node.deployment.run(&["plugin", "install", bad.to_str().context("no UTF-8")?, "--grant", "all"])?;
    ensure!(output.code == 3, "{output:?}");
    ensure!(node.deployment.json(&["plugin", "list"])?.is_empty(), "it is installed all the same");
    node.deployment.install(&good)?;
    Ok(Outcome::Refused(output.stderr.trim().to_owned()))
}

fn files(bytes: Vec<u8>) -> Result<Files> {
    let bundle = Bundle::parse(bytes)?;
    Ok(bundle.paths().map(|p| (p.clone(), bundle.get(p.as_str()).unwrap_or_default().to_vec())).collect())
}

fn key(node: &TestNode) -> Result<KeyPair> {
    Ok(KeyPair::load(&node.key.file)?)
}

pub fn bundle_swapped_component() -> Result<Outcome> {
    refused(|_, bytes| {
        let mut files = files(bytes)?;
        let component = files.get_mut("plugin.wasm").context("no component")?;
        // Of the same size, so that its digest alone gives it away.
        let last = component.last_mut().context("it is empty")?;
        *last ^= 1;
        Ok(fondaco_trust::pack(&files)?)
    })
}

pub fn bundle_signed_as_another_type() -> Result<Outcome> {
    refused(|node, bytes| {
        let mut files = files(bytes)?;
        let mut envelope = Envelope::new(
            "application/vnd.fondaco.release.v1+cbor",
            files.get(MANIFEST).context("no manifest")?.clone(),
        );
        envelope.sign(&key(node)?);
        files.insert(SIGNATURES.parse()?, envelope.to_json()?.into_bytes());
        Ok(fondaco_trust::pack(&files)?)
    })
}

pub fn bundle_of_a_look_alike() -> Result<Outcome> {
    refused(|node, bytes| {
        let mut files = files(bytes)?;
        let manifest = String::from_utf8(files.get(MANIFEST).context("no manifest")?.clone())?;
        // A Cyrillic o.
        let manifest = manifest.replace(ID, "org.example.h\u{43e}stile").into_bytes();
        let mut envelope = Envelope::new(MANIFEST_TYPE, manifest.clone());
        envelope.sign(&key(node)?);
        files.insert(MANIFEST.parse()?, manifest);
        files.insert(SIGNATURES.parse()?, envelope.to_json()?.into_bytes());
        Ok(fondaco_trust::pack(&files)?)
    })
}

/// Writes into the first header of an archive and makes its checksum right again.
fn edit(mut bytes: Vec<u8>, at: usize, value: &[u8]) -> Result<Vec<u8>> {
    let header = bytes.get_mut(..512).context("no header")?;
    header.get_mut(at..at + value.len()).context("too long")?.copy_from_slice(value);
    header.get_mut(148..156).context("no checksum")?.fill(b' ');
    let sum: u32 = header.iter().copied().map(u32::from).sum();
    header.get_mut(148..156).context("no checksum")?.copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(bytes)
}

pub fn bundle_with_a_way_out() -> Result<Outcome> {
    refused(|_, bytes| edit(bytes, 0, b"../../etc/cron.d/x\0"))
}

pub fn bundle_that_is_a_link() -> Result<Outcome> {
    refused(|_, bytes| edit(edit(bytes, 156, b"2")?, 157, b"/etc/passwd"))
}
