//! What a query's words stand for: themselves, what they begin, what they resemble.

use std::collections::BTreeSet;

use fondaco_sdk::{Error, Query, Result};

use crate::attributes;
use crate::field::{FIELDS, Settings};
use crate::meta::Meta;
use crate::postings::{self, Entry, Posting};
use crate::{suggest, text, typo};

/// A longer text is refused.
pub const MAX_QUERY_BYTES: usize = 1024;
/// Words beyond are not looked for.
pub const MAX_WORDS: usize = 16;
/// The last word stands for at most so many words that it begins, the most common ones of the first 256.
const MAX_COMPLETIONS: usize = 64;
const AMONG_COMPLETIONS: u32 = 256;
/// A beginning has so many letters at least.
const MIN_PREFIX_LETTERS: usize = 3;
/// A word stands for at most so many words that it resembles.
const MAX_NEAR: usize = 16;
/// A word that so many works have is taken for spelt right. A rarer one also stands for what it resembles, so that one
/// work with the same misspelling does not hide all others.
const ENOUGH_WORKS: u32 = 10;
/// In a catalogue of so many works and more, a word that stands in over half of them need not be met ("the", "de").
const MANY_WORKS: u32 = 100;
/// Filters and facets in one query.
const MAX_FILTERS: usize = 32;
/// What a word counts that only begins as asked.
pub const PREFIX_FACTOR: f64 = 0.75;

/// What a word counts that lies so many slips away.
pub fn typo_factor(slips: usize) -> f64 {
    if slips <= 1 { 0.5 } else { 0.25 }
}

/// A score as it is told to people.
#[expect(clippy::cast_possible_truncation, reason = "the interface has 32 bits; ranking and cursors keep all 64")]
pub fn shown(score: f64) -> f32 {
    score as f32
}

const K1: f64 = 1.2;
const B: f64 = 0.75;

/// How a word of the dictionary came into a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It was written.
    Exact,
    /// Its beginning was written.
    Begins,
    /// It resembles what was written.
    Resembles,
}

/// A word of the dictionary that a written word stands for.
#[derive(Debug)]
pub struct Candidate {
    /// The word.
    pub word: String,
    /// Why.
    pub how: How,
    /// In how many works it stands.
    pub works: u32,
    /// For each field: weight × idf × (k1 + 1) × what `how` costs.
    gains: [f64; FIELDS],
    /// 1 / average length of each field.
    shorter: [f64; FIELDS],
    lists: Vec<(u32, Vec<u8>)>,
}

impl Candidate {
    fn load(word: &str, entry: &Entry, how: How, factor: f64, meta: &Meta, weights: &[f64; FIELDS]) -> Result<Self> {
        let works = f64::from(meta.works);
        let mut gains = [0.0; FIELDS];
        for ((gain, n), weight) in gains.iter_mut().zip(entry.in_field).zip(weights) {
            let n = f64::from(n);
            let idf = (1.0 + (works - n + 0.5).max(0.0) / (n + 0.5)).ln();
            *gain = weight * idf * (K1 + 1.0) * factor;
        }
        let shorter = meta.means().map(|mean| 1.0 / mean);
        Ok(Self { word: word.to_owned(), how, works: entry.works, gains, shorter, lists: entry.lists(word)? })
    }
    /// BM25 of this word in each field of a work (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 3.5;
    /// idf with 1 added before the logarithm, so that it is never negative).
    pub fn by_field(&self, posting: &Posting) -> [f64; FIELDS] {
        let mut scores = [0.0; FIELDS];
        let parts = self.gains.iter().zip(self.shorter).zip(posting.times.iter().zip(posting.lengths));
        for (score, ((gain, shorter), (times, length))) in scores.iter_mut().zip(parts) {
            if *times > 0 {
                let times = f64::from(*times);
                *score = gain * times / (times + K1 * (1.0 - B + B * f64::from(length) * shorter));
            }
        }
        scores
    }
    /// Calls `each` for every work that has the word.
    pub fn each(&self, mut each: impl FnMut(u32, &Posting)) -> Result<()> {
        self.lists.iter().try_for_each(|(base, list)| postings::decode(*base, list, &mut each))
    }
    /// Its posting in one work.
    pub fn posting(&self, doc: u32) -> Result<Option<Posting>> {
        let lists = self.lists.partition_point(|(base, _)| *base <= doc);
        let mut found = None;
        if let Some((base, list)) = lists.checked_sub(1).and_then(|at| self.lists.get(at)) {
            postings::decode(*base, list, |at, posting| {
                if at == doc {
                    found = Some(*posting);
                }
            })?;
        }
        Ok(found)
    }
}

/// A written word and all that it stands for.
#[derive(Debug)]
pub struct Group {
    /// The word as written, folded.
    pub word: String,
    /// Must a work have it?
    pub required: bool,
    /// What it stands for.
    pub candidates: Vec<Candidate>,
}

/// The words of a query.
#[derive(Debug, Default)]
pub struct Plan {
    /// One for each different word.
    pub groups: Vec<Group>,
}

