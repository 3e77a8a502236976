//! From order to right.

use std::collections::HashMap;

use fondaco_ledger::{Ending, EntitlementState, Error, EventKind, NewOrder, OrderState, PaymentState};
use proptest::prelude::*;
use time::Duration;
use tokio::task::JoinSet;

use crate::*;

#[tokio::test]
async fn a_covered_order_grants_one_signed_right() {
    let (_dir, ledger) = fresh();
    let (order, payment) = payable(&ledger, 1, "5.00 EUR").await;
    assert_eq!(ledger.order(&order).await.unwrap().unwrap().state, OrderState::Pending);
    let first = event(&payment, "a", EventKind::Charged, "3.00 EUR");
    let rest = event(&payment, "b", EventKind::Charged, "2.50 EUR");
    assert!(ledger.record_payment_events(GATEWAY, vec![first], START).await.unwrap().granted.is_empty());
    let part = ledger.order(&order).await.unwrap().unwrap();
    assert_eq!((part.state, part.balance.due, part.entitlement), (OrderState::Pending, money("2.00 EUR"), None));
    let outcome = ledger.record_payment_events(GATEWAY, vec![rest.clone(), rest], START).await.unwrap();
    assert_eq!((outcome.recorded, outcome.repeated, outcome.granted.len()), (1, 1, 1));
    let whole = ledger.order(&order).await.unwrap().unwrap();
    assert_eq!((whole.state, whole.balance.over), (OrderState::Fulfilled, money("0.50 EUR")));
    let library = ledger.library(holder(1), START).await.unwrap();
    assert_eq!(library.len(), 1);
    assert_eq!(library[0].state, EntitlementState::Active);
    assert_eq!(library[0].signature, format!("signed {}", library[0].body.id).into_bytes());
    assert_eq!(Some(&library[0].body.id), whole.entitlement.as_ref());
    assert!(matches!(
        ledger.open_payment(&order, &payment_id(99), GATEWAY, START).await,
        Err(Error::WrongState { state: OrderState::Fulfilled, .. })
    ));
}

#[tokio::test]
async fn money_that_goes_back_suspends_the_right_and_its_return_wakes_it() {
    let (_dir, ledger) = fresh();
    let (order, payment) = payable(&ledger, 1, "5.00 EUR").await;
    let steps = [
        (EventKind::Charged, "5.00 EUR", OrderState::Fulfilled, EntitlementState::Active),
        (EventKind::ChargedBack, "5.00 EUR", OrderState::Refunded, EntitlementState::Suspended),
        (EventKind::ChargeBackReversed, "5.00 EUR", OrderState::Fulfilled, EntitlementState::Active),
        (EventKind::RefundFailed, "5.00 EUR", OrderState::Fulfilled, EntitlementState::Active),
        (EventKind::Refunded, "0.01 EUR", OrderState::Refunded, EntitlementState::Suspended),
    ];
    for (i, (kind, amount, state, right)) in steps.into_iter().enumerate() {
        let events = vec![event(&payment, i.to_string(), kind, amount)];
        ledger.record_payment_events(GATEWAY, events, START).await.unwrap();
        assert_eq!(ledger.order(&order).await.unwrap().unwrap().state, state, "{kind:?}");
        assert_eq!(ledger.library(holder(1), START).await.unwrap()[0].state, right, "{kind:?}");
    }
}

#[tokio::test]
async fn a_payment_in_another_unit_is_seen_and_counts_nothing() {
    let (_dir, ledger) = fresh();
    let (order, payment) = payable(&ledger, 1, "5.00 EUR").await;
    let mut coarse = event(&payment, "b", EventKind::Charged, "5.00 EUR");
    coarse.amount.exponent = 0;
    let events = vec![event(&payment, "a", EventKind::Charged, "5.00 USD"), coarse.clone()];
    let outcome = ledger.record_payment_events(GATEWAY, events, START).await.unwrap();
    assert_eq!((outcome.foreign, outcome.granted.len()), (2, 0));
    let seen = ledger.order(&order).await.unwrap().unwrap();
    assert_eq!(seen.state, OrderState::Pending);
    assert_eq!(seen.balance.foreign, [money("5.00 USD"), coarse.amount]);
    assert_eq!(seen.balance.due, money("5.00 EUR"));
}

