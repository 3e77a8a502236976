//! Completing what a person types: titles and names first, then words.

use std::collections::BTreeSet;

use fondaco_sdk::{Error, Result};

use crate::postings::Entry;
use crate::query::MAX_QUERY_BYTES;
use crate::{keys, kv, text};

/// Only the beginning of a line is compared.
const MAX_LINE_BYTES: usize = 48;
/// A title is found by its beginning and by that of each of its first words.
const MAX_STARTS: usize = 6;
/// The most that one call gives.
const MAX_SUGGESTIONS: u32 = 50;
/// Dictionary words looked at for a completion.
const MAX_WORDS: u32 = 256;

/// The folded lines under which a title or a name is filed: the whole of it, and from its second word on, and so on.
pub fn lines(text: &str) -> Vec<String> {
    let line = text::line(text, MAX_LINE_BYTES + 64);
    let starts = std::iter::once(0).chain(line.match_indices(' ').map(|(at, _)| at + 1)).take(MAX_STARTS);
    let lines = starts.filter_map(|at| line.get(at..));
    lines.map(|l| text::cut(l, MAX_LINE_BYTES).to_owned()).filter(|l| !l.is_empty()).collect()
}

/// The key of a suggestion: equal lines of different works differ by the work's number.
pub fn key(line: &str, doc: u32) -> Vec<u8> {
    let mut key = keys::suggestion(line);
    key.push(0);
    key.extend_from_slice(&doc.to_be_bytes());
    key
}

/// At most `limit` completions of `prefix`.
pub fn suggest(prefix: &str, limit: u32) -> Result<Vec<String>> {
    if prefix.len() > MAX_QUERY_BYTES {
        let len = prefix.len();
        return Err(Error::Invalid(format!(
            "the text to complete is {len} bytes long: write at most {MAX_QUERY_BYTES}"
        )));
    }
    let limit = limit.min(MAX_SUGGESTIONS);
    let line = text::line(prefix, MAX_LINE_BYTES);
    if line.is_empty() || limit == 0 {
        return Ok(Vec::new());
    }
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    // A title that several works or several of its words lead to takes several entries: hence the reserve.
    for entry in kv::scan_prefix(&keys::suggestion(&line), limit.saturating_mul(4))? {
        let text = String::from_utf8(entry.value).map_err(|_| crate::codec::damaged())?;
        if seen.insert(text::fold(&text)) {
            found.push(text);
        }
    }
    let last = text::words(prefix).last();
    if let Some(last) = last.filter(|_| found.len() < limit as usize) {
        let before = prefix.get(..last.at).unwrap_or_default().trim_start();
        for (word, _) in completions(&last.folded, MAX_WORDS)?.into_iter().filter(|(word, _)| *word != last.folded) {
            let text = text::shown(&format!("{before}{word}"), MAX_QUERY_BYTES);
            if seen.insert(text::fold(&text)) {
                found.push(text);
            }
        }
    }
    found.truncate(limit as usize);
    Ok(found)
}

/// The words of the dictionary that begin with `prefix`, those in the most works first, out of the first `among`.
pub fn completions(prefix: &str, among: u32) -> Result<Vec<(String, Entry)>> {
    let entries = kv::scan_prefix(&keys::term(prefix), among)?;
    let mut words = Vec::with_capacity(entries.len());
    for entry in entries {
        let word =
            entry.key.get(1..).and_then(|word| std::str::from_utf8(word).ok()).ok_or_else(crate::codec::damaged)?;
        words.push((word.to_owned(), Entry::decode(&entry.value)?));
    }
    words.sort_by(|(a, x), (b, y)| y.works.cmp(&x.works).then_with(|| a.cmp(b)));
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn completes_titles_names_and_words() {
        let _host = testing::indexed([
            testing::by("k/moon", "The Dark Side of the Moon", &["Pink Floyd"]),
            testing::by("k/sonata", "Moonlight Sonata", &["Ludwig van Beethoven"]),
            testing::by("k/sonata-2", "Moonlight Sonata", &["Another Player"]),
            testing::with_description("k/other", "Tides", "the moonstone and moonlight"),
        ]);
        assert_eq!(suggest("moo", 3).unwrap(), ["The Dark Side of the Moon", "Moonlight Sonata", "moonlight"]);
        assert_eq!(suggest("PINK f", 5).unwrap(), ["Pink Floyd"]);
        assert_eq!(suggest("dark side", 5).unwrap(), ["The Dark Side of the Moon"]);
        assert_eq!(suggest("Ludwig van Beet", 5).unwrap(), ["Ludwig van Beethoven"]);
        assert_eq!(suggest("old moonst", 5).unwrap(), ["old moonstone"]);
        assert_eq!(suggest("", 5).unwrap(), [""; 0]);
        assert_eq!(suggest("moo", 0).unwrap(), [""; 0]);
        assert!(matches!(suggest(&"x".repeat(5000), 5), Err(Error::Invalid(_))));
    }
}
