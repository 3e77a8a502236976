//! Which source fetches what: pieces of at most 1 MiB, handed out in order, those at a play-head first, and handed out
//! twice where a source has nothing else to do.
//!
//! A rule without input, output or clock. Sources take pieces, bring them, or give them back. Of a source that has a part
//! only, it is known which; it is given what it has, and those that have everything leave that to it while there is
//! something else. A source that can bring nothing of what nobody has taken takes a piece over from another, so that the
//! slowest does not decide when all is done.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::runs::Runs;

/// Groups of the largest piece. No piece reaches over a multiple of it, so that most of its nodes are its own.
pub(crate) const PIECE_GROUPS: u64 = 64;
/// Groups of the smallest piece: the one right at a play-head, so that a player does not wait for a whole MiB.
const HEAD_GROUPS: u64 = 4;
/// How far before a play-head is fetched in preference to all else: 8 MiB.
const AHEAD_GROUPS: u64 = 512;
/// Pieces that nobody has taken; while there are more, no further file is opened.
const MOST_FREE: u64 = 128;
/// Sources that fetch one piece at once at most, of those that have brought something already; and in all, where one joins
/// that has not.
const MOST_HOLDERS: usize = 2;
const MOST_UNPROVEN: usize = 3;

/// Which source.
pub(crate) type SourceId = usize;
/// Which play-head.
pub(crate) type HeadId = u64;

/// Something to fetch: groups of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub file: usize,
    pub groups: Range<u64>,
}

impl Piece {
    fn key(&self) -> (usize, u64) {
        (self.file, self.groups.start)
    }
}

#[derive(Debug)]
struct Taken {
    end: u64,
    by: Vec<SourceId>,
    /// The how manieth it was.
    number: u64,
}

/// Where somebody reads.
#[derive(Debug)]
struct Head {
    file: usize,
    /// The group that is read next, and the one behind the last.
    groups: Range<u64>,
    /// Whether it has waited for long: then others help with what it waits for.
    late: bool,
}

/// The plan.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// What is missing and nobody has taken, by file.
    free: BTreeMap<usize, Runs>,
    taken: BTreeMap<(usize, u64), Taken>,
    /// What sources that do not have all of a file have of it.
    has: BTreeMap<usize, BTreeMap<SourceId, Runs>>,
    /// Sources that have brought something.
    proven: BTreeSet<SourceId>,
    heads: BTreeMap<HeadId, Head>,
    next_head: HeadId,
    /// Pieces that were handed out.
    count: u64,
    /// Whether no more files come.
    fed: bool,
    /// Whether files come only when somebody reads them.
    lazy: bool,
}

impl Plan {
    /// Whether another file should be opened.
    pub fn has_room(&self) -> bool {
        self.free.values().map(|runs| runs.groups().div_ceil(PIECE_GROUPS)).sum::<u64>() < MOST_FREE
    }

    /// A file was opened, of which this is missing.
    pub fn open(&mut self, file: usize, missing: Vec<Range<u64>>) {
        self.free.insert(file, Runs::new(missing));
    }

    /// Files come only when somebody reads them.
    pub fn stay_open(&mut self) {
        self.lazy = true;
    }

    /// Files come by themselves.
    pub fn more_come(&mut self) {
        self.lazy = false;
    }

    /// No more files come.
    pub fn end(&mut self) {
        self.fed = true;
    }

    /// Somebody reads from a file, from the first of these groups to the last.
    pub fn read(&mut self, file: usize, groups: Range<u64>) -> HeadId {
        self.next_head += 1;
        self.heads.insert(self.next_head, Head { file, groups, late: false });
        self.next_head
    }

    /// A reader has come to this group.
    pub fn advance(&mut self, head: HeadId, group: u64) {
        if let Some(head) = self.heads.get_mut(&head) {
            (head.groups.start, head.late) = (group, false);
        }
    }

