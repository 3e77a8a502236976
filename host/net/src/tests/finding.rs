//! Who finds whom, and who stays out.

use std::collections::BTreeSet;
use std::time::Duration;

use fondaco_trust::KeyPair;

use super::{Node, TCP, config, data};
use crate::{Config, Error, Role, peer_id};

/// Waits until something holds.
pub(super) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..300 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what}: not within 15 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_found_through_the_hash_table_alone() {
    let hub = Node::at(TCP).await;
    let (hub_id, hub_at) = hub.address().await;
    let with_hub = || Config { bootstrap: vec![(hub_id, hub_at[0].clone())], ..config(TCP) };
    let publisher = Node::new(with_hub()).await;
    let (id, release) = publisher.publish(&[&data(1000, 1)]);
    publisher.net.announce(vec![id]).await.unwrap();
    until("the publisher knows the hub", async || publisher.net.status().await.unwrap().routing > 0).await;
    assert_eq!(publisher.net.status().await.unwrap().announcing, 1);
    // A leaf asks the table and is no part of it.
    let buyer = Node::new(Config { role: Role::Leaf, listen: Vec::new(), ..with_hub() }).await;
    until("the buyer knows the hub", async || buyer.net.status().await.unwrap().routing > 0).await;
    let mut got = None;
    until("the release is found", async || {
        got = buyer.net.release(id, &[]).await.ok();
        got.is_some()
    })
    .await;
    let (found, _, from) = got.unwrap();
    assert_eq!((found, from), (release.clone(), publisher.net.peer_id()));
    // Its files too, by the key of the release.
    let fetched = buyer.net.fetch(super::wants(&release), Some(id), Vec::new()).done().await.unwrap();
    assert_eq!(fetched.bytes, 1000);
    assert!(matches!(
        buyer.net.release(fondaco_schemas::ReleaseId::new([1; 32]), &[]).await,
        Err(Error::NoSource { .. })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_starts_again_remembers_whom_it_met() {
    let dir = tempfile::tempdir().unwrap();
    let friend = Node::at(TCP).await;
    let (id, addresses) = friend.address().await;
    let key = KeyPair::generate().unwrap();
    let book = Some(dir.path().join("peers"));
    let first = Node::with_key(Config { book: book.clone(), ..config("") }, &key).await;
    assert_eq!(first.net.peer_id(), peer_id(&key.public()).unwrap());
    first.net.connect(id, addresses).await.unwrap();
    first.net.stop().await;
    let second = Node::with_key(Config { book, ..config("") }, &key).await;
    until("the friend is dialled", async || {
        second.net.status().await.unwrap().peers.iter().any(|peer| peer.id == id && peer.round_trip.is_some())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_network_lets_in_whom_it_names() {
    let friend = KeyPair::generate().unwrap();
    let allow = Some(BTreeSet::from([peer_id(&friend.public()).unwrap()]));
    let club = Node::new(Config { allow, ..config(TCP) }).await;
    let want = club.add(&data(100, 1));
    let (id, addresses) = club.address().await;
    let member = Node::with_key(config(""), &friend).await;
    let fetched = member.net.fetch(vec![want.clone()], None, vec![(id, addresses.clone())]).done().await.unwrap();
    assert_eq!(fetched.bytes, 100);
    let stranger = Node::at("").await;
    let refused = stranger.net.fetch(vec![want], None, vec![(id, addresses)]).done().await;
    assert!(matches!(refused, Err(Error::NoSource { .. })), "{refused:?}");
    assert_eq!(club.net.status().await.unwrap().peers.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_cannot_be_reached_is_named_with_the_reason() {
    let node = Node::at("").await;
    let (id, addresses) = {
        let gone = Node::at(TCP).await;
        let at = gone.address().await;
        gone.net.stop().await;
        at
    };
    let error = node.net.connect(id, addresses.clone()).await.unwrap_err().to_string();
    assert!(error.contains(&addresses[0].to_string()) && error.contains("refused"), "{error}");
    let other = Node::at(TCP).await;
    let (_, elsewhere) = other.address().await;
    let error = node.net.connect(id, elsewhere).await.unwrap_err().to_string();
    assert!(error.contains(&other.net.peer_id().to_string()), "another node answers there: {error}");
    let error = node.net.connect(libp2p::PeerId::random(), Vec::new()).await.unwrap_err().to_string();
    assert!(error.contains("no address"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_is_named() {
    let first = Node::at(TCP).await;
    let (_, addresses) = first.address().await;
    let dir = tempfile::tempdir().unwrap();
    let store = fondaco_store::Store::open(dir.path(), fondaco_store::Options::default()).unwrap();
    let given = std::sync::Arc::new(std::sync::Arc::new(super::Given::default()));
    let taken = Config { listen: addresses.clone(), ..config("") };
    let error = crate::Net::start(taken, &KeyPair::generate().unwrap(), store, given).await.err().unwrap();
    assert!(matches!(error, Error::Listen { .. }) && error.to_string().contains(&addresses[0].to_string()), "{error}");
}
