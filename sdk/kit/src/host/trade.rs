//! The played node's sales, searches and campaigns: one gateway that takes the code `kit`, one campaign.

use fondaco_runtime::wit::{advocacy_types as adv, commerce, payment_types as pay, search_types as search, types};
use fondaco_runtime::{Caller, Lent};

use super::{Host, SESSION, keys, lock};
use crate::works::PUBLISHED;

/// The gateway's id.
const GATEWAY: &str = "org.example.kit-gateway";
/// Where a gateway leads the buyer who gives the code `elsewhere`.
const ELSEWHERE: &str = "https://pay.example/kit";
const CAMPAIGN: &str = "open-shelves";

fn not_found<T>() -> Lent<T> {
    Err(types::Error::NotFound)
}

impl Host {
    pub(super) fn found(&self, q: &search::Query) -> Lent<search::Results> {
        let from: usize = match q.cursor.as_deref().map_or(Ok(0), str::parse) {
            Ok(from) => from,
            Err(_) => return Err(types::Error::Invalid("the cursor was not given out here".into())),
        };
        let text = q.text.to_lowercase();
        let works = lock(&self.works);
        let fits = |w: &&types::Work| {
            (q.kinds.is_empty() || q.kinds.contains(&w.kind))
                && q.tags.iter().all(|t| w.tags.contains(t))
                && (q.language.is_none() || q.language == w.language)
                && [&w.title, &w.description, &w.creators.join(" ")].iter().any(|t| t.to_lowercase().contains(&text))
        };
        let all: Vec<_> = works.iter().filter(fits).collect();
        let hit = |w: &&types::Work| search::Hit {
            work: w.id.clone(),
            score: 1.0,
            highlights: vec![("title".into(), format!("\u{2}{}\u{3}", w.title))],
            because: vec![("words of the title".into(), 1.0)],
            via: None,
        };
        let hits: Vec<_> = all.iter().skip(from).take(q.limit.min(100) as usize).map(hit).collect();
        let end = from.saturating_add(hits.len());
        let facet = search::Facet { field: "kind".into(), values: vec![("book".into(), all.len() as u64)] };
        Ok(search::Results {
            next: (end < all.len() && !hits.is_empty()).then(|| end.to_string()),
            total: all.len() as u64,
            hits,
            slots: vec![],
            facets: if q.facets.is_empty() { vec![] } else { vec![facet] },
            missing: 0,
        })
    }

    fn offer(&self, work: &str, offer: &str) -> Lent<types::Offer> {
        let works = lock(&self.works);
        let work = works.iter().find(|w| w.id == work).ok_or(types::Error::NotFound)?;
        work.offers.iter().find(|o| o.id == offer).cloned().ok_or(types::Error::NotFound)
    }

    pub(super) fn gateways_for(&self, work: &str, offer: &str) -> Lent<Vec<commerce::Gateway>> {
        let price = self.offer(work, offer)?.price;
        Ok(vec![commerce::Gateway { id: GATEWAY.into(), name: "Kit <Pay>".into(), currencies: vec![price.asset] }])
    }

    pub(super) fn check_out(
        &self,
        session: &str,
        work: &str,
        offer: &str,
        key: &str,
        country: Option<&str>,
    ) -> Lent<commerce::Order> {
        own(session)?;
        if key.is_empty() || key.len() > 200 {
            return Err(types::Error::Invalid("a checkout needs a key of 1 to 200 bytes".into()));
        }
        let types::Offer { price: total, terms, .. } = self.offer(work, offer)?;
        if !terms.territories.is_empty() && !country.is_some_and(|c| terms.territories.iter().any(|t| t == c)) {
            return Err(types::Error::Invalid("this offer is sold in its territories alone: use checkout-in".into()));
        }
        let mut orders = lock(&self.orders);
        if let Some((_, order)) = orders.iter().find(|(k, _)| k == key) {
            return if order.work == work && order.offer == offer {
                Ok(order.clone())
            } else {
                Err(types::Error::Invalid("this key belongs to another order".into()))
            };
        }
        let free = total.amount == "0";
        let order = commerce::Order {
            id: format!("ord_{}", orders.len() + 1),
            work: work.into(),
            offer: offer.into(),
            total,
            state: if free { commerce::OrderState::Fulfilled } else { commerce::OrderState::Open },
            gateway: None,
            created: PUBLISHED.into(),
            updated: PUBLISHED.into(),
        };
        orders.push((key.into(), order.clone()));
        Ok(order)
    }

    pub(super) fn take_payment(
        &self,
        by: &Caller,
        session: &str,
        order: &str,
        gateway: &str,
        input: &[pay::Field],
    ) -> Lent<pay::Step> {
        own(session)?;
        if gateway != GATEWAY {
            return not_found();
        }
        let mut orders = lock(&self.orders);
        let (_, order) = orders.iter_mut().find(|(_, o)| o.id == order).ok_or(types::Error::NotFound)?;
        match input.iter().find(|f| f.name == "code").map(|f| f.value.trim()) {
            None | Some("") => Ok(pay::Step::Ask(vec![pay::FormField {
                name: "code".into(),
                label: "Code <on the \"card\">".into(),
                kind: "text".into(),
                required: true,
            }])),
            Some("elsewhere") => {
                if let Some(visitor) = &by.visitor {
                    lock(&visitor.led_on).push(ELSEWHERE.into());
                }
                Ok(pay::Step::Redirect(ELSEWHERE.into()))
            }
            Some(_) => {
                order.state = commerce::OrderState::Fulfilled;
                order.gateway = Some(GATEWAY.into());
                Ok(pay::Step::Done)
            }
        }
    }

