//! The printable sheet: HTML for A4, ten cards a page, each with its code in letters and as a QR code.

use std::fmt::Write as _;

use fondaco_sdk::{Error, Result, settings};
use qrcodegen::{QrCode, QrCodeEcc};

use crate::issue::Issue;

/// Cards on a page: two columns of five.
const CARDS_A_PAGE: usize = 10;
/// White modules around a QR code (ISO/IEC 18004).
const QUIET_ZONE: i32 = 4;

const STYLE: &str = "
@page { size: A4; margin: 8mm 8mm 10mm }
* { box-sizing: border-box }
body { margin: 0; font: 7.5pt/1.3 system-ui, 'Liberation Sans', Arial, sans-serif; color: #000; background: #fff }
.page { display: grid; grid-template-columns: 1fr 1fr; grid-auto-rows: 55mm; break-after: page }
.page:last-child { break-after: auto }
.card { border: .2mm dashed #777; padding: 3mm; display: grid; grid-template: auto 1fr auto / 33mm 1fr; gap: 1.5mm 3mm; break-inside: avoid; overflow: hidden }
h2 { grid-column: 1 / 3; margin: 0; font-size: 10pt; display: flex; justify-content: space-between; gap: 3mm }
h2 b { white-space: nowrap }
svg { width: 33mm; height: 33mm; align-self: center }
.code { font: 6.6pt/1.35 'Liberation Mono', 'DejaVu Sans Mono', Consolas, monospace; margin: 0 0 1mm }
.code span { white-space: nowrap }
p { margin: 0 }
.how { font-size: 6.4pt; line-height: 1.25 }
small { grid-column: 1 / 3; font-size: 6pt; display: flex; justify-content: space-between; gap: 3mm }
@media screen { body { max-width: 210mm; margin: 5mm auto } }
";

/// The sheet of a batch.
pub fn html(issue: &Issue) -> Result<String> {
    let brand = settings::brand();
    let title = issue.printed.title.as_deref().unwrap_or_default();
    let name = [&brand.name, title].into_iter().filter(|t| !t.is_empty()).map(escape).collect::<Vec<_>>().join(" · ");
    let shop = escape(brand.base_url.trim_start_matches("https://").trim_end_matches('/'));
    let codes = issue.codes()?;
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{name}: {}</title>\n<style>{STYLE}</style>\n",
        escape(issue.value.to_string())
    );
    let value = escape(issue.value.to_string());
    let expiry = match issue.printed.expires {
        Some(day) => format!("Good until · <span lang=\"fr\">valable jusqu'au</span> {day}"),
        None => "No expiry · <span lang=\"fr\">sans date limite</span>".into(),
    };
    for page in codes.chunks(CARDS_A_PAGE) {
        html.push_str("<section class=\"page\">\n");
        for (id, text) in page {
            let _ = writeln!(
                html,
                "<article class=\"card\"><h2><span>{name}</span><b>{value}</b></h2>{}\
                 <div><p class=\"code\">{}</p><p class=\"how\">At the checkout of {shop} choose Voucher and type or scan this \
                 code. Each code is good once; if it is worth more than the order, you get a new code for the rest.</p>\
                 <p class=\"how\" lang=\"fr\">Au paiement sur {shop}, choisissez « Bon prépayé » et saisissez ou scannez ce \
                 code. Chaque code sert une fois ; s'il vaut plus que la commande, vous recevez un nouveau code pour le \
                 reste.</p></div><small><span>{id}</span><span>{expiry}</span></small></article>",
                qr(text)?,
                groups(text),
            );
        }
        html.push_str("</section>\n");
    }
    html.push_str("</html>\n");
    Ok(html)
}

/// The groups of a code, so that a line never ends within one.
fn groups(text: &str) -> String {
    text.split('-').map(|group| format!("<span>{group}</span>")).collect::<Vec<_>>().join("-<wbr>")
}

/// The code as a QR code. Without hyphens: what is left is all of the alphanumeric mode, 5.5 bits a digit.
fn qr(text: &str) -> Result<String> {
    let digits = text.replace('-', "");
    let code = QrCode::encode_text(&digits, QrCodeEcc::Medium)
        .map_err(|e| Error::Internal(format!("the code fits no QR code: {e}")))?;
    let size = code.size();
    let mut path = String::new();
    for y in 0..size {
        let mut x = 0;
        while x < size {
            let run = (x..size).take_while(|x| code.get_module(*x, y)).count();
            let run = i32::try_from(run).unwrap_or(0);
            if run > 0 {
                let _ = write!(path, "M{x} {y}h{run}v1h-{run}z");
            }
            x += run + 1;
        }
    }
    let (from, whole) = (-QUIET_ZONE, size + 2 * QUIET_ZONE);
    Ok(format!(
        "<svg viewBox=\"{from} {from} {whole} {whole}\" role=\"img\" aria-label=\"QR code\" \
         shape-rendering=\"crispEdges\"><path d=\"{path}\"/></svg>"
    ))
}

fn escape(text: impl AsRef<str>) -> String {
    let mut out = String::new();
    for c in text.as_ref().chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}
