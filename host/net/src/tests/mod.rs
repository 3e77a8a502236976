//! Several nodes in one process, over real sockets on loopback: honest ones, and ones that are not.

mod announced;
mod ask;
mod bad;
mod channels;
mod finding;
mod members;
mod reached;
mod reading;
mod search;
mod strangers;
mod sybils;
mod transfer;
mod web;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fondaco_schemas::{BlobHash, FileInfo, FileRole, Release, ReleaseId, WorkId, WorkKind};
use fondaco_store::{Options, Store};
use fondaco_trust::KeyPair;
use libp2p::{Multiaddr, PeerId};

use crate::{Answered, Config, Future, Net, Question, Shelf, Want};

pub(super) const TCP: &str = "/ip4/127.0.0.1/tcp/0";
pub(super) const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

/// What a node of the tests gives away.
#[derive(Default)]
pub(super) struct Given {
    pub releases: Mutex<HashMap<ReleaseId, Vec<u8>>>,
    pub private: Mutex<HashSet<BlobHash>>,
    answers: Mutex<Option<Answers>>,
}

type Answers = Box<dyn Fn(Question) -> Answered + Send>;

impl Given {
    /// From now on questions are answered like this.
    pub fn answers(&self, how: impl Fn(Question) -> Answered + Send + 'static) {
        *self.answers.lock().unwrap() = Some(Box::new(how));
    }
}

impl Shelf for Arc<Given> {
    fn envelope(&self, id: ReleaseId) -> Future<'_, Option<Vec<u8>>> {
        Box::pin(async move { self.releases.lock().unwrap().get(&id).cloned() })
    }
    fn is_public(&self, blob: BlobHash) -> Future<'_, bool> {
        Box::pin(async move { !self.private.lock().unwrap().contains(&blob) })
    }
    fn answer(&self, _: PeerId, question: Question, _: usize) -> Future<'_, Answered> {
        let how = self.answers.lock().unwrap();
        Box::pin(std::future::ready(how.as_ref().map_or(Answered::Nothing, |how| how(question))))
    }
}

/// A node with its data.
pub(super) struct Node {
    pub net: Net,
    pub store: Store,
    pub given: Arc<Given>,
    pub dir: tempfile::TempDir,
}

impl Node {
    pub async fn new(config: Config) -> Self {
        Self::with_key(config, &KeyPair::generate().unwrap()).await
    }

    pub async fn with_key(config: Config, key: &KeyPair) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Options::default()).unwrap();
        let given = Arc::new(Given::default());
        let net = Net::start(config, key, store.clone(), Arc::new(Arc::clone(&given))).await.unwrap();
        Self { net, store, given, dir }
    }

    /// A node that listens at one address.
    pub async fn at(listen: &str) -> Self {
        Self::new(config(listen)).await
    }

    /// Where it is, for others.
    pub async fn address(&self) -> (PeerId, Vec<Multiaddr>) {
        (self.net.peer_id(), self.net.status().await.unwrap().listening)
    }

    pub fn add(&self, bytes: &[u8]) -> Want {
        let imported = self.store.import_reader(bytes, &|_| ()).unwrap();
        self.store.pin(imported.hash, "test").unwrap();
        Want { hash: imported.hash, size: imported.size, name: "file".into() }
    }

    /// Publishes a release of these files.
    pub fn publish(&self, files: &[&[u8]]) -> (ReleaseId, Release) {
        let key = KeyPair::generate().unwrap();
        let files = files.iter().enumerate().map(|(i, bytes)| {
            let want = self.add(bytes);
            FileInfo {
                path: format!("file-{i}"),
                hash: want.hash,
                size: want.size,
                media_type: "application/octet-stream".into(),
                role: FileRole::Preview,
                protection: None,
                title: None,
                duration_ms: None,
            }
        });
        let release = Release {
            work: WorkId::new(key.public(), "work").unwrap(),
            sequence: 1,
            kind: WorkKind::Other,
            title: "Work".into(),
            creators: Vec::new(),
            description: String::new(),
            language: None,
            tags: Vec::new(),
            license: None,
            credits: Vec::new(),
            published: "2026-01-01T00:00:00Z".into(),
            files: files.collect(),
            offers: Vec::new(),
            metadata: "{}".into(),
            home: None,
        };
        let (id, envelope) = fondaco_trust::release::sign_release(&key, &release).unwrap();
        self.given.releases.lock().unwrap().insert(id, envelope);
        (id, release)
    }
}

pub(super) fn config(listen: &str) -> Config {
    Config {
        listen: if listen.is_empty() { Vec::new() } else { vec![Config::listen_address(listen).unwrap()] },
        slow_time: Duration::from_secs(2),
        slow_bytes: 2 * 4096,
        ..Config::default()
    }
}

/// Bytes that do not repeat.
pub(crate) fn data(len: usize, seed: u8) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof().fill(&mut out);
    out
}

pub(super) fn wants(release: &Release) -> Vec<Want> {
    release.files.iter().map(|f| Want { hash: f.hash, size: f.size, name: f.path.clone() }).collect()
}
