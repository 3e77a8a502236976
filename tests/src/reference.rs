//! The book's reference, generated from what it describes: the programs' own help, and the JSON Schemas of the files.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{program, workspace};

/// The generated pages: where they lie under `host/book/src`, and what they say.
pub fn pages() -> Result<Vec<(PathBuf, String)>> {
    let folder = workspace::root().join("host/book/src/reference");
    Ok(vec![(folder.join("commands.md"), commands()?), (folder.join("files.md"), files()?)])
}

/// Every command of `fondaco` and `cargo fondaco`, as `--help` shows it on a terminal of 100 columns.
fn commands() -> Result<String> {
    let mut page = String::from("# Commands\n\nGenerated from the programs' own `--help`.\n");
    for (name, program, first) in
        [("fondaco", workspace::fondaco()?, &[][..]), ("cargo fondaco", workspace::cargo_fondaco()?, &["fondaco"][..])]
    {
        command(&mut page, name, &program, first, 2)?;
    }
    Ok(page)
}

fn command(page: &mut String, name: &str, program: &Path, path: &[&str], depth: usize) -> Result<()> {
    let mut asked = Command::new(program);
    workspace::without_crate(&mut asked);
    let help = program::answer(asked.args(path).arg("--help").env("COLUMNS", "100"))?;
    let help = help.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    write!(page, "\n{} `{name}`\n\n```text\n{}\n```\n", "#".repeat(depth.min(4)), help.trim())?;
    for inner in subcommands(&help) {
        let path: Vec<&str> = path.iter().copied().chain([inner]).collect();
        command(page, &format!("{name} {inner}"), program, &path, depth + 1)?;
    }
    Ok(())
}

/// The names under `Commands:` of clap's help.
fn subcommands(help: &str) -> Vec<&str> {
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = list.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").collect()
}

const FILES: [(&str, &str, &str); 4] = [
    ("deployment", "fondaco.toml", "What an operator says about a deployment."),
    ("manifest", "plugin.toml", "What a plugin's author says about it: a request, never a grant."),
    ("work", "work.toml", "What a publisher says about a work."),
    ("trust", "trust.toml", "Whose plugins may run, and what is revoked."),
];

/// Every key of every file that people write.
fn files() -> Result<String> {
    let mut page = String::from(
        "# Files\n\nGenerated from the JSON Schemas in `schemas/json`, which editors can check the files with. \
         An unknown key is an error that names the nearest known one.\n",
    );
    for (schema, file, about) in FILES {
        let path = workspace::root().join("schemas/json").join(format!("{schema}.schema.json"));
        let root: Value = serde_json::from_str(&fs::read_to_string(&path)?).with_context(|| schema.to_owned())?;
        write!(page, "\n## `{file}`\n\n{about}\n\n| Key | | Default |\n|---|---|---|\n")?;
        let mut seen = BTreeSet::new();
        rows(&mut page, &root, &root, "", &mut seen)?;
    }
    Ok(page)
}

fn rows(page: &mut String, root: &Value, at: &Value, path: &str, seen: &mut BTreeSet<String>) -> Result<()> {
    if let Some(name) = at.get("$ref").and_then(Value::as_str) {
        // A type may hold itself; it is described where it first stands.
        if path.matches('.').count() < 6 {
            let target = root.pointer(name.trim_start_matches('#')).context("a reference leads nowhere")?;
            rows(page, root, target, path, seen)?;
        }
        return Ok(());
    }
    for (key, inner) in at.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let full = format!("{path}{key}");
        if seen.insert(full.clone()) {
            let about = about(root, inner);
            let default = inner.get("default").filter(|d| !d.is_null() && !d.is_object());
            let default = default.map_or_else(String::new, |d| format!("`{d}`"));
            writeln!(page, "| `{full}` | {about} | {default} |")?;
        }
        rows(page, root, inner, &format!("{full}."), seen)?;
    }
    if let Some(inner) = at.get("additionalProperties").filter(|v| v.is_object()) {
        rows(page, root, inner, &format!("{path}<name>."), seen)?;
    }
    if let Some(inner) = at.get("items") {
        rows(page, root, inner, path, seen)?;
    }
    for inner in ["anyOf", "allOf", "oneOf"].iter().filter_map(|k| at.get(k)?.as_array()).flatten() {
        rows(page, root, inner, path, seen)?;
    }
    Ok(())
}

/// A key's own words, or those of its type, in one cell of a table.
fn about(root: &Value, at: &Value) -> String {
    let words = |v: &Value| v.get("description").and_then(Value::as_str).map(str::to_owned);
    let of_type = || {
        let name = at.get("$ref").and_then(Value::as_str)?;
        words(root.pointer(name.trim_start_matches('#'))?)
    };
    words(at).or_else(of_type).unwrap_or_default().replace('\n', " ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_commands_of_a_help_text() {
        let help = "Does things\n\nCommands:\n  init    Make one\n          and more\n  up      Run\n  help    Print\n\nOptions:\n  -h";
        assert_eq!(subcommands(help), ["init", "up"]);
        assert!(subcommands("Options:\n  -h").is_empty());
    }

    #[test]
    fn every_key_of_a_file_has_a_row_with_words() {
        let page = files().unwrap();
        for key in ["brand.name", "gateway.limits.connections-per-address", "plugins.<name>.enabled", "offers.price"] {
            let row = page.lines().find(|line| line.starts_with(&format!("| `{key}` |"))).expect(key);
            assert!(row.split('|').nth(2).unwrap().trim().len() > 5, "{row}");
        }
    }
}
