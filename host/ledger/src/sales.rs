//! The writing side of a purchase: order, payment, events, right. Each step is one transaction.

use fondaco_schemas::{EntitlementId, OrderId, PaymentId};
use rusqlite::params;
use time::{Duration, OffsetDateTime};

use crate::codec::{count, int, maybe, micros, parsed, settled};
use crate::error::at_most;
use crate::event::{EntitlementGranted, OrderClosed, OrderCreated, PaymentOpened, PaymentReported};
use crate::order::{self, Standing};
use crate::payment;
use crate::writer::Tx;
use crate::{
    Closing, Entitlement, EntitlementBody, Error, Ledger, NewOrder, Order, OrderState, Payment, PaymentEvent, Result,
    entitlement,
};

/// Longest handle of a session, idempotency key or plugin id, in bytes.
const MAX_NAME_BYTES: usize = 128;
/// Longest reference of a payment service, in bytes.
const MAX_REFERENCE_BYTES: usize = 255;
/// Most events of one payment; a lively one has a dozen.
const MOST_REPORTS: u64 = 1024;
/// Most events of one gateway that may wait for an unknown payment.
const MOST_PARKED: u64 = 10_000;
/// Most events at once.
const MOST_EVENTS: usize = 1000;
/// Longest term of an offer, in seconds: a hundred years.
const LONGEST_TERM: u64 = 3_155_760_000;
/// Most orders that one sweep closes.
const MOST_EXPIRED: usize = 256;

/// What became of a gateway's events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Taken.
    pub recorded: u32,
    /// Of those, for payments that are not known here: they count as soon as the payment is opened.
    pub parked: u32,
    /// Known already.
    pub repeated: u32,
    /// Of those, with other content than the first time: the first stands, and somebody should look.
    pub differing: u32,
    /// Refused, since the payment belongs to another gateway.
    pub refused: u32,
    /// Taken, but in another unit than the order's: they count nothing.
    pub foreign: u32,
    /// The orders that were touched, each once.
    pub orders: Vec<OrderId>,
    /// The rights that were granted.
    pub granted: Vec<EntitlementId>,
}

fn create(tx: &mut Tx<'_>, new: NewOrder, at: OffsetDateTime) -> Result<Order> {
    if let Some(known) = order::by_key(tx.conn, &new.session, &new.idempotency_key)? {
        // What the buyer asked for decides. A release that came out between two clicks changes what the caller read
        // from the catalogue, not what the buyer asked.
        let is_same = known.work == new.work
            && known.offer.id == new.offer.id
            && known.holder == new.holder
            && (known.total == new.total || known.release != new.release);
        if is_same {
            return Ok(known);
        }
        return Err(Error::IdempotencyConflict { key: new.idempotency_key, order: known.id });
    }
    let is_taken = tx
        .conn
        .prepare_cached("SELECT EXISTS(SELECT 1 FROM orders WHERE id = ?1 OR entitlement = ?2)")?
        .query_row(params![new.id.as_str(), new.entitlement.as_str()], |row| row.get::<_, bool>(0))?;
    if is_taken {
        return Err(Error::Taken { what: "order", id: new.id.to_string() });
    }
    let id = new.id.clone();
    tx.append(
        at,
        OrderCreated {
            id: new.id,
            session: new.session,
            key: new.idempotency_key,
            holder: new.holder,
            work: new.work,
            release: new.release,
            offer: new.offer,
            total: new.total,
            entitlement: new.entitlement,
            country: new.country,
            expires: new.expires.map(settled).transpose()?,
        },
    )?;
    order::find(tx.conn, &id)?.ok_or(Error::NoOrder(id))
}

fn open(tx: &mut Tx<'_>, id: &OrderId, payment: PaymentId, gateway: String, at: OffsetDateTime) -> Result<Payment> {
    let order = order::find(tx.conn, id)?.ok_or_else(|| Error::NoOrder(id.clone()))?;
    match payment::owner(tx.conn, &payment)? {
        Some((of, by)) if of == *id && by == gateway => {}
        Some(_) => return Err(Error::ForeignPayment(payment)),
        None => {
            let state = match order.expires {
                Some(end) if at >= end => OrderState::Expired,
                _ => order.state,
            };
            if !matches!(state, OrderState::Open | OrderState::Pending) || order.total.is_zero() {
                return Err(Error::WrongState { order: id.clone(), state, act: "paid" });
            }
            tx.append(at, PaymentOpened { payment: payment.clone(), order: id.clone(), gateway })?;
            settle(tx, id, at)?;
        }
    }
    let mut payments = payment::of_order(tx.conn, id, &order.total)?.into_iter();
    payments.find(|p| p.id == payment).ok_or(Error::ForeignPayment(payment))
}

