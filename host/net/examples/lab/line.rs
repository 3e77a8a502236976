//! A line between two nodes that delays each byte: a proxy over TCP, since not every machine may delay its loopback.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use fondaco_net::Multiaddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The runtime's clock ticks once a millisecond: shorter delays than this are waited for without it.
const COARSE: Duration = Duration::from_millis(10);

/// Passes bytes on, each of them so much later.
async fn later(mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin, delay: Duration) {
    let (sender, mut queue) = tokio::sync::mpsc::channel::<(Instant, Vec<u8>)>(4096);
    let read = async move {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(n @ 1..) = from.read(&mut buffer).await {
            if sender.send((Instant::now() + delay, buffer[..n].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((at, bytes)) = queue.recv().await {
            if delay >= COARSE {
                tokio::time::sleep_until(at.into()).await;
            }
            while Instant::now() < at {
                tokio::task::yield_now().await;
            }
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(read, write);
}

/// A line to an address, with this delay each way.
pub async fn line(to: SocketAddr, delay: Duration) -> Multiaddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (here, _) = listener.accept().await.unwrap();
            let there = TcpStream::connect(to).await.unwrap();
            here.set_nodelay(true).unwrap();
            there.set_nodelay(true).unwrap();
            let ((from_here, to_here), (from_there, to_there)) = (here.into_split(), there.into_split());
            tokio::spawn(later(from_here, to_there, delay));
            tokio::spawn(later(from_there, to_here, delay));
        }
    });
    format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()
}
