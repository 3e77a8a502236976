//! How this node calls other servers: the client, with the operator's certificate authorities, and what each plugin may
//! call through it.

use std::collections::BTreeMap;

use fondaco_fetch::{Client, Options};
use fondaco_runtime::{HttpGrant, Secret};
use fondaco_schemas::capability::DEFAULT_HTTP_QUOTA;
use fondaco_schemas::deployment::Plugin as PluginConfig;
use fondaco_schemas::{Capability, Deployment, Hosts, Manifest};

use crate::fail::{Done, Fail, chain};
use crate::folder::Folder;

/// The client for everything that this node asks of other servers.
pub fn client(folder: &Folder, deployment: &Deployment) -> Done<Client> {
    let authorities = deployment.outbound.authorities.iter().map(|file| folder.path().join(file)).collect();
    Client::new(Options { authorities, ..Options::default() })
        .map_err(|error| Fail::failed(format!("[outbound] authorities: {}", chain(&error))))
}

/// What a plugin may call: what its manifest asks for and fondaco.toml grants, with the plugin's secrets for headers.
pub fn grant(manifest: &Manifest, config: &PluginConfig, secrets: &BTreeMap<String, String>) -> Option<HttpGrant> {
    let grant = manifest.capabilities.effective(&config.grant).0.remove(&Capability::Http)?;
    Some(HttpGrant {
        hosts: grant.hosts,
        allow_private: grant.allow_private,
        daily_bytes: grant.quota.unwrap_or(DEFAULT_HTTP_QUOTA).get(),
        secrets: secrets.iter().map(|(name, value)| (name.clone(), Secret::new(value.clone()))).collect(),
    })
}

/// Hosts that a plugin asks for, with what a person should see before saying yes.
pub fn shown(hosts: &Hosts) -> String {
    let plain = if hosts.is_plain() { " (not encrypted)" } else { "" };
    // To grant an address is to let the plugin reach it, wherever it lies.
    let inside = hosts.address().and_then(fondaco_fetch::class).map(|class| format!(" (on your own network: {class})"));
    format!("{hosts}{plain}{}", inside.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_asked_sees_what_is_not_encrypted_and_what_lies_inside() {
        let check = |text: &str| shown(&text.parse().unwrap());
        assert_eq!(check("https://api.example.org"), "https://api.example.org");
        assert_eq!(check("http://*.example.org"), "http://*.example.org (not encrypted)");
        assert_eq!(
            check("http://192.168.1.2:80"),
            "http://192.168.1.2 (not encrypted) (on your own network: a private address)"
        );
        assert!(check("https://169.254.169.254").ends_with("(on your own network: a cloud's metadata service)"));
    }
}
