//! Whether others reach this node, and what is done where they do not: what each test and each peer said, and places at
//! relays. The swarm's loop tells it what it hears; `fondaco net doctor` reads it.
//!
//! A behaviour without a protocol of its own. It asks no peer and believes none: an address counts as reached because it
//! was dialled back with a number that only this node knew (AutoNAT v2), because somebody from outside came, or because the
//! operator says so.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::net::IpAddr;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use libp2p::core::Endpoint;
use libp2p::core::transport::{ListenerId, PortUse};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, ListenOpts, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

use crate::config::{Config, Role, is_relayed};
use crate::gate::{Reach, ip_of, reach};

/// Relays at which this node has a place at the same time.
const MOST_PLACES: usize = 2;
/// How often it is looked whether something is to be done.
const LOOK: Duration = Duration::from_secs(2);
/// A relay that refused is asked again after this.
const REFUSED: Duration = Duration::from_mins(5);
/// An address to which nobody came for so long is no longer told to others. What is reached once need not be for ever, and
/// the library tests no address twice.
const STALE: Duration = Duration::from_hours(24);
/// Tests that are remembered.
const MOST_TESTS: usize = 32;
/// Observers of a transport that are remembered.
const MOST_OBSERVERS: usize = 64;

/// How an address translation gives out ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nat {
    /// There is none: this node has the address under which others see it.
    None,
    /// One port outside for each port inside, whoever is spoken with. Hole punching works.
    EndpointIndependent,
    /// Another port for each peer. Hole punching does not work.
    EndpointDependent,
    /// Fewer than two peers have said what they see.
    Unknown,
}

/// How this node is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Not known yet.
    Unknown,
    /// Directly.
    Direct,
    /// Through a relay.
    Relayed,
    /// Not at all.
    Unreached,
}

/// What came of testing an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tested {
    /// Not tested yet.
    Not,
    /// A peer dialled it.
    Reached,
    /// A peer could not.
    Failed(String),
}

/// An address of this node, and what is known about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The address.
    pub address: Multiaddr,
    /// What came of it.
    pub tested: Tested,
    /// Others are told of it.
    pub told: bool,
}

/// A relay, and what it does for this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which.
    pub relay: PeerId,
    /// Where it is.
    pub address: Multiaddr,
    /// It keeps a place; else it was asked.
    pub kept: bool,
}

/// Everything about how this node is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reachability {
    /// How it is reached.
    pub standing: Standing,
    /// Its addresses: those that it listens on, those under which it is seen, those that are told.
    pub addresses: Vec<Tried>,
    /// How the translation in front of it gives out ports, for TCP and for UDP.
    pub nat: (Nat, Nat),
    /// Peers that test addresses for others and are connected.
    pub testers: usize,
    /// Relays with a place for this node.
    pub places: Vec<Place>,
    /// Relays that are connected, whether asked or not.
    pub relays: Vec<PeerId>,
    /// Relays that refused, and why.
    pub refused: Vec<(PeerId, String)>,
    /// Holes punched, and attempts that failed, since the start.
    pub punched: (u64, u64),
    /// Reservations and circuits that this node keeps for others at the moment.
    pub relaying: (usize, usize),
}

struct Relay {
    connection: ConnectionId,
    address: Multiaddr,
}

/// The behaviour.
pub(crate) struct Reached {
    /// Only these relays are asked: the operator named them.
    named: BTreeSet<PeerId>,
    /// Does this node want to be reached?
    wanted: bool,
    local: bool,
    after: Duration,
    announced: HashSet<Multiaddr>,
    began: Instant,
    listening: BTreeSet<Multiaddr>,
    external: HashMap<Multiaddr, Instant>,
    tests: BTreeMap<Multiaddr, Tested>,
    observers: [BTreeMap<PeerId, (IpAddr, u16)>; 2],
    testers: HashSet<ConnectionId>,
    relays: HashMap<PeerId, Relay>,
    places: HashMap<ListenerId, Place>,
    refused: HashMap<PeerId, (Instant, String)>,
    came: Option<Instant>,
    /// Addresses that are told no longer, until somebody comes.
    stale: Vec<Multiaddr>,
    punched: (u64, u64),
    pub relaying: Relaying,
    standing: Standing,
    timer: tokio::time::Interval,
    events: VecDeque<ToSwarm<Standing, Infallible>>,
}

