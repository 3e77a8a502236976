//! Short questions: who else shares a release, and those who ask or answer in bad faith.

use std::time::Duration;

use futures_util::{AsyncWriteExt, StreamExt};
use libp2p::swarm::{Stream, SwarmEvent};
use libp2p::{Multiaddr, PeerId, SwarmBuilder, tcp, tls, yamux};
use tokio::sync::mpsc;

use super::{Node, TCP, config, data, wants};
use crate::ask::{Answered, Asked, MAX_ANSWER, PeerAt, Question};
use crate::streams::{Inbound, Streams};
use crate::{ASK, Config, Error, Limits, wire};

fn question() -> Question {
    Question::Peers(fondaco_schemas::ReleaseId::new([1; 32]))
}

/// What a bad node answers.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Endless,
    Garbage,
    TooMuch,
    Closes,
    NamesTheWorld,
    NamesTheHouse,
}

/// Starts one.
async fn bad(kind: Kind) -> (PeerId, Vec<Multiaddr>) {
    let (inbound, mut streams) = mpsc::channel::<Inbound>(64);
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), tls::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| Streams::new(ASK, Vec::new(), 64, inbound))
        .unwrap()
        .build();
    swarm.listen_on(TCP.parse().unwrap()).unwrap();
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break address;
        }
    };
    let me = *swarm.local_peer_id();
    tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    tokio::spawn(async move {
        while let Some(inbound) = streams.recv().await {
            tokio::spawn(async move { misbehave(kind, inbound.stream).await });
        }
    });
    (me, vec![address])
}

