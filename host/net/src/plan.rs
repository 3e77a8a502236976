//! Which source fetches what: units of 1 MiB, handed out in order, handed out twice at the end.
//!
//! A rule without input, output or clock. Sources take units, bring them, or give them back; when nothing waits any more, a
//! source that is free takes one over from another, so that the slowest does not decide when all is done.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

/// Groups of a unit.
pub(crate) const UNIT_GROUPS: u64 = 64;
/// Units that wait at most; whoever brings more waits for room.
pub(crate) const MOST_WAITING: usize = 128;
/// Sources that fetch one unit at once at most.
const MOST_HOLDERS: usize = 2;

/// Which unit: of which file, and its number in it.
pub(crate) type Key = (usize, u64);
/// Which source.
pub(crate) type SourceId = usize;

/// Something to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    pub key: Key,
    /// Runs of groups that are missing.
    pub runs: Vec<Range<u64>>,
}

#[derive(Debug)]
struct Taken {
    unit: Unit,
    by: Vec<SourceId>,
}

/// The plan.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    waiting: VecDeque<Unit>,
    taken: BTreeMap<Key, Taken>,
    /// Whether no more units come.
    fed: bool,
}

impl Plan {
    pub fn has_room(&self) -> bool {
        self.waiting.len() < MOST_WAITING
    }

    pub fn push(&mut self, unit: Unit) {
        self.waiting.push_back(unit);
    }

    /// No more units come.
    pub fn end(&mut self) {
        self.fed = true;
    }

    /// The next unit that this source can bring.
    pub fn take(&mut self, source: SourceId, can: impl Fn(&Unit) -> bool) -> Option<Unit> {
        if let Some(at) = self.waiting.iter().position(&can) {
            let unit = self.waiting.remove(at)?;
            self.taken.insert(unit.key, Taken { unit: unit.clone(), by: vec![source] });
            return Some(unit);
        }
        if !self.fed || !self.waiting.is_empty() {
            return None;
        }
        let late =
            self.taken.values_mut().find(|t| t.by.len() < MOST_HOLDERS && !t.by.contains(&source) && can(&t.unit))?;
        late.by.push(source);
        Some(late.unit.clone())
    }

    /// A unit was brought. False: another source was faster.
    pub fn done(&mut self, key: Key) -> bool {
        self.taken.remove(&key).is_some()
    }

    /// A source does not bring a unit.
    pub fn back(&mut self, source: SourceId, key: Key) {
        let Some(taken) = self.taken.get_mut(&key) else { return };
        taken.by.retain(|s| *s != source);
        if taken.by.is_empty()
            && let Some(taken) = self.taken.remove(&key)
        {
            self.waiting.push_front(taken.unit);
        }
    }

    /// A source brought a part of a unit, and not the rest.
    pub fn shrink(&mut self, key: Key, runs: Vec<Range<u64>>) {
        if let Some(taken) = self.taken.get_mut(&key) {
            taken.unit.runs = runs;
        }
    }

    /// Whether units wait that nobody has taken.
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether there is a unit that is not done.
    pub fn has_units(&self) -> bool {
        !self.waiting.is_empty() || !self.taken.is_empty()
    }

    pub fn is_done(&self) -> bool {
        self.fed && self.waiting.is_empty() && self.taken.is_empty()
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "a list of one run is meant")]
mod tests {
    use super::*;

    fn plan(units: u64) -> Plan {
        let mut plan = Plan::default();
        for number in 0..units {
            plan.push(Unit { key: (0, number), runs: vec![number..number + 1] });
        }
        plan
    }

    fn take(plan: &mut Plan, source: SourceId) -> Option<u64> {
        plan.take(source, |_| true).map(|unit| unit.key.1)
    }

    #[test]
    fn units_go_out_in_order_and_what_comes_back_goes_first() {
        let mut plan = plan(4);
        assert_eq!((take(&mut plan, 1), take(&mut plan, 2), take(&mut plan, 1)), (Some(0), Some(1), Some(2)));
        plan.back(2, (0, 1));
        assert_eq!((take(&mut plan, 3), take(&mut plan, 3)), (Some(1), Some(3)));
        assert_eq!(take(&mut plan, 3), None, "more may come");
        plan.back(9, (0, 0));
        assert!(plan.taken.contains_key(&(0, 0)), "nobody gives back what another has");
    }

    #[test]
    fn at_the_end_the_free_help_the_late() {
        let mut plan = plan(2);
        assert_eq!((take(&mut plan, 1), take(&mut plan, 1)), (Some(0), Some(1)));
        plan.end();
        assert_eq!((take(&mut plan, 2), take(&mut plan, 2)), (Some(0), Some(1)));
        assert_eq!((take(&mut plan, 2), take(&mut plan, 3)), (None, None), "twice is enough");
        assert!(plan.done((0, 0)) && !plan.done((0, 0)));
        plan.back(1, (0, 1));
        assert!(plan.taken.contains_key(&(0, 1)), "the other still brings it");
        assert!(!plan.is_done());
        plan.back(2, (0, 1));
        assert_eq!(take(&mut plan, 3), Some(1));
        assert!(plan.done((0, 1)) && plan.is_done());
    }

    #[test]
    fn a_source_takes_only_what_it_can_bring() {
        let mut plan = plan(3);
        assert_eq!(plan.take(1, |unit| unit.key.1 == 2).map(|u| u.key), Some((0, 2)));
        assert_eq!(plan.take(1, |unit| unit.key.1 == 2), None);
        assert_eq!(take(&mut plan, 2), Some(0));
    }
}
