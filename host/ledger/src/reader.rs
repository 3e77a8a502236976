//! Read-only connections.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::schema::open_reader;
use crate::{Error, Result};

/// Reads that may run at once on blocking threads; others wait.
const READS_AT_ONCE: usize = 4;
/// Connections: as many again for the plugins' own reads, which wait for nobody.
const CONNECTIONS: usize = 2 * READS_AT_ONCE;

/// A few connections that share the reading.
pub(crate) struct Readers {
    slots: Vec<Mutex<Connection>>,
    turn: AtomicUsize,
    /// Held while a read runs on a blocking thread.
    pub(crate) permits: Semaphore,
}

impl Readers {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let slots = (0..CONNECTIONS).map(|_| Ok(Mutex::new(open_reader(path)?))).collect::<Result<_>>()?;
        Ok(Self { slots, turn: AtomicUsize::new(0), permits: Semaphore::new(READS_AT_ONCE) })
    }

    /// Reads with a free connection, or waits for one.
    pub(crate) fn with<T>(&self, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        for slot in &self.slots {
            match slot.try_lock() {
                Ok(conn) => return read(&conn),
                Err(TryLockError::Poisoned(conn)) => return read(&conn.into_inner()),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % CONNECTIONS;
        let slot = self.slots.get(turn).ok_or_else(|| Error::Stopped { why: "no reader is open".to_owned() })?;
        read(&slot.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
