//! Pins, leases and garbage collection.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use fondaco_store::{Error, ImportMode, outboard_bytes};

use super::{bytes, file, hash, open, put, read};

const NOW: Duration = Duration::ZERO;

#[test]
fn a_blob_goes_when_its_last_owner_lets_it_go() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (kept, loose) = (put(&store, &bytes(50_000, 1)), put(&store, &bytes(50_000, 2)));
    store.pin(kept, "release 1").unwrap();
    store.pin(kept, "library of Ana").unwrap();
    store.pin(kept, "release 1").unwrap();
    assert_eq!(store.owners(kept), ["library of Ana", "release 1"]);
    assert_eq!(store.pinned_by("release 1"), [kept]);

    let report = store.gc(NOW).unwrap();
    assert_eq!(report.deleted, [loose]);
    assert_eq!(report.bytes, 50_000 + outboard_bytes(50_000));
    assert!(matches!(store.get(loose), Err(Error::NotFound { .. })));
    assert!(!file(dir.path(), loose, "").exists() && !file(dir.path(), loose, ".obao4").exists());

    store.unpin(kept, "release 1").unwrap();
    assert!(store.gc(NOW).unwrap().deleted.is_empty());
    store.unpin(kept, "library of Ana").unwrap();
    store.unpin(kept, "nobody").unwrap();
    assert_eq!(store.gc(NOW).unwrap().deleted, [kept]);
    assert_eq!((store.len(), store.used_bytes()), (0, 0));
}

#[test]
fn pins_outlive_the_process_and_only_what_is_there_can_be_pinned() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let ids: Vec<_> = (0..150).map(|i| put(&store, &bytes(10, i))).collect();
    let absent = hash(b"absent");
    store.pin_all(&ids, "album").unwrap();
    store.unpin_all(&ids[..70], "album").unwrap();
    let refused = store.pin_all(&[ids[0], absent], "other");
    assert!(matches!(refused, Err(Error::NotFound { hash }) if hash == absent));
    assert!(store.pinned_by("other").is_empty());
    assert!(matches!(store.pin(ids[0], "two\nlines"), Err(Error::Owner { .. })));
    drop(store);
    let store = open(dir.path());
    let mut expected = ids[70..].to_vec();
    expected.sort_unstable();
    assert_eq!(store.pinned_by("album"), expected);
    assert_eq!(store.gc(NOW).unwrap().deleted.len(), 70);
}

#[test]
fn what_nobody_keeps_or_uses_can_be_discarded_at_any_age() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (kept, loose, held) =
        (put(&store, &bytes(50_000, 1)), put(&store, &bytes(50_000, 2)), put(&store, &bytes(9, 3)));
    store.pin(kept, "release").unwrap();
    let reading = store.get(loose).unwrap();
    let holding = store.hold(held).unwrap();
    assert_eq!((holding.hash, holding.size), (held, 9));
    for id in [kept, loose, held] {
        assert!(!store.discard(id).unwrap() && store.has(id), "{id}");
    }
    assert_eq!(store.gc(NOW).unwrap().spared, 2, "what is held is not collected");
    drop((reading, holding));
    for id in [loose, held] {
        assert!(store.discard(id).unwrap() && !store.has(id), "{id}");
    }
    assert_eq!(store.used_bytes(), 50_000 + outboard_bytes(50_000), "the kept one alone");
    assert!(store.hold(loose).is_none() && store.discard(loose).unwrap(), "it is not here");
    // What came in part goes when nobody fetches it.
    let part = hash(&bytes(40_000, 6));
    let fetching = store.fetch(part, 40_000).unwrap();
    assert!(!store.discard(part).unwrap());
    drop(fetching);
    assert!(store.discard(part).unwrap());
    assert_eq!(store.used_bytes(), 50_000 + outboard_bytes(50_000));
    drop(store.fetch(part, 40_000).unwrap());
}

#[test]
fn a_young_blob_is_spared_even_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let id = put(&store, b"young");
    let hour = Duration::from_hours(1);
    assert_eq!(store.gc(hour).unwrap().spared, 1);
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.gc(hour).unwrap().spared, 1);
    drop(store);
    let set =
        |time| fs::File::options().write(true).open(file(dir.path(), id, "")).unwrap().set_modified(time).unwrap();
    set(SystemTime::now() - 2 * hour);
    let store = open(dir.path());
    assert_eq!(put(&store, b"young"), id);
    assert_eq!(store.gc(hour).unwrap().spared, 1, "imported again, it is young again");
    drop(store);
    assert_eq!(open(dir.path()).gc(hour).unwrap().spared, 1, "and stays so after a restart");
    set(SystemTime::now() - 2 * hour);
    assert_eq!(open(dir.path()).gc(hour).unwrap().deleted, [id]);
}

