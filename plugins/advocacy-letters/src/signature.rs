//! Signatures that are confirmed by mail (double opt-in). Of the address only a keyed hash is kept; the address itself
//! goes into one mail and nowhere else. A signature counts once, when the mailed link is opened, and counts no more when
//! it is withdrawn or erased.

use fondaco_sdk::mail::{self, Message};
use fondaco_sdk::{Document, Error, EvidenceClass, Outcome, Result, settings};
use serde::{Deserialize, Serialize};

use crate::campaign::{Action, Campaign, Consent};
use crate::day::{Day, Now};
use crate::fill::fill;
use crate::name::{Id, Locale, Mail, Placement};
use crate::settings::Settings;
use crate::store::{self, Plan, Tally, commit, pseudonym};
use crate::words;

/// How long a mailed link can be opened, in days.
const DAYS_TO_CONFIRM: u32 = 7;

/// What is kept on a person.
#[derive(Debug, Serialize, Deserialize)]
pub struct Signature {
    campaign: String,
    action: String,
    /// When it was signed, RFC 3339.
    at: String,
    /// When the mailed link was opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    confirmed_at: Option<String>,
    locale: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    placement: Option<String>,
    consents: Vec<Given>,
    /// Its last day here.
    until: Day,
    /// Its last day once it is confirmed.
    keep: Day,
    /// Tells the tokens of one person's signatures apart.
    nonce: String,
    /// The key of the stored token.
    token: String,
    /// Its entry in the public log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    leaf: Option<u64>,
}

/// A consent: the evidence of what was agreed to (GDPR Art. 7(1)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// Which.
    pub id: String,
    /// BLAKE3 of the very words.
    pub text: String,
    /// In which language they were read.
    pub locale: String,
}

impl Given {
    /// The consent, in the words of a language.
    pub fn new(consent: &Consent, locale: &Locale) -> Self {
        let text = consent.text.get(locale).map(String::as_str).unwrap_or_default();
        Self {
            id: consent.id.to_string(),
            text: blake3::hash(text.as_bytes()).to_hex().to_string(),
            locale: locale.to_string(),
        }
    }
}

/// Who signs what.
#[derive(Debug)]
pub struct Signing<'a> {
    /// The campaign.
    pub campaign: &'a Campaign,
    /// The petition or pledge.
    pub action: &'a Action,
    /// The person.
    pub mail: &'a Mail,
    /// The language of the mail.
    pub locale: &'a Locale,
    /// What was agreed to.
    pub consents: Vec<Given>,
    /// Where the person came from.
    pub placement: Option<&'a Placement>,
}

/// A person's place in the store.
fn person(mail: &Mail) -> Result<String> {
    Ok(format!("person/{}/", pseudonym("persons", mail.as_str())?))
}

/// A token is a keyed hash of what it stands for: it can be made again, and not be guessed.
fn token(key: &str, nonce: &str) -> Result<String> {
    Ok(pseudonym("tokens", &format!("{key} {nonce}"))?.chars().take(32).collect())
}

fn token_key(token: &str) -> Result<String> {
    if token.len() != 32 || !token.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return Err(Error::NotFound);
    }
    // What is stored does not confirm: who reads the store cannot sign for others.
    Ok(format!("token/{}", blake3::hash(token.as_bytes()).to_hex()))
}

/// Keeps a signature and mails the link that confirms it. The answer is the same whether the address has signed before
/// or not, because that would tell a stranger what its owner thinks.
pub fn sign(signing: &Signing<'_>, plan: &mut Plan, now: Now) -> Result<Message> {
    let Signing { campaign, action, mail, locale, consents, placement } = signing;
    let key = format!("{}{}/{}", person(mail)?, campaign.id, action.id);
    let held: Option<Signature> = plan.get(&key)?;
    let (held, expired): (Option<Signature>, _) = match held {
        Some(s) if s.until < now.day() => (None, Some(s.token)),
        held => (held, None),
    };
    let signature = if let Some(held) = held {
        held
    } else {
        if let Some(token) = expired {
            plan.delete(&token);
        }
        let nonce = now.nanos().to_string();
        let signature = Signature {
            campaign: campaign.id.to_string(),
            action: action.id.to_string(),
            at: now.timestamp(),
            confirmed_at: None,
            locale: locale.to_string(),
            placement: placement.map(ToString::to_string),
            consents: consents.clone(),
            until: now.day().plus(DAYS_TO_CONFIRM),
            keep: campaign.kept_until(now.day()),
            token: token_key(&token(&key, &nonce)?)?,
            nonce,
            leaf: None,
        };
        plan.put(&key, &signature)?;
        plan.put_text(&signature.token, &key);
        plan.keep_until(&key, signature.until);
        signature
    };
    let token = token(&key, &signature.nonce)?;
    let (confirm, withdraw) = Settings::read()?.links(&token);
    let again = signature.confirmed_at.is_some();
    let l = locale.as_str();
    let (subject, text) = if again {
        (words::again_subject(l), words::again_text(l))
    } else {
        (words::confirm_subject(l), words::confirm_text(l))
    };
    let title = campaign.text.get(*locale).map(|t| t.title.as_str()).unwrap_or_default();
    let days = DAYS_TO_CONFIRM.to_string();
    let brand = settings::brand().name;
    let values = [("title", title), ("brand", &brand), ("days", &days), ("confirm", &confirm), ("withdraw", &withdraw)];
    // The node sends one mail for each key: whoever types an address again and again fills nobody's mailbox.
    let sent = if again { format!("again/{}/{}", now.day(), signature.token) } else { signature.token };
    Ok(Message {
        to: mail.to_string(),
        reply_to: None,
        subject: subject.to_owned(),
        text: fill(text, &values),
        html: None,
        key: sent,
    })
}

