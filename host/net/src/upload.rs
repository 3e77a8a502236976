//! Gives others what they ask for, if it is for everybody: as `share` says who is next, and with no patience for those who
//! do not read.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fondaco_schemas::{BlobHash, ReleaseId};
use fondaco_store::{Encoder, Store};
use futures_util::{AsyncWrite, AsyncWriteExt};
use libp2p::PeerId;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::net::Shelf;
use crate::share::Share;
use crate::streams::Inbound;
use crate::traffic::Traffic;
use crate::wire::{self, Answer, MAX_GROUPS, MAX_RUNS, Request, Run};

/// How long a stream may be open without a request.
const IDLE: Duration = Duration::from_mins(1);
/// Bytes that are handed to the stream at once, and how long they may take: 4 KiB/s are enough.
const WRITE_BYTES: usize = 64 << 10;
const WRITE_TIME: Duration = Duration::from_secs(16);
/// The same while somebody waits for the slot: whoever reads slowly does not keep others from theirs.
const WAITED_FOR: Duration = Duration::from_secs(2);
/// Streams that are served at once. Behind them others wait in the queue of streams, and behind that they are refused.
const MOST_CLIENTS: usize = 1024;
/// Buffers of 1 MiB that are kept.
const MOST_SPARE: usize = 4;

/// What uploads share.
pub(crate) struct Uploads {
    store: Store,
    shelf: Arc<dyn Shelf>,
    share: Arc<Share>,
    /// What is being fetched and is for everybody, and by how many fetches.
    passing: Mutex<HashMap<BlobHash, usize>>,
    /// Buffers that were used and may be used again: fresh memory costs as much as encrypting what is put there.
    spare: Mutex<Vec<Vec<u8>>>,
    /// Bytes sent.
    pub sent: AtomicU64,
    pub traffic: Arc<Traffic>,
}

