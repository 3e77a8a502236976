//! A disk that is full: each command says so in one sentence and harms nothing, a running node goes on with what needs no
//! room, and once there is room again all goes on.
//!
//! The disk is a file system in memory, mounted for this test alone: in a mount namespace of its own, which root may
//! always make and everybody else where the kernel lets them (`unshare` of util-linux).

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use fondaco_tests::http;
use fondaco_tests::node::{Deployment, TestNode};
use fondaco_tests::program::Output;
use fondaco_tests::visitor::Visitor;
use serde_json::Value;

/// Set to the disk's folder in the process that runs on it.
const DISK: &str = "FONDACO_TEST_DISK";
const SIZE: &str = "160m";
const FREE: &str = "slug = \"free\"\nkind = \"other\"\ntitle = \"Free\"\nlicense = \"CC0-1.0\"\n[[offers]]\nid = \"get\"\nprice = \"0 EUR\"\n";

#[test]
fn a_full_disk_is_said_and_harms_nothing() -> Result<()> {
    with_a_disk("a_full_disk_is_said_and_harms_nothing", on_the_disk)
}

#[test]
fn a_fetch_pauses_on_a_full_disk_and_goes_on_when_there_is_room() -> Result<()> {
    with_a_disk("a_fetch_pauses_on_a_full_disk_and_goes_on_when_there_is_room", fetching)
}

/// Runs a test of this file again in a process that has a small disk.
fn with_a_disk(name: &str, test: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if let Some(disk) = std::env::var_os(DISK) {
        return test(Path::new(&disk));
    }
    let place = tempfile::tempdir()?;
    let script = format!("mount -t tmpfs -o size={SIZE} tmpfs \"${DISK}\" && exec \"$@\"");
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-ec", &script, "sh"])
        .arg(std::env::current_exe()?)
        .args(["--exact", name, "--nocapture"])
        .env(DISK, place.path())
        .env("TMPDIR", place.path())
        .output()
        .context("this test mounts a small file system: install util-linux")?;
    let said = format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(
        output.status.success(),
        "{said}\n(where it says `unshare failed` or `permission denied`: run the test as root, or allow user namespaces)"
    );
    ensure!(said.contains("1 passed"), "the test did not run on the disk: {said}");
    Ok(())
}

/// A node that is part of a swarm, in a folder of the disk.
fn in_a_swarm(disk: &Path, name: &str, more: &str) -> Result<Deployment> {
    let deployment = Deployment::init(&disk.join(name), name, "Works for tests")?;
    let file = deployment.path().join("fondaco.toml");
    let network = format!("enabled = true\n{more}");
    fs::write(&file, fs::read_to_string(&file)?.replacen("enabled = false\n", &network, 1))?;
    Ok(deployment)
}

