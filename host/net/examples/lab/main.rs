//! Hundreds of nodes in one process, over memory: `cargo lab hundreds`. Each scenario prints what it measured.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a lab ends where something fails")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

mod line;
mod sybil;

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fondaco_net::{
    Answered, Config, Found, Future, Limits, Multiaddr, Net, PeerId, Question, Search, Shelf, Transport, Want, Whom,
};
use fondaco_schemas::{BlobHash, Release, ReleaseId, WorkId, WorkKind};
use fondaco_store::{Options, Store};
use fondaco_trust::KeyPair;
use tempfile::TempDir;

/// Everything is for everybody; one release is found, whatever is searched for.
#[derive(Default)]
struct Open {
    found: Vec<u8>,
}

impl Shelf for Open {
    fn envelope(&self, _: ReleaseId) -> Future<'_, Option<Vec<u8>>> {
        Box::pin(async { None })
    }
    fn is_public(&self, _: BlobHash) -> Future<'_, bool> {
        Box::pin(async { true })
    }
    fn answer(&self, _: PeerId, question: Question, most_bytes: usize) -> Future<'_, Answered> {
        let mut found = Found::default();
        let knows = matches!(question, Question::Search(_)) && found.push(self.found.clone(), most_bytes);
        Box::pin(std::future::ready(if knows { Answered::Found(found) } else { Answered::Nothing }))
    }
}

struct Node {
    net: Net,
    store: Store,
    at: Multiaddr,
    _folder: TempDir,
}

impl Node {
    async fn start(listen: Multiaddr, bootstrap: &[(PeerId, Multiaddr)]) -> Self {
        Self::with(listen, bootstrap, Open::default()).await
    }

    async fn with(listen: Multiaddr, bootstrap: &[(PeerId, Multiaddr)], shelf: Open) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Options::default()).unwrap();
        let memory = listen.to_string().starts_with("/memory");
        let config = Config {
            announce: if memory { vec![listen.clone()] } else { Vec::new() },
            transport: if memory { Transport::Memory } else { Transport::Sockets },
            listen: vec![listen.clone()],
            bootstrap: bootstrap.to_vec(),
            // The process is that of all of them, so its memory says nothing about one.
            limits: Limits { memory_bytes: u64::MAX, ..Limits::default() },
            ..Config::default()
        };
        let net = Net::start(config, &KeyPair::generate().unwrap(), store.clone(), Arc::new(shelf)).await.unwrap();
        let at = if memory { listen } else { net.status().await.unwrap().listening[0].clone() };
        Self { net, store, at, _folder: folder }
    }

    fn place(&self) -> (PeerId, Multiaddr) {
        (self.net.peer_id(), self.at.clone())
    }

    /// A figure of `/metrics`.
    async fn figure(&self, name: &str) -> f64 {
        let text = self.net.metrics().await.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("fondaco_swarm_{name} ")));
        line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in\n{text}"))
    }
}

fn memory(port: u64) -> Multiaddr {
    format!("/memory/{port}").parse().unwrap()
}

/// So many nodes, of which the first is everybody's beginning.
async fn many(count: u64, at: impl Fn(u64) -> Multiaddr) -> Vec<Node> {
    let mut nodes = vec![Node::start(at(0), &[]).await];
    for n in 1..count {
        // Some more than the first, so that not all knowledge is one node's.
        let known: Vec<_> = nodes.iter().rev().step_by(7).take(4).chain(&nodes[..1]).map(Node::place).collect();
        nodes.push(Node::start(at(n), &known).await);
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    nodes
}

fn release(n: u64) -> ReleaseId {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&n.to_le_bytes());
    ReleaseId::new(bytes)
}

/// CPU seconds of this process, and its resident bytes.
fn used() -> (f64, f64) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().unwrap();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let kib = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap().trim().trim_end_matches(" kB");
    ((ticks(11) + ticks(12)) / 100.0, kib.trim().parse::<f64>().unwrap() * 1024.0)
}

