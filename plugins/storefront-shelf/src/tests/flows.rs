//! What happens when somebody walks through the shop.

use fondaco_sdk::fake::Host;
use fondaco_sdk::{FileRole, Request, Storefront, WorkKind};
use http::StatusCode;

use super::fixture::{OTHERS, PUBLISHER, empty_library, file, get, post, shop, work};
use crate::Shelf;

const KEY: (&str, &str) = ("key", "0123456789abcdef0123456789abcdef");

fn album() -> String {
    format!("/works/{PUBLISHER}/grain-store")
}

fn location(response: &fondaco_sdk::Response) -> &str {
    assert_eq!(response.code(), StatusCode::SEE_OTHER);
    response.header("location").unwrap()
}

#[test]
fn the_terms_stand_before_the_button_that_buys() {
    shop();
    let page = get(&format!("/works/{PUBLISHER}/the-ferry")).text();
    let (terms, button) = (page.find("Sealed: opens with your licence").unwrap(), page.find("Buy for €12.50").unwrap());
    assert!(terms < button);
    assert!(page.contains("Yours for good, no expiry") && page.contains("CC-BY-SA-4.0") && page.contains("Ada Holm"));
    assert!(get(&format!("/works/{PUBLISHER}/low-water")).text().contains("Get it free"));
}

#[test]
fn the_preview_plays_with_the_browsers_own_controls() {
    shop();
    let page = get(&album()).text();
    let player = format!("<audio controls preload=\"none\" src=\"/files/{}/first%20night.mp3\"", "ab".repeat(32));
    assert!(page.contains(&player), "{page}");
    assert!(page.contains("<time datetime=\"PT187S\">3:07</time>"));
}

#[test]
fn a_purchase_leads_to_the_order_and_a_free_work_to_the_library() {
    shop();
    let view = || get(&album()).text().split_once("name=\"key\" value=\"").unwrap().1[..32].to_owned();
    assert_ne!(view(), view(), "every view has an order key of its own");
    assert_eq!(location(&post(&format!("{}/buy", album()), &[("offer", "buy"), KEY])), "/orders/ord_open");
    let free = post(&format!("/works/{PUBLISHER}/low-water/buy?lang=fr"), &[("offer", "free"), KEY]);
    assert_eq!(location(&free), "/library?welcome=ord_free&lang=fr");
    let refused = post(&format!("{}/buy", album()), &[("offer", "none"), KEY]);
    assert_eq!(refused.code(), StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.text().contains("role=\"alert\">This did not go through: there is no offer none"));
    assert_eq!(
        location(&post(&format!("{}/buy", album()), &[("offer", "buy")])),
        album(),
        "without a key there is no order"
    );
}

#[test]
fn paying_follows_each_step_of_the_gateway() {
    shop();
    let pay = |fields: &[(&str, &str)]| post("/orders/ord_open/pay", fields);
    assert!(pay(&[("gateway", "voucher")]).text().contains("<input id=\"f-code\" name=\"code\""));
    assert_eq!(
        location(&pay(&[("csrf", "token"), ("gateway", "voucher"), ("code", " GOOD ")])),
        "/library?welcome=ord_open"
    );
    assert_eq!(location(&pay(&[("gateway", "home")])), "/orders/ord_open");
    let away = pay(&[("gateway", "elsewhere")]).text();
    assert!(away.contains("href=\"https://pay.example/1?a=b&amp;c=d\"") && away.contains("to pay at pay.example"));
    assert_eq!(pay(&[("gateway", "trap")]).code(), StatusCode::BAD_GATEWAY);
    let shown = pay(&[("gateway", "coins")]).text();
    assert!(shown.contains("<svg class=\"qr\"") && shown.contains("href=\"bitcoin:bc1qexample?amount=0.0001\""));
    let waiting = pay(&[("gateway", "slow")]).text();
    assert!(waiting.contains("<noscript><meta http-equiv=\"refresh\" content=\"7;url=/orders/ord_open\"></noscript>"));
    assert_eq!(pay(&[("gateway", "none")]).code(), StatusCode::NOT_FOUND);
    assert_eq!(pay(&[]).code(), StatusCode::OK, "without a gateway the choice is shown again");
}

#[test]
fn a_refused_code_is_explained_at_its_field_and_kept() {
    shop();
    let page = post("/orders/ord_open/pay", &[("gateway", "voucher"), ("code", "BAD\"<")]);
    assert_eq!(page.code(), StatusCode::UNPROCESSABLE_ENTITY);
    let text = page.text();
    assert!(text.contains("role=\"alert\">This did not go through: this code was used before"));
    assert!(
        text.contains("value=\"BAD&quot;&lt;\"")
            && text.contains("aria-describedby=\"f-code-wrong\" aria-invalid=\"true\"")
    );
}

