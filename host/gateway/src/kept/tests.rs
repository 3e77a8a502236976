use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::JoinSet;

use super::*;

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|&(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
}

fn key(target: &str) -> Key {
    Key::of(&target.parse().unwrap(), &HeaderMap::new()).unwrap()
}

fn state(commits: u64) -> State {
    State { commits, changes: 0 }
}

fn page(text: &str) -> Page {
    Response::new(Bytes::from(text.to_owned()))
}

/// A page that says how many were made before it.
async fn numbered(made: &AtomicU64) -> Option<Page> {
    let number = made.fetch_add(1, Ordering::SeqCst);
    tokio::task::yield_now().await;
    Some(page(&number.to_string()))
}

fn text(page: Option<&Arc<Page>>) -> Option<String> {
    page.map(|p| String::from_utf8_lossy(p.body()).into_owned())
}

#[test]
fn a_key_is_all_that_a_storefront_sees() {
    let of = |target: &str, pairs: &[(&'static str, &str)]| Key::of(&target.parse().unwrap(), &headers(pairs));
    let plain = of("/search?q=a", &[("host", "shop.example")]).unwrap();
    let others: [(&str, &[(&'static str, &str)]); 8] = [
        ("/search?q=b", &[("host", "shop.example")]),
        ("/search", &[("host", "shop.example")]),
        ("http://shop.example/search?q=a", &[("host", "shop.example")]),
        ("/search?q=a", &[("host", "Shop.example")]),
        ("/search?q=a", &[]),
        ("/search?q=a", &[("host", "shop.example"), ("accept", "")]),
        ("/search?q=a", &[("host", "shop.example"), ("accept", "text/html")]),
        ("/search?q=a", &[("host", "shop.example"), ("accept-language", "fr")]),
    ];
    for (target, pairs) in others {
        assert_ne!(of(target, pairs).unwrap(), plain, "{target} {pairs:?}");
    }
    // What it does not see, or is not told for a copy, makes no difference.
    let with = [("host", "shop.example"), ("cookie", "__Host-fondaco=x"), ("user-agent", "Mozilla/5.0")];
    assert_eq!(of("/search?q=a", &with).unwrap(), plain);
}

#[test]
fn a_request_that_asks_for_more_than_a_page_has_no_key() {
    for pair in [("if-none-match", "\"x\""), ("content-type", "text/plain"), ("authorization", "Basic eDp5")] {
        assert_eq!(Key::of(&Uri::from_static("/"), &headers(&[pair])), None, "{pair:?}");
    }
    let long = "x".repeat(MOST_KEY / 2);
    assert!(Key::of(&Uri::from_static("/"), &headers(&[("accept", &long)])).is_some());
    assert_eq!(Key::of(&Uri::from_static("/"), &headers(&[("accept", &long), ("accept-language", &long)])), None);
}

#[test]
fn a_large_page_does_not_fit() {
    let sized = |body: usize| Response::builder().header("etag", "\"x\"").body(Bytes::from(vec![b'x'; body])).unwrap();
    assert!(fits(&sized(MOST_PAGE - 7)));
    assert!(!fits(&sized(MOST_PAGE - 6)), "headers count");
}

#[tokio::test]
async fn what_was_not_declared_is_not_made() {
    let (pages, made) = (Pages::default(), AtomicU64::new(0));
    assert!(pages.page(&key("/"), || state(1), || numbered(&made)).await.is_none());
    assert_eq!(made.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_page_is_made_once_until_something_changes() {
    let (pages, made, now) = (Pages::default(), AtomicU64::new(0), AtomicU64::new(1));
    let ask = || async {
        let found = pages.page(&key("/"), || state(now.load(Ordering::SeqCst)), || numbered(&made)).await;
        text(found.as_ref())
    };
    pages.declare(key("/"), state(1));
    assert_eq!((ask().await.as_deref(), ask().await.as_deref()), (Some("0"), Some("0")));
    now.store(2, Ordering::SeqCst);
    assert_eq!((ask().await.as_deref(), ask().await.as_deref()), (Some("1"), Some("1")));
    pages.declare(key("/"), state(2));
    assert_eq!(ask().await.as_deref(), Some("1"), "an address that is known stays as it is");
}

#[tokio::test]
async fn what_changes_while_a_page_is_made_makes_it_old() {
    let (pages, now) = (Pages::default(), AtomicU64::new(1));
    let read = || state(now.load(Ordering::SeqCst));
    pages.declare(key("/"), state(1));
    let old = async {
        now.store(2, Ordering::SeqCst);
        Some(page("half old"))
    };
    let first = pages.page(&key("/"), read, || old).await;
    assert_eq!(text(first.as_ref()).as_deref(), Some("half old"), "whoever made it came before the change");
    let second = pages.page(&key("/"), read, || async { Some(page("new")) }).await;
    assert_eq!(text(second.as_ref()).as_deref(), Some("new"));
}

#[test]
fn a_copy_has_its_time() {
    let (slot, began) = (Slot::default(), Instant::now());
    slot.put(Kept { state: state(1), began, page: Arc::new(page("x")) });
    let (before, after) = (began.checked_sub(FOR).unwrap(), began + Duration::from_millis(1));
    assert!(slot.good(state(1), after, began + FOR / 2).is_some());
    assert!(slot.good(state(1), after, began + FOR).is_none());
    assert!(slot.good(state(2), after, after).is_none());
    // Who came before it was begun and waited has it all the same.
    assert!(slot.good(state(2), before, began + FOR * 2).is_some());
}

/// Sixty-four ask at once for a page of which there is an old copy: what they got, and how many were made. The node's
/// state goes on by `step` with each look at it.
async fn crowd(step: u64) -> (Vec<Option<String>>, u64) {
    let (pages, made) = (Arc::new(Pages::default()), Arc::new(AtomicU64::new(0)));
    let (seen, mut all) = (Arc::new(AtomicU64::new(2)), JoinSet::new());
    pages.declare(key("/"), state(1));
    let old = pages.page(&key("/"), || state(1), || async { Some(page("old")) }).await;
    assert_eq!(text(old.as_ref()).as_deref(), Some("old"));
    for _ in 0..64 {
        let (pages, made, seen) = (pages.clone(), made.clone(), seen.clone());
        all.spawn(async move {
            let now = || state(seen.fetch_add(step, Ordering::SeqCst));
            let make = || async {
                // All have come before it is done.
                for _ in 0..64 {
                    tokio::task::yield_now().await;
                }
                numbered(&made).await
            };
            let found = pages.page(&key("/"), now, make).await;
            text(found.as_ref())
        });
    }
    (all.join_all().await, made.load(Ordering::SeqCst))
}

#[tokio::test]
async fn sixty_four_who_come_at_once_have_one_page_made() {
    assert_eq!(crowd(0).await, (vec![Some("0".to_owned()); 64], 1));
}

#[tokio::test]
async fn on_a_busy_node_those_who_came_meanwhile_share_the_next_page() {
    let (answers, made) = crowd(1).await;
    assert!(made <= 2, "{made}");
    assert!(answers.iter().all(Option::is_some), "{answers:?}");
}

#[tokio::test]
async fn whoever_leaves_leaves_the_making_to_the_next() {
    let (pages, made) = (Pages::default(), AtomicU64::new(0));
    pages.declare(key("/"), state(1));
    let home = key("/");
    let never = pages.page(&home, || state(1), std::future::pending::<Option<Page>>);
    assert!(tokio::time::timeout(Duration::from_millis(1), never).await.is_err());
    let found = pages.page(&home, || state(1), || numbered(&made)).await;
    assert_eq!(text(found.as_ref()).as_deref(), Some("0"));
}

#[tokio::test]
async fn a_page_that_is_not_shared_after_all_goes_the_ordinary_way() {
    let (pages, made) = (Pages::default(), AtomicU64::new(0));
    pages.declare(key("/"), state(1));
    let refusing = || async {
        made.fetch_add(1, Ordering::SeqCst);
        None::<Page>
    };
    for _ in 0..3 {
        assert!(pages.page(&key("/"), || state(1), refusing).await.is_none());
        // The ordinary way ends in a promise again, and so soon it is not believed.
        pages.declare(key("/"), state(1));
    }
    assert_eq!(made.load(Ordering::SeqCst), 1);
    let slot = pages.0.read().unwrap().get(&key("/")).cloned().unwrap();
    let at = *slot.refused.get().unwrap();
    assert!(!slot.is_over(at) && slot.is_over(at + FOR));
}

#[tokio::test]
async fn a_flood_of_addresses_has_an_end() {
    let pages = Pages::default();
    let made = AtomicU64::new(0);
    pages.declare(key("/"), state(1));
    // What is asked for again and again stays, as long as it is good.
    let fresh = Instant::now();
    pages.slot(&key("/")).unwrap().put(Kept { state: state(1), began: fresh + FOR * 60, page: Arc::new(page("x")) });
    for number in 0..10_000 {
        pages.declare(key(&format!("/search?q={number}")), state(1));
    }
    assert!(pages.0.read().unwrap().len() <= MOST);
    assert!(pages.slot(&key("/")).is_some());
    assert!(pages.page(&key("/"), || state(1), || numbered(&made)).await.is_some());
    assert_eq!(made.load(Ordering::SeqCst), 0);
    // Where all are good, all go.
    let far = Instant::now() + FOR * 60;
    for number in 0..10_000 {
        let key = key(&format!("/search?q={number}"));
        pages.declare(key.clone(), state(1));
        pages.slot(&key).unwrap().put(Kept { state: state(1), began: far, page: Arc::new(page("x")) });
    }
    assert!(pages.0.read().unwrap().len() <= MOST);
}
