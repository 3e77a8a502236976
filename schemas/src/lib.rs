//! What crosses a boundary: ids, money, works, the signed envelope, plugin manifests, deployment files and capabilities,
//! with the plugin interface itself in `schemas/wit`. Everyone may use it; it does no I/O.

pub mod api;
pub mod capability;
pub mod channel;
pub mod channel_link;
pub mod deployment;
pub mod entitlement;
pub mod envelope;
pub mod finding;
pub mod id;
pub mod link;
pub mod lock;
pub mod manifest;
pub mod measure;
pub mod membership;
pub mod money;
pub mod network;
pub mod origin;
pub mod problem;
pub mod receipt;
pub mod registry;
pub mod trust_file;
pub mod work;
pub mod work_file;

pub use capability::{Ask, Capability, Gate, Grant, Grants, Missing, Requested, gate};
pub use channel::{ChannelEntry, ChannelHead, ChannelPage};
pub use channel_link::ChannelLink;
pub use deployment::Deployment;
pub use entitlement::Entitlement;
pub use envelope::{EnvelopeError, Payload, Signed};
pub use id::{BlobHash, EntitlementId, HolderKey, OrderId, PaymentId, PublicKey, ReleaseId, WorkId};
pub use link::Link;
pub use lock::{Lock, LockedPlugin};
pub use manifest::{BundlePath, Limits, Manifest, PackedFile, PluginId, PluginKind, Sha256};
pub use measure::{ByteSize, Span};
pub use membership::Membership;
pub use money::{Asset, Money};
pub use origin::{HostName, Hosts, Origin};
pub use problem::{Problem, Problems};
pub use receipt::Receipt;
pub use registry::{Registry, RegistryName};
pub use trust_file::TrustFile;
pub use work::{Credit, FileInfo, FileRole, Home, Offer, Release, Split, Terms, Work, WorkKind};
pub use work_file::WorkFile;

#[cfg(test)]
mod json_schema;
