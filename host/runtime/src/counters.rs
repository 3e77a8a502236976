//! What became of a plugin's calls, as the operator sees it: `/metrics`, `fondaco plugin info` and the audit trail read
//! it, the runtime counts. Counting never fails, never waits for long and never decides anything.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fondaco_schemas::Capability;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// The plugin answered, be it with an error of its own.
    Answered,
    /// It trapped by itself.
    Trap,
    /// It trapped after it was refused memory or table elements.
    Memory,
    /// It ran for too long.
    Deadline,
    /// It ran and waited for too long.
    Wall,
    /// It called the node too often.
    HostCalls,
    /// It ended without an answer.
    NoAnswer,
    /// The caller left before it answered.
    Abandoned,
    /// It was not started: no instance became free.
    Overloaded,
    /// It was not started: the breaker is open.
    Unavailable,
}

impl Ending {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Answered,
        Self::Trap,
        Self::Memory,
        Self::Deadline,
        Self::Wall,
        Self::HostCalls,
        Self::NoAnswer,
        Self::Abandoned,
        Self::Overloaded,
        Self::Unavailable,
    ];

    /// Its name in metrics and in the audit trail.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Trap => "trap",
            Self::Memory => "memory",
            Self::Deadline => "deadline",
            Self::Wall => "wall",
            Self::HostCalls => "host-calls",
            Self::NoAnswer => "no-answer",
            Self::Abandoned => "abandoned",
            Self::Overloaded => "overloaded",
            Self::Unavailable => "unavailable",
        }
    }

    /// Did the plugin fail, rather than answer or never run?
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Trap | Self::Memory | Self::Deadline | Self::Wall | Self::HostCalls | Self::NoAnswer)
    }
}

/// Upper bounds of the histograms' buckets, in seconds; a last one has none.
pub const BUCKETS: [f64; 13] =
    [0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.001, 0.002_5, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0];

/// Times by bucket, as Prometheus counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// How many fell into each bucket, not cumulated; the last is for those above all bounds.
    pub counts: [u64; BUCKETS.len() + 1],
    /// All of them together.
    pub sum: Duration,
}

impl Histogram {
    fn add(&mut self, time: Duration) {
        let seconds = time.as_secs_f64();
        let place = BUCKETS.iter().position(|bound| seconds <= *bound).unwrap_or(BUCKETS.len());
        if let Some(count) = self.counts.get_mut(place) {
            *count += 1;
        }
        self.sum = self.sum.saturating_add(time);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// The calls of one function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FunctionCounts {
    endings: [u64; Ending::ALL.len()],
    /// How long those took that were started, without the wait for an instance.
    pub took: Histogram,
}

impl FunctionCounts {
    /// How many calls ended so.
    pub fn ended(&self, ending: Ending) -> u64 {
        self.endings.get(ending as usize).copied().unwrap_or(0)
    }
}

#[derive(Default)]
struct Calls {
    functions: BTreeMap<&'static str, FunctionCounts>,
    waits: Histogram,
}

/// Counts for one plugin, from when it was started.
#[derive(Default)]
pub struct Counters {
    calls: Mutex<Calls>,
    denied: [AtomicU64; Capability::ALL.len()],
    throttled: [AtomicU64; Capability::ALL.len()],
    peak_memory: AtomicU64,
    running_ticks: AtomicU64,
    log_bytes: AtomicU64,
    log_bytes_dropped: AtomicU64,
    openings: AtomicU64,
    quarantines: AtomicU64,
}

/// The counts at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// By the name of the function.
    pub functions: BTreeMap<&'static str, FunctionCounts>,
    /// How long calls waited for an instance.
    pub waits: Histogram,
    /// Calls of the node that were refused since the capability was not granted; none where it is not listed.
    pub denied: BTreeMap<Capability, u64>,
    /// Calls of the node that were refused since there were too many in a second.
    pub throttled: BTreeMap<Capability, u64>,
    /// The most memory that one instance had, in bytes.
    pub peak_memory: u64,
    /// Ticks of 2 ms that were begun while it ran.
    pub running_ticks: u64,
    /// Bytes that it printed and that reached the log.
    pub log_bytes: u64,
    /// Bytes that it printed and that were dropped.
    pub log_bytes_dropped: u64,
    /// How often its circuit breaker opened.
    pub openings: u64,
    /// How often that was a quarantine: once, or never.
    pub quarantines: u64,
}

