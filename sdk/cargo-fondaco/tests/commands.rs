//! The commands as an author runs them.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic, and so may its helpers")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

const KINDS: [&str; 5] = ["search", "payment", "drm", "advocacy", "storefront"];
const RELEASED: &str = "2030-01-31T12:00:00Z";
/// An empty component in binary form.
const EMPTY_COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

fn fondaco(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cargo-fondaco")).args(arguments).env_remove("SOURCE_DATE_EPOCH").output().unwrap()
}

/// Runs a command that must succeed, and gives its JSON.
fn done(arguments: &[&str]) -> Value {
    let output = fondaco(&[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs a command that must fail, and gives its exit code and the texts of its error.
fn failed(arguments: &[&str]) -> (i32, String) {
    let output = fondaco(&[arguments, &["--json"]].concat());
    assert_ne!(output.stdout.len(), 0, "{}", text(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let code = output.status.code().unwrap();
    assert_eq!(answer["error"]["code"], code);
    (code, format!("{} {}", answer["error"]["message"], answer["error"]["causes"]))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn sdk() -> String {
    format!("{}/../rust", env!("CARGO_MANIFEST_DIR"))
}

/// A folder with a new plugin, a component that nobody had to build, and two keys.
struct Author {
    folder: TempDir,
}

impl Author {
    fn new() -> Self {
        let author = Self { folder: tempfile::tempdir().unwrap() };
        done(&["new", &author.at("shop"), "--kind", "storefront", "--id", "org.nightowl.shop", "--sdk", &sdk()]);
        fs::write(author.at("component.wasm"), EMPTY_COMPONENT).unwrap();
        for key in ["a.key", "b.key"] {
            done(&["key", "new", "--out", &author.at(key)]);
        }
        author
    }
    fn at(&self, path: &str) -> String {
        self.folder.path().join(path).display().to_string()
    }
    fn pack(&self, out: &str, more: &[&str]) -> String {
        let (path, out, component) = (self.at("shop"), self.at(out), self.at("component.wasm"));
        let arguments = ["pack", "--path", &path, "--out", &out, "--component", &component, "--released", RELEASED];
        done(&[&arguments[..], more].concat())["bundle"].as_str().unwrap().to_owned()
    }
    fn public(&self, key: &str) -> String {
        done(&["key", "show", &self.at(key)])["public"].as_str().unwrap().to_owned()
    }
    fn key_id(&self, key: &str) -> String {
        done(&["key", "show", &self.at(key)])["key_id"].as_str().unwrap().to_owned()
    }
}

#[test]
fn packing_twice_gives_the_same_bytes_and_all_that_belongs_in() {
    let author = Author::new();
    fs::create_dir(author.at("shop/assets")).unwrap();
    fs::write(author.at("shop/assets/style.css"), "p {}").unwrap();
    let (one, two) =
        (author.pack("one", &["--key", &author.at("a.key")]), author.pack("two", &["--key", &author.at("a.key")]));
    assert!(one.ends_with("one/org.nightowl.shop-0.1.0.fondaco"));
    assert_eq!(fs::read(&one).unwrap(), fs::read(&two).unwrap());
    let answer = done(&["verify", &one, "--public", &author.public("a.key")]);
    assert_eq!(answer["manifest"]["released"], RELEASED);
    let files: Vec<_> = answer["manifest"]["files"].as_array().unwrap().iter().map(|f| f["path"].clone()).collect();
    assert_eq!(files, ["README.md", "assets/style.css", "plugin.wasm"]);
    fs::write(author.at("shop/assets/style.css"), "p { }").unwrap();
    assert_ne!(fs::read(author.pack("three", &[])).unwrap(), fs::read(&one).unwrap());
}

#[test]
fn signatures_add_up_and_each_key_counts_for_itself() {
    let author = Author::new();
    let bundle = author.pack("out", &[]);
    let (a, b) = (author.public("a.key"), author.public("b.key"));
    let (code, words) = failed(&["verify", &bundle, "--public", &a]);
    assert_eq!(code, 3);
    assert!(words.contains("holds no manifest.dsse.json"), "{words}");

    done(&["sign", &bundle, "--key", &author.at("a.key")]);
    done(&["verify", &bundle, "--public", &a]);
    let (code, words) = failed(&["verify", &bundle, "--public", &b]);
    assert_eq!(code, 3);
    assert!(words.contains("is not signed with the key") && words.contains(&b), "{words}");

    done(&["sign", &bundle, "--key", &author.at("b.key")]);
    for key in [&a, &b] {
        assert_eq!(done(&["verify", &bundle, "--public", key])["signers"][0]["public"], **key);
    }
    let before = fs::read(&bundle).unwrap();
    done(&["sign", &bundle, "--key", &author.at("b.key")]);
    assert_eq!(fs::read(&bundle).unwrap(), before, "the same key twice is one signature");

    // As a node with a trust file that demands both.
    let trust = |threshold: u8, prefix: &str| {
        let file = author.at("trust.toml");
        let keys = [&a, &b].map(|key| format!("[[publishers.keys]]\nkey = \"{key}\"\n")).concat();
        let publisher =
            format!("name = \"Owl\"\nprefixes = [\"{prefix}\"]\nkinds = [\"storefront\"]\nthreshold = {threshold}\n");
        fs::write(&file, format!("serial = 1\n[[publishers]]\n{publisher}{keys}")).unwrap();
        file
    };
    let file = trust(2, "org.nightowl");
    let answer = done(&["verify", &bundle, "--trust", &file, "--key-id", &author.key_id("a.key")]);
    assert_eq!((&answer["publisher"], answer["signers"].as_array().unwrap().len()), (&Value::from("Owl"), 2));
    assert_eq!(failed(&["verify", &bundle, "--trust", &file, "--key-id", &"0".repeat(64)]).0, 3);
    let (code, words) = failed(&["verify", &bundle, "--trust", &trust(1, "org.dayowl")]);
    assert!(code == 3 && words.contains("may sign only org.dayowl"), "{words}");
}

#[test]
fn a_tampered_bundle_is_refused_by_verify_and_by_sign() {
    let author = Author::new();
    let bundle = author.pack("out", &["--key", &author.at("a.key")]);
    let good = fs::read(&bundle).unwrap();
    let refused = |bytes: &[u8]| {
        fs::write(&bundle, bytes).unwrap();
        let (code, words) = failed(&["verify", &bundle, "--public", &author.public("a.key")]);
        assert_eq!(code, 3, "{words}");
        words
    };
    let find = |needle: &[u8]| good.windows(needle.len()).position(|w| w == needle).unwrap();
    let changed = |needle: &[u8], to: &[u8]| {
        let mut bytes = good.clone();
        bytes[find(needle)..][..to.len()].copy_from_slice(to);
        bytes
    };
    assert!(refused(&good[..good.len() - 512]).contains("cut short"));
    assert!(refused(&changed(b"name = \"Plain shop\"", b"name = \"Plane shop\"")).contains("about another manifest"));
    let tampered = changed(b"# Plain shop", b"# Plane shop");
    assert!(refused(&tampered).contains("README.md has another SHA-256 digest"));
    let (code, words) = failed(&["sign", &bundle, "--key", &author.at("b.key")]);
    assert!(code == 3 && words.contains("nothing was written"), "{words}");
    assert_eq!(fs::read(&bundle).unwrap(), tampered);
}

#[test]
fn a_key_file_that_others_can_read_is_refused() {
    let author = Author::new();
    let (bundle, key) = (author.pack("out", &[]), author.at("a.key"));
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let before = fs::read(&bundle).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    for arguments in [&["key", "show", &key][..], &["sign", &bundle, "--key", &key]] {
        let (code, words) = failed(arguments);
        assert!(code == 3 && words.contains("chmod 600"), "{words}");
    }
    assert_eq!(fs::read(&bundle).unwrap(), before);
}

#[test]
fn a_key_is_never_written_over_and_a_dangerous_one_never_trusted() {
    let author = Author::new();
    let (key, before) = (author.at("a.key"), fs::read(author.at("a.key")).unwrap());
    assert_eq!(failed(&["key", "new", "--out", &key]).0, 3);
    assert_eq!(fs::read(&key).unwrap(), before);
    let bundle = author.pack("out", &["--key", &key]);
    let identity = format!("01{}", "0".repeat(62));
    let (code, words) = failed(&["verify", &bundle, "--public", &identity]);
    assert!(code == 3 && words.contains("small order"), "{words}");
}

#[test]
fn says_what_to_do_when_something_is_not_there_or_not_right() {
    let author = Author::new();
    for arguments in [
        &["verify", "no.fondaco", "--public", &author.public("a.key")][..],
        &["sign", "no.fondaco", "--key", &author.at("a.key")],
        &["key", "show", "no.key"],
        &["build", "--path", "nowhere"],
        &["pack", "--path", "nowhere"],
    ] {
        assert_eq!(failed(arguments).0, 4, "{arguments:?}");
    }
    assert_eq!(fondaco(&["verify", "x.fondaco"]).status.code(), Some(2), "whom to trust must be said");
    assert_eq!(fondaco(&["new", "x", "--kind", "toaster"]).status.code(), Some(2));
    let (code, words) = failed(&["new", &author.at("shop"), "--kind", "drm", "--sdk", &sdk()]);
    assert!(code == 3 && words.contains("not empty"), "{words}");
    assert_eq!(failed(&["new", &author.at("other"), "--kind", "drm", "--sdk", &author.at("shop")]).0, 2);
    assert!(!Path::new(&author.at("other")).exists());
    let (code, words) = failed(&["new", &author.at("other"), "--kind", "payment", "--lang", "python"]);
    assert!(code == 2 && words.contains("a payment plugin in Python"), "{words}");
    for rust_only in [&["--member"][..], &["--sdk", &sdk()]] {
        let new = ["new", &author.at("other"), "--kind", "storefront", "--lang", "js"];
        let (code, words) = failed(&[&new[..], rust_only].concat());
        assert!(code == 2 && words.contains("is about a Rust crate"), "{words}");
    }
    assert!(!Path::new(&author.at("other")).exists());

    let pack = ["pack", "--path", &author.at("shop"), "--component", &author.at("component.wasm")];
    fs::write(author.at("component.wasm"), b"\0asm\x01\0\0\0").unwrap();
    let (code, words) = failed(&pack);
    assert!(code == 1 && words.contains("a core module"), "{words}");
    let manifest = author.at("shop/plugin.toml");
    fs::write(&manifest, fs::read_to_string(&manifest).unwrap().replace("kind = ", "kinds = ")).unwrap();
    let (code, words) = failed(&pack);
    assert!(code == 1 && words.contains("plugin.toml:5:1: unknown key"), "{words}");
}

/// Cargo in the folder, offline, with the environment that a shell would have.
fn cargo(folder: &Path, target: &Path, arguments: &[&str]) {
    let mut command = Command::new(env!("CARGO"));
    for (key, _) in
        std::env::vars().filter(|(key, _)| key.starts_with("CARGO_PKG_") || key.starts_with("CARGO_MANIFEST_"))
    {
        command.env_remove(key);
    }
    let output =
        command.current_dir(folder).args(arguments).arg("--offline").env("CARGO_TARGET_DIR", target).output().unwrap();
    let words = text(&output.stderr);
    assert!(output.status.success(), "cargo {arguments:?}: {}{words}", text(&output.stdout));
    assert!(!words.contains("warning:"), "the code of a new plugin has warnings: {words}");
}

/// An empty folder with the versions of this workspace, so that nothing has to be fetched, and a target folder. Both are
/// the same each time: what was compiled once stays good.
fn workspace(name: &str) -> (PathBuf, PathBuf) {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let folder = place.join("source");
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    fs::create_dir_all(&folder).unwrap();
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.lock");
    fs::copy(lock, folder.join("Cargo.lock")).unwrap();
    (folder, place.join("target"))
}

#[test]
fn a_new_plugin_of_every_kind_passes_its_own_tests_and_the_kit_and_is_packed() {
    let (folder, target) = workspace("cargo-fondaco-new");
    fs::write(folder.join("Cargo.toml"), "[workspace]\nresolver = \"3\"\nmembers = [\"new-*\"]\n").unwrap();
    for kind in KINDS {
        let path = folder.join(format!("new-{kind}"));
        let answer = done(&["new", path.to_str().unwrap(), "--kind", kind, "--sdk", &sdk(), "--member"]);
        assert_eq!(answer["id"], format!("org.example.new-{kind}"));
    }
    cargo(&folder, &target, &["test", "--workspace"]);

    let run = |arguments: &[&str], kind: &str| {
        let path = folder.join(format!("new-{kind}"));
        let output = Command::new(env!("CARGO_BIN_EXE_cargo-fondaco"))
            .args(arguments)
            .args(["--json", "--path", path.to_str().unwrap()])
            .envs([("CARGO_TARGET_DIR", target.to_str().unwrap()), ("CARGO_NET_OFFLINE", "true")])
            .output()
            .unwrap();
        assert!(output.status.success(), "{kind}: {}{}", text(&output.stdout), text(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    for kind in KINDS {
        // This workspace has no profile "plugin".
        let answer = run(&["fondaco", "build"], kind);
        assert_eq!(answer["profile"], "release");
        let component = PathBuf::from(answer["component"].as_str().unwrap());
        assert!(component.starts_with(target.join("wasm32-wasip2/release")), "{}", component.display());
        assert_eq!(&fs::read(component).unwrap()[..8], EMPTY_COMPONENT);
        assert_eq!(run(&["test", "--no-build"], kind)["failed"], 0);
        assert_eq!(run(&["pack", "--no-build"], kind)["id"], format!("org.example.new-{kind}"));
    }
}

#[test]
fn a_new_plugin_that_stands_alone_is_built_and_packed_twice_to_the_same_bytes() {
    let (folder, target) = workspace("cargo-fondaco-alone");
    let (plugin, out) = (folder.join("counter"), folder.join("out"));
    done(&["new", plugin.to_str().unwrap(), "--kind", "payment", "--sdk", &sdk()]);
    fs::rename(folder.join("Cargo.lock"), plugin.join("Cargo.lock")).unwrap();
    let pack = |more: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_cargo-fondaco"))
            .args(["pack", "--json", "--released", RELEASED, "--path", plugin.to_str().unwrap(), "--out"])
            .arg(&out)
            .args(more)
            .envs([("CARGO_TARGET_DIR", target.to_str().unwrap()), ("CARGO_NET_OFFLINE", "true")])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        fs::read(answer["bundle"].as_str().unwrap()).unwrap()
    };
    let first = pack(&[]);
    // Built anew, not taken from the first time.
    fs::remove_dir_all(target.join("wasm32-wasip2/plugin")).unwrap();
    assert!(pack(&[]) == first, "a second build gave other bytes");
    assert!(pack(&["--no-build"]) == first);
    let home = std::env::var("HOME").unwrap() + "/.cargo";
    assert!(!text(&first).contains(&home), "the author's home stands in the component");
    assert!(text(&first).contains("toolchain = \"rustc 1."));
}
