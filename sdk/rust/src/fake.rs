//! A node for tests, one for each thread: storage in memory, real signatures, works and files that the test puts there.
//!
//! ```
//! use fondaco_sdk::{fake, storage};
//!
//! let host = fake::Host::install();
//! storage::apply(&[storage::Write::Put(storage::Entry { key: b"k".to_vec(), value: b"v".to_vec() })]).unwrap();
//! assert_eq!(host.stored(b"k"), Some(b"v".to_vec()));
//! ```
//!
//! It keeps the node's rules where a plugin could trip over them (all-or-nothing batches, key order, `NotFound`), and is
//! no substitute for the real one: grants, deadlines and quotas are the node's own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use ring::{aead, hmac, signature::KeyPair};

use crate::{
    Campaign, CampaignSummary, Document, Entitlement, Error, Field, Outcome, Participation, Query, Result, Results,
    Step, Target, Work,
};

/// Answers `discovery` calls.
pub trait Discovery {
    /// See [`crate::discovery::search`].
    fn search(&mut self, query: &Query) -> Result<Results>;
    /// See [`crate::discovery::search_peers`]: by default what is here.
    fn search_peers(&mut self, query: &Query) -> Result<Results> {
        self.search(query)
    }
    /// See [`crate::peers::get`].
    fn remote(&mut self, _id: &str) -> Result<crate::peers::Remote> {
        Err(Error::NotFound)
    }
    /// See [`crate::discovery::suggest`].
    fn suggest(&mut self, _prefix: &str, _limit: u32) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}

/// Answers `commerce` calls. Every method has a default of "nothing there".
#[expect(unused_variables, reason = "the names are the documentation of the defaults")]
pub trait Commerce {
    /// See [`crate::commerce::seller`]: by default this shop.
    fn seller(&mut self, work: &str) -> Result<crate::commerce::SoldBy> {
        Ok(crate::commerce::SoldBy::Here)
    }
    /// See [`crate::commerce::gateways`].
    fn gateways(&mut self, work: &str, offer: &str) -> Result<Vec<crate::commerce::Gateway>> {
        Ok(Vec::new())
    }
    /// See [`crate::commerce::checkout`].
    fn checkout(&mut self, session: &str, work: &str, offer: &str, key: &str) -> Result<crate::commerce::Order> {
        Err(Error::NotFound)
    }
    /// See [`crate::commerce::checkout_in`].
    fn checkout_in(
        &mut self,
        session: &str,
        work: &str,
        offer: &str,
        key: &str,
        country: &str,
    ) -> Result<crate::commerce::Order> {
        self.checkout(session, work, offer, key)
    }
    /// See [`crate::commerce::pay`].
    fn pay(&mut self, session: &str, order: &str, gateway: &str, input: &[Field]) -> Result<Step> {
        Err(Error::NotFound)
    }
    /// See [`crate::commerce::get_order`].
    fn get_order(&mut self, session: &str, id: &str) -> Result<crate::commerce::Order> {
        Err(Error::NotFound)
    }
    /// See [`crate::commerce::library`].
    fn library(&mut self, session: &str) -> Result<Vec<Entitlement>> {
        Ok(Vec::new())
    }
    /// See [`crate::commerce::bought`].
    fn bought(&mut self, session: &str, entitlement: &str) -> Result<Work> {
        Err(Error::NotFound)
    }
    /// See [`crate::commerce::delivery_url`].
    fn delivery_url(&mut self, session: &str, entitlement: &str, path: &str) -> Result<String> {
        Err(Error::NotFound)
    }
    /// See [`crate::commerce::count_purchases`].
    fn count_purchases(&mut self, tag: Option<&str>, since: Option<&str>) -> Result<crate::commerce::Purchases> {
        Err(Error::NotFound)
    }
}

/// Answers `campaigns` calls. Every method has a default of "nothing there".
#[expect(unused_variables, reason = "the names are the documentation of the defaults")]
pub trait Campaigns {
    /// See [`crate::campaigns::running`].
    fn running(&mut self, locale: &str) -> Result<Vec<CampaignSummary>> {
        Ok(Vec::new())
    }
    /// See [`crate::campaigns::get`].
    fn get(&mut self, id: &str, locale: &str, audience: Option<&str>) -> Result<Campaign> {
        Err(Error::NotFound)
    }
    /// See [`crate::campaigns::targets`].
    fn targets(&mut self, id: &str, country: &str, postcode: &str) -> Result<Vec<Target>> {
        Ok(Vec::new())
    }
    /// See [`crate::campaigns::take_part`].
    fn take_part(&mut self, participation: &Participation) -> Result<Outcome> {
        Err(Error::NotFound)
    }
    /// See [`crate::campaigns::press`].
    fn press(&mut self, id: &str, format: &str, locale: &str, audience: &str, placement: &str) -> Result<Document> {
        Err(Error::NotFound)
    }
}

