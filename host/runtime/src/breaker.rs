//! A plugin's circuit breaker: five calls within a minute that trap or are killed close the way to it, so that a broken
//! plugin costs its callers nothing but a clear answer. After a wait one call is let through as a trial; each opening in
//! a row doubles the wait, and the eighth puts the plugin in quarantine, which only the operator ends. The runtime asks
//! before each call and tells it how the call ended. It is a plain state machine: it never reads a clock, never waits
//! and knows no plugin.

use std::time::Duration;

/// So many failed calls open the breaker …
pub const FAILURES: usize = 5;
/// … where they ended within this time.
pub const WINDOW: Duration = Duration::from_mins(1);
/// How long it stays open the first time; then twice as long, and so on …
pub const FIRST_WAIT: Duration = Duration::from_mins(1);
/// … up to this.
pub const LONGEST_WAIT: Duration = Duration::from_hours(1);
/// The opening in a row that is a quarantine: no more trials until the plugin is started anew.
pub const QUARANTINE: u32 = 8;

/// What the operator sees of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Calls are let through.
    Closed,
    /// No call is let through for so long.
    Open(Duration),
    /// The next call is a trial, or one is under way.
    HalfOpen,
    /// No call is let through until the operator enables the plugin again or installs another version.
    Quarantined,
}

impl Health {
    /// Its name in commands and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open(_) => "open",
            Self::HalfOpen => "half-open",
            Self::Quarantined => "quarantined",
        }
    }
}

/// What a call was let through as; given back when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// One of many.
    Call,
    /// The one that decides.
    Trial,
}

/// Whose fault a call's end was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The plugin answered.
    Well,
    /// It trapped or was killed.
    Badly,
    /// It was not tried to its end: the caller left, or what it waited for was to blame.
    Unknown,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Closed,
    Open { until: Duration },
    Trial,
    Quarantined,
}

/// See the module. Times are spans since one fixed moment, never going back.
#[derive(Debug)]
pub(crate) struct Breaker {
    phase: Phase,
    /// The last failures, oldest first.
    failures: [Option<Duration>; FAILURES],
    /// Openings in a row.
    row: u32,
    last_wait: Duration,
    closed_at: Duration,
}

impl Breaker {
    pub fn new() -> Self {
        Self {
            phase: Phase::Closed,
            failures: [None; FAILURES],
            row: 0,
            last_wait: Duration::ZERO,
            closed_at: Duration::ZERO,
        }
    }

    /// May a call go through now? If not, why.
    pub fn admit(&mut self, now: Duration) -> Result<Pass, Health> {
        match self.phase {
            Phase::Closed => Ok(Pass::Call),
            Phase::Open { until } if now >= until => {
                self.phase = Phase::Trial;
                Ok(Pass::Trial)
            }
            _ => Err(self.health(now)),
        }
    }

    /// Takes in how a call ended. True where that opened the breaker.
    pub fn ended(&mut self, now: Duration, pass: Pass, verdict: Verdict) -> bool {
        match (pass, verdict, self.phase) {
            (Pass::Trial, Verdict::Well, Phase::Trial) => {
                self.phase = Phase::Closed;
                self.closed_at = now;
                self.failures = [None; FAILURES];
                false
            }
            (Pass::Trial, Verdict::Badly, Phase::Trial) => {
                self.open(now);
                true
            }
            // The next call is the trial.
            (Pass::Trial, Verdict::Unknown, Phase::Trial) => {
                self.phase = Phase::Open { until: now };
                false
            }
            (Pass::Call, Verdict::Badly, Phase::Closed) => {
                self.failures.rotate_left(1);
                if let Some(last) = self.failures.last_mut() {
                    *last = Some(now);
                }
                let opens =
                    self.failures.first().copied().flatten().is_some_and(|first| now.saturating_sub(first) <= WINDOW);
                if opens {
                    // In a row: unless it went well for twice as long as callers had to wait before.
                    if now.saturating_sub(self.closed_at) >= self.last_wait * 2 {
                        self.row = 0;
                    }
                    self.open(now);
                }
                opens
            }
            // Calls from before it opened end whenever they end.
            _ => false,
        }
    }

    fn open(&mut self, now: Duration) {
        self.row = self.row.saturating_add(1);
        self.failures = [None; FAILURES];
        if self.row >= QUARANTINE {
            self.phase = Phase::Quarantined;
            return;
        }
        self.last_wait = (FIRST_WAIT * (1 << (self.row - 1).min(16))).min(LONGEST_WAIT);
        self.phase = Phase::Open { until: now + self.last_wait };
    }

