//! The log itself: what was written is found changed, and everything is made from it.

use fondaco_ledger::{ClockBack, Ending, Error, EventKind, PluginAct, PluginChange};
use rusqlite::Connection;
use rusqlite::types::Value;
use time::Duration;

use crate::*;

/// A ledger in which something of every kind happened.
async fn busy(ledger: &Ledger) {
    publish(ledger, "night", 1, "5.00 EUR").await;
    publish(ledger, "night", 2, "5.00 EUR").await;
    publish(ledger, "day", 1, "0.00 EUR").await;
    ledger.unpublish(&work_id("day"), START).await.unwrap();
    let parked = event(&payment_id(3), "parked", EventKind::Charged, "5.00 EUR");
    let waiting = event(&payment_id(77), "waiting", EventKind::Note, "5.00 EUR");
    ledger.record_payment_events(GATEWAY, vec![parked, waiting], START).await.unwrap();
    for n in 1..4 {
        let (_, payment) = payable(ledger, n, "5.00 EUR").await;
        let paid = event(&payment, format!("r{n}"), EventKind::Charged, "5.00 EUR");
        ledger.record_payment_events(GATEWAY, vec![paid], START + Duration::minutes(1)).await.unwrap();
    }
    let back = event(&payment_id(2), "back", EventKind::ChargedBack, "5.00 EUR");
    ledger.record_payment_events(GATEWAY, vec![back], START).await.unwrap();
    ledger.create_order(new_order(4, "0.00 EUR"), START).await.unwrap();
    let free = ledger.claim_free(&order_id(4), START).await.unwrap();
    ledger.end_entitlement(&free.body.id, Ending::Revoked, "test", START).await.unwrap();
    ledger.create_order(new_order(5, "5.00 EUR"), START).await.unwrap();
    ledger.cancel_order(&order_id(5), START).await.unwrap();
    ledger.create_order(new_order(6, "5.00 EUR"), START).await.unwrap();
    ledger.expire_orders(START + Duration::hours(1)).await.unwrap();
    let version = "1.2.0".parse().unwrap();
    for act in [PluginAct::Installed { version, bundle: "ab".into() }, PluginAct::Enabled] {
        ledger.record_plugin(PluginChange { plugin: "p".into(), act }, START).await.unwrap();
    }
}

/// Everything that the tables hold, but for the log.
fn tables(path: &Path) -> Vec<(String, Vec<Vec<Value>>)> {
    let conn = Connection::open(path).unwrap();
    let mut names =
        conn.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT IN ('events')").unwrap();
    let names: Vec<String> = names.query_map([], |r| r.get(0)).unwrap().map(Result::unwrap).collect();
    let rows = |name: &str| {
        let mut all = conn.prepare(&format!("SELECT * FROM {name} ORDER BY 1, 2")).unwrap();
        let columns = all.column_count();
        let rows = all.query_map([], |r| (0..columns).map(|i| r.get(i)).collect()).unwrap();
        rows.map(Result::unwrap).collect()
    };
    names.into_iter().map(|name| (name.clone(), rows(&name))).collect()
}

#[tokio::test]
async fn a_rebuild_gives_the_same_tables() {
    let (dir, ledger) = fresh();
    busy(&ledger).await;
    let path = dir.path().join("ledger.db");
    let before = tables(&path);
    assert!(before.iter().filter(|(_, rows)| !rows.is_empty()).count() >= 10, "the tables are in use");
    let head = ledger.head().await.unwrap();
    // What the log does not say does not outlive a rebuild.
    let conn = Connection::open(&path).unwrap();
    conn.execute("UPDATE orders SET state = 'fulfilled'", []).unwrap();
    conn.execute("DELETE FROM works", []).unwrap();
    assert_ne!(tables(&path), before);
    assert_eq!(ledger.rebuild().await.unwrap(), head.seq);
    assert_eq!(tables(&path), before);
    assert_eq!(ledger.verify_chain().await.unwrap(), head);
}

