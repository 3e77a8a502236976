//! `fondaco registry`: makes and keeps a registry of plugins, in a folder that any web server can serve.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use fondaco_schemas::trust_file::IdPrefix;
use fondaco_schemas::{PublicKey, Span};
use fondaco_trust::KeyPair;
use fondaco_trust::bundle::MAX_BUNDLE_BYTES;
use fondaco_trust::tuf::TopRole;
use time::format_description::well_known::Rfc3339;

use crate::fail::{Done, Fail};
use crate::out::Out;
use crate::registry::home::{Home, TIMESTAMP};

/// `fondaco registry`.
#[derive(Subcommand, Debug)]
pub enum Registry {
    /// Make a registry: its folder, and beside it the keys that sign it.
    Init(Place),
    /// Let a publisher have plugin ids, vouched for by its own keys; or give it other keys.
    Publisher {
        #[command(flatten)]
        place: Place,
        /// What it is called: a-z, 0-9 and -.
        name: String,
        /// Which plugin ids: `org.example` stands for itself and all that begin with `org.example.`
        #[arg(long = "prefix", required = true, value_name = "ID")]
        prefixes: Vec<IdPrefix>,
        /// A public key that vouches for them. Also bundles may be signed with it.
        #[arg(long = "public", required = true, value_name = "HEX")]
        publics: Vec<PublicKey>,
        /// So many of the keys must sign.
        #[arg(long, default_value_t = 1)]
        threshold: u64,
    },
    /// Put bundles in. Each is verified first.
    Add {
        #[command(flatten)]
        place: Place,
        /// The bundles.
        #[arg(required = true)]
        bundles: Vec<PathBuf>,
        /// Bundles may be signed with this key, too.
        #[arg(long = "signer", value_name = "HEX")]
        signers: Vec<PublicKey>,
    },
    /// Add a signature to a file that lacks some.
    Sign {
        #[command(flatten)]
        place: Place,
        /// Its name in `drafts/`, such as `2.root.json`.
        draft: String,
    },
    /// Make a new timestamp, and a new snapshot where one is needed. Run it at least once in the time that it is good for.
    Refresh {
        #[command(flatten)]
        place: Place,
        /// How long the timestamp is good: so long can somebody hold back what is newer.
        #[arg(long, value_name = "SPAN", default_value = "7d")]
        good: Span,
    },
    /// Give a file of a role a new expiry: root, targets or a publisher.
    Renew {
        #[command(flatten)]
        place: Place,
        /// Which role.
        role: String,
    },
    /// Give a role other keys, by a new root that the old and the new root's keys sign. This is how a registry recovers
    /// from keys that were stolen.
    Keys {
        #[command(flatten)]
        place: Place,
        /// Which role.
        role: Role,
        /// Its public keys from now on; absent: a new one, which is put to the keys.
        #[arg(long = "public", value_name = "HEX")]
        publics: Vec<PublicKey>,
        /// So many of them must sign.
        #[arg(long, default_value_t = 1)]
        threshold: u64,
    },
    /// Show roles, keys, expiries and bundles.
    List(Place),
}

/// Where a registry and its keys are.
#[derive(Args, Debug)]
pub struct Place {
    /// The registry's folder.
    pub folder: PathBuf,
    /// A folder of key files, each of which signs where its role is asked; absent: the registry's with `-keys`.
    #[arg(long, value_name = "FOLDER")]
    pub keys: Option<PathBuf>,
    /// One more key file.
    #[arg(long = "key", value_name = "FILE")]
    pub key: Vec<PathBuf>,
}

/// A role of the root.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Role {
    /// Says which keys the others have.
    Root,
    /// Delegates to publishers.
    Targets,
    /// Says which versions belong together.
    Snapshot,
    /// Says which snapshot is the newest.
    Timestamp,
}

impl Place {
    fn keys(&self) -> PathBuf {
        self.keys.clone().unwrap_or_else(|| {
            let mut name = self.folder.file_name().unwrap_or_default().to_owned();
            name.push("-keys");
            self.folder.with_file_name(name)
        })
    }

    fn open(&self) -> Done<Home> {
        Home::open(&self.folder, &self.keys(), &self.key)
    }
}

