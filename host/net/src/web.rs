//! Web seeds: any web server that answers ranges, as a source of a fetch. It knows nothing of nodes and trees, so its bytes
//! come without what proves them; that is the outboard, from beside the file (`.obao4`) or from a peer, which verifies by
//! itself. What a server then sends is checked group by group like everything else, and the first wrong one is its last.
//!
//! Requests go through `fondaco_fetch`, which vets whom they reach. One asks for some pieces in a row, since each has a
//! connection of its own.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fondaco_fetch::{Body, Client, Reach, Request, Terms, Url};
use fondaco_store::{Error as StoreError, GROUP_BYTES, OutboardDecoder, Partial, outboard_bytes};
use http::HeaderValue;
use http::header::{CONTENT_RANGE, RANGE};
use tokio::time::timeout;

use crate::fetch::{Job, Want};
use crate::gate::Offence;
use crate::plan::{PIECE_GROUPS, Piece, SourceId};
use crate::source::Ended;

/// The most pieces that one request asks for, and while somebody reads.
const PIECES: (usize, usize) = (16, 2);
/// What is put behind a file's address for its outboard's.
const OUTBOARD: &str = ".obao4";
/// The time of a request beyond what its bytes take at the least rate.
const SLACK: Duration = Duration::from_secs(20);
/// The least rate, in bytes a second.
const LEAST_RATE: u64 = 4096;
/// How long one that has nothing to do waits before it looks again, and how often an outboard is asked peers for.
const PATIENCE: Duration = Duration::from_secs(1);
const OUTBOARD_TRIES: usize = 5;

/// Where a web seed has the files of a release.
///
/// An address that ends with `/` is a folder: behind it goes the file's path. `{hash}` and `{path}` stand for the file's
/// hash and path wherever they are. Any other address is that of the only file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WebSeed(String);

impl WebSeed {
    /// Reads an address, as a link has it. Refused: what is no address with the placeholders filled in.
    pub fn new(text: &str) -> Result<Self, fondaco_fetch::UrlError> {
        let seed = Self(text.to_owned());
        let sample = Want { hash: fondaco_schemas::BlobHash::new([0; 32]), size: 0, name: "a".into() };
        seed.url(&sample, "").map(|_| seed)
    }

    /// Whether it can have more than one file.
    fn has_many(&self) -> bool {
        self.0.ends_with('/') || self.0.contains("{hash}") || self.0.contains("{path}")
    }

    fn url(&self, file: &Want, suffix: &str) -> Result<Url, fondaco_fetch::UrlError> {
        let path = encode(&file.name);
        let filled = self.0.replace("{hash}", &file.hash.to_string()).replace("{path}", &path);
        let behind = if self.0.ends_with('/') { path.as_str() } else { "" };
        format!("{filled}{behind}{suffix}").parse()
    }
}

