//! Whole nodes in one swarm: what one publishes, others fetch, pass on when the publisher is gone, and go on fetching after
//! a kill.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use fondaco_tests::node::{Deployment, Running, TestNode};
use fondaco_tests::visitor::Visitor;
use fondaco_tests::{bundles, html, http};
use serde_json::Value;
use tempfile::TempDir;

#[path = "swarm/channels.rs"]
mod channels;
#[path = "swarm/members.rs"]
mod members;
#[path = "swarm/named.rs"]
mod named;

const ABOUT: &str = "slug = \"machine-wars\"\nkind = \"album\"\ntitle = \"Machine Wars\"\ncreators = [\"Ada Example\"]\n\
                     license = \"CC-BY-4.0\"\n[[offers]]\nid = \"free\"\nprice = \"0.00 EUR\"\n";

/// A deployment without plugins, in a folder that goes away with it.
struct Node {
    folder: TempDir,
    deployment: Deployment,
}

impl Node {
    fn alone() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let deployment = Deployment::init(&folder.path().join("shop"), "Test Shop", "Works for tests")?;
        Ok(Self { folder, deployment })
    }

    /// A path beside the deployment.
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the folder of a work and publishes it.
    fn publish(&self, about: &str, files: &[(&str, &[u8])]) -> Result<Value> {
        let folder = self.path("work");
        for (name, bytes) in files {
            let file = folder.join(name);
            fs::create_dir_all(file.parent().unwrap_or(&folder))?;
            fs::write(file, bytes)?;
        }
        fs::write(folder.join("work.toml"), about)?;
        self.deployment.publish(&folder)
    }
}

/// Makes a deployment part of a swarm. `more` goes below `[network]`.
fn join(deployment: &Deployment, more: &str) -> Result<()> {
    let file = deployment.path().join("fondaco.toml");
    let network = format!("enabled = true\n{more}");
    Ok(fs::write(&file, fs::read_to_string(&file)?.replacen("enabled = false\n", &network, 1))?)
}

fn node(more: &str) -> Result<Node> {
    let node = Node::alone()?;
    join(&node.deployment, more)?;
    Ok(node)
}

const LISTENS: &str = "listen = [\"/ip4/127.0.0.1/tcp/0\", \"/ip4/127.0.0.1/udp/0/quic-v1\"]\n";

fn link(deployment: &Deployment) -> Result<String> {
    let works = deployment.json(&["works"])?;
    bundles::text(works.first().context("no works")?, "link")
}

/// Bytes that do not repeat.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn sent(deployment: &Deployment) -> Result<u64> {
    let peers = deployment.json(&["peers"])?;
    peers.first().and_then(|p| p.get("sent-bytes")).and_then(Value::as_u64).context("no sent-bytes")
}

fn same(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let file = folder.join(name);
    let found = fs::read(&file).with_context(|| file.display().to_string())?;
    ensure!(found == bytes, "{} is not what was published", file.display());
    Ok(())
}

#[test]
fn a_work_goes_from_node_to_node_and_on_when_its_publisher_is_gone() -> Result<()> {
    let (publisher, seeder, buyer) = (node(LISTENS)?, node(LISTENS)?, node("")?);
    let (one, two) = (noise(3_000_000), noise(17));
    let published = publisher.publish(ABOUT, &[("one.flac", &one), ("art/two.txt", &two)])?;
    let bare = bundles::text(&published, "link")?;
    ensure!(bare.starts_with("fondaco:") && !bare.contains('?'), "a node that is not up has no address: {bare}");

    let publishing = publisher.deployment.up()?;
    ensure!(publishing.swarm.len() == 2, "{:?}", publishing.swarm);
    let link_of_publisher = link(&publisher.deployment)?;
    for address in &publishing.swarm {
        ensure!(link_of_publisher.contains(address.as_str()), "{link_of_publisher} lacks {address}");
    }

    // The seeder is up, and fetches in the running node.
    let seeding = seeder.deployment.up()?;
    let said = seeder.deployment.json(&["seed", &link_of_publisher])?;
    let link_of_seeder = bundles::text(said.last().context("nothing said")?, "link")?;
    ensure!(link_of_seeder != link_of_publisher);
    let peers = seeder.deployment.json(&["peers"])?;
    ensure!(peers.len() >= 2, "{peers:?}");

    // The publisher is gone; the buyer is not up, and fetches in a process of its own.
    publishing.kill()?;
    let out = buyer.path("out");
    let out = out.to_str().context("path")?;
    buyer.deployment.ok(&["get", &link_of_seeder, "--out", out])?;
    same(Path::new(out), "one.flac", &one)?;
    same(Path::new(out), "art/two.txt", &two)?;
    let works = buyer.deployment.json(&["works"])?;
    let publisher_key = bundles::text(&published, "work")?;
    assert_eq!(bundles::text(works.first().context("no works")?, "work")?, publisher_key, "it stays its publisher's");
    buyer.deployment.ok(&["check", "--deep"])?;

    // It is here now, so nobody is needed for it any more.
    assert_eq!(seeding.stop()?, 0);
    buyer.deployment.ok(&["get", &link_of_seeder, "--out", out])?;
    Ok(())
}

