//! The page of one work, and the start of a purchase.

use std::hash::{BuildHasher, Hasher};

use fondaco_sdk::commerce::OrderState;
use fondaco_sdk::{
    EntitlementState, Error, FileInfo, FileRole, Offer, Response, Work, WorkKind, catalogue, commerce, encode,
};
use maud::{Markup, html};

use crate::art;
use crate::card;
use crate::elsewhere;
use crate::format;
use crate::page::{Head, Page, Section, alert};
use crate::terms;
use crate::text::fill;

/// More rows of one table are not shown on a page.
const MAX_ROWS: usize = 500;

/// `GET /works/<publisher>/<slug>`
pub fn show(page: &Page, publisher: &str, slug: &str) -> Response {
    match catalogue::get(&format!("{publisher}/{slug}")) {
        Ok(work) => view(page, &work, None),
        Err(e) => page.error(&e),
    }
}

/// `POST /works/<publisher>/<slug>/buy`: writes the order and leads to it.
pub fn buy(page: &Page, publisher: &str, slug: &str) -> Response {
    let id = format!("{publisher}/{slug}");
    let (Some(offer), Some(key)) = (page.request.field("offer"), page.request.field("key").filter(|k| !k.is_empty()))
    else {
        return page.see_other(&card::path(&id));
    };
    let session = page.request.session();
    let order = match page.request.field("country").filter(|c| !c.is_empty()) {
        Some(country) => commerce::checkout_in(session, &id, &offer, &key, &country),
        None => commerce::checkout(session, &id, &offer, &key),
    };
    match order {
        Ok(order) if order.state == OrderState::Fulfilled => {
            page.see_other(&format!("/library?welcome={}", encode(&order.id)))
        }
        Ok(order) => page.see_other(&format!("/orders/{}", encode(&order.id))),
        Err(Error::Invalid(why)) => match catalogue::get(&id) {
            Ok(work) => view(page, &work, Some(&why)).status(http::StatusCode::UNPROCESSABLE_ENTITY),
            Err(e) => page.error(&e),
        },
        Err(Error::Denied(_)) if catalogue::get(&id).is_ok_and(|work| elsewhere::seller(&work).is_some()) => {
            // An old page, or a form of somebody else's: the work is not this shop's to sell.
            page.problem(http::StatusCode::CONFLICT, page.t.sold_elsewhere_title, page.t.sold_elsewhere)
        }
        Err(e) => page.error(&e),
    }
}

/// A key that makes a purchase idempotent: however often this view's button is pressed, there is one order.
/// It has to be unique, not secret; the standard library's hash keys are drawn at random.
fn order_key() -> String {
    let draw = || std::hash::RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", draw(), draw())
}

fn view(page: &Page, work: &Work, wrong: Option<&str>) -> Response {
    let t = page.t;
    let cover = art::cover_path(work);
    let (width, height) = art::shape(work.kind);
    let owned = !page.request.session().is_empty()
        && commerce::library(page.request.session())
            .is_ok_and(|all| all.iter().any(|e| e.work == work.id && e.state == EntitlementState::Active));
    let content = html! {
        article.work {
            div.top {
                div.stand { img src=(cover) alt=(fill(t.cover_of, &[&work.title])) width=(width) height=(height) fetchpriority="high"; }
                div.facts {
                    p.kind { a href=(page.link(format!("/search?kind={}", format::kind_name(work.kind)))) { (format::kind(t, work.kind)) } }
                    h1 lang=[work.language.as_deref()] { (work.title) }
                    @if !work.creators.is_empty() { p.by { (fill(t.by, &[&work.creators.join(", ")])) } }
                    @if let Some(why) = wrong { (alert("wrong", &fill(t.form_wrong, &[why]))) }
                    @if owned {
                        p.notice { (t.you_own_it) " " a href=(page.link("/library")) { (t.open_library) } }
                    }
                    (offers(page, work))
                    (previews(page, work))
                }
            }
            div.more {
                div {
                    @if !work.description.trim().is_empty() {
                        section aria-labelledby="about" {
                            h2 id="about" { (t.about_work) }
                            div.prose lang=[work.language.as_deref()] { (paragraphs(&work.description)) }
                        }
                    }
                    (tracks(page, work))
                    (files(page, work))
                }
                aside.colophon aria-labelledby="credits" {
                    h2 id="credits" { (t.credits) }
                    dl {
                        dt { (t.license) }
                        dd { strong { (work.license.as_deref().unwrap_or(t.license_none)) } }
                        @for (role, name) in work.credits.iter().take(MAX_ROWS) { dt { (role) } dd { (name) } }
                        dt { (t.published) }
                        dd { time datetime=(work.published) { (format::date(t, &work.published)) } }
                        @if let Some(language) = &work.language { dt { (t.language) } dd { (format::language_name(language)) } }
                        dt { (t.release) }
                        dd { code.hash { (work.release) } }
                    }
                    @if !work.tags.is_empty() {
                        h3 { (t.tags) }
                        ul.tags { @for tag in work.tags.iter().take(MAX_ROWS) {
                            li { a href=(page.link(format!("/search?tag={}", encode(tag)))) { (tag) } }
                        } }
                    }
                }
            }
        }
    };
    let description: String = work.description.chars().take(200).collect();
    let json = json_ld(page, work, &cover);
    let head = Head {
        description: &description,
        image: Some(&cover),
        json_ld: Some(&json),
        ..Head::private(&work.title, Section::Browse)
    };
    page.show(&head, &content)
}

