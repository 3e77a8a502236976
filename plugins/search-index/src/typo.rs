//! Misspelt words: which words of the dictionary resemble one, without reading the whole dictionary.
//!
//! Every word is filed twice: under its length with its first letter, and under its length with its last one. One slip
//! (a letter too many, missing, wrong, or two swapped) cannot touch both ends of a word of four letters or more, so that
//! the words of nearly the same length that share the first or the last letter hold every word one slip away, and all
//! those two slips away but the ones that changed at both ends. A look-up reads `2 × (2 × slips + 1)` ranges: 6 or 10.
//! In a dictionary of 80,000 words these hold some thousand words. Within a range, words are kept in small values by one
//! more letter, so that a new word rewrites little.

use std::collections::{BTreeMap, BTreeSet};

use fondaco_sdk::Result;

use crate::codec::{self, Reader};
use crate::kv::Writes;
use crate::{keys, kv};

/// Words longer than this are found in their right spelling only.
const MAX_LETTERS: usize = 30;
/// The shortest word that a misspelt one can stand for.
const MIN_LETTERS: usize = 3;
/// A bucket's value is not let grow past this; words beyond are found in their right spelling only.
const MAX_BUCKET_BYTES: usize = 60 << 10;
/// Buckets drawn by one scan.
const SCAN: u32 = 1024;

/// How many slips a word of so many letters may hold.
pub const fn tolerance(letters: usize) -> usize {
    match letters {
        0..=3 => 0,
        4..=7 => 1,
        _ => 2,
    }
}

/// The letters of a word that can be misspelt: no digits, neither too short nor too long.
fn letters(word: &str) -> Option<Vec<char>> {
    let letters: Vec<char> = word.chars().collect();
    let fits = (MIN_LETTERS..=MAX_LETTERS).contains(&letters.len()) && !letters.iter().any(char::is_ascii_digit);
    fits.then_some(letters)
}

/// The two buckets of a word.
fn buckets(letters: &[char]) -> Option<[Vec<u8>; 2]> {
    let [first, second, ..] = letters else { return None };
    let [.., before, last] = letters else { return None };
    let length = u8::try_from(letters.len()).ok()?;
    let key = |end, letter, more: &char| {
        let mut key = keys::shapes(end, length, letter);
        key.extend_from_slice(more.encode_utf8(&mut [0; 4]).as_bytes());
        key
    };
    Some([key(b'a', *first, second), key(b'z', *last, before)])
}

fn decode(bytes: &[u8]) -> Result<BTreeSet<String>> {
    let mut r = Reader::new(bytes);
    let mut words = BTreeSet::new();
    while !r.is_empty() {
        words.insert(r.str()?.to_owned());
    }
    Ok(words)
}

/// The writes that file new words and take out gone ones (`true`: new).
pub fn file(words: &BTreeMap<String, bool>) -> Result<Writes> {
    let mut by_bucket: BTreeMap<Vec<u8>, Vec<(&str, bool)>> = BTreeMap::new();
    for (word, is_new) in words {
        for bucket in letters(word).as_deref().and_then(buckets).into_iter().flatten() {
            by_bucket.entry(bucket).or_default().push((word, *is_new));
        }
    }
    let mut writes = Vec::with_capacity(by_bucket.len());
    for (bucket, changes) in by_bucket {
        let mut filed = kv::get(&bucket)?.map_or_else(|| Ok(BTreeSet::new()), |bytes| decode(&bytes))?;
        let mut size: usize = filed.iter().map(|w| w.len() + 1).sum();
        for (word, is_new) in changes {
            if !is_new {
                size -= if filed.remove(word) { word.len() + 1 } else { 0 };
            } else if size + word.len() < MAX_BUCKET_BYTES && filed.insert(word.to_owned()) {
                size += word.len() + 1;
            }
        }
        let mut value = Vec::with_capacity(size);
        for word in &filed {
            codec::put_str(&mut value, word);
        }
        writes.push((bucket, (!value.is_empty()).then_some(value)));
    }
    Ok(writes)
}

