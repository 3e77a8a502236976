//! Whole nodes that find works at each other, buy at one what another carries, and sign for what was delivered.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use fondaco_net::{Answered, Config, Multiaddr, Net, PeerId, Question, Search, Shelf};
use fondaco_schemas::{Receipt, ReleaseId};
use fondaco_tests::bundles;
use fondaco_tests::node::{Deployment, TestNode};
use fondaco_tests::visitor::Visitor;
use fondaco_trust::{KeyPair, sign_receipt};
use serde_json::Value;

const LISTENS: &str = "listen = [\"/ip4/127.0.0.1/tcp/0\"]\n";
const SEALED: &str = "[offers.terms]\nscheme = \"org.fondaco.drm-sealed\"\n";

fn about(slug: &str, title: &str, price: &str) -> String {
    format!(
        "slug = \"{slug}\"\nkind = \"album\"\ntitle = \"{title}\"\ncreators = [\"Ada Example\"]\n\
         [[offers]]\nid = \"buy\"\nprice = \"{price}\"\n"
    )
}

/// A deployment of a node of its own, with some of the plugins. `more` goes below `[network]`.
fn node(plugins: &[&str], more: &str) -> Result<TestNode> {
    let node = TestNode::bare()?;
    for name in plugins {
        node.deployment.install(&node.bundle(name)?.file)?;
    }
    edit(&node.deployment, "enabled = false\n", &format!("enabled = true\n{more}"))?;
    Ok(node)
}

fn edit(deployment: &Deployment, from: &str, to: &str) -> Result<()> {
    let file = deployment.path().join("fondaco.toml");
    let text = fs::read_to_string(&file)?;
    ensure!(text.contains(from), "{from:?} is not in {}", file.display());
    Ok(fs::write(&file, text.replacen(from, to, 1))?)
}

fn until<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let begin = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        ensure!(begin.elapsed() < Duration::from_secs(40), "{what} does not come");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn field<'a>(values: &'a [Value], name: &str, is: &str) -> Option<&'a Value> {
    values.iter().find(|v| v.get(name).and_then(Value::as_str) == Some(is))
}

/// A stranger in the swarm, with nothing to give.
struct Stranger;
impl Shelf for Stranger {
    fn envelope(&self, _: fondaco_schemas::ReleaseId) -> fondaco_net::Future<'_, Option<Vec<u8>>> {
        Box::pin(std::future::ready(None))
    }
    fn is_public(&self, _: fondaco_schemas::BlobHash) -> fondaco_net::Future<'_, bool> {
        Box::pin(std::future::ready(false))
    }
}

/// Asks a node for more than it answers, and sends it receipts of nobody; gives how often it was answered.
async fn flood(at: &str) -> Result<u32> {
    let (net, _folder) = stranger().await?;
    let (peer, address): (PeerId, Multiaddr) = Config::peer_address(at)?;
    let mut found = 0;
    for n in 0..2000_u32 {
        let mut id = [9; 16];
        id.iter_mut().zip(n.to_le_bytes()).for_each(|(to, from)| *to = from);
        let search = Search {
            id: id.into(),
            hops: 1,
            wait_ms: u32::MAX,
            limit: u32::MAX,
            text: "owl ".repeat(200),
            kinds: Vec::new(),
            tags: Vec::new(),
            language: None,
            max_price: None,
            drm_free: false,
        };
        let question = match n % 3 {
            0 => Question::Receipts(vec![vec![7; 400].into(); 32]),
            _ => Question::Search(search),
        };
        match net.ask(peer, vec![address.clone()], &question, 256 << 10).await {
            Ok(Answered::Found(_)) => found += 1,
            Ok(_) => {}
            // It has had enough of us.
            Err(_) if n > 50 => break,
            Err(error) => return Err(error.into()),
        }
    }
    net.stop().await;
    Ok(found)
}