#[test]
fn a_node_that_is_killed_goes_on_where_it_was() -> Result<()> {
    const SIZE: usize = 16 << 20;
    let publisher = node(&format!("{LISTENS}[network.limits]\nupload-rate = \"4MiB\"\n"))?;
    let buyer = node("")?;
    let bytes = noise(SIZE);
    publisher.publish(ABOUT, &[("one.flac", &bytes)])?;
    let publishing = publisher.deployment.up()?;
    let link = link(&publisher.deployment)?;
    let out = buyer.path("out");
    let out = out.to_str().context("path")?;

    let fetching = buyer.deployment.up()?;
    let mut client = buyer.deployment.command()?;
    let mut client = client.args(["get", &link, "--out", out]).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let begin = Instant::now();
    while sent(&publisher.deployment)? < 6 << 20 {
        ensure!(begin.elapsed() < Duration::from_secs(30), "nothing comes:\n{}", fetching.log()?);
        std::thread::sleep(Duration::from_millis(50));
    }
    fetching.kill()?;
    client.wait()?;
    ensure!(!Path::new(out).join("one.flac").exists(), "it was killed too late");

    let fetching = buyer.deployment.up()?;
    buyer.deployment.ok(&["get", &link, "--out", out])?;
    same(Path::new(out), "one.flac", &bytes)?;
    let sent = sent(&publisher.deployment)?;
    // What was on its way when the node was killed comes again: some units that were asked for ahead.
    ensure!(sent < (SIZE + (4 << 20)) as u64, "{sent} bytes were sent for {SIZE}");
    assert_eq!(fetching.stop()?, 0);
    assert_eq!(publishing.stop()?, 0);
    Ok(())
}

#[test]
fn mistakes_are_named() -> Result<()> {
    let alone = Node::alone()?;
    let id = "0".repeat(64);
    let check = |node: &Node, command: &[&str], code: i32, words: &str| -> Result<()> {
        let output = node.deployment.run(command)?;
        ensure!(output.code == code && output.stderr.contains(words), "{command:?}: {output:?}");
        assert_eq!(output.stderr.trim().lines().count(), 1, "{output:?}");
        Ok(())
    };
    check(&alone, &["peers"], 5, "enabled = true under [network]")?;
    check(&alone, &["get", &format!("fondaco:{id}")], 5, "enabled = true under [network]")?;
    let buyer = node("")?;
    check(&buyer, &["get", "fondaco:abc"], 2, "it must have 64 hexadecimal digits")?;
    check(&buyer, &["seed", "machine-wars"], 2, "its page's address")?;
    check(&buyer, &["get", &format!("fondaco:{id}?p=/ip4/127.0.0.1/tcp/1")], 2, "/p2p/")?;
    let nobody =
        format!("fondaco:{id}?p=/ip4/127.0.0.1/tcp/1/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA");
    check(&buyer, &["get", &nobody], 5, "Connection refused")?;
    let broken = node("listen = [\"/ip4/127.0.0.1/tcp/0/ws\"]\n")?;
    check(&broken, &["up", "--listen", "127.0.0.1:0"], 1, "/ip4/127.0.0.1/tcp/0/ws")?;
    let output = broken.deployment.run(&["check"])?;
    ensure!(output.code == 1 && output.stderr.contains("[network]"), "{output:?}");
    Ok(())
}

