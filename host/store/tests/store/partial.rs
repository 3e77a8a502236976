//! Blobs that come in pieces, from sources that may lie, with kills in between.

#![allow(clippy::single_range_in_vec_init, reason = "a list of one run is meant")]

use std::ops::Range;

use bao_tree::io::outboard::PreOrderMemOutboard;
use bao_tree::io::sync::encode_ranges_validated;
use bao_tree::{BlockSize, ChunkNum, ChunkRanges};
use fondaco_schemas::BlobHash;
use fondaco_store::{Decoder, Error, GROUP_BYTES, GroupRanges, Options, OutboardDecoder, Partial, Store};

const GROUP: usize = 16 * 1024;

fn data(len: usize) -> Vec<u8> {
    (0..len).map(|i| u8::try_from((i / 7 + i / 1_000 + i * 13) % 251).unwrap()).collect()
}

fn hash(data: &[u8]) -> BlobHash {
    BlobHash::new(*blake3::hash(data).as_bytes())
}

fn store(dir: &tempfile::TempDir) -> Store {
    Store::open(dir.path(), Options::default()).unwrap()
}

fn encoded(store: &Store, hash: BlobHash, runs: &[Range<u64>]) -> Vec<u8> {
    let mut encoder = store.get(hash).unwrap().encode(runs.to_vec()).unwrap();
    let mut out = Vec::new();
    while let Some(piece) = encoder.piece().unwrap() {
        out.extend(piece);
    }
    out
}

fn decoder(hash: BlobHash, size: usize, runs: &[Range<u64>]) -> Decoder {
    Decoder::new(hash, size as u64, GroupRanges::new(size as u64, runs.to_vec()).unwrap())
}

fn take(partial: &Partial, source: &Store, runs: &[Range<u64>]) {
    let bytes = encoded(source, partial.hash(), runs);
    let mut decoder = decoder(partial.hash(), usize::try_from(partial.size()).unwrap(), runs);
    let absorbed = partial.absorb(&mut decoder, &bytes).unwrap();
    assert_eq!((absorbed.used, absorbed.fault), (bytes.len(), None));
}

#[test]
fn an_encoding_is_bao_trees_byte_for_byte_and_its_length_is_known_beforehand() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    for len in [1, GROUP, GROUP + 1, 5 * GROUP, 9 * GROUP + 77, 200 * GROUP + 1] {
        let data = data(len);
        let imported = store.import_reader(data.as_slice(), &|_| ()).unwrap();
        let theirs = PreOrderMemOutboard::create(&data, BlockSize::from_chunk_log(4));
        let groups = (len as u64).div_ceil(GROUP_BYTES);
        let mut cases = vec![vec![0..groups]];
        if groups > 4 {
            cases.extend([vec![1..2], vec![0..1, 2..4], vec![2..groups], vec![0..1, groups - 1..groups]]);
        }
        for runs in cases {
            let mut chunks = ChunkRanges::empty();
            for run in &runs {
                chunks |= ChunkRanges::from(ChunkNum(run.start * 16)..ChunkNum(run.end * 16));
            }
            let mut expected = Vec::new();
            encode_ranges_validated(data.as_slice(), &theirs, &chunks, &mut expected).unwrap();
            let ours = encoded(&store, imported.hash, &runs);
            assert!(ours == expected, "{len} {runs:?}: {} and {} bytes", ours.len(), expected.len());
            let ranges = GroupRanges::new(len as u64, runs).unwrap();
            assert_eq!(ranges.encoded_bytes(len as u64), ours.len() as u64);
        }
    }
}

