//! A store does what a map from hashes to bytes does.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;

use fondaco_store::{Error, ImportMode, outboard_bytes};
use proptest::prelude::*;

use super::{GROUP, bytes, hash, open, put, read};

#[derive(Clone, Debug)]
enum Act {
    Reader(usize, u64),
    Writer(usize, u64, usize),
    File(usize, u64, ImportMode),
    Read(prop::sample::Index, prop::sample::Index, prop::sample::Index),
    Reopen,
}

/// Sizes around the edges of chunks, groups, pieces and buffers.
fn size() -> impl Strategy<Value = usize> {
    let edge = prop::sample::select(vec![0, 1_024, GROUP, 2 * GROUP, 3 * GROUP, 16 * GROUP, 33 * GROUP, 70 * GROUP]);
    (edge, -2_isize..=2).prop_map(|(edge, off)| edge.saturating_add_signed(off))
}

fn act() -> impl Strategy<Value = Act> {
    let seed = 0..3_u64;
    prop_oneof![
        (size(), seed.clone()).prop_map(|(n, s)| Act::Reader(n, s)),
        (size(), seed.clone(), 1..100_000_usize).prop_map(|(n, s, step)| Act::Writer(n, s, step)),
        (size(), seed.clone()).prop_map(|(n, s)| Act::File(n, s, ImportMode::Copy)),
        (size(), seed).prop_map(|(n, s)| Act::File(n, s, ImportMode::Reference)),
        any::<(prop::sample::Index, prop::sample::Index, prop::sample::Index)>()
            .prop_map(|(which, a, b)| Act::Read(which, a, b)),
        Just(Act::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_store_answers_as_a_map_does(acts in prop::collection::vec(act(), 1..24)) {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut store = open(dir.path());
        let mut model = BTreeMap::new();
        for act in acts {
            match act {
                Act::Reader(n, seed) => {
                    let data = bytes(n, seed);
                    let imported = store.import_reader(&data[..], &|_| ()).unwrap();
                    prop_assert_eq!((imported.hash, imported.size), (hash(&data), n as u64));
                    model.insert(hash(&data), data);
                }
                Act::Writer(n, seed, step) => {
                    let data = bytes(n, seed);
                    let mut importer = store.importer().unwrap();
                    for part in data.chunks(step) {
                        importer.write_all(part).unwrap();
                    }
                    prop_assert_eq!(importer.size(), n as u64);
                    prop_assert_eq!(importer.finish().unwrap().hash, hash(&data));
                    model.insert(hash(&data), data);
                }
                Act::File(n, seed, mode) => {
                    let data = bytes(n, seed);
                    let path = outside.path().join(hash(&data).to_string());
                    if !path.exists() {
                        fs::write(&path, &data).unwrap();
                    }
                    let told = Cell::new(0);
                    let imported = store.import_file(&path, mode, &|done| told.set(done)).unwrap();
                    prop_assert_eq!((imported.hash, told.get()), (hash(&data), n as u64));
                    model.insert(hash(&data), data);
                }
                Act::Read(which, a, b) if !model.is_empty() => {
                    let (id, data) = model.iter().nth(which.index(model.len())).unwrap();
                    let (a, b) = (a.index(data.len() + 1), b.index(data.len() + 1));
                    let (start, end) = (a.min(b), a.max(b));
                    let blob = store.get(*id).unwrap();
                    prop_assert_eq!(blob.size(), data.len() as u64);
                    let mut got = Vec::new();
                    for piece in blob.range(start as u64..end as u64).unwrap() {
                        let piece = piece.unwrap();
                        prop_assert!(!piece.is_empty() && piece.len() <= 1 << 20);
                        got.extend_from_slice(&piece);
                    }
                    prop_assert!(got == data[start..end]);
                    let mut buffer = vec![0; end - start + 7];
                    let n = blob.read_at(start as u64, &mut buffer).unwrap();
                    prop_assert!(buffer[..n] == data[start..data.len().min(end + 7)]);
                }
                Act::Read(..) => {}
                Act::Reopen => {
                    drop(store);
                    store = open(dir.path());
                }
            }
            let listed: Vec<_> = store.list().iter().map(|info| (info.hash, info.size)).collect();
            let expected: Vec<_> = model.iter().map(|(h, d)| (*h, d.len() as u64)).collect();
            prop_assert_eq!(listed, expected);
        }
        for (id, data) in &model {
            prop_assert!(read(&store, *id).unwrap() == *data);
        }
        prop_assert_eq!(store.verify_all(&|_| ()).faults, vec![]);
    }
}

#[test]
fn a_range_outside_the_blob_is_an_error_and_a_read_past_its_end_is_short() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let data = bytes(100_000, 1);
    let blob = store.get(put(&store, &data)).unwrap();
    for (start, end) in [(0, 100_001), (100_001, 100_001), (u64::MAX, u64::MAX)] {
        assert!(matches!(blob.range(start..end), Err(Error::Range { .. })), "{start}..{end}");
    }
    #[expect(clippy::reversed_empty_ranges, reason = "this is what a careless caller may send")]
    let reversed = blob.range(5..4);
    assert!(matches!(reversed, Err(Error::Range { .. })));
    let mut buffer = [0; 10];
    assert_eq!(blob.read_at(99_995, &mut buffer).unwrap(), 5);
    assert_eq!(blob.read_at(100_000, &mut buffer).unwrap(), 0);
    assert_eq!(blob.read_at(u64::MAX, &mut buffer).unwrap(), 0);
    assert!(blob.range(100_000..100_000).unwrap().next().is_none());
}

#[test]
fn many_imports_at_once_are_all_there_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = store.clone();
            // Each blob is imported by two threads.
            scope.spawn(move || {
                for i in 0..12 {
                    put(&store, &bytes(60_000, i + (thread % 2) * 12));
                }
            });
        }
    });
    assert_eq!(store.len(), 24);
    assert_eq!(store.used_bytes(), 24 * (60_000 + outboard_bytes(60_000)));
    assert_eq!(store.verify_all(&|_| ()).whole, 24);
    assert_eq!(super::count(&dir.path().join("tmp")), 0);
}

#[test]
fn folders_and_files_are_closed_to_others() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("blobs");
    fs::create_dir(&root).unwrap();
    fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
    let store = open(&root);
    let id = put(&store, &bytes(50_000, 1));
    store.pin(id, "shop").unwrap();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let data = super::file(&root, id, "");
    for dir in [root.as_path(), &root.join("tmp"), &root.join("quarantine"), data.parent().unwrap()] {
        assert_eq!(mode(dir), 0o700, "{}", dir.display());
    }
    for file in [data.as_path(), &super::file(&root, id, ".obao4"), &root.join("pins"), &root.join("lock")] {
        assert_eq!(mode(file), 0o600, "{}", file.display());
    }
}

#[test]
fn a_second_opening_is_refused_until_the_first_ends() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let second = fondaco_store::Store::open(dir.path(), fondaco_store::Options::default());
    assert!(matches!(second, Err(Error::Locked { .. })));
    drop(store);
    open(dir.path());
}
