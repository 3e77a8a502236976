//! Paying with a code.
//!
//! Reading, deciding and writing are apart: [`plan`] reads and decides, one storage transaction writes. It checks all
//! that the decision rests on (the code is unspent, the payment and the books are as they were read), so that of any
//! number of calls with one code, cut off wherever they may be, exactly one spends it.

use fondaco_sdk::storage::Write;
use fondaco_sdk::{Error, Field, PaymentEvent, Result, Step, keys};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::batch::{Books, CHANGE};
use crate::clock::{Day, stamp};
use crate::code::{Code, CodeId};
use crate::payment::{Change, Charge, MAX_CODES, Payment};
use crate::record::{ATTEMPTS, Record, commit, too_busy};
use crate::refusal::Refusal;

/// What storage says of a spent code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// The payment that it was spent on.
    pub payment: String,
    /// RFC 3339.
    pub at: String,
}

/// Why there is no plan.
#[derive(Debug)]
pub enum Halt {
    /// The code is not taken.
    Refused(Refusal),
    /// The node failed.
    Node(Error),
}
impl From<Refusal> for Halt {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Node(error)
    }
}

/// One code about to be spent.
pub struct Plan {
    /// The transaction.
    pub writes: Vec<Write>,
    /// How the payment stands after it.
    pub payment: Payment,
}

/// The entry of a spent code, if it is spent.
pub fn used(id: CodeId) -> Result<Option<Used>> {
    Ok(Record::load(used_key(id))?.map(|r| r.value))
}

fn used_key(id: CodeId) -> Vec<u8> {
    [&b"u/"[..], &id.to_bytes()].concat()
}

/// Goes on with a payment: takes the code in `input` if there is one, and says where the payment stands.
pub fn go_on(payment: &Payment, input: &[Field], now: OffsetDateTime) -> Result<(Step, Vec<PaymentEvent>)> {
    let code = input.iter().find(|f| f.name == "code").map(|f| f.value.trim()).filter(|c| !c.is_empty());
    let Some(code) = code else { return Ok(payment.standing()) };
    let mut payment = payment.clone();
    for _ in 0..ATTEMPTS {
        match plan(&payment, code, now) {
            Ok(None) => return Ok(payment.standing()),
            Ok(Some(plan)) if commit(&plan.writes)? => return Ok(plan.payment.standing()),
            Ok(Some(_)) => match Payment::load(&payment.id) {
                Ok(loaded) => payment = loaded,
                // The code was taken elsewhere meanwhile, and nothing is written of this payment.
                Err(Error::NotFound) => {}
                Err(error) => return Err(error),
            },
            Err(Halt::Refused(refusal)) => return Err(refusal.error(&payment.facts().locale)),
            Err(Halt::Node(error)) => return Err(error),
        }
    }
    Err(too_busy())
}

/// How this code would be spent on this payment. `None`: there is nothing to do, it is spent on it already or nothing is
/// left to pay.
pub fn plan(payment: &Payment, text: &str, now: OffsetDateTime) -> std::result::Result<Option<Plan>, Halt> {
    if payment.left() == 0 {
        return Ok(None);
    }
    let code = Code::read(text)??;
    match used(code.id)? {
        Some(used) if used.payment == payment.id => return Ok(None),
        Some(_) => return Err(Refusal::Used.into()),
        None => {}
    }
    if payment.is_closed() {
        return Err(Refusal::Closed.into());
    }
    if let Some(day) = code.expires.filter(|day| Day::of(now) > *day) {
        return Err(Refusal::Expired(day).into());
    }
    let total = payment.total();
    if !code.value.same_unit(&total) {
        return Err(Refusal::Unit { code: code.value.asset, order: total.asset }.into());
    }
    if payment.facts().charges.len() >= MAX_CODES {
        return Err(Refusal::TooMany.into());
    }
    let taken = code.value.minor.min(payment.left());
    let rest = code.value.minor - taken;

    let (mut payment, mut books) = (payment.clone(), Books::default());
    books.redeem(&code)?;
    if rest > 0 {
        let change = change(&payment, &code, rest)?;
        books.issue(&change)?;
        payment.facts_mut().change = Some(Change { text: change.issue()?, minor: rest, expires: change.expires });
    }
    let at = stamp(now);
    payment.facts_mut().charges.push(Charge { code: code.id.to_string(), minor: taken, at: at.clone() });
    let mut writes = Record::new(used_key(code.id), Used { payment: payment.id.clone(), at }).writes()?.to_vec();
    writes.extend(payment.writes()?);
    writes.extend(books.writes()?);
    Ok(Some(Plan { writes, payment }))
}

/// The code for what is too much: always the same for a payment, which has change at most once. It is good for as long
/// as the code that it is the rest of, neither longer nor shorter.
fn change(payment: &Payment, spent: &Code, rest: u64) -> Result<Code> {
    let id = CodeId { batch: CHANGE, serial: serial(&format!("change/{}", payment.id))? };
    Ok(Code { id, value: payment.money(rest), expires: spent.expires })
}

/// Eight bytes that belong to a name, and that nobody without the node's key can guess.
pub fn serial(name: &str) -> Result<[u8; 8]> {
    let key = keys::derive(&format!("serial/{name}"))?;
    key.first_chunk().copied().ok_or_else(|| Error::Internal("the node gave a short key".into()))
}

#[cfg(test)]
#[path = "redeem_tests.rs"]
pub(crate) mod tests;
