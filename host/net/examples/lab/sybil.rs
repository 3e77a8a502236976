//! Nodes that are there to be in the way: each speaks the hash table's protocol, knows only its kind, keeps nothing that it is
//! told, and says of every key that it has it.

use std::borrow::Cow;

use futures_util::StreamExt;
use libp2p::identity::Keypair;
use libp2p::kad::store::{Error, RecordStore, Result};
use libp2p::kad::{self, ProviderRecord, Record, RecordKey};
use libp2p::swarm::NetworkBehaviour;
use libp2p::{Multiaddr, PeerId, Swarm, identify, relay};

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
struct Behaviour {
    kad: kad::Behaviour<Lies>,
    identify: identify::Behaviour,
    relay: relay::client::Behaviour,
}

/// Starts so many, which know each other and come to all of `honest`.
pub async fn start(count: u64, first_port: u64, honest: &[(PeerId, Multiaddr)]) {
    let keys: Vec<Keypair> = (0..count).map(|_| Keypair::generate_ed25519()).collect();
    let at = |n: u64| -> Multiaddr { format!("/memory/{}", first_port + n).parse().unwrap() };
    let all: Vec<(PeerId, Multiaddr)> = (0..).zip(&keys).map(|(n, key)| (key.public().to_peer_id(), at(n))).collect();
    for (n, key) in (0..).zip(keys) {
        let me = key.public().to_peer_id();
        let (transport, client) = fondaco_net::memory::transport(me);
        let mut config = kad::Config::new(libp2p::StreamProtocol::new("/fondaco/kad/1"));
        config.set_periodic_bootstrap_interval(None);
        let identify = identify::Config::new("/fondaco/1".into(), key.public());
        let behaviour = Behaviour {
            kad: kad::Behaviour::with_config(me, Lies(me), config),
            identify: identify::Behaviour::new(identify),
            relay: client,
        };
        let alive = libp2p::swarm::Config::with_tokio_executor()
            .with_idle_connection_timeout(std::time::Duration::from_mins(10));
        let mut swarm = Swarm::new(transport, behaviour, me, alive);
        swarm.behaviour_mut().kad.set_mode(Some(kad::Mode::Server));
        swarm.listen_on(at(n)).unwrap();
        swarm.add_external_address(at(n));
        // Each knows some of its kind, all round.
        for step in 0..40 {
            let (peer, address) = &all[(usize::try_from(n).unwrap() * 7 + step * 13 + 1) % all.len()];
            swarm.behaviour_mut().kad.add_address(peer, address.clone());
        }
        for (peer, address) in honest {
            swarm.dial(address.clone().with(libp2p::multiaddr::Protocol::P2p(*peer))).unwrap();
        }
        tokio::spawn(async move {
            loop {
                swarm.select_next_some().await;
            }
        });
        // No node lets in as many at once as there are.
        if n % 25 == 24 {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
}
