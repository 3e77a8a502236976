//! The handle, and opening and closing.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::log::stored_end;
use crate::reader::Readers;
use crate::stats::Counters;
use crate::writer::{Command, End, Task, Tx, Writer};
use crate::{Error, KvReader, Result, Signer, Stats, schema};

/// Writes that may wait for the writer. When it is full, callers wait their turn.
const QUEUE: usize = 256;

/// May time go back by more than a day between two events?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockBack {
    /// Such a write is refused: the clock is wrong, now or before.
    Refuse,
    /// The operator said that the clock was wrong before.
    Accept,
}

/// How a ledger is opened.
#[derive(Clone)]
pub struct Options {
    /// Signs a right in the moment in which it is granted. It runs on the writer's thread: it must not wait.
    pub signer: Signer,
    /// What to do when the clock went back.
    pub clock_back: ClockBack,
}

impl Options {
    /// With this signer; the clock may not go back.
    pub fn new(signer: Signer) -> Self {
        Self { signer, clock_back: ClockBack::Refuse }
    }
}

/// A handle on the ledger, cheap to clone.
///
/// Writes are durable when they are answered. # Cancel safety: a write whose caller left is done all the same; a read
/// is dropped. The last handle's drop waits for the writer's thread to end; [`Ledger::close`] does so without blocking.
#[derive(Clone)]
pub struct Ledger {
    inner: Arc<Inner>,
}

struct Inner {
    commands: Option<mpsc::Sender<Command>>,
    readers: Arc<Readers>,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<()>>,
}

impl Ledger {
    /// Opens the ledger at a path, or makes one there: checks SQLite's version and the whole file, brings the schema up
    /// to date. The file must lie on a local file system. Blocks for as long as the check takes.
    ///
    /// Errors: [`Error::InUse`] where another process has it, [`Error::Damaged`], [`Error::NewerSchema`].
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        let path = path.as_ref();
        schema::check_sqlite()?;
        let lock = lock(path)?;
        own_file(path)?;
        let conn = schema::open_writer(path)?;
        let (head, last) = stored_end(&conn)?;
        let counters = Arc::new(Counters::at(head.seq));
        let writer = Writer::new(conn, lock, options, End { head, last }, counters.clone())?;
        let readers = Arc::new(Readers::open(path)?);
        let (commands, queue) = mpsc::channel(QUEUE);
        let thread = thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || writer.serve(queue))
            .map_err(|e| Error::Stopped { why: format!("its thread did not start: {e}") })?;
        Ok(Self { inner: Arc::new(Inner { commands: Some(commands), readers, counters, thread: Some(thread) }) })
    }

    /// Ends the writer after the writes that were sent before, and closes the file. Writes of other handles are refused
    /// from then on; reads go on.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if let Some(commands) = &self.inner.commands
            && commands.send(Command::Close(done)).await.is_ok()
        {
            let _ = closed.await;
        }
    }

    /// What it did since it was opened.
    pub fn stats(&self) -> Stats {
        let queued = self.inner.commands.as_ref().map_or(0, |c| c.max_capacity().saturating_sub(c.capacity()));
        self.inner.counters.snapshot(queued)
    }

    /// How many transactions reached the disk since it was opened: each event and each write of a plugin is in one. A
    /// commit is counted after it can be read and before its writers are answered, so that whoever reads the number first
    /// and the tables then never holds old content for that of a later number.
    pub fn commits(&self) -> u64 {
        self.inner.counters.commits()
    }

    /// Reads of the plugins' spaces for callers that may block, such as a host call within a plugin.
    pub fn kv_reader(&self) -> KvReader {
        KvReader::new(self.inner.readers.clone(), self.inner.counters.clone())
    }

    /// Runs a write on the writer's thread and answers once it is durable.
    pub(crate) async fn write<T, F>(&self, act: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static,
    {
        let gone = || Error::Stopped { why: "its thread has ended".to_owned() };
        let (task, answer) = Task::new(act);
        let commands = self.inner.commands.as_ref().ok_or_else(gone)?;
        commands.send(Command::Write(Box::new(task))).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Runs a read on a blocking thread.
    pub(crate) async fn read<T, F>(&self, act: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let gone = |e: &dyn std::fmt::Display| Error::Stopped { why: format!("a read did not end: {e}") };
        let _permit = self.inner.readers.permits.acquire().await.map_err(|e| gone(&e))?;
        let readers = self.inner.readers.clone();
        tokio::task::spawn_blocking(move || readers.with(act)).await.map_err(|e| gone(&e))?
    }

    /// Runs a read on the calling thread: for those that are a look into SQLite's page cache, some microseconds long, where
    /// the way to a blocking thread and back would take longer.
    pub(crate) fn read_now<T>(&self, act: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.inner.readers.with(act)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
        {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

/// Takes the lock that keeps a second process out; it is let go when the file is dropped or the process ends.
fn lock(path: &Path) -> Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let lock_path = PathBuf::from(name);
    let fail = |source| Error::File { path: lock_path.clone(), source };
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path).map_err(fail)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(fail(source)),
    }
}

/// Makes a new file one that only its owner reads; SQLite gives its WAL the same mode.
fn own_file(path: &Path) -> Result<()> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop).map_err(|source| Error::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_write_is_counted_before_it_is_answered() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path().join("ledger.db"), Options::new(Arc::new(|_| Vec::new()))).unwrap();
        assert_eq!(ledger.commits(), 0);
        for n in 1..50_u64 {
            let before = ledger.commits();
            if n % 2 == 0 {
                ledger.set_cursor("reader", n).await.unwrap();
            } else {
                let put = crate::KvWrite::Put(crate::KvEntry { key: b"k".to_vec(), value: n.to_be_bytes().to_vec() });
                ledger.kv_apply("plugin", crate::KvQuota::NONE, vec![put]).await.unwrap();
            }
            assert!(ledger.commits() > before, "write {n}");
        }
        let before = ledger.commits();
        ledger.cursor("reader").await.unwrap();
        assert_eq!(ledger.commits(), before, "a read is no change");
    }

    #[tokio::test]
    async fn a_failed_commit_answers_all_its_writes_and_every_later_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.db");
        let options = || Options::new(Arc::new(|_| Vec::new()));
        let ledger = Ledger::open(&path, options()).unwrap();
        ledger.set_cursor("before", 1).await.unwrap();
        assert_eq!(ledger.commits(), 1, "it counts before it answers");
        // A broken reference that is looked at only in the commit makes that fail.
        let broken = "PRAGMA defer_foreign_keys = ON; INSERT INTO payments VALUES('p', 1, 'nobody', 'g', 0)";
        let bad = ledger.write(move |tx| Ok(tx.conn.execute_batch(broken)?));
        let (bad, beside) = tokio::join!(bad, ledger.set_cursor("beside", 1));
        for failed in [bad, beside, ledger.set_cursor("after", 1).await] {
            assert!(matches!(&failed, Err(Error::Stopped { why }) if why.contains("a commit failed")), "{failed:?}");
        }
        assert_eq!(ledger.commits(), 1, "what was not committed does not count");
        drop(ledger);
        let ledger = Ledger::open(&path, options()).unwrap();
        for (consumer, found) in [("before", 1), ("beside", 0), ("after", 0)] {
            assert_eq!(ledger.cursor(consumer).await.unwrap(), found, "{consumer}");
        }
    }
}
