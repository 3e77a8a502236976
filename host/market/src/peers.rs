//! What other nodes found: asked beside this node's own providers, merged with their hits, and kept for a while so that a
//! page can say what it is. The swarm is behind [`Peers`]; here it is only merged.
//!
//! A work that others found is no part of the catalogue. It becomes one when somebody fetches it (`mirror`).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fondaco_runtime::Context;
use fondaco_runtime::wit::peers::Remote;
use fondaco_runtime::wit::search_types::{Hit, Query, Reach, Results};
use fondaco_schemas::{ReleaseId, Work, WorkId};
use tokio::sync::oneshot;

use crate::discover::RRF;
use crate::{Error, Market, convert};

/// How long others are waited for after this node's own answer, where a query does not say.
pub const WAIT: Duration = Duration::from_millis(300);
/// The longest that a query may wait for others.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Works of others in one answer.
const MOST_REMOTE: usize = 24;
/// Works that are remembered, their envelopes' bytes all together, and how long.
const MOST_KEPT: usize = 2048;
const MOST_KEPT_BYTES: usize = 16 << 20;
const KEPT_FOR: Duration = Duration::from_mins(10);

/// A work that another node found. Its publisher's signature was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What was signed.
    pub work: Work,
    /// The length of what was signed, in bytes.
    pub bytes: usize,
    /// A link to it.
    pub link: String,
}

/// What one node answered, the best first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Which node.
    pub peer: String,
    /// What it found.
    pub found: Vec<Found>,
}

/// What all answered in time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllHeard {
    /// Those that answered.
    pub heard: Vec<Heard>,
    /// How many did not.
    pub missing: u32,
}

/// A future in a box.
pub type PeersFuture<'a> = Pin<Box<dyn Future<Output = AllHeard> + Send + 'a>>;

/// Asks other nodes; the node gives it to the market where it is part of a swarm.
pub trait Peers: Send + Sync + 'static {
    /// Asks, at most as far as the query's reach goes, until `wait` after `begun` was sent or dropped.
    fn ask<'a>(&'a self, query: &'a Query, wait: Duration, begun: oneshot::Receiver<()>) -> PeersFuture<'a>;
}

/// What others found lately.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<KeptInner>);

#[derive(Debug, Default)]
struct KeptInner {
    works: HashMap<WorkId, (Instant, Found)>,
    order: VecDeque<(Instant, WorkId)>,
    bytes: usize,
}

impl Kept {
    fn put(&self, found: Found, now: Instant) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.tidy(now, found.bytes);
        let id = found.work.release.work.clone();
        let is_newer = |(at, known): &(Instant, Found)| {
            now.saturating_duration_since(*at) < KEPT_FOR && known.work.release.sequence > found.work.release.sequence
        };
        // An old release is as well signed as the newest.
        if inner.works.get(&id).is_some_and(is_newer) {
            return;
        }
        inner.bytes += found.bytes;
        if let Some((_, before)) = inner.works.insert(id.clone(), (now, found)) {
            inner.bytes = inner.bytes.saturating_sub(before.bytes);
        }
        inner.order.push_back((now, id));
    }

    fn get(&self, id: &WorkId, now: Instant) -> Option<Found> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, found) = inner.works.get(id)?;
        (now.saturating_duration_since(*at) < KEPT_FOR).then(|| found.clone())
    }
}

impl KeptInner {
    fn tidy(&mut self, now: Instant, more: usize) {
        while let Some((at, _)) = self.order.front()
            && (self.order.len() >= MOST_KEPT
                || self.bytes + more > MOST_KEPT_BYTES
                || now.saturating_duration_since(*at) >= KEPT_FOR)
        {
            let Some((at, id)) = self.order.pop_front() else { return };
            // Found again since then, it stays.
            if self.works.get(&id).is_some_and(|(latest, _)| *latest == at)
                && let Some((_, gone)) = self.works.remove(&id)
            {
                self.bytes = self.bytes.saturating_sub(gone.bytes);
            }
        }
    }
}

impl Market {
    /// Lets searches reach other nodes.
    pub fn set_peers(&self, peers: Arc<dyn Peers>) {
        *self.0.peers.write().unwrap_or_else(PoisonError::into_inner) = Some(peers);
        self.note_change();
    }

