//! Browsing and searching, with facets, and the completions of what is being typed.

use std::fmt::Write;

use fondaco_sdk::{Facet, Query, Reach, Response, Results, Slot, Sort, Work, catalogue, discovery, encode};
use maud::{Markup, html};

use crate::card;
use crate::elsewhere;
use crate::format;
use crate::page::{Head, Page, Section, notice};
use crate::text::fill;

/// Longer words are cut, in characters; providers have limits of their own.
const MAX_TEXT: usize = 200;
/// More boxes than this are not taken from one address.
const MAX_CHOICES: usize = 32;
/// Values that one facet shows.
const MAX_VALUES: usize = 16;

/// What the address asks for.
struct Asked {
    text: String,
    kinds: Vec<String>,
    tags: Vec<String>,
    language: Option<String>,
    drm_free: bool,
    sort: &'static str,
    cursor: Option<String>,
}

const SORTS: [(&str, Sort); 4] =
    [("relevance", Sort::Relevance), ("newest", Sort::Newest), ("title", Sort::Title), ("price", Sort::Price)];

impl Asked {
    fn read(page: &Page) -> Self {
        let all = |name: &str| {
            let values = page.request.query_all(name).into_iter();
            values.filter(|v| !v.is_empty() && v.len() <= 100).take(MAX_CHOICES).collect::<Vec<_>>()
        };
        let one = |name: &str| page.request.query(name).filter(|v| !v.is_empty());
        let text: String = one("q").unwrap_or_default().trim().chars().take(MAX_TEXT).collect();
        let usual = if text.is_empty() { "newest" } else { "relevance" };
        let sort = one("sort").and_then(|s| SORTS.iter().find(|(name, _)| *name == s)).map_or(usual, |(name, _)| name);
        Self {
            text,
            kinds: all("kind").into_iter().filter(|k| format::kind_of(k).is_some()).collect(),
            tags: all("tag"),
            language: one("language").filter(|l| l.len() <= 35),
            drm_free: one("drm-free").is_some(),
            sort,
            cursor: one("cursor").filter(|c| c.len() <= 2048),
        }
    }

    fn narrowed(&self) -> bool {
        !self.kinds.is_empty() || !self.tags.is_empty() || self.language.is_some() || self.drm_free
    }

    fn query(&self, limit: u32) -> Query {
        Query {
            text: self.text.clone(),
            kinds: self.kinds.iter().filter_map(|k| format::kind_of(k)).collect(),
            tags: self.tags.clone(),
            language: self.language.clone(),
            max_price: None,
            drm_free: self.drm_free,
            facets: ["kind", "tag", "language"].map(str::to_owned).into(),
            sort: SORTS.iter().find(|(name, _)| *name == self.sort).map_or(Sort::Relevance, |(_, sort)| *sort),
            cursor: self.cursor.clone(),
            limit,
            reach: Reach::Everyone,
            wait_ms: 0,
        }
    }

    /// The address of the same search from another place in the results.
    fn address(&self, cursor: Option<&str>) -> String {
        let mut out = format!("/search?sort={}", self.sort);
        let mut add = |name: &str, value: &str| {
            let _ = write!(out, "&{name}={}", encode(value));
        };
        if !self.text.is_empty() {
            add("q", &self.text);
        }
        self.kinds.iter().for_each(|k| add("kind", k));
        self.tags.iter().for_each(|v| add("tag", v));
        if let Some(language) = &self.language {
            add("language", language);
        }
        if self.drm_free {
            add("drm-free", "1");
        }
        if let Some(cursor) = cursor {
            add("cursor", cursor);
        }
        out
    }
}

