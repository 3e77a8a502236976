use super::*;

pub(crate) const FULL: &str = r#"schema = 1
id = "org.nightowl.shelf"
version = "1.4.0"
kind = "storefront"
api = "^0.1"
component = "plugin.wasm"
license = "MIT"
[text.en]
name = "Night Owl Shelf"
summary = "A record shop window"
[capabilities.http]
hosts = ["https://api.pay.example"]
reason = "capture payments"
[capabilities.storage]
quota = "16MiB"
optional = false
[capabilities.catalogue]
optional = true
[limits]
memory = "64MiB"
deadline = "250ms"
wall = "10s"
host-calls = 500
concurrency = 4
keys = 1000
log = "64KiB"
rate = { storage = 100, catalogue = 50 }
[instance]
policy = "fresh"
[settings]
schema = "settings.schema.json"
"#;

pub(crate) fn packed() -> Manifest {
    let mut manifest = Manifest::parse_request(FULL).unwrap();
    let file = |path: &str| PackedFile {
        path: path.parse().unwrap(),
        size: 3,
        sha256: Sha256([1; 32]),
        blake3: BlobHash::new([2; 32]),
    };
    manifest.files = vec![file("plugin.wasm"), file("settings.schema.json")];
    manifest.released = Some(time::macros::datetime!(2030-01-31 12:00 UTC));
    manifest.toolchain = Some("rustc 1.95.0".to_owned());
    manifest
}

#[test]
fn reads_back_as_it_was_written() {
    let manifest = packed();
    let text = manifest.to_toml().unwrap();
    assert_eq!(Manifest::parse_packed(&text).unwrap(), manifest, "{text}");
    assert_eq!(manifest.limits.memory, Some(ByteSize::mib(64)));
    assert_eq!(manifest.limits.rate, [(Capability::Catalogue, 50), (Capability::Storage, 100)].into());
    assert_eq!(manifest.instance.policy, Policy::Fresh);
    assert_eq!(manifest.text_in("fr-CA").unwrap().name, "Night Owl Shelf");
}

#[test]
fn a_request_lists_no_files_and_a_packed_manifest_must() {
    let text = packed().to_toml().unwrap();
    let refused = Manifest::parse_request(&text).unwrap_err().to_string();
    for key in ["files", "released", "toolchain"] {
        assert!(refused.contains(&format!("unknown key \"{key}\"")), "{refused}");
    }
    let refused = Manifest::parse_packed(FULL).unwrap_err().to_string();
    assert!(refused.contains("\"released\" is missing") && refused.contains("plugin.wasm is not among"), "{refused}");
}

#[test]
fn refuses_file_lists_that_say_two_things() {
    let check = |change: fn(&mut Manifest), expect: &str| {
        let mut manifest = packed();
        change(&mut manifest);
        let refused = Manifest::parse_packed(&manifest.to_toml().unwrap()).unwrap_err().to_string();
        assert!(refused.contains(expect), "{refused}");
    };
    check(|m| m.files.reverse(), "sorted by path and named once");
    check(|m| m.files[1].path = m.files[0].path.clone(), "sorted by path and named once");
    check(|m| m.files[0].path = MANIFEST_FILE.parse().unwrap(), "manifest.toml cannot list itself");
    check(|m| m.files[0].path = SIGNATURE_FILE.parse().unwrap(), "manifest.dsse.json cannot list itself");
    check(|m| m.component = "other.wasm".parse().unwrap(), "other.wasm is not among the files");
}

#[test]
fn every_field_that_is_wrong_is_named_with_its_place() {
    let text = FULL
        .replace("schema = 1", "schema = 2")
        .replace("org.nightowl.shelf", "Org.Nightowl")
        .replace("1.4.0", "1.4")
        .replace("\"storefront\"", "\"storfront\"")
        .replace("^0.1", "~>0.1")
        .replace("plugin.wasm", "../plugin.wasm")
        .replace("\"MIT\"", "\"\"")
        .replace("concurrency = 4", "concurrency = 0")
        .replace("storage = 100", "storag = 100")
        .replace("\"fresh\"", "\"frsh\"")
        .replace("summary", "sumary");
    let refused = Manifest::parse_request(&text).unwrap_err();
    let lines: Vec<_> = refused.list.iter().map(|p| p.line).collect();
    assert_eq!(lines, [1, 2, 3, 4, 5, 6, 7, 8, 10, 24, 27, 29], "{refused}");
    assert!(refused.to_string().contains("did you mean \"storefront\"?"));
}

#[test]
fn an_instance_that_is_used_again_is_refused_with_what_to_do() {
    let text = FULL.replace("policy = \"fresh\"", "policy = \"reuse\"\nmax-requests = 100\nidle = \"30s\"");
    let refused = Manifest::parse_request(&text).unwrap_err();
    assert_eq!(refused.list.len(), 1, "{refused}");
    let words = refused.to_string();
    assert!(words.contains("\"reuse\" is not offered") && words.contains("keep what must last in storage"), "{words}");
}

#[test]
fn duplicate_keys_are_refused() {
    for twice in ["id = \"org.nightowl.other\"\n", "[limits]\n", "[text.en]\n"] {
        let text = if twice.starts_with('[') { format!("{FULL}{twice}") } else { format!("{twice}{FULL}") };
        assert!(Manifest::parse_request(&text).is_err(), "{twice}");
    }
}

#[test]
fn refuses_ids_and_paths_that_could_be_mistaken() {
    for bad in
        ["", "a", "ab", "abc", "a..b", ".a.b", "a.b.", "A.b", "a_b.c", "é.b", "-a.b", "a-.b", "a.b c", &"a.".repeat(80)]
    {
        assert!(bad.parse::<PluginId>().is_err(), "{bad}");
    }
    assert!(format!("a.{}", "b".repeat(126)).parse::<PluginId>().is_ok());
    for bad in ["", "/a", "a/", "a//b", "./a", "a/..", "..", "a\\b", "a\nb", "é", "a\0", &"a".repeat(101)] {
        assert!(bad.parse::<BundlePath>().is_err(), "{bad:?}");
    }
    assert!("assets/Cover 1.png".parse::<BundlePath>().is_ok());
}