/// Plain text as paragraphs: a blank line parts them.
fn paragraphs(text: &str) -> Markup {
    html! {
        @for block in text.split("\n\n").map(str::trim).filter(|b| !b.is_empty()) {
            p { @for (i, line) in block.lines().enumerate() { @if i > 0 { br; } (line) } }
        }
    }
}

fn offers(page: &Page, work: &Work) -> Markup {
    let t = page.t;
    let seller = elsewhere::seller(work);
    // What costs nothing and has no lock may be had from anybody who has it.
    let is_ours = |offer: &Offer| seller.is_none() || (format::is_free(&offer.price) && offer.terms.scheme.is_none());
    html! {
        section.offers aria-label=(t.get_it) {
            @if work.offers.is_empty() { p.quiet { (t.not_for_sale) } }
            @if let Some(shop) = seller.as_ref().filter(|_| work.offers.iter().any(|o| !is_ours(o))) {
                (elsewhere::sold_there(page, work, shop.as_deref()))
            }
            @for (i, offer) in work.offers.iter().enumerate().filter(|(_, o)| is_ours(o)) {
                form.offer method="post" action=(page.link(format!("{}/buy", card::path(&work.id)))) {
                    (page.csrf())
                    input type="hidden" name="offer" value=(offer.id);
                    input type="hidden" name="key" value=(order_key());
                    h2.visually-hidden { (t.terms) }
                    ul.terms id={ "terms-" (i) } { @for sentence in terms::sentences(t, &offer.terms) { li { (sentence) } } }
                    @if let Some(suggested) = offer.suggested.as_ref().filter(|s| **s != offer.price) {
                        p.quiet { (fill(t.suggested, &[&format::money(t, suggested)])) }
                    }
                    @if !offer.terms.territories.is_empty() {
                        (terms::country_field(t, &format!("country-{i}"), &offer.terms))
                    }
                    button.buy type="submit" aria-describedby={ "terms-" (i) } { (buy_words(page, offer)) }
                }
            }
        }
    }
}

fn buy_words(page: &Page, offer: &Offer) -> String {
    if format::is_free(&offer.price) {
        page.t.get_free.to_owned()
    } else {
        fill(page.t.buy, &[&format::money(page.t, &offer.price)])
    }
}

/// The name that people know a file by: its own title, or the end of its path.
pub fn file_name(file: &FileInfo) -> &str {
    file.title.as_deref().unwrap_or_else(|| file.path.rsplit('/').next().unwrap_or_default())
}

fn previews(page: &Page, work: &Work) -> Markup {
    let t = page.t;
    let clear = |f: &&FileInfo| f.role == FileRole::Preview && f.protection.is_none();
    let previews: Vec<&FileInfo> = work.files.iter().filter(clear).take(MAX_ROWS).collect();
    html! {
        @if !previews.is_empty() {
            section.previews aria-labelledby="preview" {
                h2 id="preview" { (t.preview) }
                @for file in previews {
                    @let name = file_name(file);
                    @let path = art::file_path(file);
                    @let label = fill(t.preview_of, &[name]);
                    @if file.media_type.starts_with("audio/") {
                        figure { figcaption { (name) } audio controls preload="none" src=(path) aria-label=(label) {} }
                    } @else if file.media_type.starts_with("video/") {
                        figure { figcaption { (name) } video controls preload="metadata" src=(path) aria-label=(label) {} }
                    } @else if file.media_type.starts_with("image/") {
                        figure { figcaption { (name) } img src=(path) alt=(label) loading="lazy"; }
                    } @else {
                        p { a href=(path) { (fill(t.preview_open, &[name])) } }
                    }
                }
            }
        }
    }
}

