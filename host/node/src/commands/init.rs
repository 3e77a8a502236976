//! `fondaco init`: a folder that runs, with comments in its files.

use std::path::Path;

use fondaco_trust::KeyPair;

use crate::cli::Init;
use crate::fail::{Done, Fail};
use crate::folder::{DEPLOYMENT_FILE, Folder, TRUST_FILE, replace};
use crate::out::Out;

const TOKENS: &str = r##"{
  "$description": "Design tokens (DTCG format). Each becomes a CSS custom property: color.brand is --color-brand.",
  "color": {
    "brand": { "$value": "#5b2a86", "$type": "color" },
    "brand-contrast": { "$value": "#ffffff", "$type": "color" }
  }
}
"##;

/// Makes the folder. What exists is never touched; keys are made last, so that a folder with keys is whole.
pub fn init(args: &Init, json: bool, out: &Out) -> Done {
    let folder = &args.folder;
    let fail = |e: std::io::Error| Fail::failed(format!("{}: {e}", folder.display()));
    if folder.join(DEPLOYMENT_FILE).exists() {
        return Err(Fail::failed(format!("{} is a deployment already; choose another folder", folder.display())));
    }
    let named = folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let name = args.name.clone().unwrap_or(named);
    if name.trim().is_empty() {
        return Err(Fail::usage("give the shop a name with --name"));
    }
    for sub in ["plugins", "theme", "assets", "data/keys"] {
        std::fs::create_dir_all(folder.join(sub)).map_err(fail)?;
    }
    private(&folder.join("data"))?;
    private(&folder.join("data/keys"))?;
    replace(&folder.join("theme/tokens.json"), TOKENS.as_bytes(), 0o644)?;
    replace(&folder.join(TRUST_FILE), fondaco_trust::trust_store::EMPTY.as_bytes(), 0o644)?;
    for key in ["node.pem", "publisher.pem"] {
        let path = folder.join("data/keys").join(key);
        if !path.exists() {
            KeyPair::generate().map_err(Fail::failed)?.save(&path)?;
        }
    }
    replace(&folder.join(DEPLOYMENT_FILE), deployment(&name, &args.tagline).as_bytes(), 0o644)?;
    let publisher = crate::node::load_key(&folder.join("data/keys/publisher.pem"))?.public();
    Folder::open(folder)?.deployment()?;
    out.result(
        json,
        || serde_json::json!({ "folder": folder, "publisher": publisher }),
        || {
            format!(
                "made {}\n  its publisher's key: {publisher}\n  back up {}: whoever has it is you\nnext: fondaco -C {} plugin install <bundle>, then fondaco -C {} up",
                folder.display(),
                folder.join("data/keys").display(),
                folder.display(),
                folder.display()
            )
        },
    );
    Ok(())
}

fn private(path: &Path) -> Done {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
        .map_err(|e| Fail::failed(format!("{}: {e}", path.display())))
}

/// A text as a TOML string.
fn quoted(text: &str) -> String {
    toml_edit::Value::from(text).to_string()
}

fn deployment(name: &str, tagline: &str) -> String {
    let (name, tagline) = (quoted(name), quoted(tagline));
    format!(
        r#"# A Fondaco deployment. `fondaco check` says everything that is wrong with it. Plugins are installed with
# `fondaco plugin install`, which adds what you granted at the end of this file.

[brand]
name = {name}
tagline = {tagline}
locale = "en"
locales = ["en", "fr"]
# Where the public finds the shop; without it, the address that it listens on.
# base-url = "https://shop.example.org"
# contact = "shop@example.org"
# logo = "logo.svg"          # in theme/; colours and fonts are in theme/tokens.json

[gateway]
# Loopback: put a web server with TLS before it, or name a public address.
listen = "127.0.0.1:8080"

[storage]
dir = "data"
# quota = "100GiB"

[network]
# Part of a swarm of nodes: works go from node to node. Nobody can come to this one before it listens somewhere.
enabled = false
# listen = ["/ip4/0.0.0.0/udp/4001/quic-v1", "/ip4/0.0.0.0/tcp/4001"]

[publisher]
# What releases are signed with, taken from the data folder.
key = "keys/publisher.pem"
"#
    )
}
