//! The flows between plugins: publish, discover, sell, deliver, speak. Each is a small state machine over store, ledger
//! and runtime; none knows HTTP, and none has an opinion about ranking, prices, keys' policy, letters or pages.
//!
//! Invariant: nothing is granted but by the ledger. Invariant: a plugin's word is checked before it counts: hits are
//! looked up, events are compared with the order, scripts are run within their bounds.

mod audit;
mod channel;
mod coming;
mod convert;
mod deliver;
mod desk;
mod discover;
mod edit;
mod error;
mod keys;
mod lend;
pub mod media;
mod mirror;
mod open;
mod peers;
mod publish;
mod receipts;
mod sell;
mod speak;
mod theme;
mod visitors;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use fondaco_ledger::Ledger;
use fondaco_runtime::wit::settings;
use fondaco_runtime::{Plugin, Services};
use fondaco_schemas::deployment::{Brand, Shop};
use fondaco_schemas::id::IdError;
use fondaco_schemas::{Home, PluginId, PluginKind, PublicKey, WorkId};
use fondaco_store::Store;
use fondaco_trust::{KeyPair, Verified};
use time::OffsetDateTime;
use tokio::sync::Notify;

pub use channel::ChannelSigned;
pub use coming::{Bringer, Future, Incoming};
pub use convert::{kind as wit_kind, read_kind, read_money};
pub use deliver::{Awaited, Content, Delivered, Delivery, Proof, Refusal};
pub use edit::{EditError, Editor};
pub use error::{Error, words};
pub use keys::{Library, NodeKeys, SealError, random, seal};
pub use open::{Opener, open_file};
pub use peers::{AllHeard, Found, Heard, Peers, PeersFuture, WAIT};
pub use publish::{Progress, PublishOptions, Published};
pub use receipts::ReceiptVerdict;
pub use sell::WebhookRefusal;
pub use theme::{Logo, Theme};
pub use visitors::Cookie;

/// What a market is made of.
pub struct Parts {
    /// The deployment's folder: themes and assets lie there.
    pub folder: PathBuf,
    /// Where it is noted which works' files are still to come.
    pub coming: PathBuf,
    /// What people see at first.
    pub looks: Looks,
    /// Where people see it.
    pub base_url: String,
    /// The same where the operator said so: what releases name as the publisher's shop.
    pub shop: Option<String>,
    /// The blobs.
    pub store: Store,
    /// The log.
    pub ledger: Ledger,
    /// The node's keys.
    pub keys: NodeKeys,
    /// What releases are signed with.
    pub publisher: KeyPair,
}

/// What the operator may change while the node runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Looks {
    /// What people see.
    pub brand: Brand,
    /// Which plugins have which role.
    pub shop: Shop,
    /// What it looks like.
    pub theme: Theme,
}

/// How far the node has come. Where two are equal, nothing was written, installed or set between them: what was made from
/// the ledger and the plugins before the first may be shown at the second, time apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// The ledger's commits: every event, and every write of a plugin.
    pub commits: u64,
    /// Changes of plugins, of looks, and of whether there are peers.
    pub changes: u64,
}

/// A handle on the flows, cheap to clone.
#[derive(Clone)]
pub struct Market(Arc<Inner>);

pub(crate) struct Inner {
    parts: Parts,
    /// What may change while the node runs, replaced as a whole.
    looks: RwLock<Arc<Looks>>,
    plugins: RwLock<BTreeMap<PluginId, Installed>>,
    /// Wakes the feeding of search providers.
    changed: Notify,
    /// One feeding at a time, so that no provider meets two batches at once.
    feeding: tokio::sync::Mutex<()>,
    /// Works whose files are not here.
    coming: coming::Coming,
    /// One release recorded at a time.
    recording: tokio::sync::Mutex<()>,
    /// What the plugins did and is not in the log yet.
    trail: Mutex<audit::Trail>,
    /// Other nodes, where there is a swarm.
    peers: RwLock<Option<Arc<dyn Peers>>>,
    /// What they found lately.
    found: peers::Kept,
    /// Changes of what is not in the ledger.
    changes: AtomicU64,
    /// The campaigns that ran a moment ago.
    running: speak::Running,
}

/// A plugin in its place.
#[derive(Clone)]
pub struct Installed {
    /// Ready to be called.
    pub plugin: Plugin,
    /// Its name for people, by locale.
    pub names: BTreeMap<String, String>,
}

/// What a plugin is lent besides the node's own services.
pub struct Lending {
    /// Whose files it may read.
    pub bundle: Arc<Verified>,
    /// Its settings, as JSON.
    pub settings: String,
    /// Its secrets, by name.
    pub secrets: BTreeMap<String, String>,
}

