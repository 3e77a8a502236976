//! The handle on the swarm: what the node asks of it. Everything goes to the swarm's loop as a message, of which few may
//! wait; an asker who left is normal.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fondaco_schemas::envelope::MAX_ENVELOPE_BYTES;
use fondaco_schemas::{BlobHash, PublicKey, Release, ReleaseId};
use fondaco_store::Store;
use fondaco_trust::KeyPair;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::Stream;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::ask::{Answered, Answers, Question};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::fetch::{self, Fetch, Want};
use crate::gate::Offence;
use crate::member::{self, Members};
use crate::pace::Pace;
use crate::share::Share;
use crate::swarm::{self, Command, Queues};
use crate::traffic::Traffic;
use crate::upload::{Passing, Uploads};
use crate::wire::{self, Answer, Request};

/// Messages that may wait for the loop. When they are that many, askers wait.
const COMMANDS: usize = 64;
/// Streams of peers that may wait to be served. When they are that many, more are refused.
const INBOUND: usize = 32;
/// How long dialling a peer may take, all its addresses together.
const DIALLING: Duration = Duration::from_secs(20);
/// How long a second connection over TCP is waited for.
const WIDENING: Duration = Duration::from_secs(1);
/// How long opening a stream may take.
const OPENING: Duration = Duration::from_secs(15);

/// A future in a box.
pub type Future<'a, T> = Pin<Box<dyn std::future::Future<Output = T> + Send + 'a>>;

/// What the node decides about its own things, asked by the swarm before anything is given away.
pub trait Shelf: Send + Sync + 'static {
    /// The signed envelope of a release that this node has.
    fn envelope(&self, id: ReleaseId) -> Future<'_, Option<Vec<u8>>>;
    /// May everybody have this blob?
    fn is_public(&self, blob: BlobHash) -> Future<'_, bool>;
    /// Answers a peer's question, in at most `most_bytes`. The swarm itself answers [`Question::Peers`].
    fn answer(&self, from: PeerId, question: Question, most_bytes: usize) -> Future<'_, Answered> {
        let _ = (from, question, most_bytes);
        Box::pin(std::future::ready(Answered::Nothing))
    }
}

/// A peer, as people are shown it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Who.
    pub id: PeerId,
    /// Where it is.
    pub address: Multiaddr,
    /// Whether it came to us.
    pub inbound: bool,
    /// Whether the connection goes through a relay.
    pub relayed: bool,
    /// What it calls itself, once it has said so. Its own word, cut to 60 characters without control characters.
    pub agent: Option<String>,
    /// Whether it keeps its part of the hash table, once it has said so.
    pub is_full: bool,
    /// The last round trip.
    pub round_trip: Option<Duration>,
}

/// How the swarm is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Where it listens.
    pub listening: Vec<Multiaddr>,
    /// Under which addresses others are told to find it.
    pub announced: Vec<Multiaddr>,
    /// Who is connected.
    pub peers: Vec<Peer>,
    /// Who is banned, and for how long still.
    pub banned: Vec<(PeerId, Duration)>,
    /// Peers in the hash table's buckets.
    pub routing: usize,
    /// Nodes of the hash table, as those nearest to this one let guess; this one with them.
    pub nodes: u64,
    /// Keys that this node announces.
    pub announcing: usize,
    /// Those among them that have still to be told.
    pub unannounced: usize,
    /// Bytes sent to others since the start.
    pub sent_bytes: u64,
}

/// A handle on the swarm, cheap to clone.
#[derive(Clone)]
pub struct Net(Arc<Inner>);

struct Inner {
    me: PeerId,
    store: Store,
    commands: mpsc::Sender<Command>,
    uploads: Arc<Uploads>,
    stop: watch::Sender<bool>,
    tasks: Mutex<JoinSet<()>>,
    slow: (Duration, u64),
}