#[test]
fn a_search_goes_to_other_nodes_and_those_behind_them() -> Result<()> {
    let full = node(&["search-index"], LISTENS)?;
    let work = full.work("owls", &about("owls", "Owls of the City", "0.00 EUR"), &[("one.flac", b"hoot")])?;
    full.deployment.publish(&work)?;
    let at_full = full.deployment.up()?;
    let bootstrap = format!("bootstrap = [\"{}\"]\n", at_full.swarm.first().context("no address")?);

    let leaf = node(&["search-index"], &format!("role = \"leaf\"\n{bootstrap}"))?;
    edit(&leaf.deployment, "[brand]\n", "[brand]\nbase-url = \"https://leaf.example\"\n")?;
    let work =
        leaf.work("barn-owls", &about("barn-owls", "Owls of the Barn", "3.00 EUR"), &[("one.flac", b"screech")])?;
    let published = leaf.deployment.publish(&work)?;
    let at_leaf = leaf.deployment.up()?;

    let asker = node(&["search-index", "storefront-shelf"], &bootstrap)?;
    let at_asker = asker.deployment.up()?;
    let barn = bundles::text(&published, "work")?;
    let found = until("the work of the leaf", || {
        let found = asker.deployment.json(&["search", "--peers", "owls"])?;
        Ok(field(&found, "work", &barn).is_some().then_some(found))
    })?;
    // The leaf was not asked, and cannot be: the full node answered for it.
    let one = field(&found, "work", &barn).context("gone")?;
    let full_id = at_full.swarm.first().and_then(|a| a.rsplit('/').next()).context("no id")?;
    assert_eq!(bundles::text(one, "via")?, full_id);
    assert_eq!(bundles::text(one, "shop")?, format!("https://leaf.example/works/{barn}"));
    ensure!(bundles::text(one, "link")?.starts_with("fondaco:"), "{one}");
    ensure!(found.iter().any(|v| v.get("title").and_then(Value::as_str) == Some("Owls of the City")), "{found:?}");
    ensure!(field(&found, "peer", full_id).is_some(), "nothing was said of the peer: {found:?}");
    // It is found, and not here.
    ensure!(asker.deployment.json(&["works"])?.is_empty());
    ensure!(asker.deployment.json(&["search", "owls"])?.is_empty(), "without --peers nobody is asked");

    let mut visitor = Visitor::new(&at_asker.url);
    let page = visitor.page("/search?q=owls")?;
    let (_, others) = page.split_once("From other nodes").context("no section for others")?;
    ensure!(others.contains("Owls of the Barn") && others.contains("leaf.example"), "{others}");
    ensure!(visitor.page("/search?q=owls&lang=fr")?.contains("Chez d’autres nœuds"));
    asker.deployment.ok(&["plugin", "grant", "org.fondaco.storefront-shelf", "peers", "--revoke"])?;
    until("the page without others", || {
        Ok((!visitor.page("/search?q=owls")?.contains("From other nodes")).then_some(()))
    })?;

    // Nobody's flood takes the node's memory, or its time from others.
    let address = at_full.swarm.first().context("no address")?.clone();
    let before = at_full.resident_bytes()?;
    let answered = tokio::runtime::Runtime::new()?.block_on(flood(&address))?;
    ensure!(answered < 200, "{answered} searches of one stranger were answered");
    let grown = at_full.resident_bytes()?.saturating_sub(before);
    ensure!(grown < 24 << 20, "the flood took {grown} bytes");
    // The leaf, which the stranger's questions were passed on to, has had enough for a moment.
    until("the work of the leaf, again", || {
        let found = asker.deployment.json(&["search", "--peers", "owls"])?;
        Ok(field(&found, "work", &barn).is_some().then_some(()))
    })?;
    ensure!(!at_full.log()?.contains("owl owl"), "words of a search are in the log");

    // An operator may answer nobody.
    assert_eq!(at_full.stop()?, 0);
    edit(&full.deployment, LISTENS, &format!("{LISTENS}search = {{ answers = false }}\n"))?;
    let at_full = full.deployment.up()?;
    let other = node(&["search-index"], &format!("bootstrap = [\"{}\"]\n", at_full.swarm.first().context("none")?))?;
    let found = other.deployment.json(&["search", "--peers", "owls"])?;
    ensure!(found.iter().all(|v| v.get("work").is_none()), "{found:?}");
    let output = other.deployment.run(&["search", "--peers"])?;
    ensure!(output.code == 2 && output.stderr.contains("say what to look for"), "{output:?}");
    assert_eq!((at_asker.stop()?, at_leaf.stop()?, at_full.stop()?), (0, 0, 0));
    Ok(())
}

