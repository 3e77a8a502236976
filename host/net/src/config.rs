//! What an operator decides about the swarm, checked.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use crate::error::{Error, Result};
use crate::member::Membership;
use crate::share::Timed;

/// What a node does for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It asks the hash table and keeps nothing of it: for nodes that others cannot reach.
    Leaf,
    /// It also keeps its part of the hash table, and tests for others whether they are reached.
    Full,
    /// It also keeps places for nodes that nobody reaches, and leads others to them, within [`RelayLimits`].
    Relay,
}

/// How bytes travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// TCP and QUIC.
    #[default]
    Sockets,
    /// Within this process, without encryption: for labs with hundreds of nodes. Addresses are `/memory/<number>`.
    Memory,
}

/// What a relay does for others. A circuit is for finding each other and punching a hole; what is large goes directly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayLimits {
    /// Nodes that have a place.
    pub reservations: u32,
    /// Circuits at once; of one node two.
    pub circuits: u32,
    /// Bytes of a circuit, both ways together.
    pub circuit_bytes: u64,
    /// How long a circuit lasts.
    pub circuit_time: Duration,
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self { reservations: 64, circuits: 16, circuit_bytes: 2 << 20, circuit_time: Duration::from_mins(2) }
    }
}

/// What all peers together, and each of them, may take up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections.
    pub connections: u32,
    /// Open connections of one IPv4 address or IPv6 /64; of a /24 or /48 it is four times as many. Not for loopback.
    pub connections_per_address: u32,
    /// The node's resident memory in bytes, above which no new connection is taken.
    pub memory_bytes: u64,
    /// Answers that are sent at once.
    pub uploads: u32,
    /// Streams of one peer.
    pub streams_per_peer: u32,
    /// Bytes sent in a second, all together; none: as fast as it goes.
    pub upload_bytes_per_second: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 600,
            connections_per_address: 8,
            memory_bytes: 1 << 30,
            uploads: 16,
            streams_per_peer: 8,
            upload_bytes_per_second: None,
        }
    }
}

/// Everything that is decided before the swarm starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; nowhere: this node only dials.
    pub listen: Vec<Multiaddr>,
    /// Addresses under which others reach this node, where they are not those that it listens on.
    pub announce: Vec<Multiaddr>,
    /// Nodes to begin with.
    pub bootstrap: Vec<(PeerId, Multiaddr)>,
    /// What this node does for others.
    pub role: Role,
    /// Relays that are asked for a place while nobody reaches this node; none: those of `bootstrap` that are relays.
    pub relays: Vec<(PeerId, Multiaddr)>,
    /// How long it is waited for somebody to reach this node before a relay is asked.
    pub relay_after: Duration,
    /// What this node does as a relay, where its role is that.
    pub relay: RelayLimits,
    /// How bytes travel.
    pub transport: Transport,
    /// Find nodes in the local network, and be found there.
    pub mdns: bool,
    /// Only these peers; none: all. A private network.
    pub allow: Option<BTreeSet<PeerId>>,
    /// Only those who show a token of this node's network, and those in `allow`. A private network, too.
    pub membership: Option<Membership>,
    /// Limits.
    pub limits: Limits,
    /// Rates of upload for times of the day, in place of the one in `limits`. The first that holds counts.
    pub upload_schedule: Vec<Timed>,
    /// Where known peers are kept; none: nowhere.
    pub book: Option<PathBuf>,
    /// How long a source may be slow: over this time it must send `slow_bytes`, or it is given up.
    pub slow_time: Duration,
    /// See `slow_time`. With the defaults, 4 KiB/s over 20 s.
    pub slow_bytes: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            announce: Vec::new(),
            bootstrap: Vec::new(),
            role: Role::Full,
            relays: Vec::new(),
            relay_after: Duration::from_secs(15),
            relay: RelayLimits::default(),
            transport: Transport::Sockets,
            mdns: false,
            allow: None,
            membership: None,
            limits: Limits::default(),
            upload_schedule: Vec::new(),
            book: None,
            slow_time: Duration::from_secs(20),
            slow_bytes: 20 * 4096,
        }
    }
}

impl Config {
    /// An address to listen on: IP, then TCP or QUIC.
    pub fn listen_address(text: &str) -> Result<Multiaddr> {
        let address = parse(text)?;
        let mut parts = address.iter();
        let ip = matches!(parts.next(), Some(Protocol::Ip4(_) | Protocol::Ip6(_)));
        let port = match (parts.next(), parts.next()) {
            (Some(Protocol::Tcp(_)), None) => true,
            (Some(Protocol::Udp(_)), Some(Protocol::QuicV1)) => parts.next().is_none(),
            _ => false,
        };
        if ip && port {
            Ok(address)
        } else {
            Err(refuse(text, "listen on /ip4/…/tcp/… or /ip4/…/udp/…/quic-v1"))
        }
    }

