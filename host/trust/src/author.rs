//! The author's side of a bundle: listing the files in the manifest, packing, signing. What comes out passes
//! [`crate::verify`] where the key is trusted.

use std::collections::BTreeMap;

use fondaco_schemas::manifest::{MANIFEST_FILE, SIGNATURE_FILE};
use fondaco_schemas::problem::MAX_FILE_BYTES;
use fondaco_schemas::{BlobHash, BundlePath, Manifest, PackedFile, Problems, Sha256};
use time::OffsetDateTime;

use crate::bundle::{Bundle, BundleError, pack};
use crate::dsse::{DsseError, Envelope, MANIFEST_TYPE};
use crate::keys::{KeyPair, sha256};

/// Why files cannot be made a bundle, or a bundle cannot be signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorError {
    /// The files do not fit.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The manifest would be refused.
    #[error("the packed manifest would be refused")]
    Manifest(#[from] Problems),
    /// The manifest would be too long.
    #[error(
        "the packed manifest has {0} bytes, and at most {MAX_FILE_BYTES} are read: shorten its texts or pack fewer files"
    )]
    ManifestTooLong(usize),
    /// A name that packing itself needs.
    #[error("{0} is written by packing and signing: take it out of the files")]
    Reserved(&'static str),
    /// It has no TOML form.
    #[error("the manifest cannot be written as TOML")]
    Toml(#[source] toml::ser::Error),
    /// It has no JSON form.
    #[error("the signatures cannot be written as JSON")]
    Json(#[source] serde_json::Error),
    /// There is nothing to sign.
    #[error("the bundle holds no manifest: pack it with cargo fondaco pack")]
    NoManifest,
    /// The signatures that are there cannot be read.
    #[error("the signatures in the bundle cannot be read: pack it again")]
    Dsse(#[from] DsseError),
    /// The signatures that are there are about something else.
    #[error("the signatures in the bundle are about another manifest: pack it again")]
    OtherManifest,
}

/// Packs an unsigned bundle from the author's request and all files but the manifest. The same input gives the same bytes.
pub fn prepare(
    request: Manifest,
    mut files: BTreeMap<BundlePath, Vec<u8>>,
    released: OffsetDateTime,
    toolchain: Option<String>,
) -> Result<Vec<u8>, AuthorError> {
    for reserved in [MANIFEST_FILE, SIGNATURE_FILE] {
        if files.contains_key(reserved) {
            return Err(AuthorError::Reserved(reserved));
        }
    }
    let listed = files.iter().map(|(path, bytes)| PackedFile {
        path: path.clone(),
        size: bytes.len() as u64,
        sha256: Sha256(sha256(bytes)),
        blake3: BlobHash::new(*blake3::hash(bytes).as_bytes()),
    });
    let manifest = Manifest { files: listed.collect(), released: Some(released), toolchain, ..request };
    let text = manifest.to_toml().map_err(AuthorError::Toml)?;
    if text.len() > MAX_FILE_BYTES {
        return Err(AuthorError::ManifestTooLong(text.len()));
    }
    // What verification would say is better said to the author.
    Manifest::parse_packed(&text)?;
    files.insert(path(MANIFEST_FILE)?, text.into_bytes());
    Ok(pack(&files)?)
}

/// Adds a signature to a packed bundle.
pub fn sign_bundle(bundle: Vec<u8>, key: &KeyPair) -> Result<Vec<u8>, AuthorError> {
    let bundle = Bundle::parse(bundle)?;
    let manifest = bundle.get(MANIFEST_FILE).ok_or(AuthorError::NoManifest)?;
    let mut envelope = match bundle.get(SIGNATURE_FILE) {
        Some(json) => Envelope::parse(json, MANIFEST_TYPE)?,
        None => Envelope::new(MANIFEST_TYPE, manifest.to_vec()),
    };
    if envelope.payload() != manifest {
        return Err(AuthorError::OtherManifest);
    }
    envelope.sign(key);
    let json = envelope.to_json().map_err(AuthorError::Json)?;
    let mut files: BTreeMap<_, _> =
        bundle.paths().map(|p| (p.clone(), bundle.get(p.as_str()).unwrap_or_default().to_vec())).collect();
    files.insert(path(SIGNATURE_FILE)?, json.into_bytes());
    Ok(pack(&files)?)
}

fn path(name: &'static str) -> Result<BundlePath, AuthorError> {
    name.parse().map_err(|_| AuthorError::Reserved(name))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const REQUEST: &str = "schema = 1\nid = \"org.nightowl.shelf\"\nversion = \"1.4.0\"\nkind = \"search\"\napi = \"^0.1\"\n\
        component = \"plugin.wasm\"\nlicense = \"MIT\"\n[text.en]\nname = \"Shelf\"\nsummary = \"A shop window\"\n";

    fn prepared(request: &str, paths: &[&str]) -> Result<Vec<u8>, AuthorError> {
        let files = paths.iter().map(|p| (p.parse().unwrap(), b"x".to_vec())).collect();
        let manifest = Manifest::parse_request(request).unwrap();
        prepare(manifest, files, datetime!(2030-01-31 12:00 UTC), None)
    }

    #[test]
    fn refuses_to_pack_what_would_be_refused() {
        assert!(prepared(REQUEST, &["plugin.wasm"]).is_ok());
        assert!(matches!(prepared(REQUEST, &["other.wasm"]), Err(AuthorError::Manifest(_))));
        for reserved in [MANIFEST_FILE, SIGNATURE_FILE] {
            assert!(
                matches!(prepared(REQUEST, &["plugin.wasm", reserved]), Err(AuthorError::Reserved(_))),
                "{reserved}"
            );
        }
        // Still short enough as a request.
        let summary = "x".repeat(MAX_FILE_BYTES - REQUEST.len());
        let long = REQUEST.replace("A shop window", &summary);
        let Err(AuthorError::ManifestTooLong(len)) = prepared(&long, &["plugin.wasm"]) else { panic!("too long") };
        // To the last byte.
        let most = REQUEST.replace("A shop window", &summary[len - MAX_FILE_BYTES..]);
        let bundle = Bundle::parse(prepared(&most, &["plugin.wasm"]).unwrap()).unwrap();
        assert_eq!(bundle.get(MANIFEST_FILE).unwrap().len(), MAX_FILE_BYTES);
        let more = REQUEST.replace("A shop window", &summary[len - MAX_FILE_BYTES - 1..]);
        assert!(matches!(prepared(&more, &["plugin.wasm"]), Err(AuthorError::ManifestTooLong(_))));
    }

    #[test]
    fn writes_down_what_it_packs_when_and_with_what() {
        let manifest = Manifest::parse_request(REQUEST).unwrap();
        let (released, files) = (datetime!(2030-01-31 12:00 UTC), [("plugin.wasm".parse().unwrap(), b"x".to_vec())]);
        let bundle = prepare(manifest, files.into(), released, Some("rustc 1.95.0".into())).unwrap();
        let bundle = Bundle::parse(bundle).unwrap();
        let text = std::str::from_utf8(bundle.get(MANIFEST_FILE).unwrap()).unwrap();
        let packed = Manifest::parse_packed(text).unwrap();
        assert_eq!((packed.released, packed.toolchain.as_deref()), (Some(released), Some("rustc 1.95.0")));
        assert_eq!(packed.files.iter().map(|f| (f.path.as_str(), f.size)).collect::<Vec<_>>(), [("plugin.wasm", 1)]);
    }

    #[test]
    fn refuses_to_sign_beside_signatures_of_another_manifest() {
        let key = KeyPair::from_seed(&[1; 32]).unwrap();
        let one = sign_bundle(prepared(REQUEST, &["plugin.wasm"]).unwrap(), &key).unwrap();
        let other = Bundle::parse(prepared(&REQUEST.replace("1.4.0", "1.5.0"), &["plugin.wasm"]).unwrap()).unwrap();
        let signatures = Bundle::parse(one.clone()).unwrap().get(SIGNATURE_FILE).unwrap().to_vec();
        let mut files: BTreeMap<BundlePath, _> =
            other.paths().map(|p| (p.clone(), other.get(p.as_str()).unwrap().to_vec())).collect();
        files.insert(SIGNATURE_FILE.parse().unwrap(), signatures);
        assert!(matches!(sign_bundle(pack(&files).unwrap(), &key), Err(AuthorError::OtherManifest)));
        files.remove(SIGNATURE_FILE);
        files.remove(MANIFEST_FILE);
        assert!(matches!(sign_bundle(pack(&files).unwrap(), &key), Err(AuthorError::NoManifest)));
        assert_eq!(sign_bundle(one.clone(), &key).unwrap(), one, "to sign again changes nothing");
    }
}
