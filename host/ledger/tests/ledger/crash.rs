//! Killed at any moment, and two at once. The child is this same test program, told by its environment.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fondaco_ledger::{Error, EventKind, KvEntry, KvQuota, KvWrite, OrderState};
use tokio::task::JoinSet;

use crate::*;

const CHILD: &str = "FONDACO_LEDGER_TEST_CHILD";
const WRITERS: u64 = 8;
const ROUND: u64 = 1_000_000;

fn spawn(test: &str, path: &Path, round: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, format!("{round}:{}", path.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Buys without end, and says each purchase once it was acknowledged.
async fn child(task: &str) {
    let (round, path) = task.split_once(':').unwrap();
    let (round, ledger) = (round.parse::<u64>().unwrap(), open(Path::new(path)));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let ledger = ledger.clone();
        writers.spawn(async move {
            for n in (round * ROUND + writer..).step_by(usize::try_from(WRITERS).unwrap()) {
                let (_, payment) = payable(&ledger, n, "5.00 EUR").await;
                let paid = event(&payment, n.to_string(), EventKind::Charged, "5.00 EUR");
                ledger.record_payment_events(GATEWAY, vec![paid], START).await.unwrap();
                let put = KvWrite::Put(KvEntry { key: n.to_be_bytes().into(), value: vec![1; 100] });
                ledger.kv_apply("p", KvQuota::NONE, vec![put]).await.unwrap();
                println!("acknowledged {n} .");
            }
        });
    }
    writers.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_outlives_a_kill_and_nothing_is_there_twice() {
    if let Ok(task) = std::env::var(CHILD) {
        return child(&task).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.db");
    let mut acknowledged = Vec::new();
    for round in 0..5_u64 {
        let test = "crash::what_was_acknowledged_outlives_a_kill_and_nothing_is_there_twice";
        let mut child = spawn(test, &path, round);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let reader = std::thread::spawn(move || {
            let said = |line: String| line.strip_prefix("acknowledged ")?.strip_suffix(" .")?.parse::<u64>().ok();
            lines.map_while(Result::ok).filter_map(said).collect::<Vec<u64>>()
        });
        // Each round dies at another point of its loop.
        tokio::time::sleep(Duration::from_millis(350 + 37 * round)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged.extend(reader.join().unwrap());

        let ledger = open(&path);
        ledger.verify_chain().await.unwrap();
        for n in &acknowledged {
            let order = ledger.order(&order_id(*n)).await.unwrap().expect("an acknowledged order is there");
            assert_eq!((order.state, order.balance.paid), (OrderState::Fulfilled, money("5.00 EUR")));
            assert_eq!(ledger.library(holder(*n), START).await.unwrap().len(), 1);
            assert!(ledger.kv_get("p", &n.to_be_bytes()).await.unwrap().is_some());
        }
        // The same again, as a gateway would tell it after a lost answer.
        if let Some(n) = acknowledged.last() {
            let again = event(&payment_id(*n), n.to_string(), EventKind::Charged, "5.00 EUR");
            let outcome = ledger.record_payment_events(GATEWAY, vec![again], START).await.unwrap();
            assert_eq!((outcome.recorded, outcome.repeated), (0, 1));
        }
        ledger.close().await;
        let conn = rusqlite::Connection::open(&path).unwrap();
        let count = |sql| conn.query_row(sql, [], |r| r.get::<_, i64>(0)).unwrap();
        let granted = count("SELECT count(*) FROM events WHERE kind = 'entitlement.granted'");
        assert_eq!(granted, count("SELECT count(*) FROM orders WHERE state = 'fulfilled'"));
        assert_eq!(granted, count("SELECT count(*) FROM events WHERE kind = 'payment.reported'"));
    }
    assert!(acknowledged.len() > 20, "the children wrote: {}", acknowledged.len());
}

#[tokio::test]
async fn a_second_process_is_refused() {
    if let Ok(task) = std::env::var(CHILD) {
        let refused = Ledger::open(task.split_once(':').unwrap().1, options()).err().unwrap();
        assert!(matches!(refused, Error::InUse { .. }), "{refused:?}");
        println!("refused: {refused} .");
        return;
    }
    let (dir, ledger) = fresh();
    let path = dir.path().join("ledger.db");
    let output = spawn("crash::a_second_process_is_refused", &path, 0).wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("is in use by another process: stop that one first ."), "{said}");
    publish(&ledger, "night", 1, "5.00 EUR").await;
}
