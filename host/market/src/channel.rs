//! Channels: this node's own catalogue as a signed index, and what of others' is kept here.
//!
//! The index is read out of the ledger, whose count of changes is as durable as the log and never goes back. Nothing here
//! knows a network: `host/node` asks and answers.

use fondaco_ledger::Listing;
use fondaco_schemas::channel::{ChannelEntry, ChannelHead, ChannelPage, MAX_TAG_BYTES, MAX_TAGS};
use fondaco_schemas::{Link, PublicKey, ReleaseId, WorkId};

use crate::{Error, Market, now};

/// How many changes are looked up at once.
const PORTION: u32 = 512;
/// How many bytes the entries of a page may have. A page is signed, sent and kept as a whole.
const PAGE_BYTES: usize = 200 << 10;

impl Market {
    /// The number of this node's own latest change, with the signed announcement of it; nothing where nothing was ever
    /// published.
    pub async fn channel_head(&self) -> Result<Option<(u64, Vec<u8>)>, Error> {
        let publisher = self.publisher();
        let sequence = self.ledger().channel_sequence(publisher).await?;
        let Some(before) = sequence.checked_sub(1) else { return Ok(None) };
        let newest = self.ledger().channel_since(publisher, before, 1).await?.into_iter().next().map(entry);
        let Some(newest) = newest else { return Ok(None) };
        let head = ChannelHead {
            publisher,
            sequence: newest.number,
            time: seconds(),
            newest: fondaco_trust::channel::entry_hash(&newest),
        };
        let signed = fondaco_trust::channel::sign_head(&self.0.parts.publisher, &head)?;
        Ok(Some((head.sequence, signed)))
    }

    /// A signed page of this node's own index: what changed after `since`, or as much of it as fits into a page. Nothing
    /// where nothing did.
    pub async fn channel_page(&self, since: u64) -> Result<Option<ChannelSigned>, Error> {
        let publisher = self.publisher();
        let sequence = self.ledger().channel_sequence(publisher).await?;
        let listings = self.ledger().channel_since(publisher, since, PORTION).await?;
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for entry in listings.into_iter().map(entry) {
            bytes += entry.slug.len() + entry.tags.iter().map(|t| t.len() + 2).sum::<usize>() + 64;
            if bytes > PAGE_BYTES && !entries.is_empty() {
                break;
            }
            entries.push(entry);
        }
        let Some(through) = entries.last().map(|e: &ChannelEntry| e.number) else { return Ok(None) };
        // The catalogue may have changed between the two looks.
        let sequence = sequence.max(through);
        let page = ChannelPage { publisher, sequence, since, through, time: seconds(), entries };
        let signed = fondaco_trust::channel::sign_page(&self.0.parts.publisher, &page)?;
        Ok(Some(ChannelSigned { through, sequence, signed }))
    }

    /// A work of another publisher was withdrawn by it: takes it out of this node's catalogue.
    pub async fn withdrawn(&self, work: &WorkId) -> Result<(), Error> {
        match self.ledger().unpublish(work, now()).await {
            Ok(()) => {}
            // It was never here, or is so no longer.
            Err(fondaco_ledger::Error::NoWork(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        self.0.changed.notify_one();
        Ok(())
    }

    /// Lets the files of another publisher's release go; the work stays in the catalogue, and its files come again when
    /// somebody asks for them. What this node publishes itself is never let go.
    pub async fn let_go(&self, link: &Link) -> Result<(), Error> {
        let Some((release, _)) = self.ledger().release(link.release).await? else { return Ok(()) };
        if *release.work.publisher() == self.publisher() {
            return Ok(());
        }
        let current = self.ledger().work(&release.work).await?.is_some_and(|work| work.release_id == link.release);
        let _one = self.0.recording.lock().await;
        let (market, link) = (self.clone(), link.clone());
        tokio::task::spawn_blocking(move || {
            // Noted first: a crash between the two leaves bytes that are not announced, and nothing announced without.
            if current {
                market.0.coming.remember(&link)?;
            }
            let (store, owner) = (market.store(), crate::mirror::owner(link.release));
            store.unpin_all(&store.pinned_by(&owner), &owner).map_err(Error::from)
        })
        .await?
    }

    /// What is known of a channel's works that are in the catalogue, the newest first: release and size, those that `wanted`
    /// picks. At most `most`.
    pub async fn channel_works(
        &self,
        channel: PublicKey,
        most: usize,
        wanted: impl Fn(&Listing) -> bool,
    ) -> Result<Vec<(ReleaseId, u64)>, Error> {
        let (mut found, mut since) = (std::collections::VecDeque::new(), 0);
        loop {
            let portion = self.ledger().channel_since(channel, since, PORTION).await?;
            let Some(last) = portion.last().map(|listing| listing.number) else { break };
            since = last;
            for listing in portion.iter().filter(|listing| listing.is_listed && wanted(listing)) {
                if found.len() >= most {
                    found.pop_back();
                }
                found.push_front((listing.release, listing.bytes));
            }
        }
        Ok(found.into())
    }
}

/// A page as it was signed.
#[derive(Clone, Debug)]
pub struct ChannelSigned {
    /// Up to which change it goes.
    pub through: u64,
    /// The latest change there was.
    pub sequence: u64,
    /// The signed bytes.
    pub signed: Vec<u8>,
}

fn seconds() -> u64 {
    u64::try_from(now().unix_timestamp()).unwrap_or(0)
}

fn entry(listing: Listing) -> ChannelEntry {
    let mut tags = listing.tags;
    tags.retain(|tag| tag.len() <= MAX_TAG_BYTES);
    tags.truncate(MAX_TAGS);
    ChannelEntry {
        number: listing.number,
        slug: listing.work.slug().to_owned(),
        release: listing.release,
        listed: listing.is_listed,
        kind: listing.kind,
        tags,
        size: listing.bytes,
    }
}
