//! What the node lends to one plugin: the answers to every call of `schemas/wit/host.wit`.

use std::path::Component;
use std::sync::Weak;

use async_trait::async_trait;
use fondaco_ledger::{KvEntry, KvQuota, KvWrite};
use fondaco_runtime::wit::{
    advocacy_types as adv, catalogue, commerce, mail, payment_types as pay, peers, search_types as search, settings,
    storage, types,
};
use fondaco_runtime::{Caller, Context, Lent, Services};
use fondaco_schemas::{BlobHash, HolderKey, PluginId};
use fondaco_trust::KeyPair;

use crate::error::shown;
use crate::{Inner, Lending, Market, convert, keys};

/// The most bytes of a file in one read.
const MAX_READ: u32 = 4 << 20;
/// The largest page of the catalogue.
const MAX_PAGE: u32 = 100;

pub(crate) struct Lender {
    market: Weak<Inner>,
    id: PluginId,
    lending: Lending,
}

impl Lender {
    pub fn new(market: Weak<Inner>, id: PluginId, lending: Lending) -> Self {
        Self { market, id, lending }
    }

    fn market(&self) -> Lent<Market> {
        self.market.upgrade().map(Market).ok_or_else(|| types::Error::Unavailable("the node is stopping".into()))
    }

    /// What a plugin's keys are derived under. Ids are `[a-z0-9.-]`, so a scope never meets another.
    fn scope(&self) -> String {
        format!("plugin/{}", self.id)
    }

    fn own_key(&self, label: &str) -> Lent<KeyPair> {
        let seed = self.market()?.keys().derive(&self.scope(), format!("sign/{label}").as_bytes());
        KeyPair::from_seed(&seed).map_err(|e| types::Error::Internal(e.to_string()))
    }

    fn secret_of(&self, name: &str) -> Lent<&str> {
        let secret = self.lending.secrets.get(name).map(String::as_str);
        secret.ok_or_else(|| {
            types::Error::Denied(format!(
                "no secret {name:?}; set it with secrets.{name} under [plugins.\"{}\"]",
                self.id
            ))
        })
    }
}

fn ours(error: fondaco_ledger::Error) -> types::Error {
    shown(error.into())
}

fn entry(e: KvEntry) -> storage::Entry {
    storage::Entry { key: e.key, value: e.value }
}

#[async_trait]
impl Services for Lender {
    // Reads of the key-value space are a look into SQLite's page cache, some microseconds long: they are done in place.
    async fn storage_get(&self, by: &Caller, key: Vec<u8>) -> Lent<Option<Vec<u8>>> {
        self.market()?.ledger().kv_reader().get(&by.plugin, &key).map_err(ours)
    }
    async fn storage_scan(&self, by: &Caller, start: Vec<u8>, end: Vec<u8>, limit: u32) -> Lent<Vec<storage::Entry>> {
        let entries = self.market()?.ledger().kv_reader().scan(&by.plugin, &start, &end, limit).map_err(ours)?;
        Ok(entries.into_iter().map(entry).collect())
    }
    async fn storage_apply(&self, by: &Caller, batch: Vec<storage::Write>) -> Lent<()> {
        let write = |w| match w {
            storage::Write::Put(e) => KvWrite::Put(KvEntry { key: e.key, value: e.value }),
            storage::Write::Delete(key) => KvWrite::Delete(key),
            storage::Write::Check((key, value)) => KvWrite::Check(key, value),
        };
        let batch = batch.into_iter().map(write).collect();
        let quota = KvQuota { bytes: by.storage_bytes, entries: by.storage_keys };
        self.market()?.ledger().kv_apply(&by.plugin, quota, batch).await.map_err(ours)
    }

    async fn work(&self, _: &Caller, id: String) -> Lent<types::Work> {
        let id = id.parse().map_err(|_| types::Error::NotFound)?;
        let market = self.market()?;
        // Most releases are such a look, too. A large one, and one that is not here, is looked for on a blocking thread.
        let work = match market.ledger().small_work(&id).map_err(ours)? {
            Some(work) => Some(work),
            None => market.ledger().work(&id).await.map_err(ours)?,
        };
        work.map(|w| convert::work(&w)).ok_or(types::Error::NotFound)
    }
    async fn browse(&self, _: &Caller, cursor: Option<String>, limit: u32) -> Lent<catalogue::Page> {
        let page = self.market()?.ledger().browse(cursor.as_deref(), limit.clamp(1, MAX_PAGE)).await.map_err(ours)?;
        Ok(catalogue::Page { works: page.works.iter().map(convert::work).collect(), next: page.next })
    }
    async fn count_works(&self, _: &Caller) -> Lent<u64> {
        self.market()?.ledger().count().await.map_err(ours)
    }