type Shared<T> = Rc<RefCell<T>>;

#[derive(Default)]
struct State {
    storage: BTreeMap<Vec<u8>, Vec<u8>>,
    works: Vec<Work>,
    blobs: BTreeMap<String, Vec<u8>>,
    assets: BTreeMap<String, Vec<u8>>,
    secrets: BTreeMap<String, String>,
    settings: Option<String>,
    brand: Option<crate::settings::Brand>,
    holder: Option<String>,
    mails: Vec<crate::mail::Message>,
    discovery: Option<Shared<dyn Discovery>>,
    commerce: Option<Shared<dyn Commerce>>,
    campaigns: Option<Shared<dyn Campaigns>>,
    web: Option<Rc<Web>>,
    web_requests: Vec<crate::http::Request>,
}

type Web = dyn Fn(&crate::http::Request) -> std::result::Result<crate::http::Response, crate::http::Error>;

/// What [`crate::http::fetch`] does under test.
pub(crate) fn web(request: &crate::http::Request) -> std::result::Result<crate::http::Response, crate::http::Error> {
    let web = with(|s| {
        s.web_requests.push(request.clone());
        s.web.clone()
    });
    let web = web.ok_or_else(|| crate::http::Error::Denied("the test plays no web: call Host::web".into()))?;
    crate::http::within(request, web(request)?)
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

fn with<T>(f: impl FnOnce(&mut State) -> T) -> T {
    STATE.with_borrow_mut(f)
}

/// The thread's fake node. Its methods set it up and look into it.
pub struct Host(());

impl Host {
    /// Starts this thread's fake node anew, empty.
    pub fn install() -> Self {
        with(|s| *s = State::default());
        Self(())
    }
    /// Sets the brand; without it the node is called "Test" and speaks English.
    pub fn brand(&self, brand: crate::settings::Brand) -> &Self {
        with(|s| s.brand = Some(brand));
        self
    }
    /// Sets the plugin's settings.
    pub fn settings(&self, settings: &serde_json::Value) -> &Self {
        with(|s| s.settings = Some(settings.to_string()));
        self
    }
    /// Sets a secret.
    pub fn secret(&self, name: &str, value: &str) -> &Self {
        with(|s| s.secrets.insert(name.into(), value.into()));
        self
    }
    /// Puts a work into the catalogue; the newest first.
    pub fn work(&self, work: Work) -> &Self {
        with(|s| s.works.insert(0, work));
        self
    }
    /// Puts a file into the store.
    pub fn blob(&self, hash: &str, bytes: impl Into<Vec<u8>>) -> &Self {
        with(|s| s.blobs.insert(hash.into(), bytes.into()));
        self
    }
    /// Puts a file into the bundle.
    pub fn asset(&self, path: &str, bytes: impl Into<Vec<u8>>) -> &Self {
        with(|s| s.assets.insert(path.into(), bytes.into()));
        self
    }
    /// Lets the node act for this holder, so that [`crate::keys::unseal`] opens what was sealed to it.
    pub fn act_for(&self, holder: &str) -> &Self {
        with(|s| s.holder = Some(holder.into()));
        self
    }
    /// Answers `discovery` calls.
    pub fn discovery(&self, answers: impl Discovery + 'static) -> &Self {
        with(|s| s.discovery = Some(Rc::new(RefCell::new(answers))));
        self
    }
    /// Answers `commerce` calls.
    pub fn commerce(&self, answers: impl Commerce + 'static) -> &Self {
        with(|s| s.commerce = Some(Rc::new(RefCell::new(answers))));
        self
    }
    /// Answers `campaigns` calls.
    pub fn campaigns(&self, answers: impl Campaigns + 'static) -> &Self {
        with(|s| s.campaigns = Some(Rc::new(RefCell::new(answers))));
        self
    }
    /// Plays the web services that the plugin calls.
    pub fn web(
        &self,
        answers: impl Fn(&crate::http::Request) -> std::result::Result<crate::http::Response, crate::http::Error> + 'static,
    ) -> &Self {
        with(|s| {
            s.web = Some(Rc::new(answers));
            s.web_requests.clear();
        });
        self
    }
    /// What the plugin sent to web services, with secrets as they stand in the plugin.
    pub fn web_requests(&self) -> Vec<crate::http::Request> {
        with(|s| s.web_requests.clone())
    }
    /// What the plugin stored under a key.
    pub fn stored(&self, key: &[u8]) -> Option<Vec<u8>> {
        with(|s| s.storage.get(key).cloned())
    }
    /// How many keys the plugin stored.
    pub fn stored_keys(&self) -> usize {
        with(|s| s.storage.len())
    }
    /// The mails that the plugin handed over.
    pub fn mails(&self) -> Vec<crate::mail::Message> {
        with(|s| s.mails.clone())
    }
}

fn hmac_of(key: &[u8], message: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message)
}

