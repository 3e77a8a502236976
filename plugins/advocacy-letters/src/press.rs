//! Printed pieces: one page of HTML each, at its true size, with bleed and crop marks and a QR code of its own, so that
//! the readers of each paper, wall and shop window can be counted. A browser prints it, or makes the PDF for the printer.

use std::fmt::Write;

use fondaco_sdk::{Document, Error, Result, settings};
use qrcodegen::{QrCode, QrCodeEcc};

use crate::day::Now;
use crate::fill::fill;
use crate::name::{Locale, Placement};
use crate::settings::Settings;
use crate::{data, view, words};

/// How far colour runs over the trim, in millimetres.
const BLEED: u32 = 3;
/// Room around the bleed for the crop marks, in millimetres.
const SLUG: u32 = 7;
/// Smallest QR code that a telephone reads off paper at arm's length, in millimetres.
const MIN_QR: u32 = 20;
/// Empty modules around a QR code (ISO/IEC 18004 §9.1).
const QUIET: i32 = 4;

/// What can be printed: its name, width and height after trimming, in millimetres.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    name: &'static str,
    width: u32,
    height: u32,
}

/// All formats. A quarter page is one of a tabloid newspaper.
pub const FORMATS: [Format; 3] = [
    Format { name: "poster-a4", width: 210, height: 297 },
    Format { name: "flyer-a6", width: 105, height: 148 },
    Format { name: "advert-quarter", width: 128, height: 185 },
];

impl Format {
    /// The format of this name.
    fn named(name: &str) -> Result<Self> {
        let names = || FORMATS.map(|f| f.name).join(", ");
        let found = FORMATS.into_iter().find(|f| f.name == name);
        found.ok_or_else(|| Error::Invalid(format!("unknown format {:?}; known are {}", short(name), names())))
    }
}

fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

/// Makes a piece for one audience and one placement.
pub fn press(id: &str, format: &str, asked: &str, audience: &str, placement: &str, now: Now) -> Result<Document> {
    let campaign = view::opened(id, now)?;
    let format = Format::named(format)?;
    let placement: Placement = placement.parse().map_err(|why| Error::Invalid(format!("placement: {why}")))?;
    let Some(found) = campaign.find_audience(audience) else {
        let known = campaign.audiences.iter().map(|a| a.id.as_str()).collect::<Vec<_>>().join(", ");
        return Err(Error::Invalid(format!("unknown audience {:?}; known are {known}", short(audience))));
    };
    let locale = view::locale(&campaign, asked);
    let words = data::words(found, locale)?;
    let brand = settings::brand();
    let address = Settings::read()?.campaign(&campaign.id, Some(&placement));
    let values = [("brand", brand.name.as_str())];
    let piece = Piece {
        locale,
        title: &words.title,
        claim: fill(&words.claim, &values),
        proof: view::proof(&campaign, words, locale.as_str()),
        call: fill(&words.call, &values),
        brand: &brand.name,
        colour: colour(&brand.colors),
        notice: notice(&view::notice(&campaign), locale.as_str()),
        code: code(&address)?,
        address: address.split_once("://").map_or(address.as_str(), |(_, rest)| rest).to_owned(),
    };
    Ok(Document {
        media_type: "text/html; charset=utf-8".to_owned(),
        file_name: format!("{}-{}-{}-{locale}-{placement}.html", campaign.id, found.id, format.name),
        body: piece.page(format)?.into_bytes(),
    })
}

/// The brand's own colour, where it is one that can stand in a style sheet as it is.
fn colour(colours: &[(String, String)]) -> &str {
    let is_hex = |c: &str| c.len() == 7 && c.starts_with('#') && c.bytes().skip(1).all(|b| b.is_ascii_hexdigit());
    let named = |name: &str| colours.iter().find(|(n, c)| n == name && is_hex(c));
    named("accent").or_else(|| named("primary")).map_or("#000000", |(_, c)| c)
}

/// Who is behind it and who paid: printed on every piece.
fn notice(notice: &fondaco_sdk::Notice, locale: &str) -> String {
    let paid = if notice.paid { words::paid(locale) } else { words::unpaid(locale) };
    format!(
        "{} {}. {paid} {} {}. {} {}",
        words::sponsor(locale),
        notice.sponsor,
        words::process(locale),
        notice.process,
        words::notice(locale),
        notice.url
    )
}

/// The address as a QR code, in SVG. A quarter of it may be damaged or dirty.
fn code(address: &str) -> Result<String> {
    let qr = QrCode::encode_text(address, QrCodeEcc::Quartile).map_err(|_| {
        Error::Invalid("the campaign's address is too long for a QR code; shorten campaign-url".to_owned())
    })?;
    let side = qr.size() + 2 * QUIET;
    let mut path = String::new();
    for y in 0..qr.size() {
        for x in (0..qr.size()).filter(|x| qr.get_module(*x, y)) {
            write!(path, "M{},{}h1v1h-1z", x + QUIET, y + QUIET).map_err(written)?;
        }
    }
    Ok(format!(
        "<svg class=\"code\" viewBox=\"0 0 {side} {side}\" shape-rendering=\"crispEdges\" role=\"img\" aria-label=\"{}\">\
         <path fill=\"#ffffff\" d=\"M0,0h{side}v{side}h-{side}z\"/><path fill=\"#000000\" d=\"{path}\"/></svg>",
        escape(address)
    ))
}

