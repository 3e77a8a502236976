//! Range and conditional requests (RFC 9110 §13 and §14), as pure rules.

use std::ops::Range;

use http::{HeaderMap, Method, header};

/// What a request wants of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All of it.
    Whole,
    /// These bytes.
    Part(Range<u64>),
    /// Nothing, for the client has it: 304.
    NotModified,
    /// Only if unchanged, and it is not what the client thinks: 412.
    Failed,
    /// Bytes that are not there: 416.
    Unsatisfiable,
}

/// What the headers ask of a file of `size` bytes whose strong entity tag is `etag` (with its quotes).
pub(crate) fn wanted(method: &Method, headers: &HeaderMap, etag: &str, size: u64) -> Wanted {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok());
    if let Some(tags) = text(header::IF_MATCH)
        && !matches(tags, etag, true)
    {
        return Wanted::Failed;
    }
    if let Some(tags) = text(header::IF_NONE_MATCH)
        && matches(tags, etag, false)
    {
        return Wanted::NotModified;
    }
    if *method != Method::GET {
        return Wanted::Whole;
    }
    // A range that rests on another version of the file is no range (§13.1.5). Dates are never sent, so never match.
    if text(header::IF_RANGE).is_some_and(|tag| tag.trim() != etag) {
        return Wanted::Whole;
    }
    text(header::RANGE).map_or(Wanted::Whole, |range| part(range, size))
}

fn matches(list: &str, etag: &str, strong: bool) -> bool {
    list.split(',').map(str::trim).any(|tag| {
        let opaque = if strong { tag } else { tag.strip_prefix("W/").unwrap_or(tag) };
        tag == "*" || opaque == etag
    })
}

/// One range of bytes. Several at once, another unit or nonsense is answered with the whole file (§14.2).
fn part(range: &str, size: u64) -> Wanted {
    let Some((unit, spec)) = range.split_once('=') else { return Wanted::Whole };
    let Some((first, last)) = spec.trim().split_once('-') else { return Wanted::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") || spec.contains(',') {
        return Wanted::Whole;
    }
    let number =
        |s: &str| (!s.is_empty() && s.bytes().all(|b| b.is_ascii_digit())).then(|| s.parse().unwrap_or(u64::MAX));
    match (number(first), number(last), first.is_empty(), last.is_empty()) {
        (None, Some(0), true, _) => Wanted::Unsatisfiable,
        (None, Some(_), true, _) if size == 0 => Wanted::Unsatisfiable,
        (None, Some(suffix), true, _) => Wanted::Part(size.saturating_sub(suffix)..size),
        (Some(from), None, _, true) if from < size => Wanted::Part(from..size),
        (Some(from), Some(to), ..) if from > to => Wanted::Whole,
        (Some(from), Some(to), ..) if from < size => Wanted::Part(from..to.saturating_add(1).min(size)),
        (Some(_), ..) => Wanted::Unsatisfiable,
        _ => Wanted::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(pairs: &[(&'static str, &str)], size: u64) -> Wanted {
        let mut headers = HeaderMap::new();
        for (k, v) in pairs {
            headers.insert(*k, v.parse().unwrap());
        }
        wanted(&Method::GET, &headers, "\"abc\"", size)
    }

    #[test]
    fn reads_ranges_as_rfc_9110_does() {
        for (range, expect) in [
            ("bytes=0-0", Wanted::Part(0..1)),
            ("bytes=0-", Wanted::Part(0..100)),
            ("bytes=99-", Wanted::Part(99..100)),
            ("bytes=100-", Wanted::Unsatisfiable),
            ("bytes=50-1000", Wanted::Part(50..100)),
            ("bytes=-1", Wanted::Part(99..100)),
            ("bytes=-1000", Wanted::Part(0..100)),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=5-4", Wanted::Whole),
            ("bytes=0-1,3-4", Wanted::Whole),
            ("items=0-1", Wanted::Whole),
            ("bytes=", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("bytes=99999999999999999999-", Wanted::Unsatisfiable),
            ("bytes=0-99999999999999999999", Wanted::Part(0..100)),
            ("BYTES=1-2", Wanted::Part(1..3)),
        ] {
            assert_eq!(ask(&[("range", range)], 100), expect, "{range}");
        }
        assert_eq!(ask(&[("range", "bytes=0-")], 0), Wanted::Unsatisfiable);
        assert_eq!(ask(&[("range", "bytes=-5")], 0), Wanted::Unsatisfiable);
    }

    #[test]
    fn honours_conditions_before_ranges() {
        assert_eq!(ask(&[("if-none-match", "\"abc\"")], 9), Wanted::NotModified);
        assert_eq!(ask(&[("if-none-match", "\"x\", W/\"abc\"")], 9), Wanted::NotModified);
        assert_eq!(ask(&[("if-none-match", "*")], 9), Wanted::NotModified);
        assert_eq!(ask(&[("if-none-match", "\"x\""), ("range", "bytes=1-1")], 9), Wanted::Part(1..2));
        assert_eq!(ask(&[("if-match", "\"x\"")], 9), Wanted::Failed);
        assert_eq!(ask(&[("if-match", "W/\"abc\"")], 9), Wanted::Failed, "a weak tag never matches strongly");
        assert_eq!(ask(&[("if-range", "\"abc\""), ("range", "bytes=1-1")], 9), Wanted::Part(1..2));
        assert_eq!(ask(&[("if-range", "\"old\""), ("range", "bytes=1-1")], 9), Wanted::Whole);
        assert_eq!(ask(&[("if-range", "Wed, 21 Oct 2015 07:28:00 GMT"), ("range", "bytes=1-1")], 9), Wanted::Whole);
    }
}
