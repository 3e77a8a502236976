use super::*;
use crate::keys::KeyPair;

fn key(n: u8) -> KeyPair {
    KeyPair::from_seed(&[n; 32]).unwrap()
}

fn signed(keys: &[u8]) -> Envelope {
    let mut envelope = Envelope::new(MANIFEST_TYPE, b"schema = 1\n".to_vec());
    for n in keys {
        envelope.sign(&key(*n));
    }
    envelope
}

fn parse(json: &str) -> Result<Envelope, DsseError> {
    Envelope::parse(json.as_bytes(), MANIFEST_TYPE)
}

#[test]
fn names_each_signer_once() {
    let mut envelope = signed(&[1, 2]);
    // The same signature again, under its own name and under none: a key counts once, however often it is there.
    let (id, again) = envelope.signatures[0].clone();
    envelope.signatures.extend([(id, again.clone()), (None, again)]);
    let envelope = parse(&envelope.to_json().unwrap()).unwrap();
    let (one, two, three) = (key(1).public(), key(2).public(), key(3).public());
    assert_eq!(envelope.signers([&one, &two, &three, &one]), [one, two]);
    assert_eq!(envelope.signers([&three]), []);
    assert_eq!(signed(&[1, 1]).signatures.len(), 1, "to sign again replaces");
}

#[test]
fn a_key_id_says_which_key_to_try_and_proves_nothing() {
    let mut envelope = signed(&[1]);
    envelope.signatures[0].0 = Some(key_id(&key(2).public()).to_string());
    assert_eq!(envelope.signers([&key(2).public()]), []);
    assert_eq!(envelope.signers([&key(1).public()]), []);
    envelope.signatures[0].0 = None;
    assert_eq!(parse(&envelope.to_json().unwrap()).unwrap().signers([&key(1).public()]).len(), 1);
}

#[test]
fn a_signature_of_another_type_is_worth_nothing() {
    let mut other = Envelope::new("application/vnd.fondaco.release.v1+cbor", b"schema = 1\n".to_vec());
    other.sign(&key(1));
    assert!(matches!(parse(&other.to_json().unwrap()), Err(DsseError::Type { .. })));
    other.payload_type = MANIFEST_TYPE.to_owned();
    assert_eq!(parse(&other.to_json().unwrap()).unwrap().signers([&key(1).public()]), []);
}

#[test]
fn refuses_what_is_no_envelope() {
    let json = signed(&[1]).to_json().unwrap();
    assert!(parse(&json).is_ok());
    for bad in ["", "{}", "[]", &json[..json.len() - 3], &json.replace("{\n", "{\n\"x\": 1,\n"), &format!("{json}x")] {
        assert!(matches!(parse(bad), Err(DsseError::Json(_))), "{bad}");
    }
    let twice = json.replacen("\"payload\":", "\"payload\": \"\", \"payload\":", 1);
    assert!(matches!(parse(&twice), Err(DsseError::Json(_))), "a key twice");
    for (from, to) in [("c2No", "c2N_"), ("=\"", "\"")] {
        assert!(json.contains(from), "{json}");
        assert!(matches!(parse(&json.replace(from, to)), Err(DsseError::Base64(_))), "{from}");
    }
    let many = signed(&(1..=17).collect::<Vec<_>>()).to_json().unwrap();
    assert!(matches!(parse(&many), Err(DsseError::TooMany(17))));
    let long = format!("{json}{}", " ".repeat(MAX_BYTES));
    assert!(matches!(parse(&long), Err(DsseError::TooLong(_))));
}

#[test]
fn reads_as_much_as_the_limits_say() {
    let most = signed(&(1..=16).collect::<Vec<_>>()).to_json().unwrap();
    assert_eq!(parse(&most).unwrap().signatures.len(), MAX_SIGNATURES);
    let longest = format!("{most}{}", " ".repeat(MAX_BYTES - most.len()));
    assert!(parse(&longest).is_ok());
    assert!(matches!(parse(&format!("{longest} ")), Err(DsseError::TooLong(n)) if n == MAX_BYTES + 1));
}
