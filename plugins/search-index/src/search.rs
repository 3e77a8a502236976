//! Answering a query: match, filter, count, order, cut a page, and say why.

use std::collections::BTreeSet;

use fondaco_sdk::{Hit, Query, Result, Results, Sort};

use crate::codec;
use crate::cursor::{self, Place};
use crate::document::Card;
use crate::field::{Field, Settings};
use crate::filter::Filter;
use crate::meta::Meta;
use crate::query::{self, Plan};
use crate::say::Language;
use crate::{keys, kv, text};

/// The most hits on a page.
pub const MAX_HITS: u32 = 100;
/// Reasons for a hit.
const MAX_REASONS: usize = 8;
/// How long a highlight is, about, in bytes.
const HIGHLIGHT_BYTES: usize = 240;

/// Answers a query.
pub fn find(query: &Query) -> Result<Results> {
    query::check(query)?;
    let mut filter = Filter::of(query)?;
    let after = cursor::read(query)?;
    let (meta, _) = Meta::load()?;
    let is_browsing = query.text.trim().is_empty();
    let plan = if is_browsing { Plan::default() } else { Plan::make(&query.text, &meta, &Settings::load()?)? };
    let matches = if is_browsing { None } else { Some(plan.matches(&meta)?) };
    // There is nothing to rank by without words.
    let sort = if is_browsing && query.sort == Sort::Relevance { Sort::Newest } else { query.sort };

    let mut places: Vec<Place> = Vec::new();
    match matches {
        Some(matches) if sort == Sort::Relevance && !filter.is_needed() => {
            places.extend(matches.into_iter().map(|(doc, score)| by_score(doc, score)));
        }
        matches => filter.run(matches, sort == Sort::Title, |filter, doc, score, a| {
            places.push(match sort {
                Sort::Relevance => by_score(doc, score),
                Sort::Newest => Place { text: Vec::new(), number: u128::from(u64::MAX - a.published), doc },
                Sort::Title => Place { text: a.title.as_bytes().to_vec(), number: 0, doc },
                Sort::Price => {
                    let (text, number) = filter.price(a);
                    Place { text, number, doc }
                }
            });
        })?,
    }
    let total = places.len() as u64;
    if let Some(after) = &after {
        places.retain(|place| place > after);
    }
    let limit = query.limit.min(MAX_HITS) as usize;
    let more = places.len() > limit;
    if more {
        places.select_nth_unstable(limit);
        places.truncate(limit);
    }
    places.sort_unstable();
    let next = places.last().filter(|_| more).map(|last| cursor::write(query, last));

    let language = Language::of_brand();
    let words = plan.words();
    let hits = places.iter().map(|place| hit(place.doc, &plan, &words, language)).collect::<Result<_>>()?;
    Ok(Results { hits, slots: Vec::new(), facets: filter.facets(), total, next, missing: 0 })
}

/// The bits of a number that is not negative are ordered as the number is (IEEE 754-2019, 5.10).
fn by_score(doc: u32, score: f64) -> Place {
    Place { text: Vec::new(), number: u128::from(u64::MAX - score.max(0.0).to_bits()), doc }
}

fn hit(doc: u32, plan: &Plan, words: &BTreeSet<String>, language: Language) -> Result<Hit> {
    let card = Card::decode(&kv::get(&keys::card(doc))?.ok_or_else(codec::damaged)?)?;
    let mut score = 0.0;
    let mut because = Vec::new();
    for group in &plan.groups {
        let mut best: (f64, Vec<(String, f32)>) = (0.0, Vec::new());
        for candidate in &group.candidates {
            let Some(posting) = candidate.posting(doc)? else { continue };
            let by_field = candidate.by_field(&posting);
            let sum: f64 = by_field.iter().sum();
            if sum > best.0 {
                let parts = Field::ALL.into_iter().zip(by_field).filter(|(_, part)| *part > 0.0);
                let say = |field| language.reason(&group.word, candidate.how, &candidate.word, field);
                best = (sum, parts.map(|(field, part)| (say(field), query::shown(part))).collect());
            }
        }
        score += best.0;
        because.extend(best.1);
    }
    because.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    because.truncate(MAX_REASONS);
    let marked = |(field, written): (Field, String)| {
        Some((field.name().to_owned(), text::mark(&written, words, HIGHLIGHT_BYTES)?))
    };
    let highlights = card.texts().into_iter().filter_map(marked).collect();
    Ok(Hit { work: card.id, score: query::shown(score), highlights, because, via: None })
}
