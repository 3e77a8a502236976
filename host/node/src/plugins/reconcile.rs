//! What runs is brought after what the files say. Called at start, by commands, and by the watcher after every hint and
//! every 30 seconds; a call that finds nothing changed does nothing.
//!
//! A decision to stop (disabled, a needed grant or the trust withdrawn, another version wanted) is carried out. A mistake
//! leaves what runs as it is, and is said once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fondaco_ledger::PluginAct;
use fondaco_market::{Looks, Theme};
use fondaco_schemas::deployment::Plugin as PluginConfig;
use fondaco_schemas::{Deployment, Lock, LockedPlugin, PluginId};
use fondaco_trust::TrustStore;

use super::bundle::{verify_bytes, verify_locked};
use super::install::audit;
use super::place::{DRAIN, Failed, put, take_out};
use super::{drops, start};
use crate::fail::{Done, chain};
use crate::node::Node;

/// How often what runs is asked about its trust where nothing changed: keys run out by the clock.
const TRUST: Duration = Duration::from_secs(25);

/// What the watcher remembers from one look to the next.
#[derive(Default)]
pub struct Memory {
    drops: drops::Seen,
    /// The trust that was applied last, and when.
    trust: Option<(TrustStore, Instant)>,
    /// Something was being installed when it was looked last.
    missed: bool,
    /// What was said last about each file.
    told: BTreeMap<&'static str, String>,
}

impl Memory {
    /// The value; or its mistake, said once.
    fn good<T>(&mut self, file: &'static str, read: Done<T>) -> Option<T> {
        match read {
            Ok(value) => {
                self.told.remove(file);
                Some(value)
            }
            Err(fail) => {
                let text = fail.text.lines().collect::<Vec<_>>().join("; ");
                self.tell(file, Some(format!("{text}; what runs stays as it is")), |text| tracing::error!("{text}"));
                None
            }
        }
    }

    /// Says something about a file, unless it was the last thing that was said about it.
    fn tell(&mut self, file: &'static str, text: Option<String>, say: impl FnOnce(&str)) {
        match text {
            Some(text) if self.told.get(file) != Some(&text) => {
                say(&text);
                self.told.insert(file, text);
            }
            Some(_) => {}
            None => drop(self.told.remove(file)),
        }
    }
}

/// Starts every plugin of the lock file. One that fails is left out and said so: the others and the files go on.
pub async fn load_all(node: &Node) -> Done {
    let _one = node.installing.lock().await;
    let (lock, trust, deployment) = (node.folder.lock()?, node.trust().await?, node.folder.deployment()?);
    for (id, locked) in &lock.plugins {
        let config = deployment.plugins.get(id.as_str()).cloned().unwrap_or_default();
        if let Err(fail) = apply(node, &trust, id, locked, &config).await {
            tracing::error!(plugin = %id, version = %locked.version, "{fail}");
        }
    }
    Ok(())
}

/// Brings everything after the files; true: something was still being written, so look again soon.
pub async fn reconcile(node: &Node, memory: &mut Memory) -> bool {
    // Whoever installs holds this as long as a compiler takes; what is revoked does not wait for that.
    let one = node.installing.try_lock();
    let trust = memory.good("trust.toml", node.trust().await);
    let deployment = memory.good("fondaco.toml", node.folder.deployment());
    let lock = memory.good("fondaco.lock", node.folder.lock());
    // What was taken in meanwhile was verified by the trust of then.
    let again = one.is_ok() && std::mem::take(&mut memory.missed);
    if let Some(trust) = &trust
        && (again || memory.trust.as_ref().is_none_or(|(last, at)| last != trust || at.elapsed() >= TRUST))
    {
        stop_untrusted(node, trust).await;
        memory.trust = Some((trust.clone(), Instant::now()));
    }
    let Ok(_one) = one else {
        memory.missed = true;
        return true;
    };
    if let Some(deployment) = &deployment {
        looks(node, deployment, memory);
        let fixed = fixed(&node.deployment, deployment).join(", ");
        let text = (!fixed.is_empty()).then(|| format!("takes effect when the node is started again: {fixed}"));
        memory.tell("what is fixed", text, |text| tracing::warn!("fondaco.toml: {text}"));
    }
    let (Some(trust), Some(deployment), Some(mut lock)) = (trust, deployment, lock) else { return false };
    plugins(node, &trust, &deployment, &lock).await;
    drops::look(node, &mut lock, &trust, &mut memory.drops).await
}

/// Stops what is no longer trusted. What is asked about are the bytes that run, whatever lies on the disk.
async fn stop_untrusted(node: &Node, trust: &TrustStore) {
    for (id, place) in node.places.all() {
        let (bytes, version) = (place.verified.bytes().to_vec(), place.verified.manifest.version.clone());
        let Err(refusal) = verify_bytes(bytes, trust, |_| Some(version)) else { continue };
        if !node.places.get(&id).is_some_and(|now| now.plugin.is(&place.plugin)) {
            continue;
        }
        let why = chain(&refusal);
        tracing::error!(plugin = %place.plugin.who(), "stopped: {why}");
        let (bundle, config) = (place.verified.bundle_hash, place.config);
        drop(place.plugin);
        take_out(node, &id, Duration::ZERO);
        let failed = Failed { bundle, config, unverified: true, why: why.clone() };
        node.places.set_failure(&id, Some(failed));
        if let Err(fail) = audit(node, id.as_str(), PluginAct::Stopped { reason: why }).await {
            tracing::error!(plugin = %id, "its stop is not in the log: {fail}");
        }
    }
}

