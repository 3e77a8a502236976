//! The whole file's health, and copies of it.

use std::fs::{self, File};
use std::path::Path;

use crate::{Error, Ledger, Result};

impl Ledger {
    /// Everything that SQLite's `integrity_check` finds wrong with the file, at most a hundred; empty where it is sound.
    /// It reads the whole file.
    pub async fn integrity_check(&self) -> Result<Vec<String>> {
        self.read(|conn| {
            let mut statement = conn.prepare("PRAGMA integrity_check(100)")?;
            let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
            let found = rows.collect::<rusqlite::Result<Vec<_>>>()?;
            Ok(found.into_iter().filter(|line| line != "ok").collect())
        })
        .await
    }

    /// Writes a consistent copy to a path while the ledger is in use. The copy is made beside it, flushed and renamed,
    /// so that a copy of that name is always whole.
    pub async fn backup_to(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref().to_owned();
        let mut part = path.clone().into_os_string();
        part.push(".part");
        self.read(move |conn| {
            let fail = |source| Error::File { path: path.clone(), source };
            match fs::remove_file(&part) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(fail(e)),
                _ => {}
            }
            conn.execute("VACUUM INTO ?1", [part.to_string_lossy()])?;
            File::open(&part).and_then(|f| f.sync_all()).map_err(fail)?;
            fs::rename(&part, &path).map_err(fail)?;
            let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            File::open(folder).and_then(|f| f.sync_all()).map_err(fail)
        })
        .await
    }
}
