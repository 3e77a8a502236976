//! One call into a plugin, from the breaker's leave to the log: permits, a fresh store, time-outs, and what is counted
//! at its end. Whatever goes wrong ends this call with an error that names the plugin, and nothing else. `plugin` says
//! which functions there are; here no answer is looked at.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fondaco_schemas::Capability;
use futures_util::future::BoxFuture;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::error::Elapsed;
use tracing::Instrument as _;
use wasmtime::{Store, Trap};

use crate::breaker::{Breaker, Health, Pass, Verdict};
use crate::budget::{Lease, Share};
use crate::counters::{Counters, Ending};
use crate::engine::MAX_DEPTH;
use crate::error::{CallError, Who};
use crate::limits::Limits;
use crate::logbook::{Level, Logbook};
use crate::outbound::PluginHttp;
use crate::plugin::{Context, Inner, Plugin, one_line};
use crate::rate::{self, Bucket, Rates};
use crate::retire::Cut;
use crate::services::{Caller, Lent, Services};
use crate::state::{Over, State};
use crate::wit::types;

/// How long a call waits for a free instance.
const QUEUE: Duration = Duration::from_secs(1);

/// What one call holds until it ends: its plugin's own place, and one at its depth.
pub(crate) type Permits = (OwnedSemaphorePermit, OwnedSemaphorePermit);

/// The plugin ended its call without an answer.
#[derive(Debug, thiserror::Error)]
#[error("no answer was set")]
pub(crate) struct Silent;

/// What all calls of one plugin share.
pub(crate) struct Ground {
    pub who: Who,
    pub granted: BTreeSet<Capability>,
    pub limits: Limits,
    pub services: Arc<dyn Services>,
    /// Its way to web services, where it was granted any.
    pub http: Option<PluginHttp>,
    pub counters: Arc<Counters>,
    pub cut: Cut,
    logbook: Logbook,
    breaker: Mutex<Breaker>,
    rates: Rates,
    log: Bucket,
    memory: Arc<Share>,
    /// What an instance has from the start, as the trial showed it.
    least_memory: AtomicUsize,
    caller: Caller,
    /// What breaker and buckets count their time from.
    began: Instant,
}

impl Ground {
    pub fn new(
        who: Who,
        granted: BTreeSet<Capability>,
        limits: Limits,
        services: Arc<dyn Services>,
        http: Option<PluginHttp>,
        memory: Arc<Share>,
        logbook: Logbook,
    ) -> Self {
        let caller = Caller {
            plugin: who.id.as_str().into(),
            storage_bytes: limits.storage_bytes,
            storage_keys: limits.storage_keys,
            reaches_peers: granted.contains(&Capability::Peers),
            depth: 0,
            visitor: None,
        };
        Self {
            who,
            granted,
            rates: Rates::new(&limits.rates),
            log: Bucket::new(limits.log_bytes_per_minute, Duration::from_mins(1)),
            limits,
            services,
            http,
            counters: Arc::default(),
            cut: Cut::default(),
            logbook,
            breaker: Mutex::new(Breaker::new()),
            memory,
            least_memory: AtomicUsize::new(0),
            caller,
            began: Instant::now(),
        }
    }

    /// Remembers what an instance has from the start.
    pub fn begins_with(&self, memory_bytes: usize) {
        self.least_memory.store(memory_bytes, Ordering::Relaxed);
    }

    fn breaker<T>(&self, ask: impl FnOnce(&mut Breaker, Duration) -> T) -> T {
        ask(&mut self.breaker.lock().unwrap_or_else(PoisonError::into_inner), self.began.elapsed())
    }
    pub fn health(&self) -> Health {
        self.breaker(|b, now| b.health(now))
    }

    fn ended(&self, pass: Pass, verdict: Verdict) {
        let opened = self.breaker(|b, now| b.ended(now, pass, verdict).then(|| b.health(now)));
        if let Some(health) = opened {
            self.counters.opened(health == Health::Quarantined);
        }
        match opened {
            Some(Health::Quarantined) => tracing::error!(
                plugin = %self.who,
                "in quarantine: it failed after every wait; `fondaco plugin enable {}` or another version ends that",
                self.who.id
            ),
            Some(Health::Open(wait)) => {
                tracing::error!(plugin = %self.who, wait_s = wait.as_secs(), "failed again and again; it is not called for a while");
            }
            _ => {}
        }
    }

    /// The linker holds only what was granted; this is the second fence, for what is optional, and the gate for how
    /// often.
    pub fn allowed(&self, capability: Capability) -> Lent<()> {
        let who = &self.who;
        if !self.granted.contains(&capability) {
            self.counters.denied(capability);
            tracing::debug!(plugin = %who, %capability, "denied");
            return Err(types::Error::Denied(format!(
                "{who} was not granted \"{capability}\"; the operator grants it with `fondaco plugin grant {} {capability}`",
                who.id
            )));
        }
        if !self.rates.take(capability, self.began.elapsed()) {
            self.counters.throttled(capability);
            return Err(types::Error::Exhausted(format!(
                "{who} made more than {} calls of {capability} a second; the operator raises limits.rate.{capability} under [plugins.\"{}\"]",
                rate::rate(&self.limits.rates, capability),
                who.id
            )));
        }
        Ok(())
    }

