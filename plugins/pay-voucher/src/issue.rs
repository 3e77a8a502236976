//! Issuing codes in batches.
//!
//! The batch is written down first, the codes follow from its number: their serials are derived, so that a sheet that
//! was lost on its way can be printed again, and no code is ever issued that the books do not know.

use fondaco_schemas::Money;
use fondaco_sdk::{Error, Result};

use crate::batch::{self, Batch, FIRST_PRINTED, Printed, Total};
use crate::code::{Code, CodeId, MAX_ASSET_BYTES};
use crate::record::{ATTEMPTS, Record, commit, too_busy};
use crate::redeem::serial;
use crate::settings;

/// A batch with its number.
pub struct Issue {
    /// Its number.
    pub number: u32,
    /// What each code is worth.
    pub value: Money,
    /// How it was issued.
    pub printed: Printed,
}

impl Issue {
    /// Writes a new batch into the books.
    pub fn new(value: Money, printed: Printed) -> Result<Self> {
        let assets = settings::assets();
        let asset = value.asset.as_str();
        if value.is_zero() {
            return Err(Error::Invalid("a voucher must be worth something".into()));
        }
        if asset.len() > MAX_ASSET_BYTES || !assets.iter().any(|a| a == asset) {
            let known = assets.join(", ");
            return Err(Error::Invalid(format!(
                "{asset} is not among this shop's assets ({known}): see the setting \"assets\""
            )));
        }
        let mut batch = Batch::empty(&value);
        batch.issued = Total(u128::from(printed.each) * u128::from(printed.count));
        batch.printed = Some(printed.clone());
        for _ in 0..ATTEMPTS {
            // At random, not one after the other: a shop that is put back to an older backup must not issue the codes
            // of a later batch again.
            let number = getrandom::u32().map_err(|e| Error::Internal(format!("no randomness: {e}")))?;
            if number >= FIRST_PRINTED && commit(&Record::new(batch::key(number, &value), batch.clone()).writes()?)? {
                return Ok(Self { number, value, printed });
            }
        }
        Err(too_busy())
    }

    /// A batch that was issued before.
    pub fn again(number: u32) -> Result<Self> {
        let (batch, printed) = batch::printed(number)?.ok_or_else(|| {
            Error::Invalid(format!("there is no printed batch {number:08x}: see the tool \"outstanding\""))
        })?;
        let value = Money { minor: printed.each, asset: batch.asset, exponent: batch.exponent };
        Ok(Self { number, value, printed })
    }

    /// Its codes, with their texts.
    pub fn codes(&self) -> Result<Vec<(CodeId, String)>> {
        let code = |i: u32| {
            let id = CodeId { batch: self.number, serial: serial(&format!("batch/{:08x}/{i}", self.number))? };
            let code = Code { id, value: self.value.clone(), expires: self.printed.expires };
            Ok((id, code.issue()?))
        };
        (0..self.printed.count).map(code).collect()
    }
}