#[test]
fn a_blob_comes_together_from_pieces_in_any_order() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (here, there) = (store(&here), store(&there));
    for len in [3, GROUP, 10 * GROUP + 5] {
        let data = data(len);
        let hash = there.import_reader(data.as_slice(), &|_| ()).unwrap().hash;
        let partial = here.fetch(hash, len as u64).unwrap();
        assert!(matches!(here.fetch(hash, len as u64), Err(Error::Fetching { .. })));
        if len > GROUP {
            take(&partial, &there, &[7..11]);
            assert_eq!(partial.missing(9), [0..7]);
            assert!(matches!(partial.clone().finish(), Err(Error::Incomplete { missing: 7, .. })));
            take(&partial, &there, &[0..2, 4..7]);
            // What is there can be passed on already, and what is not cannot.
            let mut encoder = partial.encode(vec![0..2, 4..11]).unwrap();
            assert_eq!(encoder.piece().unwrap().unwrap(), encoded(&there, hash, &[0..2, 4..11]));
            assert!(partial.encode(vec![2..3]).is_none() && partial.encode(vec![0..12]).is_none());
            take(&partial, &there, &[2..4]);
        } else {
            take(&partial, &there, &[0..1]);
        }
        assert_eq!(partial.bytes(), len as u64);
        let used = here.used_bytes();
        assert_eq!(partial.finish().unwrap().hash, hash);
        assert_eq!(here.used_bytes(), used, "its room was taken at the beginning");
        assert_eq!(here.verify(hash).unwrap(), len as u64);
    }
}

#[test]
fn nothing_that_does_not_verify_reaches_the_disk() {
    let (dir, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (here, there) = (store(&dir), store(&there));
    let data = data(8 * GROUP);
    let hash = there.import_reader(data.as_slice(), &|_| ()).unwrap().hash;
    let good = encoded(&there, hash, &[0..8]);
    let partial = here.fetch(hash, data.len() as u64).unwrap();
    let file = dir.path().join(format!("partial/{hash}"));
    // Every node, and the first, a middle and the last byte of every group.
    for at in (0..good.len()).step_by(GROUP / 3) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        let absorbed = partial.absorb(&mut decoder(hash, data.len(), &[0..8]), &bad).unwrap();
        assert!(absorbed.fault.is_some() && absorbed.used <= at, "{at} {absorbed:?}");
        let on_disk = std::fs::read(&file).unwrap();
        for (i, (ours, theirs)) in on_disk.chunks(GROUP).zip(data.chunks(GROUP)).enumerate() {
            assert!(ours == theirs || ours.iter().all(|b| *b == 0), "group {i} with byte {at} wrong");
        }
    }
    // What does not fit this blob is not for it, whoever sends it.
    let other = there.import_reader(&data[..3 * GROUP], &|_| ()).unwrap().hash;
    let mut foreign = decoder(other, 3 * GROUP, &[0..3]);
    assert!(partial.absorb(&mut foreign, &encoded(&there, other, &[0..3])).is_err());
    take(&partial, &there, &[0..8]);
    partial.finish().unwrap();
}

#[test]
fn a_lie_about_the_size_never_becomes_a_blob() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (here, there) = (store(&here), store(&there));
    let data = data(5 * GROUP);
    let hash = there.import_reader(data.as_slice(), &|_| ()).unwrap().hash;
    for lie in [4 * GROUP, 5 * GROUP - 1, 5 * GROUP + 1, 6 * GROUP] {
        let partial = here.fetch(hash, lie as u64).unwrap();
        let groups = (lie as u64).div_ceil(GROUP_BYTES);
        let mut decoder = decoder(hash, lie, std::slice::from_ref(&(0..groups)));
        let _ = partial.absorb(&mut decoder, &encoded(&there, hash, &[0..5])).unwrap();
        assert!(matches!(partial.finish(), Err(Error::Incomplete { .. })), "{lie}");
        assert!(!here.has(hash));
        here.give_up(hash).unwrap();
        assert_eq!(here.used_bytes(), 0);
    }
}

