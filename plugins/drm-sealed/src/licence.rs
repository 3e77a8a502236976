//! The licence document: what it says, its JSON, its signature, and what the key in it is bound to.
//!
//! ```json
//! { "licence": { "devices": 3, "entitlement": "…", "expires": null, "file": "<BLAKE3>", "holder": "…", "issued": "…",
//!                "issuer": "<Ed25519, base64>", "key_check": "<hex>", "path": "…", "release": "…", "version": 1,
//!                "work": "…" },
//!   "sealed_key": "<HPKE, base64>", "signature": "<Ed25519, base64>" }
//! ```
//!
//! The members are all there, in this order and no others, so that the text without white space is the canonical form
//! of RFC 8785. The key is sealed with the words "fondaco sealed licence v1 key", a zero byte and the canonical
//! `licence` as context: with any of them altered it does not come out. The signature is over the words "fondaco sealed
//! licence v1", a zero byte and the canonical document without `signature`.

use data_encoding::BASE64;
use fondaco_sdk::{Error, License, Result, keys};
use serde::{Deserialize, Serialize};

/// What a licence is.
pub const MEDIA_TYPE: &str = "application/vnd.fondaco.sealed-licence.v1+json";
/// Longest document that is read.
const MAX_BYTES: usize = 16 * 1024;
const VERSION: u32 = 1;
/// Label of the signing key at the node.
const KEY: &str = "licence";
const SIGNED: &[u8] = b"fondaco sealed licence v1\0";
const SEALED: &[u8] = b"fondaco sealed licence v1 key\0";

/// What a licence says. The order of the members is that of RFC 8785: by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Licence {
    /// How many devices it is for; `None`: as many as the holder has.
    #[serde(deserialize_with = "present")]
    pub devices: Option<u32>,
    /// The entitlement that it was issued on.
    pub entitlement: String,
    /// RFC 3339, UTC; `None`: for good.
    #[serde(deserialize_with = "present")]
    pub expires: Option<String>,
    /// BLAKE3 of the sealed file, lower-case hex.
    pub file: String,
    /// The holder's public key, as the entitlement names it.
    pub holder: String,
    /// RFC 3339, UTC.
    pub issued: String,
    /// Public key that signs it: Ed25519, base64.
    pub issuer: String,
    /// The check of the sealed file's header, lower-case hex.
    pub key_check: String,
    /// The file's path in the release.
    pub path: String,
    /// The release.
    pub release: String,
    /// 1.
    pub version: u32,
    /// The work.
    pub work: String,
}

/// A member that may be null and may not be missing: without this, serde takes the one for the other.
fn present<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(d: D) -> std::result::Result<Option<T>, D::Error> {
    Option::deserialize(d)
}

/// What is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Unsigned {
    licence: Licence,
    sealed_key: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    licence: Licence,
    sealed_key: String,
    signature: String,
}

/// A licence whose signature is right, with the key still sealed.
#[derive(Debug)]
pub struct Checked {
    /// What it says.
    pub licence: Licence,
    sealed_key: Vec<u8>,
}

fn canonical(domain: &[u8], value: &impl Serialize) -> Result<Vec<u8>> {
    let json = serde_json::to_vec(value).map_err(|e| Error::Internal(format!("cannot write a licence: {e}")))?;
    Ok([domain, &json].concat())
}

fn altered() -> Error {
    Error::Invalid("the licence was altered after it was issued: fetch it again".into())
}

impl Licence {
    /// The version of this format.
    pub const fn version() -> u32 {
        VERSION
    }
    /// The node's public key for licences, as they carry it.
    pub fn issuer() -> Result<String> {
        Ok(BASE64.encode(&keys::public_key(KEY)?))
    }

    /// Seals a content key to the holder and signs the whole.
    pub fn issue(self, key: &[u8]) -> Result<License> {
        let sealed_key = keys::seal(&self.holder, &canonical(SEALED, &self)?, key)?;
        let unsigned = Unsigned { licence: self, sealed_key: BASE64.encode(&sealed_key) };
        let signature = BASE64.encode(&keys::sign(KEY, &canonical(SIGNED, &unsigned)?)?);
        let Unsigned { licence, sealed_key } = unsigned;
        let expires = licence.expires.clone();
        let document = Document { licence, sealed_key, signature };
        let body = canonical(b"", &document)?;
        if body.len() > MAX_BYTES {
            return Err(Error::Invalid(format!(
                "a licence of {} bytes is too long: shorten the file's path",
                body.len()
            )));
        }
        Ok(License { media_type: MEDIA_TYPE.into(), body, headers: Vec::new(), expires })
    }

    /// Reads a document and checks that nobody altered it. It may still be for another file, holder or time.
    pub fn read(license: &License) -> Result<Checked> {
        // A licence that comes from a file has no media type; its signature says what it is.
        if !license.media_type.is_empty() && license.media_type != MEDIA_TYPE {
            return Err(Error::Invalid(format!("{:.80?} is no licence of a sealed file", license.media_type)));
        }
        if license.body.len() > MAX_BYTES {
            return Err(Error::Invalid(format!("the licence is longer than {MAX_BYTES} bytes")));
        }
        // The version before all else: a later one may have other members.
        let version: Version = serde_json::from_slice(&license.body)
            .map_err(|e| Error::Invalid(format!("the licence cannot be read: {e}")))?;
        if version.licence.version != VERSION {
            let version = version.licence.version;
            return Err(Error::Invalid(format!(
                "the licence is of version {version}, and this plugin reads version {VERSION}"
            )));
        }
        let document: Document = serde_json::from_slice(&license.body)
            .map_err(|e| Error::Invalid(format!("the licence cannot be read: {e}")))?;
        let Document { licence, sealed_key, signature } = document;
        let unsigned = Unsigned { licence, sealed_key };
        let issuer = BASE64.decode(unsigned.licence.issuer.as_bytes()).map_err(|_| altered())?;
        let signature = BASE64.decode(signature.as_bytes()).map_err(|_| altered())?;
        let issuer = ed25519_compact::PublicKey::from_slice(&issuer).map_err(|_| altered())?;
        let signature = ed25519_compact::Signature::from_slice(&signature).map_err(|_| altered())?;
        issuer.verify(canonical(SIGNED, &unsigned)?, &signature).map_err(|_| altered())?;
        let sealed_key = BASE64.decode(unsigned.sealed_key.as_bytes()).map_err(|_| altered())?;
        Ok(Checked { licence: unsigned.licence, sealed_key })
    }
}

/// As much of a licence as every version has.
#[derive(Deserialize)]
struct Version {
    licence: VersionOnly,
}
#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

impl Checked {
    /// The content key, if the node acts for the holder.
    pub fn key(&self) -> Result<[u8; 32]> {
        let context = canonical(SEALED, &self.licence)?;
        let key = keys::unseal(&context, &self.sealed_key).map_err(|error| match error {
            // The signature was right, so it is not the document that is wrong.
            Error::Denied(why) => Error::Denied(format!(
                "this licence is for the holder {}, whose key is not here ({why}): open it where that library is",
                self.licence.holder
            )),
            other => other,
        })?;
        key.try_into().map_err(|_| Error::Invalid("the licence holds no key of 32 bytes: ask its issuer".into()))
    }
}
