//! Receipts: what a node signs for another that gave it a release's files. They are the basis of sums, and perhaps of
//! rewards: a receipt proves that the holder of a key says so, and nothing else (`host/decisions/receipts.md`).

use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};

use crate::envelope::Payload;
use crate::{PublicKey, ReleaseId};

/// The longest signed receipt, in bytes.
pub const MAX_RECEIPT_BYTES: usize = 512;

/// What one node delivered to the signer, in one fetch of one release.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Receipt {
    /// Of which release.
    #[n(0)]
    pub release: ReleaseId,
    /// The key of the node that delivered.
    #[n(1)]
    pub seeder: PublicKey,
    /// How many verified bytes of its files.
    #[n(2)]
    pub bytes: u64,
    /// When, in seconds since 1970.
    #[n(3)]
    pub at: u64,
    /// Drawn at random, so that no two receipts are the same.
    #[n(4)]
    pub nonce: ByteArray<16>,
}

impl Payload for Receipt {
    const TYPE: &'static str = "application/vnd.fondaco.receipt.v1+cbor";
}
