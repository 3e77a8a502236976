//! A plugin of every kind at once, built against the frozen `schemas/wit/0.1.0` and never against anything newer. The
//! runtime's tests load it as each kind, and have it call every interface of the node and say what came of it.
#![cfg(target_family = "wasm")]
#![allow(missing_docs, clippy::pedantic, reason = "generated, and a test's own code")]
#![allow(unsafe_code, reason = "the canonical ABI moves values through raw memory")]

use std::cell::Cell;

mod bindings {
    wit_bindgen::generate!({
        path: "../../../schemas/wit/0.1.0",
        inline: "
            package test:since;
            world everything {
                include fondaco:plugin/imports@0.1.0;
                export fondaco:plugin/search-provider@0.1.0;
                export fondaco:plugin/payment-gateway@0.1.0;
                export fondaco:plugin/drm-scheme@0.1.0;
                export fondaco:plugin/advocacy-module@0.1.0;
                export fondaco:plugin/operator@0.1.0;
            }
        ",
        world: "test:since/everything",
        generate_all,
    });
}

use bindings::exports::fondaco::plugin::{advocacy_module, drm_scheme, operator, payment_gateway, search_provider};
use bindings::fondaco::plugin::advocacy_types::{Campaign, CampaignSummary, Count, Outcome, Participation, Target};
use bindings::fondaco::plugin::drm_types::{Edit, License, LicenseState, LicenseStatus, Secrecy, Span};
use bindings::fondaco::plugin::payment_types::{Capabilities, Field, PaymentEvent, PaymentRequest, Step};
use bindings::fondaco::plugin::search_types::{Hit, Query, Results, Slot};
use bindings::fondaco::plugin::types::{Document, Entitlement, Error, FileInfo, HttpMessage, Money, Terms, Tool, Work};
use bindings::fondaco::plugin::{
    assets, blobs, campaigns, catalogue, commerce, discovery, keys, mail, settings, storage,
};

struct Everything;
bindings::export!(Everything with_types_in bindings);
wasip2::http::proxy::export!(Everything with_types_in wasip2);

/// What the node answers to one call of each of its functions, a line each.
fn transcript() -> Result<Vec<String>, Error> {
    let entry = storage::Entry { key: b"k".to_vec(), value: b"v".to_vec() };
    storage::apply(&[
        storage::Write::Put(entry),
        storage::Write::Delete(b"gone".to_vec()),
        storage::Write::Check((b"k".to_vec(), Some(b"v".to_vec()))),
    ])?;
    let scanned = storage::scan(b"a", b"z", 3)?;
    let page = catalogue::browse(Some("c"), 7)?;
    let order = commerce::checkout("s", "w", "o", "key")?;
    let message = mail::Message {
        to: "to".into(),
        reply_to: Some("reply".into()),
        subject: "subject".into(),
        text: "text".into(),
        html: None,
        key: "once".into(),
    };
    mail::send(&message)?;
    let brand = settings::get_brand();
    Ok(vec![
        format!("storage.get {:?}", storage::get(b"k")?),
        format!("storage.scan {:?}", scanned.iter().map(|e| (&e.key, &e.value)).collect::<Vec<_>>()),
        format!("catalogue.get {}", catalogue::get("w")?.title),
        format!("catalogue.browse {} {:?}", page.works.len(), page.next),
        format!("blobs.read {:?}", blobs::read("h", 1, 2)?),
        format!("keys.derive {:?}", keys::derive("l")?),
        format!("keys.hmac {:?}", keys::hmac_sha256("s", b"m")?),
        format!("keys.verify-hmac {:?}", keys::verify_hmac_sha256("s", b"m", b"t")?),
        format!("keys.sign {:?}", keys::sign("l", b"m")?),
        format!("keys.public-key {:?}", keys::public_key("l")?),
        format!("keys.verify {:?}", keys::verify("l", b"m", b"s")?),
        format!("keys.seal {:?}", keys::seal("h", b"c", b"m")?),
        format!("keys.unseal {:?}", keys::unseal(b"c", b"m")?),
        format!("settings.brand {} {:?} {:?}", brand.name, brand.locales, brand.colors),
        format!("settings.get {}", settings::get()),
        format!("settings.secret {}", settings::secret("n")?),
        format!("discovery.search {}", discovery::search(&query())?.total),
        format!("discovery.search-peers {}", discovery::search_peers(&query())?.total),
        format!("discovery.suggest {:?}", discovery::suggest("p", 1)?),
        format!("commerce.gateways {}", commerce::gateways("w", "o")?.len()),
        format!("commerce.checkout {} {:?} {}", order.id, order.state, order.total.amount),
        format!("commerce.pay {:?}", matches!(commerce::pay("s", "o", "g", &[])?, Step::Done)),
        format!("commerce.get-order {:?}", commerce::get_order("s", "o")?.state),
        format!("commerce.library {}", commerce::library("s")?.len()),
        format!("commerce.delivery-url {}", commerce::delivery_url("s", "e", "p")?),
        format!("commerce.count-purchases {}", commerce::count_purchases(None, None)?.count),
        format!("campaigns.running {}", campaigns::running("en")?.len()),
        format!("campaigns.get {:?}", matches!(campaigns::get("i", "en", None), Err(Error::NotFound))),
        format!("campaigns.targets {}", campaigns::targets("i", "c", "p")?.len()),
        format!("campaigns.take-part {:?}", matches!(campaigns::take_part(&participation())?, Outcome::Counted)),
        format!("campaigns.press {}", campaigns::press("i", "f", "en", "a", "p")?.file_name),
        format!("assets.paths {:?}", assets::paths("a")?),
        format!("assets.read {:?}", assets::read("a")?),
    ])
}

