//! Runs the edit scripts of DRM plugins: the plugin says which bytes are copied, inserted, sealed or opened, and the
//! node does it at native speed, as a stream, with memory for one span.

use std::io::{Read, Seek, SeekFrom, Write};

use fondaco_runtime::wit::drm_types::{Cipher, Crypt, Edit, Span};
use ring::aead;

/// The longest span that is sealed or opened at once, in bytes: an AEAD needs the whole of it.
const MAX_CRYPT: u64 = 4 << 20;
/// The longest literal, in bytes.
const MAX_INSERT: usize = 1 << 20;

/// What an AEAD adds, in bytes.
const TAG: u64 = 16;
/// What a script may make beyond twice its file, in bytes.
const SLACK: u64 = 64 << 20;

/// Why a script was not carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// It names bytes that the file does not have.
    #[error("the script names bytes {0}..{1} of a file of {2} bytes")]
    Outside(u64, u64, u64),
    /// It asks for more at once than is done.
    #[error("the script seals, opens or inserts {0} bytes at once; at most {MAX_CRYPT} are allowed")]
    TooLong(u64),
    /// It makes more of a file than any scheme needs.
    #[error("the script makes more than {0} bytes of the file: it was stopped")]
    TooMuch(u64),
    /// A cipher that is not offered, or a key or nonce of the wrong length.
    #[error("the script's cipher, key or nonce does not fit: {0}")]
    Cipher(&'static str),
    /// The bytes were altered, or the key is not theirs.
    #[error("the bytes at {0} do not open: the file is damaged, or the licence is not for it")]
    Tag(u64),
    /// Reading or writing failed.
    #[error("reading or writing failed")]
    Io(#[from] std::io::Error),
}

/// Carries out edits on one file.
pub struct Editor<R, W> {
    input: R,
    size: u64,
    output: W,
    buffer: Vec<u8>,
    position: Option<u64>,
    written: u64,
}

impl<R: Read + Seek, W: Write> Editor<R, W> {
    /// `size` is the input's length in bytes.
    pub fn new(input: R, size: u64, output: W) -> Self {
        Self { input, size, output, buffer: Vec::new(), position: None, written: 0 }
    }

    /// The output, when the script has ended.
    pub fn finish(self) -> W {
        self.output
    }

    /// Carries out one edit.
    pub fn apply(&mut self, edit: &Edit) -> Result<(), EditError> {
        let adds = match edit {
            Edit::Copy(span) => span.len,
            Edit::Insert(bytes) => bytes.len() as u64,
            Edit::Encrypt(crypt) | Edit::Decrypt(crypt) => crypt.span.len.saturating_add(TAG),
        };
        self.written = self.written.saturating_add(adds);
        let most = self.size.saturating_mul(2).saturating_add(SLACK);
        if self.written > most {
            return Err(EditError::TooMuch(most));
        }
        match edit {
            Edit::Copy(span) => self.copy(*span),
            Edit::Insert(bytes) if bytes.len() > MAX_INSERT => Err(EditError::TooLong(bytes.len() as u64)),
            Edit::Insert(bytes) => Ok(self.output.write_all(bytes)?),
            Edit::Encrypt(crypt) => self.crypt(crypt, true),
            Edit::Decrypt(crypt) => self.crypt(crypt, false),
        }
    }

    fn seek(&mut self, span: Span) -> Result<(), EditError> {
        let end = span.offset.checked_add(span.len).filter(|end| *end <= self.size);
        let Some(end) = end else {
            return Err(EditError::Outside(span.offset, span.offset.saturating_add(span.len), self.size));
        };
        if self.position != Some(span.offset) {
            self.input.seek(SeekFrom::Start(span.offset))?;
        }
        self.position = Some(end);
        Ok(())
    }

    fn copy(&mut self, span: Span) -> Result<(), EditError> {
        self.seek(span)?;
        let copied = std::io::copy(&mut (&mut self.input).take(span.len), &mut self.output)?;
        if copied == span.len { Ok(()) } else { Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()) }
    }

    fn crypt(&mut self, crypt: &Crypt, encrypt: bool) -> Result<(), EditError> {
        if crypt.span.len > MAX_CRYPT {
            return Err(EditError::TooLong(crypt.span.len));
        }
        let algorithm = match crypt.cipher {
            Cipher::Aes256Gcm => &aead::AES_256_GCM,
            Cipher::Chacha20Poly1305 => &aead::CHACHA20_POLY1305,
            Cipher::Aes128Ctr | Cipher::Aes128Cbc | Cipher::Aes256Cbc => {
                return Err(EditError::Cipher("this node runs aes256-gcm and chacha20-poly1305"));
            }
        };
        let key =
            aead::UnboundKey::new(algorithm, &crypt.key).map_err(|_| EditError::Cipher("the key needs 32 bytes"))?;
        let key = aead::LessSafeKey::new(key);
        let nonce = aead::Nonce::try_assume_unique_for_key(&crypt.iv)
            .map_err(|_| EditError::Cipher("the nonce needs 12 bytes"))?;
        self.seek(crypt.span)?;
        self.buffer.clear();
        (&mut self.input).take(crypt.span.len).read_to_end(&mut self.buffer)?;
        if self.buffer.len() as u64 != crypt.span.len {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
        if encrypt {
            key.seal_in_place_append_tag(nonce, aead::Aad::empty(), &mut self.buffer)
                .map_err(|_| EditError::Cipher("the span is too long"))?;
            self.output.write_all(&self.buffer)?;
        } else {
            let clear = key
                .open_in_place(nonce, aead::Aad::empty(), &mut self.buffer)
                .map_err(|_| EditError::Tag(crypt.span.offset))?;
            self.output.write_all(clear)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn run(input: &[u8], edits: &[Edit]) -> Result<Vec<u8>, EditError> {
        let mut editor = Editor::new(Cursor::new(input), input.len() as u64, Vec::new());
        for edit in edits {
            editor.apply(edit)?;
        }
        Ok(editor.finish())
    }

    fn crypt(offset: u64, len: u64, cipher: Cipher) -> Crypt {
        Crypt { span: Span { offset, len }, cipher, key: vec![7; 32], iv: vec![1; 12] }
    }

    #[test]
    fn copies_inserts_and_seals_in_any_order() {
        let input = b"0123456789";
        let edits = [
            Edit::Copy(Span { offset: 8, len: 2 }),
            Edit::Insert(b"-".to_vec()),
            Edit::Copy(Span { offset: 0, len: 3 }),
        ];
        assert_eq!(run(input, &edits).unwrap(), b"89-012");
        for cipher in [Cipher::Aes256Gcm, Cipher::Chacha20Poly1305] {
            let sealed = run(input, &[Edit::Encrypt(crypt(2, 5, cipher))]).unwrap();
            assert_eq!(sealed.len(), 5 + 16);
            assert_eq!(run(&sealed, &[Edit::Decrypt(crypt(0, 21, cipher))]).unwrap(), b"23456");
            for i in 0..sealed.len() {
                let mut bad = sealed.clone();
                bad[i] ^= 1;
                assert!(matches!(run(&bad, &[Edit::Decrypt(crypt(0, 21, cipher))]), Err(EditError::Tag(0))));
            }
        }
    }

    #[test]
    fn seals_as_the_standard_says() {
        // McGrew and Viega, "The Galois/Counter Mode of Operation", test case 14: AES-256, zero key, nonce and block.
        let edit =
            Crypt { span: Span { offset: 0, len: 16 }, cipher: Cipher::Aes256Gcm, key: vec![0; 32], iv: vec![0; 12] };
        let sealed = run(&[0; 16], &[Edit::Encrypt(edit)]).unwrap();
        let hex = data_encoding::HEXLOWER.encode(&sealed);
        assert_eq!(hex, "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919");
    }

    #[test]
    fn refuses_what_it_cannot_do() {
        assert!(matches!(run(b"abc", &[Edit::Copy(Span { offset: 2, len: 2 })]), Err(EditError::Outside(2, 4, 3))));
        assert!(matches!(run(b"abc", &[Edit::Copy(Span { offset: u64::MAX, len: 2 })]), Err(EditError::Outside(..))));
        assert!(matches!(run(b"abc", &[Edit::Insert(vec![0; MAX_INSERT + 1])]), Err(EditError::TooLong(_))));
        assert!(matches!(
            run(b"abc", &[Edit::Encrypt(crypt(0, MAX_CRYPT + 1, Cipher::Aes256Gcm))]),
            Err(EditError::TooLong(_))
        ));
        let endless = vec![Edit::Insert(vec![0; MAX_INSERT]); 65];
        assert!(matches!(run(b"abc", &endless), Err(EditError::TooMuch(_))));
        assert!(matches!(run(b"abc", &[Edit::Encrypt(crypt(0, 1, Cipher::Aes128Cbc))]), Err(EditError::Cipher(_))));
        let short = Crypt { key: vec![0; 16], ..crypt(0, 1, Cipher::Aes256Gcm) };
        assert!(matches!(run(b"abc", &[Edit::Encrypt(short)]), Err(EditError::Cipher(_))));
        let short = Crypt { iv: vec![0; 8], ..crypt(0, 1, Cipher::Aes256Gcm) };
        assert!(matches!(run(b"abc", &[Edit::Encrypt(short)]), Err(EditError::Cipher(_))));
    }
}
