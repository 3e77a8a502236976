//! A wrong byte is never handed out, whatever happened to the files.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use fondaco_schemas::BlobHash;
use fondaco_store::{Error, ImportMode, Part, Problem, Store};

use super::{GROUP, bytes, file, hash, open, put, read};

/// Five groups and a bit: three levels of nodes, and a last group of its own size.
const SIZE: usize = 5 * GROUP + 700;

/// Puts whole files in place again, spoils them, and reads with a fresh store and with readers that were open before.
fn check(dir: &Path, data: &[u8], suffix: &str, spoil: impl Fn(&mut Vec<u8>), what: &str) {
    let _ = fs::remove_dir_all(dir);
    let id = put(&open(dir), data);
    let path = file(dir, id, suffix);
    let spoiled = {
        let mut bytes = fs::read(&path).unwrap();
        spoil(&mut bytes);
        bytes
    };

    let store = open(dir);
    let blob = store.get(id).unwrap();
    let reader = blob.reader();
    fs::write(&path, &spoiled).unwrap();
    let mut got = Vec::new();
    let mut failed = 0;
    for piece in reader {
        match piece {
            Ok(piece) => got.extend_from_slice(&piece),
            Err(Error::Corrupt { hash, .. }) if hash == id => failed += 1,
            Err(other) => panic!("{what}: {other}"),
        }
    }
    assert!(data.starts_with(&got), "{what}: a wrong byte was handed out");
    // What was cut off or appended behind the last group is not seen by a reader that is past opening.
    assert!(failed == 1 || got == data, "{what}: neither an error nor the whole blob");
    drop((blob, store));

    let store = open(dir);
    let refused = store.verify(id);
    assert!(matches!(refused, Err(Error::Corrupt { .. } | Error::Quarantined { .. })), "{what}: {refused:?}");
    assert!(matches!(store.get(id), Err(Error::Quarantined { .. })), "{what}: not in quarantine");
    assert!(!store.has(id) && !path.exists(), "{what}");
    drop(store);
    let store = open(dir);
    assert!(matches!(store.get(id), Err(Error::Quarantined { .. })), "{what}: forgotten at the next start");
    assert_eq!(put(&store, data), id);
    assert_eq!(read(&store, id).unwrap(), data, "{what}: not healed by a new import");
    assert_eq!(super::count(&dir.join("quarantine")), 0, "{what}");
}

#[test]
fn a_flipped_bit_anywhere_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("s");
    let data = bytes(SIZE, 1);
    for at in (0..SIZE).step_by(1_709).chain([GROUP - 1, GROUP, SIZE - 1]) {
        check(&root, &data, "", |bytes| bytes[at] ^= 1 << (at % 8), &format!("data byte {at}"));
    }
    for at in (0..5 * 64).step_by(5) {
        check(&root, &data, ".obao4", |bytes| bytes[at] ^= 1 << (at % 8), &format!("outboard byte {at}"));
    }
    for size in [1, 1_024, GROUP] {
        let data = bytes(size, 2);
        check(&root, &data, "", |bytes| bytes[size / 2] ^= 0x80, &format!("blob of {size}"));
    }
}

#[test]
fn missing_and_added_bytes_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("s");
    let data = bytes(SIZE, 1);
    // With four groups of eight left, the tree's left half verifies: only the last group tells the length.
    for len in [0, 1, GROUP, 4 * GROUP, 5 * GROUP, SIZE - 1] {
        check(&root, &data, "", |bytes| bytes.truncate(len), &format!("data cut to {len}"));
    }
    for more in [1, 324, GROUP] {
        check(&root, &data, "", |bytes| bytes.resize(SIZE + more, 0), &format!("data longer by {more}"));
    }
    for len in [0, 63, 64, 5 * 64 - 1] {
        check(&root, &data, ".obao4", |bytes| bytes.truncate(len), &format!("outboard cut to {len}"));
    }
    check(&root, &data, ".obao4", |bytes| bytes.push(0), "outboard longer by one");
    check(&root, b"", "", |bytes| bytes.push(0), "a byte in the empty blob");
    check(&root, b"x", "", Vec::clear, "an emptied blob");
}

