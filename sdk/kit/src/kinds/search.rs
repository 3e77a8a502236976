//! Search providers: what was fed is found, once, in an order that holds; what was not fed never is.

use std::collections::BTreeSet;
use std::sync::Arc;

use fondaco_runtime::wit::search::exports::fondaco::plugin::search_provider::Change;
use fondaco_runtime::wit::search_types::{Query, Reach, Results, Sort};
use fondaco_runtime::wit::types::{Error, Money, Work, WorkKind};
use fondaco_runtime::{Context, Plugin};

use super::{Depth, texts};
use crate::bench::Bench;
use crate::common::{Calls, Done, advice, answered, shown};
use crate::host::Host;
use crate::report::{Draft, Report};

/// A query for a text.
fn query(text: &str) -> Query {
    Query {
        text: text.into(),
        kinds: vec![],
        tags: vec![],
        language: None,
        max_price: None,
        drm_free: false,
        facets: vec![],
        sort: Sort::Relevance,
        cursor: None,
        limit: 20,
        reach: Reach::LocalOnly,
        wait_ms: 0,
    }
}

fn upserts(works: &[Work]) -> Vec<Change> {
    works.iter().cloned().map(Change::Upsert).collect()
}

/// Every call, with right input and with wrong.
pub(crate) async fn exercise(host: &Arc<Host>, plugin: &Plugin, depth: Depth) -> Vec<Done> {
    let node = Context::node();
    let works = host.catalogue();
    let mut done = vec![
        Done::of("parameters()", plugin.parameters(&node).await),
        Done::of(
            "index(32 works)",
            plugin.index(&node, upserts(works.get(..32.min(works.len())).unwrap_or(&works))).await,
        ),
        Done::of("find(\"whale\")", plugin.find(&node, query("whale")).await),
        Done::of("suggest(\"mo\", 5)", plugin.suggest(&node, "mo".into(), 5).await),
        Done::of("bid(\"whale\")", plugin.bid(&node, query("whale")).await),
    ];
    if depth == Depth::Brief {
        return done;
    }
    done.push(Done::of("index([])", plugin.index(&node, vec![]).await));
    done.push(Done::of("index(remove of nothing)", plugin.index(&node, vec![Change::Remove("no/such".into())]).await));
    for (name, text) in texts() {
        done.push(Done::of(format!("find({name})"), plugin.find(&node, query(&text)).await));
        done.push(Done::of(format!("suggest({name})"), plugin.suggest(&node, text.clone(), 5).await));
        done.push(Done::of(format!("bid({name})"), plugin.bid(&node, query(&text)).await));
        let odd = Query {
            tags: vec![text.clone()],
            language: Some(text.clone()),
            facets: vec![text.clone()],
            cursor: Some(text.clone()),
            ..query("whale")
        };
        done.push(Done::of(format!("find(tag, language, facet and cursor: {name})"), plugin.find(&node, odd).await));
        if let Some(work) = works.first() {
            let work =
                Work { title: text.clone(), description: text.clone(), creators: vec![text.clone()], ..work.clone() };
            done.push(Done::of(format!("index(a work of {name})"), plugin.index(&node, upserts(&[work])).await));
            let id = Work { id: text, ..work_like(&works) };
            done.push(Done::of(format!("index(a work with the id {name})"), plugin.index(&node, upserts(&[id])).await));
        }
    }
    for limit in [0, u32::MAX] {
        let asked = Query { limit, ..query("") };
        done.push(Done::of(format!("find(limit {limit})"), plugin.find(&node, asked).await));
        done.push(Done::of(format!("suggest(limit {limit})"), plugin.suggest(&node, "m".into(), limit).await));
    }
    for amount in super::sums() {
        let max = Money { amount: amount.into(), asset: "EUR".into(), exponent: 200 };
        let asked = Query { max_price: Some(max), ..query("whale") };
        done.push(Done::of(format!("find(max-price {amount:?})"), plugin.find(&node, asked).await));
    }
    done
}

fn work_like(works: &[Work]) -> Work {
    works.first().cloned().unwrap_or_else(|| crate::works::catalogue().0.remove(0))
}

