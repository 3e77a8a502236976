//! HTML into a tree of elements. The tokens are the standard's (html5gum); the tree is a small one: elements that have no
//! end, elements whose end may be left out, and everything else as it is nested. What does not nest is reported.

use html5gum::{DefaultEmitter, Token, Tokenizer};

/// Elements without content (WHATWG HTML §13.1.2).
const VOID: [&str; 13] =
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"];
/// Elements whose end tag may be left out.
const ENDS_ITSELF: [&str; 19] = [
    "li", "dt", "dd", "p", "option", "optgroup", "tr", "td", "th", "thead", "tbody", "tfoot", "caption", "colgroup",
    "html", "head", "body", "rt", "rp",
];

/// An element.
#[derive(Clone, Debug)]
pub(crate) struct Element {
    pub name: String,
    pub attributes: Vec<(String, String)>,
    /// Index of the element around it.
    pub parent: Option<usize>,
    /// The text directly in it.
    pub text: String,
}

impl Element {
    /// An attribute's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
    /// As it stands in the page, shortened.
    pub fn shown(&self) -> String {
        let mut out = format!("<{}", self.name);
        for (name, value) in self.attributes.iter().take(4) {
            let short: String = value.chars().take(40).collect();
            out.extend([" ", name, "=\"", &short, "\""]);
        }
        out + ">"
    }
}

