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
                Ok(Ok(campaigns)) => all.extend(campaigns),
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
            if let Some(found) = found(plugin.campaign(context, id.clone(), locale.clone(), audience.clone()).await)? {
                return Ok(found);
            }
        }
        Err(types::Error::NotFound)
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
            if let Some(found) = found(plugin.take_part(&Context::below(by), p.clone()).await)? {
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

/// A module's answer; nothing where it knows no such campaign, so that the next is asked.
fn found<T>(answer: Answer<T>) -> Lent<Option<T>> {
    match answer {
        Ok(Ok(value)) => Ok(Some(value)),
        Ok(Err(types::Error::NotFound)) => Ok(None),
        Ok(Err(error)) => Err(error),
        Err(error) => Err(shown(error.into())),
    }
}
