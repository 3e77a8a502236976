//! Campaigns: the advocacy modules' own, one after the other in the operator's order.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use fondaco_runtime::wit::{advocacy_types as adv, commerce, types};
use fondaco_runtime::{Answer, Caller, Context, Lent, Plugin};
use fondaco_schemas::PluginKind;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::{shown, words};
use crate::{Error, Market, State, convert};

/// Below this many buyers a sum could be about a person, and is withheld.
const FEWEST_BUYERS: u64 = 3;
/// How long running campaigns are kept, for how many locales, and how long the name of one may be.
const KEPT_FOR: Duration = Duration::from_secs(1);
const MOST_KEPT: usize = 16;
const MAX_LOCALE_BYTES: usize = 64;

/// The campaigns that ran a moment ago, by locale. Each front page asks for them, and a module reads all that it has to
/// say before it answers.
#[derive(Debug, Default)]
pub(crate) struct Running(Mutex<HashMap<String, Kept>>);

#[derive(Debug)]
struct Kept {
    state: State,
    at: Instant,
    campaigns: Vec<adv::CampaignSummary>,
}

impl Kept {
    /// A second bounds what a module's answer may hang on besides the node's state, such as the time.
    fn is_good(&self, state: State, now: Instant) -> bool {
        self.state == state && now.saturating_duration_since(self.at) < KEPT_FOR
    }
}

/// What the modules say, all together.
struct Said {
    campaigns: Vec<adv::CampaignSummary>,
    /// Did every one of them answer?
    is_whole: bool,
}

impl Running {
    /// What is kept for this locale; otherwise what `ask` says, which is kept if it is whole. `state` and `now` were taken
    /// before.
    ///
    /// # Cancel safety
    /// Nothing is kept of an answer that nobody waited for.
    async fn or_ask<F>(
        &self,
        locale: &str,
        state: State,
        now: Instant,
        ask: impl FnOnce() -> F,
    ) -> Result<Vec<adv::CampaignSummary>, Error>
    where
        F: Future<Output = Result<Said, Error>>,
    {
        if let Some(kept) = self.get(locale, state, now) {
            return Ok(kept);
        }
        let said = ask().await?;
        if said.is_whole {
            self.put(locale, Kept { state, at: now, campaigns: said.campaigns.clone() });
        }
        Ok(said.campaigns)
    }

    fn get(&self, locale: &str, state: State, now: Instant) -> Option<Vec<adv::CampaignSummary>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(locale).filter(|kept| kept.is_good(state, now)).map(|kept| kept.campaigns.clone())
    }

    /// A storefront names locales as it likes: those beyond the most are asked for each time.
    fn put(&self, locale: &str, kept: Kept) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, known| known.is_good(kept.state, kept.at));
        if locale.len() <= MAX_LOCALE_BYTES && (all.len() < MOST_KEPT || all.contains_key(locale)) {
            all.insert(locale.to_owned(), kept);
        }
    }
}

impl Market {
    fn modules(&self) -> Vec<Plugin> {
        self.of_kind(PluginKind::Advocacy, &self.looks().shop.advocacy).into_iter().map(|(_, i)| i.plugin).collect()
    }

    /// The campaigns that run now, or ran within the last second if nothing changed since.
    pub async fn running(&self, context: &Context, locale: &str) -> Result<Vec<adv::CampaignSummary>, Error> {
        if context.visitor.is_some() {
            // No plugin asks on behalf of a visitor (`Context::below`); an answer to one would be nobody else's.
            return Ok(self.ask_running(context, locale).await?.campaigns);
        }
        let ask = || self.ask_running(context, locale);
        self.0.running.or_ask(locale, self.state(), Instant::now(), ask).await
    }

    async fn ask_running(&self, context: &Context, locale: &str) -> Result<Said, Error> {
        let mut said = Said { campaigns: Vec::new(), is_whole: true };
        for plugin in self.modules() {
            match plugin.running(context, locale.to_owned()).await {
                Ok(Ok(mut campaigns)) => {
                    for campaign in &mut campaigns {
                        self.keep_backed(&plugin, campaign).await?;
                    }
                    said.campaigns.extend(campaigns);
                }
                Ok(Err(e)) => {
                    said.is_whole = false;
                    tracing::warn!(plugin = %plugin.who(), answer = words(&e), "no campaigns");
                }
                Err(error) => {
                    said.is_whole = false;
                    tracing::error!(%error, "no campaigns");
                }
            }
        }
        Ok(said)
    }

    pub(crate) async fn campaign(
        &self,
        context: &Context,
        id: String,
        locale: String,
        audience: Option<String>,
    ) -> Lent<adv::Campaign> {
        for plugin in self.modules() {
            if let Some(mut found) =
                found(plugin.campaign(context, id.clone(), locale.clone(), audience.clone()).await)?
            {
                self.keep_backed(&plugin, &mut found.summary).await.map_err(shown)?;
                return Ok(found);
            }
        }
        Err(types::Error::NotFound)
    }

