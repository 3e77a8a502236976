//! Mirrors: whole works of a channel kept here, the newest first and within a quota, and let go when they are superseded,
//! withdrawn or over it. Runs in the background of a running node; where it was is in the list of what it brought, so that
//! it goes on after a restart, and a work that was fetched in part goes on from there.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use fondaco_ledger::Listing;
use fondaco_net::Net;
use fondaco_schemas::{Link, PublicKey, ReleaseId};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::channels::{Followed, Mirror};
use crate::fail::{Done, Fail, chain};
use crate::fetches::Places;
use crate::following::places;
use crate::node::Node;
use crate::receipts;

/// Works that are fetched at once.
const AT_ONCE: usize = 2;
/// How often it is looked anew, besides when something changed.
const LOOK: Duration = Duration::from_mins(1);
/// When a work is tried again that could not be fetched; then twice as long each time.
const AGAIN: Duration = Duration::from_secs(10);
const LATEST: Duration = Duration::from_hours(1);
/// The most works of one mirror.
const MOST_WORKS: usize = 100_000;

impl Mirror {
    /// Whether a work is one to keep.
    fn wants(&self, listing: &Listing) -> bool {
        let tag = self.tags.is_empty() || listing.tags.iter().any(|tag| self.tags.contains(tag));
        tag && (self.kinds.is_empty() || self.kinds.contains(&listing.kind))
    }

    /// What of these works, the newest first, is kept: each that still fits.
    fn within(&self, works: Vec<(ReleaseId, u64)>) -> Vec<ReleaseId> {
        let mut left = self.quota.unwrap_or(u64::MAX);
        let fits = |(release, bytes): (ReleaseId, u64)| {
            left = left.checked_sub(bytes)?;
            Some(release)
        };
        works.into_iter().filter_map(fits).collect()
    }
}

/// What a mirror holds, and how many works it wants.
pub async fn holds(node: &Node, followed: &Followed) -> Done<(usize, usize)> {
    let Some(mirror) = &followed.mirror else { return Ok((0, 0)) };
    let works = node.market.channel_works(followed.channel, MOST_WORKS, |l| mirror.wants(l)).await?;
    let wanted = mirror.within(works);
    let here = wanted.iter().filter(|release| !node.market.is_coming(**release)).count();
    Ok((here, wanted.len()))
}

/// Keeps all mirrors up to date until `stop` says true.
pub async fn keep_mirroring(node: Arc<Node>, net: Net, mut stop: watch::Receiver<bool>) {
    let mut this = Mirroring {
        node: Arc::clone(&node),
        net,
        running: JoinSet::new(),
        busy: BTreeSet::new(),
        wanted: Vec::new(),
        later: HashMap::new(),
    };
    let mut is_changed = true;
    let (mut works, mut changed) = (node.channels.works.subscribe(), node.channels.changed.subscribe());
    loop {
        if std::mem::take(&mut is_changed) {
            this.look().await;
        }
        this.start();
        let now = Instant::now();
        let wait = this
            .later
            .values()
            .map(|(at, _)| *at)
            .filter(|at| *at > now)
            .min()
            .unwrap_or_else(|| Instant::now() + LOOK);
        tokio::select! {
            biased;
            _ = stop.wait_for(|s| *s) => break,
            Some(Ok((channel, release, done))) = this.running.join_next() => this.done(channel, release, done),
            Ok(()) = works.changed() => is_changed = true,
            Ok(()) = changed.changed() => is_changed = true,
            () = tokio::time::sleep_until(wait.max(Instant::now() + Duration::from_secs(1))) => is_changed = true,
        }
    }
    this.running.shutdown().await;
}

struct Mirroring {
    node: Arc<Node>,
    net: Net,
    running: JoinSet<(PublicKey, ReleaseId, Done)>,
    busy: BTreeSet<ReleaseId>,
    /// What each mirror keeps, the newest first.
    wanted: Vec<(Followed, Vec<ReleaseId>)>,
    /// What could not be fetched, when it is tried again, and how long it was waited for that.
    later: HashMap<ReleaseId, (Instant, Duration)>,
}

impl Mirroring {
    async fn look(&mut self) {
        self.wanted.clear();
        for followed in self.node.channels.list() {
            match self.look_at(&followed).await {
                Ok(wanted) => self.wanted.push((followed, wanted)),
                Err(Fail { text, .. }) => {
                    tracing::error!(channel = %followed.channel, "a mirror is not kept up to date: {text}");
                }
            }
        }
    }

    /// Lets go what is not to be kept any more; answers what is.
    async fn look_at(&self, followed: &Followed) -> Done<Vec<ReleaseId>> {
        let (market, channel) = (&self.node.market, followed.channel);
        let wanted = match &followed.mirror {
            Some(mirror) => {
                mirror.within(market.channel_works(channel, MOST_WORKS, |listing| mirror.wants(listing)).await?)
            }
            None => Vec::new(),
        };
        let kept: BTreeSet<ReleaseId> = wanted.iter().copied().collect();
        let mirrored = self.node.channels.mirrored(&channel);
        let gone: Vec<ReleaseId> = mirrored.difference(&kept).copied().collect();
        for release in gone {
            market.let_go(&Link { addresses: followed.addresses.clone(), ..Link::to(release) }).await?;
            self.node.channels.edit_mirrored(&channel, |all| all.remove(&release)).map_err(Fail::failed)?;
        }
        Ok(wanted)
    }

