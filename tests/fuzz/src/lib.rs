//! What the fuzzer feeds, one function a target. Each takes bytes that a stranger wrote, and holds what must be true of
//! whatever is made of them: nothing panics, and what was read and is written again reads as the same.

use std::sync::LazyLock;

use fondaco_schemas::envelope::Signed;
use fondaco_schemas::{Deployment, Entitlement, Lock, Manifest, Membership, Release, WorkFile};
use fondaco_trust::dsse::MANIFEST_TYPE;
use fondaco_trust::{
    Bundle, Envelope, Host, KeyPair, TrustStore, pack, sign_bundle, verify, verify_membership, verify_release,
};

fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// Mistakes are said in words that name the file, whatever it holds.
fn said(problems: &fondaco_schemas::Problems) {
    assert!(!problems.to_string().is_empty());
}

/// `plugin.toml` and `manifest.toml`.
pub fn manifest(data: &[u8]) {
    let Some(text) = text(data) else { return };
    for read in [Manifest::parse_request, Manifest::parse_packed] {
        match read(text) {
            Ok(manifest) => {
                let written = manifest.to_toml().expect("what was read can be written");
                assert_eq!(read(&written).expect("what was written reads"), manifest, "{written}");
                assert_eq!(manifest.capabilities.canonical(), manifest.capabilities.canonical());
            }
            Err(problems) => said(&problems),
        }
    }
}

/// A bundle: the archive, and with a trusted key's signature everything behind it.
pub fn bundle(data: &[u8]) {
    static TRUST: LazyLock<(KeyPair, TrustStore)> = LazyLock::new(|| {
        let key = KeyPair::from_seed(&[1; 32]).expect("a key");
        let text = format!(
            "serial = 1\n[[publishers]]\nname = \"x\"\nprefixes = [\"org.fondaco\", \"org.example\"]\nkinds = [\"search\", \"storefront\", \"payment\", \"drm\", \"advocacy\"]\n\
             [[publishers.keys]]\nkey = \"{}\"\n",
            key.public()
        );
        let trust = TrustStore::parse(&text, None).expect("a trust store");
        (key, trust)
    });
    let (key, trust) = &*TRUST;
    let host = Host {
        api: vec![semver::Version::new(0, 1, 0), semver::Version::new(0, 2, 0)],
        now: time::OffsetDateTime::UNIX_EPOCH,
    };
    if let Ok(read) = Bundle::parse(data.to_vec()) {
        let files = read.paths().map(|p| (p.clone(), read.get(p.as_str()).expect("it is listed").to_vec())).collect();
        assert_eq!(pack(&files).expect("what was read can be packed"), data, "an archive has one form");
    }
    // Nobody signed these bytes with a key that is trusted.
    assert!(verify(data.to_vec(), trust, &host, |_| None).is_err());
    if let Ok(signed) = sign_bundle(data.to_vec(), key)
        && let Ok(verified) = verify(signed, trust, &host, |_| None)
    {
        assert!(verified.paths().count() >= 3, "a manifest, its signatures and a component");
    }
}

/// The signatures of a manifest.
pub fn dsse(data: &[u8]) {
    let key = KeyPair::from_seed(&[1; 32]).expect("a key");
    if let Ok(mut envelope) = Envelope::parse(data, MANIFEST_TYPE) {
        assert!(envelope.signers([&key.public()]).is_empty(), "signed by a key that signed nothing");
        let written = envelope.to_json().expect("what was read can be written");
        assert_eq!(Envelope::parse(written.as_bytes(), MANIFEST_TYPE).expect("it reads"), envelope);
        envelope.sign(&key);
        assert_eq!(envelope.signers([&key.public()]), [key.public()]);
    }
}

/// `fondaco.toml`.
pub fn deployment(data: &[u8]) {
    let Some(text) = text(data) else { return };
    match Deployment::parse(text) {
        Ok(deployment) => assert!(deployment.base_url().starts_with("http")),
        Err(problems) => said(&problems),
    }
}

