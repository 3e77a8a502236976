//! Content-addressed blobs by BLAKE3 with Bao outboards.
//!
//! A blob's id is what `b3sum` prints for its bytes. Beside each blob of more than 16 KiB lies its *outboard*, the inner
//! nodes of the BLAKE3 tree, so that any range is verified up to the id without reading the rest. Publishing, the gateway
//! and the DRM flows call this crate from blocking threads; nothing in it is async.
//!
//! What it promises:
//! - a byte that was handed out was verified against the id in the very buffer that is handed out;
//! - what an import acknowledged is there after a crash or a power cut, and what it did not acknowledge is not there;
//! - memory does not grow with the size of a blob.
//!
//! What it never does: know what a work is, touch the network, believe a length, an outboard or a file's name.

mod error;
mod import;
mod layout;
mod outboard;
mod pins;
mod quarantine;
mod reader;
mod state;
mod store;
mod tree;
mod upkeep;

pub use error::{Error, Part, Result};
pub use import::{ImportMode, Imported, Importer};
pub use reader::{Blob, RangeReader};
pub use store::{BlobInfo, Options, Store};
pub use tree::{GROUP_BYTES, outboard_bytes};
pub use upkeep::{Fault, GcReport, Problem, VerifyReport};
