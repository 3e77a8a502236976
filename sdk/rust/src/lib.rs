//! Write Fondaco plugins in Rust.
//!
//! A plugin is a type that implements the trait of its kind ([`SearchProvider`], [`PaymentGateway`], [`DrmScheme`],
//! [`AdvocacyModule`] or [`Storefront`]) and one line that registers it:
//!
//! ```
//! use fondaco_sdk::{Request, Response, Storefront};
//!
//! struct Corner;
//!
//! impl Storefront for Corner {
//!     fn handle(request: Request) -> Response {
//!         match request.path() {
//!             "/" => Response::html("<!doctype html><title>Corner</title><h1>Open</h1>"),
//!             _ => Response::not_found("<!doctype html><title>Gone</title>"),
//!         }
//!     }
//! }
//!
//! fondaco_sdk::plugin!(storefront: Corner);
//! ```
//!
//! What the node lends to a plugin is in modules of plain functions: [`storage`], [`catalogue`], [`blobs`], [`keys`],
//! [`settings`], [`discovery`], [`commerce`], [`campaigns`], [`mail`], [`assets`], [`http`]. Each works only where the manifest
//! asks for it and the operator granted it.
//!
//! Inside a component these functions call the node. Everywhere else (under plain `cargo test`) they call the thread's
//! [`fake::Host`], so that a plugin's logic is tested without a node.
//!
//! An instance's memory is never state: the node may start a fresh instance for every call. Keep state in [`storage`].

#[doc(hidden)]
pub mod bindings;
#[cfg(not(target_family = "wasm"))]
pub mod fake;
mod host;
pub mod http;
mod kinds;
mod storefront;

pub use bindings::fondaco::plugin::advocacy_types::{
    Action, Campaign, CampaignSummary, Count, Draft, EvidenceClass, Input, Notice, Outcome, Participation, Target,
};
pub use bindings::fondaco::plugin::drm_types::{
    Cipher, Crypt, Edit, License, LicenseState, LicenseStatus, Secrecy, Span,
};
pub use bindings::fondaco::plugin::payment_types::{
    Capabilities, EventKind, Field, FormField, PaymentEvent, PaymentRequest, Presentation, Step,
};
pub use bindings::fondaco::plugin::search_types::{Facet, Hit, Query, Reach, Results, Slot, Sort};
pub use bindings::fondaco::plugin::types::{
    Document, Entitlement, EntitlementState, Error, FileInfo, FileRole, HttpMessage, Money, Offer, Parameter, Split,
    Terms, Tool, Work, WorkKind,
};
pub use bindings::search::exports::fondaco::plugin::search_provider::Change;
pub use host::{assets, blobs, campaigns, catalogue, commerce, discovery, keys, mail, peers, settings, storage};
pub use kinds::{AdvocacyModule, DrmScheme, EditScript, Operator, PaymentGateway, SearchProvider};
pub use storefront::{Request, Response, Storefront, encode};

/// What a call of the node, or into a plugin, gives.
pub type Result<T> = std::result::Result<T, Error>;

#[doc(hidden)]
pub mod __private {
    #[cfg(target_family = "wasm")]
    pub use crate::storefront::Shop;
    #[cfg(target_family = "wasm")]
    pub use wasip2;
}

/// Registers a plugin: `plugin!(<kind>: <type>)`, once in a crate of type `cdylib`.
///
/// Kinds: `search`, `payment`, `drm`, `advocacy`, `storefront`. `plugin!(payment: Voucher, operator)` also registers the
/// type's [`Operator`] tools.
#[macro_export]
macro_rules! plugin {
    ($kind:ident: $plugin:ident, operator) => {
        $crate::plugin!($kind: $plugin);
        #[cfg(target_family = "wasm")]
        $crate::bindings::operated::export_operated!($plugin with_types_in $crate::bindings::operated);
    };
    (search: $plugin:ident) => {
        #[cfg(target_family = "wasm")]
        $crate::bindings::search::export_search!($plugin with_types_in $crate::bindings::search);
    };
    (payment: $plugin:ident) => {
        #[cfg(target_family = "wasm")]
        $crate::bindings::payment::export_payment!($plugin with_types_in $crate::bindings::payment);
    };
    (drm: $plugin:ident) => {
        #[cfg(target_family = "wasm")]
        $crate::bindings::drm::export_drm!($plugin with_types_in $crate::bindings::drm);
    };
    (advocacy: $plugin:ident) => {
        #[cfg(target_family = "wasm")]
        $crate::bindings::advocacy::export_advocacy!($plugin with_types_in $crate::bindings::advocacy);
    };
    (storefront: $plugin:ident) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            // A name that no plugin's own type has: items of a macro share the caller's names.
            type __FondacoShop = $crate::__private::Shop<$plugin>;
            $crate::__private::wasip2::http::proxy::export!(__FondacoShop with_types_in $crate::__private::wasip2);
        };
    };
}