/// What this node keeps for others, as a relay.
#[derive(Debug, Default)]
pub(crate) struct Relaying {
    pub reservations: HashSet<PeerId>,
    pub circuits: usize,
    /// Circuits since the start.
    pub led: u64,
    pub refused: u64,
}

impl Reached {
    pub fn new(config: &Config, local: bool) -> Self {
        let from = if config.relays.is_empty() { &config.bootstrap } else { &config.relays };
        let mut timer = tokio::time::interval(LOOK);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        Self {
            named: from.iter().map(|(peer, _)| *peer).collect(),
            wanted: !config.listen.is_empty() && config.role != Role::Relay,
            local,
            after: config.relay_after,
            announced: config.announce.iter().cloned().collect(),
            began: Instant::now(),
            listening: BTreeSet::new(),
            external: HashMap::new(),
            tests: BTreeMap::new(),
            observers: Default::default(),
            testers: HashSet::new(),
            relays: HashMap::new(),
            places: HashMap::new(),
            refused: HashMap::new(),
            came: None,
            stale: Vec::new(),
            punched: (0, 0),
            relaying: Relaying::default(),
            standing: Standing::Unknown,
            timer,
            events: VecDeque::new(),
        }
    }

    /// What a peer says about itself, and where it sees this node.
    pub fn identified(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        at: &Multiaddr,
        inbound: bool,
        info: &libp2p::identify::Info,
    ) {
        if is_relayed(at) {
            return;
        }
        let speaks = |name: &str| info.protocols.iter().any(|p| p.as_ref() == name);
        // Only whom this node dialled sees the port that the translation gave out for it.
        if !inbound && (self.local || reach(&info.observed_addr) == Reach::Everywhere) {
            self.observed(peer, &info.observed_addr);
        }
        if speaks("/libp2p/autonat/2/dial-request") {
            self.testers.insert(connection);
        }
        if !inbound && speaks(libp2p::relay::HOP_PROTOCOL_NAME.as_ref()) {
            let address = crate::config::bare(at.clone());
            self.relays.insert(peer, Relay { connection, address });
        }
    }

    fn observed(&mut self, peer: PeerId, address: &Multiaddr) {
        let (Some(ip), Some((udp, port))) = (ip_of(address), port_of(address)) else { return };
        let Some(observers) = self.observers.get_mut(usize::from(udp)) else { return };
        if observers.len() < MOST_OBSERVERS || observers.contains_key(&peer) {
            observers.insert(peer, (ip, port));
        }
    }

    /// What came of a test.
    pub fn tested(&mut self, address: Multiaddr, result: Result<(), String>) {
        let full = self.tests.len() >= MOST_TESTS && !self.tests.contains_key(&address);
        if !full {
            self.tests.insert(address, result.map_or_else(Tested::Failed, |()| Tested::Reached));
        }
        self.look();
    }

    /// A relay keeps a place for this node.
    pub fn reserved(&mut self, relay: PeerId) {
        self.places.values_mut().filter(|place| place.relay == relay).for_each(|place| place.kept = true);
        self.refused.remove(&relay);
        self.look();
    }

    /// What came of punching a hole.
    pub fn punched(&mut self, worked: bool) {
        let count = if worked { &mut self.punched.0 } else { &mut self.punched.1 };
        *count = count.saturating_add(1);
    }

    /// Whether most of those that this node dialled see it there. One of them may have invented an address, and one who tests
    /// may say that it was reached.
    fn is_believed(&self, address: &Multiaddr) -> bool {
        let ours = self.announced.contains(address) || self.listening.contains(address);
        if self.local || ours || is_relayed(address) {
            return true;
        }
        let Some(at) = ip_of(address) else { return false };
        let seen = self.observers.iter().flatten().map(|(_, (ip, _))| *ip).filter(|ip| ip.is_ipv4() == at.is_ipv4());
        let (all, agree) = seen.fold((0, 0), |(all, agree), ip| (all + 1, agree + usize::from(ip == at)));
        agree * 2 >= all
    }

