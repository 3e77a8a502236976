//! What strangers say about where somebody is, kept within bounds: the addresses that a behaviour would dial because a peer
//! named them, and the addresses under which peers say that they see this node.
//!
//! A behaviour around another. The swarm's loop puts it around the hash table, hole punching and the reachability test, so
//! that none of them makes this node dial into its own network, or tell others of an address there.

use std::collections::HashSet;
use std::ops::{Deref, DerefMut};
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

use crate::gate::may_be_named;

/// The most addresses under which this node is seen that are gone into. Each observer can invent some.
const MOST_SEEN: usize = 64;

/// The behaviour.
pub(crate) struct Learnt<B> {
    inner: B,
    /// A node that keeps to a local network believes its addresses.
    local: bool,
    /// Addresses that the operator named are no stranger's.
    named: HashSet<Multiaddr>,
    seen: HashSet<Multiaddr>,
}

impl<B> Learnt<B> {
    pub fn new(inner: B, local: bool, named: impl IntoIterator<Item = Multiaddr>) -> Self {
        Self { inner, local, named: named.into_iter().collect(), seen: HashSet::new() }
    }

    fn believes(&self, address: &Multiaddr) -> bool {
        self.local || may_be_named(address) || self.named.contains(address)
    }
}

impl<B> Deref for Learnt<B> {
    type Target = B;
    fn deref(&self) -> &B {
        &self.inner
    }
}

impl<B> DerefMut for Learnt<B> {
    fn deref_mut(&mut self) -> &mut B {
        &mut self.inner
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for Learnt<B> {
    type ConnectionHandler = B::ConnectionHandler;
    type ToSwarm = B::ToSwarm;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner.handle_pending_inbound_connection(id, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        let mut known = self.inner.handle_pending_outbound_connection(id, peer, addresses, role)?;
        known.retain(|address| self.believes(address));
        Ok(known)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_outbound_connection(id, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::NewExternalAddrCandidate(candidate) = &event {
            let is_new = !self.seen.contains(candidate.addr);
            if !self.believes(candidate.addr) || (is_new && self.seen.len() >= MOST_SEEN) {
                return;
            }
            if is_new {
                self.seen.insert(candidate.addr.clone());
            }
        }
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.inner.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use libp2p::swarm::{NewExternalAddrCandidate, dummy};

    use super::*;

    /// Names addresses, and counts those under which it is seen.
    struct Names(Vec<Multiaddr>, usize);

    impl NetworkBehaviour for Names {
        type ConnectionHandler = dummy::ConnectionHandler;
        type ToSwarm = Infallible;

        fn handle_established_inbound_connection(
            &mut self,
            _: ConnectionId,
            _: PeerId,
            _: &Multiaddr,
            _: &Multiaddr,
        ) -> Result<THandler<Self>, ConnectionDenied> {
            Ok(dummy::ConnectionHandler)
        }
        fn handle_pending_outbound_connection(
            &mut self,
            _: ConnectionId,
            _: Option<PeerId>,
            _: &[Multiaddr],
            _: Endpoint,
        ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
            Ok(self.0.clone())
        }
        fn handle_established_outbound_connection(
            &mut self,
            _: ConnectionId,
            _: PeerId,
            _: &Multiaddr,
            _: Endpoint,
            _: PortUse,
        ) -> Result<THandler<Self>, ConnectionDenied> {
            Ok(dummy::ConnectionHandler)
        }
        fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
            self.1 += usize::from(matches!(event, FromSwarm::NewExternalAddrCandidate(_)));
        }
        fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
            match event {}
        }
        fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
            Poll::Pending
        }
    }

    fn addresses() -> Vec<Multiaddr> {
        let all = ["/ip4/10.0.0.1/tcp/1", "/ip4/10.0.0.2/tcp/1", "/ip4/198.51.100.1/tcp/1", "/ip4/127.0.0.1/tcp/1"];
        all.iter().map(|a| a.parse().unwrap()).collect()
    }

    #[test]
    fn what_strangers_name_is_dialled_only_where_everybody_may_be() {
        let dialled = |local: bool| {
            let named = "/ip4/10.0.0.2/tcp/1".parse().unwrap();
            let mut learnt = Learnt::new(Names(addresses(), 0), local, [named]);
            let id = ConnectionId::new_unchecked(1);
            learnt.handle_pending_outbound_connection(id, None, &[], Endpoint::Dialer).unwrap()
        };
        assert_eq!(dialled(false), addresses()[1..3]);
        assert_eq!(dialled(true), addresses());
    }

    #[test]
    fn a_flood_of_sightings_is_cut_off() {
        let mut learnt = Learnt::new(Names(Vec::new(), 0), false, []);
        let mut see = |address: &str| {
            let addr = &address.parse().unwrap();
            learnt.on_swarm_event(FromSwarm::NewExternalAddrCandidate(NewExternalAddrCandidate { addr }));
            learnt.1
        };
        assert_eq!(see("/ip4/192.168.0.1/tcp/1"), 0, "an address of the local network is nobody's business");
        for port in 1..1000 {
            see(&format!("/ip4/198.51.100.1/tcp/{port}"));
        }
        assert_eq!(see("/ip4/198.51.100.1/tcp/5"), MOST_SEEN + 1, "one that is known counts again");
    }
}