    async fn read_blob(&self, _: &Caller, hash: String, offset: u64, len: u32) -> Lent<Vec<u8>> {
        let hash: BlobHash = hash.parse().map_err(|_| types::Error::NotFound)?;
        let store = self.market()?.store().clone();
        let read = move || {
            let blob = store.get(hash)?;
            let len = u64::from(len.min(MAX_READ)).min(blob.size().saturating_sub(offset));
            let mut buffer = vec![0; usize::try_from(len).unwrap_or_default()];
            let read = blob.read_at(offset, &mut buffer)?;
            buffer.truncate(read);
            Ok(buffer)
        };
        let read = tokio::task::spawn_blocking(read).await.map_err(|e| types::Error::Internal(e.to_string()))?;
        read.map_err(|e: fondaco_store::Error| {
            tracing::warn!(%hash, error = %e, "a plugin could not read a file");
            types::Error::NotFound
        })
    }

    async fn derive(&self, _: &Caller, label: String) -> Lent<Vec<u8>> {
        Ok(self.market()?.keys().derive(&self.scope(), format!("derive/{label}").as_bytes()).to_vec())
    }
    async fn hmac(&self, _: &Caller, secret: String, message: Vec<u8>) -> Lent<Vec<u8>> {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, self.secret_of(&secret)?.as_bytes());
        Ok(ring::hmac::sign(&key, &message).as_ref().to_vec())
    }
    async fn verify_hmac(&self, _: &Caller, secret: String, message: Vec<u8>, tag: Vec<u8>) -> Lent<bool> {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, self.secret_of(&secret)?.as_bytes());
        Ok(ring::hmac::verify(&key, &message, &tag).is_ok())
    }
    async fn sign(&self, _: &Caller, label: String, message: Vec<u8>) -> Lent<Vec<u8>> {
        Ok(self.own_key(&label)?.sign(&message).to_vec())
    }
    async fn public_key(&self, _: &Caller, label: String) -> Lent<Vec<u8>> {
        Ok(self.own_key(&label)?.public().as_bytes().to_vec())
    }
    async fn verify(&self, _: &Caller, label: String, message: Vec<u8>, signature: Vec<u8>) -> Lent<bool> {
        Ok(fondaco_trust::keys::is_signature(&self.own_key(&label)?.public(), &message, &signature))
    }
    async fn seal(&self, _: &Caller, holder: String, context: Vec<u8>, message: Vec<u8>) -> Lent<Vec<u8>> {
        let holder: HolderKey = holder.parse().map_err(|e| types::Error::Invalid(format!("{e}")))?;
        keys::seal(&holder, &context, &message).map_err(|e| types::Error::Invalid(e.to_string()))
    }

    async fn brand(&self, _: &Caller) -> settings::Brand {
        match self.market() {
            Ok(market) => market.wit_brand(),
            // Only while the node stops, when nobody sees it any more.
            Err(_) => settings::Brand {
                name: String::new(),
                tagline: String::new(),
                locale: "en".into(),
                locales: Vec::new(),
                base_url: String::new(),
                colors: Vec::new(),
                logo: None,
                contact: None,
            },
        }
    }
    async fn settings(&self, _: &Caller) -> String {
        self.lending.settings.clone()
    }
    async fn secret(&self, _: &Caller, name: String) -> Lent<String> {
        self.secret_of(&name).map(str::to_owned)
    }

    async fn search(&self, by: &Caller, q: search::Query) -> Lent<search::Results> {
        self.market()?.search(&Context::below(by), q).await.map_err(shown)
    }
    async fn search_peers(&self, by: &Caller, q: search::Query) -> Lent<search::Results> {
        if !by.reaches_peers {
            return self.search(by, q).await;
        }
        self.market()?.search_peers(&Context::below(by), q).await.map_err(shown)
    }
    async fn remote(&self, _: &Caller, id: String) -> Lent<peers::Remote> {
        self.market()?.remote(&id).map_err(shown)
    }
    async fn suggest(&self, by: &Caller, prefix: String, limit: u32) -> Lent<Vec<String>> {
        self.market()?.suggest(&Context::below(by), prefix, limit).await.map_err(shown)
    }

    async fn seller(&self, _: &Caller, work: String) -> Lent<commerce::SoldBy> {
        self.market()?.seller(&work).await.map_err(shown)
    }
    async fn gateways(&self, by: &Caller, work: String, offer: String) -> Lent<Vec<commerce::Gateway>> {
        self.market()?.gateways(&Context::below(by), &work, &offer).await.map_err(shown)
    }
    async fn checkout(
        &self,
        by: &Caller,
        session: String,
        work: String,
        offer: String,
        key: String,
    ) -> Lent<commerce::Order> {
        let order = self.market()?.checkout(by, &session, &work, &offer, &key, None).await.map_err(shown)?;
        Ok(convert::order(&order))
    }
    async fn checkout_in(
        &self,
        by: &Caller,
        session: String,
        work: String,
        offer: String,
        key: String,
        country: String,
    ) -> Lent<commerce::Order> {
        let order = self.market()?.checkout(by, &session, &work, &offer, &key, Some(country)).await.map_err(shown)?;
        Ok(convert::order(&order))
    }
    async fn pay(
        &self,
        by: &Caller,
        session: String,
        order: String,
        gateway: String,
        input: Vec<pay::Field>,
    ) -> Lent<pay::Step> {
        self.market()?.pay(by, &session, &order, &gateway, input).await.map_err(shown)
    }
    async fn order(&self, by: &Caller, session: String, id: String) -> Lent<commerce::Order> {
        let order = self.market()?.own_order(by, &session, &id).await.map_err(shown)?;
        Ok(convert::order(&order))
    }
    async fn library(&self, by: &Caller, session: String) -> Lent<Vec<types::Entitlement>> {
        self.market()?.library(by, &session).await.map_err(shown)
    }
    async fn bought(&self, by: &Caller, session: String, entitlement: String) -> Lent<types::Work> {
        self.market()?.bought(by, &session, &entitlement).await.map_err(shown)
    }
    async fn delivery_url(&self, by: &Caller, session: String, entitlement: String, path: String) -> Lent<String> {
        self.market()?.delivery_url(by, &session, &entitlement, &path).await.map_err(shown)
    }
    async fn count_purchases(
        &self,
        _: &Caller,
        tag: Option<String>,
        since: Option<String>,
    ) -> Lent<commerce::Purchases> {
        self.market()?.count_purchases(tag, since).await.map_err(shown)
    }

    async fn running(&self, by: &Caller, locale: String) -> Lent<Vec<adv::CampaignSummary>> {
        self.market()?.running(&Context::below(by), &locale).await.map_err(shown)
    }
    async fn campaign(&self, by: &Caller, id: String, locale: String, audience: Option<String>) -> Lent<adv::Campaign> {
        self.market()?.campaign(&Context::below(by), id, locale, audience).await
    }
    async fn targets(&self, by: &Caller, id: String, country: String, postcode: String) -> Lent<Vec<adv::Target>> {
        self.market()?.targets(&Context::below(by), id, country, postcode).await
    }
    async fn take_part(&self, by: &Caller, p: adv::Participation) -> Lent<adv::Outcome> {
        self.market()?.take_part(by, p).await
    }
    async fn press(
        &self,
        by: &Caller,
        id: String,
        format: String,
        locale: String,
        audience: String,
        placement: String,
    ) -> Lent<types::Document> {
        self.market()?.press(&Context::below(by), id, format, locale, audience, placement).await
    }
    async fn send_mail(&self, _: &Caller, _: mail::Message) -> Lent<()> {
        Err(types::Error::Unavailable("this node has no mail relay".into()))
    }

    async fn asset_paths(&self, _: &Caller, prefix: String) -> Lent<Vec<String>> {
        let bundled = self.lending.bundle.paths().filter_map(|p| p.as_str().strip_prefix("assets/"));
        let mut paths: Vec<String> = bundled.map(str::to_owned).collect();
        let folder = self.market()?.0.parts.folder.join("assets").join(self.id.as_str());
        let laid_over = tokio::task::spawn_blocking(move || files_below(&folder)).await.unwrap_or_default();
        paths.extend(laid_over);
        paths.retain(|p| p.starts_with(&prefix));
        paths.sort();
        paths.dedup();
        Ok(paths)
    }
    async fn asset(&self, _: &Caller, path: String) -> Lent<Vec<u8>> {
        let relative = std::path::Path::new(&path);
        if path.is_empty() || !relative.components().all(|c| matches!(c, Component::Normal(_))) {
            return Err(types::Error::NotFound);
        }
        let over = self.market()?.0.parts.folder.join("assets").join(self.id.as_str()).join(relative);
        match tokio::fs::metadata(&over).await {
            Ok(meta) if meta.len() > u64::from(MAX_READ) => {
                return Err(types::Error::Exhausted(format!("{path} is larger than 4 MiB")));
            }
            Ok(meta) if meta.is_file() => {
                return tokio::fs::read(&over).await.map_err(|e| {
                    tracing::warn!(path = %over.display(), error = %e, "an asset cannot be read");
                    types::Error::Unavailable(format!("{path} cannot be read"))
                });
            }
            _ => {}
        }
        let bundled = self.lending.bundle.file(&format!("assets/{path}"));
        bundled.map(<[u8]>::to_vec).ok_or(types::Error::NotFound)
    }
}

/// Paths of the files below a folder, with `/`, at most 1,000 of them and 8 levels deep.
fn files_below(folder: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![(folder.to_owned(), String::new(), 0)];
    while let Some((dir, prefix, depth)) = open.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && depth < 8 => open.push((entry.path(), path, depth + 1)),
                Ok(kind) if kind.is_file() && found.len() < 1_000 => found.push(path),
                _ => {}
            }
        }
    }
    found
}