#[test]
fn nobody_sees_anothers_order() {
    shop();
    let stranger = Request::get("/orders/ord_open").with_header("fondaco-session", "other");
    assert_eq!(Shelf::handle(stranger).code(), StatusCode::FORBIDDEN);
    assert_eq!(get("/orders/ord_none").code(), StatusCode::NOT_FOUND);
}

#[test]
fn the_library_hands_out_files_licences_and_the_key() {
    let host = shop();
    let page = get("/library?welcome=ord_open").text();
    assert!(page.contains("It is yours, and ready below."));
    assert!(page.contains("href=\"/files/delivery/ent_grain-store/music/01.flac\" download"));
    assert!(!page.contains("music/03.flac\" download"), "what the entitled release does not list has no link");
    assert!(page.contains("ent_the-ferry/book.epub.licence") && page.contains("fondaco open book.epub"));
    assert!(page.contains("This right was revoked") && !page.contains("ent_low-water"));
    assert!(page.contains("A work that is no longer in the catalogue"));
    assert!(page.contains("action=\"/-/library-key\"") && page.contains("action=\"/-/restore\""));
    empty_library(&host);
    let page = get("/library").text();
    assert!(page.contains("Your library is empty.") && page.contains("action=\"/-/restore\""));
}

#[test]
fn a_search_shows_facets_reasons_and_where_the_words_stand() {
    shop();
    let page = get("/search?q=night&kind=album&tag=dusk&tag=night&lang=fr").text();
    assert!(page.contains("three <mark>night</mark>s") && page.contains("Pourquoi à cette place"));
    assert!(page.contains("name=\"kind\" value=\"album\" checked"));
    assert!(page.contains("name=\"tag\" value=\"dusk\" checked"), "what is chosen can be undone where it has no hits");
    assert!(page.contains("Placement payé") && page.contains("Harbour Press"));
    let next =
        "/search?sort=relevance&amp;q=night&amp;kind=album&amp;tag=dusk&amp;tag=night&amp;cursor=page%202&amp;lang=fr";
    assert!(page.contains(next), "the next page keeps what was chosen");
    let english = "/search?q=night&amp;kind=album&amp;tag=dusk&amp;tag=night&amp;lang=en";
    assert!(page.contains(english), "switching the language keeps the page");
    assert!(get("/search?q=nothing").text().contains("Nothing here matches."));
}

#[test]
fn completions_come_as_browsers_read_them() {
    shop();
    let answer = get("/suggest?q=nigh%22t");
    assert_eq!(answer.header("content-type"), Some("application/x-suggestions+json"));
    let json: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
    assert_eq!(json, serde_json::json!(["nigh\"t", ["nigh\"ts", "night boat"]]));
}

#[test]
fn the_language_is_the_visitors_and_stays() {
    shop();
    let french = Request::get("/").with_header("accept-language", "fr-CH");
    let page = Shelf::handle(french);
    assert!(page.text().contains("<html lang=\"fr\">") && page.text().contains("href=\"/search\""));
    assert_eq!(page.header("vary"), Some("accept-language"));
    assert!(get("/?lang=fr").text().contains("href=\"/search?lang=fr\""), "a language that was chosen goes along");
    assert!(get("/?lang=xx").text().contains("<html lang=\"en\">"));
}

#[test]
fn a_campaign_speaks_to_each_audience_and_never_adds_up() {
    shop();
    let page = get("/campaigns/keep-it?placement=poster-7").text();
    assert!(
        page.contains("<strong>41</strong>")
            && page.contains("<strong>1,203</strong>")
            && page.contains("<strong>318</strong>")
    );
    assert!(!page.contains("1,562"), "the sum of all three");
    assert!(page.contains("Paid political advertisement") && page.contains("https://example.org/notice"));
    assert!(page.contains("/campaigns/keep-it?audience=industry&amp;placement=poster-7"));
    assert!(page.contains("name=\"placement\" value=\"poster-7\""));
    assert_eq!(
        get("/campaigns/keep-it?audience=none").code(),
        StatusCode::OK,
        "an audience that is unknown gets the first"
    );
    assert_eq!(get("/campaigns/other").code(), StatusCode::NOT_FOUND);
}

