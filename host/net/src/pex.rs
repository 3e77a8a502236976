//! Peer exchange: who shares a release, as this node knows it, told to others that do. A second way to sources beside the
//! hash table, which an attack on the table does not close.
//!
//! The loop keeps the [`Sharers`] and answers for them; a fetch asks its own sources. Nothing of it is believed beyond "try
//! there": what comes from whoever is found this way verifies like all else. An address is only passed on where its peer
//! was seen at it, so that nobody makes this node send others to a third party.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use fondaco_schemas::ReleaseId;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::oneshot;

use crate::ask::{Answered, PeerAt, Question};
use crate::config::{bare, is_dialable};
use crate::error::Result;
use crate::gate::{Offence, Reach, ip_of, may_be_named, reach};
use crate::net::{Net, Peer};
use crate::swarm::Command;

/// The most releases whose sharers are remembered.
const MOST_RELEASES: usize = 4096;
/// The most sharers of one.
const MOST_SHARERS: usize = 32;
/// How many of them can be such as only asked, and brought nothing.
const MOST_ASKERS: usize = 16;
/// The most that are told at once.
const MOST_TOLD: usize = 16;
/// The most addresses of one.
pub(crate) const MOST_ADDRESSES: usize = 4;
/// How long somebody is told after having been seen.
const LASTS: Duration = Duration::from_mins(30);
/// The longest answer, in bytes.
const MOST_BYTES: usize = 16 << 10;

/// A peer with addresses.
pub(crate) type At = (PeerId, Vec<Multiaddr>);

#[derive(Debug)]
struct Sharer {
    peer: PeerId,
    addresses: Vec<Multiaddr>,
    seen: Instant,
    /// It brought bytes that verified.
    proven: bool,
}

/// Who shares what.
#[derive(Debug, Default)]
pub(crate) struct Sharers(HashMap<[u8; 32], Vec<Sharer>>);

impl Sharers {
    /// Whether anybody is known to share it.
    pub fn knows(&self, key: &[u8; 32]) -> bool {
        self.0.contains_key(key)
    }

    /// Remembers a sharer. Those who proved themselves are not driven out by those who only say so.
    pub fn saw(&mut self, key: [u8; 32], (peer, addresses): At, proven: bool, now: Instant) {
        if addresses.is_empty() || (self.0.len() >= MOST_RELEASES && !self.knows(&key) && !self.make_room(now)) {
            return;
        }
        let all = self.0.entry(key).or_default();
        let proven = proven || all.iter().any(|s| s.peer == peer && s.proven);
        all.retain(|s| s.peer != peer);
        let askers = all.iter().filter(|s| !s.proven).count();
        if all.len() >= MOST_SHARERS || (!proven && askers >= MOST_ASKERS) {
            let oldest = all.iter().enumerate().filter(|(_, s)| proven || !s.proven).min_by_key(|(_, s)| s.seen);
            match oldest.map(|(at, _)| at) {
                Some(at) => drop(all.swap_remove(at)),
                None => return,
            }
        }
        all.push(Sharer { peer, addresses, seen: now, proven });
    }

    /// Forgets what is old, and if nothing is, the release that was seen longest ago. Answers whether there is room now.
    fn make_room(&mut self, now: Instant) -> bool {
        self.tidy(now);
        if self.0.len() >= MOST_RELEASES {
            let last = |all: &Vec<Sharer>| all.iter().map(|s| s.seen).max();
            if let Some(key) = self.0.iter().min_by_key(|(_, all)| last(all)).map(|(key, _)| *key) {
                self.0.remove(&key);
            }
        }
        self.0.len() < MOST_RELEASES
    }

    /// Forgets what is old.
    pub fn tidy(&mut self, now: Instant) {
        self.0.retain(|_, all| {
            all.retain(|s| now.duration_since(s.seen) < LASTS);
            !all.is_empty()
        });
    }

