//! Signed releases and entitlements: [`Signed`] envelopes over the exact bytes that were encoded once.

use std::collections::BTreeSet;

use fondaco_schemas::envelope::{MAX_ENVELOPE_BYTES, Payload, preimage};
use fondaco_schemas::{Entitlement, EnvelopeError, PublicKey, Release, ReleaseId, Signed};

use crate::keys::{KeyError, KeyPair, check_public_key, is_signature};

/// Why an envelope is refused or cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseError {
    /// Its form.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// Its size, where it has a bound of its own.
    #[error("the {what} has {found} bytes, and at most {most} are read")]
    TooLong {
        /// "membership token" or "receipt".
        what: &'static str,
        /// How many bytes it has.
        found: usize,
        /// How many it may have.
        most: usize,
    },
    /// Its key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Its signature.
    #[error("the signature of the {what} is not the key {key}'s: it was altered on the way, fetch it again")]
    Signature {
        /// "release" or "entitlement".
        what: &'static str,
        /// Whose it claims to be.
        key: PublicKey,
    },
    /// A release signed by somebody else than its publisher.
    #[error("the release of {work} is signed with the key {key}: only the work's own publisher may release it")]
    Publisher {
        /// Which work.
        work: String,
        /// Who signed.
        key: PublicKey,
    },
    /// An entitlement of a node that is not trusted.
    #[error("the entitlement is signed with the key {0}, which is none of the nodes that are trusted here")]
    UntrustedNode(PublicKey),
    /// A release that contradicts itself.
    #[error("the release of {work} is not well made: {why}")]
    Content {
        /// Which work.
        work: String,
        /// What is wrong.
        why: String,
    },
}

/// Signs bytes as a payload type. The signature is worth nothing under another type.
pub fn sign_bytes(key: &KeyPair, payload_type: &str, body: &[u8]) -> [u8; 64] {
    key.sign(&preimage(payload_type, body))
}

/// Did `key` sign these bytes as this payload type?
pub fn verify_bytes(key: &PublicKey, payload_type: &str, body: &[u8], signature: &[u8]) -> bool {
    is_signature(key, &preimage(payload_type, body), signature)
}

/// Encodes a value, once, and signs it. For releases use [`sign_release`].
pub fn sign<T: Payload>(key: &KeyPair, value: &T) -> Result<Signed<T>, ReleaseError> {
    let payload = value.to_bytes()?;
    let signature = sign_bytes(key, T::TYPE, &payload);
    let signed = Signed::from_parts(payload, key.public(), signature);
    let len = signed.encode().len();
    if len > MAX_ENVELOPE_BYTES {
        return Err(EnvelopeError::TooLong(len).into());
    }
    Ok(signed)
}

/// Signs a release that this key's owner publishes. Answers the envelope's bytes, to be stored and sent as they are.
pub fn sign_release(key: &KeyPair, release: &Release) -> Result<(ReleaseId, Vec<u8>), ReleaseError> {
    check_release(release, &key.public())?;
    let bytes = sign(key, release)?.encode();
    Ok((release_id(&bytes), bytes))
}

/// The id of a release: the BLAKE3 hash of its envelope's bytes.
pub fn release_id(envelope: &[u8]) -> ReleaseId {
    ReleaseId::new(*blake3::hash(envelope).as_bytes())
}

/// Verifies an envelope's signature by the key that it names and reads its payload. Whether that key may say so is for
/// the caller to decide.
pub(crate) fn open<T: Payload>(envelope: &[u8], what: &'static str) -> Result<(PublicKey, T), ReleaseError> {
    // 1. Size and form.
    let signed = Signed::<T>::decode(envelope)?;
    // 2. A key under which a signature means something.
    let key = *signed.key();
    check_public_key(&key)?;
    // 3. The signature over type and payload.
    if !is_signature(&key, &signed.preimage(), signed.signature()) {
        return Err(ReleaseError::Signature { what, key });
    }
    // 4. Only now is the payload read.
    Ok((key, signed.read()?))
}

/// Verifies a release: form, key, signature, that the work's publisher signed it, and that it does not contradict itself.
pub fn verify_release(envelope: &[u8]) -> Result<(ReleaseId, Release), ReleaseError> {
    let (key, release) = open::<Release>(envelope, "release")?;
    check_release(&release, &key)?;
    Ok((release_id(envelope), release))
}

/// Verifies an entitlement that one of the nodes in `nodes` signed. Whether it has expired is for the caller to decide.
pub fn verify_entitlement(envelope: &[u8], nodes: &[PublicKey]) -> Result<(PublicKey, Entitlement), ReleaseError> {
    let (key, entitlement) = open::<Entitlement>(envelope, "entitlement")?;
    if !nodes.contains(&key) {
        return Err(ReleaseError::UntrustedNode(key));
    }
    Ok((key, entitlement))
}

fn check_release(release: &Release, key: &PublicKey) -> Result<(), ReleaseError> {
    let work = || release.work.to_string();
    if release.work.publisher() != key {
        return Err(ReleaseError::Publisher { work: work(), key: *key });
    }
    let content = |why: String| Err(ReleaseError::Content { work: work(), why });
    if release.sequence == 0 {
        return content("releases are counted from 1".to_owned());
    }
    let mut paths = BTreeSet::new();
    for file in &release.files {
        let bad = |part: &str| part.is_empty() || part == "." || part == "..";
        let letters = !file.path.chars().any(|c| c.is_control() || c == '\\');
        if file.path.len() > 1024 || !letters || file.path.split('/').any(bad) {
            let path: String = file.path.chars().take(120).collect();
            return content(format!("{path:?} is no relative path"));
        }
        if !paths.insert(file.path.as_str()) {
            return content(format!("two files are called {:?}", file.path));
        }
    }
    let mut offers = BTreeSet::new();
    if let Some(offer) = release.offers.iter().find(|o| !offers.insert(o.id.as_str())) {
        return content(format!("two offers have the id {:?}", offer.id));
    }
    Ok(())
}

#[cfg(test)]
#[path = "release_tests.rs"]
mod tests;
