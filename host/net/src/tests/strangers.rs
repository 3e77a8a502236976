//! Nodes of other makes, each with one protocol and no manners: what the libraries' own bounds are set to is seen here by
//! what a stranger can do against it.

use std::task::Poll;
use std::time::Duration;

use fondaco_schemas::{BlobHash, ChannelHead, PublicKey};
use fondaco_trust::KeyPair;
use fondaco_trust::channel::sign_head;
use futures_util::{AsyncReadExt, AsyncWriteExt, Stream, StreamExt, future};
use libp2p::core::Endpoint;
use libp2p::core::muxing::StreamMuxerExt as _;
use libp2p::core::transport::{DialOpts, PortUse};
use libp2p::gossipsub::{self, IdentTopic, MessageAuthenticity, PublishError, ValidationMode};
use libp2p::identity::Keypair;
use libp2p::kad::store::MemoryStore;
use libp2p::kad::{self, QueryId, QueryResult, Quorum, Record, RecordKey};
use libp2p::swarm::{NetworkBehaviour, Swarm, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Transport as _, identify};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::finding::until;
use super::{Node, TCP, config};
use crate::gossip::MAX_CHANNELS;
use crate::{Config, KAD, Limits, Transport};

fn memory(port: u64) -> Multiaddr {
    format!("/memory/{port}").parse().unwrap()
}

/// One of ours, in memory.
async fn ours(port: u64) -> Node {
    Node::new(Config { listen: vec![memory(port)], transport: Transport::Memory, ..config("") }).await
}

/// A stranger in memory, with one behaviour.
fn stranger<B: NetworkBehaviour>(key: &Keypair, behaviour: B) -> Swarm<B> {
    let me = key.public().to_peer_id();
    let (transport, client) = crate::memory::transport(me);
    // The transport wants it to be there, and nothing of it.
    std::mem::forget(client);
    let config = libp2p::swarm::Config::with_tokio_executor().with_idle_connection_timeout(Duration::from_mins(1));
    Swarm::new(transport, behaviour, me, config)
}

/// It goes on until the test ends.
fn lives(mut swarm: impl Stream<Item: Send> + Send + Unpin + 'static) {
    tokio::spawn(async move { while swarm.next().await.is_some() {} });
}

/// A figure of a node's `/metrics`.
async fn figure(node: &Node, name: &str) -> u64 {
    let text = node.net.metrics().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("fondaco_swarm_{name} ")));
    line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
}

type Table = kad::Behaviour<MemoryStore>;

/// Speaks with the hash table, and sends as much as it likes.
fn table(key: &Keypair) -> Swarm<Table> {
    let me = key.public().to_peer_id();
    let mut config = kad::Config::new(KAD);
    config.set_max_packet_size(1 << 20).set_periodic_bootstrap_interval(None);
    stranger(key, kad::Behaviour::with_config(me, MemoryStore::new(me), config))
}