async fn plugins(node: &Node, trust: &TrustStore, deployment: &Deployment, lock: &Lock) {
    for (id, place) in node.places.all() {
        if !lock.plugins.contains_key(id.as_str()) {
            tracing::warn!(plugin = %place.plugin.who(), "stopped: fondaco.lock does not name it any more");
            take_out(node, &id, DRAIN);
        }
    }
    for (id, locked) in &lock.plugins {
        let config = deployment.plugins.get(id.as_str()).cloned().unwrap_or_default();
        let runs = node.places.get(id);
        match &runs {
            Some(place) if place.verified.bundle_hash == locked.bundle && place.config == config => {
                node.places.set_failure(id, None);
                continue;
            }
            None if !config.enabled => continue,
            _ => {}
        }
        let changed = runs.as_ref().map(|place| (place.config.enabled, place.config.grant.clone()));
        match apply_once(node, trust, id, locked, &config).await {
            Ok(true) => {}
            Ok(false) => continue,
            Err(fail) => {
                tracing::error!(plugin = %id, version = %locked.version, "{fail}");
                continue;
            }
        }
        // Decisions that came by the file stand in the log as those that came by a command.
        let act = match changed {
            Some((true, _)) if !config.enabled => Some(PluginAct::Disabled { reason: "by fondaco.toml".into() }),
            Some((_, grant)) if grant != config.grant => {
                Some(PluginAct::Granted { capabilities: config.grant.0.keys().map(ToString::to_string).collect() })
            }
            None if config.enabled => Some(PluginAct::Enabled),
            _ => None,
        };
        if let Some(act) = act
            && let Err(fail) = audit(node, id.as_str(), act).await
        {
            tracing::error!(plugin = %id, "a change of fondaco.toml is not in the log: {fail}");
        }
    }
}

/// As [`apply`], but what failed is not tried again before something changed; false: it was not tried.
async fn apply_once(
    node: &Node,
    trust: &TrustStore,
    id: &PluginId,
    locked: &LockedPlugin,
    config: &PluginConfig,
) -> Done<bool> {
    let before = node.places.failure(id);
    if let Some(before) = before.filter(|f| f.bundle == locked.bundle && f.config == *config) {
        // What did not verify may do so now: trust comes back, a file is laid where it should be. All else is the same.
        if !before.unverified || verify_locked(&node.folder, trust, id, locked).is_err() {
            return Ok(false);
        }
    }
    apply(node, trust, id, locked, config).await.map(|()| true)
}

/// Brings one plugin after the files. Where that fails, what runs goes on, unless it may run no longer.
pub async fn apply(
    node: &Node,
    trust: &TrustStore,
    id: &PluginId,
    locked: &LockedPlugin,
    config: &PluginConfig,
) -> Done {
    if !config.enabled {
        take_out(node, id, DRAIN);
        return Ok(());
    }
    let verified = verify_locked(&node.folder, trust, id, locked);
    let unverified = verified.is_err();
    let ready = match verified {
        Ok(verified) => start::start(node, verified, config).await,
        Err(fail) => Err(fail),
    };
    match ready {
        Ok(ready) => {
            put(node, id, ready, locked.trial);
            Ok(())
        }
        Err(fail) => {
            // A plugin cannot keep what was taken from it by failing its trial without it.
            if let Some(runs) = node.places.get(id)
                && (start::may_run(&runs.verified.manifest, config).is_err()
                    || start::takes_away(&runs.verified.manifest.capabilities, &runs.config, config))
            {
                take_out(node, id, DRAIN);
            }
            let (bundle, config, why) = (locked.bundle, config.clone(), fail.text.clone());
            node.places.set_failure(id, Some(Failed { bundle, config, unverified, why }));
            Err(fail)
        }
    }
}

/// Brand, roles and theme.
fn looks(node: &Node, deployment: &Deployment, memory: &mut Memory) {
    let (theme, problems) = Theme::read(node.folder.path(), &deployment.brand);
    let text = (!problems.is_empty()).then(|| problems.join("; "));
    let broken = text.is_some();
    memory.tell("theme", text, |text| tracing::warn!("{text}; the theme stays as it is"));
    let now = node.market.looks();
    let theme = if broken { now.theme.clone() } else { theme };
    let looks = Looks { brand: deployment.brand.clone(), shop: deployment.shop.clone(), theme };
    if *now != looks {
        tracing::info!("brand, roles and theme are as fondaco.toml and theme/ say now");
        node.market.set_looks(looks);
    }
}

/// What was changed and cannot change while the node runs.
fn fixed(opened: &Deployment, now: &Deployment) -> Vec<&'static str> {
    let parts = [
        ("[gateway]", opened.gateway == now.gateway),
        ("[storage]", opened.storage == now.storage),
        ("[database]", opened.database == now.database),
        ("[publisher]", opened.publisher == now.publisher),
        ("[network]", opened.network == now.network),
        ("brand.base-url", opened.brand.base_url == now.brand.base_url),
    ];
    parts.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
}
