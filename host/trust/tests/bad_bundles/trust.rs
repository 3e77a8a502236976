//! Signatures, keys, times, versions and parts that do not belong together.

use curve25519_dalek::constants::EIGHT_TORSION;
use data_encoding::BASE64;
use fondaco_schemas::envelope::preimage;
use fondaco_schemas::manifest::{MANIFEST_FILE, SIGNATURE_FILE};
use fondaco_schemas::{Manifest, PublicKey};
use fondaco_trust::dsse::MANIFEST_TYPE;
use fondaco_trust::keys::is_signature;
use fondaco_trust::{Envelope, Host, TrustStore, check_public_key, key_id, prepare, sign_bundle, verify};
use semver::{Version, VersionReq};
use time::Duration;

use crate::Tally;
use crate::scene::{
    BLOCK, Dice, NOW, REQUEST, Scene, altered, bundle, files as files_of, key, path, trust, trust_text, unsigned,
    with_envelope,
};

/// Other things that are signed here and elsewhere, and spellings of the one that is right.
const TYPES: [&str; 14] = [
    MANIFEST_TYPE,
    "application/vnd.fondaco.release.v1+cbor",
    "application/vnd.fondaco.entitlement.v1+cbor",
    "application/vnd.fondaco.sealed-licence.v1+json",
    "application/vnd.fondaco.manifest.v2+toml",
    "application/vnd.fondaco.manifest.v1+json",
    "application/vnd.fondaco.manifest.v1",
    "Application/vnd.fondaco.manifest.v1+toml",
    " application/vnd.fondaco.manifest.v1+toml",
    "application/vnd.fondaco.manifest.v1+toml ",
    "application/vnd.fondaco.manifest.v1+toml; charset=utf-8",
    "application/vnd.in-toto+json",
    "application/octet-stream",
    "",
];

/// An envelope by hand.
fn json(payload_type: &str, payload: &[u8], signatures: &[(Option<String>, Vec<u8>)]) -> String {
    let signature = |(id, sig): &(Option<String>, Vec<u8>)| match id {
        Some(id) => serde_json::json!({ "keyid": id, "sig": BASE64.encode(sig) }),
        None => serde_json::json!({ "sig": BASE64.encode(sig) }),
    };
    let signatures: Vec<_> = signatures.iter().map(signature).collect();
    let payload = BASE64.encode(payload);
    serde_json::json!({ "payload": payload, "payloadType": payload_type, "signatures": signatures }).to_string()
}

fn payload(bytes: &[u8]) -> Vec<u8> {
    files_of(bytes)[MANIFEST_FILE].clone()
}

fn version(n: usize) -> String {
    REQUEST.replace("1.4.0", &format!("1.4.{n}"))
}

pub fn types(scene: &Scene, tally: &mut Tally) {
    let good = &scene.bundles[0];
    let manifest = payload(good);
    for signed in TYPES {
        for declared in TYPES {
            let signature = key(1).sign(&preimage(signed, &manifest)).to_vec();
            let bad = with_envelope(good, json(declared, &manifest, &[(None, signature)]));
            if (signed, declared) == (MANIFEST_TYPE, MANIFEST_TYPE) {
                assert!(scene.judge(bad).is_ok(), "by hand as by program");
            } else {
                tally.count(scene.judge(bad), || format!("signed as {signed:?}, declared as {declared:?}"));
            }
        }
    }
}

/// Every encoding of a point of small order, and every encoding whose y was not reduced.
fn bad_keys() -> Vec<[u8; 32]> {
    let mut bad: Vec<[u8; 32]> = EIGHT_TORSION.iter().map(|p| p.compress().to_bytes()).collect();
    for low in 0xed..=0xff_u8 {
        let mut y = [0xff; 32];
        (y[0], y[31]) = (low, 0x7f);
        bad.push(y);
    }
    let mut signed = bad.clone();
    for key in &mut signed {
        key[31] ^= 0x80;
    }
    bad.extend(signed);
    bad.sort_unstable();
    bad.dedup();
    bad
}

