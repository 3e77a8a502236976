//! What the node lends to plugins, as the runtime sees it: one trait, answered by the market. Each call says which plugin
//! asks and on whose behalf; the runtime has already checked that the plugin may ask at all.

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use fondaco_schemas::HolderKey;

use crate::wit::{
    advocacy_types as adv, catalogue, commerce, mail, payment_types as pay, peers, search_types as search, settings,
    storage, types,
};

/// A plugin-visible result.
pub type Lent<T> = Result<T, types::Error>;

/// Who is asking.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The plugin's id.
    pub plugin: Arc<str>,
    /// How many bytes its key-value space may hold.
    pub storage_bytes: u64,
    /// How many keys it may hold.
    pub storage_keys: u64,
    /// May its searches leave this node?
    pub reaches_peers: bool,
    /// How deep in a chain of plugin calls it stands; the next plugin is one deeper.
    pub depth: u8,
    /// The visitor on whose behalf it runs; only in storefronts.
    pub visitor: Option<Arc<Visitor>>,
}

/// The key of a library, made when it is first asked for: most requests only look around. `None` where it cannot be made.
pub type LazyHolder = LazyLock<Option<HolderKey>, Box<dyn FnOnce() -> Option<HolderKey> + Send>>;

/// The person whose request a storefront is answering.
#[derive(Debug)]
pub struct Visitor {
    /// What the storefront knows the session by. Of no use as a cookie.
    pub handle: String,
    /// BLAKE3 of the cookie: what the node knows the session by.
    pub cookie_hash: [u8; 32],
    /// The library that the visitor brought along, if any: what is bought goes there.
    pub brought: Option<HolderKey>,
    /// The library of the cookie itself: what is bought goes there otherwise.
    pub own: LazyHolder,
    /// Addresses elsewhere that a payment gateway named during this request: the only ones that the storefront may send
    /// the visitor on to.
    pub led_on: std::sync::Arc<std::sync::Mutex<Vec<String>>>,
}

fn not_here<T>() -> Lent<T> {
    Err(types::Error::Denied("this is not offered where the plugin runs now".into()))
}

/// Answers the calls of plugins. What an implementation leaves out is denied.
#[async_trait]
#[expect(missing_docs, reason = "each method is the function of that name in schemas/wit/host.wit")]
#[allow(unused_variables, reason = "the defaults deny without a look at what was asked")]
pub trait Services: Send + Sync + 'static {
    async fn storage_get(&self, by: &Caller, key: Vec<u8>) -> Lent<Option<Vec<u8>>> {
        not_here()
    }
    async fn storage_scan(&self, by: &Caller, start: Vec<u8>, end: Vec<u8>, limit: u32) -> Lent<Vec<storage::Entry>> {
        not_here()
    }
    async fn storage_apply(&self, by: &Caller, batch: Vec<storage::Write>) -> Lent<()> {
        not_here()
    }
    async fn work(&self, by: &Caller, id: String) -> Lent<types::Work> {
        not_here()
    }
    async fn browse(&self, by: &Caller, cursor: Option<String>, limit: u32) -> Lent<catalogue::Page> {
        not_here()
    }
    async fn count_works(&self, by: &Caller) -> Lent<u64> {
        not_here()
    }
    async fn read_blob(&self, by: &Caller, hash: String, offset: u64, len: u32) -> Lent<Vec<u8>> {
        not_here()
    }
    async fn derive(&self, by: &Caller, label: String) -> Lent<Vec<u8>> {
        not_here()
    }
    async fn hmac(&self, by: &Caller, secret: String, message: Vec<u8>) -> Lent<Vec<u8>> {
        not_here()
    }
    async fn verify_hmac(&self, by: &Caller, secret: String, message: Vec<u8>, tag: Vec<u8>) -> Lent<bool> {
        not_here()
    }
    async fn sign(&self, by: &Caller, label: String, message: Vec<u8>) -> Lent<Vec<u8>> {
        not_here()
    }
    async fn public_key(&self, by: &Caller, label: String) -> Lent<Vec<u8>> {
        not_here()
    }
    async fn verify(&self, by: &Caller, label: String, message: Vec<u8>, signature: Vec<u8>) -> Lent<bool> {
        not_here()
    }
    async fn seal(&self, by: &Caller, holder: String, context: Vec<u8>, message: Vec<u8>) -> Lent<Vec<u8>> {
        not_here()
    }
    async fn unseal(&self, by: &Caller, context: Vec<u8>, sealed: Vec<u8>) -> Lent<Vec<u8>> {
        not_here()
    }
    async fn brand(&self, by: &Caller) -> settings::Brand;
    async fn settings(&self, by: &Caller) -> String;
    async fn secret(&self, by: &Caller, name: String) -> Lent<String> {
        not_here()
    }
    async fn search(&self, by: &Caller, q: search::Query) -> Lent<search::Results> {
        not_here()
    }
    async fn search_peers(&self, by: &Caller, q: search::Query) -> Lent<search::Results> {
        not_here()
    }
    async fn remote(&self, by: &Caller, id: String) -> Lent<peers::Remote> {
        not_here()
    }
    async fn suggest(&self, by: &Caller, prefix: String, limit: u32) -> Lent<Vec<String>> {
        not_here()
    }
    async fn seller(&self, by: &Caller, work: String) -> Lent<commerce::SoldBy> {
        not_here()
    }
    async fn gateways(&self, by: &Caller, work: String, offer: String) -> Lent<Vec<commerce::Gateway>> {
        not_here()
    }
    async fn checkout(
        &self,
        by: &Caller,
        session: String,
        work: String,
        offer: String,
        key: String,
    ) -> Lent<commerce::Order> {
        not_here()
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
        not_here()
    }
    async fn pay(
        &self,
        by: &Caller,
        session: String,
        order: String,
        gateway: String,
        input: Vec<pay::Field>,
    ) -> Lent<pay::Step> {
        not_here()
    }
    async fn order(&self, by: &Caller, session: String, id: String) -> Lent<commerce::Order> {
        not_here()
    }
    async fn library(&self, by: &Caller, session: String) -> Lent<Vec<types::Entitlement>> {
        not_here()
    }
    async fn bought(&self, by: &Caller, session: String, entitlement: String) -> Lent<types::Work> {
        not_here()
    }
    async fn delivery_url(&self, by: &Caller, session: String, entitlement: String, path: String) -> Lent<String> {
        not_here()
    }
    async fn count_purchases(
        &self,
        by: &Caller,
        tag: Option<String>,
        since: Option<String>,
    ) -> Lent<commerce::Purchases> {
        not_here()
    }
    async fn running(&self, by: &Caller, locale: String) -> Lent<Vec<adv::CampaignSummary>> {
        not_here()
    }
    async fn campaign(&self, by: &Caller, id: String, locale: String, audience: Option<String>) -> Lent<adv::Campaign> {
        not_here()
    }
    async fn targets(&self, by: &Caller, id: String, country: String, postcode: String) -> Lent<Vec<adv::Target>> {
        not_here()
    }
    async fn take_part(&self, by: &Caller, p: adv::Participation) -> Lent<adv::Outcome> {
        not_here()
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
        not_here()
    }
    async fn send_mail(&self, by: &Caller, m: mail::Message) -> Lent<()> {
        not_here()
    }
    async fn asset_paths(&self, by: &Caller, prefix: String) -> Lent<Vec<String>> {
        not_here()
    }
    async fn asset(&self, by: &Caller, path: String) -> Lent<Vec<u8>> {
        not_here()
    }
}
