//! A visitor who goes through the whole shop: every link, every file that a page loads, every form, with scripts off.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use fondaco_runtime::{CallError, Plugin, Visitor};
use http::{HeaderMap, Request, StatusCode};

use super::{Page, Where, policy, resolve};
use crate::bench::visiting;
use crate::host::{Host, SESSION};

/// The token of the kit's visitor.
pub(crate) const TOKEN: &str = "kit-token-c5f0";
/// The largest answer, in bytes: the node's own bound.
pub(crate) const MAX_BODY: usize = 4 << 20;
/// Addresses that are looked at; a shop of forty works is well within.
const MAX_VISITS: usize = 400;
/// Pages that differ in their query alone, of one path.
const MAX_QUERIES: usize = 12;
/// Forms that are sent.
const MAX_FORMS: usize = 40;

/// What came of one request.
pub(crate) struct Visit {
    /// `GET /works` or `POST /works/x/buy`.
    pub request: String,
    /// Path and query.
    pub target: String,
    /// The page that led there.
    pub from: String,
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Visit {
    /// The media type, without its parameters.
    pub fn media_type(&self) -> &str {
        let value = self.headers.get(http::header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim()
    }
    /// The page, if it is one.
    pub fn page(&self) -> Option<Page> {
        (self.media_type() == "text/html").then(|| Page::read(&self.target, &self.body))
    }
}

/// A request of the kit's visitor, as a node passes it on.
pub(crate) fn request(method: &str, target: &str, form: Option<Vec<u8>>) -> Option<Request<Bytes>> {
    let mut builder = Request::builder()
        .method(method)
        .uri(target)
        .header("host", "shop.example")
        .header("accept", "text/html,application/xhtml+xml,*/*;q=0.8")
        .header("accept-language", "en")
        .header("user-agent", "Mozilla/5.0 (fondaco kit)")
        .header("fondaco-session", SESSION)
        .header("fondaco-csrf", TOKEN);
    if form.is_some() {
        builder = builder.header("content-type", "application/x-www-form-urlencoded");
    }
    builder.body(Bytes::from(form.unwrap_or_default())).ok()
}

/// What the visitor saw.
#[derive(Default)]
pub(crate) struct Seen {
    pub visits: Vec<Visit>,
    /// Requests that gave no answer.
    pub failed: Vec<(String, CallError)>,
    /// Addresses of the node's own that do not exist, and where they stood.
    pub dead: Vec<String>,
    /// Redirects that a node would refuse.
    pub strayed: Vec<String>,
}

struct Form {
    action: String,
    posted: bool,
    fields: Vec<(String, String)>,
    /// What makes two forms alike: names of fields, and the path's shape.
    shape: String,
    from: String,
}

/// Goes through the shop, from its front page.
pub(crate) async fn walk(plugin: &Plugin, host: &Arc<Host>, visitor: &Arc<Visitor>) -> Seen {
    let mut seen = Seen::default();
    let mut known: BTreeSet<String> = BTreeSet::from(["/".to_owned()]);
    let mut queries: BTreeMap<String, usize> = BTreeMap::new();
    let mut shapes: BTreeSet<String> = BTreeSet::new();
    let mut open: VecDeque<(String, String)> = VecDeque::from([("/".to_owned(), "the front page".to_owned())]);
    let mut forms: VecDeque<Form> = VecDeque::new();
    let mut sent = 0;
    loop {
        let visit = if let Some((target, from)) = open.pop_front() {
            if seen.visits.len() >= MAX_VISITS {
                break;
            }
            go(plugin, visitor, &mut seen, "GET", &target, None, from).await
        } else if let Some(form) = forms.pop_front() {
            sent += 1;
            if sent > MAX_FORMS {
                break;
            }
            submit(plugin, visitor, &mut seen, form).await
        } else {
            break;
        };
        let Some(visit) = visit else { continue };
        let mut lead = |address: &str, from: &str, dead: &mut Vec<String>| {
            let Some(Where::Here(target)) = resolve(&visit.target, address) else { return };
            match of_the_node(&target, host) {
                Some(true) => {}
                Some(false) => {
                    dead.push(format!("{from}: {target} is an address of the node, and there is nothing there"));
                }
                None => {
                    let path = target.split('?').next().unwrap_or_default().to_owned();
                    let count = queries.entry(path).or_default();
                    *count += usize::from(target.contains('?'));
                    if *count <= MAX_QUERIES && known.insert(target.clone()) {
                        open.push_back((target, from.to_owned()));
                    }
                }
            }
        };
        if let Some(location) = visit.headers.get(http::header::LOCATION).and_then(|v| v.to_str().ok()) {
            let named =
                visitor.led_on.lock().unwrap_or_else(std::sync::PoisonError::into_inner).iter().any(|n| n == location);
            if policy::leads_here(location) {
                lead(location, &visit.request, &mut seen.dead);
            } else if !named {
                seen.strayed.push(format!(
                    "{} sends the visitor to {location:?}: only to paths of the shop, or to an address that a payment gateway named in this request",
                    visit.request
                ));
            }
        }
        if let Some(page) = visit.page() {
            for element in &page.tree.elements {
                let followed = if element.name == "a" {
                    element.get("href").into_iter().collect()
                } else {
                    policy::loads(element)
                };
                for address in followed.iter().filter(|_| element.name != "form" && element.name != "button") {
                    lead(address, &visit.request, &mut seen.dead);
                }
            }
            for form in forms_of(&page, &visit.request) {
                if shapes.insert(form.shape.clone()) {
                    forms.push_back(form);
                }
            }
        }
        seen.visits.push(visit);
    }
    seen
}

async fn go(
    plugin: &Plugin,
    visitor: &Arc<Visitor>,
    seen: &mut Seen,
    method: &str,
    target: &str,
    form: Option<Vec<u8>>,
    from: String,
) -> Option<Visit> {
    let asked = request(method, target, form)?;
    let name = format!("{method} {target}");
    match plugin.handle(&visiting(visitor), asked, MAX_BODY).await {
        Ok(response) => {
            let (parts, body) = response.into_parts();
            Some(Visit {
                request: name,
                target: target.to_owned(),
                from,
                status: parts.status,
                headers: parts.headers,
                body,
            })
        }
        Err(error) => {
            seen.failed.push((name, error));
            None
        }
    }
}

async fn submit(plugin: &Plugin, visitor: &Arc<Visitor>, seen: &mut Seen, form: Form) -> Option<Visit> {
    let encoded = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&form.fields).finish();
    if form.posted {
        return go(plugin, visitor, seen, "POST", &form.action, Some(encoded.into_bytes()), form.from).await;
    }
    let path = form.action.split('?').next().unwrap_or_default();
    go(plugin, visitor, seen, "GET", &format!("{path}?{encoded}"), None, form.from).await
}

/// Is there something at an address that the node itself answers? `None`: the storefront answers it.
fn of_the_node(target: &str, host: &Arc<Host>) -> Option<bool> {
    let path = target.split('?').next().unwrap_or_default();
    if let Some(rest) = path.strip_prefix("/files/") {
        let hash = rest.split('/').next().unwrap_or_default();
        return Some(host.blobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).contains_key(hash));
    }
    match path {
        "/theme/tokens.css" | "/healthz" | "/metrics" | "/-/library-key" | "/-/restore" => Some(true),
        // The brand that is played has none.
        "/theme/logo" => Some(false),
        _ if path.starts_with("/licences/") => Some(true),
        _ if path.starts_with("/webhooks/") || path.starts_with("/-/") || path.starts_with("/theme/") => Some(false),
        _ => None,
    }
}

