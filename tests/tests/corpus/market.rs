//! What attackers answer to visitors, buyers and publishers, in a whole node.

use anyhow::{Context as _, Result, bail, ensure};
use fondaco_tests::html::{self, Form};
use fondaco_tests::http;
use fondaco_tests::node::{Running, TestNode};
use fondaco_tests::visitor::Visitor;
use fondaco_tests::{bundles, node::Deployment};

use crate::Outcome;
use crate::guests::{DRM, PAY, SEARCH, choose, node};

pub const FREE: &str = "slug = \"free\"\nkind = \"other\"\ntitle = \"Free\"\nlicense = \"CC0-1.0\"\n[[offers]]\nid = \"get\"\nprice = \"0 EUR\"\n";

fn priced(slug: &str, title: &str, scheme: Option<&str>) -> String {
    let terms = scheme.map_or_else(String::new, |id| format!("[offers.terms]\nscheme = \"{id}\"\n"));
    format!(
        "slug = \"{slug}\"\nkind = \"track\"\ntitle = \"{title}\"\nlicense = \"CC0-1.0\"\n[[offers]]\nid = \"buy\"\nprice = \"3 EUR\"\n{terms}"
    )
}

fn works(deployment: &Deployment) -> Result<Vec<String>> {
    deployment.json(&["works"])?.iter().map(|w| bundles::text(w, "work")).collect()
}

fn only_work(node: &TestNode) -> Result<String> {
    works(&node.deployment)?.into_iter().next().context("nothing is published")
}

// Search.

/// The page that a search gives where the attacker is the only provider and one work is real.
fn searched(text: &str) -> Result<(String, (TestNode, Running))> {
    let node = node()?;
    choose(&node, "search", &format!("[\"{SEARCH}\"]"))?;
    node.deployment.publish(&node.work("free", FREE, &[("a.txt", b"text")])?)?;
    let running = node.deployment.up()?;
    let page = Visitor::new(&running.url).page(&format!("/search?q={text}"))?;
    Ok((page, (node, running)))
}

/// Links to works in what was found, each with its title.
fn found(page: &str) -> Vec<(String, String)> {
    html::links(page).into_iter().filter(|(to, _)| to.starts_with("/works/")).collect()
}

pub fn forged_hits() -> Result<Outcome> {
    let (page, (_node, running)) = searched("forged")?;
    let links = found(&page);
    ensure!(!links.is_empty() && links.iter().all(|(_, title)| title.contains("Free")), "{links:?}");
    ensure!(!page.contains("<script>") && !page.contains("forged-work"), "what was forged is shown");
    ensure!(running.log()?.contains("a search provider named a work that is not here"), "{}", running.log()?);
    Ok(Outcome::Harmless(format!("{} links, only the real work", links.len())))
}

pub fn scores_that_are_no_numbers() -> Result<Outcome> {
    let (page, _running) = searched("nan")?;
    ensure!(!found(&page).is_empty(), "the real work is gone");
    for wrong in ["NaN", "inf", "\u{221e}"] {
        ensure!(!html::words(&page).split(' ').any(|w| w.eq_ignore_ascii_case(wrong)), "{wrong} is shown");
    }
    Ok(Outcome::Harmless("every score is a number".into()))
}

pub fn repeated_hits() -> Result<Outcome> {
    let (page, _running) = searched("repeat")?;
    let hits = page
        .split("<ol class=\"hits\">")
        .nth(1)
        .and_then(|l| l.split("</ol>").next())
        .with_context(|| format!("no hits in {page}"))?;
    let titles = hits.matches("<li class=\"hit\"").count();
    ensure!(titles == 1, "{titles} times: {hits}");
    Ok(Outcome::Harmless("once".into()))
}

fn placements(text: &str) -> Result<usize> {
    let (page, _running) = searched(text)?;
    ensure!(!page.contains("<script>alert"), "a script got through");
    let Some((_, slots)) = page.split_once("class=\"slots\"") else { return Ok(0) };
    Ok(slots.split("</aside>").next().unwrap_or_default().matches("<li").count())
}

