//! The operator's tools: printing codes, looking one up, and reckoning what is owed.

use std::fmt::Write as _;

use fondaco_schemas::Money;
use fondaco_sdk::{Document, Error, Operator, Parameter, Result, Tool};

use crate::batch::{CHANGE, FIRST_PRINTED, Printed, printed};
use crate::clock::{Day, now, stamp};
use crate::code::Code;
use crate::issue::Issue;
use crate::payment::Payment;
use crate::{Voucher, outstanding, redeem, sheet};

/// Most codes on one sheet: what is drawn within the time that a call has.
pub const MAX_SHEET: u32 = 100;
/// Most codes in one list.
pub const MAX_LIST: u32 = 1000;
/// Longest title of a batch, in characters.
const MAX_TITLE: usize = 60;

impl Operator for Voucher {
    fn tools() -> Vec<Tool> {
        let parameter =
            |name: &str, summary: &str, required| Parameter { name: name.into(), summary: summary.into(), required };
        let tool =
            |name: &str, summary: &str, parameters| Tool { name: name.into(), summary: summary.into(), parameters };
        let batch = |most: u32| {
            vec![
                parameter("value", "what each code is worth, such as \"10.00 EUR\"", false),
                parameter("count", &format!("how many, at most {most}"), false),
                parameter(
                    "expires",
                    "the last day on which they are good, such as 2030-12-31; default: for good",
                    false,
                ),
                parameter("title", "what to call them, on the cards and in the books", false),
                parameter("batch", "give out this batch again, in place of a new one", false),
            ]
        };
        vec![
            tool("sheet", "issue codes as a printable page (HTML for A4, ten cards a page)", batch(MAX_SHEET)),
            tool("codes", "issue codes as plain text, one a line", batch(MAX_LIST)),
            tool("status", "say what became of a code", vec![parameter("code", "the code", true)]),
            tool("outstanding", "sum up what is issued and not redeemed, by asset and batch", Vec::new()),
            tool(
                "refund-code",
                "give out the codes that a payment was paid back with",
                vec![
                    parameter("payment", "the payment's id", true),
                    parameter("key", "only the refund of this key", false),
                ],
            ),
        ]
    }

    fn run(tool: &str, input: &[(String, String)]) -> Result<Document> {
        let given = |name: &str| input.iter().find(|(n, _)| n == name).map(|(_, v)| v.trim()).filter(|v| !v.is_empty());
        let needed = |name: &str| given(name).ok_or_else(|| Error::Invalid(format!("{tool} needs {name}=…")));
        let plain = |name: &str, text: String| document("text/plain; charset=utf-8", name, text);
        match tool {
            "sheet" => {
                let issue = batch(tool, input, MAX_SHEET)?;
                let name = format!("vouchers-{:08x}.html", issue.number);
                Ok(document("text/html; charset=utf-8", &name, sheet::html(&issue)?))
            }
            "codes" => {
                let issue = batch(tool, input, MAX_LIST)?;
                let lines = issue.codes()?.into_iter().fold(String::new(), |lines, (_, text)| lines + &text + "\n");
                Ok(plain(&format!("vouchers-{:08x}.txt", issue.number), lines))
            }
            "status" => Ok(plain("status.txt", status(needed("code")?, Day::of(now()))?)),
            "outstanding" => Ok(plain("outstanding.txt", outstanding::report(Day::of(now()))?)),
            "refund-code" => Ok(plain("refund.txt", refund_codes(needed("payment")?, given("key"))?)),
            other => Err(Error::Invalid(format!("there is no tool {other:?}"))),
        }
    }
}

fn document(media_type: &str, file_name: &str, text: String) -> Document {
    Document { media_type: media_type.into(), file_name: file_name.into(), body: text.into_bytes() }
}

