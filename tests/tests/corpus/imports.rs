//! What a component asks for and does not get, and what it lacks.

use std::sync::Arc;

use anyhow::{Result, bail};
use fondaco_runtime::LoadError;
use fondaco_schemas::{Capability, PluginKind};

use crate::Outcome;
use crate::stand::{Lender, Parts, quick, refused, run, runtime, search, spec};

/// A component that imports one interface of ours, though it never calls it, and gets every grant but that one.
fn ungranted(capability: Capability) -> Result<Outcome> {
    let component = importing(&format!("fondaco:plugin/{capability}@0.2.0"))?;
    run(async {
        let others: Vec<Capability> = Capability::ALL.into_iter().filter(|c| *c != capability).collect();
        let services = Arc::new(Lender::default());
        let refused =
            runtime()?.load(spec(component.clone(), PluginKind::Search, &others, quick(), services.clone())).await;
        let Err(error @ LoadError::NotGranted { .. }) = refused else {
            bail!("not refused for its grant: {refused:?}")
        };
        // With the grant it is no longer this that stands in its way.
        let all = runtime()?.load(spec(component, PluginKind::Search, &Capability::ALL, quick(), services)).await;
        if let Err(LoadError::NotGranted { .. }) = all {
            bail!("refused with every grant: {all:?}");
        }
        Ok(Outcome::Refused(error.to_string()))
    })
}

/// A component with one import, an instance without functions: what is checked is the name.
fn importing(name: &str) -> Result<Vec<u8>> {
    Ok(wat::parse_str(format!("(component (import \"{name}\" (instance)))"))?)
}

pub fn import_assets_ungranted() -> Result<Outcome> {
    ungranted(Capability::Assets)
}
pub fn import_blobs_ungranted() -> Result<Outcome> {
    ungranted(Capability::Blobs)
}
pub fn import_campaigns_ungranted() -> Result<Outcome> {
    ungranted(Capability::Campaigns)
}
pub fn import_catalogue_ungranted() -> Result<Outcome> {
    ungranted(Capability::Catalogue)
}
pub fn import_commerce_ungranted() -> Result<Outcome> {
    ungranted(Capability::Commerce)
}
pub fn import_discovery_ungranted() -> Result<Outcome> {
    ungranted(Capability::Discovery)
}
pub fn import_keys_ungranted() -> Result<Outcome> {
    ungranted(Capability::Keys)
}
pub fn import_mail_ungranted() -> Result<Outcome> {
    ungranted(Capability::Mail)
}
pub fn import_storage_ungranted() -> Result<Outcome> {
    ungranted(Capability::Storage)
}

pub fn import_http_ungranted() -> Result<Outcome> {
    refused(importing("wasi:http/outgoing-handler@0.2.0")?)
}

pub fn import_of_another_version() -> Result<Outcome> {
    refused(importing("fondaco:plugin/storage@0.9.0")?)
}

pub fn import_of_no_node() -> Result<Outcome> {
    refused(importing("wasi:keyvalue/store@0.2.0")?)
}

pub fn import_of_a_root_function() -> Result<Outcome> {
    refused(wat::parse_str("(component (import \"give-me-root\" (func)))")?)
}

pub fn exports_of_another_kind() -> Result<Outcome> {
    let component = search(&Parts::default())?;
    run(async {
        let services = Arc::new(Lender::default());
        match runtime()?.load(spec(component, PluginKind::Payment, &[], quick(), services)).await {
            Err(error) => Ok(Outcome::Refused(error.to_string())),
            Ok(_) => bail!("it was taken in"),
        }
    })
}

pub fn exports_nothing() -> Result<Outcome> {
    refused(wat::parse_str("(component)")?)
}