    /// What is said to be backed by purchases is at most what was sold here, and nothing where that is withheld. The
    /// other classes are the module's own to count.
    async fn keep_backed(&self, plugin: &Plugin, campaign: &mut adv::CampaignSummary) -> Result<(), Error> {
        let is_backed = |c: &adv::Count| c.class == adv::EvidenceClass::PurchaseBacked;
        if !campaign.counts.iter().any(is_backed) {
            return Ok(());
        }
        let sold = self.count_purchases(None, None).await?.count;
        for count in campaign.counts.iter_mut().filter(|c| is_backed(c) && c.n > sold) {
            tracing::warn!(plugin = %plugin.who(), campaign = %campaign.id, said = count.n, sold, "a campaign counts purchases that nobody made");
            count.n = sold;
        }
        Ok(())
    }

    pub(crate) async fn targets(
        &self,
        context: &Context,
        id: String,
        country: String,
        postcode: String,
    ) -> Lent<Vec<adv::Target>> {
        for plugin in self.modules() {
            if let Some(found) = found(plugin.targets(context, id.clone(), country.clone(), postcode.clone()).await)? {
                return Ok(found);
            }
        }
        Err(types::Error::NotFound)
    }

    /// Takes part on behalf of the visitor: the module knows the session by the handle that the node vouches for.
    pub(crate) async fn take_part(&self, by: &Caller, mut p: adv::Participation) -> Lent<adv::Outcome> {
        let visitor = by.visitor.as_ref().filter(|v| v.handle == p.session);
        let visitor = visitor.ok_or_else(|| types::Error::Denied("this is not the visitor's session".into()))?;
        p.session.clone_from(&visitor.handle);
        for plugin in self.modules() {
            if let Some(mut found) = found(plugin.take_part(&Context::below(by), p.clone()).await)? {
                keep_harmless(&plugin, &mut found);
                return Ok(found);
            }
        }
        Err(types::Error::NotFound)
    }

    pub(crate) async fn press(
        &self,
        context: &Context,
        id: String,
        format: String,
        locale: String,
        audience: String,
        placement: String,
    ) -> Lent<types::Document> {
        for plugin in self.modules() {
            let made =
                plugin.press(context, id.clone(), format.clone(), locale.clone(), audience.clone(), placement.clone());
            if let Some(found) = found(made.await)? {
                return Ok(found);
            }
        }
        Err(types::Error::NotFound)
    }

    /// Sums over settled orders, with small ones withheld, and the log's head under the node's signature as proof.
    pub(crate) async fn count_purchases(
        &self,
        tag: Option<String>,
        since: Option<String>,
    ) -> Result<commerce::Purchases, Error> {
        let since = since.map(|s| OffsetDateTime::parse(&s, &Rfc3339)).transpose();
        let since = since.map_err(|_| Error::Refused("since must be a time of RFC 3339".into()))?;
        let sums = self.ledger().count_purchases(tag.as_deref(), since).await?;
        if sums.buyers < FEWEST_BUYERS {
            return Ok(commerce::Purchases { count: 0, buyers: 0, gross: Vec::new(), proof: String::new() });
        }
        let head = self.ledger().head().await?;
        let text = format!("fondaco ledger head\n{}\n{}\n", head.seq, data_encoding::HEXLOWER.encode(&head.hash));
        let signature = self.keys().pair().sign(text.as_bytes());
        let proof = format!("{text}{}\n{}", self.keys().public(), data_encoding::BASE64.encode(&signature));
        let gross = sums.gross.iter().map(convert::money).collect();
        Ok(commerce::Purchases { count: sums.count, buyers: sums.buyers, gross, proof })
    }
}

/// A letter is handed to the person with ways to send it. A way that a browser would carry out as something else than
/// writing, calling or opening a page is taken out.
fn keep_harmless(plugin: &Plugin, outcome: &mut adv::Outcome) {
    let adv::Outcome::HandOff(ways) = outcome else { return };
    ways.retain(|(kind, value)| {
        let harmless = is_harmless(kind, value);
        if !harmless {
            tracing::warn!(plugin = %plugin.who(), kind, "a letter's way to its addressee was taken out: it is no such address");
        }
        harmless
    });
}

fn is_harmless(kind: &str, value: &str) -> bool {
    let begins = |scheme: &str| value.get(..scheme.len()).is_some_and(|s| s.eq_ignore_ascii_case(scheme));
    let plain = value.bytes().all(|b| b.is_ascii_graphic());
    match kind {
        "mailto" => plain && begins("mailto:"),
        "webform" => plain && (begins("https://") || begins("http://")),
        // Words, not addresses: pages show them as text.
        "target" | "note" | "copy" | "print" | "phone" => true,
        // Whatever it is called: a page may make a link of it.
        _ => {
            let scheme = value.trim_start().split(':').next().unwrap_or_default();
            let has_scheme = scheme.len() < value.trim_start().len()
                && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.\t\r\n".contains(&b));
            !has_scheme || begins("mailto:") || begins("https://") || begins("http://") || begins("tel:")
        }
    }
}