#[test]
fn what_is_sold_without_a_lock_is_not_passed_on() -> Result<()> {
    let (publisher, buyer) = (node(LISTENS)?, node("")?);
    let about = ABOUT.replace("0.00 EUR", "3.00 EUR");
    publisher.publish(&about, &[("one.flac", &noise(50_000))])?;
    let publishing: Running = publisher.deployment.up()?;
    let output = buyer.deployment.run(&["get", &link(&publisher.deployment)?])?;
    ensure!(output.code == 3 && output.stderr.contains("sold without a lock"), "{output:?}");
    ensure!(output.stderr.contains("; buy it at "), "{output:?}");
    // The release itself is for everybody, its file is not.
    ensure!(sent(&publisher.deployment)? < 5_000, "more than the release was sent");
    // A follower lists it, and does not take it for here: it would be announced.
    let following = buyer.deployment.up()?;
    let channel = publisher.deployment.json(&["channel"])?;
    let channel = bundles::text(channel.first().context("no channel")?, "link")?;
    buyer.deployment.ok(&["follow", &channel])?;
    assert_eq!(buyer.deployment.json(&["works"])?.len(), 1);
    let coming = fs::read_dir(buyer.deployment.path().join("data/coming"))?.count();
    assert_eq!(coming, 1, "a work is taken for here of which nothing is");
    assert_eq!((following.stop()?, publishing.stop()?), (0, 0));
    Ok(())
}

#[test]
fn of_a_work_that_is_sold_goes_on_what_is_for_everybody() -> Result<()> {
    let (publisher, seeder, buyer) = (node(LISTENS)?, node(LISTENS)?, node("")?);
    let (about, cover) = (ABOUT.replace("0.00 EUR", "3.00 EUR"), noise(20_000));
    publisher.publish(&about, &[("one.flac", &noise(500_000)), ("cover.jpg", &cover)])?;
    let publishing = publisher.deployment.up()?;
    let seeding = seeder.deployment.up()?;
    let said = seeder.deployment.json(&["seed", &link(&publisher.deployment)?])?;
    let link_of_seeder = bundles::text(said.last().context("nothing said")?, "link")?;
    ensure!(sent(&publisher.deployment)? < 30_000, "more than the cover was sent");
    let held = fs::read_dir(seeder.deployment.path().join("data/coming")).map_or(0, Iterator::count);
    ensure!(held == 0, "it waits for what never comes");
    publishing.kill()?;

    let out = buyer.path("out");
    let to = out.to_str().context("path")?;
    let said = buyer.deployment.run(&["get", &link_of_seeder, "--out", to])?;
    ensure!(said.code == 0 && said.stderr.contains("sold without a lock: one.flac; buy it at"), "{said:?}");
    same(&out, "cover.jpg", &cover)?;
    ensure!(!out.join("one.flac").exists(), "a file came that nobody delivers");
    let got = buyer.deployment.json(&["get", &link_of_seeder, "--out", to])?;
    ensure!(got.last().and_then(|g| g.get("left")) == Some(&serde_json::json!(["one.flac"])), "{got:?}");
    // It is kept, and no tidying takes it away.
    seeder.deployment.ok(&["gc", "--grace-hours", "0"])?;
    seeder.deployment.ok(&["check", "--deep"])?;
    buyer.deployment.ok(&["get", &link_of_seeder, "--out", to])?;
    assert_eq!(seeding.stop()?, 0);
    Ok(())
}

#[test]
fn the_ciphertext_of_a_sealed_work_is_for_everybody_and_its_sale_for_its_publisher() -> Result<()> {
    let with_plugins = |more: &str| -> Result<TestNode> {
        // Not copies of one folder: those would be one node twice.
        let node = TestNode::bare()?;
        for bundle in &node.bundles {
            node.deployment.install(&bundle.file)?;
        }
        join(&node.deployment, more)?;
        Ok(node)
    };
    let (publisher, mirror) = (with_plugins(LISTENS)?, with_plugins("")?);
    let about = ABOUT.replace("0.00 EUR\"\n", "3.00 EUR\"\n[offers.terms]\nscheme = \"org.fondaco.drm-sealed\"\n");
    let bytes = noise(200_000);
    let work = publisher.work("machine-wars", &about, &[("one.flac", &bytes)])?;
    let published = publisher.deployment.publish(&work)?;
    let publishing = publisher.deployment.up()?;
    let out = mirror.path("out");
    mirror.deployment.ok(&["get", &link(&publisher.deployment)?, "--out", out.to_str().context("path")?])?;
    let sealed = fs::read(out.join("one.flac.sealed"))?;
    ensure!(sealed.len() > bytes.len() && !sealed.windows(64).any(|w| w == &bytes[..64]), "it is not sealed");
    let work = bundles::text(&published, "work")?;
    // The mirror shows it, and does not sell it.
    let mirroring = mirror.deployment.up()?;
    let mut visitor = Visitor::new(&mirroring.url);
    ensure!(visitor.page(&format!("/works/{work}"))?.contains("Machine Wars"));
    let error = visitor.order(&work).err().context("a mirror took an order")?;
    ensure!(mirror.deployment.json(&["orders"])?.is_empty(), "{error}");
    // Nor by a form that stood at the publisher's, with a token of its own.
    let library = visitor.page("/library")?;
    let token = html::forms(&library).iter().find_map(|form| form.value("csrf").map(str::to_owned));
    let offer = Visitor::new(&publishing.url).offer(&work)?.filled(&[("csrf", token.context("no token")?.as_str())]);
    let answer = visitor.submit(&offer)?;
    ensure!(answer.status == 409, "{} {}", answer.status, answer.text());
    ensure!(mirror.deployment.json(&["orders"])?.is_empty(), "a mirror took an order");
    Visitor::new(&publishing.url).order(&work)?;
    assert_eq!((mirroring.stop()?, publishing.stop()?), (0, 0));
    Ok(())
}

