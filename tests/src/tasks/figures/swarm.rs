//! Transfer beside rqbit (BitTorrent, not encrypted) and sendme (iroh, encrypted), on this machine and in one run, program
//! beside program: one source, three sources, many files. What a transfer cost is the CPU time of both sides together.
//!
//! Ours ends where theirs end: the files are on disk, verified. `fondaco seed` leaves them in the node's store, from which it
//! gives them on, as rqbit does with its folder; `fondaco get` copies them out besides.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::measure::{cpu_seconds, median, memory_mib};
use super::peers::{SENDME, SIZE, Server, built, free_port, release, scratch};
use crate::node::{Deployment, Running};
use crate::tasks::steps::step;
use crate::{bundles, http, program};

const RQBIT: &str = "9.1.0";
const RUNS: usize = 5;
const FILES: u64 = 2_000;
/// Bytes of a piece of a torrent.
const PIECE: u64 = 1 << 20;
/// How long a peer may take to be ready.
const PATIENCE: Duration = Duration::from_mins(2);

/// What one transfer cost.
#[derive(Clone, Copy)]
struct Cost {
    wall: f64,
    cpu: f64,
    receiver: f64,
    sender: f64,
}

/// Prints the table.
pub fn run() -> Result<()> {
    let sendme =
        step("Building sendme (minutes, once)", || Ok((built("sendme", "sendme", SENDME, &[])?, SENDME.into())))?;
    let rqbit = step("Building rqbit (minutes, once)", || Ok((built("rqbit", "rqbit", RQBIT, &[])?, RQBIT.into())))?;
    let fondaco = step("Building fondaco for release", || Ok((release()?, String::new())))?;
    let tools = Tools { fondaco, rqbit, sendme };
    println!("\nmedians of {RUNS}; a ratio is ours / theirs\n");
    println!("{:<38} {:>8} {:>12} {:>14} {:>12}", "", "wall s", "CPU s, both", "MiB, receiver", "MiB, sender");
    let scratch = scratch()?;
    let one = vec![SIZE];
    measure(&tools, scratch.path(), "1 GiB, one source", &one, 1)?;
    measure(&tools, scratch.path(), "1 GiB, three sources", &one, 3)?;
    let many: Vec<u64> = (0..FILES).map(|i| (64 << 10) + (i.wrapping_mul(2_654_435_761) % (960 << 10))).collect();
    measure(&tools, scratch.path(), "2,000 files, one source", &many, 1)?;
    Ok(())
}

struct Tools {
    fondaco: PathBuf,
    rqbit: PathBuf,
    sendme: PathBuf,
}

/// One block of the table: the same files from so many sources, by each program in turn.
fn measure(tools: &Tools, scratch: &Path, what: &str, sizes: &[u64], sources: usize) -> Result<()> {
    let here = scratch.join("data");
    program::remove(&here)?;
    let work = here.join("work");
    write(&work, sizes)?;
    let torrent = torrent(&here, &work, sizes)?;
    let nodes = Nodes::start(&tools.fondaco, &here, &work, sources)?;
    let seeders: Vec<_> = (0..sources).map(|_| rqbit_seeder(&tools.rqbit, &work, &torrent)).collect::<Result<_>>()?;
    let sender = (sources == 1).then(|| sendme_sender(&tools.sendme, &here, &work)).transpose()?;
    let total: u64 = sizes.iter().sum();
    let into = here.join("into");
    let mut costs = vec![Vec::new(); 4];
    for _ in 0..RUNS {
        for (way, costs) in costs.iter_mut().enumerate() {
            program::remove(&into)?;
            fs::create_dir_all(&into)?;
            let cost = match way {
                0 => nodes.receive(&tools.fondaco, &into, "seed")?,
                1 => nodes.receive(&tools.fondaco, &into, "get")?,
                2 => rqbit_receiver(&tools.rqbit, &torrent, &seeders, &into)?,
                _ => match &sender {
                    Some((server, ticket)) => sendme_receiver(&tools.sendme, server, ticket, &into)?,
                    None => continue,
                },
            };
            let there = bytes_in(&into)?;
            ensure!(there >= total, "{there} bytes of {total} are there after a transfer");
            costs.push(cost);
        }
    }
    let names = ["fondaco seed", "fondaco get (and copied out)", "rqbit", "sendme"];
    let mut medians = Vec::new();
    println!("{what}, {} MiB", total >> 20);
    for (name, costs) in names.iter().zip(&costs).filter(|(_, costs)| !costs.is_empty()) {
        let of = |get: fn(&Cost) -> f64| median(costs.iter().map(get).collect());
        let (wall, cpu) = (of(|c| c.wall), of(|c| c.cpu));
        let (receiver, sender) = (of(|c| c.receiver), of(|c| c.sender));
        println!("  {name:<36} {wall:>8.2} {cpu:>12.2} {receiver:>14.0} {sender:>12.0}");
        medians.push((wall, cpu));
    }
    if let [ours, _, rqbit, rest @ ..] = medians.as_slice() {
        let ratio = |name: &str, theirs: &(f64, f64), mark: &str| {
            let (wall, cpu) = (ours.0 / theirs.0, ours.1 / theirs.1);
            println!("  {:<36} {wall:>8.2} {cpu:>12.2}  {mark}", format!("fondaco seed / {name}"));
        };
        ratio("rqbit", rqbit, "mark: CPU <= 0.8, wall <= 1");
        if let [sendme] = rest {
            ratio("sendme", sendme, "mark: CPU <= 0.5, wall <= 1");
        }
    }
    println!();
    Ok(())
}

