//! A fetch: files of known hash and size, from all who have them, into the store.
//!
//! One task opens files ahead and lays out their units, each source works in a task of its own (`source`), and the fetch's
//! main task starts sources, tries again those that broke, and completes files. It ends when all files are whole, or when
//! nobody is left who could bring the rest: then what came is kept, and the next fetch goes on from there.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fondaco_schemas::{BlobHash, ReleaseId};
use fondaco_store::{GROUP_BYTES, Imported, Partial};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::net::Net;
use crate::pex::At;
use crate::plan::{Key, Plan, SourceId, UNIT_GROUPS, Unit};
use crate::source::{Ended, Source};

/// How often a source is tried that broke, and how long is waited before the second try; then twice as long each time.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(500);
const LEAST_PAUSE: Duration = Duration::from_millis(20);
/// Sources at work at once.
const MOST_SOURCES: usize = 24;
/// Files that are completed at once: each waits for the disk.
const MOST_COMPLETING: usize = 16;
/// How often it is asked anew who has it.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// How long the first answer to that is waited for when there is no other source.
const FIRST_ANSWER: Duration = Duration::from_secs(20);

/// When sources are asked first who else shares the release, how many of them, and how often.
const EXCHANGE_FIRST: Duration = Duration::from_secs(1);
const EXCHANGE_WITH: usize = 4;
const EXCHANGE_AGAIN: Duration = Duration::from_secs(30);

/// A file to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// Its hash.
    pub hash: BlobHash,
    /// Its size in bytes, as its release says.
    pub size: u64,
    /// What to call it to people.
    pub name: String,
}

/// How a source is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceState {
    /// It is being dialled.
    Connecting,
    /// It is asked.
    Working,
    /// It will be tried again.
    Waiting,
    /// It is out of this fetch, and why.
    Out(String),
}

/// A source, as people are shown it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceStatus {
    /// Who.
    pub peer: PeerId,
    /// Bytes of the files that it brought.
    pub bytes: u64,
    /// How it is doing.
    pub state: SourceState,
}

/// What a fetch has done when all is there.
#[derive(Debug)]
pub struct Fetched {
    /// The files, each kept from garbage collection until this is dropped. Those that were there before are not in it.
    pub imported: Vec<Imported>,
    /// The sources.
    pub sources: Vec<SourceStatus>,
    /// Bytes that came over the network and are in the store.
    pub bytes: u64,
}

/// A fetch under way. It ends when this is dropped; what came stays.
pub struct Fetch {
    job: Arc<Job>,
    task: tokio::task::JoinHandle<Result<Fetched>>,
}

impl Fetch {
    /// How the sources are doing.
    pub fn sources(&self) -> Vec<SourceStatus> {
        self.job.statuses()
    }

    /// Bytes of the files that are there, those among them that were there before.
    pub fn bytes(&self) -> u64 {
        self.job.there.load(Ordering::Relaxed)
    }

    /// Waits for the end.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn done(&mut self) -> Result<Fetched> {
        match (&mut self.task).await {
            Ok(done) => done,
            Err(_) => Err(Error::Stopping),
        }
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the tasks of a fetch share.
pub(crate) struct Job {
    files: Vec<Want>,
    plan: Mutex<Plan>,
    partials: Mutex<HashMap<usize, Partial>>,
    sources: Mutex<Vec<SourceStatus>>,
    changed: Notify,
    /// Files that are whole and wait to be completed.
    whole: mpsc::Sender<usize>,
    there: AtomicU64,
    /// Bytes that were missing at the beginning, of the files that were opened.
    missing: AtomicU64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Job {
    pub fn plan(&self) -> MutexGuard<'_, Plan> {
        locked(&self.plan)
    }

    pub fn name(&self, file: usize) -> &str {
        self.files.get(file).map_or("a file", |want| want.name.as_str())
    }

    pub fn partial(&self, file: usize) -> Option<Partial> {
        locked(&self.partials).get(&file).cloned()
    }

    /// Something may be to do for those who wait.
    pub fn changed(&self) {
        self.changed.notify_waiters();
    }

    /// Waits until something changed, but not longer than `most`.
    pub async fn wait(&self, most: Duration) {
        let _ = tokio::time::timeout(most, self.changed.notified()).await;
    }

    /// A source brought bytes.
    pub fn brought(&self, source: SourceId, bytes: u64) {
        self.there.fetch_add(bytes, Ordering::Relaxed);
        if let Some(status) = locked(&self.sources).get_mut(source) {
            status.bytes += bytes;
        }
    }

