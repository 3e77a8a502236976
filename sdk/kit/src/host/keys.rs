//! The played node's keys: derived from a fixed root, so that every run is the same. Signatures are real. Sealing is not
//! HPKE but has its shape and its rules: 32 bytes, then ciphertext and tag, and only the holder opens it, for the same
//! context.

use fondaco_runtime::wit::types::Error;
use fondaco_schemas::HolderKey;
use fondaco_trust::KeyPair;
use ring::{aead, hmac};

const ROOT: &[u8] = b"fondaco kit: nobody's secret";

fn tag(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, ROOT));
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.sign().as_ref());
    out
}

/// The key pair of a holder that the kit plays.
#[expect(clippy::expect_used, reason = "any 32 bytes are an Ed25519 seed")]
pub(crate) fn holder(number: u8) -> KeyPair {
    KeyPair::from_seed(&tag(&[b"holder", &[number]])).expect("a seed of 32 bytes")
}

pub(super) fn derive(label: &str) -> Vec<u8> {
    tag(&[b"derive", label.as_bytes()]).to_vec()
}

pub(super) fn hmac_of(secret: &str, message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), message).as_ref().to_vec()
}

pub(super) fn own(label: &str) -> Result<KeyPair, Error> {
    KeyPair::from_seed(&tag(&[b"sign", label.as_bytes()])).map_err(|e| Error::Internal(e.to_string()))
}

fn sealing(holder: &[u8], salt: &[u8], context: &[u8]) -> Result<aead::LessSafeKey, Error> {
    let key = aead::UnboundKey::new(&aead::CHACHA20_POLY1305, &tag(&[b"seal", holder, salt, context]));
    key.map(aead::LessSafeKey::new).map_err(|e| Error::Internal(e.to_string()))
}

pub(super) fn seal(holder: &str, context: &[u8], message: &[u8]) -> Result<Vec<u8>, Error> {
    let holder: HolderKey = holder.parse().map_err(|e| Error::Invalid(format!("{e}")))?;
    let salt = tag(&[b"salt", holder.as_bytes(), context, message]);
    let mut bytes = message.to_vec();
    let nonce = aead::Nonce::assume_unique_for_key([0; 12]);
    sealing(holder.as_bytes(), &salt, context)?
        .seal_in_place_append_tag(nonce, aead::Aad::empty(), &mut bytes)
        .map_err(|e| Error::Internal(e.to_string()))?;
    Ok([salt.as_slice(), &bytes].concat())
}

/// Opens what was sealed to the holder of that number; 0 is nobody.
pub(super) fn unseal(number: u8, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Error> {
    let denied = || Error::Denied("this was sealed for another library, or it was altered".into());
    if number == 0 {
        return Err(Error::Denied("this node acts for no holder".into()));
    }
    let (salt, sealed) = sealed.split_first_chunk::<32>().ok_or_else(denied)?;
    let mut bytes = sealed.to_vec();
    let nonce = aead::Nonce::assume_unique_for_key([0; 12]);
    let key = sealing(holder(number).public().as_bytes(), salt, context)?;
    let clear = key.open_in_place(nonce, aead::Aad::empty(), &mut bytes).map_err(|_| denied())?;
    Ok(clear.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_to_a_holder_opens_for_that_holder_and_context_alone() {
        let to = holder(1).public().to_string();
        let sealed = seal(&to, b"c", b"secret").unwrap();
        assert_eq!(sealed.len(), 32 + 6 + 16, "as HPKE has it");
        assert_eq!(unseal(1, b"c", &sealed).unwrap(), b"secret");
        for (number, context) in [(0, b"c"), (2, b"c"), (1, b"d")] {
            assert!(unseal(number, context, &sealed).is_err());
        }
        let mut bad = sealed;
        bad[0] ^= 1;
        assert!(unseal(1, b"c", &bad).is_err());
    }
}
