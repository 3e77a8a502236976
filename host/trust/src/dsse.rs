//! DSSE v1 envelopes, as JSON: the signatures of a bundle's manifest.
//! Format: <https://github.com/secure-systems-lab/dsse/blob/v1.0.0/envelope.md>.
//!
//! Stricter than the specification in two points: unknown and repeated keys are refused, and base64 is the standard
//! alphabet with padding. A `keyid` is not signed, so it proves nothing: it only says which key to try.

use data_encoding::BASE64;
use fondaco_schemas::PublicKey;
use fondaco_schemas::envelope::preimage;
use serde::{Deserialize, Serialize};

use crate::keys::{KeyPair, is_signature, key_id};

/// What the manifest of a plugin is signed as.
pub const MANIFEST_TYPE: &str = "application/vnd.fondaco.manifest.v1+toml";
/// The longest envelope that is read, in bytes: a manifest of 64 KiB in base64 and its signatures.
pub const MAX_BYTES: usize = 128 << 10;
/// Each signature may have to be tried with each trusted key.
pub const MAX_SIGNATURES: usize = 16;

/// Why an envelope cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DsseError {
    /// Too long.
    #[error("the signature file has {0} bytes, and at most {MAX_BYTES} are read")]
    TooLong(usize),
    /// Too many signatures.
    #[error("the signature file has {0} signatures, and at most {MAX_SIGNATURES} are tried")]
    TooMany(usize),
    /// No DSSE.
    #[error("the signature file is no DSSE envelope")]
    Json(#[source] serde_json::Error),
    /// Not base64.
    #[error("{0:?} in the signature file is no base64")]
    Base64(&'static str),
    /// Signed as something else.
    #[error("the signature file is about {found:?}, and {wanted:?} was expected")]
    Type {
        /// What it says.
        found: String,
        /// What was asked for.
        wanted: &'static str,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    payload: String,
    #[serde(rename = "payloadType")]
    payload_type: String,
    signatures: Vec<WireSignature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireSignature {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keyid: Option<String>,
    sig: String,
}

/// A payload, its type and signatures that nobody has looked at yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    payload_type: String,
    payload: Vec<u8>,
    signatures: Vec<(Option<String>, Vec<u8>)>,
}

impl Envelope {
    /// Without signatures.
    pub fn new(payload_type: &str, payload: Vec<u8>) -> Self {
        Self { payload_type: payload_type.to_owned(), payload, signatures: Vec::new() }
    }

    /// Reads the JSON form. Refused: what is too long, has too many signatures or is signed as something else.
    pub fn parse(json: &[u8], wanted: &'static str) -> Result<Self, DsseError> {
        if json.len() > MAX_BYTES {
            return Err(DsseError::TooLong(json.len()));
        }
        let wire: Wire = serde_json::from_slice(json).map_err(DsseError::Json)?;
        if wire.signatures.len() > MAX_SIGNATURES {
            return Err(DsseError::TooMany(wire.signatures.len()));
        }
        if wire.payload_type != wanted {
            let found = wire.payload_type.chars().take(128).collect();
            return Err(DsseError::Type { found, wanted });
        }
        let decode = |what, text: &str| BASE64.decode(text.as_bytes()).map_err(|_| DsseError::Base64(what));
        let payload = decode("payload", &wire.payload)?;
        let signature = |s: WireSignature| Ok((s.keyid, decode("sig", &s.sig)?));
        let signatures = wire.signatures.into_iter().map(signature).collect::<Result<_, DsseError>>()?;
        Ok(Self { payload_type: wire.payload_type, payload, signatures })
    }

    /// The JSON form.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let signature =
            |(keyid, sig): &(Option<String>, Vec<u8>)| WireSignature { keyid: keyid.clone(), sig: BASE64.encode(sig) };
        let wire = Wire {
            payload: BASE64.encode(&self.payload),
            payload_type: self.payload_type.clone(),
            signatures: self.signatures.iter().map(signature).collect(),
        };
        Ok(serde_json::to_string_pretty(&wire)? + "\n")
    }

    /// Adds a signature; one that the same key made before is replaced.
    pub fn sign(&mut self, key: &KeyPair) {
        let id = key_id(&key.public()).to_string();
        self.signatures.retain(|(keyid, _)| keyid.as_deref() != Some(&id));
        let signature = key.sign(&preimage(&self.payload_type, &self.payload));
        self.signatures.push((Some(id), signature.to_vec()));
    }

    /// The payload. Nobody vouches for it before [`Envelope::signers`] has named enough.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Which of these keys signed it, each named once, however often it signed. A signature with a key id is tried with
    /// the key of that id only, one without with all.
    pub fn signers<'k>(&self, keys: impl IntoIterator<Item = &'k PublicKey>) -> Vec<PublicKey> {
        let message = preimage(&self.payload_type, &self.payload);
        let mut signers: Vec<PublicKey> = Vec::new();
        for key in keys {
            let id = key_id(key).to_string();
            let mut own = self.signatures.iter().filter(|(keyid, _)| keyid.as_deref().is_none_or(|hint| hint == id));
            if !signers.contains(key) && own.any(|(_, signature)| is_signature(key, &message, signature)) {
                signers.push(*key);
            }
        }
        signers
    }
}

#[cfg(test)]
#[path = "dsse_tests.rs"]
mod tests;
