//! Storefronts: a visitor without scripts goes through the whole shop, and every page is looked at.

use std::sync::Arc;

use bytes::Bytes;
use fondaco_runtime::{CallError, Plugin};
use http::StatusCode;

use super::{Depth, texts};
use crate::bench::{Bench, visiting, visitor};
use crate::common::{Calls, Done, advice, answered};
use crate::host::{Host, SESSION};
use crate::page::crawl::{MAX_BODY, Seen, TOKEN, Visit, request, walk};
use crate::page::{Page, access, policy};
use crate::report::{Draft, Report};

/// Addresses that stand for the shop when it is called again.
const TARGETS: usize = 10;

/// Asks for one page.
async fn ask(
    plugin: &Plugin,
    method: &str,
    target: &str,
    form: Option<Vec<u8>>,
) -> Result<Option<http::Response<Bytes>>, CallError> {
    let Some(asked) = request(method, target, form) else { return Ok(None) };
    plugin.handle(&visiting(&visitor()), asked, MAX_BODY).await.map(Some)
}

/// The front page's status, if there is an answer.
pub(crate) async fn front_page(plugin: &Plugin) -> Option<StatusCode> {
    ask(plugin, "GET", "/", None).await.ok().flatten().map(|r| r.status())
}

/// Every call, with right input and with wrong.
pub(crate) async fn exercise(plugin: &Plugin, targets: &[String], depth: Depth) -> Vec<Done> {
    let mut done = Vec::new();
    let few = if depth == Depth::Brief { 3 } else { TARGETS };
    for target in targets.iter().take(few) {
        done.push(Done::of(format!("GET {target}"), ask(plugin, "GET", target, None).await));
    }
    if depth == Depth::Brief {
        return done;
    }
    for (name, method, target, form) in wrong(targets) {
        done.push(Done::of(name, ask(plugin, method, &target, form).await));
    }
    done
}

/// Requests that somebody sends sooner or later.
fn wrong(targets: &[String]) -> Vec<(String, &'static str, String, Option<Vec<u8>>)> {
    let mut found: Vec<(String, &'static str, String, Option<Vec<u8>>)> = Vec::new();
    let mut get = |name: &str, target: String| found.push((format!("GET {name}"), "GET", target, None));
    get("a path that is not there", "/kit/no/such/page".into());
    get("a work that is not there", "/works/none".into());
    get("a path with escapes that are none", "/%zz/%".into());
    get("a path that is no UTF-8", "/%ff%fe%c0%80".into());
    get("a path upwards", "/../../etc/passwd".into());
    get("a path upwards, escaped", "/%2e%2e/%2e%2e/etc/passwd".into());
    get("a path of many slashes", "//////".into());
    get("a path of 7 KiB", format!("/{}", "a".repeat(7 << 10)));
    get("a query of 7 KiB", format!("/?q={}", "a".repeat(7 << 10)));
    get("a query of a thousand pairs", format!("/?{}", "a=b&".repeat(1_000)));
    get(
        "a query of escapes that are none",
        "/?q=%zz%ff&&==&lang=%00&after=-1&page=99999999999999999999&cursor=x".into(),
    );
    get("the node's own path", "/files/none/none".into());
    for (name, text) in texts().into_iter().filter(|(_, text)| text.len() < 2_000) {
        let encoded = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("q", &text), ("lang", &text), ("sort", &text), ("cursor", &text), ("page", &text)])
            .finish();
        let path =
            targets.iter().find(|t| t.starts_with("/search")).map_or("/", |t| t.split('?').next().unwrap_or("/"));
        found.push((format!("GET a query of {name}"), "GET", format!("{path}?{encoded}"), None));
    }
    for target in targets.iter().take(3) {
        let path = target.split('?').next().unwrap_or("/").to_owned();
        let mut post =
            |name: &str, body: Vec<u8>| found.push((format!("POST {path}, {name}"), "POST", path.clone(), Some(body)));
        post("nothing", vec![]);
        post("no UTF-8", vec![0xff, 0xfe, b'=', 0xc0]);
        post("1 MiB", vec![b'a'; 1 << 20]);
        post("twenty thousand fields", b"a=b&".repeat(20_000));
        for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "KIT"] {
            found.push((format!("{method} {path}"), method, path.clone(), None));
        }
    }
    found
}

