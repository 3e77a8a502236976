//! Ids. Each is a type of its own, and only its parser makes one.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use minicbor::{Decode, Decoder, Encode, Encoder};
use serde::{Deserialize, Serialize};

/// Why a text is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {what}: {why}")]
pub struct IdError {
    what: &'static str,
    text: String,
    why: &'static str,
}

fn refuse<T>(what: &'static str, text: &str, why: &'static str) -> Result<T, IdError> {
    Err(IdError { what, text: text.chars().take(80).collect(), why })
}

macro_rules! text_form {
    ($name:ident) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
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
                schemars::json_schema!({ "type": "string" })
            }
        }
    };
}

macro_rules! bytes_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// From its 32 bytes.
            pub const fn new(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }
            /// Its 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEXLOWER.encode(&self.0))
            }
        }
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                if text.len() != 64 {
                    return refuse($what, text, "it must have 64 hexadecimal digits");
                }
                let mut bytes = [0; 32];
                match HEXLOWER.decode_mut(text.as_bytes(), &mut bytes) {
                    Ok(32) => Ok(Self(bytes)),
                    _ => refuse($what, text, "only 0-9 and a-f are allowed"),
                }
            }
        }
        text_form!($name);
        impl<C> Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.bytes(&self.0)?.ok()
            }
        }
        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                let bytes = d.bytes()?;
                bytes.try_into().map(Self).map_err(|_| minicbor::decode::Error::message("an id of 32 bytes"))
            }
        }
    };
}

bytes_id!(
    /// The BLAKE3 hash of a file's bytes: what `b3sum` prints.
    BlobHash,
    "a blob hash"
);
bytes_id!(
    /// The BLAKE3 hash of a signed release envelope. A release never changes.
    ReleaseId,
    "a release id"
);
bytes_id!(
    /// An Ed25519 public key: of a node, a publisher or a plugin signer.
    PublicKey,
    "a public key"
);
bytes_id!(
    /// The Ed25519 public key of a buyer's library. Never a name or an address.
    HolderKey,
    "a holder key"
);

/// The stable id of a work: `<publisher's public key>/<slug>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkId {
    publisher: PublicKey,
    slug: String,
}

impl WorkId {
    /// A slug has 1 to 64 letters `a-z`, digits and inner hyphens.
    pub fn new(publisher: PublicKey, slug: &str) -> Result<Self, IdError> {
        let letters = slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if slug.is_empty() || slug.len() > 64 || !letters || slug.starts_with('-') || slug.ends_with('-') {
            return refuse("a slug", slug, "it must have 1 to 64 of a-z, 0-9 and inner hyphens");
        }
        Ok(Self { publisher, slug: slug.to_owned() })
    }
    /// Whose work it is.
    pub const fn publisher(&self) -> &PublicKey {
        &self.publisher
    }
    /// The work's name within its publisher's.
    pub fn slug(&self) -> &str {
        &self.slug
    }
}

impl fmt::Display for WorkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.publisher, self.slug)
    }
}

impl FromStr for WorkId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let Some((publisher, slug)) = text.split_once('/') else {
            return refuse("a work id", text, "it must be <publisher's key>/<slug>");
        };
        Self::new(publisher.parse()?, slug)
    }
}
text_form!(WorkId);

impl<C> Encode<C> for WorkId {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.str(&self.to_string())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for WorkId {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        d.str()?.parse().map_err(|e: IdError| minicbor::decode::Error::message(e.to_string()))
    }
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// From 128 random bits, so that nobody guesses one.
            pub fn from_random(bits: [u8; 16]) -> Self {
                Self(format!("{}{}", $prefix, BASE32_NOPAD.encode(&bits).to_ascii_lowercase()))
            }
            /// Its text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let rest = text.strip_prefix($prefix).unwrap_or_default();
                if rest.len() == 26 && rest.bytes().all(|b| b.is_ascii_lowercase() || (b'2'..=b'7').contains(&b)) {
                    return Ok(Self(text.to_owned()));
                }
                refuse($what, text, concat!("it must be ", $prefix, " and 26 letters and digits"))
            }
        }
        text_form!($name);
    };
}

random_id!(
    /// An order: what somebody wants to buy, frozen at that moment.
    OrderId,
    "ord_",
    "an order id"
);
random_id!(
    /// One attempt to pay an order through one gateway.
    PaymentId,
    "pay_",
    "a payment id"
);
random_id!(
    /// A right that a buyer holds.
    EntitlementId,
    "ent_",
    "an entitlement id"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_it_was_written() {
        let key = PublicKey::new([7; 32]);
        assert_eq!(key.to_string().parse(), Ok(key));
        let work = WorkId::new(key, "night-owl-1").unwrap();
        assert_eq!(work.to_string().parse(), Ok(work));
        let order = OrderId::from_random([255; 16]);
        assert_eq!(order.to_string().parse(), Ok(order));
    }

    #[test]
    fn refuses_what_is_no_id() {
        for bad in ["", "AB", &"G".repeat(64), &"A".repeat(64), &"é".repeat(32)] {
            assert!(bad.parse::<BlobHash>().is_err(), "{bad}");
        }
        let key = PublicKey::new([7; 32]);
        for bad in ["", "-a", "a-", "a/b", "A", "ä", "a..", &"a".repeat(65)] {
            assert!(WorkId::new(key, bad).is_err(), "{bad}");
        }
        assert!("ord_".parse::<OrderId>().is_err());
        assert!(PaymentId::from_random([1; 16]).as_str().parse::<OrderId>().is_err(), "kinds do not mix");
    }
}
