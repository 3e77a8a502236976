//! What one plugin may use, and the accountant that holds it to that.

use std::collections::BTreeMap;
use std::time::Duration;

use fondaco_schemas::Capability;
use wasmtime::ResourceLimiter;

use crate::budget::Lease;
use crate::engine::{CORE_INSTANCES, MAX_MEMORY};
use crate::rate;

/// The limits of one plugin's calls: what its manifest wishes for, clamped by the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes, summed over all linear memories of an instance; at most [`MAX_MEMORY`].
    pub memory_bytes: usize,
    /// Time spent running, in steps of 2 ms.
    pub deadline: Duration,
    /// Time spent running and waiting.
    pub wall: Duration,
    /// Calls of the node during one call.
    pub host_calls: u32,
    /// Bytes that go from the guest to the node at one crossing: the arguments of one call of the node, or the results
    /// of the call.
    pub output_bytes: usize,
    /// Bytes written to standard output and error during one call; what is more is cut.
    pub log_bytes: usize,
    /// Bytes of all calls' output that reach the log in a minute.
    pub log_bytes_per_minute: u64,
    /// Calls at the same time.
    pub concurrency: usize,
    /// Bytes in the plugin's key-value space.
    pub storage_bytes: u64,
    /// Keys in it.
    pub storage_keys: u64,
    /// Calls of the node a second, by capability; those that are not here have the host's own number.
    pub rates: BTreeMap<Capability, u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: MAX_MEMORY,
            deadline: Duration::from_millis(250),
            wall: Duration::from_secs(10),
            host_calls: 10_000,
            output_bytes: 8 << 20,
            log_bytes: 64 << 10,
            log_bytes_per_minute: 1 << 20,
            // Of the 32 places at each depth, so that one plugin never holds them all.
            concurrency: 12,
            storage_bytes: 0,
            storage_keys: 0,
            rates: BTreeMap::new(),
        }
    }
}

/// The most that a manifest alone gets; the operator may set more.
const MOST_DEADLINE: Duration = Duration::from_secs(2);
const MOST_WALL: Duration = Duration::from_secs(30);
/// One key for so many bytes of storage, where nobody says else.
const BYTES_PER_KEY: u64 = 64;

impl Limits {
    /// What is in force: the host's own numbers, a manifest's wishes within bounds, and what the operator sets, which
    /// holds in both directions. `storage`: the quota that was granted, in bytes.
    pub fn new(wishes: &fondaco_schemas::Limits, operator: &fondaco_schemas::Limits, storage: u64) -> Self {
        let own = Self::default();
        let bytes = |size: fondaco_schemas::ByteSize| usize::try_from(size.get()).unwrap_or(usize::MAX);
        let memory = operator.memory.or(wishes.memory).map_or(own.memory_bytes, bytes);
        let span = |set: Option<fondaco_schemas::Span>, wish: Option<fondaco_schemas::Span>, own: Duration, most| {
            set.map(fondaco_schemas::Span::duration).or(wish.map(|w| w.duration().min(most))).unwrap_or(own)
        };
        // Of these a manifest may wish for less, never for more.
        let less = |set: Option<u64>, wish: Option<u64>, own: u64| set.unwrap_or(wish.map_or(own, |w| w.min(own)));
        let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        let keys = storage / BYTES_PER_KEY + 1;
        let log = |l: &fondaco_schemas::Limits| l.log.map(fondaco_schemas::ByteSize::get);
        let concurrency = |l: &fondaco_schemas::Limits| l.concurrency.map(u64::from);
        let mut rates = wishes.rate.clone();
        rates.retain(|capability, rate| *rate < rate::usual(*capability));
        rates.extend(&operator.rate);
        Self {
            memory_bytes: memory.min(MAX_MEMORY),
            deadline: span(operator.deadline, wishes.deadline, own.deadline, MOST_DEADLINE),
            wall: span(operator.wall, wishes.wall, own.wall, MOST_WALL),
            host_calls: number(less(
                operator.host_calls.map(u64::from),
                wishes.host_calls.map(u64::from),
                own.host_calls.into(),
            )),
            concurrency: number(less(concurrency(operator), concurrency(wishes), own.concurrency as u64)) as usize,
            log_bytes_per_minute: less(log(operator), log(wishes), own.log_bytes_per_minute),
            storage_bytes: storage,
            storage_keys: less(operator.keys, wishes.keys, keys),
            rates,
            ..own
        }
    }
}

/// Counts what one instance takes. wasmtime asks for each memory and table by itself, so the sums are kept here.
pub(crate) struct Accountant {
    pub memory_limit: usize,
    pub memory: usize,
    pub table_elements: usize,
    /// Refusals by its own limit.
    pub refused: u32,
    /// Refusals since the memory of all guests was used up.
    pub refused_shared: u32,
    /// Whether another plugin had more than this one then.
    pub outdone: bool,
    pub lease: Lease,
}

