//! Keys, and whose plugins may run.

use fondaco_schemas::PluginKind;
use fondaco_schemas::trust_file::{TrustedKey, TrustedPublisher};
use fondaco_trust::{KeyPair, key_id, trust_store};

use crate::cli::{Key, Trust, TrustAdd};
use crate::fail::{Done, Fail};
use crate::folder::{Folder, replace};
use crate::node::load_key;
use crate::out::Out;

/// `fondaco key`.
pub fn key(dir: &std::path::Path, command: &Key, json: bool, out: &Out) -> Done {
    match command {
        Key::New { out: path } => {
            let key = KeyPair::generate().map_err(Fail::failed)?;
            key.save(path)?;
            show(&path.display().to_string(), &key, json, out);
        }
        Key::Show { file: Some(file) } => show(&file.display().to_string(), &load_key(file)?, json, out),
        Key::Show { file: None } => {
            let folder = Folder::open(dir)?;
            let deployment = folder.deployment()?;
            show("node", &load_key(&folder.node_key(&deployment))?, json, out);
            show("publisher", &load_key(&folder.publisher_key(&deployment))?, json, out);
        }
    }
    Ok(())
}

fn show(name: &str, key: &KeyPair, json: bool, out: &Out) {
    let public = key.public();
    out.result(
        json,
        || serde_json::json!({ "name": name, "public": public, "key-id": key_id(&public).to_string() }),
        || format!("{name}\n  public key {public}\n  key id     {}", key_id(&public)),
    );
}

/// `fondaco trust`.
pub fn trust(folder: &Folder, command: &Trust, json: bool, out: &Out) -> Done {
    let write = |text: String| replace(&folder.trust_file(), text.as_bytes(), 0o644);
    match command {
        Trust::Add(args) => {
            write(trust_store::add_publisher(&folder.trust_text()?, &publisher(args)?)?)?;
            out.result(
                json,
                || serde_json::json!({ "trusted": args.name }),
                || format!("{} is trusted now", args.name),
            );
        }
        Trust::Revoke { what, bundle } => {
            let text = folder.trust_text()?;
            let changed = if *bundle {
                trust_store::revoke_digest(&text, &what.parse().map_err(Fail::usage)?)?
            } else {
                trust_store::revoke_key(&text, &what.parse().map_err(Fail::usage)?)?
            };
            write(changed)?;
            out.result(
                json,
                || serde_json::json!({ "revoked": what }),
                || "revoked; a running node stops what this concerns at once".into(),
            );
        }
        Trust::List => {
            let store = folder.trust()?;
            for p in &store.file().publishers {
                let prefixes: Vec<String> = p.prefixes.iter().map(ToString::to_string).collect();
                let kinds: Vec<&str> = p.kinds.iter().map(|k| k.as_str()).collect();
                let keys: Vec<String> = p.keys.iter().map(|k| k.key.to_string()).collect();
                out.result(
                    json,
                    || serde_json::to_value(p).unwrap_or_default(),
                    || {
                        format!(
                            "{}\n  signs {} ({})\n  with {} of {}",
                            p.name,
                            prefixes.join(", "),
                            kinds.join(", "),
                            p.threshold,
                            keys.join(", ")
                        )
                    },
                );
            }
            if store.file().publishers.is_empty() && !json {
                out.note("nobody is trusted yet, so no plugin can be installed: `fondaco trust add`");
            }
        }
    }
    Ok(())
}

fn publisher(args: &TrustAdd) -> Done<TrustedPublisher> {
    let all = [PluginKind::Search, PluginKind::Payment, PluginKind::Drm, PluginKind::Advocacy, PluginKind::Storefront];
    let prefixes = args.prefixes.iter().map(|p| p.parse().map_err(Fail::usage)).collect::<Done<Vec<_>>>()?;
    Ok(TrustedPublisher {
        name: args.name.clone(),
        prefixes,
        kinds: if args.kinds.is_empty() { all.to_vec() } else { args.kinds.clone() },
        threshold: args.threshold,
        keys: args.keys.iter().map(|key| TrustedKey { key: *key, not_after: None, note: None }).collect(),
    })
}