fn query() -> Query {
    use bindings::fondaco::plugin::search_types::{Reach, Sort};
    Query {
        text: "t".into(),
        kinds: vec![],
        tags: vec![],
        language: None,
        max_price: None,
        drm_free: false,
        facets: vec![],
        sort: Sort::Newest,
        cursor: None,
        limit: 1,
        reach: Reach::LocalOnly,
        wait_ms: 0,
    }
}

fn participation() -> Participation {
    Participation {
        campaign: "c".into(),
        action: "a".into(),
        session: "s".into(),
        fields: vec![],
        targets: vec![],
        consents: vec![],
        placement: None,
        token: None,
    }
}

impl operator::Guest for Everything {
    fn tools() -> Vec<Tool> {
        vec![Tool { name: "transcript".into(), summary: "calls everything".into(), parameters: vec![] }]
    }
    fn run(_: String, _: Vec<(String, String)>) -> Result<Document, Error> {
        let body = transcript()?.join("\n").into_bytes();
        Ok(Document { media_type: "text/plain".into(), file_name: "transcript.txt".into(), body })
    }
}

impl search_provider::Guest for Everything {
    fn parameters() -> Vec<(String, f32)> {
        vec![("age".into(), 1.0)]
    }
    fn index(changes: Vec<search_provider::Change>) -> Result<(), Error> {
        let said = changes.iter().map(|change| match change {
            search_provider::Change::Upsert(work) => format!("+{}", work.title),
            search_provider::Change::Remove(id) => format!("-{id}"),
        });
        Err(Error::Invalid(said.collect::<Vec<_>>().join(" ")))
    }
    fn find(q: Query) -> Result<Results, Error> {
        let hit = Hit { work: q.text, score: 1.0, highlights: vec![], because: vec![], via: None };
        Ok(Results { hits: vec![hit], slots: vec![], facets: vec![], total: 1, next: None, missing: 0 })
    }
    fn suggest(prefix: String, _: u32) -> Result<Vec<String>, Error> {
        Ok(vec![prefix])
    }
    fn bid(_: Query) -> Result<Vec<Slot>, Error> {
        Ok(vec![])
    }
}

impl payment_gateway::Guest for Everything {
    fn describe() -> (Vec<String>, Capabilities) {
        let capabilities = Capabilities {
            authorize: false,
            partial_refund: false,
            payout: false,
            recurring: false,
            in_band: false,
            offline: true,
            anonymous: false,
        };
        (vec!["EUR".into()], capabilities)
    }
    fn begin(_: PaymentRequest) -> Result<(Step, Vec<PaymentEvent>), Error> {
        Ok((Step::Done, vec![]))
    }
    fn advance(_: String, _: Vec<Field>) -> Result<(Step, Vec<PaymentEvent>), Error> {
        Ok((Step::Done, vec![]))
    }
    fn webhook(_: HttpMessage) -> Result<Vec<PaymentEvent>, Error> {
        Err(Error::NotFound)
    }
    fn fetch(payment: String) -> Result<Vec<PaymentEvent>, Error> {
        Err(Error::Unavailable(payment))
    }
    fn capture(_: String, _: Money, _: String) -> Result<Vec<PaymentEvent>, Error> {
        Err(Error::NotFound)
    }
    fn cancel(_: String, _: String) -> Result<Vec<PaymentEvent>, Error> {
        Err(Error::NotFound)
    }
    fn refund(_: String, _: Money, _: String) -> Result<Vec<PaymentEvent>, Error> {
        Err(Error::NotFound)
    }
    fn challenge(_: PaymentRequest) -> Result<Vec<(String, String)>, Error> {
        Err(Error::NotFound)
    }
    fn redeem(_: HttpMessage, _: PaymentRequest) -> Result<(Vec<PaymentEvent>, Vec<(String, String)>), Error> {
        Err(Error::NotFound)
    }
}

