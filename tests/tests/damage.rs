//! Damage: a wrong byte is never served, and what a crash interrupts is either done or not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fondaco_tests::bundles;
use fondaco_tests::http;
use fondaco_tests::node::TestNode;
use fondaco_tests::visitor::Visitor;
use serde_json::Value;

const SEALED: &str = "slug = \"song\"\nkind = \"track\"\ntitle = \"Song\"\nlicense = \"CC0-1.0\"\n[[offers]]\nid = \"buy\"\n\
                      price = \"3 EUR\"\n[offers.terms]\nscheme = \"org.fondaco.drm-sealed\"\n";
const FREE: &str = "slug = \"free\"\nkind = \"other\"\ntitle = \"Free\"\nlicense = \"CC0-1.0\"\n[[offers]]\nid = \"get\"\nprice = \"0 EUR\"\n";

#[test]
fn a_corrupt_blob_is_never_served_and_always_found() -> Result<()> {
    let node = TestNode::new()?;
    let good: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    node.deployment.publish(&node.work("free", FREE, &[("a.bin", &good)])?)?;
    let hash = first_hash(&node)?;
    let running = node.deployment.up()?;
    let host = running.url.trim_start_matches("http://").to_owned();
    let fetch = |range: Option<&str>| {
        let headers: Vec<_> = range.iter().map(|r| ("range", *r)).collect();
        http::send(&host, "GET", &format!("/files/{hash}/a.bin"), &headers, b"")
    };
    ensure!(fetch(None)?.body == good, "the whole blob is not served as it was published");

    let stored = blob(node.deployment.path(), &hash).context("the blob is not stored in a file of its name")?;
    let mut bytes = fs::read(&stored)?;
    let spoiled = 700_000;
    *bytes.get_mut(spoiled).context("the blob is too short")? ^= 0x40;
    fs::set_permissions(&stored, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    fs::write(&stored, &bytes)?;

    // Whole: an error, or an answer that is cut off before the wrong byte. Never a whole answer.
    if let Ok(answer) = fetch(None) {
        ensure!(answer.status >= 500, "a corrupt blob was served with status {}", answer.status);
    }
    // The part with the wrong byte: nothing.
    if let Ok(answer) = fetch(Some("bytes=700000-700010")) {
        ensure!(answer.status >= 500, "wrong bytes were served with status {}", answer.status);
    }
    ensure!(running.log()?.contains(&hash), "the log does not name the blob:\n{}", running.log()?);
    assert_eq!(running.stop()?, 0);

    let output = node.deployment.run(&["check", "--deep"])?;
    assert_eq!(output.code, 1, "{output:?}");
    for words in [hash.as_str(), "a.bin of free"] {
        ensure!(output.stderr.contains(words), "check --deep does not say {words:?}: {}", output.stderr);
    }
    Ok(())
}

#[test]
fn an_edit_of_the_log_is_found() -> Result<()> {
    let node = TestNode::bare()?;
    node.deployment.publish(&node.work("free", FREE, &[("a.txt", b"text")])?)?;
    node.deployment.ok(&["check", "--deep"])?;
    // Of the same length, so that the file is as sound a database as before.
    let file = node.deployment.path().join("data/ledger.db");
    let mut bytes = fs::read(&file)?;
    let kind = b"release.recorded";
    let at = bytes.windows(kind.len()).position(|w| w == kind).context("the event is not in the file")?;
    *bytes.get_mut(at).context("cut short")? = b'R';
    fs::write(&file, bytes)?;
    let output = node.deployment.run(&["check", "--deep"])?;
    assert_eq!(output.code, 1, "{output:?}");
    ensure!(output.stderr.contains("the log was tampered with at event"), "{}", output.stderr);
    Ok(())
}

#[test]
fn a_power_cut_loses_no_order_and_no_right() -> Result<()> {
    let node = TestNode::new()?;
    let song = b"a song, sung once and kept".repeat(5_000);
    node.deployment.publish(&node.work("song", SEALED, &[("song.mp3", &song)])?)?;
    let id = first_work(&node)?;
    let running = node.deployment.up()?;
    let code = node.deployment.vouchers("10.00 EUR", 1)?.remove(0);
    let (mut buyer, mut undecided) = (Visitor::new(&running.url), Visitor::new(&running.url));
    buyer.buy(&id, Some(&code))?;
    let order = undecided.order(&id)?;
    let before = node.deployment.json(&["orders"])?;
    assert_eq!(before.len(), 2);
    running.kill()?;

    let running = node.deployment.up()?;
    assert_eq!(node.deployment.json(&["orders"])?, before);
    buyer.moved_to(&running.url);
    undecided.moved_to(&running.url);
    let library = buyer.library()?;
    assert_eq!(library.iter().map(|d| d.name.as_str()).collect::<Vec<_>>(), ["song.mp3.sealed"]);
    ensure!(undecided.library()?.is_empty(), "an order that was not paid gave a right");

    // The voucher stays spent, and the order that was open can still be paid.
    let again = undecided.pay(&order, &code);
    ensure!(again.is_err() && undecided.library()?.is_empty(), "a voucher was good twice");
    let code = node.deployment.vouchers("3.00 EUR", 1)?.remove(0);
    undecided.pay(&order, &code)?;
    assert_eq!(undecided.library()?.len(), 1);
    assert_eq!(running.stop()?, 0);
    node.deployment.ok(&["check", "--deep"])?;
    Ok(())
}

/// The node is killed while the voucher is being redeemed, at one moment after the other. Whatever is left, the code pays
/// for exactly one right in the end: it is neither lost nor good twice.
#[test]
fn a_checkout_that_is_cut_off_is_either_done_or_not() -> Result<()> {
    let node = TestNode::new()?;
    node.deployment.publish(&node.work("song", SEALED, &[("song.mp3", &b"la".repeat(5_000))])?)?;
    let id = first_work(&node)?;
    let mut outcomes = Vec::new();
    for delay in [1, 4, 8, 12, 18, 26, 40] {
        let running = node.deployment.up()?;
        let code = node.deployment.vouchers("3.00 EUR", 1)?.remove(0);
        let mut buyer = Visitor::new(&running.url);
        let order = buyer.order(&id)?;
        let paying = std::thread::spawn({
            let (mut buyer, order, code) = (buyer.clone(), order.clone(), code.clone());
            // It may be answered, or cut off.
            move || buyer.pay(&order, &code).is_ok()
        });
        std::thread::sleep(Duration::from_millis(delay));
        running.kill()?;
        let answered = paying.join().map_err(|_| anyhow::anyhow!("the buyer panicked"))?;

        let running = node.deployment.up()?;
        buyer.moved_to(&running.url);
        let had = buyer.library()?.len();
        ensure!(had == 1 || !answered, "after {delay} ms: it was answered, and the right is gone");
        if had == 0 {
            // Either the code was not spent, or it was spent on this order and the gateway says so when it is asked.
            let page = buyer.page(&format!("/orders/{}", order_of(&order).context("no order")?))?;
            let _ = buyer.pay(&page, &code);
        }
        ensure!(buyer.library()?.len() == 1, "after {delay} ms: the code is spent, and there is no right");
        // The same code is good for nothing more.
        let mut thief = Visitor::new(&running.url);
        let order = thief.order(&id)?;
        let again = thief.pay(&order, &code);
        ensure!(thief.library()?.is_empty(), "after {delay} ms: the code was good twice: {again:?}");
        outcomes.push(had);
        assert_eq!(running.stop()?, 0);
    }
    println!("rights that were there after the cut: {outcomes:?}");
    node.deployment.ok(&["check", "--deep"])?;
    Ok(())
}

/// The order's id, from the forms on its page.
fn order_of(page: &str) -> Option<String> {
    let forms = fondaco_tests::html::forms(page);
    let action = forms.iter().find_map(|f| f.action.strip_prefix("/orders/"))?;
    action.split('/').next().map(str::to_owned)
}

#[test]
fn a_publish_that_is_cut_off_is_either_done_or_not() -> Result<()> {
    let node = TestNode::new()?;
    let bytes: Vec<u8> = (0..4_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let folder = node.work("song", SEALED, &[("song.mp3", &bytes)])?;
    for delay in [5, 40, 80, 120, 160, 220, 300, 400] {
        let mut command = node.deployment.command()?;
        let mut child = command.arg("publish").arg(&folder).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        std::thread::sleep(Duration::from_millis(delay));
        child.kill()?;
        child.wait()?;
        let works = node.deployment.json(&["works"])?;
        ensure!(works.len() <= 1, "{works:?}");
        node.deployment.ok(&["check", "--deep"]).with_context(|| format!("after {delay} ms"))?;
    }
    node.deployment.publish(&folder)?;
    assert_eq!(node.deployment.json(&["works"])?.len(), 1);
    Ok(())
}

#[test]
fn an_install_that_is_cut_off_is_either_done_or_not() -> Result<()> {
    let node = TestNode::bare()?;
    let bundle = node.bundle("pay-voucher")?;
    for delay in [5, 50, 150, 300, 500, 800, 1200] {
        let mut command = node.deployment.command()?;
        command.args(["plugin", "install"]).arg(&bundle.file).args(["--grant", "all"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        std::thread::sleep(Duration::from_millis(delay));
        child.kill()?;
        child.wait()?;
        for plugin in node.deployment.json(&["plugin", "list"])? {
            assert_eq!(bundles::text(&plugin, "state")?, "running", "after {delay} ms");
        }
    }
    node.deployment.install(&bundle.file)?;
    node.deployment.ok(&["check"])?;
    assert_eq!(node.deployment.vouchers("1.00 EUR", 1)?.len(), 1);
    Ok(())
}

fn first_work(node: &TestNode) -> Result<String> {
    let works = node.deployment.json(&["works"])?;
    bundles::text(works.first().context("nothing is published")?, "work")
}

fn first_hash(node: &TestNode) -> Result<String> {
    let works = node.deployment.json(&["works"])?;
    let hash = works.first().and_then(|w| w.pointer("/files/0/hash")).and_then(Value::as_str);
    hash.map(str::to_owned).context("no file is listed")
}

/// The file in which a blob is stored: the one that is named by its hash.
fn blob(folder: &Path, hash: &str) -> Option<PathBuf> {
    fs::read_dir(folder).ok()?.filter_map(Result::ok).find_map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => blob(&entry.path(), hash),
        _ => (entry.file_name().to_str() == Some(hash)).then(|| entry.path()),
    })
}
