//! `cargo figures`: every benchmark of the workspace, one after the other, on the release profile; and, with `--peers`,
//! `--swarm` and `--plugins`, whole programs and calls of plugins beside those of others.

mod measure;
mod peers;
mod plugins;
mod swarm;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{program, workspace};

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Only the benchmarks of these crates
    packages: Vec<String>,
    /// Measure the whole node beside nginx, `wasmtime serve` and sendme, instead. Fetches and builds them, once
    #[arg(long, conflicts_with = "packages")]
    peers: bool,
    /// Measure transfer beside rqbit and sendme, instead. Builds them, once
    #[arg(long, conflicts_with_all = ["packages", "peers"])]
    swarm: bool,
    /// Measure calls of plugins beside Extism, installing them, and memory bombs, instead. Builds Extism, once
    #[arg(long, conflicts_with_all = ["packages", "peers", "swarm"])]
    plugins: bool,
    /// How many works the catalogue has, with --peers
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    works: u32,
}

/// Runs the benchmarks.
pub fn run(options: &Options) -> Result<ExitCode> {
    if options.peers {
        return peers::run(options.works).map(|()| ExitCode::SUCCESS);
    }
    if options.swarm {
        return swarm::run().map(|()| ExitCode::SUCCESS);
    }
    if options.plugins {
        return plugins::run().map(|()| ExitCode::SUCCESS);
    }
    let metadata = program::answer(workspace::cargo().args(["metadata", "--no-deps", "--format-version=1"]))?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    for (package, bench) in benches(&metadata).context("cargo metadata lists no packages")? {
        if options.packages.is_empty() || options.packages.contains(&package) {
            println!("\n{package}: {bench}");
            program::pass(workspace::cargo().args(["bench", "--quiet", "-p", &package, "--bench", &bench]))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Package and name of every benchmark.
fn benches(metadata: &Value) -> Option<Vec<(String, String)>> {
    let mut found = Vec::new();
    for package in metadata.get("packages")?.as_array()? {
        for target in package.get("targets")?.as_array()? {
            let kinds = target.get("kind")?.as_array()?;
            if kinds.iter().any(|kind| kind == "bench") {
                found.push((package.get("name")?.as_str()?.to_owned(), target.get("name")?.as_str()?.to_owned()));
            }
        }
    }
    Some(found)
}
