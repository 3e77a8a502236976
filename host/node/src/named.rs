//! A work from elsewhere, as a person names it: its `fondaco:` link, the id of its release, which the hash table leads to,
//! or the address of its page at a node's shop, which that node is asked for the link of.

use fondaco_fetch::{Client, Reach, Request, Terms, Url};
use fondaco_schemas::link::LinkError;
use fondaco_schemas::{ChannelLink, Link, ReleaseId, WorkId};
use serde::Deserialize;

use crate::fail::{Done, Fail, chain};
use crate::node::Node;
use crate::outbound;

/// Where pages of works begin, and where the gateway answers for each with its link.
const PAGES: &str = "/works/";
const LINKS: &str = "/-/works/";
/// The longest answer with a link, in bytes.
const MAX_ANSWER: u64 = 64 << 10;

/// A work from elsewhere.
pub struct Named {
    /// Its release, and where it may be had.
    pub link: Link,
    /// The work itself, where the page says it. Its node's answer is believed no further than that.
    pub work: Option<WorkId>,
}

impl From<Link> for Named {
    fn from(link: Link) -> Self {
        Self { link, work: None }
    }
}

/// Whether a text names a work from elsewhere, rather than one of this node.
pub fn is_elsewhere(text: &str) -> bool {
    Link::is_meant(text) || is_address(text) || text.parse::<ReleaseId>().is_ok()
}

fn is_address(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// What a text names.
pub async fn read(node: &Node, text: &str) -> Done<Named> {
    if ChannelLink::is_meant(text) {
        return Err(Fail::usage(
            "this link is to a channel, not to a work: `fondaco follow` it, or `fondaco mirror` it",
        ));
    }
    if is_address(text) {
        let client = outbound::client(&node.folder, &node.deployment)?;
        let (url, work) = link_address(text)?;
        return Ok(Named { link: asked(&client, &url).await?, work });
    }
    if let Ok(release) = text.parse() {
        return Ok(Link::to(release).into());
    }
    text.parse().map(|link: Link| link.into()).map_err(|e: LinkError| {
        Fail::usage(format!("{e}; a work from elsewhere is named by its link, its release's id or its page's address"))
    })
}

/// Where a node answers with the link of the work whose page has this address, and the work, where the address has its id.
/// What stands before `/works/` stays: a shop may lie below a path.
fn link_address(page: &str) -> Done<(Url, Option<WorkId>)> {
    // What stands behind them picks a language or a place on the page.
    let path = page.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    let (shop, work) = path.rsplit_once(PAGES).filter(|(_, work)| !work.is_empty()).ok_or_else(|| {
        Fail::usage(format!(
            "{page}: this is the address of no work; open its page in a browser, and copy that address"
        ))
    })?;
    let url = format!("{shop}{LINKS}{work}").parse();
    let url = url.map_err(|e: fondaco_fetch::UrlError| Fail::usage(format!("{page}: {e}")))?;
    Ok((url, work.replace("%2F", "/").replace("%2f", "/").parse().ok()))
}

#[derive(Deserialize)]
struct Told {
    link: String,
}

/// Problem details (RFC 9457).
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

async fn asked(client: &Client, url: &Url) -> Done<Link> {
    let lost = |e| Fail::unavailable(format!("{url}: {}", chain(&e)));
    // Whoever typed the address may have typed that of a node at home.
    let terms = Terms { reach: Reach::Private, max_body: MAX_ANSWER, ..Terms::default() };
    let answer = client.send(Request::get(url.clone()), terms).await.map_err(lost)?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    if status.is_redirection() {
        let to = headers.get("location").and_then(|to| to.to_str().ok()).unwrap_or("elsewhere");
        return Err(Fail::unavailable(format!("{url} leads to {}; name the page there", shown(to))));
    }
    let body = answer.into_body().bytes().await.map_err(lost)?;
    if !status.is_success() {
        let detail = serde_json::from_slice(&body).map(|Problem { detail }| format!(": {}", shown(&detail)));
        let text = format!("{url} answers {status}{}", detail.unwrap_or_default());
        return Err(if status.as_u16() == 404 { Fail::not_found(text) } else { Fail::unavailable(text) });
    }
    let no_node = || Fail::failed(format!("{url} does not answer as a node does: is this a page of a Fondaco shop?"));
    let told: Told = serde_json::from_slice(&body).map_err(|_| no_node())?;
    told.link.parse().map_err(|_| no_node())
}

/// What a server says, as it may be shown on a terminal.
fn shown(text: &str) -> String {
    text.chars().take(200).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_from_elsewhere_is_told_from_what_is_here() {
        let id = "ab".repeat(32);
        for elsewhere in [id.as_str(), "fondaco:x", "http://a.example/works/x", "https://a.example"] {
            assert!(is_elsewhere(elsewhere), "{elsewhere}");
        }
        for here in ["machine-wars", &format!("{id}/machine-wars"), "abc", &"x".repeat(64)] {
            assert!(!is_elsewhere(here), "{here}");
        }
    }

    #[test]
    fn the_address_of_a_page_leads_to_that_of_its_link() {
        let check = |page: &str, link: &str| assert_eq!(link_address(page).unwrap().0.to_string(), link, "{page}");
        check("https://a.example/works/owls", "https://a.example/-/works/owls");
        check("http://127.0.0.1:8080/works/00/owls?lang=fr#buy", "http://127.0.0.1:8080/-/works/00/owls");
        check("https://a.example/shop/works/owls/", "https://a.example/shop/-/works/owls");
        let id = format!("{}/owls", "ab".repeat(32));
        for page in
            [format!("https://a.example/works/{id}"), format!("https://a.example/works/{}", id.replace('/', "%2F"))]
        {
            assert_eq!(link_address(&page).unwrap().1.unwrap().to_string(), id, "{page}");
        }
        assert_eq!(link_address("https://a.example/works/owls").unwrap().1, None);
        for bad in ["https://a.example", "https://a.example/", "https://a.example/works/", "https://a b/works/x"] {
            assert_eq!(link_address(bad).unwrap_err().code, 2, "{bad}");
        }
    }
}
