//! Nodes that lie, stall and flood. Each kind is one that the fetch must survive, and the store must never see.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fondaco_schemas::BlobHash;
use fondaco_store::Blob;
use futures_util::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::swarm::{Stream, SwarmEvent};
use libp2p::{Multiaddr, PeerId, SwarmBuilder, tcp, tls, yamux};
use tokio::sync::mpsc;

use super::finding::until;
use super::{Node, TCP, config, data};
use crate::streams::{Inbound, Streams};
use crate::wire::{self, Answer, Request, Run};
use crate::{BLOB, Config, Error, Limits, SourceState};

/// What a bad node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One bit of each answer is wrong.
    FlipsABit,
    /// Zeros in place of the bytes.
    SendsZeros,
    /// The right bytes of another place.
    SendsOtherGroups,
    /// It promises, and sends nothing.
    Stalls,
    /// It does not even promise.
    SaysNothing,
    /// A byte now and then.
    Trickles,
    /// It says that it has all, and that it has it not.
    LiesAboutWhatItHas,
    /// It ends the stream in the middle.
    BreaksOff,
    /// Random bytes.
    SpeaksGarbage,
    /// A message that is said to have 4 GiB.
    SendsAnEndlessMessage,
    /// It promises more than was asked for.
    PromisesMore,
    /// Always busy.
    IsBusy,
}

const ALL: [Kind; 12] = [
    Kind::FlipsABit,
    Kind::SendsZeros,
    Kind::SendsOtherGroups,
    Kind::Stalls,
    Kind::SaysNothing,
    Kind::Trickles,
    Kind::LiesAboutWhatItHas,
    Kind::BreaksOff,
    Kind::SpeaksGarbage,
    Kind::SendsAnEndlessMessage,
    Kind::PromisesMore,
    Kind::IsBusy,
];

/// Starts one that has the blob.
async fn bad(kind: Kind, blob: Blob) -> (PeerId, Vec<Multiaddr>) {
    bad_with(kind, move |_| blob.clone()).await
}

/// Starts one that has what is asked for.
async fn bad_with(kind: Kind, blob_of: impl Fn(BlobHash) -> Blob + Clone + Send + 'static) -> (PeerId, Vec<Multiaddr>) {
    let (inbound, mut streams) = mpsc::channel::<Inbound>(64);
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), tls::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| Streams::new(BLOB, Vec::new(), 64, inbound))
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
            let blob_of = blob_of.clone();
            tokio::spawn(async move { misbehave(kind, inbound.stream, blob_of).await });
        }
    });
    (me, vec![address])
}

