//! Campaigns: the advocacy modules' own, one after the other in the operator's order.

use fondaco_runtime::wit::{advocacy_types as adv, commerce, types};
use fondaco_runtime::{Answer, Caller, Context, Lent, Plugin};
use fondaco_schemas::PluginKind;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::{shown, words};
use crate::{Error, Market, convert};

/// Below this many buyers a sum could be about a person, and is withheld.
const FEWEST_BUYERS: u64 = 3;

impl Market {
    fn modules(&self) -> Vec<Plugin> {
        self.of_kind(PluginKind::Advocacy, &self.looks().shop.advocacy).into_iter().map(|(_, i)| i.plugin).collect()
    }

    /// The campaigns that run now.
    pub async fn running(&self, context: &Context, locale: String) -> Result<Vec<adv::CampaignSummary>, Error> {
        let mut all = Vec::new();
        for plugin in self.modules() {
            match plugin.running(context, locale.clone()).await {
                Ok(Ok(mut campaigns)) => {
                    for campaign in &mut campaigns {
                        self.keep_backed(&plugin, campaign).await?;
                    }
                    all.extend(campaigns);
                }
                Ok(Err(e)) => tracing::warn!(plugin = %plugin.who(), answer = words(&e), "no campaigns"),
                Err(error) => tracing::error!(%error, "no campaigns"),
            }
        }
        Ok(all)
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
    use super::*;

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
