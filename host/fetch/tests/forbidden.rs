//! A corpus of ways to say "somewhere inside", against three resolvers: no connection to a forbidden address is made.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails where it is wrong")]

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::{Names, PUBLIC, client};
use fondaco_fetch::{Error, Reach, Request, Terms, Url, class};

include!("common/corpus.rs");

fn terms() -> Terms {
    Terms { connect: Duration::from_millis(500), ..Terms::default() }
}

#[tokio::test]
async fn no_spelling_reaches_a_forbidden_address_whatever_the_resolver_says() {
    let spellings = corpus();
    let distinct: BTreeSet<&String> = spellings.iter().collect();
    assert!(distinct.len() >= 400, "{} spellings", distinct.len());
    let inside =
        ["10.0.0.1", "127.0.0.1", "169.254.169.254", "::1", "fd00:ec2::254", "::ffff:127.0.0.1", "64:ff9b::7f00:1"];
    let resolvers = [
        ("public", Names::default().with("*", &[&[PUBLIC]])),
        ("inside", Names::default().with("*", &inside.each_ref().map(std::slice::from_ref))),
        ("mixed and changing", {
            Names::default()
                .with("*", &[&[PUBLIC, "127.0.0.1"], &["169.254.169.254", PUBLIC], &[PUBLIC, "::1"], &[PUBLIC]])
        }),
    ];
    for (name, resolver) in resolvers {
        let (client, recorder, names) = client(resolver, None, Vec::new());
        let (mut no_url, mut forbidden, mut dialled) = (0, 0, 0);
        for text in &spellings {
            let Ok(url) = text.parse::<Url>() else {
                no_url += 1;
                continue;
            };
            match client.send(Request::get(url), terms()).await {
                Err(Error::Forbidden { .. }) => forbidden += 1,
                Err(Error::Connect { .. } | Error::Resolve { .. }) => dialled += 1,
                other => panic!("{name}: {text}: {other:?}"),
            }
        }
        let dials = recorder.dialled.lock().unwrap().clone();
        for address in &dials {
            assert_eq!(class(address.ip()), None, "{name}: {address} was dialled");
        }
        let asked = names.asked.load(std::sync::atomic::Ordering::SeqCst);
        assert_eq!(no_url + forbidden + dialled, spellings.len());
        assert!(
            no_url > 200 && forbidden > 60,
            "{name}: {no_url} are no address, {forbidden} were refused, {asked} looked up"
        );
        assert_eq!(dials.is_empty(), name == "inside", "{name}: {} dials", dials.len());
    }
}

#[tokio::test]
async fn a_thousand_flips_of_a_rebinding_resolver_leak_nothing() {
    let resolver = Names::default().with("rebind.example", &[&[PUBLIC], &["127.0.0.1"], &["169.254.169.254"]]);
    let (client, recorder, names) = client(resolver, None, Vec::new());
    for turn in 0..1_000 {
        let error = client.send(Request::get("https://rebind.example/".parse().unwrap()), terms()).await.unwrap_err();
        let expected = turn % 3 == 0;
        assert_eq!(matches!(error, Error::Connect { .. }), expected, "turn {turn}: {error:?}");
    }
    assert_eq!(names.asked.load(std::sync::atomic::Ordering::SeqCst), 1_000, "one look-up for each request");
    let dialled = recorder.dialled.lock().unwrap();
    assert!(dialled.len() == 334 && dialled.iter().all(|a| a.ip().to_string() == PUBLIC), "{} dials", dialled.len());
}

#[tokio::test]
async fn a_private_network_that_is_allowed_opens_no_metadata_service() {
    let resolver =
        Names::default().with("pay.lan", &[&["192.168.1.9"], &["169.254.169.254"], &["192.168.1.9", "fe80::1"]]);
    let (client, recorder, _) = client(resolver, None, Vec::new());
    let mut outcomes = Vec::new();
    for _ in 0..3 {
        let terms = Terms { reach: Reach::Private, ..terms() };
        let error = client.send(Request::get("https://pay.lan/".parse().unwrap()), terms).await.unwrap_err();
        outcomes.push(matches!(error, Error::Forbidden { .. }));
    }
    assert_eq!(outcomes, [false, true, true]);
    assert_eq!(*recorder.dialled.lock().unwrap(), ["192.168.1.9:443".parse().unwrap()]);
}

#[tokio::test]
async fn a_look_up_that_nobody_waits_for_still_holds_its_permit() {
    struct Slow;
    #[async_trait::async_trait]
    impl fondaco_fetch::Resolve for Slow {
        async fn resolve(&self, _: &str) -> std::io::Result<Vec<std::net::IpAddr>> {
            tokio::time::sleep(Duration::from_millis(300)).await;
            Ok(Vec::new())
        }
    }
    let options = fondaco_fetch::Options { resolver: std::sync::Arc::new(Slow), ..Default::default() };
    let client = fondaco_fetch::Client::new(options).unwrap();
    let permit = std::sync::Arc::new(());
    let terms = Terms { connect: Duration::from_millis(50), hold: Some(permit.clone()), ..Terms::default() };
    let error = client.send(Request::get("https://slow.example/".parse().unwrap()), terms).await.unwrap_err();
    assert!(matches!(error, Error::ConnectTimeout { resolving: true, .. }), "{error:?}");
    assert_eq!(std::sync::Arc::strong_count(&permit), 2, "the look-up goes on");
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(std::sync::Arc::strong_count(&permit), 1, "and has ended");
}
