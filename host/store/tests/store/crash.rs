//! Killed at any moment, a store has what it acknowledged and nothing else.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use fondaco_schemas::BlobHash;
use fondaco_store::Store;

use super::{bytes, file, open, put};

const CHILD: &str = "FONDACO_STORE_TEST_KILLED_DIR";
const SIZE: usize = 700_000;

fn import_and_pin(store: &Store, seed: u64, told: &mut impl Write) {
    let data = bytes(SIZE, seed);
    let out = std::cell::RefCell::new(told);
    let imported = store.import_reader(&data[..], &|_| writeln!(out.borrow_mut(), "@ working").unwrap()).unwrap();
    writeln!(out.borrow_mut(), "@ imported {}", imported.hash).unwrap();
    store.pin(imported.hash, "killed").unwrap();
    writeln!(out.borrow_mut(), "@ pinned {}", imported.hash).unwrap();
}

/// Imports until it is killed, and says what was acknowledged. Started by the test below; on its own it imports once.
#[test]
fn child_that_is_killed() {
    let Some(dir) = std::env::var_os(CHILD) else {
        let (dir, mut told) = (tempfile::tempdir().unwrap(), Vec::new());
        import_and_pin(&open(dir.path()), 0, &mut told);
        assert!(String::from_utf8(told).unwrap().contains("@ pinned"));
        return;
    };
    let store = open(Path::new(&dir));
    let start = store.len() as u64;
    for seed in start.. {
        import_and_pin(&store, seed, &mut std::io::stdout().lock());
    }
}

#[test]
fn killed_in_the_middle_of_an_import_it_has_all_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let (mut imported, mut pinned) = (Vec::<BlobHash>::new(), Vec::<BlobHash>::new());
    for round in 0..24 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::child_that_is_killed", "--nocapture"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut note = |line: String| {
            let mut words = line.split(' ').skip_while(|word| *word != "@").skip(1);
            match (words.next(), words.next()) {
                (Some("imported"), Some(hash)) => imported.push(hash.parse().unwrap()),
                (Some("pinned"), Some(hash)) => pinned.push(hash.parse().unwrap()),
                _ => {}
            }
        };
        // Another moment in each round: between two buffers, before and after each acknowledgement.
        lines.by_ref().take(3 + round).for_each(&mut note);
        child.kill().unwrap();
        lines.for_each(&mut note);
        child.wait().unwrap();

        let left = fs::read_dir(dir.path().join("tmp")).unwrap().count();
        let store = open(dir.path());
        let report = store.verify_all(&|_| ());
        assert_eq!(report.faults, vec![], "round {round}");
        assert_eq!(super::count(&dir.path().join("tmp")), 0, "round {round}: {left} files were left");
        for hash in &imported {
            assert!(store.has(*hash), "round {round}: an acknowledged import is gone");
        }
        for hash in &pinned {
            assert_eq!(store.owners(*hash), ["killed"], "round {round}: an acknowledged pin is gone");
        }
        let files: u64 = store.list().iter().map(|blob| blob.size + fondaco_store::outboard_bytes(blob.size)).sum();
        assert_eq!(store.used_bytes(), files, "round {round}");
    }
    assert!(pinned.len() > 20, "{} pins", pinned.len());
}

#[test]
fn what_a_crash_leaves_is_gone_after_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (whole, cut) = (put(&store, &bytes(50_000, 1)), put(&store, &bytes(50_000, 2)));
    drop(store);
    // Killed between the outboard's name and the data's, with the data still in tmp.
    fs::rename(file(dir.path(), cut, ""), dir.path().join("tmp/0")).unwrap();
    // Killed between a copy's name and the end of the record that it replaced.
    fs::write(file(dir.path(), whole, ".ref"), "50000 0 0\n/elsewhere").unwrap();
    let store = open(dir.path());
    assert_eq!(store.list().iter().map(|blob| blob.hash).collect::<Vec<_>>(), [whole]);
    assert!(!file(dir.path(), cut, ".obao4").exists());
    assert!(!file(dir.path(), whole, ".ref").exists());
    assert_eq!(super::count(&dir.path().join("tmp")), 0);
    store.verify(whole).unwrap();
}

#[test]
fn a_damaged_record_of_a_file_kept_in_place_goes_to_quarantine() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = outside.path().join("film");
    fs::write(&path, bytes(50_000, 1)).unwrap();
    let store = open(dir.path());
    let id = store.import_file(&path, fondaco_store::ImportMode::Reference, &|_| ()).unwrap().hash;
    drop(store);
    fs::write(file(dir.path(), id, ".ref"), "nonsense").unwrap();
    let store = open(dir.path());
    assert!(matches!(store.get(id), Err(fondaco_store::Error::Quarantined { .. })));
    assert_eq!(store.verify_all(&|_| ()).faults.len(), 1);
}
