//! The catalogue: verified releases, which of them is a work's current one, and where each blob is used.

use fondaco_schemas::{BlobHash, FileInfo, Release, ReleaseId, Work, WorkId};
use rusqlite::{Connection, params};
use time::OffsetDateTime;

use crate::codec::{bytes, cbor, count, int, maybe, parsed, to_cbor};
use crate::error::at_most;
use crate::event::{ReleaseRecorded, WorkUnpublished};
use crate::writer::Tx;
use crate::{Error, Ledger, Result, channel};

/// Longest envelope, in bytes: room for some ten thousand files.
const MAX_ENVELOPE_BYTES: usize = 4 << 20;
/// Most works of a page.
const MOST_PER_PAGE: u32 = 500;

/// Longest stored release that is read on the caller's own thread: room for some hundred files.
const SMALL_BYTES: i64 = 64 << 10;

/// What recording a release did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It is the work's current release now.
    New,
    /// It was so already; nothing was written.
    Known,
}

/// A part of the catalogue, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The works.
    pub works: Vec<Work>,
    /// Where the next page begins; absent on the last.
    pub next: Option<String>,
}

/// A place where a blob is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileUse {
    /// In which work.
    pub work: WorkId,
    /// In which of its releases.
    pub release: ReleaseId,
    /// Is that the work's current release, and the work listed?
    pub is_current: bool,
    /// Has the release an offer that costs nothing and limits nothing (no scheme, no term, no territory)?
    pub is_free: bool,
    /// The file as the release lists it.
    pub file: FileInfo,
}

