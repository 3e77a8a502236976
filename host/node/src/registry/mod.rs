//! Plugins from registries: brings a registry's metadata up to date, searches it and fetches bundles. What is trusted is
//! decided in `fondaco_trust::tuf`; this keeps what it says to keep, and writes the files of a registry ([`home`], [`author`]).
//! Called by the commands `plugin` and `registry`. It never installs anything: a bundle that was fetched is a file, and
//! goes the way of every other file.

pub mod author;
pub mod client;
pub mod home;
mod source;
mod state;

pub use client::{Offer, Registries, freshness};