/// The hash of a file of the first work.
fn hash_of(deployment: &Deployment, path: &str) -> Result<String> {
    let works = deployment.json(&["works"])?;
    let files = works.first().and_then(|w| w.get("files")).and_then(Value::as_array).context("no files")?;
    let file = files.iter().find(|f| f.get("path").and_then(Value::as_str) == Some(path)).context("no such file")?;
    bundles::text(file, "hash")
}

#[test]
fn a_file_that_is_not_here_is_streamed_to_whoever_asks_for_it() -> Result<()> {
    let publisher = node(&format!("{LISTENS}[network.limits]\nupload-rate = \"4MiB\"\n"))?;
    let shop = node("")?;
    let bytes = noise(12 << 20);
    publisher.publish(ABOUT, &[("one.flac", &bytes), ("two.txt", b"a small file")])?;
    let publishing = publisher.deployment.up()?;
    let link = link(&publisher.deployment)?;
    let shopping = shop.deployment.up()?;
    let said = shop.deployment.json(&["seed", "--lazy", &link])?;
    ensure!(said.last().and_then(|s| s.get("coming")) == Some(&Value::Bool(true)), "{said:?}");
    let host = shopping.url.trim_start_matches("http://").to_owned();
    let one = format!("/files/{}/one.flac", hash_of(&shop.deployment, "one.flac")?);
    let get = |target: &str, headers: &[(&str, &str)]| http::send(&host, "GET", target, headers, b"");

    // What it is and how long is known without it.
    let head = http::send(&host, "HEAD", &one, &[], b"")?;
    ensure!(head.status == 200 && head.header("content-length") == Some("12582912"), "{head:?}");
    let tag = head.header("etag").context("no tag")?.to_owned();
    ensure!(get(&one, &[("if-none-match", &tag)])?.status == 304, "it has it");
    ensure!(get(&one, &[("range", "bytes=12582912-")])?.status == 416, "there is no such byte");
    ensure!(sent(&publisher.deployment)? < 5_000, "something was fetched that nobody read");

    // All of it takes three seconds; its end does not.
    let begin = Instant::now();
    let end = get(&one, &[("range", "bytes=-1000"), ("if-range", &tag)])?;
    ensure!(end.status == 206 && bytes.ends_with(&end.body) && end.body.len() == 1000, "{}", end.status);
    ensure!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    let (first, second) = std::thread::scope(|scope| {
        let whole = scope.spawn(|| get(&one, &[]));
        let part = scope.spawn(|| get(&one, &[("range", "bytes=8000000-8999999")]));
        (whole.join(), part.join())
    });
    let (first, second) = (first.expect("no panic")?, second.expect("no panic")?);
    ensure!(first.status == 200 && first.body == bytes, "{}", first.status);
    ensure!(second.status == 206 && second.body == bytes[8_000_000..9_000_000], "{}", second.status);
    let two = get(&format!("/files/{}/two.txt", hash_of(&shop.deployment, "two.txt")?), &[])?;
    ensure!(two.body == b"a small file", "{}", two.status);
    // What visitors alone had brought is a cache, and nobody keeps it from being tidied away.
    let other = node("")?;
    let others = other.deployment.up()?;
    other.deployment.ok(&["seed", "--lazy", &link])?;
    let two = format!("/files/{}/two.txt", hash_of(&other.deployment, "two.txt")?);
    let got = http::send(others.url.trim_start_matches("http://"), "GET", &two, &[], b"")?;
    ensure!(got.body == b"a small file", "{}", got.status);
    assert_eq!(others.stop()?, 0);
    let tidied = other.deployment.json(&["gc", "--grace-hours", "0"])?;
    ensure!(tidied.last().and_then(|t| t.get("deleted")) == Some(&Value::from(1)), "{tidied:?}");

    // It is here now: the publisher is not needed, and the work is kept.
    publishing.kill()?;
    ensure!(get(&one, &[])?.body == bytes);
    shop.deployment.ok(&["seed", &link])?;
    shop.deployment.ok(&["gc", "--grace-hours", "0"])?;
    ensure!(get(&one, &[])?.body == bytes);
    assert_eq!(shopping.stop()?, 0);
    shop.deployment.ok(&["check", "--deep"])?;
    Ok(())
}

