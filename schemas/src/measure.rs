//! Sizes and spans of time as people write them: `64MiB`, `250ms`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Why a text is no size or span.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MeasureError {
    /// No number and unit.
    #[error("{text:?} is no {what}: write a whole number and one of {units}, such as {example:?}")]
    Unreadable {
        /// What was written.
        text: String,
        /// What was wanted.
        what: &'static str,
        /// Which units there are.
        units: String,
        /// One that would do.
        example: &'static str,
    },
    /// More than can be counted.
    #[error("{0:?} is out of range")]
    Range(String),
}

const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// In milliseconds.
const SPANS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("w", 604_800_000)];

fn parse(text: &str, what: &'static str, units: &[(&str, u64)], example: &'static str) -> Result<u64, MeasureError> {
    let unreadable = || {
        let text = text.chars().take(80).collect();
        let units = units.iter().map(|u| u.0).collect::<Vec<_>>().join(", ");
        MeasureError::Unreadable { text, what, units, example }
    };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or_else(unreadable)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(unreadable)?;
    if number.is_empty() {
        return Err(unreadable());
    }
    let number: Option<u64> = number.parse().ok();
    number.and_then(|n| n.checked_mul(*factor)).ok_or_else(|| MeasureError::Range(text.chars().take(80).collect()))
}

/// The largest unit, binary ones preferred, in which the count is whole.
fn write(f: &mut fmt::Formatter<'_>, count: u64, units: &[(&str, u64)]) -> fmt::Result {
    let whole = |(_, factor): &&(&str, u64)| count > 0 && count.is_multiple_of(*factor);
    let (unit, factor) = units.iter().rev().find(whole).copied().unwrap_or(("", 1));
    let unit = if unit.is_empty() { units.first().map_or("", |u| u.0) } else { unit };
    write!(f, "{}{unit}", count / factor)
}

macro_rules! text_measure {
    ($name:ident, $about:literal, $pattern:literal) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "description": $about, "pattern": $pattern })
            }
        }
    };
}

/// A count of bytes. Its text form is a whole number and a unit: `64MiB`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

impl ByteSize {
    /// So many bytes.
    pub const fn bytes(count: u64) -> Self {
        Self(count)
    }
    /// So many times 2^20 bytes; the most that there is where that is out of range.
    pub const fn mib(count: u64) -> Self {
        Self(count.saturating_mul(1 << 20))
    }
    /// The count of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.0, SIZES)
    }
}
impl FromStr for ByteSize {
    type Err = MeasureError;
    fn from_str(text: &str) -> Result<Self, MeasureError> {
        parse(text, "size", SIZES, "64MiB").map(Self)
    }
}
text_measure!(
    ByteSize,
    "A count of bytes with its unit, such as \"64MiB\"",
    "^[0-9]+ ?(B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)$"
);

/// A span of time in whole milliseconds. Its text form is a whole number and a unit: `250ms`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(u64);

impl Span {
    /// So many milliseconds.
    pub const fn millis(count: u64) -> Self {
        Self(count)
    }
    /// So many seconds; the most that there is where that is out of range.
    pub const fn secs(count: u64) -> Self {
        Self(count.saturating_mul(1000))
    }
    /// In milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0
    }
    /// As the standard library has it.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.0, SPANS)
    }
}
impl FromStr for Span {
    type Err = MeasureError;
    fn from_str(text: &str) -> Result<Self, MeasureError> {
        parse(text, "span of time", SPANS, "250ms").map(Self)
    }
}
text_measure!(Span, "A span of time with its unit, such as \"250ms\"", "^[0-9]+ ?(ms|s|min|h|d|w)$");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_sizes_and_spans() {
        let size = |text: &str| text.parse::<ByteSize>().map(ByteSize::get);
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("1 kB"), Ok(1000));
        assert_eq!(size("0B"), Ok(0));
        let span = |text: &str| text.parse::<Span>().map(Span::as_millis);
        assert_eq!(span("250ms"), Ok(250));
        assert_eq!(span("2 min"), Ok(120_000));
        for text in ["64MiB", "1GiB", "3B", "0B", "1001B", "5kB"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
        for text in ["250ms", "10s", "1w", "0ms", "36h"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_what_is_no_size() {
        for bad in ["", "64", "MiB", "-1B", "1.5MiB", "1mib", "1 Mi B", "é"] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad:?}");
        }
        assert_eq!("99999999TiB".parse::<ByteSize>(), Err(MeasureError::Range("99999999TiB".into())));
        assert!("99999999999999999999B".parse::<ByteSize>().is_err());
    }
}
