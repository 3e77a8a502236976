//! From written text to the words that are compared: folding, splitting, cutting. Indexing and querying both come
//! through here, so that both see the same words.

use std::collections::BTreeSet;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Longer words are cut to this many bytes, in the index and in queries alike.
pub const MAX_WORD_BYTES: usize = 30;

/// A word and where it stood in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word<'a> {
    /// Folded and cut: what is compared.
    pub folded: String,
    /// As it was written.
    pub written: &'a str,
    /// Byte offset of `written` in the text.
    pub at: usize,
}

/// Marks that a reader of the bare letter would leave out. Vowel signs of Indic scripts and the voicing marks of kana are
/// marks as well, and stay: they make other words.
fn is_accent(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}'
        | '\u{fe20}'..='\u{fe2f}' | '\u{591}'..='\u{5c7}' | '\u{64b}'..='\u{65f}' | '\u{670}')
}

/// Letters that Unicode does not decompose, and which people type without their stroke or as two letters.
fn plain(c: char) -> Option<&'static str> {
    Some(match c {
        'ß' => "ss",
        'æ' => "ae",
        'œ' => "oe",
        'ø' => "o",
        'đ' | 'ð' => "d",
        'ł' => "l",
        'þ' => "th",
        'ı' => "i",
        'ħ' => "h",
        'ς' => "σ",
        _ => return None,
    })
}

/// Lower case, compatibility forms resolved, accents removed: `Café` and `CAFE` give `cafe`.
pub fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in text.nfkd().filter(|c| !is_accent(*c)).flat_map(char::to_lowercase).filter(|c| !is_accent(*c)) {
        match plain(c) {
            Some(letters) => folded.push_str(letters),
            None => folded.push(c),
        }
    }
    folded.nfc().collect()
}

/// Scripts that are written without spaces: each sign is a word of its own.
fn stands_alone(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{323af}')
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || is_combining_mark(c)
}

/// The start of `text`, at most `max` bytes, cut between characters.
pub fn cut(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max)).unwrap_or(text)
}

/// The words of a text, one after the other.
pub fn words(text: &str) -> impl Iterator<Item = Word<'_>> {
    let mut rest = text.char_indices().peekable();
    std::iter::from_fn(move || {
        loop {
            let (at, first) = rest.next()?;
            if !is_of_word(first) {
                continue;
            }
            let mut end = at + first.len_utf8();
            while let Some(&(next_at, next)) = rest.peek() {
                let joins =
                    is_combining_mark(next) || (is_of_word(next) && !stands_alone(first) && !stands_alone(next));
                if !joins {
                    break;
                }
                end = next_at + next.len_utf8();
                rest.next();
            }
            let written = text.get(at..end)?;
            // Folding can bring signs that are no letters (½ has a fraction slash): the letters around them stay.
            let mut folded = fold(cut(written, 8 * MAX_WORD_BYTES));
            folded.retain(is_of_word);
            folded.truncate(folded.floor_char_boundary(MAX_WORD_BYTES));
            if !folded.is_empty() {
                return Some(Word { folded, written, at });
            }
        }
    })
}

/// The words of a text as one line, for comparing and sorting whole titles; at most `max` bytes.
pub fn line(text: &str, max: usize) -> String {
    let mut line = String::new();
    for word in words(text) {
        if line.len() >= max {
            break;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&word.folded);
    }
    line.truncate(line.floor_char_boundary(max));
    line
}

/// The text with each word that `wanted` holds between the two marks, cut to about `around` bytes about the first of them.
/// `None` where there is none of them.
pub fn mark(text: &str, wanted: &BTreeSet<String>, around: usize) -> Option<String> {
    let found: Vec<Word<'_>> = words(text).filter(|w| wanted.contains(&w.folded)).collect();
    let first = found.first()?;
    let mut start = text.floor_char_boundary(first.at.saturating_sub(around / 3));
    if start > 0 {
        // Not in the middle of a word.
        let skipped = text.get(start..first.at)?.find(char::is_whitespace).map_or(first.at - start, |i| i + 1);
        start = text.ceil_char_boundary(start + skipped);
    }
    let end = text.floor_char_boundary(start.saturating_add(around)).max(first.at + first.written.len());
    let mut marked = String::from(if start > 0 { "…" } else { "" });
    let mut done = start;
    for word in found.iter().take_while(|w| w.at + w.written.len() <= end) {
        marked.push_str(text.get(done..word.at)?);
        marked.push(MARK_START);
        marked.push_str(word.written);
        marked.push(MARK_END);
        done = word.at + word.written.len();
    }
    marked.push_str(text.get(done..end)?);
    if end < text.len() {
        marked.push('…');
    }
    Some(marked)
}

/// Stands before a found word in a highlight (U+0002). No text of a work keeps it, so that nobody can forge one.
pub const MARK_START: char = '\u{2}';
/// Stands after a found word in a highlight (U+0003).
pub const MARK_END: char = '\u{3}';

/// A text as it may be shown: control characters become spaces, and it is cut to `max` bytes.
pub fn shown(text: &str, max: usize) -> String {
    cut(text, max).chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &[&str]) {
        assert_eq!(words(text).map(|w| w.folded).collect::<Vec<_>>(), expect, "{text}");
    }

    #[test]
    fn folds_case_accents_and_compatibility_forms() {
        check("Café CAFÉ cafe\u{301} cafe", &["cafe", "cafe", "cafe", "cafe"]);
        check("Straße Ærø Łódź ﬁn İstanbul ıssız", &["strasse", "aero", "lodz", "fin", "istanbul", "issiz"]);
        check("ΟΔΥΣΣΕΎΣ Ωμέγα", &["οδυσσευσ", "ωμεγα"]);
        check("Лёд", &["лед"]);
    }

    #[test]
    fn keeps_the_marks_that_make_another_word() {
        check("हिन्दी", &["हिन्दी"]);
        check("が か", &["が", "か"]);
    }

    #[test]
    fn splits_at_whatever_is_no_letter_or_digit() {
        check("l'été, don't: x-2\u{0}y", &["l", "ete", "don", "t", "x", "2", "y"]);
        check(" \u{1}\u{2} -- ", &[]);
        check("東京 tower東", &["東", "京", "tower", "東"]);
        check("1½", &["112"]);
    }

    #[test]
    fn cuts_long_words_between_characters() {
        let long = "é".repeat(1000) + &"日".repeat(3);
        let cut: Vec<_> = words(&long).map(|w| w.folded).collect();
        assert_eq!(cut[0], "e".repeat(30));
        assert_eq!(cut.len(), 4);
        assert!(words(&"ж".repeat(100)).all(|w| w.folded.len() <= MAX_WORD_BYTES));
    }

    #[test]
    fn marks_found_words_and_nothing_else() {
        let wanted = BTreeSet::from(["cafe".to_owned()]);
        assert_eq!(mark("Le Café de la Gare", &wanted, 80).unwrap(), "Le \u{2}Café\u{3} de la Gare");
        assert_eq!(mark("nothing", &wanted, 80), None);
        let long = format!("{} café {}", "word ".repeat(100), "tail ".repeat(100));
        let marked = mark(&long, &wanted, 60).unwrap();
        assert!(marked.starts_with('…') && marked.ends_with('…') && marked.contains("\u{2}café\u{3}"), "{marked}");
        assert!(marked.len() < 90, "{marked}");
    }

    #[test]
    fn shows_no_control_characters() {
        assert_eq!(shown("a\u{2}b\u{3}\nc", 80), "a b  c");
        assert_eq!(shown("éé", 3), "é");
    }
}
