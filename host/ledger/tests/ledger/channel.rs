//! The numbers of a publisher's changes.

use crate::*;

#[tokio::test]
async fn every_change_counts_one_and_a_work_stands_at_its_latest() {
    let (_dir, ledger) = fresh();
    let publisher = *work_id("a").publisher();
    for slug in ["a", "b", "c"] {
        publish(&ledger, slug, 1, "5.00 EUR").await;
    }
    publish(&ledger, "a", 2, "5.00 EUR").await;
    // What has nothing to do with the catalogue counts nothing.
    ledger.create_order(new_order(1, "5.00 EUR"), START).await.unwrap();
    ledger.unpublish(&work_id("b"), START).await.unwrap();
    let numbers = async |since| -> Vec<(u64, String, bool)> {
        let all = ledger.channel_since(publisher, since, 99).await.unwrap();
        all.into_iter().map(|l| (l.number, l.work.slug().to_owned(), l.is_listed)).collect()
    };
    let expected = [(3, "c".to_owned(), true), (4, "a".to_owned(), true), (5, "b".to_owned(), false)];
    assert_eq!(numbers(0).await, expected);
    assert_eq!(numbers(3).await, expected[1..]);
    assert_eq!(ledger.channel_sequence(publisher).await.unwrap(), 5);
    ledger.rebuild().await.unwrap();
    assert_eq!(numbers(0).await, expected, "the log alone says it");
    assert_eq!(ledger.channel_sequence(fondaco_schemas::PublicKey::new([9; 32])).await.unwrap(), 0);
    assert_eq!(ledger.channel_since(publisher, 0, 1).await.unwrap().len(), 1);
}
