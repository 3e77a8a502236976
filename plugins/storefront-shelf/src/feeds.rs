//! What programs read: the Atom feed, the OpenSearch description, the web manifest, the sitemap and the robots file.

use fondaco_sdk::{Response, Work, catalogue};
use maud::{Markup, PreEscaped, html};

use crate::art::plain;
use crate::card;
use crate::page::Page;

/// Works in the feed.
const FEED: u32 = 40;
/// Works in the sitemap: the protocol allows 50,000, one call of the catalogue gives as many as the node lets it.
const SITEMAP: usize = 2000;
const XML: PreEscaped<&str> = PreEscaped("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");

/// Where the shop is, as it may stand in XML.
fn base(page: &Page) -> String {
    text(page.brand.base_url.trim_end_matches('/'))
}

fn xml(media_type: &str, body: Markup) -> Response {
    Response::new(media_type, body.into_string()).cache(300)
}

/// Text that XML allows.
fn text(text: &str) -> String {
    // Line ends are control characters that are worth keeping.
    text.lines().map(|l| plain(l, 10_000)).collect::<Vec<_>>().join("\n")
}

/// `GET /feed.xml`: Atom (RFC 4287) of the newest works.
pub fn atom(page: &Page) -> Response {
    let base = base(page);
    let Ok(found) = catalogue::browse(None, FEED) else {
        return page.problem(http::StatusCode::SERVICE_UNAVAILABLE, page.t.down_title, page.t.shelf_down);
    };
    let updated = found.works.iter().map(|w| w.published.as_str()).max().unwrap_or("1970-01-01T00:00:00Z");
    let entry = |work: &Work| {
        html! {
            entry {
                id { (base) (card::path(&work.id)) }
                title { (text(&work.title)) }
                updated { (text(&work.published)) }
                @for creator in &work.creators { author { name { (text(creator)) } } }
                @if work.creators.is_empty() { author { name { (text(&page.brand.name)) } } }
                link rel="alternate" type="text/html" href={ (base) (card::path(&work.id)) } {}
                @for tag in &work.tags { category term=(text(tag)) {} }
                summary { (text(&work.description)) }
            }
        }
    };
    let feed = html! {
        (XML)
        feed xmlns="http://www.w3.org/2005/Atom" xml:lang=(page.t.lang) {
            id { (base) "/feed.xml" }
            title { (text(&page.brand.name)) }
            subtitle { (text(&page.brand.tagline)) }
            updated { (text(updated)) }
            link rel="self" type="application/atom+xml" href={ (base) "/feed.xml" } {}
            link rel="alternate" type="text/html" href={ (base) "/" } {}
            @for work in &found.works { (entry(work)) }
        }
    };
    xml("application/atom+xml; charset=utf-8", feed)
}

/// `GET /opensearch.xml`: lets a browser search the shop (OpenSearch 1.1).
pub fn opensearch(page: &Page) -> Response {
    let base = base(page);
    // The format takes 16 characters for the short name and 1024 for the description.
    let short: String = text(&page.brand.name).chars().take(16).collect();
    let description: String = text(&page.brand.tagline).chars().take(1024).collect();
    let body = html! {
        (XML)
        (PreEscaped("<OpenSearchDescription xmlns=\"http://a9.com/-/spec/opensearch/1.1/\">"))
        (element("ShortName", &short))
        (element("Description", if description.is_empty() { &short } else { &description }))
        (element("InputEncoding", "UTF-8"))
        (element("AdultContent", "false"))
        (address("text/html", "results", &format!("{base}/search?q={{searchTerms}}")))
        (address("application/x-suggestions+json", "suggestions", &format!("{base}/suggest?q={{searchTerms}}")))
        (PreEscaped("</OpenSearchDescription>"))
    };
    xml("application/opensearchdescription+xml; charset=utf-8", body)
}

/// An element whose name has capitals, which the template language does not write.
fn element(name: &'static str, value: &str) -> Markup {
    html! { (PreEscaped("<")) (PreEscaped(name)) (PreEscaped(">")) (value) (PreEscaped("</")) (PreEscaped(name)) (PreEscaped(">")) }
}

fn address(media_type: &str, rel: &str, template: &str) -> Markup {
    html! { (PreEscaped("<Url type=\"")) (media_type) (PreEscaped("\" rel=\"")) (rel) (PreEscaped("\" template=\"")) (template) (PreEscaped("\"/>")) }
}

/// `GET /manifest.webmanifest`: name and colours for those who put the shop on their home screen.
pub fn manifest(page: &Page) -> Response {
    let colour = |name: &str| page.brand.colors.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
    let icon = if page.brand.logo.is_some() {
        serde_json::json!({ "src": "/theme/logo", "sizes": "any" })
    } else {
        serde_json::json!({ "src": "/icon.svg", "sizes": "any", "type": "image/svg+xml" })
    };
    let mut manifest = serde_json::json!({
        "name": page.brand.name, "short_name": page.brand.name, "description": page.brand.tagline, "lang": page.t.lang,
        "start_url": "/", "scope": "/", "display": "minimal-ui", "icons": [icon],
    });
    if let Some(fields) = manifest.as_object_mut() {
        for (field, name) in [("theme_color", "brand"), ("background_color", "surface")] {
            if let Some(value) = colour(name) {
                fields.insert(field.into(), value.into());
            }
        }
    }
    Response::new("application/manifest+json", manifest.to_string()).cache(3600).with("vary", "accept-language")
}

/// `GET /sitemap.xml`
pub fn sitemap(page: &Page) -> Response {
    let base = base(page);
    let mut works: Vec<Work> = Vec::new();
    let mut cursor: Option<String> = None;
    while works.len() < SITEMAP {
        let Ok(found) = catalogue::browse(cursor.as_deref(), 100) else { break };
        let more = !found.works.is_empty();
        works.extend(found.works);
        cursor = found.next;
        if cursor.is_none() || !more {
            break;
        }
    }
    let body = html! {
        (XML)
        urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9" {
            @for path in ["/", "/search", "/campaigns", "/about"] { url { loc { (base) (path) } } }
            @for work in &works { url { loc { (base) (card::path(&work.id)) } lastmod { (text(&work.published)) } } }
        }
    };
    xml("application/xml; charset=utf-8", body)
}

/// `GET /robots.txt`: works are for everyone to find; orders and libraries are nobody's.
pub fn robots(page: &Page) -> Response {
    let text = format!(
        "User-agent: *\nDisallow: /orders/\nDisallow: /library\nDisallow: /suggest\nDisallow: /-/\nSitemap: {}/sitemap.xml\n",
        base(page)
    );
    Response::new("text/plain; charset=utf-8", text).cache(3600)
}
