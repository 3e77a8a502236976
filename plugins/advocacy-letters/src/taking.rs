//! Taking part: what is refused, what is counted, and what is handed back.

use fondaco_sdk::{Error, EvidenceClass, Outcome, Participation, Result};
use serde::{Deserialize, Serialize};

use crate::campaign::{Action, Campaign, Kind};
use crate::data::{self, Directory};
use crate::day::{Day, Now};
use crate::form::Form;
use crate::letter::compose;
use crate::name::{Locale, Placement};
use crate::pack::Target;
use crate::settings::Settings;
use crate::signature::{self, Given, Signing};
use crate::store::{Plan, Tally, commit, pseudonym, sweep};
use crate::view;

/// Targets of one letter action.
const MAX_TARGETS: usize = 20;
/// Targets that one session writes to in one action, in all.
const MAX_WRITTEN: usize = 200;
/// Mail addresses that one session signs with: enough to mend a slip of the fingers.
const MAX_MAILS: u32 = 3;

/// What is kept on a session and an action, so that nobody is counted twice. The session stands in its key as a hash.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Seen {
    until: Option<Day>,
    counted: bool,
    /// Who was written to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    targets: Vec<String>,
    /// How many addresses were signed with.
    #[serde(default)]
    mails: u32,
}

fn refuse<T>(text: impl Into<String>) -> Result<T> {
    Err(Error::Invalid(text.into()))
}

fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

/// Someone who takes part, checked.
struct Part<'a> {
    campaign: &'a Campaign,
    action: &'a Action,
    placement: Option<Placement>,
    form: Form,
    locale: &'a Locale,
    /// Where the session's traces are.
    seen: String,
    now: Now,
}

/// Takes part. Nothing is counted that is refused.
pub fn take_part(p: &Participation, now: Now) -> Result<Outcome> {
    let campaign = data::campaign(&p.campaign)?;
    if !campaign.is_open(now.day()) {
        let when =
            if now.day() < campaign.opens { format!("opens on {}", campaign.opens) } else { "is over".to_owned() };
        return refuse(format!("campaign {} {when}", campaign.id));
    }
    let Some(action) = campaign.actions.iter().find(|a| a.id.as_str() == p.action) else {
        return refuse(format!("campaign {} has no action {:?}", campaign.id, shown(&p.action)));
    };
    if p.session.is_empty() || p.session.len() > 256 {
        return refuse("the session must have 1 to 256 bytes");
    }
    check_token(p, action)?;
    let placement = p.placement.as_deref().filter(|p| !p.is_empty()).map(str::parse::<Placement>).transpose();
    let placement = placement.map_err(|why| Error::Invalid(format!("placement: {why}")))?;
    for consent in &p.consents {
        if !campaign.consents.iter().any(|c| c.id.as_str() == consent) {
            return refuse(format!("campaign {} knows no consent {:?}", campaign.id, shown(consent)));
        }
    }
    if action.kind != Kind::Letter && !p.targets.is_empty() {
        return refuse(format!("action {} writes to nobody: leave the targets out", action.id));
    }
    let by_mail = Settings::read()?.confirm_by_mail;
    let form = Form::read(&p.fields, action.kind, by_mail)?;
    sweep(now.day())?;
    let locale = view::locale(&campaign, form.locale.as_ref().map(Locale::as_str).unwrap_or_default());
    let seen = format!("seen/{}/{}/{}", campaign.id, action.id, pseudonym("sessions", &p.session)?);
    let part = Part { campaign: &campaign, action, placement, form, locale, seen, now };
    match action.kind {
        Kind::Letter => part.letter(&p.targets),
        Kind::Petition | Kind::Pledge if part.form.mail.is_some() => part.signature(&p.consents),
        Kind::Petition | Kind::Pledge | Kind::Share => part.unconfirmed(),
        Kind::PurchaseProof => Err(Error::Internal("a proof of purchase came past its check".into())),
    }
}

/// No node issues proofs of single purchases that this plugin could check; what it cannot check it does not count.
fn check_token(p: &Participation, action: &Action) -> Result<()> {
    match (action.kind, &p.token) {
        (Kind::PurchaseProof, _) => Err(Error::Unavailable(
            "this node issues no proofs of single purchases; purchases are shown as sums".to_owned(),
        )),
        (_, Some(_)) => refuse(format!("action {} takes no proof of purchase: leave it out", action.id)),
        (_, None) => Ok(()),
    }
}

