//! Reloads under load: one thread swaps a storefront's version again and again while others ask for pages at a fixed rate.
//! The test does some of them, `cargo figures fondaco-tests` a thousand.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::bundles::PlainShop;
use crate::http;
use crate::node::TestNode;

/// How many threads ask: enough that a slow answer does not slow the rate down.
const ASKERS: usize = 16;

/// What was seen.
#[derive(Clone, Debug)]
pub struct Report {
    /// Swaps of the version.
    pub reloads: usize,
    /// How long all of it took.
    pub time: Duration,
    /// Requests that were made.
    pub requests: usize,
    /// Those that were not answered with a page, and why the first was not.
    pub failed: (usize, Option<String>),
    /// From the time when a request was due until its answer was there, sorted.
    pub latencies: Vec<Duration>,
    /// Resident memory of the node after each reload, in bytes.
    pub resident: Vec<u64>,
    /// The last of the node's log.
    pub log: String,
}

impl Report {
    /// The latency that this share of the requests stayed below.
    pub fn latency(&self, share: f64) -> Duration {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            clippy::cast_possible_truncation,
            reason = "an index"
        )]
        let at = (self.latencies.len() as f64 * share) as usize;
        self.latencies.get(at).or(self.latencies.last()).copied().unwrap_or_default()
    }

    /// Resident memory, in bytes, as the highest of the second tenth of the reloads and of the last tenth: what is there
    /// once everything has been used, and what is there at the end.
    pub fn memory(&self) -> (u64, u64) {
        let tenth = (self.resident.len() / 10).max(1);
        let highest = |from: usize| self.resident.iter().skip(from).take(tenth).max().copied().unwrap_or_default();
        (highest(tenth), highest(self.resident.len().saturating_sub(tenth)))
    }
}

/// Swaps between two versions, `reloads` times, while `per_second` requests arrive.
pub fn under_load(reloads: usize, per_second: u32) -> Result<Report> {
    let (node, plain) = (TestNode::bare()?, PlainShop::build()?);
    let pack = |version| plain.pack(version, "", &node.path("made"), &node.key);
    let versions: Vec<PathBuf> = vec![pack("1.0.0")?, pack("1.1.0")?];
    node.deployment.install(versions.first().context("nothing was packed")?)?;
    let running = node.deployment.up()?;
    let host = running.url.trim_start_matches("http://").to_owned();
    let (stop, due) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (answers, complaint) = (Mutex::new(Vec::new()), Mutex::new((0, None)));
    let began = Instant::now();
    let step = Duration::from_secs(1) / per_second;
    let ask = || {
        let mut mine = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let n = due.fetch_add(1, Ordering::Relaxed);
            let at = began + step * u32::try_from(n).unwrap_or(u32::MAX);
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            let failed = match http::send(&host, "GET", "/greeting", &[], b"") {
                Ok(answer) if answer.status == 200 => None,
                Ok(answer) => Some(format!("{} {}", answer.status, answer.text())),
                Err(error) => Some(format!("{error:#}")),
            };
            mine.push(at.elapsed());
            if let (Some(why), Ok(mut complaint)) = (failed, complaint.lock()) {
                complaint.0 += 1;
                complaint.1.get_or_insert(why);
            }
        }
        if let Ok(mut all) = answers.lock() {
            all.extend(mine);
        }
    };
    let resident = std::thread::scope(|scope| -> Result<Vec<u64>> {
        for _ in 0..ASKERS {
            scope.spawn(ask);
        }
        let swap = || {
            let mut resident = Vec::new();
            for version in versions.iter().rev().cycle().take(reloads) {
                let version = version.to_str().context("no UTF-8")?;
                node.deployment.ok(&["plugin", "install", version, "--grant", "all", "--allow-rollback"])?;
                resident.push(running.resident_bytes()?);
            }
            Ok(resident)
        };
        let swapped = swap();
        stop.store(true, Ordering::Relaxed);
        swapped
    })?;
    let time = began.elapsed();
    let mut latencies = answers.into_inner().ok().context("an asker failed")?;
    latencies.sort_unstable();
    let failed = complaint.into_inner().ok().context("an asker failed")?;
    let log = running.log()?;
    running.stop()?;
    Ok(Report { reloads, time, requests: latencies.len(), failed, latencies, resident, log })
}
