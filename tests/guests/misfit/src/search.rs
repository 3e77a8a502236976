//! Finds works by words.

use fondaco_sdk::storage::{self, Entry, Write};
use fondaco_sdk::{Change, Error, Hit, Query, Result, Results, SearchProvider, Slot, Sort, Work};

use crate::{Misfit, has};

fn key(id: &str) -> Vec<u8> {
    // Ids may be longer than keys.
    [b"work/", id.as_bytes()].concat().into_iter().take(500).collect()
}

fn all() -> Result<Vec<Work>> {
    let entries = storage::scan_prefix(b"work/", 1_000)?;
    entries.iter().map(|e| serde_json::from_slice(&e.value).map_err(|e| Error::Internal(e.to_string()))).collect()
}

fn fits(q: &Query, w: &Work) -> bool {
    let text = format!("{} {}", w.title, w.creators.join(" ")).to_lowercase();
    let tags = q.tags.iter().all(|t| w.tags.contains(t));
    let cheap = q.max_price.as_ref().is_none_or(|max| {
        let sum = |a: &str| a.parse::<u128>().ok();
        w.offers.iter().any(|o| {
            o.price.asset == max.asset && o.price.exponent == max.exponent && sum(&o.price.amount) <= sum(&max.amount)
        })
    });
    let demanded = tags
        && cheap
        && (q.kinds.is_empty() || q.kinds.contains(&w.kind))
        && (q.language.is_none() || q.language == w.language)
        && (!q.drm_free || w.offers.iter().any(|o| o.terms.scheme.is_none()));
    text.contains(&q.text.to_lowercase()) && (demanded || has("filters"))
}

impl SearchProvider for Misfit {
    fn parameters() -> Vec<(String, f32)> {
        if has("parameters") { vec![] } else { vec![("words of the title".into(), 1.0)] }
    }

    #[expect(clippy::unwrap_used, reason = "a fault that is asked for")]
    fn index(changes: Vec<Change>) -> Result<()> {
        let count = if has("fed-twice") { storage::scan_prefix(b"work/", 1_000)?.len() } else { 0 };
        let write = |(i, change)| match change {
            Change::Upsert(work) => {
                let value = serde_json::to_vec(&work).map_err(|e| Error::Internal(e.to_string()))?;
                let id = if has("fed-twice") { format!("{}#{}", work.id, count + i) } else { work.id };
                Ok(Write::Put(Entry { key: key(&id), value }))
            }
            Change::Remove(_) if has("removes") => Ok(Write::Delete(b"nothing".to_vec())),
            Change::Remove(id) => Ok(Write::Delete(key(&id))),
        };
        let batch: Vec<Write> = changes.into_iter().enumerate().map(write).collect::<Result<_>>()?;
        let applied = storage::apply(&batch);
        if has("full") {
            applied.clone().unwrap();
        }
        applied
    }

    #[expect(clippy::unwrap_used, reason = "faults that are asked for")]
    fn find(q: Query) -> Result<Results> {
        assert!(!(has("long-text") && q.text.len() > 1_000), "too long");
        if has("busy") && q.limit == u32::MAX {
            // A quarter of a second's deadline, and most of it gone.
            let mut n = 0_u64;
            while std::hint::black_box(n) < 400_000_000 {
                n += 1;
            }
        }
        let mut found = if has("outage") { all().unwrap() } else { all()? };
        found.retain(|w| fits(&q, w));
        match q.sort {
            Sort::Title => found.sort_by(|a, b| (&a.title, &a.id).cmp(&(&b.title, &b.id))),
            _ => found.sort_by(|a, b| a.id.cmp(&b.id)),
        }
        let from: usize = match q.cursor.as_deref().map_or(Ok(0), str::parse) {
            Ok(from) => from,
            Err(_) => return Err(Error::Invalid("the cursor is not one of ours".into())),
        };
        let total = found.len();
        let step = if has("pages") { from.saturating_sub(1) } else { from };
        let hit = |w: Work| Hit { work: w.id, score: 1.0, highlights: vec![], because: vec![], via: None };
        let mut hits: Vec<Hit> = found.into_iter().skip(step).take(q.limit as usize).map(hit).collect();
        if has("invents") {
            hits.push(hit(Work { id: "nobody/fed-this".into(), ..all()?.remove(0) }));
        }
        let end = from.saturating_add(q.limit as usize);
        Ok(Results {
            next: (!hits.is_empty() && end < total).then(|| end.to_string()),
            hits,
            slots: vec![],
            facets: vec![],
            total: total as u64,
            missing: 0,
        })
    }

    fn bid(_: Query) -> Result<Vec<Slot>> {
        let slot = Slot { work: "x".into(), sponsor: "Somebody".into(), payer: String::new(), reason: "paid".into() };
        Ok(if has("bids") { vec![slot] } else { vec![] })
    }
}
