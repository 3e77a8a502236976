//! What runs, and what it was made of and with: so that a change of a file is told from a file that only was touched, and a
//! mistake is told once. Only the functions here put a plugin in its place or take it out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fondaco_runtime::Plugin;
use fondaco_schemas::deployment::Plugin as PluginConfig;
use fondaco_schemas::{BlobHash, PluginId};
use fondaco_trust::Verified;

use super::start::Ready;
use crate::node::Node;

/// How long calls that are under way may go on with the version before.
pub const DRAIN: Duration = Duration::from_secs(30);

/// The plugins of a node in their places.
#[derive(Default)]
pub struct Places {
    running: Mutex<BTreeMap<PluginId, Place>>,
    failed: Mutex<BTreeMap<PluginId, Failed>>,
}

/// A plugin that runs.
#[derive(Clone)]
pub struct Place {
    /// What it was made of. These bytes run, whatever becomes of the file.
    pub verified: Arc<Verified>,
    /// What it was made with.
    pub config: PluginConfig,
    /// The loaded version.
    pub plugin: Plugin,
    /// Its first calls are watched.
    pub trial: Option<Trial>,
}

/// A version whose first calls are watched.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// Calls and failures of the smoke call, which are nobody's.
    pub before: (u64, u64),
    /// When it was first called.
    pub first: Option<Instant>,
}

/// Why a plugin that is wanted was not started, and what it was tried with: the same is not tried again.
#[derive(Clone)]
pub struct Failed {
    /// Which bundle.
    pub bundle: BlobHash,
    /// With which part of fondaco.toml.
    pub config: PluginConfig,
    /// The bundle did not verify; it may do so when trust or the file changes.
    pub unverified: bool,
    /// One sentence.
    pub why: String,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Places {
    /// What runs under an id.
    pub fn get(&self, id: &PluginId) -> Option<Place> {
        locked(&self.running).get(id).cloned()
    }
    /// All that runs.
    pub fn all(&self) -> Vec<(PluginId, Place)> {
        locked(&self.running).iter().map(|(id, place)| (id.clone(), place.clone())).collect()
    }
    /// What could not be started, and why.
    pub fn failure(&self, id: &PluginId) -> Option<Failed> {
        locked(&self.failed).get(id).cloned()
    }
    /// Remembers what could not be started; none: there is nothing wrong any more.
    pub fn set_failure(&self, id: &PluginId, failed: Option<Failed>) {
        let mut all = locked(&self.failed);
        match failed {
            Some(failed) => all.insert(id.clone(), failed),
            None => all.remove(id),
        };
    }
    /// Changes the trial of the version that runs, unless another has taken its place.
    pub fn set_trial(&self, id: &PluginId, plugin: &Plugin, trial: Option<Trial>) {
        if let Some(place) = locked(&self.running).get_mut(id)
            && place.plugin.is(plugin)
        {
            place.trial = trial;
        }
    }
}

/// Puts a plugin in its place. New calls meet it at once; those under way end on the version before.
pub fn put(node: &Node, id: &PluginId, ready: Ready, on_trial: bool) {
    let plugin = ready.installed.plugin.clone();
    let counted = plugin.counters().now();
    let before = (counted.calls(), counted.failures());
    let trial = on_trial.then_some(Trial { before, first: None });
    let place = Place { verified: ready.verified, config: ready.config, plugin: plugin.clone(), trial };
    node.places.set_failure(id, None);
    locked(&node.places.running).insert(id.clone(), place);
    let before = node.market.install(id.clone(), ready.installed);
    tracing::info!(plugin = %plugin.who(), on_trial, "runs");
    drain(before, DRAIN);
}

/// Takes a plugin out. Calls under way may go on for `grace`.
pub fn take_out(node: &Node, id: &PluginId, grace: Duration) -> bool {
    locked(&node.places.running).remove(id);
    let before = node.market.remove(id);
    let was_running = before.is_some();
    drain(before, grace);
    was_running
}

fn drain(before: Option<Plugin>, grace: Duration) {
    let Some(plugin) = before else { return };
    let who = plugin.who().clone();
    // Ends by itself within `grace`, and holds nothing that a stop of the node would wait for.
    tokio::spawn(async move {
        if !plugin.retire(grace).await {
            tracing::warn!(plugin = %who, ?grace, "calls that were still under way were ended");
        }
    });
}
