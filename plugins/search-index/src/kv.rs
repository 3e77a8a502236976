//! The plugin's key-value space, with a count of what was asked of the node: it ends a call that asks too much.

use std::cell::Cell;

use fondaco_sdk::Result;
use fondaco_sdk::storage::{self, Entry, Write};

/// Keys with their new values; none: delete.
pub type Writes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// What was asked of the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Calls.
    pub calls: usize,
    /// Bytes handed over in writes.
    pub written: usize,
}

thread_local! {
    static SPENT: Cell<Spent> = const { Cell::new(Spent { calls: 0, written: 0 }) };
}
#[cfg(test)]
thread_local! {
    static FAIL_AFTER: Cell<Option<usize>> = const { Cell::new(None) };
    static BEFORE: Cell<Option<Box<dyn FnOnce()>>> = const { Cell::new(None) };
}

fn count(calls: usize, written: usize) {
    SPENT.with(|spent| {
        let before = spent.get();
        spent.set(Spent { calls: before.calls + calls, written: before.written + written });
    });
}

/// Since this instance began.
pub fn spent() -> Spent {
    SPENT.get()
}

/// The value under `key`.
pub fn get(key: &[u8]) -> Result<Option<Vec<u8>>> {
    count(1, key.len());
    storage::get(key)
}

/// At most `limit` entries with `start <= key < end`, in key order.
pub fn scan(start: &[u8], end: &[u8], limit: u32) -> Result<Vec<Entry>> {
    count(1, start.len() + end.len());
    storage::scan(start, end, limit)
}

/// At most `limit` entries whose keys begin with `prefix`, in key order.
pub fn scan_prefix(prefix: &[u8], limit: u32) -> Result<Vec<Entry>> {
    scan(prefix, &storage::after(prefix), limit)
}

/// The bytes of a batch.
pub fn size(batch: &[Write]) -> usize {
    let one = |write: &Write| match write {
        Write::Put(entry) => entry.key.len() + entry.value.len(),
        Write::Delete(key) => key.len(),
        Write::Check((key, value)) => key.len() + value.as_ref().map_or(0, Vec::len),
    };
    batch.iter().map(one).sum()
}

/// Writes all or nothing; durable on return.
pub fn apply(batch: &[Write]) -> Result<()> {
    count(1, size(batch));
    #[cfg(test)]
    if let Some(act) = BEFORE.take() {
        act();
    }
    #[cfg(test)]
    if let Some(left) = FAIL_AFTER.get() {
        FAIL_AFTER.set(left.checked_sub(1));
        if left == 0 {
            return Err(fondaco_sdk::Error::Unavailable("the disk is gone".into()));
        }
    }
    storage::apply(batch)
}

/// Lets so many writes of this thread pass, and the one after them fail.
#[cfg(test)]
pub fn fail_after(writes: usize) {
    FAIL_AFTER.set(Some(writes));
}

/// Does something between the reads and the next write of this thread.
#[cfg(test)]
pub fn before_next_write(act: impl FnOnce() + 'static) {
    BEFORE.set(Some(Box::new(act)));
}
