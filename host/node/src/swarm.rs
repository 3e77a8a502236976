//! The node in the swarm: what it gives away, what it announces, and how a release of another node becomes one of its own.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fondaco_fetch::Reach;
use fondaco_gateway::{Sharer, Sharing};
use fondaco_market::Market;
use fondaco_net::{
    Answered, Config, Future, Limits, Multiaddr, Net, PeerId, Question, RelayLimits, Role, Shelf, Web, Who,
    answer_pages, answer_releases,
};
use fondaco_schemas::link::{MAX_ADDRESSES, MAX_LINK_BYTES};
use fondaco_schemas::origin::HostName;
use fondaco_schemas::{BlobHash, Deployment, Link, Release, ReleaseId, Work, network};
use fondaco_trust::membership::when;
use tokio::sync::watch;

use crate::channels::Channels;
use crate::fail::{Done, Fail, chain};
use crate::fetches::Places;
use crate::find::Finding;
use crate::membership;
use crate::named::Named;
use crate::node::Node;
use crate::out::{Out, Said};
use crate::receipts::{self, Taking};

/// How often it is looked whether there is something new to announce.
const LOOK: Duration = Duration::from_secs(2);
/// How often progress is told.
const TELL: Duration = Duration::from_millis(200);

/// What `[network]` says, as the swarm takes it. `data` is the data folder.
pub fn config(deployment: &Deployment, data: &Path) -> Done<Config> {
    let given = &deployment.network;
    let wrong = |error: fondaco_net::Error| Fail::failed(format!("fondaco.toml: [network]: {error}"));
    let listen = |a: &network::NodeAddress| Config::listen_address(a.as_str()).map_err(wrong);
    let announce = |a: &network::NodeAddress| Config::announced_address(a.as_str()).map_err(wrong);
    let bootstrap = |a: &network::NodeAddress| Config::peer_address(a.as_str()).map_err(wrong);
    let limits = &given.limits;
    let allow: Done<BTreeSet<PeerId>> = given.allow.iter().map(|id| Config::peer(id.as_str()).map_err(wrong)).collect();
    let allow = allow?;
    Ok(Config {
        listen: given.listen.iter().map(listen).collect::<Done<_>>()?,
        announce: given.announce.iter().map(announce).collect::<Done<_>>()?,
        bootstrap: given.bootstrap.iter().map(bootstrap).collect::<Done<_>>()?,
        role: match given.role {
            network::Role::Leaf => Role::Leaf,
            network::Role::Full => Role::Full,
            network::Role::Relay => Role::Relay,
        },
        relays: given.relays.iter().map(bootstrap).collect::<Done<_>>()?,
        relay: RelayLimits {
            reservations: given.relay.reservations,
            circuits: given.relay.circuits,
            circuit_bytes: given.relay.circuit_bytes.get(),
            circuit_time: given.relay.circuit_time.duration(),
        },
        mdns: given.mdns,
        allow: (!allow.is_empty()).then_some(allow),
        limits: Limits {
            connections: limits.connections,
            connections_per_address: limits.connections_per_address,
            memory_bytes: limits.memory.get(),
            uploads: limits.uploads,
            streams_per_peer: limits.streams_per_peer,
            upload_bytes_per_second: limits.upload_rate.map(fondaco_schemas::ByteSize::get),
        },
        upload_schedule: limits.schedule.iter().map(timed).collect(),
        book: Some(fondaco_net::book_in(data)),
        ..Config::default()
    })
}

fn timed(rate: &network::ScheduledRate) -> fondaco_net::Timed {
    fondaco_net::Timed {
        from: rate.from.minutes(),
        to: rate.to.minutes(),
        bytes_per_second: rate.upload_rate.map(fondaco_schemas::ByteSize::get),
    }
}

/// What the swarm may give to others: releases of the catalogue, and files that are for everybody.
struct Given {
    market: Market,
    channels: Arc<Channels>,
    finding: Arc<Finding>,
    taking: Taking,
}

