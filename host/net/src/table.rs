//! Who enters the hash table's buckets: few from one network, so that whoever has one network does not have the table.

use libp2p::kad::{self, KBucketKey};
use libp2p::{Multiaddr, PeerId};

use crate::gate::{Reach, ip_of, nets, reach};
use crate::providers::Providers;

/// Peers of one IPv4 /24 or IPv6 /48 in one bucket, and in the whole table.
const IN_BUCKET: usize = 2;
const IN_TABLE: usize = 10;

/// Whether a peer at an address may enter. Whoever is there may stay; local networks count for nothing.
pub(crate) fn may_enter(kad: &mut kad::Behaviour<Providers>, me: PeerId, peer: PeerId, address: &Multiaddr) -> bool {
    let place = |peer: &PeerId| KBucketKey::from(me).distance(&KBucketKey::from(*peer)).ilog2();
    let mut known = Vec::new();
    for bucket in kad.kbuckets() {
        known.extend(bucket.iter().map(|entry| (*entry.node.key.preimage(), net_of(entry.node.value.first()))));
    }
    fits(known, place, peer, net_of(address))
}

fn net_of(address: &Multiaddr) -> Option<(bool, u128)> {
    let ip = ip_of(address).filter(|_| reach(address) == Reach::Everywhere)?;
    Some(nets(ip)[1])
}

fn fits(
    known: Vec<(PeerId, Option<(bool, u128)>)>,
    place: impl Fn(&PeerId) -> Option<u32>,
    peer: PeerId,
    net: Option<(bool, u128)>,
) -> bool {
    if net.is_none() || known.iter().any(|(other, _)| *other == peer) {
        return true;
    }
    let near: Vec<_> = known.into_iter().filter(|(_, other)| *other == net).map(|(other, _)| place(&other)).collect();
    near.len() < IN_TABLE && near.iter().filter(|other| **other == place(&peer)).count() < IN_BUCKET
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_network_has_few_places_in_a_bucket_and_in_the_table() {
        let me = PeerId::random();
        let place = |peer: &PeerId| KBucketKey::from(me).distance(&KBucketKey::from(*peer)).ilog2();
        let net = |text: &str| net_of(&text.parse().unwrap());
        let mut known = Vec::new();
        for n in 0..2_000 {
            let (peer, at) = (PeerId::random(), net(&format!("/ip4/198.51.100.{}/tcp/1", n % 250 + 1)));
            if fits(known.clone(), place, peer, at) {
                known.push((peer, at));
            }
        }
        assert!(known.len() <= IN_TABLE && known.len() >= IN_BUCKET, "{}", known.len());
        let in_bucket = |peer: &PeerId| known.iter().filter(|(other, _)| place(other) == place(peer)).count();
        assert!(known.iter().all(|(peer, _)| in_bucket(peer) <= IN_BUCKET));
        assert!(fits(known.clone(), place, known[0].0, known[0].1), "whoever is there stays");
        assert!(
            fits(known.clone(), place, PeerId::random(), net("/ip4/203.0.113.1/tcp/1")),
            "another network is another"
        );
        assert!(fits(known, place, PeerId::random(), net("/ip4/10.0.0.1/tcp/1")), "a local network counts for nothing");
    }
}