impl Net {
    /// Starts the swarm with the node's key. It listens, and is there for others, once this returns.
    pub async fn start(config: Config, key: &KeyPair, store: Store, shelf: Arc<dyn Shelf>) -> Result<Self> {
        keep_memory();
        let identity = identity(key)?;
        let me = identity.public().to_peer_id();
        let (commands, asked) = mpsc::channel(COMMANDS);
        let (inbound, streams) = mpsc::channel(INBOUND);
        let (asking, questions) = mpsc::channel(INBOUND);
        let (showing, shown) = mpsc::channel(INBOUND);
        let queues = Queues { blobs: inbound, asks: asking, shown: showing };
        let members = config.membership.clone();
        let members = members.map(|own| Arc::new(Members::new(own, config.allow.clone().unwrap_or_default())));
        let (stop, stopped) = watch::channel(false);
        let slow = (config.slow_time, config.slow_bytes);
        let limits = config.limits;
        let share = Share::new(limits.uploads, limits.upload_bytes_per_second, config.upload_schedule.clone());
        let uploads = Arc::new(Uploads::new(store.clone(), Arc::clone(&shelf), share));
        let parts = Box::pin(swarm::open(config, identity, members.clone(), queues)).await?;
        let mut tasks = JoinSet::new();
        if let Some(members) = members {
            tasks.spawn(member::serve(members, shown, stopped.clone()));
        }
        tasks.spawn(swarm::run(parts, asked, stopped.clone()));
        tasks.spawn(Arc::clone(&uploads).serve(streams, stopped.clone()));
        tasks.spawn(Arc::new(Answers::new(shelf, commands.clone())).serve(questions, stopped));
        let tasks = Mutex::new(tasks);
        Ok(Self(Arc::new(Inner { me, store, commands, uploads, stop, tasks, slow })))
    }

    /// Stops: nothing new is accepted, streams are cut, and the list of peers is saved.
    pub async fn stop(&self) {
        let _ = self.0.stop.send(true);
        let mut tasks = std::mem::take(&mut *self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        while tasks.join_next().await.is_some() {}
    }

    /// This node, as others know it.
    pub fn peer_id(&self) -> PeerId {
        self.0.me
    }

    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }

    /// A peer gave us bytes.
    pub(crate) fn gave(&self, peer: PeerId, bytes: u64) {
        self.0.uploads.gave(peer, bytes);
    }

    /// Whether a peer gave us bytes.
    pub(crate) fn has_given(&self, peer: PeerId) -> bool {
        self.0.uploads.has_given(peer)
    }

    /// How long a source may bring nothing.
    pub(crate) fn slow_time(&self) -> Duration {
        self.0.slow.0
    }

