//! Web servers as sources: with and without an outboard beside the file, honest ones and one that lies.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use fondaco_fetch::{Client, Options, Reach};
use fondaco_schemas::ReleaseId;

use super::{Node, TCP, data};
use crate::{Error, SourceState, Want, Web, WebSeed, Who};

/// A web server on loopback. What it serves, by path, and how many bytes it sent of bodies.
#[derive(Default)]
struct Site {
    files: Mutex<HashMap<String, Vec<u8>>>,
    /// Answers as if there were no ranges.
    no_ranges: bool,
    /// Says that it sends other bytes than it was asked for.
    shifts: bool,
    sent: AtomicU64,
}

impl Site {
    /// Serves until the test ends. Answers its address, without a `/` at its end.
    fn serve(self: &Arc<Self>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let site = Arc::clone(self);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let site = Arc::clone(&site);
                std::thread::spawn(move || site.answer(&stream.unwrap()));
            }
        });
        format!("http://{address}")
    }

    fn put(&self, path: &str, bytes: &[u8]) {
        self.files.lock().unwrap().insert(path.to_owned(), bytes.to_vec());
    }

    fn answer(&self, mut stream: &TcpStream) {
        let lines: Vec<String> =
            BufReader::new(stream.take(1 << 16)).lines().map_while(Result::ok).take_while(|l| !l.is_empty()).collect();
        let path = lines[0].split(' ').nth(1).unwrap();
        let Some(bytes) = self.files.lock().unwrap().get(path).cloned() else {
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
            return;
        };
        let range = lines.iter().find_map(|l| l.to_ascii_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
        let (head, body) = match range.filter(|_| !self.no_ranges) {
            Some(range) => {
                let (from, to) = range.split_once('-').unwrap();
                let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap());
                let said = from + usize::from(self.shifts);
                let head = format!("206 Partial Content\r\ncontent-range: bytes {said}-{to}/{}", bytes.len());
                (head, &bytes[from..=to])
            }
            None => ("200 OK".to_owned(), &bytes[..]),
        };
        self.sent.fetch_add(body.len() as u64, Ordering::Relaxed);
        let head = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    }
}

fn web(reach: Reach) -> Web {
    Web { client: Client::new(Options::default()).unwrap(), reach }
}

fn outboard(node: &Node, want: &Want) -> Vec<u8> {
    let mut reader = node.store.get(want.hash).unwrap().outboard();
    let mut bytes = Vec::new();
    while let Some(piece) = reader.piece().unwrap() {
        bytes.extend_from_slice(&piece);
    }
    bytes
}

const KEY: Option<ReleaseId> = Some(ReleaseId::new([1; 32]));