pub(crate) fn apply_recorded(conn: &Connection, seq: i64, e: &ReleaseRecorded) -> Result<()> {
    let (id, work, release) = (e.id.as_bytes(), e.release.work.to_string(), &e.release);
    let sequence = int(release.sequence, "the release's sequence")?;
    conn.prepare_cached(
        "INSERT OR REPLACE INTO releases(release, work, sequence, envelope, body) VALUES(?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![id, work, sequence, e.envelope, to_cbor(release)?])?;
    conn.prepare_cached(
        "INSERT INTO works(work, release, sequence, listed, changed) VALUES(?1, ?2, ?3, ?4, ?4)
         ON CONFLICT(work) DO UPDATE SET
            release = ?2, sequence = ?3, changed = ?4, listed = coalesce(listed, excluded.listed)",
    )?
    .execute(params![work, id, sequence, seq])?;
    channel::apply_changed(conn, &work)?;
    conn.prepare_cached("DELETE FROM tags WHERE work = ?1")?.execute([&work])?;
    for tag in &release.tags {
        conn.prepare_cached("INSERT OR IGNORE INTO tags(tag, work) VALUES(?1, ?2)")?.execute([tag, &work])?;
    }
    let free = release.is_free();
    for file in &release.files {
        conn.prepare_cached(
            "INSERT OR REPLACE INTO files(blob, release, path, work, info, free) VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![file.hash.as_bytes(), id, file.path, work, to_cbor(file)?, free])?;
    }
    Ok(())
}

pub(crate) fn apply_unpublished(conn: &Connection, seq: i64, e: &WorkUnpublished) -> Result<()> {
    conn.prepare_cached("UPDATE works SET listed = NULL, changed = ?2 WHERE work = ?1")?
        .execute(params![e.work.to_string(), seq])?;
    channel::apply_changed(conn, &e.work.to_string())
}

fn record(tx: &mut Tx<'_>, id: ReleaseId, release: Release, envelope: Vec<u8>, at: OffsetDateTime) -> Result<Recorded> {
    let have = maybe(
        tx.conn
            .prepare_cached("SELECT sequence, release = ?2, listed IS NOT NULL FROM works WHERE work = ?1")?
            .query_row(params![release.work.to_string(), id.as_bytes()], |row| {
                Ok((count(row, "sequence")?, row.get::<_, bool>(1)?, row.get::<_, bool>(2)?))
            }),
    )?;
    if let Some((have, is_same, is_listed)) = have {
        if is_same && is_listed {
            return Ok(Recorded::Known);
        }
        if !is_same && release.sequence <= have {
            return Err(Error::OldRelease { work: release.work, have, offered: release.sequence });
        }
    }
    tx.append(at, ReleaseRecorded { id, release, envelope })?;
    Ok(Recorded::New)
}

/// The columns of a work with its release.
const WORK: &str = "SELECT w.work, w.listed, r.release, r.body FROM works w JOIN releases r ON r.release = w.release";

fn read_work(row: &rusqlite::Row<'_>) -> rusqlite::Result<Work> {
    Ok(Work { release_id: bytes(row, "release", ReleaseId::new)?, release: cbor(row, "body")? })
}

/// The current release of a listed work.
pub(crate) fn listed_work(conn: &Connection, work: &WorkId) -> Result<Option<Work>> {
    listed_work_within(conn, work, i64::MAX)
}

/// The same, of at most so many bytes. SQLite knows a value's length without reading the value; the envelope counts, since
/// the body lies behind it.
fn listed_work_within(conn: &Connection, work: &WorkId, most_bytes: i64) -> Result<Option<Work>> {
    let size = "max(length(r.envelope), length(r.body))";
    let sql = format!("{WORK} WHERE w.work = ?1 AND w.listed IS NOT NULL AND {size} <= ?2");
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(params![work.to_string(), most_bytes])?;
    Ok(rows.next()?.map(read_work).transpose()?)
}

impl Ledger {
    /// Puts a verified release into the catalogue; it becomes its work's current one. `envelope` is what was signed and
    /// `id` its BLAKE3: the caller has verified both. The same release again changes nothing, unless its work was
    /// unpublished: then it is listed again.
    ///
    /// Errors: [`Error::OldRelease`] where the work has another release of the same or a higher sequence.
    pub async fn record_release(
        &self,
        release: &Release,
        id: ReleaseId,
        envelope: Vec<u8>,
        at: OffsetDateTime,
    ) -> Result<Recorded> {
        at_most("the release's envelope", envelope.len(), MAX_ENVELOPE_BYTES)?;
        let release = release.clone();
        self.write(move |tx| record(tx, id, release, envelope, at)).await
    }

    /// Takes a work out of the catalogue; what was sold stays sold. [`Error::NoWork`] where it is not listed.
    pub async fn unpublish(&self, work: &WorkId, at: OffsetDateTime) -> Result<()> {
        let work = work.clone();
        self.write(move |tx| {
            if listed_work(tx.conn, &work)?.is_none() {
                return Err(Error::NoWork(work));
            }
            tx.append(at, WorkUnpublished { work }).map(drop)
        })
        .await
    }

    /// A listed work's current release.
    pub async fn work(&self, work: &WorkId) -> Result<Option<Work>> {
        let work = work.clone();
        self.read(move |conn| listed_work(conn, &work)).await
    }

    /// The same at once, on the caller's own thread, where the release is stored in at most 64 KiB; `None` where it is larger
    /// as well, so that the caller asks [`Ledger::work`] then.
    pub fn small_work(&self, work: &WorkId) -> Result<Option<Work>> {
        self.read_now(|conn| listed_work_within(conn, work, SMALL_BYTES))
    }

    /// Which of these works are listed, in their order: at once, on the caller's own thread. For a page's worth of them.
    pub fn are_listed(&self, works: &[WorkId]) -> Result<Vec<bool>> {
        self.read_now(|conn| {
            let mut statement = conn.prepare_cached("SELECT 1 FROM works WHERE work = ?1 AND listed IS NOT NULL")?;
            works.iter().map(|work| statement.exists([work.to_string()]).map_err(Error::from)).collect()
        })
    }

    /// The listed works of a slug, whoever publishes them, in the order of their ids; at most `limit`. It looks at each
    /// work's id: for commands, not for pages.
    pub async fn with_slug(&self, slug: &str, limit: u32) -> Result<Vec<WorkId>> {
        let slug = slug.to_owned();
        self.read(move |conn| {
            let sql = "SELECT work FROM works WHERE listed IS NOT NULL AND substr(work, instr(work, '/') + 1) = ?1
                       ORDER BY work LIMIT ?2";
            let mut statement = conn.prepare_cached(sql)?;
            let rows = statement.query_map(params![slug, limit], |row| parsed(row, "work"))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// The newest release of a work, and whether the work is listed.
    pub async fn newest(&self, work: &WorkId) -> Result<Option<(Work, bool)>> {
        let work = work.clone();
        self.read(move |conn| {
            let mut statement = conn.prepare_cached(&format!("{WORK} WHERE w.work = ?1"))?;
            let mut rows = statement.query([work.to_string()])?;
            let listed = |row: &rusqlite::Row<'_>| row.get::<_, Option<i64>>("listed").map(|l| l.is_some());
            Ok(rows.next()?.map(|row| Ok::<_, rusqlite::Error>((read_work(row)?, listed(row)?))).transpose()?)
        })
        .await
    }

    /// Any release that was ever recorded, with the envelope that was signed.
    pub async fn release(&self, id: ReleaseId) -> Result<Option<(Release, Vec<u8>)>> {
        self.read(move |conn| {
            let mut statement = conn.prepare_cached("SELECT body, envelope FROM releases WHERE release = ?1")?;
            let mut rows = statement.query([id.as_bytes()])?;
            Ok(rows
                .next()?
                .map(|row| Ok::<_, rusqlite::Error>((cbor(row, "body")?, row.get("envelope")?)))
                .transpose()?)
        })
        .await
    }

    /// Listed works, newest first by when each was listed; at most `limit` of them (and 500). A new release leaves its
    /// work in its place, so that whoever pages sees each work once.
    pub async fn browse(&self, cursor: Option<&str>, limit: u32) -> Result<Page> {
        let before = match cursor {
            None => i64::MAX,
            Some(text) => text.parse().map_err(|_| Error::Cursor(text.chars().take(40).collect()))?,
        };
        let limit = limit.clamp(1, MOST_PER_PAGE);
        self.read(move |conn| {
            let sql = format!("{WORK} WHERE w.listed < ?1 ORDER BY w.listed DESC LIMIT ?2");
            let mut statement = conn.prepare_cached(&sql)?;
            let rows = statement
                .query_map(params![before, limit + 1], |row| Ok((row.get::<_, i64>("listed")?, read_work(row)?)))?;
            let mut found = rows.collect::<rusqlite::Result<Vec<_>>>()?;
            let has_more = found.len() > limit as usize;
            found.truncate(limit as usize);
            let next = found.last().filter(|_| has_more).map(|(listed, _)| listed.to_string());
            Ok(Page { works: found.into_iter().map(|(_, work)| work).collect(), next })
        })
        .await
    }

    /// The current releases of all listed works, in the order in which the works were listed. 32 bytes each.
    pub async fn current_releases(&self) -> Result<Vec<ReleaseId>> {
        self.read(|conn| {
            let sql = "SELECT release FROM works WHERE listed IS NOT NULL ORDER BY listed";
            let mut statement = conn.prepare_cached(sql)?;
            let rows = statement.query_map([], |row| bytes(row, "release", ReleaseId::new))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// How many works are listed.
    pub async fn count(&self) -> Result<u64> {
        self.read(|conn| {
            let sql = "SELECT count(*) AS n FROM works WHERE listed IS NOT NULL";
            Ok(conn.prepare_cached(sql)?.query_row([], |row| count(row, "n"))?)
        })
        .await
    }

    /// Every place where a blob is used, in current releases and older ones.
    pub async fn file_uses(&self, blob: BlobHash) -> Result<Vec<FileUse>> {
        self.read(move |conn| {
            let mut statement = conn.prepare_cached(
                "SELECT f.work, f.release, f.info, f.free, w.listed IS NOT NULL AND w.release = f.release AS current
                 FROM files f JOIN works w ON w.work = f.work WHERE f.blob = ?1 ORDER BY f.release, f.path",
            )?;
            let rows = statement.query_map([blob.as_bytes()], |row| {
                Ok(FileUse {
                    work: parsed(row, "work")?,
                    release: bytes(row, "release", ReleaseId::new)?,
                    is_current: row.get("current")?,
                    is_free: row.get("free")?,
                    file: cbor(row, "info")?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }
}
