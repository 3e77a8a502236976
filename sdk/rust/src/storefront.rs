//! A storefront is one function from a request to a response. The node speaks HTTP, keeps the session and checks forms;
//! the storefront makes pages.

use std::fmt::Write as _;

use http::{HeaderName, HeaderValue, Method, StatusCode, header};

/// Makes the pages of a shop.
pub trait Storefront {
    /// Answers one request. The node has already checked the CSRF token of a form and the sizes of everything.
    fn handle(request: Request) -> Response;
}

/// A request, with its body read (the node caps it).
///
/// Besides what the browser sent, the node adds: who the visitor is ([`Request::session`]), and the token that a form
/// must carry ([`Request::csrf`]). Cookies never reach a storefront.
#[derive(Clone, Debug)]
pub struct Request {
    inner: http::Request<Vec<u8>>,
}

impl Request {
    /// Wraps an `http` request; this is how a test makes one.
    pub fn new(inner: http::Request<Vec<u8>>) -> Self {
        Self { inner }
    }
    /// A GET request for tests. `target` is the path with its query.
    ///
    /// # Panics
    /// If `target` is no valid URI.
    #[expect(clippy::expect_used, reason = "for tests, where a wrong target is a wrong test")]
    pub fn get(target: &str) -> Self {
        Self::new(http::Request::get(target).body(Vec::new()).expect("a valid target"))
    }
    /// A POST request with form fields, for tests.
    ///
    /// # Panics
    /// If `target` is no valid URI.
    #[expect(clippy::expect_used, reason = "for tests, where a wrong target is a wrong test")]
    pub fn post(target: &str, fields: &[(&str, &str)]) -> Self {
        let body = fields.iter().map(|(k, v)| format!("{}={}", encode(k), encode(v))).collect::<Vec<_>>().join("&");
        let request = http::Request::post(target).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        Self::new(request.body(body.into_bytes()).expect("a valid target"))
    }
    /// The same with one header more.
    ///
    /// # Panics
    /// If the header is not valid.
    #[must_use]
    #[expect(clippy::expect_used, reason = "for tests, where a wrong header is a wrong test")]
    pub fn with_header(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("a valid header");
        self.inner.headers_mut().insert(HeaderName::from_static(name), value);
        self
    }
    /// GET, POST and so on.
    pub fn method(&self) -> &Method {
        self.inner.method()
    }
    /// The path, percent-encoded as it came, beginning with `/`.
    pub fn path(&self) -> &str {
        self.inner.uri().path()
    }
    /// The path's segments, decoded. `/works/a%2Fb` is `["works", "a/b"]`.
    pub fn segments(&self) -> Vec<String> {
        self.path().split('/').filter(|s| !s.is_empty()).map(decode).collect()
    }
    /// The first value of a query parameter, decoded.
    pub fn query(&self, name: &str) -> Option<String> {
        self.query_all(name).into_iter().next()
    }
    /// All values of a query parameter, decoded, in order.
    pub fn query_all(&self, name: &str) -> Vec<String> {
        pairs(self.inner.uri().query().unwrap_or_default()).filter(|(k, _)| k == name).map(|(_, v)| v).collect()
    }
    /// The fields of a posted form, decoded, in order.
    pub fn form(&self) -> Vec<(String, String)> {
        let body = String::from_utf8_lossy(self.inner.body());
        pairs(&body).collect()
    }
    /// The first value of a posted form's field.
    pub fn field(&self, name: &str) -> Option<String> {
        self.form().into_iter().find(|(k, _)| k == name).map(|(_, v)| v)
    }
    /// The body as it came.
    pub fn body(&self) -> &[u8] {
        self.inner.body()
    }
    /// A header's value, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.inner.headers().get(name)?.to_str().ok()
    }
    /// The visitor's session, to be given to [`crate::commerce`]. Not a cookie: it is of no use outside this plugin.
    pub fn session(&self) -> &str {
        self.header("fondaco-session").unwrap_or_default()
    }
    /// The token for the hidden field `csrf` of every form that is posted.
    pub fn csrf(&self) -> &str {
        self.header("fondaco-csrf").unwrap_or_default()
    }
    /// The language to answer in: the first of `offered` that the visitor asked for with `?lang=` or by the browser's
    /// `Accept-Language` (RFC 9110 §12.5.4), else the first that is offered.
    pub fn language<'a>(&self, offered: &[&'a str]) -> &'a str {
        let wanted = self.query("lang").into_iter().map(|l| (l, 1.0)).chain(self.accept_language());
        for (tag, _) in wanted {
            let primary = tag.split('-').next().unwrap_or_default();
            if let Some(found) =
                offered.iter().find(|o| o.eq_ignore_ascii_case(&tag) || o.eq_ignore_ascii_case(primary))
            {
                return found;
            }
        }
        offered.first().copied().unwrap_or("en")
    }
    fn accept_language(&self) -> Vec<(String, f32)> {
        let header = self.header("accept-language").unwrap_or_default();
        let mut tags: Vec<(String, f32)> = header
            .split(',')
            .filter_map(|part| {
                let (tag, params) = part.trim().split_once(';').unwrap_or((part.trim(), ""));
                let q = params.trim().strip_prefix("q=").map_or(1.0, |q| q.parse().unwrap_or(0.0));
                (!tag.is_empty() && q > 0.0).then(|| (tag.to_owned(), q))
            })
            .collect();
        tags.sort_by(|a, b| b.1.total_cmp(&a.1));
        tags
    }
}