/// Data and outboard that fit each other, cut so that each file's length fits the other's: only the id can tell.
#[test]
fn a_blob_cut_together_with_its_outboard_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let data = bytes(SIZE, 1);
    let id = put(&open(dir.path()), &data);
    fs::write(file(dir.path(), id, ""), &data[..4 * GROUP]).unwrap();
    let outboard = fs::read(file(dir.path(), id, ".obao4")).unwrap();
    fs::write(file(dir.path(), id, ".obao4"), &outboard[..3 * 64]).unwrap();
    let found = open(dir.path()).get(id).map(|blob| blob.size());
    assert!(matches!(found, Err(Error::Corrupt { .. })), "{found:?}");
}

#[test]
fn another_blobs_files_under_this_name_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (ours, other) = (put(&store, &bytes(SIZE, 1)), put(&store, &bytes(SIZE, 2)));
    for suffix in ["", ".obao4"] {
        fs::copy(file(dir.path(), other, suffix), file(dir.path(), ours, suffix)).unwrap();
    }
    assert!(matches!(read(&store, ours), Err(Error::Corrupt { .. })));
    assert_eq!(read(&store, other).unwrap(), bytes(SIZE, 2));
}

#[test]
fn the_error_says_where_and_what() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let data = bytes(SIZE, 1);
    let id = put(&store, &data);
    let blob = store.get(id).unwrap();
    let mut spoiled = data.clone();
    spoiled[3 * GROUP + 5] ^= 1;
    fs::write(file(dir.path(), id, ""), &spoiled).unwrap();
    let mut buffer = vec![0; 2 * GROUP];
    assert_eq!(blob.read_at(GROUP as u64, &mut buffer).unwrap(), 2 * GROUP, "groups before it are still good");
    let error = blob.read_at(4 * GROUP as u64 - 1, &mut buffer).unwrap_err();
    let at = 3 * GROUP as u64;
    assert!(
        matches!(error, Error::Corrupt { hash, offset, part: Part::Data } if hash == id && offset == at),
        "{error}"
    );
}

#[test]
fn a_reader_that_was_open_does_not_condemn_the_copy_that_replaced_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let data = bytes(SIZE, 1);
    let id = put(&store, &data);
    let (first, second) = (store.get(id).unwrap(), store.get(id).unwrap());
    let mut spoiled = data.clone();
    spoiled[0] ^= 1;
    fs::write(file(dir.path(), id, ""), &spoiled).unwrap();
    assert!(first.reader().next().unwrap().is_err());
    put(&store, &data);
    assert!(second.reader().next().unwrap().is_err(), "this one still has the old file open");
    assert_eq!(read(&store, id).unwrap(), data);
}

fn import(store: &Store, path: &Path) -> BlobHash {
    store.import_file(path, ImportMode::Reference, &|_| ()).unwrap().hash
}

#[test]
fn a_file_kept_in_place_is_served_only_while_it_is_what_was_imported() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = outside.path().join("album.flac");
    let data = bytes(SIZE, 1);
    fs::write(&path, &data).unwrap();
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    let set_time = |time: SystemTime| fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    let store = open(dir.path());
    let id = import(&store, &path);
    assert_eq!(store.used_bytes(), 5 * 64, "the store has the outboard only");
    assert_eq!(read(&store, id).unwrap(), data);

    set_time(time + Duration::from_secs(1));
    assert!(matches!(store.get(id), Err(Error::ReferenceChanged { what: "was changed", .. })));
    set_time(time);
    assert_eq!(read(&store, id).unwrap(), data);
    fs::rename(&path, outside.path().join("moved")).unwrap();
    assert!(matches!(store.get(id), Err(Error::ReferenceChanged { what: "is gone", .. })));
    assert_eq!(import(&store, &outside.path().join("moved")), id, "imported again, it is known by its new place");
    assert_eq!(read(&store, id).unwrap(), data);
    fs::rename(outside.path().join("moved"), &path).unwrap();
    import(&store, &path);

    // Changed behind its time and size: the bytes tell.
    let mut spoiled = data.clone();
    spoiled[SIZE - 1] ^= 1;
    fs::write(&path, &spoiled).unwrap();
    set_time(time);
    assert!(matches!(read(&store, id), Err(Error::Corrupt { .. })));
    fs::write(&path, &data).unwrap();
    set_time(time);
    assert!(matches!(store.get(id), Err(Error::Quarantined { .. })), "marked, even if the file looks right again");
    assert!(path.exists(), "a file outside the store is never touched");
    import(&store, &path);
    assert_eq!(read(&store, id).unwrap(), data);
}

