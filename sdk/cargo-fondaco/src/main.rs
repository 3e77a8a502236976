//! Make, build, pack, sign and verify Fondaco plugins.
fn main() {}
