//! Signed channels: pages of a publisher's index, and announcements of what is new in it. Made by the publisher's node,
//! verified by everyone who follows it, and by whoever passes an announcement on.

use std::collections::HashSet;

use fondaco_schemas::channel::{ChannelEntry, ChannelHead, ChannelPage};
use fondaco_schemas::channel::{MAX_ENTRIES, MAX_TAG_BYTES, MAX_TAGS};
use fondaco_schemas::{BlobHash, PublicKey, Signed, WorkId};

use crate::keys::KeyPair;
use crate::release::{ReleaseError, open, sign};

/// Why a page or an announcement is refused or cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// Its form, key or signature.
    #[error(transparent)]
    Signed(#[from] ReleaseError),
    /// It is not the channel's publisher who signed it.
    #[error("it is signed with the key {key}, and only the channel's own publisher {publisher} may say what is in it")]
    Publisher {
        /// Whose channel it is.
        publisher: PublicKey,
        /// Who signed.
        key: PublicKey,
    },
    /// It contradicts itself.
    #[error("the index of channel {publisher} is not well made: {why}")]
    Content {
        /// Whose channel it is.
        publisher: PublicKey,
        /// What is wrong.
        why: &'static str,
    },
}

/// Signs a page of this key's own channel. Answers the bytes, to be sent as they are.
pub fn sign_page(key: &KeyPair, page: &ChannelPage) -> Result<Vec<u8>, ChannelError> {
    check_page(page, &key.public(), &key.public())?;
    Ok(sign(key, page)?.encode())
}

/// Verifies a page of a publisher's channel.
pub fn verify_page(publisher: &PublicKey, bytes: &[u8]) -> Result<ChannelPage, ChannelError> {
    let (key, page) = open::<ChannelPage>(bytes, "channel's page")?;
    check_page(&page, publisher, &key)?;
    Ok(page)
}

/// Signs an announcement of this key's own channel.
pub fn sign_head(key: &KeyPair, head: &ChannelHead) -> Result<Vec<u8>, ChannelError> {
    Ok(sign(key, head)?.encode())
}

/// Verifies an announcement of a publisher's channel.
pub fn verify_head(publisher: &PublicKey, bytes: &[u8]) -> Result<ChannelHead, ChannelError> {
    let (key, head) = open::<ChannelHead>(bytes, "channel's announcement")?;
    is_publisher(&head.publisher, publisher, &key)?;
    Ok(head)
}

/// The number that an announcement names, whoever made it: nothing of it is verified.
pub fn claimed_sequence(bytes: &[u8]) -> Option<u64> {
    Some(Signed::<ChannelHead>::decode(bytes).ok()?.read().ok()?.sequence)
}

/// What an announcement says of the newest entry.
pub fn entry_hash(entry: &ChannelEntry) -> BlobHash {
    let bytes = minicbor::to_vec(entry).unwrap_or_default();
    BlobHash::new(*blake3::hash(&bytes).as_bytes())
}

fn is_publisher(named: &PublicKey, publisher: &PublicKey, key: &PublicKey) -> Result<(), ChannelError> {
    if named == publisher && key == publisher {
        return Ok(());
    }
    Err(ChannelError::Publisher { publisher: *publisher, key: *key })
}