fn none_or(n: usize) -> String {
    if n == 0 { "no paid place".into() } else { format!("{n} paid places") }
}

pub fn unlabelled_placements() -> Result<Outcome> {
    Ok(Outcome::Harmless(none_or(placements("unlabelled")?)))
}

pub fn forged_placements() -> Result<Outcome> {
    Ok(Outcome::Harmless(none_or(placements("forged")?)))
}

pub fn crowd_of_placements() -> Result<Outcome> {
    Ok(Outcome::Harmless(none_or(placements("crowd")?)))
}

pub fn search_that_calls_itself() -> Result<Outcome> {
    let (_, (_node, running)) = searched("reenter")?;
    let log = running.log()?;
    ensure!(log.contains("in a row"), "nothing stopped it:\n{log}");
    Ok(Outcome::Harmless("the page answers 200".into()))
}

// Sales.

/// A shop with works of these titles, whose only gateway lies.
struct Shop {
    node: TestNode,
    running: Running,
}

impl Shop {
    fn open(titles: &[&str]) -> Result<Self> {
        let node = node()?;
        for (n, title) in titles.iter().enumerate() {
            let slug = format!("work-{n}");
            let file = title.as_bytes();
            node.deployment.publish(&node.work(&slug, &priced(&slug, title, None), &[("a.mp3", file)])?)?;
        }
        let running = node.deployment.up()?;
        Ok(Self { node, running })
    }

    fn work(&self, n: usize) -> Result<String> {
        let slug = format!("work-{n}");
        works(&self.node.deployment)?.into_iter().find(|w| w.ends_with(&slug)).context(slug)
    }

    /// Orders the work of a number and pays with the attacker.
    fn pay(&self, visitor: &mut Visitor, n: usize) -> Result<http::Answer> {
        let order = visitor.order(&self.work(n)?)?;
        let form = gateway(&order, PAY).context("the attacker's gateway is not offered")?;
        visitor.submit(&form)
    }

    fn outcome(&self, visitor: &mut Visitor) -> Result<Outcome> {
        let library = visitor.library()?;
        let orders = self.node.deployment.json(&["orders"])?;
        let states: Vec<String> = orders.iter().map(|o| bundles::text(o, "state")).collect::<Result<_>>()?;
        if library.is_empty() {
            ensure!(states.iter().all(|s| s != "paid" && s != "fulfilled"), "no right, and yet {states:?}");
            return Ok(Outcome::Harmless(format!("nothing granted, orders {states:?}")));
        }
        Ok(Outcome::Harmless(format!("granted, orders {states:?}")))
    }
}

fn gateway(page: &str, id: &str) -> Option<Form> {
    html::forms(page).into_iter().find(|f| f.value("gateway") == Some(id))
}

/// Pays as the work's title says.
fn paid(title: &str) -> Result<Outcome> {
    let shop = Shop::open(&[title])?;
    let mut visitor = Visitor::new(&shop.running.url);
    shop.pay(&mut visitor, 0)?;
    let outcome = shop.outcome(&mut visitor)?;
    // The same shop still sells, and to the same visitor.
    let code = shop.node.deployment.vouchers("3.00 EUR", 1)?.remove(0);
    if matches!(&outcome, Outcome::Harmless(words) if words.starts_with("nothing")) {
        let order = visitor.order(&shop.work(0)?)?;
        visitor.pay(&order, &code)?;
        ensure!(visitor.library()?.len() == 1, "the shop does not sell any more");
    }
    Ok(outcome)
}

