//! `extism-bench <guest.wasm>`: what a call of an Extism plugin costs, as JSON lines. `host/runtime/benches/echo.rs`
//! measures ours in the same way: medians of single calls, over a second for each row, on one thread.

use std::hint::black_box;
use std::time::{Duration, Instant};

use extism::{CompiledPlugin, Error, Manifest, Plugin, PluginBuilder, Wasm};

/// Payloads, in bytes.
const SIZES: [usize; 3] = [0, 1 << 10, 64 << 10];
const STRETCH: Duration = Duration::from_secs(1);

/// The median of calls, in nanoseconds. The first tenth of the time is not counted.
fn median(mut call: impl FnMut() -> Result<(), Error>) -> Result<u128, Error> {
    let (began, mut times) = (Instant::now(), Vec::new());
    while began.elapsed() < STRETCH {
        let started = Instant::now();
        call()?;
        let took = started.elapsed();
        if began.elapsed() > STRETCH / 10 {
            times.push(took.as_nanos());
        }
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

fn echo(plugin: &mut Plugin, payload: &[u8]) -> Result<(), Error> {
    let answer: Vec<u8> = plugin.call("echo", payload)?;
    let is_touched = answer.last().map(|byte| !byte) == payload.last().copied();
    assert!(is_touched && black_box(&answer).len() == payload.len(), "another answer");
    Ok(())
}

fn main() -> Result<(), Error> {
    let guest = std::env::args().nth(1).ok_or_else(|| Error::msg("name the guest"))?;
    // Reading files itself is one of the features that are left out.
    let manifest = Manifest::new([Wasm::data(std::fs::read(guest)?)]);
    let compiled: CompiledPlugin = PluginBuilder::new(manifest).with_wasi(false).compile()?;
    for bytes in SIZES {
        let payload = vec![7; bytes];
        let mut kept = Plugin::new_from_compiled(&compiled)?;
        let ns = median(|| echo(&mut kept, &payload))?;
        println!("{{\"instance\":\"kept\",\"bytes\":{bytes},\"ns\":{ns}}}");
        let ns = median(|| echo(&mut Plugin::new_from_compiled(&compiled)?, &payload))?;
        println!("{{\"instance\":\"fresh\",\"bytes\":{bytes},\"ns\":{ns}}}");
    }
    Ok(())
}
