//! Why a command did not do what was asked, and the exit code that says so.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use fondaco_schemas::Problems;
use fondaco_schemas::manifest::NameError;
use fondaco_trust::bundle::MAX_BUNDLE_BYTES;
use fondaco_trust::{BundleError, DsseError, KeyError, KeyFileError, Refusal, TrustError};

use crate::cargo::TARGET;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("{} does not exist: {}", .0.display(), .1)]
    Absent(PathBuf, &'static str),
    #[error("{} cannot be read", .0.display())]
    Read(PathBuf, #[source] io::Error),
    #[error("{} cannot be written", .0.display())]
    Write(PathBuf, #[source] io::Error),
    #[error("{} has more than {} bytes, and is not read: {}", .0.display(), .1, .2)]
    TooLong(PathBuf, usize, &'static str),
    #[error("{} is no UTF-8 text", .0.display())]
    NoText(PathBuf),

    #[error("{} is there already and not empty: choose another name", .0.display())]
    Occupied(PathBuf),
    #[error("{0:?} cannot name a crate: begin with a letter, go on with a-z, 0-9, '-' and '_'")]
    CrateName(String),
    #[error("no plugin id can be made of {name:?}: give one with --id, such as --id org.example.shelf")]
    Id {
        name: String,
        #[source]
        cause: NameError,
    },
    #[error(
        "there is no template for a {kind} plugin in {lang}, only for a storefront: leave --lang out to write it in Rust"
    )]
    LangKind { lang: &'static str, kind: fondaco_schemas::PluginKind },
    #[error("--{0} is about a Rust crate: leave it out, or leave --lang out")]
    RustOnly(&'static str),
    #[error("{program} is there in version {found}, which is too old: {hint}")]
    TooOld { program: &'static str, found: String, hint: &'static str },
    #[error("{} is not the folder of the crate fondaco-sdk: --sdk takes the folder sdk/rust of a Fondaco checkout", .0.display())]
    NoSdk(PathBuf),

    #[error("{program} cannot be started: {hint}")]
    Start {
        program: String,
        hint: &'static str,
        #[source]
        cause: io::Error,
    },
    #[error("{0} failed ({1}): its own words are above")]
    Command(&'static str, std::process::ExitStatus),
    #[error("{0} answered something that cannot be read: update it")]
    Answer(&'static str, #[source] Option<serde_json::Error>),
    #[error(
        "the Rust target {TARGET} is not installed, and there is no rustup to install it: get rustup from https://rustup.rs and run `rustup target add {TARGET}`, or install the standard library for {TARGET} from where your Rust came from"
    )]
    NoTarget,
    #[error("{} builds no component: add to it [lib] with crate-type = [\"cdylib\", \"rlib\"]", .0.display())]
    NoCdylib(PathBuf),
    #[error("{} is a workspace and no crate: name the plugin's own folder with --path", .0.display())]
    NoCrate(PathBuf),
    #[error("nothing has been built for {0} yet: leave --no-build out")]
    NotBuilt(String),

    #[error(transparent)]
    Manifest(#[from] Problems),
    #[error("the manifest cannot be written as TOML")]
    Toml(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("{} is no WebAssembly component but {}", .0.display(), .1)]
    NoComponent(PathBuf, &'static str),
    #[error("{} is no JSON Schema: a JSON object is expected", .0.display())]
    Schema(PathBuf, #[source] Option<serde_json::Error>),
    #[error("{} cannot be packed: give it another name", .0.display())]
    Name(PathBuf, #[source] Option<NameError>),
    #[error("{} is a link or no plain file: put the file itself there", .0.display())]
    Special(PathBuf),
    #[error(
        "two of the plugin's files would be {0} in the bundle: rename one, or set another component in plugin.toml"
    )]
    Twice(String),
    #[error("SOURCE_DATE_EPOCH is {0:?}: it must be a number of seconds since 1970")]
    Epoch(String),

    #[error("{} is no bundle", .0.display())]
    Bundle(PathBuf, #[source] BundleError),
    #[error("the files do not fit into a bundle")]
    Pack(#[source] BundleError),
    #[error("the signatures of {} cannot be read", .0.display())]
    Signatures(PathBuf, #[source] DsseError),
    #[error("the signatures cannot be written as JSON")]
    Json(#[source] serde_json::Error),
    #[error("{} is refused", .0.display())]
    Refused(PathBuf, #[source] Box<Refusal>),
    #[error("{} is not signed, and nothing was written", .0.display())]
    NotSigned(PathBuf, #[source] Box<Refusal>),
    #[error("{} is not signed with the key {}", .0.display(), .1)]
    OtherSigner(PathBuf, String),
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("{} is refused", .0.display())]
    Trust(PathBuf, #[source] TrustError),
    #[error("{} is not what its sources give{}", .0.display(), .1)]
    OtherBytes(PathBuf, String),

    #[error("{} is no JSON object: settings are written as one", .0.display())]
    Settings(PathBuf, #[source] Option<serde_json::Error>),
    #[error("port {0} cannot be used: choose another one with --port, or 0 for a free one")]
    Port(u16, #[source] io::Error),
    #[error("the node ended by itself: its own words are above")]
    NodeEnded,
    #[error("the node does not take it: {0}")]
    Install(String),
    #[error("the kit cannot run here")]
    Kit(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// What reading a file's or folder's error is, told apart by whether it is there. `hint` says what to do if not.
    pub fn read(path: &std::path::Path, hint: &'static str) -> impl Fn(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| match cause.kind() {
            io::ErrorKind::NotFound => Self::Absent(path.clone(), hint),
            _ => Self::Read(path.clone(), cause),
        }
    }

    /// A bundle that is longer than one may be.
    pub fn long_bundle(path: PathBuf) -> Self {
        Self::TooLong(path, MAX_BUNDLE_BYTES, "that is no bundle")
    }

    /// 1 failed, 2 wrong usage, 3 refused, 4 not found. (0 is for what was done.)
    pub fn code(&self) -> u8 {
        match self {
            Self::Absent(..) => 4,
            Self::KeyFile(KeyFileError::Read(_, cause)) if cause.kind() == io::ErrorKind::NotFound => 4,
            Self::CrateName(_)
            | Self::LangKind { .. }
            | Self::RustOnly(_)
            | Self::Id { .. }
            | Self::NoSdk(_)
            | Self::NoCrate(_)
            | Self::Epoch(_) => 2,
            Self::Occupied(_)
            | Self::Bundle(..)
            | Self::Signatures(..)
            | Self::Refused(..)
            | Self::NotSigned(..)
            | Self::OtherSigner(..)
            | Self::Key(_)
            | Self::Trust(..)
            | Self::OtherBytes(..)
            | Self::KeyFile(KeyFileError::Exposed { .. } | KeyFileError::NoKey(_) | KeyFileError::Exists(_)) => 3,
            _ => 1,
        }
    }

    /// The same for the operating system.
    pub fn exit(&self) -> ExitCode {
        ExitCode::from(self.code())
    }
}
