//! Works from elsewhere that are named by their release's id, or by the address of their page.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use fondaco_tests::{bundles, http};
use serde_json::Value;

use super::{ABOUT, LISTENS, Node, node, noise, same};

#[test]
fn a_work_is_fetched_by_its_releases_id_and_by_the_address_of_its_page() -> Result<()> {
    let publisher = node(LISTENS)?;
    let one = noise(300_000);
    let published = publisher.publish(ABOUT, &[("one.flac", &one)])?;
    let (release, work) = (bundles::text(&published, "release")?, bundles::text(&published, "work")?);
    let publishing = publisher.deployment.up()?;
    let known = publishing.swarm.first().context("it listens nowhere")?;
    let begin = Instant::now();
    // The work, and the channel that it is in.
    while publisher.deployment.json(&["peers"])?.first().and_then(|p| p.get("announcing")) != Some(&Value::from(2)) {
        ensure!(begin.elapsed() < Duration::from_secs(30), "nothing is announced");
        std::thread::sleep(Duration::from_millis(100));
    }
    let get = |node: &Node, what: &str, name: &str| -> Result<()> {
        let out = node.path(name);
        node.deployment.ok(&["get", what, "--out", out.to_str().context("path")?])?;
        same(&out, "one.flac", &one)
    };

    // The hash table leads from the id to who has it.
    let buyer = node(&format!("bootstrap = [\"{known}\"]\n"))?;
    get(&buyer, &release, "by-id")?;
    // Knowing nobody, the shop alone is asked, and says where its node is.
    let page = format!("{}/works/machine-wars?lang=fr", publishing.url);
    get(&node("")?, &page, "by-page")?;
    let seeder = node(LISTENS)?;
    let seeding = seeder.deployment.up()?;
    let said = seeder.deployment.json(&["seed", "--lazy", &format!("{}/works/{work}", publishing.url)])?;
    ensure!(said.last().and_then(|s| s.get("coming")) == Some(&Value::Bool(true)), "{said:?}");
    // Of a work that is still to come, the seeder's link says where from; its own page does, too.
    let answer = http::send(seeding.url.trim_start_matches("http://"), "GET", &format!("/-/works/{work}"), &[], b"")?;
    let told: Value = serde_json::from_slice(&answer.body)?;
    let places = bundles::text(&told, "link")?;
    ensure!(publishing.swarm.iter().chain(&seeding.swarm).all(|address| places.contains(address)), "{places}");
    get(&node("")?, &format!("{}/works/{work}", seeding.url), "by-way-of-another")?;

    // The seeder lists it, so that its slug is enough.
    get(&seeder, "machine-wars", "listed")?;
    // What is here is had without anybody, also by its name alone.
    assert_eq!((publishing.stop()?, seeding.stop()?), (0, 0));
    get(&buyer, &release, "again")?;
    get(&buyer, "machine-wars", "by-slug")?;
    Ok(())
}

#[test]
fn an_address_that_leads_to_no_work_is_told_apart() -> Result<()> {
    let (publisher, alone, buyer) = (node(LISTENS)?, Node::alone()?, node("")?);
    publisher.publish(ABOUT, &[("one.flac", b"a short one")])?;
    alone.publish(ABOUT, &[("one.flac", b"a short one")])?;
    let (publishing, aloof) = (publisher.deployment.up()?, alone.deployment.up()?);
    let check = |what: &str, code: i32, words: &str| -> Result<()> {
        let output = buyer.deployment.run(&["get", what])?;
        ensure!(output.code == code && output.stderr.contains(words), "{what}: {output:?}");
        assert_eq!(output.stderr.trim().lines().count(), 1, "{output:?}");
        Ok(())
    };
    check(&format!("{}/works/nothing", publishing.url), 4, "There is no such work here.")?;
    check(&format!("{}/", publishing.url), 2, "open its page in a browser")?;
    check(&format!("{}/works/machine-wars", aloof.url), 4, "This node is part of no swarm.")?;
    check(&"0".repeat(64), 5, "nobody gave release 0000")?;
    // The node of the page is believed to name a release of that work, and no other.
    let other = node(LISTENS)?;
    let published = other.publish(&ABOUT.replace("machine-wars", "other"), &[("one.flac", b"another")])?;
    let sharing = other.deployment.up()?;
    let forged = http::send(sharing.url.trim_start_matches("http://"), "GET", "/-/works/other", &[], b"")?.text();
    let work = bundles::text(&published, "work")?.replace("other", "machine-wars");
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let page = format!("http://{}/works/{work}", listener.local_addr()?);
    let serving = std::thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        let _ = stream.read(&mut [0; 4096])?;
        stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{forged}", forged.len()).as_bytes())
    });
    check(&page, 3, "its node gave a link to")?;
    serving.join().expect("no panic")?;
    assert_eq!(sharing.stop()?, 0);
    // Nobody but its members could follow a private network's.
    let closed = node(&format!("{LISTENS}allow = [\"12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA\"]\n"))?;
    closed.publish(ABOUT, &[("one.flac", b"a short one")])?;
    let closing = closed.deployment.up()?;
    check(&format!("{}/works/machine-wars", closing.url), 4, "The network of this node is private.")?;
    assert_eq!(closing.stop()?, 0);
    // Servers that are no nodes.
    for (answer, code, words) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", 1, "does not answer as a node does"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{\"link\":\"http\"}", 1, "does not answer as a node does"),
        ("HTTP/1.1 301 Moved\r\nlocation: https://a.example/works/x\r\n\r\n", 5, "leads to https://a.example/works/x"),
        ("HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n", 5, "answers 500"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n", 5, "65536"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let page = format!("http://{}/works/x", listener.local_addr()?);
        let serving = std::thread::spawn(move || -> std::io::Result<()> {
            let (mut stream, _) = listener.accept()?;
            let _ = stream.read(&mut [0; 4096])?;
            stream.write_all(answer.as_bytes())
        });
        check(&page, code, words).with_context(|| answer.to_owned())?;
        serving.join().expect("no panic")?;
    }
    assert_eq!((publishing.stop()?, aloof.stop()?), (0, 0));
    Ok(())
}
