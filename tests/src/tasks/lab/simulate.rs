//! `cargo lab simulate`: look-ups and spreading among ten thousand, a hundred thousand and a million nodes, and from there to
//! four million online of sixty million users. What was measured, what was simulated and what was calculated stand in
//! tables of their own, with the assumptions.

#![expect(clippy::cast_precision_loss, reason = "counts, far below 2^52")]

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::chart::{self, Chart, Line, Scale};
use super::random::Random;
use super::spread::{self, Spread};
use super::table::{self, K, Table, World};

/// What single things cost.
const COSTS: &str = include_str!("../../../lab/costs.toml");
/// Users, and those of them who are online.
const USERS: f64 = 60e6;
const ONLINE: usize = 4_000_000;

/// `cargo lab simulate`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// How many nodes; each is simulated by itself
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 100_000, 1_000_000])]
    nodes: Vec<usize>,
    /// Look-ups for each number of nodes
    #[arg(long, default_value_t = 2_000)]
    look_ups: usize,
    /// Where all randomness begins: the same seed gives the same report
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the report and its picture into this folder; absent: print the report
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// What single things cost: see the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Costs {
    date: String,
    basis: String,
    /// Bytes on the wire of a question to the hash table with its answer, dialling and streams' negotiation with them.
    question_and_answer_bytes: f64,
    /// CPU of both sides for one question, in microseconds.
    question_cpu_micros: f64,
    /// Bytes on the wire for one key to one node, where they go in lists.
    list_key_bytes: f64,
    /// Bytes an hour of a connection on which nothing happens, one way.
    idle_bytes_an_hour: f64,
    /// Resident bytes of a node with nothing to do, and for each connection.
    node_bytes: f64,
    connection_bytes: f64,
    /// Bytes that a provider record takes up at who keeps it.
    record_bytes: f64,
}

/// What is assumed about people; nobody has measured it.
struct Assumed {
    world: World,
    /// Part of those online who are reached directly and keep the table.
    full: f64,
    /// Releases that a node has, and things that its user looks for in a day.
    releases: f64,
    wanted_a_day: f64,
    /// Connections of a node.
    connections: f64,
    /// Seconds within which a public learns of a release.
    learning: f64,
}

const ASSUMED: Assumed = Assumed {
    world: World { round_trip_ms: 90.0, spread: 0.6, gone: 0.1 },
    full: 0.25,
    releases: 20.0,
    wanted_a_day: 3.0,
    connections: 50.0,
    learning: 60.0,
};

/// The simulation at one size.
#[derive(Clone, Debug)]
pub struct Step {
    nodes: usize,
    questions: f64,
    hops: f64,
    expected_hops: f64,
    found: f64,
    middle_ms: f64,
    late_ms: f64,
    spread: Spread,
    shortest: f64,
}

/// Simulates, and writes the report.
pub fn run(options: &Options) -> Result<()> {
    let costs: Costs = toml::from_str(COSTS).context("tests/lab/costs.toml")?;
    let mut steps = Vec::new();
    for nodes in &options.nodes {
        eprintln!("simulating {nodes} nodes");
        steps.push(step(*nodes, options.look_ups, options.seed));
    }
    let report = report(&costs, &steps, options);
    match &options.out {
        None => println!("{report}"),
        Some(folder) => {
            fs::write(folder.join("scale.md"), report)?;
            fs::write(folder.join("scale.svg"), picture(&steps))?;
            println!("{} and scale.svg are written", folder.join("scale.md").display());
        }
    }
    Ok(())
}

/// One size.
pub fn step(nodes: usize, look_ups: usize, seed: u64) -> Step {
    let mut random = Random::new(seed ^ nodes as u64);
    let table = Table::new(nodes, seed, ASSUMED.world);
    let all: Vec<table::Took> = (0..look_ups.max(1))
        .map(|_| table.look_up(table.any(&mut random), random.number(), ASSUMED.world, &mut random))
        .collect();
    let count = all.len() as f64;
    let mut times: Vec<f64> = all.iter().map(|took| took.ms).collect();
    times.sort_by(f64::total_cmp);
    let at = |part: usize| times.get(times.len().saturating_sub(1) * part / 100).copied().unwrap_or_default();
    Step {
        nodes,
        questions: all.iter().map(|took| took.questions).sum::<usize>() as f64 / count,
        hops: all.iter().map(|took| took.hops).sum::<usize>() as f64 / count,
        expected_hops: table::expected_hops(nodes),
        found: all.iter().filter(|took| took.found).count() as f64 / count,
        middle_ms: at(50),
        late_ms: at(95),
        spread: spread::spread(nodes, ASSUMED.learning, seed),
        shortest: spread::shortest(nodes),
    }
}

