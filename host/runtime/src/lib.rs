//! Bundles into running plugins: wasmtime, limits, capabilities, instances
