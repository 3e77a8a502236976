//! The checkout: where it is, where its programs are, and how they are built.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::program;

/// Set for the tests when the programs are built already: `cargo verify` does so once, not each test.
pub const BUILT: &str = "FONDACO_BUILT";
/// What plugins are built for.
pub const TARGET: &str = "wasm32-wasip2";
/// Names of the folders under `plugins/`, in the order in which they are packed and installed.
pub const PLUGINS: [&str; 5] = ["search-index", "pay-voucher", "drm-sealed", "advocacy-letters", "storefront-shelf"];

/// The checkout's root.
pub fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// Cargo's target folder: the one that this very program lies in, which cargo has marked.
pub fn target() -> Result<PathBuf> {
    let program = std::env::current_exe().context("this program does not know where it lies")?;
    let marked = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    Ok(marked.map_or_else(|| root().join("target"), Path::to_owned))
}

/// The `fondaco` program.
pub fn fondaco() -> Result<PathBuf> {
    Ok(target()?.join("debug/fondaco"))
}

/// The `cargo-fondaco` program.
pub fn cargo_fondaco() -> Result<PathBuf> {
    Ok(target()?.join("debug/cargo-fondaco"))
}

/// Cargo, at the root. Under `cargo run` the environment describes the crate that runs; build scripts that watch those
/// variables would run anew each time, so they are taken away.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    without_crate(&mut command);
    command
}

/// Takes away what cargo told this process about its own crate.
pub fn without_crate(command: &mut Command) {
    let about_us = |key: &OsString| {
        let key = key.to_string_lossy();
        let starts = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_PRIMARY_", "CARGO_CRATE_", "NEXTEST"];
        starts.iter().any(|start| key.starts_with(start)) || key == "OUT_DIR"
    };
    for (key, _) in std::env::vars_os().filter(|(key, _)| about_us(key)) {
        command.env_remove(key);
    }
}

/// Builds `fondaco` and `cargo-fondaco`. Who sits before it sees cargo's own progress.
pub fn build() -> Result<()> {
    let mut command = cargo();
    // All of the workspace's, so that dependencies have the features that they have in the tests, and are compiled once.
    command.args(["build", "--workspace", "--bins"]);
    if std::io::stderr().is_terminal() {
        eprintln!();
    } else {
        command.arg("--quiet");
    }
    program::pass(&mut command)
}

/// Makes sure that plugins can be built.
pub fn ensure_target() -> Result<bool> {
    ensure(TARGET)
}

/// Makes sure that Rust's standard library is there for a target; true if it was added.
pub fn ensure(target: &str) -> Result<bool> {
    let libraries = program::answer(Command::new("rustc").args(["--print", "target-libdir", "--target", target]))?;
    if Path::new(libraries.trim()).is_dir() {
        return Ok(false);
    }
    let by_hand = format!(
        "the Rust target {target} is missing and cannot be added: get rustup from https://rustup.rs and run \
         `rustup target add {target}`, or install the standard library for {target} from where your Rust came from"
    );
    program::answer(Command::new("rustup").args(["target", "add", target])).context(by_hand)?;
    Ok(true)
}
