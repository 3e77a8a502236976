//! How uploads are shared among peers: who is next, and when.
//!
//! The rule ([`Turns`]) is without clock or input: peers take turns, whatever number of streams each has, and in its turn a
//! peer sends as many bytes as its weight says (deficit round robin: Shreedhar and Varghese, 1995). A peer that gave us
//! something weighs more; one that gives nothing keeps its floor, a turn of the smallest weight. Around it stand the slots
//! (answers that are under way at once) and the rate, which may follow the time of day.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use libp2p::PeerId;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

/// Bytes of the smallest turn.
const TURN_BYTES: u64 = 64 << 10;
/// The weight of a peer that gives, where one that does not weighs one.
const GIVER: u64 = 4;
/// A peer is one that gives if it gave at least this part of what it took.
const GIVES: u64 = 4;
/// Peers whose giving and taking is remembered.
const MOST_PEERS: usize = 4096;

/// Whose turn it is.
#[derive(Debug)]
pub(crate) struct Turns<K, T> {
    /// What each peer waits with, in order: what it costs, and whom to tell.
    waiting: HashMap<K, VecDeque<(u64, T)>>,
    /// The peers that wait, and what each may still send in its turn; the first has the turn.
    order: VecDeque<(K, u64)>,
}

impl<K, T> Default for Turns<K, T> {
    fn default() -> Self {
        Self { waiting: HashMap::new(), order: VecDeque::new() }
    }
}

impl<K: Copy + Eq + Hash, T> Turns<K, T> {
    pub fn push(&mut self, peer: K, bytes: u64, ticket: T) {
        let order = &mut self.order;
        let queue = self.waiting.entry(peer).or_insert_with(|| {
            order.push_back((peer, 0));
            VecDeque::new()
        });
        queue.push_back((bytes, ticket));
    }

    /// Who goes next, with what it costs.
    pub fn next(&mut self, weight: impl Fn(&K) -> u64) -> Option<(K, u64, T)> {
        loop {
            let (peer, credit) = self.order.pop_front()?;
            let Some(queue) = self.waiting.get_mut(&peer) else { continue };
            let Some((bytes, _)) = queue.front() else {
                // It had its turn and does not go on with it. What it did not use is not saved up.
                self.waiting.remove(&peer);
                continue;
            };
            if *bytes > credit {
                let credit = credit.saturating_add(weight(&peer).max(1).saturating_mul(TURN_BYTES));
                self.order.push_back((peer, credit));
                continue;
            }
            let left = credit - bytes;
            let (bytes, ticket) = queue.pop_front()?;
            // Also one that has nothing more just now: a single stream asks again once this was sent.
            self.order.push_front((peer, left));
            return Some((peer, bytes, ticket));
        }
    }
}

/// A time of the day and what rate holds then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timed {
    /// Minutes after midnight, UTC, from which it holds.
    pub from: u16,
    /// Minutes after midnight, UTC, until which it holds. Before `from`: over midnight.
    pub to: u16,
    /// Bytes sent in a second, all together; none: as fast as it goes.
    pub bytes_per_second: Option<u64>,
}

impl Timed {
    fn holds(&self, minute: u16) -> bool {
        if self.from <= self.to {
            (self.from..self.to).contains(&minute)
        } else {
            minute >= self.from || minute < self.to
        }
    }
}

/// The rate that holds at a minute of the day: the first of the schedule that does, else the general one.
fn rate_at(schedule: &[Timed], general: Option<u64>, minute: u16) -> Option<u64> {
    schedule.iter().find(|timed| timed.holds(minute)).map_or(general, |timed| timed.bytes_per_second)
}

/// What a peer gave us, and what it took.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    gave: u64,
    took: u64,
}

#[derive(Default)]
struct State {
    free: usize,
    /// Answers under way, by peer.
    active: HashMap<PeerId, usize>,
    /// Who waits for a slot, in order.
    lining: VecDeque<(PeerId, oneshot::Sender<()>)>,
    turns: Turns<PeerId, oneshot::Sender<()>>,
    accounts: HashMap<PeerId, Account>,
}

impl State {
    fn weight(&self, peer: &PeerId) -> u64 {
        let account = self.accounts.get(peer).copied().unwrap_or_default();
        if account.gave > 0 && account.gave.saturating_mul(GIVES) >= account.took { GIVER } else { 1 }
    }

    fn account(&mut self, peer: PeerId) -> &mut Account {
        if self.accounts.len() >= MOST_PEERS && !self.accounts.contains_key(&peer) {
            // Old merits count for less, and those of no merit are forgotten.
            self.accounts.retain(|_, account| {
                (account.gave, account.took) = (account.gave / 2, account.took / 2);
                account.gave > 0
            });
            if self.accounts.len() >= MOST_PEERS {
                self.accounts.clear();
            }
        }
        self.accounts.entry(peer).or_default()
    }

