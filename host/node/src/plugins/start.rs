//! From a verified bundle to a plugin that can be called: may it run, its settings checked, its grants effective, its code
//! compiled in the killable child, and tried. Nothing of the deployment is changed here.

use std::collections::BTreeSet;
use std::sync::Arc;

use fondaco_market::{Installed, Lending};
use fondaco_runtime::{Grants as Links, Limits, Services, Spec, Who};
use fondaco_schemas::deployment::Plugin as PluginConfig;
use fondaco_schemas::{Capability, Grant, Manifest, Requested};
use fondaco_trust::Verified;

use crate::fail::{Done, Fail};
use crate::node::{Node, secrets};
use crate::outbound;

/// The longest schema of settings, in bytes.
const MAX_SCHEMA: usize = 32 << 10;

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

/// Does fondaco.toml take something from a plugin that runs: a right, a part of one, or what it may use?
pub fn takes_away(asks: &Requested, had: &PluginConfig, config: &PluginConfig) -> bool {
    let (has, now) = (asks.effective(&had.grant), asks.effective(&config.grant));
    let is_less =
        |(capability, grant): (&Capability, &Grant)| now.0.get(capability).is_none_or(|now| now.quota < grant.quota);
    now.and(&has) != now || has.0.iter().any(is_less) || had.limits != config.limits || had.secrets != config.secrets
}

/// Does a schema refer to schemas? Such a one may lead back to itself, and its check would end with the node's stack.
fn refers(schema: &serde_json::Value) -> bool {
    use serde_json::Value::{Array, Object};
    match schema {
        Object(map) => map
            .iter()
            .any(|(key, value)| matches!(key.as_str(), "$ref" | "$dynamicRef" | "$recursiveRef") || refers(value)),
        Array(list) => list.iter().any(refers),
        _ => false,
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
            if bytes.len() > MAX_SCHEMA {
                return Err(refused(format!("its settings schema has more than {MAX_SCHEMA} bytes")));
            }
            let schema: serde_json::Value =
                serde_json::from_slice(bytes).map_err(|e| refused(format!("its settings schema: {e}")))?;
            if refers(&schema) {
                return Err(refused("its settings schema uses $ref: its author must write the parts out".into()));
            }
            let patterns = jsonschema::PatternOptions::regex().size_limit(128 << 10);
            let validator = jsonschema::options()
                .with_pattern_options(patterns)
                .build(&schema)
                .map_err(|e| refused(format!("its settings schema: {e}")))?;
            let mistakes: Vec<String> =
                validator.iter_errors(&settings).map(|e| format!("settings{}: {e}", e.instance_path)).collect();
            if !mistakes.is_empty() {
                return Err(refused(mistakes.join("; ")));
            }
        }
    }
    Ok(settings.to_string())
}

#[cfg(test)]
mod tests {
    use fondaco_schemas::Ask;

    use super::*;

    #[test]
    fn a_schema_that_leads_back_to_itself_is_seen() {
        assert!(refers(&serde_json::json!({ "allOf": [{ "$ref": "#" }] })));
        assert!(refers(&serde_json::json!({ "properties": { "a": { "$dynamicRef": "#x" } } })));
        assert!(!refers(&serde_json::json!({ "properties": { "ref": { "type": "string" } } })));
    }

    #[test]
    fn what_is_taken_from_a_plugin_is_seen() {
        let hosts =
            |all: &[&str]| all.iter().map(|host| format!("https://{host}").parse().unwrap()).collect::<Vec<_>>();
        let ask = Ask { optional: true, hosts: hosts(&["a.example", "b.example"]), ..Ask::default() };
        let asks = Requested([(Capability::Http, ask)].into());
        let with = |all: &[&str], quota: Option<u64>| {
            let grant =
                Grant { hosts: hosts(all), quota: quota.map(fondaco_schemas::ByteSize::bytes), ..Grant::default() };
            let mut config = PluginConfig::default();
            config.grant.0.insert(Capability::Http, grant);
            config
        };
        let had = with(&["a.example", "b.example"], None);
        assert!(!takes_away(&asks, &had, &had));
        assert!(!takes_away(&asks, &with(&["a.example"], None), &had), "it is given more");
        assert!(takes_away(&asks, &had, &with(&["a.example"], None)));
        assert!(takes_away(&asks, &had, &with(&["a.example", "b.example"], Some(1000))));
        assert!(takes_away(&asks, &had, &PluginConfig::default()));
    }
}
