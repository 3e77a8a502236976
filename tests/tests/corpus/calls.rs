//! What crosses the boundary between a plugin and the node: arguments, results, handles, prints and calls back.

use std::io::Write;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, bail, ensure};
use fondaco_runtime::{CallError, Limits};
use fondaco_schemas::{Capability, PluginKind};
use fondaco_tests::guests;

use crate::Outcome;
use crate::stand::{Lender, Parts, find, load, patient, quick, run, runtime, search, spec, stopped, stopped_guest};

fn small() -> Limits {
    Limits { output_bytes: 1 << 20, ..patient() }
}

pub fn flood_of_calls() -> Result<Outcome> {
    stopped_guest("host-calls", Limits { host_calls: 50, ..patient() })
}

pub fn giant_argument() -> Result<Outcome> {
    stopped_guest("huge-argument", small())
}

pub fn giant_result() -> Result<Outcome> {
    stopped_guest("huge-result", small())
}

pub fn giant_list() -> Result<Outcome> {
    stopped_guest("many-hits", patient())
}

/// A provider whose answer lies at 4096, written there by these stores.
fn answers(stores: &str) -> Result<Outcome> {
    let body = format!("{stores} i32.const 4096");
    stopped(search(&Parts { find: &body, ..Parts::default() })?, "any text", quick())
}

// An answer is a case (0: it went well), and from byte 8 on the hits as address and number.

pub fn list_longer_than_memory() -> Result<Outcome> {
    answers("(i32.store (i32.const 4104) (i32.const 8)) (i32.store (i32.const 4108) (i32.const 0x10000000))")
}

pub fn result_outside_memory() -> Result<Outcome> {
    stopped(search(&Parts { find: "i32.const 0x7ffffff8", ..Parts::default() })?, "any text", quick())
}

/// An error of the first case, whose text is the byte 0xff.
pub fn result_that_is_no_text() -> Result<Outcome> {
    answers(
        "(i32.store8 (i32.const 4096) (i32.const 1)) (i32.store8 (i32.const 5000) (i32.const 255))
         (i32.store (i32.const 4108) (i32.const 5000)) (i32.store (i32.const 4112) (i32.const 1))
         (i32.store8 (i32.const 4104) (i32.const 0))",
    )
}

pub fn result_of_no_case() -> Result<Outcome> {
    answers("(i32.store8 (i32.const 4096) (i32.const 77))")
}

pub fn handle_leak() -> Result<Outcome> {
    stopped_guest("handles", patient())
}

pub fn panic_on_purpose() -> Result<Outcome> {
    stopped_guest("panic", quick())
}

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody panicked").extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What the node's log holds after a plugin printed as much as it could.
fn printed() -> Result<String> {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber)?;
    run(async {
        let plugin = load(guests::component("hostile")?, patient()).await?;
        ensure!(find(&plugin, "log-flood").await? == ["flooded"], "printing failed");
        Ok(())
    })?;
    let bytes = log.0.lock().expect("nobody panicked").clone();
    Ok(String::from_utf8(bytes)?)
}

pub fn log_flood() -> Result<Outcome> {
    let log = printed()?;
    let line = log.lines().find(|l| l.contains("cut what the plugin printed")).context("nothing was dropped")?;
    let dropped = line.split("dropped=").nth(1).and_then(|d| d.split(' ').next()).context("how much is not said")?;
    ensure!(dropped.parse::<usize>()? > 3_000_000, "{line}");
    // What is kept, and the head of each line.
    ensure!(log.len() < 256 << 10, "{} bytes reached the log", log.len());
    Ok(Outcome::Harmless(format!("{dropped} bytes dropped, {} in the log", log.len())))
}

pub fn log_forging() -> Result<Outcome> {
    let log = printed()?;
    let commands = log.chars().filter(|c| c.is_control() && *c != '\n').count();
    ensure!(commands == 0, "{commands} control characters reached the log");
    // Every line is the node's own: a time first, and the plugin's words in their place.
    let forged = log.lines().filter(|l| l.starts_with("forged") || l.starts_with(' ') || l.is_empty()).count();
    ensure!(log.contains("\\u{1b}[2J forged\\u{d}"), "what was printed is not shown");
    Ok(Outcome::Harmless(format!("{forged} forged lines")))
}

/// Asks the node for a search, whatever it is asked, and passes on what comes of it.
fn asks_back() -> Result<Vec<u8>> {
    search(&Parts {
        imports: r#"(import "fondaco:plugin/discovery@0.2.0" "search" (func $search (param i32 i32)))"#,
        find: "(call $search (local.get 0) (i32.const 4096)) i32.const 1024",
        ..Parts::default()
    })
}

fn reenters(with_another: bool) -> Result<Outcome> {
    let component = asks_back()?;
    run(async {
        let (a, b) = (Arc::new(Lender::default()), Arc::new(Lender::default()));
        let load = |lender: &Arc<Lender>| {
            let services: Arc<dyn fondaco_runtime::Services> = lender.clone();
            spec(component.clone(), PluginKind::Search, &[Capability::Discovery], quick(), services)
        };
        let runtime = runtime()?;
        let (first, second) = (runtime.load(load(&a)).await?, runtime.load(load(&b)).await?);
        let _ = a.asks.set(if with_another { second.clone() } else { first.clone() });
        let _ = b.asks.set(first.clone());
        find(&first, "any text").await?;
        let ended = a.ended.get().or(b.ended.get()).context("nothing stopped it")?;
        // Nothing is left held: the same question again.
        find(&first, "any text").await?;
        Ok(Outcome::Stopped(ended.clone()))
    })
}

pub fn reenter_itself() -> Result<Outcome> {
    reenters(false)
}

pub fn reenter_through_another() -> Result<Outcome> {
    reenters(true)
}

/// What the guest saw of the machine.
fn saw(mode: &str) -> Result<Vec<String>> {
    run(async {
        let plugin = load(guests::component("hostile")?, quick()).await?;
        match find(&plugin, mode).await {
            Ok(seen) => Ok(seen),
            Err(CallError::Trap { reason, .. }) => bail!("it trapped instead: {reason}"),
            Err(error) => Err(error.into()),
        }
    })
}

pub fn no_files() -> Result<Outcome> {
    Ok(Outcome::Harmless(saw("files")?.join(" ")))
}

pub fn no_sockets() -> Result<Outcome> {
    Ok(Outcome::Harmless(saw("socket")?.join(" ")))
}

pub fn no_environment() -> Result<Outcome> {
    let seen = saw("environment")?;
    Ok(Outcome::Harmless(format!("{} entries {}", seen.len(), seen.join(" "))))
}