pub fn torsion(scene: &Scene, tally: &mut Tally) {
    let bad = bad_keys();
    assert_eq!(bad.len(), 48);
    let messages: Vec<(Vec<u8>, Vec<u8>)> =
        (0..64).map(|n| (bundle(&version(n), &[]), payload(&bundle(&version(n), &[])))).collect();
    for point in &bad {
        let public = PublicKey::new(*point);
        assert!(check_public_key(&public).is_err(), "{public}");
        let pinned = trust_text().replace(&key(1).public().to_string(), &public.to_string());
        assert!(TrustStore::parse(&pinned, None).is_err(), "{public} can be pinned");
        for (unsigned, manifest) in &messages {
            // R is the point itself or the identity, S is zero: under some of these keys a lax verifier takes it.
            let mut identity = [0; 32];
            identity[0] = 1;
            let forged = [[*point, [0; 32]].concat(), [identity, [0; 32]].concat()];
            assert!(forged.iter().all(|f| !is_signature(&public, &preimage(MANIFEST_TYPE, manifest), f)), "{public}");
            let id = key_id(&public).to_string();
            let named = forged.iter().map(|f| (Some(id.clone()), f.clone()));
            let unnamed = forged.iter().map(|f| (None, f.clone()));
            let all: Vec<_> = named.chain(unnamed).collect();
            let signed = with_envelope(unsigned, json(MANIFEST_TYPE, manifest, &all));
            tally.count(scene.judge(signed), || format!("forged under {public}"));
        }
    }
}

/// The order of the base point, 2^252 + 27742317777372353535851937790883648493, little endian (RFC 8032, section 5.1).
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// Adds the order to a scalar; nothing where 256 bits do not hold the sum.
fn plus_order(scalar: &[u8]) -> Option<Vec<u8>> {
    let mut carry = 0_u16;
    let mut sum = Vec::new();
    for (a, b) in scalar.iter().zip(ORDER) {
        carry += u16::from(*a) + u16::from(b);
        sum.push(u8::try_from(carry & 0xff).unwrap());
        carry >>= 8;
    }
    (carry == 0).then_some(sum)
}

pub fn signatures(scene: &Scene, tally: &mut Tally) {
    let mut dice = Dice(3);
    for n in 0..64 {
        let unsigned = bundle(&version(n), &[]);
        let manifest = payload(&unsigned);
        let message = preimage(MANIFEST_TYPE, &manifest);
        let good = key(1).sign(&message).to_vec();
        let mut all: Vec<Vec<u8>> = Vec::new();
        // The same scalar in another form (malleability).
        let mut scalar = good[32..].to_vec();
        while let Some(next) = plus_order(&scalar) {
            all.push([&good[..32], &next].concat());
            scalar = next;
        }
        for bit in [0x80, 0x40, 0x20] {
            for at in [31, 63] {
                let mut changed = good.clone();
                changed[at] ^= bit;
                all.push(changed);
            }
        }
        // About something else, or by somebody else.
        for other in [
            manifest.clone(),
            message[1..].to_vec(),
            [&message[..], b"\n"].concat(),
            preimage("", &manifest),
            Vec::new(),
        ] {
            all.push(key(1).sign(&other).to_vec());
        }
        all.push(key(9).sign(&message).to_vec());
        // Too short, too long, empty, and constants.
        all.extend([
            good[..63].to_vec(),
            good[..32].to_vec(),
            Vec::new(),
            [&good[..], &[0]].concat(),
            [&good[..], &good[..]].concat(),
        ]);
        all.extend([vec![0; 64], vec![0xff; 64], [&good[32..], &good[..32]].concat(), dice.bytes(64)]);
        for bad in all {
            assert_ne!(bad, good);
            let hints = [None, Some(key_id(&key(1).public()).to_string())];
            let signed =
                with_envelope(&unsigned, json(MANIFEST_TYPE, &manifest, &[(hints[n % 2].clone(), bad.clone())]));
            tally.count(scene.judge(signed), || format!("{bad:02x?}"));
        }
        // A good signature, said to be another key's.
        let signed = with_envelope(
            &unsigned,
            json(MANIFEST_TYPE, &manifest, &[(Some(key_id(&key(2).public()).to_string()), good)]),
        );
        tally.count(scene.judge(signed), || "another key's id".into());
    }
}

pub fn clocks(scene: &Scene, tally: &mut Tally) {
    for (n, end) in [NOW, NOW - Duration::days(3650), NOW + Duration::days(3650)].into_iter().enumerate() {
        let end_text = end.format(&time::format_description::well_known::Rfc3339).unwrap();
        let trust = trust(|text| text.replace("# end of 1", &format!("not-after = \"{end_text}\"")));
        let judge = |now| verify(scene.bundles[0].clone(), &trust, &Host { now, ..scene.host.clone() }, |_| None);
        assert!(judge(end).is_ok(), "to the last moment");
        for step in 1..=350_i64 {
            // From a nanosecond to some thousand years after.
            let late = Duration::nanoseconds(step * step).saturating_add(Duration::seconds(if step > 40 {
                step.pow(4)
            } else {
                0
            }));
            if let Some(now) = end.checked_add(late) {
                tally.count(judge(now), || format!("store {n}, {late} after the end"));
            }
        }
    }
}

