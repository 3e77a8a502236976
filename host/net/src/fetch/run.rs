//! A fetch's main task: it starts sources, tries again those that broke, asks who else there is, and completes files.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fondaco_schemas::ReleaseId;
use fondaco_store::Imported;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::job::{Job, locked};
use super::{Fetched, Hint, SourceState, SourceStatus, Want, Who};
use crate::error::{Error, Result};
use crate::known::{Known, NamedBy};
use crate::net::Net;
use crate::pex::At;
use crate::plan::SourceId;
use crate::source::{Ended, Source};
use crate::web::{Web, WebSource};

/// How often a source is tried that broke, and how long is waited before the second try; then twice as long each time.
const TRIES: u32 = 5;
/// How often a source is tried that says that it is busy.
const BUSY_TRIES: u32 = 20;
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
/// How often it is looked whether a full disk has room again, and how much there must be for what is written without
/// having taken its room beforehand.
const LOOK_FOR_ROOM: Duration = Duration::from_secs(1);
const ROOM: u64 = 16 << 20;
/// When sources are asked first who else shares the release, how many of them, and how often.
const EXCHANGE_FIRST: Duration = Duration::from_secs(1);
const EXCHANGE_WITH: usize = 4;
const EXCHANGE_AGAIN: Duration = Duration::from_secs(30);

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
pub(super) struct Run {
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
    pub(super) fn new(net: Net, job: Arc<Job>, key: Option<ReleaseId>) -> Self {
        Self {
            net,
            key,
            candidates: HashMap::new(),
            known: Known::default(),
            fresh: VecDeque::new(),
            working: JoinSet::new(),
            exchanging: JoinSet::new(),
            imported: Vec::new(),
            left: job.files.len(),
            job,
        }
    }

    pub(super) async fn run(
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
