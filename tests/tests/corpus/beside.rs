//! Nothing that a plugin does makes another plugin, a download, a notification or /healthz fail: attackers of all kinds at
//! once, and meanwhile everything honest is asked for and must be answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use fondaco_tests::node::{Running, TestNode};
use fondaco_tests::visitor::Visitor;
use fondaco_tests::{bundles, http};
use serde_json::Value;

use crate::Outcome;
use crate::guests::{PAY, SHOP, choose, node};
use crate::market::FREE;

/// How long the attack goes on.
const SIEGE: Duration = Duration::from_secs(6);
/// The longest that anything honest may take on a machine with other things to do.
const PATIENCE: Duration = Duration::from_secs(12);

/// A node that has one file to give.
fn besieged(storefront: &str) -> Result<(TestNode, Running, String)> {
    let node = node()?;
    choose(&node, "storefront", &format!("\"{storefront}\""))?;
    node.deployment.publish(&node.work("free", FREE, &[("a.bin", &b"0123456789".repeat(50_000)[..])])?)?;
    let works = node.deployment.json(&["works"])?;
    let hash = works.first().and_then(|w| w.pointer("/files/0/hash")).and_then(Value::as_str).context("no file")?;
    let file = format!("/files/{hash}/a.bin");
    let running = node.deployment.up()?;
    Ok((node, running, file))
}

/// Attacks with these requests, over and over, each from a thread of its own, until it is told to stop.
fn attack(
    url: &str,
    requests: &[(&'static str, String, &'static [u8])],
    stop: &Arc<AtomicBool>,
    sent: &Arc<AtomicUsize>,
) -> Vec<std::thread::JoinHandle<()>> {
    let one = |(method, target, body): &(&'static str, String, &'static [u8])| {
        let (method, target, body) = (*method, target.clone(), *body);
        let (host, stop, sent) = (url.trim_start_matches("http://").to_owned(), stop.clone(), sent.clone());
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                // However it is answered.
                let _ = http::send(&host, method, &target, &[], body);
                sent.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    requests.iter().map(one).collect()
}

/// Asks for each of these until the time is over; each must be answered so, and soon.
fn ask(url: &str, honest: &[(&str, &str, u16, Option<&[u8]>)]) -> Result<(usize, Duration)> {
    let host = url.trim_start_matches("http://");
    let (until, mut asked, mut slowest) = (Instant::now() + SIEGE, 0, Duration::ZERO);
    while Instant::now() < until {
        for (method, target, status, body) in honest {
            let started = Instant::now();
            let answer = http::send(host, method, target, &[], b"")?;
            let took = started.elapsed();
            ensure!(answer.status == *status, "{target} answers {} and not {status}: {}", answer.status, answer.text());
            ensure!(body.is_none_or(|b| b == answer.body), "{target} answers something else");
            ensure!(took < PATIENCE, "{target} took {took:?}");
            slowest = slowest.max(took);
            asked += 1;
        }
    }
    Ok((asked, slowest))
}

fn siege(
    running: &Running,
    requests: &[(&'static str, String, &'static [u8])],
    honest: &[(&str, &str, u16, Option<&[u8]>)],
) -> Result<Outcome> {
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let attackers = attack(&running.url, requests, &stop, &sent);
    let outcome = ask(&running.url, honest);
    stop.store(true, Ordering::Relaxed);
    for attacker in attackers {
        let _ = attacker.join();
    }
    let (asked, slowest) = outcome.with_context(|| running.log().unwrap_or_default())?;
    let attacks = sent.load(Ordering::Relaxed);
    ensure!(attacks >= requests.len(), "only {attacks} attacks");
    Ok(Outcome::Harmless(format!(
        "all answered: {asked} honest requests beside {attacks} attacks, the slowest in {slowest:?}"
    )))
}

pub fn providers_beside_honest_ones() -> Result<Outcome> {
    let (node, running, file) = besieged("org.fondaco.storefront-shelf")?;
    let get = |target: &str| ("GET", target.to_owned(), &b""[..]);
    let post = |target: String, body: &'static [u8]| ("POST", target, body);
    let attacks = [
        get("/search?q=spin"),
        get("/search?q=panic"),
        get("/search?q=repeat"),
        get("/search?q=reenter"),
        get("/search?q=crowd"),
        get("/campaigns/spins"),
        get("/campaigns/lies"),
        post(format!("/webhooks/{PAY}"), b"do=spin"),
        post(format!("/webhooks/{PAY}"), b"do=panic"),
        post(format!("/webhooks/{PAY}"), b"payment=x&amount=1&reference=r"),
    ];
    let whole = b"0123456789".repeat(50_000);
    let honest: [(&str, &str, u16, Option<&[u8]>); 6] = [
        ("GET", "/healthz", 200, None),
        ("GET", &file, 200, Some(&whole)),
        ("GET", "/", 200, None),
        ("GET", "/search?q=free", 200, None),
        ("POST", "/webhooks/org.fondaco.pay-voucher", 503, None),
        ("GET", "/metrics", 200, None),
    ];
    let outcome = siege(&running, &attacks, &honest)?;
    // It sold nothing in the meantime, and sells now.
    let mut visitor = Visitor::new(&running.url);
    let works = node.deployment.json(&["works"])?;
    let id = bundles::text(works.first().context("no work")?, "work")?;
    visitor.buy(&id, None)?;
    ensure!(visitor.library()?.len() == 1, "the shop does not sell any more");
    assert_eq!(running.stop()?, 0);
    Ok(outcome)
}

pub fn storefront_beside_files() -> Result<Outcome> {
    let (node, running, file) = besieged(SHOP)?;
    let attacks: Vec<(&'static str, String, &'static [u8])> =
        ["/spin", "/spin", "/panic", "/endless-page", "/long-page", "/overrides", "/early"]
            .map(|path| ("GET", path.to_owned(), &b""[..]))
            .into();
    let whole = b"0123456789".repeat(50_000);
    let honest: [(&str, &str, u16, Option<&[u8]>); 4] = [
        ("GET", "/healthz", 200, None),
        ("GET", &file, 200, Some(&whole)),
        ("POST", "/webhooks/org.fondaco.pay-voucher", 503, None),
        ("GET", "/metrics", 200, None),
    ];
    let outcome = siege(&running, &attacks, &honest)?;
    // It is out of order for a while, and says so at once; the operator may start it anew.
    ensure!(
        Visitor::new(&running.url).get("/honest")?.status == 503,
        "a storefront that fails all the time is still asked"
    );
    node.deployment.ok(&["plugin", "disable", SHOP])?;
    node.deployment.ok(&["plugin", "enable", SHOP])?;
    ensure!(Visitor::new(&running.url).page("/honest")? == "/honest", "the storefront does not come back");
    assert_eq!(running.stop()?, 0);
    Ok(outcome)
}
