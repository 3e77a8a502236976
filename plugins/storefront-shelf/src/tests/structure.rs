//! What holds for every page, whatever stands on it.

use std::collections::BTreeSet;

use super::fixture::{HOSTILE, PUBLISHER, every_page, get, hostile_shop, shop};

/// One tag of a page: its name (with `/` when it closes) and its attributes.
struct Tag {
    name: String,
    attributes: Vec<(String, String)>,
}

impl Tag {
    fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// Reads a page as a browser would: names and values as they come, whatever they were meant to be.
fn tags(html: &str) -> Vec<Tag> {
    let mut out = Vec::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        if rest.starts_with('!') {
            continue;
        }
        let end = rest.find(|c: char| c.is_whitespace() || c == '>').expect("a tag ends");
        let name = rest[..end].to_ascii_lowercase();
        assert!(name.trim_start_matches('/').chars().all(|c| c.is_ascii_alphanumeric()), "<{name} is no tag");
        rest = &rest[end..];
        let mut attributes = Vec::new();
        loop {
            rest = rest.trim_start();
            if let Some(after) = rest.strip_prefix('>') {
                rest = after;
                break;
            }
            let end = rest.find(|c: char| c.is_whitespace() || c == '=' || c == '>').expect("an attribute ends");
            let attribute = rest[..end].to_ascii_lowercase();
            rest = &rest[end..];
            let value = match rest.strip_prefix("=\"") {
                Some(quoted) => {
                    let end = quoted.find('"').expect("a quote ends");
                    rest = &quoted[end + 1..];
                    quoted[..end].to_owned()
                }
                None => String::new(),
            };
            assert!(!attribute.is_empty(), "<{name}: {}", &rest[..rest.len().min(80)]);
            attributes.push((attribute, value));
        }
        if name == "script" {
            // What is in it is not markup; the tag that closes it comes next.
            rest = &rest[rest.find("</script>").expect("a script ends")..];
        }
        out.push(Tag { name, attributes });
    }
    out
}

fn check(page: &str, html: &str, lang: &str) {
    let all = tags(html);
    let named = |name: &'static str| all.iter().filter(move |t| t.name == name);
    let ids: Vec<&str> = all.iter().filter_map(|t| t.get("id")).collect();
    let unique: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(ids.len(), unique.len(), "{page}: an id is there twice in {ids:?}");

    assert!(html.starts_with("<!DOCTYPE html>"), "{page}");
    assert_eq!(named("html").next().and_then(|t| t.get("lang")), Some(lang), "{page}");
    for one in ["h1", "main", "title"] {
        assert_eq!(named(one).count(), 1, "{page}: {one}");
    }
    assert_eq!(named("style").count(), 0, "{page}");
    for script in named("script") {
        let data = script.get("type") == Some("application/ld+json");
        assert!(data || script.get("src").is_some_and(|s| s.starts_with("/assets/")), "{page}: an inline script");
    }
    let mut label_open = false;
    let mut form: Option<(bool, bool)> = None;
    let mut last_heading = 0;
    for tag in &all {
        for (name, value) in &tag.attributes {
            assert!(!name.starts_with("on") && name != "style", "{page}: <{} {name}={value}>", tag.name);
            if ["href", "src", "action", "data-path"].contains(&name.as_str()) {
                let safe =
                    ["/", "#", "https://", "http://", "mailto:", "bitcoin:"].iter().any(|s| value.starts_with(s));
                let base = value.starts_with("&quot;onload"); // the hostile brand's own base address
                assert!(safe || base, "{page}: <{} {name}={value}>", tag.name);
            }
            if ["aria-labelledby", "aria-describedby", "list", "for"].contains(&name.as_str()) {
                for id in value.split(' ') {
                    assert!(unique.contains(id), "{page}: {name}={value} leads nowhere");
                }
            }
        }
        match tag.name.as_str() {
            "label" => label_open = true,
            "/label" => label_open = false,
            "form" => form = Some((tag.get("method") == Some("post"), false)),
            "/form" => {
                let (posted, guarded) = form.take().expect("a form is open");
                assert!(!posted || guarded, "{page}: a form without its token");
                assert!(posted || !guarded, "{page}: a token in an address");
            }
            "img" => assert!(tag.get("alt").is_some(), "{page}: an image without alt"),
            "input" | "select" | "textarea" => {
                if tag.get("name") == Some("csrf") {
                    assert_eq!(tag.get("value"), Some("token"), "{page}");
                    if let Some((_, guarded)) = &mut form {
                        *guarded = true;
                    }
                }
                let labelled =
                    label_open || tag.get("id").is_some_and(|id| named("label").any(|l| l.get("for") == Some(id)));
                assert!(labelled || tag.get("type") == Some("hidden"), "{page}: {:?} has no label", tag.get("name"));
            }
            heading if heading.len() == 2 && heading.starts_with('h') && heading != "hr" => {
                let level: usize = heading[1..].parse().unwrap();
                assert!(level <= last_heading + 1, "{page}: h{last_heading} is followed by h{level}");
                last_heading = level;
            }
            _ => {}
        }
    }
}

