//! Giving up and paying back. What goes back is a new code, since a spent one stays spent.

use fondaco_sdk::{Error, Money, PaymentEvent, Result};
use time::OffsetDateTime;

use crate::batch::{Books, REFUND};
use crate::clock::stamp;
use crate::code::{Code, CodeId};
use crate::payment::{MAX_ID_BYTES, MAX_REFUNDS, Payment, Refund, sum};
use crate::record::{ATTEMPTS, commit, too_busy};
use crate::redeem::serial;

/// Pays back `amount` as a new code, once for each `key`; the code is asked for with the tool `refund-code`.
pub fn refund(id: &str, amount: &Money, key: &str, now: OffsetDateTime) -> Result<Vec<PaymentEvent>> {
    let amount = sum(amount)?;
    if key.is_empty() || key.len() > MAX_ID_BYTES {
        return Err(Error::Invalid(format!("a refund's key has 1 to {MAX_ID_BYTES} bytes")));
    }
    for _ in 0..ATTEMPTS {
        let mut payment = Payment::load(id)?;
        if let Some(refund) = payment.facts().refunds.iter().find(|r| r.key == key) {
            if payment.money(refund.minor) != amount {
                let before = payment.money(refund.minor);
                return Err(Error::Invalid(format!("refund {key:?} was over {before}, not {amount}")));
            }
            return Ok(vec![payment.refund_event(refund)]);
        }
        let most = payment.money(payment.charged().saturating_sub(payment.refunded()));
        if amount.is_zero() || !amount.same_unit(&most) || amount.minor > most.minor {
            return Err(Error::Invalid(format!("payment {id} can be paid back up to {most}, not {amount}")));
        }
        if payment.facts().refunds.len() >= MAX_REFUNDS {
            return Err(Error::Exhausted(format!("payment {id} was paid back {MAX_REFUNDS} times: that is the most")));
        }
        // The length keeps two names apart that the slash alone would not.
        let serial = serial(&format!("refund/{}/{id}/{key}", id.len()))?;
        let code = Code { id: CodeId { batch: REFUND, serial }, value: amount.clone(), expires: None };
        let mut books = Books::default();
        books.issue(&code)?;
        let refund = Refund {
            key: key.to_owned(),
            code: code.id.to_string(),
            text: code.issue()?,
            minor: amount.minor,
            at: stamp(now),
        };
        let event = payment.refund_event(&refund);
        payment.facts_mut().refunds.push(refund);
        let mut writes = payment.writes()?.to_vec();
        writes.extend(books.writes()?);
        if commit(&writes)? {
            return Ok(vec![event]);
        }
    }
    Err(too_busy())
}

/// Gives up a payment that is not paid in full. What was paid in part stays charged until it is paid back.
pub fn cancel(id: &str, now: OffsetDateTime) -> Result<Vec<PaymentEvent>> {
    for _ in 0..ATTEMPTS {
        let mut payment = Payment::load(id)?;
        if payment.facts().cancelled.is_some() {
            return Ok(payment.events());
        }
        if payment.left() == 0 {
            return Err(Error::Invalid(format!("payment {id} is paid in full: pay it back instead")));
        }
        payment.facts_mut().cancelled = Some(stamp(now));
        if commit(&payment.writes()?)? {
            return Ok(payment.events());
        }
    }
    Err(too_busy())
}

#[cfg(test)]
#[path = "refund_tests.rs"]
mod tests;
