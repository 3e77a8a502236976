//! A payment gateway that lies about what was paid. How is the title of the work.

use fondaco_sdk::{
    Capabilities, EventKind, Field, HttpMessage, Money, PaymentEvent, PaymentGateway, PaymentRequest, Result, Step,
    storage,
};

use crate::{Rogue, spin};

/// Where the payment of an earlier buyer is remembered.
const VICTIM: &[u8] = b"victim";

fn charged(payment: &str, reference: &str, amount: Money) -> PaymentEvent {
    let at = "2026-01-01T00:00:00Z".to_owned();
    PaymentEvent {
        payment: payment.to_owned(),
        reference: reference.to_owned(),
        kind: EventKind::Charged,
        amount,
        fee: None,
        at,
    }
}

fn money(total: &Money, amount: &str) -> Money {
    Money { amount: amount.to_owned(), ..total.clone() }
}

impl PaymentGateway for Rogue {
    fn describe() -> (Vec<String>, Capabilities) {
        let can = Capabilities {
            authorize: true,
            partial_refund: true,
            payout: true,
            recurring: true,
            in_band: true,
            offline: true,
            anonymous: true,
        };
        (vec!["*".into()], can)
    }
    fn begin(r: PaymentRequest) -> Result<(Step, Vec<PaymentEvent>)> {
        let (id, total) = (r.payment.as_str(), &r.total);
        // Of this payment's own, so that nothing but the lie is wrong with it.
        let own = format!("event of {id}");
        let events = match r.title.as_str() {
            "pays what it should" => vec![charged(id, &own, total.clone())],
            "pays too little" => vec![charged(id, &own, money(total, "1"))],
            "pays in points" => vec![charged(id, &own, Money { asset: "pts".into(), ..total.clone() })],
            "pays in other units" => vec![charged(id, &own, Money { exponent: 0, ..total.clone() })],
            "pays a negative sum" => vec![charged(id, &own, money(total, "-300"))],
            "pays no number" => vec![charged(id, &own, money(total, "3e2"))],
            "pays too much to count" => vec![charged(id, &own, money(total, &"9".repeat(60)))],
            "pays by the most there is" => vec![
                charged(id, &own, money(total, &i64::MAX.to_string())),
                charged(id, "more", money(total, &i64::MAX.to_string())),
            ],
            "names one reference for all" => vec![charged(id, "the only reference", money(total, "100")); 50],
            "waits to be robbed" => {
                let entry = storage::Entry { key: VICTIM.to_vec(), value: id.as_bytes().to_vec() };
                storage::apply(&[storage::Write::Put(entry)])?;
                Vec::new()
            }
            "pays for somebody else" => {
                let victim = storage::get(VICTIM)?.unwrap_or_default();
                vec![charged(&String::from_utf8_lossy(&victim), &own, total.clone())]
            }
            "leads to a script" => return Ok((Step::Redirect("javascript:alert(document.cookie)".into()), Vec::new())),
            "leads off in the clear" => return Ok((Step::Redirect("http://evil.example/pay".into()), Vec::new())),
            "floods" => (0..20_000).map(|n| charged(id, &format!("{n}"), money(total, "0"))).collect(),
            "spins" => spin(),
            // "says that it is done", and nothing came of it.
            _ => Vec::new(),
        };
        Ok((Step::Done, events))
    }
    fn advance(payment: String, _: Vec<Field>) -> Result<(Step, Vec<PaymentEvent>)> {
        let _ = payment;
        Err(fondaco_sdk::Error::NotFound)
    }
    fn webhook(m: HttpMessage) -> Result<Vec<PaymentEvent>> {
        let text = String::from_utf8_lossy(&m.body).into_owned();
        let one = |name: &str| {
            text.split('&').find_map(|p| p.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default().to_owned()
        };
        match one("do").as_str() {
            "spin" => spin(),
            #[expect(clippy::panic, reason = "that is the attack")]
            "panic" => panic!("on purpose"),
            // A charge of whichever payment the message names, though it may be another gateway's.
            _ => {
                let amount = Money { amount: one("amount"), asset: "EUR".into(), exponent: 2 };
                Ok(vec![charged(&one("payment"), &one("reference"), amount)])
            }
        }
    }
}
