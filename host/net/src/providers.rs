//! Who provides what, as the hash table's store: our own records and those of others apart, so that nobody's spam takes the
//! room of ours; and among others' records, whoever has most makes room, so that nobody's spam takes the room of the honest.
//! Values are not kept: everything that travels is signed and fetched by its hash.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::kad::store::{Error, RecordStore, Result};
use libp2p::kad::{ProviderRecord, Record, RecordKey};

use crate::config::is_relayed;
use crate::gate::{Reach, ip_of, nets, reach};

/// The most records of others, all keys together.
const MOST_RECORDS: usize = 100_000;
/// The most providers of one key.
const MOST_PROVIDERS: usize = 20;
/// The most providers of one key in one IPv4 /24 or IPv6 /48.
const MOST_OF_NET: usize = 4;
/// The most keys of one peer while there is room. In a swarm of fifty nodes, each keeps two fifths of all records.
const MOST_OF_PEER: usize = 8192;
/// Keys that one peer may bring in [`BRINGS`].
const MOST_BROUGHT: u32 = 16_384;
/// See [`MOST_BROUGHT`].
const BRINGS: Duration = Duration::from_mins(10);
/// The most addresses that are kept with a record, and the length of one in bytes.
const MOST_ADDRESSES: usize = 8;
const MOST_ADDRESS_BYTES: usize = 256;
/// How long a record lasts.
pub(crate) const LASTS: Duration = Duration::from_hours(24);

/// The store.
#[derive(Debug)]
pub(crate) struct Providers {
    me: PeerId,
    ours: HashMap<RecordKey, ProviderRecord>,
    theirs: HashMap<RecordKey, Vec<ProviderRecord>>,
    of_peer: HashMap<PeerId, HashSet<RecordKey>>,
    /// Who has how many; the last has most.
    weights: BTreeSet<(usize, PeerId)>,
    records: usize,
    /// Who brought how many keys since when.
    brought: (Instant, HashMap<PeerId, u32>),
    /// Records of others that were refused, or made room.
    pub refused: u64,
}

impl Providers {
    pub fn new(me: PeerId) -> Self {
        Self {
            me,
            ours: HashMap::new(),
            theirs: HashMap::new(),
            of_peer: HashMap::new(),
            weights: BTreeSet::new(),
            records: 0,
            brought: (Instant::now(), HashMap::new()),
            refused: 0,
        }
    }

    /// This node.
    pub fn me(&self) -> &PeerId {
        &self.me
    }

    /// Records of ours, and of others.
    pub fn counts(&self) -> (usize, usize) {
        (self.ours.len(), self.records)
    }

    /// Whether a peer may bring so many more keys now.
    pub fn may_bring(&mut self, peer: PeerId, keys: usize) -> bool {
        if self.brought.0.elapsed() >= BRINGS {
            self.brought = (Instant::now(), HashMap::new());
        }
        let count = self.brought.1.entry(peer).or_default();
        *count = count.saturating_add(u32::try_from(keys).unwrap_or(u32::MAX));
        *count <= MOST_BROUGHT
    }

    /// Forgets what has expired.
    pub fn tidy(&mut self, now: Instant) {
        let mut gone = Vec::new();
        for (key, records) in &mut self.theirs {
            records.retain(|record| {
                let lasts = !record.is_expired(now);
                if !lasts {
                    gone.push((key.clone(), record.provider));
                }
                lasts
            });
        }
        self.theirs.retain(|_, records| !records.is_empty());
        for (key, peer) in gone {
            self.forget(&key, &peer);
        }
    }

    fn forget(&mut self, key: &RecordKey, peer: &PeerId) {
        let Some(keys) = self.of_peer.get_mut(peer) else { return };
        let before = keys.len();
        if keys.remove(key) {
            self.records = self.records.saturating_sub(1);
            self.weights.remove(&(before, *peer));
            if keys.is_empty() {
                self.of_peer.remove(peer);
            } else {
                self.weights.insert((before - 1, *peer));
            }
        }
    }

    fn remember(&mut self, key: &RecordKey, peer: PeerId) {
        let keys = self.of_peer.entry(peer).or_default();
        let before = keys.len();
        if keys.insert(key.clone()) {
            self.records += 1;
            self.weights.remove(&(before, peer));
            self.weights.insert((before + 1, peer));
        }
    }

