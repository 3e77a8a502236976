//! What the tasks of a fetch share: its files, their plan, and how its sources are doing.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fondaco_schemas::ReleaseId;
use fondaco_store::{Imported, OutboardDecoder, Partial, Store};
use libp2p::PeerId;
use tokio::sync::{mpsc, watch};

use super::{Hint, SourceState, SourceStatus, Want, Who};
use crate::error::{Error, Result};
use crate::gate::Offence;
use crate::net::Net;
use crate::plan::{Piece, Plan, SourceId};
use crate::source::Ended;
use crate::traffic::Traffic;
use crate::wire::{self, Answer, Request};

/// Why a fetch waits, and for how many bytes of room.
pub(super) struct Paused {
    pub why: String,
    room: u64,
}

/// What the tasks of a fetch share.
pub(crate) struct Job {
    net: Net,
    store: Store,
    pub(super) files: Vec<Want>,
    plan: Mutex<Plan>,
    pub(super) partials: Mutex<HashMap<usize, Partial>>,
    /// Files that were opened, or were there; one is opened at a time.
    opened: tokio::sync::Mutex<HashSet<usize>>,
    /// Those that were there, which are kept from going until the end.
    held: Mutex<Vec<Imported>>,
    pub(super) sources: Mutex<Vec<SourceStatus>>,
    changed: watch::Sender<()>,
    /// Sources that are to be added.
    pub(super) hints: mpsc::Sender<Hint>,
    /// Files that are whole, or were there already.
    pub(super) whole: mpsc::Sender<usize>,
    /// Whether all files are fetched, and not only those that are read.
    pub(super) all: watch::Sender<bool>,
    pub(super) paused: Mutex<Option<Paused>>,
    /// Why it ended, where it has; empty: well.
    pub(super) end: Mutex<Option<String>>,
    traffic: Arc<Traffic>,
    key: Option<ReleaseId>,
    pub(super) there: AtomicU64,
    /// Bytes that were missing at the beginning, of the files that were opened.
    pub(super) missing: AtomicU64,
    pub(super) received: AtomicU64,
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Job {
    /// Nothing is open yet. `hints` leads to the main task, and so does `whole`.
    pub(super) fn new(
        net: Net,
        files: Vec<Want>,
        key: Option<ReleaseId>,
        lazy: bool,
        hints: mpsc::Sender<Hint>,
        whole: mpsc::Sender<usize>,
    ) -> Self {
        Self {
            store: net.store().clone(),
            traffic: net.traffic(),
            net,
            files,
            plan: Mutex::default(),
            partials: Mutex::default(),
            opened: tokio::sync::Mutex::default(),
            held: Mutex::default(),
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
            key,
        }
    }

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
    pub(super) fn pause(&self, error: &fondaco_store::Error, room: u64) {
        let mut paused = locked(&self.paused);
        if paused.is_none() {
            let why = error.to_string();
            tracing::warn!(%why, "a fetch pauses until there is room");
            *paused = Some(Paused { why, room });
        }
    }

    /// Goes on if there is room.
    pub(super) async fn look_for_room(&self) {
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
        let partial = tokio::task::spawn_blocking(move || match store.hold(hash) {
            Some(held) => Ok(Err(held)),
            None => store.fetch(hash, size).map(Ok),
        });
        let partial = match partial.await.map_err(|_| Error::Stopping)? {
            Err(fondaco_store::Error::Fetching { hash }) => return Err(Error::Busy(hash)),
            other => other?,
        };
        let partial = match partial {
            Ok(partial) => Some(partial),
            Err(held) => {
                locked(&self.held).push(held);
                None
            }
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

    pub(super) fn statuses(&self) -> Vec<SourceStatus> {
        locked(&self.sources).clone()
    }

    pub(super) fn set(&self, source: SourceId, state: SourceState) {
        if let Some(status) = locked(&self.sources).get_mut(source) {
            status.state = state;
        }
    }
}
