//! Orders: what somebody wants to buy, frozen at that moment, and the state that its payments put it in.

use std::fmt;
use std::str::FromStr;

use fondaco_schemas::{EntitlementId, HolderKey, Money, Offer, OrderId, ReleaseId, WorkId};
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::codec::{bytes, cbor, int, maybe, maybe_time, micros, money, parsed, time, to_cbor};
use crate::event::{OrderClosed, OrderCreated};
use crate::payment::{self, Payment};
use crate::{Error, Ledger, Result};

/// What an order is made of. Ids are random and the caller's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewOrder {
    /// The order's id.
    pub id: OrderId,
    /// Handle of the session that orders, at most 128 bytes.
    pub session: String,
    /// Whose library the right goes to.
    pub holder: HolderKey,
    /// Which work.
    pub work: WorkId,
    /// Which of its releases.
    pub release: ReleaseId,
    /// The offer as it stands at this moment.
    pub offer: Offer,
    /// What is to be paid: the offer's price, or more where the buyer names the sum.
    pub total: Money,
    /// Makes a repetition harmless: unique within the session, at most 128 bytes.
    pub idempotency_key: String,
    /// The id that the right will have.
    pub entitlement: EntitlementId,
    /// The country that the buyer says they are in, as two letters of ISO 3166-1; none: nobody asked.
    pub country: Option<String>,
    /// From when on no payment may be opened any more.
    pub expires: Option<OffsetDateTime>,
}

/// The state of an order, in the words of `commerce.order-state` of the plugin interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OrderState {
    /// Nothing is under way.
    Open,
    /// A payment is under way, or a part is paid.
    Pending,
    /// Covered, the right not yet granted: only within the transaction that sees it covered.
    Paid,
    /// The right is granted.
    Fulfilled,
    /// So much went back that the order is no longer covered.
    Refunded,
    /// Called off before it was paid.
    Cancelled,
    /// Nothing was paid in time.
    Expired,
}

impl OrderState {
    /// Its name in files and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Pending => "pending",
            Self::Paid => "paid",
            Self::Fulfilled => "fulfilled",
            Self::Refunded => "refunded",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for OrderState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for OrderState {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let all =
            [Self::Open, Self::Pending, Self::Paid, Self::Fulfilled, Self::Refunded, Self::Cancelled, Self::Expired];
        let unknown = || Error::Unreadable { what: "order state", source: format!("{text:?} is none").into() };
        all.into_iter().find(|s| s.as_str() == text).ok_or_else(unknown)
    }
}

/// How an order is closed unpaid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Closing {
    /// Somebody called it off: what is paid afterwards is owed back and grants nothing.
    Cancelled,
    /// Its time ran out: what is paid afterwards counts, and is marked late.
    Expired,
}

impl Closing {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }
}

/// How payments and total compare. What is not zero, or marked, has a way out: top up, refund, or leave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Balance {
    /// What has been paid and not gone back.
    pub paid: Money,
    /// What is missing.
    pub due: Money,
    /// What was paid too much.
    pub over: Money,
    /// Money came after the order's time, by the payment service's clock.
    pub is_late: bool,
    /// Sums that were charged in another unit; they count nothing.
    pub foreign: Vec<Money>,
}

/// An order as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Order {
    /// Its id.
    pub id: OrderId,
    /// Handle of the session that ordered.
    pub session: String,
    /// Whose library the right goes to.
    pub holder: HolderKey,
    /// Which work.
    pub work: WorkId,
    /// Which of its releases.
    pub release: ReleaseId,
    /// The offer, frozen.
    pub offer: Offer,
    /// What is to be paid.
    pub total: Money,
    /// Its state.
    pub state: OrderState,
    /// The right that it granted.
    pub entitlement: Option<EntitlementId>,
    /// How payments and total compare.
    pub balance: Balance,
    /// The gateway that was tried last.
    pub gateway: Option<String>,
    /// The country that the buyer said they are in.
    pub country: Option<String>,
    /// When it was written.
    #[serde(with = "time::serde::rfc3339")]
    pub created: OffsetDateTime,
    /// When something last happened to it.
    #[serde(with = "time::serde::rfc3339")]
    pub updated: OffsetDateTime,
    /// From when on no payment may be opened.
    #[serde(with = "time::serde::rfc3339::option")]
    pub expires: Option<OffsetDateTime>,
}

/// What an order's payments come to.
pub(crate) struct Standing {
    pub(crate) charged: u128,
    pub(crate) returned: u128,
    pub(crate) authorized: bool,
    pub(crate) has_live: bool,
}

