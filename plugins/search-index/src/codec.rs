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
        let mut value = 0u128;
        for shift in (0..128).step_by(7) {
            let byte = self.byte()?;
            value |= u128::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(damaged())
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
        let len: usize = self.int()?;
        let (text, rest) = self.0.split_at_checked(len).ok_or_else(damaged)?;
        self.0 = rest;
        std::str::from_utf8(text).map_err(|_| damaged())
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
    use super::*;

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