/// The kind's own checks.
pub(crate) async fn check(bench: &Bench, plugin: &Plugin, report: &mut Report) -> Calls {
    let mut draft = report.begin("storefront/front-page", "the front page is a page");
    match ask(plugin, "GET", "/", None).await {
        Err(error) => draft.fail(advice(&error)),
        Ok(None) => {}
        Ok(Some(response)) => {
            draft.expect(response.status() == StatusCode::OK, || format!("GET / answers {}", response.status()));
            let kind = response.headers().get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default();
            draft.expect(kind.starts_with("text/html"), || {
                format!("GET / is {kind:?}: answer text/html; charset=utf-8")
            });
            draft.expect(kind.to_ascii_lowercase().contains("charset=utf-8"), || {
                format!("GET / does not say its charset: content-type is {kind:?}")
            });
        }
    }
    report.end(draft);

    let host = bench.host();
    let Ok(plugin) = bench.load(&host).await else { return Calls::Storefront(vec!["/".into()]) };
    let visitor = visitor();
    let seen = walk(&plugin, &host, &visitor).await;
    links(&seen, report);
    catalogue(&seen, &host, report);
    let pages: Vec<(&Visit, Page)> = seen.visits.iter().filter_map(|v| Some((v, v.page()?))).collect();
    looks(&pages, report);
    policies(&seen, &pages, report);
    escapes(&pages, report);
    forms(&plugin, &host, &pages, report).await;
    absent(&plugin, report).await;
    empty(bench, report).await;

    let targets = targets(&seen);
    if !report.wants("storefront/wrong-input") {
        return Calls::Storefront(targets);
    }
    let mut draft =
        report.begin("storefront/wrong-input", "it answers whatever it is asked, and never with a fault of its own");
    answered(&mut draft, &exercise(&plugin, &targets, Depth::Whole).await);
    for (name, method, target, form) in wrong(&targets) {
        if let Ok(Some(response)) = ask(&plugin, method, &target, form).await {
            draft.expect(!response.status().is_server_error(), || {
                format!("{name} answers {}: say 400, 404 or 405", response.status())
            });
        }
    }
    report.end(draft);
    Calls::Storefront(targets)
}

/// A few addresses of each sort, the front page first.
fn targets(seen: &Seen) -> Vec<String> {
    let mut found: Vec<String> = vec!["/".into()];
    let mut sorts = std::collections::BTreeSet::new();
    let gets = seen.visits.iter().filter(|v| v.request.starts_with("GET ") && v.status == StatusCode::OK);
    for visit in gets {
        let parts: Vec<&str> = visit.target.split(['/', '?']).collect();
        if visit.target != "/" && sorts.insert((parts.get(1).map(ToString::to_string), parts.len())) {
            found.push(visit.target.clone());
        }
    }
    found
}

fn links(seen: &Seen, report: &mut Report) {
    let mut draft = report.begin("storefront/links", "every link, file and form of the shop leads somewhere");
    for (request, error) in &seen.failed {
        draft.fail(format!("{request}: {}", advice(error)));
    }
    for visit in &seen.visits {
        let get = visit.request.starts_with("GET ");
        // A form that was filled in with samples may be told that it is wrong; a link may not.
        let wrong = if get {
            visit.status.is_client_error() || visit.status.is_server_error()
        } else {
            visit.status.is_server_error()
        };
        draft.expect(!wrong, || format!("{} answers {}, and {} leads there", visit.request, visit.status, visit.from));
    }
    for found in seen.dead.iter().chain(&seen.strayed) {
        draft.fail(found.clone());
    }
    report.end(draft);
}

fn catalogue(seen: &Seen, host: &Arc<Host>, report: &mut Report) {
    const NAME: &str = "storefront/catalogue";
    const ABOUT: &str = "every work of the catalogue can be reached by links";
    let calls = host.take_calls();
    if !calls.iter().any(|c| c.starts_with("catalogue.") || c.starts_with("discovery.")) {
        return report.skip(NAME, ABOUT, "it never asks for works");
    }
    let mut draft = report.begin(NAME, ABOUT);
    let all: String = seen.visits.iter().map(|v| percent_decoded(&v.target)).collect::<Vec<_>>().join("\n");
    let texts: Vec<_> = seen.visits.iter().map(|v| String::from_utf8_lossy(&v.body)).collect();
    for work in host.catalogue() {
        let slug = work.id.rsplit('/').next().unwrap_or_default();
        let shown = all.contains(slug) || texts.iter().any(|t| t.contains(&work.title));
        draft.expect(shown, || format!("no page leads to {:?} ({slug}): link to all works, page by page", work.title));
    }
    report.end(draft);
}

fn percent_decoded(text: &str) -> String {
    // What follows `=` of a form is decoded just so.
    let pair = format!("k={}", text.replace('+', "%2B").replace('&', "%26"));
    url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, v)| v.into_owned()).unwrap_or_default()
}

fn each(pages: &[(&Visit, Page)], draft: &mut Draft, look: impl Fn(&Page) -> Vec<String>) {
    for (visit, page) in pages {
        for finding in look(page) {
            draft.fail(format!("{}: {finding}", visit.request));
        }
    }
}

fn looks(pages: &[(&Visit, Page)], report: &mut Report) {
    type Look = fn(&Page) -> Vec<String>;
    let looks: [(&'static str, &'static str, Look); 4] = [
        (
            "storefront/structure",
            "pages have language, title, headings, a main part and sound markup",
            access::structure,
        ),
        ("storefront/pictures", "pictures have a text for those who do not see them", access::pictures),
        ("storefront/labels", "fields, links and buttons say what they are", access::labels),
        ("storefront/without-scripts", "everything works with scripts turned off", access::without_scripts),
    ];
    for (name, about, look) in looks {
        let mut draft = report.begin(name, about);
        draft.expect(!pages.is_empty(), || "there was no page to look at".into());
        each(pages, &mut draft, look);
        report.end(draft);
    }
}

