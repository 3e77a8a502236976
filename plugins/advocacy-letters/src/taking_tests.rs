use super::*;
use crate::signature::{confirm, erase, export, withdraw};
use crate::testing::{counted, node, node_with_mail, part, refusal, signed, today, ways};

fn take(p: &Participation) -> Outcome {
    take_part(p, today()).unwrap()
}

fn token(host: &fondaco_sdk::fake::Host, mail: usize) -> String {
    let text = &host.mails()[mail].text;
    text.split_once("withdraw?token=").unwrap().1.chars().take_while(char::is_ascii_alphanumeric).collect()
}

const NAME: &[(&str, &str)] = &[("name", "Ann")];

#[test]
fn refuses_by_name_what_it_does_not_know_and_counts_nothing() {
    let host = node();
    let refused = |change: &dyn Fn(&mut Participation)| {
        let mut p = part("write", "s", NAME, &["xa-hills"]);
        change(&mut p);
        refusal(take_part(&p, today()))
    };
    assert_eq!(refused(&|p| p.action = "shout".into()), "campaign your-customers has no action \"shout\"");
    assert_eq!(refused(&|p| p.session.clear()), "the session must have 1 to 256 bytes");
    assert_eq!(refused(&|p| p.session = "s".repeat(257)), "the session must have 1 to 256 bytes");
    assert_eq!(refused(&|p| p.token = Some(vec![1])), "action write takes no proof of purchase: leave it out");
    assert!(refused(&|p| p.placement = Some("A wall".into())).starts_with("placement: write 1 to 32"));
    assert_eq!(refused(&|p| p.consents = vec!["spam".into()]), "campaign your-customers knows no consent \"spam\"");
    assert_eq!(refused(&|p| p.targets = vec!["moon".into()]), "unknown target \"moon\"");
    assert_eq!(refused(&|p| p.targets.clear()), "choose whom to write to");
    assert!(refused(&|p| p.targets = vec!["xa-hills".into(); 21]).contains("at most 20"));
    assert_eq!(refused(&|p| p.action = "share".into()), "action share writes to nobody: leave the targets out");
    assert!(refused(&|p| p.fields.clear()).contains("\"name\" is missing"));
    let early = take_part(&part("write", "s", NAME, &["xa-hills"]), Now::noon("2023-12-31"));
    assert_eq!(refusal(early), "campaign your-customers opens on 2024-01-01");
    let mut p = part("write", "s", NAME, &[]);
    p.campaign = "nobody".into();
    assert!(matches!(take_part(&p, today()), Err(Error::NotFound)));
    assert_eq!(host.stored_keys(), 0);
}

#[test]
fn refuses_a_campaign_that_is_over_and_a_proof_that_it_cannot_check() {
    let host = node();
    let text = include_str!("../assets/campaigns/your-customers.toml");
    let text = text.replacen("target = 10000", "closes = \"2026-02-28\"", 1);
    host.asset("campaigns/your-customers.toml", text.replace("kind = \"share\"", "kind = \"purchase-proof\""));
    assert_eq!(refusal(take_part(&part("share", "s", &[], &[]), today())), "campaign your-customers is over");
    let mut p = part("share", "s", &[], &[]);
    p.token = Some(vec![0; 32]);
    let answer = take_part(&p, Now::noon("2026-02-28"));
    assert!(matches!(answer, Err(Error::Unavailable(text)) if text.contains("no proofs of single purchases")));
    assert!(counted().is_empty());
}

#[test]
fn a_letter_counts_once_for_each_session_and_a_second_target_is_written_to_without_counting() {
    let _host = node();
    let to = |session: &str, target: &str| part("write", session, NAME, &[target]);
    ways(&to("a", "xa-hills"));
    assert!(matches!(take(&to("a", "xa-hills")), Outcome::AlreadyCounted));
    assert_eq!(ways(&to("a", "meridian-records")).len(), 4, "the letter to somebody else is handed over");
    ways(&to("b", "xa-hills"));
    assert_eq!(counted(), [("unconfirmed", "write".to_owned(), 2)]);
}

