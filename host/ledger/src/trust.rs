//! Which trust file was accepted last: its serial, so that no older one comes back, and its digest, so that the log shows
//! when it changed. What the file says is none of the ledger's business.

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::codec::{count, int, maybe};
use crate::error::at_most;
use crate::{Ledger, Result};

/// A trust file that was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustSeen {
    /// Its serial.
    pub serial: u64,
    /// BLAKE3 of its bytes, lower-case hex.
    pub digest: String,
}

pub(crate) fn apply_seen(conn: &Connection, e: &TrustSeen) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO trust(one, serial, digest) VALUES(1, ?1, ?2) ON CONFLICT(one)
         DO UPDATE SET serial = excluded.serial, digest = excluded.digest WHERE excluded.serial >= serial",
    )?
    .execute(params![int(e.serial, "the trust file's serial")?, e.digest])?;
    Ok(())
}

impl Ledger {
    /// The trust file with the highest serial that was ever accepted; of several with that serial, the last.
    pub async fn trust_seen(&self) -> Result<Option<TrustSeen>> {
        self.read(|conn| {
            let mut statement = conn.prepare_cached("SELECT serial, digest FROM trust")?;
            let read = statement
                .query_row([], |row| Ok(TrustSeen { serial: count(row, "serial")?, digest: row.get("digest")? }));
            maybe(read)
        })
        .await
    }

    /// Writes down that a trust file was accepted.
    pub async fn record_trust(&self, seen: TrustSeen, at: OffsetDateTime) -> Result<()> {
        at_most("the trust file's digest", seen.digest.len(), 64)?;
        int(seen.serial, "the trust file's serial")?;
        self.write(move |tx| tx.append(at, seen).map(drop)).await
    }
}
