//! Web services, called through the node: one function from a request to a response.
//!
//! The manifest names the hosts, the operator grants them, and the node holds each request to that:
//!
//! ```toml
//! [capabilities.http]
//! hosts = ["https://api.pay.example"]
//! reason = "capture payments"
//! ```
//!
//! A payment plugin that asks its service for a charge, with a key that only the node ever sees:
//!
//! ```
//! use fondaco_sdk::{Result, http};
//!
//! fn charge(minor: u64, key: &str) -> Result<String> {
//!     let request = http::Request::post("https://api.pay.example/v1/charges")
//!         .header("authorization", &format!("Bearer {}", http::secret("api-key")))
//!         .header("idempotency-key", key)
//!         .json(&serde_json::json!({ "amount": minor, "currency": "EUR" }));
//!     let response = http::fetch(&request)?;
//!     if response.status() != 201 {
//!         return Err(fondaco_sdk::Error::Unavailable(format!("the payment service says {}", response.status())));
//!     }
//!     let charge: serde_json::Value = response.json()?;
//!     Ok(charge["id"].as_str().unwrap_or_default().to_owned())
//! }
//!
//! // The test plays the service.
//! let host = fondaco_sdk::fake::Host::install();
//! host.web(|request| {
//!     assert_eq!(request.header_value("authorization"), Some("Bearer {{secret:api-key}}"));
//!     Ok(http::Response::new(201, r#"{"id": "ch_1"}"#))
//! });
//! assert_eq!(charge(300, "order-1").unwrap(), "ch_1");
//! ```
//!
//! What the node does with it: it looks the host up once and refuses addresses that are not public, follows no redirect (a
//! 302 is a response), sets `Host`, `Content-Length` and the like itself, and ends it after 10 seconds, which lie within the
//! call's own wall time. Bodies are at most 4 MiB, in both directions; a plugin has 6 connections, 10 requests a second and
//! a daily budget of bytes, as its operator set them. Plain `http://` works where it was granted as such.

use std::fmt;

/// The most that a response's body has.
pub const MAX_BODY: usize = 4 << 20;

/// Stands in a header's value for a secret of the plugin's; the node puts it in on the way out. The secret itself never
/// is in the plugin's memory. Only in headers, and only to granted hosts: what the host does with it is between it and
/// the operator.
pub fn secret(name: &str) -> String {
    format!("{{{{secret:{name}}}}}")
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    at_most: usize,
}

impl Request {
    /// With any method but CONNECT and TRACE.
    pub fn new(method: &str, url: &str) -> Self {
        let (method, url) = (method.to_owned(), url.to_owned());
        Self { method, url, headers: Vec::new(), body: Vec::new(), at_most: MAX_BODY }
    }
    /// GET.
    pub fn get(url: &str) -> Self {
        Self::new("GET", url)
    }
    /// POST.
    pub fn post(url: &str) -> Self {
        Self::new("POST", url)
    }
    /// The same with one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        self
    }
    /// The same with a body.
    #[must_use]
    pub fn body(mut self, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("content-type", media_type)
    }
    /// The same with JSON as its body.
    #[must_use]
    pub fn json(self, value: &serde_json::Value) -> Self {
        self.body("application/json", value.to_string())
    }
    /// The same with a form as its body.
    #[must_use]
    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        let pair = |(k, v): &(&str, &str)| format!("{}={}", crate::encode(k), crate::encode(v));
        let body = fields.iter().map(pair).collect::<Vec<_>>().join("&");
        self.body("application/x-www-form-urlencoded", body)
    }
    /// The same, with a response's body of at most so many bytes (4 MiB if nothing is said, and never more).
    #[must_use]
    pub fn at_most(mut self, bytes: usize) -> Self {
        self.at_most = bytes.min(MAX_BODY);
        self
    }
    /// Its method.
    pub fn method(&self) -> &str {
        &self.method
    }
    /// Where it goes.
    pub fn url(&self) -> &str {
        &self.url
    }
    /// The first value of a header.
    pub fn header_value(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
    /// Its body.
    pub fn body_bytes(&self) -> &[u8] {
        &self.body
    }
}

