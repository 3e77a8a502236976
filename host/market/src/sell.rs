//! Sales. The order is written before any gateway is called, a gateway reports only what happened, and what that pays for
//! the ledger decides: the right is granted in the transaction that sees the order covered.
//!
//! The id of a payment follows from its order and gateway. So a call that was cut off by a crash is repeated with the
//! same id, and [`Market::reconcile`] can ask a gateway about a payment whose answer was lost.

use fondaco_ledger::{self as ledger, NewOrder, Order, OrderState};
use fondaco_runtime::wit::{commerce, payment_types as pay, types};
use fondaco_runtime::{Caller, Context, Plugin, Visitor};
use fondaco_schemas::{EntitlementId, Offer, OrderId, PaymentId, PluginKind, WorkId};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::words;
use crate::visitors::libraries;
use crate::{Error, Market, convert, now, random};

/// How long an order waits for its money.
const ORDER_LASTS: time::Duration = time::Duration::hours(24);
/// How long a gateway is still asked about an order that ran out: money on its way is not lost.
const LATE: time::Duration = time::Duration::days(30);

/// Why a notification is not taken in.
#[derive(Debug)]
pub enum WebhookRefusal {
    /// No such gateway.
    NotFound,
    /// A bad or stale signature.
    Denied(String),
    /// Not what the gateway reads.
    Invalid(String),
    /// It may be right, but not now.
    TryAgain,
}

fn refused(why: impl Into<String>) -> Error {
    Error::Refused(why.into())
}

fn against(why: impl Into<String>) -> Error {
    Error::Terms(why.into())
}

