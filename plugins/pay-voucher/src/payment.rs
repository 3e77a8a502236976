//! A payment as this gateway keeps it: what it is over, which codes paid it, what went back.

use fondaco_schemas::Money;
use fondaco_sdk::storage::Write;
use fondaco_sdk::{Error, EventKind, FormField, PaymentEvent, PaymentRequest, Presentation, Result, Step};
use serde::{Deserialize, Serialize};

use crate::clock::Day;
use crate::record::Record;
use crate::refusal::is_french;

/// Longest id of a payment or key of a refund, in bytes.
pub const MAX_ID_BYTES: usize = 128;
/// How many codes one payment may be made up of.
pub const MAX_CODES: usize = 200;
/// How many times one payment may be paid back in part.
pub const MAX_REFUNDS: usize = 1000;

/// A code that paid, and what it paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// Which code.
    pub code: String,
    /// What it paid here, in atomic units; the rest of it is change.
    pub minor: u64,
    /// RFC 3339.
    pub at: String,
}

/// A new code for what was too much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The code itself.
    pub text: String,
    /// What it is worth, in atomic units.
    pub minor: u64,
    /// As long as the code that it is the rest of.
    pub expires: Option<Day>,
}

/// What was paid back, as a new code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// The node's key for it.
    pub key: String,
    /// Which code was issued.
    pub code: String,
    /// The code itself.
    pub text: String,
    /// What it is worth, in atomic units.
    pub minor: u64,
    /// RFC 3339.
    pub at: String,
}

/// What is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    total: u64,
    asset: fondaco_schemas::Asset,
    exponent: u8,
    /// The buyer's language (BCP 47).
    pub locale: String,
    /// What was paid.
    pub charges: Vec<Charge>,
    /// What was too much.
    pub change: Option<Change>,
    /// What was paid back.
    pub refunds: Vec<Refund>,
    /// When it was given up (RFC 3339).
    pub cancelled: Option<String>,
}

/// A payment.
#[derive(Clone, Debug)]
pub struct Payment {
    /// The node's id of it.
    pub id: String,
    record: Record<Facts>,
}

/// Reads a sum of the node's.
pub fn sum(money: &fondaco_sdk::Money) -> Result<Money> {
    let minor = money.amount.bytes().all(|b| b.is_ascii_digit()).then(|| money.amount.parse().ok()).flatten();
    let minor = minor.ok_or_else(|| Error::Invalid(format!("{:.40?} is no amount", money.amount)))?;
    let asset = money.asset.parse().map_err(|e| Error::Invalid(format!("{e}")))?;
    Ok(Money { minor, asset, exponent: money.exponent })
}

fn key(id: &str) -> Result<Vec<u8>> {
    if id.is_empty() || id.len() > MAX_ID_BYTES {
        return Err(Error::Invalid(format!("a payment's id has 1 to {MAX_ID_BYTES} bytes")));
    }
    Ok([b"p/", id.as_bytes()].concat())
}

impl Payment {
    /// The payment of a request: the one that was begun before, or else a new one.
    pub fn open(request: &PaymentRequest) -> Result<Self> {
        let total = sum(&request.total)?;
        if let Some(record) = Record::<Facts>::load(key(&request.payment)?)? {
            let payment = Self { id: request.payment.clone(), record };
            if payment.total() != total {
                let begun = payment.total();
                return Err(Error::Invalid(format!("payment {} was begun over {begun}, not {total}", payment.id)));
            }
            return Ok(payment);
        }
        let facts = Facts {
            total: total.minor,
            asset: total.asset,
            exponent: total.exponent,
            locale: request.locale.chars().take(35).collect(),
            charges: Vec::new(),
            change: None,
            refunds: Vec::new(),
            cancelled: None,
        };
        // Nothing is written before a code is taken: whoever only looks leaves nothing behind.
        Ok(Self { id: request.payment.clone(), record: Record::new(key(&request.payment)?, facts) })
    }

    /// A payment that was begun.
    pub fn load(id: &str) -> Result<Self> {
        let record = Record::load(key(id)?)?.ok_or(Error::NotFound)?;
        Ok(Self { id: id.to_owned(), record })
    }

