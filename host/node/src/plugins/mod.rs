//! From bundles to running plugins, and from one version to the next. A bundle is verified each time it is read, tried
//! before anything is written, and recorded in `fondaco.lock` last: until that file is replaced, the old state holds.
//!
//! `fondaco.toml`, `fondaco.lock`, `trust.toml` and the bundles are what is wanted; [`Places`] is what runs. The commands
//! change the first and the second together; the watcher ([`watch`]) brings the second after the first.

mod bundle;
mod canary;
mod config;
mod drops;
mod install;
mod place;
mod reconcile;
mod rollback;
mod source;
mod start;
mod trusted;
mod update;
mod watch;

pub use bundle::{verify, verify_locked};
pub use canary::keep_watching_trials;
pub use config::{config_of, grant_item, write_config};
pub use install::{audit, install, remove};
pub use place::Places;
pub use reconcile::{apply, load_all};
pub use rollback::{pin, roll_back};
pub use source::choose;
pub use start::spec;
pub use trusted::Trusted;
pub use update::{Outcome, Wish, held_bundle, update};
pub use watch::keep_watching;
