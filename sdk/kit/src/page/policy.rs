//! Does the page live with what a node sends along with every page: a content security policy without exceptions, and
//! headers that are its own? What a browser would refuse to load or to run is found here.

use http::{HeaderMap, StatusCode, header};

use super::tree::Element;
use super::{Page, Where};

/// Response headers that a node takes from a storefront; it drops all others (`host/gateway`). `fondaco-page` is for
/// the node alone.
const TAKEN: [&str; 11] = [
    "content-type",
    "content-language",
    "content-disposition",
    "cache-control",
    "etag",
    "last-modified",
    "retry-after",
    "vary",
    "link",
    "location",
    "fondaco-page",
];
/// What HTTP libraries add by themselves, and nobody means anything by.
const IGNORED: [&str; 5] = ["content-length", "date", "transfer-encoding", "connection", "allow"];

/// Types of scripts that run; what has another type is data, and lies there quietly (WHATWG HTML §4.12.1).
fn runs(script: &Element) -> bool {
    let kind = script.get("type").unwrap_or_default().trim().to_ascii_lowercase();
    kind.is_empty()
        || kind == "module"
        || kind == "importmap"
        || kind == "speculationrules"
        || kind.contains("javascript")
        || kind.contains("ecmascript")
}

/// What the policy keeps from running or loading.
pub(crate) fn blocked(page: &Page) -> Vec<String> {
    let mut found = Vec::new();
    for element in &page.tree.elements {
        let shown = element.shown();
        match element.name.as_str() {
            "script" if element.get("src").is_none() && runs(element) => {
                found.push(format!(
                    "{shown} is an inline script, and runs nowhere: put it into a file of the shop and name it with src"
                ));
            }
            "style" => {
                found.push("<style> is ignored by browsers here: put the rules into a style sheet of the shop".into());
            }
            "iframe" | "frame" | "object" | "embed" | "applet" => {
                found.push(format!("{shown} stays empty: no page is framed in a shop"));
            }
            "base" => found.push(format!("{shown} is ignored: write whole paths")),
            _ => {}
        }
        for (name, value) in &element.attributes {
            if name.starts_with("on") && name.len() > 2 {
                found.push(format!("{shown}: {name} is an inline script, and runs nowhere"));
            }
            if name == "style" {
                found.push(format!("{shown}: the attribute style is ignored by browsers here: use a class"));
            }
            if value.trim_start().to_ascii_lowercase().starts_with("javascript:") {
                found.push(format!("{shown}: {name} is a script, and runs nowhere"));
            }
        }
        for address in loads(element) {
            if !matches!(page.resolve(address), Some(Where::Here(_))) {
                found.push(format!(
                    "{shown} loads from elsewhere ({address:?}), which browsers refuse: serve it from the shop"
                ));
            }
        }
    }
    found
}

/// Addresses that a browser follows by itself.
pub(crate) fn loads(element: &Element) -> Vec<&str> {
    let mut found = Vec::new();
    let mut of = |name: &str| found.extend(element.get(name));
    match element.name.as_str() {
        "script" | "img" | "audio" | "source" | "track" | "iframe" | "embed" | "input" => of("src"),
        "video" => {
            of("src");
            of("poster");
        }
        "object" => of("data"),
        "form" => of("action"),
        "button" => of("formaction"),
        "use" | "image" => {
            of("href");
            of("xlink:href");
        }
        "link" => {
            let rel = element.get("rel").unwrap_or_default().to_ascii_lowercase();
            let loading =
                ["stylesheet", "icon", "preload", "modulepreload", "manifest", "prefetch", "apple-touch-icon"];
            if rel.split_whitespace().any(|r| loading.contains(&r)) {
                of("href");
            }
        }
        _ => {}
    }
    for name in ["srcset", "imagesrcset"] {
        let candidates = element.get(name).unwrap_or_default().split(',');
        found.extend(candidates.filter_map(|c| c.split_whitespace().next()));
    }
    found
}

/// What a style sheet loads from elsewhere.
pub(crate) fn blocked_in_css(target: &str, css: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = css;
    while let Some((_, after)) = rest.split_once("url(") {
        let (inside, later) = after.split_once(')').unwrap_or((after, ""));
        let address = inside.trim().trim_matches(['"', '\'']);
        if !address.starts_with('#') && !matches!(super::resolve(target, address), Some(Where::Here(_))) {
            let short: String = address.chars().take(60).collect();
            found.push(format!("{target} loads {short:?}, which browsers refuse: serve it from the shop"));
        }
        rest = later;
    }
    if css.contains("@import \"http") || css.contains("@import 'http") || css.contains("@import \"//") {
        found.push(format!("{target} imports a style sheet from elsewhere, which browsers refuse"));
    }
    found
}

