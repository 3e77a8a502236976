//! What the node lends, as plain functions. Each calls the node inside a component, and the thread's fake host elsewhere.

#[cfg(target_family = "wasm")]
use crate::bindings::fondaco::plugin as node;
#[cfg(not(target_family = "wasm"))]
use crate::fake as node;

/// The plugin's own ordered, transactional key-value space. No plugin sees another's.
pub mod storage {
    use crate::Result;
    pub use crate::bindings::fondaco::plugin::storage::{Entry, Write};

    /// The value under `key`.
    pub fn get(key: &[u8]) -> Result<Option<Vec<u8>>> {
        super::node::storage::get(key)
    }
    /// At most `limit` entries with `start <= key < end`, in key order.
    pub fn scan(start: &[u8], end: &[u8], limit: u32) -> Result<Vec<Entry>> {
        super::node::storage::scan(start, end, limit)
    }
    /// At most `limit` entries whose keys begin with `prefix`, in key order.
    pub fn scan_prefix(prefix: &[u8], limit: u32) -> Result<Vec<Entry>> {
        scan(prefix, &after(prefix), limit)
    }
    /// Writes all or nothing; durable on return. A [`Write::Check`] that does not hold is [`crate::Error::Invalid`].
    pub fn apply(batch: &[Write]) -> Result<()> {
        super::node::storage::apply(batch)
    }
    /// The least key that is greater than every key with this prefix; empty when there is none (keys end at `0xff`).
    pub fn after(prefix: &[u8]) -> Vec<u8> {
        let mut end = prefix.to_vec();
        while let Some(last) = end.pop() {
            if last < 0xff {
                end.push(last + 1);
                return end;
            }
        }
        vec![0xff; 64]
    }
}

/// The node's catalogue of verified, signed works.
pub mod catalogue {
    pub use crate::bindings::fondaco::plugin::catalogue::Page;
    use crate::{Result, Work};

    /// The newest release of a work.
    pub fn get(id: &str) -> Result<Work> {
        super::node::catalogue::get(id)
    }
    /// Works, newest first; `cursor` is the page before's `next`.
    pub fn browse(cursor: Option<&str>, limit: u32) -> Result<Page> {
        super::node::catalogue::browse(cursor, limit)
    }
    /// How many works there are.
    pub fn count() -> Result<u64> {
        super::node::catalogue::count()
    }
}

/// Random access to stored files.
pub mod blobs {
    use crate::Result;

    /// At most `len` bytes (no more than 4 MiB) from `offset`; fewer only at the end of the file.
    pub fn read(hash: &str, offset: u64, len: u32) -> Result<Vec<u8>> {
        super::node::blobs::read(hash, offset, len)
    }
}

/// Keys that the node holds and uses for the plugin.
pub mod keys {
    use crate::Result;

    /// A 32-byte key, the same each time for this plugin and label.
    pub fn derive(label: &str) -> Result<Vec<u8>> {
        super::node::keys::derive(label)
    }
    /// HMAC-SHA-256 with one of the plugin's secrets.
    pub fn hmac_sha256(secret: &str, message: &[u8]) -> Result<Vec<u8>> {
        super::node::keys::hmac_sha256(secret, message)
    }
    /// Checks an HMAC-SHA-256 in constant time.
    pub fn verify_hmac_sha256(secret: &str, message: &[u8], tag: &[u8]) -> Result<bool> {
        super::node::keys::verify_hmac_sha256(secret, message, tag)
    }
    /// Ed25519 with the plugin's own key of that label: 64 bytes.
    pub fn sign(label: &str, message: &[u8]) -> Result<Vec<u8>> {
        super::node::keys::sign(label, message)
    }
    /// The public half of the plugin's own key of that label: 32 bytes.
    pub fn public_key(label: &str) -> Result<Vec<u8>> {
        super::node::keys::public_key(label)
    }
    /// Is `signature` by the plugin's own key of that label?
    pub fn verify(label: &str, message: &[u8], signature: &[u8]) -> Result<bool> {
        super::node::keys::verify(label, message, signature)
    }
    /// Seals a message to a holder's key (HPKE base mode); `context` must be given again to open it.
    pub fn seal(holder: &str, context: &[u8], message: &[u8]) -> Result<Vec<u8>> {
        super::node::keys::seal(holder, context, message)
    }
    /// Opens what was sealed to the holder that the node acts for.
    pub fn unseal(context: &[u8], sealed: &[u8]) -> Result<Vec<u8>> {
        super::node::keys::unseal(context, sealed)
    }
}

/// The deployment's brand, and the plugin's own settings and secrets.
pub mod settings {
    pub use crate::bindings::fondaco::plugin::settings::Brand;
    use crate::{Error, Result};

    /// The deployment's brand.
    pub fn brand() -> Brand {
        super::node::settings::get_brand()
    }
    /// The plugin's settings, checked by the node against the plugin's JSON Schema.
    pub fn get<T: serde::de::DeserializeOwned>() -> Result<T> {
        serde_json::from_str(&super::node::settings::get()).map_err(|e| Error::Invalid(format!("settings: {e}")))
    }
    /// A secret that the operator set for the plugin.
    pub fn secret(name: &str) -> Result<String> {
        super::node::settings::secret(name)
    }
}

