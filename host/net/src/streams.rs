//! Streams of one protocol: opened to a peer by the best of its connections, and taken from peers into a queue that has an
//! end. A stream for which there is no room is *told* so, and is not dropped in silence.
//!
//! Made because `libp2p-stream` drops inbound streams when its queue is busy, takes a random connection, and keeps senders
//! of connections that are closed.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{AsyncWriteExt, StreamExt};
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
    NotifyHandler, Stream, StreamProtocol, StreamUpgradeError, SubstreamProtocol, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::error::Error;

/// The most streams that are being opened on one connection.
const MOST_OPENING: usize = 32;
/// The most refusals that are being told, all together; more are cut off.
const MOST_REFUSALS: usize = 64;
/// How long telling one may take.
const REFUSING: Duration = Duration::from_secs(5);
/// When a refused peer may ask again, in milliseconds.
pub(crate) const RETRY_MS: u32 = 2000;
/// How long negotiating a stream may take.
const NEGOTIATING: Duration = Duration::from_secs(10);

/// Where an opened stream goes.
pub(crate) type Reply = oneshot::Sender<Result<Stream, Error>>;

/// A stream that a peer opened. While it lives it counts for its peer.
#[derive(Debug)]
pub(crate) struct Inbound {
    pub peer: PeerId,
    pub stream: Stream,
    pub permit: OwnedSemaphorePermit,
}

struct Connection {
    id: ConnectionId,
    worth: Worth,
}

/// What a connection is worth for carrying much: the later, the more. A relay is somebody else's line, and QUIC costs about
/// twice the processor time of TCP (`host/decisions/transfer.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    Relayed,
    Direct,
    Tcp,
}

impl Worth {
    fn of(address: &Multiaddr) -> Self {
        if address.iter().any(|p| p == Protocol::P2pCircuit) {
            Self::Relayed
        } else if is_tcp(address) {
            Self::Tcp
        } else {
            Self::Direct
        }
    }
}

/// Whether an address is reached over TCP.
pub(crate) fn is_tcp(address: &Multiaddr) -> bool {
    address.iter().any(|p| matches!(p, Protocol::Tcp(_)))
}

/// The behaviour.
pub(crate) struct Streams {
    protocol: StreamProtocol,
    connections: HashMap<PeerId, Vec<Connection>>,
    /// How many streams a peer may have, by peer; gone when its last connection is.
    slots: HashMap<PeerId, Arc<Semaphore>>,
    per_peer: usize,
    /// What those are sent for whom there is no room: a message of the protocol, as it goes over the wire.
    refusal: Arc<[u8]>,
    inbound: mpsc::Sender<Inbound>,
    refusing: FuturesUnordered<futures_util::future::BoxFuture<'static, ()>>,
    events: VecDeque<ToSwarm<std::convert::Infallible, Open>>,
    waker: Option<Waker>,
    /// Streams for which there was no room.
    pub refused: u64,
}

/// Asks a connection for a stream.
#[derive(Debug)]
pub(crate) struct Open(PeerId, Reply);

impl Streams {
    /// Streams that peers open go to `inbound`, at most `per_peer` of each; for what is above that there is `refusal`, a
    /// message as it goes over the wire.
    pub fn new(protocol: StreamProtocol, refusal: Vec<u8>, per_peer: usize, inbound: mpsc::Sender<Inbound>) -> Self {
        Self {
            protocol,
            connections: HashMap::new(),
            slots: HashMap::new(),
            per_peer,
            refusal: refusal.into(),
            inbound,
            refusing: FuturesUnordered::new(),
            events: VecDeque::new(),
            waker: None,
            refused: 0,
        }
    }

    /// Opens a stream by the connection that is worth most, of such the newest.
    pub fn open(&mut self, peer: PeerId, reply: Reply) {
        let best = self.connections.get(&peer).and_then(|all| all.iter().max_by_key(|c| c.worth));
        let Some(id) = best.map(|connection| connection.id) else {
            let _ = reply.send(Err(Error::Open { peer, why: "it is not connected" }));
            return;
        };
        self.push(ToSwarm::NotifyHandler { peer_id: peer, handler: NotifyHandler::One(id), event: Open(peer, reply) });
    }

    /// Whether a peer is connected over TCP, and not by a relay.
    pub fn has_tcp(&self, peer: &PeerId) -> bool {
        self.connections.get(peer).is_some_and(|all| all.iter().any(|c| c.worth == Worth::Tcp))
    }

