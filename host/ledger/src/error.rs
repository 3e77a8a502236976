//! What can go wrong with a ledger, in words for the operator.

use std::path::PathBuf;

use fondaco_schemas::{EntitlementId, Money, OrderId, PaymentId, WorkId};

use crate::OrderState;

/// A result of the ledger.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the ledger refused or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be opened or prepared.
    #[error("the ledger {path} cannot be opened")]
    Open {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The database, its lock file or a copy could not be made.
    #[error("the ledger's file {path} cannot be written")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process has it open.
    #[error("the ledger {path} is in use by another process: stop that one first")]
    InUse {
        /// The database file.
        path: PathBuf,
    },
    /// The file is damaged.
    #[error("the ledger {path} is damaged ({what}): restore it from a backup")]
    Damaged {
        /// The database file.
        path: PathBuf,
        /// What the check found first.
        what: String,
    },
    /// The file was written by a later version of the program.
    #[error("the ledger {path} has schema {found} and this program knows up to {known}: use the newer program")]
    NewerSchema {
        /// The database file.
        path: PathBuf,
        /// The file's schema.
        found: u32,
        /// The newest that this program knows.
        known: u32,
    },
    /// The linked SQLite is older than 3.51.3, which can lose data in WAL mode.
    #[error("SQLite {found} can lose data: build with 3.51.3 or later")]
    OldSqlite {
        /// The linked version.
        found: &'static str,
    },
    /// A commit failed, so that nothing more is written until a restart. A write that was under way may have been kept.
    #[error("ledger stopped: {why}")]
    Stopped {
        /// The first failure.
        why: String,
    },
    /// SQLite refused a statement.
    #[error("the ledger's database failed")]
    Sql(#[from] rusqlite::Error),
    /// A row holds what this program did not write.
    #[error("the ledger holds an unreadable {what}")]
    Unreadable {
        /// Which value.
        what: &'static str,
        /// Why it could not be read.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The hash chain does not hold.
    #[error("the log was tampered with at event {seq}: {what}")]
    Chain {
        /// The first event that does not fit.
        seq: u64,
        /// How.
        what: &'static str,
    },
    /// The time given lies more than a day before the last event's.
    #[error(
        "the clock says {at}, but the last event was written at {last}: set the clock right, or, where it is right and was wrong before, start with `fondaco up --clock-was-wrong`"
    )]
    ClockWentBack {
        /// The time given, RFC 3339.
        at: String,
        /// The last event's time, RFC 3339.
        last: String,
    },
    /// A release must carry a higher sequence than those before it.
    #[error("release {offered} of {work} is refused: {have} is recorded already")]
    OldRelease {
        /// Which work.
        work: WorkId,
        /// The sequence that is recorded.
        have: u64,
        /// The sequence that was offered.
        offered: u64,
    },
    /// No such work is listed.
    #[error("no work {0} in the catalogue")]
    NoWork(WorkId),
    /// No such order.
    #[error("no order {0}")]
    NoOrder(OrderId),
    /// No such entitlement.
    #[error("no entitlement {0}")]
    NoEntitlement(EntitlementId),
    /// No such session.
    #[error("no such session")]
    NoSession,
    /// The key was used for something else.
    #[error("the idempotency key {key:?} belongs to another purchase, {order}: use a new key")]
    IdempotencyConflict {
        /// The key.
        key: String,
        /// The order that it made.
        order: OrderId,
    },
    /// An id is in use with other content.
    #[error("{what} {id} exists already with other content")]
    Taken {
        /// What kind of thing.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// An order does not allow an act in its state.
    #[error("order {order} is {state} and cannot be {act}")]
    WrongState {
        /// Which order.
        order: OrderId,
        /// Its state.
        state: OrderState,
        /// What was asked.
        act: &'static str,
    },
    /// An order's total does not fit its offer.
    #[error("an order of {total} does not fit an offer for {price}: it takes that sum or more, in the same unit")]
    WrongTotal {
        /// What the order says.
        total: Money,
        /// What the offer asks.
        price: Money,
    },
    /// Another payment has the id.
    #[error("payment {0} belongs to another order or gateway")]
    ForeignPayment(PaymentId),
    /// A plugin's space has no room for the batch.
    #[error("the space of {plugin} is full: it would hold {needed} {what}, and may hold {quota}")]
    Quota {
        /// Which plugin.
        plugin: String,
        /// Bytes or keys.
        what: &'static str,
        /// What the space would hold of them.
        needed: u64,
        /// What it may hold.
        quota: u64,
    },
    /// A check in a batch did not hold; nothing was written.
    #[error("check {index} of the batch of {plugin} does not hold")]
    CheckFailed {
        /// Which plugin.
        plugin: String,
        /// The write's place in the batch, from 0.
        index: usize,
    },
    /// A value is longer or a list fuller than allowed.
    #[error("{what} has {found} where at most {most} are allowed")]
    TooMuch {
        /// What is too long.
        what: &'static str,
        /// Its length, in bytes or entries.
        found: u64,
        /// The limit.
        most: u64,
    },
    /// A value cannot be kept.
    #[error("{what} is out of range")]
    Range {
        /// Which value.
        what: &'static str,
    },
    /// A cursor that this ledger did not give out.
    #[error("{0:?} is no cursor of this catalogue: begin at the first page")]
    Cursor(String),
}

impl Error {
    /// Wraps what could not be read back.
    pub(crate) fn unreadable<E>(what: &'static str) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        move |source| Self::Unreadable { what, source: source.into() }
    }
}

/// A length that an outsider named, held against its limit.
pub(crate) fn at_most(what: &'static str, found: usize, most: usize) -> Result<()> {
    if found <= most {
        return Ok(());
    }
    Err(Error::TooMuch { what, found: found as u64, most: most as u64 })
}
