//! Days and moments. Campaigns open, close and forget by the day, in UTC.

use std::fmt;
use std::str::FromStr;

use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, Duration, OffsetDateTime};

const FORMAT: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");

/// A day in UTC, written `2003-11-19`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(Date);

impl Day {
    /// So many days later; the last day of the calendar where that is past it.
    pub fn plus(self, days: u32) -> Self {
        Self(self.0.checked_add(Duration::days(i64::from(days))).unwrap_or(Date::MAX))
    }
}

impl FromStr for Day {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Date::parse(text, FORMAT).map(Self).map_err(|_| "write a day such as \"2003-11-19\"")
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.0.to_calendar_date();
        write!(f, "{year:04}-{:02}-{day:02}", u8::from(month))
    }
}

impl serde::Serialize for Day {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Day {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The moment of a call.
#[derive(Clone, Copy, Debug)]
pub struct Now(OffsetDateTime);

impl Now {
    /// By the node's clock.
    pub fn by_the_clock() -> Self {
        Self(OffsetDateTime::from(std::time::SystemTime::now()))
    }
    /// Its day.
    pub fn day(self) -> Day {
        Day(self.0.date())
    }
    /// RFC 3339, to the second.
    pub fn timestamp(self) -> String {
        let seconds = self.0.replace_nanosecond(0).unwrap_or(self.0);
        seconds.format(&Rfc3339).unwrap_or_else(|_| self.day().to_string())
    }
    /// A number that no two moments share: nanoseconds since 1970.
    pub fn nanos(self) -> i128 {
        self.0.unix_timestamp_nanos()
    }
}

#[cfg(test)]
impl Now {
    /// Noon of a day.
    pub fn noon(day: &str) -> Self {
        let day: Day = day.parse().unwrap();
        Self(day.0.with_hms(12, 0, 0).unwrap().assume_utc())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_days() {
        let day: Day = "2024-02-28".parse().unwrap();
        assert_eq!(day.plus(2).to_string(), "2024-03-01");
        assert!(day.plus(u32::MAX) > day);
        for bad in ["", "2024-02-30", "2024-2-3", "yesterday", "2024-01-01T00:00:00Z"] {
            assert!(bad.parse::<Day>().is_err(), "{bad}");
        }
        assert_eq!(Now::noon("2024-02-28").timestamp(), "2024-02-28T12:00:00Z");
        assert_eq!(Now::noon("2024-02-28").day(), day);
    }
}
