//! A fetch: files of known hash and size, from all who have them, into the store.
//!
//! One task opens files ahead, each source works in a task of its own (`source`), and the fetch's main task starts sources,
//! tries again those that broke, and completes files. It ends when all files are whole, or when nobody is left who could
//! bring the rest: then what came is kept, and the next fetch goes on from there. While the disk is full it pauses. A lazy
//! one opens no file but those that somebody reads (`reader`), until it is told to fetch all.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fondaco_schemas::{BlobHash, ReleaseId};
use fondaco_store::{Imported, OutboardDecoder, Partial, Store};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::gate::Offence;
use crate::known::{Known, NamedBy};
use crate::net::Net;
use crate::pex::At;
use crate::plan::{Piece, Plan, SourceId};
use crate::reader::Reader;
use crate::source::{Ended, Source};
use crate::traffic::Traffic;
use crate::web::{Web, WebSeed, WebSource};
use crate::wire::{self, Answer, Request};

/// How often a source is tried that broke, and how long is waited before the second try; then twice as long each time.
const TRIES: u32 = 5;
/// How often a source is tried that says that it is busy.
const BUSY_TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(500);
const LEAST_PAUSE: Duration = Duration::from_millis(20);
/// Sources that may wait to be added.
const MOST_HINTS: usize = 64;
/// Sources at work at once.
const MOST_SOURCES: usize = 24;
/// Files that are completed at once: each waits for the disk.
const MOST_COMPLETING: usize = 16;
/// How often it is asked anew who has it.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// How often it is looked whether a full disk has room again, and how much there must be for what is written without
/// having taken its room beforehand.
const LOOK_FOR_ROOM: Duration = Duration::from_secs(1);
const ROOM: u64 = 16 << 20;
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

/// Who is a source.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// A node.
    Peer(PeerId),
    /// A web server.
    Web(WebSeed),
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Peer(peer) => peer.fmt(f),
            Self::Web(seed) => seed.fmt(f),
        }
    }
}

impl Who {
    /// The node, where it is one.
    pub fn peer(&self) -> Option<PeerId> {
        match self {
            Self::Peer(peer) => Some(*peer),
            Self::Web(_) => None,
        }
    }
}

/// A source, as people are shown it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceStatus {
    /// Who.
    pub who: Who,
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
    /// Bytes that came over the network in all: those, what proves them, and what was of no use.
    pub received: u64,
}

/// A fetch under way. It ends when this is dropped; what came stays.
pub struct Fetch {
    job: Arc<Job>,
    /// None once its end was told.
    task: tokio::sync::Mutex<Option<tokio::task::JoinHandle<Result<Fetched>>>>,
    abort: tokio::task::AbortHandle,
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

    /// Why it pauses, where it does: the disk is full. It goes on by itself once there is room.
    pub fn paused(&self) -> Option<String> {
        locked(&self.job.paused).as_ref().map(|paused| paused.why.clone())
    }

    /// Fetches from this web server too. More than a few at once are too many; then nothing happens.
    pub fn add_web_seed(&self, seed: WebSeed, web: Web) {
        let _ = self.job.hints.try_send((Who::Web(seed), Vec::new(), Some(web)));
    }

    /// Fetches from this node too, or knows more addresses of it. More than a few at once are too many; then nothing happens.
    pub fn add_peer(&self, peer: PeerId, addresses: Vec<Multiaddr>) {
        let _ = self.job.hints.try_send((Who::Peer(peer), addresses, None));
    }

    /// Fetches all files, where it was a lazy one.
    pub fn all(&self) {
        self.job.all.send_replace(true);
    }

    /// Whether it has ended, well or not.
    pub fn is_over(&self) -> bool {
        self.abort.is_finished()
    }

    /// Reads bytes of a file in order as they come; what is read goes before everything else for as long as the answer
    /// lives. None where the file is not one of this fetch, or is not as long. Several may read at once.
    pub fn read(&self, hash: BlobHash, range: std::ops::Range<u64>) -> Option<Reader> {
        Reader::new(Arc::clone(&self.job), hash, range)
    }

