//! Storefronts in Python: the files of a new one, and how pip and componentize-py make a component of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::lang::{COMPONENT, WORLD};
use crate::outside::{self, Install};

/// The file by which a folder is known.
pub const MARK: &str = "requirements.txt";
/// The version of `wasi:http` that `wit/` has: the oldest, which every node's and every later Python's is a successor of.
pub const HTTP: &str = "0.2.0";

const VENV: &str = ".venv";
const HINT: &str =
    "install Python 3.10 or newer with venv (on Debian: python3 and python3-venv), or from https://python.org";

/// The files that only Python has.
pub fn files() -> Vec<(String, String)> {
    let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    vec![
        file(MARK, include_str!("templates/python/requirements.txt")),
        file("src/app.py", include_str!("templates/python/app.py")),
        file("src/shop.py", include_str!("templates/python/shop.py")),
        file("src/node.py", include_str!("../../python/node.py")),
        file("src/fondaco.py", include_str!("../../python/fondaco.py")),
        file("src/test_shop.py", include_str!("templates/python/test_shop.py")),
        file("wit/deps/http/http.wit", include_str!("../../python/wit/http.wit")),
        file("wit/deps/io/io.wit", include_str!("../../python/wit/io.wit")),
        file(".gitignore", "/.venv\n/dist\n/types\n__pycache__\n*.fondaco\n*.key\n"),
    ]
}

/// Builds the component, and the types of what the node lends.
pub fn build(folder: &Path) -> Result<PathBuf, Error> {
    let venv = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()).join(VENV);
    outside::install(&Install {
        folder,
        lock: MARK,
        into: VENV,
        saying: "pip install -r requirements.txt, in a new venv",
        commands: &|| {
            let mut make = Command::new("python3");
            make.args(["-m", "venv", VENV]);
            let mut pip = Command::new(venv.join("bin/python"));
            // Wheels alone: a source package would run its own code here.
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]);
            pip.args(["--only-binary", ":all:", "--requirement", MARK]);
            vec![("python3 -m venv", make), ("pip install", pip)]
        },
        hint: HINT,
    })?;
    let out = outside::empty_out(folder)?;
    let tool = || {
        let mut tool = Command::new(venv.join("bin/componentize-py"));
        tool.current_dir(folder).args(["--wit-path", "wit", "--world", WORLD]);
        tool
    };
    // It writes into no folder that has them already.
    outside::remove(&folder.join("types"))?;
    outside::run(tool().args(["bindings", "types"]), "componentize-py bindings", HINT)?;
    // Never --stub-wasi: it would bake one seed of the random numbers into the component.
    outside::run(
        tool().args(["componentize", "app", "--python-path", "src", "--output", COMPONENT]),
        "componentize-py componentize",
        HINT,
    )?;
    Ok(out)
}

/// What it is built with: `componentize-py 0.25.1`.
pub fn toolchain(folder: &Path) -> Result<String, Error> {
    let mut tool = Command::new(folder.join(VENV).join("bin/componentize-py"));
    Ok(outside::answer(tool.arg("--version"), "componentize-py --version", "build the plugin first")?.trim().to_owned())
}
