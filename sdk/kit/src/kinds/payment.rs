//! Payment gateways: nothing is charged twice, nothing is charged that was not asked for, and nobody can make one say that
//! something was paid.

use std::collections::BTreeSet;

use fondaco_runtime::wit::payment_types::{EventKind, Field, PaymentEvent, PaymentRequest, Step};
use fondaco_runtime::wit::types::{Error, HttpMessage, Money};
use fondaco_runtime::{CallError, Context, Plugin};

use super::{Depth, bytes, sums, texts};
use crate::bench::Bench;
use crate::common::{Calls, Done, advice, answered, shown};
use crate::host::BASE_URL;
use crate::report::{Draft, Report};

/// What the node's own functions a webhook may use begin with: it reads one message, with the keys.
const WEBHOOK_MAY: [&str; 2] = ["keys.", "settings."];

fn money(amount: &str, asset: &str) -> Money {
    let exponent = if asset == "JPY" || asset == "sat" || asset == "pts" { 0 } else { 2 };
    Money { amount: amount.into(), asset: asset.into(), exponent }
}

fn request(payment: &str, amount: &str, asset: &str) -> PaymentRequest {
    PaymentRequest {
        payment: payment.into(),
        order: format!("ord_{payment}"),
        title: "Moby-Dick; or, The Whale".into(),
        total: money(amount, asset),
        return_url: format!("{BASE_URL}/orders/ord_{payment}"),
        cancel_url: format!("{BASE_URL}/orders/ord_{payment}?cancelled"),
        webhook_url: format!("{BASE_URL}/webhooks/kit"),
        resource_url: format!("{BASE_URL}/works/moby-dick"),
        locale: "en".into(),
        test_mode: true,
        input: vec![],
    }
}

fn message(headers: Vec<(String, Vec<u8>)>, body: Vec<u8>) -> HttpMessage {
    HttpMessage { method: "POST".into(), target: "/webhooks/kit?x=1".into(), headers, body }
}

fn field(name: &str, value: &str) -> Field {
    Field { name: name.into(), value: value.into() }
}

/// What `begin` gives, and `advance`.
type Went = Result<Result<(Step, Vec<PaymentEvent>), Error>, CallError>;
type Told = Result<Result<Vec<PaymentEvent>, Error>, CallError>;

/// The first asset that it takes; EUR where it does not say.
async fn asset(plugin: &Plugin) -> String {
    let described = plugin.describe_payment(&Context::node()).await;
    described.ok().and_then(|(assets, _)| assets.into_iter().next()).unwrap_or_else(|| "EUR".into())
}

/// Every call, with right input and with wrong.
pub(crate) async fn exercise(plugin: &Plugin, depth: Depth) -> Vec<Done> {
    let node = Context::node();
    let asset = asset(plugin).await;
    let mut done = vec![
        Done::of("describe()", plugin.describe_payment(&node).await),
        Done::of("begin(499)", plugin.begin(&node, request("pay_1", "499", &asset)).await),
        Done::of("advance(what was begun)", plugin.advance(&node, "pay_1".into(), vec![field("code", "kit")]).await),
        Done::of("fetch(what was begun)", plugin.fetch(&node, "pay_1".into()).await),
        Done::of("webhook(unsigned)", plugin.webhook(&node, message(vec![], b"{}".to_vec())).await),
    ];
    if depth == Depth::Brief {
        return done;
    }
    done.push(Done::of("advance(no field at all)", plugin.advance(&node, "pay_1".into(), vec![]).await));
    for (name, text) in texts() {
        let fields = vec![field("code", &text), field(&text, "x"), field("code", "again")];
        done.push(Done::of(format!("advance(payment {name})"), plugin.advance(&node, text.clone(), vec![]).await));
        done.push(Done::of(format!("advance(field {name})"), plugin.advance(&node, "pay_1".into(), fields).await));
        done.push(Done::of(format!("fetch({name})"), plugin.fetch(&node, text.clone()).await));
        done.push(Done::of(format!("cancel({name})"), plugin.cancel(&node, text.clone(), text.clone()).await));
        let odd = PaymentRequest {
            title: text.clone(),
            locale: text.clone(),
            return_url: text.clone(),
            input: vec![field(&text, &text)],
            ..request("pay_odd", "499", &asset)
        };
        done.push(Done::of(format!("begin(title and locale {name})"), plugin.begin(&node, odd.clone()).await));
        let named = PaymentRequest { payment: text.clone(), order: text.clone(), ..odd };
        done.push(Done::of(format!("begin(payment {name})"), plugin.begin(&node, named).await));
    }
    for (name, bytes) in bytes() {
        let headers = vec![("signature".into(), bytes.clone()), ("content-type".into(), b"application/json".to_vec())];
        let sent = message(headers, bytes);
        done.push(Done::of(format!("webhook({name})"), plugin.webhook(&node, sent.clone()).await));
        done.push(Done::of(
            format!("redeem({name})"),
            plugin.redeem(&node, sent, request("pay_2", "499", &asset)).await,
        ));
    }
    for amount in sums() {
        done.push(Done::of(
            format!("begin({amount:?})"),
            plugin.begin(&node, request("pay_sum", amount, &asset)).await,
        ));
        let sum = money(amount, &asset);
        done.push(Done::of(
            format!("refund({amount:?})"),
            plugin.refund(&node, "pay_1".into(), sum.clone(), "k".into()).await,
        ));
        done.push(Done::of(
            format!("capture({amount:?})"),
            plugin.capture(&node, "pay_1".into(), sum, "k".into()).await,
        ));
    }
    let huge =
        PaymentRequest { total: Money { exponent: 255, ..money("499", &asset) }, ..request("pay_exp", "1", &asset) };
    done.push(Done::of("begin(exponent 255)", plugin.begin(&node, huge).await));
    done.push(Done::of("challenge()", plugin.challenge(&node, request("pay_3", "499", &asset)).await));
    done
}