/// Search across the installed providers.
pub mod discovery {
    use crate::{Query, Result, Results};

    /// Asks this node's providers.
    pub fn search(query: &Query) -> Result<Results> {
        super::node::discovery::search(query)
    }
    /// Asks the providers of other nodes too, where `peers` is granted. What a hit with `via` is, [`crate::peers::get`] says.
    pub fn search_peers(query: &Query) -> Result<Results> {
        super::node::discovery::search_peers(query)
    }
    /// Completes what a person is typing.
    pub fn suggest(prefix: &str, limit: u32) -> Result<Vec<String>> {
        super::node::discovery::suggest(prefix, limit)
    }
}

/// What other nodes have.
pub mod peers {
    use crate::Result;
    pub use crate::bindings::fondaco::plugin::peers::Remote;

    /// A work that a search of other nodes found within the last ten minutes and that is not in the catalogue.
    pub fn get(id: &str) -> Result<Remote> {
        super::node::peers::get(id)
    }
}

/// The buyer's side of a sale.
pub mod commerce {
    pub use crate::bindings::fondaco::plugin::commerce::{Gateway, Order, OrderState, Purchases, SoldBy};
    use crate::{Entitlement, Field, Result, Step, Work};

    /// Who sells a work of the catalogue: this shop, or its publisher's elsewhere.
    pub fn seller(work: &str) -> Result<SoldBy> {
        super::node::commerce::seller(work)
    }
    /// The gateways that take this offer's asset.
    pub fn gateways(work: &str, offer: &str) -> Result<Vec<Gateway>> {
        super::node::commerce::gateways(work, offer)
    }
    /// Writes an order, before any gateway is called. The same `key` gives the same order.
    pub fn checkout(session: &str, work: &str, offer: &str, key: &str) -> Result<Order> {
        super::node::commerce::checkout(session, work, offer, key)
    }
    /// As [`checkout`], for a buyer who says which country they are in: two letters of ISO 3166-1. An offer with
    /// territories is sold only so.
    pub fn checkout_in(session: &str, work: &str, offer: &str, key: &str, country: &str) -> Result<Order> {
        super::node::commerce::checkout_in(session, work, offer, key, country)
    }
    /// Starts a payment, or goes on with it: `input` is what the buyer filled in.
    pub fn pay(session: &str, order: &str, gateway: &str, input: &[Field]) -> Result<Step> {
        super::node::commerce::pay(session, order, gateway, input)
    }
    /// An order of this session's.
    pub fn get_order(session: &str, id: &str) -> Result<Order> {
        super::node::commerce::get_order(session, id)
    }
    /// What this session's holder owns.
    pub fn library(session: &str) -> Result<Vec<Entitlement>> {
        super::node::commerce::library(session)
    }
    /// The release that a right of the visitor's is to, as it was bought, whatever became of its work since.
    pub fn bought(session: &str, entitlement: &str) -> Result<Work> {
        super::node::commerce::bought(session, entitlement)
    }
    /// Where the entitled person's browser fetches a file, or with the path `<path>.licence` its licence.
    pub fn delivery_url(session: &str, entitlement: &str, path: &str) -> Result<String> {
        super::node::commerce::delivery_url(session, entitlement, path)
    }
    /// Sums over settled orders; small counts are withheld.
    pub fn count_purchases(tag: Option<&str>, since: Option<&str>) -> Result<Purchases> {
        super::node::commerce::count_purchases(tag, since)
    }
}

/// The public's campaigns.
pub mod campaigns {
    use crate::{Campaign, CampaignSummary, Document, Outcome, Participation, Result, Target};

    /// The campaigns that run now.
    pub fn running(locale: &str) -> Result<Vec<CampaignSummary>> {
        super::node::campaigns::running(locale)
    }
    /// One campaign, in the words for one audience.
    pub fn get(id: &str, locale: &str, audience: Option<&str>) -> Result<Campaign> {
        super::node::campaigns::get(id, locale, audience)
    }
    /// Who can be written to.
    pub fn targets(id: &str, country: &str, postcode: &str) -> Result<Vec<Target>> {
        super::node::campaigns::targets(id, country, postcode)
    }
    /// Takes part.
    pub fn take_part(participation: &Participation) -> Result<Outcome> {
        super::node::campaigns::take_part(participation)
    }
    /// A press-ready piece.
    pub fn press(id: &str, format: &str, locale: &str, audience: &str, placement: &str) -> Result<Document> {
        super::node::campaigns::press(id, format, locale, audience, placement)
    }
}

/// The deployment's mail relay.
pub mod mail {
    use crate::Result;
    pub use crate::bindings::fondaco::plugin::mail::Message;

    /// Hands over one message; sent at most once for each key.
    pub fn send(message: &Message) -> Result<()> {
        super::node::mail::send(message)
    }
}

/// The files of the plugin's own bundle, and over them the operator's.
pub mod assets {
    use crate::Result;

    /// Paths with this prefix, sorted.
    pub fn paths(prefix: &str) -> Result<Vec<String>> {
        super::node::assets::paths(prefix)
    }
    /// A file of at most 4 MiB.
    pub fn read(path: &str) -> Result<Vec<u8>> {
        super::node::assets::read(path)
    }
}
