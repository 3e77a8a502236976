//! From a verified bundle to a plugin that can be called: may it run, its settings checked, its grants effective, its code
//! compiled in the killable child, and tried. Nothing of the deployment is changed here.

use std::collections::BTreeSet;
use std::sync::Arc;

use fondaco_market::{Installed, Lending};
use fondaco_runtime::{Grants as Links, Limits, Services, Spec, Who};
use fondaco_schemas::deployment::Plugin as PluginConfig;
use fondaco_schemas::{Capability, Manifest};
use fondaco_trust::Verified;

use crate::fail::{Done, Fail};
use crate::node::{Node, secrets};
use crate::outbound;

/// A plugin that was tried and can be put in its place.
pub struct Ready {
    /// For the market.
    pub installed: Installed,
    /// What it was made of.
    pub verified: Arc<Verified>,
    /// What it was made with.
    pub config: PluginConfig,
}

/// May it run, by what the operator decided? A version outside the wanted ones may not, nor may one that lacks what it
/// cannot do without.
pub fn may_run(manifest: &Manifest, config: &PluginConfig) -> Done {
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
    Ok(())
}

/// Makes a plugin of a verified bundle.
pub async fn start(node: &Node, verified: Verified, config: &PluginConfig) -> Done<Ready> {
    let manifest = verified.manifest.clone();
    may_run(&manifest, config)?;
    let settings = check_settings(&verified, config)?;
    let verified = Arc::new(verified);
    let secrets = secrets(&node.folder, &config.secrets)?;
    let http = outbound::grant(&manifest, config, &secrets);
    let lending = Lending { bundle: verified.clone(), settings, secrets };
    let services = node.market.services(&manifest.id, lending);
    let mut spec = spec(&manifest, verified.component().to_vec(), config, services);
    spec.grants.http = http;
    let plugin = node.runtime.load(spec).await?;
    let names = manifest.text.iter().map(|(locale, text)| (locale.clone(), text.name.clone())).collect();
    Ok(Ready { installed: Installed { plugin, names }, verified, config: config.clone() })
}

/// What the runtime needs to know. No web services: whoever starts a plugin with a network around it adds them.
pub fn spec(manifest: &Manifest, component: Vec<u8>, config: &PluginConfig, services: Arc<dyn Services>) -> Spec {
    let effective = manifest.capabilities.effective(&config.grant);
    let quota = effective.0.get(&Capability::Storage).and_then(|g| g.quota);
    let granted: BTreeSet<Capability> = effective.0.keys().copied().collect();
    let optional = manifest.capabilities.0.iter().filter(|(_, ask)| ask.optional).map(|(c, _)| *c).collect();
    Spec {
        who: Who { id: manifest.id.to_string(), version: manifest.version.to_string() },
        kind: manifest.kind,
        component,
        grants: Links { granted, optional, http: None },
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