    /// A reader has waited for long.
    pub fn is_late(&mut self, head: HeadId) {
        if let Some(head) = self.heads.get_mut(&head) {
            head.late = true;
        }
    }

    /// A reader left.
    pub fn leave(&mut self, head: HeadId) {
        self.heads.remove(&head);
    }

    /// Whether somebody reads.
    pub fn has_readers(&self) -> bool {
        !self.heads.is_empty()
    }

    /// A source has brought something.
    pub fn prove(&mut self, source: SourceId) {
        self.proven.insert(source);
    }

    /// A source has only this of a file.
    pub fn learn(&mut self, source: SourceId, file: usize, has: Runs) {
        self.has.entry(file).or_default().insert(source, has);
    }

    /// What a source has is to be asked anew.
    pub fn forget(&mut self, source: SourceId) {
        self.has.retain(|_, of| {
            of.remove(&source);
            !of.is_empty()
        });
    }

    /// Whether a source is known to have a part of something, and not all.
    pub fn has_part(&self, source: SourceId) -> bool {
        self.has.values().any(|of| of.get(&source).is_some_and(|has| !has.is_empty()))
    }

    fn has(&self, source: SourceId, file: usize) -> Option<&Runs> {
        self.has.get(&file)?.get(&source)
    }

    /// The next piece that this source can bring, of at most so many groups. `idle`: it has nothing else to do.
    pub fn take(&mut self, source: SourceId, most: u64, idle: bool) -> Option<Piece> {
        let most = most.clamp(1, PIECE_GROUPS);
        if let Some(piece) = self.late_head(source) {
            return self.join(source, &piece);
        }
        if let Some(piece) = self.at_head(source, most).or_else(|| self.in_order(source, most)) {
            return Some(self.give_to(source, piece));
        }
        // Before the end, what two bring is brought twice: only one that is idle may do so, for another may have stalled.
        if (!self.fed && !self.lazy) || (!idle && self.has_free()) {
            return None;
        }
        // The one that was asked for last is the one that is the farthest from being brought.
        let others = self.taken.iter().filter(|(key, taken)| self.may_join(source, **key, taken));
        let piece = others.max_by_key(|(_, taken)| taken.number).map(|(key, taken)| piece_of(*key, taken))?;
        self.join(source, &piece)
    }

    /// The piece that begins at this group, if nobody has taken it.
    pub fn take_at(&mut self, source: SourceId, file: usize, group: u64) -> Option<Piece> {
        let run = self.free.get(&file)?.within(group..group.saturating_add(PIECE_GROUPS)).next()?;
        let groups = cut(run, PIECE_GROUPS);
        (groups.start == group).then(|| self.give_to(source, Piece { file, groups }))
    }

    fn give_to(&mut self, source: SourceId, piece: Piece) -> Piece {
        if let Some(free) = self.free.get_mut(&piece.file) {
            free.remove(piece.groups.clone());
        }
        self.count += 1;
        let taken = Taken { end: piece.groups.end, by: vec![source], number: self.count };
        self.taken.insert(piece.key(), taken);
        piece
    }

    fn may_join(&self, source: SourceId, (file, start): (usize, u64), taken: &Taken) -> bool {
        // Many who promise and bring nothing must not keep a piece from one who does.
        let has_room = if self.proven.contains(&source) {
            taken.by.iter().filter(|s| self.proven.contains(s)).count() < MOST_HOLDERS
        } else {
            taken.by.len() < MOST_UNPROVEN
        };
        has_room
            && !taken.by.contains(&source)
            && self.has(source, file).is_none_or(|has| has.has_all(&(start..taken.end)))
    }

    fn join(&mut self, source: SourceId, piece: &Piece) -> Option<Piece> {
        self.taken.get_mut(&piece.key())?.by.push(source);
        Some(piece.clone())
    }

