//! Searching in the swarm: this node's questions to others, and others' questions to this one.
//!
//! The market merges and remembers (`market/src/peers.rs`), the swarm asks and verifies (`net/src/search.rs`); here it is
//! decided who may be asked, who is answered, and what is passed on. A question is never written down with who asked it:
//! no log line, at any level, has both.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use fondaco_market::{AllHeard, Found as MarketFound, Heard as MarketHeard, Market, Peers, PeersFuture, random};
use fondaco_net::{
    Answered, Config, Found, FoundWork, HeardFrom, MAX_FOUND, MAX_WORDS, Multiaddr, Net, PeerId, PerPeer, Rate, Search,
    Seen, Whom,
};
use fondaco_runtime::wit::search_types::{Query, Reach, Sort};
use fondaco_runtime::wit::types;
use fondaco_schemas::finding::{Ask, SearchRules};
use fondaco_schemas::{Deployment, Link, Money, Work, WorkId, WorkKind};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::fail::{Done, chain};

/// Questions of others that are answered at once. More are told to come later.
const MOST_ANSWERING: usize = 4;
/// The longest that is waited for those behind this node, in another's name.
const LONGEST_PASSING: Duration = Duration::from_secs(1);
/// Nodes behind this one that are asked.
const MOST_BEHIND: usize = 16;
/// Questions to others, those of this node's own and those that it passes on apart: so many at once, and so many a second
/// after that. Together they are fewer than what others take for a flood.
const ASKS_BURST: f64 = 12.0;
const ASKS_PER_SECOND: f64 = 3.0;
/// Addresses of a node that are remembered for a link.
const MOST_LINKED: usize = 2;

/// The part.
pub struct Finding {
    market: Market,
    rules: SearchRules,
    /// Of the first tier: it passes questions on to those behind it.
    passes_on: bool,
    net: OnceLock<Net>,
    trusted: Vec<(PeerId, Vec<Multiaddr>)>,
    seen: Seen,
    rates: PerPeer,
    /// Questions to others: this node's own, and those that it passes on.
    asks: Rate,
    passes: Rate,
    answering: Semaphore,
    /// Hears of each peer that was asked; for the command line.
    tell: Mutex<Option<mpsc::Sender<HeardFrom>>>,
}

impl Finding {
    /// As `[network]` says.
    pub fn new(deployment: &Deployment, market: Market, passes_on: bool) -> Done<Arc<Self>> {
        let network = &deployment.network;
        let rules = network.search;
        let mut trusted: BTreeMap<PeerId, Vec<Multiaddr>> = BTreeMap::new();
        for id in network.allow.iter().chain(&network.trusted) {
            trusted.entry(Config::peer(id.as_str())?).or_default();
        }
        for address in &network.bootstrap {
            let (peer, address) = Config::peer_address(address.as_str())?;
            trusted.entry(peer).or_default().push(address);
        }
        let rate = f64::from(rules.rate);
        Ok(Arc::new(Self {
            market,
            rules,
            passes_on,
            net: OnceLock::new(),
            trusted: trusted.into_iter().collect(),
            seen: Seen::default(),
            rates: PerPeer::new(10.0 * rate, rate),
            asks: Rate::new(ASKS_BURST, ASKS_PER_SECOND),
            passes: Rate::new(ASKS_BURST, ASKS_PER_SECOND),
            answering: Semaphore::new(MOST_ANSWERING),
            tell: Mutex::default(),
        }))
    }

    /// The swarm, once it runs.
    pub fn set_net(&self, net: Net) {
        let _ = self.net.set(net);
    }

    /// Tells of each peer that is asked from now on, until the receiver is dropped.
    pub fn telling(&self) -> mpsc::Receiver<HeardFrom> {
        let (tell, told) = mpsc::channel(64);
        *self.tell.lock().unwrap_or_else(PoisonError::into_inner) = Some(tell);
        told
    }