/// A port that was free a moment ago.
fn port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn receipts(deployment: &Deployment) -> Result<Vec<Value>> {
    deployment.json(&["receipts"])
}

#[test]
fn what_is_bought_at_one_node_comes_from_another_and_is_signed_for() -> Result<()> {
    let listen = format!("listen = [\"/ip4/127.0.0.1/tcp/{}\"]\n", port()?);
    let seller = node(&["storefront-shelf", "pay-voucher", "drm-sealed"], &listen)?;
    edit(&seller.deployment, "[brand]\n", "[brand]\nbase-url = \"https://seller.example\"\n")?;
    let bytes: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let text = format!("{}{SEALED}", about("owls", "Owls", "3.00 EUR"));
    let work = seller.work("owls", &text, &[("one.flac", &bytes)])?;
    let id = bundles::text(&seller.deployment.publish(&work)?, "work")?;
    let at_seller = seller.deployment.up()?;
    let at = at_seller.swarm.first().context("no address")?.clone();
    let link = bundles::text(seller.deployment.json(&["works"])?.first().context("no work")?, "link")?;

    let gives = "receipts = { give = true }\n";
    let seeder = node(&["storefront-shelf"], &format!("{LISTENS}{gives}"))?;
    let at_seeder = seeder.deployment.up()?;
    let said = seeder.deployment.json(&["seed", &link])?;
    let link = bundles::text(said.last().context("nothing said")?, "link")?;
    let first = until("the seeder's receipt", || Ok(receipts(&seller.deployment)?.pop()))?;
    let sealed = first.get("bytes").and_then(Value::as_u64).context("no bytes")?;
    ensure!(first.get("own") == Some(&Value::Bool(true)) && sealed > bytes.len() as u64, "{first}");
    // The mirror shows the work, and leads to where it is sold.
    let page = Visitor::new(&at_seeder.url).page(&format!("/works/{id}"))?;
    ensure!(page.contains(&format!("https://seller.example/works/{id}")) && !page.contains("/buy\""), "{page}");

    // The seller's shop stays open, and its swarm is gone.
    assert_eq!(at_seller.stop()?, 0);
    edit(&seller.deployment, "enabled = true\n", "enabled = false\n")?;
    let at_seller = seller.deployment.up()?;
    let buyer = node(&["drm-sealed"], &format!("{gives}bootstrap = [\"{at}\"]\n"))?;
    let out = buyer.path("out");
    let output = buyer.deployment.run(&["get", &link, "--out", out.to_str().context("path")?])?;
    ensure!(output.code == 0, "{output:?}");
    ensure!(output.stderr.contains(&format!("buy it at https://seller.example/works/{id}")), "{output:?}");
    let file = out.join("one.flac.sealed");
    let open = |more: &[&str]| {
        let mut all = vec!["open", file.to_str().unwrap_or_default()];
        all.extend_from_slice(more);
        buyer.deployment.run(&all)
    };
    let output = open(&[])?;
    ensure!(output.code == 4 && output.stderr.contains("the shop that sold it"), "{output:?}");

    let codes = seller.deployment.vouchers("3.00 EUR", 1)?;
    let mut visitor = Visitor::new(&at_seller.listen);
    visitor.buy(&id, Some(codes.first().context("no voucher")?))?;
    let bought = visitor.library()?;
    let licence = bought.first().and_then(|d| d.licence.clone()).context("no licence")?;
    fs::write(out.join("one.flac.licence"), visitor.download(&licence)?)?;
    let key = out.join("library.key");
    visitor.save_key(&key)?;
    let output = open(&["--key", key.to_str().context("path")?])?;
    ensure!(output.code == 0, "{output:?}");
    ensure!(fs::read(out.join("one.flac"))? == bytes, "it is not what was published");

    // The seeder has its receipt; the seller's waits until its swarm is back.
    let own = receipts(&seeder.deployment)?;
    ensure!(
        own.iter().any(|r| r.get("own") == Some(&Value::Bool(true)) && r.get("bytes") == Some(&sealed.into())),
        "{own:?}"
    );
    let outbox = buyer.deployment.path().join("data/receipts");
    let waiting = letters(&outbox)?;
    ensure!(waiting.len() == 1, "{waiting:?}");
    assert_eq!(at_seller.stop()?, 0);
    edit(&seller.deployment, "enabled = false\n", "enabled = true\n")?;
    let at_seller = seller.deployment.up()?;
    let at_buyer = buyer.deployment.up()?;
    until("the buyer's receipt", || {
        let gone = letters(&outbox)?.is_empty();
        Ok((gone && receipts(&seller.deployment)?.len() == 2).then_some(()))
    })?;
    let counted = receipts(&seller.deployment)?;
    ensure!(counted.iter().all(|r| r.get("bytes") == Some(&sealed.into())), "{counted:?}");
    // Killed before it knew that it was heard, the buyer sends the same again, and nothing counts twice.
    at_buyer.kill()?;
    for (name, letter) in &waiting {
        fs::write(outbox.join(name), letter)?;
    }
    let at_buyer = buyer.deployment.up()?;
    until("the same receipt again", || Ok(letters(&outbox)?.is_empty().then_some(())))?;
    assert_eq!(receipts(&seller.deployment)?, counted);
    assert_eq!((at_buyer.stop()?, at_seeder.stop()?, at_seller.stop()?), (0, 0, 0));
    Ok(())
}

