//! Works of other publishers: a release that came from elsewhere, with its files in the store, becomes part of this node's
//! catalogue. It is found and passed on like our own works, and is sold at its publisher's alone (`sell.rs:checkout`).

use fondaco_schemas::{BlobHash, ReleaseId, Work};

use crate::{Error, Market, now};

impl Market {
    /// Takes a signed release into the catalogue. The files that this node keeps of it must be in the store: all of its own,
    /// and of others' those that are for everybody. They are kept from now on.
    ///
    /// # Cancel safety
    /// Dropped half-way, the work is in the catalogue or it is not; pins of what is not are taken back by the next tidying.
    pub async fn take_in(&self, envelope: Vec<u8>) -> Result<Work, Error> {
        let (release_id, release) = fondaco_trust::release::verify_release(&envelope)?;
        let hashes: Vec<BlobHash> = self.kept_of(&release).map(|f| f.hash).collect();
        let one = self.0.recording.lock().await;
        self.pin(hashes, release_id).await?;
        match self.ledger().record_release(&release, release_id, envelope, now()).await {
            Ok(_) => {}
            Err(error) => {
                // After a failed commit nobody knows what the disk holds; after a plain refusal the pins are of no use.
                if matches!(error, fondaco_ledger::Error::OldRelease { .. })
                    && self.ledger().release(release_id).await?.is_none()
                {
                    let (store, owner) = (self.store().clone(), owner(release_id));
                    let unpin = move || store.unpin_all(&store.pinned_by(&owner), &owner);
                    tokio::task::spawn_blocking(unpin).await??;
                }
                return Err(error.into());
            }
        }
        drop(one);
        self.all_came(release_id).await;
        self.0.changed.notify_one();
        self.feed().await?;
        Ok(Work { release_id, release })
    }

    pub(crate) async fn pin(&self, hashes: Vec<BlobHash>, release: ReleaseId) -> Result<(), Error> {
        let (store, owner) = (self.store().clone(), owner(release));
        Ok(tokio::task::spawn_blocking(move || store.pin_all(&hashes, &owner)).await??)
    }
}

pub(crate) fn owner(release: ReleaseId) -> String {
    format!("release/{release}")
}
