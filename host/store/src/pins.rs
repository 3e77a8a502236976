//! Who keeps which blob, durably: an append-only list of one line an act.
//!
//! A line is `<check> + <hash>,<hash>.. <owner>` for pins and `<check> - ..` for their end; `<check>` is the first 16
//! hexadecimal digits of the BLAKE3 hash of the rest. Each line is on the disk before the next is begun, so a crash or a
//! power cut can only spoil the last one, which was never acknowledged: it is dropped. Damage anywhere else is an error,
//! since to guess would be to delete what somebody keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;

use fondaco_schemas::BlobHash;

use crate::error::{Error, Result};
use crate::layout::{Layout, sync_dir};

const MAX_OWNER_BYTES: usize = 200;
const HASHES_PER_LINE: usize = 64;
/// A check, a sign, the hashes with what separates them, an owner, the spaces between and the end of the line.
const MAX_LINE_BYTES: u64 = 16 + 1 + 1 + 1 + 65 * HASHES_PER_LINE as u64 + MAX_OWNER_BYTES as u64 + 1;
/// A list with more dead acts than this and more dead than living ones is written anew when the store is opened.
const DEAD_ACTS_KEPT: usize = 1000;

/// The owners of each blob that has any.
pub(crate) type Owners = BTreeMap<BlobHash, BTreeSet<String>>;

/// What an act does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Pin,
    Unpin,
}

#[derive(Debug)]
pub(crate) struct PinLog {
    path: PathBuf,
    file: File,
    /// Length of the file in bytes, every line of it acknowledged.
    end: u64,
}

impl PinLog {
    pub fn open(layout: &Layout) -> Result<(Self, Owners)> {
        let path = layout.pins();
        let new = !path.exists();
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(|e| Error::io("open", &path, e))?;
        if new {
            sync_dir(layout.root())?;
        }
        let mut log = Self { path, file, end: 0 };
        let (owners, acts) = log.read()?;
        let living: usize = owners.values().map(BTreeSet::len).sum();
        if acts.saturating_sub(living) > DEAD_ACTS_KEPT.max(living) {
            log.rewrite(layout, &owners)?;
        }
        Ok((log, owners))
    }

    /// Reads the whole list and cuts off what a crash left at its end. Answers the owners and the number of acts.
    fn read(&mut self) -> Result<(Owners, usize)> {
        let (mut owners, mut count, mut acts) = (Owners::new(), 0, 0);
        let mut reader = BufReader::new(&self.file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = |e| Error::io("read", &self.path, e);
            let got = reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line).map_err(read)?;
            if got == 0 {
                break;
            }
            match parse(&line) {
                Some((act, hashes, owner)) => {
                    acts += hashes.len();
                    apply(&mut owners, act, &hashes, owner);
                }
                None if reader.fill_buf().map_err(read)?.is_empty() => break,
                None => return Err(Error::PinsDamaged { path: self.path.clone(), line: count + 1 }),
            }
            count += 1;
            self.end += got as u64;
        }
        self.file.set_len(self.end).map_err(|e| Error::io("cut", &self.path, e))?;
        Ok((owners, acts))
    }

    fn rewrite(&mut self, layout: &Layout, owners: &Owners) -> Result<()> {
        let mut temp = layout.temp()?;
        let mut text = String::new();
        for (hash, names) in owners {
            for owner in names {
                text.push_str(&format_line(Act::Pin, &[*hash], owner));
            }
        }
        temp.file.write_all(text.as_bytes()).map_err(|e| Error::io("write", temp.path(), e))?;
        temp.sync()?;
        let file = temp.file.try_clone().map_err(|e| Error::io("open", &self.path, e))?;
        temp.replace(&self.path)?;
        sync_dir(layout.root())?;
        (self.file, self.end) = (file, text.len() as u64);
        Ok(())
    }

    /// Records an act on up to 64 blobs and waits for the disk. After an error nothing of it counts.
    pub fn append(&mut self, act: Act, hashes: &[BlobHash], owner: &str) -> Result<()> {
        let line = format_line(act, hashes, owner);
        if let Err(e) = self.file.write_all_at(line.as_bytes(), self.end) {
            // What got there would make the next line unreadable. If it cannot be cut off, the disk is not to be trusted.
            return match self.file.set_len(self.end) {
                Ok(()) => Err(Error::io("write", &self.path, e)),
                Err(source) => Err(Error::Sync { path: self.path.clone(), source }),
            };
        }
        self.file.sync_data().map_err(|source| Error::Sync { path: self.path.clone(), source })?;
        self.end += line.len() as u64;
        Ok(())
    }
}

/// The pieces that fit a line each.
pub(crate) fn lines(hashes: &[BlobHash]) -> impl Iterator<Item = &[BlobHash]> {
    hashes.chunks(HASHES_PER_LINE)
}

/// Refuses names that the list cannot hold.
pub(crate) fn check_owner(owner: &str) -> Result<()> {
    if owner.is_empty() || owner.len() > MAX_OWNER_BYTES || owner.chars().any(char::is_control) {
        return Err(Error::Owner { owner: owner.chars().take(80).collect() });
    }
    Ok(())
}