async fn find(draft: &mut Draft, plugin: &Plugin, query: Query) -> Option<Results> {
    let call = format!("find({:?})", query.text);
    match plugin.find(&Context::node(), query).await {
        Err(error) => draft.fail(format!("{call}: {}", advice(&error))),
        Ok(Err(error)) => draft.fail(format!("{call} answered {}, to a query that is right", shown(&error))),
        Ok(Ok(results)) => return Some(results),
    }
    None
}

fn ids(results: &Results) -> Vec<&str> {
    results.hits.iter().map(|h| h.work.as_str()).collect()
}

/// The kind's own checks.
pub(crate) async fn check(bench: &Bench, plugin: &Plugin, report: &mut Report) -> Calls {
    let node = Context::node();
    let mut draft = report.begin("search/parameters", "it says by what it ranks, for people");
    match plugin.parameters(&node).await {
        Err(error) => draft.fail(advice(&error)),
        Ok(named) => {
            draft.expect(!named.is_empty(), || "parameters() is empty: name what counts most in the order".into());
            for (name, weight) in named {
                draft.expect(weight.is_finite(), || format!("the weight of {name:?} is {weight}: give a number"));
                draft.expect(!name.trim().is_empty(), || "a parameter has no name".into());
            }
        }
    }
    report.end(draft);

    let host = bench.host();
    let Ok(plugin) = bench.load(&host).await else { return Calls::Search };
    let works = host.catalogue();
    feeding(&plugin, &works, report).await;
    finding(&plugin, &works, report).await;
    filters(&plugin, &works, report).await;
    pages(&plugin, &works, report).await;
    bids(&plugin, &works, report).await;
    removal(&plugin, &works, report).await;

    if !report.wants("search/wrong-input") {
        return Calls::Search;
    }
    let mut draft = report.begin("search/wrong-input", "it answers whatever it is asked");
    answered(&mut draft, &exercise(&host, &plugin, Depth::Whole).await);
    report.end(draft);
    Calls::Search
}

/// Feeds everything, and feeds it again.
async fn feeding(plugin: &Plugin, works: &[Work], report: &mut Report) {
    let mut draft = report.begin("search/fed-twice", "feeding the same changes again changes nothing");
    let mut before = Vec::new();
    for round in ["first", "second"] {
        for portion in works.chunks(32) {
            match plugin.index(&Context::node(), upserts(portion)).await {
                Err(error) => draft.fail(format!("index: {}", advice(&error))),
                Ok(Err(error)) => draft.fail(format!("index answered {} to works that are right", shown(&error))),
                Ok(Ok(())) => {}
            }
        }
        let mut after = Vec::new();
        for text in ["", "whale", "novel", "the"] {
            let asked = Query { limit: 100, ..query(text) };
            if let Some(results) = find(&mut draft, plugin, asked).await {
                after.push((text, results.total, ids(&results).iter().map(ToString::to_string).collect::<Vec<_>>()));
            }
        }
        if round == "first" {
            before = after;
        } else {
            for (a, b) in before.iter().zip(&after) {
                draft.expect(a == b, || {
                    format!(
                        "find({:?}) gave {} works, and after the same works were fed again {}: key what you keep by the work's id",
                        a.0,
                        a.2.len(),
                        b.2.len()
                    )
                });
            }
        }
    }
    report.end(draft);
}

async fn finding(plugin: &Plugin, works: &[Work], report: &mut Report) {
    let mut draft = report.begin("search/finds", "each work is found by a word of its title, and nothing else is");
    let known: BTreeSet<&str> = works.iter().map(|w| w.id.as_str()).collect();
    let sought = [("whale", "moby-dick"), ("Frankenstein", "frankenstein"), ("quijote", "don-quijote")];
    for (word, slug) in sought {
        let Some(results) = find(&mut draft, plugin, query(word)).await else { continue };
        draft.expect(ids(&results).iter().any(|id| id.ends_with(slug)), || {
            format!("find({word:?}) does not give the work whose title holds it")
        });
        look_at(&mut draft, word, &results, &known, 20);
    }
    if let Some(results) = find(&mut draft, plugin, query("xyzzyplugh")).await {
        draft.expect(results.hits.is_empty(), || "find(\"xyzzyplugh\") gives works, and none holds that word".into());
    }
    if let (Some(one), Some(two)) =
        (find(&mut draft, plugin, query("novel")).await, find(&mut draft, plugin, query("novel")).await)
    {
        draft
            .expect(ids(&one) == ids(&two), || "the same query gives another order each time: break ties by id".into());
    }
    report.end(draft);
}

