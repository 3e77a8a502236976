//! What an author of plugins does, with real programs: a plugin that is tried out while it is written, and a bundle that
//! somebody else builds again.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic, and so may its helpers")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use fondaco_tests::{bundles, program, workspace};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_mins(4);

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    program::answer(Command::new("cp").arg("-r").arg(from).arg(to)).unwrap();
}

/// The parts of the checkout that one plugin is made of, in another folder.
fn checkout(folder: &Path, plugin: &str) -> PathBuf {
    let members = ["schemas", "sdk/rust", &format!("plugins/{plugin}")].map(str::to_owned);
    for part in &members {
        copy(&workspace::root().join(part), &folder.join(part));
    }
    let manifest = fs::read_to_string(workspace::root().join("Cargo.toml")).unwrap();
    let (before, after) = manifest.split_once("members = [").unwrap();
    let (_, after) = after.split_once(']').unwrap();
    fs::write(folder.join("Cargo.toml"), format!("{before}members = {members:?}{after}")).unwrap();
    fs::copy(workspace::root().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    folder.join(format!("plugins/{plugin}"))
}

#[test]
fn a_bundle_that_is_built_again_elsewhere_has_the_same_bytes_and_a_changed_source_shows() {
    let (key, all) = bundles::all().unwrap();
    let bundle = all.iter().find(|b| b.id == "org.fondaco.pay-voucher").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let sources = checkout(folder.path(), "pay-voucher");
    let rebuild = || {
        let mut command = bundles::tool().unwrap();
        command
            .args(["--json", "verify"])
            .arg(&bundle.file)
            .args(["--public", &key.public, "--rebuild", "--path"])
            .arg(&sources);
        program::run(command.env_remove("CARGO_TARGET_DIR").env("CARGO_NET_OFFLINE", "true")).unwrap()
    };
    let same = rebuild();
    assert_eq!(same.code, 0, "{same:?}");
    assert!(same.stdout.contains("\"equal\":true") && same.stdout.contains("\"path\":\"plugin.wasm\""), "{same:?}");

    let file = sources.join("src/settings.rs");
    let settings = fs::read_to_string(&file).unwrap();
    assert!(settings.contains("\"JPY\""), "the test changes what is there");
    fs::write(&file, settings.replace("\"JPY\"", "\"XPY\"")).unwrap();
    let other = rebuild();
    assert_eq!(other.code, 3, "{other:?}");
    assert!(other.stderr.contains("plugin.wasm") && other.stderr.contains("differs from byte"), "{other:?}");
    assert!(other.stderr.contains("README.md") && other.stderr.contains("equal"), "{other:?}");
}

/// `cargo fondaco dev`, and what it says.
struct Trying {
    child: Child,
    said: Receiver<String>,
    all: Vec<String>,
}

impl Trying {
    fn start(plugin: &Path, target: &Path) -> Self {
        let mut command = bundles::tool().unwrap();
        command.arg("dev").arg("--path").arg(plugin).args(["--port", "0", "--node"]).arg(workspace::fondaco().unwrap());
        command.env("CARGO_TARGET_DIR", target).env("CARGO_NET_OFFLINE", "true");
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (tell, said) = channel();
        let stderr = child.stderr.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        Self { child, said, all: Vec::new() }
    }

    /// Waits for a line that holds this.
    fn wait(&mut self, words: &str) -> String {
        let end = Instant::now() + PATIENCE;
        while let Ok(line) = self.said.recv_timeout(end.saturating_duration_since(Instant::now())) {
            self.all.push(line.clone());
            if line.contains(words) {
                return line;
            }
        }
        panic!("{words:?} was never said:\n{}", self.all.join("\n"))
    }
}

impl Drop for Trying {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the page's own script hears: the first event, which tells how things are.
fn event(url: &str) -> String {
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    std::io::Write::write_all(&mut stream, format!("GET /-dev/events HTTP/1.1\r\nhost: {address}\r\n\r\n").as_bytes())
        .unwrap();
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    lines.find(|l| l.starts_with("data:")).unwrap()
}

fn get(url: &str, path: &str) -> String {
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\naccept: text/html\r\nconnection: close\r\n\r\n");
    std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_plugin_is_loaded_anew_each_time_that_it_is_saved() {
    bundles::all().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let shop = folder.path().join("shop");
    let sdk = workspace::root().join("sdk/rust").display().to_string();
    bundles::ask(&["new", shop.to_str().unwrap(), "--kind", "storefront", "--sdk", &sdk]).unwrap();
    fs::copy(workspace::root().join("Cargo.lock"), shop.join("Cargo.lock")).unwrap();
    // What was compiled the last time stays good.
    let target = workspace::target().unwrap().join("trying");
    let mut trying = Trying::start(&shop, &target);
    let line = trying.wait("the shop is at ");
    let url = line.split_whitespace().find(|w| w.starts_with("http://")).unwrap().trim_end_matches('/').to_owned();
    trying.wait("built and loaded in");

    let page = get(&url, "/");
    assert!(
        page.starts_with("HTTP/1.1 200") && page.contains("<script src=\"/-dev/reload.js\" defer></script>"),
        "{page}"
    );
    assert!(
        page.to_lowercase().contains("content-security-policy: default-src 'none'"),
        "the node is as strict as ever: {page}"
    );
    assert!(get(&url, "/-dev/reload.js").contains("EventSource"));
    assert!(event(&url).contains("\"version\":1"), "{}", event(&url));

    let source = shop.join("src/lib.rs");
    let code = fs::read_to_string(&source).unwrap();
    fs::write(&source, code.replace("<main>", "<main><p>saved just now</p>")).unwrap();
    let line = trying.wait("built and loaded in");
    assert!(get(&url, "/").contains("saved just now"));
    let seconds: f64 = line.split_whitespace().find_map(|w| w.parse().ok()).unwrap();
    // The promise is three seconds, on a machine that does nothing else; tests share theirs.
    assert!(seconds < 20.0, "{line}");
    println!("{line}");

    fs::write(&source, code.replace("fn list(", "fn list(this is no Rust")).unwrap();
    trying.wait("the version before stays");
    let event = event(&url);
    assert!(event.contains("\"error\":\"") && event.contains("src/lib.rs"), "{event}");
    assert!(get(&url, "/").contains("saved just now"), "the version before goes on");

    let pid = rustix::process::Pid::from_raw(trying.child.id().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(trying.child.wait().unwrap().success());
}
