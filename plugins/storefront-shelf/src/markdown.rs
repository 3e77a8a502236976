//! The little Markdown that campaign texts and the operator's own words are written in, made into safe HTML.
//!
//! Headings, paragraphs, lists, quotes, bold, italic, `code` and links to `http`, `https` and `mailto`. Everything else,
//! HTML above all, is text and comes out escaped. Work is linear in the length of the text, and nesting is bounded.

use std::fmt::Write;

use maud::{Escaper, Markup, PreEscaped};

/// Longer texts are cut here, in bytes.
const MAX_TEXT: usize = 128 * 1024;
/// Bold in italic in a link, and no further.
const MAX_DEPTH: usize = 4;

/// Makes a text into HTML. Its highest heading is an `h2`, because the page has its own `h1`.
pub fn render(text: &str) -> Markup {
    let text = text.get(..text.floor_char_boundary(MAX_TEXT)).unwrap_or_default();
    let mut out = String::with_capacity(text.len() + text.len() / 4);
    let highest =
        text.lines().filter_map(|l| if let Line::Heading(level, _) = read_line(l) { Some(level) } else { None }).min();
    let mut headings = Headings { highest: highest.unwrap_or(1), last: 1 };
    blocks(text, &mut out, 0, &mut headings);
    PreEscaped(out)
}

/// Where the text's headings stand below the page's own: the first level of the text is an `h2`, and none is left out on
/// the way down, which would lose those who move from heading to heading.
struct Headings {
    highest: usize,
    last: usize,
}

impl Headings {
    fn place(&mut self, level: usize) -> usize {
        let wanted = level.saturating_sub(self.highest) + 2;
        self.last = wanted.min(self.last + 1).min(6);
        self.last
    }
}

/// What a line begins.
#[derive(PartialEq)]
enum Line<'a> {
    Blank,
    Heading(usize, &'a str),
    Item(&'static str, &'a str),
    Quote(&'a str),
    Text(&'a str),
}

fn read_line(line: &str) -> Line<'_> {
    let line = line.trim();
    if line.is_empty() {
        return Line::Blank;
    }
    let hashes = line.bytes().take_while(|b| *b == b'#').count();
    if let Some(title) =
        line.get(hashes..).and_then(|rest| rest.strip_prefix(' ')).filter(|_| (1..=6).contains(&hashes))
    {
        return Line::Heading(hashes, title.trim());
    }
    if let Some(item) = line.strip_prefix("- ").or_else(|| line.strip_prefix("* ")) {
        return Line::Item("ul", item);
    }
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    if let Some(item) =
        line.get(digits..).and_then(|rest| rest.strip_prefix(". ")).filter(|_| (1..=3).contains(&digits))
    {
        return Line::Item("ol", item);
    }
    match line.strip_prefix('>') {
        Some(quoted) => Line::Quote(quoted),
        None => Line::Text(line),
    }
}

fn blocks(text: &str, out: &mut String, depth: usize, headings: &mut Headings) {
    let mut lines = text.lines().map(read_line).peekable();
    while let Some(line) = lines.next() {
        match line {
            Line::Blank => {}
            Line::Heading(level, title) => {
                let level = headings.place(level);
                let _ = write!(out, "<h{level}>");
                inline(title, out, 0);
                let _ = write!(out, "</h{level}>");
            }
            Line::Item(list, first) => {
                let _ = write!(out, "<{list}><li>");
                inline(first, out, 0);
                loop {
                    match lines.peek() {
                        Some(Line::Item(same, item)) if *same == list => {
                            out.push_str("</li><li>");
                            inline(item, out, 0);
                        }
                        Some(Line::Text(more)) => {
                            out.push(' ');
                            inline(more, out, 0);
                        }
                        _ => break,
                    }
                    lines.next();
                }
                let _ = write!(out, "</li></{list}>");
            }
            Line::Quote(first) => {
                let mut quoted = first.to_owned();
                while let Some(Line::Quote(more)) = lines.peek() {
                    quoted.push('\n');
                    quoted.push_str(more);
                    lines.next();
                }
                out.push_str("<blockquote>");
                if depth < MAX_DEPTH {
                    blocks(&quoted, out, depth + 1, headings);
                } else {
                    inline(&quoted, out, 0);
                }
                out.push_str("</blockquote>");
            }
            Line::Text(first) => {
                let mut paragraph = first.to_owned();
                while let Some(Line::Text(more)) = lines.peek() {
                    paragraph.push('\n');
                    paragraph.push_str(more);
                    lines.next();
                }
                out.push_str("<p>");
                inline(&paragraph, out, 0);
                out.push_str("</p>");
            }
        }
    }
}

fn text(text: &str, out: &mut String) {
    let _ = Escaper::new(out).write_str(text);
}

/// Bold, italic, code and links within one block.
fn inline(source: &str, out: &mut String, depth: usize) {
    // A mark that found no end will find none further on either: remembering that keeps the work linear.
    let mut hopeless: [bool; 4] = [depth >= MAX_DEPTH; 4];
    let mut rest = source;
    while let Some(at) = rest.find(['\\', '*', '_', '`', '[']) {
        let (before, from) = rest.split_at(at);
        text(before, out);
        rest = from;
        let word_before = before.chars().next_back().is_some_and(char::is_alphanumeric);
        if let Some(escaped) = rest.strip_prefix('\\') {
            let length = escaped.chars().next().filter(char::is_ascii_punctuation).map_or(0, char::len_utf8);
            let (shown, after) = if length == 0 { ("\\", escaped) } else { escaped.split_at(length) };
            text(shown, out);
            rest = after;
            continue;
        }
        let marks = [("**", "strong"), ("*", "em"), ("_", "em"), ("`", "code")];
        let found = marks.iter().enumerate().find(|(_, (mark, _))| rest.starts_with(mark));
        if let Some((i, (mark, tag))) = found {
            let inner = rest.get(mark.len()..).unwrap_or_default();
            let within_a_word = *mark == "_" && word_before;
            let opens = !within_a_word && !inner.starts_with(char::is_whitespace);
            let given_up = hopeless.get(i).copied().unwrap_or(true);
            let end = if opens && !given_up { inner.find(mark) } else { None };
            if let Some((content, after)) = end.filter(|e| *e > 0).map(|e| inner.split_at(e)) {
                let _ = write!(out, "<{tag}>");
                if *tag == "code" {
                    text(content, out);
                } else {
                    inline(content, out, depth + 1);
                }
                let _ = write!(out, "</{tag}>");
                rest = after.get(mark.len()..).unwrap_or_default();
                continue;
            }
            if opens && end.is_none() {
                hopeless.get_mut(i).into_iter().for_each(|h| *h = true);
            }
            text(mark, out);
            rest = inner;
            continue;
        }
        rest = link(rest, out, depth);
    }
    text(rest, out);
}

/// `[words](address)` at the start of `source`, or the bracket alone. Gives what is left.
fn link<'a>(source: &'a str, out: &mut String, depth: usize) -> &'a str {
    // A label or an address that is longer than this is none: it keeps stray brackets cheap.
    const REACH: usize = 1024;
    let window = source.get(..source.floor_char_boundary(REACH)).unwrap_or_default();
    let read = || {
        let (label, address) = window.strip_prefix('[')?.split_once("](")?;
        let (address, _) = address.split_once(')')?;
        let after = source.get(label.len() + address.len() + 4..)?;
        (!label.contains(['[', '\n']) && is_safe_link(address)).then_some((label, address, after))
    };
    if depth < MAX_DEPTH
        && let Some((label, address, after)) = read()
    {
        out.push_str("<a href=\"");
        text(address, out);
        out.push_str("\" rel=\"noopener\">");
        inline(label, out, depth + 1);
        out.push_str("</a>");
        return after;
    }
    text("[", out);
    source.get(1..).unwrap_or_default()
}

