//! The whole node beside programs of others, on this machine and in one run: importing beside sendme, files beside nginx,
//! pages beside `wasmtime serve` with a hello-world component. What is printed are medians, and ratios, which travel
//! better between machines than seconds do.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::measure::{Load, cpu_seconds, download, median, memory_mib, wrk};
use crate::bundles::{self, Key};
use crate::node::{Deployment, Running};
use crate::tasks::steps::step;
use crate::workspace::{self, PLUGINS};
use crate::{http, program};

const WASMTIME: &str = "48.0.8";
pub(super) const SENDME: &str = "0.37.1";
pub(super) const SIZE: u64 = 1 << 30;
const RUNS: usize = 5;
const SECONDS: u32 = 5;

/// Prints the table.
pub fn run(works: u32) -> Result<()> {
    let peers = step("Fetching the peers (minutes, once)", || Ok((Peers::fetch()?, String::new())))?;
    let fondaco = step("Building fondaco for release", || Ok((release()?, String::new())))?;
    let scratch = scratch()?;
    let shop = step("Making a shop", || {
        let deployment = shop(scratch.path(), &fondaco)?;
        let remark = format!("{} plugins", PLUGINS.len());
        Ok((deployment, remark))
    })?;
    step("Writing 1 GiB that no one can share", || Ok((big_file(scratch.path())?, String::new())))?;
    step("Publishing a catalogue", || Ok((catalogue(&shop, scratch.path(), works)?, format!("{works} works"))))?;

    println!("\nmedians of {RUNS}; a ratio is ours / theirs\n");
    import(&shop, &peers, scratch.path())?;
    start(&shop)?;
    let node = shop.up()?;
    pages(&node, &peers, scratch.path(), works)?;
    files(&node, &shop, scratch.path())?;
    ensure!(node.stop()? == 0, "the node did not stop as it should");
    Ok(())
}

pub(super) fn row(what: &str, ours: &str, theirs: &str, ratio: f64, mark: &str) {
    println!("{what:<46} {ours:>14} {theirs:>14} {ratio:>7.2}  {mark}");
}

/// Programs of others. nginx, wrk and curl are Debian's; the rest is built by cargo into `target/tools`.
struct Peers {
    wasmtime: PathBuf,
    sendme: PathBuf,
    hello: PathBuf,
}

impl Peers {
    fn fetch() -> Result<Self> {
        for (tool, package) in [("nginx", "nginx-light"), ("wrk", "wrk"), ("curl", "curl")] {
            if program::find(tool).is_none() && !Path::new("/usr/sbin").join(tool).is_file() {
                program::install(&[package], "figures are set beside those of other programs")?;
            }
        }
        let features = "run,serve,component-model-async,cranelift,parallel-compilation,pooling-allocator";
        let plain = ["--no-default-features", "--features", features];
        let (wasmtime, sendme) =
            (built("wasmtime-cli", "wasmtime", WASMTIME, &plain)?, built("sendme", "sendme", SENDME, &[])?);
        Ok(Self { wasmtime, sendme, hello: hello()? })
    }
}

pub(super) fn built(package: &str, name: &str, version: &str, options: &[&str]) -> Result<PathBuf> {
    let root = workspace::target()?.join("tools");
    let found = root.join("bin").join(name);
    if !found.is_file() {
        let mut cargo = workspace::cargo();
        cargo.args(["install", "--quiet", "--locked", package, "--version", version, "--root"]).arg(&root);
        program::answer(cargo.args(options)).with_context(|| format!("{package} is not built"))?;
    }
    Ok(found)
}

/// A component that answers every request with one line: what `wasmtime serve` is asked to serve.
fn hello() -> Result<PathBuf> {
    workspace::ensure_target()?;
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--quiet", "-p", "hello", "--profile", "plugin", "--target", workspace::TARGET]);
    program::answer(&mut cargo)?;
    Ok(workspace::target()?.join(workspace::TARGET).join("plugin/hello.wasm"))
}

