//! What is sold in some countries alone is sold to nobody who says they are elsewhere, and to nobody who does not say.

use anyhow::{Context as _, Result, ensure};
use fondaco_tests::bundles;
use fondaco_tests::node::TestNode;
use fondaco_tests::visitor::Visitor;
use serde_json::Value;

const ABOUT: &str = "slug = \"atlas\"\nkind = \"book\"\ntitle = \"Atlas\"\ncreators = [\"Ada Example\"]\n\
                     [[offers]]\nid = \"buy\"\nprice = \"4.99 EUR\"\n[offers.terms]\nterritories = [\"FR\", \"DE\"]\n";

#[test]
fn the_country_decides_and_stays_with_the_order() -> Result<()> {
    let node = TestNode::new()?;
    let folder = node.work("atlas", ABOUT, &[("atlas.txt", b"maps")])?;
    let work = bundles::text(&node.deployment.publish(&folder)?, "work")?;
    let shop = node.deployment.up()?;
    let mut visitor = Visitor::new(&shop.url);
    let offer = visitor.offer(&work)?;
    let page = visitor.page(&format!("/works/{work}"))?;
    let told = page.split("<li>").find(|item| item.starts_with("Sold in")).unwrap_or_default();
    ensure!(told.starts_with("Sold in: France, Germany<"), "{told}");
    for (country, words) in [("", "say which country you are in"), ("ZZ", "and not in ZZ"), ("ZA", "and not in ZA")] {
        let answer = visitor.submit(&offer.filled(&[("country", country)]))?;
        ensure!(
            answer.status == 422 && answer.text().contains(words),
            "{country:?}: {} {}",
            answer.status,
            answer.text()
        );
    }
    ensure!(node.deployment.json(&["orders"])?.is_empty(), "an order was made");
    let answer = visitor.submit(&offer.filled(&[("country", "DE")]))?;
    ensure!(answer.status == 200, "{}", answer.text());
    let orders = node.deployment.json(&["orders"])?;
    let order = orders.first().context("no order")?;
    assert_eq!(order.get("country").and_then(Value::as_str), Some("DE"));
    assert_eq!(shop.stop()?, 0);
    Ok(())
}

#[test]
fn an_offer_is_sold_within_its_time_alone() -> Result<()> {
    let node = TestNode::new()?;
    for (slug, term) in
        [("early", "available-from = \"2999-01-01T00:00:00Z\""), ("late", "available-until = \"2020-01-01T00:00:00Z\"")]
    {
        let about = format!(
            "slug = \"{slug}\"\nkind = \"book\"\ntitle = \"Atlas\"\n\
             [[offers]]\nid = \"buy\"\nprice = \"4.99 EUR\"\n[offers.terms]\n{term}\n"
        );
        node.deployment.publish(&node.work(slug, &about, &[("atlas.txt", b"maps")])?)?;
    }
    let works = node.deployment.json(&["works"])?;
    assert_eq!(works.len(), 2, "{works:?}");
    let shop = node.deployment.up()?;
    let mut visitor = Visitor::new(&shop.url);
    for work in &works {
        let work = bundles::text(work, "work")?;
        let words = if work.ends_with("/early") { "this offer is not open yet" } else { "this offer has ended" };
        let offer = visitor.offer(&work)?;
        let answer = visitor.submit(&offer)?;
        ensure!(answer.status == 422 && answer.text().contains(words), "{work}: {} {}", answer.status, answer.text());
    }
    ensure!(node.deployment.json(&["orders"])?.is_empty(), "an order was made");
    assert_eq!(shop.stop()?, 0);
    Ok(())
}
