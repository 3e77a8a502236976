//! A storefront for tests of a plugin's life: it answers at once and says how it is set. Whatever fails, is slow or prints
//! is asked for by the path.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use fondaco_sdk::{Request, Response, Storefront, settings};

/// The shop.
pub struct Shop;

impl Storefront for Shop {
    fn handle(request: Request) -> Response {
        match request.path() {
            "/greeting" => match settings::get::<BTreeMap<String, String>>() {
                Ok(set) => Response::html(set.get("greeting").map_or("none", String::as_str)),
                Err(error) => Response::html(format!("{error:?}")),
            },
            "/brand" => Response::html(settings::brand().name),
            #[expect(clippy::panic, reason = "a version whose calls fail is what is tested")]
            "/fail" => panic!("this call fails"),
            "/print" => {
                eprintln!("plain words\n\u{1b}[2Jred\rforged \u{9b}31m\u{202e}");
                Response::html("printed")
            }
            "/slow" => {
                let began = Instant::now();
                while began.elapsed() < Duration::from_millis(1_500) {
                    black_box(0);
                }
                Response::html("slow")
            }
            path => Response::html(path),
        }
    }
}

fondaco_sdk::plugin!(storefront: Shop);
