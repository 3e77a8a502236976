//! Campaigns in which the public speaks up: to companies, to representatives, with purchases as proof.
//!
//! Campaigns and targets are data (`assets/`); this crate reads and checks them, shows them, makes ready letters that
//! people send themselves, counts who took part by class of evidence, and prints. It never sends a letter for anyone,
//! never adds counts of different worth, and keeps no name and no address.

mod campaign;
mod data;
mod day;
mod fill;
mod form;
mod letter;
mod name;
mod pack;
mod press;
mod settings;
mod signature;
mod store;
mod taking;
#[cfg(test)]
mod testing;
mod tools;
mod view;
mod words;

use fondaco_sdk::{
    AdvocacyModule, Campaign, CampaignSummary, Count, Document, Operator, Outcome, Participation, Result, Target, Tool,
};

use crate::day::Now;

/// The plugin.
pub struct Letters;

impl AdvocacyModule for Letters {
    fn running(locale: String) -> Result<Vec<CampaignSummary>> {
        view::running(&locale, Now::by_the_clock().day())
    }
    fn get(id: String, locale: String, audience: Option<String>) -> Result<Campaign> {
        view::get(&id, &locale, audience.as_deref(), Now::by_the_clock())
    }
    fn targets(id: String, country: String, postcode: String) -> Result<Vec<Target>> {
        view::targets(&id, &country, &postcode, Now::by_the_clock())
    }
    fn take_part(participation: Participation) -> Result<Outcome> {
        taking::take_part(&participation, Now::by_the_clock())
    }
    fn confirm(token: String) -> Result<Outcome> {
        signature::confirm(&token, Now::by_the_clock())
    }
    fn withdraw(token: String) -> Result<()> {
        signature::withdraw(&token, Now::by_the_clock())
    }
    fn leaves(id: String, since: u64) -> Result<Vec<Vec<u8>>> {
        store::leaves(&view::opened(&id, Now::by_the_clock())?.id, since)
    }
    fn counts(id: String) -> Result<Vec<Count>> {
        store::counts(&view::opened(&id, Now::by_the_clock())?.id)
    }
    fn press(id: String, format: String, locale: String, audience: String, placement: String) -> Result<Document> {
        press::press(&id, &format, &locale, &audience, &placement, Now::by_the_clock())
    }
    fn export_person(mail: String) -> Result<Document> {
        signature::export(&mail)
    }
    fn erase_person(mail: String) -> Result<u32> {
        signature::erase(&mail, Now::by_the_clock())
    }
}

impl Operator for Letters {
    fn tools() -> Vec<Tool> {
        tools::list()
    }
    fn run(tool: &str, input: &[(String, String)]) -> Result<Document> {
        tools::run(tool, input, Now::by_the_clock())
    }
}

fondaco_sdk::plugin!(advocacy: Letters, operator);