/// The batch that the parameters name: a new one, or one that was issued before.
fn batch(tool: &str, input: &[(String, String)], most: u32) -> Result<Issue> {
    let given = |name: &str| input.iter().find(|(n, _)| n == name).map(|(_, v)| v.trim()).filter(|v| !v.is_empty());
    let needed = |name: &str| given(name).ok_or_else(|| Error::Invalid(format!("{tool} needs {name}=… (or batch=…)")));
    if let Some(number) = given("batch") {
        if input.iter().any(|(n, _)| n != "batch") {
            return Err(Error::Invalid(format!("batch={number} goes without any other parameter")));
        }
        let number = u32::from_str_radix(number, 16).ok().filter(|n| *n >= FIRST_PRINTED);
        let number = number.ok_or_else(|| Error::Invalid("a batch has eight hexadecimal digits".into()))?;
        let issue = Issue::again(number)?;
        if issue.printed.count > most {
            let count = issue.printed.count;
            return Err(Error::Invalid(format!(
                "this batch has {count} codes, and {tool} gives out at most {most}: use codes"
            )));
        }
        return Ok(issue);
    }
    let value: Money = needed("value")?.parse().map_err(|e| Error::Invalid(format!("value: {e}")))?;
    let count = needed("count")?.parse().ok().filter(|c| (1..=most).contains(c));
    let count = count.ok_or_else(|| Error::Invalid(format!("count: {tool} issues 1 to {most} codes at a time")))?;
    let expires = match given("expires") {
        Some(text) => {
            let day = Day::parse(text)
                .ok_or_else(|| Error::Invalid(format!("expires: {text:?} is no date: write 2030-12-31")))?;
            if day < Day::of(now()) {
                return Err(Error::Invalid(format!("expires: {day} is over")));
            }
            Some(day)
        }
        None => None,
    };
    let title = given("title").map(str::to_owned);
    if title.as_deref().is_some_and(|t| t.chars().count() > MAX_TITLE || t.chars().any(char::is_control)) {
        return Err(Error::Invalid(format!("title: write at most {MAX_TITLE} characters on one line")));
    }
    let each = value.minor;
    Issue::new(value, Printed { each, count, expires, title, at: stamp(now()) })
}

/// What became of a code, in words.
fn status(text: &str, today: Day) -> Result<String> {
    let code = match Code::read(text)? {
        Ok(code) => code,
        Err(refusal) => return Ok(format!("{}\n", refusal.text("en"))),
    };
    let mut words = match (redeem::used(code.id)?, code.expires) {
        (Some(used), _) => format!("used on {} for payment {}\n", used.at, used.payment),
        (None, Some(day)) if today > day => format!("expired unused: it was good until {day}\n"),
        (None, Some(day)) => format!("good until {day}\n"),
        (None, None) => "good, without expiry\n".to_owned(),
    };
    let origin = match code.id.batch {
        CHANGE => "change from a payment".to_owned(),
        batch if batch < FIRST_PRINTED => "a refund".to_owned(),
        batch => match printed(batch)? {
            Some((_, Printed { title: Some(title), .. })) => format!("batch {batch:08x} {title:?}"),
            Some(_) => format!("batch {batch:08x}"),
            None => format!("batch {batch:08x}, which the books do not know"),
        },
    };
    let _ = writeln!(words, "worth {}; {}; from {origin}", code.value, code.id);
    Ok(words)
}

/// The codes of a payment's refunds, one a line: code, value, key.
fn refund_codes(id: &str, key: Option<&str>) -> Result<String> {
    let payment = Payment::load(id)?;
    let refunds = payment.facts().refunds.iter().filter(|r| key.is_none_or(|key| r.key == key));
    let mut lines = String::new();
    for refund in refunds {
        let _ = writeln!(lines, "{}  {}  {}", refund.text, payment.money(refund.minor), refund.key);
    }
    if lines.is_empty() {
        return Err(Error::Invalid(format!("payment {id} has no such refund")));
    }
    Ok(lines)
}

#[cfg(test)]
#[path = "tools_tests.rs"]
mod tests;
