//! Who may connect: bans, the allow-list and the members of a private network, and so many connections for each address and network.
//!
//! A behaviour without a protocol: it stands first, so that it denies before others allocate anything.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    dummy,
};
use libp2p::{Multiaddr, PeerId};

use crate::book;
use crate::config::{bare, is_relayed, is_route};
use crate::member::{Members, Why};

/// How long a ban lasts.
pub(crate) const BAN: Duration = Duration::from_hours(24);
/// At this score a peer is banned.
const ENOUGH: u32 = 90;
/// How long it takes until half of what a peer did is forgotten.
const FORGIVES: Duration = Duration::from_hours(1);
/// The most peers that are remembered for what they did.
const MOST: usize = 10_000;
/// Inbound connections through relays, all together: their senders' addresses are not known.
const MOST_RELAYED: u32 = 64;
/// Dials to one address that others asked for, in [`ASKED_TIME`].
const MOST_ASKED: u32 = 4;
/// See [`MOST_ASKED`].
const ASKED_TIME: Duration = Duration::from_secs(10);

/// What a peer did that it should not have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offence {
    /// It sent bytes that are not those of the blob.
    BadData,
    /// It broke the protocol.
    Protocol,
    /// It was too slow to be of use.
    Slow,
    /// It passed on what nobody signed, which whoever is honest looks at before.
    Forgery,
    /// It went on asking after it was told that it asks too much.
    Flood,
}

