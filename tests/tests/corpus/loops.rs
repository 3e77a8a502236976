//! Loops in every place where a component's code runs, and waiting without end.

use anyhow::{Result, ensure};

use crate::Outcome;
use crate::stand::{Parts, quick, refused, search, stopped, stopped_guest};

const FOREVER: &str = "(loop br 0)";

pub fn loop_in_export() -> Result<Outcome> {
    stopped_guest("spin", quick())
}

pub fn loop_in_start() -> Result<Outcome> {
    refused(search(&Parts { fields: &format!("(func $s {FOREVER}) (start $s)"), ..Parts::default() })?)
}

pub fn loop_in_initialize() -> Result<Outcome> {
    refused(search(&Parts { fields: &format!("(func (export \"_initialize\") {FOREVER})"), ..Parts::default() })?)
}

pub fn loop_in_realloc() -> Result<Outcome> {
    stopped(search(&Parts { realloc: FOREVER, ..Parts::default() })?, "any text", quick())
}

pub fn loop_in_post_return() -> Result<Outcome> {
    let clean =
        format!("(func (export \"cabi_post_fondaco:plugin/search-provider@0.2.0#find\") (param i32) {FOREVER})");
    stopped(search(&Parts { fields: &clean, ..Parts::default() })?, "any text", quick())
}

pub fn bulk_operations() -> Result<Outcome> {
    let fill = "(loop (memory.fill (i32.const 65536) (i32.const 7) (i32.const 33488896)) br 0) i32.const 1024";
    stopped(search(&Parts { memory: "512", find: fill, ..Parts::default() })?, "any text", quick())
}

pub fn park_in_a_call_of_the_node() -> Result<Outcome> {
    let parts = Parts {
        imports: r#"(import "fondaco:plugin/storage@0.2.0" "get" (func $get (param i32 i32 i32)))"#,
        fields: r#"(data (i32.const 2048) "park")"#,
        find: "(call $get (i32.const 2048) (i32.const 4) (i32.const 3072)) i32.const 1024",
        ..Parts::default()
    };
    let started = std::time::Instant::now();
    let outcome = stopped(search(&parts)?, "any text", quick())?;
    ensure!(started.elapsed() < std::time::Duration::from_mins(1), "{:?}", started.elapsed());
    Ok(outcome)
}

pub fn park_in_a_sleep() -> Result<Outcome> {
    stopped_guest("sleep", quick())
}
