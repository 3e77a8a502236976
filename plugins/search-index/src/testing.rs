//! Works and queries for tests.

use fondaco_sdk::fake::Host;
use fondaco_sdk::{Change, Money, Offer, Query, Reach, Sort, Terms, Work, WorkKind};

pub fn work(id: &str, title: &str) -> Work {
    Work {
        id: id.into(),
        release: "0".repeat(64),
        kind: WorkKind::Album,
        title: title.into(),
        creators: Vec::new(),
        description: String::new(),
        language: Some("en".into()),
        tags: Vec::new(),
        license: Some("CC-BY-4.0".into()),
        credits: Vec::new(),
        published: "2026-01-01T00:00:00Z".into(),
        files: Vec::new(),
        offers: Vec::new(),
        metadata: "{}".into(),
    }
}

pub fn by(id: &str, title: &str, creators: &[&str]) -> Work {
    Work { creators: creators.iter().map(|c| (*c).to_owned()).collect(), ..work(id, title) }
}

pub fn with_description(id: &str, title: &str, description: &str) -> Work {
    Work { description: description.into(), ..work(id, title) }
}

pub fn offer(amount: &str, asset: &str, scheme: Option<&str>) -> Offer {
    Offer {
        id: "o".into(),
        price: Money { amount: amount.into(), asset: asset.into(), exponent: 2 },
        suggested: None,
        splits: Vec::new(),
        terms: Terms {
            scheme: scheme.map(str::to_owned),
            lasts: None,
            devices: None,
            territories: Vec::new(),
            available_from: None,
            available_until: None,
        },
    }
}

pub fn query(text: &str) -> Query {
    Query {
        text: text.into(),
        kinds: Vec::new(),
        tags: Vec::new(),
        language: None,
        max_price: None,
        drm_free: false,
        facets: Vec::new(),
        sort: Sort::Relevance,
        cursor: None,
        limit: 20,
        reach: Reach::LocalOnly,
        wait_ms: 0,
    }
}

/// A node whose index holds these works.
pub fn indexed(works: impl IntoIterator<Item = Work>) -> Host {
    let host = Host::install();
    crate::writer::index(works.into_iter().map(Change::Upsert).collect()).unwrap();
    host
}
