//! Receipts between nodes: after a fetch they are signed, laid into an outbox, and sent to those that delivered and to the
//! publisher's node until these say that they have them; others' are taken in.
//!
//! The outbox is a folder, so that a kill loses nothing and sends nothing twice that counts: a receipt counts once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use fondaco_market::{Market, ReceiptVerdict, random};
use fondaco_net::{Answered, Config, MAX_RECEIPTS, Multiaddr, Net, PeerId, PerPeer, Question, Rate};
use fondaco_schemas::finding::ReceiptRules;
use fondaco_schemas::receipt::MAX_RECEIPT_BYTES;
use fondaco_schemas::{Release, ReleaseId};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::fail::{Done, Fail, chain};
use crate::node::Node;
use crate::out::Out;

/// How soon what waits is sent again, at first and at last; and how long it waits at most.
const SOON: Duration = Duration::from_secs(2);
const LATE: Duration = Duration::from_mins(5);
const KEPT_FOR: Duration = Duration::from_hours(24 * 30);
/// Letters that may wait. Beyond them nothing more is laid down.
const MOST_WAITING: usize = 1000;
/// How long one of them may take to be sent: a dial that leads nowhere, a look into the hash table, and another dial.
const SENDING: Duration = Duration::from_secs(40);
/// How long a command waits for all of them.
const SENDING_NOW: Duration = Duration::from_secs(8);
/// Letters that are on their way at once.
const AT_ONCE: usize = 8;
/// Receipts of one peer: so many at once, and so many a second after that.
const BURST: f64 = 256.0;
const PER_SECOND: f64 = 1.0;
/// Receipts of all peers together: some 40,000 a day, since signers cost nothing and the log keeps receipts for good.
const ALL_BURST: f64 = 2048.0;
const ALL_PER_SECOND: f64 = 0.5;
/// The longest answer to them, in bytes.
const MAX_ANSWER: usize = 1024;

/// Receipts on their way to one node.
#[derive(Debug, Serialize, Deserialize)]
struct Letter {
    to: String,
    release: ReleaseId,
    addresses: Vec<String>,
    receipts: Vec<Vec<u8>>,
}

/// What takes in others' receipts.
pub struct Taking {
    market: Market,
    rules: ReceiptRules,
    rates: PerPeer,
    /// The same for all together: identities cost nothing.
    all: Rate,
}

impl Taking {
    /// As `[network.receipts]` says.
    pub fn new(market: Market, rules: ReceiptRules) -> Self {
        let all = Rate::new(ALL_BURST, ALL_PER_SECOND);
        Self { market, rules, rates: PerPeer::new(BURST, PER_SECOND), all }
    }

    /// Answers a question that brings receipts.
    pub async fn answer(&self, from: PeerId, receipts: Vec<Vec<u8>>) -> Answered {
        if !self.rules.take {
            return Answered::Nothing;
        }
        let fits = receipts.len() <= MAX_RECEIPTS && receipts.iter().all(|r| r.len() <= MAX_RECEIPT_BYTES);
        let many = f64::from(u32::try_from(receipts.len()).unwrap_or(u32::MAX));
        if !fits || !self.rates.take(from, many) || !self.all.take(many) {
            return Answered::Busy(60_000);
        }
        match self.market.take_receipts(receipts).await {
            Ok(verdicts) => {
                for verdict in &verdicts {
                    if let ReceiptVerdict::Refused(why) = verdict {
                        tracing::debug!(why, "a receipt is refused");
                    }
                }
                Answered::Receipts(vec![true; verdicts.len()])
            }
            Err(error) => {
                tracing::error!(error = %chain(&error), "receipts are not taken in; their senders keep them");
                Answered::Busy(60_000)
            }
        }
    }
}

/// Where receipts wait.
fn outbox(node: &Node) -> PathBuf {
    node.folder.data(&node.deployment).join("receipts")
}

