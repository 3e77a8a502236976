//! Cargo, rustc and rustup, as other programs: what they are asked and how their answers are read.

use std::io::{self, BufRead, BufReader, IsTerminal as _, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::error::Error;
use crate::report::progress;

/// What plugins are built for.
pub const TARGET: &str = "wasm32-wasip2";
/// The cargo profile that plugins are built in, where the workspace has it.
const PROFILE: &str = "plugin";
/// The one that every workspace has.
const FALLBACK_PROFILE: &str = "release";
/// The one of `dev`, which is made on the command line: quick to build again, and what comes of it quick to compile.
const DEV_PROFILE: &str = "plugin-dev";
const DEV_SETTINGS: [&str; 6] =
    ["inherits=\"dev\"", "opt-level=1", "debug=false", "incremental=true", "panic=\"abort\"", "strip=true"];

const NO_RUST: &str = "install Rust from https://rustup.rs";

/// What of `cargo metadata` is of use here.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    target_directory: PathBuf,
    workspace_root: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    crate_types: Vec<String>,
}

/// A line of `cargo build --message-format=json`; other kinds of lines are left unread.
#[derive(Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
enum Message {
    CompilerArtifact {
        manifest_path: PathBuf,
        filenames: Vec<PathBuf>,
    },
    #[serde(other)]
    Other,
}

/// The crate of a plugin.
#[derive(Debug)]
pub struct Crate {
    /// Its name.
    pub name: String,
    folder: PathBuf,
    manifest: PathBuf,
    /// What the file of its library is called, without the ending.
    library: String,
    target_directory: PathBuf,
    workspace_root: PathBuf,
}

impl Crate {
    /// The crate in a folder. It may be a member of a larger workspace.
    pub fn find(folder: &Path) -> Result<Self, Error> {
        let manifest = folder.join("Cargo.toml");
        let hint = "name the plugin's folder with --path, or give what another tool built with pack --component";
        let manifest = manifest.canonicalize().map_err(Error::read(&manifest, hint))?;
        let mut command = tool("cargo", "CARGO", folder);
        command.args(["metadata", "--no-deps", "--format-version=1", "--manifest-path"]).arg(&manifest);
        let output = finish(command.stderr(Stdio::inherit()), "cargo metadata")?;
        let mut metadata: Metadata =
            serde_json::from_slice(&output).map_err(|e| Error::Answer("cargo metadata", Some(e)))?;
        let package = metadata.packages.drain(..).find(|p| p.manifest_path == manifest);
        let package = package.ok_or_else(|| Error::NoCrate(manifest.clone()))?;
        let library = package.targets.iter().find(|t| t.crate_types.iter().any(|kind| kind == "cdylib"));
        let library = library.ok_or_else(|| Error::NoCdylib(manifest.clone()))?.name.replace('-', "_");
        let Metadata { target_directory, workspace_root, .. } = metadata;
        Ok(Self { name: package.name, folder: folder.to_owned(), manifest, library, target_directory, workspace_root })
    }

    /// Builds the component, in the profile `plugin` where there is one. Answers where it is and the profile's name.
    pub fn build(&self) -> Result<(PathBuf, &'static str), Error> {
        ensure_target(&self.folder)?;
        match self.build_in(PROFILE, |_| {})? {
            Built::Component(path) => Ok((path, PROFILE)),
            Built::NoProfile => {
                progress(&format!("the workspace has no profile {PROFILE:?}: building in {FALLBACK_PROFILE:?}"));
                match self.build_in(FALLBACK_PROFILE, |_| {})? {
                    Built::Component(path) => Ok((path, FALLBACK_PROFILE)),
                    Built::NoProfile => Err(Error::Answer("cargo build", None)),
                }
            }
        }
    }

    /// Builds it as quickly as it can be, for trying out. `said` hears every line of cargo's.
    pub fn build_for_trying(&self, said: impl FnMut(&str) + Send + 'static) -> Result<PathBuf, Error> {
        ensure_target(&self.folder)?;
        match self.build_in(DEV_PROFILE, said)? {
            Built::Component(path) => Ok(path),
            Built::NoProfile => Err(Error::Answer("cargo build", None)),
        }
    }

    /// The component that the last build left.
    pub fn built(&self) -> Result<PathBuf, Error> {
        let place = |profile| self.target_directory.join(TARGET).join(profile).join(format!("{}.wasm", self.library));
        let time = |path: &PathBuf| path.metadata().and_then(|m| m.modified()).ok();
        let built = [PROFILE, FALLBACK_PROFILE].map(place).into_iter().filter_map(|path| Some((time(&path)?, path)));
        built.max().map(|(_, path)| path).ok_or_else(|| Error::NotBuilt(self.name.clone()))
    }

    fn build_in(&self, profile: &'static str, mut said: impl FnMut(&str) + Send + 'static) -> Result<Built, Error> {
        let mut command = tool("cargo", "CARGO", &self.folder);
        command.args(["build", "--lib", "--message-format=json-render-diagnostics", "--target", TARGET]);
        command.args(["--profile", profile, "--manifest-path"]).arg(&self.manifest);
        command.args(["--config", &remapping(&self.workspace_root, &self.target_directory)]);
        if profile == DEV_PROFILE {
            for setting in DEV_SETTINGS {
                command.args(["--config", &format!("profile.{DEV_PROFILE}.{setting}")]);
            }
        }
        if io::stderr().is_terminal() && std::env::var_os("CARGO_TERM_COLOR").is_none() {
            command.args(["--color", "always"]);
        }
        let start = |cause| Error::Start { program: "cargo".to_owned(), hint: NO_RUST, cause };
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(start)?;
        let missing = format!("profile `{profile}` is not defined");
        let words = child.stderr.take().map(|stderr| std::thread::spawn(move || pass_on(stderr, &missing, &mut said)));
        let mut component = None;
        for line in BufReader::new(child.stdout.take().ok_or(Error::Answer("cargo build", None))?).split(b'\n') {
            let line = line.map_err(start)?;
            // Build scripts may print lines of their own.
            let Ok(Message::CompilerArtifact { manifest_path, filenames }) = serde_json::from_slice(&line) else {
                continue;
            };
            if manifest_path == self.manifest {
                component = filenames.into_iter().find(|f| f.extension().is_some_and(|e| e == "wasm")).or(component);
            }
        }
        let status = child.wait().map_err(start)?;
        let no_profile = words.is_some_and(|thread| thread.join().unwrap_or(false));
        match component {
            Some(path) if status.success() => Ok(Built::Component(path)),
            None if status.success() => Err(Error::Answer("cargo build", None)),
            _ if no_profile => Ok(Built::NoProfile),
            _ => Err(Error::Command("cargo build", status)),
        }
    }
}