/// At most `limit` words of the dictionary that resemble `word`, the nearest first, each with its distance (1 or 2).
pub fn near(word: &str, limit: usize) -> Result<Vec<(String, usize)>> {
    let Some(wanted) = letters(word) else { return Ok(Vec::new()) };
    let slips = tolerance(wanted.len());
    let (Some(first), Some(last)) = (wanted.first(), wanted.last()) else { return Ok(Vec::new()) };
    if slips == 0 {
        return Ok(Vec::new());
    }
    let mut found: BTreeSet<(usize, String)> = BTreeSet::new();
    let mut other: Vec<char> = Vec::with_capacity(MAX_LETTERS);
    for length in wanted.len() - slips..=(wanted.len() + slips).min(MAX_LETTERS) {
        let Ok(length) = u8::try_from(length) else { continue };
        for (end, letter) in [(b'a', *first), (b'z', *last)] {
            let prefix = keys::shapes(end, length, letter);
            for bucket in kv::scan_prefix(&prefix, SCAN)? {
                let mut r = Reader::new(&bucket.value);
                while !r.is_empty() {
                    let candidate = r.str()?;
                    other.clear();
                    other.extend(candidate.chars());
                    if let Some(distance) = distance(&wanted, &other, slips).filter(|d| *d > 0) {
                        found.insert((distance, candidate.to_owned()));
                    }
                }
            }
        }
    }
    Ok(found.into_iter().take(limit).map(|(distance, word)| (word, distance)).collect())
}

