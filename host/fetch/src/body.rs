//! The body of an answer, as a stream that keeps its connection going, and ends it at a limit.

use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use fondaco_schemas::Origin;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::Connection;
use hyper_util::rt::TokioIo;
use tokio::time::Sleep;

use crate::connect::Stream;
use crate::counted::Spent;
use crate::error::Error;

/// One connection, which goes on only while somebody waits for what it brings: an answer that is not read is not fetched.
pub(crate) struct Driver(pub Option<Pin<Box<Wire>>>);

/// A connection as hyper drives it: requests with whole bodies, over whatever carries bytes.
type Wire = Connection<TokioIo<Box<dyn Stream>>, Full<Bytes>>;

impl Driver {
    /// Lets the connection go on. An error of it also reaches whoever waits for the answer.
    pub fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.0
            && connection.as_mut().poll(cx).is_ready()
        {
            self.0 = None;
        }
    }
}

/// The body of an answer. Dropping it closes the connection.
pub struct Body {
    pub(crate) incoming: Incoming,
    pub(crate) driver: Driver,
    pub(crate) deadline: Pin<Box<Sleep>>,
    pub(crate) total: Duration,
    pub(crate) limit: u64,
    pub(crate) left: u64,
    pub(crate) origin: Origin,
    pub(crate) ended: bool,
    /// Kept as long as the connection.
    pub(crate) hold: Option<Arc<dyn Any + Send + Sync>>,
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Body({}, {} bytes left)", self.origin, self.left)
    }
}

impl Body {
    /// All of it.
    ///
    /// # Cancel safety
    /// Dropping the future drops the body with its connection.
    pub async fn bytes(self) -> Result<Bytes, Error> {
        Ok(self.collect().await?.to_bytes())
    }

    /// The next piece; `None` at the end.
    ///
    /// # Cancel safety
    /// Nothing is lost: a piece is either given or still to come.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, Error> {
        match self.frame().await {
            // Trailers are dropped below, so what comes is data.
            Some(frame) => Ok(frame?.into_data().ok()),
            None => Ok(None),
        }
    }

    fn end(&mut self, error: Error) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.close();
        Poll::Ready(Some(Err(error)))
    }

    fn close(&mut self) {
        self.ended = true;
        self.driver.0 = None;
        self.hold = None;
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        if this.deadline.as_mut().poll(cx).is_ready() {
            let (origin, limit) = (this.origin.clone(), this.total);
            return this.end(Error::Total { origin, limit });
        }
        this.driver.drive(cx);
        loop {
            let data = match ready!(Pin::new(&mut this.incoming).poll_frame(cx)) {
                None => {
                    this.close();
                    return Poll::Ready(None);
                }
                Some(Err(error)) => {
                    let error = explain(&this.origin, &error);
                    return this.end(error);
                }
                // Trailers are not passed on: they arrive when all checks of headers are long over (RFC 9110 §6.5.1).
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => data,
                    Err(_) => continue,
                },
            };
            let length = data.len() as u64;
            let origin = this.origin.clone();
            let Some(left) = this.left.checked_sub(length) else {
                let limit = this.limit;
                return this.end(Error::BodyTooLarge { origin, limit });
            };
            this.left = left;
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
    fn size_hint(&self) -> SizeHint {
        if self.ended { SizeHint::with_exact(0) } else { self.incoming.size_hint() }
    }
}

pub(crate) fn explain(origin: &Origin, error: &hyper::Error) -> Error {
    let origin = origin.clone();
    if error.is_parse_too_large() {
        return Error::HeadersTooLarge { origin, limit: crate::client::MAX_HEAD };
    }
    let cause = std::error::Error::source(error).and_then(|e| e.downcast_ref::<std::io::Error>());
    let inner = cause.and_then(std::io::Error::get_ref);
    if inner.and_then(|error| error.downcast_ref::<Spent>()).is_some() {
        return Error::Budget { origin };
    }
    // Whatever ends a body early is a cut: hyper speaks of it as an end, a reset or a closed channel.
    let reset = cause.is_some();
    if error.is_incomplete_message()
        || error.is_body_write_aborted()
        || error.is_closed()
        || error.is_canceled()
        || reset
    {
        return Error::Cut { origin };
    }
    Error::Protocol { origin, reason: error.to_string() }
}
