//! A fetch: files of known hash and size, from all who have them, into the store.
//!
//! One task opens files ahead, each source works in a task of its own (`source`), and the fetch's main task starts sources,
//! tries again those that broke, and completes files. It ends when all files are whole, or when nobody is left who could
//! bring the rest: then what came is kept, and the next fetch goes on from there. While the disk is full it pauses. A lazy
//! one opens no file but those that somebody reads (`reader`), until it is told to fetch all.

mod job;
mod run;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use fondaco_schemas::{BlobHash, ReleaseId};
use fondaco_store::Imported;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::mpsc;

pub(crate) use self::job::Job;
use self::job::locked;
use self::run::Run;
use crate::error::{Error, Result};
use crate::net::Net;
use crate::reader::Reader;
use crate::web::{Web, WebSeed};

/// Sources that may wait to be added.
const MOST_HINTS: usize = 64;

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
    let job = Arc::new(Job::new(net.clone(), files, key, lazy, hints, whole));
    if lazy {
        job.plan().stay_open();
    }
    let traffic = net.traffic();
    let run = Run::new(net, Arc::clone(&job), key);
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