#[tokio::test]
async fn events_for_an_unknown_payment_wait_for_it() {
    let (_dir, ledger) = fresh();
    ledger.create_order(new_order(1, "5.00 EUR"), START).await.unwrap();
    let early = event(&payment_id(1), "a", EventKind::Charged, "5.00 EUR");
    let outcome = ledger.record_payment_events(GATEWAY, vec![early], START).await.unwrap();
    assert_eq!((outcome.parked, ledger.parked(GATEWAY).await.unwrap()), (1, 1));
    let payment = ledger.open_payment(&order_id(1), &payment_id(1), GATEWAY, START).await.unwrap();
    assert_eq!((payment.state, ledger.parked(GATEWAY).await.unwrap()), (PaymentState::Charged, 0));
    assert_eq!(ledger.order(&order_id(1)).await.unwrap().unwrap().state, OrderState::Fulfilled);
}

#[tokio::test]
async fn a_gateway_has_no_say_in_anothers_payment() {
    let (_dir, ledger) = fresh();
    let (order, payment) = payable(&ledger, 1, "5.00 EUR").await;
    let lie = event(&payment, "a", EventKind::Charged, "5.00 EUR");
    let outcome = ledger.record_payment_events("pay-liar", vec![lie], START).await.unwrap();
    assert_eq!((outcome.refused, outcome.recorded), (1, 0));
    // Nor where it spoke before the payment was opened.
    ledger.create_order(new_order(2, "5.00 EUR"), START).await.unwrap();
    let lie = event(&payment_id(2), "b", EventKind::Charged, "5.00 EUR");
    ledger.record_payment_events("pay-liar", vec![lie], START).await.unwrap();
    ledger.open_payment(&order_id(2), &payment_id(2), GATEWAY, START).await.unwrap();
    for order in [order, order_id(2)] {
        assert_eq!(ledger.order(&order).await.unwrap().unwrap().state, OrderState::Pending);
    }
    let taken = ledger.open_payment(&order_id(2), &payment_id(1), GATEWAY, START).await;
    assert!(matches!(taken, Err(Error::ForeignPayment(_))));
}

#[tokio::test]
async fn one_key_makes_one_order_and_another_purchase_is_a_conflict() {
    let (_dir, ledger) = fresh();
    let mut clicks = JoinSet::new();
    for n in 0..32 {
        let ledger = ledger.clone();
        // Each click draws its own ids.
        let click = NewOrder { session: "s".into(), holder: holder(0), ..new_order(n, "5.00 EUR") };
        clicks.spawn(async move { ledger.create_order(click, START).await.unwrap().id });
    }
    let ids: std::collections::BTreeSet<_> = clicks.join_all().await.into_iter().collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(ledger.head().await.unwrap().seq, 1);
    let again = NewOrder { session: "s".into(), holder: holder(0), ..new_order(50, "5.00 EUR") };
    let other_release = NewOrder { release: ReleaseId::new([7; 32]), ..again.clone() };
    assert!(ids.contains(&ledger.create_order(other_release, START).await.unwrap().id));
    let others = [
        NewOrder { work: work_id("other"), ..again.clone() },
        NewOrder { holder: holder(8), ..again.clone() },
        NewOrder { total: money("6.00 EUR"), ..again.clone() },
        NewOrder { offer: Offer { id: "rent".into(), ..again.offer.clone() }, ..again.clone() },
    ];
    for other in others {
        assert!(matches!(ledger.create_order(other, START).await, Err(Error::IdempotencyConflict { .. })));
    }
    let reused = NewOrder { idempotency_key: "second".into(), id: ids.into_iter().next().unwrap(), ..again };
    assert!(matches!(ledger.create_order(reused, START).await, Err(Error::Taken { .. })));
}