#[test]
fn a_postcode_finds_the_addressees_and_is_not_put_into_an_address() {
    shop();
    let page =
        post("/campaigns/keep-it/targets", &[("country", "us"), ("postcode", "94110"), ("placement", "p1")]).text();
    assert!(page.contains("name=\"target\" value=\"a\"") && page.contains("Joan Abara"));
    assert!(!page.contains("?postcode") && !page.contains("&amp;postcode"));
    let wrong = post("/campaigns/keep-it/targets", &[("country", "us"), ("postcode", "00000")]).text();
    assert!(wrong.contains("id=\"postcode-wrong\" role=\"alert\">This did not go through: there is no such postcode"));
}

#[test]
fn a_letter_is_handed_over_and_never_sent() {
    shop();
    let act = |fields: &[(&str, &str)]| post("/campaigns/keep-it/act?audience=industry", fields);
    let page = act(&[("action", "write"), ("name", "Sam Reed")]).text();
    assert!(page.contains("href=\"mailto:joan@house.example?subject=") && page.contains("Nothing was sent for you"));
    assert!(
        page.contains("Dear Ms Abara,\n\nplease let people keep")
            && page.contains("href=\"https://house.example/contact\"")
    );
    let fields = [
        ("csrf", "token"),
        ("action", "write"),
        ("name", "echo"),
        ("mail", "a@b"),
        ("target", "a"),
        ("target", "b"),
        ("keep-me-posted", "yes"),
        ("placement", "p1"),
        ("subject", "s"),
        ("body", "one\r\ntwo"),
        ("else", "x"),
    ];
    let seen = act(&fields).text();
    for part in [
        "targets: [&quot;a&quot;, &quot;b&quot;]",
        "consents: [&quot;keep-me-posted&quot;]",
        "Some(&quot;p1&quot;)",
        "one\\ntwo",
        "session: &quot;visitor&quot;",
    ] {
        assert!(seen.contains(part), "{part} in {seen}");
    }
    assert!(!seen.contains("else") && !seen.contains("csrf"), "only what the action asks for goes on");
    assert!(act(&[("action", "write"), ("name", "mail")]).text().contains("open the mail"));
    assert!(act(&[("action", "write"), ("name", "again")]).text().contains("taken part before"));
    let wrong = act(&[("action", "write"), ("body", "my own words")]);
    assert_eq!(wrong.code(), StatusCode::UNPROCESSABLE_ENTITY);
    assert!(wrong.text().contains("my own words") && wrong.text().contains("f-name-wrong"));
    assert!(location(&act(&[("action", "none")])).starts_with("/campaigns/keep-it?audience=industry"));
}

#[test]
fn the_shop_stands_without_search_commerce_and_campaigns() {
    let host = Host::install();
    let home = get("/");
    assert_eq!(home.code(), StatusCode::OK);
    assert!(home.text().contains("Nothing is on the shelf yet."));
    host.work(work("low-water", "Low Water", "R. Tamsin Ekwueme", WorkKind::Book));
    let found = get("/search?q=water");
    assert_eq!(found.code(), StatusCode::OK);
    assert!(found.text().contains("Search is not available") && found.text().contains("Low Water"));
    assert_eq!(get(&format!("/works/{PUBLISHER}/low-water")).code(), StatusCode::OK);
    assert!(get("/library").text().contains("Your library cannot be read"));
    assert!(get("/campaigns").text().contains("Campaigns are not available"));
    assert_eq!(get("/suggest?q=wa").text(), "[\"wa\",[]]");
}

#[test]
fn what_others_have_stands_below_and_leads_to_its_publisher() {
    let _host = shop();
    let page = get("/search?q=night").text();
    let (own, others) = page.split_once("From other nodes").expect("a section for others");
    assert!(own.contains("Three Nights") && !own.contains("The Far Shore"));
    assert_eq!(others.matches("The Far Shore at Night</h3>").count(), 2, "the one that is unknown by now is left out");
    assert!(others.contains("href=\"https://far.example/works/1\"") && others.contains("far.example</span>"));
    assert!(others.contains("fondaco get 'fondaco:00?p=/ip4/192.0.2.1/tcp/1'"));
    assert!(others.contains("Publisher 77ccfb44b2ba…") && others.contains("€7.00"));
    assert!(get("/search?q=night&lang=fr").text().contains("Chez d’autres nœuds"));
    for alone in ["/search", "/search?q=night&cursor=x"] {
        assert!(!get(alone).text().contains("From other nodes"), "{alone} asks nobody");
    }
}

