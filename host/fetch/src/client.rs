//! The client: from a request to an answer whose body is still to be read.

use std::any::Any;
use std::future::poll_fn;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http_body::Body as _;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_rustls::TlsConnector;

use crate::address::Reach;
use crate::body::{Body, Driver, explain};
use crate::connect::{Dial, Resolve, Stream, System, connect, vetted};
use crate::counted::Counted;
use crate::error::Error;
use crate::request::Request;
use crate::tls;

/// Bytes of an answer's headers, which hyper reads into one buffer.
pub(crate) const MAX_HEAD: usize = 64 << 10;
/// Header lines of an answer.
const MAX_HEAD_LINES: usize = 100;

/// What a client is made of.
pub struct Options {
    /// Who looks names up.
    pub resolver: Arc<dyn Resolve>,
    /// Who connects.
    pub dialler: Arc<dyn Dial>,
    /// Files of certificate authorities (PEM) that are trusted besides those of the web.
    pub authorities: Vec<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { resolver: Arc::new(System), dialler: Arc::new(System), authorities: Vec::new() }
    }
}

/// Counts bytes, in both directions; `false` ends the exchange.
pub type Meter = Arc<dyn Fn(u64) -> bool + Send + Sync>;

/// What one request may take.
#[derive(Clone)]
pub struct Terms {
    /// Which addresses it may go to.
    pub reach: Reach,
    /// Look-up, connection and TLS together.
    pub connect: Duration,
    /// From the request's last byte to the answer's headers.
    pub first_byte: Duration,
    /// Everything, to the last byte of the answer.
    pub total: Duration,
    /// Bytes of the answer's body.
    pub max_body: u64,
    /// Who counts the bytes.
    pub meter: Option<Meter>,
    /// Something that is kept until the connection is closed and the look-up has ended: a permit.
    pub hold: Option<Arc<dyn Any + Send + Sync>>,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            reach: Reach::Public,
            connect: Duration::from_secs(3),
            first_byte: Duration::from_secs(5),
            total: Duration::from_secs(10),
            max_body: 4 << 20,
            meter: None,
            hold: None,
        }
    }
}

/// Sends requests. Cheap to clone. It keeps no connections: each request has its own.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    resolver: Arc<dyn Resolve>,
    dialler: Arc<dyn Dial>,
    tls: TlsConnector,
}

impl Client {
    /// Reads the files of authorities.
    pub fn new(options: Options) -> Result<Self, Error> {
        let tls = tls::connector(&options.authorities)?;
        Ok(Self(Arc::new(Inner { resolver: options.resolver, dialler: options.dialler, tls })))
    }

    /// Sends a request; the answer is there when its headers are. A redirect is an answer like any other.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection. The server may have acted on the request.
    pub async fn send(&self, request: Request, terms: Terms) -> Result<http::Response<Body>, Error> {
        let start = Instant::now();
        let deadline = start + terms.total;
        let origin = request.url.origin().clone();
        let size = request.size();
        let request = request.assemble()?;
        if terms.meter.as_ref().is_some_and(|meter| !meter(size)) {
            return Err(Error::Budget { origin });
        }
        let stream = self.connected(&origin, &terms, deadline.min(start + terms.connect)).await?;
        let stream: Box<dyn Stream> = match &terms.meter {
            Some(meter) => Box::new(Counted::new(stream, meter.clone())),
            None => stream,
        };

        let handshake =
            http1::Builder::new().max_headers(MAX_HEAD_LINES).max_buf_size(MAX_HEAD).handshake(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.map_err(|e| explain(&origin, &e))?;
        let mut driver = Driver(Some(Box::pin(connection)));
        let mut sending = pin!(sender.send_request(request));
        let answered = poll_fn(|cx| {
            driver.drive(cx);
            sending.as_mut().poll(cx)
        });
        let patience = deadline.min(Instant::now() + terms.first_byte);
        let answer = timeout_at(patience, answered).await.map_err(|_| {
            let origin = origin.clone();
            if patience == deadline {
                Error::Total { origin, limit: terms.total }
            } else {
                Error::FirstByte { origin, limit: terms.first_byte }
            }
        })?;
        let (mut parts, incoming) = answer.map_err(|e| explain(&origin, &e))?.into_parts();
        if parts.status == http::StatusCode::SWITCHING_PROTOCOLS {
            return Err(Error::Protocol { origin, reason: "it switches to a protocol that nobody asked for".into() });
        }
        // A length that is too great is known before a byte of it is fetched.
        if incoming.size_hint().lower() > terms.max_body {
            return Err(Error::BodyTooLarge { origin, limit: terms.max_body });
        }
        // What belonged to the connection ends here; the rest is the server's word.
        for name in ["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"] {
            parts.headers.remove(name);
        }
        let body = Body {
            incoming,
            driver,
            deadline: Box::pin(sleep_until(deadline)),
            total: terms.total,
            limit: terms.max_body,
            left: terms.max_body,
            origin,
            ended: false,
            hold: terms.hold,
        };
        Ok(http::Response::from_parts(parts, body))
    }

    async fn connected(
        &self,
        origin: &fondaco_schemas::Origin,
        terms: &Terms,
        until: Instant,
    ) -> Result<Box<dyn Stream>, Error> {
        let late =
            |resolving| move |_| Error::ConnectTimeout { origin: origin.clone(), limit: terms.connect, resolving };
        let lookup = vetted(&self.0.resolver, origin, terms.reach, terms.hold.clone());
        let addresses = timeout_at(until, lookup).await.map_err(late(true))??;
        let connecting = async {
            let plain = connect(&*self.0.dialler, origin, &addresses, until).await?;
            if origin.is_plain() { Ok(plain) } else { tls::secure(&self.0.tls, origin, plain).await }
        };
        timeout_at(until, connecting).await.map_err(late(false))?
    }
}
