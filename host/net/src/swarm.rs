//! The swarm's private loop. It owns the libp2p swarm, answers the handle's messages, and waits for nothing but those two:
//! no disk and no plugin, since a loop that waits stalls every connection.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU8;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fondaco_schemas::PublicKey;
use futures_util::StreamExt;
use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::identity::Keypair;
use libp2p::kad::store::RecordStore;
use libp2p::kad::{self, QueryId, RecordKey};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, NetworkBehaviour, Swarm, SwarmEvent};
use libp2p::{
    Multiaddr, PeerId, autonat, connection_limits, dcutr, gossipsub, identify, mdns, memory_connection_limits, ping,
    relay,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::announce::{self, Announcer};
use crate::ask::{self, PeerAt};
use crate::book::{self, Book};
use crate::config::{Config, Role, Transport, bare, is_dialable, is_relayed, is_route};
use crate::doctor;
use crate::error::{Error, Result};
use crate::gate::{Gate, Offence, Reach, ip_of, may_be_named, placed, reach};
use crate::gossip::{self, Gossip, Heard};
use crate::learnt::Learnt;
use crate::member::{self, Members};
use crate::metrics::{Counted, Figures};
use crate::net::{Peer, Status};
use crate::pex::{self, Sharers};
use crate::providers::{LASTS, Providers};
use crate::reach::{Reachability, Reached, Standing};
use crate::relaying;
use crate::search::Candidate;
use crate::streams::{Inbound, RETRY_MS, Reply, Streams, is_tcp};
use crate::table;
use crate::transport;
use crate::wire;
use crate::{ASK, BLOB, KAD, MEMBER};

/// How long a connection may be open unused.
const IDLE: Duration = Duration::from_mins(1);
/// Streams on one connection.
const MOST_STREAMS: u32 = 64;
/// How often the loop looks after its peers.
const TICK: Duration = Duration::from_secs(30);
/// How often it is looked whose membership ended.
const LOOKING: Duration = Duration::from_secs(5);
/// How often the list of peers is saved.
const SAVING: Duration = Duration::from_mins(5);
/// Peers of the last time that are dialled at the start.
const OLD_FRIENDS: usize = 16;
/// Peers of the local network that are dialled.
const MOST_NEIGHBOURS: usize = 32;
/// How long listening may take to begin.
const LISTENING: Duration = Duration::from_secs(10);
/// How long a peer that was reached through a relay is given to be reached directly, before it is taken as it is.
const PUNCHING: Duration = Duration::from_secs(4);
/// Peers that are remembered for not having been reached directly; they are not waited for again.
const MOST_UNPUNCHED: usize = 256;
/// How often the loop looks whom it has given that long.
const BEAT: Duration = Duration::from_millis(500);
/// Peers of the hash table that are named as such that could be asked.
const MOST_KNOWN: usize = 256;
/// Addresses of one peer that are learnt.
const MOST_ADDRESSES: usize = 16;

/// What the handle asks.
#[derive(Debug)]
pub(crate) enum Command {
    Connect {
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        reply: oneshot::Sender<Result<()>>,
    },
    /// A connection that carries much for little, beside the one that there is.
    Widen {
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        reply: oneshot::Sender<Result<()>>,
    },
    Open {
        peer: PeerId,
        reply: Reply,
    },
    OpenAsk {
        peer: PeerId,
        reply: Reply,
    },
    Note {
        peer: PeerId,
        offence: Offence,
    },
    Brought {
        key: [u8; 32],
        peers: Vec<PeerId>,
    },
    Sharers {
        key: [u8; 32],
        asker: PeerId,
        reply: oneshot::Sender<Option<Vec<PeerAt>>>,
    },
    Reach {
        peer: PeerId,
        reply: oneshot::Sender<Option<Reach>>,
    },
    Find {
        key: [u8; 32],
        found: mpsc::Sender<(PeerId, Vec<Multiaddr>)>,
    },
    Announce {
        keys: HashSet<[u8; 32]>,
    },
    Channels {
        channels: Vec<(PublicKey, u64)>,
    },
    TellChannel {
        channel: PublicKey,
        sequence: u64,
        head: Vec<u8>,
    },
    Hear {
        heard: mpsc::Sender<Heard>,
    },
    Reachability(oneshot::Sender<Reachability>),
    Figures(oneshot::Sender<Figures>),
    Status(oneshot::Sender<Status>),
    Known(oneshot::Sender<Vec<Candidate>>),
}

/// All behaviours. Those that deny stand first.
#[derive(NetworkBehaviour)]
struct Behaviour {
    gate: Gate,
    limits: connection_limits::Behaviour,
    memory: memory_connection_limits::Behaviour,
    ping: ping::Behaviour,
    identify: identify::Behaviour,
    reached: Reached,
    kad: Learnt<kad::Behaviour<Providers>>,
    mdns: Toggle<mdns::tokio::Behaviour>,
    /// Asks peers whether they reach this node.
    tested: Learnt<autonat::v2::client::Behaviour>,
    /// Answers peers who ask that.
    tests: Toggle<autonat::v2::server::Behaviour>,
    relay: Toggle<relay::Behaviour>,
    relayed: relay::client::Behaviour,
    punch: Learnt<dcutr::Behaviour>,
    streams: Streams,
    asks: Streams,
    /// Listed peers of a private network who ask for this node's token.
    shown: Toggle<Streams>,
    gossip: gossip::Behaviour,
}

/// What the loop is made of.
pub(crate) struct Parts {
    swarm: Swarm<Behaviour>,
    config: Config,
    book: Book,
    members: Option<Arc<Members>>,
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
fn is_local(config: &Config) -> bool {
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

/// A query of the hash table that somebody waits for.
struct Finding {
    found: mpsc::Sender<(PeerId, Vec<Multiaddr>)>,
}

/// The loop and its state.
struct Loop {
    swarm: Swarm<Behaviour>,
    config: Config,
    book: Book,
    members: Option<Arc<Members>>,
    /// Whether it was said that this node's own membership ended.
    ended: bool,
    peers: HashMap<ConnectionId, Peer>,
    dialling: HashMap<PeerId, Vec<oneshot::Sender<Result<()>>>>,
    /// Peers that are connected through a relay and are given time to be connected directly.
    punching: HashMap<PeerId, Instant>,
    unpunched: HashSet<PeerId>,
    finding: HashMap<QueryId, Finding>,
    /// Where peers say that they are, while they are connected; believed as far as their connections reach.
    said: HashMap<PeerId, Vec<Multiaddr>>,
    sharers: Sharers,
    gossip: Gossip,
    /// The keys that are announced: those of releases, and those of channels.
    release_keys: HashSet<[u8; 32]>,
    channel_keys: HashSet<[u8; 32]>,
    announcer: Announcer,
    /// Peers in the buckets when everything was told last.
    known: usize,
    counted: Counted,
    saved: Instant,
}

/// Runs until `stop` says true.
pub(crate) async fn run(parts: Parts, mut commands: mpsc::Receiver<Command>, mut stop: watch::Receiver<bool>) {
    let Parts { swarm, config, book, members } = parts;
    let mut this = Loop {
        swarm,
        config,
        book,
        members,
        ended: false,
        peers: HashMap::new(),
        dialling: HashMap::new(),
        punching: HashMap::new(),
        unpunched: HashSet::new(),
        finding: HashMap::new(),
        said: HashMap::new(),
        sharers: Sharers::default(),
        gossip: Gossip::default(),
        release_keys: HashSet::new(),
        channel_keys: HashSet::new(),
        announcer: Announcer::default(),
        known: 1,
        counted: Counted::default(),
        saved: Instant::now(),
    };
    for (peer, addresses) in this.book.latest(OLD_FRIENDS) {
        this.dial(peer, addresses);
    }
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut look = tokio::time::interval(LOOKING);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = stop.wait_for(|s| *s) => break,
            event = this.swarm.select_next_some() => this.event(event),
            command = commands.recv() => match command {
                Some(command) => this.command(command),
                None => break,
            },
            _ = beat.tick(), if !this.punching.is_empty() => this.beat(),
            _ = look.tick(), if this.members.is_some() => this.look_at_members(),
            _ = tick.tick() => this.tick(),
        }
    }
    if let Some(save) = this.save() {
        let _ = save.await;
    }
}

impl Loop {
    fn dial(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        if self.swarm.is_connected(&peer) {
            return;
        }
        let options = DialOpts::peer_id(peer)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(addresses)
            .extend_addresses_through_behaviour()
            .build();
        self.swarm.behaviour_mut().gate.wish(options.connection_id());
        self.counted.dials += 1;
        if let Err(error) = self.swarm.dial(options)
            && !matches!(error, DialError::DialPeerConditionFalse(_))
        {
            self.dialled(peer, Some(&error));
        }
    }

    /// Dials a connected peer over TCP too, where it is known to be reached that way. Who it is, is checked as ever.
    fn widen(&mut self, peer: PeerId, mut addresses: Vec<Multiaddr>, reply: oneshot::Sender<Result<()>>) {
        addresses.extend(self.book.addresses(&peer));
        addresses.extend(self.addresses_in_query(peer));
        addresses.retain(|address| is_dialable(address) && is_tcp(address));
        if addresses.is_empty() || self.swarm.behaviour().streams.has_tcp(&peer) {
            let _ = reply.send(Ok(()));
            return;
        }
        self.dialling.entry(peer).or_default().push(reply);
        let options = DialOpts::peer_id(peer).condition(PeerCondition::NotDialing).addresses(addresses).build();
        self.swarm.behaviour_mut().gate.wish(options.connection_id());
        self.counted.dials += 1;
        // Where it is being dialled already, the end of that is told.
        if let Err(error) = self.swarm.dial(options)
            && !matches!(error, DialError::DialPeerConditionFalse(_))
        {
            self.dialled(peer, Some(&error));
        }
    }

    /// Tells everybody who waits for a peer.
    fn dialled(&mut self, peer: PeerId, error: Option<&DialError>) {
        for reply in self.dialling.remove(&peer).into_iter().flatten() {
            let result = error.map_or(Ok(()), |e| Err(Error::Dial { peer, why: dial_error(e) }));
            let _ = reply.send(result);
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Connect { peer, mut addresses, reply } => {
                // Also one whose connections are only just being closed.
                if self.swarm.behaviour().gate.is_banned(&peer) {
                    let _ = reply.send(Err(Error::Dial { peer, why: "it is banned".into() }));
                    return;
                }
                if self.swarm.is_connected(&peer) {
                    let _ = reply.send(Ok(()));
                    return;
                }
                addresses.extend(self.book.addresses(&peer));
                let begun = self.config.bootstrap.iter().filter(|(known, _)| *known == peer);
                addresses.extend(begun.map(|(_, address)| address.clone()));
                self.dialling.entry(peer).or_default().push(reply);
                self.dial(peer, addresses);
            }
            Command::Widen { peer, addresses, reply } => self.widen(peer, addresses, reply),
            Command::Open { peer, reply } => self.swarm.behaviour_mut().streams.open(peer, reply),
            Command::OpenAsk { peer, reply } => self.swarm.behaviour_mut().asks.open(peer, reply),
            Command::Brought { key, peers } => {
                for peer in peers {
                    if let Some((_, addresses)) = self.whereabouts(&peer) {
                        self.sharers.saw(key, (peer, addresses), true, Instant::now());
                    }
                }
            }
            Command::Sharers { key, asker, reply } => {
                let _ = reply.send(self.sharers_of(key, asker));
            }
            Command::Reach { peer, reply } => {
                let _ = reply.send(self.whereabouts(&peer).map(|(within, _)| within));
            }
            Command::Note { peer, offence } => self.note(peer, offence),
            Command::Find { key, found } => {
                let query = self.swarm.behaviour_mut().kad.get_providers(RecordKey::new(&key));
                self.finding.insert(query, Finding { found });
            }
            Command::Announce { keys } => {
                self.release_keys = keys;
                self.announce_other();
            }
            Command::Channels { channels } => {
                self.channel_keys = self.gossip.set(&mut self.swarm.behaviour_mut().gossip, channels);
                self.announce_other();
            }
            Command::TellChannel { channel, sequence, head } => {
                self.gossip.publish(&mut self.swarm.behaviour_mut().gossip, &channel, sequence, head);
            }
            Command::Hear { heard } => self.gossip.listen(heard),
            Command::Reachability(reply) => {
                let _ = reply.send(self.swarm.behaviour().reached.report());
            }
            Command::Figures(reply) => {
                let _ = reply.send(self.figures());
            }
            Command::Known(reply) => {
                let _ = reply.send(self.known());
            }
            Command::Status(reply) => {
                let _ = reply.send(self.status());
            }
        }
    }

    fn note(&mut self, peer: PeerId, offence: Offence) {
        self.counted.note(offence);
        if self.swarm.behaviour_mut().gate.note(peer, offence) {
            tracing::warn!(%peer, ?offence, "a peer is banned for a day");
            self.counted.bans += 1;
            self.swarm.behaviour_mut().kad.remove_peer(&peer);
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }

    /// Other releases or channels are here now.
    fn announce_other(&mut self) {
        let keys = self.release_keys.union(&self.channel_keys).copied().collect();
        for key in self.announcer.set(&keys) {
            self.swarm.behaviour_mut().kad.stop_providing(&RecordKey::new(&key));
        }
        self.announce();
    }

    fn whereabouts(&self, peer: &PeerId) -> Option<(Reach, Vec<Multiaddr>)> {
        let said = self.said.get(peer).map_or(&[][..], Vec::as_slice);
        pex::whereabouts(self.peers.values().filter(|p| p.id == *peer), said)
    }

    /// Whom somebody is told of who asks for the sharers of a release; none where this node does not share it itself. The
    /// asker is one of them from now on.
    fn sharers_of(&mut self, key: [u8; 32], asker: PeerId) -> Option<Vec<PeerAt>> {
        if !self.announcer.has(&key) && !self.sharers.knows(&key) {
            return None;
        }
        let (within, addresses) = self.whereabouts(&asker)?;
        let told = self.sharers.told(&key, asker, within, Instant::now());
        self.sharers.saw(key, (asker, addresses), false, Instant::now());
        Some(told)
    }

    /// Sends out announcements that are due.
    fn announce(&mut self) {
        let addresses: Vec<Multiaddr> = self.swarm.external_addresses().cloned().collect();
        let listening = || self.swarm.listeners().filter(|a| is_local(&self.config) && !is_relayed(a)).cloned();
        let addresses = if addresses.is_empty() { listening().collect() } else { addresses };
        self.announcer.go_on(&mut self.swarm.behaviour_mut().kad, &addresses);
    }

    fn tick(&mut self) {
        for (peer, address) in [self.config.bootstrap.clone(), self.config.relays.clone()].concat() {
            self.dial(peer, vec![address]);
        }
        self.swarm.behaviour_mut().kad.store_mut().tidy(Instant::now());
        // Who was near a key when few were known need not be among its nearest.
        let known: usize = self.swarm.behaviour_mut().kad.kbuckets().map(|bucket| bucket.num_entries()).sum();
        if known >= self.known.saturating_mul(2).max(2) {
            self.known = known;
            self.announcer.again();
        }
        self.announce();
        self.sharers.tidy(Instant::now());
        if self.saved.elapsed() >= SAVING {
            self.saved = Instant::now();
            // It is written aside. If that fails it was said, and the next time may be better.
            drop(self.save());
        }
    }

    fn save(&self) -> Option<tokio::task::JoinHandle<()>> {
        let path: PathBuf = self.config.book.clone()?;
        let text = self.book.text(&self.swarm.behaviour().gate.bans());
        Some(tokio::task::spawn_blocking(move || {
            if let Err(error) = book::save(&path, &text) {
                tracing::warn!(%error, "the list of known peers");
            }
        }))
    }

    /// How many nodes the hash table has, as far as can be guessed.
    fn nodes(&mut self) -> u64 {
        let me = kad::KBucketKey::from(*self.swarm.local_peer_id());
        let buckets = self.swarm.behaviour_mut().kad.kbuckets();
        let near = |bucket: kad::KBucketRef<'_, _, _>| {
            bucket.iter().map(|entry| me.distance(entry.node.key).0).collect::<Vec<_>>()
        };
        doctor::nodes(buckets.flat_map(near).collect())
    }

    fn figures(&mut self) -> Figures {
        let Status { peers, banned, routing, nodes, announcing, unannounced, .. } = self.status();
        let behaviour = self.swarm.behaviour_mut();
        let reached = behaviour.reached.report();
        let (told, untold) = (self.announcer.counts().2, self.announcer.counts().3);
        let store = behaviour.kad.store_mut();
        let counted = Counted {
            refused_connections: behaviour.gate.refused,
            refused_streams: behaviour.streams.refused + behaviour.asks.refused,
            refused_records: store.refused,
            told,
            untold,
            refused_as_relay: behaviour.reached.relaying.refused,
            circuits: behaviour.reached.relaying.led,
            ..self.counted.clone()
        };
        let records = store.counts();
        let banned = banned.len();
        Figures { counted, peers, banned, routing, nodes, announcing, unannounced, records, reached }
    }

    /// Who could be asked something: who is connected, who is in the hash table, where this node begins, and whom it met.
    fn known(&mut self) -> Vec<Candidate> {
        let one = |peer, addresses, is_connected, is_full| Candidate { peer, addresses, is_connected, is_full };
        let mut known: Vec<Candidate> = self.peers.values().map(|p| one(p.id, Vec::new(), true, p.is_full)).collect();
        for bucket in self.swarm.behaviour_mut().kad.kbuckets() {
            for entry in bucket.iter().take(MOST_KNOWN.saturating_sub(known.len())) {
                let addresses = entry.node.value.iter().take(MOST_ADDRESSES).cloned().collect();
                known.push(one(*entry.node.key.preimage(), addresses, false, true));
            }
        }
        for (peer, address) in &self.config.bootstrap {
            known.push(one(*peer, vec![address.clone()], false, true));
        }
        for (peer, addresses) in self.book.latest(OLD_FRIENDS) {
            known.push(one(peer, addresses, false, true));
        }
        known
    }

    fn status(&mut self) -> Status {
        let mut peers: Vec<Peer> = self.peers.values().cloned().collect();
        peers.sort_by_key(|a| a.id);
        Status {
            listening: self.swarm.listeners().cloned().collect(),
            announced: self.swarm.external_addresses().cloned().collect(),
            banned: self.swarm.behaviour().gate.bans(),
            routing: self.swarm.behaviour_mut().kad.kbuckets().map(|bucket| bucket.num_entries()).sum(),
            nodes: self.nodes(),
            announcing: self.announcer.counts().0,
            unannounced: self.announcer.counts().1,
            peers,
            sent_bytes: 0,
        }
    }

    fn event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.connected(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, num_established, .. } => {
                self.peers.remove(&connection_id);
                if num_established == 0 {
                    self.said.remove(&peer_id);
                }
            }
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), error, .. }
                if !matches!(error, DialError::DialPeerConditionFalse(_)) =>
            {
                tracing::debug!(%peer, %error, "not reached");
                self.counted.failed_dials += 1;
                self.dialled(peer, Some(&error));
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                tracing::info!(%address, "the swarm listens");
                // An address of this machine that the whole world can reach is one to be told.
                if ip_of(&address).is_some() && reach(&address) == Reach::Everywhere && !is_relayed(&address) {
                    self.swarm.add_external_address(address);
                }
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => self.swarm.remove_external_address(&address),
            SwarmEvent::ListenerClosed { reason: Err(error), addresses, .. } if !addresses.iter().all(is_relayed) => {
                tracing::error!(%error, "the swarm listens no longer at one of its addresses");
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::error!(%error, "the swarm listens no longer at one of its addresses");
            }
            SwarmEvent::Behaviour(event) => self.behaviour(event),
            _ => {}
        }
    }

    fn connected(&mut self, peer: PeerId, id: ConnectionId, endpoint: &ConnectedPoint) {
        let address = endpoint.get_remote_address().clone();
        let inbound = endpoint.is_listener();
        tracing::debug!(%peer, %address, inbound, "connected");
        if !inbound {
            self.book.met(peer, bare(address.clone()), book::now());
        }
        let relayed = is_relayed(&address) || is_relayed(local_address(endpoint));
        self.peers
            .insert(id, Peer { id: peer, address, inbound, relayed, agent: None, is_full: false, round_trip: None });
        let direct = self.peers.values().any(|known| known.id == peer && !known.relayed);
        if direct {
            self.unpunched.remove(&peer);
        }
        if direct || self.unpunched.contains(&peer) {
            self.punching.remove(&peer);
            self.dialled(peer, None);
        } else {
            self.punching.entry(peer).or_insert_with(|| Instant::now() + PUNCHING);
        }
    }

    /// Whoever was not reached directly in time is taken through the relay.
    fn beat(&mut self) {
        let now = Instant::now();
        let late: Vec<_> = self.punching.iter().filter(|(_, until)| **until <= now).map(|(peer, _)| *peer).collect();
        for peer in late {
            self.punching.remove(&peer);
            if self.unpunched.len() >= MOST_UNPUNCHED {
                self.unpunched.clear();
            }
            self.unpunched.insert(peer);
            self.dialled(peer, None);
        }
    }

    /// Whoever's membership ended is connected no longer.
    fn look_at_members(&mut self) {
        let Some(members) = &self.members else { return };
        let now = book::now();
        if let Some(at) = members.ended(now).filter(|_| !self.ended) {
            self.ended = true;
            tracing::error!(
                "this node's membership of its private network ended on {}, and others refuse it: ask whoever keeps the \
                 network's key for another token (`fondaco net invite`), put it in place (`fondaco net join`) and restart",
                fondaco_trust::membership::when(at)
            );
        }
        let gone: HashSet<PeerId> =
            self.peers.values().map(|peer| peer.id).filter(|peer| !members.admits(peer, now)).collect();
        for peer in gone {
            tracing::warn!(%peer, "a node's membership of this network ended, and so do its connections");
            self.swarm.behaviour_mut().kad.remove_peer(&peer);
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }

    fn behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Ping(ping::Event { connection, result: Ok(time), .. }) => {
                if let Some(peer) = self.peers.get_mut(&connection) {
                    peer.round_trip = Some(time);
                }
            }
            BehaviourEvent::Identify(identify::Event::Received { connection_id, peer_id, info }) => {
                self.identified(connection_id, peer_id, info);
            }
            BehaviourEvent::Kad(event) => self.kad(event),
            BehaviourEvent::Gossip(gossipsub::Event::Message { propagation_source, message_id, message }) => {
                let (verdict, offence) = self.gossip.judge(propagation_source, &message);
                let gossip = &mut self.swarm.behaviour_mut().gossip;
                gossip.report_message_validation_result(&message_id, &propagation_source, verdict.acceptance());
                if let Some(offence) = offence {
                    self.note(propagation_source, offence);
                }
            }
            BehaviourEvent::Reached(standing) => self.stand(standing),
            BehaviourEvent::Tested(autonat::v2::client::Event { tested_addr, result, .. }) => {
                let result = result.map_err(|error| error.to_string());
                self.swarm.behaviour_mut().reached.tested(tested_addr, result);
            }
            BehaviourEvent::Relay(event) => relaying::count(&event, &mut self.swarm.behaviour_mut().reached.relaying),
            BehaviourEvent::Relayed(relay::client::Event::ReservationReqAccepted { relay_peer_id, .. }) => {
                self.swarm.behaviour_mut().reached.reserved(relay_peer_id);
            }
            BehaviourEvent::Punch(dcutr::Event { remote_peer_id: peer, result }) => {
                tracing::debug!(%peer, ?result, "punching a hole");
                self.swarm.behaviour_mut().reached.punched(result.is_ok());
                if result.is_err() && self.punching.remove(&peer).is_some() {
                    self.dialled(peer, None);
                }
            }
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => {
                for (peer, address) in found.into_iter().take(MOST_NEIGHBOURS) {
                    if peer != *self.swarm.local_peer_id() && self.peers.len() < MOST_NEIGHBOURS {
                        self.dial(peer, vec![address]);
                    }
                }
            }
            _ => {}
        }
    }

    /// A node that nobody reaches is no part of the hash table: it would only be waited for.
    fn stand(&mut self, standing: Standing) {
        let mode = match (self.config.role, standing) {
            (Role::Leaf, _) => return,
            (_, Standing::Relayed | Standing::Unreached) if !is_local(&self.config) => kad::Mode::Client,
            _ => kad::Mode::Server,
        };
        self.swarm.behaviour_mut().kad.set_mode(Some(mode));
    }

    fn identified(&mut self, connection: ConnectionId, peer: PeerId, info: identify::Info) {
        let Some(known) = self.peers.get_mut(&connection) else { return };
        let reached = &mut self.swarm.behaviour_mut().reached;
        reached.identified(peer, connection, &known.address, known.inbound, &info);
        known.agent = Some(info.agent_version.chars().filter(|c| !c.is_control()).take(60).collect());
        known.is_full = info.protocols.contains(&KAD);
        let believed = reach(&known.address);
        // An inbound connection's own address is a port that nobody listens on.
        let dialled = (!known.inbound).then(|| known.address.clone());
        let learnt = info.listen_addrs.into_iter().filter(|a| reach(a) <= believed).take(MOST_ADDRESSES).collect();
        let mut learnt = self.placed(&peer, learnt);
        learnt.retain(is_dialable);
        self.said.insert(peer, learnt.clone());
        if !info.protocols.contains(&KAD) {
            return;
        }
        for address in dialled.into_iter().map(bare).chain(learnt) {
            let me = *self.swarm.local_peer_id();
            let kad = &mut self.swarm.behaviour_mut().kad;
            if is_dialable(&address) && table::may_enter(kad, me, peer, &address) {
                kad.add_address(&peer, address);
            }
        }
    }

    /// What of the addresses that a peer says it has is believed.
    fn placed(&self, peer: &PeerId, said: Vec<Multiaddr>) -> Vec<Multiaddr> {
        let said = said.into_iter().map(bare).filter(is_route);
        // In one process there are no hosts.
        if is_local(&self.config) || self.config.transport == Transport::Memory {
            return said.collect();
        }
        let direct = self.peers.values().filter(|known| known.id == *peer && !known.relayed);
        placed(&direct.filter_map(|known| ip_of(&known.address)).collect(), said)
    }

    /// Addresses of a peer that the hash table named just now. The table forgets them when the query ends.
    fn addresses_in_query(&mut self, peer: PeerId) -> Vec<Multiaddr> {
        let (id, kad) = (ConnectionId::new_unchecked(0), &mut self.swarm.behaviour_mut().kad);
        let known = kad.handle_pending_outbound_connection(id, Some(peer), &[], Endpoint::Dialer).unwrap_or_default();
        let local = is_local(&self.config);
        let believed = |a: &Multiaddr| if local { is_route(a) } else { may_be_named(a) };
        known.into_iter().map(bare).filter(believed).take(MOST_ADDRESSES).collect()
    }

    fn kad(&mut self, event: kad::Event) {
        match event {
            // The library has checked that the provider is the one who sent it.
            kad::Event::InboundRequest { request: kad::InboundRequest::AddProvider { record: Some(mut record) } } => {
                record.addresses = self.placed(&record.provider, std::mem::take(&mut record.addresses));
                if record.addresses.is_empty() {
                    return;
                }
                let store = self.swarm.behaviour_mut().kad.store_mut();
                if store.may_bring(record.provider, 1) {
                    let _ = store.add_provider(record);
                }
            }
            // A list of keys that its sender provides. Nothing else is kept for others.
            kad::Event::InboundRequest { request: kad::InboundRequest::PutRecord { source, record: Some(record), .. } } => {
                self.listed(source, &record);
            }
            kad::Event::RoutingUpdated { is_new_peer: true, .. }
                // Whoever comes first opens the table; what waits to be announced can be now.
                if self.swarm.behaviour_mut().kad.kbuckets().map(|b| b.num_entries()).sum::<usize>() == 1 => {
                    let _ = self.swarm.behaviour_mut().kad.bootstrap();
                    self.announcer.again();
                    self.announce();
                }
            kad::Event::OutboundQueryProgressed { id, result, step, stats } => {
                if step.last {
                    self.counted.questions += u64::from(stats.num_requests());
                }
                let me = *self.swarm.local_peer_id();
                let kad = &mut self.swarm.behaviour_mut().kad;
                if self.announcer.progressed(id, &result, step.last, me, kad) {
                    return self.announce();
                }
                if let kad::QueryResult::GetProviders(Ok(found)) = result
                    && let kad::GetProvidersOk::FoundProviders { providers, .. } = found
                {
                    for peer in providers {
                        let addresses = self.addresses_in_query(peer);
                        if let Some(finding) = self.finding.get(&id) {
                            // If nobody takes them, there are enough.
                            let _ = finding.found.try_send((peer, addresses));
                        }
                    }
                }
                if step.last {
                    self.finding.remove(&id);
                }
            }
            _ => {}
        }
    }
}

