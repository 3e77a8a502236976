//! Where a licence stands, in the states of Readium's License Status Document: ready until the first device has it, then
//! active, until it is returned, revoked or expired (cancelled: revoked before any device had it). From those there is
//! no way back.
//!
//! The node's word on the entitlement comes first. A suspended entitlement, for which that vocabulary has no state,
//! reads as revoked for as long as it is suspended.

use fondaco_sdk::storage::{self, Entry, Write};
use fondaco_sdk::{Entitlement, EntitlementState, Error, LicenseState, LicenseStatus, Result, catalogue};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use crate::clock::{parse, stamp};
use crate::settings;

/// Most devices that are kept of one licence without a limit of its own.
const MAX_DEVICES: usize = 1000;
/// Longest id or name of a device, and longest reason, in bytes.
const MAX_TEXT_BYTES: usize = 200;
/// How often a transaction is tried anew that another one came before.
const ATTEMPTS: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Device {
    id: String,
    name: String,
    at: String,
}

/// How a licence came to its end before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum End {
    Revoked,
    Returned,
    Cancelled,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Ended {
    how: End,
    at: String,
    why: String,
}

/// What is kept of a licence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// The limit that held when the first device came: what was sold stays sold.
    limit: Option<u32>,
    devices: Vec<Device>,
    ended: Option<Ended>,
    /// The end of a loan that was renewed.
    until: Option<String>,
    renewals: u32,
}

/// What a licence may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// How many devices it is for.
    pub devices: Option<u32>,
    /// When it ends.
    pub ends: Option<OffsetDateTime>,
}

/// A licence's record beside its entitlement, at one moment.
struct Standing<'a> {
    entitlement: &'a Entitlement,
    now: OffsetDateTime,
    stored: Option<Vec<u8>>,
    record: Record,
}

fn key(entitlement: &Entitlement) -> Result<Vec<u8>> {
    if entitlement.id.is_empty() || entitlement.id.len() > MAX_TEXT_BYTES {
        return Err(Error::Invalid(format!("an entitlement's id has 1 to {MAX_TEXT_BYTES} bytes")));
    }
    Ok([b"l/", entitlement.id.as_bytes()].concat())
}

