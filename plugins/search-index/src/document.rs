//! A work as the index keeps it: its words, what is shown of it, what is suggested.

use std::collections::{BTreeMap, BTreeSet};

use fondaco_sdk::{Result, Work};

use crate::attributes::Attributes;
use crate::codec::{self, Reader};
use crate::field::{self, FIELDS, Field};
use crate::postings::Posting;
use crate::text;

const MAX_TITLE_BYTES: usize = 300;
const MAX_NAMES: usize = 8;
const MAX_NAME_BYTES: usize = 120;
const MAX_DESCRIPTION_BYTES: usize = 2000;

/// The words of a work: how often each stands in each field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// How many words each field has.
    pub lengths: [u16; FIELDS],
    /// By word.
    pub times: BTreeMap<String, [u16; FIELDS]>,
}

impl Terms {
    /// Of a work.
    pub fn of(work: &Work) -> Self {
        let mut terms = Self::default();
        let credits = work.credits.iter().flat_map(|(role, name)| [role.as_str(), name]);
        terms.add(Field::Title, [work.title.as_str()].into_iter());
        terms.add(Field::Creators, work.creators.iter().map(String::as_str));
        terms.add(Field::Tags, work.tags.iter().map(String::as_str));
        terms.add(Field::Kind, [field::kind_words(work.kind)].into_iter());
        terms.add(Field::Description, [work.description.as_str()].into_iter());
        terms.add(Field::Credits, credits);
        terms
    }
    fn add<'a>(&mut self, field: Field, texts: impl Iterator<Item = &'a str>) {
        let at = field as usize;
        for word in texts.flat_map(text::words).take(field.max_words()) {
            if let (Some(times), Some(length)) =
                (self.times.entry(word.folded).or_default().get_mut(at), self.lengths.get_mut(at))
            {
                // Far from its greatest: a field has at most 1,024 words.
                *times += 1;
                *length += 1;
            }
        }
    }
    /// The posting of one of its words.
    pub fn posting(&self, times: &[u16; FIELDS]) -> Posting {
        let mut posting = Posting { times: *times, lengths: self.lengths };
        for (length, times) in posting.lengths.iter_mut().zip(times) {
            if *times == 0 {
                *length = 0;
            }
        }
        posting
    }
    /// To be stored.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for length in self.lengths {
            codec::put(&mut out, length);
        }
        codec::put_len(&mut out, self.times.len());
        for (word, times) in &self.times {
            codec::put_str(&mut out, word);
            out.push(times.iter().enumerate().fold(0, |mask, (f, n)| mask | u8::from(*n > 0) << f));
            for n in times.iter().filter(|n| **n > 0) {
                codec::put(&mut out, *n);
            }
        }
        out
    }
    /// As stored.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut r = Reader::new(bytes);
        let mut terms = Self::default();
        for length in &mut terms.lengths {
            *length = r.int()?;
        }
        let times = r.list(|r| {
            let word = r.str()?.to_owned();
            let mask = r.byte()?;
            let mut times = [0; FIELDS];
            for (f, n) in times.iter_mut().enumerate() {
                if mask & (1 << f) != 0 {
                    *n = r.int()?;
                }
            }
            Ok((word, times))
        })?;
        terms.times = times.into_iter().collect();
        Ok(terms)
    }
}

/// What is shown of a work, and what leads to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Card {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Who made it.
    pub creators: Vec<String>,
    /// The beginning of its description.
    pub description: String,
}

impl Card {
    /// Of a work.
    pub fn of(work: &Work) -> Self {
        let names = work.creators.iter().take(MAX_NAMES).map(|name| text::shown(name.trim(), MAX_NAME_BYTES));
        Self {
            id: work.id.clone(),
            title: text::shown(work.title.trim(), MAX_TITLE_BYTES),
            creators: names.collect(),
            description: text::shown(work.description.trim(), MAX_DESCRIPTION_BYTES),
        }
    }
    /// To be stored.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        codec::put_str(&mut out, &self.id);
        codec::put_str(&mut out, &self.title);
        codec::put_len(&mut out, self.creators.len());
        for name in &self.creators {
            codec::put_str(&mut out, name);
        }
        codec::put_str(&mut out, &self.description);
        out
    }
    /// As stored.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut r = Reader::new(bytes);
        Ok(Self {
            id: r.str()?.to_owned(),
            title: r.str()?.to_owned(),
            creators: r.list(|r| Ok(r.str()?.to_owned()))?,
            description: r.str()?.to_owned(),
        })
    }
    /// The fields whose text is at hand, for highlights.
    pub fn texts(&self) -> [(Field, String); 3] {
        [
            (Field::Title, self.title.clone()),
            (Field::Creators, self.creators.join(", ")),
            (Field::Description, self.description.clone()),
        ]
    }
    /// What may be suggested for this work: pairs of a folded line and the text shown.
    pub fn suggestions(&self) -> BTreeSet<(String, String)> {
        let texts = std::iter::once(&self.title).chain(&self.creators);
        texts.flat_map(|text| crate::suggest::lines(text).into_iter().map(|line| (line, text.clone()))).collect()
    }
}

/// All that the index keeps of a work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its words.
    pub terms: Terms,
    /// What is shown.
    pub card: Card,
    /// What it is filtered and counted by.
    pub attributes: Attributes,
}

impl Document {
    /// Of a work.
    pub fn of(work: &Work) -> Self {
        Self { terms: Terms::of(work), card: Card::of(work), attributes: Attributes::of(work) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn counts_words_by_field() {
        let mut work = testing::work("k/a", "Café café noir");
        work.creators = vec!["Noir Désir".into()];
        let terms = Terms::of(&work);
        assert_eq!(terms.lengths[Field::Title as usize], 3);
        assert_eq!(terms.times["cafe"], [2, 0, 0, 0, 0, 0]);
        assert_eq!(terms.times["noir"], [1, 1, 0, 0, 0, 0]);
        assert_eq!(terms.posting(&terms.times["cafe"]).lengths, [3, 0, 0, 0, 0, 0]);
        assert_eq!(Terms::decode(&terms.encode()).unwrap(), terms);
        let card = Card::of(&work);
        assert_eq!(Card::decode(&card.encode()).unwrap(), card);
    }

    #[test]
    fn a_hostile_work_is_cut_to_what_a_value_may_hold() {
        let mut work = testing::work("k/a", &"\u{2}title ".repeat(100_000));
        let word = |n: usize| format!("{n:06}{}", "w".repeat(90));
        work.tags = (0..100_000).map(word).collect();
        work.creators = (100_000..200_000).map(word).collect();
        work.description = (200_000..300_000).map(|n| word(n) + " ").collect();
        work.credits = (300_000..310_000).map(|n| (word(n), word(n + 10_000))).collect();
        let document = Document::of(&work);
        let size = document.terms.encode().len();
        assert!((40_000..=64 << 10).contains(&size), "{size}");
        assert_eq!(document.terms.lengths, [64, 128, 128, 1, 1024, 256]);
        assert!(document.card.encode().len() < 5000);
        assert!(!document.card.title.contains('\u{2}'));
    }
}
