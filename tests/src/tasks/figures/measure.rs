//! What a process cost, as the kernel counted it (proc_pid_stat(5), proc_pid_status(5)), and the programs that put load on
//! a server.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use crate::program;

/// Clock ticks a second in `/proc`, on every Linux there is.
const TICKS: f64 = 100.0;

/// CPU seconds of a process so far, user and system, its ended children included.
pub fn cpu_seconds(id: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("no command in /proc/<id>/stat")?;
    let ticks: f64 = fields.split_whitespace().skip(11).take(4).filter_map(|n| n.parse::<f64>().ok()).sum();
    Ok(ticks / TICKS)
}

/// Resident memory of a process in MiB: `VmRSS` now, `VmHWM` at its peak.
pub fn memory_mib(id: u32, which: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(which)).context("no such line in /proc/<id>/status")?;
    let kib: f64 = line.trim_start_matches(':').trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What a server did under load.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Answers a second.
    pub per_second: f64,
    /// CPU time of the server for each, in microseconds.
    pub cpu_micros: f64,
}

/// Puts 64 connections of one thread on an address for some seconds. `script`: a file in wrk's Lua.
pub fn wrk(server: &[u32], address: &str, seconds: u32, script: Option<&Path>) -> Result<Load> {
    let before = sum_cpu(server)?;
    let mut command = Command::new("wrk");
    command.args(["-t1", "-c64", &format!("-d{seconds}s")]);
    if let Some(script) = script {
        command.arg("-s").arg(script);
    }
    let said = program::answer(command.arg(address))?;
    let spent = sum_cpu(server)? - before;
    ensure!(!said.contains("Non-2xx"), "{address} answers with errors under load:\n{said}");
    let number = |before: &str, after: &str| -> Option<f64> {
        let (_, rest) = said.split_once(before)?;
        let line = rest.lines().next()?;
        line.trim().trim_end_matches(after).trim().parse().ok()
    };
    let per_second = number("Requests/sec:", "").context("wrk says no rate")?;
    let requests: f64 =
        said.lines().find_map(|l| l.trim().split_once(" requests in")?.0.parse().ok()).context("wrk counts nothing")?;
    Ok(Load { per_second, cpu_micros: spent / requests * 1e6 })
}

fn sum_cpu(ids: &[u32]) -> Result<f64> {
    ids.iter().map(|id| cpu_seconds(*id)).sum()
}

/// Downloads an address to nowhere over one connection: wall seconds, and CPU seconds of the server.
pub fn download(server: &[u32], address: &str, range: &str, size: u64) -> Result<(f64, f64)> {
    let (before, started) = (sum_cpu(server)?, Instant::now());
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "--range", range, "--output", "/dev/null"]);
    let got = program::answer(curl.args(["--write-out", "%{http_code} %{size_download}", address]))?;
    ensure!(got == format!("206 {size}"), "{address}: asked for {range}, got {got}");
    Ok((started.elapsed().as_secs_f64(), sum_cpu(server)? - before))
}
