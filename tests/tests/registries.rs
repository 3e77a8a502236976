//! Registries, from the outside: what `fondaco registry` makes is read by PyPI's tuf and by nodes, and nodes read what
//! PyPI's tuf has made.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use fondaco_tests::bundles::{self, Key, text};
use fondaco_tests::node::{Deployment, TestNode};
use fondaco_tests::program::{self, Output};
use fondaco_tests::{tools, workspace};
use serde_json::Value;

const ID: &str = "org.fondaco.pay-voucher";

fn utf8(path: &Path) -> Result<&str> {
    path.to_str().context("the path is no UTF-8")
}

fn python(arguments: &[&str]) -> Result<String> {
    let script = workspace::root().join("tests/python/registry.py");
    program::answer(Command::new(tools::python()?).arg(script).args(arguments))
}

fn voucher(node: &TestNode, version: &'static str) -> Result<PathBuf> {
    let change = move |text: String| text.replace("version = \"0.1.0\"", &format!("version = \"{version}\""));
    bundles::repack("pay-voucher", &node.path(&format!("made-{version}")), Some(&node.key), change)
}

/// A registry in a folder beside the deployment.
struct Registry<'n> {
    node: &'n TestNode,
    folder: PathBuf,
    root: String,
}

impl<'n> Registry<'n> {
    /// With the tests' key as the publisher of all that is Fondaco's, and nothing in it.
    fn new(node: &'n TestNode) -> Result<Self> {
        let folder = node.path("registry");
        let made = json(&run(&["init", utf8(&folder)?])?)?;
        let registry = Self { node, folder, root: text(&made, "root")? };
        let public = &node.key.public;
        registry.ok(&["publisher"], &["fondaco", "--prefix", "org.fondaco", "--public", public])?;
        Ok(registry)
    }

    fn run(&self, verb: &[&str], rest: &[&str]) -> Result<Output> {
        let mut all = verb.to_vec();
        all.push(utf8(&self.folder)?);
        all.extend(rest);
        run(&all)
    }

    fn ok(&self, verb: &[&str], rest: &[&str]) -> Result<Value> {
        let output = self.run(verb, rest)?;
        ensure!(output.code == 0, "{verb:?}: {}", output.stderr);
        json(&output)
    }

    /// With the publisher's key.
    fn add(&self, bundle: &Path) -> Result<Value> {
        self.ok(&["add"], &[utf8(bundle)?, "--key", utf8(&self.node.key.file)?])
    }

    /// Lets the deployment know it.
    fn name_it(&self, deployment: &Deployment) -> Result<()> {
        let entry = format!("folder = \"../registry\"\nroot = \"{}\"\n", self.root);
        append(deployment, &format!("\n[registries.main]\n{entry}"))
    }

    fn metadata(&self, name: &str) -> PathBuf {
        self.folder.join("metadata").join(name)
    }
}

fn run(arguments: &[&str]) -> Result<Output> {
    program::run(Command::new(workspace::fondaco()?).args(["--json", "registry"]).args(arguments))
}

fn json(output: &Output) -> Result<Value> {
    serde_json::from_str(output.stdout.trim()).with_context(|| format!("no JSON: {output:?}"))
}

fn append(deployment: &Deployment, lines: &str) -> Result<()> {
    let file = deployment.path().join("fondaco.toml");
    Ok(fs::write(&file, fs::read_to_string(&file)? + lines)?)
}

fn install(deployment: &Deployment, what: &str) -> Result<Output> {
    deployment.run(&["plugin", "install", what, "--grant", "all"])
}

fn info(deployment: &Deployment) -> Result<Value> {
    deployment.json(&["plugin", "info", ID])?.into_iter().next().context("nothing is said")
}

/// The command is refused, in one sentence with these words.
fn refused(output: &Output, words: &[&str]) -> Result<()> {
    ensure!(output.code != 0, "it is not refused");
    for word in words {
        ensure!(output.stderr.contains(word), "{word:?} is not said: {}", output.stderr);
    }
    let sentences = output.stderr.lines().filter(|line| line.starts_with("fondaco: ")).count();
    ensure!(sentences == 1, "not one sentence: {}", output.stderr);
    Ok(())
}

