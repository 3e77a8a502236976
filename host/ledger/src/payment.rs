//! Payments: events are kept, totals are derived, so that neither the order nor the repetition of events matters.

use fondaco_schemas::{Money, OrderId, PaymentId};
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::codec::{count, exact, maybe, micros, parsed, time};
use crate::event::{PaymentOpened, PaymentReported};
use crate::{Error, Ledger, Result, order};

/// What happened, in the words of `payment-types.event-kind` of the plugin interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// The sum is reserved, not moved.
    Authorized,
    /// It could not be reserved.
    AuthorizationFailed,
    /// The sum was paid.
    Charged,
    /// It could not be paid.
    ChargeFailed,
    /// The buyer must do something.
    ActionRequired,
    /// Called off before it was paid.
    Cancelled,
    /// The sum went back to the buyer.
    Refunded,
    /// It could not go back.
    RefundFailed,
    /// The buyer's bank took it back.
    ChargedBack,
    /// The bank gave it again.
    ChargeBackReversed,
    /// The payment service no longer waits for it.
    Expired,
    /// Worth keeping, of no effect.
    Note,
}

/// One event of a payment as a gateway told it. In JSON a sum is `{"minor", "asset", "exponent"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentEvent {
    /// Of which payment.
    pub payment: PaymentId,
    /// The payment service's own id of the event, at most 255 bytes; each is taken once for each gateway.
    pub reference: String,
    /// What happened.
    pub kind: EventKind,
    /// To which sum.
    #[serde(with = "exact")]
    pub amount: Money,
    /// What the payment service kept.
    #[serde(default, with = "exact::maybe", skip_serializing_if = "Option::is_none")]
    pub fee: Option<Money>,
    /// When, by the payment service's clock.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

/// What a payment's events come to, in the atomic unit of its order. Sums stop at the greatest number instead of
/// wrapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Reserved.
    pub authorized: u64,
    /// Paid.
    pub charged: u64,
    /// Given back.
    pub refunded: u64,
    /// Taken back by the bank.
    pub charged_back: u64,
    /// Of that, given again.
    pub reversed: u64,
    /// Kept by the payment service.
    pub fees: u64,
    /// Events in another unit, which count nothing.
    pub foreign: u32,
    /// Attempts that failed.
    pub failures: u32,
    /// It was called off so often.
    pub cancellations: u32,
    /// It ran out so often.
    pub expiries: u32,
}

impl Totals {
    /// Adds an event up, in the unit of the order.
    pub fn add(&mut self, unit: &Money, event: &PaymentEvent) {
        let counts = event.amount.same_unit(unit);
        let sum = if counts { event.amount.minor } else { 0 };
        let add = |to: &mut u64| *to = to.saturating_add(sum);
        match event.kind {
            EventKind::Authorized => add(&mut self.authorized),
            EventKind::Charged => add(&mut self.charged),
            EventKind::Refunded => add(&mut self.refunded),
            EventKind::ChargedBack => add(&mut self.charged_back),
            EventKind::ChargeBackReversed => add(&mut self.reversed),
            EventKind::AuthorizationFailed | EventKind::ChargeFailed => self.failures = self.failures.saturating_add(1),
            EventKind::Cancelled => self.cancellations = self.cancellations.saturating_add(1),
            EventKind::Expired => self.expiries = self.expiries.saturating_add(1),
            EventKind::ActionRequired | EventKind::RefundFailed | EventKind::Note => return,
        }
        if !counts {
            self.foreign = self.foreign.saturating_add(1);
        }
        if let Some(fee) = event.fee.as_ref().filter(|fee| fee.same_unit(unit)) {
            self.fees = self.fees.saturating_add(fee.minor);
        }
    }

    /// What went back: refunds, and charge-backs that were not reversed.
    pub fn returned(&self) -> u64 {
        self.refunded.saturating_add(self.charged_back.saturating_sub(self.reversed))
    }

    /// What is left; negative while the news of a charge is still under way.
    pub fn net(&self) -> i128 {
        i128::from(self.charged) - i128::from(self.returned())
    }

    /// The state that follows.
    pub fn state(&self) -> PaymentState {
        match self {
            t if t.charged > 0 && t.net() <= 0 => PaymentState::Refunded,
            t if t.charged > 0 => PaymentState::Charged,
            t if t.cancellations > 0 => PaymentState::Cancelled,
            t if t.expiries > 0 => PaymentState::Expired,
            t if t.authorized > 0 => PaymentState::Authorized,
            t if t.failures > 0 => PaymentState::Failed,
            _ => PaymentState::Open,
        }
    }
}

