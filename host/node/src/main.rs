//! The fondaco node and its command line.
fn main() {}