/// `work.toml`.
pub fn work_file(data: &[u8]) {
    let Some(text) = text(data) else { return };
    match WorkFile::parse(text) {
        Ok(work) => {
            for path in ["a.mp3", "", "a/b/c.flac", "\u{202e}"] {
                let _ = work.rule(path);
            }
        }
        Err(problems) => said(&problems),
    }
}

/// `fondaco.lock`.
pub fn lock(data: &[u8]) {
    let Some(text) = text(data) else { return };
    match Lock::parse(text) {
        Ok(lock) => {
            let written = lock.to_toml().expect("what was read can be written");
            assert_eq!(Lock::parse(&written).expect("what was written reads"), lock, "{written}");
        }
        Err(problems) => said(&problems),
    }
}

/// `trust.toml`, and the edits that `fondaco trust` makes of it.
pub fn trust_file(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let Ok(store) = TrustStore::parse(text, None) else { return };
    for publisher in &store.file().publishers {
        for key in &publisher.keys {
            assert!(fondaco_trust::check_public_key(&key.key).is_ok(), "{} is pinned", key.key);
        }
    }
    let key = KeyPair::from_seed(&[9; 32]).expect("a key").public();
    if let Ok(edited) = fondaco_trust::trust_store::revoke_key(text, &key) {
        let after = TrustStore::parse(&edited, Some(store.file().serial + 1)).expect("what was edited reads");
        assert!(after.file().revoked.keys.contains(&key) && after.file().publishers == store.file().publishers);
    }
}

/// A signed release, a signed right and a membership: what other nodes send.
pub fn envelope(data: &[u8]) {
    if let Ok(signed) = Signed::<Release>::decode(data) {
        assert_eq!(signed.encode(), data, "an envelope has one form");
        let _ = signed.read();
    }
    if let Ok(signed) = Signed::<Entitlement>::decode(data) {
        assert_eq!(signed.encode(), data, "an envelope has one form");
        let _ = signed.read();
    }
    if let Ok(signed) = Signed::<Membership>::decode(data) {
        assert_eq!(signed.encode(), data, "an envelope has one form");
        if let Ok(membership) = signed.read() {
            let _ = verify_membership(data, signed.key(), &membership.member, 0);
        }
    }
    let _ = verify_release(data);
}

/// The short texts that stand in all of these: ids, sums, sizes, times, addresses, keys.
pub fn texts(data: &[u8]) {
    let Some(text) = text(data) else { return };
    macro_rules! same_again {
        ($($t:ty),*) => { $(if let Ok(value) = text.parse::<$t>() {
            let written = value.to_string();
            assert_eq!(written.parse::<$t>().map_err(|_| ()), Ok(value), "{text:?} as {}", stringify!($t));
        })* };
    }
    use fondaco_schemas as s;
    same_again!(
        s::PluginId,
        s::BundlePath,
        s::Origin,
        s::Capability,
        s::PluginKind,
        s::ByteSize,
        s::Money,
        s::PublicKey
    );
    same_again!(
        s::HolderKey,
        s::BlobHash,
        s::WorkId,
        s::OrderId,
        s::PaymentId,
        s::EntitlementId,
        s::ReleaseId,
        s::Span
    );
    let _ = KeyPair::from_pem(text);
}

/// The files of a registry.
pub fn tuf(data: &[u8]) {
    use fondaco_trust::tuf::{Draft, TopRole, Update};
    let key = KeyPair::from_seed(&[9; 32]).expect("a key");
    for role in [TopRole::Root, TopRole::Timestamp, TopRole::Snapshot, TopRole::Targets] {
        let Ok(mut draft) = Draft::parse(data, role) else { continue };
        draft.sign(&key);
        let written = draft.to_bytes().expect("what was read can be written");
        let again = Draft::parse(&written, role).expect("what was written reads");
        assert_eq!((again.version(), again.expires()), (draft.version(), draft.expires()));
        assert_eq!(again.to_bytes().expect("as before"), written, "one form");
    }
    if let Ok(mut update) = Update::begin(data, time::OffsetDateTime::UNIX_EPOCH) {
        // It says that it may sign itself, and nothing else is believed yet.
        let _ = update.next();
        assert!(!update.take(Some(data)).unwrap_or(false) || update.found("x").is_none());
    }
}
