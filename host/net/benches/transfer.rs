//! One file from node to node over loopback, each node a process of its own: wall time, CPU seconds of both and their
//! memory, beside `cp` and `b3sum` on the same file in the same run. `cargo figures fondaco-net`.
//!
//! The size is 1 GiB, or what `FONDACO_BENCH_MIB` says. Files lie in `/dev/shm` where there is one, so that no disk is
//! measured. Medians of three by CPU seconds.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark ends where something fails")]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fondaco_net::{Config, Future, Net, Shelf, Want};
use fondaco_schemas::{BlobHash, ReleaseId};
use fondaco_store::{ImportMode, Options, Store};
use fondaco_trust::KeyPair;

struct Open;

impl Shelf for Open {
    fn envelope(&self, _: ReleaseId) -> Future<'_, Option<Vec<u8>>> {
        Box::pin(async { None })
    }
    fn is_public(&self, _: BlobHash) -> Future<'_, bool> {
        Box::pin(async { true })
    }
}

/// CPU seconds, user and system, and the most resident memory in MiB, of this process.
fn used() -> (f64, f64) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |i: usize| fields[i].parse::<f64>().unwrap();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    let peak: f64 = peak.trim().trim_end_matches(" kB").trim().parse().unwrap();
    // The clock of /proc ticks a hundred times a second.
    ((ticks(11) + ticks(12)) / 100.0, peak / 1024.0)
}

async fn start(dir: &Path, listen: &str) -> (Net, Store) {
    let store = Store::open(dir, Options::default()).unwrap();
    let listen = if listen.is_empty() { Vec::new() } else { vec![Config::listen_address(listen).unwrap()] };
    let config = Config { listen, ..Config::default() };
    let net = Net::start(config, &KeyPair::generate().unwrap(), store.clone(), Arc::new(Open)).await.unwrap();
    (net, store)
}

/// Serves until standard input ends.
async fn seed(dir: &str, source: &str, listen: &str) {
    let (net, store) = start(Path::new(dir), listen).await;
    let imported = store.import_file(source, ImportMode::Reference, &|_| ()).unwrap();
    let before = used().0;
    let address = net.addresses().await.unwrap()[0].to_string();
    println!("{} {} {address}", imported.hash, imported.size);
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await.unwrap().unwrap();
    let (cpu, peak) = used();
    println!("{} {peak}", cpu - before);
    net.stop().await;
}

async fn fetch(dir: &str, hash: &str, size: &str, address: &str) {
    let (net, _store) = start(Path::new(dir), "").await;
    let (peer, address) = Config::peer_address(address).unwrap();
    let want = Want { hash: hash.parse().unwrap(), size: size.parse().unwrap(), name: "file".into() };
    let (before, begin) = (used().0, Instant::now());
    net.fetch(vec![want], None, vec![(peer, vec![address])]).done().await.unwrap();
    let wall = begin.elapsed();
    let (cpu, peak) = used();
    println!("{} {} {peak}", wall.as_secs_f64(), cpu - before);
    net.stop().await;
}

fn numbers(line: &str) -> Vec<f64> {
    line.split_whitespace().map(|n| n.parse().unwrap()).collect()
}

fn once(folder: &Path, source: &Path, listen: &str) -> (f64, f64, f64, f64) {
    let me = std::env::current_exe().unwrap();
    let (there, here) = (folder.join("seed"), folder.join("fetch"));
    let mut seed = Command::new(&me)
        .args(["seed", there.to_str().unwrap(), source.to_str().unwrap(), listen])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(seed.stdout.take().unwrap()).lines();
    let ready = lines.next().unwrap().unwrap();
    let parts: Vec<&str> = ready.split(' ').collect();
    let output = Command::new(&me).args(["fetch", here.to_str().unwrap()]).args(&parts).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let fetched = numbers(std::str::from_utf8(&output.stdout).unwrap());
    seed.stdin.take().unwrap().write_all(b"\n").unwrap();
    let seeded = numbers(&lines.next().unwrap().unwrap());
    seed.wait().unwrap();
    fs::remove_dir_all(there).unwrap();
    fs::remove_dir_all(here).unwrap();
    (fetched[0], fetched[1] + seeded[0], fetched[2], seeded[1])
}

/// CPU seconds of children that ended.
fn children() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<f64> =
        stat.rsplit(')').next().unwrap().split_whitespace().skip(13).take(2).map(|n| n.parse().unwrap()).collect();
    (fields[0] + fields[1]) / 100.0
}

/// Wall time and CPU seconds of a command.
fn command(program: &str, arguments: &[&Path]) -> Option<(f64, f64)> {
    let (begin, before) = (Instant::now(), children());
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).status().ok()?;
    status.success().then(|| (begin.elapsed().as_secs_f64(), children() - before))
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match arguments.as_slice() {
        [_, "seed", dir, source, listen] => return runtime().block_on(seed(dir, source, listen)),
        [_, "fetch", dir, hash, size, address] => return runtime().block_on(fetch(dir, hash, size, address)),
        _ => {}
    }
    let mib: usize = std::env::var("FONDACO_BENCH_MIB").ok().and_then(|v| v.parse().ok()).unwrap_or(1024);
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() };
    let source = folder.path().join("source");
    let mut file = fs::File::create(&source).unwrap();
    let mut bytes = vec![0; 1 << 20];
    let mut noise = blake3::Hasher::new().finalize_xof();
    for _ in 0..mib {
        noise.fill(&mut bytes);
        file.write_all(&bytes).unwrap();
    }
    drop(file);
    println!("{mib} MiB, loopback, verified and encrypted, to a file");
    println!("{:<24} {:>8} {:>14} {:>14} {:>14}", "", "wall s", "CPU s, both", "MiB, receiver", "MiB, sender");
    let copy = folder.path().join("copy");
    if let Some((wall, cpu)) = command("cp", &[&source, &copy]) {
        println!("{:<24} {wall:>8.2} {cpu:>14.2}", "cp");
        fs::remove_file(&copy).unwrap();
    }
    if let Some((wall, cpu)) = command("b3sum", &[Path::new("--num-threads=1"), &source]) {
        println!("{:<24} {wall:>8.2} {cpu:>14.2}", "b3sum, one thread");
    }
    for (name, listen) in [("TCP", "/ip4/127.0.0.1/tcp/0"), ("QUIC", "/ip4/127.0.0.1/udp/0/quic-v1")] {
        let mut runs: Vec<_> = (0..3).map(|_| once(folder.path(), &source, listen)).collect();
        runs.sort_by(|a, b| a.1.total_cmp(&b.1));
        let (wall, cpu, receiver, sender) = runs[1];
        println!("{name:<24} {wall:>8.2} {cpu:>14.2} {receiver:>14.0} {sender:>14.0}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
