//! Taking in changes of the catalogue. Each durable step holds whole works with everything that hangs on them (words,
//! counts, dictionary, suggestions), so that the index is right after any of them, whatever happens before the next.

use std::collections::BTreeMap;

use fondaco_sdk::storage::{Entry, Write};
use fondaco_sdk::{Change, Error, Result};

use crate::attributes::{self, Block};
use crate::codec::{self, Reader};
use crate::document::{Card, Document, Terms};
use crate::meta::Meta;
use crate::postings::{self, Changes};
use crate::{keys, kv, suggest, typo};

/// A step holds at most so many works,
const MAX_STEP_WORKS: usize = 64;
/// and, where it holds more than one, so many changed postings: each costs three calls of the node at most.
const MAX_STEP_POSTINGS: usize = 3_200;
/// The node ends a call at 10,000 calls and 8 MiB. A second step is only made where it stays within these. What is left
/// comes again, and the changes already taken in cost four reads each.
const MAX_CALLS: usize = 9_500;
const MAX_BYTES: usize = 7 << 20;
/// Numbers to be used again that are kept; more are forgotten, which leaves gaps and harms nothing.
const MAX_FREE: usize = 10_000;
/// The longest id that a key holds.
const MAX_ID_BYTES: usize = 500;

/// Takes in changes. Durable on return. [`Error::Exhausted`]: a first part is durable, and the call is to be made again.
pub fn index(changes: Vec<Change>) -> Result<()> {
    let before = kv::spent();
    let mut changes = changes.into_iter().peekable();
    let mut is_first = true;
    while let Some(next) = changes.next() {
        let mut step = Step::begin()?;
        step.take(&next)?;
        while step.works < MAX_STEP_WORKS
            && let Some(next) = changes.peek()
            && step.take(next)?
        {
            changes.next();
        }
        let calls = kv::spent().calls - before.calls + step.calls_to_merge();
        let room = if is_first { usize::MAX } else { (before.written + MAX_BYTES).saturating_sub(kv::spent().written) };
        if !step.write(if is_first || calls <= MAX_CALLS { room } else { 0 })? {
            return Err(Error::Exhausted(
                "not all changes fit into one call: send the same ones again, or fewer".into(),
            ));
        }
        is_first = false;
    }
    Ok(())
}

/// One durable step in the making.
struct Step {
    meta: Meta,
    /// The counts as they were stored.
    was: Option<Vec<u8>>,
    free: Option<Vec<u32>>,
    /// Values that are written as they are.
    values: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    blocks: BTreeMap<u32, Block>,
    words: BTreeMap<String, Changes>,
    works: usize,
    postings: usize,
}

impl Step {
    fn begin() -> Result<Self> {
        let (meta, was) = Meta::load()?;
        Ok(Self {
            meta,
            was,
            free: None,
            values: BTreeMap::new(),
            blocks: BTreeMap::new(),
            words: BTreeMap::new(),
            works: 0,
            postings: 0,
        })
    }

    /// The most calls that [`Step::write`] can make: for each word its entry, and two shapes or the blocks it touches.
    fn calls_to_merge(&self) -> usize {
        let blocks = |docs: &Changes| {
            let mut blocks: Vec<u32> = docs.keys().map(|doc| doc / postings::PER_BLOCK).collect();
            blocks.dedup();
            blocks.len()
        };
        self.words.values().map(|docs| 1 + blocks(docs).max(2)).sum::<usize>() + 1
    }

