//! What a store carries through one call: who calls, what is granted, what was used, and the functions that the node lends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fondaco_schemas::Capability;
use tracing::Instrument as _;
use wasmtime::component::ResourceTable;
use wasmtime::{Engine, Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::budget::Lease;
use crate::call::Ground;
use crate::engine::TICK;
use crate::limits::{Accountant, Limits};
use crate::log::LogPipe;
use crate::outbound::Sender;
use crate::services::{Caller, Lent};
use crate::wit::{self, types};

/// What stopped a call, where it was one of our limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    Deadline,
    HostCalls,
}

/// One call's state.
pub(crate) struct State {
    /// What all calls of the plugin share.
    pub ground: Arc<Ground>,
    pub caller: Caller,
    pub accountant: Accountant,
    host_calls_left: u32,
    ticks_left: u64,
    /// Ticks of 2 ms that were begun while it ran.
    pub ticks: u64,
    /// Tells who runs it that it computes for long.
    is_long: Arc<AtomicBool>,
    /// Is a function of the node under way, so that the plugin only waits?
    pub is_lent: bool,
    /// How long it has waited for the node since the last tick that counted.
    waited: Duration,
    pub over: Option<Over>,
    pub log: LogPipe,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: Sender,
    table: ResourceTable,
}

#[derive(Debug, thiserror::Error)]
#[error("the call used up what it may")]
struct Spent;

impl State {
    pub fn store(
        engine: &Engine,
        ground: Arc<Ground>,
        caller: Caller,
        lease: Lease,
        is_long: Arc<AtomicBool>,
    ) -> Store<Self> {
        let limits = &ground.limits;
        let log = LogPipe::new(limits.log_bytes);
        let mut table = ResourceTable::new();
        // Fields of a message are handles too, of up to 32 KiB each, and no part of the guest's memory.
        table.set_max_capacity(256);
        // Nothing is given: no files, no sockets, no name look-up, no arguments, no environment.
        let wasi = WasiCtx::builder()
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            // They are made at once, while no deadline counts.
            .max_random_size(64 << 10)
            .stdout(log.clone())
            .stderr(log.clone())
            .build();
        let output_bytes = limits.output_bytes;
        let mut http = WasiHttpCtx::new();
        // As much as the node takes from a browser; each set of fields that a guest makes may be that large.
        http.set_field_size_limit(32 << 10);
        let state = Self {
            hooks: Sender { ground: ground.clone() },
            caller,
            accountant: Accountant::new(limits.memory_bytes, lease),
            host_calls_left: limits.host_calls,
            ticks_left: ticks(limits),
            ticks: 0,
            is_long,
            is_lent: false,
            waited: Duration::ZERO,
            over: None,
            log,
            wasi,
            http,
            table,
            ground,
        };
        let mut store = Store::new(engine, state);
        store.limiter(|s| &mut s.accountant);
        store.set_hostcall_fuel(output_bytes);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut store| {
            let state = store.data_mut();
            // However many ticks went by while it waited for the node, this is the one call for all of them, and it did
            // not compute.
            if state.waited >= TICK {
                state.waited = Duration::ZERO;
                return Ok(UpdateDeadline::Continue(1));
            }
            state.ticks += 1;
            if let Some(left) = state.ticks_left.checked_sub(1) {
                state.ticks_left = left;
                // The first one may come at once, whenever it began; after two it has computed for at least one.
                if state.ticks == 1 {
                    return Ok(UpdateDeadline::Continue(1));
                }
                state.is_long.store(true, Ordering::Relaxed);
                Ok(UpdateDeadline::Yield(1))
            } else {
                state.over = Some(Over::Deadline);
                Err(Spent.into())
            }
        });
        store
    }

    /// Gives a store that goes on with another call its time and its calls anew.
    pub fn refill(&mut self, limits: &Limits) {
        self.ticks_left = ticks(limits);
        self.host_calls_left = limits.host_calls;
    }

    fn enter(&mut self) -> wasmtime::Result<()> {
        if let Some(left) = self.host_calls_left.checked_sub(1) {
            self.host_calls_left = left;
            Ok(())
        } else {
            self.over = Some(Over::HostCalls);
            Err(Spent.into())
        }
    }

    /// The linker holds only what was granted; this is the second fence, for what is optional.
    fn allowed(&self, capability: Capability) -> Lent<()> {
        self.ground.allowed(capability)
    }
}

fn ticks(limits: &Limits) -> u64 {
    u64::try_from(limits.deadline.as_millis() / TICK.as_millis()).unwrap_or(u64::MAX)
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}

impl wit::types::Host for State {}
impl wit::search_types::Host for State {}
impl wit::payment_types::Host for State {}
impl wit::drm_types::Host for State {}
impl wit::advocacy_types::Host for State {}

