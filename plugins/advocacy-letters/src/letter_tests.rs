use super::MAX_LINK;
use crate::testing::{decoded, node, part, refusal, today, ways};

const ANN: &[(&str, &str)] =
    &[("name", "Ann & Bo"), ("mail", "ann@home.example"), ("postcode", "15001"), ("country", "xa")];

fn way<'a>(ways: &'a [(String, String)], kind: &str) -> &'a str {
    &ways.iter().find(|(k, _)| k == kind).unwrap_or_else(|| panic!("no {kind}")).1
}

#[test]
fn a_mail_link_decodes_to_the_letter_that_is_to_be_copied() {
    let _host = node();
    let mut fields = ANN.to_vec();
    let body = "Dear {target},\r\n\r\n50% + 1 = é? #1 & <b>\r\n";
    fields.extend([("subject", "À {organisation}: a=b&body=x"), ("body", body)]);
    let ways = ways(&part("write", "s", &fields, &["xa-hills"]));
    let link = way(&ways, "mailto");
    let rest = link.strip_prefix("mailto:hills@assembly.arvenland.example?subject=").unwrap();
    let (subject, sent) = rest.split_once("&body=").unwrap();
    assert!(!sent.contains(['&', '=', '?', '#', '+', ' ', '<']), "{sent}");
    assert_eq!(decoded(subject), "À Assembly of Arvenland: a=b&body=x");
    let letter = "Dear Mira Nobody,\n\n50% + 1 = é? #1 & <b>\n\nAnn & Bo\n15001 XA\nann@home.example";
    assert_eq!(decoded(sent), letter.replace('\n', "\r\n"), "line breaks are CRLF (RFC 6068 §5)");
    assert!(sent.contains("%0D%0A") && !sent.contains("%0A%0A"));
    assert_eq!(way(&ways, "copy"), format!("À Assembly of Arvenland: a=b&body=x\n\n{letter}"));
    let print = way(&ways, "print");
    assert!(
        print.starts_with("Mira Nobody\nMember for Hills\nAssembly of Arvenland\n\n2026-03-01\n\nSubject: À"),
        "{print}"
    );
    assert!(print.contains(letter));
    assert_eq!(way(&ways, "webform"), "https://assembly.arvenland.example/write/hills");
    let kinds: Vec<_> = ways.iter().map(|(k, _)| k.as_str()).collect();
    assert_eq!(kinds, ["target", "mailto", "webform", "copy", "print"]);
}

#[test]
fn a_letter_too_long_for_a_link_is_handed_over_to_be_copied() {
    let _host = node();
    let body = "é".repeat(2_000);
    let ways = ways(&part("write", "s", &[("name", "Ann"), ("body", &body)], &["meridian-records"]));
    let link = way(&ways, "mailto");
    assert!(link.len() <= MAX_LINK && !link.contains("&body="), "{link}");
    assert!(way(&ways, "note").contains("too long"));
    assert!(way(&ways, "copy").contains(&body));
    assert!(way(&ways, "print").contains("1 Sample Quay\nExampleton"), "the postal address stands on paper");
}

#[test]
fn each_target_has_its_own_letter_and_is_named_once() {
    let _host = node();
    let ways = ways(&part("write", "s", &[("name", "Ann")], &["xa-hills", "pixel-orchard", "xa-hills"]));
    let named: Vec<_> = ways.iter().filter(|(k, _)| k == "target").map(|(_, v)| v.as_str()).collect();
    assert_eq!(named, ["Mira Nobody, Assembly of Arvenland", "Pixel Orchard Games"]);
    let copies: Vec<_> = ways.iter().filter(|(k, _)| k == "copy").map(|(_, v)| v).collect();
    assert!(copies[0].contains("Dear Mira Nobody,") && copies[1].contains("Dear Pixel Orchard Games,"));
    assert_eq!(ways.iter().filter(|(k, _)| k == "mailto").count(), 1, "who has no mail address gets no mail link");
}

#[test]
fn the_draft_stands_in_for_an_empty_letter_in_the_language_and_for_the_audience_of_the_page() {
    let _host = node();
    let fields = [("name", "Ann"), ("body", ""), ("locale", "fr-CA"), ("audience", "industry")];
    let ways = ways(&part("write", "s", &fields, &["lanterne-films"]));
    assert!(way(&ways, "copy").starts_with("Des licences pour qui achète : un mot de la profession à Lanterne Films"));
    assert!(way(&ways, "print").contains("Objet : "));
}

#[test]
fn no_header_can_be_smuggled_into_a_link() {
    let _host = node();
    for field in ["subject", "name", "mail"] {
        let mut p = part("write", "s", &[("name", "Ann"), (field, "a@b.example\r\nBcc: eve@x.example")], &["xa-hills"]);
        if field == "name" {
            p.fields.remove(0);
        }
        assert!(refusal(crate::taking::take_part(&p, today())).contains(field));
    }
    // In a body a line break is a line break, and stays inside the body.
    let ways = ways(&part("write", "s", &[("name", "Ann"), ("body", "x\r\nBcc: eve@x.example&cc=y")], &["xa-hills"]));
    let (head, _) = way(&ways, "mailto").split_once("&body=").unwrap();
    assert!(!way(&ways, "mailto").contains("&cc="));
    assert_eq!(head.matches('&').count(), 0);
}