    /// Whether a peer may have one more record of this key; whoever has most makes room for whoever has less.
    fn has_room(&mut self, record: &ProviderRecord) -> bool {
        let has = self.of_peer.get(&record.provider).map_or(0, HashSet::len);
        let others = self.theirs.get(&record.key).map_or(&[][..], Vec::as_slice);
        let net = net_of(record);
        let near = others.iter().filter(|other| net.is_some() && net_of(other) == net).count();
        if has >= MOST_OF_PEER || others.len() >= MOST_PROVIDERS || near >= MOST_OF_NET {
            return false;
        }
        if self.records < MOST_RECORDS {
            return true;
        }
        let heaviest = self.weights.last().filter(|(most, _)| *most > has + 1).map(|(_, peer)| *peer);
        let yields = heaviest.and_then(|peer| Some((self.of_peer.get(&peer)?.iter().next()?.clone(), peer)));
        if let Some((key, peer)) = &yields {
            self.remove_provider(key, peer);
            self.refused = self.refused.saturating_add(1);
        }
        yields.is_some()
    }
}

/// The network that a provider counts for. Loopback and local networks count for nothing.
fn net_of(record: &ProviderRecord) -> Option<(bool, u128)> {
    let address =
        record.addresses.iter().find(|address| !is_relayed(address) && reach(address) == Reach::Everywhere)?;
    ip_of(address).map(|ip| nets(ip)[1])
}

impl RecordStore for Providers {
    type RecordsIter<'a> = std::iter::Empty<Cow<'a, Record>>;
    type ProvidedIter<'a> = std::iter::Map<
        std::collections::hash_map::Values<'a, RecordKey, ProviderRecord>,
        fn(&'a ProviderRecord) -> Cow<'a, ProviderRecord>,
    >;

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

    fn add_provider(&mut self, mut record: ProviderRecord) -> Result<()> {
        if record.provider == self.me {
            self.ours.insert(record.key.clone(), record);
            return Ok(());
        }
        record.addresses.retain(|address| address.len() <= MOST_ADDRESS_BYTES);
        record.addresses.truncate(MOST_ADDRESSES);
        let latest = Instant::now() + LASTS;
        record.expires = Some(record.expires.map_or(latest, |at| at.min(latest)));
        let is_known = self.of_peer.get(&record.provider).is_some_and(|keys| keys.contains(&record.key));
        if !is_known && !self.has_room(&record) {
            self.refused = self.refused.saturating_add(1);
            return Err(Error::MaxProvidedKeys);
        }
        self.remember(&record.key, record.provider);
        let records = self.theirs.entry(record.key.clone()).or_default();
        match records.iter_mut().find(|r| r.provider == record.provider) {
            Some(known) => *known = record,
            None => records.push(record),
        }
        Ok(())
    }

    fn providers(&self, key: &RecordKey) -> Vec<ProviderRecord> {
        let now = Instant::now();
        let theirs = self.theirs.get(key).into_iter().flatten().filter(|r| !r.is_expired(now));
        self.ours.get(key).into_iter().chain(theirs).cloned().collect()
    }

    fn provided(&self) -> Self::ProvidedIter<'_> {
        self.ours.values().map(Cow::Borrowed)
    }

