//! Nodes that nobody reaches: relays, holes, and who says whether a node is reached.

use std::time::Duration;

use futures_util::StreamExt;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, Swarm};

use super::finding::until;
use super::{Node, TCP, config, data};
use crate::{Config, RelayLimits, Role, Standing, Tested, Transport};

/// A relay that says where it is.
pub(super) async fn relay(given: Config) -> (Node, (PeerId, Multiaddr)) {
    let node = Node::new(Config { role: Role::Relay, announce: given.listen.clone(), ..given }).await;
    let (id, at) = node.address().await;
    (node, (id, at[0].clone()))
}

/// A port that is free now.
pub(super) fn free() -> Multiaddr {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()
}

fn through(relay: &(PeerId, Multiaddr)) -> Multiaddr {
    relay.1.clone().with(Protocol::P2p(relay.0)).with(Protocol::P2pCircuit)
}

async fn has_a_place(node: &Node) {
    until("the relay keeps a place", async || {
        let reached = node.net.reachability().await.unwrap();
        reached.standing == Standing::Relayed && reached.places.iter().all(|place| place.kept)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_behind_a_relay_is_found_through_it_and_then_spoken_with_directly() {
    let (relaying, relay) = relay(Config { listen: vec![free()], ..config("") }).await;
    let behind = Config { relays: vec![relay.clone()], relay_after: Duration::ZERO, ..config(TCP) };
    let behind = Node::new(behind).await;
    let want = behind.add(&data(9 << 20, 1));
    has_a_place(&behind).await;
    let links = behind.net.addresses().await.unwrap();
    assert_eq!(links, [through(&relay).with(Protocol::P2p(behind.net.peer_id()))], "its links lead to the relay");

    let buyer = Node::at(TCP).await;
    let peers = vec![(behind.net.peer_id(), vec![through(&relay)])];
    let fetched = buyer.net.fetch(vec![want.clone()], None, peers).done().await.unwrap();
    assert_eq!(fetched.bytes, want.size, "more than a circuit carries");
    let status = buyer.net.status().await.unwrap();
    let ways: Vec<bool> =
        status.peers.iter().filter(|p| p.id == behind.net.peer_id()).map(|peer| peer.relayed).collect();
    assert!(ways.contains(&false), "{status:?}");
    // One of the two dials is the connection; whose it is, is a matter of who was quicker.
    let punched = async |node: &Node| node.net.reachability().await.unwrap().punched.0;
    assert!(punched(&behind).await + punched(&buyer).await >= 1);
    assert_eq!(relaying.net.reachability().await.unwrap().relaying.0, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_its_operator_did_not_make_a_relay_is_none() {
    let full = Node::at(TCP).await;
    let (_relaying, relay) = relay(Config { listen: vec![free()], ..config("") }).await;
    let node = Node::at("").await;
    let (id, at) = full.address().await;
    node.net.connect(id, at).await.unwrap();
    node.net.connect(relay.0, vec![relay.1.clone()]).await.unwrap();
    until("both have said what they are", async || {
        let peers = node.net.status().await.unwrap().peers;
        peers.len() >= 2 && peers.iter().all(|peer| peer.agent.is_some())
    })
    .await;
    until("the relay is known as one", async || !node.net.reachability().await.unwrap().relays.is_empty()).await;
    assert_eq!(node.net.reachability().await.unwrap().relays, [relay.0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_carries_little_and_leads_few() {
    let memory = |listen: &str| {
        let listen = if listen.is_empty() { Vec::new() } else { vec![listen.parse().unwrap()] };
        Config { listen, transport: Transport::Memory, ..config("") }
    };
    let limits = RelayLimits { reservations: 1, circuit_bytes: 1 << 20, ..RelayLimits::default() };
    let (relaying, relay) = relay(Config { relay: limits, ..memory("/memory/71001") }).await;
    let behind = |port: u32| Config {
        relays: vec![relay.clone()],
        relay_after: Duration::ZERO,
        ..memory(&format!("/memory/{port}"))
    };
    let first = Node::new(behind(71002)).await;
    let (small, large) = (first.add(&data(200_000, 1)), first.add(&data(5 << 20, 2)));
    until("it has a place", async || first.net.reachability().await.unwrap().places.iter().any(|p| p.kept)).await;
    let second = Node::new(behind(71003)).await;
    until("the relay is full", async || !second.net.reachability().await.unwrap().refused.is_empty()).await;

    let buyer = Node::new(memory("")).await;
    let peers = || vec![(first.net.peer_id(), vec![through(&relay)])];
    let fetched = buyer.net.fetch(vec![small.clone()], None, peers()).done().await.unwrap();
    assert_eq!(fetched.bytes, small.size);
    assert!(buyer.net.status().await.unwrap().peers.iter().any(|p| p.id == first.net.peer_id() && p.relayed));
    let metrics = async || relaying.net.metrics().await.unwrap();
    assert!(metrics().await.contains("fondaco_swarm_relay_circuits_total 1\n"), "{}", metrics().await);
    // What is larger than a circuit carries breaks off where its bytes are used up, each time.
    let fetch = buyer.net.fetch(vec![large.clone()], None, peers());
    let done = tokio::time::timeout(Duration::from_secs(5), fetch.done()).await;
    assert!(!matches!(done, Ok(Ok(_))) && fetch.bytes() < large.size, "{done:?}");
    let text = metrics().await;
    let led = text.lines().find_map(|l| l.strip_prefix("fondaco_swarm_relay_circuits_total ")).unwrap();
    assert!((2..12).contains(&led.parse::<u64>().unwrap()), "{led} circuits");
    assert!(text.contains("fondaco_swarm_relay_reservations 1\n"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_is_asked_for_a_place_so_often_and_no_more() {
    let given = Config { listen: vec!["/memory/71021".parse().unwrap()], transport: Transport::Memory, ..config("") };
    let (relaying, relay) = relay(given).await;
    let me = Keypair::generate_ed25519().public().to_peer_id();
    let (transport, client) = crate::memory::transport(me);
    let alive = libp2p::swarm::Config::with_tokio_executor().with_idle_connection_timeout(Duration::from_mins(1));
    let mut swarm = Swarm::new(transport, client, me, alive);
    for _ in 0..20 {
        swarm.listen_on(through(&relay)).unwrap();
        let asks = async { while swarm.next().await.is_some() {} };
        let _ = tokio::time::timeout(Duration::from_millis(100), asks).await;
    }
    tokio::spawn(async move { while swarm.next().await.is_some() {} });
    let metrics = async || relaying.net.metrics().await.unwrap();
    let refused = "fondaco_swarm_relay_refused_total 8\n";
    until("eight of twenty are refused", async || metrics().await.contains(refused)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_learns_from_others_that_it_is_reached() {
    let tester = Node::at(TCP).await;
    let (id, at) = tester.address().await;
    let node = Node::new(Config { bootstrap: vec![(id, at[0].clone())], ..config(TCP) }).await;
    let own = node.address().await.1;
    until("the address is tested", async || {
        let reached = node.net.reachability().await.unwrap();
        let good = |tried: &crate::Tried| tried.tested == Tested::Reached && tried.told && own.contains(&tried.address);
        reached.standing == Standing::Direct && reached.addresses.iter().any(good)
    })
    .await;
    assert_eq!(node.net.reachability().await.unwrap().testers, 1);
}
