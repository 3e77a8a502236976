//! The node over HTTP: the storefront at `/`, files and ranges, licences, webhooks, the library's key, health and metrics,
//! links to works, and the operator's page about the swarm of a work.
//! It speaks HTTP and holds no state but copies of pages that say the same to everybody, for a second (`kept`); what
//! anything means it asks the market.
//!
//! Invariant: what a storefront answers passes [`shop`] on its way out, so that no plugin sets a cookie, a policy or a
//! `Location` elsewhere. Invariant: a page that is kept was made for nobody. Invariant: bytes of files come from the
//! store's verified readers only.

mod accept;
mod answer;
mod app;
mod closed;
mod desk;
mod files;
mod kept;
mod language;
mod links;
mod metrics;
mod plugin_metrics;
mod range;
mod session;
mod shop;
mod stall;
mod theme;

pub use accept::{Gateway, Limits, ServeError};
pub use desk::{AskSwarm, Sharer, Sharing};
pub use links::AskLink;
pub use metrics::MoreMetrics;
