//! One source of a fetch: asks it for units, reads what comes, and has it verified before anything else happens with it.
//!
//! Requests go out ahead of the answers, as many as the source's measured rate fills half a second with. While one unit is
//! checked and written on a blocking thread, the next is read. The first bytes that do not verify end the source.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fondaco_store::{Absorbed, Decoder, GroupRanges, Partial};
use futures_util::{AsyncRead, AsyncWrite};
use libp2p::PeerId;
use tokio::task::JoinHandle;

use crate::fetch::Job;
use crate::gate::Offence;
use crate::pace::Pace;
use crate::plan::{Key, SourceId, Unit};
use crate::wire::{self, Answer, MAX_RUNS, Request, Run};

/// Units that are asked for ahead: at least, and at most.
const WINDOW: (usize, usize) = (2, 8);
/// How much time the window should fill, as a part of a second: half of one.
const AHEAD_PER_SECOND: u64 = 2;
/// How long a source that has nothing of what waits is left alone.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often that is done with one that has nothing, and with one that has a part.
const IDLE_WITHOUT: u32 = 2;
const IDLE_WITH: u32 = 120;

/// Why a source ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Nothing is left to fetch.
    Done,
    /// It has nothing, or nothing more, of this.
    Nothing,
    /// It asked to be left alone for this time.
    Busy(Duration),
    /// The stream broke.
    Broke(String),
    /// It did something that it should not have done.
    Bad(Offence, String),
    /// The store failed, which is nobody else's fault.
    Store(fondaco_store::Error),
}

/// A unit that was asked for.
struct Asked {
    unit: Unit,
    partial: Partial,
    wanted: GroupRanges,
    bytes: u64,
}

/// A unit that is being checked and written.
struct Checking {
    key: Key,
    runs: Vec<Range<u64>>,
    /// Whether all of it had come.
    whole: bool,
    task: JoinHandle<(fondaco_store::Result<Absorbed>, Vec<u8>)>,
}

/// One source at work.
pub(crate) struct Source<S> {
    job: Arc<Job>,
    id: SourceId,
    peer: PeerId,
    stream: S,
    pace: Pace,
    asked: VecDeque<Asked>,
    checking: Option<Checking>,
    /// What it said it has of files of which it has not all.
    has: HashMap<usize, Vec<Range<u64>>>,
    /// Files of which it has nothing.
    lacks: HashSet<usize>,
    /// How often it had nothing of what waits.
    idle: u32,
    /// Bytes a second, smoothed.
    rate: u64,
    /// A buffer that was used and may be used again.
    spare: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Source<S> {
    pub fn new(job: Arc<Job>, id: SourceId, peer: PeerId, stream: S, pace: Pace) -> Self {
        let (asked, has, lacks) = (VecDeque::new(), HashMap::new(), HashSet::new());
        Self { job, id, peer, stream, pace, asked, checking: None, has, lacks, idle: 0, rate: 0, spare: Vec::new() }
    }

    /// Works until there is nothing left, or it cannot go on. What it had taken goes back.
    pub async fn run(mut self) -> Ended {
        let ended = match self.work().await {
            Ok(ended) | Err(ended) => ended,
        };
        // What was being checked is good if it verifies, whatever came after it.
        let ended = match self.settle().await {
            Err(worse @ (Ended::Bad(..) | Ended::Store(_))) => worse,
            _ => ended,
        };
        for asked in self.asked.drain(..) {
            self.job.plan().back(self.id, asked.unit.key);
        }
        self.job.changed();
        ended
    }

    async fn work(&mut self) -> Result<Ended, Ended> {
        loop {
            self.ask().await?;
            if self.asked.is_empty() {
                self.settle().await?;
                if self.job.plan().is_done() {
                    return Ok(Ended::Done);
                }
                if self.job.plan().has_waiting() {
                    // It has nothing of what waits. It may have more later, if it is fetching it itself.
                    self.idle += 1;
                    let most = if self.has.is_empty() { IDLE_WITHOUT } else { IDLE_WITH };
                    if self.idle > most {
                        return Ok(Ended::Nothing);
                    }
                    tokio::time::sleep(PATIENCE).await;
                    self.has.clear();
                    self.lacks.clear();
                } else {
                    self.job.wait(PATIENCE).await;
                }
                self.pace.restart();
                continue;
            }
            self.take_answer().await?;
        }
    }

    /// Sends requests until the window is full.
    async fn ask(&mut self) -> Result<(), Ended> {
        let (least, most) = WINDOW;
        let fills = (self.rate / AHEAD_PER_SECOND) >> 20;
        let window = usize::try_from(fills).unwrap_or(most).clamp(least, most);
        while self.asked.len() < window {
            let Some(unit) = self.job.plan().take(self.id, |unit| self.can(unit)) else { break };
            let key = unit.key;
            let Some(partial) = self.job.partial(key.0) else {
                // Its file was completed meanwhile.
                self.job.plan().done(key);
                continue;
            };
            // Of a unit that another source brought in part, the rest.
            let runs: Vec<Range<u64>> = partial.missing_in(unit_range(&unit));
            let Some(wanted) = GroupRanges::new(partial.size(), runs.clone()) else {
                self.job.unit_done(key);
                continue;
            };
            let bytes = wanted.encoded_bytes(partial.size());
            let request = Request::Groups(partial.hash(), Run::list(&runs));
            self.asked.push_back(Asked { unit, partial, wanted, bytes });
            let sent = self.pace.wait(wire::send(&mut self.stream, &request)).await;
            sent.map_err(|e| broke(&e))?;
        }
        Ok(())
    }

    fn can(&self, unit: &Unit) -> bool {
        let (file, _) = unit.key;
        if self.lacks.contains(&file) {
            return false;
        }
        let within =
            |run: &Range<u64>, has: &[Range<u64>]| has.iter().any(|h| h.start <= run.start && run.end <= h.end);
        self.has.get(&file).is_none_or(|has| unit.runs.iter().all(|run| within(run, has)))
    }

    /// Reads the answer to the oldest request.
    async fn take_answer(&mut self) -> Result<(), Ended> {
        let answer = self.pace.wait(wire::receive::<Answer>(&mut self.stream)).await;
        let answer = match answer {
            Ok(Some(answer)) => answer,
            Ok(None) => return Err(Ended::Broke("it closed the stream".into())),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(Ended::Bad(Offence::Protocol, error.to_string()));
            }
            Err(error) => return Err(broke(&error)),
        };
        let Some(asked) = self.asked.pop_front() else { return Ok(()) };
        let (key, bytes) = (asked.unit.key, asked.bytes);
        match answer {
            Answer::Busy(ms) => {
                self.asked.push_front(asked);
                Err(Ended::Busy(Duration::from_millis(u64::from(ms)).min(Duration::from_mins(1))))
            }
            Answer::NotHere(runs) => {
                self.job.plan().back(self.id, key);
                let has: Vec<_> = Run::ranges(runs.get(..runs.len().min(MAX_RUNS)).unwrap_or_default());
                if has.is_empty() {
                    self.lacks.insert(key.0);
                } else {
                    self.has.insert(key.0, has);
                }
                self.job.changed();
                Ok(())
            }
            Answer::Bytes(n) if n != bytes => {
                self.asked.push_front(asked);
                Err(Ended::Bad(Offence::BadData, format!("it sends {n} bytes where {bytes} were to come")))
            }
            Answer::Bytes(_) => self.read(asked).await,
        }
    }

