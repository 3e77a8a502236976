//! Content-addressed blobs by BLAKE3 with Bao outboards.
//!
//! A blob's id is what `b3sum` prints for its bytes. Beside each blob of more than 16 KiB lies its *outboard*, the inner
//! nodes of the BLAKE3 tree, so that any range is verified up to the id without reading the rest. Publishing, the gateway
//! and the DRM flows call this crate from blocking threads; nothing in it is async.
//!
//! What it promises:
//! - a byte that was handed out was verified against the id in the very buffer that is handed out;
//! - what an import acknowledged is there after a crash or a power cut, and what it did not acknowledge is not there;
//! - of a blob that is being fetched, nothing reaches the disk that was not verified, and what was claimed there is found
//!   again after a kill;
//! - memory does not grow with the size of a blob.
//!
//! What it never does: know what a work is, touch the network, believe a length, an outboard or a file's name.

mod encode;
mod error;
mod import;
mod layout;
mod nodes;
mod outboard;
mod partial;
mod pins;
mod quarantine;
mod ranges;
mod reader;
mod state;
mod store;
mod tree;
mod upkeep;

pub use encode::{Decoder, Encoder};
pub use error::{Error, Part, Result};
pub use import::{ImportMode, Imported, Importer};
pub use nodes::{OutboardDecoder, OutboardReader};
pub use partial::{Absorbed, Partial};
pub use ranges::GroupRanges;
pub use reader::{Blob, RangeReader};
pub use store::{BlobInfo, Options, Store};
pub use tree::{GROUP_BYTES, outboard_bytes};
pub use upkeep::{Fault, GcReport, Problem, VerifyReport};
