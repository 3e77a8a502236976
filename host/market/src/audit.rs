//! The audit trail of what plugins were refused and how their calls were killed. The runtime counts; here the counts
//! become events of the log, summed up: one event for a plugin and a minute, and where it goes on and on, for two
//! minutes, four, and so on up to an hour, so that a hostile plugin cannot fill the log. `fondaco up` keeps it going;
//! what a command caused is written down when the data is closed.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use fondaco_ledger::{PluginAct, PluginChange};
use fondaco_runtime::{Counted, Counters, Ending, Plugin};
use time::OffsetDateTime;

use crate::{Market, now};

/// How often the counts are looked at, and the least time between two events of one plugin.
const MINUTE: Duration = Duration::from_mins(1);
/// The most time between two events of a plugin that goes on.
const LONGEST: Duration = Duration::from_hours(1);
/// Started plugins that are watched. When it is full (so many were replaced within a minute), the oldest is left out.
const MOST_WATCHED: usize = 1_024;

/// Sums that are worth an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sums {
    denied: BTreeMap<String, u64>,
    throttled: BTreeMap<String, u64>,
    killed: BTreeMap<String, u64>,
    openings: u64,
    quarantines: u64,
}

impl Sums {
    fn of(counted: &Counted) -> Self {
        let named = |counts: &BTreeMap<fondaco_schemas::Capability, u64>| {
            counts.iter().map(|(c, n)| (c.to_string(), *n)).collect()
        };
        let failures = Ending::ALL.into_iter().filter(|e| e.is_failure());
        let killed = failures.map(|e| (e.as_str().to_owned(), counted.ended(e))).filter(|(_, n)| *n > 0);
        Self {
            denied: named(&counted.denied),
            throttled: named(&counted.throttled),
            killed: killed.collect(),
            openings: counted.openings,
            quarantines: counted.quarantines,
        }
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Each sum as `f` makes it of ours and theirs; nothing where that is 0.
    fn with(&self, other: &Self, f: fn(u64, u64) -> u64) -> Self {
        let both = |a: &BTreeMap<String, u64>, b: &BTreeMap<String, u64>| {
            let keys = a.keys().chain(b.keys());
            let of = |m: &BTreeMap<String, u64>, k: &str| m.get(k).copied().unwrap_or(0);
            keys.map(|k| (k.clone(), f(of(a, k), of(b, k)))).filter(|(_, n)| *n > 0).collect()
        };
        Self {
            denied: both(&self.denied, &other.denied),
            throttled: both(&self.throttled, &other.throttled),
            killed: both(&self.killed, &other.killed),
            openings: f(self.openings, other.openings),
            quarantines: f(self.quarantines, other.quarantines),
        }
    }
}

/// A started plugin, as long as anybody holds it.
struct Watched {
    id: String,
    version: String,
    counters: Arc<Counters>,
    seen: Sums,
}

/// What is to be written about one plugin, and when.
struct Pending {
    version: String,
    since: OffsetDateTime,
    due: OffsetDateTime,
    wait: Duration,
    sums: Sums,
}

/// The counts that are not in the log yet.
#[derive(Default)]
pub(crate) struct Trail {
    watched: Vec<Watched>,
    pending: BTreeMap<String, Pending>,
}

impl Trail {
    pub fn watch(&mut self, plugin: &Plugin) {
        if self.watched.len() >= MOST_WATCHED {
            self.watched.remove(0);
        }
        let (id, version) = (plugin.who().id.clone(), plugin.who().version.clone());
        self.watched.push(Watched { id, version, counters: plugin.counters().clone(), seen: Sums::default() });
    }

    /// Takes in what was counted since the last time.
    fn look(&mut self, at: OffsetDateTime) {
        let mut found = Vec::new();
        self.watched.retain_mut(|w| {
            // Asked first: whoever holds the counters later adds nothing more.
            let is_gone = Arc::strong_count(&w.counters) == 1;
            let sums = Sums::of(&w.counters.now());
            let more = sums.with(&w.seen, u64::saturating_sub);
            w.seen = sums;
            found.push((w.id.clone(), w.version.clone(), more));
            !is_gone
        });
        for (id, version, more) in found {
            self.add(&id, version, &more, at);
        }
    }

    fn add(&mut self, id: &str, version: String, more: &Sums, at: OffsetDateTime) {
        if more.is_empty() {
            return;
        }
        let fresh = || Pending { version: String::new(), since: at, due: at, wait: MINUTE, sums: Sums::default() };
        let pending = self.pending.entry(id.to_owned()).or_insert_with(fresh);
        pending.sums = pending.sums.with(more, u64::saturating_add);
        pending.version = version;
    }

