//! One petition and one letter.

use fondaco_sdk::storage::{self, Entry, Write};
use fondaco_sdk::{
    Action, AdvocacyModule, Campaign, CampaignSummary, Count, Error, EvidenceClass, Input, Notice, Outcome,
    Participation, Result,
};

use crate::{Misfit, has};

const ID: &str = "doors";

fn summary() -> Result<CampaignSummary> {
    Ok(CampaignSummary {
        id: ID.into(),
        title: "Keep the doors open".into(),
        summary: "For those who come late".into(),
        counts: counted()?,
        target: None,
        opens: "2026-01-01".into(),
        closes: None,
    })
}

fn counted() -> Result<Vec<Count>> {
    let n = storage::scan_prefix(b"signed/", 10_000)?.len() as u64;
    Ok(vec![Count { class: EvidenceClass::Unconfirmed, action: "sign".into(), n }])
}

impl AdvocacyModule for Misfit {
    fn running(_: String) -> Result<Vec<CampaignSummary>> {
        Ok(vec![summary()?])
    }
    fn get(id: String, locale: String, audience: Option<String>) -> Result<Campaign> {
        assert!(!(has("locale") && locale.len() > 100), "what a language");
        if (id != ID && !has("any-campaign")) || audience.as_deref().is_some_and(|a| a != "public") {
            return Err(Error::NotFound);
        }
        let input = Input {
            name: "name".into(),
            label: if has("field-label") { String::new() } else { "Your name".into() },
            kind: "text".into(),
            required: true,
            purpose: "to stand under the letter".into(),
        };
        let action = |id: &str, kind: &str, fields| Action {
            id: id.into(),
            kind: kind.into(),
            label: id.into(),
            fields,
            draft: None,
        };
        Ok(Campaign {
            summary: summary()?,
            locale: "en".into(),
            audience: "public".into(),
            audiences: vec!["public".into()],
            body_markdown: "Please.".into(),
            actions: vec![action("sign", "petition", vec![]), action("write", "letter", vec![input])],
            share_text: "Please".into(),
            notice: Notice {
                sponsor: if has("sponsor") { String::new() } else { "We".into() },
                paid: false,
                process: String::new(),
                url: String::new(),
                retention_days: 30,
            },
        })
    }
    fn take_part(p: Participation) -> Result<Outcome> {
        if p.campaign != ID {
            return Err(Error::NotFound);
        }
        if p.session.is_empty() || p.session.len() > 200 {
            return Err(Error::Invalid("a session has 1 to 200 bytes".into()));
        }
        match p.action.as_str() {
            "sign" => {
                let mut key = [b"signed/", p.session.as_bytes()].concat();
                if has("counts-twice") {
                    key.extend(storage::scan_prefix(b"signed/", 10_000)?.len().to_be_bytes());
                }
                if storage::get(&key)?.is_some() {
                    return Ok(Outcome::AlreadyCounted);
                }
                storage::apply(&[Write::Put(Entry { key, value: p.session.into_bytes() })])?;
                Ok(Outcome::Counted)
            }
            "write" => match p.fields.iter().find(|(n, v)| n == "name" && !v.trim().is_empty()) {
                Some((_, name)) => {
                    Ok(Outcome::HandOff(vec![("mail".into(), format!("mailto:x@y.example?body={}", name.len()))]))
                }
                None if has("required") => Ok(Outcome::HandOff(vec![("mail".into(), "mailto:x@y.example".into())])),
                None => Err(Error::Invalid("name is missing".into())),
            },
            _ => Err(Error::NotFound),
        }
    }
    fn leaves(id: String, since: u64) -> Result<Vec<Vec<u8>>> {
        if id != ID {
            return Err(Error::NotFound);
        }
        let since = usize::try_from(since).unwrap_or(usize::MAX);
        let entries = storage::scan_prefix(b"signed/", 10_000)?;
        Ok(entries.into_iter().skip(since).map(|e| if has("leaks-names") { e.value } else { vec![1] }).collect())
    }
    fn counts(id: String) -> Result<Vec<Count>> {
        if id == ID { counted() } else { Err(Error::NotFound) }
    }
}
