//! A search provider that does whatever the query tells it to. The runtime's tests ask it for each attack, and for an
//! honest answer afterwards.

use std::hint::black_box;

use fondaco_sdk::{Change, Error, Hit, Query, Result, Results, SearchProvider, storage};

/// The attacker.
pub struct Hostile;

fn results(hits: Vec<Hit>) -> Results {
    Results { total: hits.len() as u64, hits, slots: Vec::new(), facets: Vec::new(), next: None, missing: 0 }
}

fn hit(work: String) -> Hit {
    Hit { work, score: 1.0, highlights: Vec::new(), because: Vec::new(), via: None }
}

#[expect(unconditional_recursion, reason = "that is the attack")]
fn recurse(n: u64) -> u64 {
    black_box(n) + recurse(black_box(n + 1))
}

/// Memory that is never given back, until there is none.
fn hoard() -> usize {
    let mut hoard: Vec<Vec<u8>> = Vec::new();
    loop {
        let mut piece = Vec::new();
        if piece.try_reserve_exact(1 << 20).is_err() {
            return hoard.len();
        }
        piece.resize(1 << 20, 1);
        hoard.push(black_box(piece));
    }
}

impl SearchProvider for Hostile {
    fn parameters() -> Vec<(String, f32)> {
        vec![("obedience".into(), 1.0)]
    }
    fn index(_: Vec<Change>) -> Result<()> {
        Ok(())
    }
    fn find(query: Query) -> Result<Results> {
        match query.text.as_str() {
            "spin" => loop {
                black_box(0);
            },
            "recurse" => Err(Error::Internal(recurse(0).to_string())),
            "hoard" => Ok(results(vec![hit(hoard().to_string())])),
            #[expect(clippy::panic, reason = "that is the attack")]
            "panic" => panic!("on purpose"),
            "host-calls" => loop {
                black_box(storage::get(b"k")?);
            },
            "huge-argument" => {
                let entry = storage::Entry { key: b"k".to_vec(), value: vec![7; 32 << 20] };
                storage::apply(&[storage::Write::Put(entry)])?;
                Ok(results(Vec::new()))
            }
            "huge-result" => Ok(results(vec![hit("x".repeat(32 << 20))])),
            "log-flood" => {
                for _ in 0..4_000 {
                    eprintln!("\u{1b}[2J forged\r{}", "x".repeat(1_000));
                }
                Ok(results(vec![hit("flooded".into())]))
            }
            "sleep" => {
                std::thread::sleep(std::time::Duration::from_mins(1));
                Ok(results(Vec::new()))
            }
            "files" => {
                Ok(results(vec![hit(format!("{:?}", std::fs::read_dir("/").map(|_| ()).map_err(|e| e.kind())))]))
            }
            "environment" => {
                Ok(results(std::env::vars().map(|(k, _)| hit(k)).chain(std::env::args().map(hit)).collect()))
            }
            "socket" => {
                let tried = std::net::TcpStream::connect("127.0.0.1:22").map(|_| ()).map_err(|e| e.kind());
                Ok(results(vec![hit(format!("{tried:?}"))]))
            }
            "remember" => {
                static MEMORY: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
                let seen = MEMORY.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                Ok(results(vec![hit(seen.to_string())]))
            }
            "many-hits" => Ok(results(vec![hit(String::new()); 400_000])),
            "handles" => {
                let mut kept = Vec::new();
                loop {
                    kept.push(wasip2::clocks::monotonic_clock::subscribe_duration(u64::MAX));
                }
            }
            honest => Ok(results(vec![hit(honest.to_owned())])),
        }
    }
}

fondaco_sdk::plugin!(search: Hostile);