fn report(
    tx: &mut Tx<'_>,
    gateway: &str,
    mut event: PaymentEvent,
    at: OffsetDateTime,
    outcome: &mut Outcome,
) -> Result<()> {
    event.at = settled(event.at)?;
    let owner = payment::owner(tx.conn, &event.payment)?;
    if owner.as_ref().is_some_and(|(_, by)| by != gateway) {
        tracing::warn!(gateway, payment = %event.payment, "a gateway reported on another gateway's payment");
        outcome.refused += 1;
        return Ok(());
    }
    let known = maybe(
        tx.conn
            .prepare_cached("SELECT body FROM reports WHERE gateway = ?1 AND reference = ?2")?
            .query_row([gateway, &event.reference], |row| row.get::<_, Vec<u8>>(0)),
    )?;
    if let Some(known) = known {
        outcome.repeated += 1;
        if serde_json::from_slice::<PaymentEvent>(&known).map_err(Error::unreadable("payment event"))? != event {
            tracing::warn!(gateway, reference = event.reference, "an event came again with other content");
            outcome.differing += 1;
        }
        return Ok(());
    }
    let of_payment = tx
        .conn
        .prepare_cached("SELECT count(*) AS n FROM reports WHERE payment = ?1 AND gateway = ?2")?
        .query_row([event.payment.as_str(), gateway], |row| count(row, "n"))?;
    if of_payment >= MOST_REPORTS {
        return Err(Error::TooMuch { what: "the payment's log", found: of_payment + 1, most: MOST_REPORTS });
    }
    match owner {
        None => {
            let parked = payment::parked(tx.conn, gateway)?;
            if parked >= MOST_PARKED {
                let what = "the list of events for unknown payments";
                return Err(Error::TooMuch { what, found: parked + 1, most: MOST_PARKED });
            }
            outcome.parked += 1;
            tx.append(at, PaymentReported { gateway: gateway.to_owned(), event })?;
        }
        Some((order, _)) => {
            if !event.amount.same_unit(&order::unit(tx.conn, &order)?) {
                outcome.foreign += 1;
            }
            tx.append(at, PaymentReported { gateway: gateway.to_owned(), event })?;
            outcome.granted.extend(settle(tx, &order, at)?);
            if !outcome.orders.contains(&order) {
                outcome.orders.push(order);
            }
        }
    }
    outcome.recorded += 1;
    Ok(())
}

/// Grants the right of an order that is covered and has none: the only place where a sale becomes a right.
fn settle(tx: &mut Tx<'_>, id: &OrderId, at: OffsetDateTime) -> Result<Option<EntitlementId>> {
    if order::state_of(tx.conn, id)? != OrderState::Paid {
        return Ok(None);
    }
    let order = order::find(tx.conn, id)?.ok_or_else(|| Error::NoOrder(id.clone()))?;
    grant(tx, &order, at).map(Some)
}

fn grant(tx: &mut Tx<'_>, order: &Order, at: OffsetDateTime) -> Result<EntitlementId> {
    let id: EntitlementId = tx
        .conn
        .prepare_cached("SELECT entitlement FROM orders WHERE id = ?1")?
        .query_row([order.id.as_str()], |row| parsed(row, "entitlement"))?;
    let granted = settled(at)?;
    let out_of_range = Error::Range { what: "the right's end" };
    let expires = match order.offer.terms.lasts {
        None => None,
        Some(seconds) => {
            let lasts = Duration::seconds(int(seconds, "the offer's term")?);
            Some(granted.checked_add(lasts).ok_or(out_of_range)?)
        }
    };
    let body = EntitlementBody {
        id: id.clone(),
        work: order.work.clone(),
        release: order.release,
        offer: order.offer.id.clone(),
        holder: order.holder,
        granted,
        expires,
    };
    let signature = (tx.options.signer)(&body);
    tx.append(at, EntitlementGranted { order: order.id.clone(), body, signature })?;
    Ok(id)
}

fn claim(tx: &mut Tx<'_>, id: &OrderId, at: OffsetDateTime) -> Result<Entitlement> {
    let order = order::find(tx.conn, id)?.ok_or_else(|| Error::NoOrder(id.clone()))?;
    if order.entitlement.is_none() {
        let state = match order.expires {
            Some(end) if at >= end => OrderState::Expired,
            _ => order.state,
        };
        if !order.total.is_zero() || state != OrderState::Open {
            return Err(Error::WrongState { order: id.clone(), state, act: "had for nothing" });
        }
        grant(tx, &order, at)?;
    }
    entitlement::of_order(tx.conn, id, at)?.ok_or_else(|| Error::NoOrder(id.clone()))
}

fn cancel(tx: &mut Tx<'_>, id: &OrderId, at: OffsetDateTime) -> Result<Order> {
    let order = order::find(tx.conn, id)?.ok_or_else(|| Error::NoOrder(id.clone()))?;
    match order.state {
        OrderState::Cancelled => return Ok(order),
        OrderState::Open | OrderState::Pending if order.balance.paid.is_zero() => {}
        state => return Err(Error::WrongState { order: id.clone(), state, act: "cancelled" }),
    }
    tx.append(at, OrderClosed { order: id.clone(), how: Closing::Cancelled })?;
    order::find(tx.conn, id)?.ok_or_else(|| Error::NoOrder(id.clone()))
}

