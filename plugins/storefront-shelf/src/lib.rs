//! The default branded shop.
use fondaco_sdk::{Request, Response, Storefront};
/// The shop.
pub struct Shelf;
impl Storefront for Shelf {
    fn handle(request: Request) -> Response {
        Response::html(format!("<h1>{}</h1>", fondaco_sdk::settings::brand().name) + request.path())
    }
}
fondaco_sdk::plugin!(storefront: Shelf);
