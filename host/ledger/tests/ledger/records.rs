//! Sessions, plugins and tallies.

use std::collections::{BTreeMap, BTreeSet};

use fondaco_ledger::{Error, EventKind, NewSession, PluginAct, PluginChange, TrustSeen};
use time::Duration;

use crate::*;

#[tokio::test]
async fn a_session_is_found_until_it_ends() {
    let (_dir, ledger) = fresh();
    let end = START + Duration::days(1);
    let new = NewSession { cookie_hash: [5; 32], handle: "s1".into(), holder: None, expires: end };
    ledger.create_session(new.clone(), START).await.unwrap();
    let twice = NewSession { cookie_hash: [6; 32], ..new.clone() };
    assert!(matches!(ledger.create_session(twice, START).await, Err(Error::Taken { .. })));
    ledger.set_session_holder("s1", Some(holder(1))).await.unwrap();
    let found = ledger.session_by_cookie([5; 32], START).await.unwrap().unwrap();
    assert_eq!((found.handle.as_str(), found.holder, found.expires), ("s1", Some(holder(1)), end));
    assert_eq!(ledger.session_by_handle("s1", START).await.unwrap(), Some(found));
    assert_eq!(ledger.session_by_cookie([6; 32], START).await.unwrap(), None);
    assert_eq!(ledger.session_by_cookie([5; 32], end).await.unwrap(), None);
    ledger.extend_session("s1", end + Duration::days(1)).await.unwrap();
    assert!(ledger.session_by_cookie([5; 32], end).await.unwrap().is_some());
    assert_eq!(ledger.expire_sessions(end).await.unwrap(), 0);
    assert_eq!(ledger.expire_sessions(end + Duration::days(1)).await.unwrap(), 1);
    assert!(matches!(ledger.set_session_holder("s1", None).await, Err(Error::NoSession)));
    ledger.create_session(new, START).await.unwrap();
    ledger.delete_session("s1").await.unwrap();
    assert_eq!(ledger.session_by_handle("s1", START).await.unwrap(), None);
    assert_eq!(ledger.head().await.unwrap().seq, 0, "a session leaves no trace in the chain");
}

