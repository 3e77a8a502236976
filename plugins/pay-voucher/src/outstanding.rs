//! What the shop still owes: codes that were issued and not redeemed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use fondaco_sdk::Result;

use crate::batch::{self, Batch, CHANGE, Total};
use crate::clock::Day;

#[derive(Default)]
struct Owed {
    issued: u128,
    redeemed: u128,
    expired: u128,
}

/// The sums by unit, then the batches, as a text.
pub fn report(today: Day) -> Result<String> {
    let batches = batch::all()?;
    let mut units: BTreeMap<(String, u8), Owed> = BTreeMap::new();
    for (_, batch) in &batches {
        let owed = units.entry((batch.asset.to_string(), batch.exponent)).or_default();
        owed.issued = owed.issued.saturating_add(batch.issued.0);
        owed.redeemed = owed.redeemed.saturating_add(batch.redeemed.0);
        if is_expired(batch, today) {
            owed.expired = owed.expired.saturating_add(open(batch));
        }
    }
    let mut text = String::new();
    if units.is_empty() {
        text.push_str("no voucher was issued yet\n");
    }
    for ((asset, exponent), owed) in &units {
        let sum = |minor| Total(minor).decimal(*exponent);
        let Owed { issued, redeemed, expired } = owed;
        // Less is issued than redeemed only where the books were lost and the codes were not.
        let outstanding = issued.saturating_sub(*redeemed).saturating_sub(*expired);
        let (outstanding, issued, redeemed, expired) = (sum(outstanding), sum(*issued), sum(*redeemed), sum(*expired));
        let _ = writeln!(
            text,
            "{outstanding} {asset} outstanding (issued {issued}, redeemed {redeemed}, expired unused {expired})"
        );
    }
    for (number, batch) in &batches {
        let _ = writeln!(text, "{}", line(*number, batch, today));
    }
    Ok(text)
}

fn open(batch: &Batch) -> u128 {
    batch.issued.0.saturating_sub(batch.redeemed.0)
}

fn is_expired(batch: &Batch, today: Day) -> bool {
    batch.printed.as_ref().and_then(|p| p.expires).is_some_and(|day| today > day)
}

fn line(number: u32, batch: &Batch, today: Day) -> String {
    let Some(printed) = &batch.printed else {
        let what = if number == CHANGE { "change" } else { "refunds" };
        return format!("  {what}: {batch}");
    };
    let title = printed.title.as_deref().map(|t| format!(" {t:?}")).unwrap_or_default();
    let each = Total(u128::from(printed.each)).decimal(batch.exponent);
    let (count, used, asset, day) = (printed.count, batch.used, &batch.asset, printed.at.get(..10).unwrap_or_default());
    let expiry = match printed.expires {
        Some(day) if today > day => format!(", expired on {day}"),
        Some(day) => format!(", good until {day}"),
        None => String::new(),
    };
    format!("  batch {number:08x}{title} of {day}: {count} of {each} {asset}, {used} used{expiry}")
}