    /// What is known of it.
    pub fn facts(&self) -> &Facts {
        &self.record.value
    }
    /// The same, to be changed and then written.
    pub fn facts_mut(&mut self) -> &mut Facts {
        &mut self.record.value
    }
    /// The writes that store it.
    pub fn writes(&self) -> Result<[Write; 2]> {
        self.record.writes()
    }

    /// So many atomic units of what it is reckoned in.
    pub fn money(&self, minor: u64) -> Money {
        let facts = self.facts();
        Money { minor, asset: facts.asset.clone(), exponent: facts.exponent }
    }
    /// What it is over.
    pub fn total(&self) -> Money {
        self.money(self.facts().total)
    }
    /// What was paid, in atomic units; never more than the total.
    pub fn charged(&self) -> u64 {
        self.facts().charges.iter().fold(0, |sum, c| sum.saturating_add(c.minor))
    }
    /// What was paid back, in atomic units; never more than what was paid.
    pub fn refunded(&self) -> u64 {
        self.facts().refunds.iter().fold(0, |sum, r| sum.saturating_add(r.minor))
    }
    /// What is left to pay, in atomic units.
    pub fn left(&self) -> u64 {
        self.facts().total.saturating_sub(self.charged())
    }
    /// Does it take no further code, because it was given up or paid back?
    pub fn is_closed(&self) -> bool {
        self.facts().cancelled.is_some() || !self.facts().refunds.is_empty()
    }

    /// Everything that happened, the same each time.
    pub fn events(&self) -> Vec<PaymentEvent> {
        let facts = self.facts();
        let charges =
            facts.charges.iter().map(|c| self.event(EventKind::Charged, format!("redeem/{}", c.code), c.minor, &c.at));
        let cancelled = facts
            .cancelled
            .iter()
            .map(|at| self.event(EventKind::Cancelled, format!("cancel/{}", self.id), self.left(), at));
        let refunds = facts.refunds.iter().map(|r| self.refund_event(r));
        charges.chain(cancelled).chain(refunds).collect()
    }
    /// The event of one refund.
    pub fn refund_event(&self, refund: &Refund) -> PaymentEvent {
        self.event(EventKind::Refunded, format!("refund/{}", refund.code), refund.minor, &refund.at)
    }
    fn event(&self, kind: EventKind, reference: String, minor: u64, at: &str) -> PaymentEvent {
        let unit = self.money(minor);
        let amount =
            fondaco_sdk::Money { amount: minor.to_string(), asset: unit.asset.to_string(), exponent: unit.exponent };
        PaymentEvent { payment: self.id.clone(), reference, kind, amount, fee: None, at: at.to_owned() }
    }

    /// What the buyer does next, and everything that happened so far.
    pub fn standing(&self) -> (Step, Vec<PaymentEvent>) {
        let french = is_french(&self.facts().locale);
        let step = match &self.facts().change {
            _ if self.is_closed() => Step::Done,
            _ if self.left() > 0 => Step::Ask(vec![self.field(french)]),
            Some(change) => Step::Present(self.presentation(change, french)),
            None => Step::Done,
        };
        (step, self.events())
    }

    fn field(&self, french: bool) -> FormField {
        let left = self.money(self.left());
        let label = match (self.charged() == 0, french) {
            (true, false) => "Voucher code".into(),
            (true, true) => "Code du bon".into(),
            (false, false) => format!("A further voucher code: {left} is left to pay"),
            (false, true) => format!("Un autre code de bon : il reste {left} à payer"),
        };
        FormField { name: "code".into(), label, kind: "text".into(), required: true }
    }

    fn presentation(&self, change: &Change, french: bool) -> Presentation {
        let (rest, code) = (self.money(change.minor), &change.text);
        let (title, text) = if french {
            (
                "Votre monnaie",
                format!(
                    "Votre bon valait plus que la commande. Le reste, {rest}, est sur ce nouveau bon ; gardez-le bien : {code}"
                ),
            )
        } else {
            (
                "Your change",
                format!(
                    "Your voucher was worth more than the order. The rest, {rest}, is on this new voucher; keep it safe: {code}"
                ),
            )
        };
        let expires = change.expires.map(|day| format!("{day}T23:59:59Z"));
        Presentation { title: title.into(), text, uri: None, expires }
    }
}
