//! The accept loop: how many connections there may be, from whom, and for how long they may dawdle. HTTP/1.1 alone is
//! spoken here; HTTP/2 and TLS are a front server's.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fondaco_market::Market;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use crate::app::{App, Swarm};
use crate::desk::AskSwarm;
use crate::links::AskLink;
use crate::metrics::MoreMetrics;
use crate::stall::Patient;

/// What visitors may take up.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections of all visitors.
    pub connections: usize,
    /// Open connections of one address.
    pub connections_per_address: usize,
    /// Bytes of a request's headers, the request line included.
    pub header_bytes: usize,
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// How long a request's headers may take, and how long a connection may stay open between requests.
    pub header_time: Duration,
    /// How long a request's body may take.
    pub body_time: Duration,
    /// How long a peer may take no byte of an answer.
    pub write_stall: Duration,
    /// How long open requests may go on after the node was told to stop.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 2_000,
            connections_per_address: 64,
            header_bytes: 32 << 10,
            body_bytes: 256 << 10,
            header_time: Duration::from_secs(15),
            body_time: Duration::from_secs(30),
            write_stall: Duration::from_mins(1),
            drain: Duration::from_secs(10),
        }
    }
}

/// Why the gateway does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken, or is not ours.
    #[error(
        "cannot listen on {address}: {source}; choose another address with [gateway] listen in fondaco.toml or --listen, or stop what uses it"
    )]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// The gateway, listening.
pub struct Gateway {
    listener: TcpListener,
    market: Market,
    limits: Limits,
    more_metrics: Option<MoreMetrics>,
    swarm: Option<Swarm>,
}

impl Gateway {
    /// Takes the address. Nothing is answered before [`Gateway::serve`].
    pub async fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
        TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, source })
    }

    /// A gateway on a bound address.
    pub fn new(listener: TcpListener, market: Market, limits: Limits) -> Self {
        Self { listener, market, limits, more_metrics: None, swarm: None }
    }

    /// Another part's figures follow the gateway's own at `/metrics`.
    pub fn with_metrics(self, more: MoreMetrics) -> Self {
        Self { more_metrics: Some(more), ..self }
    }

    /// The operator may see the swarm of a work, and others are given the link to one: whom to ask for either.
    pub fn with_swarm(self, sharing: AskSwarm, link: AskLink) -> Self {
        Self { swarm: Some(Swarm { sharing, link }), ..self }
    }

    /// Answers until `stop` says true, then lets open requests end within the drain time.
    pub async fn serve(self, mut stop: watch::Receiver<bool>) {
        let Self { listener, market, limits, more_metrics, swarm } = self;
        let app = Arc::new(App::new(market, limits.clone(), more_metrics, swarm));
        let all = Arc::new(Semaphore::new(limits.connections));
        let by_address = PerAddress::new(limits.connections_per_address);
        let mut tasks = JoinSet::new();
        let stopped = stop.clone();
        loop {
            let (stream, peer) = tokio::select! {
                biased;
                () = told(&mut stop) => break,
                Some(_) = tasks.join_next() => continue,
                accepted = listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        // Out of descriptors, or a peer that was gone at once: neither ends the node.
                        tracing::warn!(%error, "accept failed");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    }
                },
            };
            let Ok(permit) = all.clone().try_acquire_owned() else {
                app.refused();
                continue;
            };
            let Some(place) = by_address.enter(peer.ip()) else {
                app.refused();
                continue;
            };
            tasks.spawn(connection(stream, peer, app.clone(), limits.clone(), stopped.clone(), (permit, place)));
        }
        drop(listener);
        let drained = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(limits.drain, drained).await.is_err() {
            tracing::warn!(open = tasks.len(), "closing connections that did not end in time");
            tasks.shutdown().await;
        }
    }
}

/// Waits for the word to stop; the node's end is one too.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|s| *s).await;
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    app: Arc<App>,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
    _place: (OwnedSemaphorePermit, Place),
) {
    let _ = stream.set_nodelay(true);
    let io = TokioIo::new(Patient::new(stream, limits.write_stall));
    let service = service_fn(move |request| {
        let app = app.clone();
        async move { Ok::<_, std::convert::Infallible>(app.answer(peer, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_buf_size(limits.header_bytes.max(8 << 10))
        .max_headers(100)
        .half_close(false)
        .serve_connection(io, service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = told(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended");
    }
}

/// Counts open connections by address, where IPv6 counts by /64.
#[derive(Clone)]
struct PerAddress {
    limit: usize,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

struct Place {
    of: PerAddress,
    address: IpAddr,
}

impl PerAddress {
    fn new(limit: usize) -> Self {
        Self { limit, open: Arc::default() }
    }
    fn enter(&self, address: IpAddr) -> Option<Place> {
        let address = match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
            v4 @ IpAddr::V4(_) => v4,
        };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_default();
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        Some(Place { of: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.of.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_connections_by_address() {
        let per = PerAddress::new(2);
        let a: IpAddr = "192.0.2.1".parse().unwrap();
        let first = per.enter(a).unwrap();
        let _second = per.enter("::ffff:192.0.2.1".parse().unwrap()).unwrap();
        assert!(per.enter(a).is_none());
        assert!(per.enter("192.0.2.2".parse().unwrap()).is_some());
        drop(first);
        assert!(per.enter(a).is_some());
        let six = PerAddress::new(1);
        let _held = six.enter("2001:db8::1".parse().unwrap()).unwrap();
        assert!(six.enter("2001:db8::2".parse().unwrap()).is_none(), "one /64 is one address");
    }
}