#[test]
fn an_open_reader_and_a_fresh_import_keep_a_blob() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let data = bytes(2_000_000, 1);
    let imported = store.import_reader(&data[..], &|_| ()).unwrap();
    assert_eq!(store.gc(NOW).unwrap().spared, 1, "not pinned yet, but just imported");
    let mut reader = store.get(imported.hash).unwrap().reader();
    drop(imported);
    reader.next().unwrap().unwrap();
    assert_eq!(store.gc(NOW).unwrap().spared, 1);
    assert_eq!(reader.map(|piece| piece.unwrap().len()).sum::<usize>(), data.len() - 512 * 1024);
    assert_eq!(store.gc(NOW).unwrap().deleted.len(), 1);
}

#[test]
fn collecting_a_file_kept_in_place_leaves_the_file() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = outside.path().join("film.mkv");
    fs::write(&path, bytes(50_000, 1)).unwrap();
    let store = open(dir.path());
    let id = store.import_file(&path, ImportMode::Reference, &|_| ()).unwrap().hash;
    assert_eq!(store.gc(NOW).unwrap().deleted, [id]);
    assert_eq!(fs::read(&path).unwrap(), bytes(50_000, 1));
    assert_eq!(super::count(file(dir.path(), id, "").parent().unwrap()), 0);
}

#[test]
fn quarantine_is_emptied_of_what_nobody_pins() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (pinned, loose) = (put(&store, &bytes(50_000, 1)), put(&store, &bytes(50_000, 2)));
    store.pin(pinned, "shop").unwrap();
    for id in [pinned, loose] {
        fs::write(file(dir.path(), id, ""), bytes(50_000, 3)).unwrap();
        assert!(read(&store, id).is_err());
    }
    assert_eq!(store.used_bytes(), 2 * (50_000 + outboard_bytes(50_000)), "what is in quarantine takes room too");
    assert_eq!(store.gc(NOW).unwrap().deleted, [loose]);
    assert!(matches!(store.get(loose), Err(Error::NotFound { .. })));
    assert!(matches!(store.get(pinned), Err(Error::Quarantined { .. })));
    put(&store, &bytes(50_000, 1));
    assert_eq!(store.used_bytes(), 50_000 + outboard_bytes(50_000));
}

/// Importers, pinners and readers against a collector that never rests and knows no grace.
#[test]
fn a_racing_collector_takes_nothing_that_is_held() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let stop = AtomicBool::new(false);
    let blobs: Vec<_> = (0..6).map(|i| bytes(40_000, i)).collect();
    let (collected, refused) = std::thread::scope(|scope| {
        let collector = scope.spawn(|| {
            let mut deleted = 0;
            while !stop.load(Ordering::Relaxed) {
                deleted += store.gc(NOW).unwrap().deleted.len();
            }
            deleted
        });
        let workers: Vec<_> = (0..3)
            .map(|worker| {
                let (store, blobs) = (&store, &blobs);
                scope.spawn(move || {
                    let owner = format!("worker {worker}");
                    let mut refused = 0;
                    for round in 0..60 {
                        let data = &blobs[(round * (worker + 1)) % blobs.len()];
                        let imported = store.import_reader(&data[..], &|_| ()).unwrap();
                        let id = imported.hash;
                        assert!(read(store, id).unwrap() == *data, "imported and held");
                        store.pin(id, &owner).unwrap();
                        drop(imported);
                        assert!(read(store, id).unwrap() == *data, "pinned");
                        store.unpin(id, &owner).unwrap();
                        // Now it may be gone, or be read to its end, and nothing else.
                        match read(store, id) {
                            Ok(got) => assert!(got == *data),
                            Err(Error::NotFound { .. }) => refused += 1,
                            Err(other) => panic!("{other}"),
                        }
                    }
                    refused
                })
            })
            .collect();
        let refused: usize = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
        stop.store(true, Ordering::Relaxed);
        (collector.join().unwrap(), refused)
    });
    assert!(collected > 0, "{collected} collected, {refused} gone when asked for");
    store.gc(NOW).unwrap();
    assert_eq!((store.len(), store.used_bytes()), (0, 0));
}
