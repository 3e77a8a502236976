//! What wasmtime makes of `schemas/wit`: the shared vocabulary once, then one module for each world that leans on it.
#![allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]

wasmtime::component::bindgen!({
    path: "../../schemas/wit",
    world: "fondaco:plugin/imports",
    imports: { default: async | trappable },
    additional_derives: [PartialEq],
    require_store_data_send: true,
});

pub use fondaco::plugin::{
    advocacy_types, assets, blobs, campaigns, catalogue, commerce, discovery, drm_types, keys, mail, payment_types,
    peers, search_types, settings, storage, types,
};

macro_rules! world {
    ($module:ident, $world:literal) => {
        pub mod $module {
            wasmtime::component::bindgen!({
                path: "../../schemas/wit",
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
                    "fondaco:plugin/storage": crate::wit::fondaco::plugin::storage,
                    "fondaco:plugin/catalogue": crate::wit::fondaco::plugin::catalogue,
                    "fondaco:plugin/blobs": crate::wit::fondaco::plugin::blobs,
                    "fondaco:plugin/keys": crate::wit::fondaco::plugin::keys,
                    "fondaco:plugin/settings": crate::wit::fondaco::plugin::settings,
                    "fondaco:plugin/discovery": crate::wit::fondaco::plugin::discovery,
                    "fondaco:plugin/peers": crate::wit::fondaco::plugin::peers,
                    "fondaco:plugin/commerce": crate::wit::fondaco::plugin::commerce,
                    "fondaco:plugin/campaigns": crate::wit::fondaco::plugin::campaigns,
                    "fondaco:plugin/mail": crate::wit::fondaco::plugin::mail,
                    "fondaco:plugin/assets": crate::wit::fondaco::plugin::assets,
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
