//! `cargo fondaco verify --rebuild`: does a bundle come of the sources that it is said to come of? The sources are built
//! and packed again, and every file is compared. Whether they are the sources that one has read is for a person to know.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use fondaco_schemas::Manifest;
use fondaco_schemas::manifest::{MANIFEST_FILE, SIGNATURE_FILE};
use fondaco_trust::Bundle;
use serde_json::json;
use time::OffsetDateTime;

use crate::error::Error;
use crate::pack::{self, Source};
use crate::report::{Report, progress};

/// Builds the sources and compares. `verified` is what was found out about the signatures, if that was asked.
pub fn run(path: &Path, bytes: Vec<u8>, sources: &Path, verified: Option<Report>) -> Result<Report, Error> {
    let parse = |bytes| Bundle::parse(bytes).map_err(|e| Error::Bundle(path.to_owned(), e));
    let bundle = parse(bytes)?;
    let text = bundle.get(MANIFEST_FILE).map(|m| String::from_utf8_lossy(m).into_owned()).unwrap_or_default();
    let given = Manifest::parse_packed(&text)?;
    let request = pack::request(sources)?;
    // A bundle of an older or another plugin differs in everything, and one line says it better.
    if (&request.id, &request.version) != (&given.id, &given.version) {
        let other = format!(
            ": it is {} {}, and {} holds {} {}; name its sources with --path",
            given.id,
            given.version,
            sources.display(),
            request.id,
            request.version
        );
        return Err(Error::OtherBytes(path.to_owned(), other));
    }
    let released = given.released.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (built, again) = pack::unsigned(sources, request, released, Source::Build)?;
    let again = parse(again)?;

    let toolchains =
        (given.toolchain.unwrap_or_else(|| "no toolchain".to_owned()), built.toolchain.unwrap_or_default());
    if toolchains.0 != toolchains.1 {
        progress(&format!(
            "it was built with {}, and this is {}: the bytes may differ for that alone",
            toolchains.0, toolchains.1
        ));
    }
    let paths: BTreeSet<&str> = bundle.paths().chain(again.paths()).map(fondaco_schemas::BundlePath::as_str).collect();
    let (mut rows, mut lines, mut equal) = (Vec::new(), String::new(), true);
    for file in paths.into_iter().filter(|p| *p != SIGNATURE_FILE) {
        let (one, two) = (bundle.get(file), again.get(file));
        let outcome = match (one, two) {
            (Some(a), Some(b)) if a == b => "equal".to_owned(),
            (Some(a), Some(b)) => {
                let at = a.iter().zip(b).position(|(x, y)| x != y).unwrap_or_else(|| a.len().min(b.len()));
                format!("differs from byte {at} ({} bytes in the bundle, {} from the sources)", a.len(), b.len())
            }
            (Some(_), None) => "is in the bundle alone".to_owned(),
            (None, _) => "comes of the sources alone".to_owned(),
        };
        equal &= outcome == "equal";
        // Writing to a string never fails.
        let _ = write!(lines, "\n  {file:<32} {outcome}");
        let digest = |bytes: Option<&[u8]>| bytes.map(|b| blake3::hash(b).to_string());
        rows.push(json!({ "path": file, "outcome": outcome, "bundle": digest(one), "sources": digest(two) }));
    }
    if !equal {
        progress(&format!("built with {}{lines}", toolchains.1));
        let hint = match toolchains {
            (one, two) if one != two => ": it was built with another toolchain",
            // ComponentizeJS issue 321, componentize-py issue 247.
            (one, _) if one.starts_with("componentize-") => {
                ": its tool snapshots a running interpreter, so that no two builds have the same plugin.wasm"
            }
            _ => "",
        };
        return Err(Error::OtherBytes(path.to_owned(), format!("{hint}, file by file as above")));
    }
    let (before, mut json) = verified.map_or_else(
        || ("signatures were not looked at: name whom you trust with --public or --trust".to_owned(), json!({})),
        |r| (r.text, r.json),
    );
    if let Some(json) = json.as_object_mut() {
        json.insert("rebuilt".to_owned(), json!({ "equal": equal, "toolchain": toolchains.1, "files": rows }));
    }
    Ok(Report { text: format!("{before}\n\nthe sources give the same bytes, with {}{lines}", toolchains.1), json })
}
