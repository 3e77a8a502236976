//! Can everybody use the page: with a screen reader, with a keyboard, without scripts? What a program can see of WCAG 2.2,
//! level A, and not the rest: whether a text says anything is for people to judge.

use std::collections::BTreeSet;

use super::Page;
use super::tree::{Element, Tree};

/// What a page lacks for those who do not see it, or see it otherwise.
pub(crate) fn structure(page: &Page) -> Vec<String> {
    let tree = &page.tree;
    let mut found = Vec::new();
    let language = tree.all("html").next().and_then(|(_, e)| e.get("lang")).unwrap_or_default();
    if language.trim().is_empty() {
        found.push("<html> has no lang: write <html lang=\"en\">, so that it is read out in its language".into());
    }
    if !tree.doctype {
        found.push("the page does not begin with <!doctype html>".into());
    }
    // An SVG's own title is no page's.
    let title = tree.all("title").find(|(i, _)| tree.around(*i, &["svg"]).is_none());
    if title.is_none_or(|(i, _)| tree.words(i).is_empty()) {
        found.push("the page has no <title>: it is the first thing that is read out".into());
    }
    let described = tree.all("meta").any(|(_, e)| e.get("name") == Some("viewport"));
    if !described {
        found
            .push("no <meta name=\"viewport\" content=\"width=device-width\">: on a telephone the page is tiny".into());
    }
    if tree.all("meta").any(|(_, e)| {
        e.get("name") == Some("viewport")
            && e.get("content").is_some_and(|c| c.contains("user-scalable=no") || c.contains("maximum-scale=1"))
    }) {
        found.push("the viewport forbids zooming: take user-scalable and maximum-scale out".into());
    }
    match tree.all("main").filter(|(_, e)| e.get("hidden").is_none()).count() {
        1 => {}
        0 => found.push("the page has no <main>: put what the page is about into one".into()),
        n => found.push(format!("the page has {n} <main> elements: one is enough")),
    }
    headings(tree, &mut found);
    ids(tree, &mut found);
    found.extend(tree.broken.iter().map(|b| format!("the markup does not nest: {b}")));
    found
}

fn headings(tree: &Tree, found: &mut Vec<String>) {
    let level = |e: &Element| match e.name.as_str() {
        "h1" => Some(1),
        "h2" => Some(2),
        "h3" => Some(3),
        "h4" => Some(4),
        "h5" => Some(5),
        "h6" => Some(6),
        _ => None,
    };
    let levels: Vec<(usize, usize)> =
        tree.elements.iter().enumerate().filter_map(|(i, e)| Some((i, level(e)?))).collect();
    match levels.iter().filter(|(_, l)| *l == 1).count() {
        1 => {}
        0 => found.push("the page has no <h1>: give it one that says what it is".into()),
        n => found.push(format!("the page has {n} <h1>: one says what the page is, the others are <h2> and below")),
    }
    let mut last = 0;
    for (index, level) in levels {
        if level > last + 1 && last > 0 {
            found.push(format!("<h{last}> is followed by <h{level}> ({:?}): do not skip a level", tree.words(index)));
        }
        if tree.words(index).is_empty() {
            found.push(format!("an <h{level}> is empty"));
        }
        last = level;
    }
}

fn ids(tree: &Tree, found: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for id in tree.elements.iter().filter_map(|e| e.get("id")) {
        if !seen.insert(id) {
            found.push(format!("the id {id:?} is there twice: labels and links find the first one only"));
        }
    }
    for element in &tree.elements {
        for name in ["aria-labelledby", "aria-describedby", "for", "list"] {
            for id in element.get(name).unwrap_or_default().split_whitespace() {
                if !seen.contains(id) {
                    found.push(format!("{name}=\"{id}\" leads to no element"));
                }
            }
        }
    }
}

fn named(tree: &Tree, index: usize, element: &Element) -> bool {
    let given = ["aria-label", "title"].iter().any(|n| element.get(n).is_some_and(|v| !v.trim().is_empty()));
    let by = element.get("aria-labelledby").unwrap_or_default();
    given
        || by.split_whitespace().any(|id| tree.by_id(id).is_some_and(|i| !tree.words(i).is_empty()))
        || !tree.words(index).is_empty()
}

