//! What people are shown: the campaigns that run, and one of them in the words for one audience.

use fondaco_sdk::{Campaign as Shown, CampaignSummary, Error, Result, Target as ShownTarget, commerce, settings};

use crate::campaign::{Campaign, Kind, Words};
use crate::data::{self, Directory};
use crate::day::{Day, Now};
use crate::fill::{fill, number};
use crate::form;
use crate::name::{Country, Locale, Postcode};
use crate::pack::Target;
use crate::settings::{Settings, base};
use crate::store;

/// The language to answer in.
pub fn locale<'a>(campaign: &'a Campaign, asked: &str) -> &'a Locale {
    campaign.locale_for(asked, &settings::brand().locale)
}

/// The sentence about purchases. The node counts them, and withholds small counts: then there is another sentence.
pub fn proof(campaign: &Campaign, words: &Words, locale: &str) -> String {
    let since = campaign.purchases.since.map(|day| format!("{day}T00:00:00Z"));
    let brand = settings::brand().name;
    match commerce::count_purchases(campaign.purchases.tag.as_deref(), since.as_deref()) {
        Ok(sums) if sums.count > 0 && sums.buyers > 0 => {
            let (purchases, buyers) = (number(sums.count, locale), number(sums.buyers, locale));
            fill(&words.proof, &[("purchases", &purchases), ("buyers", &buyers), ("brand", &brand)])
        }
        _ => fill(&words.without_proof, &[("brand", &brand)]),
    }
}

fn summary(campaign: &Campaign, locale: &Locale) -> Result<CampaignSummary> {
    let text = campaign.text.get(locale).ok_or_else(|| Error::Internal(format!("no text in {locale}")))?;
    Ok(CampaignSummary {
        id: campaign.id.to_string(),
        title: text.title.clone(),
        summary: fill(&text.summary, &[("brand", &settings::brand().name)]),
        counts: store::counts(&campaign.id)?,
        target: campaign.goal,
        opens: campaign.opens.to_string(),
        closes: campaign.closes.map(|day| day.to_string()),
    })
}

/// The campaigns that run on this day, the newest first.
pub fn running(asked: &str, day: Day) -> Result<Vec<CampaignSummary>> {
    let mut open: Vec<Campaign> = data::campaigns()?.into_iter().filter(|c| c.is_open(day)).collect();
    open.sort_by(|a, b| b.opens.cmp(&a.opens).then_with(|| a.id.cmp(&b.id)));
    open.iter().map(|c| summary(c, locale(c, asked))).collect()
}

/// A campaign that has opened; one that is over can still be read.
pub fn opened(id: &str, now: Now) -> Result<Campaign> {
    let campaign = data::campaign(id)?;
    if now.day() < campaign.opens { Err(Error::NotFound) } else { Ok(campaign) }
}

/// The legal notice, with the deployment's own name and address in it.
pub fn notice(campaign: &Campaign) -> fondaco_sdk::Notice {
    let (brand, base) = (settings::brand().name, base());
    let values = [("brand", brand.as_str()), ("base", base.as_str())];
    let notice = &campaign.notice;
    fondaco_sdk::Notice {
        sponsor: fill(&notice.sponsor, &values),
        paid: notice.paid,
        process: notice.process.clone(),
        url: fill(&notice.url, &values),
        retention_days: notice.retention_days,
    }
}

/// One campaign in the words for one audience; an audience that it has not is its first one.
pub fn get(id: &str, asked: &str, audience: Option<&str>, now: Now) -> Result<Shown> {
    let campaign = opened(id, now)?;
    let locale = locale(&campaign, asked);
    let none = || Error::Internal(format!("campaign {} has no audience", campaign.id));
    let audience = campaign.audience(audience).ok_or_else(none)?;
    let words = data::words(audience, locale)?;
    let brand = settings::brand().name;
    let proof = proof(&campaign, words, locale.as_str());
    let values = [("proof", proof.as_str()), ("brand", brand.as_str())];
    let body_markdown = format!(
        "## {}\n\n**{}**\n\n{}\n\n**{}**\n",
        words.title,
        fill(&words.claim, &values),
        fill(words.body.trim(), &values),
        fill(&words.call, &values)
    );
    let by_mail = Settings::read()?.confirm_by_mail;
    // The targets' names are put in when it is known who they are.
    let draft = audience
        .letter
        .get(locale)
        .map(|d| fondaco_sdk::Draft { subject: fill(&d.subject, &values), body: fill(d.body.trim(), &values) });
    let action = |a: &crate::campaign::Action| fondaco_sdk::Action {
        id: a.id.to_string(),
        kind: a.kind.to_string(),
        label: a.label.get(locale).cloned().unwrap_or_default(),
        fields: form::inputs(&campaign, a.kind, locale, by_mail),
        draft: draft.clone().filter(|_| a.kind == Kind::Letter),
    };
    let open = campaign.is_open(now.day());
    let share = campaign.text.get(locale).map(|t| fill(&t.share, &values)).unwrap_or_default();
    Ok(Shown {
        summary: summary(&campaign, locale)?,
        locale: locale.to_string(),
        audience: audience.id.to_string(),
        audiences: campaign.audiences.iter().map(|a| a.id.to_string()).collect(),
        body_markdown,
        actions: campaign.actions.iter().filter(|_| open).map(action).collect(),
        share_text: format!("{share} {}", Settings::read()?.campaign(&campaign.id, None)),
        notice: notice(&campaign),
    })
}

/// Who can be written to: every company, and whoever represents the postcode. Without a country, the companies alone.
pub fn targets(id: &str, country: &str, postcode: &str, now: Now) -> Result<Vec<ShownTarget>> {
    let campaign = opened(id, now)?;
    let country: Option<Country> = optional("country", country)?;
    let postcode: Option<Postcode> = optional("postcode", postcode)?;
    let directory = Directory::of(&campaign)?;
    let shown = |t: &Target| ShownTarget {
        id: t.id.to_string(),
        name: t.name.clone(),
        post: t.post.clone(),
        organisation: t.organisation.clone(),
        division: t.division.as_ref().map(ToString::to_string).unwrap_or_default(),
        channels: t.channels.iter().map(|(c, value)| (c.as_str().to_owned(), value.clone())).collect(),
    };
    Ok(directory.around(country.as_ref(), postcode.as_ref()).into_iter().map(shown).collect())
}

fn optional<T: std::str::FromStr<Err = &'static str>>(name: &str, text: &str) -> Result<Option<T>> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|why| Error::Invalid(format!("{name}: {why}")))
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