#[test]
fn pypi_tuf_reads_the_registry_that_we_make() -> Result<()> {
    let node = TestNode::bare()?;
    let registry = Registry::new(&node)?;
    let added = registry.add(&voucher(&node, "0.1.0")?)?;
    let uploads = added.get("upload").and_then(Value::as_array).context("nothing to upload")?;
    ensure!(uploads.last().and_then(Value::as_str) == Some("metadata/timestamp.json"), "{uploads:?}");
    ensure!(uploads.iter().all(|f| registry.folder.join(f.as_str().unwrap_or_default()).is_file()), "{uploads:?}");

    let (out, kept) = (node.path("fetched.fondaco"), node.path("kept"));
    let root = registry.metadata("1.root.json");
    let read = |path: &str| -> Result<Value> {
        let answer = python(&["read", utf8(&registry.folder)?, utf8(&root)?, path, utf8(&out)?, utf8(&kept)?])?;
        Ok(serde_json::from_str(&answer)?)
    };
    let path = format!("{ID}/{ID}-0.1.0.fondaco");
    assert_eq!(read(&path)?, serde_json::json!({"root": 1, "timestamp": 3, "snapshot": 3, "targets": 2, "fondaco": 1}));
    ensure!(fs::read(&out)? == fs::read(voucher(&node, "0.1.0")?)?, "other bytes");

    // Every key is changed, one role after the other, and another version is added: the same client follows.
    for role in ["timestamp", "snapshot", "targets", "root"] {
        registry.ok(&["keys"], &[role])?;
    }
    registry.add(&voucher(&node, "0.2.0")?)?;
    registry.ok(&["refresh"], &["--good", "1d"])?;
    let versions = read(&format!("{ID}/{ID}-0.2.0.fondaco"))?;
    assert_eq!(versions.get("root"), Some(&Value::from(5)), "{versions}");
    assert_eq!(versions.get("fondaco"), Some(&Value::from(2)), "{versions}");
    ensure!(read("org.fondaco.other/org.fondaco.other-1.0.0.fondaco").is_err(), "it finds what is not there");
    Ok(())
}

#[test]
fn we_install_from_a_registry_that_pypi_tuf_has_made() -> Result<()> {
    let node = TestNode::bare()?;
    let folder = node.path("registry");
    let path = |version: &str| format!("{ID}/{ID}-{version}.fondaco");
    let bundle = voucher(&node, "0.1.0")?;
    let root = python(&["write", utf8(&folder)?, utf8(&bundle)?, &path("0.1.0")])?.trim().to_owned();
    append(&node.deployment, &format!("\n[registries.python]\nfolder = \"{}\"\nroot = \"{root}\"\n", utf8(&folder)?))?;
    let output = install(&node.deployment, ID)?;
    ensure!(output.code == 0, "{}", output.stderr);
    assert_eq!(info(&node.deployment)?.pointer("/freshness/registry"), Some(&Value::from("python")));

    python(&["rotate", utf8(&folder)?, utf8(&voucher(&node, "0.2.0")?)?, &path("0.2.0")])?;
    let newer = node.deployment.json(&["plugin", "outdated"])?;
    assert_eq!(newer.first().and_then(|n| n.get("version")), Some(&Value::from("0.2.0")), "{newer:?}");
    let output = install(&node.deployment, &format!("{ID}@0.2.0"))?;
    ensure!(output.code == 0, "{}", output.stderr);
    // What somebody changed afterwards is refused, with file, role and version.
    let timestamp = folder.join("metadata/timestamp.json");
    let text = fs::read_to_string(&timestamp)?;
    let changed = text.replace("\"version\":2", "\"version\":3");
    ensure!(changed != text, "the file has another form: {text}");
    fs::write(&timestamp, changed)?;
    let words = ["registry python", "timestamp.json (role timestamp, version 3)", "0 of the 1 signatures"];
    refused(&node.deployment.run(&["plugin", "outdated"])?, &words)
}

