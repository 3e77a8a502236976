//! Exact sums. No floating point, no silent overflow, no adding of apples and pears.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a sum could not be read or reckoned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not "4.99 EUR".
    #[error("{0:?} is no sum: write it as \"4.99 EUR\"")]
    Unreadable(String),
    /// Not an asset's name.
    #[error("{0:?} is no asset: use an ISO 4217 code such as EUR, a CAIP-19 id, sat or pts")]
    Asset(String),
    /// More decimals than the asset has.
    #[error("{text:?} has more than {exponent} decimals, and {asset} has no smaller unit")]
    TooFine {
        /// What was written.
        text: String,
        /// The asset.
        asset: Asset,
        /// How many decimals it has.
        exponent: u8,
    },
    /// Two assets in one reckoning.
    #[error("{0} and {1} cannot be reckoned together")]
    Mixed(Asset, Asset),
    /// The result does not fit, or would be negative.
    #[error("the sum is out of range")]
    Range,
}

/// What a sum is counted in: an ISO 4217 code, a CAIP-19 id, `sat`, or `pts` for points.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, Encode, Decode)]
#[serde(try_from = "String", into = "String")]
#[cbor(transparent)]
pub struct Asset(#[n(0)] String);

impl Asset {
    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// Decimals of the asset's atomic unit (ISO 4217 "minor units"). For assets outside that list the sum says it.
    pub fn exponent(&self) -> u8 {
        match self.0.as_str() {
            "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "UYI" | "VND"
            | "VUV" | "XAF" | "XOF" | "XPF" | "sat" | "pts" => 0,
            "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
            "CLF" | "UYW" => 4,
            _ => 2,
        }
    }
}

impl TryFrom<String> for Asset {
    type Error = MoneyError;
    fn try_from(name: String) -> Result<Self, MoneyError> {
        let iso = name.len() == 3 && name.bytes().all(|b| b.is_ascii_uppercase());
        let caip = name.len() <= 128 && name.contains('/') && name.bytes().all(|b| b.is_ascii_graphic());
        if iso || caip || name == "sat" || name == "pts" { Ok(Self(name)) } else { Err(MoneyError::Asset(name)) }
    }
}
impl From<Asset> for String {
    fn from(asset: Asset) -> Self {
        asset.0
    }
}
impl FromStr for Asset {
    type Err = MoneyError;
    fn from_str(name: &str) -> Result<Self, MoneyError> {
        name.to_owned().try_into()
    }
}
impl fmt::Display for Asset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An exact sum: a count of the asset's atomic unit. EUR 4.99 is 499 with exponent 2.
///
/// Its text form is `4.99 EUR`. Sums are never negative: what goes back is an event of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Money {
    /// Count of atomic units.
    #[n(0)]
    pub minor: u64,
    /// What is counted.
    #[n(1)]
    pub asset: Asset,
    /// Decimals of the atomic unit.
    #[n(2)]
    pub exponent: u8,
}

impl Money {
    /// So many atomic units of an asset, with the asset's own exponent.
    pub fn new(minor: u64, asset: Asset) -> Self {
        let exponent = asset.exponent();
        Self { minor, asset, exponent }
    }
    /// Nothing, of the same asset.
    #[must_use]
    pub fn zero(&self) -> Self {
        Self { minor: 0, ..self.clone() }
    }
    /// Is it nothing?
    pub const fn is_zero(&self) -> bool {
        self.minor == 0
    }
    /// Counted in the same unit?
    pub fn same_unit(&self, other: &Self) -> bool {
        self.asset == other.asset && self.exponent == other.exponent
    }
    /// The sum of two.
    pub fn plus(&self, other: &Self) -> Result<Self, MoneyError> {
        self.reckon(other, u64::checked_add)
    }
    /// What is left; an error where it would be negative.
    pub fn minus(&self, other: &Self) -> Result<Self, MoneyError> {
        self.reckon(other, u64::checked_sub)
    }
    fn reckon(&self, other: &Self, f: fn(u64, u64) -> Option<u64>) -> Result<Self, MoneyError> {
        if !self.same_unit(other) {
            return Err(MoneyError::Mixed(self.asset.clone(), other.asset.clone()));
        }
        let minor = f(self.minor, other.minor).ok_or(MoneyError::Range)?;
        Ok(Self { minor, ..self.clone() })
    }
    /// Shares it out in proportion, by largest remainder (Hamilton), so that the parts add up to the whole. With no
    /// weight at all the result is all zero but for the first part.
    pub fn share(&self, weights: &[u32]) -> Vec<Self> {
        let total: u128 = weights.iter().map(|w| u128::from(*w)).sum();
        let whole = u128::from(self.minor);
        let mut parts: Vec<(u128, u128)> = weights
            .iter()
            .map(|w| whole * u128::from(*w))
            .map(|n| (n.checked_div(total).unwrap_or(0), n.checked_rem(total).unwrap_or(0)))
            .collect();
        let mut left = whole - parts.iter().map(|p| p.0).sum::<u128>();
        let mut order: Vec<usize> = (0..parts.len()).collect();
        order.sort_by_key(|i| std::cmp::Reverse(parts.get(*i).map_or(0, |p| p.1)));
        if total == 0 {
            if let Some(first) = parts.first_mut() {
                first.0 = left;
            }
            left = 0;
        }
        for i in order {
            if left == 0 {
                break;
            }
            if let Some(part) = parts.get_mut(i) {
                part.0 += 1;
                left -= 1;
            }
        }
        parts.into_iter().map(|(n, _)| Self { minor: u64::try_from(n).unwrap_or(u64::MAX), ..self.clone() }).collect()
    }
    /// The count with its decimals, without the asset: `4.99`.
    pub fn decimal(&self) -> String {
        let digits = format!("{:0width$}", self.minor, width = usize::from(self.exponent) + 1);
        let (whole, part) = digits.split_at(digits.len() - usize::from(self.exponent));
        if part.is_empty() { whole.to_owned() } else { format!("{whole}.{part}") }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.decimal(), self.asset)
    }
}

