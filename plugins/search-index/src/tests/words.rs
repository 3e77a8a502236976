//! What people type, and what they find.

use fondaco_sdk::settings::Brand;
use fondaco_sdk::{Query, SearchProvider};
use serde_json::json;

use crate::testing::{by, indexed, query, with_description};
use crate::{Index, search};

fn library() -> fondaco_sdk::fake::Host {
    indexed([
        by("k/sonata", "Moonlight Sonata", &["Ludwig van Beethoven"]),
        by("k/cafe", "Le Café", &["Noir Désir"]),
        with_description("k/essay", "On Spelling", "why people write bethoven and sonnata"),
        with_description("k/quiet", "Quiet", "a sonata by moonlight"),
    ])
}

fn check(text: &str, expect: &[&str]) {
    let found: Vec<_> = search::find(&query(text)).unwrap().hits.into_iter().map(|h| h.work).collect();
    assert_eq!(found, expect, "{text}");
}

#[test]
fn finds_what_was_meant() {
    let _host = library();
    check("beethoven", &["k/sonata", "k/essay"]);
    check("beethovne", &["k/sonata", "k/essay"]);
    check("BÉETHOVEN ludwig", &["k/sonata"]);
    check("cafe", &["k/cafe"]);
    check("CAFÉ noir", &["k/cafe"]);
    check("desri", &["k/cafe"]);
    check("moonl", &["k/sonata", "k/quiet"]);
    check("moonl ", &[]);
    check("noirx moonlight", &["k/sonata", "k/cafe", "k/quiet"]);
    check("zzzz", &[]);
}

#[test]
fn a_work_with_the_same_slip_does_not_hide_the_one_that_was_meant() {
    let _host = library();
    check("bethoven", &["k/sonata", "k/essay"]);
}

#[test]
fn typos_and_beginnings_can_be_turned_off() {
    let host = library();
    host.settings(&json!({"typos": false, "prefixes": false}));
    check("beethovne", &[]);
    check("moonl", &[]);
    check("moonlight", &["k/sonata", "k/quiet"]);
}

#[test]
fn weights_decide_which_field_counts() {
    let host = library();
    host.settings(&json!({"weights": {"title": 0.1, "description": 10}}));
    check("moonlight", &["k/quiet", "k/sonata"]);
    assert_eq!(Index::parameters()[0].1.to_string(), "0.1");
}

#[test]
fn says_why_and_marks_where() {
    let host = library();
    let hit = search::find(&query("ludwig sonnata")).unwrap().hits.remove(0);
    assert_eq!(hit.work, "k/sonata");
    let reasons: Vec<&str> = hit.because.iter().map(|(text, _)| text.as_str()).collect();
    assert_eq!(reasons, ["“ludwig” in the creators", "“sonata” in the title resembles “sonnata”"]);
    let marked = [("title", "Moonlight \u{2}Sonata\u{3}"), ("creators", "\u{2}Ludwig\u{3} van Beethoven")];
    assert_eq!(hit.highlights, marked.map(|(f, t)| (f.to_owned(), t.to_owned())));
    let brand = Brand { locale: "fr-CA".into(), ..fondaco_sdk::settings::brand() };
    host.brand(brand);
    let hit = search::find(&query("café")).unwrap().hits.remove(0);
    assert_eq!(hit.because[0].0, "« cafe » dans le titre");
    assert!(Index::parameters().iter().any(|(text, weight)| text.starts_with("Paiement") && *weight == 0.0));
}

#[test]
fn a_word_that_most_works_have_need_not_be_met() {
    let works =
        (0..120).map(|n| with_description(&format!("k/{n}"), &format!("work{n}"), if n > 0 { "the" } else { "" }));
    let _host = indexed(works.chain([by("k/rings", "Lord of Rings", &[])]));
    let found = search::find(&query("the lord of rings ")).unwrap();
    assert_eq!((found.total, found.hits[0].work.as_str()), (1, "k/rings"));
}

#[test]
fn finds_kinds_in_english_and_french() {
    let _host = indexed([fondaco_sdk::Work { kind: fondaco_sdk::WorkKind::Game, ..by("k/g", "Doom", &[]) }]);
    check("game", &["k/g"]);
    check("jeu", &["k/g"]);
}

#[test]
fn an_empty_index_answers_with_nothing() {
    let _host = fondaco_sdk::fake::Host::install();
    check("moon", &[]);
    check("", &[]);
    let found = search::find(&Query { facets: vec!["kind".into()], ..query("") }).unwrap();
    assert_eq!((found.total, found.facets[0].values.len()), (0, 0));
}
