//! The book, carried out as a reader would: its fenced blocks are typed in, one after the other, in an empty folder.
//!
//! What a block means stands behind its language: `file=<path>` writes the block into a file, `run` gives it to a shell,
//! `serve` does so and leaves it running, `at=<path>` asks the shop that is being served for a page and wants each of the
//! block's lines in it, `says` wants each of its lines in what the last `run` printed, and `fails` is a `run` that must not
//! end well. Blocks with none of these are only to be read.
//!
//! The shell stays in the folder that it went to, has `fondaco` and `cargo fondaco` in its path, and `FONDACO` names the
//! checkout. Port 8080 is a free one.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{http, program, workspace};

/// How long what is served may take to open its port.
const PATIENCE: Duration = Duration::from_mins(1);

/// A fenced block of a chapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The line that it begins on, from 1.
    pub line: usize,
    /// Its language.
    pub language: String,
    /// What stands behind the language.
    pub attributes: Vec<String>,
    /// What it says.
    pub text: String,
}

impl Block {
    fn value(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find_map(|a| a.strip_prefix(name)?.strip_prefix('='))
    }
    fn is(&self, name: &str) -> bool {
        self.attributes.iter().any(|a| a == name)
    }
}

/// The fenced blocks of a chapter, in order.
pub fn blocks(chapter: &str) -> Result<Vec<Block>> {
    let mut found = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in (1..).zip(chapter.lines()) {
        match (line.strip_prefix("```"), &mut open) {
            (Some(info), None) => {
                let mut words = info.split(',').map(|word| word.trim().to_owned());
                let language = words.next().unwrap_or_default();
                open = Some(Block { line: number, language, attributes: words.collect(), text: String::new() });
            }
            (Some(_), Some(_)) => found.extend(open.take()),
            (None, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    ensure!(open.is_none(), "a block is not closed");
    Ok(found)
}

/// Somebody who types a chapter in.
struct Reader {
    folder: tempfile::TempDir,
    here: PathBuf,
    port: String,
    said: String,
    served: Vec<Child>,
}

/// Carries a chapter out, and says what it did: files written, commands run, pages asked for.
pub fn follow(chapter: &Path) -> Result<[usize; 3]> {
    let text = fs::read_to_string(chapter).with_context(|| format!("{}", chapter.display()))?;
    let folder = tempfile::tempdir()?;
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port().to_string();
    let here = folder.path().to_owned();
    let mut reader = Reader { folder, here, port, said: String::new(), served: Vec::new() };
    let mut done = [0; 3];
    for block in blocks(&text)? {
        let place = || format!("{}:{}", chapter.display(), block.line);
        let kind = reader.act(&block).with_context(place)?;
        if let Some(count) = kind.and_then(|kind| done.get_mut(kind)) {
            *count += 1;
        }
    }
    Ok(done)
}

impl Reader {
    fn act(&mut self, block: &Block) -> Result<Option<usize>> {
        if let Some(path) = block.value("file") {
            let file = self.here.join(path);
            fs::create_dir_all(file.parent().unwrap_or(&self.here))?;
            fs::write(file, &block.text)?;
            return Ok(Some(0));
        }
        if block.is("run") || block.is("fails") {
            let ended_well = self.run(&block.text)?;
            ensure!(ended_well != block.is("fails"), "exit code is not what the book says:\n{}", self.said);
            return Ok(Some(1));
        }
        if block.is("serve") {
            self.serve(&block.text)?;
            return Ok(Some(1));
        }
        let (wanted, seen) = match block.value("at") {
            Some(path) => (&block.text, self.page(path)?),
            None if block.is("says") => (&block.text, self.said.clone()),
            None => return Ok(None),
        };
        for line in wanted.lines().map(str::trim).filter(|line| !line.is_empty()) {
            ensure!(seen.contains(&self.ported(line)), "not there: {line}\nthere is:\n{seen}");
        }
        Ok(Some(2))
    }

    fn ported(&self, text: &str) -> String {
        text.replace("8080", &self.port)
    }

    fn shell(&self, script: &str) -> Result<Command> {
        let programs = workspace::target()?.join("debug");
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", script]).current_dir(&self.here);
        workspace::without_crate(&mut shell);
        shell.env("PATH", format!("{}:{path}", programs.display())).env("FONDACO", workspace::root());
        // What one chapter compiled need not be compiled for the next, and nothing is fetched.
        shell.env("CARGO_TARGET_DIR", workspace::target()?.join("book")).env("CARGO_NET_OFFLINE", "true");
        Ok(shell)
    }

    fn run(&mut self, text: &str) -> Result<bool> {
        let place = self.folder.path().join("pwd");
        let script = format!("{}\npwd > '{}'", self.ported(text), place.display());
        let output = program::run(&mut self.shell(&script)?)?;
        self.said = output.stdout + &output.stderr;
        if output.code == 0 {
            self.here = fs::read_to_string(place)?.trim().into();
            // The versions of this checkout, so that no others have to be fetched.
            let (manifest, lock) = (self.here.join("Cargo.toml"), self.here.join("Cargo.lock"));
            if manifest.exists() && !lock.exists() {
                fs::copy(workspace::root().join("Cargo.lock"), lock)?;
            }
        }
        Ok(output.code == 0)
    }

    fn serve(&mut self, text: &str) -> Result<()> {
        let log = fs::File::create(self.folder.path().join("served.log"))?;
        let mut shell = self.shell(&format!("exec {}", self.ported(text.trim())))?;
        self.served.push(shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?);
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if TcpStream::connect(format!("127.0.0.1:{}", self.port)).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("it does not open:\n{}", fs::read_to_string(self.folder.path().join("served.log"))?)
    }

    fn page(&self, path: &str) -> Result<String> {
        let answer = http::send(&format!("127.0.0.1:{}", self.port), "GET", path, &[], b"")?;
        ensure!(answer.status == 200, "{path} answers {}:\n{}", answer.status, answer.text());
        Ok(answer.text())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        for child in &mut self.served {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_blocks_with_their_attributes() {
        let found = blocks("Text\n```toml,file=a/b.toml\nx = 1\n```\n\n```sh,run\necho\n```\n").unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].line, found[0].value("file"), found[0].text.as_str()), (2, Some("a/b.toml"), "x = 1\n"));
        assert!(found[1].is("run") && !found[1].is("fails"));
        assert!(blocks("```sh\nnever closed").is_err());
    }

    fn carried_out(chapter: &str) -> Result<[usize; 3]> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("chapter.md"), chapter)?;
        follow(&folder.path().join("chapter.md"))
    }

    #[test]
    fn what_the_book_says_must_happen() {
        let good = "```text,file=a.txt\nhello\n```\n```sh,run\nmkdir b && cd b && cat ../a.txt\n```\n```text,says\nhello\n```\n\
                    ```sh,fails\ntest -e a.txt\n```\n";
        assert_eq!(carried_out(good).unwrap(), [1, 2, 1]);
        for bad in
            ["```sh,run\nfalse\n```\n", "```sh,fails\ntrue\n```\n", "```sh,run\necho a\n```\n```text,says\nb\n```\n"]
        {
            let error = format!("{:#}", carried_out(bad).unwrap_err());
            assert!(error.contains("chapter.md:"), "{error}");
        }
    }
}
