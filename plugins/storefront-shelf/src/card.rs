//! A work in a few lines: on the shelf, and in a list of results.

use fondaco_sdk::{Hit, Offer, Work, encode};
use maud::{Markup, Render, html};

use crate::art;
use crate::format;
use crate::page::Page;
use crate::text::{Texts, fill};

/// Where a work's page is.
pub fn path(id: &str) -> String {
    let (publisher, slug) = id.split_once('/').unwrap_or(("", id));
    format!("/works/{}/{}", encode(publisher), encode(slug))
}

/// The names of those who made a work.
pub fn creators(work: &Work) -> Markup {
    html! { @for (i, name) in work.creators.iter().enumerate() { @if i > 0 { ", " } (name) } }
}

/// The lowest price; "from" where several differ. Offers in different assets are not compared: the first one speaks.
pub fn price(t: &Texts, offers: &[Offer]) -> Option<String> {
    if offers.iter().any(|o| format::is_free(&o.price)) {
        return Some(t.free.to_owned());
    }
    let first = &offers.first()?.price;
    let amount = |o: &Offer| o.price.amount.parse::<u128>().unwrap_or(u128::MAX);
    let same = |o: &&Offer| o.price.asset == first.asset && o.price.exponent == first.exponent;
    let least = offers.iter().filter(same).min_by_key(|o| amount(o))?;
    let sum = format::money(t, &least.price);
    let differ = offers.iter().any(|o| o.price != least.price);
    Some(if differ { fill(t.from_price, &[&sum]) } else { sum })
}

fn picture(work: &Work, early: bool) -> Markup {
    let (width, height) = art::shape(work.kind);
    html! {
        img src=(art::cover_path(work)) alt="" width=(width) height=(height) decoding="async"
            loading=[(!early).then_some("lazy")];
    }
}

/// Works standing on a shelf. The first `early` covers are fetched at once, the others when they come into view.
pub fn shelf(page: &Page, works: &[Work], early: usize) -> Markup {
    html! {
        ul.shelf {
            @for (i, work) in works.iter().enumerate() {
                li.item {
                    div.stand { (picture(work, i < early)) }
                    div.label {
                        p.kind { (format::kind(page.t, work.kind)) }
                        h3 { a href=(page.link(path(&work.id))) { (work.title) } }
                        p.by { (creators(work)) }
                        @if let Some(price) = price(page.t, &work.offers) { p.price { (price) } }
                    }
                }
            }
        }
    }
}

/// A work that a search found, with the passages that matched and the reasons for its place.
pub fn result(page: &Page, work: &Work, hit: &Hit) -> Markup {
    html! {
        li.hit {
            div.thumb { (picture(work, false)) }
            div.label {
                p.kind { (format::kind(page.t, work.kind)) }
                h2 { a href=(page.link(path(&work.id))) { (work.title) } }
                p.by { (creators(work)) }
                @for (_, passage) in hit.highlights.iter().filter(|(field, _)| field != "title").take(3) {
                    p.passage { (Passage(passage)) }
                }
                @if let Some(price) = price(page.t, &work.offers) { p.price { (price) } }
                @if !hit.because.is_empty() {
                    details.why {
                        summary { (page.t.why_here) span.visually-hidden { ": " (work.title) } }
                        ul { @for (reason, weight) in &hit.because { li { (reason) " " span.weight { (weight_of(*weight)) } } } }
                    }
                }
            }
        }
    }
}

fn weight_of(weight: f32) -> String {
    if weight.is_finite() { format!("{weight:.2}") } else { String::new() }
}

/// A passage of a search provider's: U+0002 and U+0003 around what matched, and everything else text.
struct Passage<'a>(&'a str);

impl Render for Passage<'_> {
    fn render_to(&self, out: &mut String) {
        let mut rest = self.0;
        // Marks come in pairs and not within each other; a stray one is left out, for it is no text.
        while let Some((before, from)) = rest.split_once('\u{2}')
            && let Some((marked, after)) = from.split_once('\u{3}')
        {
            text(before, out);
            out.push_str("<mark>");
            text(marked, out);
            out.push_str("</mark>");
            rest = after;
        }
        text(rest, out);
    }
}

fn text(passage: &str, out: &mut String) {
    passage.replace(['\u{2}', '\u{3}'], "").render_to(out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lets_nothing_but_marks_through_in_a_passage() {
        let shown = |p| Passage(p).render().into_string();
        assert_eq!(shown("a \u{2}b\u{3} <i>c</i>"), "a <mark>b</mark> &lt;i&gt;c&lt;/i&gt;");
        assert_eq!(shown("\u{2}a"), "a");
        assert_eq!(shown("\u{3}\u{2}\u{2}x\u{3}"), "<mark>x</mark>");
        assert_eq!(shown("<mark>a</mark>"), "&lt;mark&gt;a&lt;/mark&gt;");
    }
}
