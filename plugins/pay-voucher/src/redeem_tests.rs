use std::collections::BTreeMap;

use fondaco_sdk::{EventKind, PaymentGateway, PaymentRequest, fake, storage};
use proptest::prelude::*;

use super::*;
use crate::Voucher;
use crate::batch::Printed;
use crate::clock::now;
use crate::issue::Issue;

/// `count` codes of a new batch.
pub(crate) fn codes(value: &str, count: u32, expires: Option<Day>) -> Vec<String> {
    let value: fondaco_schemas::Money = value.parse().unwrap();
    let printed = Printed { each: value.minor, count, expires, title: None, at: stamp(now()) };
    Issue::new(value, printed).unwrap().codes().unwrap().into_iter().map(|(_, text)| text).collect()
}

pub(crate) fn request(payment: &str, total: &str, code: Option<&str>) -> PaymentRequest {
    let total: fondaco_schemas::Money = total.parse().unwrap();
    PaymentRequest {
        payment: payment.into(),
        order: "order".into(),
        title: "An album".into(),
        total: fondaco_sdk::Money {
            amount: total.minor.to_string(),
            asset: total.asset.to_string(),
            exponent: total.exponent,
        },
        return_url: String::new(),
        cancel_url: String::new(),
        webhook_url: String::new(),
        resource_url: String::new(),
        locale: "en".into(),
        test_mode: false,
        input: code.map(|c| Field { name: "code".into(), value: c.into() }).into_iter().collect(),
    }
}

pub(crate) fn pay(payment: &str, total: &str, code: &str) -> Result<(Step, Vec<PaymentEvent>)> {
    Voucher::begin(request(payment, total, Some(code)))
}

/// What every event says, without its moment.
fn told(events: &[PaymentEvent]) -> Vec<(String, EventKind, String)> {
    events.iter().map(|e| (e.reference.clone(), e.kind, e.amount.amount.clone())).collect()
}

fn label(step: &Step) -> &str {
    let Step::Ask(fields) = step else { panic!("asks for nothing: {step:?}") };
    assert_eq!(fields[0].name, "code");
    &fields[0].label
}

/// The code in a presentation.
pub(crate) fn shown(step: &Step) -> String {
    let Step::Present(p) = step else { panic!("presents nothing: {step:?}") };
    assert_eq!(p.uri, None);
    p.text.rsplit(' ').next().unwrap().to_owned()
}

fn refused(result: Result<(Step, Vec<PaymentEvent>)>, refusal: &Refusal) {
    let Err(Error::Invalid(text)) = result else { panic!("not refused: {result:?}") };
    assert_eq!(text, refusal.text("en"));
}

fn worth(text: &str) -> u64 {
    Code::read(text).unwrap().unwrap().value.minor
}

#[test]
fn asks_for_a_code_and_takes_it() {
    let _host = fake::Host::install();
    let code = &codes("4.99 EUR", 1, None)[0];
    let (step, events) = Voucher::begin(request("p", "4.99 EUR", None)).unwrap();
    assert_eq!((label(&step), events.len()), ("Voucher code", 0));
    // Nothing is known of it so far, so the node begins again, with the code.
    let input = request("p", "4.99 EUR", Some(code)).input;
    assert!(matches!(Voucher::advance("p".into(), input), Err(Error::NotFound)));
    let (step, events) = Voucher::begin(request("p", "4.99 EUR", Some(code))).unwrap();
    assert!(matches!(step, Step::Done), "{step:?}");
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].kind, events[0].amount.amount.as_str()), (EventKind::Charged, "499"));
}

#[test]
fn the_same_code_and_payment_give_the_same_events_and_charge_once() {
    let _host = fake::Host::install();
    let code = &codes("10.00 EUR", 1, None)[0];
    let (first, events) = pay("p", "4.99 EUR", code).unwrap();
    for _ in 0..3 {
        let (step, again) = pay("p", "4.99 EUR", &code.to_lowercase()).unwrap();
        assert_eq!(told(&again), told(&events));
        assert_eq!(shown(&step), shown(&first));
    }
    assert_eq!(told(&Voucher::fetch("p".into()).unwrap()), told(&events));
    assert_eq!(events.len(), 1);
}