#[test]
fn what_visitors_stream_takes_no_more_than_its_room() -> Result<()> {
    let (publisher, shop) = (node(LISTENS)?, node("cache = \"5MiB\"\n")?);
    let files: Vec<(String, Vec<u8>)> = (0..4)
        .map(|n| (format!("{n}.flac"), noise(1_900_000 + n)))
        .chain([("large.flac".into(), noise(6 << 20))])
        .collect();
    publisher
        .publish(ABOUT, &files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect::<Vec<_>>())?;
    let publishing = publisher.deployment.up()?;
    let shopping = shop.deployment.up()?;
    shop.deployment.ok(&["seed", "--lazy", &link(&publisher.deployment)?])?;
    let host = shopping.url.trim_start_matches("http://");
    let get = |name: &str| -> Result<http::Answer> {
        http::send(host, "GET", &format!("/files/{}/{name}", hash_of(&shop.deployment, name)?), &[], b"")
    };
    // It can never have room.
    let large = get("large.flac")?;
    let log = shopping.log()?;
    ensure!(
        large.status == 503
            && log.contains("larger than all that visitors may read at once; raise cache of [network], which is 5MiB"),
        "{} {log}",
        large.status
    );
    for (name, bytes) in files.iter().take(2) {
        ensure!(get(name)?.body == *bytes, "{name}");
    }
    // The third has room once the first two are no longer fetched.
    let begin = Instant::now();
    let third = loop {
        match get("2.flac")? {
            third if third.status == 200 => break third,
            busy => ensure!(begin.elapsed() < Duration::from_mins(1), "{}", busy.text()),
        }
        std::thread::sleep(Duration::from_secs(1));
    };
    ensure!(third.body == files[2].1);
    // The first made room for it; the second is here still.
    let before = sent(&publisher.deployment)?;
    ensure!(get("1.flac")?.body == files[1].1 && sent(&publisher.deployment)? == before, "another went than the first");
    let status = shop.deployment.json(&["status"])?;
    let used = status.first().and_then(|s| s.get("bytes")).and_then(Value::as_u64).context("no bytes")?;
    ensure!((1_900_000..=5 << 20).contains(&used), "{used} bytes are stored");
    // Kept by the operator, all of it is here.
    shop.deployment.ok(&["seed", &link(&publisher.deployment)?])?;
    for (name, bytes) in &files {
        ensure!(get(name)?.body == *bytes, "{name}");
    }
    assert_eq!((shopping.stop()?, publishing.stop()?), (0, 0));
    Ok(())
}

#[test]
fn a_stream_whose_sources_are_gone_ends() -> Result<()> {
    let publisher = node(&format!("{LISTENS}[network.limits]\nupload-rate = \"2MiB\"\n"))?;
    let shop = node("")?;
    publisher.publish(ABOUT, &[("one.flac", &noise(12 << 20))])?;
    let publishing = publisher.deployment.up()?;
    let shopping = shop.deployment.up()?;
    shop.deployment.ok(&["seed", "--lazy", &link(&publisher.deployment)?])?;
    let host = shopping.url.trim_start_matches("http://").to_owned();
    let target = format!("/files/{}/one.flac", hash_of(&shop.deployment, "one.flac")?);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let client = scope.spawn(|| http::send(&host, "GET", &target, &[], b""));
        while sent(&publisher.deployment)? < 2 << 20 {
            ensure!(begin.elapsed() < Duration::from_secs(20), "nothing comes:\n{}", shopping.log()?);
            std::thread::sleep(Duration::from_millis(50));
        }
        publishing.kill()?;
        let error = client.join().expect("no panic").err().context("all of it came")?;
        ensure!(format!("{error:#}").contains("cut off after"), "{error:#}");
        Ok(())
    })?;
    ensure!(begin.elapsed() < Duration::from_secs(45), "it hung for {:?}", begin.elapsed());
    ensure!(shopping.log()?.contains("cut an answer short"), "{}", shopping.log()?);
    assert_eq!(shopping.stop()?, 0);
    Ok(())
}

