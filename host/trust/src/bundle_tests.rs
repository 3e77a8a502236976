use std::io::Read as _;

use proptest::prelude::*;

use super::*;

fn files(list: &[(&str, &[u8])]) -> BTreeMap<BundlePath, Vec<u8>> {
    list.iter().map(|(path, bytes)| (path.parse().unwrap(), bytes.to_vec())).collect()
}

fn small() -> Vec<u8> {
    pack(&files(&[("b/c.txt", b"hello"), ("a", b""), ("z", &[7; 512])])).unwrap()
}

#[test]
fn another_tar_reader_sees_the_same_files() {
    let mut archive = tar::Archive::new(std::io::Cursor::new(small()));
    let mut seen = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header();
        assert_eq!(header.entry_type(), tar::EntryType::Regular);
        let owner = (header.uid().unwrap(), header.gid().unwrap());
        assert_eq!((header.mode().unwrap(), header.mtime().unwrap(), owner), (0o644, 0, (0, 0)));
        let path = entry.path().unwrap().display().to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        seen.push((path, bytes.len()));
    }
    assert_eq!(seen, [("a".to_owned(), 0), ("b/c.txt".to_owned(), 5), ("z".to_owned(), 512)]);
}

#[test]
fn reads_what_it_packs() {
    let bundle = Bundle::parse(small()).unwrap();
    assert_eq!(bundle.get("b/c.txt"), Some(&b"hello"[..]));
    assert_eq!(bundle.get("a"), Some(&b""[..]));
    assert_eq!(bundle.get("none"), None);
    assert_eq!(bundle.paths().map(BundlePath::as_str).collect::<Vec<_>>(), ["a", "b/c.txt", "z"]);
}

#[test]
fn refuses_a_bundle_cut_anywhere() {
    let bytes = small();
    for len in 0..bytes.len() {
        assert!(matches!(Bundle::parse(bytes[..len].to_vec()), Err(BundleError::Truncated(l)) if l == len), "{len}");
    }
    let mut longer = bytes;
    longer.extend([0; 512]);
    assert!(matches!(Bundle::parse(longer), Err(BundleError::Form(_))), "something behind the end");
}

#[test]
fn a_bundles_file_is_called_after_what_is_in_it() {
    let request = "schema = 1\nid = \"org.nightowl.shelf\"\nversion = \"1.4.0-rc.1\"\nkind = \"search\"\napi = \"^0.1\"\n\
        component = \"plugin.wasm\"\nlicense = \"MIT\"\n[text.en]\nname = \"Shelf\"\nsummary = \"A shop window\"\n";
    assert_eq!(file_name(&Manifest::parse_request(request).unwrap()), "org.nightowl.shelf-1.4.0-rc.1.fondaco");
}

#[test]
fn says_at_which_byte_a_size_is_no_number() {
    let mut second = plain("b", 1);
    second.as_mut_bytes()[124] = b'x';
    let bytes = foreign(|b| {
        b.append(&plain("a", 1), &b"x"[..]).unwrap();
        // The reader's own look at the size would fail: written as it stands.
        b.get_mut().extend_from_slice(summed(second).as_bytes());
    });
    assert_eq!(Bundle::parse(bytes), Err(BundleError::Form(1024 + 124)));
}

/// A tar as other tools write it.
fn foreign(build: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    build(&mut builder);
    builder.into_inner().unwrap()
}

type Change = fn(&mut tar::Header);

/// The header that packing writes, of a path that packing might refuse.
fn plain(path: &str, size: usize) -> tar::Header {
    let mut ours = tar::Header::from_byte_slice(&header(&"a".parse().unwrap(), size)).clone();
    ours.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
    summed(ours)
}

