//! Versions of the plugin interface, `fondaco:plugin`: which a node offers, and what to say about one that it does not.
//! The node and the author's tools judge a manifest's `api` by this one list.
//!
//! Below 1.0 each minor version is a track of its own (Cargo's rule for semver): what was built against 0.1.0 links with
//! any 0.1.x and with no 0.2.x. So a node that moves on keeps the tracks before, each as a module that leads to the newest.

use semver::{Op, Version, VersionReq};

/// The newest version: the one of `schemas/wit`.
pub const LATEST: Version = Version::new(0, 2, 0);

/// Every version that a node offers, the oldest first, one for each track. Older ones are frozen in
/// `schemas/wit/<version>`.
pub const OFFERED: [Version; 2] = [Version::new(0, 1, 0), LATEST];

/// The newest interface as text: the name and the words of each WIT file. Plugins that are not Rust crates carry a copy.
pub const WIT: [(&str, &str); 7] = [
    ("advocacy.wit", include_str!("../wit/advocacy.wit")),
    ("drm.wit", include_str!("../wit/drm.wit")),
    ("host.wit", include_str!("../wit/host.wit")),
    ("payment.wit", include_str!("../wit/payment.wit")),
    ("search.wit", include_str!("../wit/search.wit")),
    ("types.wit", include_str!("../wit/types.wit")),
    ("worlds.wit", include_str!("../wit/worlds.wit")),
];

/// These versions, for people: `0.1.0 and 0.2.0`.
pub fn listed<'v>(versions: impl IntoIterator<Item = &'v Version>) -> String {
    versions.into_iter().map(Version::to_string).collect::<Vec<_>>().join(" and ")
}

/// Is an import of this version linked by a node that offers `offered`: one of the same track, and no pre-release?
pub fn links(version: &Version, offered: &Version) -> bool {
    let track = |v: &Version| if v.major == 0 { (0, v.minor) } else { (v.major, 0) };
    version.pre.is_empty() && track(version) == track(offered)
}

/// Which node a plugin needs whose range holds none of `offered`: a newer one or an older one.
pub fn needed<'v>(range: &VersionReq, offered: impl IntoIterator<Item = &'v Version>) -> &'static str {
    let floor = range.comparators.iter().filter(|c| !matches!(c.op, Op::Less | Op::LessEq));
    let floor = floor.map(|c| (c.major, c.minor.unwrap_or(0), c.patch.unwrap_or(0))).max();
    let newest = offered.into_iter().map(|v| (v.major, v.minor, v.patch)).max();
    if floor > newest { "a newer node" } else { "an older node" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_links_with_its_own_track() {
        for (import, offered, fits) in [
            ("0.1.0", "0.1.0", true),
            ("0.1.7", "0.1.0", true),
            ("0.2.0", "0.1.0", false),
            ("0.1.0", "0.2.0", false),
            ("0.1.1-rc.1", "0.1.0", false),
            ("1.4.0", "1.0.0", true),
            ("1.0.0", "0.1.0", false),
        ] {
            assert_eq!(links(&import.parse().unwrap(), &offered.parse().unwrap()), fits, "{import} {offered}");
        }
    }

    #[test]
    fn says_in_which_direction_the_node_lies_that_a_plugin_needs() {
        for (range, node) in [
            ("^0.3", "a newer node"),
            (">=0.2.1", "a newer node"),
            ("^9", "a newer node"),
            (">=0.3, <0.5", "a newer node"),
            ("^0.0.5", "an older node"),
            ("<0.1", "an older node"),
            ("=0.1.0-rc.1", "an older node"),
        ] {
            assert_eq!(needed(&range.parse().unwrap(), &OFFERED), node, "{range}");
        }
        assert_eq!(listed(&OFFERED), "0.1.0 and 0.2.0");
    }

    #[test]
    fn the_wit_is_of_the_newest_version_and_every_older_one_is_kept() {
        let wit = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("wit");
        for version in &OFFERED {
            let folder = if *version == LATEST { wit.clone() } else { wit.join(version.to_string()) };
            let mut files = 0;
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|e| e == "wit") {
                    let text = std::fs::read_to_string(&path).unwrap();
                    assert!(text.starts_with(&format!("package fondaco:plugin@{version};")), "{}", path.display());
                    files += 1;
                }
            }
            assert_eq!(files, WIT.len(), "{}", folder.display());
        }
    }
}
