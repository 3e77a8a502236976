//! The default branded shop: a front page, search, works, checkout, library and campaigns, in English and French, with or
//! without scripts. The node speaks HTTP, keeps the session and checks forms; nothing here keeps state.

mod about;
mod art;
mod assets;
mod campaign;
mod card;
mod elsewhere;
mod feeds;
mod fields;
mod format;
mod home;
mod letter;
mod library;
mod markdown;
mod order;
mod page;
mod search;
mod terms;
#[cfg(test)]
mod tests;
mod text;
mod work;

use fondaco_sdk::{Request, Response, Storefront, catalogue};
use http::{Method, StatusCode};

use page::Page;

/// The shop.
pub struct Shelf;

impl Storefront for Shelf {
    fn handle(request: Request) -> Response {
        if let Some(asset) = assets::serve(request.path()) {
            return asset;
        }
        let page = Page::new(&request);
        let segments = request.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match *request.method() {
            Method::GET | Method::HEAD => get(&page, &segments),
            Method::POST => post(&page, &segments),
            _ => page.problem(StatusCode::METHOD_NOT_ALLOWED, page.t.method_title, "").with("allow", "GET, HEAD, POST"),
        }
    }
}

fn get(page: &Page, segments: &[&str]) -> Response {
    match *segments {
        [] => home::show(page),
        ["search" | "works"] => search::show(page),
        ["suggest"] => search::suggest(page),
        ["works", publisher, slug] => work::show(page, publisher, slug),
        ["orders", id] => order::show(page, id),
        ["library"] => library::show(page),
        ["campaigns"] => campaign::list(page),
        ["campaigns", id] => campaign::show(page, id),
        // Whoever comes back to the answer of a form by its address is led to the page that the form stood on.
        ["works", _, _, "buy"] | ["orders", _, "pay"] | ["campaigns", _, "targets" | "act"] => {
            page.see_other(page.request.path().rsplit_once('/').map_or("/", |(above, _)| above))
        }
        ["about"] => about::show(page),
        ["art", publisher, file] => {
            match file.strip_suffix(".svg").map(|slug| catalogue::get(&format!("{publisher}/{slug}"))) {
                Some(Ok(work)) => art::cover(&work),
                _ => page.not_found(),
            }
        }
        ["icon.svg"] => art::icon(&page.brand),
        ["feed.xml"] => feeds::atom(page),
        ["opensearch.xml"] => feeds::opensearch(page),
        ["manifest.webmanifest"] => feeds::manifest(page),
        ["sitemap.xml"] => feeds::sitemap(page),
        ["robots.txt"] => feeds::robots(page),
        _ => page.not_found(),
    }
}

fn post(page: &Page, segments: &[&str]) -> Response {
    match *segments {
        ["works", publisher, slug, "buy"] => work::buy(page, publisher, slug),
        ["orders", id, "pay"] => order::pay(page, id),
        ["campaigns", id, "targets"] => letter::find(page, id),
        ["campaigns", id, "act"] => letter::act(page, id),
        _ => page.not_found(),
    }
}

fondaco_sdk::plugin!(storefront: Shelf);
