//! From events to tables: each event is applied in the transaction that appends it, and all of them again in a rebuild.
//!
//! Applying is a function of the event and the tables before it: no clock, no randomness, no signature is made here.

use rusqlite::{Connection, params};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::codec::{count, int};
use crate::event::Event;
use crate::schema::PROJECTIONS;
use crate::{Error, Ledger, Result, catalogue, entitlement, order, payment, plugins, receipt, trust};

/// Applies one event.
pub(crate) fn apply(conn: &Connection, seq: u64, at: OffsetDateTime, event: &Event) -> Result<()> {
    let seq = int(seq, "the event's number")?;
    match event {
        Event::ReleaseRecorded(e) => catalogue::apply_recorded(conn, seq, e),
        Event::WorkUnpublished(e) => catalogue::apply_unpublished(conn, seq, e),
        Event::OrderCreated(e) => order::apply_created(conn, seq, at, e),
        Event::OrderClosed(e) => order::apply_closed(conn, at, e),
        Event::PaymentOpened(e) => payment::apply_opened(conn, seq, at, e),
        Event::PaymentReported(e) => payment::apply_reported(conn, at, e),
        Event::EntitlementGranted(e) => entitlement::apply_granted(conn, at, e),
        Event::EntitlementEnded(e) => entitlement::apply_ended(conn, e),
        Event::PluginChange(e) => plugins::apply_changed(conn, at, e),
        Event::TrustSeen(e) => trust::apply_seen(conn, e),
        Event::ReceiptTaken(e) => receipt::apply_taken(conn, e),
    }
}

/// Empties the projections and applies the whole log again.
fn rebuild(conn: &Connection) -> Result<u64> {
    for table in PROJECTIONS {
        conn.execute(&format!("DELETE FROM {table}"), [])?;
    }
    let mut done = 0;
    loop {
        // In portions, so that no statement stays open on tables that are being written.
        let mut statement =
            conn.prepare_cached("SELECT seq, at, kind, body FROM events WHERE seq > ?1 ORDER BY seq LIMIT 64")?;
        let rows = statement.query_map(params![int(done, "the event's number")?], |row| {
            let (at, kind, body) = (row.get("at")?, row.get("kind")?, row.get("body")?);
            Ok::<(u64, String, String, Vec<u8>), _>((count(row, "seq")?, at, kind, body))
        })?;
        let portion = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        if portion.is_empty() {
            return Ok(done);
        }
        for (seq, at, kind, body) in portion {
            let at = OffsetDateTime::parse(&at, &Rfc3339).map_err(Error::unreadable("time"))?;
            apply(conn, seq, at, &Event::read(&kind, &body)?)?;
            done = seq;
        }
    }
}

impl Ledger {
    /// Builds every projection anew from the log, in one transaction; how many events it applied. Writers wait.
    pub async fn rebuild(&self) -> Result<u64> {
        self.write(|tx| rebuild(tx.conn)).await
    }
}
