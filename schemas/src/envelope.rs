//! The signed envelope of releases and entitlements. It keeps the exact bytes that were signed, and they are what is
//! stored, sent and hashed: a value is never encoded a second time.
//!
//! On the wire it is a CBOR array of four: payload type (text), payload (bytes), public key (32 bytes), signature
//! (64 bytes), all definite and shortest, so that an envelope has one encoding. The signature is Ed25519 over the
//! pre-authentication encoding of DSSE v1, which binds the type: bytes signed as one type are worth nothing as another.
//!
//! Nothing here signs or verifies. That is `host/trust`'s.

use std::fmt::Write as _;
use std::marker::PhantomData;

use minicbor::{Decode, Decoder, Encode};

use crate::{PublicKey, Release};

/// The largest envelope, in bytes.
pub const MAX_ENVELOPE_BYTES: usize = 1 << 20;
/// The longest payload type, in bytes.
const MAX_TYPE_BYTES: usize = 128;

/// Something that is signed, and under which payload type.
pub trait Payload: for<'b> Decode<'b, ()> + Encode<()> {
    /// Its media type.
    const TYPE: &'static str;

    /// The bytes to be signed.
    fn to_bytes(&self) -> Result<Vec<u8>, EnvelopeError> {
        minicbor::to_vec(self).map_err(|_| EnvelopeError::Unencodable(Self::TYPE))
    }
}

impl Payload for Release {
    const TYPE: &'static str = "application/vnd.fondaco.release.v1+cbor";
}

/// Why bytes are no envelope.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// Too long.
    #[error("the envelope has {0} bytes, and at most {MAX_ENVELOPE_BYTES} are read")]
    TooLong(usize),
    /// Not an array of four in its one encoding.
    #[error("the bytes are no signed envelope")]
    Malformed,
    /// Signed as something else.
    #[error("the envelope holds {found:?}, and {wanted:?} was expected")]
    Type {
        /// What it says.
        found: String,
        /// What was asked for.
        wanted: &'static str,
    },
    /// The value has no encoding.
    #[error("the value cannot be encoded as {0:?}")]
    Unencodable(&'static str),
    /// The payload is not what its type says.
    #[error("the payload of type {0:?} cannot be read")]
    Payload(&'static str, #[source] minicbor::decode::Error),
}

/// What is signed for a payload: the pre-authentication encoding of DSSE v1,
/// `"DSSEv1" SP len(type) SP type SP len(body) SP body`.
pub fn preimage(payload_type: &str, body: &[u8]) -> Vec<u8> {
    let mut head = String::with_capacity(payload_type.len() + 32);
    let _ = write!(head, "DSSEv1 {} {payload_type} {} ", payload_type.len(), body.len());
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// The head of a CBOR item (RFC 8949, section 3): its major type and its argument, in the shortest form.
fn head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let bytes = argument.to_be_bytes();
    let (extra, tail): (u8, &[u8]) = match argument {
        0..24 => (bytes[7], &[]),
        24..0x100 => (24, &bytes[7..]),
        0x100..0x1_0000 => (25, &bytes[6..]),
        0x1_0000..0x1_0000_0000 => (26, &bytes[4..]),
        _ => (27, &bytes),
    };
    out.push(major << 5 | extra);
    out.extend_from_slice(tail);
}

/// An envelope whose payload is a `T`. That its shape is right says nothing about the signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed<T> {
    payload: Vec<u8>,
    key: PublicKey,
    signature: [u8; 64],
    of: PhantomData<fn() -> T>,
}

impl<T: Payload> Signed<T> {
    /// From its parts. The signature is not looked at.
    pub fn from_parts(payload: Vec<u8>, key: PublicKey, signature: [u8; 64]) -> Self {
        Self { payload, key, signature, of: PhantomData }
    }

    /// Reads an envelope. Refused: anything longer than [`MAX_ENVELOPE_BYTES`], another payload type, trailing bytes,
    /// any other encoding of the same envelope.
    pub fn decode(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        if bytes.len() > MAX_ENVELOPE_BYTES {
            return Err(EnvelopeError::TooLong(bytes.len()));
        }
        let (found, envelope) = Self::parts(bytes).ok_or(EnvelopeError::Malformed)?;
        if found != T::TYPE {
            let found = found.chars().take(MAX_TYPE_BYTES).collect();
            return Err(EnvelopeError::Type { found, wanted: T::TYPE });
        }
        // One envelope, one encoding: else two ids would name the same release.
        if envelope.encode() != bytes {
            return Err(EnvelopeError::Malformed);
        }
        Ok(envelope)
    }

    fn parts(bytes: &[u8]) -> Option<(&str, Self)> {
        let mut d = Decoder::new(bytes);
        if d.array().ok()? != Some(4) {
            return None;
        }
        let found = d.str().ok()?;
        let payload = d.bytes().ok()?.to_vec();
        let key = PublicKey::new(d.bytes().ok()?.try_into().ok()?);
        let signature = d.bytes().ok()?.try_into().ok()?;
        Some((found, Self::from_parts(payload, key, signature)))
    }

    /// Its wire form.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.payload.len() + 256);
        head(&mut bytes, 4, 4);
        for (major, part) in
            [(3, T::TYPE.as_bytes()), (2, &self.payload), (2, self.key.as_bytes()), (2, self.signature.as_slice())]
        {
            head(&mut bytes, major, part.len() as u64);
            bytes.extend_from_slice(part);
        }
        bytes
    }

    /// What the signature is over.
    pub fn preimage(&self) -> Vec<u8> {
        preimage(T::TYPE, &self.payload)
    }
    /// The exact bytes that were signed.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }
    /// Whose signature it claims to be.
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }
    /// The signature.
    pub const fn signature(&self) -> &[u8; 64] {
        &self.signature
    }

    /// Reads the payload. Verify first.
    pub fn read(&self) -> Result<T, EnvelopeError> {
        let mut d = Decoder::new(&self.payload);
        let unreadable = |e| EnvelopeError::Payload(T::TYPE, e);
        let value = d.decode().map_err(unreadable)?;
        if d.position() != self.payload.len() {
            return Err(unreadable(minicbor::decode::Error::message("bytes after the payload's end")));
        }
        Ok(value)
    }
}

#[cfg(test)]
#[path = "envelope_tests.rs"]
mod tests;
