//! Programs of others agree with ours: `b3sum` on every file's id, and Python's securesystemslib on every signature.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use fondaco_tests::node::TestNode;
use fondaco_tests::{bundles, program, tools, workspace};
use serde_json::Value;

const FREE: &str =
    "kind = \"other\"\ntitle = \"Sizes\"\nlicense = \"CC0-1.0\"\n[[offers]]\nid = \"get\"\nprice = \"0 EUR\"\n";

/// Lengths around every edge of the hash tree: nothing, a chunk of 1024 bytes, a group of 16 chunks, and many groups.
const SIZES: [usize; 10] = [0, 1, 1023, 1024, 1025, 16_383, 16_384, 16_385, 100_000, 3_000_001];

#[test]
fn every_published_file_has_the_id_that_b3sum_gives_it() -> Result<()> {
    let node = TestNode::new()?;
    let contents: Vec<(String, Vec<u8>)> = SIZES.iter().map(|n| (format!("{n}.bin"), bytes(*n))).collect();
    let files: Vec<(&str, &[u8])> = contents.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let folder = node.work("sizes", &format!("slug = \"sizes\"\n{FREE}"), &files)?;
    node.deployment.publish(&folder)?;

    let works = node.deployment.json(&["works"])?;
    let listed = works.first().and_then(|w| w.get("files")).and_then(Value::as_array).context("no files are listed")?;
    ensure!(listed.len() == SIZES.len(), "{listed:?}");
    for file in listed {
        let (path, hash) = (bundles::text(file, "path")?, bundles::text(file, "hash")?);
        assert_eq!(hash, b3sum(&folder.join(&path))?, "{path}");
    }
    let out = node.path("out");
    let place = out.to_str().context("the path is no UTF-8")?;
    node.deployment.ok(&["get", "sizes", "--out", place])?;
    for (name, bytes) in &contents {
        assert!(fs::read(out.join(name))? == *bytes, "{name} did not come back as it went in");
    }
    Ok(())
}

#[test]
fn sealed_files_are_named_by_what_is_stored() -> Result<()> {
    let node = TestNode::new()?;
    let about = "slug = \"sealed\"\nkind = \"other\"\ntitle = \"Sealed\"\n[[offers]]\nid = \"buy\"\nprice = \"1 EUR\"\n\
                 [offers.terms]\nscheme = \"org.fondaco.drm-sealed\"\n";
    let clear = bytes(200_000);
    let folder = node.work("sealed", about, &[("a.bin", &clear)])?;
    node.deployment.publish(&folder)?;
    let out = node.path("out");
    node.deployment.ok(&["get", "sealed", "--out", out.to_str().context("the path is no UTF-8")?])?;
    let works = node.deployment.json(&["works"])?;
    let hash = works.first().and_then(|w| w.pointer("/files/0/hash")).and_then(Value::as_str).context("no hash")?;
    assert_eq!(hash, b3sum(&out.join("a.bin.sealed"))?);
    assert!(hash != b3sum(&folder.join("a.bin"))?, "the file is stored in the clear");
    Ok(())
}

#[test]
fn securesystemslib_verifies_every_bundle_that_we_sign() -> Result<()> {
    let (key, all) = bundles::all()?;
    for bundle in &all {
        let file = bundle.file.to_str().context("the path is no UTF-8")?;
        python(&["verify", file, &key.public]).with_context(|| bundle.id.clone())?;
        let other = "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29";
        ensure!(python(&["verify", file, other]).is_err(), "{} verifies with any key", bundle.id);
    }
    Ok(())
}

#[test]
fn we_verify_and_install_a_bundle_that_securesystemslib_signed() -> Result<()> {
    let node = TestNode::bare()?;
    let unsigned = bundles::repack("pay-voucher", &node.path("made"), None, |text| text)?;
    let signed = node.path("signed.fondaco");
    let (from, to) = (unsigned.to_str().context("no UTF-8")?, signed.to_str().context("no UTF-8")?);
    // RFC 8032, section 7.1, test 1.
    let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    let public = python(&["sign", from, seed, to])?.trim().to_owned();

    program::answer(bundles::tool()?.args(["verify", to, "--public", &public]))?;
    let refused = program::run(bundles::tool()?.args(["verify", to, "--public", &node.key.public]))?;
    assert_eq!(refused.code, 3, "{}", refused.stderr);

    let before = node.deployment.run(&["plugin", "install", to, "--grant", "all"])?;
    assert_eq!(before.code, 3, "its signer is not trusted yet: {}", before.stderr);
    node.deployment.ok(&[
        "trust",
        "add",
        "python",
        "--key",
        &public,
        "--prefix",
        "org.fondaco",
        "--kind",
        "payment",
    ])?;
    node.deployment.install(&signed)
}

fn python(arguments: &[&str]) -> Result<String> {
    let script = workspace::root().join("tests/python/dsse.py");
    program::answer(Command::new(tools::python()?).arg(script).args(arguments))
}

fn b3sum(file: &std::path::Path) -> Result<String> {
    let text = program::answer(Command::new(tools::b3sum()?).arg("--no-names").arg(file))?;
    Ok(text.trim().to_owned())
}

/// Bytes that repeat nowhere soon.
fn bytes(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(length).collect()
}
