//! What is stored: counters, who has taken part, and the public log. Every change is one transaction that checks what
//! it read, so that two at the same moment are both counted, or one of them runs again.
//!
//! | Key | Value |
//! |---|---|
//! | `count/<campaign>/<action>/<class>/<placement>` | a number in decimal digits; no placement: `~` |
//! | `places/<campaign>` | the placements that were counted, as JSON |
//! | `seen/<campaign>/<action>/<session>` | [`crate::taking::Seen`] |
//! | `person/<person>/<campaign>/<action>` | [`crate::signature::Signature`] |
//! | `token/<hash>` | the key of the signature that a mailed token stands for |
//! | `due/<day>/<hash>` | the key of an entry that is erased on that day |
//! | `head/<campaign>`, `leaf/<campaign>/<number>` | the public log |
//!
//! Sessions and persons stand there as keyed hashes: without the node's key nobody can tell who it was.

use std::collections::BTreeMap;

use fondaco_sdk::storage::{self, Entry, Write};
use fondaco_sdk::{Count, Error, EvidenceClass, Result, keys};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::day::Day;
use crate::name::{Id, Placement};

/// How often a change is tried when others come first.
const TRIES: usize = 12;
/// Placements of one campaign that are counted apart; what comes with another one is counted without.
const MAX_PLACES: usize = 256;
/// Expired entries that one call erases.
const SWEEP: u32 = 16;
/// Leaves that one call answers.
const MAX_LEAVES: u32 = 1_000;
const PAGE: u32 = 500;
/// In a key: no placement. No placement can be called so.
const NO_PLACE: &str = "~";

/// What is to be counted.
#[derive(Clone, Copy, Debug)]
pub struct Tally<'a> {
    /// Of which campaign.
    pub campaign: &'a Id,
    /// What was done.
    pub action: &'a Id,
    /// How much it is worth. Classes are never added up.
    pub class: EvidenceClass,
    /// Where the person came from.
    pub placement: Option<&'a Placement>,
}

/// An entry of the public log: nothing in it is about a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaf {
    /// From 0, without gaps.
    pub number: u64,
    /// When.
    pub day: Day,
    /// `counted` or `withdrawn`.
    pub event: String,
    /// What was done.
    pub action: String,
    /// How much it is worth.
    pub class: String,
    /// With `withdrawn`: which entry no longer holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
    /// BLAKE3 of the entry before, as it was published; of the first: 64 zeros.
    pub before: String,
}

#[derive(Serialize, Deserialize)]
struct Head {
    next: u64,
    last: String,
}

/// The name of a class of evidence, in keys, files and the log.
pub const fn class_name(class: EvidenceClass) -> &'static str {
    match class {
        EvidenceClass::PurchaseBacked => "purchase-backed",
        EvidenceClass::Confirmed => "confirmed",
        EvidenceClass::Unconfirmed => "unconfirmed",
    }
}

fn class_named(name: &str) -> Option<EvidenceClass> {
    let all = [EvidenceClass::PurchaseBacked, EvidenceClass::Confirmed, EvidenceClass::Unconfirmed];
    all.into_iter().find(|c| class_name(*c) == name)
}

/// A keyed hash, as hex: the same text gives the same one at this node only. `purpose` keeps kinds apart.
pub fn pseudonym(purpose: &str, text: &str) -> Result<String> {
    let key: [u8; 32] =
        keys::derive(purpose)?.try_into().map_err(|_| Error::Internal("the node's key has not 32 bytes".into()))?;
    Ok(blake3::keyed_hash(&key, text.as_bytes()).to_hex().to_string())
}