/// What holds for every page of results.
fn look_at(draft: &mut Draft, text: &str, results: &Results, known: &BTreeSet<&str>, limit: usize) {
    let mut seen = BTreeSet::new();
    for hit in &results.hits {
        draft.expect(known.contains(hit.work.as_str()), || {
            format!("find({text:?}) gives {:?}, which was never fed", hit.work)
        });
        draft.expect(seen.insert(&hit.work), || format!("find({text:?}) gives {:?} twice", hit.work));
        draft.expect(hit.score.is_finite(), || format!("find({text:?}): a score is {}", hit.score));
        for (field, passage) in &hit.highlights {
            let marks = |c| passage.matches(c).count();
            draft.expect(marks('\u{2}') == marks('\u{3}'), || {
                format!("find({text:?}): the highlight of {field:?} opens and closes differently often: pair U+0002 with U+0003")
            });
        }
    }
    draft.expect(results.hits.len() <= limit, || {
        format!("find({text:?}) gives {} works where {limit} were asked for", results.hits.len())
    });
    draft.expect(results.total >= results.hits.len() as u64, || {
        format!("find({text:?}) says that there are {} works in all, and gives {}", results.total, results.hits.len())
    });
    draft.expect(results.slots.is_empty(), || {
        format!("find({text:?}) gives paid places: a node asks for them apart, with bid()")
    });
}

/// What must hold for each work that a query gives.
type Holds<'a> = Box<dyn Fn(&Work) -> bool + 'a>;

