//! What can go wrong in the swarm, and what to do about it.

use fondaco_schemas::{BlobHash, PublicKey, ReleaseId};
use libp2p::{Multiaddr, PeerId};

/// The result of every act of the swarm.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the swarm did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A text that is no address.
    #[error("{text:?} is no address of a node: {why}")]
    Address {
        /// The text, cut to 120 characters.
        text: String,
        /// What was expected.
        why: &'static str,
    },
    /// The key of this node cannot be used.
    #[error("the node's key cannot be used in the swarm; restore data/keys/node.pem from a backup")]
    Key,
    /// A transport could not be set up.
    #[error("the swarm's transports cannot be set up: {why}")]
    Transport {
        /// What the library said.
        why: String,
    },
    /// An address could not be listened on.
    #[error("cannot listen on {address}: {why}; name another address in [network] listen")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// What the system said.
        why: String,
    },
    /// The swarm is being stopped.
    #[error("the swarm is being stopped; ask again when the node is up")]
    Stopping,
    /// No stream to a peer could be opened.
    #[error("no stream to peer {peer}: {why}")]
    Open {
        /// The peer.
        peer: PeerId,
        /// Why not.
        why: &'static str,
    },
    /// A peer could not be reached.
    #[error("peer {peer} cannot be reached: {why}")]
    Dial {
        /// The peer.
        peer: PeerId,
        /// What each address said.
        why: String,
    },
    /// No peer gave what was asked for.
    #[error("nobody gave {what}: {}; add an address of somebody who has it to the link (?p=…)", list(why))]
    NoSource {
        /// What was wanted.
        what: String,
        /// What each source said.
        why: Vec<String>,
    },
    /// What a peer gave of a channel's index is not its publisher's.
    #[error("peer {peer} gave a false index of channel {channel}: {why}")]
    Channel {
        /// The peer.
        peer: PeerId,
        /// Whose channel. In a box, since an error this large would be carried by every answer.
        channel: Box<PublicKey>,
        /// What is wrong with it.
        why: String,
    },
    /// A release that came from a peer is not one.
    #[error("the release {id} is refused")]
    Release {
        /// Which one.
        id: ReleaseId,
        /// What is wrong with it.
        source: fondaco_trust::ReleaseError,
    },
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] fondaco_store::Error),
    /// A fetch was asked for that is under way.
    #[error("blob {0} is being fetched already; wait until that is done")]
    Busy(BlobHash),
    /// The list of known peers could not be written.
    #[error("the list of known peers cannot be kept in {}", path.display())]
    Book {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

fn list(why: &[String]) -> String {
    if why.is_empty() { "no peer is known".to_owned() } else { why.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_one_clause_in_lower_case_that_says_what_to_do() {
        let peer = PeerId::random();
        let all = [
            Error::Address { text: "x".into(), why: "write it as /ip4/192.0.2.1/udp/4001/quic-v1" },
            Error::Key,
            Error::Transport { why: "no".into() },
            Error::Listen { address: Multiaddr::empty(), why: "address in use".into() },
            Error::Stopping,
            Error::Open { peer, why: "not connected" },
            Error::Dial { peer, why: "refused".into() },
            Error::NoSource { what: "the release x".into(), why: Vec::new() },
            Error::NoSource { what: "the release x".into(), why: vec!["a".into(), "b".into()] },
            Error::Channel { peer, channel: Box::new(PublicKey::new([1; 32])), why: "its numbers go backwards".into() },
            Error::Busy(BlobHash::new([1; 32])),
        ];
        for error in &all {
            let text = error.to_string();
            assert!(!text.ends_with('.') && !text.contains("  ") && !text.contains('\n'), "{text}");
            assert!(!text.starts_with(char::is_uppercase), "{text}");
        }
    }
}