    /// Ends what [`Finding::telling`] began.
    pub fn told(&self) {
        *self.tell.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn whom(&self, reach: Reach) -> Option<Whom> {
        match (self.rules.ask, reach) {
            (Ask::Nobody, _) | (_, Reach::LocalOnly) => None,
            (Ask::Trusted, _) | (_, Reach::TrustedPeers) => Some(Whom::Only(self.trusted.clone())),
            (Ask::Everyone, Reach::Everyone) => Some(Whom::Everyone),
        }
    }

    /// Answers another node's question.
    pub async fn answer(&self, from: PeerId, search: Search, most_bytes: usize) -> Answered {
        if !self.rules.answers {
            return Answered::Nothing;
        }
        if !search.is_fair() || !self.rates.take(from, 1.0) {
            return Answered::Busy(1000);
        }
        let Ok(permit) = self.answering.try_acquire() else { return Answered::Busy(200) };
        if !self.seen.is_new(&search.id) {
            return Answered::Found(Found::default());
        }
        let limit = (search.limit as usize).clamp(1, MAX_FOUND);
        let behind = async {
            match self.net.get().filter(|_| self.passes_on && search.hops > 0 && self.passes.take(1.0)) {
                Some(net) => {
                    // Who asked waits as long as it said, and the answer has to come back to it.
                    let wait = (Duration::from_millis(search.wait_ms.into()) * 3 / 5).min(LONGEST_PASSING);
                    let on = Search { hops: 0, wait_ms: millis(wait), ..search.clone() };
                    net.search(on, Whom::Behind(from), MOST_BEHIND, tokio::time::sleep(wait), None).await
                }
                None => Vec::new(),
            }
        };
        let own = async {
            let own = self.market.answer_peer(query_of(&search, limit)).await;
            // To wait for others costs nothing here.
            drop(permit);
            own
        };
        let (own, behind) = tokio::join!(own, behind);
        let own = own.unwrap_or_else(|error| {
            tracing::debug!(error = %chain(&error), "a question from the swarm has no answer of this node's own");
            Vec::new()
        });
        let missing = behind.iter().map(|h| u32::from(h.answer.is_err())).sum();
        let own = own.into_iter().map(|(_, work, sequence, envelope)| (work, sequence, envelope)).collect();
        let theirs =
            behind.into_iter().filter_map(|h| h.answer.ok()).map(|works| works.into_iter().map(parts).collect());
        let mut found = Found { missing, ..Found::default() };
        let mut left_out = 0_usize;
        for envelope in dealt(std::iter::once(own).chain(theirs).collect(), limit) {
            left_out += usize::from(!found.push(envelope, most_bytes.saturating_sub(64)));
        }
        if left_out > 0 {
            tracing::debug!(left_out, "works do not fit into an answer to the swarm");
        }
        Answered::Found(found)
    }
}

fn parts(found: FoundWork) -> (WorkId, u64, Vec<u8>) {
    (found.release.work, found.release.sequence, found.envelope)
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

/// The first of each list, then the second of each, and so on; a work once, in its newest release.
fn dealt(lists: Vec<Vec<(WorkId, u64, Vec<u8>)>>, limit: usize) -> Vec<Vec<u8>> {
    let mut newest: BTreeMap<WorkId, u64> = BTreeMap::new();
    for (work, sequence, _) in lists.iter().flatten() {
        let known = newest.entry(work.clone()).or_default();
        *known = (*known).max(*sequence);
    }
    let mut lists: Vec<_> = lists.into_iter().map(Vec::into_iter).collect();
    let mut dealt = Vec::new();
    loop {
        let round: Vec<_> = lists.iter_mut().filter_map(Iterator::next).collect();
        if round.is_empty() || dealt.len() >= limit {
            dealt.truncate(limit);
            return dealt;
        }
        for (work, sequence, envelope) in round {
            if newest.get(&work) == Some(&sequence) {
                newest.remove(&work);
                dealt.push(envelope);
            }
        }
    }
}

/// What others are asked, as this node's providers take it.
fn query_of(search: &Search, limit: usize) -> Query {
    let money =
        |m: &Money| types::Money { amount: m.minor.to_string(), asset: m.asset.to_string(), exponent: m.exponent };
    Query {
        text: search.text.clone(),
        kinds: search.kinds.iter().map(|k| fondaco_market::wit_kind(*k)).collect(),
        tags: search.tags.clone(),
        language: search.language.clone(),
        max_price: search.max_price.as_ref().map(money),
        drm_free: search.drm_free,
        facets: Vec::new(),
        sort: Sort::Relevance,
        cursor: None,
        limit: u32::try_from(limit).unwrap_or(u32::MAX),
        reach: Reach::LocalOnly,
        wait_ms: 0,
    }
}

/// What a plugin asks, as it goes to others. Words that are too long are cut; what else does not fit is left out.
fn search_of(query: &Query, wait: Duration) -> Search {
    let mut text = query.text.clone();
    while text.len() > MAX_WORDS {
        text.pop();
    }
    let kinds: Vec<WorkKind> = query.kinds.iter().map(|k| fondaco_market::read_kind(*k)).take(9).collect();
    Search {
        id: random().into(),
        hops: 1,
        wait_ms: millis(wait),
        limit: query.limit.clamp(1, 20),
        text,
        kinds,
        tags: query.tags.iter().filter(|t| t.len() <= 128).take(32).cloned().collect(),
        language: query.language.clone().filter(|l| l.len() <= 35),
        max_price: query.max_price.as_ref().and_then(fondaco_market::read_money),
        drm_free: query.drm_free,
    }
}

impl Peers for Finding {
    fn ask<'a>(&'a self, query: &'a Query, wait: Duration, begun: oneshot::Receiver<()>) -> PeersFuture<'a> {
        Box::pin(async move {
            let (Some(net), Some(whom)) = (self.net.get(), self.whom(query.reach)) else { return AllHeard::default() };
            // Visitors of this node do not make it a nuisance to others, who would ban it.
            if !self.asks.take(1.0) {
                tracing::debug!("more is searched for than other nodes are asked");
                return AllHeard::default();
            }
            let search = search_of(query, wait);
            // It may come back to us, from somebody who passes it on.
            self.seen.is_new(&search.id);
            let deadline = async {
                let _ = begun.await;
                tokio::time::sleep(wait).await;
            };
            let tell = self.tell.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let most = self.rules.peers.clamp(1, 64) as usize;
            let heard = net.search(search, whom, most, deadline, tell).await;
            let places: BTreeMap<PeerId, Vec<Multiaddr>> = match net.status().await {
                Ok(status) => status
                    .peers
                    .into_iter()
                    .filter(|p| !p.inbound)
                    .map(|p| (p.id, vec![fondaco_net::address_of(&p.address, p.id)]))
                    .collect(),
                Err(_) => BTreeMap::new(),
            };
            let mut all = AllHeard::default();
            for one in heard {
                all.missing = all.missing.saturating_add(one.missing + u32::from(one.answer.is_err()));
                let Ok(works) = one.answer else { continue };
                let near = places.get(&one.peer).map(Vec::as_slice).unwrap_or_default();
                let found = works.into_iter().map(|w| found(w, near)).collect();
                all.heard.push(MarketHeard { peer: one.peer.to_string(), found });
            }
            all
        })
    }
}

fn found(work: FoundWork, near: &[Multiaddr]) -> MarketFound {
    let addresses = near.iter().take(MOST_LINKED).map(ToString::to_string).collect();
    let link = Link { addresses, ..Link::to(work.id) }.to_string();
    let bytes = work.envelope.len();
    MarketFound { work: Work { release_id: work.id, release: work.release }, bytes, link }
}

#[cfg(test)]
mod tests {
    use fondaco_schemas::PublicKey;

    use super::*;

    #[test]
    fn every_list_has_its_turn_and_a_work_is_there_once_in_its_newest_release() {
        let one = |slug: &str, sequence: u64| {
            let work = WorkId::new(PublicKey::new([1; 32]), slug).unwrap();
            (work, sequence, format!("{slug}{sequence}").into_bytes())
        };
        let lists = || vec![vec![one("a", 1), one("b", 1)], vec![one("a", 2), one("c", 1)], vec![one("d", 1)]];
        let text = |all: Vec<Vec<u8>>| all.into_iter().map(|e| String::from_utf8(e).unwrap()).collect::<Vec<_>>();
        assert_eq!(text(dealt(lists(), 9)), ["a2", "d1", "b1", "c1"]);
        assert_eq!(text(dealt(lists(), 2)), ["a2", "d1"]);
        assert!(dealt(Vec::new(), 9).is_empty());
    }
}
