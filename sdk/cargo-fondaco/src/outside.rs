//! Programs of other languages: installing what a lock file names, and running what was installed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::Error;
use crate::files::read;
use crate::lang::COMPONENT;
use crate::report::progress;

/// What a plugin's folder needs before it can be built.
pub struct Install<'a> {
    /// The plugin's folder.
    pub folder: &'a Path,
    /// The file with the exact versions and their digests.
    pub lock: &'static str,
    /// The folder in it that is made.
    pub into: &'static str,
    /// What is done, for whoever waits.
    pub saying: &'static str,
    /// What to run in the folder, one after the other.
    pub commands: &'a dyn Fn() -> Vec<(&'static str, Command)>,
    /// What to do where a program is missing.
    pub hint: &'static str,
}

/// Written into what was installed: of which lock file it is.
const STAMP: &str = ".fondaco";

/// Installs what the lock file names, unless just that is there.
pub fn install(wanted: &Install<'_>) -> Result<(), Error> {
    let lock = wanted.folder.join(wanted.lock);
    let digest = blake3::hash(&read(&lock, 4 << 20, "it names what the build needs, version by version")?).to_string();
    let into = wanted.folder.join(wanted.into);
    let stamp = into.join(STAMP);
    if fs::read_to_string(&stamp).is_ok_and(|had| had == digest) {
        return Ok(());
    }
    progress(&format!("the tools of {} are not there yet: {}", wanted.lock, wanted.saying));
    remove(&into)?;
    for (name, mut command) in (wanted.commands)() {
        run(command.current_dir(wanted.folder), name, wanted.hint)?;
    }
    fs::write(&stamp, digest).map_err(|cause| Error::Write(stamp, cause))
}

/// Removes a folder that a build makes anew, if it is there.
pub fn remove(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(Error::Write(folder.to_owned(), cause)),
        _ => Ok(()),
    }
}

/// Where the component will be; the one of an earlier build is gone, so that none is taken for the new one.
pub fn empty_out(folder: &Path) -> Result<PathBuf, Error> {
    let out = folder.join(COMPONENT);
    let parent = out.parent().unwrap_or(folder);
    fs::create_dir_all(parent).map_err(|cause| Error::Write(parent.to_owned(), cause))?;
    match fs::remove_file(&out) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(Error::Write(out, cause)),
        _ => Ok(out),
    }
}

/// Runs a program that must end well. All that it says goes to standard error: standard output is for our own answer.
pub fn run(command: &mut Command, name: &'static str, hint: &'static str) -> Result<(), Error> {
    let status = command.stdin(Stdio::null()).stdout(io::stderr()).status();
    let status = status.map_err(|cause| start(command, hint, cause))?;
    if status.success() { Ok(()) } else { Err(Error::Command(name, status)) }
}

/// Runs a program that must end well, and gives what it says.
pub fn answer(command: &mut Command, name: &'static str, hint: &'static str) -> Result<String, Error> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|cause| start(command, hint, cause))?;
    if !output.status.success() {
        return Err(Error::Command(name, output.status));
    }
    String::from_utf8(output.stdout).map_err(|_| Error::Answer(name, None))
}

fn start(command: &Command, hint: &'static str, cause: io::Error) -> Error {
    Error::Start { program: command.get_program().to_string_lossy().into_owned(), hint, cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installs_once_for_each_lock_file_and_not_at_all_where_a_step_fails() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("lock"), "1").unwrap();
        let install = |script: &'static str| {
            install(&Install {
                folder: folder.path(),
                lock: "lock",
                into: "tools",
                saying: "trying",
                commands: &|| {
                    let mut shell = Command::new("sh");
                    shell.args(["-c", script]);
                    vec![("sh", shell)]
                },
                hint: "none",
            })
        };
        assert!(matches!(install("mkdir tools; exit 3"), Err(Error::Command("sh", _))));
        install("mkdir tools && echo >> times").unwrap();
        install("exit 3").unwrap();
        fs::write(folder.path().join("lock"), "2").unwrap();
        install("mkdir tools && echo >> times").unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("times")).unwrap(), "\n\n");
    }

    #[test]
    fn a_program_that_is_not_there_says_what_to_install() {
        let refused = run(&mut Command::new("no-such-program"), "x", "install it").unwrap_err();
        assert_eq!(refused.to_string(), "no-such-program cannot be started: install it");
    }
}
