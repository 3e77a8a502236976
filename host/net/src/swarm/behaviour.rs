//! The protocols of a node: its transport and behaviours, with their limits, and the addresses it listens at.

use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use libp2p::identity::Keypair;
use libp2p::kad;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::{NetworkBehaviour, Swarm, SwarmEvent};
use libp2p::{
    Multiaddr, PeerId, autonat, connection_limits, dcutr, identify, mdns, memory_connection_limits, ping, relay,
};
use tokio::sync::mpsc;

use crate::book::Book;
use crate::config::{Config, Role, Transport};
use crate::error::{Error, Result};
use crate::gate::{Gate, Reach, ip_of, reach};
use crate::learnt::Learnt;
use crate::member::{self, Members};
use crate::providers::{LASTS, Providers};
use crate::reach::Reached;
use crate::streams::{Inbound, RETRY_MS, Streams};
use crate::{ASK, BLOB, KAD, MEMBER, ask, gossip, relaying, transport, wire};

/// How long a connection may be open unused.
const IDLE: Duration = Duration::from_mins(1);
/// Streams on one connection.
const MOST_STREAMS: u32 = 64;
/// How long listening may take to begin.
const LISTENING: Duration = Duration::from_secs(10);

/// All behaviours. Those that deny stand first.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    pub gate: Gate,
    pub limits: connection_limits::Behaviour,
    pub memory: memory_connection_limits::Behaviour,
    pub ping: ping::Behaviour,
    pub identify: identify::Behaviour,
    pub reached: Reached,
    pub kad: Learnt<kad::Behaviour<Providers>>,
    pub mdns: Toggle<mdns::tokio::Behaviour>,
    /// Asks peers whether they reach this node.
    pub tested: Learnt<autonat::v2::client::Behaviour>,
    /// Answers peers who ask that.
    pub tests: Toggle<autonat::v2::server::Behaviour>,
    pub relay: Toggle<relay::Behaviour>,
    pub relayed: relay::client::Behaviour,
    pub punch: Learnt<dcutr::Behaviour>,
    pub streams: Streams,
    pub asks: Streams,
    /// Listed peers of a private network who ask for this node's token.
    pub shown: Toggle<Streams>,
    pub gossip: gossip::Behaviour,
}

/// What the loop is made of.
pub(crate) struct Parts {
    pub(super) swarm: Swarm<Behaviour>,
    pub(super) config: Config,
    pub(super) book: Book,
    pub(super) members: Option<Arc<Members>>,
}

/// Where streams go that peers open.
pub(crate) struct Queues {
    pub blobs: mpsc::Sender<Inbound>,
    pub asks: mpsc::Sender<Inbound>,
    pub shown: mpsc::Sender<Inbound>,
}

/// Builds the swarm and begins to listen.
pub(crate) async fn open(
    config: Config,
    identity: Keypair,
    members: Option<Arc<Members>>,
    queues: Queues,
) -> Result<Parts> {
    let (book, bans) = match config.book.clone() {
        Some(path) => tokio::task::spawn_blocking(move || Book::load(&path)).await.map_err(|_| Error::Stopping)?,
        None => (Book::default(), Vec::new()),
    };
    let mut swarm = build(&config, &identity, members.as_ref(), queues)?;
    for (peer, time) in bans {
        swarm.behaviour_mut().gate.ban(peer, time);
    }
    let mode = match config.role {
        Role::Leaf => kad::Mode::Client,
        Role::Full | Role::Relay => kad::Mode::Server,
    };
    swarm.behaviour_mut().kad.set_mode(Some(mode));
    for address in &config.announce {
        swarm.add_external_address(address.clone());
    }
    for address in &config.listen {
        listen(&mut swarm, address).await?;
    }
    Ok(Parts { swarm, config, book, members })
}

/// Begins to listen at an address, or says why that cannot be.
async fn listen(swarm: &mut Swarm<Behaviour>, address: &Multiaddr) -> Result<()> {
    let fail = |why: String| Error::Listen { address: address.clone(), why };
    is_free(address).map_err(|e| fail(e.to_string()))?;
    let id = swarm.listen_on(address.clone()).map_err(|e| fail(e.to_string()))?;
    let begun = async {
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::NewListenAddr { listener_id, .. } if listener_id == id => return Ok(()),
                SwarmEvent::ListenerClosed { listener_id, reason, .. } if listener_id == id => {
                    return Err(reason.err().map_or_else(|| "it was closed".to_owned(), |e| e.to_string()));
                }
                SwarmEvent::ListenerError { listener_id, error } if listener_id == id => return Err(error.to_string()),
                _ => {}
            }
        }
    };
    match tokio::time::timeout(LISTENING, begun).await {
        Ok(begun) => begun.map_err(fail),
        Err(_) => Err(fail("it does not begin".into())),
    }
}

/// Whether nobody else listens there. The library lets several sockets share a port, so two nodes would both seem to be
/// there, and each would get some of the other's peers.
fn is_free(address: &Multiaddr) -> std::io::Result<()> {
    let Some(ip) = ip_of(address) else { return Ok(()) };
    for part in address {
        match part {
            Protocol::Tcp(port) if port != 0 => drop(std::net::TcpListener::bind((ip, port))?),
            Protocol::Udp(port) if port != 0 => drop(std::net::UdpSocket::bind((ip, port))?),
            _ => {}
        }
    }
    Ok(())
}

