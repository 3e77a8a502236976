//! Sealing, licensing and opening, with a node's executor of edit scripts made of `ring`.

use fondaco_sdk::{
    Cipher, Crypt, DrmScheme, Edit, EditScript, Entitlement, EntitlementState, FileRole, Span, Work, fake,
};
use proptest::prelude::*;
use ring::aead;
use time::macros::datetime;

use super::*;
use crate::header::SealCipher::{Aes256Gcm, ChaCha20Poly1305};
use crate::layout::{FIRST_BYTES, Layout, OTHER_BYTES};
use crate::{Sealed, issue, protect};

pub(crate) const NOW: OffsetDateTime = datetime!(2030-01-01 12:00 UTC);

fn cut(input: &[u8], span: Span) -> Option<&[u8]> {
    let start = usize::try_from(span.offset).ok()?;
    input.get(start..start.checked_add(usize::try_from(span.len).ok()?)?)
}

fn aead_key(crypt: &Crypt) -> (aead::LessSafeKey, aead::Nonce) {
    let algorithm = match crypt.cipher {
        Cipher::Aes256Gcm => &aead::AES_256_GCM,
        Cipher::Chacha20Poly1305 => &aead::CHACHA20_POLY1305,
        other => panic!("no cipher of this scheme: {other:?}"),
    };
    let key = aead::LessSafeKey::new(aead::UnboundKey::new(algorithm, &crypt.key).unwrap());
    (key, aead::Nonce::try_assume_unique_for_key(&crypt.iv).unwrap())
}

/// Runs a script as the node does. `None`: a tag was wrong, or a span lay outside.
fn run(script: &mut dyn EditScript, input: &[u8]) -> Option<Vec<u8>> {
    let mut output = Vec::new();
    loop {
        let edits = script.next(3).unwrap();
        if edits.is_empty() {
            return Some(output);
        }
        for edit in edits {
            match edit {
                Edit::Copy(span) => output.extend(cut(input, span)?),
                Edit::Insert(bytes) => output.extend(bytes),
                Edit::Encrypt(crypt) => {
                    let (key, nonce) = aead_key(&crypt);
                    let mut bytes = cut(input, crypt.span)?.to_vec();
                    key.seal_in_place_append_tag(nonce, aead::Aad::empty(), &mut bytes).unwrap();
                    output.extend(bytes);
                }
                Edit::Decrypt(crypt) => {
                    let (key, nonce) = aead_key(&crypt);
                    let mut bytes = cut(input, crypt.span)?.to_vec();
                    output.extend(key.open_in_place(nonce, aead::Aad::empty(), &mut bytes).ok()?.iter());
                }
            }
        }
    }
}

fn info(bytes: &[u8]) -> FileInfo {
    FileInfo {
        path: "disc/01 été.flac".into(),
        hash: blake3::hash(bytes).to_hex().to_string(),
        size: bytes.len() as u64,
        media_type: "audio/flac".into(),
        role: FileRole::Content,
        protection: None,
        title: None,
        duration_ms: None,
    }
}

pub(crate) fn work() -> Work {
    Work {
        id: "key/album".into(),
        release: "release".into(),
        kind: fondaco_sdk::WorkKind::Album,
        title: "Album".into(),
        creators: Vec::new(),
        description: String::new(),
        language: None,
        tags: Vec::new(),
        license: None,
        credits: Vec::new(),
        published: "2029-01-01T00:00:00Z".into(),
        files: Vec::new(),
        offers: Vec::new(),
        metadata: String::new(),
    }
}

pub(crate) fn entitlement() -> Entitlement {
    Entitlement {
        id: "ent-1".into(),
        work: "key/album".into(),
        release: "release".into(),
        offer: "buy".into(),
        holder: "alice".into(),
        state: EntitlementState::Active,
        granted: "2030-01-01T00:00:00Z".into(),
        expires: None,
    }
}

/// A clear file of a size, with no two places alike.
fn clear(size: u64) -> Vec<u8> {
    (0..size).map(|i| (i * 7 + (i >> 8) * 31 + (i >> 16) * 101).to_le_bytes()[0]).collect()
}

