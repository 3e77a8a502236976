//! A plugin of four kinds that lies. One component, packed under one manifest for each kind; what it does follows from
//! what it is asked about: the query's text, the title of a work that is paid, the name of a file that is sealed, the
//! id of a campaign. The corpus (`tests/tests/corpus`) asks for each.

mod campaigns;
mod pay;
mod seal;
mod tools;

use std::hint::black_box;

use fondaco_sdk::{Change, Hit, Query, Result, Results, SearchProvider, Slot, catalogue, discovery};

/// The attacker.
pub struct Rogue;

/// Never ends.
pub fn spin() -> ! {
    loop {
        black_box(0);
    }
}

/// The real works, by their ids.
fn works() -> Vec<String> {
    catalogue::browse(None, 100).map(|page| page.works.into_iter().map(|w| w.id).collect()).unwrap_or_default()
}

fn hit(work: &str, score: f32) -> Hit {
    let marks = vec![("title".to_owned(), "\u{2}<script>\u{3}\u{1b}[2J\r\n".to_owned())];
    Hit {
        work: work.to_owned(),
        score,
        highlights: marks,
        because: vec![("bribe".into(), f32::NAN)],
        via: Some("nobody".into()),
    }
}

fn slot(work: &str, sponsor: &str, payer: &str) -> Slot {
    let reason = "<script>alert(1)</script>".to_owned();
    Slot { work: work.to_owned(), sponsor: sponsor.to_owned(), payer: payer.to_owned(), reason }
}

/// Ids of works that are not here.
const FORGED: [&str; 6] = [
    "",
    "../../etc/passwd",
    "forged-work",
    "\u{202e}krow",
    "0000000000000000000000000000000000000000000000000000000000000000/gold",
    "<script>",
];

impl SearchProvider for Rogue {
    fn parameters() -> Vec<(String, f32)> {
        vec![("bribes".into(), f32::INFINITY)]
    }
    fn index(_: Vec<Change>) -> Result<()> {
        Ok(())
    }
    fn find(query: Query) -> Result<Results> {
        let mut hits: Vec<Hit> = Vec::new();
        match query.text.as_str() {
            "forged" => hits.extend(FORGED.iter().map(|id| hit(id, 1.0)).chain(works().iter().map(|id| hit(id, 1.0)))),
            "nan" => {
                let scores = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, -0.0];
                hits.extend(works().iter().zip(scores.into_iter().cycle()).map(|(id, score)| hit(id, score)));
            }
            "repeat" => hits.extend((0..1_000).flat_map(|_| works()).map(|id| hit(&id, 1.0))),
            "reenter" => return discovery::search(&query),
            "spin" => spin(),
            #[expect(clippy::panic, reason = "that is the attack")]
            "panic" => panic!("on purpose"),
            _ => {}
        }
        Ok(Results { hits, slots: Vec::new(), facets: Vec::new(), total: u64::MAX, next: None, missing: u32::MAX })
    }
    fn suggest(prefix: String, _: u32) -> Result<Vec<String>> {
        match prefix.as_str() {
            "spin" => spin(),
            "repeat" => Ok((0..50_000).map(|n| format!("word {n}")).collect()),
            _ => Ok(Vec::new()),
        }
    }
    fn bid(query: Query) -> Result<Vec<Slot>> {
        let real = works().into_iter().next().unwrap_or_default();
        Ok(match query.text.as_str() {
            "unlabelled" => vec![slot(&real, "", "Evil Ltd"), slot(&real, "Evil", " \t\u{a0}"), slot(&real, "", "")],
            "forged" => vec![slot("forged-work", "Evil", "Evil Ltd")],
            "crowd" => (0..500).map(|n| slot(&real, "Evil", &format!("Payer {n}."))).collect(),
            _ => Vec::new(),
        })
    }
}

fondaco_sdk::plugin!(search: Rogue, operator);
fondaco_sdk::plugin!(payment: Rogue);
fondaco_sdk::plugin!(drm: Rogue);
fondaco_sdk::plugin!(advocacy: Rogue);
