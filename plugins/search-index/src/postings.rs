//! In which works a word stands, how often, in which field, and how long those fields are: all that BM25 needs of a work,
//! so that ranking reads nothing but the postings of the query's words.
//!
//! A rare word has its postings in its dictionary entry. Those of a common one lie apart, in blocks of 512 work numbers,
//! so that a change rewrites one block. A posting takes at most 27 bytes and a block therefore at most 14 KiB.

use fondaco_sdk::{Result, storage};

use crate::codec::{self, Reader};
use crate::field::FIELDS;
use crate::{keys, kv};

/// How many work numbers share a block.
pub const PER_BLOCK: u32 = 512;
/// A word that stands in more works than this has its postings apart.
pub const MAX_INLINE: usize = 8;
/// Blocks drawn by one scan.
const SCAN: u32 = 64;

/// A word in one work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Posting {
    /// How often it stands in each field.
    pub times: [u16; FIELDS],
    /// How many words each field has; 0 where this word is not in it.
    pub lengths: [u16; FIELDS],
}

/// A list of postings as stored, ordered by work number; the numbers count from `base`.
fn encode<'a>(base: u32, list: impl Iterator<Item = (&'a u32, &'a Posting)>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut last = base;
    for (doc, posting) in list {
        codec::put(&mut out, doc.wrapping_sub(last));
        last = *doc;
        let mask = posting.times.iter().enumerate().fold(0u8, |mask, (f, times)| mask | u8::from(*times > 0) << f);
        out.push(mask);
        for (times, length) in posting.times.iter().zip(posting.lengths).filter(|(times, _)| **times > 0) {
            codec::put(&mut out, *times);
            codec::put(&mut out, length);
        }
    }
    out
}

/// Calls `each` with every posting of a stored list.
pub fn decode(base: u32, bytes: &[u8], mut each: impl FnMut(u32, &Posting)) -> Result<()> {
    let mut r = Reader::new(bytes);
    let mut doc = base;
    while !r.is_empty() {
        doc = doc.checked_add(r.int()?).ok_or_else(codec::damaged)?;
        let mask = r.byte()?;
        let mut posting = Posting::default();
        for (f, (times, length)) in posting.times.iter_mut().zip(&mut posting.lengths).enumerate() {
            if mask & (1 << f) != 0 {
                *times = r.int()?;
                *length = r.int()?;
            }
        }
        each(doc, &posting);
    }
    Ok(())
}

type Map = std::collections::BTreeMap<u32, Posting>;

fn to_map(base: u32, bytes: &[u8]) -> Result<Map> {
    let mut map = Map::new();
    decode(base, bytes, |doc, posting| {
        map.insert(doc, *posting);
    })?;
    Ok(map)
}

/// A word's entry in the dictionary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// In how many works it stands.
    pub works: u32,
    /// In how many works it stands in each field.
    pub in_field: [u32; FIELDS],
    /// The postings; `None`: they lie apart.
    inline: Option<Vec<u8>>,
}

impl Entry {
    /// Reads a stored entry.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut r = Reader::new(bytes);
        let mut entry = Self { works: r.int()?, ..Self::default() };
        for n in &mut entry.in_field {
            *n = r.int()?;
        }
        entry.inline = (r.byte()? == 0).then(|| r.rest().to_vec());
        Ok(entry)
    }
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        codec::put(&mut out, self.works);
        for n in self.in_field {
            codec::put(&mut out, n);
        }
        out.push(u8::from(self.inline.is_none()));
        out.extend_from_slice(self.inline.as_deref().unwrap_or_default());
        out
    }
    /// The entry of a word, if any work has it.
    pub fn load(word: &str) -> Result<Option<Self>> {
        kv::get(&keys::term(word))?.map(|bytes| Self::decode(&bytes)).transpose()
    }
    /// Its stored lists, each with the number that it counts from.
    pub fn lists(&self, word: &str) -> Result<Vec<(u32, Vec<u8>)>> {
        if let Some(inline) = &self.inline {
            return Ok(vec![(0, inline.clone())]);
        }
        let prefix = keys::postings(word);
        let end = storage::after(&prefix);
        let mut from = prefix;
        let mut lists = Vec::new();
        loop {
            let page = kv::scan(&from, &end, SCAN)?;
            let full = page.len() >= SCAN as usize;
            if let Some(last) = page.last() {
                from.clone_from(&last.key);
                from.push(0);
            }
            for entry in page {
                let block = keys::number_of(&entry.key).ok_or_else(codec::damaged)?;
                lists.push((block.checked_mul(PER_BLOCK).ok_or_else(codec::damaged)?, entry.value));
            }
            if !full {
                return Ok(lists);
            }
        }
    }
    fn change(&mut self, map: &mut Map, doc: u32, change: Option<&Posting>) {
        let before = match change {
            Some(posting) => map.insert(doc, *posting),
            None => map.remove(&doc),
        };
        if let Some(before) = before {
            self.count(&before, -1);
        }
        if let Some(posting) = change {
            self.count(posting, 1);
        }
    }
    fn count(&mut self, posting: &Posting, by: i32) {
        self.works = self.works.saturating_add_signed(by);
        for (n, times) in self.in_field.iter_mut().zip(posting.times) {
            if times > 0 {
                *n = n.saturating_add_signed(by);
            }
        }
    }
}

/// What comes of changes to one word's postings.
pub struct Merged {
    /// What is to be written.
    pub writes: kv::Writes,
    /// The word was in no work before.
    pub is_new: bool,
    /// The word is in no work any more.
    pub is_gone: bool,
}

/// Merges changes (by work number; `None`: the word is no longer in that work) into a word's postings. Counts follow from
/// the postings themselves, so that merging the same change again changes nothing.
pub fn merge(word: &str, changes: &Changes) -> Result<Merged> {
    let stored = Entry::load(word)?;
    let is_new = stored.is_none();
    let mut entry = stored.unwrap_or_else(|| Entry { inline: Some(Vec::new()), ..Entry::default() });
    let mut writes = Vec::new();
    if let Some(bytes) = entry.inline.take() {
        let mut map = to_map(0, &bytes)?;
        for (doc, change) in changes {
            entry.change(&mut map, *doc, change.as_ref());
        }
        if map.len() <= MAX_INLINE {
            entry.inline = Some(encode(0, map.iter()));
        } else {
            let mut rest = map;
            while let Some((&first, _)) = rest.first_key_value() {
                let block = first / PER_BLOCK;
                let after = rest.split_off(&(block + 1).saturating_mul(PER_BLOCK));
                writes.push((keys::posting_block(word, block), Some(encode(block * PER_BLOCK, rest.iter()))));
                rest = after;
            }
        }
    } else {
        let mut changes = changes.iter().peekable();
        while let Some((first, _)) = changes.peek() {
            let block = **first / PER_BLOCK;
            let key = keys::posting_block(word, block);
            let base = block * PER_BLOCK;
            let mut map = kv::get(&key)?.map_or_else(|| Ok(Map::new()), |bytes| to_map(base, &bytes))?;
            while let Some((doc, change)) = changes.next_if(|(doc, _)| *doc / PER_BLOCK == block) {
                entry.change(&mut map, *doc, change.as_ref());
            }
            writes.push((key, (!map.is_empty()).then(|| encode(base, map.iter()))));
        }
    }
    let is_gone = entry.works == 0;
    writes.push((keys::term(word), (!is_gone).then(|| entry.encode())));
    Ok(Merged { writes, is_new, is_gone })
}

/// Changes to one word's postings, by work number.
pub type Changes = std::collections::BTreeMap<u32, Option<Posting>>;
