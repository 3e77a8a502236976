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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(inner: &str, words: &str) {
        let refused = scan(&component(inner)).unwrap_err();
        assert!(refused.contains(words), "{refused}");
    }

    fn component(inner: &str) -> Vec<u8> {
        wat::parse_str(format!("(component {inner})")).unwrap()
    }

    #[test]
    fn a_component_is_none_without_its_wrapping() {
        let module = wat::parse_str("(module (func))").unwrap();
        assert!(scan(&module).unwrap_err().contains("wasm-tools component new"));
        assert_eq!(scan(&component("(core module (func))")), Ok(()), "but it consists of modules");
        let cut = component("(core module (func))");
        assert!(scan(cut.get(..cut.len() - 3).unwrap()).unwrap_err().contains("cut short"));
        assert!(scan(b"no WebAssembly").unwrap_err().contains("no WebAssembly"));
    }

    #[test]
    fn components_nest_eight_deep_and_no_deeper() {
        let nested = |depth: usize| "(component ".repeat(depth) + &")".repeat(depth);
        assert_eq!(scan(&component(&nested(MAX_DEPTH))), Ok(()));
        check(&nested(MAX_DEPTH + 1), "more than 8 deep");
        check(
            &format!("{}(core module){}", "(component ".repeat(MAX_DEPTH), ")".repeat(MAX_DEPTH)),
            "more than 8 deep",
        );
        assert_eq!(scan(&component(&"(core module)(component)".repeat(20))), Ok(()), "side by side they may be many");
    }

    #[test]
    fn functions_are_counted_over_all_modules() {
        let modules = |more: usize| {
            let half = "(func)".repeat(MAX_FUNCTIONS / 2);
            format!("(core module {half})(core module {half}{})", "(func)".repeat(more))
        };
        assert_eq!(scan(&component(&modules(0))), Ok(()));
        check(&modules(1), "more than 200000 functions");
    }

    #[test]
    fn a_function_is_as_long_as_the_limit_and_no_longer() {
        // Beside its instructions a body has a byte for its locals and one for its end.
        let body = |bytes: usize| format!("(core module (func {}))", "nop ".repeat(bytes - 2));
        assert_eq!(scan(&component(&body(MAX_BODY))), Ok(()));
        check(&body(MAX_BODY + 1), "has 524289 bytes, and at most 524288 are compiled");
    }

    #[test]
    fn local_variables_are_counted_over_all_their_types() {
        let locals = |i64s: usize| {
            let (i32s, i64s) = (" i32".repeat(10_000), " i64".repeat(i64s));
            format!("(core module (func (local{i32s}{i64s})))")
        };
        assert_eq!(scan(&component(&locals(10_000))), Ok(()));
        check(&locals(10_001), "has 20001 local variables, and at most 20000 are compiled");
    }
}
