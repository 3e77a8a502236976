//! One span, one key; the licence holds the key, sealed to its holder.

use fondaco_sdk::storage::{self, Entry, Write};
use fondaco_sdk::{
    Cipher, Crypt, DrmScheme, Edit, EditScript, Entitlement, EntitlementState, Error, FileInfo, HttpMessage, License,
    LicenseState, LicenseStatus, Result, Secrecy, Span, Terms, Work, keys,
};

use crate::{Misfit, has};

/// What an AEAD adds, in bytes.
const TAG: u64 = 16;
/// The longest span that is sealed at once.
const MOST: u64 = 1 << 20;

struct Spans {
    key: Vec<u8>,
    left: Span,
    encrypt: bool,
    copies: bool,
}

impl EditScript for Spans {
    fn next(&mut self, at_most: usize) -> Result<Vec<Edit>> {
        let mut out = Vec::new();
        while out.len() < at_most && self.left.len > 0 {
            let step = if self.encrypt { MOST } else { MOST + TAG };
            let span = Span { offset: self.left.offset, len: self.left.len.min(step) };
            self.left.offset += span.len;
            self.left.len -= span.len;
            let mut iv = vec![0; 4];
            iv.extend((span.offset / step).to_be_bytes());
            let crypt = Crypt { span, cipher: Cipher::Chacha20Poly1305, key: self.key.clone(), iv };
            out.push(match self.encrypt {
                _ if self.copies => Edit::Copy(span),
                true => Edit::Encrypt(crypt),
                false => Edit::Decrypt(crypt),
            });
        }
        Ok(out)
    }
}

fn revoked(e: &Entitlement) -> Result<Vec<u8>> {
    let key = [b"revoked/", e.id.as_bytes()].concat();
    if key.len() > 500 { Err(Error::Invalid("an id has at most 492 bytes".into())) } else { Ok(key) }
}

fn standing(e: &Entitlement) -> Result<LicenseState> {
    if storage::get(&revoked(e)?)?.is_some() {
        return Ok(LicenseState::Revoked);
    }
    Ok(match e.state {
        EntitlementState::Active => LicenseState::Active,
        EntitlementState::Expired => LicenseState::Expired,
        EntitlementState::Returned => LicenseState::Returned,
        _ => LicenseState::Revoked,
    })
}

fn status_of(e: &Entitlement) -> Result<LicenseStatus> {
    Ok(LicenseStatus { state: standing(e)?, devices: 0, ends: e.expires.clone(), renewable_until: None })
}

impl DrmScheme for Misfit {
    fn describe() -> (Secrecy, Vec<String>) {
        (Secrecy::KeyInClient, if has("no-words") { vec![] } else { vec!["en: The file is locked.".into()] })
    }
    fn protect(_: Work, file: FileInfo, _: Terms) -> Result<Box<dyn EditScript>> {
        let len = if has("round-trip") { file.size.saturating_sub(1) } else { file.size };
        let key = keys::derive("file")?;
        Ok(Box::new(Spans {
            key,
            left: Span { offset: 0, len },
            encrypt: true,
            copies: has("leaks") || has("unsealed"),
        }))
    }
    #[expect(clippy::unwrap_used, reason = "a fault that is asked for")]
    fn issue(e: Entitlement, _: FileInfo, device: Option<String>, _: Option<HttpMessage>) -> Result<License> {
        if has("device") {
            device.unwrap();
        }
        let ended = standing(&e)? != LicenseState::Active || e.expires.as_deref().is_some_and(|end| end < "2026");
        if ended && !has("ended") {
            return Err(Error::Denied("the right has ended".into()));
        }
        let key = keys::derive("file")?;
        let body = if has("anybody") { key } else { keys::seal(&e.holder, b"misfit", &key)? };
        Ok(License { media_type: "application/octet-stream".into(), body, headers: vec![], expires: None })
    }
    fn status(e: Entitlement) -> Result<LicenseStatus> {
        status_of(&e)
    }
    fn revoke(e: Entitlement, _: String) -> Result<LicenseStatus> {
        if has("forgets") {
            return Ok(LicenseStatus { state: LicenseState::Revoked, ..status_of(&e)? });
        }
        storage::apply(&[Write::Put(Entry { key: revoked(&e)?, value: vec![] })])?;
        status_of(&e)
    }
    fn open(l: License, file: FileInfo) -> Result<Box<dyn EditScript>> {
        let key = if has("anybody") { l.body } else { keys::unseal(b"misfit", &l.body)? };
        Ok(Box::new(Spans {
            key,
            left: Span { offset: 0, len: file.size },
            encrypt: false,
            copies: has("leaks") || has("unsealed"),
        }))
    }
}
