use fondaco_sdk::{Money, Offer, Terms, Work, fake};

use super::*;
use crate::open::tests::{NOW, entitlement, work};

fn lend() -> Entitlement {
    Entitlement { expires: Some("2030-01-08T12:00:00Z".into()), ..entitlement() }
}

fn offering(devices: Option<u32>) -> Work {
    let terms = Terms {
        scheme: None,
        lasts: None,
        devices,
        territories: Vec::new(),
        available_from: None,
        available_until: None,
    };
    let price = Money { amount: "499".into(), asset: "EUR".into(), exponent: 2 };
    Work { offers: vec![Offer { id: "buy".into(), price, suggested: None, splits: Vec::new(), terms }], ..work() }
}

fn state(e: &Entitlement, now: OffsetDateTime) -> LicenseState {
    status(e, now).unwrap().state
}

fn days(n: i64) -> OffsetDateTime {
    NOW + Duration::days(n)
}

#[test]
fn is_ready_then_active_then_revoked_and_never_again() {
    let _host = fake::Host::install();
    let e = entitlement();
    assert_eq!(state(&e, NOW), LicenseState::Ready);
    let active = register(&e, "d1", "Phone", NOW).unwrap();
    assert_eq!((active.state, active.devices, active.ends), (LicenseState::Active, 1, None));
    assert_eq!(register(&e, "d1", "Phone", NOW).unwrap().devices, 1, "the same device again");
    assert_eq!(revoke(&e, "charged back", NOW).unwrap().state, LicenseState::Revoked);
    assert!(
        matches!(revoke(&e, "again", NOW), Err(Error::Invalid(t)) if t.contains("already") && t.contains("charged back"))
    );
    assert!(
        matches!(register(&e, "d2", "Car", NOW), Err(Error::Denied(t)) if t.contains("revoked at 2030-01-01T12:00:00Z"))
    );
    assert!(admit(&e, "d1", NOW).is_err());
}

#[test]
fn what_no_device_had_is_cancelled() {
    let _host = fake::Host::install();
    assert_eq!(revoke(&entitlement(), "a mistake", NOW).unwrap().state, LicenseState::Cancelled);
    assert!(revoke(&entitlement(), "", NOW).is_err());
}

#[test]
fn a_licence_is_for_as_many_devices_as_were_sold() {
    let host = fake::Host::install();
    host.work(offering(Some(2)));
    let e = entitlement();
    assert_eq!(admit(&e, "d1", NOW).unwrap().devices, Some(2));
    register(&e, "d2", "Car", NOW).unwrap();
    assert!(matches!(admit(&e, "d3", NOW), Err(Error::Exhausted(t)) if t.contains("2 devices") && t.contains("Car")));
    assert!(admit(&e, "d1", NOW).is_ok(), "a device that has it may ask again");
    host.work(offering(Some(5)));
    assert!(admit(&e, "d3", NOW).is_err(), "the limit is that of the sale");
    let later = Entitlement { id: "ent-2".into(), ..e };
    assert_eq!(admit(&later, "d1", NOW).unwrap().devices, Some(5));
}

#[test]
fn without_a_limit_the_list_of_devices_still_ends() {
    let host = fake::Host::install();
    host.work(offering(None));
    for i in 0..MAX_DEVICES {
        register(&entitlement(), &format!("d{i}"), "one of many", NOW).unwrap();
    }
    assert!(matches!(register(&entitlement(), "one more", "x", NOW), Err(Error::Exhausted(_))));
    for bad in ["", "a\nb", &"x".repeat(201)] {
        assert!(matches!(register(&lend(), bad, "x", NOW), Err(Error::Invalid(_))));
        assert!(matches!(register(&lend(), "x", bad, NOW), Err(Error::Invalid(_))));
    }
}

#[test]
fn a_loan_expires_and_cannot_be_moved_after_that() {
    let host = fake::Host::install();
    host.settings(&serde_json::json!({ "renewals": 9 }));
    let e = lend();
    register(&e, "d1", "Phone", NOW).unwrap();
    assert_eq!(state(&e, days(7) - Duration::SECOND), LicenseState::Active);
    assert_eq!(state(&e, days(7)), LicenseState::Expired);
    assert!(matches!(renew(&e, None, days(7)), Err(Error::Denied(t)) if t.contains("expired at 2030-01-08T12:00:00Z")));
    assert!(give_back(&e, "d1", days(7)).is_err());
    assert!(register(&e, "d2", "Car", days(7)).is_err());
    assert!(revoke(&e, "late", days(7)).is_err());
    assert_eq!(status(&e, days(7)).unwrap().renewable_until, None);
}

