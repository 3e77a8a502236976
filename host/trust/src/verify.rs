//! Is this bundle what a trusted publisher signed, and may it run here? [`verify`] reads as the numbered specification
//! of that question. Whether the component's imports are granted is decided where it is linked, in `host/runtime`.

use fondaco_schemas::manifest::{MANIFEST_FILE, SIGNATURE_FILE};
use fondaco_schemas::problem::MAX_FILE_BYTES;
use fondaco_schemas::trust_file::{TrustedKey, TrustedPublisher};
use fondaco_schemas::{BlobHash, BundlePath, Manifest, PluginId, PluginKind, Problems, PublicKey, Sha256, api};
use semver::Version;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::bundle::{Bundle, BundleError};
use crate::dsse::{DsseError, Envelope, MANIFEST_TYPE};
use crate::keys::sha256;
use crate::trust_store::TrustStore;

/// What the host knows that judges a bundle.
#[derive(Clone, Debug)]
pub struct Host {
    /// The versions of `fondaco:plugin` that it offers.
    pub api: Vec<Version>,
    /// The time.
    pub now: OffsetDateTime,
}

/// Why a bundle is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Step 1.
    #[error("the file is no plugin bundle")]
    Bundle(#[from] BundleError),
    /// Step 1: an entry without which nothing can be said.
    #[error("the bundle holds no {0}: {hint}", hint = missing_hint(.0))]
    Missing(&'static str),
    /// Step 1: the manifest is too long.
    #[error("the manifest has {0} bytes, and at most {MAX_FILE_BYTES} are read: shorten its texts or list fewer files")]
    ManifestTooLong(usize),
    /// Step 2.
    #[error("trust.toml revokes the digest {0}, which is this bundle's or its manifest's: install another version")]
    Revoked(BlobHash),
    /// Step 3.
    #[error("the bundle's signature file cannot be read: ask the publisher to sign it again")]
    Dsse(#[from] DsseError),
    /// Step 3: the signed bytes are not those of the manifest.
    #[error("the signatures are about another manifest than the bundle's: ask the publisher to sign it again")]
    OtherManifest,
    /// Step 4.
    #[error(
        "nobody whom trust.toml names has signed the bundle: if you trust its publisher, add the key with fondaco trust"
    )]
    UnknownSigner,
    /// Step 4: signed by a key that is revoked.
    #[error("the bundle is signed with the key {0}, which is revoked: get a bundle that is signed with another one")]
    RevokedKey(PublicKey),
    /// Step 4: signed by a key whose time is over.
    #[error(
        "the bundle is signed with the key {key}, which is not trusted after {not_after}: get a bundle that is signed with a newer one"
    )]
    ExpiredKey {
        /// The key.
        key: PublicKey,
        /// RFC 3339.
        not_after: String,
    },
    /// Step 5.
    #[error("the bundle's manifest has mistakes: tell its publisher")]
    Manifest(#[from] Problems),
    /// Step 5: not UTF-8.
    #[error("the bundle's manifest is no UTF-8 text: tell its publisher")]
    ManifestText,
    /// Step 6: the signer may not sign this id.
    #[error("{id} is signed by {signer}, who may sign only {prefixes}: if that is right, add the prefix to trust.toml")]
    Scope {
        /// Who signed.
        signer: String,
        /// What.
        id: PluginId,
        /// What it may sign.
        prefixes: String,
    },
    /// Step 6: the signer may not sign this kind.
    #[error(
        "{id} of kind {kind} is signed by {signer}, who may sign only {kinds}: if that is right, add the kind to trust.toml"
    )]
    Kind {
        /// Who signed.
        signer: String,
        /// What.
        id: PluginId,
        /// Of which kind.
        kind: PluginKind,
        /// What it may sign.
        kinds: String,
    },
    /// Step 7.
    #[error(
        "{id} is signed with {signed} of the keys of {signer}, and trust.toml demands {threshold}: ask the publisher for more signatures"
    )]
    Threshold {
        /// Who signed.
        signer: String,
        /// What.
        id: PluginId,
        /// With so many different keys.
        signed: usize,
        /// How many there should be.
        threshold: u32,
    },
    /// Step 8.
    #[error(
        "{id} {version} is older than {highest}, which was installed before: allow the step back explicitly if you mean it"
    )]
    Rollback {
        /// Which plugin.
        id: PluginId,
        /// In which version.
        version: Version,
        /// The highest version that was seen.
        highest: Version,
    },
    /// Step 9: a listed file is not there.
    #[error("the manifest lists {0}, which the bundle does not hold: fetch the bundle again")]
    FileMissing(BundlePath),
    /// Step 9: a file is not listed.
    #[error("the bundle holds {0}, which the manifest does not list: fetch the bundle again")]
    FileUnlisted(BundlePath),
    /// Step 9: a file has another size.
    #[error("{path} has {found} bytes, and the manifest says {listed}: fetch the bundle again")]
    FileSize {
        /// Which file.
        path: BundlePath,
        /// In bytes.
        found: u64,
        /// In bytes.
        listed: u64,
    },
    /// Step 9: a file has another digest.
    #[error("{path} has another {algorithm} digest than the manifest says: fetch the bundle again")]
    FileDigest {
        /// Which file.
        path: BundlePath,
        /// By which algorithm.
        algorithm: &'static str,
    },
    /// Step 10.
    #[error(
        "{id} {version} works with fondaco:plugin {wanted}, and this node offers {offered}: it needs {node} that offers {wanted}; or install a version of it that fits"
    )]
    Api {
        /// Which plugin.
        id: PluginId,
        /// In which version.
        version: Version,
        /// What it works with: a range of versions.
        wanted: Box<str>,
        /// The versions that there are.
        offered: Box<str>,
        /// Which node it needs.
        node: &'static str,
    },
}

