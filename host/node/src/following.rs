//! Keeping up with channels: announcements that are heard, and asking from time to time, in a running node; once, for the
//! command that begins it. Releases come into the catalogue as their publisher signed them; their files come when somebody
//! asks for them, or a mirror does (`mirroring`).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use fondaco_net::{Config, Heard, Multiaddr, Net, PeerId};
use fondaco_schemas::{ChannelEntry, Link, PublicKey, ReleaseId, WorkId};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::channels::Followed;
use crate::fail::{Done, Fail, chain};
use crate::node::Node;

/// How often it is looked whether this node's own channel changed, and who is due.
const LOOK: Duration = Duration::from_secs(1);
/// How often a channel is asked for that was not heard of, and how soon after nobody could be asked; then twice as long
/// each time.
const ASK: Duration = Duration::from_mins(10);
const ASK_SOON: Duration = Duration::from_secs(5);
/// Entries whose releases are fetched together.
const TOGETHER: usize = 64;
/// The most changes of one channel that are taken in: a publisher cannot fill this node with names.
const MOST_CHANGES: u64 = 100_000;
/// How often a change is tried whose release nobody gives, before the rest goes on without it.
const TRIES: u32 = 4;

/// Somebody with addresses.
type At = (PeerId, Vec<Multiaddr>);

/// What keeping up once did.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeptUp {
    /// Works that came or have a new release.
    pub new: usize,
    /// Works that were withdrawn.
    pub withdrawn: usize,
    /// Whether somebody was reached who knows the channel.
    pub reached: bool,
}

fn cursor(channel: &PublicKey) -> String {
    format!("channel/{channel}")
}

/// How far a channel is known.
pub async fn known(node: &Node, channel: &PublicKey) -> Done<u64> {
    Ok(node.market.ledger().cursor(&cursor(channel)).await?)
}

/// A channel that is no longer followed begins anew when it is followed again.
pub async fn begin_anew(node: &Node, channel: &PublicKey) -> Done {
    Ok(node.market.ledger().set_cursor(&cursor(channel), 0).await?)
}

/// Addresses of a link, by peer.
pub fn places(addresses: &[String]) -> Vec<At> {
    let mut peers: Vec<At> = Vec::new();
    for address in addresses {
        let Ok((peer, address)) = Config::peer_address(address) else { continue };
        match peers.iter_mut().find(|(known, _)| *known == peer) {
            Some((_, addresses)) => addresses.push(address),
            None => peers.push((peer, vec![address])),
        }
    }
    peers
}

/// Brings a channel up to date: from whom it was heard, from where its link says, from who gave something before, and from
/// those that the hash table names.
pub async fn keep_up(node: &Node, net: &Net, channel: PublicKey, heard: Vec<At>) -> Done<KeptUp> {
    let turn = node.channels.turn(channel);
    let _turn = turn.lock().await;
    let Some(followed) = node.channels.get(&channel) else { return Ok(KeptUp::default()) };
    // What is wrong with its index is noted where that is seen.
    node.channels.note(channel, |doing| doing.problem = None);
    let mut done = KeptUp::default();
    let mut asked = HashSet::new();
    let mut problem = None;
    let giver = node.channels.doing(&channel).giver.map(|peer| (peer, Vec::new()));
    let near: Vec<At> = heard.into_iter().chain(giver).chain(places(&followed.addresses)).collect();
    for at in near {
        if asked.insert(at.0) && at.0 != net.peer_id() {
            ask(node, net, &followed, at, &mut done, &mut problem).await?;
        }
    }
    if !done.reached || known(node, &channel).await? < node.channels.doing(&channel).announced {
        for at in net.find_channel(channel).await {
            if asked.insert(at.0) {
                ask(node, net, &followed, at, &mut done, &mut problem).await?;
            }
        }
    }
    if !done.reached && problem.is_none() {
        problem = Some("nobody is known who has its index; follow it by a link that names somebody (?p=…)".into());
    }
    if !done.reached {
        node.channels.note(channel, |doing| doing.problem = problem);
    }
    if done.new + done.withdrawn > 0 {
        node.channels.works.send_replace(());
    }
    Ok(done)
}

/// Takes in what one peer knows. A peer that cannot be asked is a problem to be told; only what is wrong here is an error.
async fn ask(
    node: &Node,
    net: &Net,
    followed: &Followed,
    at: At,
    done: &mut KeptUp,
    problem: &mut Option<String>,
) -> Done {
    let channel = followed.channel;
    loop {
        let since = known(node, &channel).await?;
        let pages = match net.channel_pages(channel, since, at.clone()).await {
            Ok(Some(pages)) => pages,
            Ok(None) => {
                done.reached = true;
                return Ok(());
            }
            Err(error) => {
                tracing::debug!(%channel, error = %chain(&error), "a channel is not known there");
                *problem = Some(chain(&error));
                return Ok(());
            }
        };
        done.reached = true;
        node.channels.note(channel, |doing| doing.giver = Some(at.0));
        for (page, signed) in pages.pages {
            for portion in page.entries.chunks(TOGETHER) {
                if !take_in(node, net, followed, portion, &at, done).await? {
                    return Ok(());
                }
            }
            let (channels, since, through) = (Arc::clone(&node.channels), page.since, page.through);
            let kept = tokio::task::spawn_blocking(move || channels.keep_page(&channel, since, through, &signed));
            if let Ok(Err(error)) = kept.await {
                tracing::warn!(%channel, %error, "a page of a channel cannot be kept to be given on");
            }
        }
    }
}

