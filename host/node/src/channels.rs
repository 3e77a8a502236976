//! Which channels this node follows and mirrors, and the pages of their indexes that it keeps to give on.
//!
//! The list is a file of its own, `data/channels.json`: it is what the operator wants and not what happened, so it is no
//! part of the log; it can be read, copied to another node and restored by hand. How far a channel is known is a cursor in
//! the ledger, beside the works themselves, so that the two cannot part. Pages lie in `data/channels/<key>/`, each in a
//! file that is named by the numbers that it covers.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fondaco_market::{ChannelSigned, Market};
use fondaco_schemas::{PublicKey, ReleaseId, WorkKind};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::fail::{Done, Fail};

/// The most channels that are followed. One more is this node's own.
pub const MOST_FOLLOWED: usize = fondaco_net::MAX_CHANNELS - 1;
/// Pages of this node's own channel that are kept in memory, so that a flood of askers costs few signatures.
const CACHED: usize = 16;

/// A channel that is followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Followed {
    /// Whose.
    pub channel: PublicKey,
    /// Where its index may be had: multiaddresses with ids.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Which of its works are kept here; absent: none, they come when they are asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Mirror>,
}

/// Which works of a channel are kept here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mirror {
    /// Those with one of these tags; empty: with any.
    pub tags: Vec<String>,
    /// Those of one of these kinds; empty: of any.
    pub kinds: Vec<WorkKind>,
    /// At most so many bytes, the newest first; absent: as many as there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<u64>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    channels: Vec<Followed>,
}

/// How a channel is doing, as people are shown it. Not kept.
#[derive(Clone, Debug, Default)]
pub struct Doing {
    /// The latest change that was announced.
    pub announced: u64,
    /// What was wrong the last time.
    pub problem: Option<String>,
    /// Who gave something of it last.
    pub giver: Option<fondaco_net::PeerId>,
    /// A change that could not be taken in, and how often that was tried.
    pub stuck: (u64, u32),
    /// When that was counted last: those who are asked in one go count once.
    pub stuck_at: Option<tokio::time::Instant>,
}

/// The list and what goes with it.
pub struct Channels {
    path: PathBuf,
    folder: PathBuf,
    followed: Mutex<Vec<Followed>>,
    doing: Mutex<HashMap<PublicKey, Doing>>,
    busy: Mutex<HashMap<PublicKey, Arc<tokio::sync::Mutex<()>>>>,
    own: Mutex<VecDeque<(u64, ChannelSigned)>>,
    mirroring: Mutex<()>,
    /// The list changed.
    pub changed: watch::Sender<()>,
    /// Works came or went that a mirror may have to do with.
    pub works: watch::Sender<()>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Channels {
    /// Reads the list of a data folder.
    pub fn open(data: &Path) -> Done<Self> {
        let path = data.join("channels.json");
        let wrong = |e: &dyn std::fmt::Display| {
            Fail::failed(format!("{}: {e}; mend it, or remove it and follow the channels anew", path.display()))
        };
        let followed = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice::<File>(&bytes).map_err(|e| wrong(&e))?.channels,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(wrong(&e)),
        };
        if followed.len() > MOST_FOLLOWED {
            return Err(wrong(&format!("it names more than {MOST_FOLLOWED} channels")));
        }
        Ok(Self {
            path,
            folder: data.join("channels"),
            followed: Mutex::new(followed),
            doing: Mutex::default(),
            busy: Mutex::default(),
            own: Mutex::default(),
            mirroring: Mutex::default(),
            changed: watch::Sender::new(()),
            works: watch::Sender::new(()),
        })
    }

    /// All that are followed.
    pub fn list(&self) -> Vec<Followed> {
        locked(&self.followed).clone()
    }

    /// One of them.
    pub fn get(&self, channel: &PublicKey) -> Option<Followed> {
        locked(&self.followed).iter().find(|f| f.channel == *channel).cloned()
    }

