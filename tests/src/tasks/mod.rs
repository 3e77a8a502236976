//! The project's own tasks: what stands behind `cargo demo`, `cargo verify` and `cargo figures`.

pub mod demo;
pub mod figures;
mod steps;
pub mod verify;
