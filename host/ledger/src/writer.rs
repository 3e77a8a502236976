//! The one writer: a thread that owns the connection, and commits what waits together.
//!
//! It takes the first job, then whatever else is queued, up to 64 jobs or 5 ms of work, each in a savepoint of its own,
//! commits once and only then answers them all. Nothing is awaited to fill a batch: while one commit reaches the disk
//! the next batch gathers by itself. A commit that fails is never repeated, since after a failed `fsync` nobody knows
//! what the disk holds: from then on every write is refused until a restart reads the file afresh.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};
use time::OffsetDateTime;
use tokio::sync::{mpsc, oneshot};

use crate::codec::{settled, text};
use crate::event::Event;
use crate::ledger::{ClockBack, Options};
use crate::log::{Head, append, store_head};
use crate::stats::Counters;
use crate::{Error, Result, project};

/// Most jobs of one commit.
const MOST_JOBS: usize = 64;
/// Longest that a batch is added to.
const LONGEST: Duration = Duration::from_millis(5);
/// From how many pages on (4 MiB) the WAL is moved into the file.
const WAL_PAGES: i32 = 1024;
/// How far the clock may go back between two events.
const CLOCK_SLACK: time::Duration = time::Duration::hours(24);

/// What the handles send.
pub(crate) enum Command {
    /// A write.
    Write(Box<dyn Job>),
    /// Ends the thread; answered when the file is closed.
    Close(oneshot::Sender<()>),
}

/// What became of a job before its commit.
pub(crate) enum Ran {
    /// Keep what it wrote.
    Keep,
    /// It was refused: undo what it wrote.
    Undo,
    /// The database itself failed.
    Broken(String),
}

/// One write that waits for its turn and its answer.
pub(crate) trait Job: Send {
    /// Does it, within the transaction.
    fn run(&mut self, tx: &mut Tx<'_>) -> Ran;
    /// Answers, after the commit; `stopped` says why there was none.
    fn answer(self: Box<Self>, stopped: Option<&str>);
}

/// A closure as a job.
pub(crate) struct Task<F, T> {
    act: Option<F>,
    result: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<F, T> Task<F, T> {
    pub(crate) fn new(act: F) -> (Self, oneshot::Receiver<Result<T>>) {
        let (reply, answer) = oneshot::channel();
        (Self { act: Some(act), result: None, reply }, answer)
    }
}

impl<F, T> Job for Task<F, T>
where
    F: FnOnce(&mut Tx<'_>) -> Result<T> + Send,
    T: Send,
{
    fn run(&mut self, tx: &mut Tx<'_>) -> Ran {
        let Some(act) = self.act.take() else { return Ran::Undo };
        let result = act(tx);
        let ran = match &result {
            Ok(_) => Ran::Keep,
            Err(Error::Sql(e)) if is_broken(e) => Ran::Broken(e.to_string()),
            Err(_) => Ran::Undo,
        };
        self.result = Some(result);
        ran
    }

    fn answer(self: Box<Self>, stopped: Option<&str>) {
        let why = stopped.unwrap_or("the write was not run");
        let result = match self.result {
            Some(result) if stopped.is_none() => result,
            _ => Err(Error::Stopped { why: why.to_owned() }),
        };
        // An asker who left is normal; the write stands.
        let _ = self.reply.send(result);
    }
}

/// Did the file or the disk fail, rather than the statement?
fn is_broken(error: &rusqlite::Error) -> bool {
    use ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseCorrupt, DiskFull, NotADatabase, OutOfMemory, ReadOnly, SystemIoFailure,
    };
    matches!(
        error.sqlite_error_code(),
        Some(
            CannotOpen
                | DatabaseBusy
                | DatabaseCorrupt
                | DiskFull
                | NotADatabase
                | OutOfMemory
                | ReadOnly
                | SystemIoFailure
        )
    )
}

/// The transaction as a job sees it.
pub(crate) struct Tx<'c> {
    pub(crate) conn: &'c Connection,
    pub(crate) options: &'c Options,
    end: End,
}

/// Where the log ends.
#[derive(Clone, Copy)]
pub(crate) struct End {
    pub(crate) head: Head,
    pub(crate) last: Option<OffsetDateTime>,
}

impl Tx<'_> {
    /// Appends an event and applies it to the projections; its number.
    pub(crate) fn append(&mut self, at: OffsetDateTime, event: impl Into<Event>) -> Result<u64> {
        let event = event.into();
        let at = settled(at)?;
        if let Some(last) = self.end.last
            && self.options.clock_back == ClockBack::Refuse
            && at < last.saturating_sub(CLOCK_SLACK)
        {
            return Err(Error::ClockWentBack { at: text(at)?, last: text(last)? });
        }
        self.end.head = append(self.conn, &self.end.head, &text(at)?, event.kind(), &event.body()?)?;
        self.end.last = Some(self.end.last.map_or(at, |last| last.max(at)));
        project::apply(self.conn, self.end.head.seq, at, &event)?;
        Ok(self.end.head.seq)
    }
}