/// May a page link there? Only to the web and to mail.
pub fn is_safe_link(address: &str) -> bool {
    let plain = !address.bytes().any(|b| b.is_ascii_control() || b == b' ');
    let scheme = ["https://", "http://", "mailto:"]
        .iter()
        .any(|s| address.get(..s.len()).is_some_and(|start| start.eq_ignore_ascii_case(s)) && address.len() > s.len());
    plain && scheme
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, html: &str) {
        assert_eq!(render(source).into_string(), html, "{source}");
    }

    #[test]
    fn makes_blocks() {
        check("# A\n\ntext\nmore\n\n## B", "<h2>A</h2><p>text\nmore</p><h3>B</h3>");
        check("### A\n##### B\n## C", "<h2>A</h2><h3>B</h3><h2>C</h2>");
        check("- a\n- b\n  c\n\n1. d\n2. e", "<ul><li>a</li><li>b c</li></ul><ol><li>d</li><li>e</li></ol>");
        check("> q\n> # h\n\nz", "<blockquote><p>q</p><h2>h</h2></blockquote><p>z</p>");
        check("####### seven", "<p>####### seven</p>");
    }

    #[test]
    fn makes_marks_and_links() {
        check("**b** *i* _j_ `c*d*`", "<p><strong>b</strong> <em>i</em> <em>j</em> <code>c*d*</code></p>");
        check("snake_case_name 2 * 3 * 4", "<p>snake_case_name 2 * 3 * 4</p>");
        check("\\*no\\* **open", "<p>*no* **open</p>");
        check(
            "[**a**](https://x.example/?a&b)",
            "<p><a href=\"https://x.example/?a&amp;b\" rel=\"noopener\"><strong>a</strong></a></p>",
        );
        check("[a] (b) [", "<p>[a] (b) [</p>");
    }

    #[test]
    fn lets_no_html_and_no_other_scheme_through() {
        check("<script>x</script>", "<p>&lt;script&gt;x&lt;/script&gt;</p>");
        for bad in [
            "javascript:alert(1)",
            "JavaScript:x",
            "data:text/html,x",
            "//x.example",
            "https://",
            "http://a b",
            "ja\tvascript:x",
        ] {
            let html = render(&format!("[a]({bad})")).into_string();
            assert!(!html.contains("<a "), "{bad}: {html}");
        }
        check("[a](https://x/\"onload=1)", "<p><a href=\"https://x/&quot;onload=1\" rel=\"noopener\">a</a></p>");
    }

    #[test]
    fn hostile_texts_cost_little() {
        for bad in ["*", "**a", "_", "`", "[", "[a](", "> ", "[*_`", "**_`[a](https://x"] {
            let start = std::time::Instant::now();
            let html = render(&bad.repeat(MAX_TEXT)).into_string();
            assert!(!html.contains("<script") && start.elapsed().as_secs() < 2, "{bad} took {:?}", start.elapsed());
        }
    }
}
