//! The storefront's place: what of a request reaches it, and what of its answer reaches the browser.

use bytes::Bytes;
use fondaco_market::Market;
use fondaco_runtime::{CallError, Context, Plugin};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};

use crate::answer::{Answer, problem, set};
use crate::kept::Page;
use crate::session::Session;
use crate::{closed, kept};

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

/// By this response header, with the value `shared`, a storefront promises that a page holds nothing about who asked.
/// It is between the two of them: browsers never see it.
const PROMISE: &str = "fondaco-page";

/// What a page that is kept may depend on besides its address: the headers of [`kept::Key`].
const MAY_VARY: [&str; 2] = ["accept", "accept-language"];

/// What a storefront made.
pub(crate) struct Made {
    /// The page as browsers may have it.
    pub page: Page,
    /// The storefront promised that it says the same to everybody, and it may be kept.
    pub is_shared: bool,
}

/// Asks the storefront. Without a session the page is made for nobody, and the storefront learns nothing about who
/// waits for it.
pub(crate) async fn page(
    market: &Market,
    plugin: &Plugin,
    session: Option<&Session>,
    request: Request<Bytes>,
) -> Result<Made, Answer> {
    let (parts, body) = request.into_parts();
    let mut inner = Request::new(body);
    // A HEAD is a GET whose body is not sent, and that is the node's business.
    *inner.method_mut() = if parts.method == Method::HEAD { Method::GET } else { parts.method };
    *inner.uri_mut() = parts.uri;
    for name in TO_PLUGIN.iter().filter(|name| session.is_some() || **name != header::USER_AGENT) {
        if let Some(value) = parts.headers.get(name) {
            inner.headers_mut().insert(name, value.clone());
        }
    }
    inner.headers_mut().entry(header::HOST).or_insert(HeaderValue::from_static("localhost"));
    if let Some(session) = session {
        set(inner.headers_mut(), HeaderName::from_static("fondaco-session"), &session.visitor.handle);
        set(inner.headers_mut(), HeaderName::from_static("fondaco-csrf"), &session.csrf);
    }
    let context = Context { depth: 0, visitor: session.map(|s| s.visitor.clone()) };
    let response = match plugin.handle(&context, inner, MAX_PAGE).await {
        Ok(response) => response,
        Err(error) => {
            // The breaker has said so when it opened; here it would be said with every page.
            if matches!(error, CallError::Unavailable { .. }) {
                tracing::debug!(%error, "the storefront is not tried");
            } else {
                tracing::error!(%error, "the storefront failed");
            }
            return Err(closed::page(market, &parts.headers, "storefront", closed::again(&error)));
        }
    };
    let is_shared = may_be_kept(&response);
    match filter(response, session) {
        Ok(page) => Ok(Made { page, is_shared }),
        Err(refused) => Err(refused.answer()),
    }
}

/// Why a storefront's answer is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    /// It leads to another site.
    Elsewhere,
    /// Its status is one that another answer follows.
    NoAnswer,
}

impl Refused {
    fn answer(self) -> Answer {
        let (kind, detail) = match self {
            Self::Elsewhere => ("redirect", "The shop wanted to send you to another site. It may not."),
            Self::NoAnswer => ("storefront", "The shop answered with a status that is no answer."),
        };
        problem(StatusCode::BAD_GATEWAY, kind, detail)
    }
}

fn filter(response: http::Response<Bytes>, session: Option<&Session>) -> Result<Page, Refused> {
    let (parts, body) = response.into_parts();
    let mut page = Page::new(body);
    *page.status_mut() = parts.status;
    for name in FROM_PLUGIN {
        for value in parts.headers.get_all(name) {
            page.headers_mut().append(name, value.clone());
        }
    }
    if let Some(location) = parts.headers.get(header::LOCATION) {
        if leads_here(location) || session.is_some_and(|session| was_named(location, session)) {
            page.headers_mut().insert(header::LOCATION, location.clone());
        } else {
            tracing::warn!(?location, "the storefront wanted to send a visitor elsewhere");
            return Err(Refused::Elsewhere);
        }
    }
    if parts.status.is_informational() {
        return Err(Refused::NoAnswer);
    }
    Ok(page)
}