/// Carries it out.
pub fn registry(command: Registry, json: bool, out: &Out) -> Done {
    match command {
        Registry::Init(place) => {
            let home = Home::init(&place.folder, &place.keys())?;
            let (version, digest) = home.pin()?;
            let (folder, keys) = (place.folder.display(), place.keys().display().to_string());
            out.result(
                json,
                || {
                    let written = &home.written;
                    serde_json::json!({ "folder": place.folder, "keys": keys, "root": digest, "root-version": version, "upload": written })
                },
                || {
                    format!(
                        "made {folder}, and its keys in {keys}: keep root.pem and targets.pem offline, and a copy of each\n\
                         whoever installs from it pins its root in fondaco.toml:\n\
                         \n[registries.main]\nurl = \"https://…\"        # or: folder = \"{folder}\"\nroot = \"{digest}\"\n\
                         \nnext: fondaco registry publisher {folder} <name> --prefix <id> --public <key>"
                    )
                },
            );
            Ok(())
        }
        Registry::Publisher { place, name, prefixes, publics, threshold } => {
            let mut home = place.open()?;
            home.publisher(&name, &prefixes, &publics, threshold)?;
            said(&home, json, out, serde_json::json!({ "publisher": name }), &format!("{name} may publish here"));
            Ok(())
        }
        Registry::Add { place, bundles, signers } => {
            let mut home = place.open()?;
            let read = |file: PathBuf| Ok((file.clone(), read(&file)?));
            let bundles = bundles.into_iter().map(read).collect::<Done<Vec<_>>>()?;
            let added = home.add(&bundles, &signers)?;
            let names: Vec<String> = added.iter().map(|m| format!("{} {}", m.id, m.version)).collect();
            said(&home, json, out, serde_json::json!({ "added": names }), &format!("added {}", names.join(", ")));
            Ok(())
        }
        Registry::Sign { place, draft } => {
            let mut home = place.open()?;
            let published = home.sign_draft(&draft)?;
            let words = if published { "published" } else { "signed" };
            said(
                &home,
                json,
                out,
                serde_json::json!({ "draft": draft, "published": published }),
                &format!("{words} {draft}"),
            );
            Ok(())
        }
        Registry::Refresh { place, good } => {
            let mut home = place.open()?;
            let good = time::Duration::try_from(good.duration()).map_err(Fail::usage)?;
            if good < time::Duration::HOUR || good > time::Duration::days(90) {
                return Err(Fail::usage("--good must be from 1h to 90d"));
            }
            home.refresh(good)?;
            said(&home, json, out, serde_json::json!({ "refreshed": place.folder }), "refreshed");
            if good > TIMESTAMP && !json {
                out.note("a timestamp of more than 7 days lets somebody hold back an update for as long");
            }
            Ok(())
        }
        Registry::Renew { place, role } => {
            let mut home = place.open()?;
            home.renew(&role)?;
            said(&home, json, out, serde_json::json!({ "renewed": role }), &format!("renewed {role}"));
            Ok(())
        }
        Registry::Keys { place, role, publics, threshold } => {
            let role = match role {
                Role::Root => TopRole::Root,
                Role::Targets => TopRole::Targets,
                Role::Snapshot => TopRole::Snapshot,
                Role::Timestamp => TopRole::Timestamp,
            };
            let publics = if publics.is_empty() { vec![new_key(&place, role)?] } else { publics };
            let mut home = place.open()?;
            home.set_keys(role, &publics, threshold)?;
            let words = format!("{} has {} of {} keys now", role.as_str(), threshold, publics.len());
            said(&home, json, out, serde_json::json!({ "role": role.as_str(), "keys": publics }), &words);
            Ok(())
        }
        Registry::List(place) => list(&place, json, out),
    }
}

/// Makes a key, beside those that the role had before.
fn new_key(place: &Place, role: TopRole) -> Done<PublicKey> {
    let key = KeyPair::generate().map_err(Fail::failed)?;
    let free = (2..1000).map(|n| place.keys().join(format!("{}-{n}.pem", role.as_str()))).find(|file| !file.exists());
    key.save(&free.ok_or_else(|| Fail::failed(format!("{} is full", place.keys().display())))?)?;
    Ok(key.public())
}

fn read(file: &std::path::Path) -> Done<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let most = MAX_BUNDLE_BYTES as u64 + 1;
    let read = std::fs::File::open(file).and_then(|f| f.take(most).read_to_end(&mut bytes));
    read.map_err(|e| Fail::not_found(format!("{}: {e}", file.display())))?;
    Ok(bytes)
}

/// What was done, and what has to be uploaded.
fn said(home: &Home, json: bool, out: &Out, mut value: serde_json::Value, words: &str) {
    if json {
        if let Some(map) = value.as_object_mut() {
            map.insert("upload".into(), serde_json::json!(home.written));
            map.insert("remarks".into(), serde_json::json!(home.remarks));
        }
        return out.result(true, || value, String::new);
    }
    home.remarks.iter().for_each(|remark| out.note(remark.clone()));
    let upload = if home.written.is_empty() {
        String::new()
    } else {
        format!("\nupload, in this order:\n  {}", home.written.join("\n  "))
    };
    out.result(false, || value, || format!("{words}{upload}"));
}

fn list(place: &Place, json: bool, out: &Out) -> Done {
    let home = place.open()?;
    let (version, digest) = home.pin()?;
    let time = |time: Option<time::OffsetDateTime>| time.and_then(|t| t.format(&Rfc3339).ok());
    for line in home.lines()? {
        out.result(
            json,
            || {
                serde_json::json!({
                    "role": line.role, "version": line.version, "expires": time(line.expires), "threshold": line.threshold,
                    "keys": line.keys, "paths": line.patterns,
                })
            },
            || {
                let version = line.version.map_or_else(|| "nothing published".to_owned(), |v| format!("version {v}"));
                let expires = time(line.expires).map_or_else(String::new, |time| format!(", expires {time}"));
                let keys: Vec<String> = line.keys.iter().map(ToString::to_string).collect();
                let paths = if line.patterns.is_empty() { String::new() } else { format!("\n  {}", line.patterns.join(", ")) };
                format!("{:<12} {version}{expires}\n  {} of {}{paths}", line.role, line.threshold, keys.join(", "))
            },
        );
    }
    for (role, path) in home.bundles()? {
        out.result(json, || serde_json::json!({ "bundle": path, "publisher": role }), || format!("{path} ({role})"));
    }
    out.result(
        json,
        || serde_json::json!({ "root": digest, "root-version": version }),
        || format!("pin: root = \"{digest}\", root-version = {version}"),
    );
    Ok(())
}
