//! Telling the hash table what this node has, and telling it again before it forgets: region by region, so that ten thousand
//! releases cost little more than one.
//!
//! For a key that is due the table is asked who is nearest to it. Those nodes are the nearest for every other key of that
//! region too, so all keys that are due there go to them, many in one message: a record whose value is a list of keys. The
//! swarm's loop owns this, hands it the library's answers, and takes in such lists from others ([`read`]); that the sender
//! is the provider is known from the connection.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use libp2p::kad::store::RecordStore as _;
use libp2p::kad::{
    self, GetClosestPeersOk, KBucketKey, ProviderRecord, QueryId, QueryResult, Quorum, Record, RecordKey,
};
use libp2p::{Multiaddr, PeerId};
use minicbor::{Decode, Encode};

use crate::providers::Providers;

/// Before a record of ours expires at others, it is sent again.
const AGAIN: Duration = Duration::from_hours(8);
/// After a failure: no node near the key took it.
const FAILED: Duration = Duration::from_mins(2);
/// After a question whose time was up: who answered until then is told, and need not be near.
const UNSURE: Duration = Duration::from_mins(20);
/// Keys of one message.
pub(crate) const MOST_KEYS: usize = 256;
/// The longest message that is read, in bytes. Each key has 32 of them.
const MOST_BYTES: usize = 12 << 10;
/// Addresses of one message, and the length of one.
const MOST_ADDRESSES: usize = 8;
const MOST_ADDRESS_BYTES: usize = 256;
/// Nodes that a key is told to: as many as the table asks for it.
const COPIES: usize = 20;
/// Bits that only the target itself has in common with the target.
const ALONE: u32 = 256;
/// Regions that are asked about at once, and messages under way.
const MOST_ASKING: usize = 4;
const MOST_TELLING: usize = 32;
/// What such a record's key begins with.
const BEGINS: &[u8] = b"/fondaco/provide/1/";

type Key = [u8; 32];
type Hashed = [u8; 32];

/// A list of keys on its way.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
struct List {
    /// The keys, one behind the other.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    keys: Vec<u8>,
    /// Where the provider is.
    #[n(1)]
    addresses: Vec<minicbor::bytes::ByteVec>,
}

/// What is announced, and how far that is.
#[derive(Default)]
pub(crate) struct Announcer {
    /// When a key is due; in the order of where they are in the table.
    due: BTreeMap<Hashed, (Key, Option<Instant>)>,
    asking: HashMap<QueryId, Hashed>,
    waiting: VecDeque<(PeerId, Vec<Key>)>,
    telling: HashMap<QueryId, PeerId>,
    /// Keys that are on their way to nodes, and how many of those have not answered.
    told: u64,
    failed: u64,
}

impl Announcer {
    /// What this node has now. Answers which keys it no longer has.
    pub fn set(&mut self, keys: &HashSet<Key>) -> Vec<Key> {
        let gone: Vec<Key> = self.due.values().map(|(key, _)| *key).filter(|key| !keys.contains(key)).collect();
        for key in &gone {
            self.due.remove(&hashed(key));
        }
        for key in keys {
            self.due.entry(hashed(key)).or_insert((*key, None));
        }
        gone
    }

    /// Whether this node announces a key.
    pub fn has(&self, key: &Key) -> bool {
        self.due.contains_key(&hashed(key))
    }

    /// Everything is to be told again, as soon as may be: the table was empty so far.
    pub fn again(&mut self) {
        self.due.values_mut().for_each(|(_, at)| *at = None);
    }

    /// Keys that are announced; those among them that are due or on their way; copies told; messages that failed.
    pub fn counts(&self) -> (usize, usize, u64, u64) {
        let now = Instant::now();
        let due = self.due.values().filter(|(_, at)| is_due(*at, now)).count();
        let waiting: usize = self.waiting.iter().map(|(_, keys)| keys.len()).sum();
        (self.due.len(), due.max(waiting.div_ceil(COPIES)), self.told, self.failed)
    }

