//! Trust: keys and their files, signatures, plugin bundles and who may sign them. Pure functions over bytes and a clock
//! that the caller passes in; only key files are read and written. Nothing here touches the network, runs a plugin or
//! remembers anything: the highest version and serial seen so far are given by the caller, who keeps them.

pub mod author;
pub mod bundle;
pub mod channel;
pub mod dsse;
pub mod keys;
pub mod membership;
pub mod receipt;
pub mod release;
pub mod trust_store;
pub mod tuf;
pub mod verify;

pub use author::{AuthorError, prepare, sign_bundle};
pub use bundle::{Bundle, BundleError, pack};
pub use channel::ChannelError;
pub use dsse::{DsseError, Envelope};
pub use keys::{KeyError, KeyFileError, KeyId, KeyPair, check_public_key, key_id};
pub use membership::{MembershipError, sign_membership, verify_membership};
pub use receipt::{SignedReceipt, sign_receipt, verify_receipt};
pub use release::{ReleaseError, sign, verify_entitlement, verify_release};
pub use trust_store::{TrustError, TrustStore};
pub use verify::{Host, Refusal, Verified, verify};

#[cfg(test)]
mod error_texts;
