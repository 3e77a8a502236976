//! One source of a fetch: asks it for pieces, reads what comes, and has it verified before anything else happens with it.
//!
//! Requests go out ahead of the answers, as many as the source's measured rate fills half a second with. While one piece is
//! checked and written on a blocking thread, the next is read. The first bytes that do not verify end the source.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fondaco_store::{Absorbed, Decoder, GROUP_BYTES, GroupRanges, Partial};
use futures_util::{AsyncRead, AsyncWrite};
use libp2p::PeerId;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::fetch::Job;
use crate::gate::Offence;
use crate::pace::Pace;
use crate::plan::{Piece, SourceId};
use crate::runs::Runs;
use crate::wire::{self, Answer, MAX_RUNS, Request, Run};

/// Bytes that are asked for ahead: at most, and as long as the source's rate is low.
const WINDOW: (u64, u64) = (128 << 10, 8 << 20);
/// Requests that are asked ahead, since files can be small.
const MOST_ASKED: usize = 64;
/// How much time the window should fill, as a part of a second: half of one; a tenth while somebody reads, so that
/// a play-head that is moved does not wait for much.
const AHEAD_PER_SECOND: (u64, u64) = (2, 10);
/// Groups that are asked for at once of a source that has brought nothing yet: one that lies costs little.
const FIRST_GROUPS: u64 = 4;
/// How long a source that has nothing of what waits is left alone before it is asked anew what it has.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long one is kept that has nothing, and one that has a part, while it has nothing of what is to fetch.
const IDLE_WITHOUT: Duration = Duration::from_secs(2);
const IDLE_WITH: Duration = Duration::from_mins(2);
/// How often a source may say that it has what it then does not give. Once it may be true: it came in between.
const CONTRADICTIONS: u32 = 3;

/// Why a source ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Nothing is left to fetch.
    Done,
    /// It has nothing, or nothing more, of this.
    Nothing,
    /// It asked to be left alone for this time.
    Busy(Duration),
    /// It cannot be of use, which is no fault.
    Useless(String),
    /// The stream broke.
    Broke(String),
    /// It did something that it should not have done.
    Bad(Offence, String),
    /// The store failed, which is nobody else's fault.
    Store(fondaco_store::Error),
}

/// A piece that was asked for.
struct Asked {
    piece: Piece,
    partial: Partial,
    wanted: GroupRanges,
    bytes: u64,
}

