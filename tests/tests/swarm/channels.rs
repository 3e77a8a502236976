//! Channels between whole nodes: what is published is at the followers' within seconds, whoever was down catches up, and a
//! mirror gives to others what its publisher no longer can.

use super::*;

use fondaco_net::{Answered, Config, Net, PeerId, Question};
use fondaco_schemas::{BlobHash, ChannelEntry, ChannelPage, FileInfo, FileRole, Release, ReleaseId, WorkId, WorkKind};
use fondaco_trust::KeyPair;
use fondaco_trust::release::release_id;

fn about(slug: &str, tags: &str) -> String {
    ABOUT.replace("machine-wars", slug).replace("creators", &format!("tags = [{tags}]\ncreators"))
}

fn channel_link(deployment: &Deployment) -> Result<String> {
    bundles::text(deployment.json(&["channel"])?.first().context("no channel")?, "link")
}

/// The slugs of the works that a node lists.
fn works(deployment: &Deployment) -> Result<Vec<String>> {
    let mut slugs = Vec::new();
    for work in deployment.json(&["works"])? {
        let id = bundles::text(&work, "work")?;
        slugs.push(id.rsplit('/').next().unwrap_or_default().to_owned());
    }
    slugs.sort();
    Ok(slugs)
}

/// Waits until something holds; answers how long that took.
fn until(what: &str, log: impl Fn() -> Result<String>, mut holds: impl FnMut() -> Result<bool>) -> Result<Duration> {
    let begin = Instant::now();
    while !holds()? {
        ensure!(begin.elapsed() < Duration::from_secs(30), "{what}: not within 30 s\n{}", log()?);
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(begin.elapsed())
}

#[test]
fn what_is_published_is_at_the_followers_within_seconds_and_whoever_was_down_catches_up() -> Result<()> {
    let (publisher, follower) = (node(LISTENS)?, node(LISTENS)?);
    publisher.publish(&about("first", ""), &[("one.txt", b"one")])?;
    let publishing = publisher.deployment.up()?;
    let following = follower.deployment.up()?;
    let link = channel_link(&publisher.deployment)?;
    ensure!(link.starts_with("fondaco:channel/") && link.contains("?p="), "{link}");
    let said = follower.deployment.json(&["follow", &link])?;
    ensure!(said.first().and_then(|s| s.get("new")).and_then(Value::as_u64) == Some(1), "{said:?}");
    assert_eq!(works(&follower.deployment)?, ["first"]);
    // Meshes are made with a heartbeat, once a second; only then is anything heard.
    std::thread::sleep(Duration::from_secs(5));
    publisher.publish(&about("second", ""), &[("one.txt", b"two")])?;
    let both = || Ok(works(&follower.deployment)? == ["first", "second"]);
    let took = until("the second work", || following.log(), both)?;
    ensure!(took < Duration::from_secs(10), "it took {took:?}: it was not heard of, but asked for");
    publisher.deployment.ok(&["unpublish", "first"])?;
    until("the withdrawal", || following.log(), || Ok(works(&follower.deployment)? == ["second"]))?;
    publisher.publish(&about("first", ""), &[("one.txt", b"one")])?;
    until("the work that is listed again", || following.log(), both)?;
    publisher.deployment.ok(&["unpublish", "first"])?;
    until("the second withdrawal", || following.log(), || Ok(works(&follower.deployment)? == ["second"]))?;

    // The follower is killed and misses some; the publisher is killed and counts on from where it was.
    following.kill()?;
    publisher.publish(&about("third", ""), &[("one.txt", b"three")])?;
    publishing.kill()?;
    let publishing = publisher.deployment.up()?;
    publisher.publish(&about("second", ""), &[("one.txt", b"two, mended")])?;
    let following = follower.deployment.up()?;
    // Its address is another one now.
    follower.deployment.ok(&["follow", &channel_link(&publisher.deployment)?])?;
    assert_eq!(works(&follower.deployment)?, ["second", "third"]);
    let release = |deployment: &Deployment| -> Result<Vec<String>> {
        deployment.json(&["works"])?.iter().map(|work| bundles::text(work, "release_id")).collect()
    };
    let (mut here, mut there) = (release(&follower.deployment)?, release(&publisher.deployment)?);
    here.sort();
    there.sort();
    assert_eq!(here, there, "the mended one is here");

    // A third knows the follower alone, and has the index from there though the publisher is gone.
    publishing.kill()?;
    let third = node("")?;
    let address = following.swarm.first().context("the follower does not listen")?;
    let (key, _) = link.split_once('?').context("no address")?;
    third.deployment.ok(&["follow", &format!("{key}?p={address}")])?;
    assert_eq!(works(&third.deployment)?, ["second", "third"]);
    third.deployment.ok(&["unfollow", key])?;
    ensure!(third.deployment.json(&["follow", "--list"])?.is_empty());
    assert_eq!(works(&third.deployment)?, ["second", "third"], "they stay");
    assert_eq!(following.stop()?, 0);
    Ok(())
}

#[test]
fn a_mirror_keeps_what_it_was_told_to_and_gives_it_when_the_publisher_is_gone() -> Result<()> {
    let (publisher, mirror, buyer) = (node(LISTENS)?, node(LISTENS)?, node("")?);
    let bytes = |n: u8| noise(400_000 + usize::from(n));
    for n in 1..=3 {
        publisher.publish(&about(&format!("jazz-{n}"), "\"jazz\""), &[("one.flac", &bytes(n))])?;
    }
    publisher.publish(&about("polka", "\"polka\""), &[("one.flac", &bytes(9))])?;
    let publishing = publisher.deployment.up()?;
    let mut mirroring = mirror.deployment.up()?;
    let link = channel_link(&publisher.deployment)?;
    mirror.deployment.ok(&["mirror", &link, "--tag", "jazz", "--quota", "1MiB"])?;
    let here = |wanted: u64| -> Result<bool> {
        let said = mirror.deployment.json(&["mirror", "--list"])?;
        let number = |name: &str| said.first().and_then(|s| s.get(name)).and_then(Value::as_u64);
        Ok(number("here") == Some(wanted) && number("wanted") == Some(wanted))
    };
    // Two of 400 kB are within 1 MiB: the newest.
    until("two works", || mirroring.log(), || here(2))?;
    assert_eq!(works(&mirror.deployment)?.len(), 4, "all are in the catalogue");
    // It goes on after it was killed.
    mirroring.kill()?;
    mirroring = mirror.deployment.up()?;
    // Of what is sold without a lock, a mirror has the rest.
    let (sold, cover) = (about("jazz-4", "\"jazz\"").replace("0.00 EUR", "3.00 EUR"), noise(1_000));
    publisher.publish(&sold, &[("one.flac", &bytes(4)), ("cover.jpg", &cover)])?;
    let listed = || Ok(works(&mirror.deployment)?.iter().any(|slug| slug == "jazz-4") && here(2)?);
    until("the newest work", || mirroring.log(), listed)?;
    let releases = publisher.deployment.json(&["works"])?;
    let release = |slug: &str| -> Result<String> {
        let fits = |work: &&Value| bundles::text(work, "work").is_ok_and(|id| id.ends_with(&format!("/{slug}")));
        bundles::text(releases.iter().find(fits).context("no such work")?, "release_id")
    };
    publishing.kill()?;
    let address = mirroring.swarm.first().context("the mirror does not listen")?;
    let out = buyer.path("out");
    let out = out.to_str().context("path")?;
    buyer.deployment.ok(&["get", &format!("fondaco:{}?p={address}", release("jazz-4")?), "--out", out])?;
    same(Path::new(out), "cover.jpg", &cover)?;
    ensure!(!Path::new(out).join("one.flac").exists(), "a mirror passed on what is sold");
    buyer.deployment.ok(&["get", &format!("fondaco:{}?p={address}", release("jazz-3")?), "--out", out])?;
    same(Path::new(out), "one.flac", &bytes(3))?;
    // What was never mirrored is not to be had here, nor is what was let go for the newer one announced.
    let polka = format!("fondaco:{}?p={address}", release("polka")?);
    ensure!(buyer.deployment.run(&["get", &polka, "--out", out])?.code == 5);
    let announcing = || -> Result<u64> {
        let peers = mirror.deployment.json(&["peers"])?;
        peers.first().and_then(|p| p.get("announcing")).and_then(Value::as_u64).context("no announcing")
    };
    // Two works, this node's own channel and the one that it follows.
    until("only what is here is announced", || mirroring.log(), || Ok(announcing()? == 4))?;
    mirror.deployment.ok(&["mirror", &link, "--remove"])?;
    ensure!(mirror.deployment.json(&["mirror", "--list"])?.is_empty());
    ensure!(mirror.deployment.json(&["follow", "--list"])?.len() == 1, "it is still followed");
    until("nothing is announced", || mirroring.log(), || Ok(announcing()? == 2))?;
    assert_eq!(mirroring.stop()?, 0);
    Ok(())
}

#[test]
fn what_is_sold_here_stays_so_whatever_another_publisher_gives_away() -> Result<()> {
    let (seller, mallory, taker) = (node(LISTENS)?, node(LISTENS)?, node("")?);
    let bytes = noise(300_000);
    seller.publish(&ABOUT.replace("0.00 EUR", "3.00 EUR"), &[("one.flac", &bytes)])?;
    // The very same file, for nothing.
    mallory.publish(ABOUT, &[("one.flac", &bytes)])?;
    let (selling, giving) = (seller.deployment.up()?, mallory.deployment.up()?);
    seller.deployment.ok(&["follow", &channel_link(&mallory.deployment)?])?;
    assert_eq!(works(&seller.deployment)?.len(), 2);
    let theirs = mallory.deployment.json(&["works"])?;
    let work = theirs.first().context("no work")?;
    let hash = work.pointer("/files/0/hash").and_then(Value::as_str).context("no hash")?.to_owned();
    let host = selling.url.trim_start_matches("http://");
    let answer = fondaco_tests::http::send(host, "GET", &format!("/files/{hash}/one.flac"), &[], b"")?;
    assert_eq!(answer.status, 403, "{}", answer.text());
    giving.kill()?;
    let address = selling.swarm.first().context("the seller does not listen")?;
    let link = format!("fondaco:{}?p={address}", bundles::text(work, "release_id")?);
    let out = taker.path("out");
    let output = taker.deployment.run(&["get", &link, "--out", out.to_str().context("path")?])?;
    ensure!(output.code == 5 && !out.join("one.flac").exists(), "{output:?}");
    ensure!(sent(&seller.deployment)? < 5_000, "more than the release was sent");
    assert_eq!(selling.stop()?, 0);
    Ok(())
}

#[test]
fn mistakes_with_channels_are_named() -> Result<()> {
    let one = node("")?;
    let check = |command: &[&str], code: i32, words: &str| -> Result<()> {
        let output = one.deployment.run(command)?;
        ensure!(output.code == code && output.stderr.contains(words), "{command:?}: {output:?}");
        Ok(())
    };
    let own = channel_link(&one.deployment)?;
    let stranger = "a".repeat(64);
    check(&["follow", &own], 2, "this node's own channel")?;
    check(&["mirror", &own], 2, "this node's own channel")?;
    check(&["follow", &format!("fondaco:{stranger}")], 2, "this one is to a work")?;
    check(&["follow", "abc"], 2, "64 hexadecimal digits")?;
    check(&["follow", &format!("fondaco:channel/{stranger}?p=/ip4/127.0.0.1/tcp/1")], 2, "/p2p/")?;
    check(&["get", &own], 2, "to a channel, not to a work")?;
    check(&["unfollow", &stranger], 4, "is not followed")?;
    check(&["mirror", &stranger, "--remove"], 4, "is not mirrored")?;
    check(&["mirror", &stranger, "--kind", "opera"], 2, "opera")?;
    let alone = Node::alone()?;
    let output = alone.deployment.run(&["follow", &stranger])?;
    ensure!(output.code == 5 && output.stderr.contains("enabled = true under [network]"), "{output:?}");
    Ok(())
}

/// A node that gives pages and releases as they were laid into it.
struct Publisher {
    pages: Vec<Vec<u8>>,
    releases: Vec<Vec<u8>>,
}

impl fondaco_net::Shelf for Publisher {
    fn envelope(&self, id: ReleaseId) -> fondaco_net::Future<'_, Option<Vec<u8>>> {
        Box::pin(std::future::ready(self.releases.iter().find(|r| release_id(r) == id).cloned()))
    }
    fn is_public(&self, _: BlobHash) -> fondaco_net::Future<'_, bool> {
        Box::pin(std::future::ready(false))
    }
    fn answer(&self, _: PeerId, question: Question, most_bytes: usize) -> fondaco_net::Future<'_, Answered> {
        let answer = match question {
            Question::Channel { .. } => fondaco_net::answer_pages(self.pages.clone(), most_bytes),
            Question::Releases(ids) => {
                let wanted = self.releases.iter().filter(|r| ids.contains(&release_id(r))).cloned().collect();
                fondaco_net::answer_releases(wanted, most_bytes)
            }
            _ => Answered::Nothing,
        };
        Box::pin(std::future::ready(answer))
    }
}

