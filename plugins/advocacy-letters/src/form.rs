//! What an action asks for, and what came back: every field is known, bounded and plain before anything is done with it.

use fondaco_sdk::{Error, Input, Result};

use crate::campaign::{Campaign, Kind};
use crate::name::{Country, Locale, Mail, Postcode};
use crate::words;

/// Longest subject, in characters.
pub const MAX_SUBJECT: usize = 150;
/// Longest letter, in characters.
pub const MAX_BODY: usize = 6_000;
const MAX_NAME: usize = 100;

/// The fields of an action, for a page to draw. An input of the kind `consent` is a box to tick: its name goes into
/// the participation's `consents`. A letter's `subject` and `body` are no inputs: the action's draft stands for them.
pub fn inputs(campaign: &Campaign, kind: Kind, locale: &Locale, by_mail: bool) -> Vec<Input> {
    let l = locale.as_str();
    let input = |name: &str, kind: &str, required, label: &str, purpose: &str| Input {
        name: name.to_owned(),
        label: label.to_owned(),
        kind: kind.to_owned(),
        required,
        purpose: purpose.to_owned(),
    };
    match kind {
        Kind::Letter => vec![
            input("name", "text", true, words::name(l), words::name_purpose(l)),
            input("mail", "email", false, words::mail(l), words::mail_in_letter(l)),
            input("postcode", "postcode", false, words::postcode(l), words::postcode_purpose(l)),
        ],
        Kind::Petition | Kind::Pledge if by_mail => {
            let mail = input("mail", "email", false, words::mail(l), words::mail_to_confirm(l));
            let consents = campaign.consents.iter().filter_map(|c| {
                let text = c.text.get(locale)?;
                Some(input(c.id.as_str(), "consent", false, text, words::consent_purpose(l)))
            });
            std::iter::once(mail).chain(consents).collect()
        }
        Kind::Petition | Kind::Pledge | Kind::PurchaseProof | Kind::Share => Vec::new(),
    }
}

/// What a person filled in.
#[derive(Debug, Default)]
pub struct Form {
    /// Who signs a letter.
    pub name: Option<String>,
    /// For an answer, or to confirm.
    pub mail: Option<Mail>,
    /// Where they live.
    pub country: Option<Country>,
    /// Where they live.
    pub postcode: Option<Postcode>,
    /// One line.
    pub subject: Option<String>,
    /// Lines parted by `\n`.
    pub body: Option<String>,
    /// The language of the page that they came from.
    pub locale: Option<Locale>,
    /// The audience of the page that they came from.
    pub audience: Option<String>,
}

fn refuse<T>(text: String) -> Result<T> {
    Err(Error::Invalid(text))
}

impl Form {
    /// Reads the fields of an action. `locale` and `audience` are taken with every action: a page that knows them says
    /// which words the person has read. So is a letter's `country`. Empty fields count as absent; `message` is another
    /// name of `body`.
    pub fn read(fields: &[(String, String)], kind: Kind, by_mail: bool) -> Result<Self> {
        let mut form = Self::default();
        let mut seen: Vec<&str> = Vec::new();
        for (name, value) in fields {
            let name = if name == "message" { "body" } else { name.as_str() };
            let letter = matches!(name, "name" | "mail" | "country" | "postcode" | "subject" | "body");
            let known = matches!(name, "locale" | "audience")
                || (kind == Kind::Letter && letter)
                || (kind.is_signed() && by_mail && name == "mail");
            if !known {
                let name: String = name.chars().take(64).collect();
                return refuse(format!("unknown field {name:?}"));
            }
            if seen.contains(&name) {
                return refuse(format!("field {name:?} is there twice"));
            }
            seen.push(name);
            if !value.trim().is_empty() {
                form.set(name, value)?;
            }
        }
        if kind == Kind::Letter && form.name.is_none() {
            return refuse("field \"name\" is missing: a letter is signed".to_owned());
        }
        Ok(form)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        fn parse<T: std::str::FromStr<Err = &'static str>>(name: &str, value: &str) -> Result<Option<T>> {
            value.parse().map(Some).map_err(|why| Error::Invalid(format!("field {name:?}: {why}")))
        }
        match name {
            "name" => self.name = Some(line(name, value, MAX_NAME)?),
            "mail" => self.mail = parse(name, value)?,
            "country" => self.country = parse(name, value)?,
            "postcode" => self.postcode = parse(name, value)?,
            "subject" => self.subject = Some(line(name, value, MAX_SUBJECT)?),
            "body" => self.body = Some(lines(name, value, MAX_BODY)?),
            "locale" => self.locale = parse(name, value)?,
            _ => self.audience = Some(line(name, value, 64)?),
        }
        Ok(())
    }
}

