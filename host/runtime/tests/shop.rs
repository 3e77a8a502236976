//! What a hostile storefront can do: end its own answer, at once. The attacks are in `tests/guests/hostile-shop`.

#![allow(clippy::unwrap_used, reason = "a test fails where it is wrong")]

mod common;

use std::time::{Duration, Instant};

use bytes::Bytes;
use fondaco_runtime::{CallError, Context, Limits, Plugin};
use fondaco_schemas::PluginKind;

const MOST: usize = 1 << 20;

async fn shop() -> Plugin {
    // The wall time is long on purpose: nothing here may last until it.
    let limits = Limits { deadline: Duration::from_millis(100), wall: Duration::from_mins(1), ..Limits::default() };
    let mut spec = common::spec(
        common::component("hostile-shop"),
        common::grants(&[fondaco_schemas::Capability::Commerce]),
        limits,
    );
    spec.kind = PluginKind::Storefront;
    common::runtime().load(spec).await.unwrap()
}

async fn get(shop: &Plugin, path: &str) -> Result<Bytes, CallError> {
    let request = http::Request::get(path).header("host", "shop.example").body(Bytes::new()).unwrap();
    Ok(shop.handle(&Context::node(), request, MOST).await?.into_body())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storefront_that_fails_ends_at_once_and_the_next_page_is_served() {
    let shop = shop().await;
    for (path, expect) in [
        ("/panic", (|e| matches!(e, CallError::Trap { .. })) as fn(&CallError) -> bool),
        ("/spin", |e| matches!(e, CallError::Deadline { .. })),
        ("/endless-page", |e| matches!(e, CallError::Trap { .. } | CallError::Deadline { .. })),
    ] {
        let started = Instant::now();
        let error = get(&shop, path).await.unwrap_err();
        assert!(expect(&error), "{path}: {error}");
        assert!(started.elapsed() < Duration::from_secs(30), "{path} held its place until its wall time");
        assert_eq!(get(&shop, "/honest").await.unwrap(), "/honest", "after {path}");
    }
}
