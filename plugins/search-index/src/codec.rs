//! Bytes of stored values: variable-length integers (LEB128, as in Protocol Buffers) and strings with their length before
//! them. Reading never trusts a length, since a value may be cut.

use fondaco_sdk::{Error, Result};

/// Appends an unsigned integer.
pub fn put(out: &mut Vec<u8>, value: impl Into<u128>) {
    let mut value = value.into();
    loop {
        let low = value.to_le_bytes()[0] & 0x7f;
        value >>= 7;
        if value == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

/// Appends a length.
pub fn put_len(out: &mut Vec<u8>, len: usize) {
    put(out, len as u128);
}

/// Appends a string.
pub fn put_str(out: &mut Vec<u8>, text: &str) {
    put_len(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

/// Reads a stored value from its start.
#[derive(Clone, Debug)]
pub struct Reader<'a>(&'a [u8]);

/// A stored value that this version did not write, or that was cut.
pub fn damaged() -> Error {
    Error::Internal("a stored part of the search index cannot be read: feed the catalogue to an empty index".into())
}

impl<'a> Reader<'a> {
    /// Over a stored value.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
    /// Is there nothing left?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// What is left.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }
    /// One byte.
    pub fn byte(&mut self) -> Result<u8> {
        let (first, rest) = self.0.split_first().ok_or_else(damaged)?;
        self.0 = rest;
        Ok(*first)
    }
    /// An integer of at most 128 bits.
    pub fn wide(&mut self) -> Result<u128> {
        // Shifts of 128 bits are slow in WebAssembly: one for nine bytes, and none for the first nine.
        let low = match self.nine()? {
            (low, true) => return Ok(low.into()),
            (low, false) => u128::from(low),
        };
        let (high, is_end) = self.nine()?;
        let value = low | u128::from(high) << 63;
        if is_end {
            return Ok(value);
        }
        let last = self.byte()?;
        if last < 0x80 { Ok(value | u128::from(last) << 126) } else { Err(damaged()) }
    }
    /// The next 63 bits of an integer, and whether it ends with them.
    fn nine(&mut self) -> Result<(u64, bool)> {
        let mut bits = 0u64;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            bits |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok((bits, true));
            }
        }
        Ok((bits, false))
    }
    /// An integer of a smaller type.
    #[inline]
    pub fn int<T: TryFrom<u64>>(&mut self) -> Result<T> {
        let mut value = 0u64;
        let mut shift = 0;
        loop {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return T::try_from(value).map_err(|_| damaged());
            }
            shift += 7;
            if shift > 63 {
                return Err(damaged());
            }
        }
    }
    /// A string.
    pub fn str(&mut self) -> Result<&'a str> {
        std::str::from_utf8(self.with_length()?).map_err(|_| damaged())
    }
    /// Passes over a string, without a look at what it says.
    pub fn skip_str(&mut self) -> Result<()> {
        self.with_length().map(drop)
    }
    fn with_length(&mut self) -> Result<&'a [u8]> {
        let len: usize = self.int()?;
        let (bytes, rest) = self.0.split_at_checked(len).ok_or_else(damaged)?;
        self.0 = rest;
        Ok(bytes)
    }
    /// A list with its length before it.
    pub fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let len: usize = self.int()?;
        // Each item takes a byte at least, so that a forged length cannot make us allocate.
        if len > self.0.len() {
            return Err(damaged());
        }
        (0..len).map(|_| item(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An integer as its definition says, seven bits after the other.
    fn plain(bytes: &[u8]) -> Option<(u128, usize)> {
        let mut value = 0u128;
        for (n, byte) in bytes.iter().take(19).enumerate() {
            value |= u128::from(byte & 0x7f) << (7 * n);
            if *byte < 0x80 {
                return Some((value, n + 1));
            }
        }
        None
    }

    proptest! {
        #[test]
        fn skips_what_it_would_read(text in ".{0,200}", cut in 0..400usize, after in any::<u8>()) {
            let mut out = Vec::new();
            put_str(&mut out, &text);
            out.push(after);
            let (mut read, mut skipped) = (Reader::new(&out), Reader::new(&out));
            prop_assert_eq!(read.str().unwrap(), &text);
            skipped.skip_str().unwrap();
            prop_assert_eq!(skipped.rest(), read.rest());
            prop_assert!(skipped.rest() == [after]);
            // Cut anywhere before its end, it is no string to either.
            let cut = &out[..cut.min(out.len() - 2)];
            prop_assert!(Reader::new(cut).str().is_err() && Reader::new(cut).skip_str().is_err());
        }

        #[test]
        fn reads_wide_integers_as_they_are_defined(
            value in any::<u128>(),
            bits in 0..128u32,
            noise in proptest::collection::vec(prop_oneof![any::<u8>(), 0x80..=0xffu8], 0..30),
        ) {
            let mut out = Vec::new();
            put(&mut out, value >> bits);
            let mut r = Reader::new(&out);
            prop_assert_eq!(r.wide().unwrap(), value >> bits);
            prop_assert!(r.is_empty());
            let mut r = Reader::new(&noise);
            prop_assert_eq!(r.wide().ok().map(|n| (n, noise.len() - r.rest().len())), plain(&noise));
        }
    }

    #[test]
    fn reads_back_what_it_wrote() {
        let mut out = Vec::new();
        for n in [0u128, 1, 127, 128, 300, u128::from(u64::MAX), u128::MAX] {
            put(&mut out, n);
        }
        put_str(&mut out, "été");
        let mut r = Reader::new(&out);
        for n in [0u128, 1, 127, 128, 300, u128::from(u64::MAX), u128::MAX] {
            assert_eq!(r.wide().unwrap(), n);
        }
        assert_eq!(r.str().unwrap(), "été");
        assert!(r.is_empty());
    }

    #[test]
    fn refuses_cut_and_forged_values() {
        assert!(Reader::new(&[0x80]).int::<u32>().is_err());
        assert!(Reader::new(&[0xff; 30]).int::<u64>().is_err());
        assert!(Reader::new(&[0xff; 30]).wide().is_err());
        assert!(Reader::new(&[0xff, 0x7f]).int::<u8>().is_err());
        assert!(Reader::new(&[5, b'a']).str().is_err());
        assert!(Reader::new(&[1, 0xff]).str().is_err());
        assert!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x0f]).list(Reader::byte).is_err());
    }
}