fn seal(clear: &[u8]) -> Vec<u8> {
    run(&mut protect::protect(&work(), &info(clear)).unwrap(), clear).unwrap()
}

/// A sealed file in the store, as the release lists it.
fn stored(host: &fake::Host, sealed: &[u8]) -> FileInfo {
    let file = FileInfo { protection: Some("org.fondaco.drm-sealed".into()), ..info(sealed) };
    host.blob(&file.hash, sealed);
    file
}

fn shop(size: u64) -> (fake::Host, Vec<u8>, Vec<u8>, FileInfo) {
    let host = fake::Host::install();
    host.act_for("alice");
    let clear = clear(size);
    let sealed = seal(&clear);
    let file = stored(&host, &sealed);
    (host, clear, sealed, file)
}

fn licence(file: &FileInfo) -> License {
    issue::issue(&entitlement(), file, None, NOW).unwrap()
}

fn refusal(result: Result<Script>) -> String {
    match result {
        Err(Error::Invalid(text) | Error::Denied(text)) => text,
        Err(other) => panic!("fails otherwise: {other:?}"),
        Ok(_) => panic!("opens"),
    }
}

const EDGES: [u64; 16] = [
    0,
    1,
    15,
    16,
    FIRST_BYTES - 1,
    FIRST_BYTES,
    FIRST_BYTES + 1,
    65_519,
    65_520,
    65_521,
    65_536,
    FIRST_BYTES + OTHER_BYTES - 1,
    FIRST_BYTES + OTHER_BYTES,
    FIRST_BYTES + OTHER_BYTES + 1,
    196_608,
    FIRST_BYTES + 3 * OTHER_BYTES,
];

