//! Sends a guest's request: `wasi:http/outgoing-handler.handle`.

use std::sync::Arc;
use std::time::Duration;

use fondaco_fetch::{Client, Error, Request, Terms, Url};
use fondaco_schemas::{Capability, Origin};
use http::header::{self, HeaderMap};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::time::Instant;
use wasmtime_wasi_http::{Error as Wasi, RequestOptions, WasiBody, WasiHttpHooks};

use super::account::{Account, CONNECTIONS};
use super::grant::{HttpGrant, Refusal};
use super::{Outbound, explain};
use crate::call::Ground;
use crate::error::Who;
use crate::wit::types;

/// Bytes of a request's body.
pub const MAX_REQUEST_BODY: usize = 4 << 20;
/// Bytes that a guest hands over at a time, and that wait in the pipe of each body.
const CHUNK: usize = 64 << 10;
/// Bytes of an answer's body.
const MAX_RESPONSE_BODY: u64 = 4 << 20;
const CONNECT: Duration = Duration::from_secs(3);
const FIRST_BYTE: Duration = Duration::from_secs(5);
const TOTAL: Duration = Duration::from_secs(10);

/// One plugin's way out.
pub(crate) struct PluginHttp {
    grant: HttpGrant,
    client: Client,
    account: Arc<Account>,
}

/// The hooks of one call.
pub(crate) struct Sender {
    pub ground: Arc<Ground>,
}

type Done = Box<dyn Future<Output = Result<(), Wasi>> + Send>;
type Sent = Result<(http::Response<WasiBody>, Done), Wasi>;

impl WasiHttpHooks for Sender {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Done,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let ground = self.ground.clone();
        Box::new(async move {
            let answer = send(&ground, request, options.unwrap_or_default()).await?;
            let body = answer.map(|body| body.map_err(move |error| failed(&ground, &error)).boxed_unsync());
            // The body keeps its connection going by itself.
            Ok((body, Box::new(async { Ok(()) }) as Done))
        })
    }

    fn set_host_header(&mut self) -> bool {
        false
    }

    // A guest can open as many bodies as it has handles: each holds one piece at most.
    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK
    }
}

impl PluginHttp {
    pub fn new(who: &Who, grant: HttpGrant, outbound: &Outbound) -> Self {
        Self { grant, client: outbound.client.clone(), account: outbound.account(&who.id) }
    }
}

async fn send(
    ground: &Ground,
    request: http::Request<WasiBody>,
    options: RequestOptions,
) -> Result<http::Response<fondaco_fetch::Body>, Wasi> {
    let deadline = Instant::now() + TOTAL;
    // The linker's second fence, and the rate.
    ground.allowed(Capability::Http).map_err(|refused| match refused {
        types::Error::Exhausted(_) => Wasi::ConnectionLimitReached,
        _ => Wasi::HttpRequestDenied,
    })?;
    let Some(http) = &ground.http else {
        return Err(deny(ground, "it runs where there are no web services", Wasi::HttpRequestDenied));
    };
    let (parts, body) = request.into_parts();
    let no_url = || {
        let text: String = parts.uri.to_string().escape_default().take(120).collect();
        let why = format!("{text:?} is no address that is called: write https://, lower-case host, path");
        deny(ground, &why, Wasi::HttpRequestUriInvalid)
    };
    let origin = origin(&parts.uri).ok_or_else(no_url)?;
    let refused = |refusal: Refusal| deny(ground, &refusal.to_string(), explain::refusal(&refusal));
    let reach = http.grant.check(&origin).map_err(refused)?;
    let target = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let url = Url::new(origin.clone(), target).map_err(|_| no_url())?;

    let connect = CONNECT.min(options.connect_timeout.unwrap_or(CONNECT));
    let Some(permit) = http.account.connection(connect).await else {
        ground.counters.throttled(Capability::Http);
        tracing::debug!(plugin = %ground.who, %origin, "its {CONNECTIONS} connections are all in use");
        return Err(Wasi::ConnectionLimitReached);
    };
    let body = collect(body, deadline).await?;
    let mut headers = parts.headers;
    own_length(&mut headers, body.len())?;
    http.grant.fill(&mut headers, &origin, reach).map_err(refused)?;

    let (account, quota) = (http.account.clone(), http.grant.daily_bytes);
    let terms = Terms {
        reach,
        connect,
        first_byte: FIRST_BYTE.min(options.first_byte_timeout.unwrap_or(FIRST_BYTE)),
        total: deadline.saturating_duration_since(Instant::now()),
        max_body: MAX_RESPONSE_BODY,
        meter: Some(Arc::new(move |bytes| account.count(std::time::Instant::now(), bytes, quota))),
        hold: Some(Arc::new(permit)),
    };
    let request = Request { method: parts.method, url, headers, body };
    http.client.send(request, terms).await.map_err(|error| failed(ground, &error))
}