pub fn control_pays() -> Result<Outcome> {
    paid("pays what it should")
}
pub fn pays_too_little() -> Result<Outcome> {
    paid("pays too little")
}
pub fn pays_another_asset() -> Result<Outcome> {
    paid("pays in points")
}
pub fn pays_other_units() -> Result<Outcome> {
    paid("pays in other units")
}
pub fn pays_a_negative_sum() -> Result<Outcome> {
    paid("pays a negative sum")
}
pub fn pays_no_number() -> Result<Outcome> {
    paid("pays no number")
}
pub fn pays_too_much_to_count() -> Result<Outcome> {
    paid("pays too much to count")
}
pub fn pays_by_one_reference() -> Result<Outcome> {
    paid("names one reference for all")
}
/// Each gateway is asked for the whole of an order: the second would take what the first has.
pub fn pays_a_part_and_goes_elsewhere() -> Result<Outcome> {
    let shop = Shop::open(&["pays too little", "a song"])?;
    let mut buyer = Visitor::new(&shop.running.url);
    let order = buyer.order(&shop.work(0)?)?;
    buyer.submit(&gateway(&order, PAY).context("the attacker's gateway is not offered")?)?;
    let code = shop.node.deployment.vouchers("3.00 EUR", 1)?.remove(0);
    let refused = buyer.pay(&order, &code).err().context("two gateways took money for one order")?.to_string();
    ensure!(refused.contains("paid another way"), "{refused}");
    let Outcome::Harmless(words) = shop.outcome(&mut buyer)? else { bail!("refused") };
    // What was not taken is good for another order.
    buyer.buy(&shop.work(1)?, Some(&code))?;
    ensure!(buyer.library()?.len() == 1, "the code is spent");
    Ok(Outcome::Harmless(format!("{words}, the buyer keeps its code")))
}

pub fn says_that_it_is_done() -> Result<Outcome> {
    let shop = Shop::open(&["says that it is done"])?;
    let answer = shop.pay(&mut Visitor::new(&shop.running.url), 0)?;
    // The buyer is told so, and not led on as if it were paid.
    ensure!(answer.status == 422 && answer.text().contains("still to pay"), "{} {}", answer.status, answer.text());
    paid("says that it is done")
}

pub fn pays_for_somebody_else() -> Result<Outcome> {
    let shop = Shop::open(&["waits to be robbed", "pays for somebody else"])?;
    let (mut victim, mut robber) = (Visitor::new(&shop.running.url), Visitor::new(&shop.running.url));
    shop.pay(&mut victim, 0)?;
    shop.pay(&mut robber, 1)?;
    ensure!(victim.library()?.is_empty(), "the victim's order was settled by another's payment");
    shop.outcome(&mut robber)
}

pub fn pays_through_another_gateway() -> Result<Outcome> {
    let mut shop = Shop::open(&["a song"])?;
    let mut buyer = Visitor::new(&shop.running.url);
    let order = buyer.order(&shop.work(0)?)?;
    // The honest gateway opens a payment and asks for a code.
    buyer.submit(&gateway(&order, "org.fondaco.pay-voucher").context("no voucher")?)?;
    ensure!(shop.running.stop()? == 0, "the node does not stop well");
    let payment = open_payment(&shop.node.deployment)?;
    shop.running = shop.node.deployment.up()?;
    buyer.moved_to(&shop.running.url);
    let host = shop.running.url.trim_start_matches("http://");
    for reference in ["one", "two"] {
        let body = format!("payment={payment}&amount=300&reference={reference}");
        http::send(host, "POST", &format!("/webhooks/{PAY}"), &[], body.as_bytes())?;
    }
    let outcome = shop.outcome(&mut buyer)?;
    let code = shop.node.deployment.vouchers("3.00 EUR", 1)?.remove(0);
    buyer.pay(&order, &code)?;
    ensure!(buyer.library()?.len() == 1, "the honest gateway is no longer believed");
    Ok(outcome)
}

/// The payment is written down before its gateway is asked, so that an answer that is lost can be asked for later.
pub fn gateway_that_never_answers() -> Result<Outcome> {
    let shop = Shop::open(&["spins"])?;
    let mut visitor = Visitor::new(&shop.running.url);
    // However that is answered.
    shop.pay(&mut visitor, 0)?;
    shop.outcome(&mut visitor)
}

/// The id of the payment that waits, as the stopped node's ledger has it.
fn open_payment(deployment: &Deployment) -> Result<String> {
    let file = deployment.path().join("data/ledger.db");
    crate::stand::run(async {
        let options = fondaco_ledger::Options::new(std::sync::Arc::new(|_| Vec::new()));
        let ledger = fondaco_ledger::Ledger::open(file, options)?;
        let waiting = ledger.waiting_payments(None, 10, time::OffsetDateTime::UNIX_EPOCH).await?;
        ledger.close().await;
        waiting.first().map(|p| p.id.to_string()).context("no payment waits")
    })
}

