//! Other programs, as they are run and as they fail: with the command that was given and the last of its words.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// What a program left.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its exit code; -1 where a signal ended it.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Runs a program to its end, whatever that is, and keeps what it says.
pub fn run(command: &mut Command) -> Result<Output> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("{} cannot be started", show(command)))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().unwrap_or(-1);
    Ok(Output { code, stdout: text(&output.stdout), stderr: text(&output.stderr) })
}

/// Runs a program that must end well, and gives its standard output.
pub fn answer(command: &mut Command) -> Result<String> {
    let output = run(command)?;
    if output.code == 0 {
        return Ok(output.stdout);
    }
    bail!("{} ended with exit code {}:\n{}", show(command), output.code, tail(&output.stderr, 20))
}

/// Runs a program that must end well, and lets it speak to the terminal.
pub fn pass(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status();
    let status = status.with_context(|| format!("{} cannot be started", show(command)))?;
    if status.success() { Ok(()) } else { bail!("{} failed ({status}): its own words are above", show(command)) }
}

/// The command as one would type it.
pub fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|w| w.to_string_lossy()).collect();
    words.join(" ")
}

/// The last lines of a text.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
}

/// Where a program lies in `PATH`.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Is this process root's?
pub fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

/// Installs Debian packages where that is possible, and says what to do where it is not.
pub fn install(packages: &[&str], what_for: &str) -> Result<()> {
    let by_hand =
        format!("{what_for}: install {} (on Debian: apt-get install {})", packages.join(" and "), packages.join(" "));
    if !is_root() || find("apt-get").is_none() {
        bail!("{by_hand}");
    }
    println!("  installing {}: {what_for}", packages.join(" "));
    let apt = |arguments: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.args(["-qq", "-o", "Dpkg::Use-Pty=0"]).args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        apt
    };
    let install = || {
        let mut command = apt(&["install", "-y", "--no-install-recommends"]);
        answer(command.args(packages))
    };
    // Old lists name packages that are gone; fresh ones cost some seconds.
    if install().is_err() {
        answer(&mut apt(&["update"])).context(by_hand.clone())?;
        install().context(by_hand)?;
    }
    Ok(())
}

/// Removes a file or a folder with all that is in it, if it is there.
pub fn remove(path: &std::path::Path) -> Result<()> {
    let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{} cannot be removed", path.display()))
        }
        _ => Ok(()),
    }
}
