//! Debian packages as a source of real works: fetched by apt without root and unpacked into a folder, not installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::program;

/// Fetches and unpacks packages. Each is answered by its folder, or by the reason why there is none.
pub fn fetch(folder: &Path, names: &[&'static str]) -> Vec<(&'static str, Result<PathBuf>)> {
    names.iter().map(|name| (*name, one(folder, name))).collect()
}

fn one(folder: &Path, name: &str) -> Result<PathBuf> {
    let done = folder.join(name);
    if done.is_dir() {
        return Ok(done);
    }
    for tool in ["apt-get", "dpkg-deb"] {
        if program::find(tool).is_none() {
            bail!("this machine has no {tool}");
        }
    }
    let part = folder.join("part");
    program::remove(&part)?;
    fs::create_dir_all(&part)?;
    let file = download(folder, &part, name)?;
    let unpacked = part.join("unpacked");
    program::answer(Command::new("dpkg-deb").arg("-x").arg(&file).arg(&unpacked))?;
    fs::rename(&unpacked, &done)?;
    program::remove(&part)?;
    Ok(done)
}

fn download(folder: &Path, into: &Path, name: &str) -> Result<PathBuf> {
    // With the machine's own lists first; where it has none, with private ones, which need no root.
    let own = program::answer(Command::new("apt-get").args(["-qq", "download", name]).current_dir(into));
    if own.is_err() {
        let (state, cache) = (folder.join("apt/state"), folder.join("apt/cache"));
        let apt = || {
            let mut apt = Command::new("apt-get");
            apt.arg("-qq").current_dir(into);
            apt.arg("-o").arg(format!("Dir::State={}", state.display()));
            apt.arg("-o").arg(format!("Dir::Cache={}", cache.display()));
            apt
        };
        if !state.join("lists").exists() {
            fs::create_dir_all(state.join("lists/partial"))?;
            fs::create_dir_all(cache.join("archives/partial"))?;
            let updated = program::answer(apt().arg("update"));
            if updated.is_err() {
                program::remove(&state)?;
            }
            updated.context("apt cannot fetch its lists; is the network closed?")?;
        }
        program::answer(apt().args(["download", name])).context("apt cannot fetch the package")?;
    }
    let files = fs::read_dir(into)?.filter_map(Result::ok).map(|entry| entry.path());
    let found = files.into_iter().find(|file| file.extension().is_some_and(|e| e == "deb"));
    found.context("apt said that it fetched the package, and it is not there")
}
