//! Why a request got no answer, or only a part of one.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use fondaco_schemas::Origin;

use crate::address::Class;

/// Why a request got no answer, or only a part of one. Where nothing else is said, the server may have acted on it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of certificates could not be used.
    #[error("{file}: no certificate authorities in it: {reason}")]
    Roots {
        /// The file, as it was named.
        file: String,
        /// Why.
        reason: String,
    },
    /// A header that the node sets itself, or too many of them. Nothing was sent.
    #[error("the header {0:?} cannot be set: {1}")]
    Header(String, &'static str),
    /// A method that is not sent. Nothing was sent.
    #[error("the method {0:?} is not sent: it is for proxies and for tests of servers")]
    Method(String),
    /// The name could not be looked up. Nothing was sent.
    #[error("{origin}: the name has no address")]
    Resolve {
        /// Who was called.
        origin: Origin,
        /// What the system says.
        source: io::Error,
    },
    /// One of the name's addresses is not public. Nothing was sent.
    #[error("{origin} is at {address}, which is {class}")]
    Forbidden {
        /// Who was called.
        origin: Origin,
        /// The address.
        address: IpAddr,
        /// What it is.
        class: Class,
    },
    /// No address of the host took a connection. Nothing was sent.
    #[error("{origin}: no connection to {address}")]
    Connect {
        /// Who was called.
        origin: Origin,
        /// The last address that was tried.
        address: IpAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Look-up, connection and TLS together took too long. Nothing was sent.
    #[error("{origin}: no connection within {limit:?}")]
    ConnectTimeout {
        /// Who was called.
        origin: Origin,
        /// How long they may take.
        limit: Duration,
        /// Was it the look-up?
        resolving: bool,
    },
    /// The server did not prove that it is the host. Nothing was sent.
    #[error("{origin}: its certificate is refused: {reason}")]
    Certificate {
        /// Who was called.
        origin: Origin,
        /// Why.
        reason: String,
    },
    /// TLS failed otherwise. Nothing was sent.
    #[error("{origin}: TLS failed: {reason}")]
    Tls {
        /// Who was called.
        origin: Origin,
        /// Why.
        reason: String,
    },
    /// No answer came in time.
    #[error("{origin}: no answer within {limit:?}")]
    FirstByte {
        /// Who was called.
        origin: Origin,
        /// How long it may take.
        limit: Duration,
    },
    /// The whole exchange took too long.
    #[error("{origin}: not done within {limit:?}")]
    Total {
        /// Who was called.
        origin: Origin,
        /// How long it may take.
        limit: Duration,
    },
    /// The answer's headers are too large.
    #[error("{origin}: the headers of its answer are over {limit} bytes")]
    HeadersTooLarge {
        /// Who was called.
        origin: Origin,
        /// How many they may be.
        limit: usize,
    },
    /// The answer's body is too large.
    #[error("{origin}: its answer is over {limit} bytes")]
    BodyTooLarge {
        /// Who was called.
        origin: Origin,
        /// How many they may be.
        limit: u64,
    },
    /// The caller's own budget of bytes is used up.
    #[error("{origin}: the budget of bytes is used up")]
    Budget {
        /// Who was called.
        origin: Origin,
    },
    /// The answer ended before it was whole.
    #[error("{origin}: its answer was cut")]
    Cut {
        /// Who was called.
        origin: Origin,
    },
    /// What came was not HTTP/1.1, or asked for another protocol.
    #[error("{origin}: no HTTP/1.1: {reason}")]
    Protocol {
        /// Who was called.
        origin: Origin,
        /// What was wrong.
        reason: String,
    },
}