fn missing_hint(file: &str) -> &'static str {
    if file == SIGNATURE_FILE { "sign it with cargo fondaco sign" } else { "pack it with cargo fondaco pack" }
}

/// A bundle that passed every step.
#[derive(Clone, Debug)]
pub struct Verified {
    /// What it says about itself.
    pub manifest: Manifest,
    /// Who signed it, as trust.toml names them.
    pub publisher: String,
    /// The publisher's keys that signed it.
    pub signers: Vec<PublicKey>,
    /// BLAKE3 of the bundle: its address.
    pub bundle_hash: BlobHash,
    /// BLAKE3 of `manifest.toml`: what to revoke, since all bundles of these contents share it.
    pub manifest_hash: BlobHash,
    bundle: Bundle,
}

impl Verified {
    /// The bytes of the WASM component.
    pub fn component(&self) -> &[u8] {
        // Listed by step 5, and there by step 9.
        self.file(self.manifest.component.as_str()).unwrap_or_default()
    }
    /// The bytes of a file.
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        self.bundle.get(path)
    }
    /// The paths of all files, with the manifest and its signatures.
    pub fn paths(&self) -> impl Iterator<Item = &BundlePath> {
        self.bundle.paths()
    }
    /// The whole bundle, as it was given.
    pub fn bytes(&self) -> &[u8] {
        self.bundle.bytes()
    }
}

/// Verifies a bundle. `highest` answers the highest version of a plugin that was ever accepted here; `|_| None` allows
/// a step back, and is right only where the operator asked for one.
pub fn verify(
    bytes: Vec<u8>,
    trust: &TrustStore,
    host: &Host,
    highest: impl FnOnce(&PluginId) -> Option<Version>,
) -> Result<Verified, Refusal> {
    // 1. Size and form: at most 32 MiB, 64 files and 64 KiB of manifest, in the one form that packing writes.
    let bundle = Bundle::parse(bytes)?;
    let signed_bytes = bundle.get(MANIFEST_FILE).ok_or(Refusal::Missing(MANIFEST_FILE))?;
    if signed_bytes.len() > MAX_FILE_BYTES {
        return Err(Refusal::ManifestTooLong(signed_bytes.len()));
    }
    let signatures = bundle.get(SIGNATURE_FILE).ok_or(Refusal::Missing(SIGNATURE_FILE))?;

    // 2. Neither the bundle's digest nor its manifest's is revoked. Signatures are not signed themselves, so that anybody
    //    can make another bundle of the same manifest: to revoke the manifest catches them all.
    let bundle_hash = BlobHash::new(*blake3::hash(bundle.bytes()).as_bytes());
    let manifest_hash = BlobHash::new(*blake3::hash(signed_bytes).as_bytes());
    if let Some(revoked) = [bundle_hash, manifest_hash].into_iter().find(|h| trust.file().revoked.digests.contains(h)) {
        return Err(Refusal::Revoked(revoked));
    }

    // 3. The envelope is about a manifest, and about exactly this one.
    let envelope = Envelope::parse(signatures, MANIFEST_TYPE)?;
    if envelope.payload() != signed_bytes {
        return Err(Refusal::OtherManifest);
    }

    // 4. Keys of trust.toml, neither revoked nor expired, signed these bytes.
    let endorsements = endorsements(&envelope, trust, host.now)?;

    // 5. Only now are the bytes read: somebody trusted vouches for them.
    let text = std::str::from_utf8(signed_bytes).map_err(|_| Refusal::ManifestText)?;
    let manifest = Manifest::parse_packed(text)?;

    // 6. and 7. One of the signers may sign this id and this kind, with as many different keys as it must.
    let (publisher, signers) = accept(&endorsements, &manifest)?;

    // 8. No step back behind the highest version that was accepted before. What is only build metadata does not count.
    if let Some(highest) = highest(&manifest.id).filter(|h| manifest.version.cmp_precedence(h).is_lt()) {
        return Err(Refusal::Rollback { id: manifest.id, version: manifest.version, highest });
    }

    // 9. The bundle holds exactly the listed files, each with its size and both digests.
    check_files(&bundle, &manifest)?;

    // 10. The plugin works with this host's interface.
    if !host.api.iter().any(|offered| manifest.api.matches(offered)) {
        let (wanted, offered, node) =
            (manifest.api.to_string(), api::listed(&host.api), api::needed(&manifest.api, &host.api));
        return Err(Refusal::Api {
            id: manifest.id,
            version: manifest.version,
            wanted: wanted.into(),
            offered: offered.into(),
            node,
        });
    }
    Ok(Verified { manifest, publisher, signers, bundle_hash, manifest_hash, bundle })
}

