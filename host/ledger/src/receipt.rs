//! Receipts that were taken in, and their sums. Who was delivered to is a tag that only this node's key can make, never
//! a key or an address: the log is kept for good.
//!
//! A receipt counts once, by its id; and one downloader's receipts for one release never count for more bytes than the
//! release has, however many it signs.

use std::collections::BTreeMap;

use fondaco_schemas::{PublicKey, Release, ReleaseId};
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::codec::{bytes, cbor, count, int, maybe, micros, settled, time};
use crate::error::at_most;
use crate::writer::Tx;
use crate::{Ledger, Result};

/// Most receipts at once.
const MOST_AT_ONCE: usize = 1000;
/// Most receipts of one downloader for one release.
const MOST_OF_ONE: u64 = 64;
/// Most receipts of one release.
const MOST_OF_RELEASE: u64 = 100_000;
/// The most bytes that one receipt is for: no larger blob is fetched.
const MOST_BYTES: u64 = 1 << 40;

/// A receipt whose signature the caller has verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewReceipt {
    /// What names it.
    pub id: [u8; 32],
    /// Of which release.
    pub release: ReleaseId,
    /// Who delivered.
    pub seeder: PublicKey,
    /// Who was delivered to, as a tag.
    pub downloader: [u8; 32],
    /// How many bytes.
    pub bytes: u64,
    /// When, by the downloader's clock.
    pub delivered: OffsetDateTime,
}

/// What became of a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It counts from now on.
    New,
    /// It counted before.
    Known,
    /// No such release is recorded here.
    NoRelease,
    /// With it, its downloader would have had more than the release has; or it is about nothing.
    TooMuch,
}

/// A receipt was taken in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptTaken {
    #[serde(with = "hex")]
    pub(crate) id: [u8; 32],
    pub(crate) release: ReleaseId,
    pub(crate) seeder: PublicKey,
    #[serde(with = "hex")]
    pub(crate) downloader: [u8; 32],
    pub(crate) bytes: u64,
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) delivered: OffsetDateTime,
}

/// What one node delivered of one release, as receipts say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Delivered {
    /// Of which release.
    pub release: ReleaseId,
    /// Who delivered.
    pub seeder: PublicKey,
    /// How many receipts.
    pub receipts: u64,
    /// Of how many downloaders.
    pub downloaders: u64,
    /// How many bytes, all together.
    pub bytes: u64,
    /// The last time.
    #[serde(with = "time::serde::rfc3339")]
    pub last: OffsetDateTime,
}

/// 32 bytes as their BLAKE3-like text.
mod hex {
    use fondaco_schemas::BlobHash;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8; 32], s: S) -> Result<S::Ok, S::Error> {
        BlobHash::new(*bytes).serialize(s)
    }
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<[u8; 32], D::Error> {
        BlobHash::deserialize(d).map(|hash| *hash.as_bytes())
    }
}

pub(crate) fn apply_taken(conn: &Connection, e: &ReceiptTaken) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO receipts(id, release, seeder, downloader, bytes, delivered) VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        e.id,
        e.release.as_bytes(),
        e.seeder.as_bytes(),
        e.downloader,
        int(e.bytes, "the receipt's bytes")?,
        micros(e.delivered)
    ])?;
    Ok(())
}

/// Bytes of a release's files, those that are the same counted once.
fn bytes_of(release: &Release) -> u64 {
    let files: BTreeMap<_, _> = release.files.iter().map(|f| (f.hash, f.size)).collect();
    files.values().fold(0, |sum, size| sum.saturating_add(*size))
}

fn take(tx: &mut Tx<'_>, new: NewReceipt, at: OffsetDateTime) -> Result<Taken> {
    let known = tx
        .conn
        .prepare_cached("SELECT EXISTS(SELECT 1 FROM receipts WHERE id = ?1)")?
        .query_row([new.id], |row| row.get::<_, bool>(0))?;
    if known {
        return Ok(Taken::Known);
    }
    let release = maybe(
        tx.conn
            .prepare_cached("SELECT body FROM releases WHERE release = ?1")?
            .query_row([new.release.as_bytes()], |row| cbor::<Release>(row, "body")),
    )?;
    let Some(release) = release else { return Ok(Taken::NoRelease) };
    let had = tx
        .conn
        .prepare_cached(
            "SELECT coalesce(sum(bytes), 0) AS n, count(*) AS receipts FROM receipts WHERE release = ?1 AND downloader = ?2",
        )?
        .query_row(params![new.release.as_bytes(), new.downloader], |row| Ok((count(row, "n")?, count(row, "receipts")?)))?;
    let (had, receipts) = had;
    let of_release = tx
        .conn
        .prepare_cached("SELECT count(*) AS n FROM receipts WHERE release = ?1")?
        .query_row([new.release.as_bytes()], |row| count(row, "n"))?;
    // Signers cost nothing: without an end each could fill the log byte by byte.
    if receipts >= MOST_OF_ONE
        || of_release >= MOST_OF_RELEASE
        || new.bytes == 0
        || new.bytes > MOST_BYTES
        || had.checked_add(new.bytes).is_none_or(|sum| sum > bytes_of(&release))
    {
        return Ok(Taken::TooMuch);
    }
    let NewReceipt { id, release, seeder, downloader, bytes, delivered } = new;
    tx.append(at, ReceiptTaken { id, release, seeder, downloader, bytes, delivered: settled(delivered)? })?;
    Ok(Taken::New)
}

impl Ledger {
    /// Takes receipts in, in one transaction, and says of each what became of it. At most 1000 at once.
    pub async fn take_receipts(&self, receipts: Vec<NewReceipt>, at: OffsetDateTime) -> Result<Vec<Taken>> {
        at_most("the list of receipts", receipts.len(), MOST_AT_ONCE)?;
        self.write(move |tx| receipts.into_iter().map(|receipt| take(tx, receipt, at)).collect()).await
    }

    /// Sums of receipts by release and seeder, the most bytes first, at most so many.
    pub async fn deliveries(&self, limit: u32) -> Result<Vec<Delivered>> {
        self.read(move |conn| {
            let mut statement = conn.prepare_cached(
                "SELECT release, seeder, count(*) AS receipts, count(DISTINCT downloader) AS downloaders,
                    CAST(min(total(bytes), 9e18) AS INTEGER) AS bytes, max(delivered) AS last
                 FROM receipts GROUP BY release, seeder ORDER BY total(bytes) DESC, release, seeder LIMIT ?1",
            )?;
            let rows = statement.query_map([limit], |row| {
                Ok(Delivered {
                    release: bytes(row, "release", ReleaseId::new)?,
                    seeder: bytes(row, "seeder", PublicKey::new)?,
                    receipts: count(row, "receipts")?,
                    downloaders: count(row, "downloaders")?,
                    bytes: count(row, "bytes")?,
                    last: time(row, "last")?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }
}