/// The kind's own checks.
pub(crate) async fn check(bench: &Bench, plugin: &Plugin, report: &mut Report) -> Calls {
    let node = Context::node();
    let mut draft = report.begin("payment/describes", "it names the assets that it takes");
    match plugin.describe_payment(&node).await {
        Err(error) => draft.fail(advice(&error)),
        Ok((assets, _)) => {
            draft.expect(!assets.is_empty(), || "describe() names no asset: no order could be paid with it".into());
            let unique: BTreeSet<_> = assets.iter().collect();
            draft.expect(unique.len() == assets.len(), || format!("describe() names an asset twice: {assets:?}"));
            draft.expect(assets.iter().all(|a| !a.trim().is_empty() && a.len() <= 128), || {
                format!("an asset is an ISO 4217 code, a CAIP-19 id, `sat` or `pts`, and not one of {assets:?}")
            });
        }
    }
    report.end(draft);

    let host = bench.host();
    let Ok(plugin) = bench.load(&host).await else { return Calls::Payment };
    begins(&plugin, report).await;
    sums_are_checked(&plugin, report).await;
    strangers(&plugin, report).await;
    host.take_calls();
    webhooks(&plugin, &host, report).await;
    gives_back(&plugin, report).await;

    if !report.wants("payment/wrong-input") {
        return Calls::Payment;
    }
    let mut draft = report.begin("payment/wrong-input", "it answers whatever it is told");
    answered(&mut draft, &exercise(&plugin, Depth::Whole).await);
    report.end(draft);
    Calls::Payment
}

/// References of the charges among events.
fn charges(events: &[PaymentEvent]) -> BTreeSet<String> {
    events.iter().filter(|e| e.kind == EventKind::Charged).map(|e| e.reference.clone()).collect()
}

/// What holds for every event of a payment.
fn look_at(draft: &mut Draft, call: &str, payment: &str, total: &Money, events: &[PaymentEvent]) {
    for event in events {
        draft.expect(event.payment == payment, || {
            format!("{call} reports about the payment {:?}, not {payment:?}", event.payment)
        });
        draft.expect(!event.reference.trim().is_empty(), || {
            format!("{call}: an event has no reference: the node counts each once by it")
        });
        let unit = event.amount.asset == total.asset && event.amount.exponent == total.exponent;
        draft.expect(unit || event.kind == EventKind::Note, || {
            format!(
                "{call}: an event is in {} with exponent {}, and the order in {} with {}",
                event.amount.asset, event.amount.exponent, total.asset, total.exponent
            )
        });
        let is_time = time::OffsetDateTime::parse(&event.at, &time::format_description::well_known::Rfc3339).is_ok();
        draft.expect(is_time, || {
            format!("{call}: {:?} is no time: write RFC 3339 in UTC, such as 2030-01-31T12:00:00Z", event.at)
        });
    }
}

fn went(draft: &mut Draft, call: &str, answer: Went) -> Option<(Step, Vec<PaymentEvent>)> {
    match answer {
        Err(error) => draft.fail(format!("{call}: {}", advice(&error))),
        Ok(Err(error)) => draft.fail(format!("{call} answered {}, to a request that is right", shown(&error))),
        Ok(Ok(done)) => return Some(done),
    }
    None
}

