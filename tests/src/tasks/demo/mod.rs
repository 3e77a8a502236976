//! `cargo demo`: from a checkout to a running shop with real works in it. Each step takes up what an earlier run left, and
//! leaves a file or folder behind only when it is whole, so that a run may be broken off anywhere.

mod brand;
mod check;
mod packages;
mod swarm;
mod works;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow};

use crate::bundles::{self, Bundle, Key};
use crate::node::{Deployment, Running};
use crate::tasks::steps::step;
use crate::workspace::{self, PLUGINS};

pub use swarm::listen;
pub use works::Made;

/// The port that is taken where none is asked for and nobody else has it.
const PORT: u16 = 8080;

/// What to show.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Buy and open a work as a visitor would, then stop: for continuous integration
    #[arg(long)]
    check: bool,
    /// Listen on this port [default: 8080, or a free one where that is taken]
    #[arg(long)]
    port: Option<u16>,
    /// Keep everything in this folder [default: .demo in the checkout; .demo-joined with --join]
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Open a second shop, which fetches the work of this link from a swarm and passes it on
    #[arg(long, value_name = "LINK")]
    join: Option<String>,
}

/// A shop that is ready to open.
#[derive(Debug)]
pub struct Shop {
    /// The deployment.
    pub deployment: Deployment,
    /// What was published.
    pub works: Vec<Made>,
    /// The node, open on a free port of its own until it is stopped.
    pub node: Running,
}

/// Carries out the task.
pub fn run(options: &Options) -> Result<ExitCode> {
    if let Some(link) = &options.join {
        return join(options, link);
    }
    let folder = options.folder.clone().unwrap_or_else(|| workspace::root().join(".demo"));
    let shop = prepare(&folder)?;
    if options.check {
        let Shop { deployment, works, node } = shop;
        step("Buying, downloading and opening", || check::check(&deployment, &works, &node).map(|said| ((), said)))?;
        step("Stopping", || node.stop().map(|code| ((), format!("exit code {code}"))))?;
        println!("The demo works.");
        return Ok(ExitCode::SUCCESS);
    }
    let codes = step("Issuing vouchers", || Ok((shop.deployment.vouchers("10.00 EUR", 2)?, String::new())))?;
    let link = swarm::link(&shop.deployment)?;
    step("Handing over", || shop.node.stop().map(|_| ((), String::new())))?;
    println!("\nTwo vouchers to buy with, 10.00 EUR each:");
    for code in codes {
        println!("  {code}");
    }
    if let Some(link) = link {
        println!("Join the swarm of this shop from a second terminal:\n  cargo demo --join '{link}'");
    }
    open(&shop.deployment, options.port)
}

/// A second shop, which gets its work from the first.
fn join(options: &Options, link: &str) -> Result<ExitCode> {
    let folder = options.folder.clone().unwrap_or_else(|| workspace::root().join(".demo-joined"));
    let (deployment, node) = shop(&folder)?;
    step("Fetching from the swarm", || swarm::join(&deployment, link).map(|said| ((), said)))?;
    if options.check {
        step("Getting it from here", || swarm::check(&deployment, &node).map(|said| ((), said)))?;
        step("Stopping", || node.stop().map(|code| ((), format!("exit code {code}"))))?;
        println!("The demo's swarm works.");
        return Ok(ExitCode::SUCCESS);
    }
    step("Handing over", || node.stop().map(|_| ((), String::new())))?;
    println!("\nThe first shop may be stopped now: what was fetched is here, and goes on to others from here.");
    open(&deployment, options.port)
}

/// The node of a shop that was made before, open again, and the link to a work of its.
pub fn reopen(folder: &Path) -> Result<(Running, String)> {
    let deployment = Deployment::at(&folder.join("shop"));
    let node = deployment.up()?;
    let link = swarm::link(&deployment)?.context("the shop has no work to fetch")?;
    Ok((node, link))
}