    /// Whom to tell somebody of: the proven first, then the newest; addresses only as far as `within` reaches.
    pub fn told(&self, key: &[u8; 32], asker: PeerId, within: Reach, now: Instant) -> Vec<PeerAt> {
        let recent = |s: &&Sharer| s.peer != asker && now.duration_since(s.seen) < LASTS;
        let mut all: Vec<&Sharer> = self.0.get(key).into_iter().flatten().filter(recent).collect();
        all.sort_by_key(|s| (!s.proven, std::cmp::Reverse(s.seen)));
        let fitting = |s: &Sharer| -> Vec<Multiaddr> {
            s.addresses.iter().filter(|a| reach(a) <= within).take(MOST_ADDRESSES).cloned().collect()
        };
        let told = all.into_iter().map(|s| (s.peer, fitting(s))).filter(|(_, addresses)| !addresses.is_empty());
        told.take(MOST_TOLD).map(|(peer, addresses)| PeerAt::new(peer, &addresses)).collect()
    }
}

/// How far the connections to a peer reach, and where others can dial it: addresses that this node dialled, and those of
/// the addresses that the peer says it has (`said`) that are on the machine that it was seen at.
pub(crate) fn whereabouts<'a>(
    connections: impl Iterator<Item = &'a Peer>,
    said: &[Multiaddr],
) -> Option<(Reach, Vec<Multiaddr>)> {
    let direct = connections.filter(|c| !c.address.iter().any(|p| p == Protocol::P2pCircuit));
    let (mut within, mut addresses, mut seen) = (None::<Reach>, Vec::new(), Vec::<IpAddr>::new());
    for connection in direct {
        let r = reach(&connection.address);
        within = Some(within.map_or(r, |w| w.min(r)));
        seen.extend(ip_of(&connection.address));
        if !connection.inbound {
            addresses.push(bare(connection.address.clone()));
        }
    }
    let within = within?;
    addresses.extend(said.iter().filter(|a| ip_of(a).is_some_and(|ip| seen.contains(&ip))).cloned());
    addresses.retain(is_dialable);
    let mut known = std::collections::HashSet::new();
    addresses.retain(|a| known.insert(a.clone()));
    addresses.truncate(MOST_ADDRESSES);
    Some((within, addresses))
}

impl Net {
    /// These peers brought bytes of a release that verified: others may be told of them.
    pub(crate) fn brought(&self, release: ReleaseId, peers: Vec<PeerId>) {
        self.hint(Command::Brought { key: *release.as_bytes(), peers });
    }

    /// Asks a peer who else shares a release. Whom it names is somebody to try, and no more.
    pub(crate) async fn sharers(&self, release: ReleaseId, (peer, addresses): At) -> Result<Vec<At>> {
        let named = match self.ask(peer, addresses, &Question::Peers(release), MOST_BYTES).await? {
            Answered::Peers(named) => named,
            Answered::Nothing | Answered::Busy(_) | Answered::TooLong(_) => Vec::new(),
            _ => {
                self.note(peer, Offence::Protocol);
                Vec::new()
            }
        };
        let within = self.to_loop(|reply: oneshot::Sender<_>| Command::Reach { peer, reply }).await?;
        let Some(within) = within else { return Ok(Vec::new()) };
        let believed =
            |a: &Multiaddr| is_dialable(a) && reach(a) <= within && (within > Reach::Everywhere || may_be_named(a));
        let at = |named: PeerAt| -> Option<At> {
            let (peer, addresses) = named.read()?;
            let addresses: Vec<_> = addresses.into_iter().map(bare).filter(believed).take(MOST_ADDRESSES).collect();
            (!addresses.is_empty()).then_some((peer, addresses))
        };
        Ok(named.into_iter().take(MOST_TOLD).filter_map(at).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: usize) -> At {
        (PeerId::random(), vec![format!("/ip4/192.0.2.1/tcp/{port}").parse().unwrap()])
    }

    fn peers(told: Vec<PeerAt>) -> Vec<PeerId> {
        told.into_iter().map(|p| p.read().unwrap().0).collect()
    }

    #[test]
    fn a_flood_of_askers_drives_out_none_who_brought_something() {
        let (mut sharers, now) = (Sharers::default(), Instant::now());
        let good = at(1);
        sharers.saw([1; 32], good.clone(), true, now);
        for port in 2..2000 {
            sharers.saw([1; 32], at(port), false, now + Duration::from_millis(port as u64));
        }
        let told = peers(sharers.told(&[1; 32], PeerId::random(), Reach::Everywhere, now + Duration::from_secs(3)));
        assert_eq!(told.len(), MOST_TOLD);
        assert_eq!(told[0], good.0);
        assert!(sharers.0[&[1; 32]].len() <= MOST_SHARERS);
        // It was seen; that it asks later makes it no worse.
        sharers.saw([1; 32], good.clone(), false, now + Duration::from_secs(3));
        assert!(sharers.0[&[1; 32]].iter().any(|s| s.peer == good.0 && s.proven));
        // Nobody is told of itself, and nobody of what is long ago.
        assert!(
            !peers(sharers.told(&[1; 32], good.0, Reach::Everywhere, now + Duration::from_secs(3))).contains(&good.0)
        );
        assert!(sharers.told(&[1; 32], PeerId::random(), Reach::Everywhere, now + LASTS * 2).is_empty());
        for key in 0..10_000_u32 {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&key.to_le_bytes());
            sharers.saw(id, at(1), true, now + Duration::from_secs(9));
        }
        assert!(sharers.0.len() <= MOST_RELEASES);
        sharers.tidy(now + LASTS * 2);
        assert!(sharers.0.is_empty());
    }

