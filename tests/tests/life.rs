//! The life of a plugin for the operator: updates that are held, ways back, pins, logs, and everything that is taken in
//! while the node runs.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use fondaco_tests::bundles::{self, PLAIN_SHOP, PlainShop};
use fondaco_tests::guests;
use fondaco_tests::http::{self, Answer};
use fondaco_tests::node::{Running, TestNode};
use fondaco_tests::reloads;
use serde_json::Value;

const MAIL: &str = "[capabilities.mail]\noptional = true\nreason = \"tell readers what is new\"\n";

/// A deployment with the plain shop, and bundles of it.
struct Shop {
    node: TestNode,
    plain: PlainShop,
}

impl Shop {
    /// Version 1.0.0 is installed.
    fn new() -> Result<Self> {
        let shop = Self { node: TestNode::bare()?, plain: PlainShop::build()? };
        shop.node.deployment.install(&shop.bundle("1.0.0")?)?;
        Ok(shop)
    }
    fn bundle(&self, version: &str) -> Result<PathBuf> {
        self.asking(version, "")
    }
    fn asking(&self, version: &str, more: &str) -> Result<PathBuf> {
        self.plain.pack(version, more, &self.node.path("made"), &self.node.key)
    }
    fn file(&self, name: &str) -> PathBuf {
        self.node.deployment.path().join(name)
    }
    /// What `plugin info` says of the plain shop.
    fn info(&self) -> Result<Value> {
        self.node.deployment.json(&["plugin", "info", PLAIN_SHOP])?.pop().context("no answer")
    }
    fn version(&self) -> Result<String> {
        bundles::text(&self.info()?, "version")
    }
    fn plugin(&self, arguments: &[&str]) -> Result<fondaco_tests::program::Output> {
        self.node.deployment.run(&[&["--json", "plugin"], arguments].concat())
    }
    /// Lays a bundle into `plugins/` as somebody would who copies it there.
    fn drop(&self, bundle: &Path) -> Result<()> {
        fs::copy(bundle, self.file("plugins/dropped.fondaco")).map(drop).context("not dropped")
    }
    fn edit(&self, name: &str, change: impl Fn(String) -> String) -> Result<()> {
        // As editors do it: a running node must not read half a file.
        let (path, new) = (self.file(name), self.node.path("edited"));
        fs::write(&new, change(fs::read_to_string(&path)?))?;
        Ok(fs::rename(&new, &path)?)
    }
    /// The kinds of acts that stand in the log for the plain shop, as `plugin.changed` events.
    fn lock(&self) -> Result<String> {
        Ok(fs::read_to_string(self.file("fondaco.lock"))?)
    }
}

fn get(running: &Running, path: &str) -> Result<Answer> {
    http::send(running.url.trim_start_matches("http://"), "GET", path, &[], b"")
}

fn page(running: &Running, path: &str) -> Result<String> {
    let answer = get(running, path)?;
    ensure!(answer.status == 200, "{path}: {} {}", answer.status, answer.text());
    Ok(answer.text())
}

