//! What plugins cost, in one run: a call beside one of Extism with the same payload, an install by the command line with
//! and without compiled code in the cache, and the memory of a node on which a hundred memory bombs go off at once.
//!
//! Extism is built outside of the workspace (`tests/peers/extism`), since it brings another wasmtime along.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use super::measure::{median, memory_mib};
use super::peers::{release, row, scratch};
use crate::bundles::{self, Bundle, Key};
use crate::node::Deployment;
use crate::tasks::steps::step;
use crate::workspace::{self, PLUGINS};
use crate::{guests, http, program};

const RUNS: usize = 5;
/// What Extism's guests are built for: without WASI an instance has less to begin with.
const BARE: &str = "wasm32-unknown-unknown";
/// Requests at once, each of which sets off a bomb of every bomber.
const VISITORS: usize = 100;
const BOMBERS: usize = 4;
const STOREFRONT: &str = "storefront-shelf";

/// Prints the table.
pub fn run() -> Result<()> {
    let extism = step("Building Extism (minutes, once)", || Ok((Extism::build()?, String::new())))?;
    let fondaco = step("Building fondaco for release", || Ok((release()?, String::new())))?;
    step("Building the benchmark", || Ok((program::answer(bench().arg("--no-run"))?, String::new())))?;
    let scratch = scratch()?;
    let key = Key::at(&scratch.path().join("figures.key"))?;
    let packed = step("Packing the plugins", || {
        let pack = |plugin: &&str| bundles::pack(plugin, &scratch.path().join("bundles"), &key);
        Ok((PLUGINS.iter().map(pack).collect::<Result<Vec<_>>>()?, format!("{} plugins", PLUGINS.len())))
    })?;
    let stand = Stand { fondaco, key, packed, folder: scratch.path().to_owned() };

    println!("\nmedians of {RUNS}; a ratio is ours / theirs\n");
    calls(&extism)?;
    stand.install()?;
    stand.bombs()
}

/// Where a figure stands alone.
fn line(what: &str, value: &str, mark: &str) {
    println!("{what:<46} {value:>14} {:>24}{mark}", "");
}

/// The program that measures Extism, and its guest.
struct Extism {
    program: PathBuf,
    guest: PathBuf,
}

impl Extism {
    /// Does nothing that has been done.
    fn build() -> Result<Self> {
        workspace::ensure(BARE)?;
        let target = workspace::target()?.join("tools/extism");
        let build = |arguments: &[&str]| {
            let mut cargo = workspace::cargo();
            cargo.current_dir(workspace::root().join("tests/peers/extism"));
            cargo.args(["build", "--quiet", "--locked"]).args(arguments).arg("--target-dir").arg(&target);
            program::answer(&mut cargo)
        };
        build(&["-p", "extism-bench", "--release"])?;
        build(&["-p", "extism-guest", "--profile", "guest", "--target", BARE])?;
        let guest = target.join(BARE).join("guest/extism_guest.wasm");
        Ok(Self { program: target.join("release/extism-bench"), guest })
    }
}

/// Ours.
fn bench() -> Command {
    let mut cargo = workspace::cargo();
    cargo.args(["bench", "--quiet", "-p", "fondaco-runtime", "--bench", "echo"]);
    cargo
}

/// A row of either: the median of many calls.
#[derive(Deserialize)]
struct Call {
    instance: String,
    bytes: usize,
    ns: f64,
}

/// Microseconds by instance and payload, of each run.
type Calls = BTreeMap<(String, usize), Vec<f64>>;

fn take(into: &mut Calls, said: &str) -> Result<()> {
    for line in said.lines() {
        let call: Call = serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))?;
        into.entry((call.instance, call.bytes)).or_default().push(call.ns / 1000.0);
    }
    Ok(())
}

/// Bytes in and bytes out. What both keep between calls, and what both make anew; and, since a call of this node has a
/// fresh instance while Extism's plugins are usually kept, the one beside the other.
fn calls(extism: &Extism) -> Result<()> {
    let (mut ours, mut theirs) = (Calls::new(), Calls::new());
    for _ in 0..RUNS {
        take(&mut ours, &program::answer(bench().args(["--", "--json"]))?)?;
        take(&mut theirs, &program::answer(Command::new(&extism.program).arg(&extism.guest))?)?;
    }
    let of = |calls: &Calls, instance: &str, bytes: usize| {
        let found = calls.get(&(instance.to_owned(), bytes)).filter(|times| times.len() == RUNS);
        found.cloned().map(median).with_context(|| format!("no figure for {bytes} bytes in a {instance} instance"))
    };
    for (a, b, name) in [
        ("kept", "kept", "a kept instance / Extism's"),
        ("fresh", "fresh", "a fresh instance / Extism's"),
        ("fresh", "kept", "a fresh instance / Extism's, kept"),
    ] {
        for (bytes, size) in [(0, "no bytes"), (1 << 10, "1 KiB"), (64 << 10, "64 KiB")] {
            let (ours, theirs) = (of(&ours, a, bytes)?, of(&theirs, b, bytes)?);
            let mark = if a == b && bytes > 0 { "mark <= 0.25" } else { "" };
            row(&format!("{size}, {name}"), &format!("{ours:.2} us"), &format!("{theirs:.2} us"), ours / theirs, mark);
        }
    }
    Ok(())
}

/// What installs and bombs are tried with.
struct Stand {
    fondaco: PathBuf,
    key: Key,
    packed: Vec<Bundle>,
    folder: PathBuf,
}