impl Plan {
    /// Reads from the dictionary what the text stands for.
    pub fn make(text: &str, meta: &Meta, settings: &Settings) -> Result<Self> {
        let weights = settings.weights.all();
        let words: Vec<_> = text::words(text).collect();
        let open =
            words.last().filter(|w| settings.prefixes && w.at + w.written.len() == text.len()).map(|w| &w.folded);
        let mut seen = BTreeSet::new();
        let mut groups = Vec::new();
        for word in words.iter().map(|w| &w.folded).filter(|w| seen.insert(w.as_str())).take(MAX_WORDS) {
            let mut candidates = Vec::new();
            let mut taken = BTreeSet::from([word.clone()]);
            let exact = Entry::load(word)?;
            let works = exact.as_ref().map_or(0, |e| e.works);
            if let Some(entry) = &exact {
                candidates.push(Candidate::load(word, entry, How::Exact, 1.0, meta, &weights)?);
            }
            if open == Some(word) && word.chars().count() >= MIN_PREFIX_LETTERS {
                let longer = suggest::completions(word, AMONG_COMPLETIONS)?;
                for (longer, entry) in longer.iter().filter(|(w, _)| w != word).take(MAX_COMPLETIONS) {
                    taken.insert(longer.clone());
                    candidates.push(Candidate::load(longer, entry, How::Begins, PREFIX_FACTOR, meta, &weights)?);
                }
            }
            if settings.typos && works < ENOUGH_WORKS {
                for (near, slips) in typo::near(word, MAX_NEAR)? {
                    if let (true, Some(entry)) = (taken.insert(near.clone()), Entry::load(&near)?) {
                        let factor = typo_factor(slips);
                        candidates.push(Candidate::load(&near, &entry, How::Resembles, factor, meta, &weights)?);
                    }
                }
            }
            let everywhere = meta.works >= MANY_WORKS && works > meta.works / 2;
            groups.push(Group { word: word.clone(), required: !everywhere, candidates });
        }
        Ok(Self { groups })
    }

    /// Every work that the text leads to, by number, with its score: those that have all required words, or, where none
    /// has, those that have any word. Of what a word stands for, the best counts.
    pub fn matches(&self, meta: &Meta) -> Result<Vec<(u32, f64)>> {
        let mut scores = vec![0.0f64; meta.next as usize];
        let mut met = vec![0u16; meta.next as usize];
        let mut best = vec![0.0f64; if self.groups.is_empty() { 0 } else { meta.next as usize }];
        let mut touched = Vec::new();
        let mut required = 0u16;
        for (number, group) in self.groups.iter().enumerate() {
            let bit = 1u16 << number.min(15);
            if group.required {
                required |= bit;
            }
            for candidate in &group.candidates {
                candidate.each(|doc, posting| {
                    let score: f64 = candidate.by_field(posting).iter().sum();
                    if let (Some(best), Some(met)) = (best.get_mut(doc as usize), met.get_mut(doc as usize)) {
                        if *met & bit == 0 {
                            *met |= bit;
                            touched.push(doc);
                        }
                        *best = best.max(score);
                    }
                })?;
            }
            for doc in touched.drain(..) {
                if let (Some(score), Some(best)) = (scores.get_mut(doc as usize), best.get_mut(doc as usize)) {
                    *score += std::mem::take(best);
                }
            }
        }
        let all = met.iter().any(|m| *m != 0 && m & required == required);
        let wanted = |m: u16| m != 0 && (!all || m & required == required);
        Ok((0u32..).zip(scores.iter().zip(&met)).filter(|(_, (_, m))| wanted(**m)).map(|(d, (s, _))| (d, *s)).collect())
    }

    /// The words that a found text may hold.
    pub fn words(&self) -> BTreeSet<String> {
        self.groups.iter().flat_map(|g| &g.candidates).map(|c| c.word.clone()).collect()
    }
}

/// Refuses what no person would ask.
pub fn check(query: &Query) -> Result<()> {
    let long = query.text.len();
    if long > MAX_QUERY_BYTES {
        return Err(Error::Invalid(format!("the query is {long} bytes long: write at most {MAX_QUERY_BYTES}")));
    }
    for (what, count) in [("kinds", query.kinds.len()), ("tags", query.tags.len()), ("facets", query.facets.len())] {
        if count > MAX_FILTERS {
            return Err(Error::Invalid(format!("the query has {count} {what}: give at most {MAX_FILTERS}")));
        }
    }
    if query.tags.iter().chain(&query.language).any(|text| text.len() > MAX_QUERY_BYTES) {
        return Err(Error::Invalid(format!("a tag or language of the query is over {MAX_QUERY_BYTES} bytes long")));
    }
    if let Some(max) = query.max_price.as_ref().filter(|max| attributes::price(max).is_none()) {
        let amount = text::shown(&max.amount, 40);
        return Err(Error::Invalid(format!("the highest price is \"{amount}\": write decimal digits")));
    }
    Ok(())
}