#[test]
fn another_payment_with_a_used_code_is_refused() {
    let _host = fake::Host::install();
    let code = &codes("5.00 EUR", 1, None)[0];
    pay("p", "5.00 EUR", code).unwrap();
    refused(pay("q", "5.00 EUR", code), &Refusal::Used);
    assert!(Voucher::fetch("q".into()).unwrap().is_empty());
}

#[test]
fn a_smaller_code_leaves_a_rest_that_is_named_exactly() {
    let _host = fake::Host::install();
    let codes = codes("5.00 EUR", 3, None);
    let (step, events) = pay("p", "12.34 EUR", &codes[0]).unwrap();
    assert_eq!(label(&step), "A further voucher code: 7.34 EUR is left to pay");
    assert_eq!(told(&events)[0].2, "500");
    let (step, _) = pay("p", "12.34 EUR", &codes[0]).unwrap();
    assert_eq!(label(&step), "A further voucher code: 7.34 EUR is left to pay", "the same code pays no second time");
    pay("p", "12.34 EUR", &codes[1]).unwrap();
    let (step, events) = pay("p", "12.34 EUR", &codes[2]).unwrap();
    assert_eq!(told(&events).iter().map(|e| e.2.as_str()).collect::<Vec<_>>(), ["500", "500", "234"]);
    assert_eq!(worth(&shown(&step)), 266);
}

#[test]
fn change_is_a_code_that_pays_and_lasts_as_long_as_the_first() {
    let _host = fake::Host::install();
    let day = Day(Day::of(now()).0 + 10);
    let code = &codes("10.00 EUR", 1, Some(day))[0];
    let change = shown(&pay("p", "4.00 EUR", code).unwrap().0);
    assert_eq!(Code::read(&change).unwrap().unwrap().expires, Some(day));
    let (step, events) = pay("q", "1.00 EUR", &change).unwrap();
    assert_eq!((told(&events)[0].2.as_str(), worth(&shown(&step))), ("100", 500), "change of change");
    refused(pay("r", "1.00 EUR", &change), &Refusal::Used);
}

#[test]
fn a_covered_payment_takes_no_further_code() {
    let _host = fake::Host::install();
    let codes = codes("5.00 EUR", 2, None);
    pay("p", "5.00 EUR", &codes[0]).unwrap();
    assert_eq!(pay("p", "5.00 EUR", &codes[1]).unwrap().1.len(), 1);
    pay("q", "5.00 EUR", &codes[1]).unwrap();
    assert!(matches!(Voucher::begin(request("free", "0.00 EUR", None)).unwrap().0, Step::Done));
}

#[test]
fn says_what_is_wrong_with_a_code() {
    let _host = fake::Host::install();
    let usd = &codes("5.00 USD", 1, None)[0];
    let order = "EUR".parse().unwrap();
    refused(pay("p", "5.00 EUR", usd), &Refusal::Unit { code: "USD".parse().unwrap(), order });
    refused(pay("p", "5.00 EUR", "hello"), &Refusal::NoCode);
    refused(pay("p", "5.00 EUR", &usd[..usd.len() - 1]), &Refusal::Mistyped);
    let expired = codes("5.00 EUR", 1, Some(Day(20_000)));
    refused(pay("p", "5.00 EUR", &expired[0]), &Refusal::Expired(Day(20_000)));
    assert!(Voucher::fetch("p".into()).unwrap().is_empty());
    let french = PaymentRequest { locale: "fr".into(), ..request("fr", "5.00 EUR", Some(usd)) };
    assert!(matches!(Voucher::begin(french), Err(Error::Invalid(t)) if t.contains("cette commande est en EUR")));
}

#[test]
fn the_last_day_still_counts() {
    let _host = fake::Host::install();
    let code = &codes("5.00 EUR", 1, Some(Day(20_000)))[0];
    let payment = Payment::open(&request("p", "5.00 EUR", None)).unwrap();
    let last = OffsetDateTime::from_unix_timestamp(20_001 * 86_400 - 1).unwrap();
    assert!(plan(&payment, code, last).unwrap().is_some());
    let over = plan(&payment, code, last + time::Duration::SECOND);
    assert!(matches!(over, Err(Halt::Refused(Refusal::Expired(_)))));
}

#[test]
fn a_unit_of_another_exponent_is_another_unit() {
    let _host = fake::Host::install();
    let code = &codes("5.00 EUR", 1, None)[0];
    let mut other = request("p", "5.00 EUR", Some(code));
    other.total.exponent = 3;
    assert!(matches!(Voucher::begin(other), Err(Error::Invalid(t)) if t.contains("another unit")));
}

