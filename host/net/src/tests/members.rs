//! A private network with an authority: members, and those who are none, whatever they show.

use std::collections::BTreeSet;
use std::time::Duration;

use fondaco_schemas::{BlobHash, ChannelHead, PublicKey};
use fondaco_trust::KeyPair;
use fondaco_trust::membership::sign_membership;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use tokio::time::timeout;

use super::finding::until;
use super::reached::{free, relay};
use super::{Node, QUIC, TCP, config, data, wants};
use crate::{Answered, Config, Membership, Question, book};

/// A network, and its key.
struct Club(KeyPair);

impl Club {
    fn new() -> Self {
        Self(KeyPair::generate().unwrap())
    }

    /// A token that holds for so many seconds still.
    fn token(&self, member: &KeyPair, seconds: i64) -> Vec<u8> {
        let until = book::now().saturating_add_signed(seconds);
        sign_membership(&self.0, member.public(), until, None).unwrap()
    }

    /// A node of this network that shows whatever it is given to show.
    async fn node(&self, key: &KeyPair, token: Vec<u8>, config: Config) -> Node {
        let membership = Some(Membership::unchecked(self.0.public(), token));
        Node::with_key(Config { membership, ..config }, key).await
    }

    async fn member(&self, config: Config) -> Node {
        let key = KeyPair::generate().unwrap();
        self.node(&key, self.token(&key, 1000), config).await
    }
}

/// Makes what a node with a key shows.
type Shows<'a> = &'a dyn Fn(&KeyPair) -> Vec<u8>;

async fn ids(node: &Node) -> Vec<PeerId> {
    node.net.status().await.unwrap().peers.iter().map(|peer| peer.id).collect()
}

/// Tries everything that there is to be had of a node.
async fn gets_nothing(stranger: &Node, member: &Node, at: Vec<Multiaddr>) {
    let (release, content) = member.publish(&[&data(40_000, 7)]);
    member.net.announce(vec![release]).await.unwrap();
    let peers = || vec![(member.net.peer_id(), at.clone())];
    let wait = Duration::from_secs(3);
    // A stranger who asks for no membership takes its side of the connection for one, until it is closed.
    let _ = stranger.net.connect(member.net.peer_id(), at.clone()).await;
    let asked = stranger.net.ask(member.net.peer_id(), at.clone(), &Question::Time, 100);
    assert!(!matches!(timeout(wait, asked).await, Ok(Ok(_))), "an answer");
    assert!(!matches!(timeout(wait, stranger.net.release(release, &peers())).await, Ok(Ok(_))), "a release");
    let fetch = stranger.net.fetch(wants(&content), None, peers());
    assert!(!matches!(timeout(wait, fetch.done()).await, Ok(Ok(_))) && fetch.bytes() == 0, "bytes");
    assert!(stranger.net.providers(release, Duration::from_secs(1)).await.is_empty(), "of the hash table");
    until("it is not connected", async || ids(stranger).await.iter().all(|id| *id != member.net.peer_id())).await;
    assert!(!ids(member).await.contains(&stranger.net.peer_id()));
}

