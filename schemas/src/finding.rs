//! `[network.search]` and `[network.receipts]` of the deployment file: what this node tells others, and asks them.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::problem::Table;

/// Searches of and at other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct SearchRules {
    /// Answer what others search for, with what is in the catalogue.
    pub answers: bool,
    /// Questions of one node a second that are answered; ten times as many at once after a while without.
    pub rate: u32,
    /// Whom this node may ask, whatever a plugin wants.
    pub ask: Ask,
    /// How many nodes are asked at once.
    pub peers: u32,
}

impl Default for SearchRules {
    fn default() -> Self {
        Self { answers: true, rate: 2, ask: Ask::Everyone, peers: 16 }
    }
}

/// Whom this node may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// No other node.
    Nobody,
    /// Those that `allow`, `bootstrap` or `trusted` name.
    Trusted,
    /// Whoever is in the swarm.
    Everyone,
}

impl FromStr for Ask {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "nobody" => Ok(Self::Nobody),
            "trusted" => Ok(Self::Trusted),
            "everyone" => Ok(Self::Everyone),
            _ => Err(format!("{text:?} is nobody to ask: write \"nobody\", \"trusted\" or \"everyone\"")),
        }
    }
}

/// Receipts for what nodes delivered to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ReceiptRules {
    /// Sign for those that delivered to this node. They and the publisher learn from it what this node fetched, so it is off
    /// unless the operator turns it on.
    pub give: bool,
    /// Collect the receipts of others.
    pub take: bool,
}

impl Default for ReceiptRules {
    fn default() -> Self {
        Self { give: false, take: true }
    }
}

impl SearchRules {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        let default = Self::default();
        Self {
            answers: t.flag("answers").unwrap_or(default.answers),
            rate: t.number("rate").unwrap_or(default.rate),
            ask: t.optional("ask").unwrap_or(default.ask),
            peers: t.number("peers").unwrap_or(default.peers),
        }
    }
}

impl ReceiptRules {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        let default = Self::default();
        Self { give: t.flag("give").unwrap_or(default.give), take: t.flag("take").unwrap_or(default.take) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Deployment;

    fn read(more: &str) -> Result<Deployment, String> {
        Deployment::parse(&format!("[brand]\nname = \"x\"\n{more}")).map_err(|e| e.to_string())
    }

    #[test]
    fn catalogues_are_shown_and_downloads_are_not_told_unless_somebody_says_so() {
        let network = read("").unwrap().network;
        assert!(network.search.answers && !network.receipts.give && network.trusted.is_empty());
        let more = "[network.search]\nanswers = false\nrate = 7\nask = \"trusted\"\n[network.receipts]\ngive = true\n";
        let network = read(more).unwrap().network;
        assert_eq!(network.search, SearchRules { answers: false, rate: 7, ask: Ask::Trusted, peers: 16 });
        assert_eq!(network.receipts, ReceiptRules { give: true, take: true });
    }

    #[test]
    fn mistakes_are_named() {
        let refused = read("[network.search]\nask = \"friends\"\nanswer = true\n").unwrap_err();
        assert!(refused.contains("\"friends\" is nobody to ask") && refused.contains("did you mean \"answers\"?"));
    }
}