    /// A unit is in the store.
    pub fn unit_done(&self, key: Key) {
        self.plan().done(key);
        let whole = locked(&self.partials).get(&key.0).is_some_and(Partial::is_whole);
        if whole {
            let _ = self.whole.try_send(key.0);
        }
        self.changed();
    }

    fn statuses(&self) -> Vec<SourceStatus> {
        locked(&self.sources).clone()
    }

    fn set(&self, source: SourceId, state: SourceState) {
        if let Some(status) = locked(&self.sources).get_mut(source) {
            status.state = state;
        }
    }
}

/// Starts a fetch; see [`Net::fetch`].
pub(crate) fn start(net: Net, files: Vec<Want>, key: Option<ReleaseId>, peers: Vec<(PeerId, Vec<Multiaddr>)>) -> Fetch {
    // A file is told by each of those that bring its last units; that are few.
    let (whole, completed) = mpsc::channel(files.len().saturating_mul(3).saturating_add(256));
    let job = Arc::new(Job {
        files,
        plan: Mutex::default(),
        partials: Mutex::default(),
        sources: Mutex::default(),
        changed: Notify::new(),
        whole,
        there: AtomicU64::new(0),
        missing: AtomicU64::new(0),
    });
    let run = Run {
        net,
        job: Arc::clone(&job),
        key,
        candidates: HashMap::new(),
        fresh: VecDeque::new(),
        working: JoinSet::new(),
        exchanging: JoinSet::new(),
        imported: Vec::new(),
        left: job.files.len(),
    };
    Fetch { job, task: tokio::spawn(run.run(peers, completed)) }
}

/// Somebody who may have it.
struct Candidate {
    id: SourceId,
    addresses: Vec<Multiaddr>,
    tries: u32,
    /// No more tries.
    out: bool,
}

/// The main task.
struct Run {
    net: Net,
    job: Arc<Job>,
    key: Option<ReleaseId>,
    candidates: HashMap<PeerId, Candidate>,
    /// Whom to try next, and when.
    fresh: VecDeque<(Instant, PeerId)>,
    working: JoinSet<(PeerId, Ended)>,
    /// Sources that were asked who else shares the release.
    exchanging: JoinSet<Vec<At>>,
    imported: Vec<Imported>,
    left: usize,
}

impl Run {
    async fn run(
        mut self,
        peers: Vec<(PeerId, Vec<Multiaddr>)>,
        mut completed: mpsc::Receiver<usize>,
    ) -> Result<Fetched> {
        let mut told = HashSet::new();
        let (found, mut finding) = mpsc::channel::<(PeerId, Vec<Multiaddr>)>(32);
        for (peer, addresses) in peers {
            self.candidate(peer, addresses, true);
        }
        let mut feeding = JoinSet::new();
        feeding.spawn(feed(self.net.clone(), Arc::clone(&self.job)));
        let mut completing: JoinSet<Result<Imported>> = JoinSet::new();
        let mut ask = tokio::time::interval(ASK_AGAIN);
        let begun = Instant::now();
        let mut exchange = tokio::time::interval_at(begun + EXCHANGE_FIRST, EXCHANGE_AGAIN);
        loop {
            if self.left == 0 {
                self.tell_who_brought();
                return Ok(self.fetched());
            }
            self.start_sources();
            // Those that are due and still wait do so because enough are at work.
            let next = self.fresh.front().map_or_else(|| Instant::now() + PAUSE, |(at, _)| *at);
            let next = next.max(Instant::now() + LEAST_PAUSE);
            tokio::select! {
                biased;
                Some(fed) = feeding.join_next() => {
                    // Files that were there already need nobody.
                    let there = fed.map_err(|_| Error::Stopping)??;
                    self.left -= there;
                }
                Some(done) = completing.join_next() => {
                    self.imported.push(done.map_err(|_| Error::Stopping)??);
                    self.left -= 1;
                }
                Some(file) = completed.recv(), if completing.len() < MOST_COMPLETING => {
                    if told.insert(file)
                        && let Some(partial) = locked(&self.job.partials).remove(&file)
                    {
                        completing.spawn_blocking(move || partial.finish().map_err(Error::from));
                    }
                }
                Some(ended) = self.working.join_next() => {
                    let (peer, ended) = ended.map_err(|_| Error::Stopping)?;
                    self.ended(peer, ended)?;
                }
                Some((peer, addresses)) = finding.recv() => self.candidate(peer, addresses, true),
                Some(Ok(named)) = self.exchanging.join_next() => {
                    for (peer, addresses) in named {
                        self.candidate(peer, addresses, false);
                    }
                }
                _ = exchange.tick() => self.exchange(),
                _ = ask.tick() => {
                    if let Some(key) = self.key {
                        self.net.find(key, found.clone()).await;
                    }
                }
                () = tokio::time::sleep_until(next) => {}
            }
            let nobody = self.working.is_empty() && self.fresh.is_empty() && self.exchanging.is_empty();
            let may_find = self.key.is_some() && begun.elapsed() < FIRST_ANSWER;
            let is_completing = !completing.is_empty() || !completed.is_empty();
            if nobody && !may_find && !is_completing && self.job.plan().has_units() {
                return Err(self.no_source());
            }
        }
    }

