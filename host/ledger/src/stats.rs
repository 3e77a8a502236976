//! Counters for the metrics page.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

/// What the ledger did since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Number of the log's last event.
    pub events: u64,
    /// Transactions that reached the disk.
    pub commits: u64,
    /// Writes that they carried.
    pub writes: u64,
    /// Writes that were refused and undone, such as a full quota.
    pub refused: u64,
    /// Time spent in commits.
    pub commit_time: Duration,
    /// How often the WAL was moved into the file.
    pub checkpoints: u64,
    /// Values and ranges that plugins read.
    pub kv_reads: u64,
    /// Writes that wait in the queue now.
    pub queued: usize,
    /// A commit failed, so that nothing more is written.
    pub is_stopped: bool,
}

#[derive(Default)]
pub(crate) struct Counters {
    events: AtomicU64,
    commits: AtomicU64,
    writes: AtomicU64,
    refused: AtomicU64,
    commit_nanos: AtomicU64,
    checkpoints: AtomicU64,
    kv_reads: AtomicU64,
    is_stopped: AtomicBool,
}

impl Counters {
    pub(crate) fn at(events: u64) -> Self {
        Self { events: events.into(), ..Self::default() }
    }
    pub(crate) fn committed(&self, writes: usize, took: Duration, events: u64) {
        // Whoever sees the new number reads what was committed, or later.
        self.commits.fetch_add(1, Release);
        self.writes.fetch_add(writes as u64, Relaxed);
        self.commit_nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        self.events.store(events, Relaxed);
    }
    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Acquire)
    }
    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }
    pub(crate) fn checkpointed(&self) {
        self.checkpoints.fetch_add(1, Relaxed);
    }
    pub(crate) fn kv_read(&self) {
        self.kv_reads.fetch_add(1, Relaxed);
    }
    pub(crate) fn stopped(&self) {
        self.is_stopped.store(true, Relaxed);
    }
    pub(crate) fn snapshot(&self, queued: usize) -> Stats {
        Stats {
            events: self.events.load(Relaxed),
            commits: self.commits.load(Relaxed),
            writes: self.writes.load(Relaxed),
            refused: self.refused.load(Relaxed),
            commit_time: Duration::from_nanos(self.commit_nanos.load(Relaxed)),
            checkpoints: self.checkpoints.load(Relaxed),
            kv_reads: self.kv_reads.load(Relaxed),
            queued,
            is_stopped: self.is_stopped.load(Relaxed),
        }
    }
}
