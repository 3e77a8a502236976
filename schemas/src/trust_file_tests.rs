use super::*;

pub(crate) const FULL: &str = r#"serial = 7
[[publishers]]
name = "Night Owl"
prefixes = ["org.nightowl"]
kinds = ["storefront", "search"]
threshold = 2
[[publishers.keys]]
key = "0707070707070707070707070707070707070707070707070707070707070707"
not-after = "2030-01-31T12:00:00Z"
note = "in the safe"
[[publishers.keys]]
key = "CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg="
[revoked]
keys = ["0909090909090909090909090909090909090909090909090909090909090909"]
digests = ["0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"]
"#;

fn parse(text: &str) -> Result<TrustFile, Problems> {
    TrustFile::parse(text, |key| (*key == PublicKey::new([6; 32])).then(|| "a bad key".to_owned()))
}

#[test]
fn reads_every_key() {
    let file = parse(FULL).unwrap();
    assert_eq!(file.serial, 7);
    let publisher = &file.publishers[0];
    assert_eq!(publisher.keys[1].key, PublicKey::new([8; 32]), "base64 will do");
    assert_eq!(publisher.keys[0].not_after, Some(time::macros::datetime!(2030-01-31 12:00 UTC)));
    assert_eq!(file.revoked.keys, [PublicKey::new([9; 32])]);
    assert_eq!(file.revoked.digests, [BlobHash::new([10; 32])]);
}

#[test]
fn lists_every_mistake() {
    let text = FULL
        .replace("serial = 7", "serail = 7")
        .replace("\"search\"", "\"serch\"")
        .replace("threshold = 2", "threshold = 3")
        .replace(&"07".repeat(32), &"06".repeat(32))
        .replace("CAgI", "CAg");
    let refused = parse(&text).unwrap_err();
    let lines: Vec<_> = refused.list.iter().map(|p| p.line).collect();
    assert_eq!(lines, [1, 1, 5, 6, 8, 12], "{refused}");
    assert!(refused.to_string().contains("trust.toml:8:7: a bad key"), "{refused}");
    let twice = FULL.replace("CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=", &"07".repeat(32));
    assert!(parse(&twice).unwrap_err().to_string().contains("the same key twice"));
    assert!(parse(&FULL.replace("threshold = 2", "threshold = 0")).unwrap_err().to_string().contains("from 1"));
}

#[test]
fn a_publisher_without_scope_is_a_mistake() {
    let refused = parse("serial = 1\n[[publishers]]\nname = \"a\"\n").unwrap_err().to_string();
    for key in ["prefixes", "kinds", "keys"] {
        assert!(refused.contains(&format!("has no {key}")), "{refused}");
    }
}

#[test]
fn a_prefix_ends_at_a_label() {
    let prefix: IdPrefix = "org.nightowl".parse().unwrap();
    for (id, covered) in
        [("org.nightowl", true), ("org.nightowl.shelf", true), ("org.nightowlx.shelf", false), ("org.night", false)]
    {
        assert_eq!(prefix.covers(&id.parse().unwrap()), covered, "{id}");
    }
    assert_eq!("org.nightowl.".parse::<IdPrefix>().unwrap(), prefix);
    assert!(
        "org".parse::<IdPrefix>().is_err() && "".parse::<IdPrefix>().is_err(),
        "nobody is trusted with a whole domain"
    );
}

#[test]
fn a_key_that_is_refused_leaves_its_neighbours_known() {
    let refused = parse(&FULL.replace(&"07".repeat(32), &"06".repeat(32))).unwrap_err();
    assert_eq!(refused.to_string(), "trust.toml:8:7: a bad key");
    let refused = parse(&FULL.replace(&"07".repeat(32), "07")).unwrap_err();
    assert!(!refused.to_string().contains("unknown key"), "{refused}");
}
