//! Memory, tables, instances and the stack.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fondaco_runtime::Limits;
use fondaco_tests::guests;

use crate::Outcome;
use crate::stand::{Parts, find, load, patient, quick, refused, run, search, stopped_guest};

pub fn memory_bomb() -> Result<Outcome> {
    run(async {
        let limits = Limits { memory_bytes: 16 << 20, ..patient() };
        let plugin = load(guests::component("hostile")?, limits).await?;
        let got: usize = find(&plugin, "hoard").await?.first().context("no answer")?.parse()?;
        ensure!((8..16).contains(&got), "{got} MiB");
        Ok(Outcome::Harmless(format!("{got} MiB of 16 MiB")))
    })
}

/// A hundred at once, against three plugins. What stands before the instances lets some of them in at a time.
pub fn memory_bombs_side_by_side() -> Result<Outcome> {
    run(async {
        let limits = Limits { memory_bytes: 64 << 20, ..patient() };
        let honest = load(search(&Parts::default())?, quick()).await?;
        let mut bombs = Vec::new();
        for _ in 0..4 {
            let plugin = load(guests::component("hostile")?, limits.clone()).await?;
            bombs.extend((0..25).map(|_| {
                let plugin = plugin.clone();
                tokio::spawn(async move { find(&plugin, "hoard").await.is_ok() })
            }));
        }
        let (mut most, mut asked) = (0, 0);
        while bombs.iter().any(|bomb| !bomb.is_finished()) {
            most = most.max(resident()?);
            // Between the bombs others are served, or told that the node is busy.
            if find(&honest, "honest").await.is_ok() {
                asked += 1;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        ensure!(asked > 0, "nobody else was answered");
        for bomb in bombs {
            bomb.await?;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        let after = resident()?;
        ensure!(after < 512 << 20, "{} MiB stay resident", after >> 20);
        find(&honest, "honest").await?;
        Ok(Outcome::Harmless(format!("100 bombs, {} MiB resident at most, {} MiB after them", most >> 20, after >> 20)))
    })
}

/// What this process holds in memory, in bytes.
fn resident() -> Result<usize> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: usize = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kib << 10)
}

/// Asks for more, and traps if it got it.
fn grows(fields: &str, grow: &str) -> Result<Outcome> {
    let body = format!("{grow} (i32.ne (i32.const -1)) (if (then unreachable)) i32.const 1024");
    let component = search(&Parts { fields, find: &body, ..Parts::default() })?;
    run(async {
        let plugin = load(component, quick()).await?;
        find(&plugin, "any text").await?;
        Ok(Outcome::Harmless("refused to grow".into()))
    })
}

pub fn memory_grow_to_the_end() -> Result<Outcome> {
    grows("", "(memory.grow (i32.const 65000))")
}

pub fn table_grow_to_the_end() -> Result<Outcome> {
    grows("(table $t 1 funcref)", "(table.grow $t (ref.null func) (i32.const -1))")
}

pub fn memory_declared_huge() -> Result<Outcome> {
    refused(search(&Parts { memory: "65536", ..Parts::default() })?)
}

pub fn table_declared_huge() -> Result<Outcome> {
    refused(search(&Parts { fields: "(table 9000000 funcref)", ..Parts::default() })?)
}

/// A component that makes so many instances of a module of this content.
fn many(content: &str, n: usize) -> Result<Vec<u8>> {
    let instances = "(core instance (instantiate $m))\n".repeat(n);
    Ok(wat::parse_str(format!("(component (core module $m {content})\n{instances})"))?)
}

pub fn many_memories() -> Result<Outcome> {
    refused(many("(memory 1)", 100)?)
}

pub fn many_tables() -> Result<Outcome> {
    refused(many("(table 1 funcref)", 100)?)
}

pub fn many_instances() -> Result<Outcome> {
    refused(many("", 2_000)?)
}

pub fn recursion() -> Result<Outcome> {
    stopped_guest("recurse", quick())
}

/// One plugin fills its memory, another looks for what is left of it in the place that it got.
pub fn residue_in_a_used_place() -> Result<Outcome> {
    const ROUNDS: usize = 100;
    let fill = "(memory.fill (i32.const 65536) (i32.const 0xAB) (i32.const 33488896)) i32.const 1024";
    let look = "(local $at i32) (local.set $at (i32.const 1048576))
        (loop $next
          (i64.load (local.get $at)) (i64.const 0) (i64.ne) (if (then unreachable))
          (local.set $at (i32.add (local.get $at) (i32.const 512)))
          (br_if $next (i32.lt_u (local.get $at) (i32.const 33554432))))
        i32.const 1024";
    let of = |find| search(&Parts { memory: "512", find, ..Parts::default() });
    let (writer, reader) = (of(fill)?, of(look)?);
    run(async {
        let (writer, reader) = (load(writer, patient()).await?, load(reader, patient()).await?);
        for round in 0..ROUNDS {
            find(&writer, "any text").await?;
            find(&reader, "any text").await.with_context(|| format!("foreign bytes in round {round}"))?;
        }
        Ok(Outcome::Harmless(format!("0 foreign bytes in {ROUNDS} rounds")))
    })
}
