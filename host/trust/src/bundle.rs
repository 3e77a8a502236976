//! Plugin bundles, `<id>-<version>.fondaco`: a tar (POSIX ustar) in its one deterministic form. Regular files only, sorted
//! by path, mode 0644, owner, group and time 0, no extended headers, two empty blocks at the end and nothing behind them.
//!
//! Reading demands exactly the bytes that packing writes, so that whatever another tar reader might see differently
//! (links, long names, repeated names, padding) is refused before anybody looks at it. A bundle is never unpacked to
//! disk.

use std::collections::BTreeMap;
use std::ops::Range;

use fondaco_schemas::{BundlePath, Manifest};

/// The largest bundle, in bytes.
pub const MAX_BUNDLE_BYTES: usize = 32 << 20;
/// The most files in a bundle.
pub const MAX_ENTRIES: usize = 64;
/// What bundles' file names end in.
pub const EXTENSION: &str = "fondaco";

const BLOCK: usize = 512;

/// Why bytes are no bundle, or files cannot be packed into one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// Too long.
    #[error(
        "the bundle has {0} bytes, and at most {MAX_BUNDLE_BYTES} are allowed: leave out what the plugin can do without"
    )]
    TooLong(usize),
    /// Too many files.
    #[error("the bundle has more than {MAX_ENTRIES} files: leave out what the plugin can do without")]
    TooMany,
    /// It ends too early.
    #[error("the bundle is cut short at byte {0}: fetch it again")]
    Truncated(usize),
    /// A name that is not allowed.
    #[error("the bundle holds a file with a name that is not allowed: {0}")]
    Path(String),
    /// A name twice, or not in order.
    #[error("the files of the bundle are not sorted or named twice, at {0}: pack it with cargo fondaco pack")]
    Order(BundlePath),
    /// Anything else that packing would not have written.
    #[error("the bundle differs at byte {0} from what packing writes: pack it with cargo fondaco pack")]
    Form(usize),
}

/// A bundle in memory. That its form is right says nothing about what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    bytes: Vec<u8>,
    entries: BTreeMap<BundlePath, Range<usize>>,
}

/// The name of a bundle's file.
pub fn file_name(manifest: &Manifest) -> String {
    format!("{}-{}.{EXTENSION}", manifest.id, manifest.version)
}

/// Packs files into a bundle: the same files give the same bytes.
pub fn pack(files: &BTreeMap<BundlePath, Vec<u8>>) -> Result<Vec<u8>, BundleError> {
    if files.len() > MAX_ENTRIES {
        return Err(BundleError::TooMany);
    }
    // Sizes in memory, of at most 64 files: their sum does not overflow.
    let total = files.values().map(|b| BLOCK + b.len().next_multiple_of(BLOCK)).sum::<usize>() + 2 * BLOCK;
    if total > MAX_BUNDLE_BYTES {
        return Err(BundleError::TooLong(total));
    }
    let mut out = Vec::with_capacity(total);
    for (path, bytes) in files {
        out.extend_from_slice(&header(path, bytes.len()));
        out.extend_from_slice(bytes);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
    }
    out.resize(total, 0);
    Ok(out)
}

/// The ustar header of a regular file (POSIX.1-2017, pax, "ustar Interchange Format").
fn header(path: &BundlePath, size: usize) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| {
        for (to, from) in block.iter_mut().skip(at).zip(bytes) {
            *to = *from;
        }
    };
    put(0, path.as_str().as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    // The checksum is reckoned as if its own field held spaces.
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    put(329, b"0000000\0");
    put(337, b"0000000\0");
    let sum: u32 = block.iter().copied().map(u32::from).sum();
    for (to, from) in block.iter_mut().skip(148).zip(format!("{sum:06o}\0 ").bytes()) {
        *to = from;
    }
    block
}

impl Bundle {
    /// Reads a bundle's bytes.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, BundleError> {
        if bytes.len() > MAX_BUNDLE_BYTES {
            return Err(BundleError::TooLong(bytes.len()));
        }
        let mut entries = BTreeMap::new();
        let mut at = 0;
        loop {
            let block = bytes.get(at..at + BLOCK).ok_or(BundleError::Truncated(bytes.len()))?;
            if block.iter().all(|b| *b == 0) {
                break;
            }
            if entries.len() == MAX_ENTRIES {
                return Err(BundleError::TooMany);
            }
            let (path, range) = Self::entry(&bytes, at, block)?;
            at = range.end.next_multiple_of(BLOCK);
            if entries.last_key_value().is_some_and(|(last, _)| *last >= path) {
                return Err(BundleError::Order(path));
            }
            entries.insert(path, range);
        }
        let end = at + 2 * BLOCK;
        match bytes.len() {
            len if len < end => Err(BundleError::Truncated(len)),
            len if len > end => Err(BundleError::Form(end)),
            _ if bytes.iter().skip(at).any(|b| *b != 0) => Err(BundleError::Form(at)),
            _ => Ok(Self { bytes, entries }),
        }
    }

    /// The file whose header is at `at`: its path and where its bytes are.
    fn entry(bytes: &[u8], at: usize, block: &[u8]) -> Result<(BundlePath, Range<usize>), BundleError> {
        let field = |from: usize, len: usize| {
            let field = block.iter().skip(from).take(len).copied();
            String::from_utf8_lossy(&field.take_while(|b| *b != 0).collect::<Vec<_>>()).into_owned()
        };
        let path: BundlePath = field(0, 100).parse().map_err(|e| BundleError::Path(format!("{e}")))?;
        let size = usize::from_str_radix(&field(124, 12), 8).map_err(|_| BundleError::Form(at + 124))?;
        if let Some(differs) = header(&path, size).iter().zip(block).position(|(ours, theirs)| ours != theirs) {
            return Err(BundleError::Form(at + differs));
        }
        // Not even 12 octal digits overflow here.
        let (start, end) = (at + BLOCK, at + BLOCK + size);
        let padded = bytes.get(start..end.next_multiple_of(BLOCK)).ok_or(BundleError::Truncated(bytes.len()))?;
        if padded.iter().skip(size).any(|b| *b != 0) {
            return Err(BundleError::Form(end));
        }
        Ok((path, start..end))
    }

    /// A file's bytes.
    pub fn get(&self, path: &str) -> Option<&[u8]> {
        self.entries.get(path).and_then(|range| self.bytes.get(range.clone()))
    }

    /// The paths of all files, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &BundlePath> {
        self.entries.keys()
    }

    /// The whole bundle.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
#[path = "bundle_tests.rs"]
mod tests;
