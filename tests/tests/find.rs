//! Whole nodes that find works at each other, buy at one what another carries, and sign for what was delivered.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use fondaco_net::{Answered, Config, Multiaddr, Net, PeerId, Question, Search, Shelf};
use fondaco_tests::bundles;
use fondaco_tests::node::{Deployment, TestNode};
use fondaco_tests::visitor::Visitor;
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
    let folder = tempfile::tempdir()?;
    let store = fondaco_store::Store::open(folder.path(), fondaco_store::Options::default())?;
    let key = fondaco_trust::KeyPair::generate()?;
    let net = Net::start(Config::default(), &key, store, std::sync::Arc::new(Stranger)).await?;
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