    /// What a reader has waited for too long, and one source alone brings.
    fn late_head(&self, source: SourceId) -> Option<Piece> {
        self.heads.values().filter(|head| head.late).find_map(|head| {
            let at = (head.file, head.groups.start);
            let (key, taken) = self.taken.range((head.file, 0)..=at).next_back()?;
            let is_it = taken.end > head.groups.start && self.may_join(source, *key, taken);
            is_it.then(|| piece_of(*key, taken))
        })
    }

    /// The free piece that is the nearest to a play-head.
    fn at_head(&self, source: SourceId, most: u64) -> Option<Piece> {
        let nearest = self.heads.values().filter_map(|head| {
            let Range { start, end } = head.groups.clone();
            let ahead = start..end.min(start.saturating_add(AHEAD_GROUPS));
            let run = self.free.get(&head.file)?.first_common(self.has(source, head.file), ahead)?;
            // The farther from the head, the larger.
            let distance = run.start - start;
            Some((distance, head.file, cut(run, distance.clamp(HEAD_GROUPS, most.max(HEAD_GROUPS)))))
        });
        nearest.min_by_key(|(distance, ..)| *distance).map(|(_, file, groups)| Piece { file, groups })
    }

    /// The first free piece; for a source that has everything, one that no source with a part has, if there is any.
    fn in_order(&self, source: SourceId, most: u64) -> Option<Piece> {
        let rare = || {
            self.free.iter().find_map(|(file, free)| {
                let of = self.has.get(file).filter(|of| !of.contains_key(&source));
                let run = match of {
                    None if self.has(source, *file).is_none() => free.within(0..u64::MAX).next(),
                    None => None,
                    Some(of) => {
                        let others = Runs::new(of.values().flat_map(|has| has.within(0..u64::MAX)));
                        free.first_without(&others, 0..u64::MAX)
                    }
                };
                Some((*file, run?))
            })
        };
        let any = || {
            let common =
                |(file, free): (&usize, &Runs)| Some((*file, free.first_common(self.has(source, *file), 0..u64::MAX)?));
            self.free.iter().find_map(common)
        };
        // Those with a part have first call on it.
        let found = if self.has.is_empty() || self.has_part(source) { any() } else { rare().or_else(any) };
        found.map(|(file, run)| Piece { file, groups: cut(run, most) })
    }

    /// A source brought a piece, but for what is still missing of it. False: another was faster.
    pub fn done(&mut self, piece: &Piece, missing: Vec<Range<u64>>) -> bool {
        let was = self.taken.remove(&piece.key()).is_some();
        if was {
            self.give(piece.file, missing);
        }
        was
    }

    /// A source does not bring a piece, of which this is still missing.
    pub fn back(&mut self, source: SourceId, piece: &Piece, missing: Vec<Range<u64>>) {
        let Some(taken) = self.taken.get_mut(&piece.key()) else { return };
        taken.by.retain(|s| *s != source);
        if taken.by.is_empty() {
            self.taken.remove(&piece.key());
            self.give(piece.file, missing);
        }
    }

    fn give(&mut self, file: usize, missing: Vec<Range<u64>>) {
        let free = self.free.entry(file).or_default();
        for run in missing {
            free.insert(run);
        }
    }

    /// A file is whole: nothing of it is to fetch any more.
    pub fn close(&mut self, file: usize) {
        self.free.remove(&file);
        self.has.remove(&file);
    }

    /// Whether there are pieces that nobody has taken.
    pub fn has_free(&self) -> bool {
        self.free.values().any(|runs| !runs.is_empty())
    }

    /// Whether there is a piece that is not done.
    pub fn has_pieces(&self) -> bool {
        self.has_free() || !self.taken.is_empty()
    }

    pub fn is_done(&self) -> bool {
        self.fed && !self.has_pieces()
    }
}

fn piece_of((file, start): (usize, u64), taken: &Taken) -> Piece {
    Piece { file, groups: start..taken.end }
}

