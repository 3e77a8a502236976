//! A voucher code: what it says, its bytes, and its text.
//!
//! Bytes, format version 1 (numbers big-endian; varint is LEB128 in its shortest form):
//!
//! ```text
//! 1   version = 1
//! 8   serial, unguessable
//! 4   batch
//! ..  varint: value in atomic units of the asset, at least 1
//! 1   length of the asset's name, 1 to 64
//! ..  the asset's name, ASCII
//! 1   exponent: decimals of the atomic unit, 0 to 38
//! ..  varint: the last day on which it is good, counted from 1970-01-01; 0: for good
//! 64  Ed25519 signature over the words "fondaco voucher v1", a zero byte, and all of the above
//! 4   CRC-32 (IEEE 802.3) of all of the above
//! ```
//!
//! Text: `FDV1`, then the bytes in Crockford's base 32, written in groups of five with hyphens. The checksum is there
//! for people: it tells a slip of the finger from a code that another made. Trust rests on the signature alone.

use fondaco_schemas::{Asset, Money};
use fondaco_sdk::{Result, keys};

use crate::base32::{self, Unreadable};
use crate::clock::Day;
use crate::refusal::Refusal;

/// Longest name of an asset in a code, in bytes; a longer one would make a code that nobody can print.
pub const MAX_ASSET_BYTES: usize = 64;
/// What a code's text begins with.
const PREFIX: &str = "FDV1";
/// Longest text that is looked at, hyphens and all.
const MAX_TEXT_BYTES: usize = 1024;
const VERSION: u8 = 1;
const SIGNATURE_BYTES: usize = 64;
const CHECKSUM_BYTES: usize = 4;
/// More decimals than this and a `u64` could not hold a single whole unit, twice over.
const MAX_EXPONENT: u8 = 38;
/// Label of the signing key at the node.
const KEY: &str = "voucher";
const DOMAIN: &[u8] = b"fondaco voucher v1\0";

/// Which code it is: batch and serial together. Two codes of this shop never share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CodeId {
    /// The batch that it was issued in.
    pub batch: u32,
    /// Its number, which cannot be guessed.
    pub serial: [u8; 8],
}

impl CodeId {
    /// Batch, then serial.
    pub fn to_bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes.iter_mut().zip(self.batch.to_be_bytes().into_iter().chain(self.serial)).for_each(|(to, from)| *to = from);
        bytes
    }
}

impl std::fmt::Display for CodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08x}-{:016x}", self.batch, u64::from_be_bytes(self.serial))
    }
}

/// What a code says. Only [`Code::read`] makes one from outside, and only where the signature is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// Which one it is.
    pub id: CodeId,
    /// What it is worth; never nothing.
    pub value: Money,
    /// The last day (UTC) on which it is good; `None`: for good.
    pub expires: Option<Day>,
}

impl Code {
    fn payload(&self) -> Vec<u8> {
        let asset = self.value.asset.as_str().as_bytes();
        let mut bytes = vec![VERSION];
        bytes.extend(self.id.serial);
        bytes.extend(self.id.batch.to_be_bytes());
        put_varint(&mut bytes, self.value.minor);
        bytes.push(u8::try_from(asset.len()).unwrap_or(u8::MAX));
        bytes.extend(asset);
        bytes.push(self.value.exponent);
        put_varint(&mut bytes, self.expires.map_or(0, |d| u64::from(d.0)));
        bytes
    }

    /// Signs it with the shop's key and writes it out. The same code gives the same text each time (Ed25519 needs no
    /// randomness).
    pub fn issue(&self) -> Result<String> {
        let mut bytes = self.payload();
        let signature = keys::sign(KEY, &message(&bytes))?;
        bytes.extend(signature);
        bytes.extend(crc32(&bytes).to_be_bytes());
        Ok(grouped(&format!("{PREFIX}{}", base32::encode(&bytes))))
    }