    /// Waits for the end, which is told once.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn done(&self) -> Result<Fetched> {
        let mut task = self.task.lock().await;
        let Some(running) = task.as_mut() else { return Err(Error::Stopping) };
        let done = running.await;
        *task = None;
        match done {
            Ok(done) => done,
            Err(_) => Err(Error::Stopping),
        }
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

/// Somebody who may have it: where, or how it is asked.
type Hint = (Who, Vec<Multiaddr>, Option<Web>);

/// Why a fetch waits, and for how many bytes of room.
struct Paused {
    why: String,
    room: u64,
}

/// What the tasks of a fetch share.
pub(crate) struct Job {
    net: Net,
    store: Store,
    files: Vec<Want>,
    plan: Mutex<Plan>,
    partials: Mutex<HashMap<usize, Partial>>,
    /// Files that were opened, or were there; one is opened at a time.
    opened: tokio::sync::Mutex<HashSet<usize>>,
    sources: Mutex<Vec<SourceStatus>>,
    changed: watch::Sender<()>,
    /// Sources that are to be added.
    hints: mpsc::Sender<Hint>,
    /// Files that are whole, or were there already.
    whole: mpsc::Sender<usize>,
    /// Whether all files are fetched, and not only those that are read.
    all: watch::Sender<bool>,
    paused: Mutex<Option<Paused>>,
    /// Why it ended, where it has; empty: well.
    end: Mutex<Option<String>>,
    traffic: Arc<Traffic>,
    key: Option<ReleaseId>,
    there: AtomicU64,
    /// Bytes that were missing at the beginning, of the files that were opened.
    missing: AtomicU64,
    received: AtomicU64,
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Job {
    pub fn plan(&self) -> MutexGuard<'_, Plan> {
        locked(&self.plan)
    }

    /// Whether a peer has given us something before, in whatever fetch.
    pub fn has_given(&self, peer: PeerId) -> bool {
        self.net.has_given(peer)
    }