fn fetching(disk: &Path) -> Result<()> {
    let publisher = in_a_swarm(disk, "publisher", "listen = [\"/ip4/127.0.0.1/tcp/0\"]\n")?;
    let buyer = in_a_swarm(disk, "buyer", "")?;
    let song: Vec<u8> = (0..4_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let work = disk.join("work");
    fs::create_dir_all(&work)?;
    fs::write(work.join("work.toml"), FREE)?;
    fs::write(work.join("large.bin"), &song)?;
    publisher.publish(&work)?;
    let publishing = publisher.up()?;
    let works = publisher.json(&["works"])?;
    let link = works.first().and_then(|w| w.get("link")).and_then(Value::as_str).context("no link")?.to_owned();
    let running = buyer.up()?;
    let out = disk.join("out");

    let ballast = Ballast::leave(disk, 6 << 20)?;
    let said = disk.join("said");
    let mut client = buyer
        .command()?
        .args(["get", &link, "--out", out.to_str().context("no UTF-8")?])
        .stdout(std::process::Stdio::null())
        .stderr(File::create(&said)?)
        .spawn()?;
    let begin = Instant::now();
    let says = |words: &str| -> Result<()> {
        while !fs::read_to_string(&said)?.contains(words) {
            ensure!(begin.elapsed() < Duration::from_mins(1), "{words:?} is not said: {}", fs::read_to_string(&said)?);
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    };
    says("paused: ")?;
    ensure!(fs::read_to_string(&said)?.contains("full"), "why is not said");
    // It takes nothing from others meanwhile, and stays.
    std::thread::sleep(Duration::from_millis(2_500));
    ensure!(client.try_wait()?.is_none(), "it ended: {}", fs::read_to_string(&said)?);
    let stat = rustix::fs::statvfs(disk)?;
    ensure!(stat.f_bavail * stat.f_bsize > 3 << 20, "a file that does not fit takes room");
    ballast.lift()?;
    ensure!(client.wait()?.success(), "{}", fs::read_to_string(&said)?);
    says("there is room again")?;
    ensure!(fs::read(out.join("large.bin"))? == song, "it is not what was published");
    assert_eq!((running.stop()?, publishing.stop()?), (0, 0));
    Ok(())
}

/// What fills the disk up.
struct Ballast(PathBuf);

impl Ballast {
    /// Leaves at most so many bytes.
    fn leave(disk: &Path, bytes: u64) -> Result<Self> {
        let file = disk.join("ballast");
        let mut ballast = File::create(&file)?;
        let block = vec![1; 1 << 16];
        loop {
            let stat = rustix::fs::statvfs(disk)?;
            let free = stat.f_bavail * stat.f_bsize;
            if free <= bytes {
                return Ok(Self(file));
            }
            let next = usize::try_from((free - bytes).min(1 << 16))?;
            ballast.write_all(block.get(..next).unwrap_or(&block))?;
        }
    }
    fn lift(self) -> Result<()> {
        Ok(fs::remove_file(self.0)?)
    }
}

/// One sentence that says what is the matter, with what it happened to, and an exit code.
fn says(output: &Output, words: &[&str]) -> Result<()> {
    ensure!(output.code != 0 && output.code != 101 && output.code != -1, "{output:?}");
    let said = output.stderr.trim();
    ensure!(said.lines().count() == 1, "more than one sentence: {said}");
    ensure!(said.contains("No space left") || said.contains("full"), "that the disk is full is not said: {said}");
    for word in words {
        ensure!(said.contains(word), "{word:?} is not said: {said}");
    }
    Ok(())
}

fn on_the_disk(disk: &Path) -> Result<()> {
    let node = TestNode::new()?;
    let song: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    node.deployment.publish(&node.work("free", FREE, &[("a.bin", b"small and free")])?)?;
    let large = node.work("large", &FREE.replace("free", "large").replace("Free", "Large"), &[("large.bin", &song)])?;
    let before = node.deployment.json(&["works"])?;
    let large = large.to_str().context("no UTF-8")?.to_owned();

    // Publishing: less room than the file has.
    let ballast = Ballast::leave(disk, 2 << 20)?;
    says(&node.deployment.run(&["publish", &large])?, &["the disk is full", "free some space"])?;
    ensure!(node.deployment.json(&["works"])? == before, "a publish that failed left a work");
    // Installing: none at all.
    ballast.lift()?;
    let ballast = Ballast::leave(disk, 0)?;
    let bundle = fondaco_tests::bundles::repack("pay-voucher", &std::env::temp_dir(), None, |t| t);
    ensure!(bundle.is_err(), "the disk is not full");
    let plugins = fs::read_to_string(node.deployment.path().join("fondaco.lock"))?;
    let voucher = node.bundle("pay-voucher")?.file.to_str().context("no UTF-8")?.to_owned();
    let output = node.deployment.run(&["plugin", "install", &voucher, "--grant", "all"])?;
    says(&output, &[])?;
    ensure!(fs::read_to_string(node.deployment.path().join("fondaco.lock"))? == plugins, "fondaco.lock was changed");
    ballast.lift()?;
    node.deployment.ok(&["check", "--deep"])?;
    ensure!(node.deployment.json(&["works"])? == before, "works were lost");

    running(&node, disk, &large)
}

/// The same with a node that runs.
fn running(node: &TestNode, disk: &Path, large: &str) -> Result<()> {
    let works = node.deployment.json(&["works"])?;
    let text =
        |pointer: &str| works.first().and_then(|w| w.pointer(pointer)).and_then(Value::as_str).map(str::to_owned);
    let (hash, work) = (text("/files/0/hash").context("no file")?, text("/work").context("no work")?);
    let running = node.deployment.up()?;
    let host = running.url.trim_start_matches("http://").to_owned();
    let mut buyer = Visitor::new(&running.url);
    let offer = buyer.page(&format!("/works/{work}"))?;
    let form =
        fondaco_tests::html::forms(&offer).into_iter().find(|f| f.action.contains("/buy")).context("no offer")?;

    let ballast = Ballast::leave(disk, 0)?;
    // What needs no room goes on.
    let file = http::send(&host, "GET", &format!("/files/{hash}/a.bin"), &[], b"")?;
    ensure!(file.status == 200 && file.body == b"small and free", "a file is no longer served: {}", file.status);
    ensure!(http::send(&host, "GET", "/", &[], b"")?.status == 200, "the shop's door is closed");
    // What needs room is refused in words, both on the page and on the command line.
    let answer = buyer.submit(&form)?;
    ensure!(answer.status >= 400, "an order was taken that could not be written: {} {}", answer.status, answer.text());
    says(&node.deployment.run(&["publish", large])?, &[])?;
    ballast.lift()?;

    // A log that could not be written is not written to again by that process: the node says so until it is started anew,
    // and then all goes on.
    ensure!(
        http::send(&host, "GET", "/healthz", &[], b"")?.status == 503,
        "a node whose log stopped calls itself well"
    );
    running.kill()?;
    let running = node.deployment.up()?;
    let host = running.url.trim_start_matches("http://").to_owned();
    buyer.moved_to(&running.url);
    let answer = buyer.submit(&form)?;
    ensure!(answer.status == 200, "{} {}\n{}", answer.status, answer.text(), running.log()?);
    ensure!(buyer.library()?.len() == 1, "the right that was bought is not there");
    node.deployment.ok(&["publish", large])?;
    ensure!(http::send(&host, "GET", "/healthz", &[], b"")?.status == 200, "not well");
    assert_eq!(running.stop()?, 0);
    node.deployment.ok(&["check", "--deep"])?;
    ensure!(node.deployment.json(&["works"])?.len() == 2, "two works were published");
    ensure!(node.deployment.json(&["orders"])?.len() == 1, "one order was made");
    Ok(())
}
