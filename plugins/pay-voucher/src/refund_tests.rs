use fondaco_sdk::{EventKind, Operator, PaymentGateway, Step, fake};

use super::*;
use crate::Voucher;
use crate::redeem::tests::{codes, pay, request, shown};

fn money(minor: u64, asset: &str) -> Money {
    Money { amount: minor.to_string(), asset: asset.into(), exponent: 2 }
}

fn back(minor: u64, key: &str) -> Result<Vec<PaymentEvent>> {
    Voucher::refund("p".into(), money(minor, "EUR"), key.into())
}

fn paid() -> fake::Host {
    let host = fake::Host::install();
    pay("p", "8.00 EUR", &codes("10.00 EUR", 1, None)[0]).unwrap();
    host
}

#[test]
fn pays_back_once_for_each_key_with_a_code_that_the_operator_gets() {
    let _host = paid();
    let first = back(300, "a").unwrap();
    assert_eq!((first[0].kind, first[0].amount.amount.as_str()), (EventKind::Refunded, "300"));
    assert_eq!(back(300, "a").unwrap()[0].reference, first[0].reference);
    assert_ne!(back(500, "b").unwrap()[0].reference, first[0].reference);

    let text = |key: &str| {
        let input = [("payment".to_owned(), "p".to_owned()), ("key".to_owned(), key.to_owned())];
        String::from_utf8(Voucher::run("refund-code", &input).unwrap().body).unwrap()
    };
    assert_eq!(text("a").lines().count(), 1);
    let code = text("a").split(' ').next().unwrap().to_owned();
    assert_eq!(pay("q", "3.00 EUR", &code).unwrap().1[0].amount.amount, "300");
    assert!(text("b").contains("5.00 EUR"));
    assert!(Voucher::run("refund-code", &[("payment".into(), "q".into())]).is_err());
}

#[test]
fn never_pays_back_more_than_was_paid() {
    let _host = paid();
    back(500, "a").unwrap();
    for minor in [0, 301, u64::MAX] {
        assert!(matches!(back(minor, "b"), Err(Error::Invalid(_))), "{minor}");
    }
    assert!(matches!(Voucher::refund("p".into(), money(1, "USD"), "b".into()), Err(Error::Invalid(_))));
    assert!(matches!(back(499, "a"), Err(Error::Invalid(_))), "the key was over another sum");
    back(300, "b").unwrap();
    assert!(matches!(back(1, "c"), Err(Error::Invalid(_))));
    assert!(matches!(Voucher::refund("none".into(), money(1, "EUR"), "a".into()), Err(Error::NotFound)));
    assert!(matches!(back(1, ""), Err(Error::Invalid(_))));
}

#[test]
fn a_cancelled_payment_takes_no_code_and_gives_back_what_it_took() {
    let _host = fake::Host::install();
    let codes = codes("5.00 EUR", 2, None);
    pay("p", "8.00 EUR", &codes[0]).unwrap();
    let events = Voucher::cancel("p".into(), "k".into()).unwrap();
    let kinds: Vec<_> = events.iter().map(|e| (e.kind, e.amount.amount.as_str())).collect();
    assert_eq!(kinds, [(EventKind::Charged, "500"), (EventKind::Cancelled, "300")]);
    assert_eq!(Voucher::cancel("p".into(), "k".into()).unwrap().len(), 2);
    assert!(matches!(pay("p", "8.00 EUR", &codes[1]), Err(Error::Invalid(t)) if t.contains("cancelled")));
    assert!(matches!(pay("p", "8.00 EUR", &codes[0]).unwrap().0, Step::Done));
    back(500, "a").unwrap();
    pay("q", "5.00 EUR", &codes[1]).unwrap();
}

#[test]
fn what_is_paid_in_full_cannot_be_cancelled() {
    let _host = paid();
    assert!(matches!(Voucher::cancel("p".into(), "k".into()), Err(Error::Invalid(t)) if t.contains("pay it back")));
    assert!(!shown(&pay("q", "8.00 EUR", &codes("9.00 EUR", 1, None)[0]).unwrap().0).is_empty());
}

#[test]
fn a_payment_paid_back_in_part_takes_no_further_code() {
    let _host = fake::Host::install();
    let codes = codes("5.00 EUR", 2, None);
    pay("p", "8.00 EUR", &codes[0]).unwrap();
    back(500, "a").unwrap();
    assert!(matches!(pay("p", "8.00 EUR", &codes[1]), Err(Error::Invalid(_))));
    assert!(matches!(Voucher::begin(request("p", "8.00 EUR", None)).unwrap().0, Step::Done));
}