    /// How long a reader waits for bytes.
    pub fn patience(&self) -> Duration {
        self.net.slow_time()
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn files(&self) -> &[Want] {
        &self.files
    }

    pub fn name(&self, file: usize) -> &str {
        self.files.get(file).map_or("a file", |want| want.name.as_str())
    }

    pub fn partial(&self, file: usize) -> Option<Partial> {
        locked(&self.partials).get(&file).cloned()
    }

    /// Something may be to do for those who wait.
    pub fn changed(&self) {
        self.changed.send_replace(());
    }

    /// What tells of changes from now on.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Why it ended, where it has; empty: well.
    pub fn end(&self) -> Option<String> {
        locked(&self.end).clone()
    }

    /// A source brought bytes: so many came, and so many were new.
    pub fn brought(&self, source: SourceId, received: u64, new: u64) {
        self.received.fetch_add(received, Ordering::Relaxed);
        self.there.fetch_add(new, Ordering::Relaxed);
        let mut sources = locked(&self.sources);
        let Some(status) = sources.get_mut(source) else { return };
        status.bytes += new;
        let who = status.who.clone();
        drop(sources);
        if let Who::Peer(peer) = who {
            self.net.gave(peer, new);
            self.traffic.received(peer, self.key, new);
        }
    }

    /// A piece is in the store.
    pub fn piece_done(&self, piece: &Piece) {
        let partial = self.partial(piece.file);
        let missing = partial.as_ref().map(|p| p.missing_in(piece.groups.clone())).unwrap_or_default();
        self.plan().done(piece, missing);
        if partial.is_some_and(|partial| partial.is_whole()) {
            let _ = self.whole.try_send(piece.file);
        }
        self.changed();
    }

    pub fn is_paused(&self) -> bool {
        locked(&self.paused).is_some()
    }

    /// The disk is full. Until it has so much room, nothing is asked for.
    fn pause(&self, error: &fondaco_store::Error, room: u64) {
        let mut paused = locked(&self.paused);
        if paused.is_none() {
            let why = error.to_string();
            tracing::warn!(%why, "a fetch pauses until there is room");
            *paused = Some(Paused { why, room });
        }
    }

    /// Goes on if there is room.
    async fn look_for_room(&self) {
        let Some(needed) = locked(&self.paused).as_ref().map(|paused| paused.room) else { return };
        let store = self.store.clone();
        let room = tokio::task::spawn_blocking(move || store.room()).await;
        if matches!(room, Ok(Ok(room)) if room >= needed) {
            tracing::info!("there is room: a fetch goes on");
            *locked(&self.paused) = None;
            self.changed();
        }
    }

    /// Opens a file and lays out what is missing of it. Nothing happens where that was done.
    pub async fn open(&self, file: usize) -> Result<()> {
        let mut opened = self.opened.lock().await;
        let Some(want) = self.files.get(file).filter(|_| !opened.contains(&file)) else { return Ok(()) };
        let (store, hash, size) = (self.store.clone(), want.hash, want.size);
        let partial =
            tokio::task::spawn_blocking(
                move || {
                    if store.has(hash) { Ok(None) } else { store.fetch(hash, size).map(Some) }
                },
            );
        let partial = match partial.await.map_err(|_| Error::Stopping)? {
            Err(fondaco_store::Error::Fetching { hash }) => return Err(Error::Busy(hash)),
            other => other?,
        };
        opened.insert(file);
        let there = partial.as_ref().map_or(size, Partial::bytes);
        self.there.fetch_add(there, Ordering::Relaxed);
        self.missing.fetch_add(size.saturating_sub(there), Ordering::Relaxed);
        match partial {
            Some(partial) if !partial.is_whole() => {
                let missing = partial.missing(usize::MAX - 1);
                locked(&self.partials).insert(file, partial);
                self.plan().open(file, missing);
            }
            partial => {
                if let Some(partial) = partial {
                    locked(&self.partials).insert(file, partial);
                }
                let _ = self.whole.send(file).await;
            }
        }
        self.changed();
        Ok(())
    }

    /// Has a peer send a file's outboard. True: all of it came.
    pub async fn outboard_of_a_peer(&self, want: &Want, partial: &Partial) -> Result<bool, Ended> {
        let bytes = fondaco_store::outboard_bytes(want.size);
        let working = self.statuses().into_iter().filter(|s| s.state == SourceState::Working);
        for peer in working.filter_map(|s| s.who.peer()) {
            let Ok(mut stream) = self.net.open(peer).await else { continue };
            let mut pace = self.net.pace();
            let asked = async {
                wire::send(&mut stream, &Request::Outboard(want.hash)).await?;
                wire::receive::<Answer>(&mut stream).await
            };
            if !matches!(pace.wait(asked).await, Ok(Some(Answer::Bytes(n))) if n == bytes) {
                continue;
            }
            let mut decoder = OutboardDecoder::new(want.hash, want.size);
            let mut left = bytes;
            while left > 0 {
                let mut buffer = vec![0; usize::try_from(left.min(256 << 10)).unwrap_or(0)];
                let (got, end) = pace.fill(&mut stream, &mut buffer).await;
                if end.is_err() {
                    break;
                }
                left -= got as u64;
                let (partial, mut taking) = (partial.clone(), decoder);
                let absorbing = tokio::task::spawn_blocking(move || {
                    let is_good = partial.absorb_outboard(&mut taking, &buffer);
                    (is_good, taking)
                });
                let (is_good, same) = absorbing.await.map_err(|_| Ended::Broke("the node is stopping".into()))?;
                decoder = same;
                if !is_good.map_err(Ended::Store)? {
                    self.net.note(peer, Offence::BadData);
                    break;
                }
            }
            if decoder.is_done() {
                return Ok(true);
            }
        }
        Ok(false)
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

/// Says why a fetch ended, also where it was stopped.
struct Ends(Arc<Job>);

impl Drop for Ends {
    fn drop(&mut self) {
        locked(&self.0.end).get_or_insert_with(|| "it was stopped".to_owned());
        // Those that are fetched may be opened by the next.
        locked(&self.0.partials).clear();
        self.0.changed();
    }
}

/// Starts a fetch; see [`Net::fetch`]. A lazy one opens only the files that are read.
pub(crate) fn start(
    net: Net,
    files: Vec<Want>,
    key: Option<ReleaseId>,
    peers: Vec<(PeerId, Vec<Multiaddr>)>,
    lazy: bool,
) -> Fetch {
    // A file is told by each of those that bring its last pieces; that are few.
    let (whole, completed) = mpsc::channel(files.len().saturating_mul(3).saturating_add(256));
    let (hints, hinted) = mpsc::channel(MOST_HINTS);
    let job = Arc::new(Job {
        net: net.clone(),
        store: net.store().clone(),
        files,
        plan: Mutex::default(),
        partials: Mutex::default(),
        opened: tokio::sync::Mutex::default(),
        sources: Mutex::default(),
        changed: watch::Sender::default(),
        hints,
        whole,
        all: watch::Sender::new(!lazy),
        paused: Mutex::default(),
        end: Mutex::default(),
        there: AtomicU64::new(0),
        missing: AtomicU64::new(0),
        received: AtomicU64::new(0),
        traffic: net.traffic(),
        key,
    });
    if lazy {
        job.plan().stay_open();
    }
    let traffic = net.traffic();
    let run = Run {
        net,
        job: Arc::clone(&job),
        key,
        candidates: HashMap::new(),
        known: Known::default(),
        fresh: VecDeque::new(),
        working: JoinSet::new(),
        exchanging: JoinSet::new(),
        imported: Vec::new(),
        left: job.files.len(),
    };
    let ends = Ends(Arc::clone(&job));
    let task = tokio::spawn(async move {
        traffic.began();
        let done = run.run(peers, completed, hinted).await;
        traffic.ended(done.is_ok());
        let why = done.as_ref().err().map(ToString::to_string).unwrap_or_default();
        locked(&ends.0.end).get_or_insert(why);
        done
    });
    let abort = task.abort_handle();
    Fetch { job, task: tokio::sync::Mutex::new(Some(task)), abort }
}

/// Somebody who may have it.
struct Candidate {
    id: SourceId,
    addresses: Vec<Multiaddr>,
    /// How it is asked, where it is a web seed.
    web: Option<Web>,
    tries: u32,
    /// No more tries.
    out: bool,
}

/// The main task.
struct Run {
    net: Net,
    job: Arc<Job>,
    key: Option<ReleaseId>,
    candidates: HashMap<Who, Candidate>,
    known: Known,
    /// Whom to try next, and when.
    fresh: VecDeque<(Instant, Who)>,
    working: JoinSet<(Who, Ended)>,
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
        mut hinted: mpsc::Receiver<Hint>,
    ) -> Result<Fetched> {
        let mut told = HashSet::new();
        let (found, mut finding) = mpsc::channel::<(PeerId, Vec<Multiaddr>)>(32);
        for (peer, addresses) in peers {
            self.candidate(Who::Peer(peer), addresses, None, NamedBy::Link);
        }
        let mut feeding = JoinSet::new();
        feeding.spawn(feed(Arc::clone(&self.job)));
        let mut completing: JoinSet<Result<Imported>> = JoinSet::new();
        let mut ask = tokio::time::interval(ASK_AGAIN);
        let mut look = tokio::time::interval(LOOK_FOR_ROOM);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
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
                Some(fed) = feeding.join_next() => fed.map_err(|_| Error::Stopping)??,
                Some(done) = completing.join_next() => {
                    self.imported.push(done.map_err(|_| Error::Stopping)??);
                    self.left -= 1;
                    self.job.changed();
                }
                Some(file) = completed.recv(), if completing.len() < MOST_COMPLETING => {
                    if told.insert(file) {
                        self.job.plan().close(file);
                        let partial = locked(&self.job.partials).remove(&file);
                        match partial {
                            Some(partial) => {
                                completing.spawn_blocking(move || partial.finish().map_err(Error::from));
                            }
                            // It was there already, and needs nobody.
                            None => self.left -= 1,
                        }
                    }
                }
                Some(ended) = self.working.join_next() => {
                    let (who, ended) = ended.map_err(|_| Error::Stopping)?;
                    self.ended(&who, ended)?;
                }
                Some((who, addresses, web)) = hinted.recv() => self.candidate(who, addresses, web, NamedBy::Link),
                Some((peer, addresses)) = finding.recv() => {
                    self.candidate(Who::Peer(peer), addresses, None, NamedBy::Table);
                }
                Some(Ok(named)) = self.exchanging.join_next() => {
                    for (peer, addresses) in named {
                        self.candidate(Who::Peer(peer), addresses, None, NamedBy::Source);
                    }
                }
                _ = exchange.tick() => self.exchange(),
                _ = ask.tick() => {
                    if let Some(key) = self.key {
                        self.net.find(key, found.clone()).await;
                    }
                }
                _ = look.tick(), if self.job.is_paused() => self.job.look_for_room().await,
                () = tokio::time::sleep_until(next) => {}
            }
            let nobody =
                self.working.is_empty() && self.fresh.is_empty() && self.exchanging.is_empty() && hinted.is_empty();
            let may_find = self.key.is_some() && begun.elapsed() < FIRST_ANSWER;
            let is_completing = !completing.is_empty() || !completed.is_empty();
            if nobody && !may_find && !is_completing && self.job.plan().has_pieces() {
                return Err(self.no_source());
            }
        }
    }

