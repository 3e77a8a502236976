//! Where the segments of a sealed file lie. Pure arithmetic on sizes that strangers may have written: all checked.
//!
//! A sealed file is cut every 64 KiB, so that a segment is four chunk groups of the swarm and any place can be found by
//! division. The header takes the first 64 bytes of the first segment's 64 KiB; each segment ends with its 16-byte tag:
//!
//! ```text
//! sealed   0        64                     65,536                  131,072
//!          | header | segment 0 .. | tag   | segment 1 .. | tag    | segment 2 ..
//! clear             0 .. 65,456            .. 130,976              .. 196,496
//! ```
//!
//! The last segment may be shorter, and is empty only where the whole file is.

use fondaco_sdk::{Error, Result, Span};

use crate::header::HEADER_BYTES;

/// Bytes from one segment's start to the next, in the sealed file.
pub const SEGMENT_BYTES: u64 = 64 * 1024;
/// Bytes of a segment's tag.
pub const TAG_BYTES: u64 = 16;
/// Clear bytes of the first segment, which shares its 64 KiB with the header.
pub const FIRST_BYTES: u64 = SEGMENT_BYTES - HEADER_BYTES as u64 - TAG_BYTES;
/// Clear bytes of every other segment.
pub const OTHER_BYTES: u64 = SEGMENT_BYTES - TAG_BYTES;
/// Segments are counted in 32 bits of the nonce (256 TiB).
const MAX_SEGMENTS: u64 = 1 << 32;

/// How a file of a given clear size is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    clear: u64,
    segments: u64,
}

/// One segment.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// Its number, from 0.
    pub index: u32,
    /// Is it the last?
    pub last: bool,
    /// Its bytes in the clear file.
    pub clear: Span,
    /// Its ciphertext and tag in the sealed file.
    pub sealed: Span,
}

impl Layout {
    /// For a clear file of so many bytes.
    pub fn of_clear(clear: u64) -> Result<Self> {
        let segments = 1 + clear.saturating_sub(FIRST_BYTES).div_ceil(OTHER_BYTES);
        if segments > MAX_SEGMENTS {
            return Err(Error::Invalid(format!("a file of {clear} bytes is too large to be sealed: at most 256 TiB")));
        }
        Ok(Self { clear, segments })
    }

    /// How many segments there are; at least one.
    #[cfg(test)]
    pub const fn segments(self) -> u64 {
        self.segments
    }

    /// Size of the sealed file, in bytes.
    pub const fn sealed_size(self) -> u64 {
        // No overflow: of_clear has bounded the file to 256 TiB.
        HEADER_BYTES as u64 + self.clear + self.segments * TAG_BYTES
    }

    /// A segment by its number; `None` past the last.
    pub fn segment(self, index: u64) -> Option<Segment> {
        if index >= self.segments {
            return None;
        }
        let last = index + 1 == self.segments;
        let start = if index == 0 { 0 } else { FIRST_BYTES + (index - 1) * OTHER_BYTES };
        let whole = if index == 0 { FIRST_BYTES } else { OTHER_BYTES };
        let len = if last { self.clear - start } else { whole };
        let offset = if index == 0 { HEADER_BYTES as u64 } else { index * SEGMENT_BYTES };
        Some(Segment {
            index: u32::try_from(index).ok()?,
            last,
            clear: Span { offset: start, len },
            sealed: Span { offset, len: len + TAG_BYTES },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_follow_each_other_without_gap_and_cover_the_file() {
        let (first, other) = (FIRST_BYTES, OTHER_BYTES);
        for clear in [
            0,
            1,
            first - 1,
            first,
            first + 1,
            65_519,
            65_520,
            65_521,
            65_536,
            first + other,
            first + other + 1,
            5 << 20,
        ] {
            let layout = Layout::of_clear(clear).unwrap();
            let (mut at_clear, mut at_sealed) = (0, 64);
            for index in 0..layout.segments() {
                let segment = layout.segment(index).unwrap();
                assert_eq!((segment.clear.offset, segment.sealed.offset), (at_clear, at_sealed), "{clear} {index}");
                assert_eq!(segment.sealed.len, segment.clear.len + 16);
                assert!(index == 0 || segment.sealed.offset.is_multiple_of(65_536));
                assert!(segment.clear.len > 0 || clear == 0);
                assert_eq!(segment.last, index + 1 == layout.segments());
                at_clear += segment.clear.len;
                at_sealed += segment.sealed.len;
            }
            assert_eq!((at_clear, at_sealed), (clear, layout.sealed_size()));
            assert!(layout.segment(layout.segments()).is_none());
        }
    }

    #[test]
    fn counts_as_the_readme_says() {
        assert_eq!(Layout::of_clear(0).unwrap().sealed_size(), 80);
        assert_eq!(Layout::of_clear(65_456).unwrap().sealed_size(), 65_536);
        assert_eq!(Layout::of_clear(65_457).unwrap().sealed_size(), 65_536 + 17);
        assert_eq!(Layout::of_clear(1 << 30).unwrap().segments(), 16_389);
    }

    #[test]
    fn refuses_more_segments_than_a_nonce_can_count() {
        let most = FIRST_BYTES + ((1 << 32) - 1) * OTHER_BYTES;
        assert_eq!(Layout::of_clear(most).unwrap().segment((1 << 32) - 1).unwrap().index, u32::MAX);
        assert!(Layout::of_clear(most + 1).is_err());
        assert!(Layout::of_clear(u64::MAX).is_err());
    }
}