    /// Goes on as far as may be.
    pub fn go_on(&mut self, kad: &mut kad::Behaviour<Providers>, addresses: &[Multiaddr]) {
        while self.telling.len() < MOST_TELLING
            && let Some((peer, keys)) = self.waiting.pop_front()
        {
            let query = kad.put_record_to(record(&keys, addresses), std::iter::once(peer), Quorum::One);
            self.telling.insert(query, peer);
            self.told = self.told.saturating_add(keys.len() as u64);
        }
        // What waits to be told is bounded: no region is asked about while much of the last one waits.
        let now = Instant::now();
        while self.asking.len() < MOST_ASKING && self.waiting.len() < MOST_TELLING {
            let asked: HashSet<Hashed> = self.asking.values().copied().collect();
            let next =
                self.due.iter().find(|(hash, (_, at))| is_due(*at, now) && !asked.iter().any(|a| a[0] == hash[0]));
            let Some((hash, (key, _))) = next else { break };
            self.asking.insert(kad.get_closest_peers(key.to_vec()), *hash);
        }
    }

    /// Takes in an answer of the library; whether it was one to this.
    pub fn progressed(
        &mut self,
        id: QueryId,
        result: &QueryResult,
        last: bool,
        me: PeerId,
        kad: &mut kad::Behaviour<Providers>,
    ) -> bool {
        if let Some(target) = self.asking.get(&id).copied() {
            if let QueryResult::GetClosestPeers(result) = result
                && last
            {
                let (peers, is_whole) = match result {
                    Ok(GetClosestPeersOk { peers, .. }) => (peers, true),
                    // Where it was when its time was up need not be near.
                    Err(kad::GetClosestPeersError::Timeout { peers, .. }) => (peers, false),
                };
                let peers: Vec<PeerId> = peers.iter().map(|peer| peer.peer_id).filter(|peer| *peer != me).collect();
                self.region(target, &peers, is_whole, kad);
            }
            if last {
                self.asking.remove(&id);
            }
            return true;
        }
        if !self.telling.contains_key(&id) {
            return false;
        }
        if let QueryResult::PutRecord(Err(error)) = result {
            self.failed = self.failed.saturating_add(1);
            tracing::debug!(%error, "an announcement did not reach its node");
        }
        if last {
            self.telling.remove(&id);
        }
        true
    }

    /// Tells all due keys of the region around a target to the nodes nearest to it.
    fn region(&mut self, target: Hashed, peers: &[PeerId], is_whole: bool, kad: &mut kad::Behaviour<Providers>) {
        let now = Instant::now();
        // Each of the query's paths names its own nearest: what lies behind the first says nothing of the region.
        let peers = peers.get(..COPIES).unwrap_or(peers);
        let begins = if is_whole || peers.len() >= COPIES { covered(&target, peers) } else { ALONE };
        let keys: Vec<(Hashed, Key)> = self
            .due
            .iter()
            .filter(|(hash, (_, at))| is_due(*at, now) && common(hash, &target) >= begins)
            .map(|(hash, (key, _))| (*hash, *key))
            .collect();
        let at = match (peers.is_empty(), is_whole) {
            (true, _) => now.checked_sub(AGAIN).map(|then| then + FAILED),
            (_, false) => now.checked_sub(AGAIN).map(|then| then + UNSURE),
            _ => Some(now),
        };
        for (hash, key) in &keys {
            self.due.insert(*hash, (*key, at));
            let provider = *kad.store_mut().me();
            // Ours is answered by us, too.
            let _ = kad.store_mut().add_provider(ProviderRecord::new(RecordKey::new(key), provider, Vec::new()));
        }
        for peer in peers {
            for part in keys.chunks(MOST_KEYS) {
                self.waiting.push_back((*peer, part.iter().map(|(_, key)| *key).collect()));
            }
        }
    }
}

fn is_due(at: Option<Instant>, now: Instant) -> bool {
    at.is_none_or(|at| now.saturating_duration_since(at) >= AGAIN)
}

/// Where a key is in the table.
fn hashed(key: &Key) -> Hashed {
    first(KBucketKey::new(RecordKey::new(key)).hashed_bytes())
}

fn first(bytes: &[u8]) -> Hashed {
    let mut out = [0; 32];
    out.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    out
}

/// How many bits two places begin with in common.
fn common(a: &Hashed, b: &Hashed) -> u32 {
    let mut bits = 0;
    for (a, b) in a.iter().zip(b) {
        let zeros = (a ^ b).leading_zeros();
        bits += zeros;
        if zeros < 8 {
            break;
        }
    }
    bits
}

