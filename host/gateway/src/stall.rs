//! A connection that gives up on a peer who takes nothing: while there is something to write and the peer accepts no
//! byte for a minute, the write fails and the connection closes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

pub(crate) struct Patient {
    stream: TcpStream,
    limit: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    pub fn new(stream: TcpStream, limit: Duration) -> Self {
        Self { stream, limit, stalled: None }
    }

    fn judge<T>(&mut self, cx: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.stalled = None;
            return poll;
        }
        let limit = self.limit;
        let sleep = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + limit)));
        match sleep.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes no bytes"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Patient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.judge(cx, poll)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.judge(cx, poll)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(cx);
        self.judge(cx, poll)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair(limit: Duration) -> (Patient, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (peer, ours) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (Patient::new(ours.unwrap().0, limit), peer.unwrap())
    }

    /// Writes until it fails.
    async fn pour(patient: &mut Patient) -> io::Error {
        let bytes = vec![0_u8; 64 << 10];
        loop {
            if let Err(error) = patient.write(&bytes).await {
                return error;
            }
        }
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let (mut patient, _silent) = pair(Duration::from_millis(200)).await;
        let error = tokio::time::timeout(Duration::from_secs(20), pour(&mut patient)).await.expect("it ends");
        assert_eq!((error.kind(), error.to_string().as_str()), (io::ErrorKind::TimedOut, "the peer takes no bytes"));
    }

    #[tokio::test]
    async fn a_peer_that_takes_little_is_waited_for() {
        let (mut patient, mut slow) = pair(Duration::from_millis(500)).await;
        let read = async {
            let mut buffer = vec![0; 1 << 20];
            loop {
                slow.read_exact(&mut buffer).await.unwrap();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let poured = async {
            tokio::select! { error = pour(&mut patient) => error, never = read => never }
        };
        // Four times as long as it would wait for one who takes nothing.
        assert!(tokio::time::timeout(Duration::from_secs(2), poured).await.is_err(), "it was given up");
    }
}
