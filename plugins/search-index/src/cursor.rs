//! Where a page of results ended. The next page begins after that place in the order, not after a count, so that works that
//! come or go in between neither repeat a hit nor hide one.

use fondaco_sdk::{Error, Query, Result};

/// A hit's place in the order: the least comes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// What is compared first: folded title, or currency; empty for the other orders.
    pub text: Vec<u8>,
    /// Then a number: price, or what counts down from the greatest score or the newest day.
    pub number: u128,
    /// Then the work's number.
    pub doc: u32,
}

const VERSION: u8 = 1;
/// Longer ones were never given out.
const MAX_BYTES: usize = 512;

/// FNV-1a of all that a cursor depends on: with another query it is of no use.
fn fingerprint(query: &Query) -> u64 {
    let mut same = query.clone();
    same.cursor = None;
    same.limit = 0;
    same.facets.clear();
    same.wait_ms = 0;
    let bytes = serde_json::to_vec(&same).unwrap_or_default();
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The cursor of what follows a place.
pub fn write(query: &Query, place: &Place) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&fingerprint(query).to_be_bytes());
    bytes.extend_from_slice(&place.number.to_be_bytes());
    bytes.extend_from_slice(&place.doc.to_be_bytes());
    bytes.extend_from_slice(&place.text);
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

/// The place that a query's cursor names.
pub fn read(query: &Query) -> Result<Option<Place>> {
    let Some(cursor) = &query.cursor else { return Ok(None) };
    let place = parse(cursor).ok_or_else(|| Error::Invalid("the cursor was not given out by this search".into()))?;
    if place.0 != fingerprint(query) {
        return Err(Error::Invalid("the cursor belongs to another query: start at the first page".into()));
    }
    Ok(Some(place.1))
}

fn parse(cursor: &str) -> Option<(u64, Place)> {
    if cursor.len() > 2 * MAX_BYTES || !cursor.len().is_multiple_of(2) {
        return None;
    }
    let digit = |c: &u8| char::from(*c).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let byte = |pair: &[u8]| Some(digit(pair.first()?)? << 4 | digit(pair.get(1)?)?);
    let bytes = cursor.as_bytes().chunks(2).map(byte).collect::<Option<Vec<u8>>>()?;
    let (version, rest) = bytes.split_first()?;
    let (fingerprint, rest) = rest.split_first_chunk()?;
    let (number, rest) = rest.split_first_chunk()?;
    let (doc, text) = rest.split_first_chunk()?;
    let place = Place { text: text.to_vec(), number: u128::from_be_bytes(*number), doc: u32::from_be_bytes(*doc) };
    (*version == VERSION).then_some((u64::from_be_bytes(*fingerprint), place))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::query;

    #[test]
    fn reads_back_its_own_and_refuses_others() {
        let place = Place { text: b"eur".to_vec(), number: u128::MAX - 7, doc: 9 };
        let mut q = query("moon");
        let cursor = write(&q, &place);
        q.limit = 3;
        q.facets = vec!["kind".into()];
        q.cursor = Some(cursor.clone());
        assert_eq!(read(&q).unwrap(), Some(place));
        q.text = "sun".into();
        assert!(read(&q).unwrap_err().to_string().contains("another query"));
        for bad in ["", "zz", "é", "01", &cursor[1..], &"0".repeat(9000)] {
            q.cursor = Some(bad.to_owned());
            assert!(matches!(read(&q), Err(Error::Invalid(_))), "{bad}");
        }
    }
}