#[tokio::test]
async fn the_highest_version_outlives_removal_and_refusals_only_stand_in_the_log() {
    let (_dir, ledger) = fresh();
    let record = async |act| ledger.record_plugin(PluginChange { plugin: "p".into(), act }, START).await.unwrap();
    record(PluginAct::Denied { reason: "unknown signer".into() }).await;
    assert_eq!(ledger.plugin("p").await.unwrap(), None);
    for version in ["1.9.0", "1.10.0", "1.2.0"] {
        record(PluginAct::Installed { version: version.parse().unwrap(), bundle: "ab".into() }).await;
    }
    record(PluginAct::Granted { capabilities: vec!["storage".into()] }).await;
    record(PluginAct::Enabled).await;
    let found = ledger.plugin("p").await.unwrap().unwrap();
    assert_eq!(found.highest, Some("1.10.0".parse().unwrap()));
    assert_eq!((found.version, found.is_enabled), (Some("1.2.0".parse().unwrap()), true));
    assert_eq!(found.grants, ["storage"]);
    record(PluginAct::Removed).await;
    let found = ledger.plugins().await.unwrap().remove(0);
    assert_eq!((found.version, found.is_enabled, found.grants.len()), (None, false, 0));
    assert_eq!(ledger.highest_version("p").await.unwrap(), Some("1.10.0".parse().unwrap()));
    let killed = PluginAct::Incidents {
        since: START,
        version: "1.2.0".into(),
        denied: [("storage".into(), 3)].into(),
        throttled: BTreeMap::new(),
        killed: [("deadline".into(), 5)].into(),
        openings: 1,
        quarantined: false,
    };
    record(killed.clone()).await;
    assert!(!ledger.plugin("p").await.unwrap().unwrap().is_enabled, "what it did changes nothing but the log");
    let other = PluginChange { plugin: "q".into(), act: PluginAct::Enabled };
    ledger.record_plugin(other.clone(), START).await.unwrap();
    let trail = ledger.plugin_events(Some("p"), 2).await.unwrap();
    assert_eq!(
        trail.iter().map(|e| (e.seq, &e.change.act)).collect::<Vec<_>>(),
        [(8, &killed), (7, &PluginAct::Removed)]
    );
    assert_eq!(ledger.plugin_events(None, 1).await.unwrap()[0].change, other);
    assert_eq!(ledger.plugin_events(Some("p"), 100).await.unwrap().len(), 8);
    let log = ledger.events_since(0, 10).await.unwrap();
    assert_eq!(log[0].body, br#"{"plugin":"p","act":"denied","reason":"unknown signer"}"#);
}

#[tokio::test]
async fn going_back_changes_the_version_and_not_the_highest() {
    let (_dir, ledger) = fresh();
    let version = |text: &str| text.parse::<semver::Version>().unwrap();
    let record = async |act| ledger.record_plugin(PluginChange { plugin: "p".into(), act }, START).await.unwrap();
    for v in ["1.0.0", "2.0.0"] {
        record(PluginAct::Installed { version: version(v), bundle: "ab".into() }).await;
    }
    let back = PluginAct::RolledBack { from: version("2.0.0"), to: version("1.0.0"), reason: "it failed".into() };
    record(back).await;
    record(PluginAct::Held { version: version("3.0.0"), bundle: "cd".into(), asks: vec!["mail".into()] }).await;
    let found = ledger.plugin("p").await.unwrap().unwrap();
    assert_eq!((found.version, found.highest), (Some(version("1.0.0")), Some(version("2.0.0"))));
}

#[tokio::test]
async fn the_highest_serial_of_the_trust_file_is_remembered() {
    let (dir, ledger) = fresh();
    assert_eq!(ledger.trust_seen().await.unwrap(), None);
    let seen = |serial, digest: &str| TrustSeen { serial, digest: digest.into() };
    for next in [seen(3, "aa"), seen(7, "bb"), seen(7, "cc"), seen(5, "dd")] {
        ledger.record_trust(next, START).await.unwrap();
    }
    assert_eq!(ledger.trust_seen().await.unwrap(), Some(seen(7, "cc")));
    ledger.rebuild().await.unwrap();
    assert_eq!(ledger.trust_seen().await.unwrap(), Some(seen(7, "cc")), "a rebuild gives the same");
    ledger.close().await;
    drop(ledger);
    assert_eq!(open(&dir.path().join("ledger.db")).trust_seen().await.unwrap(), Some(seen(7, "cc")));
}

#[tokio::test]
async fn purchases_are_summed_by_unit_and_tag_and_free_ones_are_none() {
    let (_dir, ledger) = fresh();
    publish(&ledger, "night", 1, "5.00 EUR").await;
    let huge = Money { minor: i64::MAX.unsigned_abs(), ..money("0.00 EUR") };
    let sums = [money("5.00 EUR"), money("2.50 EUR"), money("7.00 USD"), huge.clone(), huge, money("9.00 EUR")];
    for (n, total) in (1..).zip(sums) {
        let mut order = new_order(n, "0.00 EUR");
        order.offer.price = total.zero();
        order.total = total.clone();
        order.holder = holder(n % 2);
        if n == 6 {
            order.work = work_id("untagged");
        }
        ledger.create_order(order, START).await.unwrap();
        ledger.open_payment(&order_id(n), &payment_id(n), GATEWAY, START).await.unwrap();
        let paid = PaymentEvent { amount: total, ..event(&payment_id(n), n.to_string(), EventKind::Charged, "0 EUR") };
        ledger
            .record_payment_events(GATEWAY, vec![paid], START + Duration::minutes(i64::try_from(n).unwrap()))
            .await
            .unwrap();
    }
    ledger.create_order(new_order(8, "0.00 EUR"), START).await.unwrap();
    ledger.claim_free(&order_id(8), START + Duration::minutes(9)).await.unwrap();
    let early = ledger.count_purchases(Some("jazz"), None).await.unwrap();
    assert_eq!((early.count, early.buyers), (5, 2));
    // Two halves of the greatest sum and some more: it stops there and does not wrap.
    assert_eq!(early.gross, [Money { minor: u64::MAX, ..money("0 EUR") }, money("7.00 USD")]);
    let back = event(&payment_id(1), "back", EventKind::Refunded, "5.00 EUR");
    ledger.record_payment_events(GATEWAY, vec![back], START).await.unwrap();
    let all = ledger.count_purchases(None, Some(START + Duration::minutes(6))).await.unwrap();
    assert_eq!((all.count, all.buyers, all.gross), (1, 1, vec![money("9.00 EUR")]));
    assert_eq!(ledger.count_purchases(Some("jazz"), None).await.unwrap().count, 4, "a refund is no purchase");
    let none = ledger.count_purchases(Some("rock"), None).await.unwrap();
    assert_eq!((none.count, none.gross), (0, vec![]));
}

#[test]
fn errors_read_well() {
    let shown: BTreeSet<String> = [
        Error::InUse { path: "a/ledger.db".into() },
        Error::Stopped { why: "a commit failed: disk I/O error".into() },
        Error::Quota { plugin: "p".into(), what: "bytes", needed: 12, quota: 10 },
        Error::WrongState { order: order_id(1), state: fondaco_ledger::OrderState::Expired, act: "paid" },
        Error::TooMuch { what: "the key", found: 600, most: 512 },
    ]
    .iter()
    .map(Error::to_string)
    .collect();
    let expected = [
        "ledger stopped: a commit failed: disk I/O error",
        "order ord_aaaaaaaaaaaacaaaaaaaaaaaae is expired and cannot be paid",
        "the key has 600 where at most 512 are allowed",
        "the ledger a/ledger.db is in use by another process: stop that one first",
        "the space of p is full: it would hold 12 bytes, and may hold 10",
    ];
    assert_eq!(shown.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}
