//! Imports that do not fit: one clear error, nothing left behind, and what was there goes on.

use std::cell::Cell;
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;

use fondaco_store::{Error, ImportMode, Imported, Options, Result, Store, outboard_bytes};

use super::{bytes, open, put, read};

const BIG: usize = 3_000_000;
const CHILD: &str = "FONDACO_STORE_TEST_LIMITED_DIR";

/// Every way in.
fn imports(store: &Store, data: &[u8], path: &Path) -> [Result<Imported>; 3] {
    fs::write(path, data).unwrap();
    let written = store.importer().and_then(|mut importer| {
        let told = importer.write_all(data);
        if let Err(e) = &told {
            use std::io::ErrorKind::{QuotaExceeded, StorageFull};
            assert!(matches!(e.kind(), QuotaExceeded | StorageFull), "{e}");
            assert!(importer.write_all(b"more").is_err(), "it stays broken");
        }
        importer.finish()
    });
    let copied = store.import_file(path, ImportMode::Copy, &|_| ());
    [written, copied, store.import_reader(data, &|_| ())]
}

#[test]
fn an_import_over_the_quota_is_refused_and_leaves_nothing() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = outside.path().join("big");
    let room = |quota| Options { quota_bytes: Some(quota) };
    let needed = BIG as u64 + outboard_bytes(BIG as u64);
    let store = Store::open(dir.path(), room(needed + 9)).unwrap();
    let small = put(&store, b"ten bytes.");
    for import in imports(&store, &bytes(BIG, 1), &path) {
        assert!(matches!(import, Err(Error::Quota { quota, .. }) if quota == needed + 9), "{import:?}");
    }
    assert_eq!((store.len(), store.used_bytes()), (1, 10));
    assert_eq!(super::count(&dir.path().join("tmp")), 0);
    assert_eq!(read(&store, small).unwrap(), b"ten bytes.");
    // In place it only needs room for the outboard.
    store.import_file(&path, ImportMode::Reference, &|_| ()).unwrap();
    drop(store);

    let store = Store::open(dir.path(), room(needed + 10)).unwrap();
    assert_eq!(store.used_bytes(), 10 + outboard_bytes(BIG as u64), "counted again at the start");
    store.gc(std::time::Duration::ZERO).unwrap();
    put(&store, b"ten bytes.");
    put(&store, &bytes(BIG, 2));
    assert_eq!(store.used_bytes(), needed + 10, "to the last byte");
    let over = store.import_reader(&b"x"[..], &|_| ());
    assert!(matches!(over, Err(Error::Quota { needed: 1, used, quota }) if used == quota), "{over:?}");
}

#[test]
fn a_file_that_cannot_fit_is_refused_before_a_byte_is_read() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = outside.path().join("sparse");
    let told = Cell::new(false);
    let sparse = fs::File::create(&path).unwrap();
    sparse.set_len(1 << 30).unwrap();
    let store = Store::open(dir.path(), Options { quota_bytes: Some(1 << 30) }).unwrap();
    let refused = store.import_file(&path, ImportMode::Copy, &|_| told.set(true));
    assert!(matches!(refused, Err(Error::Quota { .. })), "its outboard does not fit: {refused:?}");
    drop(store);
    // More than any disk that tests run on.
    sparse.set_len(15 << 40).unwrap();
    let refused = open(dir.path()).import_file(&path, ImportMode::Copy, &|_| told.set(true));
    assert!(matches!(refused, Err(Error::DiskFull { .. })), "{refused:?}");
    assert!(!told.get());
    assert_eq!(super::count(&dir.path().join("tmp")), 0);
}

/// The system refuses to let files grow, as it does on a full disk. Started by the test below with such a limit; without
/// it, the same imports succeed.
#[test]
fn child_that_imports() {
    let limited = std::env::var_os(CHILD);
    let fresh = tempfile::tempdir().unwrap();
    let dir = limited.as_ref().map_or(fresh.path().join("store"), |dir| Path::new(dir).join("store"));
    let store = open(&dir);
    let small = put(&store, &bytes(9_000, 1));
    store.pin(small, "shop").unwrap();
    let data = match &limited {
        Some(dir) => fs::read(Path::new(dir).join("big")).unwrap(),
        None => bytes(BIG, 1),
    };
    let used = store.used_bytes();
    let reader = store.import_reader(&data[..], &|_| ());
    let mut importer = store.importer().unwrap();
    let _ = importer.write_all(&data);
    let written = importer.finish();
    let copied = match &limited {
        Some(dir) => store.import_file(Path::new(dir).join("big"), ImportMode::Copy, &|_| ()),
        None => store.import_reader(&data[..], &|_| ()),
    };
    for import in [reader, written, copied] {
        match import {
            Err(Error::DiskFull { .. }) if limited.is_some() => {}
            Ok(_) if limited.is_none() => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(read(&store, small).unwrap(), bytes(9_000, 1), "what was there is still served");
    put(&store, &bytes(9_000, 2));
    assert_eq!(super::count(&dir.join("tmp")), 0);
    assert_eq!(store.len(), if limited.is_some() { 2 } else { 3 });
    assert_eq!(store.used_bytes() > used + 9_000, limited.is_none());
}

#[test]
fn a_full_disk_is_one_clear_error_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("big"), bytes(BIG, 1)).unwrap();
    // 64 blocks of 512 bytes, or of 1024 in some shells; the signal that would end the process is ignored.
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" --exact room::child_that_imports"])
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    assert_eq!(open(&dir.path().join("store")).verify_all(&|_| ()).whole, 2);
}

/// Yields some bytes and then fails.
struct Broken(u64);

impl Read for Broken {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.0 == 0 {
            return Err(std::io::Error::other("the peer went away"));
        }
        let n = buffer.len().min(usize::try_from(self.0).unwrap()).min(7_777);
        self.0 -= n as u64;
        buffer[..n].fill(7);
        Ok(n)
    }
}

#[test]
fn a_source_that_breaks_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for len in [0, 10, 300_000, 5_000_000] {
        let broken = store.import_reader(Broken(len), &|_| ());
        assert!(matches!(broken, Err(Error::Source { .. })), "{len}");
        let mut importer = store.importer().unwrap();
        std::io::copy(&mut Broken(len), &mut importer).unwrap_err();
        drop(importer);
        assert_eq!((store.len(), store.used_bytes()), (0, 0));
        assert_eq!(super::count(&dir.path().join("tmp")), 0);
    }
}

#[test]
fn a_file_that_grows_while_it_is_imported_in_place_is_refused() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = outside.path().join("log");
    fs::write(&path, bytes(BIG, 1)).unwrap();
    let store = open(dir.path());
    let grow = |_| fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"x").unwrap();
    let refused = store.import_file(&path, ImportMode::Reference, &grow);
    assert!(matches!(refused, Err(Error::SourceChanged { .. })), "{refused:?}");
    assert_eq!((store.len(), store.used_bytes()), (0, 0));
}
