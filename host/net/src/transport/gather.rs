//! Puts what is written in bits together with what follows: yamux writes the twelve bytes of a frame's head by themselves,
//! and each such write would be a TLS record, a packet, and a waking of the other side.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::{AsyncRead, AsyncWrite};

/// What is held back at most, until more comes or it is flushed.
const MOST: usize = 64;

/// A stream that holds small writes back. Reading goes through.
#[derive(Debug)]
pub(crate) struct Gather<S> {
    inner: S,
    held: Vec<u8>,
}

impl<S> Gather<S> {
    pub fn new(inner: S) -> Self {
        Self { inner, held: Vec::with_capacity(MOST) }
    }
}

impl<S: AsyncWrite + Unpin> Gather<S> {
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            match ready!(Pin::new(&mut self.inner).poll_write(cx, &self.held))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => drop(self.held.drain(..n)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gather<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read(cx, out)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gather<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.held.len() + bytes.len() <= MOST {
            this.held.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        while !this.held.is_empty() {
            let both = [IoSlice::new(&this.held), IoSlice::new(bytes)];
            let written = ready!(Pin::new(&mut this.inner).poll_write_vectored(cx, &both))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_held = written.min(this.held.len());
            this.held.drain(..of_held);
            if written > of_held {
                return Poll::Ready(Ok(written - of_held));
            }
        }
        Pin::new(&mut this.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_held(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_held(cx))?;
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::AsyncWriteExt;

    use super::*;

    /// Takes so many bytes of a write, and remembers each write.
    struct Writes(usize, Vec<Vec<u8>>);

    impl AsyncWrite for Writes {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let taken = &bytes[..bytes.len().min(self.0)];
            self.1.push(taken.to_vec());
            Poll::Ready(Ok(taken.len()))
        }
        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = slices.iter().flat_map(|s| s.to_vec()).collect();
            self.poll_write(cx, &all)
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn a_head_leaves_with_its_body_and_nothing_stays_behind_a_flush() {
        for most in [usize::MAX, 100, 13, 12, 5, 1] {
            let mut stream = Gather::new(Writes(most, Vec::new()));
            let (head, body) = ([1; 12], [2; 200]);
            for _ in 0..3 {
                stream.write_all(&head).await.unwrap();
                stream.write_all(&body).await.unwrap();
            }
            stream.write_all(&[3; 7]).await.unwrap();
            stream.flush().await.unwrap();
            let written: usize = stream.inner.1.iter().map(Vec::len).sum();
            assert!(stream.held.is_empty() && written == 3 * 212 + 7, "{most}: {written}");
            stream.write_all(&[4]).await.unwrap();
            stream.close().await.unwrap();
            let expected: Vec<u8> = [[1; 12].as_slice(), &[2; 200]].concat().repeat(3);
            assert_eq!(stream.inner.1.concat(), [expected.as_slice(), &[3; 7], &[4]].concat(), "{most}");
            if most == usize::MAX {
                assert_eq!(stream.inner.1.iter().map(Vec::len).collect::<Vec<_>>(), [212, 212, 212, 7, 1]);
            }
        }
    }
}
