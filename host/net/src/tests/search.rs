//! Searches over real sockets: honest nodes, forgers, such as never answer, and such as answer too much.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fondaco_schemas::{BlobHash, ReleaseId};
use fondaco_store::{Options, Store};
use fondaco_trust::KeyPair;
use libp2p::PeerId;

use super::{Node, TCP, config};
use crate::{Answered, Found, Future, Net, Question, Search, Shelf, Whom};

/// How a node of the tests answers.
#[derive(Clone)]
enum Answers {
    With(Vec<Vec<u8>>),
    Never,
    TooMuch,
}

struct Answering(Answers, AtomicUsize);

impl Shelf for Answering {
    fn envelope(&self, _: ReleaseId) -> Future<'_, Option<Vec<u8>>> {
        Box::pin(std::future::ready(None))
    }
    fn is_public(&self, _: BlobHash) -> Future<'_, bool> {
        Box::pin(std::future::ready(false))
    }
    fn answer(&self, _: PeerId, question: Question, _: usize) -> Future<'_, Answered> {
        assert!(matches!(question, Question::Search(_)));
        self.1.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            match &self.0 {
                Answers::With(works) => {
                    let works = works.iter().map(|w| w.clone().into()).collect();
                    Answered::Found(Found { works, missing: 1 })
                }
                Answers::Never => std::future::pending().await,
                Answers::TooMuch => Answered::Found(Found { works: vec![vec![7; 300 << 10].into()], missing: 0 }),
            }
        })
    }
}

struct Peer {
    net: Net,
    asked: Arc<Answering>,
    _dir: tempfile::TempDir,
}

impl Shelf for Arc<Answering> {
    fn envelope(&self, id: ReleaseId) -> Future<'_, Option<Vec<u8>>> {
        (**self).envelope(id)
    }
    fn is_public(&self, blob: BlobHash) -> Future<'_, bool> {
        (**self).is_public(blob)
    }
    fn answer(&self, from: PeerId, question: Question, most_bytes: usize) -> Future<'_, Answered> {
        (**self).answer(from, question, most_bytes)
    }
}

async fn peer(answers: Answers) -> Peer {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Options::default()).unwrap();
    let asked = Arc::new(Answering(answers, AtomicUsize::new(0)));
    let key = KeyPair::generate().unwrap();
    let net = Net::start(config(TCP), &key, store, Arc::new(asked.clone())).await.unwrap();
    Peer { net, asked, _dir: dir }
}

fn search() -> Search {
    Search {
        id: [3; 16].into(),
        hops: 1,
        wait_ms: 300,
        limit: 20,
        text: "owl".into(),
        kinds: Vec::new(),
        tags: Vec::new(),
        language: None,
        max_price: None,
        drm_free: false,
    }
}

fn envelope(node: &Node) -> (ReleaseId, Vec<u8>) {
    let (id, _) = node.publish(&[b"owls"]);
    let envelope = node.given.releases.lock().unwrap().get(&id).cloned().unwrap();
    (id, envelope)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_signed_is_dropped_and_who_sends_it_is_banned() {
    let node = Node::at(TCP).await;
    let (id, good) = envelope(&node);
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    let honest = peer(Answers::With(vec![good.clone(), good.clone()])).await;
    let forger = peer(Answers::With(vec![good, bad, b"nothing".to_vec()])).await;
    let mut whom = Vec::new();
    for net in [&honest.net, &forger.net] {
        whom.push((net.peer_id(), net.status().await.unwrap().listening));
    }
    for round in 0..3 {
        let deadline = tokio::time::sleep(Duration::from_secs(5));
        let heard = node.net.search(search(), Whom::Only(whom.clone()), 16, deadline, None).await;
        assert_eq!(heard.len(), 2, "round {round}");
        for one in heard {
            let works = one.answer.unwrap();
            assert_eq!(works.iter().map(|w| w.id).collect::<Vec<_>>(), [id], "one work, once");
            assert_eq!(one.forged, if one.peer == forger.net.peer_id() { 2 } else { 0 });
            assert_eq!(one.missing, 1);
        }
    }
    let begun = Instant::now();
    while node.net.status().await.unwrap().banned.is_empty() && begun.elapsed() < Duration::from_secs(5) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let banned: Vec<_> = node.net.status().await.unwrap().banned.into_iter().map(|(peer, _)| peer).collect();
    assert_eq!(banned, [forger.net.peer_id()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_late_or_says_too_much_costs_the_deadline_and_no_more() {
    let node = Node::at(TCP).await;
    let (id, good) = envelope(&node);
    let honest = peer(Answers::With(vec![good])).await;
    let (silent, loud) = (peer(Answers::Never).await, peer(Answers::TooMuch).await);
    let mut whom = Vec::new();
    for net in [&honest.net, &silent.net, &loud.net] {
        node.net.connect(net.peer_id(), net.status().await.unwrap().listening).await.unwrap();
        whom.push((net.peer_id(), Vec::new()));
    }
    let (tell, mut told) = tokio::sync::mpsc::channel(8);
    let begun = Instant::now();
    let deadline = tokio::time::sleep(Duration::from_millis(800));
    let heard = node.net.search(search(), Whom::Only(whom), 16, deadline, Some(tell)).await;
    assert!(begun.elapsed() < Duration::from_millis(2500), "{:?}", begun.elapsed());
    assert_eq!(heard.len(), 3);
    let of = |peer: PeerId| heard.iter().find(|h| h.peer == peer).unwrap();
    assert_eq!(of(honest.net.peer_id()).answer.as_ref().unwrap()[0].id, id);
    assert!(of(silent.net.peer_id()).answer.as_ref().unwrap_err().contains("in time"));
    assert!(of(loud.net.peer_id()).answer.is_err());
    let mut peers = Vec::new();
    while let Ok(one) = told.try_recv() {
        peers.push(one.peer);
    }
    assert_eq!(peers.len(), 3, "each was told of");
    // At most so many are asked.
    let asked = honest.asked.1.load(Ordering::Relaxed);
    let none = node.net.search(search(), Whom::Everyone, 0, tokio::time::sleep(Duration::from_secs(1)), None).await;
    assert!(none.is_empty() && honest.asked.1.load(Ordering::Relaxed) == asked);
}

#[tokio::test]
async fn a_peers_id_gives_its_key_and_the_other_way_round() {
    let key = KeyPair::generate().unwrap();
    let peer = crate::peer_id(&key.public()).unwrap();
    assert_eq!(crate::public_key(&peer), Some(key.public()));
}
