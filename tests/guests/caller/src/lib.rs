//! A search provider that calls the web services that the query names, in ways that an honest plugin would and would not,
//! and says in its hits what it got. The runtime's tests play the services.

use fondaco_sdk::{Change, Error, Hit, Query, Result, Results, SearchProvider, http};
use serde::Deserialize;

/// The caller.
pub struct Caller;

/// What a query's text asks for, in JSON.
#[cfg_attr(not(target_family = "wasm"), expect(dead_code, reason = "some tasks are for components only"))]
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
enum Task {
    /// One request through the SDK, again and again.
    Fetch {
        #[serde(default = "get")]
        method: String,
        url: String,
        #[serde(default)]
        headers: Vec<(String, String)>,
        #[serde(default)]
        body_bytes: usize,
        #[serde(default = "once")]
        times: usize,
    },
    /// One request for each text, taken apart as carelessly as `wasi:http` allows.
    Raw { urls: Vec<String> },
    /// So many requests at once; none is read before all have an answer or an error.
    Together { url: String, count: usize },
    /// A request with a header that `wasi:http` may refuse, or whose body breaks what it said.
    Bend { url: String, how: String },
    /// Sends a header, then looks for a text (masked, so that it is not here by itself) in all of its memory.
    Hunt { url: String, header: String, masked: Vec<u8> },
}

fn get() -> String {
    "GET".into()
}
fn once() -> usize {
    1
}

fn hit(work: String) -> Hit {
    Hit { work, score: 1.0, highlights: Vec::new(), because: Vec::new(), via: None }
}

fn outcome(response: std::result::Result<http::Response, http::Error>) -> String {
    match response {
        Ok(r) => format!("{} {} {}", r.status(), r.body().len(), r.text().chars().take(200).collect::<String>()),
        Err(e) => format!("{e:?}"),
    }
}

impl SearchProvider for Caller {
    fn parameters() -> Vec<(String, f32)> {
        vec![("reach".into(), 1.0)]
    }
    fn index(_: Vec<Change>) -> Result<()> {
        Ok(())
    }
    fn find(query: Query) -> Result<Results> {
        let task: Task = serde_json::from_str(&query.text).map_err(|e| Error::Invalid(e.to_string()))?;
        let said = match task {
            Task::Fetch { method, url, headers, body_bytes, times } => {
                let mut request = http::Request::new(&method, &url);
                for (name, value) in &headers {
                    request = request.header(name, value);
                }
                if body_bytes > 0 {
                    request = request.body("application/octet-stream", vec![b'x'; body_bytes]);
                }
                (0..times).map(|_| outcome(http::attempt(&request))).collect()
            }
            #[cfg(target_family = "wasm")]
            other => raw::run(other),
            #[cfg(not(target_family = "wasm"))]
            _ => Vec::new(),
        };
        let hits: Vec<Hit> = said.into_iter().map(hit).collect();
        Ok(Results { total: hits.len() as u64, hits, slots: Vec::new(), facets: Vec::new(), next: None, missing: 0 })
    }
}

#[cfg(target_family = "wasm")]
mod raw {
    //! `wasi:http` without the SDK.

    use std::io::Write as _;

    use wasip2::http::outgoing_handler::handle;
    use wasip2::http::types::{Fields, FutureIncomingResponse, Method, OutgoingBody, OutgoingRequest, Scheme};

    use super::Task;

    pub fn run(task: Task) -> Vec<String> {
        match task {
            Task::Fetch { .. } => Vec::new(),
            Task::Raw { urls } => urls.iter().map(|url| send(url)).collect(),
            Task::Together { url, count } => together(&url, count),
            Task::Bend { url, how } => vec![bend(&url, &how)],
            Task::Hunt { url, header, masked } => hunt(&url, &header, &masked),
        }
    }

