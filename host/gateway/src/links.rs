//! `/-/works/<work>`: the link of the work whose page is `/works/<work>`, for the command line of other nodes
//! (`fondaco get <address of the page>`). It is made here, so that it is the same whichever storefront runs.

use std::pin::Pin;

use fondaco_market::Market;
use fondaco_schemas::ReleaseId;
use http::{StatusCode, header};

use crate::answer::{Answer, plain, problem, set};
use crate::session::decode;

/// Asks the part of the node that knows the swarm for the link to a release; None where it is not for everybody.
pub type AskLink = Box<dyn Fn(ReleaseId) -> Pin<Box<dyn Future<Output = Option<String>> + Send>> + Send + Sync>;

/// Answers `/-/works/<work>`: an id, or the slug of a work that this node publishes.
pub(crate) async fn link(market: &Market, ask: Option<&AskLink>, work: &str) -> Answer {
    let Some(ask) = ask else {
        return problem(StatusCode::NOT_FOUND, "no-swarm", "This node is part of no swarm.");
    };
    let found = match market.work_named(&decode(&work.replace('+', "%2B"))) {
        Ok(id) => market.ledger().work(&id).await,
        Err(_) => Ok(None),
    };
    let work = match found {
        Ok(Some(work)) => work,
        Ok(None) => return problem(StatusCode::NOT_FOUND, "not-found", "There is no such work here."),
        Err(error) => {
            tracing::error!(%error, "a work's link cannot be made");
            return problem(StatusCode::SERVICE_UNAVAILABLE, "try-again", "Please ask again later.");
        }
    };
    let Some(link) = ask(work.release_id).await else {
        return problem(StatusCode::NOT_FOUND, "private", "The network of this node is private.");
    };
    let body = serde_json::json!({
        "work": work.release.work, "release": work.release_id, "title": work.release.title, "link": link,
    });
    let mut answer = plain("application/json", body.to_string());
    set(answer.headers_mut(), header::CACHE_CONTROL, "no-cache");
    answer
}
