//! A real component that calls real servers on loopback, and what it is held to. The guest is `tests/guests/caller`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails where it is wrong")]

mod common;
#[path = "../../fetch/tests/common/mod.rs"]
mod web;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use common::{component, find, spec};
use fondaco_fetch::{Client, Options, class};
use fondaco_runtime::{Grants, HttpGrant, Limits, LoadError, Outbound, Plugin, Secret};
use fondaco_schemas::Capability;
use serde_json::{Value, json};
use web::{Act, Authority, Names, PUBLIC, Recorder, Server, ok};

include!("../../fetch/tests/common/corpus.rs");

fn caller() -> Vec<u8> {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| component("caller")).clone()
}

fn grant(hosts: &[&str]) -> HttpGrant {
    let hosts = hosts.iter().map(|h| h.parse().unwrap()).collect();
    HttpGrant { hosts, daily_bytes: 1 << 30, ..HttpGrant::default() }
}

fn limits() -> Limits {
    let rates = [(Capability::Http, 1_000)].into();
    Limits { deadline: Duration::from_secs(10), wall: Duration::from_secs(20), rates, ..Limits::default() }
}

struct Setup {
    plugin: Plugin,
    dialled: Arc<Recorder>,
}

/// The caller with this grant, in a world where `names` are looked up and the public address is `server`.
async fn setup_with(
    grant: HttpGrant,
    names: Names,
    server: Option<SocketAddr>,
    authority: Option<&Authority>,
) -> Setup {
    setup_within(limits(), grant, names, server, authority).await
}

async fn setup_within(
    limits: Limits,
    grant: HttpGrant,
    names: Names,
    server: Option<SocketAddr>,
    authority: Option<&Authority>,
) -> Setup {
    let to = server.map(|s| (PUBLIC.parse::<IpAddr>().unwrap(), s)).into_iter();
    let to = to.chain(server.map(|s| (s.ip(), s))).collect();
    let dialled = Arc::new(Recorder { to, ..Recorder::default() });
    let (folder, mut authorities) = (tempfile::tempdir().unwrap(), Vec::new());
    if let Some(authority) = authority {
        authorities.push(folder.path().join("ca.pem"));
        std::fs::write(&authorities[0], authority.pem()).unwrap();
    }
    let client = Client::new(Options { resolver: Arc::new(names), dialler: dialled.clone(), authorities }).unwrap();
    let runtime = common::runtime().reaching_out(Outbound::new(client));
    let granted = [Capability::Http].into();
    let grants = Grants { granted, http: Some(grant), ..Grants::default() };
    Setup { plugin: runtime.load(spec(caller(), grants, limits)).await.unwrap(), dialled }
}

fn names() -> Names {
    Names::default().with("up.example", &[&[PUBLIC]]).with("other.example", &[&[PUBLIC]])
}

async fn setup(grant: HttpGrant, server: &Server) -> Setup {
    setup_with(grant, names(), Some(server.address), None).await
}

async fn ask(plugin: &Plugin, task: Value) -> Vec<String> {
    find(plugin, &task.to_string()).await.unwrap().unwrap()
}

