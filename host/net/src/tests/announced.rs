//! Many releases told to the hash table, while others tell it of things that nobody wants.

use std::time::{Duration, Instant};

use fondaco_schemas::ReleaseId;
use libp2p::{Multiaddr, PeerId};

use super::finding::until;
use super::{Node, config};
use crate::{Config, Transport};

fn release(n: u64) -> ReleaseId {
    let mut bytes = [5; 32];
    bytes[..8].copy_from_slice(&n.to_le_bytes());
    ReleaseId::new(bytes)
}

async fn node(port: u64, bootstrap: &[(PeerId, Multiaddr)]) -> Node {
    let at: Multiaddr = format!("/memory/{port}").parse().unwrap();
    let bootstrap = bootstrap.to_vec();
    let (listen, announce) = (vec![at.clone()], vec![at]);
    Node::new(Config { listen, announce, bootstrap, transport: Transport::Memory, ..config("") }).await
}

async fn told(node: &Node) {
    until("everything is told", async || {
        let status = node.net.status().await.unwrap();
        status.announcing > 0 && status.unannounced == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_releases_are_told_at_once_and_found_however_much_others_tell() {
    let hub = node(72_000, &[]).await;
    let first = [(hub.net.peer_id(), "/memory/72000".parse().unwrap())];
    let mut others = Vec::new();
    for port in 72_001..72_010 {
        others.push(node(port, &first).await);
    }
    let (publisher, spammer, buyer) = (&others[0], &others[1], &others[2]);
    for node in &others {
        until("it knows the others", async || node.net.status().await.unwrap().routing > 0).await;
    }
    spammer.net.announce((1_000_000..1_030_000).map(release).collect()).await.unwrap();
    let begin = Instant::now();
    publisher.net.announce((0..2_000).map(release).collect()).await.unwrap();
    told(publisher).await;
    assert!(begin.elapsed() < Duration::from_secs(12), "{:?}", begin.elapsed());
    let mut found = 0;
    for n in (0..2_000).step_by(100) {
        let providers = buyer.net.providers(release(n), Duration::from_secs(2)).await;
        found += usize::from(providers.iter().any(|(peer, at)| *peer == publisher.net.peer_id() && !at.is_empty()));
    }
    assert_eq!(found, 20, "with an address to dial");
    // Its own records are where no spam is, and what was told is counted.
    let metrics = publisher.net.metrics().await.unwrap();
    assert!(metrics.contains("fondaco_swarm_provider_records{whose=\"ours\"} 2000\n"), "{metrics}");
    let sent = metrics.lines().find_map(|l| l.strip_prefix("fondaco_swarm_announcements_total{outcome=\"sent\"} "));
    assert!(sent.unwrap().parse::<u64>().unwrap() >= 2_000 * 4, "several nodes keep each");
}