/// `GET /search`
pub fn show(page: &Page) -> Response {
    let t = page.t;
    let asked = Asked::read(page);
    let limit = page.settings.page_size.clamp(4, 60);
    // Others are asked for words, once: further pages are of this shop alone.
    let ask = if asked.text.is_empty() || asked.cursor.is_some() { discovery::search } else { discovery::search_peers };
    let (results, works, down) = match ask(&asked.query(limit)) {
        Ok(results) => {
            let here = |h: &fondaco_sdk::Hit| h.via.is_none().then(|| catalogue::get(&h.work).ok()).flatten();
            let works = results.hits.iter().map(here).collect();
            (results, works, false)
        }
        Err(fondaco_sdk::Error::Invalid(_)) if asked.cursor.is_some() => {
            return page.see_other(&asked.address(None));
        }
        Err(_) => (nothing(), Vec::new(), true),
    };
    let title = if asked.text.is_empty() { t.search_title.to_owned() } else { fill(t.results_for, &[&asked.text]) };
    let suggested =
        if asked.text.is_empty() { Vec::new() } else { discovery::suggest(&asked.text, 8).unwrap_or_default() };
    let content = html! {
        h1 { (title) }
        (page.search_box("q", &asked.text, &suggested))
        @if down {
            (notice(t.search_down))
            (shelf_instead(page, &asked, limit))
        } @else {
            div.columns {
                (filters(page, &asked, &results.facets))
                div.found {
                    p.count role="status" { (t.plural(results.total, t.found_one, t.found_many)) }
                    @if results.missing > 0 {
                        p.quiet { (t.plural(results.missing.into(), t.peers_missing_one, t.peers_missing_many)) }
                    }
                    (slots(page, &results.slots))
                    (hits(page, &asked, &results, &works))
                    (pager(page, &asked, results.next.as_deref()))
                    (elsewhere::found(page, &results))
                }
            }
        }
    };
    page.show(&Head::public(&title, Section::Browse), &content)
}

fn nothing() -> Results {
    Results { hits: Vec::new(), slots: Vec::new(), facets: Vec::new(), total: 0, next: None, missing: 0 }
}

fn hits(page: &Page, asked: &Asked, results: &Results, works: &[Option<Work>]) -> Markup {
    let t = page.t;
    if results.hits.iter().all(|h| h.via.is_some()) {
        return html! {
            div.empty {
                p { strong { (t.nothing_found) } }
                p { (t.nothing_found_more) }
                p { a.button href=(page.link("/search")) { (t.see_all) } }
            }
        };
    }
    // Whoever looks for words wants to see where they stand; whoever looks around wants to see the shelf.
    if asked.text.is_empty() {
        let works: Vec<Work> = works.iter().flatten().cloned().collect();
        return html! { h2.visually-hidden { (t.browse) } (card::shelf(page, &works, 6)) };
    }
    html! {
        ol.hits { @for (hit, work) in results.hits.iter().zip(works) { @if let Some(work) = work { (card::result(page, work, hit)) } } }
    }
}