    #[test]
    fn addresses_are_told_as_far_as_the_asker_reaches_and_only_where_their_peer_was_seen() {
        let connection = |address: &str, inbound| Peer {
            is_full: false,
            id: PeerId::random(),
            address: address.parse().unwrap(),
            inbound,
            relayed: false,
            agent: None,
            round_trip: None,
        };
        let said: Vec<Multiaddr> =
            ["/ip4/198.51.100.7/tcp/4001", "/ip4/203.0.113.9/tcp/80", "/dns/victim.example/tcp/80"]
                .map(|a| a.parse().unwrap())
                .to_vec();
        let seen = [connection("/ip4/198.51.100.7/tcp/50123", true)];
        let (within, addresses) = whereabouts(seen.iter(), &said).unwrap();
        assert_eq!((within, addresses), (Reach::Everywhere, vec![said[0].clone()]), "no third party is named");
        let seen = [connection("/dns/node.example/tcp/4001", false), connection("/ip4/127.0.0.1/tcp/9", true)];
        let (within, addresses) = whereabouts(seen.iter(), &[]).unwrap();
        assert_eq!((within, addresses.len()), (Reach::Everywhere, 1));
        let relayed = [connection(
            "/ip4/198.51.100.7/tcp/1/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA/p2p-circuit",
            true,
        )];
        assert!(whereabouts(relayed.iter(), &said).is_none());

        let (mut sharers, now) = (Sharers::default(), Instant::now());
        let local = (PeerId::random(), vec!["/ip4/192.168.0.2/tcp/1".parse().unwrap()]);
        sharers.saw([1; 32], local, true, now);
        assert!(sharers.told(&[1; 32], PeerId::random(), Reach::Everywhere, now).is_empty());
        assert_eq!(sharers.told(&[1; 32], PeerId::random(), Reach::Local, now).len(), 1);
    }

    #[test]
    fn those_who_only_ask_leave_room_for_those_who_bring_and_both_are_few() {
        let (mut sharers, now) = (Sharers::default(), Instant::now());
        let later = |ms| now + Duration::from_millis(ms);
        let mut good: Vec<At> = (0..10).map(at).collect();
        for one in &good {
            sharers.saw([1; 32], one.clone(), true, now);
        }
        for port in 100..200 {
            sharers.saw([1; 32], at(port), false, later(1));
        }
        good.push(at(99));
        sharers.saw([1; 32], good[10].clone(), true, later(2));
        let told = peers(sharers.told(&[1; 32], PeerId::random(), Reach::Everywhere, later(3)));
        assert!(good.iter().all(|(peer, _)| told.contains(peer)), "who came last drove out who brought something");
        for port in 0..100 {
            sharers.saw([2; 32], at(port), true, now);
        }
        assert_eq!(sharers.0[&[2; 32]].len(), MOST_SHARERS);
    }
}
