//! Taking part in a campaign: finding the addressees, filling in the form, and handing the ready letter over. Nothing is
//! ever sent for the visitor.

use fondaco_sdk::{Action, Campaign, Error, Outcome, Participation, Response, Target, campaigns};
use http::StatusCode;
use maud::{Markup, html};

use crate::campaign::{self, MAX_NAME};
use crate::fields::{self, Asked};
use crate::markdown::is_safe_link;
use crate::page::{Head, Page, Section};
use crate::text::fill;

/// Names under which a letter's two parts are posted, where the action comes with a draft.
const SUBJECT: &str = "subject";
const BODY: &str = "body";
/// Addressees that one letter can be for.
const MAX_TARGETS: usize = 200;

/// What the visitor has tried so far on a campaign's page.
#[derive(Default)]
pub struct Attempt {
    /// From where the visitor came: the advertisement or poster.
    pub placement: Option<String>,
    /// The action whose form was sent.
    pub action: Option<String>,
    /// Country and postcode that were looked up.
    pub place: Option<(String, String)>,
    /// What was filled in.
    pub given: Vec<(String, String)>,
    /// What was wrong with it.
    pub wrong: Option<String>,
}

impl Attempt {
    fn read(page: &Page) -> Self {
        let given = page.request.form();
        let one = |name: &str| {
            Some(fields::value_of(&given, name).trim().to_owned()).filter(|v| !v.is_empty() && v.len() <= MAX_NAME)
        };
        let place = one("postcode").map(|postcode| (one("country").unwrap_or_default().to_uppercase(), postcode));
        Self { placement: one("placement"), action: one("action"), place, wrong: None, given }
    }
}

/// `POST /campaigns/<id>/targets`: the page again, with the addressees for a postcode.
pub fn find(page: &Page, id: &str) -> Response {
    let attempt = Attempt::read(page);
    match campaign::get(page, id, audience(page)) {
        Ok(found) => campaign::view(page, &found, &attempt),
        Err(e) => campaign::unavailable(page, &e),
    }
}

fn audience(page: &Page) -> Option<String> {
    page.request.field("audience").or_else(|| page.request.query("audience"))
}

/// `POST /campaigns/<id>/act`
pub fn act(page: &Page, id: &str) -> Response {
    let mut attempt = Attempt::read(page);
    let found = match campaign::get(page, id, audience(page)) {
        Ok(found) => found,
        Err(e) => return campaign::unavailable(page, &e),
    };
    let Some(action) = found.actions.iter().find(|a| Some(&a.id) == attempt.action.as_ref()) else {
        return page.see_other(&campaign::path(id, "", &found.audience, attempt.placement.as_deref()));
    };
    match campaigns::take_part(&participation(page, &found, action, &attempt)) {
        Ok(outcome) => done(page, &found, &attempt, &outcome),
        Err(Error::Invalid(why)) => {
            attempt.wrong = Some(why);
            campaign::view(page, &found, &attempt).status(StatusCode::UNPROCESSABLE_ENTITY)
        }
        Err(e) => campaign::unavailable(page, &e),
    }
}

fn participation(page: &Page, campaign: &Campaign, action: &Action, attempt: &Attempt) -> Participation {
    let value = |name: &str| fields::value_of(&attempt.given, name).trim().to_owned();
    let is_consent = |kind: &str| kind == "consent";
    let mut filled: Vec<(String, String)> =
        action.fields.iter().filter(|f| !is_consent(&f.kind)).map(|f| (f.name.clone(), value(&f.name))).collect();
    if action.draft.is_some() {
        for part in [SUBJECT, BODY] {
            if !filled.iter().any(|(name, _)| name == part) {
                // Browsers send line ends as CRLF; letters are kept with the plain ones.
                filled.push((part.to_owned(), value(part).replace("\r\n", "\n")));
            }
        }
    }
    let ticked = action.fields.iter().filter(|f| is_consent(&f.kind) && !value(&f.name).is_empty());
    let targets = attempt.given.iter().filter(|(name, _)| name == "target").take(MAX_TARGETS);
    Participation {
        campaign: campaign.summary.id.clone(),
        action: action.id.clone(),
        session: page.request.session().to_owned(),
        fields: filled,
        targets: targets.map(|(_, id)| id.clone()).collect(),
        consents: ticked.map(|f| f.name.clone()).collect(),
        placement: attempt.placement.clone(),
        token: None,
    }
}