fn own_key(label: &str) -> Result<ring::signature::Ed25519KeyPair> {
    let seed = keys::derive(&format!("sign/{label}"))?;
    ring::signature::Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|e| Error::Internal(e.to_string()))
}

#[expect(clippy::unnecessary_wraps, reason = "the node's own signatures")]
pub(crate) mod storage {
    use super::{Error, Result, with};
    use crate::storage::{Entry, Write};

    pub fn get(key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(with(|s| s.storage.get(key).cloned()))
    }
    pub fn scan(start: &[u8], end: &[u8], limit: u32) -> Result<Vec<Entry>> {
        if start >= end {
            return Ok(Vec::new());
        }
        Ok(with(|s| {
            s.storage
                .range(start.to_vec()..end.to_vec())
                .take(limit as usize)
                .map(|(k, v)| Entry { key: k.clone(), value: v.clone() })
                .collect()
        }))
    }
    pub fn apply(batch: &[Write]) -> Result<()> {
        with(|s| {
            let mut next = s.storage.clone();
            for write in batch {
                match write {
                    Write::Put(e) => drop(next.insert(e.key.clone(), e.value.clone())),
                    Write::Delete(k) => drop(next.remove(k)),
                    Write::Check((k, v)) if next.get(k) == v.as_ref() => {}
                    Write::Check(_) => return Err(Error::Invalid("a check of the batch does not hold".into())),
                }
            }
            s.storage = next;
            Ok(())
        })
    }
}

pub(crate) mod catalogue {
    use super::{Error, Result, Work, with};
    use crate::catalogue::Page;

    pub fn get(id: &str) -> Result<Work> {
        with(|s| s.works.iter().find(|w| w.id == id).cloned()).ok_or(Error::NotFound)
    }
    pub fn browse(cursor: Option<&str>, limit: u32) -> Result<Page> {
        let from: usize = cursor.map_or(Ok(0), str::parse).map_err(|_| Error::Invalid("cursor".into()))?;
        Ok(with(|s| {
            let works: Vec<_> = s.works.iter().skip(from).take(limit as usize).cloned().collect();
            let end = from + works.len();
            Page { works, next: (end < s.works.len()).then(|| end.to_string()) }
        }))
    }
    #[expect(clippy::unnecessary_wraps, reason = "the signature is the interface's")]
    pub fn count() -> Result<u64> {
        Ok(with(|s| s.works.len() as u64))
    }
}

pub(crate) mod blobs {
    use super::{Error, Result, with};

    pub fn read(hash: &str, offset: u64, len: u32) -> Result<Vec<u8>> {
        with(|s| {
            let blob = s.blobs.get(hash).ok_or(Error::NotFound)?;
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(blob.len());
            let end = start.saturating_add(len as usize).min(blob.len());
            Ok(blob.get(start..end).unwrap_or_default().to_vec())
        })
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the node's own signatures")]
pub(crate) mod keys {
    use super::{Error, KeyPair, Result, aead, hmac_of, own_key, with};

    pub fn derive(label: &str) -> Result<Vec<u8>> {
        Ok(hmac_of(b"fake node", label.as_bytes()).as_ref().to_vec())
    }
    fn secret(name: &str) -> Result<String> {
        with(|s| s.secrets.get(name).cloned()).ok_or(Error::NotFound)
    }
    pub fn hmac_sha256(name: &str, message: &[u8]) -> Result<Vec<u8>> {
        Ok(hmac_of(secret(name)?.as_bytes(), message).as_ref().to_vec())
    }
    pub fn verify_hmac_sha256(name: &str, message: &[u8], tag: &[u8]) -> Result<bool> {
        Ok(hmac_sha256(name, message)? == tag)
    }
    pub fn sign(label: &str, message: &[u8]) -> Result<Vec<u8>> {
        Ok(own_key(label)?.sign(message).as_ref().to_vec())
    }
    pub fn public_key(label: &str) -> Result<Vec<u8>> {
        Ok(own_key(label)?.public_key().as_ref().to_vec())
    }
    pub fn verify(label: &str, message: &[u8], signature: &[u8]) -> Result<bool> {
        let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, public_key(label)?);
        Ok(key.verify(message, signature).is_ok())
    }
    fn sealing_key(holder: &str) -> Result<aead::LessSafeKey> {
        let key = derive(&format!("seal/{holder}"))?;
        let key = aead::UnboundKey::new(&aead::CHACHA20_POLY1305, &key).map_err(|e| Error::Internal(e.to_string()))?;
        Ok(aead::LessSafeKey::new(key))
    }
    pub fn seal(holder: &str, context: &[u8], message: &[u8]) -> Result<Vec<u8>> {
        let mut sealed = message.to_vec();
        let nonce = aead::Nonce::assume_unique_for_key([0; 12]);
        sealing_key(holder)?
            .seal_in_place_append_tag(nonce, aead::Aad::from(context), &mut sealed)
            .map_err(|e| Error::Internal(e.to_string()))?;
        Ok(sealed)
    }
    pub fn unseal(context: &[u8], sealed: &[u8]) -> Result<Vec<u8>> {
        let holder = with(|s| s.holder.clone()).ok_or(Error::Denied("the node acts for no holder".into()))?;
        let mut bytes = sealed.to_vec();
        let nonce = aead::Nonce::assume_unique_for_key([0; 12]);
        let opened = sealing_key(&holder)?
            .open_in_place(nonce, aead::Aad::from(context), &mut bytes)
            .map_err(|_| Error::Denied("sealed to another holder, or for another context".into()))?;
        Ok(opened.to_vec())
    }
}

pub(crate) mod settings {
    use super::{Error, Result, with};
    use crate::settings::Brand;