fn check_page(page: &ChannelPage, publisher: &PublicKey, key: &PublicKey) -> Result<(), ChannelError> {
    is_publisher(&page.publisher, publisher, key)?;
    let content = |why| Err(ChannelError::Content { publisher: *publisher, why });
    if page.since > page.through || page.through > page.sequence {
        return content("its numbers go backwards");
    }
    if page.entries.len() > MAX_ENTRIES {
        return content("a page of it names more than 2048 works");
    }
    let mut last = page.since;
    let mut slugs = HashSet::new();
    for entry in &page.entries {
        if entry.number <= last {
            return content("its changes are not in their order");
        }
        last = entry.number;
        if WorkId::new(*publisher, &entry.slug).is_err() {
            return content("the name of a work in it is none");
        }
        if !slugs.insert(entry.slug.as_str()) {
            return content("it names a work twice");
        }
        if entry.tags.len() > MAX_TAGS || entry.tags.iter().any(|tag| tag.len() > MAX_TAG_BYTES) {
            return content("a work in it has more tags, or longer ones, than may be");
        }
    }
    // What lies between the last change and the page's end would be left out for good.
    if last != page.through {
        return content("a page of it does not end with its last change");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use fondaco_schemas::{ReleaseId, WorkKind};

    use super::*;

    type Case = (&'static str, fn(&mut ChannelPage));

    fn page(key: &KeyPair) -> ChannelPage {
        let entry = |number, slug: &str| ChannelEntry {
            number,
            slug: slug.into(),
            release: ReleaseId::new([1; 32]),
            listed: true,
            kind: WorkKind::Album,
            tags: vec!["jazz".into()],
            size: 10,
        };
        let entries = vec![entry(4, "a"), entry(7, "b")];
        ChannelPage { publisher: key.public(), sequence: 9, since: 3, through: 7, time: 1, entries }
    }

    #[test]
    fn a_page_reads_back_and_only_its_publisher_can_have_signed_it() {
        let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let bytes = sign_page(&key, &page(&key)).unwrap();
        assert_eq!(verify_page(&key.public(), &bytes).unwrap(), page(&key));
        assert!(matches!(verify_page(&other.public(), &bytes), Err(ChannelError::Publisher { .. })));
        assert!(sign_page(&other, &page(&key)).is_err());
        // Signed by somebody else in the publisher's name.
        let forged = sign(&other, &page(&key)).unwrap().encode();
        assert!(matches!(verify_page(&key.public(), &forged), Err(ChannelError::Publisher { .. })));
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert!(verify_page(&key.public(), &bad).is_err(), "{at}");
        }
        let head =
            ChannelHead { publisher: key.public(), sequence: 9, time: 1, newest: entry_hash(&page(&key).entries[0]) };
        let bytes = sign_head(&key, &head).unwrap();
        assert_eq!(verify_head(&key.public(), &bytes).unwrap(), head);
        assert!(verify_head(&other.public(), &bytes).is_err());
        assert!(verify_page(&key.public(), &bytes).is_err(), "an announcement is no page");
        assert!(bytes.len() < 512);
    }

    #[test]
    fn a_work_in_an_index_has_few_tags_and_short_ones() {
        let key = KeyPair::generate().unwrap();
        for tags in [vec!["x".to_owned(); MAX_TAGS + 1], vec!["x".repeat(MAX_TAG_BYTES + 1)]] {
            let mut bad = page(&key);
            bad.entries[0].tags = tags;
            let bytes = sign(&key, &bad).unwrap().encode();
            let error = verify_page(&key.public(), &bytes).unwrap_err().to_string();
            assert!(error.contains("more tags"), "{error}");
        }
    }

    #[test]
    fn an_index_that_contradicts_itself_is_refused_with_the_reason() {
        let key = KeyPair::generate().unwrap();
        let cases: [Case; 7] = [
            ("backwards", |p| p.through = 2),
            ("backwards", |p| p.sequence = 6),
            ("order", |p| p.entries.reverse()),
            ("order", |p| p.since = 4),
            ("twice", |p| p.entries[1].slug = "a".into()),
            ("none", |p| p.entries[1].slug = "../b".into()),
            ("last change", |p| p.through = 8),
        ];
        for (words, spoil) in cases {
            let mut bad = page(&key);
            spoil(&mut bad);
            let bytes = sign(&key, &bad).unwrap().encode();
            let error = verify_page(&key.public(), &bytes).unwrap_err().to_string();
            assert!(error.contains(words), "{words}: {error}");
        }
        let mut many = page(&key);
        many.entries = (0..=MAX_ENTRIES as u64)
            .map(|n| ChannelEntry { number: 4 + n, slug: format!("w{n}"), ..many.entries[0].clone() })
            .collect();
        (many.through, many.sequence) = (4 + MAX_ENTRIES as u64, 1 << 40);
        let bytes = sign(&key, &many).unwrap().encode();
        assert!(verify_page(&key.public(), &bytes).unwrap_err().to_string().contains("2048"));
        let empty = ChannelPage { since: 9, through: 9, entries: Vec::new(), ..page(&key) };
        assert!(sign_page(&key, &empty).is_ok(), "nothing is new");
        let hole = ChannelPage { since: 3, through: 9, entries: Vec::new(), ..page(&key) };
        assert!(sign_page(&key, &hole).is_err());
    }
}
