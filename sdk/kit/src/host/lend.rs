//! What the played node answers, call by call.

use std::ops::Bound;

use async_trait::async_trait;
use fondaco_runtime::wit::{
    advocacy_types as adv, catalogue, commerce, mail, payment_types as pay, peers, search_types as search, settings,
    storage, types,
};
use fondaco_runtime::{Caller, Lent, Services};

use super::{BASE_URL, Host, keys, lock};

/// The node's own bounds on one batch and one read, in bytes (`host/ledger`, `host/market`).
const MAX_KEY: usize = 512;
const MAX_VALUE: usize = 1 << 20;
const MAX_BATCH: usize = 16 << 20;
const MAX_READ: u32 = 4 << 20;
const MAX_PAGE: u32 = 100;

fn invalid<T>(why: &str) -> Lent<T> {
    Err(types::Error::Invalid(why.into()))
}

impl Host {
    fn secret_of(&self, name: &str) -> String {
        self.secrets.get(name).cloned().unwrap_or_else(|| format!("kit-secret-{name}"))
    }

    fn apply(&self, by: &Caller, batch: Vec<storage::Write>) -> Lent<()> {
        let mut held = lock(&self.storage);
        let before = bytes_of(&held);
        let mut next = held.clone();
        let mut size = 0;
        for write in batch {
            let (key, value) = match &write {
                storage::Write::Put(e) => (&e.key, e.value.len()),
                storage::Write::Delete(key) => (key, 0),
                storage::Write::Check((key, value)) => (key, value.as_ref().map_or(0, Vec::len)),
            };
            if key.len() > MAX_KEY || value > MAX_VALUE {
                return invalid("a key has at most 512 bytes, a value at most 1 MiB");
            }
            size += key.len() + value + 64;
            match write {
                storage::Write::Put(e) => drop(next.insert(e.key, e.value)),
                storage::Write::Delete(key) => drop(next.remove(&key)),
                storage::Write::Check((key, value)) if next.get(&key) == value.as_ref() => {}
                storage::Write::Check(_) => return invalid("a check of the batch does not hold"),
            }
        }
        if size > MAX_BATCH {
            return invalid("a batch has at most 16 MiB");
        }
        let after = bytes_of(&next);
        let quota = by.storage_bytes;
        if after > quota && after > before {
            return Err(types::Error::Exhausted(format!("the space would hold {after} bytes of {quota}")));
        }
        let (keys, most) = (next.len() as u64, by.storage_keys);
        if keys > most && keys > held.len() as u64 {
            return Err(types::Error::Exhausted(format!("the space would hold {keys} keys of {most}")));
        }
        *held = next;
        Ok(())
    }
}

fn bytes_of(space: &std::collections::BTreeMap<Vec<u8>, Vec<u8>>) -> u64 {
    space.iter().map(|(k, v)| (k.len() + v.len()) as u64).sum()
}

#[async_trait]
impl Services for Host {
    async fn storage_get(&self, _: &Caller, key: Vec<u8>) -> Lent<Option<Vec<u8>>> {
        self.met("storage.get").await?;
        Ok(lock(&self.storage).get(&key).cloned())
    }
    async fn storage_scan(&self, _: &Caller, start: Vec<u8>, end: Vec<u8>, limit: u32) -> Lent<Vec<storage::Entry>> {
        self.met("storage.scan").await?;
        if start >= end {
            return Ok(Vec::new());
        }
        let held = lock(&self.storage);
        let range = held.range((Bound::Included(start), Bound::Excluded(end)));
        let entries: Vec<_> =
            range.take(limit as usize).map(|(k, v)| storage::Entry { key: k.clone(), value: v.clone() }).collect();
        if entries.iter().map(|e| e.key.len() + e.value.len() + 64).sum::<usize>() > MAX_BATCH {
            return invalid("the scan's answer has more than 16 MiB");
        }
        Ok(entries)
    }
    async fn storage_apply(&self, by: &Caller, batch: Vec<storage::Write>) -> Lent<()> {
        self.met("storage.apply").await?;
        self.apply(by, batch)
    }

    async fn work(&self, _: &Caller, id: String) -> Lent<types::Work> {
        self.met("catalogue.get").await?;
        lock(&self.works).iter().find(|w| w.id == id).cloned().ok_or(types::Error::NotFound)
    }
    async fn browse(&self, _: &Caller, cursor: Option<String>, limit: u32) -> Lent<catalogue::Page> {
        self.met("catalogue.browse").await?;
        let Ok(from) = cursor.as_deref().map_or(Ok(0), str::parse::<usize>) else {
            return invalid("the cursor was not given out here");
        };
        let works = lock(&self.works);
        let page: Vec<_> = works.iter().skip(from).take(limit.clamp(1, MAX_PAGE) as usize).cloned().collect();
        let end = from.saturating_add(page.len());
        Ok(catalogue::Page { next: (end < works.len() && !page.is_empty()).then(|| end.to_string()), works: page })
    }
    async fn count_works(&self, _: &Caller) -> Lent<u64> {
        self.met("catalogue.count").await?;
        Ok(lock(&self.works).len() as u64)
    }

