//! Every refusal's text, to be read aloud. `UPDATE_SNAPSHOT=1 cargo test -p fondaco-trust` writes the file anew.

use std::error::Error;
use std::fmt::Write as _;
use std::{fs, io};

use fondaco_schemas::{BlobHash, EnvelopeError, Problem, Problems, PublicKey};

use crate::tuf::Why;
use crate::{
    AuthorError, BundleError, ChannelError, DsseError, KeyError, KeyFileError, MembershipError, Refusal, ReleaseError,
    TrustError,
};

/// All variants of an enum; one that is left out does not compile.
macro_rules! all {
    ($type:ident { $($pattern:pat => $value:expr),* $(,)? }) => {{
        #[expect(dead_code, reason = "it is there to be compiled: a new variant must be listed")]
        fn complete(error: &$type) {
            match error { $($pattern => {}),* }
        }
        let list: Vec<Box<dyn Error>> = vec![$(Box::new($value)),*];
        (stringify!($type), list)
    }};
}

fn all() -> Vec<(&'static str, Vec<Box<dyn Error>>)> {
    let key = PublicKey::new([7; 32]);
    let digest = BlobHash::new([9; 32]);
    let io = || io::Error::from(io::ErrorKind::PermissionDenied);
    let json = || serde_json::from_str::<u8>("{").unwrap_err();
    let problems = || Problems {
        file: "manifest.toml".into(),
        list: vec![Problem { line: 3, column: 1, text: "\"id\" is missing".into() }],
    };
    let id = || "org.nightowl.shelf".parse().unwrap();
    let path = || "plugin.wasm".parse().unwrap();
    let version = |text: &str| text.parse().unwrap();
    let file = || "data/keys/publisher.pem".into();
    let work = || "07…07/night-owl".to_owned();
    let signer = || "Night Owl".to_owned();
    let time = |seconds| time::OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(seconds);
    vec![
        all!(KeyError {
            KeyError::SmallOrder(_) => KeyError::SmallOrder(key),
            KeyError::NonCanonical(_) => KeyError::NonCanonical(key),
            KeyError::Private => KeyError::Private,
            KeyError::Random => KeyError::Random,
        }),
        all!(KeyFileError {
            KeyFileError::Exposed { .. } => KeyFileError::Exposed { path: file(), mode: 0o644 },
            KeyFileError::NoKey(_) => KeyFileError::NoKey(file()),
            KeyFileError::Exists(_) => KeyFileError::Exists(file()),
            KeyFileError::Read(..) => KeyFileError::Read(file(), io()),
            KeyFileError::Write(..) => KeyFileError::Write(file(), io()),
        }),
        all!(BundleError {
            BundleError::TooLong(_) => BundleError::TooLong(40_000_000),
            BundleError::TooMany => BundleError::TooMany,
            BundleError::Truncated(_) => BundleError::Truncated(700),
            BundleError::Path(_) => BundleError::Path("\"../a\" is no path in a bundle".into()),
            BundleError::Order(_) => BundleError::Order(path()),
            BundleError::Form(_) => BundleError::Form(1024),
        }),
        all!(DsseError {
            DsseError::TooLong(_) => DsseError::TooLong(200_000),
            DsseError::TooMany(_) => DsseError::TooMany(17),
            DsseError::Json(_) => DsseError::Json(json()),
            DsseError::Base64(_) => DsseError::Base64("sig"),
            DsseError::Type { .. } => DsseError::Type { found: "text/plain".into(), wanted: crate::dsse::MANIFEST_TYPE },
        }),
        all!(Refusal {
            Refusal::Bundle(_) => Refusal::Bundle(BundleError::Truncated(700)),
            Refusal::Missing(_) => Refusal::Missing("manifest.dsse.json"),
            Refusal::ManifestTooLong(_) => Refusal::ManifestTooLong(70_000),
            Refusal::Revoked(_) => Refusal::Revoked(digest),
            Refusal::Dsse(_) => Refusal::Dsse(DsseError::TooMany(17)),
            Refusal::OtherManifest => Refusal::OtherManifest,
            Refusal::UnknownSigner => Refusal::UnknownSigner,
            Refusal::RevokedKey(_) => Refusal::RevokedKey(key),
            Refusal::ExpiredKey { .. } => Refusal::ExpiredKey { key, not_after: "2030-01-31T12:00:00Z".into() },
            Refusal::Manifest(_) => Refusal::Manifest(problems()),
            Refusal::ManifestText => Refusal::ManifestText,
            Refusal::Scope { .. } => Refusal::Scope { signer: signer(), id: id(), prefixes: "org.owl".into() },
            Refusal::Kind { .. } => Refusal::Kind {
                signer: signer(), id: id(), kind: fondaco_schemas::PluginKind::Payment, kinds: "search".into(),
            },
            Refusal::Threshold { .. } => Refusal::Threshold { signer: signer(), id: id(), signed: 1, threshold: 2 },
            Refusal::Rollback { .. } => Refusal::Rollback { id: id(), version: version("1.3.0"), highest: version("1.4.0") },
            Refusal::FileMissing(_) => Refusal::FileMissing(path()),
            Refusal::FileUnlisted(_) => Refusal::FileUnlisted(path()),
            Refusal::FileSize { .. } => Refusal::FileSize { path: path(), found: 5, listed: 4 },
            Refusal::FileDigest { .. } => Refusal::FileDigest { path: path(), algorithm: "SHA-256" },
            Refusal::Api { .. } => Refusal::Api {
                id: id(), version: version("1.4.0"), wanted: "^0.3".into(), offered: "0.1.0 and 0.2.0".into(),
                node: "a newer node",
            },
        }),
        all!(AuthorError {
            AuthorError::Bundle(_) => AuthorError::Bundle(BundleError::TooMany),
            AuthorError::Manifest(_) => AuthorError::Manifest(problems()),
            AuthorError::ManifestTooLong(_) => AuthorError::ManifestTooLong(70_000),
            AuthorError::Reserved(_) => AuthorError::Reserved("manifest.toml"),
            AuthorError::Toml(_) => AuthorError::Toml(toml::to_string(&1).unwrap_err()),
            AuthorError::Json(_) => AuthorError::Json(json()),
            AuthorError::NoManifest => AuthorError::NoManifest,
            AuthorError::Dsse(_) => AuthorError::Dsse(DsseError::TooMany(17)),
            AuthorError::OtherManifest => AuthorError::OtherManifest,
        }),
        all!(TrustError {
            TrustError::Problems(_) => TrustError::Problems(problems()),
            TrustError::Serial { .. } => TrustError::Serial { found: 3, seen: 4 },
            TrustError::Key(_) => TrustError::Key(KeyError::SmallOrder(key)),
            TrustError::Known(_) => TrustError::Known(signer()),
            TrustError::Shape(_) => TrustError::Shape("publishers"),
        }),
        all!(ReleaseError {
            ReleaseError::Envelope(_) => ReleaseError::Envelope(EnvelopeError::Malformed),
            ReleaseError::TooLong { .. } => ReleaseError::TooLong { what: "receipt", found: 600, most: 512 },
            ReleaseError::Key(_) => ReleaseError::Key(KeyError::NonCanonical(key)),
            ReleaseError::Signature { .. } => ReleaseError::Signature { what: "release", key },
            ReleaseError::Publisher { .. } => ReleaseError::Publisher { work: work(), key },
            ReleaseError::UntrustedNode(_) => ReleaseError::UntrustedNode(key),
            ReleaseError::Content { .. } => ReleaseError::Content { work: work(), why: "releases are counted from 1".into() },
        }),
        all!(ChannelError {
            ChannelError::Signed(_) => ChannelError::Signed(ReleaseError::Signature { what: "channel's page", key }),
            ChannelError::Publisher { .. } => ChannelError::Publisher { publisher: key, key: PublicKey::new([8; 32]) },
            ChannelError::Content { .. } => ChannelError::Content { publisher: key, why: "it names a work twice" },
        }),
        all!(MembershipError {
            MembershipError::Signed(_) => {
                MembershipError::Signed(ReleaseError::Signature { what: "membership token", key })
            },
            MembershipError::Text => MembershipError::Text,
            MembershipError::Authority { .. } => {
                MembershipError::Authority { found: PublicKey::new([8; 32]), authority: key }
            },
            MembershipError::Name => MembershipError::Name,
            MembershipError::Member(_) => MembershipError::Member(PublicKey::new([8; 32])),
            MembershipError::Ended(_) => MembershipError::Ended(1_800_000_000),
        }),
        all!(Why {
            Why::Clock { .. } => Why::Clock { system: time(0), seen: time(90_000) },
            Why::Missing => Why::Missing,
            Why::TooLong(_) => Why::TooLong(16_384),
            Why::TooMuch => Why::TooMuch,
            Why::Length { .. } => Why::Length { found: 100, listed: 120 },
            Why::Digest(_) => Why::Digest("SHA-256"),
            Why::NoDigest => Why::NoDigest,
            Why::Form(_) => Why::Form("\"version\" is missing".into()),
            Why::Type(_) => Why::Type("snapshot".into()),
            Why::Specification(_) => Why::Specification("2.0.0".into()),
            Why::Key(_) => Why::Key(KeyError::SmallOrder(key)),
            Why::KeyId(_) => Why::KeyId("74c1".into()),
            Why::Threshold { .. } => Why::Threshold { signed: 1, threshold: 2, delegator: "root".into(), foreign: 1 },
            Why::Rollback(_) => Why::Rollback(4),
            Why::Version(_) => Why::Version(4),
            Why::Forward => Why::Forward,
            Why::RoleRollback { .. } => Why::RoleRollback { role: "targets.json".into(), listed: Some(3), seen: 4 },
            Why::Expired(_) => Why::Expired(time(0)),
            Why::NotInSnapshot => Why::NotInSnapshot,
            Why::Pin { .. } => Why::Pin { found: "07…07".into(), pinned: "09…09".into() },
            Why::Path(_) => Why::Path("../a".into()),
            Why::Edit(_) => Why::Edit("a threshold of 2 with 1 different keys: it must be from 1 to their number".into()),
        }),
    ]
}

#[test]
fn every_error_reads_well() {
    let mut text = String::new();
    for (name, errors) in all() {
        let _ = writeln!(text, "{name}");
        for error in errors {
            let line = error.to_string();
            assert!(!line.ends_with('.') && !line.starts_with(char::is_uppercase), "{line}");
            let _ = writeln!(text, "  {line}");
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/error_texts.txt");
    if std::env::var_os("UPDATE_SNAPSHOT").is_some() {
        fs::write(path, &text).unwrap();
    }
    assert_eq!(fs::read_to_string(path).unwrap_or_default(), text, "UPDATE_SNAPSHOT=1 writes it anew");
}