impl Standing {
    pub(crate) fn of<'p>(payments: impl Iterator<Item = &'p Payment>) -> Self {
        let mut standing = Self { charged: 0, returned: 0, authorized: false, has_live: false };
        for Payment { totals, state, .. } in payments {
            standing.charged += u128::from(totals.charged);
            standing.returned += u128::from(totals.returned());
            standing.authorized |= totals.authorized > 0 && state.is_live();
            standing.has_live |= state.is_live();
        }
        standing
    }

    /// What is left; below zero while the news of a charge is still under way.
    pub(crate) fn net(&self) -> i128 {
        let wide = |n: u128| i128::try_from(n).unwrap_or(i128::MAX);
        wide(self.charged).saturating_sub(wide(self.returned))
    }

    /// Is that enough?
    pub(crate) fn covers(&self, total: u64) -> bool {
        self.net() >= i128::from(total)
    }
}

/// The state of an order: a function of sums and marks, so that the order of events does not matter.
pub(crate) fn state(total: u64, standing: &Standing, is_granted: bool, closed: Option<Closing>) -> OrderState {
    let was_covered = standing.charged > 0 && standing.charged >= u128::from(total);
    let gone_back = standing.returned > 0 && (was_covered || (standing.charged > 0 && standing.net() <= 0));
    match closed {
        Some(Closing::Cancelled) => OrderState::Cancelled,
        _ if total == 0 && is_granted => OrderState::Fulfilled,
        _ if total > 0 && standing.covers(total) && is_granted => OrderState::Fulfilled,
        _ if total > 0 && standing.covers(total) => OrderState::Paid,
        _ if gone_back => OrderState::Refunded,
        Some(Closing::Expired) if standing.net() <= 0 => OrderState::Expired,
        _ if standing.has_live || standing.net() > 0 => OrderState::Pending,
        _ => OrderState::Open,
    }
}

pub(crate) fn apply_created(conn: &Connection, seq: i64, at: OffsetDateTime, e: &OrderCreated) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO orders(id, seq, session, key, holder, work, release, offer_id, offer, minor, asset, exponent,
            entitlement, state, created, updated, expires, country)
         VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, 'open', ?14, ?14, ?15, ?16)",
    )?
    .execute(params![
        e.id.as_str(),
        seq,
        e.session,
        e.key,
        e.holder.as_bytes(),
        e.work.to_string(),
        e.release.as_bytes(),
        e.offer.id,
        to_cbor(&e.offer)?,
        int(e.total.minor, "the order's total")?,
        e.total.asset.as_str(),
        e.total.exponent,
        e.entitlement.as_str(),
        micros(at),
        e.expires.map(micros),
        e.country,
    ])?;
    Ok(())
}

pub(crate) fn apply_closed(conn: &Connection, at: OffsetDateTime, e: &OrderClosed) -> Result<()> {
    conn.prepare_cached("UPDATE orders SET closed = ?2 WHERE id = ?1")?
        .execute(params![e.order.as_str(), e.how.as_str()])?;
    refresh(conn, &e.order, at)
}

/// Writes down the state that the order's payments put it and its right in.
pub(crate) fn refresh(conn: &Connection, order: &OrderId, at: OffsetDateTime) -> Result<()> {
    let unit = unit(conn, order)?;
    let standing = Standing::of(payment::of_order(conn, order, &unit)?.iter());
    let covered = standing.covers(unit.minor);
    conn.prepare_cached("UPDATE entitlements SET covered = ?2 WHERE order_id = ?1")?
        .execute(params![order.as_str(), covered])?;
    let (is_granted, closed) = conn
        .prepare_cached(
            "SELECT EXISTS(SELECT 1 FROM entitlements WHERE order_id = ?1), closed FROM orders WHERE id = ?1",
        )?
        .query_row([order.as_str()], |row| Ok((row.get(0)?, row.get::<_, Option<String>>(1)?)))?;
    let closed = match closed.as_deref() {
        Some("cancelled") => Some(Closing::Cancelled),
        Some(_) => Some(Closing::Expired),
        None => None,
    };
    let state = state(unit.minor, &standing, is_granted, closed);
    conn.prepare_cached("UPDATE orders SET state = ?2, updated = max(updated, ?3) WHERE id = ?1")?.execute(params![
        order.as_str(),
        state.as_str(),
        micros(at)
    ])?;
    Ok(())
}

