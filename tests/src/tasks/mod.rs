//! The project's own tasks: what stands behind `cargo demo`, `cargo verify`, `cargo figures` and `cargo lab`.

pub mod demo;
pub mod figures;
pub mod lab;
mod steps;
pub mod verify;
