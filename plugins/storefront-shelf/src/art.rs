//! Covers for works that have none: set in type, in colours that follow from the title, the same each time.

use fondaco_sdk::settings::Brand;
use fondaco_sdk::{FileInfo, FileRole, Response, Work, WorkKind, encode};
use maud::{Markup, PreEscaped, html};

use crate::assets::fnv1a;

/// Ground, ink and mark of a cover; ink on ground keeps a contrast of at least 4.5.
const PALETTES: [[&str; 3]; 10] = [
    ["#14362b", "#f3efe2", "#e0a526"],
    ["#e9c46a", "#1d2b33", "#b3321b"],
    ["#b63a22", "#fff4ea", "#f1c27d"],
    ["#1f2f56", "#eef1fb", "#ef8354"],
    ["#dfe6e3", "#17302c", "#c8371b"],
    ["#5b2740", "#fbeef2", "#e8a87c"],
    ["#f0ddd0", "#33201a", "#1d6f6a"],
    ["#22313a", "#e7f1f0", "#7fc8a9"],
    ["#c9d8ee", "#14213d", "#d1495b"],
    ["#3d3a24", "#f6f2dc", "#c6d34a"],
];

/// The picture media types that every browser shows.
const PICTURES: [&str; 6] = ["image/jpeg", "image/png", "image/webp", "image/avif", "image/gif", "image/svg+xml"];

/// Where a public file of a work is.
pub fn file_path(file: &FileInfo) -> String {
    let name = file.path.rsplit('/').next().unwrap_or_default();
    format!("/files/{}/{}", encode(&file.hash), encode(name))
}

/// Where a work's cover is: its own file, or one that is drawn here.
pub fn cover_path(work: &Work) -> String {
    let own = work
        .files
        .iter()
        .find(|f| f.role == FileRole::Cover && f.protection.is_none() && PICTURES.contains(&f.media_type.as_str()));
    own.map_or_else(
        || {
            let (publisher, slug) = work.id.split_once('/').unwrap_or(("", &work.id));
            let release = work.release.get(..12).unwrap_or_default();
            format!("/art/{}/{}.svg?r={}", encode(publisher), encode(slug), encode(release))
        },
        file_path,
    )
}

/// Width and height of a drawn cover, as such things are cut.
pub const fn shape(kind: WorkKind) -> (u32, u32) {
    match kind {
        WorkKind::Book => (400, 600),
        WorkKind::Game | WorkKind::Software | WorkKind::NewspaperIssue => (450, 600),
        WorkKind::Video => (600, 400),
        WorkKind::Album | WorkKind::Track | WorkKind::PodcastEpisode | WorkKind::Other => (600, 600),
    }
}

/// The drawn cover of a work.
pub fn cover(work: &Work) -> Response {
    let (width, height) = shape(work.kind);
    let seed = fnv1a(work.title.as_bytes());
    let [ground, ink, mark] = pick(&PALETTES, seed);
    let lines = lines_of(&work.title, if width < 500 { 12 } else { 16 }, 5);
    let room = width - 80;
    let longest = lines.iter().map(|l| set_width(l)).max().unwrap_or(1).max(1);
    let type_size = (room * 100 / longest).clamp(12, 84);
    let creator = shortened(&work.creators.join(", "), room * 100 / 22);
    let svg = html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox={ "0 0 " (width) " " (height) } width=(width) height=(height) {
            rect width=(width) height=(height) fill=(ground) {}
            (figure(work.kind, seed, width, height, mark, ink))
            g fill=(ink) font-family="Iowan Old Style, Palatino Linotype, Palatino, P052, TeX Gyre Pagella, Georgia, serif" {
                @for (i, line) in (0_u32..).zip(&lines) {
                    text x="40" y=(44 + type_size + i * type_size * 11 / 10) font-size=(type_size) font-weight="700" { (line) }
                }
                text x="40" y=(height - 36) font-size="22" { (creator) }
            }
        }
    };
    Response::new("image/svg+xml", svg.into_string()).cache(86_400)
}

/// How wide a line is when it is set, in hundredths of the type's size, and rather more than less: which face a browser
/// has is not known here, so these are the widths of DejaVu Serif Bold, the widest of those that stand in for others.
fn set_width(line: &str) -> u32 {
    line.chars().map(glyph_width).sum()
}

