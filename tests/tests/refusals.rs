//! Bundles that must not be installed. Each refusal is one sentence and exit code 3, and leaves everything as it was.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use fondaco_tests::bundles::{self, Key};
use fondaco_tests::node::TestNode;

/// Tries to install, and looks at the sentence and at what was there before.
fn check(node: &TestNode, bundle: &Path, grant: &str, words: &[&str]) -> Result<()> {
    let state = |name: &str| fs::read_to_string(node.deployment.path().join(name)).unwrap_or_default();
    let before = [state("fondaco.toml"), state("fondaco.lock")];
    let bundle = bundle.to_str().context("the path is no UTF-8")?;
    let output = node.deployment.run(&["plugin", "install", bundle, "--grant", grant])?;
    assert_eq!(output.code, 3, "{output:?}");
    let said = output.stderr.trim();
    for word in words {
        ensure!(said.contains(word), "{word:?} is not said: {said}");
    }
    ensure!(said.lines().count() == 1, "more than one sentence: {said}");
    ensure!([state("fondaco.toml"), state("fondaco.lock")] == before, "the refusal changed the deployment");
    Ok(())
}

fn voucher(node: &TestNode, key: Option<&Key>, change: impl Fn(String) -> String) -> Result<std::path::PathBuf> {
    bundles::repack("pay-voucher", &node.path("made"), key, change)
}

fn version(version: &'static str) -> impl Fn(String) -> String {
    move |text| text.replace("version = \"0.1.0\"", &format!("version = \"{version}\""))
}

#[test]
fn refuses_a_bundle_that_nobody_signed() -> Result<()> {
    let node = TestNode::bare()?;
    let bundle = voucher(&node, None, |text| text)?;
    check(&node, &bundle, "all", &["manifest.dsse.json", "sign it with cargo fondaco sign"])
}

#[test]
fn refuses_a_bundle_of_a_signer_whom_nobody_trusts() -> Result<()> {
    let node = TestNode::bare()?;
    let stranger = Key::at(&node.path("stranger.key"))?;
    let bundle = voucher(&node, Some(&stranger), |text| text)?;
    check(&node, &bundle, "all", &["nobody whom trust.toml names has signed", "fondaco trust"])
}

#[test]
fn refuses_a_bundle_outside_its_signers_scope() -> Result<()> {
    let node = TestNode::bare()?;
    let other = Key::at(&node.path("other.key"))?;
    let bundle = voucher(&node, Some(&other), |text| text)?;
    let trust = |name: &str, prefix: &str, kind: &str| {
        node.deployment.ok(&["trust", "add", name, "--key", &other.public, "--prefix", prefix, "--kind", kind])
    };
    trust("elsewhere", "org.example", "payment")?;
    check(&node, &bundle, "all", &["org.fondaco.pay-voucher", "elsewhere", "may sign only org.example"])
}

#[test]
fn refuses_a_bundle_of_a_kind_that_its_signer_may_not_make() -> Result<()> {
    let node = TestNode::bare()?;
    let other = Key::at(&node.path("other.key"))?;
    let bundle = voucher(&node, Some(&other), |text| text)?;
    node.deployment.ok(&[
        "trust",
        "add",
        "painter",
        "--key",
        &other.public,
        "--prefix",
        "org.fondaco",
        "--kind",
        "storefront",
    ])?;
    check(&node, &bundle, "all", &["payment", "painter", "may sign only storefront"])
}

#[test]
fn refuses_a_bundle_whose_signer_was_revoked() -> Result<()> {
    let node = TestNode::bare()?;
    node.deployment.ok(&["trust", "revoke", &node.key.public])?;
    check(&node, &node.bundle("pay-voucher")?.file, "all", &["revoked", &node.key.public])
}

#[test]
fn refuses_a_bundle_whose_signers_time_is_over() -> Result<()> {
    let node = TestNode::bare()?;
    let file = node.deployment.path().join("trust.toml");
    let trusting = fs::read_to_string(&file)?;
    let until = |time: &str, serial: u32| -> Result<()> {
        let dated = trusting.replacen("key = ", &format!("not-after = \"{time}\"\nkey = "), 1);
        let counted = dated.replacen("serial = 2", &format!("serial = {serial}"), 1);
        ensure!(dated != trusting && counted != dated, "the test changes what is there: {trusting}");
        Ok(fs::write(&file, counted)?)
    };
    let bundle = &node.bundle("pay-voucher")?.file;
    until("2020-01-01T00:00:00Z", 3)?;
    check(&node, bundle, "all", &[node.key.public.as_str(), "is not trusted after 2020-01-01T00:00:00Z"])?;
    until("2999-01-01T00:00:00Z", 4)?;
    node.deployment.install(bundle)
}

#[test]
fn refuses_a_bundle_that_was_changed_after_it_was_signed() -> Result<()> {
    let node = TestNode::bare()?;
    let mut bytes = fs::read(&node.bundle("pay-voucher")?.file)?;
    // The component is by far the largest file, so the middle lies in it.
    let middle = bytes.len() / 2;
    *bytes.get_mut(middle).context("the bundle is empty")? ^= 1;
    let changed = node.path("changed.fondaco");
    fs::write(&changed, bytes)?;
    check(&node, &changed, "all", &["plugin.wasm has another", "digest", "fetch the bundle again"])
}

