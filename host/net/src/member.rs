//! `/fondaco/member/1`: membership of a private network. What this node shows, whom it believes, and the step of a connection
//! in which that is done.
//!
//! The step stands between the connection and the swarm ([`admitting`]): a connection over TCP, QUIC or a relay that is
//! encrypted and has streams is handed to the swarm only when the peer has shown a token that its network's authority signed
//! for it. So no protocol has to know of it, and none can forget it: whoever shows nothing is never connected
//! (`host/decisions/membership.md`). [`Members::admits`] is asked again by the gate when a connection begins, and by the loop
//! while it lasts.
//!
//! The one who dialled opens the first stream and shows its token; the other looks at it and answers with its own, or says
//! why not. Strangers are shown nothing. A token is no secret: it is worth nothing without the key of the node that it names,
//! which the connection proved.
//!
//! Peers on the allow-list need not show a token, and need not know of this protocol. If they ask a node that lists them,
//! they are answered within the swarm ([`serve`]).

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use fondaco_schemas::PublicKey;
use fondaco_schemas::membership::MAX_MEMBERSHIP_BYTES;
use fondaco_trust::membership::{MembershipError, verify_membership};
use futures_util::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::core::ConnectedPoint;
use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerExt, SubstreamBox};
use libp2p::core::transport::Boxed;
use libp2p::{PeerId, Transport};
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::MEMBER;
use crate::book;
use crate::net::public_key;
use crate::streams::Inbound;
use crate::wire;

/// How long showing memberships may take, both ways together.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long a peer that is told why it is refused is given to hear it.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long a refused peer is not looked at again.
const REFUSED: Duration = Duration::from_mins(1);
/// The most peers that are remembered for it.
const MOST_REFUSED: usize = 1_000;
/// When so many members are remembered, those whose time is over are forgotten. Only the authority makes one.
const MANY_MEMBERS: usize = 1_000;
/// The longest message, with what is around the token.
const MAX_MESSAGE: usize = MAX_MEMBERSHIP_BYTES + 16;
/// Questions of listed peers that are answered at once; more wait in the queue of streams.
const MOST_ASKERS: usize = 32;
/// What begins every negotiation of a stream (multistream-select 1.0), each line with its length before it.
const BEGIN: &str = "/multistream/1.0.0";
/// The answer to a protocol that is not spoken.
const NOT_SPOKEN: &str = "na";

/// Why a peer's membership is not believed, as it is told over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
#[cbor(index_only)]
pub(crate) enum Why {
    #[n(0)]
    #[error("there is no token")]
    Nothing,
    #[n(1)]
    #[error("the token is none, or was altered")]
    Form,
    #[n(2)]
    #[error("the token is of another network")]
    Authority,
    #[n(3)]
    #[error("the token is another node's")]
    Member,
    #[n(4)]
    #[error("the token's time is over")]
    Ended,
}

impl From<MembershipError> for Why {
    fn from(error: MembershipError) -> Self {
        match error {
            MembershipError::Authority { .. } => Self::Authority,
            MembershipError::Member(_) => Self::Member,
            MembershipError::Ended(_) => Self::Ended,
            _ => Self::Form,
        }
    }
}

/// The asker's token.
#[derive(Debug, Encode, Decode)]
struct Shown(#[n(0)] ByteVec);

/// What is answered.
#[derive(Debug, Encode, Decode)]
enum Answer {
    /// The other's token.
    #[n(0)]
    Member(#[n(0)] ByteVec),
    #[n(1)]
    Refused(#[n(0)] Why),
}

/// What those are sent for whose question there is no room.
pub(crate) fn refusal() -> Vec<u8> {
    wire::frame(&Answer::Refused(Why::Nothing)).unwrap_or_default()
}

/// Why a connection did not become one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("it is no member of this private network: {0}")]
    Stranger(Why),
    #[error(
        "it does not take this node for a member of its private network: {0}; ask whoever keeps the network's key for another \
         token (`fondaco net invite`)"
    )]
    ByIt(Why),
    #[error("it shows no membership within {} s", DEADLINE.as_secs())]
    Late,
    #[error("it broke off before it showed its membership")]
    Broke,
}

/// This node's own membership: who its network's authority is, and the token that it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    authority: PublicKey,
    token: Vec<u8>,
    not_after: u64,
    name: Option<String>,
}

impl Membership {
    /// Checks the token of the node with the key `me`, at a time in seconds since 1970.
    pub fn new(authority: PublicKey, token: Vec<u8>, me: &PublicKey, now: u64) -> Result<Self, MembershipError> {
        let shown = verify_membership(&token, &authority, me, now)?;
        Ok(Self { authority, token, not_after: shown.not_after, name: shown.name })
    }

    /// The last second in which it holds, in seconds since 1970.
    #[must_use]
    pub fn not_after(&self) -> u64 {
        self.not_after
    }

