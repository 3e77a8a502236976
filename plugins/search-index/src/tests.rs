//! The whole index against plain models of it.

mod crash;
mod model;
mod pages;
mod words;
