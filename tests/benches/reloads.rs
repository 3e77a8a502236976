//! A thousand reloads at 500 requests a second: how many requests fail, how long they take, how much memory is held.
//! The node is the one that the tests use, so the times are those of a development build.

use fondaco_tests::reloads;

fn main() -> anyhow::Result<()> {
    // `cargo test --benches` only looks whether it runs.
    let (reloads, rate) = if std::env::args().any(|a| a == "--bench") { (1_000, 500) } else { (2, 50) };
    let report = reloads::under_load(reloads, rate)?;
    let (early, late) = report.memory();
    println!("{} reloads in {:.1} s at {rate} requests a second", report.reloads, report.time.as_secs_f64());
    println!(
        "  {} requests, {} failed {}",
        report.requests,
        report.failed.0,
        report.failed.1.as_deref().unwrap_or_default()
    );
    for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
        println!("  {name:<5} {:.1} ms", report.latency(share).as_secs_f64() * 1e3);
    }
    println!("  {} MiB resident after a tenth of the reloads, {} MiB at the end", early >> 20, late >> 20);
    Ok(())
}
