//! Receipts against a plain model, and killed in the middle: nothing counts twice, and nobody's receipts for a release
//! come to more than the release has.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use fondaco_ledger::{NewReceipt, Taken};
use proptest::prelude::*;

use crate::*;

/// Bytes of a release of the tests.
const SIZE: u64 = 14;
const CHILD: &str = "FONDACO_LEDGER_TEST_RECEIPTS";

fn receipt(n: u64, release: ReleaseId, seeder: u8, downloader: u8, bytes: u64) -> NewReceipt {
    NewReceipt {
        id: *blake3::hash(&n.to_be_bytes()).as_bytes(),
        release,
        seeder: PublicKey::new([seeder; 32]),
        downloader: [downloader; 32],
        bytes,
        delivered: START,
    }
}

type Sums = BTreeMap<(ReleaseId, PublicKey), (u64, u64)>;

async fn sums(ledger: &Ledger) -> Sums {
    let all = ledger.deliveries(1000).await.unwrap();
    all.into_iter().map(|d| ((d.release, d.seeder), (d.receipts, d.bytes))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn what_is_counted_is_what_a_plain_model_counts(
        sent in prop::collection::vec((0_u64..12, 0_usize..3, 0_u8..3, 0_u8..3, 0_u64..20), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (dir, ledger) = fresh();
            let releases = [publish(&ledger, "a", 1, "0.00 EUR").await, publish(&ledger, "b", 1, "1.00 EUR").await, ReleaseId::new([0; 32])];
            let (mut seen, mut had, mut model) = (BTreeSet::new(), BTreeMap::<_, u64>::new(), Sums::new());
            for (n, release, seeder, downloader, bytes) in sent {
                let id = releases[release];
                let taken = ledger.take_receipts(vec![receipt(n, id, seeder, downloader, bytes)], START).await.unwrap();
                let had = had.entry((id, downloader)).or_default();
                let expected = if seen.contains(&n) {
                    Taken::Known
                } else if release == 2 {
                    Taken::NoRelease
                } else if bytes == 0 || *had + bytes > SIZE {
                    Taken::TooMuch
                } else {
                    seen.insert(n);
                    *had += bytes;
                    let sum = model.entry((id, PublicKey::new([seeder; 32]))).or_default();
                    *sum = (sum.0 + 1, sum.1 + bytes);
                    Taken::New
                };
                prop_assert_eq!(taken, vec![expected]);
            }
            prop_assert_eq!(sums(&ledger).await, model.clone());
            ledger.rebuild().await.unwrap();
            prop_assert_eq!(sums(&ledger).await, model.clone(), "after a rebuild");
            ledger.close().await;
            drop(ledger);
            prop_assert_eq!(sums(&open(&dir.path().join("ledger.db"))).await, model, "after a restart");
            Ok::<_, TestCaseError>(())
        })?;
    }
}

/// Takes in receipts without end, each of a downloader of its own, and says each once it was acknowledged.
async fn child(path: &Path) {
    let ledger = open(path);
    let (release, id, envelope) = release("a", 1, "0.00 EUR");
    ledger.record_release(&release, id, envelope, START).await.unwrap();
    for n in 0_u64.. {
        let mut one = receipt(n, id, 1, 0, 3);
        one.downloader[..8].copy_from_slice(&n.to_be_bytes());
        ledger.take_receipts(vec![one], START).await.unwrap();
        println!("acknowledged {n} .");
    }
}

#[tokio::test]
async fn a_kill_between_loses_nothing_and_what_is_sent_again_is_counted_once() {
    if let Ok(path) = std::env::var(CHILD) {
        return child(Path::new(&path)).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.db");
    for round in 0..3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "receipts::a_kill_between_loses_nothing_and_what_is_sent_again_is_counted_once",
                "--nocapture",
            ])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        // The child begins with the same receipts each time, as a downloader does that had no answer.
        let said = lines.filter_map(|l| l.strip_prefix("acknowledged ")?.strip_suffix(" .")?.parse::<u64>().ok());
        let acknowledged = said.take(20 + 13 * round).last().unwrap() + 1;
        child.kill().unwrap();
        child.wait().unwrap();
        let ledger = open(&path);
        ledger.verify_chain().await.unwrap();
        let one = ledger.deliveries(10).await.unwrap().remove(0);
        assert!(one.receipts >= acknowledged, "{} of {acknowledged}", one.receipts);
        assert_eq!((one.bytes, one.downloaders), (3 * one.receipts, one.receipts));
    }
}

#[tokio::test]
async fn a_downloader_has_so_many_receipts_of_a_release_however_small_they_are() {
    let (_dir, ledger) = fresh();
    let (mut body, id, envelope) = release("a", 1, "0.00 EUR");
    body.files[0].size = 1000;
    ledger.record_release(&body, id, envelope, START).await.unwrap();
    let small = (0..100).map(|n| receipt(n, id, 1, 1, 1)).collect();
    let taken = ledger.take_receipts(small, START).await.unwrap();
    assert_eq!(taken.iter().filter(|taken| **taken == Taken::New).count(), 64);
    let another = ledger.take_receipts(vec![receipt(100, id, 1, 2, 1)], START).await.unwrap();
    assert_eq!(another, [Taken::New], "another has his own");
}

#[tokio::test]
async fn no_receipt_is_for_more_than_a_blob_can_have() {
    let (_dir, ledger) = fresh();
    let (mut body, id, envelope) = release("a", 1, "0.00 EUR");
    // A publisher may write what it likes into a release whose files are not here.
    body.files[0].size = 1 << 62;
    ledger.record_release(&body, id, envelope, START).await.unwrap();
    let taken = ledger.take_receipts(vec![receipt(1, id, 1, 1, 1 << 62), receipt(2, id, 1, 2, 1 << 40)], START).await;
    assert_eq!(taken.unwrap(), [Taken::TooMuch, Taken::New]);
    assert_eq!(ledger.deliveries(10).await.unwrap()[0].bytes, 1 << 40);
}

#[tokio::test]
async fn a_release_has_so_many_receipts_whoever_signs_them() {
    let (dir, ledger) = fresh();
    let id = publish(&ledger, "a", 1, "0.00 EUR").await;
    ledger.close().await;
    drop(ledger);
    let path = dir.path().join("ledger.db");
    // All but the last, each of a downloader of its own. Taken in one by one they would be minutes.
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 99999)
        INSERT INTO receipts(id, release, seeder, downloader, bytes, delivered)
        SELECT CAST(printf('%032d', i) AS BLOB), ?1, zeroblob(32), CAST(printf('%032d', i) AS BLOB), 1, 0 FROM n";
    let conn = rusqlite::Connection::open(&path).unwrap();
    assert_eq!(conn.execute(many, [id.as_bytes()]).unwrap(), 99_999);
    drop(conn);
    let ledger = open(&path);
    let taken = ledger.take_receipts(vec![receipt(1, id, 1, 1, 1), receipt(2, id, 1, 2, 1)], START).await.unwrap();
    assert_eq!(taken, [Taken::New, Taken::TooMuch]);
}
