//! Ed25519 keys (RFC 8032): of nodes, publishers and plugin signers, and the files that they are kept in.

use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use data_encoding::{BASE64, HEXLOWER};
use fondaco_schemas::PublicKey;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

/// Why a public key must not be pinned, or bytes are no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A point of order 1, 2, 4 or 8: signatures that anybody can make would verify.
    #[error("the public key {0} is a point of small order, under which anybody can sign: ask its owner for a real one")]
    SmallOrder(PublicKey),
    /// Another encoding of a point that has a proper one.
    #[error("the public key {0} is no canonical encoding: ask its owner for it again")]
    NonCanonical(PublicKey),
    /// Not a private key.
    #[error("the bytes are no Ed25519 private key in PKCS#8")]
    Private,
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Random,
}

/// The field's prime 2^255 - 19, little endian (RFC 8032, section 5.1).
const PRIME: [u8; 32] = {
    let mut p = [0xff; 32];
    p[0] = 0xed;
    p[31] = 0x7f;
    p
};

/// The y coordinates of the eight points whose order divides 8, little endian. They are the solutions of [8]P = O on
/// the curve of RFC 8032: 1 (order 1), -1 (order 2), 0 (order 4), and the two of order 8. A test compares them with
/// another implementation's.
const SMALL_ORDER_Y: [[u8; 32]; 5] = {
    let mut one = [0; 32];
    one[0] = 1;
    let mut minus_one = PRIME;
    minus_one[0] = 0xec;
    [one, minus_one, [0; 32], ORDER_8_Y, ORDER_8_MINUS_Y]
};
const ORDER_8_Y: [u8; 32] = [
    0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf, 0xac,
    0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
];
const ORDER_8_MINUS_Y: [u8; 32] = [
    0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20, 0x53,
    0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
];

/// Refuses what must never be pinned as a public key. `ring` verifies under such keys: with the identity point one
/// constant signature fits every message. Call it wherever a key is pinned, rotated, delegated or taken from an envelope.
pub fn check_public_key(key: &PublicKey) -> Result<(), KeyError> {
    let mut y = *key.as_bytes();
    // The top bit is the sign of x. No point with x = 0 but those of small order exists, so it needs no look of its own.
    if let Some(last) = y.last_mut() {
        *last &= 0x7f;
    }
    if y.iter().rev().ge(PRIME.iter().rev()) {
        return Err(KeyError::NonCanonical(*key));
    }
    if SMALL_ORDER_Y.contains(&y) {
        return Err(KeyError::SmallOrder(*key));
    }
    Ok(())
}

/// Is this `key`'s signature of `message`? Never under a key that [`check_public_key`] refuses.
pub fn is_signature(key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
    check_public_key(key).is_ok() && UnparsedPublicKey::new(&ED25519, key.as_bytes()).verify(message, signature).is_ok()
}

/// The SHA-256 of a key's SubjectPublicKeyInfo (RFC 8410): what `openssl pkey -pubout -outform DER | sha256sum` prints.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 32]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}
impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// DER before the 32 bytes of a public key (RFC 8410, section 4).
const SPKI_HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// DER before the 32 bytes of a private key, PKCS#8 version 1 (RFC 8410, section 7).
const PKCS8_HEAD: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// The id of a public key.
pub fn key_id(key: &PublicKey) -> KeyId {
    let spki = [SPKI_HEAD.as_slice(), key.as_bytes()].concat();
    KeyId(sha256(&spki))
}

/// The SHA-256 of bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    out
}

/// A private key. Its `Debug` shows the public half only.
pub struct KeyPair {
    pair: Ed25519KeyPair,
    /// PKCS#8, to be saved.
    der: Vec<u8>,
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({})", self.public())
    }
}

