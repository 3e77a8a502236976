//! From a request to an answer: the node's own paths first, then the storefront.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fondaco_market::{Market, WebhookRefusal};
use http::request::Parts;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use tracing::Instrument;

use crate::accept::Limits;
use crate::answer::{Answer, empty, full, plain, problem, secure, set};
use crate::desk::AskSwarm;
use crate::kept::{Key, Page, Pages};
use crate::links::AskLink;
use crate::metrics::{Counts, MoreMetrics};
use crate::session::{self, Forged, Guest};
use crate::{closed, desk, files, links, metrics, shop, theme};

const MAX_TARGET: usize = 8 << 10;

pub(crate) struct App {
    market: Market,
    limits: Limits,
    counts: Counts,
    pages: Pages,
    https: bool,
    more_metrics: Option<MoreMetrics>,
    swarm: Option<Swarm>,
}

/// What the part of the node that knows the swarm is asked.
pub(crate) struct Swarm {
    pub sharing: AskSwarm,
    pub link: AskLink,
}

impl App {
    pub fn new(market: Market, limits: Limits, more_metrics: Option<MoreMetrics>, swarm: Option<Swarm>) -> Self {
        let https = market.base_url().starts_with("https://");
        Self { market, limits, counts: Counts::default(), pages: Pages::default(), https, more_metrics, swarm }
    }

    /// Counts a connection that was closed unanswered because there are too many.
    pub fn refused(&self) {
        self.counts.refused_connections.fetch_add(1, Ordering::Relaxed);
    }

