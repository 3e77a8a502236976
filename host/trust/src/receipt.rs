//! Signed receipts. Whether one is believed is the market's to decide; here it is only looked at who signed what.

use fondaco_schemas::receipt::{MAX_RECEIPT_BYTES, Receipt};
use fondaco_schemas::{EnvelopeError, Payload, PublicKey, Signed};

use crate::keys::KeyPair;
use crate::release::{ReleaseError, open, sign};

/// A receipt whose signature holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedReceipt {
    /// What names it: BLAKE3 over signer and payload. A second signature of the same is the same receipt.
    pub id: [u8; 32],
    /// Who signed: the node that was delivered to.
    pub downloader: PublicKey,
    /// What it says.
    pub receipt: Receipt,
}

/// Signs a receipt with the key of the node that was delivered to.
pub fn sign_receipt(key: &KeyPair, receipt: &Receipt) -> Result<Vec<u8>, ReleaseError> {
    Ok(sign(key, receipt)?.encode())
}

/// Verifies a receipt: size, form, key, signature.
pub fn verify_receipt(envelope: &[u8]) -> Result<SignedReceipt, ReleaseError> {
    if envelope.len() > MAX_RECEIPT_BYTES {
        return Err(ReleaseError::TooLong { what: "receipt", found: envelope.len(), most: MAX_RECEIPT_BYTES });
    }
    let (downloader, receipt) = open::<Receipt>(envelope, "receipt")?;
    let payload = receipt.to_bytes()?;
    // One value, one encoding: else one delivery could be written, and counted, in several ways.
    if Signed::<Receipt>::decode(envelope)?.payload() != payload {
        return Err(EnvelopeError::Malformed.into());
    }
    let mut hasher = blake3::Hasher::new_derive_key("fondaco 2026-11-25 receipt id");
    hasher.update(downloader.as_bytes()).update(&payload);
    Ok(SignedReceipt { id: *hasher.finalize().as_bytes(), downloader, receipt })
}

#[cfg(test)]
mod tests {
    use fondaco_schemas::ReleaseId;

    use super::*;

    fn receipt() -> Receipt {
        let (release, seeder) = (ReleaseId::new([1; 32]), PublicKey::new([2; 32]));
        Receipt { release, seeder, bytes: 3, at: 1_764_000_000, nonce: [4; 16].into() }
    }

    #[test]
    fn a_receipt_reads_back_and_any_changed_byte_ends_it() {
        let key = KeyPair::generate().unwrap();
        let envelope = sign_receipt(&key, &receipt()).unwrap();
        assert!(envelope.len() < MAX_RECEIPT_BYTES / 2 + 64, "{}", envelope.len());
        let signed = verify_receipt(&envelope).unwrap();
        assert_eq!((signed.downloader, &signed.receipt), (key.public(), &receipt()));
        for at in 0..envelope.len() {
            let mut bad = envelope.clone();
            bad[at] ^= 1;
            assert!(verify_receipt(&bad).is_err(), "byte {at}");
        }
        // What was signed as a receipt is no release, and the other way round.
        assert!(crate::release::verify_release(&envelope).is_err());
        let other = sign_receipt(&key, &Receipt { bytes: 4, ..receipt() }).unwrap();
        assert_ne!(verify_receipt(&other).unwrap().id, signed.id);
    }

    #[test]
    fn one_receipt_has_one_encoding() {
        let key = KeyPair::generate().unwrap();
        let mut payload = receipt().to_bytes().unwrap();
        // The same map, of indefinite length.
        assert_eq!(payload[0], 0xa5);
        payload[0] = 0xbf;
        payload.push(0xff);
        let signature = crate::release::sign_bytes(&key, Receipt::TYPE, &payload);
        let envelope = Signed::<Receipt>::from_parts(payload, key.public(), signature).encode();
        assert!(verify_receipt(&envelope).is_err());
    }
}