async fn fetch(plugin: &Plugin, url: &str) -> String {
    ask(plugin, json!({ "do": "fetch", "url": url })).await.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_calls_a_host_that_it_was_granted_and_no_other() {
    let authority = Authority::new();
    let server = Server::start(ok("hello"), Some(authority.vouch("up.example"))).await;
    let setup = setup_with(grant(&["https://up.example"]), names(), Some(server.address), Some(&authority)).await;
    assert_eq!(fetch(&setup.plugin, "https://up.example/a?b=c").await, "200 5 hello");
    let request = server.requests().remove(0);
    assert!(request.starts_with("GET /a?b=c HTTP/1.1\r\n") && request.contains("host: up.example\r\n"), "{request}");
    for denied in
        ["http://up.example/", "https://other.example/", "https://up.example:8443/", "https://sub.up.example/"]
    {
        let said = fetch(&setup.plugin, denied).await;
        assert!(said.starts_with("Denied(") && said.contains("HttpRequestDenied"), "{denied}: {said}");
    }
    assert_eq!(setup.dialled.dialled.lock().unwrap().len(), 1);
    assert_eq!(setup.plugin.counters().now().denied.get(&Capability::Http), Some(&4));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_grant_the_component_is_refused_or_each_call_denied() {
    let refused = common::runtime().load(spec(caller(), Grants::default(), limits())).await.unwrap_err();
    assert!(matches!(refused, LoadError::NotGranted { .. }), "{refused}");
    assert!(
        refused.to_string().contains("wasi:http/outgoing-handler") && refused.to_string().contains("grant.http.hosts")
    );
    let optional = Grants { optional: [Capability::Http].into(), ..Grants::default() };
    let plugin = common::runtime().load(spec(caller(), optional, limits())).await.unwrap();
    let said = fetch(&plugin, "https://up.example/").await;
    assert!(said.starts_with("Denied("), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_reaches_the_host_and_never_the_guest() {
    let (authority, secret) = (Authority::new(), "sk_live_51Hx9QzKeepThisOutOfTheGuest");
    let server = Server::start(ok("thanks"), Some(authority.vouch("up.example"))).await;
    let secrets = [("api-key".to_owned(), Secret::new(secret)), ("lines".to_owned(), Secret::new("a\r\nb: c"))].into();
    let grant = HttpGrant { secrets, ..grant(&["https://up.example", "http://other.example"]) };
    let setup = setup_with(grant, names(), Some(server.address), Some(&authority)).await;
    let masked: Vec<u8> = secret.bytes().map(|b| b ^ 0x55).collect();
    let hunt = |header: &str, masked: &[u8]| json!({ "do": "hunt", "url": "https://up.example/", "header": header, "masked": masked });

    let said = ask(&setup.plugin, hunt("Bearer {{secret:api-key}}", &masked)).await;
    assert_eq!(said[..3], ["200", "Bearer {{secret:api-key}}", "found 0"], "{said:?}");
    assert!(server.requests()[0].contains(&format!("authorization: Bearer {secret}\r\n")), "{:?}", server.requests());
    // The hunt would have found it: here the guest has a text of its own, sent in clear.
    let mine: Vec<u8> = b"not-a-secret-at-all".iter().map(|b| b ^ 0x55).collect();
    let said = ask(&setup.plugin, hunt("Bearer not-a-secret-at-all", &mine)).await;
    assert_ne!(said[2], "found 0", "{said:?}");

    for (name, expect) in
        [("none", "ConfigurationError"), ("lines", "ConfigurationError"), ("a b", "HttpRequestDenied")]
    {
        let headers = [["x-key", &format!("{{{{secret:{name}}}}}")]];
        let said = ask(&setup.plugin, json!({ "do": "fetch", "url": "https://up.example/", "headers": headers })).await;
        assert!(said[0].contains(expect), "{name}: {said:?}");
    }
    let headers = [["x-key", "{{secret:api-key}}"]];
    let clear = ask(&setup.plugin, json!({ "do": "fetch", "url": "http://other.example/", "headers": headers })).await;
    assert!(clear[0].starts_with("Denied("), "in clear: {clear:?}");
    let body = ask(&setup.plugin, json!({ "do": "fetch", "url": "https://up.example/{{secret:api-key}}" })).await;
    assert!(body[0].starts_with("Invalid("), "in the path: {body:?}");
    assert_eq!(server.requests().len(), 2, "nothing else was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_a_guest_reaches_a_forbidden_address() {
    let urls = corpus();
    // The most generous grant that there can be by name, and hosts that resolve to whatever the attacker likes.
    let hosts = ["https://*.nip.example", "https://*.sslip.example", "https://up.example", "https://rebind.example"];
    for (name, answers) in [
        ("public", vec![vec![PUBLIC]]),
        ("inside", vec![vec!["127.0.0.1"], vec!["169.254.169.254"], vec!["::1"]]),
        ("mixed", vec![vec![PUBLIC, "10.0.0.1"], vec![PUBLIC], vec!["fd00:ec2::254", PUBLIC]]),
    ] {
        let turns: Vec<&[&str]> = answers.iter().map(Vec::as_slice).collect();
        let setup = setup_with(grant(&hosts), Names::default().with("*", &turns), None, None).await;
        let said = ask(&setup.plugin, json!({ "do": "raw", "urls": urls })).await;
        assert_eq!(said.len(), urls.len());
        let dialled = setup.dialled.dialled.lock().unwrap().clone();
        assert!(dialled.iter().all(|a| class(a.ip()).is_none()), "{name}: {dialled:?}");
        assert!(said.iter().all(|s| s.parse::<u16>().is_err()), "{name}: an answer");
        let prohibited = said.iter().filter(|s| s.contains("DestinationIpProhibited")).count();
        assert_eq!(prohibited > 0, name != "public", "{name}: {prohibited} were refused by their address");
        let flips = ask(&setup.plugin, json!({ "do": "raw", "urls": vec!["https://rebind.example/"; 300] })).await;
        assert!(
            flips.iter().all(|s| s.contains("DestinationIpProhibited") || s.contains("ConnectionRefused")),
            "{flips:?}"
        );
        let dialled = setup.dialled.dialled.lock().unwrap();
        assert!(dialled.iter().all(|a| a.ip().to_string() == PUBLIC), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_given_to_the_guest() {
    let moved = Act::Say(b"HTTP/1.1 302 Go\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n".to_vec());
    let server = Server::start(moved, None).await;
    let setup = setup(grant(&["http://up.example"]), &server).await;
    assert_eq!(fetch(&setup.plugin, "http://up.example/").await, "302 0 ");
    assert_eq!(setup.dialled.dialled.lock().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_frames_a_request_is_not_the_guests() {
    let server = Server::start(ok("ok"), None).await;
    let setup = setup(grant(&["http://up.example"]), &server).await;
    let bend = async |how: &str| {
        ask(&setup.plugin, json!({ "do": "bend", "url": "http://up.example/", "how": how })).await.remove(0)
    };
    assert_eq!(bend("content-length: 5").await, "200", "a length that is right");
    let request = server.requests().remove(0);
    assert!(request.contains("content-length: 5\r\n") && request.ends_with("\r\n\r\n12345"), "{request}");
    for how in [
        "host: evil.example",
        "connection: upgrade",
        "transfer-encoding: chunked",
        "upgrade: h2c",
        "proxy-connection: x",
        "te: trailers",
        "trailer: x",
        "expect: 100-continue",
        "via: 1.1 x",
        "x-forwarded-for: 10.0.0.1",
        "forwarded: for=x",
        "content-length: 4",
        "content-length: 6",
        "content-length: 5, 5",
        "content-length: +5",
        "x: a\r\nb: c",
        "x\r\ny: a",
        "x y: a",
        ": a",
        "x: \u{e9}",
        "unfinished",
        "trailers",
        "CONNECT",
        "TRACE",
    ] {
        let said = bend(how).await;
        assert!(said != "200", "{how:?} was sent");
    }
    assert_eq!(server.requests().len(), 1, "none of them reached the server");
    assert_eq!(bend("x-own: fine").await, "200");
}

#[tokio::test(flavor = "multi_thread")]
async fn upstreams_that_are_slow_endless_or_broken_end_in_words() {
    let endless = Act::Endless(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'x'; 1 << 20]);
    let large = b"HTTP/1.1 200 OK\r\ncontent-length: 4194305\r\n\r\n".to_vec();
    for (act, expect) in [
        (endless, "TooLarge("),
        (Act::Stall(large), "TooLarge(\"ErrorCode::HttpResponseBodySize"),
        (Act::Stall(Vec::new()), "Timeout(\"ErrorCode::ConnectionReadTimeout"),
        (Act::Say(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ncut".to_vec()), "Broken("),
        (Act::Say(b"not http\r\n\r\n".to_vec()), "Broken(\"ErrorCode::HttpProtocolError"),
    ] {
        let server = Server::start(act, None).await;
        let setup = setup(grant(&["http://up.example"]), &server).await;
        let started = Instant::now();
        let said = fetch(&setup.plugin, "http://up.example/").await;
        assert!(said.starts_with(expect), "{expect}: {said}");
        assert!(started.elapsed() < Duration::from_secs(12), "{expect} took {:?}", started.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_waits_for_a_silent_host_is_left_at_its_own_wall_time() {
    let server = Server::start(Act::Stall(Vec::new()), None).await;
    let setup = setup(grant(&["http://up.example"]), &server).await;
    let short = Limits { wall: Duration::from_millis(300), ..limits() };
    let client =
        Client::new(Options { resolver: Arc::new(names()), dialler: setup.dialled.clone(), authorities: Vec::new() });
    let runtime = common::runtime().reaching_out(Outbound::new(client.unwrap()));
    let grants =
        Grants { granted: [Capability::Http].into(), http: Some(grant(&["http://up.example"])), ..Grants::default() };
    let plugin = runtime.load(spec(caller(), grants, short)).await.unwrap();
    let task = json!({ "do": "fetch", "url": "http://up.example/" }).to_string();
    let error = find(&plugin, &task).await.unwrap_err();
    assert!(matches!(error, fondaco_runtime::CallError::Wall { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rate_connections_and_bytes_have_an_end() {
    let server = Server::start(ok(&"x".repeat(10_000)), None).await;
    let five = Limits { rates: [(Capability::Http, 5)].into(), ..limits() };
    let rated = setup_within(five, grant(&["http://up.example"]), names(), Some(server.address), None).await;
    let said = ask(&rated.plugin, json!({ "do": "fetch", "url": "http://up.example/", "times": 40 })).await;
    let through = said.iter().filter(|s| s.starts_with("200")).count();
    assert!((5..35).contains(&through), "{through} of 40: {said:?}");
    assert!(said.iter().filter(|s| !s.starts_with("200")).all(|s| s.contains("ConnectionLimitReached")), "{said:?}");

    let budget = setup(HttpGrant { daily_bytes: 25_000, ..grant(&["http://up.example"]) }, &server).await;
    let said = ask(&budget.plugin, json!({ "do": "fetch", "url": "http://up.example/", "times": 4 })).await;
    assert!(said[0].starts_with("200 10000") && said[1].starts_with("200 10000"), "{said:?}");
    assert!(said[2].starts_with("Limited(") && said[3].starts_with("Limited("), "{said:?}");
    let before = server.requests().len();
    assert!(fetch(&budget.plugin, "http://up.example/").await.starts_with("Limited("), "another call, the same day");
    assert_eq!(server.requests().len(), before, "nothing goes out on an empty budget");

    let slow = Server::start(Act::Stall(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n".to_vec()), None).await;
    let crowd = setup(grant(&["http://up.example"]), &slow).await;
    let said = ask(&crowd.plugin, json!({ "do": "together", "url": "http://up.example/", "count": 8 })).await;
    assert_eq!(said.iter().filter(|s| *s == "200").count(), fondaco_runtime::CONNECTIONS, "{said:?}");
    assert_eq!(crowd.dialled.dialled.lock().unwrap().len(), fondaco_runtime::CONNECTIONS);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_go_out_up_to_their_limit() {
    let server = Server::start(ok("got it"), None).await;
    let setup = setup(grant(&["http://up.example"]), &server).await;
    for (bytes, expect) in
        [(1, "200 6 got it"), (4 << 20, "200 6 got it"), ((4 << 20) + 1, "Invalid(\"ErrorCode::HttpRequestBodySize")]
    {
        let task = json!({ "do": "fetch", "method": "POST", "url": "http://up.example/", "body_bytes": bytes });
        let said = ask(&setup.plugin, task).await;
        assert!(said[0].starts_with(expect), "{bytes}: {said:?}");
    }
    let sent = server.requests();
    assert_eq!(sent.len(), 2);
    assert!(sent[1].contains("content-length: 4194304\r\n") && sent[1].len() > 4 << 20, "whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_on_the_operators_network_needs_the_operators_word() {
    let server = Server::start(ok("inside"), None).await;
    let (name, port) = ("pay.lan", server.address.port());
    let lan = || Names::default().with(name, &[&["127.0.0.1"]]);
    let named = format!("http://{name}:{port}");
    let not_allowed = setup_with(grant(&[&named]), lan(), Some(server.address), None).await;
    let said = fetch(&not_allowed.plugin, &named).await;
    assert!(said.contains("DestinationIpProhibited"), "{said}");
    let allowed = HttpGrant { allow_private: vec![named.parse().unwrap()], ..grant(&[&named]) };
    let allowed = setup_with(allowed, lan(), Some(server.address), None).await;
    assert_eq!(fetch(&allowed.plugin, &named).await, "200 6 inside");
    let literal = format!("http://127.0.0.1:{port}");
    let written = setup_with(grant(&[&literal]), lan(), Some(server.address), None).await;
    assert_eq!(fetch(&written.plugin, &literal).await, "200 6 inside", "an address that was written down");
}
