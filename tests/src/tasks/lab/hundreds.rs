//! `cargo lab hundreds`: the scenarios of `host/net/examples/lab`, which are built where libp2p may be named. They run in a
//! network namespace of their own where that can be had: then the loopback device's counters are theirs alone.

use std::process::Command;

use anyhow::Result;

use crate::{program, workspace};

/// `cargo lab hundreds`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Which scenarios: announce, sybils, idle, search, measure; absent: all
    scenarios: Vec<String>,
    /// Build on the release profile, as figures for others should be; it takes some minutes
    #[arg(long)]
    release: bool,
}

/// Runs them.
pub fn run(options: &Options) -> Result<()> {
    let mut build = workspace::cargo();
    build.args(["build", "--quiet", "-p", "fondaco-net", "--example", "lab"]);
    if options.release {
        build.arg("--release");
    }
    program::pass(&mut build)?;
    let profile = if options.release { "release" } else { "debug" };
    let lab = workspace::target()?.join(profile).join("examples/lab");
    if program::is_root() && program::find("unshare").is_some() {
        let mut command = Command::new("unshare");
        command.args(["--net", "--", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"]).arg(lab);
        return program::pass(command.args(&options.scenarios));
    }
    program::pass(Command::new(lab).args(&options.scenarios))
}
