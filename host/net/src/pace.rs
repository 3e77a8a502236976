//! Reading from somebody who may be slow on purpose: over each stretch of time some bytes must come.

use std::io;
use std::time::Duration;

use futures_util::{AsyncRead, AsyncReadExt};
use tokio::time::Instant;

/// Watches how fast bytes come in.
#[derive(Debug)]
pub(crate) struct Pace {
    time: Duration,
    least: u64,
    since: Instant,
    bytes: u64,
}

impl Pace {
    pub fn new(time: Duration, least: u64) -> Self {
        Self { time, least, since: Instant::now(), bytes: 0 }
    }

    /// Nothing was expected until now.
    pub fn restart(&mut self) {
        (self.since, self.bytes) = (Instant::now(), 0);
    }

    /// Reads until the buffer is full. Answers how much came, and what went wrong if that is less.
    pub async fn fill(&mut self, stream: &mut (impl AsyncRead + Unpin), buffer: &mut [u8]) -> (usize, io::Result<()>) {
        let mut got = 0;
        while let Some(rest) = buffer.get_mut(got..).filter(|rest| !rest.is_empty()) {
            match tokio::time::timeout_at(self.since + self.time, stream.read(rest)).await {
                Ok(Ok(0)) => return (got, Err(io::ErrorKind::UnexpectedEof.into())),
                Ok(Ok(n)) => {
                    got += n;
                    self.bytes += n as u64;
                }
                Ok(Err(error)) => return (got, Err(error)),
                Err(_) => {}
            }
            if self.since.elapsed() >= self.time {
                if self.bytes < self.least {
                    return (got, Err(io::ErrorKind::TimedOut.into()));
                }
                self.restart();
            }
        }
        (got, Ok(()))
    }

    /// The same for a future that ends when something came, such as a message.
    pub async fn wait<T>(&self, what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        match tokio::time::timeout(self.time, what).await {
            Ok(result) => result,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// Sends `bytes` every `each`.
    async fn trickle(bytes: usize, each: Duration) -> (usize, io::Result<()>) {
        let (here, mut there) = tokio::io::duplex(1024);
        let send = async move {
            loop {
                tokio::time::sleep(each).await;
                if there.write_all(&vec![1; bytes]).await.is_err() {
                    return;
                }
            }
        };
        let sender = tokio::spawn(send);
        let mut pace = Pace::new(Duration::from_millis(400), 10_000);
        let mut buffer = vec![0; 60_000];
        let result = pace.fill(&mut Compat(here), &mut buffer).await;
        sender.abort();
        result
    }

    /// A tokio stream as a futures stream.
    struct Compat(tokio::io::DuplexStream);

    impl AsyncRead for Compat {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
            buffer: &mut [u8],
        ) -> std::task::Poll<io::Result<usize>> {
            let mut buffer = tokio::io::ReadBuf::new(buffer);
            let read = tokio::io::AsyncRead::poll_read(std::pin::Pin::new(&mut self.0), cx, &mut buffer);
            read.map_ok(|()| buffer.filled().len())
        }
    }

    #[tokio::test]
    async fn a_trickle_is_cut_off_and_a_slow_line_is_not() {
        let (got, end) = trickle(50, Duration::from_millis(20)).await;
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!((100..1_001).contains(&got), "{got}");
        // Three times what it must be, over several stretches of time.
        let (got, end) = trickle(1_500, Duration::from_millis(20)).await;
        assert!(end.is_ok(), "{got}");
        let (got, end) = trickle(1, Duration::from_hours(1)).await;
        assert_eq!((got, end.unwrap_err().kind()), (0, io::ErrorKind::TimedOut));
    }
}