/// Whether this node keeps to itself: the local network, a private one, or this machine. Then peers may learn its local
/// addresses, and it believes theirs; else only those that can be reached from everywhere.
pub(super) fn is_local(config: &Config) -> bool {
    let mut all = config.listen.iter().chain(config.bootstrap.iter().map(|(_, address)| address)).peekable();
    let host_only = all.peek().is_some() && all.all(|a| reach(a) == Reach::Host);
    config.mdns || config.allow.is_some() || config.membership.is_some() || host_only
}

fn build(
    config: &Config,
    identity: &Keypair,
    members: Option<&Arc<Members>>,
    queues: Queues,
) -> Result<Swarm<Behaviour>> {
    let me = identity.public().to_peer_id();
    let (transport, client) = match config.transport {
        Transport::Sockets => transport::sockets(identity, MOST_STREAMS)?,
        Transport::Memory => crate::memory::transport(me),
    };
    let transport = match members {
        Some(members) => member::admitting(transport, members),
        None => transport,
    };
    let behaviour = behaviour(config, identity, me, members, queues, client)?;
    Ok(Swarm::new(transport, behaviour, me, tuned(libp2p::swarm::Config::with_tokio_executor())))
}

fn tuned(swarm: libp2p::swarm::Config) -> libp2p::swarm::Config {
    swarm
        .with_idle_connection_timeout(IDLE)
        .with_dial_concurrency_factor(NonZeroU8::new(4).unwrap_or(NonZeroU8::MIN))
        .with_max_negotiating_inbound_streams(32)
        .with_smart_dial()
}

fn behaviour(
    config: &Config,
    identity: &Keypair,
    me: PeerId,
    members: Option<&Arc<Members>>,
    queues: Queues,
    relayed: relay::client::Behaviour,
) -> Result<Behaviour> {
    let local = is_local(config);
    let refusal = wire::frame(&wire::Answer::Busy(RETRY_MS)).unwrap_or_default();
    let most = config.limits.connections.max(8);
    let limits = connection_limits::ConnectionLimits::default()
        .with_max_pending_incoming(Some(64))
        .with_max_pending_outgoing(Some(32))
        .with_max_established_incoming(Some(most - most / 7))
        .with_max_established_outgoing(Some(most / 4 + 1))
        .with_max_established(Some(most))
        // One each way, one to carry much, a relayed one, and one that tests whether this node is reached.
        .with_max_established_per_peer(Some(5));
    let identify = identify::Config::new("/fondaco/1".into(), identity.public())
        .with_agent_version(concat!("fondaco/", env!("CARGO_PKG_VERSION")).into())
        .with_push_listen_addr_updates(true)
        // Whom we know where we keep ourselves; a peer's word is not dialled unseen.
        .with_cache_size(0)
        .with_hide_listen_addrs(!local);
    let mut kad = kad::Config::new(KAD);
    kad.set_query_timeout(Duration::from_secs(30))
        .disjoint_query_paths(true)
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_provider_record_ttl(Some(LASTS))
        // We send them again ourselves, a few at a time.
        .set_provider_publication_interval(None)
        .set_publication_interval(None)
        .set_replication_interval(None)
        .set_caching(kad::Caching::Disabled)
        .set_kbucket_inserts(kad::BucketInserts::Manual)
        .set_max_packet_size(16 << 10);
    let mdns = if config.mdns {
        let mdns = mdns::tokio::Behaviour::new(mdns::Config::default(), me);
        Some(mdns.map_err(|e| Error::Transport { why: format!("mDNS: {e}") })?)
    } else {
        None
    };
    let memory = usize::try_from(config.limits.memory_bytes).unwrap_or(usize::MAX);
    Ok(Behaviour {
        gate: Gate::new(config.allow.clone(), members.cloned(), config.limits.connections_per_address.max(1), local),
        limits: connection_limits::Behaviour::new(limits),
        memory: memory_connection_limits::Behaviour::with_max_bytes(memory),
        ping: ping::Behaviour::default(),
        identify: identify::Behaviour::new(identify),
        reached: Reached::new(config, local),
        kad: Learnt::new(kad::Behaviour::with_config(me, Providers::new(me), kad), local, named(config)),
        mdns: mdns.into(),
        streams: Streams::new(BLOB, refusal, config.limits.streams_per_peer.max(1) as usize, queues.blobs),
        asks: Streams::new(ASK, ask::refusal(), ask::STREAMS_PER_PEER, queues.asks),
        shown: members.map(|_| Streams::new(MEMBER, member::refusal(), 1, queues.shown)).into(),
        gossip: gossip::behaviour(identity)?,
        tested: Learnt::new(autonat::v2::client::Behaviour::default(), local, []),
        tests: (config.role != Role::Leaf).then(autonat::v2::server::Behaviour::default).into(),
        relay: (config.role == Role::Relay).then(|| relaying::server(me, &config.relay, local)).into(),
        relayed,
        punch: Learnt::new(dcutr::Behaviour::new(me), local, []),
    })
}

/// Addresses of nodes that the operator named.
fn named(config: &Config) -> impl Iterator<Item = Multiaddr> {
    config.bootstrap.iter().chain(&config.relays).map(|(_, address)| address.clone())
}
