//! What the operator may set; `settings.schema.json` says it to people.

use fondaco_sdk::settings;

use crate::code::MAX_ASSET_BYTES;

#[derive(serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    assets: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { assets: ["EUR", "USD", "GBP", "CHF", "CAD", "JPY", "pts"].map(String::from).to_vec() }
    }
}

/// The assets in which codes are issued and taken. The node has checked the settings against their schema; what it lets
/// through and this cannot read falls back to the default list, which harms nobody: codes carry their own asset.
pub fn assets() -> Vec<String> {
    let mut assets = settings::get::<Settings>().unwrap_or_default().assets;
    assets.retain(|a| a.len() <= MAX_ASSET_BYTES);
    assets
}

#[cfg(test)]
mod tests {
    use fondaco_sdk::fake;

    use super::*;

    #[test]
    fn the_operator_says_which_assets() {
        let host = fake::Host::install();
        assert!(assets().contains(&"EUR".to_owned()));
        host.settings(&serde_json::json!({ "assets": ["SEK"] }));
        assert_eq!(assets(), ["SEK"]);
    }

    #[test]
    fn the_schema_and_the_manifest_are_well_formed() {
        let schema: serde_json::Value = serde_json::from_str(include_str!("../settings.schema.json")).unwrap();
        assert_eq!(schema["properties"]["assets"]["default"], serde_json::json!(Settings::default().assets));
        assert_eq!(schema["additionalProperties"], false);
        let manifest = fondaco_schemas::Manifest::parse_request(include_str!("../plugin.toml")).unwrap();
        assert_eq!(manifest.id.as_str(), "org.fondaco.pay-voucher");
    }
}