impl Market {
    /// The visitor on whose behalf a storefront asks: nobody else's session is ever acted for.
    pub(crate) fn own<'a>(by: &'a Caller, session: &str) -> Result<&'a Visitor, Error> {
        by.visitor
            .as_deref()
            .filter(|v| v.handle == session)
            .ok_or_else(|| refused("this is not the visitor's session"))
    }

    fn payment_plugins(&self) -> Vec<(fondaco_schemas::PluginId, crate::Installed)> {
        self.of_kind(PluginKind::Payment, &self.looks().shop.payments)
    }

    async fn offer(&self, work: &str, offer: &str) -> Result<(fondaco_schemas::Work, Offer), Error> {
        let id: WorkId = work.parse().map_err(|_| refused(format!("{work} is no work")))?;
        let work = self.ledger().work(&id).await?.ok_or(Error::NoWork(id))?;
        let offer =
            work.release.offer(offer).cloned().ok_or_else(|| refused(format!("the work has no offer {offer:?}")))?;
        Ok((work, offer))
    }

    pub(crate) async fn gateways(
        &self,
        context: &Context,
        work: &str,
        offer: &str,
    ) -> Result<Vec<commerce::Gateway>, Error> {
        let (_, offer) = self.offer(work, offer).await?;
        let looks = self.looks();
        let locale = looks.brand.locale.as_str();
        let mut fitting = Vec::new();
        for (id, installed) in self.payment_plugins() {
            match installed.plugin.describe_payment(context).await {
                Ok((assets, _)) if assets.iter().any(|a| a == offer.price.asset.as_str() || a == "*") => {
                    let name = installed.names.get(locale).or_else(|| installed.names.values().next());
                    let name = name.cloned().unwrap_or_else(|| id.to_string());
                    fitting.push(commerce::Gateway { id: id.to_string(), name, currencies: assets });
                }
                Ok(_) => {}
                Err(error) => tracing::error!(%error, "a payment gateway is left out"),
            }
        }
        Ok(fitting)
    }

    /// Who sells a work: its publisher alone.
    pub(crate) async fn seller(&self, work: &str) -> Result<commerce::SoldBy, Error> {
        let id: WorkId = work.parse().map_err(|_| refused("this is no work"))?;
        if *id.publisher() == self.publisher() {
            return Ok(commerce::SoldBy::Here);
        }
        let work = self.ledger().work(&id).await?.ok_or(Error::NoWork(id))?;
        let page = work.release.home.as_ref().and_then(|home| home.page_of(&work.release.work));
        Ok(commerce::SoldBy::Elsewhere(page))
    }

    /// Writes the order, with price and terms as they are now. A free offer is granted at once. `country` is what the
    /// buyer says of where they are; it is kept with the order, and nobody checks it.
    pub(crate) async fn checkout(
        &self,
        by: &Caller,
        session: &str,
        work: &str,
        offer: &str,
        key: &str,
        country: Option<String>,
    ) -> Result<Order, Error> {
        let visitor = Self::own(by, session)?;
        let (work, offer) = self.offer(work, offer).await?;
        let at = now();
        check_window(&offer, at)?;
        check_territory(&offer, country.as_deref())?;
        let is_ours = *work.release.work.publisher() == self.publisher();
        if !is_ours && (!offer.price.is_zero() || offer.terms.scheme.is_some()) {
            // Neither the money nor the keys would be right here.
            return Err(refused("this work is another publisher's, and is sold at their shop alone"));
        }
        if key.is_empty() || key.len() > 128 {
            return Err(refused("the idempotency key must have 1 to 128 characters"));
        }
        let is_free = offer.price.is_zero();
        let new = NewOrder {
            id: OrderId::from_random(random()),
            session: visitor.handle.clone(),
            holder: libraries(visitor)?.0,
            work: work.release.work.clone(),
            release: work.release_id,
            total: offer.price.clone(),
            offer,
            idempotency_key: key.to_owned(),
            entitlement: EntitlementId::from_random(random()),
            country,
            expires: Some(at + ORDER_LASTS),
        };
        let order = self.ledger().create_order(new, at).await?;
        if is_free && order.entitlement.is_none() {
            self.ledger().claim_free(&order.id, at).await?;
            return self.ledger().order(&order.id).await?.ok_or_else(|| refused("the order is gone"));
        }
        Ok(order)
    }

    /// An order of the visitor's: made in this session, or for the same library.
    pub(crate) async fn own_order(&self, by: &Caller, session: &str, id: &str) -> Result<Order, Error> {
        let visitor = Self::own(by, session)?;
        let id: OrderId = id.parse().map_err(|_| Error::Refused("this is no order".into()))?;
        let (holder, _) = libraries(visitor)?;
        let order = self.ledger().order(&id).await?;
        let own = |o: &Order| o.holder == holder || o.session == visitor.handle;
        order.filter(own).ok_or(Error::Ledger(ledger::Error::NoOrder(id)))
    }

    pub(crate) async fn pay(
        &self,
        by: &Caller,
        session: &str,
        order: &str,
        gateway: &str,
        input: Vec<pay::Field>,
    ) -> Result<pay::Step, Error> {
        let order = self.own_order(by, session, order).await?;
        let is_covered = |order: &Order| matches!(order.state, OrderState::Paid | OrderState::Fulfilled);
        let chosen = self.payment_plugins().into_iter().find(|(id, _)| id.as_str() == gateway);
        let Some((_, installed)) = chosen else {
            // What is paid is paid, whatever became of the plugin through which.
            if is_covered(&order) {
                return Ok(pay::Step::Done);
            }
            return Err(Error::NoPlugin { kind: "payment", id: gateway.to_owned() });
        };
        let plugin = installed.plugin;
        let payment = self.payment_id(&order.id, gateway);
        let known = self.ledger().payment(&payment).await?;
        if is_covered(&order) {
            // What a gateway gives back, such as change, may have been lost on its way: it is shown again.
            if known.is_some_and(|payment| payment.totals.charged > 0) {
                let request = self.payment_request(&order, &payment, gateway, Vec::new()).await?;
                let shown = plugin.begin(&Context::below(by), request).await;
                if let Ok(Ok((pay::Step::Present(what), _))) = shown {
                    return Ok(pay::Step::Present(what));
                }
            }
            return Ok(pay::Step::Done);
        }
        if !is_payable(&order, now()) {
            return Err(refused("this order is closed; begin a new one"));
        }
        // Each gateway is asked for the whole: with a part paid through another, it would take too much.
        let here = known.as_ref().map_or(0, |payment| payment.totals.net().max(0));
        if i128::from(order.balance.paid.minor) > here {
            return Err(against("a part of this order is paid another way: go on with that one"));
        }
        let is_known = known.is_some();
        self.ledger().open_payment(&order.id, &payment, gateway, now()).await?;
        let context = Context::below(by);
        // A payment that was begun goes on with what the buyer filled in. Where the gateway knows nothing of it, a crash
        // came between the two, and it begins again.
        let mut answer = Err(types::Error::NotFound);
        if is_known && !input.is_empty() {
            answer = plugin.advance(&context, payment.to_string(), input.clone()).await?;
        }
        if matches!(answer, Err(types::Error::NotFound)) {
            let request = self.payment_request(&order, &payment, gateway, input).await?;
            answer = plugin.begin(&context, request).await?;
        }
        let (step, events) = answer.map_err(|e| Error::Plugin { who: plugin.who().clone(), answer: words(&e) })?;
        self.take_events(&plugin, Some(&payment), &events).await?;
        let order = self.ledger().order(&order.id).await?.ok_or(Error::Ledger(ledger::Error::NoOrder(order.id)))?;
        let covered = is_covered(&order);
        match step {
            // The gateway's word that all is done counts for nothing; the ledger's does.
            pay::Step::Done if !covered => {
                Err(Error::Plugin { who: plugin.who().clone(), answer: format!("{} still to pay", order.balance.due) })
            }
            // A browser obeys what the address says, be it a script; a payment is nothing for the clear, either.
            pay::Step::Redirect(url) if !leads_to_a_service(&url, self.base_url()) => {
                let answer = "it leads the buyer to an address that is neither https:// nor of this shop".into();
                Err(Error::Plugin { who: plugin.who().clone(), answer })
            }
            pay::Step::Redirect(url) => {
                if let Some(visitor) = &by.visitor {
                    let mut led_on = visitor.led_on.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    led_on.push(url.clone());
                }
                Ok(pay::Step::Redirect(url))
            }
            step => Ok(step),
        }
    }

    fn payment_id(&self, order: &OrderId, gateway: &str) -> PaymentId {
        let tag = self.keys().tag("payment", format!("{order} {gateway}").as_bytes());
        let mut bits = [0; 16];
        bits.copy_from_slice(tag.get(..16).unwrap_or(&[0; 16]));
        PaymentId::from_random(bits)
    }

    async fn payment_request(
        &self,
        order: &Order,
        payment: &PaymentId,
        gateway: &str,
        input: Vec<pay::Field>,
    ) -> Result<pay::PaymentRequest, Error> {
        let work = self.ledger().work(&order.work).await?;
        let base = self.base_url();
        Ok(pay::PaymentRequest {
            payment: payment.to_string(),
            order: order.id.to_string(),
            title: work.map(|w| w.release.title).unwrap_or_default(),
            total: convert::money(&order.total),
            return_url: format!("{base}/orders/{}", order.id),
            cancel_url: format!("{base}/orders/{}", order.id),
            webhook_url: format!("{base}/webhooks/{gateway}"),
            resource_url: format!("{base}/orders/{}", order.id),
            locale: self.looks().brand.locale.as_str().to_owned(),
            test_mode: false,
            input,
        })
    }

    /// Takes a gateway's events in. `only`: the payment that they must be of, where the node asked about one.
    async fn take_events(
        &self,
        plugin: &Plugin,
        only: Option<&PaymentId>,
        events: &[pay::PaymentEvent],
    ) -> Result<(), Error> {
        if events.is_empty() {
            return Ok(());
        }
        let at = now();
        let mut taken = Vec::with_capacity(events.len());
        for event in events {
            let event =
                convert::event(event, at).map_err(|answer| Error::Plugin { who: plugin.who().clone(), answer })?;
            if only.is_some_and(|id| *id != event.payment) {
                let answer = format!("event {} is of another payment", event.reference);
                return Err(Error::Plugin { who: plugin.who().clone(), answer });
            }
            taken.push(event);
        }
        let outcome = self.ledger().record_payment_events(&plugin.who().id, taken, at).await?;
        if outcome.refused > 0 || outcome.differing > 0 || outcome.foreign > 0 {
            tracing::warn!(gateway = %plugin.who(), ?outcome, "payment events that somebody should look at");
        }
        for id in outcome.granted {
            tracing::info!(entitlement = %id, "granted");
        }
        Ok(())
    }

    /// Reads a payment service's notification.
    pub async fn webhook(
        &self,
        gateway: &str,
        target: String,
        headers: Vec<(String, Vec<u8>)>,
        body: Vec<u8>,
    ) -> Result<(), WebhookRefusal> {
        let plugin =
            self.plugin(gateway).filter(|p| p.kind() == PluginKind::Payment).ok_or(WebhookRefusal::NotFound)?;
        let message = types::HttpMessage { method: "POST".into(), target, headers, body };
        match plugin.webhook(&Context::node(), message).await {
            Ok(Ok(events)) => self.take_events(&plugin, None, &events).await.map_err(|error| {
                tracing::error!(%error, "a notification's events were not taken in");
                WebhookRefusal::TryAgain
            }),
            Ok(Err(types::Error::Denied(why))) => Err(WebhookRefusal::Denied(why)),
            Ok(Err(types::Error::Invalid(why))) => Err(WebhookRefusal::Invalid(why)),
            // No payment of ours yet: the service sends it again, and by then there may be one.
            Ok(Err(_)) => Err(WebhookRefusal::TryAgain),
            Err(error) => {
                tracing::error!(%error, "a notification was not read");
                Err(WebhookRefusal::TryAgain)
            }
        }
    }

    /// Asks the gateways about payments that were begun and are not settled, so that an answer lost in a crash loses no
    /// sale, also those of orders that ran out `late` ago at most; before that it lets orders expire. How many payments were
    /// asked about.
    pub async fn reconcile(&self, late: time::Duration) -> Result<u32, Error> {
        // First: it waits for no gateway.
        self.ledger().expire_orders(now()).await?;
        let mut asked = 0;
        let mut after: Option<PaymentId> = None;
        loop {
            let payments = self.ledger().waiting_payments(after.as_ref(), 100, now() - late).await?;
            let Some(last) = payments.last() else { break };
            after = Some(last.id.clone());
            for payment in payments {
                let Some(plugin) = self.plugin(&payment.gateway) else { continue };
                asked += 1;
                match plugin.fetch(&Context::node(), payment.id.to_string()).await {
                    // One gateway's nonsense keeps nobody else from being asked.
                    Ok(Ok(events)) => {
                        if let Err(error) = self.take_events(&plugin, Some(&payment.id), &events).await {
                            tracing::error!(payment = %payment.id, %error, "events were not taken in");
                        }
                    }
                    Ok(Err(e)) => tracing::debug!(payment = %payment.id, answer = words(&e), "nothing is known yet"),
                    Err(error) => tracing::error!(%error, "a gateway could not be asked"),
                }
            }
        }
        Ok(asked)
    }

    /// Reconciles at once and every minute until `stop` says true.
    pub async fn keep_reconciling(&self, mut stop: tokio::sync::watch::Receiver<bool>) {
        let mut pass = 0_u64;
        loop {
            // What ran out is asked about once an hour: there is much of it, and little of it is ever paid.
            let late = if pass.is_multiple_of(60) { LATE } else { time::Duration::ZERO };
            pass += 1;
            // What was not asked is asked the next time.
            tokio::select! {
                biased;
                _ = stop.wait_for(|s| *s) => return,
                settled = self.reconcile(late) => {
                    if let Err(error) = settled {
                        tracing::error!(%error, "open payments could not be settled");
                    }
                }
            }
            tokio::select! {
                biased;
                _ = stop.wait_for(|s| *s) => return,
                () = tokio::time::sleep(std::time::Duration::from_mins(1)) => {}
            }
        }
    }
}