    /// What the authority calls this node.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// One that nobody checked, as a hostile node has it.
    #[cfg(test)]
    pub(crate) fn unchecked(authority: PublicKey, token: Vec<u8>) -> Self {
        Self { authority, token, not_after: u64::MAX, name: None }
    }
}

/// Who belongs to the network, as far as this node was shown.
#[derive(Debug)]
pub(crate) struct Members {
    own: Membership,
    allow: BTreeSet<PeerId>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Until when each member's token holds, in seconds since 1970.
    until: HashMap<PeerId, u64>,
    refused: HashMap<PeerId, (Instant, Why)>,
}

impl Members {
    pub fn new(own: Membership, allow: BTreeSet<PeerId>) -> Self {
        Self { own, allow, state: Mutex::default() }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a peer may take part now: it is on the allow-list, or has shown a token whose time is not over.
    pub fn admits(&self, peer: &PeerId, now: u64) -> bool {
        self.allow.contains(peer) || self.state().until.get(peer).is_some_and(|until| now <= *until)
    }

    /// Why a peer was refused, if that was lately.
    pub fn refused(&self, peer: &PeerId) -> Option<Why> {
        self.state().refused.get(peer).filter(|(at, _)| at.elapsed() < REFUSED).map(|(_, why)| *why)
    }

    /// When this node's own token ended, if its time is over.
    pub fn ended(&self, now: u64) -> Option<u64> {
        (now > self.own.not_after).then_some(self.own.not_after)
    }

    /// Looks at what a peer shows.
    fn look(&self, peer: PeerId, token: &[u8], now: u64) -> Result<(), Why> {
        if let Some(why) = self.refused(&peer) {
            return Err(why);
        }
        let key = public_key(&peer).ok_or(Why::Form)?;
        let shown = verify_membership(token, &self.own.authority, &key, now)?;
        let mut state = self.state();
        if state.until.len() >= MANY_MEMBERS {
            state.until.retain(|_, until| now <= *until);
        }
        let until = state.until.entry(peer).or_default();
        *until = (*until).max(shown.not_after);
        Ok(())
    }

    /// Remembers that a peer was refused, and says so once.
    fn refuse(&self, peer: PeerId, why: Why) -> Refused {
        let mut state = self.state();
        state.refused.retain(|_, (at, _)| at.elapsed() < REFUSED);
        if !state.refused.contains_key(&peer) && state.refused.len() < MOST_REFUSED {
            state.refused.insert(peer, (Instant::now(), why));
            tracing::warn!(%peer, %why, "a node that is no member of this network is refused; it may come back with a token");
        }
        Refused::Stranger(why)
    }

    /// Has both sides of a connection show what they are. Answers the connection where the peer may take part.
    async fn admit(
        &self,
        peer: PeerId,
        mut connection: StreamMuxerBox,
        point: ConnectedPoint,
    ) -> Result<(PeerId, StreamMuxerBox), Refused> {
        let dialled = matches!(point, ConnectedPoint::Dialer { role_override, .. } if role_override.is_dialer());
        let listed = self.allow.contains(&peer);
        let done = match (dialled, listed) {
            (true, _) => timeout(DEADLINE, self.ask(peer, listed, &mut connection)).await,
            // If it asks, that is within the swarm.
            (false, true) => Ok(Ok(())),
            (false, false) => timeout(DEADLINE, self.be_asked(peer, &mut connection)).await,
        };
        match done {
            Ok(Ok(())) => Ok((peer, connection)),
            Ok(Err(Refused::Stranger(why))) => Err(self.refuse(peer, why)),
            Ok(Err(refused)) => {
                if matches!(refused, Refused::ByIt(_)) {
                    tracing::warn!(%peer, "a node was dialled, and {refused}");
                }
                Err(refused)
            }
            Err(_) => {
                // A member on a slow line may try again at once.
                if !self.admits(&peer, book::now()) {
                    self.refuse(peer, Why::Nothing);
                }
                Err(Refused::Late)
            }
        }
    }

    /// The side that dialled.
    async fn ask(&self, peer: PeerId, listed: bool, connection: &mut StreamMuxerBox) -> Result<(), Refused> {
        let mut stream = open(connection, true).await?;
        let answer = driving(connection, async {
            let shown = wire::frame(&Shown(self.own.token.clone().into()))?;
            stream.write_all(&[line(BEGIN), line(MEMBER.as_ref()), shown].concat()).await?;
            stream.flush().await?;
            if read_line(&mut stream).await? != BEGIN || read_line(&mut stream).await? != MEMBER.as_ref() {
                return Ok(None);
            }
            let answer = receive::<Answer>(&mut stream).await?;
            stream.close().await?;
            Ok(Some(answer))
        })
        .await?;
        match answer {
            Some(Answer::Refused(why)) => Err(Refused::ByIt(why)),
            _ if listed => Ok(()),
            Some(Answer::Member(token)) => self.look(peer, &token, book::now()).map_err(Refused::Stranger),
            None => Err(Refused::Stranger(Why::Nothing)),
        }
    }

    /// The side that was dialled.
    async fn be_asked(&self, peer: PeerId, connection: &mut StreamMuxerBox) -> Result<(), Refused> {
        let mut stream = open(connection, false).await?;
        let looked = driving(connection, async {
            let (begin, protocol) = (read_line(&mut stream).await?, read_line(&mut stream).await?);
            if begin != BEGIN || protocol != MEMBER.as_ref() {
                stream.write_all(&[line(BEGIN), line(NOT_SPOKEN)].concat()).await?;
                stream.flush().await?;
                return Ok(Err(Why::Nothing));
            }
            stream.write_all(&[line(BEGIN), line(MEMBER.as_ref())].concat()).await?;
            let shown = receive::<Shown>(&mut stream).await?;
            let looked = self.look(peer, &shown.0, book::now());
            let answer = looked.map_or_else(Answer::Refused, |()| Answer::Member(self.own.token.clone().into()));
            wire::send(&mut stream, &answer).await?;
            stream.close().await?;
            Ok(looked)
        })
        .await?;
        if let Err(why) = looked {
            let _ = timeout(LAST_WORDS, gone(connection)).await;
            return Err(Refused::Stranger(why));
        }
        Ok(())
    }
}

/// Puts the step behind a transport.
pub(crate) fn admitting(
    transport: Boxed<(PeerId, StreamMuxerBox)>,
    members: &Arc<Members>,
) -> Boxed<(PeerId, StreamMuxerBox)> {
    let members = Arc::clone(members);
    let step = move |(peer, connection), point| {
        let members = Arc::clone(&members);
        async move { members.admit(peer, connection, point).await }
    };
    transport.and_then(step).boxed()
}

/// Opens a stream, or waits for the peer's first.
async fn open(connection: &mut StreamMuxerBox, ours: bool) -> Result<SubstreamBox, Refused> {
    std::future::poll_fn(|cx| {
        while let Poll::Ready(event) = connection.poll_unpin(cx) {
            event.map_err(|_| Refused::Broke)?;
        }
        let stream = if ours { connection.poll_outbound_unpin(cx) } else { connection.poll_inbound_unpin(cx) };
        stream.map_err(|_| Refused::Broke)
    })
    .await
}

/// Carries a conversation on, and the connection that it needs.
async fn driving<T>(
    connection: &mut StreamMuxerBox,
    conversation: impl Future<Output = io::Result<T>>,
) -> Result<T, Refused> {
    let mut conversation = std::pin::pin!(conversation);
    std::future::poll_fn(|cx| {
        if let Poll::Ready(done) = conversation.as_mut().poll(cx) {
            return Poll::Ready(done.map_err(|_| Refused::Broke));
        }
        while let Poll::Ready(event) = connection.poll_unpin(cx) {
            event.map_err(|_| Refused::Broke)?;
        }
        Poll::Pending
    })
    .await
}

/// Waits until the peer has left.
async fn gone(connection: &mut StreamMuxerBox) {
    std::future::poll_fn(|cx| {
        while let Poll::Ready(event) = connection.poll_unpin(cx) {
            if event.is_err() {
                return Poll::Ready(());
            }
        }
        // Its streams are none any more.
        while let Poll::Ready(stream) = connection.poll_inbound_unpin(cx) {
            if stream.is_err() {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    })
    .await;
}

/// Answers listed peers who ask for this node's token within the swarm, until `stop` says true.
pub(crate) async fn serve(
    members: Arc<Members>,
    mut inbound: mpsc::Receiver<Inbound>,
    mut stop: watch::Receiver<bool>,
) {
    let mut askers = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = stop.wait_for(|s| *s) => break,
            Some(_) = askers.join_next() => {}
            next = inbound.recv(), if askers.len() < MOST_ASKERS => match next {
                Some(Inbound { peer, mut stream, permit }) => {
                    let members = Arc::clone(&members);
                    askers.spawn(async move {
                        let told = timeout(DEADLINE, async {
                            receive::<Shown>(&mut stream).await?;
                            wire::send(&mut stream, &Answer::Member(members.own.token.clone().into())).await?;
                            stream.close().await
                        });
                        if !matches!(told.await, Ok(Ok(()))) {
                            tracing::debug!(%peer, "a listed peer was not shown this node's membership");
                        }
                        drop(permit);
                    });
                }
                None => break,
            },
        }
    }
    askers.shutdown().await;
}

/// A line of multistream-select: its length with its end, itself, and its end.
fn line(text: &str) -> Vec<u8> {
    // All that are written here are shorter than the 127 bytes from which a length takes a second byte.
    [&[u8::try_from(text.len() + 1).unwrap_or(0)], text.as_bytes(), b"\n"].concat()
}

/// Reads a line of multistream-select, of at most 127 bytes. Answers it without its end.
async fn read_line(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut len = [0];
    stream.read_exact(&mut len).await?;
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "no line of multistream-select");
    let [len @ 1..128] = len else { return Err(wrong()) };
    let mut line = vec![0; usize::from(len)];
    stream.read_exact(&mut line).await?;
    if line.pop() != Some(b'\n') {
        return Err(wrong());
    }
    String::from_utf8(line).map_err(|_| wrong())
}

