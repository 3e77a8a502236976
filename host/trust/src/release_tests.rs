use fondaco_schemas::{BlobHash, EntitlementId, FileInfo, FileRole, HolderKey, Offer, Terms, WorkId, WorkKind};
use proptest::prelude::*;

use super::*;

fn key(n: u8) -> KeyPair {
    KeyPair::from_seed(&[n; 32]).unwrap()
}

fn file(path: &str) -> FileInfo {
    FileInfo {
        path: path.into(),
        hash: BlobHash::new([1; 32]),
        size: 5,
        media_type: "audio/mpeg".into(),
        role: FileRole::Content,
        protection: None,
        title: None,
        duration_ms: None,
    }
}

fn offer(id: &str) -> Offer {
    Offer {
        id: id.into(),
        price: "4.99 EUR".parse().unwrap(),
        suggested: None,
        splits: vec![],
        terms: Terms::default(),
    }
}

fn release() -> Release {
    Release {
        work: WorkId::new(key(1).public(), "night-owl").unwrap(),
        sequence: 1,
        kind: WorkKind::Album,
        title: "Night Owl".into(),
        creators: vec!["Ada".into()],
        description: String::new(),
        language: None,
        tags: vec![],
        license: None,
        credits: vec![],
        published: "2030-01-31T12:00:00Z".into(),
        files: vec![file("a.mp3"), file("b/c.mp3")],
        offers: vec![offer("buy"), offer("rent")],
        metadata: "{}".into(),
        home: None,
    }
}

fn entitlement() -> Entitlement {
    Entitlement {
        id: EntitlementId::from_random([1; 16]),
        work: release().work,
        release: ReleaseId::new([2; 32]),
        offer: "buy".into(),
        holder: HolderKey::new([3; 32]),
        granted: "2030-01-31T12:00:00Z".into(),
        expires: None,
    }
}

#[test]
fn a_release_reads_back_under_the_hash_of_its_envelope() {
    let (id, bytes) = sign_release(&key(1), &release()).unwrap();
    assert_eq!(verify_release(&bytes).unwrap(), (id, release()));
    assert_eq!(id.as_bytes(), blake3::hash(&bytes).as_bytes());
    assert_eq!(sign_release(&key(1), &release()).unwrap().1, bytes, "signed again it is the same");
}

#[test]
fn refuses_every_flipped_bit_and_every_cut() {
    let (_, bytes) = sign_release(&key(1), &release()).unwrap();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            assert!(verify_release(&flipped).is_err(), "bit {bit} of byte {at}");
        }
        assert!(verify_release(&bytes[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn only_the_publisher_may_release_a_work() {
    assert!(matches!(sign_release(&key(2), &release()), Err(ReleaseError::Publisher { .. })));
    let foreign = sign(&key(2), &release()).unwrap().encode();
    assert!(matches!(verify_release(&foreign), Err(ReleaseError::Publisher { .. })));
}

#[test]
fn a_signature_of_one_type_is_worth_nothing_as_another() {
    let payload = release().to_bytes().unwrap();
    let signature = sign_bytes(&key(1), Entitlement::TYPE, &payload);
    let reused = Signed::<Release>::from_parts(payload.clone(), key(1).public(), signature);
    assert!(matches!(verify_release(&reused.encode()), Err(ReleaseError::Signature { .. })));
    assert!(verify_bytes(&key(1).public(), Entitlement::TYPE, &payload, &signature));
    assert!(!verify_bytes(&key(1).public(), Release::TYPE, &payload, &signature));
    let release = sign(&key(1), &release()).unwrap().encode();
    assert!(matches!(
        verify_entitlement(&release, &[key(1).public()]),
        Err(ReleaseError::Envelope(EnvelopeError::Type { .. }))
    ));
}

#[test]
fn refuses_a_publisher_of_small_order() {
    let mut identity = [0; 32];
    identity[0] = 1;
    let mut constant = [0; 64];
    constant[0] = 1;
    let publisher = PublicKey::new(identity);
    let forged = Release { work: WorkId::new(publisher, "forged").unwrap(), ..release() };
    let bytes = Signed::<Release>::from_parts(forged.to_bytes().unwrap(), publisher, constant).encode();
    assert!(matches!(verify_release(&bytes), Err(ReleaseError::Key(KeyError::SmallOrder(_)))));
}

#[test]
fn refuses_a_release_that_contradicts_itself() {
    let check = |change: fn(&mut Release), expect: &str| {
        let mut release = release();
        change(&mut release);
        let signed = sign(&key(1), &release).unwrap().encode();
        let refused = verify_release(&signed).unwrap_err().to_string();
        assert!(refused.contains(expect), "{refused}");
        assert!(sign_release(&key(1), &release).is_err(), "and nobody signs it by mistake");
    };
    check(|r| r.sequence = 0, "counted from 1");
    check(|r| r.files[1].path = "a.mp3".into(), "two files are called");
    check(|r| r.offers[1].id = "buy".into(), "two offers have the id");
    check(|r| r.files[0].path = "x".repeat(1025), "is no relative path");
    check(|r| r.files[0].path = "a\nb".into(), "is no relative path");
    check(|r| r.files[0].path = "../a".into(), "is no relative path");
    check(|r| r.files[0].path = "/a".into(), "is no relative path");
    check(|r| r.files[0].path = "a\\b".into(), "is no relative path");
}

#[test]
fn refuses_a_release_too_large_to_be_read_back() {
    let large = Release { description: "x".repeat(MAX_ENVELOPE_BYTES), ..release() };
    assert!(matches!(sign_release(&key(1), &large), Err(ReleaseError::Envelope(EnvelopeError::TooLong(_)))));
}

#[test]
fn a_release_may_be_as_large_as_is_read() {
    let signed = |n: usize| sign_release(&key(1), &Release { description: "x".repeat(n), ..release() });
    let some = MAX_ENVELOPE_BYTES / 2;
    let most = some + MAX_ENVELOPE_BYTES - signed(some).unwrap().1.len();
    let (_, bytes) = signed(most).unwrap();
    assert_eq!(bytes.len(), MAX_ENVELOPE_BYTES);
    assert!(verify_release(&bytes).is_ok());
    assert!(signed(most + 1).is_err());
    let path = Release { files: vec![file(&"x".repeat(1024))], ..release() };
    assert!(sign_release(&key(1), &path).is_ok(), "a path to its last byte");
}

#[test]
fn entitlements_count_from_trusted_nodes_only() {
    let bytes = sign(&key(4), &entitlement()).unwrap().encode();
    assert_eq!(
        verify_entitlement(&bytes, &[key(1).public(), key(4).public()]).unwrap(),
        (key(4).public(), entitlement())
    );
    assert!(matches!(verify_entitlement(&bytes, &[key(1).public()]), Err(ReleaseError::UntrustedNode(_))));
    assert!(matches!(verify_entitlement(&bytes, &[]), Err(ReleaseError::UntrustedNode(_))));
}

proptest! {
    #[test]
    fn reading_what_a_stranger_sent_never_panics(bytes: Vec<u8>) {
        let _ = verify_release(&bytes);
        let signed = Signed::<Release>::from_parts(bytes, key(1).public(), [0; 64]);
        let _ = signed.read();
        prop_assert!(verify_release(&signed.encode()).is_err());
    }
}