/// May it still be paid? One that holds a part of its money may be topped up after its time: that part has no other way out.
fn is_payable(order: &Order, at: OffsetDateTime) -> bool {
    matches!(order.state, OrderState::Open | OrderState::Pending)
        && (!order.balance.paid.is_zero() || order.expires.is_none_or(|end| at < end))
}

fn leads_to_a_service(url: &str, base: &str) -> bool {
    let own = url.strip_prefix(base).is_some_and(|path| path.starts_with('/'));
    url.bytes().all(|b| b.is_ascii_graphic()) && (url.starts_with("https://") || own)
}

fn check_window(offer: &Offer, at: OffsetDateTime) -> Result<(), Error> {
    let time = |text: &Option<String>| text.as_ref().and_then(|t| OffsetDateTime::parse(t, &Rfc3339).ok());
    if time(&offer.terms.available_from).is_some_and(|from| at < from) {
        return Err(against("this offer is not open yet"));
    }
    if time(&offer.terms.available_until).is_some_and(|until| at >= until) {
        return Err(against("this offer has ended"));
    }
    Ok(())
}

/// Is it sold where the buyer says they are? What was said must be a code in any case: it is kept for good.
fn check_territory(offer: &Offer, country: Option<&str>) -> Result<(), Error> {
    if let Some(code) = country
        && (code.len() != 2 || !code.bytes().all(|b| b.is_ascii_uppercase()))
    {
        return Err(against("a country is written as its two letters of ISO 3166-1, such as FR"));
    }
    let sold_in = &offer.terms.territories;
    match country {
        _ if sold_in.is_empty() => Ok(()),
        Some(country) if sold_in.iter().any(|t| t == country) => Ok(()),
        Some(country) => Err(against(format!("this offer is sold in {}, and not in {country}", sold_in.join(", ")))),
        None => {
            Err(against(format!("this offer is sold in {} alone: say which country you are in", sold_in.join(", "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_with_territories_is_sold_there_alone() {
        let sold_in = |territories: &[&str]| {
            let territories = territories.iter().map(ToString::to_string).collect();
            let terms = fondaco_schemas::Terms { territories, ..Default::default() };
            Offer { id: "buy".into(), price: "4.99 EUR".parse().unwrap(), suggested: None, splits: vec![], terms }
        };
        let everywhere = sold_in(&[]);
        assert!(check_territory(&everywhere, None).is_ok() && check_territory(&everywhere, Some("ZA")).is_ok());
        let here = sold_in(&["FR", "DE"]);
        assert!(check_territory(&here, Some("DE")).is_ok());
        for (said, words) in [(None, "say which country"), (Some("ZA"), "and not in ZA"), (Some("fr"), "ISO 3166-1")] {
            let why = check_territory(&here, said).unwrap_err().to_string();
            assert!(why.contains(words), "{why}");
        }
        for bad in ["", "F", "FRA", "f\u{e9}", "<>"] {
            assert!(check_territory(&everywhere, Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn buyers_are_led_to_services_only() {
        let check = |url, expect| assert_eq!(leads_to_a_service(url, "http://127.0.0.1:1"), expect, "{url}");
        check("https://pay.example/1?x=2", true);
        check("http://127.0.0.1:1/orders/ord_1", true);
        for bad in ["", "http://127.0.0.1:1", "http://127.0.0.1:1.evil.example/", "http://pay.example/", "javascript:x"]
        {
            check(bad, false);
        }
        for bad in
            ["data:text/html,x", "//evil.example", "/orders/1", "HTTPS://pay.example", "https://a b", "https://a\n"]
        {
            check(bad, false);
        }
    }

    #[test]
    fn offers_are_sold_within_their_time_only() {
        let terms = fondaco_schemas::Terms {
            available_from: Some("2026-01-01T00:00:00Z".into()),
            available_until: Some("2026-02-01T00:00:00Z".into()),
            ..fondaco_schemas::Terms::default()
        };
        let price = "1.00 EUR".parse().unwrap();
        let offer = Offer { id: "buy".into(), price, suggested: None, splits: Vec::new(), terms };
        let at = |text| OffsetDateTime::parse(text, &Rfc3339).unwrap();
        assert!(check_window(&offer, at("2025-12-31T23:59:59Z")).is_err());
        assert!(check_window(&offer, at("2026-01-01T00:00:00Z")).is_ok());
        assert!(check_window(&offer, at("2026-02-01T00:00:00Z")).is_err());
    }
}
