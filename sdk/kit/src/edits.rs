//! Carries out edit scripts in memory, by the rules of the node's own editor (`host/market`): spans lie within the file,
//! the ciphers are the two that nodes run, and a script ends.

use fondaco_runtime::wit::drm_types::{Cipher, Crypt, Edit, Span};
use fondaco_runtime::{CallError, Script};
use ring::aead;

/// The node's own bounds, in bytes.
const MAX_CRYPT: u64 = 4 << 20;
const MAX_INSERT: usize = 1 << 20;
const SLACK: u64 = 64 << 20;
/// Portions of the kit's small files; a script that needs more does not end.
const MAX_PORTIONS: usize = 10_000;

/// Why there is no output.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EditError {
    /// The plugin failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The plugin said no, in the middle of its script.
    #[error("the script ended with {0}")]
    Plugin(String),
    /// The script asks for what the node does not do.
    #[error("{0}")]
    Refused(String),
    /// What was to be opened does not open.
    #[error("the bytes at {0} do not open with the script's key")]
    Tag(u64),
}

/// Draws a script to its end, `at_most` edits at a time, and gives what it makes of the file.
pub(crate) async fn carry_out(script: &mut Script, file: &[u8], at_most: u32) -> Result<Vec<u8>, EditError> {
    let mut out = Vec::new();
    let most = (file.len() as u64).saturating_mul(2).saturating_add(SLACK);
    for _ in 0..MAX_PORTIONS {
        let edits = script.next(at_most).await?.map_err(|e| EditError::Plugin(crate::common::shown(&e)))?;
        if edits.is_empty() {
            return Ok(out);
        }
        if edits.len() > at_most as usize {
            return refused(format!("the script gave {} edits where at most {at_most} were asked for", edits.len()));
        }
        for edit in &edits {
            apply(edit, file, &mut out)?;
            if out.len() as u64 > most {
                return refused(format!("the script makes more than {most} bytes of a file of {}", file.len()));
            }
        }
    }
    refused(format!("the script did not end within {MAX_PORTIONS} portions: end it with an empty one"))
}

fn refused<T>(why: String) -> Result<T, EditError> {
    Err(EditError::Refused(why))
}

fn span(span: Span, file: &[u8]) -> Result<&[u8], EditError> {
    let end = span.offset.checked_add(span.len).and_then(|end| usize::try_from(end).ok());
    let start = usize::try_from(span.offset).ok();
    let found = start.zip(end).and_then(|(start, end)| file.get(start..end));
    let wrong = || format!("the script names bytes {}+{} of a file of {} bytes", span.offset, span.len, file.len());
    found.ok_or_else(|| EditError::Refused(wrong()))
}

fn apply(edit: &Edit, file: &[u8], out: &mut Vec<u8>) -> Result<(), EditError> {
    match edit {
        Edit::Copy(of) => out.extend_from_slice(span(*of, file)?),
        Edit::Insert(bytes) if bytes.len() > MAX_INSERT => {
            return refused(format!("the script inserts {} bytes at once; at most 1 MiB is taken", bytes.len()));
        }
        Edit::Insert(bytes) => out.extend_from_slice(bytes),
        Edit::Encrypt(of) => out.extend(crypt(of, file, true)?),
        Edit::Decrypt(of) => out.extend(crypt(of, file, false)?),
    }
    Ok(())
}

fn crypt(of: &Crypt, file: &[u8], encrypt: bool) -> Result<Vec<u8>, EditError> {
    let algorithm = match of.cipher {
        Cipher::Aes256Gcm => &aead::AES_256_GCM,
        Cipher::Chacha20Poly1305 => &aead::CHACHA20_POLY1305,
        Cipher::Aes128Ctr | Cipher::Aes128Cbc | Cipher::Aes256Cbc => {
            return refused("nodes run aes256-gcm and chacha20-poly1305: use one of these".into());
        }
    };
    if of.span.len > MAX_CRYPT {
        return refused(format!("the script seals or opens {} bytes at once; at most 4 MiB are taken", of.span.len));
    }
    let unfit = || EditError::Refused("a key has 32 bytes and a nonce 12".into());
    let key = aead::LessSafeKey::new(aead::UnboundKey::new(algorithm, &of.key).map_err(|_| unfit())?);
    let nonce = aead::Nonce::try_assume_unique_for_key(&of.iv).map_err(|_| unfit())?;
    let mut bytes = span(of.span, file)?.to_vec();
    if encrypt {
        key.seal_in_place_append_tag(nonce, aead::Aad::empty(), &mut bytes).map_err(|_| unfit())?;
        return Ok(bytes);
    }
    let clear = key.open_in_place(nonce, aead::Aad::empty(), &mut bytes).map_err(|_| EditError::Tag(of.span.offset))?;
    Ok(clear.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_lie_within_the_file_and_what_was_sealed_opens() {
        let mut out = Vec::new();
        let edit = |offset, len| Edit::Copy(Span { offset, len });
        apply(&edit(1, 2), b"abcd", &mut out).unwrap();
        assert_eq!(out, b"bc");
        for (offset, len) in [(3, 2), (5, 0), (u64::MAX, 2), (0, u64::MAX)] {
            assert!(apply(&edit(offset, len), b"abcd", &mut out).is_err(), "{offset}+{len}");
        }
        let of = |len| Crypt {
            span: Span { offset: 0, len },
            cipher: Cipher::Chacha20Poly1305,
            key: vec![1; 32],
            iv: vec![2; 12],
        };
        let sealed = crypt(&of(4), b"abcd", true).unwrap();
        assert_eq!(crypt(&of(20), &sealed, false).unwrap(), b"abcd");
        assert!(matches!(crypt(&of(20), &[0; 20], false), Err(EditError::Tag(0))));
        assert!(crypt(&Crypt { key: vec![1; 31], ..of(4) }, b"abcd", true).is_err());
    }
}
