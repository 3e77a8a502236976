//! The append-only event log and its projections, in one SQLite file.
//!
//! What has consequences (a release, an order, a payment, a right, a plugin's installation) is an event: it is appended
//! to a hash-chained log and, in the same transaction, applied to the tables that are read. Those tables can be built
//! anew from the log at any time ([`Ledger::rebuild`]). Outside the chain stand what must stay erasable or is of no
//! consequence to anybody else: sessions, readers' cursors and the plugins' own key-value spaces.
//!
//! The market and the gateway call it. It never calls a plugin, never reads a clock and draws no random number: times
//! and ids are the caller's.

mod catalogue;
mod channel;
mod check;
mod codec;
mod entitlement;
mod error;
mod event;
mod feed;
mod kv;
mod ledger;
mod log;
mod order;
mod payment;
mod plugins;
mod project;
mod reader;
mod receipt;
mod sales;
mod schema;
mod session;
mod stats;
mod tally;
mod trust;
mod writer;

pub use catalogue::{FileUse, Page, Recorded};
pub use channel::Listing;
pub use entitlement::{Ending, Entitlement, EntitlementBody, EntitlementState, Signer};
pub use error::{Error, Result};
pub use feed::Change;
pub use kv::{
    KvEntry, KvQuota, KvReader, KvUsage, KvWrite, MAX_BATCH_BYTES, MAX_KEY_BYTES, MAX_SCAN_BYTES, MAX_VALUE_BYTES,
};
pub use ledger::{ClockBack, Ledger, Options};
pub use log::{Head, LoggedEvent};
pub use order::{Balance, Closing, NewOrder, Order, OrderState};
pub use payment::{EventKind, Payment, PaymentEvent, PaymentState, Totals};
pub use plugins::{PluginAct, PluginChange, PluginEvent, PluginRecord};
pub use receipt::{Delivered, NewReceipt, ReceiptTaken, Taken};
pub use sales::Outcome;
pub use session::{NewSession, Session};
pub use stats::Stats;
pub use tally::Purchases;
pub use trust::TrustSeen;
