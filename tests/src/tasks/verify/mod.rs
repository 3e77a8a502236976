//! `cargo verify`: every check of the project, in one command. A step installs what it needs where that is possible, or
//! fails with what is missing and how to get it; none is skipped in silence.

mod browser;
mod fuzz;
mod licences;
mod rules;
mod three;

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::tasks::demo;
use crate::workspace::{self, PLUGINS};
use crate::{bundles, guests, program, tools};

/// What to check.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Only these steps
    steps: Vec<String>,
    /// List the steps
    #[arg(long)]
    list: bool,
    /// Keep screenshots of the browser test for the documentation, under host/shots
    #[arg(long)]
    save: bool,
    /// How long each fuzz target runs, in seconds: `cargo verify fuzz --fuzz-seconds 3600` looks for more
    #[arg(long, default_value_t = 3)]
    fuzz_seconds: u64,
}

struct Step {
    name: &'static str,
    about: &'static str,
    run: fn(&Options) -> Result<()>,
}

const STEPS: [Step; 9] = [
    Step { name: "fmt", about: "every file is formatted", run: |_| formatting() },
    Step { name: "lints", about: "no warning, on this machine and for the plugins' target", run: |_| lints() },
    Step { name: "rules", about: "which crate may depend on which, no duplicates, licences", run: |_| rules::check() },
    Step { name: "units", about: "unit and documentation tests", run: |_| units() },
    Step { name: "demo", about: "the demo, in a fresh folder, checks itself", run: |_| demonstration() },
    Step { name: "fuzz", about: "bytes of strangers, for some seconds a target", run: |o| fuzz::run(o.fuzz_seconds) },
    Step { name: "nodes", about: "whole nodes, from the outside", run: |_| nodes() },
    Step {
        name: "browser",
        about: "a visitor in a real browser, with and without scripts",
        run: |o| browser::check(o.save),
    },
    Step {
        name: "browser-swarm",
        about: "a visitor between two shops of a swarm, and the publisher is killed",
        run: |_| browser::swarm(),
    },
];

/// Carries out the task.
pub fn run(options: &Options) -> Result<ExitCode> {
    if options.list {
        for step in &STEPS {
            println!("{:<8} {}", step.name, step.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(unknown) = options.steps.iter().find(|name| !STEPS.iter().any(|step| step.name == name.as_str())) {
        bail!("there is no step {unknown:?}; cargo verify --list shows them");
    }
    let asked = |step: &&Step| options.steps.is_empty() || options.steps.iter().any(|name| name == step.name);
    let mut rows = Vec::new();
    for step in STEPS.iter().filter(asked) {
        println!("\n== {}: {}", step.name, step.about);
        let started = Instant::now();
        let done = (step.run)(options);
        if let Err(error) = &done {
            println!("failed: {error:#}");
        }
        rows.push((step, started.elapsed(), done));
    }
    Ok(summary(&rows))
}

fn summary(rows: &[(&Step, Duration, Result<()>)]) -> ExitCode {
    println!();
    for (step, time, done) in rows {
        let outcome = if done.is_ok() { "passed" } else { "FAILED" };
        println!("{outcome}  {:<8} {:>7.1} s", step.name, time.as_secs_f64());
    }
    let passed = rows.iter().filter(|(.., done)| done.is_ok()).count();
    println!("{passed} passed, {} failed", rows.len() - passed);
    if passed == rows.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Adds a component of the Rust toolchain where it is missing.
fn component(name: &str, proof: &[&str]) -> Result<()> {
    if program::run(workspace::cargo().args(proof))?.code == 0 {
        return Ok(());
    }
    let by_hand =
        format!("{name} is missing: run `rustup component add {name}`, or install it from where your Rust came from");
    program::answer(Command::new("rustup").args(["component", "add", name])).map(|_| ()).context(by_hand)
}

fn formatting() -> Result<()> {
    component("rustfmt", &["fmt", "--version"])?;
    program::pass(workspace::cargo().args(["fmt", "--all", "--check"]))
}

fn lints() -> Result<()> {
    component("clippy", &["clippy", "--version"])?;
    workspace::ensure_target()?;
    let deny = ["--", "-D", "warnings"];
    program::pass(workspace::cargo().args(["clippy", "--quiet", "--workspace", "--all-targets"]).args(deny))?;
    let mut plugins = workspace::cargo();
    plugins.args(["clippy", "--quiet", "--lib", "--target", workspace::TARGET]);
    for plugin in PLUGINS {
        plugins.args(["-p", plugin]);
    }
    program::pass(plugins.args(deny))
}

/// Everything but the whole-node tests, which have a step of their own.
fn units() -> Result<()> {
    // Tests of the tools build plugins.
    workspace::ensure_target()?;
    if has_nextest()? {
        let filter = "not (package(fondaco-tests) and kind(test))";
        program::pass(workspace::cargo().args(["nextest", "run", "--no-fail-fast", "--workspace", "-E", filter]))?;
    } else {
        let (own, rest) = (["-p", "fondaco-tests", "--lib"], ["--workspace", "--exclude", "fondaco-tests"]);
        program::pass(workspace::cargo().args(["test", "--quiet"]).args(own))?;
        program::pass(
            workspace::cargo().args(["test", "--quiet", "--lib", "--bins", "--tests", "--examples"]).args(rest),
        )?;
    }
    program::pass(workspace::cargo().args(["test", "--quiet", "--workspace", "--doc"]))
}

fn demonstration() -> Result<()> {
    let folder = fresh_demo()?;
    // Not this process's own file: the tests before may have built a newer one in its place.
    let tasks = || -> Result<Command> {
        let mut command = Command::new(workspace::target()?.join("debug/tasks"));
        workspace::without_crate(&mut command);
        command.args(["demo", "--check", "--folder"]);
        Ok(command)
    };
    program::pass(tasks()?.arg(&folder))?;
    // Now as two people do it, on two terminals.
    let (first, link) = demo::reopen(&folder)?;
    let second = workspace::target()?.join("verify/demo-joined");
    program::remove(&second)?;
    program::pass(tasks()?.arg(&second).args(["--join", &link]))?;
    first.stop()?;
    Ok(())
}

fn demo_folder() -> Result<std::path::PathBuf> {
    Ok(workspace::target()?.join("verify/demo"))
}

fn fresh_demo() -> Result<std::path::PathBuf> {
    let folder = demo_folder()?;
    program::remove(&folder)?;
    Ok(folder)
}

fn nodes() -> Result<()> {
    bundles::all()?;
    guests::build()?;
    tools::b3sum()?;
    tools::python()?;
    let mut command = workspace::cargo();
    if has_nextest()? {
        // Of the whole workspace, so that what the step before compiled still holds.
        let filter = "package(fondaco-tests) and kind(test)";
        command.args(["nextest", "run", "--no-fail-fast", "--workspace", "-E", filter]);
    } else {
        command.args(["test", "--quiet", "-p", "fondaco-tests", "--tests"]);
    }
    program::pass(command.env(workspace::BUILT, "1"))
}

fn has_nextest() -> Result<bool> {
    Ok(program::run(workspace::cargo().args(["nextest", "--version"]))?.code == 0)
}

/// The shop that the demo made, or a new one.
fn shop() -> Result<demo::Shop> {
    demo::prepare(&demo_folder()?)
}
