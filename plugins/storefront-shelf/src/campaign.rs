//! Campaigns: what runs, one campaign in the words for one audience, its counts and its legal notice.

use fondaco_sdk::{Campaign, Count, Error, EvidenceClass, Notice, Response, campaigns, encode};
use maud::{Markup, html};

use crate::format;
use crate::home;
use crate::letter::{self, Attempt};
use crate::markdown;
use crate::page::{Head, Page, Section, alert, notice};
use crate::text::{Texts, fill};

/// Longer ids, audiences and placements are no plugin's.
pub const MAX_NAME: usize = 100;

/// `GET /campaigns`
pub fn list(page: &Page) -> Response {
    let t = page.t;
    let running = campaigns::running(t.lang);
    let content = html! {
        h1 { (t.campaigns_title) }
        @match &running {
            Err(_) => { (notice(t.campaigns_down)) }
            Ok(list) if list.is_empty() => { div.empty { p { (t.campaigns_none) } } }
            Ok(list) => { @for campaign in list { (home::teaser(page, campaign)) } }
        }
    };
    page.show(&Head::public(t.campaigns_title, Section::Campaigns), &content)
}

/// `GET /campaigns/<id>`
pub fn show(page: &Page, id: &str) -> Response {
    let placement = page.request.query("placement");
    let attempt = Attempt { placement: placement.filter(|p| p.len() <= MAX_NAME), ..Attempt::default() };
    match get(page, id, page.request.query("audience")) {
        Ok(campaign) => view(page, &campaign, &attempt),
        Err(e) => unavailable(page, &e),
    }
}

/// The campaign in the words for an audience; for its first where there is none of that name.
pub fn get(page: &Page, id: &str, audience: Option<String>) -> Result<Campaign, Error> {
    let audience = audience.filter(|a| !a.is_empty() && a.len() <= MAX_NAME);
    match campaigns::get(id, page.t.lang, audience.as_deref()) {
        Err(Error::Invalid(_)) if audience.is_some() => campaigns::get(id, page.t.lang, None),
        other => other,
    }
}

/// A refusal of the campaign module's.
pub fn unavailable(page: &Page, error: &Error) -> Response {
    match error {
        // The operator granted no campaigns: that is no fault of the visitor's.
        Error::Denied(_) => page.problem(http::StatusCode::NOT_FOUND, page.t.not_found_title, page.t.campaigns_down),
        other => page.error(other),
    }
}

/// Where a campaign's page is, with what the visitor came with.
pub fn path(id: &str, below: &str, audience: &str, placement: Option<&str>) -> String {
    let mut out = format!("/campaigns/{}{below}?audience={}", encode(id), encode(audience));
    if let Some(placement) = placement {
        out.push_str("&placement=");
        out.push_str(&encode(placement));
    }
    out
}

/// The campaign's page, with what the visitor has tried so far.
pub fn view(page: &Page, campaign: &Campaign, attempt: &Attempt) -> Response {
    let t = page.t;
    let summary = &campaign.summary;
    let content = html! {
        article.campaign-page lang=[(campaign.locale != t.lang).then_some(campaign.locale.as_str())] {
            @if campaign.notice.paid { p.paid { strong { (t.notice_paid) } " · " (t.notice_sponsor) ": " (campaign.notice.sponsor) } }
            header {
                p.kind { (t.running_campaign) }
                h1 { (summary.title) }
                p.lead { (summary.summary) }
                @if let Some(closes) = &summary.closes { p.quiet { (fill(t.campaign_closes, &[&format::date(t, closes)])) } }
                (audiences(page, campaign, attempt))
            }
            @if let Some(wrong) = &attempt.wrong { (alert("wrong", &fill(t.form_wrong, &[wrong]))) }
            div.more {
                div {
                    div.prose { (markdown::render(&campaign.body_markdown)) }
                    (letter::actions(page, campaign, attempt))
                }
                aside.colophon {
                    (counts(t, &summary.counts, summary.target))
                    (share(t, &campaign.share_text))
                    (legal(t, &campaign.notice))
                }
            }
        }
    };
    page.show(&Head { description: &summary.summary, ..Head::private(&summary.title, Section::Campaigns) }, &content)
}

fn audience_words<'a>(t: &Texts, audience: &'a str) -> &'a str {
    match audience {
        "public" => t.audience_public,
        "industry" => t.audience_industry,
        "legislators" | "legislator" => t.audience_legislators,
        other => other,
    }
}

fn audiences(page: &Page, campaign: &Campaign, attempt: &Attempt) -> Markup {
    html! {
        @if campaign.audiences.len() > 1 {
            nav.switch aria-label=(page.t.audience) {
                span { (page.t.audience) }
                ul {
                    @for audience in &campaign.audiences {
                        li { a href=(page.link(path(&campaign.summary.id, "", audience, attempt.placement.as_deref())))
                            aria-current=[(*audience == campaign.audience).then_some("true")] { (audience_words(page.t, audience)) } }
                    }
                }
            }
        }
    }
}

/// Counts by class of evidence and by what was done. They are never added up.
fn counts(t: &Texts, counts: &[Count], target: Option<u64>) -> Markup {
    let classes = [
        (EvidenceClass::PurchaseBacked, t.class_purchase),
        (EvidenceClass::Confirmed, t.class_confirmed),
        (EvidenceClass::Unconfirmed, t.class_unconfirmed),
    ];
    html! {
        section aria-labelledby="counts" {
            h2 id="counts" { (t.counts_title) }
            @if counts.iter().all(|c| c.n == 0) { p { (t.counts_none) } }
            @else {
                ul.counts {
                    @for (class, words) in classes {
                        @for c in counts.iter().filter(|c| c.class == class && c.n > 0) {
                            li { strong { (format::count(t, c.n)) } " " span { (action_words(t, &c.action)) ", " (words) } }
                        }
                    }
                }
                p.quiet { (t.counts_note) }
            }
            @if let Some(target) = target { p.quiet { (t.goal) ": " (format::count(t, target)) } }
        }
    }
}

fn action_words<'a>(t: &Texts, action: &'a str) -> &'a str {
    match action {
        "letter" => t.action_letter,
        "petition" => t.action_petition,
        "pledge" => t.action_pledge,
        "purchase-proof" => t.action_purchase_proof,
        "share" => t.action_share,
        other => other,
    }
}

fn share(t: &Texts, text: &str) -> Markup {
    html! {
        @if !text.is_empty() {
            section aria-labelledby="share" {
                h2 id="share" { (t.share_title) }
                div.field {
                    label.visually-hidden for="share-text" { (t.share_label) }
                    textarea id="share-text" readonly rows="4" data-copy=(t.copy) data-copied=(t.copied) { "\n" (text) }
                }
            }
        }
    }
}

fn legal(t: &Texts, notice: &Notice) -> Markup {
    html! {
        section.legal aria-labelledby="legal" {
            h2 id="legal" { (t.legal_notice) }
            dl {
                dt { (t.notice_sponsor) }
                dd { (notice.sponsor) }
                dt { (if notice.paid { t.notice_paid } else { t.notice_unpaid }) }
                dd { @if markdown::is_safe_link(&notice.url) { a href=(notice.url) rel="noopener" { (t.notice_more) } } @else { (notice.url) } }
                @if !notice.process.is_empty() { dt { (t.notice_process) } dd { (notice.process) } }
            }
            p.quiet { (t.plural(notice.retention_days.into(), t.notice_retention_one, t.notice_retention_many)) }
        }
    }
}