#[test]
fn what_came_before_a_kill_is_there_after_it() {
    let (dir, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let there = store(&there);
    let data = data(40 * GROUP);
    let hash = there.import_reader(data.as_slice(), &|_| ()).unwrap().hash;
    for claim in [true, false] {
        let here = store(&dir);
        let partial = here.fetch(hash, data.len() as u64).unwrap();
        take(&partial, &there, &[3..9]);
        if claim {
            partial.claim().unwrap();
            take(&partial, &there, &[20..21]);
        }
        // Half an item more: of a group whose end never came, nothing is kept.
        let bytes = encoded(&there, hash, &[30..32]);
        let absorbed = partial.absorb(&mut decoder(hash, data.len(), &[30..32]), &bytes[..bytes.len() - 9]).unwrap();
        assert_eq!((absorbed.new_bytes, absorbed.fault), (GROUP_BYTES, None));
        // The files as a kill would leave them.
        let copy = tempfile::tempdir().unwrap();
        std::process::Command::new("cp").arg("-a").arg(dir.path().join(".")).arg(copy.path()).status().unwrap();
        let again = Store::open(copy.path(), Options::default()).unwrap();
        assert_eq!(again.used_bytes(), here.used_bytes());
        let resumed = again.fetch(hash, data.len() as u64).unwrap();
        let expected = if claim { vec![3..9, 20..21, 30..31] } else { vec![3..9, 30..31] };
        assert_eq!(resumed.present(9), expected, "claimed: {claim}");
        take(&resumed, &there, &[0..3, 9..30, 31..40]);
        resumed.finish().unwrap();
        assert_eq!(again.verify(hash).unwrap(), data.len() as u64);
        drop(partial);
        here.give_up(hash).unwrap();
    }
}

#[test]
fn a_damaged_part_is_fetched_again_and_not_believed() {
    let (dir, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let there = store(&there);
    let data = data(6 * GROUP);
    let hash = there.import_reader(data.as_slice(), &|_| ()).unwrap().hash;
    let here = store(&dir);
    let partial = here.fetch(hash, data.len() as u64).unwrap();
    take(&partial, &there, &[0..6]);
    drop(partial);
    // Nothing was claimed, and one group rots meanwhile.
    let file = dir.path().join(format!("partial/{hash}"));
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[2 * GROUP + 5] ^= 4;
    std::fs::write(&file, bytes).unwrap();
    let partial = here.fetch(hash, data.len() as u64).unwrap();
    assert_eq!(partial.missing(9), [2..3]);
    take(&partial, &there, &[2..3]);
    partial.claim().unwrap();
    drop(partial);
    // A torn file of claims claims nothing.
    let have = dir.path().join(format!("partial/{hash}.have"));
    let mut bytes = std::fs::read(&have).unwrap();
    bytes[17] ^= 1;
    std::fs::write(&have, bytes).unwrap();
    let partial = here.fetch(hash, data.len() as u64).unwrap();
    assert!(partial.is_whole(), "all of it verifies, whatever the claims say");
    partial.finish().unwrap();
    here.verify(hash).unwrap();
}

#[test]
fn a_quota_is_asked_before_the_first_byte() {
    let dir = tempfile::tempdir().unwrap();
    let here = Store::open(dir.path(), Options { quota_bytes: Some(100_000) }).unwrap();
    let hash = hash(b"x");
    assert!(matches!(here.fetch(hash, 100_001), Err(Error::Quota { .. })));
    assert_eq!(here.used_bytes(), 0);
    assert!(!dir.path().join(format!("partial/{hash}")).exists());
    assert!(matches!(here.fetch(hash, u64::MAX), Err(Error::TooLarge { .. })));
    let partial = here.fetch(hash, 50_000).unwrap();
    assert!(matches!(here.fetch(BlobHash::new([1; 32]), 60_000), Err(Error::Quota { .. })));
    drop(partial);
    here.give_up(hash).unwrap();
    assert_eq!(here.used_bytes(), 0);
}

#[test]
fn bytes_without_nodes_verify_once_the_outboard_came_by_itself() {
    for len in [0, 1, GROUP, GROUP + 1, 5 * GROUP + 9, 3_000 * GROUP / 2 + 1] {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (there, here) = (store(&from), store(&to));
        let data = data(len);
        let imported = there.import_reader(data.as_slice(), &|_| ()).unwrap();
        let mut outboard = Vec::new();
        let mut reader = there.get(imported.hash).unwrap().outboard();
        while let Some(piece) = reader.piece().unwrap() {
            outboard.extend_from_slice(&piece);
        }
        assert_eq!(outboard, PreOrderMemOutboard::create(&data, BlockSize::from_chunk_log(4)).data, "{len}");

        let partial = here.fetch(imported.hash, len as u64).unwrap();
        if len > GROUP {
            let missing = partial.absorb_plain(0, &data[..GROUP]).unwrap_err();
            assert!(matches!(missing, Error::Corrupt { .. }), "{missing}");
            let mut bad = outboard.clone();
            let at = bad.len() - 5;
            bad[at] ^= 1;
            let mut decoder = OutboardDecoder::new(imported.hash, len as u64);
            assert!(!partial.absorb_outboard(&mut decoder, &bad).unwrap() && !decoder.is_done());
        }
        let mut decoder = OutboardDecoder::new(imported.hash, len as u64);
        for part in outboard.chunks(1000) {
            assert!(partial.absorb_outboard(&mut decoder, part).unwrap());
        }
        assert!(decoder.is_done());
        assert!(outboard.is_empty() || !partial.absorb_outboard(&mut decoder, &[0; 64]).unwrap(), "it is too long");
        // A group that is not whole, and one that is wrong.
        if len > 2 * GROUP {
            assert!(matches!(partial.absorb_plain(0, &data[..=GROUP]), Err(Error::Range { .. })));
            let mut bad = data[GROUP..3 * GROUP].to_vec();
            bad[GROUP + 3] ^= 1;
            let absorbed = partial.absorb_plain(1, &bad).unwrap();
            assert_eq!((absorbed.fault, absorbed.new_bytes), (Some(2 * GROUP as u64), GROUP as u64));
            assert_eq!(partial.present(9), [1..2]);
        }
        for (number, part) in data.chunks(3 * GROUP).enumerate() {
            assert_eq!(partial.absorb_plain(3 * number as u64, part).unwrap().fault, None);
        }
        assert_eq!(partial.finish().unwrap().hash, imported.hash);
        assert_eq!(here.verify(imported.hash).unwrap(), len as u64);
    }
}

#[test]
fn what_is_there_of_a_blob_is_read_verified_and_what_is_not_is_not() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (there, here) = (store(&from), store(&to));
    let data = data(9 * GROUP + 100);
    let imported = there.import_reader(data.as_slice(), &|_| ()).unwrap();
    let partial = here.fetch(imported.hash, data.len() as u64).unwrap();
    take(&partial, &there, &[2..4, 9..10]);
    let g = GROUP as u64;
    for (range, there) in [
        (2 * g..4 * g, true),
        (2 * g + 5..3 * g + 9, true),
        (9 * g..9 * g + 100, true),
        (2 * g - 1..3 * g, false),
        (3 * g..4 * g + 1, false),
        (9 * g..9 * g + 101, false),
        (0..0, false),
    ] {
        let reader = partial.range(range.clone());
        assert_eq!(reader.is_some(), there, "{range:?}");
        let bytes: Vec<u8> = reader.into_iter().flatten().flat_map(|piece| piece.unwrap().to_vec()).collect();
        let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        assert!(!there || bytes == data[range.clone()], "{range:?}");
    }
    // One that was opened is read to its end, also where the blob is completed or given up meanwhile.
    let mut open = partial.range(2 * g..4 * g).unwrap();
    drop(partial);
    here.give_up(imported.hash).unwrap();
    assert_eq!(open.piece().unwrap().unwrap(), data[2 * GROUP..4 * GROUP]);
    assert!(here.room().unwrap() > 0);
}

#[test]
fn damaged_claims_claim_nothing() {
    let (dir, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (here, there) = (store(&dir), store(&there));
    let data = data(6 * GROUP);
    let hash = there.import_reader(data.as_slice(), &|_| ()).unwrap().hash;
    let partial = here.fetch(hash, data.len() as u64).unwrap();
    take(&partial, &there, &[0..5]);
    partial.claim().unwrap();
    drop(partial);
    // One group more than came: the map lies behind the magic and the length.
    let have = dir.path().join(format!("partial/{hash}.have"));
    let mut bytes = std::fs::read(&have).unwrap();
    assert_eq!(bytes[16], 0b01_1111);
    bytes[16] = 0b11_1111;
    std::fs::write(&have, bytes).unwrap();
    let partial = here.fetch(hash, data.len() as u64).unwrap();
    assert_eq!(partial.missing(9), [5..6]);
}
