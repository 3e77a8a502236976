//! The checks that belong to one kind each, and the kind's calls with right input and with wrong.

pub(crate) mod advocacy;
pub(crate) mod drm;
pub(crate) mod operator;
pub(crate) mod payment;
pub(crate) mod search;
pub(crate) mod storefront;

/// How much of a kind's calls is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// One or two of each.
    Brief,
    /// Everything, with wrong input of every sort.
    Whole,
}

/// Texts that somebody sends sooner or later, and how they are called in a finding.
pub(crate) fn texts() -> Vec<(String, String)> {
    let named = |name: &str, text: String| (name.to_owned(), text);
    vec![
        named("\"\"", String::new()),
        named("a space", " ".into()),
        named("256 KiB of x", "x".repeat(256 << 10)),
        named("20,000 words", "no ".repeat(20_000)),
        named("control characters", "\0\u{1}\u{7f}\u{85}\r\n\t\u{202e}".into()),
        named("unpaired quotes", "\"'`<>&;--/*{{${\\".into()),
        named("astral characters", "🦉\u{1F469}\u{200D}\u{1F680}\u{10FFFF}\u{FFFD}".into()),
        named("many combining marks", format!("a{}", "\u{301}".repeat(5_000))),
        named("a path upwards", "../../../etc/passwd".into()),
        named("a NUL-ended number", "18446744073709551616\0".into()),
    ]
}

/// Bytes that are no text, no JSON and no message.
pub(crate) fn bytes() -> Vec<(String, Vec<u8>)> {
    vec![
        ("no bytes".into(), vec![]),
        ("invalid UTF-8".into(), vec![0xff, 0xfe, 0xc0, 0x80, 0xed, 0xa0, 0x80]),
        ("256 KiB of zeros".into(), vec![0; 256 << 10]),
        ("JSON that never ends".into(), b"[".repeat(60_000)),
        ("half a JSON object".into(), br#"{"id":"x","#.to_vec()),
        ("a JSON number".into(), b"1e999".to_vec()),
    ]
}

/// A sum that is none, and how it is called.
pub(crate) fn sums() -> [&'static str; 9] {
    ["", "0", "-1", "1.5", "1e3", "0x10", "+5", "99999999999999999999999999999999999999999999", "ten"]
}