    /// Gives free slots to those who have the fewest for their weight; among those, to who waits longest.
    fn give_slots(&mut self) {
        while self.free > 0 {
            let has = |peer: &PeerId| self.active.get(peer).copied().unwrap_or(0) as u64 * GIVER / self.weight(peer);
            let next = self.lining.iter().enumerate().min_by_key(|(at, (peer, _))| (has(peer), *at));
            let Some((at, _)) = next else { return };
            let Some((peer, ticket)) = self.lining.remove(at) else { return };
            // One who left in the meantime takes none.
            if ticket.send(()).is_ok() {
                self.free -= 1;
                *self.active.entry(peer).or_default() += 1;
            }
        }
    }
}

/// Slots and rate of all uploads.
pub(crate) struct Share {
    state: Mutex<State>,
    waits: Notify,
    general: Option<u64>,
    schedule: Vec<Timed>,
}

impl Share {
    pub fn new(slots: u32, general: Option<u64>, schedule: Vec<Timed>) -> Self {
        let state = State { free: slots.max(1) as usize, ..State::default() };
        Self { state: Mutex::new(state), waits: Notify::new(), general, schedule }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a slot. It is given back when the answer is dropped.
    pub async fn slot(self: &Arc<Self>, peer: PeerId) -> Slot {
        let (ticket, given) = oneshot::channel();
        {
            let mut state = self.state();
            state.lining.push_back((peer, ticket));
            state.give_slots();
        }
        // A ticket is never dropped untold while its state lives.
        let mut waiting = Waiting { share: Arc::clone(self), peer, given: Some(given) };
        if let Some(given) = waiting.given.as_mut() {
            let _ = given.await;
        }
        waiting.given = None;
        Slot { share: Arc::clone(self), peer }
    }

    /// Waits until these bytes may go.
    pub async fn turn(&self, peer: PeerId, bytes: u64) {
        if self.rate().is_none() {
            self.state().account(peer).took += bytes;
            return;
        }
        let (ticket, turn) = oneshot::channel();
        self.state().turns.push(peer, bytes, ticket);
        self.waits.notify_one();
        let _ = turn.await;
    }

    /// A peer gave us bytes.
    pub fn gave(&self, peer: PeerId, bytes: u64) {
        self.state().account(peer).gave += bytes;
    }

    /// Whether somebody waits for a slot.
    pub fn is_waited_for(&self) -> bool {
        !self.state().lining.is_empty()
    }

    /// Whether a peer gave us bytes.
    pub fn has_given(&self, peer: PeerId) -> bool {
        self.state().accounts.get(&peer).is_some_and(|account| account.gave > 0)
    }

    fn rate(&self) -> Option<u64> {
        let day = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs() % 86_400;
        rate_at(&self.schedule, self.general, u16::try_from(day / 60).unwrap_or(0)).map(|rate| rate.max(1))
    }

    /// Tells those who wait that their turn has come, as the rate allows. Never ends.
    pub async fn run(self: Arc<Self>) {
        let mut next = Instant::now();
        loop {
            // First, so that whoever had the last turn may have asked again.
            tokio::time::sleep_until(next).await;
            let turn = {
                let mut state = self.state();
                let weights: HashMap<PeerId, u64> =
                    state.turns.order.iter().map(|(peer, _)| (*peer, state.weight(peer))).collect();
                state.turns.next(|peer| weights.get(peer).copied().unwrap_or(1))
            };
            let Some((peer, bytes, ticket)) = turn else {
                self.waits.notified().await;
                continue;
            };
            if ticket.send(()).is_err() {
                continue;
            }
            self.state().account(peer).took += bytes;
            // What was not used is not saved up.
            let from = next.max(Instant::now());
            let nanos = self.rate().map_or(0, |rate| bytes.saturating_mul(1_000_000_000) / rate);
            next = from + Duration::from_nanos(nanos);
        }
    }
}

/// Somebody who waits for a slot; if it leaves just as it is given one, that goes back.
struct Waiting {
    share: Arc<Share>,
    peer: PeerId,
    given: Option<oneshot::Receiver<()>>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(mut given) = self.given.take()
            && given.try_recv().is_ok()
        {
            drop(Slot { share: Arc::clone(&self.share), peer: self.peer });
        }
    }
}