/// A signed work of one file that is nowhere.
fn signed(key: &KeyPair, slug: &str) -> Result<(ReleaseId, Vec<u8>)> {
    let file = FileInfo {
        path: "one.txt".into(),
        hash: BlobHash::new([5; 32]),
        size: 10,
        media_type: "text/plain".into(),
        role: FileRole::Preview,
        protection: None,
        title: None,
        duration_ms: None,
    };
    let release = Release {
        work: WorkId::new(key.public(), slug)?,
        sequence: 1,
        kind: WorkKind::Other,
        title: slug.into(),
        creators: vec!["Ada Example".into()],
        description: String::new(),
        language: None,
        tags: Vec::new(),
        license: None,
        credits: Vec::new(),
        published: "2026-01-01T00:00:00Z".into(),
        files: vec![file],
        offers: Vec::new(),
        metadata: "{}".into(),
        home: None,
    };
    Ok(fondaco_trust::release::sign_release(key, &release)?)
}

/// A page of one change: a work, or none where it was withdrawn.
fn page(key: &KeyPair, since: u64, number: u64, release: Option<ReleaseId>) -> Result<Vec<u8>> {
    let entry = ChannelEntry {
        number,
        slug: format!("work-{number}"),
        release: release.unwrap_or(ReleaseId::new([0; 32])),
        listed: release.is_some(),
        kind: WorkKind::Other,
        tags: Vec::new(),
        size: 10,
    };
    let (publisher, entries) = (key.public(), vec![entry]);
    let page = ChannelPage { publisher, sequence: 1 << 40, since, through: number, time: 1, entries };
    Ok(fondaco_trust::channel::sign_page(key, &page)?)
}