/// Characters that break a line, or turn the direction of what follows them: they have no place in one line.
fn breaks(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn bounded(name: &str, value: &str, most: usize) -> Result<()> {
    let count = value.chars().count();
    if count > most {
        return refuse(format!("field {name:?} has {count} characters, and at most {most} are taken"));
    }
    Ok(())
}

fn line(name: &str, value: &str, most: usize) -> Result<String> {
    bounded(name, value, most)?;
    if value.chars().any(breaks) {
        return refuse(format!("field {name:?} has a line break or a control character"));
    }
    Ok(value.trim().to_owned())
}

fn lines(name: &str, value: &str, most: usize) -> Result<String> {
    // Browsers send CRLF for every line break of a text area.
    let value = value.replace("\r\n", "\n");
    bounded(name, &value, most)?;
    if value.chars().any(|c| c != '\n' && c != '\t' && breaks(c)) {
        return refuse(format!("field {name:?} has a control character"));
    }
    Ok(value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(kind: Kind, by_mail: bool, fields: &[(&str, &str)]) -> String {
        let fields: Vec<_> = fields.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        match Form::read(&fields, kind, by_mail) {
            Err(Error::Invalid(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn refuses_each_field_that_is_unknown_doubled_too_long_or_not_plain() {
        let letter = |fields: &[(&str, &str)]| refused(Kind::Letter, false, fields);
        assert_eq!(letter(&[]), "field \"name\" is missing: a letter is signed");
        assert_eq!(letter(&[("name", "  ")]), "field \"name\" is missing: a letter is signed");
        assert_eq!(letter(&[("shoe-size", "")]), "unknown field \"shoe-size\"");
        assert_eq!(letter(&[("message", "a"), ("body", "b")]), "field \"body\" is there twice");
        for bad in ["A\r\nBcc: x@y.example", "A\nB", "A\u{0}", "A\u{2028}B", "A\u{202e}B"] {
            assert_eq!(letter(&[("name", bad)]), "field \"name\" has a line break or a control character", "{bad:?}");
            assert_eq!(letter(&[("subject", bad)]), "field \"subject\" has a line break or a control character");
        }
        assert_eq!(letter(&[("message", "a\u{8}")]), "field \"body\" has a control character");
        assert_eq!(letter(&[("message", "a\rb")]), "field \"body\" has a control character");
        let most = |n: usize| "é".repeat(n);
        assert_eq!(letter(&[("name", &most(101))]), "field \"name\" has 101 characters, and at most 100 are taken");
        assert!(letter(&[("subject", &most(151))]).contains("at most 150"));
        assert!(letter(&[("message", &most(6_001))]).contains("at most 6000"));
        assert!(
            letter(&[("mail", "a@b.example\r\nBcc: c@d.example")]).starts_with("field \"mail\": write a mail address")
        );
        assert!(letter(&[("country", "France")]).starts_with("field \"country\""));
        assert!(letter(&[("postcode", "!")]).starts_with("field \"postcode\""));
        assert!(letter(&[("locale", "English")]).starts_with("field \"locale\""));
    }

    #[test]
    fn a_petition_asks_for_a_mail_address_only_where_it_is_used() {
        assert_eq!(refused(Kind::Petition, false, &[("mail", "a@b.example")]), "unknown field \"mail\"");
        assert_eq!(refused(Kind::Petition, true, &[("name", "Ann")]), "unknown field \"name\"");
        assert_eq!(refused(Kind::Share, true, &[("mail", "a@b.example")]), "unknown field \"mail\"");
        let fields = [("mail".to_owned(), " Ann@Shop.Example ".to_owned())];
        let form = Form::read(&fields, Kind::Pledge, true).unwrap();
        assert_eq!(form.mail.unwrap().as_str(), "ann@shop.example");
    }

    #[test]
    fn a_letter_may_have_lines_and_its_bounds_are_inclusive() {
        let fields = |message: String| [("name".to_owned(), "n".repeat(100)), ("message".to_owned(), message)];
        let form = Form::read(&fields("a\r\n\r\n\tb\n".into()), Kind::Letter, false).unwrap();
        assert_eq!(form.body.as_deref(), Some("a\n\n\tb"));
        assert!(Form::read(&fields("x".repeat(MAX_BODY)), Kind::Letter, false).is_ok());
    }
}