impl Shelf for Given {
    fn envelope(&self, id: ReleaseId) -> Future<'_, Option<Vec<u8>>> {
        Box::pin(async move {
            match self.market.ledger().release(id).await {
                Ok(found) => found.map(|(_, envelope)| envelope),
                Err(error) => {
                    tracing::error!(error = %chain(&error), "a release cannot be given to a peer");
                    None
                }
            }
        })
    }

    fn is_public(&self, blob: BlobHash) -> Future<'_, bool> {
        Box::pin(async move {
            self.market.is_public(blob).await.unwrap_or_else(|error| {
                tracing::error!(error = %chain(&error), "it is not known who may have a blob");
                false
            })
        })
    }

    fn answer(&self, from: PeerId, question: Question, most_bytes: usize) -> Future<'_, Answered> {
        Box::pin(async move {
            match question {
                Question::Channel { channel, since } if channel == self.market.publisher() => {
                    answer_pages(self.channels.own_pages(&self.market, since, most_bytes).await, most_bytes)
                }
                Question::Channel { channel, since } if self.channels.get(&channel).is_some() => {
                    let channels = Arc::clone(&self.channels);
                    let pages = tokio::task::spawn_blocking(move || channels.kept_pages(&channel, since, most_bytes));
                    answer_pages(pages.await.unwrap_or_default(), most_bytes)
                }
                Question::Releases(wanted) => {
                    let (mut envelopes, mut bytes) = (Vec::new(), 0);
                    for id in wanted.into_iter().take(fondaco_net::MAX_RELEASES) {
                        let Some(envelope) = self.envelope(id).await else { continue };
                        bytes += envelope.len();
                        envelopes.push(envelope);
                        if bytes > most_bytes {
                            break;
                        }
                    }
                    answer_releases(envelopes, most_bytes)
                }
                Question::Search(search) => self.finding.answer(from, search, most_bytes).await,
                Question::Receipts(receipts) => {
                    self.taking.answer(from, receipts.into_iter().map(Vec::from).collect()).await
                }
                _ => Answered::Nothing,
            }
        })
    }
}

impl Node {
    /// The swarm, started if it is not running: a command for a node that is not up dials out for as long as it lasts.
    pub async fn net(&self) -> Done<&Net> {
        if !self.deployment.network.enabled {
            return Err(Fail::unavailable(
                "this node is not part of a swarm: write enabled = true under [network] in fondaco.toml, and say there \
                 where it listens",
            ));
        }
        self.swarm.get_or_try_init(|| self.start_swarm(false)).await
    }

    /// Starts the swarm, where `[network]` says so. `listening`: be there for others too.
    pub async fn start_swarm(&self, listening: bool) -> Done<Net> {
        let mut config = config(&self.deployment, &self.folder.data(&self.deployment))?;
        config.membership = membership::own(&self.folder, &self.deployment)?;
        if let Some(own) = &config.membership {
            let (left, until) = (own.not_after().saturating_sub(membership::now()), when(own.not_after()));
            if left < membership::SOON_DAYS * 24 * 3600 {
                tracing::warn!(%until, "this node's membership of its private network ends soon; ask for another token");
            }
        }
        if !listening {
            config.listen = Vec::new();
            config.announce = Vec::new();
            config.role = Role::Leaf;
        }
        let finding = Finding::new(&self.deployment, self.market.clone(), config.role != Role::Leaf)?;
        let taking = Taking::new(self.market.clone(), self.deployment.network.receipts);
        let (market, channels) = (self.market.clone(), Arc::clone(&self.channels));
        let shelf = Arc::new(Given { market, channels, finding: Arc::clone(&finding), taking });
        let key = self.market.keys().pair();
        let net = Net::start(config, key, self.market.store().clone(), shelf).await?;
        finding.set_net(net.clone());
        self.market.set_peers(finding.clone());
        let _ = self.finding.set(finding);
        Ok(net)
    }