#[tokio::test(flavor = "multi_thread")]
async fn a_web_server_alone_has_the_files_of_a_release() {
    let owner = Node::at("").await;
    let files = [data(5 << 20, 1), data(100, 2), data(0, 3), data((40 << 10) + 1, 4)];
    let site = Arc::new(Site::default());
    let mut wants = Vec::new();
    for (number, bytes) in files.iter().enumerate() {
        let want = Want { name: format!("a folder/ä {number}.bin"), ..owner.add(bytes) };
        let path = format!("/works/a%20folder/%C3%A4%20{number}.bin");
        site.put(&path, bytes);
        site.put(&format!("{path}.obao4"), &outboard(&owner, &want));
        site.put(&format!("/files/{}", want.hash), bytes);
        site.put(&format!("/files/{}.obao4", want.hash), &outboard(&owner, &want));
        wants.push(want);
    }
    let base = site.serve();
    for address in [format!("{base}/works/"), format!("{base}/files/{{hash}}")] {
        let buyer = Node::at("").await;
        let fetch = buyer.net.fetch(wants.clone(), KEY, Vec::new());
        fetch.add_web_seed(WebSeed::new(&address).unwrap(), web(Reach::Private));
        let fetched = fetch.done().await.unwrap();
        assert_eq!(fetched.bytes, (5 << 20) + 100 + (40 << 10) + 1);
        for (want, bytes) in wants.iter().zip(&files) {
            let mut found = vec![0; bytes.len()];
            buyer.store.get(want.hash).unwrap().read_at(0, &mut found).unwrap();
            assert!(found == *bytes, "{address} {}", want.name);
        }
        let [source] = fetched.sources.as_slice() else { panic!("{fetched:?}") };
        assert!(matches!(&source.who, Who::Web(seed) if seed.to_string() == address));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_outboard_beside_it_a_peer_proves_what_a_server_sends() {
    let publisher = Node::at(TCP).await;
    let bytes = data(6 << 20, 1);
    let want = publisher.add(&bytes);
    let site = Arc::new(Site::default());
    site.put("/one.bin", &bytes);
    let seed = WebSeed::new(&format!("{}/one.bin", site.serve())).unwrap();
    let buyer = Node::at("").await;
    // Slowly, so that the server has something to do.
    let slow = crate::Limits { upload_bytes_per_second: Some(1 << 20), ..crate::Limits::default() };
    let other = Node::new(crate::Config { limits: slow, ..super::config(TCP) }).await;
    other.add(&bytes);
    let fetch = buyer.net.fetch(vec![want.clone()], KEY, vec![other.address().await]);
    fetch.add_web_seed(seed, web(Reach::Private));
    let fetched = fetch.done().await.unwrap();
    assert_eq!(buyer.store.verify(want.hash).unwrap(), want.size);
    let from_web = fetched.sources.iter().find(|s| matches!(s.who, Who::Web(_))).unwrap();
    assert!(from_web.bytes > 1 << 20, "{fetched:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lies_is_dropped_and_named() {
    let owner = Node::at(TCP).await;
    let bytes = data(3 << 20, 1);
    let want = owner.add(&bytes);
    let mut wrong = bytes.clone();
    wrong[2 << 20] ^= 1;
    let good = outboard(&owner, &want);
    let mut wrong_tree = good.clone();
    wrong_tree[100] ^= 1;
    for (file, tree, words) in [
        (&wrong, &good, "does not verify at byte 2097152"),
        (&bytes, &wrong_tree, "its .obao4 of file does not verify"),
        (&bytes, &good[..good.len() - 64].to_vec(), "is too short"),
    ] {
        let site = Arc::new(Site::default());
        site.put("/one.bin", file);
        site.put("/one.bin.obao4", tree);
        let seed = WebSeed::new(&format!("{}/one.bin", site.serve())).unwrap();
        let buyer = Node::at("").await;
        // From the liar alone, then with an honest peer besides.
        let fetch = buyer.net.fetch(vec![want.clone()], KEY, Vec::new());
        fetch.add_web_seed(seed.clone(), web(Reach::Private));
        let state = loop {
            match fetch.sources().first().map(|s| s.state.clone()) {
                Some(SourceState::Out(why)) => break why,
                _ => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
            }
        };
        assert!(state.contains(words), "{state}");
        drop(fetch);
        let honest = vec![owner.address().await];
        loop {
            let fetch = buyer.net.fetch(vec![want.clone()], KEY, honest.clone());
            fetch.add_web_seed(seed.clone(), web(Reach::Private));
            match fetch.done().await {
                Ok(_) => break,
                Err(Error::Busy(_)) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(buyer.store.verify(want.hash).unwrap(), want.size);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_says_why() {
    let owner = Node::at("").await;
    let bytes = data(3 << 20, 1);
    let want = owner.add(&bytes);
    let site = Arc::new(Site { no_ranges: true, ..Site::default() });
    site.put("/one.bin", &bytes);
    site.put("/one.bin.obao4", &outboard(&owner, &want));
    let base = site.serve();
    for (address, reach, words) in [
        (format!("{base}/one.bin"), Reach::Private, "does not answer ranges"),
        (format!("{base}/one.bin"), Reach::Public, "loopback"),
        (format!("{base}/none.bin"), Reach::Private, "no peer gives one"),
    ] {
        let buyer = Node::at("").await;
        let fetch = buyer.net.fetch(vec![want.clone()], KEY, Vec::new());
        fetch.add_web_seed(WebSeed::new(&address).unwrap(), web(reach));
        let begin = std::time::Instant::now();
        loop {
            let sources = fetch.sources();
            if matches!(sources.as_slice(), [s] if matches!(&s.state, SourceState::Out(why) if why.contains(words))) {
                break;
            }
            assert!(begin.elapsed() < std::time::Duration::from_secs(20), "{address}: {sources:?}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
    for bad in ["ftp://a.example/", "a.example/x", "https://a.example/{hash", "https://a.example/ x"] {
        assert!(WebSeed::new(bad).is_err(), "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_answers_with_another_range_is_dropped_before_it_is_read() {
    let owner = Node::at("").await;
    let bytes = data(3 << 20, 1);
    let want = owner.add(&bytes);
    let site = Arc::new(Site { shifts: true, ..Site::default() });
    site.put("/one.bin", &bytes);
    let tree = outboard(&owner, &want);
    site.put("/one.bin.obao4", &tree);
    let seed = WebSeed::new(&format!("{}/one.bin", site.serve())).unwrap();
    let buyer = Node::at("").await;
    let fetch = buyer.net.fetch(vec![want], KEY, Vec::new());
    fetch.add_web_seed(seed, web(Reach::Private));
    let begin = std::time::Instant::now();
    let why = loop {
        if let Some(SourceState::Out(why)) = fetch.sources().first().map(|source| source.state.clone()) {
            break why;
        }
        assert!(begin.elapsed() < std::time::Duration::from_secs(20), "{:?}", fetch.sources());
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    };
    assert!(why.contains("other bytes than were asked for"), "{why}");
    assert_eq!(fetch.bytes(), 0);
}