impl Accountant {
    pub fn new(memory_limit: usize, lease: Lease) -> Self {
        Self { memory_limit, memory: 0, table_elements: 0, refused: 0, refused_shared: 0, outdone: false, lease }
    }
}

const TABLE_ELEMENTS: usize = 20_000;

impl ResourceLimiter for Accountant {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let sum = self.memory.saturating_sub(current).saturating_add(desired);
        if sum > self.memory_limit {
            self.refused += 1;
            return Ok(false);
        }
        if !self.lease.grow_to(sum) {
            self.refused_shared += 1;
            self.outdone |= self.lease.is_outdone();
            return Ok(false);
        }
        self.memory = sum;
        Ok(true)
    }
    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let sum = self.table_elements.saturating_sub(current).saturating_add(desired);
        if sum > TABLE_ELEMENTS {
            self.refused += 1;
            return Ok(false);
        }
        self.table_elements = sum;
        Ok(true)
    }
    fn instances(&self) -> usize {
        CORE_INSTANCES as usize
    }
    fn memories(&self) -> usize {
        2
    }
    fn tables(&self) -> usize {
        8
    }
}

#[cfg(test)]
mod tests {
    use fondaco_schemas::{ByteSize, Limits as Set, Span};

    use super::*;
    use crate::budget::Budget;

    #[test]
    fn a_wish_is_a_wish_and_the_operators_word_holds() {
        let wishes = Set {
            memory: Some(ByteSize::mib(8)),
            deadline: Some(Span::secs(60)),
            wall: Some(Span::secs(600)),
            host_calls: Some(1_000_000),
            concurrency: Some(1_000),
            keys: Some(u64::MAX),
            log: Some(ByteSize::mib(100)),
            rate: [(Capability::Mail, 1_000), (Capability::Storage, 5)].into(),
        };
        let own = Limits::default();
        let limits = Limits::new(&wishes, &Set::default(), 6_400);
        assert_eq!((limits.memory_bytes, limits.deadline, limits.wall), (8 << 20, MOST_DEADLINE, MOST_WALL));
        assert_eq!((limits.host_calls, limits.concurrency), (own.host_calls, own.concurrency));
        assert_eq!((limits.log_bytes_per_minute, limits.storage_keys), (own.log_bytes_per_minute, 101));
        assert_eq!(limits.rates, [(Capability::Storage, 5)].into(), "less is granted, more is not");
        let limits = Limits::new(&Set::default(), &wishes, 6_400);
        assert_eq!((limits.deadline, limits.wall), (Duration::from_mins(1), Duration::from_mins(10)));
        assert_eq!((limits.host_calls, limits.concurrency, limits.storage_keys), (1_000_000, 1_000, u64::MAX));
        assert_eq!((limits.log_bytes_per_minute, limits.rates), (100 << 20, wishes.rate));
        let much = Set { memory: Some(ByteSize::mib(4_096)), ..Set::default() };
        assert_eq!(Limits::new(&much, &much, 0).memory_bytes, MAX_MEMORY, "the pool has an end");
        assert_eq!(Limits::new(&Set::default(), &Set::default(), 0), Limits { storage_keys: 1, ..own });
    }

    #[tokio::test]
    async fn memory_is_summed_over_all_memories() {
        let budget = Budget::new(120);
        let mut a = Accountant::new(100, budget.share().lease(0).await);
        assert!(a.memory_growing(0, 60, None).unwrap());
        assert!(a.memory_growing(0, 40, None).unwrap(), "a second memory up to the limit");
        assert!(!a.memory_growing(60, 61, None).unwrap(), "one byte over the sum");
        assert!(!a.memory_growing(0, usize::MAX, None).unwrap());
        assert_eq!((a.refused, a.refused_shared), (2, 0));
        let mut b = Accountant::new(100, a.lease.share().lease(0).await);
        assert!(!b.memory_growing(0, 21, None).unwrap(), "the two together");
        assert!(b.memory_growing(0, 20, None).unwrap());
        assert_eq!((b.refused, b.refused_shared), (0, 1));
    }

    #[tokio::test]
    async fn table_elements_are_summed_over_all_tables() {
        let budget = Budget::new(1);
        let mut a = Accountant::new(1, budget.share().lease(0).await);
        assert!(a.table_growing(0, TABLE_ELEMENTS / 2, None).unwrap());
        assert!(a.table_growing(0, TABLE_ELEMENTS / 2, None).unwrap(), "a second table up to the limit");
        assert!(
            !a.table_growing(TABLE_ELEMENTS / 2, TABLE_ELEMENTS / 2 + 1, None).unwrap(),
            "one element over the sum"
        );
        assert!(!a.table_growing(0, usize::MAX, None).unwrap());
        assert_eq!((a.table_elements, a.refused), (TABLE_ELEMENTS, 2));
    }
}