/// One transaction in the making. It remembers what it read, and sees what it wrote.
#[derive(Default)]
pub struct Plan {
    read: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    written: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

/// Runs `f` until what it read is still so when it is written. `f` may run several times.
pub fn commit<T>(mut f: impl FnMut(&mut Plan) -> Result<T>) -> Result<T> {
    for _ in 0..TRIES {
        let mut plan = Plan::default();
        let value = f(&mut plan)?;
        if plan.written.is_empty() {
            return Ok(value);
        }
        let checks = plan.read.into_iter().map(Write::Check);
        let writes = plan.written.into_iter().map(|(key, value)| match value {
            Some(value) => Write::Put(Entry { key, value }),
            None => Write::Delete(key),
        });
        let batch: Vec<_> = checks.chain(writes).collect();
        #[cfg(test)]
        tests::before_apply();
        match storage::apply(&batch) {
            Ok(()) => return Ok(value),
            // A check did not hold: somebody else came first.
            Err(Error::Invalid(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::Unavailable("too many take part at this very moment; try again".into()))
}

fn damaged(key: &str) -> Error {
    Error::Internal(format!("what is stored under {key} cannot be read"))
}

impl Plan {
    fn bytes(&mut self, key: &str) -> Result<Option<Vec<u8>>> {
        let key = key.as_bytes();
        if let Some(value) = self.written.get(key).or_else(|| self.read.get(key)) {
            return Ok(value.clone());
        }
        let value = storage::get(key)?;
        self.read.insert(key.to_vec(), value.clone());
        Ok(value)
    }
    /// A text.
    pub fn text(&mut self, key: &str) -> Result<Option<String>> {
        self.bytes(key)?.map(|b| String::from_utf8(b).map_err(|_| damaged(key))).transpose()
    }
    /// A value.
    pub fn get<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>> {
        self.bytes(key)?.map(|b| serde_json::from_slice(&b).map_err(|_| damaged(key))).transpose()
    }
    /// Writes a text.
    pub fn put_text(&mut self, key: &str, value: &str) {
        self.written.insert(key.into(), Some(value.into()));
    }
    /// Writes a value.
    pub fn put<T: Serialize>(&mut self, key: &str, value: &T) -> Result<()> {
        let bytes = serde_json::to_vec(value).map_err(|e| Error::Internal(e.to_string()))?;
        self.written.insert(key.into(), Some(bytes));
        Ok(())
    }
    /// Deletes.
    pub fn delete(&mut self, key: &str) {
        self.written.insert(key.into(), None);
    }
    /// Has the entry under `key` erased once `until` is past.
    pub fn keep_until(&mut self, key: &str, until: Day) {
        let hash = blake3::hash(key.as_bytes()).to_hex();
        self.put_text(&format!("due/{until}/{hash}"), key);
    }

    /// Counts one, and writes it to the public log. The number of the log's entry.
    pub fn count(&mut self, tally: Tally<'_>, day: Day) -> Result<u64> {
        let key = self.counter(tally)?;
        let n = self.number(&key)?;
        let n = n.checked_add(1).ok_or_else(|| Error::Internal(format!("{key} is full")))?;
        self.put_text(&key, &n.to_string());
        self.log(tally, day, "counted", None)
    }

    /// Takes back what was counted as entry `leaf`.
    pub fn uncount(&mut self, tally: Tally<'_>, day: Day, leaf: u64) -> Result<()> {
        let key = self.counter(tally)?;
        let n = self.number(&key)?;
        let n = n.checked_sub(1).ok_or_else(|| Error::Internal(format!("{key} is 0 and cannot fall")))?;
        self.put_text(&key, &n.to_string());
        self.log(tally, day, "withdrawn", Some(leaf)).map(drop)
    }

    fn number(&mut self, key: &str) -> Result<u64> {
        self.text(key)?.map_or(Ok(0), |n| n.parse().map_err(|_| damaged(key)))
    }

    /// The counter's key. Visitors name placements: only so many are kept apart.
    fn counter(&mut self, tally: Tally<'_>) -> Result<String> {
        let Tally { campaign, action, class, placement } = tally;
        let key = |place: &str| format!("count/{campaign}/{action}/{}/{place}", class_name(class));
        let Some(place) = placement else { return Ok(key(NO_PLACE)) };
        if self.bytes(&key(place.as_str()))?.is_none() {
            let list = format!("places/{campaign}");
            let mut places: Vec<String> = self.get(&list)?.unwrap_or_default();
            if !places.iter().any(|p| p == place.as_str()) {
                if places.len() >= MAX_PLACES {
                    return Ok(key(NO_PLACE));
                }
                places.push(place.to_string());
                self.put(&list, &places)?;
            }
        }
        Ok(key(place.as_str()))
    }

    fn log(&mut self, tally: Tally<'_>, day: Day, event: &str, of: Option<u64>) -> Result<u64> {
        let campaign = tally.campaign;
        let head_key = format!("head/{campaign}");
        let head = self.get(&head_key)?.unwrap_or_else(|| Head { next: 0, last: "0".repeat(64) });
        let leaf = Leaf {
            number: head.next,
            day,
            event: event.to_owned(),
            action: tally.action.to_string(),
            class: class_name(tally.class).to_owned(),
            of,
            before: head.last,
        };
        let bytes = serde_json::to_vec(&leaf).map_err(|e| Error::Internal(e.to_string()))?;
        let last = blake3::hash(&bytes).to_hex().to_string();
        self.written.insert(leaf_key(campaign, leaf.number).into(), Some(bytes));
        self.put(&head_key, &Head { next: leaf.number.saturating_add(1), last })?;
        Ok(leaf.number)
    }
}

fn leaf_key(campaign: &Id, number: u64) -> String {
    format!("leaf/{campaign}/{number:020}")
}

/// The public log from entry `since` on, at most 1,000 entries.
pub fn leaves(campaign: &Id, since: u64) -> Result<Vec<Vec<u8>>> {
    let end = storage::after(format!("leaf/{campaign}/").as_bytes());
    let found = storage::scan(leaf_key(campaign, since).as_bytes(), &end, MAX_LEAVES)?;
    Ok(found.into_iter().map(|e| e.value).collect())
}

/// A counter: its campaign, action, class, placement and number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Of which campaign.
    pub campaign: String,
    /// What was done.
    pub action: String,
    /// How much it is worth.
    pub class: EvidenceClass,
    /// Where people came from; empty: nobody said.
    pub placement: String,
    /// How many.
    pub n: u64,
}

/// All entries under a prefix.
pub fn all(prefix: &str) -> Result<Vec<Entry>> {
    let end = storage::after(prefix.as_bytes());
    let (mut start, mut entries) = (prefix.as_bytes().to_vec(), Vec::new());
    loop {
        let page = storage::scan(&start, &end, PAGE)?;
        let Some(last) = page.last() else { return Ok(entries) };
        start.clone_from(&last.key);
        start.push(0);
        entries.extend(page);
    }
}

/// The counters of a campaign, or of all.
pub fn counters(campaign: Option<&Id>) -> Result<Vec<Counter>> {
    let entries = all(&campaign.map_or("count/".to_owned(), |c| format!("count/{c}/")))?;
    let counter = |e: Entry| {
        let key = String::from_utf8(e.key).ok()?;
        let mut parts = key.split('/').skip(1);
        let (campaign, action) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        let class = class_named(parts.next()?)?;
        let placement = parts.next().filter(|p| *p != NO_PLACE).unwrap_or_default().to_owned();
        let n = std::str::from_utf8(&e.value).ok()?.parse().ok()?;
        Some(Counter { campaign, action, class, placement, n })
    };
    entries.into_iter().map(|e| counter(e).ok_or_else(|| damaged("count/"))).collect()
}

/// How many took part, by class and action, whatever their placement.
pub fn counts(campaign: &Id) -> Result<Vec<Count>> {
    let mut sums: Vec<Count> = Vec::new();
    for c in counters(Some(campaign))? {
        match sums.iter_mut().find(|s| s.class == c.class && s.action == c.action) {
            Some(sum) => sum.n = sum.n.saturating_add(c.n),
            None => sums.push(Count { class: c.class, action: c.action, n: c.n }),
        }
    }
    sums.retain(|s| s.n > 0);
    Ok(sums)
}

/// What every stored entry about someone says of itself.
#[derive(Deserialize)]
struct Kept {
    until: Day,
    token: Option<String>,
}

/// Erases what was to be kept until yesterday, a portion at a time.
pub fn sweep(today: Day) -> Result<()> {
    for entry in storage::scan(b"due/", format!("due/{today}/").as_bytes(), SWEEP)? {
        let (Ok(due), Ok(key)) = (String::from_utf8(entry.key), String::from_utf8(entry.value)) else { continue };
        commit(|plan| {
            // The entry may have been renewed since, and then has a later day of its own.
            if let Some(kept) = plan.get::<Kept>(&key)?.filter(|k| k.until < today) {
                plan.delete(&key);
                if let Some(token) = kept.token {
                    plan.delete(&token);
                }
            }
            plan.delete(&due);
            Ok(())
        })?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "store_tests.rs"]
pub(crate) mod tests;
