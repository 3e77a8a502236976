//! Searching at other nodes: a question over `/fondaco/ask/1` to several of them at once, answered with signed releases.
//!
//! [`Net::search`] fans out and verifies; what a peer answers and whether it passes the question on is decided by the
//! node's `Shelf`, with [`Seen`] against questions that come round again. There are two tiers: nodes that keep their part
//! of the hash table are asked for themselves and for those that hang off them, one step and no further.
//!
//! Nothing that a peer says is believed but what a publisher signed. Whoever sends what no publisher signed is noted. A
//! question says nothing of who asks at first: whoever passes it on asks in its own name.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use fondaco_schemas::{Money, Release, ReleaseId, WorkKind};
use libp2p::{Multiaddr, PeerId};
use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::ask::{Answered, Question};
use crate::gate::Offence;
use crate::net::Net;
use crate::swarm::Command;

/// The longest answer, in bytes.
pub const MAX_FOUND_BYTES: usize = 256 << 10;
/// The most works of one answer.
pub const MAX_FOUND: usize = 24;
/// The longest envelope that goes into an answer, in bytes: whoever has more files is found by its publisher's link.
pub const MAX_FOUND_ENVELOPE: usize = 48 << 10;
/// The longest words of a question, in bytes.
pub const MAX_WORDS: usize = 1024;
/// The most entries of each list of a question, and the longest of them in bytes.
const MOST_ENTRIES: usize = 32;
const MAX_ENTRY: usize = 128;
/// Questions that are remembered, and how long.
const MOST_SEEN: usize = 8192;
const SEEN_FOR: Duration = Duration::from_mins(2);

/// What is searched for, as it goes over the wire. Nothing of it says who asks.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Search {
    /// Drawn at random: the same question, wherever it comes from.
    #[n(0)]
    pub id: ByteArray<16>,
    /// How many steps further it may be passed on: 0 or 1.
    #[n(1)]
    pub hops: u8,
    /// How long the asker waits, in milliseconds.
    #[n(2)]
    pub wait_ms: u32,
    /// How many works it wants at most.
    #[n(3)]
    pub limit: u32,
    /// Words.
    #[n(4)]
    pub text: String,
    /// Only of these kinds; empty: of all.
    #[n(5)]
    pub kinds: Vec<WorkKind>,
    /// Only with all these tags.
    #[n(6)]
    pub tags: Vec<String>,
    /// Only in this language.
    #[n(7)]
    pub language: Option<String>,
    /// Not dearer than this.
    #[n(8)]
    pub max_price: Option<Money>,
    /// Only without protection.
    #[n(9)]
    pub drm_free: bool,
}

impl Search {
    /// Whether it keeps to its bounds: what does not is answered with nothing.
    #[must_use]
    pub fn is_fair(&self) -> bool {
        let short = |text: &String| text.len() <= MAX_ENTRY;
        self.hops <= 1
            && self.text.len() <= MAX_WORDS
            && self.kinds.len() <= MOST_ENTRIES
            && self.tags.len() <= MOST_ENTRIES
            && self.tags.iter().all(short)
            && self.language.as_ref().is_none_or(short)
    }
}

/// An answer as it goes over the wire: signed releases, the best first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Found {
    /// Envelopes.
    #[n(0)]
    pub works: Vec<ByteVec>,
    /// Nodes behind the one that answers that did not answer it in time.
    #[n(1)]
    pub missing: u32,
}

impl Found {
    /// Takes one more envelope in, as long as there is room. Answers whether it is in.
    pub fn push(&mut self, envelope: Vec<u8>, most_bytes: usize) -> bool {
        let used: usize = self.works.iter().map(|w| w.len() + 5).sum::<usize>() + 32;
        let fits = envelope.len() <= MAX_FOUND_ENVELOPE && used + envelope.len() + 5 <= most_bytes.min(MAX_FOUND_BYTES);
        if fits && self.works.len() < MAX_FOUND {
            self.works.push(envelope.into());
            return true;
        }
        false
    }
}

