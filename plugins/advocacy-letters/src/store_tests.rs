use std::cell::RefCell;

use super::*;
use crate::testing::{node, today};

thread_local! {
    static RIVAL: RefCell<Option<Box<dyn FnMut()>>> = RefCell::default();
}

/// Called by `commit` between reading and writing: the moment at which another instance may come first.
pub(crate) fn before_apply() {
    // Taken out while it runs, so that the rival's own commits are not rivalled.
    let rival = RIVAL.with_borrow_mut(Option::take);
    if let Some(mut rival) = rival {
        rival();
        RIVAL.with_borrow_mut(|r| *r = Some(rival));
    }
}

/// Lets `rival` come first, at every change.
pub(crate) fn rivalled(rival: impl FnMut() + 'static) {
    RIVAL.with_borrow_mut(|r| *r = Some(Box::new(rival)));
}

fn id(text: &str) -> Id {
    text.parse().unwrap()
}

fn one(campaign: &Id, action: &Id, place: Option<&str>) {
    let placement = place.map(|p| p.parse().unwrap());
    let tally = Tally { campaign, action, class: EvidenceClass::Unconfirmed, placement: placement.as_ref() };
    commit(|plan| plan.count(tally, today().day())).unwrap();
}

#[test]
fn counts_exactly_when_others_come_first() {
    let _host = node();
    let mut left = 30;
    // Rivals come first three times for each change, then let it through.
    rivalled(move || {
        left -= 1;
        if left % 4 != 0 {
            one(&id("c"), &id("a"), None);
        }
    });
    for _ in 0..7 {
        one(&id("c"), &id("a"), None);
    }
    rivalled(|| {});
    let n = counts(&id("c")).unwrap()[0].n;
    let leaves = leaves(&id("c"), 0).unwrap();
    assert!(n > 7, "the rivals were there");
    assert_eq!(leaves.len() as u64, n, "every count is one entry of the log, and no count is lost");
}

#[test]
fn gives_up_in_words_when_it_never_gets_through_and_counts_nothing() {
    let _host = node();
    rivalled(|| one(&id("c"), &id("a"), None));
    let (campaign, action) = (id("c"), id("a"));
    let tally = Tally { campaign: &campaign, action: &action, class: EvidenceClass::Confirmed, placement: None };
    let error = commit(|plan| plan.count(tally, today().day())).unwrap_err();
    rivalled(|| {});
    assert!(matches!(error, Error::Unavailable(text) if text.contains("try again")));
    assert!(counts(&campaign).unwrap().iter().all(|c| c.class == EvidenceClass::Unconfirmed));
}

#[test]
fn the_public_log_is_a_chain_without_gaps() {
    let _host = node();
    for _ in 0..3 {
        one(&id("c"), &id("a"), Some("paper"));
    }
    let raw = leaves(&id("c"), 0).unwrap();
    let mut before = "0".repeat(64);
    for (i, bytes) in raw.iter().enumerate() {
        let leaf: Leaf = serde_json::from_slice(bytes).unwrap();
        assert_eq!((leaf.number, leaf.before.as_str()), (i as u64, before.as_str()));
        assert!(!String::from_utf8_lossy(bytes).contains("paper"), "where a person stood is not published");
        before = blake3::hash(bytes).to_hex().to_string();
    }
    assert_eq!(leaves(&id("c"), 2).unwrap(), raw[2..]);
    assert!(leaves(&id("c"), 3).unwrap().is_empty());
}

#[test]
fn visitors_cannot_fill_the_store_with_placements() {
    let _host = node();
    for i in 0..MAX_PLACES + 5 {
        one(&id("c"), &id("a"), Some(&format!("p{i}")));
    }
    one(&id("c"), &id("a"), Some("p0"));
    let counters = counters(Some(&id("c"))).unwrap();
    assert_eq!(counters.len(), MAX_PLACES + 1);
    let n = |place: &str| counters.iter().find(|c| c.placement == place).unwrap().n;
    assert_eq!((n(""), n("p0")), (5, 2), "the rest is counted without a placement");
    assert_eq!(counts(&id("c")).unwrap()[0].n, MAX_PLACES as u64 + 6);
}

#[test]
fn a_pseudonym_is_one_for_each_purpose_and_tells_nothing() {
    let _host = node();
    let of = |purpose: &str, text: &str| pseudonym(purpose, text).unwrap();
    assert_eq!(of("persons", "a@b.example"), of("persons", "a@b.example"));
    assert_ne!(of("persons", "a@b.example"), of("sessions", "a@b.example"));
    assert_ne!(of("persons", "a@b.example"), blake3::hash(b"a@b.example").to_hex().to_string());
}
