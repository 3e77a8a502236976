//! The plugin interface is a successor of every version that was frozen: a plugin that was built against an old world
//! fits into the new one. The judge is `wit_component::semver_check`, which knows nothing of our own linking.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use fondaco_tests::workspace;
use wit_component::semver_check;
use wit_parser::Resolve;

const WORLDS: [&str; 7] = ["imports", "search", "payment", "drm", "advocacy", "storefront", "operated"];

fn wit() -> PathBuf {
    workspace::root().join("schemas/wit")
}

/// Is each world of the package in `new` a successor of the one in `old`? An error names the first that is not.
fn check(old: &Path, new: &Path) -> Result<()> {
    let mut resolve = Resolve::default();
    let (old, _) = resolve.push_dir(old)?;
    let (new, _) = resolve.push_dir(new)?;
    for world in WORLDS {
        let of = |package| {
            let package = resolve.packages.get(package).context("a package")?;
            package
                .worlds
                .get(world)
                .copied()
                .with_context(|| format!("the world {world:?} is not in {}", package.name))
        };
        let (old, new) = (of(old)?, of(new)?);
        semver_check(resolve.clone(), old, new).with_context(|| {
            format!("the world {world:?} is no successor of the frozen one: undo what changed in schemas/wit, or freeze it as a new version beside the others")
        })?;
    }
    Ok(())
}

#[test]
fn the_interface_is_a_successor_of_every_frozen_version() -> Result<()> {
    let mut frozen = 0;
    for entry in fs::read_dir(wit())? {
        let path = entry?.path();
        if path.is_dir() {
            check(&path, &wit()).with_context(|| path.display().to_string())?;
            frozen += 1;
        }
    }
    ensure!(frozen > 0, "no frozen version in schemas/wit");
    Ok(())
}

#[test]
fn an_edit_that_old_plugins_would_trip_over_is_seen() -> Result<()> {
    let old = wit().join("0.1.0");
    for (what, file, from, to) in [
        (
            "a function less",
            "host.wit",
            "    read: func(hash: blob-hash, offset: u64, len: u32) -> result<list<u8>, error>;\n",
            "",
        ),
        ("another argument", "host.wit", "secret: func(name: string)", "secret: func(name: string, age: u32)"),
        ("another answer", "host.wit", "get: func() -> string;", "get: func() -> option<string>;"),
        ("a field more", "types.wit", "record work {\n", "record work {\n        subtitle: string,\n"),
        ("a field less", "types.wit", "        metadata: string,\n", ""),
        ("a case more", "types.wit", "active, suspended,", "active, paused, suspended,"),
        ("an export more", "search.wit", "    parameters: func()", "    warm-up: func();\n    parameters: func()"),
        ("an interface less", "worlds.wit", "    import mail;\n", ""),
    ] {
        let edited = tempfile::tempdir()?;
        for entry in fs::read_dir(wit())? {
            let path = entry?.path();
            if path.is_file() {
                fs::copy(&path, edited.path().join(path.file_name().context("a name")?))?;
            }
        }
        check(&old, edited.path()).with_context(|| format!("before {what}"))?;
        let file = edited.path().join(file);
        let text = fs::read_to_string(&file)?;
        ensure!(text.contains(from), "{what}: {from:?} is not in {}", file.display());
        fs::write(&file, text.replacen(from, to, 1))?;
        ensure!(check(&old, edited.path()).is_err(), "{what} was not seen");
    }
    Ok(())
}
