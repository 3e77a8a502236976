//! What the node lends to plugins, as the runtime sees it: one trait, answered by the market. Each call says which plugin
//! asks and on whose behalf; the runtime has already checked that the plugin may ask at all.

use std::sync::Arc;

use async_trait::async_trait;

use crate::wit::{
    advocacy_types as adv, catalogue, commerce, mail, payment_types as pay, search_types as search, settings,
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
    /// How deep in a chain of plugin calls it stands; the next plugin is one deeper.
    pub depth: u8,
    /// The visitor on whose behalf it runs; only in storefronts.
    pub visitor: Option<Arc<Visitor>>,
}

/// The person whose request a storefront is answering.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// What the storefront knows the session by. Of no use as a cookie.
    pub handle: String,
    /// SHA-256 of the cookie: what the node knows the session by.
    pub cookie_hash: [u8; 32],
    /// The visitor's library.
    pub holder: fondaco_schemas::HolderKey,
}

/// Answers the calls of plugins.
#[async_trait]
#[expect(missing_docs, reason = "each method is the function of that name in schemas/wit/host.wit")]
pub trait Services: Send + Sync + 'static {
    async fn storage_get(&self, by: &Caller, key: Vec<u8>) -> Lent<Option<Vec<u8>>>;
    async fn storage_scan(&self, by: &Caller, start: Vec<u8>, end: Vec<u8>, limit: u32) -> Lent<Vec<storage::Entry>>;
    async fn storage_apply(&self, by: &Caller, batch: Vec<storage::Write>) -> Lent<()>;
    async fn work(&self, by: &Caller, id: String) -> Lent<types::Work>;
    async fn browse(&self, by: &Caller, cursor: Option<String>, limit: u32) -> Lent<catalogue::Page>;
    async fn read_blob(&self, by: &Caller, hash: String, offset: u64, len: u32) -> Lent<Vec<u8>>;
    async fn derive(&self, by: &Caller, label: String) -> Lent<Vec<u8>>;
    async fn hmac(&self, by: &Caller, secret: String, message: Vec<u8>) -> Lent<Vec<u8>>;
    async fn verify_hmac(&self, by: &Caller, secret: String, message: Vec<u8>, tag: Vec<u8>) -> Lent<bool>;
    async fn sign(&self, by: &Caller, label: String, message: Vec<u8>) -> Lent<Vec<u8>>;
    async fn public_key(&self, by: &Caller, label: String) -> Lent<Vec<u8>>;
    async fn verify(&self, by: &Caller, label: String, message: Vec<u8>, signature: Vec<u8>) -> Lent<bool>;
    async fn seal(&self, by: &Caller, holder: String, context: Vec<u8>, message: Vec<u8>) -> Lent<Vec<u8>>;
    async fn unseal(&self, by: &Caller, context: Vec<u8>, sealed: Vec<u8>) -> Lent<Vec<u8>>;
    async fn brand(&self, by: &Caller) -> settings::Brand;
    async fn settings(&self, by: &Caller) -> String;
    async fn secret(&self, by: &Caller, name: String) -> Lent<String>;
    async fn search(&self, by: &Caller, q: search::Query) -> Lent<search::Results>;
    async fn search_peers(&self, by: &Caller, q: search::Query) -> Lent<search::Results>;
    async fn suggest(&self, by: &Caller, prefix: String, limit: u32) -> Lent<Vec<String>>;
    async fn gateways(&self, by: &Caller, work: String, offer: String) -> Lent<Vec<commerce::Gateway>>;
    async fn checkout(
        &self,
        by: &Caller,
        session: String,
        work: String,
        offer: String,
        key: String,
    ) -> Lent<commerce::Order>;
    async fn pay(
        &self,
        by: &Caller,
        session: String,
        order: String,
        gateway: String,
        input: Vec<pay::Field>,
    ) -> Lent<pay::Step>;
    async fn order(&self, by: &Caller, session: String, id: String) -> Lent<commerce::Order>;
    async fn library(&self, by: &Caller, session: String) -> Lent<Vec<types::Entitlement>>;
    async fn delivery_url(&self, by: &Caller, session: String, entitlement: String, path: String) -> Lent<String>;
    async fn count_purchases(
        &self,
        by: &Caller,
        tag: Option<String>,
        since: Option<String>,
    ) -> Lent<commerce::Purchases>;
    async fn running(&self, by: &Caller, locale: String) -> Lent<Vec<adv::CampaignSummary>>;
    async fn campaign(
        &self,
        by: &Caller,
        id: String,
        locale: String,
        audience: Option<String>,
    ) -> Lent<adv::Campaign>;
    async fn targets(&self, by: &Caller, id: String, country: String, postcode: String) -> Lent<Vec<adv::Target>>;
    async fn take_part(&self, by: &Caller, p: adv::Participation) -> Lent<adv::Outcome>;
    async fn press(
        &self,
        by: &Caller,
        id: String,
        format: String,
        locale: String,
        audience: String,
        placement: String,
    ) -> Lent<types::Document>;
    async fn send_mail(&self, by: &Caller, m: mail::Message) -> Lent<()>;
    async fn asset_paths(&self, by: &Caller, prefix: String) -> Lent<Vec<String>>;
    async fn asset(&self, by: &Caller, path: String) -> Lent<Vec<u8>>;
}