impl Uploads {
    pub fn new(store: Store, shelf: Arc<dyn Shelf>, share: Share) -> Self {
        let (share, passing, spare) = (Arc::new(share), Mutex::default(), Mutex::default());
        Self { store, shelf, share, passing, spare, sent: AtomicU64::new(0), traffic: Arc::default() }
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A peer gave us bytes: it is served in preference to those who give nothing.
    pub fn gave(&self, peer: PeerId, bytes: u64) {
        self.share.gave(peer, bytes);
    }

    /// Whether a peer gave us bytes.
    pub fn has_given(&self, peer: PeerId) -> bool {
        self.share.has_given(peer)
    }

    /// Lets others have what is there of blobs that are being fetched, until the answer is dropped.
    pub fn pass_on(self: &Arc<Self>, blobs: Vec<BlobHash>) -> Passing {
        let mut passing = self.passing.lock().unwrap_or_else(PoisonError::into_inner);
        for blob in &blobs {
            *passing.entry(*blob).or_default() += 1;
        }
        Passing { uploads: Arc::clone(self), blobs }
    }

    /// Serves streams until `stop` says true.
    pub async fn serve(self: Arc<Self>, mut inbound: mpsc::Receiver<Inbound>, mut stop: watch::Receiver<bool>) {
        let mut clients = JoinSet::new();
        clients.spawn(Arc::clone(&self.share).run());
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|s| *s) => break,
                Some(_) = clients.join_next() => {}
                next = inbound.recv(), if clients.len() < MOST_CLIENTS => match next {
                    Some(next) => {
                        clients.spawn(Arc::clone(&self).client(next));
                    }
                    None => break,
                },
            }
        }
        clients.shutdown().await;
    }

    async fn client(self: Arc<Self>, inbound: Inbound) {
        let Inbound { peer, mut stream, permit } = inbound;
        let result = async {
            while let Ok(request) = tokio::time::timeout(IDLE, wire::receive(&mut stream)).await {
                let Some(request) = request? else { break };
                self.answer(&mut stream, peer, request).await?;
            }
            stream.close().await
        };
        if let Err(error) = result.await {
            tracing::debug!(%peer, %error, "a stream ended early");
        }
        drop(permit);
    }

    async fn answer(&self, stream: &mut (impl AsyncWrite + Unpin), peer: PeerId, request: Request) -> io::Result<()> {
        // Whoever asks for more than there are slots waits in line; streams are few, so the line is short.
        let _slot = self.share.slot(peer).await;
        match request {
            Request::Release(id) => match self.envelope(id).await {
                Some(envelope) => {
                    say(stream, &Answer::Bytes(envelope.len() as u64)).await?;
                    self.send(stream, peer, &envelope).await
                }
                None => say(stream, &Answer::NotHere(Vec::new())).await,
            },
            Request::Outboard(blob) => self.outboard(stream, peer, blob).await,
            Request::Groups(blob, runs) => {
                let ranges = Run::ranges(&runs);
                let groups: u64 = runs.iter().fold(0, |sum, Run(_, count)| sum.saturating_add(*count));
                if runs.len() > MAX_RUNS || groups > MAX_GROUPS {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "too many groups are asked for at once"));
                }
                match self.groups(blob, ranges).await {
                    Found::Whole(encoded) => {
                        let bytes = encoded.encoder.bytes();
                        say(stream, &Answer::Bytes(bytes)).await?;
                        self.stream(stream, peer, encoded).await?;
                        self.traffic.sent(peer, blob, bytes);
                        Ok(())
                    }
                    Found::Partly(runs) => say(stream, &Answer::NotHere(Run::list(&runs))).await,
                    Found::Not => {
                        tracing::debug!(%peer, %blob, "not here, or not for everybody");
                        say(stream, &Answer::NotHere(Vec::new())).await
                    }
                }
            }
        }
    }

    /// A blob's outboard, of one that is here and for everybody.
    async fn outboard(&self, stream: &mut (impl AsyncWrite + Unpin), peer: PeerId, blob: BlobHash) -> io::Result<()> {
        let found = if self.is_for_everybody(blob).await {
            let store = self.store.clone();
            tokio::task::spawn_blocking(move || store.get(blob).ok()).await.ok().flatten()
        } else {
            None
        };
        let Some(found) = found else { return say(stream, &Answer::NotHere(Vec::new())).await };
        say(stream, &Answer::Bytes(fondaco_store::outboard_bytes(found.size()))).await?;
        let mut reader = found.outboard();
        loop {
            let next = tokio::task::spawn_blocking(move || (reader.piece(), reader)).await.map_err(io::Error::other)?;
            reader = next.1;
            match next.0.map_err(io::Error::other)? {
                Some(piece) => self.send(stream, peer, &piece).await?,
                None => return stream.flush().await,
            }
        }
    }

    async fn is_for_everybody(&self, blob: BlobHash) -> bool {
        let passing = self.passing.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&blob);
        // While it comes, its release has said that it is public. What is whole may be in other releases too: the node knows.
        (passing && !self.store.has(blob)) || self.shelf.is_public(blob).await
    }

    async fn envelope(&self, id: ReleaseId) -> Option<Vec<u8>> {
        self.shelf.envelope(id).await
    }

    /// The first piece of the encoding is made before anything is promised.
    async fn groups(&self, blob: BlobHash, runs: Vec<Range<u64>>) -> Found {
        if !self.is_for_everybody(blob).await {
            return Found::Not;
        }
        let store = self.store.clone();
        let buffer = self.spare().pop().unwrap_or_default();
        let found = tokio::task::spawn_blocking(move || {
            let encoder = if let Ok(whole) = store.get(blob) {
                whole.encode(runs).ok()
            } else {
                let partial = store.fetching(blob)?;
                match partial.encode(runs) {
                    Some(encoder) => Some(encoder),
                    None => return Some(Found::Partly(partial.present(MAX_RUNS))),
                }
            };
            let mut encoded = Encoded { encoder: encoder?, buffer, len: 0, left: 0 };
            encoded.left = encoded.encoder.bytes();
            match encoded.next() {
                Ok(()) => Some(Found::Whole(Box::new(encoded))),
                Err(error) => {
                    tracing::error!(%blob, %error, "a blob cannot be given to a peer");
                    None
                }
            }
        });
        found.await.ok().flatten().unwrap_or(Found::Not)
    }

    async fn stream(
        &self,
        stream: &mut (impl AsyncWrite + Unpin),
        peer: PeerId,
        mut now: Box<Encoded>,
    ) -> io::Result<()> {
        loop {
            let piece = now.buffer.get(..now.len).unwrap_or_default();
            self.send(stream, peer, piece).await?;
            if now.left == 0 || now.len == 0 {
                break;
            }
            let next = tokio::task::spawn_blocking(move || now.next().map(|()| now));
            now = next.await.map_err(io::Error::other)?.map_err(io::Error::other)?;
        }
        let mut spare = self.spare();
        if spare.len() < MOST_SPARE {
            spare.push(std::mem::take(&mut now.buffer));
        }
        Ok(())
    }

    async fn send(&self, stream: &mut (impl AsyncWrite + Unpin), peer: PeerId, bytes: &[u8]) -> io::Result<()> {
        for part in bytes.chunks(WRITE_BYTES) {
            self.share.turn(peer, part.len() as u64).await;
            let time = if self.share.is_waited_for() { WAITED_FOR } else { WRITE_TIME };
            let write = tokio::time::timeout(time, stream.write_all(part));
            write.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            self.sent.fetch_add(part.len() as u64, Ordering::Relaxed);
        }
        tokio::time::timeout(WRITE_TIME, stream.flush()).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }
}

/// Says an answer, with no more patience than for the bytes behind it.
async fn say(stream: &mut (impl AsyncWrite + Unpin), answer: &Answer) -> io::Result<()> {
    let said = tokio::time::timeout(WRITE_TIME, wire::send(stream, answer)).await;
    said.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

enum Found {
    Whole(Box<Encoded>),
    Partly(Vec<Range<u64>>),
    Not,
}

/// Groups on their way: a piece that is to be sent, and what makes the next.
struct Encoded {
    encoder: Encoder,
    buffer: Vec<u8>,
    /// The piece's length. The buffer may be longer.
    len: usize,
    /// Bytes that come after the piece.
    left: u64,
}

impl Encoded {
    fn next(&mut self) -> fondaco_store::Result<()> {
        self.len = self.encoder.fill(&mut self.buffer)?;
        self.left = self.left.saturating_sub(self.len as u64);
        Ok(())
    }
}

/// Blobs that may be passed on while they are fetched.
pub(crate) struct Passing {
    uploads: Arc<Uploads>,
    blobs: Vec<BlobHash>,
}

impl Drop for Passing {
    fn drop(&mut self) {
        let mut passing = self.uploads.passing.lock().unwrap_or_else(PoisonError::into_inner);
        for blob in &self.blobs {
            if let Some(count) = passing.get_mut(blob) {
                *count -= 1;
                if *count == 0 {
                    passing.remove(blob);
                }
            }
        }
    }
}