pub(super) fn release() -> Result<PathBuf> {
    program::answer(workspace::cargo().args(["build", "--quiet", "--release", "-p", "fondaco"]))?;
    workspace::build()?;
    Ok(workspace::target()?.join("release/fondaco"))
}

/// In memory where the machine has a folder for that, so that no disk is measured.
pub(super) fn scratch() -> Result<tempfile::TempDir> {
    let shm = Path::new("/dev/shm");
    let parent = if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() };
    tempfile::tempdir_in(parent).context("no folder for the data")
}

fn shop(scratch: &Path, fondaco: &Path) -> Result<Deployment> {
    let key = Key::at(&scratch.join("figures.key"))?;
    let deployment = Deployment::init(&scratch.join("shop"), "Figures", "A shop to be measured")?;
    deployment.trust(&key)?;
    let deployment = deployment.with_program(fondaco.to_owned());
    for plugin in PLUGINS {
        deployment.install(&bundles::pack(plugin, &scratch.join("bundles"), &key)?.file)?;
    }
    Ok(deployment)
}

fn big_file(scratch: &Path) -> Result<()> {
    let folder = scratch.join("big");
    fs::create_dir_all(&folder)?;
    let mut random = fs::File::open("/dev/urandom")?;
    let mut file = fs::File::create(folder.join("big.bin"))?;
    let copied = std::io::copy(&mut std::io::Read::take(&mut random, SIZE), &mut file)?;
    ensure!(copied == SIZE, "/dev/urandom ended");
    fs::write(folder.join("work.toml"), about("big", 0))?;
    Ok(())
}

fn about(slug: &str, number: u32) -> String {
    const WORDS: [&str; 8] = ["Machine", "Harbour", "Lantern", "Winter", "Salt", "Orchard", "Signal", "River"];
    let word = |n: u32| WORDS.get(n as usize % WORDS.len()).copied().unwrap_or_default();
    let title = format!("{} {} {number}", word(number), word(number / 8));
    format!(
        "slug = \"{slug}\"\nkind = \"book\"\ntitle = \"{title}\"\ncreators = [\"Author {}\"]\nlicense = \"CC0-1.0\"\n\
         tags = [\"{}\"]\n[[offers]]\nid = \"free\"\nprice = \"0.00 EUR\"\n",
        number % 97,
        word(number / 3).to_lowercase(),
    )
}

/// Many small works, published through the running node by several clients at once.
fn catalogue(shop: &Deployment, scratch: &Path, works: u32) -> Result<()> {
    const CLIENTS: u32 = 4;
    let node = shop.up()?;
    std::thread::scope(|scope| {
        let publish = |client| {
            for number in (client..works).step_by(CLIENTS as usize) {
                let (slug, folder) = (format!("work-{number}"), scratch.join(format!("work-{number}")));
                fs::create_dir_all(&folder)?;
                fs::write(folder.join("work.toml"), about(&slug, number))?;
                fs::write(folder.join("text.txt"), format!("This is work {number}.\n"))?;
                shop.publish(&folder)?;
                fs::remove_dir_all(&folder)?;
            }
            Ok(())
        };
        let clients: Vec<_> = (0..CLIENTS).map(|client| scope.spawn(move || publish(client))).collect();
        clients.into_iter().try_for_each(|c| c.join().unwrap_or_else(|_| bail!("a client panicked")))
    })?;
    ensure!(node.stop()? == 0, "the node did not stop as it should");
    Ok(())
}