    fn is_direct(&self) -> bool {
        self.external.keys().any(|address| !is_relayed(address))
    }

    fn look(&mut self) {
        let now = Instant::now();
        let fresh = |at: &Instant| now.duration_since(*at) < STALE;
        let stale = |(address, at): (&Multiaddr, &Instant)| {
            let kept = is_relayed(address) || self.announced.contains(address) || self.listening.contains(address);
            (!kept && !fresh(at) && !self.came.as_ref().is_some_and(fresh)).then(|| address.clone())
        };
        let stale: Vec<Multiaddr> = self.external.iter().filter_map(stale).collect();
        for address in stale {
            if self.stale.len() < MOST_TESTS && !self.stale.contains(&address) {
                self.stale.push(address.clone());
            }
            self.events.push_back(ToSwarm::ExternalAddrExpired(address));
        }
        self.refused.retain(|_, (at, _)| now.duration_since(*at) < REFUSED);
        let direct = self.is_direct();
        if direct {
            // A place is somebody else's to have, once somebody did come: that is not one tester's word.
            let came = self.local || self.came.is_some();
            let unneeded: Vec<_> =
                self.places.iter().filter(|(_, place)| came && place.kept).map(|(id, _)| *id).collect();
            self.events.extend(unneeded.into_iter().map(|id| ToSwarm::RemoveListener { id }));
        } else if self.wanted && self.began.elapsed() >= self.after {
            self.ask();
        }
        let relayed = self.external.keys().any(is_relayed);
        let failed = self.tests.values().any(|tested| matches!(tested, Tested::Failed(_)));
        let standing = match (direct, relayed, failed) {
            (true, ..) => Standing::Direct,
            (_, true, _) => Standing::Relayed,
            (_, _, true) => Standing::Unreached,
            _ => Standing::Unknown,
        };
        if standing != self.standing {
            self.standing = standing;
            self.events.push_back(ToSwarm::GenerateEvent(standing));
        }
    }

    /// Asks relays for a place.
    fn ask(&mut self) {
        for (peer, relay) in &self.relays {
            let asked = self.places.values().any(|place| place.relay == *peer);
            if self.places.len() >= MOST_PLACES
                || asked
                || self.refused.contains_key(peer)
                || !self.named.contains(peer)
            {
                continue;
            }
            let address = relay.address.clone().with(Protocol::P2p(*peer)).with(Protocol::P2pCircuit);
            let opts = ListenOpts::new(address);
            let place = Place { relay: *peer, address: relay.address.clone(), kept: false };
            tracing::info!(relay = %peer, "nobody reaches this node: it asks a relay for a place");
            self.places.insert(opts.listener_id(), place);
            self.events.push_back(ToSwarm::ListenOn { opts });
        }
    }

    fn nat(&self, udp: bool) -> Nat {
        let observers = self.observers.get(usize::from(udp));
        let own = |(ip, port): &(IpAddr, u16)| {
            self.listening.iter().any(|a| ip_of(a) == Some(*ip) && port_of(a) == Some((udp, *port)))
        };
        let seen: BTreeSet<_> = observers.into_iter().flatten().map(|(_, seen)| *seen).collect();
        let many = observers.is_some_and(|all| all.len() > 1);
        if seen.iter().any(own) {
            Nat::None
        } else if seen.len() > 1 {
            Nat::EndpointDependent
        } else if many {
            Nat::EndpointIndependent
        } else {
            Nat::Unknown
        }
    }

    /// All of it.
    pub fn report(&self) -> Reachability {
        let mut all: BTreeSet<&Multiaddr> = self.listening.iter().filter(|a| !is_relayed(a)).collect();
        all.extend(self.tests.keys());
        all.extend(self.external.keys());
        let tried = |address: &Multiaddr| Tried {
            address: address.clone(),
            tested: self.tests.get(address).cloned().unwrap_or(Tested::Not),
            told: self.external.contains_key(address),
        };
        let mut places: Vec<Place> = self.places.values().cloned().collect();
        places.sort_by_key(|place| place.relay);
        let mut relays: Vec<PeerId> = self.relays.keys().copied().collect();
        relays.sort();
        Reachability {
            standing: self.standing,
            addresses: all.into_iter().map(tried).collect(),
            nat: (self.nat(false), self.nat(true)),
            testers: self.testers.len(),
            places,
            relays,
            refused: self.refused.iter().map(|(peer, (_, why))| (*peer, why.clone())).collect(),
            punched: self.punched,
            relaying: (self.relaying.reservations.len(), self.relaying.circuits),
        }
    }
}

