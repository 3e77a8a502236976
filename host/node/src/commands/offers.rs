//! The plugin commands that ask registries: `plugin search`, `plugin outdated`, and `plugin install <id>` and `plugin
//! update`, whose bundles are fetched here and then go the way of files. Registries are asked by the program that was started, not by the running
//! node: the network is the operator's errand.

use std::path::PathBuf;

use fondaco_schemas::{PluginId, RegistryName};
use semver::VersionReq;
use time::format_description::well_known::Rfc3339;

use crate::cli::{NodeCommand, Plugin};
use crate::fail::{Done, Fail};
use crate::folder::Folder;
use crate::out::Out;
use crate::registry::client::named;
use crate::registry::{Offer, Registries};

/// Carries out what registries are asked for. What is left to do afterwards is handed back.
pub async fn ask(folder: &Folder, command: NodeCommand, json: bool, out: &Out) -> Done<Option<NodeCommand>> {
    match command {
        NodeCommand::Plugin(Plugin::Search { words, registry }) => {
            search(folder, &words, registry.as_ref(), json, out).await?;
            Ok(None)
        }
        NodeCommand::Plugin(Plugin::Outdated { registry }) => {
            outdated(folder, registry.as_ref(), json, out).await?;
            Ok(None)
        }
        NodeCommand::Plugin(Plugin::Install { bundle, registry, grant, allow_rollback, expect }) => {
            let bundle = fetched(folder, bundle, registry.as_ref(), json, out).await?;
            let install = Plugin::Install { bundle, registry: None, grant, allow_rollback, expect };
            Ok(Some(NodeCommand::Plugin(install)))
        }
        NodeCommand::Plugin(Plugin::Update { id, from: None, registry, grant, expect }) => {
            let from = updates(folder, id.as_ref(), registry.as_ref(), json, out).await?;
            let Gathered::From(from) = from else { return Ok(None) };
            Ok(Some(NodeCommand::Plugin(Plugin::Update { id, from, registry: None, grant, expect })))
        }
        other => Ok(Some(other)),
    }
}

/// What there is to update from.
enum Gathered {
    /// A folder with what was fetched; or nothing, and what is held is meant.
    From(Option<PathBuf>),
    /// Everything is at its newest version.
    Nothing,
}

/// Fetches newer versions of installed plugins: from the registry that each came from, or else from the only one that has
/// it. Where nothing says that registries are meant, and something is held, that is meant.
async fn updates(
    folder: &Folder,
    id: Option<&PluginId>,
    registry: Option<&RegistryName>,
    json: bool,
    out: &Out,
) -> Done<Gathered> {
    let (deployment, lock) = (folder.deployment()?, folder.lock()?);
    let is_held = lock.held.keys().any(|held| id.is_none_or(|id| id == held));
    let is_known = id.is_none_or(|id| lock.plugins.contains_key(id.as_str()));
    if registry.is_none() && (is_held || deployment.registries.is_empty()) || !is_known {
        return Ok(Gathered::From(None));
    }
    let registries = Registries::of(folder, &deployment, registry)?;
    let mut remarks = Vec::new();
    let offers = registries.offers(&mut remarks).await?;
    let mut gathered: Option<PathBuf> = None;
    for (id, locked) in lock.plugins.iter().filter(|(other, _)| id.is_none_or(|id| id == *other)) {
        if locked.pinned {
            remarks.push(format!("{id} is pinned to {}", locked.version));
            continue;
        }
        let (origin, wanted) = (registries.origin(&locked.bundle), wanted(&deployment, id));
        let fits = |offer: &&Offer| {
            offer.id == *id
                && offer.fits
                && offer.version > locked.version
                && wanted.matches(&offer.version)
                && origin.as_ref().is_none_or(|origin| *origin == offer.registry)
        };
        let newer: Vec<&Offer> = offers.iter().filter(fits).collect();
        let Some(best) = newer.last() else { continue };
        if newer.iter().any(|offer| offer.registry != best.registry) {
            remarks.push(format!("{id} is in several registries: choose one with --registry"));
            continue;
        }
        let file = registries.take(best).await?;
        let gathering = match gathered {
            Some(gathering) => gathering,
            None => registries.gathering()?,
        };
        let target = gathering.join(file.file_name().unwrap_or_default());
        std::fs::copy(&file, &target).map_err(|e| Fail::failed(format!("{}: {e}", target.display())))?;
        gathered = Some(gathering);
    }
    for remark in remarks {
        out.note(remark);
    }
    if let Some(gathered) = gathered {
        Ok(Gathered::From(Some(gathered)))
    } else {
        if !json {
            out.note("every installed plugin that a registry has is at its newest version that fits");
        }
        Ok(Gathered::Nothing)
    }
}

