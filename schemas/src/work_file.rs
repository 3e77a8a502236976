//! The author's description of a work, `work.toml`, that `fondaco publish` turns into a release.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::deployment::Locale;
use crate::manifest::{PluginId, Timestamp};
use crate::problem::{Problems, Table, hint, read};
use crate::{Credit, FileRole, Money, Offer, PublicKey, Span, Split, Terms, WorkId, WorkKind};

/// Name of the author's file.
pub const WORK_FILE: &str = "work.toml";

/// What an author says about a work. Absent fields may be taken from the files' own tags.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkFile {
    /// The work's name in links: 1 to 64 of a-z, 0-9 and inner hyphens. It never changes.
    pub slug: String,
    /// What it is.
    pub kind: WorkKind,
    /// Its title.
    pub title: String,
    /// Who made it.
    #[serde(default)]
    pub creators: Vec<String>,
    /// About it, in plain text.
    #[serde(default)]
    pub description: String,
    /// BCP 47.
    #[serde(default)]
    pub language: Option<Locale>,
    /// What it is filed under.
    #[serde(default)]
    pub tags: Vec<String>,
    /// SPDX expression or plain words: what the public may do with it.
    #[serde(default)]
    pub license: Option<String>,
    /// Who did what.
    #[serde(default)]
    pub credits: Vec<Credit>,
    /// How it may be had. None at all: it is free.
    #[serde(default)]
    pub offers: Vec<OfferEntry>,
    /// What is to be known of single files; the first pattern that fits a path holds.
    #[serde(default)]
    pub files: Vec<FileRule>,
    /// schema.org JSON-LD for what the fields above do not say.
    #[serde(default)]
    pub metadata: serde_json::Map<String, serde_json::Value>,
}

/// One way in which the work may be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OfferEntry {
    /// Its name within the work, such as `buy`.
    pub id: String,
    /// What it costs, such as "4.99 EUR".
    pub price: Money,
    /// Pay what you want: what is suggested. The price is then the least.
    #[serde(default)]
    pub suggested: Option<Money>,
    /// Who shares in it.
    #[serde(default)]
    pub splits: Vec<Split>,
    /// Under which terms.
    #[serde(default)]
    pub terms: TermsEntry,
}

/// What a buyer may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct TermsEntry {
    /// The DRM plugin that protects the content; absent: DRM-free.
    pub scheme: Option<PluginId>,
    /// How long the right lasts from purchase, such as "30d"; absent: for good.
    pub lasts: Option<Span>,
    /// On how many devices; absent: on any number.
    pub devices: Option<u32>,
    /// ISO 3166-1 alpha-2 codes; empty: everywhere.
    pub territories: Vec<String>,
    /// RFC 3339; not sold before.
    pub available_from: Option<String>,
    /// RFC 3339; not sold after.
    pub available_until: Option<String>,
}

/// What is to be known of the files that a pattern fits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FileRule {
    /// Path within the work's folder: `*` stands for anything within a name, `**` for any names, `?` for one letter.
    pub path: Pattern,
    /// What the files are for; absent: as their type suggests.
    #[serde(default)]
    pub role: Option<FileRole>,
    /// The track's or chapter's own title.
    #[serde(default)]
    pub title: Option<String>,
    /// Their media type; absent: as their name suggests.
    #[serde(default)]
    pub media_type: Option<String>,
    /// Leave them out of the release.
    #[serde(default)]
    pub skip: bool,
}

/// A pattern of paths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(String);

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no pattern of paths: write a relative path of at most 256 letters, such as \"tracks/*.mp3\"")]
pub struct PatternError(String);