    fn request(url: &str, fields: Fields) -> Result<OutgoingRequest, String> {
        let (scheme, rest) = url.split_once(':').ok_or("no scheme")?;
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let scheme = match scheme {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            other => Scheme::Other(other.into()),
        };
        let request = OutgoingRequest::new(fields);
        request.set_scheme(Some(&scheme)).map_err(|()| "scheme not set")?;
        request.set_authority(Some(authority)).map_err(|()| "authority not set")?;
        request.set_path_with_query(Some(path)).map_err(|()| "path not set")?;
        Ok(request)
    }

    fn answer(future: &FutureIncomingResponse) -> String {
        future.subscribe().block();
        match future.get() {
            Some(Ok(Ok(response))) => response.status().to_string(),
            Some(Ok(Err(code))) => format!("{code:?}"),
            _ => "gone".into(),
        }
    }

    fn send(url: &str) -> String {
        let sent = request(url, Fields::new()).and_then(|r| handle(r, None).map_err(|e| format!("{e:?}")));
        sent.map_or_else(|why| why, |future| answer(&future))
    }

    fn together(url: &str, count: usize) -> Vec<String> {
        let futures: Vec<_> = (0..count).filter_map(|_| handle(request(url, Fields::new()).ok()?, None).ok()).collect();
        // Answers are kept, unread: each holds its connection.
        let mut kept = Vec::new();
        let mut said = Vec::new();
        for future in &futures {
            future.subscribe().block();
            match future.get() {
                Some(Ok(Ok(response))) => {
                    said.push(response.status().to_string());
                    kept.push(response);
                }
                Some(Ok(Err(code))) => said.push(format!("{code:?}")),
                _ => said.push("gone".into()),
            }
        }
        said
    }

    fn bend(url: &str, how: &str) -> String {
        let fields = Fields::new();
        let with = |name: &str, value: &[u8]| match fields.append(name, value) {
            Ok(()) => "set",
            Err(_) => "not set",
        };
        let header = how.split_once(": ");
        if let Some((name, value)) = header
            && with(name, value.as_bytes()) == "not set"
        {
            return "header not set".into();
        }
        let Ok(request) = request(url, fields) else { return "no request".into() };
        let _ = request.set_method(&match how {
            "CONNECT" => Method::Connect,
            "TRACE" => Method::Trace,
            _ => Method::Post,
        });
        let Ok(body) = request.body() else { return "no body".into() };
        let future = match handle(request, None) {
            Ok(future) => future,
            Err(code) => return format!("{code:?}"),
        };
        if let Ok(mut stream) = body.write() {
            let _ = stream.write_all(b"12345");
            let _ = stream.flush();
        }
        match how {
            "unfinished" => drop(body),
            "trailers" => {
                let late = Fields::new();
                let _ = late.append("x-late", b"1");
                let _ = OutgoingBody::finish(body, Some(late));
            }
            _ => drop(OutgoingBody::finish(body, None)),
        }
        answer(&future)
    }

    fn hunt(url: &str, header: &str, masked: &[u8]) -> Vec<String> {
        let fields = Fields::new();
        let _ = fields.append("authorization", header.as_bytes());
        let Ok(request) = request(url, fields) else { return vec!["no request".into()] };
        let own = request.headers().get("authorization").concat();
        let answered = handle(request, None).map_or_else(|e| format!("{e:?}"), |future| answer(&future));
        let seen = String::from_utf8_lossy(&own).into_owned();
        vec![answered, seen, format!("found {}", find(masked)), format!("looked through {}", memory())]
    }

    fn memory() -> usize {
        core::arch::wasm32::memory_size(0) * 65_536
    }

    /// How often the unmasked text stands in this instance's memory.
    #[expect(unsafe_code, reason = "reads every byte that there is, which no safe code can")]
    fn find(masked: &[u8]) -> usize {
        let end = memory() - masked.len();
        let at = |address: usize| unsafe { std::ptr::read_volatile(address as *const u8) };
        (16..end).filter(|start| masked.iter().enumerate().all(|(i, m)| at(start + i) == m ^ 0x55)).count()
    }
}

fondaco_sdk::plugin!(search: Caller);
