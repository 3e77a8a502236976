//! Takes bytes into the store in one pass: read, hashed and written together, then given their name.
//!
//! Order of an import, and what a crash leaves: the data goes to `tmp/` (nothing), is made durable (nothing), the outboard
//! gets its name (an outboard that nobody owns, removed at the next start), the data gets its name (the blob, or nothing),
//! the folder is made durable (the blob). Only then is the import acknowledged.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::SystemTime;

use fondaco_schemas::BlobHash;
use rustix::fs::{Advice, fadvise, fstatvfs};

use crate::error::{Error, Result};
use crate::layout::{Kind, Reference, Temp, open_plain, open_source, sync_dir};
use crate::outboard::OutboardBuilder;
use crate::state::{Entry, Lease, Reservation, Shared};
use crate::tree::{GROUP_BYTES, outboard_bytes};

/// Bytes that are read, hashed and written at once. A multiple of the group's size that fits a core's second cache.
const CHUNK_BYTES: usize = 256 * 1024;
/// Buffers between the thread that reads and hashes and the one that writes. With all of them full the reader waits.
const BUFFERS: usize = 8;

/// Where the bytes of an imported file are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportMode {
    /// The store has its own copy, which shares the source's blocks where the file system can do that.
    Copy,
    /// The bytes stay where they are; the store keeps the outboard. If the file changes, the blob is no longer served.
    Reference,
}

/// A blob that is durably in the store. Garbage collection leaves it alone until this is dropped: pin it before.
#[derive(Debug)]
pub struct Imported {
    /// Its id.
    pub hash: BlobHash,
    /// Its size in bytes.
    pub size: u64,
    _lease: Lease,
}

impl Imported {
    pub(crate) fn held(hash: BlobHash, size: u64, lease: Lease) -> Self {
        Self { hash, size, _lease: lease }
    }
}

/// The part of an import that hashes.
struct Intake {
    shared: Arc<Shared>,
    outboard: OutboardBuilder,
    reservation: Reservation,
    size: u64,
}

/// What becomes a blob's main file.
enum Body {
    Data(Temp),
    Reference(Reference),
}

impl Intake {
    fn new(shared: &Arc<Shared>) -> Result<Self> {
        shared.writable()?;
        Ok(Self {
            shared: Arc::clone(shared),
            outboard: OutboardBuilder::new(),
            reservation: Reservation::none(shared),
            size: 0,
        })
    }

    /// Hashes the next bytes. All but the last call bring whole groups.
    fn absorb(&mut self, bytes: &[u8]) -> Result<()> {
        for group in bytes.chunks(usize::try_from(GROUP_BYTES).unwrap_or(CHUNK_BYTES)) {
            self.outboard.group(&self.shared.layout, self.size, group)?;
            self.size += group.len() as u64;
        }
        Ok(())
    }

    /// Makes everything durable and gives it its name.
    fn publish(mut self, body: Body) -> Result<Imported> {
        let shared = Arc::clone(&self.shared);
        self.reservation.grow(outboard_bytes(self.size))?;
        let (hash, outboard) = self.outboard.finish(&shared.layout)?;
        let is_reference = matches!(body, Body::Reference(_));
        let main = match body {
            Body::Data(temp) => temp,
            Body::Reference(reference) => {
                let temp = shared.layout.temp()?;
                (&temp.file).write_all(&reference.encode()).map_err(|e| Error::io("write", temp.path(), e))?;
                temp
            }
        };
        if !is_reference && let Some(imported) = renew(&shared, hash, self.size) {
            return Ok(imported);
        }
        for temp in outboard.iter().chain([&main]) {
            shared.watch(temp.sync())?;
        }

        let _shard = shared.shard(hash);
        if let Some(imported) = renew(&shared, hash, self.size) {
            return Ok(imported);
        }
        let known = shared.state().entries.contains_key(&hash);
        let data = shared.layout.path(hash, Kind::Data);
        if !known && data.exists() {
            // A copy that could not be moved when it was condemned.
            shared.watch(shared.layout.quarantine(hash))?;
        }
        let dir = shared.watch(shared.layout.make_shard(hash))?;
        if let Some(outboard) = outboard {
            outboard.replace(&shared.layout.path(hash, Kind::Outboard))?;
        }
        if is_reference {
            main.replace(&shared.layout.path(hash, Kind::Reference))?;
        } else if !main.publish(&data)? {
            return Err(Error::io("publish", &data, io::ErrorKind::AlreadyExists.into()));
        } else if known {
            let record = shared.layout.path(hash, Kind::Reference);
            fs::remove_file(&record).map_err(|e| Error::io("remove", &record, e))?;
        }
        shared.watch(sync_dir(&dir))?;

        let stored = self.reservation.keep();
        Ok(enter(&shared, hash, self.size, stored, is_reference))
    }
}

