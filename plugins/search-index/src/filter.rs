//! Which works pass a query's filters, and how many of them have each property.

use std::collections::HashMap;

use fondaco_sdk::{Error, Facet, Query, Result, storage};

use crate::attributes::{self, Attributes};
use crate::field::{KINDS, kind_name};
use crate::{codec, keys, kv, text};

/// The most values that a facet lists.
pub const MAX_VALUES: usize = 50;
/// Up to so many blocks are read one by one; more are read by ranges, with those between them.
const FEW_BLOCKS: usize = 24;
const SCAN: u32 = 64;
const UNIT: u128 = 10u128.pow(18);
/// The upper ends of the price bands, in whole units of the currency.
const BANDS: [u128; 5] = [1, 5, 10, 20, 50];

/// A property that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counted {
    Kind,
    Tag,
    Language,
    Licence,
    Price,
    Protection,
}

impl Counted {
    const ALL: [(&'static str, Self); 6] = [
        ("kind", Self::Kind),
        ("tag", Self::Tag),
        ("language", Self::Language),
        ("licence", Self::Licence),
        ("price", Self::Price),
        ("protection", Self::Protection),
    ];
    fn of(name: &str) -> Result<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, c)| *c).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|(name, _)| *name).collect();
            Error::Invalid(format!("there is no facet \"{}\": take of {}", text::shown(name, 40), known.join(", ")))
        })
    }
}

/// The strings that attributes hold, each with a number and what the query thinks of it.
#[derive(Default)]
struct Names {
    numbers: HashMap<String, u32>,
    known: Vec<Name>,
}

struct Name {
    text: String,
    /// Bit n: it is the query's n-th tag.
    tags: u32,
    is_language: bool,
    is_asset: bool,
}