/// The port of an address, and whether it is UDP's.
fn port_of(address: &Multiaddr) -> Option<(bool, u16)> {
    address.iter().find_map(|part| match part {
        Protocol::Tcp(port) => Some((false, port)),
        Protocol::Udp(port) => Some((true, port)),
        _ => None,
    })
}

impl NetworkBehaviour for Reached {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Standing;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(made) => {
                let at = made.endpoint.get_remote_address();
                // Who comes through a relay has no IP here.
                if made.endpoint.is_listener() && ip_of(at).is_some() && reach(at) == Reach::Everywhere {
                    self.came = Some(Instant::now());
                    self.events.extend(self.stale.drain(..).map(ToSwarm::ExternalAddrConfirmed));
                }
            }
            FromSwarm::ConnectionClosed(closed) => {
                self.testers.remove(&closed.connection_id);
                if self.relays.get(&closed.peer_id).is_some_and(|relay| relay.connection == closed.connection_id) {
                    self.relays.remove(&closed.peer_id);
                }
            }
            FromSwarm::NewListenAddr(new) => {
                self.listening.insert(new.addr.clone());
            }
            FromSwarm::ExpiredListenAddr(gone) => {
                self.listening.remove(gone.addr);
            }
            FromSwarm::ExternalAddrConfirmed(confirmed) if !self.is_believed(confirmed.addr) => {
                tracing::debug!(address = %confirmed.addr, "a tester reached an address at which few see this node");
                self.events.push_back(ToSwarm::ExternalAddrExpired(confirmed.addr.clone()));
            }
            FromSwarm::ExternalAddrConfirmed(confirmed) => {
                if !is_relayed(confirmed.addr) {
                    tracing::info!(address = %confirmed.addr, "others reach this node");
                }
                self.external.insert(confirmed.addr.clone(), Instant::now());
                self.look();
            }
            FromSwarm::ExternalAddrExpired(expired) => {
                self.external.remove(expired.addr);
                self.look();
            }
            FromSwarm::ListenerClosed(closed) => {
                if let Some(place) = self.places.remove(&closed.listener_id)
                    && let Err(error) = closed.reason
                {
                    let why = crate::swarm::cause(error);
                    tracing::info!(relay = %place.relay, why, "no place at a relay");
                    self.refused.insert(place.relay, (Instant::now(), why));
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        while self.timer.poll_tick(cx).is_ready() {
            self.look();
        }
        match self.events.pop_front() {
            Some(event) => Poll::Ready(event),
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use libp2p::swarm::NewListenAddr;
    use libp2p::swarm::behaviour::ExternalAddrConfirmed;

    use super::*;

    fn config() -> Config {
        let listen = vec!["/ip4/0.0.0.0/udp/4001/quic-v1".parse().unwrap()];
        Config { listen, relay_after: Duration::ZERO, ..Config::default() }
    }

    fn at(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    fn relay(reached: &mut Reached, peer: PeerId) {
        let (connection, address) = (ConnectionId::new_unchecked(1), at("/ip4/198.51.100.1/tcp/1"));
        reached.relays.insert(peer, Relay { connection, address });
    }

    fn asked(reached: &Reached) -> usize {
        reached.events.iter().filter(|event| matches!(event, ToSwarm::ListenOn { .. })).count()
    }

    #[tokio::test]
    async fn what_peers_see_tells_how_ports_are_given_out() {
        let mut reached = Reached::new(&config(), false);
        let (one, two) = (PeerId::random(), PeerId::random());
        assert_eq!(reached.nat(true), Nat::Unknown);
        reached.observed(one, &at("/ip4/198.51.100.9/udp/40001/quic-v1"));
        assert_eq!((reached.nat(true), reached.nat(false)), (Nat::Unknown, Nat::Unknown));
        reached.observed(two, &at("/ip4/198.51.100.9/udp/40001/quic-v1"));
        assert_eq!(reached.nat(true), Nat::EndpointIndependent);
        reached.observed(two, &at("/ip4/198.51.100.9/udp/40002/quic-v1"));
        assert_eq!(reached.nat(true), Nat::EndpointDependent);
        reached.listening.insert(at("/ip4/198.51.100.9/udp/40001/quic-v1"));
        assert_eq!(reached.nat(true), Nat::None);
        for _ in 0..1000 {
            reached.observed(PeerId::random(), &at("/ip4/198.51.100.9/tcp/1"));
        }
        assert_eq!(reached.observers[0].len(), MOST_OBSERVERS);
    }

    #[tokio::test]
    async fn relays_that_the_operator_named_are_asked_once_and_only_while_nobody_reaches_the_node() {
        let (named, stranger) = (PeerId::random(), PeerId::random());
        let config = Config { relays: vec![(named, at("/ip4/198.51.100.1/tcp/1"))], ..config() };
        let mut reached = Reached::new(&config, false);
        relay(&mut reached, stranger);
        reached.look();
        assert_eq!(asked(&reached), 0, "a stranger's line is not ours to take");
        relay(&mut reached, named);
        reached.look();
        reached.look();
        assert_eq!(asked(&reached), 1);
        let direct = Reached::new(&config, false);
        for mut reached in [direct, Reached::new(&Config { listen: Vec::new(), ..config }, false)] {
            relay(&mut reached, named);
            if reached.wanted {
                let addr = &at("/ip4/198.51.100.9/udp/4001/quic-v1");
                reached.on_swarm_event(FromSwarm::ExternalAddrConfirmed(ExternalAddrConfirmed { addr }));
            }
            reached.look();
            assert_eq!(asked(&reached), 0);
        }
    }

    #[tokio::test]
    async fn a_testers_word_is_not_enough_where_others_see_this_node_elsewhere() {
        let mut reached = Reached::new(&config(), false);
        for _ in 0..3 {
            reached.observed(PeerId::random(), &at("/ip4/198.51.100.9/udp/40001/quic-v1"));
        }
        let (seen, invented) = (at("/ip4/198.51.100.9/udp/4001/quic-v1"), at("/ip4/203.0.113.5/udp/4001/quic-v1"));
        for (addr, is_told) in [(&seen, true), (&invented, false)] {
            reached.on_swarm_event(FromSwarm::ExternalAddrConfirmed(ExternalAddrConfirmed { addr }));
            assert_eq!(reached.external.contains_key(addr), is_told, "{addr}");
        }
        let gone = |event: &ToSwarm<_, _>| matches!(event, ToSwarm::ExternalAddrExpired(addr) if *addr == invented);
        assert!(reached.events.iter().any(gone));
    }

    #[tokio::test]
    async fn an_address_to_which_nobody_comes_is_told_no_longer() {
        let mut reached = Reached::new(&config(), false);
        let old = Instant::now().checked_sub(STALE).unwrap();
        let (tested, own) = (at("/ip4/198.51.100.9/udp/4001/quic-v1"), at("/ip4/198.51.100.8/udp/4001/quic-v1"));
        reached.on_swarm_event(FromSwarm::NewListenAddr(NewListenAddr { listener_id: ListenerId::next(), addr: &own }));
        reached.external.extend([(tested.clone(), old), (own, old)]);
        reached.look();
        let gone = |event: &ToSwarm<_, _>| matches!(event, ToSwarm::ExternalAddrExpired(address) if *address == tested);
        assert_eq!(reached.events.iter().filter(|e| matches!(e, ToSwarm::ExternalAddrExpired(_))).count(), 1);
        assert!(reached.events.iter().any(gone));
        assert_eq!(reached.stale, std::slice::from_ref(&tested));
        reached.events.clear();
        reached.came = Some(Instant::now());
        reached.look();
        assert!(!reached.events.iter().any(gone), "somebody came today");
    }
}
