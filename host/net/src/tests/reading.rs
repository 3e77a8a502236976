//! Reading what is being fetched.

use std::time::{Duration, Instant};

use super::{Node, TCP, config, data};
use crate::{Config, Error, Limits, Reader};

async fn all(reader: &mut Reader) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    while let Some(piece) = reader.next().await? {
        assert!(piece.len() <= 256 << 10, "{}", piece.len());
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

fn slow(mib: u64) -> Config {
    Config { limits: Limits { upload_bytes_per_second: Some(mib << 20), ..Limits::default() }, ..config(TCP) }
}

#[tokio::test(flavor = "multi_thread")]
async fn players_read_at_once_what_a_fetch_has_not_come_to() {
    let publisher = Node::new(slow(4)).await;
    let bytes = data(24 << 20, 1);
    let (want, small) = (publisher.add(&bytes), publisher.add(b"a small one behind the large one"));
    let buyer = Node::at("").await;
    let peers = vec![publisher.address().await];
    let fetch = buyer.net.fetch(vec![want.clone(), small.clone()], None, peers);
    while fetch.bytes() < 1 << 20 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // All of it takes six seconds; the end of it, the middle and the other file do not.
    let begin = Instant::now();
    let mut readers = [(23 << 20) + 5..24 << 20, (12 << 20) + 1..(12 << 20) + 200_001]
        .map(|range| (range.clone(), fetch.read(want.hash, range).unwrap()));
    for (range, reader) in &mut readers {
        let got = all(reader).await.unwrap();
        let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        assert!(got == bytes[range.clone()], "{range:?}");
    }
    assert_eq!(all(&mut fetch.read(small.hash, 2..7).unwrap()).await.unwrap(), b"small");
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    assert!(fetch.bytes() < 20 << 20, "it was here by then");
    drop(readers);
    // A reader from the beginning goes along with the fetch, and beyond its end.
    let mut reader = fetch.read(want.hash, 0..want.size).unwrap();
    let first = reader.next().await.unwrap().unwrap();
    let fetched = fetch.done().await.unwrap();
    assert!(fetched.received < fetched.bytes + fetched.bytes / 20, "{fetched:?}");
    let rest = all(&mut reader).await.unwrap();
    assert!(bytes == [&first[..], &rest].concat());
    assert!(fetch.read(want.hash, 0..want.size + 1).is_none(), "it has no such byte");
    assert!(all(&mut fetch.read(want.hash, 7..7).unwrap()).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lazy_fetch_brings_what_is_read_and_all_when_it_is_told_to() {
    let publisher = Node::new(slow(8)).await;
    let (one, two) = (data(16 << 20, 1), data(300_000, 2));
    let wants = vec![publisher.add(&one), publisher.add(&two)];
    let buyer = Node::at("").await;
    let fetch = buyer.net.fetch_when_read(wants.clone(), None, vec![publisher.address().await]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((fetch.bytes(), publisher.net.status().await.unwrap().sent_bytes), (0, 0));
    let mut reader = fetch.read(wants[0].hash, (3 << 20)..(3 << 20) + 10).unwrap();
    let begin = Instant::now();
    assert!(all(&mut reader).await.unwrap() == one[3 << 20..(3 << 20) + 10]);
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    assert!(!buyer.store.has(wants[1].hash));
    assert!(all(&mut fetch.read(wants[1].hash, 0..300_000).unwrap()).await.unwrap() == two);
    fetch.all();
    assert_eq!(fetch.done().await.unwrap().bytes, (16 << 20) + 300_000);
    assert!(fetch.is_over());
    assert!(all(&mut reader).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_ends_when_nobody_brings_the_rest() {
    let publisher = Node::new(slow(2)).await;
    let bytes = data(8 << 20, 1);
    let want = publisher.add(&bytes);
    let buyer = Node::at("").await;
    let fetch = buyer.net.fetch_when_read(vec![want.clone()], None, vec![publisher.address().await]);
    let mut reader = fetch.read(want.hash, 0..want.size).unwrap();
    let mut got = reader.next().await.unwrap().unwrap().to_vec();
    publisher.given.private.lock().unwrap().insert(want.hash);
    let begin = Instant::now();
    let error = loop {
        match reader.next().await {
            Ok(Some(piece)) => got.extend_from_slice(&piece),
            Ok(None) => panic!("all of it came"),
            Err(error) => break error,
        }
    };
    assert!(bytes.starts_with(&got) && !got.is_empty());
    let text = error.to_string();
    assert!(text.contains(&format!("byte {} of file", got.len())), "{text}");
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    // A reader of a fetch that was stopped ends too.
    let fetch = buyer.net.fetch_when_read(vec![want.clone()], None, Vec::new());
    let mut reader = fetch.read(want.hash, want.size - 1..want.size).unwrap();
    assert!(matches!(reader.next().await, Err(Error::NoSource { .. } | Error::Busy(_))));
    drop(fetch);
    assert!(reader.next().await.is_err());
}
