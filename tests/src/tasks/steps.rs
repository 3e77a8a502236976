//! Steps of a task, each announced in one line with the time that it took.

use std::io::Write as _;
use std::time::Instant;

use anyhow::Result;

/// Carries out a step. `name` says what it does; what it answers, if anything, is said behind it.
pub fn step<T>(name: &str, act: impl FnOnce() -> Result<(T, String)>) -> Result<T> {
    print!("{name:<34}");
    // The line's end comes with the result; who watches wants to see the beginning.
    let _ = std::io::stdout().flush();
    let started = Instant::now();
    match act() {
        Ok((value, remark)) => {
            println!("{:>7.1} s  {remark}", started.elapsed().as_secs_f64());
            Ok(value)
        }
        Err(error) => {
            println!("{:>7.1} s  failed", started.elapsed().as_secs_f64());
            Err(error)
        }
    }
}
