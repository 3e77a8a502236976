//! What was bought stays with its buyer: as it was bought, whatever becomes of the work, of the browser's library and of the
//! page on which a payment's answer stood.

use anyhow::{Context as _, Result, ensure};
use fondaco_tests::node::{Running, TestNode};
use fondaco_tests::visitor::Visitor;
use fondaco_tests::{bundles, html, http};

/// A work of one file that is sold without a lock.
fn about(slug: &str) -> String {
    format!(
        "slug = \"{slug}\"\nkind = \"album\"\ntitle = \"{slug}\"\nlicense = \"CC-BY-4.0\"\n\
         [[offers]]\nid = \"buy\"\nprice = \"3.00 EUR\"\n"
    )
}

/// Publishes it; gives the work's id.
fn publish(node: &TestNode, slug: &str, file: &str, bytes: &[u8]) -> Result<String> {
    let folder = node.path(&format!("{slug}-{file}"));
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(file), bytes)?;
    std::fs::write(folder.join("work.toml"), about(slug))?;
    bundles::text(&node.deployment.publish(&folder)?, "work")
}

fn buyer(node: &TestNode, running: &Running, work: &str) -> Result<Visitor> {
    let mut buyer = Visitor::new(&running.url);
    let code = node.deployment.vouchers("3.00 EUR", 1)?.remove(0);
    buyer.buy(work, Some(&code))?;
    Ok(buyer)
}

fn names(visitor: &mut Visitor) -> Result<Vec<String>> {
    let mut names: Vec<String> = visitor.library()?.into_iter().map(|download| download.name).collect();
    names.sort();
    Ok(names)
}

#[test]
fn a_work_is_fetched_as_it_was_bought_whatever_became_of_it() -> Result<()> {
    let node = TestNode::new()?;
    let work = publish(&node, "song", "song.mp3", b"la la la")?;
    let running = node.deployment.up()?;
    let mut buyer = buyer(&node, &running, &work)?;
    let bytes = |buyer: &mut Visitor| -> Result<Vec<u8>> {
        let files = buyer.library()?;
        let [file] = files.as_slice() else { anyhow::bail!("{files:?}") };
        ensure!(file.name == "song.mp3", "{file:?}");
        buyer.download(&file.address)
    };
    assert_eq!(bytes(&mut buyer)?, b"la la la");
    publish(&node, "song", "another.mp3", b"lo lo lo")?;
    assert_eq!(bytes(&mut buyer)?, b"la la la", "a new release has other files");
    node.deployment.ok(&["unpublish", "song"])?;
    assert_eq!(bytes(&mut buyer)?, b"la la la", "the work is listed no more");
    // It is this buyer's alone.
    ensure!(Visitor::new(&running.url).library()?.is_empty());
    assert_eq!(running.stop()?, 0);
    Ok(())
}

#[test]
fn a_library_that_is_brought_along_hides_nothing_that_was_bought_here() -> Result<()> {
    let node = TestNode::new()?;
    let (first, second) = (publish(&node, "one", "one.mp3", b"one")?, publish(&node, "two", "two.mp3", b"two")?);
    let running = node.deployment.up()?;
    let (mut old, mut new) = (buyer(&node, &running, &first)?, buyer(&node, &running, &second)?);
    let (old_key, new_key) = (node.path("old.key"), node.path("new.key"));
    old.save_key(&old_key)?;
    new.save_key(&new_key)?;
    let page = new.page("/library")?;
    let restore = html::forms(&page).into_iter().find(|form| form.action == "/-/restore").context("no such form")?;
    let answer = new.submit(&restore.filled(&[("key", std::fs::read_to_string(&old_key)?.as_str())]))?;
    ensure!(answer.status == 200, "{}", answer.status);
    assert_eq!(names(&mut new)?, ["one.mp3", "two.mp3"]);
    for download in new.library()? {
        ensure!(new.download(&download.address)? == download.name.as_bytes()[..3], "{download:?}");
    }
    // Its own key is still to be had, since something hangs on it.
    let again = node.path("again.key");
    new.save_key(&again)?;
    assert_eq!(std::fs::read(&again)?, std::fs::read(&new_key)?);
    // The other browser has what it had.
    assert_eq!(names(&mut old)?, ["one.mp3"]);
    assert_eq!(running.stop()?, 0);
    Ok(())
}