/// A work that a peer found, verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundWork {
    /// Its release's id.
    pub id: ReleaseId,
    /// What the publisher signed.
    pub release: Release,
    /// The signed bytes.
    pub envelope: Vec<u8>,
}

/// Who is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// Whoever is known: nodes of the first tier, and those that hang off this one.
    Everyone,
    /// Those that hang off this node, but not the one that asks.
    Behind(PeerId),
    /// These alone. The question is passed on by nobody.
    Only(Vec<(PeerId, Vec<Multiaddr>)>),
}

/// What became of asking one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeardFrom {
    /// Who.
    pub peer: PeerId,
    /// What it found, the best first; or why there is nothing.
    pub answer: Result<Vec<FoundWork>, String>,
    /// Works of its answer that no publisher had signed.
    pub forged: usize,
    /// Nodes behind it that did not answer it in time.
    pub missing: u32,
    /// How long it took.
    pub took: Duration,
}

/// A peer that can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub peer: PeerId,
    pub addresses: Vec<Multiaddr>,
    pub is_connected: bool,
    /// Of the first tier.
    pub is_full: bool,
}

/// Questions that came already, so that none goes round.
#[derive(Debug, Default)]
pub struct Seen(Mutex<Ids>);

/// Ids, and when each came.
type Ids = (HashSet<[u8; 16]>, VecDeque<(Instant, [u8; 16])>);

impl Seen {
    /// Remembers a question; answers whether it is new.
    pub fn is_new(&self, id: &[u8; 16]) -> bool {
        self.is_new_at(id, Instant::now())
    }

    fn is_new_at(&self, id: &[u8; 16], now: Instant) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (ids, order) = &mut *seen;
        while let Some((at, old)) = order.front().copied()
            && (order.len() >= MOST_SEEN || now.saturating_duration_since(at) >= SEEN_FOR)
        {
            order.pop_front();
            ids.remove(&old);
        }
        let is_new = ids.insert(*id);
        if is_new {
            order.push_back((now, *id));
        }
        is_new
    }
}

impl Net {
    /// Asks peers, at most `most` of them, and gives what came before `deadline` ends, in the order in which it came, with
    /// an entry for each that was asked. `tell` hears of each at once; if it has no room, it is not told.
    ///
    /// # Cancel safety
    /// May be dropped; peers may have been asked.
    pub async fn search(
        &self,
        search: Search,
        whom: Whom,
        most: usize,
        deadline: impl Future<Output = ()> + Send,
        tell: Option<mpsc::Sender<HeardFrom>>,
    ) -> Vec<HeardFrom> {
        let began = Instant::now();
        let mut waiting: HashSet<PeerId> = HashSet::new();
        let mut asking = JoinSet::new();
        for (candidate, hops) in self.asked(&whom, &search, most).await {
            waiting.insert(candidate.peer);
            asking.spawn(one(self.clone(), Search { hops, ..search.clone() }, candidate, began));
        }
        let mut heard = Vec::new();
        tokio::pin!(deadline);
        loop {
            let next = tokio::select! {
                biased;
                next = asking.join_next() => next,
                () = &mut deadline => None,
            };
            let Some(Ok(one)) = next else { break };
            waiting.remove(&one.peer);
            if let Some(tell) = &tell {
                let _ = tell.try_send(one.clone());
            }
            heard.push(one);
        }
        let late = |peer| HeardFrom {
            peer,
            answer: Err("it did not answer in time".into()),
            forged: 0,
            missing: 0,
            took: began.elapsed(),
        };
        for late in waiting.into_iter().map(late) {
            if let Some(tell) = &tell {
                let _ = tell.try_send(late.clone());
            }
            heard.push(late);
        }
        heard
    }