impl std::fmt::Display for WebSeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Percent-encoding for paths; `/` stays.
fn encode(path: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    path.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// How web seeds are asked.
#[derive(Clone)]
pub struct Web {
    /// What sends the requests.
    pub client: Client,
    /// Whom they may reach.
    pub reach: Reach,
}

/// A web seed at work.
pub(crate) struct WebSource {
    job: Arc<Job>,
    id: SourceId,
    seed: WebSeed,
    web: Web,
    /// Files of which all nodes are there.
    proven: HashSet<usize>,
    /// Pieces that the next request asks for.
    most: usize,
}

impl WebSource {
    pub fn new(job: Arc<Job>, id: SourceId, seed: WebSeed, web: Web) -> Self {
        Self { job, id, seed, web, proven: HashSet::new(), most: 1 }
    }

    /// Works until there is nothing left, or it cannot go on. What it had taken goes back.
    pub async fn run(mut self) -> Ended {
        if self.job.files().len() > 1 && !self.seed.has_many() {
            return Ended::Useless("it is one file, and the release has several: end it with / or write {path}".into());
        }
        let mut changed = self.job.changes();
        loop {
            changed.mark_unchanged();
            let pieces = if self.job.is_paused() { Vec::new() } else { self.take() };
            if pieces.is_empty() {
                if self.job.plan().is_done() {
                    return Ended::Done;
                }
                let _ = timeout(PATIENCE, changed.changed()).await;
                continue;
            }
            let result = self.bring(&pieces).await;
            for piece in &pieces {
                // Of those that were brought nothing is missing; giving them back is nothing.
                let missing =
                    self.job.partial(piece.file).map(|p| p.missing_in(piece.groups.clone())).unwrap_or_default();
                self.job.plan().back(self.id, piece, missing);
            }
            self.job.changed();
            if let Err(ended) = result {
                return ended;
            }
            self.most = (self.most * 2).min(PIECES.0);
        }
    }

    /// Some pieces in a row.
    fn take(&self) -> Vec<Piece> {
        let mut plan = self.job.plan();
        let most = if plan.has_readers() { self.most.min(PIECES.1) } else { self.most };
        let mut pieces: Vec<Piece> = plan.take(self.id, PIECE_GROUPS, true).into_iter().collect();
        while let Some(next) = pieces.last().filter(|_| pieces.len() < most) {
            let Some(next) = plan.take_at(self.id, next.file, next.groups.end) else { break };
            pieces.push(next);
        }
        pieces
    }

    fn terms(&self, bytes: u64) -> Terms {
        Terms {
            reach: self.web.reach,
            first_byte: SLACK / 2,
            total: SLACK + Duration::from_secs(bytes / LEAST_RATE),
            max_body: bytes,
            ..Terms::default()
        }
    }

    fn bad(why: String) -> Ended {
        Ended::Bad(Offence::BadData, why)
    }

    async fn bring(&mut self, pieces: &[Piece]) -> Result<(), Ended> {
        let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else { return Ok(()) };
        let file = first.file;
        let Some(partial) = self.job.partial(file) else { return Ok(()) };
        let Some(want) = self.job.files().get(file).cloned() else { return Ok(()) };
        if outboard_bytes(want.size) > 0 && !self.proven.contains(&file) {
            self.prove(&want, &partial).await?;
            self.proven.insert(file);
        }
        let start = first.groups.start * GROUP_BYTES;
        let end = last.groups.end.saturating_mul(GROUP_BYTES).min(want.size);
        if start >= end {
            // The empty file is there as soon as it is opened.
            return Ok(());
        }
        let url = self.seed.url(&want, "").map_err(|e| Ended::Useless(e.to_string()))?;
        let mut request = Request::get(url);
        let range = HeaderValue::from_str(&format!("bytes={start}-{}", end - 1));
        request.headers.insert(RANGE, range.map_err(|e| Ended::Broke(e.to_string()))?);
        let answer = self.web.client.send(request, self.terms(end - start)).await;
        let answer = answer.map_err(|e| failed(&e))?;
        let said = answer.headers().get(CONTENT_RANGE).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        match answer.status().as_u16() {
            206 if said.starts_with(&format!("bytes {start}-{}/", end - 1)) => {}
            206 => return Err(Self::bad(format!("it answers with other bytes than were asked for ({said:?})"))),
            200 if start == 0 && end == want.size => {}
            200 => return Err(Ended::Useless("it does not answer ranges".into())),
            503 | 429 => return Err(Ended::Busy(Duration::from_secs(10))),
            status @ 400..500 => return Err(Ended::Useless(format!("it answers with status {status}"))),
            status => return Err(Ended::Broke(format!("it answers with status {status}"))),
        }
        let mut body = Rest { body: answer.into_body(), held: Bytes::new() };
        for piece in pieces {
            let from = piece.groups.start * GROUP_BYTES;
            let to = piece.groups.end.saturating_mul(GROUP_BYTES).min(want.size);
            let len = usize::try_from(to - from).unwrap_or(usize::MAX);
            // At most a piece: the number comes from our own plan.
            let mut bytes = Vec::with_capacity(len.min(2 << 20));
            while bytes.len() < len {
                let left = len - bytes.len();
                bytes.extend_from_slice(&body.next(left, self.job.patience()).await?);
            }
            let (partial, first) = (partial.clone(), piece.groups.start);
            let absorbed = blocking(move || partial.absorb_plain(first, &bytes)).await?;
            self.job.brought(self.id, len as u64, absorbed.new_bytes);
            if let Some(at) = absorbed.fault {
                return Err(Self::bad(format!("what it sent of {} does not verify at byte {at}", want.name)));
            }
            self.job.piece_done(piece);
        }
        Ok(())
    }

    /// Has the nodes of a file come: from beside it, else from a peer.
    async fn prove(&self, want: &Want, partial: &Partial) -> Result<(), Ended> {
        let url = self.seed.url(want, OUTBOARD).map_err(|e| Ended::Useless(e.to_string()))?;
        let bytes = outboard_bytes(want.size);
        let answer = self.web.client.send(Request::get(url), self.terms(bytes)).await.map_err(|e| failed(&e))?;
        if answer.status().as_u16() == 200 {
            let mut body = answer.into_body();
            let mut decoder = OutboardDecoder::new(want.hash, want.size);
            loop {
                let piece = match timeout(self.job.patience(), body.piece()).await {
                    Ok(Ok(Some(piece))) => piece,
                    Ok(Ok(None)) => break,
                    Ok(Err(error)) => return Err(Ended::Broke(chain(&error))),
                    Err(_) => return Err(Ended::Broke("it is too slow".into())),
                };
                let (partial, mut taking) = (partial.clone(), decoder);
                let (is_good, same) = tokio::task::spawn_blocking(move || {
                    let is_good = partial.absorb_outboard(&mut taking, &piece);
                    (is_good, taking)
                })
                .await
                .map_err(|_| Ended::Broke("the node is stopping".into()))?;
                decoder = same;
                if !is_good.map_err(Ended::Store)? {
                    return Err(Self::bad(format!("its {OUTBOARD} of {} does not verify", want.name)));
                }
            }
            if decoder.is_done() {
                return Ok(());
            }
            return Err(Self::bad(format!("its {OUTBOARD} of {} is too short", want.name)));
        }
        for _ in 0..OUTBOARD_TRIES {
            if self.job.outboard_of_a_peer(want, partial).await? {
                return Ok(());
            }
            tokio::time::sleep(PATIENCE).await;
        }
        Err(Ended::Useless(format!("it has no {OUTBOARD} of {}, and no peer gives one", want.name)))
    }
}

/// What a request that failed says of the server: whom we may not ask at all is of no use.
fn failed(error: &fondaco_fetch::Error) -> Ended {
    match error {
        fondaco_fetch::Error::Forbidden { .. } => Ended::Useless(chain(error)),
        fondaco_fetch::Error::BodyTooLarge { .. } => Ended::Useless("it does not answer ranges".into()),
        _ => Ended::Broke(chain(error)),
    }
}

/// What is still to come of an answer.
struct Rest {
    body: Body,
    /// What came and was not taken.
    held: Bytes,
}

impl Rest {
    /// The next bytes, at most so many.
    async fn next(&mut self, most: usize, patience: Duration) -> Result<Bytes, Ended> {
        while self.held.is_empty() {
            self.held = match timeout(patience, self.body.piece()).await {
                Ok(Ok(Some(piece))) => piece,
                Ok(Ok(None)) => return Err(Ended::Broke("it ended the answer early".into())),
                Ok(Err(error)) => return Err(Ended::Broke(chain(&error))),
                Err(_) => return Err(Ended::Broke("it is too slow".into())),
            };
        }
        Ok(self.held.split_to(most.min(self.held.len())))
    }
}

async fn blocking<T: Send + 'static>(
    what: impl FnOnce() -> fondaco_store::Result<T> + Send + 'static,
) -> Result<T, Ended> {
    let done = tokio::task::spawn_blocking(what).await.map_err(|_| Ended::Broke("the node is stopping".into()))?;
    done.map_err(|error| match error {
        StoreError::Corrupt { .. } => Ended::Broke("what proves its bytes is not there".into()),
        other => Ended::Store(other),
    })
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
