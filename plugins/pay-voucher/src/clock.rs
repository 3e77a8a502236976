//! The two things that this plugin asks of the clock: a moment for the record, and the day for expiry.

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

/// Julian day of 1970-01-01.
const EPOCH: i32 = 2_440_588;

/// A day, counted from 1970-01-01 (UTC). A code that expires on a day is good until that day ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Day(pub u32);

impl Day {
    /// Reads `2030-12-31`. `None` for what is no date, or lies before 1970-01-02 (day 0 means "no expiry" in a code).
    pub fn parse(text: &str) -> Option<Self> {
        let date = Date::parse(text, format_description!("[year]-[month]-[day]")).ok()?;
        u32::try_from(date.to_julian_day() - EPOCH).ok().filter(|d| *d > 0).map(Self)
    }
    /// The day of a moment.
    pub fn of(moment: OffsetDateTime) -> Self {
        Self(u32::try_from(moment.to_offset(time::UtcOffset::UTC).to_julian_day() - EPOCH).unwrap_or(0))
    }
    /// Can it be written as a date of four-digit year?
    pub fn is_a_date(self) -> bool {
        self.date().is_some()
    }
    fn date(self) -> Option<Date> {
        Date::from_julian_day(i32::try_from(self.0).ok()?.checked_add(EPOCH)?).ok()
    }
}

impl std::fmt::Display for Day {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.date() {
            Some(date) => write!(f, "{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day()),
            None => write!(f, "day {}", self.0),
        }
    }
}

/// Now, to the second.
pub fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    now.replace_nanosecond(0).unwrap_or(now)
}

/// RFC 3339, UTC.
pub fn stamp(moment: OffsetDateTime) -> String {
    moment.format(&Rfc3339).unwrap_or_else(|_| "1970-01-01T00:00:00Z".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_days_from_1970() {
        assert_eq!(Day::parse("1970-01-02"), Some(Day(1)));
        assert_eq!(Day::parse("2000-03-01"), Some(Day(11_017)));
        assert_eq!(Day::of(time::macros::datetime!(2000-03-01 23:59:59 UTC)), Day(11_017));
        assert_eq!(Day::of(time::macros::datetime!(2000-03-02 00:30:00 +1)), Day(11_017), "days are UTC's");
        assert_eq!(Day(11_017).to_string(), "2000-03-01");
    }

    #[test]
    fn refuses_what_is_no_date() {
        for bad in ["", "2030-02-30", "30.12.2030", "2030-13-01", "1970-01-01", "1969-12-31", "2030-1-1"] {
            assert_eq!(Day::parse(bad), None, "{bad}");
        }
        assert!(!Day(u32::MAX).is_a_date());
    }
}
