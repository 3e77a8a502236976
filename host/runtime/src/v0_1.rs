//! `fondaco:plugin@0.1`, for plugins that were built against it: its functions under their old names, each of which leads
//! to the one of today. Called by `link` and `plugin`; a rule of its own it never has.
//!
//! What both versions say in the same words is one Rust type (`with`), and wasmtime compares it with each component's own
//! when that is linked. Where an interface declares types beside its functions they are two, and are carried over here.
//! When the newest interface changes one of the shared types, take that type out of `with`, and the compiler asks for
//! what has to be carried over.

use fondaco_schemas::Capability;
use wasmtime::component::{HasSelf, Linker};

use crate::link::Grants;
use crate::services::Lent;
use crate::state::State;
use crate::wit::{self as latest, advocacy_types as adv, payment_types as pay, search_types as search, types};

#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]
mod wit {
    wasmtime::component::bindgen!({
        path: "../../schemas/wit/0.1.0",
        world: "fondaco:plugin/imports",
        imports: { default: async | trappable },
        require_store_data_send: true,
        with: {
            "fondaco:plugin/types": crate::wit::fondaco::plugin::types,
            "fondaco:plugin/search-types": crate::wit::fondaco::plugin::search_types,
            "fondaco:plugin/payment-types": crate::wit::fondaco::plugin::payment_types,
            "fondaco:plugin/drm-types": crate::wit::fondaco::plugin::drm_types,
            "fondaco:plugin/advocacy-types": crate::wit::fondaco::plugin::advocacy_types,
        },
    });

    macro_rules! world {
        ($module:ident, $world:literal) => {
            pub mod $module {
                wasmtime::component::bindgen!({
                    path: "../../schemas/wit/0.1.0",
                    world: $world,
                    imports: { default: async | trappable },
                    exports: { default: async },
                    require_store_data_send: true,
                    with: {
                        "fondaco:plugin/types": crate::wit::fondaco::plugin::types,
                        "fondaco:plugin/search-types": crate::wit::fondaco::plugin::search_types,
                        "fondaco:plugin/payment-types": crate::wit::fondaco::plugin::payment_types,
                        "fondaco:plugin/drm-types": crate::wit::fondaco::plugin::drm_types,
                        "fondaco:plugin/advocacy-types": crate::wit::fondaco::plugin::advocacy_types,
                        "fondaco:plugin/storage": crate::v0_1::wit::fondaco::plugin::storage,
                        "fondaco:plugin/catalogue": crate::v0_1::wit::fondaco::plugin::catalogue,
                        "fondaco:plugin/blobs": crate::v0_1::wit::fondaco::plugin::blobs,
                        "fondaco:plugin/keys": crate::v0_1::wit::fondaco::plugin::keys,
                        "fondaco:plugin/settings": crate::v0_1::wit::fondaco::plugin::settings,
                        "fondaco:plugin/discovery": crate::v0_1::wit::fondaco::plugin::discovery,
                        "fondaco:plugin/commerce": crate::v0_1::wit::fondaco::plugin::commerce,
                        "fondaco:plugin/campaigns": crate::v0_1::wit::fondaco::plugin::campaigns,
                        "fondaco:plugin/mail": crate::v0_1::wit::fondaco::plugin::mail,
                        "fondaco:plugin/assets": crate::v0_1::wit::fondaco::plugin::assets,
                    },
                });
            }
        };
    }
    world!(search, "fondaco:plugin/search");
    world!(payment, "fondaco:plugin/payment");
    world!(drm, "fondaco:plugin/drm");
    world!(advocacy, "fondaco:plugin/advocacy");
    world!(operated, "fondaco:plugin/operated");
}

use wit::fondaco::plugin::{assets, blobs, campaigns, catalogue, commerce, discovery, keys, mail, settings, storage};
pub(crate) use wit::{advocacy, drm, operated, payment, search as search_world};

/// Which version a plugin was built against, and what follows from it: a world or an instance of it.
pub(crate) enum Track<Latest, V01> {
    Latest(Latest),
    V01(V01),
}

