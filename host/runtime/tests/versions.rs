//! A component that was built against `fondaco:plugin@0.1.0` runs on a node whose newest version is another, as every
//! kind, with every function of the interface. The component is `tests/guests/since-0-1`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails where it is wrong")]

mod common;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use fondaco_runtime::wit::{
    advocacy_types as adv, catalogue, commerce, drm_types, mail, payment_types as pay,
    search::exports::fondaco::plugin::search_provider::Change, search_types as search, settings, storage, types,
};
use fondaco_runtime::{Caller, Context, Lent, Limits, LoadError, Plugin, ScriptOf, Services, Spec};
use fondaco_schemas::{Capability, PluginKind};

/// Answers every call with what tells it from the others.
struct Telling;

fn money() -> types::Money {
    types::Money { amount: "499".into(), asset: "EUR".into(), exponent: 2 }
}

fn work() -> types::Work {
    types::Work {
        id: "k/w".into(),
        release: "r".into(),
        kind: types::WorkKind::Album,
        title: "Night".into(),
        creators: vec!["Ada".into()],
        description: String::new(),
        language: None,
        tags: vec![],
        license: None,
        credits: vec![],
        published: "2030-01-31T12:00:00Z".into(),
        files: vec![file()],
        offers: vec![],
        metadata: "{}".into(),
    }
}

fn file() -> types::FileInfo {
    types::FileInfo {
        path: "a".into(),
        hash: "h".into(),
        size: 77,
        media_type: "text/plain".into(),
        role: types::FileRole::Content,
        protection: None,
        title: None,
        duration_ms: None,
    }
}

fn entitlement() -> types::Entitlement {
    types::Entitlement {
        id: "ent".into(),
        work: "k/w".into(),
        release: "r".into(),
        offer: "o".into(),
        holder: "h".into(),
        state: types::EntitlementState::Active,
        granted: "2030-01-31T12:00:00Z".into(),
        expires: None,
    }
}

fn results(total: u64) -> search::Results {
    search::Results { hits: vec![], slots: vec![], facets: vec![], total, next: None, missing: 0 }
}

fn order(state: commerce::OrderState) -> commerce::Order {
    commerce::Order {
        id: "ord".into(),
        work: "w".into(),
        offer: "o".into(),
        total: money(),
        state,
        gateway: None,
        created: String::new(),
        updated: String::new(),
    }
}

