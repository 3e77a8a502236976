//! Placeholders: `{target}` in a text becomes the target's name.

/// The names that stand in braces in a text, such as `target` for `{target}`. Other braces are plain text.
pub fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    text.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name).filter(|name| is_name(name))
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
}

/// Puts the values in for the placeholders, in one pass: braces within a value stay text. A name without a value stays
/// as it is, because people may write braces in their own letters.
pub fn fill(text: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let known = after.split_once('}').and_then(|(name, tail)| {
            let (_, value) = values.iter().find(|(n, _)| *n == name)?;
            Some((value, tail))
        });
        if let Some((value, tail)) = known {
            out.push_str(value);
            rest = tail;
        } else {
            out.push('{');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

/// A number as people of this language write it: `1,234`, `1 234` with narrow spaces in French.
pub fn number(n: u64, locale: &str) -> String {
    let separator = if locale.starts_with("fr") { '\u{202f}' } else { ',' };
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(separator);
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_in_one_pass_and_leaves_other_braces() {
        let values = [("target", "{name}"), ("name", "Ann")];
        assert_eq!(fill("{target} {name} {other} { x } {", &values), "{name} Ann {other} { x } {");
        assert_eq!(fill("{{name}}", &values), "{Ann}");
    }

    #[test]
    fn finds_placeholders() {
        let found: Vec<_> = placeholders("a {target}, {Not this}, {} {proof} {").collect();
        assert_eq!(found, ["target", "proof"]);
    }

    #[test]
    fn groups_digits() {
        assert_eq!(number(7, "en"), "7");
        assert_eq!(number(1_234_567, "en"), "1,234,567");
        assert_eq!(number(123_456, "fr"), "123\u{202f}456");
    }
}