    pub(crate) fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.0.uploads.traffic)
    }

    pub(crate) fn sent_bytes(&self) -> u64 {
        self.0.uploads.sent.load(Ordering::Relaxed)
    }

    pub(crate) fn pace(&self) -> Pace {
        Pace::new(self.0.slow.0, self.0.slow.1)
    }

    pub(crate) async fn to_loop<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.0.commands.send(command(reply)).await.map_err(|_| Error::Stopping)?;
        answer.await.map_err(|_| Error::Stopping)
    }

    /// How the swarm is.
    ///
    /// # Cancel safety
    /// May be dropped.
    pub async fn status(&self) -> Result<Status> {
        let mut status = self.to_loop(Command::Status).await?;
        status.sent_bytes = self.sent_bytes();
        Ok(status)
    }

    /// Whether and how others reach this node.
    ///
    /// # Cancel safety
    /// May be dropped.
    pub async fn reachability(&self) -> Result<crate::Reachability> {
        self.to_loop(Command::Reachability).await
    }

    /// With whom a release and its blobs were exchanged since the start: bytes sent to each, and verified bytes from each.
    pub fn exchanged(&self, release: ReleaseId, blobs: &[BlobHash]) -> std::collections::HashMap<PeerId, (u64, u64)> {
        self.traffic().of(release, blobs)
    }

    /// Who announces a release, as far as the hash table says within `patience`.
    ///
    /// # Cancel safety
    /// May be dropped.
    pub async fn providers(&self, release: ReleaseId, patience: Duration) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let (found, mut finding) = mpsc::channel(64);
        self.find(release, found).await;
        let until = tokio::time::Instant::now() + patience;
        let mut all: Vec<(PeerId, Vec<Multiaddr>)> = Vec::new();
        while let Ok(Some((peer, addresses))) = tokio::time::timeout_at(until, finding.recv()).await {
            if all.iter().all(|(known, _)| *known != peer) {
                all.push((peer, addresses));
            }
        }
        all
    }

    /// The addresses to put into links to what this node has, each with its id: those that it announces, else those that
    /// it listens on, at most four.
    pub async fn addresses(&self) -> Result<Vec<Multiaddr>> {
        let status = self.status().await?;
        let all = if status.announced.is_empty() { status.listening } else { status.announced };
        Ok(all.into_iter().take(4).map(|a| address_of(&a, self.0.me)).collect())
    }

    /// Connects to a peer at one of these addresses, or where it is known to be. Nothing happens if it is connected.
    pub async fn connect(&self, peer: PeerId, addresses: Vec<Multiaddr>) -> Result<()> {
        let dial = self.to_loop(|reply| Command::Connect { peer, addresses, reply });
        match tokio::time::timeout(DIALLING, dial).await {
            Ok(dialled) => dialled?,
            Err(_) => Err(Error::Dial { peer, why: "it does not answer".into() }),
        }
    }

    /// Makes the best connection to a connected peer that there can be for carrying much. If that fails, what there is has
    /// to do.
    pub(crate) async fn widen(&self, peer: PeerId, addresses: Vec<Multiaddr>) {
        let dial = self.to_loop(|reply| Command::Widen { peer, addresses, reply });
        if let Ok(Ok(Err(error))) = tokio::time::timeout(WIDENING, dial).await {
            tracing::debug!(%error, "no connection over TCP");
        }
    }

    pub(crate) async fn open(&self, peer: PeerId) -> Result<Stream> {
        let open = self.to_loop(|reply| Command::Open { peer, reply });
        match tokio::time::timeout(OPENING, open).await {
            Ok(opened) => opened?,
            Err(_) => Err(Error::Open { peer, why: "it does not answer" }),
        }
    }

    pub(crate) async fn open_ask(&self, peer: PeerId) -> Result<Stream> {
        let open = self.to_loop(|reply| Command::OpenAsk { peer, reply });
        match tokio::time::timeout(OPENING, open).await {
            Ok(opened) => opened?,
            Err(_) => Err(Error::Open { peer, why: "it does not answer" }),
        }
    }

    pub(crate) async fn send(&self, command: Command) -> Result<()> {
        self.0.commands.send(command).await.map_err(|_| Error::Stopping)
    }

    /// Tells the loop something that may be lost when it is busy.
    pub(crate) fn hint(&self, command: Command) {
        if let Err(error) = self.0.commands.try_send(command) {
            tracing::debug!(%error, "not remembered: the loop is busy");
        }
    }

    /// A peer did something that it should not have done.
    pub(crate) fn note(&self, peer: PeerId, offence: Offence) {
        if self.0.commands.try_send(Command::Note { peer, offence }).is_err() {
            tracing::debug!(%peer, ?offence, "not remembered: the loop is busy");
        }
    }

    /// Asks the hash table who has a release. Peers are sent to `found` as they are found.
    pub(crate) async fn find(&self, release: ReleaseId, found: mpsc::Sender<(PeerId, Vec<Multiaddr>)>) {
        let _ = self.0.commands.send(Command::Find { key: *release.as_bytes(), found }).await;
    }

    /// Tells the hash table that this node has these releases, and goes on telling it. Those that were announced before
    /// and are not among them are no longer.
    pub async fn announce(&self, releases: Vec<ReleaseId>) -> Result<()> {
        let keys = releases.iter().map(|id| *id.as_bytes()).collect();
        self.0.commands.send(Command::Announce { keys }).await.map_err(|_| Error::Stopping)
    }

    /// Fetches a release's signed envelope from one of these peers, or from whoever the hash table names, and verifies it.
    /// Answers what was signed as well, to be kept as it is, and who gave it.
    pub async fn release(
        &self,
        id: ReleaseId,
        peers: &[(PeerId, Vec<Multiaddr>)],
    ) -> Result<(Release, Vec<u8>, PeerId)> {
        let mut why = Vec::new();
        let mut asked = std::collections::HashSet::new();
        for (peer, addresses) in peers {
            asked.insert(*peer);
            match self.release_of(id, *peer, addresses.clone()).await {
                Ok((release, envelope)) => return Ok((release, envelope, *peer)),
                Err(error) => why.push(error.to_string()),
            }
        }
        let (found, mut finding) = mpsc::channel(32);
        self.find(id, found).await;
        let until = tokio::time::Instant::now() + DIALLING;
        while let Ok(Some((peer, addresses))) = tokio::time::timeout_at(until, finding.recv()).await {
            if peer == self.0.me || !asked.insert(peer) {
                continue;
            }
            match self.release_of(id, peer, addresses).await {
                Ok((release, envelope)) => return Ok((release, envelope, peer)),
                Err(error) => why.push(error.to_string()),
            }
        }
        why.truncate(8);
        Err(Error::NoSource { what: format!("release {id}"), why })
    }

    async fn release_of(&self, id: ReleaseId, peer: PeerId, addresses: Vec<Multiaddr>) -> Result<(Release, Vec<u8>)> {
        self.connect(peer, addresses).await?;
        let mut stream = self.open(peer).await?;
        let open = |why| Error::Open { peer, why };
        let mut pace = self.pace();
        let asked = async {
            wire::send(&mut stream, &Request::Release(id)).await?;
            wire::receive::<Answer>(&mut stream).await
        };
        let answer = pace.wait(asked).await.map_err(|_| open("it does not answer"))?;
        let len = match answer {
            Some(Answer::Bytes(n)) => usize::try_from(n).ok().filter(|n| *n <= MAX_ENVELOPE_BYTES),
            Some(Answer::NotHere(_)) => return Err(open("it does not have the release")),
            Some(Answer::Busy(_)) => return Err(open("it is busy")),
            None => return Err(open("it closed the stream")),
        };
        let Some(len) = len else {
            self.note(peer, Offence::Protocol);
            return Err(open("it sends more than a release can have"));
        };
        let mut envelope = vec![0; len];
        pace.fill(&mut stream, &mut envelope).await.1.map_err(|_| open("it broke off"))?;
        match fondaco_trust::release::verify_release(&envelope) {
            Ok((named, release)) if named == id => Ok((release, envelope)),
            Ok(_) => {
                self.note(peer, Offence::BadData);
                Err(open("it sent another release"))
            }
            Err(source) if fondaco_trust::release::release_id(&envelope) == id => Err(Error::Release { id, source }),
            Err(_) => {
                self.note(peer, Offence::BadData);
                Err(open("what it sent is not the release"))
            }
        }
    }

    /// Fetches files into the store from all these peers at once, and from those that the hash table names for `key`.
    pub fn fetch(&self, files: Vec<Want>, key: Option<ReleaseId>, peers: Vec<(PeerId, Vec<Multiaddr>)>) -> Fetch {
        fetch::start(self.clone(), files, key, peers, false)
    }

    /// The same, but only those files that somebody reads ([`Fetch::read`]), until it is told to fetch all.
    pub fn fetch_when_read(
        &self,
        files: Vec<Want>,
        key: Option<ReleaseId>,
        peers: Vec<(PeerId, Vec<Multiaddr>)>,
    ) -> Fetch {
        fetch::start(self.clone(), files, key, peers, true)
    }

    /// Lets others have what is there of these blobs while they are fetched, until the answer is dropped.
    pub fn pass_on(&self, blobs: Vec<BlobHash>) -> impl Send + Sync + 'static + use<> {
        Held(self.0.uploads.pass_on(blobs))
    }
}