pub fn versions(scene: &Scene, tally: &mut Tally) {
    let mut versions: Vec<Version> = Vec::new();
    for core in ["0.0.1", "0.1.0", "0.9.9", "0.10.0", "1.0.0", "1.0.1", "1.2.10", "1.10.0", "2.0.0", "10.0.0", "99.0.0"]
    {
        versions.push(core.parse().unwrap());
        for before in ["alpha", "alpha.1", "rc.2", "rc.10"] {
            versions.push(format!("{core}-{before}").parse().unwrap());
        }
    }
    versions.push("1.0.0+build.1".parse().unwrap());
    versions.push("18446744073709551615.0.0".parse().unwrap());
    for older in &versions {
        let bytes = bundle(&REQUEST.replace("1.4.0", &older.to_string()), &[1]);
        for highest in versions.iter().filter(|h| older.cmp_precedence(h).is_lt()) {
            let verdict = verify(bytes.clone(), &scene.trust, &scene.host, |_| Some(highest.clone()));
            tally.count(verdict, || format!("{older} after {highest}"));
        }
    }
}

pub fn interfaces(scene: &Scene, tally: &mut Tally) {
    let hosts = [
        "0.0.9",
        "0.1.0",
        "0.1.9",
        "0.2.0",
        "0.9.0",
        "1.0.0",
        "1.4.2",
        "2.0.0",
        "0.1.0-rc.1",
        "0.2.0-alpha",
        "1.0.0-rc.1",
    ];
    let ranges = [
        "^0.1",
        "^0.1.5",
        "=0.1.3",
        "~0.1.2",
        "^0.2",
        ">=0.2, <0.4",
        "^0.9",
        "^1",
        "^1.4",
        "=1.4.3",
        ">=2",
        "<0.1",
        "^9.0",
        ">0.1.9, <0.2",
        "=0.1.0-rc.2",
    ];
    for range in ranges {
        let bytes = bundle(&REQUEST.replace("^0.1", range), &[1]);
        let range: VersionReq = range.parse().unwrap();
        for api in hosts.iter().map(|h| h.parse::<Version>().unwrap()).filter(|h| !range.matches(h)) {
            let host = Host { api: vec![api.clone()], ..scene.host.clone() };
            tally.count(verify(bytes.clone(), &scene.trust, &host, |_| None), || format!("{range} on {api}"));
        }
    }
}

pub fn mixed(scene: &Scene, tally: &mut Tally) {
    // A dozen releases of one plugin, all good, all of the same sizes.
    let release = |n: u8| {
        let mut contents = files_of(&unsigned(REQUEST));
        contents.remove(MANIFEST_FILE);
        contents.insert(path("plugin.wasm"), [b"\0asm\x0d\0\x01".as_slice(), &[n]].concat());
        contents.insert(path("assets/a.txt"), format!("text{n:02}").into_bytes());
        let manifest = Manifest::parse_request(&version(n.into())).unwrap();
        sign_bundle(prepare(manifest, contents, NOW, None).unwrap(), &key(1)).unwrap()
    };
    let releases: Vec<Vec<u8>> = (10..22).map(release).collect();
    for (a, one) in releases.iter().enumerate() {
        assert!(scene.judge(one.clone()).is_ok());
        for (b, other) in releases.iter().enumerate().filter(|(b, _)| *b != a) {
            let theirs = files_of(other);
            for part in [MANIFEST_FILE, SIGNATURE_FILE, "plugin.wasm", "assets/a.txt"] {
                let bad = altered(one, |files| drop(files.insert(path(part), theirs[part].clone())));
                tally.count(scene.judge(bad), || format!("{a} with {part} of {b}"));
            }
        }
    }
}

pub fn files(scene: &Scene, tally: &mut Tally) {
    for good in &scene.bundles {
        let contents = files_of(good);
        let listed: Vec<_> =
            contents.keys().filter(|p| p.as_str() != MANIFEST_FILE && p.as_str() != SIGNATURE_FILE).cloned().collect();
        for name in &listed {
            let with = |bytes: Vec<u8>| altered(good, |files| drop(files.insert(name.clone(), bytes)));
            let own = &contents[name];
            for at in (0..own.len()).step_by(own.len().div_ceil(100)) {
                let mut bytes = own.clone();
                bytes[at] ^= 1;
                tally.count(scene.judge(with(bytes)), || format!("byte {at} of {name}"));
            }
            for len in [0, own.len() - 1, own.len() + 1, own.len() + BLOCK, 1 << 20] {
                let mut bytes = own.clone();
                bytes.resize(len, 0);
                tally.count(scene.judge(with(bytes)), || format!("{name} with {len} bytes"));
            }
            tally.count(scene.judge(altered(good, |files| drop(files.remove(name)))), || format!("without {name}"));
            for other in listed.iter().filter(|o| *o != name) {
                tally.count(scene.judge(with(contents[other].clone())), || format!("{other} as {name}"));
            }
        }
        for more in [
            "b.txt",
            "plugin.toml",
            "Manifest.toml",
            "manifest.toml.bak",
            "manifest.dsse.json2",
            "assets/a",
            "assets/a.txt.x",
            "z/z/z",
        ] {
            let bad = altered(good, |files| drop(files.insert(path(more), b"x".to_vec())));
            tally.count(scene.judge(bad), || format!("with {more}"));
        }
    }
}

