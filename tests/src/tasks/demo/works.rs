//! Folders that are ready to publish, made of what Debian's packages hold, or of what is at hand where they cannot be had.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::packages;
use crate::program;

/// How much of a track is its preview, in bytes: some twenty seconds.
const PREVIEW: u64 = 512 << 10;
const PACKAGES: [&str; 3] = ["freedoom", "asc-music", "debian-policy"];

/// A folder that is ready to publish.
#[derive(Clone, Debug)]
pub struct Made {
    /// The work's name in links.
    pub slug: String,
    /// Its files and its work.toml.
    pub folder: PathBuf,
}

/// Makes all of them; what was made before is taken up. Also says, in sentences, what could not be had and why.
pub fn make(folder: &Path) -> Result<(Vec<Made>, Vec<String>)> {
    let (mut works, mut remarks) = (Vec::new(), Vec::new());
    for (name, unpacked) in packages::fetch(&folder.join("packages"), &PACKAGES) {
        let make = match name {
            "freedoom" => freedoom,
            "asc-music" => asc_music,
            _ => debian_policy,
        };
        match unpacked.and_then(|unpacked| work(folder, name, |into| make(&unpacked.join("usr/share"), into))) {
            Ok(made) => works.push(made),
            Err(error) => remarks.push(format!("{name} cannot be had here: {error:#}")),
        }
    }
    if works.len() < PACKAGES.len() {
        match work(folder, "rust-book", rust_book) {
            Ok(made) => {
                remarks.push("in its place there is a book that came with the Rust toolchain".to_owned());
                works.push(made);
            }
            Err(error) => remarks.push(format!("the Rust toolchain's book cannot be had either: {error:#}")),
        }
    }
    if works.is_empty() {
        bail!("there is no real work to show:\n  {}", remarks.join("\n  "));
    }
    Ok((works, remarks))
}

fn work(folder: &Path, slug: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<Made> {
    let done = folder.join("works").join(slug);
    if !done.exists() {
        let part = folder.join("works").join(format!("{slug}.part"));
        program::remove(&part)?;
        fs::create_dir_all(&part)?;
        make(&part)?;
        fs::rename(&part, &done)?;
    }
    Ok(Made { slug: slug.to_owned(), folder: done })
}

fn freedoom(share: &Path, into: &Path) -> Result<()> {
    fs::write(into.join("work.toml"), include_str!("works/freedoom.toml"))?;
    for wad in ["freedoom1.wad", "freedoom2.wad"] {
        copy(&share.join("games/doom").join(wad), &into.join(wad))?;
    }
    let doc = share.join("doc/freedoom");
    unzip(&doc.join("freedoom-manual.pdf.gz"), &into.join("freedoom-manual.pdf"))?;
    unzip(&doc.join("CREDITS.gz"), &into.join("CREDITS.txt"))?;
    copy(&doc.join("copyright"), &into.join("copyright.txt"))
}

fn asc_music(share: &Path, into: &Path) -> Result<()> {
    fs::write(into.join("work.toml"), include_str!("works/asc-music.toml"))?;
    fs::create_dir(into.join("previews"))?;
    for track in ["frontiers.mp3", "machine_wars.mp3", "time_to_strike.mp3"] {
        let whole = share.join("games/asc/music").join(track);
        copy(&whole, &into.join(track))?;
        let mut beginning = File::open(&whole)?.take(PREVIEW);
        std::io::copy(&mut beginning, &mut File::create(into.join("previews").join(track))?)?;
    }
    copy(&share.join("doc/asc-music/copyright"), &into.join("copyright.txt"))
}

fn debian_policy(share: &Path, into: &Path) -> Result<()> {
    fs::write(into.join("work.toml"), include_str!("works/debian-policy.toml"))?;
    let doc = share.join("doc/debian-policy");
    copy(&doc.join("policy.epub"), &into.join("debian-policy.epub"))?;
    pack(&doc.join("policy.html"), "_sources", &into.join("sources.tar.gz"))?;
    copy(&doc.join("copyright"), &into.join("copyright.txt"))
}

fn rust_book(into: &Path) -> Result<()> {
    let sysroot = program::answer(Command::new("rustc").args(["--print", "sysroot"]))?;
    let html = Path::new(sysroot.trim()).join("share/doc/rust/html");
    if !html.join("book/index.html").exists() {
        bail!("the toolchain's documentation is not installed (rustup component add rust-docs)");
    }
    fs::write(into.join("work.toml"), include_str!("works/rust-book.toml"))?;
    pack(&html, "book", &into.join("rust-book.tar.gz"))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).map(|_| ()).with_context(|| format!("the package does not hold {}", from.display()))
}

fn unzip(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("gzip").arg("-dc").arg(from).stdin(Stdio::null()).stdout(File::create(to)?).status()?;
    if status.success() { Ok(()) } else { bail!("{} cannot be unpacked", from.display()) }
}

/// Puts a folder into an archive whose bytes depend on the files alone.
fn pack(folder: &Path, name: &str, to: &Path) -> Result<()> {
    let fixed = ["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"];
    let mut tar = Command::new("tar");
    tar.args(fixed).args(["--use-compress-program=gzip -n", "-cf"]).arg(to).arg("-C").arg(folder).arg(name);
    program::answer(&mut tar).map(|_| ())
}
