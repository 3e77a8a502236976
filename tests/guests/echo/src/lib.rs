//! A DRM scheme that gives back what it got, with the first and the last byte inverted: in a fresh instance the body of a
//! player's request comes back as a licence, in a kept one a value from its storage comes back as an edit.
//! `host/runtime/benches/echo.rs` measures both; `tests/peers/extism/guest` does the same for Extism.

use fondaco_sdk::{
    DrmScheme, Edit, EditScript, Entitlement, Error, FileInfo, HttpMessage, License, LicenseState, LicenseStatus,
    Result, Secrecy, Terms, Work, storage,
};

/// The scheme.
pub struct Echo;

struct Script;

fn touched(mut bytes: Vec<u8>) -> Vec<u8> {
    if let [first, .., last] = bytes.as_mut_slice() {
        (*first, *last) = (!*first, !*last);
    }
    bytes
}

impl EditScript for Script {
    fn next(&mut self, _: usize) -> Result<Vec<Edit>> {
        let bytes = storage::get(b"payload")?.ok_or(Error::NotFound)?;
        Ok(vec![Edit::Insert(touched(bytes))])
    }
}

fn status() -> LicenseStatus {
    LicenseStatus { state: LicenseState::Active, devices: 0, ends: None, renewable_until: None }
}

impl DrmScheme for Echo {
    fn describe() -> (Secrecy, Vec<String>) {
        (Secrecy::None, Vec::new())
    }
    fn protect(_: Work, _: FileInfo, _: Terms) -> Result<Box<dyn EditScript>> {
        Ok(Box::new(Script))
    }
    fn issue(_: Entitlement, _: FileInfo, _: Option<String>, message: Option<HttpMessage>) -> Result<License> {
        let body = touched(message.ok_or(Error::NotFound)?.body);
        Ok(License { media_type: String::new(), body, headers: Vec::new(), expires: None })
    }
    fn status(_: Entitlement) -> Result<LicenseStatus> {
        Ok(status())
    }
    fn revoke(_: Entitlement, _: String) -> Result<LicenseStatus> {
        Ok(status())
    }
    fn open(_: License, _: FileInfo) -> Result<Box<dyn EditScript>> {
        Ok(Box::new(Script))
    }
}

fondaco_sdk::plugin!(drm: Echo);