/// Writes files that nobody can compress, and what makes them a work.
fn write(work: &Path, sizes: &[u64]) -> Result<()> {
    fs::create_dir_all(work)?;
    let mut random = fs::File::open("/dev/urandom")?;
    for (number, size) in sizes.iter().enumerate() {
        let mut file = fs::File::create(work.join(name(number)))?;
        let copied = std::io::copy(&mut std::io::Read::take(&mut random, *size), &mut file)?;
        ensure!(copied == *size, "/dev/urandom ended");
    }
    let about = "slug = \"data\"\nkind = \"other\"\ntitle = \"Data\"\ncreators = [\"Nobody\"]\nlicense = \"CC0-1.0\"\n\
                 [[offers]]\nid = \"free\"\nprice = \"0.00 EUR\"\n";
    Ok(fs::write(work.join("work.toml"), about)?)
}

fn name(number: usize) -> String {
    format!("file-{number:04}.bin")
}

fn bytes_in(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        sum += if meta.is_dir() { bytes_in(&entry.path())? } else { meta.len() };
    }
    Ok(sum)
}

/// A process that ended: its wall time and CPU seconds, and what those that served it spent meanwhile.
fn transfer(command: &mut Command, servers: &[u32]) -> Result<Cost> {
    for server in servers {
        // proc(5): the peak begins anew.
        fs::write(format!("/proc/{server}/clear_refs"), "5")?;
    }
    let spent = || servers.iter().map(|id| cpu_seconds(*id)).sum::<Result<f64>>();
    let before = spent()?;
    let (started, mut receiver) = (Instant::now(), 0.0_f64);
    let said = program::show(command);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    // Until it is a zombie: gone from the processors, not yet from the books.
    loop {
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.id()))?;
        if stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')) {
            break;
        }
        receiver = receiver.max(memory_mib(child.id(), "VmHWM").unwrap_or(0.0));
        ensure!(started.elapsed() < PATIENCE, "{said}: does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
    let wall = started.elapsed().as_secs_f64();
    let cpu = cpu_seconds(child.id())?;
    let status = child.wait()?;
    if !status.success() {
        let mut words = String::new();
        let _ = std::io::Read::read_to_string(&mut child.stderr.take().context("no standard error")?, &mut words);
        bail!("{said} failed:\n{}", program::tail(&words, 10));
    }
    let served = spent()? - before;
    let sender = servers.iter().map(|id| memory_mib(*id, "VmHWM")).sum::<Result<f64>>()?;
    Ok(Cost { wall, cpu: cpu + served, receiver, sender })
}

/// Nodes that have the work.
struct Nodes {
    running: Vec<Running>,
    link: String,
}

impl Nodes {
    fn start(fondaco: &Path, here: &Path, work: &Path, count: usize) -> Result<Self> {
        let (mut running, mut link): (Vec<Running>, _) = (Vec::new(), String::new());
        for number in 0..count {
            let listens = "listen = [\"/ip4/127.0.0.1/tcp/0\", \"/ip4/127.0.0.1/udp/0/quic-v1\"]\n";
            let node = node(fondaco, &here.join(format!("node-{number}")), listens)?;
            if number == 0 {
                link = bundles::text(&node.publish(work)?, "link")?;
            } else {
                node.ok(&["seed", &link])?;
            }
            let node = node.up()?;
            for address in &node.swarm {
                link.push(if link.contains('?') { '&' } else { '?' });
                link.push_str("p=");
                link.push_str(address);
            }
            running.push(node);
        }
        Ok(Self { running, link })
    }

    fn receive(&self, fondaco: &Path, into: &Path, how: &str) -> Result<Cost> {
        let node = node(fondaco, &into.join("node"), "")?;
        let ids: Vec<u32> = self.running.iter().map(Running::id).collect();
        let mut command = node.command()?;
        command.arg(how).arg(&self.link);
        if how == "get" {
            command.arg("--out").arg(into.join("out"));
        }
        transfer(&mut command, &ids)
    }
}

fn node(fondaco: &Path, folder: &Path, listens: &str) -> Result<Deployment> {
    let node = Deployment::init(folder, "Swarm", "")?;
    let file = folder.join("fondaco.toml");
    let text = fs::read_to_string(&file)?;
    fs::write(&file, text.replacen("enabled = false\n", &format!("enabled = true\n{listens}"), 1))?;
    Ok(node.with_program(fondaco.to_owned()))
}