/// Changes the owners as an act says.
pub(crate) fn apply(owners: &mut Owners, act: Act, hashes: &[BlobHash], owner: &str) {
    for hash in hashes {
        match act {
            Act::Pin => {
                owners.entry(*hash).or_default().insert(owner.to_owned());
            }
            Act::Unpin => {
                if let Some(names) = owners.get_mut(hash) {
                    names.remove(owner);
                    if names.is_empty() {
                        owners.remove(hash);
                    }
                }
            }
        }
    }
}

fn checksum(rest: &str) -> String {
    let mut digits = blake3::hash(rest.as_bytes()).to_hex().to_string();
    digits.truncate(16);
    digits
}

fn format_line(act: Act, hashes: &[BlobHash], owner: &str) -> String {
    let sign = if act == Act::Pin { '+' } else { '-' };
    let hashes: Vec<String> = hashes.iter().map(BlobHash::to_string).collect();
    let rest = format!("{sign} {} {owner}", hashes.join(","));
    format!("{} {rest}\n", checksum(&rest))
}

fn parse(line: &[u8]) -> Option<(Act, Vec<BlobHash>, &str)> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let (check, rest) = line.split_once(' ')?;
    if check != checksum(rest) {
        return None;
    }
    let (sign, rest) = rest.split_once(' ')?;
    let (hashes, owner) = rest.split_once(' ')?;
    let act = match sign {
        "+" => Act::Pin,
        "-" => Act::Unpin,
        _ => return None,
    };
    let hashes: Result<Vec<BlobHash>, _> = hashes.split(',').map(str::parse).collect();
    Some((act, hashes.ok()?, owner))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: BlobHash = BlobHash::new([1; 32]);
    const B: BlobHash = BlobHash::new([2; 32]);

    fn layout() -> (tempfile::TempDir, Layout, crate::layout::DirLock) {
        let dir = tempfile::tempdir().unwrap();
        let (layout, lock) = Layout::open(dir.path()).unwrap();
        (dir, layout, lock)
    }

    #[test]
    fn a_list_cut_at_any_byte_keeps_every_line_before_the_cut() {
        let (_dir, layout, _lock) = layout();
        let (mut log, _) = PinLog::open(&layout).unwrap();
        log.append(Act::Pin, &[A, B], "shop").unwrap();
        log.append(Act::Unpin, &[A], "shop").unwrap();
        drop(log);
        let whole = std::fs::read(layout.pins()).unwrap();
        for cut in 0..=whole.len() {
            std::fs::write(layout.pins(), &whole[..cut]).unwrap();
            let (mut log, owners) = PinLog::open(&layout).unwrap();
            let lines = whole[..cut].split(|b| *b == b'\n').count() - 1;
            assert_eq!(owners.contains_key(&A), lines == 1, "cut at {cut}");
            assert_eq!(owners.contains_key(&B), lines >= 1, "cut at {cut}");
            // And the next line is whole again.
            log.append(Act::Pin, &[A], "later").unwrap();
            let (_, owners) = PinLog::open(&layout).unwrap();
            assert!(owners[&A].contains("later"), "cut at {cut}");
        }
    }

    #[test]
    fn a_damaged_line_is_named_and_nothing_is_guessed() {
        let (_dir, layout, _lock) = layout();
        let (mut log, _) = PinLog::open(&layout).unwrap();
        log.append(Act::Pin, &[A, B], "shop").unwrap();
        log.append(Act::Pin, &[B], "library").unwrap();
        let whole = std::fs::read(layout.pins()).unwrap();
        let first = whole.iter().position(|b| *b == b'\n').unwrap();
        for at in 0..first {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(layout.pins(), &bytes).unwrap();
            assert!(matches!(PinLog::open(&layout), Err(Error::PinsDamaged { line: 1, .. })), "byte {at}");
        }
    }

    #[test]
    fn a_list_of_dead_acts_is_written_anew() {
        let (_dir, layout, _lock) = layout();
        let (mut log, _) = PinLog::open(&layout).unwrap();
        for _ in 0..10 {
            log.append(Act::Pin, &[A; 64], "shop").unwrap();
            log.append(Act::Unpin, &[A; 64], "shop").unwrap();
        }
        log.append(Act::Pin, &[A, B], "library of Ana").unwrap();
        drop(log);
        let (mut log, owners) = PinLog::open(&layout).unwrap();
        assert!(log.end < 300, "{}", log.end);
        log.append(Act::Unpin, &[B], "library of Ana").unwrap();
        let (_, again) = PinLog::open(&layout).unwrap();
        assert_eq!(owners[&A], again[&A]);
        assert!(!again.contains_key(&B));
    }

    #[test]
    fn an_owner_that_would_break_a_line_is_refused() {
        for bad in ["", "a\nb", "a\0", &"x".repeat(201)] {
            assert!(matches!(check_owner(bad), Err(Error::Owner { .. })), "{bad:?}");
        }
        check_owner("release 1 of Ana's").unwrap();
    }
}
