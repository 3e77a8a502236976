//! `/fondaco/ask/1`: short conversations beside the bulk of `/fondaco/blob/1`. A stream carries one small question and one
//! small answer, and is over.
//!
//! [`Net::ask`] asks; [`Answers`] serves, and asks the node's [`Shelf`] for all but what the swarm itself knows. The asker
//! names the longest answer that it takes. Bounded are: the question, the answer, the time of each step, streams of a peer
//! (by `streams`), answers that are being made, bytes of answers that wait to be read, and questions of a peer in a second.
//! Who asks more is told so, and who does not stop is noted.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fondaco_schemas::{PublicKey, ReleaseId};
use futures_util::{AsyncWrite, AsyncWriteExt};
use libp2p::{Multiaddr, PeerId};
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::error::{Error, Result};
use crate::gate::Offence;
use crate::net::{Net, Shelf};
use crate::rate::{Fair, Rates};
use crate::search::{Found, Search};
use crate::streams::{Inbound, RETRY_MS};
use crate::swarm::Command;
use crate::wire::{self, MAX_MESSAGE};

/// The longest answer that anybody may ask for, in bytes.
pub const MAX_ANSWER: usize = 1 << 20;
/// The longest question, in bytes, with what is around it.
pub const MAX_QUESTION: usize = MAX_MESSAGE;
/// The most receipts in one question: 16 KiB and some.
pub const MAX_RECEIPTS: usize = 32;
/// Streams of one peer.
pub(crate) const STREAMS_PER_PEER: usize = 4;
/// Conversations at once. When they are that many, others wait in the queue of streams, and behind it are refused.
const MOST_CLIENTS: usize = 512;
/// How long a question may take to come.
const COMING: Duration = Duration::from_secs(10);
/// Answers that are made at once, and how long one may take.
const MOST_MAKING: usize = 16;
const MAKING: Duration = Duration::from_secs(10);
/// Bytes of answers that wait to be read, of all together, and how long 64 KiB of one may take.
const MOST_UNREAD: usize = 32 << 20;
const WRITE_BYTES: usize = 64 << 10;
const WRITING: Duration = Duration::from_secs(5);
/// How long an asker waits for an answer to begin, and for its end.
const ANSWERING: Duration = Duration::from_secs(30);
/// Questions of one peer: so many at once, and so many in a second after that.
const BURST: f64 = 32.0;
const PER_SECOND: f64 = 8.0;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum Question {
    /// Who else shares a release?
    #[n(0)]
    Peers(#[n(0)] ReleaseId),
    /// What changed in a channel after a number?
    #[n(1)]
    Channel {
        /// Whose channel: its publisher's key.
        #[n(0)]
        channel: PublicKey,
        /// After which number.
        #[n(1)]
        since: u64,
    },
    /// The signed envelopes of these releases, in this order and as many as fit.
    #[n(2)]
    Releases(#[n(0)] Vec<ReleaseId>),
    /// What time is it?
    #[n(9)]
    Time,
    /// What is there for these words?
    #[n(16)]
    Search(#[n(0)] Search),
    /// Signed receipts, for whoever is named in them or published what they are about; at most [`MAX_RECEIPTS`].
    #[n(17)]
    Receipts(#[n(0)] Vec<ByteVec>),
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum Answered {
    /// Nothing is known of it here, or nothing is said. Also to a question that this version does not know.
    #[n(0)]
    Nothing,
    /// Too much is asked. Ask again after so many milliseconds.
    #[n(1)]
    Busy(#[n(0)] u32),
    /// The answer has so many bytes, which is more than the asker takes.
    #[n(2)]
    TooLong(#[n(0)] u32),
    /// Those who share a release.
    #[n(3)]
    Peers(#[n(0)] Vec<PeerAt>),
    /// Pages of a channel's index, each as its publisher signed it; each follows on the one before.
    #[n(4)]
    Channel(#[n(0)] Vec<ByteVec>),
    /// Releases as they were signed.
    #[n(5)]
    Releases(#[n(0)] Vec<ByteVec>),
    /// Milliseconds since 1970.
    #[n(9)]
    Time(#[n(0)] u64),
    /// What was found.
    #[n(16)]
    Found(#[n(0)] Found),
    /// Of each receipt: whether it need not be sent again.
    #[n(17)]
    Receipts(#[n(0)] Vec<bool>),
}

/// A peer and where to dial it, as it goes over the wire.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PeerAt(#[n(0)] ByteVec, #[n(1)] Vec<ByteVec>);

impl PeerAt {
    /// For the wire.
    #[must_use]
    pub fn new(peer: PeerId, addresses: &[Multiaddr]) -> Self {
        Self(peer.to_bytes().into(), addresses.iter().map(|a| a.to_vec().into()).collect())
    }

    /// What it says, if it says anything that can be read. Whether it is believed is the reader's part.
    #[must_use]
    pub fn read(&self) -> Option<(PeerId, Vec<Multiaddr>)> {
        let peer = PeerId::from_bytes(&self.0).ok()?;
        Some((peer, self.1.iter().take(16).filter_map(|a| Multiaddr::try_from(a.to_vec()).ok()).collect()))
    }
}

/// A question with the longest answer that is taken.
#[derive(Debug, Encode, Decode)]
pub(crate) struct Asked {
    #[n(0)]
    pub most_bytes: u32,
    #[n(1)]
    pub question: Question,
}

/// What those are sent for whom there is no room.
pub(crate) fn refusal() -> Vec<u8> {
    wire::frame(&Answered::Busy(RETRY_MS)).unwrap_or_default()
}

impl Net {
    /// Asks a peer, which is dialled at one of these addresses if it is not connected. An answer longer than `most_bytes`
    /// (at most [`MAX_ANSWER`]) is not taken, and whoever sends one is noted. The answer is the peer's word.
    ///
    /// # Cancel safety
    /// May be dropped; the peer may have been asked.
    pub async fn ask(
        &self,
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        question: &Question,
        most_bytes: usize,
    ) -> Result<Answered> {
        let open = |why| Error::Open { peer, why };
        let most_bytes = most_bytes.min(MAX_ANSWER);
        let asked = Asked { most_bytes: u32::try_from(most_bytes).unwrap_or(u32::MAX), question: question.clone() };
        let frame = wire::frame(&asked).map_err(|_| open("the question cannot be written"))?;
        if frame.len() > MAX_QUESTION {
            return Err(open("the question has more than 64 KiB; ask for less at once"));
        }
        self.connect(peer, addresses).await?;
        let mut stream = self.open_ask(peer).await?;
        let conversation = async {
            stream.write_all(&frame).await?;
            stream.flush().await?;
            wire::receive_bytes(&mut stream, most_bytes).await
        };
        let answer = match timeout(ANSWERING, conversation).await {
            Ok(Ok(Some(answer))) => wire::decode::<Answered>(&answer),
            Ok(Ok(None)) => return Err(open("it closed the stream")),
            Ok(Err(error)) => Err(error),
            Err(_) => {
                self.note(peer, Offence::Slow);
                return Err(open("it does not answer"));
            }
        };
        answer.map_err(|error| {
            if error.kind() == io::ErrorKind::InvalidData {
                self.note(peer, Offence::Protocol);
                open("its answer is too long, or is none")
            } else {
                open("it broke off")
            }
        })
    }
}

/// The serving side.
pub(crate) struct Answers {
    shelf: Arc<dyn Shelf>,
    commands: mpsc::Sender<Command>,
    rates: Mutex<Rates<PeerId>>,
    making: Semaphore,
    unread: Semaphore,
}

impl Answers {
    pub fn new(shelf: Arc<dyn Shelf>, commands: mpsc::Sender<Command>) -> Self {
        let (making, unread) = (Semaphore::new(MOST_MAKING), Semaphore::new(MOST_UNREAD));
        let rates = Mutex::new(Rates::new(BURST, PER_SECOND));
        Self { shelf, commands, rates, making, unread }
    }

    /// Serves streams until `stop` says true.
    pub async fn serve(self: Arc<Self>, mut inbound: mpsc::Receiver<Inbound>, mut stop: watch::Receiver<bool>) {
        let mut clients = JoinSet::new();
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
        if let Err(error) = self.converse(peer, &mut stream).await {
            tracing::debug!(%peer, %error, "a question was not answered");
            match error.kind() {
                io::ErrorKind::InvalidData => self.note(peer, Offence::Protocol),
                io::ErrorKind::TimedOut => self.note(peer, Offence::Slow),
                _ => {}
            }
        }
        drop(permit);
    }

    fn note(&self, peer: PeerId, offence: Offence) {
        if self.commands.try_send(Command::Note { peer, offence }).is_err() {
            tracing::debug!(%peer, ?offence, "not remembered: the loop is busy");
        }
    }

    async fn converse(
        &self,
        peer: PeerId,
        stream: &mut (impl futures_util::AsyncRead + AsyncWrite + Unpin),
    ) -> io::Result<()> {
        let coming = timeout(COMING, wire::receive_bytes(stream, MAX_QUESTION)).await;
        let Some(body) = coming.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?? else { return Ok(()) };
        match self.fair(peer) {
            Fair::Yes => {}
            Fair::Busy => return write(stream, &refusal()).await,
            Fair::Flood => {
                self.note(peer, Offence::Flood);
                return write(stream, &refusal()).await;
            }
        }
        let asked = match wire::decode::<Asked>(&body) {
            Ok(asked) => asked,
            // A question of a later version.
            Err(error) if is_unknown(&error) => return write(stream, &wire::frame(&Answered::Nothing)?).await,
            Err(error) => return Err(error),
        };
        drop(body);
        let most_bytes = usize::try_from(asked.most_bytes).unwrap_or(MAX_ANSWER).min(MAX_ANSWER);
        // Room for the answer is taken before it is made, and what it does not need is given back.
        let room = u32::try_from(most_bytes + 4).unwrap_or(u32::MAX);
        let Ok(Ok(mut room)) = timeout(MAKING, self.unread.acquire_many(room)).await else {
            return write(stream, &refusal()).await;
        };
        let mut frame = wire::frame(&self.make(peer, asked.question, most_bytes).await)?;
        if frame.len() > most_bytes + 4 {
            frame = wire::frame(&Answered::TooLong(u32::try_from(frame.len() - 4).unwrap_or(u32::MAX)))?;
        }
        drop(room.split((most_bytes + 4).saturating_sub(frame.len())));
        write(stream, &frame).await
    }

    /// Makes the answer.
    async fn make(&self, peer: PeerId, question: Question, most_bytes: usize) -> Answered {
        let made = timeout(MAKING, async {
            let _making = self.making.acquire().await;
            match question {
                Question::Peers(release) => {
                    let (reply, told) = oneshot::channel();
                    let command = Command::Sharers { key: *release.as_bytes(), asker: peer, reply };
                    match self.commands.send(command).await {
                        Ok(()) => told.await.ok().flatten().map_or(Answered::Nothing, Answered::Peers),
                        Err(_) => Answered::Nothing,
                    }
                }
                Question::Time => Answered::Time(crate::doctor::now_ms()),
                other => self.shelf.answer(peer, other, most_bytes).await,
            }
        });
        made.await.unwrap_or(Answered::Busy(RETRY_MS))
    }

    fn fair(&self, peer: PeerId) -> Fair {
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        rates.take(peer, std::time::Instant::now())
    }
}

/// Whether a message is one that a later version may know.
fn is_unknown(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|e| e.downcast_ref::<minicbor::decode::Error>());
    inner.is_some_and(minicbor::decode::Error::is_unknown_variant)
}

/// Writes an answer and ends the stream. Whoever does not read it in its time has had it.
async fn write(stream: &mut (impl AsyncWrite + Unpin), frame: &[u8]) -> io::Result<()> {
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    for part in frame.chunks(WRITE_BYTES) {
        timeout(WRITING, stream.write_all(part)).await.map_err(late)??;
    }
    timeout(WRITING, async {
        stream.flush().await?;
        stream.close().await
    })
    .await
    .map_err(late)?
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, Waker};

    use fondaco_schemas::BlobHash;
    use futures_util::AsyncRead;
    use futures_util::io::Cursor;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test]
    async fn whoever_does_not_read_is_given_up_in_its_time() {
        /// Takes 1000 bytes, and then no more.
        struct Full(usize);
        impl AsyncWrite for Full {
            fn poll_write(
                mut self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
                bytes: &[u8],
            ) -> std::task::Poll<io::Result<usize>> {
                let taken = bytes.len().min(self.0);
                self.0 -= taken;
                if taken == 0 { std::task::Poll::Pending } else { std::task::Poll::Ready(Ok(taken)) }
            }
            fn poll_flush(
                self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<io::Result<()>> {
                std::task::Poll::Ready(Ok(()))
            }
            fn poll_close(
                self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<io::Result<()>> {
                std::task::Poll::Ready(Ok(()))
            }
        }
        let begin = Instant::now();
        let error = write(&mut Full(1000), &[0; 2000]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begin.elapsed() < WRITING * 2);
        write(&mut Full(3000), &[0; 2000]).await.unwrap();
    }

    #[test]
    fn messages_read_back_and_a_later_versions_question_is_known_as_such() {
        let at = PeerAt::new(PeerId::random(), &["/ip4/192.0.2.1/tcp/1".parse().unwrap()]);
        let answer = Answered::Peers(vec![at.clone()]);
        assert_eq!(wire::decode::<Answered>(&minicbor::to_vec(&answer).unwrap()).unwrap(), answer);
        assert_eq!(at.read().unwrap().1.len(), 1);
        assert!(PeerAt(vec![1, 2].into(), Vec::new()).read().is_none());
        // [1000, [99, [1]]]
        let later = [0x82, 0x19, 0x03, 0xe8, 0x82, 0x18, 99, 0x81, 1];
        assert!(is_unknown(&wire::decode::<Asked>(&later).unwrap_err()));
        assert!(!is_unknown(&wire::decode::<Asked>(&[0x82, 0x61]).unwrap_err()));
    }

    /// Answers with so many bytes, or with none and never; and counts.
    struct Long(usize, AtomicUsize);

    impl Shelf for Long {
        fn envelope(&self, _: ReleaseId) -> crate::Future<'_, Option<Vec<u8>>> {
            Box::pin(std::future::ready(None))
        }
        fn is_public(&self, _: BlobHash) -> crate::Future<'_, bool> {
            Box::pin(std::future::ready(false))
        }
        fn answer(&self, _: PeerId, _: Question, _: usize) -> crate::Future<'_, Answered> {
            self.1.fetch_add(1, Ordering::Relaxed);
            if self.0 == 0 {
                return Box::pin(std::future::pending());
            }
            Box::pin(std::future::ready(Answered::Releases(vec![vec![1; self.0].into()])))
        }
    }

    /// Somebody who has asked, and takes so many bytes of the answer.
    struct Asker {
        asked: Cursor<Vec<u8>>,
        takes: usize,
        got: Vec<u8>,
    }

    impl Asker {
        fn new(most_bytes: u32, takes: usize) -> Self {
            let asked = Asked { most_bytes, question: Question::Releases(Vec::new()) };
            Self { asked: Cursor::new(wire::frame(&asked).unwrap()), takes, got: Vec::new() }
        }

        fn answer(&self) -> Answered {
            wire::decode(&self.got[4..]).unwrap()
        }
    }

    impl AsyncRead for Asker {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut [u8]) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.asked).poll_read(cx, out)
        }
    }

    impl AsyncWrite for Asker {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let taken = bytes.len().min(self.takes - self.got.len());
            self.got.extend_from_slice(&bytes[..taken]);
            if taken == 0 { Poll::Pending } else { Poll::Ready(Ok(taken)) }
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn answers(bytes: usize) -> (Answers, Arc<Long>) {
        let shelf = Arc::new(Long(bytes, AtomicUsize::new(0)));
        // The loop is none of theirs.
        let (commands, _) = mpsc::channel(1);
        (Answers::new(shelf.clone(), commands), shelf)
    }

    /// How many of 64 who take nothing of their answers have one made.
    fn made_for_the_lazy(answers: &Answers, shelf: &Long, most_bytes: u32) -> usize {
        let before = shelf.1.load(Ordering::Relaxed);
        let mut askers: Vec<Asker> = (0..64).map(|_| Asker::new(most_bytes, 0)).collect();
        let mut waiting: Vec<_> = askers
            .iter_mut()
            .map(|one| Box::pin(tokio::task::unconstrained(answers.converse(PeerId::random(), one))))
            .collect();
        let mut cx = Context::from_waker(Waker::noop());
        for one in &mut waiting {
            assert!(one.as_mut().poll(&mut cx).is_pending());
        }
        shelf.1.load(Ordering::Relaxed) - before
    }

    #[tokio::test]
    async fn what_nobody_reads_is_bounded_and_whoever_wants_too_much_keeps_nobody_waiting() {
        let (answers, shelf) = answers(900_000);
        let mut greedy = Asker::new(u32::MAX, usize::MAX);
        answers.converse(PeerId::random(), &mut greedy).await.unwrap();
        assert!(matches!(greedy.answer(), Answered::Releases(_)), "it is given what others are");
        let mut modest = Asker::new(1000, usize::MAX);
        answers.converse(PeerId::random(), &mut modest).await.unwrap();
        assert!(matches!(modest.answer(), Answered::TooLong(n) if n > 900_000));
        let most = u32::try_from(MAX_ANSWER).unwrap();
        let made = made_for_the_lazy(&answers, &shelf, most);
        assert!((30..40).contains(&made), "{made} times 900 kB wait to be read");
    }

    #[tokio::test]
    async fn so_many_answers_are_made_at_once() {
        let (answers, shelf) = answers(0);
        assert_eq!(made_for_the_lazy(&answers, &shelf, 1000), MOST_MAKING);
    }

    #[tokio::test]
    async fn an_answer_that_is_never_made_is_given_up_in_its_time() {
        let (answers, _) = answers(0);
        let mut asker = Asker::new(1000, usize::MAX);
        let done = timeout(MAKING * 2, answers.converse(PeerId::random(), &mut asker)).await;
        done.expect("it is waited for without end").unwrap();
        assert!(matches!(asker.answer(), Answered::Busy(_)));
    }

    #[tokio::test]
    async fn a_question_that_does_not_come_is_waited_for_no_longer_than_its_time() {
        struct Mute;
        impl AsyncRead for Mute {
            fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
                Poll::Pending
            }
        }
        impl AsyncWrite for Mute {
            fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
                Poll::Ready(Ok(bytes.len()))
            }
            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }
            fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }
        }
        let (answers, _) = answers(1);
        let mut mute = Mute;
        let conversation = answers.converse(PeerId::random(), &mut mute);
        let done = timeout(Duration::from_secs(15), conversation).await.expect("it is waited for without end");
        assert_eq!(done.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