impl Offence {
    fn weight(self) -> u32 {
        match self {
            // Three times is enough. A broken disk is found by its owner too, who then no longer serves the blob.
            Self::BadData => 30,
            // Twice: the gossip behaviour soon stops to listen by itself, and shows no third.
            Self::Forgery => 50,
            Self::Protocol => 15,
            Self::Slow => 3,
            Self::Flood => 10,
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Denied {
    #[error("the peer is banned")]
    Banned,
    #[error("the peer is not on the allow-list of this private network")]
    NotAllowed,
    #[error("the peer has not shown that it is a member of this private network")]
    NoMember,
    #[error("the peer was refused less than a minute ago: {0}")]
    Refused(Why),
    #[error("too many connections from {0}")]
    TooMany(String),
    #[error("a stranger asked to dial {0}, which is not for everybody to reach")]
    NotTheirs(Multiaddr),
    #[error("strangers ask too often to dial {0}")]
    Asked(IpAddr),
}

/// A network that connections are counted for: a prefix of an address.
type Net = (bool, u128);

/// What stands for all who come through relays. No address has this bit.
const RELAYED: Net = (false, 1 << 100);

/// The behaviour.
#[derive(Debug)]
pub(crate) struct Gate {
    allow: Option<BTreeSet<PeerId>>,
    /// In a network with an authority, who may take part is theirs to say.
    members: Option<Arc<Members>>,
    per_address: u32,
    /// What each did, and since when that is so.
    scores: HashMap<PeerId, (u32, Instant)>,
    bans: HashMap<PeerId, Instant>,
    /// Inbound connections, pending ones among them.
    inbound: HashMap<ConnectionId, [Net; 2]>,
    counts: HashMap<Net, u32>,
    /// A node that keeps to a local network lets others name addresses in it.
    local: bool,
    /// Dials that this node wants for its own sake.
    own: HashSet<ConnectionId>,
    /// Dials that others asked for lately, by address; cleared every [`ASKED_TIME`].
    asked: (Instant, HashMap<IpAddr, u32>),
    /// Connections that were refused.
    pub refused: u64,
}

impl Gate {
    pub fn new(allow: Option<BTreeSet<PeerId>>, members: Option<Arc<Members>>, per_address: u32, local: bool) -> Self {
        Self {
            allow,
            members,
            per_address,
            scores: HashMap::new(),
            bans: HashMap::new(),
            inbound: HashMap::new(),
            counts: HashMap::new(),
            local,
            own: HashSet::new(),
            asked: (Instant::now(), HashMap::new()),
            refused: 0,
        }
    }

    /// The next dial with this id is this node's own wish, and goes wherever it goes.
    pub fn wish(&mut self, id: ConnectionId) {
        self.own.insert(id);
    }

    /// Looks at a dial that a peer caused: a test of its addresses, a hole to be punched. Nobody makes this node knock at
    /// doors of its own network, or at a third party's again and again.
    fn look_at(&mut self, id: ConnectionId, addresses: &[Multiaddr]) -> Result<(), Denied> {
        if self.own.remove(&id) || self.local {
            return Ok(());
        }
        if let Some(address) = addresses.iter().find(|address| !may_be_named(address)) {
            return Err(Denied::NotTheirs(address.clone()));
        }
        if self.asked.0.elapsed() >= ASKED_TIME {
            self.asked = (Instant::now(), HashMap::new());
        }
        let ips: BTreeSet<IpAddr> = addresses.iter().filter_map(ip_of).collect();
        for ip in ips {
            let count = self.asked.1.entry(ip).or_default();
            if *count >= MOST_ASKED {
                return Err(Denied::Asked(ip));
            }
            *count += 1;
        }
        Ok(())
    }

    /// Remembers what a peer did; answers whether it is banned now.
    pub fn note(&mut self, peer: PeerId, offence: Offence) -> bool {
        self.note_at(peer, offence, Instant::now())
    }

    fn note_at(&mut self, peer: PeerId, offence: Offence, now: Instant) -> bool {
        if self.scores.len() >= MOST && !self.scores.contains_key(&peer) {
            // Whoever floods us with identities does not make us forget the worst; nor remember ever more of them.
            let is_kept = |score: u32, at: Instant| score >= ENOUGH / 2 && now.saturating_duration_since(at) < FORGIVES;
            self.scores.retain(|_, (score, at)| is_kept(*score, *at));
            if self.scores.len() >= MOST {
                return false;
            }
        }
        let (score, at) = self.scores.entry(peer).or_insert((0, now));
        let halves = now.saturating_duration_since(*at).as_secs() / FORGIVES.as_secs();
        if halves > 0 {
            (*score, *at) = (score.checked_shr(u32::try_from(halves).unwrap_or(u32::MAX)).unwrap_or(0), now);
        }
        *score = score.saturating_add(offence.weight());
        let banned = *score >= ENOUGH;
        if banned {
            // It begins anew when the ban ends.
            self.scores.remove(&peer);
            self.ban(peer, BAN);
        }
        banned
    }

    /// Bans a peer for some time.
    pub fn ban(&mut self, peer: PeerId, time: Duration) {
        self.bans.retain(|_, until| *until > Instant::now());
        if self.bans.len() < MOST {
            self.bans.insert(peer, Instant::now() + time);
        }
    }

    /// Whether a peer is banned now.
    pub fn is_banned(&self, peer: &PeerId) -> bool {
        self.bans.get(peer).is_some_and(|until| *until > Instant::now())
    }

    /// Who is banned, and for how long still.
    pub fn bans(&self) -> Vec<(PeerId, Duration)> {
        let now = Instant::now();
        self.bans.iter().filter(|(_, until)| **until > now).map(|(peer, until)| (*peer, *until - now)).collect()
    }

    /// Whether a peer that was not dialled yet may be.
    fn check_before(&self, peer: &PeerId) -> Result<(), ConnectionDenied> {
        match &self.members {
            // What it is, it shows once it is dialled.
            Some(members) if !self.is_banned(peer) => match members.refused(peer) {
                Some(why) => Err(ConnectionDenied::new(Denied::Refused(why))),
                None => Ok(()),
            },
            _ => self.check(peer),
        }
    }

    fn check(&self, peer: &PeerId) -> Result<(), ConnectionDenied> {
        if self.is_banned(peer) {
            return Err(ConnectionDenied::new(Denied::Banned));
        }
        if let Some(members) = &self.members {
            let admitted = members.admits(peer, book::now());
            return if admitted { Ok(()) } else { Err(ConnectionDenied::new(Denied::NoMember)) };
        }
        if self.allow.as_ref().is_some_and(|allow| !allow.contains(peer)) {
            return Err(ConnectionDenied::new(Denied::NotAllowed));
        }
        Ok(())
    }

    fn enter(&mut self, id: ConnectionId, address: &Multiaddr) -> Result<(), ConnectionDenied> {
        let (nets, most, from) = match ip_of(address) {
            Some(ip) if !ip.is_loopback() => {
                (nets(ip), [self.per_address, self.per_address.saturating_mul(4)], ip.to_string())
            }
            None if matches!(address.iter().next(), Some(Protocol::P2p(_))) => {
                ([RELAYED; 2], [MOST_RELAYED.saturating_mul(2); 2], "relays".to_owned())
            }
            _ => return Ok(()),
        };
        for (net, most) in nets.iter().zip(most) {
            if self.counts.get(net).copied().unwrap_or(0) >= most {
                self.refused += 1;
                return Err(ConnectionDenied::new(Denied::TooMany(from)));
            }
        }
        for net in nets {
            *self.counts.entry(net).or_default() += 1;
        }
        self.inbound.insert(id, nets);
        Ok(())
    }

    fn leave(&mut self, id: ConnectionId) {
        for net in self.inbound.remove(&id).into_iter().flatten() {
            if let Some(count) = self.counts.get_mut(&net) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&net);
                }
            }
        }
    }
}

