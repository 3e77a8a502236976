//! `fondaco plugin audit`: what was done with a plugin, and what it tried to do, from the log.

use std::collections::BTreeMap;

use fondaco_ledger::{PluginAct, PluginEvent};
use fondaco_schemas::PluginId;
use time::format_description::well_known::Rfc3339;

use crate::fail::{Done, Fail};
use crate::node::Node;
use crate::out::Out;

/// Shows the last events, the newest first; of all plugins, where none is named.
pub async fn audit(node: &Node, id: Option<&PluginId>, limit: u32, json: bool, out: &Out) -> Done {
    // What was counted and not written yet is part of the answer.
    node.market.finish_trail().await;
    let events = node.market.ledger().plugin_events(id.map(PluginId::as_str), limit as usize).await?;
    if events.is_empty() {
        return match id {
            Some(id) => Err(Fail::not_found(format!("nothing was ever done with {id} on this node"))),
            None => Ok(()),
        };
    }
    for event in events {
        out.result(json, || serde_json::json!(event), || line(&event));
    }
    Ok(())
}

fn line(event: &PluginEvent) -> String {
    let at = event.at.format(&Rfc3339).unwrap_or_default();
    format!("{at}  {:<36} {}", event.change.plugin, words(&event.change.act))
}

fn words(act: &PluginAct) -> String {
    match act {
        PluginAct::Installed { version, bundle } => {
            format!("installed {version} (bundle {})", bundle.chars().take(16).collect::<String>())
        }
        PluginAct::Granted { capabilities } if capabilities.is_empty() => "granted nothing".into(),
        PluginAct::Granted { capabilities } => format!("granted {}", capabilities.join(", ")),
        PluginAct::Enabled => "enabled".into(),
        PluginAct::Disabled { reason } => format!("disabled: {reason}"),
        PluginAct::Denied { reason } => format!("refused: {reason}"),
        PluginAct::Incidents { since, version, denied, throttled, killed, openings, quarantined } => {
            let since = since.format(&Rfc3339).unwrap_or_default();
            let mut parts = vec![sums("denied", denied), sums("slowed down", throttled), sums("killed", killed)];
            if *openings > 0 {
                parts.push(format!("its breaker opened {openings} times"));
            }
            if *quarantined {
                parts.push("in quarantine".into());
            }
            parts.retain(|p| !p.is_empty());
            format!("{version} since {since}: {}", parts.join("; "))
        }
        PluginAct::Removed => "removed".into(),
        PluginAct::Held { version, asks, .. } => format!("held {version}, which asks for more ({})", asks.join("; ")),
        PluginAct::RolledBack { from, to, reason } => format!("went back from {from} to {to}: {reason}"),
        PluginAct::Pinned { version } => format!("pinned to {version}"),
        PluginAct::Unpinned => "not pinned any more".into(),
        PluginAct::Stopped { reason } => format!("stopped: {reason}"),
    }
}

/// `denied storage 3, keys 1`
fn sums(what: &str, counts: &BTreeMap<String, u64>) -> String {
    if counts.is_empty() {
        return String::new();
    }
    let counts: Vec<String> = counts.iter().map(|(name, n)| format!("{name} {n}")).collect();
    format!("{what} {}", counts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incidents_read_as_one_line() {
        let act = PluginAct::Incidents {
            since: time::macros::datetime!(2026-03-01 12:00 UTC),
            version: "1.0.0".into(),
            denied: [("keys".into(), 1), ("storage".into(), 3)].into(),
            throttled: BTreeMap::new(),
            killed: [("deadline".into(), 5)].into(),
            openings: 1,
            quarantined: false,
        };
        assert_eq!(
            words(&act),
            "1.0.0 since 2026-03-01T12:00:00Z: denied keys 1, storage 3; killed deadline 5; its breaker opened 1 times"
        );
    }
}