/// A response. Security headers are the node's own; a storefront sets what the page is and for how long it may be kept.
#[derive(Clone, Debug)]
pub struct Response {
    inner: http::Response<Vec<u8>>,
}

impl Response {
    /// A response of any media type.
    pub fn new(media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let mut inner = http::Response::new(body.into());
        if let Ok(value) = HeaderValue::from_str(media_type) {
            inner.headers_mut().insert(header::CONTENT_TYPE, value);
        }
        Self { inner }
    }
    /// A page.
    pub fn html(page: impl Into<String>) -> Self {
        Self::new("text/html; charset=utf-8", page.into())
    }
    /// JSON.
    pub fn json(value: &serde_json::Value) -> Self {
        Self::new("application/json", value.to_string())
    }
    /// A page that says that there is nothing here: 404.
    pub fn not_found(page: impl Into<String>) -> Self {
        Self::html(page).status(StatusCode::NOT_FOUND)
    }
    /// Sends the browser on after a form was taken in: 303 (RFC 9110 §15.4.4). Only paths of this site are allowed.
    pub fn see_other(path: &str) -> Self {
        Self::new("text/plain; charset=utf-8", Vec::new()).status(StatusCode::SEE_OTHER).with("location", path)
    }
    /// The same with another status.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        *self.inner.status_mut() = status;
        self
    }
    /// The same with one header set. A value that HTTP does not allow is left out.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.inner.headers_mut().insert(HeaderName::from_static(name), value);
        }
        self
    }
    /// Lets browsers keep it for so many seconds, and the node show one copy to everybody for one. Never for a page that
    /// holds something of the visitor's.
    #[must_use]
    pub fn cache(self, seconds: u32) -> Self {
        self.with("cache-control", &format!("public, max-age={seconds}"))
    }
    /// The status.
    pub fn code(&self) -> StatusCode {
        self.inner.status()
    }
    /// A header's value, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.inner.headers().get(name)?.to_str().ok()
    }
    /// The body.
    pub fn body(&self) -> &[u8] {
        self.inner.body()
    }
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.inner.body()).into_owned()
    }
}

/// Percent-encodes a value for a path segment, a query or a form (RFC 3986 unreserved characters stay).
pub fn encode(value: &str) -> String {
    value.bytes().fold(String::with_capacity(value.len()), |mut out, b| {
        match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(b)),
            _ => {
                let _ = write!(out, "%{b:02X}");
            }
        }
        out
    })
}

