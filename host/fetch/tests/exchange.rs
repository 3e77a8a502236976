//! Exchanges with real servers on loopback: TLS, redirects, sizes, times.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails where it is wrong")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{Act, Authority, Names, PUBLIC, Server, client, ok};
use fondaco_fetch::{Client, Error, Reach, Request, Terms};

fn names() -> Names {
    Names::default().with("up.example", &[&[PUBLIC]])
}

async fn get(client: &Client, url: &str, terms: Terms) -> Result<(u16, String), Error> {
    let answer = client.send(Request::get(url.parse().unwrap()), terms).await?;
    let status = answer.status().as_u16();
    Ok((status, String::from_utf8_lossy(&answer.into_body().bytes().await?).into_owned()))
}

fn quick() -> Terms {
    let ms = Duration::from_millis;
    Terms { connect: ms(400), first_byte: ms(400), total: ms(900), max_body: 64 << 10, ..Terms::default() }
}

#[tokio::test]
async fn a_plain_request_goes_out_in_origin_form_and_comes_back() {
    let server = Server::start(ok("hello"), None).await;
    let (client, recorder, _) = client(names(), Some(server.address), Vec::new());
    assert_eq!(get(&client, "http://up.example:81/a?b=c", quick()).await.unwrap(), (200, "hello".into()));
    let request = server.requests().remove(0);
    assert!(request.starts_with("GET /a?b=c HTTP/1.1\r\n") && request.contains("host: up.example:81\r\n"), "{request}");
    assert!(request.contains("connection: close\r\n") && request.contains("user-agent: Fondaco/"), "{request}");
    assert_eq!(*recorder.dialled.lock().unwrap(), [format!("{PUBLIC}:81").parse().unwrap()]);
}

#[tokio::test]
async fn a_server_proves_who_it_is_by_the_operators_authority() {
    let (authority, folder) = (Authority::new(), tempfile());
    std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    let server = Server::start(ok("secure"), Some(authority.vouch("up.example"))).await;
    let with = |authorities| client(names().with("other.example", &[&[PUBLIC]]), Some(server.address), authorities).0;

    let trusting = with(vec![folder.join("ca.pem")]);
    assert_eq!(get(&trusting, "https://up.example/", quick()).await.unwrap().1, "secure");
    let refused = get(&trusting, "https://other.example/", quick()).await.unwrap_err();
    assert!(matches!(refused, Error::Certificate { .. }), "another name: {refused}");
    let refused = get(&with(Vec::new()), "https://up.example/", quick()).await.unwrap_err();
    assert!(matches!(refused, Error::Certificate { .. }), "an authority that nobody trusts: {refused}");
    assert_eq!(server.requests().len(), 1, "nothing is said to a server that has not proved itself");

    let plain = Server::start(ok("x"), None).await;
    let (plainly, ..) = client(names(), Some(plain.address), Vec::new());
    let refused = get(&plainly, "https://up.example/", quick()).await.unwrap_err();
    assert!(matches!(refused, Error::Tls { .. } | Error::ConnectTimeout { .. }), "no TLS at all: {refused}");
}

#[tokio::test]
async fn files_without_authorities_are_named() {
    let folder = tempfile();
    std::fs::write(folder.join("none.pem"), "not a certificate").unwrap();
    for (file, words) in [("none.pem", "BEGIN CERTIFICATE"), ("missing.pem", "No such file")] {
        let options = fondaco_fetch::Options { authorities: vec![folder.join(file)], ..Default::default() };
        let refused = Client::new(options).err().unwrap().to_string();
        assert!(refused.contains(file) && refused.contains(words), "{refused}");
    }
}