/// With its checksum put right, in the form that packing writes.
fn summed(mut header: tar::Header) -> tar::Header {
    header.as_mut_bytes()[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.as_bytes().iter().copied().map(u32::from).sum();
    header.as_mut_bytes()[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

fn one(header: &tar::Header) -> Vec<u8> {
    foreign(|b| b.append(header, &b"x"[..]).unwrap())
}

#[test]
fn refuses_what_packing_does_not_write() {
    assert_eq!(one(&plain("a", 1)), pack(&files(&[("a", b"x")])).unwrap(), "what is changed below is all that differs");
    let cases: [(&str, usize, Change); 9] = [
        ("a symbolic link", 156, |h| h.set_entry_type(tar::EntryType::Symlink)),
        ("a hard link", 156, |h| h.set_entry_type(tar::EntryType::Link)),
        ("a folder", 156, |h| h.set_entry_type(tar::EntryType::Directory)),
        ("an extended header", 156, |h| h.set_entry_type(tar::EntryType::XHeader)),
        ("a GNU long name", 156, |h| h.set_entry_type(tar::EntryType::GNULongName)),
        ("a name to link to", 157, |h| h.as_mut_bytes()[157] = b'x'),
        ("a name behind the name's end", 2, |h| h.as_mut_bytes()[2] = b'x'),
        ("an owner's name", 265, |h| h.as_mut_bytes()[265] = b'x'),
        ("a prefix to the name", 345, |h| h.as_mut_bytes()[345] = b'x'),
    ];
    for (what, at, change) in cases {
        let mut header = plain("a", 1);
        change(&mut header);
        let refused = Bundle::parse(one(&summed(header))).unwrap_err();
        // What comes behind the checksum is noticed there first.
        assert!(
            matches!(refused, BundleError::Form(found) if found == at || (148..156).contains(&found)),
            "{what}: {refused:?}"
        );
    }
    let numbers: [(&str, Change); 3] =
        [("a mode", |h| h.set_mode(0o4755)), ("an owner", |h| h.set_uid(1000)), ("a time", |h| h.set_mtime(1))];
    for (what, change) in numbers {
        let mut header = plain("a", 1);
        change(&mut header);
        assert!(matches!(Bundle::parse(one(&summed(header))), Err(BundleError::Form(100..148))), "{what}");
    }
    let mut wrong_sum = plain("a", 1);
    wrong_sum.as_mut_bytes()[153] ^= 1;
    assert_eq!(Bundle::parse(one(&wrong_sum)), Err(BundleError::Form(153)));
    let mut padded = one(&plain("a", 1));
    padded[600] = 1;
    assert_eq!(Bundle::parse(padded), Err(BundleError::Form(513)), "something in the padding");
    for path in ["../a", "/a", "a/../b", "./a", "a//b", "a\\b", "a/"] {
        let bytes = foreign(|b| b.append(&plain(path, 1), &b"x"[..]).unwrap());
        assert!(matches!(Bundle::parse(bytes), Err(BundleError::Path(_))), "{path}");
    }
    for second in ["a", "0"] {
        let bytes = foreign(|b| {
            b.append(&plain("a", 1), &b"x"[..]).unwrap();
            b.append(&plain(second, 1), &b"y"[..]).unwrap();
        });
        assert!(matches!(Bundle::parse(bytes), Err(BundleError::Order(_))), "{second} after a");
    }
}

#[test]
fn caps_hold_on_both_sides() {
    let many = |n: usize| {
        files(
            &(0..n)
                .map(|i| (format!("f{i:03}"), vec![]))
                .collect::<Vec<_>>()
                .iter()
                .map(|(p, b): &(String, Vec<u8>)| (p.as_str(), b.as_slice()))
                .collect::<Vec<_>>(),
        )
    };
    let most = pack(&many(MAX_ENTRIES)).unwrap();
    assert!(Bundle::parse(most.clone()).is_ok());
    assert_eq!(pack(&many(MAX_ENTRIES + 1)), Err(BundleError::TooMany));
    let mut more = most[..MAX_ENTRIES * 512].to_vec();
    more.extend(header(&"z".parse().unwrap(), 0));
    more.extend([0; 1024]);
    assert_eq!(Bundle::parse(more), Err(BundleError::TooMany));
    let large = files(&[("a", &vec![0; MAX_BUNDLE_BYTES - 3 * 512])]);
    assert!(Bundle::parse(pack(&large).unwrap()).is_ok());
    let larger = files(&[("a", &vec![0; MAX_BUNDLE_BYTES - 3 * 512 + 1])]);
    assert!(matches!(pack(&larger), Err(BundleError::TooLong(_))));
    assert!(matches!(Bundle::parse(vec![0; MAX_BUNDLE_BYTES + 1]), Err(BundleError::TooLong(_))));
}

#[test]
fn a_size_that_lies_is_refused_before_anything_is_allocated() {
    let mut bytes = header(&"a".parse().unwrap(), 0o77_777_777_777).to_vec();
    bytes.extend([0; 1024]);
    assert!(matches!(Bundle::parse(bytes), Err(BundleError::Truncated(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_set_of_files_survives(list in proptest::collection::btree_map("[a-z]{1,8}(/[a-z]{1,8}){0,3}", proptest::collection::vec(any::<u8>(), 0..2000), 0..10)) {
        let set: BTreeMap<BundlePath, Vec<u8>> = list.into_iter().map(|(p, b)| (p.parse().unwrap(), b)).collect();
        let bundle = Bundle::parse(pack(&set).unwrap()).unwrap();
        let read: BTreeMap<_, _> = bundle.paths().map(|p| (p.clone(), bundle.get(p.as_str()).unwrap().to_vec())).collect();
        prop_assert_eq!(read, set);
    }

    #[test]
    fn reading_never_panics_and_accepts_only_its_own_form(mut bytes in proptest::collection::vec(any::<u8>(), 0..4096), at in 0usize..2560, byte: u8) {
        let _ = Bundle::parse(bytes.clone());
        bytes = small();
        bytes[at] = byte;
        if let Ok(bundle) = Bundle::parse(bytes.clone()) {
            let set = bundle.paths().map(|p| (p.clone(), bundle.get(p.as_str()).unwrap().to_vec())).collect();
            prop_assert_eq!(pack(&set).unwrap(), bytes);
        }
    }
}