macro_rules! lend {
    ($interface:ident, $capability:ident, { $($name:ident($($arg:ident: $ty:ty),*) -> $out:ty, by $service:ident;)* }) => {
        impl wit::$interface::Host for State {
            $(async fn $name(&mut self, $($arg: $ty),*) -> wasmtime::Result<Lent<$out>> {
                self.enter()?;
                if let Err(denied) = self.allowed(Capability::$capability) {
                    return Ok(Err(denied));
                }
                let span = tracing::debug_span!("lent", call = concat!(stringify!($interface), ".", stringify!($name)));
                let started = Instant::now();
                self.is_lent = true;
                let answer = self.ground.services.$service(&self.caller, $($arg),*).instrument(span).await;
                self.is_lent = false;
                self.waited += started.elapsed();
                Ok(answer)
            })*
        }
    };
}

lend!(storage, Storage, {
    get(key: Vec<u8>) -> Option<Vec<u8>>, by storage_get;
    scan(start: Vec<u8>, end: Vec<u8>, limit: u32) -> Vec<wit::storage::Entry>, by storage_scan;
    apply(batch: Vec<wit::storage::Write>) -> (), by storage_apply;
});
lend!(catalogue, Catalogue, {
    get(id: String) -> types::Work, by work;
    browse(cursor: Option<String>, limit: u32) -> wit::catalogue::Page, by browse;
    count() -> u64, by count_works;
});
lend!(blobs, Blobs, {
    read(hash: String, offset: u64, len: u32) -> Vec<u8>, by read_blob;
});
lend!(keys, Keys, {
    derive(label: String) -> Vec<u8>, by derive;
    hmac_sha256(secret: String, message: Vec<u8>) -> Vec<u8>, by hmac;
    verify_hmac_sha256(secret: String, message: Vec<u8>, tag: Vec<u8>) -> bool, by verify_hmac;
    sign(label: String, message: Vec<u8>) -> Vec<u8>, by sign;
    public_key(label: String) -> Vec<u8>, by public_key;
    verify(label: String, message: Vec<u8>, signature: Vec<u8>) -> bool, by verify;
    seal(holder: String, context: Vec<u8>, message: Vec<u8>) -> Vec<u8>, by seal;
    unseal(context: Vec<u8>, sealed: Vec<u8>) -> Vec<u8>, by unseal;
});
lend!(discovery, Discovery, {
    search(q: wit::search_types::Query) -> wit::search_types::Results, by search;
    search_peers(q: wit::search_types::Query) -> wit::search_types::Results, by search_peers;
    suggest(prefix: String, limit: u32) -> Vec<String>, by suggest;
});
lend!(peers, Peers, {
    get(id: String) -> wit::peers::Remote, by remote;
});
lend!(commerce, Commerce, {
    seller(work: String) -> wit::commerce::SoldBy, by seller;
    gateways(work: String, offer: String) -> Vec<wit::commerce::Gateway>, by gateways;
    checkout(session: String, work: String, offer: String, key: String) -> wit::commerce::Order, by checkout;
    checkout_in(session: String, work: String, offer: String, key: String, country: String) -> wit::commerce::Order, by checkout_in;
    pay(session: String, order: String, gateway: String, input: Vec<wit::payment_types::Field>) -> wit::payment_types::Step, by pay;
    get_order(session: String, id: String) -> wit::commerce::Order, by order;
    library(session: String) -> Vec<types::Entitlement>, by library;
    bought(session: String, id: String) -> types::Work, by bought;
    delivery_url(session: String, id: String, path: String) -> String, by delivery_url;
    count_purchases(tag: Option<String>, since: Option<String>) -> wit::commerce::Purchases, by count_purchases;
});
lend!(campaigns, Campaigns, {
    running(locale: String) -> Vec<wit::advocacy_types::CampaignSummary>, by running;
    get(id: String, locale: String, audience: Option<String>) -> wit::advocacy_types::Campaign, by campaign;
    targets(id: String, country: String, postcode: String) -> Vec<wit::advocacy_types::Target>, by targets;
    take_part(p: wit::advocacy_types::Participation) -> wit::advocacy_types::Outcome, by take_part;
    press(id: String, format: String, locale: String, audience: String, placement: String) -> types::Document, by press;
});
lend!(mail, Mail, {
    send(m: wit::mail::Message) -> (), by send_mail;
});
lend!(assets, Assets, {
    paths(prefix: String) -> Vec<String>, by asset_paths;
    read(path: String) -> Vec<u8>, by asset;
});

/// The brand and the plugin's own settings need no grant; its secrets do.
impl wit::settings::Host for State {
    async fn get_brand(&mut self) -> wasmtime::Result<wit::settings::Brand> {
        self.enter()?;
        Ok(self.ground.services.brand(&self.caller).await)
    }
    async fn get(&mut self) -> wasmtime::Result<String> {
        self.enter()?;
        Ok(self.ground.services.settings(&self.caller).await)
    }
    async fn secret(&mut self, name: String) -> wasmtime::Result<Lent<String>> {
        self.enter()?;
        if let Err(denied) = self.allowed(Capability::Keys) {
            return Ok(Err(denied));
        }
        Ok(self.ground.services.secret(&self.caller, name).await)
    }
}
