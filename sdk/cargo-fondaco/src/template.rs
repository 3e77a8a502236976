//! The files of a new plugin. The code of each kind is in `templates/`, as it will stand in the new crate.

use std::path::{Path, PathBuf};

use fondaco_schemas::{PluginId, PluginKind};

/// Where the new crate gets `fondaco-sdk` from.
#[derive(Debug)]
pub enum Sdk {
    /// A folder, absolute.
    Path(PathBuf),
    /// A registry, in this program's own version.
    Published,
}

/// What differs between the kinds.
struct Kind<'t> {
    code: &'static str,
    /// What it is called and what it does, for people.
    name: &'static str,
    summary: &'t str,
    /// The rest of plugin.toml.
    asks: &'static str,
    /// Does its code use `serde_json`?
    json: bool,
    /// For its README.
    about: &'static str,
}

fn kind(kind: PluginKind) -> Kind<'static> {
    match kind {
        PluginKind::Search => Kind {
            code: include_str!("templates/search.rs.txt"),
            name: "Word search",
            summary: "Finds works by the words of their titles, creators, tags and descriptions",
            asks: "[capabilities.storage]\nquota = \"64MiB\"\nreason = \"keep the works that it finds things in\"\n",
            json: true,
            about: "It keeps every work that the node feeds it and ranks them by how many of the query's words they hold; \
                    a word in the title counts most.",
        },
        PluginKind::Payment => Kind {
            code: include_str!("templates/payment.rs.txt"),
            name: "Pay at the counter",
            summary: "The buyer names a code at the till, and the till tells the node",
            asks: "[capabilities.keys]\nreason = \"check that notifications come from the till\"\n",
            json: true,
            about: "The buyer gets a code to name at the till. The till posts a notification to the webhook, with an \
                    HMAC-SHA-256 of the body under the secret `till` in the header `till-signature`, in hexadecimal. \
                    The node checks amount and asset against the order, and takes each `reference` once.",
        },
        PluginKind::Drm => Kind {
            code: include_str!("templates/drm.rs.txt"),
            name: "Ex libris",
            summary: "Leaves files open to read, and signs each buyer's copy at its end",
            asks: "[capabilities.storage]\nquota = \"16MiB\"\nreason = \"remember which licences were revoked\"\n\n\
                   [capabilities.keys]\nreason = \"sign the mark in each copy and know it again\"\n",
            json: true,
            about: "Nothing is locked. Each copy ends in a line that names its entitlement, signed, so that a copy that \
                    turns up elsewhere can be traced and nobody can be framed. It fits formats whose readers take no \
                    notice of a line after the end, such as text, MP3 and PDF.",
        },
        PluginKind::Advocacy => Kind {
            code: include_str!("templates/advocacy.rs.txt"),
            name: "Petition",
            summary: "One petition, signed once by each visitor",
            asks: "[capabilities.storage]\nquota = \"16MiB\"\nreason = \"count signatures, once for each visitor\"\n",
            json: false,
            about: "The petition's words are constants at the top of `src/lib.rs`. A visitor is known by the node's \
                    session alone: no name, no address.",
        },
        PluginKind::Storefront => Kind {
            code: include_str!("templates/storefront.rs.txt"),
            name: "Plain shop",
            summary: "A list of works and a page for each",
            asks: "[capabilities.catalogue]\nreason = \"show the works\"\n",
            json: false,
            about: "Two kinds of page: the list of all works, a page at a time, and one page for each work.",
        },
    }
}

/// The files of a new crate: path and text. `member` leaves out what only the root of a workspace may say.
pub fn files(of: PluginKind, name: &str, id: &PluginId, sdk: &Sdk, member: bool) -> Vec<(&'static str, String)> {
    let kind = kind(of);
    vec![
        ("Cargo.toml", cargo_toml(&kind, name, sdk, member)),
        ("plugin.toml", plugin_toml(of, &kind, id)),
        ("src/lib.rs", kind.code.to_owned()),
        ("README.md", readme(of, &kind, name, id)),
        (".gitignore", "/target\n*.fondaco\n*.key\n".to_owned()),
    ]
}

