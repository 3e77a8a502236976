//! A channel's index, asked of peers: whoever has it gives its pages, signed by the publisher, from a number on. And the
//! releases that it names, many in one answer.
//!
//! Pages are verified here, one answer at a time, and handed to whoever keeps up with the channel. So an index of any
//! length takes the memory of one answer.

use std::collections::HashSet;
use std::time::Duration;

use fondaco_schemas::{ChannelPage, PublicKey, Release, ReleaseId};
use libp2p::PeerId;
use minicbor::bytes::ByteVec;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::ask::{Answered, MAX_ANSWER, Question};
use crate::error::{Error, Result};
use crate::gate::Offence;
use crate::gossip::provider_key;
use crate::net::Net;
use crate::pex::At;
use crate::swarm::Command;

/// The most releases that are asked for at once.
pub const MAX_RELEASES: usize = 256;
/// How long those are looked for who have a channel's index.
const FINDING: Duration = Duration::from_secs(10);
/// The most of them that are asked.
const MOST_FOUND: usize = 8;
/// How often somebody is asked who is busy.
const TRIES: u32 = 3;

/// Pages that a peer gave, in their order, each following on the one before.
#[derive(Debug)]
pub struct Pages {
    /// Each with what was signed.
    pub pages: Vec<(ChannelPage, Vec<u8>)>,
}

impl Net {
    async fn ask_patiently(&self, (peer, addresses): At, question: &Question) -> Result<Answered> {
        let mut tries = 0;
        loop {
            match self.ask(peer, addresses.clone(), question, MAX_ANSWER).await? {
                Answered::Busy(ms) if tries < TRIES => {
                    tries += 1;
                    tokio::time::sleep(Duration::from_millis(u64::from(ms).clamp(100, 5000))).await;
                }
                answer => return Ok(answer),
            }
        }
    }

    /// Asks a peer what changed in a channel after `since`. Nothing where it does not know, or nothing newer. Pages that do
    /// not verify, or do not follow on each other, are refused, and whoever gave them is noted.
    ///
    /// # Cancel safety
    /// May be dropped.
    pub async fn channel_pages(&self, channel: PublicKey, since: u64, at: At) -> Result<Option<Pages>> {
        let peer = at.0;
        let bad = |why| {
            self.note(peer, Offence::BadData);
            Err(Error::Channel { peer, channel: Box::new(channel), why })
        };
        let given = match self.ask_patiently(at, &Question::Channel { channel, since }).await? {
            Answered::Channel(given) => given,
            Answered::Nothing | Answered::Busy(_) | Answered::TooLong(_) => return Ok(None),
            _ => return bad("it answered something else".into()),
        };
        let (mut pages, mut known) = (Vec::new(), since);
        for bytes in given {
            let bytes = Vec::from(bytes);
            let page = match fondaco_trust::channel::verify_page(&channel, &bytes) {
                Ok(page) => page,
                Err(error) => return bad(error.to_string()),
            };
            if page.since > known {
                return bad(format!("the changes from {known} to {} are missing", page.since));
            }
            if page.through > known {
                known = page.through;
                pages.push((page, bytes));
            }
        }
        Ok((!pages.is_empty()).then_some(Pages { pages }))
    }

    /// Asks a peer for the signed envelopes of releases, at most [`MAX_RELEASES`]. Answers those that it gave and that
    /// verify; the rest may be asked for again.
    ///
    /// # Cancel safety
    /// May be dropped.
    pub async fn releases(&self, wanted: &[ReleaseId], at: At) -> Result<Vec<(ReleaseId, Release, Vec<u8>)>> {
        let peer = at.0;
        let wanted: Vec<ReleaseId> = wanted.iter().take(MAX_RELEASES).copied().collect();
        let left: HashSet<ReleaseId> = wanted.iter().copied().collect();
        let given = match self.ask_patiently(at, &Question::Releases(wanted)).await? {
            Answered::Releases(given) => given,
            Answered::Nothing | Answered::Busy(_) | Answered::TooLong(_) => Vec::new(),
            _ => {
                self.note(peer, Offence::Protocol);
                return Err(Error::Open { peer, why: "it answered something else" });
            }
        };
        let mut releases = Vec::new();
        for envelope in given {
            let envelope = Vec::from(envelope);
            match fondaco_trust::release::verify_release(&envelope) {
                Ok((id, release)) if left.contains(&id) => releases.push((id, release, envelope)),
                _ => {
                    self.note(peer, Offence::BadData);
                    return Err(Error::Open { peer, why: "what it sent is not the release" });
                }
            }
        }
        Ok(releases)
    }

    /// Asks the hash table who has a channel's index.
    ///
    /// # Cancel safety
    /// May be dropped.
    pub async fn find_channel(&self, channel: PublicKey) -> Vec<At> {
        let (found, mut finding) = mpsc::channel(32);
        if self.send(Command::Find { key: provider_key(&channel), found }).await.is_err() {
            return Vec::new();
        }
        let (mut all, until) = (Vec::<At>::new(), Instant::now() + FINDING);
        while let Ok(Some((peer, addresses))) = tokio::time::timeout_at(until, finding.recv()).await {
            if peer != self.peer_id() && all.iter().all(|(known, _): &(PeerId, _)| *known != peer) {
                all.push((peer, addresses));
            }
            if all.len() >= MOST_FOUND {
                break;
            }
        }
        all
    }
}

/// Answers with pages, as many as fit.
#[must_use]
pub fn answer_pages(pages: Vec<Vec<u8>>, most_bytes: usize) -> Answered {
    let pages = fitting(pages, most_bytes);
    if pages.is_empty() { Answered::Nothing } else { Answered::Channel(pages) }
}

/// Answers with releases' envelopes, as many as fit.
#[must_use]
pub fn answer_releases(envelopes: Vec<Vec<u8>>, most_bytes: usize) -> Answered {
    let envelopes = fitting(envelopes, most_bytes);
    if envelopes.is_empty() { Answered::Nothing } else { Answered::Releases(envelopes) }
}

fn fitting(all: Vec<Vec<u8>>, most_bytes: usize) -> Vec<ByteVec> {
    // Around them are the heads of the answer and of the list, before each its length.
    let mut left = most_bytes.saturating_sub(32);
    let fits = |bytes: &Vec<u8>| match left.checked_sub(bytes.len() + 9) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    };
    all.into_iter().take_while(fits).map(ByteVec::from).collect()
}
