//! Whole-node tests, benchmarks and the project's own tasks
