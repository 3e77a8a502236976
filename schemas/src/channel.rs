//! Channels: what a publisher has published, as a signed index that others keep up with.
//!
//! Every change of a publisher's catalogue has a number, which only grows; a work stands in the index at its latest change
//! alone. The index travels in pages: a [`ChannelPage`] says what changed after one number and up to another. So a page
//! stays true when it is old, whoever has the pages can give them on, and whoever was away asks for what came since. A
//! [`ChannelHead`] is the announcement that there is something new. Both are signed by the publisher (`host/trust`).

use minicbor::{Decode, Encode};

use crate::envelope::Payload;
use crate::{BlobHash, PublicKey, ReleaseId, WorkKind};

/// The most changes in a page.
pub const MAX_ENTRIES: usize = 2048;
/// The most tags that an entry names; a work may have more.
pub const MAX_TAGS: usize = 16;
/// The longest tag in an entry, in bytes.
pub const MAX_TAG_BYTES: usize = 64;

/// The latest change of one work.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ChannelEntry {
    /// Its number among the publisher's changes, from 1.
    #[n(0)]
    pub number: u64,
    /// The work's name within its publisher's.
    #[n(1)]
    pub slug: String,
    /// The work's current release, or the last one of a work that was withdrawn.
    #[n(2)]
    pub release: ReleaseId,
    /// Whether it is in the catalogue; else it was withdrawn.
    #[n(3)]
    pub listed: bool,
    /// What the work is.
    #[n(4)]
    pub kind: WorkKind,
    /// What it is filed under: its first tags.
    #[n(5)]
    pub tags: Vec<String>,
    /// The size of all its files in bytes.
    #[n(6)]
    pub size: u64,
}

/// What changed after `since` and up to `through`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ChannelPage {
    /// Whose catalogue it is.
    #[n(0)]
    pub publisher: PublicKey,
    /// The number of the publisher's latest change, when this was signed.
    #[n(1)]
    pub sequence: u64,
    /// Changes after this one.
    #[n(2)]
    pub since: u64,
    /// And up to this one; less than `sequence` where there are more pages.
    #[n(3)]
    pub through: u64,
    /// When this was signed, in seconds since 1970.
    #[n(4)]
    pub time: u64,
    /// The changes, in ascending order.
    #[n(5)]
    pub entries: Vec<ChannelEntry>,
}

/// The announcement that a publisher's catalogue changed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ChannelHead {
    /// Whose catalogue it is.
    #[n(0)]
    pub publisher: PublicKey,
    /// The number of its latest change.
    #[n(1)]
    pub sequence: u64,
    /// When this was signed, in seconds since 1970.
    #[n(2)]
    pub time: u64,
    /// The BLAKE3 hash of the entry of that change, encoded.
    #[n(3)]
    pub newest: BlobHash,
}

impl Payload for ChannelPage {
    const TYPE: &'static str = "application/vnd.fondaco.channel-page.v1+cbor";
}

impl Payload for ChannelHead {
    const TYPE: &'static str = "application/vnd.fondaco.channel-head.v1+cbor";
}