fn led(title: &str, to: &str) -> Result<Outcome> {
    let shop = Shop::open(&[title])?;
    let mut visitor = Visitor::new(&shop.running.url);
    let answer = shop.pay(&mut visitor, 0)?;
    ensure!(answer.header("location").is_none(), "it redirects to {:?}", answer.header("location"));
    let links = html::links(&answer.text());
    ensure!(!links.iter().any(|(link, _)| link.starts_with(to)), "{links:?}");
    let Outcome::Harmless(words) = shop.outcome(&mut visitor)? else { bail!("an outcome of another kind") };
    Ok(Outcome::Harmless(format!("{words}, no such link")))
}

pub fn leads_to_a_script() -> Result<Outcome> {
    led("leads to a script", "javascript:")
}
pub fn leads_off_in_the_clear() -> Result<Outcome> {
    led("leads off in the clear", "http://evil")
}

// Sealing.

/// Publishes a file of this name under the attacker's scheme, which must fail and leave nothing behind.
fn sealed(name: &str) -> Result<Outcome> {
    let node = node()?;
    let folder = node.work("song", &priced("song", "Song", Some(DRM)), &[(name, &b"0123456789".repeat(1_000)[..])])?;
    let output = node.deployment.run(&["publish", folder.to_str().context("no UTF-8")?])?;
    ensure!(output.code == 1, "{output:?}");
    ensure!(works(&node.deployment)?.is_empty(), "something was published");
    node.deployment.publish(&node.work("free", FREE, &[("a.txt", b"text")])?)?;
    node.deployment.ok(&["check", "--deep"])?;
    Ok(Outcome::Refused(output.stderr.trim().to_owned()))
}

pub fn script_outside_the_file() -> Result<Outcome> {
    sealed("outside.bin")?;
    sealed("overflow.bin")
}
pub fn script_with_a_short_key() -> Result<Outcome> {
    sealed("short-key.bin")?;
    sealed("no-cipher.bin")
}
pub fn script_that_overflows() -> Result<Outcome> {
    sealed("overflow.bin")
}
pub fn script_that_bombs() -> Result<Outcome> {
    sealed("bomb.bin")
}
pub fn script_with_a_long_insert() -> Result<Outcome> {
    sealed("long-insert.bin")
}
pub fn script_that_never_ends() -> Result<Outcome> {
    sealed("endless.bin")
}
pub fn script_that_loops() -> Result<Outcome> {
    sealed("spins.bin")
}

/// Two buyers of one sealed work, and the first one's licence address.
fn licensed(scheme: &str) -> Result<(TestNode, Running, Visitor, String, String)> {
    let node = node()?;
    let song = b"sung once and kept".repeat(1_000);
    node.deployment.publish(&node.work("song", &priced("song", "Song", Some(scheme)), &[("song.mp3", &song)])?)?;
    let id = only_work(&node)?;
    let running = node.deployment.up()?;
    let codes = node.deployment.vouchers("3.00 EUR", 2)?;
    let licence = |code: &str| -> Result<(Visitor, String)> {
        let mut buyer = Visitor::new(&running.url);
        buyer.buy(&id, Some(code))?;
        let library = buyer.library()?;
        let address = library.first().and_then(|d| d.licence.clone()).context("no licence")?;
        Ok((buyer, address))
    };
    let [one, two] = codes.as_slice() else { bail!("not two codes: {codes:?}") };
    let ((buyer, first), (_, second)) = (licence(one)?, licence(two)?);
    Ok((node, running, buyer, first, second))
}