/// A torrent of the files (BEP 3), the SHA-1 of whose pieces coreutils make.
fn torrent(here: &Path, work: &Path, sizes: &[u64]) -> Result<PathBuf> {
    let names: Vec<String> = (0..sizes.len()).map(name).collect();
    let mut command = Command::new("sh");
    command.current_dir(work).args(["-c", "cat \"$@\" | split -b 1048576 --filter=sha1sum -", "sh"]).args(&names);
    let mut pieces = Vec::new();
    for line in program::answer(&mut command)?.lines() {
        let hex = line.get(..40).context("sha1sum says no sum")?;
        for at in (0..40).step_by(2) {
            pieces.push(u8::from_str_radix(hex.get(at..at + 2).context("sha1sum says no sum")?, 16)?);
        }
    }
    let text = |text: &str| format!("{}:{text}", text.len());
    let mut out = Vec::new();
    write!(out, "d{}d", text("info"))?;
    if let [size] = sizes {
        write!(out, "{}i{size}e{}{}", text("length"), text("name"), text(&name(0)))?;
    } else {
        write!(out, "{}l", text("files"))?;
        for (size, name) in sizes.iter().zip(&names) {
            write!(out, "d{}i{size}e{}l{}ee", text("length"), text("path"), text(name))?;
        }
        // The folder's name is that of the work's, so that a seeder finds it there.
        write!(out, "e{}{}", text("name"), text("work"))?;
    }
    write!(out, "{}i{PIECE}e{}{}:", text("piece length"), text("pieces"), pieces.len())?;
    out.extend_from_slice(&pieces);
    out.extend_from_slice(b"ee");
    let file = here.join("data.torrent");
    fs::write(&file, out)?;
    Ok(file)
}

/// rqbit that talks to nobody but those whom it is told of.
fn rqbit(program: &Path, port: u16) -> Command {
    let mut command = Command::new(program);
    command.args(["-v", "error", "--disable-dht", "--disable-lsd", "--disable-trackers", "--ipv4-only"]);
    command.args(["--disable-upnp-port-forward", "--listen-ip", "127.0.0.1", "--listen-port", &port.to_string()]);
    command
}

fn rqbit_seeder(program: &Path, work: &Path, torrent: &Path) -> Result<(Server, u16)> {
    let (port, api) = (free_port()?, free_port()?);
    // One file lies in the folder, a folder of files beside it.
    let single = !fs::read(torrent)?.starts_with(b"d4:infod5:files");
    let folder = if single { work } else { work.parent().context("the work lies nowhere")? };
    let mut command = rqbit(program, port);
    command.arg("--http-api-listen-addr").arg(format!("127.0.0.1:{api}"));
    command.args(["download", "--overwrite", "-o"]).arg(folder).arg(torrent);
    let server = Server::start(&mut command, api)?;
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let said = http::send(&format!("127.0.0.1:{api}"), "GET", "/torrents/0/stats/v1", &[], b"");
        let said = said.ok().and_then(|answer| serde_json::from_slice::<Value>(&answer.body).ok());
        let is = |name: &str, value: Value| said.as_ref().and_then(|s| s.get(name)) == Some(&value);
        if is("finished", true.into()) && is("state", "live".into()) {
            return Ok((server, port));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    bail!("rqbit does not begin to seed")
}

fn rqbit_receiver(program: &Path, torrent: &Path, seeders: &[(Server, u16)], into: &Path) -> Result<Cost> {
    let peers: Vec<String> = seeders.iter().map(|(_, port)| format!("127.0.0.1:{port}")).collect();
    let ids: Vec<u32> = seeders.iter().map(|(server, _)| server.id()).collect();
    let mut command = rqbit(program, free_port()?);
    command.args(["download", "--disable-http-api", "-e", "--initial-peers", &peers.join(","), "-o"]);
    transfer(command.arg(into).arg(torrent), &ids)
}

/// sendme without a relay, on loopback.
fn sendme(program: &Path, what: &str) -> Command {
    let mut command = Command::new(program);
    command.args([what, "--relay", "disabled", "--no-progress", "--magic-ipv4-addr", "127.0.0.1:0"]);
    command
}

/// Somebody else's program that serves without a port that could be asked. It is killed when this goes away.
struct Sender(Child);

impl Drop for Sender {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn sendme_sender(program: &Path, here: &Path, work: &Path) -> Result<(Sender, String)> {
    let folder = here.join("sendme");
    fs::create_dir_all(&folder)?;
    let mut command = sendme(program, "send");
    command.args(["--ticket-type", "addresses"]).arg(work).current_dir(&folder);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut sender = Sender(child);
    let out = BufReader::new(sender.0.stdout.take().context("sendme has no output")?);
    for line in out.lines() {
        let line = line?;
        if let Some((_, ticket)) = line.split_once("sendme receive ") {
            return Ok((sender, ticket.trim().to_owned()));
        }
    }
    bail!("sendme ended before it shared anything")
}

fn sendme_receiver(program: &Path, sender: &Sender, ticket: &str, into: &Path) -> Result<Cost> {
    transfer(sendme(program, "receive").arg(ticket).current_dir(into), &[sender.0.id()])
}
