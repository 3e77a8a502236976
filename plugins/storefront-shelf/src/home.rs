//! The front page: the brand, the search box, what is new, and the campaign that runs.

use fondaco_sdk::{CampaignSummary, Response, campaigns, catalogue, encode};
use maud::{Markup, html};

use crate::art;
use crate::card;
use crate::format;
use crate::page::{Head, Page, Section, notice};

/// `GET /`
pub fn show(page: &Page) -> Response {
    let t = page.t;
    let found = catalogue::browse(None, page.settings.page_size.clamp(4, 60));
    let campaign = campaigns::running(t.lang).ok().and_then(|list| list.into_iter().next());
    let works = found.as_ref().map(|p| p.works.as_slice()).unwrap_or_default();
    let mut words: Vec<String> = works.iter().flat_map(|w| &w.tags).take(24).cloned().collect();
    words.sort_unstable();
    words.dedup();
    // On a full shelf the latest arrival stands in front, and not a second time behind.
    let shelved = if works.len() > 6 { works.get(1..).unwrap_or_default() } else { works };
    let image = works.first().map(art::cover_path);
    let content = html! {
        section.hero {
            div.words {
                h1 { (page.brand.name) }
                p.tagline { (page.brand.tagline) }
                @if let Some(welcome) = page.settings.welcome.get(t.lang) { p.welcome { (welcome) } }
                (page.search_box("q", "", &words))
            }
            @if let Some(work) = works.first() {
                @let (width, height) = art::shape(work.kind);
                div.arrival {
                    div.stand {
                        img src=(art::cover_path(work)) alt="" width=(width) height=(height) fetchpriority="high";
                    }
                    p.caption {
                        span.kind { (t.latest_arrival) }
                        a href=(page.link(card::path(&work.id))) { (work.title) }
                        span.by { (card::creators(work)) }
                    }
                }
            }
        }
        @if found.is_err() { (notice(t.shelf_down)) }
        @if let Ok(found) = &found {
            section aria-labelledby="newest" {
                div.head {
                    h2 id="newest" { (t.newest) }
                    @if !works.is_empty() { a.more href=(page.link("/search?sort=newest")) { (t.see_all) } }
                }
                @if found.works.is_empty() {
                    div.empty { p { strong { (t.shelf_empty) } } p { (t.shelf_empty_more) } }
                } @else {
                    (card::shelf(page, shelved, 6))
                }
            }
        }
        @if let Some(campaign) = &campaign { (teaser(page, campaign)) }
    };
    page.show(&Head { image: image.as_deref(), ..Head::public("", Section::Home) }, &content)
}

/// A campaign in a few lines.
pub fn teaser(page: &Page, campaign: &CampaignSummary) -> Markup {
    let t = page.t;
    let id = format!("campaign-{}", campaign.id);
    html! {
        section.campaign aria-labelledby=(id) {
            div {
                p.kind { (t.running_campaign) }
                h2 id=(id) { (campaign.title) }
                p { (campaign.summary) }
                @if let Some(closes) = &campaign.closes {
                    p.quiet { (crate::text::fill(t.campaign_closes, &[&format::date(t, closes)])) }
                }
            }
            p.go { a.button href=(page.link(format!("/campaigns/{}", encode(&campaign.id)))) aria-describedby=(id) { (t.campaign_open) } }
        }
    }
}