/// 1 GiB into the store, and the same by sendme, up to where it could be shared. CPU seconds.
fn import(shop: &Deployment, peers: &Peers, scratch: &Path) -> Result<()> {
    let source = scratch.join("big");
    let (mut copied, mut in_place, mut theirs, mut peak) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let program = shop.command()?.get_program().to_owned();
    for run in 0..RUNS {
        for (option, costs) in [(None, &mut copied), (Some("--in-place"), &mut in_place)] {
            // Another folder each time: what is there already is not imported again.
            let folder = scratch.join("import");
            program::remove(&folder)?;
            let fresh = Deployment::init(&folder, "Import", "")?;
            let mut command = Command::new(&program);
            command.arg("-C").arg(fresh.path()).args(["--json", "publish"]).args(option).arg(&source);
            let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
            let (cpu, mib) = to_its_end(child).with_context(|| format!("run {run}: {}", program::show(&command)))?;
            costs.push(cpu);
            peak.push(mib);
            program::remove(&folder)?;
        }
        theirs.push(sendme(&peers.sendme, &source.join("big.bin"), scratch)?);
    }
    let theirs = median(theirs);
    for (what, ours) in [("publish 1 GiB, copied", copied), ("publish 1 GiB, in place", in_place)] {
        let ours = median(ours);
        let said = (format!("{ours:.2} CPU s"), format!("{theirs:.2} CPU s"));
        row(&format!("{what} / sendme's import, in place"), &said.0, &said.1, ours / theirs, "mark < 1");
    }
    println!("{:<46} {:>10.0} MiB {:>31}", "  peak of resident memory", median(peak), "mark < 64 MiB");
    Ok(())
}

/// Waits for a child, and reads what it cost while it is a zombie: gone from the processors, not yet from the books.
fn to_its_end(mut child: Child) -> Result<(f64, f64)> {
    let mut peak = 0.0_f64;
    loop {
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.id()))?;
        if stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')) {
            break;
        }
        peak = peak.max(memory_mib(child.id(), "VmHWM").unwrap_or(0.0));
        std::thread::sleep(Duration::from_millis(5));
    }
    let cpu = cpu_seconds(child.id())?;
    let status = child.wait()?;
    ensure!(status.success(), "it failed: {status}");
    Ok((cpu, peak))
}

fn sendme(program: &Path, file: &Path, scratch: &Path) -> Result<f64> {
    let folder = scratch.join("sendme");
    fs::create_dir_all(&folder)?;
    let mut command = Command::new(program);
    command.args(["send", "--relay", "disabled", "--ticket-type", "addresses"]).arg(file).current_dir(&folder);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let out = BufReader::new(child.stdout.take().context("sendme has no output")?);
    // It says what the hash is when the import is done, then waits for someone to come.
    let shared = out.lines().map_while(Result::ok).any(|line| line.contains("sendme receive"));
    let cpu = cpu_seconds(child.id());
    let _ = child.kill();
    child.wait()?;
    program::remove(&folder)?;
    ensure!(shared, "sendme ended before it shared anything");
    cpu
}

/// From the command to an open shop, with what compiled before in the cache.
fn start(shop: &Deployment) -> Result<()> {
    let (mut millis, mut resident) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let started = Instant::now();
        let node = shop.up()?;
        millis.push(started.elapsed().as_secs_f64() * 1000.0);
        ensure!(http::send(host(&node)?, "GET", "/", &[], b"")?.status == 200, "the front page does not answer");
        resident.push(memory_mib(node.id(), "VmRSS")?);
        node.stop()?;
    }
    println!("{:<46} {:>11.0} ms {:>32}", "start with five plugins", median(millis), "mark <= 300 ms");
    println!("{:<46} {:>10.0} MiB {:>32}", "  resident memory after a page", median(resident), "mark <= 100 MiB");
    Ok(())
}

fn host(node: &Running) -> Result<&str> {
    node.url.strip_prefix("http://").context("the node's address is no http address")
}