#[tokio::test]
async fn one_charge_told_by_32_tasks_has_one_effect() {
    let (_dir, ledger) = fresh();
    let (order, payment) = payable(&ledger, 1, "5.00 EUR").await;
    let mut tellers = JoinSet::new();
    for _ in 0..32 {
        let (ledger, told) = (ledger.clone(), event(&payment, "a", EventKind::Charged, "5.00 EUR"));
        tellers.spawn(async move { ledger.record_payment_events(GATEWAY, vec![told], START).await.unwrap() });
    }
    let outcomes = tellers.join_all().await;
    assert_eq!(outcomes.iter().map(|o| o.recorded).sum::<u32>(), 1);
    assert_eq!(outcomes.iter().map(|o| o.granted.len()).sum::<usize>(), 1);
    assert_eq!(ledger.order(&order).await.unwrap().unwrap().balance.paid, money("5.00 EUR"));
    assert_eq!(ledger.library(holder(1), START).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_same_reference_with_another_sum_is_noticed_and_not_believed() {
    let (_dir, ledger) = fresh();
    let (order, payment) = payable(&ledger, 1, "5.00 EUR").await;
    let events = ["1.00 EUR", "5.00 EUR"].map(|sum| event(&payment, "a", EventKind::Charged, sum));
    let outcome = ledger.record_payment_events(GATEWAY, events.into(), START).await.unwrap();
    assert_eq!((outcome.recorded, outcome.differing), (1, 1));
    assert_eq!(ledger.order(&order).await.unwrap().unwrap().balance.paid, money("1.00 EUR"));
}

#[tokio::test]
async fn a_free_order_is_claimed_once_and_a_priced_one_never() {
    let (_dir, ledger) = fresh();
    ledger.create_order(new_order(1, "0.00 EUR"), START).await.unwrap();
    let first = ledger.claim_free(&order_id(1), START).await.unwrap();
    let second = ledger.claim_free(&order_id(1), START + Duration::days(9)).await.unwrap();
    assert_eq!((first.body, EntitlementState::Active), (second.body, second.state));
    assert_eq!(ledger.library(holder(1), START).await.unwrap().len(), 1);
    assert_eq!(ledger.order(&order_id(1)).await.unwrap().unwrap().state, OrderState::Fulfilled);
    ledger.create_order(new_order(2, "0.01 EUR"), START).await.unwrap();
    assert!(matches!(ledger.claim_free(&order_id(2), START).await, Err(Error::WrongState { .. })));
    ledger.create_order(new_order(3, "0.00 EUR"), START).await.unwrap();
    let late = ledger.claim_free(&order_id(3), START + Duration::hours(2)).await;
    assert!(matches!(late, Err(Error::WrongState { state: OrderState::Expired, .. })));
}

#[tokio::test]
async fn an_order_takes_its_offers_price_or_more() {
    let (_dir, ledger) = fresh();
    for total in ["4.99 EUR", "5.00 USD", "0.00 EUR"] {
        let order = NewOrder { total: money(total), ..new_order(1, "5.00 EUR") };
        assert!(matches!(ledger.create_order(order, START).await, Err(Error::WrongTotal { .. })), "{total}");
    }
    let generous = NewOrder { total: money("9.00 EUR"), ..new_order(1, "5.00 EUR") };
    assert_eq!(ledger.create_order(generous, START).await.unwrap().balance.due, money("9.00 EUR"));
    let endless = Money { minor: u64::MAX, ..money("0.00 EUR") };
    let order = NewOrder { total: endless, ..new_order(2, "5.00 EUR") };
    assert!(matches!(ledger.create_order(order, START).await, Err(Error::Range { .. })));
}

#[tokio::test]
async fn late_money_counts_and_money_for_a_cancelled_order_is_owed_back() {
    let (_dir, ledger) = fresh();
    let (late, late_payment) = payable(&ledger, 1, "5.00 EUR").await;
    let (gone, gone_payment) = payable(&ledger, 2, "5.00 EUR").await;
    let (half, half_payment) = payable(&ledger, 3, "5.00 EUR").await;
    let part = event(&half_payment, "h", EventKind::Charged, "1.00 EUR");
    ledger.record_payment_events(GATEWAY, vec![part], START).await.unwrap();
    assert_eq!(ledger.cancel_order(&gone, START).await.unwrap().state, OrderState::Cancelled);
    assert!(matches!(ledger.cancel_order(&half, START).await, Err(Error::WrongState { .. })));
    let after = START + Duration::hours(2);
    let paid_late = ledger.open_payment(&late, &payment_id(9), GATEWAY, after).await;
    assert!(matches!(paid_late, Err(Error::WrongState { state: OrderState::Expired, .. })));
    assert_eq!(
        ledger.expire_orders(after).await.unwrap(),
        std::slice::from_ref(&late),
        "one is cancelled, one holds money"
    );
    assert_eq!(ledger.expire_orders(after).await.unwrap(), []);
    assert_eq!(ledger.order(&late).await.unwrap().unwrap().state, OrderState::Expired);
    let events = [&late_payment, &gone_payment]
        .map(|payment| PaymentEvent { at: after, ..event(payment, payment.as_str(), EventKind::Charged, "5.00 EUR") });
    let outcome = ledger.record_payment_events(GATEWAY, events.into(), after).await.unwrap();
    assert_eq!(outcome.granted.len(), 1);
    let late = ledger.order(&late).await.unwrap().unwrap();
    assert_eq!((late.state, late.balance.is_late), (OrderState::Fulfilled, true));
    let gone = ledger.order(&gone).await.unwrap().unwrap();
    assert_eq!((gone.state, gone.entitlement), (OrderState::Cancelled, None));
    assert_eq!((gone.balance.due, gone.balance.over), (money("0.00 EUR"), money("5.00 EUR")));
}

#[tokio::test]
async fn a_right_ends_with_its_term_or_when_it_is_revoked() {
    let (_dir, ledger) = fresh();
    let terms = Terms { lasts: Some(60), ..Terms::default() };
    let rental = NewOrder { offer: Offer { terms, ..offer("0.00 EUR") }, ..new_order(1, "0.00 EUR") };
    ledger.create_order(rental.clone(), START).await.unwrap();
    let id = ledger.claim_free(&order_id(1), START).await.unwrap().body.id;
    let state = async |after| ledger.entitlement(&id, START + Duration::seconds(after)).await.unwrap().unwrap().state;
    assert_eq!((state(59).await, state(60).await), (EntitlementState::Active, EntitlementState::Expired));
    ledger.end_entitlement(&id, Ending::Returned, "not wanted", START).await.unwrap();
    ledger.end_entitlement(&id, Ending::Revoked, "again", START).await.unwrap();
    assert_eq!((state(0).await, state(99).await), (EntitlementState::Returned, EntitlementState::Returned));
    let unknown = ledger.end_entitlement(&EntitlementId::from_random([0; 16]), Ending::Revoked, "", START).await;
    assert!(matches!(unknown, Err(Error::NoEntitlement(_))));
    let terms = Terms { lasts: Some(u64::MAX), ..Terms::default() };
    let endless = NewOrder { offer: Offer { terms, ..offer("0.00 EUR") }, ..new_order(2, "0.00 EUR") };
    assert!(matches!(ledger.create_order(endless, START).await, Err(Error::Range { .. })));
}

#[tokio::test]
async fn a_payment_that_failed_leaves_the_order_open_for_another() {
    let (_dir, ledger) = fresh();
    let (order, payment) = payable(&ledger, 1, "5.00 EUR").await;
    let failed = event(&payment, "a", EventKind::Cancelled, "0.00 EUR");
    ledger.record_payment_events(GATEWAY, vec![failed], START).await.unwrap();
    assert_eq!(ledger.order(&order).await.unwrap().unwrap().state, OrderState::Open);
    ledger.open_payment(&order, &payment_id(2), "pay-other", START).await.unwrap();
    let seen = ledger.order(&order).await.unwrap().unwrap();
    assert_eq!((seen.state, seen.gateway.as_deref()), (OrderState::Pending, Some("pay-other")));
    let waiting = ledger.waiting_payments(None, 10, START).await.unwrap();
    assert_eq!(waiting.iter().map(|p| p.state.is_live()).collect::<Vec<_>>(), [false, true]);
    assert_eq!(ledger.waiting_payments(Some(&payment_id(1)), 10, START).await.unwrap(), waiting[1..]);
}

/// What a model that only adds up says of events (payment, kind, sum) of an order of 10.
fn model(events: &[(u64, EventKind, u64)]) -> (OrderState, i64, bool) {
    let mut sums: HashMap<(u64, EventKind), i64> = HashMap::new();
    for (payment, kind, sum) in events {
        *sums.entry((*payment, *kind)).or_default() += i64::try_from(*sum).unwrap();
    }
    let get = |payment, kind| sums.get(&(payment, kind)).copied().unwrap_or(0);
    let (mut charged, mut back) = (0, 0);
    for payment in 0..2 {
        let bank = get(payment, EventKind::ChargedBack) - get(payment, EventKind::ChargeBackReversed);
        charged += get(payment, EventKind::Charged);
        back += get(payment, EventKind::Refunded) + bank.max(0);
    }
    let net = charged - back;
    let state = if net >= 10 {
        OrderState::Fulfilled
    } else if back > 0 && (charged >= 10 || (charged > 0 && net <= 0)) {
        OrderState::Refunded
    } else {
        OrderState::Pending
    };
    (state, net, net >= 10)
}

async fn agrees_with_the_model(ledger: &Ledger, n: u64, events: &[(u64, EventKind, u64)]) {
    let (state, net, is_covered) = model(events);
    let order = ledger.order(&order_id(n)).await.unwrap().unwrap();
    let library = ledger.library(holder(n), START).await.unwrap();
    assert_eq!(order.balance.paid.minor, u64::try_from(net.max(0)).unwrap(), "{events:?}");
    // With nothing live left and nothing paid, the order is open again.
    if order.state != OrderState::Open {
        assert_eq!(order.state, state, "{events:?}");
    }
    assert!(library.len() <= 1, "{events:?}");
    assert_eq!(library.first().is_some_and(|e| e.state == EntitlementState::Active), is_covered, "{events:?}");
    assert_eq!(order.entitlement.is_some(), !library.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_order_of_five_events_and_the_opening_comes_to_the_same() {
    let events = [
        (0, EventKind::Charged, 8),
        (0, EventKind::Charged, 4),
        (0, EventKind::ChargedBack, 4),
        (0, EventKind::ChargeBackReversed, 4),
        (0, EventKind::Refunded, 2),
    ];
    let (_dir, ledger) = fresh();
    let mut runs = JoinSet::new();
    for n in 0..720_u64 {
        let ledger = ledger.clone();
        runs.spawn(async move {
            // The n-th permutation of six steps, by its factorial digits; step 5 opens the payment.
            let (mut left, mut rest) = ((0..6).collect::<Vec<usize>>(), n);
            ledger.create_order(new_order(n, "0.10 EUR"), START).await.unwrap();
            while !left.is_empty() {
                let step = left.remove(usize::try_from(rest).unwrap() % left.len());
                rest /= left.len() as u64 + 1;
                if step == 5 {
                    ledger.open_payment(&order_id(n), &payment_id(n), GATEWAY, START).await.unwrap();
                    continue;
                }
                let (_, kind, minor) = events[step];
                let mut told = event(&payment_id(n), format!("{n}-{step}"), kind, "0.00 EUR");
                told.amount.minor = minor;
                ledger.record_payment_events(GATEWAY, vec![told.clone(), told], START).await.unwrap();
            }
            agrees_with_the_model(&ledger, n, &events).await;
        });
    }
    runs.join_all().await;
    assert_eq!(ledger.orders(None, None, 500).await.unwrap().len(), 500);
    ledger.verify_chain().await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_events_of_two_payments_agree_with_the_model(
        events in prop::collection::vec((0..2_u64, 0..8_usize, 0..12_u64), 1..=5),
        shuffles in prop::collection::vec(Just((0..10_usize).collect::<Vec<_>>()).prop_shuffle(), 4),
    ) {
        use EventKind::{Authorized, ChargeBackReversed, ChargeFailed, Charged, ChargedBack, Note, Refunded};
        let kinds = [Charged, Charged, Refunded, ChargedBack, ChargeBackReversed, Authorized, ChargeFailed, Note];
        let events: Vec<_> = events.into_iter().map(|(payment, kind, sum)| (payment, kinds[kind], sum)).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (_dir, ledger) = fresh();
            for (n, shuffle) in (0_u64..).zip(shuffles) {
                payable(&ledger, n, "0.10 EUR").await;
                ledger.open_payment(&order_id(n), &payment_id(n + 100), GATEWAY, START).await.unwrap();
                // Every event is told twice, at places that the shuffle says.
                for place in shuffle.into_iter().filter(|place| place / 2 < events.len()) {
                    let (payment, kind, minor) = events[place / 2];
                    let id = payment_id(n + payment * 100);
                    let mut told = event(&id, format!("{n}-{}", place / 2), kind, "0.00 EUR");
                    told.amount.minor = minor;
                    ledger.record_payment_events(GATEWAY, vec![told], START).await.unwrap();
                }
                agrees_with_the_model(&ledger, n, &events).await;
            }
        });
    }
}

#[tokio::test]
async fn a_payment_under_way_is_asked_about_though_another_paid_the_order() {
    let (_dir, ledger) = fresh();
    let (order, first) = payable(&ledger, 1, "5.00 EUR").await;
    ledger.open_payment(&order, &payment_id(2), "pay-other", START).await.unwrap();
    let paid = event(&payment_id(2), "a", EventKind::Charged, "5.00 EUR");
    ledger.record_payment_events("pay-other", vec![paid], START).await.unwrap();
    let waiting = async |late| -> Vec<PaymentId> {
        ledger.waiting_payments(None, 10, late).await.unwrap().into_iter().map(|payment| payment.id).collect()
    };
    assert_eq!(waiting(START - Duration::days(1)).await, [first], "its money is owed back should it come");
    assert!(waiting(START).await.is_empty(), "not for ever");
}