/// Waits for a query's end.
async fn ended(swarm: &mut Swarm<Table>, query: QueryId) -> QueryResult {
    let end = async {
        loop {
            if let SwarmEvent::Behaviour(kad::Event::OutboundQueryProgressed { id, result, step, .. }) =
                swarm.select_next_some().await
                && id == query
                && step.last
            {
                return result;
            }
        }
    };
    timeout(Duration::from_secs(20), end).await.expect("the query has no end")
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_says_of_no_place_where_it_is_provides_nothing() {
    let node = ours(74_001).await;
    let mut swarm = table(&Keypair::generate_ed25519());
    swarm.behaviour_mut().add_address(&node.net.peer_id(), memory(74_001));
    for (key, place) in [([1_u8; 32], None), ([2_u8; 32], Some(memory(74_002)))] {
        if let Some(place) = place {
            swarm.add_external_address(place);
        }
        let query = swarm.behaviour_mut().start_providing(RecordKey::new(&key)).unwrap();
        assert!(matches!(ended(&mut swarm, query).await, QueryResult::StartProviding(Ok(_))));
    }
    lives(swarm);
    let kept = async || figure(&node, "provider_records{whose=\"theirs\"}").await;
    until("the one with a place is kept", async || kept().await > 0).await;
    sleep(Duration::from_millis(500)).await;
    assert_eq!(kept().await, 1, "the one without a place is kept too");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_the_hash_table_has_an_end() {
    let node = ours(74_011).await;
    let mut swarm = table(&Keypair::generate_ed25519());
    swarm.behaviour_mut().add_address(&node.net.peer_id(), memory(74_011));
    for (bytes, is_read) in [(12_000, true), (20_000, false)] {
        let record = Record::new(vec![1_u8; 32], vec![0; bytes]);
        let to = std::iter::once(node.net.peer_id());
        let query = swarm.behaviour_mut().put_record_to(record, to, Quorum::One);
        let QueryResult::PutRecord(put) = ended(&mut swarm, query).await else { panic!("another query") };
        assert_eq!(put.is_ok(), is_read, "{bytes}: {put:?}");
    }
}

/// Speaks of channels, in messages of any length.
fn talker(authenticity: MessageAuthenticity, mode: ValidationMode) -> gossipsub::Behaviour {
    let mut config = gossipsub::ConfigBuilder::default();
    config.protocol_id_prefix("/fondaco/gossip").max_transmit_size(1 << 20).validation_mode(mode);
    gossipsub::Behaviour::new(authenticity, config.build().unwrap()).unwrap()
}

/// Comes to a node, and says this in a channel that the node listens to.
async fn say(node: &Node, at: Multiaddr, key: &Keypair, talker: gossipsub::Behaviour, of: PublicKey, data: Vec<u8>) {
    let mut swarm = stranger(key, talker);
    swarm.dial(at.with_p2p(node.net.peer_id()).unwrap()).unwrap();
    let said = async {
        loop {
            match swarm.behaviour_mut().publish(IdentTopic::new(format!("fondaco/channel/{of}")), data.clone()) {
                Ok(_) => return,
                // It is not known yet that the node listens.
                Err(PublishError::NoPeersSubscribedToTopic) => {}
                Err(error) => panic!("{error}"),
            }
            let _ = timeout(Duration::from_millis(50), swarm.select_next_some()).await;
        }
    };
    timeout(Duration::from_secs(10), said).await.expect("the node listens to nobody");
    lives(swarm);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announcement_that_nobody_stands_for_is_not_heard() {
    let node = ours(74_031).await;
    let publisher = KeyPair::generate().unwrap();
    let channel = publisher.public();
    node.net.channels(vec![(channel, 0)]).await.unwrap();
    let mut heard = node.net.heard().await.unwrap();
    let head = |sequence| {
        let head =
            ChannelHead { publisher: channel, sequence, time: crate::book::now(), newest: BlobHash::new([1; 32]) };
        sign_head(&publisher, &head).unwrap()
    };
    let (nobody, somebody) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
    // Both pass on what the publisher signed; the first does not say who sends it.
    let anonymous = talker(MessageAuthenticity::Anonymous, ValidationMode::Anonymous);
    say(&node, memory(74_031), &nobody, anonymous, channel, head(1)).await;
    assert!(timeout(Duration::from_secs(1), heard.recv()).await.is_err(), "it is heard");
    let signed = talker(MessageAuthenticity::Signed(somebody.clone()), ValidationMode::Strict);
    say(&node, memory(74_031), &somebody, signed, channel, head(2)).await;
    let heard = timeout(Duration::from_secs(5), heard.recv()).await.unwrap().unwrap();
    assert_eq!((heard.head.sequence, heard.from), (2, somebody.public().to_peer_id()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_gossip_has_an_end() {
    let node = ours(74_041).await;
    let channel = KeyPair::generate().unwrap().public();
    node.net.channels(vec![(channel, 0)]).await.unwrap();
    let forged = async || figure(&node, "offences_total{kind=\"forgery\"}").await;
    for bytes in [15_000, 20_000] {
        let key = Keypair::generate_ed25519();
        let signed = talker(MessageAuthenticity::Signed(key.clone()), ValidationMode::Strict);
        say(&node, memory(74_041), &key, signed, channel, vec![0; bytes]).await;
        if bytes == 15_000 {
            until("what fits is looked at", async || forged().await == 1).await;
        }
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(forged().await, 1, "what is longer is not even looked at");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_listens_to_so_many_channels_and_no_more() {
    let (key, other) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
    let mut node = stranger(&key, crate::gossip::behaviour(&key).unwrap());
    let signed = talker(MessageAuthenticity::Signed(other.clone()), ValidationMode::Strict);
    let mut flooder = stranger(&other, signed);
    node.listen_on(memory(74_051)).unwrap();
    flooder.dial(memory(74_051)).unwrap();
    let begin = Instant::now();
    while node.behaviour().all_peers().count() + flooder.behaviour().all_peers().count() < 2 {
        assert!(begin.elapsed() < Duration::from_secs(10), "they do not meet");
        tokio::select! {
            _ = node.select_next_some() => {}
            _ = flooder.select_next_some() => {}
            () = sleep(Duration::from_millis(20)) => {}
        }
    }
    // One after the other, for all of them do not fit into one message.
    for n in 0..300_u64 {
        let channel = PublicKey::new(*blake3::hash(&n.to_le_bytes()).as_bytes());
        flooder.behaviour_mut().subscribe(&IdentTopic::new(format!("fondaco/channel/{channel}"))).unwrap();
    }
    let mut listens = 0;
    let end = Instant::now() + Duration::from_secs(3);
    while listens < 300 && Instant::now() < end {
        tokio::select! {
            _ = node.select_next_some() => {}
            _ = flooder.select_next_some() => {}
            () = sleep(Duration::from_millis(20)) => {}
        }
        listens = node.behaviour().all_peers().map(|(_, topics)| topics.len()).max().unwrap_or(0);
    }
    assert_eq!(listens, 2 * MAX_CHANNELS);
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_streams_are_being_negotiated_and_no_more() {
    let _node = ours(74_061).await;
    let (mut transport, _client) = crate::memory::transport(Keypair::generate_ed25519().public().to_peer_id());
    let opts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::Reuse };
    let (_, mut muxer) = transport.dial(memory(74_061), opts).unwrap().await.unwrap();
    let mut streams = Vec::new();
    for _ in 0..60 {
        let mut stream = future::poll_fn(|cx| muxer.poll_outbound_unpin(cx)).await.unwrap();
        // It begins to negotiate, and says no more.
        stream.write_all(b"\x13/multistream/1.0.0\n").await.unwrap();
        stream.flush().await.unwrap();
        streams.push(stream);
    }
    let driving = tokio::spawn(async move {
        future::poll_fn(|cx| -> Poll<()> {
            // What the node opens is closed again.
            while let Poll::Ready(theirs) = muxer.poll_inbound_unpin(cx) {
                if theirs.is_err() {
                    return Poll::Ready(());
                }
            }
            muxer.poll_unpin(cx).map(|_| ())
        })
        .await;
    });
    let end = Instant::now() + Duration::from_secs(3);
    let mut answered = 0;
    for stream in &mut streams {
        let mut line = [0; 20];
        answered += usize::from(matches!(timeout_at(end, stream.read_exact(&mut line)).await, Ok(Ok(()))));
    }
    assert_eq!(answered, 32);
    driving.abort();
}

/// Says who it is, and where.
fn introduces(key: &Keypair) -> Swarm<identify::Behaviour> {
    stranger(key, identify::Behaviour::new(identify::Config::new("/fondaco/1".into(), key.public())))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_not_told_where_a_node_listens_but_where_it_is_reached() {
    let node = ours(74_071).await;
    let mut swarm = introduces(&Keypair::generate_ed25519());
    swarm.dial(memory(74_071).with_p2p(node.net.peer_id()).unwrap()).unwrap();
    let told = async {
        loop {
            if let SwarmEvent::Behaviour(identify::Event::Received { info, .. }) = swarm.select_next_some().await {
                return info.listen_addrs;
            }
        }
    };
    let told = timeout(Duration::from_secs(10), told).await.expect("it says nothing of itself");
    assert!(told.is_empty(), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_peer_said_it_is_is_not_dialled_once_it_has_left() {
    let node = ours(74_081).await;
    let key = Keypair::generate_ed25519();
    let me = key.public().to_peer_id();
    let mut swarm = introduces(&key);
    swarm.listen_on(memory(74_082)).unwrap();
    swarm.dial(memory(74_081).with_p2p(node.net.peer_id()).unwrap()).unwrap();
    let (leave, mut leaving) = tokio::sync::oneshot::channel::<()>();
    let to = node.net.peer_id();
    tokio::spawn(async move {
        let mut here = true;
        loop {
            tokio::select! {
                _ = &mut leaving, if here => {
                    here = false;
                    let _ = swarm.disconnect_peer_id(to);
                }
                _ = swarm.select_next_some() => {}
            }
        }
    });
    let peers = async || node.net.status().await.unwrap().peers;
    until("it has said who it is", async || peers().await.iter().any(|peer| peer.agent.is_some())).await;
    leave.send(()).unwrap();
    until("it has left", async || peers().await.is_empty()).await;
    let error = node.net.connect(me, Vec::new()).await.unwrap_err().to_string();
    assert!(error.contains("no address of it is known"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_are_connected_because_this_node_dialled_them() {
    let limits = Limits { connections: 8, ..Limits::default() };
    let node = Node::new(Config { limits, ..config("") }).await;
    let (mut others, mut connected) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        let other = Node::at(TCP).await;
        let (peer, at) = other.address().await;
        connected.push(node.net.connect(peer, at).await.is_ok());
        others.push(other);
    }
    assert_eq!(connected, [true, true, true, false]);
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_dials_are_under_way_and_no_more() {
    let node = Node::at("").await;
    // The system takes the connections; nobody answers them.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at: Multiaddr = format!("/ip4/127.0.0.1/tcp/{}", mute.local_addr().unwrap().port()).parse().unwrap();
    let mut dialling = JoinSet::new();
    for _ in 0..40 {
        let (net, at) = (node.net.clone(), at.clone());
        dialling.spawn(async move { timeout(Duration::from_secs(3), net.connect(PeerId::random(), vec![at])).await });
    }
    let mut refused = 0;
    for ended in dialling.join_all().await.into_iter().flatten() {
        let error = ended.unwrap_err().to_string();
        assert!(error.contains("limit"), "{error}");
        refused += 1;
    }
    assert_eq!(refused, 8);
}