    /// Writes what the plugin printed since the last time, as far as its minute has room.
    pub fn write_log(&self, store: &mut Store<State>, call: &'static str) {
        let (lines, mut dropped) = store.data_mut().log.take_lines();
        let mut written = 0;
        for line in lines {
            if self.log.take(self.began.elapsed(), line.len() as u64) {
                written += line.len();
                tracing::info!(target: "plugin", plugin = %self.who, call, "{line}");
                self.logbook.write(&self.who, call, Level::Info, line);
            } else {
                dropped += line.len();
            }
        }
        if written + dropped > 0 {
            self.counters.logged(written, dropped);
        }
        if dropped > 0 {
            tracing::debug!(plugin = %self.who, call, dropped, "cut what the plugin printed");
            let cut = format!("{dropped} bytes more were printed, and cut");
            self.logbook.write(&self.who, call, Level::Warn, cut);
        }
    }
}

/// A call that was let through. Dropped before its end, it counts as abandoned.
struct UnderWay<'a> {
    ground: &'a Ground,
    call: &'static str,
    pass: Option<Pass>,
    started: Option<Instant>,
}

impl UnderWay<'_> {
    fn end(mut self, ending: Ending, verdict: Verdict) {
        self.note(ending, verdict);
    }
    fn note(&mut self, ending: Ending, verdict: Verdict) {
        if let Some(pass) = self.pass.take() {
            self.ground.counters.ended(self.call, ending, self.started.map(|s| s.elapsed()));
            self.ground.ended(pass, verdict);
            tracing::Span::current().record("ending", ending.as_str());
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.note(Ending::Abandoned, Verdict::Unknown);
    }
}

/// What a call does with its instance.
pub(crate) trait Work<R>:
    for<'a> FnOnce(&'a mut Store<State>, &'a Inner) -> BoxFuture<'a, wasmtime::Result<R>> + Send + 'static
{
}

impl<R, F> Work<R> for F where
    F: for<'a> FnOnce(&'a mut Store<State>, &'a Inner) -> BoxFuture<'a, wasmtime::Result<R>> + Send + 'static
{
}

impl Plugin {
    /// The breaker's leave for a call.
    fn pass(&self, call: &'static str) -> Result<UnderWay<'_>, CallError> {
        let ground = &self.0.ground;
        match ground.breaker(Breaker::admit) {
            Ok(pass) => Ok(UnderWay { ground, call, pass: Some(pass), started: None }),
            Err(health) => {
                ground.counters.ended(call, Ending::Unavailable, None);
                Err(CallError::Unavailable { who: ground.who.clone(), call, health })
            }
        }
    }

    /// Waits for what a call needs: a place, and the memory that an instance begins with.
    async fn permits(&self, depth: u8, call: &'static str) -> Result<(Permits, Lease), CallError> {
        let ground = &self.0.ground;
        let Some(pool) = self.0.shared.permits(depth) else {
            return Err(CallError::Depth { who: ground.who.clone(), call, depth: depth + 1, limit: MAX_DEPTH });
        };
        let began = Instant::now();
        let all = async {
            let gate = self.0.gate.clone().acquire_owned().await;
            // Before the place at its depth, so that nobody holds one while it waits for memory.
            let lease = ground.memory.lease(ground.least_memory.load(Ordering::Relaxed)).await;
            (gate, pool.acquire_owned().await, lease)
        };
        let got = tokio::time::timeout(QUEUE, all).await;
        ground.counters.waited(began.elapsed());
        match got {
            Ok((Ok(gate), Ok(pool), lease)) => Ok(((gate, pool), lease)),
            _ => Err(CallError::Overloaded { who: ground.who.clone(), call, waited: QUEUE }),
        }
    }

    fn store(&self, context: &Context, lease: Lease, is_long: Arc<AtomicBool>) -> Store<State> {
        let ground = &self.0.ground;
        let caller = Caller { depth: context.depth, visitor: context.visitor.clone(), ..ground.caller.clone() };
        State::store(&self.0.shared.engine, ground.clone(), caller, lease, is_long)
    }

    /// Runs one call in a fresh instance, under all limits.
    pub(crate) async fn run<R: Send + 'static>(
        &self,
        context: &Context,
        call: &'static str,
        f: impl Work<R>,
    ) -> Result<R, CallError> {
        let (mut store, _permits, value) = self.start(context, call, f).await?;
        self.0.ground.write_log(&mut store, call);
        Ok(value)
    }

