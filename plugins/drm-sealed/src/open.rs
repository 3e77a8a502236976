//! Opening a sealed file on the holder's own node, without a connection.

use data_encoding::HEXLOWER;
use fondaco_sdk::{Error, FileInfo, License, Result};
use time::{Duration, OffsetDateTime};

use crate::clock::parse;
use crate::header::Header;
use crate::licence::Licence;
use crate::script::Script;

/// How far the clocks of the issuer and the holder may be apart.
pub const TOLERANCE: Duration = Duration::minutes(5);

/// The script that gives the clear file. All that can be wrong is found before it starts, but for altered segments:
/// those fail at their tag.
pub fn open(license: &License, file: &FileInfo, now: OffsetDateTime) -> Result<Script> {
    let checked = Licence::read(license)?;
    let licence = &checked.licence;
    if licence.file != file.hash {
        return Err(Error::Invalid(format!("the licence is for another file: {} of {}", licence.path, licence.work)));
    }
    if parse("issued", &licence.issued)? > now.saturating_add(TOLERANCE) {
        return Err(Error::Invalid(format!(
            "the licence was issued at {}, which is yet to come: set the clock right",
            licence.issued
        )));
    }
    if let Some(expires) = &licence.expires
        && parse("expires", expires)?.saturating_add(TOLERANCE) < now
    {
        return Err(Error::Denied(format!("the licence expired at {expires}: renew the loan or buy the work")));
    }
    let (header, check) = Header::read(file)?;
    let key = checked.key()?;
    if HEXLOWER.encode(&header.check(&key)) != licence.key_check {
        return Err(Error::Invalid("the key in the licence does not fit the file's header: ask the issuer".into()));
    }
    if header.check(&key) != check {
        return Err(Error::Invalid("the file's header was altered: fetch the file again".into()));
    }
    Script::open(header, key)
}

#[cfg(test)]
#[path = "open_tests.rs"]
pub(crate) mod tests;
