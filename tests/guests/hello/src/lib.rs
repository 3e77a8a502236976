//! A component that says hello: what other hosts of components are measured with.

use fondaco_sdk::{Request, Response, Storefront};

/// Says hello to everybody.
pub struct Hello;

impl Storefront for Hello {
    fn handle(_: Request) -> Response {
        Response::html("Hello, World!\n")
    }
}

fondaco_sdk::plugin!(storefront: Hello);
