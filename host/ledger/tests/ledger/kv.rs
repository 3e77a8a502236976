//! The plugins' spaces.

use std::collections::BTreeMap;

use fondaco_ledger::{Error, KvEntry, KvQuota, KvUsage, KvWrite, MAX_KEY_BYTES, MAX_VALUE_BYTES};
use proptest::prelude::*;

use crate::*;

fn put(key: &[u8], value: &[u8]) -> KvWrite {
    KvWrite::Put(KvEntry { key: key.into(), value: value.into() })
}

fn writes() -> impl Strategy<Value = KvWrite> {
    let key = prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(255)], 0..3);
    let value = prop::collection::vec(any::<u8>(), 0..12);
    prop_oneof![
        4 => (key.clone(), value.clone()).prop_map(|(key, value)| KvWrite::Put(KvEntry { key, value })),
        2 => key.clone().prop_map(KvWrite::Delete),
        1 => (key, prop::option::of(value.prop_map(|_| Vec::new()))).prop_map(|(k, v)| KvWrite::Check(k, v)),
    ]
}

/// The same in a plain map; `None` where the batch must be refused.
fn model(map: &BTreeMap<Vec<u8>, Vec<u8>>, quota: KvQuota, batch: &[KvWrite]) -> Option<BTreeMap<Vec<u8>, Vec<u8>>> {
    let size = |m: &BTreeMap<Vec<u8>, Vec<u8>>| m.iter().map(|(k, v)| (k.len() + v.len()) as u64).sum::<u64>();
    let mut next = map.clone();
    for write in batch {
        match write {
            KvWrite::Put(e) => drop(next.insert(e.key.clone(), e.value.clone())),
            KvWrite::Delete(k) => drop(next.remove(k)),
            KvWrite::Check(k, v) if next.get(k) == v.as_ref() => {}
            KvWrite::Check(..) => return None,
        }
    }
    let bytes_fit = size(&next) <= quota.bytes || size(&next) <= size(map);
    let entries_fit = next.len() as u64 <= quota.entries || next.len() <= map.len();
    (bytes_fit && entries_fit).then_some(next)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_space_behaves_like_a_map_with_a_quota(
        batches in prop::collection::vec((0..2_usize, prop::collection::vec(writes(), 1..6)), 1..16),
        (start, end) in (prop::collection::vec(any::<u8>(), 0..2), prop::collection::vec(any::<u8>(), 0..2)),
    ) {
        let quota = KvQuota { bytes: 40, entries: 4 };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (_dir, ledger) = fresh();
            let plugins = ["search-index", "pay-voucher"];
            let mut maps = [BTreeMap::new(), BTreeMap::new()];
            for (which, batch) in batches {
                let expected = model(&maps[which], quota, &batch);
                let found = ledger.kv_apply(plugins[which], quota, batch.clone()).await;
                assert_eq!(found.is_ok(), expected.is_some(), "{batch:?} gave {found:?}");
                maps[which] = expected.unwrap_or_else(|| maps[which].clone());
            }
            for (plugin, map) in plugins.into_iter().zip(maps) {
                let all: Vec<_> = ledger.kv_scan(plugin, &[], &[255; 9], 100).await.unwrap();
                let expected: Vec<_> = map.iter().map(|(k, v)| KvEntry { key: k.clone(), value: v.clone() }).collect();
                assert_eq!(all, expected);
                let part = ledger.kv_reader().scan(plugin, &start, &end, 2).unwrap();
                let within = expected.into_iter().filter(|e| e.key >= start && e.key < end);
                assert_eq!(part, within.take(2).collect::<Vec<_>>());
                let bytes = map.iter().map(|(k, v)| (k.len() + v.len()) as u64).sum();
                assert_eq!(ledger.kv_usage(plugin).await.unwrap(), KvUsage { bytes, entries: map.len() as u64 });
            }
        });
    }
}

