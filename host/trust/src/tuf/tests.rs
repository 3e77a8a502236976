//! What tuf-conformance does not ask: limits, clocks, keys that nobody may use, and files that people change.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use fondaco_schemas::PublicKey;
use semver::Version;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use super::author::{Draft, Expiry};
use super::client::quote;
use super::error::{Refused, Why};
use super::json::Json;
use super::metadata::{Hashes, MetaFile, TopRole};
use super::simulator::{Client, NOW, Repo, key};
use super::*;

fn json(text: &str) -> Result<Json, String> {
    Json::parse(text.as_bytes()).map_err(|e| e.to_string())
}

#[test]
fn canonical_json_is_what_securesystemslib_writes() {
    // Made by securesystemslib 1.6.0, as are the key id and the signature.
    let text = r#"{"b": [1, -2, true, false, null, ""], "a": {"é": "\n\t\"\\ü\u0001", "Z": 9007199254740992, "😀": 1, "\uffff": 2}}"#;
    let canonical = json(text).unwrap().canonical();
    let expected = "{\"a\":{\"Z\":9007199254740992,\"é\":\"\n\t\\\"\\\\ü\u{1}\",\"\u{ffff}\":2,\"😀\":1},\"b\":[1,-2,true,false,null,\"\"]}";
    assert_eq!(canonical, expected.as_bytes());
    let seed: [u8; 32] = HEXLOWER
        .decode(b"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
        .unwrap()
        .try_into()
        .unwrap();
    let pair = crate::KeyPair::from_seed(&seed).unwrap();
    assert_eq!(tuf_key_id(&pair.public()), "74c181c7ad8a0855d4b55e44d2ba87aabdddb196832571f15f92fece332e4916");
    let signature = "7c9f33e33d84bbcd293045cc9141cd31f36a31326674e095b598fe237c22575f68cc7c7e26243c664a17548b25cd336af8ab37edb6297e5e598e4d9c1855a70d";
    assert_eq!(HEXLOWER.encode(&pair.sign(&canonical)), signature);
    // What is written for people reads back as the same.
    assert_eq!(Json::parse(&json(text).unwrap().pretty()).unwrap().canonical(), canonical);
}

#[test]
fn json_that_readers_differ_over_is_refused() {
    assert!(json("1.5").unwrap_err().contains("expected a JSON value without fractions"));
    assert!(json(r#"{"a": 1, "a": 1}"#).unwrap_err().contains("the key \"a\" is there twice"));
    for text in ["1.5", "1e3", "{", "[1] x", "18446744073709551616", "\"\\ud800\"", "nul"] {
        assert!(json(text).is_err(), "{text}");
    }
    assert!(json(&("[".repeat(200) + &"]".repeat(200))).is_err(), "too deep");
    assert_eq!(json("18446744073709551615").unwrap().as_u64(), Some(u64::MAX));
    assert_eq!(json("-1").unwrap().as_u64(), None);
    assert_eq!(json("-9223372036854775808").unwrap().canonical(), b"-9223372036854775808");
    for (text, canonical) in [("null", "null"), ("true", "true"), ("false", "false"), ("[]", "[]"), ("{}", "{}")] {
        assert_eq!(json(text).unwrap().canonical(), canonical.as_bytes());
    }
}

fn start() -> (Repo, Client) {
    let repo = Repo::new();
    let client = Client::new(&repo);
    (repo, client)
}

fn why(result: Result<Update, Refused>) -> Why {
    result.map(|_| ()).unwrap_err().why
}

/// Changes what is signed of a served file, and signs it as its role does.
fn change(repo: &mut Repo, role: &str, change: impl FnOnce(&mut BTreeMap<String, Json>)) {
    let name = repo.file(role);
    let signers = repo.signers[role].clone();
    repo.tamper(&name, |map| {
        let Some(Json::Map(signed)) = map.get_mut("signed") else { panic!() };
        change(signed);
        let message = Json::Map(signed.clone()).canonical();
        let sign = |number: &u8| {
            let sig = HEXLOWER.encode(&key(*number).sign(&message));
            Json::map([("keyid", tuf_key_id(&key(*number).public()).into()), ("sig", sig.into())])
        };
        map.insert("signatures".into(), Json::List(signers.iter().map(sign).collect()));
    });
}

/// A change of what is signed.
type Edit = fn(&mut BTreeMap<String, Json>);

#[test]
fn refuses_forms_that_are_not_those_of_the_specification() {
    let edits: [(&str, Edit, &str); 16] = [
        ("timestamp", |m| drop(m.remove("meta")), "\"meta\" is missing"),
        ("timestamp", |m| drop(m.insert("meta".into(), Json::map([]))), "\"snapshot.json\" is missing"),
        ("timestamp", |m| drop(m.insert("version".into(), 0.into())), "no whole number from 1"),
        ("timestamp", |m| drop(m.insert("version".into(), "2".into())), "no whole number from 1"),
        (
            "timestamp",
            |m| drop(m.insert("version".into(), (MAX_VERSION + 1).into())),
            "which locks out whoever follows",
        ),
        ("timestamp", |m| drop(m.insert("expires".into(), "2031-01-01T00:00:00+00:00".into())), "is no time such as"),
        ("timestamp", |m| drop(m.insert("expires".into(), "2031-02-30T00:00:00Z".into())), "is no time such as"),
        ("timestamp", |m| drop(m.insert("spec_version".into(), "2.0.0".into())), "by version \"2.0.0\""),
        ("timestamp", |m| drop(m.insert("_type".into(), "root".into())), "of type \"root\""),
        ("snapshot", |m| drop(m.insert("meta".into(), Json::List(vec![]))), "\"meta\" is no object"),
        ("targets", |m| drop(m.insert("targets".into(), Json::List(vec![]))), "\"targets\" is no object"),
        ("targets", |m| drop(m.insert("targets".into(), Json::map([("a", Json::map([]))]))), "a target has no length"),
        (
            "targets",
            |m| {
                let entry = Json::map([("length", 1.into()), ("hashes", Json::map([("sha256", "zz".into())]))]);
                m.insert("targets".into(), Json::map([("a", entry)]));
            },
            "a digest is not in hexadecimal",
        ),
        ("targets", |m| drop(m.insert("delegations".into(), Json::map([]))), "\"keys\" is missing"),
        (
            "targets",
            |m| {
                let d = Json::map([("keys", Json::map([])), ("roles", Json::map([]))]);
                m.insert("delegations".into(), d);
            },
            "\"roles\" of delegations is no list",
        ),
        (
            "targets",
            |m| {
                let role = Json::map([
                    ("name", "a".into()),
                    ("terminating", Json::Bool(true)),
                    ("keyids", Json::List(vec![])),
                    ("threshold", 0.into()),
                    ("paths", Json::List(vec![])),
                ]);
                let d = Json::map([("keys", Json::map([])), ("roles", Json::List(vec![role]))]);
                m.insert("delegations".into(), d);
            },
            "no threshold of 1 or more",
        ),
    ];
    for (role, edit, words) in edits {
        let (mut repo, mut client) = start();
        change(&mut repo, role, edit);
        let text = client.refresh(&mut repo).map(|_| ()).unwrap_err().to_string();
        assert!(text.contains(words) && text.contains(&format!("role {role}")), "{text}");
    }
    for bytes in ["", "[]", "{}", "{\"signed\": {}}", "{\"signed\": {}, \"signatures\": {}}"] {
        let (mut repo, mut client) = start();
        repo.files.insert("timestamp.json".into(), bytes.into());
        assert!(matches!(why(client.refresh(&mut repo)), Why::Form(_)), "{bytes}");
    }
}

#[test]
fn a_delegation_has_paths_or_hash_prefixes() {
    let (mut repo, mut client) = start();
    repo.delegate("targets", "hashed", &["*"], false);
    repo.add("hashed", "some/path", b"here");
    let hash = HEXLOWER.encode(&crate::keys::sha256(b"some/path"));
    let edit = |prefix: Option<String>, both: bool| {
        move |signed: &mut BTreeMap<String, Json>| {
            let Some(Json::Map(d)) = signed.get_mut("delegations") else { panic!() };
            let Some(Json::List(roles)) = d.get_mut("roles") else { panic!() };
            let Json::Map(role) = &mut roles[0] else { panic!() };
            if !both {
                role.remove("paths");
            }
            if let Some(prefix) = prefix {
                role.insert("path_hash_prefixes".into(), Json::List(vec![prefix.into()]));
            }
        }
    };
    let mut get = |prefix, both| {
        repo.publish(&["hashed", "targets"]);
        change(&mut repo, "targets", edit(prefix, both));
        repo.publish(&["snapshot", "timestamp"]);
        client.download(&mut repo, "some/path").map_err(|e| e.to_string())
    };
    assert_eq!(get(Some(hash[..4].to_owned()), false).unwrap().as_deref(), Some(b"here".as_slice()));
    let other = if hash.starts_with('0') { "1" } else { "0" };
    assert_eq!(get(Some(other.to_owned()), false).unwrap(), None);
    assert!(get(Some(other.to_owned()), true).unwrap_err().contains("and not both"));
    assert!(get(None, false).unwrap_err().contains("needs \"paths\" or \"path_hash_prefixes\""));
}

#[test]
fn a_role_is_not_delegated_to_twice_nor_called_like_one_of_the_roots() {
    for (other, words) in [("one", "delegates to one role twice"), ("snapshot", "which is a role of the root")] {
        let (mut repo, mut client) = start();
        repo.delegate("targets", "one", &["*"], false);
        repo.delegate("targets", "two", &["*"], false);
        repo.publish(&["one", "two", "targets"]);
        change(&mut repo, "targets", |signed| {
            let Some(Json::Map(d)) = signed.get_mut("delegations") else { panic!() };
            let Some(Json::List(roles)) = d.get_mut("roles") else { panic!() };
            let Json::Map(role) = &mut roles[1] else { panic!() };
            role.insert("name".into(), other.into());
        });
        repo.publish(&["snapshot", "timestamp"]);
        let text = client.refresh(&mut repo).map(|_| ()).unwrap_err().to_string();
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn follows_a_chain_of_roots_to_its_end_and_no_further_at_a_time() {
    let (mut repo, mut client) = start();
    for _ in 0..MAX_ROOTS {
        let before = repo.signers["root"].clone();
        repo.rotate("root");
        let after = repo.signers["root"].clone();
        repo.signers.insert("root".into(), [before, after.clone()].concat());
        repo.publish(&["root"]);
        repo.signers.insert("root".into(), after);
        // Key numbers come round.
        if repo.version("root") % 100 == 0 {
            repo.start_keys_again();
        }
    }
    assert_eq!(repo.version("root"), 1025);
    client.refresh(&mut repo).unwrap();
    assert_eq!(client.version("root"), Some(1025));
    assert_eq!(repo.asked.iter().filter(|file| file.ends_with("root.json")).count(), 1024);
    repo.asked.clear();
    repo.publish(&["root"]);
    client.refresh(&mut repo).unwrap();
    assert_eq!((client.version("root"), repo.asked[0].as_str()), (Some(1026), "1026.root.json"));
    // A root that has expired ends it there, too.
    let (mut repo, mut client) = start();
    for _ in 0..MAX_ROOTS {
        repo.publish_until("root", NOW);
    }
    assert!(matches!(why(client.refresh(&mut repo)), Why::Expired(_)));
    assert_eq!(client.version("root"), Some(1025), "it is kept all the same");
}

#[test]
fn a_root_is_not_skipped() {
    let (mut repo, mut client) = start();
    repo.publish(&["root", "root"]);
    let third = repo.files.remove("3.root.json").unwrap();
    repo.files.insert("2.root.json".into(), third);
    assert!(matches!(why(client.refresh(&mut repo)), Why::Version(2)));
}

#[test]
fn refuses_keys_of_small_order_and_other_encodings_wherever_they_are_named() {
    let mut identity = [0; 32];
    identity[0] = 1;
    let mut other = [0xff; 32];
    other[31] = 0x7f;
    other[0] = 0xee; // 1, written as the prime and one more
    for bytes in [identity, [0; 32], other] {
        let bad = PublicKey::new(bytes);
        let entry = super::keys::key_json(&bad);
        // In a root.
        let (mut repo, mut client) = start();
        repo.publish(&["root"]);
        change(&mut repo, "root", |signed| {
            let Some(Json::Map(keys)) = signed.get_mut("keys") else { panic!() };
            keys.insert(tuf_key_id(&bad), entry.clone());
        });
        assert!(matches!(why(client.refresh(&mut repo)), Why::Key(_)));
        assert_eq!(client.version("root"), Some(1));
        // In a delegation.
        let (mut repo, mut client) = start();
        repo.delegate("targets", "one", &["*"], false);
        repo.publish(&["one", "targets"]);
        change(&mut repo, "targets", |signed| {
            let Some(Json::Map(d)) = signed.get_mut("delegations") else { panic!() };
            let Some(Json::Map(keys)) = d.get_mut("keys") else { panic!() };
            keys.insert(tuf_key_id(&bad), entry.clone());
        });
        repo.publish(&["snapshot", "timestamp"]);
        assert!(matches!(why(client.refresh(&mut repo)), Why::Key(_)));
        // By whoever runs a registry.
        let expires = Expiry(NOW);
        assert!(matches!(Draft::root(expires).set_role(TopRole::Root, &[bad], 1), Err(Why::Key(_))));
        let delegated = Draft::targets(expires).delegate("a", &[bad], 1, &["*".into()], true);
        assert!(matches!(delegated, Err(Why::Key(_))));
    }
}

#[test]
fn a_key_must_have_its_id_and_counts_once_under_all_its_ids() {
    let swap = |keys: &mut BTreeMap<String, Json>| {
        let ids: Vec<String> = keys.keys().cloned().collect();
        let (one, two) = (keys[&ids[0]].clone(), keys[&ids[1]].clone());
        keys.insert(ids[0].clone(), two);
        keys.insert(ids[1].clone(), one);
    };
    let (mut repo, mut client) = start();
    repo.publish(&["root"]);
    change(&mut repo, "root", |signed| {
        let Some(Json::Map(keys)) = signed.get_mut("keys") else { panic!() };
        swap(keys);
    });
    assert!(matches!(why(client.refresh(&mut repo)), Why::KeyId(_)));

    // The same key under a second id, which is right for what stands there.
    let (mut repo, mut client) = start();
    let public = key(2).public();
    let Json::Map(mut twin) = super::keys::key_json(&public) else { panic!() };
    twin.insert("note".into(), "again".into());
    let twin = Json::Map(twin);
    let twin_id = HEXLOWER.encode(&crate::keys::sha256(&twin.canonical()));
    repo.publish(&["root"]);
    change(&mut repo, "root", |signed| {
        let Some(Json::Map(keys)) = signed.get_mut("keys") else { panic!() };
        keys.insert(twin_id.clone(), twin.clone());
        let Some(Json::Map(roles)) = signed.get_mut("roles") else { panic!() };
        let ids = Json::List(vec![tuf_key_id(&public).into(), twin_id.as_str().into()]);
        roles.insert("snapshot".into(), Json::map([("keyids", ids), ("threshold", 2.into())]));
    });
    repo.tamper("1.snapshot.json", |map| {
        let Some(Json::List(list)) = map.get_mut("signatures") else { panic!() };
        let Json::Map(mut again) = list[0].clone() else { panic!() };
        again.insert("keyid".into(), twin_id.as_str().into());
        list.push(Json::Map(again));
    });
    assert!(matches!(why(client.refresh(&mut repo)), Why::Threshold { signed: 1, threshold: 2, .. }));
}

#[test]
fn keys_of_other_kinds_are_named_and_never_count() {
    let (mut repo, mut client) = start();
    let foreign = Json::map([
        ("keytype", "ecdsa".into()),
        ("scheme", "ecdsa-sha2-nistp256".into()),
        ("keyval", Json::map([("public", "PEM".into())])),
    ]);
    let id = HEXLOWER.encode(&crate::keys::sha256(&foreign.canonical()));
    repo.publish(&["root"]);
    change(&mut repo, "root", |signed| {
        let Some(Json::Map(keys)) = signed.get_mut("keys") else { panic!() };
        keys.insert(id.clone(), foreign.clone());
        let Some(Json::Map(roles)) = signed.get_mut("roles") else { panic!() };
        let role = Json::map([("keyids", Json::List(vec![id.as_str().into()])), ("threshold", 1.into())]);
        roles.insert("timestamp".into(), role);
    });
    repo.tamper("timestamp.json", |map| {
        let Some(Json::List(list)) = map.get_mut("signatures") else { panic!() };
        list.push(Json::map([("keyid", id.as_str().into()), ("sig", "00".into())]));
    });
    let text = client.refresh(&mut repo).map(|_| ()).unwrap_err().to_string();
    assert!(
        text.contains("0 of the 1 signatures that root demands are there, and 1 of its keys are of a kind"),
        "{text}"
    );
}

#[test]
fn refuses_endless_data_at_the_first_byte_too_many() {
    // Where no length is signed: the limits.
    for (role, max) in [
        ("root", MAX_ROOT_BYTES),
        ("timestamp", MAX_TIMESTAMP_BYTES),
        ("snapshot", MAX_SNAPSHOT_BYTES),
        ("targets", MAX_TARGETS_BYTES),
    ] {
        for (more, good) in [(0, true), (1, false)] {
            let (mut repo, mut client) = start();
            repo.publish(&["root", "targets", "snapshot", "timestamp"]);
            let file = repo.files.get_mut(&repo.file(role)).unwrap();
            file.resize(usize::try_from(max).unwrap() + more, b' ');
            match client.refresh(&mut repo) {
                Ok(_) => assert!(good, "{role}"),
                Err(refused) => {
                    assert!(!good && matches!(refused.why, Why::TooLong(m) if m == max), "{role} {refused}");
                    assert_eq!(refused.role, role);
                }
            }
        }
    }
    // Where one is signed: that, which is what the caller is told to read at most.
    let (mut repo, mut client) = start();
    repo.hashes = true;
    repo.publish(&["targets", "snapshot", "timestamp"]);
    repo.files.get_mut("2.snapshot.json").unwrap().push(b' ');
    assert!(matches!(why(client.refresh(&mut repo)), Why::TooLong(_)));
    repo.files.get_mut("2.snapshot.json").unwrap().truncate(100);
    assert!(matches!(why(client.refresh(&mut repo)), Why::Length { found: 100, .. }));
    // Nor may it be signed for more than the limit.
    let (mut repo, mut client) = start();
    let meta = MetaFile { version: 1, length: Some(MAX_SNAPSHOT_BYTES + 1), hashes: None };
    repo.draft("timestamp").set_meta("snapshot.json", &meta).unwrap();
    repo.publish(&["timestamp"]);
    assert!(matches!(why(client.refresh(&mut repo)), Why::TooLong(MAX_SNAPSHOT_BYTES)));
    assert!(!repo.asked.contains(&"1.snapshot.json".to_owned()), "it is not even asked for");
}

#[test]
fn files_of_different_times_do_not_mix() {
    // Every pair of an old and a new snapshot and targets, under the newest timestamp.
    let mut repo = Repo::new();
    repo.hashes = true;
    repo.publish(&["targets", "snapshot", "timestamp"]);
    let old: Vec<Vec<u8>> = ["targets", "snapshot"].map(|role| repo.files[&repo.file(role)].clone()).into();
    repo.add("targets", "a", b"a");
    repo.publish(&["targets", "snapshot", "timestamp"]);
    for (i, role) in ["targets", "snapshot"].into_iter().enumerate() {
        let name = repo.file(role);
        let new = repo.files.insert(name.clone(), old[i].clone()).unwrap();
        let mut client = Client::new(&repo);
        let refused = client.refresh(&mut repo).map(|_| ()).unwrap_err();
        assert_eq!(refused.role, role);
        repo.files.insert(name, new);
    }
    Client::new(&repo).refresh(&mut repo).unwrap();
}

#[test]
fn what_was_kept_is_verified_again() {
    let (mut repo, mut client) = start();
    repo.add("targets", "a", b"a");
    repo.publish(&["targets", "snapshot", "timestamp"]);
    client.refresh(&mut repo).unwrap();
    for role in ["targets", "snapshot", "timestamp"] {
        let mut other = Client { kept: client.kept.clone(), now: NOW, downloads: vec![] };
        let kept = other.kept.get_mut(&format!("{role}.json")).unwrap();
        let text = String::from_utf8(kept.clone()).unwrap().replace("\"version\": 2", "\"version\": 9");
        *kept = text.into_bytes();
        repo.asked.clear();
        other.refresh(&mut repo).unwrap();
        assert_eq!(other.version(role), Some(2), "{role}");
        assert!(repo.asked.contains(&repo.file(role)), "{role} was fetched again");
    }
    // One that was good once and has expired is fetched again, too.
    client.now = NOW + Duration::days(31);
    for role in ["root", "targets", "snapshot", "timestamp"] {
        repo.publish_until(role, NOW + Duration::days(60));
    }
    client.refresh(&mut repo).unwrap();
    assert_eq!(client.versions(), [Some(2), Some(3), Some(3), Some(3)]);
}

#[test]
fn a_clock_that_is_set_back_makes_nothing_fresh() {
    let (built, seen) = (datetime!(2029-12-01 00:00 UTC), datetime!(2030-01-01 00:00 UTC));
    let check = |system: OffsetDateTime, expect: OffsetDateTime| {
        assert_eq!(clock(system, Some(seen), built).unwrap(), expect, "{system}");
    };
    check(datetime!(2030-01-02 00:00 UTC), datetime!(2030-01-02 00:00 UTC));
    check(datetime!(2029-12-31 12:00 UTC), seen);
    check(datetime!(2029-12-31 00:00 UTC), seen);
    assert!(matches!(clock(datetime!(2029-12-30 23:59:59 UTC), Some(seen), built), Err(Why::Clock { .. })));
    assert!(matches!(clock(datetime!(2020-01-01 00:00 UTC), Some(seen), built), Err(Why::Clock { .. })));
    assert_eq!(clock(datetime!(2020-01-01 00:00 UTC), None, built).unwrap(), built);
    assert_eq!(clock(datetime!(2040-01-01 00:00 UTC), None, built).unwrap(), datetime!(2040-01-01 00:00 UTC));
    assert_eq!(clock(built, Some(datetime!(2029-01-01 00:00 UTC)), built).unwrap(), built);
}

#[test]
fn a_file_is_not_trusted_in_the_second_in_which_it_expires() {
    let (mut repo, mut client) = start();
    repo.publish_until("timestamp", NOW + Duration::days(7));
    client.now = NOW + Duration::days(7) - Duration::SECOND;
    let update = client.refresh(&mut repo).unwrap();
    assert_eq!(update.fresh_until(), NOW + Duration::days(7));
    client.now = NOW + Duration::days(7);
    assert!(matches!(why(client.refresh(&mut repo)), Why::Expired(_)));
}

#[test]
fn the_earliest_expiry_ends_freshness() {
    for role in ["root", "targets", "snapshot", "timestamp"] {
        let (mut repo, mut client) = start();
        let soon = NOW + Duration::days(3);
        for each in ["root", "targets", "snapshot", "timestamp"] {
            repo.publish_until(each, if each == role { soon } else { NOW + Duration::days(30) });
        }
        assert_eq!(client.refresh(&mut repo).unwrap().fresh_until(), soon, "{role}");
    }
}

#[test]
fn one_publishers_fault_hides_nobody_else() {
    let (mut repo, mut client) = start();
    for name in ["good", "bad", "late", "missing"] {
        repo.delegate("targets", name, &[&format!("{name}/*")], true);
        repo.add(name, &format!("{name}/a"), name.as_bytes());
    }
    // Outside of what was delegated to it.
    repo.add("good", "bad/b", b"not mine to say");
    repo.signers.insert("bad".into(), vec![99]);
    repo.publish(&["good", "bad"]);
    repo.publish_until("late", NOW);
    repo.publish(&["targets", "snapshot", "timestamp"]);
    let mut update = client.begin().unwrap();
    update.want_all();
    client.drive(&mut update, &mut repo).unwrap();
    assert_eq!(update.all().keys().copied().collect::<Vec<_>>(), ["good/a"]);
    let failed: Vec<&str> = update.failed().map(|refused| refused.role.as_str()).collect();
    assert_eq!(failed, ["bad", "late", "missing"]);
    assert!(update.hidden_by("bad/a").unwrap().to_string().contains("0 of the 1 signatures that targets demands"));
    assert!(update.hidden_by("late/a").unwrap().to_string().contains("expired"));
    assert!(update.hidden_by("good/a").is_none() && update.hidden_by("other/a").is_none());
    // Whoever asks for one of theirs is told.
    assert!(client.download(&mut repo, "bad/a").is_err());
    assert!(client.download(&mut repo, "good/a").unwrap().is_some());
    // The registry's own fault is nobody's alone.
    repo.publish_until("targets", NOW);
    repo.publish(&["snapshot", "timestamp"]);
    let mut update = client.begin().unwrap();
    update.want_all();
    assert!(matches!(client.drive(&mut update, &mut repo).unwrap_err().why, Why::Expired(_)));
}

#[test]
fn versions_go_up_to_the_highest_and_are_told() {
    let (mut repo, mut client) = start();
    repo.draft("timestamp").set_version(MAX_VERSION - 1);
    repo.publish(&["timestamp"]);
    let update = client.refresh(&mut repo).unwrap();
    let versions: Vec<(String, u64)> = update.versions().into_iter().collect();
    let told = [("root", 1), ("snapshot", 1), ("targets", 1), ("timestamp", MAX_VERSION)];
    assert_eq!(versions, told.map(|(role, version)| (role.to_owned(), version)));
    assert!(!update.forked(), "it shows the same to everybody, as far as is known");
    let next = repo.draft("timestamp").next(Expiry(NOW));
    assert!(matches!(next, Err(Why::Forward)), "and no further");
}

#[test]
fn a_registry_reads_what_it_has_written_itself() {
    let (mut repo, _) = start();
    repo.add("targets", "a/b", b"hello");
    let targets = repo.drafts["targets"].as_targets().unwrap();
    assert_eq!(targets.target("a/b").unwrap().length, 5);
    assert!(targets.target("a").is_none() && targets.paths().eq(["a/b"]));
    let meta = repo.drafts["snapshot"].meta_of("targets.json").unwrap();
    assert_eq!((meta.version, meta.length), (1, None));
    assert!(repo.drafts["snapshot"].meta_of("other.json").is_none());
    assert!(repo.drafts["snapshot"].signers().eq([tuf_key_id(&key(2).public())]));
}

#[test]
fn lists_no_more_roles_than_the_limit() {
    let (mut repo, mut client) = start();
    // Each with the same key, which is quicker, and all in one chain and one fan.
    let keys = [key(50).public()];
    let mut roles = Vec::new();
    for i in 0..=MAX_ROLES {
        let name = format!("r{i:03}");
        repo.draft("targets").delegate(&name, &keys, 1, &["*".into()], false).unwrap();
        repo.signers.insert(name.clone(), vec![50]);
        repo.drafts.insert(name.clone(), Draft::targets(Expiry(NOW + Duration::days(30))));
        repo.write(&name);
        roles.push(name);
    }
    repo.add(&roles[MAX_ROLES - 2].clone(), "near", b"near");
    repo.add(&roles[MAX_ROLES - 1].clone(), "far", b"far");
    repo.write(&roles[MAX_ROLES - 2]);
    repo.write(&roles[MAX_ROLES - 1]);
    repo.publish(&["targets", "snapshot", "timestamp"]);
    assert!(client.download(&mut repo, "near").unwrap().is_some());
    assert!(client.download(&mut repo, "far").unwrap().is_none());
    let mut update = client.begin().unwrap();
    update.want_all();
    client.drive(&mut update, &mut repo).unwrap();
    assert_eq!(update.versions().len(), 3 + MAX_ROLES);
}

#[test]
fn loads_no_more_metadata_than_the_limit() {
    let (mut repo, mut client) = start();
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    for name in names {
        repo.delegate("targets", name, &[&format!("{name}/*")], true);
        repo.add(name, &format!("{name}/x"), b"x");
    }
    repo.publish(&names);
    repo.publish(&["targets", "snapshot", "timestamp"]);
    for name in names {
        let file = repo.file(name);
        repo.files.get_mut(&file).unwrap().resize(usize::try_from(MAX_TARGETS_BYTES).unwrap(), b' ');
    }
    let mut update = client.begin().unwrap();
    update.want_all();
    client.drive(&mut update, &mut repo).unwrap();
    assert_eq!(update.all().len(), 6, "six files of 5 MiB are loaded");
    let failed: Vec<&Refused> = update.failed().collect();
    assert!(matches!(failed.as_slice(), [Refused { why: Why::TooMuch, .. }]), "{failed:?}");
    assert!(client.download(&mut repo, "g/x").unwrap().is_some(), "by its name it is found");
    // What was kept counts as what is fetched.
    let mut update = client.begin().unwrap();
    update.want_all();
    client.drive(&mut update, &mut repo).unwrap();
    assert_eq!(update.all().len(), 6);
}

#[test]
fn without_consistent_snapshots_names_have_no_prefix() {
    let (mut repo, mut client) = start();
    repo.add("targets", "dir/a", b"a");
    repo.draft("root").set("consistent_snapshot", Json::Bool(false));
    repo.publish(&["root", "targets", "snapshot", "timestamp"]);
    for role in ["targets", "snapshot"] {
        let bytes = repo.files[&repo.file(role)].clone();
        repo.files.insert(format!("{role}.json"), bytes);
    }
    client.download(&mut repo, "dir/a").unwrap().unwrap();
    assert_eq!(repo.asked[2..], ["timestamp.json", "snapshot.json", "targets.json", "dir/a"]);
    // Another version than the one that is listed is refused by what it says.
    repo.publish(&["targets", "snapshot", "timestamp"]);
    assert!(matches!(why(client.refresh(&mut repo)), Why::Version(3)));
    repo.draft("root").set("consistent_snapshot", "yes".into());
    assert!(matches!(repo.drafts["root"].as_root(), Err(Why::Form(_))));
}

#[test]
fn a_request_says_for_which_version_it_is_whatever_the_files_are_called() {
    let (mut repo, client) = start();
    repo.draft("root").set("consistent_snapshot", Json::Bool(false));
    repo.publish(&["root", "targets", "snapshot", "timestamp"]);
    for role in ["targets", "snapshot"] {
        let bytes = repo.files[&repo.file(role)].clone();
        repo.files.insert(format!("{role}.json"), bytes);
    }
    let (mut update, mut asked) = (client.begin().unwrap(), Vec::new());
    while let Some(request) = update.next().unwrap() {
        asked.push((request.file.clone(), request.version));
        update.take(repo.files.get(&request.file).map(Vec::as_slice)).unwrap();
    }
    let files = ["2.root.json", "3.root.json", "timestamp.json", "snapshot.json", "targets.json"];
    let versions = [Some(2), Some(3), None, Some(2), Some(2)];
    assert_eq!(asked, files.map(str::to_owned).into_iter().zip(versions).collect::<Vec<_>>());
}

#[test]
fn a_target_never_lies_outside_of_its_folder() {
    let (mut repo, mut client) = start();
    for path in ["../x", "a/../x", "/x", "a//x", ".x", "a/.x", "x/"] {
        repo.add("targets", path, b"x");
    }
    repo.add("targets", "a b/ü?#", b"x");
    repo.publish(&["targets", "snapshot", "timestamp"]);
    for path in ["../x", "a/../x", "/x", "a//x", ".x", "a/.x", "x/"] {
        assert!(matches!(client.download(&mut repo, path).unwrap_err().why, Why::Path(_)), "{path}");
    }
    client.download(&mut repo, "a b/ü?#").unwrap();
    let hash = &Hashes::of(b"x").0["sha256"];
    assert_eq!(*repo.asked.last().unwrap(), format!("a%20b/{hash}.%C3%BC%3F%23"));
    assert_eq!(quote("aZ09_.-~/"), "aZ09_.-~%2F");
}

#[test]
fn an_edit_keeps_what_it_does_not_understand_and_drops_the_signatures() {
    let expires = Expiry(NOW);
    let mut draft = Draft::targets(expires);
    draft.set("x-other", Json::map([("a", 1.into())]));
    draft.delegate("owl", &[key(1).public()], 1, &["org.owl.*/*".into()], true).unwrap();
    draft.delegate("cat", &[key(1).public(), key(2).public()], 2, &["org.cat.*/*".into()], true).unwrap();
    draft.add_target("a/b", b"12", Some(Json::map([("k", "v".into())]))).unwrap();
    draft.sign(&key(3));
    let mut again = Draft::parse(&draft.to_bytes().unwrap(), TopRole::Targets).unwrap();
    assert_eq!(again.signers().collect::<Vec<_>>(), [tuf_key_id(&key(3).public())]);
    assert_eq!(again.expires(), Some(NOW));
    assert!(again.has_target("a/b") && !again.has_target("a"));
    again.next(Expiry(NOW + Duration::days(1))).unwrap();
    assert_eq!((again.version(), again.signers().count()), (2, 0));
    // Replacing a delegation keeps its place, and takes out keys that nobody has any more.
    again.delegate("owl", &[key(4).public()], 1, &["org.owl/*".into()], false).unwrap();
    let targets = again.as_targets().unwrap();
    let names: Vec<_> = targets.delegations().iter().map(|d| (d.name.as_str(), d.terminating)).collect();
    assert_eq!(names, [("owl", false), ("cat", true)]);
    assert_eq!(targets.keys(&targets.delegations()[0]), (vec![key(4).public()], 1));
    assert_eq!(targets.delegations()[0].patterns(), ["org.owl/*"]);
    again.delegate("cat", &[key(4).public()], 1, &["org.cat/*".into()], true).unwrap();
    let body = Json::parse(&again.to_bytes().unwrap()).unwrap();
    let Some(Json::Map(known)) = body.get("signed").unwrap().get("delegations").unwrap().get("keys") else { panic!() };
    assert_eq!(known.keys().collect::<Vec<_>>(), [&tuf_key_id(&key(4).public())]);
    assert_eq!(body.get("signed").unwrap().get("x-other").unwrap().get("a").unwrap().as_u64(), Some(1));
    for (threshold, keys) in [(0, 1), (2, 1), (3, 2)] {
        let keys: Vec<_> = (0..keys).map(|n| key(n).public()).collect();
        assert!(matches!(again.delegate("x", &keys, threshold, &[], true), Err(Why::Edit(_))), "{threshold}");
    }
    assert!(matches!(again.delegate("x", &[key(1).public(); 2], 2, &[], true), Err(Why::Edit(_))), "one key twice");
    assert!(matches!(again.delegate("root", &[key(1).public()], 1, &[], true), Err(Why::Edit(_))));
    // Every change drops the signatures.
    let edits: [fn(&mut Draft); 6] = [
        |d| d.set_version(7),
        |d| d.set("a", Json::Null),
        |d| drop(d.add_target("x/y", b"", None)),
        |d| drop(d.delegate("x", &[key(1).public()], 1, &[], true)),
        |d| drop(d.next(Expiry(NOW))),
        |d| d.remove_meta("x"),
    ];
    for edit in edits {
        again.sign(&key(3));
        edit(&mut again);
        assert_eq!(again.signers().count(), 0);
    }
    again.set_version(MAX_VERSION);
    assert!(matches!(again.next(expires), Err(Why::Forward)));
    let mut root = Draft::root(expires);
    root.sign(&key(3));
    root.set_role(TopRole::Root, &[key(1).public()], 1).unwrap();
    assert_eq!(root.signers().count(), 0);
    let mut snapshot = Draft::snapshot(expires);
    snapshot.sign(&key(3));
    snapshot.set_meta("a.json", &MetaFile { version: 1, length: None, hashes: None }).unwrap();
    assert_eq!(snapshot.signers().count(), 0);
}

#[test]
fn a_draft_knows_whether_it_is_signed_enough_and_short_enough() {
    let mut repo = Repo::new();
    repo.set_keys("targets", &[1, 2], 2);
    let root = repo.drafts["root"].as_root().unwrap();
    assert_eq!(root.keys(TopRole::Targets).1, 2);
    assert_eq!(root.keys(TopRole::Targets).0.len(), 2);
    let mut draft = Draft::targets(Expiry(NOW));
    draft.sign(&key(1));
    assert!(matches!(draft.signed_for(&root, TopRole::Targets), Err(Why::Threshold { signed: 1, .. })));
    draft.sign(&key(2));
    draft.signed_for(&root, TopRole::Targets).unwrap();
    let mut above = Draft::targets(Expiry(NOW));
    above.delegate("owl", &[key(1).public()], 1, &["*".into()], true).unwrap();
    let above = above.as_targets().unwrap();
    draft.signed_for_delegation(&above, "owl").unwrap();
    assert!(matches!(draft.signed_for_delegation(&above, "cat"), Err(Why::Form(_))));
    draft.set("x", "y".repeat(usize::try_from(MAX_TARGETS_BYTES).unwrap()).into());
    assert!(matches!(draft.to_bytes(), Err(Why::TooLong(MAX_TARGETS_BYTES))));
    let mut timestamp = Draft::timestamp(Expiry(NOW));
    timestamp.set("x", "y".repeat(usize::try_from(MAX_TIMESTAMP_BYTES).unwrap()).into());
    assert!(matches!(timestamp.to_bytes(), Err(Why::TooLong(MAX_TIMESTAMP_BYTES))));
    timestamp.set("x", "".into());
    let room = usize::try_from(MAX_TIMESTAMP_BYTES).unwrap() - timestamp.to_bytes().unwrap().len();
    timestamp.set("x", "y".repeat(room).into());
    assert_eq!(timestamp.to_bytes().unwrap().len() as u64, MAX_TIMESTAMP_BYTES, "to the last byte");
    assert!(matches!(Draft::parse(b"{}", TopRole::Root), Err(Why::Form(_))));
    let bytes = Draft::targets(Expiry(NOW)).to_bytes().unwrap();
    assert!(matches!(Draft::parse(&bytes, TopRole::Snapshot), Err(Why::Type(_))));
}

#[test]
fn plugins_lie_under_their_ids() {
    let id: fondaco_schemas::PluginId = "org.owl.shelf".parse().unwrap();
    let version = Version::parse("1.4.0-beta.1+b2").unwrap();
    let path = shelf::target_path(&id, &version);
    assert_eq!(path, "org.owl.shelf/org.owl.shelf-1.4.0-beta.1+b2.fondaco");
    assert_eq!(shelf::parse_path(&path), Some((id.clone(), version)));
    for other in [
        "org.owl.shelf/org.owl.shelf-1.4.0.tar",
        "org.owl.shelf/org.owl.shelf-1.4.fondaco",
        "org.owl.shelf/org.owl.cup-1.4.0.fondaco",
        "org.owl.shelf-1.4.0.fondaco",
        "a/org.owl.shelf/org.owl.shelf-1.4.0.fondaco",
        "org.owl.shelf/org.owl.shelf-01.4.0.fondaco",
        "org.owl.shelf/org.owl.shelf1.4.0.fondaco",
        "org.owl.shelf/org.owl.shelf-1.4.0fondaco",
        "",
    ] {
        assert_eq!(shelf::parse_path(other), None, "{other}");
    }
    let patterns = shelf::patterns(&"org.owl".parse().unwrap());
    let covered = |path: &str| patterns.iter().any(|pattern| super::pattern::matches(pattern, path));
    assert!(covered(&path) && covered("org.owl/org.owl-1.0.0.fondaco"));
    assert!(!covered("org.owlet/org.owlet-1.0.0.fondaco") && !covered("org/org-1.0.0.fondaco"));
}

#[test]
fn plugins_are_listed_by_version_with_what_they_work_with() {
    let (mut repo, mut client) = start();
    let id: fondaco_schemas::PluginId = "org.owl.shelf".parse().unwrap();
    for (version, api) in [("1.9.0", "^0.1"), ("1.10.0", "^0.1"), ("2.0.0", "^0.2"), ("2.1.0-rc.1", "^0.1")] {
        let custom = Json::map([("fondaco", Json::map([("api", api.into()), ("kind", "search".into())]))]);
        let path = shelf::target_path(&id, &Version::parse(version).unwrap());
        repo.draft("targets").add_target(&path, b"", Some(custom)).unwrap();
    }
    repo.add("targets", "readme.txt", b"");
    repo.add("targets", "org.owl.cup/org.owl.cup-1.0.0.fondaco", b"");
    repo.publish(&["targets", "snapshot", "timestamp"]);
    let mut update = client.begin().unwrap();
    update.want_all();
    client.drive(&mut update, &mut repo).unwrap();
    let plugins = shelf::plugins(&update);
    assert_eq!(plugins.len(), 2);
    let shelf = &plugins["org.owl.shelf"];
    let versions: Vec<String> = shelf.keys().map(ToString::to_string).collect();
    assert_eq!(versions, ["1.9.0", "1.10.0", "2.0.0", "2.1.0-rc.1"], "by their order, not by their letters");
    let fits = |offered: &[&str]| {
        let offered: Vec<Version> = offered.iter().map(|version| Version::parse(version).unwrap()).collect();
        shelf.values().map(|entry| entry.fits(&offered)).collect::<Vec<_>>()
    };
    assert_eq!(fits(&["0.1.0"]), [true, true, false, true]);
    assert_eq!(fits(&["0.2.3"]), [false, false, true, false]);
    assert_eq!(fits(&["0.1.0", "0.2.0"]), [true; 4]);
    assert_eq!(fits(&[]), [false; 4]);
    let cup = plugins["org.owl.cup"].values().next().unwrap();
    assert!(cup.fits(&[Version::new(9, 9, 9)]) && cup.says("kind").is_empty());
    assert_eq!(shelf.values().next().unwrap().says("kind"), "search");
    assert_eq!(cup.found.role, "targets");
}

#[test]
fn what_is_said_beside_a_bundle_is_what_its_manifest_says() {
    let request = "schema = 1\nid = \"org.owl.shelf\"\nversion = \"1.0.0\"\nkind = \"storefront\"\napi = \"^0.1\"\n\
                   component = \"a.wasm\"\nlicense = \"MIT\"\n[text.en]\nname = \"Shelf\"\nsummary = \"A window\"\n";
    let manifest = fondaco_schemas::Manifest::parse_request(request).unwrap();
    let said = shelf::custom(&manifest);
    let said = |what: &str| said.get("fondaco").unwrap().get(what).unwrap().as_text().unwrap().to_owned();
    assert_eq!(["kind", "api", "name", "summary"].map(said), ["storefront", "^0.1", "Shelf", "A window"]);
}
