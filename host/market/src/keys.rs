//! The node's own keys, and what is made of them: keys for plugins, holders, cookies and tags. One Ed25519 key is stored;
//! all else follows from it, so a back-up of one file is a back-up of all.
//!
//! The root secret is SHA-256 of the node key's signature over a fixed text: Ed25519 signatures are deterministic
//! (RFC 8032 §5.1.6), so the same key always gives the same root, and nobody without the key can make it.

use std::sync::Arc;

use curve25519_dalek::edwards::CompressedEdwardsY;
use data_encoding::BASE64;
use fondaco_schemas::{HolderKey, PublicKey};
use fondaco_trust::KeyPair;
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use rand_core::TryRngCore;
use ring::rand::SecureRandom;
use ring::{digest, hkdf, hmac, rand};

const ROOT_TEXT: &[u8] = b"fondaco root secret v1";

/// The node's keys. Cheap to clone.
#[derive(Clone)]
pub struct NodeKeys(Arc<Inner>);

struct Inner {
    pair: KeyPair,
    root: hkdf::Prk,
}

impl std::fmt::Debug for NodeKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NodeKeys({})", self.0.pair.public())
    }
}

impl NodeKeys {
    /// Of the node's stored key.
    pub fn new(pair: KeyPair) -> Self {
        let secret = digest::digest(&digest::SHA256, &pair.sign(ROOT_TEXT));
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, b"fondaco").extract(secret.as_ref());
        Self(Arc::new(Inner { pair, root }))
    }
    /// The node's public key: what signs entitlements.
    pub fn public(&self) -> PublicKey {
        self.0.pair.public()
    }
    /// The node's key pair.
    pub fn pair(&self) -> &KeyPair {
        &self.0.pair
    }
    /// 32 bytes for one purpose (HKDF-SHA256). `scope` and `label` are length-prefixed, so that no two pairs meet.
    pub fn derive(&self, scope: &str, label: &[u8]) -> [u8; 32] {
        let lengths = [(scope.len() as u64).to_be_bytes(), (label.len() as u64).to_be_bytes()].concat();
        let info = [lengths.as_slice(), scope.as_bytes(), label];
        let mut out = [0; 32];
        // HKDF fails only for outputs over 255 hashes long.
        if let Ok(okm) = self.0.root.expand(&info, hkdf::HKDF_SHA256) {
            let _ = okm.fill(&mut out);
        }
        out
    }
    /// HMAC-SHA256 for one purpose.
    pub fn tag(&self, scope: &str, message: &[u8]) -> [u8; 32] {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.derive("tag", scope.as_bytes())), message);
        let mut out = [0; 32];
        out.copy_from_slice(tag.as_ref());
        out
    }
    /// Is it the tag of this message? Constant time.
    pub fn check_tag(&self, scope: &str, message: &[u8], tag: &[u8]) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.derive("tag", scope.as_bytes()));
        hmac::verify(&key, message, tag).is_ok()
    }
}

/// Random bytes from the operating system.
///
/// # Panics
/// Where the system gives none: then no id and no key would be safe.
#[expect(clippy::expect_used, reason = "without randomness every id and key would be guessable")]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::SystemRandom::new().fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// What goes wrong with sealed messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The holder's key is no point that can be sealed to.
    #[error("this is no holder's key")]
    Holder,
    /// It was sealed to another holder, for another context, or altered.
    #[error("this was sealed for another library, or it was altered")]
    Unseal,
}

/// Seals a message to a holder's key: HPKE base mode (RFC 9180) with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and
/// ChaCha20-Poly1305, `context` as `info`, no associated data. Gives the encapsulated key (32 bytes), then ciphertext.
///
/// A holder's key is Ed25519; its X25519 key is the same point in Montgomery form (RFC 7748 §4.1).
pub fn seal(holder: &HolderKey, context: &[u8], message: &[u8]) -> Result<Vec<u8>, SealError> {
    let public = PublicKey::new(*holder.as_bytes());
    fondaco_trust::check_public_key(&public).map_err(|_| SealError::Holder)?;
    let point = CompressedEdwardsY(*holder.as_bytes()).decompress().ok_or(SealError::Holder)?;
    let public = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(point.to_montgomery().as_bytes())
        .map_err(|_| SealError::Holder)?;
    let mut rng = rand_core::OsRng.unwrap_err();
    let (key, sealed) = hpke::single_shot_seal::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256, _>(
        &OpModeS::Base,
        &public,
        context,
        message,
        b"",
        &mut rng,
    )
    .map_err(|_| SealError::Holder)?;
    Ok([key.to_bytes().as_slice(), &sealed].concat())
}

