use super::*;
use crate::{WorkId, WorkKind};

fn release() -> Release {
    Release {
        work: WorkId::new(PublicKey::new([7; 32]), "night-owl").unwrap(),
        sequence: 1,
        kind: WorkKind::Book,
        title: "Night Owl".into(),
        creators: vec![],
        description: "x".repeat(300),
        language: None,
        tags: vec![],
        license: None,
        credits: vec![],
        published: "2030-01-31T12:00:00Z".into(),
        files: vec![],
        offers: vec![],
        metadata: "{}".into(),
        home: None,
    }
}

fn signed() -> Signed<Release> {
    Signed::from_parts(release().to_bytes().unwrap(), PublicKey::new([7; 32]), [9; 64])
}

#[test]
fn keeps_the_exact_bytes() {
    let bytes = signed().encode();
    let read = Signed::<Release>::decode(&bytes).unwrap();
    assert_eq!(read.encode(), bytes);
    assert_eq!(read.payload(), signed().payload());
    assert_eq!(read.read().unwrap(), release());
}

#[test]
fn the_wire_form_is_what_another_cbor_writer_makes() {
    for len in [0, 23, 24, 255, 256, 65535, 65536] {
        let envelope = Signed::<Release>::from_parts(vec![1; len], PublicKey::new([7; 32]), [9; 64]);
        let mut e = minicbor::Encoder::new(Vec::new());
        e.array(4).unwrap().str(Release::TYPE).unwrap().bytes(&vec![1; len]).unwrap();
        e.bytes(&[7; 32]).unwrap().bytes(&[9; 64]).unwrap();
        assert_eq!(envelope.encode(), e.into_writer());
    }
}

#[test]
fn the_preimage_is_that_of_dsse() {
    // The example of the DSSE specification, version 1.
    assert_eq!(
        preimage("http://example.com/HelloWorld", b"hello world"),
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    );
}

#[test]
fn refuses_every_other_encoding_of_the_same() {
    let bytes = signed().encode();
    for end in 0..bytes.len() {
        assert!(matches!(Signed::<Release>::decode(&bytes[..end]), Err(EnvelopeError::Malformed)), "cut at {end}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(matches!(Signed::<Release>::decode(&longer), Err(EnvelopeError::Malformed)), "bytes after the end");
    let indefinite = [&[0x9f], &bytes[1..], &[0xff]].concat();
    assert!(matches!(Signed::<Release>::decode(&indefinite), Err(EnvelopeError::Malformed)), "an array without length");
    let wide = [&[0x98, 4], &bytes[1..]].concat();
    assert!(
        matches!(Signed::<Release>::decode(&wide), Err(EnvelopeError::Malformed)),
        "a length longer than it need be"
    );
}

#[test]
fn refuses_what_is_too_long_or_of_another_type() {
    assert!(matches!(Signed::<Release>::decode(&vec![0; MAX_ENVELOPE_BYTES + 1]), Err(EnvelopeError::TooLong(_))));
    let refused = Signed::<crate::Entitlement>::decode(&signed().encode()).unwrap_err();
    assert!(matches!(refused, EnvelopeError::Type { .. }), "{refused}");
}

#[test]
fn refuses_a_payload_with_something_behind_it() {
    let mut payload = release().to_bytes().unwrap();
    payload.push(0);
    let envelope = Signed::<Release>::from_parts(payload, PublicKey::new([7; 32]), [9; 64]);
    assert!(matches!(envelope.read(), Err(EnvelopeError::Payload(..))));
    let names_a_huge_list = Signed::<Release>::from_parts(
        b"\xa1\x04\x9b\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
        PublicKey::new([7; 32]),
        [9; 64],
    );
    assert!(matches!(names_a_huge_list.read(), Err(EnvelopeError::Payload(..))));
}

#[test]
fn an_entitlement_reads_back() {
    let entitlement = crate::Entitlement {
        id: crate::EntitlementId::from_random([1; 16]),
        work: release().work,
        release: crate::ReleaseId::new([2; 32]),
        offer: "buy".into(),
        holder: crate::HolderKey::new([3; 32]),
        granted: "2030-01-31T12:00:00Z".into(),
        expires: None,
    };
    let envelope =
        Signed::<crate::Entitlement>::from_parts(entitlement.to_bytes().unwrap(), PublicKey::new([7; 32]), [9; 64]);
    assert_eq!(envelope.read().unwrap(), entitlement);
}