    /// Others are told of those who brought something.
    fn tell_who_brought(&self) {
        let peers: Vec<PeerId> =
            self.job.statuses().iter().filter(|s| s.bytes > 0).filter_map(|s| s.who.peer()).collect();
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
        for peer in sources.into_iter().filter_map(|s| s.who.peer()).take(EXCHANGE_WITH) {
            let addresses = self.candidates.get(&Who::Peer(peer)).map(|c| c.addresses.clone()).unwrap_or_default();
            let net = self.net.clone();
            self.exchanging.spawn(async move { net.sharers(key, (peer, addresses)).await.unwrap_or_default() });
        }
    }

    /// Somebody who may have it: to be tried before those who wait, or behind them where another source's word is all there
    /// is.
    fn candidate(&mut self, who: Who, addresses: Vec<Multiaddr>, web: Option<Web>, by: NamedBy) {
        if who.peer() == Some(self.net.peer_id()) {
            return;
        }
        if let Some(known) = self.candidates.get_mut(&who) {
            for address in addresses {
                if !known.addresses.contains(&address) && known.addresses.len() < 16 {
                    known.addresses.push(address);
                }
            }
            return;
        }
        if !self.known.take(by) {
            return;
        }
        let mut sources = locked(&self.job.sources);
        let id = sources.len();
        sources.push(SourceStatus { who: who.clone(), bytes: 0, state: SourceState::Waiting });
        drop(sources);
        self.candidates.insert(who.clone(), Candidate { id, addresses, web, tries: 0, out: false });
        if by == NamedBy::Source {
            self.fresh.push_back((Instant::now(), who));
            self.fresh.make_contiguous().sort_by_key(|(at, _)| *at);
        } else {
            self.fresh.push_front((Instant::now(), who));
        }
    }

