//! Streams over one connection: yamux, as libp2p has it, with frames of a size at which they cost little, and a window that
//! has an end. libp2p's own wrapper lets one set neither.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use futures_util::{AsyncRead, AsyncWrite};
use libp2p::core::UpgradeInfo;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use yamux::{Connection, ConnectionError, Mode, Stream};

use super::gather::Gather;

/// Bytes of a frame at most. Each is copied, flushed and woken for by itself. With its head it fills eight records of TLS.
const FRAME: usize = (128 << 10) - 12;
/// What all streams of a connection may have on their way to us, beyond the 256 KiB that each has.
const WINDOW: usize = 16 << 20;
/// What each stream has from the beginning (yamux' specification).
const FIRST_WINDOW: usize = 256 << 10;
/// Streams of a peer that wait to be taken. Nodes of this kind stop opening them there.
const WAITING: usize = 256;

/// The upgrade of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Mux(yamux::Config);

impl Mux {
    /// With so many streams at most.
    pub fn new(streams: usize) -> Self {
        let mut config = yamux::Config::default();
        config.set_max_num_streams(streams);
        config.set_max_connection_receive_window(Some(streams * FIRST_WINDOW + WINDOW));
        config.set_split_send_size(FRAME);
        Self(config)
    }

    fn over<S: AsyncRead + AsyncWrite + Unpin>(self, socket: S, mode: Mode) -> Muxer<S> {
        Muxer { connection: Connection::new(Gather::new(socket), self.0, mode), waiting: VecDeque::new(), waker: None }
    }
}

impl UpgradeInfo for Mux {
    type Info = &'static str;
    type InfoIter = std::iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once("/yamux/1.0.0")
    }
}

type Ready<S> = std::future::Ready<io::Result<Muxer<S>>>;

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> InboundConnectionUpgrade<S> for Mux {
    type Output = Muxer<S>;
    type Error = io::Error;
    type Future = Ready<S>;

    fn upgrade_inbound(self, socket: S, _: Self::Info) -> Self::Future {
        std::future::ready(Ok(self.over(socket, Mode::Server)))
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> OutboundConnectionUpgrade<S> for Mux {
    type Output = Muxer<S>;
    type Error = io::Error;
    type Future = Ready<S>;

    fn upgrade_outbound(self, socket: S, _: Self::Info) -> Self::Future {
        std::future::ready(Ok(self.over(socket, Mode::Client)))
    }
}

/// A connection with streams.
#[derive(Debug)]
pub(crate) struct Muxer<S> {
    connection: Connection<Gather<S>>,
    /// Streams that a peer opened and that were not yet asked for. A connection goes on only by being asked for them.
    waiting: VecDeque<Stream>,
    waker: Option<Waker>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Muxer<S> {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Stream, ConnectionError>> {
        let next = ready!(self.connection.poll_next_inbound(cx));
        Poll::Ready(next.unwrap_or(Err(ConnectionError::Closed)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> StreamMuxer for Muxer<S> {
    type Substream = Stream;
    type Error = ConnectionError;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Stream, ConnectionError>> {
        if let Some(stream) = self.waiting.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        let next = self.poll_next(cx);
        if next.is_pending() {
            self.waker = Some(cx.waker().clone());
        }
        next
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Stream, ConnectionError>> {
        self.connection.poll_new_outbound(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        self.connection.poll_close(cx)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, ConnectionError>> {
        let stream = ready!(self.poll_next(cx))?;
        if self.waiting.len() < WAITING {
            self.waiting.push_back(stream);
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        } else {
            tracing::debug!("a stream is cut off: too many of its peer wait");
        }
        // Others come to their turn before the next is looked for.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
