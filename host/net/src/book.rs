//! Peers that were met, kept in a file, so that a node that starts again has somebody to begin with besides those of its
//! configuration. Bans are kept there too.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use libp2p::{Multiaddr, PeerId};
use serde::{Deserialize, Serialize};

use crate::config::is_dialable;
use crate::error::{Error, Result};

/// The most peers that are kept.
const MOST: usize = 1_000;
/// The most addresses of one.
const MOST_ADDRESSES: usize = 4;
/// How long somebody is kept who was not met again.
const LASTS: Duration = Duration::from_hours(30 * 24);
/// The largest file that is read.
const MAX_BYTES: u64 = 4 << 20;

/// A peer that was met.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub addresses: Vec<Multiaddr>,
    /// Seconds since 1970.
    pub met: u64,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Book {
    peers: HashMap<PeerId, Known>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    peer: String,
    #[serde(default)]
    addresses: Vec<String>,
    #[serde(default)]
    met: u64,
    /// Until when it is banned, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    banned: Option<u64>,
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

impl Book {
    /// Reads the file, with the bans in it. A line that cannot be read is left out: the book is a help, and no more.
    pub fn load(path: &Path) -> (Self, Vec<(PeerId, Duration)>) {
        let (mut book, mut bans) = (Self::default(), Vec::new());
        let fits = fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() <= MAX_BYTES);
        let text = if fits { fs::read_to_string(path).unwrap_or_default() } else { String::new() };
        for line in text.lines().filter_map(|l| serde_json::from_str::<Line>(l).ok()) {
            let Ok(peer) = line.peer.parse::<PeerId>() else { continue };
            if let Some(left) = line.banned.and_then(|until| until.checked_sub(now())) {
                bans.push((peer, Duration::from_secs(left)));
            }
            // The newest comes first in the file, and is put in last.
            for address in line.addresses.iter().rev().filter_map(|a| a.parse().ok()) {
                book.met(peer, address, line.met.min(now()));
            }
        }
        (book, bans)
    }

    /// Remembers an address at which a peer was met.
    pub fn met(&mut self, peer: PeerId, address: Multiaddr, at: u64) {
        if !is_dialable(&address) {
            return;
        }
        if self.peers.len() >= MOST && !self.peers.contains_key(&peer) {
            let oldest = self.peers.iter().min_by_key(|(_, known)| known.met).map(|(peer, _)| *peer);
            if let Some(oldest) = oldest {
                self.peers.remove(&oldest);
            }
        }
        let known = self.peers.entry(peer).or_default();
        known.met = known.met.max(at);
        known.addresses.retain(|a| *a != address);
        known.addresses.insert(0, address);
        known.addresses.truncate(MOST_ADDRESSES);
    }

    /// Addresses of a peer.
    pub fn addresses(&self, peer: &PeerId) -> Vec<Multiaddr> {
        self.peers.get(peer).map(|known| known.addresses.clone()).unwrap_or_default()
    }

    /// Those who were met last, at most so many.
    pub fn latest(&self, most: usize) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let mut all: Vec<_> = self.peers.iter().collect();
        all.sort_by_key(|(_, known)| std::cmp::Reverse(known.met));
        all.into_iter().take(most).map(|(peer, known)| (*peer, known.addresses.clone())).collect()
    }

    /// The file's text. Writing it is for a blocking thread: [`save`].
    pub fn text(&self, bans: &[(PeerId, Duration)]) -> String {
        let at = now();
        let lasts = |known: &&Known| known.met + LASTS.as_secs() > at;
        let mut lines: Vec<Line> = self
            .peers
            .iter()
            .filter(|(_, known)| lasts(known))
            .map(|(peer, known)| Line {
                peer: peer.to_string(),
                addresses: known.addresses.iter().map(ToString::to_string).collect(),
                met: known.met,
                banned: None,
            })
            .collect();
        lines.extend(bans.iter().map(|(peer, left)| Line {
            peer: peer.to_string(),
            addresses: Vec::new(),
            met: 0,
            banned: Some(at + left.as_secs()),
        }));
        lines.sort_by(|a, b| a.peer.cmp(&b.peer));
        lines.iter().filter_map(|line| serde_json::to_string(line).ok()).map(|line| line + "\n").collect()
    }
}

/// Puts the text in the file's place.
pub(crate) fn save(path: &Path, text: &str) -> Result<()> {
    let fail = |source| Error::Book { path: path.to_owned(), source };
    let new = path.with_extension("new");
    let mut file = fs::File::create(&new).map_err(fail)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_data()).map_err(fail)?;
    fs::rename(&new, path).map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_book_reads_back_and_a_damaged_line_harms_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("peers");
        let mut book = Book::default();
        let (friend, bad) = (PeerId::random(), PeerId::random());
        for port in 1..9 {
            book.met(friend, format!("/ip4/192.0.2.1/tcp/{port}").parse().unwrap(), now());
        }
        book.met(friend, "/p2p-circuit".parse().unwrap(), now());
        save(&path, &book.text(&[(bad, Duration::from_secs(500))])).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("no line\n{{\"peer\":\"x\"}}\n{text}")).unwrap();
        let (read, bans) = Book::load(&path);
        assert_eq!(read.addresses(&friend).len(), MOST_ADDRESSES);
        assert_eq!(read.addresses(&friend)[0].to_string(), "/ip4/192.0.2.1/tcp/8", "the newest first");
        assert_eq!(bans.len(), 1);
        assert!(bans[0].0 == bad && bans[0].1 > Duration::from_secs(490));
        assert!(Book::load(&dir.path().join("none")).0.latest(9).is_empty());
    }

    #[test]
    fn a_flood_of_peers_drops_the_oldest() {
        let mut book = Book::default();
        for at in 0..2_000 {
            book.met(PeerId::random(), "/ip4/192.0.2.1/tcp/1".parse().unwrap(), at);
        }
        assert_eq!(book.peers.len(), MOST);
        assert!(book.peers.values().all(|known| known.met >= 1_000));
    }
}