/// The address' IP, if it begins with one.
pub(crate) fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.to_ipv4_mapped().map_or(ip.into(), IpAddr::from)),
        _ => None,
    }
}

/// The two networks that an address counts for: itself and its /24, or its /64 and its /48.
pub(crate) fn nets(ip: IpAddr) -> [Net; 2] {
    match ip {
        IpAddr::V4(ip) => {
            let bits = u128::from(u32::from(ip));
            // Apart from each other by a bit that no address has.
            [(false, bits), (false, (1 << 32) | (bits >> 8))]
        }
        IpAddr::V6(ip) => {
            let bits = u128::from(ip);
            [(true, bits >> 64), (true, (1 << 127) | (bits >> 80))]
        }
    }
}

/// How far an address reaches: what is learnt over a connection is believed only as far as the connection itself reaches,
/// so that no stranger makes us dial into our own network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    Everywhere,
    Local,
    Host,
}

pub(crate) fn reach(address: &Multiaddr) -> Reach {
    let v4 = |ip: std::net::Ipv4Addr| {
        let [a, b, ..] = ip.octets();
        ip.is_private()
            || ip.is_link_local()
            || ip.is_unspecified()
            || ip.is_broadcast()
            || ip.is_multicast()
            || (a == 100 && (64..128).contains(&b))
    };
    match ip_of(address) {
        Some(ip) if ip.is_loopback() => Reach::Host,
        Some(IpAddr::V4(ip)) if v4(ip) => Reach::Local,
        Some(IpAddr::V6(ip))
            if ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_unspecified() || ip.is_multicast() =>
        {
            Reach::Local
        }
        _ => Reach::Everywhere,
    }
}

/// Whether a stranger's word is enough to dial an address: one host, by its IP, that everybody may reach. A name leads
/// wherever its owner likes, and of several hosts in one address the transport dials the last, while [`ip_of`] reads the
/// first.
pub(crate) fn may_be_named(address: &Multiaddr) -> bool {
    let by_ip = matches!(address.iter().next(), Some(Protocol::Ip4(_) | Protocol::Ip6(_) | Protocol::Memory(_)));
    by_ip && reach(address) == Reach::Everywhere && is_route(&bare(address.clone()))
}

/// Of the addresses that a peer says it has, those on the hosts at which it was seen, and those at relays. A name stands for
/// such a host: where it leads is its owner's to say. So nobody has others dialled in their name, and one machine counts as
/// one, whatever its identities claim.
pub(crate) fn placed(seen: &BTreeSet<IpAddr>, said: impl Iterator<Item = Multiaddr>) -> Vec<Multiaddr> {
    let mut placed = Vec::new();
    for address in said {
        let host = address.iter().next();
        let is_name = matches!(host, Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_)));
        if is_relayed(&address) {
            placed.extend(may_be_named(&address).then_some(address));
        } else if is_name {
            placed.extend(seen.iter().filter_map(|ip| address.replace(0, |_| Some((*ip).into()))));
        } else if ip_of(&address).is_some_and(|ip| seen.contains(&ip)) {
            placed.push(address);
        }
    }
    let mut known = HashSet::new();
    placed.retain(|address| known.insert(address.clone()));
    placed
}