fn content_files(work: &Work) -> impl Iterator<Item = &FileInfo> {
    work.files.iter().filter(|f| is_delivered(f.role)).take(MAX_ROWS)
}

/// Does the buyer get files of this role?
pub const fn is_delivered(role: FileRole) -> bool {
    matches!(role, FileRole::Content | FileRole::Booklet | FileRole::Subtitle | FileRole::Source)
}

fn tracks(page: &Page, work: &Work) -> Markup {
    let t = page.t;
    let timed: Vec<&FileInfo> =
        content_files(work).filter(|f| f.role == FileRole::Content && f.duration_ms.is_some()).collect();
    html! {
        @if !timed.is_empty() {
            section {
                h2 id="tracks" { (t.tracks) }
                div.scroll tabindex="0" role="region" aria-labelledby="tracks" {
                    table {
                        thead { tr { th scope="col" { (t.track_number) } th scope="col" { (t.track_title) } th.num scope="col" { (t.track_length) } } }
                        tbody {
                            @for (i, file) in timed.iter().enumerate() {
                                tr {
                                    td.quiet { (i + 1) }
                                    th scope="row" { (file_name(file)) }
                                    td.num { @if let Some(ms) = file.duration_ms { time datetime=(format::iso_duration(ms)) { (format::duration(ms)) } } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn files(page: &Page, work: &Work) -> Markup {
    let t = page.t;
    html! {
        @if content_files(work).next().is_some() {
            section {
                h2 id="files" { (t.contents) }
                div.scroll tabindex="0" role="region" aria-labelledby="files" {
                    table {
                        thead { tr { th scope="col" { (t.file_name) } th scope="col" { (t.file_type) } th.num scope="col" { (t.file_size) } } }
                        tbody {
                            @for file in content_files(work) {
                                tr {
                                    th scope="row" { (file.path) @if file.protection.is_some() { " " span.badge { (t.sealed_file) } } }
                                    td.quiet { (file.media_type) }
                                    td.num { (format::size(t, file.size)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The work for search engines. `<` is written as an escape, so that nothing in it ends the script element.
fn json_ld(page: &Page, work: &Work, cover: &str) -> String {
    let base = page.brand.base_url.trim_end_matches('/');
    let url = format!("{base}{}", card::path(&work.id));
    let kind = match work.kind {
        WorkKind::Album => "MusicAlbum",
        WorkKind::Track => "MusicRecording",
        WorkKind::Video => "VideoObject",
        WorkKind::Game => "VideoGame",
        WorkKind::Book => "Book",
        WorkKind::NewspaperIssue => "PublicationIssue",
        WorkKind::PodcastEpisode => "PodcastEpisode",
        WorkKind::Software => "SoftwareApplication",
        WorkKind::Other => "CreativeWork",
    };
    let offers: Vec<_> = work
        .offers
        .iter()
        .filter(|o| o.price.asset.len() == 3 && o.price.asset != "pts" && o.price.asset != "sat")
        .map(|o| {
            serde_json::json!({
                "@type": "Offer", "url": url, "availability": "https://schema.org/InStock",
                "price": format::schema_price(&o.price), "priceCurrency": o.price.asset,
            })
        })
        .collect();
    serde_json::json!({
        "@context": "https://schema.org", "@type": kind, "name": work.title, "description": work.description,
        "url": url, "image": format!("{base}{cover}"), "inLanguage": work.language, "keywords": work.tags,
        "license": work.license, "datePublished": work.published,
        "isAccessibleForFree": work.offers.iter().any(|o| format::is_free(&o.price)),
        "creator": work.creators.iter().map(|c| serde_json::json!({ "@type": "Thing", "name": c })).collect::<Vec<_>>(),
        "offers": offers,
    })
    .to_string()
    .replace('<', "\\u003c")
}