/// A response, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Response {
    /// For tests: what a web service answers.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }
    /// The same with one more header.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.as_bytes().to_vec()));
        self
    }
    /// Its status, also where that is no success.
    pub fn status(&self) -> u16 {
        self.status
    }
    /// Is its status 2xx?
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
    /// The first value of a header, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(k, _)| k.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }
    /// All headers, in order.
    pub fn headers(&self) -> &[(String, Vec<u8>)] {
        &self.headers
    }
    /// Its body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }
    /// Its body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    /// Its body as JSON.
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> crate::Result<T> {
        let broken = |e| Error::Broken(format!("no JSON as it was expected: {e}")).as_answer();
        serde_json::from_slice(&self.body).map_err(broken)
    }
}

/// Why there is no response. The text says what the node said; the node's log says what the operator can do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The host is not granted, or the node refuses a part of the request. Nothing was sent.
    Denied(String),
    /// The operator has not set a secret that the request names. Nothing was sent.
    Secret(String),
    /// The text is no address, or the request is none that HTTP knows. Nothing was sent.
    Invalid(String),
    /// Too often, too many at once, or the day's bytes are used up.
    Limited(String),
    /// The host has no address, or takes no connection. Nothing was sent.
    Unreachable(String),
    /// The host did not prove who it is. Nothing was sent.
    Untrusted(String),
    /// It took too long; the service may have acted on it.
    Timeout(String),
    /// The response is larger than was allowed; the service may have acted on it.
    TooLarge(String),
    /// What came was cut, or no HTTP, or not what was expected; the service may have acted on it.
    Broken(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, text) = match self {
            Self::Denied(t) => ("the node does not send this", t),
            Self::Secret(t) => ("a secret is not set", t),
            Self::Invalid(t) => ("this is no request", t),
            Self::Limited(t) => ("too much was asked for", t),
            Self::Unreachable(t) => ("the web service is not reached", t),
            Self::Untrusted(t) => ("the web service did not prove who it is", t),
            Self::Timeout(t) => ("the web service took too long", t),
            Self::TooLarge(t) => ("the response is too large", t),
            Self::Broken(t) => ("the response is broken", t),
        };
        write!(f, "{what}: {text}")
    }
}

impl std::error::Error for Error {}

// No `From`: with two of them for `crate::Error`, the compiler could no longer guess errors in authors' closures.
impl Error {
    /// As a plugin answers it to the node.
    pub fn as_answer(&self) -> crate::Error {
        let text = self.to_string();
        match self {
            Self::Denied(_) | Self::Secret(_) => crate::Error::Denied(text),
            Self::Invalid(_) => crate::Error::Internal(text),
            Self::Limited(_) | Self::TooLarge(_) => crate::Error::Exhausted(text),
            _ => crate::Error::Unavailable(text),
        }
    }
}

/// Sends a request and waits for all of its response. Blocks, as everything in a plugin does; waiting is not running, so
/// it counts for the call's wall time and not for its deadline.
pub fn fetch(request: &Request) -> crate::Result<Response> {
    attempt(request).map_err(|error| error.as_answer())
}

/// The same, for a plugin that acts on why there is no response.
pub fn attempt(request: &Request) -> Result<Response, Error> {
    split(&request.url)?;
    #[cfg(target_family = "wasm")]
    return component::fetch(request);
    #[cfg(not(target_family = "wasm"))]
    crate::fake::web(request)
}

/// The response, unless it is larger than the request allows.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn within(request: &Request, response: Response) -> Result<Response, Error> {
    let fits = response.body.len() <= request.at_most;
    if fits { Ok(response) } else { Err(Error::TooLarge(format!("over {} bytes", request.at_most))) }
}