/// An order's total, which is also the unit of all its sums.
pub(crate) fn unit(conn: &Connection, order: &OrderId) -> Result<Money> {
    let mut statement = conn.prepare_cached("SELECT minor, asset, exponent FROM orders WHERE id = ?1")?;
    maybe(statement.query_row([order.as_str()], money))?.ok_or_else(|| Error::NoOrder(order.clone()))
}

/// An order's state as it was last written down.
pub(crate) fn state_of(conn: &Connection, order: &OrderId) -> Result<OrderState> {
    let mut statement = conn.prepare_cached("SELECT state FROM orders WHERE id = ?1")?;
    let state = maybe(statement.query_row([order.as_str()], |row| parsed(row, "state")))?;
    state.ok_or_else(|| Error::NoOrder(order.clone()))
}

const ORDER: &str = "SELECT o.*, EXISTS(SELECT 1 FROM entitlements e WHERE e.order_id = o.id) AS granted FROM orders o";

fn read_order(row: &Row<'_>) -> rusqlite::Result<Order> {
    let total = money(row)?;
    let (granted, entitlement) = (row.get::<_, bool>("granted")?, parsed(row, "entitlement")?);
    Ok(Order {
        id: parsed(row, "id")?,
        session: row.get("session")?,
        holder: bytes(row, "holder", HolderKey::new)?,
        work: parsed(row, "work")?,
        release: bytes(row, "release", ReleaseId::new)?,
        offer: cbor(row, "offer")?,
        state: parsed(row, "state")?,
        entitlement: granted.then_some(entitlement),
        balance: Balance {
            paid: total.zero(),
            due: total.clone(),
            over: total.zero(),
            is_late: false,
            foreign: vec![],
        },
        total,
        gateway: None,
        country: row.get("country")?,
        created: time(row, "created")?,
        updated: time(row, "updated")?,
        expires: maybe_time(row, "expires")?,
    })
}

/// Adds what the payments say.
fn with_payments(conn: &Connection, mut order: Order) -> Result<Order> {
    let payments = payment::of_order(conn, &order.id, &order.total)?;
    let net = u64::try_from(Standing::of(payments.iter()).net().max(0)).unwrap_or(u64::MAX);
    let sum = |minor| Money { minor, ..order.total.clone() };
    let wanted = if order.state == OrderState::Cancelled { 0 } else { order.total.minor };
    order.balance = Balance {
        paid: sum(net),
        due: sum(wanted.saturating_sub(net)),
        over: sum(net.saturating_sub(wanted)),
        is_late: order.expires.is_some_and(|end| payments.iter().any(|p| p.last_charge.is_some_and(|at| at > end))),
        foreign: payments.iter().flat_map(|p| p.foreign.iter().cloned()).collect(),
    };
    order.gateway = payments.into_iter().next_back().map(|p| p.gateway);
    Ok(order)
}

/// The order of an id.
pub(crate) fn find(conn: &Connection, id: &OrderId) -> Result<Option<Order>> {
    let mut statement = conn.prepare_cached(&format!("{ORDER} WHERE o.id = ?1"))?;
    maybe(statement.query_row([id.as_str()], read_order))?.map(|o| with_payments(conn, o)).transpose()
}

/// The order that a session made with a key.
pub(crate) fn by_key(conn: &Connection, session: &str, key: &str) -> Result<Option<Order>> {
    let mut statement = conn.prepare_cached(&format!("{ORDER} WHERE o.session = ?1 AND o.key = ?2"))?;
    maybe(statement.query_row([session, key], read_order))?.map(|o| with_payments(conn, o)).transpose()
}

impl Ledger {
    /// An order as it stands.
    pub async fn order(&self, id: &OrderId) -> Result<Option<Order>> {
        let id = id.clone();
        self.read(move |conn| find(conn, &id)).await
    }

    /// Orders, newest first, those of one session or all; at most `limit` (and 500), beginning below the order `after`.
    pub async fn orders(&self, session: Option<&str>, after: Option<&OrderId>, limit: u32) -> Result<Vec<Order>> {
        let (session, after) = (session.map(str::to_owned), after.cloned());
        self.read(move |conn| {
            let sql = format!(
                "{ORDER} WHERE (?1 IS NULL OR o.session = ?1)
                 AND o.seq < coalesce((SELECT seq FROM orders WHERE id = ?2), {max}) ORDER BY o.seq DESC LIMIT ?3",
                max = i64::MAX
            );
            let mut statement = conn.prepare_cached(&sql)?;
            let rows = statement
                .query_map(params![session, after.as_ref().map(OrderId::as_str), limit.min(500)], read_order)?;
            rows.map(|order| with_payments(conn, order?)).collect()
        })
        .await
    }
}