/// A slot of the uploads.
pub(crate) struct Slot {
    share: Arc<Share>,
    peer: PeerId,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.share.state();
        state.free += 1;
        if let Some(count) = state.active.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                state.active.remove(&self.peer);
            }
        }
        state.give_slots();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Peers that always have something to send, in parts whose sizes come from a hash: each is sent its share.
    #[test]
    fn peers_share_by_weight_however_many_streams_they_have() {
        // Streams and weight of each.
        for peers in [vec![(8, 1), (1, 1)], vec![(1, 4), (8, 1), (3, 1)], vec![(2, 4), (1, 4)]] {
            let mut noise = blake3::Hasher::new().finalize_xof();
            let mut size = || {
                let mut bytes = [0; 2];
                noise.fill(&mut bytes);
                u64::from(u16::from_le_bytes(bytes)) + 1
            };
            let mut turns = Turns::default();
            for (peer, (streams, _)) in peers.iter().enumerate() {
                for _ in 0..*streams {
                    turns.push(peer, size(), ());
                }
            }
            let mut sent = vec![0; peers.len()];
            for _ in 0..5_000 {
                let (peer, bytes, ()) = turns.next(|peer| peers[*peer].1).unwrap();
                sent[peer] += bytes;
                turns.push(peer, size(), ());
                // A stream that asks again at once keeps its peer in line, so nobody's share is lost.
                let per_weight: Vec<u64> = sent.iter().zip(&peers).map(|(sent, (_, weight))| sent / weight).collect();
                let (most, least) = (per_weight.iter().max().unwrap(), per_weight.iter().min().unwrap());
                assert!(most - least <= 3 * TURN_BYTES, "{peers:?}: {sent:?}");
            }
        }
    }

    #[test]
    fn all_who_wait_come_and_each_in_its_own_order() {
        let mut turns = Turns::default();
        for number in 0..200_u64 {
            turns.push(number % 3, number * 1000 % 70_000, number);
        }
        let mut last = HashMap::new();
        for _ in 0..200 {
            let (peer, bytes, number) = turns.next(|_| 1).unwrap();
            assert_eq!((peer, bytes), (number % 3, number * 1000 % 70_000));
            assert!(last.insert(peer, number).is_none_or(|before| before < number));
        }
        assert!(turns.next(|_| 1).is_none() && turns.waiting.is_empty());
    }

    #[test]
    fn the_rate_follows_the_day() {
        let day = Timed { from: 8 * 60, to: 20 * 60, bytes_per_second: Some(1) };
        let night = Timed { from: 23 * 60, to: 60, bytes_per_second: None };
        for (hour, expected) in
            [(7, Some(9)), (8, Some(1)), (19, Some(1)), (20, Some(9)), (23, None), (0, None), (1, Some(9))]
        {
            assert_eq!(rate_at(&[day, night], Some(9), hour * 60), expected, "{hour}");
        }
    }

    #[tokio::test]
    async fn slots_go_to_who_has_the_fewest_and_to_nobody_who_left() {
        let share = Arc::new(Share::new(3, None, Vec::new()));
        let (greedy, modest, giver) = (PeerId::random(), PeerId::random(), PeerId::random());
        share.gave(giver, 1000);
        let (first, second, third) = (share.slot(greedy).await, share.slot(greedy).await, share.slot(greedy).await);
        let spawn = |peer: PeerId| {
            let share = Arc::clone(&share);
            tokio::spawn(async move { (peer, share.slot(peer).await) })
        };
        let waiting = [spawn(greedy), spawn(greedy)];
        tokio::task::yield_now().await;
        let leaves = spawn(modest);
        tokio::task::yield_now().await;
        let modest_one = spawn(modest);
        tokio::task::yield_now().await;
        leaves.abort();
        assert!(leaves.await.is_err());
        drop(first);
        let (peer, slot) = modest_one.await.unwrap();
        assert_eq!(peer, modest, "the other has two already");
        // Of those who have one each, the one that gives.
        let (one, another) = (spawn(giver), spawn(giver));
        tokio::task::yield_now().await;
        drop(second);
        let one = one.await.unwrap();
        assert!(!another.is_finished());
        drop(slot);
        let another = another.await.unwrap();
        assert_eq!((one.0, another.0), (giver, giver));
        drop((one, another, third));
        for waiter in waiting {
            assert_eq!(waiter.await.unwrap().0, greedy);
        }
        let state = share.state();
        assert_eq!((state.free, state.active.len()), (3, 0));
    }

    #[tokio::test]
    async fn a_rate_holds_and_one_with_many_streams_starves_none() {
        let share = Arc::new(Share::new(16, Some(1_000_000), Vec::new()));
        let running = tokio::spawn(Arc::clone(&share).run());
        let (many, one) = (PeerId::random(), PeerId::random());
        let sent = Arc::new(Mutex::new(HashMap::<PeerId, u64>::new()));
        let streams: Vec<_> = [many; 8]
            .into_iter()
            .chain([one])
            .map(|peer| {
                let (share, sent) = (Arc::clone(&share), Arc::clone(&sent));
                tokio::spawn(async move {
                    loop {
                        share.turn(peer, 20_000).await;
                        *sent.lock().unwrap().entry(peer).or_default() += 20_000;
                    }
                })
            })
            .collect();
        let begin = Instant::now();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let sent = sent.lock().unwrap().clone();
        // A busy machine may wake up late, and pauses besides.
        let most = u64::try_from(begin.elapsed().as_millis()).unwrap() * 1000 + 100_000;
        streams.iter().for_each(tokio::task::JoinHandle::abort);
        running.abort();
        let (many, one) = (sent[&many], sent[&one]);
        // The first goes at once.
        assert!((200_000..most).contains(&(many + one)), "{many} {one} of {most}");
        assert!(one * 10 > many * 7, "{many} {one}");
    }
}