/// A line through points over the logarithm of the number of nodes; its value at a number, by least squares.
fn extrapolated(steps: &[Step], value: impl Fn(&Step) -> f64, nodes: f64) -> f64 {
    let points: Vec<(f64, f64)> = steps.iter().map(|step| ((step.nodes as f64).log2(), value(step))).collect();
    let count = points.len() as f64;
    let (x, y) = (points.iter().map(|p| p.0).sum::<f64>() / count, points.iter().map(|p| p.1).sum::<f64>() / count);
    let above: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    let below: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
    let slope = if below > 0.0 { above / below } else { 0.0 };
    slope.mul_add(nodes.log2() - x, y)
}

/// What a node sends, keeps and does: follows from the questions of a look-up and the assumptions.
struct Node {
    full: f64,
    questions_a_day: f64,
    announced_a_day: f64,
    mib_a_day: f64,
    cpu_seconds_a_day: f64,
    records: f64,
    mib: f64,
}

fn node(costs: &Costs, questions: f64, nodes: f64) -> Node {
    let full = (nodes * ASSUMED.full).max(1.0);
    // Looking for what its user wants, and once in five minutes for itself, as the library does.
    let look_ups = ASSUMED.wanted_a_day + 24.0 * 12.0;
    // Three times a day each release goes to twenty nodes. With few releases in a large table each is a region of its own.
    let announced = ASSUMED.releases * 3.0;
    let asked = (look_ups + announced) * questions;
    let copies = announced * K as f64;
    // Who keeps the table answers for all: each question that anybody asks is answered by one of them.
    let answered = asked * nodes / full;
    let bytes = (asked + answered) * costs.question_and_answer_bytes
        + (copies + copies * nodes / full) * costs.list_key_bytes
        + 24.0 * 2.0 * costs.idle_bytes_an_hour * ASSUMED.connections;
    let records = ASSUMED.releases * K as f64 * nodes / full;
    let mib = f64::from(1 << 20);
    Node {
        full,
        questions_a_day: asked + answered,
        announced_a_day: copies,
        mib_a_day: bytes / mib,
        cpu_seconds_a_day: (asked + answered) * costs.question_cpu_micros / 2.0 / 1e6,
        records,
        mib: (records * costs.record_bytes + costs.node_bytes + ASSUMED.connections * costs.connection_bytes) / mib,
    }
}