/// Takes in some changes. Answers whether all of them are in.
async fn take_in(
    node: &Node,
    net: &Net,
    followed: &Followed,
    entries: &[ChannelEntry],
    at: &At,
    done: &mut KeptUp,
) -> Done<bool> {
    let (market, channel) = (&node.market, followed.channel);
    let since = known(node, &channel).await?;
    let entries: Vec<&ChannelEntry> = entries.iter().filter(|entry| entry.number > since).collect();
    if since.max(market.ledger().channel_sequence(channel).await?) >= MOST_CHANGES {
        let why = format!("it names more than {MOST_CHANGES} works; what comes after them is not followed");
        node.channels.note(channel, |doing| doing.problem = Some(why.clone()));
        tracing::warn!(%channel, "a channel is too long: {why}");
        return Ok(false);
    }
    let mut missing = HashSet::new();
    for entry in entries.iter().filter(|entry| entry.listed) {
        if market.ledger().release(entry.release).await?.is_none() {
            missing.insert(entry.release);
        }
    }
    let mut came = HashMap::new();
    while !missing.is_empty() {
        let wanted: Vec<ReleaseId> = missing.iter().copied().collect();
        let given = net.releases(&wanted, at.clone()).await.unwrap_or_default();
        if given.is_empty() {
            break;
        }
        for (id, release, envelope) in given {
            missing.remove(&id);
            came.insert(id, (release, envelope));
        }
    }
    // Those that are too long for an answer with others.
    let near: Vec<At> = std::iter::once(at.clone()).chain(places(&followed.addresses)).collect();
    for release in missing {
        if let Ok((release, envelope, _)) = net.release(release, &near).await {
            came.insert(fondaco_trust::release::release_id(&envelope), (release, envelope));
        }
    }
    for entry in entries {
        let Ok(work) = WorkId::new(channel, &entry.slug) else { return Ok(false) };
        let is_here = market.ledger().work(&work).await?.is_some_and(|here| here.release_id == entry.release);
        // Of what was withdrawn and is listed again the release is known already.
        let known = market.ledger().release(entry.release).await?;
        match came.remove(&entry.release).or(known) {
            _ if !entry.listed => {
                market.withdrawn(&work).await?;
                done.withdrawn += 1;
            }
            Some(_) if is_here => {}
            Some((release, _)) if release.work != work => {
                let why = format!("its index calls a release {work} that is one of {}", release.work);
                tracing::warn!(%channel, "{why}");
                node.channels.note(channel, |doing| doing.problem = Some(why));
            }
            Some((_, envelope)) => {
                let link = Link { addresses: followed.addresses.clone(), ..Link::to(entry.release) };
                match market.take_in_later(envelope, &link).await {
                    Ok(_) => done.new += 1,
                    // A later release of it is here already.
                    Err(fondaco_market::Error::Ledger(fondaco_ledger::Error::OldRelease { .. })) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            None => {
                let tries = stuck(node, channel, entry.number);
                if tries < TRIES {
                    return Ok(false);
                }
                tracing::warn!(%channel, release = %entry.release, "nobody gives a release of a channel; it is left out");
            }
        }
        market.ledger().set_cursor(&cursor(&channel), entry.number).await?;
        node.channels.note(channel, |doing| {
            if doing.stuck.0 <= entry.number {
                doing.stuck = (0, 0);
            }
        });
    }
    Ok(true)
}

/// Counts how often a change was tried: once for all who are asked in one go, so that a few who give nothing do not make a
/// work be left out.
fn stuck(node: &Node, channel: PublicKey, number: u64) -> u32 {
    let mut tries = 0;
    node.channels.note(channel, |doing| {
        let is_same = doing.stuck.0 == number;
        if is_same && doing.stuck_at.is_some_and(|at| at.elapsed() < ASK_SOON) {
            tries = doing.stuck.1;
            return;
        }
        tries = if is_same { doing.stuck.1 + 1 } else { 1 };
        (doing.stuck, doing.stuck_at) = ((number, tries), Some(Instant::now()));
    });
    tries
}

/// What is due when.
struct Due {
    at: Instant,
    pause: Duration,
}

/// Announces this node's own channel when it changes, and keeps up with those that it follows, until `stop` says true.
pub async fn keep_following(node: Arc<Node>, net: Net, mut stop: watch::Receiver<bool>) {
    let Ok(mut hearing) = net.heard().await else { return };
    let mut this = Following {
        node: Arc::clone(&node),
        net,
        due: HashMap::new(),
        running: JoinSet::new(),
        busy: HashSet::new(),
        again: HashMap::new(),
        told: None,
        events: None,
    };
    let mut changed = node.channels.changed.subscribe();
    this.follow().await;
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = told(&mut stop) => break,
            _ = look.tick() => this.look().await,
            Some(Ok((channel, done))) = this.running.join_next() => this.done(channel, done),
            Some(heard) = hearing.recv() => this.heard(heard),
            Ok(()) = changed.changed() => this.follow().await,
        }
    }
    this.running.shutdown().await;
}