    fn start_sources(&mut self) {
        if self.job.is_paused() {
            return;
        }
        let now = Instant::now();
        let due: Vec<Who> = self.fresh.iter().filter(|(at, _)| *at <= now).map(|(_, who)| who.clone()).collect();
        for who in due {
            if self.working.len() >= MOST_SOURCES {
                return;
            }
            self.fresh.retain(|(_, w)| *w != who);
            let Some(candidate) = self.candidates.get_mut(&who) else { continue };
            candidate.tries += 1;
            let (net, job, id) = (self.net.clone(), Arc::clone(&self.job), candidate.id);
            match (who, candidate.web.clone()) {
                (Who::Peer(peer), _) => {
                    let addresses = candidate.addresses.clone();
                    let work = async move { (Who::Peer(peer), source(net, job, id, peer, addresses).await) };
                    self.working.spawn(work);
                }
                (Who::Web(seed), Some(web)) => {
                    job.set(id, SourceState::Working);
                    let work = WebSource::new(job, id, seed.clone(), web);
                    self.working.spawn(async move { (Who::Web(seed), work.run().await) });
                }
                (Who::Web(_), None) => {}
            }
        }
    }

    fn ended(&mut self, who: &Who, ended: Ended) -> Result<()> {
        let Some(candidate) = self.candidates.get_mut(who) else { return Ok(()) };
        let brought = locked(&self.job.sources).get(candidate.id).map_or(0, |s| s.bytes);
        let out = |why: &str| SourceState::Out(why.to_owned());
        let mut pause = PAUSE * 2_u32.saturating_pow(candidate.tries.min(8));
        let state = match ended {
            Ended::Done => out("done"),
            Ended::Useless(why) => {
                tracing::info!(source = %who, %why, "a source is of no use");
                out(&why)
            }
            Ended::Nothing => out("it does not have it, or not for everybody"),
            Ended::Store(error @ fondaco_store::Error::DiskFull { .. }) => {
                self.job.pause(&error, ROOM);
                candidate.tries -= 1;
                SourceState::Waiting
            }
            Ended::Store(error) => return Err(error.into()),
            Ended::Bad(offence, why) => {
                tracing::warn!(source = %who, %why, "a source is out of this fetch");
                if let Who::Peer(peer) = who {
                    self.net.note(*peer, offence);
                }
                out(&why)
            }
            Ended::Busy(time) => {
                pause = pause.max(time);
                if candidate.tries >= BUSY_TRIES { out("it is always busy") } else { SourceState::Waiting }
            }
            Ended::Broke(why) => {
                tracing::debug!(source = %who, %why, "a source broke");
                if candidate.tries >= TRIES { out(&why) } else { SourceState::Waiting }
            }
        };
        candidate.out = matches!(state, SourceState::Out(_));
        if !candidate.out {
            self.fresh.push_back((Instant::now() + pause, who.clone()));
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
        let received = self.job.received.load(Ordering::Relaxed);
        let all: u64 = distinct(&self.job.files).fold(0, |sum, want| sum.saturating_add(want.size));
        self.job.there.store(all, Ordering::Relaxed);
        Fetched { imported: std::mem::take(&mut self.imported), sources, bytes, received }
    }

    fn no_source(&self) -> Error {
        let why = self.job.statuses().into_iter().filter_map(|s| match s.state {
            SourceState::Out(why) => Some(format!("{}: {why}", s.who)),
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

/// Opens the files one behind the other, as long as the plan has room.
async fn feed(job: Arc<Job>) -> Result<()> {
    let mut all = job.all.subscribe();
    if all.wait_for(|all| *all).await.is_err() {
        return Ok(());
    }
    job.plan().more_come();
    let mut changes = job.changes();
    let (mut seen, mut files) = (HashSet::new(), VecDeque::new());
    for (file, want) in job.files.iter().enumerate() {
        // Two files of the same bytes are one blob.
        if seen.insert(want.hash) {
            files.push_back((file, want));
        } else {
            let _ = job.whole.send(file).await;
        }
    }
    // How many in a row are in the hands of another fetch.
    let mut busy = 0;
    while let Some((file, want)) = files.pop_front() {
        while job.is_paused() || !job.plan().has_room() {
            let _ = changes.changed().await;
        }
        match job.open(file).await {
            Ok(()) => busy = 0,
            Err(Error::Busy(_)) => {
                files.push_back((file, want));
                busy += 1;
                if busy >= files.len() {
                    tokio::time::sleep(PAUSE).await;
                    busy = 0;
                }
            }
            Err(Error::Store(error @ fondaco_store::Error::DiskFull { .. })) => {
                job.pause(&error, want.size.saturating_add(want.size / 200).saturating_add(1 << 20));
                files.push_front((file, want));
            }
            Err(other) => return Err(other),
        }
    }
    job.plan().end();
    job.changed();
    Ok(())
}