#[test]
fn plugins_come_from_a_registry_and_say_how_fresh_they_are() -> Result<()> {
    let node = TestNode::bare()?;
    let registry = Registry::new(&node)?;
    registry.add(&voucher(&node, "0.1.0")?)?;
    let deployment = &node.deployment;
    refused(&install(deployment, ID)?, &["is no file, and fondaco.toml names no registry"])?;
    registry.name_it(deployment)?;

    let found = deployment.json(&["plugin", "search", "VOUCHER"])?;
    assert_eq!(found.first().and_then(|f| f.get("id")), Some(&Value::from(ID)), "{found:?}");
    assert_eq!(found.first().and_then(|f| f.get("kind")), Some(&Value::from("payment")), "{found:?}");
    ensure!(deployment.json(&["plugin", "search", "piano"])?.is_empty(), "it finds what is not there");

    // From a file: nobody says how fresh it is.
    deployment.install(&voucher(&node, "0.1.0")?)?;
    ensure!(deployment.ok(&["plugin", "info", ID])?.contains("no freshness: it came from a file"), "not said");
    registry.add(&voucher(&node, "0.2.0")?)?;
    let output = install(deployment, ID)?;
    ensure!(output.code == 0 && output.stderr.contains("from registry main, fresh until 20"), "{output:?}");
    ensure!(deployment.ok(&["plugin", "info", ID])?.contains("by registry main"), "not said");
    assert_eq!(info(deployment)?.get("version"), Some(&Value::from("0.2.0")));
    ensure!(deployment.json(&["plugin", "outdated"])?.is_empty(), "it is the newest");

    // An update comes from where the plugin came from.
    registry.add(&voucher(&node, "0.2.1")?)?;
    deployment.ok(&["plugin", "update"])?;
    assert_eq!(info(deployment)?.get("version"), Some(&Value::from("0.2.1")));
    assert_eq!(info(deployment)?.pointer("/freshness/registry"), Some(&Value::from("main")));
    ensure!(deployment.run(&["plugin", "update", ID])?.stderr.contains("at its newest version"), "not said");

    // The range of fondaco.toml holds, unless a version is named.
    registry.add(&voucher(&node, "1.0.0")?)?;
    let file = deployment.path().join("fondaco.toml");
    let text = fs::read_to_string(&file)?
        .replace(&format!("[plugins.\"{ID}\"]\n"), &format!("[plugins.\"{ID}\"]\nversion = \"^0.2\"\n"));
    fs::write(&file, text)?;
    let newer = deployment.json(&["plugin", "outdated"])?;
    let held = newer.first().and_then(|n| n.get("held")).and_then(Value::as_str).unwrap_or_default();
    assert_eq!(held, "fondaco.toml wants ^0.2");
    refused(
        &install(deployment, &format!("{ID}@3.0.0"))?,
        &["there is no org.fondaco.pay-voucher 3.0.0 in main", "0.1.0, 0.2.0, 0.2.1, 1.0.0"],
    )?;
    refused(&install(deployment, "org.fondaco.nothing")?, &["there is no plugin org.fondaco.nothing in main"])?;
    refused(&deployment.run(&["plugin", "search", "--registry", "other"])?, &["no [registries.other]; it has: main"])?;
    // The registry vouches for freshness only: whom the operator does not trust stays out.
    let trust = deployment.path().join("trust.toml");
    fs::write(&trust, "serial = 9\n")?;
    refused(&install(deployment, &format!("{ID}@1.0.0"))?, &["nobody whom trust.toml names has signed"])
}

#[test]
fn a_registry_that_misbehaves_is_refused_and_nothing_is_installed() -> Result<()> {
    let node = TestNode::bare()?;
    let registry = Registry::new(&node)?;
    registry.add(&voucher(&node, "0.1.0")?)?;
    let deployment = &node.deployment;
    registry.name_it(deployment)?;
    let search = || deployment.run(&["plugin", "search"]);
    ensure!(search()?.code == 0, "it works at first");

    // Rollback: an old timestamp is put back.
    let timestamp = registry.metadata("timestamp.json");
    let old = fs::read(&timestamp)?;
    registry.add(&voucher(&node, "0.2.0")?)?;
    ensure!(search()?.code == 0, "it works still");
    let new = fs::read(&timestamp)?;
    fs::write(&timestamp, &old)?;
    refused(&search()?, &["timestamp.json (role timestamp, version 3): it is older than version 4"])?;
    // Endless data.
    fs::write(&timestamp, vec![b' '; 1 << 20])?;
    refused(&search()?, &["timestamp.json (role timestamp): it is longer than the 16384 bytes"])?;
    fs::write(&timestamp, &new)?;
    // Substitution.
    let targets = registry.folder.join("targets").join(ID);
    let bundle = fs::read_dir(&targets)?
        .filter_map(Result::ok)
        .map(|e| e.path())
        .find(|p| p.to_string_lossy().contains("0.2.0"));
    let bundle = bundle.context("no bundle")?;
    let bytes = fs::read(&bundle)?;
    let mut swapped = bytes.clone();
    *swapped.last_mut().context("empty")? ^= 1;
    fs::write(&bundle, &swapped)?;
    refused(
        &install(deployment, ID)?,
        &["org.fondaco.pay-voucher-0.2.0.fondaco (role fondaco)", "another SHA-256 digest"],
    )?;
    fs::write(&bundle, &bytes[..100])?;
    refused(&install(deployment, ID)?, &["it has 100 bytes"])?;
    fs::remove_file(&bundle)?;
    refused(&install(deployment, ID)?, &["the registry does not have it"])?;
    fs::write(&bundle, &bytes)?;
    // Another root than the one that is pinned.
    let other = fs::read_to_string(deployment.path().join("fondaco.toml"))?;
    let wrong = other.replace(&registry.root, &"0".repeat(64));
    fs::write(deployment.path().join("fondaco.toml"), wrong)?;
    refused(&search()?, &["1.root.json (role root, version 1): its SHA-256 is", "and fondaco.toml pins 0000"])?;
    fs::write(deployment.path().join("fondaco.toml"), other)?;
    ensure!(deployment.json(&["plugin", "list"])?.is_empty(), "something was installed");
    let output = install(deployment, ID)?;
    ensure!(output.code == 0, "{}", output.stderr);
    Ok(())
}

