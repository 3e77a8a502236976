//! Deployments and nodes, driven by the `fondaco` program alone.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::bundles::{self, Bundle, Key};
use crate::program::{self, Output};
use crate::workspace;

/// How long a node may take to open, and to stop.
const PATIENCE: Duration = Duration::from_mins(1);

/// A deployment's folder.
#[derive(Clone, Debug)]
pub struct Deployment {
    folder: PathBuf,
    /// The `fondaco` that acts on it, where it is not the one that was built beside this program.
    program: Option<PathBuf>,
}

impl Deployment {
    /// An existing one.
    pub fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), program: None }
    }

    /// The same folder, with another `fondaco`: a release build, say.
    pub fn with_program(self, program: PathBuf) -> Self {
        Self { program: Some(program), ..self }
    }

    /// Makes one with `fondaco init`.
    pub fn init(folder: &Path, name: &str, tagline: &str) -> Result<Self> {
        let mut command = Command::new(workspace::fondaco()?);
        program::answer(command.arg("init").arg(folder).args(["--name", name, "--tagline", tagline]))?;
        Ok(Self::at(folder))
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// `fondaco -C <folder> …`
    pub fn command(&self) -> Result<Command> {
        let program = self.program.clone().map_or_else(workspace::fondaco, Ok)?;
        let mut command = Command::new(program);
        command.arg("-C").arg(&self.folder);
        Ok(command)
    }

    /// Runs a command, however it ends.
    pub fn run(&self, arguments: &[&str]) -> Result<Output> {
        program::run(self.command()?.args(arguments))
    }

    /// Runs a command that must do what it was asked.
    pub fn ok(&self, arguments: &[&str]) -> Result<String> {
        program::answer(self.command()?.args(arguments))
    }

    /// Runs a command and reads its answer: a JSON value a line.
    pub fn json(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        let text = program::answer(self.command()?.arg("--json").args(arguments))?;
        text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))).collect()
    }

    /// Trusts a key with all that is Fondaco's.
    pub fn trust(&self, key: &Key) -> Result<()> {
        self.ok(&["trust", "add", "fondaco", "--key", &key.public, "--prefix", "org.fondaco"]).map(|_| ())
    }

    /// Installs a bundle with all that it asks for.
    pub fn install(&self, bundle: &Path) -> Result<()> {
        program::answer(self.command()?.args(["plugin", "install"]).arg(bundle).args(["--grant", "all"])).map(|_| ())
    }

    /// Publishes a folder.
    pub fn publish(&self, folder: &Path) -> Result<Value> {
        let text = program::answer(self.command()?.arg("--json").arg("publish").arg(folder))?;
        serde_json::from_str(text.trim()).with_context(|| format!("no JSON: {text}"))
    }

    /// Issues voucher codes.
    pub fn vouchers(&self, value: &str, count: u32) -> Result<Vec<String>> {
        let (value, count) = (format!("value={value}"), format!("count={count}"));
        let text = self.ok(&["plugin", "run", "org.fondaco.pay-voucher", "codes", &value, &count])?;
        Ok(text.lines().map(str::trim).filter(|l| !l.is_empty()).map(str::to_owned).collect())
    }

    /// Runs the node on a free port, until it says that it is open.
    pub fn up(&self) -> Result<Running> {
        self.up_at("127.0.0.1:0")
    }

    /// The same, at an address and port.
    pub fn up_at(&self, listen: &str) -> Result<Running> {
        let mut command = self.command()?;
        command.args(["--json", "up", "--listen", listen]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let log = fs::File::create(self.folder.join("node.log"))?;
        let mut child = command.stderr(log).spawn().with_context(|| program::show(&command))?;
        let stdout = child.stdout.take().context("the node has no standard output")?;
        let log = self.folder.join("node.log");
        let mut running = Running { child, url: String::new(), listen: String::new(), swarm: Vec::new(), log };
        for line in BufReader::new(stdout).lines() {
            let line: Value = serde_json::from_str(&line?)?;
            if line.get("event").and_then(Value::as_str) == Some("ready") {
                running.url = bundles::text(&line, "url")?;
                running.listen = format!("http://{}", bundles::text(&line, "listen")?);
                let addresses = line.get("swarm").and_then(Value::as_array).into_iter().flatten();
                running.swarm = addresses.filter_map(Value::as_str).map(str::to_owned).collect();
                return Ok(running);
            }
        }
        bail!("the node did not open:\n{}", running.log()?)
    }
}

