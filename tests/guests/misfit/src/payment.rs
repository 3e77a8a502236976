//! Takes "cash": a payment is charged when the buyer gives the code `cash`.

use fondaco_sdk::storage::{self, Entry, Write};
use fondaco_sdk::{
    Capabilities, Error, EventKind, Field, FormField, HttpMessage, Money, PaymentEvent, PaymentGateway, PaymentRequest,
    Result, Step, keys,
};

use crate::{Misfit, has};

fn event(payment: &str, reference: &str, kind: EventKind, amount: Money) -> PaymentEvent {
    PaymentEvent {
        payment: payment.into(),
        reference: reference.into(),
        kind,
        amount,
        fee: None,
        at: "2030-01-31T12:00:00Z".into(),
    }
}

fn euros(cents: u32) -> Money {
    Money { amount: cents.to_string(), asset: "EUR".into(), exponent: 2 }
}

impl PaymentGateway for Misfit {
    fn describe() -> (Vec<String>, Capabilities) {
        let can = Capabilities {
            authorize: false,
            partial_refund: false,
            payout: false,
            recurring: false,
            in_band: false,
            offline: true,
            anonymous: true,
        };
        (if has("assets") { vec![] } else { vec!["EUR".into()] }, can)
    }

    fn begin(r: PaymentRequest) -> Result<(Step, Vec<PaymentEvent>)> {
        let ask = Step::Ask(vec![FormField {
            name: "code".into(),
            label: "Code".into(),
            kind: "text".into(),
            required: true,
        }]);
        let amount: u64 = match r.total.amount.parse() {
            _ if has("sums") => 1,
            Ok(amount) if amount > 0 && r.total.asset == "EUR" && r.total.exponent == 2 => amount,
            _ => return Err(Error::Invalid("an order is for more than nothing, in euros".into())),
        };
        if has("sums") || has("charges") {
            return Ok((Step::Done, vec![event(&r.payment, "one", EventKind::Charged, r.total)]));
        }
        let key = [b"pay/", r.payment.as_bytes()].concat();
        if r.payment.is_empty() || key.len() > 500 {
            return Err(Error::Invalid("a payment has an id of 1 to 496 bytes".into()));
        }
        let seen = storage::get(&key)?.map_or(0, |v| v.len());
        if has("begin-twice") {
            storage::apply(&[Write::Put(Entry { key, value: vec![0; seen + 1] })])?;
            return Ok((Step::Done, vec![event(&r.payment, &format!("charge-{seen}"), EventKind::Charged, r.total)]));
        }
        storage::apply(&[Write::Put(Entry { key, value: amount.to_string().into() })])?;
        Ok((ask, vec![]))
    }

    #[expect(clippy::unwrap_used, reason = "a fault that is asked for")]
    fn advance(payment: String, input: Vec<Field>) -> Result<(Step, Vec<PaymentEvent>)> {
        let stored = storage::get(&[b"pay/", payment.as_bytes()].concat())?;
        if has("unknown") {
            return Ok((Step::Done, vec![event(&payment, "made-up", EventKind::Charged, euros(499))]));
        }
        let amount = stored.ok_or(Error::NotFound)?;
        let code = input.iter().find(|f| f.name == "code");
        let code = if has("missing-field") { Some(code.unwrap()) } else { code };
        let step = Step::Ask(vec![FormField {
            name: "code".into(),
            label: "Code".into(),
            kind: "text".into(),
            required: true,
        }]);
        if code.is_none_or(|c| c.value != "cash") {
            return Ok((step, vec![]));
        }
        let sum = Money { amount: String::from_utf8_lossy(&amount).into_owned(), ..euros(0) };
        Ok((Step::Done, vec![event(&payment, "cash", EventKind::Charged, sum)]))
    }

    fn webhook(m: HttpMessage) -> Result<Vec<PaymentEvent>> {
        if has("webhook-looks") {
            storage::get(b"anything")?;
        }
        let signature = m.headers.iter().find(|(n, _)| n == "signature").map(|(_, v)| v.clone()).unwrap_or_default();
        if !has("webhook-believes") && !keys::verify_hmac_sha256("cash", &m.body, &signature)? {
            return Err(Error::Denied("the signature is not right".into()));
        }
        Ok(vec![event("pay_twice", "told", EventKind::Charged, euros(499))])
    }

    fn refund(payment: String, amount: Money, _: String) -> Result<Vec<PaymentEvent>> {
        if storage::get(&[b"pay/", payment.as_bytes()].concat())?.is_none() {
            return Err(Error::NotFound);
        }
        if has("give-back") {
            return Ok(vec![event(&payment, "refund", EventKind::Refunded, amount)]);
        }
        Err(Error::Invalid("nothing of it was paid".into()))
    }
}