/// A module's answer; nothing where it knows no such campaign, so that the next is asked.
fn found<T>(answer: Answer<T>) -> Lent<Option<T>> {
    match answer {
        Ok(Ok(value)) => Ok(Some(value)),
        Ok(Err(types::Error::NotFound)) => Ok(None),
        Ok(Err(error)) => Err(error),
        Err(error) => Err(shown(error.into())),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// A node with one module, whose answer says how often it was asked.
    #[derive(Default)]
    struct Asked {
        running: Running,
        calls: Cell<u64>,
    }

    impl Asked {
        async fn ask(&self, locale: &str, state: State, now: Instant, is_whole: bool) -> u64 {
            let said = || async {
                self.calls.set(self.calls.get() + 1);
                let campaign = adv::CampaignSummary {
                    id: "c".into(),
                    title: locale.to_owned(),
                    summary: String::new(),
                    counts: Vec::new(),
                    target: Some(self.calls.get()),
                    opens: String::new(),
                    closes: None,
                };
                Ok(Said { campaigns: vec![campaign], is_whole })
            };
            let campaigns = self.running.or_ask(locale, state, now, said).await.unwrap();
            assert_eq!((campaigns.len(), campaigns[0].title.as_str()), (1, locale));
            campaigns[0].target.unwrap()
        }
    }

    #[tokio::test]
    async fn campaigns_are_asked_for_once_while_nothing_changes() {
        let (node, now) = (Asked::default(), Instant::now());
        let state = State { commits: 7, changes: 1 };
        assert_eq!(node.ask("en", state, now, true).await, 1);
        let later = now + KEPT_FOR.saturating_sub(Duration::from_millis(1));
        assert_eq!(node.ask("en", state, later, true).await, 1, "no module is asked again");
        assert_eq!(node.ask("fr", state, later, true).await, 2, "each locale has its own");
        let written = State { commits: 8, ..state };
        assert_eq!(node.ask("en", written, later, true).await, 3, "somebody took part");
        let changed = State { changes: 2, ..written };
        assert_eq!(node.ask("en", changed, later, true).await, 4, "another module is in place");
        assert_eq!(node.ask("en", changed, later + KEPT_FOR, true).await, 5, "a second is over");
    }

    #[tokio::test]
    async fn what_a_module_did_not_answer_is_asked_again() {
        let (node, now, state) = (Asked::default(), Instant::now(), State { commits: 0, changes: 0 });
        for n in 1..4 {
            assert_eq!(node.ask("en", state, now, false).await, n);
        }
        assert_eq!(node.ask("en", state, now, true).await, 4);
        assert_eq!(node.ask("en", state, now, false).await, 4);
        let failed = || async { Err(Error::Refused("no".into())) };
        assert!(node.running.or_ask("fr", state, now, failed).await.is_err());
        assert_eq!(node.ask("fr", state, now, true).await, 5);
    }

    #[tokio::test]
    async fn what_is_kept_of_campaigns_has_an_end() {
        let (node, now, state) = (Asked::default(), Instant::now(), State { commits: 0, changes: 0 });
        node.ask(&"x".repeat(MAX_LOCALE_BYTES + 1), state, now, true).await;
        for n in 0..100 {
            node.ask(&n.to_string(), state, now, true).await;
        }
        assert_eq!(node.running.0.lock().unwrap().len(), MOST_KEPT);
        assert_eq!(node.ask("0", state, now, true).await, 2, "the first is kept");
        assert_eq!(node.ask("99", state, now, true).await, 102, "the last is not");
        node.ask("99", state, now + KEPT_FOR, true).await;
        assert_eq!(node.running.0.lock().unwrap().len(), 1, "what is old makes room");
    }

    #[test]
    fn letters_lead_to_pages_mails_and_telephones() {
        for (kind, value) in [
            ("mailto", "mailto:a@example.org?subject=x"),
            ("webform", "https://example.org/form"),
            ("copy", "javascript: is a word here"),
            ("A name", "mailto:a@example.org"),
            ("A name", "Dear Sir: write to me"),
            ("A name", "tel:+331"),
        ] {
            assert!(is_harmless(kind, value), "{kind} {value}");
        }
        for (kind, value) in [
            ("mailto", "javascript:alert(1)"),
            ("webform", "JavaScript:alert(1)"),
            ("webform", "mailto:a@example.org"),
            ("webform", "https://a b"),
            ("A name", "javascript:alert(1)"),
            ("A name", " data:text/html,x"),
            ("A name", "java\tscript:alert(1)"),
            ("link", "vbscript:x"),
            ("link", "file:///etc/passwd"),
        ] {
            assert!(!is_harmless(kind, value), "{kind} {value}");
        }
    }
}
