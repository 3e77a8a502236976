//! The lock file, `fondaco.lock`: exactly which plugins run, and what the operator consented to. The node writes it;
//! an update that asks for more than is recorded here is held until the operator agrees.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::capability::{Grants, Requested};
use crate::problem::{Problems, Table, read};
use crate::{BlobHash, PluginId, PublicKey};

/// Name of the lock file.
pub const LOCK_FILE: &str = "fondaco.lock";

/// All installed plugins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// By id.
    #[serde(default)]
    pub plugins: BTreeMap<PluginId, LockedPlugin>,
    /// What waits for the operator's consent, by id: updates of installed plugins, and plugins that are new here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub held: BTreeMap<PluginId, Held>,
}

/// An installed plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPlugin {
    /// The version that runs.
    pub version: semver::Version,
    /// The highest version that was ever accepted: what is lower is a rollback.
    pub highest: semver::Version,
    /// BLAKE3 of the bundle.
    pub bundle: BlobHash,
    /// BLAKE3 of the requested capabilities' canonical bytes ([`Requested::canonical`]) at the time of consent.
    pub consent: BlobHash,
    /// Whose signatures were accepted.
    pub signers: Vec<PublicKey>,
    /// No other version takes its place.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pinned: bool,
    /// It is new, and its first calls are watched: where they fail, the version before comes back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trial: bool,
    /// What was consented to.
    #[serde(default)]
    pub granted: Grants,
    /// The other version that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Previous>,
}

/// A version that is kept beside the one that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Previous {
    /// Which.
    pub version: semver::Version,
    /// BLAKE3 of its bundle.
    pub bundle: BlobHash,
    /// As [`LockedPlugin::consent`].
    pub consent: BlobHash,
    /// Whose signatures were accepted.
    pub signers: Vec<PublicKey>,
    /// Why it was left for an older one; absent: it was the version before, and can be gone back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<String>,
    /// What was consented to.
    #[serde(default)]
    pub granted: Grants,
}

/// A version that is not run before the operator agrees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// Which.
    pub version: semver::Version,
    /// BLAKE3 of its bundle.
    pub bundle: BlobHash,
    /// What it asks for beyond what was consented to, in words.
    pub asks: Vec<String>,
}

/// What a manifest asks for beyond `had`, as lines for a person; empty: nothing new.
pub fn beyond(requested: &Requested, had: &Grants) -> Vec<String> {
    let mut news = Vec::new();
    for (capability, ask) in &requested.0 {
        let Some(granted) = had.0.get(capability) else {
            let hosts: Vec<String> = ask.hosts.iter().map(ToString::to_string).collect();
            let hosts = if hosts.is_empty() { String::new() } else { format!(": {}", hosts.join(", ")) };
            news.push(format!("{capability}: {}{hosts}", capability.meaning()));
            continue;
        };
        if let (Some(asked), Some(had)) = (ask.quota, granted.quota)
            && asked > had
        {
            news.push(format!("{capability}: up to {asked}, so far {had}"));
        }
        let hosts = ask.hosts.iter().filter(|h| !granted.hosts.iter().any(|g| g.both(h).is_some()));
        news.extend(hosts.map(|h| format!("{capability}: call {h}")));
    }
    news
}

impl LockedPlugin {
    /// This version as one that is kept beside another; `left`: why it was left, if not for a newer one.
    pub fn into_previous(self, left: Option<String>) -> Previous {
        let Self { version, bundle, consent, signers, granted, .. } = self;
        Previous { version, bundle, consent, signers, left, granted }
    }
}

impl Lock {
    /// Reads `fondaco.lock`.
    pub fn parse(text: &str) -> Result<Self, Problems> {
        read(LOCK_FILE, text, |t| {
            let plugins = t.map("plugins", |_: &PluginId, t| LockedPlugin::read(t));
            Some(Self { plugins, held: t.map("held", |_: &PluginId, t| Held::read(t)) })
        })
    }

    /// The text of `fondaco.lock`, which reads back as the same.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        Ok(format!("# Written by fondaco. Do not edit: use `fondaco plugin`.\n\n{}", toml::to_string(self)?))
    }
}

