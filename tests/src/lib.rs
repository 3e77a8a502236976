//! Whole-node tests, benchmarks and the project's own tasks. Everything here drives the real programs from the outside, as
//! an operator, a plugin author or a visitor would.

pub mod book;
pub mod bundles;
pub mod guests;
pub mod html;
pub mod http;
pub mod node;
pub mod program;
pub mod reference;
pub mod reloads;
pub mod tasks;
pub mod tools;
pub mod visitor;
pub mod workspace;