/// Pictures without a text.
pub(crate) fn pictures(page: &Page) -> Vec<String> {
    let tree = &page.tree;
    let mut found = Vec::new();
    for (_, image) in tree.all("img") {
        if image.get("alt").is_none() {
            found.push(format!("{} has no alt: say what it shows, or alt=\"\" where it only decorates", image.shown()));
        }
    }
    for (i, _) in tree.all("svg") {
        let svg = tree.elements.get(i);
        let hidden = svg.is_some_and(|e| e.get("aria-hidden") == Some("true") || e.get("role") == Some("presentation"));
        let inside_hidden = svg.is_some_and(|e| e.parent.is_some()) && hidden_above(tree, i);
        if !hidden && !inside_hidden && svg.is_some_and(|e| !named(tree, i, e)) {
            found.push("an <svg> has neither a <title> nor aria-hidden=\"true\"".into());
        }
    }
    found
}

fn hidden_above(tree: &Tree, index: usize) -> bool {
    let mut next = tree.elements.get(index).and_then(|e| e.parent);
    while let Some(up) = next.and_then(|i| tree.elements.get(i)) {
        if up.get("aria-hidden") == Some("true") {
            return true;
        }
        next = up.parent;
    }
    false
}

/// Fields without a label, links and buttons without a name.
pub(crate) fn labels(page: &Page) -> Vec<String> {
    let tree = &page.tree;
    let mut found = Vec::new();
    for (index, element) in tree.elements.iter().enumerate() {
        let kind = element.get("type").unwrap_or_default();
        let typed = |types: &[&str]| types.contains(&kind);
        match element.name.as_str() {
            "input" if typed(&["hidden"]) => {}
            "input" if typed(&["submit", "reset", "button", "image"]) => {
                let value = element.get("value").or(element.get("alt")).unwrap_or_default();
                // A submit button without a value says "Submit", in the browser's language.
                if value.trim().is_empty() && !typed(&["submit", "reset"]) && !named(tree, index, element) {
                    found.push(format!("{} has no name: give it a value", element.shown()));
                }
            }
            "input" | "select" | "textarea" => {
                let for_it = element.get("id").is_some_and(|id| {
                    tree.all("label").any(|(i, l)| l.get("for") == Some(id) && !tree.words(i).is_empty())
                });
                let around = tree.around(index, &["label"]).is_some_and(|l| !tree.words(l).is_empty());
                let given =
                    ["aria-label", "title"].iter().any(|n| element.get(n).is_some_and(|v| !v.trim().is_empty()))
                        || element.get("aria-labelledby").is_some();
                if !for_it && !around && !given {
                    found.push(format!(
                        "{} has no label: put it in a <label>, or give it an id and <label for>",
                        element.shown()
                    ));
                }
            }
            "a" if element.get("href").is_some() && !named(tree, index, element) => {
                found.push(format!("{} has no words: say where it leads", element.shown()));
            }
            "button" if !named(tree, index, element) => {
                found.push(format!("{} has no words: say what it does", element.shown()));
            }
            _ => {}
        }
        if element.get("tabindex").and_then(|t| t.parse::<i32>().ok()).is_some_and(|t| t > 0) {
            found.push(format!("{} jumps the keyboard's order: tabindex is 0, -1 or absent", element.shown()));
        }
    }
    found
}

/// What does nothing where scripts are off.
pub(crate) fn without_scripts(page: &Page) -> Vec<String> {
    let tree = &page.tree;
    let mut found = Vec::new();
    for (index, form) in tree.all("form") {
        if form.get("action").is_none_or(|a| a.trim().is_empty()) {
            found.push(format!("{} has no action: say where it goes", form.shown()));
        }
        let method = form.get("method").unwrap_or_default().to_ascii_lowercase();
        if method != "get" && method != "post" && method != "dialog" {
            found.push(format!("{} has no method: write get for what only looks, post for what changes", form.shown()));
        }
        let id = form.get("id");
        let sends = |i: usize, e: &Element| {
            let belongs = tree.is_within(i, index) || (id.is_some() && e.get("form") == id);
            let kind = e.get("type").unwrap_or(if e.name == "button" { "submit" } else { "text" });
            belongs && (e.name == "button" || e.name == "input") && (kind == "submit" || kind == "image")
        };
        if !tree.elements.iter().enumerate().any(|(i, e)| sends(i, e)) {
            found.push(format!("{} has no button that sends it", form.shown()));
        }
    }
    for (index, button) in tree.all("button") {
        let hidden = button.get("hidden").is_some() || hidden_parent(tree, index);
        let native = ["popovertarget", "commandfor", "form"].iter().any(|n| button.get(n).is_some());
        let plain = button.get("type") == Some("button") || tree.around(index, &["form"]).is_none();
        if plain && !hidden && !native {
            found.push(format!(
                "{} does nothing where scripts are off: let the script add it, or mark it hidden until the script runs",
                button.shown()
            ));
        }
    }
    for (_, link) in tree.all("a") {
        let href = link.get("href").map(str::trim);
        if href.is_some_and(|h| h.is_empty() || h == "#" || h.to_ascii_lowercase().starts_with("javascript:")) {
            found.push(format!("{} leads nowhere where scripts are off: give it an address", link.shown()));
        }
    }
    found
}

