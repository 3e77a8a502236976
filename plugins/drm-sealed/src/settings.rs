//! What the operator may set; `settings.schema.json` says it to people.

use fondaco_sdk::{Result, settings};

use crate::header::SealCipher;

/// The settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// For files that are published from now on.
    pub cipher: SealCipher,
    /// How often a loan can be made longer.
    pub renewals: u32,
    /// By how many days at most each time.
    pub renewal_days: u16,
}

impl Default for Settings {
    fn default() -> Self {
        Self { cipher: SealCipher::Aes256Gcm, renewals: 0, renewal_days: 14 }
    }
}

/// As the operator set them.
pub fn get() -> Result<Settings> {
    settings::get()
}

#[cfg(test)]
mod tests {
    use fondaco_sdk::fake;

    use super::*;

    #[test]
    fn the_schema_says_the_defaults_and_the_manifest_is_well_formed() {
        let host = fake::Host::install();
        assert_eq!(get().unwrap(), Settings::default());
        let schema: serde_json::Value = serde_json::from_str(include_str!("../settings.schema.json")).unwrap();
        let defaults = schema["properties"].as_object().unwrap().iter();
        let defaults: serde_json::Map<_, _> = defaults.map(|(k, v)| (k.clone(), v["default"].clone())).collect();
        assert_eq!(defaults.len(), 3);
        host.settings(&serde_json::Value::Object(defaults));
        assert_eq!(get().unwrap(), Settings::default());
        let manifest = fondaco_schemas::Manifest::parse_request(include_str!("../plugin.toml")).unwrap();
        assert_eq!(manifest.id.as_str(), "org.fondaco.drm-sealed");
    }
}
