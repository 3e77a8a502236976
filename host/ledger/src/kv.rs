//! The plugins' key-value spaces: ordered, transactional, each with a quota.
//!
//! What plugins keep is their own: it is no event, stands in no chain and can be erased. A batch is as durable as an
//! event when it is answered, since it goes through the same writer.

use std::sync::Arc;

use rusqlite::{Connection, params};

use crate::codec::{count, int, maybe};
use crate::error::at_most;
use crate::reader::Readers;
use crate::stats::Counters;
use crate::writer::Tx;
use crate::{Error, Ledger, Result};

/// Longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 512;
/// Longest value, in bytes.
pub const MAX_VALUE_BYTES: usize = 1 << 20;
/// Most bytes of keys and values in one batch.
pub const MAX_BATCH_BYTES: usize = 16 << 20;
/// Most bytes that one scan gives, counting 64 for each entry besides its key and value.
pub const MAX_SCAN_BYTES: usize = 16 << 20;
/// Counted for each write and entry besides its key and value, so that empty ones are not for nothing.
const ENTRY_BYTES: usize = 64;
/// Longest plugin id, in bytes.
const MAX_PLUGIN_BYTES: usize = 128;

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvEntry {
    /// The key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

/// One write of a batch. Later ones see what earlier ones wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvWrite {
    /// Sets a key.
    Put(KvEntry),
    /// Removes a key, if it is there.
    Delete(Vec<u8>),
    /// Fails the whole batch unless the key holds this value (`None`: is absent).
    Check(Vec<u8>, Option<Vec<u8>>),
}

impl KvWrite {
    fn sizes(&self) -> (usize, usize) {
        match self {
            Self::Put(entry) => (entry.key.len(), entry.value.len()),
            Self::Delete(key) => (key.len(), 0),
            Self::Check(key, value) => (key.len(), value.as_ref().map_or(0, Vec::len)),
        }
    }
}

/// What a plugin's space holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KvUsage {
    /// Bytes of all keys and values.
    pub bytes: u64,
    /// How many entries.
    pub entries: u64,
}

/// What a plugin's space may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvQuota {
    /// Bytes of all keys and values.
    pub bytes: u64,
    /// How many entries: each costs the file some bytes besides its own.
    pub entries: u64,
}

impl KvQuota {
    /// Everything.
    pub const NONE: Self = Self { bytes: u64::MAX, entries: u64::MAX };

    /// So many bytes, and one entry for each 64 of them.
    pub const fn of_bytes(bytes: u64) -> Self {
        Self { bytes, entries: bytes / ENTRY_BYTES as u64 + 1 }
    }
}

fn get(conn: &Connection, plugin: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut statement = conn.prepare_cached("SELECT value FROM kv WHERE plugin = ?1 AND key = ?2")?;
    maybe(statement.query_row(params![plugin, key], |row| row.get(0)))
}

fn scan(conn: &Connection, plugin: &str, start: &[u8], end: &[u8], limit: u32) -> Result<Vec<KvEntry>> {
    let mut statement = conn.prepare_cached(
        "SELECT key, value FROM kv WHERE plugin = ?1 AND key >= ?2 AND key < ?3 ORDER BY key LIMIT ?4",
    )?;
    let mut rows = statement.query(params![plugin, start, end, limit])?;
    let (mut entries, mut bytes) = (Vec::new(), 0_usize);
    while let Some(row) = rows.next()? {
        let entry = KvEntry { key: row.get(0)?, value: row.get(1)? };
        bytes = bytes.saturating_add(entry.key.len() + entry.value.len() + ENTRY_BYTES);
        // Cut short it would look like the end of the space.
        at_most("the scan's answer", bytes, MAX_SCAN_BYTES)?;
        entries.push(entry);
    }
    Ok(entries)
}

fn usage(conn: &Connection, plugin: &str) -> Result<KvUsage> {
    let mut statement = conn.prepare_cached("SELECT bytes, entries FROM kv_usage WHERE plugin = ?1")?;
    let row = statement
        .query_row([plugin], |row| Ok(KvUsage { bytes: count(row, "bytes")?, entries: count(row, "entries")? }));
    Ok(maybe(row)?.unwrap_or_default())
}

fn apply(tx: &Tx<'_>, plugin: String, quota: KvQuota, batch: Vec<KvWrite>) -> Result<()> {
    let conn = tx.conn;
    let before = usage(conn, &plugin)?;
    let mut after = before;
    for (index, write) in batch.into_iter().enumerate() {
        match write {
            KvWrite::Check(key, value) => {
                if get(conn, &plugin, &key)? != value {
                    return Err(Error::CheckFailed { plugin, index });
                }
            }
            KvWrite::Put(KvEntry { key, value }) => {
                after = after.without(size_of(conn, &plugin, &key)?, key.len());
                after.bytes = after.bytes.saturating_add((key.len() + value.len()) as u64);
                after.entries = after.entries.saturating_add(1);
                conn.prepare_cached("INSERT OR REPLACE INTO kv(plugin, key, value) VALUES(?1, ?2, ?3)")?
                    .execute(params![plugin, key, value])?;
            }
            KvWrite::Delete(key) => {
                after = after.without(size_of(conn, &plugin, &key)?, key.len());
                conn.prepare_cached("DELETE FROM kv WHERE plugin = ?1 AND key = ?2")?.execute(params![plugin, key])?;
            }
        }
    }
    // A space that is over its quota, since that was lowered, may still shrink.
    if after.bytes > quota.bytes && after.bytes > before.bytes {
        return Err(Error::Quota { plugin, what: "bytes", needed: after.bytes, quota: quota.bytes });
    }
    if after.entries > quota.entries && after.entries > before.entries {
        return Err(Error::Quota { plugin, what: "keys", needed: after.entries, quota: quota.entries });
    }
    if after != before {
        conn.prepare_cached("INSERT OR REPLACE INTO kv_usage(plugin, bytes, entries) VALUES(?1, ?2, ?3)")?.execute(
            params![plugin, int(after.bytes, "the space's size")?, int(after.entries, "the space's entries")?],
        )?;
    }
    Ok(())
}