#[test]
fn whoever_runs_a_registry_is_told_what_is_wrong() -> Result<()> {
    let node = TestNode::bare()?;
    let registry = Registry::new(&node)?;
    let bundle = voucher(&node, "0.1.0")?;
    let key = utf8(&node.key.file)?;
    // Keys are private, and never where a web server would find them.
    let keys = node.path("registry-keys");
    ensure!(fs::metadata(&keys)?.permissions().mode() & 0o777 == 0o700, "the folder is open to others");
    for role in ["root", "targets", "snapshot", "timestamp"] {
        let mode = fs::metadata(keys.join(format!("{role}.pem")))?.permissions().mode();
        ensure!(mode & 0o777 == 0o600, "{role}: {mode:o}");
    }
    let (other, inside) = (node.path("other"), node.path("other/keys"));
    refused(&run(&["init", utf8(&other)?, "--keys", utf8(&inside)?])?, &["keep the keys elsewhere"])?;
    refused(&registry.run(&["init"], &[])?, &["is a registry already"])?;
    refused(&run(&["list", utf8(&other)?])?, &["fondaco registry init"])?;

    // A bundle is verified before it is put in.
    let broken = node.path("broken.fondaco");
    let mut bytes = fs::read(&bundle)?;
    *bytes.get_mut(1000).context("short")? ^= 1;
    fs::write(&broken, bytes)?;
    refused(&registry.run(&["add"], &[utf8(&broken)?, "--key", key])?, &["broken.fondaco: "])?;
    let stranger = Key::at(&node.path("stranger.key"))?;
    let strange = bundles::repack("pay-voucher", &node.path("strange"), Some(&stranger), |t| t)?;
    refused(&registry.run(&["add"], &[utf8(&strange)?, "--key", key])?, &["no key of a publisher", "--signer"])?;
    registry.ok(&["add"], &[utf8(&strange)?, "--key", key, "--signer", &stranger.public])?;
    // A version is never replaced.
    refused(&registry.run(&["add"], &[utf8(&bundle)?, "--key", key])?, &["is there already with other bytes"])?;
    // An id has one publisher.
    registry.ok(&["publisher"], &["owl", "--prefix", "org.owl.shelf", "--public", &stranger.public])?;
    for (prefix, owner) in [("org.fondaco", "fondaco"), ("org.fondaco.pay-voucher", "fondaco"), ("org.owl", "owl")] {
        let more = ["other", "--prefix", prefix, "--public", &stranger.public];
        refused(&registry.run(&["publisher"], &more)?, &[&format!("overlaps with what is delegated to {owner}")])?;
    }
    refused(
        &registry.run(&["publisher"], &["../x", "--prefix", "org.x", "--public", &stranger.public])?,
        &["names no publisher"],
    )?;
    let small = "0100000000000000000000000000000000000000000000000000000000000000";
    refused(&registry.run(&["publisher"], &["small", "--prefix", "org.x", "--public", small])?, &["small order"])?;

    // Two of two keys: a draft until both have signed.
    let publics = ["--public", &node.key.public, "--public", &stranger.public, "--threshold", "2"];
    registry.ok(&["publisher"], &[&["fondaco", "--prefix", "org.fondaco"], publics.as_slice()].concat())?;
    let added = registry.ok(&["add"], &[utf8(&voucher(&node, "0.3.0")?)?, "--key", key])?;
    ensure!(added.to_string().contains("has 1 of 2 signatures"), "{added}");
    let draft = fs::read_dir(registry.folder.join("drafts"))?.find_map(Result::ok).context("no draft")?;
    let draft = draft.file_name().to_string_lossy().into_owned();
    refused(&registry.run(&["sign"], &[&draft])?, &["none of the keys that are here"])?;
    refused(&registry.run(&["sign"], &["9.nobody.json"])?, &["there is no draft 9.nobody.json", &draft])?;
    let signed = registry.ok(&["sign"], &[&draft, "--key", utf8(&stranger.file)?])?;
    assert_eq!(signed.get("published"), Some(&Value::from(true)), "{signed}");
    registry.name_it(&node.deployment)?;
    let found = node.deployment.json(&["plugin", "search"])?;
    assert_eq!(found.first().and_then(|f| f.get("version")), Some(&Value::from("0.3.0")), "{found:?}");

    // Without the online keys, whoever has them is named.
    let away = node.path("away");
    fs::rename(&keys, &away)?;
    refused(&registry.run(&["refresh"], &[])?, &["0 of the 1 keys of", "--keys"])?;
    registry.ok(&["refresh"], &["--keys", utf8(&away)?])?;
    Ok(())
}

