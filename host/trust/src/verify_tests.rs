use std::collections::BTreeMap;

use fondaco_schemas::manifest::PLUGIN_FILE;
use time::macros::datetime;

use super::*;
use crate::author::{prepare, sign_bundle};
use crate::bundle::pack;
use crate::keys::KeyPair;

const REQUEST: &str = "schema = 1\nid = \"org.nightowl.shelf\"\nversion = \"1.4.0\"\nkind = \"storefront\"\napi = \"^0.1\"\n\
    component = \"plugin.wasm\"\nlicense = \"MIT\"\n[text.en]\nname = \"Shelf\"\nsummary = \"A shop window\"\n";
const NOW: OffsetDateTime = datetime!(2030-01-31 12:00 UTC);

fn key(n: u8) -> KeyPair {
    KeyPair::from_seed(&[n; 32]).unwrap()
}

fn files() -> BTreeMap<BundlePath, Vec<u8>> {
    [("plugin.wasm", &b"\0asm"[..]), ("a.txt", b"hello")].map(|(p, b)| (p.parse().unwrap(), b.to_vec())).into()
}

fn unsigned(request: &str) -> Vec<u8> {
    let manifest = Manifest::parse_request(request).unwrap();
    prepare(manifest, files(), NOW, Some("rustc 1.95.0".into())).unwrap()
}

fn bundle(keys: &[u8]) -> Vec<u8> {
    keys.iter().fold(unsigned(REQUEST), |bytes, n| sign_bundle(bytes, &key(*n)).unwrap())
}

fn host() -> Host {
    Host { api: vec![Version::new(0, 1, 0)], now: NOW }
}

/// A publisher with key 1, and one with keys 2 and 3 that must both sign.
fn trust(change: impl Fn(String) -> String) -> TrustStore {
    let publisher = |name: &str, threshold: u32, keys: &[u8]| {
        let entry = |n: &u8| format!("[[publishers.keys]]\nkey = \"{}\"\n# end of {n}\n", key(*n).public());
        let keys = keys.iter().map(entry).collect::<Vec<_>>().concat();
        format!(
            "[[publishers]]\nname = \"{name}\"\nprefixes = [\"org.nightowl\"]\nkinds = [\"storefront\", \"search\"]\n\
             threshold = {threshold}\n{keys}"
        )
    };
    let text = format!("serial = 1\n{}{}", publisher("Night Owl", 1, &[1]), publisher("Two Owls", 2, &[2, 3]));
    TrustStore::parse(&change(text), None).unwrap()
}

fn check(bytes: Vec<u8>) -> Result<Verified, Refusal> {
    verify(bytes, &trust(|t| t), &host(), |_| None)
}

/// Takes a bundle apart, changes its files, and puts it together again.
fn altered(bytes: Vec<u8>, change: impl FnOnce(&mut BTreeMap<BundlePath, Vec<u8>>)) -> Vec<u8> {
    let bundle = Bundle::parse(bytes).unwrap();
    let mut files = bundle.paths().map(|p| (p.clone(), bundle.get(p.as_str()).unwrap().to_vec())).collect();
    change(&mut files);
    pack(&files).unwrap()
}

/// A bundle of the files as they are, with a manifest that says something else, properly signed.
fn signed_manifest(change: impl FnOnce(String) -> String) -> Vec<u8> {
    let bytes = altered(unsigned(REQUEST), |files| {
        let text = String::from_utf8(files[MANIFEST_FILE].clone()).unwrap();
        files.insert(MANIFEST_FILE.parse().unwrap(), change(text).into_bytes());
    });
    sign_bundle(bytes, &key(1)).unwrap()
}

macro_rules! refused {
    ($result:expr, $pattern:pat $(if $guard:expr)?) => {
        let result = $result;
        assert!(matches!(result, Err($pattern) $(if $guard)?), "{:?}", result.map(|v| v.manifest));
    };
}