/// Scheme, authority and the rest. The node reads them again, and strictly.
fn split(url: &str) -> Result<(&str, &str, &str), Error> {
    let refused = || Error::Invalid(format!("{url:?} is no address: write https://host/path"));
    let (scheme, rest) = url.split_once("://").ok_or_else(refused)?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = (rest.get(..end).unwrap_or_default(), rest.get(end..).unwrap_or_default());
    let known = scheme == "https" || scheme == "http";
    let clean = !url.bytes().any(|b| b <= b' ' || b == b'\\' || b == b'#' || b >= 0x7f);
    if known && clean && !authority.is_empty() { Ok((scheme, authority, path)) } else { Err(refused()) }
}

#[cfg(target_family = "wasm")]
mod component {
    use std::io::Write as _;

    use wasip2::http::outgoing_handler::handle;
    use wasip2::http::types::{self as wasi, ErrorCode};
    use wasip2::io::streams::StreamError;

    use super::{Error, Request, Response, split};

    pub fn fetch(request: &Request) -> Result<Response, Error> {
        let (scheme, authority, path) = split(&request.url)?;
        let mut headers: Vec<(String, Vec<u8>)> =
            request.headers.iter().map(|(k, v)| (k.clone(), v.as_bytes().to_vec())).collect();
        if !request.body.is_empty() {
            headers.push(("content-length".into(), request.body.len().to_string().into_bytes()));
        }
        let fields = wasi::Fields::from_list(&headers).map_err(|e| {
            Error::Denied(format!("a header cannot be set ({e:?}): the node sets what frames a request"))
        })?;
        let outgoing = wasi::OutgoingRequest::new(fields);
        let scheme = if scheme == "https" { wasi::Scheme::Https } else { wasi::Scheme::Http };
        let path = if path.is_empty() { "/" } else { path };
        let set = outgoing.set_method(&method(&request.method)).is_ok()
            && outgoing.set_scheme(Some(&scheme)).is_ok()
            && outgoing.set_authority(Some(authority)).is_ok()
            && outgoing.set_path_with_query(Some(path)).is_ok();
        if !set {
            return Err(Error::Invalid(format!("{} {:?}", request.method, request.url)));
        }
        let body = outgoing.body().map_err(|()| Error::Broken("the request has no body to write".into()))?;
        let future = handle(outgoing, None).map_err(|e| explain(&e))?;
        // The node may have refused it already and closed its end: then the reason is in the future, not here.
        if let Ok(mut stream) = body.write() {
            let written = stream.write_all(&request.body).and_then(|()| std::io::Write::flush(&mut stream));
            drop(stream);
            if written.is_ok() {
                let _ = wasi::OutgoingBody::finish(body, None);
            }
        }
        future.subscribe().block();
        let answer = match future.get() {
            Some(Ok(Ok(answer))) => answer,
            Some(Ok(Err(code))) => return Err(explain(&code)),
            _ => return Err(Error::Broken("no response where one was ready".into())),
        };
        let (status, headers) = (answer.status(), answer.headers().entries());
        let body = read(&answer, request.at_most)?;
        Ok(Response { status, headers, body })
    }

    fn method(name: &str) -> wasi::Method {
        match name {
            "GET" => wasi::Method::Get,
            "HEAD" => wasi::Method::Head,
            "POST" => wasi::Method::Post,
            "PUT" => wasi::Method::Put,
            "DELETE" => wasi::Method::Delete,
            "OPTIONS" => wasi::Method::Options,
            "PATCH" => wasi::Method::Patch,
            other => wasi::Method::Other(other.to_owned()),
        }
    }

    fn read(answer: &wasi::IncomingResponse, at_most: usize) -> Result<Vec<u8>, Error> {
        let gone = |()| Error::Broken("the response has no body to read".into());
        let incoming = answer.consume().map_err(gone)?;
        let stream = incoming.stream().map_err(gone)?;
        let mut body = Vec::new();
        loop {
            match stream.blocking_read(64 << 10) {
                Ok(piece) => body.extend_from_slice(&piece),
                Err(StreamError::Closed) => return Ok(body),
                Err(StreamError::LastOperationFailed(error)) => {
                    let code = wasi::http_error_code(&error);
                    return Err(code.map_or_else(|| told(error.to_debug_string()), |code| explain(&code)));
                }
            }
            if body.len() > at_most {
                return Err(Error::TooLarge(format!("over {at_most} bytes")));
            }
        }
    }