const fn glyph_width(glyph: char) -> u32 {
    match glyph {
        'i' | 'j' | 'l' | '.' | ',' | ':' | ';' | '\'' | '|' | ' ' | '’' => 40,
        'f' | 'r' | 't' | 'I' | 'J' | '(' | ')' | '-' | '!' => 54,
        'm' | 'M' | 'W' | '…' => 113,
        'w' | 'O' | 'Q' | 'G' | 'D' | 'H' | 'K' | 'N' | 'U' | '@' | '%' | '&' => 98,
        '0'..='9' | 'a'..='z' => 73,
        'A'..='Z' => 88,
        // Others may be as wide as they are high, and capitals with marks are wider than most.
        _ => 105,
    }
}

/// As much of a line as fits into so many hundredths of its type's size.
fn shortened(line: &str, room: u32) -> String {
    let line = plain(line, 200);
    if set_width(&line) <= room {
        return line;
    }
    let (mut wide, mut kept) = (glyph_width('…'), String::new());
    for glyph in line.chars() {
        wide += glyph_width(glyph);
        if wide > room {
            break;
        }
        kept.push(glyph);
    }
    format!("{}…", kept.trim_end_matches([' ', ',']))
}

/// A figure in the lower part of a cover: grooves for what is heard, leaves for what is read, a lattice for what is played.
fn figure(kind: WorkKind, seed: u64, width: u32, height: u32, mark: &str, ink: &str) -> Markup {
    let turn = u32::try_from(seed >> 8 & 0xff).unwrap_or(0);
    let base = height * 62 / 100;
    match kind {
        WorkKind::Album | WorkKind::Track | WorkKind::PodcastEpisode => {
            let (cx, cy) = (width * (55 + turn % 30) / 100, base + height / 14);
            html! {
                g fill="none" stroke=(mark) {
                    @for ring in 0..9_u32 {
                        circle cx=(cx) cy=(cy) r=(34 + ring * (17 + turn % 7)) stroke-width=(2 + (turn >> (ring % 5)) % 9) {}
                    }
                }
                circle cx=(cx) cy=(cy) r="14" fill=(ink) {}
            }
        }
        WorkKind::Book | WorkKind::NewspaperIssue => html! {
            @for leaf in 0..7_u32 {
                @let indent = (turn >> (leaf % 6)) % 5 * width / 12;
                rect x=(40 + indent) y=(base - 40 + leaf * 30) width=(width - 80 - indent) height=(6 + turn % 8) fill=(mark) {}
            }
        },
        WorkKind::Game | WorkKind::Software | WorkKind::Other => {
            let cell = (width - 80) / 8;
            html! {
                g fill=(mark) {
                    @for place in 0..32_u32 {
                        @if seed.rotate_left(place * 7) & 0b101 != 0 {
                            rect x=(40 + place % 8 * cell) y=(base - cell / 2 + place / 8 * cell) width=(cell - 6) height=(cell - 6) {}
                        }
                    }
                }
            }
        }
        WorkKind::Video => html! {
            @for beam in 0..5_u32 {
                polygon fill=(mark) fill-opacity={ "0." (3 + beam) }
                    points={ (width) "," (height / 3) " " (width * (2 + beam * (1 + turn % 2)) / 10) "," (height) " "
                        (width * (3 + beam * (1 + turn % 2)) / 10) "," (height) } {}
            }
        },
    }
}

/// The brand's initial on its colour, for browsers' tabs.
pub fn icon(brand: &Brand) -> Response {
    let colour = |name: &str, default: &'static str| {
        let given = brand.colors.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
        given.filter(|v| is_hex_colour(v)).unwrap_or_else(|| default.to_owned())
    };
    let initial: String = plain(&brand.name, 1).to_uppercase();
    let svg = html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64" width="512" height="512" {
            rect width="64" height="64" rx="12" fill=(colour("brand", "#14452f")) {}
            text x="32" y="45" font-size="38" font-weight="700" font-family="Palatino, Georgia, serif" text-anchor="middle"
                fill=(colour("brand-contrast", "#ffffff")) { (initial) }
        }
    };
    Response::new("image/svg+xml", svg.into_string()).cache(3600)
}