/// Puts a blob whose files are durably in place into the index. Call it with the shard's lock held.
pub(crate) fn enter(shared: &Arc<Shared>, hash: BlobHash, size: u64, stored: u64, reference: bool) -> Imported {
    let mut state = shared.state();
    let generation = state.generation();
    let entry = Entry { size, stored, reference, since: SystemTime::now(), generation, length_verified: true };
    if let Some(old) = state.entries.insert(hash, entry) {
        state.used = state.used.saturating_sub(old.stored);
    }
    let healed = state.quarantine.remove(&hash);
    if let Some((bytes, _)) = healed {
        state.used = state.used.saturating_sub(bytes);
    }
    let lease = Lease::take(shared, &mut state, hash);
    drop(state);
    if healed.is_some()
        && let Err(error) = shared.unlink(hash, crate::layout::Layout::quarantined)
    {
        tracing::warn!(blob = %hash, %error, "the corrupt copy of a blob that is whole again stays in quarantine");
    }
    Imported { hash, size, _lease: lease }
}

/// If the store has its own copy of the blob, starts its grace time anew and answers it.
pub(crate) fn renew(shared: &Arc<Shared>, hash: BlobHash, size: u64) -> Option<Imported> {
    let lease = {
        let mut state = shared.state();
        let entry = state.entries.get_mut(&hash).filter(|e| !e.reference)?;
        entry.since = SystemTime::now();
        Lease::take(shared, &mut state, hash)
    };
    // So that the grace time outlives a restart. Without it the blob is only collected earlier.
    let path = shared.layout.path(hash, Kind::Data);
    if let Err(error) = open_plain(&path).and_then(|file| file.set_modified(SystemTime::now())) {
        tracing::warn!(blob = %hash, %error, "the time of an import could not be recorded");
    }
    Some(Imported { hash, size, _lease: lease })
}

/// Imports a file; see [`crate::Store::import_file`].
pub(crate) fn file(shared: &Arc<Shared>, path: &Path, mode: ImportMode, progress: &dyn Fn(u64)) -> Result<Imported> {
    let mut intake = Intake::new(shared)?;
    let (mut source, meta) = open_source(path)?;
    // A hint; the import is as right without it.
    let _ = fadvise(&source, 0, None, Advice::Sequential);
    let unreadable = |e| Error::io("read", path, e);
    match mode {
        ImportMode::Copy => {
            let temp = shared.layout.temp()?;
            intake.reservation.check(meta.len().saturating_add(outboard_bytes(meta.len())))?;
            if share_blocks(&temp.file, &source) {
                let mut copy = open_plain(temp.path()).map_err(|e| Error::io("open", temp.path(), e))?;
                hash_only(&mut intake, &mut copy, unreadable, progress)?;
                intake.reservation.grow(intake.size)?;
            } else {
                check_space(&temp, meta.len())?;
                hash_and_write(&mut intake, &mut source, &temp, unreadable, progress)?;
            }
            intake.publish(Body::Data(temp))
        }
        ImportMode::Reference => {
            let path = fs::canonicalize(path).map_err(|e| Error::io("open", path, e))?;
            let before = Reference::of(&path, &meta);
            hash_only(&mut intake, &mut source, unreadable, progress)?;
            let after = fs::metadata(&path).map_err(|e| Error::io("read", &path, e))?;
            if Reference::of(&path, &after) != before || intake.size != before.size {
                return Err(Error::SourceChanged { path });
            }
            intake.publish(Body::Reference(before))
        }
    }
}

