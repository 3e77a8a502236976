//! What the tests share: a node with this plugin's own assets, and people who take part.

use std::path::Path;

use fondaco_sdk::commerce::Purchases;
use fondaco_sdk::{Count, Error, Outcome, Participation, Result, fake};

use crate::day::Now;
use crate::taking::take_part;

/// A day on which the shipped campaign runs.
pub fn today() -> Now {
    Now::noon("2026-03-01")
}

/// A node with everything that lies in `assets/`.
pub fn node() -> fake::Host {
    let host = fake::Host::install();
    for folder in ["campaigns", "targets"] {
        for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(folder)).unwrap() {
            let path = file.unwrap().path();
            let name = format!("{folder}/{}", path.file_name().unwrap().to_str().unwrap());
            host.asset(&name, std::fs::read(&path).unwrap());
        }
    }
    host
}

/// The same, with signatures confirmed by mail.
pub fn node_with_mail() -> fake::Host {
    let host = node();
    host.settings(&serde_json::json!({ "confirm-by-mail": true }));
    host
}

/// Answers sums of purchases.
pub struct Sold(pub u64, pub u64);

impl fake::Commerce for Sold {
    fn count_purchases(&mut self, _: Option<&str>, _: Option<&str>) -> Result<Purchases> {
        Ok(Purchases { count: self.0, buyers: self.1, gross: Vec::new(), proof: String::new() })
    }
}

/// Someone who takes part.
pub fn part(action: &str, session: &str, fields: &[(&str, &str)], targets: &[&str]) -> Participation {
    Participation {
        campaign: "your-customers".into(),
        action: action.into(),
        session: session.into(),
        fields: fields.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        targets: targets.iter().map(|t| (*t).to_owned()).collect(),
        consents: Vec::new(),
        placement: None,
        token: None,
    }
}

/// A signature with a mail address and the consent that it needs.
pub fn signed(session: &str, mail: &str) -> Participation {
    let mut p = part("sign", session, &[("mail", mail)], &[]);
    p.consents.push("political-opinion".into());
    p
}

/// The ways of a letter.
pub fn ways(p: &Participation) -> Vec<(String, String)> {
    match take_part(p, today()).unwrap() {
        Outcome::HandOff(ways) => ways,
        other => panic!("{other:?}"),
    }
}

/// The text with which something is refused.
pub fn refusal<T: std::fmt::Debug>(result: Result<T>) -> String {
    match result {
        Err(Error::Invalid(text)) => text,
        other => panic!("{other:?}"),
    }
}

/// The counts of the shipped campaign, as (class, action, number).
pub fn counted() -> Vec<(&'static str, String, u64)> {
    let shown = |c: Count| (crate::store::class_name(c.class), c.action, c.n);
    crate::store::counts(&"your-customers".parse().unwrap()).unwrap().into_iter().map(shown).collect()
}

/// What a URI's percent-escapes stand for (RFC 3986 §2.1).
pub fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first == b'%' {
            let hex = std::str::from_utf8(&tail[..2]).unwrap();
            bytes.push(u8::from_str_radix(hex, 16).unwrap());
            rest = &tail[2..];
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).unwrap()
}