async fn filters(plugin: &Plugin, works: &[Work], report: &mut Report) {
    let mut draft = report.begin("search/filters", "what a query demands holds for every work that it gives");
    let by_id = |id: &str| works.iter().find(|w| w.id == id);
    let cheap = Money { amount: "200".into(), asset: "EUR".into(), exponent: 2 };
    let within = |w: &Work| w.offers.iter().any(|o| o.price.amount.parse::<u64>().is_ok_and(|a| a <= 200));
    let base = || Query { limit: 100, ..query("") };
    let demands: [(&str, Query, Holds<'_>); 5] = [
        ("kinds [album]", Query { kinds: vec![WorkKind::Album], ..base() }, Box::new(|w| w.kind == WorkKind::Album)),
        (
            "tags [film]",
            Query { tags: vec!["film".into()], ..base() },
            Box::new(|w| w.tags.iter().any(|t| t == "film")),
        ),
        (
            "language fr",
            Query { language: Some("fr".into()), ..base() },
            Box::new(|w| w.language.as_deref() == Some("fr")),
        ),
        (
            "drm-free",
            Query { drm_free: true, ..base() },
            Box::new(|w| w.offers.is_empty() || w.offers.iter().any(|o| o.terms.scheme.is_none())),
        ),
        ("max-price 2.00 EUR", Query { max_price: Some(cheap), ..base() }, Box::new(within)),
    ];
    for (name, asked, holds) in demands {
        let Some(results) = find(&mut draft, plugin, asked).await else { continue };
        for work in results.hits.iter().filter_map(|h| by_id(&h.work)).filter(|w| !holds(w)) {
            draft.fail(format!("find({name}) gives {:?}, for which that does not hold", work.title));
        }
        draft.expect(!results.hits.is_empty(), || format!("find({name}) gives nothing, and there are works that fit"));
    }
    report.end(draft);
}

async fn pages(plugin: &Plugin, works: &[Work], report: &mut Report) {
    let mut draft = report.begin("search/pages", "pages follow each other without a gap or a repeat");
    let known: BTreeSet<&str> = works.iter().map(|w| w.id.as_str()).collect();
    for sort in [Sort::Relevance, Sort::Newest, Sort::Title, Sort::Price] {
        let (mut seen, mut cursor, mut count) = (BTreeSet::new(), None, 0);
        let mut total = 0;
        // Seven at a time, so that the last page is a short one.
        for _ in 0..works.len() {
            let asked = Query { limit: 7, sort, cursor, ..query("") };
            let Some(results) = find(&mut draft, plugin, asked).await else { break };
            look_at(&mut draft, "", &results, &known, 7);
            count += results.hits.len();
            total = results.total;
            seen.extend(results.hits.iter().map(|h| h.work.clone()));
            cursor = results.next;
            if cursor.is_none() || results.hits.is_empty() {
                break;
            }
        }
        draft.expect(seen.len() == count, || {
            format!("sorted by {sort:?}, {} works come twice on their pages", count - seen.len())
        });
        draft.expect(seen.len() == works.len(), || {
            format!(
                "an empty query, sorted by {sort:?}, leads to {} of {} works: show all, page by page",
                seen.len(),
                works.len()
            )
        });
        draft.expect(total == works.len() as u64, || {
            format!("an empty query says that there are {total} works, and there are {}", works.len())
        });
    }
    match plugin.find(&Context::node(), Query { cursor: Some("kit-made-this-up".into()), ..query("") }).await {
        Ok(Ok(results)) if results.hits.is_empty() => {}
        Ok(Err(Error::Invalid(_) | Error::NotFound)) => {}
        Ok(_) => draft.fail("a cursor that nobody gave out is not answered with `invalid`"),
        Err(error) => draft.fail(format!("with a cursor that nobody gave out: {}", advice(&error))),
    }
    report.end(draft);
}

async fn bids(plugin: &Plugin, works: &[Work], report: &mut Report) {
    let mut draft = report.begin("search/bids", "paid places name who paid");
    match plugin.bid(&Context::node(), query("whale")).await {
        Err(error) => draft.fail(format!("bid: {}", advice(&error))),
        Ok(Err(error)) => draft.fail(format!("bid answered {}: an empty list says that there are none", shown(&error))),
        Ok(Ok(slots)) => {
            for slot in slots {
                draft.expect(!slot.payer.trim().is_empty() && !slot.sponsor.trim().is_empty(), || {
                    format!("the paid place of {:?} does not name its payer: nodes drop it", slot.work)
                });
                draft.expect(works.iter().any(|w| w.id == slot.work), || {
                    format!("a paid place is for {:?}, which was never fed", slot.work)
                });
            }
        }
    }
    match plugin.suggest(&Context::node(), "m".into(), 3).await {
        Err(error) => draft.fail(format!("suggest: {}", advice(&error))),
        Ok(Err(error)) => {
            draft.fail(format!("suggest answered {}: an empty list says that there are none", shown(&error)));
        }
        Ok(Ok(words)) => draft.expect(words.len() <= 3, || format!("suggest(\"m\", 3) gives {} texts", words.len())),
    }
    report.end(draft);
}

async fn removal(plugin: &Plugin, works: &[Work], report: &mut Report) {
    let mut draft = report.begin("search/removes", "a work that was taken out or changed is not found as it was");
    let Some(whale) = works.iter().find(|w| w.id.ends_with("moby-dick")) else { return };
    let renamed = Work { title: "Quicksilverfish".into(), description: String::new(), files: vec![], ..whale.clone() };
    for (changes, word, wanted) in [
        (vec![Change::Upsert(renamed)], "Quicksilverfish", true),
        (vec![], "Moby", false),
        (vec![Change::Remove(whale.id.clone())], "Quicksilverfish", false),
        (vec![Change::Remove(whale.id.clone())], "Quicksilverfish", false),
        (vec![Change::Upsert(whale.clone())], "Moby", true),
    ] {
        match plugin.index(&Context::node(), changes).await {
            Err(error) => draft.fail(format!("index: {}", advice(&error))),
            Ok(Err(error)) => draft.fail(format!("index answered {}", shown(&error))),
            Ok(Ok(())) => {}
        }
        if let Some(results) = find(&mut draft, plugin, query(word)).await {
            let there = ids(&results).contains(&whale.id.as_str());
            draft.expect(there == wanted, || {
                let how = if wanted { "is not found" } else { "is still found" };
                format!(
                    "a work {how} by {word:?} after it was changed or taken out: an upsert replaces, a removal removes"
                )
            });
        }
    }
    report.end(draft);
}
