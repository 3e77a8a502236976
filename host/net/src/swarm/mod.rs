//! The swarm's private loop. It owns the libp2p swarm, answers the handle's messages, and waits for nothing but those two:
//! no disk and no plugin, since a loop that waits stalls every connection.

mod behaviour;
mod events;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fondaco_schemas::PublicKey;
use futures_util::StreamExt;
use libp2p::kad::{self, QueryId, RecordKey};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, Swarm};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{mpsc, oneshot, watch};

use self::behaviour::{Behaviour, is_local};
pub(crate) use self::behaviour::{Parts, Queues, open};
use crate::announce::Announcer;
use crate::ask::PeerAt;
use crate::book::{self, Book};
use crate::config::{Config, is_dialable, is_relayed};
use crate::doctor;
use crate::error::{Error, Result};
use crate::gate::{Offence, Reach};
use crate::gossip::{Gossip, Heard};
use crate::member::Members;
use crate::metrics::{Counted, Figures};
use crate::net::{Peer, Status};
use crate::pex::{self, Sharers};
use crate::reach::Reachability;
use crate::search::Candidate;
use crate::streams::{Reply, is_tcp};

/// How often the loop looks after its peers.
const TICK: Duration = Duration::from_secs(30);
/// How often it is looked whose membership ended.
const LOOKING: Duration = Duration::from_secs(5);
/// How often the list of peers is saved.
const SAVING: Duration = Duration::from_mins(5);
/// Peers of the last time that are dialled at the start.
const OLD_FRIENDS: usize = 16;
/// Peers that are remembered for not having been reached directly; they are not waited for again.
const MOST_UNPUNCHED: usize = 256;
/// How long a question to the hash table waits for somebody who could be asked.
const HOLD: Duration = Duration::from_secs(3);
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

/// A query of the hash table that somebody waits for.
struct Finding {
    found: mpsc::Sender<(PeerId, Vec<Multiaddr>)>,
}

/// A question to a hash table that has nobody yet who could be asked.
struct Held {
    key: [u8; 32],
    finding: Finding,
    since: Instant,
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
    held: Vec<Held>,
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
    begun: Instant,
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
        held: Vec::new(),
        said: HashMap::new(),
        sharers: Sharers::default(),
        gossip: Gossip::default(),
        release_keys: HashSet::new(),
        channel_keys: HashSet::new(),
        announcer: Announcer::default(),
        known: 1,
        counted: Counted::default(),
        begun: Instant::now(),
        saved: Instant::now(),
    };
    for (peer, addresses) in this.book.latest(OLD_FRIENDS) {
        this.dial(peer, addresses);
    }
    // What is asked first finds those being dialled who could be asked.
    this.tick();
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut look = tokio::time::interval(LOOKING);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut tick = tokio::time::interval_at(tokio::time::Instant::now() + TICK, TICK);
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
            _ = beat.tick(), if !this.punching.is_empty() || !this.held.is_empty() => this.beat(),
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
                self.held.push(Held { key, finding: Finding { found }, since: Instant::now() });
                self.ask_held();
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
        let known = self.routing();
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
            routing: self.routing(),
            nodes: self.nodes(),
            announcing: self.announcer.counts().0,
            unannounced: self.announcer.counts().1,
            peers,
            sent_bytes: 0,
        }
    }

    /// Asks the hash table what was to be asked, once there is somebody in it, or nobody is to come: a node that has only
    /// just started knows nobody, and its first question would end before it began.
    fn ask_held(&mut self) {
        let counters = self.swarm.network_info();
        let counters = counters.connection_counters();
        let begins = self.config.mdns && self.begun.elapsed() < HOLD;
        let comes = begins || counters.num_pending() + counters.num_established() > 0;
        let (is_empty, now) = (self.routing() == 0, Instant::now());
        let waits = |held: &Held| is_empty && comes && now.saturating_duration_since(held.since) < HOLD;
        for held in std::mem::take(&mut self.held) {
            if held.finding.found.is_closed() {
                continue;
            }
            if waits(&held) {
                self.held.push(held);
            } else {
                let query = self.swarm.behaviour_mut().kad.get_providers(RecordKey::new(&held.key));
                self.finding.insert(query, held.finding);
            }
        }
    }

    /// How many nodes are in the hash table's buckets.
    fn routing(&mut self) -> usize {
        self.swarm.behaviour_mut().kad.kbuckets().map(|bucket| bucket.num_entries()).sum()
    }

    /// Whoever was not reached directly in time is taken through the relay.
    fn beat(&mut self) {
        self.ask_held();
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