enum Built {
    Component(PathBuf),
    NoProfile,
}

/// Copies what cargo says to our own standard error, line by line. Did it say `text`?
fn pass_on(from: impl Read, text: &str, heard: &mut impl FnMut(&str)) -> bool {
    let mut said = false;
    for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        said |= line.contains(text);
        heard(&line);
        let _ = writeln!(io::stderr().lock(), "{line}");
    }
    said
}

/// Cargo's configuration for leaving out of the component where it was built: panic messages hold paths of sources. The
/// same sources in another folder give the same bytes. Of two prefixes that fit, rustc takes the later one. Where
/// `RUSTFLAGS` is set, cargo heeds that instead.
fn remapping(workspace: &Path, target: &Path) -> String {
    let home = std::env::var("HOME").ok().filter(|h| h.starts_with('/') && h.len() > 1);
    let cargo = std::env::var("CARGO_HOME").ok().or_else(|| Some(format!("{}/.cargo", home.as_ref()?)));
    let path = |path: &Path| path.to_str().map(str::to_owned);
    let flag = |from: Option<String>, to| from.map(|from| format!("--remap-path-prefix={from}={to}"));
    let all = [
        flag(home, "/home"),
        flag(cargo, "/cargo"),
        flag(path(workspace), "/workspace"),
        flag(path(target), "/target"),
    ];
    let flags: Vec<String> = all.into_iter().flatten().collect();
    // A JSON array of strings is a TOML one, too.
    format!("target.{TARGET}.rustflags={}", serde_json::json!(flags))
}

/// What `rustc --version` says in the folder, where a toolchain may be pinned.
pub fn toolchain(folder: &Path) -> Result<String, Error> {
    let output = finish(tool("rustc", "RUSTC", folder).arg("--version"), "rustc --version")?;
    Ok(String::from_utf8_lossy(&output).trim().to_owned())
}

/// Installs the target where it is missing.
fn ensure_target(folder: &Path) -> Result<(), Error> {
    let mut rustc = tool("rustc", "RUSTC", folder);
    let libraries =
        finish(rustc.args(["--print", "target-libdir", "--target", TARGET]), "rustc --print target-libdir")?;
    if Path::new(String::from_utf8_lossy(&libraries).trim()).is_dir() {
        return Ok(());
    }
    progress(&format!("the Rust target {TARGET} is missing: running `rustup target add {TARGET}`"));
    let mut rustup = tool("rustup", "RUSTUP", folder);
    match rustup.args(["target", "add", TARGET]).stdout(io::stderr()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Error::Command("rustup target add", status)),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Err(Error::NoTarget),
        Err(cause) => Err(Error::Start { program: "rustup".to_owned(), hint: NO_RUST, cause }),
    }
}

/// A tool of the Rust toolchain, in a folder. `variable` names another program in its place.
///
/// Under `cargo run` the environment tells about the crate that runs: this one. Build scripts that watch those variables
/// would run again each time that the plugin is built in the other way, so they are taken away.
fn tool(name: &str, variable: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::var_os(variable).unwrap_or_else(|| name.into()));
    command.current_dir(folder).stdin(Stdio::null());
    for (key, _) in std::env::vars_os() {
        let text = key.to_string_lossy();
        let about_us = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_PRIMARY_", "CARGO_CRATE_"];
        if about_us.iter().any(|start| text.starts_with(start)) || text == "OUT_DIR" {
            command.env_remove(&key);
        }
    }
    command
}

/// Runs a command and gives what it wrote.
fn finish(command: &mut Command, name: &'static str) -> Result<Vec<u8>, Error> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.map_err(|cause| Error::Start { program, hint: NO_RUST, cause })?;
    if output.status.success() { Ok(output.stdout) } else { Err(Error::Command(name, output.status)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authors_home_is_mapped_away_in_a_form_that_cargo_reads() {
        let all = remapping(Path::new("/w"), Path::new("/w/target"));
        let (key, value) = all.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())).unwrap();
        assert_eq!(key, "target.wasm32-wasip2.rustflags");
        let flags: Vec<String> = serde_json::from_str(&value).unwrap();
        assert!(flags.iter().all(|f| f.starts_with("--remap-path-prefix=")), "{flags:?}");
        assert!(
            flags.ends_with(&["--remap-path-prefix=/w/target=/target".to_owned()]),
            "the inner one last: {flags:?}"
        );
    }

    #[test]
    fn notices_what_cargo_says_among_other_lines() {
        assert!(pass_on(
            &b"one\nerror: profile `plugin` is not defined\n"[..],
            "profile `plugin` is not defined",
            &mut |_: &str| {}
        ));
        assert!(!pass_on(&b"error: something else\n"[..], "profile `plugin` is not defined", &mut |_: &str| {}));
    }
}