impl FromStr for Pattern {
    type Err = PatternError;
    fn from_str(text: &str) -> Result<Self, PatternError> {
        let bad = |part: &str| part.is_empty() || part == "." || part == ".." || part.contains('\\');
        if text.chars().count() > 256 || text.split('/').any(bad) {
            return Err(PatternError(text.chars().take(80).collect()));
        }
        Ok(Self(text.to_owned()))
    }
}
impl TryFrom<String> for Pattern {
    type Error = PatternError;
    fn try_from(text: String) -> Result<Self, PatternError> {
        text.parse()
    }
}
impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0
    }
}
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Pattern {
    /// Does it fit this path?
    pub fn matches(&self, path: &str) -> bool {
        let (pattern, path): (Vec<_>, Vec<_>) = (self.0.split('/').collect(), path.split('/').collect());
        glob(&pattern, &path, &|p| *p == "**", &|p, name| {
            let (p, name): (Vec<_>, Vec<_>) = (p.chars().collect(), name.chars().collect());
            glob(&p, &name, &|c| *c == '*', &|c, letter| *c == '?' || c == letter)
        })
    }
}

/// Matches a sequence against a pattern in which some items stand for any run. Steps back to the last such item only,
/// so its time is at most the product of the lengths.
fn glob<T>(pattern: &[T], text: &[T], any: &dyn Fn(&T) -> bool, one: &dyn Fn(&T, &T) -> bool) -> bool {
    let (mut p, mut t, mut retry) = (0, 0, None);
    loop {
        match (pattern.get(p), text.get(t)) {
            (None, None) => return true,
            (Some(item), _) if any(item) => {
                retry = Some((p + 1, t));
                p += 1;
            }
            (Some(item), Some(letter)) if one(item, letter) => (p, t) = (p + 1, t + 1),
            _ => match retry {
                Some((after, from)) if from < text.len() => {
                    retry = Some((after, from + 1));
                    (p, t) = (after, from + 1);
                }
                _ => return false,
            },
        }
    }
}

impl OfferEntry {
    /// As it stands in a release.
    pub fn to_offer(&self) -> Offer {
        let terms = Terms {
            scheme: self.terms.scheme.as_ref().map(ToString::to_string),
            lasts: self.terms.lasts.map(|span| span.as_millis().div_ceil(1000)),
            devices: self.terms.devices,
            territories: self.terms.territories.clone(),
            available_from: self.terms.available_from.clone(),
            available_until: self.terms.available_until.clone(),
        };
        let (id, price) = (self.id.clone(), self.price.clone());
        Offer { id, price, suggested: self.suggested.clone(), splits: self.splits.clone(), terms }
    }

    fn read(t: &mut Table<'_>) -> Option<Self> {
        let (id, price) = (t.text("id"), t.required::<Money>("price"));
        if let Some(bad) = id.as_deref().filter(|id| !is_slug(id)) {
            t.problem("id", format!("{bad:?} is no offer id: write 1 to 64 of a-z, 0-9 and inner hyphens"));
        }
        let suggested: Option<Money> = t.optional("suggested");
        if let (Some(price), Some(suggested)) = (&price, &suggested)
            && (!price.same_unit(suggested) || suggested.minor < price.minor)
        {
            t.problem("suggested", format!("{suggested} is suggested, which must be {price} or more of the same"));
        }
        let splits = t.tables("splits", |t| {
            let (payee, shares) = (t.text("payee"), t.number::<u32>("shares"));
            if shares.is_none() && !t.has("shares") {
                t.problem("shares", "\"shares\" is missing: how many of all shares the payee has");
            }
            let fee = t.flag("fee").unwrap_or(false);
            Some(Split { payee: payee?, shares: shares?, fee })
        });
        let terms = t.table("terms", TermsEntry::read).unwrap_or_default();
        Some(Self { id: id?, price: price?, suggested, splits, terms })
    }
}

