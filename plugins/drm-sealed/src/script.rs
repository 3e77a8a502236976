//! The edit scripts of sealing and opening, drawn in portions: a file of 1 GiB has 16,389 segments.

use fondaco_sdk::{Crypt, Edit, EditScript, Result};

use crate::header::{Header, Key};
use crate::layout::{Layout, Segment};

/// Edits in a portion, at most, whatever the node asks for: some 400 KiB.
const MAX_PORTION: usize = 4096;

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Seal,
    Open,
}

/// A script.
pub struct Script {
    way: Way,
    header: Header,
    layout: Layout,
    key: Key,
    /// The header's bytes, until they are out.
    insert: Option<Vec<u8>>,
    next: u64,
}

impl Script {
    /// From the clear file to the sealed one.
    pub fn seal(header: Header, key: Key) -> Result<Self> {
        let insert = Some(header.to_bytes(&key));
        Ok(Self { way: Way::Seal, header, layout: header.layout()?, key, insert, next: 0 })
    }
    /// From the sealed file to the clear one.
    pub fn open(header: Header, key: Key) -> Result<Self> {
        Ok(Self { way: Way::Open, header, layout: header.layout()?, key, insert: None, next: 0 })
    }

    fn edit(&self, segment: &Segment) -> Edit {
        let crypt = |span| Crypt {
            span,
            cipher: self.header.cipher.of_node(),
            key: self.key.to_vec(),
            iv: self.header.nonce(segment.index, segment.last),
        };
        match self.way {
            Way::Seal => Edit::Encrypt(crypt(segment.clear)),
            Way::Open => Edit::Decrypt(crypt(segment.sealed)),
        }
    }
}

impl EditScript for Script {
    fn next(&mut self, at_most: usize) -> Result<Vec<Edit>> {
        // A portion of none would end the script before its time.
        let at_most = at_most.clamp(1, MAX_PORTION);
        let mut edits: Vec<Edit> = self.insert.take().map(Edit::Insert).into_iter().collect();
        while edits.len() < at_most {
            let Some(segment) = self.layout.segment(self.next) else { break };
            edits.push(self.edit(&segment));
            self.next += 1;
        }
        Ok(edits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::SealCipher;

    #[test]
    fn comes_in_portions_of_any_size_and_ends_with_an_empty_one() {
        let header = Header { cipher: SealCipher::Aes256Gcm, clear_size: 1 << 30, salt: [0; 16], nonce_prefix: [0; 7] };
        for at_most in [0, 1, 7, 4096, usize::MAX] {
            let mut script = Script::seal(header, [0; 32]).unwrap();
            let (mut edits, mut longest) = (0, 0);
            loop {
                let portion = script.next(at_most).unwrap();
                if portion.is_empty() {
                    break;
                }
                edits += portion.len();
                longest = longest.max(portion.len());
            }
            assert_eq!((edits, longest), (16_390, at_most.clamp(1, 4096)));
            assert!(script.next(at_most).unwrap().is_empty());
        }
    }
}
