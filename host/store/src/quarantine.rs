//! Takes a blob that did not verify out of service.

use std::sync::Arc;
use std::time::SystemTime;

use fondaco_schemas::BlobHash;

use crate::state::Shared;

/// Moves the copy of a blob that has this generation to `quarantine/`. A copy that replaced it meanwhile stays.
pub(crate) fn condemn(shared: &Arc<Shared>, hash: BlobHash, generation: u64) {
    let _shard = shared.shard(hash);
    {
        let mut state = shared.state();
        let Some(entry) = state.entries.get(&hash).filter(|e| e.generation == generation).cloned() else { return };
        state.entries.remove(&hash);
        if let Some((old, _)) = state.quarantine.insert(hash, (entry.stored, SystemTime::now())) {
            state.used = state.used.saturating_sub(old);
        }
    }
    // If the move fails, the blob is gone from the index all the same, and is found out again after a restart.
    match shared.watch(shared.layout.quarantine(hash)) {
        Ok(()) => tracing::error!(blob = %hash, "a corrupt blob was moved to quarantine"),
        Err(error) => tracing::error!(blob = %hash, %error, "a corrupt blob could not be moved to quarantine"),
    }
}
