use super::*;

const GOOD: &str = include_str!("../assets/campaigns/your-customers.toml");

fn parse(text: &str) -> Result<Campaign, Problems> {
    Campaign::parse("c".parse().unwrap(), "campaigns/c.toml", text)
}

/// The mistakes of the shipped campaign with one change in it.
#[track_caller]
fn check(from: &str, to: &str, expect: &str) {
    assert!(GOOD.contains(from), "{from:?} is not there to be changed");
    let problems = parse(&GOOD.replacen(from, to, 1)).unwrap_err().to_string();
    assert!(problems.contains(expect), "{problems}");
    let place = problems.strip_prefix("campaigns/c.toml:").unwrap().split_once(':').unwrap().0;
    assert!(place.parse::<usize>().unwrap() > 0);
}

#[test]
fn reads_the_shipped_campaign() {
    let campaign = parse(GOOD).unwrap();
    assert_eq!(campaign.audiences.iter().map(|a| a.id.as_str()).collect::<Vec<_>>(), ["public", "industry"]);
    assert_eq!(campaign.actions.len(), 4);
    assert_eq!(campaign.text.len(), 2);
}

#[test]
fn names_each_mistake_with_its_place() {
    check("schema = 1", "schema = 2", ":4:10: this plugin reads schema = 1");
    check("schema = 1\n", "", "this plugin reads schema = 1");
    check("opens = \"2024-01-01\"", "opens = \"soon\"", ":5:9: opens: write a day");
    check("target = 10000", "closes = \"2023-12-31\"", "the campaign closes before it opens");
    check("locale = \"en\"", "locale = \"de\"", "there is no [text.de]");
    check("target = 10000", "tarmet = 10000", "unknown key \"tarmet\": did you mean \"target\"?");
    check("sponsor = \"{brand}\"\n", "", "\"notice.sponsor\" is missing");
    check("paid = false\n", "", "\"notice.paid\" is missing: is it a paid advertisement?");
    check("url = \"{base}/about\"", "url = \"http://x.example\"", "notice.url must begin with https:// or {base}/");
    check("retention-days = 90", "retention-days = 0", "notice.retention-days must be from 1 to 3650");
    check("retention-days = 90\n", "", "notice.retention-days must be from 1 to 3650");
    check("id = \"industry\"", "id = \"public\"", "two of [[audience]] have the id public");
    check("id = \"pledge\"", "id = \"sign\"", "two of [[action]] have the id sign");
    check("kind = \"share\"", "kind = \"strike\"", "action.kind: write \"letter\"");
    check("claim = \"You are not a problem", "clam = \"You are not a problem", "\"audience.text.en.claim\" is missing");
    check("{proof}", "{purchases}", "body has the unknown placeholder {purchases}; known here: {proof}, {brand}");
    check(
        "Dear {target},",
        "Dear {sir},",
        "unknown placeholder {sir}; known here: {target}, {post}, {organisation}, {name}",
    );
    check("to {organisation}\"", "to\\n{organisation}\"", "a subject has one line");
    check("title = \"Speak up as a customer\"", "title = \"a\\u0007\"", "title has control characters");
    check(
        "title = \"Speak up as a customer\"",
        &format!("title = \"{}\"", "x".repeat(201)),
        "title has 201 characters, and at most 200",
    );
    check(
        "[audience.letter.fr]",
        "[audience.letter.de]",
        "letter has nothing in fr, which the campaign's [text] names",
    );
    check("[audience.letter.fr]", "[audience.letter.de]", "letter speaks de, and there is no [text.de]");
    check("fr = \"Écrire une lettre\"\n", "", "label has nothing in fr");
    check("en = \"Write a letter\"", "en = \"\"", "label.en must be a text of 1 to 200 characters");
    check("required = true", "required = false", "a [[consent]] with required = true is needed");
    check(
        "packs = [\"demo-companies\", \"demo-arvenland\", \"demo-belmarre\"]\n",
        "",
        "a letter needs someone to write to",
    );
}

#[test]
fn a_campaign_without_notice_audience_or_action_is_none() {
    let text = "schema = 1\nopens = \"2024-01-01\"\nlocale = \"en\"\n[text.en]\ntitle = \"t\"\nsummary = \"s\"\nshare = \"s\"\n";
    let problems = parse(text).unwrap_err().to_string();
    for expect in ["\"notice\" is missing", "there is no [[audience]]", "there is no [[action]]"] {
        assert!(problems.contains(expect), "{problems}");
    }
}

#[test]
fn a_letter_needs_a_draft_for_each_audience() {
    let at = GOOD.rfind("[audience.letter.en]").unwrap();
    let end = GOOD.find("[[consent]]").unwrap();
    let problems = parse(&format!("{}{}", &GOOD[..at], &GOOD[end..])).unwrap_err().to_string();
    assert!(
        problems.contains("audience industry: an action is a letter, and there is no [audience.letter]"),
        "{problems}"
    );
}

#[test]
fn is_open_from_its_first_day_to_its_last() {
    let text = GOOD.replacen("target = 10000", "closes = \"2024-02-01\"", 1);
    let campaign = parse(&text).unwrap();
    let open = |day: &str| campaign.is_open(day.parse().unwrap());
    assert_eq!(["2023-12-31", "2024-01-01", "2024-02-01", "2024-02-02"].map(open), [false, true, true, false]);
    assert_eq!(campaign.kept_until("2024-01-05".parse().unwrap()).to_string(), "2024-05-01", "90 days after it closes");
}
