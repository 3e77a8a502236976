//! Who provides what, as the hash table's store: our own records and those of others apart, so that nobody's spam takes the
//! room of ours. Values are not kept: everything that travels is signed and fetched by its hash.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::kad::store::{Error, RecordStore, Result};
use libp2p::kad::{ProviderRecord, Record, RecordKey};

/// The most keys of others.
const MOST_KEYS: usize = 100_000;
/// The most providers of one key.
const MOST_PROVIDERS: usize = 20;
/// The most keys of one peer.
const MOST_OF_PEER: usize = 256;
/// The most addresses that are kept with a record.
const MOST_ADDRESSES: usize = 8;
/// How long a record lasts.
pub(crate) const LASTS: Duration = Duration::from_hours(24);

/// The store.
#[derive(Debug)]
pub(crate) struct Providers {
    me: PeerId,
    ours: HashMap<RecordKey, ProviderRecord>,
    theirs: HashMap<RecordKey, Vec<ProviderRecord>>,
    of_peer: HashMap<PeerId, HashSet<RecordKey>>,
}

impl Providers {
    pub fn new(me: PeerId) -> Self {
        Self { me, ours: HashMap::new(), theirs: HashMap::new(), of_peer: HashMap::new() }
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
        if let Some(keys) = self.of_peer.get_mut(peer) {
            keys.remove(key);
            if keys.is_empty() {
                self.of_peer.remove(peer);
            }
        }
    }
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
        record.addresses.truncate(MOST_ADDRESSES);
        let latest = Instant::now() + LASTS;
        record.expires = Some(record.expires.map_or(latest, |at| at.min(latest)));
        let full = self.theirs.len() >= MOST_KEYS;
        let of_peer = self.of_peer.entry(record.provider).or_default();
        let is_new = !of_peer.contains(&record.key);
        let refused = is_new
            && (of_peer.len() >= MOST_OF_PEER
                || match self.theirs.get(&record.key) {
                    Some(records) => records.len() >= MOST_PROVIDERS,
                    None => full,
                });
        if refused {
            if of_peer.is_empty() {
                self.of_peer.remove(&record.provider);
            }
            return Err(Error::MaxProvidedKeys);
        }
        of_peer.insert(record.key.clone());
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
    fn spam_takes_no_room_of_ours_and_one_peer_no_more_than_its_share() {
        let me = PeerId::random();
        let mut store = Providers::new(me);
        let spammer = PeerId::random();
        for key in 0..1_000 {
            let _ = store.add_provider(record(key, spammer));
        }
        assert_eq!(store.theirs.len(), MOST_OF_PEER);
        let mut others = 0;
        while store.theirs.len() < MOST_KEYS {
            let peer = PeerId::random();
            for key in 0..MOST_OF_PEER as u64 {
                let _ = store.add_provider(record(1_000_000 + others * 1_000 + key, peer));
            }
            others += 1;
        }
        assert!(store.add_provider(record(7_777_777_777, PeerId::random())).is_err(), "it is full");
        for key in 0..2_000 {
            store.add_provider(record(9_000_000_000 + key, me)).unwrap();
        }
        assert_eq!(store.provided().count(), 2_000);
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
        assert!(store.theirs.is_empty() && store.of_peer.is_empty());
        store.add_provider(record(1, peers[0])).unwrap();
        store.remove_provider(&record(1, peers[0]).key, &peers[0]);
        assert!(store.theirs.is_empty() && store.of_peer.is_empty());
    }
}