impl LockedPlugin {
    fn read(t: &mut Table<'_>) -> Option<Self> {
        let (version, highest) = (t.required("version"), t.required("highest"));
        let (bundle, consent) = (t.required("bundle"), t.required("consent"));
        let (signers, granted) = (t.list("signers"), Grants::read(t, "granted"));
        let pinned = t.flag("pinned").unwrap_or_default();
        let trial = t.flag("trial").unwrap_or_default();
        let previous = t.table("previous", Previous::read).flatten();
        let (version, highest, bundle, consent) = (version?, highest?, bundle?, consent?);
        Some(Self { version, highest, bundle, consent, signers, pinned, trial, granted, previous })
    }
}

impl Previous {
    fn read(t: &mut Table<'_>) -> Option<Self> {
        let (version, bundle, consent) = (t.required("version"), t.required("bundle"), t.required("consent"));
        let (signers, left, granted) = (t.list("signers"), t.optional("left"), Grants::read(t, "granted"));
        Some(Self { version: version?, bundle: bundle?, consent: consent?, signers, left, granted })
    }
}

impl Held {
    fn read(t: &mut Table<'_>) -> Option<Self> {
        let (version, bundle) = (t.required("version"), t.required("bundle"));
        let asks = t.list("asks");
        Some(Self { version: version?, bundle: bundle?, asks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Capability, Manifest};

    const ID: &str = "org.nightowl.shelf";

    fn requested(capabilities: &str) -> Requested {
        let head = "schema = 1\nid = \"org.nightowl.shelf\"\nversion = \"1.0.0\"\nkind = \"search\"\napi = \"^0.1\"\n";
        let text = "component = \"a.wasm\"\nlicense = \"MIT\"\n[text.en]\nname = \"a\"\nsummary = \"b\"\n";
        Manifest::parse_request(&format!("{head}{text}{capabilities}")).unwrap().capabilities
    }

    fn locked(granted: Grants) -> LockedPlugin {
        let version = semver::Version::new(1, 2, 3);
        let (bundle, consent) = (BlobHash::new([1; 32]), BlobHash::new([2; 32]));
        LockedPlugin {
            highest: version.clone(),
            version,
            bundle,
            consent,
            signers: vec![PublicKey::new([3; 32])],
            pinned: false,
            trial: false,
            granted,
            previous: None,
        }
    }

    #[test]
    fn reads_back_as_it_was_written() {
        let granted = requested("[capabilities.storage]\n[capabilities.http]\nhosts = [\"https://a.example\"]\n").all();
        let plain = Lock { plugins: [(ID.parse().unwrap(), locked(granted.clone()))].into(), ..Lock::default() };
        assert_eq!(Lock::parse(&plain.to_toml().unwrap()).unwrap(), plain);
        let left = Some("5 of its first 5 calls failed: \"why\"\nand more".to_owned());
        let previous = Some(locked(granted.clone()).into_previous(left));
        let all = LockedPlugin { pinned: true, trial: true, previous, ..locked(granted) };
        let asks = vec!["mail: send mail".to_owned(), "storage: up to 17MiB, so far 16MiB".to_owned()];
        let held = Held { version: semver::Version::new(2, 0, 0), bundle: BlobHash::new([4; 32]), asks };
        let lock = Lock { plugins: [(ID.parse().unwrap(), all)].into(), held: [(ID.parse().unwrap(), held)].into() };
        assert_eq!(Lock::parse(&lock.to_toml().unwrap()).unwrap(), lock);
        assert_eq!(Lock::parse("").unwrap(), Lock::default());
    }

    #[test]
    fn names_what_an_update_asks_for_beyond_the_consent() {
        let had = requested("[capabilities.storage]\n[capabilities.http]\nhosts = [\"https://a.example\"]\n");
        assert_eq!(beyond(&had, &had.all()), Vec::<String>::new());
        let more = "[capabilities.storage]\nquota = \"17MiB\"\n[capabilities.mail]\n\
                    [capabilities.http]\nhosts = [\"https://a.example\", \"https://b.example\"]\n";
        let news = beyond(&requested(more), &had.all());
        assert_eq!(
            news,
            [
                "http: call https://b.example",
                "mail: send mail through your relay",
                "storage: up to 17MiB, so far 16MiB"
            ]
        );
        // What is granted and asked for no longer is kept: the version before may need it.
        let both = had.all().and(&requested("[capabilities.storage]\nquota = \"1MiB\"\n[capabilities.mail]\n").all());
        assert!(both.has(Capability::Mail) && beyond(&had, &both).is_empty(), "{both:?}");
    }
}