    /// Asks this node's providers and other nodes at once. Others are waited for until some time after the own answer.
    pub async fn search_peers(&self, context: &Context, query: Query) -> Result<Results, Error> {
        let peers = self.0.peers.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(peers) = peers.filter(|_| query.reach != Reach::LocalOnly && !query.text.trim().is_empty()) else {
            return self.search(context, query).await;
        };
        let wait = match query.wait_ms {
            0 => WAIT,
            ms => Duration::from_millis(ms.into()).min(LONGEST_WAIT),
        };
        let (begin, begun) = oneshot::channel();
        let own = async {
            let own = self.search(context, query.clone()).await;
            let _ = begin.send(());
            own
        };
        let (own, all) = tokio::join!(own, peers.ask(&query, wait, begun));
        let own = match own {
            Ok(own) => own,
            // Without a provider of its own, a node may still ask others.
            Err(Error::NoPlugin { .. }) => {
                Results { hits: Vec::new(), slots: Vec::new(), facets: Vec::new(), total: 0, next: None, missing: 0 }
            }
            Err(error) => return Err(error),
        };
        let mut here = BTreeMap::new();
        for found in all.heard.iter().flat_map(|h| &h.found) {
            let id = &found.work.release.work;
            if !here.contains_key(id)
                && let Some((newest, _)) = self.ledger().newest(id).await?
            {
                here.insert(id.clone(), newest.release.sequence);
            }
        }
        let (results, kept) = merge(own, all, &here);
        let now = Instant::now();
        for found in kept {
            self.0.found.put(found, now);
        }
        Ok(results)
    }

    /// A work that others found within the last ten minutes.
    pub fn found(&self, work: &WorkId) -> Option<Found> {
        self.0.found.get(work, Instant::now())
    }

    /// The same, for plugins.
    pub(crate) fn remote(&self, work: &str) -> Result<Remote, Error> {
        let id: WorkId = work.parse().map_err(|_| Error::Refused("this is no work".into()))?;
        let found = self.found(&id).ok_or(Error::NoWork(id))?;
        let shop = found.work.release.home.as_ref().and_then(|home| home.page_of(&found.work.release.work));
        Ok(Remote { work: convert::work(&found.work), link: found.link, shop })
    }

    /// Answers another node's query with works of the catalogue that are its current ones, signed as they are.
    pub async fn answer_peer(&self, query: Query) -> Result<Vec<(ReleaseId, WorkId, u64, Vec<u8>)>, Error> {
        let results = self.search(&Context::node(), query).await?;
        let mut answer = Vec::new();
        for hit in results.hits {
            let Ok(id) = hit.work.parse::<WorkId>() else { continue };
            let Some(work) = self.ledger().work(&id).await? else { continue };
            if let Some((release, envelope)) = self.ledger().release(work.release_id).await? {
                answer.push((work.release_id, id, release.sequence, envelope));
            }
        }
        Ok(answer)
    }
}

/// Reciprocal-rank fusion of the own hits and each node's. A work is there once: of several releases the newest, and of
/// what is here already, the hit is the catalogue's own unless others have a newer release. `here`: the newest sequence of
/// each work that is recorded here.
fn merge(own: Results, all: AllHeard, here: &BTreeMap<WorkId, u64>) -> (Results, Vec<Found>) {
    let mut results = Results { hits: Vec::new(), missing: own.missing.saturating_add(all.missing), ..own.clone() };
    let score = |rank: usize| 1.0 / (RRF + u16::try_from(rank).map_or(f32::from(u16::MAX), f32::from));
    let mut hits: Vec<(f32, Hit)> = own.hits.into_iter().enumerate().map(|(n, hit)| (score(n + 1), hit)).collect();
    let mut remote: BTreeMap<WorkId, (f32, String, Found)> = BTreeMap::new();
    for Heard { peer, found } in all.heard {
        let mut seen = std::collections::BTreeSet::new();
        for (n, one) in found.into_iter().enumerate() {
            let id = one.work.release.work.clone();
            if !seen.insert(id.clone()) {
                continue;
            }
            let score = score(n + 1);
            if here.get(&id).is_some_and(|have| *have >= one.work.release.sequence) {
                let text = id.to_string();
                if let Some((sum, _)) = hits.iter_mut().find(|(_, hit)| hit.work == text) {
                    *sum += score;
                }
                continue;
            }
            match remote.get_mut(&id) {
                Some((sum, via, known)) => {
                    *sum += score;
                    if one.work.release.sequence > known.work.release.sequence {
                        (*via, *known) = (peer.clone(), one);
                    }
                }
                None => drop(remote.insert(id, (score, peer.clone(), one))),
            }
        }
    }
    let mut remote: Vec<_> = remote.into_values().collect();
    remote.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.2.work.release.work.cmp(&b.2.work.release.work)));
    remote.truncate(MOST_REMOTE);
    let mut kept = Vec::with_capacity(remote.len());
    for (score, via, found) in remote {
        let work = found.work.release.work.to_string();
        // Where this node has an older release of it, the newer one takes its place.
        hits.retain(|(_, hit)| hit.work != work);
        hits.push((score, Hit { work, score, highlights: Vec::new(), because: Vec::new(), via: Some(via) }));
        kept.push(found);
    }
    hits.sort_by(|a, b| b.0.total_cmp(&a.0));
    results.hits = hits.into_iter().map(|(score, hit)| Hit { score, ..hit }).collect();
    (results, kept)
}

#[cfg(test)]
mod tests {
    use fondaco_schemas::{PublicKey, Release, WorkKind};

    use super::*;

    fn id(slug: &str) -> WorkId {
        WorkId::new(PublicKey::new([7; 32]), slug).unwrap()
    }