#[test]
fn refuses_a_bundle_that_is_cut_short() -> Result<()> {
    let node = TestNode::bare()?;
    let bytes = fs::read(&node.bundle("pay-voucher")?.file)?;
    let cut = node.path("cut.fondaco");
    fs::write(&cut, bytes.get(..bytes.len() / 2).unwrap_or_default())?;
    check(&node, &cut, "all", &["cut short"])
}

#[test]
fn refuses_a_version_below_one_that_was_installed() -> Result<()> {
    let node = TestNode::bare()?;
    node.deployment.install(&voucher(&node, Some(&node.key), version("0.3.0"))?)?;
    let older = voucher(&node, Some(&node.key), version("0.2.0"))?;
    check(&node, &older, "all", &["org.fondaco.pay-voucher 0.2.0 is older than 0.3.0"])?;
    // What was removed is remembered, or a removal would be the way around.
    node.deployment.ok(&["plugin", "remove", "org.fondaco.pay-voucher"])?;
    check(&node, &older, "all", &["0.2.0 is older than 0.3.0"])?;
    node.deployment.ok(&[
        "plugin",
        "install",
        older.to_str().context("no UTF-8")?,
        "--grant",
        "all",
        "--allow-rollback",
    ])?;
    Ok(())
}

#[test]
fn refuses_another_bundle_in_the_place_of_the_installed_one() -> Result<()> {
    let node = TestNode::bare()?;
    node.deployment.install(&node.bundle("pay-voucher")?.file)?;
    node.deployment.ok(&["check"])?;
    // Of the same id and version and by the same signer: nothing but the digest in fondaco.lock tells it from the other.
    let other =
        voucher(&node, Some(&node.key), |text| text.replace("no account, no bank", "no account, another bank"))?;
    let mut kept = fs::read_dir(node.deployment.path().join("plugins"))?;
    let kept = kept.next().context("no bundle was kept")??.path();
    ensure!(fs::read(&kept)? != fs::read(&other)?, "it is the same bundle");
    fs::copy(&other, &kept)?;
    let output = node.deployment.run(&["check"])?;
    assert_eq!(output.code, 1, "{output:?}");
    ensure!(output.stderr.contains("is not the bundle that was installed"), "{}", output.stderr);
    Ok(())
}

#[test]
fn refuses_a_plugin_for_another_version_of_the_interface() -> Result<()> {
    let node = TestNode::bare()?;
    let bundle = voucher(&node, Some(&node.key), |text| text.replace("api = \"^0.2\"", "api = \"^9.0\""))?;
    check(
        &node,
        &bundle,
        "all",
        &["org.fondaco.pay-voucher", "fondaco:plugin ^9.0", "this node offers 0.1.0 and 0.2.0", "a newer node"],
    )
}

#[test]
fn refuses_a_plugin_without_what_it_cannot_do_without() -> Result<()> {
    let node = TestNode::bare()?;
    let bundle = &node.bundle("pay-voucher")?.file;
    check(&node, bundle, "keys", &["org.fondaco.pay-voucher 0.1.0", "storage", "fondaco.toml"])?;
    // With everything granted it is taken: it was the grant that was missing.
    node.deployment.install(bundle)
}

#[test]
fn refuses_a_component_that_imports_more_than_its_manifest_asks_for() -> Result<()> {
    let node = TestNode::bare()?;
    let bundle = voucher(&node, Some(&node.key), |text| {
        let (before, after) = text.split_once("[capabilities.keys]").unwrap_or((&text, ""));
        let rest = after.split_once('\n').and_then(|(_, r)| r.split_once('\n')).map_or("", |(_, rest)| rest);
        format!("{before}{rest}")
    })?;
    check(&node, &bundle, "all", &["org.fondaco.pay-voucher 0.1.0", "keys"])
}

/// Writes settings of the voucher plugin down before it is installed.
fn set(node: &TestNode, settings: &str) -> Result<()> {
    let file = node.deployment.path().join("fondaco.toml");
    let text = fs::read_to_string(&file)?;
    Ok(fs::write(&file, format!("{text}\n[plugins.\"org.fondaco.pay-voucher\"]\nsettings = {settings}\n"))?)
}

#[test]
fn refuses_settings_that_are_not_those_of_the_plugins_schema() -> Result<()> {
    let node = TestNode::bare()?;
    set(&node, "{ asets = [\"EUR\"], assets = [] }")?;
    let bundle = &node.bundle("pay-voucher")?.file;
    // Every mistake, and where it is.
    check(&node, bundle, "all", &["org.fondaco.pay-voucher 0.1.0", "'asets' was unexpected", "settings/assets: "])?;
    let node = TestNode::bare()?;
    set(&node, "{ assets = [\"EUR\"] }")?;
    node.deployment.install(bundle)
}

#[test]
fn refuses_settings_for_a_plugin_that_has_none() -> Result<()> {
    let node = TestNode::bare()?;
    set(&node, "{ assets = [\"EUR\"] }")?;
    let bundle = voucher(&node, Some(&node.key), |text| {
        text.replace("[settings]\n", "").replace("schema = \"settings.schema.json\"\n", "")
    })?;
    check(&node, &bundle, "all", &["org.fondaco.pay-voucher 0.1.0", "it has no settings, and fondaco.toml sets some"])?;
    TestNode::bare()?.deployment.install(&bundle)
}
