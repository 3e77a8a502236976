//! Spans for an OpenTelemetry collector: OTLP over HTTP, encoded as JSON
//! (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>). Only in programs built with the feature `otel`, and there only
//! where `OTEL_EXPORTER_OTLP_ENDPOINT` names a collector. It is a small exporter of our own, since the stock one brings an
//! HTTP client, Protobuf and two more async stacks along for what is one POST. It never waits in the way of a request: what a slow
//! collector does not take is dropped and counted.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, Filter};
use tracing_subscriber::registry::LookupSpan;

/// The environment variable that names the collector, as all OpenTelemetry programs have it.
pub const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// Spans that wait to be sent; when they are so many, new ones are dropped and counted.
const WAITING: usize = 4_096;
/// Spans of one request.
const MOST_IN_ONE: usize = 512;
/// The longest that a span waits for others.
const GATHER: Duration = Duration::from_secs(2);
/// How long the collector may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest text of an attribute, in bytes: a path from outside is cut.
const MOST_TEXT: usize = 1_024;

/// Where spans are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Host and port.
    authority: String,
    /// Where spans are taken in.
    path: String,
}

impl Endpoint {
    /// Reads `http://host:port`, with or without a path before `/v1/traces`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let refused = || {
            format!("{ENDPOINT} is {text:?}: write http://host:port of a collector on this machine or in its network")
        };
        let rest = text.strip_prefix("http://").ok_or_else(refused)?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let plain = |c: char| c.is_ascii_graphic();
        if authority.is_empty() || !rest.chars().all(plain) {
            return Err(refused());
        }
        let authority = if authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
            authority.to_owned()
        } else {
            format!("{authority}:4318")
        };
        let path = path.trim_end_matches('/');
        let path = if path.is_empty() { "/v1/traces".to_owned() } else { format!("/{path}/v1/traces") };
        Ok(Self { authority, path })
    }

    fn post(&self, body: &str) -> Result<(), String> {
        let say = |e: std::io::Error| format!("http://{}{}: {e}", self.authority, self.path);
        let mut stream = TcpStream::connect(&self.authority).map_err(say)?;
        stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.set_write_timeout(Some(PATIENCE))).map_err(say)?;
        write!(
            stream,
            "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            self.path,
            self.authority,
            body.len()
        )
        .map_err(say)?;
        let mut answer = Vec::new();
        stream.take(64).read_to_end(&mut answer).map_err(say)?;
        let status = String::from_utf8_lossy(&answer);
        let status = status.lines().next().unwrap_or_default();
        if status.split(' ').nth(1).is_some_and(|code| code.starts_with('2')) {
            return Ok(());
        }
        Err(format!("http://{}{} answered {status:?}", self.authority, self.path))
    }
}

/// A span that is open.
struct Open {
    trace: u128,
    span: u64,
    parent: Option<u64>,
    start: SystemTime,
    attributes: Vec<Value>,
}

/// Takes spans as they close.
pub struct Spans {
    sender: SyncSender<Value>,
    dropped: Arc<AtomicU64>,
}

/// Which spans are sent: our own, also those of the functions that the node lends to plugins.
pub struct Ours;

impl<S> Filter<S> for Ours {
    fn enabled(&self, meta: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        meta.is_span() && *meta.level() <= Level::DEBUG && meta.target().starts_with("fondaco")
    }
}

/// Starts sending to a collector.
pub fn start(endpoint: Endpoint) -> std::io::Result<Spans> {
    let (sender, receiver) = sync_channel(WAITING);
    let dropped = Arc::new(AtomicU64::new(0));
    let counted = dropped.clone();
    std::thread::Builder::new().name("otel".into()).spawn(move || send_all(&endpoint, &receiver, &counted))?;
    Ok(Spans { sender, dropped })
}

fn send_all(endpoint: &Endpoint, receiver: &Receiver<Value>, dropped: &AtomicU64) {
    let mut works = true;
    loop {
        let Ok(first) = receiver.recv() else { return };
        let (mut spans, until) = (vec![first], Instant::now() + GATHER);
        while spans.len() < MOST_IN_ONE {
            match receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(span) => spans.push(span),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(lost, "the OpenTelemetry collector is too slow; spans were dropped");
        }
        match endpoint.post(&request(&spans)) {
            Ok(()) => works = true,
            Err(error) if works => {
                works = false;
                tracing::warn!(error, "the OpenTelemetry collector takes no spans; they are dropped until it does");
            }
            Err(_) => {}
        }
    }
}

/// `ExportTraceServiceRequest` in its JSON form.
fn request(spans: &[Value]) -> String {
    json!({ "resourceSpans": [{
        "resource": { "attributes": [
            attribute("service.name", &json!({ "stringValue": "fondaco" })),
            attribute("service.version", &json!({ "stringValue": env!("CARGO_PKG_VERSION") })),
        ] },
        "scopeSpans": [{ "scope": { "name": "fondaco" }, "spans": spans }],
    }] })
    .to_string()
}

fn attribute(key: &str, value: &Value) -> Value {
    json!({ "key": key, "value": value })
}

