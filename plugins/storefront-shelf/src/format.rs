//! Sums, sizes, lengths and dates as people of each language write them. Pure functions.

use fondaco_sdk::{Money, WorkKind};

use crate::text::Texts;

/// What stands between a number and its unit in French: a narrow space that does not break.
const NARROW: char = '\u{202f}';

/// A whole number with its thousands set apart.
pub fn count(texts: &Texts, n: u64) -> String {
    grouped(texts, &n.to_string())
}

fn grouped(texts: &Texts, digits: &str) -> String {
    let mut out = String::with_capacity(digits.len() + digits.len() / 3 * 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(if texts.lang == "fr" { NARROW } else { ',' });
        }
        out.push(digit);
    }
    out
}

/// Is it nothing? A sum that cannot be read is something.
pub fn is_free(money: &Money) -> bool {
    !money.amount.is_empty() && money.amount.bytes().all(|b| b == b'0')
}

/// A sum: `€4.99`, `4,99 €`, `12 points`. Assets without a sign of their own show their name.
pub fn money(texts: &Texts, money: &Money) -> String {
    let french = texts.lang == "fr";
    let number = decimal(texts, &money.amount, usize::from(money.exponent));
    let sign = match money.asset.as_str() {
        "EUR" => "€",
        "USD" => "$",
        "GBP" => "£",
        "JPY" => "¥",
        "pts" if money.amount == "1" => "point",
        "pts" => "points",
        other => other,
    };
    if french || sign.len() > 3 || sign.bytes().all(|b| b.is_ascii_alphanumeric()) {
        format!("{number}\u{a0}{sign}")
    } else {
        format!("{sign}{number}")
    }
}

/// An amount of atomic units as a decimal number; what is not digits is shown as it came.
fn decimal(texts: &Texts, amount: &str, exponent: usize) -> String {
    if amount.is_empty() || !amount.bytes().all(|b| b.is_ascii_digit()) {
        return amount.to_owned();
    }
    let padded = format!("{amount:0>width$}", width = exponent + 1);
    let (whole, cents) = padded.split_at(padded.len() - exponent);
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        rest => rest,
    };
    let mut out = grouped(texts, whole);
    if !cents.is_empty() {
        out.push(if texts.lang == "fr" { ',' } else { '.' });
        out.push_str(cents);
    }
    out
}

/// The plain number that schema.org wants for a price: `4.99`.
pub fn schema_price(money: &Money) -> String {
    let plain = decimal(&crate::text::ENGLISH, &money.amount, usize::from(money.exponent));
    plain.replace(',', "")
}

/// A size in decimal units, as file managers show it.
pub fn size(texts: &Texts, bytes: u64) -> String {
    let units = if texts.lang == "fr" { ["o", "ko", "Mo", "Go", "To"] } else { ["B", "kB", "MB", "GB", "TB"] };
    let mut unit = 0;
    let mut tenths = u128::from(bytes) * 10;
    while tenths >= 10_000 && unit + 1 < units.len() {
        tenths = (tenths + 500) / 1000;
        unit += 1;
    }
    let name = units.get(unit).copied().unwrap_or_default();
    let (whole, tenth) = (tenths / 10, tenths % 10);
    if unit == 0 || whole >= 100 || tenth == 0 {
        format!("{whole}\u{a0}{name}")
    } else {
        format!("{whole}{}{tenth}\u{a0}{name}", if texts.lang == "fr" { ',' } else { '.' })
    }
}

/// How long something plays: `3:07`, `1:02:03`. Rounded to the second.
pub fn duration(ms: u32) -> String {
    let s = (u64::from(ms) + 500) / 1000;
    let (hours, minutes, seconds) = (s / 3600, s / 60 % 60, s % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// The same for machines: ISO 8601, `PT187S`.
pub fn iso_duration(ms: u32) -> String {
    format!("PT{}S", (u64::from(ms) + 500) / 1000)
}

/// The day of an RFC 3339 time: `23 November 2026`. What is no such time is shown as it came.
pub fn date(texts: &Texts, timestamp: &str) -> String {
    const ENGLISH: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    const FRENCH: [&str; 12] = [
        "janvier",
        "février",
        "mars",
        "avril",
        "mai",
        "juin",
        "juillet",
        "août",
        "septembre",
        "octobre",
        "novembre",
        "décembre",
    ];
    let read = || {
        let mut parts = timestamp.get(..10)?.split('-');
        let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
        let month: usize = month.parse().ok()?;
        let day: u8 = day.parse().ok()?;
        let name = if texts.lang == "fr" { FRENCH } else { ENGLISH }.get(month.checked_sub(1)?).copied()?;
        (year.len() == 4 && year.bytes().all(|b| b.is_ascii_digit())).then_some(())?;
        Some(if texts.lang == "fr" && day == 1 { format!("1er {name} {year}") } else { format!("{day} {name} {year}") })
    };
    read().unwrap_or_else(|| timestamp.to_owned())
}

/// A kind of work in words.
pub fn kind(texts: &Texts, kind: WorkKind) -> &'static str {
    match kind {
        WorkKind::Album => texts.kind_album,
        WorkKind::Track => texts.kind_track,
        WorkKind::Video => texts.kind_video,
        WorkKind::Game => texts.kind_game,
        WorkKind::Book => texts.kind_book,
        WorkKind::NewspaperIssue => texts.kind_newspaper,
        WorkKind::PodcastEpisode => texts.kind_podcast,
        WorkKind::Software => texts.kind_software,
        WorkKind::Other => texts.kind_other,
    }
}

/// A kind's name in addresses and facets.
pub fn kind_name(kind: WorkKind) -> &'static str {
    match kind {
        WorkKind::Album => "album",
        WorkKind::Track => "track",
        WorkKind::Video => "video",
        WorkKind::Game => "game",
        WorkKind::Book => "book",
        WorkKind::NewspaperIssue => "newspaper-issue",
        WorkKind::PodcastEpisode => "podcast-episode",
        WorkKind::Software => "software",
        WorkKind::Other => "other",
    }
}

