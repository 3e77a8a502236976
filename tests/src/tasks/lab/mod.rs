//! `cargo lab`: many nodes on one machine. `run` starts real `fondaco` programs in network namespaces, `hundreds` hundreds of
//! nodes of `host/net` in one process, `simulate` carries what they show to millions.

mod chart;
mod hundreds;
mod netns;
mod random;
mod simulate;
mod spread;
mod table;

use std::process::ExitCode;

use anyhow::Result;

/// Which lab.
#[derive(Debug, clap::Subcommand)]
pub enum Options {
    /// Real nodes in network namespaces, with translation, rates, delay and loss
    Run(netns::Options),
    /// Hundreds of nodes in one process: announcing, attackers, idling
    Hundreds(hundreds::Options),
    /// What a simulation makes of the measured figures at ten thousand to sixty million
    Simulate(simulate::Options),
}

/// Runs it.
pub fn run(options: &Options) -> Result<ExitCode> {
    match options {
        Options::Run(options) => netns::run(options)?,
        Options::Hundreds(options) => hundreds::run(options)?,
        Options::Simulate(options) => simulate::run(options)?,
    }
    Ok(ExitCode::SUCCESS)
}
