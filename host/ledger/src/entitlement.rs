//! Rights that buyers hold. Each is granted once, from a covered order, and signed in that moment.

use std::sync::Arc;

use fondaco_schemas::{EntitlementId, HolderKey, OrderId, ReleaseId, WorkId};
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::codec::{maybe, micros, parsed};
use crate::error::at_most;
use crate::event::{EntitlementEnded, EntitlementGranted};
use crate::{Error, Ledger, Result, order};

/// Signs the body of a right with the node's key. How a body is encoded for that is the signer's affair.
pub type Signer = Arc<dyn Fn(&EntitlementBody) -> Vec<u8> + Send + Sync>;

/// What a right says; it never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntitlementBody {
    /// Its id.
    pub id: EntitlementId,
    /// To which work.
    pub work: WorkId,
    /// To which of its releases.
    pub release: ReleaseId,
    /// By which offer.
    pub offer: String,
    /// Whose it is.
    pub holder: HolderKey,
    /// When it was granted.
    #[serde(with = "time::serde::rfc3339")]
    pub granted: OffsetDateTime,
    /// When it ends; absent: for good.
    #[serde(with = "time::serde::rfc3339::option")]
    pub expires: Option<OffsetDateTime>,
}

/// The state of a right, in the words of `types.entitlement-state` of the plugin interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntitlementState {
    /// It may be used.
    Active,
    /// Its order is no longer covered; it is active again once that is.
    Suspended,
    /// Its time is over.
    Expired,
    /// It was taken back.
    Revoked,
    /// It was given back.
    Returned,
}

/// How a right ends before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// Taken back by the seller.
    Revoked,
    /// Given back by the holder.
    Returned,
}

/// A right as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entitlement {
    /// What it says.
    pub body: EntitlementBody,
    /// The order that it came from.
    pub order: OrderId,
    /// The node's signature.
    pub signature: Vec<u8>,
    /// Its state at the time asked about.
    pub state: EntitlementState,
}

pub(crate) fn apply_granted(conn: &Connection, at: OffsetDateTime, e: &EntitlementGranted) -> Result<()> {
    let body = serde_json::to_vec(&e.body).map_err(Error::unreadable("entitlement"))?;
    conn.prepare_cached(
        "INSERT INTO entitlements(id, order_id, holder, release, granted, body, signature, covered)
         VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, 1)",
    )?
    .execute(params![
        e.body.id.as_str(),
        e.order.as_str(),
        e.body.holder.as_bytes(),
        e.body.release.as_bytes(),
        micros(e.body.granted),
        body,
        e.signature,
    ])?;
    conn.prepare_cached("UPDATE orders SET settled = ?2 WHERE id = ?1")?
        .execute(params![e.order.as_str(), micros(at)])?;
    order::refresh(conn, &e.order, at)
}

pub(crate) fn apply_ended(conn: &Connection, e: &EntitlementEnded) -> Result<()> {
    let how = match e.how {
        Ending::Revoked => "revoked",
        Ending::Returned => "returned",
    };
    // The first ending stands.
    conn.prepare_cached("UPDATE entitlements SET ended = ?2 WHERE id = ?1 AND ended IS NULL")?
        .execute(params![e.entitlement.as_str(), how])?;
    Ok(())
}

struct Stored {
    order: OrderId,
    body: Vec<u8>,
    signature: Vec<u8>,
    covered: bool,
    ended: Option<String>,
}

const COLUMNS: &str = "SELECT order_id, body, signature, covered, ended FROM entitlements";

fn read_stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    Ok(Stored {
        order: parsed(row, "order_id")?,
        body: row.get("body")?,
        signature: row.get("signature")?,
        covered: row.get("covered")?,
        ended: row.get("ended")?,
    })
}

impl Stored {
    fn at(self, now: OffsetDateTime) -> Result<Entitlement> {
        let body: EntitlementBody = serde_json::from_slice(&self.body).map_err(Error::unreadable("entitlement"))?;
        let state = match self.ended.as_deref() {
            Some("returned") => EntitlementState::Returned,
            Some(_) => EntitlementState::Revoked,
            None if body.expires.is_some_and(|end| end <= now) => EntitlementState::Expired,
            None if !self.covered => EntitlementState::Suspended,
            None => EntitlementState::Active,
        };
        Ok(Entitlement { body, order: self.order, signature: self.signature, state })
    }
}

/// The right of an id, as it stands at a time.
pub(crate) fn find(conn: &Connection, id: &EntitlementId, now: OffsetDateTime) -> Result<Option<Entitlement>> {
    let mut statement = conn.prepare_cached(&format!("{COLUMNS} WHERE id = ?1"))?;
    maybe(statement.query_row([id.as_str()], read_stored))?.map(|stored| stored.at(now)).transpose()
}

/// The right that an order granted.
pub(crate) fn of_order(conn: &Connection, order: &OrderId, now: OffsetDateTime) -> Result<Option<Entitlement>> {
    let mut statement = conn.prepare_cached(&format!("{COLUMNS} WHERE order_id = ?1"))?;
    maybe(statement.query_row([order.as_str()], read_stored))?.map(|stored| stored.at(now)).transpose()
}

impl Ledger {
    /// A right, in the state that it has at `now`.
    pub async fn entitlement(&self, id: &EntitlementId, now: OffsetDateTime) -> Result<Option<Entitlement>> {
        let id = id.clone();
        self.read(move |conn| find(conn, &id, now)).await
    }

    /// All rights of a holder, newest first, in the states that they have at `now`.
    pub async fn library(&self, holder: HolderKey, now: OffsetDateTime) -> Result<Vec<Entitlement>> {
        self.read(move |conn| {
            let sql = format!("{COLUMNS} WHERE holder = ?1 ORDER BY granted DESC, id");
            let mut statement = conn.prepare_cached(&sql)?;
            let rows = statement.query_map([holder.as_bytes()], read_stored)?;
            rows.map(|stored| stored?.at(now)).collect()
        })
        .await
    }

    /// Ends a right before its time, for good. Ending it again changes nothing: the first ending stands.
    pub async fn end_entitlement(
        &self,
        id: &EntitlementId,
        how: Ending,
        reason: &str,
        at: OffsetDateTime,
    ) -> Result<Entitlement> {
        at_most("the reason", reason.len(), 1024)?;
        let (id, reason) = (id.clone(), reason.to_owned());
        self.write(move |tx| {
            let found = find(tx.conn, &id, at)?.ok_or_else(|| Error::NoEntitlement(id.clone()))?;
            if matches!(found.state, EntitlementState::Revoked | EntitlementState::Returned) {
                return Ok(found);
            }
            tx.append(at, EntitlementEnded { entitlement: id.clone(), how, reason })?;
            find(tx.conn, &id, at)?.ok_or(Error::NoEntitlement(id))
        })
        .await
    }
}
