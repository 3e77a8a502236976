//! A look at a component before it is compiled. A compiler's work is not linear in its input: one function of 2.4 MiB
//! took it 12 GiB of memory. The compiling child calls this first, so that such a component is refused in milliseconds and
//! with a sentence. It never decides whether the component is valid: that is the compiler's business.

use wasmparser::{Encoding, Parser, Payload};

/// The longest body of one function, in bytes. 480 KiB of the worst that is known take 9 s and 1 GiB; the largest
/// functions of interpreters that are compiled to WebAssembly have some 300 KiB.
pub(crate) const MAX_BODY: usize = 512 << 10;
/// The most local variables of one function.
pub(crate) const MAX_LOCALS: u64 = 20_000;
/// Components within components.
pub(crate) const MAX_DEPTH: usize = 8;
/// The most functions with a body, in all modules of the component.
pub(crate) const MAX_FUNCTIONS: usize = 200_000;

/// Refuses what would cost the compiler more than it may.
pub(crate) fn scan(bytes: &[u8]) -> Result<(), String> {
    // The parser's own words for this are about its position and a list of bytes.
    if !bytes.starts_with(b"\0asm") {
        return Err("it is no WebAssembly: a component begins with the bytes 00 61 73 6d".into());
    }
    let (mut functions, mut depth) = (0_usize, 0_usize);
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|e| format!("it is cut short or no WebAssembly: {e}"))? {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                return Err("it is a core module and no component: build it for wasm32-wasip2, or wrap it with `wasm-tools component new`".into());
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(format!("it nests components more than {MAX_DEPTH} deep: its author must flatten it"));
                }
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CodeSectionEntry(body) => {
                functions += 1;
                if functions > MAX_FUNCTIONS {
                    return Err(format!("it has more than {MAX_FUNCTIONS} functions: its author must leave some out"));
                }
                let size = body.range().len();
                if size > MAX_BODY {
                    return Err(format!(
                        "one of its functions has {size} bytes, and at most {MAX_BODY} are compiled: its author must split it"
                    ));
                }
                let locals = locals(&body).map_err(|e| format!("it is no WebAssembly: {e}"))?;
                if locals > MAX_LOCALS {
                    return Err(format!(
                        "one of its functions has {locals} local variables, and at most {MAX_LOCALS} are compiled: its author must split it"
                    ));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn locals(body: &wasmparser::FunctionBody<'_>) -> wasmparser::Result<u64> {
    body.get_locals_reader()?.into_iter().try_fold(0, |sum: u64, group| Ok(sum.saturating_add(group?.0.into())))
}
