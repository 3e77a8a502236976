//! A storefront that does whatever the path tells it to.

use std::hint::black_box;

use fondaco_sdk::{Request, Response, Storefront};

/// The attacker.
pub struct Shop;

impl Storefront for Shop {
    fn handle(request: Request) -> Response {
        match request.path() {
            #[expect(clippy::panic, reason = "that is the attack")]
            "/panic" => panic!("on purpose"),
            "/spin" => loop {
                black_box(0);
            },
            "/endless-page" => Response::html("x".repeat(48 << 20)),
            honest => Response::html(honest),
        }
    }
}

fondaco_sdk::plugin!(storefront: Shop);