#[test]
fn a_payment_begun_over_one_sum_is_not_gone_on_with_over_another() {
    let _host = fake::Host::install();
    let code = &codes("1.00 EUR", 1, None)[0];
    Voucher::begin(request("p", "5.00 EUR", Some(code))).unwrap();
    for total in ["5.01 EUR", "5.00 USD"] {
        assert!(matches!(Voucher::begin(request("p", total, None)), Err(Error::Invalid(_))), "{total}");
    }
    assert!(matches!(Voucher::advance("unknown".into(), Vec::new()), Err(Error::NotFound)));
    for (amount, asset) in
        [("-1", "EUR"), ("1.5", "EUR"), ("+1", "EUR"), ("", "EUR"), ("99999999999999999999", "EUR"), ("1", "euro")]
    {
        let mut odd = request("odd", "1.00 EUR", None);
        (odd.total.amount, odd.total.asset) = (amount.into(), asset.into());
        assert!(matches!(Voucher::begin(odd), Err(Error::Invalid(_))), "{amount} {asset}");
    }
}

#[test]
fn a_payment_is_made_up_of_a_bounded_number_of_codes() {
    let _host = fake::Host::install();
    let codes = codes("0.01 EUR", u32::try_from(MAX_CODES).unwrap() + 1, None);
    for code in &codes[..MAX_CODES] {
        pay("p", "100.00 EUR", code).unwrap();
    }
    refused(pay("p", "100.00 EUR", &codes[MAX_CODES]), &Refusal::TooMany);
}

/// Every order in which so many callers can each do two steps.
fn interleavings(callers: usize) -> Vec<Vec<usize>> {
    fn grow(left: &mut [usize], order: &mut Vec<usize>, all: &mut Vec<Vec<usize>>) {
        if left.iter().all(|l| *l == 0) {
            all.push(order.clone());
        }
        for caller in 0..left.len() {
            if left[caller] > 0 {
                left[caller] -= 1;
                order.push(caller);
                grow(left, order, all);
                order.pop();
                left[caller] += 1;
            }
        }
    }
    let mut all = Vec::new();
    grow(&mut vec![2; callers], &mut Vec::new(), &mut all);
    all
}

#[test]
fn of_three_callers_with_one_code_one_spends_it_in_every_interleaving() {
    let orders = interleavings(3);
    assert_eq!(orders.len(), 90);
    for order in orders {
        let _host = fake::Host::install();
        let code = &codes("10.00 EUR", 1, None)[0];
        // Two callers of one payment (a repeat) and one of another.
        let payments: Vec<Payment> =
            ["p", "p", "q"].iter().map(|id| Payment::open(&request(id, "4.00 EUR", None)).unwrap()).collect();
        let mut plans: BTreeMap<usize, std::result::Result<Option<Plan>, Halt>> = BTreeMap::new();
        let mut committed = 0;
        for caller in order.iter().copied() {
            match plans.remove(&caller) {
                None => {
                    let payment = Payment::load(&payments[caller].id).unwrap_or_else(|_| payments[caller].clone());
                    plans.insert(caller, plan(&payment, code, now()));
                }
                Some(Ok(Some(plan))) => committed += usize::from(commit(&plan.writes).unwrap()),
                Some(_) => {}
            }
        }
        assert_eq!(committed, 1, "{order:?}");
        let charged: u64 = ["p", "q"].iter().map(|id| Payment::load(id).map_or(0, |payment| payment.charged())).sum();
        assert_eq!(charged, 400, "{order:?}");
        // Whoever lost and asks again learns how things stand.
        let (p, q) = (pay("p", "4.00 EUR", code), pay("q", "4.00 EUR", code));
        assert_eq!(usize::from(p.is_ok()) + usize::from(q.is_ok()), 1, "{order:?}");
    }
}

#[test]
fn whoever_only_looks_leaves_nothing_behind() {
    let _host = fake::Host::install();
    let begun = request("p", "4.00 EUR", None);
    let payment = Payment::open(&begun).unwrap();
    assert!(matches!(go_on(&payment, &[], now()).unwrap().0, Step::Ask(_)));
    assert!(matches!(Payment::load("p"), Err(Error::NotFound)));
}