/// The length of the value under a key.
fn size_of(conn: &Connection, plugin: &str, key: &[u8]) -> Result<Option<u64>> {
    let mut statement = conn.prepare_cached("SELECT length(value) AS n FROM kv WHERE plugin = ?1 AND key = ?2")?;
    maybe(statement.query_row(params![plugin, key], |row| count(row, "n")))
}

impl KvUsage {
    /// Less an entry, where there was one.
    fn without(self, value_bytes: Option<u64>, key_bytes: usize) -> Self {
        match value_bytes {
            None => self,
            Some(value) => Self {
                bytes: self.bytes.saturating_sub(value.saturating_add(key_bytes as u64)),
                entries: self.entries.saturating_sub(1),
            },
        }
    }
}

impl Ledger {
    /// The value under a plugin's key.
    pub async fn kv_get(&self, plugin: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let (reader, plugin, key) = (self.kv_reader(), plugin.to_owned(), key.to_owned());
        self.read(move |conn| reader.counted(get(conn, &plugin, &key))).await
    }

    /// At most `limit` of a plugin's entries with `start <= key < end`, in key order.
    ///
    /// Errors: [`Error::TooMuch`] where they come to more than [`MAX_SCAN_BYTES`]: ask for fewer.
    pub async fn kv_scan(&self, plugin: &str, start: &[u8], end: &[u8], limit: u32) -> Result<Vec<KvEntry>> {
        let (reader, plugin) = (self.kv_reader(), plugin.to_owned());
        let (start, end) = (start.to_owned(), end.to_owned());
        self.read(move |conn| reader.counted(scan(conn, &plugin, &start, &end, limit))).await
    }

    /// Writes a batch into a plugin's space: all or nothing, durable when answered. The quota is held against what the
    /// space holds within the same transaction, so that no race of writers goes over it.
    ///
    /// Errors: [`Error::CheckFailed`], [`Error::Quota`], [`Error::TooMuch`].
    pub async fn kv_apply(&self, plugin: &str, quota: KvQuota, batch: Vec<KvWrite>) -> Result<()> {
        at_most("the plugin's id", plugin.len(), MAX_PLUGIN_BYTES)?;
        let mut bytes = 0_usize;
        for write in &batch {
            let (key, value) = write.sizes();
            at_most("the key", key, MAX_KEY_BYTES)?;
            at_most("the value", value, MAX_VALUE_BYTES)?;
            bytes = bytes.saturating_add(key + value + ENTRY_BYTES);
        }
        at_most("the batch", bytes, MAX_BATCH_BYTES)?;
        let plugin = plugin.to_owned();
        self.write(move |tx| apply(tx, plugin, quota, batch)).await
    }

    /// What a plugin's space holds.
    pub async fn kv_usage(&self, plugin: &str) -> Result<KvUsage> {
        let plugin = plugin.to_owned();
        self.read(move |conn| usage(conn, &plugin)).await
    }

    /// Empties a plugin's space, as when it is removed with its data.
    pub async fn kv_clear(&self, plugin: &str) -> Result<()> {
        let plugin = plugin.to_owned();
        self.write(move |tx| {
            tx.conn.execute("DELETE FROM kv WHERE plugin = ?1", [&plugin])?;
            tx.conn.execute("DELETE FROM kv_usage WHERE plugin = ?1", [&plugin])?;
            Ok(())
        })
        .await
    }
}

/// Reads the plugins' spaces at once, on the caller's own thread, which may block.
#[derive(Clone)]
pub struct KvReader {
    readers: Arc<Readers>,
    counters: Arc<Counters>,
}

impl KvReader {
    pub(crate) fn new(readers: Arc<Readers>, counters: Arc<Counters>) -> Self {
        Self { readers, counters }
    }

    fn counted<T>(&self, value: T) -> T {
        self.counters.kv_read();
        value
    }

    /// See [`Ledger::kv_get`].
    pub fn get(&self, plugin: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.counted(self.readers.with(|conn| get(conn, plugin, key)))
    }

    /// See [`Ledger::kv_scan`].
    pub fn scan(&self, plugin: &str, start: &[u8], end: &[u8], limit: u32) -> Result<Vec<KvEntry>> {
        self.counted(self.readers.with(|conn| scan(conn, plugin, start, end, limit)))
    }
}