impl KeyPair {
    /// A new one, from the system's randomness.
    pub fn generate() -> Result<Self, KeyError> {
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).map_err(|_| KeyError::Random)?;
        Self::from_seed(&seed)
    }

    /// From the 32 bytes that RFC 8032 calls the private key.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, KeyError> {
        Self::from_pkcs8([PKCS8_HEAD.as_slice(), seed].concat())
    }

    /// From PKCS#8, version 1 (as OpenSSL writes it) or 2.
    pub fn from_pkcs8(der: Vec<u8>) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map_err(|_| KeyError::Private)?;
        Ok(Self { pair, der })
    }

    /// From a PEM text with one `PRIVATE KEY` block, which nothing but white space may surround.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let body =
            text.trim().strip_prefix(PEM_BEGIN).and_then(|t| t.strip_suffix(PEM_END)).ok_or(KeyError::Private)?;
        let base64: String = body.split_ascii_whitespace().collect();
        Self::from_pkcs8(BASE64.decode(base64.as_bytes()).map_err(|_| KeyError::Private)?)
    }

    /// As PEM, which [`KeyPair::from_pem`] and `openssl pkey` read. Secret.
    pub fn to_pem(&self) -> String {
        let base64 = BASE64.encode(&self.der);
        let mut text = format!("{PEM_BEGIN}\n");
        for (i, c) in base64.chars().enumerate() {
            text.extend((i > 0 && i.is_multiple_of(64)).then_some('\n').into_iter().chain([c]));
        }
        text + "\n" + PEM_END + "\n"
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.pair.public_key().as_ref());
        PublicKey::new(bytes)
    }

    /// The 32 bytes that RFC 8032 calls the private key, for another implementation of Ed25519. Secret.
    pub fn seed(&self) -> [u8; 32] {
        // Every PKCS#8 that was taken begins as ours does, but for a version and lengths in bytes of their own.
        let mut seed = [0; 32];
        if let Some(bytes) = self.der.get(PKCS8_HEAD.len()..PKCS8_HEAD.len() + 32) {
            seed.copy_from_slice(bytes);
        }
        seed
    }

    /// Signs a message as it stands. Deterministic (RFC 8032).
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes.copy_from_slice(self.pair.sign(message).as_ref());
        bytes
    }

    /// Reads a key file. Refused: a file that others may read or write, one that is longer than a key can be.
    pub fn load(path: &Path) -> Result<Self, KeyFileError> {
        let read = |e| KeyFileError::Read(path.to_owned(), e);
        let file = fs::File::open(path).map_err(read)?;
        // Of the open file, so that nobody can put another in its place after the look.
        let mode = file.metadata().map_err(read)?.mode();
        if mode & 0o077 != 0 {
            return Err(KeyFileError::Exposed { path: path.to_owned(), mode: mode & 0o777 });
        }
        let mut text = String::new();
        file.take(MAX_KEY_FILE_BYTES).read_to_string(&mut text).map_err(read)?;
        Self::from_pem(&text).map_err(|_| KeyFileError::NoKey(path.to_owned()))
    }

    /// Writes a new key file, with mode 0600: whole or not at all. One that is there already is never replaced.
    pub fn save(&self, path: &Path) -> Result<(), KeyFileError> {
        let write = |e: io::Error| match e.kind() {
            io::ErrorKind::AlreadyExists => KeyFileError::Exists(path.to_owned()),
            _ => KeyFileError::Write(path.to_owned(), e),
        };
        let mut suffix = [0; 8];
        SystemRandom::new()
            .fill(&mut suffix)
            .map_err(|_| write(io::Error::other("the system gave no random bytes")))?;
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}.tmp", HEXLOWER.encode(&suffix)));
        let temporary = PathBuf::from(name);
        let done = self.write_new(&temporary).and_then(|()| {
            // Unlike a rename, a link fails where the name is taken.
            fs::hard_link(&temporary, path)
        });
        let removed = fs::remove_file(&temporary);
        done.map_err(write)?;
        removed.map_err(write)?;
        fs::File::open(folder_of(path)).and_then(|dir| dir.sync_all()).map_err(write)
    }

    fn write_new(&self, path: &Path) -> io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(self.to_pem().as_bytes())?;
        file.sync_all()
    }
}

/// Where a file lies; for a bare name that is where the program runs.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";
/// A key in PEM has about 120 bytes.
const MAX_KEY_FILE_BYTES: u64 = 4096;

/// Why a key file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// Others may read it.
    #[error("the key file {} can be read or written by others (mode {mode:o}): run chmod 600 {}", path.display(), path.display())]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It holds something else.
    #[error("{} holds no Ed25519 private key: expected one PEM block PRIVATE KEY (PKCS#8)", .0.display())]
    NoKey(PathBuf),
    /// It would have been overwritten.
    #[error("the key file {} is there already: move it away first if you want a new key", .0.display())]
    Exists(PathBuf),
    /// It could not be read.
    #[error("the key file {} cannot be read", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// It could not be written.
    #[error("the key file {} cannot be written", .0.display())]
    Write(PathBuf, #[source] io::Error),
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