/// How many devices the offer allows, as the catalogue says now. An offer that is gone says nothing.
fn limit_of_offer(entitlement: &Entitlement) -> Result<Option<u32>> {
    match catalogue::get(&entitlement.work) {
        Ok(work) => Ok(work.offers.iter().find(|o| o.id == entitlement.offer).and_then(|o| o.terms.devices)),
        Err(Error::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

fn short(what: &str, text: &str) -> Result<()> {
    if text.is_empty() || text.len() > MAX_TEXT_BYTES || text.chars().any(char::is_control) {
        return Err(Error::Invalid(format!("{what}: write 1 to {MAX_TEXT_BYTES} bytes on one line")));
    }
    Ok(())
}

impl<'a> Standing<'a> {
    fn load(entitlement: &'a Entitlement, now: OffsetDateTime) -> Result<Self> {
        let stored = storage::get(&key(entitlement)?)?;
        let record = match &stored {
            Some(bytes) => serde_json::from_slice(bytes).map_err(|e| {
                Error::Internal(format!("the stored record of licence {} is damaged: {e}", entitlement.id))
            })?,
            None => Record { limit: limit_of_offer(entitlement)?, ..Record::default() },
        };
        Ok(Self { entitlement, now, stored, record })
    }

    /// Stores the record. `false`: another call came first.
    fn store(&self) -> Result<bool> {
        let key = key(self.entitlement)?;
        let value =
            serde_json::to_vec(&self.record).map_err(|e| Error::Internal(format!("cannot write a record: {e}")))?;
        let batch = [Write::Check((key.clone(), self.stored.clone())), Write::Put(Entry { key, value })];
        match storage::apply(&batch) {
            Ok(()) => Ok(true),
            Err(Error::Invalid(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// When the right ends: as renewed, or else as granted.
    fn ends(&self) -> Result<Option<OffsetDateTime>> {
        let until = self.record.until.as_deref().or(self.entitlement.expires.as_deref());
        until.map(|u| parse("expires", u)).transpose()
    }

    fn state(&self) -> Result<LicenseState> {
        if let Some(ended) = &self.record.ended {
            return Ok(match ended.how {
                End::Revoked => LicenseState::Revoked,
                End::Returned => LicenseState::Returned,
                End::Cancelled => LicenseState::Cancelled,
            });
        }
        let ends = self.ends()?;
        Ok(match self.entitlement.state {
            EntitlementState::Revoked | EntitlementState::Suspended => LicenseState::Revoked,
            EntitlementState::Returned => LicenseState::Returned,
            _ if ends.is_some_and(|end| end <= self.now) => LicenseState::Expired,
            // The node may not know yet that the loan was renewed; without a renewal its word stands.
            EntitlementState::Expired if self.record.until.is_none() => LicenseState::Expired,
            _ if self.record.devices.is_empty() => LicenseState::Ready,
            _ => LicenseState::Active,
        })
    }

    /// Fails unless the licence can be used, and says why.
    fn check_live(&self) -> Result<()> {
        let ends = || Ok::<_, Error>(self.ends()?.map(stamp).transpose()?.unwrap_or_default());
        let why = match self.state()? {
            LicenseState::Ready | LicenseState::Active => return Ok(()),
            LicenseState::Expired => format!("it expired at {}", ends()?),
            _ if self.entitlement.state == EntitlementState::Suspended => "it is suspended".to_owned(),
            state => match &self.record.ended {
                Some(Ended { at, why, .. }) => format!("it was {} at {at} ({why})", word(state)),
                None => format!("it was {}", word(state)),
            },
        };
        Err(Error::Denied(format!("the licence can no longer be used: {why}")))
    }

    /// Until when it may be renewed now, if at all.
    fn renewable_until(&self) -> Result<Option<OffsetDateTime>> {
        let settings = settings::get()?;
        let live = matches!(self.state()?, LicenseState::Ready | LicenseState::Active);
        if !live || self.record.renewals >= settings.renewals {
            return Ok(None);
        }
        Ok(self.ends()?.map(|end| end.saturating_add(Duration::days(settings.renewal_days.into()))))
    }

    fn status(&self) -> Result<LicenseStatus> {
        Ok(LicenseStatus {
            state: self.state()?,
            devices: u32::try_from(self.record.devices.len()).unwrap_or(u32::MAX),
            ends: self.ends()?.map(stamp).transpose()?,
            renewable_until: self.renewable_until()?.map(stamp).transpose()?,
        })
    }

    /// Adds a device; one that is there already changes nothing. `false`: nothing changed.
    fn add_device(&mut self, id: &str, name: &str) -> Result<bool> {
        short("the device's id", id)?;
        short("the device's name", name)?;
        if self.record.devices.iter().any(|d| d.id == id) {
            return Ok(false);
        }
        let limit = self.record.limit.map_or(MAX_DEVICES, |l| l as usize);
        if self.record.devices.len() >= limit {
            return Err(Error::Exhausted(format!(
                "this licence is for {limit} devices, and it has them: {}",
                self.names()
            )));
        }
        self.record.devices.push(Device { id: id.to_owned(), name: name.to_owned(), at: stamp(self.now)? });
        Ok(true)
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.record.devices.iter().take(10).map(|d| d.name.as_str()).collect();
        names.join(", ")
    }

    fn end(&mut self, how: End, why: &str) -> Result<()> {
        self.record.ended = Some(Ended { how, at: stamp(self.now)?, why: why.to_owned() });
        Ok(())
    }
}

const fn word(state: LicenseState) -> &'static str {
    match state {
        LicenseState::Ready => "ready",
        LicenseState::Active => "active",
        LicenseState::Revoked => "revoked",
        LicenseState::Returned => "returned",
        LicenseState::Cancelled => "cancelled",
        LicenseState::Expired => "expired",
    }
}

/// Reads a licence, makes a move and stores it, anew where another call came first. `false` from the move: nothing to
/// store.
fn change<'a>(
    entitlement: &'a Entitlement,
    now: OffsetDateTime,
    step: impl Fn(&mut Standing<'a>) -> Result<bool>,
) -> Result<Standing<'a>> {
    for _ in 0..ATTEMPTS {
        let mut standing = Standing::load(entitlement, now)?;
        if !step(&mut standing)? || standing.store()? {
            return Ok(standing);
        }
    }
    Err(Error::Unavailable("this licence is asked for too often at once: try again in a moment".into()))
}

/// Admits a device to a licence that is alive, and says what the licence may say.
pub fn admit(entitlement: &Entitlement, device: &str, now: OffsetDateTime) -> Result<Admitted> {
    let standing = change(entitlement, now, |s| {
        s.check_live()?;
        s.add_device(device, device)
    })?;
    Ok(Admitted { devices: standing.record.limit, ends: standing.ends()? })
}

/// Where the licence stands.
pub fn status(entitlement: &Entitlement, now: OffsetDateTime) -> Result<LicenseStatus> {
    Standing::load(entitlement, now)?.status()
}

/// Adds a device. The same one again changes nothing; one too many is an error.
pub fn register(entitlement: &Entitlement, device: &str, name: &str, now: OffsetDateTime) -> Result<LicenseStatus> {
    change(entitlement, now, |s| {
        s.check_live()?;
        s.add_device(device, name)
    })?
    .status()
}

/// Makes a loan last longer: until the moment named, or else as long as the settings allow.
pub fn renew(entitlement: &Entitlement, until: Option<&str>, now: OffsetDateTime) -> Result<LicenseStatus> {
    change(entitlement, now, |s| {
        s.check_live()?;
        let ends =
            s.ends()?.ok_or_else(|| Error::Invalid("the licence has no end: there is nothing to renew".into()))?;
        let Some(most) = s.renewable_until()? else {
            let times = s.record.renewals;
            return Err(Error::Denied(format!("this loan cannot be renewed again (renewed {times} times)")));
        };
        let until = until.map_or(Ok(most), |text| parse("until", text))?;
        if until <= ends || until > most {
            let (ends, most) = (stamp(ends)?, stamp(most)?);
            return Err(Error::Invalid(format!("until: the loan ends at {ends} and can be renewed up to {most}")));
        }
        s.record.until = Some(stamp(until)?);
        s.record.renewals += 1;
        Ok(true)
    })?
    .status()
}

/// Takes a loan back from one of its devices; it ends for all of them.
pub fn give_back(entitlement: &Entitlement, device: &str, now: OffsetDateTime) -> Result<LicenseStatus> {
    change(entitlement, now, |s| {
        s.check_live()?;
        if s.ends()?.is_none() {
            return Err(Error::Invalid("the licence has no end: only loans are given back".into()));
        }
        if !s.record.devices.iter().any(|d| d.id == device) {
            return Err(Error::Invalid("the device is not among this licence's: give it back from one that is".into()));
        }
        s.end(End::Returned, device)?;
        Ok(true)
    })?
    .status()
}

/// Ends a licence. Copies that devices hold already open until they expire.
pub fn revoke(entitlement: &Entitlement, reason: &str, now: OffsetDateTime) -> Result<LicenseStatus> {
    short("the reason", reason)?;
    change(entitlement, now, |s| {
        if let Some(Ended { how, at, why }) = &s.record.ended {
            return Err(Error::Invalid(format!("the licence was {} already at {at} ({why})", how.word())));
        }
        if s.state()? == LicenseState::Expired {
            return Err(Error::Invalid("the licence has expired: there is nothing to revoke".into()));
        }
        let how = if s.record.devices.is_empty() { End::Cancelled } else { End::Revoked };
        s.end(how, reason)?;
        Ok(true)
    })?
    .status()
}

impl End {
    const fn word(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Returned => "returned",
            Self::Cancelled => "cancelled",
        }
    }
}

#[cfg(test)]
#[path = "standing_tests.rs"]
mod tests;
