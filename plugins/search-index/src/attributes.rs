//! What a work is filtered, counted and sorted by: its kind, language, licence, tags, offers and day of publication. Kept
//! apart from its words, 64 works to a stored value, so that counting over every match of a broad query takes some
//! hundred reads and not one for each work.

use fondaco_sdk::{FileRole, Money, Result, Work};

use crate::codec::{self, Reader};
use crate::text;

/// How many works share a stored value.
pub const PER_BLOCK: u32 = 64;
const MAX_TAG_BYTES: usize = 64;
/// Together with the caps below it keeps 64 works under 64 KiB, whatever their publishers wrote.
const MAX_TAGS_BYTES: usize = 480;
const MAX_LANGUAGE_BYTES: usize = 16;
const MAX_LICENCE_BYTES: usize = 64;
const MAX_OFFERS_BYTES: usize = 320;
/// Money in these facets and orders is compared in units of 10^-18, the finest that is common.
const FINEST: u8 = 18;

/// A sum of money in units of 10^-18. A finer one is rounded up, so that nothing seems cheaper than it is; one too great
/// for 128 bits is the greatest there is; `None` where the amount is no number.
pub fn price(money: &Money) -> Option<u128> {
    if money.amount.is_empty() || !money.amount.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let amount: u128 = money.amount.parse().unwrap_or(u128::MAX);
    Some(match FINEST.checked_sub(money.exponent) {
        Some(steps) => 10u128.pow(u32::from(steps)).saturating_mul(amount),
        None => match 10u128.checked_pow(u32::from(money.exponent - FINEST)) {
            Some(unit) => amount.div_ceil(unit),
            None => u128::from(amount > 0),
        },
    })
}

/// One way in which a work may be had. `S`: a string, or the number that a query gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer<S = String> {
    /// As in [`Money`].
    pub asset: S,
    /// What it costs, in units of 10^-18.
    pub price: u128,
    /// The DRM scheme; none: the files are clear.
    pub scheme: Option<S>,
}

/// What one work is filtered, counted and sorted by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes<S = String> {
    /// Number of the kind in [`crate::field::KINDS`].
    pub kind: u8,
    /// Seconds since 1970; 0 where the work does not say it in RFC 3339.
    pub published: u64,
    /// BCP 47.
    pub language: Option<S>,
    /// As the work says it.
    pub licence: Option<S>,
    /// As the work says them.
    pub tags: Vec<S>,
    /// The offers whose price can be read.
    pub offers: Vec<Offer<S>>,
    /// A work without offers whose content is not protected.
    pub clear: bool,
    /// The folded title, for sorting.
    pub title: String,
}

impl Attributes {
    /// Of a work. What is beyond the caps is left out.
    pub fn of(work: &Work) -> Self {
        let mut left = MAX_TAGS_BYTES;
        let mut tags: Vec<String> = Vec::new();
        for tag in &work.tags {
            let tag = text::shown(tag.trim(), MAX_TAG_BYTES);
            match left.checked_sub(tag.len() + 4) {
                Some(rest) if !tag.is_empty() && !tags.contains(&tag) => {
                    left = rest;
                    tags.push(tag);
                }
                Some(_) => {}
                None => break,
            }
        }
        let mut left = MAX_OFFERS_BYTES;
        let mut offers = Vec::new();
        for offer in &work.offers {
            let Some(price) = price(&offer.price) else { continue };
            let size = offer.price.asset.len() + offer.terms.scheme.as_ref().map_or(0, String::len) + 30;
            let Some(rest) = left.checked_sub(size) else { break };
            left = rest;
            offers.push(Offer { asset: offer.price.asset.clone(), price, scheme: offer.terms.scheme.clone() });
        }
        let of =
            |text: &Option<String>, max| text.as_ref().map(|t| text::shown(t.trim(), max)).filter(|t| !t.is_empty());
        let protected = work.files.iter().any(|f| f.role == FileRole::Content && f.protection.is_some());
        Self {
            kind: work.kind as u8,
            published: seconds(&work.published).unwrap_or(0),
            language: of(&work.language, MAX_LANGUAGE_BYTES),
            licence: of(&work.license, MAX_LICENCE_BYTES),
            tags,
            offers,
            clear: work.offers.is_empty() && !protected,
            title: text::line(&work.title, 60),
        }
    }
}