#[test]
fn change_is_shown_again_to_its_buyer_and_to_nobody_else() -> Result<()> {
    let node = TestNode::new()?;
    let work = publish(&node, "song", "song.mp3", b"la la la")?;
    let running = node.deployment.up()?;
    let mut buyer = Visitor::new(&running.url);
    let code = node.deployment.vouchers("10.00 EUR", 1)?.remove(0);
    buyer.buy(&work, Some(&code))?;
    let orders = node.deployment.json(&["orders"])?;
    let path = format!("/orders/{}", bundles::text(orders.first().context("no order")?, "id")?);
    let shown = |visitor: &mut Visitor| -> Result<String> {
        let page = visitor.page(&path)?;
        let pay =
            html::forms(&page).into_iter().find(|form| form.action.ends_with("/pay")).context("no way back to it")?;
        Ok(visitor.submit(&pay)?.text())
    };
    let (once, twice) = (shown(&mut buyer)?, shown(&mut buyer)?);
    let change = |page: &str| -> Option<String> {
        let at = page.find("FDV1-")?;
        Some(page.get(at..)?.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect())
    };
    let rest = change(&once).context("no change is shown")?;
    ensure!(rest != code && change(&twice).as_ref() == Some(&rest), "it is the same each time");
    let stranger = Visitor::new(&running.url).get(&path)?;
    ensure!(stranger.status != 200 && !stranger.text().contains("FDV1-"), "{}", stranger.status);
    // It is worth what is left, once.
    let again = publish(&node, "other", "other.mp3", b"lo lo lo")?;
    Visitor::new(&running.url).buy(&again, Some(&rest))?;
    ensure!(Visitor::new(&running.url).buy(&again, Some(&rest)).is_err(), "change was good twice");
    assert_eq!(running.stop()?, 0);
    Ok(())
}

#[test]
fn no_script_takes_a_librarys_key() -> Result<()> {
    let node = TestNode::new()?;
    let work = publish(&node, "song", "song.mp3", b"la la la")?;
    let running = node.deployment.up()?;
    let buyer = buyer(&node, &running, &work)?;
    let cookie = buyer.cookie.clone().context("no cookie")?;
    let host = running.url.trim_start_matches("http://");
    let page = http::send(host, "GET", "/library", &[("cookie", &cookie)], b"")?.text();
    let form = html::forms(&page).into_iter().find(|form| form.action == "/-/library-key").context("no such form")?;
    let body = format!("csrf={}", form.value("csrf").context("no token")?);
    let ask = |mode: &str, to: &str| {
        let said = [("cookie", cookie.as_str()), ("sec-fetch-site", "same-origin"), ("sec-fetch-mode", mode)];
        let kind = [("sec-fetch-dest", to), ("content-type", "application/x-www-form-urlencoded")];
        http::send(host, "POST", "/-/library-key", &[said.as_slice(), kind.as_slice()].concat(), body.as_bytes())
    };
    assert_eq!(ask("navigate", "document")?.status, 200, "a person's button");
    for (mode, to) in [("cors", "empty"), ("same-origin", "empty"), ("navigate", "iframe")] {
        let refused = ask(mode, to)?;
        ensure!(
            refused.status == 403 && refused.text().contains("press the button"),
            "{mode} {to}: {}",
            refused.text()
        );
    }
    assert_eq!(running.stop()?, 0);
    Ok(())
}

/// Does something to the log of a node that does not run.
fn in_the_log<T>(
    node: &TestNode,
    act: impl AsyncFnOnce(&fondaco_ledger::Ledger) -> Result<T, fondaco_ledger::Error>,
) -> Result<T> {
    let file = node.deployment.path().join("data/ledger.db");
    tokio::runtime::Runtime::new()?.block_on(async {
        let options = fondaco_ledger::Options::new(std::sync::Arc::new(|_| Vec::new()));
        let ledger = fondaco_ledger::Ledger::open(file, options)?;
        let done = act(&ledger).await;
        ledger.close().await;
        anyhow::Ok(done?)
    })
}