    async fn read_blob(&self, _: &Caller, hash: String, offset: u64, len: u32) -> Lent<Vec<u8>> {
        self.met("blobs.read").await?;
        let blobs = lock(&self.blobs);
        let blob = blobs.get(&hash).ok_or(types::Error::NotFound)?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(blob.len());
        let end = start.saturating_add(len.min(MAX_READ) as usize).min(blob.len());
        Ok(blob.get(start..end).unwrap_or_default().to_vec())
    }

    async fn derive(&self, _: &Caller, label: String) -> Lent<Vec<u8>> {
        self.met("keys.derive").await?;
        Ok(keys::derive(&label))
    }
    async fn hmac(&self, _: &Caller, secret: String, message: Vec<u8>) -> Lent<Vec<u8>> {
        self.met("keys.hmac").await?;
        Ok(keys::hmac_of(&self.secret_of(&secret), &message))
    }
    async fn verify_hmac(&self, _: &Caller, secret: String, message: Vec<u8>, tag: Vec<u8>) -> Lent<bool> {
        self.met("keys.verify-hmac").await?;
        Ok(keys::hmac_of(&self.secret_of(&secret), &message) == tag)
    }
    async fn sign(&self, _: &Caller, label: String, message: Vec<u8>) -> Lent<Vec<u8>> {
        self.met("keys.sign").await?;
        Ok(keys::own(&label)?.sign(&message).to_vec())
    }
    async fn public_key(&self, _: &Caller, label: String) -> Lent<Vec<u8>> {
        self.met("keys.public-key").await?;
        Ok(keys::own(&label)?.public().as_bytes().to_vec())
    }
    async fn verify(&self, _: &Caller, label: String, message: Vec<u8>, signature: Vec<u8>) -> Lent<bool> {
        self.met("keys.verify").await?;
        Ok(fondaco_trust::keys::is_signature(&keys::own(&label)?.public(), &message, &signature))
    }
    async fn seal(&self, _: &Caller, holder: String, context: Vec<u8>, message: Vec<u8>) -> Lent<Vec<u8>> {
        self.met("keys.seal").await?;
        keys::seal(&holder, &context, &message)
    }
    async fn unseal(&self, _: &Caller, context: Vec<u8>, sealed: Vec<u8>) -> Lent<Vec<u8>> {
        self.met("keys.unseal").await?;
        let number = *lock(&self.acts_for);
        keys::unseal(number, &context, &sealed)
    }

    async fn brand(&self, _: &Caller) -> settings::Brand {
        // Cannot fail, and may be slow.
        let _ = self.met("settings.brand").await;
        settings::Brand {
            name: "Kit & \"Sons\" <Shop>".into(),
            tagline: "Works by people who are long gone, and still good company".into(),
            locale: "en".into(),
            locales: vec!["en".into(), "fr".into()],
            base_url: BASE_URL.into(),
            colors: vec![("accent".into(), "#8a2be2".into())],
            logo: None,
            contact: Some("shop@shop.example".into()),
        }
    }
    async fn settings(&self, _: &Caller) -> String {
        let _ = self.met("settings.get").await;
        self.settings.clone()
    }
    async fn secret(&self, _: &Caller, name: String) -> Lent<String> {
        self.met("settings.secret").await?;
        Ok(self.secret_of(&name))
    }

    async fn search(&self, _: &Caller, q: search::Query) -> Lent<search::Results> {
        self.met("discovery.search").await?;
        self.found(&q)
    }
    async fn search_peers(&self, _: &Caller, q: search::Query) -> Lent<search::Results> {
        self.met("discovery.search-peers").await?;
        self.found(&q)
    }
    async fn suggest(&self, _: &Caller, prefix: String, limit: u32) -> Lent<Vec<String>> {
        self.met("discovery.suggest").await?;
        let prefix = prefix.to_lowercase();
        let titles = lock(&self.works).iter().map(|w| w.title.clone()).collect::<Vec<_>>();
        Ok(titles.into_iter().filter(|t| t.to_lowercase().starts_with(&prefix)).take(limit as usize).collect())
    }

