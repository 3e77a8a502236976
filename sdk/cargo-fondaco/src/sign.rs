//! `cargo fondaco sign`: adds a DSSE signature over the bundle's manifest.

use std::collections::BTreeMap;
use std::path::Path;

use fondaco_schemas::BundlePath;
use fondaco_schemas::manifest::{MANIFEST_FILE, SIGNATURE_FILE};
use fondaco_trust::bundle::{Bundle, pack};
use fondaco_trust::dsse::{Envelope, MANIFEST_TYPE};
use fondaco_trust::{KeyPair, Refusal, key_id};
use serde_json::json;

use crate::cli::Sign;
use crate::error::Error;
use crate::files::{read_bundle, replace};
use crate::report::Report;
use crate::verify::verify_by;

/// Signs a bundle's file.
pub fn run(options: &Sign) -> Result<Report, Error> {
    let key = KeyPair::load(&options.key)?;
    let bytes = signed(&options.bundle, read_bundle(&options.bundle)?, &key)?;
    replace(&options.bundle, &bytes)?;
    let (place, digest) = (options.bundle.display().to_string(), blake3::hash(&bytes).to_string());
    let (public, id) = (key.public().to_string(), key_id(&key.public()).to_string());
    Ok(Report {
        text: format!("{place}\nsigned with the key {public}\nBLAKE3 {digest}"),
        json: json!({ "bundle": place, "signer": public, "key_id": id, "blake3": digest, "bytes": bytes.len() }),
    })
}

/// The bundle with this key's signature added. `path` is for what goes wrong.
///
/// Nobody should sign what no node would take, so the signed bundle must pass every step of verification but the API's
/// range, which is another node's matter.
pub fn signed(path: &Path, bytes: Vec<u8>, key: &KeyPair) -> Result<Vec<u8>, Error> {
    let bundle = Bundle::parse(bytes).map_err(|e| Error::Bundle(path.to_owned(), e))?;
    let refused = |refusal: Refusal| Error::NotSigned(path.to_owned(), Box::new(refusal));
    let manifest = bundle.get(MANIFEST_FILE).ok_or_else(|| refused(Refusal::Missing(MANIFEST_FILE)))?;
    let mut envelope = match bundle.get(SIGNATURE_FILE) {
        Some(json) => Envelope::parse(json, MANIFEST_TYPE).map_err(|e| Error::Signatures(path.to_owned(), e))?,
        None => Envelope::new(MANIFEST_TYPE, manifest.to_vec()),
    };
    if envelope.payload() != manifest {
        return Err(refused(Refusal::OtherManifest));
    }
    envelope.sign(key);
    let mut files: BTreeMap<BundlePath, Vec<u8>> =
        bundle.paths().map(|p| (p.clone(), bundle.get(p.as_str()).unwrap_or_default().to_vec())).collect();
    let name = SIGNATURE_FILE.parse().map_err(|e| Error::Name(SIGNATURE_FILE.into(), Some(e)))?;
    files.insert(name, envelope.to_json().map_err(Error::Json)?.into_bytes());
    let bytes = pack(&files).map_err(Error::Pack)?;
    match verify_by(bytes.clone(), &key.public()).map_err(|refusal| *refusal) {
        Ok(_) | Err(Refusal::Api { .. }) => Ok(bytes),
        Err(refusal) => Err(refused(refusal)),
    }
}