/// Does the storefront promise that this page says the same to everybody? `public` promises it to all the caches of the
/// world, and [`PROMISE`] to this node. Looked at before anything is filtered out.
fn may_be_kept(response: &http::Response<Bytes>) -> bool {
    let headers = response.headers();
    let says = |word: &str| members(headers, header::CACHE_CONTROL).any(|m| m.eq_ignore_ascii_case(word));
    let is_promised = says("public") || headers.get(PROMISE).is_some_and(|value| value == "shared");
    let may_vary = |member: &str| MAY_VARY.iter().any(|name| member.eq_ignore_ascii_case(name));
    is_promised
        && response.status() == StatusCode::OK
        && !says("no-store")
        && !headers.contains_key(header::SET_COOKIE)
        && members(headers, header::VARY).all(may_vary)
        && kept::fits(response)
}

/// The members of a header that is a list (RFC 9110 §5.6.1). A value that is no text counts as `*`.
fn members(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter();
    values.flat_map(|value| value.to_str().unwrap_or("*").split(',')).map(str::trim).filter(|m| !m.is_empty())
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
        let session = Session { visitor: Arc::new(visitor), csrf: String::new(), is_new: false };
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
        let page = filter(hostile, Some(&session)).unwrap();
        let names: Vec<_> = page.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["content-type"]);
        let away = http::Response::builder().status(303).header("location", "https://pay.example/1").body(Bytes::new());
        let away = away.unwrap();
        assert_eq!(filter(away.clone(), Some(&session)).unwrap_err(), Refused::Elsewhere);
        assert_eq!(Refused::Elsewhere.answer().status(), StatusCode::BAD_GATEWAY);
        session.visitor.led_on.lock().unwrap().push("https://pay.example/1".into());
        assert_eq!(filter(away.clone(), Some(&session)).unwrap().status(), StatusCode::SEE_OTHER);
        assert_eq!(filter(away, None).unwrap_err(), Refused::Elsewhere, "nothing was named to nobody");
    }

    #[test]
    fn only_a_page_that_is_promised_to_all_may_be_kept() {
        let may = |status: u16, pairs: &[(&'static str, &str)], bytes: usize| {
            let mut response = http::Response::new(Bytes::from(vec![b'x'; bytes]));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            for &(name, value) in pairs {
                response.headers_mut().append(name, value.parse().unwrap());
            }
            may_be_kept(&response)
        };
        let (shared, own) = (("fondaco-page", "shared"), ("cache-control", "private, no-cache"));
        let good: [&[(&'static str, &str)]; 5] = [
            &[shared],
            &[shared, own, ("vary", "accept-language")],
            &[shared, ("vary", "Accept, Accept-Language"), ("vary", "accept")],
            &[("cache-control", "public, max-age=60")],
            &[("cache-control", "max-age=60"), ("cache-control", "Public")],
        ];
        for pairs in good {
            assert!(may(200, pairs, 100), "{pairs:?}");
            assert!(!may(404, pairs, 100) && !may(303, pairs, 100) && !may(206, pairs, 100), "{pairs:?}");
            assert!(!may(200, pairs, 64 << 10), "{pairs:?}: it is too large");
        }
        let bad: [&[(&'static str, &str)]; 10] = [
            &[],
            &[own],
            &[("fondaco-page", "private")],
            &[("cache-control", "max-age=60")],
            &[("cache-control", "private=\"public\"")],
            &[shared, ("cache-control", "private, no-store")],
            &[shared, ("set-cookie", "a=b")],
            &[shared, ("vary", "user-agent")],
            &[shared, ("vary", "*")],
            &[shared, ("vary", "accept"), ("vary", "cookie")],
        ];
        for pairs in bad {
            assert!(!may(200, pairs, 100), "{pairs:?}");
        }
        // No browser is told of the promise.
        let page = http::Response::builder().header("fondaco-page", "shared").body(Bytes::new()).unwrap();
        assert!(filter(page, None).unwrap().headers().is_empty());
    }
}