    /// An address of a peer, which ends with `/p2p/` and its id.
    pub fn peer_address(text: &str) -> Result<(PeerId, Multiaddr)> {
        let mut address = parse(text)?;
        match address.pop() {
            Some(Protocol::P2p(peer)) if is_route(&address) => Ok((peer, address)),
            _ => Err(refuse(text, "write IP or DNS name, port, and /p2p/ with the peer's id")),
        }
    }

    /// An address under which others are told to find this node: without its id.
    pub fn announced_address(text: &str) -> Result<Multiaddr> {
        let address = parse(text)?;
        if is_dialable(&address) { Ok(address) } else { Err(refuse(text, "write IP or DNS name and port, and no id")) }
    }

    /// A peer's id.
    pub fn peer(text: &str) -> Result<PeerId> {
        text.parse().map_err(|_| refuse(text, "a peer's id begins with 12D3Koo"))
    }
}

fn parse(text: &str) -> Result<Multiaddr> {
    if text.len() > 512 {
        return Err(refuse(text, "it is longer than 512 characters"));
    }
    text.parse().map_err(|_| refuse(text, "write it as /ip4/192.0.2.1/udp/4001/quic-v1"))
}

fn refuse(text: &str, why: &'static str) -> Error {
    Error::Address { text: text.chars().take(120).collect(), why }
}

/// An address without the peer's id at its end.
pub(crate) fn bare(mut address: Multiaddr) -> Multiaddr {
    if matches!(address.iter().last(), Some(Protocol::P2p(_))) {
        address.pop();
    }
    address
}

/// Whether an address leads through a relay.
pub(crate) fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
}

/// Whether an address is one to dial, directly or through one relay.
pub(crate) fn is_route(address: &Multiaddr) -> bool {
    let mut parts = address.iter();
    let mut relay = Multiaddr::empty();
    for part in parts.by_ref().take_while(|part| *part != Protocol::P2pCircuit) {
        relay.push(part);
    }
    if !is_relayed(address) {
        return is_dialable(address);
    }
    let ends = matches!((parts.next(), parts.next()), (None | Some(Protocol::P2p(_)), None));
    ends && matches!(relay.pop(), Some(Protocol::P2p(_))) && is_dialable(&relay)
}

/// Whether an address begins with a host and goes on with TCP or QUIC.
pub(crate) fn is_dialable(address: &Multiaddr) -> bool {
    let mut parts = address.iter();
    if matches!((parts.next(), parts.next()), (Some(Protocol::Memory(_)), None)) {
        return true;
    }
    let mut parts = address.iter();
    let host = matches!(
        parts.next(),
        Some(Protocol::Ip4(_) | Protocol::Ip6(_) | Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_))
    );
    let port = match parts.next() {
        Some(Protocol::Tcp(_)) => true,
        Some(Protocol::Udp(_)) => matches!(parts.next(), Some(Protocol::QuicV1)),
        _ => false,
    };
    host && port && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_and_the_mistake_is_named() {
        for good in ["/ip4/127.0.0.1/tcp/0", "/ip6/::/udp/4001/quic-v1"] {
            assert_eq!(Config::listen_address(good).unwrap().to_string(), good);
        }
        for bad in ["", "127.0.0.1:80", "/ip4/127.0.0.1", "/dns/x/tcp/1", "/ip4/1.2.3.4/udp/1", "/ip4/1.2.3.4/tcp/1/ws"]
        {
            assert!(Config::listen_address(bad).is_err(), "{bad}");
        }
        let id = PeerId::random();
        let (peer, address) = Config::peer_address(&format!("/dns/a.example/udp/4001/quic-v1/p2p/{id}")).unwrap();
        assert_eq!((peer, address.to_string().as_str()), (id, "/dns/a.example/udp/4001/quic-v1"));
        let relayed = format!("/ip4/1.2.3.4/tcp/1/p2p/{id}/p2p-circuit");
        let (peer, address) = Config::peer_address(&format!("{relayed}/p2p/{id}")).unwrap();
        assert_eq!((peer, address.to_string()), (id, relayed.clone()));
        let twice = format!("{relayed}/p2p/{id}/p2p-circuit/p2p/{id}");
        for bad in ["/ip4/1.2.3.4/tcp/1", &format!("/p2p/{id}"), &relayed, &format!("/p2p-circuit/p2p/{id}"), &twice] {
            let text = Config::peer_address(bad).unwrap_err().to_string();
            assert!(text.contains(&bad[..bad.len().min(100)]), "{text}");
        }
    }
}
