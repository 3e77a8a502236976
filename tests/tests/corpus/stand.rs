//! The stand on which attackers are tried: a runtime whose compiler is the `fondaco` program, hostile components by hand
//! or from `tests/guests`, and an honest question after each attack.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use async_trait::async_trait;
use fondaco_runtime::wit::search_types::{Query, Reach, Results, Sort};
use fondaco_runtime::wit::settings::Brand;
use fondaco_runtime::{
    CallError, Caller, Compiler, Context, Grants, Lent, Limits, LoadError, Plugin, Runtime, Services, Spec, Who,
};
use fondaco_schemas::{Capability, PluginKind};
use fondaco_tests::{guests, workspace};

use crate::Outcome;

/// Who attacks.
pub const ID: &str = "org.example.hostile";

/// Lends what the attacks on the runtime need: a space that is empty, and a place to wait for ever.
#[derive(Default)]
pub struct Lender {
    /// Whom a search asks.
    pub asks: OnceLock<Plugin>,
    /// What the last search that it asked for ended with.
    pub ended: OnceLock<String>,
}

#[async_trait]
impl Services for Lender {
    async fn storage_get(&self, _: &Caller, key: Vec<u8>) -> Lent<Option<Vec<u8>>> {
        if key == b"park" {
            std::future::pending::<()>().await;
        }
        Ok(None)
    }
    async fn storage_apply(&self, _: &Caller, _: Vec<fondaco_runtime::wit::storage::Write>) -> Lent<()> {
        Ok(())
    }
    async fn search(&self, by: &Caller, q: Query) -> Lent<Results> {
        let plugin = self.asks.get().expect("set before the first question");
        match plugin.find(&Context::below(by), q).await {
            Ok(answer) => answer,
            Err(error) => {
                let _ = self.ended.set(error.to_string());
                Err(fondaco_runtime::wit::types::Error::Unavailable("a plugin of this node failed".into()))
            }
        }
    }
    async fn brand(&self, _: &Caller) -> Brand {
        Brand {
            name: "Stand".into(),
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

/// Carries out the asynchronous part of a test.
pub fn run<T>(test: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(test)
}

/// A runtime with a cache that the tests share.
pub fn runtime() -> Result<Runtime> {
    runtime_with(Compiler::new(program()?, vec!["compile-plugin".into()], cache()?, [7; 32]))
}

pub fn runtime_with(compiler: Compiler) -> Result<Runtime> {
    Ok(Runtime::new(compiler)?)
}

/// The `fondaco` program, built if `cargo verify` has not done so.
fn program() -> Result<PathBuf> {
    if std::env::var_os(workspace::BUILT).is_none() {
        workspace::build()?;
    }
    workspace::fondaco()
}

pub fn cache() -> Result<PathBuf> {
    Ok(workspace::target()?.join("corpus-cache"))
}

/// Limits that end every attack soon.
pub fn quick() -> Limits {
    Limits { deadline: Duration::from_millis(100), wall: Duration::from_secs(2), ..Limits::default() }
}

/// Limits that leave the time to run into another one.
pub fn patient() -> Limits {
    Limits { deadline: Duration::from_secs(5), wall: Duration::from_secs(20), ..Limits::default() }
}

pub fn grants(capabilities: &[Capability]) -> Grants {
    Grants { granted: capabilities.iter().copied().collect(), ..Grants::default() }
}

pub fn spec(
    component: Vec<u8>,
    kind: PluginKind,
    capabilities: &[Capability],
    limits: Limits,
    services: Arc<dyn Services>,
) -> Spec {
    let who = Who { id: ID.into(), version: "1.0.0".into() };
    Spec { who, kind, component, grants: grants(capabilities), limits, services }
}

/// A search provider of these bytes, with a space of its own.
pub async fn load(component: Vec<u8>, limits: Limits) -> Result<Plugin, LoadError> {
    let runtime = runtime().expect("the engine starts");
    runtime.load(spec(component, PluginKind::Search, &[Capability::Storage], limits, Arc::new(Lender::default()))).await
}

/// Loading must fail; the sentence.
pub fn refused(component: Vec<u8>) -> Result<Outcome> {
    run(async {
        let started = Instant::now();
        match load(component, quick()).await {
            Ok(_) => bail!("it was taken in"),
            Err(LoadError::Smoke(error)) => Ok(Outcome::Stopped(error.to_string())),
            Err(error) => {
                ensure!(started.elapsed() < Duration::from_mins(1), "it took {:?} to refuse it", started.elapsed());
                // The stand itself still works.
                let honest = load(search(&Parts::default())?, quick()).await?;
                find(&honest, "honest").await?;
                Ok(Outcome::Refused(error.to_string()))
            }
        }
    })
}

/// The attack on an export must fail within twice its deadline and half a second; a fresh call is answered afterwards.
#[expect(clippy::needless_pass_by_value, reason = "limits are written where they are handed over")]
pub fn stopped(component: Vec<u8>, text: &str, limits: Limits) -> Result<Outcome> {
    run(async {
        let plugin = load(component, limits.clone()).await?;
        let started = Instant::now();
        let Err(error) = find(&plugin, text).await else { bail!("{text} was answered") };
        let took = started.elapsed();
        let most = match error {
            CallError::Wall { .. } => limits.wall,
            _ => limits.deadline,
        };
        ensure!(took < most * 2 + Duration::from_millis(1500), "it was stopped after {took:?} of {most:?}");
        let honest = load(search(&Parts::default())?, quick()).await?;
        find(&honest, "honest").await?;
        Ok(Outcome::Stopped(error.to_string()))
    })
}

/// The attack by a mode of the guest `hostile`.
pub fn stopped_guest(mode: &str, limits: Limits) -> Result<Outcome> {
    let outcome = stopped(guests::component("hostile")?, mode, limits)?;
    run(async {
        let plugin = load(guests::component("hostile")?, quick()).await?;
        let honest = find(&plugin, "honest").await?;
        ensure!(honest == ["honest"], "after {mode}: {honest:?}");
        Ok(())
    })?;
    Ok(outcome)
}

/// The words of the hits; a plugin's own error is one of ours.
pub async fn find(plugin: &Plugin, text: &str) -> Result<Vec<String>, CallError> {
    let answer = plugin.find(&Context::node(), query(text)).await?;
    Ok(answer.map_or_else(|e| vec![format!("{e:?}")], |r| r.hits.into_iter().map(|h| h.work).collect()))
}

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

/// Makes a component of a core module that speaks one of our worlds.
pub fn component(wat: &str, world: &str) -> Result<Vec<u8>> {
    let mut module = wat::parse_str(wat).with_context(|| wat.to_owned())?;
    let mut resolve = wit_parser::Resolve::default();
    let (package, _) = resolve.push_dir(workspace::root().join("schemas/wit"))?;
    let world = resolve.select_world(&[package], Some(world))?;
    wit_component::embed_component_metadata(&mut module, &resolve, world, wit_component::StringEncoding::UTF8)?;
    wit_component::ComponentEncoder::default().validate(true).module(&module)?.encode()
}

/// What differs in a search provider that is written by hand. Each is text of WebAssembly.
pub struct Parts<'a> {
    /// Fields of the module: imports come first.
    pub imports: &'a str,
    pub memory: &'a str,
    pub fields: &'a str,
    /// The body of `find`: the query's address is local 0, an answer's address is left on the stack. 1024 holds an
    /// answer without hits.
    pub find: &'a str,
    /// What making room does before it makes it.
    pub realloc: &'a str,
}

impl Default for Parts<'_> {
    fn default() -> Self {
        Self { imports: "", memory: "2", fields: "", find: "i32.const 1024", realloc: "" }
    }
}

/// A search provider by hand, which finds nothing and does so quickly.
pub fn search(parts: &Parts<'_>) -> Result<Vec<u8>> {
    component(&search_text(parts), "search")
}

pub fn search_text(parts: &Parts<'_>) -> String {
    let Parts { imports, memory, fields, find, realloc } = parts;
    let own = "fondaco:plugin/search-provider@0.2.0";
    format!(
        r#"(module
  {imports}
  (memory (export "memory") {memory})
  (global $next (mut i32) (i32.const 65536))
  {fields}
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    {realloc}
    (global.set $next (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
    (global.get $next)
    (global.set $next (i32.add (global.get $next) (local.get 3))))
  (func (export "{own}#parameters") (result i32) i32.const 1024)
  (func (export "{own}#index") (param i32 i32) (result i32) i32.const 1024)
  (func $find (export "{own}#find") (param i32) (result i32) {find})
  (func (export "{own}#suggest") (param i32 i32 i32) (result i32) i32.const 1024)
  (func (export "{own}#bid") (param i32) (result i32) i32.const 1024)
)"#
    )
}
