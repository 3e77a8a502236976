//! What it tries with the node's own functions, as tools that the test runs.

use fondaco_sdk::{
    Document, Error, Operator, Parameter, Participation, Query, Reach, Result, Sort, Tool, assets, blobs, campaigns,
    catalogue, commerce, discovery, keys, mail, settings, storage,
};

use crate::{Rogue, spin};

const TOOLS: [&str; 10] = ["secret", "derive", "public", "write", "read", "fill", "session", "asset", "odd", "spin"];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

fn put(key: &[u8], value: Vec<u8>) -> Result<()> {
    storage::apply(&[storage::Write::Put(storage::Entry { key: key.to_vec(), value })])
}

/// Writes until the node takes no more, and says how much that was.
fn fill() -> Result<String> {
    for n in 0_u32..4_096 {
        if let Err(error) = put(format!("fill/{n}").as_bytes(), vec![7; 64 << 10]) {
            // What was there before is still there.
            let kept = storage::get(b"fill/0")?.map_or(0, |v| v.len());
            return Ok(format!("{n} values of 64 KiB, then {error:?}; the first still has {kept} bytes"));
        }
    }
    Ok("no end".into())
}

/// Acts in the name of a session that is not this plugin's to act for.
fn session(handle: &str) -> String {
    let tried = [
        commerce::library(handle).map(|l| l.len().to_string()),
        commerce::checkout(handle, "x/y", "buy", "k").map(|o| o.id),
        commerce::get_order(handle, "ord_x").map(|o| o.id),
        commerce::delivery_url(handle, "ent_x", "a"),
        campaigns::take_part(&participation(handle)).map(|_| "taken".to_owned()),
    ];
    format!("{tried:?}")
}

fn query(text: &str) -> Query {
    Query {
        text: text.into(),
        kinds: Vec::new(),
        tags: vec![String::new(); 100],
        language: Some("\u{0}".into()),
        max_price: None,
        drm_free: false,
        facets: vec!["\u{ffff}".into(); 100],
        sort: Sort::Price,
        cursor: Some("\u{1}cursor".into()),
        limit: u32::MAX,
        reach: Reach::Everyone,
        wait_ms: u32::MAX,
    }
}

/// Every function of the node with arguments that nobody means. Each must answer; how many did.
fn odd() -> String {
    let texts =
        ["", "\0", "../..", "\u{202e}", "a".repeat(70_000).leak(), "1/2/3", "%00", "-1", "9999-99-99T99:99:99Z"];
    let mut answers: Vec<bool> = Vec::new();
    for text in texts {
        let bytes = text.as_bytes();
        answers.push(storage::get(bytes).is_ok());
        answers.push(storage::scan(bytes, b"", u32::MAX).is_ok());
        answers.push(storage::scan(b"\xff\xff", bytes, 0).is_ok());
        answers.push(put(bytes, Vec::new()).is_ok());
        answers.push(
            storage::apply(&[
                storage::Write::Check((bytes.to_vec(), Some(bytes.to_vec()))),
                storage::Write::Delete(bytes.to_vec()),
            ])
            .is_ok(),
        );
        answers.push(catalogue::get(text).is_ok());
        answers.push(catalogue::browse(Some(text), u32::MAX).is_ok());
        answers.push(blobs::read(text, u64::MAX, u32::MAX).is_ok());
        answers.push(blobs::read(&"0".repeat(64), u64::MAX, 1).is_ok());
        answers.push(keys::derive(text).is_ok());
        answers.push(keys::sign(text, bytes).is_ok());
        answers.push(keys::verify(text, bytes, bytes).is_ok());
        answers.push(keys::public_key(text).is_ok());
        answers.push(keys::seal(text, bytes, bytes).is_ok());
        answers.push(keys::seal(&"00".repeat(32), bytes, bytes).is_ok());
        answers.push(keys::unseal(bytes, bytes).is_ok());
        answers.push(keys::hmac_sha256(text, bytes).is_ok());
        answers.push(keys::verify_hmac_sha256(text, bytes, bytes).is_ok());
        answers.push(settings::secret(text).is_ok());
        answers.push(discovery::search(&query(text)).is_ok());
        answers.push(discovery::suggest(text, u32::MAX).is_ok());
        answers.push(commerce::gateways(text, text).is_ok());
        answers.push(commerce::pay(text, text, text, &[]).is_ok());
        answers.push(commerce::count_purchases(Some(text), Some(text)).is_ok());
        answers.push(campaigns::running(text).is_ok());
        answers.push(campaigns::get(text, text, Some(text)).is_ok());
        answers.push(campaigns::targets(text, text, text).is_ok());
        answers.push(campaigns::press(text, text, text, text, text).is_ok());
        answers.push(campaigns::take_part(&participation(text)).is_ok());
        answers.push(assets::paths(text).is_ok());
        answers.push(assets::read(text).is_ok());
        answers.push(mail::send(&message(text)).is_ok());
    }
    format!("{} answers, {} of them good", answers.len(), answers.iter().filter(|good| **good).count())
}

fn participation(text: &str) -> Participation {
    Participation {
        campaign: text.into(),
        action: text.into(),
        session: text.into(),
        fields: vec![(text.into(), text.into())],
        targets: vec![text.into()],
        consents: Vec::new(),
        placement: Some(text.into()),
        token: Some(text.into()),
    }
}

fn message(text: &str) -> mail::Message {
    let one = || text.to_owned();
    mail::Message { to: one(), reply_to: None, subject: one(), text: one(), html: Some(one()), key: one() }
}

impl Operator for Rogue {
    fn tools() -> Vec<Tool> {
        let with = |name: &str| Parameter { name: name.into(), summary: "What to try".into(), required: false };
        let tool = |name: &&str| Tool {
            name: (*name).into(),
            summary: "An attack".into(),
            parameters: vec![with("name"), with("value")],
        };
        TOOLS.iter().map(tool).collect()
    }
    fn run(tool: &str, input: &[(String, String)]) -> Result<Document> {
        let one = |name: &str| input.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v.as_str());
        let name = one("name");
        let said = match tool {
            "secret" => format!("{:?}", settings::secret(name)),
            "derive" => hex(&keys::derive(name)?),
            "public" => hex(&keys::public_key(name)?),
            "write" => put(name.as_bytes(), one("value").as_bytes().to_vec()).map(|()| "written".to_owned())?,
            "read" => format!("{:?}", storage::get(name.as_bytes())?.map(|v| String::from_utf8_lossy(&v).into_owned())),
            "fill" => fill()?,
            "session" => session(name),
            "asset" => format!("{:?}", assets::read(name).map(|bytes| bytes.len())),
            "odd" => odd(),
            "spin" => spin(),
            _ => return Err(Error::NotFound),
        };
        Ok(Document { media_type: "text/plain".into(), file_name: "said.txt".into(), body: said.into_bytes() })
    }
}
