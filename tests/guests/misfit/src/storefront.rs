//! A shop of few words: a list, a page for each work, a way to buy and a place for what was bought.

use fondaco_sdk::{
    Error, Query, Reach, Request, Response, Sort, Storefront, Work, catalogue, commerce, discovery, encode,
};

use crate::{Misfit, has};

fn escape(text: &str) -> String {
    if has("escape") {
        return text.to_owned();
    }
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn page(title: &str, body: &str) -> String {
    let lang = if has("lang") { "" } else { " lang=\"en\"" };
    let title = escape(title);
    let mut head = String::new();
    for (fault, markup) in [
        ("inline-style", "<style>p { color: red }</style>"),
        ("inline-script", "<script>1</script>"),
        ("foreign", "<link rel=\"stylesheet\" href=\"https://cdn.example/x.css\">"),
    ] {
        if has(fault) {
            head += markup;
        }
    }
    let heading = if has("heading") { format!("<p>{title}</p>") } else { format!("<h1>{title}</h1>") };
    let button = if has("button") { "<button type=\"button\">Magic</button>" } else { "" };
    format!(
        "<!doctype html><html{lang}><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title><link rel=\"stylesheet\" href=\"/style.css\">{head}</head><body><main>{heading}{button}{body}</main></body></html>"
    )
}

#[expect(clippy::unwrap_used, reason = "faults that are asked for")]
fn front(request: &Request) -> Result<Response, Error> {
    let text = request.query("q").unwrap_or_default();
    let query = Query {
        text: text.clone(),
        kinds: vec![],
        tags: vec![],
        language: None,
        max_price: None,
        drm_free: false,
        facets: vec![],
        sort: Sort::Relevance,
        cursor: None,
        limit: 10,
        reach: Reach::LocalOnly,
        wait_ms: 0,
    };
    let found = discovery::search(&query);
    let found = if has("optional") { Ok(found.unwrap()) } else { found };
    let browsed = catalogue::browse(None, 100);
    let mut works = if has("outage") { browsed.unwrap().works } else { browsed?.works };
    if has("hides") {
        works.truncate(5);
    }
    if has("empty") {
        works.first().unwrap();
    }
    if has("front") {
        return Ok(Response::html(page("Out of order", "")).status(500.try_into().unwrap()));
    }
    let label = if has("label") { "<input name=\"q\">" } else { "<label>Search <input name=\"q\"></label>" };
    let mut body = format!("<form action=\"/\" method=\"get\">{label}<button>Search</button></form>");
    if has("form-method") {
        body = body.replace(" method=\"get\"", "");
    }
    if !text.is_empty() {
        let total = found.map_or(0, |r| r.total);
        body.push_str(&["<p>", &total.to_string(), " for ", &escape(&text), "</p>"].concat());
    }
    body += if has("picture") { "<img src=\"/style.css\">" } else { "" };
    body += if has("dead-link") { "<a href=\"/nowhere\">There</a>" } else { "" };
    body += if has("dead-file") { "<a href=\"/files/0000/x\">File</a>" } else { "" };
    body += "<ul>";
    for work in works {
        body.push_str(&["<li><a href=\"/works/", &encode(&work.id), "\">", &escape(&work.title), "</a></li>"].concat());
    }
    Ok(Response::html(page("Misfit", &(body + "</ul><p><a href=\"/library\">Library</a></p>"))))
}

fn work(request: &Request, work: &Work) -> Response {
    let mut body = String::new();
    for offer in &work.offers {
        let token = if has("token") {
            String::new()
        } else {
            format!("<input type=\"hidden\" name=\"csrf\" value=\"{}\">", escape(request.csrf()))
        };
        let form = format!(
            "<form action=\"/works/{}/buy\" method=\"post\">{token}<input type=\"hidden\" name=\"offer\" value=\"{}\">\
             <input type=\"hidden\" name=\"key\" value=\"{}\"><button>Buy</button></form>",
            encode(&work.id),
            escape(&offer.id),
            encode(&work.release)
        );
        body.push_str(&form);
    }
    let response = Response::html(page(&work.title, &body));
    if has("shared") { response.with("cache-control", "public, max-age=60") } else { response }
}

fn buy(request: &Request, id: &str) -> Result<Response, Error> {
    let field = |name: &str| request.field(name).unwrap_or_default();
    let mut key = format!("{}-{}", field("key"), field("offer"));
    if has("two-orders") {
        key = format!("{:?}", std::time::SystemTime::now());
    }
    let order = commerce::checkout(request.session(), id, &field("offer"), &key)?;
    if has("strays") {
        return Ok(Response::see_other("https://evil.example/"));
    }
    Ok(Response::see_other(&format!("/orders/{}", encode(&order.id))))
}

impl Storefront for Misfit {
    #[expect(clippy::unwrap_used, reason = "faults that are asked for")]
    fn handle(request: Request) -> Response {
        let segments = request.segments();
        let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
        let is_post = request.method().as_str() == "POST";
        if has("odd-path") {
            std::str::from_utf8(request.path().as_bytes())
                .unwrap()
                .split('%')
                .nth(1)
                .map(|h| u8::from_str_radix(&h[..2], 16).unwrap());
        }
        let answer = match (is_post, &parts[..]) {
            (false, []) => front(&request),
            (false, ["style.css"]) => Ok(Response::new(
                "text/css",
                if has("css") { "p{background:url(https://cdn.example/x)}" } else { "p{}" },
            )),
            (false, ["works", id]) => catalogue::get(id).map(|w| work(&request, &w)),
            (true, ["works", id, "buy"]) => buy(&request, id),
            (false, ["orders", id]) => {
                commerce::get_order(request.session(), id).map(|o| Response::html(page("Order", &escape(&o.id))))
            }
            (false, ["library"]) => commerce::library(request.session())
                .map(|all| Response::html(page("Library", &format!("<p>{}</p>", all.len())))),
            _ => Err(Error::NotFound),
        };
        let response = answer.unwrap_or_else(|error| match error {
            Error::NotFound if has("soft-404") => Response::html(page("Nothing", "")),
            Error::NotFound => Response::not_found(page("Not here", "<p><a href=\"/\">Home</a></p>")),
            Error::Invalid(_) => Response::html(page("Not right", "")).status(422.try_into().unwrap()),
            _ => Response::html(page("Closed", "")).status(503.try_into().unwrap()),
        });
        let response = if has("cookie") { response.with("set-cookie", "a=b") } else { response };
        if has("powered-by") { response.with("x-powered-by", "misfit") } else { response }
    }
}