/// Waits until all that a node announces was told. Gives up after two minutes.
async fn told(node: &Node) -> f64 {
    let begin = Instant::now();
    while node.net.status().await.unwrap().unannounced > 0 {
        assert!(begin.elapsed() < Duration::from_mins(2), "{:?}", node.net.status().await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    begin.elapsed().as_secs_f64()
}

/// Ten thousand releases, while five others tell as many that nobody wants.
async fn announce() {
    let nodes = many(50, |n| memory(10_000 + n)).await;
    let publisher = &nodes[49];
    for (number, spammer) in (0_u64..).zip(&nodes[40..45]) {
        let spam = (0..20_000).map(|n| release(1_000_000 * (number + 2) + n)).collect();
        spammer.net.announce(spam).await.unwrap();
    }
    let before = used();
    publisher.net.announce((0..10_000).map(release).collect()).await.unwrap();
    let wall = told(publisher).await;
    let cpu = used().0 - before.0;
    let buyer = &nodes[20];
    let mut found = 0;
    for n in (0..10_000).step_by(100) {
        let providers = buyer.net.providers(release(n), Duration::from_secs(3)).await;
        found += u32::from(providers.iter().any(|(peer, _)| *peer == publisher.net.peer_id()));
    }
    let copies = publisher.figure("announcements_total{outcome=\"sent\"}").await;
    println!(
        "announce: 10,000 releases in {wall:.1} s among 50 nodes, five of which told 20,000 of their own at the same time; \
         {copies:.0} copies, {cpu:.1} CPU s of all nodes; {found} of 100 looked up are found"
    );
    assert!(wall <= 60.0 && found >= 99, "the mark is 60 s, and that they are found");
}

/// Twenty honest nodes and five hundred others.
async fn sybils() {
    let nodes = many(20, |n| memory(20_000 + n)).await;
    let honest: Vec<_> = nodes.iter().map(Node::place).collect();
    sybil::start(500, 21_000, &honest).await;
    tokio::time::sleep(Duration::from_secs(15)).await;
    let mut releases = Vec::new();
    for (n, node) in (0_u64..).zip(&nodes) {
        let bytes: Vec<u8> = (0..40_000_u64).map(|i| (i.wrapping_mul(n + 3) >> 5).to_le_bytes()[0]).collect();
        let imported = node.store.import_reader(&bytes[..], &|_| ()).unwrap();
        node.store.pin(imported.hash, "lab").unwrap();
        node.net.announce(vec![release(n)]).await.unwrap();
        releases.push((release(n), Want { hash: imported.hash, size: imported.size, name: "file".into() }));
    }
    tokio::time::sleep(Duration::from_secs(20)).await;
    let routing: usize = nodes[5].net.status().await.unwrap().routing;
    for (with_link, what) in [(false, "the hash table alone"), (true, "all routes")] {
        let (mut good, mut all, begin) = (0, 0, Instant::now());
        for round in 1..=5 {
            // Each fetches what another has, in a folder of its own.
            let tries = Arc::new(Mutex::new(0));
            let mut waiting = tokio::task::JoinSet::new();
            for n in 0..20_usize {
                let owner = (n + round * 3) % 20;
                let (key, want) = releases[owner].clone();
                let (peer, at) = nodes[owner].place();
                let begin_at = vec![nodes[n].place(), nodes[(n + 1) % 20].place()];
                let (tries, port) =
                    (Arc::clone(&tries), 22_000 + u64::from(with_link) * 5_000 + (round * 100 + n) as u64);
                waiting.spawn(async move {
                    let buyer = Node::start(memory(port), &begin_at).await;
                    let peers = if with_link { vec![(peer, vec![at])] } else { Vec::new() };
                    let fetch = buyer.net.fetch(vec![want], Some(key), peers);
                    let done = tokio::time::timeout(Duration::from_secs(40), fetch.done()).await;
                    if matches!(done, Ok(Ok(_))) {
                        *tries.lock().unwrap() += 1;
                    }
                    buyer.net.stop().await;
                });
            }
            while waiting.join_next().await.is_some() {}
            good += *tries.lock().unwrap();
            all += 20;
        }
        println!(
            "sybils: 500 against 20 honest ({routing} in a table), by {what}: {good} of {all} fetches, {:.1} s each round",
            begin.elapsed().as_secs_f64() / 5.0
        );
        assert!(!with_link || good * 100 >= all * 99, "with all routes it is 99 of 100");
    }
}

/// A node with fifty peers and nothing to do, over TCP.
async fn idle() {
    let nodes = many(51, |_| "/ip4/127.0.0.1/tcp/0".parse().unwrap()).await;
    for node in &nodes[1..] {
        let (peer, at) = nodes[0].place();
        let _ = node.net.connect(peer, vec![at]).await;
    }
    tokio::time::sleep(Duration::from_secs(20)).await;
    let before = used();
    let begin = Instant::now();
    tokio::time::sleep(Duration::from_secs(30)).await;
    let cpu = (used().0 - before.0) / begin.elapsed().as_secs_f64();
    let mut connections = 0;
    for node in &nodes {
        connections += node.net.status().await.unwrap().peers.len();
    }
    println!(
        "idle: 51 nodes in one process, {} connections each: {:.2} % of a core and {:.1} MiB for each",
        connections / 51,
        cpu * 100.0 / 51.0,
        used().1 / 51.0 / 1024.0 / 1024.0
    );
}

/// A searcher with 49 others at the ends of lines with 20 ms delay each way, each of which finds one work.
async fn search() {
    const DELAY: Duration = Duration::from_millis(20);
    let mut others = Vec::new();
    for n in 0..49 {
        let shelf = Open { found: signed(n) };
        others.push(Node::with("/ip4/127.0.0.1/tcp/0".parse().unwrap(), &[], shelf).await);
    }
    let searcher = Node::start("/ip4/127.0.0.1/tcp/0".parse().unwrap(), &[]).await;
    let mut whom = Vec::new();
    for other in &others {
        let port = other.at.to_string().split('/').nth(4).unwrap().parse().unwrap();
        let at = vec![line::line(([127, 0, 0, 1], port).into(), DELAY).await];
        searcher.net.connect(other.net.peer_id(), at.clone()).await.unwrap();
        whom.push((other.net.peer_id(), at));
    }
    let mut times = Vec::new();
    for n in 0_u64..200 {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&n.to_le_bytes());
        let search = Search {
            id: id.into(),
            hops: 0,
            wait_ms: 2_000,
            limit: 20,
            text: "owl".into(),
            kinds: Vec::new(),
            tags: Vec::new(),
            language: None,
            max_price: None,
            drm_free: false,
        };
        // Slower than the rate at which nodes stop answering one who asks.
        tokio::time::sleep(Duration::from_millis(150)).await;
        let begin = Instant::now();
        let late = tokio::time::sleep(Duration::from_secs(2));
        let heard = searcher.net.search(search, Whom::Only(whom.clone()), 49, late, None).await;
        times.push(begin.elapsed().as_secs_f64() * 1000.0);
        let found = heard.iter().filter(|one| matches!(&one.answer, Ok(works) if works.len() == 1)).count();
        assert_eq!(found, 49, "everybody answers");
    }
    times.sort_by(f64::total_cmp);
    println!(
        "search: 49 answers over lines with 20 ms delay each way: {:.0} ms the median of 200, {:.0} ms p95, {:.0} ms the worst",
        times[100], times[190], times[199]
    );
    assert!(times[190] <= 300.0, "the mark is 300 ms");
}

/// A signed release of somebody's.
fn signed(n: u64) -> Vec<u8> {
    let key = KeyPair::generate().unwrap();
    let release = Release {
        work: WorkId::new(key.public(), "work").unwrap(),
        sequence: 1,
        kind: WorkKind::Other,
        title: format!("Owl {n}"),
        creators: vec!["Lab".into()],
        description: String::new(),
        language: None,
        tags: Vec::new(),
        license: None,
        credits: Vec::new(),
        published: "2026-01-01T00:00:00Z".into(),
        files: Vec::new(),
        offers: Vec::new(),
        metadata: "{}".into(),
        home: None,
    };
    fondaco_trust::release::sign_release(&key, &release).unwrap().1
}

/// What the simulation begins with. In a namespace of its own, the loopback device's counters are ours alone.
async fn measure() {
    let wire = || {
        let text = fs::read_to_string("/proc/net/dev").unwrap();
        let line = text.lines().find_map(|l| l.trim().strip_prefix("lo:")).unwrap().to_owned();
        line.split_whitespace().nth(8).unwrap().parse::<f64>().unwrap()
    };
    let empty = used().1;
    let nodes = many(50, |_| "/ip4/127.0.0.1/tcp/0".parse().unwrap()).await;
    tokio::time::sleep(Duration::from_secs(25)).await;
    let mut connections = 0;
    for node in &nodes {
        connections += node.net.status().await.unwrap().peers.len();
    }
    let quiet = (wire(), used(), Instant::now());
    tokio::time::sleep(Duration::from_secs(30)).await;
    let hour = 3600.0 / quiet.2.elapsed().as_secs_f64();
    println!(
        "idle-bytes-an-hour = {:.0} # {connections} ends of connections",
        (wire() - quiet.0) * hour / connections as f64
    );
    println!("# {:.0} bytes resident for each node with {} connections", (used().1 - empty) / 50.0, connections / 50);

    let asker = &nodes[30];
    let before = (wire(), used().0, asker.figure("table_questions_total").await);
    for n in 0..200 {
        let _ = asker.net.providers(release(77_000_000 + n), Duration::from_millis(400)).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let questions = asker.figure("table_questions_total").await - before.2;
    println!("# {questions} questions of 200 look-ups");
    println!("question-and-answer-bytes = {:.0}", (wire() - before.0) / questions);
    println!("question-cpu-micros = {:.0}", (used().0 - before.1) * 1e6 / questions);

    let publisher = &nodes[49];
    let before = (wire(), used());
    publisher.net.announce((0..10_000).map(release).collect()).await.unwrap();
    let wall = told(publisher).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let copies = publisher.figure("announcements_total{outcome=\"sent\"}").await;
    println!("# {copies} copies told in {wall:.1} s over TCP with TLS, {:.1} CPU s", used().0 - before.1.0);
    println!("list-key-bytes = {:.0}", (wire() - before.0) / copies);
    println!("record-bytes = {:.0}", (used().1 - before.1.1) / copies);
}

#[tokio::main]
async fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let known = ["announce", "sybils", "idle", "search", "measure"];
    if let Some(other) = wanted.iter().find(|name| !known.contains(&name.as_str())) {
        eprintln!("there is no scenario {other:?}: choose of {}", known.join(", "));
        std::process::exit(2);
    }
    let is = |name: &str| wanted.is_empty() || wanted.iter().any(|w| w == name);
    for name in known {
        if !is(name) {
            continue;
        }
        match name {
            "announce" => announce().await,
            "sybils" => sybils().await,
            "idle" => idle().await,
            "search" => search().await,
            _ => measure().await,
        }
    }
}