/// What can be done, each as a form.
pub fn actions(page: &Page, campaign: &Campaign, attempt: &Attempt) -> Markup {
    let (country, postcode) = attempt.place.as_ref().map_or(("", ""), |(c, p)| (c, p));
    let letters = campaign.actions.iter().any(|a| a.kind == "letter");
    let targets = if letters { campaigns::targets(&campaign.summary.id, country, postcode) } else { Ok(Vec::new()) };
    html! {
        div.actions id="act" {
            @if letters { (postcode_form(page, campaign, attempt, targets.as_ref().map(Vec::len))) }
            @for (i, action) in campaign.actions.iter().enumerate() {
                @if action.kind != "share" || !action.fields.is_empty() {
                    (form(page, campaign, action, attempt, i, targets.as_deref().unwrap_or_default()))
                }
            }
        }
    }
}

fn postcode_form(page: &Page, campaign: &Campaign, attempt: &Attempt, found: Result<usize, &Error>) -> Markup {
    let t = page.t;
    let (country, postcode) = attempt.place.as_ref().map_or((page.settings.country.as_str(), ""), |(c, p)| (c, p));
    let wrong = match (&attempt.place, found) {
        (Some(_), Err(Error::Invalid(why))) => Some(fill(t.form_wrong, &[why])),
        (Some(_), Ok(0) | Err(_)) => Some(t.no_targets.to_owned()),
        _ => None,
    };
    let action = campaign::path(&campaign.summary.id, "/targets", &campaign.audience, attempt.placement.as_deref());
    html! {
        form.panel method="post" action=(page.link(format!("{action}#act"))) aria-labelledby="find" {
            (page.csrf())
            (kept(campaign, attempt))
            h2 id="find" { (t.find_targets) }
            div.row {
                div.field.short {
                    label for="country" { (t.country) }
                    input id="country" name="country" value=(country) required maxlength="2" pattern="[A-Za-z]{2}" autocomplete="country" aria-describedby="country-help";
                    span.help id="country-help" { (t.country_help) }
                }
                div.field {
                    label for="postcode" { (t.postcode) }
                    input id="postcode" name="postcode" value=(postcode) required maxlength="16" autocomplete="postal-code"
                        aria-describedby={ "postcode-help" @if wrong.is_some() { " postcode-wrong" } } aria-invalid=[wrong.as_ref().map(|_| "true")];
                    span.help id="postcode-help" { (t.postcode_help) }
                    @if let Some(wrong) = &wrong { span.wrong id="postcode-wrong" role="alert" { (wrong) } }
                }
            }
            button.plain type="submit" { (t.find) }
        }
    }
}

fn kept(campaign: &Campaign, attempt: &Attempt) -> Markup {
    html! {
        input type="hidden" name="audience" value=(campaign.audience);
        @if let Some(placement) = &attempt.placement { input type="hidden" name="placement" value=(placement); }
    }
}

