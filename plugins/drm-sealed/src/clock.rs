//! Moments, as RFC 3339 texts in UTC.

use fondaco_sdk::{Error, Result};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// Now, to the second.
pub fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    now.replace_nanosecond(0).unwrap_or(now)
}

/// A moment as text.
pub fn stamp(moment: OffsetDateTime) -> Result<String> {
    let text = moment.to_offset(UtcOffset::UTC).format(&Rfc3339);
    text.map_err(|e| Error::Internal(format!("a moment that cannot be written: {e}")))
}

/// A text as moment; `what` says whose it is.
pub fn parse(what: &str, text: &str) -> Result<OffsetDateTime> {
    let moment = OffsetDateTime::parse(text, &Rfc3339);
    moment.map_err(|_| Error::Invalid(format!("{what}: {text:.40?} is no time: write 2030-01-31T12:00:00Z")))
}