/// Imports what a reader yields; see [`crate::Store::import_reader`].
pub(crate) fn reader(shared: &Arc<Shared>, mut reader: impl Read, progress: &dyn Fn(u64)) -> Result<Imported> {
    let mut intake = Intake::new(shared)?;
    let temp = shared.layout.temp()?;
    hash_and_write(&mut intake, &mut reader, &temp, |source| Error::Source { source }, progress)?;
    intake.publish(Body::Data(temp))
}

/// Makes `to` share the blocks of `from` where the file system can (Btrfs, XFS): no byte is written then.
#[cfg(target_os = "linux")]
fn share_blocks(to: &File, from: &File) -> bool {
    rustix::fs::ioctl_ficlone(to, from).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn share_blocks(_: &File, _: &File) -> bool {
    false
}

/// Says early that a file of known size will not fit.
fn check_space(temp: &Temp, size: u64) -> Result<()> {
    let stat = fstatvfs(&temp.file).map_err(|e| Error::io("measure", temp.path(), e.into()))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if size.saturating_add(outboard_bytes(size)) > free {
        return Err(Error::DiskFull { path: temp.path().to_owned() });
    }
    Ok(())
}

/// Where buffers begin, in bytes. The kernel copies several times slower to memory that is not aligned to a cache line.
pub(crate) const ALIGN: usize = 64;

/// A buffer that keeps its memory.
struct Buffer {
    bytes: Vec<u8>,
    /// Where it begins in `bytes`, so that it is aligned.
    from: usize,
    len: usize,
}

impl Buffer {
    fn new() -> Self {
        let bytes = vec![0; CHUNK_BYTES + ALIGN];
        let from = padding(&bytes);
        Self { bytes, from, len: 0 }
    }

    fn filled(&self) -> &[u8] {
        self.bytes.get(self.from..self.from + self.len).unwrap_or_default()
    }

    fn is_full(&self) -> bool {
        self.len == CHUNK_BYTES
    }

    /// Reads until it is full or the reader has no more.
    fn fill(&mut self, reader: &mut impl Read) -> io::Result<()> {
        self.len = 0;
        while !self.is_full() {
            let rest = self.bytes.get_mut(self.from + self.len..self.from + CHUNK_BYTES).unwrap_or_default();
            match reader.read(rest) {
                Ok(0) => break,
                // A reader that claims more than it was given room for is a broken one.
                Ok(n) => self.len = self.len.saturating_add(n).min(CHUNK_BYTES),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// Bytes to leave out so that what follows in the vector's memory is aligned.
pub(crate) fn padding(bytes: &[u8]) -> usize {
    let address = bytes.as_ptr().addr();
    address.next_multiple_of(ALIGN) - address
}

fn hash_only(
    intake: &mut Intake,
    reader: &mut impl Read,
    unreadable: impl Fn(io::Error) -> Error,
    progress: &dyn Fn(u64),
) -> Result<()> {
    let mut buffer = Buffer::new();
    loop {
        buffer.fill(reader).map_err(&unreadable)?;
        intake.absorb(buffer.filled())?;
        progress(intake.size);
        if !buffer.is_full() {
            return Ok(());
        }
    }
}

/// Hashes here while a second thread writes. What fits the first buffer is not worth a thread.
fn hash_and_write(
    intake: &mut Intake,
    reader: &mut impl Read,
    temp: &Temp,
    unreadable: impl Fn(io::Error) -> Error,
    progress: &dyn Fn(u64),
) -> Result<()> {
    let write =
        |buffer: &Buffer| (&temp.file).write_all(buffer.filled()).map_err(|e| Error::io("write", temp.path(), e));
    let mut take = |buffer: &mut Buffer| {
        buffer.fill(reader).map_err(&unreadable)?;
        intake.reservation.grow(buffer.len as u64)?;
        intake.absorb(buffer.filled())?;
        progress(intake.size);
        Ok(())
    };
    let mut first = Buffer::new();
    take(&mut first)?;
    if !first.is_full() {
        return write(&first);
    }
    let (full, to_write) = sync_channel::<Buffer>(BUFFERS);
    let (written, empty) = sync_channel::<Buffer>(BUFFERS);
    thread::scope(|scope| {
        let writer = thread::Builder::new().name("fondaco-import".into()).spawn_scoped(scope, || {
            // Owned here, so that the reading side learns when this thread gives up.
            let (to_write, written) = (to_write, written);
            for buffer in to_write {
                write(&buffer)?;
                // Nobody takes buffers back once everything was read.
                let _ = written.send(buffer);
            }
            Ok(())
        });
        let writer = writer.map_err(|e| Error::io("start a thread to write", temp.path(), e))?;
        let read = (|| {
            let mut spare = BUFFERS - 1;
            let mut buffer = first;
            loop {
                let last = !buffer.is_full();
                if full.send(buffer).is_err() || last {
                    return Ok(());
                }
                buffer = if spare > 0 {
                    spare -= 1;
                    Buffer::new()
                } else if let Ok(buffer) = empty.recv() {
                    buffer
                } else {
                    return Ok(());
                };
                take(&mut buffer)?;
            }
        })();
        drop(full);
        // The writer's error comes first: the reader only stopped because of it.
        let wrote = writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        wrote.and(read)
    })
}

/// An import that is fed by `write`; nothing is in the store before [`Importer::finish`]. Dropping it leaves nothing behind.
pub struct Importer {
    intake: Intake,
    temp: Temp,
    /// Less than a chunk.
    pending: Vec<u8>,
    /// What went wrong in `write`, which can only say so as an `io::Error`.
    failed: Option<Error>,
}

impl Importer {
    pub(crate) fn new(shared: &Arc<Shared>) -> Result<Self> {
        let intake = Intake::new(shared)?;
        let temp = shared.layout.temp()?;
        Ok(Self { intake, temp, pending: Vec::with_capacity(CHUNK_BYTES), failed: None })
    }

    /// Bytes taken so far.
    pub fn size(&self) -> u64 {
        self.intake.size + self.pending.len() as u64
    }

    /// Makes the blob durable. If a `write` failed, this fails for the same reason.
    pub fn finish(mut self) -> Result<Imported> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        self.pass_on()?;
        self.intake.publish(Body::Data(self.temp))
    }

    fn pass_on(&mut self) -> Result<()> {
        self.intake.reservation.grow(self.pending.len() as u64)?;
        self.intake.absorb(&self.pending)?;
        (&self.temp.file).write_all(&self.pending).map_err(|e| Error::io("write", self.temp.path(), e))?;
        self.pending.clear();
        Ok(())
    }
}

impl Write for Importer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(error) = &self.failed {
            return Err(io::Error::new(error.kind(), error.to_string()));
        }
        let room = CHUNK_BYTES - self.pending.len();
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.pending.extend_from_slice(taken);
        if self.pending.len() == CHUNK_BYTES
            && let Err(error) = self.pass_on()
        {
            let told = io::Error::new(error.kind(), error.to_string());
            self.failed = Some(error);
            return Err(told);
        }
        Ok(taken.len())
    }

    /// Does nothing: only `finish` makes bytes durable.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
