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
    /// What was consented to.
    #[serde(default)]
    pub granted: Grants,
}

impl LockedPlugin {
    /// What the manifest needs beyond what was consented to, as lines for a person; empty: nothing new.
    pub fn news(&self, requested: &Requested) -> Vec<String> {
        let mut news = Vec::new();
        for (capability, ask) in &requested.0 {
            let Some(granted) = self.granted.0.get(capability) else {
                news.push(format!("{capability}: {}", capability.meaning()));
                continue;
            };
            if let (Some(asked), Some(had)) = (ask.quota, granted.quota)
                && asked > had
            {
                news.push(format!("{capability}: up to {asked}, so far {had}"));
            }
            let hosts = ask.hosts.iter().filter(|h| !granted.hosts.contains(h));
            news.extend(hosts.map(|h| format!("{capability}: call {h}")));
        }
        news
    }
}

impl Lock {
    /// Reads `fondaco.lock`.
    pub fn parse(text: &str) -> Result<Self, Problems> {
        read(LOCK_FILE, text, |t| Some(Self { plugins: t.map("plugins", |_: &PluginId, t| LockedPlugin::read(t)) }))
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
        Some(Self { version: version?, highest: highest?, bundle: bundle?, consent: consent?, signers, granted })
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
            granted,
        }
    }

    #[test]
    fn reads_back_as_it_was_written() {
        let granted = requested("[capabilities.storage]\n[capabilities.http]\nhosts = [\"https://a.example\"]\n").all();
        let lock = Lock { plugins: [(ID.parse().unwrap(), locked(granted))].into() };
        assert_eq!(Lock::parse(&lock.to_toml().unwrap()).unwrap(), lock);
        assert_eq!(Lock::parse("").unwrap(), Lock::default());
    }

    #[test]
    fn names_what_an_update_asks_for_beyond_the_consent() {
        let had = requested("[capabilities.storage]\n[capabilities.http]\nhosts = [\"https://a.example\"]\n");
        let locked = locked(had.all());
        assert_eq!(locked.news(&had), Vec::<String>::new());
        let more = "[capabilities.storage]\nquota = \"17MiB\"\n[capabilities.mail]\n\
                    [capabilities.http]\nhosts = [\"https://a.example\", \"https://b.example\"]\n";
        let news = locked.news(&requested(more));
        assert_eq!(
            news,
            [
                "http: call https://b.example",
                "mail: send mail through your relay",
                "storage: up to 17MiB, so far 16MiB"
            ]
        );
        assert!(!locked.granted.has(Capability::Mail));
    }
}
