//! More than a hundred thousand bad bundles, made by rule from good ones: none is accepted, each is refused for a reason
//! that its kind may have, and none makes anything panic. What is made is the same each time, so a count that changes is
//! a change of this file.
//!
//! `cargo nextest run -p fondaco-trust --test bad_bundles --no-capture` prints the counts.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot be set up has failed")]

mod archive;
mod bytes;
mod scene;
mod text;
mod trust;

use std::collections::{BTreeMap, BTreeSet};

use scene::Scene;

/// The fewest bundles that are made, all in all.
const FEWEST: usize = 100_000;

/// One way to spoil a bundle.
struct Kind {
    name: &'static str,
    /// Rows of the threat list that it belongs to.
    threats: &'static [u8],
    /// At least so many must come out of it.
    fewest: usize,
    /// Every reason for which one of them may be refused, and each is seen.
    reasons: &'static [&'static str],
    make: fn(&Scene, &mut Tally),
}

const KINDS: &[Kind] = &[
    Kind {
        name: "flipped bit",
        threats: &[34, 35],
        fewest: 50_000,
        make: bytes::flipped_bits,
        reasons: &["Bundle", "Dsse", "FileDigest", "OtherManifest", "UnknownSigner"],
    },
    Kind {
        name: "byte set to another",
        threats: &[34, 35],
        fewest: 15_000,
        make: bytes::other_bytes,
        reasons: &["Bundle", "Dsse", "FileDigest", "OtherManifest", "Threshold", "UnknownSigner"],
    },
    Kind {
        name: "two bytes swapped",
        threats: &[34, 42],
        fewest: 9_000,
        make: bytes::swapped,
        reasons: &[
            "Bundle",
            "Dsse",
            "FileDigest",
            "FileMissing",
            "FileSize",
            "Missing",
            "OtherManifest",
            "Threshold",
            "UnknownSigner",
        ],
    },
    Kind {
        name: "blocks moved",
        threats: &[34, 42],
        fewest: 300,
        make: bytes::moved_blocks,
        reasons: &["Bundle", "Dsse", "OtherManifest"],
    },
    Kind {
        name: "cut short",
        threats: &[43, 51],
        fewest: 20_000,
        make: bytes::cut,
        reasons: &["Bundle", "FileMissing", "Missing"],
    },
    Kind {
        name: "byte put in or taken out",
        threats: &[34],
        fewest: 13_000,
        make: bytes::shifted,
        reasons: &["Bundle"],
    },
    Kind { name: "noise", threats: &[38], fewest: 5_000, make: bytes::noise, reasons: &["Bundle"] },
    Kind {
        name: "links, devices and folders",
        threats: &[54],
        fewest: 300,
        make: archive::types,
        reasons: &["Bundle"],
    },
    Kind { name: "extended headers", threats: &[55], fewest: 60, make: archive::extended, reasons: &["Bundle"] },
    Kind {
        name: "paths that lead out",
        threats: &[54],
        fewest: 100,
        make: archive::paths,
        reasons: &["Bundle", "FileMissing", "FileUnlisted"],
    },
    Kind { name: "header fields", threats: &[54, 55], fewest: 2_000, make: archive::fields, reasons: &["Bundle"] },
    Kind {
        name: "sizes that lie",
        threats: &[43, 55],
        fewest: 300,
        make: archive::sizes,
        reasons: &["Bundle", "Dsse", "FileSize", "Missing", "OtherManifest"],
    },
    Kind { name: "order and repetition", threats: &[42], fewest: 40, make: archive::order, reasons: &["Bundle"] },
    Kind {
        name: "bombs",
        threats: &[43, 55],
        fewest: 8,
        make: archive::bombs,
        reasons: &["Bundle", "ManifestTooLong"],
    },
    Kind {
        name: "manifest with a key twice",
        threats: &[38],
        fewest: 100,
        make: text::manifest_keys_twice,
        reasons: &["Manifest"],
    },
    Kind {
        name: "manifest with an unknown key",
        threats: &[38],
        fewest: 100,
        make: text::manifest_unknown_keys,
        reasons: &["Manifest"],
    },
    Kind {
        name: "manifest that is no clean TOML",
        threats: &[8, 38],
        fewest: 100,
        make: text::manifest_not_toml,
        reasons: &["FileSize", "Manifest", "ManifestText"],
    },
    Kind {
        name: "plugin id that looks like another",
        threats: &[47],
        fewest: 4_000,
        make: text::look_alikes,
        reasons: &["Manifest"],
    },
    Kind {
        name: "envelope that is no clean JSON",
        threats: &[8, 38],
        fewest: 100,
        make: text::envelope_not_json,
        reasons: &["Dsse", "OtherManifest", "UnknownSigner"],
    },
    Kind {
        name: "signed as something else",
        threats: &[36],
        fewest: 180,
        make: trust::types,
        reasons: &["Dsse", "UnknownSigner"],
    },
    Kind {
        name: "keys of small order",
        threats: &[37],
        fewest: 3_000,
        make: trust::torsion,
        reasons: &["UnknownSigner"],
    },
    Kind {
        name: "signatures that are not canonical",
        threats: &[37],
        fewest: 2_000,
        make: trust::signatures,
        reasons: &["UnknownSigner"],
    },
    Kind {
        name: "keys whose time is over",
        threats: &[46],
        fewest: 1_000,
        make: trust::clocks,
        reasons: &["ExpiredKey"],
    },
    Kind { name: "steps back", threats: &[39], fewest: 500, make: trust::versions, reasons: &["Rollback"] },
    Kind { name: "other interfaces", threats: &[25, 42], fewest: 150, make: trust::interfaces, reasons: &["Api"] },
    Kind {
        name: "parts of other bundles",
        threats: &[34, 42],
        fewest: 300,
        make: trust::mixed,
        reasons: &["FileDigest", "OtherManifest"],
    },
    Kind {
        name: "other files under the right names",
        threats: &[34],
        fewest: 200,
        make: trust::files,
        reasons: &["FileDigest", "FileMissing", "FileSize", "FileUnlisted"],
    },
    Kind {
        name: "too few signers",
        threats: &[44],
        fewest: 20,
        make: trust::thresholds,
        reasons: &["RevokedKey", "Threshold", "UnknownSigner"],
    },
    Kind {
        name: "outside the signer's scope",
        threats: &[44, 48],
        fewest: 20,
        make: trust::scopes,
        reasons: &["Kind", "Scope"],
    },
    Kind { name: "revoked", threats: &[40, 44], fewest: 10, make: trust::revoked, reasons: &["Revoked"] },
];

