//! The counts that ranking needs of the whole catalogue. They change in the same durable step as the postings they count.

use fondaco_sdk::{Error, Result};

use crate::codec::{self, Reader};
use crate::field::FIELDS;
use crate::{keys, kv};

/// Version of the stored layout.
const LAYOUT: u8 = 1;

/// Counts over all works.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// How many works there are.
    pub works: u32,
    /// The least number that no work ever had.
    pub next: u32,
    /// How many words each field has, over all works.
    pub words: [u64; FIELDS],
    /// How many different words there are.
    pub terms: u64,
}

impl Meta {
    /// As stored, with the stored bytes, that a write can check that they still hold.
    pub fn load() -> Result<(Self, Option<Vec<u8>>)> {
        let Some(bytes) = kv::get(keys::META)? else { return Ok((Self::default(), None)) };
        let mut r = Reader::new(&bytes);
        let layout = r.byte()?;
        if layout != LAYOUT {
            return Err(Error::Unavailable(format!(
                "the stored search index has layout {layout}, this version reads {LAYOUT}: empty its storage and feed it again"
            )));
        }
        let mut meta = Self { works: r.int()?, next: r.int()?, terms: r.int()?, words: [0; FIELDS] };
        for words in &mut meta.words {
            *words = r.int()?;
        }
        Ok((meta, Some(bytes)))
    }
    /// How many words each field has on average; more than 0 wherever a field has any.
    #[expect(clippy::cast_precision_loss, reason = "a mean of counts far below 2^52")]
    pub fn means(&self) -> [f64; FIELDS] {
        self.words.map(|words| words.max(1) as f64 / f64::from(self.works.max(1)))
    }
    /// To be stored.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![LAYOUT];
        codec::put(&mut out, self.works);
        codec::put(&mut out, self.next);
        codec::put(&mut out, self.terms);
        for words in self.words {
            codec::put(&mut out, words);
        }
        out
    }
}
