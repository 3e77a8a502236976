//! The operator's decision about whose plugins may run, read from `trust.toml` and edited there without touching what
//! else the operator wrote.

use fondaco_schemas::trust_file::{TrustFile, TrustedPublisher};
use fondaco_schemas::{BlobHash, Problems, PublicKey};
use time::format_description::well_known::Rfc3339;
use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, value};

use crate::keys::{KeyError, check_public_key};

/// Why a trust file is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// It has mistakes.
    #[error(transparent)]
    Problems(#[from] Problems),
    /// It is older than one that was seen.
    #[error(
        "trust.toml has the serial {found}, and {seen} was seen before: an old file was put back, or the serial was not counted up; if this is the right file, count it up beyond {seen}"
    )]
    Serial {
        /// What it says.
        found: u64,
        /// The highest that was seen.
        seen: u64,
    },
    /// A key that must not be pinned.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// An edit that has nothing to do.
    #[error("trust.toml has a publisher {0:?} already: choose another name, or edit its entry")]
    Known(String),
    /// It cannot be edited.
    #[error("trust.toml cannot be edited: {0:?} is not written as one would expect")]
    Shape(&'static str),
}

/// Whom the operator trusts. Every key in it passed [`check_public_key`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustStore(TrustFile);

impl TrustStore {
    /// Reads `trust.toml`. `seen` is the highest serial that was accepted before; a lower one is refused.
    pub fn parse(text: &str, seen: Option<u64>) -> Result<Self, TrustError> {
        let file = TrustFile::parse(text, |key| check_public_key(key).err().map(|e| e.to_string()))?;
        match seen {
            Some(seen) if file.serial < seen => Err(TrustError::Serial { found: file.serial, seen }),
            _ => Ok(Self(file)),
        }
    }

    /// What it says.
    pub const fn file(&self) -> &TrustFile {
        &self.0
    }
}

/// What a new deployment starts with: nobody is trusted.
pub const EMPTY: &str =
    "# Whose plugins may run here. Change it with `fondaco trust`, or by hand: then count the serial up.\nserial = 1\n";

/// Adds a publisher to the text of a trust file, counts its serial up and keeps all else as it stands.
pub fn add_publisher(text: &str, publisher: &TrustedPublisher) -> Result<String, TrustError> {
    for key in &publisher.keys {
        check_public_key(&key.key)?;
    }
    if TrustStore::parse(text, None)?.file().publishers.iter().any(|p| p.name == publisher.name) {
        return Err(TrustError::Known(publisher.name.clone()));
    }
    edit(text, |document| {
        let mut table = Table::new();
        table.insert("name", value(&publisher.name));
        table.insert("prefixes", value(publisher.prefixes.iter().map(ToString::to_string).collect::<Array>()));
        table.insert("kinds", value(publisher.kinds.iter().map(ToString::to_string).collect::<Array>()));
        table.insert("threshold", value(i64::from(publisher.threshold)));
        let mut keys = ArrayOfTables::new();
        for key in &publisher.keys {
            let mut entry = Table::new();
            entry.insert("key", value(key.key.to_string()));
            if let Some(time) = key.not_after.and_then(|t| t.format(&Rfc3339).ok()) {
                entry.insert("not-after", value(time));
            }
            if let Some(note) = &key.note {
                entry.insert("note", value(note));
            }
            keys.push(entry);
        }
        table.insert("keys", Item::ArrayOfTables(keys));
        let publishers = document.entry("publishers").or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
        publishers.as_array_of_tables_mut().ok_or(TrustError::Shape("publishers"))?.push(table);
        Ok(())
    })
}

/// Revokes a key in the text of a trust file and counts its serial up.
pub fn revoke_key(text: &str, key: &PublicKey) -> Result<String, TrustError> {
    edit(text, |document| revoke(document, "keys", key.to_string()))
}

/// Revokes a bundle in the text of a trust file and counts its serial up.
pub fn revoke_digest(text: &str, digest: &BlobHash) -> Result<String, TrustError> {
    edit(text, |document| revoke(document, "digests", digest.to_string()))
}

fn revoke(document: &mut DocumentMut, list: &'static str, entry: String) -> Result<(), TrustError> {
    let revoked = document.entry("revoked").or_insert(Item::Table(Table::new()));
    let revoked = revoked.as_table_like_mut().ok_or(TrustError::Shape("revoked"))?;
    let list = revoked.entry(list).or_insert(value(Array::new())).as_array_mut().ok_or(TrustError::Shape(list))?;
    if list.iter().all(|known| known.as_str() != Some(&entry)) {
        list.push(entry);
    }
    Ok(())
}

/// Reads, changes, counts the serial up, and reads again: what does not come out right is not handed out.
fn edit(text: &str, change: impl FnOnce(&mut DocumentMut) -> Result<(), TrustError>) -> Result<String, TrustError> {
    let before = TrustStore::parse(text, None)?;
    let mut document: DocumentMut = text.parse().map_err(|_| TrustError::Shape("the file"))?;
    change(&mut document)?;
    let serial =
        before.0.serial.checked_add(1).and_then(|s| i64::try_from(s).ok()).ok_or(TrustError::Shape("serial"))?;
    let item = document.get_mut("serial").and_then(Item::as_value_mut).ok_or(TrustError::Shape("serial"))?;
    let decor = item.decor().clone();
    *item = serial.into();
    *item.decor_mut() = decor;
    let text = document.to_string();
    TrustStore::parse(&text, Some(before.0.serial + 1))?;
    Ok(text)
}

#[cfg(test)]
#[path = "trust_store_tests.rs"]
mod tests;