/// Says in the log what a guest's request ran into, where it is a rule of ours; what is the other side's is the guest's
/// to handle.
fn failed(ground: &Ground, error: &Error) -> Wasi {
    let code = explain::failure(error);
    match error {
        Error::Forbidden { origin, .. } => {
            let line = format!("grant.http.allow-private = [\"{origin}\"]");
            deny(ground, &format!("{error}; if that is a service of your own, add `{line}`"), code)
        }
        Error::Budget { .. } => {
            ground.counters.throttled(Capability::Http);
            let quota = ground.http.as_ref().map_or(0, |http| http.grant.daily_bytes);
            let quota = fondaco_schemas::ByteSize::bytes(quota);
            tracing::warn!(plugin = %ground.who, "{error}: {quota} a day; raise `grant.http.quota` if it needs more");
            code
        }
        Error::Header(..) | Error::Method(_) => deny(ground, &error.to_string(), code),
        other => {
            tracing::debug!(plugin = %ground.who, error = %other, "a web service did not answer");
            code
        }
    }
}

/// Counts a request that broke a rule, and says what the operator can do. The rate bounds how often.
fn deny(ground: &Ground, why: &str, code: Wasi) -> Wasi {
    ground.counters.denied(Capability::Http);
    let who = &ground.who;
    tracing::warn!(plugin = %who, "denied: {why} (under [plugins.\"{}\"] in fondaco.toml)", who.id);
    code
}

/// The one parser reads what the guest set as scheme and authority.
fn origin(uri: &http::Uri) -> Option<Origin> {
    format!("{}://{}", uri.scheme_str()?, uri.authority()?).parse().ok()
}

/// The whole body, before anything is sent: its length is ours to say.
async fn collect(body: WasiBody, deadline: Instant) -> Result<bytes::Bytes, Wasi> {
    let collected = tokio::time::timeout_at(deadline, Limited::new(body, MAX_REQUEST_BODY).collect()).await;
    let collected = collected.map_err(|_| Wasi::HttpResponseTimeout)?.map_err(|error| {
        if error.is::<LengthLimitError>() {
            return Wasi::HttpRequestBodySize(Some(MAX_REQUEST_BODY as u64));
        }
        // The guest dropped its body unfinished, or wrote another length than it had said.
        error.downcast::<Wasi>().map_or(Wasi::HttpRequestBodySize(None), |error| *error)
    })?;
    if collected.trailers().is_some_and(|t| !t.is_empty()) {
        return Err(Wasi::HttpRequestTrailerSectionSize(Some(0)));
    }
    Ok(collected.to_bytes())
}

/// A guest may say how long its body is, and must say it rightly; the header is the client's.
fn own_length(headers: &mut HeaderMap, length: usize) -> Result<(), Wasi> {
    let said = headers.remove(header::CONTENT_LENGTH);
    if said.is_some_and(|said| said.to_str().ok().and_then(|s| s.parse().ok()) != Some(length)) {
        return Err(Wasi::HttpRequestBodySize(Some(length as u64)));
    }
    Ok(())
}