impl<Latest, V01> Track<Latest, V01> {
    /// The newest that fits. Where none does, the newest says what is missing.
    pub fn of<P: Clone>(
        pre: P,
        latest: impl FnOnce(P) -> wasmtime::Result<Latest>,
        v0_1: impl FnOnce(P) -> wasmtime::Result<V01>,
    ) -> wasmtime::Result<Self> {
        match latest(pre.clone()) {
            Ok(latest) => Ok(Self::Latest(latest)),
            Err(why) => v0_1(pre).map(Self::V01).map_err(|_| why),
        }
    }
}

/// One expression for a plugin of either version: the names in it mean the same in both.
macro_rules! on_track {
    ($value:expr, $name:pat => $body:expr) => {
        match $value {
            $crate::v0_1::Track::Latest($name) => $body,
            $crate::v0_1::Track::V01($name) => $body,
        }
    };
}
pub(crate) use on_track;

/// An instance of a DRM plugin that goes on living while its script is drawn.
pub(crate) type DrmInstance = Track<latest::drm::Drm, drm::Drm>;

impl From<latest::drm::Drm> for DrmInstance {
    fn from(instance: latest::drm::Drm) -> Self {
        Self::Latest(instance)
    }
}
impl From<drm::Drm> for DrmInstance {
    fn from(instance: drm::Drm) -> Self {
        Self::V01(instance)
    }
}

/// Links what was granted, under its old name.
pub(crate) fn link(l: &mut Linker<State>, grants: &Grants) -> wasmtime::Result<()> {
    settings::add_to_linker::<State, HasSelf<State>>(l, |s| s)?;
    macro_rules! link_granted {
        ($($capability:ident => $interface:ident),*) => { $(if grants.links(Capability::$capability) {
            $interface::add_to_linker::<State, HasSelf<State>>(l, |s| s)?;
        })* };
    }
    link_granted!(
        Storage => storage, Catalogue => catalogue, Blobs => blobs, Keys => keys, Discovery => discovery,
        Commerce => commerce, Campaigns => campaigns, Mail => mail, Assets => assets
    );
    Ok(())
}

/// Each function is the one of today, between what its arguments and its answer are carried over by.
macro_rules! lead {
    ($interface:ident, { $($name:ident($($arg:ident: $ty:ty $(| $to:expr)?),*) -> $out:ty $(| $from:expr)?;)* }) => {
        impl $interface::Host for State {
            $(async fn $name(&mut self, $($arg: $ty),*) -> wasmtime::Result<Lent<$out>> {
                $($(let $arg = $to($arg);)?)*
                let answer = latest::$interface::Host::$name(self, $($arg),*).await?;
                $(let answer = answer.map($from);)?
                Ok(answer)
            })*
        }
    };
}

lead!(storage, {
    get(key: Vec<u8>) -> Option<Vec<u8>>;
    scan(start: Vec<u8>, end: Vec<u8>, limit: u32) -> Vec<storage::Entry> | all;
    apply(batch: Vec<storage::Write> | all) -> ();
});
lead!(catalogue, {
    get(id: String) -> types::Work;
    browse(cursor: Option<String>, limit: u32) -> catalogue::Page | Into::into;
});
lead!(blobs, {
    read(hash: String, offset: u64, len: u32) -> Vec<u8>;
});
lead!(keys, {
    derive(label: String) -> Vec<u8>;
    hmac_sha256(secret: String, message: Vec<u8>) -> Vec<u8>;
    verify_hmac_sha256(secret: String, message: Vec<u8>, tag: Vec<u8>) -> bool;
    sign(label: String, message: Vec<u8>) -> Vec<u8>;
    public_key(label: String) -> Vec<u8>;
    verify(label: String, message: Vec<u8>, signature: Vec<u8>) -> bool;
    seal(holder: String, context: Vec<u8>, message: Vec<u8>) -> Vec<u8>;
    unseal(context: Vec<u8>, sealed: Vec<u8>) -> Vec<u8>;
});
lead!(discovery, {
    search(q: search::Query) -> search::Results;
    search_peers(q: search::Query) -> search::Results;
    suggest(prefix: String, limit: u32) -> Vec<String>;
});
lead!(commerce, {
    gateways(work: String, offer: String) -> Vec<commerce::Gateway> | all;
    checkout(session: String, work: String, offer: String, key: String) -> commerce::Order | Into::into;
    pay(session: String, order: String, gateway: String, input: Vec<pay::Field>) -> pay::Step;
    get_order(session: String, id: String) -> commerce::Order | Into::into;
    library(session: String) -> Vec<types::Entitlement>;
    delivery_url(session: String, id: String, path: String) -> String;
    count_purchases(tag: Option<String>, since: Option<String>) -> commerce::Purchases | Into::into;
});
lead!(campaigns, {
    running(locale: String) -> Vec<adv::CampaignSummary>;
    get(id: String, locale: String, audience: Option<String>) -> adv::Campaign;
    targets(id: String, country: String, postcode: String) -> Vec<adv::Target>;
    take_part(p: adv::Participation) -> adv::Outcome;
    press(id: String, format: String, locale: String, audience: String, placement: String) -> types::Document;
});
lead!(mail, {
    send(m: mail::Message | Into::into) -> ();
});
lead!(assets, {
    paths(prefix: String) -> Vec<String>;
    read(path: String) -> Vec<u8>;
});

