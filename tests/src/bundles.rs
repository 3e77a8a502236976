//! The five first-party plugins as signed bundles, and the key that signed them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::program;
use crate::workspace::{self, PLUGINS};

/// A release time for bundles that are made here: fixed, so that the same sources give the same bytes.
pub const RELEASED: &str = "2026-01-01T00:00:00Z";

/// A packed plugin.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// Its id.
    pub id: String,
    /// The file.
    pub file: PathBuf,
    /// BLAKE3 of the file, in hexadecimal.
    pub digest: String,
}

/// A signing key in a file.
#[derive(Clone, Debug)]
pub struct Key {
    /// The file.
    pub file: PathBuf,
    /// Its public half, 64 hexadecimal digits.
    pub public: String,
}

/// `cargo fondaco`, at the checkout's root.
pub fn tool() -> Result<Command> {
    let mut command = Command::new(workspace::cargo_fondaco()?);
    command.current_dir(workspace::root());
    workspace::without_crate(&mut command);
    Ok(command)
}

/// The answer of `cargo fondaco --json`.
pub fn ask(arguments: &[&str]) -> Result<Value> {
    let text = program::answer(tool()?.arg("--json").args(arguments))?;
    serde_json::from_str(&text).with_context(|| format!("cargo fondaco answered no JSON: {text}"))
}

/// A text under a key of an answer.
pub fn text(answer: &Value, key: &str) -> Result<String> {
    let found = answer.get(key).and_then(Value::as_str).map(str::to_owned);
    found.with_context(|| format!("the answer has no {key:?}: {answer}"))
}

impl Key {
    /// The key in a file; a new one where there is none.
    pub fn at(file: &Path) -> Result<Self> {
        let path = file.to_str().context("the key's path is no UTF-8")?;
        let verb: &[&str] = if file.exists() { &["key", "show", path] } else { &["key", "new", "--out", path] };
        Ok(Self { file: file.to_owned(), public: text(&ask(verb)?, "public")? })
    }
}

/// Builds and packs one plugin. Does nothing that has been done: cargo knows what is fresh, and the same files give the
/// same bundle.
pub fn pack(plugin: &str, out: &Path, key: &Key) -> Result<Bundle> {
    let folder = workspace::root().join("plugins").join(plugin);
    let mut command = tool()?;
    command.args(["--json", "pack", "--released", RELEASED]);
    command.arg("--path").arg(folder).arg("--out").arg(out).arg("--key").arg(&key.file);
    let answer = program::answer(&mut command).with_context(|| format!("{plugin} is not packed"))?;
    let answer: Value = serde_json::from_str(&answer)?;
    Ok(Bundle { id: text(&answer, "id")?, file: text(&answer, "bundle")?.into(), digest: text(&answer, "blake3")? })
}

/// All five, with the tests' own key, under `target/bundles`. Tests that run at the same time wait for each other.
pub fn all() -> Result<(Key, Vec<Bundle>)> {
    let out = workspace::target()?.join("bundles");
    fs::create_dir_all(&out)?;
    let lock = File::create(out.join(".lock"))?;
    lock.lock()?;
    if std::env::var_os(workspace::BUILT).is_none() {
        workspace::build()?;
        workspace::ensure_target()?;
    }
    let key = Key::at(&out.join("tests.key"))?;
    let index = out.join("index.json");
    if std::env::var_os(workspace::BUILT).is_some()
        && let Some(bundles) = read_index(&index)
    {
        return Ok((key, bundles));
    }
    let bundles = PLUGINS.iter().map(|plugin| pack(plugin, &out, &key)).collect::<Result<Vec<_>>>()?;
    let rows: Vec<_> = bundles.iter().map(|b| serde_json::json!([b.id, b.file, b.digest])).collect();
    fs::write(&index, serde_json::to_vec(&rows)?)?;
    Ok((key, bundles))
}

fn read_index(file: &Path) -> Option<Vec<Bundle>> {
    let rows: Vec<(String, PathBuf, String)> = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    let bundles = rows.into_iter().map(|(id, file, digest)| Bundle { id, file, digest });
    Some(bundles.collect()).filter(|all: &Vec<Bundle>| all.iter().all(|b| b.file.is_file()))
}

/// Packs a plugin as it was built, with another plugin.toml. Signed by `key`, or by nobody.
pub fn repack(plugin: &str, into: &Path, key: Option<&Key>, change: impl Fn(String) -> String) -> Result<PathBuf> {
    let (from, folder) = (workspace::root().join("plugins").join(plugin), into.join(format!("{plugin}-changed")));
    program::remove(&folder)?;
    fs::create_dir_all(&folder)?;
    program::answer(Command::new("cp").arg("-r").arg(from.join("settings.schema.json")).arg(&folder))?;
    let manifest = change(fs::read_to_string(from.join("plugin.toml"))?);
    fs::write(folder.join("plugin.toml"), manifest)?;
    let library = format!("{}/plugin/{}.wasm", workspace::TARGET, plugin.replace('-', "_"));
    let mut command = tool()?;
    command.args(["--json", "pack", "--released", RELEASED, "--path"]).arg(&folder).arg("--out").arg(&folder);
    command.arg("--component").arg(workspace::target()?.join(library));
    if let Some(key) = key {
        command.arg("--key").arg(&key.file);
    }
    let answer: Value = serde_json::from_str(&program::answer(&mut command)?)?;
    Ok(text(&answer, "bundle")?.into())
}

/// A storefront that answers at once, built once: `tests/guests/plain-shop`.
#[derive(Clone, Debug)]
pub struct PlainShop {
    component: PathBuf,
}

/// Its id.
pub const PLAIN_SHOP: &str = "org.fondaco.plain-shop";

impl PlainShop {
    /// Builds it, on the profile that plugins are built with.
    pub fn build() -> Result<Self> {
        let mut command = workspace::cargo();
        command.args(["build", "--quiet", "--profile", "plugin", "--target", workspace::TARGET, "-p", "plain-shop"]);
        command.arg("--target-dir").arg(workspace::target()?);
        program::answer(&mut command)?;
        Ok(Self { component: workspace::target()?.join(workspace::TARGET).join("plugin/plain_shop.wasm") })
    }

    /// Packs it as some version, with more lines in its manifest, into a folder of its own below `into`.
    pub fn pack(&self, version: &str, more: &str, into: &Path, key: &Key) -> Result<PathBuf> {
        let folder = into.join(format!("plain-shop-{version}-{}", more.len()));
        program::remove(&folder)?;
        fs::create_dir_all(&folder)?;
        let manifest = format!(
            "schema = 1\nid = \"{PLAIN_SHOP}\"\nversion = \"{version}\"\nkind = \"storefront\"\napi = \"^0.2\"\n\
             component = \"plugin.wasm\"\nlicense = \"MIT OR Apache-2.0\"\n\
             [text.en]\nname = \"Plain shop\"\nsummary = \"Answers at once\"\n\
             [settings]\nschema = \"settings.schema.json\"\n{more}"
        );
        fs::write(folder.join("plugin.toml"), manifest)?;
        let schema = r#"{"type":"object","properties":{"greeting":{"type":"string"}},"additionalProperties":false}"#;
        fs::write(folder.join("settings.schema.json"), schema)?;
        let mut command = tool()?;
        command.args(["--json", "pack", "--released", RELEASED, "--path"]).arg(&folder).arg("--out").arg(&folder);
        command.arg("--component").arg(&self.component).arg("--key").arg(&key.file);
        let answer: Value = serde_json::from_str(&program::answer(&mut command)?)?;
        Ok(text(&answer, "bundle")?.into())
    }
}
