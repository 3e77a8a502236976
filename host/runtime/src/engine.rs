//! The engine that all plugins share: which WebAssembly is allowed, how instances are pooled, and the clock that stops
//! loops. The reasons for each number are in `host/decisions/engine.md`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use crate::budget::Budget;
use crate::error::LoadError;
use crate::lane::Lane;

/// How often a running guest is looked at.
pub(crate) const TICK: Duration = Duration::from_millis(2);
/// The most memory that one instance can have, whatever a manifest asks for.
pub const MAX_MEMORY: usize = 64 << 20;
/// Plugins calling plugins: a storefront may ask for a search, and no deeper.
pub const MAX_DEPTH: u8 = 2;
const SLOTS: u32 = 128;
/// Core modules that one component may be made of. A Rust plugin is 1 to 4, a JavaScript one 4, a Python one 14 (the
/// interpreter's shared libraries); see `host/decisions/languages.md`.
pub(crate) const CORE_INSTANCES: u32 = 32;

/// The engine, with the permits that stand before its pool (which fails rather than waits).
#[derive(Clone)]
pub(crate) struct Shared {
    pub engine: Engine,
    /// By call depth, so that a storefront that waits for a search never holds the last instance.
    permits: [Arc<Semaphore>; MAX_DEPTH as usize],
    /// Threads for calls that compute for long.
    pub lane: Lane,
    /// The memory of all guests.
    pub budget: Budget,
}

impl Shared {
    pub fn new(memory_bytes: usize) -> Result<Self, LoadError> {
        let mut config = config();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool()));
        let engine = Engine::new(&config).map_err(|e| LoadError::Engine(format!("{e:#}")))?;
        let weak = engine.weak();
        std::thread::Builder::new()
            .name("epochs".into())
            .spawn(move || {
                while let Some(engine) = weak.upgrade() {
                    engine.increment_epoch();
                    drop(engine);
                    std::thread::sleep(TICK);
                }
            })
            .map_err(|e| LoadError::Engine(e.to_string()))?;
        let lane = Lane::new().map_err(|e| LoadError::Engine(e.to_string()))?;
        // Half of the instances that the pool holds.
        let places = || Arc::new(Semaphore::new(SLOTS as usize / 4));
        Ok(Self { engine, permits: [places(), places()], lane, budget: Budget::new(memory_bytes) })
    }

    pub fn permits(&self, depth: u8) -> Option<Arc<Semaphore>> {
        self.permits.get(usize::from(depth)).cloned()
    }
}

/// What the code is compiled for. The compiling child and the node must agree on it to the last setting.
pub(crate) fn config() -> Config {
    let mut config = Config::new();
    config
        .concurrency_support(false)
        .wasm_gc(false)
        .wasm_function_references(false)
        .wasm_exceptions(false)
        .wasm_threads(false)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_tail_call(false)
        .wasm_relaxed_simd(false)
        .wasm_wide_arithmetic(false)
        .epoch_interruption(true)
        .max_wasm_stack(512 << 10)
        .async_stack_size(2 << 20)
        .async_stack_zeroing(true)
        .cranelift_opt_level(OptLevel::Speed)
        .cranelift_nan_canonicalization(true)
        .memory_reservation(MAX_MEMORY as u64)
        .memory_guard_size(64 << 10)
        .guard_before_linear_memory(true)
        .wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Disable);
    config
}

fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(SLOTS / 2)
        .total_core_instances(SLOTS / 2 * CORE_INSTANCES)
        .total_memories(SLOTS)
        .total_tables(SLOTS * 2)
        .total_stacks(SLOTS / 2)
        .max_memory_size(MAX_MEMORY)
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(2)
        .max_tables_per_component(4)
        .max_tables_per_module(2)
        .max_memories_per_module(1)
        .table_elements(10_000)
        .max_component_instance_size(1 << 20)
        .max_core_instance_size(1 << 20)
        .linear_memory_keep_resident(1 << 20)
        .table_keep_resident(16 << 10)
        // The pages of a stack that most calls use: cleared by hand they stay, where the system would take them away and
        // each call would fault for them anew. What is below is still the system's to clear.
        .async_stack_keep_resident(64 << 10)
        .max_unused_warm_slots(SLOTS / 2)
        .pagemap_scan(Enabled::Auto);
    pool
}