fn form(
    page: &Page,
    campaign: &Campaign,
    action: &Action,
    attempt: &Attempt,
    number: usize,
    targets: &[Target],
) -> Markup {
    let t = page.t;
    let heading = format!("action-{number}");
    let own = attempt.action.as_ref() == Some(&action.id);
    let given: &[(String, String)] = if own { &attempt.given } else { &[] };
    let wrong = attempt.wrong.as_deref().filter(|_| own);
    let has = |name: &str| action.fields.iter().any(|f| f.name == name);
    let path = campaign::path(&campaign.summary.id, "/act", &campaign.audience, attempt.placement.as_deref());
    let part = |name, label, kind, draft: &str, help| {
        let value = if own { fields::value_of(given, name) } else { draft };
        fields::input(t, &Asked { name, label, kind, required: true, help, value, wrong: None })
    };
    html! {
        form.panel method="post" action=(page.link(path)) aria-labelledby=(heading) {
            (page.csrf())
            (kept(campaign, attempt))
            input type="hidden" name="action" value=(action.id);
            @if let Some((country, postcode)) = &attempt.place {
                @if !has("country") { input type="hidden" name="country" value=(country); }
                @if !has("postcode") { input type="hidden" name="postcode" value=(postcode); }
            }
            h2 id=(heading) { (action.label) }
            @if action.kind == "letter" && !targets.is_empty() { (addressees(page, targets, given, attempt.place.is_some())) }
            @for field in &action.fields {
                (fields::input(t, &Asked {
                    name: &field.name, label: &field.label, kind: &field.kind, required: field.required, help: &field.purpose,
                    value: fields::value_of(given, &field.name),
                    wrong: wrong.filter(|why| fields::is_about(why, &field.name, &field.label, action.fields.len())),
                }))
            }
            @if let Some(draft) = &action.draft {
                @if !has(SUBJECT) { (part(SUBJECT, t.letter_subject, "text", &draft.subject, "")) }
                @if !has(BODY) { (part(BODY, t.letter_body, "textarea", &draft.body, t.letter_help)) }
            }
            button.buy type="submit" aria-describedby=(heading) { (t.take_part) }
        }
    }
}

fn addressees(page: &Page, targets: &[Target], given: &[(String, String)], looked_up: bool) -> Markup {
    let t = page.t;
    let chosen = |id: &str| given.iter().any(|(name, value)| name == "target" && value == id);
    let untouched = !given.iter().any(|(name, _)| name == "target");
    html! {
        fieldset.targets {
            legend { (t.targets_legend) }
            @if looked_up && targets.len() > 1 { p.help { (t.targets_choose) } }
            ul {
                @for target in targets.iter().take(MAX_TARGETS) {
                    li { label {
                        input type="checkbox" name="target" value=(target.id) checked[chosen(&target.id) || (untouched && targets.len() == 1)];
                        span { (target.name)
                            @let about = [&target.post, &target.organisation];
                            @for (i, part) in about.into_iter().filter(|p| !p.is_empty() && **p != target.name).enumerate() {
                                span.quiet { (if i == 0 { " · " } else { ", " }) (part) }
                            }
                        }
                    } }
                }
            }
        }
    }
}

/// A letter to one addressee, with the ways to send it.
struct Letter<'a> {
    to: &'a str,
    ways: Vec<(&'a str, &'a str)>,
}

/// Puts the ways of a hand-off together by addressee: `target` names the one whom the following are for. A label of
/// another kind that no addressee goes before stands for itself.
fn letters(parts: &[(String, String)]) -> Vec<Letter<'_>> {
    let mut out: Vec<Letter> = Vec::new();
    for (kind, value) in parts.iter().take(MAX_TARGETS * 8) {
        match (kind.as_str(), out.last_mut()) {
            ("target", _) => out.push(Letter { to: value, ways: Vec::new() }),
            (kind, Some(letter)) if KINDS.contains(&kind) => letter.ways.push((kind, value)),
            (kind, _) => out.push(Letter { to: kind, ways: vec![(guess(value), value)] }),
        }
    }
    out
}

/// Ways that a hand-off names.
const KINDS: [&str; 6] = ["mailto", "webform", "phone", "note", "copy", "print"];

fn guess(value: &str) -> &'static str {
    match value {
        mail if mail.starts_with("mailto:") => "mailto",
        web if is_safe_link(web) => "webform",
        _ => "copy",
    }
}

