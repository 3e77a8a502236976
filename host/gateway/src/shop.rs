//! The storefront's place: what of a request reaches it, and what of its answer reaches the browser.

use bytes::Bytes;
use fondaco_market::Market;
use fondaco_runtime::{CallError, Context, Plugin};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};

use crate::answer::{Answer, full, problem, set};
use crate::closed;
use crate::session::Session;

/// The largest page.
const MAX_PAGE: usize = 4 << 20;

/// Request headers that say something about what to answer, and nothing about who asks.
const TO_PLUGIN: &[HeaderName] = &[
    header::ACCEPT,
    header::ACCEPT_LANGUAGE,
    header::CONTENT_TYPE,
    header::IF_NONE_MATCH,
    header::HOST,
    header::USER_AGENT,
];

/// Response headers that a storefront may set. Cookies, policies, lengths and hops are the node's.
const FROM_PLUGIN: &[HeaderName] = &[
    header::CONTENT_TYPE,
    header::CONTENT_LANGUAGE,
    header::CONTENT_DISPOSITION,
    header::CACHE_CONTROL,
    header::ETAG,
    header::LAST_MODIFIED,
    header::RETRY_AFTER,
    header::VARY,
    header::LINK,
];

pub(crate) async fn page(market: &Market, plugin: &Plugin, session: &Session, request: Request<Bytes>) -> Answer {
    let (parts, body) = request.into_parts();
    let mut inner = Request::new(body);
    // A HEAD is a GET whose body is not sent, and that is the node's business.
    *inner.method_mut() = if parts.method == Method::HEAD { Method::GET } else { parts.method };
    *inner.uri_mut() = parts.uri;
    for name in TO_PLUGIN {
        if let Some(value) = parts.headers.get(name) {
            inner.headers_mut().insert(name, value.clone());
        }
    }
    inner.headers_mut().entry(header::HOST).or_insert(HeaderValue::from_static("localhost"));
    set(inner.headers_mut(), HeaderName::from_static("fondaco-session"), &session.visitor.handle);
    set(inner.headers_mut(), HeaderName::from_static("fondaco-csrf"), &session.csrf);
    let context = Context { depth: 0, visitor: Some(session.visitor.clone()) };
    match plugin.handle(&context, inner, MAX_PAGE).await {
        Ok(response) => filter(response, session),
        Err(error) => {
            // The breaker has said so when it opened; here it would be said with every page.
            if matches!(error, CallError::Unavailable { .. }) {
                tracing::debug!(%error, "the storefront is not tried");
            } else {
                tracing::error!(%error, "the storefront failed");
            }
            closed::page(market, &parts.headers, "storefront", closed::again(&error))
        }
    }
}

fn filter(response: http::Response<Bytes>, session: &Session) -> Answer {
    let (parts, body) = response.into_parts();
    let mut answer = Answer::new(full(body));
    *answer.status_mut() = parts.status;
    for name in FROM_PLUGIN {
        for value in parts.headers.get_all(name) {
            answer.headers_mut().append(name, value.clone());
        }
    }
    if let Some(location) = parts.headers.get(header::LOCATION) {
        if leads_here(location) || was_named(location, session) {
            answer.headers_mut().insert(header::LOCATION, location.clone());
        } else {
            tracing::warn!(?location, "the storefront wanted to send a visitor elsewhere");
            return problem(
                StatusCode::BAD_GATEWAY,
                "redirect",
                "The shop wanted to send you to another site. It may not.",
            );
        }
    }
    if parts.status.is_informational() {
        return problem(StatusCode::BAD_GATEWAY, "storefront", "The shop answered with a status that is no answer.");
    }
    answer
}

/// A path of this site: `/` and then no second one, and nothing that browsers strip or turn into one (tabs, `\`).
fn leads_here(location: &HeaderValue) -> bool {
    let bytes = location.as_bytes();
    let plain = |b: &u8| b.is_ascii_graphic() && *b != b'\\';
    bytes.first() == Some(&b'/') && bytes.get(1) != Some(&b'/') && bytes.iter().all(plain)
}

fn was_named(location: &HeaderValue, session: &Session) -> bool {
    let named = session.visitor.led_on.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    location.to_str().is_ok_and(|l| l.starts_with("https://") && named.iter().any(|n| n == l))
}

/// May a cache keep it for everybody? Only what carries no visitor's token.
pub(crate) fn is_shared(headers: &HeaderMap) -> bool {
    let control = headers.get(header::CACHE_CONTROL).and_then(|v| v.to_str().ok()).unwrap_or_default();
    control.contains("public")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn redirects_stay_on_the_site() {
        for good in ["/", "/orders/ord_1?x=1", "/a//b"] {
            assert!(leads_here(&HeaderValue::from_static(good)), "{good}");
        }
        for bad in [
            "",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "evil",
            "/a\\b",
            "javascript:1",
            "/\t/evil.example",
            "/ /evil.example",
        ] {
            assert!(!leads_here(&HeaderValue::from_static(bad)), "{bad}");
        }
    }

    #[test]
    fn a_storefront_sets_no_cookie_and_no_policy() {
        let visitor = fondaco_runtime::Visitor {
            handle: String::new(),
            cookie_hash: [0; 32],
            brought: None,
            own: fondaco_runtime::LazyHolder::new(Box::new(|| None)),
            led_on: Arc::default(),
        };
        let session = Session {
            cookie: fondaco_market::Cookie::default(),
            visitor: Arc::new(visitor),
            csrf: String::new(),
            set_cookie: None,
        };
        let hostile = http::Response::builder()
            .header("set-cookie", "__Host-fondaco=stolen")
            .header("content-security-policy", "default-src *")
            .header("service-worker-allowed", "/")
            .header("content-length", "1")
            .header("connection", "close")
            .header("access-control-allow-origin", "*")
            .header("content-type", "text/html")
            .body(Bytes::from_static(b"page"))
            .unwrap();
        let answer = filter(hostile, &session);
        let names: Vec<_> = answer.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["content-type"]);
        let away = http::Response::builder().status(303).header("location", "https://pay.example/1").body(Bytes::new());
        assert_eq!(filter(away.unwrap(), &session).status(), StatusCode::BAD_GATEWAY);
        session.visitor.led_on.lock().unwrap().push("https://pay.example/1".into());
        let away = http::Response::builder().status(303).header("location", "https://pay.example/1").body(Bytes::new());
        assert_eq!(filter(away.unwrap(), &session).status(), StatusCode::SEE_OTHER);
    }
}