fn expire(tx: &mut Tx<'_>, now: OffsetDateTime) -> Result<Vec<OrderId>> {
    let due: Vec<OrderId> = {
        let mut statement = tx.conn.prepare_cached(
            "SELECT id FROM orders WHERE state IN ('open', 'pending') AND closed IS NULL AND expires <= ?1 ORDER BY expires",
        )?;
        let mut rows = statement.query([micros(now)])?;
        let mut due = Vec::new();
        while let Some(row) = rows.next()?
            && due.len() < MOST_EXPIRED
        {
            let id = parsed(row, "id")?;
            let standing = Standing::of(payment::of_order(tx.conn, &id, &order::unit(tx.conn, &id)?)?.iter());
            // An order that holds money waits for somebody to decide.
            if standing.net() <= 0 && !standing.authorized {
                due.push(id);
            }
        }
        due
    };
    for order in &due {
        tx.append(now, OrderClosed { order: order.clone(), how: Closing::Expired })?;
    }
    Ok(due)
}

impl Ledger {
    /// Writes an order down, before any gateway is called. The same session and key again give the same order.
    ///
    /// Errors: [`Error::IdempotencyConflict`] where the key was used for another work, offer, holder or sum;
    /// [`Error::WrongTotal`] where the total is less than the offer's price or in another unit.
    pub async fn create_order(&self, new: NewOrder, at: OffsetDateTime) -> Result<Order> {
        at_most("the session's handle", new.session.len(), MAX_NAME_BYTES)?;
        at_most("the idempotency key", new.idempotency_key.len(), MAX_NAME_BYTES)?;
        int(new.total.minor, "the order's total")?;
        if new.offer.terms.lasts.is_some_and(|seconds| seconds > LONGEST_TERM) {
            return Err(Error::Range { what: "the offer's term" });
        }
        if !new.total.same_unit(&new.offer.price) || new.total.minor < new.offer.price.minor {
            return Err(Error::WrongTotal { total: new.total, price: new.offer.price });
        }
        self.write(move |tx| create(tx, new, at)).await
    }

    /// Writes down that a payment begins, before its gateway is called; events that came for it already count at once.
    /// The same payment again changes nothing.
    ///
    /// Errors: [`Error::WrongState`] where the order is not open or pending, is free or has run out;
    /// [`Error::ForeignPayment`] where the id is another order's or gateway's.
    pub async fn open_payment(
        &self,
        order: &OrderId,
        payment: &PaymentId,
        gateway: &str,
        at: OffsetDateTime,
    ) -> Result<Payment> {
        at_most("the gateway's id", gateway.len(), MAX_NAME_BYTES)?;
        let (order, payment, gateway) = (order.clone(), payment.clone(), gateway.to_owned());
        self.write(move |tx| open(tx, &order, payment, gateway, at)).await
    }

    /// Takes what a gateway reports, each reference once, and grants the right of every order that is covered by it, in
    /// one transaction. At most 1000 events at once.
    pub async fn record_payment_events(
        &self,
        gateway: &str,
        events: Vec<PaymentEvent>,
        at: OffsetDateTime,
    ) -> Result<Outcome> {
        at_most("the gateway's id", gateway.len(), MAX_NAME_BYTES)?;
        at_most("the list of events", events.len(), MOST_EVENTS)?;
        for event in &events {
            at_most("the event's reference", event.reference.len(), MAX_REFERENCE_BYTES)?;
        }
        let gateway = gateway.to_owned();
        self.write(move |tx| {
            let mut outcome = Outcome::default();
            for event in events {
                report(tx, &gateway, event, at, &mut outcome)?;
            }
            Ok(outcome)
        })
        .await
    }

    /// Grants the right of an order that costs nothing, once; again, it gives the same right.
    pub async fn claim_free(&self, order: &OrderId, at: OffsetDateTime) -> Result<Entitlement> {
        let order = order.clone();
        self.write(move |tx| claim(tx, &order, at)).await
    }

    /// Calls an order off for which nothing has been paid. Money that comes later is owed back (`balance.over`).
    pub async fn cancel_order(&self, order: &OrderId, at: OffsetDateTime) -> Result<Order> {
        let order = order.clone();
        self.write(move |tx| cancel(tx, &order, at)).await
    }

    /// Closes orders whose time is over and that hold no money, at most 256; call again while there are so many. Money
    /// that comes later counts all the same and is marked late.
    pub async fn expire_orders(&self, now: OffsetDateTime) -> Result<Vec<OrderId>> {
        self.write(move |tx| expire(tx, now)).await
    }
}
