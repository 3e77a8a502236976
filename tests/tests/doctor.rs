//! What an operator is told about the node's place in the swarm: `fondaco net doctor`, `/metrics`, and who shares a work.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use fondaco_tests::bundles;
use fondaco_tests::http;
use fondaco_tests::node::Deployment;
use serde_json::Value;

const ABOUT: &str = "slug = \"machine-wars\"\nkind = \"album\"\ntitle = \"Machine Wars\"\ncreators = [\"Ada Example\"]\n\
                     license = \"CC-BY-4.0\"\n[[offers]]\nid = \"free\"\nprice = \"0.00 EUR\"\n";

fn node(folder: &std::path::Path, name: &str, network: &str) -> Result<Deployment> {
    let deployment = Deployment::init(&folder.join(name), "Test Shop", "Works for tests")?;
    let file = deployment.path().join("fondaco.toml");
    let text = fs::read_to_string(&file)?.replacen("enabled = false\n", &format!("enabled = true\n{network}"), 1);
    fs::write(&file, text)?;
    Ok(deployment)
}

/// What was found of something, and how grave it is.
fn found<'a>(findings: &'a [Value], what: &str) -> Result<(&'a str, &'a str)> {
    let one = findings.iter().find(|f| f.get("what").and_then(Value::as_str) == Some(what));
    let text =
        |key| one.and_then(|f| f.get(key)).and_then(Value::as_str).with_context(|| format!("{what}: {findings:?}"));
    Ok((text("grade")?, text("found")?))
}

#[test]
fn an_operator_sees_whether_others_reach_the_node_and_who_shares_a_work() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let listens = "listen = [\"/ip4/127.0.0.1/tcp/0\"]\n";
    let hub = node(folder.path(), "hub", listens)?;
    let work = folder.path().join("work");
    fs::create_dir(&work)?;
    fs::write(work.join("one.flac"), vec![7; 300_000])?;
    fs::write(work.join("work.toml"), ABOUT)?;
    hub.publish(&work)?;
    let running = hub.up()?;
    let address = running.swarm.first().context("no address")?;

    // By itself: nobody is there, and the exit code says that something does not work.
    let alone = node(folder.path(), "alone", listens)?;
    let said = alone.run(&["--json", "net", "doctor", "--wait", "100ms"])?;
    assert_eq!(said.code, 1, "{}", said.stderr);
    let findings: Vec<Value> = said.stdout.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    assert_eq!(found(&findings, "peers")?.0, "bad");
    let words = alone.run(&["net", "doctor", "--wait", "100ms"])?;
    ensure!(words.stdout.contains("-> name a node to begin with: bootstrap = ["), "{}", words.stdout);

    // A running node that another one tests.
    let buyer = node(folder.path(), "buyer", &format!("{listens}bootstrap = [\"{address}\"]\n"))?;
    let buying = buyer.up()?;
    let findings = buyer.json(&["net", "doctor"])?;
    assert_eq!(found(&findings, "reached")?, ("good", "others reach this node directly"));
    ensure!(found(&findings, "address")?.1.contains("a peer dialled it"), "{findings:?}");
    ensure!(found(&findings, "clock")?.1.contains("s from the middle one of 1 peers"), "{findings:?}");
    assert_eq!(found(&findings, "local network")?.1, "the search of the local network (mDNS) is off");

    let link = bundles::text(hub.json(&["works"])?.first().context("no works")?, "link")?;
    buyer.json(&["seed", &link])?;
    let work = bundles::text(buyer.json(&["works"])?.first().context("no works")?, "work")?;
    let shared = buyer.json(&["peers", "--work", &work])?;
    let of = |peer: &str, key: &str| {
        let one = shared.iter().find(|s| s.get("peer").and_then(Value::as_str).is_some_and(|p| peer.ends_with(p)));
        one.and_then(|s| s.get(key)).cloned().with_context(|| format!("{key} of {peer}: {shared:?}"))
    };
    assert_eq!(of(address, "received-bytes")?, 300_000);
    assert_eq!(of(address, "sent-bytes")?, 0);
    let hubs = hub.json(&["peers", "--work", "machine-wars"])?;
    let sent = hubs.first().and_then(|s| s.get("sent-bytes")).and_then(Value::as_u64).context("no sent-bytes")?;
    ensure!(sent >= 300_000, "{hubs:?}");
    // The same as a page, whose address is the right to see it.
    let page = bundles::text(shared.first().context("nothing said")?, "page")?;
    let target = page.strip_prefix(&buying.url).context("it is not this node's")?;
    let buyers = buying.url.trim_start_matches("http://");
    let seen = http::send(buyers, "GET", target, &[("accept", "text/html")], &[])?;
    ensure!(seen.status == 200 && seen.text().contains("292.9 KiB came"), "{} {}", seen.status, seen.text());
    let id = address.rsplit('/').next().context("no id")?;
    ensure!(seen.text().contains(id) && seen.header("cache-control") == Some("no-store"), "{}", seen.text());
    let (way, proof) = target.split_once('?').context("no proof")?;
    let later = proof.replacen("x=1", "x=2", 1);
    for wrong in [way.to_owned(), format!("{way}?{later}"), format!("{}?{proof}", way.replace("swarm/", "swarm//"))] {
        let refused = http::send(buyers, "GET", &wrong, &[("accept", "text/html")], &[])?;
        ensure!(refused.status == 403 && !refused.text().contains(id), "{wrong}: {}", refused.text());
    }

    let host = buying.url.trim_start_matches("http://");
    let metrics = http::send(host, "GET", "/metrics", &[], &[])?.text();
    for line in ["fondaco_swarm_received_bytes_total 300000", "fondaco_swarm_fetches_total{state=\"done\"} 1"] {
        ensure!(metrics.lines().any(|l| l == line), "{line} is not in\n{metrics}");
    }
    ensure!(metrics.contains("fondaco_swarm_connections{direction=\"outbound\",transport=\"tcp\",relayed=\"false\"} "));
    assert_eq!((buying.stop()?, running.stop()?), (0, 0));

    // Who is part of no swarm is told so.
    let off = Deployment::init(&folder.path().join("off"), "Test Shop", "Works for tests")?;
    let said = off.run(&["net", "doctor"])?;
    assert_eq!(said.code, 5, "{}", said.stderr);
    ensure!(said.stderr.contains("enabled = true under [network]"), "{}", said.stderr);
    Ok(())
}
