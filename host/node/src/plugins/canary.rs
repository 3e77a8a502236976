//! The first calls of a new version. Where most of them fail, the version before comes back by itself; it is said in the
//! log, in the ledger, and in `plugin list` and `info`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fondaco_runtime::Health;
use fondaco_schemas::PluginId;
use tokio::sync::watch;

use super::place::{Place, Trial};
use super::rollback::go_back;
use crate::control::told;
use crate::fail::Done;
use crate::node::Node;

/// How often the counters are looked at.
const LOOK: Duration = Duration::from_millis(250);
/// A trial ends well after so many calls …
const CALLS: u64 = 50;
/// … or so long after the first.
const TIME: Duration = Duration::from_mins(1);
/// Fewer failures than this say nothing.
const FAILURES: u64 = 5;

/// What the first calls say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Wait,
    Passed,
    Failed,
}

/// `since`: how long ago the first call was.
fn verdict(calls: u64, failures: u64, since: Duration) -> Verdict {
    if failures >= FAILURES && failures.saturating_mul(2) > calls {
        Verdict::Failed
    } else if calls >= CALLS || (calls > 0 && since >= TIME) {
        Verdict::Passed
    } else {
        Verdict::Wait
    }
}

/// Watches every version that is on trial, until `stop` says true.
pub async fn keep_watching_trials(node: Arc<Node>, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            biased;
            () = told(&mut stop) => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        for (id, place) in node.places.all() {
            if let Some(trial) = place.trial {
                look(&node, &id, &place, trial).await;
            }
        }
    }
}

async fn look(node: &Node, id: &PluginId, place: &Place, mut trial: Trial) {
    let counted = place.plugin.counters().now();
    let calls = counted.calls().saturating_sub(trial.before.0);
    let failures = counted.failures().saturating_sub(trial.before.1);
    if calls > 0 && trial.first.is_none() {
        trial.first = Some(Instant::now());
        node.places.set_trial(id, &place.plugin, Some(trial));
    }
    let since = trial.first.map_or(Duration::ZERO, |first| first.elapsed());
    // A version that nobody can call any more is no better than one whose calls fail.
    let is_shut = matches!(place.plugin.health(), Health::Open(_) | Health::Quarantined);
    let verdict = if is_shut { Verdict::Failed } else { verdict(calls, failures, since) };
    let done = match verdict {
        Verdict::Wait => return,
        Verdict::Passed => passed(node, id, place).await,
        Verdict::Failed => failed(node, id, place, format!("{failures} of its first {calls} calls failed")).await,
    };
    if let Err(fail) = done {
        // Once: what cannot be gone back to now cannot be in a moment.
        node.places.set_trial(id, &place.plugin, None);
        tracing::error!(plugin = %place.plugin.who(), "the trial of this version could not be ended: {fail}");
    }
}

async fn passed(node: &Node, id: &PluginId, place: &Place) -> Done {
    let _one = node.installing.lock().await;
    node.places.set_trial(id, &place.plugin, None);
    let mut lock = node.folder.lock()?;
    if let Some(locked) = lock.plugins.get_mut(id.as_str())
        && locked.trial
        && locked.bundle == place.verified.bundle_hash
    {
        locked.trial = false;
        node.folder.write_lock(&lock)?;
        tracing::info!(plugin = %place.plugin.who(), "its first calls went well: the trial is over");
    }
    Ok(())
}

async fn failed(node: &Node, id: &PluginId, place: &Place, why: String) -> Done {
    let _one = node.installing.lock().await;
    let mut lock = node.folder.lock()?;
    let locked = lock.plugins.get(id.as_str());
    if !locked.is_some_and(|l| l.trial && !l.pinned && l.bundle == place.verified.bundle_hash) {
        // Another has taken its place, or the operator wants this one and no other.
        node.places.set_trial(id, &place.plugin, None);
        return Ok(());
    }
    tracing::error!(plugin = %place.plugin.who(), "{why}: going back to the version before");
    let (from, to) = go_back(node, &mut lock, id, why).await?;
    tracing::warn!(plugin = %id, %from, %to, "went back");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_of_the_first_calls_must_fail_and_at_least_five() {
        let soon = Duration::from_secs(1);
        for (calls, failures, since, expected) in [
            (0, 0, Duration::ZERO, Verdict::Wait),
            (4, 4, soon, Verdict::Wait),
            (5, 5, soon, Verdict::Failed),
            (9, 5, soon, Verdict::Failed),
            (10, 5, soon, Verdict::Wait),
            (49, 24, soon, Verdict::Wait),
            (49, 25, soon, Verdict::Failed),
            (50, 25, soon, Verdict::Passed),
            (3, 3, TIME, Verdict::Passed),
            (0, 0, TIME, Verdict::Wait),
        ] {
            assert_eq!(verdict(calls, failures, since), expected, "{failures} of {calls} after {since:?}");
        }
    }
}
