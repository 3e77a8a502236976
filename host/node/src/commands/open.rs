//! `fondaco open`: on the holder's machine, with the installed DRM plugin; the node need not run, and may.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fondaco_market::{Library, NodeKeys};
use fondaco_runtime::{Runtime, Services};
use fondaco_schemas::PluginKind;

use crate::cli::Open;
use crate::fail::{Done, Fail};
use crate::folder::{Folder, read_text};
use crate::node::{compiler, load_key};
use crate::out::Out;
use crate::plugins;

const SEALED: &str = "sealed";
/// The largest licence, in bytes.
const MAX_LICENCE: u64 = 1 << 20;

/// Opens a protected file.
pub async fn open(folder: &Folder, args: &Open, json: bool, out: &Out) -> Done {
    if !args.file.is_file() {
        return Err(Fail::not_found(format!("{}: there is no such file", args.file.display())));
    }
    let bare = bare_name(&args.file);
    let target = args.out.clone().or(bare.clone()).ok_or_else(|| {
        Fail::usage(format!(
            "{} does not end in .{SEALED}: say where the opened file goes with --out",
            args.file.display()
        ))
    })?;
    let beside = bare.map(|b| PathBuf::from(format!("{}.licence", b.display())));
    let licence = args.licence.clone().or(beside).ok_or_else(|| Fail::usage("name the licence with --licence"))?;
    let licence_bytes = read_small(&licence)?;
    let library = Library::from_text(&read_text(&args.key)?)
        .map_err(|e| Fail::refused(format!("{}: {e}", args.key.display())))?;

    let (deployment, trust, lock) = (folder.deployment()?, folder.trust()?, folder.lock()?);
    let (mut schemes, mut broken) = (Vec::new(), None);
    for (id, locked) in lock.plugins.iter().filter(|(id, _)| args.scheme.as_ref().is_none_or(|s| s == *id)) {
        match plugins::verify_locked(folder, &trust, id, locked) {
            Ok(verified) if verified.manifest.kind == PluginKind::Drm => schemes.push(verified),
            Ok(_) => {}
            Err(fail) => broken = Some(fail),
        }
    }
    // A broken bundle of another kind is no reason not to open; it is one where no scheme is left.
    if let Some(fail) = broken.filter(|_| schemes.is_empty()) {
        return Err(fail);
    }
    let verified = match (schemes.pop(), schemes.is_empty()) {
        (Some(only), true) => only,
        (None, _) => {
            return Err(Fail::unavailable(
                "no DRM plugin is installed here: `fondaco plugin install` the one that the shop uses",
            ));
        }
        (Some(_), false) => return Err(Fail::usage("several DRM plugins are installed: name one with --scheme")),
    };
    let keys = NodeKeys::new(load_key(&folder.node_key(&deployment))?);
    let compiler = compiler(folder.data(&deployment).join("cache"), &keys)?;
    let runtime = Runtime::new(compiler)?;
    let config = plugins::config_of(folder, &verified.manifest.id)?;
    let load = |services: Arc<dyn Services>| async move {
        let spec = plugins::spec(&verified.manifest, verified.component().to_vec(), &config, services);
        Ok(runtime.load(spec).await?)
    };
    let bytes = fondaco_market::open_file(&args.file, licence_bytes, library, &target, load).await?;
    out.result(
        json,
        || serde_json::json!({ "opened": target, "bytes": bytes }),
        || format!("opened {} ({bytes} bytes)", target.display()),
    );
    Ok(())
}

/// The name without `.sealed`.
fn bare_name(file: &Path) -> Option<PathBuf> {
    (file.extension()? == SEALED).then(|| file.with_extension(""))
}

fn read_small(path: &Path) -> Done<Vec<u8>> {
    let fail = |e: std::io::Error| {
        Fail::not_found(format!(
            "the licence {}: {e}; it comes from the library of whoever bought the work, at the shop that sold it, wherever \
             the sealed file came from",
            path.display()
        ))
    };
    if std::fs::metadata(path).map_err(fail)?.len() > MAX_LICENCE {
        return Err(Fail::failed(format!("{} is too large to be a licence", path.display())));
    }
    std::fs::read(path).map_err(fail)
}
