//! The books: for each batch of codes, how much was issued and how much of it was redeemed.
//!
//! Codes are not kept one by one (a signature makes them valid), but every code belongs to a batch, and the two sums of
//! the batch move in the same transaction as the code. Change and refunds are batches of their own, one for each unit.

use std::collections::BTreeMap;
use std::fmt;

use fondaco_schemas::{Asset, Money};
use fondaco_sdk::storage::{self, Write};
use fondaco_sdk::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::clock::Day;
use crate::code::Code;
use crate::record::{Record, read};

/// The batch of codes that are change.
pub const CHANGE: u32 = 0;
/// The batch of codes that are refunds.
pub const REFUND: u32 = 1;
/// The least number of a batch that the operator had printed.
pub const FIRST_PRINTED: u32 = 256;
/// Where batches lie in storage.
const PREFIX: &str = "b/";
/// How many batches are read at a time.
const PAGE: u32 = 256;

/// A sum of many vouchers: more than a `u64` may hold. Written as decimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Total(pub u128);

impl TryFrom<String> for Total {
    type Error = std::num::ParseIntError;
    fn try_from(digits: String) -> std::result::Result<Self, Self::Error> {
        digits.parse().map(Self)
    }
}
impl From<Total> for String {
    fn from(total: Total) -> Self {
        total.0.to_string()
    }
}

impl Total {
    fn plus(self, minor: u64) -> Result<Self> {
        let sum = self.0.checked_add(u128::from(minor));
        sum.map(Self).ok_or_else(|| Error::Exhausted("the books of this batch are full".into()))
    }
    /// With its decimals: 1999 of exponent 2 is `19.99`.
    pub fn decimal(self, exponent: u8) -> String {
        let digits = format!("{:0width$}", self.0, width = usize::from(exponent) + 1);
        let (whole, part) = digits.split_at(digits.len() - usize::from(exponent));
        if part.is_empty() { whole.to_owned() } else { format!("{whole}.{part}") }
    }
}

/// What the operator had printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Printed {
    /// What each code is worth, in atomic units.
    pub each: u64,
    /// How many codes there are.
    pub count: u32,
    /// The last day on which they are good.
    pub expires: Option<Day>,
    /// What the operator calls it.
    pub title: Option<String>,
    /// RFC 3339.
    pub at: String,
}

/// One batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// What its codes are worth something in.
    pub asset: Asset,
    /// Decimals of the asset's atomic unit.
    pub exponent: u8,
    /// Sum of what was issued, in atomic units.
    pub issued: Total,
    /// Sum of what was redeemed, change included.
    pub redeemed: Total,
    /// How many codes were redeemed.
    pub used: u64,
    /// How it came about, where the operator had it printed.
    pub printed: Option<Printed>,
}

impl Batch {
    /// A batch of this unit with nothing in it.
    pub fn empty(unit: &Money) -> Self {
        let (issued, redeemed) = Default::default();
        Self { asset: unit.asset.clone(), exponent: unit.exponent, issued, redeemed, used: 0, printed: None }
    }
}

/// The key of a batch. Those that are not printed are kept apart by unit.
pub fn key(batch: u32, unit: &Money) -> Vec<u8> {
    let name = if batch < FIRST_PRINTED {
        format!("{PREFIX}{batch:08x}/{}/{}", unit.exponent, unit.asset)
    } else {
        format!("{PREFIX}{batch:08x}")
    };
    name.into_bytes()
}

/// A printed batch by its number.
pub fn printed(batch: u32) -> Result<Option<(Batch, Printed)>> {
    let record = Record::<Batch>::load(format!("{PREFIX}{batch:08x}").into_bytes())?;
    Ok(record.and_then(|r| r.value.printed.clone().map(|p| (r.value, p))))
}

/// Every batch, with its number, in order.
pub fn all() -> Result<Vec<(u32, Batch)>> {
    let (mut batches, end) = (Vec::new(), storage::after(PREFIX.as_bytes()));
    let mut start = PREFIX.as_bytes().to_vec();
    loop {
        let page = storage::scan(&start, &end, PAGE)?;
        let Some(last) = page.last() else { return Ok(batches) };
        start = [&last.key[..], &[0]].concat();
        for entry in &page {
            let number = entry.key.get(PREFIX.len()..PREFIX.len() + 8).and_then(|hex| std::str::from_utf8(hex).ok());
            let number = number.and_then(|hex| u32::from_str_radix(hex, 16).ok());
            let number = number.ok_or_else(|| Error::Internal("a stored batch has no number".into()))?;
            batches.push((number, read(&entry.key, &entry.value)?));
        }
    }
}

/// The batches that one transaction moves; each is read once and written once.
#[derive(Default)]
pub struct Books(BTreeMap<Vec<u8>, Record<Batch>>);

impl Books {
    fn batch(&mut self, code: &Code) -> Result<&mut Batch> {
        let key = key(code.id.batch, &code.value);
        if !self.0.contains_key(&key) {
            let record = match Record::load(key.clone())? {
                Some(record) => record,
                // The code is ours by its signature, whatever became of the books (an older backup, say).
                None => Record::new(key.clone(), Batch::empty(&code.value)),
            };
            self.0.insert(key.clone(), record);
        }
        self.0.get_mut(&key).map(|r| &mut r.value).ok_or_else(|| Error::Internal("a batch went missing".into()))
    }
    /// A code that is change or a refund goes out.
    pub fn issue(&mut self, code: &Code) -> Result<()> {
        let batch = self.batch(code)?;
        batch.issued = batch.issued.plus(code.value.minor)?;
        Ok(())
    }
    /// A code comes back.
    pub fn redeem(&mut self, code: &Code) -> Result<()> {
        let batch = self.batch(code)?;
        batch.redeemed = batch.redeemed.plus(code.value.minor)?;
        batch.used += 1;
        Ok(())
    }
    /// The writes that store them.
    pub fn writes(&self) -> Result<Vec<Write>> {
        let mut writes = Vec::with_capacity(self.0.len() * 2);
        for record in self.0.values() {
            writes.extend(record.writes()?);
        }
        Ok(writes)
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |total: Total| total.decimal(self.exponent);
        write!(f, "issued {} {}, redeemed {}", sum(self.issued), self.asset, sum(self.redeemed))
    }
}