async fn receive<T: for<'b> Decode<'b, ()>>(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<T> {
    let body = wire::receive_bytes(stream, MAX_MESSAGE).await?;
    wire::decode(&body.ok_or(io::ErrorKind::UnexpectedEof)?)
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::Context;

    use fondaco_trust::KeyPair;
    use fondaco_trust::membership::sign_membership;
    use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};

    use super::*;

    fn members(authority: &KeyPair) -> Members {
        Members::new(Membership::unchecked(authority.public(), Vec::new()), BTreeSet::new())
    }

    #[test]
    fn a_refused_peer_is_looked_at_again_only_after_a_while_and_few_are_remembered() {
        let (authority, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let (members, now) = (members(&authority), book::now());
        let peer = crate::peer_id(&key.public()).unwrap();
        let token = sign_membership(&authority, key.public(), now + 100, None).unwrap();
        assert_eq!(members.look(peer, &[], now), Err(Why::Form));
        members.refuse(peer, Why::Form);
        assert_eq!(members.look(peer, &token, now), Err(Why::Form));
        assert!(!members.admits(&peer, now));
        let long_ago = Instant::now().checked_sub(REFUSED).unwrap();
        members.state().refused.insert(peer, (long_ago, Why::Form));
        assert_eq!(members.look(peer, &token, now), Ok(()));
        assert!(members.admits(&peer, now) && members.admits(&peer, now + 100) && !members.admits(&peer, now + 101));
        // An older token, shown on another connection, takes nothing back.
        let older = sign_membership(&authority, key.public(), now + 50, None).unwrap();
        assert_eq!(members.look(peer, &older, now), Ok(()));
        assert!(members.admits(&peer, now + 100));
        for _ in 0..3 * MOST_REFUSED {
            members.refuse(PeerId::random(), Why::Nothing);
        }
        assert_eq!(members.state().refused.len(), MOST_REFUSED);
    }

    /// A peer that says nothing and opens no stream.
    struct Silent;

    impl StreamMuxer for Silent {
        type Substream = futures_util::io::Cursor<Vec<u8>>;
        type Error = io::Error;

        fn poll_inbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<Self::Substream>> {
            Poll::Pending
        }
        fn poll_outbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<Self::Substream>> {
            Poll::Pending
        }
        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn whoever_says_nothing_is_let_go_after_the_deadline() {
        let members = members(&KeyPair::generate().unwrap());
        let point = ConnectedPoint::Listener {
            local_addr: libp2p::Multiaddr::empty(),
            send_back_addr: libp2p::Multiaddr::empty(),
        };
        let peer = PeerId::random();
        let admitted = members.admit(peer, StreamMuxerBox::new(Silent), point);
        let admitted = timeout(DEADLINE * 2, admitted).await.expect("the deadline");
        assert!(matches!(admitted, Err(Refused::Late)));
        assert_eq!(members.refused(&peer), Some(Why::Nothing));
    }

    #[tokio::test]
    async fn no_more_is_read_of_a_stranger_than_a_token_can_have() {
        let read = async |bytes: usize| {
            let frame = wire::frame(&Shown(vec![0_u8; bytes].into())).unwrap();
            receive::<Shown>(&mut futures_util::io::Cursor::new(frame)).await
        };
        assert!(read(MAX_MEMBERSHIP_BYTES).await.is_ok());
        assert!(read(MAX_MESSAGE).await.is_err());
    }

    #[tokio::test]
    async fn lines_read_back_and_what_is_no_line_is_refused() {
        let read = async |bytes: &[u8]| read_line(&mut futures_util::io::Cursor::new(bytes.to_vec())).await;
        for text in [BEGIN, MEMBER.as_ref(), NOT_SPOKEN, ""] {
            assert_eq!(read(&line(text)).await.unwrap(), text);
        }
        assert_eq!(line(BEGIN), b"\x13/multistream/1.0.0\n");
        for bad in [&b""[..], b"\0", b"\x03na", b"\x02na", b"\x80\x01", b"\x03\xff\xff\n"] {
            assert!(read(bad).await.is_err(), "{bad:?}");
        }
    }
}