fn written(error: std::fmt::Error) -> Error {
    Error::Internal(error.to_string())
}

struct Piece<'a> {
    locale: &'a Locale,
    title: &'a str,
    claim: String,
    proof: String,
    call: String,
    brand: &'a str,
    colour: &'a str,
    notice: String,
    code: String,
    address: String,
}

impl Piece<'_> {
    /// The sheet. All lengths are millimetres; type grows with the width of the piece.
    fn page(&self, format: Format) -> Result<String> {
        let Format { width, height, name } = format;
        let edge = BLEED + SLUG;
        let (sheet_width, sheet_height) = (width + 2 * edge, height + 2 * edge);
        let margin = (width / 14).max(6);
        let qr = (width / 5).max(MIN_QR);
        // Tenths of a millimetre, for a piece as wide as A4: a long claim is set smaller, so that it stays on the page.
        let claim = match self.claim.chars().count() {
            0..=30 => 260,
            31..=60 => 190,
            61..=110 => 140,
            _ => 100,
        };
        let type_size = |tenths: u32| {
            let tenths = (tenths * width / 210).max(20);
            format!("{}.{}mm", tenths / 10, tenths % 10)
        };
        let mut page = String::new();
        write!(
            page,
            "<!doctype html>\n<html lang=\"{locale}\"><head><meta charset=\"utf-8\"><title>{title} ({name})</title>\n<style>\n\
             @page {{ size: {sheet_width}mm {sheet_height}mm; margin: 0 }}\n\
             * {{ box-sizing: border-box; margin: 0 }}\n\
             html {{ print-color-adjust: exact; -webkit-print-color-adjust: exact }}\n\
             body {{ position: relative; width: {sheet_width}mm; height: {sheet_height}mm; overflow: hidden; background: #fff; color: #000; font-family: Georgia, \"Times New Roman\", serif; overflow-wrap: anywhere }}\n\
             .bleed {{ position: absolute; inset: {SLUG}mm; overflow: hidden }}\n\
             .band {{ position: absolute; top: 0; left: 0; right: 0; height: {band}mm; background: {colour} }}\n\
             .trim {{ position: absolute; inset: {BLEED}mm; padding: {top}mm {margin}mm {margin}mm; display: flex; flex-direction: column; gap: {gap}mm }}\n\
             h1 {{ font-size: {claim_size}; line-height: 1.05; letter-spacing: -.01em }}\n\
             .title {{ font-size: {small}; font-style: italic }}\n\
             .proof {{ font-size: {large}; line-height: 1.25 }}\n\
             .foot {{ margin-top: auto; display: flex; gap: {gap}mm; align-items: flex-end }}\n\
             .call {{ flex: 1; font-size: {large}; line-height: 1.25; font-weight: bold }}\n\
             .address {{ display: block; margin-top: 1mm; font: {tiny}/1.3 monospace }}\n\
             .code {{ flex: none; width: {qr}mm; height: {qr}mm }}\n\
             .notice {{ border-top: .2mm solid; padding-top: 1mm; font: {tiny}/1.3 Arial, Helvetica, sans-serif }}\n\
             .marks {{ position: absolute; inset: 0; width: {sheet_width}mm; height: {sheet_height}mm }}\n\
             </style></head>\n<body>\n<div class=\"bleed\"><div class=\"band\"></div><main class=\"trim\">\n\
             <p class=\"title\">{title}</p>\n<h1>{claim_text}</h1>\n<p class=\"proof\">{proof}</p>\n\
             <div class=\"foot\"><p class=\"call\">{call} <span class=\"address\">{address}</span></p>{code}</div>\n\
             <p class=\"notice\">{brand}. {notice}</p>\n</main></div>\n{marks}\n</body></html>\n",
            locale = self.locale,
            title = escape(self.title),
            band = BLEED + margin,
            colour = self.colour,
            top = 2 * margin,
            gap = margin / 2,
            claim_size = type_size(claim),
            small = type_size(55),
            large = type_size(60),
            tiny = type_size(28),
            claim_text = escape(&self.claim),
            proof = escape(&self.proof),
            call = escape(&self.call),
            address = escape(&self.address),
            code = self.code,
            brand = escape(self.brand),
            notice = escape(&self.notice),
            marks = marks(format)?,
        )
        .map_err(written)?;
        Ok(page)
    }
}

/// Two lines at each corner show where to cut; they end where the bleed begins.
fn marks(format: Format) -> Result<String> {
    let edge = BLEED + SLUG;
    let (width, height) = (format.width + 2 * edge, format.height + 2 * edge);
    let mut path = String::new();
    for x in [edge, width - edge] {
        write!(path, "M{x},1V{SLUG}M{x},{}V{}", height - 1, height - SLUG).map_err(written)?;
    }
    for y in [edge, height - edge] {
        write!(path, "M1,{y}H{SLUG}M{},{y}H{}", width - 1, width - SLUG).map_err(written)?;
    }
    Ok(format!(
        "<svg class=\"marks\" viewBox=\"0 0 {width} {height}\" aria-hidden=\"true\">\
         <path d=\"{path}\" fill=\"none\" stroke=\"#000000\" stroke-width=\".1\"/></svg>"
    ))
}

/// Text for HTML, in elements and quoted attributes.
fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
        out
    })
}

#[cfg(test)]
#[path = "press_tests.rs"]
mod tests;