fn report(costs: &Costs, steps: &[Step], options: &Options) -> String {
    let mut out = String::new();
    let mut say = |line: &str| {
        let _ = writeln!(out, "{line}");
    };
    say("# How it grows\n");
    say(
        "How much a node sends and keeps, how long it takes to find something, and how long until a public has a release, as the",
    );
    say(
        "swarm grows to sixty million users. Three kinds of figures are kept apart: what was **measured** for single things, what a",
    );
    say(
        "**simulation** made of it, node by node, and what was **calculated** from that for sizes that no machine here holds.\n",
    );
    say("```console");
    say(&format!("$ cargo lab simulate --seed {} --out host/book/src/reference", options.seed));
    say("```\n");
    say("![Finding, hops, spreading, and how a release comes to a public](scale.svg)\n");
    say("## Measured\n");
    say(&format!("Costs of single things, {}; {}. They stand in `tests/lab/costs.toml`.\n", costs.basis, costs.date));
    say("| what | figure |\n|---|---|");
    let kib = 1024.0;
    for (what, figure) in [
        (
            "a question to the hash table, on the wire, both ways",
            format!("{:.0} bytes", costs.question_and_answer_bytes),
        ),
        ("CPU of both sides for it", format!("{:.0} µs", costs.question_cpu_micros)),
        ("telling one node of one release, in a list", format!("{:.0} bytes", costs.list_key_bytes)),
        (
            "a connection on which nothing happens",
            format!("{:.1} KiB an hour each way", costs.idle_bytes_an_hour / kib),
        ),
        (
            "a node with nothing to do; each connection more",
            format!("{:.0} MiB; {:.0} KiB", costs.node_bytes / kib / kib, costs.connection_bytes / kib),
        ),
        ("a provider record that is kept", format!("{:.0} bytes", costs.record_bytes)),
    ] {
        say(&format!("| {what} | {figure} |"));
    }
    say("\n## Assumed\n");
    say("Nobody has measured these for Fondaco; change them in `tests/src/tasks/lab/simulate.rs` and run it again.\n");
    say(&format!(
        "- Of {} users {} are online, of whom {:.0} % are reached directly and keep the hash table.",
        chart::short(USERS),
        chart::short(ONLINE as f64),
        ASSUMED.full * 100.0
    ));
    say(&format!(
        "- A node has {} releases and {} connections; its user looks for {} things a day; records are told three times a day.",
        ASSUMED.releases, ASSUMED.connections, ASSUMED.wanted_a_day
    ));
    say(&format!(
        "- A round trip takes {} ms in the middle, two thirds within a factor of {:.1}; {:.0} % of the nodes that others know are \
         gone, and each costs 2.5 s of one of three questions.",
        ASSUMED.world.round_trip_ms,
        ASSUMED.world.spread.exp(),
        ASSUMED.world.gone * 100.0
    ));
    let lines: Vec<String> = spread::LINES
        .iter()
        .map(|(part, up, down)| format!("{:.0} % {:.0}/{:.0}", part * 100.0, up / 1e6, down / 1e6))
        .collect();
    say(&format!(
        "- Lines, up/down in Mbit/s: {}; the publisher's {:.0} up. Whoever has 0 up gives nothing. All learn of the release \
         within {} s and stay.",
        lines.join(", "),
        spread::PUBLISHER_UP / 1e6,
        ASSUMED.learning
    ));
    say("\n## Simulated\n");
    say(&format!("{} look-ups at each size; seed {}.\n", options.look_ups, options.seed));
    say(
        "| nodes | found the nearest | questions | hops (expected) | time to find, middle / p95 | half of a public has 1 GiB | 99 % | at best | publisher sends |",
    );
    say("|---|---|---|---|---|---|---|---|---|");
    for step in steps {
        say(&format!(
            "| {} | {:.1} % | {:.0} | {:.1} ({:.1}) | {:.2} s / {:.2} s | {:.0} s | {:.0} s | {:.0} s | {:.1} × |",
            chart::short(step.nodes as f64),
            step.found * 100.0,
            step.questions,
            step.hops,
            step.expected_hops,
            step.middle_ms / 1000.0,
            step.late_ms / 1000.0,
            step.spread.half,
            step.spread.most,
            step.shortest,
            step.spread.publisher
        ));
    }
    say(
        "\nExpected hops: log2(n / 20) / (1 + log2 20) + 1, since an answer names the best of a bucket of twenty. At best: the",
    );
    say(
        "closed form of Kumar and Ross (2006), below which no scheme can be: the release over the least of the publisher's line,",
    );
    say("the slowest line down, and all lines up shared by all.\n");
    say("## Calculated\n");
    say(
        "For one node that keeps the hash table; questions of a look-up from the simulation, by a line over the logarithm of the",
    );
    say("number of nodes where there was none.\n");
    say(
        "| online | of them in the table | questions a day, asked and answered | copies of records told a day | records kept | traffic a day without files | CPU a day | memory |",
    );
    say("|---|---|---|---|---|---|---|---|");
    let simulated: Vec<f64> = steps.iter().map(|step| step.nodes as f64).collect();
    for nodes in simulated.iter().copied().chain([ONLINE as f64]) {
        let questions = extrapolated(steps, |step| step.questions, (nodes * ASSUMED.full).max(2.0));
        let node = node(costs, questions, nodes);
        say(&format!(
            "| {} | {} | {} | {} | {} | {:.0} MiB | {:.0} s | {:.0} MiB |",
            chart::short(nodes),
            chart::short(node.full),
            chart::short(node.questions_a_day),
            chart::short(node.announced_a_day),
            chart::short(node.records),
            node.mib_a_day,
            node.cpu_seconds_a_day,
            node.mib
        ));
    }
    let at = |value: fn(&Step) -> f64| extrapolated(steps, value, ONLINE as f64);
    say(&format!(
        "\nAt {} online ({} users), by the same line: a key is found in {:.2} s in the middle and {:.2} s for 95 of 100, with {:.0} \
         questions; a public of all of them would have 1 GiB to 99 % after {:.0} s, where {:.0} s is the least that any scheme \
         needs.\n",
        chart::short(ONLINE as f64),
        chart::short(USERS),
        at(|step| step.middle_ms) / 1000.0,
        at(|step| step.late_ms) / 1000.0,
        at(|step| step.questions),
        at(|step| step.spread.most),
        spread::shortest(ONLINE)
    ));
    say(
        "What grows: questions and hops by the logarithm of the nodes; what a node keeps and sends not at all, since records are",
    );
    say(
        "spread over as many more nodes as there are more records. What is left out: nodes that come and go during a look-up,",
    );
    say(
        "congestion, lies (`host/net/src/tests` has those), and that a popular release is asked for by many at once: peers who",
    );
    say("share it tell of each other, so that the hash table is asked once for each fetch and not for each source.");
    out
}