/// Hands the mail to the node.
pub fn send(message: &Message) -> Result<()> {
    mail::send(message)
}

impl Signature {
    fn names(&self, key: &str) -> Result<(Id, Id, Option<Placement>)> {
        let damaged = |_| Error::Internal(format!("what is stored under {key} cannot be read"));
        let placement = self.placement.as_deref().map(str::parse).transpose().map_err(damaged)?;
        Ok((self.campaign.parse().map_err(damaged)?, self.action.parse().map_err(damaged)?, placement))
    }

    /// Takes a signature out of the store, out of the counters, and out of the reach of its token.
    fn remove(&self, key: &str, plan: &mut Plan, day: Day) -> Result<()> {
        if let Some(leaf) = self.leaf {
            let (campaign, action, placement) = self.names(key)?;
            plan.uncount(confirmed(&campaign, &action, placement.as_ref()), day, leaf)?;
        }
        plan.delete(&self.token);
        plan.delete(key);
        Ok(())
    }
}

fn confirmed<'a>(campaign: &'a Id, action: &'a Id, placement: Option<&'a Placement>) -> Tally<'a> {
    Tally { campaign, action, class: EvidenceClass::Confirmed, placement }
}

/// The signature of a token, with its key.
fn by_token(plan: &mut Plan, token: &str, day: Day) -> Result<(String, Signature)> {
    let token = token_key(token)?;
    let key = plan.text(&token)?.ok_or(Error::NotFound)?;
    let signature: Option<Signature> = plan.get(&key)?;
    let signature = signature.filter(|s| s.until >= day && s.token == token).ok_or(Error::NotFound)?;
    Ok((key, signature))
}

/// Counts the signature of a mailed token, once.
pub fn confirm(token: &str, now: Now) -> Result<Outcome> {
    commit(|plan| {
        let (key, mut signature) = by_token(plan, token, now.day())?;
        if signature.confirmed_at.is_some() {
            return Ok(Outcome::AlreadyCounted);
        }
        let (campaign, action, placement) = signature.names(&key)?;
        signature.leaf = Some(plan.count(confirmed(&campaign, &action, placement.as_ref()), now.day())?);
        signature.confirmed_at = Some(now.timestamp());
        signature.until = signature.keep;
        plan.keep_until(&key, signature.until);
        plan.put(&key, &signature)?;
        Ok(Outcome::Counted)
    })
}

/// Takes a signature back: it counts no more, and what was kept on it is erased.
pub fn withdraw(token: &str, now: Now) -> Result<()> {
    commit(|plan| {
        let (key, signature) = by_token(plan, token, now.day())?;
        signature.remove(&key, plan, now.day())
    })
}

fn address(mail: &str) -> Result<Mail> {
    mail.parse().map_err(|why| Error::Invalid(format!("mail: {why}")))
}

fn held(mail: &Mail) -> Result<Vec<(String, Signature)>> {
    let entry = |e: fondaco_sdk::storage::Entry| {
        let key = String::from_utf8(e.key).map_err(|_| Error::Internal("a key is no text".into()))?;
        let signature = serde_json::from_slice(&e.value)
            .map_err(|_| Error::Internal(format!("what is stored under {key} cannot be read")))?;
        Ok((key, signature))
    };
    store::all(&person(mail)?)?.into_iter().map(entry).collect()
}

/// What is held on the owner of an address (GDPR Art. 15 and 20), as JSON. That nothing is held is an answer too.
pub fn export(mail: &str) -> Result<Document> {
    let mail = address(mail)?;
    let entry = |(_, s): (String, Signature)| {
        serde_json::json!({
            "campaign": s.campaign, "action": s.action, "signed": s.at, "confirmed": s.confirmed_at,
            "locale": s.locale, "placement": s.placement, "consents": s.consents, "kept-until": s.until,
        })
    };
    let entries: Vec<_> = held(&mail)?.into_iter().map(entry).collect();
    let body = serde_json::to_vec_pretty(&serde_json::json!({ "mail": mail.as_str(), "entries": entries }))
        .map_err(|e| Error::Internal(e.to_string()))?;
    Ok(Document { media_type: "application/json".to_owned(), file_name: "personal-data.json".to_owned(), body })
}

/// Erases what is held on the owner of an address (GDPR Art. 17): signatures count no more. How many went.
pub fn erase(mail: &str, now: Now) -> Result<u32> {
    let mut erased: u32 = 0;
    for (key, _) in held(&address(mail)?)? {
        let went = commit(|plan| {
            let Some(signature) = plan.get::<Signature>(&key)? else { return Ok(false) };
            signature.remove(&key, plan, now.day())?;
            Ok(true)
        })?;
        erased = erased.saturating_add(u32::from(went));
    }
    Ok(erased)
}
