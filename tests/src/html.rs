//! Forms and links of a page, as a visitor without scripts has them. It reads the well-formed HTML that the shop writes
//! (attributes in double quotes), not the web's.

/// A form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// Where it goes.
    pub action: String,
    /// Every named field with what stands in it; boxes only where they are ticked.
    pub fields: Vec<(String, String)>,
    /// The words on it, without the tags.
    pub text: String,
}

impl Form {
    /// What stands in a field.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
    /// The same form with fields filled in.
    pub fn filled(&self, values: &[(&str, &str)]) -> Self {
        let mut form = self.clone();
        for (name, value) in values {
            form.fields.retain(|(n, _)| n != name);
            form.fields.push(((*name).to_owned(), (*value).to_owned()));
        }
        form
    }
}

/// Every form that is sent by POST.
pub fn forms(html: &str) -> Vec<Form> {
    elements(html, "form")
        .filter(|(tag, _)| attribute(tag, "method").as_deref() == Some("post"))
        .map(|(tag, inner)| {
            let mut fields = Vec::new();
            for tag in tags(inner, "input") {
                let ticks = matches!(attribute(tag, "type").as_deref(), Some("checkbox" | "radio"));
                if let Some(name) = attribute(tag, "name").filter(|_| !ticks || tag.contains(" checked")) {
                    fields.push((name, attribute(tag, "value").unwrap_or_default()));
                }
            }
            for (tag, inner) in elements(inner, "textarea") {
                if let Some(name) = attribute(tag, "name") {
                    // The first line's end belongs to the tag, not to the text.
                    fields.push((name, unescape(inner.strip_prefix('\n').unwrap_or(inner))));
                }
            }
            Form { action: attribute(tag, "action").unwrap_or_default(), fields, text: words(inner) }
        })
        .collect()
}

/// Every link: where it leads and what stands on it.
pub fn links(html: &str) -> Vec<(String, String)> {
    elements(html, "a").filter_map(|(tag, inner)| Some((attribute(tag, "href")?, words(inner)))).collect()
}

/// Elements of a name: the start tag and what is within. None of them nests in its like.
fn elements<'a>(html: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let (open, close) = (format!("<{name}"), format!("</{name}>"));
    let mut rest = html;
    std::iter::from_fn(move || {
        loop {
            let (_, from) = rest.split_once(open.as_str())?;
            let Some((tag, after)) = from.split_once('>') else {
                rest = "";
                continue;
            };
            if !tag.is_empty() && !tag.starts_with([' ', '\n']) {
                rest = from;
                continue;
            }
            let (inner, later) = after.split_once(close.as_str())?;
            rest = later;
            return Some((tag, inner));
        }
    })
}

fn tags<'a>(html: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    let open = format!("<{name} ");
    let starts: Vec<&str> = html.split(open.as_str()).skip(1).collect();
    starts.into_iter().filter_map(|from| from.split_once('>').map(|(tag, _)| tag))
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, from) =
        format!(" {}", tag.trim_start()).split_once(&format!(" {name}=\"")).map(|(a, b)| (a.len(), b.to_owned()))?;
    from.split_once('"').map(|(value, _)| unescape(value))
}

/// The words of a piece of a page, without the tags.
pub fn words(html: &str) -> String {
    let mut text = String::new();
    for piece in html.split('<') {
        text.push_str(piece.split_once('>').map_or(piece, |(_, after)| after));
        text.push(' ');
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    unescape(&words.join(" "))
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_forms_as_a_browser_would_send_them() {
        let html = "<form action=\"/q\" method=\"get\"><input name=\"q\"></form>\
            <form class=\"x\" method=\"post\" action=\"/a?b=1&amp;c\"><input type=\"hidden\" name=\"csrf\" value=\"&quot;t\">\
            <input type=\"checkbox\" name=\"no\" value=\"1\"><input type=\"checkbox\" name=\"yes\" value=\"1\" checked>\
            <textarea name=\"body\">\nHi &amp; by</textarea><button>Buy <b>now</b></button></form>";
        let found = forms(html);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].action.as_str(), found[0].text.as_str()), ("/a?b=1&c", "Hi & by Buy now"));
        let fields: Vec<_> = found[0].fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(fields, [("csrf", "\"t"), ("yes", "1"), ("body", "Hi & by")]);
        assert_eq!(found[0].filled(&[("csrf", "u")]).value("csrf"), Some("u"));
    }

    #[test]
    fn reads_links_and_no_other_elements() {
        let html = "<article href=\"/no\"></article><a class=\"b\" href=\"/x?a=1&amp;b\">Down <span>load</span></a><a>none</a>";
        assert_eq!(links(html), [("/x?a=1&b".to_owned(), "Down load".to_owned())]);
    }
}
