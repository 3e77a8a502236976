//! `fondaco search --peers`: what each node says as it says it, and what was found.

use fondaco_market::Market;
use fondaco_net::HeardFrom;
use fondaco_runtime::Context;
use fondaco_runtime::wit::search_types::{Hit, Query, Results};

use crate::fail::{Done, Fail};
use crate::node::Node;
use crate::out::Out;

/// Asks other nodes, and tells of each.
pub async fn ask(node: &Node, query: Query, json: bool, out: &Out) -> Done<Results> {
    if query.text.trim().is_empty() {
        return Err(Fail::usage("say what to look for: other nodes are asked for words"));
    }
    node.net().await?;
    let Some(finding) = node.finding.get() else {
        return Err(Fail::unavailable("the swarm does not run yet; ask again when the node is up"));
    };
    let mut telling = finding.telling();
    let context = Context::node();
    let search = node.market.search_peers(&context, query);
    tokio::pin!(search);
    let results = loop {
        tokio::select! {
            biased;
            Some(heard) = telling.recv() => tell(&heard, json, out),
            done = &mut search => break done,
        }
    };
    finding.told();
    while let Ok(heard) = telling.try_recv() {
        tell(&heard, json, out);
    }
    Ok(results?)
}

fn tell(heard: &HeardFrom, json: bool, out: &Out) {
    let ms = heard.took.as_millis();
    if json {
        let value = match &heard.answer {
            Ok(works) => serde_json::json!({
                "peer": heard.peer.to_string(), "ms": ms, "works": works.len(), "forged": heard.forged,
                "missing": heard.missing,
            }),
            Err(why) => serde_json::json!({ "peer": heard.peer.to_string(), "ms": ms, "error": why }),
        };
        out.result(true, || value.clone(), String::new);
        return;
    }
    let forged = if heard.forged > 0 { format!(", {} forged and dropped", heard.forged) } else { String::new() };
    out.note(match &heard.answer {
        Ok(works) => format!("  {}: {} works in {ms} ms{forged}", heard.peer, works.len()),
        Err(why) => format!("  {}: {why}", heard.peer),
    });
}

/// A work that others found.
pub fn show(node: &Node, hit: &Hit, json: bool, out: &Out) {
    let Some(found) = hit.work.parse().ok().and_then(|id| Market::found(&node.market, &id)) else { return };
    let release = &found.work.release;
    let shop = release.home.as_ref().and_then(|home| home.page_of(&release.work));
    let prices: Vec<String> = release.offers.iter().map(|o| o.price.to_string()).collect();
    out.result(
        json,
        || {
            serde_json::json!({
                "work": hit.work, "release": found.work.release_id, "title": release.title, "creators": release.creators,
                "publisher": release.work.publisher(), "prices": prices, "score": hit.score, "via": hit.via,
                "link": found.link, "shop": shop,
            })
        },
        || {
            let price = if prices.is_empty() { "free".to_owned() } else { prices.join(", ") };
            let shop = shop.as_ref().map(|shop| format!("\n  {shop}")).unwrap_or_default();
            format!(
                "{:<24} {:<10} {}  ({price})  elsewhere\n  {}{shop}",
                release.work.slug(),
                release.kind.as_str(),
                release.title,
                found.link
            )
        },
    );
}
