//! Sets of groups, as runs: which are missing, which somebody has. Never empty runs, never two that touch.

use std::collections::BTreeMap;
use std::ops::Range;

/// A set of groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Runs {
    /// From the first group of a run to the one behind its last.
    runs: BTreeMap<u64, u64>,
    groups: u64,
}

impl Runs {
    pub fn new(runs: impl IntoIterator<Item = Range<u64>>) -> Self {
        let mut this = Self::default();
        for run in runs {
            this.insert(run);
        }
        this
    }

    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// How many groups there are in it.
    pub fn groups(&self) -> u64 {
        self.groups
    }

    pub fn insert(&mut self, run: Range<u64>) {
        if run.start >= run.end {
            return;
        }
        let (mut start, mut end) = (run.start, run.end);
        // Those that overlap or touch it become one with it.
        while let Some((&s, &e)) = self.runs.range(..=end).next_back().filter(|(_, e)| **e >= start) {
            (start, end) = (start.min(s), end.max(e));
            self.runs.remove(&s);
            self.groups -= e - s;
        }
        self.runs.insert(start, end);
        self.groups += end - start;
    }

    pub fn remove(&mut self, run: Range<u64>) {
        if run.start >= run.end {
            return;
        }
        while let Some((&s, &e)) = self.runs.range(..run.end).next_back().filter(|(_, e)| **e > run.start) {
            self.runs.remove(&s);
            self.groups -= e - s;
            for rest in [s..run.start.min(e), run.end.max(s)..e] {
                if rest.start < rest.end {
                    self.groups += rest.end - rest.start;
                    self.runs.insert(rest.start, rest.end);
                }
            }
            // Only what lies before can still overlap.
            if s <= run.start {
                break;
            }
        }
    }

    /// The parts of its runs within a range, in order.
    pub fn within(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let before = self.runs.range(..range.start).next_back().map(|(s, e)| (*s, *e));
        let rest = self.runs.range(range.start..range.end.max(range.start)).map(|(s, e)| (*s, *e));
        let cut = move |(s, e): (u64, u64)| s.max(range.start)..e.min(range.end);
        before.into_iter().chain(rest).map(cut).filter(|run| run.start < run.end)
    }

    /// Whether all of a range is in it.
    pub fn has_all(&self, range: &Range<u64>) -> bool {
        self.within(range.clone()).next().is_some_and(|run| run == *range)
    }

    /// The first run within a range of what is in this and, where there is one, in the other as well.
    pub fn first_common(&self, other: Option<&Self>, range: Range<u64>) -> Option<Range<u64>> {
        let Some(other) = other else { return self.within(range).next() };
        // Whichever is shorter leads.
        let (short, long) = if self.runs.len() <= other.runs.len() { (self, other) } else { (other, self) };
        short.within(range).find_map(|run| long.within(run).next())
    }

    /// The first run within a range of what is in this, and not in the other.
    pub fn first_without(&self, other: &Self, range: Range<u64>) -> Option<Range<u64>> {
        self.within(range).find_map(|run| {
            let mut at = run.start;
            for taken in other.within(run.clone()) {
                if at < taken.start {
                    return Some(at..taken.start);
                }
                at = taken.end;
            }
            (at < run.end).then_some(at..run.end)
        })
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "lists of one run are meant")]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Against a plain set, with numbers that come from a hash.
    #[test]
    fn it_is_a_set() {
        let (mut runs, mut model) = (Runs::default(), BTreeSet::new());
        let mut noise = blake3::Hasher::new().finalize_xof();
        let mut number = |below: u8| {
            let mut byte = [0];
            noise.fill(&mut byte);
            u64::from(byte[0] % below)
        };
        for _ in 0..3_000 {
            let start = number(60);
            let run = start..start + number(12);
            if number(2) == 0 {
                runs.insert(run.clone());
                model.extend(run);
            } else {
                runs.remove(run.clone());
                model.retain(|g| !run.contains(g));
            }
            let all: Vec<u64> = runs.within(0..100).flatten().collect();
            assert_eq!(all, model.iter().copied().collect::<Vec<_>>());
            assert_eq!(runs.groups(), model.len() as u64);
            let apart = runs.within(0..100).collect::<Vec<_>>();
            assert!(apart.windows(2).all(|w| w[0].end < w[1].start), "{apart:?}");
            let part = number(60)..number(80);
            let cut: Vec<u64> = runs.within(part.clone()).flatten().collect();
            assert_eq!(cut, model.iter().copied().filter(|g| part.contains(g)).collect::<Vec<_>>(), "{part:?}");
            assert_eq!(
                runs.has_all(&part),
                !part.is_empty() && part.clone().all(|g| model.contains(&g)),
                "{part:?} {apart:?}"
            );
            let other = Runs::new([number(60)..number(80), 70..72]);
            let first = |common: bool| {
                part.clone().find(|g| model.contains(g) && other.within(*g..*g + 1).next().is_some() == common)
            };
            assert_eq!(runs.first_common(Some(&other), part.clone()).map(|r| r.start), first(true));
            assert_eq!(runs.first_without(&other, part.clone()).map(|r| r.start), first(false));
        }
    }
}
