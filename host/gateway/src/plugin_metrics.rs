//! The part of `/metrics` that is about plugins: what each was asked, how it ended, what it used and what it was
//! refused. It reads the runtime's counters and changes nothing.

use std::fmt::{Display, Write as _};

use fondaco_runtime::{BUCKETS, Counted, Ending, Health, Histogram, Plugin};

/// One plugin, its labels and its counts, all taken at the same moment.
struct Row {
    labels: String,
    counted: Counted,
    health: Health,
}

/// Writes all families.
pub(crate) fn write(out: &mut String, plugins: &[Plugin]) {
    let row = |p: &Plugin| Row {
        labels: format!(
            "plugin=\"{}\",version=\"{}\",kind=\"{}\"",
            escaped(&p.who().id),
            escaped(&p.who().version),
            p.kind().as_str()
        ),
        counted: p.counters().now(),
        health: p.health(),
    };
    text(out, &plugins.iter().map(row).collect::<Vec<_>>());
}

fn text(out: &mut String, rows: &[Row]) {
    head(out, "calls_total", "counter", "Calls into the plugin, by function and by how they ended.");
    for Row { labels, counted, .. } in rows {
        for (function, counts) in &counted.functions {
            for ending in Ending::ALL.into_iter().filter(|e| counts.ended(*e) > 0) {
                let more = format!("{labels},function=\"{function}\",outcome=\"{}\"", ending.as_str());
                sample(out, "calls_total", &more, counts.ended(ending));
            }
        }
    }
    head(out, "call_seconds", "histogram", "How long calls took that were started, by function.");
    for Row { labels, counted, .. } in rows {
        for (function, counts) in counted.functions.iter().filter(|(_, c)| c.took.count() > 0) {
            histogram(out, "call_seconds", &format!("{labels},function=\"{function}\""), &counts.took);
        }
    }
    head(out, "queue_wait_seconds", "histogram", "How long calls waited for a free instance.");
    for Row { labels, counted, .. } in rows {
        histogram(out, "queue_wait_seconds", labels, &counted.waits);
    }
    head(out, "kills_total", "counter", "Calls that trapped, were killed at a limit or gave no answer, by reason.");
    for Row { labels, counted, .. } in rows {
        for ending in Ending::ALL.into_iter().filter(|e| e.is_failure()) {
            let more = format!("{labels},reason=\"{}\"", ending.as_str());
            sample(out, "kills_total", &more, counted.ended(ending));
        }
    }
    head(out, "denials_total", "counter", "Calls of the node that were refused: the capability is not granted.");
    for Row { labels, counted, .. } in rows {
        for (capability, n) in &counted.denied {
            sample(out, "denials_total", &format!("{labels},capability=\"{capability}\""), n);
        }
    }
    head(out, "throttled_total", "counter", "Calls of the node that were refused: too many in a second.");
    for Row { labels, counted, .. } in rows {
        for (capability, n) in &counted.throttled {
            sample(out, "throttled_total", &format!("{labels},capability=\"{capability}\""), n);
        }
    }
    let mut simple = |name: &str, kind: &str, help: &str, value: fn(&Row) -> u64| {
        head(out, name, kind, help);
        for row in rows {
            sample(out, name, &row.labels, value(row));
        }
    };
    simple("peak_memory_bytes", "gauge", "The most memory that one instance had.", |r| r.counted.peak_memory);
    simple("running_ticks_total", "counter", "Ticks of 2 ms that were begun while it ran.", |r| {
        r.counted.running_ticks
    });
    simple("log_bytes_total", "counter", "Bytes that it printed into the log.", |r| r.counted.log_bytes);
    simple("log_dropped_bytes_total", "counter", "Bytes that it printed and that were dropped.", |r| {
        r.counted.log_bytes_dropped
    });
    let help = "Its circuit breaker: 0 closed, 1 half-open, 2 open, 3 quarantined.";
    simple("breaker_state", "gauge", help, |r| match r.health {
        Health::Closed => 0,
        Health::HalfOpen => 1,
        Health::Open(_) => 2,
        Health::Quarantined => 3,
    });
    simple("breaker_openings_total", "counter", "How often its circuit breaker opened.", |r| r.counted.openings);
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP fondaco_plugin_{name} {help}\n# TYPE fondaco_plugin_{name} {kind}");
}

fn sample(out: &mut String, name: &str, labels: &str, value: impl Display) {
    let _ = writeln!(out, "fondaco_plugin_{name}{{{labels}}} {value}");
}

fn histogram(out: &mut String, name: &str, labels: &str, histogram: &Histogram) {
    let bounds = BUCKETS.iter().map(ToString::to_string).chain(["+Inf".into()]);
    let mut sum = 0;
    for (bound, count) in bounds.zip(histogram.counts) {
        sum += count;
        sample(out, &format!("{name}_bucket"), &format!("{labels},le=\"{bound}\""), sum);
    }
    sample(out, &format!("{name}_sum"), labels, histogram.sum.as_secs_f64());
    sample(out, &format!("{name}_count"), labels, sum);
}

/// A label's value, as the text format wants it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn buckets_are_cumulated_and_end_with_all() {
        let mut took = Histogram { sum: Duration::from_millis(1_500), ..Histogram::default() };
        took.counts[0] = 2;
        took.counts[3] = 1;
        took.counts[BUCKETS.len()] = 4;
        let mut out = String::new();
        histogram(&mut out, "call_seconds", "plugin=\"p\"", &took);
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines[0], "fondaco_plugin_call_seconds_bucket{plugin=\"p\",le=\"0.000025\"} 2");
        assert_eq!(lines[3], "fondaco_plugin_call_seconds_bucket{plugin=\"p\",le=\"0.00025\"} 3");
        assert_eq!(lines[BUCKETS.len()], "fondaco_plugin_call_seconds_bucket{plugin=\"p\",le=\"+Inf\"} 7");
        let last =
            ["fondaco_plugin_call_seconds_sum{plugin=\"p\"} 1.5", "fondaco_plugin_call_seconds_count{plugin=\"p\"} 7"];
        assert_eq!(lines[BUCKETS.len() + 1..], last);
    }

    #[test]
    fn a_label_ends_where_it_should() {
        assert_eq!(escaped("1.0.0\"} 1\nevil \\"), "1.0.0\\\"} 1\\nevil \\\\");
    }
}
