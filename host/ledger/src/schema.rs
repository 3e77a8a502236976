//! The tables, SQLite's settings and the steps from an older file to this one.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::{Error, Result};

/// 3.51.3 mends a fault in which a WAL reset could lose committed pages (<https://sqlite.org/wal.html>).
const OLDEST_SQLITE: i32 = 3_051_003;

/// Step n takes a file from schema n to n + 1. A step that was ever released is never edited.
pub(crate) const STEPS: &[&str] = &[
    "
    CREATE TABLE events(
        seq INTEGER PRIMARY KEY, at TEXT NOT NULL, kind TEXT NOT NULL, body BLOB NOT NULL, hash BLOB NOT NULL) STRICT;
    CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events
        BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;
    CREATE TRIGGER events_are_never_removed BEFORE DELETE ON events
        BEGIN SELECT RAISE(ABORT, 'events are never removed'); END;
    CREATE TABLE head(one INTEGER PRIMARY KEY CHECK(one = 1), seq INTEGER NOT NULL, hash BLOB NOT NULL) STRICT;
    INSERT INTO head VALUES(1, 0, zeroblob(32));

    CREATE TABLE releases(
        release BLOB PRIMARY KEY, work TEXT NOT NULL, sequence INTEGER NOT NULL, envelope BLOB NOT NULL,
        body BLOB NOT NULL) STRICT;
    CREATE TABLE works(
        work TEXT PRIMARY KEY, release BLOB NOT NULL, sequence INTEGER NOT NULL, listed INTEGER UNIQUE,
        changed INTEGER NOT NULL UNIQUE) STRICT;
    CREATE TABLE tags(tag TEXT NOT NULL, work TEXT NOT NULL, PRIMARY KEY(tag, work)) STRICT, WITHOUT ROWID;
    CREATE INDEX tags_of_work ON tags(work);
    CREATE TABLE files(
        blob BLOB NOT NULL, release BLOB NOT NULL, path TEXT NOT NULL, work TEXT NOT NULL, info BLOB NOT NULL,
        free INTEGER NOT NULL, PRIMARY KEY(blob, release, path)) STRICT, WITHOUT ROWID;

    CREATE TABLE orders(
        id TEXT PRIMARY KEY, seq INTEGER NOT NULL UNIQUE, session TEXT NOT NULL, key TEXT NOT NULL,
        holder BLOB NOT NULL, work TEXT NOT NULL, release BLOB NOT NULL, offer_id TEXT NOT NULL, offer BLOB NOT NULL,
        minor INTEGER NOT NULL, asset TEXT NOT NULL, exponent INTEGER NOT NULL, entitlement TEXT NOT NULL UNIQUE,
        state TEXT NOT NULL, closed TEXT, created INTEGER NOT NULL, updated INTEGER NOT NULL, expires INTEGER,
        settled INTEGER, UNIQUE(session, key)) STRICT;
    CREATE INDEX orders_waiting ON orders(expires) WHERE state IN ('open', 'pending');
    CREATE INDEX orders_settled ON orders(settled) WHERE state IN ('paid', 'fulfilled');
    CREATE TABLE payments(
        id TEXT PRIMARY KEY, seq INTEGER NOT NULL UNIQUE, order_id TEXT NOT NULL REFERENCES orders(id),
        gateway TEXT NOT NULL, opened INTEGER NOT NULL) STRICT;
    CREATE INDEX payments_of_order ON payments(order_id);
    CREATE TABLE reports(
        gateway TEXT NOT NULL, reference TEXT NOT NULL, payment TEXT NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY(gateway, payment, reference), UNIQUE(gateway, reference)) STRICT, WITHOUT ROWID;
    CREATE TABLE parked(gateway TEXT PRIMARY KEY, n INTEGER NOT NULL) STRICT;
    CREATE TABLE entitlements(
        id TEXT PRIMARY KEY, order_id TEXT NOT NULL UNIQUE REFERENCES orders(id), holder BLOB NOT NULL,
        release BLOB NOT NULL, granted INTEGER NOT NULL, body BLOB NOT NULL, signature BLOB NOT NULL,
        covered INTEGER NOT NULL, ended TEXT) STRICT;
    CREATE INDEX entitlements_of_holder ON entitlements(holder, granted);
    CREATE INDEX entitlements_of_release ON entitlements(release);

    CREATE TABLE plugins(
        plugin TEXT PRIMARY KEY, highest TEXT, version TEXT, enabled INTEGER NOT NULL, grants TEXT NOT NULL,
        changed INTEGER NOT NULL) STRICT;

    CREATE TABLE kv(plugin TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, PRIMARY KEY(plugin, key))
        STRICT, WITHOUT ROWID;
    CREATE TABLE kv_usage(plugin TEXT PRIMARY KEY, bytes INTEGER NOT NULL, entries INTEGER NOT NULL) STRICT;
    CREATE TABLE cursors(consumer TEXT PRIMARY KEY, seq INTEGER NOT NULL) STRICT;
    CREATE TABLE sessions(
        cookie BLOB PRIMARY KEY, handle TEXT NOT NULL UNIQUE, holder BLOB, created INTEGER NOT NULL,
        expires INTEGER NOT NULL) STRICT;
    CREATE INDEX sessions_by_end ON sessions(expires);
",
    "
    CREATE TABLE trust(one INTEGER PRIMARY KEY CHECK(one = 1), serial INTEGER NOT NULL, digest TEXT NOT NULL) STRICT;
",
    "ALTER TABLE orders ADD COLUMN country TEXT;",
    // A work is known by its publisher's key, of 64 digits, and its slug.
    "
    ALTER TABLE works ADD COLUMN number INTEGER NOT NULL DEFAULT 0;
    UPDATE works SET number = (SELECT count(*) FROM works w
        WHERE substr(w.work, 1, 64) = substr(works.work, 1, 64) AND w.changed <= works.changed);
    CREATE INDEX works_of_publisher ON works(substr(work, 1, 64), number);
",
    "
    CREATE TABLE receipts(
        id BLOB PRIMARY KEY, release BLOB NOT NULL, seeder BLOB NOT NULL, downloader BLOB NOT NULL,
        bytes INTEGER NOT NULL, delivered INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE INDEX receipts_of_downloader ON receipts(release, downloader);
",
];

/// The tables that are made from the log alone, children first.
pub(crate) const PROJECTIONS: &[&str] = &[
    "entitlements",
    "reports",
    "parked",
    "payments",
    "orders",
    "files",
    "tags",
    "works",
    "releases",
    "plugins",
    "trust",
    "receipts",
];

/// Is the linked SQLite recent enough?
pub(crate) fn check_sqlite() -> Result<()> {
    accept_sqlite(rusqlite::version_number(), rusqlite::version())
}

fn accept_sqlite(number: i32, found: &'static str) -> Result<()> {
    if number < OLDEST_SQLITE { Err(Error::OldSqlite { found }) } else { Ok(()) }
}

/// The writer's connection, with the file checked and its schema brought up to date.
pub(crate) fn open_writer(path: &Path) -> Result<Connection> {
    let opened = || -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags)?;
        settings(&conn)?;
        conn.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0))?;
        // Each commit reaches the disk before it is acknowledged; the writer moves the WAL into the file itself.
        conn.pragma_update(None, "synchronous", "FULL")?;
        conn.query_row("PRAGMA wal_autocheckpoint = 0", [], |_| Ok(()))?;
        Ok(conn)
    };
    let mut conn = opened().map_err(|source| classify(path, source))?;
    let found: String =
        conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(|source| classify(path, source))?;
    if found != "ok" {
        return Err(Error::Damaged { path: path.to_owned(), what: found });
    }
    migrate(&mut conn, path, STEPS)?;
    Ok(conn)
}

