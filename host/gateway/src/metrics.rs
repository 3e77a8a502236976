//! `/metrics` in the text format of Prometheus (version 0.0.4).

use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};

use fondaco_market::Market;

use crate::plugin_metrics;

/// Families of another part of the node, in the same format.
pub type MoreMetrics = Box<dyn Fn() -> Pin<Box<dyn Future<Output = String> + Send>> + Send + Sync>;

/// What the gateway counts by itself.
#[derive(Default)]
pub(crate) struct Counts {
    pub by_class: [AtomicU64; 6],
    pub refused_connections: AtomicU64,
    pub forged_forms: AtomicU64,
    pub micros: AtomicU64,
}

impl Counts {
    pub fn answered(&self, status: http::StatusCode, micros: u64) {
        if let Some(class) = self.by_class.get(usize::from(status.as_u16() / 100)) {
            class.fetch_add(1, Ordering::Relaxed);
        }
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }
}

pub(crate) fn text(counts: &Counts, market: &Market) -> String {
    let mut out = String::new();
    let mut family = |name: &str, kind: &str, help: &str, samples: Vec<(String, u64)>| {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(out, "{name}{labels} {value}");
        }
    };
    let classes = counts.by_class.iter().enumerate().skip(1);
    family(
        "fondaco_http_requests_total",
        "counter",
        "Answered requests by class of status.",
        classes.map(|(i, n)| (format!("{{class=\"{i}xx\"}}"), n.load(Ordering::Relaxed))).collect(),
    );
    let one = |n: &AtomicU64| vec![(String::new(), n.load(Ordering::Relaxed))];
    family("fondaco_http_busy_microseconds_total", "counter", "Time until answers began.", one(&counts.micros));
    family(
        "fondaco_http_refused_connections_total",
        "counter",
        "Connections over a limit.",
        one(&counts.refused_connections),
    );
    family(
        "fondaco_http_forged_forms_total",
        "counter",
        "Forms without the right token or origin.",
        one(&counts.forged_forms),
    );
    for (name, kind, help, value) in market.figures() {
        family(name, kind, help, vec![(String::new(), value)]);
    }
    plugin_metrics::write(&mut out, &market.plugins());
    out
}
