//! What is left when a write fails: whole works, rightly counted.

use fondaco_sdk::fake::Host;
use fondaco_sdk::{Change, Error, Work};

use super::model::{Model, check, snapshot};
use crate::testing::{query, work};
use crate::{keys, kv, writer};

fn works(count: usize) -> Vec<Work> {
    (0..count)
        .map(|n| {
            let mut w = work(&format!("k/{n}"), &format!("river {} night", ["moon", "sonata", "rover"][n % 3]));
            w.description = (0..20).map(|k| format!("word{}", (n * 31 + k * 7) % 400)).collect::<Vec<_>>().join(" ");
            w
        })
        .collect()
}

fn upserts(works: &[Work]) -> Vec<Change> {
    works.iter().cloned().map(Change::Upsert).collect()
}

#[test]
fn a_failed_write_leaves_whole_works_and_the_same_call_again_completes_them() {
    let all = works(200);
    Host::install();
    writer::index(upserts(&all)).unwrap();
    let complete = snapshot();
    for survives in 0..4 {
        let host = Host::install();
        kv::fail_after(survives);
        let error = writer::index(upserts(&all)).unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
        let there = |w: &&Work| host.stored(&keys::id(&w.id)).is_some();
        let model = Model(all.iter().filter(there).map(|w| (w.id.clone(), w.clone())).collect());
        assert_eq!(model.0.len(), 64 * survives, "whole steps");
        if survives > 0 {
            for text in ["moon", "river sonta", "night rov"] {
                let found = crate::search::find(&query(text)).unwrap();
                assert_eq!(found.total, model.scores(text).len() as u64, "{text}");
            }
        }
        writer::index(upserts(&all)).unwrap();
        assert!(snapshot() == complete, "after {survives} writes");
    }
}

#[test]
fn a_failed_replacement_leaves_the_old_version() {
    let host = Host::install();
    let mut all = works(20);
    writer::index(upserts(&all)).unwrap();
    let model = Model(all.iter().map(|w| (w.id.clone(), w.clone())).collect());
    for w in &mut all {
        w.title = "other".into();
    }
    kv::fail_after(0);
    let changes = upserts(&all).into_iter().chain([Change::Remove("k/3".into())]).collect();
    writer::index(changes).unwrap_err();
    for text in ["moon", "other", "river sonata"] {
        check(&host, &model, &query(text));
    }
}

#[test]
fn a_second_writer_fails_instead_of_counting_twice() {
    let host = Host::install();
    let all = works(6);
    writer::index(upserts(&all[..2])).unwrap();
    let between = upserts(&all[2..4]);
    kv::before_next_write(move || writer::index(between).unwrap());
    let error = writer::index(upserts(&all[4..])).unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error:?}");
    let model = Model(all[..4].iter().map(|w| (w.id.clone(), w.clone())).collect());
    check(&host, &model, &query("river night"));
}

#[test]
fn a_call_that_would_ask_too_much_of_the_node_stops_after_whole_steps_and_goes_on_when_it_comes_again() {
    let host = Host::install();
    let mut all = works(40);
    for (n, w) in all.iter_mut().enumerate() {
        w.description = (0..1024).map(|k| format!("own{n}x{k}")).collect::<Vec<_>>().join(" ");
    }
    let mut calls = 0;
    loop {
        let before = kv::spent();
        let done = writer::index(upserts(&all));
        let spent = kv::spent().calls - before.calls;
        assert!(spent <= 10_000, "{spent} calls of the node");
        assert!(kv::spent().written - before.written <= 8 << 20);
        calls += 1;
        match done {
            Ok(()) => break,
            Err(error) => assert!(matches!(error, Error::Exhausted(_)), "{error:?}"),
        }
        assert!(calls < 40, "it goes on");
    }
    assert!(calls > 1, "the test is for more than one call can do");
    assert!(all.iter().all(|w| host.stored(&keys::id(&w.id)).is_some()));
    assert_eq!(crate::search::find(&query("own7x1000")).unwrap().hits[0].work, "k/7");
}

#[test]
fn an_index_of_another_layout_is_refused() {
    Host::install();
    let put = fondaco_sdk::storage::Entry { key: keys::META.to_vec(), value: vec![99] };
    kv::apply(&[fondaco_sdk::storage::Write::Put(put)]).unwrap();
    let error = crate::search::find(&query("moon")).unwrap_err();
    assert!(error.to_string().contains("layout 99"), "{error}");
    assert!(writer::index(upserts(&works(1))).is_err());
}