/// One of the connections for reading.
pub(crate) fn open_reader(path: &Path) -> Result<Connection> {
    let opened = || -> rusqlite::Result<Connection> {
        let conn =
            Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        settings(&conn)?;
        Ok(conn)
    };
    opened().map_err(|source| classify(path, source))
}

fn settings(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_timeout(Duration::from_secs(5))?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    // A plan does not depend on what is bound. Else SQLite parses many a kept statement anew whenever that changes, which was
    // a tenth of a search page.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "trusted_schema", false)?;
    conn.pragma_update(None, "cell_size_check", true)?;
    conn.query_row("PRAGMA mmap_size = 0", [], |_| Ok(())).or_else(|e| match e {
        rusqlite::Error::QueryReturnedNoRows => Ok(()),
        other => Err(other),
    })?;
    conn.set_prepared_statement_cache_capacity(64);
    Ok(())
}

fn classify(path: &Path, source: rusqlite::Error) -> Error {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    match source.sqlite_error_code() {
        Some(DatabaseCorrupt | NotADatabase) => Error::Damaged { path: path.to_owned(), what: source.to_string() },
        _ => Error::Open { path: path.to_owned(), source },
    }
}

/// Brings the schema up to date, all steps in one transaction; keeps a copy of an older file beside it first.
pub(crate) fn migrate(conn: &mut Connection, path: &Path, steps: &[&str]) -> Result<()> {
    let fail = |source| classify(path, source);
    let found: u32 = conn.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(fail)?;
    let known = u32::try_from(steps.len()).unwrap_or(u32::MAX);
    if found > known {
        return Err(Error::NewerSchema { path: path.to_owned(), found, known });
    }
    if found == known {
        return Ok(());
    }
    if found > 0 {
        let copy = path.with_extension(format!("schema-{found}.db"));
        // A copy that an interrupted start left may be cut short.
        let _ = std::fs::remove_file(&copy);
        conn.execute("VACUUM INTO ?1", [copy.to_string_lossy()]).map_err(fail)?;
    }
    let tx = conn.transaction().map_err(fail)?;
    for step in steps.iter().skip(found as usize) {
        tx.execute_batch(step).map_err(fail)?;
    }
    tx.pragma_update(None, "user_version", known).map_err(fail)?;
    tx.commit().map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_a_sqlite_that_can_lose_data() {
        assert!(matches!(accept_sqlite(3_051_002, "3.51.2"), Err(Error::OldSqlite { .. })));
        assert!(accept_sqlite(3_051_003, "3.51.3").is_ok());
        check_sqlite().unwrap();
    }

    #[test]
    fn a_kept_statement_is_parsed_once_whatever_is_bound() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.db");
        let writer = open_writer(&path).unwrap();
        for conn in [&writer, &open_reader(&path).unwrap()] {
            let mut statement =
                conn.prepare("SELECT release FROM works WHERE work = ?1 AND listed IS NOT NULL").unwrap();
            for work in ["a", "b", "c"] {
                assert!(!statement.exists([work]).unwrap());
            }
            assert_eq!(statement.get_status(rusqlite::StatementStatus::RePrepare), 0);
        }
    }

    #[test]
    fn the_writer_flushes_every_commit_and_trusts_no_schema() {
        let dir = tempfile::tempdir().unwrap();
        let conn = open_writer(&dir.path().join("ledger.db")).unwrap();
        let number = |name: &str| conn.query_row(&format!("PRAGMA {name}"), [], |r| r.get::<_, i64>(0)).unwrap();
        // `synchronous` 2 is FULL (<https://sqlite.org/pragma.html#pragma_synchronous>).
        let expected = [
            ("synchronous", 2),
            ("wal_autocheckpoint", 0),
            ("foreign_keys", 1),
            ("trusted_schema", 0),
            ("cell_size_check", 1),
            ("busy_timeout", 5000),
        ];
        for (name, value) in expected {
            assert_eq!(number(name), value, "{name}");
        }
        let mode: String = conn.query_row("PRAGMA journal_mode", [], |r| r.get(0)).unwrap();
        assert_eq!(mode, "wal");
        assert!(conn.db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE).unwrap());
    }

    #[test]
    fn a_payments_events_are_found_without_reading_its_gateways_others() {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(STEPS[0]).unwrap();
        let plan = format!("EXPLAIN QUERY PLAN {}", crate::payment::REPORTS);
        let plan: String = conn.query_row(&plan, ["", ""], |row| row.get("detail")).unwrap();
        assert_eq!(plan, "SEARCH reports USING PRIMARY KEY (gateway=? AND payment=?)");
    }

    #[test]
    fn a_failed_step_leaves_the_old_schema_and_a_copy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.db");
        let mut conn = Connection::open(&path).unwrap();
        migrate(&mut conn, &path, &["CREATE TABLE a(x); INSERT INTO a VALUES(7);"]).unwrap();
        let bad = ["", "CREATE TABLE b(x);", "CREATE TABLE nonsense nonsense;"];
        migrate(&mut conn, &path, &bad).unwrap_err();
        let version = |c: &Connection| c.query_row("PRAGMA user_version", [], |r| r.get::<_, u32>(0)).unwrap();
        assert_eq!(version(&conn), 1);
        let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0)).unwrap();
        assert_eq!(tables, 1, "the step before the bad one is undone too");
        migrate(&mut conn, &path, &["", "CREATE TABLE b(x);"]).unwrap();
        assert_eq!(version(&conn), 2);
        let copy = Connection::open(dir.path().join("ledger.schema-1.db")).unwrap();
        assert_eq!(copy.query_row("SELECT x FROM a", [], |r| r.get::<_, i64>(0)).unwrap(), 7);
        assert!(matches!(migrate(&mut conn, &path, &[""]), Err(Error::NewerSchema { found: 2, known: 1, .. })));
    }
}
