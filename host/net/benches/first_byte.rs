//! How long a player waits for its first byte of a file that is not here, over a line with 1 ms delay each way: of a fetch
//! that is connected, of one under way at full speed, and of one that first has to dial. `cargo figures fondaco-net`.
//!
//! The delay is made by a proxy between the two nodes, since not every machine may delay its loopback. Medians of 21.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark ends where something fails")]

#[path = "../examples/lab/line.rs"]
mod line;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fondaco_net::{Config, Future, Net, Shelf, Want};
use fondaco_schemas::{BlobHash, ReleaseId};
use fondaco_store::{Options, Store};
use fondaco_trust::KeyPair;

use crate::line::line;

const DELAY: Duration = Duration::from_millis(1);
const ROUNDS: usize = 21;
const SIZE: usize = 256 << 20;

struct Open;

impl Shelf for Open {
    fn envelope(&self, _: ReleaseId) -> Future<'_, Option<Vec<u8>>> {
        Box::pin(async { None })
    }
    fn is_public(&self, _: BlobHash) -> Future<'_, bool> {
        Box::pin(async { true })
    }
}

async fn node(listen: &str) -> (Net, Store, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Options::default()).unwrap();
    let listen = if listen.is_empty() { Vec::new() } else { vec![Config::listen_address(listen).unwrap()] };
    let config = Config { listen, ..Config::default() };
    let net = Net::start(config, &KeyPair::generate().unwrap(), store.clone(), Arc::new(Open)).await.unwrap();
    (net, store, dir)
}

fn show(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    println!("{what:<44} {:>8.1} {:>8.1}", ms(times[times.len() / 2]), ms(times[times.len() - 1]));
}

#[tokio::main]
async fn main() {
    let (publisher, from, _one) = node("/ip4/127.0.0.1/tcp/0").await;
    let mut bytes = vec![0; SIZE];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    let hash = from.import_reader(bytes.as_slice(), &|_| ()).unwrap().hash;
    let want = Want { hash, size: SIZE as u64, name: "file".into() };
    let address = publisher.status().await.unwrap().listening[0].to_string();
    let port: u16 = address.rsplit('/').next().unwrap().parse().unwrap();
    let at = (publisher.peer_id(), vec![line(SocketAddr::from(([127, 0, 0, 1], port)), DELAY).await]);
    println!("first byte of a file that is not here, 1 ms delay each way: ms, median and worst of {ROUNDS}");
    let (mut cold, mut warm, mut busy) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS as u64 {
        let (player, _to, _two) = node("").await;
        let begin = Instant::now();
        let fetch = player.fetch_when_read(vec![want.clone()], None, vec![at.clone()]);
        fetch.read(hash, 0..1000).unwrap().next().await.unwrap().unwrap();
        cold.push(begin.elapsed());
        let place = (SIZE as u64 / 2 + round * 3_000_000).next_multiple_of(10);
        let begin = Instant::now();
        fetch.read(hash, place..place + 1000).unwrap().next().await.unwrap().unwrap();
        warm.push(begin.elapsed());
        fetch.all();
        while fetch.bytes() < 24 << 20 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let place = SIZE as u64 - 5_000_000 - round * 3_000_000;
        let begin = Instant::now();
        fetch.read(hash, place..place + 1000).unwrap().next().await.unwrap().unwrap();
        busy.push(begin.elapsed());
        drop(fetch);
        player.stop().await;
    }
    show("nothing connected: dial, then fetch", cold);
    show("connected, nothing under way", warm);
    show("a fetch under way at full speed", busy);
}