fn cargo_toml(kind: &Kind<'_>, name: &str, sdk: &Sdk, member: bool) -> String {
    let sdk = match sdk {
        Sdk::Path(path) => format!("{{ path = {} }}", quoted(path)),
        Sdk::Published => quoted(Path::new(env!("CARGO_PKG_VERSION"))),
    };
    let json = if kind.json { "serde_json = \"1\"\n" } else { "" };
    let root = if member {
        ""
    } else {
        "\n# Small, and quick to compile again on install.\n[profile.plugin]\ninherits = \"release\"\nopt-level = \"s\"\n\
         lto = \"thin\"\npanic = \"abort\"\nstrip = true\n\n\
         # A workspace of its own, wherever the folder lies.\n[workspace]\n"
    };
    format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\nlicense = \"MIT OR Apache-2.0\"\n\
         publish = false\n\n# The component, and a library for tests.\n[lib]\ncrate-type = [\"cdylib\", \"rlib\"]\n\n\
         [dependencies]\nfondaco-sdk = {sdk}\n{json}{root}"
    )
}

/// A TOML basic string; what JSON escapes, TOML reads.
fn quoted(path: &Path) -> String {
    serde_json::Value::from(path.to_string_lossy()).to_string()
}

fn plugin_toml(of: PluginKind, kind: &Kind<'_>, id: &PluginId) -> String {
    let Kind { name, summary, asks, .. } = kind;
    format!(
        "schema = 1\n# Your domain reversed, and a name. It stays bound to the key that first signs it.\nid = \"{id}\"\n\
         version = \"0.1.0\"\nkind = \"{of}\"\n# The versions of the plugin interface that it works with.\napi = \"^0.2\"\n\
         component = \"plugin.wasm\"\nlicense = \"MIT OR Apache-2.0\"\n\n[text.en]\nname = \"{name}\"\n\
         summary = \"{summary}\"\n\n# What it asks for. The operator decides, and what is not asked for here does not work.\n\
         {asks}"
    )
}

/// plugin.toml of a storefront in another language, which also searches.
pub fn storefront_toml(id: &PluginId, language: &str) -> String {
    let asks = "[capabilities.catalogue]\nreason = \"show the works\"\n\n\
                [capabilities.discovery]\nreason = \"find what visitors look for\"\n";
    let summary = format!("A list of works, a page for each, and search, in {language}");
    plugin_toml(PluginKind::Storefront, &Kind { summary: &summary, asks, ..kind(PluginKind::Storefront) }, id)
}

fn readme(of: PluginKind, kind: &Kind<'_>, name: &str, id: &PluginId) -> String {
    let Kind { name: title, summary, about, .. } = kind;
    format!(
        "# {title}\n\n{summary}: a Fondaco plugin of the kind `{of}`, `{id}`.\n\n{about}\n\n\
         ## Work on it\n\n```sh\ncargo test                                # against the SDK's fake node\n\
         cargo fondaco build                       # the component, for wasm32-wasip2\n\
         cargo fondaco key new --out ~/{name}.key  # once; keep it secret and safe\n\
         cargo fondaco pack --key ~/{name}.key     # {id}-0.1.0.fondaco\n```\n\n\
         An instance's memory is never state: the node may start a fresh one for every call. What must last belongs in\n\
         storage. `plugin.toml` says what the plugin asks for; an operator sees it before anything is installed.\n"
    )
}

#[cfg(test)]
mod tests {
    use fondaco_schemas::Manifest;

    use super::*;

    #[test]
    fn the_manifest_of_every_kind_is_one_that_a_node_reads() {
        for of in PluginKind::ALL {
            let id: PluginId = "org.example.x".parse().unwrap();
            let files = files(of, "x", &id, &Sdk::Published, false);
            let text = &files.iter().find(|(path, _)| *path == "plugin.toml").unwrap().1;
            let manifest = Manifest::parse_request(text).unwrap();
            assert_eq!((manifest.kind, manifest.id), (of, id.clone()));
            assert!(!manifest.capabilities.0.is_empty());
        }
    }
}