    pub(super) fn order_of(&self, session: &str, id: &str) -> Lent<commerce::Order> {
        own(session)?;
        lock(&self.orders).iter().find(|(_, o)| o.id == id).map(|(_, o)| o.clone()).ok_or(types::Error::NotFound)
    }

    pub(super) fn library_of(&self, session: &str) -> Lent<Vec<types::Entitlement>> {
        own(session)?;
        let works = lock(&self.works).clone();
        let orders = lock(&self.orders);
        let done = orders.iter().map(|(_, o)| o).filter(|o| o.state == commerce::OrderState::Fulfilled);
        let right = |o: &commerce::Order| {
            let work = works.iter().find(|w| w.id == o.work)?;
            Some(types::Entitlement {
                id: format!("ent_{}", o.id),
                work: o.work.clone(),
                release: work.release.clone(),
                offer: o.offer.clone(),
                holder: keys::holder(1).public().to_string(),
                state: types::EntitlementState::Active,
                granted: PUBLISHED.into(),
                expires: None,
            })
        };
        Ok(done.filter_map(right).collect())
    }

    pub(super) fn bought_by(&self, session: &str, entitlement: &str) -> Lent<types::Work> {
        let right = self.library_of(session)?.into_iter().find(|e| e.id == entitlement);
        let right = right.ok_or(types::Error::NotFound)?;
        lock(&self.works).iter().find(|w| w.id == right.work).cloned().ok_or(types::Error::NotFound)
    }

    pub(super) fn delivery(&self, session: &str, entitlement: &str, path: &str) -> Lent<String> {
        let right = self.library_of(session)?.into_iter().find(|e| e.id == entitlement);
        let right = right.ok_or(types::Error::NotFound)?;
        let works = lock(&self.works);
        let file = works
            .iter()
            .filter(|w| w.id == right.work)
            .flat_map(|w| &w.files)
            .find(|f| f.path == path)
            .ok_or(types::Error::NotFound)?;
        Ok(format!("/files/{}/{}?t=kit", file.hash, file.path.replace('/', "-")))
    }

    pub(super) fn the_campaign(&self, locale: &str) -> adv::Campaign {
        let signed = lock(&self.signed).len() as u64;
        let counts = adv::Count { class: adv::EvidenceClass::Unconfirmed, action: "sign".into(), n: 1_203 + signed };
        let input = |name: &str, kind: &str, required| adv::Input {
            name: name.into(),
            label: format!("Your {name} <please>"),
            kind: kind.into(),
            required,
            purpose: "to stand under the letter".into(),
        };
        let action = |id: &str, kind: &str, label: &str, fields, draft| adv::Action {
            id: id.into(),
            kind: kind.into(),
            label: label.into(),
            fields,
            draft,
        };
        let draft = adv::Draft { subject: "Keep the shelves open".into(), body: "Dear {target},\n\nplease do.".into() };
        adv::Campaign {
            summary: adv::CampaignSummary {
                id: CAMPAIGN.into(),
                title: "Keep the <shelves> open".into(),
                summary: "Works that were bought should stay readable".into(),
                counts: vec![counts],
                target: Some(5_000),
                opens: "2026-01-01".into(),
                closes: None,
            },
            locale: if locale.starts_with("fr") { "fr".into() } else { "en".into() },
            audience: "public".into(),
            audiences: vec!["public".into(), "industry".into()],
            body_markdown: "## Why\n\nBecause **books** outlive shops. <script>kit()</script>\n\n- one\n- two\n".into(),
            actions: vec![
                action("sign", "petition", "Sign", vec![], None),
                action("write", "letter", "Write", vec![input("name", "text", true)], Some(draft)),
            ],
            share_text: "Keep the shelves open".into(),
            notice: adv::Notice {
                sponsor: "The people of the kit".into(),
                paid: false,
                process: "none".into(),
                url: "https://kit.example/notice".into(),
                retention_days: 30,
            },
        }
    }

    pub(super) fn targets_of(id: &str) -> Lent<Vec<adv::Target>> {
        if id != CAMPAIGN {
            return not_found();
        }
        Ok(vec![adv::Target {
            id: "ocd-person/1".into(),
            name: "A. <Member>".into(),
            post: "Member".into(),
            organisation: "Parliament".into(),
            division: "ocd-division/country:xx".into(),
            channels: vec![("mail".into(), "member@parliament.example".into())],
        }])
    }

    pub(super) fn taken_part(&self, p: &adv::Participation) -> Lent<adv::Outcome> {
        own(&p.session)?;
        if p.campaign != CAMPAIGN {
            return not_found();
        }
        match p.action.as_str() {
            "sign" => {
                let mut signed = lock(&self.signed);
                let one = (p.session.clone(), p.action.clone());
                if signed.contains(&one) {
                    return Ok(adv::Outcome::AlreadyCounted);
                }
                signed.push(one);
                Ok(adv::Outcome::Counted)
            }
            "write" => Ok(adv::Outcome::HandOff(vec![(
                "mail".into(),
                "mailto:member@parliament.example?subject=Keep%20the%20shelves%20open".into(),
            )])),
            _ => not_found(),
        }
    }
}

/// The storefront acts for the visitor of the request that it is answering, and for no other.
fn own(session: &str) -> Lent<()> {
    if session == SESSION {
        return Ok(());
    }
    Err(types::Error::Denied("this session is not the one of the request that is being answered".into()))
}