#[async_trait]
impl Services for Telling {
    async fn storage_get(&self, _: &Caller, key: Vec<u8>) -> Lent<Option<Vec<u8>>> {
        Ok(Some(key))
    }
    async fn storage_scan(&self, _: &Caller, start: Vec<u8>, end: Vec<u8>, _: u32) -> Lent<Vec<storage::Entry>> {
        Ok(vec![storage::Entry { key: start, value: end }])
    }
    #[expect(clippy::indexing_slicing, reason = "a batch of another length fails the test, which is right")]
    async fn storage_apply(&self, _: &Caller, batch: Vec<storage::Write>) -> Lent<()> {
        let put = matches!(&batch[0], storage::Write::Put(e) if e.key == b"k" && e.value == b"v");
        let delete = matches!(&batch[1], storage::Write::Delete(key) if key == b"gone");
        let check = matches!(&batch[2], storage::Write::Check((key, Some(value))) if key == b"k" && value == b"v");
        assert!(put && delete && check, "{batch:?}");
        Ok(())
    }
    async fn work(&self, _: &Caller, _: String) -> Lent<types::Work> {
        Ok(work())
    }
    async fn browse(&self, _: &Caller, cursor: Option<String>, limit: u32) -> Lent<catalogue::Page> {
        Ok(catalogue::Page { works: vec![work()], next: Some(format!("{cursor:?} {limit}")) })
    }
    async fn read_blob(&self, _: &Caller, _: String, _: u64, _: u32) -> Lent<Vec<u8>> {
        Ok(vec![1])
    }
    async fn derive(&self, _: &Caller, _: String) -> Lent<Vec<u8>> {
        Ok(vec![2])
    }
    async fn hmac(&self, _: &Caller, _: String, _: Vec<u8>) -> Lent<Vec<u8>> {
        Ok(vec![3])
    }
    async fn verify_hmac(&self, _: &Caller, _: String, _: Vec<u8>, _: Vec<u8>) -> Lent<bool> {
        Ok(true)
    }
    async fn sign(&self, _: &Caller, _: String, _: Vec<u8>) -> Lent<Vec<u8>> {
        Ok(vec![4])
    }
    async fn public_key(&self, _: &Caller, _: String) -> Lent<Vec<u8>> {
        Ok(vec![5])
    }
    async fn verify(&self, _: &Caller, _: String, _: Vec<u8>, _: Vec<u8>) -> Lent<bool> {
        Ok(false)
    }
    async fn seal(&self, _: &Caller, _: String, _: Vec<u8>, _: Vec<u8>) -> Lent<Vec<u8>> {
        Ok(vec![6])
    }
    async fn unseal(&self, _: &Caller, _: Vec<u8>, _: Vec<u8>) -> Lent<Vec<u8>> {
        Ok(vec![7])
    }
    async fn brand(&self, _: &Caller) -> settings::Brand {
        settings::Brand {
            name: "Owl".into(),
            tagline: String::new(),
            locale: "en".into(),
            locales: vec!["en".into(), "fr".into()],
            base_url: String::new(),
            colors: vec![("brand".into(), "#000".into())],
            logo: None,
            contact: None,
        }
    }
    async fn settings(&self, _: &Caller) -> String {
        "{\"a\":1}".into()
    }
    async fn secret(&self, _: &Caller, name: String) -> Lent<String> {
        Ok(name)
    }
    async fn search(&self, _: &Caller, _: search::Query) -> Lent<search::Results> {
        Ok(results(8))
    }
    async fn search_peers(&self, _: &Caller, _: search::Query) -> Lent<search::Results> {
        Ok(results(9))
    }
    async fn suggest(&self, _: &Caller, prefix: String, _: u32) -> Lent<Vec<String>> {
        Ok(vec![prefix])
    }
    async fn gateways(&self, _: &Caller, _: String, _: String) -> Lent<Vec<commerce::Gateway>> {
        let gateway = commerce::Gateway { id: "g".into(), name: "G".into(), currencies: vec![] };
        Ok(vec![gateway.clone(), gateway])
    }
    async fn checkout(&self, _: &Caller, _: String, _: String, _: String, _: String) -> Lent<commerce::Order> {
        Ok(order(commerce::OrderState::Refunded))
    }
    async fn pay(&self, _: &Caller, _: String, _: String, _: String, _: Vec<pay::Field>) -> Lent<pay::Step> {
        Ok(pay::Step::Done)
    }
    async fn order(&self, _: &Caller, _: String, _: String) -> Lent<commerce::Order> {
        Ok(order(commerce::OrderState::Expired))
    }
    async fn library(&self, _: &Caller, _: String) -> Lent<Vec<types::Entitlement>> {
        Ok(vec![entitlement()])
    }
    async fn delivery_url(&self, _: &Caller, _: String, entitlement: String, path: String) -> Lent<String> {
        Ok(format!("/{entitlement}/{path}"))
    }
    async fn count_purchases(&self, _: &Caller, _: Option<String>, _: Option<String>) -> Lent<commerce::Purchases> {
        Ok(commerce::Purchases { count: 12, buyers: 10, gross: vec![money()], proof: "p".into() })
    }
    async fn running(&self, _: &Caller, _: String) -> Lent<Vec<adv::CampaignSummary>> {
        Ok(vec![])
    }
    async fn campaign(&self, _: &Caller, _: String, _: String, _: Option<String>) -> Lent<adv::Campaign> {
        Err(types::Error::NotFound)
    }
    async fn targets(&self, _: &Caller, _: String, _: String, _: String) -> Lent<Vec<adv::Target>> {
        Ok(vec![])
    }
    async fn take_part(&self, _: &Caller, _: adv::Participation) -> Lent<adv::Outcome> {
        Ok(adv::Outcome::Counted)
    }
    async fn press(
        &self,
        _: &Caller,
        _: String,
        format: String,
        _: String,
        _: String,
        _: String,
    ) -> Lent<types::Document> {
        Ok(types::Document { media_type: String::new(), file_name: format, body: vec![] })
    }
    async fn send_mail(&self, _: &Caller, m: mail::Message) -> Lent<()> {
        let all = [m.to, m.reply_to.unwrap(), m.subject, m.text, m.key].join(" ");
        assert_eq!((all.as_str(), m.html), ("to reply subject text once", None));
        Ok(())
    }
    async fn asset_paths(&self, _: &Caller, prefix: String) -> Lent<Vec<String>> {
        Ok(vec![prefix])
    }
    async fn asset(&self, _: &Caller, _: String) -> Lent<Vec<u8>> {
        Ok(vec![10])
    }
}

