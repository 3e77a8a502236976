//! What `fondaco.toml` says about a plugin, read and written. Comments and order in the file stay as they are.

use fondaco_schemas::deployment::Plugin as PluginConfig;
use fondaco_schemas::{Capability, Grants, Manifest, PluginId};

use crate::fail::{Done, Fail};
use crate::folder::{Folder, read_text, replace};

/// What fondaco.toml says about a plugin, read anew.
pub fn config_of(folder: &Folder, id: &PluginId) -> Done<PluginConfig> {
    Ok(folder.deployment()?.plugins.remove(id.as_str()).unwrap_or_default())
}

/// What the operator grants: `all`, or names, beside what the file grants already. That stays even where this version does
/// not ask for it, since the version before may: what nobody asks for has no effect.
pub fn granted(manifest: &Manifest, names: &[String], before: &Grants) -> Done<Grants> {
    let all = manifest.capabilities.all();
    if names.iter().any(|n| n == "all") {
        return Ok(before.and(&all));
    }
    let mut granted = before.clone();
    for name in names {
        let capability: Capability = name.parse().map_err(Fail::usage)?;
        let grant = all.0.get(&capability).cloned();
        let grant = grant.ok_or_else(|| Fail::usage(format!("{} does not ask for {capability}", manifest.id)))?;
        granted = granted.and(&Grants([(capability, grant)].into()));
    }
    Ok(granted)
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
        if !grant.allow_private.is_empty() {
            let hosts: toml_edit::Array = grant.allow_private.iter().map(ToString::to_string).collect();
            inner.insert("allow-private", hosts.into());
        }
        table.insert(capability.as_str(), inner.into());
    }
    toml_edit::value(table)
}
