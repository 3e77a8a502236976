//! Whole pages, as a browser gets them.

mod fixture;
mod flows;
mod structure;