    /// Begins to fetch what is not here, as far as may be.
    fn start(&mut self) {
        let now = Instant::now();
        for (followed, wanted) in &self.wanted {
            for release in wanted.iter().copied() {
                if self.busy.len() >= AT_ONCE {
                    return;
                }
                let waits = self.later.get(&release).is_some_and(|(at, _)| *at > now);
                if waits || self.busy.contains(&release) || !self.node.market.is_coming(release) {
                    continue;
                }
                self.busy.insert(release);
                let (node, net, channel) = (Arc::clone(&self.node), self.net.clone(), followed.channel);
                let addresses = followed.addresses.clone();
                self.running.spawn(async move {
                    let done = bring(&node, &net, channel, release, addresses).await;
                    (channel, release, done)
                });
            }
        }
    }

    fn done(&mut self, channel: PublicKey, release: ReleaseId, done: Done) {
        self.busy.remove(&release);
        match done {
            Ok(()) => {
                self.later.remove(&release);
                tracing::info!(%channel, %release, "a work is mirrored");
            }
            Err(Fail { text, .. }) => {
                let pause = self.later.get(&release).map_or(AGAIN, |(_, pause)| (*pause * 2).min(LATEST));
                self.later.insert(release, (Instant::now() + pause, pause));
                tracing::warn!(%channel, %release, again_in = ?pause, "a work is not mirrored yet: {text}");
            }
        }
    }
}

/// Fetches all files of a release that others than its publisher deliver.
async fn bring(node: &Node, net: &Net, channel: PublicKey, id: ReleaseId, addresses: Vec<String>) -> Done {
    let Some((release, envelope)) = node.market.ledger().release(id).await? else { return Ok(()) };
    if release.for_everybody().next().is_none() {
        return Err(Fail::refused("it is sold without a lock, and no node passes it on"));
    }
    let (web, mut places) = (node.web()?, Places { peers: places(&addresses), web: Vec::new() });
    places.peers.extend(node.channels.doing(&channel).giver.map(|peer| (peer, Vec::new())));
    let near = places.peers.clone();
    // A player or a command may be fetching it too: it is one fetch.
    let joined = node.fetches.join((net, &web), &node.market, (id, &release), places, false);
    let running = joined.ok_or_else(|| Fail::unavailable("too much is being fetched already"))?;
    running.fetch.all();
    let mut is_told = running.getting.lock().await;
    if *is_told {
        return Err(Fail::unavailable("somebody else fetched it just now"));
    }
    let fetched = running.fetch.done().await;
    *is_told = true;
    let fetched = fetched?;
    // Whoever ends the mirror meanwhile lets go what is noted, and waits for this turn or makes it see that it has ended.
    let turn = node.channels.turn(channel);
    let _turn = turn.lock().await;
    if node.channels.get(&channel).is_none_or(|followed| followed.mirror.is_none()) {
        return Ok(());
    }
    // Noted before it is kept: what is kept and not noted would never be let go.
    node.channels.edit_mirrored(&channel, |all| all.insert(id)).map_err(|e| Fail::failed(chain(&e)))?;
    node.market.take_in(envelope).await?;
    if !node.channels.mirrored(&channel).contains(&id) {
        // Something newer took its place meanwhile.
        node.market.let_go(&Link { addresses, ..Link::to(id) }).await?;
        return Ok(());
    }
    let peers = fetched.sources.iter().filter_map(|s| s.who.peer().filter(|_| s.bytes > 0).map(|peer| (peer, s.bytes)));
    let brought: Vec<_> = peers.collect();
    drop(fetched);
    // What was fetched is here, whatever becomes of the thanks for it.
    if let Err(Fail { text, .. }) = receipts::sign(node, id, &release, &brought, &near).await {
        tracing::warn!("receipts are not signed: {text}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use fondaco_schemas::{WorkId, WorkKind};

    use super::*;

    fn listing(kind: WorkKind, tags: &[&str]) -> Listing {
        Listing {
            number: 1,
            work: WorkId::new(PublicKey::new([1; 32]), "a").unwrap(),
            release: ReleaseId::new([1; 32]),
            is_listed: true,
            kind,
            tags: tags.iter().map(|t| (*t).to_owned()).collect(),
            bytes: 1,
        }
    }

    #[test]
    fn tags_and_kinds_pick_and_the_quota_keeps_the_newest_that_fit() {
        let all = Mirror::default();
        assert!(all.wants(&listing(WorkKind::Book, &[])));
        let jazz = Mirror { tags: vec!["jazz".into(), "blues".into()], kinds: vec![WorkKind::Album], quota: Some(10) };
        assert!(jazz.wants(&listing(WorkKind::Album, &["live", "blues"])));
        assert!(!jazz.wants(&listing(WorkKind::Album, &["live"])));
        assert!(!jazz.wants(&listing(WorkKind::Book, &["jazz"])));
        let works = [(1, 6), (2, 5), (3, 4), (4, 1)].map(|(n, bytes)| (ReleaseId::new([n; 32]), bytes));
        let kept = jazz.within(works.to_vec());
        assert_eq!(kept, [ReleaseId::new([1; 32]), ReleaseId::new([3; 32])]);
        assert_eq!(all.within(works.to_vec()).len(), 4);
    }
}
