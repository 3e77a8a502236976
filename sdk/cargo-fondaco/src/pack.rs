//! `cargo fondaco pack`: from a plugin's folder to a bundle. The same files, toolchain and release time give the same
//! bytes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use fondaco_schemas::manifest::{MANIFEST_FILE, PLUGIN_FILE};
use fondaco_schemas::problem::MAX_FILE_BYTES;
use fondaco_schemas::{BlobHash, BundlePath, Manifest, PackedFile, Sha256};
use fondaco_trust::bundle::{self, MAX_BUNDLE_BYTES};
use fondaco_trust::{KeyPair, key_id};
use serde_json::json;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use crate::cli::Pack;
use crate::component;
use crate::contents::Contents;
use crate::error::Error;
use crate::files::{read, read_text, replace};
use crate::lang::Project;
use crate::report::Report;
use crate::sign::signed;

/// Builds, packs and, if asked, signs.
pub fn run(options: &Pack) -> Result<Report, Error> {
    // What can be wrong without a build is found before it.
    let folder = &options.path;
    let manifest = request(folder)?;
    let released = released(options.released, std::env::var("SOURCE_DATE_EPOCH").ok())?;
    let key = options.key.as_deref().map(KeyPair::load).transpose()?;
    let source = match &options.component {
        Some(file) => Source::Given(file),
        None if options.no_build => Source::Built,
        None => Source::Build,
    };
    let out = options.out.as_ref().unwrap_or(folder);
    fs::create_dir_all(out).map_err(|e| Error::Write(out.clone(), e))?;
    let (manifest, mut bytes) = unsigned(folder, manifest, released, source)?;
    let target = out.join(bundle::file_name(&manifest));
    if let Some(key) = &key {
        bytes = signed(&target, bytes, key)?;
    }
    replace(&target, &bytes)?;
    Ok(report(&target, &manifest, &bytes, key.as_ref()))
}

/// Where a component comes from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// It is built, for release.
    Build,
    /// The last build left it.
    Built,
    /// Another tool made it.
    Given(&'a Path),
}

/// What a plugin's folder asks for.
pub fn request(folder: &Path) -> Result<Manifest, Error> {
    let text = read_text(&folder.join(PLUGIN_FILE), MAX_FILE_BYTES, "name the plugin's folder with --path")?;
    Ok(Manifest::parse_request(&text)?)
}

/// The bundle of a plugin's folder, without signatures. The same sources, toolchain and time give the same bytes.
pub fn unsigned(
    folder: &Path,
    mut manifest: Manifest,
    released: OffsetDateTime,
    source: Source<'_>,
) -> Result<(Manifest, Vec<u8>), Error> {
    manifest.released = Some(released);
    let built = match source {
        Source::Given(file) => file.to_owned(),
        Source::Built | Source::Build => {
            let project = Project::find(folder)?;
            let is_built = matches!(source, Source::Built);
            let built = if is_built { project.built()? } else { project.build()?.component };
            manifest.toolchain = Some(project.toolchain(folder)?);
            built
        }
    };
    let component = read(&built, MAX_BUNDLE_BYTES, "give the .wasm file that the build made")?;
    component::check(&built, &component)?;
    let files = Contents::gather(folder, &manifest, component)?.into_files();
    pack(manifest, files)
}

/// Lists the files in the manifest, and puts all into a bundle.
fn pack(mut manifest: Manifest, mut files: BTreeMap<BundlePath, Vec<u8>>) -> Result<(Manifest, Vec<u8>), Error> {
    manifest.files = files.iter().map(|(path, bytes)| packed(path, bytes)).collect();
    let text = manifest.to_toml().map_err(|e| Error::Toml(Box::new(e)))?;
    // What a node would refuse to read is refused here, with the line that is wrong.
    let manifest = Manifest::parse_packed(&text)?;
    let name = MANIFEST_FILE.parse().map_err(|e| Error::Name(MANIFEST_FILE.into(), Some(e)))?;
    files.insert(name, text.into_bytes());
    let bytes = bundle::pack(&files).map_err(Error::Pack)?;
    Ok((manifest, bytes))
}

fn packed(path: &BundlePath, bytes: &[u8]) -> PackedFile {
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    PackedFile {
        path: path.clone(),
        size: bytes.len() as u64,
        sha256: Sha256(sha256),
        blake3: BlobHash::new(*blake3::hash(bytes).as_bytes()),
    }
}

/// The time to write down, in whole seconds of UTC. `epoch` is `SOURCE_DATE_EPOCH`
/// (<https://reproducible-builds.org/specs/source-date-epoch/>).
fn released(given: Option<OffsetDateTime>, epoch: Option<String>) -> Result<OffsetDateTime, Error> {
    let time = match (given, epoch) {
        (Some(time), _) => time,
        (None, Some(text)) => {
            let seconds: Option<i64> = text.parse().ok();
            let time = seconds.and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok());
            time.ok_or(Error::Epoch(text))?
        }
        (None, None) => OffsetDateTime::now_utc(),
    };
    Ok(time.to_offset(UtcOffset::UTC).replace_nanosecond(0).unwrap_or(time))
}

fn report(target: &Path, manifest: &Manifest, bytes: &[u8], key: Option<&KeyPair>) -> Report {
    let (place, digest) = (target.display().to_string(), blake3::hash(bytes).to_string());
    let released = manifest.released.and_then(|t| t.format(&Rfc3339).ok());
    let signer = key.map(|k| k.public().to_string());
    let (id, version) = (manifest.id.to_string(), manifest.version.to_string());
    let mut text =
        format!("{place}\n{id} {version}, {} files, {} bytes\nBLAKE3 {digest}", manifest.files.len(), bytes.len());
    text += &signer.as_ref().map_or_else(
        || "\nnot signed yet: run cargo fondaco sign".to_owned(),
        |public| format!("\nsigned with the key {public}"),
    );
    let json = json!({
        "bundle": place, "id": id, "version": version, "bytes": bytes.len(), "blake3": digest, "released": released,
        "files": manifest.files, "signer": signer, "key_id": key.map(|k| key_id(&k.public()).to_string()),
    });
    Report { text, json }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_the_one_given_else_the_one_of_the_environment_else_now() {
        let given = OffsetDateTime::parse("2030-01-31T14:00:00.75+02:00", &Rfc3339).unwrap();
        let text = |time: OffsetDateTime| time.format(&Rfc3339).unwrap();
        assert_eq!(text(released(Some(given), Some("0".to_owned())).unwrap()), "2030-01-31T12:00:00Z");
        assert_eq!(text(released(None, Some("86400".to_owned())).unwrap()), "1970-01-02T00:00:00Z");
        assert!(matches!(released(None, Some("yesterday".to_owned())), Err(Error::Epoch(_))));
        let now = released(None, None).unwrap();
        assert!((OffsetDateTime::now_utc() - now).whole_seconds().abs() < 5 && now.nanosecond() == 0);
    }
}
