//! From bundles to running plugins. A bundle is verified each time it is read, tried before anything is written, and
//! recorded in `fondaco.lock` last: until that file is replaced, the old state holds.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fondaco_ledger::{PluginAct, PluginChange};
use fondaco_market::{Installed, Lending};
use fondaco_runtime::{Grants as Links, Limits, Plugin, Services, Spec, Who};
use fondaco_schemas::deployment::Plugin as PluginConfig;
use fondaco_schemas::{BlobHash, Capability, Grants, LockedPlugin, Manifest, PluginId, Requested, api};
use fondaco_trust::{Host, Refusal, TrustStore, Verified};
use semver::Version;
use time::OffsetDateTime;

use crate::fail::{Done, Fail};
use crate::folder::{Folder, read_text, replace};
use crate::node::{Node, secrets};

/// Reads and verifies a bundle. `highest`: the highest version that was ever accepted; none allows a step back.
pub fn verify(path: &Path, trust: &TrustStore, highest: impl FnOnce(&PluginId) -> Option<Version>) -> Done<Verified> {
    let mut bytes = Vec::new();
    let most = fondaco_trust::bundle::MAX_BUNDLE_BYTES as u64 + 1;
    let read = std::fs::File::open(path).and_then(|f| f.take(most).read_to_end(&mut bytes));
    read.map_err(|e| {
        let text = format!("{}: {e}", path.display());
        if e.kind() == std::io::ErrorKind::NotFound { Fail::not_found(text) } else { Fail::failed(text) }
    })?;
    let host = Host { api: api::OFFERED.to_vec(), now: OffsetDateTime::now_utc() };
    let named = |refusal: Refusal| {
        let fail = Fail::from(refusal);
        Fail { text: format!("{}: {}", path.display(), fail.text), ..fail }
    };
    fondaco_trust::verify(bytes, trust, &host, highest).map_err(named)
}

/// Where an installed bundle lies. Its digest is part of the name, so that no bundle takes another's place.
pub fn bundle_path(folder: &Folder, id: &PluginId, version: &Version, bundle: &BlobHash) -> PathBuf {
    let digest: String = bundle.to_string().chars().take(16).collect();
    folder.plugins().join(format!("{id}-{version}-{digest}.{}", fondaco_trust::bundle::EXTENSION))
}

/// BLAKE3 of what a manifest asks for: what the operator consents to.
pub fn consent(requested: &Requested) -> BlobHash {
    BlobHash::new(*blake3::hash(&requested.canonical()).as_bytes())
}

/// Starts every plugin of the lock file. One that fails is left out and said so: the others and the files go on.
pub async fn load_all(node: &Node) -> Done {
    let (lock, trust) = (node.folder.lock()?, node.folder.trust()?);
    for (id, locked) in &lock.plugins {
        if let Err(fail) = load_locked(node, &trust, id, locked).await {
            tracing::error!(plugin = %id, version = %locked.version, "{fail}");
        }
    }
    Ok(())
}

/// Starts one plugin of the lock file, unless it is disabled.
pub async fn load_locked(node: &Node, trust: &TrustStore, id: &PluginId, locked: &LockedPlugin) -> Done {
    let config = config_of(&node.folder, id)?;
    if !config.enabled {
        return Ok(());
    }
    let verified = verify_locked(&node.folder, trust, id, locked)?;
    let plugin = start(node, verified, &config).await?;
    node.market.install(id.clone(), plugin);
    Ok(())
}

/// The bundle that the lock file names, verified again: keys may have been revoked, files changed.
pub fn verify_locked(folder: &Folder, trust: &TrustStore, id: &PluginId, locked: &LockedPlugin) -> Done<Verified> {
    let path = bundle_path(folder, id, &locked.version, &locked.bundle);
    let verified = verify(&path, trust, |_| Some(locked.version.clone()))?;
    if verified.bundle_hash != locked.bundle {
        return Err(Fail::refused(format!(
            "{} is not the bundle that was installed: fondaco.lock names {}, and this is {}. Install it anew",
            path.display(),
            locked.bundle,
            verified.bundle_hash
        )));
    }
    Ok(verified)
}

/// What fondaco.toml says about a plugin, read anew.
pub fn config_of(folder: &Folder, id: &PluginId) -> Done<PluginConfig> {
    Ok(folder.deployment()?.plugins.remove(id.as_str()).unwrap_or_default())
}

