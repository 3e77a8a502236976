//! Delivery: who may have which bytes. Previews, covers, free works and ciphertext are for everybody, so that mirrors can
//! carry them; all else needs an entitlement, proved by an address that the node made for its holder.

use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use fondaco_ledger::{Entitlement, EntitlementState, FileUse};
use fondaco_runtime::wit::types;
use fondaco_runtime::{Caller, Context};
use fondaco_schemas::{BlobHash, EntitlementId, FileInfo, ReleaseId, Work};
use fondaco_store::Blob;
use time::OffsetDateTime;

use crate::coming::{Bringer, Incoming};
use crate::error::words;
use crate::visitors::libraries;
use crate::{Error, Market, convert, media, now};

/// How long a delivery address works.
const ADDRESS_LASTS: i64 = 24 * 60 * 60;
/// What is added to a path to name its licence.
const LICENCE: &str = ".licence";

/// A file to be sent.
pub struct Delivery {
    /// Its bytes, verified as they are read.
    pub content: Content,
    /// How many.
    pub size: u64,
    /// What to send it as.
    pub media_type: String,
    /// What to call it.
    pub file_name: String,
    /// May caches keep it for everybody?
    pub public: bool,
    /// May a browser show it in place?
    pub inline: bool,
}

/// Where a file's bytes are.
pub enum Content {
    /// Here.
    Here(Blob),
    /// Elsewhere: they come when they are asked for.
    Awaited(Awaited),
}

/// A file that is not here.
pub struct Awaited {
    bringer: Arc<dyn Bringer>,
    release: ReleaseId,
    file: FileInfo,
}

impl Awaited {
    /// Has a range of it brought, before what is fetched anyway.
    pub async fn bring(self, range: std::ops::Range<u64>) -> Result<Box<dyn Incoming>, String> {
        self.bringer.bring(self.release, self.file, range).await
    }
}

/// A document to be sent.
pub struct Delivered {
    /// What to send it as.
    pub media_type: String,
    /// What to call it.
    pub file_name: String,
    /// Its bytes.
    pub body: Vec<u8>,
}

/// What an address says of its bearer's right.
#[derive(Debug, Default)]
pub struct Proof {
    /// Which entitlement.
    pub entitlement: Option<String>,
    /// Until when the address works, in seconds since 1970.
    pub expires: Option<i64>,
    /// The node's tag over all of it.
    pub tag: Option<String>,
}

/// Why a file is not sent.
#[derive(Debug)]
pub enum Refusal {
    /// There is no such file here.
    NotFound,
    /// Not without a right, or no longer.
    Forbidden(String),
    /// It cannot be read now.
    Unavailable(String),
}

fn unavailable(error: impl std::fmt::Display) -> Refusal {
    tracing::error!(%error, "a delivery failed");
    Refusal::Unavailable("The node cannot deliver this now; its operator was told.".into())
}

impl Market {
    fn address_tag(&self, entitlement: &EntitlementId, what: &str, expires: i64) -> [u8; 32] {
        self.keys().tag("delivery", format!("{entitlement} {expires} {what}").as_bytes())
    }

    pub(crate) async fn library(&self, by: &Caller, session: &str) -> Result<Vec<types::Entitlement>, Error> {
        let visitor = Self::own(by, session)?;
        let (holder, own) = libraries(visitor)?;
        let mut library = self.ledger().library(holder, now()).await?;
        // What was bought here before a library was brought along is the visitor's as well.
        if own != holder {
            library.extend(self.ledger().library(own, now()).await?);
        }
        Ok(library.iter().map(convert::entitlement).collect())
    }

    /// A right of the visitor's own library.
    async fn own_right(&self, by: &Caller, session: &str, entitlement: &str) -> Result<Entitlement, Error> {
        let (holder, own) = libraries(Self::own(by, session)?)?;
        let none = || Error::Refused("there is no such right in this library".into());
        let id: EntitlementId = entitlement.parse().map_err(|_| none())?;
        let found = self.ledger().entitlement(&id, now()).await?;
        found.filter(|e| [holder, own].contains(&e.body.holder)).ok_or_else(none)
    }

