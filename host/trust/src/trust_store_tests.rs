use fondaco_schemas::PluginKind;
use fondaco_schemas::trust_file::TrustedKey;
use time::macros::datetime;

use super::*;
use crate::keys::KeyPair;

fn publisher(name: &str, key: PublicKey) -> TrustedPublisher {
    TrustedPublisher {
        name: name.into(),
        prefixes: vec!["org.nightowl".parse().unwrap()],
        kinds: vec![PluginKind::Drm],
        threshold: 1,
        keys: vec![TrustedKey {
            key,
            not_after: Some(datetime!(2030-01-31 12:00 UTC)),
            note: Some("a \"note\"".into()),
        }],
    }
}

fn key(n: u8) -> PublicKey {
    KeyPair::from_seed(&[n; 32]).unwrap().public()
}

const HAND_WRITTEN: &str = "# Ours.\nserial   =   7 # counted by hand\n\n[revoked] # none yet\nkeys = [ ]\n";

#[test]
fn adding_a_publisher_keeps_what_the_operator_wrote() {
    let first = add_publisher(HAND_WRITTEN, &publisher("Night Owl", key(1))).unwrap();
    let second = add_publisher(&first, &publisher("Day Owl", key(2))).unwrap();
    for kept in ["# Ours.\nserial   =   9 # counted by hand\n", "[revoked] # none yet\n"] {
        assert!(second.contains(kept), "{second}");
    }
    let store = TrustStore::parse(&second, Some(9)).unwrap();
    assert_eq!(store.file().publishers, [publisher("Night Owl", key(1)), publisher("Day Owl", key(2))]);
    assert!(matches!(add_publisher(&second, &publisher("Day Owl", key(3))), Err(TrustError::Known(_))));
    assert_eq!(
        TrustStore::parse(&add_publisher(EMPTY, &publisher("A", key(1))).unwrap(), None).unwrap().file().serial,
        2
    );
}

#[test]
fn revoking_is_added_once() {
    let text = revoke_key(HAND_WRITTEN, &key(1)).unwrap();
    let text = revoke_key(&text, &key(1)).unwrap();
    let text = revoke_digest(&text, &BlobHash::new([3; 32])).unwrap();
    let store = TrustStore::parse(&text, None).unwrap();
    assert_eq!((store.file().serial, store.file().revoked.keys.as_slice()), (10, &[key(1)][..]));
    assert_eq!(store.file().revoked.digests, [BlobHash::new([3; 32])]);
    assert!(TrustStore::parse(&revoke_digest(EMPTY, &BlobHash::new([3; 32])).unwrap(), None).is_ok());
}

#[test]
fn the_first_change_counts_up_from_nothing() {
    let text = revoke_key("serial = 0\n", &key(1)).unwrap();
    assert_eq!(TrustStore::parse(&text, Some(1)).unwrap().file().serial, 1);
}

#[test]
fn refuses_an_older_file() {
    assert!(TrustStore::parse(HAND_WRITTEN, Some(7)).is_ok());
    assert!(matches!(TrustStore::parse(HAND_WRITTEN, Some(8)), Err(TrustError::Serial { found: 7, seen: 8 })));
}

#[test]
fn refuses_to_pin_a_key_of_small_order() {
    let mut identity = [0; 32];
    identity[0] = 1;
    let identity = PublicKey::new(identity);
    assert!(matches!(add_publisher(EMPTY, &publisher("A", identity)), Err(TrustError::Key(_))));
    let text =
        add_publisher(EMPTY, &publisher("A", key(1))).unwrap().replace(&key(1).to_string(), &identity.to_string());
    let refused = TrustStore::parse(&text, None).unwrap_err().to_string();
    assert!(refused.contains(":7:") || refused.contains("small order"), "{refused}");
}
