//! A plugin that is ready to be called, and every function that it can be asked for. How a call is run, and what ends
//! it, is in `call`; what an answer means is for the market to say.

use std::sync::Arc;
use std::time::Duration;

use fondaco_schemas::{Capability, PluginKind, api};
use tokio::sync::Semaphore;
use wasmtime::Store;
use wasmtime::component::{InstancePre, ResourceAny};
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use crate::breaker::Health;
use crate::budget::USUAL_MEMORY;
use crate::call::{Ground, Permits};
use crate::compile::Compiler;
use crate::counters::Counters;
use crate::engine::{MAX_MEMORY, Shared};
use crate::error::{CallError, LoadError, Who};
use crate::limits::Limits;
use crate::link::{self, Grants};
use crate::logbook::Logbook;
use crate::outbound::{Outbound, PluginHttp};
use crate::services::{Caller, Services, Visitor};
use crate::state::State;
use crate::v0_1::{self, DrmInstance, Track, on_track};
use crate::wit::{self, advocacy_types as adv, drm_types, payment_types as pay, search_types as search, types};

/// How long the trial of a new instance may take: a node that starts waits for it.
const TRIAL: Duration = Duration::from_secs(10);

/// Makes plugins of components. Cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    shared: Shared,
    compiler: Compiler,
    logbook: Logbook,
    outbound: Option<Outbound>,
}

/// What makes one plugin of a component.
pub struct Spec {
    /// Its id and version, as errors name it.
    pub who: Who,
    /// Its kind.
    pub kind: PluginKind,
    /// The component's bytes, already verified.
    pub component: Vec<u8>,
    /// What it may import.
    pub grants: Grants,
    /// What it may use.
    pub limits: Limits,
    /// Who answers its calls of the node.
    pub services: Arc<dyn Services>,
}

impl Runtime {
    /// Starts the engine, with the usual memory for all guests.
    pub fn new(compiler: Compiler) -> Result<Self, LoadError> {
        Self::with_memory(compiler, USUAL_MEMORY)
    }

    /// Starts the engine. `memory_bytes`: what all guests may have together; below one instance's [`MAX_MEMORY`] no
    /// plugin gets all that it may ask for.
    pub fn with_memory(compiler: Compiler, memory_bytes: usize) -> Result<Self, LoadError> {
        Ok(Self { shared: Shared::new(memory_bytes)?, compiler, logbook: Logbook::default(), outbound: None })
    }

    /// Lets plugins that were granted hosts call them, through this client. Without it nobody calls anybody.
    pub fn reaching_out(mut self, outbound: Outbound) -> Self {
        self.outbound = Some(outbound);
        self
    }

    /// What its plugins said last.
    pub fn logbook(&self) -> &Logbook {
        &self.logbook
    }

    /// Compiles (or loads from the cache), audits and links a component, and makes a smoke call.
    pub async fn load(&self, mut spec: Spec) -> Result<Plugin, LoadError> {
        spec.limits.memory_bytes = spec.limits.memory_bytes.min(MAX_MEMORY);
        let engine = &self.shared.engine;
        let component = self.compiler.load(engine, &spec.who, &spec.component).await?;
        link::audit(engine, &component, &spec.who, &spec.grants)?;
        let exports = |e: wasmtime::Error| LoadError::Exports {
            who: spec.who.clone(),
            kind: spec.kind.as_str(),
            reason: one_line(&e),
        };
        let pre = link::linker(engine, &spec.grants).and_then(|l| l.instantiate_pre(&component)).map_err(exports)?;
        let exports_operator = |version: &semver::Version| {
            component.get_export_index(None, format!("fondaco:plugin/operator@{version}")).is_some()
        };
        let operated = api::OFFERED.iter().any(exports_operator);
        let operated = operated
            .then(|| Track::of(pre.clone(), wit::operated::OperatedPre::new, v0_1::operated::OperatedPre::new))
            .transpose()
            .map_err(exports)?;
        let world = World::new(spec.kind, pre).map_err(exports)?;
        let http = self.outbound.as_ref().zip(spec.grants.http);
        let http = http.map(|(outbound, grant)| PluginHttp::new(&spec.who, grant, outbound));
        let plugin = Plugin(Arc::new(Inner {
            kind: spec.kind,
            gate: Arc::new(Semaphore::new(spec.limits.concurrency)),
            ground: Arc::new(Ground::new(
                spec.who,
                spec.grants.granted,
                spec.limits,
                spec.services,
                http,
                self.shared.budget.share(),
                self.logbook.clone(),
            )),
            shared: self.shared.clone(),
            world,
            operated,
        }));
        let late = || CallError::Wall { who: plugin.who().clone(), call: "the trial", limit: TRIAL };
        tokio::time::timeout(TRIAL, plugin.try_instance()).await.unwrap_or_else(|_| Err(late()))?;
        Ok(plugin)
    }
}

