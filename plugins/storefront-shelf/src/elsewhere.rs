//! What other shops have: works that other nodes found, and works of this shelf that their publishers sell.

use fondaco_sdk::commerce::{self, SoldBy};
use fondaco_sdk::peers::{self, Remote};
use fondaco_sdk::{Results, Work};
use maud::{Markup, html};

use crate::card;
use crate::format;
use crate::page::Page;
use crate::text::fill;

/// More works of others are not shown below the shop's own.
const MAX_REMOTE: usize = 12;
/// Characters of a publisher's key that are shown: enough to tell two apart.
const KEY_CHARS: usize = 12;

/// Who sells a work, if it is not this shop. Without the grant for sales nobody does, and the page says so elsewhere.
#[expect(clippy::option_option, reason = "sold elsewhere, and perhaps it is known where")]
pub fn seller(work: &Work) -> Option<Option<String>> {
    match commerce::seller(&work.id) {
        Ok(SoldBy::Elsewhere(page)) => Some(page.filter(|p| is_web(p))),
        Ok(SoldBy::Here) | Err(_) => None,
    }
}

/// What stands where a button would be, for a work that its publisher sells.
pub fn sold_there(page: &Page, work: &Work, shop: Option<&str>) -> Markup {
    let t = page.t;
    html! {
        div.offer {
            @if let Some(price) = card::price(t, &work.offers) { p.price { (price) } }
            p { (t.sold_elsewhere) }
            @match shop {
                Some(shop) => p { a.button href=(shop) rel="external noreferrer" { (t.sold_elsewhere_go) } " " span.quiet { (host(shop)) } }
                None => p.quiet { (t.sold_elsewhere_unknown) }
            }
        }
    }
}

/// What other nodes found, below what stands here.
pub fn found(page: &Page, results: &Results) -> Markup {
    let t = page.t;
    let remote: Vec<Remote> = results
        .hits
        .iter()
        .filter(|h| h.via.is_some())
        .take(MAX_REMOTE)
        .filter_map(|h| peers::get(&h.work).ok())
        .collect();
    html! {
        @if !remote.is_empty() {
            section aria-labelledby="elsewhere" {
                h2 id="elsewhere" { (t.elsewhere) }
                p.quiet { (t.elsewhere_about) }
                ul.hits { @for one in &remote { (card(page, one)) } }
            }
        }
    }
}

fn card(page: &Page, remote: &Remote) -> Markup {
    let (t, work) = (page.t, &remote.work);
    let publisher: String = work.id.chars().take(KEY_CHARS).collect();
    let shop = remote.shop.as_deref().filter(|s| is_web(s));
    html! {
        li.hit.remote {
            div.label {
                p.kind { (format::kind(t, work.kind)) }
                h3 lang=[work.language.as_deref()] { (work.title) }
                p.by { (card::creators(work)) }
                @if let Some(price) = card::price(t, &work.offers) { p.price { (price) } }
                p.quiet { (fill(t.elsewhere_publisher, &[&publisher])) }
                @if let Some(shop) = shop {
                    p { a href=(shop) rel="external noreferrer" { (t.sold_elsewhere_go) span.visually-hidden { ": " (work.title) } } " " span.quiet { (host(shop)) } }
                }
                details {
                    summary { (t.elsewhere_fetch) span.visually-hidden { ": " (work.title) } }
                    p { code.hash { "fondaco get '" (remote.link) "'" } }
                }
            }
        }
    }
}

/// An address that people may be led to. The node has checked it; a link to anything else would be ours.
fn is_web(address: &str) -> bool {
    ["https://", "http://"].iter().any(|s| address.starts_with(s))
}

/// Where a link leads, for whoever wants to know before.
fn host(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}