impl Open {
    fn finished(self, name: &str) -> Value {
        let nanos = |t: SystemTime| t.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string();
        let mut span = json!({
            "traceId": format!("{:032x}", self.trace), "spanId": format!("{:016x}", self.span),
            "name": name, "kind": 1, "startTimeUnixNano": nanos(self.start),
            "endTimeUnixNano": nanos(SystemTime::now()), "attributes": self.attributes,
        });
        if let (Some(parent), Some(map)) = (self.parent, span.as_object_mut()) {
            map.insert("parentSpanId".into(), format!("{parent:016x}").into());
        }
        span
    }
}

impl Visit for Open {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        let mut end = value.len().min(MOST_TEXT);
        while !value.is_char_boundary(end) {
            end -= 1;
        }
        let text = value.get(..end).unwrap_or_default();
        self.attributes.push(attribute(field.name(), &json!({ "stringValue": text })));
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        // 64-bit numbers are texts in Protobuf's JSON.
        self.attributes.push(attribute(field.name(), &json!({ "intValue": value.to_string() })));
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.record_i64(field, i64::try_from(value).unwrap_or(i64::MAX));
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.attributes.push(attribute(field.name(), &json!({ "boolValue": value })));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let above = span.parent().and_then(|p| p.extensions().get::<Open>().map(|o| (o.trace, o.span)));
        let [a, b] = [fondaco_market::random::<16>(), fondaco_market::random::<16>()].map(u128::from_le_bytes);
        let own = u64::try_from(b >> 64).unwrap_or(u64::MAX).max(1);
        let mut open = Open {
            trace: above.map_or(a.max(1), |(trace, _)| trace),
            span: own,
            parent: above.map(|(_, span)| span),
            start: SystemTime::now(),
            attributes: Vec::new(),
        };
        attributes.record(&mut open);
        span.extensions_mut().insert(open);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(open) = span.extensions_mut().get_mut::<Open>() {
            values.record(open);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(open) = span.extensions_mut().remove::<Open>() else { return };
        if self.sender.try_send(open.finished(span.name())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::net::TcpListener;

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn only_plain_http_is_spoken() {
        let read = |text: &str| Endpoint::parse(text).map(|e| format!("{} {}", e.authority, e.path));
        assert_eq!(read("http://127.0.0.1:4318").unwrap(), "127.0.0.1:4318 /v1/traces");
        assert_eq!(read("http://collector/otlp/").unwrap(), "collector:4318 /otlp/v1/traces");
        for bad in ["https://collector:4318", "collector:4318", "http://", "http://a b"] {
            assert!(read(bad).unwrap_err().contains("write http://host:port"), "{bad}");
        }
    }

    /// A collector that takes one request and gives its head and its body.
    fn collector() -> (Endpoint, std::thread::JoinHandle<(String, Value)>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = Endpoint::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let served = std::thread::spawn(move || {
            let mut stream = BufReader::new(listener.accept().unwrap().0);
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).unwrap();
                if let Some(n) = line.strip_prefix("content-length: ") {
                    length = n.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
                head.push_str(&line);
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").unwrap();
            (head, serde_json::from_slice(&body).unwrap())
        });
        (endpoint, served)
    }

    #[test]
    fn a_request_a_plugins_call_and_what_it_asked_of_the_node_are_one_trace() {
        let (endpoint, served) = collector();
        let layer = start(endpoint).unwrap().with_filter(Ours);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let request = tracing::info_span!("request", path = "/works/1").entered();
            let plugin = tracing::info_span!("plugin", call = "handle", memory = tracing::field::Empty).entered();
            tracing::debug_span!("lent", call = "storage.get").in_scope(|| {});
            tracing::trace_span!("too fine").in_scope(|| {});
            plugin.record("memory", 65_536_u64);
            drop(plugin);
            drop(request);
            tracing::info_span!("another").in_scope(|| {});
        });
        let (head, body) = served.join().unwrap();
        assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n") && head.contains("application/json"), "{head}");
        let spans = body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
        let named = |name: &str| spans.iter().find(|s| s["name"] == name).unwrap();
        assert_eq!(spans.len(), 4, "{body}");
        let (request, plugin, lent) = (named("request"), named("plugin"), named("lent"));
        assert_eq!((&plugin["parentSpanId"], &lent["parentSpanId"]), (&request["spanId"], &plugin["spanId"]));
        assert!(request.get("parentSpanId").is_none());
        assert!(spans.iter().filter(|s| s["traceId"] == request["traceId"]).count() == 3, "one trace, and another");
        let (trace, span) = (request["traceId"].as_str().unwrap(), request["spanId"].as_str().unwrap());
        assert!(trace.len() == 32 && span.len() == 16 && trace != "0".repeat(32), "{request}");
        assert_eq!(plugin["attributes"][1], json!({ "key": "memory", "value": { "intValue": "65536" } }));
        let time = |s: &Value, key: &str| s[key].as_str().unwrap().parse::<u128>().unwrap();
        assert!(time(request, "startTimeUnixNano") <= time(lent, "startTimeUnixNano"));
        assert!(time(lent, "endTimeUnixNano") <= time(request, "endTimeUnixNano"));
    }

    #[test]
    fn a_collector_that_hangs_holds_nobody_up() {
        let (sender, _nobody_reads) = sync_channel(2);
        let spans = Spans { sender, dropped: Arc::default() };
        let dropped = spans.dropped.clone();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(spans.with_filter(Ours)), || {
            for _ in 0..5 {
                tracing::info_span!("request").in_scope(|| {});
            }
        });
        assert_eq!(dropped.load(Ordering::Relaxed), 3);
    }
}