    /// Who has a release, as the hash table says within this time.
    pub async fn who_has(&self, release: ReleaseId, within: Duration) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let (found, mut finding) = mpsc::channel(32);
        self.find(release, found).await;
        let until = tokio::time::Instant::now() + within;
        let mut all = Vec::new();
        while let Ok(Some(one)) = tokio::time::timeout_at(until, finding.recv()).await {
            all.push(one);
        }
        all
    }

    /// Whom to ask, and how far each may pass it on.
    async fn asked(&self, whom: &Whom, search: &Search, most: usize) -> Vec<(Candidate, u8)> {
        let known = match whom {
            Whom::Only(peers) => {
                let one = |(peer, addresses): &(PeerId, Vec<Multiaddr>)| Candidate {
                    peer: *peer,
                    addresses: addresses.clone(),
                    is_connected: false,
                    is_full: false,
                };
                peers.iter().map(one).collect()
            }
            Whom::Everyone | Whom::Behind(_) => self.to_loop(Command::Known).await.unwrap_or_default(),
        };
        choose(known, whom, self.peer_id(), search.hops, most)
    }
}

/// Of those that are known: connected ones before others, the first tier before the second.
fn choose(mut known: Vec<Candidate>, whom: &Whom, me: PeerId, hops: u8, most: usize) -> Vec<(Candidate, u8)> {
    known.retain(|c| c.peer != me);
    // Whom one source calls full is full, however another knows it.
    let full: HashSet<PeerId> = known.iter().filter(|c| c.is_full).map(|c| c.peer).collect();
    for one in &mut known {
        one.is_full = full.contains(&one.peer);
    }
    match whom {
        Whom::Only(_) => {}
        // Only who is there already: nobody is dialled in another's name.
        Whom::Behind(asker) => known.retain(|c| c.is_connected && !c.is_full && c.peer != *asker),
        // Whoever is not of the first tier is asked where it is connected.
        Whom::Everyone => known.retain(|c| c.is_full || c.is_connected),
    }
    known.sort_by_key(|c| (!c.is_connected, !c.is_full));
    let mut seen = HashSet::new();
    known.retain(|c| seen.insert(c.peer));
    known.truncate(most);
    let on = |c: &Candidate| if matches!(whom, Whom::Everyone) && c.is_full { hops.min(1) } else { 0 };
    known.into_iter().map(|c| (c.clone(), on(&c))).collect()
}

async fn one(net: Net, search: Search, candidate: Candidate, began: Instant) -> HeardFrom {
    let peer = candidate.peer;
    let heard = |answer, forged, missing| HeardFrom { peer, answer, forged, missing, took: began.elapsed() };
    let limit = (search.limit as usize).min(MAX_FOUND);
    let found = match net.ask(peer, candidate.addresses, &Question::Search(search), MAX_FOUND_BYTES).await {
        Ok(Answered::Found(found)) => found,
        Ok(Answered::Busy(_)) => return heard(Err("it is busy".into()), 0, 0),
        Ok(_) => return heard(Err("it answers no searches".into()), 0, 0),
        Err(error) => return heard(Err(error.to_string()), 0, 0),
    };
    let (works, missing) = (found.works, found.missing.min(1000));
    let verified = tokio::task::spawn_blocking(move || verify(works, limit)).await;
    let (works, forged) = verified.unwrap_or_default();
    if forged > 0 {
        tracing::warn!(%peer, forged, "works in an answer to a search were signed by nobody");
        net.note(peer, Offence::BadData);
    }
    heard(Ok(works), forged, missing)
}