#[test]
fn a_shop_is_a_web_seed_for_what_its_swarm_is_too_slow_for() -> Result<()> {
    let publisher = node(&format!("{LISTENS}[network.limits]\nupload-rate = \"64KiB\"\n"))?;
    let buyer = node("private-web-seeds = true\n")?;
    let (one, two) = (noise(4_000_000), noise(1000));
    publisher.publish(ABOUT, &[("disc 1/one.flac", &one), ("two.txt", &two)])?;
    let publishing = publisher.deployment.up()?;
    let shop = publishing.url.trim_end_matches('/').to_owned();
    let link = format!("{}&ws={shop}/files/%7Bhash%7D/%7Bpath%7D", link(&publisher.deployment)?);
    let out = buyer.path("out");
    let begin = Instant::now();
    let output = buyer.deployment.run(&["get", &link, "--out", out.to_str().context("path")?])?;
    ensure!(output.code == 0, "{output:?}");
    same(&out, "disc 1/one.flac", &one)?;
    same(&out, "two.txt", &two)?;
    // From the swarm alone it takes a minute.
    ensure!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
    ensure!(output.stderr.contains(&format!("  {shop}/files/{{hash}}/{{path}}: ")), "{}", output.stderr);
    // A file's tree is what proves it; of a file that is not here there is none.
    let host = shop.trim_start_matches("http://").to_owned();
    let tree = format!("/files/{}/one.flac.obao4", hash_of(&publisher.deployment, "disc 1/one.flac")?);
    let answer = http::send(&host, "GET", &tree, &[], b"")?;
    ensure!(answer.status == 200 && answer.body.len() == (4_000_000_usize.div_ceil(16 << 10) - 1) * 64, "{answer:?}");
    ensure!(http::send(&host, "HEAD", &tree, &[], b"")?.header("content-length") == Some("15616"));
    assert_eq!(publishing.stop()?, 0);
    Ok(())
}

#[test]
fn a_link_leads_no_request_into_ones_own_network() -> Result<()> {
    // Slowly, so that the shop would have something to do.
    let publisher = node(&format!("{LISTENS}[network.limits]\nupload-rate = \"64KiB\"\n"))?;
    let buyer = node("")?;
    let bytes = noise(300_000);
    publisher.publish(ABOUT, &[("one.flac", &bytes)])?;
    let publishing = publisher.deployment.up()?;
    let shop = publishing.url.trim_end_matches('/').to_owned();
    let link = format!("{}&ws={shop}/files/%7Bhash%7D/%7Bpath%7D", link(&publisher.deployment)?);
    let out = buyer.path("out");
    let output = buyer.deployment.run(&["get", &link, "--out", out.to_str().context("path")?])?;
    ensure!(output.code == 0, "{output:?}");
    same(&out, "one.flac", &bytes)?;
    let shops = format!("  {shop}/files/{{hash}}/{{path}}: ");
    let (_, said) = output.stderr.split_once(&shops).context("nothing is said of it")?;
    let said = said.lines().next().unwrap_or_default();
    ensure!(said.starts_with("0 bytes, ") && said.contains("loopback"), "{said}");
    assert_eq!(publishing.stop()?, 0);
    Ok(())
}

#[test]
fn a_private_network_lets_in_whom_its_operator_names() -> Result<()> {
    let club = node(&format!("{LISTENS}allow = [\"12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA\"]\n"))?;
    let stranger = node("")?;
    club.publish(ABOUT, &[("one.txt", b"for members")])?;
    let running = club.deployment.up()?;
    let out = stranger.path("out");
    let output = stranger.deployment.run(&["get", &link(&club.deployment)?, "--out", out.to_str().context("path")?])?;
    ensure!(output.code == 5 && !out.join("one.txt").exists(), "{output:?}");
    assert_eq!(running.stop()?, 0);
    Ok(())
}