fn policies(seen: &Seen, pages: &[(&Visit, Page)], report: &mut Report) {
    let mut draft = report.begin("storefront/policy", "nothing is inline and nothing comes from elsewhere");
    each(pages, &mut draft, policy::blocked);
    for visit in seen.visits.iter().filter(|v| v.media_type() == "text/css") {
        for finding in policy::blocked_in_css(&visit.target, &String::from_utf8_lossy(&visit.body)) {
            draft.fail(finding);
        }
    }
    report.end(draft);

    let mut draft = report.begin("storefront/headers", "it sets no cookie, no policy and nothing that a node drops");
    for visit in &seen.visits {
        let body = String::from_utf8_lossy(&visit.body);
        for finding in policy::headers(&visit.request, visit.status, &visit.headers, &[SESSION, TOKEN], &body) {
            draft.fail(finding);
        }
    }
    report.end(draft);
}

/// Words of publishers and visitors stay words.
fn escapes(pages: &[(&Visit, Page)], report: &mut Report) {
    let mut draft =
        report.begin("storefront/escapes", "titles, names and questions are shown as words, not run as HTML");
    for (visit, page) in pages {
        for element in &page.tree.elements {
            let ran = element.name == "script"
                && element.text.contains("kit()")
                && element.get("type").is_none_or(|t| !t.contains("json"));
            let image = element.name == "img" && element.get("onerror").is_some();
            draft.expect(!ran && !image, || {
                format!(
                    "{}: a text from outside became {}: escape & < > \" wherever words are put into HTML",
                    visit.request,
                    element.shown()
                )
            });
        }
    }
    report.end(draft);
}

async fn forms(plugin: &Plugin, host: &Arc<Host>, pages: &[(&Visit, Page)], report: &mut Report) {
    let mut draft =
        report.begin("storefront/forms", "posted forms carry the visitor's token, and one purchase is one order");
    each(pages, &mut draft, |page| access::tokens(page, TOKEN));
    // The button that is pressed twice: the very same form, sent again.
    let orders = |host: &Arc<Host>| host.orders.lock().unwrap_or_else(std::sync::PoisonError::into_inner).len();
    for (_, page) in pages.iter().filter(|(v, _)| v.request.starts_with("GET ")) {
        for (index, form) in page.tree.all("form") {
            let posted = form.get("method").is_some_and(|m| m.eq_ignore_ascii_case("post"));
            let Some(crate::page::Where::Here(action)) = page.resolve(form.get("action").unwrap_or_default()) else {
                continue;
            };
            if !posted
                || action.starts_with("/-/")
                || !(action.contains("buy") || action.contains("checkout") || action.contains("order"))
            {
                continue;
            }
            let inputs = page.tree.all("input").filter(|(i, _)| page.tree.is_within(*i, index));
            let fields: Vec<(String, String)> = inputs
                .filter_map(|(_, e)| Some((e.get("name")?.to_owned(), e.get("value").unwrap_or_default().to_owned())))
                .collect();
            let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&fields).finish().into_bytes();
            let before = orders(host);
            for _ in 0..2 {
                let _ = ask(plugin, "POST", &action, Some(body.clone())).await;
            }
            let made = orders(host).saturating_sub(before);
            draft.expect(made <= 1, || {
                format!("POST {action}, the same form sent twice, makes {made} orders: put a key into the form and give it to checkout")
            });
            if made > 0 {
                report.end(draft);
                return;
            }
        }
    }
    report.end(draft);
}

async fn absent(plugin: &Plugin, report: &mut Report) {
    let mut draft = report.begin("storefront/not-found", "what is not there is answered with 404 and a page");
    for target in ["/kit/no/such/page", "/kit-no-such-page"] {
        match ask(plugin, "GET", target, None).await {
            Err(error) => draft.fail(format!("GET {target}: {}", advice(&error))),
            Ok(None) => {}
            Ok(Some(response)) => {
                draft.expect(response.status() == StatusCode::NOT_FOUND, || {
                    format!("GET {target} answers {}: say 404", response.status())
                });
                let page = Page::read(target, response.body());
                for finding in access::structure(&page) {
                    draft.fail(format!("GET {target}: {finding}"));
                }
            }
        }
    }
    report.end(draft);
}

/// A shop on its first day.
async fn empty(bench: &Bench, report: &mut Report) {
    let mut draft = report.begin("storefront/empty", "a shop without a single work has a front page");
    let host = bench.host();
    host.clear();
    match bench.load(&host).await {
        Err(error) => draft.fail(error.to_string()),
        Ok(plugin) => match ask(&plugin, "GET", "/", None).await {
            Err(error) => draft.fail(advice(&error)),
            Ok(None) => {}
            Ok(Some(response)) => {
                draft.expect(response.status() == StatusCode::OK, || format!("GET / answers {}", response.status()));
                for finding in access::structure(&Page::read("/", response.body())) {
                    draft.fail(format!("GET /: {finding}"));
                }
            }
        },
    }
    report.end(draft);
}
