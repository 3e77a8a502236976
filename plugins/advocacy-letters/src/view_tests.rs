use super::*;
use crate::testing::{Sold, node, node_with_mail, refusal, today};

fn shown(locale: &str, audience: Option<&str>) -> Shown {
    get("your-customers", locale, audience, today()).unwrap()
}

#[test]
fn falls_back_to_a_language_and_an_audience_that_are_there() {
    let _host = node();
    let of = |locale: &str, audience: Option<&str>| {
        let shown = shown(locale, audience);
        (shown.locale, shown.audience)
    };
    let pair = |l: &str, a: &str| (l.to_owned(), a.to_owned());
    assert_eq!(of("fr", Some("industry")), pair("fr", "industry"));
    assert_eq!(of("fr-CA", None), pair("fr", "public"));
    assert_eq!(of("de", Some("martians")), pair("en", "public"));
    assert_eq!(of("", None), pair("en", "public"));
}

#[test]
fn the_industry_reads_the_sum_of_purchases_or_why_it_is_withheld() {
    let host = node();
    let body = || shown("en", Some("industry")).body_markdown;
    assert!(body().contains("The sum stands here as soon as") && !body().contains('{'));
    host.commerce(Sold(0, 0));
    assert!(body().contains("The sum stands here as soon as"));
    host.commerce(Sold(2_003, 1_411));
    assert!(body().contains("2,003 purchases by 1,411 buyers have been settled at Test."));
    let draft = shown("en", Some("industry")).actions[0].draft.clone().unwrap();
    assert!(draft.body.contains("2,003 purchases") && draft.body.starts_with("Dear {target},"));
}

#[test]
fn shows_fields_notice_and_share_text() {
    let _host = node_with_mail();
    let shown = shown("fr", None);
    assert_eq!(shown.notice.sponsor, "Test");
    assert_eq!(shown.notice.url, "https://shop.example/about");
    assert!(shown.share_text.ends_with(" https://shop.example/campaigns/your-customers"));
    let fields = |id: &str| {
        let action = shown.actions.iter().find(|a| a.id == id).unwrap();
        action.fields.iter().map(|f| (f.name.as_str(), f.kind.as_str(), f.required)).collect::<Vec<_>>()
    };
    assert_eq!(fields("write"), [("name", "text", true), ("mail", "email", false), ("postcode", "postcode", false)]);
    assert_eq!(fields("sign"), [("mail", "email", false), ("political-opinion", "consent", false)]);
    assert!(fields("share").is_empty());
    let _host = node();
    let sign = get("your-customers", "en", None, today()).unwrap().actions.remove(1);
    assert!(sign.fields.is_empty(), "what is not used is not asked for");
}

#[test]
fn a_postcode_may_lie_in_several_divisions_and_companies_are_everywhere() {
    let _host = node();
    let found = |country: &str, postcode: &str| {
        let found = targets("your-customers", country, postcode, today()).unwrap();
        found.into_iter().map(|t| t.id).skip(3).collect::<Vec<_>>()
    };
    assert_eq!(targets("your-customers", "", "", today()).unwrap().len(), 3, "the companies alone");
    assert_eq!(found("FR", "75011"), [""; 0]);
    assert_eq!(found("xa", "12 345"), ["xa-speaker", "xa-harbour"]);
    assert_eq!(found("XA", "15001"), ["xa-speaker", "xa-harbour", "xa-hills"], "the person chooses");
    assert_eq!(found("XA", "99999"), ["xa-speaker"], "who stands for the whole country");
    assert_eq!(found("XB", "EA5 2"), ["xb-senate-east", "xb-east-1"], "the district, and the state above it");
    assert_eq!(found("XB", "eb1"), ["xb-senate-east"]);
    assert_eq!(found("XB", "15001"), [""; 0]);
    let refused = |country: &str, postcode: &str| refusal(targets("your-customers", country, postcode, today()));
    assert!(refused("Arvenland", "1").starts_with("country: "));
    assert!(refused("XA", "<1>").starts_with("postcode: "));
}

#[test]
fn a_broken_file_harms_no_other() {
    let host = node();
    host.asset("campaigns/broken.toml", "schema = ");
    host.asset("campaigns/Bad Name.toml", "schema = 1");
    host.asset("targets/demo-belmarre.toml", "schema = 1");
    let running = running("en", today().day()).unwrap();
    assert_eq!(running.iter().map(|c| c.id.as_str()).collect::<Vec<_>>(), ["your-customers"]);
    assert_eq!(targets("your-customers", "XA", "15001", today()).unwrap().len(), 6, "the other packs are there");
    let error = get("broken", "en", None, today()).unwrap_err();
    assert!(matches!(error, Error::Unavailable(text) if text.contains("\"check\"")));
}

#[test]
fn a_campaign_is_shown_from_its_first_day_and_takes_nobody_after_its_last() {
    let host = node();
    let text = include_str!("../assets/campaigns/your-customers.toml");
    host.asset("campaigns/short.toml", text.replacen("target = 10000", "closes = \"2024-01-02\"", 1));
    let on = |day: &str| running("en", Now::noon(day).day()).unwrap().len();
    assert_eq!(["2023-12-31", "2024-01-01", "2024-01-03"].map(on), [0, 2, 1]);
    assert!(matches!(get("short", "en", None, Now::noon("2023-12-31")), Err(Error::NotFound)));
    let over = get("short", "en", None, today()).unwrap();
    assert!(over.actions.is_empty() && over.summary.closes.as_deref() == Some("2024-01-02"));
}