async fn begins(plugin: &Plugin, report: &mut Report) {
    let mut draft = report.begin("payment/begin-twice", "beginning the same payment again does not charge again");
    let node = Context::node();
    let asset = asset(plugin).await;
    let asked = request("pay_twice", "499", &asset);
    let (mut charged, mut steps) = (BTreeSet::new(), Vec::new());
    for _ in 0..3 {
        if let Some((step, events)) = went(&mut draft, "begin", plugin.begin(&node, asked.clone()).await) {
            look_at(&mut draft, "begin", "pay_twice", &asked.total, &events);
            charged.extend(charges(&events));
            steps.push(format!("{step:?}"));
            if let Step::Redirect(to) = &step {
                draft.expect(to.starts_with("https://"), || {
                    format!("begin leads the buyer to {to:?}: only https addresses are followed")
                });
            }
            if matches!(step, Step::Done) && charged.is_empty() {
                draft.fail("begin says `done` without an event that something was charged: the order stays open");
            }
        }
    }
    draft.expect(charged.len() <= 1, || {
        format!(
            "begin was called three times with one payment and charged {} times: look the payment up before you charge",
            charged.len()
        )
    });
    steps.dedup();
    draft.expect(steps.len() <= 1, || {
        format!("begin leads to another step each time: {}; give what it gave before", steps.join(", then "))
    });
    // The lost answer of a begin is asked for with fetch.
    let told = plugin.fetch(&node, "pay_twice".into()).await;
    match &told {
        Ok(Ok(events)) => {
            look_at(&mut draft, "fetch", "pay_twice", &asked.total, events);
            draft.expect(charges(events).is_subset(&charged) || charged.is_empty(), || {
                "fetch reports a charge under another reference than begin did: the node would count both".into()
            });
        }
        Ok(Err(error)) => draft.fail(format!("fetch of a payment that was begun answered {}", shown(error))),
        Err(error) => draft.fail(format!("fetch: {}", advice(error))),
    }
    report.end(draft);
}

async fn sums_are_checked(plugin: &Plugin, report: &mut Report) {
    let mut draft = report.begin("payment/sums", "a sum that is none charges nothing");
    let node = Context::node();
    let asset = asset(plugin).await;
    for amount in sums() {
        let asked = request(&format!("pay_{}", amount.len()), amount, &asset);
        match plugin.begin(&node, asked).await {
            Ok(Ok((_, events))) => draft.expect(charges(&events).is_empty(), || {
                format!("begin of {amount:?} charges something: answer `invalid`")
            }),
            Ok(Err(Error::Internal(why))) => {
                draft.fail(format!("begin of {amount:?} answered internal ({why}): answer `invalid`"));
            }
            Ok(Err(_)) => {}
            Err(error) => draft.fail(format!("begin of {amount:?}: {}", advice(&error))),
        }
    }
    match plugin.begin(&node, request("pay_unknown_asset", "499", "XXX-KIT")).await {
        Ok(Ok((Step::Done, _))) => {
            draft.fail("begin takes an order in XXX-KIT, which describe() does not name: answer `invalid`");
        }
        Ok(Ok((_, events))) => draft
            .expect(charges(&events).is_empty(), || "begin charges in XXX-KIT, which describe() does not name".into()),
        Ok(Err(_)) => {}
        Err(error) => draft.fail(format!("begin in XXX-KIT: {}", advice(&error))),
    }
    report.end(draft);
}

/// No events about a payment that nobody began.
fn nothing_of(draft: &mut Draft, call: &str, told: Told) {
    match told {
        Ok(Ok(events)) => {
            draft.expect(events.is_empty(), || format!("{call} reports {} events: nobody began it", events.len()));
        }
        Ok(Err(Error::Internal(why))) => draft.fail(format!("{call} answered internal ({why}): answer `not-found`")),
        Ok(Err(_)) => {}
        Err(error) => draft.fail(format!("{call}: {}", advice(&error))),
    }
}