#[test]
fn accepts_what_a_trusted_publisher_signed() {
    let verified = check(bundle(&[1])).unwrap();
    assert_eq!(verified.component(), b"\0asm");
    assert_eq!(verified.file("a.txt"), Some(&b"hello"[..]));
    assert_eq!((verified.publisher.as_str(), verified.signers.as_slice()), ("Night Owl", &[key(1).public()][..]));
    assert_eq!(verified.bundle_hash.as_bytes(), blake3::hash(&bundle(&[1])).as_bytes());
    assert_eq!(verified.bytes(), bundle(&[1]), "the bytes that were verified");
    let paths: Vec<_> = verified.paths().map(BundlePath::as_str).collect();
    assert_eq!(paths, ["a.txt", SIGNATURE_FILE, MANIFEST_FILE, "plugin.wasm"]);
    assert_eq!(check(bundle(&[2, 3])).unwrap().publisher, "Two Owls");
    assert_eq!(bundle(&[1]), bundle(&[1]), "the same input gives the same bundle");
}

#[test]
fn refuses_every_flipped_bit() {
    let (bytes, trust, host) = (bundle(&[1]), trust(|t| t), host());
    assert!(verify(bytes.clone(), &trust, &host, |_| None).is_ok());
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            assert!(verify(flipped, &trust, &host, |_| None).is_err(), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn refuses_a_bundle_cut_anywhere() {
    let bytes = bundle(&[1]);
    for len in 0..bytes.len() {
        refused!(check(bytes[..len].to_vec()), Refusal::Bundle(BundleError::Truncated(_)));
    }
}

#[test]
fn step_1_refuses_what_is_no_bundle_or_holds_no_manifest() {
    refused!(check(vec![]), Refusal::Bundle(_));
    refused!(check(unsigned(REQUEST)), Refusal::Missing(SIGNATURE_FILE));
    let without = altered(bundle(&[1]), |files| drop(files.remove(MANIFEST_FILE)));
    refused!(check(without), Refusal::Missing(MANIFEST_FILE));
    let long = signed_manifest(|text| format!("{text}#{}", "x".repeat(MAX_FILE_BYTES)));
    refused!(check(long), Refusal::ManifestTooLong(_));
    // To the last byte.
    let filled = |to: usize| {
        check(signed_manifest(|text| {
            let room = to - text.len() - 2;
            format!("{text}#{}\n", "x".repeat(room))
        }))
    };
    refused!(filled(MAX_FILE_BYTES + 1), Refusal::ManifestTooLong(n) if n == MAX_FILE_BYTES + 1);
    assert!(filled(MAX_FILE_BYTES).is_ok());
}

#[test]
fn step_2_refuses_a_revoked_bundle() {
    let hash = check(bundle(&[1])).unwrap().bundle_hash;
    let trust = trust(|text| format!("{text}[revoked]\ndigests = [\"{hash}\"]\n"));
    refused!(verify(bundle(&[1]), &trust, &host(), |_| None), Refusal::Revoked(h) if h == hash);
    // Whoever wraps the same manifest in other signatures gets another bundle, but no other manifest.
    let hash = check(bundle(&[1])).unwrap().manifest_hash;
    let trust = self::trust(|text| format!("{text}[revoked]\ndigests = [\"{hash}\"]\n"));
    for keys in [&[1][..], &[1, 9]] {
        refused!(verify(bundle(keys), &trust, &host(), |_| None), Refusal::Revoked(h) if h == hash);
    }
}

#[test]
fn step_3_refuses_signatures_about_something_else() {
    let other = unsigned(&REQUEST.replace("1.4.0", "1.5.0"));
    let other = Bundle::parse(sign_bundle(other, &key(1)).unwrap()).unwrap();
    let swapped = |path: &'static str| {
        altered(bundle(&[1]), |files| drop(files.insert(path.parse().unwrap(), other.get(path).unwrap().to_vec())))
    };
    refused!(check(swapped(SIGNATURE_FILE)), Refusal::OtherManifest);
    refused!(check(swapped(MANIFEST_FILE)), Refusal::OtherManifest);
    let broken = altered(bundle(&[1]), |files| drop(files.insert(SIGNATURE_FILE.parse().unwrap(), b"{}".to_vec())));
    refused!(check(broken), Refusal::Dsse(DsseError::Json(_)));
    let mut release = Envelope::new("application/vnd.fondaco.release.v1+cbor", b"x".to_vec());
    release.sign(&key(1));
    let json = release.to_json().unwrap().into_bytes();
    let reused = altered(bundle(&[1]), |files| drop(files.insert(SIGNATURE_FILE.parse().unwrap(), json)));
    refused!(check(reused), Refusal::Dsse(DsseError::Type { .. }));
}

#[test]
fn step_4_refuses_unknown_revoked_and_expired_keys() {
    refused!(check(bundle(&[9])), Refusal::UnknownSigner);
    let unsigned = altered(bundle(&[1]), |files| {
        let envelope = Envelope::new(MANIFEST_TYPE, files[MANIFEST_FILE].clone());
        files.insert(SIGNATURE_FILE.parse().unwrap(), envelope.to_json().unwrap().into_bytes());
    });
    refused!(check(unsigned), Refusal::UnknownSigner);
    let revoked = trust(|text| format!("{text}[revoked]\nkeys = [\"{}\"]\n", key(1).public()));
    refused!(verify(bundle(&[1]), &revoked, &host(), |_| None), Refusal::RevokedKey(_));
    let ends = |time: &str| trust(|text| text.replace("# end of 1", &format!("not-after = \"{time}\"")));
    refused!(verify(bundle(&[1]), &ends("2030-01-31T11:59:59Z"), &host(), |_| None), Refusal::ExpiredKey { .. });
    assert!(verify(bundle(&[1]), &ends("2030-01-31T12:00:00Z"), &host(), |_| None).is_ok(), "to the last moment");
}

#[test]
fn step_5_refuses_a_manifest_with_mistakes_that_somebody_signed() {
    refused!(check(signed_manifest(|text| format!("extra = 1\n{text}"))), Refusal::Manifest(_));
    refused!(check(signed_manifest(|text| format!("id = \"org.nightowl.other\"\n{text}"))), Refusal::Manifest(_));
    let bytes = altered(unsigned(REQUEST), |f| drop(f.insert(MANIFEST_FILE.parse().unwrap(), vec![0xff])));
    refused!(check(sign_bundle(bytes, &key(1)).unwrap()), Refusal::ManifestText);
}

#[test]
fn step_6_refuses_what_the_signer_may_not_sign() {
    let signed = |from: &str, to: &str| sign_bundle(unsigned(&REQUEST.replace(from, to)), &key(1)).unwrap();
    refused!(check(signed("org.nightowl.shelf", "org.other.shelf")), Refusal::Scope { .. });
    refused!(check(signed("org.nightowl.shelf", "org.nightowlx.shelf")), Refusal::Scope { .. });
    refused!(check(signed("storefront", "payment")), Refusal::Kind { .. });
    // What it may sign is said, since that is what the operator would change.
    let two = trust(|text| text.replacen("[\"org.nightowl\"]", "[\"org.nightowl\", \"org.owl\"]", 1));
    let other = signed("org.nightowl.shelf", "org.other.shelf");
    refused!(verify(other, &two, &host(), |_| None), Refusal::Scope { ref prefixes, .. } if prefixes == "org.nightowl, org.owl");
    refused!(check(signed("storefront", "payment")), Refusal::Kind { ref kinds, .. } if kinds == "storefront, search");
}

#[test]
fn step_7_demands_as_many_different_keys_as_the_threshold_says() {
    refused!(check(bundle(&[2])), Refusal::Threshold { signed: 1, threshold: 2, .. });
    // One key, and its signature once more under another name.
    let twice = altered(bundle(&[2]), |files| {
        let text = String::from_utf8(files[SIGNATURE_FILE].clone()).unwrap();
        let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let mut again = json["signatures"][0].clone();
        again.as_object_mut().unwrap().remove("keyid");
        json["signatures"].as_array_mut().unwrap().push(again);
        files.insert(SIGNATURE_FILE.parse().unwrap(), json.to_string().into_bytes());
    });
    refused!(check(twice), Refusal::Threshold { signed: 1, .. });
    // Revoked and expired keys do not count, and neither do another publisher's.
    let revoked = trust(|text| format!("{text}[revoked]\nkeys = [\"{}\"]\n", key(3).public()));
    refused!(verify(bundle(&[2, 3]), &revoked, &host(), |_| None), Refusal::Threshold { signed: 1, .. });
    let ended = trust(|text| text.replace("# end of 3", "not-after = \"2029-01-01T00:00:00Z\""));
    refused!(verify(bundle(&[2, 3]), &ended, &host(), |_| None), Refusal::Threshold { signed: 1, .. });
    refused!(check(bundle(&[2, 9])), Refusal::Threshold { signed: 1, .. });
}

#[test]
fn step_8_refuses_a_step_back() {
    let after = |version: &'static str| verify(bundle(&[1]), &trust(|t| t), &host(), |_| version.parse().ok());
    refused!(after("1.4.1"), Refusal::Rollback { .. });
    assert!(after("1.4.0").is_ok() && after("1.3.9").is_ok() && after("1.4.0-rc.1").is_ok());
    assert!(after("1.4.0+build.9").is_ok(), "build metadata makes nothing newer");
}

#[test]
fn step_9_refuses_files_other_than_those_that_were_signed() {
    let change = |path: &'static str, bytes: Option<&'static [u8]>| {
        check(altered(bundle(&[1]), |files| match bytes {
            Some(bytes) => drop(files.insert(path.parse().unwrap(), bytes.to_vec())),
            None => drop(files.remove(path)),
        }))
    };
    refused!(change("plugin.wasm", Some(b"\0asn")), Refusal::FileDigest { algorithm: "SHA-256", .. });
    refused!(change("plugin.wasm", Some(b"\0asm\0")), Refusal::FileSize { found: 5, listed: 4, .. });
    refused!(change("plugin.wasm", None), Refusal::FileMissing(_));
    refused!(change("b.txt", Some(b"")), Refusal::FileUnlisted(_));
    refused!(change(PLUGIN_FILE, Some(b"")), Refusal::FileUnlisted(_));
    let swapped = altered(bundle(&[1]), |files| {
        let (a, b) = (files["a.txt"].clone(), files["plugin.wasm"].clone());
        files.insert("a.txt".parse().unwrap(), b);
        files.insert("plugin.wasm".parse().unwrap(), a);
    });
    refused!(check(swapped), Refusal::FileSize { .. });
    // Each digest is looked at: a manifest that is signed with one of them wrong.
    let wrong = |hash: String| check(signed_manifest(|text| text.replace(&hash, &"0".repeat(64))));
    refused!(wrong(blake3::hash(b"hello").to_string()), Refusal::FileDigest { algorithm: "BLAKE3", .. });
    refused!(wrong(Sha256(sha256(b"hello")).to_string()), Refusal::FileDigest { algorithm: "SHA-256", .. });
}

#[test]
fn step_10_refuses_a_plugin_for_another_interface() {
    for (api, fits) in [
        (&["0.1.0"][..], true),
        (&["0.1.9"], true),
        (&["0.2.0", "0.1.0"], true),
        (&["0.2.0"], false),
        (&["1.0.0", "0.2.0"], false),
        (&["0.1.1-rc.1"], false),
        (&[], false),
    ] {
        let host = Host { api: api.iter().map(|v| v.parse().unwrap()).collect(), ..host() };
        let result = verify(bundle(&[1]), &trust(|t| t), &host, |_| None);
        assert_eq!(result.is_ok(), fits, "{api:?}");
        assert!(fits || matches!(result, Err(Refusal::Api { .. })));
    }
}