struct Held(#[expect(dead_code, reason = "it is held for its end")] Passing);

/// Has the C library keep freed memory instead of giving each frame's back to the system and taking it anew, which is an
/// eighth of what a transfer costs its receiver. A block that was mapped and is freed raises the thresholds for both to its
/// size and twice that (mallopt(3), `M_MMAP_THRESHOLD`); elsewhere this does nothing.
fn keep_memory() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(2 << 20)));
}

/// The node's key as libp2p has it.
fn identity(key: &KeyPair) -> Result<libp2p::identity::Keypair> {
    let mut seed = key.seed();
    let pair = libp2p::identity::Keypair::ed25519_from_bytes(&mut seed).map_err(|_| Error::Key)?;
    if pair.public().to_peer_id() == peer_id(&key.public())? { Ok(pair) } else { Err(Error::Key) }
}

/// The id under which the swarm knows the node of a public key.
pub fn peer_id(key: &PublicKey) -> Result<PeerId> {
    let key = libp2p::identity::ed25519::PublicKey::try_from_bytes(key.as_bytes()).map_err(|_| Error::Key)?;
    Ok(libp2p::identity::PublicKey::from(key).to_peer_id())
}

/// The public key of the node that the swarm knows under an id; none where the id is of another kind of key.
#[must_use]
pub fn public_key(peer: &PeerId) -> Option<PublicKey> {
    // An id of this kind is the key itself, and a few bytes before it (multihash "identity").
    let bytes = peer.to_bytes();
    let key = libp2p::identity::PublicKey::try_decode_protobuf(bytes.get(2..)?).ok()?;
    let key = PublicKey::new(key.try_into_ed25519().ok()?.to_bytes());
    (peer_id(&key).ok()? == *peer).then_some(key)
}

/// An address with its peer's id at its end, as links have it.
pub fn address_of(address: &Multiaddr, peer: PeerId) -> Multiaddr {
    match address.iter().last() {
        Some(Protocol::P2p(_)) => address.clone(),
        _ => address.clone().with(Protocol::P2p(peer)),
    }
}

/// Where the list of known peers lies in a data folder.
#[must_use]
pub fn book_in(data: &std::path::Path) -> PathBuf {
    data.join("peers")
}