    /// The same, and keeps the instance and its place for what comes after.
    pub(crate) async fn start<R: Send + 'static>(
        &self,
        context: &Context,
        call: &'static str,
        f: impl Work<R>,
    ) -> Result<(Store<State>, Permits, R), CallError> {
        let who = &self.0.ground.who;
        let span = tracing::info_span!(
            "plugin", id = %who.id, version = %who.version, call, depth = context.depth,
            ending = tracing::field::Empty, memory = tracing::field::Empty, ticks = tracing::field::Empty,
        );
        let is_long = Arc::new(AtomicBool::new(false));
        let calling = self.clone().call(context.clone(), call, is_long.clone(), f).instrument(span);
        let ended = self.0.shared.lane.drive(&is_long, Box::pin(calling)).await;
        ended.unwrap_or_else(|| Err(CallError::Stopping { who: who.clone(), call }))
    }

    async fn call<R: Send + 'static>(
        self,
        context: Context,
        call: &'static str,
        is_long: Arc<AtomicBool>,
        f: impl Work<R>,
    ) -> Result<(Store<State>, Permits, R), CallError> {
        let ground = &self.0.ground;
        let mut under_way = self.pass(call)?;
        let (permits, lease) = match self.permits(context.depth, call).await {
            Ok(got) => got,
            Err(error) => {
                under_way.end(Ending::Overloaded, Verdict::Unknown);
                return Err(error);
            }
        };
        let mut store = self.store(&context, lease, is_long);
        under_way.started = Some(Instant::now());
        let ran = ground.cut.unless(tokio::time::timeout(ground.limits.wall, f(&mut store, &self.0))).await;
        match self.concluded(&mut store, under_way, ran) {
            Ok(value) => Ok((store, permits, value)),
            Err(error) => {
                ground.write_log(&mut store, call);
                Err(error)
            }
        }
    }

    /// Goes on with an instance that was kept.
    pub(crate) async fn go_on<R>(
        &self,
        store: &mut Store<State>,
        call: &'static str,
        f: impl AsyncFnOnce(&mut Store<State>) -> wasmtime::Result<R>,
    ) -> Result<R, CallError> {
        let ground = &self.0.ground;
        let under_way = UnderWay { ground, call, pass: Some(Pass::Call), started: Some(Instant::now()) };
        let ran = ground.cut.unless(tokio::time::timeout(ground.limits.wall, f(store))).await;
        self.concluded(store, under_way, ran)
    }

    /// What became of it: counted, told to the breaker, and in words.
    fn concluded<R>(
        &self,
        store: &mut Store<State>,
        under_way: UnderWay<'_>,
        ran: Option<Result<wasmtime::Result<R>, Elapsed>>,
    ) -> Result<R, CallError> {
        let ground = &self.0.ground;
        let call = under_way.call;
        let Some(ran) = ran else {
            under_way.end(Ending::Abandoned, Verdict::Unknown);
            return Err(CallError::Retired { who: ground.who.clone(), call });
        };
        let concluded = self.ended(store, under_way, ran);
        concluded.inspect_err(|error| ground.logbook.write(&ground.who, call, Level::Error, error.to_string()))
    }

    fn ended<R>(
        &self,
        store: &mut Store<State>,
        under_way: UnderWay<'_>,
        ran: Result<wasmtime::Result<R>, Elapsed>,
    ) -> Result<R, CallError> {
        let (ground, call, state) = (&self.0.ground, under_way.call, store.data_mut());
        let (who, limits) = (|| ground.who.clone(), &ground.limits);
        let (memory, ticks) = (state.accountant.memory, std::mem::take(&mut state.ticks));
        ground.counters.used(memory, ticks);
        tracing::Span::current().record("memory", memory).record("ticks", ticks);
        let error = match ran {
            Ok(Ok(value)) => {
                under_way.end(Ending::Answered, Verdict::Well);
                return Ok(value);
            }
            Ok(Err(error)) => error,
            Err(_) => {
                // Where the node kept it waiting, as with another plugin that hangs, it is not to blame.
                let verdict = if state.is_lent { Verdict::Unknown } else { Verdict::Badly };
                under_way.end(Ending::Wall, verdict);
                return Err(CallError::Wall { who: who(), call, limit: limits.wall });
            }
        };
        let (ending, error) = match state.over {
            Some(Over::Deadline) => {
                (Ending::Deadline, CallError::Deadline { who: who(), call, limit: limits.deadline })
            }
            Some(Over::HostCalls) => {
                (Ending::HostCalls, CallError::HostCalls { who: who(), call, limit: limits.host_calls })
            }
            None if error.is::<Silent>() => (Ending::NoAnswer, CallError::NoAnswer { who: who(), call }),
            None => {
                let reason = one_line(&error);
                let (ending, reason) = if state.accountant.refused > 0 {
                    let limit = limits.memory_bytes >> 20;
                    (Ending::Memory, format!("{reason} (it asked for more than its {limit} MiB of memory)"))
                } else if state.accountant.refused_shared > 0 {
                    (Ending::Memory, format!("{reason} (its instances had all memory that was left for it)"))
                } else if matches!(error.downcast_ref::<Trap>(), Some(Trap::StackOverflow)) {
                    (Ending::Trap, "its calls are nested too deep".into())
                } else {
                    (Ending::Trap, reason)
                };
                (ending, CallError::Trap { who: who(), call, reason })
            }
        };
        // Whoever hoards is to blame for what others do not get, and they are not.
        let is_others = matches!(ending, Ending::Memory) && state.accountant.refused == 0 && state.accountant.outdone;
        under_way.end(ending, if is_others { Verdict::Unknown } else { Verdict::Badly });
        Err(error)
    }
}