/// Signs for those that delivered, where the operator wants that, and lays it into the outbox.
pub async fn sign(
    node: &Node,
    id: ReleaseId,
    release: &Release,
    sources: &[(PeerId, u64)],
    near: &[(PeerId, Vec<Multiaddr>)],
) -> Done {
    if !node.deployment.network.receipts.give {
        return Ok(());
    }
    let keyed = |(peer, bytes): &(PeerId, u64)| fondaco_net::public_key(peer).map(|key| (key, *bytes));
    let delivered: Vec<_> = sources.iter().filter_map(keyed).collect();
    let signed = node.market.sign_receipts(id, release, &delivered)?;
    let home = release.home.as_ref().map(|home| home.node).filter(|n| *n != node.market.keys().pair().public());
    let mut letters: BTreeMap<PeerId, Vec<Vec<u8>>> = BTreeMap::new();
    for (seeder, envelope) in signed {
        let seeder = fondaco_net::peer_id(&seeder)?;
        letters.entry(seeder).or_default().push(envelope.clone());
        if let Some(home) = home {
            let home = fondaco_net::peer_id(&home)?;
            if home != seeder {
                letters.entry(home).or_default().push(envelope);
            }
        }
    }
    let folder = outbox(node);
    let near = near.to_vec();
    let written = tokio::task::spawn_blocking(move || {
        for (to, receipts) in letters {
            let places = near.iter().filter(|(peer, _)| *peer == to).flat_map(|(_, all)| all);
            let addresses: Vec<String> = places.take(4).map(|a| fondaco_net::address_of(a, to).to_string()).collect();
            for receipts in receipts.chunks(MAX_RECEIPTS) {
                lay(
                    &folder,
                    &Letter {
                        to: to.to_string(),
                        release: id,
                        addresses: addresses.clone(),
                        receipts: receipts.to_vec(),
                    },
                )?;
            }
        }
        Ok::<_, std::io::Error>(())
    });
    written.await.map_err(Fail::failed)?.map_err(|e| Fail::failed(format!("the outbox of receipts: {e}")))
}

/// Writes a letter so that it is there whole or not at all.
fn lay(folder: &Path, letter: &Letter) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut there: Vec<_> = std::fs::read_dir(folder)?.flatten().collect();
    if there.len() >= MOST_WAITING {
        // The oldest has been tried most often.
        there.sort_by_key(|entry| entry.metadata().and_then(|m| m.modified()).ok());
        tracing::warn!(most = MOST_WAITING, "so many receipts wait that the oldest are given up");
        for oldest in there.iter().take(there.len() + 1 - MOST_WAITING) {
            std::fs::remove_file(oldest.path())?;
        }
    }
    let name: [u8; 16] = random();
    let name = format!("{:032x}", u128::from_be_bytes(name));
    let (part, whole) = (folder.join(format!("{name}.part")), folder.join(format!("{name}.json")));
    std::fs::write(&part, serde_json::to_vec(letter).map_err(std::io::Error::other)?)?;
    std::fs::rename(part, whole)
}

/// Sends what waits, once each; what was taken is removed, and what nobody took in a month too.
/// Answers how many are left.
pub async fn send_waiting(net: &Net, folder: &Path) -> usize {
    let listed = {
        let folder = folder.to_owned();
        tokio::task::spawn_blocking(move || waiting(&folder)).await.unwrap_or_default()
    };
    let (mut left, mut listed, mut going) = (0, listed.into_iter(), JoinSet::new());
    loop {
        while going.len() < AT_ONCE
            && let Some((path, letter)) = listed.next()
        {
            let net = net.clone();
            going.spawn(async move {
                let is_done = tokio::time::timeout(SENDING, send(&net, &letter)).await.unwrap_or(false);
                if is_done {
                    let _ = tokio::fs::remove_file(&path).await;
                }
                is_done
            });
        }
        let Some(is_done) = going.join_next().await else { return left };
        left += usize::from(!is_done.unwrap_or(false));
    }
}