#[test]
fn what_is_sealed_opens_to_the_same_bytes_at_every_edge() {
    for cipher in ["aes-256-gcm", "chacha20-poly1305"] {
        for size in EDGES {
            let host = fake::Host::install();
            host.act_for("alice").settings(&serde_json::json!({ "cipher": cipher }));
            let clear = clear(size);
            let sealed = seal(&clear);
            assert_eq!(sealed.len() as u64, Layout::of_clear(size).unwrap().sealed_size());
            let file = stored(&host, &sealed);
            let mut script = open(&licence(&file), &file, NOW).unwrap();
            assert_eq!(run(&mut script, &sealed).unwrap(), clear, "{cipher} {size}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn what_is_sealed_opens_to_the_same_bytes(size in 0_u64..300_000) {
        let (_host, clear, sealed, file) = shop(size);
        prop_assert_eq!(run(&mut open(&licence(&file), &file, NOW).unwrap(), &sealed).unwrap(), clear);
    }
}

#[test]
fn sealing_again_gives_the_same_bytes_and_another_file_another_key() {
    let _host = fake::Host::install();
    let bytes = clear(70_000);
    let sealed = seal(&bytes);
    assert_eq!(seal(&bytes), sealed);
    let salt = |file: FileInfo, work: Work| {
        let edits = protect::protect(&work, &file).unwrap().next(1).unwrap();
        let Edit::Insert(header) = &edits[0] else { panic!("the header comes first") };
        header[20..36].to_vec()
    };
    let salts = [
        salt(info(&bytes), work()),
        salt(info(&bytes[1..]), work()),
        salt(FileInfo { path: "other".into(), ..info(&bytes) }, work()),
        salt(info(&bytes), Work { id: "key/other".into(), ..work() }),
    ];
    let different: std::collections::BTreeSet<_> = salts.iter().collect();
    assert_eq!(different.len(), salts.len());
    assert_eq!(salts[0], sealed[20..36]);
}

#[test]
fn the_two_ciphers_never_share_a_key() {
    let (salt, nonce_prefix) = ([0; 16], [0; 7]);
    let header = |cipher| Header { cipher, clear_size: 0, salt, nonce_prefix };
    let _host = fake::Host::install();
    assert_ne!(
        protect::content_key(&header(Aes256Gcm)).unwrap(),
        protect::content_key(&header(ChaCha20Poly1305)).unwrap()
    );
}

#[test]
fn no_nonce_is_used_twice() {
    let _host = fake::Host::install();
    let mut script = protect::protect(&work(), &FileInfo { size: 10 << 20, ..info(b"") }).unwrap();
    let mut nonces = std::collections::BTreeSet::new();
    loop {
        let edits = script.next(50).unwrap();
        if edits.is_empty() {
            break;
        }
        for edit in edits {
            if let Edit::Encrypt(crypt) = edit {
                assert_eq!((crypt.iv.len(), crypt.key.len()), (12, 32));
                assert!(nonces.insert(crypt.iv));
            }
        }
    }
    assert_eq!(nonces.len() as u64, Layout::of_clear(10 << 20).unwrap().segments());
}

#[test]
fn what_is_protected_or_too_large_is_not_sealed() {
    let _host = fake::Host::install();
    let protected = FileInfo { protection: Some("org.example.lcp".into()), ..info(b"x") };
    assert!(refusal(protect::protect(&work(), &protected)).contains("org.example.lcp"));
    assert!(refusal(protect::protect(&work(), &FileInfo { size: u64::MAX, ..info(b"") })).contains("256 TiB"));
}

/// Opens altered bytes as one who can make the store and the release say what they like: with the size and under the
/// hash of the true file.
fn opens(host: &fake::Host, license: &License, file: &FileInfo, altered: &[u8]) -> bool {
    host.blob(&file.hash, altered);
    let lying = FileInfo { size: altered.len() as u64, ..file.clone() };
    open(license, &lying, NOW).ok().and_then(|mut script| run(&mut script, altered)).is_some()
}

#[test]
fn every_cut_swap_doubling_and_extension_is_found() {
    let (host, _, sealed, file) = shop(FIRST_BYTES + 2 * OTHER_BYTES);
    let license = licence(&file);
    assert!(opens(&host, &license, &file, &sealed));
    let segment = |i: usize| if i == 0 { 64..65_536 } else { i * 65_536..(i + 1) * 65_536 };
    assert_eq!(sealed.len(), segment(2).end);
    for end in [0, 63, 64, 80, 65_536, 131_072, 196_607] {
        assert!(!opens(&host, &license, &file, &sealed[..end]), "cut to {end}");
    }
    let mut swapped = sealed.clone();
    let (one, two) = (sealed[segment(1)].to_vec(), sealed[segment(2)].to_vec());
    swapped[segment(1)].copy_from_slice(&two);
    swapped[segment(2)].copy_from_slice(&one);
    assert!(!opens(&host, &license, &file, &swapped), "two swapped");
    let mut doubled = sealed.clone();
    doubled[segment(2)].copy_from_slice(&one);
    assert!(!opens(&host, &license, &file, &doubled), "one doubled");
    assert!(!opens(&host, &license, &file, &[&sealed[..], &[0]].concat()), "a byte more");
    assert!(!opens(&host, &license, &file, &[&sealed[..], &two].concat()), "a segment more");
}

#[test]
fn the_last_flag_finds_a_cut_even_where_the_header_is_made_to_agree() {
    let (_host, _, sealed, file) = shop(FIRST_BYTES + OTHER_BYTES);
    let key = Licence::read(&licence(&file)).unwrap().key().unwrap();
    // Whoever holds the key can write any header: here one that says that the file ends after its first segment.
    let (header, _) = Header::parse(&sealed[..64]).unwrap();
    let short = Header { clear_size: FIRST_BYTES, ..header };
    assert!(run(&mut Script::open(short, key).unwrap(), &sealed[..65_536]).is_none());
    assert!(run(&mut Script::open(header, key).unwrap(), &sealed).is_some());
}

#[test]
fn every_flipped_bit_is_found() {
    let (host, _, sealed, file) = shop(200);
    let license = licence(&file);
    for bit in 0..sealed.len() * 8 {
        let mut altered = sealed.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(!opens(&host, &license, &file, &altered), "bit {bit}");
    }
    assert!(opens(&host, &license, &file, &sealed));
}

#[test]
fn says_what_is_wrong_with_a_file() {
    let (host, _, sealed, file) = shop(70_000);
    let license = licence(&file);
    let short = FileInfo { size: file.size - 1, ..file.clone() };
    assert!(refusal(open(&license, &short, NOW)).contains("cut short"));
    let long = FileInfo { size: file.size + 1, ..file.clone() };
    assert!(refusal(open(&license, &long, NOW)).contains("too long"));
    let other = stored(&host, &seal(&clear(70_001)));
    assert!(refusal(open(&license, &other, NOW)).contains("another file: disc/01 été.flac of key/album"));
    let mut altered = sealed.clone();
    altered[25] ^= 1;
    host.blob(&file.hash, altered);
    assert!(refusal(open(&license, &file, NOW)).contains("does not fit the file's header"));
    let mut altered = sealed;
    altered[50] ^= 1;
    host.blob(&file.hash, altered);
    assert!(refusal(open(&license, &file, NOW)).contains("header was altered"));
}

#[test]
fn another_holder_does_not_open_it() {
    let (host, _, _, file) = shop(10);
    let license = licence(&file);
    host.act_for("mallory");
    let text = refusal(open(&license, &file, NOW));
    assert!(text.contains("for the holder alice, whose key is not here"), "{text}");
}

#[test]
fn a_loan_opens_until_its_end_and_five_minutes() {
    let (_host, _, _, file) = shop(10);
    let loan = Entitlement { expires: Some("2030-01-08T12:00:00Z".into()), ..entitlement() };
    let license = issue::issue(&loan, &file, None, NOW).unwrap();
    assert_eq!(license.expires.as_deref(), Some("2030-01-08T12:00:00Z"));
    let end = datetime!(2030-01-08 12:00 UTC);
    assert!(open(&license, &file, end + TOLERANCE).is_ok());
    let text = refusal(open(&license, &file, end + TOLERANCE + Duration::SECOND));
    assert!(text.contains("expired at 2030-01-08T12:00:00Z"), "{text}");
    assert!(open(&license, &file, NOW - TOLERANCE).is_ok());
    let early = refusal(open(&license, &file, NOW - TOLERANCE - Duration::SECOND));
    assert!(early.contains("set the clock right"), "{early}");
    assert!(issue::issue(&loan, &file, None, end).is_err());
}

/// The licence with its JSON changed.
fn changed(license: &License, change: impl Fn(&mut serde_json::Value)) -> License {
    let mut json: serde_json::Value = serde_json::from_slice(&license.body).unwrap();
    change(&mut json);
    License { body: serde_json::to_vec(&json).unwrap(), ..license.clone() }
}

#[test]
fn no_field_of_a_licence_can_be_altered() {
    let (_host, _, _, file) = shop(10);
    let license = licence(&file);
    assert!(open(&changed(&license, |_| ()), &file, NOW).is_ok(), "white space and order are nobody's business");
    let json: serde_json::Value = serde_json::from_slice(&license.body).unwrap();
    let fields: Vec<String> = json["licence"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(fields.len(), 12);
    for field in &fields {
        let other: serde_json::Value = match &json["licence"][field] {
            serde_json::Value::Null if field == "expires" => "2031-01-01T00:00:00Z".into(),
            serde_json::Value::Null => 9.into(),
            serde_json::Value::Number(_) => 2.into(),
            text => format!("{}x", text.as_str().unwrap()).into(),
        };
        refusal(open(&changed(&license, |json| json["licence"][field] = other.clone()), &file, NOW));
        refusal(open(
            &changed(&license, |json| drop(json["licence"].as_object_mut().unwrap().remove(field))),
            &file,
            NOW,
        ));
    }
    for field in ["sealed_key", "signature"] {
        let flip = |json: &mut serde_json::Value| {
            let mut bytes = data_encoding::BASE64.decode(json[field].as_str().unwrap().as_bytes()).unwrap();
            bytes[5] ^= 1;
            json[field] = data_encoding::BASE64.encode(&bytes).into();
        };
        assert!(refusal(open(&changed(&license, flip), &file, NOW)).contains("altered"), "{field}");
    }
    refusal(open(&changed(&license, |json| json["extra"] = 1.into()), &file, NOW));
    refusal(open(&changed(&license, |json| json["licence"]["extra"] = 1.into()), &file, NOW));
}

#[test]
fn a_licence_signed_anew_with_other_terms_still_gives_no_key() {
    let (_host, _, _, file) = shop(10);
    let loan = Entitlement { expires: Some("2030-01-02T12:00:00Z".into()), ..entitlement() };
    let license = issue::issue(&loan, &file, None, NOW).unwrap();
    let own = ed25519_compact::KeyPair::from_seed(ed25519_compact::Seed::new([5; 32]));
    let forged = changed(&license, |json| {
        json["licence"]["expires"] = serde_json::Value::Null;
        json["licence"]["issuer"] = data_encoding::BASE64.encode(own.pk.as_ref()).into();
        json.as_object_mut().unwrap().remove("signature");
        let message = [b"fondaco sealed licence v1\0", &serde_json::to_vec(json).unwrap()[..]].concat();
        json["signature"] = data_encoding::BASE64.encode(own.sk.sign(message, None).as_ref()).into();
    });
    assert!(Licence::read(&forged).is_ok(), "the signature is a good one, by another");
    assert!(refusal(open(&forged, &file, NOW)).contains("not here"));
}

#[test]
fn another_program_can_check_the_signature() {
    let (_host, _, _, file) = shop(10);
    let mut json: serde_json::Value = serde_json::from_slice(&licence(&file).body).unwrap();
    let signature = json.as_object_mut().unwrap().remove("signature").unwrap();
    let bytes = |v: &serde_json::Value| data_encoding::BASE64.decode(v.as_str().unwrap().as_bytes()).unwrap();
    // serde_json's own map sorts by name, as RFC 8785 does.
    let message = [b"fondaco sealed licence v1\0", &serde_json::to_vec(&json).unwrap()[..]].concat();
    let issuer = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, bytes(&json["licence"]["issuer"]));
    issuer.verify(&message, &bytes(&signature)).unwrap();
}

#[test]
fn what_is_no_licence_is_refused_before_it_is_read() {
    let (_host, _, _, file) = shop(10);
    let license = licence(&file);
    let refuses = |license: License, why: &str| {
        let text = refusal(open(&license, &file, NOW));
        assert!(text.contains(why), "{text}");
    };
    refuses(License { media_type: "application/pdf".into(), ..license.clone() }, "is no licence of a sealed file");
    refuses(License { body: vec![b' '; 16 * 1024 + 1], ..license.clone() }, "longer than");
    refuses(License { body: b"{}".to_vec(), ..license.clone() }, "cannot be read");
    refuses(License { body: b"[".repeat(5000), ..license.clone() }, "cannot be read");
    refuses(changed(&license, |json| json["licence"]["version"] = 2.into()), "version 2");
}

#[test]
fn no_licence_for_a_file_that_another_node_sealed() {
    let (host, _, mut sealed, _) = shop(10);
    sealed[20] ^= 1;
    let file = stored(&host, &sealed);
    let Err(Error::Invalid(text)) = issue::issue(&entitlement(), &file, None, NOW) else { panic!("issued") };
    assert!(text.contains("not sealed by this node"), "{text}");
    let clear = stored(&host, b"FDSEALED, says the clear file, and goes on for longer than a header");
    assert!(issue::issue(&entitlement(), &clear, None, NOW).is_err());
}

#[test]
fn says_to_people_what_it_is() {
    let (secrecy, words) = Sealed::describe();
    assert!(matches!(secrecy, fondaco_sdk::Secrecy::KeyInClient));
    assert_eq!(
        words.iter().filter(|w| w.starts_with("en: ")).count(),
        words.iter().filter(|w| w.starts_with("fr: ")).count()
    );
}
