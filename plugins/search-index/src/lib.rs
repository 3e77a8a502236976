//! A search provider: BM25 over the node's own catalogue.
//!
//! The node feeds it every change of the catalogue and asks it what people look for. All it knows lies in its key-value
//! space (the layout is in [`keys`]), since any call may meet a fresh instance; a query reads the postings of its own
//! words and little else. It never sees who asks, calls nobody, and takes no money: [`SearchProvider::bid`] is left out.

use fondaco_sdk::{Change, Document, Operator, Query, Result, Results, SearchProvider, Tool};

pub mod attributes;
mod codec;
pub mod cursor;
pub mod document;
pub mod field;
pub mod filter;
pub mod keys;
pub mod kv;
pub mod meta;
pub mod postings;
pub mod query;
pub mod say;
pub mod search;
pub mod suggest;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod text;
mod tools;
pub mod typo;
pub mod writer;

/// The plugin.
pub struct Index;

impl SearchProvider for Index {
    fn parameters() -> Vec<(String, f32)> {
        let language = say::Language::of_brand();
        let weights = field::Settings::load().unwrap_or_default().weights.all();
        let fields =
            field::Field::ALL.into_iter().zip(weights).map(|(f, weight)| (language.weight(f), query::shown(weight)));
        let factors = [query::PREFIX_FACTOR, query::typo_factor(1), query::typo_factor(2), 0.0].map(query::shown);
        fields.chain(language.factors().map(str::to_owned).into_iter().zip(factors)).collect()
    }
    fn index(changes: Vec<Change>) -> Result<()> {
        writer::index(changes)
    }
    fn find(query: Query) -> Result<Results> {
        search::find(&query)
    }
    fn suggest(prefix: String, limit: u32) -> Result<Vec<String>> {
        suggest::suggest(&prefix, limit)
    }
}

impl Operator for Index {
    fn tools() -> Vec<Tool> {
        tools::tools()
    }
    fn run(tool: &str, input: &[(String, String)]) -> Result<Document> {
        tools::run(tool, input)
    }
}

fondaco_sdk::plugin!(search: Index, operator);
