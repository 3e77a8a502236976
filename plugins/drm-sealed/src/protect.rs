//! Sealing a file at publishing, and finding its key again.

use data_encoding::HEXLOWER;
use fondaco_sdk::{Error, FileInfo, Result, Work, keys};

use crate::header::{Header, Key};
use crate::script::Script;
use crate::{layout, settings};

/// The script that seals a clear file. It depends on the node's key, the work, the path, the file's bytes and the cipher,
/// and on nothing else: publishing the same again gives the same ciphertext, and no two files share a key.
pub fn protect(work: &Work, file: &FileInfo) -> Result<Script> {
    if let Some(scheme) = &file.protection {
        return Err(Error::Invalid(format!("{} is protected already, by {scheme}: publish the clear file", file.path)));
    }
    layout::Layout::of_clear(file.size)?;
    let derived = keys::derive(&salt_label(work, file))?;
    let short = || Error::Internal("the node gave a short key".into());
    let (salt, rest) = derived.split_first_chunk::<16>().ok_or_else(short)?;
    let nonce_prefix = rest.first_chunk::<7>().ok_or_else(short)?;
    let (salt, nonce_prefix) = (*salt, *nonce_prefix);
    let header = Header { cipher: settings::get()?.cipher, clear_size: file.size, salt, nonce_prefix };
    Script::seal(header, content_key(&header)?)
}

/// The three parts as one short label, each with its length, so that no two files can be taken for each other.
fn salt_label(work: &Work, file: &FileInfo) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in [&work.id, &file.path, &file.hash] {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    format!("salt/{}", hasher.finalize().to_hex())
}

/// The key of a file that this node sealed. AES and ChaCha20 never share one.
pub fn content_key(header: &Header) -> Result<Key> {
    let label = format!("content/{}/{}", header.cipher.name(), HEXLOWER.encode(&header.salt));
    keys::derive(&label)?.try_into().map_err(|_| Error::Internal("the node gave a key that is not of 32 bytes".into()))
}
