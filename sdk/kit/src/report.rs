//! What the checks found, for a person and for a program.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use fondaco_schemas::Manifest;
use serde_json::{Value, json};

/// Findings of one check that are shown; the rest are counted.
const SHOWN: usize = 6;
/// Longest finding, in characters: pages and error texts come from the plugin.
const MAX_FINDING: usize = 600;

/// How a check ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is well.
    Passed,
    /// What is wrong, and what to do, a sentence each.
    Failed(Vec<String>),
    /// Why there was nothing to check.
    Skipped(String),
}

/// One check.
#[derive(Clone, Debug)]
pub struct Check {
    /// A stable name: `storefront/labels`.
    pub name: &'static str,
    /// What holds where it passes.
    pub about: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub took: Duration,
}

/// A check that is under way.
#[derive(Debug)]
pub(crate) struct Draft {
    name: &'static str,
    about: &'static str,
    started: Instant,
    findings: Vec<String>,
    more: usize,
}

impl Draft {
    /// Notes what is wrong and what to do. The same words count once.
    pub fn fail(&mut self, finding: impl Into<String>) {
        let finding = plain(&finding.into());
        if self.findings.contains(&finding) {
            return;
        }
        if self.findings.len() < SHOWN {
            self.findings.push(finding);
        } else {
            self.more += 1;
        }
    }
    /// Has nothing been noted yet?
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }
    /// Notes it unless it holds.
    pub fn expect(&mut self, holds: bool, finding: impl FnOnce() -> String) {
        if !holds {
            self.fail(finding());
        }
    }
}

/// All checks of one plugin.
#[derive(Clone, Debug)]
pub struct Report {
    /// `org.nightowl.shelf 1.4.0`
    pub plugin: String,
    /// Its kind.
    pub kind: &'static str,
    /// In the order in which they ran.
    pub checks: Vec<Check>,
    /// All in all.
    pub took: Duration,
    only: String,
}

impl Report {
    pub(crate) fn new(manifest: &Manifest, only: String) -> Self {
        let plugin = format!("{} {}", manifest.id, manifest.version);
        Self { plugin, kind: manifest.kind.as_str(), checks: Vec::new(), took: Duration::ZERO, only }
    }

    /// Is a check of this name asked for? Others need not be made.
    pub(crate) fn wants(&self, name: &str) -> bool {
        name.starts_with(self.only.as_str())
    }

    /// Begins a check.
    #[expect(clippy::unused_self, reason = "a draft belongs to a report, and reads so")]
    pub(crate) fn begin(&self, name: &'static str, about: &'static str) -> Draft {
        Draft { name, about, started: Instant::now(), findings: Vec::new(), more: 0 }
    }

    /// Ends a check.
    pub(crate) fn end(&mut self, draft: Draft) {
        let Draft { name, about, started, mut findings, more } = draft;
        if more > 0 {
            findings.push(format!("and {more} more like these"));
        }
        let outcome = if findings.is_empty() { Outcome::Passed } else { Outcome::Failed(findings) };
        self.put(Check { name, about, outcome, took: started.elapsed() });
    }

    /// Notes a check that has nothing to look at.
    pub(crate) fn skip(&mut self, name: &'static str, about: &'static str, why: impl Into<String>) {
        self.put(Check { name, about, outcome: Outcome::Skipped(plain(&why.into())), took: Duration::ZERO });
    }

    fn put(&mut self, check: Check) {
        if self.wants(check.name) {
            self.checks.push(check);
        }
    }

    /// Did every check that ran pass?
    pub fn is_passed(&self) -> bool {
        self.count(|o| matches!(o, Outcome::Failed(_))) == 0 && self.count(|o| *o == Outcome::Passed) > 0
    }

    fn count(&self, of: impl Fn(&Outcome) -> bool) -> usize {
        self.checks.iter().filter(|c| of(&c.outcome)).count()
    }

    /// A line for each check, and a sentence for each finding.
    pub fn text(&self) -> String {
        let mut out = format!("{}, {}\n", self.plugin, self.kind);
        // Writing to a string never fails.
        for check in &self.checks {
            let millis = check.took.as_millis();
            let _ = match &check.outcome {
                Outcome::Passed => writeln!(out, "  ok      {:<28} {} ({millis} ms)", check.name, check.about),
                Outcome::Skipped(why) => writeln!(out, "  -       {:<28} {why}", check.name),
                Outcome::Failed(findings) => {
                    let _ = writeln!(out, "  FAILED  {:<28} {}", check.name, check.about);
                    for finding in findings {
                        let _ = writeln!(out, "          {finding}");
                    }
                    Ok(())
                }
            };
        }
        if self.checks.is_empty() {
            let _ = writeln!(out, "  no check has a name that begins with {:?}", self.only);
        }
        let _ = write!(
            out,
            "{} passed, {} failed, {} with nothing to check, in {:.1} s",
            self.count(|o| *o == Outcome::Passed),
            self.count(|o| matches!(o, Outcome::Failed(_))),
            self.count(|o| matches!(o, Outcome::Skipped(_))),
            self.took.as_secs_f64()
        );
        out
    }

    /// The same as one JSON object.
    pub fn json(&self) -> Value {
        let checks: Vec<_> = self
            .checks
            .iter()
            .map(|c| {
                let (outcome, findings) = match &c.outcome {
                    Outcome::Passed => ("passed", vec![]),
                    Outcome::Failed(findings) => ("failed", findings.clone()),
                    Outcome::Skipped(why) => ("skipped", vec![why.clone()]),
                };
                let millis = u64::try_from(c.took.as_millis()).unwrap_or(u64::MAX);
                json!({ "name": c.name, "about": c.about, "outcome": outcome, "findings": findings, "millis": millis })
            })
            .collect();
        json!({
            "plugin": self.plugin,
            "kind": self.kind,
            "ok": self.is_passed(),
            "passed": self.count(|o| *o == Outcome::Passed),
            "failed": self.count(|o| matches!(o, Outcome::Failed(_))),
            "skipped": self.count(|o| matches!(o, Outcome::Skipped(_))),
            "checks": checks,
        })
    }
}

/// A plugin's own words on one line, for a terminal: what could steer it is left out.
fn plain(text: &str) -> String {
    let line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut short: String = line.take(MAX_FINDING).collect();
    if text.chars().count() > MAX_FINDING {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(only: &str) -> Report {
        Report {
            plugin: "org.example.x 1.0.0".into(),
            kind: "search",
            checks: vec![],
            took: Duration::ZERO,
            only: only.into(),
        }
    }

    #[test]
    fn says_what_failed_a_few_times_and_counts_the_rest() {
        let mut report = report("");
        let mut draft = report.begin("a/b", "works");
        for i in 0..20 {
            draft.fail(format!("page {} is\u{1b}[2J broken", i / 2));
        }
        report.end(draft);
        let text = report.text();
        assert!(text.contains("FAILED  a/b") && text.contains("page 0 is [2J broken"), "{text}");
        assert!(text.contains("and 8 more like these") && !text.contains('\u{1b}'), "{text}");
        assert!(!report.is_passed());
        assert_eq!(report.json()["failed"], 1);
    }

    #[test]
    fn a_report_in_which_nothing_ran_is_no_success() {
        let mut report = report("other/");
        let draft = report.begin("a/b", "works");
        report.end(draft);
        assert!(!report.is_passed());
        assert!(report.text().contains("no check has a name"));
    }
}
