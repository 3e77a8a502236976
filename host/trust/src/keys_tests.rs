use std::os::unix::fs::PermissionsExt;

use curve25519_dalek::constants::EIGHT_TORSION;
use data_encoding::HEXLOWER;
use proptest::prelude::*;

use super::*;

fn hex<const N: usize>(text: &str) -> [u8; N] {
    HEXLOWER.decode(text.as_bytes()).unwrap().try_into().unwrap()
}

#[test]
fn agrees_with_the_test_vectors_of_rfc_8032() {
    // Section 7.1, tests 1, 2 and 3: secret key, public key, message, signature.
    for (seed, public, message, signature) in [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
    ] {
        let key = KeyPair::from_seed(&hex(seed)).unwrap();
        let message = HEXLOWER.decode(message.as_bytes()).unwrap();
        assert_eq!(key.public(), PublicKey::new(hex(public)));
        assert_eq!(key.sign(&message), hex::<64>(signature));
        assert!(is_signature(&key.public(), &message, &hex::<64>(signature)));
    }
}

/// Every encoding of a point of small order: the eight proper ones, with the other sign where x is 0, and those whose y
/// was not reduced; and every other encoding whose y was not reduced.
fn bad_encodings() -> Vec<[u8; 32]> {
    let mut bad: Vec<[u8; 32]> = EIGHT_TORSION.iter().map(|p| p.compress().to_bytes()).collect();
    for low in 0xed..=0xff {
        let mut y = PRIME;
        y[0] = low;
        bad.push(y);
    }
    let mut other_sign = bad.clone();
    for key in &mut other_sign {
        key[31] ^= 0x80;
    }
    bad.extend(other_sign);
    bad.sort_unstable();
    bad.dedup();
    bad
}

#[test]
fn refuses_all_keys_of_small_order_and_all_other_encodings() {
    let bad = bad_encodings();
    // Five y below the prime and nineteen above it, each with both signs.
    assert_eq!(bad.len(), 48);
    for key in bad {
        assert!(check_public_key(&PublicKey::new(key)).is_err(), "{}", HEXLOWER.encode(&key));
    }
    // The largest reduced y that is not of small order.
    let mut y = PRIME;
    y[0] = 0xeb;
    assert_eq!(check_public_key(&PublicKey::new(y)), Ok(()));
}

#[test]
fn ring_verifies_what_anybody_can_sign_under_the_identity_and_we_do_not() {
    let mut identity = [0; 32];
    identity[0] = 1;
    // R = identity, S = 0.
    let mut constant = [0; 64];
    constant[0] = 1;
    for message in [&b"one"[..], b"another"] {
        assert!(
            UnparsedPublicKey::new(&ED25519, identity).verify(message, &constant).is_ok(),
            "why the check is there"
        );
        assert!(!is_signature(&PublicKey::new(identity), message, &constant));
    }
}

#[test]
fn key_ids_are_those_of_openssl() {
    // openssl pkey -in key.pem -pubout -outform DER | sha256sum, for the key of RFC 8032's test 1.
    let key = KeyPair::from_seed(&hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")).unwrap();
    assert_eq!(key_id(&key.public()).to_string(), OPENSSL_KEY_ID);
    assert_eq!(format!("{:?}", key_id(&key.public())), format!("KeyId({OPENSSL_KEY_ID})"));
    // openssl genpkey writes version 1, as we do: its text for that key.
    assert_eq!(key.to_pem(), OPENSSL_PEM);
    assert_eq!(KeyPair::from_pem(OPENSSL_PEM).unwrap().public(), key.public());
}

#[test]
fn key_files_are_private_whole_and_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("publisher.pem");
    let key = KeyPair::generate().unwrap();
    key.save(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    assert_eq!(KeyPair::load(&path).unwrap().public(), key.public());
    assert!(matches!(KeyPair::generate().unwrap().save(&path), Err(KeyFileError::Exists(_))));
    assert_eq!(KeyPair::load(&path).unwrap().public(), key.public(), "the first one is still there");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left over");
    for mode in [0o640, 0o604, 0o620, 0o644, 0o601] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let refused = KeyPair::load(&path).unwrap_err();
        assert!(matches!(refused, KeyFileError::Exposed { mode: told, .. } if told == mode), "{mode:o}: {refused}");
        assert!(refused.to_string().contains(&format!("chmod 600 {}", path.display())), "{refused}");
    }
    assert!(matches!(KeyPair::load(&dir.path().join("none")), Err(KeyFileError::Read(..))));
    assert!(matches!(key.save(&dir.path().join("no/dir")), Err(KeyFileError::Write(..))));
}

#[test]
fn what_is_no_private_key_is_refused() {
    let pem = KeyPair::generate().unwrap().to_pem();
    for bad in [
        "",
        "x",
        &pem[..pem.len() / 2],
        &pem.replace("PRIVATE", "PUBLIC"),
        &format!("{pem}{pem}"),
        &pem.replace("MC4C", "MC4D"),
    ] {
        assert_eq!(KeyPair::from_pem(bad).unwrap_err(), KeyError::Private, "{bad}");
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
    file.write_all(b"no key").unwrap();
    assert!(matches!(KeyPair::load(&path), Err(KeyFileError::NoKey(_))));
}

#[test]
fn a_bare_name_lies_where_the_program_runs() {
    for (path, folder) in [("a.pem", "."), ("keys/a.pem", "keys"), ("/a.pem", "/"), ("./a.pem", ".")] {
        assert_eq!(folder_of(Path::new(path)), Path::new(folder), "{path}");
    }
}

#[test]
fn keys_that_carry_their_public_half_are_kept_whole() {
    // PKCS#8 version 2, as `ring` writes it; in PEM it is longer than a line.
    let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap().as_ref().to_vec();
    let key = KeyPair::from_pkcs8(der.clone()).unwrap();
    let pem = key.to_pem();
    assert!(pem.lines().count() > 3 && pem.lines().all(|line| (1..=64).contains(&line.len())), "{pem}");
    assert_eq!(KeyPair::from_pem(&pem).unwrap().der, der);
    // Another implementation that is given the seed has the same key.
    assert_eq!(KeyPair::from_seed(&key.seed()).unwrap().public(), key.public());
    assert_eq!(KeyPair::from_seed(&[7; 32]).unwrap().seed(), [7; 32]);
}

#[test]
fn a_private_key_does_not_show_itself() {
    let key = KeyPair::from_seed(&[7; 32]).unwrap();
    assert_eq!(format!("{key:?}"), format!("KeyPair({})", key.public()));
}

proptest! {
    #[test]
    fn signs_what_it_verifies_and_nothing_else(seed: [u8; 32], message: Vec<u8>, at in 0usize..64, bit in 0u8..8) {
        let key = KeyPair::from_seed(&seed).unwrap();
        prop_assert_eq!(check_public_key(&key.public()), Ok(()));
        let mut signature = key.sign(&message);
        prop_assert!(is_signature(&key.public(), &message, &signature));
        signature[at] ^= 1 << bit;
        prop_assert!(!is_signature(&key.public(), &message, &signature));
    }
}

const OPENSSL_KEY_ID: &str = "06e3fd8fda29bb60ab59557de61edb0aecdb231134be30e75b455f8e1b792fa9";
const OPENSSL_PEM: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
-----END PRIVATE KEY-----
";