fn is_hex_colour(value: &str) -> bool {
    value.strip_prefix('#').is_some_and(|v| matches!(v.len(), 3 | 6) && v.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn pick<T: Copy>(from: &[T; 10], seed: u64) -> T {
    let [first, ..] = from;
    // FNV's low digits lean on the last letters; a multiplication by the golden ratio's fraction spreads them.
    usize::try_from((seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % 10)
        .ok()
        .and_then(|i| from.get(i))
        .copied()
        .unwrap_or(*first)
}

/// At most so many characters, without those that XML does not allow.
pub fn plain(text: &str, limit: usize) -> String {
    let mut chars = text.chars().filter(|c| !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}'));
    let mut out: String = chars.by_ref().take(limit).collect();
    if limit > 1 && chars.next().is_some() {
        out.push('…');
    }
    out
}

/// Breaks a title between words; a line that is longer than `width` holds one word.
fn lines_of(title: &str, width: usize, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in plain(title, 120).split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(plain(word, 22)),
        }
    }
    if lines.len() > most {
        lines.truncate(most);
        lines.last_mut().into_iter().for_each(|l| l.push('…'));
    }
    lines
}

/// The payment address as a QR code (ISO/IEC 18004), drawn into the page; none where it is too long for one.
pub fn qr(content: &str, label: &str) -> Option<Markup> {
    let code = qrcodegen::QrCode::encode_text(content, qrcodegen::QrCodeEcc::Medium).ok()?;
    let size = code.size();
    let mut path = String::new();
    for y in 0..size {
        for x in (0..size).filter(|x| code.get_module(*x, y)) {
            // Four modules of quiet stand around it (§6.3.8).
            let _ = std::fmt::Write::write_fmt(&mut path, format_args!("M{} {}h1v1h-1z", x + 4, y + 4));
        }
    }
    let side = size + 8;
    Some(html! {
        svg.qr role="img" aria-label=(label) viewBox={ "0 0 " (side) " " (side) } shape-rendering="crispEdges" {
            rect width=(side) height=(side) fill="#fff" {}
            path fill="#000" d=(PreEscaped(path)) {}
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contrast(a: &str, b: &str) -> f64 {
        let light = |c: &str| {
            let part = |i| {
                let v = f64::from(u8::from_str_radix(&c[i..i + 2], 16).unwrap()) / 255.0;
                if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
            };
            0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5) + 0.05
        };
        let (a, b) = (light(a), light(b));
        a.max(b) / a.min(b)
    }

    #[test]
    fn titles_on_drawn_covers_can_be_read() {
        for [ground, ink, _] in PALETTES {
            assert!(contrast(ground, ink) >= 4.5, "{ground} {ink} {}", contrast(ground, ink));
        }
    }

    #[test]
    fn breaks_titles_between_words() {
        assert_eq!(lines_of("The Night of the Long Owls", 12, 5), ["The Night of", "the Long", "Owls"]);
        assert_eq!(lines_of("a b c d", 1, 3), ["a", "b", "c…"]);
        assert!(lines_of("", 12, 5).is_empty());
        assert_eq!(plain("a\u{1}b\u{ffff}c", 9), "abc");
    }

    #[test]
    fn covers_are_set_within_their_edges() {
        // Widths in DejaVu Serif Bold, measured in units of a thousandth of the type's size.
        for (line, measured) in [("Freedoom", 5596), ("Command: Music", 9749), ("Manual", 4233), ("WWWMMM", 6687)] {
            assert!(set_width(line) * 10 >= measured, "{line}");
        }
        assert_eq!(shortened("Ian Jackson", 1500), "Ian Jackson");
        let cut = shortened("Ian Jackson, Christian Schwarz, The Debian Policy Mailing List", 1450);
        assert!(cut.starts_with("Ian Jackson, Chr") && cut.ends_with('…') && set_width(&cut) <= 1450, "{cut}");
    }

    #[test]
    fn draws_a_qr_code_and_gives_up_on_what_is_too_long() {
        assert!(qr("bitcoin:bc1q", "code").unwrap().0.contains("<path"));
        assert!(qr(&"x".repeat(10_000), "code").is_none());
    }
}
