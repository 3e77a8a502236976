//! Search: providers are fed from the log, asked together, and believed in nothing but the order of their hits.

use std::collections::{BTreeMap, BTreeSet};

use fondaco_ledger::Change;
use fondaco_runtime::wit::search::exports::fondaco::plugin::search_provider::Change as Fed;
use fondaco_runtime::wit::search_types::{Hit, Query, Results, Slot};
use fondaco_runtime::wit::types;
use fondaco_runtime::{CallError, Context, Plugin};
use fondaco_schemas::{PluginKind, WorkId};

use crate::error::words;
use crate::{Error, Market, convert};

/// Changes in one call of a provider.
const BATCH: u32 = 32;
/// How often a provider may ask for the rest of a batch, all in all.
const MOST_REPEATS: u32 = 1_000;
/// The constant of reciprocal-rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009).
pub(crate) const RRF: f32 = 60.0;
/// Paid places that one provider may fill.
const MAX_SLOTS: usize = 8;
/// The most hits that a caller gets at once.
const MAX_HITS: u32 = 100;

impl Market {
    fn providers(&self) -> Vec<Plugin> {
        self.of_kind(PluginKind::Search, &self.looks().shop.search).into_iter().map(|(_, i)| i.plugin).collect()
    }

    /// Asks all providers and merges what they answer.
    pub async fn search(&self, context: &Context, mut query: Query) -> Result<Results, Error> {
        query.limit = query.limit.clamp(1, MAX_HITS);
        let providers = self.providers();
        let mut answers = Vec::new();
        let mut failure = None;
        for plugin in &providers {
            match plugin.find(context, query.clone()).await {
                Ok(Ok(mut results)) => {
                    let mut seen = BTreeSet::new();
                    results.hits.retain(|h| seen.insert(h.work.clone()));
                    make_numbers(&mut results);
                    results.hits.truncate(query.limit as usize);
                    answers.push(results);
                }
                Ok(Err(e)) => failure = Some(Error::Plugin { who: plugin.who().clone(), answer: words(&e) }),
                Err(e) => failure = Some(e.into()),
            }
        }
        if answers.is_empty() {
            return Err(failure.unwrap_or(Error::NoPlugin { kind: "search", id: "of any id".into() }));
        }
        let mut results = merge(answers);
        results.hits.truncate(query.limit as usize);
        self.keep_real(&mut results)?;
        // Paid places are asked for apart, so that money cannot move the order of the others.
        for plugin in &providers {
            match plugin.bid(context, query.clone()).await {
                Ok(Ok(slots)) => results.slots.extend(slots.into_iter().take(MAX_SLOTS)),
                Ok(Err(e)) => tracing::warn!(plugin = %plugin.who(), answer = words(&e), "no paid places"),
                Err(error) => tracing::warn!(%error, "no paid places"),
            }
        }
        self.keep_labelled(&mut results.slots)?;
        Ok(results)
    }

    /// A hit is a hint: what is not in the catalogue is no hit, whatever a provider says.
    fn keep_real(&self, results: &mut Results) -> Result<(), Error> {
        let mut here = self.are_here(results.hits.iter().map(|hit| hit.work.as_str()))?.into_iter();
        results.hits.retain_mut(|hit| {
            // Who is asked here knows what is here; which node a hit came from is said by this one alone.
            hit.via = None;
            let is_here = here.next().unwrap_or_default();
            if !is_here {
                tracing::warn!(work = %hit.work, "a search provider named a work that is not here");
            }
            is_here
        });
        Ok(())
    }

    /// A paid place says who pays, or it is none.
    fn keep_labelled(&self, slots: &mut Vec<Slot>) -> Result<(), Error> {
        slots.retain(|slot| !slot.payer.trim().is_empty() && !slot.sponsor.trim().is_empty());
        let mut here = self.are_here(slots.iter().map(|slot| slot.work.as_str()))?.into_iter();
        slots.retain(|_| here.next().unwrap_or_default());
        Ok(())
    }

