//! Gives back what it got, with the first and the last byte inverted. `tests/guests/echo` does the same.

use extism_pdk::*;

/// The bytes, touched.
#[plugin_fn]
pub fn echo(mut bytes: Vec<u8>) -> FnResult<Vec<u8>> {
    if let [first, .., last] = bytes.as_mut_slice() {
        (*first, *last) = (!*first, !*last);
    }
    Ok(bytes)
}
