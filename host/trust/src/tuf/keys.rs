//! Keys of a registry, their ids, and thresholds.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use fondaco_schemas::PublicKey;

use super::error::Why;
use super::json::Json;
use crate::keys::{check_public_key, is_signature, sha256};

/// The keys that a root or a delegation lists, by their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys(BTreeMap<String, Key>);

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    /// Ed25519. It passed [`check_public_key`].
    Ed25519(PublicKey),
    /// Of a kind that is not checked here: it never counts.
    Foreign,
}

/// Whose signatures a role needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleKeys {
    pub keyids: Vec<String>,
    /// At least 1.
    pub threshold: u64,
}

/// A public key as metadata has it.
pub fn key_json(key: &PublicKey) -> Json {
    Json::map([
        ("keytype", "ed25519".into()),
        ("scheme", "ed25519".into()),
        ("keyval", Json::map([("public", key.to_string().into())])),
    ])
}

/// The id of a key in a registry: the SHA-256 of its canonical form, as securesystemslib computes it. It is another one
/// than [`crate::key_id`], which bundles use.
pub fn tuf_key_id(key: &PublicKey) -> String {
    HEXLOWER.encode(&sha256(&key_json(key).canonical()))
}

impl Keys {
    /// Reads the object `keys`.
    pub fn read(json: &Json) -> Result<Self, Why> {
        let Json::Map(map) = json else { return Err(Why::Form("\"keys\" is no object".into())) };
        let keys = map.iter().map(|(id, key)| Ok((id.clone(), Key::read(id, key)?)));
        keys.collect::<Result<_, _>>().map(Self)
    }

    /// The Ed25519 keys of a role.
    pub fn of(&self, role: &RoleKeys) -> Vec<PublicKey> {
        let of = |id: &String| match self.0.get(id)? {
            Key::Ed25519(key) => Some(*key),
            Key::Foreign => None,
        };
        role.keyids.iter().filter_map(of).collect()
    }

    /// Is a message signed by enough keys of a role? Each key counts once, under however many ids it is listed. The one
    /// place where a threshold is judged.
    pub fn check(
        &self,
        role: &RoleKeys,
        delegator: &str,
        message: &[u8],
        signatures: &BTreeMap<String, String>,
    ) -> Result<(), Why> {
        let mut signed = BTreeSet::new();
        let mut foreign = 0;
        for id in &role.keyids {
            match (self.0.get(id), signatures.get(id)) {
                (Some(Key::Ed25519(key)), Some(signature)) => {
                    let signature = HEXLOWER_PERMISSIVE.decode(signature.as_bytes()).unwrap_or_default();
                    if !signed.contains(key.as_bytes()) && is_signature(key, message, &signature) {
                        signed.insert(*key.as_bytes());
                    }
                }
                (Some(Key::Foreign), _) => foreign += 1,
                _ => {}
            }
        }
        let enough = signed.len() as u64 >= role.threshold;
        let lacking = Why::Threshold {
            signed: signed.len(),
            threshold: role.threshold,
            delegator: delegator.to_owned(),
            foreign,
        };
        if enough { Ok(()) } else { Err(lacking) }
    }
}

impl Key {
    fn read(id: &str, json: &Json) -> Result<Self, Why> {
        let part = |name| json.get(name).ok_or_else(|| Why::Form(format!("a key has no {name:?}")));
        let (kind, scheme, value) = (part("keytype")?, part("scheme")?, part("keyval")?);
        // Of the three fields alone, or of all that there are: tools differ.
        let bare = Json::map([("keytype", kind.clone()), ("scheme", scheme.clone()), ("keyval", value.clone())]);
        let is_id = |json: &Json| HEXLOWER.encode(&sha256(&json.canonical())) == id;
        if !is_id(&bare) && !is_id(json) {
            return Err(Why::KeyId(id.chars().take(80).collect()));
        }
        if (kind.as_text(), scheme.as_text()) != (Some("ed25519"), Some("ed25519")) {
            return Ok(Self::Foreign);
        }
        let public = value.get("public").and_then(Json::as_text).unwrap_or_default();
        let bytes = HEXLOWER_PERMISSIVE.decode(public.as_bytes()).ok().and_then(|b| b.try_into().ok());
        let key = PublicKey::new(bytes.ok_or_else(|| Why::Form("an Ed25519 key has no 64 hexadecimal digits".into()))?);
        check_public_key(&key).map_err(Why::Key)?;
        Ok(Self::Ed25519(key))
    }
}

impl RoleKeys {
    /// Reads `keyids` and `threshold` of an object.
    pub fn read(json: &Json) -> Result<Self, Why> {
        let Some(Json::List(list)) = json.get("keyids") else {
            return Err(Why::Form("a role has no \"keyids\"".into()));
        };
        let keyids: Option<Vec<String>> = list.iter().map(|id| id.as_text().map(str::to_owned)).collect();
        let keyids = keyids.ok_or_else(|| Why::Form("an id of a key is no text".into()))?;
        if keyids.iter().collect::<BTreeSet<_>>().len() < keyids.len() {
            return Err(Why::Form("a role lists a key twice".into()));
        }
        let threshold = json.get("threshold").and_then(Json::as_u64).filter(|t| *t > 0);
        let threshold = threshold.ok_or_else(|| Why::Form("a role has no threshold of 1 or more".into()))?;
        Ok(Self { keyids, threshold })
    }
}
