//! What answers are made of: bodies, problem details (RFC 9457), and the headers that every answer carries.

use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;
pub(crate) type Answer = Response<Body>;

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|e| match e {}).boxed_unsync()
}

pub(crate) fn streamed(stream: impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static) -> Body {
    use futures_util::StreamExt;
    StreamBody::new(stream.map(|r| r.map(Frame::data))).boxed_unsync()
}

pub(crate) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(full(Bytes::new()));
    *answer.status_mut() = status;
    answer
}

pub(crate) fn plain(media_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(full(body));
    set(answer.headers_mut(), header::CONTENT_TYPE, media_type);
    answer
}

/// An error, as RFC 9457 problem details. `kind` is the stable part of its `type`; the cause belongs in the log.
pub(crate) fn problem(status: StatusCode, kind: &str, detail: &str) -> Answer {
    let body = serde_json::json!({
        "type": format!("urn:fondaco:problem:{kind}"),
        "title": status.canonical_reason().unwrap_or("Error"),
        "status": status.as_u16(),
        "detail": detail,
    });
    let mut answer = plain("application/problem+json", body.to_string());
    *answer.status_mut() = status;
    set(answer.headers_mut(), header::CACHE_CONTROL, "no-store");
    answer
}

pub(crate) fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn fix(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.insert(name, HeaderValue::from_static(value));
}

/// What a page may load: its own site's files, and nothing inline.
pub(crate) const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    media-src 'self'; font-src 'self'; connect-src 'self'; worker-src 'none'; manifest-src 'self'; form-action 'self'; \
    frame-ancestors 'none'; base-uri 'none'";
/// A file is no page: whatever it contains runs nowhere.
pub(crate) const FILE_POLICY: &str =
    "default-src 'none'; media-src 'self'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'";

/// The headers of every answer. They replace whatever was set before.
pub(crate) fn secure(headers: &mut HeaderMap, https: bool) {
    if !headers.contains_key(header::CONTENT_SECURITY_POLICY) {
        fix(headers, header::CONTENT_SECURITY_POLICY, PAGE_POLICY);
    }
    fix(headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    fix(headers, header::X_FRAME_OPTIONS, "DENY");
    // Other sites learn nothing. Not `no-referrer`: with it browsers send `Origin: null` along with our own forms.
    fix(headers, header::REFERRER_POLICY, "same-origin");
    fix(headers, HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    fix(headers, HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    fix(headers, HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(), payment=()");
    if https {
        fix(headers, header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_carries_what_browsers_are_to_hold_to() {
        let secured = |https: bool, own: Option<&str>| {
            let mut headers = HeaderMap::new();
            set(&mut headers, header::X_FRAME_OPTIONS, "ALLOWALL");
            if let Some(policy) = own {
                set(&mut headers, header::CONTENT_SECURITY_POLICY, policy);
            }
            secure(&mut headers, https);
            headers
        };
        let headers = secured(true, None);
        for (name, value) in [
            ("content-security-policy", PAGE_POLICY),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=()"),
            ("strict-transport-security", "max-age=31536000"),
        ] {
            assert_eq!(headers.get(name).and_then(|v| v.to_str().ok()), Some(value), "{name}");
        }
        let headers = secured(false, Some(FILE_POLICY));
        let policy = headers.get("content-security-policy").and_then(|v| v.to_str().ok());
        assert_eq!(policy, Some(FILE_POLICY), "an answer's own policy stays");
        assert!(!headers.contains_key("strict-transport-security"), "nobody is sent to an https that is not there");
    }
}
