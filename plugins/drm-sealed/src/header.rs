//! The header of a sealed file: 64 bytes that say how it is cut and enciphered. Numbers are big-endian.
//!
//! ```text
//!  0  8  magic "FDSEALED"
//!  8  1  version = 1
//!  9  1  cipher: 1 = AES-256-GCM, 2 = ChaCha20-Poly1305
//! 10  1  segment size as a power of two = 16
//! 11  1  zero
//! 12  8  size of the clear file, in bytes
//! 20 16  salt, of which the issuer derives the content key
//! 36  7  nonce prefix
//! 43  5  zero
//! 48 16  check: the first 16 bytes of BLAKE3, keyed with the content key, over the 48 before
//! ```
//!
//! The check ties the header to the key: whoever has the key knows an altered header, or the wrong key, before the
//! first segment is opened.

use fondaco_sdk::{Cipher, Error, FileInfo, Result, blobs};

use crate::layout::Layout;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 64;
/// The same, as the node takes lengths.
const HEADER_READ: u32 = 64;
const MAGIC: &[u8; 8] = b"FDSEALED";
const VERSION: u8 = 1;
const SEGMENT_POWER: u8 = 16;
const CHECKED_BYTES: usize = 48;

/// A content key.
pub type Key = [u8; 32];

/// The ciphers that a file may be sealed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
pub enum SealCipher {
    /// AES-256-GCM (NIST SP 800-38D).
    #[serde(rename = "aes-256-gcm")]
    Aes256Gcm,
    /// ChaCha20-Poly1305 (RFC 8439).
    #[serde(rename = "chacha20-poly1305")]
    ChaCha20Poly1305,
}

impl SealCipher {
    const fn number(self) -> u8 {
        match self {
            Self::Aes256Gcm => 1,
            Self::ChaCha20Poly1305 => 2,
        }
    }
    /// As the settings call it, and the label of a content key.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aes256Gcm => "aes-256-gcm",
            Self::ChaCha20Poly1305 => "chacha20-poly1305",
        }
    }
    /// As the node calls it.
    pub const fn of_node(self) -> Cipher {
        match self {
            Self::Aes256Gcm => Cipher::Aes256Gcm,
            Self::ChaCha20Poly1305 => Cipher::Chacha20Poly1305,
        }
    }
}

/// A header whose fields are in order. Its check is apart, since it takes the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// How the segments are enciphered.
    pub cipher: SealCipher,
    /// Size of the clear file, in bytes.
    pub clear_size: u64,
    /// Of which the issuer derives the key.
    pub salt: [u8; 16],
    /// The first bytes of every nonce.
    pub nonce_prefix: [u8; 7],
}

impl Header {
    fn fields(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend(MAGIC);
        bytes.extend([VERSION, self.cipher.number(), SEGMENT_POWER, 0]);
        bytes.extend(self.clear_size.to_be_bytes());
        bytes.extend(self.salt);
        bytes.extend(self.nonce_prefix);
        bytes.extend([0; 5]);
        bytes
    }

    /// The check that goes with a key.
    pub fn check(&self, key: &Key) -> [u8; 16] {
        let mut check = [0; 16];
        check.iter_mut().zip(blake3::keyed_hash(key, &self.fields()).as_bytes()).for_each(|(to, from)| *to = *from);
        check
    }

    /// Its 64 bytes.
    pub fn to_bytes(self, key: &Key) -> Vec<u8> {
        [&self.fields()[..], &self.check(key)].concat()
    }

    /// Reads the fields, and the check beside them.
    pub fn parse(bytes: &[u8]) -> Result<(Self, [u8; 16])> {
        let refuse = |why: &str| Err(Error::Invalid(format!("the file is not sealed in a way that opens here: {why}")));
        let Some((fields, check)) = bytes.split_at_checked(CHECKED_BYTES) else {
            return refuse("it is shorter than a header");
        };
        let Ok(check) = <[u8; 16]>::try_from(check) else { return refuse("its header is not of 64 bytes") };
        let mut rest = fields;
        if take(&mut rest) != Some(*MAGIC) {
            return refuse("it does not begin with FDSEALED");
        }
        let Some([version, cipher, power, zero]) = take(&mut rest) else { return refuse("its header is cut short") };
        if version != VERSION {
            return refuse(&format!("it is of version {version}, and this plugin reads version {VERSION}"));
        }
        let cipher = match cipher {
            1 => SealCipher::Aes256Gcm,
            2 => SealCipher::ChaCha20Poly1305,
            other => return refuse(&format!("its cipher has the unknown number {other}")),
        };
        if power != SEGMENT_POWER {
            return refuse("its segments are not of 64 KiB");
        }
        let header = (take(&mut rest), take(&mut rest), take(&mut rest));
        let (Some(size), Some(salt), Some(nonce_prefix)) = header else { return refuse("its header is cut short") };
        if zero != 0 || rest != [0; 5] {
            return refuse("spare bytes of its header are set");
        }
        Ok((Self { cipher, clear_size: u64::from_be_bytes(size), salt, nonce_prefix }, check))
    }