fn handed(page: &Page, number: usize, letter: &Letter) -> Markup {
    let t = page.t;
    let id = format!("letter-{number}");
    let way = |kind: &str| letter.ways.iter().find(|(k, _)| *k == kind).map(|(_, value)| *value);
    let mail = way("mailto").filter(|m| m.starts_with("mailto:") && is_safe_link(m));
    let web = way("webform").filter(|w| is_safe_link(w) && !w.starts_with("mailto:"));
    let text = way("copy").map(str::to_owned).or_else(|| mail.and_then(|m| m.strip_prefix("mailto:")).map(letter_of));
    html! {
        section.panel.letter aria-labelledby={ (id) "-to" } {
            h2.lines id={ (id) "-to" } { (letter.to) }
            @for (_, note) in letter.ways.iter().filter(|(kind, _)| *kind == "note") { p.lines { (note) } }
            @if mail.is_some() || web.is_some() {
                p.acts {
                    @if let Some(mail) = mail {
                        a.button.buy href=(mail) { (t.mail_open) span.visually-hidden { ": " (letter.to) } }
                    }
                    @if let Some(web) = web {
                        a.button.buy href=(web) rel="noopener noreferrer" { (t.form_open) span.visually-hidden { ": " (letter.to) } }
                    }
                }
            }
            @if let Some(phone) = way("phone") { p { (t.phone) (phone) } }
            @if let Some(text) = &text {
                div.field {
                    label.visually-hidden for=(id) { (fill(t.letter_text, &[letter.to])) }
                    textarea id=(id) readonly rows="14" data-copy=(t.copy) data-copied=(t.copied) { "\n" (text) }
                }
            }
            // A text area is cut off on paper; this is for the printer.
            @if let Some(text) = way("print").or(text.as_deref()) {
                div.print-only aria-hidden="true" { p.lines { (text) } }
            }
        }
    }
}

/// Subject and body of a `mailto:` address (RFC 6068), below each other.
fn letter_of(address: &str) -> String {
    let (to, query) = address.split_once('?').unwrap_or((address, ""));
    let mut out = percent_decoded(to);
    for name in ["subject=", "body="] {
        if let Some(part) = query.split('&').find_map(|p| p.strip_prefix(name)) {
            out.push_str("\n\n");
            out.push_str(&percent_decoded(part).replace("\r\n", "\n"));
        }
    }
    out
}

/// RFC 3986 escapes only: in a `mailto:` address a plus sign is a plus sign.
fn percent_decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| *first == b'%').and_then(|h| std::str::from_utf8(h).ok());
        if let Some(byte) = code.and_then(|h| u8::from_str_radix(h, 16).ok()) {
            out.push(byte);
            rest = after.get(2..).unwrap_or_default();
        } else {
            out.push(*first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn done(page: &Page, campaign: &Campaign, attempt: &Attempt, outcome: &Outcome) -> Response {
    let t = page.t;
    let title = match outcome {
        Outcome::Counted => t.outcome_counted,
        Outcome::ConfirmByMail => t.outcome_mail,
        Outcome::AlreadyCounted => t.outcome_already,
        Outcome::HandOff(_) => t.outcome_letter,
    };
    let content = html! {
        div.narrow.outcome {
            p.kind { (campaign.summary.title) }
            h1 { (title) }
            @if let Outcome::HandOff(parts) = outcome {
                p.lead { (t.outcome_letter_text) }
                @for (i, letter) in letters(parts).iter().enumerate() { (handed(page, i, letter)) }
                p.quiet { (t.print_hint) }
            }
            p { a.button.plain href=(page.link(campaign::path(&campaign.summary.id, "", &campaign.audience, attempt.placement.as_deref()))) { (t.back_to_campaign) } }
        }
    };
    page.show(&Head::private(title, Section::Campaigns), &content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn puts_the_ways_together_by_addressee() {
        let parts =
            [("target", "Ann"), ("mailto", "mailto:a@b"), ("copy", "x"), ("target", "Bo"), ("print", "y"), ("Cy", "z")];
        let parts = parts.map(|(k, v)| (k.to_owned(), v.to_owned()));
        let found: Vec<_> = letters(&parts).into_iter().map(|l| (l.to, l.ways)).collect();
        let ann = ("Ann", vec![("mailto", "mailto:a@b"), ("copy", "x")]);
        assert_eq!(found, [ann, ("Bo", vec![("print", "y")]), ("Cy", vec![("copy", "z")])]);
    }

    #[test]
    fn reads_a_letter_back_from_its_mail_address() {
        let address = "a%2Bb@x.example?subject=Hello%20you&body=one%0D%0Atwo%20%26%20caf%C3%A9+%zz";
        assert_eq!(letter_of(address), "a+b@x.example\n\nHello you\n\none\ntwo & café+%zz");
        assert_eq!(letter_of("x@y"), "x@y");
    }
}