pub fn licence_of_another() -> Result<Outcome> {
    let (_node, _running, mut buyer, own, theirs) = licensed("org.fondaco.drm-sealed")?;
    ensure!(buyer.get(&own)?.status == 200, "{own} is not answered");
    let (own_path, own_proof) = own.split_once('?').context(own.clone())?;
    let (their_path, their_proof) = theirs.split_once('?').context(theirs.clone())?;
    let bare = format!("{their_path}?x=99999999999");
    let mut tried =
        vec![format!("{their_path}?{own_proof}"), format!("{own_path}?{their_proof}"), their_path.to_owned(), bare];
    // The expiry moved, the tag cut, emptied, and with a byte changed.
    let (before, tag) = own_proof.split_once("t=").context(own_proof.to_owned())?;
    tried.extend([
        format!("{own_path}?x=99999999999&t={tag}"),
        format!("{own_path}?{before}t="),
        format!("{own_path}?{before}t={}", tag.get(..20).unwrap_or_default()),
        format!("{own_path}?{before}t={}A", tag.get(..42).unwrap_or_default()),
    ]);
    for address in &tried {
        let answer = buyer.get(address)?;
        let same = address.ends_with('A') && *address == own;
        ensure!(answer.status == 403 || same, "{address} answers {}", answer.status);
    }
    Ok(Outcome::Harmless(format!("{} addresses, each answered 403", tried.len())))
}

pub fn licence_as_a_page() -> Result<Outcome> {
    let (_node, _running, mut buyer, own, _) = licensed(DRM)?;
    let answer = buyer.get(&own)?;
    ensure!(answer.status == 200, "{}", answer.status);
    let header = |name: &str| answer.header(name).unwrap_or_default().to_owned();
    ensure!(header("content-type") != "text/html", "{}", header("content-type"));
    ensure!(answer.header("a").is_none(), "a header was split");
    let cookie = if header("set-cookie").is_empty() { "no cookie" } else { "a cookie" };
    Ok(Outcome::Harmless(format!("{}; {}; {cookie}", header("content-disposition"), header("content-security-policy"))))
}

// Campaigns.

pub fn counts_of_purchases() -> Result<Outcome> {
    let node = node()?;
    let running = node.deployment.up()?;
    let mut visitor = Visitor::new(&running.url);
    for page in ["/campaigns", "/campaigns/lies"] {
        let text = visitor.page(page)?;
        ensure!(text.contains("A campaign that lies"), "{page} does not show it");
        ensure!(!text.contains("987"), "{page} shows purchases that nobody made");
    }
    Ok(Outcome::Harmless("not shown".into()))
}

pub fn leads_people_astray() -> Result<Outcome> {
    let node = node()?;
    let running = node.deployment.up()?;
    let mut visitor = Visitor::new(&running.url);
    let page = visitor.page("/campaigns/astray")?;
    let form = html::forms(&page).into_iter().find(|f| f.value("action") == Some("act")).context("no form")?;
    let answer = visitor.submit(&form)?;
    ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
    let links: Vec<String> = html::links(&answer.text()).into_iter().map(|(to, _)| to).collect();
    for scheme in ["javascript:", "data:", "vbscript:"] {
        ensure!(!links.iter().any(|l| l.trim().to_ascii_lowercase().starts_with(scheme)), "{links:?}");
    }
    // It was the node that took them out, whatever the storefront would have made of them.
    let taken_out = running.log()?.matches("was taken out").count();
    ensure!(taken_out == 3, "{taken_out} were taken out:\n{}", running.log()?);
    ensure!(links.iter().any(|l| l.starts_with("mailto:honest@example.org")), "{links:?}");
    let form = links.iter().find(|l| l.contains("/form")).cloned().unwrap_or_default();
    Ok(Outcome::Harmless(format!("no such link, and {form} left")))
}

pub fn campaign_with_scripts() -> Result<Outcome> {
    let node = node()?;
    let running = node.deployment.up()?;
    let answer = Visitor::new(&running.url).get("/campaigns/lies")?;
    let text = answer.text();
    for wrong in ["<script>alert", "<img src=x", "href=\"javascript", "src=\"data:", "<b>Evil"] {
        ensure!(!text.contains(wrong), "{wrong} got through");
    }
    let policy = answer.header("content-security-policy").unwrap_or_default();
    ensure!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    Ok(Outcome::Harmless("none runs".into()))
}