fn waiting(folder: &Path) -> Vec<(PathBuf, Letter)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten().take(MOST_WAITING) {
        let path = entry.path();
        let age =
            entry.metadata().and_then(|m| m.modified()).ok().and_then(|t| SystemTime::now().duration_since(t).ok());
        let letter = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Letter>(&bytes).ok());
        match letter {
            Some(letter) if age.is_none_or(|age| age < KEPT_FOR) => found.push((path, letter)),
            // A torn one is younger than its rename, and none is.
            _ if age.is_some_and(|age| age > Duration::from_mins(10)) => drop(std::fs::remove_file(&path)),
            _ => {}
        }
    }
    found
}

/// Whether the letter need not be sent again.
async fn send(net: &Net, letter: &Letter) -> bool {
    let Ok(to) = Config::peer(&letter.to) else { return true };
    let mut addresses: Vec<Multiaddr> =
        letter.addresses.iter().filter_map(|a| Config::peer_address(a).ok()).map(|(_, a)| a).collect();
    if net.connect(to, addresses.clone()).await.is_err() {
        // Whoever publishes a release announces it: the hash table may know where that is now.
        let found = net.who_has(letter.release, Duration::from_secs(2)).await;
        addresses.extend(found.into_iter().filter(|(peer, _)| *peer == to).flat_map(|(_, all)| all));
    }
    let question = Question::Receipts(letter.receipts.iter().map(|r| r.clone().into()).collect());
    match net.ask(to, addresses, &question, MAX_ANSWER).await {
        Ok(Answered::Receipts(had)) => had.len() == letter.receipts.len() && had.iter().all(|had| *had),
        // It wants none.
        Ok(Answered::Nothing) => true,
        Ok(_) => false,
        Err(error) => {
            tracing::debug!(%error, "receipts wait");
            false
        }
    }
}

/// Sends what waits again and again, until `stop` says true.
pub async fn keep_sending(node: &Node, net: Net, mut stop: watch::Receiver<bool>) {
    let folder = outbox(node);
    let (mut pause, mut known) = (SOON, 0);
    loop {
        let left = tokio::select! {
            biased;
            _ = stop.wait_for(|s| *s) => return,
            left = send_waiting(&net, &folder) => left,
        };
        // Something new, or nothing left: begin again with little patience.
        pause = if left != known || left == 0 { SOON } else { (pause * 2).min(LATE) };
        known = left;
        tokio::select! {
            biased;
            _ = stop.wait_for(|s| *s) => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Sends what waits now: for a command that is over soon.
pub async fn send_now(node: &Node, net: &Net) {
    if node.deployment.network.receipts.give {
        // What is still waiting then goes out when the node is up.
        let _ = tokio::time::timeout(SENDING_NOW, send_waiting(net, &outbox(node))).await;
    }
}

/// `fondaco receipts`.
pub async fn show(node: &Node, limit: u32, json: bool, out: &Out) -> Done {
    let sums = node.market.deliveries(limit).await?;
    let own = node.market.keys().pair().public();
    for sum in &sums {
        let title = match node.market.ledger().release(sum.release).await? {
            Some((release, _)) => release.title,
            None => String::new(),
        };
        let peer = fondaco_net::peer_id(&sum.seeder)?.to_string();
        let is_own = sum.seeder == own;
        out.result(
            json,
            || {
                serde_json::json!({
                    "release": sum.release, "title": title, "seeder": peer, "own": is_own, "bytes": sum.bytes,
                    "receipts": sum.receipts, "downloaders": sum.downloaders,
                    "last": sum.last.format(&time::format_description::well_known::Rfc3339).ok(),
                })
            },
            || {
                let who = if is_own { "this node".to_owned() } else { peer.clone() };
                format!(
                    "{:>14} bytes  {who}  {title}\n  {} receipts of {} downloaders, release {}",
                    sum.bytes, sum.receipts, sum.downloaders, sum.release
                )
            },
        );
    }
    if sums.is_empty() && !json {
        out.note("no receipts yet: those that fetch from this node sign them where their [network.receipts] says give = true");
    }
    Ok(())
}
