//! How values are written: times, ids and sums in SQL, exact sums and binary values in JSON.

use std::str::FromStr;

use fondaco_schemas::{Asset, Money};
use rusqlite::Row;
use rusqlite::types::Type;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::{Error, Result};

/// Microseconds since 1970, which is what the tables hold.
pub(crate) fn micros(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos().div_euclid(1000)).unwrap_or(i64::MAX)
}

/// The time of so many microseconds since 1970.
pub(crate) fn from_micros(micros: i64) -> Result<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000).map_err(Error::unreadable("time"))
}

/// In UTC and whole microseconds, so that a time reads back as it was given.
pub(crate) fn settled(at: OffsetDateTime) -> Result<OffsetDateTime> {
    if !(0..=9999).contains(&at.to_offset(time::UtcOffset::UTC).year()) {
        return Err(Error::Range { what: "the time" });
    }
    from_micros(micros(at))
}

/// RFC 3339.
pub(crate) fn text(at: OffsetDateTime) -> Result<String> {
    at.format(&Rfc3339).map_err(|_| Error::Range { what: "the time" })
}

/// A number of ours as SQLite holds it.
pub(crate) fn int(n: u64, what: &'static str) -> Result<i64> {
    i64::try_from(n).map_err(|_| Error::Range { what })
}

/// A count or sequence number that a row holds.
pub(crate) fn count(row: &Row<'_>, column: &str) -> rusqlite::Result<u64> {
    let n: i64 = row.get(column)?;
    u64::try_from(n).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(0, n))
}

/// An id that a row holds as text.
pub(crate) fn parsed<T>(row: &Row<'_>, column: &str) -> rusqlite::Result<T>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let text: String = row.get(column)?;
    text.parse().map_err(|e| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(e)))
}

/// An id of 32 bytes that a row holds.
pub(crate) fn bytes<T>(row: &Row<'_>, column: &str, make: fn([u8; 32]) -> T) -> rusqlite::Result<T> {
    row.get(column).map(make)
}

/// A time that a row holds.
pub(crate) fn time(row: &Row<'_>, column: &str) -> rusqlite::Result<OffsetDateTime> {
    moment(row.get(column)?)
}

/// A time that a row may hold.
pub(crate) fn maybe_time(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<OffsetDateTime>> {
    row.get::<_, Option<i64>>(column)?.map(moment).transpose()
}

fn moment(micros: i64) -> rusqlite::Result<OffsetDateTime> {
    from_micros(micros).map_err(|e| rusqlite::Error::FromSqlConversionFailure(0, Type::Integer, Box::new(e)))
}

/// A CBOR value that a row holds.
pub(crate) fn cbor<T>(row: &Row<'_>, column: &str) -> rusqlite::Result<T>
where
    T: for<'b> minicbor::Decode<'b, ()>,
{
    let bytes: Vec<u8> = row.get(column)?;
    minicbor::decode(&bytes).map_err(|e| rusqlite::Error::FromSqlConversionFailure(0, Type::Blob, Box::new(e)))
}

/// A value as CBOR.
pub(crate) fn to_cbor(value: &impl minicbor::Encode<()>) -> Result<Vec<u8>> {
    minicbor::to_vec(value).map_err(Error::unreadable("CBOR value"))
}

/// A sum from its three columns.
pub(crate) fn money(row: &Row<'_>) -> rusqlite::Result<Money> {
    let asset: Asset = parsed(row, "asset")?;
    Ok(Money { minor: count(row, "minor")?, asset, exponent: row.get("exponent")? })
}

/// What the only row gives, if there is one.
pub(crate) fn maybe<T>(row: rusqlite::Result<T>) -> Result<Option<T>> {
    rusqlite::OptionalExtension::optional(row).map_err(Error::from)
}

/// A sum with its unit spelt out, since its text form knows no exponent but the asset's usual one.
pub(crate) mod exact {
    use fondaco_schemas::{Asset, Money};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Exact {
        minor: u64,
        asset: Asset,
        exponent: u8,
    }
    impl From<&Money> for Exact {
        fn from(m: &Money) -> Self {
            Self { minor: m.minor, asset: m.asset.clone(), exponent: m.exponent }
        }
    }
    impl From<Exact> for Money {
        fn from(e: Exact) -> Self {
            Self { minor: e.minor, asset: e.asset, exponent: e.exponent }
        }
    }

    pub(crate) fn serialize<S: Serializer>(money: &Money, s: S) -> Result<S::Ok, S::Error> {
        Exact::from(money).serialize(s)
    }
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Money, D::Error> {
        Exact::deserialize(d).map(Money::from)
    }

    /// The same for a sum that may be absent.
    pub(crate) mod maybe {
        use super::{Deserialize, Deserializer, Exact, Money, Serialize, Serializer};

        #[expect(clippy::ref_option, reason = "serde hands over a reference to the field")]
        pub(crate) fn serialize<S: Serializer>(money: &Option<Money>, s: S) -> Result<S::Ok, S::Error> {
            money.as_ref().map(Exact::from).serialize(s)
        }
        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Money>, D::Error> {
            Ok(Option::<Exact>::deserialize(d)?.map(Money::from))
        }
    }
}

/// Bytes in JSON, as base64 (RFC 4648, section 4).
pub(crate) mod base64 {
    use data_encoding::BASE64;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&BASE64.encode(bytes))
    }
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(d)?;
        BASE64.decode(text.as_bytes()).map_err(D::Error::custom)
    }
}

/// A value whose exact encoding is CBOR, in JSON: CBOR in base64.
pub(crate) mod cbor64 {
    use serde::{Deserializer, Serializer, de, ser};

    pub(crate) fn serialize<T: minicbor::Encode<()>, S: Serializer>(value: &T, s: S) -> Result<S::Ok, S::Error> {
        super::base64::serialize(&minicbor::to_vec(value).map_err(ser::Error::custom)?, s)
    }
    pub(crate) fn deserialize<'de, T, D: Deserializer<'de>>(d: D) -> Result<T, D::Error>
    where
        T: for<'b> minicbor::Decode<'b, ()>,
    {
        minicbor::decode(&super::base64::deserialize(d)?).map_err(de::Error::custom)
    }
}