impl Counted {
    /// Calls that ended so, of all functions.
    pub fn ended(&self, ending: Ending) -> u64 {
        self.functions.values().map(|f| f.ended(ending)).sum()
    }
    /// Calls that were started.
    pub fn calls(&self) -> u64 {
        let not_started = |e: &Ending| matches!(e, Ending::Overloaded | Ending::Unavailable);
        Ending::ALL.into_iter().filter(|e| !not_started(e)).map(|e| self.ended(e)).sum()
    }
    /// Calls in which the plugin trapped, was killed or gave no answer.
    pub fn failures(&self) -> u64 {
        Ending::ALL.into_iter().filter(|e| e.is_failure()).map(|e| self.ended(e)).sum()
    }
}

impl Counters {
    pub(crate) fn ended(&self, function: &'static str, ending: Ending, took: Option<Duration>) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = calls.functions.entry(function).or_default();
        if let Some(count) = counts.endings.get_mut(ending as usize) {
            *count += 1;
        }
        if let Some(took) = took {
            counts.took.add(took);
        }
    }
    pub(crate) fn waited(&self, time: Duration) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).waits.add(time);
    }
    pub(crate) fn denied(&self, capability: Capability) {
        if let Some(count) = self.denied.get(capability as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
    pub(crate) fn throttled(&self, capability: Capability) {
        if let Some(count) = self.throttled.get(capability as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
    pub(crate) fn used(&self, memory_bytes: usize, ticks: u64) {
        self.peak_memory.fetch_max(memory_bytes as u64, Ordering::Relaxed);
        if ticks > 0 {
            self.running_ticks.fetch_add(ticks, Ordering::Relaxed);
        }
    }
    pub(crate) fn logged(&self, bytes: usize, dropped: usize) {
        self.log_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.log_bytes_dropped.fetch_add(dropped as u64, Ordering::Relaxed);
    }
    pub(crate) fn opened(&self, is_quarantine: bool) {
        self.openings.fetch_add(1, Ordering::Relaxed);
        self.quarantines.fetch_add(u64::from(is_quarantine), Ordering::Relaxed);
    }

    /// The counts now.
    pub fn now(&self) -> Counted {
        let by_capability = |counts: &[AtomicU64]| {
            let counted = Capability::ALL.into_iter().zip(counts).map(|(c, n)| (c, n.load(Ordering::Relaxed)));
            counted.filter(|(_, n)| *n > 0).collect()
        };
        let (functions, waits) = {
            let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
            (calls.functions.clone(), calls.waits)
        };
        Counted {
            functions,
            waits,
            denied: by_capability(&self.denied),
            throttled: by_capability(&self.throttled),
            peak_memory: self.peak_memory.load(Ordering::Relaxed),
            running_ticks: self.running_ticks.load(Ordering::Relaxed),
            log_bytes: self.log_bytes.load(Ordering::Relaxed),
            log_bytes_dropped: self.log_bytes_dropped.load(Ordering::Relaxed),
            openings: self.openings.load(Ordering::Relaxed),
            quarantines: self.quarantines.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ending_and_capability_has_a_place_of_its_own() {
        let counters = Counters::default();
        for (n, ending) in Ending::ALL.into_iter().enumerate() {
            for _ in 0..=n {
                counters.ended("find", ending, None);
            }
        }
        for (n, capability) in Capability::ALL.into_iter().enumerate() {
            for _ in 0..=n {
                counters.denied(capability);
            }
        }
        let now = counters.now();
        for (n, ending) in Ending::ALL.into_iter().enumerate() {
            assert_eq!(now.ended(ending), n as u64 + 1, "{}", ending.as_str());
        }
        for (n, capability) in Capability::ALL.into_iter().enumerate() {
            assert_eq!(now.denied.get(&capability), Some(&(n as u64 + 1)), "{capability}");
        }
        assert_eq!(now.failures(), 2 + 3 + 4 + 5 + 6 + 7);
        assert_eq!(now.calls(), 1 + now.failures() + 8);
    }

    #[test]
    fn a_time_on_a_bound_falls_below_it() {
        let mut histogram = Histogram::default();
        for micros in [0, 25, 26, 10_000_000, 10_000_001] {
            histogram.add(Duration::from_micros(micros));
        }
        assert_eq!(histogram.counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!((histogram.count(), histogram.sum), (5, Duration::from_micros(20_000_052)));
    }
}