impl settings::Host for State {
    async fn get_brand(&mut self) -> wasmtime::Result<settings::Brand> {
        latest::settings::Host::get_brand(self).await.map(Into::into)
    }
    async fn get(&mut self) -> wasmtime::Result<String> {
        latest::settings::Host::get(self).await
    }
    async fn secret(&mut self, name: String) -> wasmtime::Result<Lent<String>> {
        latest::settings::Host::secret(self, name).await
    }
}

fn all<A: Into<B>, B>(list: Vec<A>) -> Vec<B> {
    list.into_iter().map(Into::into).collect()
}

/// Records that are the same in both versions, field by field.
macro_rules! same {
    ($($from:ty => $to:ident::$record:ident { $($field:ident),* })*) => {
        $(impl From<$from> for $to::$record {
            fn from(r: $from) -> Self {
                Self { $($field: r.$field),* }
            }
        })*
    };
}
same! {
    latest::storage::Entry => storage::Entry { key, value }
    latest::catalogue::Page => catalogue::Page { works, next }
    latest::settings::Brand => settings::Brand { name, tagline, locale, locales, base_url, colors, logo, contact }
    latest::commerce::Gateway => commerce::Gateway { id, name, currencies }
    latest::commerce::Purchases => commerce::Purchases { count, buyers, gross, proof }
}

impl From<latest::commerce::Order> for commerce::Order {
    fn from(o: latest::commerce::Order) -> Self {
        use latest::commerce::OrderState as Now;
        let state = match o.state {
            Now::Open => commerce::OrderState::Open,
            Now::Pending => commerce::OrderState::Pending,
            Now::Paid => commerce::OrderState::Paid,
            Now::Fulfilled => commerce::OrderState::Fulfilled,
            Now::Refunded => commerce::OrderState::Refunded,
            Now::Cancelled => commerce::OrderState::Cancelled,
            Now::Expired => commerce::OrderState::Expired,
        };
        let latest::commerce::Order { id, work, offer, total, state: _, gateway, created, updated } = o;
        Self { id, work, offer, total, state, gateway, created, updated }
    }
}

impl From<storage::Write> for latest::storage::Write {
    fn from(write: storage::Write) -> Self {
        match write {
            storage::Write::Put(e) => Self::Put(latest::storage::Entry { key: e.key, value: e.value }),
            storage::Write::Delete(key) => Self::Delete(key),
            storage::Write::Check(held) => Self::Check(held),
        }
    }
}

impl From<mail::Message> for latest::mail::Message {
    fn from(m: mail::Message) -> Self {
        let mail::Message { to, reply_to, subject, text, html, key } = m;
        Self { to, reply_to, subject, text, html, key }
    }
}

/// A change of the catalogue, as the newest interface has it.
pub(crate) type Change = latest::search::exports::fondaco::plugin::search_provider::Change;
/// The same in 0.1.
pub(crate) type OldChange = search_world::exports::fondaco::plugin::search_provider::Change;

/// The catalogue's changes, for a search provider of 0.1.
pub(crate) fn changes(now: &[Change]) -> Vec<OldChange> {
    let old = |change: &Change| match change {
        Change::Upsert(work) => OldChange::Upsert(work.clone()),
        Change::Remove(id) => OldChange::Remove(id.clone()),
    };
    now.iter().map(old).collect()
}
