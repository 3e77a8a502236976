//! A hash table in which twenty-five of twenty-six nodes are there to be in the way. `cargo lab hundreds sybils` has more
//! of them, and measures.

use std::borrow::Cow;
use std::time::Duration;

use fondaco_schemas::ReleaseId;
use futures_util::StreamExt;
use libp2p::identity::Keypair;
use libp2p::kad::store::{Error, RecordStore, Result};
use libp2p::kad::{self, ProviderRecord, Record, RecordKey};
use libp2p::swarm::NetworkBehaviour;
use libp2p::{Multiaddr, PeerId, Swarm, identify, relay};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::finding::until;
use super::{Node, config, data};
use crate::{Config, KAD, Limits, Role, Transport, Want};

const HONEST: u64 = 6;
const SYBILS: u64 = 150;
/// How long a fetch may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Keeps nothing that it is told, and says of every key that it has it.
struct Lies(PeerId);

impl RecordStore for Lies {
    type RecordsIter<'a> = std::iter::Empty<Cow<'a, Record>>;
    type ProvidedIter<'a> = std::iter::Empty<Cow<'a, ProviderRecord>>;

    fn get(&self, _: &RecordKey) -> Option<Cow<'_, Record>> {
        None
    }
    fn put(&mut self, _: Record) -> Result<()> {
        Err(Error::MaxRecords)
    }
    fn remove(&mut self, _: &RecordKey) {}
    fn records(&self) -> Self::RecordsIter<'_> {
        std::iter::empty()
    }
    fn add_provider(&mut self, _: ProviderRecord) -> Result<()> {
        Ok(())
    }
    fn providers(&self, key: &RecordKey) -> Vec<ProviderRecord> {
        vec![ProviderRecord { key: key.clone(), provider: self.0, expires: None, addresses: Vec::new() }]
    }
    fn provided(&self) -> Self::ProvidedIter<'_> {
        std::iter::empty()
    }
    fn remove_provider(&mut self, _: &RecordKey, _: &PeerId) {}
}

#[derive(NetworkBehaviour)]
struct Sybil {
    kad: kad::Behaviour<Lies>,
    identify: identify::Behaviour,
    relay: relay::client::Behaviour,
}

fn at(port: u64) -> Multiaddr {
    format!("/memory/{port}").parse().unwrap()
}

/// Starts all of them; they know each other, and come to every honest node.
async fn sybils(honest: &[(PeerId, Multiaddr)]) {
    let port = |n: u64| at(75_100 + n % SYBILS);
    let keys: Vec<Keypair> = (0..SYBILS).map(|_| Keypair::generate_ed25519()).collect();
    let ids: Vec<PeerId> = keys.iter().map(|key| key.public().to_peer_id()).collect();
    for (n, key) in (0..).zip(keys) {
        let me = key.public().to_peer_id();
        let (transport, client) = crate::memory::transport(me);
        let mut config = kad::Config::new(KAD);
        config.set_periodic_bootstrap_interval(None);
        let identify = identify::Config::new("/fondaco/1".into(), key.public());
        let behaviour = Sybil {
            kad: kad::Behaviour::with_config(me, Lies(me), config),
            identify: identify::Behaviour::new(identify),
            relay: client,
        };
        let alive = libp2p::swarm::Config::with_tokio_executor().with_idle_connection_timeout(Duration::from_mins(10));
        let mut swarm = Swarm::new(transport, behaviour, me, alive);
        swarm.behaviour_mut().kad.set_mode(Some(kad::Mode::Server));
        swarm.listen_on(port(n)).unwrap();
        swarm.add_external_address(port(n));
        // Each knows some of its kind, all round.
        for step in 0..40 {
            let other = (n * 7 + step * 13 + 1) % SYBILS;
            swarm.behaviour_mut().kad.add_address(&ids[usize::try_from(other).unwrap()], port(other));
        }
        for (peer, address) in honest {
            swarm.dial(address.clone().with_p2p(*peer).unwrap()).unwrap();
        }
        tokio::spawn(async move {
            loop {
                swarm.select_next_some().await;
            }
        });
        // No node lets in as many at once as there are.
        if n % 25 == 24 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
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
    sybils(&honest).await;
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
