//! Between the browser and the node: passes everything on as it is, and adds one script to pages, from a path of its own.
//! The node's policy allows scripts of the site, and that is what it is; nothing of the node's is weakened.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::State;

/// The largest page that the script is added to, in bytes: what a storefront may answer, and more.
const MAX_PAGE: usize = 8 << 20;
/// Everything of ours begins with it; the node has no such path.
const OURS: &str = "/-dev/";
const SCRIPT: &str = include_str!("reload.js");
const TAG: &str = "<script src=\"/-dev/reload.js\" defer></script>";

type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// Answers until the program ends.
pub async fn serve(listener: TcpListener, node: SocketAddr, state: watch::Receiver<State>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        let state = state.clone();
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request| {
                let state = state.clone();
                async move { Ok::<_, Infallible>(answer(request, node, state).await) }
            });
            // A browser that goes away is no news.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn full(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).map_err(|e| match e {}).boxed_unsync()
}

fn plain(media_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut answer = Response::new(full(body));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

async fn answer(request: Request<Incoming>, node: SocketAddr, state: watch::Receiver<State>) -> Response<Body> {
    match request.uri().path() {
        "/-dev/reload.js" => return plain("text/javascript; charset=utf-8", SCRIPT),
        "/-dev/events" => return events(state),
        path if path.starts_with(OURS) => {
            let mut answer = plain("text/plain; charset=utf-8", "cargo fondaco dev has nothing here");
            *answer.status_mut() = StatusCode::NOT_FOUND;
            return answer;
        }
        _ => {}
    }
    let wants_page =
        request.headers().get(header::ACCEPT).and_then(|a| a.to_str().ok()).is_some_and(|a| a.contains("text/html"));
    match pass(request, node).await {
        // A node without a storefront says so as a problem; a person is told in a page.
        Ok(answer) if wants_page && answer.status().is_server_error() && !is_page(&answer) => own_page(&state),
        Ok(answer) => answer,
        Err(_) => own_page(&state),
    }
}

fn is_page(answer: &Response<Body>) -> bool {
    let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    kind.starts_with("text/html")
}

async fn pass(
    mut request: Request<Incoming>,
    node: SocketAddr,
) -> Result<Response<Body>, Box<dyn std::error::Error + Send + Sync>> {
    // What is compressed could not be added to.
    request.headers_mut().remove(header::ACCEPT_ENCODING);
    request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    let stream = TcpStream::connect(node).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(header::CONNECTION);
    let html = parts
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .is_some_and(|t| t.starts_with("text/html"));
    if !html || parts.status == StatusCode::NOT_MODIFIED {
        return Ok(Response::from_parts(parts, body.map_err(Into::into).boxed_unsync()));
    }
    let page = Limited::new(body, MAX_PAGE).collect().await?.to_bytes();
    parts.headers.remove(header::CONTENT_LENGTH);
    // The page is another one than its tag says.
    parts.headers.remove(header::ETAG);
    Ok(Response::from_parts(parts, full(with_script(&page))))
}

/// The page with the script at its end, where browsers take it as part of the body.
fn with_script(page: &[u8]) -> Vec<u8> {
    let at = page.windows(7).rposition(|w| w.eq_ignore_ascii_case(b"</body>")).unwrap_or(page.len());
    let (before, after) = page.split_at(at);
    [before, TAG.as_bytes(), after].concat()
}

/// Versions and errors, as they come (server-sent events, WHATWG HTML §9.2).
fn events(state: watch::Receiver<State>) -> Response<Body> {
    let stream = futures_util::stream::unfold((state, true), |(mut state, first)| async move {
        if !first && state.changed().await.is_err() {
            return None;
        }
        let now = state.borrow_and_update().clone();
        // JSON has no line's end in it, so that one event is one line.
        let line = format!("data: {}\n\n", json!({ "version": now.version, "error": now.error }));
        Some((Ok(Frame::data(Bytes::from(line))), (state, false)))
    });
    let mut answer = plain("text/event-stream", "");
    *answer.body_mut() = StreamBody::new(stream.boxed()).boxed_unsync();
    answer
}

/// Where the node has no page to show.
fn own_page(state: &watch::Receiver<State>) -> Response<Body> {
    let now = state.borrow().clone();
    let words = match (&now.error, now.version) {
        (Some(error), _) => error.clone(),
        (None, 0) => "The plugin is being built.".to_owned(),
        (None, _) => "The node has no page to show: no storefront runs on it, or it failed. For a plugin that is no \
                      storefront, run one beside it with --with; otherwise the terminal says more."
            .to_owned(),
    };
    let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>cargo fondaco dev</title><main><h1>cargo fondaco dev</h1>\
         <pre>{words}</pre></main>{TAG}</html>"
    );
    let mut answer = plain("text/html; charset=utf-8", page);
    *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_stands_at_the_end_of_the_page() {
        let with = |page: &str| String::from_utf8(with_script(page.as_bytes())).unwrap();
        assert_eq!(with("<p></BODY></html>"), format!("<p>{TAG}</BODY></html>"));
        assert_eq!(with("<p>"), format!("<p>{TAG}"));
        assert_eq!(with("<pre>&lt;/body></pre></body>"), format!("<pre>&lt;/body></pre>{TAG}</body>"));
    }
}
