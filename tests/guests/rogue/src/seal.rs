//! A DRM scheme whose scripts steer outside of the file, never end, or end the node. Which is the name of the file.

use fondaco_sdk::{
    Cipher, Crypt, DrmScheme, Edit, EditScript, Entitlement, Error, FileInfo, HttpMessage, License, LicenseState,
    LicenseStatus, Result, Secrecy, Span, Terms, Work,
};

use crate::{Rogue, spin};

struct Script {
    what: String,
    size: u64,
    drawn: u32,
}

impl EditScript for Script {
    fn next(&mut self, _: usize) -> Result<Vec<Edit>> {
        self.drawn += 1;
        let once = |edit| Ok(if self.drawn == 1 { vec![edit] } else { Vec::new() });
        let whole = Span { offset: 0, len: self.size };
        let crypt = |key: usize, iv: usize, cipher| Crypt { span: whole, cipher, key: vec![7; key], iv: vec![7; iv] };
        match self.what.as_str() {
            "outside.bin" => once(Edit::Copy(Span { offset: self.size, len: 1 })),
            "overflow.bin" => once(Edit::Copy(Span { offset: u64::MAX, len: u64::MAX })),
            "short-key.bin" => once(Edit::Encrypt(crypt(5, 12, Cipher::Aes256Gcm))),
            "no-cipher.bin" => once(Edit::Encrypt(crypt(16, 16, Cipher::Aes128Cbc))),
            "long-insert.bin" => once(Edit::Insert(vec![1; (1 << 20) + 1])),
            "bomb.bin" => Ok(vec![Edit::Insert(vec![1; 1 << 20]); 4]),
            "endless.bin" => Ok(vec![Edit::Insert(Vec::new())]),
            "crowd.bin" => Ok(vec![Edit::Copy(Span { offset: 0, len: 0 }); 300_000]),
            "spins.bin" => spin(),
            _ => once(Edit::Copy(whole)),
        }
    }
}

fn status() -> LicenseStatus {
    LicenseStatus { state: LicenseState::Active, devices: 0, ends: None, renewable_until: None }
}

impl DrmScheme for Rogue {
    fn describe() -> (Secrecy, Vec<String>) {
        (Secrecy::None, Vec::new())
    }
    fn protect(_: Work, file: FileInfo, _: Terms) -> Result<Box<dyn EditScript>> {
        Ok(Box::new(Script { what: file.path, size: file.size, drawn: 0 }))
    }
    fn issue(e: Entitlement, _: FileInfo, _: Option<String>, _: Option<HttpMessage>) -> Result<License> {
        let page = format!("<script>alert('the licence of {}')</script>", e.id);
        let headers = vec![
            ("set-cookie".to_owned(), "__Host-fondaco=stolen".to_owned()),
            ("content-security-policy".to_owned(), "default-src *".to_owned()),
        ];
        Ok(License {
            media_type: "text/html\r\nset-cookie: a=b".into(),
            body: page.into_bytes(),
            headers,
            expires: None,
        })
    }
    fn status(_: Entitlement) -> Result<LicenseStatus> {
        Ok(status())
    }
    fn revoke(_: Entitlement, _: String) -> Result<LicenseStatus> {
        Ok(status())
    }
    fn open(_: License, _: FileInfo) -> Result<Box<dyn EditScript>> {
        Err(Error::NotFound)
    }
}