fn decode(value: &str) -> String {
    let mut out = Vec::with_capacity(value.len());
    let mut bytes = value.as_bytes().iter();
    while let Some(&b) = bytes.next() {
        let hex = bytes
            .as_slice()
            .get(..2)
            .and_then(|h| std::str::from_utf8(h).ok())
            .and_then(|h| u8::from_str_radix(h, 16).ok());
        match (b, hex) {
            (b'%', Some(byte)) => {
                out.push(byte);
                bytes.nth(1);
            }
            _ => out.push(b),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The pairs of `application/x-www-form-urlencoded` (WHATWG URL §5.1).
fn pairs(encoded: &str) -> impl Iterator<Item = (String, String)> {
    encoded.split('&').filter(|p| !p.is_empty()).map(|pair| {
        let (k, v) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(&k.replace('+', " ")), decode(&v.replace('+', " ")))
    })
}

#[cfg(target_family = "wasm")]
mod component {
    use std::io::{Read, Write};
    use std::marker::PhantomData;

    use wasip2::exports::http::incoming_handler::Guest;
    use wasip2::http::types as wasi;

    use super::{Method, Request, Response, StatusCode, Storefront};

    /// What `plugin!` exports as `wasi:http/incoming-handler`.
    pub struct Shop<T>(PhantomData<T>);

    impl<T: Storefront> Guest for Shop<T> {
        fn handle(request: wasi::IncomingRequest, out: wasi::ResponseOutparam) {
            let response = match read(&request) {
                Some(request) => T::handle(request),
                None => Response::new("text/plain", "bad request").status(StatusCode::BAD_REQUEST),
            };
            write(&response, out);
        }
    }

    fn read(request: &wasi::IncomingRequest) -> Option<Request> {
        let method = match request.method() {
            wasi::Method::Get => Method::GET,
            wasi::Method::Head => Method::HEAD,
            wasi::Method::Post => Method::POST,
            wasi::Method::Put => Method::PUT,
            wasi::Method::Delete => Method::DELETE,
            wasi::Method::Options => Method::OPTIONS,
            wasi::Method::Patch => Method::PATCH,
            wasi::Method::Connect => Method::CONNECT,
            wasi::Method::Trace => Method::TRACE,
            wasi::Method::Other(name) => name.parse().ok()?,
        };
        let target = request.path_with_query().unwrap_or_else(|| "/".into());
        let mut builder = http::Request::builder().method(method).uri(target);
        for (name, value) in request.headers().entries() {
            builder = builder.header(name, value);
        }
        let mut body = Vec::new();
        let incoming = request.consume().ok()?;
        incoming.stream().ok()?.read_to_end(&mut body).ok()?;
        Some(Request::new(builder.body(body).ok()?))
    }

    fn write(response: &Response, out: wasi::ResponseOutparam) {
        let headers: Vec<(String, Vec<u8>)> =
            response.inner.headers().iter().map(|(k, v)| (k.as_str().to_owned(), v.as_bytes().to_vec())).collect();
        let Ok(headers) = wasi::Fields::from_list(&headers) else {
            let error = wasi::ErrorCode::InternalError(Some("a header that HTTP does not allow".into()));
            return wasi::ResponseOutparam::set(out, Err(error));
        };
        let outgoing = wasi::OutgoingResponse::new(headers);
        let _ = outgoing.set_status_code(response.code().as_u16());
        let Ok(body) = outgoing.body() else { return };
        wasi::ResponseOutparam::set(out, Ok(outgoing));
        let Ok(mut stream) = body.write() else { return };
        // A body that could not be written is dropped, not finished: the browser sees a cut answer, never a short one.
        let written = stream.write_all(response.body()).and_then(|()| Write::flush(&mut stream));
        drop(stream);
        if written.is_ok() {
            let _ = wasi::OutgoingBody::finish(body, None);
        }
    }
}
#[cfg(target_family = "wasm")]
pub use component::Shop;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_paths_queries_and_forms() {
        let r = Request::get("/works/a%2Fb?q=caf%C3%A9+noir&kind=album&kind=book&bad=%zz");
        assert_eq!(r.segments(), ["works", "a/b"]);
        assert_eq!(r.query("q").as_deref(), Some("café noir"));
        assert_eq!(r.query_all("kind"), ["album", "book"]);
        assert_eq!(r.query("bad").as_deref(), Some("%zz"), "what is no escape stays as it came");
        let r = Request::post("/", &[("a&b", "=+% é")]);
        assert_eq!(r.form(), [("a&b".to_owned(), "=+% é".to_owned())]);
    }

    #[test]
    fn picks_the_language_that_the_visitor_wants_most() {
        let offered = ["en", "fr"];
        let ask = |h: &str| Request::get("/").with_header("accept-language", h).language(&offered);
        assert_eq!(ask("fr-CH, en;q=0.9"), "fr");
        assert_eq!(ask("en;q=0.2, fr;q=0.3"), "fr");
        assert_eq!(ask("de, fr;q=0"), "en");
        assert_eq!(Request::get("/?lang=fr").with_header("accept-language", "en").language(&offered), "fr");
    }
}
