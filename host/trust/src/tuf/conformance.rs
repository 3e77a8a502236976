//! The cases of <https://github.com/theupdateframework/tuf-conformance> (a list of cases for any client), each under its
//! own name and written anew for [`super::client`]. Which of them do not apply is in `host/decisions/registries.md`.

use time::Duration;

use super::error::Why;
use super::json::Json;
use super::metadata::{Hashes, MetaFile};
use super::simulator::{Client, NOW, Repo, TOP, key};

const ALL: [&str; 4] = ["root", "targets", "snapshot", "timestamp"];

fn start() -> (Repo, Client) {
    let repo = Repo::new();
    let client = Client::new(&repo);
    (repo, client)
}

/// A client that has seen everything in its first version.
fn fresh() -> (Repo, Client) {
    let (mut repo, mut client) = start();
    client.refresh(&mut repo).unwrap();
    repo.asked.clear();
    (repo, client)
}

/// The refresh is refused, with words that fit.
fn refused(client: &mut Client, repo: &mut Repo, words: &str) {
    let text = client.refresh(repo).map(|_| ()).expect_err("the refresh is refused").to_string();
    assert!(text.contains(words), "{text}");
}

mod basic {
    use super::*;

    #[test]
    fn basic_refresh_requests() {
        let (mut repo, mut client) = start();
        client.refresh(&mut repo).unwrap();
        assert_eq!(repo.asked, ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"]);
        repo.asked.clear();
        client.refresh(&mut repo).unwrap();
        assert_eq!(repo.asked, ["2.root.json", "timestamp.json"], "the rest was kept");
    }

    #[test]
    fn basic_refresh_trusted_data() {
        let (repo, client) = fresh();
        for role in TOP {
            assert_eq!(client.kept[&format!("{role}.json")], repo.files[&repo.file(role)], "{role}");
        }
    }

    #[test]
    fn implicit_refresh() {
        let (mut repo, mut client) = start();
        assert_eq!(client.download(&mut repo, "nonexistent artifact").unwrap(), None);
        assert_eq!(repo.asked, ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"]);
        assert_eq!(client.versions(), [Some(1); 4]);
    }

    #[test]
    fn invalid_initial_root() {
        let mut repo = Repo::new();
        repo.tamper("1.root.json", |map| {
            let Some(Json::Map(signed)) = map.get_mut("signed") else { panic!() };
            signed.remove("version");
        });
        let mut client = Client::new(&repo);
        refused(&mut client, &mut repo, "\"version\" is missing");
        assert!(repo.asked.is_empty());
    }

    #[test]
    fn unsigned_initial_root() {
        let mut repo = Repo::new();
        repo.tamper("1.root.json", |map| {
            let Some(Json::List(list)) = map.get_mut("signatures") else { panic!() };
            let Some(Json::Map(entry)) = list.first_mut() else { panic!() };
            entry.insert("sig".into(), "3045022100ee448afe2d25dd1f05afedac83a24e7d".into());
        });
        let mut client = Client::new(&repo);
        refused(&mut client, &mut repo, "0 of the 1 signatures that root demands");
        assert!(repo.asked.is_empty());
    }

    #[test]
    fn unsigned_metadata() {
        let cases: [(&str, [Option<u64>; 4]); 4] = [
            ("root", [Some(1), None, None, None]),
            ("timestamp", [Some(2), None, None, None]),
            ("snapshot", [Some(2), None, None, Some(2)]),
            ("targets", [Some(2), None, Some(2), Some(2)]),
        ];
        for (role, trusted) in cases {
            let (mut repo, mut client) = start();
            repo.signers.insert(role.into(), vec![]);
            repo.publish(&ALL);
            refused(&mut client, &mut repo, &format!("(role {role}, version 2): 0 of the 1 signatures"));
            assert_eq!(client.versions(), trusted, "{role}");
        }
    }

    #[test]
    fn url_and_metadata_version_mismatch() {
        let cases: [(&str, [Option<u64>; 4]); 3] = [
            ("root", [Some(1), None, None, None]),
            ("snapshot", [Some(2), None, None, Some(2)]),
            ("targets", [Some(2), None, Some(2), Some(2)]),
        ];
        for (role, trusted) in cases {
            let (mut repo, mut client) = start();
            for other in ALL {
                repo.publish(&[other]);
                if other == role {
                    // Version 3 under the name of version 2, which is what is listed.
                    let version = repo.version(role);
                    repo.draft(role).set_version(version + 1);
                    let keys = repo.signers[role].clone();
                    for n in &keys {
                        repo.draft(role).sign(&key(*n));
                    }
                    let bytes = repo.drafts[role].to_bytes().unwrap();
                    repo.files.insert(format!("2.{role}.json"), bytes);
                    repo.draft(role).set_version(version);
                }
            }
            refused(&mut client, &mut repo, &format!("(role {role}, version 3): version 2 was expected"));
            assert_eq!(client.versions(), trusted, "{role}");
        }
    }

    #[test]
    fn timestamp_content_changes() {
        let (mut repo, mut client) = fresh();
        repo.draft("timestamp")
            .set_meta("snapshot.json", &MetaFile { version: 100, length: None, hashes: None })
            .unwrap();
        repo.write("timestamp");
        let update = client.refresh(&mut repo).unwrap();
        assert_eq!(repo.asked.last().unwrap(), "timestamp.json", "version 100 of the snapshot is not asked for");
        assert!(update.forked(), "two timestamps of one version are worth a word");
        assert!(!client.kept["timestamp.json"].windows(3).any(|w| w == b"100"));
    }

    #[test]
    fn basic_metadata_hash_support() {
        let (mut repo, mut client) = start();
        repo.hashes = true;
        repo.publish(&["targets", "snapshot", "timestamp"]);
        client.refresh(&mut repo).unwrap();
        assert_eq!(client.versions(), [Some(1), Some(2), Some(2), Some(2)]);
    }

    fn wrong() -> MetaFile {
        let hashes = Some(Hashes([("sha256".to_owned(), "0".repeat(64))].into()));
        MetaFile { version: 3, length: None, hashes }
    }

    #[test]
    fn targets_hash_mismatch() {
        let (mut repo, mut client) = start();
        repo.hashes = true;
        repo.publish(&["targets", "snapshot", "timestamp"]);
        client.refresh(&mut repo).unwrap();
        repo.publish(&["targets"]);
        repo.draft("snapshot").set_meta("targets.json", &wrong()).unwrap();
        repo.publish(&["snapshot", "timestamp"]);
        refused(&mut client, &mut repo, "3.targets.json (role targets, version 3): it has another SHA-256 digest");
        assert_eq!(client.versions(), [Some(1), Some(2), Some(3), Some(3)]);
    }

    #[test]
    fn snapshot_hash_mismatch() {
        let (mut repo, mut client) = start();
        repo.hashes = true;
        repo.publish(&["snapshot", "timestamp"]);
        client.refresh(&mut repo).unwrap();
        repo.publish(&["snapshot"]);
        repo.draft("timestamp").set_meta("snapshot.json", &wrong()).unwrap();
        repo.publish(&["timestamp"]);
        refused(&mut client, &mut repo, "3.snapshot.json (role snapshot, version 3): it has another SHA-256 digest");
        assert_eq!(client.versions(), [Some(1), Some(1), Some(2), Some(3)]);
    }

    #[test]
    fn metadata_bytes_match() {
        let (mut repo, mut client) = start();
        repo.files.get_mut("timestamp.json").unwrap().extend(b"  \n ");
        client.refresh(&mut repo).unwrap();
        assert_eq!(client.kept["timestamp.json"], repo.files["timestamp.json"]);
    }

    #[test]
    fn custom_fields() {
        let (mut repo, mut client) = fresh();
        repo.draft("root").set("custom-field", Json::map([("a", 1.into()), ("b", "ü\n".into())]));
        repo.publish(&["root"]);
        client.refresh(&mut repo).unwrap();
        assert_eq!(client.version("root"), Some(2));
        // They are signed with the rest.
        repo.publish(&["root"]);
        repo.tamper("3.root.json", |map| {
            let Some(Json::Map(signed)) = map.get_mut("signed") else { panic!() };
            signed.insert("custom-field".into(), "another".into());
        });
        refused(&mut client, &mut repo, "0 of the 1 signatures");
    }

    #[test]
    fn custom_fields_of_keys_and_roles() {
        let (mut repo, mut client) = fresh();
        let number = repo.new_key();
        let key_json = Json::map([
            ("extra-field", Json::map([("a", 1.into())])),
            ("keytype", "ed25519".into()),
            ("scheme", "ed25519".into()),
            ("keyval", Json::map([("public", key(number).public().to_string().into())])),
        ]);
        let id = data_encoding::HEXLOWER.encode(&crate::keys::sha256(&key_json.canonical()));
        extra_snapshot_key(&mut repo, &id, key_json);
        repo.publish(&["root", "snapshot", "timestamp"]);
        client.refresh(&mut repo).unwrap();
        assert_eq!(client.versions(), [Some(2), Some(1), Some(2), Some(2)]);
    }

    #[test]
    fn deprecated_keyid_hash_algorithms() {
        let (mut repo, mut client) = fresh();
        let number = repo.new_key();
        let key_json = Json::map([
            ("keyid_hash_algorithms", "md5".into()),
            ("keytype", "ed25519".into()),
            ("scheme", "ed25519".into()),
            ("keyval", Json::map([("public", key(number).public().to_string().into())])),
        ]);
        // Of the three fields of the specification alone.
        let id = super::super::tuf_key_id(&key(number).public());
        extra_snapshot_key(&mut repo, &id, key_json);
        repo.publish(&["root", "snapshot", "timestamp"]);
        client.refresh(&mut repo).unwrap();
        assert_eq!(client.versions(), [Some(2), Some(1), Some(2), Some(2)]);
    }

    /// One more key for the snapshot, as it stands.
    fn extra_snapshot_key(repo: &mut Repo, id: &str, key_json: Json) {
        let file = Json::parse(&repo.drafts["root"].to_bytes().unwrap()).unwrap();
        let signed = file.get("signed").unwrap();
        let (Json::Map(mut keys), Json::Map(mut roles)) =
            (signed.get("keys").unwrap().clone(), signed.get("roles").unwrap().clone())
        else {
            panic!()
        };
        keys.insert(id.to_owned(), key_json);
        let Some(Json::Map(role)) = roles.get_mut("snapshot") else { panic!() };
        role.insert("another-field".into(), "value".into());
        let Some(Json::List(ids)) = role.get_mut("keyids") else { panic!() };
        ids.push(id.into());
        repo.draft("root").set("keys", Json::Map(keys));
        repo.draft("root").set("roles", Json::Map(roles));
    }

    #[test]
    fn snapshot_404() {
        let (mut repo, mut client) = fresh();
        repo.draft("timestamp")
            .set_meta("snapshot.json", &MetaFile { version: 2, length: None, hashes: None })
            .unwrap();
        repo.publish(&["timestamp"]);
        refused(&mut client, &mut repo, "2.snapshot.json (role snapshot, version 2): the registry does not have it");
        assert_eq!(client.versions(), [Some(1), Some(1), Some(1), Some(2)]);
    }

    #[test]
    fn targets_404() {
        let (mut repo, mut client) = fresh();
        repo.draft("snapshot").set_meta("targets.json", &MetaFile { version: 2, length: None, hashes: None }).unwrap();
        repo.publish(&["snapshot", "timestamp"]);
        refused(&mut client, &mut repo, "2.targets.json (role targets, version 2): the registry does not have it");
        assert_eq!(client.versions(), [Some(1), Some(1), Some(2), Some(2)]);
    }

    #[test]
    fn timestamp_404() {
        let (mut repo, mut client) = fresh();
        repo.files.remove("timestamp.json");
        refused(&mut client, &mut repo, "timestamp.json (role timestamp): the registry does not have it");
        assert_eq!(repo.asked.last().unwrap(), "timestamp.json");
    }

    #[test]
    fn incorrect_metadata_type() {
        let (mut repo, mut client) = start();
        // A snapshot with the form and the signature of a timestamp.
        repo.set_keys("snapshot", &[2, 3], 1);
        repo.signers.insert("snapshot".into(), vec![2, 3]);
        repo.draft("snapshot").remove_meta("targets.json");
        repo.draft("snapshot").set_meta("snapshot.json", &MetaFile { version: 1, length: None, hashes: None }).unwrap();
        repo.publish(&["root", "snapshot"]);
        let bytes = repo.files.remove("2.snapshot.json").unwrap();
        repo.files.insert("timestamp.json".into(), bytes);
        refused(&mut client, &mut repo, "it says that it is of type \"snapshot\"");
        assert_eq!(client.versions(), [Some(2), None, None, None]);
    }

    #[test]
    fn faketime() {
        let (mut repo, mut client) = start();
        repo.publish_until("root", NOW + Duration::days(7));
        client.refresh(&mut repo).unwrap();
        client.now = NOW + Duration::days(8);
        refused(&mut client, &mut repo, "root.json (role root, version 2): it expired at");
    }
}

mod expiration {
    use super::*;

    fn yesterday() -> time::OffsetDateTime {
        NOW - Duration::days(1)
    }

    #[test]
    fn root_expired() {
        let (mut repo, mut client) = fresh();
        repo.publish(&["root"]);
        client.refresh(&mut repo).unwrap();
        repo.publish_until("root", yesterday());
        repo.publish(&["targets", "snapshot", "timestamp"]);
        refused(&mut client, &mut repo, "root.json (role root, version 3): it expired");
        assert_eq!(client.versions(), [Some(3), Some(1), Some(1), Some(1)]);
    }

    #[test]
    fn timestamp_expired() {
        let (mut repo, mut client) = fresh();
        repo.publish_until("timestamp", yesterday());
        refused(&mut client, &mut repo, "timestamp.json (role timestamp, version 2): it expired");
        assert_eq!(client.versions(), [Some(1); 4]);
    }

    #[test]
    fn snapshot_expired() {
        let (mut repo, mut client) = fresh();
        repo.publish_until("snapshot", yesterday());
        repo.publish(&["timestamp"]);
        refused(&mut client, &mut repo, "2.snapshot.json (role snapshot, version 2): it expired");
        assert_eq!(client.versions(), [Some(1), Some(1), Some(1), Some(2)]);
    }

    #[test]
    fn targets_expired() {
        let (mut repo, mut client) = fresh();
        repo.publish_until("targets", yesterday());
        repo.publish(&["snapshot", "timestamp"]);
        refused(&mut client, &mut repo, "2.targets.json (role targets, version 2): it expired");
        assert_eq!(client.versions(), [Some(1), Some(1), Some(2), Some(2)]);
    }

    #[test]
    fn expired_local_root() {
        let (mut repo, mut client) = start();
        repo.publish_until("root", NOW + Duration::days(7));
        client.refresh(&mut repo).unwrap();
        repo.publish_until("root", NOW + Duration::days(21));
        client.now = NOW + Duration::days(18);
        client.refresh(&mut repo).unwrap();
        assert_eq!(client.version("root"), Some(3));
    }

    #[test]
    fn expired_local_timestamp() {
        let (mut repo, mut client) = start();
        repo.publish_until("timestamp", NOW + Duration::days(7));
        client.refresh(&mut repo).unwrap();
        repo.publish(&["targets", "snapshot"]);
        repo.publish_until("timestamp", NOW + Duration::days(21));
        client.now = NOW + Duration::days(18);
        client.refresh(&mut repo).unwrap();
        assert_eq!(client.versions(), [Some(1), Some(2), Some(2), Some(3)]);
    }

    #[test]
    fn a_timestamp_that_is_shown_again_and_again_expires() {
        let (mut repo, mut client) = fresh();
        client.now = NOW + Duration::days(31);
        repo.publish(&["root"]);
        repo.publish_until("root", NOW + Duration::days(60));
        refused(&mut client, &mut repo, "timestamp.json (role timestamp, version 1): it expired");
    }
}

mod file_download {
    use super::*;

    fn with_target(path: &str, bytes: &[u8]) -> (Repo, Client) {
        let (mut repo, client) = start();
        repo.add("targets", path, bytes);
        repo.publish(&["targets", "snapshot", "timestamp"]);
        (repo, client)
    }

    #[test]
    fn client_downloads_expected_file() {
        let (mut repo, mut client) = with_target("target_file.txt", b"target file contents");
        client.refresh(&mut repo).unwrap();
        assert!(client.downloads.is_empty());
        assert_eq!(client.download(&mut repo, "target_file.txt").unwrap().unwrap(), b"target file contents");
    }

    #[test]
    fn client_downloads_expected_file_in_sub_dir() {
        let (mut repo, mut client) = with_target("path/to/a/target file.txt", b"target file contents");
        assert_eq!(client.download(&mut repo, "path/to/a/target file.txt").unwrap().unwrap(), b"target file contents");
        let hash = &Hashes::of(b"target file contents").0["sha256"];
        assert_eq!(*repo.asked.last().unwrap(), format!("path/to/a/{hash}.target%20file.txt"));
    }

    #[test]
    fn repository_substitutes_target_file() {
        let (mut repo, mut client) = with_target("target_file.txt", b"target file contents");
        repo.add("targets", "another_target_file.txt", b"content");
        repo.publish(&["targets", "snapshot", "timestamp"]);
        client.download(&mut repo, "target_file.txt").unwrap();
        for (path, length) in [("target_file.txt", 20), ("another_target_file.txt", 7)] {
            repo.artifacts.insert(path.into(), b"malicious data - should not download".to_vec());
            let text = client.download(&mut repo, path).unwrap_err().to_string();
            assert!(text.contains("are signed for"), "{text}");
            repo.artifacts.insert(path.into(), vec![b'x'; length]);
            let text = client.download(&mut repo, path).unwrap_err().to_string();
            assert!(text.contains("another SHA-256 digest"), "{text}");
        }
        assert_eq!(client.downloads, [b"target file contents"]);
    }

    #[test]
    fn multiple_changes_to_target() {
        let (mut repo, mut client) = with_target("target_file.txt", b"target file contents");
        for i in 0..11 {
            let contents = format!("modified file contents {i}").into_bytes();
            repo.add("targets", "target_file.txt", &contents);
            repo.add("targets", &format!("new-target-{i}"), b"new");
            repo.publish(&["targets", "snapshot", "timestamp"]);
            if i % 5 == 0 {
                assert_eq!(client.download(&mut repo, "target_file.txt").unwrap().unwrap(), contents);
                assert_eq!(client.download(&mut repo, &format!("new-target-{i}")).unwrap().unwrap(), b"new");
                repo.artifacts.insert("target_file.txt".into(), format!("malicious contents {i}").into_bytes());
                repo.publish(&["targets", "snapshot", "timestamp"]);
                assert!(client.download(&mut repo, "target_file.txt").is_err());
            }
        }
    }

    fn digests(names: &[&str], bytes: &[u8]) -> Json {
        let hash = |name: &&str| {
            let algorithm = if name.contains("512") { &ring::digest::SHA512 } else { &ring::digest::SHA256 };
            let digest = ring::digest::digest(algorithm, bytes);
            ((*name).to_owned(), Json::Text(data_encoding::HEXLOWER.encode(digest.as_ref())))
        };
        let hashes = Json::Map(names.iter().map(hash).collect());
        Json::map([("length", (bytes.len() as u64).into()), ("hashes", hashes)])
    }

    #[test]
    fn download_with_hash_algorithms() {
        for names in [vec!["sha256"], vec!["sha512"], vec!["sha256", "sha512"]] {
            let (mut repo, mut client) = with_target("target_file.txt", b"target file contents");
            repo.draft("targets").set_target("target_file.txt", digests(&names, b"target file contents")).unwrap();
            repo.publish(&["targets", "snapshot", "timestamp"]);
            assert!(client.download(&mut repo, "target_file.txt").unwrap().is_some(), "{names:?}");
            // Each of them counts.
            for name in &names {
                let mut entry = digests(&names, b"target file contents");
                let Json::Map(map) = &mut entry else { panic!() };
                let Some(Json::Map(hashes)) = map.get_mut("hashes") else { panic!() };
                hashes.insert((*name).to_owned(), "00".repeat(if *name == "sha256" { 32 } else { 64 }).into());
                repo.draft("targets").set_target("target_file.txt", entry).unwrap();
                repo.publish(&["targets", "snapshot", "timestamp"]);
                let refused = client.download(&mut repo, "target_file.txt").unwrap_err();
                assert!(matches!(refused.why, Why::Digest(_)), "{names:?}: {refused}");
            }
        }
    }

    #[test]
    fn download_with_unknown_hash_algorithm() {
        let (mut repo, mut client) = with_target("target_file.txt", b"target file contents");
        repo.draft("targets")
            .set_target("target_file.txt", digests(&["unknown-512"], b"target file contents"))
            .unwrap();
        repo.publish(&["targets", "snapshot", "timestamp"]);
        let refused = client.download(&mut repo, "target_file.txt").unwrap_err();
        assert!(matches!(refused.why, Why::NoDigest), "{refused}");
    }
}

mod keys {
    use super::*;

    #[test]
    fn snapshot_does_not_meet_threshold() {
        let (mut repo, mut client) = start();
        repo.set_keys("snapshot", &[2, 11, 12], 3);
        repo.signers.insert("snapshot".into(), vec![2, 11, 12]);
        repo.publish(&ALL);
        client.refresh(&mut repo).unwrap();
        repo.signers.insert("snapshot".into(), vec![2, 11]);
        repo.publish(&["targets", "snapshot", "timestamp"]);
        refused(&mut client, &mut repo, "2 of the 3 signatures that root demands");
        assert_eq!(client.version("snapshot"), Some(2));
    }

    /// A role of the root, as it stands: [`super::super::Draft::set_role`] would refuse it.
    fn set_role(repo: &mut Repo, role: &str, ids: Vec<Json>, threshold: u64) {
        let file = Json::parse(&repo.drafts["root"].to_bytes().unwrap()).unwrap();
        let Json::Map(mut roles) = file.get("signed").unwrap().get("roles").unwrap().clone() else { panic!() };
        roles.insert(role.into(), Json::map([("keyids", Json::List(ids)), ("threshold", threshold.into())]));
        repo.draft("root").set("roles", Json::Map(roles));
    }

    #[test]
    fn snapshot_has_too_few_keys() {
        let (mut repo, mut client) = fresh();
        let numbers = [2, 11, 12, 13, 14];
        repo.set_keys("snapshot", &numbers, 5);
        let ids = numbers.map(|n| super::super::tuf_key_id(&key(n).public()).into());
        set_role(&mut repo, "snapshot", ids.into(), 6);
        repo.signers.insert("snapshot".into(), numbers.into());
        repo.publish(&["root", "snapshot", "timestamp"]);
        refused(&mut client, &mut repo, "5 of the 6 signatures");
        assert_eq!((client.version("root"), client.version("snapshot")), (Some(2), Some(1)));
    }

    #[test]
    fn duplicate_keys() {
        let (mut repo, mut client) = start();
        repo.set_keys("snapshot", &[2, 11], 1);
        repo.signers.insert("snapshot".into(), vec![11]);
        let id = super::super::tuf_key_id(&key(11).public());
        set_role(&mut repo, "snapshot", vec![id.as_str().into(); 9], 6);
        repo.publish(&["root", "snapshot", "timestamp"]);
        refused(&mut client, &mut repo, "a role lists a key twice");
        assert_eq!(client.version("snapshot"), None);
    }

    #[test]
    fn duplicate_sig_keyids() {
        let (mut repo, mut client) = start();
        repo.tamper("1.snapshot.json", |map| {
            let Some(Json::List(list)) = map.get_mut("signatures") else { panic!() };
            list.push(list[0].clone());
        });
        refused(&mut client, &mut repo, "one key signs twice");
        assert_eq!(client.version("snapshot"), None);
    }

    #[test]
    fn keytype_and_scheme() {
        let (mut repo, mut client) = fresh();
        repo.set_keys("root", &[0, 11], 2);
        repo.signers.insert("root".into(), vec![0, 11]);
        repo.publish(&["root"]);
        client.refresh(&mut repo).unwrap();
        assert_eq!(client.version("root"), Some(2));
        repo.publish(&["root"]);
        repo.tamper("3.root.json", |map| {
            let Some(Json::List(list)) = map.get_mut("signatures") else { panic!() };
            let Some(Json::Map(entry)) = list.first_mut() else { panic!() };
            entry.insert("sig".into(), "b6".repeat(64).into());
        });
        refused(&mut client, &mut repo, "1 of the 2 signatures");
        assert_eq!(client.version("root"), Some(2));
    }

    #[test]
    fn invalid_sig_in_valid_metadata() {
        let (mut repo, mut client) = start();
        repo.set_keys("timestamp", &[3, 11], 1);
        repo.signers.insert("timestamp".into(), vec![3, 11]);
        let other = super::super::tuf_key_id(&key(11).public());
        for bad in ["b6".repeat(64), String::new(), "no hexadecimal".into()] {
            repo.publish(&["root", "timestamp"]);
            repo.tamper("timestamp.json", |map| {
                let Some(Json::List(list)) = map.get_mut("signatures") else { panic!() };
                for entry in list {
                    let Json::Map(entry) = entry else { panic!() };
                    if entry["keyid"].as_text() == Some(&other) {
                        entry.insert("sig".into(), bad.as_str().into());
                    }
                }
            });
            client.refresh(&mut repo).unwrap();
            assert_eq!(client.version("timestamp"), Some(repo.version("timestamp")));
        }
    }
}

mod quoting {
    use super::*;

    #[test]
    fn unusual_role_name() {
        for (role, quoted) in [
            ("?", "%3F"),
            ("#", "%23"),
            ("/delegatedrole", "%2Fdelegatedrole"),
            ("../delegatedrole", "..%2Fdelegatedrole"),
        ] {
            let (mut repo, mut client) = start();
            repo.delegate("targets", role, &["*"], false);
            repo.publish(&[role, "targets", "snapshot", "timestamp"]);
            assert_eq!(client.download(&mut repo, "nonexistent target").unwrap(), None);
            assert_eq!(*repo.asked.last().unwrap(), format!("2.{quoted}.json"));
            assert_eq!(client.kept.len(), 5);
            assert!(client.kept.keys().all(|name| !name.contains('/')));
        }
    }
}

mod rollback {
    use super::*;

    #[test]
    fn new_timestamp_version_rollback() {
        let (mut repo, mut client) = start();
        repo.publish(&["timestamp"]);
        client.refresh(&mut repo).unwrap();
        repo.draft("timestamp").set_version(1);
        repo.write("timestamp");
        refused(&mut client, &mut repo, "timestamp.json (role timestamp, version 1): it is older than version 2");
        assert_eq!(client.version("timestamp"), Some(2));
    }

    #[test]
    fn snapshot_rollback() {
        for hashes in [false, true] {
            let (mut repo, mut client) = start();
            repo.hashes = hashes;
            repo.publish(&["snapshot", "timestamp"]);
            client.refresh(&mut repo).unwrap();
            repo.draft("snapshot").set_version(1);
            repo.write("snapshot");
            repo.publish(&["timestamp"]);
            refused(&mut client, &mut repo, "it lists \"snapshot.json\" with version 1, and version 2 was seen before");
            assert_eq!(client.versions(), [Some(1), Some(1), Some(2), Some(2)]);
            assert_eq!(repo.asked.last().unwrap(), "timestamp.json");
        }
    }

    #[test]
    fn targets_role_removal() {
        let (mut repo, mut client) = start();
        repo.delegate("targets", "delegated", &["delegatedpath/*"], false);
        repo.publish(&["delegated", "targets", "snapshot", "timestamp"]);
        client.refresh(&mut repo).unwrap();
        repo.draft("snapshot").remove_meta("delegated.json");
        repo.publish(&["snapshot", "timestamp"]);
        refused(&mut client, &mut repo, "it lists \"delegated.json\" no more, and version 2 was seen before");
        assert_eq!(client.version("snapshot"), Some(2));
    }

    #[test]
    fn targets_fast_forward_recovery() {
        let (mut repo, mut client) = start();
        repo.delegate("targets", "delegated", &["delegatedpath/*"], false);
        repo.publish(&["delegated"]);
        repo.draft("targets").set_version(99);
        repo.publish(&["targets", "snapshot", "timestamp"]);
        client.refresh(&mut repo).unwrap();
        assert_eq!(client.version("targets"), Some(100));
        repo.rotate("snapshot");
        repo.draft("targets").set_version(1);
        repo.write("targets");
        repo.draft("snapshot").remove_meta("delegated.json");
        repo.publish(&["root", "snapshot", "timestamp"]);
        client.refresh(&mut repo).unwrap();
        assert_eq!(client.version("targets"), Some(1));
    }

    #[test]
    fn new_snapshot_fast_forward_recovery() {
        let (mut repo, mut client) = start();
        repo.draft("snapshot").set_version(99);
        repo.publish(&["snapshot", "timestamp"]);
        client.refresh(&mut repo).unwrap();
        assert_eq!(client.version("snapshot"), Some(100));
        repo.rotate("snapshot");
        repo.rotate("timestamp");
        repo.draft("snapshot").set_version(1);
        repo.write("snapshot");
        repo.publish(&["root", "timestamp"]);
        client.refresh(&mut repo).unwrap();
        assert_eq!(client.version("snapshot"), Some(1));
    }

    #[test]
    fn new_timestamp_fast_forward_recovery() {
        let (mut repo, mut client) = start();
        repo.draft("timestamp").set_version(99);
        repo.publish(&["timestamp"]);
        client.refresh(&mut repo).unwrap();
        assert_eq!(client.version("timestamp"), Some(100));
        repo.rotate("timestamp");
        repo.draft("timestamp").set_version(1);
        repo.write("timestamp");
        repo.publish(&["root"]);
        client.refresh(&mut repo).unwrap();
        assert_eq!(client.version("timestamp"), Some(1));
    }

    #[test]
    fn targets_rollback() {
        for hashes in [false, true] {
            let (mut repo, mut client) = start();
            repo.hashes = hashes;
            repo.publish(&["targets", "snapshot", "timestamp"]);
            client.refresh(&mut repo).unwrap();
            repo.draft("targets").set_version(1);
            repo.write("targets");
            repo.publish(&["snapshot", "timestamp"]);
            refused(&mut client, &mut repo, "it lists \"targets.json\" with version 1, and version 2 was seen before");
            assert_eq!((client.version("snapshot"), client.version("targets")), (Some(2), Some(2)));
        }
    }
}

mod key_rotations {
    use super::*;

    /// Keys, threshold, and who signs.
    type Version = (&'static [u8], u64, &'static [u8]);

    fn roots(name: &str, versions: &[Version], good: bool) {
        let mut repo = Repo::new();
        repo.files.remove("1.root.json");
        for (i, (keys, threshold, signers)) in versions.iter().enumerate() {
            // Keys 20 and up, so that no other role has them.
            let numbers = |list: &[u8]| list.iter().map(|n| n + 20).collect::<Vec<_>>();
            repo.set_keys("root", &numbers(keys), *threshold);
            repo.signers.insert("root".into(), numbers(signers));
            if i == 0 { repo.write("root") } else { repo.publish(&["root"]) }
        }
        repo.publish(&["targets", "snapshot", "timestamp"]);
        let mut client = Client::new(&repo);
        assert_eq!(client.refresh(&mut repo).is_ok(), good, "{name}");
        let last = repo.version("root");
        assert_eq!(client.version("root"), Some(if good { last } else { last - 1 }), "{name}");
    }

    #[test]
    fn root_rotation() {
        let five: &[u8] = &[0, 1, 2, 3, 4];
        roots("1-of-1", &[(&[1], 1, &[1]), (&[2], 1, &[2, 1]), (&[2], 1, &[2])], true);
        let unused: [Version; 3] = [(&[1], 1, &[3, 1, 4]), (&[2], 1, &[3, 2, 1, 4]), (&[2], 1, &[3, 2, 4])];
        roots("1-of-1, unused signatures", &unused, true);
        let combos: [Version; 4] =
            [(five, 3, &[0, 2, 4]), (five, 3, &[0, 4, 1]), (five, 3, &[0, 1, 3]), (five, 3, &[0, 1, 3])];
        roots("3-of-5, different combinations", &combos, true);
        roots("3-of-5, one rotated", &[(five, 3, &[0, 2, 4]), (&[0, 1, 3, 4, 5], 3, &[0, 4, 1])], true);
        let step: [Version; 3] =
            [(five, 3, &[0, 2, 4]), (&[0, 1, 3, 4, 5], 3, &[0, 2, 4, 5]), (&[0, 1, 3, 4, 5], 3, &[0, 4, 5])];
        roots("3-of-5, one rotated with a step between", &step, true);
        let all: [Version; 3] =
            [(five, 3, &[0, 2, 4]), (&[5, 6, 7, 8, 9], 3, &[0, 2, 4, 5, 6, 7]), (&[5, 6, 7, 8, 9], 3, &[5, 6, 7])];
        roots("3-of-5, all rotated with a step between", &all, true);
        roots("threshold up", &[(&[1, 2, 3], 1, &[1]), (&[1, 2, 3], 2, &[1, 2])], true);
        roots("threshold down", &[(&[1, 2, 3], 2, &[1, 2]), (&[1, 2, 3], 1, &[1, 2]), (&[1, 2, 3], 1, &[1])], true);
        roots("threshold and keys up", &[(&[1], 1, &[1]), (&[1, 2], 2, &[1, 2])], true);
    }

    #[test]
    fn root_rotation_that_fails() {
        let five: &[u8] = &[0, 1, 2, 3, 4];
        roots("not signed with the old key", &[(&[1], 1, &[1]), (&[2], 1, &[2, 3, 4])], false);
        roots("not signed with the new key", &[(&[1], 1, &[1]), (&[2], 1, &[1, 3, 4])], false);
        roots("not with 3 new keys", &[(five, 3, &[0, 2, 4]), (&[0, 1, 3, 4, 5], 3, &[0, 2, 4])], false);
        roots("not with 3 old keys", &[(five, 3, &[0, 2, 4]), (&[0, 1, 3, 4, 5], 3, &[0, 4, 5])], false);
        roots("new threshold not reached", &[(&[1, 2, 3], 1, &[1]), (&[1, 2, 3], 2, &[2])], false);
        roots("old threshold not reached", &[(&[1, 2, 3], 2, &[1, 2]), (&[1, 2, 3], 1, &[1])], false);
    }

    #[test]
    fn non_root_rotations() {
        let five: &[u8] = &[0, 1, 2, 3, 4];
        let cases: [(&str, Version, bool); 10] = [
            ("rotated", (&[2], 1, &[2]), true),
            ("unused signatures", (&[1], 1, &[3, 1, 4]), true),
            ("not signed with the new key", (&[2], 1, &[1, 3, 4]), false),
            ("one signature of a key that went", (&[0, 1, 3, 4, 5], 3, &[0, 2, 4]), false),
            ("too few", (&[0, 1, 3, 4, 5], 3, &[0, 4]), false),
            ("3-of-5, first", (five, 3, &[0, 2, 4]), true),
            ("3-of-5, second", (five, 3, &[0, 4, 1]), true),
            ("3-of-5, third", (five, 3, &[0, 1, 3]), true),
            ("3-of-5, fourth", (five, 3, &[1, 2, 3]), true),
            ("3-of-5, fifth", (five, 3, &[2, 3, 4]), true),
        ];
        for (name, (keys, threshold, signers), good) in cases {
            let (mut repo, mut client) = start();
            for role in ["timestamp", "snapshot", "targets"] {
                let numbers = |list: &[u8]| list.iter().map(|n| n + 20).collect::<Vec<_>>();
                repo.set_keys(role, &numbers(keys), threshold);
                repo.signers.insert(role.into(), numbers(signers));
                repo.publish(&ALL);
                assert_eq!(client.refresh(&mut repo).is_ok(), good, "{name}, {role}");
                if good {
                    assert_eq!(client.version(role), Some(repo.version(role)), "{name}, {role}");
                }
            }
        }
    }
}

mod delegation_graphs {
    use super::*;

    /// From, to, patterns, terminating.
    type Edge = (&'static str, &'static str, &'static [&'static str], bool);

    fn graph(edges: &[Edge]) -> (Repo, Client) {
        let (mut repo, client) = start();
        let mut roles = Vec::new();
        for (from, to, patterns, terminating) in edges {
            repo.delegate(from, to, patterns, *terminating);
            for role in [*to, *from] {
                if !roles.contains(&role) {
                    roles.push(role);
                }
            }
        }
        roles.extend(["snapshot", "timestamp"]);
        repo.publish(&roles);
        (repo, client)
    }

    fn visited(name: &str, edges: &[Edge], expect: &[&str]) {
        let (mut repo, mut client) = graph(edges);
        assert_eq!(client.download(&mut repo, "missingpath").unwrap(), None, "{name}");
        let expect: Vec<String> = expect.iter().map(|role| format!("2.{role}.json")).collect();
        assert_eq!(repo.asked[4..], expect, "{name}");
    }

    const ANY: &[&str] = &["*"];
    const PY: &[&str] = &["*.py"];

    #[test]
    fn graph_traversal() {
        let (a, b) = (("targets", "A", ANY, false), ("targets", "B", ANY, false));
        visited("basic", &[a], &["A"]);
        visited("one level", &[a, b], &["A", "B"]);
        visited("two levels", &[a, b, ("B", "C", ANY, false)], &["A", "B", "C"]);
        let deep = [a, b, ("A", "C", ANY, false), ("A", "D", ANY, false)];
        visited("two levels, depth first", &deep, &["A", "C", "D", "B"]);
        let deep = [a, b, ("A", "C", ANY, false), ("C", "D", ANY, false)];
        visited("three levels, depth first", &deep, &["A", "C", "D", "B"]);
        let ends = [a, b, ("A", "C", ANY, true), ("A", "D", ANY, false)];
        visited("two levels, terminating", &ends, &["A", "C"]);
        let ends = [a, b, ("A", "C", ANY, true), ("C", "D", ANY, false)];
        visited("three levels, terminating", &ends, &["A", "C", "D"]);
        let other = [("targets", "A", PY, false), b, ("A", "C", ANY, false)];
        visited("two levels, other paths", &other, &["B"]);
        let other = [a, b, ("A", "C", PY, false), ("C", "D", ANY, false)];
        visited("three levels, other paths", &other, &["A", "B"]);
        let circle = [a, b, ("B", "C", ANY, false), ("C", "D", ANY, false), ("D", "B", ANY, false)];
        visited("a circle", &circle, &["A", "B", "C", "D"]);
        let diamond = [a, b, ("B", "C", ANY, false), ("A", "C", ANY, false)];
        visited("two delegate to a third", &diamond, &["A", "C", "B"]);
        let diamond = [a, b, ("B", "C", ANY, false), ("A", "C", PY, false)];
        visited("two delegate different paths to a third", &diamond, &["A", "B", "C"]);
    }

    #[test]
    fn targetfile_search() {
        let edges: [Edge; 4] = [
            ("targets", "A", &["*.doc", "*.md", "foo-?.tgz"], false),
            ("targets", "B", &["releases/*/*"], false),
            ("B", "C", &["releases/x/*"], false),
            ("B", "D", &["releases/y/*.zip"], false),
        ];
        let cases: [(&str, bool, &[&str]); 9] = [
            ("targetfile", true, &[]),
            ("README.md", true, &["A"]),
            ("releases/x/x_v1", true, &["B", "C"]),
            ("releases/y/y_v1.zip", true, &["B", "D"]),
            ("releases/z/z_v1.zip", false, &["B"]),
            ("releases/README.md", false, &[]),
            ("foo-1.tgz", true, &["A"]),
            ("foo-alpha.tgz", false, &[]),
            ("README.MD", false, &[]),
        ];
        for (path, is_found, roles) in cases {
            let (mut repo, mut client) = graph(&edges);
            for (role, path) in [
                ("targets", "targetfile"),
                ("A", "README.md"),
                ("A", "releases/README.md"),
                ("A", "foo-1.tgz"),
                ("A", "foo-alpha.tgz"),
                ("C", "releases/x/x_v1"),
                ("D", "releases/y/y_v1.zip"),
                ("D", "releases/z/z_v1.zip"),
            ] {
                repo.add(role, path, path.as_bytes());
            }
            repo.publish(&["A", "B", "C", "D", "targets", "snapshot", "timestamp"]);
            let found = client.download(&mut repo, path).unwrap();
            assert_eq!(found.as_deref(), is_found.then_some(path.as_bytes()), "{path}");
            let expect: Vec<String> = roles.iter().map(|role| format!("3.{role}.json")).collect();
            let asked: Vec<_> = repo.asked[4..].iter().filter(|file| file.contains(".json")).cloned().collect();
            assert_eq!(asked, expect, "{path}");
        }
    }

    #[test]
    fn cached_role_is_verified_against_current_delegator() {
        let (mut repo, mut client) = start();
        repo.delegate("targets", "parent-a", &["team-a/*"], false);
        repo.delegate("targets", "parent-b", &["team-b/*"], false);
        repo.delegate("parent-a", "release", &["team-a/*"], false);
        let mine = repo.signers["release"].clone();
        repo.delegate("parent-b", "release", &["team-b/*"], false);
        // Parent B has named another key, which does not sign.
        repo.signers.insert("release".into(), mine);
        repo.add("release", "team-a/file", b"trusted A");
        repo.add("release", "team-b/file", b"malicious B");
        repo.publish(&["release", "parent-a", "parent-b", "targets", "snapshot", "timestamp"]);
        let mut update = client.begin().unwrap();
        assert!(client.fetch(&mut update, &mut repo, "team-a/file").unwrap().is_some());
        let text = client.fetch(&mut update, &mut repo, "team-b/file").unwrap_err().to_string();
        assert!(text.contains("0 of the 1 signatures that parent-b demands"), "{text}");
        assert_eq!(client.downloads, [b"trusted A"]);
    }

    #[test]
    fn delegation_not_in_snapshot() {
        let (mut repo, mut client) = start();
        repo.delegate("targets", "delegated", &["delegatedpath/*"], false);
        repo.publish(&["delegated", "targets"]);
        repo.draft("snapshot").remove_meta("delegated.json");
        repo.publish(&["snapshot", "timestamp"]);
        client.refresh(&mut repo).unwrap();
        repo.asked.clear();
        let text = client.download(&mut repo, "delegatedpath/foo").unwrap_err().to_string();
        assert!(text.contains("delegated.json (role delegated): the snapshot does not list it"), "{text}");
        assert_eq!(client.version("delegated"), None);
        assert_eq!(repo.asked, ["2.root.json", "timestamp.json"]);
    }
}