impl NetworkBehaviour for Gate {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.enter(id, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.check(&peer).map(|()| dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.look_at(id, addresses).map_err(ConnectionDenied::new)?;
        peer.map_or(Ok(()), |peer| self.check_before(&peer)).map(|()| Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.check(&peer).map(|()| dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(closed) => self.leave(closed.connection_id),
            FromSwarm::ListenFailure(failed) => self.leave(failed.connection_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inbound(gate: &mut Gate, id: usize, address: &str) -> bool {
        let address: Multiaddr = format!("{address}/tcp/1").parse().unwrap();
        gate.handle_pending_inbound_connection(ConnectionId::new_unchecked(id), &Multiaddr::empty(), &address).is_ok()
    }

    #[test]
    fn an_address_and_its_network_have_so_many_connections() {
        let mut gate = Gate::new(None, None, 2, false);
        assert!(inbound(&mut gate, 1, "/ip4/192.0.2.1") && inbound(&mut gate, 2, "/ip4/192.0.2.1"));
        assert!(!inbound(&mut gate, 3, "/ip4/192.0.2.1"));
        for id in 4..10 {
            assert!(inbound(&mut gate, id, &format!("/ip4/192.0.2.{id}")));
        }
        assert!(!inbound(&mut gate, 10, "/ip4/192.0.2.10"), "eight from one /24");
        assert!(inbound(&mut gate, 11, "/ip4/192.0.3.1"));
        gate.leave(ConnectionId::new_unchecked(4));
        assert!(inbound(&mut gate, 12, "/ip4/192.0.2.10"));
        // IPv6 is counted by what one customer has.
        assert!(inbound(&mut gate, 20, "/ip6/2001:db8::1") && inbound(&mut gate, 21, "/ip6/2001:db8::2"));
        assert!(!inbound(&mut gate, 22, "/ip6/2001:db8::3"));
        let mut through = 0;
        for id in 1000..1200 {
            let address = Multiaddr::from(Protocol::P2p(PeerId::random()));
            let connection = ConnectionId::new_unchecked(id);
            through += usize::from(gate.handle_pending_inbound_connection(connection, &address, &address).is_ok());
        }
        assert_eq!(through, MOST_RELAYED as usize);
        // A mapped address is the address that it stands for.
        assert!(inbound(&mut gate, 30, "/ip4/198.51.100.1") && inbound(&mut gate, 31, "/ip6/::ffff:198.51.100.1"));
        assert!(!inbound(&mut gate, 32, "/ip6/::ffff:198.51.100.1"));
        for id in 100..200 {
            assert!(inbound(&mut gate, id, "/ip4/127.0.0.1"), "loopback is ourselves");
        }
        for id in 0..1200 {
            gate.leave(ConnectionId::new_unchecked(id));
        }
        assert!(gate.counts.is_empty() && gate.inbound.is_empty());
    }

    #[test]
    fn strangers_do_not_make_this_node_dial_where_they_please() {
        let mut gate = Gate::new(None, None, 8, false);
        let id = ConnectionId::new_unchecked(1);
        let dial = |gate: &mut Gate, address: &str| {
            let addresses = [address.parse::<Multiaddr>().unwrap()];
            gate.handle_pending_outbound_connection(id, None, &addresses, Endpoint::Dialer).is_ok()
        };
        for inside in ["/ip4/10.0.0.1/tcp/22", "/ip4/127.0.0.1/tcp/80", "/ip4/169.254.169.254/tcp/80"] {
            assert!(!dial(&mut gate, inside), "{inside}");
            gate.wish(id);
            assert!(dial(&mut gate, inside), "{inside} is this node's own wish");
            assert!(!dial(&mut gate, inside), "{inside}: a wish is good for one dial");
        }
        // The transport dials the last host of an address; where a name leads, its owner says.
        let decoys = ["/ip4/198.51.100.9/ip4/127.0.0.1/tcp/6379", "/dns4/x.example/tcp/80", "/dnsaddr/x.example"];
        for decoy in decoys {
            assert!(!dial(&mut gate, decoy), "{decoy}");
        }
        let victim = "/ip4/198.51.100.1/tcp/1";
        assert_eq!((0..100).filter(|_| dial(&mut gate, victim)).count(), MOST_ASKED as usize);
        assert!(dial(&mut gate, "/ip4/198.51.100.2/tcp/1"));
        assert!(dial(&mut Gate::new(None, None, 8, true), "/ip4/10.0.0.1/tcp/22"), "a local network is its own");
    }

    #[test]
    fn three_lies_are_enough_and_strangers_stay_out_of_a_private_network() {
        let (friend, stranger) = (PeerId::random(), PeerId::random());
        let mut gate = Gate::new(Some(BTreeSet::from([friend])), None, 8, false);
        let dial = |gate: &mut Gate, peer| {
            gate.handle_pending_outbound_connection(ConnectionId::new_unchecked(1), Some(peer), &[], Endpoint::Dialer)
        };
        assert!(dial(&mut gate, friend).is_ok());
        assert!(dial(&mut gate, stranger).is_err());
        let address = Multiaddr::empty();
        let id = ConnectionId::new_unchecked(2);
        assert!(gate.handle_established_inbound_connection(id, stranger, &address, &address).is_err());
        assert!(!gate.note(friend, Offence::BadData) && !gate.note(friend, Offence::BadData));
        assert!(dial(&mut gate, friend).is_ok());
        assert!(gate.note(friend, Offence::BadData));
        assert!(dial(&mut gate, friend).is_err() && gate.is_banned(&friend));
        assert_eq!(gate.bans().len(), 1);
    }

    #[test]
    fn what_a_peer_did_is_forgotten_in_time_and_a_ban_ends_it() {
        let (peer, mut gate, mut now) = (PeerId::random(), Gate::new(None, None, 8, false), Instant::now());
        // A slow source now and then is no reason to lose it.
        for _ in 0..1000 {
            assert!(!gate.note_at(peer, Offence::Slow, now));
            now += FORGIVES;
        }
        let banned = (1..10).find(|_| gate.note_at(peer, Offence::BadData, now));
        assert!(banned.is_some_and(|times| times <= 3), "{banned:?}");
        assert!(!gate.note_at(peer, Offence::BadData, now), "it begins anew");
        // Identities cost nothing: there is an end to how many are remembered.
        for _ in 0..MOST + 500 {
            gate.note_at(PeerId::random(), Offence::Forgery, now);
        }
        assert!(gate.scores.len() <= MOST, "{}", gate.scores.len());
    }

    #[test]
    fn so_many_bans_are_remembered_and_no_more() {
        let mut gate = Gate::new(None, None, 8, false);
        for _ in 0..MOST + 500 {
            gate.ban(PeerId::random(), BAN);
        }
        assert_eq!(gate.bans().len(), MOST);
    }

    #[test]
    fn a_peer_is_where_it_was_seen_and_not_where_it_says() {
        let seen = BTreeSet::from(["192.0.2.1".parse().unwrap()]);
        let said = |text: &str| -> Vec<String> {
            placed(&seen, std::iter::once(text.parse().unwrap())).iter().map(ToString::to_string).collect()
        };
        assert_eq!(said("/ip4/192.0.2.1/tcp/4001"), ["/ip4/192.0.2.1/tcp/4001"]);
        assert!(said("/ip4/198.51.100.1/tcp/443").is_empty(), "somebody else's");
        assert_eq!(said("/dns/shop.example/udp/4001/quic-v1"), ["/ip4/192.0.2.1/udp/4001/quic-v1"]);
        let relay = format!("/ip4/198.51.100.2/tcp/1/p2p/{}/p2p-circuit", PeerId::random());
        assert_eq!(said(&relay), [relay.as_str()]);
        assert!(said(&relay.replace("ip4/198.51.100.2", "dns/x.example")).is_empty());
        assert!(said(&relay.replace("198.51.100.2", "10.0.0.1")).is_empty());
    }

    #[test]
    fn in_a_network_with_an_authority_nobody_is_connected_who_has_shown_nothing() {
        let own = crate::Membership::unchecked(fondaco_schemas::PublicKey::new([1; 32]), Vec::new());
        let (listed, stranger) = (PeerId::random(), PeerId::random());
        let members = Arc::new(Members::new(own, BTreeSet::from([listed])));
        let mut gate = Gate::new(None, Some(members), 8, false);
        let (id, address) = (ConnectionId::new_unchecked(1), Multiaddr::empty());
        for (peer, admitted) in [(listed, true), (stranger, false)] {
            assert_eq!(gate.handle_established_inbound_connection(id, peer, &address, &address).is_ok(), admitted);
            let dialled =
                gate.handle_established_outbound_connection(id, peer, &address, Endpoint::Dialer, PortUse::Reuse);
            assert_eq!(dialled.is_ok(), admitted);
        }
        // It is dialled, to be asked what it is; a banned one is not.
        let dial =
            |gate: &mut Gate, peer| gate.handle_pending_outbound_connection(id, Some(peer), &[], Endpoint::Dialer);
        assert!(dial(&mut gate, stranger).is_ok());
        gate.ban(stranger, BAN);
        assert!(dial(&mut gate, stranger).is_err());
    }

    #[test]
    fn addresses_reach_as_far_as_they_do() {
        for (address, expected) in [
            ("/ip4/127.0.0.1/tcp/1", Reach::Host),
            ("/ip6/::1/tcp/1", Reach::Host),
            ("/ip4/10.0.0.1/tcp/1", Reach::Local),
            ("/ip4/100.64.0.1/tcp/1", Reach::Local),
            ("/ip4/169.254.169.254/tcp/1", Reach::Local),
            ("/ip6/::ffff:192.168.0.1/tcp/1", Reach::Local),
            ("/ip6/fd00::1/tcp/1", Reach::Local),
            ("/ip4/198.51.100.1/tcp/1", Reach::Everywhere),
            ("/dns/a.example/tcp/1", Reach::Everywhere),
        ] {
            assert_eq!(reach(&address.parse().unwrap()), expected, "{address}");
        }
    }
}