impl FromStr for Money {
    type Err = MoneyError;
    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let unreadable = || MoneyError::Unreadable(text.to_owned());
        let (number, asset) = text.trim().split_once(' ').ok_or_else(unreadable)?;
        let asset: Asset = asset.trim().parse()?;
        let exponent = asset.exponent();
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(part) || (part.is_empty() && number.contains('.')) {
            return Err(unreadable());
        }
        if part.len() > usize::from(exponent) {
            return Err(MoneyError::TooFine { text: number.to_owned(), asset, exponent });
        }
        let minor =
            format!("{whole}{part:0<width$}", width = usize::from(exponent)).parse().map_err(|_| MoneyError::Range)?;
        Ok(Self { minor, asset, exponent })
    }
}

impl Serialize for Money {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}
impl JsonSchema for Money {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Money".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "An exact sum with its asset, such as \"4.99 EUR\"",
            "pattern": "^[0-9]+(\\.[0-9]+)? \\S+$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(text: &str) -> Money {
        text.parse().unwrap()
    }

    #[test]
    fn reads_and_writes_sums() {
        for text in ["4.99 EUR", "0.05 EUR", "0.00 EUR", "1200 JPY", "1.234 KWD", "21 sat", "184467440737095516.15 EUR"]
        {
            assert_eq!(money(text).to_string(), text);
        }
        assert_eq!(money("5 EUR"), money("5.00 EUR"));
        assert_eq!(money("5.1 EUR").minor, 510);
    }

    #[test]
    fn refuses_what_is_no_sum() {
        for bad in ["", "5", "EUR", "-1 EUR", "1,5 EUR", "1. EUR", ".5 EUR", "1e3 EUR", "5 eur", "5 €", "0x1 EUR"] {
            assert!(bad.parse::<Money>().is_err(), "{bad}");
        }
        assert!(matches!("1.999 EUR".parse::<Money>(), Err(MoneyError::TooFine { .. })));
        assert!(matches!("184467440737095516.16 EUR".parse::<Money>(), Err(MoneyError::Range)));
    }

    #[test]
    fn never_mixes_and_never_overflows() {
        assert_eq!(money("1.00 EUR").plus(&money("2.50 EUR")), Ok(money("3.50 EUR")));
        assert!(matches!(money("1.00 EUR").plus(&money("1.00 USD")), Err(MoneyError::Mixed(..))));
        assert_eq!(money("1.00 EUR").minus(&money("2.00 EUR")), Err(MoneyError::Range));
        let most = Money { minor: u64::MAX, ..money("0 EUR") };
        assert_eq!(most.plus(&money("0.01 EUR")), Err(MoneyError::Range));
    }

    #[test]
    fn shares_add_up_to_the_whole() {
        let parts = money("1.00 EUR").share(&[1, 1, 1]);
        assert_eq!(parts.iter().map(|p| p.minor).collect::<Vec<_>>(), [34, 33, 33]);
        for whole in [0, 1, 7, 499, u64::MAX] {
            for weights in [&[1, 2, 3][..], &[0, 0], &[u32::MAX, 1, u32::MAX], &[5]] {
                let parts = Money { minor: whole, ..money("0 EUR") }.share(weights);
                assert_eq!(parts.iter().map(|p| u128::from(p.minor)).sum::<u128>(), u128::from(whole));
            }
        }
    }
}