    pub async fn answer(&self, peer: SocketAddr, request: Request<Incoming>) -> Answer {
        let started = Instant::now();
        let span = tracing::info_span!("request", method = %request.method(), path = request.uri().path());
        let mut answer = self.route(peer, request).instrument(span).await;
        secure(answer.headers_mut(), self.https);
        self.counts.answered(answer.status(), u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX));
        answer
    }

    async fn route(&self, peer: SocketAddr, request: Request<Incoming>) -> Answer {
        let (parts, body) = request.into_parts();
        let (method, uri, headers) = (&parts.method, &parts.uri, &parts.headers);
        if uri.path_and_query().is_some_and(|p| p.as_str().len() > MAX_TARGET) || !uri.path().starts_with('/') {
            return problem(StatusCode::URI_TOO_LONG, "target", "The address is too long, or is no path.");
        }
        let path = uri.path();
        let reads = reads(method);
        let only = |allowed: bool, what: &'static str, answer: Answer| if allowed { answer } else { not_allowed(what) };
        if let Some(rest) = path.strip_prefix("/files/") {
            if !reads {
                return not_allowed("GET, HEAD");
            }
            return files::file(&self.market, method, uri, headers, rest).await;
        }
        if let Some(rest) = path.strip_prefix("/licences/") {
            if !reads {
                return not_allowed("GET, HEAD");
            }
            return files::licence(&self.market, uri, rest).await;
        }
        if let Some(gateway) = path.strip_prefix("/webhooks/") {
            if method != Method::POST {
                return not_allowed("POST");
            }
            let target = uri.path_and_query().map_or_else(|| path.to_owned(), ToString::to_string);
            return match self.body(headers, body).await {
                Ok(body) => self.webhook(gateway, target, headers, &body).await,
                Err(refusal) => refusal,
            };
        }
        if let Some(page) = path.strip_prefix("/-/desk/") {
            if !reads {
                return not_allowed("GET, HEAD");
            }
            return desk::page(&self.market, self.swarm.as_ref().map(|s| &s.sharing), headers, uri, page).await;
        }
        if let Some(work) = path.strip_prefix("/-/works/") {
            if !reads {
                return not_allowed("GET, HEAD");
            }
            return links::link(&self.market, self.swarm.as_ref().map(|s| &s.link), work).await;
        }
        match path {
            "/-/desk.css" => return only(reads, "GET, HEAD", desk::css()),
            "/healthz" => return only(reads, "GET, HEAD", self.health().await),
            "/metrics" => return only(reads, "GET, HEAD", self.metrics(peer, headers).await),
            "/theme/tokens.css" => return only(reads, "GET, HEAD", theme::tokens(&self.market)),
            "/theme/logo" => return only(reads, "GET, HEAD", theme::logo(&self.market)),
            _ => {}
        }
        self.visit(parts, body).await
    }

    /// What carries the visitor's cookie: the shop's pages, and the forms of the library's key.
    async fn visit(&self, parts: Parts, body: Incoming) -> Answer {
        let guest = session::greet(&self.market, &parts.headers);
        let body = match self.body(&parts.headers, body).await {
            Ok(body) => body,
            Err(refusal) => return refusal,
        };
        let renews = reads(&parts.method) && matches!(parts.uri.path(), "/" | "/library");
        let is_plain = parts.method == Method::GET && body.is_empty() && !parts.uri.path().starts_with("/-/");
        let key = if is_plain { Key::of(&parts.uri, &parts.headers) } else { None };
        let kept = match &key {
            Some(key) => self.kept(key, &parts).await,
            None => None,
        };
        let mut answer = match kept {
            Some(page) => Page::clone(&page).map(full),
            None => match self.own(&guest, key, parts, body).await {
                Ok(answer) => answer,
                Err(refusal) => return refusal,
            },
        };
        if !shop::is_shared(answer.headers()) {
            // A year from the last visit to the shop's door or the library, not from the first: the cookie is the key.
            let renew = || renews.then(|| session::header_of(&self.market, &guest.cookie));
            if let Some(cookie) = guest.set_cookie.clone().or_else(renew) {
                set(answer.headers_mut(), header::SET_COOKIE, &cookie);
            }
            if !answer.headers().contains_key(header::CACHE_CONTROL) {
                set(answer.headers_mut(), header::CACHE_CONTROL, "private, no-store");
            }
        }
        answer
    }

    /// The page for everybody of this address, where the storefront promised one.
    async fn kept(&self, key: &Key, parts: &Parts) -> Option<Arc<Page>> {
        self.pages.page(key, || self.market.state(), || Box::pin(self.for_nobody(parts))).await
    }

    /// A page that holds nothing about whoever waits for it: the storefront is not told. None where it does not promise
    /// that again.
    async fn for_nobody(&self, parts: &Parts) -> Option<Page> {
        let plugin = self.market.storefront()?;
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = parts.uri.clone();
        *request.headers_mut() = parts.headers.clone();
        let made = shop::page(&self.market, &plugin, None, request).await.ok()?;
        made.is_shared.then_some(made.page)
    }

    /// The answer to this visitor, or the refusal of what they sent, which carries no cookie.
    async fn own(&self, guest: &Guest, key: Option<Key>, parts: Parts, body: Bytes) -> Result<Answer, Answer> {
        let (method, uri, headers) = (&parts.method, &parts.uri, &parts.headers);
        let (path, reads) = (uri.path(), reads(method));
        let session = session::open(&self.market, guest);
        if !reads && let Err(forged) = session::check_form(headers, uri, self.market.base_url(), &session, &body) {
            return Err(self.forged(forged));
        }
        // The library's key is the visitor's and the node's: no script of a storefront takes it, or puts another in its place.
        if !reads && path.starts_with("/-/") && !session::is_pressed(headers) {
            return Err(self.forged(Forged::Script));
        }
        Ok(match path {
            "/-/library-key" if method == Method::POST => self.library_key(guest).await,
            "/-/restore" if method == Method::POST => self.restore(guest, &body),
            _ if path.starts_with("/-/") => problem(StatusCode::NOT_FOUND, "not-found", "There is nothing here."),
            _ => match self.market.storefront() {
                Some(plugin) => {
                    match shop::page(&self.market, &plugin, Some(&session), Request::from_parts(parts, body)).await {
                        Ok(made) => {
                            if let Some(key) = key.filter(|_| made.is_shared) {
                                self.pages.declare(key, self.market.state());
                            }
                            made.page.map(full)
                        }
                        Err(instead) => instead,
                    }
                }
                None => closed::page(&self.market, headers, "no-storefront", Duration::from_mins(1)),
            },
        })
    }

    /// Reads a request's body, within its size and its time.
    async fn body(&self, headers: &HeaderMap, body: Incoming) -> Result<Bytes, Answer> {
        let limit = self.limits.body_bytes;
        let too_large =
            || problem(StatusCode::PAYLOAD_TOO_LARGE, "too-large", &format!("At most {limit} bytes are taken in."));
        let declared =
            headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
        if declared.is_some_and(|n| n > limit as u64) {
            return Err(too_large());
        }
        match tokio::time::timeout(self.limits.body_time, Limited::new(body, limit).collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
            Ok(Err(_)) => Err(problem(StatusCode::BAD_REQUEST, "body", "The request was cut off.")),
            Err(_) => Err(problem(StatusCode::REQUEST_TIMEOUT, "slow", "The request took too long to arrive.")),
        }
    }

    fn forged(&self, forged: Forged) -> Answer {
        self.counts.forged_forms.fetch_add(1, Ordering::Relaxed);
        let detail = match forged {
            Forged::CrossSite => "The form was sent from another site, so it was not taken in.",
            Forged::Token => {
                "The form's token is missing or old. Allow this site its cookie, go back, load the page again and send the form once more."
            }
            Forged::Script => "A script asked for this, and it is for a person to press the button.",
        };
        problem(StatusCode::FORBIDDEN, "forged-form", detail)
    }

    async fn health(&self) -> Answer {
        match self.market.health().await {
            Ok(()) => plain("application/json", "{\"status\":\"ok\"}"),
            Err(why) => problem(StatusCode::SERVICE_UNAVAILABLE, "unhealthy", &why),
        }
    }

    /// For the operator's own machine: a request that came through a front server is the public's.
    async fn metrics(&self, peer: SocketAddr, headers: &HeaderMap) -> Answer {
        let forwarded = ["forwarded", "x-forwarded-for", "x-real-ip", "via"].iter().any(|h| headers.contains_key(*h));
        let is_local =
            self.market.base_url().starts_with("http://127.") || self.market.base_url().starts_with("http://localhost");
        // Behind a front server every peer is this machine, so a public shop does not show them here.
        if !peer.ip().to_canonical().is_loopback() || forwarded || !is_local {
            return problem(
                StatusCode::FORBIDDEN,
                "local-only",
                "Metrics are for this machine alone, and only where the shop itself is.",
            );
        }
        let mut text = metrics::text(&self.counts, &self.market);
        if let Some(more) = &self.more_metrics {
            text.push_str(&more().await);
        }
        plain("text/plain; version=0.0.4; charset=utf-8", text)
    }

    async fn webhook(&self, gateway: &str, target: String, headers: &HeaderMap, body: &Bytes) -> Answer {
        // The cookie is the node's alone, and a page's form may be sent here too.
        let headers = headers.iter().filter(|(name, _)| *name != header::COOKIE);
        let headers = headers.map(|(k, v)| (k.as_str().to_owned(), v.as_bytes().to_vec())).collect();
        match self.market.webhook(gateway, target, headers, body.to_vec()).await {
            Ok(()) => empty(StatusCode::NO_CONTENT),
            Err(WebhookRefusal::NotFound) => problem(StatusCode::NOT_FOUND, "not-found", "No such payment gateway."),
            Err(WebhookRefusal::Denied(why)) => problem(StatusCode::UNAUTHORIZED, "signature", &why),
            Err(WebhookRefusal::Invalid(why)) => problem(StatusCode::BAD_REQUEST, "webhook", &why),
            Err(WebhookRefusal::TryAgain) => {
                problem(StatusCode::SERVICE_UNAVAILABLE, "try-again", "Please send it again later.")
            }
        }
    }

    async fn library_key(&self, guest: &Guest) -> Answer {
        match self.market.library_key(&guest.cookie).await {
            Ok(text) => {
                let mut answer = plain("text/plain; charset=utf-8", text);
                let head = answer.headers_mut();
                set(head, header::CONTENT_DISPOSITION, "attachment; filename=\"library.key\"");
                set(head, header::CACHE_CONTROL, "no-store");
                answer
            }
            Err(why) => problem(StatusCode::CONFLICT, "library-key", &why.to_string()),
        }
    }

    fn restore(&self, guest: &Guest, form: &Bytes) -> Answer {
        let key = session::form_field(form, "key").unwrap_or_default();
        match self.market.restore_library(&guest.cookie, &key) {
            Ok(cookie) => {
                let mut answer = empty(StatusCode::SEE_OTHER);
                set(answer.headers_mut(), header::LOCATION, "/library");
                set(answer.headers_mut(), header::SET_COOKIE, &session::header_of(&self.market, &cookie));
                answer
            }
            Err(why) => problem(StatusCode::BAD_REQUEST, "library-key", &why.to_string()),
        }
    }
}

/// Does it only ask?
fn reads(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

fn not_allowed(allow: &'static str) -> Answer {
    let mut answer = problem(StatusCode::METHOD_NOT_ALLOWED, "method", &format!("Only {allow} is answered here."));
    set(answer.headers_mut(), header::ALLOW, allow);
    answer
}
