//! How bytes go over TCP: TLS 1.3 by the node's own key (`tls`), read in large pieces (`buffered`), and yamux with large
//! frames (`mux`). On the wire it is what every libp2p node speaks, `/tls/1.0.0` and `/yamux/1.0.0`; what differs is what it
//! costs (`host/decisions/transfer.md`).
//!
//! Called by `swarm` alone when it is built. It never decides who may connect: it says who somebody is.

mod buffered;
mod gather;
mod mux;
mod tls;

pub(crate) use mux::Mux;
pub(crate) use tls::Tls;

#[cfg(test)]
mod tests;