#[tokio::test]
async fn redirects_are_answers() {
    for status in [301, 302, 303, 307, 308] {
        for target in [
            "http://127.0.0.1:1/",
            "http://169.254.169.254/latest/meta-data/",
            "https://up.example/again",
            "//[::1]/",
            "file:///etc/passwd",
        ] {
            let answer = format!("HTTP/1.1 {status} Go\r\nlocation: {target}\r\ncontent-length: 0\r\n\r\n");
            let server = Server::start(Act::Say(answer.into_bytes()), None).await;
            let (client, recorder, _) = client(names(), Some(server.address), Vec::new());
            let answer = client.send(Request::get("http://up.example/".parse().unwrap()), quick()).await.unwrap();
            assert_eq!((answer.status().as_u16(), &answer.headers()["location"]), (status, &target.parse().unwrap()));
            answer.into_body().bytes().await.unwrap();
            assert_eq!(recorder.dialled.lock().unwrap().len(), 1, "{status} to {target}");
        }
    }
}

/// Is it the right error?
type Judge = fn(&Error) -> bool;

#[tokio::test]
async fn answers_end_at_their_limits() {
    let head = b"HTTP/1.1 200 OK\r\n".to_vec();
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    let piece = [b"1000\r\n".to_vec(), vec![b'x'; 4096], b"\r\n".to_vec()].concat();
    let line = b"x-filler: 0123456789\r\n".repeat(50);
    let cases: [(&str, Act, Judge); 9] = [
        ("endless chunks", Act::Endless(chunked, piece), |e| matches!(e, Error::BodyTooLarge { limit: 65_536, .. })),
        ("a length that is too great", Act::Stall(b"HTTP/1.1 200 OK\r\ncontent-length: 65537\r\n\r\n".to_vec()), |e| {
            matches!(e, Error::BodyTooLarge { .. })
        }),
        ("endless, without a length", Act::Endless(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'x'; 4096]), |e| {
            matches!(e, Error::BodyTooLarge { .. })
        }),
        ("endless headers", Act::Endless(head, line), |e| {
            matches!(e, Error::HeadersTooLarge { .. } | Error::Protocol { .. })
        }),
        ("silence", Act::Stall(Vec::new()), |e| matches!(e, Error::FirstByte { .. })),
        ("half a body, then silence", Act::Stall(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_vec()), |e| {
            matches!(e, Error::Total { .. })
        }),
        ("a cut body", Act::Say(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_vec()), |e| {
            matches!(e, Error::Cut { .. })
        }),
        ("no HTTP", Act::Say(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()), |e| matches!(e, Error::Protocol { .. })),
        (
            "another protocol",
            Act::Stall(b"HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n".to_vec()),
            |e| matches!(e, Error::Protocol { .. }),
        ),
    ];
    for (name, act, expect) in cases {
        let server = Server::start(act, None).await;
        let (client, ..) = client(names(), Some(server.address), Vec::new());
        let started = Instant::now();
        let error = get(&client, "http://up.example/", quick()).await.expect_err(name);
        assert!(expect(&error), "{name}: {error:?}");
        assert!(started.elapsed() < Duration::from_secs(3), "{name} took {:?}", started.elapsed());
        assert!(error.to_string().starts_with("http://up.example: "), "{error}");
    }
}

#[tokio::test]
async fn an_answer_of_exactly_the_limit_is_whole() {
    let body = "x".repeat(64 << 10);
    let server = Server::start(ok(&body), None).await;
    let (client, ..) = client(names(), Some(server.address), Vec::new());
    assert_eq!(get(&client, "http://up.example/", quick()).await.unwrap().1.len(), body.len());
}

#[tokio::test]
async fn what_framed_the_answer_does_not_come_through_and_trailers_are_dropped() {
    let answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nkeep-alive: x\r\ntrailer: x-late\r\n\r\n2\r\nhi\r\n0\r\nx-late: 1\r\n\r\n";
    let server = Server::start(Act::Say(answer.to_vec()), None).await;
    let (client, ..) = client(names(), Some(server.address), Vec::new());
    let answer = client.send(Request::get("http://up.example/".parse().unwrap()), quick()).await.unwrap();
    assert!(answer.headers().is_empty(), "{:?}", answer.headers());
    let mut body = answer.into_body();
    assert_eq!(body.piece().await.unwrap().unwrap(), "hi");
    assert_eq!(body.piece().await.unwrap(), None);
}