impl Part<'_> {
    fn read_seen(&self, plan: &mut Plan) -> Result<Seen> {
        let seen: Option<Seen> = plan.get(&self.seen)?;
        Ok(seen.filter(|s| s.until.is_some_and(|until| until >= self.now.day())).unwrap_or_default())
    }

    fn write_seen(&self, plan: &mut Plan, mut seen: Seen) -> Result<()> {
        let until = self.campaign.kept_until(self.now.day());
        if seen.until != Some(until) {
            plan.keep_until(&self.seen, until);
            seen.until = Some(until);
        }
        plan.put(&self.seen, &seen)
    }

    fn count(&self, plan: &mut Plan) -> Result<()> {
        let tally = Tally {
            campaign: &self.campaign.id,
            action: &self.action.id,
            class: EvidenceClass::Unconfirmed,
            placement: self.placement.as_ref(),
        };
        plan.count(tally, self.now.day()).map(drop)
    }

    fn unconfirmed(&self) -> Result<Outcome> {
        commit(|plan| {
            let mut seen = self.read_seen(plan)?;
            if seen.counted {
                return Ok(Outcome::AlreadyCounted);
            }
            // Who has a mail to open is counted by opening it, and not in another class as well.
            if seen.mails > 0 {
                return Ok(Outcome::ConfirmByMail);
            }
            seen.counted = true;
            self.count(plan)?;
            self.write_seen(plan, seen)?;
            Ok(Outcome::Counted)
        })
    }

    fn signature(&self, consents: &[String]) -> Result<Outcome> {
        let Some(mail) = &self.form.mail else { return refuse("field \"mail\" is missing") };
        let given = |id: &str| consents.iter().any(|c| c == id);
        if let Some(missing) = self.campaign.consents.iter().find(|c| c.required && !given(c.id.as_str())) {
            return refuse(format!("consent {:?} is needed: without it no address is taken", missing.id.as_str()));
        }
        let given = self.campaign.consents.iter().filter(|c| given(c.id.as_str())).map(|c| Given::new(c, self.locale));
        let signing = Signing {
            campaign: self.campaign,
            action: self.action,
            mail,
            locale: self.locale,
            consents: given.collect(),
            placement: self.placement.as_ref(),
        };
        let message = commit(|plan| {
            let mut seen = self.read_seen(plan)?;
            if seen.counted {
                return Ok(None);
            }
            if seen.mails >= MAX_MAILS {
                return Err(Error::Exhausted(format!("one visitor signs with at most {MAX_MAILS} addresses")));
            }
            seen.mails = seen.mails.saturating_add(1);
            self.write_seen(plan, seen)?;
            signature::sign(&signing, plan, self.now).map(Some)
        })?;
        let Some(message) = message else { return Ok(Outcome::AlreadyCounted) };
        // Stored first: a mail whose link leads nowhere would be worse than a second request for one.
        signature::send(&message)?;
        Ok(Outcome::ConfirmByMail)
    }

    fn letter(&self, ids: &[String]) -> Result<Outcome> {
        let directory = Directory::of(self.campaign)?;
        let targets = choose(&directory, ids)?;
        let missing = || Error::Internal(format!("campaign {} has no letter", self.campaign.id));
        let audience = self.campaign.audience(self.form.audience.as_deref()).ok_or_else(missing)?;
        let draft = audience.letter.get(self.locale).ok_or_else(missing)?;
        let proof = view::proof(self.campaign, data::words(audience, self.locale)?, self.locale.as_str());
        let brand = fondaco_sdk::settings::brand().name;
        let written = commit(|plan| {
            let mut seen = self.read_seen(plan)?;
            let new: Vec<String> =
                targets.iter().map(|t| t.id.to_string()).filter(|id| !seen.targets.contains(id)).collect();
            if seen.counted && new.is_empty() {
                return Ok(false);
            }
            seen.targets.extend(new);
            if seen.targets.len() > MAX_WRITTEN {
                return Err(Error::Exhausted(format!("one visitor writes to at most {MAX_WRITTEN} targets")));
            }
            // A second letter to somebody else is a second letter, and still one person.
            if !seen.counted {
                seen.counted = true;
                self.count(plan)?;
            }
            self.write_seen(plan, seen)?;
            Ok(true)
        })?;
        if !written {
            return Ok(Outcome::AlreadyCounted);
        }
        let day = self.now.day().to_string();
        let ways = targets
            .iter()
            .flat_map(|t| compose(t, draft, &self.form, &proof, &brand).hand_off(&day, self.locale.as_str()));
        Ok(Outcome::HandOff(ways.collect()))
    }
}

fn choose<'a>(directory: &'a Directory, ids: &[String]) -> Result<Vec<&'a Target>> {
    if ids.is_empty() {
        return refuse("choose whom to write to");
    }
    if ids.len() > MAX_TARGETS {
        return refuse(format!(
            "{} targets are chosen, and at most {MAX_TARGETS} can be written to at once",
            ids.len()
        ));
    }
    let mut chosen: Vec<&Target> = Vec::new();
    for id in ids {
        let Some(target) = directory.find(id) else { return refuse(format!("unknown target {:?}", shown(id))) };
        if !chosen.iter().any(|t| t.id == target.id) {
            chosen.push(target);
        }
    }
    Ok(chosen)
}

#[cfg(test)]
#[path = "taking_tests.rs"]
mod tests;
