//! Works: what is published, in which releases, files and offers. Terms follow schema.org.
//!
//! A [`Release`] is what a publisher signs. Its encoding is CBOR with integer keys in ascending order and no absent
//! fields' placeholders but the trailing ones that `minicbor` leaves out, so one value has one encoding.

use minicbor::{Decode, Encode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::deployment::BaseUrl;
use crate::{BlobHash, Money, PublicKey, ReleaseId, WorkId};

/// What a work is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, Encode, Decode,
)]
#[serde(rename_all = "kebab-case")]
#[cbor(index_only)]
pub enum WorkKind {
    /// Several tracks.
    #[n(0)]
    Album,
    /// One track.
    #[n(1)]
    Track,
    /// A film or a clip.
    #[n(2)]
    Video,
    /// A game.
    #[n(3)]
    Game,
    /// A book.
    #[n(4)]
    Book,
    /// An issue of a newspaper or a magazine.
    #[n(5)]
    NewspaperIssue,
    /// An episode of a podcast.
    #[n(6)]
    PodcastEpisode,
    /// Software that is no game.
    #[n(7)]
    Software,
    /// Anything else.
    #[n(8)]
    Other,
}

impl WorkKind {
    /// Its name in files and links: `newspaper-issue`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Album => "album",
            Self::Track => "track",
            Self::Video => "video",
            Self::Game => "game",
            Self::Book => "book",
            Self::NewspaperIssue => "newspaper-issue",
            Self::PodcastEpisode => "podcast-episode",
            Self::Software => "software",
            Self::Other => "other",
        }
    }
}

/// What a file is for within its release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(index_only)]
pub enum FileRole {
    /// The work itself.
    #[n(0)]
    Content,
    /// A sample that anyone may hear, see or read.
    #[n(1)]
    Preview,
    /// The picture on the front.
    #[n(2)]
    Cover,
    /// Notes that come with the work.
    #[n(3)]
    Booklet,
    /// Subtitles or captions.
    #[n(4)]
    Subtitle,
    /// What the work was made from.
    #[n(5)]
    Source,
}

impl FileRole {
    /// May anyone fetch it, whatever the offers say?
    pub const fn is_public(self) -> bool {
        matches!(self, Self::Preview | Self::Cover)
    }
}

/// A file of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Encode, Decode)]
#[cbor(map)]
pub struct FileInfo {
    /// Where it lies within the release: relative, `/` between names.
    #[n(0)]
    pub path: String,
    /// Of the bytes as they are stored and shared, so of the ciphertext where it is protected.
    #[n(1)]
    pub hash: BlobHash,
    /// In bytes, as stored and shared.
    #[n(2)]
    pub size: u64,
    /// Of the clear file.
    #[n(3)]
    pub media_type: String,
    /// What it is for.
    #[n(4)]
    pub role: FileRole,
    /// Id of the DRM plugin that protects it; absent: clear.
    #[n(5)]
    pub protection: Option<String>,
    /// The track's or chapter's own title.
    #[n(6)]
    pub title: Option<String>,
    /// How long it plays, in milliseconds.
    #[n(7)]
    pub duration_ms: Option<u32>,
}

/// Somebody's part in a work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Encode, Decode)]
#[serde(deny_unknown_fields)]
pub struct Credit {
    /// What they did: "music", "maintainer".
    #[n(0)]
    pub role: String,
    /// Who they are.
    #[n(1)]
    pub name: String,
}

/// One way in which a work may be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Encode, Decode)]
#[serde(deny_unknown_fields)]
#[cbor(map)]
pub struct Offer {
    /// Its name within the work, such as `buy`.
    #[n(0)]
    pub id: String,
    /// What it costs; nothing for a free work.
    #[n(1)]
    pub price: Money,
    /// Pay what you want: what is suggested. The price is then the least.
    #[n(2)]
    #[serde(default)]
    pub suggested: Option<Money>,
    /// Who shares in it.
    #[n(3)]
    #[serde(default)]
    pub splits: Vec<Split>,
    /// Under which terms.
    #[n(4)]
    #[serde(default)]
    pub terms: Terms,
}

/// Somebody's share in a sale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Encode, Decode)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// Who is paid.
    #[n(0)]
    pub payee: String,
    /// How many of all shares.
    #[n(1)]
    pub shares: u32,
    /// A fee comes off before the others share.
    #[n(2)]
    #[serde(default)]
    pub fee: bool,
}

/// What a buyer may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Encode, Decode)]
#[serde(default, deny_unknown_fields)]
#[cbor(map)]
pub struct Terms {
    /// Id of the DRM plugin; absent: DRM-free.
    #[n(0)]
    pub scheme: Option<String>,
    /// Seconds that the right lasts from purchase; absent: for good.
    #[n(1)]
    pub lasts: Option<u64>,
    /// On how many devices; absent: on any number.
    #[n(2)]
    pub devices: Option<u32>,
    /// ISO 3166-1 alpha-2 codes; empty: everywhere.
    #[n(3)]
    pub territories: Vec<String>,
    /// RFC 3339; not sold before.
    #[n(4)]
    pub available_from: Option<String>,
    /// RFC 3339; not sold after.
    #[n(5)]
    pub available_until: Option<String>,
}