/// What a payment's events amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PaymentState {
    /// Nothing happened that counts.
    Open,
    /// Money is reserved.
    Authorized,
    /// Money came, and some of it is still here.
    Charged,
    /// Money came and all of it went back.
    Refunded,
    /// An attempt failed.
    Failed,
    /// It was called off.
    Cancelled,
    /// It ran out.
    Expired,
}

impl PaymentState {
    /// May money still come of it?
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Open | Self::Authorized | Self::Charged)
    }
}

/// One attempt to pay an order through one gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Payment {
    /// Its id.
    pub id: PaymentId,
    /// Which order it pays.
    pub order: OrderId,
    /// Id of the gateway's plugin.
    pub gateway: String,
    /// When it was opened.
    #[serde(with = "time::serde::rfc3339")]
    pub opened: OffsetDateTime,
    /// What its events come to.
    pub totals: Totals,
    /// The state that follows.
    pub state: PaymentState,
    /// Sums that were charged in another unit than the order's; they count nothing.
    pub foreign: Vec<Money>,
    /// When money last came, by the payment service's clock.
    #[serde(skip)]
    pub(crate) last_charge: Option<OffsetDateTime>,
}

pub(crate) fn apply_opened(conn: &Connection, seq: i64, at: OffsetDateTime, e: &PaymentOpened) -> Result<()> {
    conn.prepare_cached("INSERT INTO payments(id, seq, order_id, gateway, opened) VALUES(?1, ?2, ?3, ?4, ?5)")?
        .execute(params![e.payment.as_str(), seq, e.order.as_str(), e.gateway, micros(at)])?;
    conn.prepare_cached(
        "UPDATE parked SET n = n - (SELECT count(*) FROM reports WHERE payment = ?1 AND gateway = ?2) WHERE gateway = ?2",
    )?
    .execute(params![e.payment.as_str(), e.gateway])?;
    order::refresh(conn, &e.order, at)
}

pub(crate) fn apply_reported(conn: &Connection, at: OffsetDateTime, e: &PaymentReported) -> Result<()> {
    let body = serde_json::to_vec(&e.event).map_err(Error::unreadable("payment event"))?;
    conn.prepare_cached("INSERT INTO reports(gateway, reference, payment, body) VALUES(?1, ?2, ?3, ?4)")?
        .execute(params![e.gateway, e.event.reference, e.event.payment.as_str(), body])?;
    if let Some((order, _)) = owner(conn, &e.event.payment)? {
        return order::refresh(conn, &order, at);
    }
    conn.prepare_cached("INSERT INTO parked VALUES(?1, 1) ON CONFLICT(gateway) DO UPDATE SET n = n + 1")?
        .execute([&e.gateway])?;
    Ok(())
}

/// The order and the gateway of a payment.
pub(crate) fn owner(conn: &Connection, payment: &PaymentId) -> Result<Option<(OrderId, String)>> {
    let mut statement = conn.prepare_cached("SELECT order_id, gateway FROM payments WHERE id = ?1")?;
    maybe(statement.query_row([payment.as_str()], |row| Ok((parsed(row, "order_id")?, row.get("gateway")?))))
}

/// The payments of an order, oldest first. Only the events of a payment's own gateway count.
pub(crate) fn of_order(conn: &Connection, order: &OrderId, unit: &Money) -> Result<Vec<Payment>> {
    let mut statement =
        conn.prepare_cached("SELECT id, order_id, gateway, opened FROM payments WHERE order_id = ?1 ORDER BY seq")?;
    let rows = statement.query_map([order.as_str()], read_payment)?;
    let mut payments = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    for payment in &mut payments {
        sum_up(conn, payment, unit)?;
    }
    Ok(payments)
}

fn read_payment(row: &rusqlite::Row<'_>) -> rusqlite::Result<Payment> {
    Ok(Payment {
        id: parsed(row, "id")?,
        order: parsed(row, "order_id")?,
        gateway: row.get("gateway")?,
        opened: time(row, "opened")?,
        totals: Totals::default(),
        state: PaymentState::Open,
        foreign: Vec::new(),
        last_charge: None,
    })
}

