//! Sessions of browsers. The ledger knows a cookie by its hash only, and a session leaves no trace in the chain.

use fondaco_schemas::HolderKey;
use rusqlite::{Connection, Row, params};
use time::OffsetDateTime;

use crate::codec::{maybe, maybe_time, micros};
use crate::error::at_most;
use crate::{Error, Ledger, Result};

/// What a session is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSession {
    /// Hash of the cookie's value.
    pub cookie_hash: [u8; 32],
    /// The name under which plugins see it, at most 128 bytes; unlike the cookie it opens nothing.
    pub handle: String,
    /// The library that it buys for.
    pub holder: Option<HolderKey>,
    /// When it ends.
    pub expires: OffsetDateTime,
}

/// A session that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The name under which plugins see it.
    pub handle: String,
    /// The library that it buys for.
    pub holder: Option<HolderKey>,
    /// When it began.
    pub created: OffsetDateTime,
    /// When it ends.
    pub expires: OffsetDateTime,
}

fn read_session(row: &Row<'_>) -> rusqlite::Result<Session> {
    let time = |column| Ok::<_, rusqlite::Error>(maybe_time(row, column)?.unwrap_or(OffsetDateTime::UNIX_EPOCH));
    Ok(Session {
        handle: row.get("handle")?,
        holder: row.get::<_, Option<[u8; 32]>>("holder")?.map(HolderKey::new),
        created: time("created")?,
        expires: time("expires")?,
    })
}

fn changed(rows: usize) -> Result<()> {
    if rows == 0 { Err(Error::NoSession) } else { Ok(()) }
}

fn find(conn: &Connection, column: &str, value: impl rusqlite::ToSql, now: OffsetDateTime) -> Result<Option<Session>> {
    let sql = format!("SELECT handle, holder, created, expires FROM sessions WHERE {column} = ?1 AND expires > ?2");
    maybe(conn.prepare_cached(&sql)?.query_row(params![value, micros(now)], read_session))
}

impl Ledger {
    /// Begins a session. [`Error::Taken`] where its cookie or handle is in use.
    pub async fn create_session(&self, new: NewSession, at: OffsetDateTime) -> Result<()> {
        at_most("the session's handle", new.handle.len(), 128)?;
        self.write(move |tx| {
            let made = tx
                .conn
                .prepare_cached(
                    "INSERT OR IGNORE INTO sessions(cookie, handle, holder, created, expires) VALUES(?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![
                    new.cookie_hash,
                    new.handle,
                    new.holder.map(|h| *h.as_bytes()),
                    micros(at),
                    micros(new.expires)
                ])?;
            if made == 0 { Err(Error::Taken { what: "session", id: new.handle }) } else { Ok(()) }
        })
        .await
    }

    /// The session of a cookie's hash, unless it has ended by `now`.
    pub async fn session_by_cookie(&self, cookie_hash: [u8; 32], now: OffsetDateTime) -> Result<Option<Session>> {
        self.read(move |conn| find(conn, "cookie", cookie_hash, now)).await
    }

    /// The session of a handle, unless it has ended by `now`.
    pub async fn session_by_handle(&self, handle: &str, now: OffsetDateTime) -> Result<Option<Session>> {
        let handle = handle.to_owned();
        self.read(move |conn| find(conn, "handle", handle, now)).await
    }

    /// Sets the library that a session buys for.
    pub async fn set_session_holder(&self, handle: &str, holder: Option<HolderKey>) -> Result<()> {
        let handle = handle.to_owned();
        self.write(move |tx| {
            let mut statement = tx.conn.prepare_cached("UPDATE sessions SET holder = ?2 WHERE handle = ?1")?;
            changed(statement.execute(params![handle, holder.map(|h| *h.as_bytes())])?)
        })
        .await
    }

    /// Moves a session's end.
    pub async fn extend_session(&self, handle: &str, expires: OffsetDateTime) -> Result<()> {
        let handle = handle.to_owned();
        self.write(move |tx| {
            let mut statement = tx.conn.prepare_cached("UPDATE sessions SET expires = ?2 WHERE handle = ?1")?;
            changed(statement.execute(params![handle, micros(expires)])?)
        })
        .await
    }

    /// Ends a session, if there is one.
    pub async fn delete_session(&self, handle: &str) -> Result<()> {
        let handle = handle.to_owned();
        self.write(move |tx| {
            tx.conn.prepare_cached("DELETE FROM sessions WHERE handle = ?1")?.execute([handle])?;
            Ok(())
        })
        .await
    }

    /// Removes sessions that have ended; how many.
    pub async fn expire_sessions(&self, now: OffsetDateTime) -> Result<u64> {
        self.write(move |tx| {
            let mut statement = tx.conn.prepare_cached("DELETE FROM sessions WHERE expires <= ?1")?;
            Ok(statement.execute([micros(now)])? as u64)
        })
        .await
    }
}