    /// This node's shop as a web seed, where the public can reach it: its address is the operator's word.
    fn own_web_seed(&self) -> Option<String> {
        let base = self.deployment.brand.base_url.as_ref().map(|_| self.market.base_url())?;
        let url: fondaco_fetch::Url = base.parse().ok()?;
        let is_public = match url.origin().host() {
            HostName::Address(ip) => fondaco_fetch::class(ip).is_none(),
            HostName::Name(name) => {
                name.rsplit_once('.').is_some_and(|(_, last)| !matches!(last, "localhost" | "local"))
            }
        };
        is_public.then(|| format!("{base}/files/{{hash}}/{{path}}"))
    }

    /// How web seeds are asked.
    pub fn web(&self) -> Done<Web> {
        let reach = if self.deployment.network.private_web_seeds { Reach::Private } else { Reach::Public };
        Ok(Web { client: crate::outbound::client(&self.folder, &self.deployment)?, reach })
    }

    /// What makes links to releases of this node, where it is part of a swarm.
    pub async fn links(&self) -> Links {
        let addresses = match self.swarm.get() {
            Some(net) => net.addresses().await.unwrap_or_default(),
            None => Vec::new(),
        };
        Links {
            market: self.market.clone(),
            is_in_swarm: self.deployment.network.enabled,
            addresses: addresses.iter().map(Multiaddr::to_string).collect(),
            web: self.own_web_seed(),
        }
    }
}

/// The swarm's figures for `/metrics`.
pub fn metrics(net: Net) -> fondaco_gateway::MoreMetrics {
    Box::new(move || {
        let net = net.clone();
        // A swarm that is being stopped has none.
        Box::pin(async move { net.metrics().await.unwrap_or_default() })
    })
}

/// How long the hash table is asked who has a work.
const ASKING: Duration = Duration::from_secs(5);

