//! Channels between nodes: announcements that spread, indexes that are asked for, and those who forge, replay and flood.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use fondaco_schemas::channel::MAX_ENTRIES;
use fondaco_schemas::{BlobHash, ChannelEntry, ChannelHead, ChannelPage, PublicKey, ReleaseId, WorkKind};
use fondaco_trust::KeyPair;
use fondaco_trust::channel::{sign_head, sign_page};
use futures_util::AsyncWriteExt;

use super::finding::until;
use super::{Node, TCP, config, data};
use crate::ask::{Answered, Asked, MAX_ANSWER, Question};
use crate::{Config, Error, Role, answer_pages, wire};

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

fn head(key: &KeyPair, of: PublicKey, sequence: u64) -> Vec<u8> {
    let head = ChannelHead { publisher: of, sequence, time: now(), newest: BlobHash::new([1; 32]) };
    sign_head(key, &head).unwrap()
}

fn page(key: &KeyPair, since: u64, count: u64, sequence: u64) -> Vec<u8> {
    let entries = (since + 1..=since + count).map(|number| ChannelEntry {
        number,
        slug: format!("work-{number}"),
        release: ReleaseId::new([7; 32]),
        listed: true,
        kind: WorkKind::Other,
        tags: Vec::new(),
        size: 1,
    });
    let page = ChannelPage {
        publisher: key.public(),
        sequence,
        since,
        through: since + count,
        time: now(),
        entries: entries.collect(),
    };
    sign_page(key, &page).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announcement_spreads_from_follower_to_follower_and_a_forged_one_does_not() {
    let key = KeyPair::generate().unwrap();
    let channel = key.public();
    let publisher = Node::with_key(config(TCP), &key).await;
    let (first, second, mallory) = (Node::at(TCP).await, Node::at("").await, Node::at("").await);
    for node in [&publisher, &first, &second, &mallory] {
        node.net.channels(vec![(channel, 0)]).await.unwrap();
    }
    let (mut one, mut two) = (first.net.heard().await.unwrap(), second.net.heard().await.unwrap());
    let (to_publisher, to_first) = (publisher.address().await, first.address().await);
    first.net.connect(to_publisher.0, to_publisher.1).await.unwrap();
    second.net.connect(to_first.0, to_first.1.clone()).await.unwrap();
    mallory.net.connect(to_first.0, to_first.1).await.unwrap();
    // Meshes are made with the heartbeat, once a second.
    tokio::time::sleep(Duration::from_secs(5)).await;
    publisher.net.tell_channel(channel, 1, head(&key, channel, 1)).await.unwrap();
    let wait = Duration::from_secs(10);
    let heard = tokio::time::timeout(wait, one.recv()).await.unwrap().unwrap();
    assert_eq!((heard.head.sequence, heard.from), (1, publisher.net.peer_id()));
    let heard = tokio::time::timeout(wait, two.recv()).await.unwrap().unwrap();
    assert_eq!((heard.head.sequence, heard.from), (1, first.net.peer_id()), "it came through the first");
    // Forged ones, signed by another key and by none, are heard by nobody, and who passes them on is soon out.
    let liar = KeyPair::generate().unwrap();
    for sequence in 2..12 {
        mallory.net.tell_channel(channel, sequence, head(&liar, channel, sequence)).await.unwrap();
        mallory.net.tell_channel(channel, sequence, vec![u8::try_from(sequence).unwrap(); 300]).await.unwrap();
    }
    let banned = async || first.net.status().await.unwrap().banned.iter().any(|(p, _)| *p == mallory.net.peer_id());
    until("the forger is banned", banned).await;
    // An older one than what is known is passed on by nobody; the next true one is.
    publisher.net.tell_channel(channel, 1, head(&key, channel, 1)).await.unwrap();
    publisher.net.tell_channel(channel, 2, head(&key, channel, 2)).await.unwrap();
    for heard in [&mut one, &mut two] {
        let heard = tokio::time::timeout(wait, heard.recv()).await.unwrap().unwrap();
        assert_eq!(heard.head.sequence, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn old_announcements_replayed_in_a_flood_are_heard_by_nobody_and_end_in_a_ban() {
    let key = KeyPair::generate().unwrap();
    let channel = key.public();
    let (follower, mallory) = (Node::at(TCP).await, Node::at("").await);
    follower.net.channels(vec![(channel, 100_000)]).await.unwrap();
    mallory.net.channels(vec![(channel, 0)]).await.unwrap();
    let mut heard = follower.net.heard().await.unwrap();
    let at = follower.address().await;
    mallory.net.connect(at.0, at.1).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut sent = 0_u64;
    let begin = Instant::now();
    while follower.net.status().await.unwrap().banned.is_empty() {
        sent += 1;
        // All are the publisher's own, from before.
        mallory.net.tell_channel(channel, sent, head(&key, channel, sent)).await.unwrap();
        assert!(sent < 20_000 && begin.elapsed() < Duration::from_secs(30), "{sent}");
    }
    assert!(sent > 64, "some are forgiven");
    assert!(heard.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_taken_from_whoever_has_it_and_a_false_one_from_nobody() {
    let key = KeyPair::generate().unwrap();
    let channel = key.public();
    let liar = KeyPair::generate().unwrap();
    let asker = Node::at("").await;
    let giving = async |pages: Vec<Vec<u8>>| {
        let node = Node::at(TCP).await;
        node.given.answers(move |_| answer_pages(pages.clone(), MAX_ANSWER));
        node
    };
    // Somebody else's node gives what the publisher signed.
    let good = giving(vec![page(&key, 0, 3, 9), page(&key, 2, 4, 9), page(&key, 6, 3, 9)]).await;
    let pages = asker.net.channel_pages(channel, 0, good.address().await).await.unwrap().unwrap();
    assert_eq!(pages.pages.iter().map(|(page, _)| page.through).collect::<Vec<_>>(), [3, 6, 9]);
    // What is known already is not given again, so nothing goes back.
    let pages = asker.net.channel_pages(channel, 6, good.address().await).await.unwrap().unwrap();
    assert_eq!(pages.pages.len(), 1);
    assert!(asker.net.channel_pages(channel, 9, good.address().await).await.unwrap().is_none(), "rolled back: nothing");
    for (bad, words) in [
        (page(&liar, 0, 3, 3), "only the channel's own publisher"),
        (page(&key, 5, 3, 9), "are missing"),
        (vec![1; 500], "no signed envelope"),
    ] {
        let node = giving(vec![bad]).await;
        let error = asker.net.channel_pages(channel, 0, node.address().await).await.unwrap_err();
        assert!(matches!(error, Error::Channel { .. }) && error.to_string().contains(words), "{error}");
    }
    // Releases that were not asked for are not taken.
    let (id, _) = good.publish(&[&data(10, 1)]);
    let envelope = good.given.releases.lock().unwrap()[&id].clone();
    good.given.answers(move |_| Answered::Releases(vec![envelope.clone().into()]));
    let got = asker.net.releases(&[id], good.address().await).await.unwrap();
    assert_eq!(got.len(), 1);
    assert!(asker.net.releases(&[ReleaseId::new([3; 32])], good.address().await).await.is_err());
}

/// The memory of this process that is resident, in bytes.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_of_a_million_works_is_read_page_by_page_in_the_memory_of_one_answer() {
    const ALL: u64 = 1_000_000;
    let key = Arc::new(KeyPair::generate().unwrap());
    let channel = key.public();
    let node = Node::at(TCP).await;
    node.given.answers(move |question| {
        let Question::Channel { since, .. } = question else { return Answered::Nothing };
        let count = (MAX_ENTRIES as u64).min(ALL - since);
        answer_pages(if count == 0 { Vec::new() } else { vec![page(&key, since, count, ALL)] }, MAX_ANSWER)
    });
    let (asker, at) = (Node::at("").await, node.address().await);
    let (mut since, mut before) = (0, 0);
    while let Some(pages) = asker.net.channel_pages(channel, since, at.clone()).await.unwrap() {
        since = pages.pages.last().unwrap().0.through;
        // So many show whether it grows; all would take as long as the rate of questions lets them.
        if since == 20 * MAX_ENTRIES as u64 {
            before = resident();
        }
        if since == 60 * MAX_ENTRIES as u64 {
            break;
        }
    }
    assert_eq!(since, 60 * MAX_ENTRIES as u64);
    let grown = resident().saturating_sub(before);
    assert!(grown < 24 << 20, "{grown} bytes more");
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_do_not_read_their_answers_keep_nobody_from_his() {
    let node = Node::at(TCP).await;
    let at = node.address().await;
    let made = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&made);
    node.given.answers(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Answered::Channel(vec![vec![1; 900_000].into()])
    });
    let asked = Asked {
        most_bytes: u32::try_from(MAX_ANSWER).unwrap(),
        question: Question::Channel { channel: PublicKey::new([1; 32]), since: 0 },
    };
    let before = resident();
    let (mut lazy, mut held) = (Vec::new(), Vec::new());
    for _ in 0..12 {
        let one = Node::at("").await;
        one.net.connect(at.0, at.1.clone()).await.unwrap();
        for _ in 0..4 {
            let mut stream = one.net.open_ask(at.0).await.unwrap();
            wire::send(&mut stream, &asked).await.unwrap();
            stream.flush().await.unwrap();
            held.push(stream);
        }
        lazy.push(one);
    }
    until("answers are made", async || made.load(Ordering::Relaxed) >= 30).await;
    let begin = Instant::now();
    let honest = Node::at("").await;
    let answer = honest.net.ask(at.0, at.1.clone(), &asked.question, MAX_ANSWER).await.unwrap();
    // While the others hold all the room there is, it is told so, and is served soon after.
    if matches!(answer, Answered::Busy(_)) {
        until("there is room again", async || {
            matches!(honest.net.ask(at.0, at.1.clone(), &asked.question, MAX_ANSWER).await, Ok(Answered::Channel(_)))
        })
        .await;
    }
    assert!(begin.elapsed() < Duration::from_secs(25), "{:?}", begin.elapsed());
    let grown = resident().saturating_sub(before);
    assert!(grown < 200 << 20, "{grown} bytes more");
    drop((lazy, held));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_provider_records_keeps_nobody_from_announcing_his_own() {
    let hub = Node::at(TCP).await;
    let (hub_id, hub_at) = hub.address().await;
    let with_hub = || Config { bootstrap: vec![(hub_id, hub_at[0].clone())], ..config(TCP) };
    let spammer = Node::new(with_hub()).await;
    until("the spammer knows the hub", async || spammer.net.status().await.unwrap().routing > 0).await;
    let spam = (0..2000_u32).map(|n| ReleaseId::new(*blake3::hash(&n.to_le_bytes()).as_bytes()));
    spammer.net.announce(spam.collect()).await.unwrap();
    // The hub's own channel, and that of somebody else, are found all the same.
    let key = KeyPair::generate().unwrap();
    hub.net.channels(vec![(key.public(), 0)]).await.unwrap();
    let follower = Node::new(with_hub()).await;
    follower.net.channels(vec![(key.public(), 0)]).await.unwrap();
    let asker = Node::new(Config { role: Role::Leaf, listen: Vec::new(), ..with_hub() }).await;
    until("both are found", async || {
        let found = asker.net.find_channel(key.public()).await;
        [hub_id, follower.net.peer_id()].iter().all(|id| found.iter().any(|(peer, _)| peer == id))
    })
    .await;
}