    /// Others are told of those who brought something.
    fn tell_who_brought(&self) {
        let peers: Vec<PeerId> = self.job.statuses().iter().filter(|s| s.bytes > 0).map(|s| s.peer).collect();
        if let Some(key) = self.key.filter(|_| !peers.is_empty()) {
            self.net.brought(key, peers);
        }
    }

    /// Asks some sources who else shares the release: those first that brought most.
    fn exchange(&mut self) {
        self.tell_who_brought();
        let Some(key) = self.key else { return };
        let mut sources = self.job.statuses();
        sources.retain(|source| !matches!(source.state, SourceState::Out(_)));
        sources.sort_by_key(|source| std::cmp::Reverse(source.bytes));
        for SourceStatus { peer, .. } in sources.into_iter().take(EXCHANGE_WITH) {
            let addresses = self.candidates.get(&peer).map(|c| c.addresses.clone()).unwrap_or_default();
            let net = self.net.clone();
            self.exchanging.spawn(async move { net.sharers(key, (peer, addresses)).await.unwrap_or_default() });
        }
    }

    /// Somebody who may have it. `first`: to be tried before those who wait; else behind them.
    fn candidate(&mut self, peer: PeerId, addresses: Vec<Multiaddr>, first: bool) {
        if peer == self.net.peer_id() {
            return;
        }
        if let Some(known) = self.candidates.get_mut(&peer) {
            for address in addresses {
                if !known.addresses.contains(&address) && known.addresses.len() < 16 {
                    known.addresses.push(address);
                }
            }
            return;
        }
        let mut sources = locked(&self.job.sources);
        if sources.len() >= 256 {
            return;
        }
        let id = sources.len();
        sources.push(SourceStatus { peer, bytes: 0, state: SourceState::Waiting });
        drop(sources);
        self.candidates.insert(peer, Candidate { id, addresses, tries: 0, out: false });
        if first {
            self.fresh.push_front((Instant::now(), peer));
        } else {
            self.fresh.push_back((Instant::now(), peer));
            self.fresh.make_contiguous().sort_by_key(|(at, _)| *at);
        }
    }

    fn start_sources(&mut self) {
        let now = Instant::now();
        let due: Vec<PeerId> = self.fresh.iter().filter(|(at, _)| *at <= now).map(|(_, peer)| *peer).collect();
        for peer in due {
            if self.working.len() >= MOST_SOURCES {
                return;
            }
            self.fresh.retain(|(_, p)| *p != peer);
            let Some(candidate) = self.candidates.get_mut(&peer) else { continue };
            candidate.tries += 1;
            let (net, job, id, addresses) =
                (self.net.clone(), Arc::clone(&self.job), candidate.id, candidate.addresses.clone());
            self.working.spawn(async move { (peer, source(net, job, id, peer, addresses).await) });
        }
    }

    fn ended(&mut self, peer: PeerId, ended: Ended) -> Result<()> {
        let Some(candidate) = self.candidates.get_mut(&peer) else { return Ok(()) };
        let brought = locked(&self.job.sources).get(candidate.id).map_or(0, |s| s.bytes);
        let out = |why: &str| SourceState::Out(why.to_owned());
        let mut pause = PAUSE * 2_u32.saturating_pow(candidate.tries.min(8));
        let state = match ended {
            Ended::Done => out("done"),
            Ended::Nothing => out("it does not have it, or not for everybody"),
            Ended::Store(error) => return Err(error.into()),
            Ended::Bad(offence, why) => {
                tracing::warn!(%peer, %why, "a source is out of this fetch");
                self.net.note(peer, offence);
                out(&why)
            }
            Ended::Busy(time) => {
                pause = pause.max(time);
                SourceState::Waiting
            }
            Ended::Broke(why) => {
                tracing::debug!(%peer, %why, "a source broke");
                if candidate.tries >= TRIES { out(&why) } else { SourceState::Waiting }
            }
        };
        candidate.out = matches!(state, SourceState::Out(_));
        if !candidate.out {
            self.fresh.push_back((Instant::now() + pause, peer));
            self.fresh.make_contiguous().sort_unstable_by_key(|(at, _)| *at);
            if brought > 0 {
                candidate.tries = candidate.tries.min(TRIES - 1);
            }
        }
        self.job.set(candidate.id, state);
        Ok(())
    }