/// Who shares a work: those that the hash table names, and those with whom it was exchanged since the start.
pub async fn sharing(net: &Net, work: &Work) -> Result<Sharing, fondaco_net::Error> {
    let release = work.release_id;
    let blobs: Vec<_> = work.release.files.iter().map(|file| file.hash).collect();
    let moved = net.exchanged(release, &blobs);
    let connected: HashSet<_> = net.status().await?.peers.iter().map(|peer| peer.id).collect();
    let mut all: BTreeMap<_, _> =
        net.providers(release, ASKING).await.into_iter().map(|(peer, addresses)| (peer, Some(addresses))).collect();
    for peer in moved.keys() {
        all.entry(*peer).or_insert(None);
    }
    let sharer = |(peer, announced): (PeerId, Option<Vec<Multiaddr>>)| {
        let (sent_bytes, received_bytes) = moved.get(&peer).copied().unwrap_or_default();
        Sharer {
            peer: peer.to_string(),
            this_node: peer == net.peer_id(),
            announces: announced.is_some(),
            connected: connected.contains(&peer),
            addresses: announced.iter().flatten().map(ToString::to_string).collect(),
            sent_bytes,
            received_bytes,
        }
    };
    let (sent_bytes, received_bytes) = moved.values().fold((0_u64, 0_u64), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    Ok(Sharing {
        work: work.release.work.to_string(),
        title: work.release.title.clone(),
        release,
        sent_bytes,
        received_bytes,
        sharers: all.into_iter().map(sharer).collect(),
    })
}

/// The same for the operator's page.
pub fn ask_sharing(market: Market, net: Net) -> fondaco_gateway::AskSwarm {
    Box::new(move |id| {
        let (market, net) = (market.clone(), net.clone());
        Box::pin(async move {
            let (release, _) = market.ledger().release(id).await.ok()??;
            sharing(&net, &Work { release_id: id, release }).await.ok()
        })
    })
}

/// How long addresses are kept for those who ask the gateway for links.
const KEPT: Duration = Duration::from_secs(2);

/// Gives the link to a release to those who ask the gateway for it; none in a private network, whose members alone could
/// follow it.
pub fn ask_link(node: Arc<Node>) -> fondaco_gateway::AskLink {
    // Many may ask, and the swarm's loop has other things to do.
    let kept: Arc<tokio::sync::Mutex<Option<(Instant, Links)>>> = Arc::default();
    Box::new(move |id| {
        let (node, kept) = (Arc::clone(&node), Arc::clone(&kept));
        Box::pin(async move {
            let network = &node.deployment.network;
            if !network.allow.is_empty() || network.authority.is_some() {
                return None;
            }
            let mut kept = kept.lock().await;
            let (at, links) = match kept.take().filter(|(at, _)| at.elapsed() < KEPT) {
                Some(kept) => kept,
                None => (Instant::now(), node.links().await),
            };
            // Web servers that somebody noted here were not told to everybody.
            let link = links.make(id, false);
            *kept = Some((at, links));
            link
        })
    })
}

/// Makes links; none where the node is part of no swarm.
pub struct Links {
    market: Market,
    is_in_swarm: bool,
    addresses: Vec<String>,
    web: Option<String>,
}

impl Links {
    /// The link to a release. Of one whose files are still to come it names where they come from, too.
    pub fn to(&self, release: ReleaseId) -> Option<String> {
        self.make(release, true)
    }

    /// The same, with the web servers that were noted for a release that is still to come, or without.
    fn make(&self, release: ReleaseId, with_web: bool) -> Option<String> {
        if !self.is_in_swarm {
            return None;
        }
        let mut link = Link { addresses: self.addresses.clone(), ..Link::to(release) };
        match self.market.coming(release) {
            Some(noted) => {
                link.addresses.extend(noted.addresses.into_iter().filter(|address| !self.addresses.contains(address)));
                link.web = if with_web { noted.web } else { Vec::new() };
            }
            // A web server without the files would be no help.
            None => link.web.extend(self.web.clone()),
        }
        // What is too long is no link.
        link.addresses.truncate(MAX_ADDRESSES.saturating_sub(link.web.len()));
        while link.to_string().len() > MAX_LINK_BYTES && link.addresses.pop().is_some() {}
        Some(link.to_string())
    }
}

/// Announces the current releases, and again when they change, until `stop` says true.
pub async fn keep_announcing(market: Market, net: Net, mut stop: watch::Receiver<bool>) {
    let mut known = None;
    loop {
        let state = (market.ledger().stats().events, market.coming_count());
        if known != Some(state) {
            match market.ledger().current_releases().await {
                Ok(mut releases) => {
                    known = Some(state);
                    // What is still to come here is no help to others.
                    releases.retain(|release| !market.is_coming(*release));
                    if net.announce(releases).await.is_err() {
                        return;
                    }
                }
                Err(error) => tracing::error!(error = %chain(&error), "nothing is announced"),
            }
        }
        tokio::select! {
            biased;
            _ = stop.wait_for(|s| *s) => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// What somebody is told who wants what is sold.
pub fn where_to_buy(release: &Release) -> String {
    match release.home.as_ref().and_then(|home| home.page_of(&release.work)) {
        Some(page) => format!("buy it at {page}"),
        None => "buy it at its publisher's shop".to_owned(),
    }
}

/// The release that a link names: from the catalogue, or from the swarm. With it the peers of whom it is known that they
/// may have its files, and the web servers.
async fn release_of(node: &Node, net: &Net, Named { link, work }: &Named) -> Done<(Release, Vec<u8>, Places)> {
    let Places { mut peers, mut web } = Places::of(link)?;
    let id = link.release;
    let (release, envelope) = if let Some(known) = node.market.ledger().release(id).await? {
        if let Some(noted) = node.market.coming(id) {
            let noted = Places::of(&noted)?;
            peers.extend(noted.peers);
            web.extend(noted.web);
        }
        known
    } else {
        let (release, envelope, from) = net.release(id, &peers).await?;
        if peers.iter().all(|(peer, _)| *peer != from) {
            peers.push((from, Vec::new()));
        }
        (release, envelope)
    };
    if let Some(work) = work.as_ref().filter(|work| **work != release.work) {
        return Err(Fail::refused(format!("the page is that of {work}, and its node gave a link to {}", release.work)));
    }
    if release.for_everybody().next().is_none() {
        return Err(Fail::refused(format!(
            "{} is sold without a lock: its publisher alone delivers it to those who bought it, and no node passes it on; {}",
            release.title,
            where_to_buy(&release)
        )));
    }
    // What nobody but this node delivers does not come from others.
    if *release.work.publisher() == node.market.publisher()
        && let Some(sold) = release.files.iter().find(|f| !release.is_public(f) && !node.market.store().has(f.hash))
    {
        return Err(Fail::refused(format!(
            "{} is this node's own work, and {:?} of it is sold without a lock: no other node has it; publish it again",
            release.title, sold.path
        )));
    }
    Ok((release, envelope, Places { peers, web }))
}

/// Takes the release that a link names into the catalogue. Its files come when somebody first asks for them.
pub async fn note(node: &Node, named: &Named) -> Done<Work> {
    let net = node.net().await?;
    let (_, envelope, _) = release_of(node, net, named).await?;
    Ok(node.market.take_in_later(envelope, &named.link).await?)
}

/// Fetches the release that a link names, with its files, and takes it into the catalogue.
pub async fn fetch(node: &Node, named: &Named, json: bool, out: &Out) -> Done<Work> {
    let net = node.net().await?;
    let (release, envelope, places) = release_of(node, net, named).await?;
    let link = &named.link;
    let (web, near) = (node.web()?, places.peers.clone());
    let (count, bytes) = release.for_everybody().fold((0, 0_u64), |(n, sum), f| (n + 1, sum.saturating_add(f.size)));
    if !json {
        out.note(format!("fetching {} ({count} files)", release.title));
    }
    out.say(Said::Begin(bytes));
    let (mut told, mut paused) = (0, None);
    let work = loop {
        let of = (link.release, &release);
        let joined = node.fetches.join((net, &web), &node.market, of, places.clone(), false);
        let running = joined.ok_or_else(|| Fail::unavailable("too much is being fetched already"))?;
        running.fetch.all();
        // Whoever else fetches this is waited for; then all is here.
        let mut is_told = running.getting.lock().await;
        if *is_told {
            continue;
        }
        let fetched = loop {
            let done = tokio::time::timeout(TELL, running.fetch.done()).await;
            let bytes = running.fetch.bytes();
            out.say(Said::Step(bytes.saturating_sub(told)));
            told = bytes.max(told);
            let now = running.fetch.paused();
            if now != paused {
                match &now {
                    Some(why) => out.note(format!("paused: {why}; it goes on by itself once there is room")),
                    None => out.note("there is room again: it goes on"),
                }
                paused = now;
            }
            if let Ok(done) = done {
                break done;
            }
        };
        *is_told = true;
        out.say(Said::End);
        for source in running.fetch.sources().iter().filter(|_| !json) {
            let state = match &source.state {
                fondaco_net::SourceState::Out(why) if why != "done" => format!(", {why}"),
                _ => String::new(),
            };
            out.note(format!("  {}: {} bytes{state}", source.who, source.bytes));
        }
        // Held until the release pins its files.
        let fetched = fetched?;
        let work = node.market.take_in(envelope).await?;
        let peers = fetched.sources.iter().filter_map(|source| match &source.who {
            Who::Peer(peer) if source.bytes > 0 => Some((*peer, source.bytes)),
            _ => None,
        });
        let brought: Vec<(PeerId, u64)> = peers.collect();
        drop((fetched, is_told));
        // What was fetched is here, whatever becomes of the thanks for it.
        if let Err(Fail { text, .. }) = receipts::sign(node, link.release, &work.release, &brought, &near).await {
            tracing::warn!("receipts are not signed: {text}");
        }
        receipts::send_now(node, net).await;
        break work;
    };
    Ok(work)
}

impl From<fondaco_net::Error> for Fail {
    fn from(error: fondaco_net::Error) -> Self {
        use fondaco_net::Error as N;
        let text = chain(&error);
        match error {
            N::Address { .. } => Self::usage(text),
            N::Release { .. } => Self::refused(text),
            N::Store(error) => error.into(),
            N::Key => Self::failed(text),
            _ => Self::unavailable(text),
        }
    }
}