    /// Hosts that give no code for what ends a body give words.
    fn told(text: String) -> Error {
        if text.contains("limit reached") {
            Error::Limited(text)
        } else if text.contains("exceeds limit") {
            Error::TooLarge(text)
        } else if text.contains("timeout") {
            Error::Timeout(text)
        } else {
            Error::Broken(text)
        }
    }

    fn explain(code: &ErrorCode) -> Error {
        let text = format!("{code:?}");
        match code {
            ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited => Error::Denied(text),
            ErrorCode::ConfigurationError => Error::Secret(text),
            ErrorCode::HttpRequestUriInvalid
            | ErrorCode::HttpRequestUriTooLong
            | ErrorCode::HttpRequestMethodInvalid
            | ErrorCode::HttpRequestBodySize(_)
            | ErrorCode::HttpRequestHeaderSize(_)
            | ErrorCode::HttpRequestHeaderSectionSize(_)
            | ErrorCode::HttpRequestTrailerSectionSize(_) => Error::Invalid(text),
            ErrorCode::ConnectionLimitReached => Error::Limited(text),
            ErrorCode::DnsError(_)
            | ErrorCode::DestinationNotFound
            | ErrorCode::DestinationUnavailable
            | ErrorCode::DestinationIpUnroutable
            | ErrorCode::ConnectionRefused => Error::Unreachable(text),
            ErrorCode::TlsCertificateError | ErrorCode::TlsProtocolError | ErrorCode::TlsAlertReceived(_) => {
                Error::Untrusted(text)
            }
            ErrorCode::DnsTimeout
            | ErrorCode::ConnectionTimeout
            | ErrorCode::ConnectionReadTimeout
            | ErrorCode::ConnectionWriteTimeout
            | ErrorCode::HttpResponseTimeout => Error::Timeout(text),
            ErrorCode::HttpResponseBodySize(_) | ErrorCode::HttpResponseHeaderSectionSize(_) => Error::TooLarge(text),
            _ => Error::Broken(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_split_and_what_is_none_is_not_sent() {
        assert_eq!(split("https://a.example/b?c").unwrap(), ("https", "a.example", "/b?c"));
        assert_eq!(split("http://a.example:81?c").unwrap(), ("http", "a.example:81", "?c"));
        for bad in ["a.example", "ftp://a", "https:///x", "https://a/ b", "https://a\\b", "https://a/#f", "https://é/"]
        {
            assert!(matches!(attempt(&Request::get(bad)), Err(Error::Invalid(_))), "{bad}");
        }
    }

    #[test]
    fn the_fake_node_answers_as_the_test_says() {
        let host = crate::fake::Host::install();
        assert!(matches!(attempt(&Request::get("https://a.example/")), Err(Error::Denied(_))), "nobody plays the web");
        host.web(|r| match r.url() {
            "https://a.example/" => Ok(Response::new(200, r#"{"n": 1}"#).with("X-Served", "yes")),
            _ => Err(Error::Unreachable("gone".into())),
        });
        let response = fetch(&Request::get("https://a.example/")).unwrap();
        assert!(response.is_success() && response.header("x-served") == Some("yes"));
        assert_eq!(response.json::<serde_json::Value>().unwrap()["n"], 1);
        assert!(matches!(response.json::<Vec<u8>>(), Err(crate::Error::Unavailable(_))));
        assert!(matches!(attempt(&Request::get("https://a.example/").at_most(3)), Err(Error::TooLarge(_))));
        let gone = fetch(&Request::post("https://b.example/").form(&[("a", "b c")])).unwrap_err();
        assert_eq!(gone, crate::Error::Unavailable("the web service is not reached: gone".into()));
        let sent = host.web_requests();
        assert_eq!(sent.len(), 3);
        assert_eq!((sent[2].method(), sent[2].body_bytes()), ("POST", &b"a=b%20c"[..]));
    }
}
