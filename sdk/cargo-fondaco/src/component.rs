//! `cargo fondaco build`: from a plugin's folder to a component.

use std::path::Path;

use serde_json::json;

use crate::cargo::TARGET;
use crate::cli::Build;
use crate::error::Error;
use crate::lang::{Built, Project};
use crate::report::Report;

/// Builds and says where the component is.
pub fn run(options: &Build) -> Result<Report, Error> {
    let project = Project::find(&options.path)?;
    let Built { component, how, profile } = project.build()?;
    let size = component.metadata().map_err(|e| Error::Read(component.clone(), e))?.len();
    let place = component.display().to_string();
    Ok(Report {
        text: format!("{place}\n{size} bytes, {how}"),
        json: json!({
            "component": place, "bytes": size, "language": project.lang().name(), "profile": profile,
            "target": profile.map(|_| TARGET),
        }),
    })
}

/// Refuses what is no component in its binary form: four bytes of magic, then version 13 (0x0d) in layer 1. A core
/// module has version 1 in layer 0.
/// Format: <https://github.com/WebAssembly/component-model/blob/main/design/mvp/Binary.md>.
pub fn check(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let found = match bytes.get(..8) {
        Some(b"\0asm\x0d\0\x01\0") => return Ok(()),
        Some(b"\0asm\x01\0\0\0") => {
            "a core module: build it for wasm32-wasip2, or wrap it with `wasm-tools component new`"
        }
        _ => "something else: give the .wasm file that the build made",
    };
    Err(Error::NoComponent(path.to_owned(), found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_a_component_from_a_core_module_and_from_anything_else() {
        let of = |bytes: &[u8]| check(Path::new("x.wasm"), bytes).map_err(|e| e.to_string());
        assert_eq!(of(b"\0asm\x0d\0\x01\0rest"), Ok(()));
        assert!(of(b"\0asm\x01\0\0\0rest").unwrap_err().contains("wasm-tools component new"));
        assert!(of(b"\0asm").unwrap_err().contains("something else"));
    }
}
