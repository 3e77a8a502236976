//! What can go wrong between a bundle and an answer. Every text names the plugin and its version.

use std::time::Duration;

use crate::breaker::{FAILURES, Health};

/// Which plugin: `org.nightowl.shelf 1.4.0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: String,
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.id, self.version)
    }
}

/// Why a call into a plugin gave no answer. The call ended; nothing else did.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// It ran for longer than its manifest and the operator allow.
    #[error("{who}: {call} ran for more than {limit:?} and was stopped; raise limits.deadline if it needs longer")]
    Deadline {
        /// Which plugin.
        who: Who,
        /// Which function.
        call: &'static str,
        /// What was allowed.
        limit: Duration,
    },
    /// It ran and waited for longer than it may, all in all.
    #[error("{who}: {call} did not answer within {limit:?}; raise limits.wall if what it waits for is that slow")]
    Wall {
        /// Which plugin.
        who: Who,
        /// Which function.
        call: &'static str,
        /// What was allowed.
        limit: Duration,
    },
    /// It called the node too often in one call.
    #[error("{who}: {call} called the node more than {limit} times; raise limits.host-calls if it needs more")]
    HostCalls {
        /// Which plugin.
        who: Who,
        /// Which function.
        call: &'static str,
        /// How often it may.
        limit: u32,
    },
    /// It trapped: ran into a limit of memory, tables or stack, or failed by itself.
    #[error("{who}: {call} trapped: {reason}; tell its author, or install another version")]
    Trap {
        /// Which plugin.
        who: Who,
        /// Which function.
        call: &'static str,
        /// In wasmtime's words, one line.
        reason: String,
    },
    /// All instances are busy and none became free in time.
    #[error("{who}: {call} found no free instance within {waited:?}; the node is overloaded: try again in a moment")]
    Overloaded {
        /// Which plugin.
        who: Who,
        /// Which function.
        call: &'static str,
        /// How long it waited.
        waited: Duration,
    },
    /// It failed again and again, so it is not tried for a while.
    #[error("{who}: {call} is not tried, since it failed {FAILURES} times within a minute; {}", after(who, health))]
    Unavailable {
        /// Which plugin.
        who: Who,
        /// Which function.
        call: &'static str,
        /// How its circuit breaker stands.
        health: Health,
    },
    /// Plugins called each other too deep.
    #[error(
        "{who}: {call} would be plugin call {depth} in a row, and {limit} are allowed; tell the author of the plugin that asked"
    )]
    Depth {
        /// Which plugin.
        who: Who,
        /// Which function.
        call: &'static str,
        /// How deep it would be.
        depth: u8,
        /// How deep it may be.
        limit: u8,
    },
    /// The node stops; what the call did until then is done.
    #[error("{who}: {call} was cut off, since the node is stopping")]
    Stopping {
        /// Which plugin.
        who: Who,
        /// Which function.
        call: &'static str,
    },
    /// A storefront ended without setting a response.
    #[error("{who}: {call} ended without an answer; tell its author, or install another version")]
    NoAnswer {
        /// Which plugin.
        who: Who,
        /// Which function.
        call: &'static str,
    },
    /// The version left while the call was under way, and was given all the time that there is for that.
    #[error("{who}: {call} was ended, since this version was replaced or stopped")]
    Retired {
        /// Which plugin.
        who: Who,
        /// Which function.
        call: &'static str,
    },
    /// It is not a plugin of the kind that was asked for.
    #[error("{who} is no {wanted} plugin")]
    Kind {
        /// Which plugin.
        who: Who,
        /// What was asked for.
        wanted: &'static str,
    },
}

/// When a plugin whose breaker is open is tried again.
fn after(who: &Who, health: &Health) -> String {
    match health {
        Health::Open(wait) => format!("it is tried again in {} s", wait.as_secs() + 1),
        Health::Quarantined => {
            format!("it is in quarantine until `fondaco plugin enable {}` or another version", who.id)
        }
        Health::Closed | Health::HalfOpen => "one call is trying it now".into(),
    }
}

/// Why a bundle did not become a plugin. Nothing that ran before is touched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The engine could not be set up.
    #[error("the WebAssembly engine cannot start on this machine: {0}")]
    Engine(String),
    /// The component asks the node for something that is not granted.
    #[error("{who} imports {import}, which needs the capability {capability:?}: {hint}")]
    NotGranted {
        /// Which plugin.
        who: Who,
        /// The interface.
        import: String,
        /// The capability that it belongs to.
        capability: String,
        /// The line to add, and where.
        hint: String,
    },
    /// The component asks for something that no node has.
    #[error(
        "{who} imports {import}, which this node does not offer; it was built for another host or another API version (this node speaks fondaco:plugin {api})"
    )]
    UnknownImport {
        /// Which plugin.
        who: Who,
        /// The interface.
        import: String,
        /// The API version of this node.
        api: String,
    },
    /// The component lacks what its kind must export.
    #[error("{who} is no {kind} plugin: {reason}; its author must build it against fondaco:plugin and for that kind")]
    Exports {
        /// Which plugin.
        who: Who,
        /// The kind in its manifest.
        kind: &'static str,
        /// What is missing, in wasmtime's words.
        reason: String,
    },
    /// The compiler refused the component, crashed, or was killed at a limit.
    #[error("{who} could not be compiled: {reason}; nothing that runs is touched")]
    Compile {
        /// Which plugin.
        who: Who,
        /// Why.
        reason: String,
    },
    /// It failed its first, trial call.
    #[error("the trial call failed: {0}")]
    Smoke(#[from] CallError),
}
