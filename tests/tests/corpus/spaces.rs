//! The plugins' key-value spaces, asked of the ledger itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use fondaco_ledger::{KvEntry, KvQuota, KvWrite, Ledger, Options};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::Outcome;
use crate::stand::run;

/// More than any of the spaces needs.
const ROOM: KvQuota = KvQuota { bytes: 16 << 20, entries: 100_000 };

fn ledger(folder: &std::path::Path) -> Result<Ledger> {
    Ok(Ledger::open(folder.join("ledger.db"), Options::new(Arc::new(|_| Vec::new())))?)
}

fn put(key: &[u8], value: &[u8]) -> KvWrite {
    KvWrite::Put(KvEntry { key: key.to_vec(), value: value.to_vec() })
}

/// Ids and keys around whatever might part one from the other: dots, slashes, zero bytes, each other.
fn pair() -> impl Strategy<Value = (String, Vec<u8>)> {
    let id = prop_oneof!["(a|b|ab|a\\.b|org\\.a|org\\.a\\.b|org){1}", "[ab.]{1,6}"];
    let key = prop_oneof![
        proptest::collection::vec(
            prop_oneof![Just(0_u8), Just(b'/'), Just(b'.'), Just(b':'), Just(b'a'), Just(b'b'), Just(0xff)],
            0..6
        ),
        Just(b"../org.a/k".to_vec()),
        Just(b"a\0b".to_vec()),
        Just(b"' OR 1=1 --".to_vec()),
    ];
    (id, key)
}

/// Thousands of pairs in one ledger, each with a value of its own: each gives its own value back, and a scan over all
/// keys of an id gives that id's and no other's.
pub fn key_space_escape() -> Result<Outcome> {
    let folder = tempfile::tempdir()?;
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let mut written: BTreeMap<(String, Vec<u8>), Vec<u8>> = BTreeMap::new();
    for n in 0..20_000_u32 {
        let made = pair().new_tree(&mut runner).map_err(|e| anyhow::anyhow!("{e}"))?.current();
        written.insert(made, n.to_le_bytes().to_vec());
    }
    run(async {
        let ledger = ledger(folder.path())?;
        let mut spaces: BTreeMap<&str, Vec<KvWrite>> = BTreeMap::new();
        for ((id, key), value) in &written {
            spaces.entry(id).or_default().push(put(key, value));
        }
        for (id, batch) in &spaces {
            ledger.kv_apply(id, ROOM, batch.clone()).await?;
        }
        let mut aliases = 0;
        let reader = ledger.kv_reader();
        for ((id, key), value) in &written {
            aliases += usize::from(reader.get(id, key)?.as_ref() != Some(value));
        }
        for (id, batch) in &spaces {
            let found = reader.scan(id, b"", &[0xff; 64], 100_000)?;
            let own =
                found.iter().filter(|e| written.get(&((*id).to_owned(), e.key.clone())) == Some(&e.value)).count();
            ensure!(
                own == found.len() && own == batch.len(),
                "{id}: {own} of its own, {} found, {} written",
                found.len(),
                batch.len()
            );
        }
        // To take everything away from one leaves the others as they are.
        let (first, rest) = spaces.iter().next().context("no spaces")?;
        let gone = rest.iter().map(|w| match w {
            KvWrite::Put(e) => KvWrite::Delete(e.key.clone()),
            other => other.clone(),
        });
        ledger.kv_apply(first, ROOM, gone.collect()).await?;
        for ((id, key), value) in written.iter().filter(|((id, _), _)| id != first) {
            aliases += usize::from(reader.get(id, key)?.as_ref() != Some(value));
        }
        ledger.close().await;
        Ok(Outcome::Harmless(format!("{aliases} aliases among {} keys of {} ids", written.len(), spaces.len())))
    })
}

/// Sixteen writers, each of whom alone would fit, and together not by far.
pub fn quota_race() -> Result<Outcome> {
    const QUOTA: u64 = 256 << 10;
    let quota = KvQuota { bytes: QUOTA, entries: 100_000 };
    let folder = tempfile::tempdir()?;
    run(async {
        let ledger = ledger(folder.path())?;
        let writers: Vec<_> = (0..16)
            .map(|writer| {
                let ledger = ledger.clone();
                tokio::spawn(async move {
                    let mut taken = 0_u64;
                    for n in 0..24 {
                        let key = format!("{writer}/{n}");
                        if ledger
                            .kv_apply("org.example.hostile", quota, vec![put(key.as_bytes(), &[7; 4_000])])
                            .await
                            .is_ok()
                        {
                            taken += 4_000;
                        }
                    }
                    taken
                })
            })
            .collect();
        let mut taken = 0;
        for writer in writers {
            taken += writer.await?;
        }
        let held: u64 = ledger
            .kv_reader()
            .scan("org.example.hostile", b"", &[0xff; 64], 10_000)?
            .iter()
            .map(|e| (e.key.len() + e.value.len()) as u64)
            .sum();
        ledger.close().await;
        ensure!(held <= QUOTA && taken <= QUOTA, "{held} bytes are held of {QUOTA}");
        ensure!(held > QUOTA / 10 * 9, "it could have held more than {held}");
        Ok(Outcome::Harmless(format!("{held} bytes, within the quota of {QUOTA}")))
    })
}
