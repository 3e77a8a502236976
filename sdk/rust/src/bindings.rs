//! What `wit-bindgen` makes of `schemas/wit`: the shared vocabulary once, then one module for each kind of plugin that
//! leans on it. Authors meet these types through the crate's root.
#![allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]
#![allow(unsafe_code, reason = "the canonical ABI moves values through raw memory")]

wit_bindgen::generate!({
    path: "../../schemas/wit",
    world: "imports",
    generate_all,
    generate_unused_types: true,
    additional_derives: [PartialEq, serde::Serialize, serde::Deserialize],
});

macro_rules! kind {
    ($module:ident, $world:literal, $export:literal, $bindings:literal) => {
        pub mod $module {
            wit_bindgen::generate!({
                path: "../../schemas/wit",
                world: $world,
                with: {
                    "fondaco:plugin/types@0.2.0": crate::bindings::fondaco::plugin::types,
                    "fondaco:plugin/search-types@0.2.0": crate::bindings::fondaco::plugin::search_types,
                    "fondaco:plugin/payment-types@0.2.0": crate::bindings::fondaco::plugin::payment_types,
                    "fondaco:plugin/drm-types@0.2.0": crate::bindings::fondaco::plugin::drm_types,
                    "fondaco:plugin/advocacy-types@0.2.0": crate::bindings::fondaco::plugin::advocacy_types,
                    "fondaco:plugin/storage@0.2.0": crate::bindings::fondaco::plugin::storage,
                    "fondaco:plugin/catalogue@0.2.0": crate::bindings::fondaco::plugin::catalogue,
                    "fondaco:plugin/blobs@0.2.0": crate::bindings::fondaco::plugin::blobs,
                    "fondaco:plugin/keys@0.2.0": crate::bindings::fondaco::plugin::keys,
                    "fondaco:plugin/settings@0.2.0": crate::bindings::fondaco::plugin::settings,
                    "fondaco:plugin/discovery@0.2.0": crate::bindings::fondaco::plugin::discovery,
                    "fondaco:plugin/peers@0.2.0": crate::bindings::fondaco::plugin::peers,
                    "fondaco:plugin/commerce@0.2.0": crate::bindings::fondaco::plugin::commerce,
                    "fondaco:plugin/campaigns@0.2.0": crate::bindings::fondaco::plugin::campaigns,
                    "fondaco:plugin/mail@0.2.0": crate::bindings::fondaco::plugin::mail,
                    "fondaco:plugin/assets@0.2.0": crate::bindings::fondaco::plugin::assets,
                },
                pub_export_macro: true,
                export_macro_name: $export,
                default_bindings_module: $bindings,
            });
        }
    };
}
kind!(search, "search", "export_search", "fondaco_sdk::bindings::search");
kind!(payment, "payment", "export_payment", "fondaco_sdk::bindings::payment");
kind!(drm, "drm", "export_drm", "fondaco_sdk::bindings::drm");
kind!(advocacy, "advocacy", "export_advocacy", "fondaco_sdk::bindings::advocacy");
kind!(operated, "operated", "export_operated", "fondaco_sdk::bindings::operated");
