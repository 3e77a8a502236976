//! Fuzzing with libFuzzer: each target of `tests/fuzz` for a short time, from real files and from what was found before.
//! It is built with the compiler that is there, for coverage counters need no nightly one (`host/decisions/fuzzing.md`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::workspace::{self, PLUGINS};
use crate::{program, tools};

/// Targets, each a program of `tests/fuzz`.
const TARGETS: [&str; 10] =
    ["manifest", "bundle", "dsse", "deployment", "work_file", "lock", "trust_file", "envelope", "texts", "tuf"];
/// Counters at every edge, as libFuzzer reads them. They are what `cargo fuzz build --sanitizer none` sets.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table --cfg fuzzing";

/// Builds the targets and runs each for so many seconds.
pub fn run(seconds: u64) -> Result<()> {
    let root = workspace::target()?.join("fuzz");
    let programs = build(&root)?;
    let seeds = root.join("seeds");
    gather(&seeds).context("seeds")?;
    // Two at a time: each takes one core.
    let mut failed = Vec::new();
    for pair in TARGETS.chunks(2) {
        let running: Vec<_> = pair
            .iter()
            .map(|target| {
                let mut command = one(&programs, &root, target, seconds)?;
                let output = command.spawn().with_context(|| program::show(&command))?;
                Ok((*target, output))
            })
            .collect::<Result<_>>()?;
        for (target, child) in running {
            let output = child.wait_with_output()?;
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            let done = words.lines().rev().find(|l| l.starts_with("Done ")).unwrap_or("not done");
            println!("  {target:<12} {done}");
            if !output.status.success() {
                failed.push(format!("{target}:\n{}", program::tail(&words, 25)));
            }
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    bail!("{}\nkeep what broke it under tests/fuzz/vectors/<target>/", failed.join("\n"))
}

fn build(root: &Path) -> Result<PathBuf> {
    tools::cpp()?;
    let triple = program::answer(Command::new("rustc").args(["--print", "host-tuple"]))?.trim().to_owned();
    let mut command = workspace::cargo();
    command.current_dir(workspace::root().join("tests/fuzz"));
    // A target is named so that build scripts and macros, which run here, are built without counters.
    command
        .args(["build", "--quiet", "--locked", "--bins", "--target", &triple, "--target-dir"])
        .arg(root.join("build"));
    program::pass(command.env("RUSTFLAGS", COVERAGE))?;
    Ok(root.join("build").join(triple).join("debug"))
}

fn one(programs: &Path, root: &Path, target: &str, seconds: u64) -> Result<Command> {
    let (found, broken) = (root.join("corpus").join(target), root.join("broken"));
    fs::create_dir_all(&found)?;
    fs::create_dir_all(&broken)?;
    let mut command = Command::new(programs.join(target));
    // The first folder is where what is new is kept; the others are only read.
    command.arg(found);
    let vectors = workspace::root().join("tests/fuzz/vectors");
    command
        .args([root.join("seeds"), vectors].map(|folder| folder.join(target)).iter().filter(|folder| folder.is_dir()));
    command.arg(format!("-max_total_time={seconds}"));
    command.args(["-timeout=10", "-rss_limit_mb=2048", "-max_len=70000", "-print_final_stats=0"]);
    command.arg(format!("-artifact_prefix={}/{target}-", broken.display()));
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
    Ok(command)
}

/// Real files: the seeds of the tree, and what the first-party plugins and the demo's works say of themselves.
fn gather(seeds: &Path) -> Result<()> {
    program::remove(seeds)?;
    let root = workspace::root();
    let copy = |target: &str, name: &str, from: &Path| -> Result<()> {
        fs::create_dir_all(seeds.join(target))?;
        fs::copy(from, seeds.join(target).join(name)).with_context(|| from.display().to_string()).map(|_| ())
    };
    for plugin in PLUGINS {
        copy("manifest", plugin, &root.join("plugins").join(plugin).join("plugin.toml"))?;
    }
    for entry in fs::read_dir(root.join("tests/src/tasks/demo/works"))?.filter_map(Result::ok) {
        copy("work_file", &entry.file_name().to_string_lossy(), &entry.path())?;
    }
    for target in TARGETS {
        let Ok(own) = fs::read_dir(root.join("tests/fuzz/seeds").join(target)) else { continue };
        for entry in own.filter_map(Result::ok) {
            copy(target, &entry.file_name().to_string_lossy(), &entry.path())?;
        }
    }
    Ok(())
}