async fn misbehave(kind: Kind, mut stream: Stream) -> std::io::Result<()> {
    let Some(asked) = wire::receive::<Asked>(&mut stream).await? else { return Ok(()) };
    match kind {
        Kind::Endless => stream.write_all(&[255; 4]).await?,
        Kind::Garbage => stream.write_all(&[3, 0, 0, 0, 0xff, 0xff, 0xff]).await?,
        Kind::TooMuch => {
            let len = asked.most_bytes + 1;
            stream.write_all(&len.to_le_bytes()).await?;
            stream.write_all(&vec![0; len as usize]).await?;
        }
        Kind::Closes => {}
        Kind::NamesTheHouse => {
            let all = ["/ip4/10.0.0.1/tcp/22", "/ip4/127.0.0.1/tcp/80", "/ip4/198.51.100.1/tcp/1"];
            let at = PeerAt::new(PeerId::random(), &all.map(|a| a.parse::<Multiaddr>().unwrap()));
            wire::send(&mut stream, &Answered::Peers(vec![at])).await?;
        }
        Kind::NamesTheWorld => {
            let at = |i: u32| {
                let address = format!("/ip4/192.0.{}.{}/tcp/1", i / 256, i % 256);
                PeerAt::new(PeerId::random(), &[address.parse().unwrap(), "/ip4/127.0.0.1/tcp/1/ws".parse().unwrap()])
            };
            wire::send(&mut stream, &Answered::Peers((0..200).map(at).collect())).await?;
        }
    }
    stream.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_share_a_release_find_each_other_without_the_hash_table() {
    let slow = Limits { upload_bytes_per_second: Some(2 << 20), ..Limits::default() };
    let seeder = Node::new(Config { limits: slow, ..config(TCP) }).await;
    let (id, release) = seeder.publish(&[&data(9 << 20, 1)]);
    seeder.net.announce(vec![id]).await.unwrap();
    let at = seeder.address().await;
    let first = Node::at(TCP).await;
    let hashes = || release.files.iter().map(|f| f.hash).collect();
    let _passing = first.net.pass_on(hashes());
    let fetching = first.net.fetch(wants(&release), Some(id), vec![at.clone()]);
    // Begins later, and knows of the seeder alone.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let second = Node::at("").await;
    let also = second.net.fetch(wants(&release), Some(id), vec![at.clone()]);
    let (one, two) = tokio::join!(fetching.done(), also.done());
    one.unwrap();
    let two = two.unwrap();
    let from = |peer| two.sources.iter().find(|s| s.who.peer() == Some(peer)).map_or(0, |s| s.bytes);
    assert!(from(first.net.peer_id()) > 1 << 20, "{:?}", two.sources);
    assert_eq!(from(first.net.peer_id()) + from(at.0), 9 << 20);
    // Those who brought it are told to whoever asks; nobody is told of a release that is not shared here.
    let third = Node::at("").await;
    let told = third.net.sharers(id, at.clone()).await.unwrap();
    assert!(told.iter().any(|(peer, _)| *peer == first.net.peer_id()), "{told:?}");
    assert!(told.iter().all(|(peer, _)| *peer != second.net.peer_id()), "nobody can dial it");
    let other = third.net.ask(at.0, at.1, &question(), 1000).await.unwrap();
    assert_eq!(other, Answered::Nothing);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_in_bad_faith_are_refused_and_noted() {
    let asker = Node::at("").await;
    for (kind, words, bans) in [
        (Kind::Endless, "too long, or is none", true),
        (Kind::Garbage, "too long, or is none", true),
        (Kind::TooMuch, "too long, or is none", true),
        (Kind::Closes, "closed the stream", false),
    ] {
        let at = bad(kind).await;
        for _ in 0..6 {
            let error = asker.net.ask(at.0, at.1.clone(), &question(), MAX_ANSWER).await.unwrap_err().to_string();
            assert!(error.contains(words), "{kind:?}: {error}");
        }
        let error = asker.net.ask(at.0, at.1, &question(), 1000).await.unwrap_err();
        assert_eq!(matches!(error, Error::Dial { .. }), bans, "{kind:?}: {error}");
    }
    let at = bad(Kind::NamesTheWorld).await;
    let told = asker.net.sharers(fondaco_schemas::ReleaseId::new([1; 32]), at).await.unwrap();
    assert!(told.len() <= 16 && told.iter().all(|(_, addresses)| addresses.len() == 1), "{}", told.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_questions_is_refused_then_banned_and_others_are_answered() {
    let node = Node::at(TCP).await;
    let at = node.address().await;
    let (silent, flooder, other) = (Node::at("").await, Node::at("").await, Node::at("").await);
    // Streams on which nothing is asked are as many as one may have; who wants more is told that there is no room.
    silent.net.connect(at.0, at.1.clone()).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut stream = silent.net.open_ask(at.0).await.unwrap();
        stream.write_all(&[9]).await.unwrap();
        stream.flush().await.unwrap();
        held.push(stream);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(matches!(silent.net.ask(at.0, Vec::new(), &question(), 1000).await, Ok(Answered::Busy(_))));
    // A question that is too long, and one that is none, end their stream and nothing else.
    flooder.net.connect(at.0, at.1.clone()).await.unwrap();
    for bytes in [&u32::MAX.to_le_bytes()[..], &[1, 0, 0, 0, 0xff], &[1, 0, 1, 0]] {
        let mut stream = flooder.net.open_ask(at.0).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.close().await.unwrap();
        assert!(!matches!(wire::receive::<Answered>(&mut stream).await, Ok(Some(_))), "{bytes:?}");
    }
    let mut busy = 0;
    let mut banned = false;
    for _ in 0..2000 {
        match flooder.net.ask(at.0, Vec::new(), &question(), 1000).await {
            Ok(Answered::Busy(_)) => busy += 1,
            Ok(answer) => assert_eq!(answer, Answered::Nothing),
            Err(_) => {
                banned = true;
                break;
            }
        }
    }
    assert!(busy > 32 && banned, "{busy} {banned}");
    let status = node.net.status().await.unwrap();
    assert_eq!(status.banned.iter().map(|(peer, _)| *peer).collect::<Vec<_>>(), [flooder.net.peer_id()]);
    assert_eq!(other.net.ask(at.0, at.1, &question(), 1000).await.unwrap(), Answered::Nothing);
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_from_far_away_names_nobody_in_ones_own_network() {
    let me = libp2p::identity::Keypair::generate_ed25519().public().to_peer_id();
    // An address in memory is none of a local network.
    let (transport, _client) = crate::memory::transport(me);
    let (inbound, mut streams) = mpsc::channel::<Inbound>(64);
    let asked = Streams::new(ASK, Vec::new(), 64, inbound);
    let mut swarm = libp2p::Swarm::new(transport, asked, me, libp2p::swarm::Config::with_tokio_executor());
    let at: Multiaddr = "/memory/73001".parse().unwrap();
    swarm.listen_on(at.clone()).unwrap();
    tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    tokio::spawn(async move {
        while let Some(inbound) = streams.recv().await {
            tokio::spawn(async move { misbehave(Kind::NamesTheHouse, inbound.stream).await });
        }
    });
    let asker = Node::new(Config { transport: crate::Transport::Memory, ..config("") }).await;
    let told = asker.net.sharers(fondaco_schemas::ReleaseId::new([1; 32]), (me, vec![at])).await.unwrap();
    let addresses: Vec<String> = told.iter().flat_map(|(_, all)| all).map(ToString::to_string).collect();
    assert_eq!(addresses, ["/ip4/198.51.100.1/tcp/1"]);
}