/// A node that runs. It is killed when this goes away.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// Where it is open, such as `http://127.0.0.1:40123`.
    pub url: String,
    /// Where it listens, which is another place where `brand.base-url` names one.
    pub listen: String,
    /// Where the swarm finds it; nowhere, unless its file says so.
    pub swarm: Vec<String>,
    log: PathBuf,
}

impl Running {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to its log.
    pub fn log(&self) -> Result<String> {
        Ok(program::tail(&fs::read_to_string(&self.log)?, 40))
    }

    /// How much memory it holds in the machine, in bytes (`VmRSS` of proc(5)).
    pub fn resident_bytes(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kib =
            status.lines().find_map(|l| l.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kib.map(|kib| kib << 10).context("the system does not say how much memory the node holds")
    }

    /// Stops it as whoever supervises it would, and gives its exit code.
    pub fn stop(mut self) -> Result<i32> {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("the node has no process id")?;
        kill_process(id, Signal::TERM)?;
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait()? {
                return status
                    .code()
                    .with_context(|| format!("the node was ended by a signal:\n{}", self.log().unwrap_or_default()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("the node does not stop:\n{}", self.log()?)
    }

    /// Ends it as a power cut would.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has stopped already cannot be killed again, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A deployment in a folder that goes away with it.
#[derive(Debug)]
pub struct TestNode {
    folder: TempDir,
    /// The deployment.
    pub deployment: Deployment,
    /// Who signed the plugins.
    pub key: Key,
    /// The plugins.
    pub bundles: Vec<Bundle>,
}

impl TestNode {
    /// A deployment that trusts the tests' key and has no plugins yet.
    pub fn bare() -> Result<Self> {
        let (key, bundles) = bundles::all()?;
        let folder = tempfile::tempdir()?;
        let deployment = Deployment::init(&folder.path().join("shop"), "Test Shop", "Works for tests")?;
        deployment.trust(&key)?;
        Ok(Self { folder, deployment, key, bundles })
    }

    /// A deployment with all five plugins. They are installed once, and the folder is copied for each test.
    pub fn new() -> Result<Self> {
        Self::prepared("five", "", |_, _| Ok(()))
    }

    /// A deployment with all five plugins, and with what `more` does to it besides: once, and again when `state` is
    /// another than before.
    pub fn prepared(name: &str, state: &str, more: impl FnOnce(&Deployment, &Key) -> Result<()>) -> Result<Self> {
        let (key, bundles) = bundles::all()?;
        let digests: Vec<&str> = bundles.iter().filter_map(|b| b.digest.get(..12)).collect();
        let store = workspace::target()?.join("test-deployments").join(name);
        fs::create_dir_all(&store)?;
        let lock = fs::File::create(store.join(".lock"))?;
        lock.lock()?;
        // The program is part of the name: what an older one left in a folder says nothing about this one.
        let built = fs::metadata(workspace::fondaco()?)?.modified()?.duration_since(std::time::UNIX_EPOCH)?;
        let template = store.join(format!("{}-{}{state}", digests.join("-"), built.as_millis()));
        if !template.exists() {
            for old in fs::read_dir(&store)?.filter_map(Result::ok).filter(|e| e.path().is_dir()) {
                program::remove(&old.path())?;
            }
            let part = store.join("part");
            let deployment = Deployment::init(&part, "Test Shop", "Works for tests")?;
            deployment.trust(&key)?;
            for bundle in &bundles {
                deployment.install(&bundle.file)?;
            }
            more(&deployment, &key)?;
            fs::rename(&part, &template)?;
        }
        let folder = tempfile::tempdir()?;
        let shop = folder.path().join("shop");
        program::answer(Command::new("cp").arg("-a").arg(&template).arg(&shop))?;
        drop(lock);
        Ok(Self { folder, deployment: Deployment::at(&shop), key, bundles })
    }

    /// A bundle by the end of its plugin's id.
    pub fn bundle(&self, name: &str) -> Result<&Bundle> {
        self.bundles.iter().find(|b| b.id.ends_with(name)).with_context(|| format!("no plugin {name}"))
    }

    /// A path beside the deployment.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the folder of a work: `about` is its work.toml.
    pub fn work(&self, slug: &str, about: &str, files: &[(&str, &[u8])]) -> Result<PathBuf> {
        let folder = self.path(slug);
        for (name, bytes) in files {
            let file = folder.join(name);
            fs::create_dir_all(file.parent().unwrap_or(&folder))?;
            fs::write(file, bytes)?;
        }
        fs::write(folder.join("work.toml"), about)?;
        Ok(folder)
    }
}