/// What became of one kind.
#[derive(Default)]
pub struct Tally {
    made: usize,
    accepted: Vec<String>,
    reasons: BTreeMap<String, usize>,
    unclear: Vec<String>,
}

impl Tally {
    /// Counts a verdict about a bundle. `what` is only asked for where it was wrong.
    pub fn count(
        &mut self,
        verdict: Result<fondaco_trust::Verified, fondaco_trust::Refusal>,
        what: impl FnOnce() -> String,
    ) {
        self.made += 1;
        match verdict {
            Ok(_) => self.accepted.push(what()),
            Err(refusal) => {
                let words = refusal.to_string();
                if words.len() < 20 || words.contains('\n') || words.ends_with('.') {
                    self.unclear.push(words);
                }
                let name: String = format!("{refusal:?}").chars().take_while(char::is_ascii_alphanumeric).collect();
                *self.reasons.entry(name).or_default() += 1;
            }
        }
    }
}

#[test]
fn no_generated_bad_bundle_is_accepted() {
    let scene = Scene::new();
    let tallies: Vec<Tally> = std::thread::scope(|s| {
        let made = |kind: &'static Kind| {
            let scene = &scene;
            s.spawn(move || {
                let mut tally = Tally::default();
                (kind.make)(scene, &mut tally);
                tally
            })
        };
        KINDS.iter().map(made).collect::<Vec<_>>().into_iter().map(|t| t.join().unwrap()).collect()
    });
    let (mut total, mut mistakes) = (0, Vec::new());
    println!("{:>8}  {:<36} refused for", "bundles", "kind");
    for (kind, tally) in KINDS.iter().zip(&tallies) {
        let reasons: Vec<String> = tally.reasons.iter().map(|(reason, n)| format!("{reason} {n}")).collect();
        println!("{:>8}  {:<36} {}", tally.made, kind.name, reasons.join(", "));
        total += tally.made;
        let wrong = |text: String| format!("{} (threats {:?}): {text}", kind.name, kind.threats);
        if !tally.accepted.is_empty() {
            let shown: Vec<_> = tally.accepted.iter().take(3).collect();
            mistakes.push(wrong(format!("{} accepted, such as {shown:?}", tally.accepted.len())));
        }
        if tally.made < kind.fewest {
            mistakes.push(wrong(format!("only {} of {} were made", tally.made, kind.fewest)));
        }
        let seen: BTreeSet<&str> = tally.reasons.keys().map(String::as_str).collect();
        let expected: BTreeSet<&str> = kind.reasons.iter().copied().collect();
        if seen != expected {
            mistakes.push(wrong(format!("refused for {seen:?}, and {expected:?} was expected")));
        }
        if let Some(words) = tally.unclear.first() {
            mistakes.push(wrong(format!("no clear sentence: {words:?}")));
        }
    }
    println!("{total:>8}  in all");
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
    assert!(total >= FEWEST, "{total} bundles were made");
}