enum World {
    Search(Track<wit::search::SearchPre<State>, v0_1::search_world::SearchPre<State>>),
    Payment(Track<wit::payment::PaymentPre<State>, v0_1::payment::PaymentPre<State>>),
    Drm(Track<wit::drm::DrmPre<State>, v0_1::drm::DrmPre<State>>),
    Advocacy(Track<wit::advocacy::AdvocacyPre<State>, v0_1::advocacy::AdvocacyPre<State>>),
    Storefront(ProxyPre<State>),
}

impl World {
    fn new(kind: PluginKind, pre: InstancePre<State>) -> wasmtime::Result<Self> {
        Ok(match kind {
            PluginKind::Search => {
                Self::Search(Track::of(pre, wit::search::SearchPre::new, v0_1::search_world::SearchPre::new)?)
            }
            PluginKind::Payment => {
                Self::Payment(Track::of(pre, wit::payment::PaymentPre::new, v0_1::payment::PaymentPre::new)?)
            }
            PluginKind::Drm => Self::Drm(Track::of(pre, wit::drm::DrmPre::new, v0_1::drm::DrmPre::new)?),
            PluginKind::Advocacy => {
                Self::Advocacy(Track::of(pre, wit::advocacy::AdvocacyPre::new, v0_1::advocacy::AdvocacyPre::new)?)
            }
            PluginKind::Storefront => Self::Storefront(ProxyPre::new(pre)?),
        })
    }
    fn instance_pre(&self) -> &InstancePre<State> {
        match self {
            Self::Search(p) => on_track!(p, p => p.instance_pre()),
            Self::Payment(p) => on_track!(p, p => p.instance_pre()),
            Self::Drm(p) => on_track!(p, p => p.instance_pre()),
            Self::Advocacy(p) => on_track!(p, p => p.instance_pre()),
            Self::Storefront(p) => p.instance_pre(),
        }
    }
}

pub(crate) struct Inner {
    pub kind: PluginKind,
    pub ground: Arc<Ground>,
    pub shared: Shared,
    pub gate: Arc<Semaphore>,
    world: World,
    operated: Option<Track<wit::operated::OperatedPre<State>, v0_1::operated::OperatedPre<State>>>,
}

/// A plugin, ready to be called. Cheap to clone.
#[derive(Clone)]
pub struct Plugin(pub(crate) Arc<Inner>);

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Plugin({}, {})", self.who(), self.0.kind.as_str())
    }
}

/// In whose chain of calls a call stands.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// How many plugin calls are under way above this one.
    pub depth: u8,
    /// The visitor on whose behalf.
    pub visitor: Option<Arc<Visitor>>,
}

impl Context {
    /// A call that the node makes by itself.
    pub fn node() -> Self {
        Self::default()
    }
    /// A call that the node makes because a plugin asked it to.
    /// The visitor stays with the storefront: no other plugin acts in the visitor's name.
    pub fn below(caller: &Caller) -> Self {
        Self { depth: caller.depth + 1, visitor: None }
    }
}