/// The beginning of a run, of at most so many groups, up to the next multiple of a piece.
fn cut(run: Range<u64>, most: u64) -> Range<u64> {
    let border = (run.start / PIECE_GROUPS + 1).saturating_mul(PIECE_GROUPS);
    run.start..run.end.min(border).min(run.start.saturating_add(most.max(1)))
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "a list of one run is meant")]
mod tests {
    use super::*;

    const U: u64 = PIECE_GROUPS;

    /// A file of so many pieces, and sources that have brought something.
    fn plan(pieces: u64) -> Plan {
        let mut plan = Plan::default();
        (1..=3).for_each(|source| plan.prove(source));
        plan.open(0, vec![0..pieces * U]);
        plan
    }

    /// Takes, and answers which piece of its file it is.
    fn take(plan: &mut Plan, source: SourceId) -> Option<u64> {
        plan.take(source, U, true).map(|piece| piece.groups.start / U)
    }

    fn piece(number: u64) -> Piece {
        Piece { file: 0, groups: number * U..(number + 1) * U }
    }

    fn back(plan: &mut Plan, source: SourceId, number: u64) {
        plan.back(source, &piece(number), vec![number * U..(number + 1) * U]);
    }

    #[test]
    fn pieces_go_out_in_order_and_what_comes_back_goes_first() {
        let mut plan = plan(4);
        assert_eq!((take(&mut plan, 1), take(&mut plan, 2), take(&mut plan, 1)), (Some(0), Some(1), Some(2)));
        back(&mut plan, 2, 1);
        assert_eq!((take(&mut plan, 3), take(&mut plan, 3)), (Some(1), Some(3)));
        assert_eq!(take(&mut plan, 3), None, "more may come");
        back(&mut plan, 9, 0);
        assert!(plan.taken.contains_key(&(0, 0)), "nobody gives back what another has");
        // Of one that came in part, the rest.
        assert!(plan.done(&piece(0), vec![5..9]));
        assert_eq!(plan.take(1, U, true), Some(Piece { file: 0, groups: 5..9 }));
    }

    #[test]
    fn at_the_end_the_free_help_the_late() {
        let mut plan = plan(2);
        assert_eq!((take(&mut plan, 1), take(&mut plan, 1)), (Some(0), Some(1)));
        plan.end();
        assert_eq!((take(&mut plan, 2), take(&mut plan, 2)), (Some(1), Some(0)), "the last first");
        assert_eq!((take(&mut plan, 2), take(&mut plan, 3)), (None, None), "twice is enough");
        assert!(plan.done(&piece(0), vec![]) && !plan.done(&piece(0), vec![]));
        back(&mut plan, 1, 1);
        assert!(plan.taken.contains_key(&(0, U)), "the other still brings it");
        assert!(!plan.is_done());
        back(&mut plan, 2, 1);
        assert_eq!(take(&mut plan, 3), Some(1));
        assert!(plan.done(&piece(1), vec![]) && plan.is_done());
    }

    #[test]
    fn many_who_bring_nothing_keep_no_piece_from_one_who_does() {
        let mut plan = plan(1);
        plan.end();
        assert_eq!((10..20).filter(|source| take(&mut plan, *source).is_some()).count(), 3);
        assert_eq!((take(&mut plan, 1), take(&mut plan, 2), take(&mut plan, 3)), (Some(0), Some(0), None));
    }