#[test]
fn a_copy_takes_the_place_of_a_file_kept_outside() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = outside.path().join("book.epub");
    let data = bytes(SIZE, 1);
    fs::write(&path, &data).unwrap();
    let store = open(dir.path());
    let id = import(&store, &path);
    store.import_file(&path, ImportMode::Copy, &|_| ()).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(read(&store, id).unwrap(), data);
    assert_eq!(store.used_bytes(), SIZE as u64 + 5 * 64);
    drop(store);
    assert_eq!(read(&open(dir.path()), id).unwrap(), data);
}

#[test]
fn the_deep_check_names_every_blob_that_is_not_whole() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(dir.path());
    let ids: Vec<BlobHash> = (0..6).map(|i| put(&store, &bytes(SIZE, i))).collect();
    let path = outside.path().join("film.mkv");
    fs::write(&path, bytes(SIZE, 9)).unwrap();
    let kept_outside = import(&store, &path);
    store.pin(ids[3], "shop").unwrap();
    let mut spoiled = bytes(SIZE, 1);
    spoiled[GROUP] ^= 1;
    fs::write(file(dir.path(), ids[1], ""), &spoiled).unwrap();
    fs::remove_file(file(dir.path(), ids[2], "")).unwrap();
    fs::remove_file(file(dir.path(), ids[4], ".obao4")).unwrap();
    fs::remove_file(&path).unwrap();
    drop(store);
    fs::remove_file(file(dir.path(), ids[3], "")).unwrap();

    let store = open(dir.path());
    let report = store.verify_all(&|_| ());
    let problem = |id| report.faults.iter().find(|fault| fault.hash == id).map(|fault| &fault.problem);
    assert_eq!(report.whole, 2);
    assert_eq!(report.bytes, 2 * SIZE as u64);
    let offset = GROUP as u64;
    assert_eq!(problem(ids[1]), Some(&Problem::Corrupt { offset, part: Part::Data }));
    assert_eq!(problem(ids[2]), None, "nobody pinned it, so nobody misses it");
    assert_eq!(problem(ids[3]), Some(&Problem::Missing));
    assert_eq!(problem(ids[4]), Some(&Problem::Corrupt { offset: 0, part: Part::Outboard }));
    assert_eq!(problem(kept_outside), Some(&Problem::ReferenceChanged { path, what: "is gone" }));
    let again = store.verify_all(&|_| ());
    assert_eq!(again.faults.len(), report.faults.len(), "a second check names them all again");
    assert!(again.faults.iter().any(|fault| fault.hash == ids[1] && fault.problem == Problem::Quarantined));
}

#[test]
fn a_link_in_place_of_a_blob_is_not_followed() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(dir.path());
    let data = bytes(10, 1);
    let id = put(&store, &data);
    let target = outside.path().join("secret");
    fs::write(&target, &data).unwrap();
    let path = file(dir.path(), id, "");
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&target, &path).unwrap();
    assert!(store.get(id).is_err());
    assert_eq!(id, hash(&data));
}

#[test]
fn what_is_not_a_file_is_refused() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(dir.path());
    for mode in [ImportMode::Copy, ImportMode::Reference] {
        for path in [outside.path(), Path::new("/dev/zero")] {
            let refused = store.import_file(path, mode, &|_| ());
            assert!(matches!(refused, Err(Error::NotAFile { .. })), "{}", path.display());
        }
        assert!(store.import_file(outside.path().join("absent"), mode, &|_| ()).is_err());
    }
    assert_eq!(super::count(&dir.path().join("tmp")), 0);
}