fn sum_up(conn: &Connection, payment: &mut Payment, unit: &Money) -> Result<()> {
    for event in reports(conn, &payment.id, &payment.gateway)? {
        payment.totals.add(unit, &event);
        if event.kind == EventKind::Charged {
            if event.amount.same_unit(unit) {
                payment.last_charge = payment.last_charge.max(Some(event.at));
            } else {
                payment.foreign.push(event.amount);
            }
        }
    }
    payment.state = payment.totals.state();
    Ok(())
}

pub(crate) const REPORTS: &str = "SELECT body FROM reports WHERE payment = ?1 AND gateway = ?2 ORDER BY reference";

/// A payment's events, by reference.
fn reports(conn: &Connection, payment: &PaymentId, gateway: &str) -> Result<Vec<PaymentEvent>> {
    let mut statement = conn.prepare_cached(REPORTS)?;
    let rows = statement.query_map([payment.as_str(), gateway], |row| row.get::<_, Vec<u8>>(0))?;
    rows.map(|body| serde_json::from_slice(&body?).map_err(Error::unreadable("payment event"))).collect()
}

impl Ledger {
    /// A payment and what its events come to.
    pub async fn payment(&self, id: &PaymentId) -> Result<Option<Payment>> {
        let id = id.clone();
        self.read(move |conn| {
            let Some((order, _)) = owner(conn, &id)? else { return Ok(None) };
            let unit = order::unit(conn, &order)?;
            Ok(of_order(conn, &order, &unit)?.into_iter().find(|p| p.id == id))
        })
        .await
    }

    /// The payments of an order, oldest first.
    pub async fn payments_of(&self, order: &OrderId) -> Result<Vec<Payment>> {
        let order = order.clone();
        self.read(move |conn| of_order(conn, &order, &order::unit(conn, &order)?)).await
    }

    /// A payment's events as its gateway told them, by reference.
    pub async fn payment_events(&self, id: &PaymentId) -> Result<Vec<PaymentEvent>> {
        let id = id.clone();
        self.read(move |conn| match owner(conn, &id)? {
            Some((_, gateway)) => reports(conn, &id, &gateway),
            None => Ok(Vec::new()),
        })
        .await
    }

    /// Payments of orders that wait for money, oldest first, so that the host can ask the gateways about those that are
    /// live, and of orders that ran out, or were settled by another payment, after `late`; at most `limit` (and 500), beginning after the payment `after`.
    pub async fn waiting_payments(
        &self,
        after: Option<&PaymentId>,
        limit: u32,
        late: OffsetDateTime,
    ) -> Result<Vec<Payment>> {
        let after = after.cloned();
        self.read(move |conn| {
            let mut statement = conn.prepare_cached(
                "SELECT p.id, p.order_id, p.gateway, p.opened FROM payments p JOIN orders o ON o.id = p.order_id
                 WHERE (o.state IN ('open', 'pending') OR (o.state = 'expired' AND o.expires > ?3)
                     OR (o.state IN ('fulfilled', 'refunded', 'cancelled') AND p.opened > ?3 AND NOT EXISTS
                         (SELECT 1 FROM reports r WHERE r.gateway = p.gateway AND r.payment = p.id)))
                     AND p.seq > coalesce((SELECT seq FROM payments WHERE id = ?1), 0)
                 ORDER BY p.seq LIMIT ?2",
            )?;
            let rows = statement.query_map(
                params![after.as_ref().map(PaymentId::as_str), limit.min(500), micros(late)],
                read_payment,
            )?;
            let mut payments = rows.collect::<rusqlite::Result<Vec<_>>>()?;
            for payment in &mut payments {
                sum_up(conn, payment, &order::unit(conn, &payment.order)?)?;
            }
            Ok(payments)
        })
        .await
    }

    /// How many events of a gateway wait for a payment that is not known here.
    pub async fn parked(&self, gateway: &str) -> Result<u64> {
        let gateway = gateway.to_owned();
        self.read(move |conn| parked(conn, &gateway)).await
    }
}

pub(crate) fn parked(conn: &Connection, gateway: &str) -> Result<u64> {
    let mut statement = conn.prepare_cached("SELECT n FROM parked WHERE gateway = ?1")?;
    Ok(maybe(statement.query_row([gateway], |row| count(row, "n")))?.unwrap_or(0))
}
