//! A hash table in which twenty-five of twenty-six nodes are there to be in the way. `cargo lab hundreds sybils` has more
//! of them, and measures.

use std::time::Duration;

use fondaco_schemas::ReleaseId;
use libp2p::{Multiaddr, PeerId};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::finding::until;
use super::{Node, config, data};
use crate::{Config, Limits, Role, Transport, Want};

#[path = "../../examples/lab/sybil.rs"]
mod sybil;

const HONEST: u64 = 6;
const SYBILS: u64 = 150;
/// How long a fetch may take.
const PATIENCE: Duration = Duration::from_secs(30);

fn at(port: u64) -> Multiaddr {
    format!("/memory/{port}").parse().unwrap()
}

async fn node(port: u64, role: Role, bootstrap: &[(PeerId, Multiaddr)]) -> Node {
    let (listen, announce, bootstrap) = (vec![at(port)], vec![at(port)], bootstrap.to_vec());
    // The process is that of all of them, so its memory says nothing about one.
    let limits = Limits { memory_bytes: u64::MAX, ..Limits::default() };
    Node::new(Config { listen, announce, bootstrap, role, limits, transport: Transport::Memory, ..config("") }).await
}

/// What an honest node has.
struct Offer {
    key: ReleaseId,
    want: Want,
    /// Whom a link to it names: its owner, or somebody who knows the owner and has nothing.
    named: (PeerId, Multiaddr),
    /// Where whoever wants it begins.
    begin: (PeerId, Multiaddr),
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_link_names_comes_however_many_stand_in_the_hash_table() {
    let mut owners: Vec<(Node, (PeerId, Multiaddr))> = Vec::new();
    for port in 75_000..75_000 + HONEST {
        let bootstrap: Vec<_> = owners.first().map(|(_, place)| place.clone()).into_iter().collect();
        let owner = node(port, Role::Full, &bootstrap).await;
        let place = (owner.net.peer_id(), at(port));
        owners.push((owner, place));
    }
    // Of each owner somebody knows who came to it: others are told of an owner where it was dialled.
    let (mut knowing, mut offers) = (Vec::new(), Vec::new());
    for (port, (n, (owner, place))) in (75_010..).zip(owners.iter().enumerate()) {
        let knows = node(port, Role::Leaf, &[]).await;
        knows.net.connect(place.0, vec![place.1.clone()]).await.unwrap();
        for byte in (u8::try_from(n).unwrap()..24).step_by(owners.len()) {
            let (key, want) = (ReleaseId::new([100 + byte; 32]), owner.add(&data(40_000, byte)));
            knows.net.brought(key, vec![place.0]);
            let named = if byte < 12 { place.clone() } else { (knows.net.peer_id(), at(port)) };
            offers.push(Offer { key, want, named, begin: owners[usize::from(n == 0)].1.clone() });
        }
        knowing.push(knows);
    }
    let honest: Vec<(PeerId, Multiaddr)> = owners.iter().map(|(_, place)| place.clone()).collect();
    sybil::start(SYBILS, 75_100, &honest).await;
    for (owner, _) in &owners {
        until("the table is theirs", async || owner.net.status().await.unwrap().routing > 30).await;
    }
    for (n, (owner, _)) in owners.iter().enumerate() {
        // Those of one owner lie behind one another.
        let each = offers.len() / owners.len();
        owner.net.announce(offers[n * each..(n + 1) * each].iter().map(|offer| offer.key).collect()).await.unwrap();
    }
    for (owner, _) in &owners {
        until("everything is told", async || owner.net.status().await.unwrap().unannounced == 0).await;
    }
    let mut fetching = JoinSet::new();
    for (port, Offer { key, want, named: (peer, address), begin }) in (75_020..).zip(offers) {
        fetching.spawn(async move {
            let buyer = node(port, Role::Full, &[begin]).await;
            let fetch = buyer.net.fetch(vec![want], Some(key), vec![(peer, vec![address])]);
            let done = timeout(PATIENCE, fetch.done()).await;
            let is_here = matches!(done, Ok(Ok(_)));
            buyer.net.stop().await;
            is_here
        });
    }
    let here = fetching.join_all().await.into_iter().filter(|is_here| *is_here).count();
    assert_eq!(here, 24, "of 24 that links name");
}