/// A page's elements, in the order in which they begin.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    pub elements: Vec<Element>,
    /// Does it begin with `<!doctype html>`?
    pub doctype: bool,
    /// What does not nest, in words.
    pub broken: Vec<String>,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Tree {
    /// Reads a page.
    pub fn read(html: &[u8]) -> Self {
        let mut emitter = DefaultEmitter::default();
        // So that what is in scripts, styles, titles and text areas is no markup.
        emitter.naively_switch_states(true);
        let mut tree = Self::default();
        let mut open: Vec<usize> = Vec::new();
        for token in Tokenizer::new_with_emitter(html, emitter) {
            let Ok(token) = token;
            match token {
                Token::Doctype(d) => tree.doctype |= d.name.0.eq_ignore_ascii_case(b"html"),
                Token::StartTag(tag) => {
                    let name = text(&tag.name.0);
                    tree.close_implied(&mut open, &name);
                    let attributes = tag.attributes.iter().map(|(n, v)| (text(&n.0), text(&v.value.0))).collect();
                    let element = Element { name, attributes, parent: open.last().copied(), text: String::new() };
                    // In SVG and MathML, within HTML, a slash does end an element.
                    let foreign = tree.within(&open, "svg") || element.name == "svg" || tree.within(&open, "math");
                    let ended = VOID.contains(&element.name.as_str()) || (foreign && tag.self_closing);
                    tree.elements.push(element);
                    if !ended {
                        open.push(tree.elements.len() - 1);
                    }
                }
                Token::EndTag(tag) => tree.close(&mut open, &text(&tag.name.0)),
                Token::String(s) => {
                    if let Some(element) = open.last().and_then(|i| tree.elements.get_mut(*i)) {
                        element.text.push_str(&String::from_utf8_lossy(&s.value.0));
                    }
                }
                Token::Comment(_) | Token::Error(_) => {}
            }
        }
        for index in open {
            if let Some(e) = tree.elements.get(index).filter(|e| !ENDS_ITSELF.contains(&e.name.as_str())) {
                tree.broken.push(format!("{} is never closed", e.shown()));
            }
        }
        tree
    }

    fn name(&self, index: usize) -> &str {
        self.elements.get(index).map_or("", |e| e.name.as_str())
    }

    fn within(&self, open: &[usize], name: &str) -> bool {
        open.iter().any(|i| self.name(*i) == name)
    }

    /// Closes what ends by itself where this element begins.
    fn close_implied(&self, open: &mut Vec<usize>, name: &str) {
        let closes: &[&str] = match name {
            "li" => &["li", "p"],
            "dt" | "dd" => &["dt", "dd", "p"],
            "option" => &["option"],
            "optgroup" => &["option", "optgroup"],
            "tr" => &["tr", "td", "th", "p"],
            "td" | "th" => &["td", "th", "p"],
            "tbody" | "tfoot" => &["thead", "tbody", "tr", "td", "th", "p"],
            "body" => &["head"],
            // Elements that no paragraph can hold (WHATWG HTML §13.1.2.4).
            "address" | "article" | "aside" | "blockquote" | "details" | "div" | "dl" | "fieldset" | "figure"
            | "footer" | "form" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "header" | "hr" | "main" | "nav" | "ol"
            | "p" | "pre" | "section" | "table" | "ul" => &["p"],
            _ => &[],
        };
        while open.last().is_some_and(|i| closes.contains(&self.name(*i))) {
            open.pop();
        }
    }

    fn close(&mut self, open: &mut Vec<usize>, name: &str) {
        if VOID.contains(&name) {
            return;
        }
        let Some(at) = open.iter().rposition(|i| self.name(*i) == name) else {
            if !ENDS_ITSELF.contains(&name) {
                self.broken.push(format!("</{name}> closes nothing"));
            }
            return;
        };
        let left: Vec<usize> = open.split_off(at);
        for index in left.into_iter().skip(1) {
            if let Some(e) = self.elements.get(index).filter(|e| !ENDS_ITSELF.contains(&e.name.as_str())) {
                self.broken.push(format!("{} is not closed before </{name}>", e.shown()));
            }
        }
    }

    /// All elements of a name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (usize, &'a Element)> {
        self.elements.iter().enumerate().filter(move |(_, e)| e.name == name)
    }
    /// The element with an id.
    pub fn by_id(&self, id: &str) -> Option<usize> {
        self.elements.iter().position(|e| e.get("id") == Some(id))
    }
    /// The nearest element around one, of one of these names.
    pub fn around(&self, index: usize, names: &[&str]) -> Option<usize> {
        let mut next = self.elements.get(index)?.parent;
        while let Some(up) = next {
            let element = self.elements.get(up)?;
            if names.contains(&element.name.as_str()) {
                return Some(up);
            }
            next = element.parent;
        }
        None
    }
    /// Is one within the other?
    pub fn is_within(&self, inner: usize, outer: usize) -> bool {
        let mut next = self.elements.get(inner).and_then(|e| e.parent);
        while let Some(up) = next {
            if up == outer {
                return true;
            }
            next = self.elements.get(up).and_then(|e| e.parent);
        }
        false
    }
    /// What is read out of an element: its text, the texts of pictures, and names that were given to it.
    pub fn words(&self, index: usize) -> String {
        let mut out = String::new();
        for (i, element) in self.elements.iter().enumerate().skip(index) {
            if i != index && !self.is_within(i, index) {
                continue;
            }
            out.push_str(&element.text);
            for name in ["alt", "aria-label", "title"] {
                if let Some(value) = element.get(name) {
                    out.push(' ');
                    out.push_str(value);
                }
            }
            out.push(' ');
        }
        out.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nests_as_browsers_do() {
        let tree = Tree::read(
            b"<!DOCTYPE html><html lang=en><head><title>A &amp; <b></title><body><ul><li>one<li>two <b>x</b></ul><p>a<div>b</div><br>\
              <svg><path d='M0'/></svg><script>if (a < b) '</p>'</script>",
        );
        assert!(tree.doctype);
        let (title, _) = tree.all("title").next().unwrap();
        assert_eq!(tree.words(title), "A & <b>");
        let items: Vec<_> = tree.all("li").map(|(i, _)| tree.words(i)).collect();
        assert_eq!(items, ["one", "two x"]);
        let (div, _) = tree.all("div").next().unwrap();
        assert_eq!(tree.around(div, &["p"]), None, "a paragraph ends before a div");
        assert_eq!(tree.all("b").count(), 1);
        assert_eq!(tree.broken, Vec::<String>::new());
    }

    #[test]
    fn says_what_does_not_nest() {
        let broken = Tree::read(b"<div><span></div></section><em>").broken;
        assert_eq!(broken, ["<span> is not closed before </div>", "</section> closes nothing", "<em> is never closed"]);
    }
}
