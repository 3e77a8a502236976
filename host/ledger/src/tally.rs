//! Sums over settled orders, never about a person.

use std::collections::BTreeSet;

use fondaco_schemas::Money;
use rusqlite::params;
use time::OffsetDateTime;

use crate::codec::{micros, parsed};
use crate::{Ledger, Result};

/// How much was bought. Whoever shows it withholds small counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purchases {
    /// Orders that are covered. What was free is no purchase.
    pub count: u64,
    /// By how many holders.
    pub buyers: u64,
    /// What they came to, a sum for each unit, by its name.
    pub gross: Vec<Money>,
}

impl Ledger {
    /// Sums over settled orders of works filed under `tag` (absent: all), settled at `since` or later.
    pub async fn count_purchases(&self, tag: Option<&str>, since: Option<OffsetDateTime>) -> Result<Purchases> {
        let (tag, since) = (tag.map(str::to_owned), since.map_or(i64::MIN, micros));
        self.read(move |conn| {
            // One row for each unit and buyer. Two halves, since SQLite's own sum fails where it overflows.
            let mut statement = conn.prepare_cached(
                "SELECT asset, exponent, holder, count(*) AS n, sum(minor >> 32) AS high, sum(minor & 4294967295) AS low
                 FROM orders o WHERE state IN ('paid', 'fulfilled') AND settled >= ?1 AND minor > 0
                    AND (?2 IS NULL OR EXISTS (SELECT 1 FROM tags t WHERE t.tag = ?2 AND t.work = o.work))
                 GROUP BY asset, exponent, holder ORDER BY asset, exponent",
            )?;
            let mut rows = statement.query(params![since, tag])?;
            let (mut purchases, mut buyers) = (Purchases::default(), BTreeSet::<[u8; 32]>::new());
            while let Some(row) = rows.next()? {
                let [n, high, low] = ["n", "high", "low"].map(|c| row.get::<_, i64>(c));
                let [n, high, low] = [n?, high?, low?].map(|n| u128::try_from(n).unwrap_or(0));
                let minor = u64::try_from((high << 32).saturating_add(low)).unwrap_or(u64::MAX);
                let sum = Money { minor, asset: parsed(row, "asset")?, exponent: row.get("exponent")? };
                purchases.count = purchases.count.saturating_add(u64::try_from(n).unwrap_or(u64::MAX));
                buyers.insert(row.get("holder")?);
                match purchases.gross.last_mut() {
                    Some(last) if last.same_unit(&sum) => last.minor = last.minor.saturating_add(sum.minor),
                    _ => purchases.gross.push(sum),
                }
            }
            purchases.buyers = buyers.len() as u64;
            Ok(purchases)
        })
        .await
    }
}
