//! The project's own tasks, behind the aliases of `.cargo/config.toml`: `cargo demo`, `cargo verify`, `cargo figures`,
//! `cargo lab`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use fondaco_tests::tasks::{demo, figures, lab, verify};

#[derive(Parser)]
#[command(bin_name = "cargo")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build everything, make a shop with real works in it, and open it
    Demo(demo::Options),
    /// Check everything: formatting, lints, rules, tests, the demo and the browser
    Verify(verify::Options),
    /// Run the benchmarks, and print what they measure
    Figures(figures::Options),
    /// Many nodes on one machine, and a simulation of more
    #[command(subcommand)]
    Lab(lab::Options),
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Demo(options) => demo::run(&options),
        Task::Verify(options) => verify::run(&options),
        Task::Figures(options) => figures::run(&options),
        Task::Lab(options) => lab::run(&options),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  because {cause}");
            }
            ExitCode::FAILURE
        }
    }
}