/// So many bits a key must have in common with the target for the target's nearest nodes to be its own. Where fewer nodes
/// than are asked for were found, they are all that there are.
fn covered(target: &Hashed, peers: &[PeerId]) -> u32 {
    if peers.len() < COPIES {
        return 0;
    }
    let place = |peer: &PeerId| first(KBucketKey::from(*peer).hashed_bytes());
    // Whoever has more in common with the target than the farthest of them is among them.
    peers.iter().map(|peer| common(&place(peer), target)).min().map_or(0, |bits| bits + 1)
}

fn record(keys: &[Key], addresses: &[Multiaddr]) -> Record {
    let addresses = addresses.iter().take(MOST_ADDRESSES).map(|a| a.to_vec().into()).collect();
    let list = List { keys: keys.concat(), addresses };
    let name = keys.first().map(|key| [BEGINS, key].concat()).unwrap_or_default();
    Record::new(name, minicbor::to_vec(&list).unwrap_or_default())
}

/// Reads a list of keys that a peer sent, with the addresses that it names. None: it is no such list.
pub(crate) fn read(record: &Record) -> Option<(Vec<Key>, Vec<Multiaddr>)> {
    if !record.key.as_ref().starts_with(BEGINS) || record.value.len() > MOST_BYTES {
        return None;
    }
    let list: List = minicbor::decode(&record.value).ok()?;
    let (keys, rest) = list.keys.as_chunks::<32>();
    if !rest.is_empty() || keys.len() > MOST_KEYS {
        return None;
    }
    let addresses = list.addresses.into_iter().take(MOST_ADDRESSES).filter(|a| a.len() <= MOST_ADDRESS_BYTES);
    let addresses = addresses.filter_map(|a| Multiaddr::try_from(Vec::from(a)).ok()).collect();
    Some((keys.to_vec(), addresses))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_reads_back_and_what_is_none_is_refused() {
        let keys: Vec<Key> = (0..=255).map(|n| [n; 32]).collect();
        let at: Vec<Multiaddr> = vec!["/ip4/192.0.2.1/tcp/1".parse().unwrap(); 20];
        let good = record(&keys, &at);
        assert!(good.value.len() < MOST_BYTES, "it fits a packet of the table");
        assert_eq!(read(&good), Some((keys.clone(), at[..MOST_ADDRESSES].to_vec())));
        let bad = |value: Vec<u8>| read(&Record { value, ..good.clone() });
        assert_eq!(bad(good.value[..good.value.len() - 1].to_vec()), None);
        assert_eq!(bad(vec![0; MOST_BYTES + 1]), None);
        assert_eq!(bad(minicbor::to_vec(List { keys: vec![1; 33], addresses: Vec::new() }).unwrap()), None);
        let many = record(&[keys, vec![[9; 32]]].concat(), &[]);
        assert_eq!(read(&many), None, "more keys than a message has");
        assert_eq!(read(&Record::new(b"/other".to_vec(), good.value.clone())), None);
        for at in 0..good.value.len() {
            let mut value = good.value.clone();
            value[at] ^= 0xff;
            let _ = bad(value);
        }
    }

    #[test]
    fn a_region_is_what_its_nodes_are_nearest_to() {
        let target = hashed(&[7; 32]);
        let mut peers: Vec<PeerId> = (0..400).map(|_| PeerId::random()).collect();
        let place = |peer: &PeerId| first(KBucketKey::from(*peer).hashed_bytes());
        let distance = |a: &Hashed, b: &Hashed| -> Hashed { std::array::from_fn(|i| a[i] ^ b[i]) };
        peers.sort_by_key(|peer| distance(&place(peer), &target));
        let nearest = &peers[..COPIES];
        let bits = covered(&target, nearest);
        assert!((2..9).contains(&bits), "{bits}");
        // For any key of the region: whoever is in the region is among those that were found.
        for peer in &peers {
            assert!(common(&place(peer), &target) < bits || nearest.contains(peer));
        }
        assert_eq!(covered(&target, &peers[..5]), 0, "a small network has one region");
        assert_eq!((common(&target, &target), common(&[0; 32], &[1; 32])), (256, 7));
    }

    #[test]
    fn what_is_gone_is_no_longer_announced() {
        let mut announcer = Announcer::default();
        assert!(announcer.set(&HashSet::from([[1; 32], [2; 32]])).is_empty());
        assert_eq!(announcer.counts().0, 2);
        assert_eq!(announcer.set(&HashSet::from([[2; 32], [3; 32]])), [[1; 32]]);
        assert_eq!((announcer.counts().0, announcer.counts().1), (2, 2));
    }
}
