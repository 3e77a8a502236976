//! Ranking, filters and facets against a model that keeps whole works and computes everything anew, by the definitions.

#![expect(clippy::cast_precision_loss, reason = "counts of a handful of works")]

use std::collections::{BTreeMap, BTreeSet, HashMap};

use fondaco_sdk::fake::Host;
use fondaco_sdk::{Change, Money, Query, Sort, Work, WorkKind};
use proptest::prelude::*;

use crate::testing::{offer, query, work};
use crate::{keys, search, typo, writer};

/// Words that resemble and begin one another.
const WORDS: [&str; 16] = [
    "moon",
    "moons",
    "moonlight",
    "noon",
    "sonata",
    "sonatas",
    "sonnet",
    "beethoven",
    "bethoven",
    "river",
    "rivers",
    "rover",
    "the",
    "of",
    "a",
    "night",
];
const WEIGHTS: [f64; 6] = [4.0, 3.0, 2.0, 1.0, 1.0, 1.0];

#[derive(Default)]
pub struct Model(pub BTreeMap<String, Work>);

fn split(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_lowercase).collect()
}

fn fields(work: &Work) -> [Vec<String>; 6] {
    let kind = match work.kind {
        WorkKind::Album => "album",
        WorkKind::Book => "book livre",
        _ => "game jeu",
    };
    let credits: Vec<String> = work.credits.iter().flat_map(|(role, name)| split(&format!("{role} {name}"))).collect();
    let all = |texts: &[String]| texts.iter().flat_map(|t| split(t)).collect();
    [split(&work.title), all(&work.creators), all(&work.tags), split(kind), split(&work.description), credits]
}

/// What `near` gives, from a scan of the whole dictionary.
fn near(word: &str, dictionary: &BTreeSet<String>) -> Vec<(String, f64)> {
    let slips = match word.len() {
        0..=3 => return Vec::new(),
        4..=7 => 1,
        _ => 2,
    };
    let chars = |w: &str| w.chars().collect::<Vec<_>>();
    let ends = |w: &str| w[..1] == word[..1] || w[w.len() - 1..] == word[word.len() - 1..];
    let near = dictionary.iter().filter(|w| w.len() >= 3 && ends(w));
    let near = near.filter_map(|w| Some((w, typo::distance(&chars(w), &chars(word), slips)?))).filter(|(_, d)| *d > 0);
    near.map(|(w, d)| (w.clone(), if d == 1 { 0.5 } else { 0.25 })).collect()
}