#[tokio::test(flavor = "multi_thread")]
async fn members_give_each_other_what_they_have_and_a_stranger_gets_nothing() {
    for listen in [TCP, QUIC] {
        let club = Club::new();
        let (publisher, buyer) = (club.member(config(listen)).await, club.member(config(listen)).await);
        let (release, content) = publisher.publish(&[&data(3 << 20, 1)]);
        publisher.net.announce(vec![release]).await.unwrap();
        let (id, at) = publisher.address().await;
        let fetched = buyer.net.fetch(wants(&content), None, vec![(id, at.clone())]).done().await.unwrap();
        assert_eq!(fetched.bytes, 3 << 20, "{listen}");
        let answer = buyer.net.ask(id, at.clone(), &Question::Time, 100).await.unwrap();
        assert!(matches!(answer, Answered::Time(_)), "{answer:?}");
        until("they know each other", async || publisher.net.status().await.unwrap().routing == 1).await;
        until("it is found", async || !buyer.net.providers(release, Duration::from_secs(1)).await.is_empty()).await;

        let stranger = Node::at(listen).await;
        gets_nothing(&stranger, &publisher, at).await;
        // Nor is a stranger taken for one who is dialled.
        let (id, at) = stranger.address().await;
        let refused = buyer.net.connect(id, at).await.unwrap_err().to_string();
        assert!(refused.contains("it is no member of this private network: there is no token"), "{refused}");
        assert_eq!(ids(&buyer).await, [publisher.net.peer_id()], "{listen}");
        assert_eq!(publisher.net.status().await.unwrap().routing, 1, "a stranger is in no bucket");
        assert!(!buyer.net.status().await.unwrap().peers.is_empty(), "members stay");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ended_is_another_nodes_or_of_another_network_is_worth_nothing() {
    for listen in [TCP, QUIC] {
        let (club, other) = (Club::new(), Club::new());
        let (dialled, dialler) = (club.member(config(listen)).await, club.member(config(listen)).await);
        let someone = KeyPair::generate().unwrap();
        let shows: [(Shows<'_>, &str); 5] = [
            (&|key| club.token(key, -2), "the token's time is over"),
            (&|_| club.token(&someone, 1000), "the token is another node's"),
            (&|key| other.token(key, 1000), "the token is of another network"),
            (
                &|key| {
                    let mut token = club.token(key, 1000);
                    *token.last_mut().unwrap() ^= 1;
                    token
                },
                "the token is none, or was altered",
            ),
            (&|_| Vec::new(), "the token is none, or was altered"),
        ];
        for (shows, why) in shows {
            let key = KeyPair::generate().unwrap();
            let stranger = club.node(&key, shows(&key), config(listen)).await;
            let (id, at) = dialled.address().await;
            let refused = stranger.net.connect(id, at.clone()).await.unwrap_err().to_string();
            assert!(refused.contains("does not take this node for a member") && refused.contains(why), "{refused}");
            gets_nothing(&stranger, &dialled, at).await;
            let (id, at) = stranger.address().await;
            let refused = dialler.net.connect(id, at.clone()).await.unwrap_err().to_string();
            assert!(refused.contains("it is no member of this private network") && refused.contains(why), "{refused}");
            // It is not dialled again for a while.
            let refused = dialler.net.connect(id, at).await.unwrap_err().to_string();
            assert!(refused.contains("less than a minute ago") && refused.contains(why), "{refused}");
            assert!(ids(&dialler).await.is_empty() && ids(&dialled).await.is_empty(), "{why}");
        }
    }
}

fn head(key: &KeyPair, sequence: u64) -> Vec<u8> {
    let publisher: PublicKey = key.public();
    let head = ChannelHead { publisher, sequence, time: book::now(), newest: BlobHash::new([1; 32]) };
    fondaco_trust::channel::sign_head(key, &head).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn announcements_go_among_members_and_neither_to_a_stranger_nor_from_one() {
    let (club, key) = (Club::new(), KeyPair::generate().unwrap());
    let channel = key.public();
    let (publisher, follower, stranger) =
        (club.member(config(TCP)).await, club.member(config("")).await, Node::at("").await);
    for node in [&publisher, &follower, &stranger] {
        node.net.channels(vec![(channel, 0)]).await.unwrap();
    }
    let (mut at_publisher, mut at_follower, mut at_stranger) = (
        publisher.net.heard().await.unwrap(),
        follower.net.heard().await.unwrap(),
        stranger.net.heard().await.unwrap(),
    );
    let (id, at) = publisher.address().await;
    follower.net.connect(id, at.clone()).await.unwrap();
    // Meshes are made with the heartbeat, once a second; a stranger that tries again and again is there at some of them.
    for _ in 0..10 {
        let _ = stranger.net.connect(id, at.clone()).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    publisher.net.tell_channel(channel, 1, head(&key, 1)).await.unwrap();
    let heard = timeout(Duration::from_secs(10), at_follower.recv()).await.unwrap().unwrap();
    assert_eq!((heard.head.sequence, heard.from), (1, id));
    // One that is right, which anybody would pass on.
    let _ = stranger.net.connect(id, at).await;
    stranger.net.tell_channel(channel, 2, head(&key, 2)).await.unwrap();
    assert!(timeout(Duration::from_secs(3), at_publisher.recv()).await.is_err(), "heard from a stranger");
    assert!(at_stranger.try_recv().is_err(), "told to a stranger");
    assert_eq!(ids(&publisher).await, [follower.net.peer_id()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_membership_that_ends_ends_its_connections() {
    let club = Club::new();
    let lasting = club.member(config(TCP)).await;
    let key = KeyPair::generate().unwrap();
    let short = club.node(&key, club.token(&key, 4), config("")).await;
    let (id, at) = lasting.address().await;
    short.net.connect(id, at.clone()).await.unwrap();
    short.net.ask(id, at.clone(), &Question::Time, 100).await.unwrap();
    assert_eq!(ids(&lasting).await, [short.net.peer_id()]);
    until("it is closed", async || ids(&lasting).await.is_empty() && ids(&short).await.is_empty()).await;
    let refused = short.net.connect(id, at).await.unwrap_err().to_string();
    assert!(refused.contains("the token's time is over"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_on_the_allow_list_needs_no_token() {
    let club = Club::new();
    let (old, keeper) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let (listed, other) = (Node::with_key(config(TCP), &old).await, Node::at(TCP).await);
    let branch = club.member(config(TCP)).await;
    let allow = Some(BTreeSet::from([listed.net.peer_id(), branch.net.peer_id()]));
    let hub =
        async || club.node(&keeper, club.token(&keeper, 1000), Config { allow: allow.clone(), ..config(TCP) }).await;
    let node = hub().await;
    let (id, at) = node.address().await;
    listed.net.ask(id, at.clone(), &Question::Time, 100).await.unwrap();
    // A member that is listed asks for a token where it lists nobody, and is shown one.
    branch.net.ask(id, at.clone(), &Question::Time, 100).await.unwrap();
    gets_nothing(&other, &node, at).await;
    drop(node);
    // The other way round.
    let node = hub().await;
    for peer in [&listed, &branch] {
        let (id, at) = peer.address().await;
        node.net.ask(id, at, &Question::Time, 100).await.unwrap();
    }
    let (id, at) = other.address().await;
    assert!(node.net.connect(id, at).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_no_member_leads_members_to_each_other_and_strangers_nowhere() {
    let club = Club::new();
    let (_relay, (id, at)) = relay(Config { listen: vec![free()], ..config("") }).await;
    let allow = || Some(BTreeSet::from([id]));
    let given = Config { relays: vec![(id, at.clone())], relay_after: Duration::ZERO, allow: allow(), ..config(TCP) };
    let behind = club.member(given).await;
    let want = behind.add(&data(200_000, 1));
    until("it has a place", async || behind.net.reachability().await.unwrap().places.iter().any(|p| p.kept)).await;
    let through = vec![at.with(Protocol::P2p(id)).with(Protocol::P2pCircuit)];
    let buyer = club.member(Config { allow: allow(), ..config(TCP) }).await;
    let fetch = buyer.net.fetch(vec![want.clone()], None, vec![(behind.net.peer_id(), through.clone())]);
    assert_eq!(fetch.done().await.unwrap().bytes, want.size);
    // The relay is a node of the hash table, and says who is there; but nobody there speaks with a stranger.
    let stranger = Node::at(TCP).await;
    let fetch = stranger.net.fetch(vec![want], None, vec![(behind.net.peer_id(), through.clone())]);
    assert!(!matches!(timeout(Duration::from_secs(3), fetch.done()).await, Ok(Ok(_))) && fetch.bytes() == 0, "bytes");
    let asked = stranger.net.ask(behind.net.peer_id(), through, &Question::Time, 100);
    assert!(!matches!(timeout(Duration::from_secs(3), asked).await, Ok(Ok(_))), "an answer");
    assert!(!ids(&behind).await.contains(&stranger.net.peer_id()));
}