impl Stand {
    /// A deployment in a new folder.
    fn deployment(&self) -> Result<Deployment> {
        let folder = self.folder.join("shop");
        program::remove(&folder)?;
        let deployment = Deployment::init(&folder, "Figures", "A shop to be measured")?;
        deployment.trust(&self.key)?;
        Ok(deployment.with_program(self.fondaco.clone()))
    }

    /// From the command to its end, the largest of our plugins: where nothing was compiled before, and again after it was
    /// removed, which leaves its code in the cache.
    fn install(&self) -> Result<()> {
        let (mut cold, mut cached) = (Vec::new(), Vec::new());
        let sized = self.packed.iter().map(|b| Ok((fs::metadata(&b.file)?.len(), b))).collect::<Result<Vec<_>>>()?;
        let (bytes, bundle) = sized.into_iter().max_by_key(|(bytes, _)| *bytes).context("there are no plugins")?;
        for _ in 0..RUNS {
            let shop = self.deployment()?;
            let cache = shop.path().join("data/cache");
            ensure!(compiled(&cache) == 0, "a new folder's cache is not empty");
            cold.push(installing(&shop, bundle)?);
            shop.ok(&["plugin", "remove", &bundle.id])?;
            ensure!(compiled(&cache) == 1, "the cache does not keep what was compiled");
            cached.push(installing(&shop, bundle)?);
        }
        let name = bundle.id.rsplit('.').next().unwrap_or_default();
        let what = format!("install {name} ({} KiB), compiled", bytes >> 10);
        line(&what, &format!("{:.0} ms", median(cold)), "mark <= 2000 ms");
        line("  from the cache", &format!("{:.0} ms", median(cached)), "mark <= 50 ms");
        Ok(())
    }

    /// A node with its default budget. Every visitor's search asks all bombers, each of which takes memory until it gets no
    /// more; the storefront may wait for as many of them at once as there are places.
    fn bombs(&self) -> Result<()> {
        let shop = self.deployment()?;
        let storefront = self.packed.iter().find(|b| b.id.ends_with(STOREFRONT)).context("there is no storefront")?;
        shop.install(&storefront.file)?;
        let component = guests::file("hostile")?;
        for number in 1..=BOMBERS {
            let id = format!("org.fondaco.bomber-{number}");
            let wishes = "[capabilities.storage]\n[limits]\ndeadline = \"2s\"\n";
            shop.install(&guests::pack(&component, &id, "search", wishes, &self.folder.join("bombers"), &self.key)?)?;
        }
        let mut settings = fs::File::options().append(true).open(shop.path().join("fondaco.toml"))?;
        writeln!(settings, "\n[plugins.\"{}\".limits]\nconcurrency = 32", storefront.id)?;
        drop(settings);

        let (mut before, mut peaks, mut bombs) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..RUNS {
            let node = shop.up()?;
            let host = node.url.strip_prefix("http://").context("the node's address is no http address")?;
            let page = |target: &str| http::send(host, "GET", target, &[], b"");
            ensure!(page("/")?.status == 200, "the front page does not answer");
            before.push(memory_mib(node.id(), "VmHWM")?);
            std::thread::scope(|scope| {
                let visitors: Vec<_> = (0..VISITORS).map(|_| scope.spawn(|| page("/search?q=hoard"))).collect();
                // An answer, or the word that the node is busy; nobody is cut off.
                visitors.into_iter().try_for_each(|v| match v.join() {
                    Ok(answer) => answer.map(drop),
                    Err(_) => bail!("a visitor panicked"),
                })
            })?;
            peaks.push(memory_mib(node.id(), "VmHWM")?);
            bombs.push(went_off(&page("/metrics")?.text()));
            ensure!(page("/")?.status == 200, "the front page does not answer after the bombs");
            ensure!(node.stop()? == 0, "the node did not stop as it should");
        }
        let most = peaks.iter().copied().fold(0.0, f64::max);
        let (before, peak, bombs) = (median(before), median(peaks), median(bombs));
        ensure!(bombs >= 1.0 && peak > before, "no bomb went off");
        line(
            &format!("{VISITORS} memory bombs at once, peak of the node"),
            &format!("{peak:.0} MiB"),
            "mark < 512 MiB",
        );
        println!("  the most of {RUNS}: {most:.0} MiB; {before:.0} MiB before; {bombs:.0} bombs went off in all");
        Ok(())
    }
}

/// Wall milliseconds.
fn installing(shop: &Deployment, bundle: &Bundle) -> Result<f64> {
    let started = Instant::now();
    shop.install(&bundle.file)?;
    Ok(started.elapsed().as_secs_f64() * 1000.0)
}

/// How many plugins' code a cache has.
fn compiled(cache: &Path) -> usize {
    let Ok(entries) = fs::read_dir(cache) else { return 0 };
    entries.filter_map(Result::ok).filter(|e| e.path().extension().is_some_and(|x| x == "cwasm")).count()
}

/// How many searches the bombers ended with an answer: they say one when there is no more memory.
fn went_off(metrics: &str) -> f64 {
    let is_bomb = |line: &&str| {
        line.starts_with("fondaco_plugin_calls_total{plugin=\"org.fondaco.bomber-")
            && line.contains("function=\"find\",outcome=\"answered\"")
    };
    metrics.lines().filter(is_bomb).filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}