const TRANSCRIPT: &str = r##"storage.get Some([107])
storage.scan [([97], [122])]
catalogue.get Night
catalogue.browse 1 Some("Some(\"c\") 7")
blobs.read [1]
keys.derive [2]
keys.hmac [3]
keys.verify-hmac true
keys.sign [4]
keys.public-key [5]
keys.verify false
keys.seal [6]
keys.unseal [7]
settings.brand Owl ["en", "fr"] [("brand", "#000")]
settings.get {"a":1}
settings.secret n
discovery.search 8
discovery.search-peers 9
discovery.suggest ["p"]
commerce.gateways 2
commerce.checkout ord OrderState::Refunded 499
commerce.pay true
commerce.get-order OrderState::Expired
commerce.library 1
commerce.delivery-url /e/p
commerce.count-purchases 12
campaigns.running 0
campaigns.get true
campaigns.targets 0
campaigns.take-part true
campaigns.press f
assets.paths ["a"]
assets.read [10]"##;

fn component() -> Vec<u8> {
    let bytes = common::component("since-0-1");
    let holds = |text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
    assert!(holds("fondaco:plugin/storage@0.1.0"), "the guest is built against 0.1.0 alone");
    assert!(!holds("fondaco:plugin/storage@0.2"), "the guest is built against 0.1.0 alone");
    bytes
}

async fn load(kind: PluginKind, capabilities: &[Capability]) -> Result<Plugin, LoadError> {
    let base = common::spec(component(), common::grants(capabilities), Limits::default());
    common::runtime().load(Spec { kind, services: Arc::new(Telling), ..base }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_of_0_1_calls_every_function_of_the_node() {
    let plugin = load(PluginKind::Search, &Capability::ALL).await.unwrap();
    assert_eq!(plugin.tools().await.unwrap()[0].name, "transcript");
    let document = plugin.run_tool("transcript".into(), vec![]).await.unwrap().unwrap();
    assert_eq!(String::from_utf8(document.body).unwrap(), TRANSCRIPT);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_of_0_1_is_called_as_every_kind() {
    let node = Context::node();
    let plugin = load(PluginKind::Search, &Capability::ALL).await.unwrap();
    assert_eq!(common::find(&plugin, "words").await.unwrap(), Ok(vec!["words".to_owned()]));
    let changes = vec![Change::Upsert(work()), Change::Remove("k/x".into())];
    let said = plugin.index(&node, changes).await.unwrap();
    assert_eq!(said, Err(types::Error::Invalid("+Night -k/x".into())));

    let plugin = load(PluginKind::Payment, &Capability::ALL).await.unwrap();
    assert!(plugin.describe_payment(&node).await.unwrap().1.offline);
    assert_eq!(plugin.fetch(&node, "pay".into()).await.unwrap(), Err(types::Error::Unavailable("pay".into())));

    let plugin = load(PluginKind::Drm, &Capability::ALL).await.unwrap();
    assert_eq!(plugin.issue(&node, entitlement(), file(), None, None).await.unwrap().unwrap().body, b"ent");
    let terms = types::Terms {
        scheme: None,
        lasts: None,
        devices: None,
        territories: vec![],
        available_from: None,
        available_until: None,
    };
    let of = ScriptOf::Protect(Box::new(work()), file(), terms);
    let mut script = plugin.script(&node, of).await.unwrap().unwrap();
    let copied = script.next(512).await.unwrap().unwrap();
    assert_eq!(copied, [drm_types::Edit::Copy(drm_types::Span { offset: 0, len: 77 })]);
    assert_eq!(script.next(512).await.unwrap().unwrap(), []);

    let plugin = load(PluginKind::Advocacy, &Capability::ALL).await.unwrap();
    assert_eq!(plugin.running(&node, "fr".into()).await.unwrap(), Err(types::Error::Invalid("fr".into())));

    let plugin = load(PluginKind::Storefront, &Capability::ALL).await.unwrap();
    let request = http::Request::get("/").header("host", "shop.example").body(Bytes::new()).unwrap();
    assert_eq!(plugin.handle(&node, request, 1 << 20).await.unwrap().into_body(), "Night");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_granted_is_not_linked_under_its_old_name_either() {
    let all_but: Vec<_> = Capability::ALL.into_iter().filter(|c| *c != Capability::Mail).collect();
    let refusal = load(PluginKind::Search, &all_but).await.unwrap_err().to_string();
    assert!(refusal.contains("fondaco:plugin/mail@0.1.0") && refusal.contains("\"mail\""), "{refusal}");
}
