//! Counts what comes in, whatever it is: heads, interim answers and framing cost a line as much as bodies do.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::client::Meter;
use crate::connect::Stream;

/// A connection whose incoming bytes are counted. Where they may be no more, reading fails with [`Spent`].
pub(crate) struct Counted {
    stream: Box<dyn Stream>,
    meter: Meter,
}

/// There may be no more bytes.
#[derive(Debug, thiserror::Error)]
#[error("the budget of bytes is used up")]
pub(crate) struct Spent;

impl Counted {
    pub fn new(stream: Box<dyn Stream>, meter: Meter) -> Self {
        Self { stream, meter }
    }
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let more = (buffer.filled().len() - before) as u64;
        Poll::Ready(if more == 0 || (self.meter)(more) { Ok(()) } else { Err(io::Error::other(Spent)) })
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