    fn found(slug: &str, sequence: u64) -> Found {
        let release = Release {
            work: id(slug),
            sequence,
            kind: WorkKind::Other,
            title: slug.into(),
            creators: Vec::new(),
            description: String::new(),
            language: None,
            tags: Vec::new(),
            license: None,
            credits: Vec::new(),
            published: String::new(),
            files: Vec::new(),
            offers: Vec::new(),
            metadata: "{}".into(),
            home: None,
        };
        let release_id = ReleaseId::new([u8::try_from(sequence).unwrap(); 32]);
        Found { work: Work { release_id, release }, bytes: 100, link: format!("fondaco:{slug}") }
    }

    fn own(slugs: &[&str]) -> Results {
        let hit = |slug: &&str| Hit {
            work: id(slug).to_string(),
            score: 9.0,
            highlights: Vec::new(),
            because: Vec::new(),
            via: None,
        };
        let hits = slugs.iter().map(hit).collect();
        Results { hits, slots: Vec::new(), facets: Vec::new(), total: 5, next: Some("n".into()), missing: 0 }
    }

    fn heard(peer: &str, works: &[(&str, u64)]) -> Heard {
        Heard { peer: peer.into(), found: works.iter().map(|(slug, sequence)| found(slug, *sequence)).collect() }
    }

    fn order(results: &Results) -> Vec<(&str, Option<&str>)> {
        results.hits.iter().map(|h| (h.work.rsplit('/').next().unwrap(), h.via.as_deref())).collect()
    }

    #[test]
    fn what_many_rank_high_comes_first_and_a_work_is_there_once() {
        let here = BTreeMap::from([(id("a"), 2), (id("b"), 2)]);
        let all = AllHeard {
            heard: vec![
                heard("p", &[("c", 1), ("b", 1), ("c", 9)]),
                heard("q", &[("c", 3), ("d", 1), ("b", 2)]),
                heard("r", &[("a", 5)]),
            ],
            missing: 2,
        };
        let (results, kept) = merge(own(&["a", "b"]), all, &here);
        // "b" is here, "a" is newer elsewhere, "c" is known to two: the newer release counts, and one hit a node.
        assert_eq!(order(&results), [("b", None), ("c", Some("q")), ("a", Some("r")), ("d", Some("q"))]);
        assert_eq!((results.missing, results.total, results.next.as_deref()), (2, 5, Some("n")));
        let c = kept.iter().find(|f| f.work.release.work == id("c")).unwrap();
        assert_eq!(c.work.release.sequence, 3);
    }

    #[test]
    fn an_old_release_does_not_take_the_place_of_a_newer_one() {
        let (kept, now) = (Kept::default(), Instant::now());
        kept.put(found("a", 9), now);
        kept.put(found("a", 3), now);
        assert_eq!(kept.get(&id("a"), now).unwrap().work.release.sequence, 9);
        kept.put(found("a", 10), now);
        assert_eq!(kept.get(&id("a"), now).unwrap().work.release.sequence, 10);
        // What is forgotten stands in nobody's way.
        kept.put(found("a", 4), now + KEPT_FOR);
        assert_eq!(kept.get(&id("a"), now + KEPT_FOR).unwrap().work.release.sequence, 4);
    }

    #[test]
    fn one_node_cannot_fill_the_results() {
        let flood: Vec<(String, u64)> = (0..1000).map(|n| (format!("w{n}"), 1)).collect();
        let flood: Vec<(&str, u64)> = flood.iter().map(|(s, n)| (s.as_str(), *n)).collect();
        let all = AllHeard { heard: vec![heard("p", &flood)], missing: 0 };
        let (results, kept) = merge(own(&["a"]), all, &BTreeMap::new());
        assert_eq!((results.hits.len(), kept.len()), (1 + MOST_REMOTE, MOST_REMOTE));
        assert_eq!(order(&results)[0], ("a", None));
    }

    #[test]
    fn what_is_kept_has_an_end() {
        let kept = Kept::default();
        let now = Instant::now();
        for n in 0..10_000_u32 {
            kept.put(Found { bytes: 9000, ..found(&format!("w{n}"), 1) }, now);
        }
        let inner = kept.0.lock().unwrap();
        assert!(inner.works.len() <= MOST_KEPT && inner.bytes <= MOST_KEPT_BYTES && inner.order.len() <= MOST_KEPT);
        assert_eq!(inner.bytes, inner.works.len() * 9000);
        drop(inner);
        assert!(kept.get(&id("w9999"), now).is_some() && kept.get(&id("w0"), now).is_none());
        assert!(kept.get(&id("w9999"), now + KEPT_FOR).is_none());
        // The same again and again is one.
        for _ in 0..10 {
            kept.put(found("again", 1), now);
        }
        let inner = kept.0.lock().unwrap();
        assert_eq!(inner.bytes, (inner.works.len() - 1) * 9000 + 100);
    }
}