    /// The release that a right of the visitor's library is to, whatever became of its work since.
    pub(crate) async fn bought(&self, by: &Caller, session: &str, entitlement: &str) -> Result<types::Work, Error> {
        let release_id = self.own_right(by, session, entitlement).await?.body.release;
        let (release, _) =
            self.ledger().release(release_id).await?.ok_or_else(|| Error::Refused("its release is gone".into()))?;
        Ok(convert::work(&Work { release_id, release }))
    }

    /// The address of a file of an entitled release, or with `.licence` at its end of the file's licence.
    pub(crate) async fn delivery_url(
        &self,
        by: &Caller,
        session: &str,
        entitlement: &str,
        path: &str,
    ) -> Result<String, Error> {
        let found = self.own_right(by, session, entitlement).await?;
        let id = found.body.id.clone();
        let (release, _) = self
            .ledger()
            .release(found.body.release)
            .await?
            .ok_or_else(|| Error::Refused("its release is gone".into()))?;
        let expires = now().unix_timestamp() + ADDRESS_LASTS;
        let tail = |tag: [u8; 32]| format!("x={expires}&t={}", BASE64URL_NOPAD.encode(&tag));
        if let Some(file) = release.file(path) {
            let tag = tail(self.address_tag(&id, &file.hash.to_string(), expires));
            let name = encode(&file_name(file));
            return Ok(format!("/files/{}/{name}?e={id}&{tag}", file.hash));
        }
        let protected = path.strip_suffix(LICENCE).and_then(|p| release.file(p)).filter(|f| f.protection.is_some());
        let file = protected.ok_or_else(|| Error::Refused(format!("the work has no file {path:?}")))?;
        let tag = tail(self.address_tag(&id, &format!("licence {}", file.path), expires));
        Ok(format!("/licences/{id}/{}?{tag}", encode(&file.path)))
    }

    /// May everybody have this blob, be it over HTTP or from the swarm?
    pub async fn is_public(&self, blob: BlobHash) -> Result<bool, Error> {
        Ok(self.uses_of(blob).await?.iter().any(is_for_everybody))
    }

    /// In which releases a blob is. Of what this node publishes itself, its own releases alone decide: another publisher may
    /// name the hash of a file that is sold here, and give it away in words.
    async fn uses_of(&self, blob: BlobHash) -> Result<Vec<FileUse>, Error> {
        let mut uses = self.ledger().file_uses(blob).await?;
        let own = self.publisher();
        if uses.iter().any(|of| *of.work.publisher() == own) {
            uses.retain(|of| *of.work.publisher() == own);
        }
        Ok(uses)
    }

    /// A file by its hash, for everybody or for the bearer of a proof.
    pub async fn file(&self, hash: BlobHash, proof: &Proof) -> Result<Delivery, Refusal> {
        let uses = self.uses_of(hash).await.map_err(unavailable)?;
        let public = uses.iter().find(|u| is_for_everybody(u));
        let of = match public {
            Some(found) => found,
            None if uses.is_empty() => return Err(Refusal::NotFound),
            None => {
                let (entitlement, _) = self.proved(proof, None, &hash.to_string()).await?;
                let entitled = uses.iter().find(|u| u.release == entitlement.body.release);
                entitled.ok_or_else(|| Refusal::Forbidden("This right is for another work.".into()))?
            }
        };
        let file = &of.file;
        let store = self.store().clone();
        let blob = tokio::task::spawn_blocking(move || store.get(hash)).await.map_err(unavailable)?;
        let (content, size) = match (blob, self.bringer()) {
            (Ok(blob), _) => {
                let size = blob.size();
                (Content::Here(blob), size)
            }
            (Err(fondaco_store::Error::NotFound { .. }), Some(bringer)) => {
                let awaited = Awaited { bringer, release: of.release, file: file.clone() };
                (Content::Awaited(awaited), file.size)
            }
            (Err(error), _) => {
                tracing::error!(%hash, %error, "a file cannot be served");
                let why = "The file is missing or damaged on this node; its operator was told.";
                return Err(Refusal::Unavailable(why.into()));
            }
        };
        let sealed = file.protection.is_some();
        let media_type = if sealed { "application/octet-stream" } else { file.media_type.as_str() };
        Ok(Delivery {
            content,
            size,
            inline: !sealed && media::is_inline(media_type),
            media_type: media_type.to_owned(),
            file_name: file_name(file),
            public: public.is_some(),
        })
    }

