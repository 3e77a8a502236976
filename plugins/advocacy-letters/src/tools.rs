//! What the operator may have it do.

use fondaco_sdk::{Document, Error, Parameter, Result, Tool};

use crate::day::Now;
use crate::{data, press, signature, store};

fn parameter(name: &str, summary: &str, required: bool) -> Parameter {
    Parameter { name: name.to_owned(), summary: summary.to_owned(), required }
}

fn tool(name: &str, summary: &str, parameters: Vec<Parameter>) -> Tool {
    Tool { name: name.to_owned(), summary: summary.to_owned(), parameters }
}

/// All tools.
pub fn list() -> Vec<Tool> {
    let mail = || vec![parameter("mail", "the person's mail address", true)];
    vec![
        tool("check", "reads every campaign and target pack, and shows what is wrong with them", Vec::new()),
        tool("counts", "how many took part, as CSV: by campaign, action, class of evidence and placement", Vec::new()),
        tool(
            "press",
            "makes a poster, flyer or advertisement that is ready for print, as HTML",
            vec![
                parameter("campaign", "its id", true),
                parameter("format", "poster-a4, flyer-a6 or advert-quarter", true),
                parameter("audience", "such as public or industry", true),
                parameter("placement", "where it will hang or run: 1 to 32 of a-z, 0-9 and '-'", true),
                parameter("locale", "such as en or fr; absent: the deployment's", false),
            ],
        ),
        tool("export-person", "what is held on the owner of a mail address, as JSON", mail()),
        tool("erase-person", "erases what is held on the owner of a mail address", mail()),
    ]
}

/// Runs a tool.
pub fn run(name: &str, input: &[(String, String)], now: Now) -> Result<Document> {
    let given = |name: &str| input.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    let needed = |name: &str| given(name).ok_or_else(|| Error::Invalid(format!("parameter {name:?} is missing")));
    match name {
        "check" => check(),
        "counts" => counts(),
        "press" => {
            let (id, format, audience) = (needed("campaign")?, needed("format")?, needed("audience")?);
            press::press(id, format, given("locale").unwrap_or_default(), audience, needed("placement")?, now)
        }
        "export-person" => signature::export(needed("mail")?),
        "erase-person" => {
            let erased = signature::erase(needed("mail")?, now)?;
            Ok(text("erased.txt", format!("{erased} erased\n")))
        }
        _ => Err(Error::NotFound),
    }
}

fn text(file_name: &str, body: String) -> Document {
    Document {
        media_type: "text/plain; charset=utf-8".to_owned(),
        file_name: file_name.to_owned(),
        body: body.into_bytes(),
    }
}

fn check() -> Result<Document> {
    let (files, problems) = data::check()?;
    let mut report = match problems.len() {
        0 => format!("{files} files read, no mistake\n"),
        _ => format!("{files} files read, and these mistakes found; what is named here is not shown to people\n"),
    };
    for problem in problems {
        report.push_str(&problem);
        report.push('\n');
    }
    Ok(text("check.txt", report))
}

fn counts() -> Result<Document> {
    let mut csv = String::from("campaign,action,class,placement,n\r\n");
    for c in store::counters(None)? {
        let cells = [c.campaign.as_str(), &c.action, store::class_name(c.class), &c.placement, &c.n.to_string()];
        csv.push_str(&cells.map(cell).join(","));
        csv.push_str("\r\n");
    }
    Ok(Document {
        media_type: "text/csv; charset=utf-8".to_owned(),
        file_name: "counts.csv".to_owned(),
        body: csv.into_bytes(),
    })
}

/// A field of CSV (RFC 4180). Visitors name placements, and spreadsheets run what begins like a formula: an apostrophe
/// before it makes it text.
fn cell(value: &str) -> String {
    let guarded =
        if value.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{value}") } else { value.to_owned() };
    if guarded.contains([',', '"', '\n', '\r']) { format!("\"{}\"", guarded.replace('"', "\"\"")) } else { guarded }
}

#[cfg(test)]
#[path = "tools_tests.rs"]
mod tests;