    /// Which of these works are in the catalogue, in their order: one look for all of them, on this thread.
    fn are_here<'a>(&self, named: impl Iterator<Item = &'a str>) -> Result<Vec<bool>, Error> {
        let ids: Vec<Option<WorkId>> = named.map(|work| work.parse().ok()).collect();
        let known: Vec<WorkId> = ids.iter().flatten().cloned().collect();
        let mut listed = self.ledger().are_listed(&known)?.into_iter();
        Ok(ids.iter().map(|id| id.is_some() && listed.next().unwrap_or_default()).collect())
    }

    /// Completes what a person is typing.
    pub async fn suggest(&self, context: &Context, prefix: String, limit: u32) -> Result<Vec<String>, Error> {
        let mut all: Vec<String> = Vec::new();
        for plugin in self.providers() {
            match plugin.suggest(context, prefix.clone(), limit.min(20)).await {
                Ok(Ok(words)) => {
                    let new: Vec<String> = words.into_iter().filter(|w| !all.contains(w)).take(20).collect();
                    all.extend(new);
                }
                Ok(Err(e)) => tracing::debug!(plugin = %plugin.who(), answer = words(&e), "no suggestions"),
                Err(error) => tracing::warn!(%error, "no suggestions"),
            }
        }
        all.truncate(limit.min(20) as usize);
        Ok(all)
    }

    /// Feeds every provider with what it has not seen. Durable cursors make this at least once, in order.
    pub async fn feed(&self) -> Result<(), Error> {
        let _one = self.0.feeding.lock().await;
        for plugin in self.of_kind(PluginKind::Search, &[]).into_iter().map(|(_, i)| i.plugin) {
            if let Err(error) = self.feed_one(&plugin).await {
                tracing::error!(plugin = %plugin.who(), %error, "a search provider takes no changes; they are kept for it");
            }
        }
        Ok(())
    }

    async fn feed_one(&self, plugin: &Plugin) -> Result<(), Error> {
        let consumer = format!("search/{}", plugin.who().id);
        let (mut size, mut again) = (BATCH, MOST_REPEATS);
        loop {
            let cursor = self.ledger().cursor(&consumer).await?;
            let changes = self.ledger().changes_since(cursor, size).await?;
            let Some(last) = changes.last().map(|(seq, _)| *seq) else { return Ok(()) };
            let fed = changes.into_iter().map(|(_, change)| match change {
                Change::Upsert(work) => Fed::Upsert(convert::work(&work)),
                Change::Remove(id) => Fed::Remove(id.to_string()),
            });
            match plugin.index(&Context::node(), fed.collect()).await {
                Ok(Ok(())) => self.ledger().set_cursor(&consumer, last).await?,
                // It took in a part and wants the same again to go on; a provider that never ends is left for later.
                Ok(Err(types::Error::Exhausted(_))) if again > 0 => again -= 1,
                Ok(Err(e)) => return Err(Error::Plugin { who: plugin.who().clone(), answer: words(&e) }),
                // Too much at once: less, down to a single change.
                Err(CallError::Deadline { .. } | CallError::Wall { .. } | CallError::HostCalls { .. }) if size > 1 => {
                    size /= 2;
                }
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Feeds providers whenever something changed, and every minute besides, until `stop` says true.
    pub async fn keep_feeding(&self, mut stop: tokio::sync::watch::Receiver<bool>) {
        loop {
            // Durable cursors make it safe to be cut off.
            tokio::select! {
                biased;
                _ = stop.wait_for(|s| *s) => return,
                fed = self.feed() => {
                    if let Err(error) = fed {
                        tracing::error!(%error, "feeding the search providers failed");
                    }
                }
            }
            let wait = tokio::time::timeout(std::time::Duration::from_mins(1), self.0.changed.notified());
            tokio::select! {
                biased;
                _ = stop.wait_for(|s| *s) => return,
                _ = wait => {}
            }
        }
    }
}

/// A score that is no number would poison every comparison with it; it counts as none.
fn make_numbers(results: &mut Results) {
    let number = |score: &mut f32| {
        if !score.is_finite() {
            *score = 0.0;
        }
    };
    for hit in &mut results.hits {
        number(&mut hit.score);
        hit.because.iter_mut().for_each(|(_, weight)| number(weight));
    }
}

/// One provider's answer as it is; several by reciprocal-rank fusion, with the facets of the first.
fn merge(mut answers: Vec<Results>) -> Results {
    if answers.len() == 1 {
        return answers.swap_remove(0);
    }
    let mut fused: BTreeMap<String, (f32, Hit)> = BTreeMap::new();
    let mut merged =
        Results { hits: Vec::new(), slots: Vec::new(), facets: Vec::new(), total: 0, next: None, missing: 0 };
    for answer in answers {
        for (rank, hit) in (1_u16..).zip(answer.hits) {
            let score = 1.0 / (RRF + f32::from(rank));
            fused.entry(hit.work.clone()).and_modify(|(sum, _)| *sum += score).or_insert((score, hit));
        }
        merged.total = merged.total.max(answer.total);
        merged.missing += answer.missing;
        if merged.facets.is_empty() {
            merged.facets = answer.facets;
        }
    }
    let mut hits: Vec<(f32, Hit)> = fused.into_values().collect();
    hits.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.work.cmp(&b.1.work)));
    merged.hits = hits.into_iter().map(|(score, hit)| Hit { score, ..hit }).collect();
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(works: &[&str]) -> Results {
        let hit =
            |w: &&str| Hit { work: (*w).into(), score: 1.0, highlights: Vec::new(), because: Vec::new(), via: None };
        Results {
            hits: works.iter().map(hit).collect(),
            slots: Vec::new(),
            facets: Vec::new(),
            total: 3,
            next: None,
            missing: 0,
        }
    }

    #[test]
    fn scores_are_numbers() {
        let mut results = answer(&["a", "b", "c"]);
        for (hit, score) in results.hits.iter_mut().zip([f32::NAN, f32::INFINITY, 0.5]) {
            hit.score = score;
            hit.because = vec![("x".into(), score)];
        }
        make_numbers(&mut results);
        assert_eq!(results.hits.iter().map(|h| h.score).collect::<Vec<_>>(), [0.0, 0.0, 0.5]);
        assert_eq!(results.hits.iter().map(|h| h.because[0].1).collect::<Vec<_>>(), [0.0, 0.0, 0.5]);
    }

    #[test]
    fn what_several_providers_rank_high_comes_first() {
        let merged = merge(vec![answer(&["a", "b", "c"]), answer(&["b", "d"])]);
        let order: Vec<_> = merged.hits.iter().map(|h| h.work.as_str()).collect();
        assert_eq!(order, ["b", "a", "d", "c"]);
    }
}