pub fn thresholds(scene: &Scene, tally: &mut Tally) {
    let two_owls = |text: String| text.replace(&key(1).public().to_string(), &key(7).public().to_string());
    let revoked = |n: u8| trust(|text| format!("{}[revoked]\nkeys = [\"{}\"]\n", two_owls(text), key(n).public()));
    let stores = [trust(two_owls), revoked(2), revoked(3)];
    let keys = [2, 3, 8, 9];
    for set in 0_u32..16 {
        let signers: Vec<u8> = keys.iter().enumerate().filter(|(i, _)| set & (1 << i) != 0).map(|(_, k)| *k).collect();
        let bytes =
            if signers.is_empty() { with_envelope(&unsigned(REQUEST), empty()) } else { bundle(REQUEST, &signers) };
        for (n, store) in stores.iter().enumerate() {
            let verdict = verify(bytes.clone(), store, &scene.host, |_| None);
            if n == 0 && signers.starts_with(&[2, 3]) {
                assert!(verdict.is_ok(), "two of two");
            } else {
                tally.count(verdict, || format!("signed by {signers:?}, store {n}"));
            }
        }
    }
    // One key, as often as there is room.
    let manifest = payload(&unsigned(REQUEST));
    let own = key(2).sign(&preimage(MANIFEST_TYPE, &manifest)).to_vec();
    for times in 2..=16 {
        let ids = [None, Some(key_id(&key(2).public()).to_string()), Some(key_id(&key(3).public()).to_string())];
        let all: Vec<_> = (0..times).map(|i| (ids[i % 3].clone(), own.clone())).collect();
        let bad = with_envelope(&unsigned(REQUEST), json(MANIFEST_TYPE, &manifest, &all));
        tally.count(verify(bad, &stores[0], &scene.host, |_| None), || format!("one key {times} times"));
    }
}

fn empty() -> String {
    Envelope::new(MANIFEST_TYPE, payload(&unsigned(REQUEST))).to_json().unwrap()
}

pub fn scopes(scene: &Scene, tally: &mut Tally) {
    let request = |id: &str, kind: &str| REQUEST.replace("org.nightowl.shelf", id).replace("storefront", kind);
    for id in [
        "org.nightowlx.shelf",
        "org.nightow.shelf",
        "org.other.shelf",
        "com.org.nightowl.shelf",
        "nightowl.org.shelf",
        "org-nightowl.shelf.x",
    ] {
        for kind in ["storefront", "search", "payment", "drm", "advocacy"] {
            tally.count(scene.judge(bundle(&request(id, kind), &[1])), || format!("{id} of kind {kind}"));
        }
    }
    for kind in ["payment", "drm", "advocacy"] {
        tally.count(scene.judge(bundle(&request("org.nightowl.shelf", kind), &[1])), || kind.to_owned());
        tally.count(scene.judge(bundle(&request("org.nightowl.shelf", kind), &[2, 3])), || kind.to_owned());
    }
}

pub fn revoked(scene: &Scene, tally: &mut Tally) {
    for n in 0..4 {
        let one = bundle(&version(n), &[1]);
        let verified = scene.judge(one.clone()).unwrap();
        for digest in [verified.bundle_hash, verified.manifest_hash] {
            let trust = trust(|text| format!("{text}[revoked]\ndigests = [\"{digest}\"]\n"));
            let judge = |bytes: Vec<u8>| verify(bytes, &trust, &scene.host, |_| None);
            tally.count(judge(one.clone()), || format!("{n} as it is"));
            // Whoever wraps the manifest in more signatures makes another bundle of it.
            if digest == verified.manifest_hash {
                tally.count(judge(bundle(&version(n), &[1, 9])), || format!("{n} with one more signature"));
                tally.count(judge(bundle(&version(n), &[2, 3])), || format!("{n} with other signatures"));
            }
        }
    }
}
