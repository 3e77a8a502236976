//! Issuing a licence.

use data_encoding::HEXLOWER;
use fondaco_sdk::{Entitlement, Error, FileInfo, License, Result};
use time::OffsetDateTime;

use crate::clock::stamp;
use crate::header::Header;
use crate::licence::Licence;
use crate::protect::content_key;
use crate::standing::admit;

/// What a device is called that does not say its name: all such count as one.
pub const UNNAMED: &str = "unnamed";

/// The licence that opens `file` for the entitlement's holder.
pub fn issue(entitlement: &Entitlement, file: &FileInfo, device: Option<&str>, now: OffsetDateTime) -> Result<License> {
    let (header, check) = Header::read(file)?;
    let key = content_key(&header)?;
    if header.check(&key) != check {
        let text =
            format!("{} was not sealed by this node, which therefore has no key to it: publish it here", file.path);
        return Err(Error::Invalid(text));
    }
    let terms = admit(entitlement, device.unwrap_or(UNNAMED), now)?;
    let licence = Licence {
        devices: terms.devices,
        entitlement: entitlement.id.clone(),
        expires: terms.ends.map(stamp).transpose()?,
        file: file.hash.clone(),
        holder: entitlement.holder.clone(),
        issued: stamp(now)?,
        issuer: Licence::issuer()?,
        key_check: HEXLOWER.encode(&check),
        path: file.path.clone(),
        release: entitlement.release.clone(),
        version: Licence::version(),
        work: entitlement.work.clone(),
    };
    licence.issue(&key)
}
