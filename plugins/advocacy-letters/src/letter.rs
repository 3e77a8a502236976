//! A ready letter, and the ways in which a person sends it. Nothing is sent for anyone: what leaves is theirs.

use fondaco_sdk::encode;

use crate::campaign::Draft;
use crate::fill::fill;
use crate::form::{Form, MAX_SUBJECT};
use crate::name::{Country, Mail, Postcode};
use crate::pack::{Channel, Target};
use crate::words;

/// Longest `mailto:` link, in bytes. RFC 6068 sets none; some mail programs are started through a command line that
/// takes little more than 2,000.
pub const MAX_LINK: usize = 2_000;

/// A letter to one target.
#[derive(Debug)]
pub struct Letter<'a> {
    target: &'a Target,
    subject: String,
    /// With the signature; lines parted by `\n`.
    body: String,
}

/// Makes the person's words, or the draft, into a letter to `target`.
pub fn compose<'a>(target: &'a Target, draft: &Draft, form: &Form, proof: &str, brand: &str) -> Letter<'a> {
    let name = form.name.as_deref().unwrap_or_default();
    let values = [
        ("target", target.name.as_str()),
        ("post", &target.post),
        ("organisation", &target.organisation),
        ("name", name),
        ("proof", proof),
        ("brand", brand),
    ];
    let subject = fill(form.subject.as_deref().unwrap_or(&draft.subject), &values);
    let text = fill(form.body.as_deref().unwrap_or(draft.body.trim()), &values);
    let mut body = format!("{text}\n\n{name}");
    let place = [form.postcode.as_ref().map(Postcode::as_str), form.country.as_ref().map(Country::as_str)];
    let place: Vec<&str> = place.into_iter().flatten().collect();
    for line in [place.join(" ").as_str(), form.mail.as_ref().map(Mail::as_str).unwrap_or_default()] {
        if !line.is_empty() {
            body.push('\n');
            body.push_str(line);
        }
    }
    // Placeholders can make it longer than what a person may type. Whatever they held, a subject has one line.
    let subject = subject.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_SUBJECT * 2).collect();
    Letter { target, subject, body }
}

impl Letter<'_> {
    /// The ways to send it, as (kind, value): `target` says whom the following are for; then `mailto`, `webform` and
    /// `phone` as far as the target has them, a `note` where something is to be said, `copy` and `print`.
    pub fn hand_off(&self, day: &str, locale: &str) -> Vec<(String, String)> {
        let way = |kind: &str, value: String| (kind.to_owned(), value);
        let mut ways = vec![way("target", self.addressee())];
        if let Some(address) = self.target.channels.get(&Channel::Mail) {
            let link = mailto(address, &self.subject, Some(&self.body));
            if link.len() <= MAX_LINK {
                ways.push(way("mailto", link));
            } else {
                ways.push(way("mailto", mailto(address, &self.subject, None)));
                ways.push(way("note", words::too_long(locale).to_owned()));
            }
        }
        for channel in [Channel::Webform, Channel::Phone] {
            let value = self.target.channels.get(&channel);
            ways.extend(value.map(|v| way(channel.as_str(), v.clone())));
        }
        ways.push(way("copy", format!("{}\n\n{}", self.subject, self.body)));
        ways.push(way("print", self.print(day, locale)));
        ways
    }

    fn addressee(&self) -> String {
        let Target { name, organisation, .. } = self.target;
        if name == organisation { name.clone() } else { format!("{name}, {organisation}") }
    }

    /// As it goes into an envelope.
    fn print(&self, day: &str, locale: &str) -> String {
        let t = self.target;
        let mut lines: Vec<&str> = vec![&t.name];
        lines.extend([t.post.as_str(), t.organisation.as_str()].into_iter().filter(|l| !l.is_empty() && *l != t.name));
        lines.extend(t.channels.get(&Channel::Postal).into_iter().flat_map(|p| p.lines()));
        format!("{}\n\n{day}\n\n{} {}\n\n{}\n", lines.join("\n"), words::re(locale), self.subject, self.body)
    }
}

/// A `mailto:` link (RFC 6068 §2). Line breaks in the body are CRLF (§5); every byte that is not unreserved in a URI is
/// escaped, so that nothing in a text can begin another header.
fn mailto(address: &str, subject: &str, body: Option<&str>) -> String {
    let (local, domain) = address.split_once('@').unwrap_or((address, ""));
    let mut link = format!("mailto:{}@{}?subject={}", encode(local), encode(domain), encode(subject));
    if let Some(body) = body {
        link.push_str("&body=");
        link.push_str(&encode(&body.replace('\n', "\r\n")));
    }
    link
}

#[cfg(test)]
#[path = "letter_tests.rs"]
mod tests;