/// A path as it is; a plugin's name as the file that was fetched for it.
async fn fetched(
    folder: &Folder,
    bundle: PathBuf,
    registry: Option<&RegistryName>,
    json: bool,
    out: &Out,
) -> Done<PathBuf> {
    let Some((id, version)) = named(&bundle) else {
        return match registry {
            None => Ok(bundle),
            Some(_) => Err(Fail::usage(format!(
                "{} is no plugin id: with --registry, write an id such as org.example.shelf or org.example.shelf@1.4.0",
                bundle.display()
            ))),
        };
    };
    let deployment = folder.deployment()?;
    if deployment.registries.is_empty() {
        return Err(Fail::not_found(format!(
            "{} is no file, and fondaco.toml names no registry that could have it: add [registries.<name>]",
            bundle.display()
        )));
    }
    let wanted = wanted(&deployment, &id);
    let mut remarks = Vec::new();
    let registries = Registries::of(folder, &deployment, registry)?;
    let (offer, file) = registries.fetch(&id, version.as_ref(), &wanted, &mut remarks).await?;
    for remark in remarks {
        out.note(remark);
    }
    if !json {
        out.note(format!("{} {} from registry {}, {}", offer.id, offer.version, offer.registry, until(&offer)));
    }
    Ok(file)
}

fn until(offer: &Offer) -> String {
    format!("fresh until {}", offer.fresh_until.format(&Rfc3339).unwrap_or_default())
}

fn value(offer: &Offer) -> serde_json::Value {
    serde_json::json!({
        "id": offer.id, "version": offer.version, "registry": offer.registry, "publisher": offer.role, "kind": offer.kind,
        "name": offer.name, "summary": offer.summary, "fits": offer.fits, "bytes": offer.length,
        "fresh-until": offer.fresh_until.format(&Rfc3339).ok(),
    })
}

/// The highest version of each plugin of each registry that this node can run, or else the highest.
fn newest(offers: &[Offer]) -> Vec<&Offer> {
    let mut newest: Vec<&Offer> = Vec::new();
    for offer in offers {
        match newest.iter_mut().find(|other| other.id == offer.id && other.registry == offer.registry) {
            // They come in the order of their versions.
            Some(other) if offer.fits || !other.fits => *other = offer,
            Some(_) => {}
            None => newest.push(offer),
        }
    }
    newest
}

async fn search(folder: &Folder, words: &[String], only: Option<&RegistryName>, json: bool, out: &Out) -> Done {
    let deployment = folder.deployment()?;
    let mut remarks = Vec::new();
    let offers = Registries::of(folder, &deployment, only)?.offers(&mut remarks).await?;
    for remark in remarks {
        out.note(remark);
    }
    let words: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
    let matches = |offer: &&Offer| {
        let text = format!("{} {} {} {}", offer.id, offer.kind, offer.name, offer.summary).to_lowercase();
        words.iter().all(|word| text.contains(word))
    };
    let mut found = false;
    for offer in newest(&offers).into_iter().filter(matches) {
        found = true;
        out.result(
            json,
            || value(offer),
            || {
                let unfit = if offer.fits { "" } else { "  (for other nodes)" };
                let Offer { id, version, kind, registry, name, summary, .. } = offer;
                format!(
                    "{:<36} {:<10} {kind:<10} {registry}{unfit}\n  {name}: {summary}",
                    id.as_str(),
                    version.to_string()
                )
            },
        );
    }
    if !found && !json {
        out.note("no plugin matches");
    }
    Ok(())
}

async fn outdated(folder: &Folder, only: Option<&RegistryName>, json: bool, out: &Out) -> Done {
    let (deployment, lock) = (folder.deployment()?, folder.lock()?);
    let mut remarks = Vec::new();
    let offers = Registries::of(folder, &deployment, only)?.offers(&mut remarks).await?;
    for remark in remarks {
        out.note(remark);
    }
    let mut any = false;
    for (id, locked) in &lock.plugins {
        let newer = offers.iter().filter(|offer| offer.id == *id && offer.version > locked.version);
        let wanted = wanted(&deployment, id);
        for offer in newest(&newer.cloned().collect::<Vec<_>>()) {
            any = true;
            let held = if !offer.fits {
                Some("it is for other nodes".to_owned())
            } else if wanted.matches(&offer.version) {
                None
            } else {
                Some(format!("fondaco.toml wants {wanted}"))
            };
            out.result(
                json,
                || {
                    let mut value = value(offer);
                    if let Some(fields) = value.as_object_mut() {
                        fields.insert("installed".into(), serde_json::json!(locked.version));
                        fields.insert("held".into(), serde_json::json!(held));
                    }
                    value
                },
                || {
                    let held = held.as_ref().map_or_else(String::new, |why| format!("  ({why})"));
                    format!("{id}  {} -> {}  {}{held}", locked.version, offer.version, offer.registry)
                },
            );
        }
    }
    if !any && !json {
        out.note("every installed plugin that a registry has is at its newest version");
    }
    Ok(())
}

fn wanted(deployment: &fondaco_schemas::Deployment, id: &PluginId) -> VersionReq {
    deployment.plugins.get(id.as_str()).map_or(VersionReq::STAR, |plugin| plugin.version.clone())
}
