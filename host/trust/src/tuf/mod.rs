//! Registries of plugins, by The Update Framework 1.0 (<https://theupdateframework.github.io/specification/v1.0.34/>):
//! what a registry adds to a bundle's own signatures is that nobody can hand out an old version as the newest, hold back
//! a new one for long, or mix files of different times. Whether a bundle may run is still decided by [`crate::verify`].
//!
//! [`client`] is the workflow of a node (section 5 of the specification), [`author`] makes the files of a registry. Both
//! are pure: they take bytes and a clock, and give decisions. `host/node` fetches, keeps and writes. Stock tools read
//! what [`author`] writes, and [`client`] reads what stock tools write, as far as it is signed with Ed25519.

pub mod author;
pub mod client;
mod error;
pub mod json;
mod keys;
mod metadata;
mod pattern;
pub mod shelf;

pub use author::{Draft, Expiry};
pub use client::{Found, Request, Update};
pub use error::{Refused, Why};
pub use json::Json;
pub use keys::tuf_key_id;
pub use metadata::{Delegation, Hashes, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp, TopRole};

pub use crate::keys::sha256;
use time::{Duration, OffsetDateTime};

/// The longest `root.json` that is read, in bytes. Its length is not known before (5.3.3).
pub const MAX_ROOT_BYTES: u64 = 512 << 10;
/// The longest `timestamp.json`, in bytes. Its length is not known before (5.4.1).
pub const MAX_TIMESTAMP_BYTES: u64 = 16 << 10;
/// The longest `snapshot.json`, in bytes, whatever the timestamp says.
pub const MAX_SNAPSHOT_BYTES: u64 = 2 << 20;
/// The longest metadata of targets, in bytes, whatever the snapshot says.
pub const MAX_TARGETS_BYTES: u64 = 5 << 20;
/// All metadata of targets that one update loads, in bytes.
pub const MAX_LOADED_BYTES: u64 = 32 << 20;
/// So many new roots are followed in one update; the next update goes on from there (5.3.3).
pub const MAX_ROOTS: u32 = 1024;
/// So many roles are visited in the search for one target, and so many are loaded to list all (5.6.7.1).
pub const MAX_ROLES: usize = 256;
/// The highest version of a file. A registry that publishes every second needs more than a century for it; whoever
/// jumps further wants to lock clients out.
pub const MAX_VERSION: u64 = u32::MAX as u64;
/// A clock that is further behind what it showed before is not believed.
pub const MAX_SKEW: Duration = Duration::hours(24);

/// The time that expiry is judged by (5.1): no earlier than what the clock showed before, nor than when this program was
/// made, so that a clock that is set back does not make old files fresh. Refused: a clock that is more than [`MAX_SKEW`]
/// behind what it showed before.
pub fn clock(
    system: OffsetDateTime,
    seen: Option<OffsetDateTime>,
    built: OffsetDateTime,
) -> Result<OffsetDateTime, Why> {
    if let Some(seen) = seen.filter(|seen| *seen - system > MAX_SKEW) {
        return Err(Why::Clock { system, seen });
    }
    Ok(system.max(built).max(seen.unwrap_or(built)))
}

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod simulator;
#[cfg(test)]
mod tests;