    fn fetched(&mut self) -> Fetched {
        // All of it came. The last sources may not have been told yet that theirs is in the store.
        let (sources, bytes) = (self.job.statuses(), self.job.missing.load(Ordering::Relaxed));
        let all: u64 = distinct(&self.job.files).fold(0, |sum, want| sum.saturating_add(want.size));
        self.job.there.store(all, Ordering::Relaxed);
        Fetched { imported: std::mem::take(&mut self.imported), sources, bytes }
    }

    fn no_source(&self) -> Error {
        let why = self.job.statuses().into_iter().filter_map(|s| match s.state {
            SourceState::Out(why) => Some(format!("{}: {why}", s.peer)),
            _ => None,
        });
        let what = match self.key {
            Some(key) => format!("the files of release {key}"),
            None => "these files".to_owned(),
        };
        Error::NoSource { what, why: why.take(8).collect() }
    }
}

/// Connects to a source and works with it.
async fn source(net: Net, job: Arc<Job>, id: SourceId, peer: PeerId, addresses: Vec<Multiaddr>) -> Ended {
    job.set(id, SourceState::Connecting);
    if let Err(error) = net.connect(peer, addresses.clone()).await {
        return Ended::Broke(error.to_string());
    }
    net.widen(peer, addresses).await;
    match net.open(peer).await {
        Ok(stream) => {
            job.set(id, SourceState::Working);
            Source::new(job, id, peer, stream, net.pace()).run().await
        }
        Err(error) => Ended::Broke(error.to_string()),
    }
}

/// Files without those whose bytes are another's.
fn distinct(files: &[Want]) -> impl Iterator<Item = &Want> {
    let mut seen = HashSet::new();
    files.iter().filter(move |want| seen.insert(want.hash))
}

/// Opens the files one behind the other and lays out what is missing of each. Answers how many were there already.
async fn feed(net: Net, job: Arc<Job>) -> Result<usize> {
    let mut there = 0;
    let mut seen = HashSet::new();
    for (file, want) in job.files.iter().enumerate() {
        let (store, hash, size) = (net.store().clone(), want.hash, want.size);
        // Two files of the same bytes are one blob.
        if !seen.insert(hash) {
            there += 1;
            continue;
        }
        let opened =
            tokio::task::spawn_blocking(
                move || {
                    if store.has(hash) { Ok(None) } else { store.fetch(hash, size).map(Some) }
                },
            );
        let opened = match opened.await.map_err(|_| Error::Stopping)? {
            Err(fondaco_store::Error::Fetching { hash }) => return Err(Error::Busy(hash)),
            other => other?,
        };
        let Some(partial) = opened else {
            job.there.fetch_add(size, Ordering::Relaxed);
            there += 1;
            continue;
        };
        job.there.fetch_add(partial.bytes(), Ordering::Relaxed);
        job.missing.fetch_add(size.saturating_sub(partial.bytes()), Ordering::Relaxed);
        locked(&job.partials).insert(file, partial.clone());
        if partial.is_whole() {
            let _ = job.whole.send(file).await;
            continue;
        }
        let units = size.div_ceil(UNIT_GROUPS * GROUP_BYTES).max(1);
        for number in 0..units {
            let runs: Vec<Range<u64>> = partial.missing_in(number * UNIT_GROUPS..(number + 1) * UNIT_GROUPS);
            if runs.is_empty() {
                continue;
            }
            loop {
                // Enabled before the look, so that no change is missed.
                let changed = job.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                {
                    let mut plan = job.plan();
                    if plan.has_room() {
                        plan.push(Unit { key: (file, number), runs });
                        break;
                    }
                }
                changed.await;
            }
            job.changed();
        }
    }
    job.plan().end();
    job.changed();
    Ok(there)
}