fn letters(outbox: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(outbox)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "json") {
            let name = path.file_name().context("a name")?.to_string_lossy().into_owned();
            found.push((name, fs::read(&path)?));
        }
    }
    Ok(found)
}

async fn stranger() -> Result<(Net, tempfile::TempDir)> {
    let folder = tempfile::tempdir()?;
    let store = fondaco_store::Store::open(folder.path(), fondaco_store::Options::default())?;
    let key = KeyPair::generate()?;
    Ok((Net::start(Config::default(), &key, store, std::sync::Arc::new(Stranger)).await?, folder))
}

/// Asks for owls: the how manieth question, and how far it may go.
async fn search(net: &Net, at: &str, number: u8, hops: u8) -> Result<Answered> {
    let (peer, address) = Config::peer_address(at)?;
    let search = Search {
        id: [number; 16].into(),
        hops,
        wait_ms: 300,
        limit: 20,
        text: "owls".into(),
        kinds: Vec::new(),
        tags: Vec::new(),
        language: None,
        max_price: None,
        drm_free: false,
    };
    Ok(net.ask(peer, vec![address], &Question::Search(search), 256 << 10).await?)
}

#[test]
fn a_stranger_searches_within_bounds() -> Result<()> {
    let full = node(&["search-index"], LISTENS)?;
    let work = full.work("owls", &about("owls", "Owls of the City", "0.00 EUR"), &[("one.flac", b"hoot")])?;
    full.deployment.publish(&work)?;
    let running = full.deployment.up()?;
    let at = running.swarm.first().context("no address")?.clone();
    tokio::runtime::Runtime::new()?.block_on(async {
        let (net, _folder) = stranger().await?;
        let mut number = 1;
        // The index is fed soon after the start.
        while !matches!(search(&net, &at, number, 0).await?, Answered::Found(found) if found.works.len() == 1) {
            ensure!(number < 15, "nothing is found");
            number += 1;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let again = search(&net, &at, number, 0).await?;
        ensure!(matches!(&again, Answered::Found(found) if found.works.is_empty()), "it comes round: {again:?}");
        let far = search(&net, &at, 100, 2).await?;
        ensure!(matches!(far, Answered::Busy(_)), "two steps: {far:?}");
        // As many as any question may be asked at once; of searches, fewer.
        let (other, _others) = stranger().await?;
        let (begin, mut answered) = (Instant::now(), 0.0);
        for number in 101..131 {
            answered += f64::from(u8::from(matches!(search(&other, &at, number, 0).await?, Answered::Found(_))));
        }
        ensure!(answered >= 20.0, "{answered} of thirty were answered");
        ensure!(answered <= 21.0 + 2.0 * begin.elapsed().as_secs_f64(), "{answered} of thirty were answered");
        anyhow::Ok(())
    })?;
    assert_eq!(running.stop()?, 0);
    Ok(())
}

async fn send(net: &Net, at: &str, receipts: Vec<Vec<u8>>) -> Result<Answered> {
    let (peer, address) = Config::peer_address(at)?;
    let question = Question::Receipts(receipts.into_iter().map(Into::into).collect());
    Ok(net.ask(peer, vec![address], &question, 4096).await?)
}

#[test]
fn a_receipt_counts_where_it_is_signed_of_this_month_of_ours_and_of_another_node() -> Result<()> {
    let (seller, other) = (node(&[], LISTENS)?, node(&[], LISTENS)?);
    let mut releases = Vec::<ReleaseId>::new();
    for (here, slug, byte) in [(&seller, "owls", 1_u8), (&other, "bats", 2)] {
        let bytes = vec![byte; 1000];
        let work = here.work(slug, &about(slug, slug, "0.00 EUR"), &[("one.flac", &bytes)])?;
        here.deployment.publish(&work)?;
        let works = here.deployment.json(&["works"])?;
        releases.push(bundles::text(works.first().context("no work")?, "release_id")?.parse()?);
    }
    let [ours, theirs] = releases[..] else { unreachable!() };
    let (at_seller, at_other) = (seller.deployment.up()?, other.deployment.up()?);
    let works = other.deployment.json(&["works"])?;
    seller.deployment.ok(&["seed", &bundles::text(works.first().context("no work")?, "link")?])?;

    let (me, seeder) = (KeyPair::generate()?, KeyPair::generate()?.public());
    let (now, day) = (SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(), 24 * 3600);
    let good = Receipt { release: ours, seeder, bytes: 100, at: now, nonce: [1; 16].into() };
    // Each of a downloader of its own, so that no sum stands in the way of any.
    let signed = |receipt: Receipt| -> Result<Vec<u8>> { Ok(sign_receipt(&KeyPair::generate()?, &receipt)?) };
    let mut forged = signed(good.clone())?;
    *forged.last_mut().context("it is empty")? ^= 1;
    let receipts_of_all = vec![
        signed(good.clone())?,
        forged,
        signed(Receipt { at: now - 40 * day, ..good.clone() })?,
        signed(Receipt { at: now + 2 * day, ..good.clone() })?,
        sign_receipt(&me, &Receipt { seeder: me.public(), ..good.clone() })?,
        signed(Receipt { release: theirs, ..good })?,
    ];
    let at = at_seller.swarm.first().context("no address")?.clone();
    let answer = tokio::runtime::Runtime::new()?.block_on(async {
        let (net, _folder) = stranger().await?;
        send(&net, &at, receipts_of_all).await
    })?;
    ensure!(matches!(&answer, Answered::Receipts(had) if had.len() == 6), "{answer:?}");
    let counted = receipts(&seller.deployment)?;
    let [one] = counted.as_slice() else { anyhow::bail!("{counted:?}") };
    assert_eq!(bundles::text(one, "release")?, ours.to_string());
    ensure!(one.get("receipts") == Some(&1.into()) && one.get("bytes") == Some(&100.into()), "{one}");
    assert_eq!((at_seller.stop()?, at_other.stop()?), (0, 0));
    Ok(())
}

/// Of so many questions of a stranger with 32 receipts each, those that were taken.
async fn taken(at: &str, questions: usize) -> Result<usize> {
    let (net, _folder) = stranger().await?;
    let mut taken = 0;
    for _ in 0..questions {
        taken += usize::from(matches!(send(&net, at, vec![vec![7; 400]; 32]).await?, Answered::Receipts(_)));
    }
    net.stop().await;
    Ok(taken)
}

#[test]
fn receipts_of_one_and_of_all_are_looked_at_so_often() -> Result<()> {
    let node = node(&[], LISTENS)?;
    let running = node.deployment.up()?;
    let at = running.swarm.first().context("no address")?.clone();
    tokio::runtime::Runtime::new()?.block_on(async {
        let (net, _folder) = stranger().await?;
        for wrong in [vec![vec![7; 400]; 33], vec![vec![7; 513]]] {
            let answer = send(&net, &at, wrong).await?;
            ensure!(matches!(answer, Answered::Busy(_)), "{answer:?}");
        }
        ensure!(taken(&at, 10).await? == 8, "256 at once");
        // Eight more are 2,048, and eight times 32 were taken already. The rest comes back at 20 a second.
        let mut all = 0;
        for _ in 0..8 {
            all += taken(&at, 8).await?;
        }
        ensure!((56..64).contains(&all), "{all} times 32 of eight strangers");
        anyhow::Ok(())
    })?;
    assert_eq!(running.stop()?, 0);
    Ok(())
}