impl Model {
    /// Scores by work id: every word must be met, or, where no work has them all, any.
    pub fn scores(&self, text: &str) -> BTreeMap<String, f64> {
        let documents: Vec<(&String, [Vec<String>; 6])> = self.0.iter().map(|(id, w)| (id, fields(w))).collect();
        let dictionary: BTreeSet<String> = documents.iter().flat_map(|(_, f)| f.iter().flatten().cloned()).collect();
        let n = documents.len() as f64;
        let average: Vec<f64> =
            (0..6).map(|f| documents.iter().map(|(_, d)| d[f].len() as f64).sum::<f64>() / n).collect();
        let with = |word: &str| documents.iter().filter(|(_, d)| d.iter().flatten().any(|w| w == word)).count();
        let bm25 = |word: &str, document: &[Vec<String>; 6]| -> f64 {
            (0..6)
                .map(|f| {
                    let times = document[f].iter().filter(|w| *w == word).count() as f64;
                    let having = documents.iter().filter(|(_, d)| d[f].iter().any(|w| w == word)).count() as f64;
                    let idf = (1.0 + (n - having + 0.5) / (having + 0.5)).ln();
                    let length = document[f].len() as f64;
                    if times == 0.0 {
                        return 0.0;
                    }
                    WEIGHTS[f] * idf * times * 2.2 / (times + 1.2 * (0.25 + 0.75 * length / average[f]))
                })
                .sum()
        };
        let mut asked: Vec<String> = Vec::new();
        for word in split(text) {
            if !asked.contains(&word) {
                asked.push(word);
            }
        }
        let last = split(text).last().cloned();
        let mut scores: HashMap<String, (usize, f64)> = HashMap::new();
        for word in &asked {
            let mut stands_for: BTreeMap<String, f64> = BTreeMap::new();
            if with(word) < 10 {
                stands_for.extend(near(word, &dictionary));
            }
            if Some(word) == last.as_ref() && !text.ends_with(' ') && word.len() >= 3 {
                stands_for
                    .extend(dictionary.iter().filter(|w| w.starts_with(word.as_str())).map(|w| (w.clone(), 0.75)));
            }
            stands_for.insert(word.clone(), 1.0);
            for (id, document) in &documents {
                let holds = |w: &String| document.iter().flatten().any(|x| x == w);
                let best = stands_for.iter().filter(|(w, _)| holds(w)).map(|(w, factor)| factor * bm25(w, document));
                if let Some(best) = best.reduce(f64::max) {
                    let entry = scores.entry((*id).clone()).or_default();
                    *entry = (entry.0 + 1, entry.1 + best);
                }
            }
        }
        let most = scores.values().map(|(met, _)| *met).max().unwrap_or(0);
        let wanted = |met: usize| most < asked.len() || met == asked.len();
        scores.into_iter().filter(|(_, (met, _))| wanted(*met)).map(|(id, (_, score))| (id, score)).collect()
    }

    /// Does a work pass the filters?
    pub fn passes(&self, id: &str, q: &Query) -> bool {
        let work = &self.0[id];
        let minor = |money: &Money| money.amount.parse::<u64>().unwrap();
        let cheap = |money: &Money| {
            q.max_price
                .as_ref()
                .is_none_or(|max| minor(money) == 0 || (money.asset == max.asset && minor(money) <= minor(max)))
        };
        let any_offer = work.offers.iter().any(|o| cheap(&o.price) && (!q.drm_free || o.terms.scheme.is_none()));
        let asked = q.max_price.is_some();
        (q.kinds.is_empty() || q.kinds.contains(&work.kind))
            && q.tags.iter().all(|tag| work.tags.contains(tag))
            && q.language.as_ref().is_none_or(|l| work.language.as_ref().is_some_and(|w| w.starts_with(l.as_str())))
            && (any_offer || (work.offers.is_empty() && !asked))
    }

    pub fn facet(&self, ids: &[String], name: &str) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for work in ids.iter().map(|id| &self.0[id]) {
            let band = |m: &Money| match m.amount.parse::<u64>().unwrap() {
                0 => "free".to_owned(),
                1..=100 => format!("{}:0-1", m.asset),
                101..=500 => format!("{}:1-5", m.asset),
                _ => format!("{}:5-10", m.asset),
            };
            let values: BTreeSet<String> = match name {
                "kind" => [crate::field::kind_name(work.kind).to_owned()].into(),
                "tag" => work.tags.iter().cloned().collect(),
                "language" => work.language.iter().cloned().collect(),
                "licence" => work.license.iter().cloned().collect(),
                "price" => work.offers.iter().map(|o| band(&o.price)).collect(),
                _ if work.offers.is_empty() => ["none".to_owned()].into(),
                _ => work.offers.iter().map(|o| o.terms.scheme.clone().unwrap_or("none".into())).collect(),
            };
            for value in values {
                *counts.entry(value).or_default() += 1;
            }
        }
        counts
    }
}

