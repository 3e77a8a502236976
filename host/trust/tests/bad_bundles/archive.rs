//! Archives that other tools would read, and read differently.

use std::io::Write as _;

use fondaco_schemas::manifest::MANIFEST_FILE;

use crate::Tally;
use crate::scene::{BLOCK, REQUEST, Scene, altered, bundle, path, with_manifest};

/// Where each header of a bundle stands, and how many bytes its file has.
fn headers(bytes: &[u8]) -> Vec<(usize, usize)> {
    let (mut at, mut found) = (0, Vec::new());
    while bytes[at] != 0 {
        let size = std::str::from_utf8(&bytes[at + 124..at + 135]).unwrap();
        let size = usize::from_str_radix(size, 8).unwrap();
        found.push((at, size));
        at += BLOCK + size.next_multiple_of(BLOCK);
    }
    found
}

/// Writes into a header and makes its checksum right again.
fn edit(bytes: &mut [u8], header: usize, field: usize, value: &[u8]) {
    bytes[header + field..header + field + value.len()].copy_from_slice(value);
    sum(&mut bytes[header..header + BLOCK]);
}

fn sum(header: &mut [u8]) {
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().copied().map(u32::from).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// A header of our own form, with these bytes behind it.
fn entry(name: &[u8], kind: u8, content: &[u8]) -> Vec<u8> {
    let mut header = bundle(REQUEST, &[])[..BLOCK].to_vec();
    header[..100].fill(0);
    header[..name.len().min(100)].copy_from_slice(&name[..name.len().min(100)]);
    header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
    header[156] = kind;
    sum(&mut header);
    header.extend_from_slice(content);
    header.resize(header.len().next_multiple_of(BLOCK), 0);
    header
}

/// Every place between the files of a bundle.
fn put_in(good: &[u8], new: &[u8]) -> Vec<(usize, Vec<u8>)> {
    let end = good.len() - 2 * BLOCK;
    let places = headers(good).into_iter().map(|(at, _)| at).chain([end]);
    places.map(|at| (at, [&good[..at], new, &good[at..]].concat())).collect()
}

pub fn types(scene: &Scene, tally: &mut Tally) {
    for good in &scene.bundles {
        for (header, _) in headers(good) {
            for kind in (0..=9).map(|n| b'0' + n).chain(*b"xgLKSVMNDAIX\0").filter(|k| *k != b'0') {
                let mut bad = good.clone();
                edit(&mut bad, header, 156, &[kind]);
                tally.count(scene.judge(bad), || format!("type {kind} at {header}"));
                // With a name to link to, as links have it.
                let mut bad = good.clone();
                edit(&mut bad, header, 156, &[kind]);
                edit(&mut bad, header, 157, b"/etc/passwd");
                tally.count(scene.judge(bad), || format!("type {kind} to /etc/passwd at {header}"));
            }
        }
    }
}

pub fn extended(scene: &Scene, tally: &mut Tally) {
    let records: [&[u8]; 6] = [
        b"18 path=../../x\n\n\n",
        b"12 size=9\n\n\n",
        b"30 linkpath=/etc/passwd\n",
        b"20 GNU.sparse.major=1\n",
        b"22 SCHILY.xattr.user=1\n",
        b"999999999999 path=x\n",
    ];
    for good in &scene.bundles {
        for record in records {
            for kind in *b"xg" {
                for (at, bad) in put_in(good, &entry(b"PaxHeaders/x", kind, record)) {
                    tally.count(scene.judge(bad), || format!("{} at {at}", String::from_utf8_lossy(record)));
                }
            }
        }
    }
}

pub fn paths(scene: &Scene, tally: &mut Tally) {
    let long = [b'a'; 100];
    let names: [&[u8]; 30] = [
        b"../x",
        b"..",
        b".",
        b"/x",
        b"/",
        b"//x",
        b"a/../x",
        b"a/./x",
        b"./x",
        b"a//x",
        b"a/",
        b"a/..",
        b"~/x",
        b"C:\\x",
        b"a\\x",
        b"\\\\host\\x",
        b"x\0y",
        b"\x7f",
        b"\n",
        b"a\rb",
        b"\xff\xfe",
        b"\xc0\xae\xc0\xae/x",
        "\u{202e}x".as_bytes(),
        "\u{200b}x".as_bytes(),
        "a\u{0301}".as_bytes(),
        b"%2e%2e/x",
        b" x",
        b"x ",
        b"",
        &long,
    ];
    for good in &scene.bundles {
        let first = headers(good)[0].0;
        for name in names {
            // As one more file …
            for (at, bad) in put_in(good, &entry(name, b'0', b"x")).into_iter().take(2) {
                tally.count(scene.judge(bad), || format!("{} at {at}", name.escape_ascii()));
            }
            // … and as the name of a file that is listed.
            let mut bad = good.clone();
            bad[first..first + 100].fill(0);
            bad[first..first + name.len()].copy_from_slice(name);
            sum(&mut bad[first..first + BLOCK]);
            tally.count(scene.judge(bad), || format!("renamed to {}", name.escape_ascii()));
        }
    }
}

pub fn fields(scene: &Scene, tally: &mut Tally) {
    for good in &scene.bundles {
        for (header, _) in headers(good) {
            // Every byte behind the name and in front of the end, each with a right checksum again.
            for at in (100..124).chain(136..148).chain(156..BLOCK) {
                for value in [b'1', b' ', 0x80] {
                    let mut bad = good.clone();
                    edit(&mut bad, header, at, &[value]);
                    if bad != *good {
                        tally.count(scene.judge(bad), || format!("{value} at {at} of the header at {header}"));
                    }
                }
            }
            // The same sum, written as other tools write it.
            for sum in [&b" 12345\0 "[..], b"0012345\0", b"        ", b"\0\0\0\0\0\0\0\0"] {
                let mut bad = good.clone();
                bad[header + 148..header + 156].copy_from_slice(sum);
                tally.count(scene.judge(bad), || format!("checksum {}", sum.escape_ascii()));
            }
        }
    }
}

pub fn sizes(scene: &Scene, tally: &mut Tally) {
    for good in &scene.bundles {
        for (header, size) in headers(good) {
            let octal = |n: usize| format!("{n:011o}\0").into_bytes();
            let mut lies = vec![
                octal(0),
                octal(size + 1),
                octal(size + BLOCK),
                octal(size.saturating_sub(1)),
                octal(good.len()),
                octal(1 << 25),
                octal(0o77_777_777_777),
                b"777777777777".to_vec(),
                b"-0000000001\0".to_vec(),
                b"+0000000001\0".to_vec(),
                b"0x000000010\0".to_vec(),
                b" 0000000010\0".to_vec(),
                b"00000000010 ".to_vec(),
                b"99999999999\0".to_vec(),
                vec![0; 12],
                vec![b' '; 12],
            ];
            // GNU's base-256 form, positive, negative and huge.
            lies.extend([
                [&[0x80][..], &[0; 10], &[5]].concat(),
                vec![0xff; 12],
                [&[0x80, 0x7f][..], &[0xff; 10]].concat(),
            ]);
            for lie in lies.into_iter().filter(|lie| lie[..] != good[header + 124..header + 136]) {
                let mut bad = good.clone();
                edit(&mut bad, header, 124, &lie);
                tally.count(scene.judge(bad), || format!("size {} at {header}", lie.escape_ascii()));
            }
            for grown in 1..=15 {
                let mut bad = good.clone();
                edit(&mut bad, header, 124, &octal(size + grown * BLOCK));
                tally.count(scene.judge(bad), || format!("{grown} blocks more at {header}"));
            }
        }
    }
}

pub fn order(scene: &Scene, tally: &mut Tally) {
    for good in &scene.bundles {
        let all = headers(good);
        let end = good.len() - 2 * BLOCK;
        let ends: Vec<usize> = all.iter().skip(1).map(|(at, _)| *at).chain([end]).collect();
        let parts: Vec<&[u8]> = all.iter().zip(&ends).map(|((at, _), end)| &good[*at..*end]).collect();
        let mut judge = |order: &[&[u8]], what: String| {
            let bad = [order.concat(), vec![0; 2 * BLOCK]].concat();
            tally.count(scene.judge(bad), || what);
        };
        for a in 0..parts.len() {
            // The same file again, at every place.
            for to in 0..=parts.len() {
                let mut twice = parts.clone();
                twice.insert(to, parts[a]);
                judge(&twice, format!("file {a} again at {to}"));
            }
            for b in 0..a {
                let mut order = parts.clone();
                order.swap(a, b);
                judge(&order, format!("files {a} and {b}"));
            }
        }
        for n in [0, 1, 3, 4, 20] {
            let bad = [&good[..end], &vec![0; n * BLOCK]].concat();
            tally.count(scene.judge(bad), || format!("{n} blocks at the end"));
        }
        tally.count(scene.judge([good.clone(), good.clone()].concat()), || "twice over".into());
    }
}

pub fn bombs(scene: &Scene, tally: &mut Tally) {
    let good = &scene.bundles[0];
    let most = fondaco_trust::bundle::MAX_BUNDLE_BYTES;
    tally.count(scene.judge(vec![0; most + 1]), || "zeros".into());
    tally.count(scene.judge([&good[..], &vec![0; most]].concat()), || "zeros behind it".into());
    tally
        .count(scene.judge([&good[..], &vec![1; most - good.len()]].concat()), || "ones behind it, to the byte".into());
    // More files than there may be, each with a good header.
    for n in [65, 1_000, 30_000] {
        let many: Vec<u8> = (0..n).flat_map(|i| entry(format!("f{i:06}").as_bytes(), b'0', b"")).collect();
        tally.count(scene.judge([many, vec![0; 2 * BLOCK]].concat()), || format!("{n} files"));
    }
    // What unpacks to more than it is: not looked into.
    for magic in [&b"\x1f\x8b\x08\0"[..], b"PK\x03\x04", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"BZh9"] {
        let mut bad = Vec::new();
        bad.write_all(magic).unwrap();
        bad.extend_from_slice(good);
        tally.count(scene.judge(bad), || magic.escape_ascii().to_string());
    }
    // A manifest that is longer than is read, signed all the same.
    for length in [(64 << 10) + 1, 80 << 10] {
        let text = format!("{}#{}\n", crate::scene::manifest(good), "x".repeat(length));
        let bad =
            altered(&with_manifest(vec![b'#']), |f| drop(f.insert(path(MANIFEST_FILE), text.clone().into_bytes())));
        tally.count(scene.judge(bad), || format!("a manifest of {length} bytes"));
    }
}