    /// The licence for one file of an entitled release.
    pub async fn licence(&self, entitlement: &str, path: &str, proof: &Proof) -> Result<Delivered, Refusal> {
        let (entitlement, release) = self.proved(proof, Some(entitlement), &format!("licence {path}")).await?;
        let file = release.file(path).ok_or(Refusal::NotFound)?;
        let scheme = file.protection.as_deref().ok_or(Refusal::NotFound)?;
        let plugin =
            self.plugin(scheme).ok_or_else(|| unavailable(Error::NoPlugin { kind: "drm", id: scheme.to_owned() }))?;
        let (context, entitlement) = (Context::node(), convert::entitlement(&entitlement));
        let issued = plugin.issue(&context, entitlement, convert::file(file), None, None);
        let license = issued.await.map_err(unavailable)?.map_err(|e| Refusal::Forbidden(words(&e)))?;
        let file_name = format!("{}{LICENCE}", base_name(&file.path));
        Ok(Delivered { media_type: license.media_type, file_name, body: license.body })
    }

    /// The entitlement that an address proves, if it is good now.
    async fn proved(
        &self,
        proof: &Proof,
        entitlement: Option<&str>,
        what: &str,
    ) -> Result<(Entitlement, fondaco_schemas::Release), Refusal> {
        let forbidden = |why: &str| Refusal::Forbidden(why.to_owned());
        let missing = || {
            forbidden("This file belongs to a work that is sold. Its address is in the library of whoever bought it.")
        };
        let id = entitlement.or(proof.entitlement.as_deref()).ok_or_else(missing)?;
        let (Ok(id), Some(expires), Some(tag)) = (id.parse::<EntitlementId>(), proof.expires, &proof.tag) else {
            return Err(missing());
        };
        let tag = BASE64URL_NOPAD.decode(tag.as_bytes()).map_err(|_| missing())?;
        if !self.keys().check_tag("delivery", format!("{id} {expires} {what}").as_bytes(), &tag) {
            return Err(missing());
        }
        let at = now();
        if OffsetDateTime::from_unix_timestamp(expires).map_or(true, |end| at >= end) {
            return Err(forbidden("This address has expired. Open your library for a new one."));
        }
        let found = self.ledger().entitlement(&id, at).await.map_err(unavailable)?.ok_or_else(missing)?;
        let why = match found.state {
            EntitlementState::Active => {
                let release = self.ledger().release(found.body.release).await.map_err(unavailable)?;
                let (release, _) = release.ok_or(Refusal::NotFound)?;
                return Ok((found, release));
            }
            EntitlementState::Suspended => "This right is suspended: its payment was taken back.",
            EntitlementState::Expired => "This right has expired.",
            EntitlementState::Revoked => "This right was revoked by the shop.",
            EntitlementState::Returned => "This right was given back.",
        };
        Err(forbidden(why))
    }
}

/// Samples, covers and ciphertext are; the rest only as long as its work is free. Of a release alone, the same is
/// `Release::is_public`.
fn is_for_everybody(file: &FileUse) -> bool {
    file.file.role.is_public() || file.file.protection.is_some() || (file.is_free && file.is_current)
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// What a file is called where it arrives: a sealed one says so.
fn file_name(file: &FileInfo) -> String {
    let name = base_name(&file.path);
    if file.protection.is_some() { format!("{name}.sealed") } else { name.to_owned() }
}

/// Percent-encoding for paths; `/` stays.
fn encode(path: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    path.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