    async fn remote(&self, _: &Caller, _: String) -> Lent<peers::Remote> {
        self.met("peers.get").await?;
        Err(types::Error::NotFound)
    }

    async fn seller(&self, _: &Caller, _: String) -> Lent<commerce::SoldBy> {
        self.met("commerce.seller").await?;
        Ok(commerce::SoldBy::Here)
    }
    async fn gateways(&self, _: &Caller, work: String, offer: String) -> Lent<Vec<commerce::Gateway>> {
        self.met("commerce.gateways").await?;
        self.gateways_for(&work, &offer)
    }
    async fn checkout(
        &self,
        _: &Caller,
        session: String,
        work: String,
        offer: String,
        key: String,
    ) -> Lent<commerce::Order> {
        self.met("commerce.checkout").await?;
        self.check_out(&session, &work, &offer, &key, None)
    }
    async fn checkout_in(
        &self,
        _: &Caller,
        session: String,
        work: String,
        offer: String,
        key: String,
        country: String,
    ) -> Lent<commerce::Order> {
        self.met("commerce.checkout-in").await?;
        self.check_out(&session, &work, &offer, &key, Some(&country))
    }
    async fn pay(
        &self,
        by: &Caller,
        session: String,
        order: String,
        gateway: String,
        input: Vec<pay::Field>,
    ) -> Lent<pay::Step> {
        self.met("commerce.pay").await?;
        self.take_payment(by, &session, &order, &gateway, &input)
    }
    async fn order(&self, _: &Caller, session: String, id: String) -> Lent<commerce::Order> {
        self.met("commerce.get-order").await?;
        self.order_of(&session, &id)
    }
    async fn library(&self, _: &Caller, session: String) -> Lent<Vec<types::Entitlement>> {
        self.met("commerce.library").await?;
        self.library_of(&session)
    }
    async fn bought(&self, _: &Caller, session: String, entitlement: String) -> Lent<types::Work> {
        self.met("commerce.bought").await?;
        self.bought_by(&session, &entitlement)
    }
    async fn delivery_url(&self, _: &Caller, session: String, entitlement: String, path: String) -> Lent<String> {
        self.met("commerce.delivery-url").await?;
        self.delivery(&session, &entitlement, &path)
    }
    async fn count_purchases(&self, _: &Caller, _: Option<String>, _: Option<String>) -> Lent<commerce::Purchases> {
        self.met("commerce.count-purchases").await?;
        Ok(commerce::Purchases { count: 0, buyers: 0, gross: vec![], proof: "{}".into() })
    }

    async fn running(&self, _: &Caller, locale: String) -> Lent<Vec<adv::CampaignSummary>> {
        self.met("campaigns.running").await?;
        Ok(vec![self.the_campaign(&locale).summary])
    }
    async fn campaign(&self, _: &Caller, id: String, locale: String, _: Option<String>) -> Lent<adv::Campaign> {
        self.met("campaigns.get").await?;
        let campaign = self.the_campaign(&locale);
        if campaign.summary.id == id { Ok(campaign) } else { Err(types::Error::NotFound) }
    }
    async fn targets(&self, _: &Caller, id: String, _: String, _: String) -> Lent<Vec<adv::Target>> {
        self.met("campaigns.targets").await?;
        Self::targets_of(&id)
    }
    async fn take_part(&self, _: &Caller, p: adv::Participation) -> Lent<adv::Outcome> {
        self.met("campaigns.take-part").await?;
        self.taken_part(&p)
    }
    async fn press(
        &self,
        _: &Caller,
        id: String,
        format: String,
        _: String,
        _: String,
        _: String,
    ) -> Lent<types::Document> {
        self.met("campaigns.press").await?;
        if id != self.the_campaign("en").summary.id {
            return Err(types::Error::NotFound);
        }
        Ok(types::Document {
            media_type: "image/svg+xml".into(),
            file_name: format!("{format}.svg"),
            body: b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>".to_vec(),
        })
    }
    async fn send_mail(&self, _: &Caller, m: mail::Message) -> Lent<()> {
        self.met("mail.send").await?;
        lock(&self.mails).push(m.to);
        Ok(())
    }

    async fn asset_paths(&self, _: &Caller, prefix: String) -> Lent<Vec<String>> {
        self.met("assets.paths").await?;
        Ok(self.assets.keys().filter(|p| p.starts_with(&prefix)).cloned().collect())
    }
    async fn asset(&self, _: &Caller, path: String) -> Lent<Vec<u8>> {
        self.met("assets.read").await?;
        self.assets.get(&path).cloned().ok_or(types::Error::NotFound)
    }
}
