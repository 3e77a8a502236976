//! Works, files and the feed for search.

use fondaco_ledger::{Change, Error, Recorded};

use crate::*;

#[tokio::test]
async fn a_later_release_supersedes_and_an_older_one_is_refused() {
    let (_dir, ledger) = fresh();
    let second = publish(&ledger, "night", 2, "5.00 EUR").await;
    let (same, id, envelope) = release("night", 2, "5.00 EUR");
    let again = ledger.record_release(&same, id, envelope.clone(), START).await.unwrap();
    assert_eq!((again, ledger.head().await.unwrap().seq), (Recorded::Known, 1));
    for (sequence, price) in [(1, "5.00 EUR"), (2, "1.00 EUR")] {
        let (other, id, envelope) = release("night", sequence, price);
        let refused = ledger.record_release(&other, id, envelope, START).await;
        assert!(matches!(refused, Err(Error::OldRelease { have: 2, .. })), "{sequence} {price}");
    }
    let third = publish(&ledger, "night", 3, "6.00 EUR").await;
    assert_eq!(ledger.work(&work_id("night")).await.unwrap().unwrap().release_id, third);
    assert_eq!(ledger.release(second).await.unwrap(), Some((same, envelope)));
    assert_eq!(ledger.count().await.unwrap(), 1);
}

#[tokio::test]
async fn an_asset_with_decimals_of_its_own_is_kept_exactly() {
    let (_dir, ledger) = fresh();
    let (mut odd, id, envelope) = release("night", 1, "5.00 EUR");
    let asset = "eip155:1/erc20:0xa0b8".parse().unwrap();
    odd.offers[0].price = Money { minor: 1_234_567, asset, exponent: 6 };
    ledger.record_release(&odd, id, envelope, START).await.unwrap();
    let price = odd.offers[0].price.clone();
    let order = NewOrder { offer: odd.offers[0].clone(), total: price, ..new_order(1, "5.00 EUR") };
    ledger.create_order(order, START).await.unwrap();
    ledger.rebuild().await.unwrap();
    assert_eq!(ledger.work(&work_id("night")).await.unwrap().unwrap().release, odd);
    assert_eq!(ledger.order(&order_id(1)).await.unwrap().unwrap().offer, odd.offers[0]);
}

#[tokio::test]
async fn paging_shows_every_work_once_newest_first() {
    let (_dir, ledger) = fresh();
    for n in 0..7 {
        publish(&ledger, &format!("w{n}"), 1, "5.00 EUR").await;
    }
    ledger.unpublish(&work_id("w3"), START).await.unwrap();
    assert!(matches!(ledger.unpublish(&work_id("w3"), START).await, Err(Error::NoWork(_))));
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = ledger.browse(cursor.as_deref(), 2).await.unwrap();
        assert!(page.works.len() <= 2);
        seen.extend(page.works.iter().map(|w| w.release.work.slug().to_owned()));
        // A new release between two pages moves nothing.
        if seen.len() == 2 {
            publish(&ledger, "w1", 2, "5.00 EUR").await;
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["w6", "w5", "w4", "w2", "w1", "w0"]);
    assert_eq!(ledger.work(&work_id("w3")).await.unwrap(), None);
    assert!(matches!(ledger.browse(Some("x"), 2).await, Err(Error::Cursor(_))));
    publish(&ledger, "w3", 1, "5.00 EUR").await;
    assert_eq!(ledger.browse(None, 1).await.unwrap().works[0].release.work.slug(), "w3", "listed again");
}

#[tokio::test]
async fn which_works_are_listed_is_said_in_the_order_of_the_question() {
    let (_dir, ledger) = fresh();
    for slug in ["a", "b", "c"] {
        publish(&ledger, slug, 1, "5.00 EUR").await;
    }
    ledger.unpublish(&work_id("b"), START).await.unwrap();
    let asked = ["c", "b", "nobody", "a", "c"].map(work_id);
    assert_eq!(ledger.are_listed(&asked).unwrap(), [true, false, false, true, true]);
    assert_eq!(ledger.are_listed(&[]).unwrap(), [false; 0]);
    for work in asked {
        let listed = ledger.work(&work).await.unwrap().is_some();
        assert_eq!(ledger.are_listed(std::slice::from_ref(&work)).unwrap(), [listed], "{work}");
    }
    publish(&ledger, "b", 2, "5.00 EUR").await;
    assert_eq!(ledger.are_listed(&[work_id("b")]).unwrap(), [true], "listed again");
}