/// The forms of a page, filled in as somebody would.
fn forms_of(page: &Page, from: &str) -> Vec<Form> {
    let tree = &page.tree;
    let mut found = Vec::new();
    for (index, form) in tree.all("form") {
        let posted = form.get("method").is_some_and(|m| m.eq_ignore_ascii_case("post"));
        let Some(Where::Here(action)) = page.resolve(form.get("action").unwrap_or_default()) else { continue };
        // The node's own forms are not the storefront's to answer.
        if action.starts_with("/-/") {
            continue;
        }
        let id = form.get("id");
        let mut fields: Vec<(String, String)> = Vec::new();
        let mut chosen = BTreeSet::new();
        for (i, e) in tree.elements.iter().enumerate() {
            let belongs = tree.is_within(i, index) || (id.is_some() && e.get("form") == id);
            let Some(name) = e.get("name").filter(|n| belongs && !n.is_empty()) else { continue };
            let value = e.get("value").unwrap_or_default();
            let kind = e.get("type").unwrap_or("text");
            let given = match (e.name.as_str(), kind) {
                ("input", "checkbox") => (e.get("checked").is_some() || e.get("required").is_some())
                    .then(|| if value.is_empty() { "on" } else { value }.to_owned()),
                ("input", "radio") => chosen.insert(name).then(|| value.to_owned()),
                ("input", "submit" | "image" | "reset" | "button" | "file") | ("button", _) => None,
                ("input", "hidden") => Some(value.to_owned()),
                ("input", kind) if value.is_empty() => Some(sample(kind).to_owned()),
                ("input", _) => Some(value.to_owned()),
                ("select", _) => {
                    let option = tree.all("option").find(|(o, _)| tree.is_within(*o, i));
                    option.map(|(o, e)| e.get("value").map_or_else(|| tree.words(o), str::to_owned))
                }
                ("textarea", _) => Some(if e.text.trim().is_empty() { "Dear all".to_owned() } else { e.text.clone() }),
                _ => None,
            };
            if let Some(value) = given {
                fields.push((name.to_owned(), value));
            }
        }
        let names: BTreeSet<&str> = fields.iter().map(|(n, _)| n.as_str()).collect();
        let path = action.split('?').next().unwrap_or_default();
        let ends: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
        let shape = format!("{posted} {:?} {:?} {} {names:?}", ends.first(), ends.last(), ends.len());
        found.push(Form { action, posted, fields, shape, from: from.to_owned() });
    }
    found
}

fn sample(kind: &str) -> &'static str {
    match kind {
        "email" => "ada@quillfeather.example",
        "number" | "range" => "1",
        "date" => "2030-01-31",
        "url" => "https://quillfeather.example",
        "tel" => "+33100000000",
        _ => "whale",
    }
}