/// Paid placements, apart from what was found and named as what they are.
fn slots(page: &Page, slots: &[Slot]) -> Markup {
    let t = page.t;
    html! {
        @if !slots.is_empty() {
            aside.slots aria-label=(t.placed) {
                p.kind { (t.placed) }
                ul {
                    @for slot in slots {
                        @if let Ok(work) = catalogue::get(&slot.work) {
                            li {
                                a href=(page.link(card::path(&work.id))) { (work.title) } " "
                                span.quiet { (fill(t.placed_by, &[&slot.sponsor, &slot.payer, &slot.reason])) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// One box of a facet.
fn choice(name: &str, value: &str, words: &str, count: Option<String>, checked: bool) -> Markup {
    html! {
        li { label {
            input type="checkbox" name=(name) value=(value) checked[checked];
            span { (words) }
            @if let Some(count) = count { span.n { (count) } }
        } }
    }
}

fn filters(page: &Page, asked: &Asked, facets: &[Facet]) -> Markup {
    let t = page.t;
    let values =
        |field: &str| facets.iter().find(|f| f.field == field).map(|f| f.values.as_slice()).unwrap_or_default();
    // What is chosen stays to be seen, and to be undone, where it has no hits.
    let tags = values("tag").iter().take(MAX_VALUES).map(|(tag, n)| (tag, Some(*n)));
    let lost = asked.tags.iter().filter(|tag| !values("tag").iter().take(MAX_VALUES).any(|(v, _)| v == *tag));
    let tags: Vec<_> = tags.chain(lost.map(|tag| (tag, None))).collect();
    let languages = values("language");
    html! {
        form.filters action="/search" method="get" aria-label=(t.filters) {
            (page.lang_field())
            @if !asked.text.is_empty() { input type="hidden" name="q" value=(asked.text); }
            details open {
                summary { h2 { (t.filters) } }
                fieldset {
                    legend { (t.filter_kind) }
                    ul {
                        @for kind in format::KINDS {
                            @let name = format::kind_name(kind);
                            @let n = values("kind").iter().find(|(v, _)| v == name).map(|(_, n)| *n);
                            @let checked = asked.kinds.iter().any(|k| k == name);
                            @if n.is_some() || checked {
                                (choice("kind", name, format::kind(t, kind), n.map(|n| format::count(t, n)), checked))
                            }
                        }
                    }
                }
                @if !tags.is_empty() {
                    fieldset {
                        legend { (t.filter_tag) }
                        ul { @for (tag, n) in tags { (choice("tag", tag, tag, n.map(|n| format::count(t, n)), asked.tags.contains(tag))) } }
                    }
                }
                p.field {
                    label for="language" { (t.filter_language) }
                    select id="language" name="language" {
                        option value="" selected[asked.language.is_none()] { (t.any_language) }
                        @if let Some(own) = asked.language.as_ref().filter(|l| !languages.iter().any(|(v, _)| v == *l)) {
                            option value=(own) selected { (format::language_name(own)) }
                        }
                        @for (tag, n) in languages.iter().take(MAX_CHOICES) {
                            option value=(tag) selected[asked.language.as_ref() == Some(tag)] {
                                (format::language_name(tag)) " (" (format::count(t, *n)) ")"
                            }
                        }
                    }
                }
                p.field {
                    label for="sort" { (t.sort_label) }
                    select id="sort" name="sort" {
                        @for ((name, _), words) in SORTS.iter().zip([t.sort_relevance, t.sort_newest, t.sort_title, t.sort_price]) {
                            option value=(name) selected[*name == asked.sort] { (words) }
                        }
                    }
                }
                ul { (choice("drm-free", "1", t.filter_drm_free, None, asked.drm_free)) }
                p.acts {
                    button type="submit" { (t.apply) }
                    @if asked.narrowed() {
                        a href=(page.link(if asked.text.is_empty() { "/search".to_owned() } else { format!("/search?q={}", encode(&asked.text)) })) { (t.clear_filters) }
                    }
                }
            }
        }
    }
}

fn pager(page: &Page, asked: &Asked, next: Option<&str>) -> Markup {
    html! {
        @if asked.cursor.is_some() || next.is_some() {
            nav.pager aria-label=(page.t.pages) {
                @if asked.cursor.is_some() { a.button.plain href=(page.link(asked.address(None))) { (page.t.first_page) } }
                @if let Some(next) = next { a.button href=(page.link(asked.address(Some(next)))) rel="next" { (page.t.next_page) } }
            }
        }
    }
}

/// The catalogue itself, for when no provider answers.
fn shelf_instead(page: &Page, asked: &Asked, limit: u32) -> Markup {
    // A cursor of the search provider's means nothing to the catalogue; one of the catalogue's own is marked.
    let cursor = asked.cursor.as_deref().and_then(|c| c.strip_prefix("shelf:"));
    match catalogue::browse(cursor, limit) {
        Err(_) => notice(page.t.shelf_down),
        Ok(found) => html! {
            h2.visually-hidden { (page.t.newest) }
            (card::shelf(page, &found.works, 6))
            (pager(page, asked, found.next.map(|n| format!("shelf:{n}")).as_deref()))
        },
    }
}

/// `GET /suggest?q=`: completions as OpenSearch suggestions (`[words, [completion…]]`), which browsers read too.
pub fn suggest(page: &Page) -> Response {
    let text: String = page.request.query("q").unwrap_or_default().chars().take(MAX_TEXT).collect();
    let words = if text.trim().is_empty() { Vec::new() } else { discovery::suggest(&text, 8).unwrap_or_default() };
    Response::new("application/x-suggestions+json", serde_json::json!([text, words]).to_string())
        .with("cache-control", "private, max-age=60")
}