#[test]
fn two_codes_at_once_on_one_payment_never_pay_too_much() {
    let _host = fake::Host::install();
    let codes = codes("3.00 EUR", 2, None);
    let payment = Payment::open(&request("p", "4.00 EUR", None)).unwrap();
    let plans = [0, 1].map(|i| plan(&payment, &codes[i], now()).unwrap().unwrap());
    assert!(commit(&plans[0].writes).unwrap());
    assert!(!commit(&plans[1].writes).unwrap(), "it was planned on a payment that has changed since");
    let (step, events) = pay("p", "4.00 EUR", &codes[1]).unwrap();
    assert_eq!(told(&events).iter().map(|e| e.2.as_str()).collect::<Vec<_>>(), ["300", "100"]);
    assert_eq!(worth(&shown(&step)), 200);
}

#[test]
fn a_transaction_that_was_cut_off_leaves_nothing_behind() {
    let host = fake::Host::install();
    let code = &codes("10.00 EUR", 1, None)[0];
    let payment = Payment::open(&request("p", "4.00 EUR", None)).unwrap();
    let before = host.stored_keys();
    drop(plan(&payment, code, now()).unwrap().unwrap());
    assert_eq!(host.stored_keys(), before);
    assert_eq!(pay("p", "4.00 EUR", code).unwrap().1.len(), 1);
}

#[test]
fn a_damaged_record_is_an_error_and_not_an_unspent_code() {
    let _host = fake::Host::install();
    let code = &codes("5.00 EUR", 1, None)[0];
    let id = Code::read(code).unwrap().unwrap().id;
    let entry = storage::Entry { key: used_key(id), value: b"not json".to_vec() };
    storage::apply(&[Write::Put(entry)]).unwrap();
    assert!(matches!(pay("p", "5.00 EUR", code), Err(Error::Internal(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever is paid with whichever codes, and whatever is paid back: issued = charged - refunded + still good.
    #[test]
    fn no_cent_is_made_or_lost(
        each in 1_u64..2000,
        steps in prop::collection::vec((0_usize..6, 0_usize..12, 1_u64..3000, prop::bool::weighted(0.2)), 1..60),
    ) {
        let _host = fake::Host::install();
        let unit: fondaco_schemas::Money = "0.00 EUR".parse().unwrap();
        let value = fondaco_schemas::Money { minor: each, ..unit };
        let mut wallet = codes(&value.to_string(), 8, None);
        let issued = each * 8;
        let mut open = BTreeMap::new();
        for (step, (payment, code, amount, back)) in steps.iter().enumerate() {
            let id = format!("p{payment}");
            let total = open.entry(id.clone()).or_insert(*amount);
            let total = fondaco_schemas::Money { minor: *total, ..value.clone() }.to_string();
            if *back {
                let money = fondaco_sdk::Money { amount: amount.to_string(), asset: "EUR".into(), exponent: 2 };
                if Voucher::refund(id.clone(), money, format!("k{step}")).is_ok() {
                    wallet.push(Payment::load(&id).unwrap().facts().refunds.last().unwrap().text.clone());
                }
            } else {
                let code = wallet[code % wallet.len()].clone();
                if let Ok((Step::Present(_), _)) = pay(&id, &total, &code) {
                    let change = Payment::load(&id).unwrap().facts().change.clone().unwrap().text;
                    if !wallet.contains(&change) {
                        wallet.push(change);
                    }
                }
            }
            let good: u64 = wallet.iter().map(|text| Code::read(text).unwrap().unwrap())
                .filter(|code| used(code.id).unwrap().is_none()).map(|code| code.value.minor).sum();
            let payments: Vec<Payment> = open.keys().filter_map(|id| Payment::load(id).ok()).collect();
            let charged: u64 = payments.iter().map(Payment::charged).sum();
            let refunded: u64 = payments.iter().map(Payment::refunded).sum();
            prop_assert_eq!(issued + refunded, charged + good);
            prop_assert!(payments.iter().all(|p| p.charged() <= p.total().minor && p.refunded() <= p.charged()));
            let books = crate::batch::all().unwrap();
            let owed: u128 = books.iter().map(|(_, b)| b.issued.0 - b.redeemed.0).sum();
            prop_assert_eq!(owed, u128::from(good), "the books agree with the codes");
        }
    }
}
