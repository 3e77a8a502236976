use fondaco_sdk::{PaymentGateway, fake};

use super::*;
use crate::redeem::tests::{pay, shown};

fn run(tool: &str, input: &[(&str, &str)]) -> Result<String> {
    let input: Vec<_> = input.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    Voucher::run(tool, &input).map(|d| String::from_utf8(d.body).unwrap())
}

fn words(error: Result<String>) -> String {
    match error {
        Err(Error::Invalid(text)) => text,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn lists_codes_that_pay_and_gives_the_same_list_again() {
    let _host = fake::Host::install();
    let document =
        Voucher::run("codes", &[("value".into(), "10.00 EUR".into()), ("count".into(), "3".into())]).unwrap();
    let list = String::from_utf8(document.body).unwrap();
    assert_eq!(document.media_type, "text/plain; charset=utf-8");
    let codes: Vec<_> = list.lines().collect();
    assert_eq!(codes.len(), 3);
    assert!(codes.iter().all(|c| Code::read(c).unwrap().unwrap().value.to_string() == "10.00 EUR"));
    let batch = document.file_name.strip_prefix("vouchers-").unwrap().strip_suffix(".txt").unwrap();
    assert_eq!(run("codes", &[("batch", batch)]).unwrap(), list);
    assert!(run("sheet", &[("batch", batch)]).unwrap().contains("10.00 EUR"));
    assert_ne!(run("codes", &[("value", "10.00 EUR"), ("count", "3")]).unwrap(), list, "a new batch has new codes");
    let (_, events) = pay("p", "10.00 EUR", codes[2]).unwrap();
    assert_eq!(events.len(), 1);
}

#[test]
fn prints_a_sheet_of_ten_cards_a_page_without_scripts() {
    let host = fake::Host::install();
    host.brand(fondaco_sdk::settings::Brand {
        name: "Owl <& Sons>".into(),
        tagline: String::new(),
        locale: "en".into(),
        locales: vec!["en".into()],
        base_url: "https://owl.example".into(),
        colors: Vec::new(),
        logo: None,
        contact: None,
    });
    let input = [("value", "10.00 EUR"), ("count", "23"), ("title", "Spring \"24\""), ("expires", "2999-12-31")];
    let html = run("sheet", &input).unwrap();
    assert_eq!(html.matches("<section class=\"page\">").count(), 3);
    assert_eq!(html.matches("<article").count(), 23);
    assert_eq!(html.matches("<svg").count(), 23);
    assert!(html.contains("Owl &lt;&amp; Sons&gt; · Spring &quot;24&quot;"));
    assert!(html.contains("2999-12-31") && html.contains("owl.example") && html.contains("@page { size: A4"));
    assert!(!html.contains("<script") && !html.contains("http://") && !html.contains("https://"));
    let cards: Vec<String> = html.split("<p class=\"code\">").skip(1).map(code_of_card).collect();
    assert_eq!(cards.len(), 23);
    assert!(cards.iter().all(|c| Code::read(c).unwrap().is_ok()));
}

fn code_of_card(card: &str) -> String {
    card.split("</p>").next().unwrap().replace("<span>", "").replace("</span>", "").replace("<wbr>", "")
}

#[test]
fn says_what_became_of_a_code() {
    let _host = fake::Host::install();
    let code = run("codes", &[("value", "10 EUR"), ("count", "1"), ("title", "Spring")]).unwrap();
    let status = |code: &str| run("status", &[("code", code)]).unwrap();
    assert!(status(&code).starts_with("good, without expiry\nworth 10.00 EUR; "), "{}", status(&code));
    assert!(status(&code).contains("\"Spring\""));
    let change = shown(&pay("pay-7", "4.00 EUR", &code).unwrap().0);
    assert!(status(&code).starts_with("used on ") && status(&code).contains("for payment pay-7\n"));
    assert!(status(&change).ends_with("from change from a payment\n"), "{}", status(&change));
    assert!(status(&change[1..]).contains("this is no voucher code"));
    assert!(status(&code.replace("FDV1-", "FDV1-0")).contains("mistyped"));
}

#[test]
fn sums_up_what_is_owed() {
    let _host = fake::Host::install();
    assert_eq!(run("outstanding", &[]).unwrap(), "no voucher was issued yet\n");
    let euros = run("codes", &[("value", "10 EUR"), ("count", "5"), ("title", "Spring")]).unwrap();
    run("codes", &[("value", "300 pts"), ("count", "2")]).unwrap();
    pay("p", "4.00 EUR", euros.lines().next().unwrap()).unwrap();
    Voucher::refund(
        "p".into(),
        fondaco_sdk::Money { amount: "100".into(), asset: "EUR".into(), exponent: 2 },
        "k".into(),
    )
    .unwrap();
    let report = run("outstanding", &[]).unwrap();
    // 50 printed, 10 came back, 6 went out as change and 1 as a refund.
    assert!(report.contains("47.00 EUR outstanding (issued 57.00, redeemed 10.00, expired unused 0.00)\n"), "{report}");
    assert!(report.contains("600 pts outstanding"), "{report}");
    assert!(report.contains("\"Spring\"") && report.contains("5 of 10.00 EUR, 1 used"), "{report}");
}

#[test]
fn what_has_expired_is_owed_no_longer() {
    let _host = fake::Host::install();
    let today = Day::of(now());
    run("codes", &[("value", "10 EUR"), ("count", "5"), ("expires", &today.to_string())]).unwrap();
    assert!(outstanding::report(today).unwrap().starts_with("50.00 EUR outstanding"));
    let tomorrow = outstanding::report(Day(today.0 + 1)).unwrap();
    assert!(
        tomorrow.starts_with("0.00 EUR outstanding (issued 50.00, redeemed 0.00, expired unused 50.00)"),
        "{tomorrow}"
    );
}

#[test]
fn lists_every_batch_however_many_there_are() {
    let _host = fake::Host::install();
    for _ in 0..300 {
        run("codes", &[("value", "1 EUR"), ("count", "1")]).unwrap();
    }
    assert!(run("outstanding", &[]).unwrap().starts_with("300.00 EUR outstanding"));
}

#[test]
fn refuses_what_cannot_be_issued_and_says_why() {
    let _host = fake::Host::install();
    let refuses = |input: &[(&str, &str)], why: &str| {
        let text = words(run("sheet", input));
        assert!(text.contains(why), "{text}");
    };
    let (value, count) = (("value", "10 EUR"), ("count", "1"));
    refuses(&[count], "needs value");
    refuses(&[value], "needs count");
    refuses(&[("value", "10"), count], "is no sum");
    refuses(&[("value", "0 EUR"), count], "worth something");
    refuses(&[("value", "1.005 EUR"), count], "more than 2 decimals");
    refuses(&[("value", "1 SEK"), count], "not among this shop's assets");
    for bad in ["0", "101", "-1", "x"] {
        refuses(&[value, ("count", bad)], "1 to 100 codes");
    }
    refuses(&[value, count, ("expires", "soon")], "is no date");
    refuses(&[value, count, ("expires", "2001-01-01")], "is over");
    refuses(&[value, count, ("title", &"x".repeat(61))], "at most 60");
    refuses(&[value, count, ("title", "a\nb")], "one line");
    refuses(&[("batch", "00000000")], "eight hexadecimal digits");
    refuses(&[("batch", "12345678")], "no printed batch");
    refuses(&[("batch", "12345678"), value], "without any other");
    assert!(words(run("nothing", &[])).contains("no tool"));
}

#[test]
fn every_tool_that_is_named_runs() {
    let _host = fake::Host::install();
    for tool in Voucher::tools() {
        if let Err(Error::Invalid(text)) = run(&tool.name, &[]) {
            assert!(text.contains("needs"), "{}: {text}", tool.name);
        }
    }
    assert_eq!(Voucher::describe().0[0], "EUR");
}