#[tokio::test]
async fn both_directions_are_counted_and_a_budget_ends_the_exchange() {
    let server = Server::start(ok(&"x".repeat(30_000)), None).await;
    let make = client;
    let (client, ..) = make(names(), Some(server.address), Vec::new());
    let used = Arc::new(AtomicU64::new(0));
    let budget = |limit: u64| {
        let used = used.clone();
        used.store(0, Ordering::SeqCst);
        let meter = move |n| used.fetch_add(n, Ordering::SeqCst) + n <= limit;
        Terms { meter: Some(Arc::new(meter)), ..quick() }
    };
    get(&client, "http://up.example/", budget(1 << 20)).await.unwrap();
    assert!((30_000..30_400).contains(&used.load(Ordering::SeqCst)), "{used:?}");
    let error = get(&client, "http://up.example/", budget(20_000)).await.unwrap_err();
    assert!(matches!(error, Error::Budget { .. }), "{error}");
    // A head costs as much as a body, and so do interim answers, of which there may be any number.
    let heads = format!("HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n", "y".repeat(20_000));
    let heady = Server::start(Act::Say(heads.into_bytes()), None).await;
    let (at_heady, ..) = make(names(), Some(heady.address), Vec::new());
    get(&at_heady, "http://up.example/", budget(1 << 20)).await.unwrap();
    assert!(used.load(Ordering::SeqCst) > 20_000, "{used:?}");
    let early =
        Server::start(Act::Say("HTTP/1.1 103 Early Hints\r\nx: y\r\n\r\n".repeat(1000).into_bytes()), None).await;
    let (at_early, ..) = make(names(), Some(early.address), Vec::new());
    let error = get(&at_early, "http://up.example/", budget(10_000)).await.unwrap_err();
    assert!(matches!(error, Error::Budget { .. }), "{error}");
    let before = server.requests().len();
    assert!(matches!(get(&client, "http://up.example/", budget(0)).await, Err(Error::Budget { .. })));
    assert_eq!(server.requests().len(), before, "nothing goes out on an empty budget");
}

#[tokio::test]
async fn who_refuses_and_who_is_silent_is_told_apart() {
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (refusing, ..) = client(names(), Some(gone), Vec::new());
    let error = get(&refusing, "http://up.example/", quick()).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    let error = get(&refusing, "http://unknown.example/", quick()).await.unwrap_err();
    assert!(matches!(error, Error::Resolve { .. }), "{error:?}");
    // TLS with a server that accepts and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (client, ..) = client(names(), Some(silent.local_addr().unwrap()), Vec::new());
    let error = get(&client, "https://up.example/", quick()).await.unwrap_err();
    assert!(matches!(error, Error::ConnectTimeout { resolving: false, .. }), "{error:?}");
}

#[tokio::test]
async fn a_permit_is_kept_as_long_as_the_connection() {
    let server = Server::start(ok("hello"), None).await;
    let (client, ..) = client(names(), Some(server.address), Vec::new());
    let permit: Arc<str> = "permit".into();
    let terms = Terms { hold: Some(Arc::new(permit.clone())), ..quick() };
    let answer = client.send(Request::get("http://up.example/".parse().unwrap()), terms).await.unwrap();
    assert_eq!(Arc::strong_count(&permit), 2);
    answer.into_body().bytes().await.unwrap();
    assert_eq!(Arc::strong_count(&permit), 1);
}

#[tokio::test]
async fn a_service_on_the_operators_network_is_reached_where_the_operator_says_so() {
    let server = Server::start(ok("inside"), None).await;
    let client = Client::new(fondaco_fetch::Options::default()).unwrap();
    let url = format!("http://127.0.0.1:{}/", server.address.port());
    assert!(matches!(get(&client, &url, quick()).await, Err(Error::Forbidden { .. })));
    let reach = |reach| Terms { reach, ..quick() };
    assert_eq!(get(&client, &url, reach(Reach::Private)).await.unwrap().1, "inside");
    assert_eq!(get(&client, &url, reach(Reach::Any)).await.unwrap().1, "inside");
    let name = format!("http://localhost:{}/", server.address.port());
    assert!(matches!(get(&client, &name, quick()).await, Err(Error::Forbidden { .. })), "the system's own look-up");
}

fn tempfile() -> std::path::PathBuf {
    let folder = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("authorities");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}