    fn remove_provider(&mut self, key: &RecordKey, peer: &PeerId) {
        if *peer == self.me {
            self.ours.remove(key);
            return;
        }
        if let Some(records) = self.theirs.get_mut(key) {
            records.retain(|r| r.provider != *peer);
            if records.is_empty() {
                self.theirs.remove(key);
            }
        }
        self.forget(key, peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: u64, provider: PeerId) -> ProviderRecord {
        ProviderRecord { key: RecordKey::new(&key.to_le_bytes()), provider, expires: None, addresses: Vec::new() }
    }

    #[test]
    fn spam_takes_no_room_of_ours_nor_of_the_honest() {
        let me = PeerId::random();
        let mut store = Providers::new(me);
        let spammer = PeerId::random();
        for key in 0..10_000 {
            let _ = store.add_provider(record(key, spammer));
        }
        assert_eq!(store.records, MOST_OF_PEER);
        // Half as many again as there is room for, of a hundred who do nothing else.
        let spammers: Vec<PeerId> = (0..100).map(|_| PeerId::random()).collect();
        for (n, peer) in spammers.iter().cycle().take(150_000).enumerate() {
            let _ = store.add_provider(record(1_000_000 + n as u64, *peer));
        }
        assert_eq!(store.records, MOST_RECORDS, "it is full");
        assert_eq!(store.weights.iter().map(|(count, _)| count).sum::<usize>(), MOST_RECORDS);
        let honest = PeerId::random();
        for key in 0..500 {
            store.add_provider(record(7_000_000_000 + key, honest)).unwrap();
        }
        assert_eq!(store.of_peer[&honest].len(), 500);
        assert_eq!(store.records, MOST_RECORDS);
        let most = store.weights.last().map(|(_, peer)| *peer).unwrap();
        assert!(store.add_provider(record(77_777_777_777, most)).is_err());
        for key in 0..2_000 {
            store.add_provider(record(9_000_000_000 + key, me)).unwrap();
        }
        assert_eq!(store.provided().count(), 2_000);
        assert_eq!(store.counts(), (2_000, MOST_RECORDS));
    }

    #[test]
    fn a_million_records_of_others_leave_all_the_room_to_ours() {
        let me = PeerId::random();
        let mut store = Providers::new(me);
        let spammers: Vec<PeerId> = (0..500).map(|_| PeerId::random()).collect();
        for (key, peer) in (0..1_000_000).zip(spammers.iter().cycle()) {
            let _ = store.add_provider(record(key, *peer));
        }
        assert_eq!(store.counts(), (0, MOST_RECORDS));
        for key in 0..1_000 {
            store.add_provider(record(2_000_000 + key, me)).unwrap();
        }
        assert_eq!(store.counts(), (1_000, MOST_RECORDS));
        assert_eq!(store.provided().count(), 1_000);
    }

    #[test]
    fn one_network_is_not_all_providers_of_a_key() {
        let mut store = Providers::new(PeerId::random());
        let mut add = |address: &str| {
            let addresses = vec![address.parse().unwrap()];
            store.add_provider(ProviderRecord { addresses, ..record(1, PeerId::random()) }).is_ok()
        };
        assert_eq!((1..99).filter(|n| add(&format!("/ip4/198.51.100.{n}/tcp/1"))).count(), MOST_OF_NET);
        assert!(add("/ip4/203.0.113.1/tcp/1") && add("/dns/a.example/tcp/1"));
        assert!((0..10).all(|_| add("/ip4/127.0.0.1/tcp/1")), "nobody is far from here on this machine");
    }

    #[test]
    fn a_record_has_few_addresses_and_short_ones() {
        let mut store = Providers::new(PeerId::random());
        let long = format!("/dns/{}/tcp/1", "x".repeat(MOST_ADDRESS_BYTES));
        let addresses = (1..100).map(|port| format!("/ip4/192.0.2.1/tcp/{port}"));
        let addresses = std::iter::once(long).chain(addresses).map(|address| address.parse().unwrap()).collect();
        let record = ProviderRecord { addresses, ..record(1, PeerId::random()) };
        store.add_provider(record.clone()).unwrap();
        let kept = store.providers(&record.key).remove(0).addresses;
        assert_eq!(kept, record.addresses[1..=MOST_ADDRESSES]);
    }

    #[test]
    fn a_peer_brings_so_many_keys_and_no_more() {
        let mut store = Providers::new(PeerId::random());
        let (one, two) = (PeerId::random(), PeerId::random());
        assert_eq!((0..1000).filter(|_| store.may_bring(one, 256)).count(), MOST_BROUGHT as usize / 256);
        assert!(store.may_bring(two, 256));
    }

    #[test]
    fn a_key_has_so_many_providers_and_a_record_its_time() {
        let mut store = Providers::new(PeerId::random());
        let peers: Vec<PeerId> = (0..=MOST_PROVIDERS).map(|_| PeerId::random()).collect();
        for peer in &peers {
            let _ = store.add_provider(record(1, *peer));
        }
        assert_eq!(store.providers(&record(1, peers[0]).key).len(), MOST_PROVIDERS);
        store.add_provider(record(1, peers[0])).unwrap();
        assert_eq!(store.providers(&record(1, peers[0]).key).len(), MOST_PROVIDERS, "a renewed record is no other");
        store.tidy(Instant::now() + LASTS * 2);
        assert!(store.theirs.is_empty() && store.of_peer.is_empty() && store.weights.is_empty());
        store.add_provider(record(1, peers[0])).unwrap();
        store.remove_provider(&record(1, peers[0]).key, &peers[0]);
        assert!(store.theirs.is_empty() && store.of_peer.is_empty());
    }
}
