//! Where things lie in the plugin's key-value space.
//!
//! | key | value |
//! |---|---|
//! | `m` | [`crate::meta::Meta`]: version of this layout, counts, lengths |
//! | `f` | numbers of removed works, to be used again |
//! | `i` work id | the work's number |
//! | `x` number | the work's words, to take them out again ([`crate::document::Terms`]) |
//! | `w` number | what is shown of the work ([`crate::document::Card`]) |
//! | `a` block | attributes of 64 works ([`crate::attributes::Block`]) |
//! | `t` word | in how many works it stands, and where, if few ([`crate::postings::Entry`]) |
//! | `p` word 0 block | where it stands among 512 works, if many ([`crate::postings`]) |
//! | `d` end length letters | words that begin or end with two letters ([`crate::typo`]) |
//! | `s` line 0 number | titles and names to suggest ([`crate::suggest`]) |

/// The counts.
pub const META: &[u8] = b"m";
/// The numbers to be used again.
pub const FREE: &[u8] = b"f";

fn numbered(kind: u8, number: u32) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend_from_slice(&number.to_be_bytes());
    key
}

fn named(kind: u8, name: &str) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend_from_slice(name.as_bytes());
    key
}

/// The number of a work.
pub fn id(work: &str) -> Vec<u8> {
    named(b'i', work)
}
/// The words of a work.
pub fn terms(doc: u32) -> Vec<u8> {
    numbered(b'x', doc)
}
/// What is shown of a work.
pub fn card(doc: u32) -> Vec<u8> {
    numbered(b'w', doc)
}
/// Attributes of the works of a block.
pub fn attributes(block: u32) -> Vec<u8> {
    numbered(b'a', block)
}
/// A word; a prefix of it is a prefix of the key.
pub fn term(word: &str) -> Vec<u8> {
    named(b't', word)
}
/// All blocks of a word's postings. No word holds a zero byte.
pub fn postings(word: &str) -> Vec<u8> {
    let mut key = named(b'p', word);
    key.push(0);
    key
}
/// One block of a word's postings.
pub fn posting_block(word: &str, block: u32) -> Vec<u8> {
    let mut key = postings(word);
    key.extend_from_slice(&block.to_be_bytes());
    key
}
/// Words whose first (`end` = `a`) or last (`z`) letter and length are given, in buckets by one more letter.
pub fn shapes(end: u8, length: u8, letter: char) -> Vec<u8> {
    let mut key = vec![b'd', end, length];
    key.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
    key
}
/// What may be suggested for a folded line.
pub fn suggestion(line: &str) -> Vec<u8> {
    named(b's', line)
}
/// The number at a key's end.
pub fn number_of(key: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*key.last_chunk()?))
}
