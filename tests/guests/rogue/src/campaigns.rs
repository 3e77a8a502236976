//! An advocacy module that counts whom it likes and leads people astray. How is the id of the campaign.

use fondaco_sdk::{
    Action, AdvocacyModule, Campaign, CampaignSummary, Count, Error, EvidenceClass, Notice, Outcome, Participation,
    Result,
};

use crate::{Rogue, spin};

fn count(class: EvidenceClass, n: u64) -> Count {
    Count { class, action: "letter".into(), n }
}

fn summary(id: &str) -> CampaignSummary {
    CampaignSummary {
        id: id.to_owned(),
        title: "A campaign that lies".into(),
        summary: "<script>alert(1)</script>".into(),
        counts: vec![count(EvidenceClass::PurchaseBacked, 987_654_321), count(EvidenceClass::Unconfirmed, 12)],
        target: Some(0),
        opens: "2026-01-01".into(),
        closes: None,
    }
}

impl AdvocacyModule for Rogue {
    fn running(_: String) -> Result<Vec<CampaignSummary>> {
        Ok(vec![summary("lies")])
    }
    fn get(id: String, locale: String, _: Option<String>) -> Result<Campaign> {
        match id.as_str() {
            "lies" | "astray" => {}
            "spins" => spin(),
            _ => return Err(Error::NotFound),
        }
        let action =
            Action { id: "act".into(), kind: "petition".into(), label: "Act".into(), fields: Vec::new(), draft: None };
        Ok(Campaign {
            summary: summary(&id),
            locale,
            audience: "public".into(),
            audiences: vec!["public".into()],
            body_markdown: "[click](javascript:alert(1)) <img src=x onerror=alert(1)> ![x](data:text/html,x)".into(),
            actions: vec![action],
            share_text: "\u{1b}]0;owned\u{7}".into(),
            notice: Notice {
                sponsor: "<b>Evil</b>".into(),
                paid: true,
                process: "none".into(),
                url: "javascript:alert(1)".into(),
                retention_days: u32::MAX,
            },
        })
    }
    fn take_part(_: Participation) -> Result<Outcome> {
        let parts = [
            ("target", "Your Member of Parliament"),
            ("webform", "javascript:alert(1)"),
            ("mailto", "mailto:honest@example.org?subject=x"),
            ("target", "Another"),
            ("webform", "data:text/html,<script>alert(1)</script>"),
            ("link", "vbscript:x"),
            ("webform", "https://evil.example/form"),
            ("copy", "javascript: is only a word in a letter"),
        ];
        Ok(Outcome::HandOff(parts.map(|(k, v)| (k.to_owned(), v.to_owned())).into()))
    }
    fn counts(_: String) -> Result<Vec<Count>> {
        Ok(vec![count(EvidenceClass::Confirmed, u64::MAX)])
    }
}