    /// Reads the header of a stored file and checks the file's size against it.
    pub fn read(file: &FileInfo) -> Result<(Self, [u8; 16])> {
        let bytes = blobs::read(&file.hash, 0, HEADER_READ)?;
        let (header, check) = Self::parse(&bytes)?;
        let size = header.layout()?.sealed_size();
        if file.size < size {
            let has = file.size;
            return Err(Error::Invalid(format!("the file is cut short: it has {has} bytes of {size}; fetch it again")));
        }
        if file.size > size {
            let has = file.size;
            return Err(Error::Invalid(format!(
                "the file is too long: it has {has} bytes and should have {size}; fetch it again"
            )));
        }
        Ok((header, check))
    }

    /// How the file is cut.
    pub fn layout(&self) -> Result<Layout> {
        Layout::of_clear(self.clear_size)
    }

    /// The nonce of a segment (STREAM of Hoang, Reyhanitabar, Rogaway and Vizár, 2015): prefix, counter, last or not.
    pub fn nonce(&self, index: u32, last: bool) -> Vec<u8> {
        [&self.nonce_prefix[..], &index.to_be_bytes(), &[u8::from(last)]].concat()
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = bytes.split_first_chunk()?;
    *bytes = tail;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        let (salt, nonce_prefix) = ([7; 16], [9; 7]);
        Header { cipher: SealCipher::ChaCha20Poly1305, clear_size: 0x0102_0304_0506, salt, nonce_prefix }
    }

    #[test]
    fn is_laid_out_as_documented() {
        let bytes = header().to_bytes(&[1; 32]);
        assert_eq!(bytes.len(), HEADER_BYTES);
        assert_eq!(&bytes[..12], b"FDSEALED\x01\x02\x10\x00");
        assert_eq!(bytes[12..20], [0, 0, 1, 2, 3, 4, 5, 6]);
        assert_eq!((&bytes[20..36], &bytes[36..43], &bytes[43..48]), (&[7; 16][..], &[9; 7][..], &[0; 5][..]));
        assert_eq!(bytes[48..], blake3::keyed_hash(&[1; 32], &bytes[..48]).as_bytes()[..16]);
        let (read, check) = Header::parse(&bytes).unwrap();
        assert_eq!((read, check), (header(), header().check(&[1; 32])));
        assert_eq!(header().nonce(0x0a0b_0c0d, true), [9, 9, 9, 9, 9, 9, 9, 0xa, 0xb, 0xc, 0xd, 1]);
    }

    #[test]
    fn no_altered_bit_goes_unnoticed() {
        let bytes = header().to_bytes(&[1; 32]);
        for bit in 0..bytes.len() * 8 {
            let mut altered = bytes.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            let noticed = Header::parse(&altered).map_or(true, |(header, check)| header.check(&[1; 32]) != check);
            assert!(noticed, "bit {bit}");
        }
        assert_ne!(header().check(&[1; 32]), header().check(&[2; 32]));
    }

    #[test]
    fn refuses_by_name_what_it_cannot_read() {
        let bytes = header().to_bytes(&[1; 32]);
        let refuses = |at: usize, byte: u8, why: &str| {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            let Err(Error::Invalid(text)) = Header::parse(&bytes) else { panic!("byte {at} passes") };
            assert!(text.contains(why), "{text}");
        };
        refuses(0, b'f', "begin with FDSEALED");
        refuses(8, 2, "version 2");
        refuses(9, 3, "number 3");
        refuses(10, 17, "64 KiB");
        refuses(11, 1, "spare bytes");
        refuses(47, 1, "spare bytes");
        for length in [0, 47, 48, 63] {
            assert!(Header::parse(&bytes[..length]).is_err(), "{length}");
        }
        assert!(Header::parse(&[&bytes[..], &[0]].concat()).is_err());
    }
}
