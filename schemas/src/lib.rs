//! What crosses a boundary: ids, money, works, the signed envelope, plugin manifests, deployment files and capabilities,
//! with the plugin interface itself in `schemas/wit`. Everyone may use it; it does no I/O.

pub mod id;
pub mod money;
pub mod work;

pub use id::{BlobHash, EntitlementId, HolderKey, OrderId, PaymentId, PublicKey, ReleaseId, WorkId};
pub use money::{Asset, Money};
pub use work::{Credit, FileInfo, FileRole, Offer, Release, Split, Terms, Work, WorkKind};