#[test]
fn a_work_that_its_publisher_sells_has_no_button_here() {
    shop();
    let page = get(&format!("/works/{OTHERS}/mirrored")).text();
    assert!(!page.contains("/buy") && page.contains("href=\"https://far.example/works/2\""), "{page}");
    assert!(page.contains("Another publisher’s work") && page.contains("€7.00"));
    let lost = get(&format!("/works/{OTHERS}/lost")).text();
    assert!(!lost.contains("/buy") && lost.contains("has not said where that shop is"));
    let refused = post(
        &format!("/works/{OTHERS}/mirrored/buy"),
        &[("offer", "buy"), ("key", "0123456789abcdef0123456789abcdef")],
    );
    assert_eq!(refused.code(), StatusCode::CONFLICT);
    assert!(refused.text().contains("sold at its publisher’s") && !refused.text().contains("another browser"));
}

#[test]
fn a_works_own_cover_is_shown_and_a_locked_one_is_not() {
    let host = Host::install();
    let mut with = work("with", "With", "A", WorkKind::Album);
    with.files.push(file("art/Ünïcode & co.png", FileRole::Cover, "image/png"));
    host.work(with.clone());
    assert!(get("/").text().contains("/%C3%9Cn%C3%AFcode%20%26%20co.png"));
    with.files.last_mut().unwrap().protection = Some("x".into());
    host.work(with);
    assert!(get("/").text().contains(&format!("/art/{PUBLISHER}/with.svg?r=")));
}

#[test]
fn a_drawn_cover_is_the_same_each_time() {
    shop();
    let cover = || get(&format!("/art/{PUBLISHER}/grain-store.svg"));
    assert_eq!(cover().body(), cover().body());
    assert_eq!(cover().header("content-type"), Some("image/svg+xml"));
    assert_eq!(get("/art/x/none.svg").code(), StatusCode::NOT_FOUND);
}

#[test]
fn what_is_not_there_and_what_is_not_allowed_is_said() {
    shop();
    for path in [
        "/x",
        "/works/a",
        "/works/a/b/c",
        "/works/%00/..%2f",
        "/orders",
        "/campaigns/a/b/c",
        "/art/a/b",
        "/assets/x.css",
    ] {
        assert_eq!(get(path).code(), StatusCode::NOT_FOUND, "{path}");
        assert_eq!(post(path, &[]).code(), StatusCode::NOT_FOUND, "{path}");
    }
    let delete = http::Request::delete("/").body(Vec::new()).unwrap();
    let refused = Shelf::handle(Request::new(delete));
    assert_eq!((refused.code(), refused.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, Some("GET, HEAD, POST")));
    assert_eq!(location(&get("/orders/ord_open/pay")), "/orders/ord_open");
    assert_eq!(location(&get("/campaigns/keep-it/act?lang=fr")), "/campaigns/keep-it?lang=fr");
}

#[test]
fn pages_of_a_visitors_own_are_kept_by_nobody() {
    shop();
    for path in ["/library", "/orders/ord_open", "/campaigns/keep-it", &album(), "/nowhere"] {
        let page = get(path);
        assert_eq!(page.header("cache-control"), Some("private, no-store"), "{path}");
        assert_eq!(page.header("fondaco-page"), None, "{path}");
    }
}

#[test]
fn pages_that_promise_to_be_everybodys_hold_nothing_of_a_visitors() {
    shop();
    for path in ["/", "/about", "/search?q=night", "/campaigns"] {
        let of = |visitor: &str| {
            let request = Request::get(path).with_header("fondaco-session", visitor);
            Shelf::handle(request.with_header("fondaco-csrf", &format!("token-of-{visitor}")))
        };
        let (ada, grace, nobody) = (of("ada"), of("grace"), Shelf::handle(Request::get(path)));
        assert_eq!(ada.header("fondaco-page"), Some("shared"), "{path}");
        assert_eq!(ada.text(), grace.text(), "{path}");
        assert_eq!(ada.text(), nobody.text(), "{path}: the copy that is kept is made for nobody");
    }
}

#[test]
fn the_settings_schema_describes_the_settings_that_are_read() {
    let schema: serde_json::Value = serde_json::from_str(include_str!("../../settings.schema.json")).unwrap();
    let mut all = serde_json::Map::new();
    for (name, property) in schema["properties"].as_object().unwrap() {
        all.insert(name.clone(), property["default"].clone());
    }
    all["welcome"] = serde_json::json!({ "en": "Come in." });
    let read: crate::page::Settings = serde_json::from_value(all.clone().into()).unwrap();
    assert_eq!(read.page_size, crate::page::Settings::default().page_size);
    assert_eq!(read.welcome.get("fr"), Some("Come in."), "a language without words shows the other's");
    all.insert("wellcome".into(), "".into());
    assert!(serde_json::from_value::<crate::page::Settings>(all.into()).is_err());
}