fn picture(steps: &[Step]) -> String {
    let line = |name: &str, dashed: bool, value: &dyn Fn(&Step) -> f64| {
        let mut points: Vec<(f64, f64)> = steps.iter().map(|step| (step.nodes as f64, value(step))).collect();
        if dashed {
            points.push((ONLINE as f64, extrapolated(steps, value, ONLINE as f64)));
        }
        Line { name: name.into(), points, dashed }
    };
    let pair = |name: &str, value: &dyn Fn(&Step) -> f64| [line(name, false, value), line("", true, value)];
    let times = [pair("middle", &|s| s.middle_ms / 1000.0), pair("95 of 100", &|s| s.late_ms / 1000.0)].concat();
    let mut hops = pair("simulated", &|s| s.hops).to_vec();
    hops.push(line("expected", false, &|s| s.expected_hops));
    let mut most = pair("99 % have it", &|s| s.spread.most).to_vec();
    most.push(line("at best", false, &|s| s.shortest));
    let curves = steps.iter().map(|step| Line {
        name: format!("{} nodes", chart::short(step.nodes as f64)),
        points: step.spread.curve.iter().map(|(at, part)| (*at, part * 100.0)).collect(),
        dashed: false,
    });
    chart::draw(&[
        Chart { title: "Seconds to find a key (dashed: calculated)", x: "nodes", scale: Scale::Log, lines: times },
        Chart { title: "Hops of a look-up", x: "nodes", scale: Scale::Log, lines: hops },
        Chart { title: "Seconds until a public has 1 GiB", x: "nodes", scale: Scale::Log, lines: most },
        Chart {
            title: "Part of a public that has all of it, in %",
            x: "seconds",
            scale: Scale::Plain,
            lines: curves.collect(),
        },
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_run_repeats_and_its_report_has_all_parts() {
        let costs: Costs = toml::from_str(COSTS).unwrap();
        let options = Options { nodes: vec![300, 1200], look_ups: 60, seed: 4, out: None };
        let steps: Vec<Step> = options.nodes.iter().map(|nodes| step(*nodes, options.look_ups, options.seed)).collect();
        let again: Vec<Step> = options.nodes.iter().map(|nodes| step(*nodes, options.look_ups, options.seed)).collect();
        let text = report(&costs, &steps, &options);
        assert_eq!(text, report(&costs, &again, &options), "the same seed, another report");
        for part in
            ["## Measured", "## Assumed", "## Simulated", "## Calculated", "| 300 |", "| 1200 |", "| 4 M | 1 M |"]
        {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        assert!(!picture(&steps).contains("NaN"));
        assert!(steps.iter().all(|step| step.found > 0.95 && step.spread.most >= step.shortest * 0.99), "{steps:?}");
    }

    #[test]
    fn a_line_is_carried_on() {
        let made = |nodes: usize, questions: f64| Step { questions, ..step(nodes, 1, 1) };
        let steps = [made(64, 6.0), made(256, 8.0), made(1024, 10.0)];
        assert!((extrapolated(&steps, |s| s.questions, 4096.0) - 12.0).abs() < 1e-9);
    }
}