/// Headers that a node drops or refuses.
pub(crate) fn headers(
    target: &str,
    status: StatusCode,
    headers: &HeaderMap,
    private: &[&str],
    body: &str,
) -> Vec<String> {
    let mut found = Vec::new();
    for name in headers.keys().map(http::HeaderName::as_str) {
        if !TAKEN.contains(&name) && !IGNORED.contains(&name) {
            let why = match name {
                "set-cookie" => "a node has one cookie, its own; the visitor is known by the header fondaco-session",
                "content-security-policy" | "content-security-policy-report-only" => "the policy is the node's",
                _ => "a node drops it",
            };
            found.push(format!("{target} sets the header {name}: {why}; leave it out"));
        }
    }
    let text = |name: header::HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
    if !body.is_empty() && text(header::CONTENT_TYPE).is_none_or(|t| !t.contains('/')) {
        found.push(format!("{target} has no content-type: browsers would not show it"));
    }
    let is_promised = headers.get("fondaco-page").is_some_and(|v| v == "shared");
    let shared = is_promised || text(header::CACHE_CONTROL).unwrap_or_default().contains("public");
    if shared && private.iter().any(|p| body.contains(p)) {
        found.push(format!("{target} lets everybody's caches keep a page with one visitor's session or token: say no-store, or leave cache-control and fondaco-page out"));
    }
    if status.is_redirection() && status != StatusCode::NOT_MODIFIED && text(header::LOCATION).is_none() {
        found.push(format!("{target} answers {status} without a location"));
    }
    if status.is_informational() {
        found.push(format!("{target} answers {status}, which is no answer"));
    }
    found
}

/// May a node send a browser there? A path of this site, and nothing that browsers take for another one.
pub(crate) fn leads_here(location: &str) -> bool {
    let bytes = location.as_bytes();
    let plain = |b: &u8| b.is_ascii_graphic() && *b != b'\\';
    bytes.first() == Some(&b'/') && bytes.get(1) != Some(&b'/') && bytes.iter().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(html: &str) -> String {
        blocked(&Page::read("/", html.as_bytes())).join("\n")
    }

    #[test]
    fn finds_what_a_browser_would_refuse() {
        for (html, words) in [
            ("<script>kit()</script>", "inline script"),
            ("<script type=module>kit()</script>", "inline script"),
            ("<style>p{}</style>", "<style>"),
            ("<p style='color:red'>", "attribute style"),
            ("<p onclick='kit()'>", "onclick"),
            ("<a href=' JavaScript:kit()'>x</a>", "is a script"),
            ("<iframe src='/x'></iframe>", "framed"),
            ("<base href='/x/'>", "ignored"),
            ("<img src='https://cdn.example/x.png'>", "elsewhere"),
            ("<img srcset='/a.png 1x, //cdn.example/b.png 2x'>", "elsewhere"),
            ("<img src='data:image/png;base64,AAAA'>", "elsewhere"),
            ("<link rel='stylesheet' href='//cdn.example/x.css'>", "elsewhere"),
            ("<script src='https://cdn.example/x.js'></script>", "elsewhere"),
            ("<form action='https://evil.example/' method=post></form>", "elsewhere"),
            ("<video poster='https://cdn.example/x.png'></video>", "elsewhere"),
        ] {
            assert!(of(html).contains(words), "{html}: {:?}", of(html));
        }
        for html in [
            "<script type='application/ld+json'>{}</script>",
            "<script src='/x.js'></script>",
            "<a href='https://elsewhere.example/'>a link is no load</a>",
            "<link rel='license' href='https://creativecommons.org/'>",
            "<img src='https://shop.example/x.png'>",
        ] {
            assert_eq!(of(html), "", "{html}");
        }
        let css =
            "@import \"https://x\"; a{background:url('//cdn.example/x')} b{background:url(/y.png)} c{fill:url(#z)}";
        assert_eq!(blocked_in_css("/s.css", css).len(), 2);
    }

    #[test]
    fn finds_headers_that_a_node_drops() {
        let of = |pairs: &[(&'static str, &str)], body: &str| {
            let pairs = pairs.iter().map(|(k, v)| (http::HeaderName::from_static(k), v.parse().unwrap()));
            headers("/", StatusCode::OK, &pairs.collect(), &["secret"], body).join("\n")
        };
        let html = ("content-type", "text/html");
        assert_eq!(of(&[html, ("cache-control", "public, max-age=60")], "page"), "");
        assert_eq!(of(&[html, ("cache-control", "no-store")], "secret"), "");
        assert!(of(&[html, ("cache-control", "public")], "a secret").contains("everybody's caches"));
        assert_eq!(of(&[html, ("fondaco-page", "shared")], "page"), "");
        assert!(of(&[html, ("fondaco-page", "shared")], "a secret").contains("fondaco-page out"));
        assert!(of(&[html, ("set-cookie", "a=b")], "").contains("one cookie"));
        assert!(of(&[html, ("x-powered-by", "kit")], "").contains("drops it"));
        assert!(of(&[], "page").contains("no content-type"));
    }
}