/// The works that a follower has of a channel that consists of these.
fn followed(key: &KeyPair, pages: Vec<Vec<u8>>, releases: Vec<Vec<u8>>) -> Result<Vec<String>> {
    let (runtime, folder) = (tokio::runtime::Runtime::new()?, tempfile::tempdir()?);
    let store = fondaco_store::Store::open(folder.path(), fondaco_store::Options::default())?;
    let config = Config { listen: vec![Config::listen_address("/ip4/127.0.0.1/tcp/0")?], ..Config::default() };
    let shelf = std::sync::Arc::new(Publisher { pages, releases });
    let net = runtime.block_on(Net::start(config, &KeyPair::generate()?, store, shelf))?;
    let address = runtime.block_on(net.addresses())?.pop().context("no address")?;
    let follower = node("")?;
    follower.deployment.ok(&["follow", &format!("fondaco:channel/{}?p={address}", key.public())])?;
    let works = works(&follower.deployment)?;
    runtime.block_on(net.stop());
    Ok(works)
}

#[test]
fn a_publisher_does_not_fill_a_follower_with_names() -> Result<()> {
    let key = KeyPair::generate()?;
    for (before, expected) in [(99_998, vec!["work-99999"]), (100_000, vec![])] {
        let (id, release) = signed(&key, &format!("work-{}", before + 1))?;
        let pages = vec![page(&key, 0, before, None)?, page(&key, before, before + 1, Some(id))?];
        assert_eq!(followed(&key, pages, vec![release])?, expected, "after {before} changes");
    }
    Ok(())
}

#[test]
fn an_index_names_works_of_its_publisher_and_of_nobody_else() -> Result<()> {
    let (key, other) = (KeyPair::generate()?, KeyPair::generate()?);
    let (own, own_release) = signed(&key, "work-1")?;
    let (foreign, foreign_release) = signed(&other, "work-2")?;
    let pages = vec![page(&key, 0, 1, Some(own))?, page(&key, 1, 2, Some(foreign))?];
    assert_eq!(followed(&key, pages, vec![own_release, foreign_release])?, ["work-1"]);
    Ok(())
}
