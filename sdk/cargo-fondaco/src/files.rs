//! Files that are read with a limit and written whole or not at all.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use fondaco_trust::bundle::MAX_BUNDLE_BYTES;

use crate::error::Error;

/// Reads a file of at most `limit` bytes. `hint` says what to do if there is none.
pub fn read(path: &Path, limit: usize, hint: &'static str) -> Result<Vec<u8>, Error> {
    let failed = Error::read(path, hint);
    let file = File::open(path).map_err(&failed)?;
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file that is too long from one that just fits.
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(&failed)?;
    if bytes.len() > limit {
        return Err(Error::TooLong(path.to_owned(), limit, "make it smaller"));
    }
    Ok(bytes)
}

/// The same for text.
pub fn read_text(path: &Path, limit: usize, hint: &'static str) -> Result<String, Error> {
    String::from_utf8(read(path, limit, hint)?).map_err(|_| Error::NoText(path.to_owned()))
}

/// Reads a bundle's bytes.
pub fn read_bundle(path: &Path) -> Result<Vec<u8>, Error> {
    let read = read(path, MAX_BUNDLE_BYTES, "make one with cargo fondaco pack");
    read.map_err(|e| if let Error::TooLong(path, ..) = e { Error::long_bundle(path) } else { e })
}

/// Replaces a file: whoever looks finds the old one or the new one, also after a crash.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let write = || -> io::Result<()> {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new().permissions(permissions()).tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|cause| Error::Write(path.to_owned(), cause))
}

/// What a file that is meant for everybody has, less the user's umask.
fn permissions() -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt as _;
    fs::Permissions::from_mode(0o666)
}
