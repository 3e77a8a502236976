//! The hostile component, built once, and a runtime whose compiler is the child of this crate.
#![allow(dead_code, reason = "shared by tests and benchmarks that each need a part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use fondaco_runtime::wit::search_types::{Query, Reach, Sort};
use fondaco_runtime::wit::settings::Brand;
use fondaco_runtime::{
    CallError, Caller, Compiler, Context, Grants, Lent, Limits, Plugin, Runtime, Services, Spec, Who,
};
use fondaco_schemas::{Capability, PluginKind};

/// Answers nothing.
pub struct Silent;

#[async_trait]
impl Services for Silent {
    async fn brand(&self, _: &Caller) -> Brand {
        Brand {
            name: "Bench".into(),
            tagline: String::new(),
            locale: "en".into(),
            locales: vec!["en".into()],
            base_url: "http://localhost".into(),
            colors: Vec::new(),
            logo: None,
            contact: None,
        }
    }
    async fn settings(&self, _: &Caller) -> String {
        "{}".into()
    }
}

/// Keeps nothing, but lets itself be read.
struct Empty;

#[async_trait]
impl Services for Empty {
    async fn storage_get(&self, _: &Caller, _: Vec<u8>) -> Lent<Option<Vec<u8>>> {
        Ok(None)
    }
    async fn storage_apply(&self, _: &Caller, _: Vec<fondaco_runtime::wit::storage::Write>) -> Lent<()> {
        Ok(())
    }
    async fn brand(&self, by: &Caller) -> Brand {
        Silent.brand(by).await
    }
    async fn settings(&self, _: &Caller) -> String {
        "{}".into()
    }
}

/// The component of a package of this workspace, built with the profile that plugins are built with.
pub fn component(package: &str) -> Vec<u8> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let built = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(&root)
        .args(["build", "--quiet", "--profile", "plugin", "--target", "wasm32-wasip2", "-p", package])
        .status()
        .expect("cargo starts");
    assert!(
        built.success(),
        "build the guest by hand: cargo build --profile plugin --target wasm32-wasip2 -p {package} (rustup target add wasm32-wasip2 if the target is missing)"
    );
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let file = target.join("wasm32-wasip2/plugin").join(format!("{}.wasm", package.replace('-', "_")));
    std::fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// The hostile component.
pub fn hostile() -> Vec<u8> {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| component("hostile")).clone()
}

/// A runtime of its own, with a cache in `folder`.
pub fn runtime_with(folder: PathBuf) -> Runtime {
    let compiler = Compiler::new(env!("CARGO_BIN_EXE_fondaco-compile").into(), Vec::new(), folder, [7; 32]);
    Runtime::new(compiler).unwrap()
}

/// The tests' shared runtime.
pub fn runtime() -> Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("runtime-cache");
    RUNTIME.get_or_init(|| runtime_with(folder)).clone()
}

/// These capabilities.
pub fn grants(capabilities: &[Capability]) -> Grants {
    Grants { granted: capabilities.iter().copied().collect(), ..Grants::default() }
}

/// A search plugin of these bytes.
pub fn spec(component: Vec<u8>, grants: Grants, limits: Limits) -> Spec {
    let who = Who { id: "org.example.hostile".into(), version: "1.0.0".into() };
    Spec { who, kind: PluginKind::Search, component, grants, limits, services: Arc::new(Empty) }
}

/// A query for a text.
pub fn query(text: &str) -> Query {
    Query {
        text: text.into(),
        kinds: Vec::new(),
        tags: Vec::new(),
        language: None,
        max_price: None,
        drm_free: false,
        facets: Vec::new(),
        sort: Sort::Relevance,
        cursor: None,
        limit: 10,
        reach: Reach::LocalOnly,
        wait_ms: 0,
    }
}

/// Asks for a text; the works of the hits, or the plugin's own error.
pub async fn find(plugin: &Plugin, text: &str) -> Result<Result<Vec<String>, String>, CallError> {
    let answer = plugin.find(&Context::node(), query(text)).await?;
    Ok(answer.map(|r| r.hits.into_iter().map(|h| h.work).collect()).map_err(|e| format!("{e:?}")))
}