/// A publisher and those of its good keys that signed.
struct Endorsement<'t> {
    publisher: &'t TrustedPublisher,
    keys: Vec<PublicKey>,
}

/// Step 4.
fn endorsements<'t>(
    envelope: &Envelope,
    trust: &'t TrustStore,
    now: OffsetDateTime,
) -> Result<Vec<Endorsement<'t>>, Refusal> {
    let mut endorsements = Vec::new();
    let mut spoilt = None;
    for publisher in &trust.file().publishers {
        let signed = envelope.signers(publisher.keys.iter().map(|k| &k.key));
        let signed = publisher.keys.iter().filter(|k| signed.contains(&k.key));
        let mut keys = Vec::new();
        for key in signed {
            match spoilt_by(key, trust, now) {
                None => keys.push(key.key),
                why => spoilt = spoilt.or(why),
            }
        }
        if !keys.is_empty() {
            endorsements.push(Endorsement { publisher, keys });
        }
    }
    if endorsements.is_empty() { Err(spoilt.unwrap_or(Refusal::UnknownSigner)) } else { Ok(endorsements) }
}

/// Why a key that signed does not count.
fn spoilt_by(key: &TrustedKey, trust: &TrustStore, now: OffsetDateTime) -> Option<Refusal> {
    if trust.file().revoked.keys.contains(&key.key) {
        return Some(Refusal::RevokedKey(key.key));
    }
    let not_after = key.not_after.filter(|end| now > *end)?;
    Some(Refusal::ExpiredKey { key: key.key, not_after: not_after.format(&Rfc3339).unwrap_or_default() })
}

/// Steps 6 and 7. Where several publishers signed, the refusal of the one that came furthest is told.
fn accept(endorsements: &[Endorsement<'_>], manifest: &Manifest) -> Result<(String, Vec<PublicKey>), Refusal> {
    let mut refusals = Vec::new();
    for Endorsement { publisher, keys } in endorsements {
        let (signer, id) = (publisher.name.clone(), manifest.id.clone());
        if !publisher.prefixes.iter().any(|p| p.covers(&id)) {
            refusals.push((6, Refusal::Scope { signer, id, prefixes: join(&publisher.prefixes) }));
        } else if !publisher.kinds.contains(&manifest.kind) {
            let kinds = join(&publisher.kinds);
            refusals.push((7, Refusal::Kind { signer, id, kind: manifest.kind, kinds }));
        } else if keys.len() < publisher.threshold as usize {
            let threshold = publisher.threshold;
            refusals.push((8, Refusal::Threshold { signer, id, signed: keys.len(), threshold }));
        } else {
            return Ok((signer, keys.clone()));
        }
    }
    let furthest = refusals.into_iter().max_by_key(|(step, _)| *step);
    Err(furthest.map_or(Refusal::UnknownSigner, |(_, refusal)| refusal))
}

fn join<T: ToString>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

/// Step 9.
fn check_files(bundle: &Bundle, manifest: &Manifest) -> Result<(), Refusal> {
    for file in &manifest.files {
        let path = || file.path.clone();
        let bytes = bundle.get(file.path.as_str()).ok_or_else(|| Refusal::FileMissing(path()))?;
        if bytes.len() as u64 != file.size {
            return Err(Refusal::FileSize { path: path(), found: bytes.len() as u64, listed: file.size });
        }
        if Sha256(sha256(bytes)) != file.sha256 {
            return Err(Refusal::FileDigest { path: path(), algorithm: "SHA-256" });
        }
        if blake3::hash(bytes).as_bytes() != file.blake3.as_bytes() {
            return Err(Refusal::FileDigest { path: path(), algorithm: "BLAKE3" });
        }
    }
    let listed = |path: &BundlePath| {
        path.as_str() == MANIFEST_FILE
            || path.as_str() == SIGNATURE_FILE
            || manifest.files.iter().any(|file| file.path == *path)
    };
    let unlisted = bundle.paths().find(|path| !listed(path));
    unlisted.map_or(Ok(()), |path| Err(Refusal::FileUnlisted(path.clone())))
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