    /// A value as this step would leave it.
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        if let Some(value) = self.values.get(key) {
            return Ok(value.clone());
        }
        kv::get(key)
    }

    fn block(&mut self, doc: u32) -> Result<&mut Block> {
        let number = doc / attributes::PER_BLOCK;
        if !self.blocks.contains_key(&number) {
            let stored = self.get(&keys::attributes(number))?;
            let block = stored.map_or_else(|| Ok(Block::default()), |b| Block::decode(&b))?;
            self.blocks.insert(number, block);
        }
        Ok(self.blocks.entry(number).or_default())
    }

    /// Takes a change in. `false`: it does not fit into this step any more, and the step is as before.
    fn take(&mut self, change: &Change) -> Result<bool> {
        let (id, new) = match change {
            Change::Upsert(work) => (&work.id, Some(Document::of(work))),
            Change::Remove(id) => (id, None),
        };
        if id.is_empty() || id.len() > MAX_ID_BYTES {
            let len = id.len();
            return Err(Error::Invalid(format!("a work's id is {len} bytes long: it must have 1 to {MAX_ID_BYTES}")));
        }
        let id_key = keys::id(id);
        let doc = match self.get(&id_key)? {
            Some(bytes) => Some(keys::number_of(&bytes).ok_or_else(codec::damaged)?),
            None => None,
        };
        let old = doc.map(|doc| self.load(doc)).transpose()?;
        if old == new {
            return Ok(true);
        }
        let size: usize = old.iter().chain(&new).map(|document| document.terms.times.len()).sum();
        if self.works > 0 && self.postings + size > MAX_STEP_POSTINGS {
            return Ok(false);
        }
        let doc = if let Some(doc) = doc {
            doc
        } else {
            let doc = self.allocate()?;
            self.values.insert(id_key.clone(), Some(doc.to_be_bytes().to_vec()));
            self.meta.works += 1;
            doc
        };
        if new.is_none() {
            self.values.insert(id_key, None);
            self.meta.works = self.meta.works.saturating_sub(1);
            let free = self.free()?;
            if free.len() < MAX_FREE {
                free.push(doc);
            }
        }
        self.replace(doc, old, new)?;
        Ok(true)
    }

    fn load(&mut self, doc: u32) -> Result<Document> {
        let terms = self.get(&keys::terms(doc))?.ok_or_else(codec::damaged)?;
        let card = self.get(&keys::card(doc))?.ok_or_else(codec::damaged)?;
        Ok(Document {
            terms: Terms::decode(&terms)?,
            card: Card::decode(&card)?,
            attributes: self.block(doc)?.get(doc).cloned().ok_or_else(codec::damaged)?,
        })
    }

    fn free(&mut self) -> Result<&mut Vec<u32>> {
        if self.free.is_none() {
            let stored = self.get(keys::FREE)?;
            self.free = Some(stored.map_or_else(|| Ok(Vec::new()), |b| Reader::new(&b).list(Reader::int))?);
        }
        Ok(self.free.get_or_insert_default())
    }

    /// The number of a new work.
    fn allocate(&mut self) -> Result<u32> {
        if let Some(doc) = self.free()?.pop() {
            return Ok(doc);
        }
        let doc = self.meta.next;
        self.meta.next = doc.checked_add(1).ok_or_else(|| Error::Exhausted("the search index is full".into()))?;
        Ok(doc)
    }

    /// Puts one state of a work in the place of another.
    fn replace(&mut self, doc: u32, old: Option<Document>, new: Option<Document>) -> Result<()> {
        self.works += 1;
        self.block(doc)?.set(doc, new.as_ref().map(|d| d.attributes.clone()));
        self.values.insert(keys::terms(doc), new.as_ref().map(|d| d.terms.encode()));
        self.values.insert(keys::card(doc), new.as_ref().map(|d| d.card.encode()));
        let lines = |d: &Option<Document>| d.as_ref().map(|d| d.card.suggestions()).unwrap_or_default();
        for (line, _) in lines(&old) {
            self.values.insert(suggest::key(&line, doc), None);
        }
        for (line, text) in lines(&new) {
            self.values.insert(suggest::key(&line, doc), Some(text.into_bytes()));
        }
        let old = old.map(|d| d.terms).unwrap_or_default();
        let new = new.map(|d| d.terms).unwrap_or_default();
        for ((count, old), new) in self.meta.words.iter_mut().zip(old.lengths).zip(new.lengths) {
            *count = count.saturating_sub(u64::from(old)).saturating_add(u64::from(new));
        }
        for word in old.times.keys().filter(|word| !new.times.contains_key(*word)) {
            self.words.entry(word.clone()).or_default().insert(doc, None);
            self.postings += 1;
        }
        for (word, times) in &new.times {
            let posting = new.posting(times);
            // A change that came earlier in this step may have to be undone, so "as before" is no reason to leave it out.
            self.words.entry(word.clone()).or_default().insert(doc, Some(posting));
            self.postings += 1;
        }
        Ok(())
    }

    /// Merges and writes. `false`: it would have written more than `room` bytes, and wrote nothing.
    fn write(mut self, room: usize) -> Result<bool> {
        if self.works == 0 {
            return Ok(true);
        }
        if room == 0 {
            return Ok(false);
        }
        let mut filed = BTreeMap::new();
        for (word, changes) in std::mem::take(&mut self.words) {
            let merged = postings::merge(&word, &changes)?;
            self.values.extend(merged.writes);
            match (merged.is_new, merged.is_gone) {
                (true, false) => {
                    self.meta.terms += 1;
                    filed.insert(word, true);
                }
                (false, true) => {
                    self.meta.terms = self.meta.terms.saturating_sub(1);
                    filed.insert(word, false);
                }
                _ => {}
            }
        }
        self.values.extend(typo::file(&filed)?);
        for (number, block) in &self.blocks {
            self.values.insert(keys::attributes(*number), block.encode());
        }
        if let Some(free) = &self.free {
            let mut bytes = Vec::new();
            codec::put_len(&mut bytes, free.len());
            for doc in free {
                codec::put(&mut bytes, *doc);
            }
            self.values.insert(keys::FREE.to_vec(), (!free.is_empty()).then_some(bytes));
        }
        // Two writers at once would count twice: the second one fails here.
        let mut batch = vec![Write::Check((keys::META.to_vec(), self.was))];
        batch.push(Write::Put(Entry { key: keys::META.to_vec(), value: self.meta.encode() }));
        batch.extend(self.values.into_iter().map(|(key, value)| match value {
            Some(value) => Write::Put(Entry { key, value }),
            None => Write::Delete(key),
        }));
        if kv::size(&batch) > room {
            return Ok(false);
        }
        kv::apply(&batch)?;
        Ok(true)
    }
}