/// Compares answers to a query with the model's.
pub fn check(host: &Host, model: &Model, q: &Query) {
    let mut q = q.clone();
    q.limit = 100;
    q.facets = ["kind", "tag", "language", "licence", "price", "protection"].map(str::to_owned).to_vec();
    let found = search::find(&q).unwrap();
    let is_browsing = q.text.trim().is_empty();
    let scores = if is_browsing { model.0.keys().map(|id| (id.clone(), 0.0)).collect() } else { model.scores(&q.text) };
    let expect: BTreeMap<String, f64> = scores.into_iter().filter(|(id, _)| model.passes(id, &q)).collect();
    assert_eq!(found.total, expect.len() as u64, "{q:?}");
    let ids: Vec<String> = found.hits.iter().map(|hit| hit.work.clone()).collect();
    assert_eq!(ids.iter().cloned().collect::<BTreeSet<_>>(), expect.keys().cloned().collect(), "{q:?}");
    for hit in &found.hits {
        assert!((f64::from(hit.score) - expect[&hit.work]).abs() < 1e-4, "{q:?}: {} {}", hit.score, expect[&hit.work]);
        let reasons: f32 = hit.because.iter().map(|(_, part)| part).sum();
        assert!(hit.because.len() == 8 || (reasons - hit.score).abs() < 1e-3, "{hit:?}");
    }
    if q.sort == Sort::Relevance && !is_browsing {
        let number = |id: &str| host.stored(&keys::id(id)).unwrap();
        for pair in ids.windows(2) {
            let (a, b) = (expect[&pair[0]], expect[&pair[1]]);
            assert!(a > b - 1e-9, "{q:?}: {a} stands before {b}");
            assert!((a - b).abs() > 1e-9 || number(&pair[0]) < number(&pair[1]), "{q:?}: equal ones by number");
        }
    }
    for facet in &found.facets {
        let counted: BTreeMap<_, _> = facet.values.iter().cloned().collect();
        assert_eq!(counted, model.facet(&ids, &facet.field), "{} of {q:?}", facet.field);
        assert!(facet.values.is_sorted_by(|a, b| (b.1, &a.0) < (a.1, &b.0)), "{facet:?}");
    }
}

fn text(most: usize) -> impl Strategy<Value = String> {
    proptest::collection::vec(proptest::sample::select(&WORDS[..]), 0..=most).prop_map(|words| words.join(" "))
}

fn any_work() -> impl Strategy<Value = Work> {
    let kind = proptest::sample::select(vec![WorkKind::Album, WorkKind::Book, WorkKind::Game]);
    let language = proptest::sample::select(vec![None, Some("en"), Some("en-GB"), Some("fr")]);
    let price =
        (proptest::sample::select(vec!["0", "100", "499", "1000"]), proptest::sample::select(vec!["EUR", "USD"]));
    let offers = proptest::collection::vec((price, proptest::sample::select(vec![None, Some("sealed")])), 0..3);
    let tags = proptest::collection::btree_set(proptest::sample::select(vec!["night", "river", "new"]), 0..3);
    (0..14usize, text(4), text(2), text(9), kind, language, offers, tags, text(2)).prop_map(
        |(id, title, creator, description, kind, language, offers, tags, role)| Work {
            creators: vec![creator],
            description,
            kind,
            language: language.map(str::to_owned),
            offers: offers.into_iter().map(|((amount, asset), scheme)| offer(amount, asset, scheme)).collect(),
            tags: tags.into_iter().map(str::to_owned).collect(),
            credits: vec![(role, "night".into())],
            ..work(&format!("k/{id}"), &title)
        },
    )
}