async fn misbehave(kind: Kind, mut stream: Stream, blob_of: impl Fn(BlobHash) -> Blob) -> std::io::Result<()> {
    while let Some(request) = wire::receive::<Request>(&mut stream).await? {
        let Request::Groups(hash, runs) = request else {
            if kind == Kind::PromisesMore {
                let most = fondaco_schemas::envelope::MAX_ENVELOPE_BYTES as u64;
                wire::send(&mut stream, &Answer::Bytes(most + 1)).await?;
                return std::future::pending().await;
            }
            stream.write_all(&data(500, 7)).await?;
            return stream.close().await;
        };
        let encoder = blob_of(hash).encode(Run::ranges(&runs));
        let mut bytes = encoder.unwrap().piece().unwrap().unwrap_or_default();
        let len = bytes.len();
        let mut promise = len as u64;
        match kind {
            Kind::FlipsABit => bytes[len * 2 / 3] ^= 8,
            Kind::SendsZeros => bytes.fill(0),
            Kind::SendsOtherGroups => bytes.rotate_left(64),
            Kind::PromisesMore => promise += 1,
            Kind::LiesAboutWhatItHas => {
                wire::send(&mut stream, &Answer::NotHere(vec![Run(0, 1 << 30)])).await?;
                continue;
            }
            Kind::SpeaksGarbage => {
                let noise = data(5000, 3);
                stream.write_all(&noise).await?;
                stream.flush().await?;
                continue;
            }
            Kind::SendsAnEndlessMessage => {
                stream.write_all(&[255; 4]).await?;
                stream.flush().await?;
                continue;
            }
            Kind::IsBusy => {
                wire::send(&mut stream, &Answer::Busy(100)).await?;
                return stream.close().await;
            }
            Kind::SaysNothing => return std::future::pending().await,
            Kind::Stalls | Kind::Trickles | Kind::BreaksOff => {}
        }
        wire::send(&mut stream, &Answer::Bytes(promise)).await?;
        match kind {
            Kind::Stalls => return std::future::pending().await,
            Kind::Trickles => {
                for byte in bytes {
                    stream.write_all(&[byte]).await?;
                    stream.flush().await?;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            Kind::BreaksOff => {
                stream.write_all(&bytes[..len / 2]).await?;
                return stream.close().await;
            }
            _ => {
                stream.write_all(&bytes).await?;
                stream.flush().await?;
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_honest_node_among_liars_is_enough() {
    let slow = Limits { upload_bytes_per_second: Some(8 << 20), ..Limits::default() };
    let honest = Node::new(Config { limits: slow, ..config(TCP) }).await;
    let want = honest.add(&data(24 << 20, 1));
    let blob = honest.store.get(want.hash).unwrap();
    let mut peers = Vec::new();
    let mut kinds = Vec::new();
    for kind in ALL {
        let at = bad(kind, blob.clone()).await;
        kinds.push((at.0, kind));
        peers.push(at);
    }
    peers.push(honest.address().await);
    let buyer = Node::at("").await;
    let fetched = buyer.net.fetch(vec![want.clone()], None, peers).done().await.unwrap();
    assert_eq!(buyer.store.verify(want.hash).unwrap(), want.size);
    for source in &fetched.sources {
        let kind = kinds.iter().find(|(peer, _)| source.who.peer() == Some(*peer)).map(|(_, kind)| *kind);
        match kind {
            None => assert!(source.bytes > 20 << 20, "{fetched:?}"),
            Some(Kind::FlipsABit | Kind::SendsZeros | Kind::SendsOtherGroups) => {
                let out = matches!(&source.state, SourceState::Out(why) if why.contains("does not verify at byte"));
                assert!(out, "{kind:?} {source:?}");
            }
            Some(Kind::PromisesMore | Kind::SpeaksGarbage | Kind::SendsAnEndlessMessage) => {
                assert!(matches!(source.state, SourceState::Out(_)) && source.bytes == 0, "{kind:?} {source:?}");
            }
            Some(Kind::Stalls | Kind::SaysNothing | Kind::Trickles) => {
                // It was given up, or was not yet when the others were done without it.
                assert!(source.bytes < 1 << 20, "{kind:?} {source:?}");
            }
            Some(Kind::BreaksOff | Kind::LiesAboutWhatItHas | Kind::IsBusy) => {}
        }
    }
}

/// One honest node and nineteen that are not, a hundred files: all come, little is wasted, and who lies is banned.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_of_a_hundred_come_from_one_honest_node_among_twenty() {
    const SIZE: usize = 300_000;
    let slow = Limits { upload_bytes_per_second: Some(8 << 20), ..Limits::default() };
    let honest = Node::new(Config { limits: slow, ..config(TCP) }).await;
    let mut peers = Vec::new();
    let mut kinds = std::collections::HashMap::new();
    for kind in ALL.iter().cycle().take(19) {
        let store = honest.store.clone();
        let at = bad_with(*kind, move |hash| store.get(hash).unwrap()).await;
        kinds.insert(at.0, *kind);
        peers.push(at);
    }
    peers.push(honest.address().await);
    let buyer = Node::at("").await;
    let (mut bytes, mut received) = (0, 0);
    for seed in 0..100_u8 {
        let file = data(SIZE, seed);
        let want = honest.add(&file);
        let fetch = buyer.net.fetch(vec![want.clone()], None, peers.clone());
        if seed % 10 == 0 {
            let mut reader = fetch.read(want.hash, 0..want.size).unwrap();
            let mut at = 0;
            while let Some(piece) = reader.next().await.unwrap() {
                assert!(piece == file[at..at + piece.len()], "a client was given a bad byte");
                at += piece.len();
            }
            assert_eq!(at, SIZE);
        }
        let fetched = fetch.done().await.unwrap();
        (bytes, received) = (bytes + fetched.bytes, received + fetched.received);
        assert_eq!(buyer.store.verify(want.hash).unwrap(), want.size);
    }
    assert_eq!(bytes, 100 * SIZE as u64);
    assert!(received < bytes + bytes / 5, "{received} bytes came for {bytes}");
    let status = buyer.net.status().await.unwrap();
    let banned: Vec<Kind> = status.banned.iter().filter_map(|(peer, _)| kinds.get(peer).copied()).collect();
    assert_eq!(banned.len(), status.banned.len(), "the honest one is banned");
    for (peer, kind) in &kinds {
        let lies = matches!(
            kind,
            Kind::FlipsABit
                | Kind::SendsZeros
                | Kind::SendsOtherGroups
                | Kind::PromisesMore
                | Kind::SpeaksGarbage
                | Kind::SendsAnEndlessMessage
                | Kind::LiesAboutWhatItHas
        );
        assert!(!lies || status.banned.iter().any(|(banned, _)| banned == peer), "{kind:?} is not banned: {banned:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn liars_alone_give_nothing_and_the_store_stays_clean() {
    let owner = Node::at("").await;
    let want = owner.add(&data(2 << 20, 2));
    let blob = owner.store.get(want.hash).unwrap();
    for kind in [Kind::FlipsABit, Kind::SendsZeros, Kind::SpeaksGarbage, Kind::SendsAnEndlessMessage, Kind::Stalls] {
        let buyer = Node::at("").await;
        let begin = Instant::now();
        let at = bad(kind, blob.clone()).await;
        let error = buyer.net.fetch(vec![want.clone()], None, vec![at]).done().await.unwrap_err();
        assert!(matches!(error, Error::NoSource { .. }), "{kind:?} {error}");
        assert!(begin.elapsed() < Duration::from_secs(10), "{kind:?}");
        assert!(!buyer.store.has(want.hash));
        let partial = buyer.store.fetch(want.hash, want.size).unwrap();
        let good = partial.present(99);
        assert!(kind == Kind::FlipsABit || good.is_empty(), "{kind:?} {good:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_lies_three_times_is_banned() {
    let owner = Node::at("").await;
    let buyer = Node::at("").await;
    let first = owner.add(&data(100_000, 1));
    let liar = bad(Kind::FlipsABit, owner.store.get(first.hash).unwrap()).await;
    for seed in 2..5 {
        // The liar's blob answers for any hash.
        let want = crate::Want { hash: owner.add(&data(100_000, seed)).hash, ..first.clone() };
        let refused = buyer.net.fetch(vec![want], None, vec![liar.clone()]).done().await;
        assert!(matches!(refused, Err(Error::NoSource { .. })));
    }
    let status = buyer.net.status().await.unwrap();
    assert_eq!(status.banned.iter().map(|(peer, _)| *peer).collect::<Vec<_>>(), [liar.0]);
    let error = buyer.net.connect(liar.0, liar.1).await.unwrap_err().to_string();
    assert!(error.contains("banned"), "{error}");
    // What is no release is no release.
    let error = buyer.net.release(fondaco_schemas::ReleaseId::new([3; 32]), &[]).await.unwrap_err();
    assert!(matches!(error, Error::NoSource { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_streams_and_of_requests_is_refused_and_others_are_served() {
    let limits = Limits { streams_per_peer: 4, ..Limits::default() };
    let node = Node::new(Config { limits, ..config(TCP) }).await;
    let want = node.add(&data(3 << 20, 1));
    let at = node.address().await;
    let flooder = Node::at("").await;
    flooder.net.connect(at.0, at.1.clone()).await.unwrap();
    let (mut streams, mut busy) = (Vec::new(), 0);
    for _ in 0..20 {
        let mut stream = flooder.net.open(at.0).await.unwrap();
        wire::send(&mut stream, &Request::Groups(want.hash, vec![Run(0, 1)])).await.unwrap();
        match wire::receive::<Answer>(&mut stream).await.unwrap() {
            Some(Answer::Busy(ms)) => {
                assert!(ms > 0);
                busy += 1;
            }
            answer => {
                assert!(matches!(answer, Some(Answer::Bytes(_))), "{answer:?}");
                streams.push(stream);
            }
        }
    }
    assert_eq!((streams.len(), busy), (4, 16));
    // Too much at once, too many runs, and nonsense each end their stream, and none of them the node.
    for request in [
        Request::Groups(want.hash, vec![Run(0, u64::MAX)]),
        Request::Groups(want.hash, vec![Run(u64::MAX, u64::MAX)]),
        Request::Groups(want.hash, vec![Run(5, 1), Run(0, 1)]),
        Request::Groups(want.hash, Vec::new()),
    ] {
        let mut stream = streams.pop().unwrap();
        let mut first = vec![0; 17_000];
        stream.read_exact(&mut first[..(16 << 10) + 64 * 8]).await.unwrap();
        wire::send(&mut stream, &request).await.unwrap();
        let answer = wire::receive::<Answer>(&mut stream).await;
        assert!(!matches!(answer, Ok(Some(Answer::Bytes(_)))), "{request:?}: {answer:?}");
    }
    let other = Node::at("").await;
    let fetched = other.net.fetch(vec![want.clone()], None, vec![at]).done().await.unwrap();
    assert_eq!(fetched.bytes, want.size);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_read_holds_a_slot_no_longer_than_its_time() {
    let limits = Limits { uploads: 1, ..Limits::default() };
    let node = Arc::new(Node::new(Config { limits, ..config(TCP) }).await);
    let want = node.add(&data(16 << 20, 1));
    let at = node.address().await;
    let lazy = Node::at("").await;
    lazy.net.connect(at.0, at.1.clone()).await.unwrap();
    let mut stream = lazy.net.open(at.0).await.unwrap();
    // It asks for more than the window of a stream, and reads nothing.
    for first in [0, 256, 512, 768] {
        wire::send(&mut stream, &Request::Groups(want.hash, vec![Run(first, 256)])).await.unwrap();
    }
    let other = Node::new(Config { slow_time: Duration::from_mins(1), ..config("") }).await;
    let begin = Instant::now();
    let fetched = other.net.fetch(vec![want.clone()], None, vec![at]).done().await.unwrap();
    assert_eq!(fetched.bytes, want.size);
    assert!(begin.elapsed() < Duration::from_secs(40), "{:?}", begin.elapsed());
    drop(stream);
}

/// Resident memory of this process in MiB. Each test has a process of its own.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let kib = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
    kib.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_do_not_end_their_handshake_are_cut_and_cost_nothing() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let node = Node::at(TCP).await;
    let want = node.add(&data(3 << 20, 1));
    let at = node.address().await;
    let port = at.1[0].to_string().rsplit('/').next().unwrap().parse::<u16>().unwrap();
    let before = resident_mib();
    let mut open = Vec::new();
    for number in 0..200 {
        let mut socket = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        // A third says nothing, a third stops before TLS, a third within it: a record of 16 KiB, of which one comes.
        let said: &[&[u8]] = match number % 3 {
            0 => &[],
            1 => &[b"\x13/multistream/1.0.0\n"],
            _ => &[b"\x13/multistream/1.0.0\n", b"\x0b/tls/1.0.0\n", b"\x16\x03\x01\x40\x00", &[1; 1024]],
        };
        for bytes in said {
            // The node may have had enough of them already.
            let _ = socket.write_all(bytes).await;
        }
        open.push(socket);
    }
    // What was reserved for them is a few KiB for each of the 64 that were let in.
    assert!(resident_mib() < before + 16, "{before} MiB, then {}", resident_mib());
    let begin = Instant::now();
    for mut socket in open {
        let ended = async { while socket.read(&mut [0; 4096]).await.is_ok_and(|n| n > 0) {} };
        tokio::time::timeout(Duration::from_secs(20), ended).await.expect("a stalled handshake goes on for ever");
    }
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
    let other = Node::at("").await;
    assert_eq!(other.net.fetch(vec![want.clone()], None, vec![at]).done().await.unwrap().bytes, want.size);
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_that_nobody_reads_do_not_fill_the_memory() {
    let node = Node::at(TCP).await;
    let want = node.add(&data(24 << 20, 1));
    let at = node.address().await;
    let (before, mut held) = (resident_mib(), Vec::new());
    for _ in 0..4 {
        let lazy = Node::at("").await;
        lazy.net.connect(at.0, at.1.clone()).await.unwrap();
        for _ in 0..4 {
            let mut stream = lazy.net.open(at.0).await.unwrap();
            for first in [0, 256, 512, 768, 1024, 1280] {
                wire::send(&mut stream, &Request::Groups(want.hash, vec![Run(first, 256)])).await.unwrap();
            }
            held.push(stream);
        }
        held.extend(lazy.net.open(at.0).await);
        std::mem::forget(lazy);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    // 384 MiB are asked for. Sixteen answers at once have a buffer of 1 MiB each, and as much again lies in windows.
    let grown = resident_mib().saturating_sub(before);
    assert!(grown < 96, "{grown} MiB for sixteen streams that nobody reads");
}

#[tokio::test(flavor = "multi_thread")]
async fn above_its_memory_a_node_takes_no_new_connection() {
    // No process is that small.
    let limits = Limits { memory_bytes: 1 << 20, ..Limits::default() };
    let full = Node::new(Config { limits, ..config(TCP) }).await;
    let (peer, addresses) = full.address().await;
    let other = Node::at("").await;
    let error = other.net.connect(peer, addresses).await.unwrap_err();
    assert!(matches!(error, Error::Dial { .. }), "{error}");
    assert!(full.net.status().await.unwrap().peers.is_empty());
}

/// Nodes that do nothing but dial, each so often with the same key. Answers their ids, and counts connections that ended.
fn dialling(to: &(PeerId, Vec<Multiaddr>), keys: usize, dials: usize) -> (Vec<PeerId>, Arc<AtomicUsize>) {
    use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
    let (mut ids, ended) = (Vec::new(), Arc::new(AtomicUsize::new(0)));
    for _ in 0..keys {
        let mut swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(tcp::Config::default().nodelay(true), tls::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(|_| libp2p::swarm::dummy::Behaviour)
            .unwrap()
            .with_swarm_config(|swarm| swarm.with_idle_connection_timeout(Duration::from_mins(1)))
            .build();
        ids.push(*swarm.local_peer_id());
        for _ in 0..dials {
            let dial = DialOpts::peer_id(to.0).condition(PeerCondition::Always).addresses(to.1.clone()).build();
            swarm.dial(dial).unwrap();
        }
        let ended = Arc::clone(&ended);
        tokio::spawn(async move {
            loop {
                let event = swarm.select_next_some().await;
                if matches!(event, SwarmEvent::ConnectionClosed { .. } | SwarmEvent::OutgoingConnectionError { .. }) {
                    ended.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    (ids, ended)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_has_five_connections_and_all_together_have_so_many() {
    let node = Node::at(TCP).await;
    let (ids, ended) = dialling(&node.address().await, 1, 12);
    until("seven of twelve are cut", async || ended.load(Ordering::Relaxed) >= 7).await;
    let peers = node.net.status().await.unwrap().peers;
    assert_eq!(peers.iter().filter(|peer| peer.id == ids[0]).count(), 5);

    let limits = Limits { connections: 8, ..Limits::default() };
    let node = Node::new(Config { limits, ..config(TCP) }).await;
    let (_, ended) = dialling(&node.address().await, 12, 1);
    // One of eight is for those that this node dials.
    until("five of twelve are cut", async || ended.load(Ordering::Relaxed) >= 5).await;
    assert_eq!(node.net.status().await.unwrap().peers.len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_handshakes_are_under_way_and_no_more() {
    use tokio::io::AsyncReadExt as _;
    let node = Node::at(TCP).await;
    let port = node.address().await.1[0].to_string().rsplit('/').next().unwrap().parse::<u16>().unwrap();
    let ended = Arc::new(AtomicUsize::new(0));
    let begin = Instant::now();
    for _ in 0..100 {
        let mut socket = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let ended = Arc::clone(&ended);
        tokio::spawn(async move {
            while socket.read(&mut [0; 64]).await.is_ok_and(|n| n > 0) {}
            ended.fetch_add(1, Ordering::Relaxed);
        });
    }
    // Those that were let in have ten seconds to say something.
    while ended.load(Ordering::Relaxed) < 36 {
        assert!(begin.elapsed() < Duration::from_secs(7), "{} of 100 were refused", ended.load(Ordering::Relaxed));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_even_promise_is_given_up_in_its_time() {
    let owner = Node::at("").await;
    let want = owner.add(&data(2 << 20, 2));
    let mute = bad(Kind::SaysNothing, owner.store.get(want.hash).unwrap()).await;
    let buyer = Node::at("").await;
    let fetch = buyer.net.fetch(vec![want], None, vec![mute]);
    let done = tokio::time::timeout(Duration::from_secs(10), fetch.done()).await.expect("it is waited for without end");
    assert!(matches!(done, Err(Error::NoSource { .. })), "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_groups_are_given_at_once_and_no_more() {
    let node = Node::at(TCP).await;
    let want = node.add(&data(5 << 20, 1));
    let (peer, addresses) = node.address().await;
    let asker = Node::at("").await;
    asker.net.connect(peer, addresses).await.unwrap();
    for (groups, is_given) in [(256, true), (257, false)] {
        let mut stream = asker.net.open(peer).await.unwrap();
        wire::send(&mut stream, &Request::Groups(want.hash, vec![Run(0, groups)])).await.unwrap();
        let answer = wire::receive::<Answer>(&mut stream).await;
        assert_eq!(matches!(answer, Ok(Some(Answer::Bytes(_)))), is_given, "{groups}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_the_one_that_was_asked_for_and_signed_or_none() {
    let giver = Node::at(TCP).await;
    let ((one, _), (two, _)) = (giver.publish(&[b"one"]), giver.publish(&[b"two"]));
    let at = vec![giver.address().await];
    let buyer = Node::at("").await;
    // Under its own id, and the signature is not the publisher's.
    let another = giver.given.releases.lock().unwrap()[&two].clone();
    let mut forged = another.clone();
    *forged.last_mut().unwrap() ^= 1;
    let id = fondaco_trust::release::release_id(&forged);
    giver.given.releases.lock().unwrap().insert(id, forged);
    let error = buyer.net.release(id, &at).await.unwrap_err().to_string();
    assert!(error.contains("is refused"), "{error}");
    // Signed, and another. Whoever gives that again and again is banned.
    giver.given.releases.lock().unwrap().insert(one, another);
    let error = buyer.net.release(one, &at).await.unwrap_err().to_string();
    assert!(error.contains("it sent another release"), "{error}");
    for _ in 0..2 {
        assert!(buyer.net.release(one, &at).await.is_err());
    }
    until("it is banned", async || buyer.net.status().await.unwrap().banned.len() == 1).await;
    // No room is made for what a peer only promises.
    let owner = Node::at("").await;
    let blob = owner.store.get(owner.add(&data(10, 1)).hash).unwrap();
    let boaster = vec![bad(Kind::PromisesMore, blob).await];
    let error = buyer.net.release(two, &boaster).await.unwrap_err().to_string();
    assert!(error.contains("more than a release can have"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_has_so_many_sources_however_many_are_named() {
    let want = Node::at("").await.add(&data(100, 1));
    let buyer = Node::at("").await;
    let named = (0..300).map(|_| (PeerId::random(), Vec::new())).collect();
    let fetch = buyer.net.fetch(vec![want], None, named);
    // All were taken in before the first is tried.
    until("some are tried", async || fetch.sources().iter().any(|s| s.state != SourceState::Waiting)).await;
    assert_eq!(fetch.sources().len(), 256);
}
