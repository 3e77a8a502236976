//! The operator's settings, and the deployment's own addresses.

use fondaco_sdk::{Result, encode, settings};
use serde::Deserialize;

use crate::fill::fill;
use crate::name::{Id, Placement};

/// As `settings.schema.json` describes them.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Are petitions and pledges with a mail address counted as confirmed once the mailed link was opened?
    pub confirm_by_mail: bool,
    /// Where a campaign is read; `{base}`, `{campaign}`.
    pub campaign_url: String,
    /// Where a signature is confirmed; `{base}`, `{token}`.
    pub confirm_url: String,
    /// Where it is taken back; `{base}`, `{token}`.
    pub withdraw_url: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            confirm_by_mail: false,
            campaign_url: "{base}/campaigns/{campaign}".to_owned(),
            confirm_url: "{base}/campaigns/confirm?token={token}".to_owned(),
            withdraw_url: "{base}/campaigns/withdraw?token={token}".to_owned(),
        }
    }
}

/// The deployment's address, without a slash at its end.
pub fn base() -> String {
    settings::brand().base_url.trim_end_matches('/').to_owned()
}

impl Settings {
    /// As the operator set them.
    pub fn read() -> Result<Self> {
        settings::get()
    }
    /// The address that a printed piece shows and its QR code holds.
    pub fn campaign(&self, id: &Id, placement: Option<&Placement>) -> String {
        let url = fill(&self.campaign_url, &[("base", &base()), ("campaign", id.as_str())]);
        let Some(placement) = placement else { return url };
        let joint = if url.contains('?') { '&' } else { '?' };
        format!("{url}{joint}placement={placement}")
    }
    /// The links of a mail: to confirm, and to withdraw.
    pub fn links(&self, token: &str) -> (String, String) {
        let link = |template: &str| fill(template, &[("base", &base()), ("token", &encode(token))]);
        (link(&self.confirm_url), link(&self.withdraw_url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_describes_these_settings_and_their_defaults() {
        let schema: serde_json::Value = serde_json::from_str(include_str!("../settings.schema.json")).unwrap();
        let defaults: serde_json::Map<_, _> =
            schema["properties"].as_object().unwrap().iter().map(|(k, v)| (k.clone(), v["default"].clone())).collect();
        let read: Settings = serde_json::from_value(defaults.into()).unwrap();
        assert_eq!(format!("{read:?}"), format!("{:?}", Settings::default()));
        assert!(serde_json::from_str::<Settings>("{\"colour\": 1}").is_err());
    }

    #[test]
    fn the_manifest_can_be_read() {
        let manifest = fondaco_schemas::Manifest::parse_request(include_str!("../plugin.toml"));
        assert_eq!(manifest.map(|m| m.id.to_string()).as_deref(), Ok("org.fondaco.advocacy-letters"));
    }

    #[test]
    fn a_placement_joins_an_address_that_has_a_query_already() {
        fondaco_sdk::fake::Host::install();
        let settings = Settings { campaign_url: "{base}/?c={campaign}".into(), ..Settings::default() };
        let url = settings.campaign(&"x".parse().unwrap(), Some(&"wall".parse().unwrap()));
        assert_eq!(url, "https://shop.example/?c=x&placement=wall");
    }
}