#[test]
fn one_visitor_counts_once_for_each_action_and_placements_apart() {
    let _host = node();
    let mut p = part("share", "a", &[], &[]);
    p.placement = Some("wall-7".into());
    assert!(matches!(take(&p), Outcome::Counted));
    assert!(matches!(take(&p), Outcome::AlreadyCounted));
    assert!(matches!(take(&part("share", "b", &[], &[])), Outcome::Counted));
    assert!(matches!(take(&part("pledge", "a", &[], &[])), Outcome::Counted));
    let counters = crate::store::counters(None).unwrap();
    let shown: Vec<_> = counters.iter().map(|c| (c.action.as_str(), c.placement.as_str(), c.n)).collect();
    assert_eq!(shown, [("pledge", "", 1), ("share", "wall-7", 1), ("share", "", 1)]);
}

#[test]
fn counts_exactly_when_another_visitor_comes_first() {
    let _host = node();
    let mut rivals = 0;
    crate::store::tests::rivalled(move || {
        rivals += 1;
        if rivals <= 3 {
            assert!(matches!(take(&part("share", &format!("rival-{rivals}"), &[], &[])), Outcome::Counted));
        }
    });
    assert!(matches!(take(&part("share", "me", &[], &[])), Outcome::Counted));
    crate::store::tests::rivalled(|| {});
    assert_eq!(counted(), [("unconfirmed", "share".to_owned(), 4)]);
}

#[test]
fn the_same_visitor_twice_at_the_same_moment_counts_once() {
    let _host = node();
    let mut first = true;
    crate::store::tests::rivalled(move || {
        if std::mem::take(&mut first) {
            assert!(matches!(take(&part("share", "me", &[], &[])), Outcome::Counted));
        }
    });
    assert!(matches!(take(&part("share", "me", &[], &[])), Outcome::AlreadyCounted));
    crate::store::tests::rivalled(|| {});
    assert_eq!(counted(), [("unconfirmed", "share".to_owned(), 1)]);
}

#[test]
fn a_signature_counts_when_its_link_is_opened_and_exactly_once() {
    let host = node_with_mail();
    assert!(matches!(take(&signed("a", "Ann@Home.example")), Outcome::ConfirmByMail));
    assert!(counted().is_empty(), "nothing counts before it is confirmed");
    let mail = &host.mails()[0];
    assert_eq!(mail.to, "ann@home.example");
    let token = token(&host, 0);
    assert!(mail.text.contains(&format!("https://shop.example/campaigns/confirm?token={token}\n")));
    assert!(matches!(confirm(&token, today()), Ok(Outcome::Counted)));
    assert!(matches!(confirm(&token, today()), Ok(Outcome::AlreadyCounted)));
    assert_eq!(counted(), [("confirmed", "sign".to_owned(), 1)]);
    for wrong in ["", "x", &"0".repeat(32), &token.to_uppercase(), &token[1..]] {
        assert!(matches!(confirm(wrong, today()), Err(Error::NotFound)), "{wrong:?}");
    }
}

#[test]
fn signing_again_tells_a_stranger_nothing_and_counts_nothing() {
    let host = node_with_mail();
    take(&signed("a", "ann@home.example"));
    confirm(&token(&host, 0), today()).unwrap();
    assert!(matches!(take(&signed("stranger", "ann@home.example")), Outcome::ConfirmByMail));
    assert!(matches!(take(&signed("other", "ann@home.example")), Outcome::ConfirmByMail));
    assert_eq!(host.mails().len(), 2, "one more mail a day, however often it is asked for");
    assert!(host.mails()[1].subject.contains("before") && !host.mails()[1].text.contains("confirm?"));
    assert_eq!(token(&host, 1), token(&host, 0));
    assert_eq!(counted(), [("confirmed", "sign".to_owned(), 1)]);
}

#[test]
fn no_address_is_taken_without_the_consent_and_few_from_one_visitor() {
    let host = node_with_mail();
    let mut p = signed("a", "ann@home.example");
    p.consents.clear();
    assert!(refusal(take_part(&p, today())).starts_with("consent \"political-opinion\" is needed"));
    assert_eq!(host.stored_keys(), 0);
    for i in 0..3 {
        take(&signed("a", &format!("ann{i}@home.example")));
    }
    let more = take_part(&signed("a", "ann9@home.example"), today());
    assert!(matches!(more, Err(Error::Exhausted(text)) if text.contains("at most 3")));
    assert!(matches!(take(&part("sign", "a", &[], &[])), Outcome::ConfirmByMail), "not in a second class as well");
    assert_eq!(host.mails().len(), 3);
    assert!(counted().is_empty());
}

