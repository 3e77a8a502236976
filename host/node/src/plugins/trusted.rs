//! `trust.toml` as it may be used: never an older one than was used before. The ledger remembers its serial.

use fondaco_ledger::{Ledger, TrustSeen};
use fondaco_trust::TrustStore;
use time::OffsetDateTime;
use tokio::sync::Mutex;

use crate::fail::Done;
use crate::folder::Folder;

/// What was accepted last.
pub struct Trusted(Mutex<Option<TrustSeen>>);

impl Trusted {
    /// What the ledger remembers.
    pub async fn remembered(ledger: &Ledger) -> Done<Self> {
        Ok(Self(Mutex::new(ledger.trust_seen().await?)))
    }

    /// Reads `trust.toml`; refuses one whose serial is lower than one that was accepted, and writes down what is new.
    pub async fn read(&self, folder: &Folder, ledger: &Ledger) -> Done<TrustStore> {
        let mut seen = self.0.lock().await;
        let text = folder.trust_text()?;
        let store = TrustStore::parse(&text, seen.as_ref().map(|s| s.serial))?;
        let digest = blake3::hash(text.as_bytes()).to_hex().to_string();
        let now = TrustSeen { serial: store.file().serial, digest };
        if seen.as_ref() != Some(&now) {
            if seen.as_ref().is_some_and(|s| s.serial == now.serial) {
                tracing::warn!(serial = now.serial, "trust.toml was changed and its serial was not counted up");
            }
            ledger.record_trust(now.clone(), OffsetDateTime::now_utc()).await?;
            *seen = Some(now);
        }
        Ok(store)
    }
}