#[tokio::test]
async fn a_refused_batch_says_why_and_writes_nothing() {
    let (_dir, ledger) = fresh();
    let quota = KvQuota { bytes: 10, entries: 2 };
    let full = ledger.kv_apply("p", quota, vec![put(b"a", b"1"), put(b"b", &[0; 9])]).await;
    assert!(matches!(full, Err(Error::Quota { what: "bytes", needed: 12, quota: 10, .. })), "{full:?}");
    let full = ledger.kv_apply("p", quota, vec![put(b"a", b""), put(b"b", b""), put(b"c", b"")]).await;
    assert!(matches!(full, Err(Error::Quota { what: "keys", needed: 3, quota: 2, .. })), "{full:?}");
    let failed = ledger.kv_apply("p", quota, vec![put(b"a", b"1"), KvWrite::Check(b"a".into(), None)]).await;
    assert!(matches!(failed, Err(Error::CheckFailed { index: 1, .. })));
    assert_eq!(ledger.kv_get("p", b"a").await.unwrap(), None);
    assert_eq!(ledger.stats().refused, 3);
}

/// Sixteen writers fill a space to its edge at once: what fits is in, what does not was refused, and not one byte or key
/// is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_writers_never_go_over_the_quota() {
    // Each entry is 10 bytes: 100 fit by bytes, and in the second round 60 by keys.
    for (bytes, entries, fits) in [(1_000, 1_000, 100_u64), (1_009, 1_000, 100), (1_000, 60, 60)] {
        let (_dir, ledger) = fresh();
        let quota = KvQuota { bytes, entries };
        let writers: Vec<_> = (0..16_u8)
            .map(|writer| {
                let ledger = ledger.clone();
                tokio::spawn(async move {
                    let mut written = 0;
                    for n in 0..10_u8 {
                        match ledger.kv_apply("p", quota, vec![put(&[writer, n], &[0; 8])]).await {
                            Ok(()) => written += 1,
                            Err(Error::Quota { .. }) => {}
                            Err(other) => panic!("{other}"),
                        }
                    }
                    written
                })
            })
            .collect();
        let mut written = 0_u64;
        for writer in writers {
            written += writer.await.unwrap();
        }
        let usage = KvUsage { bytes: fits * 10, entries: fits };
        assert_eq!((written, ledger.kv_usage("p").await.unwrap()), (fits, usage));
        let all = ledger.kv_scan("p", &[], &[255; 9], 1_000).await.unwrap();
        assert_eq!(all.len() as u64, fits, "what is counted is what is there");
        // At the edge an entry may be replaced by one that is no larger, and one that goes makes room for one.
        let first = &all[0].key;
        ledger.kv_apply("p", quota, vec![put(first, &[1; 8])]).await.unwrap();
        ledger.kv_apply("p", quota, vec![put(b"zz", &[0; 8]), KvWrite::Delete(first.clone())]).await.unwrap();
        let over = ledger.kv_apply("p", quota, vec![put(first, &[0; 8])]).await;
        assert!(matches!(over, Err(Error::Quota { .. })), "{over:?}");
    }
}

#[tokio::test]
async fn lengths_have_limits() {
    let (_dir, ledger) = fresh();
    let quota = KvQuota::NONE;
    ledger.kv_apply("p", quota, vec![put(&[1; MAX_KEY_BYTES], &vec![2; MAX_VALUE_BYTES])]).await.unwrap();
    let long_key = vec![put(&[1; MAX_KEY_BYTES + 1], b"")];
    let long_value = vec![put(b"k", &vec![2; MAX_VALUE_BYTES + 1])];
    let long_batch = (0..17_u8).map(|n| put(&[n], &vec![2; MAX_VALUE_BYTES - 100])).collect();
    for batch in [long_key, long_value, long_batch] {
        assert!(matches!(ledger.kv_apply("p", quota, batch).await, Err(Error::TooMuch { .. })));
    }
    for n in 0..17_u8 {
        ledger.kv_apply("p", quota, vec![put(&[n], &vec![2; MAX_VALUE_BYTES])]).await.unwrap();
    }
    assert!(matches!(ledger.kv_scan("p", &[], &[255], 100).await, Err(Error::TooMuch { .. })));
    assert_eq!(ledger.kv_scan("p", &[], &[255], 3).await.unwrap().len(), 3);
    ledger.kv_clear("p").await.unwrap();
    assert_eq!(ledger.kv_usage("p").await.unwrap(), KvUsage::default());
}
