//! The kinds of events and their bodies.
//!
//! A body is JSON with its fields in the order given here; it is kept and hashed as it was written. A kind's body only
//! ever gains optional fields, so that an old log stays readable.

use fondaco_schemas::{EntitlementId, Offer, OrderId, PaymentId, Release, ReleaseId, WorkId};
use serde::{Deserialize, Serialize};

use crate::codec::{base64, cbor64, exact};
use crate::{Closing, Ending, EntitlementBody, Error, PaymentEvent, PluginChange, ReceiptTaken, Result, TrustSeen};

macro_rules! events {
    ($($name:ident = $kind:literal,)*) => {
        /// What happened.
        #[derive(Clone, Debug)]
        pub(crate) enum Event { $($name($name),)* }

        impl Event {
            /// The kind as the log holds it.
            pub(crate) const fn kind(&self) -> &'static str {
                match self { $(Self::$name(_) => $kind,)* }
            }
            /// The body as the log holds it.
            pub(crate) fn body(&self) -> Result<Vec<u8>> {
                match self { $(Self::$name(body) => serde_json::to_vec(body),)* }.map_err(Error::unreadable("event"))
            }
            /// Reads an event back.
            pub(crate) fn read(kind: &str, body: &[u8]) -> Result<Self> {
                match kind {
                    $($kind => serde_json::from_slice(body).map(Self::$name).map_err(Error::unreadable("event")),)*
                    _ => Err(Error::Unreadable { what: "event", source: format!("unknown kind {kind:?}").into() }),
                }
            }
        }
        $(impl From<$name> for Event {
            fn from(body: $name) -> Self { Self::$name(body) }
        })*
    };
}

events! {
    ReleaseRecorded = "release.recorded",
    WorkUnpublished = "work.unpublished",
    OrderCreated = "order.created",
    OrderClosed = "order.closed",
    PaymentOpened = "payment.opened",
    PaymentReported = "payment.reported",
    EntitlementGranted = "entitlement.granted",
    EntitlementEnded = "entitlement.ended",
    PluginChange = "plugin.changed",
    TrustSeen = "trust.seen",
    ReceiptTaken = "receipt.taken",
}

/// A verified release entered the catalogue.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ReleaseRecorded {
    pub(crate) id: ReleaseId,
    #[serde(with = "cbor64")]
    pub(crate) release: Release,
    #[serde(with = "base64")]
    pub(crate) envelope: Vec<u8>,
}

/// A work left the catalogue. What was sold stays sold.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct WorkUnpublished {
    pub(crate) work: WorkId,
}

/// An order was written, before any gateway was called.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OrderCreated {
    pub(crate) id: OrderId,
    pub(crate) session: String,
    pub(crate) key: String,
    pub(crate) holder: fondaco_schemas::HolderKey,
    pub(crate) work: WorkId,
    pub(crate) release: ReleaseId,
    #[serde(with = "cbor64")]
    pub(crate) offer: Offer,
    #[serde(with = "exact")]
    pub(crate) total: fondaco_schemas::Money,
    pub(crate) entitlement: EntitlementId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) country: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub(crate) expires: Option<time::OffsetDateTime>,
}

/// An order was called off or ran out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OrderClosed {
    pub(crate) order: OrderId,
    pub(crate) how: Closing,
}

/// An attempt to pay begins; the gateway is called after this is durable.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PaymentOpened {
    pub(crate) payment: PaymentId,
    pub(crate) order: OrderId,
    pub(crate) gateway: String,
}

/// A gateway said what happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PaymentReported {
    pub(crate) gateway: String,
    pub(crate) event: PaymentEvent,
}

/// An order was covered and its right granted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct EntitlementGranted {
    pub(crate) order: OrderId,
    pub(crate) body: EntitlementBody,
    #[serde(with = "base64")]
    pub(crate) signature: Vec<u8>,
}

/// A right was taken back or given back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct EntitlementEnded {
    pub(crate) entitlement: EntitlementId,
    pub(crate) how: Ending,
    pub(crate) reason: String,
}