impl Plugin {
    /// Its id and version.
    pub fn who(&self) -> &Who {
        &self.0.ground.who
    }
    /// Its kind.
    pub fn kind(&self) -> PluginKind {
        self.0.kind
    }
    /// Its limits, as they are in force.
    pub fn limits(&self) -> &Limits {
        &self.0.ground.limits
    }
    /// What it was granted.
    pub fn granted(&self) -> &std::collections::BTreeSet<Capability> {
        &self.0.ground.granted
    }
    /// What became of its calls.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.0.ground.counters
    }
    /// Does its circuit breaker let calls through?
    pub fn health(&self) -> Health {
        self.0.ground.health()
    }

    /// The smoke call: an instance, and the function of its kind that only says what it is, where there is one.
    async fn try_instance(&self) -> Result<(), CallError> {
        let node = Context::node();
        self.run(&node, "instantiation", |store, inner| {
            Box::pin(async move {
                inner.world.instance_pre().instantiate_async(&mut *store).await?;
                inner.ground.begins_with(store.data().accountant.memory);
                Ok(())
            })
        })
        .await?;
        match self.0.kind {
            PluginKind::Search => self.parameters(&node).await.map(drop),
            PluginKind::Payment => self.describe_payment(&node).await.map(drop),
            PluginKind::Drm => self.describe_drm(&node).await.map(drop),
            PluginKind::Advocacy | PluginKind::Storefront => Ok(()),
        }
    }

    fn no(&self, wanted: &'static str) -> CallError {
        CallError::Kind { who: self.who().clone(), wanted }
    }
}

pub(crate) fn one_line(error: &wasmtime::Error) -> String {
    let text = format!("{:#}", error.root_cause());
    text.lines().next().unwrap_or("unknown").to_owned()
}

/// What a plugin answers: its own result, within what can go wrong around it.
pub type Answer<T> = Result<Result<T, types::Error>, CallError>;

