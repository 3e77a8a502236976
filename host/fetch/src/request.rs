//! A request, before it is sent: what may stand in it.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Version};
use http_body_util::Full;

use crate::error::Error;
use crate::url::Url;

/// Header lines in a request.
pub const MAX_HEADERS: usize = 64;
/// Bytes of names and values of a request's headers.
pub const MAX_HEADER_BYTES: usize = 16 << 10;

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    /// GET and so on.
    pub method: Method,
    /// Where to.
    pub url: Url,
    /// Headers, without those that the client sets ([`is_ours`]).
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Request {
    /// A GET request without headers.
    pub fn get(url: Url) -> Self {
        Self { method: Method::GET, url, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// Bytes that go out, about: what a budget counts.
    pub(crate) fn size(&self) -> u64 {
        (self.url.target().as_str().len() + header_bytes(&self.headers) + self.body.len()) as u64
    }

    /// As it goes out. The origin form of the target: no proxy is ever asked.
    pub(crate) fn assemble(self) -> Result<http::Request<Full<Bytes>>, Error> {
        if self.method == Method::CONNECT || self.method == Method::TRACE {
            return Err(Error::Method(self.method.to_string()));
        }
        let mut headers = check(self.headers)?;
        let with_body = [Method::POST, Method::PUT, Method::PATCH].contains(&self.method) || !self.body.is_empty();
        if with_body {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(self.body.len()));
        }
        let authority = HeaderValue::from_str(self.url.origin().authority());
        headers.insert(header::HOST, authority.map_err(|_| Error::Header("host".into(), "it is no host"))?);
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        headers
            .entry(header::USER_AGENT)
            .or_insert(HeaderValue::from_static(concat!("Fondaco/", env!("CARGO_PKG_VERSION"))));
        let mut request = http::Request::new(Full::new(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() = http::Uri::from(self.url.target().clone());
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// Does the client set this header, or refuse it? What frames a message (RFC 9112 §6), belongs to one connection
/// (RFC 9110 §7.6.1) or speaks for others is not the caller's.
pub fn is_ours(name: &HeaderName) -> bool {
    const OURS: [&str; 16] = [
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "http2-settings",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
        "via",
        "forwarded",
        "max-forwards",
    ];
    OURS.contains(&name.as_str()) || name.as_str().starts_with("x-forwarded-")
}

fn header_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

fn check(headers: HeaderMap) -> Result<HeaderMap, Error> {
    if headers.len() > MAX_HEADERS || header_bytes(&headers) > MAX_HEADER_BYTES {
        return Err(Error::Header("*".into(), "there are more than 64 headers, or more than 16 KiB of them"));
    }
    for (name, value) in &headers {
        if is_ours(name) {
            return Err(Error::Header(name.to_string(), "the node sets what frames and routes a request"));
        }
        // RFC 9110 §5.5: new fields keep to visible ASCII, spaces and tabs.
        if !value.as_bytes().iter().all(|b| matches!(b, b'\t' | b' '..=b'~')) {
            return Err(Error::Header(name.to_string(), "its value has bytes that are not ASCII"));
        }
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assemble(name: &str, value: &[u8]) -> Result<http::Request<Full<Bytes>>, Error> {
        let mut request = Request::get("https://a.example:8443/x?y".parse().unwrap());
        request.headers.insert(name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value).unwrap());
        request.assemble()
    }

    #[test]
    fn what_frames_and_routes_a_request_is_the_clients() {
        for ours in [
            "Host",
            "Content-Length",
            "Transfer-Encoding",
            "Connection",
            "Keep-Alive",
            "TE",
            "Trailer",
            "Upgrade",
            "Expect",
            "HTTP2-Settings",
            "Proxy-Authorization",
            "Proxy-Connection",
            "Via",
            "Forwarded",
            "X-Forwarded-For",
            "X-Forwarded-Host",
        ] {
            let refused = assemble(ours, b"1").unwrap_err().to_string();
            assert!(refused.contains(&ours.to_ascii_lowercase()), "{refused}");
        }
        let sent = assemble("X-Own", b"v").unwrap();
        assert_eq!(sent.uri(), "/x?y", "origin form");
        assert_eq!(sent.headers()["host"], "a.example:8443");
        assert_eq!(sent.headers()["connection"], "close");
        assert_eq!(sent.headers()["x-own"], "v");
        assert!(!sent.headers().contains_key("content-length"), "a GET without a body has no length");
    }

    #[test]
    fn values_are_ascii_and_headers_are_few() {
        assert!(assemble("x", b"\xe9").is_err());
        assert!(assemble("x", "é".as_bytes()).is_err());
        assert!(assemble("x", b"a\tb c~").is_ok());
        let mut many = Request::get("https://a.example/".parse().unwrap());
        for i in 0..65 {
            many.headers.insert(format!("x-{i}").parse::<HeaderName>().unwrap(), HeaderValue::from_static("v"));
        }
        assert!(many.assemble().is_err());
        assert!(assemble("x", &vec![b'v'; MAX_HEADER_BYTES]).is_err());
    }

    #[test]
    fn methods_for_proxies_are_not_sent() {
        for method in [Method::CONNECT, Method::TRACE] {
            let request = Request { method, ..Request::get("https://a.example/".parse().unwrap()) };
            assert!(matches!(request.assemble(), Err(Error::Method(_))));
        }
        let post = Request { method: Method::POST, ..Request::get("https://a.example/".parse().unwrap()) };
        assert_eq!(post.assemble().unwrap().headers()["content-length"], "0");
    }
}