/// A query's filters and facets at work.
pub struct Filter<'a> {
    kinds: u16,
    tags: Vec<String>,
    language: Option<String>,
    max: Option<(&'a str, u128)>,
    drm_free: bool,
    facets: Vec<(&'a str, Counted)>,
    names: Names,
    numbered: Vec<Vec<u64>>,
}

impl<'a> Filter<'a> {
    /// Of a query.
    pub fn of(query: &'a Query) -> Result<Self> {
        let facets =
            query.facets.iter().map(|name| Ok((name.as_str(), Counted::of(name)?))).collect::<Result<Vec<_>>>()?;
        let max = query.max_price.as_ref().and_then(|max| Some((max.asset.as_str(), attributes::price(max)?)));
        Ok(Self {
            kinds: query.kinds.iter().fold(0, |kinds, kind| kinds | 1 << (*kind as u16)),
            tags: query.tags.iter().map(|tag| text::line(tag, usize::MAX)).collect(),
            language: query.language.as_ref().map(|tag| tag.to_ascii_lowercase()),
            max,
            drm_free: query.drm_free,
            numbered: vec![Vec::new(); facets.len()],
            facets,
            names: Names::default(),
        })
    }

    /// Are a work's attributes needed to say whether it is a match, or for counting?
    pub fn is_needed(&self) -> bool {
        self.kinds != 0
            || !self.tags.is_empty()
            || self.language.is_some()
            || self.max.is_some()
            || self.drm_free
            || !self.facets.is_empty()
    }

    fn keep(&mut self, text: &str) -> u32 {
        if let Some(number) = self.names.numbers.get(text) {
            return *number;
        }
        let folded = if self.tags.is_empty() { String::new() } else { text::line(text, usize::MAX) };
        let tags = (0..32).zip(&self.tags).filter(|(_, tag)| **tag == folded).fold(0, |bits, (n, _)| bits | 1u32 << n);
        // RFC 4647, 3.3.1: `en` finds `en-GB`, and not the other way round.
        let is_language = self.language.as_ref().is_some_and(|range| {
            let head = text.get(..range.len());
            head.is_some_and(|h| h.eq_ignore_ascii_case(range))
                && matches!(text.as_bytes().get(range.len()), None | Some(b'-'))
        });
        let is_asset = self.max.is_some_and(|(asset, _)| asset == text);
        let number = u32::try_from(self.names.known.len()).unwrap_or(u32::MAX);
        self.names.known.push(Name { text: text.to_owned(), tags, is_language, is_asset });
        self.names.numbers.insert(text.to_owned(), number);
        number
    }

    fn name(&self, number: u32) -> Option<&Name> {
        self.names.known.get(number as usize)
    }

    fn fits(&self, offer: &attributes::Offer<u32>) -> bool {
        let cheap = self.max.is_none_or(|(_, max)| {
            offer.price == 0 || (offer.price <= max && self.name(offer.asset).is_some_and(|n| n.is_asset))
        });
        cheap && (!self.drm_free || offer.scheme.is_none())
    }

    fn passes(&self, a: &Attributes<u32>) -> bool {
        if self.kinds != 0 && self.kinds & 1u16.checked_shl(a.kind.into()).unwrap_or(0) == 0 {
            return false;
        }
        let tags = a.tags.iter().filter_map(|tag| self.name(*tag)).fold(0, |bits, name| bits | name.tags);
        if tags.count_ones() as usize != self.tags.len() {
            return false;
        }
        if self.language.is_some() && !a.language.and_then(|l| self.name(l)).is_some_and(|name| name.is_language) {
            return false;
        }
        let unpriced = self.max.is_none() && (!self.drm_free || a.clear);
        (a.offers.is_empty() && unpriced) || a.offers.iter().any(|offer| self.fits(offer))
    }

    /// Where a work stands by price: free ones first, then by currency, then by price, those without a price last.
    pub fn price(&self, a: &Attributes<u32>) -> (Vec<u8>, u128) {
        let price = |offer: &attributes::Offer<u32>| {
            let mut group = Vec::new();
            if offer.price > 0 {
                group.push(1);
                group.extend_from_slice(self.name(offer.asset).map_or("", |n| &n.text).as_bytes());
            }
            (group, offer.price)
        };
        a.offers.iter().filter(|o| self.fits(o)).map(price).min().unwrap_or((vec![2], 0))
    }

    /// Keeps those of the works `wanted` (all, if `None`) that pass, with their attributes, and counts the facets.
    pub fn run(
        &mut self,
        wanted: Option<Vec<(u32, f64)>>,
        titles: bool,
        mut each: impl FnMut(&Self, u32, f64, &Attributes<u32>),
    ) -> Result<()> {
        let of = |doc: u32| doc / attributes::PER_BLOCK;
        let Some(wanted) = wanted else {
            return self.blocks(0, u32::MAX, |this, number, bytes| this.visit(number, bytes, titles, None, &mut each));
        };
        let chunks: Vec<(u32, &[(u32, f64)])> =
            wanted.chunk_by(|a, b| of(a.0) == of(b.0)).filter_map(|c| Some((of(c.first()?.0), c))).collect();
        let (Some((first, _)), Some((last, _))) = (chunks.first(), chunks.last()) else { return Ok(()) };
        if chunks.len() <= FEW_BLOCKS {
            return chunks.iter().try_for_each(|(number, chunk)| {
                let bytes = kv::get(&keys::attributes(*number))?.ok_or_else(codec::damaged)?;
                self.visit(*number, &bytes, titles, Some(chunk), &mut each)
            });
        }
        let mut left = chunks.iter().peekable();
        self.blocks(*first, *last, |this, number, bytes| match left.next_if(|(next, _)| *next == number) {
            Some((_, chunk)) => this.visit(number, bytes, titles, Some(chunk), &mut each),
            None => Ok(()),
        })
    }

    /// The works of one block: those of `chunk`, or all.
    fn visit(
        &mut self,
        number: u32,
        bytes: &[u8],
        titles: bool,
        chunk: Option<&[(u32, f64)]>,
        each: &mut impl FnMut(&Self, u32, f64, &Attributes<u32>),
    ) -> Result<()> {
        let score = |doc: u32| match chunk {
            Some(chunk) => chunk.binary_search_by_key(&doc, |(d, _)| *d).ok().and_then(|at| Some(chunk.get(at)?.1)),
            None => Some(0.0),
        };
        let first = number.saturating_mul(attributes::PER_BLOCK);
        attributes::visit(
            self,
            bytes,
            first,
            titles,
            |doc| score(doc).is_some(),
            Self::keep,
            |this, doc, a| {
                if this.passes(a) {
                    this.count(a);
                    each(this, doc, score(doc).unwrap_or(0.0), a);
                }
            },
        )
    }

    /// Calls `each` with the stored blocks from `first` to `last`.
    fn blocks(
        &mut self,
        first: u32,
        last: u32,
        mut each: impl FnMut(&mut Self, u32, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let end = last.checked_add(1).map_or_else(|| storage::after(b"a"), keys::attributes);
        let mut from = keys::attributes(first);
        loop {
            let page = kv::scan(&from, &end, SCAN)?;
            for entry in &page {
                each(self, keys::number_of(&entry.key).ok_or_else(codec::damaged)?, &entry.value)?;
            }
            match page.last() {
                Some(last) if page.len() >= SCAN as usize => {
                    from.clone_from(&last.key);
                    from.push(0);
                }
                _ => return Ok(()),
            }
        }
    }

    fn count(&mut self, a: &Attributes<u32>) {
        for ((_, counted), numbered) in self.facets.iter().zip(&mut self.numbered) {
            let mut one = |number: usize| {
                if numbered.len() <= number {
                    numbered.resize(number + 1, 0);
                }
                if let Some(n) = numbered.get_mut(number) {
                    *n += 1;
                }
            };
            match counted {
                Counted::Kind => one(a.kind.into()),
                Counted::Tag => a.tags.iter().for_each(|tag| one(*tag as usize)),
                Counted::Language => a.language.iter().for_each(|l| one(*l as usize)),
                Counted::Licence => a.licence.iter().for_each(|l| one(*l as usize)),
                Counted::Price => each_once(a.offers.iter().map(band), one),
                Counted::Protection => {
                    let schemes = a.offers.iter().map(|o| o.scheme.map_or(0, |scheme| scheme as usize + 1));
                    each_once(schemes.chain(a.clear.then_some(0)), one);
                }
            }
        }
    }

    /// The counts, the most common values first.
    pub fn facets(self) -> Vec<Facet> {
        let mut facets = Vec::new();
        for ((field, counted), numbered) in self.facets.into_iter().zip(self.numbered) {
            let text = |number: usize| self.names.known.get(number).map(|name| name.text.clone());
            let name = |number: usize| match counted {
                Counted::Kind => KINDS.get(number).map(|kind| kind_name(*kind).to_owned()),
                Counted::Price => band_name(number, text),
                Counted::Protection => number.checked_sub(1).map_or_else(|| Some("none".to_owned()), text),
                Counted::Tag | Counted::Language | Counted::Licence => text(number),
            };
            let named = numbered.into_iter().enumerate().filter(|(_, n)| *n > 0);
            let mut values: Vec<(String, u64)> = named.filter_map(|(number, n)| Some((name(number)?, n))).collect();
            values.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            values.truncate(MAX_VALUES);
            facets.push(Facet { field: field.to_owned(), values });
        }
        facets
    }
}

/// A work counts once for each value, however many of its offers have it.
fn each_once(numbers: impl Iterator<Item = usize>, one: impl FnMut(usize)) {
    let mut numbers: Vec<usize> = numbers.collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers.into_iter().for_each(one);
}

/// The number of an offer's price band: 0 for free, then the bands of each currency.
fn band(offer: &attributes::Offer<u32>) -> usize {
    if offer.price == 0 {
        return 0;
    }
    let band = BANDS.iter().position(|high| offer.price <= high * UNIT).unwrap_or(BANDS.len());
    1 + offer.asset as usize * (BANDS.len() + 1) + band
}

/// The name of a price band: `free`, `EUR:1-5` (more than 1, at most 5), `EUR:50-`.
fn band_name(number: usize, text: impl Fn(usize) -> Option<String>) -> Option<String> {
    let Some(number) = number.checked_sub(1) else { return Some("free".into()) };
    let band = number % (BANDS.len() + 1);
    let low = band.checked_sub(1).and_then(|below| BANDS.get(below)).unwrap_or(&0);
    let high = BANDS.get(band).map(u128::to_string).unwrap_or_default();
    Some(format!("{}:{low}-{high}", text(number / (BANDS.len() + 1))?))
}