/// Waits until something holds, for at most `most`.
fn within(most: Duration, what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<Duration> {
    let began = Instant::now();
    loop {
        if holds()? {
            return Ok(began.elapsed());
        }
        ensure!(began.elapsed() < most, "not within {most:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

const SOON: Duration = Duration::from_secs(20);

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("no UTF-8")
}

#[test]
fn an_update_that_asks_for_more_is_held_and_the_version_before_keeps_serving() -> Result<()> {
    let shop = Shop::new()?;
    let running = shop.node.deployment.up()?;
    let (newer, asking) = (shop.bundle("1.1.0")?, shop.asking("1.2.0", MAIL)?);
    shop.node.deployment.ok(&["plugin", "update", PLAIN_SHOP, "--from", text(&newer)?])?;
    assert_eq!(shop.version()?, "1.1.0");

    let held = shop.plugin(&["update", "--from", text(&asking)?])?;
    assert_eq!(held.code, 3, "{held:?}");
    for words in ["\"state\":\"held\"", "mail: send mail through your relay"] {
        ensure!(held.stdout.contains(words), "{words:?} is not said: {held:?}");
    }
    ensure!(held.stderr.contains("plugin update org.fondaco.plain-shop --grant all"), "{held:?}");
    assert_eq!((shop.version()?.as_str(), page(&running, "/a")?.as_str()), ("1.1.0", "/a"));
    let info = shop.info()?;
    assert_eq!(info.pointer("/held/version").and_then(Value::as_str), Some("1.2.0"), "{info}");
    ensure!(shop.node.deployment.ok(&["plugin", "list"])?.contains("1.2.0 is held, since it asks for more"));
    let words = shop.node.deployment.ok(&["plugin", "info", PLAIN_SHOP])?;
    ensure!(words.contains("1.2.0 asks beyond that to:\n  mail: send mail through your relay"), "{words}");

    let trail = shop.node.deployment.ok(&["plugin", "audit", PLAIN_SHOP])?;
    ensure!(trail.contains("held 1.2.0, which asks for more (mail: send mail"), "{trail}");
    // Another bundle than the one that was looked at is not what was consented to.
    let other = shop.plugin(&["update", PLAIN_SHOP, "--grant", "all", "--expect", &"0".repeat(64)])?;
    assert_eq!((other.code, shop.version()?.as_str()), (3, "1.1.0"), "{other:?}");
    shop.node.deployment.ok(&["plugin", "update", PLAIN_SHOP, "--grant", "mail"])?;
    assert_eq!(shop.version()?, "1.2.0");
    ensure!(shop.info()?.pointer("/granted/mail").is_some() && shop.info()?.get("held").is_none_or(Value::is_null));

    // What was consented to once is not asked for again, and what takes nothing new comes in by itself.
    let same = shop.asking("1.3.0", MAIL)?;
    shop.node.deployment.ok(&["plugin", "update", "--from", text(&same)?])?;
    assert_eq!(shop.version()?, "1.3.0");
    assert_eq!(running.stop()?, 0);
    // All of it holds without a running node, too.
    let more = shop.asking("1.4.0", &format!("{MAIL}[capabilities.storage]\n"))?;
    assert_eq!(shop.plugin(&["update", "--from", text(&more)?])?.code, 3);
    assert_eq!(shop.version()?, "1.3.0");
    shop.node.deployment.ok(&["plugin", "update", "--grant", "all"])?;
    assert_eq!(shop.version()?, "1.4.0");
    shop.node.deployment.ok(&["check"]).map(drop)
}

#[test]
fn an_update_that_becomes_another_kind_is_held() -> Result<()> {
    let node = TestNode::bare()?;
    let (component, id) = (guests::file("rogue")?, "org.fondaco.rogue");
    let wishes = ["catalogue", "discovery", "storage", "keys", "mail", "commerce", "campaigns", "blobs", "assets"];
    let wishes: String = wishes.iter().flat_map(|name| ["[capabilities.", name, "]\n"]).collect();
    let pack = |version: &str, kind: &str| {
        guests::pack_version(&component, (id, version), kind, &wishes, &node.path(version), &node.key)
    };
    node.deployment.install(&pack("1.0.0", "search")?)?;
    // It asks for nothing more, and would be given the buyers' money.
    let seller = pack("1.1.0", "payment")?;
    let held = node.deployment.run(&["--json", "plugin", "update", "--from", text(&seller)?])?;
    ensure!(held.code == 3 && held.stdout.contains("kind: be a payment plugin; so far it is search"), "{held:?}");
    let version =
        || bundles::text(node.deployment.json(&["plugin", "info", id])?.last().context("no answer")?, "version");
    assert_eq!(version()?, "1.0.0");
    node.deployment.ok(&["plugin", "update", id, "--grant", "all"])?;
    assert_eq!(version()?, "1.1.0");
    Ok(())
}

#[test]
fn the_way_back_is_one_step_and_lets_nothing_old_in() -> Result<()> {
    let shop = Shop::new()?;
    let nothing = shop.plugin(&["rollback", PLAIN_SHOP])?;
    assert_eq!(nothing.code, 4, "{nothing:?}");
    let newer = shop.bundle("2.0.0")?;
    shop.node.deployment.ok(&["plugin", "update", "--from", text(&newer)?])?;
    let running = shop.node.deployment.up()?;
    let between = shop.bundle("1.5.0")?;
    shop.node.deployment.ok(&["plugin", "rollback", PLAIN_SHOP])?;
    assert_eq!((shop.version()?.as_str(), page(&running, "/a")?.as_str()), ("1.0.0", "/a"));
    let words = shop.node.deployment.ok(&["plugin", "list"])?;
    ensure!(words.contains("went back from 2.0.0: by the operator"), "{words}");
    // The highest version that was accepted is still the measure.
    let slipped = shop.plugin(&["update", "--from", text(&between)?])?;
    assert_eq!(slipped.code, 3, "{slipped:?}");
    ensure!(slipped.stderr.contains("1.5.0 is older than 2.0.0"), "{slipped:?}");
    shop.drop(&between)?;
    within(SOON, "the log speaks of the dropped bundle", || Ok(running.log()?.contains("1.5.0 is older than 2.0.0")))?;
    assert_eq!(shop.version()?, "1.0.0");
    // There is no second step, and the version that was left comes back only when it is asked for.
    let again = shop.plugin(&["rollback", PLAIN_SHOP])?;
    assert_eq!(again.code, 3, "{again:?}");
    ensure!(again.stderr.contains("--from"), "{again:?}");
    shop.drop(&newer)?;
    within(SOON, "the log speaks of the version that was left", || {
        Ok(running.log()?.contains("does not come back by itself"))
    })?;
    assert_eq!(shop.version()?, "1.0.0");
    running.kill()?;
    // A rollback outlives a power cut.
    let running = shop.node.deployment.up()?;
    assert_eq!(shop.version()?, "1.0.0");
    shop.node.deployment.ok(&["plugin", "update", PLAIN_SHOP, "--from", text(&newer)?])?;
    assert_eq!(shop.version()?, "2.0.0");
    assert_eq!(running.stop()?, 0);
    Ok(())
}

#[test]
fn a_pinned_plugin_keeps_its_version() -> Result<()> {
    let shop = Shop::new()?;
    let newer = shop.bundle("1.1.0")?;
    shop.node.deployment.ok(&["plugin", "pin", PLAIN_SHOP])?;
    for command in ["update", "install"] {
        let arguments: &[&str] = if command == "update" {
            &["update", "--from", text(&newer)?]
        } else {
            &["install", text(&newer)?, "--grant", "all"]
        };
        let refused = shop.plugin(arguments)?;
        assert_eq!(refused.code, 3, "{refused:?}");
        ensure!(refused.stderr.contains("pinned to 1.0.0"), "{refused:?}");
    }
    ensure!(shop.node.deployment.ok(&["plugin", "list"])?.contains("pinned"));
    shop.node.deployment.ok(&["plugin", "pin", PLAIN_SHOP, "--off"])?;
    shop.node.deployment.ok(&["plugin", "update", "--from", text(&newer)?])?;
    assert_eq!(shop.version()?, "1.1.0");
    Ok(())
}

#[test]
fn a_pinned_plugin_does_not_go_back() -> Result<()> {
    let shop = Shop::new()?;
    let newer = shop.bundle("1.1.0")?;
    shop.node.deployment.ok(&["plugin", "update", "--from", text(&newer)?])?;
    shop.node.deployment.ok(&["plugin", "pin", PLAIN_SHOP])?;
    let refused = shop.plugin(&["rollback", PLAIN_SHOP])?;
    ensure!(refused.code == 3 && refused.stderr.contains("pinned to 1.1.0"), "{refused:?}");
    assert_eq!(shop.version()?, "1.1.0");
    shop.node.deployment.ok(&["plugin", "pin", PLAIN_SHOP, "--off"])?;
    shop.node.deployment.ok(&["plugin", "rollback", PLAIN_SHOP])?;
    assert_eq!(shop.version()?, "1.0.0");
    Ok(())
}

#[test]
fn a_plugin_that_is_new_here_is_held_though_it_asks_for_nothing() -> Result<()> {
    let shop = Shop { node: TestNode::bare()?, plain: PlainShop::build()? };
    let running = shop.node.deployment.up()?;
    shop.drop(&shop.bundle("1.0.0")?)?;
    let listed = || Ok(shop.node.deployment.ok(&["plugin", "list"])?.contains(PLAIN_SHOP));
    within(SOON, "the dropped plugin is listed", listed)?;
    let info = shop.info()?;
    assert_eq!((bundles::text(&info, "state")?.as_str(), info.get("running")), ("held", Some(&Value::Bool(false))));
    ensure!(get(&running, "/a")?.status != 200, "it runs without anybody's consent");
    assert_eq!(running.stop()?, 0);
    Ok(())
}

#[test]
fn of_a_folder_the_highest_version_that_is_wanted_is_taken() -> Result<()> {
    let shop = Shop::new()?;
    let folder = shop.node.path("shelf");
    fs::create_dir_all(&folder)?;
    for version in ["1.2.0", "1.10.0", "2.0.0"] {
        fs::copy(shop.bundle(version)?, folder.join(format!("{version}.fondaco")))?;
    }
    fs::copy(&shop.node.bundle("pay-voucher")?.file, folder.join("voucher.fondaco"))?;
    fs::write(folder.join("broken.fondaco"), "no bundle")?;
    shop.edit("fondaco.toml", |text| format!("{text}\n[plugins.\"{PLAIN_SHOP}\"]\nversion = \"^1\"\n"))?;
    let output = shop.plugin(&["update", "--from", text(&folder)?])?;
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(shop.version()?, "1.10.0");
    for words in ["broken.fondaco", "2.0.0.fondaco: fondaco.toml wants version ^1"] {
        ensure!(output.stderr.contains(words), "{words:?} is not said: {output:?}");
    }
    // An update is of what is installed; an install takes all.
    ensure!(!output.stdout.contains("pay-voucher"), "{output:?}");
    let output = shop.plugin(&["install", text(&folder)?, "--grant", "all"])?;
    assert_eq!(output.code, 0, "{output:?}");
    let list = shop.node.deployment.ok(&["plugin", "list"])?;
    ensure!(list.contains("org.fondaco.pay-voucher") && list.contains("1.10.0"), "{list}");
    Ok(())
}

#[test]
fn the_last_words_of_a_plugin_can_be_read_and_followed() -> Result<()> {
    let shop = Shop::new()?;
    let off = shop.plugin(&["logs", PLAIN_SHOP])?;
    assert_eq!(off.code, 5, "{off:?}");
    let running = shop.node.deployment.up()?;
    page(&running, "/print")?;
    assert_eq!(get(&running, "/fail")?.status, 503);
    let words = shop.node.deployment.ok(&["plugin", "logs", PLAIN_SHOP])?;
    for part in [
        "info  1.0.0 handle: plain words",
        "\\u{1b}[2Jred\\u{d}forged \\u{9b}31m\\u{202e}",
        "error 1.0.0 handle: ",
        "trapped",
    ] {
        ensure!(words.contains(part), "{part:?} is not in the log:\n{words}");
    }
    ensure!(!words.contains(['\u{1b}', '\r', '\u{9b}', '\u{202e}']), "a terminal would obey this: {words:?}");
    let last = shop.node.deployment.json(&["plugin", "logs", PLAIN_SHOP, "-n", "1"])?;
    assert_eq!(last.len(), 1, "{last:?}");
    for key in ["at", "version", "call", "level", "text"] {
        bundles::text(&last[0], key)?;
    }

    // A reader who follows sees what comes, and leaves without a trace.
    let mut command = shop.node.deployment.command()?;
    command.args(["--json", "plugin", "logs", PLAIN_SHOP, "--follow", "-n", "0"]);
    let mut reader = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut lines = BufReader::new(reader.stdout.take().context("no output")?).lines();
    std::thread::sleep(Duration::from_millis(500));
    page(&running, "/print")?;
    let line: Value = serde_json::from_str(&lines.next().context("the log ended")??)?;
    assert_eq!(bundles::text(&line, "text")?, "plain words");
    reader.kill()?;
    reader.wait()?;
    let began = Instant::now();
    assert_eq!(running.stop()?, 0);
    ensure!(began.elapsed() < Duration::from_secs(10), "a reader who left holds the node up");
    Ok(())
}

#[test]
fn edits_of_the_deployment_file_take_effect_and_mistakes_do_not() -> Result<()> {
    let shop = Shop::new()?;
    let running = shop.node.deployment.up()?;
    assert_eq!(page(&running, "/greeting")?, "none");
    let section = format!("\n[plugins.\"{PLAIN_SHOP}\"]\n");
    shop.edit("fondaco.toml", |text| format!("{text}{section}settings = {{ greeting = \"hello\" }}\n"))?;
    let took = within(SOON, "the setting holds", || Ok(page(&running, "/greeting")? == "hello"))?;
    ensure!(took < Duration::from_secs(10), "a setting took {took:?}");

    // Broken TOML, and settings that the plugin does not know: one sentence each, and what runs goes on.
    for (from, to, said) in [
        ("greeting = \"hello\"", "greeting = \"hello", "fondaco.toml:"),
        ("greeting = \"hello\"", "greting = \"bye\"", "greting"),
    ] {
        let good = fs::read_to_string(shop.file("fondaco.toml"))?;
        shop.edit("fondaco.toml", |text| text.replace(from, to))?;
        within(SOON, said, || Ok(running.log()?.contains(said)))?;
        assert_eq!(page(&running, "/greeting")?, "hello");
        // Not said again, however often one looks.
        shop.edit("fondaco.toml", |text| text)?;
        std::thread::sleep(Duration::from_millis(800));
        assert_eq!(running.log()?.lines().filter(|l| l.contains(said)).count(), 1, "{}", running.log()?);
        fs::write(shop.file("fondaco.toml"), good)?;
    }
    shop.edit("fondaco.toml", |text| text.replace("127.0.0.1:8080", "127.0.0.1:8081"))?;
    within(SOON, "what is fixed is said", || Ok(running.log()?.contains("when the node is started again: [gateway]")))?;
    shop.edit("fondaco.toml", |text| text.replace("Test Shop", "Night Owl"))?;
    within(SOON, "the brand changes", || Ok(page(&running, "/brand")? == "Night Owl"))?;
    fs::create_dir_all(shop.file("theme"))?;
    fs::write(shop.file("theme/tokens.json"), r#"{"space":{"$value":"7px"}}"#)?;
    within(SOON, "the theme changes", || Ok(page(&running, "/theme/tokens.css")?.contains("--space: 7px")))?;

    shop.edit("fondaco.toml", |text| text.replace(&section, &format!("{section}enabled = false\n")))?;
    within(SOON, "the plugin is stopped", || Ok(get(&running, "/a")?.status != 200))?;
    shop.edit("fondaco.toml", |text| text.replace("enabled = false", "enabled = true"))?;
    within(SOON, "the plugin is back", || Ok(get(&running, "/a")?.status == 200))?;
    shop.edit("fondaco.toml", |text| text.replace(&section, &format!("{section}version = \"^7\"\n")))?;
    within(SOON, "a version that is not wanted stops", || Ok(get(&running, "/a")?.status != 200))?;
    assert_eq!(running.stop()?, 0);
    Ok(())
}

#[test]
fn a_grant_that_is_taken_away_by_hand_stops_what_needs_it() -> Result<()> {
    let node = TestNode::bare()?;
    node.deployment.install(&node.bundle("pay-voucher")?.file)?;
    let running = node.deployment.up()?;
    let id = "org.fondaco.pay-voucher";
    let state = || -> Result<String> {
        let list = node.deployment.json(&["plugin", "list"])?;
        bundles::text(list.first().context("nothing is installed")?, "state")
    };
    assert_eq!(state()?, "running");
    let file = node.deployment.path().join("fondaco.toml");
    let before = fs::read_to_string(&file)?;
    fs::write(&file, before.lines().filter(|l| !l.starts_with("grant")).collect::<Vec<_>>().join("\n"))?;
    within(SOON, "the plugin is stopped", || Ok(state()? == "failed"))?;
    ensure!(node.deployment.ok(&["plugin", "info", id])?.contains("storage is not granted"));
    fs::write(&file, before)?;
    within(SOON, "the plugin is back", || Ok(state()? == "running"))?;
    assert_eq!(running.stop()?, 0);
    Ok(())
}

#[test]
fn a_bundle_that_is_dropped_is_an_update_or_is_held() -> Result<()> {
    let shop = Shop::new()?;
    let running = shop.node.deployment.up()?;
    shop.drop(&shop.bundle("1.1.0")?)?;
    within(SOON, "the dropped version runs", || Ok(shop.version()? == "1.1.0"))?;
    ensure!(!shop.file("plugins/dropped.fondaco").exists(), "the dropped file was not taken in");

    // Written slowly, in pieces: nothing torn is loaded, and the whole is taken in at its end.
    let bytes = fs::read(shop.bundle("1.2.0")?)?;
    let mut file = fs::File::create(shop.file("plugins/slow.fondaco"))?;
    for piece in bytes.chunks(bytes.len() / 5 + 1) {
        assert_eq!(shop.version()?, "1.1.0");
        file.write_all(piece)?;
        file.sync_all()?;
        std::thread::sleep(Duration::from_millis(450));
    }
    within(SOON, "the slow version runs", || Ok(shop.version()? == "1.2.0"))?;

    // Nobody consented to what is new here.
    fs::copy(&shop.node.bundle("pay-voucher")?.file, shop.file("plugins/new.fondaco"))?;
    let id = "org.fondaco.pay-voucher";
    within(SOON, "the new plugin is held", || Ok(shop.node.deployment.ok(&["plugin", "list"])?.contains(id)))?;
    let info = shop.node.deployment.json(&["plugin", "info", id])?.remove(0);
    assert_eq!((bundles::text(&info, "state")?.as_str(), info.get("running")), ("held", Some(&Value::Bool(false))));
    ensure!(running.log()?.contains("held until you grant"), "{}", running.log()?);
    shop.node.deployment.ok(&["plugin", "update", id, "--grant", "all"])?;
    let info = shop.node.deployment.json(&["plugin", "info", id])?.remove(0);
    assert_eq!(bundles::text(&info, "state")?, "running");

    // A stranger's bundle is left where it lies, and what was dropped while the node was off is found.
    let stranger = bundles::Key::at(&shop.node.path("stranger.key"))?;
    let theirs = shop.plain.pack("9.0.0", "", &shop.node.path("theirs"), &stranger)?;
    shop.drop(&theirs)?;
    within(SOON, "the stranger is named", || Ok(running.log()?.contains("nobody whom trust.toml names has signed")))?;
    ensure!(shop.file("plugins/dropped.fondaco").exists());
    assert_eq!(running.stop()?, 0);
    shop.drop(&shop.bundle("1.3.0")?)?;
    let running = shop.node.deployment.up()?;
    within(SOON, "what was dropped before the start runs", || Ok(shop.version()? == "1.3.0"))?;
    assert_eq!(running.stop()?, 0);
    Ok(())
}

#[test]
fn what_is_revoked_stops_running_and_an_older_trust_file_does_not_bring_it_back() -> Result<()> {
    let shop = Shop::new()?;
    let running = shop.node.deployment.up()?;
    let trusting = fs::read_to_string(shop.file("trust.toml"))?;
    assert_eq!(page(&running, "/a")?, "/a");
    let digest = bundles::text(&shop.info()?, "bundle")?;
    shop.node.deployment.ok(&["trust", "revoke", &digest, "--bundle"])?;
    let took = within(Duration::from_mins(1), "the revoked bundle stops", || Ok(get(&running, "/a")?.status != 200))?;
    println!("a revoked bundle stopped after {took:?}");
    ensure!(running.log()?.contains("trust.toml revokes the digest"), "{}", running.log()?);
    assert_eq!(get(&running, "/healthz")?.status, 200);
    let trail = shop.node.deployment.ok(&["plugin", "audit", PLAIN_SHOP])?;
    ensure!(trail.contains("stopped: "), "{trail}");

    // The file of before has a lower serial: it is refused, now and at the next start.
    fs::write(shop.file("trust.toml"), &trusting)?;
    within(SOON, "the old trust file is refused", || Ok(running.log()?.contains("was seen before")))?;
    ensure!(get(&running, "/a")?.status != 200, "an old trust file brought a revoked bundle back");
    assert_eq!(running.stop()?, 0);
    let output = shop.node.deployment.run(&["up", "--listen", "127.0.0.1:0"])?;
    assert_eq!(output.code, 3, "{output:?}");
    ensure!(output.stderr.contains("trust.toml has the serial"), "{output:?}");
    // Counted up, it is the operator's word again.
    let serial = |text: &str| text.lines().find_map(|l| l.strip_prefix("serial = ")?.parse::<u64>().ok());
    let old = serial(&trusting).context("no serial")?;
    fs::write(shop.file("trust.toml"), trusting.replace(&format!("serial = {old}"), &format!("serial = {}", old + 2)))?;
    let running = shop.node.deployment.up()?;
    assert_eq!(page(&running, "/a")?, "/a");

    // A revoked key stops a call that is under way, too.
    shop.edit("fondaco.toml", |text| {
        format!("{text}\n[plugins.\"{PLAIN_SHOP}\"]\nlimits = {{ deadline = \"5s\" }}\n")
    })?;
    within(SOON, "the longer deadline holds", || Ok(get(&running, "/slow")?.status == 200))?;
    shop.node.deployment.ok(&["trust", "revoke", &shop.node.key.public])?;
    within(Duration::from_mins(1), "the revoked key's plugin stops", || Ok(get(&running, "/slow")?.status != 200))?;
    assert_eq!(running.stop()?, 0);
    Ok(())
}

#[test]
fn a_version_whose_first_calls_fail_goes_back_by_itself() -> Result<()> {
    let shop = Shop::new()?;
    shop.node.deployment.ok(&["plugin", "update", "--from", text(&shop.bundle("1.1.0")?)?])?;
    let running = shop.node.deployment.up()?;
    ensure!(shop.node.deployment.ok(&["plugin", "list"])?.contains("on trial"));
    // Some failures among good calls are none of the version's.
    for _ in 0..4 {
        assert_eq!(get(&running, "/fail")?.status, 503);
    }
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(shop.version()?, "1.1.0");
    assert_eq!(get(&running, "/fail")?.status, 503);
    within(SOON, "it goes back", || Ok(shop.version()? == "1.0.0"))?;
    assert_eq!(page(&running, "/a")?, "/a");
    let words = shop.node.deployment.ok(&["plugin", "info", PLAIN_SHOP])?;
    ensure!(words.contains("went back from 1.1.0: 5 of its first 5 calls failed"), "{words}");
    let trail = shop.node.deployment.ok(&["plugin", "audit", PLAIN_SHOP])?;
    ensure!(trail.contains("went back from 1.1.0 to 1.0.0: 5 of its first 5 calls failed"), "{trail}");
    // The version before is trusted: it may fail as it likes.
    for _ in 0..8 {
        get(&running, "/fail")?;
    }
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(shop.version()?, "1.0.0");
    running.kill()?;
    let running = shop.node.deployment.up()?;
    assert_eq!(shop.version()?, "1.0.0");

    // One whose first calls are good passes, and is not taken back for what comes later.
    shop.node.deployment.ok(&["plugin", "update", "--from", text(&shop.bundle("1.2.0")?)?])?;
    for _ in 0..50 {
        page(&running, "/a")?;
    }
    within(SOON, "the trial ends", || Ok(!shop.lock()?.contains("trial")))?;
    for _ in 0..60 {
        get(&running, "/fail")?;
    }
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(shop.version()?, "1.2.0");
    assert_eq!(running.stop()?, 0);
    Ok(())
}

#[test]
fn a_change_that_is_cut_off_leaves_the_old_or_the_new_state() -> Result<()> {
    let shop = Shop::new()?;
    let mut last = 0;
    for (round, delay) in [10, 40, 80, 120, 160, 200, 260, 320].into_iter().enumerate() {
        let newer = shop.bundle(&format!("1.{}.0", round + 1))?;
        let commands: [&[&str]; 2] =
            [&["plugin", "update", "--from", text(&newer)?], &["plugin", "rollback", PLAIN_SHOP]];
        for arguments in commands {
            let before = shop.version()?;
            let mut child = shop.node.deployment.command()?;
            let mut child = child.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
            std::thread::sleep(Duration::from_millis(delay));
            child.kill()?;
            child.wait()?;
            let info = shop.info()?;
            let (state, after) = (bundles::text(&info, "state")?, bundles::text(&info, "version")?);
            assert_eq!(state, "running", "{arguments:?} cut off after {delay} ms: {info}");
            ensure!(
                after == before || arguments[1] == "rollback" || after == format!("1.{}.0", round + 1),
                "{before} became {after}"
            );
            last += usize::from(after != before);
            shop.node.deployment.ok(&["check"]).with_context(|| format!("{arguments:?} after {delay} ms"))?;
        }
    }
    println!("{last} of 16 changes were done before they were cut off");
    let newest = shop.bundle("2.0.0")?;
    shop.node.deployment.ok(&["plugin", "update", "--from", text(&newest)?])?;
    assert_eq!(shop.version()?, "2.0.0");
    Ok(())
}

#[test]
fn many_reloads_under_load_drop_no_request() -> Result<()> {
    let report = reloads::under_load(300, 500)?;
    let (early, late) = report.memory();
    let (failed, why) = &report.failed;
    println!("{} requests in {:?}, {early} and {late} bytes resident", report.requests, report.time);
    ensure!(*failed == 0, "{failed} of {} requests failed, the first since {why:?}:\n{}", report.requests, report.log);
    ensure!(report.requests > 500, "only {} requests were made", report.requests);
    ensure!(late < early + (32 << 20), "memory grew from {early} to {late} bytes");
    Ok(())
}