async fn strangers(plugin: &Plugin, report: &mut Report) {
    let mut draft = report.begin("payment/unknown", "of a payment that nobody began it reports nothing");
    let node = Context::node();
    let id = || "pay_nobody_began".to_owned();
    let sum = money("499", &asset(plugin).await);
    nothing_of(&mut draft, "fetch of an unknown payment", plugin.fetch(&node, id()).await);
    nothing_of(&mut draft, "cancel of an unknown payment", plugin.cancel(&node, id(), "k".into()).await);
    nothing_of(&mut draft, "refund of an unknown payment", plugin.refund(&node, id(), sum.clone(), "k".into()).await);
    nothing_of(&mut draft, "capture of an unknown payment", plugin.capture(&node, id(), sum, "k".into()).await);
    let told = plugin.advance(&node, id(), vec![field("code", "kit")]).await.map(|a| a.map(|(_, events)| events));
    nothing_of(&mut draft, "advance of an unknown payment", told);
    report.end(draft);
}

async fn webhooks(plugin: &Plugin, host: &crate::host::Host, report: &mut Report) {
    let mut draft =
        report.begin("payment/webhook", "a notification that nobody signed says nothing, and only keys are used");
    let node = Context::node();
    let claim = br#"{"payment":"pay_twice","reference":"forged","amount":"499","asset":"EUR","exponent":2,"kind":"charged","status":"paid","at":"2030-01-31T12:00:00Z"}"#;
    let signed = |value: &str| {
        vec![
            ("signature".to_owned(), value.as_bytes().to_vec()),
            ("till-signature".to_owned(), value.as_bytes().to_vec()),
        ]
    };
    let mut sent: Vec<(String, HttpMessage)> = vec![
        ("an unsigned notification".into(), message(vec![], claim.to_vec())),
        ("a notification with an empty signature".into(), message(signed(""), claim.to_vec())),
        ("a notification with a made-up signature".into(), message(signed(&"0".repeat(64)), claim.to_vec())),
    ];
    sent.extend(
        bytes().into_iter().map(|(name, bytes)| (format!("a notification of {name}"), message(signed("ff"), bytes))),
    );
    for (name, message) in sent {
        host.take_calls();
        match plugin.webhook(&node, message).await {
            Ok(Ok(events)) => draft.expect(events.iter().all(|e| e.kind == EventKind::Note), || {
                format!(
                    "{name} is believed, and gives {} events: answer `denied` before anything of it is read",
                    events.len()
                )
            }),
            Ok(Err(Error::Internal(why))) => {
                draft.fail(format!("{name} is answered with internal ({why}): answer `denied` or `invalid`"));
            }
            Ok(Err(_)) => {}
            Err(error) => draft.fail(format!("{name}: {}", advice(&error))),
        }
        for call in host.take_calls() {
            draft.expect(WEBHOOK_MAY.iter().any(|may| call.starts_with(may)), || {
                format!(
                    "webhook calls {call}: it may use keys and settings alone, since anybody can send a notification"
                )
            });
        }
    }
    report.end(draft);
}

async fn gives_back(plugin: &Plugin, report: &mut Report) {
    let mut draft =
        report.begin("payment/give-back", "nothing is refunded that was not paid, and a cancellation counts once");
    let node = Context::node();
    let asset = asset(plugin).await;
    let total = money("499", &asset);
    if went(&mut draft, "begin", plugin.begin(&node, request("pay_back", "499", &asset)).await)
        .is_some_and(|(_, events)| charges(&events).is_empty())
    {
        match plugin.refund(&node, "pay_back".into(), total.clone(), "refund-1".into()).await {
            Ok(Ok(events)) => draft.expect(events.iter().all(|e| e.kind != EventKind::Refunded), || {
                "refund of a payment of which nothing was charged reports a refund: answer `invalid`".into()
            }),
            Ok(Err(Error::Internal(why))) => {
                draft.fail(format!("refund of what was not paid answered internal ({why}): answer `invalid`"));
            }
            Ok(Err(_)) => {}
            Err(error) => draft.fail(format!("refund of what was not paid: {}", advice(&error))),
        }
    }
    let mut references = BTreeSet::new();
    for _ in 0..2 {
        match plugin.cancel(&node, "pay_back".into(), "cancel-1".into()).await {
            Ok(Ok(events)) => {
                look_at(&mut draft, "cancel", "pay_back", &total, &events);
                references
                    .extend(events.iter().filter(|e| e.kind == EventKind::Cancelled).map(|e| e.reference.clone()));
            }
            Ok(Err(Error::Internal(why))) => draft.fail(format!("cancel answered internal ({why})")),
            Ok(Err(_)) => {}
            Err(error) => draft.fail(format!("cancel: {}", advice(&error))),
        }
    }
    draft.expect(references.len() <= 1, || {
        "cancel with the same key twice reports two cancellations: give the same reference".into()
    });
    report.end(draft);
}