impl Market {
    /// Opens the market. Plugins are installed afterwards.
    pub fn new(parts: Parts) -> Self {
        let (feeding, recording) = (tokio::sync::Mutex::default(), tokio::sync::Mutex::default());
        let (plugins, changed) = (RwLock::default(), Notify::new());
        let looks = RwLock::new(Arc::new(parts.looks.clone()));
        let (trail, peers, found) = (Mutex::default(), RwLock::default(), peers::Kept::default());
        let coming = coming::Coming::open(parts.coming.clone());
        let (changes, running) = (AtomicU64::default(), speak::Running::default());
        Self(Arc::new(Inner {
            parts,
            looks,
            plugins,
            changed,
            feeding,
            coming,
            recording,
            trail,
            peers,
            found,
            changes,
            running,
        }))
    }

    /// Where the node stands now. Taken before an answer is made, it tells whether that is still the answer.
    pub fn state(&self) -> State {
        State { commits: self.ledger().commits(), changes: self.0.changes.load(Ordering::Acquire) }
    }

    /// Says that something changed which the ledger does not hold. After the change: an answer that was made of the old
    /// must not bear the new state.
    pub(crate) fn note_change(&self) {
        self.0.changes.fetch_add(1, Ordering::Release);
    }

    /// What answers a plugin's calls of the node.
    pub fn services(&self, id: &PluginId, lending: Lending) -> Arc<dyn Services> {
        Arc::new(lend::Lender::new(Arc::downgrade(&self.0), id.clone(), lending))
    }

    /// Puts a plugin in its place. The one before is handed out: calls that are under way end on it, and whoever swaps
    /// gives it up ([`Plugin::retire`]).
    pub fn install(&self, id: PluginId, installed: Installed) -> Option<Plugin> {
        self.watch(&installed.plugin);
        let before = self.0.plugins.write().unwrap_or_else(PoisonError::into_inner).insert(id, installed);
        self.note_change();
        self.0.changed.notify_one();
        before.map(|i| i.plugin)
    }

    /// Takes a plugin out, and hands it out as [`Market::install`] does.
    pub fn remove(&self, id: &PluginId) -> Option<Plugin> {
        let before = self.0.plugins.write().unwrap_or_else(PoisonError::into_inner).remove(id);
        self.note_change();
        before.map(|i| i.plugin)
    }

    /// All plugins that run, by id.
    pub fn plugins(&self) -> Vec<Plugin> {
        self.0.plugins.read().unwrap_or_else(PoisonError::into_inner).values().map(|i| i.plugin.clone()).collect()
    }

    /// A plugin by its id.
    pub fn plugin(&self, id: &str) -> Option<Plugin> {
        self.0.plugins.read().unwrap_or_else(PoisonError::into_inner).get(id).map(|i| i.plugin.clone())
    }

    /// The plugins of one kind: those of the operator's list in its order, or all by id where there is none.
    fn of_kind(&self, kind: PluginKind, order: &[PluginId]) -> Vec<(PluginId, Installed)> {
        let plugins = self.0.plugins.read().unwrap_or_else(PoisonError::into_inner);
        let fits = |(id, i): (&PluginId, &Installed)| (i.plugin.kind() == kind).then(|| (id.clone(), i.clone()));
        if order.is_empty() {
            return plugins.iter().filter_map(fits).collect();
        }
        order.iter().filter_map(|id| plugins.get_key_value(id.as_str()).and_then(fits)).collect()
    }

    /// The storefront that answers the public.
    pub fn storefront(&self) -> Option<Plugin> {
        let looks = self.looks();
        let plugins = self.0.plugins.read().unwrap_or_else(PoisonError::into_inner);
        // Every request asks: nothing is cloned but the handle.
        let is_one = |i: &&Installed| i.plugin.kind() == PluginKind::Storefront;
        let found = match &looks.shop.storefront {
            Some(id) => plugins.get(id).filter(is_one),
            None => plugins.values().find(is_one),
        };
        found.map(|i| i.plugin.clone())
    }

