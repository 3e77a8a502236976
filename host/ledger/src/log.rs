//! The chain: each event's hash takes in the one before it, so that nothing is edited, moved or left out unseen.
//!
//! `hash_n = BLAKE3(hash_{n-1} ‖ seq ‖ len(kind) ‖ kind ‖ len(at) ‖ at ‖ body)`, `seq` as 8 and lengths as 4 bytes,
//! little-endian; `hash_0` is 32 zero bytes. The head is kept in a row of its own, so that a log that lost its end is
//! noticed. Who edits the whole file can write a consistent one: a head kept elsewhere ([`Ledger::head`]) finds that.

use rusqlite::{Connection, params};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::codec::{count, int};
use crate::{Error, Ledger, Result};

/// Where the log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Number of the last event; 0 where there is none.
    pub seq: u64,
    /// Its hash.
    pub hash: [u8; 32],
}

/// One event of the log, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedEvent {
    /// Its number, from 1.
    pub seq: u64,
    /// When it was written, RFC 3339, UTC.
    pub at: String,
    /// Its kind, such as `order.created`.
    pub kind: String,
    /// Its body, JSON.
    pub body: Vec<u8>,
    /// Its hash.
    pub hash: [u8; 32],
}

impl Head {
    const START: Self = Self { seq: 0, hash: [0; 32] };

    /// The head after one more event.
    fn then(&self, kind: &str, at: &str, body: &[u8]) -> Result<Self> {
        let seq = self.seq.checked_add(1).ok_or(Error::Range { what: "the event's number" })?;
        let len = |n: usize| u32::try_from(n).map_err(|_| Error::Range { what: "the event's length" });
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.hash).update(&seq.to_le_bytes());
        hasher.update(&len(kind.len())?.to_le_bytes()).update(kind.as_bytes());
        hasher.update(&len(at.len())?.to_le_bytes()).update(at.as_bytes());
        hasher.update(body);
        Ok(Self { seq, hash: *hasher.finalize().as_bytes() })
    }
}

/// Appends to the log and gives the new head.
pub(crate) fn append(conn: &Connection, head: &Head, at: &str, kind: &str, body: &[u8]) -> Result<Head> {
    let next = head.then(kind, at, body)?;
    conn.prepare_cached("INSERT INTO events(seq, at, kind, body, hash) VALUES(?1, ?2, ?3, ?4, ?5)")?
        .execute(params![int(next.seq, "the event's number")?, at, kind, body, next.hash])?;
    Ok(next)
}

/// Where the stored log ends, and when its last event was written.
pub(crate) fn stored_end(conn: &Connection) -> Result<(Head, Option<OffsetDateTime>)> {
    let last = conn.query_row("SELECT seq, hash, at FROM events ORDER BY seq DESC LIMIT 1", [], |row| {
        Ok((Head { seq: count(row, "seq")?, hash: row.get("hash")? }, row.get::<_, String>("at")?))
    });
    match last {
        Ok((head, at)) => Ok((head, OffsetDateTime::parse(&at, &Rfc3339).ok())),
        Err(rusqlite::Error::QueryReturnedNoRows) => Ok((Head::START, None)),
        Err(e) => Err(e.into()),
    }
}

/// Keeps the head beside the log.
pub(crate) fn store_head(conn: &Connection, head: &Head) -> Result<()> {
    let mut statement = conn.prepare_cached("UPDATE head SET seq = ?1, hash = ?2 WHERE one = 1")?;
    statement.execute(params![int(head.seq, "the event's number")?, head.hash])?;
    Ok(())
}

/// Reckons the whole chain anew; the head where it holds.
pub(crate) fn verify(conn: &Connection) -> Result<Head> {
    let mut head = Head::START;
    let mut statement = conn.prepare("SELECT seq, at, kind, body, hash FROM events ORDER BY seq")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let seq = count(row, "seq")?;
        let at = row.get_ref("at")?.as_str().map_err(Error::unreadable("time"))?;
        let kind = row.get_ref("kind")?.as_str().map_err(Error::unreadable("kind"))?;
        let body = row.get_ref("body")?.as_blob().map_err(Error::unreadable("body"))?;
        let next = head.then(kind, at, body)?;
        if seq != next.seq {
            return Err(Error::Chain { seq: next.seq, what: "it is missing" });
        }
        if row.get_ref("hash")?.as_blob().map_err(Error::unreadable("hash"))? != next.hash {
            return Err(Error::Chain { seq, what: "its content and its hash do not agree" });
        }
        head = next;
    }
    let stored = conn.query_row("SELECT seq, hash FROM head", [], |row| {
        Ok(Head { seq: count(row, "seq")?, hash: row.get("hash")? })
    })?;
    if stored != head {
        return Err(Error::Chain { seq: head.seq.saturating_add(1), what: "the log does not end where its head says" });
    }
    Ok(head)
}

impl Ledger {
    /// Where the log ends, to be kept or published elsewhere.
    pub async fn head(&self) -> Result<Head> {
        self.read(|conn| Ok(stored_end(conn)?.0)).await
    }

    /// Reckons the whole chain anew: [`Error::Chain`] names the first event that was edited, moved or left out.
    pub async fn verify_chain(&self) -> Result<Head> {
        self.read(verify).await
    }

    /// Events after `seq` in order, at most `limit` of them (and 1000).
    pub async fn events_since(&self, seq: u64, limit: u32) -> Result<Vec<LoggedEvent>> {
        let since = int(seq, "the event's number")?;
        self.read(move |conn| {
            let mut statement = conn
                .prepare_cached("SELECT seq, at, kind, body, hash FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2")?;
            let rows = statement.query_map(params![since, limit.min(1000)], |row| {
                Ok(LoggedEvent {
                    seq: count(row, "seq")?,
                    at: row.get("at")?,
                    kind: row.get("kind")?,
                    body: row.get("body")?,
                    hash: row.get("hash")?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }
}
