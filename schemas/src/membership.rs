//! Memberships: what the holder of a private network's key signs for a node, so that it may join without anybody editing the
//! files of the others (`host/decisions/membership.md`).

use minicbor::{Decode, Encode};

use crate::PublicKey;
use crate::envelope::Payload;

/// The longest signed membership, in bytes.
pub const MAX_MEMBERSHIP_BYTES: usize = 512;
/// The longest name in one, in bytes.
pub const MAX_MEMBER_NAME_BYTES: usize = 64;

/// A node belongs to the network of whoever signs this.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Membership {
    /// The public key of the network's authority, which signs.
    #[n(0)]
    pub network: PublicKey,
    /// The public key of the node, from which its id in the swarm follows.
    #[n(1)]
    pub member: PublicKey,
    /// The last second in which it holds, in seconds since 1970.
    #[n(2)]
    pub not_after: u64,
    /// What the authority calls the node, for people.
    #[n(3)]
    pub name: Option<String>,
}

impl Payload for Membership {
    const TYPE: &'static str = "application/vnd.fondaco.membership.v1+cbor";
}