#[test]
fn a_loan_is_given_back_once_from_one_of_its_devices() {
    let _host = fake::Host::install();
    let e = lend();
    register(&e, "d1", "Phone", NOW).unwrap();
    assert!(matches!(give_back(&e, "d2", NOW), Err(Error::Invalid(_))));
    assert_eq!(give_back(&e, "d1", NOW).unwrap().state, LicenseState::Returned);
    assert!(matches!(give_back(&e, "d1", NOW), Err(Error::Denied(t)) if t.contains("returned")));
    assert!(matches!(revoke(&e, "x", NOW), Err(Error::Invalid(t)) if t.contains("returned already")));
    let bought = Entitlement { id: "bought".into(), ..entitlement() };
    register(&bought, "d1", "Phone", NOW).unwrap();
    assert!(matches!(give_back(&bought, "d1", NOW), Err(Error::Invalid(t)) if t.contains("only loans")));
}

#[test]
fn a_loan_is_renewed_as_often_and_as_far_as_the_settings_say() {
    let host = fake::Host::install();
    let e = lend();
    assert!(matches!(renew(&e, None, NOW), Err(Error::Denied(_))), "by default it is not");
    host.settings(&serde_json::json!({ "renewals": 2, "renewal-days": 7 }));
    assert_eq!(status(&e, NOW).unwrap().renewable_until.as_deref(), Some("2030-01-15T12:00:00Z"));
    for bad in ["2030-01-08T12:00:00Z", "2030-01-15T12:00:01Z", "soon"] {
        assert!(matches!(renew(&e, Some(bad), NOW), Err(Error::Invalid(_))), "{bad}");
    }
    assert_eq!(renew(&e, Some("2030-01-10T12:00:00Z"), NOW).unwrap().ends.as_deref(), Some("2030-01-10T12:00:00Z"));
    let twice = renew(&e, None, NOW).unwrap();
    assert_eq!((twice.ends.as_deref(), twice.renewable_until), (Some("2030-01-17T12:00:00Z"), None));
    assert!(matches!(renew(&e, None, NOW), Err(Error::Denied(t)) if t.contains("renewed 2 times")));
    let behind = Entitlement { state: EntitlementState::Expired, ..e.clone() };
    assert_eq!(state(&behind, days(10)), LicenseState::Ready, "the node does not know of the renewal");
    assert_eq!(admit(&e, "d1", days(10)).unwrap().ends, Some(days(16)));
    assert_eq!(state(&e, days(16)), LicenseState::Expired);
    let bought = Entitlement { id: "bought".into(), ..entitlement() };
    assert!(matches!(renew(&bought, None, NOW), Err(Error::Invalid(t)) if t.contains("nothing to renew")));
}

#[test]
fn the_word_of_the_node_comes_first() {
    let _host = fake::Host::install();
    let with = |state| Entitlement { state, ..entitlement() };
    for (node, ours) in [
        (EntitlementState::Active, LicenseState::Ready),
        (EntitlementState::Suspended, LicenseState::Revoked),
        (EntitlementState::Revoked, LicenseState::Revoked),
        (EntitlementState::Returned, LicenseState::Returned),
        (EntitlementState::Expired, LicenseState::Expired),
    ] {
        assert_eq!(state(&with(node), NOW), ours, "{node:?}");
        assert_eq!(admit(&with(node), "d1", NOW).is_ok(), node == EntitlementState::Active, "{node:?}");
    }
    assert!(
        matches!(admit(&with(EntitlementState::Suspended), "d1", NOW), Err(Error::Denied(t)) if t.contains("suspended"))
    );
}

#[test]
fn a_stale_call_stores_nothing() {
    let _host = fake::Host::install();
    let e = entitlement();
    let mut stale = Standing::load(&e, NOW).unwrap();
    register(&e, "d1", "Phone", NOW).unwrap();
    stale.add_device("d2", "Car").unwrap();
    assert!(!stale.store().unwrap());
    assert_eq!(status(&e, NOW).unwrap().devices, 1);
}

#[test]
fn a_damaged_record_is_an_error_and_not_a_new_licence() {
    let _host = fake::Host::install();
    let e = entitlement();
    storage::apply(&[Write::Put(Entry { key: key(&e).unwrap(), value: b"{".to_vec() })]).unwrap();
    assert!(matches!(admit(&e, "d1", NOW), Err(Error::Internal(_))));
}