    /// Changes the list, durably; answers what `change` answers.
    pub fn edit<T>(&self, change: impl FnOnce(&mut Vec<Followed>) -> Done<T>) -> Done<T> {
        let mut followed = locked(&self.followed);
        let mut next = followed.clone();
        let answer = change(&mut next)?;
        if next.len() > MOST_FOLLOWED {
            return Err(Fail::refused(format!(
                "a node follows at most {MOST_FOLLOWED} channels; `fondaco unfollow` makes room"
            )));
        }
        if next != *followed {
            let fail = |e: &dyn std::fmt::Display| Fail::failed(format!("{}: {e}", self.path.display()));
            let text = serde_json::to_vec_pretty(&File { channels: next.clone() }).map_err(|e| fail(&e))?;
            replace(&self.path, &text).map_err(|e| fail(&e))?;
            *followed = next;
            self.changed.send_replace(());
        }
        Ok(answer)
    }

    /// How a channel is doing.
    pub fn doing(&self, channel: &PublicKey) -> Doing {
        locked(&self.doing).get(channel).cloned().unwrap_or_default()
    }

    /// Notes how a channel is doing.
    pub fn note(&self, channel: PublicKey, note: impl FnOnce(&mut Doing)) {
        note(locked(&self.doing).entry(channel).or_default());
    }

