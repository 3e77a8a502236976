//! From an origin to a connection: one look-up, all answers vetted, then those very addresses and no others.

use std::any::Any;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use fondaco_schemas::{HostName, Origin};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::address::Reach;
use crate::error::Error;

/// Addresses of one name that are looked at; more are refused, as nobody who serves has them.
const MAX_ADDRESSES: usize = 32;
/// Addresses of one name that are tried.
const MAX_TRIED: usize = 4;

/// Looks names up.
#[async_trait]
pub trait Resolve: Send + Sync + 'static {
    /// All addresses of a name.
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// A connection, in whatever way it was made.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}

/// Makes connections. The only way out: a test that records what is dialled sees everything.
#[async_trait]
pub trait Dial: Send + Sync + 'static {
    /// Connects to a vetted address.
    async fn dial(&self, address: SocketAddr) -> io::Result<Box<dyn Stream>>;
}

/// The system's own look-up and its TCP.
pub struct System;

#[async_trait]
impl Resolve for System {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0)).await?.map(|a| a.ip()).collect())
    }
}

#[async_trait]
impl Dial for System {
    async fn dial(&self, address: SocketAddr) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}

/// The addresses of an origin, each of them within reach. `hold` is kept until the look-up has really ended: the system's
/// cannot be called off, and somebody who leaves early must not start another beside it.
pub(crate) async fn vetted(
    resolver: &Arc<dyn Resolve>,
    origin: &Origin,
    reach: Reach,
    hold: Option<Arc<dyn Any + Send + Sync>>,
) -> Result<Vec<IpAddr>, Error> {
    let addresses = match origin.host() {
        HostName::Address(address) => vec![address],
        HostName::Name(name) => {
            let (resolver, name) = (resolver.clone(), name.to_owned());
            let looked_up = tokio::spawn(async move {
                let found = resolver.resolve(&name).await;
                drop(hold);
                found
            });
            let found = looked_up.await.map_err(io::Error::other).and_then(|found| found);
            found.map_err(|source| Error::Resolve { origin: origin.clone(), source })?
        }
    };
    if addresses.is_empty() || addresses.len() > MAX_ADDRESSES {
        let source = io::Error::other(format!("{} addresses", addresses.len()));
        return Err(Error::Resolve { origin: origin.clone(), source });
    }
    // One bad answer is enough: who mixes them is trying which one we take.
    for address in &addresses {
        if let Some(class) = reach.refuses(*address) {
            return Err(Error::Forbidden { origin: origin.clone(), address: *address, class });
        }
    }
    Ok(addresses)
}

/// Connects to one of the vetted addresses; each has an even share of the time that is left.
pub(crate) async fn connect(
    dialler: &dyn Dial,
    origin: &Origin,
    addresses: &[IpAddr],
    until: Instant,
) -> Result<Box<dyn Stream>, Error> {
    let tried = addresses.len().min(MAX_TRIED);
    let mut last = None;
    for (at, address) in addresses.iter().take(tried).enumerate() {
        let left = until.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(tried - at).unwrap_or(1);
        let dialled = dialler.dial(SocketAddr::new(*address, origin.port()));
        let source = match tokio::time::timeout(share, dialled).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error,
            Err(_) => io::Error::from(io::ErrorKind::TimedOut),
        };
        last = Some(Error::Connect { origin: origin.clone(), address: *address, source });
    }
    Err(last.unwrap_or_else(|| Error::Resolve { origin: origin.clone(), source: io::Error::other("no addresses") }))
}
