//! How bytes go over TCP: TLS 1.3 by the node's own key (`tls`), read in large pieces (`buffered`), and yamux with large
//! frames (`mux`). On the wire it is what every libp2p node speaks, `/tls/1.0.0` and `/yamux/1.0.0`; what differs is what it
//! costs (`host/decisions/transfer.md`).
//!
//! Called by `swarm` alone when it is built. It never decides who may connect: it says who somebody is.

mod buffered;
mod gather;
mod mux;
mod tls;

use std::time::Duration;

use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::transport::timeout::TransportTimeout;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{PeerId, Transport as _, dns, quic, relay, tcp};

use crate::error::{Error, Result};

use mux::Mux;
use tls::Tls;

/// How long a connection may take to be made, all its handshakes together.
const HANDSHAKES: Duration = Duration::from_secs(10);

/// TCP, QUIC and relays, with so many streams on one connection; and the relay client that belongs to them. It is what
/// libp2p's own builder makes, which lets nobody put a step behind all of them (`member`).
pub(crate) fn sockets(
    identity: &Keypair,
    streams: u32,
) -> Result<(Boxed<(PeerId, StreamMuxerBox)>, relay::client::Behaviour)> {
    let fail = |e: &dyn std::fmt::Display| Error::Transport { why: e.to_string() };
    let tls = Tls::new(identity).map_err(|e| fail(&e))?;
    let mux = Mux::new(streams as usize);
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .upgrade(Version::V1Lazy)
        .authenticate(tls.clone())
        .multiplex(mux.clone())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let mut config = quic::Config::new(identity);
    config.max_concurrent_stream_limit = streams;
    config.max_stream_data = 2 << 20;
    config.max_connection_data = 8 << 20;
    config.handshake_timeout = Duration::from_secs(5);
    let quic = quic::tokio::Transport::new(config).map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let direct = tcp.or_transport(quic).map(|either, _| either.into_inner());
    let direct = dns::tokio::Transport::system(direct).map_err(|e| fail(&e))?;
    let (relayed, client) = relay::client::new(identity.public().to_peer_id());
    let relayed = relayed
        .upgrade(Version::V1Lazy)
        .authenticate(tls)
        .multiplex(mux)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let all = relayed.or_transport(direct).map(|either, _| either.into_inner());
    Ok((TransportTimeout::new(all, HANDSHAKES).boxed(), client))
}

#[cfg(test)]
mod tests;
