//! What can go wrong in the flows.

use fondaco_runtime::wit::types;
use fondaco_runtime::{CallError, Who};
use fondaco_schemas::WorkId;
use fondaco_schemas::money::MoneyError;

use crate::edit::EditError;

/// Why a flow ended without its result. Nothing that was there before is harmed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The ledger refused or failed.
    #[error(transparent)]
    Ledger(#[from] fondaco_ledger::Error),
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] fondaco_store::Error),
    /// A plugin gave no answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A bundle did not become a plugin.
    #[error(transparent)]
    Load(#[from] fondaco_runtime::LoadError),
    /// A plugin answered with an error.
    #[error("{who}: {answer}")]
    Plugin {
        /// Which plugin.
        who: Who,
        /// In its own words.
        answer: String,
    },
    /// A plugin that is needed is not there.
    #[error("the {kind} plugin {id} is needed and is not running; install it with `fondaco plugin install`")]
    NoPlugin {
        /// Which kind.
        kind: &'static str,
        /// Its id.
        id: String,
    },
    /// A file could not be read.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// There is nothing to publish.
    #[error("{0} has no files to publish")]
    Empty(String),
    /// A file's name cannot be part of a release.
    #[error(
        "the file name {0:?} cannot be published: it must be valid UTF-8 of at most 512 bytes without control characters"
    )]
    Name(String),
    /// A protected work needs one scheme.
    #[error(
        "the offers of this work name different DRM schemes ({0} and {1}); a file is protected once for all its buyers"
    )]
    Schemes(String, String),
    /// Signing failed.
    #[error(transparent)]
    Release(#[from] fondaco_trust::ReleaseError),
    /// The channel could not be signed.
    #[error(transparent)]
    Channel(#[from] fondaco_trust::ChannelError),
    /// An edit script could not be carried out.
    #[error("{who}: {source}; tell its author, or use another scheme")]
    Edit {
        /// Whose script.
        who: Who,
        /// Why.
        source: EditError,
    },
    /// No such work.
    #[error("there is no work {0} on this node")]
    NoWork(WorkId),
    /// A sum does not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
    /// A task was cut off by the node's end.
    #[error("the node is stopping")]
    Stopping,
    /// Not allowed, and why.
    #[error("{0}")]
    Refused(String),
    /// An offer's own terms stand against it, and how: something that the buyer may be able to mend.
    #[error("{0}")]
    Terms(String),
}

impl From<tokio::task::JoinError> for Error {
    fn from(_: tokio::task::JoinError) -> Self {
        Self::Stopping
    }
}

/// The words of a plugin's error, for a person.
pub fn words(error: &types::Error) -> String {
    match error {
        types::Error::Invalid(text) => text.clone(),
        types::Error::NotFound => "not found".into(),
        types::Error::Denied(text) => format!("denied: {text}"),
        types::Error::Exhausted(text) => format!("exhausted: {text}"),
        types::Error::Unavailable(text) => format!("unavailable: {text}"),
        types::Error::Internal(text) => format!("internal error: {text}"),
    }
}

/// How a plugin sees an error of ours: what it may know, in the right kind. The cause goes to the log.
pub(crate) fn shown(error: Error) -> types::Error {
    use fondaco_ledger::Error as L;
    match error {
        Error::Ledger(e @ L::Quota { .. }) => types::Error::Exhausted(e.to_string()),
        Error::Ledger(L::CheckFailed { index, .. }) => {
            types::Error::Invalid(format!("check {index} of the batch does not hold"))
        }
        Error::Ledger(
            e @ (L::TooMuch { .. }
            | L::Range { .. }
            | L::Cursor(_)
            | L::WrongTotal { .. }
            | L::WrongState { .. }
            | L::IdempotencyConflict { .. }),
        ) => types::Error::Invalid(e.to_string()),
        Error::Ledger(L::NoWork(_) | L::NoOrder(_) | L::NoEntitlement(_) | L::NoSession) | Error::NoWork(_) => {
            types::Error::NotFound
        }
        Error::Refused(text) => types::Error::Denied(text),
        Error::Terms(text) => types::Error::Invalid(text),
        // The breaker has said so when it opened; here it would be said with every page.
        Error::Call(CallError::Unavailable { who, .. }) => {
            types::Error::Unavailable(format!("{} is out of order; its operator was told", who.id))
        }
        Error::Call(error) => {
            tracing::error!(%error, "a plugin failed");
            types::Error::Unavailable("a plugin of this node failed; its operator was told".into())
        }
        Error::Plugin { answer, .. } => types::Error::Invalid(answer),
        other => {
            tracing::error!(error = %other, "a call of the node failed");
            types::Error::Internal("the node could not do this; its operator was told".into())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fondaco_runtime::Health;

    use super::*;

    #[test]
    fn a_full_space_is_exhausted_and_a_shut_out_plugin_is_unavailable() {
        let full = fondaco_ledger::Error::Quota { plugin: "p".into(), what: "keys", needed: 11, quota: 10 };
        let types::Error::Exhausted(words) = shown(full.into()) else { panic!("not exhausted") };
        assert_eq!(words, "the space of p is full: it would hold 11 keys, and may hold 10");
        let who = Who { id: "org.example.pay".into(), version: "1.0.0".into() };
        let health = Health::Open(Duration::from_secs(30));
        let types::Error::Unavailable(words) = shown(CallError::Unavailable { who, call: "begin", health }.into())
        else {
            panic!("not unavailable")
        };
        assert_eq!(words, "org.example.pay is out of order; its operator was told");
    }
}
