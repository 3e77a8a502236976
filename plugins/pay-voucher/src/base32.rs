//! Crockford's base 32: digits that people can read over the telephone. Upper and lower case are one, O is read as 0, I
//! and L as 1; U is not used. Bits are taken from the most significant on; the last digit is filled up with zeros.

const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Why a text is no number in base 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// This character is no digit.
    Character(char),
    /// No whole number of bytes has this many digits, or the bits that fill up the last are not zero.
    Length,
}

/// The value of a digit, read kindly.
fn value(digit: char) -> Option<u8> {
    let digit = match digit.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    DIGITS.iter().position(|d| char::from(*d) == digit).and_then(|v| u8::try_from(v).ok())
}

/// Puts what a person typed into the one form that digits have: upper case, without hyphens and white space.
pub fn tidy(text: &str) -> Result<String, Unreadable> {
    let typed = text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '-' | '\u{2010}'..='\u{2015}' | '\u{ad}'));
    typed.map(|c| value(c).and_then(digit).ok_or(Unreadable::Character(c))).collect()
}

fn digit(value: u8) -> Option<char> {
    DIGITS.get(usize::from(value)).copied().map(char::from)
}

/// Bytes as digits.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity((bytes.len() * 8).div_ceil(5));
    let (mut held, mut bits) = (0_u16, 0);
    for byte in bytes {
        held = held << 8 | u16::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.extend(digit((held >> bits & 31) as u8));
        }
        held &= (1 << bits) - 1;
    }
    if bits > 0 {
        text.extend(digit((held << (5 - bits) & 31) as u8));
    }
    text
}

/// Digits as bytes.
pub fn decode(text: &str) -> Result<Vec<u8>, Unreadable> {
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    let (mut held, mut bits) = (0_u16, 0);
    for c in text.chars() {
        held = held << 5 | u16::from(value(c).ok_or(Unreadable::Character(c))?);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits & 0xff) as u8);
            held &= (1 << bits) - 1;
        }
    }
    if bits >= 5 || held != 0 { Err(Unreadable::Length) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_known_vectors() {
        // RFC 4648's test words, with Crockford's digits in the place of the RFC's.
        let vectors =
            [("", ""), ("f", "CR"), ("fo", "CSQG"), ("foo", "CSQPY"), ("foob", "CSQPYRG"), ("foobar", "CSQPYRK1E8")];
        for (word, digits) in vectors {
            assert_eq!(encode(word.as_bytes()), digits);
            assert_eq!(decode(digits).unwrap(), word.as_bytes());
        }
    }

    #[test]
    fn reads_what_people_write() {
        assert_eq!(tidy(" cSq-pY rkLe8\n").unwrap(), "CSQPYRK1E8");
        assert_eq!(tidy("oOiIlL").unwrap(), "001111");
        assert_eq!(tidy("CSQ\u{2013}PY").unwrap(), "CSQPY", "a dash that a word processor made");
        assert_eq!(tidy("CSU"), Err(Unreadable::Character('U')));
        assert_eq!(tidy("CSÉ"), Err(Unreadable::Character('É')));
    }

    #[test]
    fn every_number_has_one_text() {
        assert_eq!(decode("CS"), Err(Unreadable::Length), "bits of the filling are set");
        assert_eq!(decode("CR0"), Err(Unreadable::Length), "a digit too many");
        assert_eq!(decode("C"), Err(Unreadable::Length));
    }

    proptest::proptest! {
        #[test]
        fn decodes_what_it_encodes(bytes: Vec<u8>) {
            proptest::prop_assert_eq!(decode(&encode(&bytes)).unwrap(), bytes);
        }
    }
}