/// How many slips lie between two words, if no more than `most`: letters inserted, left out or replaced, and neighbours
/// swapped (Damerau–Levenshtein in the form of the optimal string alignment, where no stretch is edited twice).
pub fn distance(a: &[char], b: &[char], most: usize) -> Option<usize> {
    const WIDTH: usize = MAX_LETTERS + 1;
    if a.len().abs_diff(b.len()) > most || a.len() > MAX_LETTERS || b.len() > MAX_LETTERS {
        return None;
    }
    // Three rows of the table are kept: two back (for swaps), the one before, this one.
    let mut back = [0usize; WIDTH];
    let mut before: [usize; WIDTH] = std::array::from_fn(|j| j);
    let mut previous: Option<char> = None;
    for (i, x) in a.iter().enumerate() {
        let mut row = [i + 1; WIDTH];
        let mut least = i + 1;
        let mut left = i + 1;
        let mut last: Option<char> = None;
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize; WIDTH], j: usize| row.get(j).copied().unwrap_or(usize::MAX / 2);
            let mut cost = (at(&before, j) + usize::from(x != y)).min(at(&before, j + 1) + 1).min(left + 1);
            if j > 0 && previous == Some(*y) && last == Some(*x) {
                cost = cost.min(at(&back, j - 1) + 1);
            }
            if let Some(cell) = row.get_mut(j + 1) {
                *cell = cost;
            }
            left = cost;
            least = least.min(cost);
            last = Some(*y);
        }
        // A swap reaches two rows back; one row above `most` can still be left by it, so look at both.
        if least > most && before.iter().take(b.len() + 1).all(|c| *c > most) {
            return None;
        }
        back = before;
        before = row;
        previous = Some(*x);
    }
    before.get(b.len()).copied().filter(|d| *d <= most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fondaco_sdk::fake;
    use fondaco_sdk::storage::{self, Entry, Write};
    use proptest::prelude::*;

    /// The definition, written down as it is.
    fn plain(a: &[char], b: &[char]) -> usize {
        let mut best = match (a, b) {
            ([], _) => return b.len(),
            (_, []) => return a.len(),
            ([ra @ .., x], [rb @ .., y]) => {
                (plain(ra, rb) + usize::from(x != y)).min(plain(ra, b) + 1).min(plain(a, rb) + 1)
            }
        };
        if let ([ra @ .., x1, x2], [rb @ .., y1, y2]) = (a, b)
            && x1 == y2
            && x2 == y1
        {
            best = best.min(plain(ra, rb) + 1);
        }
        best
    }

    fn chars(word: &str) -> Vec<char> {
        word.chars().collect()
    }

    fn store(words: &[&str]) {
        let new = words.iter().map(|w| ((*w).to_owned(), true)).collect();
        apply(file(&new).unwrap());
    }

    fn apply(writes: Writes) {
        let writes: Vec<_> = writes
            .into_iter()
            .map(|(key, value)| match value {
                Some(value) => Write::Put(Entry { key, value }),
                None => Write::Delete(key),
            })
            .collect();
        storage::apply(&writes).unwrap();
    }

    #[test]
    fn counts_slips() {
        let check = |a: &str, b: &str, expect| assert_eq!(distance(&chars(a), &chars(b), 2), expect, "{a} {b}");
        check("beethoven", "beethoven", Some(0));
        check("bethoven", "beethoven", Some(1));
        check("beehtoven", "beethoven", Some(1));
        check("baethovn", "beethoven", Some(2));
        check("baethovm", "beethoven", None);
        check("betohven", "beethoven", Some(2));
        check("ca", "abc", None);
        check("été", "ete", Some(2));
    }

    proptest! {
        #[test]
        fn counts_as_the_definition_does(a in "[abc]{0,6}", b in "[abc]{0,6}") {
            let expect = Some(plain(&chars(&a), &chars(&b))).filter(|d| *d <= 2);
            prop_assert_eq!(distance(&chars(&a), &chars(&b), 2), expect);
        }

        #[test]
        fn finds_every_word_one_slip_away(words in proptest::collection::btree_set("[abc]{3,8}", 1..60), wanted in "[abc]{4,7}") {
            let _host = fake::Host::install();
            store(&words.iter().map(String::as_str).collect::<Vec<_>>());
            let found: BTreeSet<_> = near(&wanted, 1000).unwrap().into_iter().collect();
            let expect: BTreeSet<_> =
                words.iter().filter(|w| plain(&chars(w), &chars(&wanted)) == 1).map(|w| (w.clone(), 1)).collect();
            prop_assert_eq!(found, expect);
        }

        #[test]
        fn finds_words_two_slips_away_that_kept_an_end(words in proptest::collection::btree_set("[ab]{6,9}", 1..40), wanted in "[ab]{8,8}") {
            let _host = fake::Host::install();
            store(&words.iter().map(String::as_str).collect::<Vec<_>>());
            let found: BTreeSet<_> = near(&wanted, 1000).unwrap().into_iter().collect();
            let ends = |w: &str| w[..1] == wanted[..1] || w[w.len() - 1..] == wanted[wanted.len() - 1..];
            let expect: BTreeSet<_> = words
                .iter()
                .map(|w| (w.clone(), plain(&chars(w), &chars(&wanted))))
                .filter(|(w, d)| (1..=2).contains(d) && ends(w))
                .collect();
            prop_assert_eq!(found, expect);
        }
    }

    #[test]
    fn short_words_numbers_and_gone_words_resemble_nothing() {
        let host = fake::Host::install();
        store(&["cat", "cats", "1984", "1985", "mp3s"]);
        assert_eq!(near("cet", 9).unwrap(), []);
        assert_eq!(near("1986", 9).unwrap(), []);
        assert_eq!(near("cets", 9).unwrap(), [("cats".to_owned(), 1)]);
        apply(file(&BTreeMap::from([("cat".into(), false), ("cats".into(), false)])).unwrap());
        assert_eq!(near("cets", 9).unwrap(), []);
        assert_eq!(host.stored_keys(), 0);
    }

    #[test]
    fn a_bucket_stops_growing_before_64_kib() {
        let host = fake::Host::install();
        let words: Vec<String> = (0..26u32.pow(3))
            .map(|n| {
                let letter = |n: u32| char::from_u32(u32::from('a') + n % 26).unwrap();
                format!("ab{}{}{}ba", letter(n), letter(n / 26), letter(n / 676))
            })
            .collect();
        store(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let size = host.stored(&buckets(&chars("abaaaba")).unwrap()[0]).unwrap().len();
        assert!((50 << 10..=64 << 10).contains(&size), "{size}");
    }
}
