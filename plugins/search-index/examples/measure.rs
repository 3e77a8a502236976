//! What the index costs for 10,000 made-up works: `cargo run -p search-index --example measure [works]`.
//!
//! Words follow Zipf's law over a vocabulary of 60,000; a work has a title of 4 words, a description of 60 and 5 tags.
#![expect(clippy::unwrap_used, reason = "it ends at the first fault")]
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "dice need no exactness"
)]

use std::time::{Duration, Instant};

use fondaco_sdk::fake::Host;
use fondaco_sdk::{Change, Error, Money, Offer, Query, Reach, Sort, Terms, Work, WorkKind, storage};
use search_index::{kv, search, suggest, writer};

const VOCABULARY: f64 = 60_000.0;

struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        // xorshift64, Marsaglia 2003.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
    fn word(&mut self) -> String {
        word(VOCABULARY.powf(self.roll()) as usize)
    }
    fn words(&mut self, count: usize) -> String {
        (0..count).map(|_| self.word()).collect::<Vec<_>>().join(" ")
    }
}

/// The word of a rank: rare ones are longer.
fn word(rank: usize) -> String {
    let syllables =
        ["ka", "lo", "mi", "ne", "ru", "sa", "to", "vi", "bel", "dor", "fen", "gar", "hul", "jas", "pem", "quin"];
    let mut rest = rank + 16;
    let mut word = String::new();
    while rest > 0 {
        word.push_str(syllables.get(rest % 16).unwrap());
        rest /= 16;
    }
    word
}

fn work(n: usize, dice: &mut Dice) -> Work {
    let money = |amount: usize| Money { amount: (amount * 50).to_string(), asset: "EUR".into(), exponent: 2 };
    let terms = |scheme: Option<&str>| Terms {
        scheme: scheme.map(str::to_owned),
        lasts: None,
        devices: None,
        territories: Vec::new(),
        available_from: None,
        available_until: None,
    };
    Work {
        id: format!("publisher/work-{n}"),
        release: String::new(),
        kind: [WorkKind::Album, WorkKind::Book, WorkKind::Game, WorkKind::Track].into_iter().nth(n % 4).unwrap(),
        title: dice.words(4),
        creators: vec![dice.words(2)],
        description: dice.words(60),
        language: Some(["en", "fr", "de"].into_iter().nth(n % 3).unwrap().into()),
        tags: (0..5).map(|_| word(500f64.powf(dice.roll()) as usize)).collect(),
        license: Some("CC-BY-4.0".into()),
        credits: vec![("mix".into(), dice.words(2))],
        published: format!("20{:02}-{:02}-01T00:00:00Z", n % 27, n % 12 + 1),
        files: Vec::new(),
        offers: vec![Offer {
            id: "o".into(),
            price: money(n % 40),
            suggested: None,
            splits: Vec::new(),
            terms: terms(if n.is_multiple_of(3) { Some("sealed") } else { None }),
        }],
        metadata: String::new(),
    }
}

/// For how long this thread ran (Linux, `proc_pid_schedstat(5)`): other programs do not count.
fn on_processor() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}

fn main() {
    let works: usize = std::env::args().nth(1).map_or(10_000, |n| n.parse().unwrap());
    let _host = Host::install();
    let mut dice = Dice(42);
    let (mut most_calls, mut most_bytes, mut again) = (0, 0, 0);
    let began = Instant::now();
    for from in (0..works).step_by(64) {
        let changes: Vec<Change> = (from..works.min(from + 64)).map(|n| Change::Upsert(work(n, &mut dice))).collect();
        loop {
            let before = kv::spent();
            let done = writer::index(changes.clone());
            let now = kv::spent();
            most_calls = most_calls.max(now.calls - before.calls);
            most_bytes = most_bytes.max(now.written - before.written);
            match done {
                Ok(()) => break,
                Err(Error::Exhausted(_)) => again += 1,
                Err(error) => panic_with(&error),
            }
        }
    }
    println!("{works} works in {:.1?} (the fake store copies itself at each write)", began.elapsed());
    println!(
        "a call of 64 works: at most {most_calls} calls of the node, {most_bytes} bytes; {again} had to come again"
    );
    let all = storage::scan(&[], &[0xff; 8], u32::MAX).unwrap();
    let bytes: usize = all.iter().map(|e| e.key.len() + e.value.len()).sum();
    let largest = all.iter().map(|e| e.value.len()).max().unwrap_or(0);
    println!("stored: {} keys, {bytes} bytes, the largest value {largest}", all.len());
    for kind in b"afimxwtpds" {
        let of = all.iter().filter(|e| e.key.first() == Some(kind));
        let (keys, bytes) = of.fold((0, 0), |(n, sum), e| (n + 1, sum + e.key.len() + e.value.len()));
        println!("  {}: {keys} keys, {bytes} bytes", char::from(*kind));
    }
    drop(all);
    let began = Instant::now();
    let before = kv::spent();
    let mut one = work(77, &mut dice);
    one.title = "another title".into();
    writer::index(vec![Change::Upsert(one)]).unwrap();
    let spent = kv::spent();
    let (calls, written) = (spent.calls - before.calls, spent.written - before.written);
    println!("one work replaced: {calls} calls, {written} bytes, {:.1?}", began.elapsed());

    let facets = ["kind", "tag", "language", "licence", "price", "protection"].map(str::to_owned).to_vec();
    let common = word(1);
    let middle = word(300);
    let rare = word(50_000);
    let misspelt = format!("{}x{}", rare.get(..4).unwrap(), rare.get(5..).unwrap());
    for (what, text) in [
        ("everything", String::new()),
        ("the most common word", common.clone()),
        ("a middling word", middle.clone()),
        ("a rare word", rare.clone()),
        ("a misspelt word", misspelt.clone()),
        ("three letters", "kal".into()),
        ("five words", format!("{common} {middle} {rare} {} {misspelt}", word(40))),
        (
            "sixteen misspelt words",
            (0..16).map(|n| format!("{}q", word(40_000 + n * 31))).collect::<Vec<_>>().join(" "),
        ),
    ] {
        for facets in [Vec::new(), facets.clone()] {
            let query = Query {
                text: text.clone(),
                kinds: Vec::new(),
                tags: Vec::new(),
                language: None,
                max_price: None,
                drm_free: false,
                sort: Sort::Relevance,
                cursor: None,
                limit: 20,
                reach: Reach::LocalOnly,
                wait_ms: 0,
                facets,
            };
            let before = kv::spent().calls;
            let total = search::find(&query).unwrap().total;
            let calls = kv::spent().calls - before;
            let began = on_processor();
            for _ in 0..20 {
                search::find(&query).unwrap();
            }
            let each = on_processor().saturating_sub(began) / 20;
            println!("{what}, {} facets: {total} found, {calls} calls, {each:.2?}", query.facets.len());
        }
    }
    let began = on_processor();
    suggest::suggest("kal", 10).unwrap();
    println!("suggestions: {:.2?}", on_processor().saturating_sub(began));
}

#[expect(clippy::panic, reason = "it ends at the first fault")]
fn panic_with(error: &Error) -> ! {
    panic!("{error}")
}
