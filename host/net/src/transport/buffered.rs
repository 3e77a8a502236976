//! Reads a socket in pieces as large as what comes: TLS asks for 4 KiB at a time, and each would be a call of the system.
//!
//! The buffer begins small, and grows while the socket fills it, so that only connections that carry much have a large one.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::{AsyncRead, AsyncWrite};

/// What a connection begins with.
const LEAST: usize = 8 << 10;
/// What it has at most.
const MOST: usize = 128 << 10;

/// A stream with a buffer for what is read. Writing goes through.
#[derive(Debug)]
pub(crate) struct Buffered<S> {
    inner: S,
    buffer: Vec<u8>,
    /// What of the buffer was read and not yet handed on.
    from: usize,
    to: usize,
}

impl<S> Buffered<S> {
    pub fn new(inner: S) -> Self {
        Self { inner, buffer: vec![0; LEAST], from: 0, to: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Buffered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.from == this.to {
            if this.to == this.buffer.len() && this.to < MOST {
                this.buffer = vec![0; this.to * 2];
            }
            (this.from, this.to) = (0, 0);
            this.to = ready!(Pin::new(&mut this.inner).poll_read(cx, &mut this.buffer))?.min(this.buffer.len());
        }
        let ready = this.buffer.get(this.from..this.to).unwrap_or_default();
        let len = ready.len().min(out.len());
        if let (Some(out), Some(ready)) = (out.get_mut(..len), ready.get(..len)) {
            out.copy_from_slice(ready);
        }
        this.from += len;
        Poll::Ready(Ok(len))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Buffered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::AsyncReadExt;
    use futures_util::io::Cursor;

    use super::*;

    #[tokio::test]
    async fn what_is_read_is_what_came_and_the_buffer_grows_with_it() {
        let bytes = crate::tests::data(1 << 20, 1);
        let mut stream = Buffered::new(Cursor::new(bytes.clone()));
        let mut out = vec![0; 100];
        stream.read_exact(&mut out).await.unwrap();
        assert_eq!(stream.buffer.len(), LEAST);
        stream.read_to_end(&mut out).await.unwrap();
        assert!(out == bytes);
        assert_eq!(stream.buffer.len(), MOST);
    }
}
