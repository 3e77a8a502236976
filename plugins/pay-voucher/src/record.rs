//! One JSON document in storage, written only where nobody else wrote it since it was read.

use fondaco_sdk::storage::{self, Entry, Write};
use fondaco_sdk::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How often a transaction is tried anew that another one came before.
pub const ATTEMPTS: usize = 16;

/// A document, and what storage held when it was read.
#[derive(Clone, Debug)]
pub struct Record<T> {
    key: Vec<u8>,
    before: Option<Vec<u8>>,
    /// What it says now.
    pub value: T,
}

impl<T: Serialize + DeserializeOwned> Record<T> {
    /// A document that is not there yet.
    pub fn new(key: Vec<u8>, value: T) -> Self {
        Self { key, before: None, value }
    }

    /// The document under a key.
    pub fn load(key: Vec<u8>) -> Result<Option<Self>> {
        let Some(bytes) = storage::get(&key)? else { return Ok(None) };
        let value = read(&key, &bytes)?;
        Ok(Some(Self { key, before: Some(bytes), value }))
    }

    /// The writes that store it; they fail together with their whole batch where storage has changed meanwhile.
    pub fn writes(&self) -> Result<[Write; 2]> {
        let value =
            serde_json::to_vec(&self.value).map_err(|e| Error::Internal(format!("cannot write a record: {e}")))?;
        let check = Write::Check((self.key.clone(), self.before.clone()));
        Ok([check, Write::Put(Entry { key: self.key.clone(), value })])
    }
}

/// Reads a stored document.
pub fn read<T: DeserializeOwned>(key: &[u8], bytes: &[u8]) -> Result<T> {
    let name = || String::from_utf8_lossy(key).escape_default().to_string();
    serde_json::from_slice(bytes).map_err(|e| Error::Internal(format!("the stored record {} is damaged: {e}", name())))
}

/// Applies a batch. `false`: another transaction came first, read anew and try again.
pub fn commit(writes: &[Write]) -> Result<bool> {
    match storage::apply(writes) {
        Ok(()) => Ok(true),
        Err(Error::Invalid(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What to say when [`ATTEMPTS`] were not enough.
pub fn too_busy() -> Error {
    Error::Unavailable("too many payments at once: try again in a moment".into())
}