/// Makes a plugin of a verified bundle: its settings checked, its grants effective, its code compiled and tried.
pub async fn start(node: &Node, verified: Verified, config: &PluginConfig) -> Done<Installed> {
    let manifest = verified.manifest.clone();
    if !config.version.matches(&manifest.version) {
        return Err(Fail::refused(format!(
            "{} {} is not started: fondaco.toml wants version {}",
            manifest.id, manifest.version, config.version
        )));
    }
    let missing = manifest.capabilities.missing(&config.grant);
    if !missing.is_empty() {
        let lines: Vec<String> = missing.iter().map(ToString::to_string).collect();
        return Err(Fail::refused(format!(
            "{} {} is not started: under [plugins.\"{}\"] in fondaco.toml, {}",
            manifest.id,
            manifest.version,
            manifest.id,
            lines.join("; ")
        )));
    }
    let settings = check_settings(&verified, config)?;
    let lending = Lending { bundle: Arc::new(verified), settings, secrets: secrets(&node.folder, &config.secrets)? };
    let component = lending.bundle.component().to_vec();
    let services = node.market.services(&manifest.id, lending);
    let plugin = load(node, &manifest, component, config, services).await?;
    let names = manifest.text.iter().map(|(locale, text)| (locale.clone(), text.name.clone())).collect();
    Ok(Installed { plugin, names })
}

/// Compiles and tries a component, with what its manifest asks for and the operator grants.
pub async fn load(
    node: &Node,
    manifest: &Manifest,
    component: Vec<u8>,
    config: &PluginConfig,
    services: Arc<dyn Services>,
) -> Done<Plugin> {
    Ok(node.runtime.load(spec(manifest, component, config, services)).await?)
}

/// What the runtime needs to know.
pub fn spec(manifest: &Manifest, component: Vec<u8>, config: &PluginConfig, services: Arc<dyn Services>) -> Spec {
    let effective = manifest.capabilities.effective(&config.grant);
    let quota = effective.0.get(&Capability::Storage).and_then(|g| g.quota);
    let granted: BTreeSet<Capability> = effective.0.keys().copied().collect();
    let optional = manifest.capabilities.0.iter().filter(|(_, ask)| ask.optional).map(|(c, _)| *c).collect();
    Spec {
        who: Who { id: manifest.id.to_string(), version: manifest.version.to_string() },
        kind: manifest.kind,
        component,
        grants: Links { granted, optional },
        limits: Limits::new(&manifest.limits, &config.limits, quota.map_or(0, fondaco_schemas::ByteSize::get)),
        services,
    }
}

/// The settings as JSON, checked against the schema in the bundle; every mistake is named.
fn check_settings(verified: &Verified, config: &PluginConfig) -> Done<String> {
    let manifest = &verified.manifest;
    let settings = serde_json::Value::Object(config.settings.clone());
    let refused = |text: String| Fail::refused(format!("{} {}: {text}", manifest.id, manifest.version));
    match &manifest.settings {
        None if config.settings.is_empty() => {}
        None => return Err(refused("it has no settings, and fondaco.toml sets some".into())),
        Some(schema) => {
            let bytes = verified.file(schema.schema.as_str()).unwrap_or_default();
            let schema = serde_json::from_slice(bytes).map_err(|e| refused(format!("its settings schema: {e}")))?;
            let validator =
                jsonschema::validator_for(&schema).map_err(|e| refused(format!("its settings schema: {e}")))?;
            let mistakes: Vec<String> =
                validator.iter_errors(&settings).map(|e| format!("settings{}: {e}", e.instance_path)).collect();
            if !mistakes.is_empty() {
                return Err(refused(mistakes.join("; ")));
            }
        }
    }
    Ok(settings.to_string())
}

