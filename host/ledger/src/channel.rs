//! The index of a publisher's channel, as the catalogue has it: each change of a work counts one, per publisher, and a work
//! stands at its latest change. So the count is as durable as the log, never goes back, and says nothing of other events,
//! such as how much was sold.

use fondaco_schemas::{PublicKey, Release, ReleaseId, WorkId, WorkKind};
use rusqlite::{Connection, params};

use crate::codec::{bytes, cbor, count, int, parsed};
use crate::{Ledger, Result};

/// Most changes at once.
const MOST: u32 = 2048;

/// The next number of a work's publisher. `?1` is the work.
const NEXT: &str = "SELECT coalesce(max(number), 0) + 1 FROM works WHERE substr(work, 1, 64) = substr(?1, 1, 64)";

/// A work's latest change in its publisher's channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Its number.
    pub number: u64,
    /// Which work.
    pub work: WorkId,
    /// Its newest release.
    pub release: ReleaseId,
    /// Whether the work is in the catalogue.
    pub is_listed: bool,
    /// What it is.
    pub kind: WorkKind,
    /// What it is filed under.
    pub tags: Vec<String>,
    /// The size of all its files, in bytes.
    pub bytes: u64,
}

/// Gives a work that changed the next number of its publisher.
pub(crate) fn apply_changed(conn: &Connection, work: &str) -> Result<()> {
    let next: i64 = conn.prepare_cached(NEXT)?.query_row([work], |row| row.get(0))?;
    conn.prepare_cached("UPDATE works SET number = ?2 WHERE work = ?1")?.execute(params![work, next])?;
    Ok(())
}

impl Ledger {
    /// The number of a publisher's latest change; 0 where there is none.
    pub async fn channel_sequence(&self, publisher: PublicKey) -> Result<u64> {
        self.read(move |conn| {
            let sql = "SELECT coalesce(max(number), 0) AS n FROM works WHERE substr(work, 1, 64) = ?1";
            Ok(conn.prepare_cached(sql)?.query_row([publisher.to_string()], |row| count(row, "n"))?)
        })
        .await
    }

    /// A publisher's changes after `since`, in order; at most `limit` (and 2048).
    pub async fn channel_since(&self, publisher: PublicKey, since: u64, limit: u32) -> Result<Vec<Listing>> {
        let since = int(since, "the change's number")?;
        self.read(move |conn| {
            let mut statement = conn.prepare_cached(
                "SELECT w.number, w.work, w.listed IS NOT NULL AS listed, r.release, r.body
                 FROM works w JOIN releases r ON r.release = w.release
                 WHERE substr(w.work, 1, 64) = ?1 AND w.number > ?2 ORDER BY w.number LIMIT ?3",
            )?;
            let rows = statement.query_map(params![publisher.to_string(), since, limit.min(MOST)], |row| {
                let release: Release = cbor(row, "body")?;
                Ok(Listing {
                    number: count(row, "number")?,
                    work: parsed(row, "work")?,
                    release: bytes(row, "release", ReleaseId::new)?,
                    is_listed: row.get("listed")?,
                    kind: release.kind,
                    bytes: release.files.iter().fold(0, |sum, file| sum.saturating_add(file.size)),
                    tags: release.tags,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }
}