    /// The events that are due; all that there are, where the node stops.
    fn due(&mut self, at: OffsetDateTime, all: bool) -> Vec<PluginChange> {
        let mut changes = Vec::new();
        self.pending.retain(|id, p| {
            if at < p.due && !all {
                return true;
            }
            if p.sums.is_empty() {
                // A whole stretch without anything: it begins anew with a minute.
                return false;
            }
            let sums = std::mem::take(&mut p.sums);
            let act = PluginAct::Incidents {
                since: p.since,
                version: p.version.clone(),
                denied: sums.denied,
                throttled: sums.throttled,
                killed: sums.killed,
                openings: sums.openings,
                quarantined: sums.quarantines > 0,
            };
            changes.push(PluginChange { plugin: id.clone(), act });
            p.since = at;
            p.due = at + p.wait;
            p.wait = (p.wait * 2).min(LONGEST);
            true
        });
        changes
    }
}

impl Market {
    pub(crate) fn watch(&self, plugin: &Plugin) {
        self.0.trail.lock().unwrap_or_else(PoisonError::into_inner).watch(plugin);
    }

    async fn write_trail(&self, all: bool) {
        let at = now();
        let changes = {
            let mut trail = self.0.trail.lock().unwrap_or_else(PoisonError::into_inner);
            trail.look(at);
            trail.due(at, all)
        };
        for change in changes {
            let plugin = change.plugin.clone();
            if let Err(error) = self.ledger().record_plugin(change, at).await {
                tracing::error!(%error, plugin, "what a plugin was refused and how it was killed is not in the log");
            }
        }
    }

    /// Writes down what is not yet in the log. For when the data is about to be closed.
    pub async fn finish_trail(&self) {
        self.write_trail(true).await;
    }

    /// Writes the trail every minute until `stop` says true.
    pub async fn keep_trail(&self, mut stop: tokio::sync::watch::Receiver<bool>) {
        loop {
            let stops = tokio::select! {
                biased;
                _ = stop.wait_for(|s| *s) => true,
                () = tokio::time::sleep(MINUTE) => false,
            };
            self.write_trail(stops).await;
            if stops {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const START: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

    fn sums(denied: u64, killed: u64) -> Sums {
        Sums {
            denied: [("storage".to_owned(), denied)].into_iter().filter(|(_, n)| *n > 0).collect(),
            killed: [("deadline".to_owned(), killed)].into_iter().filter(|(_, n)| *n > 0).collect(),
            ..Sums::default()
        }
    }

    /// A day of a plugin that is denied 1,000 times a minute.
    #[test]
    fn a_plugin_that_goes_on_for_a_day_leaves_some_dozen_events_with_every_denial_counted() {
        let (mut trail, mut events, mut counted) = (Trail::default(), 0, 0);
        for minute in 0..24 * 60 {
            let at = START + MINUTE * minute;
            trail.add("p", "1.0.0".into(), &sums(1_000, 0), at);
            for change in trail.due(at, false) {
                let PluginAct::Incidents { denied, .. } = change.act else { panic!("{change:?}") };
                (events, counted) = (events + 1, counted + denied["storage"]);
            }
        }
        for change in trail.due(START, true) {
            let PluginAct::Incidents { denied, .. } = change.act else { panic!("{change:?}") };
            counted += denied["storage"];
        }
        assert!((24..36).contains(&events), "{events}");
        assert_eq!(counted, 1_000 * 24 * 60);
    }

    #[test]
    fn the_first_is_written_at_once_and_a_quiet_one_begins_anew() {
        let mut trail = Trail::default();
        let due = |trail: &mut Trail, minute: u32| trail.due(START + MINUTE * minute, false).len();
        trail.add("p", "1.0.0".into(), &sums(0, 5), START);
        trail.add("q", "1.0.0".into(), &sums(1, 0), START);
        assert_eq!(due(&mut trail, 0), 2, "one for each plugin");
        trail.add("p", "1.0.0".into(), &sums(0, 5), START);
        assert_eq!(due(&mut trail, 0), 0, "within the minute");
        assert_eq!(due(&mut trail, 1), 1);
        trail.add("p", "1.0.0".into(), &sums(0, 5), START + MINUTE * 2);
        assert_eq!(due(&mut trail, 2), 0, "now it is two minutes");
        assert_eq!(due(&mut trail, 3), 1);
        assert_eq!(due(&mut trail, 7), 0);
        assert!(trail.pending.is_empty(), "four minutes without anything");
    }

    #[test]
    fn only_what_is_new_counts() {
        let more = sums(5, 3).with(&sums(2, 3), u64::saturating_sub);
        assert_eq!(more, sums(3, 0));
        assert!(sums(1, 1).with(&sums(1, 1), u64::saturating_sub).is_empty());
    }
}