/// Every kind, in the order in which they are offered.
pub const KINDS: [WorkKind; 9] = [
    WorkKind::Album,
    WorkKind::Track,
    WorkKind::Book,
    WorkKind::Video,
    WorkKind::Game,
    WorkKind::NewspaperIssue,
    WorkKind::PodcastEpisode,
    WorkKind::Software,
    WorkKind::Other,
];

/// The kind of a name.
pub fn kind_of(name: &str) -> Option<WorkKind> {
    KINDS.into_iter().find(|k| kind_name(*k) == name)
}

/// A language in its own words, where it is a common one; else its tag.
pub fn language_name(tag: &str) -> &str {
    match tag.split('-').next().unwrap_or_default() {
        "de" => "Deutsch",
        "en" => "English",
        "es" => "Español",
        "fr" => "Français",
        "it" => "Italiano",
        "ja" => "日本語",
        "nl" => "Nederlands",
        "pl" => "Polski",
        "pt" => "Português",
        "zh" => "中文",
        _ => tag,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{ENGLISH, FRENCH};

    fn sum(amount: &str, asset: &str, exponent: u8) -> Money {
        Money { amount: amount.into(), asset: asset.into(), exponent }
    }

    #[test]
    fn writes_sums_exactly() {
        let check = |m: Money, en: &str, fr: &str| {
            assert_eq!(money(&ENGLISH, &m), en);
            assert_eq!(money(&FRENCH, &m), fr);
        };
        check(sum("499", "EUR", 2), "€4.99", "4,99\u{a0}€");
        check(sum("5", "EUR", 2), "€0.05", "0,05\u{a0}€");
        check(sum("123456789", "USD", 2), "$1,234,567.89", "1\u{202f}234\u{202f}567,89\u{a0}$");
        check(sum("250", "JPY", 0), "¥250", "250\u{a0}¥");
        check(sum("1500", "CHF", 2), "15.00\u{a0}CHF", "15,00\u{a0}CHF");
        check(sum("1", "pts", 0), "1\u{a0}point", "1\u{a0}point");
        check(sum("12x", "EUR", 2), "€12x", "12x\u{a0}€");
        check(
            sum("18446744073709551616", "sat", 0),
            "18,446,744,073,709,551,616\u{a0}sat",
            "18\u{202f}446\u{202f}744\u{202f}073\u{202f}709\u{202f}551\u{202f}616\u{a0}sat",
        );
        check(sum("1", "wei", 255), &format!("0.{:0>255}\u{a0}wei", 1), &format!("0,{:0>255}\u{a0}wei", 1));
        assert_eq!(schema_price(&sum("123456", "EUR", 2)), "1234.56");
    }

    #[test]
    fn calls_only_nothing_free() {
        assert!(is_free(&sum("0", "EUR", 2)) && is_free(&sum("00", "EUR", 2)));
        assert!(!is_free(&sum("1", "EUR", 2)) && !is_free(&sum("", "EUR", 2)) && !is_free(&sum("x", "EUR", 2)));
    }

    #[test]
    fn writes_sizes_lengths_and_days() {
        for (bytes, en) in [
            (0, "0\u{a0}B"),
            (999, "999\u{a0}B"),
            (1000, "1\u{a0}kB"),
            (1_540_000, "1.5\u{a0}MB"),
            (999_999, "1\u{a0}MB"),
            (28_000_000_000, "28\u{a0}GB"),
        ] {
            assert_eq!(size(&ENGLISH, bytes), en);
        }
        assert_eq!(size(&FRENCH, 1_540_000), "1,5\u{a0}Mo");
        assert_eq!(size(&ENGLISH, u64::MAX), "18446744\u{a0}TB");
        assert_eq!(duration(187_400), "3:07");
        assert_eq!(duration(3_723_000), "1:02:03");
        assert_eq!(duration(u32::MAX), "1193:02:47");
        assert_eq!(date(&ENGLISH, "2026-11-03T10:00:00Z"), "3 November 2026");
        assert_eq!(date(&FRENCH, "2026-08-01T10:00:00Z"), "1er août 2026");
        for odd in ["", "soon", "2026-13-01", "2026-00-01", "ééééééé", "<b>26-01-01"] {
            assert_eq!(date(&ENGLISH, odd), odd);
        }
    }

    #[test]
    fn every_kind_reads_back_from_its_name() {
        for k in KINDS {
            assert_eq!(kind_of(kind_name(k)), Some(k));
        }
        assert_eq!(kind_of("Album"), None);
    }
}