#[test]
fn what_is_sold_is_had_by_an_address_of_the_nodes_own_in_its_time_and_while_the_right_holds() -> Result<()> {
    let node = TestNode::new()?;
    let work = publish(&node, "song", "song.mp3", b"la la la")?;
    let running = node.deployment.up()?;
    let mut buyer = buyer(&node, &running, &work)?;
    let address = buyer.library()?.first().context("nothing was bought")?.address.clone();
    let (path, proof) = address.split_once('?').context("no proof")?;
    let status =
        |running: &Running, address: &str| -> Result<u16> { Ok(Visitor::new(&running.url).get(address)?.status) };
    assert_eq!(status(&running, &address)?, 200);
    let later = proof.replacen("x=1", "x=2", 1);
    ensure!(later != proof, "the test changes what is there: {proof}");
    for wrong in [path.to_owned(), format!("{path}?{later}")] {
        assert_eq!(status(&running, &wrong)?, 403, "{wrong}");
    }

    // An address as the node makes it, whose time is over.
    let keys = node.deployment.path().join("data/keys/node.pem");
    let keys = fondaco_market::NodeKeys::new(fondaco_trust::KeyPair::load(&keys)?);
    let right = proof.split('&').find_map(|pair| pair.strip_prefix("e=")).context("no right")?.to_owned();
    let hash = path.split('/').nth(2).context("no hash")?;
    let made = |expires: i64| {
        let tag = keys.tag("delivery", format!("{right} {expires} {hash}").as_bytes());
        format!("{path}?e={right}&x={expires}&t={}", data_encoding::BASE64URL_NOPAD.encode(&tag))
    };
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    assert_eq!(status(&running, &made(now + 600))?, 200, "the test makes addresses as the node does");
    assert_eq!(status(&running, &made(now - 1))?, 403, "its time is over");
    assert_eq!(running.stop()?, 0);

    // A right that the shop has taken back.
    let id: fondaco_schemas::EntitlementId = right.parse()?;
    let at = time::OffsetDateTime::now_utc();
    in_the_log(&node, async |log| log.end_entitlement(&id, fondaco_ledger::Ending::Revoked, "a test", at).await)?;
    let running = node.deployment.up()?;
    assert_eq!(status(&running, &made(now + 600))?, 403, "the right does not hold any more");
    assert_eq!(running.stop()?, 0);
    Ok(())
}

#[test]
fn what_was_free_once_is_not_free_for_good() -> Result<()> {
    let node = TestNode::bare()?;
    let publish = |price: &str| -> Result<()> {
        let about = format!(
            "slug = \"song\"\nkind = \"track\"\ntitle = \"Song\"\nlicense = \"CC0-1.0\"\n\
             [[offers]]\nid = \"get\"\nprice = \"{price}\"\n"
        );
        node.deployment.publish(&node.work("song", &about, &[("song.mp3", b"la la la")])?).map(drop)
    };
    publish("0 EUR")?;
    let works = node.deployment.json(&["works"])?;
    let hash = works.first().and_then(|w| w.pointer("/files/0/hash")).and_then(|h| h.as_str()).context("no hash")?;
    let target = format!("/files/{hash}/song.mp3");
    let running = node.deployment.up()?;
    let host = running.url.trim_start_matches("http://");
    assert_eq!(http::send(host, "GET", &target, &[], b"")?.status, 200);
    publish("3 EUR")?;
    assert_eq!(
        http::send(host, "GET", &target, &[], b"")?.status,
        403,
        "the release that was free is not the current one"
    );
    assert_eq!(running.stop()?, 0);
    Ok(())
}

#[test]
fn an_order_that_was_called_off_takes_no_voucher() -> Result<()> {
    let node = TestNode::new()?;
    let work = publish(&node, "song", "song.mp3", b"la la la")?;
    let running = node.deployment.up()?;
    let mut buyer = Visitor::new(&running.url);
    let code = node.deployment.vouchers("3.00 EUR", 1)?.remove(0);
    let order = buyer.order(&work)?;
    // The gateway is chosen and asks for its code: from here on it knows of the payment.
    let is_voucher = |form: &html::Form| form.value("gateway") == Some("org.fondaco.pay-voucher");
    let choice = html::forms(&order).into_iter().find(is_voucher).context("no voucher")?;
    let asks = buyer.submit(&choice)?.text();
    let form = html::forms(&asks).into_iter().find(|f| is_voucher(f) && f.value("code").is_some());
    let form = form.context("no code is asked for")?.filled(&[("code", code.as_str())]);
    let orders = node.deployment.json(&["orders"])?;
    let id: fondaco_schemas::OrderId = bundles::text(orders.first().context("no order")?, "id")?.parse()?;
    assert_eq!(running.stop()?, 0);
    let at = time::OffsetDateTime::now_utc();
    in_the_log(&node, async |log| log.cancel_order(&id, at).await)?;
    let running = node.deployment.up()?;
    buyer.moved_to(&running.url);
    let answer = buyer.submit(&form)?;
    ensure!(answer.status == 403, "{} {}", answer.status, answer.text());
    // The code is as good as before.
    Visitor::new(&running.url).buy(&work, Some(&code))?;
    assert_eq!(running.stop()?, 0);
    Ok(())
}
