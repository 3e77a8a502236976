//! A plugin of every kind in one component. Each is small and sound, but for the one fault that the settings name:
//! `{"fault": "alt"}`. The conformance kit is tested with it: without a fault every check passes, with one the check that
//! is there for it fails.

mod advocacy;
mod drm;
mod payment;
mod search;
mod storefront;

use fondaco_sdk::{Document, Operator, Result, Tool, settings};

/// All kinds at once.
pub struct Misfit;

fondaco_sdk::plugin!(search: Misfit);
fondaco_sdk::plugin!(payment: Misfit);
fondaco_sdk::plugin!(drm: Misfit);
fondaco_sdk::plugin!(advocacy: Misfit, operator);
fondaco_sdk::plugin!(storefront: Misfit);

/// Is this the fault of the day?
fn has(fault: &str) -> bool {
    let settings: serde_json::Value = settings::get().unwrap_or_default();
    settings.get("fault").is_some_and(|set| set == fault)
}

impl Operator for Misfit {
    fn tools() -> Vec<Tool> {
        let parameter =
            |name: &str| fondaco_sdk::Parameter { name: name.into(), summary: "a name".into(), required: true };
        let summary = if has("tool-summary") { "" } else { "greets somebody" };
        vec![Tool { name: "greet".into(), summary: summary.into(), parameters: vec![parameter("name")] }]
    }
    fn run(tool: &str, input: &[(String, String)]) -> Result<Document> {
        let document = |text: &str| Document {
            media_type: "text/plain".into(),
            file_name: "greeting.txt".into(),
            body: text.into(),
        };
        match (tool, input.iter().find(|(n, _)| n == "name")) {
            ("greet", Some((_, name))) => Ok(document(name)),
            ("greet", None) if has("tool-lax") => Ok(document("nobody")),
            ("greet", None) => Err(fondaco_sdk::Error::Invalid("name is missing".into())),
            _ => Err(fondaco_sdk::Error::NotFound),
        }
    }
}