    pub fn get_brand() -> Brand {
        with(|s| s.brand.clone()).unwrap_or_else(|| Brand {
            name: "Test".into(),
            tagline: "A node for tests".into(),
            locale: "en".into(),
            locales: vec!["en".into(), "fr".into()],
            base_url: "https://shop.example".into(),
            colors: Vec::new(),
            logo: None,
            contact: None,
        })
    }
    pub fn get() -> String {
        with(|s| s.settings.clone()).unwrap_or_else(|| "{}".into())
    }
    pub fn secret(name: &str) -> Result<String> {
        with(|s| s.secrets.get(name).cloned()).ok_or(Error::NotFound)
    }
}

macro_rules! delegate {
    ($module:ident, $field:ident, { $($name:ident($($arg:ident: $ty:ty),*) -> $out:ty;)* }) => {
        pub(crate) mod $module {
            #[allow(unused_imports, reason = "each module needs some of them")]
            use super::*;
            $(pub fn $name($($arg: $ty),*) -> Result<$out> {
                let answers = with(|s| s.$field.clone()).ok_or(Error::Denied(concat!("the test gave no ", stringify!($field)).into()))?;
                let mut answers = answers.borrow_mut();
                answers.$name($($arg),*)
            })*
        }
    };
}

delegate!(discovery_answers, discovery, {
    search(query: &Query) -> Results;
    search_peers(query: &Query) -> Results;
    remote(id: &str) -> crate::peers::Remote;
    suggest(prefix: &str, limit: u32) -> Vec<String>;
});
pub(crate) mod discovery {
    pub use super::discovery_answers::{search, search_peers, suggest};
}
pub(crate) mod peers {
    pub use super::discovery_answers::remote as get;
}
delegate!(commerce, commerce, {
    seller(work: &str) -> crate::commerce::SoldBy;
    gateways(work: &str, offer: &str) -> Vec<crate::commerce::Gateway>;
    checkout(session: &str, work: &str, offer: &str, key: &str) -> crate::commerce::Order;
    checkout_in(session: &str, work: &str, offer: &str, key: &str, country: &str) -> crate::commerce::Order;
    pay(session: &str, order: &str, gateway: &str, input: &[Field]) -> Step;
    get_order(session: &str, id: &str) -> crate::commerce::Order;
    library(session: &str) -> Vec<Entitlement>;
    bought(session: &str, entitlement: &str) -> Work;
    delivery_url(session: &str, entitlement: &str, path: &str) -> String;
    count_purchases(tag: Option<&str>, since: Option<&str>) -> crate::commerce::Purchases;
});
delegate!(campaigns, campaigns, {
    running(locale: &str) -> Vec<CampaignSummary>;
    get(id: &str, locale: &str, audience: Option<&str>) -> Campaign;
    targets(id: &str, country: &str, postcode: &str) -> Vec<Target>;
    take_part(participation: &Participation) -> Outcome;
    press(id: &str, format: &str, locale: &str, audience: &str, placement: &str) -> Document;
});

#[expect(clippy::unnecessary_wraps, reason = "the node's own signatures")]
pub(crate) mod mail {
    use super::{Result, with};

    pub fn send(message: &crate::mail::Message) -> Result<()> {
        with(|s| {
            if !s.mails.iter().any(|m| m.key == message.key) {
                s.mails.push(message.clone());
            }
        });
        Ok(())
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the node's own signatures")]
pub(crate) mod assets {
    use super::{Error, Result, with};

    pub fn paths(prefix: &str) -> Result<Vec<String>> {
        Ok(with(|s| s.assets.keys().filter(|p| p.starts_with(prefix)).cloned().collect()))
    }
    pub fn read(path: &str) -> Result<Vec<u8>> {
        with(|s| s.assets.get(path).cloned()).ok_or(Error::NotFound)
    }
}