macro_rules! calls {
    ($world:ident, $kind:literal, $accessor:ident, { $(
        $(#[$doc:meta])*
        $name:ident / $call:ident ($($arg:ident: $ty:ty $(as $by:tt)?),*) -> $out:ty;
    )* }) => {
        impl Plugin {
            $(
                $(#[$doc])*
                pub async fn $name(&self, context: &Context, $($arg: $ty),*) -> Result<$out, CallError> {
                    if !matches!(self.0.world, World::$world(_)) {
                        return Err(self.no($kind));
                    }
                    self.run(context, stringify!($name), move |store, inner| {
                        Box::pin(async move {
                            let World::$world(pre) = &inner.world else {
                                wasmtime::bail!("checked above");
                            };
                            match pre {
                                Track::Latest(pre) => {
                                    let instance = pre.instantiate_async(&mut *store).await?;
                                    instance.$accessor().$call(store, $(calls!(@arg $arg $($by)?)),*).await
                                }
                                Track::V01(pre) => {
                                    let instance = pre.instantiate_async(&mut *store).await?;
                                    instance.$accessor().$call(store, $(calls!(@old $arg $($by)?)),*).await
                                }
                            }
                        })
                    })
                    .await
                }
            )*
        }
    };
    (@arg $arg:ident changes) => { &$arg };
    (@old $arg:ident changes) => { &v0_1::changes(&$arg) };
    (@old $($arg:tt)*) => { calls!(@arg $($arg)*) };
    (@arg $arg:ident) => { $arg };
    (@arg $arg:ident ref) => { &$arg };
    (@arg $arg:ident deref) => { $arg.as_deref() };
    (@arg $arg:ident opt) => { $arg.as_ref() };
}

calls!(Search, "search", fondaco_plugin_search_provider, {
    /// The main ranking parameters.
    parameters / call_parameters() -> Vec<(String, f32)>;
    /// Feeds changes of the catalogue.
    index / call_index(changes: Vec<v0_1::Change> as changes) -> Result<(), types::Error>;
    /// Answers a query.
    find / call_find(query: search::Query as ref) -> Result<search::Results, types::Error>;
    /// Completes a prefix.
    suggest / call_suggest(prefix: String as ref, limit: u32) -> Result<Vec<String>, types::Error>;
    /// Paid placements.
    bid / call_bid(query: search::Query as ref) -> Result<Vec<search::Slot>, types::Error>;
});
calls!(Payment, "payment", fondaco_plugin_payment_gateway, {
    /// The assets that it takes, and what it can do.
    describe_payment / call_describe() -> (Vec<String>, pay::Capabilities);
    /// Starts a payment.
    begin / call_begin(request: pay::PaymentRequest as ref) -> Result<(pay::Step, Vec<pay::PaymentEvent>), types::Error>;
    /// Goes on with a payment.
    advance / call_advance(payment: String as ref, input: Vec<pay::Field> as ref) -> Result<(pay::Step, Vec<pay::PaymentEvent>), types::Error>;
    /// Reads a notification.
    webhook / call_webhook(message: types::HttpMessage as ref) -> Result<Vec<pay::PaymentEvent>, types::Error>;
    /// What is known of a payment.
    fetch / call_fetch(payment: String as ref) -> Result<Vec<pay::PaymentEvent>, types::Error>;
    /// Gives up a payment.
    cancel / call_cancel(payment: String as ref, key: String as ref) -> Result<Vec<pay::PaymentEvent>, types::Error>;
    /// Pays back.
    refund / call_refund(payment: String as ref, amount: types::Money as ref, key: String as ref) -> Result<Vec<pay::PaymentEvent>, types::Error>;
    /// Charges what was authorised.
    capture / call_capture(payment: String as ref, amount: types::Money as ref, key: String as ref) -> Result<Vec<pay::PaymentEvent>, types::Error>;
    /// Headers for a 402 answer.
    challenge / call_challenge(request: pay::PaymentRequest as ref) -> Result<Vec<(String, String)>, types::Error>;
    /// Reads a credential that came with a request.
    redeem / call_redeem(message: types::HttpMessage as ref, request: pay::PaymentRequest as ref) -> Result<(Vec<pay::PaymentEvent>, Vec<(String, String)>), types::Error>;
});
calls!(Drm, "drm", fondaco_plugin_drm_scheme, {
    /// How far it keeps the key from the person, and what it does.
    describe_drm / call_describe() -> (drm_types::Secrecy, Vec<String>);
    /// The licence for one file.
    issue / call_issue(entitlement: types::Entitlement as ref, file: types::FileInfo as ref, device: Option<String> as deref, message: Option<types::HttpMessage> as opt) -> Result<drm_types::License, types::Error>;
    /// Where a licence stands.
    license_status / call_status(entitlement: types::Entitlement as ref) -> Result<drm_types::LicenseStatus, types::Error>;
    /// Ends a licence.
    revoke / call_revoke(entitlement: types::Entitlement as ref, reason: String as ref) -> Result<drm_types::LicenseStatus, types::Error>;
    /// Adds a device.
    register / call_register(entitlement: types::Entitlement as ref, device: String as ref, name: String as ref) -> Result<drm_types::LicenseStatus, types::Error>;
    /// Makes a loan last longer.
    renew / call_renew(entitlement: types::Entitlement as ref, until: Option<String> as deref) -> Result<drm_types::LicenseStatus, types::Error>;
    /// Takes a loan back.
    give_back / call_give_back(entitlement: types::Entitlement as ref, device: String as ref) -> Result<drm_types::LicenseStatus, types::Error>;
    /// Who leaked a copy.
    trace / call_trace(sample: Vec<u8> as ref) -> Result<Vec<(String, f32)>, types::Error>;
});
calls!(Advocacy, "advocacy", fondaco_plugin_advocacy_module, {
    /// The campaigns that run now.
    running / call_running(locale: String as ref) -> Result<Vec<adv::CampaignSummary>, types::Error>;
    /// One campaign.
    campaign / call_get(id: String as ref, locale: String as ref, audience: Option<String> as deref) -> Result<adv::Campaign, types::Error>;
    /// Who can be written to.
    targets / call_targets(id: String as ref, country: String as ref, postcode: String as ref) -> Result<Vec<adv::Target>, types::Error>;
    /// Takes part.
    take_part / call_take_part(participation: adv::Participation as ref) -> Result<adv::Outcome, types::Error>;
    /// Confirms by token.
    confirm / call_confirm(token: String as ref) -> Result<adv::Outcome, types::Error>;
    /// How many took part.
    counts / call_counts(id: String as ref) -> Result<Vec<adv::Count>, types::Error>;
    /// A press-ready piece.
    press / call_press(id: String as ref, format: String as ref, locale: String as ref, audience: String as ref, placement: String as ref) -> Result<types::Document, types::Error>;
    /// Takes back what was signed.
    withdraw / call_withdraw(token: String as ref) -> Result<(), types::Error>;
    /// What the public log shows.
    leaves / call_leaves(id: String as ref, since: u64) -> Result<Vec<Vec<u8>>, types::Error>;
    /// What is held on a person.
    export_person / call_export_person(mail: String as ref) -> Result<types::Document, types::Error>;
    /// Erases what is held on a person.
    erase_person / call_erase_person(mail: String as ref) -> Result<u32, types::Error>;
});

/// Which script to draw from a DRM plugin.
pub enum ScriptOf {
    /// How a file is protected.
    Protect(Box<types::Work>, types::FileInfo, types::Terms),
    /// How a protected file is opened with its licence.
    Open(drm_types::License, types::FileInfo),
    /// How one buyer's copy is made.
    Personalise(Box<types::Entitlement>, types::FileInfo),
}

/// An edit script that is being drawn: it keeps its instance until it is dropped.
pub struct Script {
    plugin: Plugin,
    store: Store<State>,
    instance: DrmInstance,
    handle: ResourceAny,
    _permits: Permits,
}

impl Plugin {
    /// Starts an edit script.
    pub async fn script(&self, context: &Context, of: ScriptOf) -> Answer<Script> {
        let started = self.scripted(context, of).await?;
        Ok(started.and_then(|script| script.ok_or(types::Error::NotFound)))
    }

    /// Starts the script that makes one buyer's copy; none where the shared bytes do as they are.
    pub async fn personalise(
        &self,
        context: &Context,
        entitlement: types::Entitlement,
        file: types::FileInfo,
    ) -> Answer<Option<Script>> {
        self.scripted(context, ScriptOf::Personalise(Box::new(entitlement), file)).await
    }

    async fn scripted(&self, context: &Context, of: ScriptOf) -> Answer<Option<Script>> {
        const CALL: &str = "script";
        if !matches!(self.0.world, World::Drm(_)) {
            return Err(self.no("drm"));
        }
        let (mut store, permits, started) = self
            .start(context, CALL, move |store, inner| {
                Box::pin(async move {
                    let World::Drm(pre) = &inner.world else { wasmtime::bail!("checked above") };
                    on_track!(pre, pre => {
                        let instance = pre.instantiate_async(&mut *store).await?;
                        let drm = instance.fondaco_plugin_drm_scheme();
                        let script = match &of {
                            ScriptOf::Protect(work, file, terms) => {
                                drm.call_protect(store, work, file, terms).await?.map(Some)
                            }
                            ScriptOf::Open(license, file) => drm.call_open(store, license, file).await?.map(Some),
                            ScriptOf::Personalise(entitlement, file) => {
                                drm.call_personalise(store, entitlement, file).await?
                            }
                        };
                        Ok(script.map(|script| script.map(|script| (DrmInstance::from(instance), script))))
                    })
                })
            })
            .await?;
        self.0.ground.write_log(&mut store, CALL);
        Ok(started.map(|started| {
            let (instance, handle) = started?;
            Some(Script { plugin: self.clone(), store, instance, handle, _permits: permits })
        }))
    }

    /// The tools that it has for the operator; none where it exports no `operator`.
    pub async fn tools(&self) -> Result<Vec<types::Tool>, CallError> {
        if self.0.operated.is_none() {
            return Ok(Vec::new());
        }
        self.run(&Context::node(), "tools", |store, inner| {
            Box::pin(async move {
                let Some(pre) = &inner.operated else { wasmtime::bail!("checked above") };
                on_track!(pre, pre => {
                    let instance = pre.instantiate_async(&mut *store).await?;
                    instance.fondaco_plugin_operator().call_tools(store).await
                })
            })
        })
        .await
    }

    /// Runs one of its tools.
    pub async fn run_tool(&self, tool: String, input: Vec<(String, String)>) -> Answer<types::Document> {
        if self.0.operated.is_none() {
            return Ok(Err(types::Error::NotFound));
        }
        self.run(&Context::node(), "run", move |store, inner| {
            Box::pin(async move {
                let Some(pre) = &inner.operated else { wasmtime::bail!("checked above") };
                on_track!(pre, pre => {
                    let instance = pre.instantiate_async(&mut *store).await?;
                    instance.fondaco_plugin_operator().call_run(store, &tool, &input).await
                })
            })
        })
        .await
    }
}

impl Script {
    /// The next edits, at most `at_most`; an empty portion ends the script.
    pub async fn next(&mut self, at_most: u32) -> Answer<Vec<drm_types::Edit>> {
        let Self { plugin, store, instance, handle, .. } = self;
        let (limits, script) = (plugin.limits(), *handle);
        store.data_mut().refill(limits);
        store.set_hostcall_fuel(limits.output_bytes);
        plugin
            .go_on(store, "script.next", async |store| {
                on_track!(instance, i => i.fondaco_plugin_drm_scheme().script().call_next(store, script, at_most).await)
            })
            .await
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.plugin.0.ground.write_log(&mut self.store, "script.next");
    }
}

pub(crate) mod storefront {
    //! A storefront's calls: `wasi:http/incoming-handler`, dispatched directly.

    use bytes::Bytes;
    use http_body_util::{BodyExt, Full, Limited};
    use wasmtime_wasi_http::p2::bindings::http::types::Scheme;

    use super::{CallError, Context, Plugin, World};
    use crate::call::Silent;
    use wasmtime_wasi_http::WasiHttpView as _;

    impl Plugin {
        /// Answers one request. The response's body is at most `max_body` bytes.
        pub async fn handle(
            &self,
            context: &Context,
            request: http::Request<Bytes>,
            max_body: usize,
        ) -> Result<http::Response<Bytes>, CallError> {
            const CALL: &str = "handle";
            if !matches!(self.0.world, World::Storefront(_)) {
                return Err(self.no("storefront"));
            }
            let (sender, receiver) = tokio::sync::oneshot::channel();
            let answered = self.run(context, CALL, move |store, inner| {
                Box::pin(async move {
                    let World::Storefront(pre) = &inner.world else { wasmtime::bail!("checked above") };
                    let request =
                        request.map(|b| Full::new(b).map_err(|e| -> wasmtime_wasi_http::Error { match e {} }));
                    let request = store.data_mut().http().new_incoming_request(Scheme::Http, request)?;
                    let out = store.data_mut().http().new_response_outparam(sender)?;
                    let proxy = pre.instantiate_async(&mut *store).await?;
                    // A guest that traps leaves its end of both pipes in the store, so its end has to be told.
                    let (over, ended) = tokio::sync::oneshot::channel::<()>();
                    let ran = async {
                        proxy.wasi_http_incoming_handler().call_handle(&mut *store, request, out).await?;
                        let _ = over.send(());
                        wasmtime::Result::Ok(())
                    };
                    // The guest writes its body into a bounded pipe, so it is read while the guest runs.
                    let read = async {
                        let response = tokio::select! {
                            biased;
                            response = receiver => response,
                            _ = ended => return Err(Silent.into()),
                        };
                        let Ok(Ok(response)) = response else { return Err(Silent.into()) };
                        let (parts, body) = response.into_parts();
                        let body = Limited::new(body, max_body).collect().await;
                        body.map(|b| http::Response::from_parts(parts, b.to_bytes()))
                            .map_err(|e| wasmtime::format_err!("its answer was cut or is over {max_body} bytes: {e}"))
                    };
                    let ((), read) = tokio::try_join!(ran, read)?;
                    Ok(read)
                })
            });
            answered.await
        }
    }
}