/// Serves a folder on loopback, as any web server would; a file that is called `endless` never ends.
fn serve(folder: PathBuf) -> Result<std::net::SocketAddr> {
    use std::io::{BufRead as _, BufReader, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().filter_map(Result::ok) {
            let folder = folder.clone();
            std::thread::spawn(move || -> Option<()> {
                let (mut reader, mut stream) = (BufReader::new(stream.try_clone().ok()?), stream);
                let mut lines = Vec::new();
                loop {
                    let mut line = String::new();
                    if reader.read_line(&mut line).ok()? <= 2 {
                        break;
                    }
                    lines.push(line);
                }
                let path = lines.first()?.split(' ').nth(1)?.trim_start_matches('/').to_owned();
                if folder.join("endless").exists() && path.ends_with("timestamp.json") {
                    stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").ok()?;
                    while stream.write_all(&[b' '; 8_192]).is_ok() {}
                    return None;
                }
                let (status, body) =
                    fs::read(folder.join(path)).map_or(("404 Not Found", Vec::new()), |b| ("200 OK", b));
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                stream.write_all(&[head.as_bytes(), &body].concat()).ok()
            });
        }
    });
    Ok(address)
}

#[test]
fn a_registry_is_read_over_http_where_the_operator_allows_its_address() -> Result<()> {
    let node = TestNode::bare()?;
    let registry = Registry::new(&node)?;
    registry.add(&voucher(&node, "0.1.0")?)?;
    let address = serve(registry.folder.clone())?;
    let deployment = &node.deployment;
    let file = deployment.path().join("fondaco.toml");
    let before = fs::read_to_string(&file)?;
    let with = |entry: &str| -> Result<Output> {
        fs::write(&file, format!("{before}\n[registries.web]\nroot = \"{}\"\n{entry}\n", registry.root))?;
        deployment.run(&["plugin", "search"])
    };
    refused(&with(&format!("url = \"http://{address}\""))?, &["plain http is for private networks", "private = true"])?;
    refused(&with(&format!("url = \"https://{address}\""))?, &["a loopback address"])?;
    refused(&with("url = \"http://127.0.0.1:1\"\nprivate = true")?, &["metadata/1.root.json", "127.0.0.1"])?;
    let output = with(&format!("url = \"http://{address}\"\nprivate = true"))?;
    ensure!(output.code == 0 && output.stdout.contains(ID), "{output:?}");
    let output = install(deployment, ID)?;
    ensure!(output.code == 0, "{}", output.stderr);
    assert_eq!(info(deployment)?.pointer("/freshness/registry"), Some(&Value::from("web")));
    fs::write(registry.folder.join("endless"), "")?;
    let output = deployment.run(&["plugin", "outdated"])?;
    assert_eq!(output.code, 3, "{output:?}");
    refused(&output, &["metadata/timestamp.json", "16384"])
}