#[tokio::test]
async fn every_edit_of_the_log_is_found_and_named() {
    let (dir, ledger) = fresh();
    busy(&ledger).await;
    let head = ledger.verify_chain().await.unwrap();
    ledger.close().await;
    let path = dir.path().join("ledger.db");
    let copy = dir.path().join("copy.db");
    ledger.backup_to(&copy).await.unwrap();
    let conn = Connection::open(&path).unwrap();
    for forbidden in ["UPDATE events SET at = 'x' WHERE seq = 1", "DELETE FROM events WHERE seq = 1"] {
        let refused = conn.execute(forbidden, []).unwrap_err();
        assert!(refused.to_string().contains("events are never"), "{refused}");
    }
    conn.execute_batch("DROP TRIGGER events_are_never_changed; DROP TRIGGER events_are_never_removed").unwrap();
    let mut found = 0;
    for seq in 1..=head.seq {
        for edit in [
            "UPDATE events SET body = CAST(body || ' ' AS BLOB) WHERE seq = ?1",
            "UPDATE events SET at = at || ' ' WHERE seq = ?1",
            "UPDATE events SET kind = 'x' || kind WHERE seq = ?1",
            "UPDATE events SET hash = zeroblob(32) WHERE seq = ?1",
            "DELETE FROM events WHERE seq = ?1",
        ] {
            conn.execute(edit, [i64::try_from(seq).unwrap()]).unwrap();
            match ledger.verify_chain().await {
                Err(Error::Chain { seq: named, .. }) => assert_eq!(named, seq, "{edit}"),
                other => panic!("{edit} of {seq}: {other:?}"),
            }
            found += 1;
            restore(&conn, &copy, seq);
        }
    }
    assert_eq!(found, head.seq * 5);
    assert_eq!(ledger.verify_chain().await.unwrap(), head, "all is as before");
}

/// Puts an event back as the copy has it.
fn restore(conn: &Connection, copy: &Path, seq: u64) {
    conn.execute("ATTACH ?1 AS copy", [copy.to_str().unwrap()]).unwrap();
    let seq = i64::try_from(seq).unwrap();
    conn.execute("INSERT OR REPLACE INTO events SELECT * FROM copy.events WHERE seq = ?1", [seq]).unwrap();
    conn.execute_batch("DETACH copy").unwrap();
}

#[tokio::test]
async fn the_hash_is_the_one_that_is_documented() {
    let (_dir, ledger) = fresh();
    publish(&ledger, "night", 1, "5.00 EUR").await;
    publish(&ledger, "day", 1, "5.00 EUR").await;
    let mut before = vec![0; 32];
    for logged in ledger.events_since(0, 10).await.unwrap() {
        let mut bytes = before;
        bytes.extend(logged.seq.to_le_bytes());
        for text in [&logged.kind, &logged.at] {
            bytes.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
            bytes.extend(text.as_bytes());
        }
        bytes.extend(&logged.body);
        assert_eq!(blake3::hash(&bytes), logged.hash);
        before = logged.hash.to_vec();
    }
    assert_eq!(ledger.head().await.unwrap().hash, before[..]);
}

#[tokio::test]
async fn a_clock_that_went_back_a_day_is_noticed() {
    let (dir, ledger) = fresh();
    publish(&ledger, "night", 1, "5.00 EUR").await;
    let yesterday = START - Duration::hours(25);
    let refused = ledger.unpublish(&work_id("night"), yesterday).await;
    assert!(matches!(refused, Err(Error::ClockWentBack { .. })));
    ledger.create_order(new_order(1, "5.00 EUR"), START - Duration::hours(23)).await.unwrap();
    drop(ledger);
    let accepting = fondaco_ledger::Options { clock_back: ClockBack::Accept, ..options() };
    let ledger = Ledger::open(dir.path().join("ledger.db"), accepting).unwrap();
    ledger.unpublish(&work_id("night"), yesterday).await.unwrap();
}