/// What a publisher signs: one version of one work. A later release of the work has a higher sequence and supersedes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Encode, Decode)]
#[cbor(map)]
pub struct Release {
    /// Which work.
    #[n(0)]
    pub work: WorkId,
    /// Counts the work's releases, from 1.
    #[n(1)]
    pub sequence: u64,
    /// What the work is.
    #[n(2)]
    pub kind: WorkKind,
    /// Its title.
    #[n(3)]
    pub title: String,
    /// Who made it, in the order in which they are named.
    #[n(4)]
    pub creators: Vec<String>,
    /// About it, in plain text.
    #[n(5)]
    pub description: String,
    /// BCP 47.
    #[n(6)]
    pub language: Option<String>,
    /// What it is filed under.
    #[n(7)]
    pub tags: Vec<String>,
    /// SPDX expression or plain words: what the public may do with it.
    #[n(8)]
    pub license: Option<String>,
    /// Who did what.
    #[n(9)]
    pub credits: Vec<Credit>,
    /// RFC 3339, UTC: when this release was signed.
    #[n(10)]
    pub published: String,
    /// Its files, by path.
    #[n(11)]
    pub files: Vec<FileInfo>,
    /// How it may be had.
    #[n(12)]
    pub offers: Vec<Offer>,
    /// schema.org JSON-LD for what the fields above do not say; `{}` where nothing.
    #[n(13)]
    pub metadata: String,
    /// Where it comes from; absent in releases of publishers without a shop of their own, and in old ones.
    #[n(14)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<Home>,
}

/// Where a release comes from: its files may come from anybody, licences come from here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Encode, Decode)]
#[cbor(map)]
pub struct Home {
    /// The key of the publisher's node: who it is in the swarm, and to whom receipts go.
    #[n(0)]
    pub node: PublicKey,
    /// The address of its shop, without a `/` at its end; absent where the operator named none.
    #[n(1)]
    pub shop: Option<String>,
}

impl Home {
    /// The page of a work in the publisher's shop. Nothing where the shop's address is none that people may be sent to.
    pub fn page_of(&self, work: &WorkId) -> Option<String> {
        let shop = self.shop.as_deref()?;
        // What a publisher says is put into pages: it must be what an operator could write as `base-url`.
        let shop: BaseUrl = shop.parse().ok()?;
        Some(format!("{shop}/works/{work}"))
    }
}

impl Release {
    /// Is there an offer that costs nothing and limits nothing?
    pub fn is_free(&self) -> bool {
        self.offers.iter().any(|o| o.price.is_zero() && o.terms == Terms::default())
    }
    /// May everybody have this file of it? Samples, covers and ciphertext always, the rest only of a free work.
    pub fn is_public(&self, file: &FileInfo) -> bool {
        file.role.is_public() || file.protection.is_some() || self.is_free()
    }
    /// The files of it that everybody may have, so that any node passes them on. The rest its publisher alone delivers.
    pub fn for_everybody(&self) -> impl Iterator<Item = &FileInfo> {
        self.files.iter().filter(|file| self.is_public(file))
    }
    /// The file at a path.
    pub fn file(&self, path: &str) -> Option<&FileInfo> {
        self.files.iter().find(|f| f.path == path)
    }
    /// The offer of an id.
    pub fn offer(&self, id: &str) -> Option<&Offer> {
        self.offers.iter().find(|o| o.id == id)
    }
}

/// A release with the id that its signed envelope gives it: what the catalogue holds and plugins see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Work {
    /// BLAKE3 of the signed envelope.
    pub release_id: ReleaseId,
    /// What was signed.
    #[serde(flatten)]
    pub release: Release,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_led_to_a_shop_and_to_nothing_else() {
        let work = WorkId::new(PublicKey::new([7; 32]), "owl").unwrap();
        let page = |shop: &str| Home { node: PublicKey::new([1; 32]), shop: Some(shop.into()) }.page_of(&work);
        assert_eq!(page("https://a.example/b"), Some(format!("https://a.example/b/works/{work}")));
        assert_eq!(page("http://127.0.0.1:8080"), Some(format!("http://127.0.0.1:8080/works/{work}")));
        for bad in
            ["", "https://", "https:///x", "javascript:alert(1)", "https://a b", "https://a\"onload=", "ftp://a", "//a"]
        {
            assert_eq!(page(bad), None, "{bad}");
        }
        assert_eq!(Home { node: PublicKey::new([1; 32]), shop: None }.page_of(&work), None);
    }
}