fn hidden_parent(tree: &Tree, index: usize) -> bool {
    let mut next = tree.elements.get(index).and_then(|e| e.parent);
    while let Some(up) = next.and_then(|i| tree.elements.get(i)) {
        if up.get("hidden").is_some() || up.name == "template" || up.name == "dialog" {
            return true;
        }
        next = up.parent;
    }
    false
}

/// Forms that the node would refuse: they are posted and lack this visitor's token.
pub(crate) fn tokens(page: &Page, token: &str) -> Vec<String> {
    let tree = &page.tree;
    let mut found = Vec::new();
    for (index, form) in tree.all("form") {
        let posted = form.get("method").is_some_and(|m| m.eq_ignore_ascii_case("post"));
        let field = tree.all("input").find(|(i, e)| tree.is_within(*i, index) && e.get("name") == Some("csrf"));
        match field {
            None if posted => found.push(format!(
                "{} is posted and has no token: add <input type=\"hidden\" name=\"csrf\"> with the value of the request's header fondaco-csrf",
                form.shown()
            )),
            Some((_, e)) if posted && e.get("value") != Some(token) => {
                found.push(format!("{} has another token than the request's header fondaco-csrf", form.shown()));
            }
            Some(_) if !posted => found.push(format!("{} puts the visitor's token into an address: post it, or leave the token out", form.shown())),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "<!doctype html><html lang=\"en\"><head><title>Shop</title><meta name=\"viewport\" content=\"width=device-width\">\
        </head><body><main><h1>Shop</h1><h2>New</h2><a href=\"/x\"><img src=\"/x.png\" alt=\"Cover\"></a>\
        <form action=\"/buy\" method=\"post\"><input type=\"hidden\" name=\"csrf\" value=\"t\"><label>Name <input name=\"n\"></label>\
        <button>Buy</button></form></main></body></html>";

    fn all(html: &str) -> String {
        let page = Page::read("/", html.as_bytes());
        [structure(&page), pictures(&page), labels(&page), without_scripts(&page), tokens(&page, "t")]
            .concat()
            .join("\n")
    }

    #[test]
    fn each_thing_that_is_taken_away_is_missed() {
        assert_eq!(all(GOOD), "");
        for (from, to, words) in [
            (" lang=\"en\"", "", "no lang"),
            ("<!doctype html>", "", "<!doctype html>"),
            ("<title>Shop</title>", "<title> </title>", "no <title>"),
            ("width=device-width", "maximum-scale=1", "forbids zooming"),
            ("<meta name=\"viewport\"", "<meta name=\"x\"", "viewport"),
            ("main>", "div>", "no <main>"),
            ("<h1>Shop</h1>", "", "no <h1>"),
            ("<h1>Shop</h1>", "<h1>Shop</h1><h1>Shop</h1>", "2 <h1>"),
            ("h2>", "h3>", "skip a level"),
            ("<h2>New</h2>", "<h2></h2>", "an <h2> is empty"),
            ("<h2>", "<h2 id=\"a\"><i id=\"a\"></i>", "there twice"),
            ("<h2>", "<h2 aria-labelledby=\"none\">", "leads to no element"),
            ("</h2>", "", "does not nest"),
            (" alt=\"Cover\"", "", "has no alt"),
            (" alt=\"Cover\"", " alt=\"\"", "has no words"),
            ("<img", "<svg></svg><img", "aria-hidden"),
            ("<label>Name ", "<label>", "has no label"),
            ("<button>Buy</button>", "<button></button>", "say what it does"),
            ("<button>Buy</button>", "<button type=\"button\">Buy</button>", "does nothing where scripts are off"),
            ("<button>Buy</button>", "", "no button that sends it"),
            (" action=\"/buy\"", "", "has no action"),
            (" method=\"post\"", "", "has no method"),
            ("href=\"/x\"", "href=\"javascript:kit()\"", "leads nowhere"),
            ("<a ", "<a tabindex=\"3\" ", "keyboard's order"),
            ("name=\"csrf\"", "name=\"other\"", "has no token"),
            ("value=\"t\"", "value=\"u\"", "another token"),
            ("method=\"post\"", "method=\"get\"", "into an address"),
        ] {
            assert!(GOOD.contains(from), "{from}");
            let found = all(&GOOD.replace(from, to));
            assert!(found.contains(words), "{from} -> {to}: {found:?}");
        }
    }
}