/// A holder's secret: the library's key.
pub struct Library {
    seed: [u8; 32],
    pair: KeyPair,
}

impl Library {
    /// Of a 32-byte Ed25519 seed.
    pub fn from_seed(seed: [u8; 32]) -> Result<Self, fondaco_trust::KeyError> {
        Ok(Self { seed, pair: KeyPair::from_seed(&seed)? })
    }
    /// Of the text of a library key file: a PKCS#8 PEM, with lines before it that begin with `#`.
    pub fn from_text(text: &str) -> Result<Self, fondaco_trust::KeyError> {
        let pem: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
        let pair = KeyPair::from_pem(&pem.join("\n"))?;
        let base64: String = pem.iter().filter(|l| !l.starts_with('-')).copied().collect();
        let der = BASE64.decode(base64.as_bytes()).unwrap_or_default();
        // RFC 8410 §7: the seed is an OCTET STRING of 32 bytes within one of 34.
        let at = der.windows(4).position(|w| w == [0x04, 0x22, 0x04, 0x20]).map(|at| at + 4);
        let seed = at.and_then(|at| der.get(at..)).and_then(|rest| rest.first_chunk::<32>());
        Ok(Self { seed: *seed.ok_or(fondaco_trust::KeyError::Private)?, pair })
    }
    /// The text of a library key file.
    pub fn to_text(&self, shop: &str) -> String {
        format!(
            "# The key to a library at {shop}\n# Whoever has this file can open what was bought with it. Keep it safe and to yourself.\n# Holder: {}\n{}",
            self.holder(),
            self.pair.to_pem()
        )
    }
    /// The public half: what entitlements name.
    pub fn holder(&self) -> HolderKey {
        HolderKey::new(*self.pair.public().as_bytes())
    }
    /// Opens what [`seal`] made for this holder.
    pub fn unseal(&self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (key, sealed) = sealed.split_first_chunk::<32>().ok_or(SealError::Unseal)?;
        // RFC 8032 §5.1.5: the scalar is the clamped first half of SHA-512 of the seed; X25519 clamps by itself.
        let hash = digest::digest(&digest::SHA512, &self.seed);
        let scalar = hash.as_ref().first_chunk::<32>().ok_or(SealError::Unseal)?;
        let secret = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(scalar).map_err(|_| SealError::Unseal)?;
        let key = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(key).map_err(|_| SealError::Unseal)?;
        hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &secret,
            &key,
            context,
            sealed,
            b"",
        )
        .map_err(|_| SealError::Unseal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_to_a_holder_opens_for_that_holder_alone() {
        let (mine, other) = (Library::from_seed([1; 32]).unwrap(), Library::from_seed([2; 32]).unwrap());
        let sealed = seal(&mine.holder(), b"context", b"secret").unwrap();
        assert_eq!(mine.unseal(b"context", &sealed).unwrap(), b"secret");
        assert_eq!(mine.unseal(b"another", &sealed), Err(SealError::Unseal));
        assert_eq!(other.unseal(b"context", &sealed), Err(SealError::Unseal));
        for i in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[i] ^= 1;
            assert_eq!(mine.unseal(b"context", &bad), Err(SealError::Unseal), "byte {i}");
        }
        assert_eq!(mine.unseal(b"context", &sealed[..31]), Err(SealError::Unseal));
    }

    #[test]
    fn seals_to_no_point_of_small_order() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(seal(&HolderKey::new(identity), b"", b"x"), Err(SealError::Holder));
        assert_eq!(seal(&HolderKey::new([0xff; 32]), b"", b"x"), Err(SealError::Holder));
    }

    #[test]
    fn a_library_key_file_reads_back() {
        let library = Library::from_seed([9; 32]).unwrap();
        let again = Library::from_text(&library.to_text("Night Owl")).unwrap();
        assert_eq!(again.holder(), library.holder());
        assert!(Library::from_text("nonsense").is_err());
    }

    #[test]
    fn derived_keys_never_meet() {
        let keys = NodeKeys::new(KeyPair::from_seed(&[3; 32]).unwrap());
        assert_eq!(keys.derive("a", b"b"), keys.derive("a", b"b"));
        assert_ne!(keys.derive("a", b"bc"), keys.derive("ab", b"c"));
        assert_ne!(keys.derive("a", b"b"), NodeKeys::new(KeyPair::from_seed(&[4; 32]).unwrap()).derive("a", b"b"));
        let tag = keys.tag("file", b"m");
        assert!(
            keys.check_tag("file", b"m", &tag)
                && !keys.check_tag("form", b"m", &tag)
                && !keys.check_tag("file", b"n", &tag)
        );
    }
}
