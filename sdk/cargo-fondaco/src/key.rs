//! `cargo fondaco key`: signing keys in files.

use std::path::Path;

use fondaco_schemas::PublicKey;
use fondaco_trust::{KeyPair, key_id};
use serde_json::json;

use crate::error::Error;
use crate::report::Report;

/// Makes a key and saves it.
pub fn create(out: &Path) -> Result<Report, Error> {
    let key = KeyPair::generate()?;
    key.save(out)?;
    let Report { text, json } = describe(out, &key.public());
    let advice = "keep the file secret and safe: who has it can sign in your name, and without it nobody can";
    Ok(Report { text: format!("{text}\n{advice}"), json })
}

/// Shows the public half of a saved key.
pub fn show(file: &Path) -> Result<Report, Error> {
    Ok(describe(file, &KeyPair::load(file)?.public()))
}

fn describe(file: &Path, public: &PublicKey) -> Report {
    let id = key_id(public);
    Report {
        text: format!("file        {}\npublic key  {public}\nkey id      {id}", file.display()),
        json: json!({ "file": file.display().to_string(), "public": public, "key_id": id.to_string() }),
    }
}
