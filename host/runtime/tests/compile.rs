//! The compiling child limits itself before it reads a byte of a component.

#![allow(clippy::unwrap_used, reason = "a test fails where it is wrong")]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What the kernel holds it to: proc_pid_limits(5), soft and hard.
const LIMITS: [(&str, &str); 4] =
    [("Max address space", "3221225472"), ("Max cpu time", "90"), ("Max file size", "0"), ("Max core file size", "0")];

fn holds(limits: &str, (name, most): (&str, &str)) -> bool {
    let line = limits.lines().find_map(|line| line.strip_prefix(name));
    line.is_some_and(|rest| rest.split_whitespace().take(2).eq([most, most]))
}

#[test]
fn the_compiling_child_limits_itself_before_it_reads() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_fondaco-compile"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let file = format!("/proc/{}/limits", child.id());
    let begun = Instant::now();
    loop {
        // It waits for its component all this while.
        let limits = std::fs::read_to_string(&file).unwrap();
        let missing: Vec<_> = LIMITS.into_iter().filter(|limit| !holds(&limits, *limit)).collect();
        if missing.is_empty() {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{missing:?} in\n{limits}");
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
