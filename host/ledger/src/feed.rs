//! The change feed: what a search index must be told, and how far each reader has got.
//!
//! A work stands in the feed at its latest change only. So a reader sees each work's last state at least once and in
//! order, however long it was away, and the feed is never longer than the catalogue ever was.

use fondaco_schemas::{ReleaseId, Work, WorkId};
use rusqlite::params;

use crate::codec::{bytes, cbor, count, int, maybe, parsed};
use crate::error::at_most;
use crate::{Ledger, Result};

/// Most changes at once.
const MOST_CHANGES: u32 = 500;

/// What became of a work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is new or has a new release.
    Upsert(Box<Work>),
    /// It left the catalogue.
    Remove(WorkId),
}

impl Ledger {
    /// Changes after `cursor`, each with its number, in order; at most `limit` (and 500).
    pub async fn changes_since(&self, cursor: u64, limit: u32) -> Result<Vec<(u64, Change)>> {
        let since = int(cursor, "the cursor")?;
        self.read(move |conn| {
            let mut statement = conn.prepare_cached(
                "SELECT w.changed, w.work, w.listed IS NOT NULL AS listed, r.release, r.body
                 FROM works w JOIN releases r ON r.release = w.release
                 WHERE w.changed > ?1 ORDER BY w.changed LIMIT ?2",
            )?;
            let rows = statement.query_map(params![since, limit.min(MOST_CHANGES)], |row| {
                let change = if row.get("listed")? {
                    let release_id = bytes(row, "release", ReleaseId::new)?;
                    Change::Upsert(Box::new(Work { release_id, release: cbor(row, "body")? }))
                } else {
                    Change::Remove(parsed(row, "work")?)
                };
                Ok((count(row, "changed")?, change))
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// How far a reader has got; 0 where it has not begun.
    pub async fn cursor(&self, consumer: &str) -> Result<u64> {
        let consumer = consumer.to_owned();
        self.read(move |conn| {
            let mut statement = conn.prepare_cached("SELECT seq FROM cursors WHERE consumer = ?1")?;
            Ok(maybe(statement.query_row([consumer], |row| count(row, "seq")))?.unwrap_or(0))
        })
        .await
    }

    /// Notes how far a reader has got. A lower number than before changes nothing; 0 makes it begin again.
    pub async fn set_cursor(&self, consumer: &str, seq: u64) -> Result<()> {
        at_most("the reader's name", consumer.len(), 128)?;
        let (consumer, seq) = (consumer.to_owned(), int(seq, "the cursor")?);
        self.write(move |tx| {
            tx.conn
                .prepare_cached(
                    "INSERT INTO cursors(consumer, seq) VALUES(?1, ?2) ON CONFLICT(consumer)
                     DO UPDATE SET seq = CASE WHEN ?2 = 0 THEN 0 ELSE max(seq, ?2) END",
                )?
                .execute(params![consumer, seq])?;
            Ok(())
        })
        .await
    }
}
