//! The file: damaged, locked, too new, stopped, copied.

use std::os::unix::fs::PermissionsExt;

use fondaco_ledger::{Error, KvEntry, KvQuota, KvWrite};
use rusqlite::Connection;

use crate::*;

#[tokio::test]
async fn a_damaged_file_is_refused_in_words_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.db");
    let ledger = open(&path);
    for n in 0..20 {
        publish(&ledger, &format!("w{n}"), 1, "5.00 EUR").await;
    }
    ledger.close().await;
    let sound = std::fs::read(&path).unwrap();
    // A table that opening does not read: only the check of the whole file finds it.
    let page: u32 = Connection::open(&path)
        .unwrap()
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'kv_usage'", [], |row| row.get(0))
        .unwrap();
    let mut hidden = sound.clone();
    let page = page as usize;
    hidden[(page - 1) * 4096..page * 4096].fill(0xaa);
    let cut = sound[..sound.len() / 2].to_vec();
    let mut overwritten = sound.clone();
    overwritten[4096..].iter_mut().for_each(|b| *b = 0xaa);
    for damaged in
        [hidden, cut, overwritten, b"this is no database, but it is longer than its header would be".repeat(99)]
    {
        std::fs::write(&path, &damaged).unwrap();
        let refused = Ledger::open(&path, options()).err().unwrap();
        assert!(matches!(refused, Error::Damaged { .. }), "{refused:?}");
        assert!(refused.to_string().ends_with("restore it from a backup"), "{refused}");
        assert_eq!(std::fs::read(&path).unwrap(), damaged);
    }
    std::fs::write(&path, &sound).unwrap();
    assert_eq!(open(&path).count().await.unwrap(), 20);
}

#[tokio::test]
async fn one_file_has_one_owner_and_a_closed_ledger_writes_nothing() {
    let (dir, ledger) = fresh();
    let path = dir.path().join("ledger.db");
    let refused = Ledger::open(&path, options()).err().unwrap();
    assert!(matches!(refused, Error::InUse { .. }), "{refused:?}");
    publish(&ledger, "night", 1, "5.00 EUR").await;
    ledger.close().await;
    ledger.close().await;
    let late = ledger.create_order(new_order(1, "5.00 EUR"), START).await;
    assert!(matches!(late, Err(Error::Stopped { .. })));
    assert_eq!(open(&path).count().await.unwrap(), 1);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_file_of_a_later_program_is_refused() {
    let (dir, ledger) = fresh();
    ledger.close().await;
    let path = dir.path().join("ledger.db");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(Ledger::open(&path, options()), Err(Error::NewerSchema { found: 99, .. })));
}

#[tokio::test]
async fn a_write_that_the_file_cannot_take_stops_the_ledger_and_keeps_what_was() {
    let (dir, ledger) = fresh();
    let path = dir.path().join("ledger.db");
    publish(&ledger, "night", 1, "5.00 EUR").await;
    // Another program holds the file for longer than the writer waits: the commit cannot be made.
    let intruder = Connection::open(&path).unwrap();
    intruder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let put = KvWrite::Put(KvEntry { key: b"k".into(), value: b"v".into() });
    let failed = ledger.kv_apply("p", KvQuota::of_bytes(100), vec![put.clone()]).await;
    assert!(matches!(failed, Err(Error::Stopped { .. })), "{failed:?}");
    intruder.execute_batch("ROLLBACK").unwrap();
    let after = ledger.kv_apply("p", KvQuota::of_bytes(100), vec![put.clone()]).await;
    assert!(matches!(after, Err(Error::Stopped { .. })), "{after:?}");
    assert!(ledger.stats().is_stopped);
    assert_eq!(ledger.count().await.unwrap(), 1, "reads go on");
    drop(ledger);
    let ledger = open(&path);
    assert_eq!(ledger.kv_get("p", b"k").await.unwrap(), None);
    ledger.kv_apply("p", KvQuota::of_bytes(100), vec![put]).await.unwrap();
    assert_eq!(ledger.count().await.unwrap(), 1);
}

#[tokio::test]
async fn a_copy_made_in_use_is_a_whole_ledger() {
    let (dir, ledger) = fresh();
    publish(&ledger, "night", 1, "5.00 EUR").await;
    let copy = dir.path().join("copy.db");
    ledger.backup_to(&copy).await.unwrap();
    publish(&ledger, "day", 1, "5.00 EUR").await;
    ledger.backup_to(&copy).await.unwrap();
    assert_eq!(ledger.integrity_check().await.unwrap(), Vec::<String>::new());
    let copied = open(&copy);
    assert_eq!(copied.verify_chain().await.unwrap(), ledger.head().await.unwrap());
    assert_eq!(copied.count().await.unwrap(), 2);
}

#[tokio::test]
async fn the_write_ahead_log_is_moved_into_the_file_as_it_grows() {
    let (dir, ledger) = fresh();
    for n in 0..40_u8 {
        let put = KvWrite::Put(KvEntry { key: vec![n], value: vec![n; 1 << 20] });
        ledger.kv_apply("p", KvQuota::NONE, vec![put]).await.unwrap();
    }
    assert!(ledger.stats().checkpoints >= 5);
    let wal = std::fs::metadata(dir.path().join("ledger.db-wal")).unwrap().len();
    assert!(wal < 20 << 20, "the WAL has {wal} bytes");
}
