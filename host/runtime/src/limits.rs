//! What one plugin may use, and the accountant that holds it to that.

use std::time::Duration;

use wasmtime::ResourceLimiter;

use crate::engine::MAX_MEMORY;

/// The limits of one plugin's calls: what its manifest wishes for, clamped by the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes, summed over all linear memories of an instance; at most [`MAX_MEMORY`].
    pub memory_bytes: usize,
    /// Time spent running, in steps of 10 ms.
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
    /// Calls at the same time.
    pub concurrency: usize,
    /// Bytes in the plugin's key-value space.
    pub storage_bytes: u64,
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
            // Of the 32 places at each depth, so that one plugin never holds them all.
            concurrency: 12,
            storage_bytes: 0,
        }
    }
}

/// Counts what one instance takes. wasmtime asks for each memory and table by itself, so the sums are kept here.
pub(crate) struct Accountant {
    pub memory_limit: usize,
    pub memory: usize,
    pub table_elements: usize,
    pub refused: u32,
}

const TABLE_ELEMENTS: usize = 20_000;

impl ResourceLimiter for Accountant {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let sum = self.memory.saturating_sub(current).saturating_add(desired);
        if sum > self.memory_limit {
            self.refused += 1;
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
        16
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
    use super::*;

    #[test]
    fn memory_is_summed_over_all_memories() {
        let mut a = Accountant { memory_limit: 100, memory: 0, table_elements: 0, refused: 0 };
        assert!(a.memory_growing(0, 60, None).unwrap());
        assert!(a.memory_growing(0, 40, None).unwrap(), "a second memory up to the limit");
        assert!(!a.memory_growing(60, 61, None).unwrap(), "one byte over the sum");
        assert!(!a.memory_growing(0, usize::MAX, None).unwrap());
        assert_eq!(a.refused, 2);
    }
}
