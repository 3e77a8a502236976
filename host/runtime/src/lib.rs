//! Bundles into running plugins: one wasmtime engine for all, a linker for each plugin that holds what was granted, a
//! fresh instance for each call, and limits on everything. The node's flows call it (`host/market`); what a plugin's
//! answer means, it never decides.

mod breaker;
mod budget;
mod call;
mod compile;
mod counters;
mod engine;
mod error;
mod lane;
mod limits;
mod link;
mod log;
mod logbook;
mod outbound;
mod plugin;
mod rate;
mod retire;
mod scan;
mod services;
mod state;
mod v0_1;
pub mod wit;

pub use breaker::Health;
pub use budget::USUAL_MEMORY;
pub use compile::{Compiler, compile_stdin};
pub use counters::{BUCKETS, Counted, Counters, Ending, FunctionCounts, Histogram};
pub use engine::{MAX_DEPTH, MAX_MEMORY};
pub use error::{CallError, LoadError, Who};
pub use limits::Limits;
pub use link::Grants;
pub use logbook::{Level, LogLine, Logbook, MAX_LOG_LINES};
pub use outbound::{CONNECTIONS, HttpGrant, MAX_REQUEST_BODY, Outbound, Secret};
pub use plugin::{Answer, Context, Plugin, Runtime, Script, ScriptOf, Spec};
pub use services::{Caller, LazyHolder, Lent, Services, Visitor};