/// Waits until the node stops. What it read is let go at once, since it must not be held while something else is awaited.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|s| *s).await;
}

struct Following {
    node: Arc<Node>,
    net: Net,
    due: HashMap<PublicKey, Due>,
    running: JoinSet<(PublicKey, Done<KeptUp>)>,
    busy: HashSet<PublicKey>,
    /// Heard of while it was being brought up to date, and from whom.
    again: HashMap<PublicKey, PeerId>,
    /// Up to which change this node's own channel was announced.
    told: Option<u64>,
    events: Option<u64>,
}

impl Following {
    /// The list is another one.
    async fn follow(&mut self) {
        let followed = self.node.channels.list();
        let mut channels = Vec::new();
        let own = self.node.market.publisher();
        if let Ok(sequence) = self.node.market.ledger().channel_sequence(own).await {
            channels.push((own, sequence));
        }
        for one in &followed {
            channels.push((one.channel, known(&self.node, &one.channel).await.unwrap_or(0)));
            self.due.entry(one.channel).or_insert(Due { at: Instant::now(), pause: ASK_SOON });
        }
        self.due.retain(|channel, _| followed.iter().any(|f| f.channel == *channel));
        if let Err(error) = self.net.channels(channels).await {
            tracing::debug!(%error, "channels are not listened to");
        }
    }

    async fn look(&mut self) {
        let now = Instant::now();
        let due: Vec<PublicKey> = self.due.iter().filter(|(_, due)| due.at <= now).map(|(c, _)| *c).collect();
        for channel in due {
            self.start(channel, Vec::new());
        }
        let events = self.node.market.ledger().stats().events;
        if self.events == Some(events) {
            return;
        }
        match self.node.market.channel_head().await {
            Ok(Some((sequence, head))) => {
                self.events = Some(events);
                // What was there before is asked for by whoever comes.
                if self.told.replace(sequence).is_some_and(|told| told < sequence) {
                    let own = self.node.market.publisher();
                    tracing::info!(sequence, "this node's channel changed");
                    let _ = self.net.tell_channel(own, sequence, head).await;
                }
            }
            Ok(None) => (self.events, self.told) = (Some(events), Some(0)),
            Err(error) => tracing::error!(error = %chain(&error), "this node's channel is not announced"),
        }
    }

    fn heard(&mut self, Heard { head, from }: Heard) {
        let channel = head.publisher;
        tracing::debug!(%channel, sequence = head.sequence, %from, "a channel changed");
        self.node.channels.note(channel, |doing| doing.announced = doing.announced.max(head.sequence));
        self.start(channel, vec![(from, Vec::new())]);
    }

    fn start(&mut self, channel: PublicKey, heard: Vec<At>) {
        if !self.due.contains_key(&channel) {
            return;
        }
        if !self.busy.insert(channel) {
            if let Some((from, _)) = heard.first() {
                self.again.insert(channel, *from);
            }
            return;
        }
        if let Some(due) = self.due.get_mut(&channel) {
            due.at = Instant::now() + ASK;
        }
        let (node, net) = (Arc::clone(&self.node), self.net.clone());
        self.running.spawn(async move {
            let done = keep_up(&node, &net, channel, heard).await;
            (channel, done)
        });
    }

    fn done(&mut self, channel: PublicKey, done: Done<KeptUp>) {
        self.busy.remove(&channel);
        let behind = self.node.channels.doing(&channel).stuck.1 > 0;
        if let Some(due) = self.due.get_mut(&channel) {
            let went = matches!(&done, Ok(done) if done.reached) && !behind;
            // Not all followers of a publisher at the same time.
            let part = channel.as_bytes()[0] ^ self.net.peer_id().to_bytes().last().copied().unwrap_or(0);
            due.pause = if went { ASK + ASK.mul_f64(f64::from(part) / 512.0) } else { (due.pause * 2).min(ASK) };
            due.at = Instant::now() + due.pause;
            if went {
                due.pause = ASK_SOON;
            }
        }
        match done {
            Ok(KeptUp { new, withdrawn, .. }) if new + withdrawn > 0 => {
                tracing::info!(%channel, new, withdrawn, "a channel was brought up to date");
            }
            Ok(_) => {}
            Err(Fail { text, .. }) => {
                tracing::error!(%channel, "a channel is not kept up with: {text}");
                self.node.channels.note(channel, |doing| doing.problem = Some(text));
            }
        }
        if let Some(from) = self.again.remove(&channel) {
            self.start(channel, vec![(from, Vec::new())]);
        }
    }
}