fn any_query() -> impl Strategy<Value = Query> {
    let misspelt = proptest::sample::select(vec!["moonlihgt", "sonta", "bethoven", "rivre", "nigth", "soon", "xyzzy"]);
    let text = prop_oneof![4 => text(3), 1 => text(2).prop_map(|t| t + " "), 2 => misspelt.prop_map(str::to_owned)];
    let kinds = proptest::sample::select(vec![vec![], vec![WorkKind::Album], vec![WorkKind::Book, WorkKind::Game]]);
    let tags = proptest::sample::select(vec![vec![], vec![], vec!["night"], vec!["night", "river"]]);
    let language = proptest::sample::select(vec![None, None, Some("en"), Some("en-GB")]);
    let price = proptest::sample::select(vec![None, None, Some(("EUR", "499")), Some(("USD", "0"))]);
    (text, kinds, tags, language, price, any::<bool>()).prop_map(|(text, kinds, tags, language, price, drm_free)| {
        Query {
            kinds,
            tags: tags.into_iter().map(str::to_owned).collect(),
            language: language.map(str::to_owned),
            max_price: price.map(|(asset, amount)| Money { amount: amount.into(), asset: asset.into(), exponent: 2 }),
            drm_free,
            ..query(&text)
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn answers_as_the_definitions_say_after_any_changes(
        changes in proptest::collection::vec((any_work(), 0..4u8), 1..50),
        queries in proptest::collection::vec(any_query(), 1..12),
        at_once in 1..9usize,
    ) {
        let host = Host::install();
        let mut model = Model::default();
        let changes: Vec<Change> = changes
            .into_iter()
            .map(|(work, dice)| if dice == 0 { Change::Remove(work.id) } else { Change::Upsert(work) })
            .collect();
        for part in changes.chunks(at_once) {
            writer::index(part.to_vec()).unwrap();
            for change in part {
                match change {
                    Change::Upsert(work) => drop(model.0.insert(work.id.clone(), work.clone())),
                    Change::Remove(id) => drop(model.0.remove(id)),
                }
            }
        }
        for q in &queries {
            check(&host, &model, q);
        }
        // The last part again: nothing changes, down to the byte.
        let before = snapshot();
        let again = model.0.values().cloned().map(Change::Upsert).collect();
        writer::index(again).unwrap();
        prop_assert!(snapshot() == before, "a change that came again changed the index");
        // All gone: nothing stays but the counts and the numbers to be used again.
        writer::index(model.0.keys().cloned().map(Change::Remove).collect()).unwrap();
        prop_assert!(host.stored_keys() <= 2, "{} keys are left", host.stored_keys());
    }
}

/// All that is stored.
pub fn snapshot() -> Vec<(Vec<u8>, Vec<u8>)> {
    let all = fondaco_sdk::storage::scan(&[], &[0xff; 8], u32::MAX).unwrap();
    all.into_iter().map(|entry| (entry.key, entry.value)).collect()
}

/// Many works, so that postings lie in several blocks.
#[test]
fn answers_as_the_definitions_say_for_many_works() {
    let _host = Host::install();
    let mut model = Model::default();
    let mut works: Vec<Work> = (0..1200)
        .map(|n: usize| {
            let pick = |k: usize| WORDS[(n * k + n / 7) % WORDS.len()];
            let mut w = work(&format!("k/{n}"), &format!("{} {}", pick(3), pick(5)));
            w.description = (0..n % 5).map(|k| pick(k + 7)).collect::<Vec<_>>().join(" ");
            w.tags = vec![["night", "river", "new"][n % 3].into()];
            w
        })
        .collect();
    for round in 0..2 {
        for part in works.chunks(40) {
            writer::index(part.iter().cloned().map(Change::Upsert).collect()).unwrap();
        }
        model.0 = works.iter().map(|w| (w.id.clone(), w.clone())).collect();
        let q = Query { sort: Sort::Newest, ..query("sonata moon") };
        let expect = model.scores(&q.text);
        let found = search::find(&q).unwrap();
        assert_eq!(found.total, expect.len() as u64, "round {round}");
        assert!(found.total > 20);
        for hit in search::find(&query("rover night")).unwrap().hits {
            let expect = model.scores("rover night")[&hit.work];
            assert!((f64::from(hit.score) - expect).abs() < 1e-4);
        }
        for w in works.iter_mut().step_by(3) {
            w.title = format!("beethoven {}", w.title);
        }
    }
}