impl Loop {
    /// A peer says that it has all these.
    fn listed(&mut self, peer: PeerId, record: &kad::Record) {
        let Some((keys, addresses)) = announce::read(record) else { return };
        let addresses = self.placed(&peer, addresses);
        let store = self.swarm.behaviour_mut().kad.store_mut();
        if addresses.is_empty() || !store.may_bring(peer, keys.len()) {
            return;
        }
        for key in keys {
            let record = kad::ProviderRecord::new(RecordKey::new(&key), peer, addresses.clone());
            let _ = store.add_provider(record);
        }
    }
}

/// The address on this side, where the peer came to us.
fn local_address(endpoint: &ConnectedPoint) -> &Multiaddr {
    match endpoint {
        ConnectedPoint::Listener { local_addr, .. } => local_addr,
        ConnectedPoint::Dialer { address, .. } => address,
    }
}

/// Why a dial failed, for people.
fn dial_error(error: &DialError) -> String {
    match error {
        DialError::Transport(all) => {
            let all: Vec<String> =
                all.iter().take(4).map(|(address, why)| format!("{address}: {}", cause(why))).collect();
            all.join(", ")
        }
        DialError::NoAddresses => "no address of it is known".into(),
        DialError::WrongPeerId { obtained, .. } => format!("another node answers there, {obtained}"),
        DialError::LocalPeerId { .. } => "it is this node".into(),
        DialError::Denied { cause: denied } => cause(denied),
        other => other.to_string(),
    }
}

/// The innermost cause of an error.
pub(crate) fn cause(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(next) = inner.source() {
        inner = next;
    }
    inner.to_string()
}