/// The thread's state.
pub(crate) struct Writer {
    conn: Connection,
    options: Options,
    counters: Arc<Counters>,
    end: End,
    wal_pages: Arc<AtomicI32>,
    stopped: Option<String>,
    /// Held until the connection is closed: fields are dropped in this order.
    _lock: File,
}

impl Writer {
    pub(crate) fn new(
        mut conn: Connection,
        lock: File,
        options: Options,
        end: End,
        counters: Arc<Counters>,
    ) -> Result<Self> {
        let wal_pages = Arc::new(AtomicI32::new(0));
        let seen = wal_pages.clone();
        conn.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
            seen.store(pages, Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(Self { conn, options, counters, end, wal_pages, stopped: None, _lock: lock })
    }

    /// Serves until it is told to close or no handle is left.
    pub(crate) fn serve(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut closing = None;
        while closing.is_none() {
            let Some(first) = commands.blocking_recv() else { break };
            closing = self.batch(first, &mut commands);
        }
        commands.close();
        while let Some(command) = commands.blocking_recv() {
            if let Command::Write(job) = command {
                job.answer(Some("it was closed"));
            }
        }
        if self.stopped.is_none()
            && let Err(error) = self.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        {
            tracing::warn!(%error, "the ledger's WAL could not be moved into its file; the next start does it");
        }
        drop(self);
        if let Some(done) = closing {
            let _ = done.send(());
        }
    }

    /// One batch; gives the asker where one of the commands was to close.
    fn batch(&mut self, first: Command, commands: &mut mpsc::Receiver<Command>) -> Option<oneshot::Sender<()>> {
        let begun = Instant::now();
        let mut ran: Vec<Box<dyn Job>> = Vec::new();
        let mut closing = None;
        let mut next = Some(first);
        let mut end = self.end;
        while let Some(command) = next.take() {
            match command {
                Command::Close(done) => {
                    closing = Some(done);
                    break;
                }
                Command::Write(mut job) => {
                    if self.stopped.is_none()
                        && let Err(why) = self.run(&mut job, &mut end, ran.is_empty())
                    {
                        self.stop(why);
                    }
                    ran.push(job);
                }
            }
            if ran.len() < MOST_JOBS && begun.elapsed() < LONGEST {
                next = commands.try_recv().ok();
            }
        }
        if self.stopped.is_none() && !ran.is_empty() {
            let commit_begun = Instant::now();
            match self.commit(end) {
                Ok(()) => self.counters.committed(ran.len(), commit_begun.elapsed(), end.head.seq),
                Err(error) => self.stop(format!("a commit failed: {error}")),
            }
        }
        for job in ran {
            job.answer(self.stopped.as_deref());
        }
        self.checkpoint();
        closing
    }

    /// Runs one job in a savepoint; an error stops the ledger.
    fn run(&self, job: &mut Box<dyn Job>, end: &mut End, is_first: bool) -> Result<(), String> {
        let say = |e: rusqlite::Error| e.to_string();
        let execute = |sql| self.conn.prepare_cached(sql).and_then(|mut s| s.execute([])).map_err(say);
        if is_first {
            execute("BEGIN IMMEDIATE")?;
        }
        execute("SAVEPOINT job")?;
        let mut tx = Tx { conn: &self.conn, options: &self.options, end: *end };
        let ran = job.run(&mut tx);
        let after = tx.end;
        match ran {
            Ran::Broken(why) => return Err(why),
            _ if self.conn.is_autocommit() => return Err("SQLite gave the transaction up".to_owned()),
            Ran::Keep => *end = after,
            Ran::Undo => {
                execute("ROLLBACK TO job")?;
                self.counters.refused();
            }
        }
        execute("RELEASE job")?;
        Ok(())
    }

    fn commit(&mut self, end: End) -> Result<()> {
        if end.head != self.end.head {
            store_head(&self.conn, &end.head)?;
        }
        self.conn.prepare_cached("COMMIT")?.execute([])?;
        self.end = end;
        Ok(())
    }

    fn stop(&mut self, why: String) {
        tracing::error!(%why, "the ledger stopped: nothing more is written until a restart");
        self.counters.stopped();
        if !self.conn.is_autocommit() {
            // Best effort: the file is read afresh at the next start in any case.
            let _ = self.conn.execute_batch("ROLLBACK");
        }
        self.stopped = Some(why);
    }

    fn checkpoint(&mut self) {
        if self.stopped.is_some() || self.wal_pages.load(Ordering::Relaxed) < WAL_PAGES {
            return;
        }
        self.wal_pages.store(0, Ordering::Relaxed);
        match self.conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
            Err(e) if is_broken(&e) => self.stop(format!("a checkpoint failed: {e}")),
            _ => self.counters.checkpointed(),
        }
    }
}