#[tokio::test]
async fn works_of_a_slug_are_found_whoever_publishes_them() {
    let (_dir, ledger) = fresh();
    publish(&ledger, "night", 1, "5.00 EUR").await;
    publish(&ledger, "a-night", 1, "5.00 EUR").await;
    let (mut other, _, envelope) = release("night", 1, "5.00 EUR");
    other.work = WorkId::new(PublicKey::new([2; 32]), "night").unwrap();
    ledger.record_release(&other, ReleaseId::new([9; 32]), envelope, START).await.unwrap();
    let mut both = [work_id("night"), other.work.clone()];
    both.sort_by_key(ToString::to_string);
    assert_eq!(ledger.with_slug("night", 8).await.unwrap(), both);
    assert_eq!(ledger.with_slug("night", 1).await.unwrap(), both[..1]);
    ledger.unpublish(&work_id("night"), START).await.unwrap();
    assert_eq!(ledger.with_slug("night", 8).await.unwrap(), [other.work], "what is not listed is not found");
    assert_eq!(ledger.with_slug("nigh%", 8).await.unwrap(), []);
}

#[tokio::test]
async fn a_large_release_is_not_read_on_the_callers_thread() {
    let (_dir, ledger) = fresh();
    let sized = |slug: &str, bytes: usize| {
        let (release, id, envelope) = release(slug, 1, "5.00 EUR");
        (Release { description: "x".repeat(bytes), ..release }, id, envelope)
    };
    for (slug, bytes) in [("small", 60_000), ("large", 70_000)] {
        let (release, id, envelope) = sized(slug, bytes);
        ledger.record_release(&release, id, envelope, START).await.unwrap();
    }
    let whole = ledger.work(&work_id("small")).await.unwrap();
    assert!(whole.is_some());
    assert_eq!(ledger.small_work(&work_id("small")).unwrap(), whole);
    assert_eq!(ledger.small_work(&work_id("large")).unwrap(), None);
    assert_eq!(ledger.work(&work_id("large")).await.unwrap().unwrap().release.description.len(), 70_000);
    ledger.unpublish(&work_id("small"), START).await.unwrap();
    assert_eq!(ledger.small_work(&work_id("small")).unwrap(), None);
    assert_eq!(ledger.small_work(&work_id("nobody")).unwrap(), None);
}

#[tokio::test]
async fn a_blob_is_found_wherever_it_is_used() {
    let (_dir, ledger) = fresh();
    let (first, first_id, _) = release("night", 1, "0.00 EUR");
    publish(&ledger, "night", 1, "0.00 EUR").await;
    publish(&ledger, "night", 2, "5.00 EUR").await;
    let (content, cover) = (first.files[0].hash, first.files[1].hash);
    let uses = ledger.file_uses(content).await.unwrap();
    assert_eq!(uses.len(), 1);
    assert_eq!((uses[0].release, uses[0].is_current, uses[0].is_free), (first_id, false, true));
    assert_eq!((&uses[0].file, &uses[0].work), (&first.files[0], &first.work));
    let current: Vec<_> = ledger.file_uses(cover).await.unwrap();
    assert_eq!(current.iter().filter(|u| u.is_current && !u.is_free).count(), 1);
    assert_eq!(current.len(), 2);
    assert_eq!(ledger.file_uses(BlobHash::new([0; 32])).await.unwrap(), []);
}

#[tokio::test]
async fn the_feed_tells_each_works_last_state_in_order() {
    let (_dir, ledger) = fresh();
    for slug in ["a", "b", "c"] {
        publish(&ledger, slug, 1, "5.00 EUR").await;
    }
    publish(&ledger, "a", 2, "5.00 EUR").await;
    ledger.unpublish(&work_id("b"), START).await.unwrap();
    let told = |changes: &[(u64, Change)]| -> Vec<(u64, String)> {
        let name = |c: &Change| match c {
            Change::Upsert(work) => format!("{} {}", work.release.work.slug(), work.release.sequence),
            Change::Remove(work) => format!("-{}", work.slug()),
        };
        changes.iter().map(|(seq, change)| (*seq, name(change))).collect()
    };
    let all = ledger.changes_since(0, 10).await.unwrap();
    assert_eq!(told(&all), [(3, "c 1".into()), (4, "a 2".into()), (5, "-b".into())]);
    assert_eq!(ledger.changes_since(0, 2).await.unwrap(), all[..2]);
    assert_eq!(ledger.changes_since(4, 10).await.unwrap(), all[2..]);
    assert_eq!(ledger.cursor("search-index").await.unwrap(), 0);
    for (set, found) in [(4, 4), (3, 4), (5, 5), (0, 0)] {
        ledger.set_cursor("search-index", set).await.unwrap();
        assert_eq!(ledger.cursor("search-index").await.unwrap(), found);
    }
}