#[test]
fn every_page_is_sound_in_both_languages() {
    shop();
    for lang in ["en", "fr"] {
        let pages = every_page(lang);
        for (name, response) in &pages {
            check(name, &response.text(), lang);
            assert!(response.header("cache-control").is_some_and(|c| c.starts_with("private")), "{name}");
        }
    }
}

#[test]
fn every_page_is_sound_when_every_word_means_harm() {
    hostile_shop();
    for (name, response) in every_page("en") {
        check(&name, &response.text(), "en");
        assert!(!response.text().contains("<script>alert"), "{name}");
    }
    // The json of the page is json, whatever the words are.
    let page = get(&format!("/works/{PUBLISHER}/grain-store")).text();
    let json = page.split_once("application/ld+json\">").unwrap().1.split_once("</script>").unwrap().0;
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(json["name"], HOSTILE);
}

#[test]
fn what_programs_read_is_well_formed_when_every_word_means_harm() {
    hostile_shop();
    for path in ["/feed.xml", "/opensearch.xml", "/sitemap.xml", "/icon.svg"] {
        xml(path);
    }
    for slug in ["grain-store", "low-water", "salt-roads", "lighthouse-keeper"] {
        xml(&format!("/art/{PUBLISHER}/{slug}.svg"));
    }
    let manifest: serde_json::Value = serde_json::from_str(&get("/manifest.webmanifest").text()).unwrap();
    assert_eq!(manifest["name"], HOSTILE);
}

fn xml(path: &str) {
    let text = get(path).text();
    let document = roxmltree::Document::parse(&text).unwrap_or_else(|e| panic!("{path}: {e}\n{text}"));
    let odd = document.descendants().flat_map(|n| n.attributes()).find(|a| a.name().starts_with("on"));
    assert!(odd.is_none() && !document.descendants().any(|n| n.has_tag_name("script")), "{path}");
}

#[test]
fn the_feed_and_the_search_description_say_what_their_formats_ask() {
    shop();
    let feed = get("/feed.xml");
    assert_eq!(feed.header("content-type"), Some("application/atom+xml; charset=utf-8"));
    let text = feed.text();
    let document = roxmltree::Document::parse(&text).unwrap();
    let entries: Vec<_> =
        document.descendants().filter(|n| n.has_tag_name(("http://www.w3.org/2005/Atom", "entry"))).collect();
    assert_eq!(entries.len(), 10);
    for entry in entries {
        for part in ["id", "title", "updated", "author", "link"] {
            assert!(entry.children().any(|c| c.tag_name().name() == part), "{part}");
        }
    }
    let text = get("/opensearch.xml").text();
    let document = roxmltree::Document::parse(&text).unwrap();
    let template = document.descendants().find_map(|n| n.attribute("template"));
    assert_eq!(template, Some("https://shop.example/search?q={searchTerms}"));
    assert!(get("/robots.txt").text().contains("Sitemap: https://shop.example/sitemap.xml"));
    assert!(
        get("/sitemap.xml").text().contains(&format!("<loc>https://shop.example/works/{PUBLISHER}/low-water</loc>"))
    );
}
