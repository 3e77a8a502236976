//! Honest nodes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fondaco_store::Decoder;

use super::{Node, QUIC, TCP, config, data, wants};
use crate::wire::{self, Answer, Request, Run};
use crate::{Config, Error, Limits, SourceState, Want};

/// Takes the first groups of a blob into another store, as if a fetch had come so far.
fn take_part(
    from: &Node,
    to: &Node,
    hash: fondaco_schemas::BlobHash,
    size: u64,
    groups: u64,
) -> fondaco_store::Partial {
    let mut encoder = from.store.get(hash).unwrap().encode(std::iter::once(0..groups).collect()).unwrap();
    let partial = to.store.fetch(hash, size).unwrap();
    let ranges = fondaco_store::GroupRanges::new(size, std::iter::once(0..groups).collect()).unwrap();
    let mut decoder = Decoder::new(hash, size, ranges);
    let mut pending = Vec::new();
    while let Some(piece) = encoder.piece().unwrap() {
        pending.extend(piece);
        let used = partial.absorb(&mut decoder, &pending).unwrap().used;
        pending.drain(..used);
    }
    partial
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_exchange_a_work_over_either_transport() {
    let publisher = Node::new(Config { listen: [TCP, QUIC].map(|a| a.parse().unwrap()).to_vec(), ..config("") }).await;
    let files = [data(0, 0), data(10, 1), data(16 << 10, 2), data((5 << 20) + 3, 3), data(10, 1)];
    let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
    let (id, release) = publisher.publish(&files);
    let (peer, addresses) = publisher.address().await;
    assert_eq!(addresses.len(), 2);
    for address in addresses {
        let buyer = Node::at("").await;
        let peers = vec![(peer, vec![address.clone()])];
        let (got, envelope, from) = buyer.net.release(id, &peers).await.unwrap();
        assert_eq!((&got, from), (&release, peer));
        assert_eq!(fondaco_trust::release::release_id(&envelope), id);
        let fetch = buyer.net.fetch(wants(&got), Some(id), peers.clone());
        let fetched = fetch.done().await.unwrap();
        assert_eq!(fetched.bytes, (16 << 10) + (5 << 20) + 13, "{address}: what there is twice comes once");
        assert_eq!(fetch.bytes(), fetched.bytes);
        for (want, bytes) in wants(&release).iter().zip(&files) {
            let mut found = vec![0; bytes.len()];
            buyer.store.get(want.hash).unwrap().read_at(0, &mut found).unwrap();
            assert!(found == *bytes, "{address}: {}", want.name);
        }
        // All of it is here: nothing comes again, and nobody is needed.
        let again = buyer.net.fetch(wants(&got), None, Vec::new()).done().await.unwrap();
        assert_eq!((again.bytes, again.imported.len()), (0, 0));
        buyer.net.stop().await;
        assert!(matches!(buyer.net.status().await, Err(Error::Stopping)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_goes_on_where_it_was_cut_off() {
    let publisher = Node::at(TCP).await;
    let bytes = data(20 << 20, 1);
    let want = publisher.add(&bytes);
    let buyer = Node::at("").await;
    let peers = vec![publisher.address().await];
    let partial = take_part(&publisher, &buyer, want.hash, want.size, 700);
    drop(partial);
    let fetch = buyer.net.fetch(vec![want.clone()], None, peers.clone());
    let fetched = fetch.done().await.unwrap();
    assert_eq!(fetched.bytes, want.size - 700 * (16 << 10), "what was there does not come again");
    assert_eq!(fetch.bytes(), want.size);
    assert_eq!(buyer.store.verify(want.hash).unwrap(), want.size);
    let sent = publisher.net.status().await.unwrap().sent_bytes;
    assert!(sent < fetched.bytes + fetched.bytes / 100, "{sent} bytes were sent for {}", fetched.bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_fetch_keeps_what_came_and_the_next_needs_only_the_rest() {
    let slow = Limits { upload_bytes_per_second: Some(4 << 20), ..Limits::default() };
    let publisher = Node::new(Config { limits: slow, ..config(TCP) }).await;
    let want = publisher.add(&data(6 << 20, 2));
    let buyer = Node::at("").await;
    let peers = vec![publisher.address().await];
    let fetch = buyer.net.fetch(vec![want.clone()], None, peers.clone());
    while fetch.bytes() < 2 << 20 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(fetch);
    // Its tasks end soon after; until then the blob is theirs.
    let rest = loop {
        match buyer.net.fetch(vec![want.clone()], None, peers.clone()).done().await {
            Ok(fetched) => break fetched.bytes,
            Err(Error::Busy(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) => panic!("{error}"),
        }
    };
    assert!(rest <= 4 << 20, "{rest} bytes came after 2 MiB were there");
    assert_eq!(buyer.store.verify(want.hash).unwrap(), want.size);
}

/// Copies a folder as it is at the moment: what a process that is killed leaves behind.
fn snapshot(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&to).unwrap();
            snapshot(&entry.path(), &to);
        } else {
            // A list of claims may just be replaced by a new one.
            match std::fs::copy(entry.path(), to) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{error}"),
                _ => {}
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_at_most_a_group_of_each_source_comes_again() {
    const GROUP: u64 = 16 << 10;
    let slow = Limits { upload_bytes_per_second: Some(3 << 20), ..Limits::default() };
    let bytes = data(12 << 20, 6);
    let (mut sources, mut peers, mut want) = (Vec::new(), Vec::new(), None);
    for _ in 0..2 {
        let node = Node::new(Config { limits: slow, ..config(TCP) }).await;
        want = Some(node.add(&bytes));
        peers.push(node.address().await);
        sources.push(node);
    }
    let (want, buyer) = (want.unwrap(), Node::at("").await);
    let fetch = buyer.net.fetch(vec![want.clone()], None, peers.clone());
    let mut kills = Vec::new();
    for mebibytes in [1, 3, 6] {
        let there = loop {
            match fetch.bytes() {
                there if there >= mebibytes << 20 => break there,
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        let left = tempfile::tempdir().unwrap();
        snapshot(buyer.dir.path(), left.path());
        kills.push((there, left));
    }
    fetch.done().await.unwrap();
    for (there, left) in kills {
        assert!(there < want.size, "all of it was there");
        let store = fondaco_store::Store::open(left.path(), fondaco_store::Options::default()).unwrap();
        let (key, given) = (fondaco_trust::KeyPair::generate().unwrap(), Arc::new(Arc::new(super::Given::default())));
        let net = crate::Net::start(config(""), &key, store.clone(), given).await.unwrap();
        let again = net.fetch(vec![want.clone()], None, peers.clone()).done().await.unwrap();
        let rest = want.size - there + 2 * GROUP;
        assert!(again.bytes <= rest, "{} came though {there} were there", again.bytes);
        // With what proves them.
        assert!(again.received <= rest + rest / 10, "{} came though {there} were there", again.received);
        assert_eq!(store.verify(want.hash).unwrap(), want.size);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_stays_as_long_as_the_rest_is_fetched() {
    let slow = Limits { upload_bytes_per_second: Some(1 << 20), ..Limits::default() };
    let (publisher, buyer) = (Node::new(Config { limits: slow, ..config(TCP) }).await, Node::at("").await);
    let rest = publisher.add(&data(8 << 20, 7));
    let imported = buyer.store.import_reader(data(50_000, 8).as_slice(), &|_| ()).unwrap();
    let there = Want { hash: imported.hash, size: imported.size, name: "there".into() };
    drop(imported);
    let fetch = buyer.net.fetch(vec![there.clone(), rest], None, vec![publisher.address().await]);
    while fetch.bytes() <= there.size {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!buyer.store.discard(there.hash).unwrap(), "a file went that the fetch counts on");
    drop(fetch);
    while !buyer.store.discard(there.hash).unwrap() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_who_have_it_carry_a_part_and_what_is_fetched_is_passed_on() {
    let slow = Limits { upload_bytes_per_second: Some(3 << 20), ..Limits::default() };
    let bytes = data(10 << 20, 3);
    let (mut sources, mut want) = (Vec::new(), None);
    for _ in 0..3 {
        let node = Node::new(Config { limits: slow, ..config(TCP) }).await;
        want = Some(node.add(&bytes));
        sources.push(node);
    }
    let want = want.unwrap();
    // One has only the first half so far.
    let half = Node::new(Config { limits: slow, ..config(TCP) }).await;
    half.given.private.lock().unwrap().insert(want.hash);
    let partial = take_part(&sources[0], &half, want.hash, want.size, 320);
    let passing = half.net.pass_on(vec![want.hash]);
    sources.push(half);
    let mut peers = Vec::new();
    for source in &sources {
        peers.push(source.address().await);
    }
    let buyer = Node::at("").await;
    let fetch = buyer.net.fetch(vec![want.clone()], None, peers);
    let fetched = fetch.done().await.unwrap();
    assert_eq!(fetched.bytes, want.size);
    for source in &fetched.sources {
        assert!(source.bytes >= 1 << 20, "{:?}", fetched.sources);
    }
    assert_eq!(buyer.store.verify(want.hash).unwrap(), want.size);
    drop((partial, passing));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_for_everybody_is_not_given_and_not_even_known() {
    let publisher = Node::at(TCP).await;
    let (sold, absent) = (publisher.add(&data(50_000, 4)), Node::at("").await.add(&data(50_000, 5)));
    publisher.given.private.lock().unwrap().insert(sold.hash);
    let buyer = Node::at("").await;
    let peers = vec![publisher.address().await];
    let mut answers = Vec::new();
    for want in [sold, absent] {
        let fetch = buyer.net.fetch(vec![want.clone()], None, peers.clone());
        assert!(matches!(fetch.done().await, Err(Error::NoSource { .. })));
        answers.push(fetch.sources().into_iter().map(|s| (s.state, s.bytes)).collect::<Vec<_>>());
        assert!(!buyer.store.has(want.hash));
    }
    assert_eq!(answers[0], answers[1]);
    assert!(matches!(answers[0][0].0, SourceState::Out(_)), "{answers:?}");
    assert_eq!(publisher.net.status().await.unwrap().sent_bytes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_files_come_in_one_session() {
    let publisher = Node::at(TCP).await;
    let files: Vec<Vec<u8>> = (0..200_usize).map(|i| data(i * 397, u8::try_from(i).unwrap())).collect();
    let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
    let (id, release) = publisher.publish(&files);
    let buyer = Node::at("").await;
    let peers = vec![publisher.address().await];
    let fetched = buyer.net.fetch(wants(&release), Some(id), peers).done().await.unwrap();
    assert_eq!(fetched.imported.len(), 200);
    assert!(wants(&release).iter().all(|w| buyer.store.verify(w.hash).is_ok()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_says_so_and_nobody_is_blamed() {
    let publisher = Node::at(TCP).await;
    let want = publisher.add(&data(3 << 20, 9));
    let dir = tempfile::tempdir().unwrap();
    let options = fondaco_store::Options { quota_bytes: Some(1 << 20) };
    let store = fondaco_store::Store::open(dir.path(), options).unwrap();
    let key = fondaco_trust::KeyPair::generate().unwrap();
    let given = std::sync::Arc::new(std::sync::Arc::new(super::Given::default()));
    let net = crate::Net::start(config(""), &key, store.clone(), given).await.unwrap();
    let error = net.fetch(vec![want], None, vec![publisher.address().await]).done().await.unwrap_err();
    assert!(matches!(error, Error::Store(fondaco_store::Error::Quota { .. })), "{error}");
    assert_eq!((store.used_bytes(), net.status().await.unwrap().banned.len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn much_is_carried_over_tcp_and_where_that_leads_nowhere_over_what_there_is() {
    let both = Config { listen: [TCP, QUIC].map(|a| a.parse().unwrap()).to_vec(), ..config("") };
    let publisher = Node::new(both).await;
    let want = publisher.add(&data(3 << 20, 4));
    let (peer, addresses) = publisher.address().await;
    let is_tcp = |address: &libp2p::Multiaddr| crate::streams::is_tcp(address);
    let quic: Vec<_> = addresses.iter().filter(|a| !is_tcp(a)).cloned().collect();
    let ways = async |buyer: &Node| -> Vec<bool> {
        let peers = buyer.net.status().await.unwrap().peers;
        peers.iter().filter(|p| p.id == peer).map(|p| is_tcp(&p.address)).collect()
    };
    // Connected over QUIC alone, it is dialled over TCP for the fetch.
    let buyer = Node::at("").await;
    buyer.net.connect(peer, quic.clone()).await.unwrap();
    assert_eq!(ways(&buyer).await, [false]);
    buyer.net.fetch(vec![want.clone()], None, vec![(peer, addresses)]).done().await.unwrap();
    assert!(ways(&buyer).await.contains(&true));
    // Somebody else answers there; or somebody who says nothing.
    let stranger = Node::at(TCP).await;
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mute = format!("/ip4/127.0.0.1/tcp/{}", mute.local_addr().unwrap().port()).parse().unwrap();
    for wrong in [stranger.address().await.1[0].clone(), mute] {
        let buyer = Node::at("").await;
        buyer.net.connect(peer, quic.clone()).await.unwrap();
        let begin = std::time::Instant::now();
        let fetched =
            buyer.net.fetch(vec![want.clone()], None, vec![(peer, vec![wrong.clone()])]).done().await.unwrap();
        assert_eq!(fetched.bytes, want.size, "{wrong}");
        assert!(begin.elapsed() < Duration::from_secs(10), "{wrong}: {:?}", begin.elapsed());
        assert_eq!(ways(&buyer).await, [false], "{wrong}");
        assert_eq!(stranger.net.status().await.unwrap().sent_bytes, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_what_is_sold_here_nothing_is_given_though_another_release_that_names_it_is_fetched() {
    let seller = Node::at(TCP).await;
    let sold = seller.add(&data(50_000, 4));
    seller.given.private.lock().unwrap().insert(sold.hash);
    let _passing = seller.net.pass_on(vec![sold.hash]);
    let (peer, addresses) = seller.address().await;
    let taker = Node::at("").await;
    taker.net.connect(peer, addresses).await.unwrap();
    for request in [Request::Groups(sold.hash, vec![Run(0, 1)]), Request::Outboard(sold.hash)] {
        let mut stream = taker.net.open(peer).await.unwrap();
        wire::send(&mut stream, &request).await.unwrap();
        let answer = wire::receive::<Answer>(&mut stream).await.unwrap();
        assert_eq!(answer, Some(Answer::NotHere(Vec::new())), "{request:?}");
    }
    assert_eq!(seller.net.status().await.unwrap().sent_bytes, 0);
}
