//! Who runs the shop, how its search ranks, and what it keeps about a visitor.

use fondaco_sdk::Response;
use maud::html;

use crate::markdown;
use crate::page::{Head, Page, Section};

/// `GET /about`
pub fn show(page: &Page) -> Response {
    let t = page.t;
    let contact = page.brand.contact.as_deref();
    let content = html! {
        div.narrow.prose {
            h1 { (t.about) }
            @if let Some(about) = page.settings.about.get(t.lang) { (markdown::render(about)) }
            h2 { (t.about_who) }
            p { strong { (page.brand.name) } @if !page.brand.tagline.is_empty() { ". " (page.brand.tagline) } }
            p {
                @match contact {
                    None => { (t.about_no_contact) }
                    Some(c) if markdown::is_safe_link(c) => { (t.about_contact) a href=(c) { (c.trim_start_matches("mailto:")) } }
                    Some(c) if c.contains('@') && !c.contains([' ', ':', '?']) => { (t.about_contact) a href={ "mailto:" (c) } { (c) } }
                    Some(c) => { (t.about_contact) (c) }
                }
            }
            h2 id="ranking" { (t.about_rank) }
            p { (t.about_rank_text) }
            h2 id="privacy" { (t.about_privacy) }
            p { (t.about_privacy_text) }
            h2 { (t.about_works) }
            p { (t.about_works_text) }
        }
    };
    page.show(&Head::public(t.about, Section::About), &content)
}
