//! The swarm: other nodes, what they hold, and verified transfer from and to them.
//!
//! `host/node` starts a [`Net`] and asks it to fetch a release; what the node gives to others is decided by the [`Shelf`]
//! that it hands in. One private loop (`swarm`) owns the libp2p swarm and does nothing that waits for a disk; transfers
//! run in tasks of their own, over streams that the loop opens or accepts for them. This is the only crate that names
//! libp2p.
//!
//! What it never does: believe a peer. A byte that came from the swarm is in the store because it verified against the
//! id that was asked for, and a release is one because its publisher's signature verifies.

mod announce;
mod ask;
mod book;
mod channel;
mod config;
mod doctor;
mod error;
mod fetch;
mod gate;
mod gossip;
mod known;
mod learnt;
mod member;
pub mod memory;
mod metrics;
mod net;
mod pace;
mod per_peer;
mod pex;
mod plan;
mod providers;
mod rate;
mod reach;
mod reader;
mod relaying;
mod runs;
mod search;
mod share;
mod source;
mod streams;
mod swarm;
mod table;
mod traffic;
mod transport;
mod upload;
mod web;
mod wire;

pub use ask::{Answered, MAX_ANSWER, MAX_QUESTION, MAX_RECEIPTS, PeerAt, Question};
pub use channel::{MAX_RELEASES, Pages, answer_pages, answer_releases};
pub use config::{Config, Limits, RelayLimits, Role, Transport};
pub use doctor::Skew;
pub use error::{Error, Result};
pub use fetch::{Fetch, Fetched, SourceState, SourceStatus, Want, Who};
pub use gossip::{Heard, MAX_CHANNELS};
pub use libp2p::{Multiaddr, PeerId};
pub use member::Membership;
pub use net::{Future, Net, Peer, Shelf, Status, address_of, book_in, peer_id, public_key};
pub use per_peer::{PerPeer, Rate};
pub use reach::{Nat, Place, Reachability, Standing, Tested, Tried};
pub use reader::Reader;
pub use search::{
    Found, FoundWork, HeardFrom, MAX_FOUND, MAX_FOUND_BYTES, MAX_FOUND_ENVELOPE, MAX_WORDS, Search, Seen, Whom,
};
pub use share::Timed;
pub use web::{Web, WebSeed};

/// The transfer protocol.
pub(crate) const BLOB: libp2p::StreamProtocol = libp2p::StreamProtocol::new("/fondaco/blob/1");
/// Short questions and answers.
pub(crate) const ASK: libp2p::StreamProtocol = libp2p::StreamProtocol::new("/fondaco/ask/1");
/// What members of a private network show each other before anything else.
pub(crate) const MEMBER: libp2p::StreamProtocol = libp2p::StreamProtocol::new("/fondaco/member/1");
/// Our own distributed hash table, so that it never merges with another network's.
pub(crate) const KAD: libp2p::StreamProtocol = libp2p::StreamProtocol::new("/fondaco/kad/1");

// A test uses the lab's Sybils, which name this crate as a stranger does.
#[cfg(test)]
extern crate self as fondaco_net;
#[cfg(test)]
pub(crate) mod tests;