/// Makes the shop in a folder, or takes up the one that is there, and fills it with works.
pub fn prepare(folder: &Path) -> Result<Shop> {
    let (deployment, node) = shop(folder)?;
    let works = step("Fetching real works", || {
        let (works, remarks) = works::make(&folder.canonicalize()?)?;
        let slugs: Vec<String> = works.iter().map(|w| w.slug.clone()).collect();
        Ok(((works, remarks), slugs.join(", ")))
    })?;
    let (works, remarks) = works;
    for remark in remarks {
        println!("  {remark}");
    }
    step("Publishing", || Ok(((), publish(&deployment, &works)?)))?;
    Ok(Shop { deployment, works, node })
}

/// A shop without works: its plugins are built, signed and installed, and its node is open.
pub fn shop(folder: &Path) -> Result<(Deployment, Running)> {
    std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let folder = folder.canonicalize()?;
    step("Looking for the plugins' target", || {
        Ok(((), if workspace::ensure_target()? { "added wasm32-wasip2" } else { "wasm32-wasip2" }.to_owned()))
    })?;
    step("Building (minutes, once)", || Ok((workspace::build()?, "fondaco, cargo-fondaco".to_owned())))?;
    let key = Key::at(&folder.join("demo.key"))?;
    let bundles = step("Building and signing plugins", || {
        let packed = PLUGINS.iter().map(|plugin| bundles::pack(plugin, &folder.join("bundles"), &key));
        let packed = packed.collect::<Result<Vec<_>>>()?;
        Ok((packed, PLUGINS.join(", ")))
    })?;
    let deployment = step("Making the shop", || {
        let deployment = brand::deployment(&folder.join("shop"))?;
        if !deployment.ok(&["trust", "list"])?.contains(&key.public) {
            deployment.trust(&key)?;
        }
        swarm::listen(&deployment)?;
        let shown = deployment.path().display().to_string();
        Ok((deployment, shown))
    })?;
    let node = step("Starting the node", || Ok((deployment.up()?, String::new())))?;
    step("Installing plugins", || Ok(((), install(&deployment, &bundles)?)))?;
    Ok((deployment, node))
}

/// Installs what the lock file does not name yet.
fn install(deployment: &Deployment, bundles: &[Bundle]) -> Result<String> {
    let lock = std::fs::read_to_string(deployment.path().join("fondaco.lock")).unwrap_or_default();
    let new: Vec<&Bundle> = bundles.iter().filter(|b| !lock.contains(&b.digest)).collect();
    for bundle in &new {
        deployment.install(&bundle.file)?;
    }
    Ok(if new.is_empty() { "all are there".to_owned() } else { format!("{} new", new.len()) })
}

/// Publishes what the catalogue does not hold yet.
fn publish(deployment: &Deployment, works: &[Made]) -> Result<String> {
    let known = deployment.json(&["works"])?;
    let known = |slug: &str| {
        let ends = format!("/{slug}");
        known.iter().any(|w| w.get("work").and_then(|id| id.as_str()).is_some_and(|id| id.ends_with(&ends)))
    };
    let new: Vec<&Made> = works.iter().filter(|w| !known(&w.slug)).collect();
    for work in &new {
        deployment.publish(&work.folder).with_context(|| format!("{} is not published", work.slug))?;
    }
    Ok(if new.is_empty() { "all are there".to_owned() } else { format!("{} new", new.len()) })
}

/// Becomes the node: ctrl-c then reaches it alone, and it stops in its own order.
fn open(deployment: &Deployment, port: Option<u16>) -> Result<ExitCode> {
    let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let address = local(port.unwrap_or_else(|| if TcpListener::bind(local(PORT)).is_ok() { PORT } else { 0 }));
    println!("Ctrl-c stops the shop; the same command opens it again.\n");
    let mut command = deployment.command()?;
    command.args(["up", "--listen", &address.to_string()]);
    Err(anyhow!(command.exec()).context("fondaco cannot be started"))
}