/// Installs a bundle: verify, consent, try, write, swap.
///
/// `expect`: the digest of the bundle that was consented to, where somebody was asked.
pub async fn install(
    node: &Node,
    path: &Path,
    grant: &[String],
    allow_rollback: bool,
    expect: Option<BlobHash>,
) -> Done<Manifest> {
    let _one = node.installing.lock().await;
    let (trust, mut lock) = (node.folder.trust()?, node.folder.lock()?);
    let known: BTreeMap<PluginId, Version> =
        lock.plugins.iter().map(|(id, p)| (id.clone(), p.highest.clone())).collect();
    let records = node.market.ledger().plugins().await?;
    let highest = |id: &PluginId| {
        let remembered = records.iter().find(|r| r.plugin == id.as_str()).and_then(|r| r.highest.clone());
        let highest = known.get(id).cloned().max(remembered);
        if allow_rollback { None } else { highest }
    };
    let verified = match verify(path, &trust, highest) {
        Ok(verified) => verified,
        Err(fail) => {
            audit(node, "unknown", PluginAct::Denied { reason: fail.text.chars().take(2_000).collect() }).await?;
            return Err(fail);
        }
    };
    if expect.is_some_and(|e| e != verified.bundle_hash) {
        return Err(Fail::refused(format!("{} was changed after you were asked; install it again", path.display())));
    }
    let manifest = verified.manifest.clone();
    let mut config = config_of(&node.folder, &manifest.id)?;
    let granted = granted(&manifest, grant, &config.grant)?;
    config.grant = granted.clone();
    let (bytes, bundle, signers) = (verified.bytes().to_vec(), verified.bundle_hash, verified.signers.clone());
    // The trial: whatever is wrong with it shows before anything is written.
    let installed = start(node, verified, &config).await?;

    let target = bundle_path(&node.folder, &manifest.id, &manifest.version, &bundle);
    std::fs::create_dir_all(node.folder.plugins()).map_err(|e| Fail::failed(format!("{}: {e}", target.display())))?;
    replace(&target, &bytes, 0o644)?;
    // Until the lock names the new version the old one runs, so for that long both find their grants.
    let before = config_of(&node.folder, &manifest.id)?.grant;
    let mut both = before.clone();
    both.0.extend(granted.0.clone());
    write_config(&node.folder, &manifest.id, |table| table["grant"] = grant_item(&both))?;
    let replaced = lock.plugins.get(&manifest.id).cloned();
    let before = lock.plugins.get(&manifest.id).map(|p| p.highest.clone());
    let locked = LockedPlugin {
        version: manifest.version.clone(),
        highest: before.map_or_else(|| manifest.version.clone(), |b| b.max(manifest.version.clone())),
        bundle,
        consent: consent(&manifest.capabilities),
        signers,
        granted: granted.clone(),
    };
    let act = PluginAct::Installed { version: manifest.version.clone(), bundle: bundle.to_string() };
    audit(node, manifest.id.as_str(), act).await?;
    let capabilities = granted.0.keys().map(ToString::to_string).collect();
    audit(node, manifest.id.as_str(), PluginAct::Granted { capabilities }).await?;
    lock.plugins.insert(manifest.id.clone(), locked);
    node.folder.write_lock(&lock)?;
    write_config(&node.folder, &manifest.id, |table| table["grant"] = grant_item(&granted))?;
    if let Some(old) = replaced.filter(|old| old.bundle != bundle) {
        let _ = std::fs::remove_file(bundle_path(&node.folder, &manifest.id, &old.version, &old.bundle));
    }
    if config.enabled {
        node.market.install(manifest.id.clone(), installed);
    }
    Ok(manifest)
}

/// What the operator grants: `all`, or names; with no names, what the file grants already.
fn granted(manifest: &Manifest, names: &[String], before: &Grants) -> Done<Grants> {
    let all = manifest.capabilities.all();
    if names.iter().any(|n| n == "all") {
        return Ok(all);
    }
    let mut granted = before.clone();
    for name in names {
        let capability: Capability = name.parse().map_err(Fail::usage)?;
        let grant = all.0.get(&capability).cloned();
        let grant = grant.ok_or_else(|| Fail::usage(format!("{} does not ask for {capability}", manifest.id)))?;
        granted.0.insert(capability, grant);
    }
    Ok(granted)
}

/// Appends to the log what was done with a plugin.
pub async fn audit(node: &Node, plugin: &str, act: PluginAct) -> Done {
    let change = PluginChange { plugin: plugin.to_owned(), act };
    Ok(node.market.ledger().record_plugin(change, OffsetDateTime::now_utc()).await?)
}

/// Changes a plugin's table in fondaco.toml, and keeps every comment in it.
pub fn write_config(folder: &Folder, id: &PluginId, change: impl FnOnce(&mut toml_edit::Table)) -> Done {
    let path = folder.deployment_file();
    let mut document: toml_edit::DocumentMut = read_text(&path)?.parse().map_err(Fail::failed)?;
    let plugins = document.entry("plugins").or_insert_with(|| {
        let mut table = toml_edit::Table::new();
        table.set_implicit(true);
        toml_edit::Item::Table(table)
    });
    let table = plugins.as_table_mut().ok_or_else(|| Fail::failed("[plugins] in fondaco.toml is no table"))?;
    let entry = table.entry(id.as_str()).or_insert_with(|| toml_edit::Item::Table(toml_edit::Table::new()));
    change(
        entry.as_table_mut().ok_or_else(|| Fail::failed(format!("[plugins.\"{id}\"] in fondaco.toml is no table")))?,
    );
    let text = document.to_string();
    // Never leave a file behind that the next start would refuse.
    fondaco_schemas::Deployment::parse(&text).map_err(Fail::failed)?;
    replace(&path, text.as_bytes(), 0o644)
}

/// `{ storage = { quota = "1MiB" }, keys = {} }`
pub fn grant_item(grants: &Grants) -> toml_edit::Item {
    let mut table = toml_edit::InlineTable::new();
    for (capability, grant) in &grants.0 {
        let mut inner = toml_edit::InlineTable::new();
        if let Some(quota) = grant.quota {
            inner.insert("quota", quota.to_string().into());
        }
        if !grant.hosts.is_empty() {
            let hosts: toml_edit::Array = grant.hosts.iter().map(ToString::to_string).collect();
            inner.insert("hosts", hosts.into());
        }
        table.insert(capability.as_str(), inner.into());
    }
    toml_edit::value(table)
}