    async fn read(&mut self, asked: Asked) -> Result<(), Ended> {
        let begin = Instant::now();
        let len = usize::try_from(asked.bytes).unwrap_or(usize::MAX);
        let mut buffer = std::mem::take(&mut self.spare);
        // At most a unit and its nodes: the number comes from our own request.
        buffer.resize(len, 0);
        let (got, end) = self.pace.fill(&mut self.stream, &mut buffer).await;
        let micros = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX).max(1);
        let now = (got as u64).saturating_mul(1_000_000) / micros;
        self.rate = if self.rate == 0 { now } else { self.rate / 10 * 7 + now / 10 * 3 };
        if let Err(ended) = self.settle().await {
            self.asked.push_front(asked);
            return Err(ended);
        }
        let Asked { unit, partial, wanted, .. } = asked;
        let (hash, size) = (partial.hash(), partial.size());
        let runs = wanted.runs().to_vec();
        let (job, id) = (Arc::clone(&self.job), self.id);
        let task = tokio::task::spawn_blocking(move || {
            let mut decoder = Decoder::new(hash, size, wanted);
            let result = partial.absorb(&mut decoder, buffer.get(..got).unwrap_or_default());
            if let Ok(absorbed) = &result {
                job.brought(id, absorbed.new_bytes);
            }
            (result, buffer)
        });
        self.checking = Some(Checking { key: unit.key, runs, whole: end.is_ok(), task });
        end.map_err(|e| {
            if e.kind() == io::ErrorKind::TimedOut {
                return Ended::Bad(Offence::Slow, "it was too slow".into());
            }
            broke(&e)
        })
    }

    /// Waits for what is being checked.
    async fn settle(&mut self) -> Result<(), Ended> {
        let Some(Checking { key, runs, whole, task }) = self.checking.take() else { return Ok(()) };
        let Ok((result, buffer)) = task.await else {
            self.job.plan().back(self.id, key);
            return Err(Ended::Broke("the node is stopping".into()));
        };
        self.spare = buffer;
        let absorbed = match result {
            Ok(absorbed) => absorbed,
            Err(error) => {
                self.job.plan().back(self.id, key);
                return Err(Ended::Store(error));
            }
        };
        self.idle = 0;
        if let Some(offset) = absorbed.fault {
            self.job.plan().back(self.id, key);
            let file = self.job.name(key.0);
            return Err(Ended::Bad(
                Offence::BadData,
                format!("what it sent of {file} does not verify at byte {offset}"),
            ));
        }
        if whole {
            self.job.unit_done(key);
        } else {
            let mut plan = self.job.plan();
            let left = self.job.partial(key.0).map(|p| {
                let first = runs.first().map_or(0, |r| r.start);
                p.missing_in(first..runs.last().map_or(first, |r| r.end))
            });
            plan.shrink(key, left.unwrap_or(runs));
            plan.back(self.id, key);
        }
        tracing::trace!(peer = %self.peer, ?key, bytes = absorbed.new_bytes, "brought");
        Ok(())
    }
}

fn unit_range(unit: &Unit) -> Range<u64> {
    let first = unit.runs.first().map_or(0, |run| run.start);
    first..unit.runs.last().map_or(first, |run| run.end)
}

fn broke(error: &io::Error) -> Ended {
    match error.kind() {
        io::ErrorKind::TimedOut => Ended::Bad(Offence::Slow, "it does not answer".into()),
        io::ErrorKind::UnexpectedEof => Ended::Broke("it closed the stream".into()),
        _ => Ended::Broke(format!("the stream broke: {error}")),
    }
}