/// Copies the file in one edit, once.
struct Copying(u64, Cell<bool>);

impl drm_scheme::GuestScript for Copying {
    fn next(&self, _: u32) -> Result<Vec<Edit>, Error> {
        let fresh = !self.1.replace(true);
        Ok(if fresh { vec![Edit::Copy(Span { offset: 0, len: self.0 })] } else { vec![] })
    }
}

fn status() -> Result<LicenseStatus, Error> {
    Ok(LicenseStatus { state: LicenseState::Active, devices: 1, ends: None, renewable_until: None })
}

impl drm_scheme::Guest for Everything {
    type Script = Copying;
    fn describe() -> (Secrecy, Vec<String>) {
        (Secrecy::None, vec![])
    }
    fn protect(_: Work, file: FileInfo, _: Terms) -> Result<drm_scheme::Script, Error> {
        Ok(drm_scheme::Script::new(Copying(file.size, Cell::new(false))))
    }
    fn personalise(_: Entitlement, _: FileInfo) -> Result<Option<drm_scheme::Script>, Error> {
        Ok(None)
    }
    fn issue(e: Entitlement, _: FileInfo, _: Option<String>, _: Option<HttpMessage>) -> Result<License, Error> {
        Ok(License { media_type: "text/plain".into(), body: e.id.into_bytes(), headers: vec![], expires: None })
    }
    fn status(_: Entitlement) -> Result<LicenseStatus, Error> {
        status()
    }
    fn register(_: Entitlement, _: String, _: String) -> Result<LicenseStatus, Error> {
        status()
    }
    fn renew(_: Entitlement, _: Option<String>) -> Result<LicenseStatus, Error> {
        status()
    }
    fn give_back(_: Entitlement, _: String) -> Result<LicenseStatus, Error> {
        status()
    }
    fn revoke(_: Entitlement, _: String) -> Result<LicenseStatus, Error> {
        status()
    }
    fn open(_: License, file: FileInfo) -> Result<drm_scheme::Script, Error> {
        Ok(drm_scheme::Script::new(Copying(file.size, Cell::new(false))))
    }
    fn trace(_: Vec<u8>) -> Result<Vec<(String, f32)>, Error> {
        Ok(vec![])
    }
}

impl advocacy_module::Guest for Everything {
    fn running(locale: String) -> Result<Vec<CampaignSummary>, Error> {
        Err(Error::Invalid(locale))
    }
    fn get(_: String, _: String, _: Option<String>) -> Result<Campaign, Error> {
        Err(Error::NotFound)
    }
    fn targets(_: String, _: String, _: String) -> Result<Vec<Target>, Error> {
        Ok(vec![])
    }
    fn take_part(_: Participation) -> Result<Outcome, Error> {
        Ok(Outcome::Counted)
    }
    fn confirm(_: String) -> Result<Outcome, Error> {
        Ok(Outcome::AlreadyCounted)
    }
    fn withdraw(_: String) -> Result<(), Error> {
        Ok(())
    }
    fn leaves(_: String, _: u64) -> Result<Vec<Vec<u8>>, Error> {
        Ok(vec![])
    }
    fn counts(_: String) -> Result<Vec<Count>, Error> {
        Ok(vec![])
    }
    fn press(_: String, _: String, _: String, _: String, _: String) -> Result<Document, Error> {
        Err(Error::NotFound)
    }
    fn export_person(_: String) -> Result<Document, Error> {
        Err(Error::NotFound)
    }
    fn erase_person(_: String) -> Result<u32, Error> {
        Ok(0)
    }
}

impl wasip2::exports::http::incoming_handler::Guest for Everything {
    fn handle(_: wasip2::http::types::IncomingRequest, out: wasip2::http::types::ResponseOutparam) {
        use wasip2::http::types::{Fields, OutgoingBody, OutgoingResponse, ResponseOutparam};
        let title = catalogue::get("w").map_or_else(|error| format!("{error:?}"), |work| work.title);
        let response = OutgoingResponse::new(Fields::new());
        let Ok(body) = response.body() else { return };
        ResponseOutparam::set(out, Ok(response));
        let Ok(stream) = body.write() else { return };
        let _ = stream.blocking_write_and_flush(title.as_bytes());
        drop(stream);
        let _ = OutgoingBody::finish(body, None);
    }
}