impl TermsEntry {
    fn read(t: &mut Table<'_>) -> Self {
        let time = |t: &mut Table<'_>, key| t.optional::<Timestamp>(key).map(|time| time.0);
        let (from, until) = (time(t, "available-from"), time(t, "available-until"));
        if let (Some(from), Some(until)) = (from, until)
            && until <= from
        {
            t.problem("available-until", "available-until must be later than available-from");
        }
        let territories: Vec<String> = t.list("territories");
        for bad in territories.iter().filter(|c| c.len() != 2 || !c.bytes().all(|b| b.is_ascii_uppercase())) {
            t.problem("territories", format!("{bad:?} is no country: write ISO 3166-1 codes, such as \"FR\""));
        }
        let text = |time: Option<OffsetDateTime>| time.and_then(|t| t.format(&Rfc3339).ok());
        Self {
            scheme: t.optional("scheme"),
            lasts: t.optional("lasts"),
            devices: t.number("devices"),
            territories,
            available_from: text(from),
            available_until: text(until),
        }
    }
}

fn is_slug(text: &str) -> bool {
    WorkId::new(PublicKey::new([0; 32]), text).is_ok()
}

struct Kind(WorkKind);
impl FromStr for Kind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        by_name(text, "kind of work").map(Self)
    }
}
struct Role(FileRole);
impl FromStr for Role {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        by_name(text, "role of a file").map(Self)
    }
}

/// A variant by its name, which `serde` knows; unknown ones name the nearest.
fn by_name<'t, T: Deserialize<'t>>(text: &'t str, what: &str) -> Result<T, String> {
    const NAMES: &[&str] =
        &["album", "track", "video", "game", "book", "newspaper-issue", "podcast-episode", "software", "other"];
    const ROLES: &[&str] = &["content", "preview", "cover", "booklet", "subtitle", "source"];
    let names = if what == "kind of work" { NAMES } else { ROLES };
    let from = serde::de::value::StrDeserializer::<serde::de::value::Error>::new(text);
    T::deserialize(from).map_err(|_| format!("{text:?} is no {what}{}", hint(text, names.iter().copied())))
}

impl WorkFile {
    /// Reads `work.toml`. `Problems` names every mistake with its line and column.
    pub fn parse(text: &str) -> Result<Self, Problems> {
        read(WORK_FILE, text, Self::read)
    }

    /// The first rule that fits a path.
    pub fn rule(&self, path: &str) -> Option<&FileRule> {
        self.files.iter().find(|rule| rule.path.matches(path))
    }

    fn read(t: &mut Table<'_>) -> Option<Self> {
        let (slug, kind, title) = (t.text("slug"), t.required::<Kind>("kind"), t.text("title"));
        if let Some(bad) = slug.as_deref().filter(|s| !is_slug(s)) {
            t.problem("slug", format!("{bad:?} is no slug: write 1 to 64 of a-z, 0-9 and inner hyphens"));
        }
        let credits = t.tables("credits", |t| {
            let (role, name) = (t.text("role"), t.text("name"));
            Some(Credit { role: role?, name: name? })
        });
        let offers = t.tables("offers", OfferEntry::read);
        for (i, offer) in offers.iter().enumerate() {
            if offers.iter().take(i).any(|o| o.id == offer.id) {
                t.problem("offers", format!("two offers have the id {:?}", offer.id));
            }
        }
        let files = t.tables("files", |t| {
            let path = t.required("path");
            let role = t.optional::<Role>("role").map(|r| r.0);
            let (title, media_type) = (t.optional("title"), t.optional("media-type"));
            let skip = t.flag("skip").unwrap_or(false);
            Some(FileRule { path: path?, role, title, media_type, skip })
        });
        let (creators, description) = (t.list("creators"), t.optional("description"));
        let (language, tags, license) = (t.optional("language"), t.list("tags"), t.optional("license"));
        let metadata = t.free("metadata");
        Some(Self {
            slug: slug?,
            kind: kind?.0,
            title: title?,
            creators,
            description: description.unwrap_or_default(),
            language,
            tags,
            license,
            credits,
            offers,
            files,
            metadata,
        })
    }
}

#[cfg(test)]
#[path = "work_file_tests.rs"]
pub(crate) mod tests;