    fn push(&mut self, event: ToSwarm<std::convert::Infallible, Open>) {
        self.events.push_back(event);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn take_in(&mut self, peer: PeerId, stream: Stream) {
        let per_peer = self.per_peer;
        let slots = self.slots.entry(peer).or_insert_with(|| Arc::new(Semaphore::new(per_peer)));
        let refused = match Arc::clone(slots).try_acquire_owned() {
            Ok(permit) => match self.inbound.try_send(Inbound { peer, stream, permit }) {
                Ok(()) => return,
                Err(mpsc::error::TrySendError::Full(inbound) | mpsc::error::TrySendError::Closed(inbound)) => {
                    inbound.stream
                }
            },
            Err(_) => stream,
        };
        self.refused = self.refused.saturating_add(1);
        if self.refusing.len() < MOST_REFUSALS {
            tracing::debug!(%peer, "a stream is refused: there is no room for it");
            self.refusing.push(Box::pin(refuse(refused, Arc::clone(&self.refusal))));
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
    }

    fn handler(&self) -> Handler {
        Handler { protocol: self.protocol.clone(), queue: VecDeque::new(), opening: 0, waker: None }
    }
}

async fn refuse(mut stream: Stream, refusal: Arc<[u8]>) {
    let _ = tokio::time::timeout(REFUSING, async {
        stream.write_all(&refusal).await?;
        stream.close().await
    })
    .await;
}

impl NetworkBehaviour for Streams {
    type ConnectionHandler = Handler;
    type ToSwarm = std::convert::Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(made) => {
                let worth = Worth::of(made.endpoint.get_remote_address());
                let connection = Connection { id: made.connection_id, worth };
                self.connections.entry(made.peer_id).or_default().push(connection);
            }
            FromSwarm::ConnectionClosed(closed) => {
                if let Some(all) = self.connections.get_mut(&closed.peer_id) {
                    all.retain(|c| c.id != closed.connection_id);
                    if all.is_empty() {
                        self.connections.remove(&closed.peer_id);
                        // Whoever comes again still has the streams that it left waiting.
                        let (connections, most) = (&self.connections, self.per_peer);
                        self.slots
                            .retain(|peer, slots| connections.contains_key(peer) || slots.available_permits() < most);
                    }
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, _: ConnectionId, stream: THandlerOutEvent<Self>) {
        self.take_in(peer, stream);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        while let Poll::Ready(Some(())) = self.refusing.poll_next_unpin(cx) {}
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(event);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// One connection's side.
pub(crate) struct Handler {
    protocol: StreamProtocol,
    queue: VecDeque<HandlerEvent>,
    opening: usize,
    waker: Option<Waker>,
}

type HandlerEvent = ConnectionHandlerEvent<ReadyUpgrade<StreamProtocol>, (PeerId, Reply), Stream>;

impl Handler {
    fn push(&mut self, event: HandlerEvent) {
        self.queue.push_back(event);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Open;
    type ToBehaviour = Stream;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = (PeerId, Reply);

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol, ()> {
        SubstreamProtocol::new(ReadyUpgrade::new(self.protocol.clone()), ()).with_timeout(NEGOTIATING)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<HandlerEvent> {
        if let Some(event) = self.queue.pop_front() {
            return Poll::Ready(event);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, Open(peer, reply): Open) {
        if self.opening >= MOST_OPENING {
            let _ = reply.send(Err(Error::Open { peer, why: "too many streams are being opened to it" }));
            return;
        }
        self.opening += 1;
        let upgrade = ReadyUpgrade::new(self.protocol.clone());
        let protocol = SubstreamProtocol::new(upgrade, (peer, reply)).with_timeout(NEGOTIATING);
        self.push(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol, (), Self::OutboundOpenInfo>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. }) => {
                self.push(ConnectionHandlerEvent::NotifyBehaviour(protocol));
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, info: (_, reply) }) => {
                self.opening = self.opening.saturating_sub(1);
                // Whoever asked may have left; the stream is closed then.
                let _ = reply.send(Ok(protocol));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info: (peer, reply), error }) => {
                self.opening = self.opening.saturating_sub(1);
                let why = match error {
                    StreamUpgradeError::Timeout => "it does not answer",
                    StreamUpgradeError::NegotiationFailed => "it does not speak this protocol of ours",
                    StreamUpgradeError::Io(_) | StreamUpgradeError::Apply(_) => "the connection broke",
                };
                let _ = reply.send(Err(Error::Open { peer, why }));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use libp2p::core::ConnectedPoint;
    use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished};

    use super::*;

    fn streams(per_peer: usize) -> Streams {
        // Nothing is taken in: a stream cannot be made here.
        let (inbound, _) = mpsc::channel(1);
        Streams::new(crate::BLOB, Vec::new(), per_peer, inbound)
    }

    #[test]
    fn whoever_comes_again_still_has_the_streams_that_it_left_waiting() {
        let (mut streams, peer, connection_id) = (streams(4), PeerId::random(), ConnectionId::new_unchecked(1));
        let endpoint = &ConnectedPoint::Listener { local_addr: Multiaddr::empty(), send_back_addr: Multiaddr::empty() };
        let come = |streams: &mut Streams| {
            streams.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id: peer,
                connection_id,
                endpoint,
                failed_addresses: &[],
                other_established: 0,
            }));
        };
        let go = |streams: &mut Streams| {
            streams.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
                peer_id: peer,
                connection_id,
                endpoint,
                cause: None,
                remaining_established: 0,
            }));
        };
        come(&mut streams);
        let slots = Arc::clone(streams.slots.entry(peer).or_insert_with(|| Arc::new(Semaphore::new(4))));
        let waiting = slots.try_acquire_many_owned(3).unwrap();
        go(&mut streams);
        come(&mut streams);
        assert_eq!(streams.slots.get(&peer).map(|slots| slots.available_permits()), Some(1));
        drop(waiting);
        go(&mut streams);
        assert!(streams.slots.is_empty(), "whoever left nothing is forgotten");
    }

    #[test]
    fn so_many_streams_are_being_opened_at_once() {
        let (mut handler, peer) = (streams(1).handler(), PeerId::random());
        let mut refused = 0;
        for _ in 0..2 * MOST_OPENING {
            let (reply, mut told) = oneshot::channel();
            handler.on_behaviour_event(Open(peer, reply));
            refused += usize::from(told.try_recv().is_ok());
        }
        assert_eq!((handler.opening, refused), (MOST_OPENING, MOST_OPENING));
    }
}
