//! Receipts: what this node signs for those that delivered to it, and what it believes of those that others sign.
//!
//! Taken in are receipts for works that this node publishes, and those in which it is itself the one that delivered.
//! Who was delivered to is kept as a tag that only this node's key makes.

use std::collections::BTreeMap;

use fondaco_ledger::{Delivered, NewReceipt, Taken};
use fondaco_schemas::{PublicKey, Receipt, Release, ReleaseId};
use time::{Duration, OffsetDateTime};

use crate::{Error, Market, now, random};

/// How old a receipt may be, and how far in the future by another's clock.
const OLDEST: Duration = Duration::days(30);
const EARLIEST: Duration = Duration::hours(1);

/// What became of a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiptVerdict {
    /// It counts from now on.
    Counted,
    /// It counted before.
    Known,
    /// It will never count here.
    Refused(&'static str),
}

impl Market {
    /// Signs what each node delivered of a release in one fetch. All together are never more than the release has: what
    /// came twice, from two nodes at the end of a fetch, is taken off the largest part.
    pub fn sign_receipts(
        &self,
        id: ReleaseId,
        release: &Release,
        delivered: &[(PublicKey, u64)],
    ) -> Result<Vec<(PublicKey, Vec<u8>)>, Error> {
        let key = self.keys().pair();
        let at = u64::try_from(now().unix_timestamp()).unwrap_or(0);
        let mut signed = Vec::new();
        for (seeder, bytes) in fair(delivered, bytes_of(release)) {
            if seeder != key.public() && bytes > 0 {
                let receipt = Receipt { release: id, seeder, bytes, at, nonce: random().into() };
                signed.push((seeder, fondaco_trust::sign_receipt(key, &receipt)?));
            }
        }
        Ok(signed)
    }

    /// Takes in what others signed, and says of each what became of it.
    pub async fn take_receipts(&self, envelopes: Vec<Vec<u8>>) -> Result<Vec<ReceiptVerdict>, Error> {
        let at = now();
        let mut verdicts = Vec::with_capacity(envelopes.len());
        let mut good = Vec::new();
        for envelope in &envelopes {
            match self.judge(envelope, at).await? {
                Ok(receipt) => {
                    // Until the ledger has said what it is.
                    verdicts.push(None);
                    good.push(receipt);
                }
                Err(why) => verdicts.push(Some(ReceiptVerdict::Refused(why))),
            }
        }
        let mut taken = self.ledger().take_receipts(good, at).await?.into_iter();
        let said = |verdict: Option<ReceiptVerdict>| {
            verdict.unwrap_or_else(|| match taken.next() {
                Some(Taken::New) => ReceiptVerdict::Counted,
                Some(Taken::Known) => ReceiptVerdict::Known,
                Some(Taken::TooMuch) => ReceiptVerdict::Refused("it is about more than the release has, or nothing"),
                Some(Taken::NoRelease) | None => ReceiptVerdict::Refused("the release is not known here"),
            })
        };
        Ok(verdicts.into_iter().map(said).collect())
    }

    async fn judge(&self, envelope: &[u8], at: OffsetDateTime) -> Result<Result<NewReceipt, &'static str>, Error> {
        let Ok(signed) = fondaco_trust::verify_receipt(envelope) else { return Ok(Err("it is not signed")) };
        let receipt = signed.receipt;
        let delivered = i64::try_from(receipt.at).ok().and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok());
        let Some(delivered) = delivered.filter(|t| *t >= at - OLDEST && *t <= at + EARLIEST) else {
            return Ok(Err("its time is not this month"));
        };
        if receipt.seeder == signed.downloader {
            return Ok(Err("who signed it is who delivered"));
        }
        let Some((release, _)) = self.ledger().release(receipt.release).await? else {
            return Ok(Err("the release is not known here"));
        };
        let is_ours = *release.work.publisher() == self.publisher() || receipt.seeder == self.keys().pair().public();
        if !is_ours {
            return Ok(Err("the work is another publisher's, and another node delivered it"));
        }
        Ok(Ok(NewReceipt {
            id: signed.id,
            release: receipt.release,
            seeder: receipt.seeder,
            downloader: self.keys().tag("receipts", signed.downloader.as_bytes()),
            bytes: receipt.bytes,
            delivered,
        }))
    }

    /// Sums of receipts by release and seeder, the most bytes first.
    pub async fn deliveries(&self, limit: u32) -> Result<Vec<Delivered>, Error> {
        Ok(self.ledger().deliveries(limit).await?)
    }
}

/// Bytes of a release's files, those that are the same counted once.
fn bytes_of(release: &Release) -> u64 {
    let files: BTreeMap<_, _> = release.files.iter().map(|f| (f.hash, f.size)).collect();
    files.values().fold(0, |sum, size| sum.saturating_add(*size))
}

/// Parts that come to no more than `most`: what is over comes off the largest.
fn fair(delivered: &[(PublicKey, u64)], most: u64) -> Vec<(PublicKey, u64)> {
    let mut parts: Vec<(PublicKey, u64)> = delivered.to_vec();
    parts.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    let sum: u128 = parts.iter().map(|(_, bytes)| u128::from(*bytes)).sum();
    let mut over = sum.saturating_sub(u128::from(most));
    for (_, bytes) in &mut parts {
        let off = u64::try_from(over).unwrap_or(u64::MAX).min(*bytes);
        *bytes -= off;
        over -= u128::from(off);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_never_come_to_more_than_there_is() {
        let key = |n| PublicKey::new([n; 32]);
        assert_eq!(fair(&[(key(1), 3), (key(2), 9)], 100), [(key(2), 9), (key(1), 3)]);
        assert_eq!(fair(&[(key(1), 3), (key(2), 9)], 10), [(key(2), 7), (key(1), 3)]);
        assert_eq!(fair(&[(key(1), 3), (key(2), 9)], 2), [(key(2), 0), (key(1), 2)]);
        assert_eq!(fair(&[(key(1), u64::MAX), (key(2), u64::MAX)], 5).iter().map(|p| p.1).sum::<u64>(), 5);
    }
}