/// Pages as they come when many ask for the same one (the gateway keeps it for a second), and as they come when each
/// address is asked for once, so that each is made.
fn pages(node: &Running, peers: &Peers, scratch: &Path, works: u32) -> Result<()> {
    let port = free_port()?;
    let mut wasmtime = Command::new(&peers.wasmtime);
    wasmtime
        .args(["serve", "-S", "cli=y", "-O", "pooling-allocator=y", "--addr", &format!("127.0.0.1:{port}")])
        .arg(&peers.hello);
    let wasmtime = Server::start(&mut wasmtime, port)?;
    let hello = format!("http://127.0.0.1:{port}/");
    let mut theirs = Vec::new();
    let targets = ["/", "/search?q=harbour", "/about"];
    let (mut kept, mut anew) = (vec![Vec::new(); targets.len()], vec![Vec::new(); targets.len()]);
    let script = scratch.join("anew.lua");
    for run in 0..RUNS {
        theirs.push(wrk(&[wasmtime.id()], &hello, SECONDS, None)?);
        for ((target, kept), anew) in targets.iter().zip(&mut kept).zip(&mut anew) {
            let address = format!("{}{target}", node.url);
            kept.push(wrk(&[node.id()], &address, SECONDS, None)?);
            // The shop takes no parameter of this name, so the page is the same, and the address is another each time.
            let next = if target.contains('?') { '&' } else { '?' };
            let lua = format!(
                "local n = 0\nrequest = function()\n  n = n + 1\n  \
                 return wrk.format(\"GET\", \"{target}{next}n={run}-\" .. n)\nend\n"
            );
            fs::write(&script, lua)?;
            anew.push(wrk(&[node.id()], &address, SECONDS, Some(&script))?);
        }
    }
    for ((target, kept), anew) in targets.iter().zip(&kept).zip(&anew) {
        for (how, loads) in [("kept", kept), ("made anew", anew)] {
            compare(&format!("{target} of {works} works, {how} / wasmtime serve hello"), loads, &theirs, "mark >= 2");
        }
    }
    Ok(())
}

/// Two rows for two servers under the same load: answers a second, and CPU time for each.
fn compare(what: &str, ours: &[Load], theirs: &[Load], mark: &str) {
    let of = |loads: &[Load], get: fn(&Load) -> f64| median(loads.iter().map(get).collect());
    let (a, b) = (of(ours, |l| l.per_second), of(theirs, |l| l.per_second));
    row(what, &format!("{a:.0} /s"), &format!("{b:.0} /s"), a / b, mark);
    let (a, b) = (of(ours, |l| l.cpu_micros), of(theirs, |l| l.cpu_micros));
    row("  CPU of the server for each", &format!("{a:.0} us"), &format!("{b:.0} us"), a / b, "");
}