    pub fn health(&self, now: Duration) -> Health {
        match self.phase {
            Phase::Closed => Health::Closed,
            Phase::Open { until } if now < until => Health::Open(until.saturating_sub(now)),
            Phase::Open { .. } | Phase::Trial => Health::HalfOpen,
            Phase::Quarantined => Health::Quarantined,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A closed breaker that meets five failures at `now`.
    fn five(b: &mut Breaker, now: Duration) {
        for n in 0..FAILURES {
            assert_eq!(b.admit(now), Ok(Pass::Call), "failure {n}");
            assert_eq!(b.ended(now, Pass::Call, Verdict::Badly), n + 1 == FAILURES);
        }
    }

    #[test]
    fn five_failures_in_a_minute_open_it_and_four_do_not() {
        let mut b = Breaker::new();
        for second in [0, 20, 40, 60, 81, 101, 121, 141] {
            b.ended(at(second), Pass::Call, Verdict::Badly);
            assert_eq!(b.health(at(second)), Health::Closed, "at {second} s: the last five took over a minute");
        }
        let mut b = Breaker::new();
        for second in [0, 15, 30, 45] {
            assert!(!b.ended(at(second), Pass::Call, Verdict::Badly));
        }
        assert!(b.ended(at(60), Pass::Call, Verdict::Badly), "five within exactly a minute");
        assert_eq!(b.health(at(60)), Health::Open(FIRST_WAIT));
    }

    #[test]
    fn one_trial_at_a_time_decides() {
        let mut b = Breaker::new();
        five(&mut b, at(0));
        assert_eq!(b.admit(at(59)), Err(Health::Open(at(1))));
        assert_eq!(b.health(at(60)), Health::HalfOpen, "the wait is over");
        assert_eq!(b.admit(at(60)), Ok(Pass::Trial));
        assert_eq!(b.admit(at(60)), Err(Health::HalfOpen), "a second one waits for the first");
        b.ended(at(61), Pass::Trial, Verdict::Unknown);
        assert_eq!(b.admit(at(61)), Ok(Pass::Trial), "a trial that nobody waited for decided nothing");
        assert!(!b.ended(at(62), Pass::Trial, Verdict::Well));
        assert_eq!(b.admit(at(62)), Ok(Pass::Call));
    }

    #[test]
    fn waits_double_up_to_an_hour_and_the_eighth_opening_is_a_quarantine() {
        let mut b = Breaker::new();
        let mut now = at(0);
        five(&mut b, now);
        let mut waits = Vec::new();
        while let Health::Open(wait) = b.health(now) {
            waits.push(wait.as_secs() / 60);
            now += wait;
            assert_eq!(b.admit(now), Ok(Pass::Trial));
            assert!(b.ended(now, Pass::Trial, Verdict::Badly));
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60]);
        assert_eq!((b.health(now), b.row), (Health::Quarantined, QUARANTINE));
        assert_eq!(b.admit(now + Duration::from_hours(10_000)), Err(Health::Quarantined), "it never ends by itself");
    }

    #[test]
    fn a_plugin_that_passes_its_trial_and_fails_again_stays_in_the_row() {
        let mut b = Breaker::new();
        five(&mut b, at(0));
        b.admit(at(60)).unwrap();
        b.ended(at(60), Pass::Trial, Verdict::Well);
        five(&mut b, at(100));
        assert_eq!(b.health(at(100)), Health::Open(at(120)), "40 s of health are not enough");
        b.admit(at(220)).unwrap();
        b.ended(at(220), Pass::Trial, Verdict::Well);
        five(&mut b, at(220 + 240));
        assert_eq!(b.health(at(460)), Health::Open(FIRST_WAIT), "twice the last wait is");
    }

    proptest! {
        /// Whatever happens when: nothing passes while it is open, one trial at a time, and it opens for five failures
        /// within a minute or a failed trial, never for less.
        #[test]
        fn it_opens_for_nothing_less_than_its_rule(
            // Mostly close together, or five failures would hardly ever fall into one minute.
            steps in prop::collection::vec((prop_oneof![4 => 0_u64..4, 1 => 0_u64..90], 0_u8..4, 0_u8..3), 1..300),
        ) {
            let mut b = Breaker::new();
            let mut now = Duration::ZERO;
            let mut under_way: Vec<Pass> = Vec::new();
            let mut failures: Vec<Duration> = Vec::new();
            for (wait, act, verdict) in steps {
                now += at(wait);
                if act < 2 || under_way.is_empty() {
                    let health = b.health(now);
                    match b.admit(now) {
                        Ok(pass) => {
                            prop_assert!(matches!(health, Health::Closed | Health::HalfOpen), "{health:?}");
                            prop_assert_eq!(pass == Pass::Trial, health == Health::HalfOpen);
                            if pass == Pass::Trial {
                                prop_assert!(!under_way.contains(&Pass::Trial), "two trials at once");
                            }
                            under_way.push(pass);
                        }
                        Err(why) => prop_assert_eq!(why, health),
                    }
                    continue;
                }
                let pass = under_way.remove(usize::from(verdict) % under_way.len());
                let verdict = [Verdict::Well, Verdict::Badly, Verdict::Unknown][usize::from(verdict)];
                let was = b.health(now);
                if pass == Pass::Call && verdict == Verdict::Badly && was == Health::Closed {
                    failures.push(now);
                }
                let row = b.row;
                let opened = b.ended(now, pass, verdict);
                let recent = failures.iter().filter(|f| now.checked_sub(**f).is_some_and(|past| past <= WINDOW)).count();
                let due = (pass == Pass::Trial && verdict == Verdict::Badly)
                    || (pass == Pass::Call && verdict == Verdict::Badly && was == Health::Closed && recent >= FAILURES);
                prop_assert_eq!(opened, due);
                if opened {
                    failures.clear();
                    match b.health(now) {
                        Health::Open(wait) => {
                            prop_assert!((FIRST_WAIT..=LONGEST_WAIT).contains(&wait));
                            prop_assert!(b.row == 1 || b.row == row + 1);
                        }
                        other => prop_assert_eq!(other, Health::Quarantined),
                    }
                }
                if b.health(now) == Health::Closed && was != Health::Closed {
                    failures.clear();
                }
            }
        }
    }
}