/// RFC 3339 in UTC to seconds since 1970 (days by the civil calendar's 400-year cycle).
fn seconds(at: &str) -> Option<u64> {
    let number = |from: usize, to: usize| at.get(from..to)?.parse::<u32>().ok().map(i64::from);
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Years begin in March here, so that the leap day is the last of its year.
    let year = if month > 2 { year } else { year - 1 };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468;
    u64::try_from(days * 86_400 + hour * 3600 + minute * 60 + second).ok()
}

/// The works whose numbers share a quotient by [`PER_BLOCK`]. Strings are stored once in a block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block(Vec<Option<Attributes>>);

/// The strings of a block, by the number under which the works name them.
#[derive(Default)]
struct Strings<'a>(Vec<&'a str>);

impl<'a> Strings<'a> {
    fn number(&mut self, text: &'a str) -> usize {
        self.0.iter().position(|t| *t == text).unwrap_or_else(|| {
            self.0.push(text);
            self.0.len() - 1
        })
    }
}

impl Block {
    /// Sets or clears the work with this number.
    pub fn set(&mut self, doc: u32, attributes: Option<Attributes>) {
        self.0.resize(PER_BLOCK as usize, None);
        if let Some(slot) = self.0.get_mut((doc % PER_BLOCK) as usize) {
            *slot = attributes;
        }
    }
    /// As stored; `None`: there is no work left in it.
    pub fn encode(&self) -> Option<Vec<u8>> {
        if self.0.iter().all(Option::is_none) {
            return None;
        }
        let mut strings = Strings::default();
        let mut body = Vec::new();
        for slot in &self.0 {
            let Some(a) = slot else {
                body.push(0);
                continue;
            };
            body.push(a.kind + 1);
            codec::put(&mut body, a.published);
            body.push(u8::from(a.clear) | u8::from(a.language.is_some()) << 1 | u8::from(a.licence.is_some()) << 2);
            for text in [&a.language, &a.licence].into_iter().flatten() {
                codec::put_len(&mut body, strings.number(text));
            }
            codec::put_len(&mut body, a.tags.len());
            for tag in &a.tags {
                codec::put_len(&mut body, strings.number(tag));
            }
            codec::put_len(&mut body, a.offers.len());
            for offer in &a.offers {
                codec::put_len(&mut body, strings.number(&offer.asset));
                codec::put(&mut body, offer.price);
                body.push(u8::from(offer.scheme.is_some()));
                if let Some(scheme) = &offer.scheme {
                    codec::put_len(&mut body, strings.number(scheme));
                }
            }
            codec::put_str(&mut body, &a.title);
        }
        let mut out = Vec::with_capacity(body.len() + 512);
        codec::put_len(&mut out, strings.0.len());
        for text in strings.0 {
            codec::put_str(&mut out, text);
        }
        out.extend_from_slice(&body);
        Some(out)
    }
}

impl Block {
    /// As stored.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut block = Self::default();
        let keep = |_: &mut Self, text: &str| text.to_owned();
        visit(&mut block, bytes, 0, true, |_| true, keep, |block, doc, a| block.set(doc, Some(a.clone())))?;
        Ok(block)
    }
    /// The work with this number.
    pub fn get(&self, doc: u32) -> Option<&Attributes> {
        self.0.get((doc % PER_BLOCK) as usize)?.as_ref()
    }
}

