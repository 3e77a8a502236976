//! What is no component, and what would keep the compiler busy or eat the machine's memory. All of it is the business of
//! a child process that can be killed.

use std::sync::Arc;

use anyhow::{Result, bail};
use fondaco_runtime::Compiler;
use fondaco_schemas::PluginKind;
use fondaco_tests::guests;

use crate::Outcome;
use crate::stand::{Lender, Parts, cache, quick, refused, run, runtime_with, search, search_text, spec};

/// Text that is long: `(i32.add (i32.const 1) …)` as one chain.
fn chain(links: usize) -> String {
    format!("(func (result i32) i32.const 0 {})", "i32.const 1 i32.add ".repeat(links))
}

pub fn bomb_of_one_function() -> Result<Outcome> {
    refused(search(&Parts { fields: &chain(800_000), ..Parts::default() })?)
}

pub fn bomb_of_locals() -> Result<Outcome> {
    refused(search(&Parts { fields: &format!("(func (local {}))", "i64 ".repeat(40_000)), ..Parts::default() })?)
}

pub fn bomb_of_functions() -> Result<Outcome> {
    refused(wat::parse_str(format!("(component (core module {}))", "(func)".repeat(300_000)))?)
}

pub fn bomb_of_nested_blocks() -> Result<Outcome> {
    // The text is not parsed by recursion where it is flat: `block` and `end`.
    let deep = format!("(func {} {})", "block ".repeat(100_000), "end ".repeat(100_000));
    // Valid, however deep: refused for what it lacks, since a component must export something.
    let text = format!(
        "(component (core module {deep} (func (export \"x\") (result i32) unreachable)) {})",
        "(core instance (instantiate 0))".repeat(2_000)
    );
    refused(wat::parse_str(text)?)
}

/// Written as bytes: a component within a component within … (Component Model, Binary.md: section 4).
pub fn bomb_of_nested_components() -> Result<Outcome> {
    const HEAD: [u8; 8] = [0, b'a', b's', b'm', 0x0d, 0, 1, 0];
    let mut bytes = HEAD.to_vec();
    for _ in 0..100 {
        let mut outer = HEAD.to_vec();
        outer.push(4);
        outer.extend(leb(bytes.len()));
        outer.extend(&bytes);
        bytes = outer;
    }
    refused(bytes)
}

/// Types that name types: `(list (list (list …)))` by index, each a line of its own.
pub fn bomb_of_nested_types() -> Result<Outcome> {
    let mut text = String::from("(component (type $t0 (list u8))\n");
    for n in 1..100_000 {
        text.extend(["(type $t", &n.to_string(), " (list $t", &(n - 1).to_string(), "))\n"]);
    }
    text.push(')');
    refused(wat::parse_str(text)?)
}

fn leb(mut n: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let low = u8::try_from(n & 0x7f).unwrap_or_default();
        n >>= 7;
        if n == 0 {
            out.push(low);
            return out;
        }
        out.push(low | 0x80);
    }
}

/// Whatever kills the compiler (here: itself) is a refusal of this component.
pub fn compiler_killed() -> Result<Outcome> {
    let component = search(&Parts::default())?;
    run(async {
        let killed =
            Compiler::new("/bin/sh".into(), vec!["-c".into(), "kill -9 $$".into()], cache()?.join("none"), [7; 32]);
        let runtime = runtime_with(killed)?;
        match runtime.load(spec(component, PluginKind::Search, &[], quick(), Arc::new(Lender::default()))).await {
            Err(error) => Ok(Outcome::Refused(error.to_string())),
            Ok(_) => bail!("it was taken in"),
        }
    })
}

pub fn core_module() -> Result<Outcome> {
    refused(wat::parse_str(search_text(&Parts::default()))?)
}

pub fn cut_short() -> Result<Outcome> {
    let whole = guests::component("hostile")?;
    refused(whole.get(..whole.len() / 2).unwrap_or_default().to_vec())
}

pub fn no_bytes() -> Result<Outcome> {
    refused(Vec::new())
}

pub fn no_webassembly() -> Result<Outcome> {
    refused(b"\x7fELF\x02\x01\x01\0 and so on".to_vec())
}
