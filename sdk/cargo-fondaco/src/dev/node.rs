//! The throw-away node: an ordinary `fondaco`, in a folder of its own, that trusts a key which was made for this run.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use fondaco_schemas::PluginKind;
use fondaco_trust::KeyPair;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncBufReadExt as _;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use crate::error::Error;
use crate::report::progress;

/// How long the node may take to stop before it is killed.
const STOPPING: Duration = Duration::from_secs(10);
const HINT: &str = "build it with `cargo build -p fondaco`, put it on the PATH, or name it with --node";

/// A node that runs.
pub struct Node {
    program: PathBuf,
    home: TempDir,
    /// Where it listens.
    pub address: SocketAddr,
    child: Mutex<Child>,
}

/// The node's program: the one that was named, else the one beside this program, else the one on the PATH.
pub fn program(named: Option<&Path>) -> Result<PathBuf, Error> {
    if let Some(named) = named {
        return named.canonicalize().map_err(Error::read(named, HINT));
    }
    let beside = std::env::current_exe().ok().and_then(|p| Some(p.parent()?.join("fondaco")));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut all = beside.into_iter().chain(std::env::split_paths(&path).map(|p| p.join("fondaco")));
    all.find(|p| p.is_file()).ok_or(Error::Absent(PathBuf::from("fondaco"), HINT))
}

fn start(program: &Path) -> impl Fn(std::io::Error) -> Error {
    let program = program.display().to_string();
    move |cause| Error::Start { program: program.clone(), hint: HINT, cause }
}

impl Node {
    /// Makes the folder and opens the node. `url`: where browsers will find it; `ids`: the plugins that it may run.
    pub async fn start(program: &Path, url: &str, ids: &[String], key: &KeyPair) -> Result<Self, Error> {
        let home = tempfile::Builder::new().prefix("fondaco-dev-").tempdir();
        let home = home.map_err(|e| Error::Write(std::env::temp_dir(), e))?;
        let shop = home.path().join("shop");
        let mut init = std::process::Command::new(program);
        init.arg("init").arg(&shop).args(["--name", "Trying out", "--tagline", "A node that is thrown away"]);
        let made = init.stdin(Stdio::null()).output().map_err(start(program))?;
        if !made.status.success() {
            return Err(Error::Install(String::from_utf8_lossy(&made.stderr).trim().to_owned()));
        }
        configure(&shop, url, ids, key)?;

        let mut up = Command::new(program);
        up.arg("-C").arg(&shop).args(["--json", "up", "--listen", "127.0.0.1:0"]);
        up.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = up.spawn().map_err(start(program))?;
        if let Some(stderr) = child.stderr.take() {
            // The node's log, with what plugins print.
            tokio::spawn(async move {
                let mut lines = tokio::io::BufReader::new(stderr).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    progress(&line);
                }
            });
        }
        let stdout = child.stdout.take().ok_or(Error::NodeEnded)?;
        let mut lines = tokio::io::BufReader::new(stdout).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let said: Value = serde_json::from_str(&line).unwrap_or_default();
            let address = said.get("listen").and_then(Value::as_str).and_then(|l| l.parse().ok());
            if let Some(address) = address {
                let child = Mutex::new(child);
                return Ok(Self { program: program.to_owned(), home, address, child });
            }
        }
        Err(Error::NodeEnded)
    }

    /// A folder for what is thrown away with the node.
    pub fn folder(&self) -> &Path {
        self.home.path()
    }

    /// Installs a bundle with all that it asks for; the node's own words where it does not.
    pub fn install(&self, bundle: &Path) -> Result<(), String> {
        let path = bundle.display().to_string();
        self.command(&["plugin", "install", &path, "--grant", "all", "--allow-rollback"])
    }

    /// Publishes the author's works, and the kit's so that there is something to look at.
    pub fn publish(&self, works: &[PathBuf]) {
        let theirs = works.iter().map(|w| w.canonicalize().unwrap_or_else(|_| w.clone()));
        let ours = self.home.path().join("works");
        let folders: Vec<PathBuf> = theirs.chain(seeds(&ours)).collect();
        for folder in folders {
            if let Err(words) = self.command(&["publish", &folder.display().to_string()]) {
                progress(&format!("{} is not published: {words}", folder.display()));
            }
        }
    }

    fn command(&self, arguments: &[&str]) -> Result<(), String> {
        let mut command = std::process::Command::new(&self.program);
        command.arg("-C").arg(self.home.path().join("shop")).args(arguments);
        let output = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).output();
        let output = output.map_err(|e| format!("{} cannot be started: {e}", self.program.display()))?;
        if output.status.success() {
            return Ok(());
        }
        let words: Vec<String> = BufReader::new(&output.stderr[..]).lines().map_while(Result::ok).collect();
        for line in &words {
            progress(line);
        }
        Err(words.join("\n"))
    }

    /// Waits until it ends by itself.
    pub async fn ended(&self) {
        loop {
            if !matches!(self.child.lock().await.try_wait(), Ok(None)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Has it stop in order, and kills it if it does not.
    pub async fn stop(&self) {
        let mut child = self.child.lock().await;
        if let Some(id) = child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())) {
            let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        }
        if tokio::time::timeout(STOPPING, child.wait()).await.is_err() {
            let _ = child.kill().await;
        }
    }
}

/// Whom it trusts, and where browsers find it.
fn configure(shop: &Path, url: &str, ids: &[String], key: &KeyPair) -> Result<(), Error> {
    let kinds = PluginKind::ALL.map(PluginKind::as_str);
    let trust = format!(
        "serial = 1\n[[publishers]]\nname = \"this run\"\nprefixes = {ids:?}\nkinds = {kinds:?}\n[[publishers.keys]]\nkey = \"{}\"\n",
        key.public()
    );
    let write = |path: PathBuf, text: &str| fs::write(&path, text).map_err(|e| Error::Write(path, e));
    write(shop.join("trust.toml"), &trust)?;
    let file = shop.join("fondaco.toml");
    let text = fs::read_to_string(&file).map_err(Error::read(&file, "the node made it a moment ago"))?;
    write(file, &text.replacen("[brand]\n", &format!("[brand]\nbase-url = \"{url}\"\n"), 1))
}

/// Folders with the kit's works, ready to be published.
fn seeds(folder: &Path) -> Vec<PathBuf> {
    let written = fondaco_kit::seeds().into_iter().map(|(slug, toml, text)| {
        let work = folder.join(&slug);
        fs::create_dir_all(&work)?;
        fs::write(work.join("work.toml"), toml)?;
        fs::write(work.join("text.txt"), text)?;
        std::io::Result::Ok(work)
    });
    written.filter_map(Result::ok).collect()
}