    /// One at a time keeps up with a channel.
    pub fn turn(&self, channel: PublicKey) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(locked(&self.busy).entry(channel).or_default())
    }

    /// A page of this node's own index, made once for all who ask for the same.
    pub async fn own_page(&self, market: &Market, since: u64) -> Result<Option<ChannelSigned>, fondaco_market::Error> {
        let sequence = market.ledger().channel_sequence(market.publisher()).await?;
        let fits = |(from, page): &&(u64, ChannelSigned)| *from == since && page.sequence == sequence;
        if let Some((_, page)) = locked(&self.own).iter().find(fits) {
            return Ok(Some(page.clone()));
        }
        let made = market.channel_page(since).await?;
        if let Some(page) = &made {
            let mut own = locked(&self.own);
            own.retain(|(_, page)| page.sequence == sequence);
            own.truncate(CACHED - 1);
            own.push_front((since, page.clone()));
        }
        Ok(made)
    }

    /// Pages of this node's own index after `since`, at most so many bytes.
    pub async fn own_pages(&self, market: &Market, mut since: u64, most_bytes: usize) -> Vec<Vec<u8>> {
        let (mut pages, mut bytes) = (Vec::new(), 0);
        while bytes < most_bytes {
            match self.own_page(market, since).await {
                Ok(Some(page)) => {
                    since = page.through;
                    bytes += page.signed.len();
                    let is_last = page.through >= page.sequence;
                    pages.push(page.signed);
                    if is_last {
                        break;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::error!(%error, "this node's own channel cannot be given to a peer");
                    break;
                }
            }
        }
        pages
    }

    fn pages_of(&self, channel: &PublicKey) -> PathBuf {
        self.folder.join(channel.to_string())
    }

    /// Keeps a page that verified, to give it on.
    pub fn keep_page(&self, channel: &PublicKey, since: u64, through: u64, signed: &[u8]) -> std::io::Result<()> {
        let folder = self.pages_of(channel);
        std::fs::create_dir_all(&folder)?;
        replace(&folder.join(format!("{since:020}-{through:020}.page")), signed)?;
        // A later page may say all that earlier ones did.
        for (to, from, path) in self.pages_in(channel) {
            if from >= since && to <= through && (from, to) != (since, through) {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// The pages that are kept of a channel: through which change, since which, and where.
    fn pages_in(&self, channel: &PublicKey) -> Vec<(u64, u64, PathBuf)> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(self.pages_of(channel)).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let numbers = name.to_str().and_then(|n| n.strip_suffix(".page")).and_then(|n| n.split_once('-'));
            if let Some((Ok(from), Ok(to))) = numbers.map(|(from, to)| (from.parse(), to.parse())) {
                all.push((to, from, entry.path()));
            }
        }
        all
    }

    /// Pages of a channel that is followed, after `since`, at most so many bytes. Blocks.
    pub fn kept_pages(&self, channel: &PublicKey, since: u64, most_bytes: usize) -> Vec<Vec<u8>> {
        let mut all = self.pages_in(channel);
        all.sort();
        let (mut known, mut bytes, mut pages) = (since, 0, Vec::new());
        for (to, from, path) in all {
            if from > known || to <= known {
                continue;
            }
            let Ok(page) = std::fs::read(path) else { break };
            bytes += page.len();
            if bytes > most_bytes {
                break;
            }
            known = to;
            pages.push(page);
        }
        pages
    }

    /// Forgets the pages of a channel, and what a mirror of it holds.
    pub fn forget(&self, channel: &PublicKey) {
        let folder = self.pages_of(channel);
        if let Err(error) = std::fs::remove_dir_all(&folder)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(folder = %folder.display(), %error, "what was kept of a channel stays");
        }
        locked(&self.doing).remove(channel);
    }

    /// Which releases the mirror of a channel brought here.
    pub fn mirrored(&self, channel: &PublicKey) -> BTreeSet<ReleaseId> {
        let text = std::fs::read_to_string(self.pages_of(channel).join("mirrored")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Changes which releases the mirror of a channel brought here, durably.
    pub fn edit_mirrored<T>(
        &self,
        channel: &PublicKey,
        change: impl FnOnce(&mut BTreeSet<ReleaseId>) -> T,
    ) -> std::io::Result<()> {
        let _one = locked(&self.mirroring);
        let before = self.mirrored(channel);
        let mut releases = before.clone();
        change(&mut releases);
        if releases == before {
            return Ok(());
        }
        let folder = self.pages_of(channel);
        std::fs::create_dir_all(&folder)?;
        let text = releases.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        replace(&folder.join("mirrored"), text.as_bytes())
    }
}

/// Puts bytes in a file's place: all of them, or what was there before stays.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let part = path.with_extension("part");
    let mut file = std::fs::File::create(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&part, path)?;
    match path.parent() {
        Some(folder) => std::fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_outlives_the_node_and_a_damaged_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let channels = Channels::open(dir.path()).unwrap();
        let followed = |n: u8| Followed {
            channel: PublicKey::new([n; 32]),
            addresses: vec!["/ip4/192.0.2.1/tcp/1".into()],
            mirror: (n == 2).then(|| Mirror { tags: vec!["jazz".into()], quota: Some(5), ..Mirror::default() }),
        };
        for n in 1..4 {
            channels
                .edit(|all| {
                    let _: () = all.push(followed(n));
                    Ok(())
                })
                .unwrap();
        }
        channels
            .edit(|all| {
                let _: () = all.retain(|f| f.channel != PublicKey::new([1; 32]));
                Ok(())
            })
            .unwrap();
        let again = Channels::open(dir.path()).unwrap();
        assert_eq!(again.list(), [followed(2), followed(3)]);
        let refused = again.edit(|all| {
            all.extend((10..=u8::try_from(MOST_FOLLOWED).unwrap() + 10).map(followed));
            Ok(())
        });
        assert!(refused.unwrap_err().text.contains("at most 127"));
        assert_eq!(again.list().len(), 2, "what is refused changes nothing");
        std::fs::write(dir.path().join("channels.json"), "{\"channels\": [{\"channel\": 1}]}").unwrap();
        assert!(Channels::open(dir.path()).err().unwrap().text.contains("channels.json"));
    }

    #[test]
    fn pages_are_given_on_as_far_as_they_follow_on_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let channels = Channels::open(dir.path()).unwrap();
        let key = PublicKey::new([1; 32]);
        for (since, through) in [(0, 5), (5, 6), (6, 9), (4, 9), (12, 13)] {
            channels.keep_page(&key, since, through, format!("{since}-{through}").as_bytes()).unwrap();
        }
        let given = |since, most| -> Vec<String> {
            channels.kept_pages(&key, since, most).into_iter().map(|p| String::from_utf8(p).unwrap()).collect()
        };
        assert_eq!(given(0, 999), ["0-5", "4-9"], "not what a later one says too, and not what lies behind a gap");
        assert_eq!(given(5, 999), ["4-9"]);
        assert_eq!(given(0, 5), ["0-5"]);
        assert_eq!(given(12, 999), ["12-13"]);
        assert!(given(13, 999).is_empty() && channels.kept_pages(&PublicKey::new([2; 32]), 0, 999).is_empty());
        channels.edit_mirrored(&key, |all| all.insert(ReleaseId::new([3; 32]))).unwrap();
        assert_eq!(channels.mirrored(&key).len(), 1);
        channels.forget(&key);
        assert!(given(0, 999).is_empty() && channels.mirrored(&key).is_empty());
    }
}