    /// The log.
    pub fn ledger(&self) -> &Ledger {
        &self.0.parts.ledger
    }
    /// The blobs.
    pub fn store(&self) -> &Store {
        &self.0.parts.store
    }
    /// The node's keys.
    pub fn keys(&self) -> &NodeKeys {
        &self.0.parts.keys
    }
    /// Brand, roles and theme, as they are now.
    pub fn looks(&self) -> Arc<Looks> {
        self.0.looks.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
    /// Replaces brand, roles and theme, all at once.
    pub fn set_looks(&self, looks: Looks) {
        *self.0.looks.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(looks);
        self.note_change();
    }
    /// Who publishes here.
    pub fn publisher(&self) -> PublicKey {
        self.0.parts.publisher.public()
    }

    /// The id of a work that is named by it, or by the slug of one that this node publishes.
    pub fn work_named(&self, text: &str) -> Result<WorkId, IdError> {
        if text.contains('/') { text.parse() } else { WorkId::new(self.publisher(), text) }
    }
    /// Where the public finds the node, without a `/` at its end.
    pub fn base_url(&self) -> &str {
        &self.0.parts.base_url
    }

    /// Where the releases of this node come from.
    pub(crate) fn home(&self) -> Home {
        Home { node: self.keys().pair().public(), shop: self.0.parts.shop.clone() }
    }

    /// Can the node do its work?
    pub async fn health(&self) -> Result<(), String> {
        if self.ledger().stats().is_stopped {
            return Err(
                "the ledger stopped: nothing more can be bought or published until the node is restarted".into()
            );
        }
        self.ledger().count().await.map(|_| ()).map_err(|_| "the ledger does not answer".to_owned())
    }

    /// Figures for `/metrics`: name, type, help and value.
    pub fn figures(&self) -> Vec<(&'static str, &'static str, &'static str, u64)> {
        let ledger = self.ledger().stats();
        let micros = u64::try_from(ledger.commit_time.as_micros()).unwrap_or(u64::MAX);
        vec![
            ("fondaco_store_bytes", "gauge", "Bytes of stored blobs.", self.store().used_bytes()),
            ("fondaco_store_blobs", "gauge", "Stored blobs.", self.store().len() as u64),
            ("fondaco_ledger_events", "gauge", "Events in the log.", ledger.events),
            ("fondaco_ledger_commits_total", "counter", "Transactions that reached the disk.", ledger.commits),
            ("fondaco_ledger_writes_total", "counter", "Writes that they carried.", ledger.writes),
            ("fondaco_ledger_commit_microseconds_total", "counter", "Time spent in commits.", micros),
            ("fondaco_ledger_kv_reads_total", "counter", "Values that plugins read.", ledger.kv_reads),
        ]
    }

    /// Deletes blobs that no release needs and nobody reads, every hour until `stop` says true. What is younger than a
    /// day is spared: somebody may be about to publish it.
    pub async fn keep_tidy(&self, mut stop: tokio::sync::watch::Receiver<bool>) {
        const HOUR: std::time::Duration = std::time::Duration::from_hours(1);
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|s| *s) => return,
                () = tokio::time::sleep(HOUR) => {}
            }
            if let Err(error) = self.unpin_unrecorded().await {
                tracing::error!(%error, "pins of releases that were never recorded stay");
            }
            let store = self.store().clone();
            match tokio::task::spawn_blocking(move || store.gc(24 * HOUR)).await {
                Ok(Ok(report)) => {
                    tracing::debug!(deleted = report.deleted.len(), bytes = report.bytes, "tidied the store");
                }
                Ok(Err(error)) => tracing::error!(%error, "the store cannot be tidied"),
                Err(_) => return,
            }
        }
    }

    /// Takes back the pins of releases that the log does not know: a crash came between the two. Releases that were
    /// superseded keep theirs, since whoever bought them may fetch them again.
    pub async fn unpin_unrecorded(&self) -> Result<(), Error> {
        let _one = self.0.recording.lock().await;
        let store = self.store().clone();
        let pins = tokio::task::spawn_blocking(move || {
            let owners = |b: fondaco_store::BlobInfo| store.owners(b.hash);
            store.list().into_iter().flat_map(owners).collect::<std::collections::BTreeSet<String>>()
        });
        for owner in pins.await? {
            let Some(Ok(release)) = owner.strip_prefix("release/").map(str::parse) else { continue };
            if self.ledger().release(release).await?.is_none() {
                let store = self.store().clone();
                tokio::task::spawn_blocking(move || store.unpin_all(&store.pinned_by(&owner), &owner)).await??;
            }
        }
        Ok(())
    }

    fn wit_brand(&self) -> settings::Brand {
        let looks = self.looks();
        let brand = &looks.brand;
        let mut locales: Vec<String> = brand.locales.iter().map(|l| l.as_str().to_owned()).collect();
        if locales.is_empty() {
            locales.push(brand.locale.as_str().to_owned());
        }
        settings::Brand {
            name: brand.name.clone(),
            tagline: brand.tagline.clone(),
            locale: brand.locale.as_str().to_owned(),
            locales,
            base_url: self.base_url().to_owned(),
            colors: brand.colors.iter().map(|(k, v)| (k.clone(), v.as_str().to_owned())).collect(),
            logo: looks.theme.logo.as_ref().map(|_| "/theme/logo".to_owned()),
            contact: brand.contact.clone(),
        }
    }
}

/// The time, in UTC.
pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