/// Keeps what verifies, and counts what does not.
fn verify(works: Vec<ByteVec>, limit: usize) -> (Vec<FoundWork>, usize) {
    let (mut kept, mut forged) = (Vec::new(), 0);
    let mut seen = HashSet::new();
    for envelope in works.into_iter().map(Vec::from).take(limit) {
        match fondaco_trust::release::verify_release(&envelope) {
            Ok((id, release)) if seen.insert(id) => kept.push(FoundWork { id, release, envelope }),
            Ok(_) => {}
            Err(_) => forged += 1,
        }
    }
    (kept, forged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(is_connected: bool, is_full: bool) -> Candidate {
        Candidate { peer: PeerId::random(), addresses: Vec::new(), is_connected, is_full }
    }

    #[test]
    fn the_first_tier_is_asked_for_those_behind_it_and_nobody_is_dialled_for_another() {
        let me = PeerId::random();
        let (near, far, leaf) = (candidate(true, true), candidate(false, true), candidate(true, false));
        let stranger = candidate(false, false);
        let known = vec![stranger.clone(), far.clone(), leaf.clone(), near.clone(), near.clone()];
        let chosen = |whom: &Whom, most| choose(known.clone(), whom, me, 7, most);
        let all = chosen(&Whom::Everyone, 16);
        assert_eq!(all, [(near.clone(), 1), (leaf.clone(), 0), (far.clone(), 1)]);
        assert_eq!(chosen(&Whom::Everyone, 1), [(near.clone(), 1)]);
        assert_eq!(chosen(&Whom::Behind(near.peer), 16), [(leaf.clone(), 0)]);
        assert!(chosen(&Whom::Behind(leaf.peer), 16).is_empty());
        let only = Whom::Only(Vec::new());
        assert!(choose(vec![stranger.clone(), far], &only, me, 1, 16).iter().all(|(_, hops)| *hops == 0));
        assert!(choose(vec![stranger], &Whom::Everyone, me, 1, 16).is_empty());
    }

    #[test]
    fn a_question_is_new_once_and_few_are_remembered() {
        let seen = Seen::default();
        let now = Instant::now();
        assert!(seen.is_new_at(&[1; 16], now) && !seen.is_new_at(&[1; 16], now));
        assert!(seen.is_new_at(&[1; 16], now + SEEN_FOR), "it may come again later");
        for n in 0..100_000_u32 {
            let mut id = [7; 16];
            id[..4].copy_from_slice(&n.to_le_bytes());
            assert!(seen.is_new_at(&id, now));
        }
        let kept = seen.0.lock().unwrap();
        assert!(kept.0.len() <= MOST_SEEN && kept.1.len() == kept.0.len());
    }

    #[test]
    fn an_answer_is_bounded_and_a_question_too() {
        let mut found = Found::default();
        let mut taken = 0;
        while found.push(vec![0; 20_000], MAX_FOUND_BYTES) {
            taken += 1;
        }
        assert_eq!(taken, 13);
        assert!(minicbor::to_vec(&found).unwrap().len() <= MAX_FOUND_BYTES);
        assert!(!Found::default().push(vec![0; MAX_FOUND_ENVELOPE + 1], usize::MAX));
        let fair = Search {
            id: [0; 16].into(),
            hops: 1,
            wait_ms: 300,
            limit: 20,
            text: "owl".into(),
            kinds: Vec::new(),
            tags: Vec::new(),
            language: None,
            max_price: None,
            drm_free: false,
        };
        assert!(fair.is_fair());
        for bad in [
            Search { hops: 2, ..fair.clone() },
            Search { text: "x".repeat(MAX_WORDS + 1), ..fair.clone() },
            Search { tags: vec![String::new(); 33], ..fair.clone() },
            Search { tags: vec!["x".repeat(129)], ..fair.clone() },
            Search { language: Some("x".repeat(129)), ..fair.clone() },
        ] {
            assert!(!bad.is_fair());
        }
    }

    #[test]
    fn no_more_of_an_answer_is_looked_at_than_was_asked_for() {
        let works = vec![ByteVec::from(b"nothing that anybody signed".to_vec()); 1000];
        assert_eq!(verify(works, MAX_FOUND), (Vec::new(), MAX_FOUND));
    }
}