/// A piece that is being checked and written.
struct Checking {
    piece: Piece,
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
    /// Since when it has had nothing of what is to fetch, and when it was last asked what it has.
    idle: Option<Instant>,
    learnt: Instant,
    contradictions: u32,
    /// Bytes a second, smoothed.
    rate: u64,
    /// Bytes that it brought.
    brought: u64,
    /// A buffer that was used and may be used again.
    spare: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Source<S> {
    pub fn new(job: Arc<Job>, id: SourceId, peer: PeerId, stream: S, pace: Pace) -> Self {
        let (asked, learnt) = (VecDeque::new(), Instant::now());
        let (checking, idle, contradictions, rate, brought, spare) = (None, None, 0, 0, 0, Vec::new());
        Self { job, id, peer, stream, pace, asked, checking, idle, learnt, contradictions, rate, brought, spare }
    }

    /// Works until there is nothing left, or it cannot go on. What it had taken goes back.
    pub async fn run(mut self) -> Ended {
        let mut changed = self.job.changes();
        if self.job.has_given(self.peer) {
            self.job.plan().prove(self.id);
        }
        let ended = match self.work(&mut changed).await {
            Ok(ended) | Err(ended) => ended,
        };
        // What was being checked is good if it verifies, whatever came after it.
        let ended = match self.settle().await {
            Err(worse @ (Ended::Bad(..) | Ended::Store(_))) => worse,
            _ => ended,
        };
        for asked in std::mem::take(&mut self.asked) {
            self.back(&asked.piece);
        }
        self.job.plan().forget(self.id);
        self.job.changed();
        ended
    }

    async fn work(&mut self, changed: &mut watch::Receiver<()>) -> Result<Ended, Ended> {
        loop {
            changed.mark_unchanged();
            self.ask().await?;
            if !self.asked.is_empty() {
                self.take_answer().await?;
                continue;
            }
            self.settle().await?;
            let (is_done, has_part, has_free) = {
                let plan = self.job.plan();
                (plan.is_done(), plan.has_part(self.id), plan.has_free())
            };
            if is_done {
                return Ok(Ended::Done);
            }
            // It has nothing of what is free. It may have more later, if it is fetching it itself.
            let since = *self.idle.get_or_insert_with(Instant::now);
            if self.job.is_paused() {
                self.idle = None;
            }
            if has_free && since.elapsed() > if has_part { IDLE_WITH } else { IDLE_WITHOUT } {
                return Ok(Ended::Nothing);
            }
            let _ = tokio::time::timeout(PATIENCE, changed.changed()).await;
            if self.learnt.elapsed() >= PATIENCE {
                self.job.plan().forget(self.id);
                self.learnt = Instant::now();
            }
            self.pace.restart();
        }
    }

    /// How many bytes are asked for ahead.
    fn window(&self, has_readers: bool) -> u64 {
        let part = if has_readers { AHEAD_PER_SECOND.1 } else { AHEAD_PER_SECOND.0 };
        // No more than twice what it has brought: the first bytes are no measure, and others want to carry a part.
        (self.rate / part).min(self.brought.saturating_mul(2)).clamp(WINDOW.0, WINDOW.1)
    }

    /// Sends requests until the window is full. Before the first answer, one: it may have a part only.
    async fn ask(&mut self) -> Result<(), Ended> {
        if self.job.is_paused() {
            return Ok(());
        }
        let mut ahead: u64 = self.asked.iter().map(|asked| asked.bytes).sum();
        while self.asked.len() < MOST_ASKED {
            let taken = {
                let mut plan = self.job.plan();
                let window = self.window(plan.has_readers());
                if !self.asked.is_empty() && (self.rate == 0 || (self.asked.len() > 1 && ahead >= window)) {
                    break;
                }
                let most = if self.rate == 0 { FIRST_GROUPS } else { window / GROUP_BYTES };
                plan.take(self.id, most, self.asked.is_empty())
            };
            let Some(piece) = taken else { break };
            let Some(partial) = self.job.partial(piece.file) else {
                // Its file was completed meanwhile.
                self.job.plan().done(&piece, Vec::new());
                continue;
            };
            let runs = partial.missing_in(piece.groups.clone());
            let Some(wanted) = GroupRanges::new(partial.size(), runs.clone()) else {
                self.job.piece_done(&piece);
                continue;
            };
            let bytes = wanted.encoded_bytes(partial.size());
            ahead += bytes;
            let request = Request::Groups(partial.hash(), Run::list(&runs));
            self.asked.push_back(Asked { piece, partial, wanted, bytes });
            let sent = self.pace.wait(wire::send(&mut self.stream, &request)).await;
            sent.map_err(|e| broke(&e))?;
        }
        Ok(())
    }

    /// Gives a piece back.
    fn back(&self, piece: &Piece) {
        let missing = self.job.partial(piece.file).map(|p| p.missing_in(piece.groups.clone())).unwrap_or_default();
        self.job.plan().back(self.id, piece, missing);
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
        let bytes = asked.bytes;
        match answer {
            Answer::Busy(ms) => {
                self.asked.push_front(asked);
                Err(Ended::Busy(Duration::from_millis(u64::from(ms)).min(Duration::from_mins(1))))
            }
            Answer::NotHere(runs) => {
                let has = Runs::new(Run::ranges(runs.get(..runs.len().min(MAX_RUNS)).unwrap_or_default()));
                self.contradictions += u32::from(asked.wanted.runs().iter().all(|run| has.has_all(run)));
                self.back(&asked.piece);
                self.job.plan().learn(self.id, asked.piece.file, has);
                self.job.changed();
                if self.contradictions >= CONTRADICTIONS {
                    return Err(Ended::Bad(Offence::Protocol, "it does not give what it says that it has".into()));
                }
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
        // At most a piece and its nodes: the number comes from our own request.
        buffer.resize(len, 0);
        let (got, end) = self.pace.fill(&mut self.stream, &mut buffer).await;
        let micros = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX).max(1);
        let now = (got as u64).saturating_mul(1_000_000) / micros;
        self.rate = if self.rate == 0 { now.max(1) } else { self.rate / 10 * 7 + now / 10 * 3 };
        if let Err(ended) = self.settle().await {
            self.asked.push_front(asked);
            return Err(ended);
        }
        let Asked { piece, partial, wanted, .. } = asked;
        let (hash, size) = (partial.hash(), partial.size());
        let (job, id, whole, brought) = (Arc::clone(&self.job), self.id, end.is_ok(), piece.clone());
        let task = tokio::task::spawn_blocking(move || {
            let mut decoder = Decoder::new(hash, size, wanted);
            let result = partial.absorb(&mut decoder, buffer.get(..got).unwrap_or_default());
            job.brought(id, got as u64, result.as_ref().map_or(0, |absorbed| absorbed.new_bytes));
            if result.as_ref().is_ok_and(|absorbed| absorbed.fault.is_none() && whole) {
                // Here, and not when the next is read: somebody may be waiting for it.
                job.piece_done(&brought);
            }
            (result, buffer)
        });
        self.checking = Some(Checking { piece, whole, task });
        end.map_err(|e| {
            if e.kind() == io::ErrorKind::TimedOut {
                return Ended::Bad(Offence::Slow, "it was too slow".into());
            }
            broke(&e)
        })
    }

    /// Waits for what is being checked.
    async fn settle(&mut self) -> Result<(), Ended> {
        let Some(Checking { piece, whole, task }) = self.checking.take() else { return Ok(()) };
        let Ok((result, buffer)) = task.await else {
            self.back(&piece);
            return Err(Ended::Broke("the node is stopping".into()));
        };
        self.spare = buffer;
        let absorbed = match result {
            Ok(absorbed) => absorbed,
            Err(error) => {
                self.back(&piece);
                return Err(Ended::Store(error));
            }
        };
        if let Some(offset) = absorbed.fault {
            self.back(&piece);
            let file = self.job.name(piece.file);
            return Err(Ended::Bad(
                Offence::BadData,
                format!("what it sent of {file} does not verify at byte {offset}"),
            ));
        }
        if absorbed.new_bytes > 0 {
            self.idle = None;
            self.job.plan().prove(self.id);
        }
        self.brought += absorbed.new_bytes;
        if !whole {
            self.back(&piece);
        }
        tracing::trace!(peer = %self.peer, ?piece, bytes = absorbed.new_bytes, "brought");
        Ok(())
    }
}

fn broke(error: &io::Error) -> Ended {
    match error.kind() {
        io::ErrorKind::TimedOut => Ended::Bad(Offence::Slow, "it does not answer".into()),
        io::ErrorKind::UnexpectedEof => Ended::Broke("it closed the stream".into()),
        _ => Ended::Broke(format!("the stream broke: {error}")),
    }
}