/// Calls `each` with the `wanted` works of a stored block whose numbers begin at `first`. `keep` turns a string into what
/// the caller holds, once in a block and only where a wanted work has it; titles are left empty unless asked for. One
/// value is filled again for every work, since a broad query visits them all.
pub fn visit<C, S: Clone + Default>(
    context: &mut C,
    bytes: &[u8],
    first: u32,
    titles: bool,
    wanted: impl Fn(u32) -> bool,
    keep: impl Fn(&mut C, &str) -> S,
    mut each: impl FnMut(&mut C, u32, &Attributes<S>),
) -> Result<()> {
    let mut r = Reader::new(bytes);
    let strings: Vec<&str> = r.list(Reader::str)?;
    let mut kept: Vec<Option<S>> = vec![None; strings.len()];
    let mut a = Attributes::default();
    for doc in first.. {
        if r.is_empty() {
            break;
        }
        let Some(kind) = r.byte()?.checked_sub(1) else { continue };
        let is_wanted = wanted(doc);
        let mut string = |r: &mut Reader<'_>| {
            let number: usize = r.int()?;
            let text = strings.get(number).ok_or_else(codec::damaged)?;
            let slot = kept.get_mut(number).ok_or_else(codec::damaged)?;
            Ok(if is_wanted { slot.get_or_insert_with(|| keep(context, text)).clone() } else { S::default() })
        };
        a.kind = kind;
        a.published = r.int()?;
        let flags = r.byte()?;
        a.clear = flags & 1 != 0;
        a.language = if flags & 2 != 0 { Some(string(&mut r)?) } else { None };
        a.licence = if flags & 4 != 0 { Some(string(&mut r)?) } else { None };
        a.tags.clear();
        for _ in 0..r.int::<u32>()? {
            a.tags.push(string(&mut r)?);
        }
        a.offers.clear();
        for _ in 0..r.int::<u32>()? {
            let (asset, price) = (string(&mut r)?, r.wide()?);
            let scheme = if r.byte()? == 0 { None } else { Some(string(&mut r)?) };
            a.offers.push(Offer { asset, price, scheme });
        }
        a.title.clear();
        if titles && is_wanted {
            a.title.push_str(r.str()?);
        } else {
            r.skip_str()?;
        }
        if is_wanted {
            each(context, doc, &a);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn reads_instants() {
        assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(seconds("2000-02-29T12:30:15Z"), Some(951_827_415));
        assert_eq!(seconds("2026-11-23T22:50:50.123Z"), Some(1_795_474_250));
        for bad in ["", "yesterday", "2026-13-01T00:00:00Z", "1969-12-31T23:59:59Z", "20é6-11-23T22:50:50Z"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn compares_money_exactly() {
        let of = |amount: &str, exponent| price(&Money { amount: amount.into(), asset: "X".into(), exponent });
        assert_eq!(of("499", 2), of("4990", 3));
        assert!(of("499", 2) < of("5", 0));
        assert_eq!(of("1", 18), Some(1));
        assert_eq!(of("1", 20), Some(1));
        assert_eq!(of("0", 255), Some(0));
        assert_eq!(of("1", 255), Some(1));
        assert_eq!(of(&"9".repeat(60), 0), Some(u128::MAX));
        for bad in ["", "-1", "1.5", "x"] {
            assert_eq!(of(bad, 2), None, "{bad}");
        }
    }

    #[test]
    fn reads_back_a_block() {
        let mut block = Block::default();
        let work = testing::work("k/a", "The Title");
        block.set(3, Some(Attributes::of(&work)));
        block.set(64 + 9, Some(Attributes::of(&testing::work("k/b", "Other"))));
        let bytes = block.encode().unwrap();
        let read = Block::decode(&bytes).unwrap();
        assert_eq!(read.get(3), Some(&Attributes::of(&work)));
        assert_eq!(read.get(4), None);
        assert!(Block::decode(&bytes[..20]).is_err());
        let (mut kept, mut seen) = (Vec::new(), Vec::new());
        let keep = |kept: &mut Vec<String>, text: &str| kept.push(text.to_owned());
        visit(&mut kept, &bytes, 128, false, |doc| doc != 131, keep, |_, doc, a| seen.push((doc, a.title.clone())))
            .unwrap();
        assert_eq!(seen, [(137, String::new())]);
        assert_eq!(kept, ["en", "CC-BY-4.0"], "each string once");
        block.set(3, None);
        block.set(9, None);
        assert_eq!(block.encode(), None);
    }

    #[test]
    fn no_block_grows_past_64_kib() {
        let mut block = Block::default();
        for doc in 0..PER_BLOCK {
            let mut work = testing::work("k/a", &format!("{doc} {}", "title ".repeat(100)));
            work.tags = (0..10_000).map(|n| format!("{doc}-{n}-{}", "t".repeat(n % 90))).collect();
            work.language = Some(format!("x-{doc}{}", "é".repeat(200)));
            work.license = Some(format!("{doc}{}", "l".repeat(2000)));
            let offer = testing::offer(&"9".repeat(38), &format!("{doc}A"), None);
            work.offers = (0..1000)
                .map(|n| testing::offer(&"9".repeat(38), &format!("{doc}A{n}"), Some(&format!("{doc}S{n}"))))
                .chain([offer])
                .collect();
            block.set(doc, Some(Attributes::of(&work)));
        }
        let size = block.encode().unwrap().len();
        assert!((30_000..=64 << 10).contains(&size), "{size}");
    }
}
