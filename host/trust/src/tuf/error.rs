//! Why something of a registry is refused. Each refusal names the file, its role and version, and what to do.

use time::OffsetDateTime;

use crate::keys::KeyError;

/// A refusal, with the file that it is about.
#[derive(Debug, thiserror::Error)]
#[error("{file} (role {role}{}): {why}", version.map_or_else(String::new, |v| format!(", version {v}")))]
pub struct Refused {
    /// The file, as it is asked for.
    pub file: String,
    /// Whose file it is.
    pub role: String,
    /// Its version, where one is known: what it says, or what it should say.
    pub version: Option<u64>,
    /// What is wrong with it.
    pub why: Why,
}

/// What is wrong with a file of a registry, or with the clock that judges it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Why {
    /// The clock went back.
    #[error(
        "the clock shows {system}, and it showed {seen} before: set it right, or remove the registry's folder in data/registries if the clock was wrong then"
    )]
    Clock {
        /// What it shows.
        system: OffsetDateTime,
        /// What it showed.
        seen: OffsetDateTime,
    },
    /// It is not there.
    #[error("the registry does not have it: try again later, or tell whoever runs the registry")]
    Missing,
    /// Longer than what is read, or than what was signed.
    #[error("it is longer than the {0} bytes that are allowed for it: tell whoever runs the registry")]
    TooLong(u64),
    /// More than what one update loads.
    #[error(
        "with it, more than {max} bytes of metadata would be loaded: name the plugin that you want, or tell whoever runs the registry",
        max = super::MAX_LOADED_BYTES
    )]
    TooMuch,
    /// Another length than what was signed.
    #[error("it has {found} bytes, and {listed} are signed for: try again, or tell whoever runs the registry")]
    Length {
        /// In bytes.
        found: u64,
        /// In bytes.
        listed: u64,
    },
    /// Other bytes than what was signed.
    #[error("it has another {0} digest than is signed for: try again, or tell whoever runs the registry")]
    Digest(&'static str),
    /// No digest that could be checked.
    #[error("none of its digests is a SHA-256 or a SHA-512: tell whoever runs the registry")]
    NoDigest,
    /// No metadata.
    #[error("it is no metadata of The Update Framework ({0}): tell whoever runs the registry")]
    Form(String),
    /// Something else under this name.
    #[error("it says that it is of type {0:?}: tell whoever runs the registry")]
    Type(String),
    /// A version of the specification that is not read here.
    #[error("it is written by version {0:?} of the specification, and 1.x is read: update this program")]
    Specification(String),
    /// A key that must not be used.
    #[error("it names a key that must not be used")]
    Key(#[source] KeyError),
    /// A key under a wrong id.
    #[error("its key {0:?} does not have that id: tell whoever runs the registry")]
    KeyId(String),
    /// Too few signatures.
    #[error(
        "{signed} of the {threshold} signatures that {delegator} demands are there{}: tell whoever runs the registry",
        if *foreign == 0 { String::new() } else { format!(", and {foreign} of its keys are of a kind that is not checked here (Ed25519 is)") }
    )]
    Threshold {
        /// Valid signatures of different keys.
        signed: usize,
        /// So many should be.
        threshold: u64,
        /// Which role demands it.
        delegator: String,
        /// So many of the role's keys are of another kind than Ed25519.
        foreign: usize,
    },
    /// An older version than one that was seen.
    #[error(
        "it is older than version {0}, which was seen before: somebody puts old files back, so wait, or tell whoever runs the registry"
    )]
    Rollback(u64),
    /// Another version than the one that was asked for.
    #[error("version {0} was expected: try again, or tell whoever runs the registry")]
    Version(u64),
    /// A version that leaves no room.
    #[error("its version is above {max}, which locks out whoever follows: tell whoever runs the registry", max = super::MAX_VERSION)]
    Forward,
    /// It leaves out a role, or sets it back.
    #[error(
        "it lists {role:?} {}, and version {seen} was seen before: somebody puts old files back, so wait, or tell whoever runs the registry",
        listed.map_or_else(|| "no more".to_owned(), |v| format!("with version {v}"))
    )]
    RoleRollback {
        /// Which file it is about.
        role: String,
        /// Its version now.
        listed: Option<u64>,
        /// Its version before.
        seen: u64,
    },
    /// Too old.
    #[error(
        "it expired at {0}: the registry was not refreshed, or somebody holds back newer files; try again later, or tell whoever runs it"
    )]
    Expired(OffsetDateTime),
    /// A delegated role is not in the snapshot.
    #[error("the snapshot does not list it, so that nothing of it is trusted: tell whoever runs the registry")]
    NotInSnapshot,
    /// The root that the operator pinned is another one.
    #[error(
        "its SHA-256 is {found}, and fondaco.toml pins {pinned}: compare with what whoever runs the registry has published"
    )]
    Pin {
        /// In hexadecimal.
        found: String,
        /// In hexadecimal.
        pinned: String,
    },
    /// A file of a registry that no plugin can have.
    #[error("{0:?} is no path of a plugin: expected <id>/<id>-<version>.fondaco")]
    Path(String),
    /// An edit of a file that is not there to be made.
    #[error("{0}")]
    Edit(String),
}

impl Why {
    /// About a file.
    pub fn about(self, file: impl Into<String>, role: impl Into<String>, version: Option<u64>) -> Refused {
        Refused { file: file.into(), role: role.into(), version, why: self }
    }
}