#[test]
fn neither_name_nor_address_nor_session_is_stored_or_published() {
    let host = node_with_mail();
    take(&signed("session-of-ann", "ann@home.example"));
    confirm(&token(&host, 0), today()).unwrap();
    let fields = [("name", "Ann Secret"), ("mail", "ann@home.example"), ("postcode", "98765")];
    ways(&part("write", "session-of-ann", &fields, &["xa-hills"]));
    let mut log = crate::store::leaves(&"your-customers".parse().unwrap(), 0).unwrap();
    assert_eq!(log.len(), 2);
    for e in fondaco_sdk::storage::scan(b"\0", &[0xff], 1_000).unwrap() {
        log.extend([e.key, e.value]);
    }
    let all = log.iter().map(|b| String::from_utf8_lossy(b).into_owned()).collect::<Vec<_>>().join("\n");
    for secret in ["ann", "Ann", "home.example", "session-of", "98765", &token(&host, 0)] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
}

#[test]
fn a_person_sees_what_is_held_and_has_it_erased() {
    let host = node_with_mail();
    take(&signed("a", "ann@home.example"));
    confirm(&token(&host, 0), today()).unwrap();
    let exported = |mail: &str| serde_json::from_slice::<serde_json::Value>(&export(mail).unwrap().body).unwrap();
    let entry = &exported("Ann@home.example")["entries"][0];
    assert_eq!(entry["confirmed"], "2026-03-01T12:00:00Z");
    assert_eq!(entry["kept-until"], "2026-05-30");
    let consent = &entry["consents"][0];
    let words = "I agree that this signature, which shows a political opinion, is kept with a hash of my mail address until the retention period ends. I can withdraw at any time.";
    assert_eq!(consent["text"], blake3::hash(words.as_bytes()).to_hex().to_string(), "the very words are on record");
    assert_eq!(exported("bo@home.example")["entries"].as_array().unwrap().len(), 0);
    assert_eq!(erase("ann@home.example", today()).unwrap(), 1);
    assert_eq!(erase("ann@home.example", today()).unwrap(), 0);
    assert!(counted().is_empty(), "an erased signature counts no more");
    assert!(matches!(confirm(&token(&host, 0), today()), Err(Error::NotFound)));
    assert_eq!(exported("ann@home.example")["entries"].as_array().unwrap().len(), 0);
    assert!(refusal(export("nobody")).starts_with("mail: write a mail address"));
    assert!(refusal(erase("nobody", today())).starts_with("mail: write a mail address"));
}

#[test]
fn a_withdrawn_signature_counts_no_more_and_the_log_says_so() {
    let host = node_with_mail();
    take(&signed("a", "ann@home.example"));
    take(&signed("b", "bo@home.example"));
    confirm(&token(&host, 0), today()).unwrap();
    withdraw(&token(&host, 0), today()).unwrap();
    assert!(matches!(withdraw(&token(&host, 0), today()), Err(Error::NotFound)));
    withdraw(&token(&host, 1), today()).unwrap();
    assert!(
        matches!(confirm(&token(&host, 1), today()), Err(Error::NotFound)),
        "a withdrawn request cannot be confirmed"
    );
    assert!(counted().is_empty());
    let log = crate::store::leaves(&"your-customers".parse().unwrap(), 0).unwrap();
    let last: crate::store::Leaf = serde_json::from_slice(log.last().unwrap()).unwrap();
    assert_eq!((log.len(), last.event.as_str(), last.of), (2, "withdrawn", Some(0)));
}

#[test]
fn what_was_not_confirmed_within_a_week_and_what_is_past_its_time_is_erased() {
    let host = node_with_mail();
    take(&signed("a", "ann@home.example"));
    take(&signed("b", "bo@home.example"));
    confirm(&token(&host, 1), today()).unwrap();
    assert!(matches!(confirm(&token(&host, 0), Now::noon("2026-03-09")), Err(Error::NotFound)), "eight days later");
    let persons = || crate::store::all("person/").unwrap().len() + crate::store::all("token/").unwrap().len();
    assert_eq!(persons(), 4);
    take_part(&part("share", "c", &[], &[]), Now::noon("2026-03-09")).unwrap();
    assert_eq!(persons(), 2, "the confirmed one stays");
    take_part(&part("share", "d", &[], &[]), Now::noon("2027-01-01")).unwrap();
    assert_eq!(persons(), 0);
    assert_eq!(crate::store::all("seen/").unwrap().len(), 1, "visitors are forgotten too");
    assert_eq!(counted().len(), 2, "sums stay: they are about nobody");
}