fn files(node: &Running, shop: &Deployment, scratch: &Path) -> Result<()> {
    shop.publish(&scratch.join("big"))?;
    let works = shop.json(&["works"])?;
    let named = |slug: &str| {
        let ends = format!("/{slug}");
        let is = |w: &&Value| w.get("work").and_then(Value::as_str).is_some_and(|id| id.ends_with(&ends));
        let hash = works.iter().find(is)?.pointer("/files/0/hash")?.as_str()?.to_owned();
        Some(format!("{}/files/{hash}", node.url))
    };
    let (big, small) = (named("big").context("no big work")?, named("work-0").context("no small work")?);
    let (big, small) = (format!("{big}/big.bin"), format!("{small}/text.txt"));
    let root = scratch.join("nginx");
    fs::create_dir_all(&root)?;
    fs::hard_link(scratch.join("big/big.bin"), root.join("big.bin"))?;
    fs::write(root.join("text.txt"), "This is work 0.\n")?;
    let (nginx, port) = nginx(&root)?;
    let theirs = format!("http://127.0.0.1:{port}");
    let nginx_ids = nginx.with_children()?;

    let range = format!("1-{}", SIZE - 1);
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        a.push(download(&[node.id()], &big, &range, SIZE - 1)?);
        b.push(download(&nginx_ids, &format!("{theirs}/big.bin"), &range, SIZE - 1)?);
    }
    let of = |runs: &[(f64, f64)], get: fn(&(f64, f64)) -> f64| median(runs.iter().map(get).collect());
    let rate = |wall: f64| 1024.0 / wall;
    let (ours, its) = (rate(of(&a, |r| r.0)), rate(of(&b, |r| r.0)));
    row(
        "1 GiB range, one connection / nginx",
        &format!("{ours:.0} MiB/s"),
        &format!("{its:.0} MiB/s"),
        ours / its,
        "mark >= 0.7",
    );
    let (ours, its) = (of(&a, |r| r.1), of(&b, |r| r.1));
    row("  CPU of the server", &format!("{ours:.2} s"), &format!("{its:.2} s"), ours / its, "");

    let script = scratch.join("range.lua");
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        for (address, ids, loads) in
            [(&big, vec![node.id()], &mut a), (&format!("{theirs}/big.bin"), nginx_ids.clone(), &mut b)]
        {
            let path = address.splitn(4, '/').nth(3).unwrap_or_default();
            let mut lua = fs::File::create(&script)?;
            writeln!(lua, "math.randomseed(7)\nrequest = function()\n  local i = math.random(0, 1023) * 1048576")?;
            writeln!(lua, "  local range = \"bytes=\" .. i .. \"-\" .. (i + 1048575)")?;
            writeln!(lua, "  return wrk.format(\"GET\", \"/{path}\", {{ [\"Range\"] = range }})\nend")?;
            loads.push(wrk(&ids, address, SECONDS, Some(&script))?);
        }
    }
    compare("random ranges of 1 MiB / nginx", &a, &b, "mark >= 0.9");
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        a.push(wrk(&[node.id()], &small, SECONDS, None)?);
        b.push(wrk(&nginx_ids, &format!("{theirs}/text.txt"), SECONDS, None)?);
    }
    compare("a file of 16 bytes / nginx", &a, &b, "mark >= 0.8");
    Ok(())
}

pub(super) fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn nginx(root: &Path) -> Result<(Server, u16)> {
    let port = free_port()?;
    let user = if program::is_root() { "user root;" } else { "" };
    let here = root.display();
    let settings = format!(
        "{user} daemon off; worker_processes 1; pid {here}/pid; error_log {here}/err.log;\n\
         events {{ worker_connections 4096; }}\n\
         http {{ access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 1000000000;\n\
         client_body_temp_path {here}/b; proxy_temp_path {here}/p; fastcgi_temp_path {here}/f;\n\
         uwsgi_temp_path {here}/u; scgi_temp_path {here}/s;\n\
         open_file_cache max=1000 inactive=600s; open_file_cache_valid 600s;\n\
         server {{ listen 127.0.0.1:{port} backlog=1024; root {here}; }} }}\n"
    );
    let file = root.join("nginx.conf");
    fs::write(&file, settings)?;
    let found = program::find("nginx").unwrap_or_else(|| "/usr/sbin/nginx".into());
    let mut command = Command::new(found);
    command.arg("-c").arg(&file).arg("-p").arg(root).arg("-e").arg(root.join("err.log"));
    Ok((Server::start(&mut command, port)?, port))
}

/// Somebody else's server. It is killed when this goes away.
pub(super) struct Server(Child);

impl Server {
    pub(super) fn start(command: &mut Command, port: u16) -> Result<Self> {
        let said = program::show(command);
        let server = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let server = Self(server.with_context(|| said.clone())?);
        let until = Instant::now() + Duration::from_secs(20);
        while Instant::now() < until {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(server);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("{said}: does not open port {port}")
    }

    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }

    /// nginx works in children of its first process.
    fn with_children(&self) -> Result<Vec<u32>> {
        let id = self.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        let children = children.split_whitespace().filter_map(|id| id.parse().ok());
        Ok(std::iter::once(id).chain(children).collect())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The first process of nginx ends its workers when it is asked to, not when it is killed.
        if let Some(id) = i32::try_from(self.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        }
        std::thread::sleep(Duration::from_millis(200));
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
