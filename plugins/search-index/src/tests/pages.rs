//! Orders and pages.

use std::collections::BTreeSet;

use fondaco_sdk::fake::Host;
use fondaco_sdk::{Change, Error, Money, Query, Sort, Work};

use crate::testing::{offer, query, work};
use crate::{search, writer};

fn shop() -> Host {
    let host = Host::install();
    let works: Vec<Work> = (0..150)
        .map(|n: usize| {
            let mut w = work(&format!("k/{n}"), &format!("{} river {n}", ["Été", "Moon", "zebra"][n % 3]));
            w.published = format!("2026-01-{:02}T00:00:00Z", n % 28 + 1);
            w.offers = match n % 5 {
                0 => vec![],
                1 => vec![offer("0", "USD", None)],
                2 => vec![offer("1000", "EUR", None), offer("100", "USD", None)],
                3 => vec![offer(&n.to_string(), "EUR", Some("sealed"))],
                _ => vec![offer("500", "USD", None)],
            };
            w
        })
        .collect();
    writer::index(works.into_iter().map(Change::Upsert).collect()).unwrap();
    host
}

fn all(q: &Query) -> Vec<String> {
    search::find(&Query { limit: 100, cursor: None, ..q.clone() }).unwrap().hits.into_iter().map(|h| h.work).collect()
}

#[test]
fn pages_cover_every_hit_once_in_each_order() {
    let _host = shop();
    for sort in [Sort::Relevance, Sort::Newest, Sort::Title, Sort::Price] {
        for text in ["", "river", "moon"] {
            for limit in [1, 7, 100] {
                let mut q = Query { sort, limit, ..query(text) };
                let mut seen = Vec::new();
                loop {
                    let page = search::find(&q).unwrap();
                    assert_eq!(page.total, if text == "moon" { 50 } else { 150 });
                    assert!(page.hits.len() <= limit as usize);
                    seen.extend(page.hits.into_iter().map(|h| h.work));
                    let Some(next) = page.next else { break };
                    q.cursor = Some(next);
                }
                assert_eq!(seen.len(), if text == "moon" { 50 } else { 150 }, "{sort:?} {text} {limit}");
                assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), seen.len(), "{sort:?} {text} {limit}");
                let whole = all(&q);
                assert_eq!(seen[..whole.len().min(seen.len())], whole[..], "{sort:?} {text} {limit}");
            }
        }
    }
}

#[test]
fn works_that_come_or_go_between_pages_neither_repeat_a_hit_nor_hide_one() {
    let _host = shop();
    let mut q = Query { sort: Sort::Newest, limit: 10, ..query("") };
    let first = search::find(&q).unwrap();
    let mut newest = work("k/new", "New");
    newest.published = "2026-06-01T00:00:00Z".into();
    writer::index(vec![Change::Upsert(newest), Change::Remove(first.hits[9].work.clone())]).unwrap();
    q.cursor = first.next;
    let mut seen: Vec<String> = first.hits.into_iter().map(|h| h.work).collect();
    while q.cursor.is_some() {
        let page = search::find(&q).unwrap();
        seen.extend(page.hits.into_iter().map(|h| h.work));
        q.cursor = page.next;
    }
    assert_eq!(seen.len(), 150);
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 150);
}

#[test]
fn orders_by_folded_title_by_day_and_by_price() {
    let _host = shop();
    let first = |sort| all(&Query { sort, ..query("") });
    assert!(first(Sort::Title)[..50].iter().all(|id| id[2..].parse::<usize>().unwrap() % 3 == 0), "Été before Moon");
    assert_eq!(first(Sort::Newest)[0], "k/27");
    let by_price = first(Sort::Price);
    assert!(by_price[..30].iter().all(|id| id[2..].parse::<usize>().unwrap() % 5 == 1), "free ones first");
    assert_eq!(by_price[30], "k/3", "then EUR, the cheapest first");
    let dollars = Query {
        sort: Sort::Price,
        max_price: Some(Money { amount: "1".into(), asset: "USD".into(), exponent: 0 }),
        ..query("")
    };
    let found = all(&dollars);
    assert_eq!(found.len(), 60);
    assert_eq!(found[30], "k/2", "of its offers, the one in dollars counts");
}

#[test]
fn what_no_person_asks_is_refused_with_the_reason() {
    let _host = shop();
    let check = |q: Query, expect: &str| match search::find(&q) {
        Err(Error::Invalid(text)) => assert_eq!(text, expect),
        other => panic!("{expect}: {other:?}"),
    };
    check(query(&"x".repeat(10 << 10)), "the query is 10240 bytes long: write at most 1024");
    check(Query { tags: vec!["t".into(); 100_000], ..query("") }, "the query has 100000 tags: give at most 32");
    check(Query { facets: vec!["kind".into(); 33], ..query("") }, "the query has 33 facets: give at most 32");
    check(
        Query { facets: vec!["colour".into()], ..query("") },
        "there is no facet \"colour\": take of kind, tag, language, licence, price, protection",
    );
    check(
        Query { language: Some("e".repeat(2000)), ..query("") },
        "a tag or language of the query is over 1024 bytes long",
    );
    let max_price = Some(Money { amount: "-1".into(), asset: "EUR".into(), exponent: 2 });
    check(Query { max_price, ..query("") }, "the highest price is \"-1\": write decimal digits");
    check(Query { cursor: Some("00".into()), ..query("") }, "the cursor was not given out by this search");
    for odd in ["\u{0}\u{1}\u{7f}", "!!!", "\u{202e}", "((((\"", "%_*"] {
        assert_eq!(search::find(&query(odd)).unwrap().total, 0, "{odd:?}");
    }
    let controls = search::find(&query("ri\u{0}ver\u{1b}[31m moon")).unwrap();
    assert!(controls.total > 0, "control characters part words");
    let long: String = (0..200).map(|n| format!("w{n}")).collect::<Vec<_>>().join(" ");
    search::find(&query(&long)).unwrap();
    let hits = search::find(&Query { limit: u32::MAX, ..query("") }).unwrap().hits.len();
    assert_eq!(hits, 100);
    assert_eq!(search::find(&Query { limit: 0, ..query("river") }).unwrap().total, 150);
}

#[test]
fn hostile_works_are_cut_and_do_not_harm_others() {
    let _host = shop();
    let mut w = work("k/hostile", "\u{2}hostile\u{3}\u{0}\u{202e}");
    w.tags = (0..100_000).map(|n| format!("tag{n}")).collect();
    w.published = "never".into();
    w.offers = vec![offer("free!", "EUR", None)];
    writer::index(vec![Change::Upsert(w)]).unwrap();
    let found = search::find(&query("hostile")).unwrap();
    assert_eq!(found.hits[0].highlights, [("title".to_owned(), " \u{2}hostile\u{3}  \u{202e}".to_owned())]);
    assert_eq!(search::find(&query("river")).unwrap().total, 150);
    for (key, value) in super::model::snapshot() {
        assert!(key.len() <= 512 && value.len() <= 64 << 10, "{key:?}");
    }
    let empty = writer::index(vec![Change::Remove(String::new())]);
    assert!(matches!(empty, Err(Error::Invalid(_))));
    let long = writer::index(vec![Change::Remove("k/".repeat(300))]);
    assert!(matches!(long, Err(Error::Invalid(_))));
}
