//! The conformance kit: does this component do what its kind promises, with right input and with wrong, when the node
//! refuses, fails or is slow, and within the limits that a node sets? `cargo fondaco test` calls it.
//!
//! It runs the component in `fondaco-runtime`, the very one that nodes run, against a node that is played
//! ([`host::Host`]): real limits, real grants, scripted answers. It looks at what comes out and never at how it was
//! made, so that the component may be in any language. It never touches the network or the author's files.

mod bench;
mod common;
mod edits;
pub mod host;
mod kinds;
mod page;
mod report;
mod works;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use fondaco_runtime::{Compiler, LoadError, Runtime};
use fondaco_schemas::{Manifest, PluginKind};

pub use fondaco_runtime::compile_stdin;
pub use report::{Check, Outcome, Report};
pub use works::seeds;

/// What is tested.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Its `plugin.toml`.
    pub manifest: Manifest,
    /// The component, in binary form.
    pub component: Vec<u8>,
    /// The files of its bundle's `assets/`, by their path below it.
    pub assets: BTreeMap<String, Vec<u8>>,
    /// What an operator would write under `[plugins.<id>.settings]`, as JSON; `{}` for the defaults.
    pub settings: String,
    /// Secrets that the operator would set, by name. Any other name has one of the kit's own.
    pub secrets: BTreeMap<String, String>,
}

/// How the kit runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// A program that ends up in [`fondaco_runtime::compile_stdin`], with its arguments.
    pub compiler: (PathBuf, Vec<String>),
    /// Where compiled components are kept between runs.
    pub cache: PathBuf,
    /// Vouches for what lies there; the same key opens it again.
    pub cache_key: [u8; 32],
    /// Only checks whose name begins with this; empty: all.
    pub only: String,
}

/// Runs every check that belongs to the subject's kind.
///
/// # Errors
/// [`LoadError::Engine`] where this machine cannot run plugins. A component that does not load is a failed check.
pub async fn run(subject: Subject, options: &Options) -> Result<Report, LoadError> {
    let started = Instant::now();
    let compiler =
        Compiler::new(options.compiler.0.clone(), options.compiler.1.clone(), options.cache.clone(), options.cache_key);
    let bench = bench::Bench::new(Runtime::new(compiler)?, subject);
    let mut report = Report::new(&bench.subject.manifest, options.only.clone());
    if let Some(plugin) = common::starts(&bench, &mut report).await {
        // A component's calls, as far as its kind has them; the checks that follow repeat them under other conditions.
        let calls = match bench.subject.manifest.kind {
            PluginKind::Search => kinds::search::check(&bench, &plugin, &mut report).await,
            PluginKind::Payment => kinds::payment::check(&bench, &plugin, &mut report).await,
            PluginKind::Drm => kinds::drm::check(&bench, &plugin, &mut report).await,
            PluginKind::Advocacy => kinds::advocacy::check(&bench, &plugin, &mut report).await,
            PluginKind::Storefront => kinds::storefront::check(&bench, &plugin, &mut report).await,
        };
        kinds::operator::check(&plugin, &mut report).await;
        common::conditions(&bench, &calls, &mut report).await;
    }
    report.took = started.elapsed();
    Ok(report)
}
