//! `cargo fondaco verify`: the same judgement that a node makes, and what the bundle says about itself.

use std::fmt::Write as _;

use fondaco_schemas::manifest::{MANIFEST_FILE, SIGNATURE_FILE};
use fondaco_schemas::problem::MAX_FILE_BYTES;
use fondaco_schemas::{Manifest, PluginKind, PublicKey, api};
use fondaco_trust::bundle::Bundle;
use fondaco_trust::dsse::{Envelope, MANIFEST_TYPE};
use fondaco_trust::verify::Host;
use fondaco_trust::{Refusal, TrustStore, Verified, check_public_key, key_id, verify};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::cli::Verify;
use crate::error::Error;
use crate::files::{read_bundle, read_text};
use crate::rebuild;
use crate::report::Report;

/// How the holder of a key that was named on the command line is called.
const THE_KEY: &str = "the key that was given";

/// Verifies a bundle's file.
pub fn run(options: &Verify) -> Result<Report, Error> {
    let path = || options.bundle.clone();
    let bytes = read_bundle(&options.bundle)?;
    if options.trust.is_none() && options.public.is_none() {
        return rebuild::run(&options.bundle, bytes, &options.path, None);
    }
    let again = options.rebuild.then(|| bytes.clone());
    let verified = match (&options.trust, &options.public) {
        (_, Some(public)) => {
            check_public_key(public)?;
            verify_by(bytes, public).map_err(|refusal| match *refusal {
                // Its own words are about trust.toml.
                Refusal::UnknownSigner => Error::OtherSigner(path(), public.to_string()),
                _ => Error::Refused(path(), refusal),
            })?
        }
        (trust, None) => {
            let file = trust.clone().unwrap_or_default();
            let text = read_text(&file, MAX_FILE_BYTES, "name a node's trust.toml, or a key with --public")?;
            let trust = TrustStore::parse(&text, None).map_err(|e| Error::Trust(file, e))?;
            // Which versions were installed before is a node's memory, not this tool's.
            verify(bytes, &trust, &host(), |_| None).map_err(|e| Error::Refused(path(), Box::new(e)))?
        }
    };
    if let Some(wanted) = &options.key_id
        && verified.signers.iter().all(|key| key_id(key).to_string() != *wanted)
    {
        return Err(Error::OtherSigner(path(), wanted.clone()));
    }
    let report = Report { text: describe(&verified), json: as_json(&verified) };
    match again {
        Some(bytes) => rebuild::run(&options.bundle, bytes, &options.path, Some(report)),
        None => Ok(report),
    }
}

fn host() -> Host {
    Host { api: api::OFFERED.to_vec(), now: OffsetDateTime::now_utc() }
}

/// Verifies a bundle as a node would that trusts this key with every kind, and with just the id that it signed.
pub fn verify_by(bytes: Vec<u8>, key: &PublicKey) -> Result<Verified, Box<Refusal>> {
    // A bundle that the key did not sign, or whose id cannot be read, is refused in an earlier step than the one that
    // looks at prefixes.
    let prefix = signed_id(&bytes, key).unwrap_or_else(|| "not.signed".to_owned());
    let kinds = PluginKind::ALL.map(PluginKind::as_str);
    let text = format!(
        "serial = 1\n[[publishers]]\nname = {THE_KEY:?}\nprefixes = [{prefix:?}]\nkinds = {kinds:?}\n\
         [[publishers.keys]]\nkey = \"{key}\"\n"
    );
    // A key that must not be trusted makes a file that trusts nobody.
    let trust = TrustStore::parse(&text, None).unwrap_or_default();
    verify(bytes, &trust, &host(), |_| None).map_err(Box::new)
}

/// The plugin id in a manifest that the key signed.
fn signed_id(bytes: &[u8], key: &PublicKey) -> Option<String> {
    let bundle = Bundle::parse(bytes.to_vec()).ok()?;
    let envelope = Envelope::parse(bundle.get(SIGNATURE_FILE)?, MANIFEST_TYPE).ok()?;
    let manifest = envelope.payload();
    let signed = !envelope.signers([key]).is_empty() && bundle.get(MANIFEST_FILE) == Some(manifest);
    let text = std::str::from_utf8(manifest).ok().filter(|_| signed)?;
    Some(Manifest::parse_packed(text).ok()?.id.to_string())
}

fn describe(verified: &Verified) -> String {
    let manifest = &verified.manifest;
    let released = manifest.released.and_then(|t| t.format(&Rfc3339).ok()).unwrap_or_default();
    let mut out = format!("good: {} {}, {}\n", manifest.id, manifest.version, manifest.kind);
    // Writing to a string never fails.
    if let Some(text) = manifest.text_in("en") {
        let _ = writeln!(out, "{}: {}", plain(&text.name), plain(&text.summary));
    }
    let (license, api) = (plain(&manifest.license), &manifest.api);
    let _ = writeln!(out, "\nlicence    {license}\nreleased   {released}\nworks with fondaco:plugin {api}");
    if let Some(toolchain) = &manifest.toolchain {
        let _ = writeln!(out, "built with {}", plain(toolchain));
    }
    let _ = writeln!(out, "BLAKE3     {}", verified.bundle_hash);
    let _ = writeln!(out, "\nsigned by {}", plain(&verified.publisher));
    for key in &verified.signers {
        let _ = writeln!(out, "  public key {key}\n  key id     {}", key_id(key));
    }
    let _ = writeln!(out, "\nasks for{}", if manifest.capabilities.0.is_empty() { " nothing" } else { "" });
    for (capability, ask) in &manifest.capabilities.0 {
        let optional = if ask.optional { " (can do without)" } else { "" };
        let _ = write!(out, "  {:<10} {}{optional}", capability.as_str(), capability.meaning());
        if let Some(quota) = ask.quota {
            let _ = write!(out, ", up to {quota}");
        }
        for origin in &ask.hosts {
            let _ = write!(out, ", {origin}{}", if origin.is_plain() { " (not encrypted)" } else { "" });
        }
        let _ = writeln!(
            out,
            "{}",
            ask.reason.as_ref().map(|r| format!("\n{:13}\"{}\"", "", plain(r))).unwrap_or_default()
        );
    }
    let _ = write!(out, "\nfiles");
    for file in &manifest.files {
        let _ = write!(out, "\n  {:>9} {}", file.size, file.path);
    }
    out
}

/// Words of the bundle's author, for a terminal: what could steer it is left out.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn as_json(verified: &Verified) -> serde_json::Value {
    let signers: Vec<_> =
        verified.signers.iter().map(|key| json!({ "public": key, "key_id": key_id(key).to_string() })).collect();
    json!({
        "publisher": verified.publisher,
        "signers": signers,
        "blake3": verified.bundle_hash,
        "manifest": verified.manifest,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authors_words_cannot_steer_the_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }

    #[test]
    fn speaks_the_version_of_the_interface_that_its_sdk_has() {
        let package = include_str!("../../../schemas/wit/types.wit").lines().next().unwrap();
        assert_eq!(package, format!("package fondaco:plugin@{};", api::LATEST));
    }
}