    /// Reads what a person typed or scanned. The outer error is the node's, the inner says what is wrong with the code.
    pub fn read(text: &str) -> Result<std::result::Result<Self, Refusal>> {
        let (payload, signature) = match split(text) {
            Ok(parts) => parts,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if !keys::verify(KEY, &message(&payload), &signature)? {
            return Ok(Err(Refusal::NotOurs));
        }
        // A payload that we signed and cannot read is of a format that is not this one.
        Ok(parse(&payload).ok_or(Refusal::Format))
    }
}

fn message(payload: &[u8]) -> Vec<u8> {
    [DOMAIN, payload].concat()
}

/// Payload and signature of a text whose checksum is right.
fn split(text: &str) -> std::result::Result<(Vec<u8>, Vec<u8>), Refusal> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(Refusal::Mistyped);
    }
    let text = base32::tidy(text).map_err(unreadable)?;
    let digits = text.strip_prefix(PREFIX).ok_or(Refusal::NoCode)?;
    let mut bytes = base32::decode(digits).map_err(unreadable)?;
    let body = bytes.len().checked_sub(CHECKSUM_BYTES).ok_or(Refusal::Mistyped)?;
    let checksum = bytes.split_off(body);
    if checksum != crc32(&bytes).to_be_bytes() {
        return Err(Refusal::Mistyped);
    }
    let payload = bytes.len().checked_sub(SIGNATURE_BYTES).ok_or(Refusal::Mistyped)?;
    let signature = bytes.split_off(payload);
    Ok((bytes, signature))
}

fn unreadable(error: Unreadable) -> Refusal {
    match error {
        Unreadable::Character(c) => Refusal::Character(c),
        Unreadable::Length => Refusal::Mistyped,
    }
}

fn parse(payload: &[u8]) -> Option<Code> {
    let mut rest = payload;
    if take::<1>(&mut rest)? != [VERSION] {
        return None;
    }
    let serial = take::<8>(&mut rest)?;
    let batch = u32::from_be_bytes(take(&mut rest)?);
    let minor = take_varint(&mut rest).filter(|m| *m > 0)?;
    let [length] = take::<1>(&mut rest)?;
    let length = usize::from(length);
    if length > MAX_ASSET_BYTES {
        return None;
    }
    let (asset, after) = rest.split_at_checked(length)?;
    rest = after;
    let asset: Asset = std::str::from_utf8(asset).ok()?.parse().ok()?;
    let [exponent] = take::<1>(&mut rest)?;
    let expires = u32::try_from(take_varint(&mut rest)?).ok()?;
    let expires = (expires > 0).then_some(Day(expires));
    if !rest.is_empty() || exponent > MAX_EXPONENT || expires.is_some_and(|d| !d.is_a_date()) {
        return None;
    }
    Some(Code { id: CodeId { batch, serial }, value: Money { minor, asset, exponent }, expires })
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = bytes.split_first_chunk()?;
    *bytes = tail;
    Some(*head)
}

fn put_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push((number & 0x7f) as u8);
}

/// `None` where the number does not fit a `u64` or is not in its shortest form.
fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for place in 0..10 {
        let [byte] = take::<1>(bytes)?;
        let part = u64::from(byte & 0x7f);
        let shifted = part.checked_shl(place * 7).filter(|s| s >> (place * 7) == part)?;
        number |= shifted;
        if byte & 0x80 == 0 {
            return (byte != 0 || place == 0).then_some(number);
        }
    }
    None
}

/// Five by five after the prefix, for the eye.
fn grouped(text: &str) -> String {
    let (prefix, digits) = text.split_at(PREFIX.len());
    let mut out = prefix.to_owned();
    for (i, c) in digits.chars().enumerate() {
        if i % 5 == 0 {
            out.push('-');
        }
        out.push(c);
    }
    out
}

/// CRC-32 as in IEEE 802.3: finds every slip in up to six neighbouring digits, and so every swap of two.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[cfg(test)]
#[path = "code_tests.rs"]
mod tests;