    #[test]
    fn whoever_has_a_part_is_asked_for_it_and_the_others_leave_it_to_them() {
        let mut plan = plan(6);
        plan.learn(1, 0, Runs::new([0..2 * U, 3 * U + 10..3 * U + 20]));
        assert_eq!((take(&mut plan, 2), take(&mut plan, 1)), (Some(2), Some(0)));
        let rest = plan.take(2, U, true).unwrap();
        assert_eq!(rest.groups, 3 * U..3 * U + 10, "only what nobody else has");
        assert_eq!(take(&mut plan, 1), Some(1));
        assert_eq!(plan.take(1, U, true).unwrap().groups, 3 * U + 10..3 * U + 20);
        assert_eq!(plan.take(1, U, true), None);
        assert_eq!(plan.take(2, U, true).unwrap().groups, 3 * U + 20..4 * U);
        // What it has goes to others where nothing else is left.
        back(&mut plan, 1, 1);
        assert_eq!((take(&mut plan, 2), take(&mut plan, 2), take(&mut plan, 2)), (Some(4), Some(5), Some(1)));
        // One that has nothing is given nothing.
        back(&mut plan, 2, 1);
        plan.learn(3, 0, Runs::default());
        plan.end();
        assert_eq!(take(&mut plan, 3), None);
        plan.forget(3);
        assert_eq!(take(&mut plan, 3), Some(1));
    }

    #[test]
    fn what_nobody_idle_can_bring_starves_no_one_who_can_help() {
        let mut plan = plan(4);
        plan.end();
        // Both halves of the part's are taken by another before it is known who has what.
        assert_eq!((take(&mut plan, 1), take(&mut plan, 1)), (Some(0), Some(1)));
        plan.learn(2, 0, Runs::new([0..2 * U]));
        assert!(plan.has_free());
        assert_eq!(plan.take(2, U, false), None, "it has enough to do");
        assert_eq!((take(&mut plan, 2), take(&mut plan, 2), take(&mut plan, 2)), (Some(1), Some(0), None));
    }

    #[test]
    fn a_player_comes_first_and_several_do_at_once() {
        let mut plan = plan(100);
        plan.open(1, vec![0..100 * U]);
        assert_eq!(take(&mut plan, 1), Some(0));
        let head = plan.read(1, 10 * U + 7..100 * U);
        // Small pieces at the head, and larger ones behind them.
        let mut at = 10 * U + 7;
        let mut sizes = Vec::new();
        for _ in 0..9 {
            let piece = plan.take(1, U, true).unwrap();
            assert_eq!((piece.file, piece.groups.start), (1, at));
            at = piece.groups.end;
            sizes.push(piece.groups.end - piece.groups.start);
        }
        assert_eq!(sizes, [4, 4, 8, 16, 25, 57, 7, 64, 64].map(|n: u64| n), "{sizes:?}");
        // Another reader, who has nothing yet, before the first, who has much.
        let other = plan.read(0, 50 * U..51 * U);
        assert_eq!(plan.take(2, U, true).unwrap(), Piece { file: 0, groups: 50 * U..50 * U + 4 });
        plan.leave(other);
        assert_eq!(plan.take(2, U, true).unwrap().file, 1);
        // Nobody fetches more than so much for a player who does not go on.
        while plan.take(2, U, true).unwrap().file == 1 {}
        assert!(plan.free[&1].within(10 * U + 7 + AHEAD_GROUPS..100 * U).next().is_some());
        plan.advance(head, 20 * U);
        assert_eq!(plan.take(2, U, true).unwrap().file, 1);
        // Whoever leaves has no precedence any more.
        plan.leave(head);
        assert!(!plan.has_readers());
        assert_eq!(plan.take(2, U, true).unwrap().file, 0);
    }

    #[test]
    fn a_late_player_gets_help_with_what_it_waits_for() {
        let mut plan = plan(10);
        let head = plan.read(0, 0..10 * U);
        let first = plan.take(1, U, true).unwrap();
        assert_ne!(plan.take(2, U, true).unwrap(), first);
        plan.is_late(head);
        assert_ne!(plan.take(1, U, true).unwrap(), first, "it has it already");
        assert_eq!(plan.take(2, U, true).unwrap(), first);
        assert_ne!(plan.take(3, U, true).unwrap(), first, "two are enough");
        assert!(plan.done(&first, vec![]));
        plan.advance(head, first.groups.end);
        assert_ne!(plan.take(3, U, true).unwrap(), first);
    }
}
